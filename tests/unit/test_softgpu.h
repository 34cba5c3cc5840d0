/* SPDX-License-Identifier: MIT */
/* test_softgpu.h - what the tests of the simulated GPU share: a ref bench with one client space and one
 * paging space, command memory in each, and a way to run a few commands. */
#ifndef TESTS_UNIT_TEST_SOFTGPU_H
#define TESTS_UNIT_TEST_SOFTGPU_H

#include "base/bits.h"
#include "base/check.h"
#include "kmd_rig.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_commands.h"
#include "vt.h"

#define CMD_VA 0x1000000ull          /* command memory of each space, one page per context */
#define DATA_VA 0x4000000ull

struct bench {
    struct rig rig;
    struct ref_kmd *kmd;
    struct rig_space client, other, paging;
    struct rig_context compute, copy, other_compute, pager;
    uint64_t cmd_frame[4];
    uint64_t *cmd[4];                /* by context, in the order above */
};

static struct bench bench_memory;

static inline void bench_context(struct bench *b, struct rig_context *c, struct rig_space *s, uint32_t node,
                                 uint32_t slot)
{
    rig_context_open(&b->rig, c, s, node);
    b->cmd_frame[slot] = rig_frames(&b->rig, 1);
    b->cmd[slot] = (uint64_t *)(void *)rig_frame_cpu(&b->rig, b->cmd_frame[slot]);
    rig_map(&b->rig, s, CMD_VA + slot * 4096, 0, b->cmd_frame[slot] * 4096, 1, VIDMM_PTE_VALID);
}

static inline struct bench *bench_open_with(const struct ref_options *o)
{
    struct bench *b = &bench_memory;
    CHECK(ref_create(o, &b->kmd) == VIDMM_OK);
    CHECK(rig_open(&b->rig, ref_ops(), b->kmd, ref_gpu(b->kmd)));
    rig_space_open(&b->rig, &b->client, false);
    rig_space_open(&b->rig, &b->other, false);
    rig_space_open(&b->rig, &b->paging, true);
    bench_context(b, &b->compute, &b->client, REF_NODE_COMPUTE, 0);
    bench_context(b, &b->copy, &b->client, REF_NODE_COPY, 1);
    bench_context(b, &b->other_compute, &b->other, REF_NODE_COMPUTE, 2);
    bench_context(b, &b->pager, &b->paging, REF_NODE_PAGING, 3);
    return b;
}

static inline struct ref_options bench_options(enum ref_format format)
{
    struct ref_options o;
    ref_options_default(&o, format);
    o.tlb_bits = 10;
    o.seed = vt_seed();
    o.now_ns = rig_now;
    o.now_ctx = &bench_memory.rig;
    return o;
}

static inline struct bench *bench_open(enum ref_format format)
{
    struct ref_options o = bench_options(format);
    return bench_open_with(&o);
}

static inline void bench_close(struct bench *b)
{
    rig_context_close(&b->rig, &b->compute);
    rig_context_close(&b->rig, &b->copy);
    rig_context_close(&b->rig, &b->other_compute);
    rig_context_close(&b->rig, &b->pager);
    rig_space_close(&b->rig, &b->client);
    rig_space_close(&b->rig, &b->other);
    rig_space_close(&b->rig, &b->paging);
    rig_close(&b->rig);
    ref_destroy(b->kmd);
}

static inline struct rig_context *bench_ctx(struct bench *b, uint32_t slot)
{
    struct rig_context *by_slot[4] = {&b->compute, &b->copy, &b->other_compute, &b->pager};
    return by_slot[slot];
}

/* Submits the first `words` words of a context's command page. */
static inline uint64_t bench_submit(struct bench *b, uint32_t slot, uint32_t words)
{
    uint32_t flags = slot == 3 ? VIDMM_SUBMIT_PAGING : 0;
    return rig_submit(&b->rig, bench_ctx(b, slot), CMD_VA + slot * 4096, words * 8, flags);
}

/* ... and steps everything until it has completed; false: it faulted or waits. */
static inline bool bench_run(struct bench *b, uint32_t slot, uint32_t words)
{
    uint64_t fence = bench_submit(b, slot, words);
    rig_step(&b->rig, 10000000);
    return rig_completed(&b->rig, bench_ctx(b, slot), fence);
}

static inline uint8_t *bench_vram(struct bench *b, uint32_t segment, uint64_t offset)
{
    return softgpu_vram(b->rig.gpu, segment, offset, 1);
}

static inline struct softgpu_detector bench_detector(struct bench *b)
{
    struct softgpu_detector d;
    softgpu_get_detector(b->rig.gpu, &d);
    return d;
}

static inline uint64_t bench_draw(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15ull);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

#endif
