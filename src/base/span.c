/* SPDX-License-Identifier: MIT */
/* span.c - the claims of an address space: memory, placement, claim and release (see span.h).
 * Owns: the memory of spans and nodes.  Calls: span_tree, span_park, the memory hook.
 * Memory is taken in span_reserve only; what is freed goes to the index's own free lists. */
#include "base/span.h"

#include "base/bytes.h"

#include "base/check.h"
#include "base/span_park.h"
#include "base/span_tree.h"

enum { CACHE_LINE = 64, TABLE_MIN = 16 };

_Static_assert(sizeof(struct span) == 32, "two spans share a cache line");
_Static_assert(sizeof(struct span_node) % CACHE_LINE == 0, "nodes stay on cache lines");

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
    x->free_span = SPAN_NONE;
    return true;
}

/* --- memory ------------------------------------------------------------------------------------------ */

static size_t slots_bytes(uint32_t cap) { return cap * (sizeof(struct span_slot) + sizeof(uint16_t)); }

void span_fini(struct span_index *x)
{
    const struct base_memory *m = &x->memory;
    for (uint32_t i = 0; i < x->span_chunks; i++) {
        memory_free(m, x->span_chunk[i], CHUNK_SPANS * sizeof(struct span));
    }
    for (uint32_t i = 0; i < x->node_chunks; i++) {
        memory_free(m, x->node_chunk[i], CHUNK_NODES * sizeof(struct span_node));
    }
    memory_free(m, x->span_chunk, x->span_chunk_cap * sizeof(void *));
    memory_free(m, x->node_chunk, x->node_chunk_cap * sizeof(void *));
    memory_free(m, x->slot, slots_bytes(x->slot_cap));
    memset(x, 0, sizeof *x);
}

static void give_span(struct span_index *x, uint32_t id)
{
    span_at(x, id)->kind = x->free_span;
    x->free_span = id;
    x->nfree_spans++;
}

static struct span *take_span(struct span_index *x, uint32_t *id)
{
    CHECK(x->nfree_spans != 0);
    struct span *s = span_at(x, *id = x->free_span);
    x->free_span = s->kind;
    x->nfree_spans--;
    s->owner = NULL;
    s->kind = 0;
    s->parked = 0;
    return s;
}

/* The table of chunks holds one more, or becomes twice as long. */
static bool table_room(struct span_index *x, void *table, uint32_t *cap, uint32_t used)
{
    void **old, **wide;
    if (used < *cap) return true;
    uint32_t n = *cap ? 2 * *cap : TABLE_MIN;
    wide = memory_alloc(&x->memory, n * sizeof *wide, CACHE_LINE);
    if (!wide) return false;
    memcpy(&old, table, sizeof old);
    if (used) memcpy(wide, old, used * sizeof *wide);
    memory_free(&x->memory, old, *cap * sizeof *wide);
    memcpy(table, &wide, sizeof wide);
    *cap = n;
    return true;
}

static bool more_spans(struct span_index *x)
{
    if (!table_room(x, &x->span_chunk, &x->span_chunk_cap, x->span_chunks)) return false;
    struct span *c = memory_alloc(&x->memory, CHUNK_SPANS * sizeof *c, CACHE_LINE);
    if (!c) return false;
    x->span_chunk[x->span_chunks++] = c;
    for (uint32_t i = CHUNK_SPANS; i-- != 0;) give_span(x, (x->span_chunks - 1) * CHUNK_SPANS + i);
    return true;
}

static bool more_nodes(struct span_index *x)
{
    uint32_t first = x->node_chunks * CHUNK_NODES;
    if (first + CHUNK_NODES > NODES_MAX) return false;
    if (!table_room(x, &x->node_chunk, &x->node_chunk_cap, x->node_chunks)) return false;
    struct span_node *c = memory_alloc(&x->memory, CHUNK_NODES * sizeof *c, CACHE_LINE);
    if (!c) return false;
    x->node_chunk[x->node_chunks++] = c;
    for (uint32_t i = CHUNK_NODES; i-- != 0;) {
        c[i].id = first + i;
        c[i].parent = x->free_nodes;
        x->free_nodes = &c[i];
    }
    x->nfree_nodes += CHUNK_NODES;
    return true;
}

/* The empty tree: the sentinel, which owns the one gap. It is the first span ever taken, so its id is 0. */
static bool start(struct span_index *x)
{
    uint32_t id;
    if (x->span_chunks == 0 && !more_spans(x)) return false;
    if (x->node_chunks == 0 && !more_nodes(x)) return false;
    struct span *end = take_span(x, &id);
    CHECK(id == 0);
    end->start = end->end = x->hi;
    tree_start(x);
    return true;
}

/* --- release ----------------------------------------------------------------------------------------- */

/* Ends the wait of a parked or just removed span: its range joins the gap of its successor. */
static void merge_span(struct span_index *x, struct span *s)
{
    struct span_spot p = spot_of(x, s);
    uint32_t id = p.leaf->span[p.at];
    tree_leave(x, p);
    give_span(x, id);
}

/* Merges n parked spans, at most PARK_BATCH. All leaves are fetched before the first is needed, so that n
 * merges wait little longer than one. */
static void merge_slots(struct span_index *x, const uint32_t *slot, uint32_t n)
{
    struct span *batch[PARK_BATCH];
    for (uint32_t i = 0; i < n; i++) {
        batch[i] = park_take(x, slot[i]);
        node_fetch(node_at(x, batch[i]->leaf));
    }
    for (uint32_t i = 0; i < n; i++) merge_span(x, batch[i]);
}

/* Merges a batch of parked spans, the next in the order of slots, and fetches the spans of the batch after
 * it. The order is not that of age, but a slot is emptied by the next claim of its size: what the hand finds
 * full has mostly been there for a while. */
static void merge_batch(struct span_index *x)
{
    uint32_t slot[PARK_BATCH] = {0}, n = 0, hand = x->slot_hand;
    for (uint32_t seen = 0; n < PARK_BATCH && seen < x->slot_top; seen++) {
        if (hand >= x->slot_top) hand = 0;
        if (x->slot[hand++].span) slot[n++] = hand;
    }
    merge_slots(x, slot, n);
    x->slot_hand = hand;
    x->park_credit -= min_u32(x->park_credit, n);
    for (uint32_t i = hand; i < hand + PARK_BATCH && i < x->slot_top; i++) {
        if (x->slot[i].span) __builtin_prefetch(x->slot[i].span, 1);
    }
}

/* Merges all parked spans that reach into [min,max). */
static void merge_parked_near(struct span_index *x, uint64_t min, uint64_t max)
{
    uint32_t slot[PARK_BATCH] = {0}, n = 0, left = x->parked;
    for (uint32_t i = 0; left != 0 || n != 0; i++) {
        const struct span_slot *s = &x->slot[i];
        left -= s->span != NULL;
        if (s->span && s->start < max && s->start + park_key_size(s->key) > min) slot[n++] = i + 1;
        if (n != PARK_BATCH && left != 0) continue;
        merge_slots(x, slot, n);
        n = 0;
    }
    if (x->parked == 0) x->slot_top = x->slot_unused = x->slot_hand = 0;
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
    park_put(x, s);
    if (x->parked == x->slot_cap || park_is_over(x)) merge_batch(x);
}

static void settle(struct span_index *x)
{
    while (x->narriving != 0) settle_one(x);
}

/* The first entry whose span ends above addr. Needs: addr in the space. */
static struct span_spot spot_from(const struct span_index *x, uint64_t addr)
{
    struct span_spot p = tree_seek(x, addr), before = spot_before(p);
    return before.leaf && before.leaf->end[before.at] > addr ? before : p;
}

/* Merges the parked spans that overlap [start,end). */
static void merge_parked_in(struct span_index *x, uint64_t start, uint64_t end)
{
    for (uint64_t at = start; at < end;) {
        struct span *s = spot_span(x, spot_from(x, at));
        if (s->start >= end) return;
        at = s->end;
        if (s->parked) merge_span(x, park_take(x, s->kind));
    }
}

/* A bigger park. Not having it costs speed only, but the caller asked for memory and shall hear of it. */
static bool more_slots(struct span_index *x)
{
    uint32_t cap = x->slot_cap ? 4 * x->slot_cap : SPAN_SLOTS_MIN;
    void *mem = memory_alloc(&x->memory, slots_bytes(cap), CACHE_LINE);
    if (!mem) return false;
    if (x->slot) {
        merge_parked_near(x, 0, UINT64_MAX);
        memory_free(&x->memory, x->slot, slots_bytes(x->slot_cap));
    }
    memset(mem, 0, slots_bytes(cap));
    x->slot = mem;
    x->bucket = (uint16_t *)(void *)(x->slot + cap);
    x->slot_cap = cap;
    x->slot_top = x->slot_unused = x->slot_hand = 0;
    return true;
}

bool span_reserve(struct span_index *x, uint32_t n)
{
    if (!x->root && !start(x)) return false;
    if (x->nfree_spans >= n && x->spans_ready == x->span_chunks) return true;
    while (x->nfree_spans < n) {
        if (!more_spans(x)) return false;
    }
    /* Every span there is may come to be in the tree: then later reserves need only count free spans. */
    uint64_t spans = (uint64_t)x->span_chunks * CHUNK_SPANS;
    while ((uint64_t)x->node_chunks * CHUNK_NODES < tree_nodes_max(spans)) {
        if (!more_nodes(x)) return false;
    }
    while (x->slot_cap < SPAN_SLOTS_MAX && PARK_FEW + spans / PARK_SHARE > x->slot_cap) {
        if (!more_slots(x)) return false;
    }
    x->spans_ready = x->span_chunks;
    return true;
}

/* --- claim ------------------------------------------------------------------------------------------- */

/* A creation is possible. Spans in the park are spare ones too; those that a failed reserve left without
 * nodes are not. */
static bool span_to_spare(struct span_index *x)
{
    uint32_t unready = (x->span_chunks - x->spans_ready) * CHUNK_SPANS;
    if (x->nfree_spans > unready) return true;
    settle(x);
    if (x->nfree_spans <= unready && x->parked != 0) merge_batch(x);
    return x->nfree_spans > unready;
}

/* Claims [start,end) from the gap of p, in which it lies. */
static struct span *carve(struct span_index *x, struct span_spot p, uint64_t start, uint64_t end)
{
    uint32_t id;
    struct span *s = take_span(x, &id);
    s->start = start;
    s->end = end;
    tree_enter(x, p, s, id);
    x->count++;
    x->bytes += end - start;
    return s;
}

/* The window of a request inside the space. false: the request is none. Scalars, here and in park_find: gcc
 * copies a struct that was just stored in halves by 16-byte loads, which have to wait for the stores. */
static inline bool want_window(const struct span_index *x, const struct span_want *in, uint64_t *min,
                               uint64_t *max)
{
    *min = max_u64(in->min, x->lo);
    *max = min_u64(in->max, x->hi);
    if (in->size == 0 || (in->size & (SPAN_PAGE - 1)) || in->align < SPAN_PAGE) return false;
    if ((in->align & (in->align - 1)) != 0 || *min >= *max) return false;
    return in->size <= *max - *min;
}

/* The entry whose gap shall be carved at *start; leaf == NULL: nothing fits. */
static struct span_spot place_in_gaps(const struct span_index *x, const struct span_want *w, uint64_t *start)
{
    if (w->min < x->pick_lo && w->max > x->pick_lo) {
        struct span_want high = *w;
        high.min = x->pick_lo;
        struct span_spot p = tree_search(x, &high, start);
        if (p.leaf) return p;
    }
    return tree_search(x, w, start);
}

/* As place_in_gaps; if the parked ranges are in the way they are merged, so that a refusal is the truth. */
static __attribute__((noinline)) struct span_spot place(struct span_index *x, const struct span_want *in,
                                                        uint64_t min, uint64_t max, uint64_t *start)
{
    struct span_want w = {in->size, in->align, min, max, in->dir};
    struct span_spot p = place_in_gaps(x, &w, start);
    if (p.leaf || x->parked + x->narriving == 0) return p;
    settle(x);
    merge_parked_near(x, min, max);
    return place_in_gaps(x, &w, start);
}

struct span *span_alloc(struct span_index *x, const struct span_want *want)
{
    uint64_t start, min, max, size = want->size;
    if (!want_window(x, want, &min, &max) || !span_to_spare(x)) return NULL;
    uint32_t slot = park_find(x, size, want->align, min, max);
    if (slot == 0 && x->narriving != 0) {
        settle(x);
        slot = park_find(x, size, want->align, min, max);
    }
    if (slot == 0) {
        struct span_spot p = place(x, want, min, max, &start);
        return p.leaf ? carve(x, p, start, start + size) : NULL;
    }
    struct span *s = park_take(x, slot);
    park_earn(x);
    s->owner = NULL;
    s->kind = 0;
    x->count++;
    x->bytes += size;
    return s;
}

bool span_fit(struct span_index *x, const struct span_want *want, uint64_t *start)
{
    uint64_t min, max;
    if (!want_window(x, want, &min, &max)) return false;
    if (!x->root) return want_fits(want, min, max, start);
    uint32_t slot = park_find(x, want->size, want->align, min, max);
    if (slot) *start = x->slot[slot - 1].start;
    return slot || place(x, want, min, max, start).leaf;
}

static bool range_valid(const struct span_index *x, uint64_t start, uint64_t end)
{
    return start < end && ((start | end) & (SPAN_PAGE - 1)) == 0 && start >= x->lo && end <= x->hi;
}

/* The entry whose gap contains all of [start,end); leaf == NULL: not free. */
static struct span_spot gap_around(struct span_index *x, uint64_t start, uint64_t end)
{
    struct span_spot p = tree_seek(x, start);
    if (gap_start(p.leaf, p.at) <= start && end <= p.leaf->key[p.at]) return p;
    settle(x); /* only now: handles that are still on their way would have to be waited for */
    merge_parked_in(x, start, end);
    p = tree_seek(x, start);
    if (gap_start(p.leaf, p.at) <= start && end <= p.leaf->key[p.at]) return p;
    return (struct span_spot){NULL, 0};
}

bool span_is_free(struct span_index *x, uint64_t start, uint64_t end)
{
    return range_valid(x, start, end) && (!x->root || gap_around(x, start, end).leaf);
}

struct span *span_insert(struct span_index *x, uint64_t start, uint64_t end)
{
    if (!range_valid(x, start, end) || !span_to_spare(x)) return NULL;
    struct span_spot p = gap_around(x, start, end);
    return p.leaf ? carve(x, p, start, end) : NULL;
}

void span_remove(struct span_index *x, struct span *s)
{
    __builtin_prefetch(s, 1);
    x->count--;
    if (x->narriving == SPAN_ARRIVING) settle_one(x);
    x->arriving[(x->arrived_at + x->narriving++) % SPAN_ARRIVING] = s;
}

/* Both halves remain: s shrinks to the low one, the high one is carved out of the gap this leaves. */
static struct span *split_off(struct span_index *x, struct span *s, uint64_t start, uint64_t end)
{
    uint64_t high_end = s->end;
    struct span_spot p = spot_of(x, s);
    s->end = start;
    x->bytes -= high_end - start;
    tree_trimmed(p, s);
    struct span *r = carve(x, spot_after(p), end, high_end);
    r->owner = s->owner;
    r->kind = s->kind;
    return r;
}

bool span_cut(struct span_index *x, struct span *s, uint64_t start, uint64_t end, struct span_halves *out)
{
    settle(x);
    bool low = start > s->start, high = end < s->end;
    *out = (struct span_halves){NULL, NULL};
    if (!range_valid(x, start, end) || start < s->start || end > s->end) return false;
    if (low && high && !span_to_spare(x)) return false;
    if (!low && !high) {
        span_remove(x, s);
        return true;
    }
    out->left = low ? s : NULL;
    out->right = low ? NULL : s;
    if (low && high) {
        out->right = split_off(x, s, start, end);
        return true;
    }
    struct span_spot p = spot_of(x, s);
    if (low) s->end = start;
    else s->start = end;
    x->bytes -= end - start;
    tree_trimmed(p, s);
    return true;
}

/* --- questions --------------------------------------------------------------------------------------- */

/* The span at p, or the first live claim after it; NULL at the sentinel. */
static struct span *live_from(const struct span_index *x, struct span_spot p)
{
    while (spot_span(x, p)->parked) p = spot_after(p);
    return p.leaf->span[p.at] != 0 ? spot_span(x, p) : NULL;
}

struct span *span_find_first(struct span_index *x, uint64_t addr)
{
    if (!x->root || addr >= x->hi) return NULL;
    settle(x);
    return live_from(x, spot_from(x, addr));
}

struct span *span_find(struct span_index *x, uint64_t addr)
{
    struct span *s = span_find_first(x, addr);
    return s && s->start <= addr ? s : NULL;
}

struct span *span_next(struct span_index *x, const struct span *s)
{
    settle(x);
    return live_from(x, spot_after(spot_of(x, s)));
}

struct span *span_prev(struct span_index *x, const struct span *s)
{
    settle(x);
    struct span_spot p = spot_before(spot_of(x, s));
    while (p.leaf && (spot_span(x, p)->parked)) p = spot_before(p);
    return p.leaf ? spot_span(x, p) : NULL;
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
        if (!s->parked || s->kind != i + 1 || x->slot[i].start != s->start) return "park: slot link";
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
    return count + 1 + x->parked + x->nfree_spans == x->span_chunks * CHUNK_SPANS ? NULL : "span: spans lost";
}
