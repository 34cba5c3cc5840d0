/* SPDX-License-Identifier: MIT */
/* span_gap.h - gaps by size: for each size class the set of leaves that have such a gap. Internal to span*.
 *
 *   class  1..30   gaps without a whole aligned 64 KiB: one class per size in 4 KiB pages (30 is the most)
 *   class 32+f(r)  gaps with r aligned 64 KiB units from their first boundary on: f is exact up to 16 units,
 *                  then 8 steps per power of two; the last class has no upper end
 *
 *   class_bits  ..1..1.1...            which classes have a leaf at all
 *   class_sum   class c: ....1.        which words of its set are not zero
 *   class_set   class c: 0 0 0 0 w 0   bit = leaf id
 *
 * An aligned request looks at the second kind only, where nothing is too small by misalignment; an unaligned
 * one takes the exact small class first and so leaves aligned room alone. Sets of leaves instead of lists of
 * gaps, because a list leads through far spans, while a leaf shows its 28 gaps at once.
 * Gaps that end at or below pick_lo are in no class. */
#ifndef VIDMM_BASE_SPAN_GAP_H
#define VIDMM_BASE_SPAN_GAP_H

#include "base/bits.h"
#include "base/span_tree.h"

enum { CLASS_NONE = 0, CLASS_UNITS = 32, CLASS_LAST = SPAN_CLASSES - 1 };

/* Class of gaps with `units` aligned 64 KiB units, rounded down. */
static inline uint32_t class_of_units(uint64_t units)
{
    if (units < 8) return CLASS_UNITS + (uint32_t)units;
    unsigned e = log2_floor64(units);
    uint32_t cls = CLASS_UNITS + ((e - 2) << 3) + (uint32_t)((units >> (e - 3)) & 7);
    return cls < CLASS_LAST ? cls : CLASS_LAST;
}

static inline uint8_t gap_class(const struct span_index *x, uint64_t start, uint64_t end)
{
    if (start == end || end <= x->pick_lo) return CLASS_NONE;
    uint64_t units = gap_tail(start, end) / SPAN_UNIT;
    return (uint8_t)(units ? class_of_units(units) : (uint32_t)((end - start) / SPAN_PAGE));
}

/* Puts a leaf into the set of a class, or takes it out. */
static inline void class_add(struct span_index *x, uint32_t cls, uint32_t leaf)
{
    uint64_t *word = &x->class_set[(size_t)cls * x->class_set_words + leaf / 64];
    if (*word == 0) {
        x->class_sum[(size_t)cls * ((x->class_set_words + 63) / 64) + leaf / 4096] |= (uint64_t)1 << (leaf / 64 % 64);
        x->class_bits[cls / 64] |= (uint64_t)1 << (cls % 64);
    }
    *word |= (uint64_t)1 << (leaf % 64);
}

void class_drop(struct span_index *x, uint32_t cls, uint32_t leaf);

/* Gap `at` of a leaf has other bounds: keeps its class and the sets right. */
void gap_reclass(struct span_index *x, struct span_node *leaf, uint32_t at);

/* All gaps of a leaf leave the sets, or enter them: around moves between leaves. */
void gap_forget_leaf(struct span_index *x, const struct span_node *leaf);
void gap_record_leaf(struct span_index *x, const struct span_node *leaf);

/* A gap that fits the want tightly, or leaf == NULL: none found with bounded effort (not: none exists). */
struct span_spot gap_pick(const struct span_index *x, const struct span_want *want, uint64_t *start);

const char *gap_check(const struct span_index *x);

#endif
