/* SPDX-License-Identifier: MIT */
/* test_layout.c - if one of these fails, a client's arguments are read from the wrong place. */
#include "vt.h"

#include <stdio.h>
#include <string.h>

#include "kmt/kmt.h"

/* abi.h asserts the same at compile time; here the number of pinned facts is seen, so that an emptied list
 * does not pass unnoticed. */
static void sizes_and_offsets(void **state)
{
    unsigned structs = 0, fields = 0;
    (void)state;
#define PIN_SIZE(type, bytes) structs += sizeof(type) == (bytes);
#define PIN_AT(type, field, at) fields += offsetof(type, field) == (at);
#include "kmt/abi_pins.inc"
    printf("%u structs, %u fields\n", structs, fields);
    assert_true(structs >= 80);
    assert_true(fields >= 500);
}

static const struct request { uint32_t code; const char *name; size_t bytes; } requests[] = {
#define REQUEST(code, name, type) {code, #name, sizeof(type)},
#include "requests.inc"
};

/* The published request codes carry the struct sizes: every entry point is there, under its number. */
static void requests_match(void **state)
{
    (void)state;
    assert_int_equal(VT_COUNT(requests), 69);
    for (size_t i = 0; i < VT_COUNT(requests); i++) {
        const struct request *r = &requests[i];
        struct kmt_entry_info found = {0};
        for (int op = 0; op < KMT_OP_COUNT; op++) {
            struct kmt_entry_info e = kmt_entry_info((enum kmt_op)op);
            if (strcmp(e.name, r->name) == 0) found = e;
        }
        if (found.name == NULL) fail_msg("%s is missing", r->name);
        assert_int_equal(r->code, 3u << 30 | found.bytes << 16 | 0x47u << 8 | found.ioctl);
        assert_int_equal(found.bytes, r->bytes);
    }
}

/* Spot checks of values that have no other witness. */
static void status_values(void **state)
{
    (void)state;
    assert_int_equal((uint32_t)STATUS_INVALID_PARAMETER, 0xC000000D);
    assert_int_equal((uint32_t)STATUS_NO_MEMORY, 0xC0000017);
    assert_int_equal((uint32_t)STATUS_NOT_SUPPORTED, 0xC00000BB);
    assert_int_equal((uint32_t)STATUS_DEVICE_REMOVED, 0xC00002B6);
    assert_int_equal((uint32_t)STATUS_GRAPHICS_NO_VIDEO_MEMORY, 0xC01E0100);
    assert_int_equal((uint32_t)STATUS_GRAPHICS_ALLOCATION_BUSY, 0xC01E0102);
    assert_int_equal((uint32_t)STATUS_PENDING, 0x103);
}

static const struct vt_case cases[] = {
    VT_TEST(sizes_and_offsets, "", NULL),
    VT_TEST(requests_match, "", NULL),
    VT_TEST(status_values, "", NULL),
};

int main(int argc, char **argv)
{
    return vt_main(argc, argv, "abi_layout", cases, VT_COUNT(cases));
}
