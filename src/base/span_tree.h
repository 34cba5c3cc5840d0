/* SPDX-License-Identifier: MIT */
/* span_tree.h - spans by address: a B+tree whose entries know the widest gap below them. Internal to span*.
 * Leaf entries are spans (the gap counted is the one before the span), inner entries are nodes.
 *
 *             key   = start of the first span below        inner: [ k w t * | k w t * | ... ]
 *             wide  = pages of the widest gap below                          |         |
 *             tail  = same, counted from the gap's          leaf: [ start wide tail * | ... ] <-> next leaf
 *                     first 64 KiB boundary                                           |
 *                                                                                struct span
 * Keeps: key of a node's entry == key[0] of that node; NODE_MIN <= n <= NODE_FAN except in the root;
 *        wide and tail of an entry == the maxima in its node. */
#ifndef VIDMM_BASE_SPAN_TREE_H
#define VIDMM_BASE_SPAN_TREE_H

#include "base/span.h"

enum { NODE_FAN = 30, NODE_MIN = 10, NODE_MERGE = 24, NODE_LEVELS_MAX = 12 };

struct span_node {
    struct span_node *parent;      /* NULL in the root; link of the free list */
    struct span_node *next, *prev; /* neighbours among the leaves */
    uint32_t wide_max, tail_max;   /* over the entries, copied into the parent's entry */
    uint32_t n, level;             /* level 0 = leaf */
    uint64_t key[NODE_FAN];
    void *ptr[NODE_FAN]; /* struct span in a leaf, else struct span_node */
    uint32_t wide[NODE_FAN], tail[NODE_FAN];
    uint64_t pad;
};

#define SPAN_UNIT 0x10000u /* the alignment that summaries and classes know about: one 64 KiB page */

/* The cold half of a span: what claiming and releasing it whole does not touch. It lies at a fixed distance
 * behind the hot half, so a busy index keeps twice as many claims in the cache. */
enum { CHUNK_SPANS = 127 };

struct span_rest {
    uint64_t gap;                     /* start of the gap that ends at the span's start (= end of the span before) */
    struct span_node *leaf;           /* where the tree keeps the span */
    struct span *gap_next, *gap_prev; /* list of the gap's class */
};

struct span_chunk {
    void *next; /* list of all chunks; the same two words begin a chunk of nodes */
    size_t bytes;
    uint64_t pad[6];
    struct span span[CHUNK_SPANS];
    struct span_rest rest[CHUNK_SPANS];
};

static inline struct span_rest *rest(const struct span *s)
{
    return (struct span_rest *)((uintptr_t)s + CHUNK_SPANS * sizeof(struct span));
}

/* Gap sizes in summaries are pages, saturated: beyond 2^32 - 1 pages an entry only says "perhaps". */
static inline uint32_t pages_saturated(uint64_t bytes)
{
    uint64_t pages = bytes / SPAN_PAGE;
    return pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX;
}

/* Bytes of [start,end) from its first 64 KiB boundary on; what an aligned request of any size can use. */
static inline uint64_t gap_tail(uint64_t start, uint64_t end)
{
    uint64_t up = (start + SPAN_UNIT - 1) & ~(uint64_t)(SPAN_UNIT - 1);
    return end > up ? end - up : 0;
}

/* Nodes enough for `spans` entries: every node but the root holds NODE_MIN, which sums to spans / 9. */
static inline uint64_t tree_nodes_max(uint64_t spans) { return spans / (NODE_MIN - 1) + NODE_LEVELS_MAX; }

/* Position of the entry with that key among those of the node. Needs: it is there. */
static inline uint32_t node_find(const struct span_node *n, uint64_t key)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < n->n; i++) at += n->key[i] < key;
    return at;
}

static inline struct span *node_span(const struct span_node *n, uint32_t at) { return n->ptr[at]; }

/* The span after s in address order. Needs: s is not the sentinel; at = its place in its leaf. */
static inline struct span *tree_after(const struct span *s, uint32_t at)
{
    const struct span_node *leaf = rest(s)->leaf;
    return at + 1 < leaf->n ? node_span(leaf, at + 1) : node_span(leaf->next, 0);
}

/* Makes the root with the sentinel in it. Needs: one free node, x->end with its gap. */
void tree_start(struct span_index *x);

/* The first span with start > addr. Needs: addr < hi. */
struct span *tree_seek(const struct span_index *x, uint64_t addr);

/* The span before s, parked ones included, or NULL. */
struct span *tree_before(const struct span *s);

/* Enters s (start and gap set) just before t, whose gap was shortened. Needs: nodes reserved. */
void tree_enter(struct span_index *x, struct span *s, struct span *t);

/* Takes s out; `at` as from node_find. t, its successor, has the wider gap already. */
void tree_leave(struct span_index *x, struct span *s, uint32_t at, struct span *t);

/* s has another gap, or another start (old_start is the key it is entered under): corrects the summaries. */
void tree_changed(struct span *s, uint64_t old_start);

/* The first span in direction `dir` whose gap holds what is wanted inside the window; *start = where. */
struct span *tree_search(const struct span_index *x, const struct span_want *want, uint64_t *start);

/* NULL or the name of a violated invariant. */
const char *tree_check(const struct span_index *x);

/* Where in the gap [start,end) the wanted range would lie. False: it does not fit. */
static inline bool want_fits(const struct span_want *w, uint64_t start, uint64_t end, uint64_t *at)
{
    if (start < w->min) start = w->min;
    if (end > w->max) end = w->max;
    uint64_t up = (start + w->align - 1) & ~(w->align - 1);
    if (up < start || up >= end || end - up < w->size) return false;
    *at = w->dir == SPAN_UP ? up : (end - w->size) & ~(w->align - 1);
    return true;
}

#endif
