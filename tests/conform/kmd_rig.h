/* SPDX-License-Identifier: MIT */
/* kmd_rig.h - a driver and its simulated GPU on a bench without the memory manager: page tables built by
 * hand through the driver's own operations, packets submitted by hand, engines stepped or on threads.
 * Owns: the platform (an arena of frames), the table tree of each space, what the driver has reported. */
#ifndef TESTS_CONFORM_KMD_RIG_H
#define TESTS_CONFORM_KMD_RIG_H

#include <stdatomic.h>

#include <vidmm/kmd.h>

#include "softgpu/softgpu.h"

#define RIG_FRAMES 16384u     /* 64 MiB of system memory */
#define RIG_TABLES_MAX 2048u
#define RIG_NODES SOFTGPU_NODES_MAX

struct rig_table { struct vidmm_gpu_address at; uint8_t *cpu; uint64_t prefix; uint32_t level; };

struct rig {
    const struct vidmm_kmd_ops *ops;
    void *kmd;
    struct softgpu *gpu;
    struct vidmm_adapter_info info;
    struct vidmm_platform platform;
    uint8_t *arena;
    uint64_t next_frame, clock_ns;
    uint64_t next_vram[VIDMM_SEGMENTS_MAX + 1]; /* grows upwards, by segment */
    uint64_t vanished_frame;      /* copies that touch it fail; 0: none */
    uint64_t freed_frame;         /* not in use; 0: none */
    uint64_t fence[RIG_NODES];    /* last fence id given out */
    _Atomic uint64_t completed[RIG_NODES];
    _Atomic uint32_t fence_interrupts, fault_count, allocs_live;
    struct vidmm_page_fault fault; /* the last one */
};

struct rig_space {
    void *process;
    struct rig_table table[RIG_TABLES_MAX]; /* [0] = root */
    uint32_t tables, root_entries;
};

struct rig_context { struct rig_space *space; void *handle; uint32_t node; };

/* Bench around a driver that has been created but not started. false: it did not start. */
bool rig_open(struct rig *, const struct vidmm_kmd_ops *, void *kmd, struct softgpu *);
void rig_close(struct rig *); /* stops the device; the driver is the caller's to destroy */

uint64_t rig_frames(struct rig *, uint64_t pages);             /* consecutive frames, zeroed */
uint8_t *rig_frame_cpu(struct rig *, uint64_t frame);
uint64_t rig_vram(struct rig *, uint32_t segment, uint64_t bytes); /* offset, page aligned */
uint64_t rig_now(void *rig);                                   /* clock of the stepped GPU */

void rig_space_open(struct rig *, struct rig_space *, bool system);
void rig_space_close(struct rig *, struct rig_space *);
/* Maps pages at va: system frames (segment 0, address = frame * 4096) or segment bytes. flags as in a
 * vidmm_pte_kind; 0 unmaps. No flush. */
void rig_map(struct rig *, struct rig_space *, uint64_t va, uint32_t segment, uint64_t address,
             uint64_t pages, uint32_t flags);
/* The table of a level on the way to va, created when missing. */
struct rig_table *rig_table(struct rig *, struct rig_space *, uint64_t va, uint32_t level);

void rig_context_open(struct rig *, struct rig_context *, struct rig_space *, uint32_t node);
void rig_context_close(struct rig *, struct rig_context *);
/* Submits [va, va + bytes); gives the fence id. */
uint64_t rig_submit(struct rig *, struct rig_context *, uint64_t va, uint32_t bytes, uint32_t flags);
/* Steps every node until none makes progress, at most `steps` steps. Gives the number made. */
uint64_t rig_step(struct rig *, uint64_t steps);
/* Steps one node until it does not make progress. */
void rig_step_node(struct rig *, uint32_t node);
bool rig_completed(struct rig *, const struct rig_context *, uint64_t fence);
/* With engine threads: waits (some seconds at most) until the fence id has completed or a fault came. */
bool rig_wait(struct rig *, const struct rig_context *, uint64_t fence);

#endif
