/* SPDX-License-Identifier: MIT */
/* span.c - the claims of an address space: memory, placement, claim and release (see span.h).
 * Owns: the memory of spans and nodes.  Calls: span_tree, span_gap, span_park, the memory hook.
 * Memory is taken in span_reserve only; what is freed goes to the index's own free lists. */
#include "base/span.h"

#include <string.h>

#include "base/check.h"
#include "base/span_gap.h"
#include "base/span_park.h"
#include "base/span_tree.h"

enum { CHUNK_NODES = 20, CHUNK_ALIGN = 64 };

struct node_chunk {
    void *next; /* begins like struct span_chunk */
    size_t bytes;
    uint64_t pad[6];
    struct span_node node[CHUNK_NODES];
};

_Static_assert(sizeof(struct span) == 32, "two hot halves share a cache line");
_Static_assert(sizeof(struct span_rest) == sizeof(struct span), "halves of one size, so one distance fits all");
_Static_assert(offsetof(struct span_chunk, rest) - offsetof(struct span_chunk, span) ==
               CHUNK_SPANS * sizeof(struct span), "rest() relies on it");
_Static_assert(sizeof(struct span_node) % 64 == 0, "nodes stay on cache lines");

bool span_init(struct span_index *x, uint64_t lo, uint64_t hi, uint64_t pick_lo,
               const struct base_memory *memory)
{
    memset(x, 0, sizeof *x);
    if (lo >= hi || hi > (uint64_t)1 << 63 || ((lo | hi | pick_lo) & (SPAN_PAGE - 1))) return false;
    if (pick_lo < lo || pick_lo >= hi || !memory || !memory->alloc || !memory->free) return false;
    x->memory = *memory;
    x->lo = lo;
    x->hi = hi;
    x->pick_lo = pick_lo;
    return true;
}

static size_t slots_bytes(uint32_t cap)
{
    return cap * (sizeof(struct span_slot) + sizeof(uint16_t));
}

void span_fini(struct span_index *x)
{
    for (struct span_chunk *c = x->chunks, *next; c; c = next) {
        next = c->next;
        memory_free(&x->memory, c, c->bytes);
    }
    if (x->slot) memory_free(&x->memory, x->slot, slots_bytes(x->slot_cap));
    memset(x, 0, sizeof *x);
}

static void give_span(struct span_index *x, struct span *s)
{
    s->owner = x->free_spans;
    x->free_spans = s;
    x->nfree_spans++;
}

static struct span *take_span(struct span_index *x)
{
    struct span *s = x->free_spans;
    CHECK(s != NULL);
    x->free_spans = s->owner;
    x->nfree_spans--;
    s->owner = NULL;
    s->kind = 0;
    s->slot = 0;
    return s;
}

static bool more_spans(struct span_index *x)
{
    struct span_chunk *c = memory_alloc(&x->memory, sizeof *c, CHUNK_ALIGN);
    if (!c) return false;
    c->next = x->chunks;
    c->bytes = sizeof *c;
    x->chunks = c;
    for (uint32_t i = CHUNK_SPANS; i-- != 0;) give_span(x, &c->span[i]);
    x->nspans += CHUNK_SPANS;
    return true;
}

static bool more_nodes(struct span_index *x)
{
    struct node_chunk *c = memory_alloc(&x->memory, sizeof *c, CHUNK_ALIGN);
    if (!c) return false;
    c->next = x->chunks;
    c->bytes = sizeof *c;
    x->chunks = c;
    for (uint32_t i = CHUNK_NODES; i-- != 0;) {
        c->node[i].parent = x->free_nodes;
        x->free_nodes = &c->node[i];
    }
    x->nfree_nodes += CHUNK_NODES;
    x->nnodes += CHUNK_NODES;
    return true;
}

/* The empty tree: the sentinel, which owns the one gap. */
static void start(struct span_index *x)
{
    x->end = take_span(x);
    x->end->start = x->end->end = x->hi;
    rest(x->end)->gap = x->lo;
    tree_start(x);
    gap_link(x, x->end, gap_class(x, x->lo, x->hi));
}

/* Ends the wait of a parked or just removed span: its range joins the gap of its successor. */
static void merge_span(struct span_index *x, struct span *s)
{
    uint32_t at = node_find(rest(s)->leaf, s->start);
    struct span *t = tree_after(s, at);
    uint32_t old = gap_class(x, rest(t)->gap, t->start);
    gap_unlink(x, s, gap_class(x, rest(s)->gap, s->start));
    rest(t)->gap = rest(s)->gap;
    gap_relink(x, t, old);
    tree_leave(x, s, at, t);
    give_span(x, s);
}

static void merge_oldest(struct span_index *x)
{
    uint32_t newer = x->slot[x->slot_oldest - 1].newer;
    if (newer) park_fetch(x, newer);
    merge_span(x, park_take(x, x->slot_oldest));
}

/* The oldest removed handle is looked at: it joins the park, which may have to let others go. */
static void settle_one(struct span_index *x)
{
    struct span *s = x->arriving[x->arrived_at];
    x->arrived_at = (x->arrived_at + 1) % SPAN_ARRIVING;
    x->narriving--;
    x->bytes -= s->end - s->start;
    if (!park_admits(s)) {
        merge_span(x, s);
        return;
    }
    if (x->slot_unused == 0) merge_oldest(x);
    park_put(x, s);
    for (int n = 0; n < 2 && park_is_over(x); n++) merge_oldest(x);
}

static void settle(struct span_index *x)
{
    while (x->narriving != 0) settle_one(x);
}

static void merge_all_parked(struct span_index *x)
{
    while (x->parked != 0) merge_oldest(x);
}

/* Merges the parked spans that overlap [start,end); true if there were any. */
static bool merge_parked_in(struct span_index *x, uint64_t start, uint64_t end)
{
    bool any = false;
    for (uint64_t at = start; at < end;) {
        struct span *t = tree_seek(x, at);
        struct span *s = rest(t)->gap > at ? tree_before(t) : t;
        if (s->start >= end || s == x->end) return any;
        at = s->end;
        if (s->slot == 0) continue;
        merge_span(x, park_take(x, s->slot));
        any = true;
    }
    return any;
}

/* A bigger park. Not having it costs speed only, but the caller asked for memory and shall hear of it. */
static bool more_slots(struct span_index *x)
{
    uint32_t cap = x->slot_cap ? 4 * x->slot_cap : SPAN_SLOTS_MIN;
    void *mem = memory_alloc(&x->memory, slots_bytes(cap), CHUNK_ALIGN);
    if (!mem) return false;
    if (x->slot) {
        merge_all_parked(x);
        memory_free(&x->memory, x->slot, slots_bytes(x->slot_cap));
    }
    memset(mem, 0, slots_bytes(cap));
    x->slot = mem;
    x->bucket = (uint16_t *)(void *)(x->slot + cap);
    x->slot_cap = cap;
    for (uint32_t i = 1; i < cap; i++) x->slot[i - 1].newer = (uint16_t)(i + 1);
    x->slot_unused = 1;
    return true;
}

bool span_reserve(struct span_index *x, uint32_t n)
{
    uint32_t sentinel = x->root ? 0 : 1;
    while (x->nfree_spans < n + sentinel || x->nfree_spans < n) {
        if (!more_spans(x)) return false;
    }
    uint64_t spans = (uint64_t)(x->nspans - x->nfree_spans) + n + sentinel; /* in the tree at most */
    while (x->nnodes < tree_nodes_max(spans)) {
        if (!more_nodes(x)) return false;
    }
    while (x->slot_cap < SPAN_SLOTS_MAX && PARK_FEW + spans / PARK_SHARE > x->slot_cap) {
        if (!more_slots(x)) return false;
    }
    if (!x->root) start(x);
    return true;
}

/* Claims [start,end) from the gap of t, in which it lies. */
static struct span *carve(struct span_index *x, struct span *t, uint64_t start, uint64_t end)
{
    struct span *s = take_span(x);
    uint32_t old = gap_class(x, rest(t)->gap, t->start);
    s->start = start;
    s->end = end;
    rest(s)->gap = rest(t)->gap;
    rest(t)->gap = end;
    gap_relink(x, t, old);
    gap_link(x, s, gap_class(x, rest(s)->gap, start));
    tree_enter(x, s, t);
    return s;
}

static bool want_valid(const struct span_index *x, const struct span_want *in, struct span_want *w)
{
    *w = *in;
    if (w->min < x->lo) w->min = x->lo;
    if (w->max > x->hi) w->max = x->hi;
    if (w->size == 0 || (w->size & (SPAN_PAGE - 1)) || w->align < SPAN_PAGE) return false;
    if ((w->align & (w->align - 1)) != 0 || w->min >= w->max) return false;
    return w->size <= w->max - w->min;
}

/* The span whose gap shall be carved at *start. */
static struct span *place_in_gaps(const struct span_index *x, const struct span_want *w, uint64_t *start)
{
    struct span *t = w->max > x->pick_lo ? gap_pick(x, w, start) : NULL;
    return t ? t : tree_search(x, w, start);
}

/* As place_in_gaps; if the parked ranges are in the way they are merged, so that a NULL is the truth. */
static struct span *place(struct span_index *x, const struct span_want *w, uint64_t *start)
{
    struct span *t = place_in_gaps(x, w, start);
    if (t || x->parked + x->narriving == 0) return t;
    settle(x);
    merge_all_parked(x);
    return place_in_gaps(x, w, start);
}

struct span *span_alloc(struct span_index *x, const struct span_want *want)
{
    struct span_want w;
    uint64_t start;
    if (!x->root || x->nfree_spans == 0 || !want_valid(x, want, &w)) return NULL;
    uint32_t id = park_find(x, &w);
    struct span *s, *t;
    if (id) {
        s = park_take(x, id);
        s->owner = NULL;
        s->kind = 0;
    } else {
        t = place(x, &w, &start);
        if (!t) return NULL;
        s = carve(x, t, start, start + w.size);
    }
    x->count++;
    x->bytes += w.size;
    return s;
}

bool span_fit(struct span_index *x, const struct span_want *want, uint64_t *start)
{
    struct span_want w;
    if (!want_valid(x, want, &w)) return false;
    if (!x->root) return want_fits(&w, x->lo, x->hi, start);
    uint32_t id = park_find(x, &w);
    if (id) *start = x->slot[id - 1].start;
    return id || place(x, &w, start);
}

static bool range_valid(const struct span_index *x, uint64_t start, uint64_t end)
{
    return start < end && ((start | end) & (SPAN_PAGE - 1)) == 0 && start >= x->lo && end <= x->hi;
}

/* The span whose gap contains all of [start,end), or NULL if that is not free. */
static struct span *gap_around(struct span_index *x, uint64_t start, uint64_t end)
{
    settle(x);
    struct span *t = tree_seek(x, start);
    if (rest(t)->gap <= start && end <= t->start) return t;
    if (x->parked == 0 || !merge_parked_in(x, start, end)) return NULL;
    t = tree_seek(x, start);
    return rest(t)->gap <= start && end <= t->start ? t : NULL;
}

bool span_is_free(struct span_index *x, uint64_t start, uint64_t end)
{
    return range_valid(x, start, end) && (!x->root || gap_around(x, start, end));
}

struct span *span_insert(struct span_index *x, uint64_t start, uint64_t end)
{
    if (!x->root || x->nfree_spans == 0 || !range_valid(x, start, end)) return NULL;
    struct span *t = gap_around(x, start, end);
    if (!t) return NULL;
    x->count++;
    x->bytes += end - start;
    return carve(x, t, start, end);
}

void span_remove(struct span_index *x, struct span *s)
{
    __builtin_prefetch(s, 1);
    x->count--;
    if (x->narriving == SPAN_ARRIVING) settle_one(x);
    x->arriving[(x->arrived_at + x->narriving++) % SPAN_ARRIVING] = s;
}

/* s ends at `end` instead: the range above joins the gap of its successor. */
static void trim_high(struct span_index *x, struct span *s, uint64_t end)
{
    struct span *t = tree_after(s, node_find(rest(s)->leaf, s->start));
    uint32_t old = gap_class(x, rest(t)->gap, t->start);
    s->end = rest(t)->gap = end;
    gap_relink(x, t, old);
    tree_changed(t, t->start);
}

static void trim_low(struct span_index *x, struct span *s, uint64_t start)
{
    uint32_t old = gap_class(x, rest(s)->gap, s->start);
    uint64_t old_start = s->start;
    s->start = start;
    gap_relink(x, s, old);
    tree_changed(s, old_start);
}

/* Both halves remain: s shrinks to the low one, the high one is carved out of the gap this leaves. */
static struct span *split_off(struct span_index *x, struct span *s, uint64_t start, uint64_t end)
{
    uint64_t high_end = s->end;
    trim_high(x, s, start);
    struct span *t = tree_after(s, node_find(rest(s)->leaf, s->start));
    struct span *r = carve(x, t, end, high_end);
    r->owner = s->owner;
    r->kind = s->kind;
    x->count++;
    return r;
}

bool span_cut(struct span_index *x, struct span *s, uint64_t start, uint64_t end, struct span_halves *out)
{
    settle(x);
    bool low = start > s->start, high = end < s->end;
    *out = (struct span_halves){NULL, NULL};
    if (!range_valid(x, start, end) || start < s->start || end > s->end) return false;
    if (low && high && x->nfree_spans == 0) return false;
    if (!low && !high) {
        span_remove(x, s);
        return true;
    }
    x->bytes -= end - start;
    out->left = low ? s : NULL;
    if (low && high) out->right = split_off(x, s, start, end);
    else if (low) trim_high(x, s, start);
    else trim_low(x, s, end);
    if (!low) out->right = s;
    return true;
}

/* s, or the first live claim after it; NULL at the sentinel. */
static struct span *live_from(const struct span_index *x, struct span *s)
{
    while (s->slot != 0) s = tree_after(s, node_find(rest(s)->leaf, s->start));
    return s == x->end ? NULL : s;
}

struct span *span_find_first(struct span_index *x, uint64_t addr)
{
    settle(x);
    if (!x->root || addr >= x->hi) return NULL;
    struct span *t = tree_seek(x, addr);
    return live_from(x, rest(t)->gap > addr && rest(t)->gap > x->lo ? tree_before(t) : t);
}

struct span *span_find(struct span_index *x, uint64_t addr)
{
    struct span *s = span_find_first(x, addr);
    return s && s->start <= addr ? s : NULL;
}

struct span *span_next(struct span_index *x, const struct span *s)
{
    settle(x);
    return live_from(x, tree_after(s, node_find(rest(s)->leaf, s->start)));
}

struct span *span_prev(struct span_index *x, const struct span *s)
{
    settle(x);
    struct span *p = tree_before(s);
    while (p && p->slot != 0) p = tree_before(p);
    return p;
}

uint32_t span_count(const struct span_index *x) { return x->count; }

uint64_t span_bytes(struct span_index *x)
{
    settle(x);
    return x->bytes;
}

static const char *park_check(const struct span_index *x)
{
    uint32_t parked = 0;
    for (uint32_t i = 0; i < x->slot_cap; i++) {
        const struct span *s = x->slot[i].span;
        if (!s) continue;
        parked++;
        if (s->slot != i + 1 || x->slot[i].start != s->start) return "park: slot link";
        if (x->slot[i].key != park_key(x, s->start, s->end - s->start)) return "park: key";
    }
    uint32_t chained = 0;
    for (uint32_t b = 0; b < x->slot_cap; b++) {
        for (uint32_t at = x->bucket[b]; at && chained <= parked; at = x->slot[at - 1].next) chained++;
    }
    if (chained != parked) return "park: chains";
    return parked == x->parked ? NULL : "park: count";
}

const char *span_check(struct span_index *x)
{
    settle(x);
    if (!x->root) return x->count == 0 ? NULL : "span: claims without a tree";
    const char *bad = tree_check(x);
    if (!bad) bad = gap_check(x);
    if (!bad) bad = park_check(x);
    if (bad) return bad;
    uint32_t count = 0;
    uint64_t bytes = 0, at = x->lo;
    for (const struct span *s = span_find_first(x, x->lo); s; s = span_next(x, s)) {
        if (s->start < at || s->end <= s->start) return "span: order";
        at = s->end;
        count++;
        bytes += s->end - s->start;
    }
    if (at > x->hi) return "span: beyond the space";
    if (count != x->count || bytes != x->bytes) return "span: totals";
    return count + 1 + x->parked + x->nfree_spans == x->nspans ? NULL : "span: spans lost";
}
