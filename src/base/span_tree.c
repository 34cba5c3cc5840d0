/* SPDX-License-Identifier: MIT */
/* span_tree.c - the address order of spans (drawing and invariants in span_tree.h).
 * Owns: struct span_node while in use, span.leaf.  Calls: nothing.
 * Split, merge and balance are written once; node_shift and node_copy know the two shapes of a node. */
#include "base/span_tree.h"

#include "base/bytes.h"

#include "base/check.h"

static uint32_t node_fan(const struct span_node *n) { return n->level ? INNER_FAN : LEAF_FAN; }
static uint32_t node_min(const struct span_node *n) { return n->level ? INNER_MIN : LEAF_MIN; }
static uint32_t node_merge(const struct span_node *n) { return n->level ? INNER_MERGE : LEAF_MERGE; }

static struct span_node *node_take(struct span_index *x, uint32_t level)
{
    struct span_node *n = x->free_nodes;
    CHECK(n != NULL);
    x->free_nodes = n->parent;
    x->nfree_nodes--;
    n->parent = n->next = n->prev = NULL;
    n->wide_max = n->tail_max = 0;
    n->n = 0;
    n->level = (uint16_t)level;
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
    while (parent->child[i] != child) i++;
    return i;
}

/* Copies k entries; the two ranges may overlap in one node. */
static void node_copy(struct span_node *dst, uint32_t to, const struct span_node *src, uint32_t from,
                      size_t k)
{
    memmove(&dst->key[to], &src->key[from], k * sizeof dst->key[0]);
    if (dst->level == 0) {
        memmove(&dst->end[to], &src->end[from], k * sizeof dst->end[0]);
        memmove(&dst->span[to], &src->span[from], k * sizeof dst->span[0]);
    } else {
        memmove(&dst->child[to], &src->child[from], k * sizeof dst->child[0]);
        memmove(&dst->wide[to], &src->wide[from], k * sizeof dst->wide[0]);
        memmove(&dst->tail[to], &src->tail[from], k * sizeof dst->tail[0]);
    }
}

/* Shifts the entries from `from` on to `to`, leaving a hole or closing one. */
static void node_shift(struct span_node *n, uint32_t from, uint32_t to)
{
    node_copy(n, to, n, from, n->n - from);
    n->n = (uint16_t)(n->n + to - from);
}

/* Moves k entries of src from `from` on to the hole that opens in dst at `to`. */
static void node_move(struct span_index *x, struct span_node *dst, uint32_t to, struct span_node *src,
                      uint32_t from, uint32_t k)
{
    node_shift(dst, to, to + k);
    node_copy(dst, to, src, from, k);
    node_shift(src, from + k, from);
    for (uint32_t i = to; i < to + k; i++) {
        if (dst->level != 0) {
            dst->child[i]->parent = dst;
        } else {
            span_at(x, dst->span[i])->leaf = dst->id & (NODES_MAX - 1);
        }
    }
}

static struct span_sum node_maxima(const struct span_node *n)
{
    struct span_sum max = {0, 0};
    if (n->level != 0) {
        for (uint32_t i = 0; i < n->n; i++) {
            max.wide = n->wide[i] > max.wide ? n->wide[i] : max.wide;
            max.tail = n->tail[i] > max.tail ? n->tail[i] : max.tail;
        }
        return max;
    }
    uint64_t from = n->lo, wide = 0, tail = 0;
    for (uint32_t i = 0; i < n->n; from = n->end[i++]) {
        uint64_t t = gap_tail(from, n->key[i]);
        wide = n->key[i] - from > wide ? n->key[i] - from : wide;
        tail = t > tail ? t : tail;
    }
    return (struct span_sum){pages_summary(wide), pages_summary(tail)};
}

/* The maxima of a node may have changed: carries them up as far as they did. */
static void node_refresh(struct span_node *n)
{
    for (;;) {
        struct span_sum max = node_maxima(n);
        if (max.wide == n->wide_max && max.tail == n->tail_max) return;
        n->wide_max = max.wide;
        n->tail_max = max.tail;
        struct span_node *p = n->parent;
        if (p == NULL) return;
        uint32_t i = node_place(p, n);
        p->wide[i] = max.wide;
        p->tail[i] = max.tail;
        n = p;
    }
}

/* A gap of the leaf grew: the maxima follow without a scan. */
static void gap_grew(struct span_node *n, uint32_t at)
{
    struct span_sum sum = gap_sum(gap_start(n, at), n->key[at]);
    while (sum.wide > n->wide_max || sum.tail > n->tail_max) {
        if (sum.wide > n->wide_max) n->wide_max = sum.wide;
        if (sum.tail > n->tail_max) n->tail_max = sum.tail;
        struct span_node *p = n->parent;
        if (p == NULL) return;
        uint32_t i = node_place(p, n);
        p->wide[i] = n->wide_max;
        p->tail[i] = n->tail_max;
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

static void child_enter(struct span_node *p, uint32_t at, struct span_node *child)
{
    node_shift(p, at, at + 1);
    p->key[at] = child->key[0];
    p->child[at] = child;
    p->wide[at] = child->wide_max;
    p->tail[at] = child->tail_max;
    child->parent = p;
}

static struct span_node *root_grow(struct span_index *x)
{
    struct span_node *old = x->root, *p = node_take(x, old->level + 1u);
    CHECK(p->level < LEVELS_MAX);
    child_enter(p, 0, old);
    p->wide_max = old->wide_max;
    p->tail_max = old->tail_max;
    x->root = p;
    return p;
}

/* Cuts a full node in two at `cut`. Needs: its parent has room. */
static void node_split(struct span_index *x, struct span_node *n, uint32_t cut)
{
    struct span_node *p = n->parent ? n->parent : root_grow(x), *r = node_take(x, n->level);
    node_move(x, r, 0, n, cut, n->n - cut);
    if (n->level == 0) {
        r->lo = n->end[n->n - 1];
        r->next = n->next;
        r->prev = n;
        if (r->next) r->next->prev = r;
        n->next = r;
    }
    child_enter(p, node_place(p, n) + 1, r);
    node_refresh(r);
    node_refresh(n);
}

/* Gives the leaf of p room for one more entry just before p. Splits from the highest full node down, each
 * time under a parent with room. Runs that grow at one end leave fuller nodes behind them. */
static struct span_spot leaf_make_room(struct span_index *x, struct span_spot p)
{
    uint64_t key = p.leaf->key[p.at];
    while (p.leaf->n == LEAF_FAN) {
        struct span_node *n = p.leaf;
        while (n->parent && n->parent->n == INNER_FAN) n = n->parent;
        uint32_t cut = node_fan(n) / 2;
        if (n->key[n->n - 1] <= key) cut = node_fan(n) - node_min(n);
        else if (n->key[0] >= key) cut = node_min(n);
        node_split(x, n, cut);
        if (n != p.leaf || p.at < cut) continue;
        p.leaf = n->next;
        p.at -= cut;
    }
    return p;
}

static void nodes_merge(struct span_index *x, struct span_node *p, uint32_t at)
{
    struct span_node *l = p->child[at], *r = p->child[at + 1];
    node_move(x, l, l->n, r, 0, r->n);
    if (l->level == 0) {
        l->next = r->next;
        if (l->next) l->next->prev = l;
    }
    node_shift(p, at + 2, at + 1);
    node_give(x, r);
    node_refresh(l);
    node_refresh(p);
}

static void nodes_balance(struct span_index *x, struct span_node *p, uint32_t at)
{
    struct span_node *l = p->child[at], *r = p->child[at + 1];
    uint32_t half = (l->n + r->n) / 2u;
    if (l->n < half) node_move(x, l, l->n, r, 0, half - l->n);
    else node_move(x, r, 0, l, half, l->n - half);
    if (l->level == 0) r->lo = l->end[l->n - 1];
    p->key[at + 1] = r->key[0];
    node_refresh(l);
    node_refresh(r);
}

/* A node lost an entry: keeps every node but the root at node_min or more. */
static void node_refill(struct span_index *x, struct span_node *n)
{
    while (n->parent && n->n < node_min(n)) {
        struct span_node *p = n->parent;
        uint32_t at = node_place(p, n);
        if (at != 0) at--;
        if (p->child[at]->n + p->child[at + 1]->n > (int)node_merge(n)) {
            nodes_balance(x, p, at);
            return;
        }
        nodes_merge(x, p, at);
        n = p;
    }
    while (x->root->level != 0 && x->root->n == 1) {
        struct span_node *old = x->root;
        x->root = old->child[0];
        x->root->parent = NULL;
        node_give(x, old);
    }
}

void tree_start(struct span_index *x)
{
    struct span_node *n = x->root = node_take(x, 0);
    n->lo = x->lo;
    n->n = 1;
    n->key[0] = n->end[0] = x->hi;
    n->span[0] = 0;
    span_at(x, 0)->leaf = n->id & (NODES_MAX - 1);
    gap_grew(n, 0);
}

struct span_spot tree_seek(const struct span_index *x, uint64_t addr)
{
    struct span_node *n = x->root;
    for (;;) {
        uint32_t at = 0;
        for (uint32_t i = 0; i < n->n; i++) at += n->key[i] <= addr;
        if (n->level == 0) return at < n->n ? (struct span_spot){n, at} : (struct span_spot){n->next, 0};
        n = n->child[at ? at - 1 : 0];
        if (n->level == 0) node_fetch(n);
    }
}

void tree_enter(struct span_index *x, struct span_spot p, struct span *s, uint32_t id)
{
    if (p.leaf->n == LEAF_FAN) p = leaf_make_room(x, p);
    struct span_node *n = p.leaf;
    uint64_t from = gap_start(n, p.at), to = n->key[p.at];
    struct span_sum old = gap_sum(from, to), low = gap_sum(from, s->start), high = gap_sum(s->end, to);
    bool scan = (old.wide == n->wide_max && max_u32(low.wide, high.wide) != old.wide) ||
                (old.tail == n->tail_max && max_u32(low.tail, high.tail) != old.tail);
    node_shift(n, p.at, p.at + 1);
    n->key[p.at] = s->start;
    n->end[p.at] = s->end;
    n->span[p.at] = id;
    s->leaf = n->id & (NODES_MAX - 1);
    if (p.at == 0) node_rekey(n);
    if (scan) node_refresh(n);
}

void tree_leave(struct span_index *x, struct span_spot p)
{
    struct span_node *n = p.leaf, *m = n->next;
    uint64_t from = gap_start(n, p.at), to = n->key[p.at];
    bool last = p.at + 1u == n->n;
    node_shift(n, p.at + 1, p.at);
    if (p.at == 0) node_rekey(n);
    if (!last) {
        gap_grew(n, p.at);
    } else {
        m->lo = from;
        gap_grew(m, 0);
        struct span_sum gone = gap_sum(from, to);
        if (gone.wide == n->wide_max || gone.tail == n->tail_max) node_refresh(n);
    }
    if (n->n < LEAF_MIN) node_refill(x, n);
}

void tree_trimmed(struct span_spot p, const struct span *s)
{
    struct span_node *n = p.leaf;
    if (n->key[p.at] != s->start) {
        n->key[p.at] = s->start;
        if (p.at == 0) node_rekey(n);
        gap_grew(n, p.at);
    }
    if (n->end[p.at] != s->end) {
        struct span_spot after = spot_after(p);
        n->end[p.at] = s->end;
        if (after.at == 0) after.leaf->lo = s->end;
        gap_grew(after.leaf, after.at);
    }
}

/* What a summary must at least say if there is room; saturated like it, but not rounded. */
static uint32_t pages_wanted(uint64_t bytes)
{
    return bytes / SPAN_PAGE < UINT32_MAX ? (uint32_t)(bytes / SPAN_PAGE) : UINT32_MAX;
}

/* The entries of a node that promise room, as a bit mask: one straight loop, because a branch per entry costs
 * more than the comparison. Leaves are asked exactly, but for the window. */
static uint32_t node_promises(const struct span_node *n, const struct span_want *w, uint32_t pages,
                              uint32_t tail)
{
    uint32_t mask = 0;
    if (n->level != 0) {
        for (uint32_t i = 0; i < n->n; i++) {
            mask |= (uint32_t)((n->wide[i] >= pages) & (n->tail[i] >= tail)) << i;
        }
        return mask;
    }
    uint64_t from = n->lo, low = w->align - 1;
    for (uint32_t i = 0; i < n->n; from = n->end[i++]) {
        mask |= (uint32_t)(((from + low) & ~low) + w->size <= n->key[i]) << i;
    }
    return mask;
}

/* Where a search enters a node: upwards at the entry that may hold min. Downwards at the first entry above
 * max, because it owns the gap that reaches across max. Inside the window: the first or the last entry. */
static struct span_spot search_enter(struct span_node *n, const struct span_want *want)
{
    bool up = want->dir == SPAN_UP;
    uint64_t bound = up ? want->min : want->max - 1;
    uint32_t at = 0;
    for (uint32_t i = 0; i < n->n; i++) at += n->key[i] <= bound;
    if (up) return (struct span_spot){n, n->level != 0 && at != 0 ? at - 1 : at};
    return (struct span_spot){n, min_u32(at, n->n - 1u)};
}

/* Climbs while a node is exhausted, descends where the summary promises room. A promise is broken only at the
 * window's edges, by the rounding of summaries, and for alignments beyond 64 KiB. */
struct span_spot tree_search(const struct span_index *x, const struct span_want *want, uint64_t *start)
{
    const struct span_spot none = {NULL, 0};
    bool up = want->dir == SPAN_UP;
    uint32_t step = up ? 1u : ~0u;
    uint32_t pages = pages_wanted(want->size), tail = want->align < SPAN_UNIT ? 0 : pages;
    struct span_spot p = search_enter(x->root, want);
    for (;;) {
        struct span_node *n = p.leaf;
        uint32_t mask = 0; /* `at` is beyond the end also where a downward step wrapped below 0 */
        if (p.at < n->n) mask = node_promises(n, want, pages, tail) & (up ? ~0u << p.at : (2u << p.at) - 1);
        if (mask == 0) {
            if (n->parent == NULL) return none;
            p = (struct span_spot){n->parent, node_place(n->parent, n) + step};
            continue;
        }
        p.at = up ? ctz32(mask) : log2_floor32(mask);
        if (n->level != 0) {
            if (n->level == 1) node_fetch(n->child[p.at]);
            p = search_enter(n->child[p.at], want);
            continue;
        }
        uint64_t from = gap_start(n, p.at);
        if (want_fits(want, from, n->key[p.at], start)) return p;
        if (up ? from >= want->max : n->key[p.at] <= want->min) return none;
        p.at += step;
    }
}

static const char *leaf_check(const struct span_index *x, const struct span_node *n)
{
    for (uint32_t i = 0; i < n->n; i++) {
        const struct span *s = span_at(x, n->span[i]);
        if (s->leaf != n->id) return "tree: leaf of span";
        if (s->start != n->key[i] || s->end != n->end[i]) return "tree: bounds of span";
        if (gap_start(n, i) > n->key[i] || n->key[i] > n->end[i]) return "tree: overlap";
    }
    if (n->lo != (n->prev ? n->prev->end[n->prev->n - 1] : x->lo)) return "tree: lo of leaf";
    return n->next || n->span[n->n - 1] == 0 ? NULL : "tree: sentinel";
}

static const char *node_check(const struct span_index *x, const struct span_node *n)
{
    struct span_sum max = node_maxima(n);
    if (n->n > node_fan(n) || n->n == 0) return "tree: entry count";
    if (n != x->root && n->n < node_min(n)) return "tree: node too empty";
    if ((n == x->root) != (n->parent == NULL)) return "tree: parent of root";
    for (uint32_t i = 1; i < n->n; i++) {
        if (n->key[i - 1] >= n->key[i]) return "tree: key order";
    }
    for (uint32_t i = 0; i < n->n && n->level; i++) {
        const struct span_node *c = n->child[i];
        if (c->parent != n || c->level + 1 != n->level) return "tree: child link";
        if (c->key[0] != n->key[i]) return "tree: key of child";
        if (c->wide_max != n->wide[i] || c->tail_max != n->tail[i]) return "tree: summary of child";
    }
    if (max.wide != n->wide_max || max.tail != n->tail_max) return "tree: maxima";
    return n->level ? NULL : leaf_check(x, n);
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
        const struct span_node *down = n->level ? n->child[0] : NULL;
        while (down == NULL && n->parent) {
            uint32_t at = node_place(n->parent, n) + 1;
            n = n->parent;
            down = at < n->n ? n->child[at] : NULL;
        }
        n = down;
    }
    if (last_leaf && last_leaf->next) return "tree: leaf chain end";
    return nodes + x->nfree_nodes == x->node_chunks * CHUNK_NODES ? NULL : "tree: nodes lost";
}
