/* SPDX-License-Identifier: MIT */
/* span.h - ordered set of disjoint address ranges ("spans") of one space, and the gaps between them.
 * Owns: every span and node of an index.  Calls: nothing but the memory hook handed to span_init.
 * Freestanding, no globals, deterministic: no decision depends on the value of a pointer.
 * Units: all addresses and sizes are bytes, multiples of SPAN_PAGE; ranges are half-open [start,end).
 *
 *   lo                                                                                      hi
 *   |  gap   [  A  ]   gap   [ B ][  C  ]       gap       [ parked ] gap  [ D ]     gap     |$   $ = sentinel
 *   '--------'     '---------'   ''     '-----------------'        '------'   '-------------'
 *    of A           of B         of C                               of D       of $
 *
 * Every gap belongs to the span that ends it, so a gap needs no object: removing D hands its gap to $.
 * Two parts:
 *   tree  (span_tree.h) a B+tree by address. A leaf holds the bounds of 29 neighbours side by side, so gaps
 *         are read off it; an inner entry carries the widest gap below it, plain and from the first 64 KiB
 *         boundary on, so the first gap with room in any window is found in O(log n), exactly;
 *   park  (span_park.h) removed spans wait a while before their gap is merged: most are taken again whole by
 *         a request of the same size, and the others have their memory fetched ahead of the merge.
 * A parked span is free for every question asked here; whoever needs its range merges it at once.
 *
 * What decides the speed at 100 000 claims is the number of cache lines that one operation waits for, not its
 * instructions: hence 32 byte spans, 32 bit ids, neighbours in one leaf, no list that leads to a far span.
 * Rejected after measuring: lists of gaps by size class, and sets of leaves by size class, for best fit. With
 * the park in front they refused more in a nearly full space than first fit does, and cost every operation.
 */
#ifndef VIDMM_BASE_SPAN_H
#define VIDMM_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"

#define SPAN_PAGE 4096u

/* One claim. The address of the struct is its stable handle until span_remove (or a cut that empties it). */
struct span {
    uint64_t start; /* read only for users */
    uint64_t end;   /* read only for users */
    void *owner;    /* the user's; NULL after creation, copied to the right half by span_cut */
    uint32_t kind;  /* the user's; 0 after creation, copied likewise */
    /* internal */
    uint32_t leaf : 24; /* id of the tree node that holds it */
    uint32_t parked : 8; /* a byte of its own, so that writing it need not read the line */
};

enum span_dir {
    SPAN_UP,  /* take the low end of the chosen gap; address searches go upwards */
    SPAN_DOWN /* take the high end of the chosen gap; address searches go downwards */
};

/* What span_alloc shall find: [a, a+size) with a % align == 0 and min <= a, a+size <= max. */
struct span_want {
    uint64_t size;     /* > 0, multiple of SPAN_PAGE */
    uint64_t align;    /* power of two, >= SPAN_PAGE */
    uint64_t min, max; /* window; clipped to the space. min = 0, max = UINT64_MAX: anywhere */
    enum span_dir dir;
};

struct span_halves {
    struct span *left, *right; /* NULL where nothing remains */
};

struct span_node;
struct span_slot;

enum { SPAN_ARRIVING = 16 };

/* Everything in here is internal. */
struct span_index {
    struct base_memory memory;
    uint64_t lo, hi, pick_lo;
    uint64_t bytes; /* covered by live claims and by those in `arriving` */
    uint32_t count; /* live claims */

    uint32_t narriving, arrived_at;       /* entries, oldest entry */
    struct span *arriving[SPAN_ARRIVING]; /* ring: removed, but not looked at yet */

    struct span_slot *slot; /* the park: slot_cap slots */
    uint16_t *bucket;       /* chains of slots by size; slot_cap heads */
    uint32_t slot_cap, slot_top, slot_hand; /* slots, used ever, where the search for merges goes on */
    uint32_t slot_unused;                   /* slot + 1 of the chain below slot_top, 0 = none */
    uint32_t parked;        /* spans in slots: in the tree, but free */
    uint32_t park_credit;   /* what the park has earned, see span_park.h */
    uint64_t parked_bytes;

    struct span_node *root;         /* NULL until the first span_reserve */
    struct span **span_chunk;       /* tables of the chunks that ids count through */
    struct span_node **node_chunk;
    uint32_t span_chunks, node_chunks, span_chunk_cap, node_chunk_cap;
    uint32_t free_span;             /* chained through owner's bits; UINT32_MAX = none */
    uint32_t nfree_spans, nfree_nodes;
    uint32_t spans_ready;           /* chunks of spans that everything else is big enough for */
    struct span_node *free_nodes;
};

/* Starts an empty index over [lo,hi). Allocates nothing.
 * pick_lo: a request whose window reaches across this address is placed above it as long as there is room, so
 *   that what lies below is kept for those whose window needs it. Pass lo when there is nothing to protect.
 * Fails (false): lo >= hi, hi > 2^63, an unaligned bound, pick_lo outside [lo,hi), no memory functions. */
bool span_init(struct span_index *x, uint64_t lo, uint64_t hi, uint64_t pick_lo,
               const struct base_memory *memory);

/* Gives all memory back; every handle becomes invalid. The index needs span_init before further use. */
void span_fini(struct span_index *x);

/* Makes sure that the next n creations of spans (span_alloc, span_insert, a span_cut that leaves two
 * halves) find memory; a later removal gives one creation back. The only function that allocates. Fails
 * (false): the hook returned NULL; the index is unchanged apart from memory it keeps for later. */
bool span_reserve(struct span_index *x, uint32_t n);

/* Cost of everything below: O(log n), with one exception. A request that no gap can hold as it stands first
 * merges all parked spans of its window, each of them once, which the removals have paid for. For alignments
 * beyond 64 KiB, and for gaps within 1/64 of a wanted size of 64 MiB or more, a search may look in vain. */

/* Claims a free range that satisfies `want`. Needs: a reserved creation.
 * Gives: a claim: a range of that very size which was removed not long ago if one lies in the window, else
 *   the first gap in direction `dir` with room, first above pick_lo, then in the whole window.
 * Fails (NULL): nothing in the window fits (exact: never a false failure), bad `want`, nothing reserved. */
struct span *span_alloc(struct span_index *x, const struct span_want *want);

/* Same search without claiming: true and *start when there is room. */
bool span_fit(struct span_index *x, const struct span_want *want, uint64_t *start);

/* Claims exactly [start,end). Needs: a reserved creation.
 * Fails (NULL): not entirely free, empty, unaligned, outside the space, nothing reserved. */
struct span *span_insert(struct span_index *x, uint64_t start, uint64_t end);

/* Frees a claim by its handle. Never fails, never allocates. */
void span_remove(struct span_index *x, struct span *s);

/* Cuts [start,end) out of claim s, to which it must belong entirely.
 * Gives: left = what remains below (always s itself if anything does), right = what remains above (s itself
 *   if nothing remains below, else a new span with owner and kind of s). Nothing remains: s is removed.
 * Needs: a reserved creation if both halves remain. Fails (returns false, changes nothing): range not inside
 *   s, empty or unaligned; both halves remain and nothing is reserved. */
bool span_cut(struct span_index *x, struct span *s, uint64_t start, uint64_t end, struct span_halves *out);

/* The claim that contains addr, or NULL. */
struct span *span_find(struct span_index *x, uint64_t addr);
/* The first claim with end > addr (it contains addr or lies above it), or NULL. */
struct span *span_find_first(struct span_index *x, uint64_t addr);
/* Neighbours in address order, or NULL. */
struct span *span_next(struct span_index *x, const struct span *s);
struct span *span_prev(struct span_index *x, const struct span *s);

/* True if [start,end) is inside the space, not empty and touches no claim. */
bool span_is_free(struct span_index *x, uint64_t start, uint64_t end);

/* Live claims, and the bytes they cover. */
uint32_t span_count(const struct span_index *x);
uint64_t span_bytes(struct span_index *x);

/* Walks everything and checks every invariant of the structure; O(n), for tests.
 * Gives: NULL if all is well, else a string that names the first violation. */
const char *span_check(struct span_index *x);

#endif
