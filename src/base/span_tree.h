/* SPDX-License-Identifier: MIT */
/* span_tree.h - spans by address: a B+tree whose entries know the widest gap below them. Internal to span*.
 *
 *   inner  key[]   = key[0] of the child                            wide[] = widest gap below, in pages
 *          child[]                                                  tail[] = widest from a 64 KiB boundary on
 *   leaf   key[]   = start of the span     span[] = its id          gap i  = [ i ? end[i-1] : lo, key[i] )
 *          end[]   = end of the span
 *
 *   leaf 1:  lo ....[key0 end0)....[key1 end1)  |  leaf 2:  lo ....[key0 end0) ... [hi hi) = sentinel, id 0
 *                                          '------ equal ---'
 * Keeps: key of a child's entry == its key[0]; node_min <= n <= node_fan except in the root; wide and tail of
 *        a child's entry == the maxima in it; lo == end of the span before (or lo of the space).
 * Gaps only grow when spans leave and only shrink when one enters: maxima are scanned in that case only. */
#ifndef VIDMM_BASE_SPAN_TREE_H
#define VIDMM_BASE_SPAN_TREE_H

#include "base/bits.h"
#include "base/span.h"

enum {
    LEAF_FAN = 29,
    LEAF_MIN = 9,
    LEAF_MERGE = 22, /* neighbours with no more than this together become one */
    INNER_FAN = 22,
    INNER_MIN = 7,
    INNER_MERGE = 17,
    LEVELS_MAX = 14,
    CHUNK_SPANS = 128, /* ids count through chunks: id / CHUNK_SPANS, id % CHUNK_SPANS */
    CHUNK_NODES = 16
};

#define SPAN_UNIT 0x10000u /* the alignment that summaries know about: one 64 KiB page */
#define NODES_MAX (1u << 24) /* ids fit span.leaf */
#define SPAN_NONE UINT32_MAX

struct span_node {
    struct span_node *parent;      /* NULL in the root; link of the free list */
    struct span_node *next, *prev; /* neighbours among the leaves */
    uint64_t lo;
    uint32_t wide_max, tail_max; /* over the entries */
    uint32_t id;
    uint16_t n, level; /* level 0 = leaf */
    uint64_t key[LEAF_FAN];
    union {
        struct {
            uint64_t end[LEAF_FAN];
            uint32_t span[LEAF_FAN];
        };
        struct {
            struct span_node *child[INNER_FAN];
            uint32_t wide[INNER_FAN], tail[INNER_FAN];
        };
    };
    uint64_t pad; /* to a whole number of cache lines */
};

/* An entry of a leaf. */
struct span_spot {
    struct span_node *leaf;
    uint32_t at;
};

static inline struct span *span_at(const struct span_index *x, uint32_t id)
{
    return &x->span_chunk[id / CHUNK_SPANS][id % CHUNK_SPANS];
}

static inline struct span_node *node_at(const struct span_index *x, uint32_t id)
{
    return &x->node_chunk[id / CHUNK_NODES][id % CHUNK_NODES];
}

static inline struct span *spot_span(const struct span_index *x, struct span_spot p)
{
    return span_at(x, p.leaf->span[p.at]);
}

/* Pages as summaries count them: exact below 64 MiB, from there on rounded up to 1/64 of their power of two
 * and saturated at 2^32 - 1. Rounded up, an entry may promise a little too much (the search looks), never too
 * little; rounded at all, because a huge gap eaten page by page would change all summaries each time. */
static inline uint32_t pages_summary(uint64_t bytes)
{
    uint64_t pages = bytes / SPAN_PAGE;
    if (pages < 1u << 14) return (uint32_t)pages;
    uint64_t step = (uint64_t)1 << (log2_floor64(pages) - 6);
    pages = (pages + step - 1) & ~(step - 1);
    return pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX;
}

/* Bytes of [start,end) from its first 64 KiB boundary on; what an aligned request of any size can use. */
static inline uint64_t gap_tail(uint64_t start, uint64_t end)
{
    uint64_t up = (start + SPAN_UNIT - 1) & ~(uint64_t)(SPAN_UNIT - 1);
    return end > up ? end - up : 0;
}

struct span_sum {
    uint32_t wide, tail;
};

static inline struct span_sum gap_sum(uint64_t start, uint64_t end)
{
    return (struct span_sum){pages_summary(end - start), pages_summary(gap_tail(start, end))};
}

/* Start of the gap before entry `at`. */
static inline uint64_t gap_start(const struct span_node *leaf, uint32_t at)
{
    return at ? leaf->end[at - 1] : leaf->lo;
}

/* Nodes enough for `spans` entries: leaves hold 9 or more, inner nodes 7 or more, the roots fewer. */
static inline uint64_t tree_nodes_max(uint64_t spans) { return spans / 7 + LEVELS_MAX; }

/* Position of an entry by its key. Needs: it is there. */
static inline uint32_t node_find(const struct span_node *n, uint64_t key)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < n->n; i++) at += n->key[i] < key;
    return at;
}

static inline struct span_spot spot_of(const struct span_index *x, const struct span *s)
{
    struct span_node *leaf = node_at(x, s->leaf);
    return (struct span_spot){leaf, node_find(leaf, s->start)};
}

/* The entry after p. Needs: p is not the sentinel. */
static inline struct span_spot spot_after(struct span_spot p)
{
    if (p.at + 1 < p.leaf->n) return (struct span_spot){p.leaf, p.at + 1};
    return (struct span_spot){p.leaf->next, 0};
}

/* The entry before p; leaf == NULL if there is none. */
static inline struct span_spot spot_before(struct span_spot p)
{
    if (p.at != 0) return (struct span_spot){p.leaf, p.at - 1};
    return (struct span_spot){p.leaf->prev, p.leaf->prev ? p.leaf->prev->n - 1u : 0};
}

static inline void node_fetch(const struct span_node *n)
{
    for (size_t i = 0; i < sizeof *n; i += 64) __builtin_prefetch((const char *)n + i, 1);
}

/* Makes the root with the sentinel (id 0, start = end = hi) in it. Needs: a free node. */
void tree_start(struct span_index *x);

/* The first entry with start > addr. Needs: addr < hi. */
struct span_spot tree_seek(const struct span_index *x, uint64_t addr);

/* Enters s with that id just before p, from whose gap its range is taken. Needs: nodes reserved. */
void tree_enter(struct span_index *x, struct span_spot p, struct span *s, uint32_t id);

/* Takes the entry out; its range and gap join the gap of its successor. */
void tree_leave(struct span_index *x, struct span_spot p);

/* The span of this entry now begins later, or ends earlier: s has the new bounds already. */
void tree_trimmed(struct span_spot p, const struct span *s);

/* The first gap in direction `dir` with room for what is wanted inside the window, *start = where;
 * leaf == NULL if there is none. */
struct span_spot tree_search(const struct span_index *x, const struct span_want *want, uint64_t *start);

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
