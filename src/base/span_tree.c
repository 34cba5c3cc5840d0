/* SPDX-License-Identifier: MIT */
/* span_tree.c - the address order of spans (drawing and invariants in span_tree.h).
 * Owns: struct span_node while in use, the leaf links of spans.  Calls: nothing.
 * Leaves and inner nodes have one shape, so that split, merge and balance are written once. */
#include "base/span_tree.h"

#include <string.h>

#include "base/check.h"

static struct span_node *node_take(struct span_index *x, uint32_t level)
{
    struct span_node *n = x->free_nodes;
    CHECK(n != NULL);
    x->free_nodes = n->parent;
    x->nfree_nodes--;
    n->parent = n->next = n->prev = NULL;
    n->wide_max = n->tail_max = 0;
    n->n = 0;
    n->level = level;
    return n;
}

static void node_give(struct span_index *x, struct span_node *n)
{
    n->parent = x->free_nodes;
    x->free_nodes = n;
    x->nfree_nodes++;
}

/* Position of a child; bounded by the fan. */
static uint32_t node_place(const struct span_node *parent, const struct span_node *child)
{
    uint32_t i = 0;
    while (parent->ptr[i] != child) i++;
    return i;
}

/* The entries [at, at+n) just arrived here. */
static void node_adopt(struct span_node *n, uint32_t at, uint32_t end)
{
    for (uint32_t i = at; i < end; i++) {
        if (n->level == 0) rest(node_span(n, i))->leaf = n;
        else ((struct span_node *)n->ptr[i])->parent = n;
    }
}

/* Shifts the entries from `from` on to `to`, leaving a hole or closing one. */
static void node_shift(struct span_node *n, uint32_t from, uint32_t to)
{
    size_t k = n->n - from;
    memmove(&n->key[to], &n->key[from], k * sizeof n->key[0]);
    memmove(&n->ptr[to], &n->ptr[from], k * sizeof n->ptr[0]);
    memmove(&n->wide[to], &n->wide[from], k * sizeof n->wide[0]);
    memmove(&n->tail[to], &n->tail[from], k * sizeof n->tail[0]);
    n->n = n->n + to - from;
}

/* Moves k entries of src from `from` on to the hole that opens in dst at `to`. */
static void node_move(struct span_node *dst, uint32_t to, struct span_node *src, uint32_t from, uint32_t k)
{
    node_shift(dst, to, to + k);
    memcpy(&dst->key[to], &src->key[from], k * sizeof dst->key[0]);
    memcpy(&dst->ptr[to], &src->ptr[from], k * sizeof dst->ptr[0]);
    memcpy(&dst->wide[to], &src->wide[from], k * sizeof dst->wide[0]);
    memcpy(&dst->tail[to], &src->tail[from], k * sizeof dst->tail[0]);
    node_shift(src, from + k, from);
    node_adopt(dst, to, to + k);
}

/* The maxima of a node may have changed: carries them up as far as they did. */
static void node_refresh(struct span_node *n)
{
    for (;;) {
        uint32_t wide = 0, tail = 0;
        for (uint32_t i = 0; i < n->n; i++) {
            wide = n->wide[i] > wide ? n->wide[i] : wide;
            tail = n->tail[i] > tail ? n->tail[i] : tail;
        }
        if (wide == n->wide_max && tail == n->tail_max) return;
        n->wide_max = wide;
        n->tail_max = tail;
        struct span_node *p = n->parent;
        if (p == NULL) return;
        uint32_t i = node_place(p, n);
        p->wide[i] = wide;
        p->tail[i] = tail;
        n = p;
    }
}

/* The first key of a node changed: corrects the entries above it. */
static void node_rekey(struct span_node *n)
{
    for (struct span_node *p = n->parent; p != NULL; n = p, p = n->parent) {
        uint32_t i = node_place(p, n);
        p->key[i] = n->key[0];
        if (i != 0) return;
    }
}

/* Writes the gap of leaf entry `at`. The maxima are scanned only if this entry was one of them. */
static void leaf_set_gap(struct span_node *n, uint32_t at, uint64_t start, uint64_t end)
{
    uint32_t wide = pages_saturated(end - start), tail = pages_saturated(gap_tail(start, end));
    uint32_t old_wide = n->wide[at], old_tail = n->tail[at];
    n->wide[at] = wide;
    n->tail[at] = tail;
    bool wide_same = wide == n->wide_max || (wide < n->wide_max && old_wide < n->wide_max);
    bool tail_same = tail == n->tail_max || (tail < n->tail_max && old_tail < n->tail_max);
    if (!wide_same || !tail_same) node_refresh(n);
}

/* Opens entry `at` for a new child or span. Needs: room. */
static void node_open(struct span_node *n, uint32_t at, uint64_t key, void *ptr)
{
    node_shift(n, at, at + 1);
    n->key[at] = key;
    n->ptr[at] = ptr;
    n->wide[at] = n->tail[at] = 0;
}

static struct span_node *root_grow(struct span_index *x)
{
    struct span_node *old = x->root, *p = node_take(x, old->level + 1);
    CHECK(p->level < NODE_LEVELS_MAX);
    node_open(p, 0, old->key[0], old);
    p->wide[0] = p->wide_max = old->wide_max;
    p->tail[0] = p->tail_max = old->tail_max;
    old->parent = p;
    x->root = p;
    return p;
}

/* Cuts a full node in two at `cut`. Needs: its parent has room. */
static void node_split(struct span_index *x, struct span_node *n, uint32_t cut)
{
    struct span_node *p = n->parent ? n->parent : root_grow(x);
    struct span_node *r = node_take(x, n->level);
    node_move(r, 0, n, cut, n->n - cut);
    if (n->level == 0) {
        r->next = n->next;
        r->prev = n;
        if (r->next) r->next->prev = r;
        n->next = r;
    }
    node_open(p, node_place(p, n) + 1, r->key[0], r);
    r->parent = p;
    node_refresh(r);
    node_refresh(n);
}

/* Gives the leaf of t room for one more entry just before t. Splits from the highest full node down, each
 * time under a parent with room. Runs that grow at one end leave fuller nodes behind them. */
static void leaf_make_room(struct span_index *x, struct span *t)
{
    while (rest(t)->leaf->n == NODE_FAN) {
        struct span_node *n = rest(t)->leaf;
        while (n->parent && n->parent->n == NODE_FAN) n = n->parent;
        uint32_t cut = NODE_FAN / 2;
        if (n->key[NODE_FAN - 1] <= t->start) cut = NODE_FAN - NODE_MIN;
        else if (n->key[0] >= t->start) cut = NODE_MIN;
        node_split(x, n, cut);
    }
}

static void nodes_merge(struct span_index *x, struct span_node *p, uint32_t at)
{
    struct span_node *l = p->ptr[at], *r = p->ptr[at + 1];
    node_move(l, l->n, r, 0, r->n);
    if (l->level == 0) {
        l->next = r->next;
        if (l->next) l->next->prev = l;
    }
    node_shift(p, at + 2, at + 1);
    node_give(x, r);
    node_refresh(l);
    node_refresh(p);
}

static void nodes_balance(struct span_node *p, uint32_t at)
{
    struct span_node *l = p->ptr[at], *r = p->ptr[at + 1];
    uint32_t half = (l->n + r->n) / 2;
    if (l->n < half) node_move(l, l->n, r, 0, half - l->n);
    else node_move(r, 0, l, half, l->n - half);
    p->key[at + 1] = r->key[0];
    node_refresh(l);
    node_refresh(r);
}

/* A node lost an entry: keeps every node but the root at NODE_MIN or more. */
static void node_refill(struct span_index *x, struct span_node *n)
{
    while (n->parent && n->n < NODE_MIN) {
        struct span_node *p = n->parent;
        uint32_t at = node_place(p, n);
        if (at != 0) at--;
        const struct span_node *l = p->ptr[at], *r = p->ptr[at + 1];
        if (l->n + r->n > NODE_MERGE) {
            nodes_balance(p, at);
            return;
        }
        nodes_merge(x, p, at);
        n = p;
    }
    while (x->root->level != 0 && x->root->n == 1) {
        struct span_node *old = x->root;
        x->root = old->ptr[0];
        x->root->parent = NULL;
        node_give(x, old);
    }
}

void tree_start(struct span_index *x)
{
    x->root = node_take(x, 0);
    node_open(x->root, 0, x->hi, x->end);
    rest(x->end)->leaf = x->root;
    leaf_set_gap(x->root, 0, x->lo, x->hi);
}

struct span *tree_seek(const struct span_index *x, uint64_t addr)
{
    const struct span_node *n = x->root;
    for (;;) {
        uint32_t at = 0;
        for (uint32_t i = 0; i < n->n; i++) at += n->key[i] <= addr;
        if (n->level == 0) return at < n->n ? node_span(n, at) : node_span(n->next, 0);
        n = n->ptr[at ? at - 1 : 0];
    }
}

struct span *tree_before(const struct span *s)
{
    const struct span_node *leaf = rest(s)->leaf;
    uint32_t at = node_find(leaf, s->start);
    if (at != 0) return node_span(leaf, at - 1);
    return leaf->prev ? node_span(leaf->prev, leaf->prev->n - 1) : NULL;
}

void tree_enter(struct span_index *x, struct span *s, struct span *t)
{
    if (rest(t)->leaf->n == NODE_FAN) leaf_make_room(x, t);
    struct span_node *leaf = rest(t)->leaf;
    uint32_t at = node_find(leaf, t->start);
    node_open(leaf, at, s->start, s);
    rest(s)->leaf = leaf;
    if (at == 0) node_rekey(leaf);
    leaf_set_gap(leaf, at, rest(s)->gap, s->start);
    leaf_set_gap(leaf, at + 1, rest(t)->gap, t->start);
}

void tree_leave(struct span_index *x, struct span *s, uint32_t at, struct span *t)
{
    struct span_node *leaf = rest(s)->leaf;
    bool scan = leaf->wide[at] == leaf->wide_max || leaf->tail[at] == leaf->tail_max;
    node_shift(leaf, at + 1, at);
    if (at == 0) node_rekey(leaf);
    if (rest(t)->leaf == leaf) {
        leaf_set_gap(leaf, at, rest(t)->gap, t->start); /* at least as wide as the gap of s, which is part of it */
    } else {
        leaf_set_gap(rest(t)->leaf, 0, rest(t)->gap, t->start);
        if (scan) node_refresh(leaf);
    }
    if (leaf->n < NODE_MIN) node_refill(x, leaf);
}

void tree_changed(struct span *s, uint64_t old_start)
{
    struct span_node *leaf = rest(s)->leaf;
    uint32_t at = node_find(leaf, old_start);
    if (old_start != s->start) {
        leaf->key[at] = s->start;
        if (at == 0) node_rekey(leaf);
    }
    leaf_set_gap(leaf, at, rest(s)->gap, s->start);
}

/* Next entry after `at` upwards, or before it downwards, that may hold the wanted gap: climbs while a node is
 * exhausted, descends where the summary promises room. A promise is broken only at the window's edges and for
 * alignments beyond 64 KiB. */
struct span *tree_search(const struct span_index *x, const struct span_want *want, uint64_t *start)
{
    bool up = want->dir == SPAN_UP;
    uint32_t pages = pages_saturated(want->size), tail = want->align < SPAN_UNIT ? 0 : pages;
    const struct span_node *n = x->root;
    if (n->wide_max < pages || n->tail_max < tail) return NULL;
    const struct span *first = tree_seek(x, up ? want->min : want->max - 1);
    n = rest(first)->leaf;
    uint32_t at = node_find(n, first->start);
    for (;;) {
        while (at < n->n && (n->wide[at] < pages || n->tail[at] < tail)) at += up ? 1u : ~0u;
        if (at >= n->n) { /* also where a downward step wrapped below 0 */
            if (n->parent == NULL) return NULL;
            at = node_place(n->parent, n) + (up ? 1u : ~0u);
            n = n->parent;
        } else if (n->level != 0) {
            n = n->ptr[at];
            at = up ? 0 : n->n - 1;
        } else {
            struct span *s = node_span(n, at);
            if (want_fits(want, rest(s)->gap, s->start, start)) return s;
            if (up ? rest(s)->gap >= want->max : s->start <= want->min) return NULL;
            at += up ? 1u : ~0u;
        }
    }
}

static const char *node_check(const struct span_index *x, const struct span_node *n)
{
    uint32_t wide = 0, tail = 0;
    if (n->n > NODE_FAN || n->n == 0) return "tree: entry count";
    if (n != x->root && n->n < NODE_MIN) return "tree: node too empty";
    if ((n == x->root) != (n->parent == NULL)) return "tree: parent of root";
    for (uint32_t i = 0; i < n->n; i++) {
        if (i != 0 && n->key[i - 1] >= n->key[i]) return "tree: key order";
        if (n->wide[i] > wide) wide = n->wide[i];
        if (n->tail[i] > tail) tail = n->tail[i];
        if (n->level == 0) {
            const struct span *s = n->ptr[i];
            if (rest(s)->leaf != n) return "tree: leaf link";
            if (s->start != n->key[i]) return "tree: key of span";
            if (n->wide[i] != pages_saturated(s->start - rest(s)->gap)) return "tree: wide";
            if (n->tail[i] != pages_saturated(gap_tail(rest(s)->gap, s->start))) return "tree: tail";
            continue;
        }
        const struct span_node *c = n->ptr[i];
        if (c->parent != n || c->level + 1 != n->level) return "tree: child link";
        if (c->key[0] != n->key[i]) return "tree: key of child";
        if (c->wide_max != n->wide[i] || c->tail_max != n->tail[i]) return "tree: summary of child";
    }
    return wide == n->wide_max && tail == n->tail_max ? NULL : "tree: maxima";
}

/* Visits nodes in depth-first order without a stack: the successor is found through the parent links. */
const char *tree_check(const struct span_index *x)
{
    const struct span_node *n = x->root, *last_leaf = NULL;
    uint32_t nodes = 0;
    while (n != NULL) {
        const char *bad = node_check(x, n);
        if (bad) return bad;
        nodes++;
        if (n->level == 0) {
            if (n->prev != last_leaf || (last_leaf && last_leaf->next != n)) return "tree: leaf chain";
            last_leaf = n;
        }
        const struct span_node *down = n->level ? n->ptr[0] : NULL;
        while (down == NULL && n->parent) {
            uint32_t at = node_place(n->parent, n) + 1;
            n = n->parent;
            down = at < n->n ? n->ptr[at] : NULL;
        }
        n = down;
    }
    if (last_leaf && last_leaf->next) return "tree: leaf chain end";
    return nodes + x->nfree_nodes == x->nnodes ? NULL : "tree: nodes lost";
}
