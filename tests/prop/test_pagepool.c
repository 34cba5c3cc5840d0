/* SPDX-License-Identifier: MIT */
/* test_pagepool.c - if this fails, one physical page has two owners, or memory is refused while it is there.
 * Compares base/pagepool with the dullest model, one bool per page, on random and on all short histories. */
#define _DEFAULT_SOURCE
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/pagepool.h"
#include "vt.h"

enum { PAGES_MAX = 5000, LIVE_MAX = 5000, EXTENTS_MAX = 5000 };

struct model { bool used[PAGES_MAX]; uint32_t pages, used_count; };

struct world {
    struct pagepool pool;
    struct model model;
    struct extent live[LIVE_MAX];
    uint32_t live_count, reserved;
    uint64_t seed;
};

static void *hook_alloc(void *ctx, size_t bytes, size_t align)
{
    int64_t *left = ctx;
    if (left != NULL && (*left)-- <= 0) return NULL;
    return aligned_alloc(align, (bytes + align - 1) / align * align);
}

static void hook_free(void *ctx, void *p, size_t bytes)
{
    (void)ctx;
    memset(p, 0xEE, bytes);
    free(p);
}

static const struct base_memory plain_memory = { hook_alloc, hook_free, NULL };

static uint32_t below(struct world *w, uint32_t n)
{
    w->seed += 0x9E3779B97F4A7C15ull;
    return (uint32_t)((hash_mix(w->seed) >> 32) * n >> 32);
}

static struct world *world_new(uint32_t pages, uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->seed = seed;
    w->model.pages = pages;
    assert_true(pagepool_init(&w->pool, pages, &plain_memory));
    return w;
}

static void world_drop(struct world *w)
{
    pagepool_destroy(&w->pool);
    free(w);
}

static bool model_is_free(const struct model *m, uint64_t page, uint32_t count)
{
    if (page + count > m->pages) return false;
    for (uint32_t i = 0; i < count; i++)
        if (m->used[page + i]) return false;
    return true;
}

static void model_mark(struct model *m, uint32_t page, uint32_t count, bool used)
{
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(m->used[page + i], !used);
        m->used[page + i] = used;
    }
    m->used_count = used ? m->used_count + count : m->used_count - count;
}

static bool model_has_run(const struct model *m, uint32_t count, uint32_t align)
{
    for (uint64_t at = 0; at + count <= m->pages; at += align)
        if (model_is_free(m, at, count)) return true;
    return false;
}

/* Pages in free aligned units: what extents of that alignment can use. */
static uint32_t model_unit_pages(const struct model *m, uint32_t align)
{
    uint32_t n = 0;
    for (uint64_t at = 0; at + align <= m->pages; at += align)
        if (model_is_free(m, at, align)) n += align;
    return n;
}

static uint32_t model_largest(const struct model *m)
{
    uint32_t best = 0, len = 0;
    for (uint32_t i = 0; i < m->pages; i++) {
        len = m->used[i] ? 0 : len + 1;
        if (len > best) best = len;
    }
    return best;
}

static void live_add(struct world *w, uint32_t page, uint32_t count)
{
    assert_true(w->live_count < LIVE_MAX);
    model_mark(&w->model, page, count, true);
    w->live[w->live_count++] = (struct extent){ page, count };
}

static void do_run(struct world *w, uint32_t count, uint32_t align, bool from_end)
{
    uint32_t page = pagepool_alloc_run(&w->pool, count, align, from_end);
    if (page == PAGEPOOL_NONE) {
        assert_false(model_has_run(&w->model, count, align));
        return;
    }
    assert_int_equal(page % align, 0);
    assert_true(model_is_free(&w->model, page, count));
    live_add(w, page, count);
}

static void do_extents(struct world *w, uint32_t count, uint32_t align, uint32_t max)
{
    static struct extent out[EXTENTS_MAX];
    uint64_t before = pagepool_hash(&w->pool, 0);
    uint32_t n = pagepool_alloc_extents(&w->pool, count, out, max, align), sum = 0;
    if (n == 0) {
        assert_true(before == pagepool_hash(&w->pool, 0));
        if (max >= count / align) assert_true(model_unit_pages(&w->model, align) < count);
        return;
    }
    assert_true(n <= max);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(out[i].page % align, 0);
        assert_int_equal(out[i].count % align, 0);
        assert_true(out[i].count != 0 && model_is_free(&w->model, out[i].page, out[i].count));
        live_add(w, out[i].page, out[i].count);
        sum += out[i].count;
    }
    assert_int_equal(sum, count);
}

/* Gives back all of a live run, or a piece out of its middle, whose rests live on. */
static void do_free(struct world *w, bool whole)
{
    if (w->live_count == 0) return;
    uint32_t i = below(w, w->live_count);
    struct extent e = w->live[i];
    uint32_t from = whole ? 0 : below(w, e.count), n = whole ? e.count : 1 + below(w, e.count - from);
    w->live[i] = w->live[--w->live_count];
    if (from != 0) w->live[w->live_count++] = (struct extent){ e.page, from };
    if (from + n != e.count)
        w->live[w->live_count++] = (struct extent){ e.page + from + n, e.count - from - n };
    pagepool_free(&w->pool, e.page + from, n);
    model_mark(&w->model, e.page + from, n, false);
}

static void do_reserve(struct world *w)
{
    uint32_t start = below(w, w->model.pages + 20), count = below(w, 40);
    bool can = count != 0 && model_is_free(&w->model, start, count);
    assert_int_equal(pagepool_reserve_range(&w->pool, start, count), can);
    if (!can) return;
    model_mark(&w->model, start, count, true);
    w->reserved += count;
}

/* Exactly the pages of a run that next_run found, or those somewhere, which may not be free. */
static void do_take(struct world *w)
{
    uint32_t from = below(w, w->model.pages + 20), count = below(w, 40);
    struct extent run = pagepool_next_run(&w->pool, from);
    for (uint32_t i = from; i < w->model.pages && i < run.page; i++) assert_true(w->model.used[i]);
    if (run.count != 0) {
        assert_true(run.page >= from && model_is_free(&w->model, run.page, run.count));
        assert_false(model_is_free(&w->model, run.page, run.count + 1));
    }
    if (run.count != 0 && (count & 1) != 0) {
        from = run.page;
        if (count > run.count) count = run.count;
    }
    if (w->live_count == LIVE_MAX) return;
    bool can = count != 0 && model_is_free(&w->model, from, count);
    assert_int_equal(pagepool_take_range(&w->pool, from, count), can);
    if (!can) return;
    model_mark(&w->model, from, count, true);
    w->live[w->live_count++] = (struct extent){ from, count };
}

static void agree(const struct world *w)
{
    assert_true(pagepool_check(&w->pool));
    assert_int_equal(pagepool_free_pages(&w->pool), w->model.pages - w->model.used_count);
    assert_int_equal(pagepool_used_pages(&w->pool), w->model.used_count - w->reserved);
    assert_int_equal(pagepool_largest_run(&w->pool), model_largest(&w->model));
    for (uint32_t i = 0; i < w->model.pages; i++)
        assert_int_equal(pagepool_is_free(&w->pool, i, 1), !w->model.used[i]);
}

static uint32_t random_count(struct world *w)
{
    uint32_t octave = below(w, 9);
    return (1u << octave) + below(w, 1u << octave);
}

static void random_op(struct world *w, uint32_t full_percent)
{
    bool grow = w->model.used_count * 100ull < (uint64_t)w->model.pages * full_percent;
    if (below(w, 100) < (grow ? 25u : 60u)) {
        do_free(w, below(w, 3) != 0);
        return;
    }
    uint32_t align = 1u << below(w, 4) << below(w, 4), kind = below(w, 100);
    if (kind < 30) do_run(w, 1, 1, false);
    else if (kind < 45) do_run(w, 16, 16, below(w, 2) != 0);
    else if (kind < 75) do_run(w, random_count(w), below(w, 2) != 0 ? align : 1, below(w, 2) != 0);
    else if (kind < 80) do_take(w);
    else if (kind < 99) do_extents(w, (1 + random_count(w) / align) * align, align,
                                   below(w, 3) == 0 ? 1 + below(w, 4) : EXTENTS_MAX);
    else if (w->reserved < w->model.pages / 10) do_reserve(w);
}

static void random_history(uint32_t pages, uint64_t seed, uint32_t ops)
{
    struct world *w = world_new(pages, seed);
    uint32_t full_percent = 60 + below(w, 45);
    print_message("pages %u seed %llu\n", pages, (unsigned long long)seed);
    for (uint32_t i = 0; i < ops; i++) {
        random_op(w, full_percent);
        assert_true(pagepool_check(&w->pool));
        if (i % 16 == 0) agree(w);
    }
    while (w->live_count != 0) do_free(w, true);
    agree(w);
    if (w->reserved == 0) assert_int_equal(pagepool_largest_run(&w->pool), pages);
    world_drop(w);
}

static void random_histories_match_the_model(void **state)
{
    static const uint32_t sizes[] = { 1, 15, 16, 17, 64, 100, 257, 1024, 1500, 4999 };
    (void)state;
    for (uint64_t round = 0; round < vt_rounds(4); round++)
        for (uint32_t i = 0; i < VT_COUNT(sizes); i++)
            random_history(sizes[i], vt_seed() * 1000 + round * 16 + i, 1500);
}

/* One step of an exhaustive history; false if that step does not exist in this state. */
static bool exhaustive_step(struct world *w, uint32_t step)
{
    static const struct { uint32_t count, align; } runs[] = {
        { 1, 1 }, { 3, 1 }, { 16, 16 }, { 18, 1 }, { 2, 32 },
    };
    if (step < VT_COUNT(runs)) {
        do_run(w, runs[step].count, runs[step].align, step == 2);
        return true;
    }
    step -= (uint32_t)VT_COUNT(runs);
    if (step == 0) {
        do_extents(w, 20, 4, 8);
        return true;
    }
    if (step > w->live_count) return false;
    struct extent e = w->live[step - 1];
    w->live[step - 1] = w->live[--w->live_count];
    pagepool_free(&w->pool, e.page, e.count);
    model_mark(&w->model, e.page, e.count, false);
    return true;
}

/* All histories of up to five steps over pools of two to three blocks: base-11 numbers as programs. */
static void all_short_histories_match_the_model(void **state)
{
    enum { BASE = 11, PROGRAMS = 11 * 11 * 11 * 11 * 11 };
    (void)state;
    struct world *w = calloc(1, sizeof *w);
    uint32_t ran = 0;
    for (uint32_t pages = 31; pages <= 49; pages += 6) {
        for (uint32_t program = 0; program < PROGRAMS; program++) {
            memset(w, 0, sizeof *w - sizeof w->live);
            w->live_count = w->reserved = 0;
            w->model.pages = pages;
            assert_true(pagepool_init(&w->pool, pages, &plain_memory));
            uint32_t left = program, steps = 0;
            while (steps < 5 && exhaustive_step(w, left % BASE)) {
                left /= BASE;
                steps++;
            }
            if (steps == 5) agree(w);
            ran += steps == 5;
            pagepool_destroy(&w->pool);
        }
    }
    print_message("%u histories\n", ran);
    free(w);
}

/* An empty pool must be one run again whatever was cached, or large pages starve after heavy small use. */
static void cached_pages_do_not_hide_a_run(void **state)
{
    (void)state;
    struct world *w = world_new(4096, 1);
    for (uint32_t i = 0; i < 4096; i++) do_run(w, 1, 1, false);
    assert_int_equal(pagepool_alloc_page(&w->pool), PAGEPOOL_NONE);
    while (w->live_count != 0) do_free(w, true);
    agree(w);
    do_run(w, 4096, 4096, false);
    assert_int_equal(w->live_count, 1);
    do_free(w, true);
    for (uint32_t i = 0; i < 256; i++) do_run(w, 16, 16, false);
    while (w->live_count != 0) do_free(w, true);
    do_extents(w, 4096, 1, 1);
    assert_int_equal(w->live_count, 1);
    world_drop(w);
}

static void same_calls_give_the_same_pages(void **state)
{
    (void)state;
    struct world *a = world_new(1500, 77), *b = world_new(1500, 77);
    for (uint32_t i = 0; i < 3000; i++) {
        random_op(a, 80);
        random_op(b, 80);
        assert_true(pagepool_hash(&a->pool, 1) == pagepool_hash(&b->pool, 1));
    }
    world_drop(a);
    world_drop(b);
}

static void bad_sizes_and_missing_memory_are_refused(void **state)
{
    (void)state;
    struct pagepool p;
    int64_t none = 0;
    struct base_memory failing = { hook_alloc, hook_free, &none };
    uint64_t storage[64];
    assert_false(pagepool_init(&p, 0, &plain_memory));
    assert_false(pagepool_init(&p, PAGEPOOL_PAGES_MAX + 1, &plain_memory));
    assert_false(pagepool_init(&p, 100, &failing));
    assert_false(pagepool_init_over(&p, 100, storage, pagepool_storage_bytes(100) - 1));
    assert_true(pagepool_storage_bytes(100) <= sizeof storage);
    assert_true(pagepool_init_over(&p, 100, storage, sizeof storage));
    assert_int_equal(pagepool_alloc_run(&p, 0, 1, false), PAGEPOOL_NONE);
    assert_int_equal(pagepool_alloc_run(&p, 101, 1, false), PAGEPOOL_NONE);
    assert_int_equal(pagepool_alloc_run(&p, 100, 1, false), 0);
    assert_int_equal(pagepool_alloc_extents(&p, 1, NULL, 0, 1), 0);
    pagepool_destroy(&p);
}

/* The largest pool there may be, so that no count or bitmap level is too narrow. */
static void the_largest_pool_works(void **state)
{
    (void)state;
    struct pagepool p;
    struct extent out[8];
    assert_true(pagepool_init(&p, PAGEPOOL_PAGES_MAX, &plain_memory));
    assert_true(pagepool_storage_bytes(PAGEPOOL_PAGES_MAX) <= 8ull * PAGEPOOL_PAGES_MAX);
    assert_int_equal(pagepool_alloc_run(&p, PAGEPOOL_PAGES_MAX, 1, true), 0);
    for (uint32_t page = 0; page < PAGEPOOL_PAGES_MAX; page += 1u << 12) pagepool_free(&p, page, 1);
    assert_true(pagepool_check(&p));
    assert_int_equal(pagepool_alloc_run(&p, 2, 1, false), PAGEPOOL_NONE);
    assert_int_equal(pagepool_alloc_extents(&p, 8, out, 8, 1), 8);
    for (uint32_t i = 8; i < 1u << 12; i++) assert_int_not_equal(pagepool_alloc_page(&p), PAGEPOOL_NONE);
    assert_int_equal(pagepool_alloc_page(&p), PAGEPOOL_NONE);
    pagepool_free(&p, 0, PAGEPOOL_PAGES_MAX);
    assert_int_equal(pagepool_largest_run(&p), PAGEPOOL_PAGES_MAX);
    assert_true(pagepool_check(&p));
    pagepool_destroy(&p);
}

/* Runs the misuse in a child and says whether it was stopped by the trap of a CHECK. */
static bool traps(void (*misuse)(struct pagepool *p))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct pagepool p;
        struct rlimit no_core = { 0, 0 };
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGILL, SIG_DFL);
        signal(SIGTRAP, SIG_DFL);
        if (!pagepool_init(&p, 256, &plain_memory)) _exit(2);
        misuse(&p);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && (WTERMSIG(status) == SIGILL || WTERMSIG(status) == SIGTRAP);
}

static void free_twice_single(struct pagepool *p)
{
    uint32_t page = pagepool_alloc_page(p);
    pagepool_free(p, page, 1);
    pagepool_free(p, page, 1);
}

static void free_twice_block(struct pagepool *p)
{
    uint32_t page = pagepool_alloc_run(p, 16, 16, false);
    pagepool_free(p, page, 16);
    pagepool_free(p, page + 3, 1);
}

static void free_twice_run(struct pagepool *p)
{
    uint32_t page = pagepool_alloc_run(p, 200, 1, false);
    pagepool_free(p, page + 100, 1);
    pagepool_free(p, page, 200);
}

static void free_outside(struct pagepool *p)
{
    (void)pagepool_alloc_run(p, 256, 1, false);
    pagepool_free(p, 250, 7);
}

static void free_wrapping(struct pagepool *p) { pagepool_free(p, 2, UINT32_MAX); }

static void misuse_of_free_is_stopped(void **state)
{
    (void)state;
    assert_true(traps(free_twice_single));
    assert_true(traps(free_twice_block));
    assert_true(traps(free_twice_run));
    assert_true(traps(free_outside));
    assert_true(traps(free_wrapping));
}

/* A check that cannot fail proves nothing: each kind of damage must be seen. */
static void the_check_sees_damage(void **state)
{
    (void)state;
    struct world *w = world_new(1024, 5);
    struct pagepool *p = &w->pool;
    do_run(w, 5, 1, false);
    do_run(w, 100, 1, false);
    do_run(w, 1, 1, false);
    assert_true(pagepool_check(p));
    p->bits[2] ^= 1ull << 9;
    assert_false(pagepool_check(p));
    p->bits[2] ^= 1ull << 9;
    p->tag[0] ^= 1u << 3;
    assert_false(pagepool_check(p));
    p->tag[0] ^= 1u << 3;
    p->free_pages++;
    assert_false(pagepool_check(p));
    p->free_pages--;
    p->partial[p->partial_stride] ^= 1;
    assert_false(pagepool_check(p));
    p->partial[p->partial_stride] ^= 1;
    p->page_cache.count--;
    assert_false(pagepool_check(p));
    p->page_cache.count++;
    p->run[1].len--;
    assert_false(pagepool_check(p));
    p->run[1].len++;
    assert_true(pagepool_check(p));
    world_drop(w);
}

static const struct vt_case cases[] = {
    VT_TEST(random_histories_match_the_model, "", NULL),
    VT_TEST(all_short_histories_match_the_model, "", NULL),
    VT_TEST(cached_pages_do_not_hide_a_run, "", NULL),
    VT_TEST(same_calls_give_the_same_pages, "", NULL),
    VT_TEST(bad_sizes_and_missing_memory_are_refused, "", NULL),
    VT_TEST(the_largest_pool_works, "", NULL),
    VT_TEST(misuse_of_free_is_stopped, "", NULL),
    VT_TEST(the_check_sees_damage, "", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "pagepool", cases, VT_COUNT(cases)); }
