/* SPDX-License-Identifier: MIT */
/* range.h - checked u64 arithmetic and half-open ranges [start, end).
 * Every sum or product of a client's numbers goes through here. Outputs are written on every path (0 on
 * failure). Calls nothing. */
#ifndef VIDMM_BASE_RANGE_H
#define VIDMM_BASE_RANGE_H

#include <stdbool.h>
#include <stdint.h>

struct range { uint64_t start, end; };   /* [start, end); empty when start == end */

/* a + b. Fails: the sum does not fit in 64 bits. */
static inline bool range_add(uint64_t a, uint64_t b, uint64_t *sum)
{
    bool ok = !__builtin_add_overflow(a, b, sum);
    if (!ok) *sum = 0;
    return ok;
}

/* The end of size units from start. Fails: it does not fit in 64 bits (so a range may not end at 2^64). */
static inline bool range_end(uint64_t start, uint64_t size, uint64_t *end)
{
    return range_add(start, size, end);
}

/* a * b. Fails: the product does not fit in 64 bits. */
static inline bool mul_checked(uint64_t a, uint64_t b, uint64_t *product)
{
    bool ok = !__builtin_mul_overflow(a, b, product);
    if (!ok) *product = 0;
    return ok;
}

/* v rounded up to align. Needs: align is a power of two. Fails: the result does not fit in 64 bits. */
static inline bool align_up_checked(uint64_t v, uint64_t align, uint64_t *up)
{
    bool ok = range_add(v, align - 1, up);
    if (ok) *up &= ~(align - 1);
    return ok;
}

static inline uint64_t range_size(struct range r) { return r.end - r.start; }
static inline bool range_is_empty(struct range r) { return r.start >= r.end; }
static inline bool range_holds(struct range r, uint64_t v) { return v >= r.start && v < r.end; }

/* An empty inner range is contained if its position lies in [start, end]. */
static inline bool range_contains(struct range outer, struct range inner)
{
    return inner.start >= outer.start && inner.end <= outer.end && inner.start <= inner.end;
}

static inline bool range_overlaps(struct range a, struct range b)
{
    return a.start < b.end && b.start < a.end && !range_is_empty(a) && !range_is_empty(b);
}

/* The common part; empty (start == end) when there is none. */
static inline struct range range_intersect(struct range a, struct range b)
{
    struct range r = { a.start > b.start ? a.start : b.start, a.end < b.end ? a.end : b.end };
    if (r.end < r.start) r.end = r.start;
    return r;
}

#endif
