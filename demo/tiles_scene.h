/* SPDX-License-Identifier: MIT */
/* tiles_scene.h — a virtual texture of 64 x 64 tiles behind a pool of 40, drawn frame by frame by the ref GPU
 * while its tiles are remapped between draws; every pixel is compared with what the CPU computes.
 * A tile is 128 x 128 pixels of 4 bytes: 64 KiB. In the corner of each picture one more tile, the badge, is
 * mapped anew for each draw and shows the number of the draw. */
#ifndef VIDMM_DEMO_TILES_SCENE_H
#define VIDMM_DEMO_TILES_SCENE_H

#include <stdbool.h>
#include <stdint.h>

enum { SCENE_WIDTH = 512, SCENE_HEIGHT = 384, SCENE_FRAMES = 48 };

struct scene_options {
    bool evict;               /* user mode evicts the pool in every gap, and somebody else takes its room */
    uint64_t paging_delay_ns; /* each paging buffer starts this much later */
    uint64_t seed;            /* order of turns */
    bool gpu_writes;          /* page tables are written by the GPU, tile updates by packets of their own */
    const char *break_row;    /* test builds: requirement whose rule is broken, or NULL */
};

struct scene_result {
    bool ran;                 /* false: `what` says why not */
    const char *what;
    uint64_t wrong_pixels, tiles_mapped, moves;
    uint32_t first_wrong;     /* draw number */
    uint32_t *picture;        /* SCENE_FRAMES pictures, 0xAABBGGRR; the caller frees it */
};

/* Draws everything and compares. */
void scene_run(const struct scene_options *, struct scene_result *);

#endif
