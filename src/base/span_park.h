/* SPDX-License-Identifier: MIT */
/* span_park.h - removed spans that wait before their gap is merged. Internal to span*.
 *
 *   span_remove -> [ arriving: 16 handles, untouched ] -> [ slots: oldest ... newest ] -> merge_span
 *                    only fetched ahead                     \ bucket by size: last parked first
 *                                                            `-> span_alloc of that size takes it again whole
 *
 * Why: programs free and claim the same few sizes. Taking a parked span again touches neither tree nor
 * lists. And the cost of a removal is not its work but the cache lines it has to wait for: a handle waits
 * until its line has arrived, a merge is known so far ahead that its leaf is there when it happens.
 * A parked span has slot != 0; start, end, gap and its tree entry are as in life.
 * Bounded: SPAN_SLOTS_MAX, 1/16 of the live spans plus a few, and (but for a few) 1/16 of the free bytes. */
#ifndef VIDMM_BASE_SPAN_PARK_H
#define VIDMM_BASE_SPAN_PARK_H

#include "base/span_tree.h"

enum { SPAN_SLOTS_MIN = 16, PARK_PROBES = 4, PARK_FEW = 4 }; 
#ifndef PARK_SHARE
#define PARK_SHARE 16
#endif
enum { ZZ };
#ifndef SPAN_SLOTS_MAX
#define SPAN_SLOTS_MAX 4096
#endif

struct span_slot {
    struct span *span;     /* NULL: the slot is unused */
    uint64_t start;        /* of the span, so that a search need not touch it */
    uint32_t key;          /* park_key of the span */
    uint16_t next, prev;   /* slots of the same bucket; all links are slot + 1, 0 = none */
    uint16_t newer, older; /* slots in order of arrival; unused slots are chained by `newer` */
};

static inline uint32_t park_limit(const struct span_index *x)
{
    uint32_t limit = PARK_FEW + x->count / PARK_SHARE;
    return limit < x->slot_cap ? limit : x->slot_cap;
}

/* Too many are parked, or too much of what is free. */
static inline bool park_is_over(const struct span_index *x)
{
    if (x->parked > park_limit(x)) return true;
    return x->parked > PARK_FEW && x->parked_bytes > (x->hi - x->lo - x->bytes) / 16;
}

/* Sizes and sides of pick_lo are not mixed: a parked low range must not serve a request that may go high. */
static inline uint32_t park_key(const struct span_index *x, uint64_t start, uint64_t size)
{
    return pages_saturated(size) << 1 | (start >= x->pick_lo);
}

static inline uint64_t park_key_size(uint32_t key) { return (uint64_t)(key >> 1) * SPAN_PAGE; }

/* Wider spans do not fit a key; they are merged at once. */
static inline bool park_admits(const struct span *s) { return s->end - s->start < (uint64_t)1 << 42; }

static inline uint16_t *park_bucket(const struct span_index *x, uint32_t key)
{
    return &x->bucket[(key * 0x9E3779B1u >> 16) & (x->slot_cap - 1)];
}

/* Takes the span of slot `id` out of the park; it is a live span again, or about to be merged. Writes to the
 * span but reads nothing of it: its cache line may be far away. */
static inline struct span *park_take(struct span_index *x, uint32_t id)
{
    struct span_slot *slot = &x->slot[id - 1];
    if (slot->next) x->slot[slot->next - 1].prev = slot->prev;
    if (slot->prev) x->slot[slot->prev - 1].next = slot->next;
    else *park_bucket(x, slot->key) = slot->next;
    if (slot->newer) x->slot[slot->newer - 1].older = slot->older;
    else x->slot_newest = slot->older;
    if (slot->older) x->slot[slot->older - 1].newer = slot->newer;
    else x->slot_oldest = slot->newer;
    struct span *s = slot->span;
    slot->span = NULL;
    slot->newer = (uint16_t)x->slot_unused;
    x->slot_unused = id;
    s->slot = 0;
    x->parked--;
    x->parked_bytes -= park_key_size(slot->key);
    return s;
}

/* Puts s into an unused slot. Needs: there is one. */
static inline void park_put(struct span_index *x, struct span *s)
{
    uint32_t id = x->slot_unused;
    struct span_slot *slot = &x->slot[id - 1];
    x->slot_unused = slot->newer;
    slot->span = s;
    slot->start = s->start;
    slot->key = park_key(x, s->start, s->end - s->start);
    uint16_t *bucket = park_bucket(x, slot->key);
    slot->next = *bucket;
    slot->prev = 0;
    if (*bucket) x->slot[*bucket - 1].prev = (uint16_t)id;
    *bucket = (uint16_t)id;
    slot->newer = 0;
    slot->older = (uint16_t)x->slot_newest;
    if (slot->older) x->slot[slot->older - 1].newer = (uint16_t)id;
    else x->slot_oldest = id;
    x->slot_newest = id;
    s->slot = id;
    x->parked++;
    x->parked_bytes += s->end - s->start;
}

/* The slot of a parked span of exactly the wanted size inside the window, or 0. */
static inline uint32_t park_find(const struct span_index *x, const struct span_want *w)
{
    if (x->parked == 0 || w->size >> 42) return 0;
    uint32_t key = park_key(x, w->max > x->pick_lo ? x->pick_lo : 0, w->size), probes = PARK_PROBES;
    for (uint32_t id = *park_bucket(x, key); id && probes; id = x->slot[id - 1].next, probes--) {
        const struct span_slot *slot = &x->slot[id - 1];
        if (slot->key != key || slot->start < w->min || slot->start > w->max - w->size) continue;
        if ((slot->start & (w->align - 1)) == 0) return id;
    }
    return 0;
}

/* Fetches what merging the parked span of slot `id` will touch next, and the first step to it for the one
 * after that. */
static inline void park_fetch(const struct span_index *x, uint32_t id)
{
    const struct span_slot *slot = &x->slot[id - 1];
    const struct span_rest *r = rest(slot->span);
    if (slot->newer) __builtin_prefetch(rest(x->slot[slot->newer - 1].span), 1);
    for (size_t i = 0; i < sizeof(struct span_node); i += 64) __builtin_prefetch((const char *)r->leaf + i, 1);
    if (r->gap_next) __builtin_prefetch(rest(r->gap_next), 1);
    if (r->gap_prev) __builtin_prefetch(rest(r->gap_prev), 1);
}

#endif
