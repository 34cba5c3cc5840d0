/* SPDX-License-Identifier: MIT */
/* ref.h - the ref driver for composition roots and tests: our own command set (ref_commands.h) and three
 * page-table formats behind one ops table. Owns the simulated GPU it drives. */
#ifndef SOFTGPU_REF_REF_H
#define SOFTGPU_REF_REF_H

#include <vidmm/kmd.h>

#include "softgpu/softgpu.h"

struct ref_kmd;

enum ref_format {
    REF_FORMAT_A = 0, /* 4 levels of 9 bits, 8-byte entries, 48-bit addresses; invalid not cached */
    REF_FORMAT_B = 1, /* 2 levels, 4-byte entries, 40-bit addresses, resizable root; invalid cached */
    REF_FORMAT_C = 2  /* A's entries, 3 levels, 40-bit addresses */
};

/* Nodes of the ref GPU. */
enum { REF_NODE_COMPUTE = 0, REF_NODE_COPY = 1, REF_NODE_PAGING = 2, REF_NODE_COUNT = 3,
       REF_NODE_PHYSICAL = 3 /* with options.physical: executes ref_physical.h */ };

/* What contexts of the physical node start with. */
enum { REF_DMA_BYTES = 4096, REF_ALLOCATION_LIST = 64, REF_PATCH_LIST = 128 };

struct ref_segment {
    uint64_t bytes;        /* multiple of the page size */
    bool pages_64k, aperture;
    bool no_cpu_access;    /* memory the CPU cannot reach: no tables there */
    uint64_t system_frame; /* carved out of system memory, from this frame on; 0: memory of its own */
    bool application;      /* counts for the application budget */
};

struct ref_options {
    enum ref_format format;
    struct ref_segment segment[VIDMM_SEGMENTS_MAX]; /* id = index + 1 */
    uint32_t segment_count;
    uint32_t table_segment[VIDMM_LEVELS_MAX];        /* per level; 0 = system memory */
    uint32_t paging_table_segment[VIDMM_LEVELS_MAX]; /* the same for the paging process */
    uint32_t update_mode;           /* vidmm_update_mode: who writes page tables */
    uint32_t companion_node;        /* + 1; 0: the one VidMm proposes, which is the paging node */
    uint32_t mmu_flags;             /* vidmm_gpummu_flags announced; set by ref_options_default */
    uint32_t paging_buffer_bytes;   /* 0: 4096 */
    uint32_t submit_depth;          /* 0: 4 */
    bool no_64bit_atomics;          /* fences of 32 bits: the _write32 and _wait32 commands are for them */
    bool physical;                  /* one node more, which knows no virtual addresses */
    bool iommu;                     /* contexts may use their process' addresses; no hardware queues then */
    bool map_aperture2;             /* MapAperture2Supported */
    bool secure;                    /* can be isolated: IoMmuSecureModeSupported */
    uint64_t visible_bytes;         /* of system memory's addresses; 0: all */
    bool no_gpummu;                 /* and with iommu: all of them do */
    bool threads;                   /* engines run by themselves from start_device to stop_device */
    uint64_t seed;
    uint32_t tlb_bits, detect;      /* see softgpu_options */
    uint64_t (*now_ns)(void *ctx);
    void *now_ctx;
};

/* Segment 1: 256 MiB in 64 KB pages; 2: 32 MiB in 4 KB pages; 3: the aperture. Formats A and C keep their
 * tables in segment 2, format B its leaf tables in system memory and its root in segment 2. */
void ref_options_default(struct ref_options *, enum ref_format);
/* VIDMM_INVALID: options contradict each other. VIDMM_NO_MEMORY. */
vidmm_status ref_create(const struct ref_options *, struct ref_kmd **);
void ref_destroy(struct ref_kmd *);
/* Makes a link of up to VIDMM_GPUS_MAX, by their index; the first one makes the allocations of all. Before
 * any adapter is made of them. */
void ref_link(struct ref_kmd *const *, uint32_t n);
const struct vidmm_kmd_ops *ref_ops(void); /* their kmd argument is the struct ref_kmd */
struct softgpu *ref_gpu(struct ref_kmd *);
/* What the display controller finds at an offset of the primary it was given, through the aperture and
 * nothing else; by the owner. false: it shows nothing, or reads where nothing is mapped. */
bool ref_scan_out(struct ref_kmd *, uint64_t offset, void *out, uint32_t bytes);

#endif
