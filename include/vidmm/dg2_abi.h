/* SPDX-License-Identifier: MIT */
/* dg2_abi.h - private driver data of the dg2 profile: what libwsl_compute_helper.so (in the client) and the
 * dg2 kernel-mode driver say to each other through the opaque buffers of the D3DKMT calls.
 * Owns: layouts only.  Calls: nothing.
 * The client's driver never looks inside: it hands tokens to the helper library, which fills these structs,
 * and the other way round.  So the layouts are ours.  Every struct starts with a head; a reader refuses what
 * does not carry the expected magic, version and size.  The bytes come from user mode: trust nothing else. */
#ifndef VIDMM_DG2_ABI_H
#define VIDMM_DG2_ABI_H

#include <stdbool.h>
#include <stdint.h>

#define VIDMM_DG2_VERSION 1u

enum vidmm_dg2_magic {
    VIDMM_DG2_ADAPTER = 0x41324744,   /* adapter info: QueryAdapterInfo(UMDRIVERPRIVATE) */
    VIDMM_DG2_RESOURCE = 0x52324744,  /* per allocation: CreateAllocation2 */
    VIDMM_DG2_CONTEXT = 0x43324744,   /* CreateContextVirtual */
    VIDMM_DG2_COMMAND = 0x48324744,   /* SubmitCommand */
    VIDMM_DG2_PARTITION = 0x50324744, /* address partitioning: inside adapter info, and Escape */
};

struct vidmm_dg2_head {
    uint32_t magic;   /* enum vidmm_dg2_magic */
    uint32_t version; /* VIDMM_DG2_VERSION */
    uint32_t bytes;   /* of the whole struct */
    uint32_t reserved;
};

static inline bool vidmm_dg2_head_ok(const struct vidmm_dg2_head *h, uint32_t magic, uint64_t struct_bytes)
{
    return h->magic == magic && h->version == VIDMM_DG2_VERSION && h->bytes == struct_bytes &&
           h->reserved == 0;
}

/* An address range as the driver wants it: the limit is the last byte, not the end. */
struct vidmm_dg2_range { uint64_t base, limit; };

struct vidmm_dg2_partition {
    struct vidmm_dg2_head head;
    struct vidmm_dg2_range standard, standard_64k, svm, heap32[4];
};

/* What the adapter is.  Kept in the order in which the driver is told. */
struct vidmm_dg2_adapter_info {
    struct vidmm_dg2_head head;
    uint32_t kmd_version;
    /* platform */
    uint32_t product, display_core, render_core, platform_type, device_id, revision, gt_type;
    /* features: 0 or 1 each */
    uint32_t ppgtt, ia32e_pte, svm, gpu_mmu, pages_64k, tile_y, l3_coherency;
    uint32_t local_memory, blitter_ring, ccs_node, ccs_ring;
    uint32_t preempt_mid_batch, preempt_thread_group, preempt_mid_thread;
    /* clocks and sizes */
    uint32_t clock_mhz, clock_min_mhz, clock_max_mhz, eu_total;
    uint64_t timestamp_hz;
    uint64_t dedicated_bytes; /* video memory the driver is told about (the simulated segment may differ) */
    uint64_t shared_bytes, system_video_bytes;
    /* execution units */
    uint32_t eu_count, thread_count, slice_count, subslice_count, dual_subslice_count;
    uint32_t l3_kb, llc_kb, l3_banks, l3_fill, csr_mb;
    uint32_t max_eu_per_subslice, max_slices, max_subslices, max_dual_subslices, threads_per_eu;
    uint32_t eu_per_subslice, eu_mask;
    struct vidmm_dg2_partition partition;
    char registry_path[512]; /* any text, NUL-terminated */
};

/* The adapter as the dg2 profile describes it; the driver may change sizes before it hands the struct out.
 * A data table: the values are those an unmodified driver was seen to accept. */
#define VIDMM_DG2_ADAPTER_INFO_INIT                                                                          \
    {                                                                                                        \
        .head = {VIDMM_DG2_ADAPTER, VIDMM_DG2_VERSION, sizeof(struct vidmm_dg2_adapter_info), 0},            \
        .kmd_version = 1,                                                                                    \
        .product = 1270, .display_core = 0xc07, .render_core = 0xc07, .platform_type = 1,                    \
        .device_id = 0x5690, .revision = 8, .gt_type = 1,                                                    \
        .ppgtt = 1, .ia32e_pte = 1, .svm = 1, .gpu_mmu = 1, .pages_64k = 1, .tile_y = 1, .l3_coherency = 1,  \
        .local_memory = 1, .blitter_ring = 1, .ccs_node = 1, .ccs_ring = 1,                                  \
        .clock_mhz = 350, .clock_min_mhz = 350, .clock_max_mhz = 1150, .eu_total = 24,                       \
        .timestamp_hz = 19200000,                                                                            \
        .dedicated_bytes = 4ull << 30, .shared_bytes = 4ull << 30,                                           \
        .eu_count = 24, .thread_count = 168,                                                                 \
        .slice_count = 1, .subslice_count = 3, .dual_subslice_count = 3,                                     \
        .l3_kb = 768, .llc_kb = 8192, .l3_banks = 4, .l3_fill = 8, .csr_mb = 8,                              \
        .max_eu_per_subslice = 8, .max_slices = 1, .max_subslices = 3, .max_dual_subslices = 3,              \
        .threads_per_eu = 7, .eu_per_subslice = 8, .eu_mask = 0xff,                                          \
        .partition = {                                                                                       \
            .head = {VIDMM_DG2_PARTITION, VIDMM_DG2_VERSION, sizeof(struct vidmm_dg2_partition), 0},         \
            .standard = {0x801000000000, 0xbfffffffffff},                                                    \
            .standard_64k = {0xc00000000000, 0xfffeffffffff},                                                \
            .svm = {0x10000, 0x7fffffffffff},                                                                \
            .heap32 = {{0x800100000000, 0x8001ffffffff}, {0x800200000000, 0x8002ffffffff},                   \
                       {0x800300000000, 0x8003ffffffff}, {0x800400000000, 0x8004ffffffff}},                  \
        },                                                                                                   \
        .registry_path = "vidmm",                                                                            \
    }

/* Nodes by the driver's own numbers. */
enum vidmm_dg2_node { VIDMM_DG2_NODE_COPY = 2, VIDMM_DG2_NODE_COMPUTE = 5, VIDMM_DG2_NODE_COUNT = 6 };

enum vidmm_dg2_resource_flags {
    VIDMM_DG2_LOCAL_ONLY = 1u << 0,      /* video memory, 64 KiB pages */
    VIDMM_DG2_NON_LOCAL_ONLY = 1u << 1,  /* system memory */
    VIDMM_DG2_NOT_LOCKABLE = 1u << 2,    /* Lock2 will not be asked for */
    VIDMM_DG2_EXISTING_SYSMEM = 1u << 3, /* the client's own memory */
    VIDMM_DG2_CACHEABLE = 1u << 4,
    VIDMM_DG2_LINEAR = 1u << 5,
};

#define VIDMM_DG2_RESOURCE_TOKENS_MAX 12160u

struct vidmm_dg2_resource_info {
    struct vidmm_dg2_head head;
    uint64_t bytes;          /* size of the allocation; not rounded */
    uint64_t alignment;      /* of GPU addresses: 0x1000, 0x10000, 0x200000 seen */
    uint64_t width;
    uint64_t existing_va;    /* with EXISTING_SYSMEM: what the driver says; the call's own pointer decides */
    uint64_t existing_bytes;
    uint32_t flags;          /* vidmm_dg2_resource_flags */
    uint32_t type;           /* 6 = buffer */
    uint32_t client;
    uint32_t cache_usage;
    /* The tokens as they came: the driver asks for them back, unchanged. */
    uint32_t token_bytes, reserved;
    uint8_t tokens[VIDMM_DG2_RESOURCE_TOKENS_MAX];
};

struct vidmm_dg2_context_info {
    struct vidmm_dg2_head head;
    uint64_t hw_context_id_va; /* user-mode address; nothing is ever written there */
    uint32_t pid;
    uint32_t gpu_va_context;   /* 1: the context addresses memory by GPU VA */
    uint32_t no_ring_flushes;
    uint32_t reserved;
};

struct vidmm_dg2_command_header {
    struct vidmm_dg2_head head;
    uint64_t monitored_fence_va;    /* GPU address; 0 = none. The driver writes the value there ... */
    uint64_t monitored_fence_value; /* ... after the last command of the buffer has finished */
    uint32_t umd_context_type, slices, subslices, eus, perf_tag;
    uint32_t reserved;
};

_Static_assert(sizeof(struct vidmm_dg2_head) == 16, "layout");
_Static_assert(sizeof(struct vidmm_dg2_partition) == 16 + 7 * 16, "layout");
_Static_assert(sizeof(struct vidmm_dg2_adapter_info) % 8 == 0, "layout");
_Static_assert(sizeof(struct vidmm_dg2_resource_info) == 80 + 12160, "layout");
_Static_assert(sizeof(struct vidmm_dg2_context_info) == 40, "layout");
_Static_assert(sizeof(struct vidmm_dg2_command_header) == 56, "layout");

#endif
