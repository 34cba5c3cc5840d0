/* SPDX-License-Identifier: MIT */
/* tile_kit.h - what the suites of tile updates share: a pool whose tiles are numbered, a reservation, draws.
 * A draw is a packet that copies the first word of each tile it is asked for into memory the CPU sees.
 * Calls: core_fixture. */
#ifndef TESTS_UNIT_TILE_KIT_H
#define TESTS_UNIT_TILE_KIT_H

#include "core_fixture.h"

#define TILE (64 * KIB)
#define BASE 0x200000000ull
#define BASE_B 0x10000000ull          /* below what format B's first root covers */

struct scene {
    struct fx f;
    struct vidmm_open *pool, *out;
    uint64_t pool_va, out_va, tiles;  /* tiles: the reservation */
    uint64_t *seen;                   /* what draws read, by result number */
    struct vidmm_fence *fence;
};

static inline struct vidmm_fence *fence_at(struct vidmm_device *d, uint64_t value)
{
    struct vidmm_fence *f = NULL;
    assert_int_equal(vidmm_fence_create(d, value, 0, &f), VIDMM_OK);
    return f;
}

static inline void pool_fill(struct scene *s)
{
    uint64_t n = vidmm_open_bytes(s->pool) / TILE;
    for (uint64_t i = 0; i < n; i++) fx_fill(&s->f, s->f.c, s->pool_va + i * TILE, (uint32_t)(i + 1), TILE);
    fx_run(&s->f);
}

/* Needs: fx_init and what of the options and hooks a test changes. */
static inline void scene_fill(struct scene *s, uint64_t pool_bytes)
{
    struct fx *f = &s->f;
    void *cpu;
    fx_start(f);
    s->pool = fx_alloc(f->d, pool_bytes, SEG1 | SYS, 1);
    s->out = fx_alloc(f->d, 64 * KIB, SYS, 0);
    s->pool_va = fx_map_all(f->q, s->pool);
    s->out_va = fx_map_all(f->q, s->out);
    fx_resident(f->q, s->pool);
    fx_resident(f->q, s->out);
    assert_int_equal(vidmm_open_lock(s->out, &cpu), VIDMM_OK);
    s->seen = cpu;
    s->fence = fence_at(f->d, 41);
    pool_fill(s);
}

static inline void scene_with(struct scene *s, enum ref_format format, uint64_t pool_bytes)
{
    fx_init(&s->f, format);
    scene_fill(s, pool_bytes);
}

static inline void scene_open(struct scene *s, enum ref_format format)
{
    scene_with(s, format, MIB);
    s->tiles = fx_reserve(&s->f, format == REF_FORMAT_A ? BASE : BASE_B, 4 * MIB);
}

static inline struct vidmm_tile_op map_of(struct scene *s, uint64_t at, uint64_t bytes, uint64_t tile)
{
    return (struct vidmm_tile_op){.type = VIDMM_TILE_MAP, .base = s->tiles + at, .bytes = bytes,
                                  .open = s->pool, .offset = tile * TILE};
}

static inline struct vidmm_tile_op unmap_of(struct scene *s, uint64_t at, uint64_t bytes, uint64_t protection)
{
    return (struct vidmm_tile_op){.type = VIDMM_TILE_UNMAP, .base = s->tiles + at, .bytes = bytes,
                                  .protection = protection};
}

static inline struct vidmm_tile_op copy_of(struct scene *s, uint64_t to, uint64_t from, uint64_t bytes)
{
    return (struct vidmm_tile_op){.type = VIDMM_TILE_COPY, .base = s->tiles + to, .bytes = bytes,
                                  .source = s->tiles + from};
}

static inline vidmm_status update_now(struct scene *s, const struct vidmm_tile_op *op, uint32_t n)
{
    return vidmm_va_update(s->f.c, op, n, NULL, 0, VIDMM_UPDATE_DO_NOT_WAIT);
}

static inline void must_update(struct scene *s, const struct vidmm_tile_op *op, uint32_t n)
{
    assert_int_equal(update_now(s, op, n), VIDMM_OK);
    fx_run(&s->f);
}

static inline void draw(struct scene *s, uint64_t at, uint32_t result)
{
    (void)ref_emit_copy(fx_words(&s->f, 4), s->out_va + result * 8, s->tiles + at, 8);
    fx_submit(&s->f, s->f.c);
}

/* The tile that is seen at an offset of the reservation, by number from 1; 0: zeros. */
static inline uint64_t tile_at(struct scene *s, uint64_t at)
{
    uint64_t word = fx_gpu_read(&s->f, s->tiles + at);
    assert_int_equal(word >> 32, word & UINT32_MAX);
    return word & UINT32_MAX;
}

static inline void must_fault_at(struct scene *s, uint64_t at)
{
    struct vidmm_page_fault fault;
    draw(s, at, 0);
    fx_run(&s->f);
    assert_int_equal(vidmm_device_state(s->f.d), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(vidmm_device_fault(s->f.d, &fault), VIDMM_OK);
    assert_int_equal(fault.va, s->tiles + at);
}

#endif
