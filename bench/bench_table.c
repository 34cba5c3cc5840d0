/* SPDX-License-Identifier: MIT */
/* bench_table.c - workloads W4a to W4f and the page-table form of W5 against the run emitter, core/table.c.
 * Owns: a floor, a minimal platform, the harness.  Calls: table.c as va.c and bind.c do, the ref driver.
 *
 * Both subjects build 4-level 9/9/9/9 tables of the ref driver's format A in one arena.
 *   floor  finds the leaf by shifting, level by level through the entries (a table that is missing is taken
 *          from the arena and zeroed), and stores the encoded entries. No bookkeeping, nothing is ever freed.
 *   core   acquire and write for a map, release for an unmap: tables are created, initialised, linked,
 *          counted and, when they empty, unlinked and freed after a flush; the driver writes entries by its
 *          update_page_table. Every BATCH unmaps the adapter runs: flushes are emitted, limbo is emptied.
 * Engines are left out: a flush is done when it is submitted. Leaf entries are 4 KiB in this release, so W4c
 * is 512 of them and has no peer. An untimed round compares the tables with a plain array. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "core/core.h"
#include "softgpu/devmem.h"
#include "softgpu/ref/ref.h"
#include "wl.h"

enum { ROUNDS = 11, CHECKS = 20000, BATCH = 512, ENTRIES = 512 };

#define ARENA_FRAMES 65536u
#define TABLE_BYTES (ENTRIES * sizeof(uint64_t))
#define ADDRESS_MASK 0x000ffffffffff000ull
#define FIRST_VA (64ull << 30)     /* every stream starts here */
#define VALID 1ull

/* Frames of 4 KiB, LIFO. Frame n is at base + n * 4096. */
struct arena { char *base; uint32_t next, free_count; uint32_t *free_list; };

struct subject {
    void (*map)(struct subject *, uint64_t va, uint64_t pa, uint64_t bytes);
    void (*map_list)(struct subject *, uint64_t va, const uint64_t *pa, uint32_t pages);
    void (*unmap)(struct subject *, uint64_t va, uint64_t bytes);
    void (*remap)(struct subject *, uint64_t va, uint64_t pa, uint64_t bytes);
    struct arena *arena;
    uint64_t root;                 /* address of the root in the arena */
    uint64_t attr;                 /* of a mapped page */
    /* core only */
    struct ref_kmd *kmd;
    struct vidmm_kmd_ops ops;
    struct vidmm_platform platform;
    struct vidmm_adapter *ad;
    struct vidmm_process *proc;
    struct vmm_space *space;
    uint64_t now;
    uint32_t unmaps;
};

/* ---- arena and platform ----------------------------------------------------------------------------- */

/* Every page is touched, so that page faults are not measured. */
static struct arena arena_make(void)
{
    struct arena a = { .next = 1 };
    a.base = aligned_alloc(2u << 20, (size_t)ARENA_FRAMES << VIDMM_PAGE_SHIFT);
    a.free_list = malloc(ARENA_FRAMES * sizeof *a.free_list);
    must(a.base != NULL && a.free_list != NULL, "no memory for the arena");
    memset(a.base, 0, (size_t)ARENA_FRAMES << VIDMM_PAGE_SHIFT);
    return a;
}

static void *platform_alloc(void *ctx, size_t bytes, size_t align)
{
    (void)ctx;
    (void)align;
    return malloc(bytes);
}

static void platform_free(void *ctx, void *p, size_t bytes)
{
    (void)ctx;
    (void)bytes;
    free(p);
}

/* Single frames are reused as they are: only tables take them, and every entry of those is written first. */
static vidmm_status sys_alloc(void *ctx, uint64_t pages, uint64_t *frame)
{
    struct arena *a = ctx;
    if (pages == 1 && a->free_count != 0) {
        *frame = a->free_list[--a->free_count];
        return VIDMM_OK;
    }
    if (pages > ARENA_FRAMES - a->next) return VIDMM_NO_MEMORY;
    *frame = a->next;
    a->next += (uint32_t)pages;
    return VIDMM_OK;
}

static void sys_free(void *ctx, uint64_t frame, uint64_t pages)
{
    struct arena *a = ctx;
    if (pages == 1) a->free_list[a->free_count++] = (uint32_t)frame;
}

static void *sys_address(void *ctx, uint64_t frame)
{
    const struct arena *a = ctx;
    return a->base + (frame << VIDMM_PAGE_SHIFT);
}

static void poke(void *ctx) { (void)ctx; }

/* ---- floor ------------------------------------------------------------------------------------------ */

static uint64_t *table_at(const struct arena *a, uint64_t address)
{
    return (uint64_t *)(void *)(a->base + address);
}

static uint64_t raw_table(struct arena *a)
{
    uint64_t frame;
    must(sys_alloc(a, 1, &frame) == VIDMM_OK, "the arena is too small");
    memset(sys_address(a, frame), 0, TABLE_BYTES);
    return frame << VIDMM_PAGE_SHIFT;
}

static inline uint64_t *raw_leaf(const struct subject *s, uint64_t va)
{
    uint64_t *t = table_at(s->arena, s->root);
    for (unsigned shift = 39; shift > VIDMM_PAGE_SHIFT; shift -= 9) {
        uint64_t *e = &t[va >> shift & (ENTRIES - 1)];
        if (__builtin_expect(*e == 0, 0)) *e = raw_table(s->arena) | VALID;
        t = table_at(s->arena, *e & ADDRESS_MASK);
    }
    return t;
}

/* One after the other, each stored whole: engines may be walking the table. */
static inline void raw_store(uint64_t *at, uint64_t value, uint64_t step, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++, value += step) devmem_store64(at + i, value);
}

static inline void raw_write(struct subject *s, uint64_t va, uint64_t value, uint64_t step, uint64_t bytes)
{
    for (uint32_t left = (uint32_t)(bytes >> VIDMM_PAGE_SHIFT), n; left > 0; left -= n) {
        uint32_t first = (uint32_t)(va >> VIDMM_PAGE_SHIFT & (ENTRIES - 1));
        n = min_u32(ENTRIES - first, left);
        raw_store(raw_leaf(s, va) + first, value, step, n);
        value += step * n;
        va += (uint64_t)n << VIDMM_PAGE_SHIFT;
    }
}

static void raw_map(struct subject *s, uint64_t va, uint64_t pa, uint64_t bytes)
{
    raw_write(s, va, pa | s->attr, VIDMM_PAGE_SIZE, bytes);
}

static void raw_unmap(struct subject *s, uint64_t va, uint64_t bytes) { raw_write(s, va, 0, 0, bytes); }

/* The lists of these streams fill one leaf. */
static void raw_map_list(struct subject *s, uint64_t va, const uint64_t *pa, uint32_t pages)
{
    uint64_t *at = raw_leaf(s, va) + (va >> VIDMM_PAGE_SHIFT & (ENTRIES - 1));
    for (uint32_t i = 0; i < pages; i++) devmem_store64(at + i, pa[i] | s->attr);
}

static void raw_open(struct subject *s, struct arena *a)
{
    *s = (struct subject){ .map = raw_map, .map_list = raw_map_list, .unmap = raw_unmap, .remap = raw_map,
                           .arena = a, .attr = VALID };
    a->next = 1;
    a->free_count = 0;
    s->root = raw_table(a);
}

/* ---- core ------------------------------------------------------------------------------------------- */

static void core_map(struct subject *s, uint64_t va, uint64_t pa, uint64_t bytes)
{
    struct vidmm_pte_run run = { pa, s->attr, (uint32_t)(bytes >> VIDMM_PAGE_SHIFT), VIDMM_PAGE_SIZE };
    struct range r = { va, va + bytes };
    must(vmm_tables_acquire(s->space, r) == VIDMM_OK, "no memory for a table");
    vmm_tables_write(s->space, r, &run, 1);
}

static void core_map_list(struct subject *s, uint64_t va, const uint64_t *pa, uint32_t pages)
{
    struct vidmm_pte_run run[VMM_RUNS];
    struct range r = { va, va + ((uint64_t)pages << VIDMM_PAGE_SHIFT) };
    must(vmm_tables_acquire(s->space, r) == VIDMM_OK, "no memory for a table");
    for (uint32_t i = 0; i < VMM_RUNS; i++)
        run[i] = (struct vidmm_pte_run){ .attr = s->attr, .count = 1, .step = (uint32_t)VIDMM_PAGE_SIZE };
    for (uint32_t done = 0, n; done < pages; done += n) {
        n = min_u32(pages - done, VMM_RUNS);
        for (uint32_t i = 0; i < n; i++) run[i].address = pa[done + i];
        r.end = r.start + ((uint64_t)n << VIDMM_PAGE_SHIFT);
        vmm_tables_write(s->space, r, run, n);
        r.start = r.end;
    }
}

static void core_unmap(struct subject *s, uint64_t va, uint64_t bytes)
{
    vmm_tables_release(s->space, (struct range){ va, va + bytes }, true);
    if (++s->unmaps % BATCH == 0) vidmm_run(s->ad, ++s->now);
}

static void core_remap(struct subject *s, uint64_t va, uint64_t pa, uint64_t bytes)
{
    struct vidmm_pte_run run = { pa, s->attr, (uint32_t)(bytes >> VIDMM_PAGE_SHIFT), VIDMM_PAGE_SIZE };
    struct range r = { va, va + bytes };
    must(vmm_tables_acquire(s->space, r) == VIDMM_OK, "no memory for a table");
    vmm_tables_release(s->space, r, false);
    vmm_space_flush(s->space, r);
    vmm_tables_write(s->space, r, &run, 1);
    if (++s->unmaps % BATCH == 0) vidmm_run(s->ad, ++s->now);
}

static struct vidmm_adapter *at_once;  /* the adapter whose packets complete when they are submitted */

static vidmm_status submit_at_once(void *kmd, const struct vidmm_kmd_submit *in)
{
    (void)kmd;
    if (at_once != NULL) vidmm_notify_completed(at_once, in->node, in->fence_id);
    return VIDMM_OK;
}

static void core_open(struct subject *s, struct arena *a)
{
    struct ref_options opt;
    const char *why = NULL;
    ref_options_default(&opt, REF_FORMAT_A);
    for (uint32_t i = 0; i < 4; i++) opt.table_segment[i] = 0;
    *s = (struct subject){ .map = core_map, .map_list = core_map_list, .unmap = core_unmap,
                           .remap = core_remap, .arena = a, .ops = *ref_ops() };
    a->next = 1;
    a->free_count = 0;
    s->ops.submit_command_virtual = submit_at_once;
    s->platform = (struct vidmm_platform){ .struct_size = sizeof s->platform, .ctx = a,
        .alloc = platform_alloc, .free = platform_free, .sys_alloc = sys_alloc, .sys_free = sys_free,
        .sys_address = sys_address, .poke = poke };
    must(ref_create(&opt, &s->kmd) == VIDMM_OK, "no memory for the driver");
    struct vidmm_adapter_config cfg = { .struct_size = sizeof cfg, .platform = &s->platform, .ops = &s->ops,
                                        .kmd = s->kmd };
    must(vidmm_adapter_create(&cfg, &s->ad, &why) == VIDMM_OK, why != NULL ? why : "no adapter");
    must(vidmm_process_create(s->ad, &s->proc) == VIDMM_OK, "no process");
    at_once = s->ad;
    s->space = &s->proc->space;
    s->root = s->space->tables.root->address;
    struct vidmm_pte_kind kind = { .flags = VIDMM_PTE_VALID };
    s->attr = s->ops.pte_attr(s->kmd, &kind);
    must(s->attr == VALID, "the floor and the driver encode differently");
}

static void core_close(struct subject *s)
{
    vidmm_process_destroy(s->proc);
    while (!vidmm_adapter_idle(s->ad)) vidmm_run(s->ad, ++s->now);
    vidmm_run(s->ad, ++s->now);
    at_once = NULL;
    vidmm_adapter_destroy(s->ad);
    ref_destroy(s->kmd);
}

/* ---- the harness ------------------------------------------------------------------------------------ */

struct job { struct wl_stream st; uint64_t *list; uint64_t end; bool remap; };

static void play(const struct job *j, struct subject *s, uint32_t from, uint32_t to)
{
    const struct wl_op *op = &j->st.ops[from], *end = &j->st.ops[to];
    for (uint32_t i = from; op < end; op++, i++) {
        if (op->kind == WL_UNMAP) s->unmap(s, op->a, op->size);
        else if (op->kind == WL_MAP_LIST) s->map_list(s, op->a, j->list + (uint64_t)i * ENTRIES, ENTRIES);
        else if (j->remap && i >= j->st.prefill) s->remap(s, op->a, op->b, op->size);
        else s->map(s, op->a, op->b, op->size);
    }
}

static struct job job_make(const char *name)
{
    struct job j = { .end = FIRST_VA };
    must(wl_make(name, &j.st) == 0, "no such workload");
    uint32_t lists = 0;
    for (uint32_t i = 0; i < j.st.nops; i++) {
        const struct wl_op *op = &j.st.ops[i];
        j.end = max_u64(j.end, op->a + op->size);
        lists += op->kind == WL_MAP_LIST;
    }
    j.remap = strcmp(name, "W5") == 0;
    if (lists == 0) return j;
    j.list = malloc((size_t)lists * ENTRIES * sizeof *j.list);
    must(j.list != NULL, "no memory for the page lists");
    for (uint32_t i = 0; i < lists; i++) {
        uint64_t *list = j.list + (size_t)i * ENTRIES;
        for (uint32_t k = 0; k < ENTRIES; k++) list[k] = wl_scatter_pa(j.st.ops[i].b, k);
    }
    return j;
}

static void job_free(struct job *j)
{
    wl_free(&j->st);
    free(j->list);
}

/* What each page of the range shall name after the first n operations. */
static uint64_t *expected(const struct job *j, uint32_t n)
{
    uint64_t *page = calloc((j->end - FIRST_VA) >> VIDMM_PAGE_SHIFT, sizeof *page);
    must(page != NULL, "no memory for the check");
    for (uint32_t i = 0; i < n; i++) {
        const struct wl_op *op = &j->st.ops[i];
        uint64_t *at = page + ((op->a - FIRST_VA) >> VIDMM_PAGE_SHIFT), pages = op->size >> VIDMM_PAGE_SHIFT;
        for (uint64_t k = 0; k < pages; k++) {
            uint64_t pa = op->b + k * VIDMM_PAGE_SIZE;
            if (op->kind == WL_MAP_LIST) pa = j->list[(size_t)i * ENTRIES + k];
            at[k] = op->kind == WL_UNMAP ? 0 : pa | VALID;
        }
    }
    return page;
}

static uint64_t translate(const struct subject *s, uint64_t va)
{
    uint64_t entry = s->root | VALID;
    for (unsigned level = 4; level > 0 && (entry & VALID) != 0; level--)
        entry = table_at(s->arena, entry & ADDRESS_MASK)[va >> (3 + 9 * level) & 511];
    return (entry & VALID) != 0 ? entry : 0;
}

static uint32_t mismatches(const struct job *j, const struct subject *s, uint32_t n)
{
    uint64_t *want = expected(j, n), seed = 1, pages = (j->end - FIRST_VA) >> VIDMM_PAGE_SHIFT;
    uint32_t bad = 0;
    for (uint32_t i = 0; i < CHECKS; i++) {
        uint64_t page = wl_below(&seed, pages);
        bad += translate(s, FIRST_VA + (page << VIDMM_PAGE_SHIFT)) != want[page];
    }
    free(want);
    return bad;
}

static uint32_t check_subject(const struct job *j, struct subject *s, uint32_t half)
{
    uint32_t bad;
    play(j, s, 0, half);
    bad = mismatches(j, s, half);
    play(j, s, half, j->st.nops);
    return bad + mismatches(j, s, j->st.nops);
}

static uint32_t check(const struct job *j, struct arena *a, uint32_t half)
{
    struct subject s;
    raw_open(&s, a);
    uint32_t bad = check_subject(j, &s, half);
    core_open(&s, a);
    bad += check_subject(j, &s, half);
    core_close(&s);
    return bad;
}

struct times { double floor[2][ROUNDS], core[2][ROUNDS]; };

static void time_subject(const struct job *j, struct subject *s, uint32_t half, double *first, double *second)
{
    uint32_t n = j->st.nops, from = j->st.prefill;
    play(j, s, 0, from);
    double t0 = bench_now_ns();
    play(j, s, from, half);
    double t1 = bench_now_ns();
    play(j, s, half, n);
    double t2 = bench_now_ns();
    *first = (t1 - t0) / (half - from);
    *second = (t2 - t1) / (n - half > 0 ? n - half : 1);
}

/* The round whose ratio is the median: floor and core of one round saw the same machine. */
static uint32_t median_round(const double *floor, const double *core)
{
    uint32_t best = 0, off = ROUNDS;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t below = 0, above = 0;
        for (uint32_t k = 0; k < ROUNDS; k++) {
            below += core[k] * floor[i] < core[i] * floor[k];
            above += core[k] * floor[i] > core[i] * floor[k];
        }
        uint32_t d = below > above ? below - above : above - below;
        if (d >= off) continue;
        off = d;
        best = i;
    }
    return best;
}

/* half: the first operation that counts for the second figure. */
static struct times measure(const struct job *j, struct arena *a, uint32_t half)
{
    struct times t;
    struct subject s;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        raw_open(&s, a);
        time_subject(j, &s, half, &t.floor[0][i], &t.floor[1][i]);
        core_open(&s, a);
        time_subject(j, &s, half, &t.core[0][i], &t.core[1][i]);
        core_close(&s);
    }
    return t;
}

/* What the best peer and its floor took; goal: the stretch, in the same unit. 0: no peer. */
struct row { const char *stream, *what, *peer; double peer_floor, best, goal; };

static void report(struct bench_out *out, const struct row *r, const double *floor, const double *core)
{
    char name[64];
    uint32_t m = median_round(floor, core);
    snprintf(name, sizeof name, "%s %s", r->stream, r->what);
    bench_add(out, name, core[m], "ns/op", floor[m], r->goal / r->peer_floor, true);
    if (r->peer != NULL) bench_peer(out, r->peer, r->best / r->peer_floor);
}

static void bench_job(struct bench_out *out, struct arena *a, const struct row *rows, uint32_t n)
{
    struct job j = job_make(rows[0].stream);
    uint32_t half = n == 2 ? j.st.nops / 2 : j.st.nops;
    uint32_t drain = strcmp(rows[0].stream, "W4e") == 0 ? 500000 : half; /* W4e ends by unmapping all */
    uint32_t bad = check(&j, a, drain);
    must(bad == 0, "a page is translated wrongly");
    struct times t = measure(&j, a, half);
    for (uint32_t i = 0; i < n; i++) report(out, &rows[i], t.floor[i], t.core[i]);
    job_free(&j);
}

void bench_table(struct bench_out *out)
{
    static const struct row rows[] = {
        { "W4a", "map 4K in order", "generic_pt amdv1", 11.4, 16.6, 14 },
        { "W4a", "unmap", "io-pgtable-arm", 12.5, 22.0, 20 },
        { "W4b", "map 64K as 16 entries", "io-pgtable-arm", 20.9, 46.2, 28 },
        { "W4b", "unmap", "generic_pt amdv1", 13.6, 48.9, 28 },
        { "W4c", "map 2M, no large pages: 512 entries", NULL, 392, 0, 435 },
        { "W4c", "unmap, n/a: no large pages", NULL, 218, 0, 25 },
        { "W4d", "map 2M as 512 entries", "generic_pt amdv1", 392, 854, 435 },
        { "W4d", "unmap", "io-pgtable-arm", 218, 24.5, 25 },
        { "W4f", "map 2M of scattered pages", "NVIDIA mmu_walk", 826, 2173, 973 },
        { "W4f", "unmap", "io-pgtable-arm", 221, 27.8, 25 },
        { "W4e", "map and unmap at random", "generic_pt amdv1", 234, 444, 270 },
        { "W5", "remap a 64K tile, tables only", "io-pgtable-arm", 15.4, 95.9, 30 },
    };
    struct arena a = arena_make();
    bench_say("W4, W5: page tables");
    for (uint32_t i = 0; i < 10; i += 2) bench_job(out, &a, &rows[i], 2);
    bench_job(out, &a, &rows[10], 1);
    bench_job(out, &a, &rows[11], 1);
    free(a.base);
    free(a.free_list);
}
