/* SPDX-License-Identifier: MIT */
/* test_dxcore.c - the enumeration objects driven as a driver drives them: through the function tables, by
 * slot number.  If it fails, a driver does not see the adapter, or jumps to what is no function. */
#include "vt.h"

#include <stdbool.h>
#include <string.h>

#include "app/libdxcore/dxcore.h"

typedef const struct dxcore_guid guid;
struct object { void (*const *functions)(void); };

static const struct dxcore_adapter_facts facts = {
    0x11111111, 0x22, 0x8086, 0x5690, 3, 8, 1ull << 32, 1ull << 33, "the Intel test adapter"};
static bool adapter_there = true;

const struct dxcore_adapter_facts *dxcore_adapter_facts(void) { return adapter_there ? &facts : NULL; }

static guid id_unknown = {0, 0, 0, {0xc0, 0, 0, 0, 0, 0, 0, 0x46}};
static guid id_factory = {0x78ee5945, 0xc36e, 0x4b13, {0xa6, 0x69, 0x00, 0x5d, 0xd1, 0x1c, 0x0f, 0x06}};
static guid id_list = {0x526c7776, 0x40e9, 0x459b, {0xb7, 0x11, 0xf3, 0x2a, 0xd7, 0x6d, 0xfc, 0x28}};
static guid id_adapter = {0xf0db4c7f, 0xfe5a, 0x42a2, {0xbd, 0x62, 0xf2, 0xa6, 0xcf, 0x6f, 0xc8, 0x3e}};
static guid core_compute = {0x248e2800, 0xa793, 0x4724, {0xab, 0xaa, 0x23, 0xa6, 0xde, 0x1b, 0xe0, 0x90}};
static guid graphics = {0x0c9ece4d, 0x2f6e, 0x4f01, {0x8c, 0x96, 0xe8, 0x9e, 0x33, 0x1b, 0x47, 0xb1}};

/* Slots, as the public interfaces number them. */
#define SLOT(type, o, n) ((type)(o)->functions[n])
typedef int32_t (*query_fn)(struct object *, guid *, void **);
typedef uint32_t (*count_fn)(struct object *);
typedef int32_t (*create_list_fn)(struct object *, uint32_t, guid *, guid *, void **);
typedef int32_t (*by_luid_fn)(struct object *, const void *, guid *, void **);
typedef int32_t (*get_adapter_fn)(struct object *, uint32_t, guid *, void **);
typedef int32_t (*get_property_fn)(struct object *, uint32_t, size_t, void *);
typedef int32_t (*get_size_fn)(struct object *, uint32_t, size_t *);
typedef bool (*flag_fn)(struct object *);
typedef bool (*supported_fn)(struct object *, uint32_t);
typedef bool (*attribute_fn)(struct object *, guid *);

static struct object *make_factory(void)
{
    void *p = NULL;
    assert_int_equal(DXCoreCreateAdapterFactory(&id_factory, &p), 0);
    return p;
}

static struct object *make_list(struct object *factory, guid *attribute)
{
    void *p = NULL;
    assert_int_equal(SLOT(create_list_fn, factory, 3)(factory, 1, attribute, &id_list, &p), 0);
    return p;
}

static struct object *make_adapter(struct object *list)
{
    void *p = NULL;
    assert_int_equal(SLOT(get_adapter_fn, list, 3)(list, 0, &id_adapter, &p), 0);
    return p;
}

/* The calls of the Debian driver, in its order. */
static void as_the_driver_does(void **state)
{
    struct { uint32_t vendor, device, subsystem, revision; } hardware;
    struct { uint32_t low; int32_t high; } luid;
    char text[64];
    bool is_hardware = false;
    size_t bytes = 0;
    (void)state;
    struct object *factory = make_factory(), *list = make_list(factory, &core_compute);
    assert_int_equal(SLOT(count_fn, list, 4)(list), 1);
    struct object *adapter = make_adapter(list);
    assert_int_equal(SLOT(get_property_fn, adapter, 6)(adapter, 11, 1, &is_hardware), 0);
    assert_true(is_hardware);
    assert_int_equal(SLOT(get_size_fn, adapter, 7)(adapter, 2, &bytes), 0);
    assert_int_equal(bytes, strlen(facts.description) + 1);
    assert_int_equal(SLOT(get_property_fn, adapter, 6)(adapter, 2, bytes, text), 0);
    assert_string_equal(text, facts.description);
    assert_int_equal(SLOT(get_property_fn, adapter, 6)(adapter, 3, sizeof hardware, &hardware), 0);
    assert_int_equal(hardware.vendor, 0x8086);
    assert_int_equal(hardware.revision, 8);
    assert_int_equal(SLOT(get_property_fn, adapter, 6)(adapter, 0, sizeof luid, &luid), 0);
    assert_int_equal(luid.low, facts.luid_low);
    assert_int_equal(luid.high, facts.luid_high);
    for (struct object *o = adapter; o != NULL; o = o == adapter ? list : o == list ? factory : NULL)
        assert_int_equal(SLOT(count_fn, o, 2)(o), 0);
}

static void counting_and_identity(void **state)
{
    void *p = NULL;
    (void)state;
    struct object *factory = make_factory(), *list = make_list(factory, &core_compute);
    struct object *adapter = make_adapter(list);
    struct { struct object *o; guid *id; } all[] = {
        {factory, &id_factory}, {list, &id_list}, {adapter, &id_adapter}};
    for (size_t i = 0; i < 3; i++) {
        struct object *o = all[i].o;
        assert_int_equal(SLOT(count_fn, o, 1)(o), 2);
        assert_int_equal(SLOT(query_fn, o, 0)(o, &id_unknown, &p), 0);
        assert_ptr_equal(p, o);
        assert_int_equal(SLOT(query_fn, o, 0)(o, all[i].id, &p), 0);
        assert_int_equal((uint32_t)SLOT(query_fn, o, 0)(o, all[(i + 1) % 3].id, &p), 0x80004002);
        assert_null(p);
        assert_int_equal((uint32_t)SLOT(query_fn, o, 0)(o, &id_unknown, NULL), 0x80004003);
        for (uint32_t n = 4; n-- != 0;) assert_int_equal(SLOT(count_fn, o, 2)(o), n);
        assert_int_equal(SLOT(count_fn, o, 2)(o), 0); /* one too many */
    }
    assert_int_equal((uint32_t)DXCoreCreateAdapterFactory(&graphics, &p), 0x80004002);
    assert_int_equal((uint32_t)DXCoreCreateAdapterFactory(&id_factory, NULL), 0x80004003);
}

static void filters_and_bad_arguments(void **state)
{
    void *p = &p;
    uint8_t big[256];
    const struct dxcore_guid both[] = {core_compute, graphics};
    const struct { uint32_t low; int32_t high; } luid = {0x11111111, 0x22}, wrong = {0x11111111, 0x23};
    (void)state;
    struct object *factory = make_factory(), *list = make_list(factory, &graphics);
    assert_int_equal(SLOT(count_fn, list, 4)(list), 0);
    assert_int_equal((uint32_t)SLOT(get_adapter_fn, list, 3)(list, 0, &id_adapter, &p), 0x80070057);
    assert_null(p);
    assert_int_equal(SLOT(create_list_fn, factory, 3)(factory, 2, both, &id_list, &p), 0);
    assert_int_equal(SLOT(count_fn, (struct object *)p, 4)(p), 0);
    assert_int_equal((uint32_t)SLOT(create_list_fn, factory, 3)(factory, 0, both, &id_list, &p), 0x80070057);
    assert_int_equal(SLOT(by_luid_fn, factory, 4)(factory, &luid, &id_adapter, &p), 0);
    assert_int_equal((uint32_t)SLOT(by_luid_fn, factory, 4)(factory, &wrong, &id_adapter, &p), 0x80070057);
    struct object *adapter = make_adapter(make_list(factory, &core_compute));
    assert_int_equal((uint32_t)SLOT(get_property_fn, adapter, 6)(adapter, 3, 15, big), 0x80070057);
    assert_int_equal((uint32_t)SLOT(get_property_fn, adapter, 6)(adapter, 99, 256, big), 0x887a0004);
    assert_int_equal((uint32_t)SLOT(get_property_fn, adapter, 6)(adapter, 3, 16, NULL), 0x80004003);
    for (uint32_t i = 0; i < 40; i++) {
        size_t bytes = 0;
        bool known = SLOT(supported_fn, adapter, 5)(adapter, i);
        assert_int_equal(SLOT(get_size_fn, adapter, 7)(adapter, i, &bytes) == 0, known);
        assert_int_equal(bytes != 0, known);
        assert_int_equal(SLOT(get_property_fn, adapter, 6)(adapter, i, sizeof big, big) == 0, known);
    }
    assert_true(SLOT(attribute_fn, adapter, 4)(adapter, &core_compute));
    assert_false(SLOT(attribute_fn, adapter, 4)(adapter, &graphics));
}

/* The slots that drivers were never seen to use: present, and honest. */
static void remaining_slots(void **state)
{
    uint8_t bytes[64] = {0};
    uint32_t cookie = 5;
    void *p = NULL;
    (void)state;
    struct object *factory = make_factory(), *list = make_list(factory, &core_compute);
    struct object *adapter = make_adapter(list);
    typedef int32_t (*query_state_fn)(struct object *, uint32_t, size_t, const void *, size_t, void *);
    typedef int32_t (*register_fn)(struct object *, void *, uint32_t, void *, void *, uint32_t *);
    typedef int32_t (*unregister_fn)(struct object *, uint32_t);
    typedef int32_t (*sort_fn)(struct object *, uint32_t, const uint32_t *);
    assert_true(SLOT(flag_fn, adapter, 3)(adapter));
    assert_true(SLOT(supported_fn, adapter, 8)(adapter, 0));
    assert_false(SLOT(supported_fn, adapter, 8)(adapter, 1));
    assert_int_equal(SLOT(query_state_fn, adapter, 9)(adapter, 0, 0, NULL, 64, bytes), 0);
    assert_true(SLOT(query_state_fn, adapter, 9)(adapter, 1, 0, NULL, 64, bytes) < 0);
    assert_false(SLOT(supported_fn, adapter, 10)(adapter, 0));
    assert_true(SLOT(query_state_fn, adapter, 11)(adapter, 0, 0, NULL, 64, bytes) < 0);
    assert_int_equal(SLOT(query_fn, adapter, 12)(adapter, &id_factory, &p), 0);
    assert_ptr_equal(p, factory);
    assert_false(SLOT(flag_fn, list, 5)(list));
    assert_int_equal(SLOT(query_fn, list, 6)(list, &id_factory, &p), 0);
    assert_int_equal(SLOT(sort_fn, list, 7)(list, 1, &cookie), 0);
    assert_false(SLOT(supported_fn, list, 8)(list, 0));
    assert_false(SLOT(supported_fn, factory, 5)(factory, 0));
    assert_true(SLOT(register_fn, factory, 6)(factory, adapter, 0, NULL, NULL, &cookie) < 0);
    assert_int_equal(cookie, 0);
    assert_true(SLOT(unregister_fn, factory, 7)(factory, 1) < 0);
}

static void no_adapter(void **state)
{
    void *p = NULL;
    size_t bytes;
    (void)state;
    struct object *factory = make_factory(), *full = make_list(factory, &core_compute);
    struct object *adapter = make_adapter(full);
    adapter_there = false;
    struct object *list = make_list(factory, &core_compute);
    assert_int_equal(SLOT(count_fn, list, 4)(list), 0);
    assert_false(SLOT(flag_fn, adapter, 3)(adapter));
    assert_true(SLOT(get_size_fn, adapter, 7)(adapter, 2, &bytes) < 0);
    assert_true(SLOT(by_luid_fn, factory, 4)(factory, &facts, &id_adapter, &p) < 0);
    adapter_there = true;
}

static const struct vt_case cases[] = {
    VT_TEST(as_the_driver_does, "", NULL),
    VT_TEST(counting_and_identity, "", NULL),
    VT_TEST(filters_and_bad_arguments, "", NULL),
    VT_TEST(remaining_slots, "", NULL),
    VT_TEST(no_adapter, "", NULL),
};

int main(int argc, char **argv)
{
    return vt_main(argc, argv, "dxcore", cases, VT_COUNT(cases));
}
