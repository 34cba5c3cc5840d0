/* SPDX-License-Identifier: MIT */
/* test_tokens.c - if one of these fails, a driver reads nonsense about its adapter, or hostile tokens crash
 * the process they come from. */
#include "vt.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vidmm/dg2_abi.h>

#include "app/compute_helper/rules.h"

size_t getSizeRequiredForStruct(uint32_t id);
size_t getSizeRequiredForTokens(uint32_t id);
bool tokensToStruct(uint32_t id, void *dst, size_t dst_bytes, const void *begin, const void *end);
bool structToTokens(uint32_t id, void *dst, size_t dst_bytes, const void *src, size_t src_bytes);

static const uint32_t ids[] = {HELPER_ADAPTER, HELPER_RESOURCE, HELPER_CONTEXT, HELPER_COMMAND,
                               HELPER_PARTITION};

static uint64_t random_state;

static uint32_t random32(void)
{
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}

/* ---- round trips ------------------------------------------------------------------------------- */

static void adapter_round_trip(void **state)
{
    const struct vidmm_dg2_adapter_info in = VIDMM_DG2_ADAPTER_INFO_INIT;
    struct vidmm_dg2_adapter_info out;
    static uint32_t tokens[1024];
    (void)state;
    assert_true(getSizeRequiredForTokens(HELPER_ADAPTER) <= sizeof tokens);
    assert_true(structToTokens(HELPER_ADAPTER, tokens, sizeof tokens, &in, sizeof in));
    assert_true(tokensToStruct(HELPER_ADAPTER, &out, sizeof out, tokens, tokens + 1024));
    assert_memory_equal(&in, &out, sizeof in);
}

/* Exactly the fields of the head and the described ones are carried; every one of them is. */
static void every_field_is_carried(void **state)
{
    struct vidmm_dg2_command_header h = {{VIDMM_DG2_COMMAND, VIDMM_DG2_VERSION, sizeof h, 0},
                                         0x123456789abcdef0, 0xfedcba9876543210, 5, 6, 7, 8, 0xc000, 0}, back;
    struct vidmm_dg2_context_info c = {{VIDMM_DG2_CONTEXT, VIDMM_DG2_VERSION, sizeof c, 0},
                                       0x7fff12345678, 4711, 1, 1, 0}, c_back;
    uint32_t tokens[256];
    (void)state;
    assert_true(structToTokens(HELPER_COMMAND, tokens, sizeof tokens, &h, sizeof h));
    assert_true(tokensToStruct(HELPER_COMMAND, &back, sizeof back, tokens, tokens + 256));
    assert_memory_equal(&h, &back, sizeof h);
    assert_true(structToTokens(HELPER_CONTEXT, tokens, sizeof tokens, &c, sizeof c));
    assert_true(tokensToStruct(HELPER_CONTEXT, &c_back, sizeof c_back, tokens, tokens + 256));
    assert_memory_equal(&c, &c_back, sizeof c);
}

/* 7{ 3962{ 3951{ 3905{3850{...}} 3919 } 3952{ same ids } } }: only the main surface counts. */
static void resource_flags_and_refresh(void **state)
{
    static const uint32_t tokens[] = {
        7 | 1u << 28, 0, 44 * 4, 44,
          3962 | 1u << 28, 0, 40 * 4, 40,
            3950 | 1u << 16, 6,
            3951 | 1u << 28, 0, 23 * 4, 23,
              3905 | 1u << 28, 0, 16 * 4, 16,
                3849 | 1u << 28, 0, 2 * 4, 2, 3774 | 1u << 16, 1,
                3850 | 1u << 28, 0, 6 * 4, 6,
                  3800 | 1u << 16, 1, 3806 | 1u << 16, 1, 3807 | 1u << 16, 0,
              3919 | 2u << 16, 0x12340000, 1,
            3952 | 1u << 28, 0, 3 * 4, 3, 3919 | 2u << 16, 99, 99,
            0, 0, 0, 0,
    };
    static struct vidmm_dg2_resource_info r;
    static uint8_t back[sizeof r];
    (void)state;
    assert_int_equal(sizeof tokens, 48 * 4);
    assert_int_equal(getSizeRequiredForStruct(HELPER_RESOURCE), sizeof r);
    assert_true(tokensToStruct(HELPER_RESOURCE, &r, sizeof r, tokens, tokens + VT_COUNT(tokens)));
    assert_true(vidmm_dg2_head_ok(&r.head, VIDMM_DG2_RESOURCE, sizeof r));
    assert_int_equal(r.bytes, 0x112340000);
    assert_int_equal(r.client, 6);
    assert_int_equal(r.flags, VIDMM_DG2_LOCAL_ONLY | VIDMM_DG2_NOT_LOCKABLE);
    /* The driver asks for its tokens back after the creation. */
    assert_true(structToTokens(HELPER_RESOURCE, back, sizeof back, &r, sizeof r));
    assert_memory_equal(back, tokens, sizeof tokens);
    for (size_t i = sizeof tokens; i < sizeof back; i++) assert_int_equal(back[i], 0);
}

/* ---- refusal ----------------------------------------------------------------------------------- */

static void garbage_structs_are_refused(void **state)
{
    static uint8_t bytes[16384], out[16384];
    (void)state;
    random_state = vt_seed() * 2654435761u | 1;
    for (uint64_t round = 0; round < vt_rounds(2000); round++) {
        for (size_t i = 0; i < sizeof bytes; i += 4) memcpy(bytes + i, &(uint32_t){random32()}, 4);
        for (size_t i = 0; i < VT_COUNT(ids); i++)
            assert_false(structToTokens(ids[i], out, sizeof out, bytes, sizeof bytes));
    }
    /* The right head with a lying token count. */
    struct vidmm_dg2_resource_info *r = (struct vidmm_dg2_resource_info *)(void *)bytes;
    r->head = (struct vidmm_dg2_head){VIDMM_DG2_RESOURCE, VIDMM_DG2_VERSION, sizeof *r, 0};
    r->token_bytes = VIDMM_DG2_RESOURCE_TOKENS_MAX + 1;
    assert_false(structToTokens(HELPER_RESOURCE, out, sizeof out, r, sizeof *r));
    r->token_bytes = 100;
    assert_false(structToTokens(HELPER_RESOURCE, out, 96, r, sizeof *r));
}

static void small_buffers_are_refused(void **state)
{
    const struct vidmm_dg2_adapter_info in = VIDMM_DG2_ADAPTER_INFO_INIT;
    static uint8_t tokens[4096], out[16384];
    (void)state;
    for (size_t n = 0; n < 1700; n += 4) {
        uint8_t *exact = malloc(n + 1); /* an overrun is seen by the sanitizer */
        assert_non_null(exact);
        assert_false(structToTokens(HELPER_ADAPTER, exact, n, &in, sizeof in));
        free(exact);
    }
    assert_true(structToTokens(HELPER_ADAPTER, tokens, sizeof tokens, &in, sizeof in));
    assert_false(tokensToStruct(HELPER_ADAPTER, out, sizeof in - 1, tokens, tokens + sizeof tokens));
    assert_false(tokensToStruct(HELPER_ADAPTER, out, sizeof out, tokens + 4, tokens));
    assert_false(tokensToStruct(HELPER_ADAPTER, NULL, sizeof out, tokens, tokens + 4));
    assert_false(tokensToStruct(4242, out, sizeof out, tokens, tokens + 4));
    assert_false(structToTokens(4242, out, sizeof out, tokens, 4));
    assert_int_equal(getSizeRequiredForStruct(4242), 0);
    assert_int_equal(getSizeRequiredForTokens(4242), 0);
}

/* Token streams longer than any struct can keep. */
static void long_streams_are_refused(void **state)
{
    static uint32_t tokens[8192];
    static struct vidmm_dg2_resource_info r;
    (void)state;
    assert_false(tokensToStruct(HELPER_RESOURCE, &r, sizeof r, tokens, tokens + 8192));
    assert_true(tokensToStruct(HELPER_RESOURCE, &r, sizeof r, tokens, tokens + 1024));
    assert_int_equal(r.bytes, 0); /* no tokens: no size, which the driver side refuses */
}

/* Every cut of a good stream, and good streams with flipped bits, at the very end of their memory. */
static void hostile_tokens(void **state)
{
    const struct vidmm_dg2_adapter_info in = VIDMM_DG2_ADAPTER_INFO_INIT;
    static uint8_t good[4096], out[16384];
    const size_t used = 1728;
    (void)state;
    random_state = vt_seed() * 2654435761u | 1;
    printf("seed %llu\n", (unsigned long long)vt_seed());
    assert_true(structToTokens(HELPER_ADAPTER, good, sizeof good, &in, sizeof in));
    for (uint64_t round = 0; round < vt_rounds(60000); round++) {
        size_t n = round < used ? round : random32() % (used + 1);
        uint8_t *copy = malloc(n != 0 ? n : 1);
        assert_non_null(copy);
        memcpy(copy, good, n);
        for (uint32_t flips = round < used ? 0 : random32() % 8; flips != 0 && n != 0; flips--)
            copy[random32() % n] ^= (uint8_t)(1u << random32() % 8);
        for (size_t i = 0; i < VT_COUNT(ids); i++)
            if (!tokensToStruct(ids[i], out, sizeof out, copy, copy + n)) continue;
        free(copy);
    }
    /* Plain noise. */
    for (uint64_t round = 0; round < vt_rounds(20000); round++) {
        size_t n = random32() % 200 + 1;
        uint8_t *copy = malloc(n);
        assert_non_null(copy);
        for (size_t i = 0; i < n; i++) copy[i] = (uint8_t)(random32() >> 24 & random32());
        for (size_t i = 0; i < VT_COUNT(ids); i++) tokensToStruct(ids[i], out, sizeof out, copy, copy + n);
        free(copy);
    }
}

/* Nesting far deeper than any table knows: bounded work, no recursion. */
static void deep_nesting(void **state)
{
    static uint32_t tokens[4 * 1000];
    static struct vidmm_dg2_resource_info r;
    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        tokens[4 * i] = 7 | 1u << 28;
        tokens[4 * i + 3] = 4 * (999 - i);
        tokens[4 * i + 2] = tokens[4 * i + 3] * 4;
    }
    assert_false(tokensToStruct(HELPER_RESOURCE, &r, sizeof r, tokens, tokens + 4000)); /* 16000 bytes */
    assert_true(tokensToStruct(HELPER_COMMAND, &r, sizeof r, tokens, tokens + 4000));
}

static const struct vt_case cases[] = {
    VT_TEST(adapter_round_trip, "", NULL),
    VT_TEST(every_field_is_carried, "", NULL),
    VT_TEST(resource_flags_and_refresh, "", NULL),
    VT_TEST(garbage_structs_are_refused, "", NULL),
    VT_TEST(small_buffers_are_refused, "", NULL),
    VT_TEST(long_streams_are_refused, "", NULL),
    VT_TEST(hostile_tokens, "", NULL),
    VT_TEST(deep_nesting, "", NULL),
};

int main(int argc, char **argv)
{
    return vt_main(argc, argv, "tokens", cases, VT_COUNT(cases));
}
