/* SPDX-License-Identifier: MIT */
/* bench_tiles.c - what an UpdateGpuVirtualAddress call costs its caller, with the ref driver in one thread.
 * Owns: an adapter with a reservation and a pool of 256 tiles of 64 KiB. Calls: vidmm.h, the host's platform.
 * Each call maps every tile to another page of the pool than before, without waiting, so accepting, applying
 * and the writing of entries are all in it; the flush comes between the timed parts, by the paging engine.
 * Floor: the same entries stored into tables that are not shared with anybody. CPU time, medians. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vidmm/vidmm.h>

#include "bench.h"
#include "host/posix.h"
#include "softgpu/devmem.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"

enum { ROUNDS = 101, TILES = 256, TILE_PAGES = 16, AGAIN = 64, FRAMES = 1 << 18 };
#define TILE_BYTES (TILE_PAGES * VIDMM_PAGE_SIZE)

struct tiles {
    struct posix_platform platform;
    struct ref_kmd *kmd;
    struct vidmm_adapter *ad;
    struct vidmm_process *proc;
    struct vidmm_device *dev;
    struct vidmm_queue *queue;
    struct vidmm_context *ctx;
    struct vidmm_open *pool;
    uint64_t base, now;
};

static void no_poke(void *arg) { (void)arg; }

static void settle(struct tiles *b)
{
    bool busy = true;
    while (busy) {
        b->now++;
        busy = vidmm_run(b->ad, b->now) == b->now;
        for (uint32_t node = 0; node < REF_NODE_COUNT; node++)
            busy |= softgpu_engine_step(ref_gpu(b->kmd), node) == SOFTGPU_PROGRESS;
    }
}

static void open_tiles(struct tiles *b)
{
    struct ref_options opt;
    struct vidmm_context_desc desc = { .node = REF_NODE_COMPUTE };
    const char *why = "no adapter";
    memset(b, 0, sizeof *b);
    ref_options_default(&opt, REF_FORMAT_A);
    must(posix_platform_init(&b->platform, FRAMES, no_poke, NULL), "no platform");
    must(ref_create(&opt, &b->kmd) == VIDMM_OK, "no driver");
    struct vidmm_adapter_config cfg = { .struct_size = sizeof cfg, .platform = &b->platform.face,
                                        .ops = ref_ops(), .kmd = b->kmd };
    must(vidmm_adapter_create(&cfg, &b->ad, &why) == VIDMM_OK, why);
    must(vidmm_process_create(b->ad, &b->proc) == VIDMM_OK, "no process");
    must(vidmm_device_create(b->proc, &b->dev) == VIDMM_OK, "no device");
    must(vidmm_queue_create(b->dev, 0, &b->queue) == VIDMM_OK, "no paging queue");
    must(vidmm_context_create(b->dev, &desc, &b->ctx) == VIDMM_OK, "no context");
}

static void open_pool(struct tiles *b)
{
    struct ref_alloc_private p = { .magic = REF_ALLOC_MAGIC, .alignment = 65536, .bytes = TILES * TILE_BYTES,
                                   .supported = 1, .preferred = 1 };
    struct vidmm_alloc_desc in = { .private_data = &p, .private_size = sizeof p };
    struct vidmm_reserve r = { .bytes = TILES * TILE_BYTES };
    uint64_t value, trim;
    must(vidmm_alloc_create(b->dev, &in, &b->pool) == VIDMM_OK, "no pool");
    must(vidmm_make_resident(b->queue, &b->pool, 1, 0, &value, &trim) >= 0, "the pool is not resident");
    must(vidmm_va_reserve(b->proc, b->queue, &r, &b->base, &value) == VIDMM_OK, "no reservation");
    settle(b);
}

static void close_tiles(struct tiles *b)
{
    vidmm_process_destroy(b->proc);
    settle(b);
    vidmm_adapter_destroy(b->ad);
    ref_destroy(b->kmd);
    posix_platform_fini(&b->platform);
}

/* Neighbours in the texture are no neighbours in the pool. */
static void plan(const struct tiles *b, struct vidmm_tile_op *op, uint32_t n, uint32_t round)
{
    for (uint32_t i = 0; i < n; i++)
        op[i] = (struct vidmm_tile_op){ .type = VIDMM_TILE_MAP, .base = b->base + i * TILE_BYTES,
                                        .bytes = TILE_BYTES, .open = b->pool,
                                        .offset = (i * 37 + round * 11) % TILES * TILE_BYTES };
}

static double store_ns(uint64_t *table, uint32_t n, uint32_t round)
{
    double t = bench_now_ns();
    for (uint32_t k = 0; k < AGAIN; k++) /* one is too short for the clock */
        for (uint32_t i = 0; i < n; i++)
            devmem_fill_entries64(table + i * TILE_PAGES, (i * 37ull + round * 11) % TILES * TILE_BYTES | 1,
                                  VIDMM_PAGE_SIZE, TILE_PAGES);
    return (bench_now_ns() - t) / AGAIN;
}

static void update(struct bench_out *out, struct tiles *b, uint32_t n, double goal)
{
    static struct vidmm_tile_op op[TILES];
    static uint64_t table[TILES * TILE_PAGES];
    double call[ROUNDS], floor[ROUNDS];
    char name[64];
    for (uint32_t i = 0; i < ROUNDS; i++) {
        plan(b, op, n, i);
        floor[i] = store_ns(table, n, i) / n;
        double t0 = bench_now_ns();
        must(vidmm_va_update(b->ctx, op, n, NULL, 0, VIDMM_UPDATE_DO_NOT_WAIT) == VIDMM_OK, "update refused");
        call[i] = (bench_now_ns() - t0) / n;
        settle(b);
    }
    (void)snprintf(name, sizeof name, "tile update of %u tiles", n);
    if (n == 1) (void)snprintf(name, sizeof name, "tile update of 1 tile");
    bench_add(out, name, median(call, ROUNDS), "ns/tile", median(floor, ROUNDS), goal, true);
}

void bench_tiles(struct bench_out *out)
{
    struct tiles b;
    bench_say("tile updates");
    open_tiles(&b);
    open_pool(&b);
    update(out, &b, 1, 100);
    update(out, &b, 16, 50);
    update(out, &b, 256, 50);
    close_tiles(&b);
}
