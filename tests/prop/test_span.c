/* SPDX-License-Identifier: MIT */
/* test_span.c - the claim index against the dullest model: one word per page that names its owner.
 * If this failed, two clients could own one GPU address, or a request be refused although there is room.
 * Random runs print their seed; the exhaustive run needs none. */
#include "vt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"

#define PAGE ((uint64_t)SPAN_PAGE)
enum { PAGES_MAX = 16384, NAMES_MAX = 16384 };

struct world {
    struct span_index x;
    uint64_t base; /* address of page 0 */
    uint32_t pages;
    struct span *own[PAGES_MAX]; /* NULL = free */
    uint64_t seed;
    uint32_t held_chunks; /* allocations of the hook not yet given back */
    uint64_t held_bytes;
    uint32_t fail_in; /* the hook fails when this reaches 0; UINT32_MAX = never */
};

static uint64_t draw(struct world *w, uint64_t n)
{
    uint64_t z = (w->seed += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (z ^ (z >> 31)) % n;
}

static void *hook_alloc(void *ctx, size_t size, size_t align)
{
    struct world *w = ctx;
    if (w->fail_in != UINT32_MAX && w->fail_in-- == 0) {
        w->fail_in = 0;
        return NULL;
    }
    void *p = aligned_alloc(align, (size + align - 1) / align * align);
    assert_non_null(p);
    memset(p, 0xA5, size); /* nobody may rely on zeroes */
    w->held_chunks++;
    w->held_bytes += size;
    return p;
}

static void hook_free(void *ctx, void *p, size_t size)
{
    struct world *w = ctx;
    w->held_chunks--;
    w->held_bytes -= size;
    free(p);
}

static void world_start(struct world *w, uint64_t first_page, uint32_t pages, uint32_t pick_page,
                        uint64_t seed)
{
    memset(w, 0, sizeof *w);
    w->base = first_page * PAGE;
    w->pages = pages;
    w->seed = seed;
    w->fail_in = UINT32_MAX;
    struct base_memory m = {hook_alloc, hook_free, w};
    assert_true(span_init(&w->x, w->base, w->base + pages * PAGE, w->base + pick_page * PAGE, &m));
}

static void world_end(struct world *w)
{
    span_fini(&w->x);
    assert_int_equal(w->held_chunks, 0);
    assert_int_equal(w->held_bytes, 0);
}

static uint64_t va(const struct world *w, uint32_t page) { return w->base + page * PAGE; }

static uint32_t page_of(const struct world *w, uint64_t addr) { return (uint32_t)((addr - w->base) / PAGE); }

static bool model_free(const struct world *w, uint32_t a, uint32_t b)
{
    for (uint32_t i = a; i < b; i++) {
        if (w->own[i]) return false;
    }
    return true;
}

static void model_set(struct world *w, uint64_t start, uint64_t end, struct span *s)
{
    for (uint32_t i = page_of(w, start); i < page_of(w, end); i++) w->own[i] = s;
}

/* Brute force: does an aligned free range exist inside the window? */
static bool model_has_room(const struct world *w, const struct span_want *q)
{
    uint64_t run = 0; /* free pages that end at page i - 1 and lie in the window */
    for (uint32_t i = 0; i < w->pages; i++) {
        run = w->own[i] == NULL && va(w, i) >= q->min && va(w, i + 1) <= q->max ? run + 1 : 0;
        if (run * PAGE < q->size) continue;
        uint64_t at = (va(w, i + 1) - q->size) & ~(q->align - 1);
        if (at >= va(w, i + 1) - run * PAGE) return true;
    }
    return false;
}

static void expect_good_place(const struct world *w, const struct span_want *q, uint64_t start)
{
    assert_int_equal(start & (q->align - 1), 0);
    assert_true(start >= q->min && start + q->size <= q->max);
    assert_true(start >= w->base && start + q->size <= va(w, w->pages));
    assert_true(model_free(w, page_of(w, start), page_of(w, start + q->size)));
}

static void expect_sound(struct world *w)
{
    const char *bad = span_check(&w->x);
    if (bad) print_message("span_check: %s\n", bad);
    assert_null(bad);
}

/* Walks index and model side by side. */
static void expect_same(struct world *w)
{
    uint32_t count = 0, live = 0;
    struct span *prev = NULL;
    expect_sound(w);
    for (struct span *s = span_find_first(&w->x, w->base); s; s = span_next(&w->x, s)) {
        count++;
        live += page_of(w, s->end) - page_of(w, s->start);
        for (uint32_t i = page_of(w, s->start); i < page_of(w, s->end); i++) assert_ptr_equal(w->own[i], s);
        assert_ptr_equal(span_prev(&w->x, s), prev);
        prev = s;
    }
    for (uint32_t i = 0; i < w->pages; i++) live -= w->own[i] != NULL;
    assert_int_equal(live, 0);
    assert_int_equal(count, span_count(&w->x));
}

static void expect_lookup(struct world *w, uint32_t page)
{
    uint32_t i = page;
    uint64_t addr = va(w, page) + 123;
    assert_ptr_equal(span_find(&w->x, addr), w->own[page]);
    while (i < w->pages && !w->own[i]) i++;
    assert_ptr_equal(span_find_first(&w->x, addr), i < w->pages ? w->own[i] : NULL);
}

/* --- operations that do the same to both ------------------------------------------------------------- */

static struct span *do_insert(struct world *w, uint32_t a, uint32_t b)
{
    bool room = model_free(w, a, b);
    assert_int_equal(span_is_free(&w->x, va(w, a), va(w, b)), room);
    assert_true(span_reserve(&w->x, 1));
    struct span *s = span_insert(&w->x, va(w, a), va(w, b));
    assert_int_equal(s != NULL, room);
    if (!s) return NULL;
    assert_true(s->start == va(w, a) && s->end == va(w, b));
    assert_true(s->owner == NULL && s->kind == 0);
    s->owner = s;
    s->kind = a;
    model_set(w, s->start, s->end, s);
    return s;
}

static struct span *do_alloc(struct world *w, const struct span_want *q)
{
    uint64_t at = 0;
    bool room = model_has_room(w, q);
    if (draw(w, 4) == 0) {
        assert_int_equal(span_fit(&w->x, q, &at), room);
        if (room) expect_good_place(w, q, at);
    }
    assert_true(span_reserve(&w->x, 1));
    struct span *s = span_alloc(&w->x, q);
    assert_int_equal(s != NULL, room);
    if (!s) return NULL;
    assert_true(s->end - s->start == q->size && s->owner == NULL && s->kind == 0);
    expect_good_place(w, q, s->start);
    s->owner = s;
    model_set(w, s->start, s->end, s);
    return s;
}

static void do_remove(struct world *w, struct span *s)
{
    model_set(w, s->start, s->end, NULL);
    span_remove(&w->x, s);
}

static void do_cut(struct world *w, struct span *s, uint64_t start, uint64_t end)
{
    uint64_t a = s->start, b = s->end;
    void *owner = s->owner;
    uint32_t kind = s->kind;
    struct span_halves h;
    assert_true(span_reserve(&w->x, 1));
    assert_true(span_cut(&w->x, s, start, end, &h));
    assert_int_equal(h.left != NULL, a < start);
    assert_int_equal(h.right != NULL, end < b);
    assert_ptr_equal(h.left ? h.left : s, s);
    if (!h.left && h.right) assert_ptr_equal(h.right, s);
    model_set(w, a, b, NULL);
    if (h.left) assert_true(h.left->start == a && h.left->end == start);
    if (h.right) {
        assert_true(h.right->start == end && h.right->end == b);
        assert_true(h.right->owner == owner && h.right->kind == kind);
        model_set(w, end, b, h.right);
    }
    if (h.left) model_set(w, a, start, h.left);
}

/* --- random ------------------------------------------------------------------------------------------ */

struct mix {
    uint32_t size_max;   /* pages */
    uint32_t align_max;  /* log2 of pages */
    uint32_t fill_high;  /* percent of the pages at which allocation stops, for a while */
};

static void random_want(struct world *w, const struct mix *m, struct span_want *q)
{
    uint64_t lo = draw(w, w->pages), hi = draw(w, w->pages + 1);
    *q = (struct span_want){.size = (1 + draw(w, draw(w, 4) ? 8 : m->size_max)) * PAGE,
                            .align = PAGE << (draw(w, 2) ? 0 : draw(w, 2) ? 4 : draw(w, m->align_max + 1)),
                            .min = 0,
                            .max = UINT64_MAX,
                            .dir = draw(w, 2) ? SPAN_UP : SPAN_DOWN};
    if (draw(w, 3) != 0) return;
    q->min = w->base + lo * PAGE - draw(w, 2) * 77; /* bounds need not be aligned */
    q->max = w->base + hi * PAGE + draw(w, 2) * 77;
}

static void random_cut(struct world *w, struct span *s)
{
    uint64_t n = (s->end - s->start) / PAGE, a = draw(w, n), b = a + 1 + draw(w, n - a);
    do_cut(w, s, s->start + a * PAGE, s->start + b * PAGE);
}

static void random_step(struct world *w, const struct mix *m, bool filling)
{
    uint32_t page = (uint32_t)draw(w, w->pages), len = 1 + (uint32_t)draw(w, 24);
    struct span_want q;
    struct span *s = w->own[page];
    uint64_t c = draw(w, 100);
    if (c < (filling ? 60u : 25u)) {
        random_want(w, m, &q);
        do_alloc(w, &q);
    } else if (c < 75) {
        if (s) do_remove(w, s);
    } else if (c < 85) {
        if (s) random_cut(w, s);
    } else if (c < 92) {
        do_insert(w, page, page + len < w->pages ? page + len : w->pages);
    } else {
        expect_lookup(w, page);
    }
}

static void random_run(uint32_t first, uint32_t pages, uint32_t pick, struct mix m, uint64_t seed,
                       uint64_t ops)
{
    static struct world w;
    bool filling = true;
    print_message("seed %" PRIu64 " pages %u pick %u ops %" PRIu64 "\n", seed, pages, pick, ops);
    world_start(&w, first, pages, pick, seed);
    for (uint64_t i = 0; i < ops; i++) {
        random_step(&w, &m, filling);
        uint64_t used = span_bytes(&w.x) / PAGE;
        if (used * 100 > (uint64_t)pages * m.fill_high) filling = false;
        else if (used * 100 < (uint64_t)pages * 20) filling = true;
        if (draw(&w, 64) == 0) expect_sound(&w);
        if (draw(&w, 256) == 0) expect_same(&w);
    }
    expect_same(&w);
    while (span_count(&w.x)) do_remove(&w, span_find_first(&w.x, w.base + draw(&w, 2) * 0));
    expect_same(&w);
    assert_true(span_is_free(&w.x, w.base, va(&w, pages)));
    expect_same(&w);
    world_end(&w);
}

/* Small spaces meet every border; big ones have trees of several levels and a park of many slots. */
static void random_ops_match_the_model(void **state)
{
    (void)state;
    uint64_t seed = vt_seed();
    for (uint32_t i = 0; i < 24; i++) {
        struct mix small = {40, 6, 60 + i % 4 * 10};
        random_run(3 + i * 7, 40 + i * 13, i % 3 ? 0 : 20 + i, small, seed + i, vt_rounds(4000));
    }
    random_run(5, 2048, 0, (struct mix){60, 8, 95}, seed + 100, vt_rounds(20000));
    random_run(16, 2048, 1024, (struct mix){60, 8, 80}, seed + 101, vt_rounds(20000));
    random_run(1u << 20, 16384, 0, (struct mix){16, 6, 97}, seed + 102, vt_rounds(12000));
    random_run(16, 16384, 4096, (struct mix){9, 5, 99}, seed + 103, vt_rounds(12000));
}

/* --- exhaustive -------------------------------------------------------------------------------------- */

enum { TINY = 8, SHAPES = TINY * (TINY + 1) / 2, MOVES = 2 * SHAPES, DEPTH = 4 };

static void shape(uint32_t i, uint32_t *a, uint32_t *b)
{
    uint32_t start = 0;
    while (i >= TINY - start) i -= TINY - start++;
    *a = start;
    *b = start + 1 + i;
}

/* Move m: insert shape m, or cut shape m - SHAPES out of the claim that contains it. False: not possible. */
static bool tiny_move(struct world *w, uint32_t m)
{
    uint32_t a, b;
    shape(m % SHAPES, &a, &b);
    if (m < SHAPES) return do_insert(w, a, b) != NULL;
    struct span *s = w->own[a];
    struct span_halves h;
    if (!s) return false;
    if (s->end < va(w, b)) {
        assert_false(span_cut(&w->x, s, va(w, a), va(w, b), &h));
        return false;
    }
    do_cut(w, s, va(w, a), va(w, b));
    return true;
}

static void tiny_queries(struct world *w, bool windows)
{
    uint32_t a, b;
    uint64_t at;
    for (uint32_t i = 0; i < TINY; i++) expect_lookup(w, i);
    for (uint32_t i = windows ? 0 : TINY - 1; i < (windows ? SHAPES : TINY); i++) { /* shape 7 = all of it */
        shape(i, &a, &b);
        assert_int_equal(span_is_free(&w->x, va(w, a), va(w, b)), model_free(w, a, b));
        for (uint32_t n = 0; n < TINY * 2 * 4; n++) {
            struct span_want q = {.size = (n % TINY + 1) * PAGE, .align = PAGE << (n / TINY % 4 * 4 / 3),
                                  .min = va(w, a), .max = va(w, b),
                                  .dir = n / TINY / 4 ? SPAN_DOWN : SPAN_UP};
            bool room = model_has_room(w, &q);
            assert_int_equal(span_fit(&w->x, &q, &at), room);
            if (room) expect_good_place(w, &q, at);
        }
    }
}

/* Replays a sequence of moves in a fresh world; false if its last move is not possible. */
static bool tiny_replay(struct world *w, const uint32_t *move, uint32_t n)
{
    bool ok = true;
    memset(w->own, 0, TINY * sizeof w->own[0]);
    struct base_memory m = {hook_alloc, hook_free, w};
    assert_true(span_init(&w->x, va(w, 0), va(w, TINY), va(w, move[0] % 2 * 3), &m));
    for (uint32_t i = 0; i < n; i++) ok = tiny_move(w, move[i]);
    if (ok) tiny_queries(w, n < DEPTH - 1);
    if (ok) expect_same(w);
    span_fini(&w->x);
    return ok;
}

/* Every sequence of up to four inserts and cuts on eight pages; 64 KiB boundary in the middle. */
static void every_short_sequence_on_eight_pages(void **state)
{
    static struct world w;
    uint32_t move[DEPTH] = {0}, depth = 1;
    uint64_t runs = 0;
    (void)state;
    world_start(&w, 12, TINY, 0, 1);
    uint32_t deepest = vt_rounds(100) >= 100 ? DEPTH : DEPTH - 1;
    while (depth != 0) {
        bool ok = tiny_replay(&w, move, depth);
        runs++;
        if (ok && depth < deepest) {
            move[depth++] = 0;
            continue;
        }
        while (depth != 0 && ++move[depth - 1] == MOVES) depth--;
    }
    print_message("%" PRIu64 " sequences\n", runs);
    assert_int_equal(w.held_chunks, 0);
}

/* --- single properties ------------------------------------------------------------------------------- */

static void cut_shapes_keep_owner_and_handle(void **state)
{
    static struct world w;
    struct span_halves h;
    int mark;
    (void)state;
    world_start(&w, 256, 64, 0, 1);
    struct span *s = do_insert(&w, 10, 30);
    s->owner = &mark;
    s->kind = 7;
    assert_false(span_cut(&w.x, s, va(&w, 9), va(&w, 12), &h));
    assert_false(span_cut(&w.x, s, va(&w, 12), va(&w, 31), &h));
    assert_false(span_cut(&w.x, s, va(&w, 12), va(&w, 12), &h));
    assert_false(span_cut(&w.x, s, va(&w, 12) + 1, va(&w, 13), &h));
    do_cut(&w, s, va(&w, 15), va(&w, 20));
    expect_same(&w);
    do_cut(&w, s, va(&w, 10), va(&w, 12));
    do_cut(&w, s, va(&w, 14), va(&w, 15));
    expect_same(&w);
    struct span *r = span_find(&w.x, va(&w, 25));
    assert_true(r != s && r->owner == &mark && r->kind == 7);
    do_cut(&w, r, r->start, r->end);
    do_cut(&w, s, s->start, s->end);
    assert_int_equal(span_count(&w.x), 0);
    expect_same(&w);
    world_end(&w);
}

/* The k-th allocation of reserve fails: nothing changes, and what was promised before still works. */
static void reserve_fails_cleanly(void **state)
{
    static struct world w;
    (void)state;
    for (uint32_t k = 0; k < 30; k++) {
        world_start(&w, 16, 8192, 0, 1);
        for (uint32_t i = 0; i < 100; i++) do_insert(&w, i * 40, i * 40 + 3);
        assert_true(span_reserve(&w.x, 5));
        w.fail_in = k;
        bool ok = span_reserve(&w.x, 2000);
        expect_same(&w);
        w.fail_in = 0;
        for (uint32_t i = 0; i < (ok ? 2000u : 5u); i++) {
            struct span *s = span_insert(&w.x, va(&w, 4096 + i * 2), va(&w, 4097 + i * 2));
            assert_non_null(s);
            model_set(&w, s->start, s->end, s);
        }
        for (uint32_t i = 0; i < 4000 && !ok; i++) { /* more than promised may work or not, but never harms */
            struct span *s = span_insert(&w.x, va(&w, 4106 + i), va(&w, 4107 + i));
            if (s) model_set(&w, s->start, s->end, s);
        }
        expect_same(&w);
        w.fail_in = UINT32_MAX;
        world_end(&w);
    }
}

/* One reservation is enough for any number of claims of which no more than that live at a time. */
static void removal_gives_the_reservation_back(void **state)
{
    static struct world w;
    static struct span *live[3000];
    (void)state;
    world_start(&w, 16, 16384, 0, vt_seed());
    assert_true(span_reserve(&w.x, 3000));
    w.fail_in = 0;
    for (uint32_t i = 0; i < vt_rounds(30000); i++) {
        uint32_t k = i < 3000 ? i : (uint32_t)draw(&w, 3000);
        struct span_want q = {(1 + draw(&w, 4)) * PAGE, PAGE, 0, UINT64_MAX, SPAN_UP};
        if (i >= 3000) do_remove(&w, live[k]);
        live[k] = span_alloc(&w.x, &q);
        assert_non_null(live[k]);
        expect_good_place(&w, &q, live[k]->start);
        model_set(&w, live[k]->start, live[k]->end, live[k]);
    }
    expect_same(&w);
    w.fail_in = UINT32_MAX;
    world_end(&w);
}

/* Without a reservation creations fail, removals and trims do not. */
static void nothing_but_reserve_allocates(void **state)
{
    static struct world w;
    struct span_halves h;
    struct span_want q = {PAGE, PAGE, 0, UINT64_MAX, SPAN_UP};
    (void)state;
    world_start(&w, 16, 8192, 0, 1);
    assert_null(span_alloc(&w.x, &q));
    assert_null(span_insert(&w.x, va(&w, 0), va(&w, 1)));
    uint64_t at;
    assert_true(span_fit(&w.x, &q, &at) && at == va(&w, 0));
    assert_true(span_is_free(&w.x, va(&w, 0), va(&w, 8192)));
    assert_null(span_find_first(&w.x, 0));
    struct span *s = do_insert(&w, 0, 4096);
    w.fail_in = 0;
    while (span_alloc(&w.x, &q)) continue;
    assert_false(span_cut(&w.x, s, va(&w, 1), va(&w, 2), &h));
    assert_true(s->start == va(&w, 0) && s->end == va(&w, 4096));
    assert_true(span_cut(&w.x, s, va(&w, 1), va(&w, 4096), &h));
    expect_sound(&w);
    for (s = span_find_first(&w.x, 0); s; s = span_find_first(&w.x, 0)) span_remove(&w.x, s);
    expect_sound(&w);
    w.fail_in = UINT32_MAX;
    world_end(&w);
}

static void bad_arguments_are_refused(void **state)
{
    static struct world w;
    struct span_index x;
    struct base_memory m = {hook_alloc, hook_free, &w}, none = {NULL, NULL, NULL};
    (void)state;
    assert_false(span_init(&x, PAGE, PAGE, PAGE, &m));
    assert_false(span_init(&x, 1, 2 * PAGE, PAGE, &m));
    assert_false(span_init(&x, PAGE, 3 * PAGE, 3 * PAGE, &m));
    assert_false(span_init(&x, PAGE, UINT64_MAX & ~(PAGE - 1), PAGE, &m));
    assert_false(span_init(&x, PAGE, 3 * PAGE, PAGE, &none));
    world_start(&w, 16, 64, 0, 1);
    assert_true(span_reserve(&w.x, 4));
    struct span_want bad[] = {{0, PAGE, 0, UINT64_MAX, SPAN_UP},
                              {PAGE + 1, PAGE, 0, UINT64_MAX, SPAN_UP},
                              {PAGE, 3 * PAGE, 0, UINT64_MAX, SPAN_UP},
                              {PAGE, 1, 0, UINT64_MAX, SPAN_UP},
                              {PAGE, PAGE, va(&w, 9), va(&w, 9), SPAN_UP},
                              {65 * PAGE, PAGE, 0, UINT64_MAX, SPAN_UP},
                              {PAGE, PAGE, va(&w, 64), UINT64_MAX, SPAN_UP}};
    for (size_t i = 0; i < VT_COUNT(bad); i++) assert_null(span_alloc(&w.x, &bad[i]));
    assert_null(span_insert(&w.x, va(&w, 0) - PAGE, va(&w, 1)));
    assert_null(span_insert(&w.x, va(&w, 63), va(&w, 65)));
    assert_null(span_insert(&w.x, va(&w, 3), va(&w, 3)));
    assert_null(span_insert(&w.x, va(&w, 3) + 1, va(&w, 4)));
    assert_int_equal(span_count(&w.x), 0);
    world_end(&w);
}

/* A reservation of half the space costs one span, and what is left is found at once. */
static void huge_spans(void **state)
{
    static struct world w;
    struct span_index x;
    struct base_memory m = {hook_alloc, hook_free, &w};
    struct span_want q = {(uint64_t)1 << 47, PAGE, 0, UINT64_MAX, SPAN_DOWN};
    (void)state;
    memset(&w, 0, sizeof w);
    w.fail_in = UINT32_MAX;
    assert_true(span_init(&x, PAGE, (uint64_t)1 << 57, PAGE, &m));
    assert_true(span_reserve(&x, 10));
    struct span *a = span_alloc(&x, &q), *b = span_insert(&x, (uint64_t)1 << 52, (uint64_t)1 << 56);
    assert_true(a && b && a->end == (uint64_t)1 << 57);
    assert_ptr_equal(span_find(&x, ((uint64_t)1 << 55) + 12345), b);
    q.size = ((uint64_t)1 << 52) - PAGE;
    struct span *c = span_alloc(&x, &q);
    assert_true(c && c->end == a->start && c->start >= b->end);
    q = (struct span_want){((uint64_t)1 << 56), PAGE, 0, UINT64_MAX, SPAN_UP};
    assert_null(span_alloc(&x, &q));
    assert_null(span_check(&x));
    span_fini(&x);
    assert_int_equal(w.held_chunks, 0);
}

/* Window bounds are meant as given: a range may touch min and max but not cross them, in both directions. */
static void windows_are_exact(void **state)
{
    static struct world w;
    (void)state;
    world_start(&w, 16, 4096, 2048, 1);
    for (uint32_t i = 0; i < 4096; i += 4) do_insert(&w, i, i + 2);
    for (uint32_t i = 0; i < 4096 - 8; i += 3) {
        for (uint32_t n = 0; n < 16; n++) {
            struct span_want q = {(1 + n % 3) * PAGE, PAGE << (n % 2), va(&w, i), va(&w, i + 1 + n / 2),
                                  n & 4 ? SPAN_DOWN : SPAN_UP};
            uint64_t at;
            bool room = model_has_room(&w, &q);
            assert_int_equal(span_fit(&w.x, &q, &at), room);
            if (room) expect_good_place(&w, &q, at);
        }
    }
    world_end(&w);
}

static const struct vt_case cases[] = {
    VT_TEST(random_ops_match_the_model, "INV-01", NULL),
    VT_TEST(every_short_sequence_on_eight_pages, "INV-01", NULL),
    VT_TEST(cut_shapes_keep_owner_and_handle, "", NULL),
    VT_TEST(reserve_fails_cleanly, "", NULL),
    VT_TEST(removal_gives_the_reservation_back, "", NULL),
    VT_TEST(nothing_but_reserve_allocates, "", NULL),
    VT_TEST(bad_arguments_are_refused, "", NULL),
    VT_TEST(huge_spans, "", NULL),
    VT_TEST(windows_are_exact, "", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "span", cases, VT_COUNT(cases)); }
