/* SPDX-License-Identifier: MIT */
/* types.h — the words every other header uses: units, limits and the opaque objects of the core.
 * Ranges are half-open [start, end). Addresses are bytes unless a name ends in _page or _pages.
 * Levels of page tables count from the leaf (level 0). */
#ifndef VIDMM_TYPES_H
#define VIDMM_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIDMM_PAGE_SHIFT 12u
#define VIDMM_PAGE_SIZE 4096ull
#define VIDMM_PAGE_64K 65536ull

/* Every limit of the project has a name here; exceeding one is an error status, never truncation. */
#define VIDMM_GPUS_MAX 4u              /* physical adapters of a link */
#define VIDMM_SEGMENTS_MAX 32u         /* driver segments; ids 1..32, id 0 is the implicit system segment */
#define VIDMM_NODES_MAX 64u            /* schedulable nodes of one GPU (WDDM: 64) */
#define VIDMM_LEVELS_MIN 2u            /* DXGK_MIN_PAGE_TABLE_LEVEL_COUNT */
#define VIDMM_LEVELS_MAX 6u            /* DXGK_MAX_PAGE_TABLE_LEVEL_COUNT */
#define VIDMM_WAIT_OBJECTS_MAX 32u     /* D3DDDI_MAX_OBJECT_WAITED_ON and .._SIGNALED */
#define VIDMM_BROADCAST_MAX 65u        /* contexts of one signal: D3DDDI_MAX_BROADCAST_CONTEXT, and a first */
#define VIDMM_PRIVATE_DATA_MAX 65536u  /* bytes of driver private data one call may carry */
#define VIDMM_ALLOC_PAGES_MAX (1ull << 28)   /* 1 TiB */
#define VIDMM_LIST_MAX 16384u          /* objects in one array call */
#define VIDMM_UPDATES_MAX 128u         /* tile updates queued in one context */
#define VIDMM_COPY_PAGES_MAX (1u << 18) /* pages all COPYs of one tile update may span: 1 GiB */
#define VIDMM_RENDER_BYTES_MAX (1u << 20)    /* command buffer of a physical context */
#define VIDMM_RENDER_LIST_MAX 16384u         /* its allocation list */
#define VIDMM_RENDER_PATCHES_MAX 65536u      /* its patch-location list */
#define VIDMM_VA_LOWEST 65536ull       /* address 0 means "none"; nothing below 64 KiB is handed out */

#define VIDMM_PRIORITY_MINIMUM 0x28000000u
#define VIDMM_PRIORITY_LOW 0x50000000u
#define VIDMM_PRIORITY_NORMAL 0x78000000u
#define VIDMM_PRIORITY_HIGH 0xA0000000u
#define VIDMM_PRIORITY_MAXIMUM 0xC8000000u

struct vidmm_adapter; /* one adapter and everything on it; the unit of ownership */
struct vidmm_process; /* owner of one application GPU VA space per adapter */
struct vidmm_device;  /* unit of the residency list, of suspension and of the error state */
struct vidmm_context; /* an ordered stream of packets on one node */
struct vidmm_hwcontext; /* an address space on a node that schedules itself */
struct vidmm_hwqueue; /* a queue that the device reads: entries start without VidMm */
struct vidmm_doorbell; /* how user mode tells a hardware queue of work in its ring */
struct vidmm_queue;   /* a device paging queue: FIFO of requests with a monitored fence */
struct vidmm_open;    /* one device's reference to an allocation */
struct vidmm_fence;   /* a monitored fence */
struct vidmm_sync;    /* a mutex or a semaphore */

#endif
