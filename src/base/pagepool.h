/* SPDX-License-Identifier: MIT */
/* pagepool.h - who owns which physical page of one segment, in pages of whatever size the segment has.
 * Owns all its metadata from pagepool_init on (about 1 byte per page); calls the memory hook only in init and
 * destroy, so alloc and free never need memory. Deterministic: the same calls give the same pages.
 *
 *   pages   |0123456789abcdef|0123456789abcdef|0123456789abcdef|    16 pages = 1 block
 *   free     all              3 of them        none
 *   blocks   in a free run    partial          full
 *
 * Whole free blocks form maximal runs, kept by size class (two-level segregated fit, best fit inside the
 * class); partial blocks are in one bitmap per longest-free-run class, so that single pages fill the
 * tightest holes before they break a run. Small caches of single pages and blocks stand before all that. */
#ifndef VIDMM_BASE_PAGEPOOL_H
#define VIDMM_BASE_PAGEPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"

#define PAGEPOOL_NONE UINT32_MAX                /* "no page" */
#define PAGEPOOL_PAGES_MAX ((uint32_t)1 << 24)

enum {
    PAGEPOOL_BLOCK_PAGES = 16,
    PAGEPOOL_FL_COUNT = 17,                     /* octaves of run length, 2^20 blocks at most */
    PAGEPOOL_SL_COUNT = 32,                     /* linear steps inside an octave */
    PAGEPOOL_CACHE_MAX = 64,
    PAGEPOOL_CLASS_COUNT = 5,                   /* not partial; longest run of pages 1, 2-3, 4-7, 8-15 */
};

struct extent { uint32_t page, count; };

struct pagepool_run { uint32_t start, len, next, prev; };   /* in blocks; links are node numbers, 0 = none */

/* Pages (or first pages of blocks) freed last, in the order they came. */
struct pagepool_cache { uint32_t count, item[PAGEPOOL_CACHE_MAX]; };

struct pagepool {
    uint64_t *bits;                             /* per page: 1 = free */
    uint32_t free_pages, reserved_pages;        /* used = pages - free - reserved */
    struct pagepool_cache page_cache, block_cache;
    uint64_t *partial;                          /* per class: two levels of bitmap over the blocks */
    struct pagepool_run *run;                   /* nodes of free runs; [0] is "none" */
    uint32_t *tag;                              /* per block, and one at each end: see pagepool.c */
    uint32_t run_spare, run_high;               /* list of unused nodes; highest node ever used */
    uint32_t partial_stride;                    /* words from one class to the next */
    uint32_t partial_map;                       /* bit c clear: class c is empty */
    uint32_t cursor[PAGEPOOL_CLASS_COUNT];      /* word of level 0 to look at first */
    uint32_t fl_map, sl_map[PAGEPOOL_FL_COUNT];
    uint32_t head[PAGEPOOL_FL_COUNT][PAGEPOOL_SL_COUNT];
    uint32_t words;                             /* of level 0 of a partial bitmap */
    uint32_t pages, blocks;
    struct base_memory memory;                  /* memory.free is NULL if the metadata is the caller's */
    void *storage;
    size_t storage_bytes;
};

/* Bytes of metadata for a pool of that many pages. Needs: 0 < pages <= PAGEPOOL_PAGES_MAX. */
size_t pagepool_storage_bytes(uint32_t pages);

/* All pages free. Fails (false): pages is 0 or above PAGEPOOL_PAGES_MAX, or no memory for the metadata. */
bool pagepool_init(struct pagepool *p, uint32_t pages, const struct base_memory *memory);

/* The same over the caller's memory. Needs: 8-byte aligned, pagepool_storage_bytes(pages) long. */
bool pagepool_init_over(struct pagepool *p, uint32_t pages, void *storage, size_t storage_bytes);

/* Gives the metadata back, whatever is still allocated. */
void pagepool_destroy(struct pagepool *p);

/* Takes bad pages out for good; they count as reserved and are never handed out.
 * Fails (false, nothing changed): the range is empty, leaves the pool, or holds a page that is not free. */
bool pagepool_reserve_range(struct pagepool *p, uint32_t start, uint32_t count);

/* One page: the one freed last, else from a tight hole. Fails: PAGEPOOL_NONE, only when no page is free. */
uint32_t pagepool_alloc_page(struct pagepool *p);

/* count contiguous pages, the first a multiple of align_pages (a power of two).
 * from_end: take the high end of the free run that fits instead of its low end (runs of at least one block).
 * Fails: PAGEPOOL_NONE if and only if no such run is free (or count is 0). */
uint32_t pagepool_alloc_run(struct pagepool *p, uint32_t count, uint32_t align_pages, bool from_end);

/* count pages, in one extent if some free run of blocks holds them, else the longest first; start and length
 * of each extent are multiples of align_pages (a power of two that divides count; CHECKed).
 * Gives: the number of extents. Fails (0, the same pages are free as before): not so many free pages of that
 * alignment, or the longest-first choice needs more than max_extents. */
uint32_t pagepool_alloc_extents(struct pagepool *p, uint32_t count, struct extent *out, uint32_t max_extents,
                                uint32_t align_pages);

/* Gives back any pages, not necessarily as they were allocated. Never fails; a page outside the pool or free
 * already is a bug (CHECKed). count 0 does nothing. Never give back reserved pages: that is not detected. */
void pagepool_free(struct pagepool *p, uint32_t page, uint32_t count);

static inline uint32_t pagepool_free_pages(const struct pagepool *p) { return p->free_pages; }
static inline uint32_t pagepool_used_pages(const struct pagepool *p)
{
    return p->pages - p->free_pages - p->reserved_pages;
}

/* Takes exactly these pages; given back like any others.
 * Fails (false, nothing changed): the range is empty, leaves the pool, or holds a page that is not free. */
bool pagepool_take_range(struct pagepool *p, uint32_t start, uint32_t count);

/* The first run of free pages at or after a page, which may be in the middle of it; count 0: none. */
struct extent pagepool_next_run(const struct pagepool *p, uint32_t from);

/* The longest run of free pages, any alignment. Walks all masks: for reports, not for hot paths. */
uint32_t pagepool_largest_run(const struct pagepool *p);

/* True if every page of the range is inside the pool and free. */
bool pagepool_is_free(const struct pagepool *p, uint32_t page, uint32_t count);

/* Folds which pages are free into a state hash (base/hash.h). */
uint64_t pagepool_hash(const struct pagepool *p, uint64_t h);

/* True if masks, runs, bitmaps and counters agree. O(pages). */
bool pagepool_check(const struct pagepool *p);

#endif
