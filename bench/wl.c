/* SPDX-License-Identifier: MIT */
/* wl.c - the workload generator (see wl.h). Calls: libc.
 * Every draw from the generator counts: the order of draws is part of the definition of a workload. */
#include "wl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB ((uint64_t)1024)
#define MIB (KIB * KIB)
#define GIB (MIB * KIB)
#define PAGE (4 * KIB)

static const struct {
    const char *name;
    uint64_t hash;
} wl_hashes[] = {
    {"W1", 0xda505752b9ebb0dcu},  {"W1b", 0x9c3120346110cebdu}, {"W2a", 0xeaa04183dd22fb07u},
    {"W2b", 0xc699270732ffb64bu}, {"W3a", 0xed7ae97a13723e94u}, {"W3b", 0x4d587d1652620873u},
    {"W4a", 0x7b4d56e54d88ab25u}, {"W4b", 0xe737a878d9a17325u}, {"W4c", 0x1ac6e2ab67c43725u},
    {"W4d", 0x19113698721cc325u}, {"W4e", 0xff3f56d42de57c42u}, {"W4f", 0x0b62cf15f02b6a8au},
    {"W5", 0xfe3e5e2c7da7b299u},  {"W6a", 0x4dacf37b21d79beeu}, {"W6b", 0x07f7ead752e744fau},
    {"W6c", 0xe01a0ca5af282003u}, {"W7", 0xf32e45751904de2cu},  {"W8", 0x891accb11068f525u},
};

const char *const wl_names[] = {"W1",  "W1b", "W2a", "W2b", "W3a", "W3b", "W4a", "W4b", "W4c", "W4d",
                                "W4e", "W4f", "W5",  "W6a", "W6b", "W6c", "W7",  "W8",  NULL};

/* A stream under construction, and the live set of its generator. */
struct gen {
    struct wl_stream *st;
    uint64_t seed;
    struct wl_op *ops;
    uint32_t n, cap;
    uint32_t *live, nlive; /* slots in use; random removal swaps with the last */
    uint32_t *unused, nunused;
    uint64_t *size; /* by slot */
    uint64_t used;  /* bytes of all live slots */
};

static void *memory(void *old, size_t bytes)
{
    void *p = realloc(old, bytes);
    if (p == NULL) {
        fprintf(stderr, "bench: out of memory building a workload\n");
        exit(1);
    }
    return p;
}

static struct wl_op *push(struct gen *g, enum wl_kind kind, uint32_t slot)
{
    if (g->n == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 1u << 16;
        g->ops = memory(g->ops, g->cap * sizeof *g->ops);
    }
    struct wl_op *op = &g->ops[g->n++];
    memset(op, 0, sizeof *op);
    op->kind = (uint8_t)kind;
    op->slot = slot;
    return op;
}

static struct wl_op *push_map(struct gen *g, enum wl_kind kind, uint64_t va, uint64_t size, uint64_t b)
{
    struct wl_op *op = push(g, kind, 0);
    op->align_lg2 = 12;
    op->size = size;
    op->a = va;
    op->b = b;
    return op;
}

static void slots_start(struct gen *g, uint32_t n)
{
    g->st->slots = n;
    g->live = memory(NULL, n * sizeof *g->live);
    g->unused = memory(NULL, n * sizeof *g->unused);
    g->size = memory(NULL, n * sizeof *g->size);
    g->nlive = 0;
    g->nunused = n;
    for (uint32_t i = 0; i < n; i++) g->unused[i] = n - 1 - i;
}

static uint32_t slot_add(struct gen *g, uint64_t size)
{
    uint32_t slot = g->unused[--g->nunused];
    g->live[g->nlive++] = slot;
    g->size[slot] = size;
    g->used += size;
    return slot;
}

static void free_random(struct gen *g)
{
    uint32_t i = (uint32_t)wl_below(&g->seed, g->nlive), slot = g->live[i];
    g->live[i] = g->live[--g->nlive];
    g->unused[g->nunused++] = slot;
    g->used -= g->size[slot];
    push(g, WL_FREE, slot);
}

/* Log-uniform pages in [2^lo, 2^hi): octave first, then uniform inside it. */
static uint64_t log_pages(uint64_t *seed, unsigned lo, unsigned hi)
{
    unsigned e = lo + (unsigned)wl_below(seed, hi - lo);
    return ((uint64_t)1 << e) + wl_below(seed, (uint64_t)1 << e);
}

/* From 64 KiB on, sizes are multiples of 64 KiB and aligned to it. */
static uint64_t log_size(uint64_t *seed, unsigned lo, unsigned hi, uint8_t *align_lg2)
{
    uint64_t b = log_pages(seed, lo, hi) * PAGE;
    *align_lg2 = b >= 64 * KIB ? 16 : 12;
    return b >= 64 * KIB ? (b + 64 * KIB - 1) & ~(64 * KIB - 1) : b;
}

static void alloc_in(struct gen *g, unsigned size_lo, unsigned size_hi, uint64_t lo, uint64_t hi)
{
    uint8_t align;
    uint64_t size = log_size(&g->seed, size_lo, size_hi, &align);
    struct wl_op *op = push(g, WL_ALLOC, slot_add(g, size));
    op->align_lg2 = align;
    op->size = size;
    op->a = lo;
    op->b = hi;
}

/* Allocate below 95 000 live, free above 105 000, toss a coin between. */
static bool coin_around_100k(struct gen *g)
{
    if (g->nlive <= 95000) return true;
    if (g->nlive >= 105000) return false;
    return wl_next(&g->seed) >> 63 != 0;
}

static void w1(struct gen *g, bool bursts)
{
    uint64_t lo = g->st->base = 64 * KIB, hi = g->st->limit = (uint64_t)1 << 47;
    slots_start(g, 110000);
    for (int i = 0; i < 100000; i++) alloc_in(g, 0, 14, lo, hi);
    g->st->prefill = g->n;
    for (int i = 0; i < 2000000 && !bursts; i++) {
        if (coin_around_100k(g)) alloc_in(g, 0, 14, lo, hi);
        else free_random(g);
    }
    for (int i = 0; i < 2000000 / 1024 && bursts; i++) {
        for (int k = 0; k < 512; k++) free_random(g);
        for (int k = 0; k < 512; k++) alloc_in(g, 0, 14, lo, hi);
    }
}

static void w2(struct gen *g, unsigned size_hi)
{
    uint64_t window = 8 * GIB, low = window / 1000 * 915, high = window / 1000 * 925;
    g->st->base = 4 * GIB;
    g->st->limit = 4 * GIB + window;
    slots_start(g, 200000);
    for (uint32_t i = 0;; i++) {
        if (g->st->prefill == 0 && g->used >= low) g->st->prefill = i;
        if (g->st->prefill != 0 && i - g->st->prefill >= 500000) return;
        bool alloc = g->used < low || (g->used <= high && wl_next(&g->seed) >> 63 != 0);
        if (alloc) alloc_in(g, 0, size_hi, g->st->base, g->st->limit);
        else free_random(g);
    }
}

static void w3a_alloc(struct gen *g)
{
    uint64_t c = wl_below(&g->seed, 10);
    if (c < 5) {
        alloc_in(g, 0, 4, g->st->base, 4 * GIB);
        return;
    }
    /* The window is drawn after the size, so the record is completed afterwards. */
    alloc_in(g, 0, 14, g->st->base, g->st->limit);
    if (c >= 8) return;
    uint64_t w = wl_below(&g->seed, 16);
    g->ops[g->n - 1].a = w ? w * 64 * GIB : 64 * KIB;
    g->ops[g->n - 1].b = (w + 1) * 64 * GIB;
}

static void w3a(struct gen *g)
{
    slots_start(g, 110000);
    g->st->base = 64 * KIB;
    g->st->limit = (uint64_t)1 << 47;
    for (int i = 0; i < 1100000; i++) {
        if (i == 100000) g->st->prefill = g->n;
        if (i < 100000 || coin_around_100k(g)) w3a_alloc(g);
        else free_random(g);
    }
}

static void w3b(struct gen *g)
{
    enum { CELLS = 200000 };
    uint8_t *on = memory(NULL, CELLS);
    memset(on, 0, CELLS);
    g->st->slots = CELLS;
    g->st->base = 64 * KIB;
    g->st->limit = (uint64_t)1 << 47;
    for (int i = 0; i < CELLS / 2 + 1000000; i++) {
        if (i == CELLS / 2) g->st->prefill = g->n;
        uint32_t c = i < CELLS / 2 ? (uint32_t)i * 2 : (uint32_t)wl_below(&g->seed, CELLS);
        struct wl_op *op = push(g, on[c] ? WL_FREE : WL_ALLOC_AT, c);
        on[c] = !on[c];
        if (op->kind == WL_FREE) continue;
        op->size = log_size(&g->seed, 0, 13, &op->align_lg2);
        uint64_t cell = ((uint64_t)c * 77773u) % CELLS;
        op->a = ((uint64_t)1 << 40) + cell * 64 * MIB + wl_below(&g->seed, 512) * 64 * KIB;
    }
    free(on);
}

static void w4_random(struct gen *g)
{
    enum { CELLS = 32768 };
    uint64_t *on = memory(NULL, CELLS * sizeof *on);
    memset(on, 0, CELLS * sizeof *on);
    for (int i = 0; i < 500000; i++) {
        uint64_t c = wl_below(&g->seed, CELLS), va = 64 * GIB + c * 2 * MIB;
        if (on[c]) {
            push_map(g, WL_UNMAP, va, on[c], 0);
            on[c] = 0;
        } else {
            on[c] = log_pages(&g->seed, 0, 9) * PAGE;
            push_map(g, WL_MAP, va, on[c], (4 * GIB + wl_below(&g->seed, 1u << 20) * PAGE) | PAGE);
        }
    }
    for (uint64_t c = 0; c < CELLS; c++) {
        if (on[c]) push_map(g, WL_UNMAP, 64 * GIB + c * 2 * MIB, on[c], 0);
    }
    free(on);
}

/* n mappings side by side at 64 GiB, then unmapped one by one. */
static void w4_linear(struct gen *g, uint64_t n, uint64_t size, uint64_t pa, uint64_t pa_wrap)
{
    for (uint64_t i = 0; i < n; i++) {
        push_map(g, WL_MAP, 64 * GIB + i * size, size, pa + i % pa_wrap * size);
    }
    for (uint64_t i = 0; i < n; i++) push_map(g, WL_UNMAP, 64 * GIB + i * size, size, 0);
}

static void w4(struct gen *g, char sub)
{
    g->st->base = 0;
    g->st->limit = (uint64_t)1 << 47;
    if (sub == 'a') w4_linear(g, 262144, PAGE, 4 * GIB, UINT64_MAX);
    if (sub == 'b') w4_linear(g, 65536, 64 * KIB, 4 * GIB + PAGE, UINT64_MAX);
    if (sub == 'c') w4_linear(g, 32768, 2 * MIB, 4 * GIB, 4096);
    if (sub == 'd') w4_linear(g, 4096, 2 * MIB, 4 * GIB + PAGE, UINT64_MAX);
    if (sub == 'e') w4_random(g);
    if (sub != 'f') return;
    for (uint64_t i = 0; i < 4096; i++) {
        push_map(g, WL_MAP_LIST, 64 * GIB + i * 2 * MIB, 2 * MIB, wl_next(&g->seed));
    }
    for (uint64_t i = 0; i < 4096; i++) push_map(g, WL_UNMAP, 64 * GIB + i * 2 * MIB, 2 * MIB, 0);
}

static void w5_tile(struct gen *g, uint64_t tile)
{
    uint64_t pa = 4 * GIB + wl_below(&g->seed, 131072) * 64 * KIB;
    struct wl_op *op = push_map(g, WL_MAP, 64 * GIB + tile * 64 * KIB, 64 * KIB, pa);
    op->align_lg2 = 16;
    op->slot = (uint32_t)tile;
}

static void w5(struct gen *g)
{
    g->st->base = 64 * GIB;
    g->st->limit = 65 * GIB;
    g->st->slots = 16384;
    for (uint64_t i = 0; i < 16384; i++) w5_tile(g, i);
    g->st->prefill = g->n;
    for (int i = 0; i < 1000000; i++) w5_tile(g, wl_below(&g->seed, 16384));
}

static void w6_alloc(struct gen *g, char sub)
{
    uint64_t size = PAGE;
    uint8_t align = 12;
    uint16_t class = 0;
    if (sub == 'a') {
        uint64_t c = wl_below(&g->seed, 100);
        class = c >= 95 ? 2 : c >= 70 ? 1 : 0;
        if (class == 1) size = 64 * KIB;
        if (class == 2) size = (log_pages(&g->seed, 5, 13) * PAGE + 65535) & ~(uint64_t)65535;
        if (class != 0) align = 16;
    } else if (sub == 'c') {
        size = log_pages(&g->seed, 4, 14) * PAGE;
        class = 3;
    }
    struct wl_op *op = push(g, WL_ALLOC, slot_add(g, size));
    op->align_lg2 = align;
    op->size = size;
    op->aux = class;
    op->b = 16 * GIB;
}

static void w6(struct gen *g, char sub)
{
    uint64_t window = 16 * GIB, low = window / 1000 * 845, high = window / 1000 * 855, full;
    uint32_t ops = 1000000;
    if (sub == 'b') low = 950000 * PAGE, high = 1050000 * PAGE, ops = 2000000;
    if (sub == 'c') low = window / 1000 * 945, high = window / 1000 * 955, ops = 200000;
    full = sub == 'b' ? 1000000 * PAGE : low;
    g->st->base = 0;
    g->st->limit = window;
    slots_start(g, sub == 'b' ? 1100000 : 400000);
    for (uint32_t i = 0;; i++) {
        if (g->st->prefill == 0 && g->used >= full) g->st->prefill = i;
        if (g->st->prefill != 0 && i - g->st->prefill >= ops) return;
        bool alloc = g->st->prefill == 0 || g->used < low ||
                     (g->used <= high && wl_next(&g->seed) >> 63 != 0);
        if (alloc) w6_alloc(g, sub);
        else free_random(g);
    }
}

static void w7(struct gen *g)
{
    uint64_t base = g->st->base = 64 * GIB;
    g->st->limit = base + GIB;
    for (uint64_t i = 0; i < 16384; i++) {
        push_map(g, WL_MAP, base + i * 64 * KIB, 64 * KIB, i * 64 * KIB)->aux = (uint16_t)(i % 64);
    }
    g->st->prefill = g->n;
    for (int i = 0; i < 1000000; i++) {
        bool unmap = wl_below(&g->seed, 4) == 0;
        uint64_t a = wl_below(&g->seed, 262144), n = log_pages(&g->seed, 0, 10);
        if (a + n > 262144) n = 262144 - a;
        struct wl_op *op = push_map(g, unmap ? WL_UNMAP : WL_MAP, base + a * PAGE, n * PAGE, 0);
        if (unmap) continue;
        op->b = wl_below(&g->seed, 262144) * PAGE;
        op->aux = (uint16_t)wl_below(&g->seed, 64);
    }
}

static void w8_alloc(struct gen *g, uint64_t size, uint32_t slot)
{
    struct wl_op *op = push(g, WL_ALLOC, slot);
    op->align_lg2 = 16;
    op->size = size;
    op->a = g->st->base;
    op->b = g->st->limit;
}

static void w8(struct gen *g)
{
    g->st->base = 4 * GIB;
    g->st->limit = 8 * GIB;
    g->st->slots = 65536 + 2;
    for (uint32_t i = 0; i < 65536; i++) w8_alloc(g, 8 * KIB, i);
    for (uint32_t i = 0; i < 65536; i += 2) push(g, WL_FREE, i);
    g->st->prefill = g->n;
    for (int i = 0; i < 200000; i++) {
        bool big = wl_below(&g->seed, 10) == 0;
        w8_alloc(g, big ? 72 * KIB : 64 * KIB, 65536 + big);
        push(g, WL_FREE, 65536 + big);
    }
}

static void build(struct gen *g, const char *name)
{
    char sub = name[2];
    if (name[1] == '1') w1(g, sub == 'b');
    if (name[1] == '2') w2(g, sub == 'a' ? 14 : 8);
    if (name[1] == '3' && sub == 'a') w3a(g);
    if (name[1] == '3' && sub == 'b') w3b(g);
    if (name[1] == '4') w4(g, sub);
    if (name[1] == '5') w5(g);
    if (name[1] == '6') w6(g, sub);
    if (name[1] == '7') w7(g);
    if (name[1] == '8') w8(g);
}

int wl_make(const char *name, struct wl_stream *out)
{
    struct gen g = {.st = out};
    memset(out, 0, sizeof *out);
    if (wl_hash_expected(name) == 0) return -1;
    strncpy(out->name, name, sizeof out->name - 1);
    out->seed = 0x5649444D4D000000u;
    for (const char *c = name; *c; c++) out->seed = out->seed * 131 + (uint8_t)*c;
    g.seed = out->seed;
    build(&g, name);
    free(g.live);
    free(g.unused);
    free(g.size);
    out->ops = g.ops;
    out->nops = g.n;
    return 0;
}

void wl_free(struct wl_stream *s)
{
    free(s->ops);
    s->ops = NULL;
}

uint64_t wl_hash(const struct wl_stream *s)
{
    uint64_t h = 0xcbf29ce484222325u;
    const uint8_t *p = (const uint8_t *)s->ops;
    for (size_t i = 0; i < s->nops * sizeof *s->ops; i++) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

uint64_t wl_hash_expected(const char *name)
{
    for (size_t i = 0; i < sizeof wl_hashes / sizeof wl_hashes[0]; i++) {
        if (strcmp(wl_hashes[i].name, name) == 0) return wl_hashes[i].hash;
    }
    return 0;
}
