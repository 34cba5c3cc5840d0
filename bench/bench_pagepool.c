/* SPDX-License-Identifier: MIT */
/* bench_pagepool.c - workloads W6a, W6b and W6c against base/pagepool.
 * Floor: a raw LIFO stack of frame numbers driven by W6b through the same slot table, measured in turns with
 * the pool. It is the only physical-page floor the peers were measured with, so W6a and W6c are set against
 * it too. Figures are medians over the rounds. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pagepool.h"
#include "bench.h"
#include "wl.h"

void bench_pagepool(struct bench_out *out);

enum { ROUNDS = 5, LIST_EXTENTS_MAX = 32, CLASS_CONTIGUOUS = 2 };

/* The peers' own floor on their machine, to turn their nanoseconds into ratios. */
static const double peer_floor_ns = 20.4;

struct list_slot { uint32_t count; struct extent extent[LIST_EXTENTS_MAX]; };

struct result { double ns, contiguous_failed, lists, lists_failed, fragments; };

static void *take_memory(void *ctx, size_t bytes, size_t align)
{
    (void)ctx;
    void *p = aligned_alloc(align, (bytes + align - 1) / align * align);
    if (p == NULL) {
        fprintf(stderr, "bench_pagepool: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return p;
}

static void drop_memory(void *ctx, void *p, size_t bytes)
{
    (void)ctx;
    (void)bytes;
    free(p);
}

static const struct base_memory heap_memory = { take_memory, drop_memory, NULL };

static uint32_t pages_of(const struct wl_stream *s) { return (uint32_t)((s->limit - s->base) >> 12); }

/* A zeroed table whose pages are there already, so that page faults are not measured. */
static void *new_table(size_t bytes)
{
    void *p = take_memory(NULL, bytes, 4096);
    memset(p, 0, bytes);
    return p;
}

static double run_floor(const struct wl_stream *s)
{
    uint32_t pages = pages_of(s), top = pages;
    uint32_t *stack = new_table(pages * sizeof *stack);
    struct extent *slot = new_table(s->slots * sizeof *slot);
    double start = 0;
    for (uint32_t i = 0; i < pages; i++) stack[i] = pages - 1 - i;
    for (uint32_t i = 0; i < s->nops; i++) {
        const struct wl_op *op = &s->ops[i];
        if (i == s->prefill) start = bench_now_ns();
        if (op->kind == WL_ALLOC) slot[op->slot] = (struct extent){ stack[--top], 1 };
        else stack[top++] = slot[op->slot].page;
    }
    double ns = (bench_now_ns() - start) / (s->nops - s->prefill);
    free(stack);
    free(slot);
    return ns;
}

static struct result run_pages(const struct wl_stream *s)
{
    struct pagepool p;
    struct extent *slot = new_table(s->slots * sizeof *slot);
    double start = 0;
    if (!pagepool_init(&p, pages_of(s), &heap_memory)) abort();
    for (uint32_t i = 0; i < s->nops; i++) {
        const struct wl_op *op = &s->ops[i];
        if (i == s->prefill) start = bench_now_ns();
        if (op->kind == WL_ALLOC) slot[op->slot] = (struct extent){ pagepool_alloc_page(&p), 1 };
        else pagepool_free(&p, slot[op->slot].page, slot[op->slot].count);
    }
    struct result r = { .ns = (bench_now_ns() - start) / (s->nops - s->prefill) };
    pagepool_destroy(&p);
    free(slot);
    return r;
}

/* Small pieces come from the high end of a free run, contiguous ones from the low end. */
static struct result run_mix(const struct wl_stream *s)
{
    struct pagepool p;
    struct extent *slot = new_table(s->slots * sizeof *slot);
    uint64_t wanted = 0, failed = 0;
    double start = 0;
    if (!pagepool_init(&p, pages_of(s), &heap_memory)) abort();
    for (uint32_t i = 0; i < s->nops; i++) {
        const struct wl_op *op = &s->ops[i];
        if (i == s->prefill) start = bench_now_ns();
        struct extent *e = &slot[op->slot];
        if (op->kind == WL_ALLOC) {
            bool contiguous = op->aux == CLASS_CONTIGUOUS;
            uint32_t count = (uint32_t)(op->size >> 12);
            uint32_t page = pagepool_alloc_run(&p, count, 1u << (op->align_lg2 - 12), !contiguous);
            *e = (struct extent){ page, page == PAGEPOOL_NONE ? 0 : count };
            wanted += contiguous;
            failed += page == PAGEPOOL_NONE;
        } else if (e->count != 0) {
            pagepool_free(&p, e->page, e->count);
        }
    }
    struct result r = { .ns = (bench_now_ns() - start) / (s->nops - s->prefill) };
    r.contiguous_failed = 100.0 * (double)failed / (double)wanted;
    pagepool_destroy(&p);
    free(slot);
    return r;
}

static struct result run_lists(const struct wl_stream *s)
{
    struct pagepool p;
    struct list_slot *slot = calloc(s->slots, sizeof *slot);    /* few slots are ever used */
    uint64_t lists = 0, failed = 0, fragments = 0;
    double start = 0;
    if (slot == NULL || !pagepool_init(&p, pages_of(s), &heap_memory)) abort();
    for (uint32_t i = 0; i < s->nops; i++) {
        const struct wl_op *op = &s->ops[i];
        if (i == s->prefill) start = bench_now_ns();
        struct list_slot *l = &slot[op->slot];
        if (op->kind == WL_ALLOC) {
            l->count = pagepool_alloc_extents(&p, (uint32_t)(op->size >> 12), l->extent, LIST_EXTENTS_MAX, 1);
            lists++;
            failed += l->count == 0;
            fragments += l->count;
        } else {
            while (l->count != 0) {
                l->count--;
                pagepool_free(&p, l->extent[l->count].page, l->extent[l->count].count);
            }
        }
    }
    struct result r = { .ns = (bench_now_ns() - start) / (s->nops - s->prefill) };
    r.lists_failed = 100.0 * (double)failed / (double)lists;
    r.fragments = (double)fragments / (double)(lists - failed);
    pagepool_destroy(&p);
    free(slot);
    return r;
}

static struct wl_stream stream(const char *name)
{
    struct wl_stream s;
    if (wl_make(name, &s) != 0) abort();
    return s;
}

void bench_pagepool(struct bench_out *out)
{
    struct wl_stream a = stream("W6a"), b = stream("W6b"), c = stream("W6c");
    double floor_ns[ROUNDS], a_ns[ROUNDS], b_ns[ROUNDS], c_ns[ROUNDS];
    struct result mix = { 0 }, lists = { 0 };
    bench_say("W6a, W6b, W6c: page pool");
    for (uint32_t i = 0; i < ROUNDS; i++) {
        floor_ns[i] = run_floor(&b);
        b_ns[i] = run_pages(&b).ns;
        mix = run_mix(&a);
        a_ns[i] = mix.ns;
        lists = run_lists(&c);
        c_ns[i] = lists.ns;
    }
    double floor = median(floor_ns, ROUNDS);
    bench_add(out, "W6a physical mix", median(a_ns, ROUNDS), "ns/op", floor, 28 / peer_floor_ns, true);
    bench_peer(out, "VMA TLSF MIN_MEMORY", 37.5 / peer_floor_ns);
    bench_add(out, "W6a contiguous requests failed", mix.contiguous_failed, "%", 0, 0.25, true);
    bench_peer(out, "VMA TLSF MIN_MEMORY", 0.26);
    bench_add(out, "W6b 4K page churn", median(b_ns, ROUNDS), "ns/op", floor, 28 / peer_floor_ns, true);
    bench_peer(out, "OffsetAllocator", 97 / peer_floor_ns);
    double bytes = (double)pagepool_storage_bytes(pages_of(&b)) + sizeof(struct pagepool);
    bench_add(out, "W6b metadata per page of the pool", bytes / pages_of(&b), "B", 0, 8, true);
    bench_add(out, "W6c allocation lists", median(c_ns, ROUNDS), "ns/op", floor, 70 / peer_floor_ns, true);
    bench_peer(out, "gpu_buddy", 288 / peer_floor_ns);
    bench_add(out, "W6c lists failed", lists.lists_failed, "%", 0, 0, true);
    bench_peer(out, "gpu_buddy", 0);
    bench_add(out, "W6c fragments per list", lists.fragments, "", 0, 5.3, true);
    bench_peer(out, "gpu_buddy", 5.3);
    wl_free(&a);
    wl_free(&b);
    wl_free(&c);
}
