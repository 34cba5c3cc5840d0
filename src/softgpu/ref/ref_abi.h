/* SPDX-License-Identifier: MIT */
/* ref_abi.h - what a client of the ref driver passes as private data. Owns nothing. */
#ifndef SOFTGPU_REF_REF_ABI_H
#define SOFTGPU_REF_REF_ABI_H

#include <stdint.h>

#define REF_ALLOC_MAGIC 0x4c4c4152u     /* "RALL" */

struct ref_alloc_private {
    uint32_t magic;
    uint32_t alignment;    /* power of two, at most 2 MiB, or 0 */
    uint64_t bytes;        /* not 0 */
    uint32_t supported;    /* bit n = segment n + 1, as in vidmm_kmd_allocation; 0: system memory */
    uint32_t preferred;    /* segment id in `supported`, or 0 */
    uint32_t flags;        /* vidmm_allocation_flags */
    uint32_t priority;     /* 0: VIDMM_PRIORITY_NORMAL */
    uint32_t gpu;          /* of a link: whose segments `supported` names */
    uint32_t unused;       /* 0 */
};

#define REF_CONTEXT_MAGIC 0x58544352u   /* "RCTX" */

struct ref_context_private { /* of contexts on an adapter with both models; without it: GpuMmu */
    uint32_t magic, iommu;   /* iommu: 1 = uses the addresses of the process */
};

#define REF_INFO_MAGIC 0x464e4952u      /* "RINF" */

struct ref_info_private {  /* answer of query_private */
    uint32_t magic, format, node_count, segment_count;
    uint64_t segment_bytes[8];
};

#endif
