/* SPDX-License-Identifier: MIT */
/* test_handle.c - if one of these fails, a stale or guessed number reaches somebody else's object. */
#include "vt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kmt/handle.h"

enum { KIND_A = 1, KIND_B = 2 };

struct counting { uint64_t allocs, frees; int64_t bytes; bool refuse; };

static void *count_alloc(void *ctx, size_t bytes, size_t align)
{
    struct counting *c = ctx;
    (void)align;
    if (c->refuse) return NULL;
    c->allocs++;
    c->bytes += (int64_t)bytes;
    return malloc(bytes);
}

static void count_free(void *ctx, void *p, size_t bytes)
{
    struct counting *c = ctx;
    c->frees++;
    c->bytes -= (int64_t)bytes;
    free(p);
}

static struct counting count;
static struct handle_table table;
static int thing[4];

static int begin(void **state)
{
    (void)state;
    const struct base_memory memory = {count_alloc, count_free, &count};
    memset(&count, 0, sizeof count);
    handle_table_init(&table, &memory, HANDLE_LOCAL);
    return 0;
}

static void end(void)
{
    handle_table_destroy(&table);
    assert_int_equal(count.bytes, 0);
}

/* The documented form: top bits not zero, low six bits zero. */
static void form(void **state)
{
    begin(state);
    for (int i = 0; i < 1000; i++) {
        uint32_t h = handle_create(&table, KIND_A, &thing[0]);
        assert_true(h >> 30 != 0);
        assert_int_equal(h & 63, 0);
    }
    end();
    const struct base_memory memory = {count_alloc, count_free, &count};
    handle_table_init(&table, &memory, HANDLE_GLOBAL);
    uint32_t h = handle_create(&table, KIND_A, &thing[0]);
    assert_true(h >> 30 != 0);
    assert_int_equal(h & 63, 2);
    assert_ptr_equal(handle_lookup(&table, h, KIND_A), &thing[0]);
    assert_null(handle_lookup(&table, h & ~63u, KIND_A));
    end();
}

/* A closed handle must not find the object that was made next. */
static void stale_finds_nothing(void **state)
{
    begin(state);
    for (int i = 0; i < 300; i++) {
        uint32_t h = handle_create(&table, KIND_A, &thing[i & 1]);
        assert_true(handle_close(&table, h, KIND_A));
        assert_null(handle_lookup(&table, h, KIND_A));
        assert_false(handle_close(&table, h, KIND_A));
        uint32_t next = handle_create(&table, KIND_A, &thing[2]);
        assert_int_not_equal(next, h);
        assert_null(handle_lookup(&table, h, KIND_A));
        assert_true(handle_close(&table, next, KIND_A));
    }
    end();
}

static void wrong_kind_and_garbage(void **state)
{
    begin(state);
    uint32_t h = handle_create(&table, KIND_A, &thing[0]);
    assert_null(handle_lookup(&table, h, KIND_B));
    assert_false(handle_close(&table, h, KIND_B));
    assert_int_equal(handle_kind(&table, h), KIND_A);
    for (uint32_t bit = 0; bit < 32; bit++) assert_int_equal(handle_kind(&table, h ^ 1u << bit), 0);
    assert_int_equal(handle_kind(&table, 0), 0);
    assert_int_equal(handle_kind(&table, UINT32_MAX), 0);
    assert_ptr_equal(handle_lookup(&table, h, KIND_A), &thing[0]);
    end();
    begin(state);
    assert_null(handle_lookup(&table, h, KIND_A)); /* an empty table */
    end();
}

/* Random lives, short and long, several circles long; a flat array remembers when each value was closed. */
static void freed_value_rests(void **state)
{
    begin(state);
    enum { LIVE = 5000 };
    static uint32_t live[LIVE];
    uint64_t creations = 0, rounds = vt_rounds(40u << 20), random = vt_seed() * 0x9e3779b97f4a7c15ull | 1;
    uint32_t *closed_at = calloc(HANDLE_VALUES, sizeof *closed_at); /* creations + 1 at the time of closing */
    assert_non_null(closed_at);
    printf("seed %llu\n", (unsigned long long)vt_seed());
    memset(live, 0, sizeof live);
    for (uint64_t i = 0; i < rounds; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        /* Low slots turn over all the time, high ones live for circles. */
        uint32_t at = (uint32_t)(random % LIVE);
        if (at > 64 && random >> 40 & 0xfff) at = 0;
        if (live[at] != 0) {
            assert_true(handle_close(&table, live[at], KIND_A));
            closed_at[live[at] >> 6 & (HANDLE_VALUES - 1)] = (uint32_t)creations + 1;
        }
        live[at] = handle_create(&table, KIND_A, &thing[at & 3]);
        uint32_t value = live[at] >> 6 & (HANDLE_VALUES - 1), before = closed_at[value];
        if (before != 0 && creations + 1 - before < HANDLE_QUARANTINE)
            fail_msg("value %x came back after %u creations", value, (uint32_t)(creations + 1 - before));
        creations++;
        assert_ptr_equal(handle_lookup(&table, live[at], KIND_A), &thing[at & 3]);
    }
    free(closed_at);
    end();
}

/* An object that lives until the circle is about to come round: its value must rest all the same. */
static void old_object_closed_late(void **state)
{
    begin(state);
    uint32_t old = handle_create(&table, KIND_B, &thing[1]);
    table.next = HANDLE_VALUES - 1000; /* as after that many creations and closings */
    assert_ptr_equal(handle_lookup(&table, old, KIND_B), &thing[1]);
    assert_true(handle_close(&table, old, KIND_B));
    for (uint32_t i = 0; i < HANDLE_QUARANTINE; i++) {
        uint32_t h = handle_create(&table, KIND_A, &thing[0]);
        assert_int_not_equal(h, old);
        assert_true(handle_close(&table, h, KIND_A));
    }
    assert_int_equal(table.used, 0); /* nothing is remembered longer than needed */
    end();
}

/* Filled to the brim: creation is refused, everything else goes on, and nothing is lost. */
static void table_full(void **state)
{
    begin(state);
    uint32_t first = handle_create(&table, KIND_B, &thing[1]), last = 0;
    for (uint32_t i = 1; i < HANDLE_OPEN_MAX; i++) assert_int_not_equal(
        last = handle_create(&table, KIND_A, &thing[0]), 0);
    assert_int_equal(handle_create(&table, KIND_A, &thing[0]), 0);
    assert_int_equal(table.open, HANDLE_OPEN_MAX);
    assert_ptr_equal(handle_lookup(&table, first, KIND_B), &thing[1]);
    assert_true(handle_close(&table, last, KIND_A));
    assert_int_not_equal(handle_create(&table, KIND_A, &thing[0]), 0);
    assert_int_equal(handle_create(&table, KIND_A, &thing[0]), 0);
    end();
}

/* As many old objects as there may be, closed when the circle is about to reach them: all of them rest, and
 * the client still gets as many new ones, under other numbers. */
static void many_old_ones_closed_late(void **state)
{
    begin(state);
    for (uint32_t i = 0; i < HANDLE_OPEN_MAX; i++) assert_int_not_equal(
        handle_create(&table, KIND_A, &thing[0]), 0);
    table.next = HANDLE_VALUES - 10; /* as after that many creations and closings */
    for (uint32_t value = 1; value <= HANDLE_OPEN_MAX; value++)
        assert_true(handle_close(&table, 0x40000000u | value << 6, KIND_A));
    assert_int_equal(table.used, HANDLE_OPEN_MAX);
    for (uint32_t i = 0; i < HANDLE_OPEN_MAX; i++) {
        uint32_t h = handle_create(&table, KIND_A, &thing[1]);
        if (h == 0) fail_msg("refused after %u", i);
        if ((h >> 6 & (HANDLE_VALUES - 1)) <= HANDLE_OPEN_MAX) fail_msg("%x came back after %u", h, i);
    }
    end();
}

/* A table full of retired values forgets those that have rested, and only those. */
static void rested_ones_make_room(void **state)
{
    uint32_t h[600];
    begin(state);
    table.entries_max = 1000; /* a small world: 600 old and 600 new do not fit together */
    for (uint32_t i = 0; i < 600; i++) h[i] = handle_create(&table, KIND_A, &thing[0]);
    table.next = HANDLE_VALUES - 2000;
    for (uint32_t i = 0; i < 600; i++) assert_true(handle_close(&table, h[i], KIND_A));
    assert_int_equal(table.used, 600);
    for (uint32_t i = 0; i < 400; i++) assert_int_not_equal(handle_create(&table, KIND_B, &thing[1]), 0);
    assert_int_equal(handle_create(&table, KIND_B, &thing[1]), 0); /* none has rested long enough */
    table.created += HANDLE_QUARANTINE - 401;
    assert_int_equal(handle_create(&table, KIND_B, &thing[1]), 0); /* one creation short */
    table.created++;
    for (uint32_t i = 400; i < 1000; i++) h[i % 600] = handle_create(&table, KIND_B, &thing[1]);
    for (uint32_t i = 0; i < 600; i++) assert_ptr_equal(handle_lookup(&table, h[i], KIND_B), &thing[1]);
    assert_int_equal(table.open, 1000);
    assert_int_equal(table.used, 1000);
    end();
}

/* No memory: creation fails, changes nothing, and works again later.  Closing never asks for memory. */
static void memory_refused(void **state)
{
    begin(state);
    count.refuse = true;
    assert_int_equal(handle_create(&table, KIND_A, &thing[0]), 0);
    count.refuse = false;
    uint32_t h[1024], n = 0;
    for (; n < 100; n++) h[n] = handle_create(&table, KIND_A, &thing[n & 3]);
    count.refuse = true;
    while (n < 1024 && (h[n] = handle_create(&table, KIND_A, &thing[n & 3])) != 0) n++;
    assert_true(n >= 100 && n < 1024);
    for (uint32_t i = 0; i < n; i++) assert_ptr_equal(handle_lookup(&table, h[i], KIND_A), &thing[i & 3]);
    for (uint32_t i = 0; i < n; i++) assert_true(handle_close(&table, h[i], KIND_A));
    assert_int_equal(table.open, 0);
    end();
}

static void walk_sees_each_once(void **state)
{
    begin(state);
    uint32_t h[500], seen = 0, cursor = 0, handle, kind;
    for (uint32_t i = 0; i < 500; i++) h[i] = handle_create(&table, i % 2 ? KIND_A : KIND_B, &thing[i & 3]);
    for (uint32_t i = 0; i < 500; i += 5) assert_true(handle_close(&table, h[i], i % 2 ? KIND_A : KIND_B));
    while (handle_next(&table, &cursor, &handle, &kind) != NULL) {
        assert_int_equal(handle_kind(&table, handle), kind);
        seen++;
    }
    assert_int_equal(seen, 400);
    end();
}

static const struct vt_case cases[] = {
    VT_TEST(form, "", NULL),
    VT_TEST(stale_finds_nothing, "", NULL),
    VT_TEST(wrong_kind_and_garbage, "", NULL),
    VT_TEST(freed_value_rests, "", NULL),
    VT_TEST(old_object_closed_late, "", NULL),
    VT_TEST(table_full, "", NULL),
    VT_TEST(many_old_ones_closed_late, "", NULL),
    VT_TEST(rested_ones_make_room, "", NULL),
    VT_TEST(memory_refused, "", NULL),
    VT_TEST(walk_sees_each_once, "", NULL),
};

int main(int argc, char **argv)
{
    return vt_main(argc, argv, "handle", cases, VT_COUNT(cases));
}
