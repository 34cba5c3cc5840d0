/* SPDX-License-Identifier: MIT */
/* span_gap.c - best fit over the size classes (see span_gap.h).
 * Owns: the class lists.  Calls: nothing.  The effort of a pick is bounded by PROBES gaps in each of
 * CLASSES_TRIED classes; what it does not find, the tree finds. */
#include "base/span_gap.h"

enum { PROBES = 8, CLASSES_TRIED = 4 };

/* The first class >= cls that has a gap, or SPAN_CLASSES. */
static uint32_t class_next(const struct span_index *x, uint32_t cls)
{
    uint32_t w = cls / 64;
    if (cls >= SPAN_CLASSES) return SPAN_CLASSES;
    uint64_t bits = x->class_bits[w] & (~(uint64_t)0 << (cls % 64));
    while (bits == 0) {
        if (++w == SPAN_CLASS_WORDS) return SPAN_CLASSES;
        bits = x->class_bits[w];
    }
    return w * 64 + ctz64(bits);
}

/* The lowest class that may hold a fitting gap. */
static uint32_t class_first(const struct span_want *w)
{
    uint64_t pages = w->size / SPAN_PAGE;
    if (w->align >= SPAN_UNIT) return class_of_units(pages < 16 ? 1 : pages / 16);
    if (pages <= 30) return (uint32_t)pages;
    return class_of_units((pages - 15) / 16); /* up to 15 pages may lie before the first boundary */
}

struct span *gap_pick(const struct span_index *x, const struct span_want *want, uint64_t *start)
{
    struct span *best = NULL;
    uint64_t best_size = UINT64_MAX, at;
    uint32_t classes = CLASSES_TRIED;
    for (uint32_t c = class_next(x, class_first(want)); c < SPAN_CLASSES; c = class_next(x, c + 1)) {
        uint32_t probes = PROBES;
        for (struct span *s = x->class_head[c]; s && probes; s = rest(s)->gap_next, probes--) {
            uint64_t size = s->start - rest(s)->gap;
            if (size >= best_size || !want_fits(want, rest(s)->gap, s->start, &at)) continue;
            best = s;
            best_size = size;
            *start = at;
            if (size == want->size) return best;
        }
        if (best || --classes == 0) return best;
    }
    return NULL;
}

const char *gap_check(const struct span_index *x)
{
    uint32_t listed = 0, gaps = 0;
    for (uint32_t c = 0; c < SPAN_CLASSES; c++) {
        bool bit = x->class_bits[c / 64] >> (c % 64) & 1;
        if (bit != (x->class_head[c] != NULL)) return "gap: class bitmap";
        const struct span *prev = NULL;
        for (const struct span *s = x->class_head[c]; s; prev = s, s = rest(s)->gap_next) {
            if (rest(s)->gap_prev != prev) return "gap: list link";
            if (gap_class(x, rest(s)->gap, s->start) != c) return "gap: class";
            listed++;
        }
    }
    if (!x->root) return NULL;
    uint64_t at = x->lo;
    const struct span *first = tree_seek(x, x->lo);
    if (rest(first)->gap != at) first = tree_before(first); /* a span that starts at lo */
    for (const struct span *s = first;; s = tree_after(s, node_find(rest(s)->leaf, s->start))) {
        if (rest(s)->gap != at) return "gap: start of gap";
        gaps += gap_class(x, rest(s)->gap, s->start) != CLASS_NONE;
        if (s == x->end) break;
        at = s->end;
    }
    return listed == gaps ? NULL : "gap: not listed";
}
