/* SPDX-License-Identifier: MIT */
/* test_tiles_demo.c - the scene of `make demo-tiles`, pixel by pixel: a wrong interlock is a wrong tile. */
#include "demo/tiles_scene.h"

#include <stdlib.h>

#include "vt.h"

static void draws_are_right(struct scene_options o, bool moves)
{
    struct scene_result r;
    o.break_row = vt_break();
    for (o.seed = vt_seed(); o.seed < vt_seed() + vt_rounds(3); o.seed++) {
        scene_run(&o, &r);
        free(r.picture);
        if (!r.ran) fail_msg("seed %llu: %s", (unsigned long long)o.seed, r.what);
        if (r.wrong_pixels != 0)
            fail_msg("seed %llu: %llu wrong pixels, the first in draw %u", (unsigned long long)o.seed,
                     (unsigned long long)r.wrong_pixels, r.first_wrong);
        assert_true(r.tiles_mapped > 100);
        assert_int_equal(r.moves != 0, moves);
    }
}

static void every_pixel_is_right(void **state)
{
    (void)state;
    draws_are_right((struct scene_options){.evict = false}, false);
}

static void also_with_the_pool_evicted_in_every_gap(void **state)
{
    (void)state;
    draws_are_right((struct scene_options){.evict = true}, true);
}

static void also_when_paging_is_slow(void **state)
{
    (void)state;
    draws_are_right((struct scene_options){.paging_delay_ns = 5000000}, false);
    draws_are_right((struct scene_options){.evict = true, .paging_delay_ns = 5000000}, true);
}

static void also_when_the_gpu_writes_the_tables(void **state)
{
    (void)state;
    draws_are_right((struct scene_options){.gpu_writes = true}, false);
    draws_are_right((struct scene_options){.gpu_writes = true, .evict = true}, true);
    struct scene_options slow = {.gpu_writes = true, .evict = true, .paging_delay_ns = 5000000};
    draws_are_right(slow, true);
}

static const struct vt_case cases[] = {
    VT_TEST(every_pixel_is_right, "TIL-05 TIL-08", "TIL-05"),
    VT_TEST(also_with_the_pool_evicted_in_every_gap, "TIL-05 TIL-14 TIL-15", "TIL-05"),
    VT_TEST(also_when_paging_is_slow, "TIL-05 TIL-08 TIL-14", "TIL-05"),
    VT_TEST(also_when_the_gpu_writes_the_tables, "TIL-03 TIL-05 TIL-13 TIL-14", "TIL-05"),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "tiles_demo", cases, VT_COUNT(cases)); }
