/* SPDX-License-Identifier: MIT */
/* span_gap.h - gaps by size: one list per size class, for best fit without a walk. Internal to span*.
 *
 *   class  1..30   gaps without a whole aligned 64 KiB: one class per size in 4 KiB pages (30 is the most)
 *   class 32+f(r)  gaps with r aligned 64 KiB units from their first boundary on: f is exact up to 16 units,
 *                  then 8 steps per power of two
 * An aligned request looks at the second kind only, where nothing is too small by misalignment; an unaligned
 * one takes the exact small class first and so leaves aligned room alone.
 * Gaps that end at or below pick_lo are in no class. */
#ifndef VIDMM_BASE_SPAN_GAP_H
#define VIDMM_BASE_SPAN_GAP_H

#include "base/bits.h"
#include "base/span_tree.h"

enum { CLASS_NONE = 0, CLASS_UNITS = 32 };

/* Class of gaps with `units` aligned 64 KiB units, rounded down. */
static inline uint32_t class_of_units(uint64_t units)
{
    if (units < 8) return CLASS_UNITS + (uint32_t)units;
    unsigned e = log2_floor64(units);
    return CLASS_UNITS + ((e - 2) << 3) + (uint32_t)((units >> (e - 3)) & 7);
}

/* The first class all of whose gaps have at least `units`. */
static inline uint32_t class_from_units(uint64_t units)
{
    if (units < 16) return class_of_units(units);
    return class_of_units(units - 1) + 1;
}

static inline uint32_t gap_class(const struct span_index *x, uint64_t start, uint64_t end)
{
    if (start == end || end <= x->pick_lo) return CLASS_NONE;
    uint64_t units = gap_tail(start, end) / SPAN_UNIT;
    return units ? class_of_units(units) : (uint32_t)((end - start) / SPAN_PAGE);
}

static inline void gap_link(struct span_index *x, struct span *s, uint32_t cls)
{
    if (cls == CLASS_NONE) return;
    struct span *first = x->class_head[cls];
    rest(s)->gap_prev = NULL;
    rest(s)->gap_next = first;
    if (first) rest(first)->gap_prev = s;
    x->class_head[cls] = s;
    x->class_bits[cls / 64] |= (uint64_t)1 << (cls % 64);
}

static inline void gap_unlink(struct span_index *x, struct span *s, uint32_t cls)
{
    if (cls == CLASS_NONE) return;
    struct span *next = rest(s)->gap_next, *prev = rest(s)->gap_prev;
    if (next) rest(next)->gap_prev = prev;
    if (prev) {
        rest(prev)->gap_next = next;
        return;
    }
    x->class_head[cls] = next;
    if (!next) x->class_bits[cls / 64] &= ~((uint64_t)1 << (cls % 64));
}

/* The gap of s is now [gap, start) instead of what class `old` was computed from. */
static inline void gap_relink(struct span_index *x, struct span *s, uint32_t old)
{
    uint32_t cls = gap_class(x, rest(s)->gap, s->start);
    if (cls == old) return;
    gap_unlink(x, s, old);
    gap_link(x, s, cls);
}

/* A span whose gap fits the want tightly, or NULL: none found with bounded effort (not: none exists). */
struct span *gap_pick(const struct span_index *x, const struct span_want *want, uint64_t *start);

const char *gap_check(const struct span_index *x);

#endif
