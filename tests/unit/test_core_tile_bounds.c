/* SPDX-License-Identifier: MIT */
/* test_core_tile_bounds.c - tile updates against limits: unique driver protections. */
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

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(the_privileged_mapping_forbids_nothing, "VA-36 TIL-12", NULL),
        VT_TEST(a_queued_copy_keeps_what_it_will_show, "VA-36 TIL-18", NULL),
    };
    return vt_main(argc, argv, "core_tile_bounds", cases, VT_COUNT(cases));
}
