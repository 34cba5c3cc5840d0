/* SPDX-License-Identifier: MIT */
/* test_core_tile_bounds.c - tile updates against limits: unique driver protections, the longest arrays, the
 * memory that copies may ask for, and a driver that refuses a companion. */
#include <stdlib.h>

#include "core/core.h"

#include "core_fixture.h"

#define TILE (64 * KIB)
#define BASE 0x200000000ull
#define UNIQUE ((1ull << 63) | 1)

struct scene {
    struct fx f;
    struct vidmm_open *pool;
    struct vidmm_fence *fence;
    uint64_t tiles;
};

static void scene_open(struct scene *s, uint64_t reserved)
{
    fx_open(&s->f, REF_FORMAT_A);
    s->pool = fx_alloc(s->f.d, MIB, SEG1 | SYS, 1);
    assert_int_equal(vidmm_fence_create(s->f.d, 0, 0, &s->fence), VIDMM_OK);
    s->tiles = fx_reserve(&s->f, BASE, reserved);
}

static struct vidmm_tile_op map_of(const struct scene *s, uint64_t at, uint64_t offset, uint64_t value)
{
    return (struct vidmm_tile_op){.type = VIDMM_TILE_MAP_PROTECT, .base = s->tiles + at, .bytes = TILE,
                                  .open = s->pool, .offset = offset, .protection = VIDMM_PROT_WRITE,
                                  .driver_protection = value};
}

static struct vidmm_tile_op copy_of(const struct scene *s, uint64_t to, uint64_t from, uint64_t bytes)
{
    return (struct vidmm_tile_op){.type = VIDMM_TILE_COPY, .base = s->tiles + to, .bytes = bytes,
                                  .source = s->tiles + from};
}

static vidmm_status update_now(struct scene *s, const struct vidmm_tile_op *op, uint32_t n)
{
    vidmm_status st = vidmm_va_update(s->f.c, op, n, NULL, 0, VIDMM_UPDATE_DO_NOT_WAIT);
    fx_run(&s->f);
    return st;
}

/* Where VidMm shows a pool to itself is no mapping of the client's: it forbids no unique value. */
static void the_privileged_mapping_forbids_nothing(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, MIB);
    struct vidmm_tile_op first = map_of(&s, 0, 0, UNIQUE), again = map_of(&s, TILE, 0, UNIQUE);
    struct vidmm_tile_op other = map_of(&s, 2 * TILE, 0, 5);
    assert_int_equal(update_now(&s, &first, 1), VIDMM_OK);
    assert_int_equal(update_now(&s, &again, 1), VIDMM_OK); /* the same value is fine */
    assert_int_equal(update_now(&s, &other, 1), VIDMM_INVALID);
    uint64_t va = 0;
    struct vidmm_map map = {.open = s.pool, .offset = TILE, .bytes = TILE, .protection = VIDMM_PROT_WRITE,
                            .driver_protection = UNIQUE};
    assert_true(fx_try_map(s.f.q, &map, &va) >= VIDMM_OK);
    fx_run(&s.f);
    fx_close(&s.f);
}

/* A queued copy is going to show what its source shows now, whatever comes over the source behind it. */
static void a_queued_copy_keeps_what_it_will_show(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, MIB);
    struct vidmm_tile_op plain = map_of(&s, 0, 0, 5), copy = copy_of(&s, TILE, 0, TILE);
    struct vidmm_tile_op unique = map_of(&s, 0, 0, UNIQUE);
    assert_int_equal(update_now(&s, &plain, 1), VIDMM_OK);
    assert_int_equal(vidmm_va_update(s.f.c, &copy, 1, s.fence, 1, 0), VIDMM_OK);
    assert_int_equal(update_now(&s, &unique, 1), VIDMM_INVALID);
    struct vidmm_tile_op both[] = {copy_of(&s, 2 * TILE, 0, TILE), unique};
    assert_int_equal(update_now(&s, both, 2), VIDMM_INVALID);
    assert_int_equal(vidmm_fence_signal(s.fence, 1), VIDMM_OK);
    fx_run(&s.f);
    fx_close(&s.f);
}

static void the_longest_array_is_accepted(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, MIB);
    struct vidmm_tile_op *op = calloc(VIDMM_LIST_MAX, sizeof *op);
    assert_non_null(op);
    for (uint32_t i = 0; i < VIDMM_LIST_MAX; i++) op[i] = map_of(&s, i % 16 * TILE, i % 16 * TILE, 0);
    assert_int_equal(update_now(&s, op, VIDMM_LIST_MAX), VIDMM_OK);
    op[0].open_bytes = TILE / 2; /* two parts: one too many */
    uint64_t hash = vidmm_state_hash(s.f.ad);
    assert_int_equal(update_now(&s, op, VIDMM_LIST_MAX), VIDMM_LIMIT);
    assert_int_equal(vidmm_state_hash(s.f.ad), hash);
    free(op);
    fx_close(&s.f);
}

/* Copies take memory for each of their pages at the call: the sum of a call is bounded, not only each. */
static void copies_of_a_call_are_bounded_together(void **state)
{
    struct scene s;
    (void)state;
    uint64_t most = (uint64_t)VIDMM_COPY_PAGES_MAX * PAGE;
    scene_open(&s, 2 * most);
    struct vidmm_tile_op two[] = {copy_of(&s, 0, most, most), copy_of(&s, 0, most, PAGE)};
    uint64_t hash = vidmm_state_hash(s.f.ad), asked = s.f.world.asked;
    assert_int_equal(vidmm_va_update(s.f.c, two, 2, s.fence, 1, 0), VIDMM_LIMIT);
    assert_int_equal(vidmm_state_hash(s.f.ad), hash);
    assert_int_equal(s.f.world.asked, asked);
    fx_close(&s.f);
}

static vidmm_status refused;
static vidmm_status (*create_context)(void *kmd, struct vidmm_kmd_context *);

static vidmm_status refuse_companions(void *kmd, struct vidmm_kmd_context *kc)
{
    uint32_t both = VIDMM_CONTEXT_SYSTEM | VIDMM_CONTEXT_VIRTUAL;
    bool companion = (kc->flags & both) == both && refused != VIDMM_OK;
    return companion ? refused : create_context(kmd, kc);
}

static void take_over(struct vidmm_kmd_ops *ops)
{
    create_context = ops->create_context;
    ops->create_context = refuse_companions;
}

/* BUSY means that the caller should try again when an update is done: it must not come from the driver. */
static void a_refused_companion_is_a_failure(void **state)
{
    struct scene s;
    (void)state;
    refused = VIDMM_OK;
    fx_init(&s.f, REF_FORMAT_A);
    s.f.hooks.ops = take_over;
    fx_start(&s.f);
    s.pool = fx_alloc(s.f.d, MIB, SEG1 | SYS, 1);
    s.tiles = fx_reserve(&s.f, BASE, MIB);
    struct vidmm_tile_op map = map_of(&s, 0, 0, 0);
    static const vidmm_status said[] = {VIDMM_BUSY, VIDMM_PENDING, VIDMM_INVALID, VIDMM_NO_MEMORY};
    for (int i = 0; i < 4; i++) {
        uint64_t hash = vidmm_state_hash(s.f.ad);
        refused = said[i];
        vidmm_status st = vidmm_va_update(s.f.c, &map, 1, NULL, 0, VIDMM_UPDATE_DO_NOT_WAIT);
        assert_int_equal(st, i == 3 ? VIDMM_NO_MEMORY : VIDMM_FAILED);
        assert_int_equal(vidmm_state_hash(s.f.ad), hash);
        fx_run(&s.f);
    }
    refused = VIDMM_OK;
    assert_int_equal(update_now(&s, &map, 1), VIDMM_OK);
    fx_close(&s.f);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(the_privileged_mapping_forbids_nothing, "VA-36 TIL-12", NULL),
        VT_TEST(a_queued_copy_keeps_what_it_will_show, "VA-36 TIL-18", NULL),
        VT_TEST(the_longest_array_is_accepted, "TIL-16", NULL),
        VT_TEST(copies_of_a_call_are_bounded_together, "", NULL),
        VT_TEST(a_refused_companion_is_a_failure, "", NULL),
    };
    return vt_main(argc, argv, "core_tile_bounds", cases, VT_COUNT(cases));
}
