/* SPDX-License-Identifier: MIT */
/* span_park.h - removed spans that wait before their gap is merged. Internal to span*.
 *
 *   span_remove -> [ arriving: 16 handles, untouched ] -> [ slots, a hand goes round ] -> merge_span
 *                    only fetched ahead                     \ bucket by size: last parked first
 *                                                            `-> span_alloc of that size takes it again whole
 *
 * Why: programs free and claim the same few sizes. Taking a parked span again touches neither tree nor
 * lists. And the cost of a removal is not its work but the cache lines it has to wait for: a handle waits
 * until its line has arrived, a merge is known so far ahead that its leaf is there when it happens.
 * A parked span has `parked` set and its slot in `kind`; its bounds and tree entry are as in life.
 * Bounded: SPAN_SLOTS_MAX, a quarter of the live spans plus a few, and (but for a few) a quarter of the free
 * bytes. */
#ifndef VIDMM_BASE_SPAN_PARK_H
#define VIDMM_BASE_SPAN_PARK_H

#include "base/bits.h"
#include "base/span_tree.h"

enum {
    SPAN_SLOTS_MIN = 16,
    SPAN_SLOTS_MAX = 16384, /* slot numbers are 16 bits */
    PARK_SHARE = 4,         /* of the live spans, one in this many may be parked; measured best of 4, 8, 16 */
    PARK_FEW = 8,           /* always allowed */
    PARK_BASE = 256,        /* allowed by PARK_SHARE without having been earned */
    PARK_PAY = 16,
    PARK_BATCH = 8,
    PARK_PROBES = 4
};

struct span_slot {
    struct span *span;   /* NULL: the slot is unused */
    uint64_t start;      /* of the span, so that a search need not touch it */
    uint32_t key;        /* park_key of the span */
    uint16_t next, prev; /* slots of the same bucket, or of the unused chain (next); slot + 1, 0 = none */
};

/* What the park may hold. It earns its size: every span taken again pays for PARK_PAY merges, so where sizes
 * do not repeat the park stays small and the cache is left to others. */
static inline uint32_t park_limit(const struct span_index *x)
{
    uint32_t limit = PARK_FEW + min_u32(x->count / PARK_SHARE, PARK_BASE + x->park_credit / PARK_PAY);
    return min_u32(limit, x->slot_cap);
}

/* Too many are parked, or too much of what is free. */
static inline bool park_is_over(const struct span_index *x)
{
    if (x->parked > park_limit(x)) return true;
    return x->parked > PARK_FEW && x->parked_bytes > (x->hi - x->lo - x->bytes) / 4;
}

static inline void park_earn(struct span_index *x)
{
    if (x->park_credit / PARK_PAY < x->slot_cap) x->park_credit += PARK_PAY;
}

/* Needs: size < 2^42. Sizes and sides of pick_lo are not mixed: a parked low range must not serve a request
 * that may go high. */
static inline uint32_t park_key(const struct span_index *x, uint64_t start, uint64_t size)
{
    return (uint32_t)(size / SPAN_PAGE) << 1 | (start >= x->pick_lo);
}

static inline uint64_t park_key_size(uint32_t key) { return (uint64_t)(key >> 1) * SPAN_PAGE; }

/* Wider spans do not fit a key; they are merged at once. */
static inline bool park_admits(const struct span *s) { return s->end - s->start < (uint64_t)1 << 42; }

/* Below pick_lo requests come with windows, so ranges of different 64 GiB go to different chains. */
static inline uint16_t *park_bucket(const struct span_index *x, uint32_t key, uint64_t start)
{
    uint32_t zone = key & 1 ? 0 : (uint32_t)(start >> 36) + 1;
    return &x->bucket[((key + zone * 0x85EBCA6Bu) * 0x9E3779B1u >> 16) & (x->slot_cap - 1)];
}

/* Takes the span of slot `id` out of the park; it is a live span again, or about to be merged. Writes to the
 * span but reads nothing of it: its cache line may be far away. */
static inline struct span *park_take(struct span_index *x, uint32_t id)
{
    struct span_slot *slot = &x->slot[id - 1];
    struct span *s = slot->span;
    if (slot->next) x->slot[slot->next - 1].prev = slot->prev;
    if (slot->prev) x->slot[slot->prev - 1].next = slot->next;
    else *park_bucket(x, slot->key, slot->start) = slot->next;
    slot->span = NULL;
    slot->next = (uint16_t)x->slot_unused;
    x->slot_unused = id;
    s->parked = 0;
    x->parked--;
    x->parked_bytes -= park_key_size(slot->key);
    return s;
}

/* Puts s into an unused slot. Needs: there is one. */
static inline void park_put(struct span_index *x, struct span *s)
{
    uint32_t id = x->slot_unused;
    struct span_slot *slot;
    if (id != 0) {
        slot = &x->slot[id - 1];
        x->slot_unused = slot->next;
    } else {
        id = ++x->slot_top;
        slot = &x->slot[id - 1];
    }
    slot->span = s;
    slot->start = s->start;
    slot->key = park_key(x, s->start, s->end - s->start);
    uint16_t *bucket = park_bucket(x, slot->key, slot->start);
    slot->next = *bucket;
    slot->prev = 0;
    if (*bucket) x->slot[*bucket - 1].prev = (uint16_t)id;
    *bucket = (uint16_t)id;
    s->kind = id;
    s->parked = 1;
    x->parked++;
    x->parked_bytes += s->end - s->start;
}

/* The slot of a parked span of exactly the wanted size inside the window, or 0. */
static inline uint32_t park_find(const struct span_index *x, uint64_t size, uint64_t align, uint64_t min,
                                 uint64_t max)
{
    if (x->parked == 0 || size >> 42) return 0;
    uint64_t start = max > x->pick_lo ? max_u64(min, x->pick_lo) : min;
    uint32_t key = park_key(x, start, size), probes = PARK_PROBES;
    for (uint32_t id = *park_bucket(x, key, start); id && probes; id = x->slot[id - 1].next, probes--) {
        const struct span_slot *slot = &x->slot[id - 1];
        if (slot->key != key || slot->start < min || slot->start > max - size) continue;
        if ((slot->start & (align - 1)) == 0) return id;
    }
    return 0;
}

#endif
