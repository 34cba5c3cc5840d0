/* SPDX-License-Identifier: MIT */
/* dg2.h - the dg2 driver for composition roots: the command subset, the private data and the adapter
 * description that the Debian compute driver needs, with a page-table layout of its own. */
#ifndef SOFTGPU_DG2_DG2_H
#define SOFTGPU_DG2_DG2_H

#include <vidmm/kmd.h>

#include "softgpu/softgpu.h"

struct dg2_kmd;

enum {
    DG2_NODE_RENDER = 0, DG2_NODE_COPY = 2, DG2_NODE_COMPUTE = 5, DG2_NODE_PAGING = 6, DG2_NODE_COUNT = 7
};

struct dg2_options {
    uint64_t vram_bytes;          /* simulated segment, multiple of 64 KiB; 0: 256 MiB */
    uint64_t vram_reported_bytes; /* what the client driver is told; 0: 4 GiB */
    bool threads;                 /* engines run by themselves from start_device to stop_device */
    uint32_t submit_depth;        /* 0: 4 */
    uint32_t paging_buffer_bytes; /* 0: 4096 */
    uint64_t seed;
    uint32_t tlb_bits, detect;    /* see softgpu_options */
    uint64_t (*now_ns)(void *ctx);
    void *now_ctx;
};

void dg2_options_default(struct dg2_options *);
/* VIDMM_INVALID: impossible sizes. VIDMM_NO_MEMORY. */
vidmm_status dg2_create(const struct dg2_options *, struct dg2_kmd **);
void dg2_destroy(struct dg2_kmd *);
const struct vidmm_kmd_ops *dg2_ops(void); /* their kmd argument is the struct dg2_kmd */
struct softgpu *dg2_gpu(struct dg2_kmd *);

#endif
