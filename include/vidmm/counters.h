/* SPDX-License-Identifier: MIT */
/* counters.h — what an adapter counts. The block may live in memory shared with another process
 * (the `vidmm run` parent reads it whatever ends the program). Every field is a naturally aligned
 * 64-bit number that only the owner of the adapter writes; readers see each one whole.
 * Zero is the valid initial state. Sizes are bytes, times nanoseconds. */
#ifndef VIDMM_COUNTERS_H
#define VIDMM_COUNTERS_H

#include <stdint.h>

#define VIDMM_COUNTERS_MAGIC 0x31434d4d44495600ull /* set by the adapter when it attaches */
#define VIDMM_COUNTERS_SEGMENTS 8u
#define VIDMM_LATENCY_BUCKETS 40u /* bucket i counts latencies in [2^i, 2^(i+1)) ns */

struct vidmm_segment_counters {
    uint64_t bytes;          /* size of the segment; 0 for system memory (id 0) */
    uint64_t resident;       /* bytes of allocations placed there now */
    uint64_t resident_peak;
    uint64_t tables;         /* bytes of page tables there now */
    uint64_t tables_peak;
};

struct vidmm_counters {
    uint64_t magic;
    uint64_t adapter_opens;  /* adapter handles opened by the face */
    uint64_t processes, devices, contexts;            /* created so far */
    uint64_t allocs_created, allocs_live, allocs_live_peak;
    uint64_t alloc_bytes_live, alloc_bytes_peak;
    uint64_t segment_count;  /* entries used below, system memory (index 0) included */
    struct vidmm_segment_counters segment[VIDMM_COUNTERS_SEGMENTS];
    uint64_t page_ins, page_in_bytes;       /* content moved into a memory segment */
    uint64_t page_outs, page_out_bytes;     /* content moved out of a memory segment */
    uint64_t zero_fills, zero_fill_bytes;   /* first placements of new content */
    uint64_t evictions;      /* page-outs after which the allocation was not resident */
    uint64_t demotions;      /* resident allocations moved to a less preferred segment (still resident) */
    uint64_t promotions;     /* ... and back */
    uint64_t maps, reserves, frees;         /* accepted address services */
    uint64_t make_residents, evict_calls;
    uint64_t over_budget;    /* MakeResident calls refused with NO_MEMORY */
    uint64_t tables_live, tables_created, tables_freed;
    uint64_t entries_written;   /* page-table entries, leaf and upper */
    uint64_t updates;           /* UpdatePageTable calls to the driver */
    uint64_t runs;              /* runs handed over in them */
    uint64_t flushes;           /* FlushTlb operations */
    uint64_t batches;           /* paging buffers submitted */
    uint64_t root_resizes;
    uint64_t submits, submits_completed;
    uint64_t renders, dma_buffers;          /* physical mode: Render calls accepted; buffers they became */
    uint64_t patches, repatches, patch_locations; /* Patch calls; those on a patched buffer; slots */
    uint64_t aperture_maps, aperture_unmaps, aperture_bytes; /* operations; bytes of ranges now */
    uint64_t faults;            /* page faults that put a device in error */
    uint64_t engine_resets;
    uint64_t suspends;          /* devices stopped so that memory could move */
    uint64_t fence_signals;     /* paging fence values signalled after a wait (not 0 at the call) */
    uint64_t fence_ns_total, fence_ns_max;             /* from issue to signal */
    uint64_t fence_ns_bucket[VIDMM_LATENCY_BUCKETS];
    uint64_t timeouts;          /* packets that stood still for too long */
    uint64_t adapter_resets;    /* of the whole adapter, the last one of a removed adapter included */
    uint64_t preemptions;       /* packets given back by an engine that was asked to stop */
    uint64_t offers, reclaims;  /* allocations */
    uint64_t discards, discard_bytes; /* of them, whose content was dropped */
};

#endif
