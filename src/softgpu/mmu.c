/* SPDX-License-Identifier: MIT */
/* mmu.c - the walker: virtual address to host bytes, through the driver's format, tables in VRAM or in
 * system memory, helped by the caches of tlb.c. Every use of a cached entry is checked against the table
 * it came from; what no longer holds is still used, as silicon would, and reported to detector.c.
 * Called under engine.tlb_lock. */
#include <vidmm/kmd.h>

#include "base/bits.h"
#include "softgpu/gpu.h"

struct walk_result {
    uint64_t raw;
    struct pte_place place;
    struct softgpu_pte pte;
    uint32_t level;
    bool out_of_root;
};

static void fault_set(struct softgpu_engine *e, uint64_t va, uint32_t level, enum access_kind kind,
                      uint32_t code)
{
    uint32_t write = kind == ACCESS_WRITE ? VIDMM_FAULT_WRITE : 0;
    e->fault = (struct softgpu_fault){
        .va = va, .node = e->node, .level = level, .error_code = code,
        .flags = VIDMM_FAULT_ENGINE_RESET_REQUIRED | write};
}

bool mmu_read_entry(struct softgpu *g, struct pte_place place, uint64_t *raw)
{
    struct devmem_span span;
    uint32_t bytes = g->format.entry_bytes;
    if (!vram_resolve(g, place.segment, place.offset, bytes, &span)) return false;
    *raw = devmem_load_entry(span.host, bytes);
    return true;
}

/* The entry for va in the table of one level. What cannot be read counts as invalid. */
static struct walk_result read_level(struct softgpu *g, const struct softgpu_context *ctx, uint64_t va,
                                     uint32_t level, struct pte_place table)
{
    struct walk_result r = {.level = level};
    uint64_t index = va >> g->level_shift[level];
    if (level + 1 == g->format.level_count) r.out_of_root = index >= ctx->root.entries;
    else index &= mask_low64(g->format.index_bits[level]);
    if (r.out_of_root) return r;
    r.place = (struct pte_place){table.offset + index * g->format.entry_bytes, table.segment};
    if (mmu_read_entry(g, r.place, &r.raw)) r.pte = g->format.decode(level, r.raw);
    bool names_table = level > 0 && r.pte.valid && r.pte.segment != 0;
    if (names_table && r.pte.gpu != g->index) r.pte.valid = false; /* tables are at home */
    return r;
}

static struct pte_place root_of(const struct softgpu_context *ctx)
{
    return (struct pte_place){ctx->root.offset, ctx->root.segment};
}

/* The truth in memory now, down to stop_level. */
static struct walk_result walk_fresh(struct softgpu *g, const struct softgpu_context *ctx, uint64_t va,
                                     uint32_t stop_level)
{
    uint32_t level = g->format.level_count - 1;
    struct walk_result r = read_level(g, ctx, va, level, root_of(ctx));
    while (level > stop_level && r.pte.valid) {
        level--;
        r = read_level(g, ctx, va, level, (struct pte_place){r.pte.address, r.pte.segment});
    }
    return r;
}

static bool same_translation(const struct softgpu_pte *a, const struct softgpu_pte *b)
{
    if (a->valid != b->valid) return false;
    if (!a->valid) return true;
    bool rights = a->read_only == b->read_only && a->no_execute == b->no_execute && a->zero == b->zero;
    bool page = a->segment == b->segment && a->address == b->address;
    return rights && (a->zero || (page && (a->segment == 0 || a->gpu == b->gpu)));
}

/* Bytes of the entry unchanged? One load; the common case by far. */
static bool entry_unchanged(struct softgpu *g, struct pte_place place, uint64_t raw)
{
    uint64_t now;
    return g->opt.detect == SOFTGPU_DETECT_ENTRY && mmu_read_entry(g, place, &now) && now == raw;
}

/* Has the page behind a cached entry got another owner since the entry was read, or lost its owner? */
static bool page_reused(struct softgpu *g, uint32_t segment, uint64_t address, uint32_t epoch)
{
    struct devmem_span span;
    if (vram_epoch_get(g, segment, address) != epoch) return true;
    return !vram_resolve(g, segment, address, VIDMM_PAGE_SIZE, &span);
}

static void check_leaf(struct softgpu_engine *e, const struct softgpu_context *ctx, struct tlb_entry *t,
                       uint64_t va, enum access_kind kind)
{
    struct softgpu *g = e->gpu;
    if (entry_unchanged(g, t->place, t->raw)) return;
    struct walk_result now = walk_fresh(g, ctx, va, 0);
    if (same_translation(&now.pte, &t->pte)) {
        t->place = now.place; /* its table has moved; the translation holds */
        t->raw = now.raw;
        t->level = now.level;
        return;
    }
    bool names_page = t->pte.valid && !t->pte.zero;
    struct softgpu *owner = vram_owner(g, &t->pte);
    /* A peer was pulled out before anybody could flush: the access ends in a fault, at nobody's page. */
    bool reused = names_page && owner != NULL &&
                  page_reused(owner, t->pte.segment, t->pte.address, t->epoch);
    struct softgpu_stale s = {.va = va, .write = kind == ACCESS_WRITE, .cached = t->raw, .actual = now.raw};
    detector_stale(e, ctx, &s, reused || ctx->space->system);
}

static void check_upper(struct softgpu_engine *e, const struct softgpu_context *ctx, struct walk_entry *w,
                        uint64_t va)
{
    struct softgpu *g = e->gpu;
    if (entry_unchanged(g, w->place, w->raw)) return;
    struct walk_result now = walk_fresh(g, ctx, va, w->level);
    bool same = now.level == w->level && now.pte.valid;
    if (same && now.pte.segment == w->next.segment && now.pte.address == w->next.offset) {
        w->place = now.place;
        w->raw = now.raw;
        return;
    }
    bool reused = page_reused(g, w->next.segment, w->next.offset, w->epoch);
    struct softgpu_stale s = {.va = va, .level = w->level, .cached = w->raw, .actual = now.raw};
    detector_stale(e, ctx, &s, reused || ctx->space->system);
}

static void remember_upper(struct softgpu_engine *e, uint64_t tag, uint64_t va, const struct walk_result *r)
{
    uint64_t prefix = va >> e->gpu->level_shift[r->level];
    struct walk_entry *w = tlb_walk_slot(e, tag, r->level, prefix);
    *w = (struct walk_entry){
        .tag = tag, .prefix = prefix, .raw = r->raw, .place = r->place, .level = r->level,
        .next = {r->pte.address, r->pte.segment},
        .epoch = vram_epoch_get(e->gpu, r->pte.segment, r->pte.address)};
}

/* Starts at the lowest cached upper entry. */
static struct walk_result walk_cached(struct softgpu_engine *e, const struct softgpu_context *ctx,
                                      uint64_t va)
{
    struct softgpu *g = e->gpu;
    uint64_t tag = ctx->space->tag[e->node];
    uint32_t level = g->format.level_count - 1;
    struct pte_place table = root_of(ctx);
    for (uint32_t at = 1; at < g->format.level_count; at++) {
        uint64_t prefix = va >> g->level_shift[at];
        struct walk_entry *w = tlb_walk_slot(e, tag, at, prefix);
        if (w->tag != tag || w->level != at || w->prefix != prefix) continue;
        check_upper(e, ctx, w, va);
        table = w->next;
        level = at - 1;
        break;
    }
    struct walk_result r = read_level(g, ctx, va, level, table);
    while (level > 0 && r.pte.valid) {
        remember_upper(e, tag, va, &r);
        level--;
        r = read_level(g, ctx, va, level, (struct pte_place){r.pte.address, r.pte.segment});
    }
    return r;
}

static void tlb_store(struct softgpu_engine *e, struct tlb_entry *t, uint64_t tag, uint64_t page,
                      const struct walk_result *r)
{
    struct softgpu *owner = r->pte.valid && !r->pte.zero ? vram_owner(e->gpu, &r->pte) : NULL;
    *t = (struct tlb_entry){
        .tag = tag, .page = page, .raw = r->raw, .place = r->place, .pte = r->pte, .level = r->level,
        .epoch = owner != NULL ? vram_epoch_get(owner, r->pte.segment, r->pte.address) : 0};
}

/* Loads some neighbours of a leaf entry just read. An entry already there is kept, right or wrong. */
static void prefetch(struct softgpu_engine *e, const struct softgpu_context *ctx, uint64_t va,
                     const struct walk_result *leaf)
{
    struct softgpu *g = e->gpu;
    if (leaf->level != 0 || leaf->out_of_root) return;
    uint64_t tag = ctx->space->tag[e->node], random = tlb_random(e), page = va >> VIDMM_PAGE_SHIFT;
    uint64_t entries = 1ull << g->format.index_bits[0], index = page & (entries - 1);
    uint64_t before = random % GPU_PREFETCH_MAX, after = (random >> 8) % GPU_PREFETCH_MAX;
    uint64_t from = index > before ? index - before : 0, to = min_u64(index + after + 1, entries);
    for (uint64_t i = from; i < to; i++) {
        uint64_t other = page - index + i;
        if (i == index || tlb_find(e, tag, other) != NULL) continue;
        struct tlb_entry *t = tlb_slot(e, tag, other);
        if (t->tag != 0 && (random >> (i & 31) & 1) != 0) continue;
        struct walk_result r = {.place = leaf->place};
        r.place.offset += (i - index) * g->format.entry_bytes;
        if (!mmu_read_entry(g, r.place, &r.raw)) continue;
        r.pte = g->format.decode(0, r.raw);
        if (!r.pte.valid && !g->format.cache_invalid) continue;
        tlb_store(e, t, tag, other, &r);
        atomic_fetch_add_explicit(&e->prefetched, 1, memory_order_relaxed);
    }
}

static bool page_allow(struct softgpu_engine *e, const struct tlb_entry *t, uint64_t va,
                       enum access_kind kind, struct gpu_page *out)
{
    uint32_t code = 0;
    if (kind == ACCESS_WRITE && t->pte.read_only) code = SOFTGPU_ERROR_READ_ONLY;
    if (kind == ACCESS_FETCH && t->pte.no_execute) code = SOFTGPU_ERROR_NO_EXECUTE;
    if (!t->pte.valid) code = SOFTGPU_ERROR_NOT_PRESENT;
    *out = (struct gpu_page){.owner = vram_owner(e->gpu, &t->pte), .segment = t->pte.segment,
                             .address = t->pte.address};
    out->span = (struct devmem_span){NULL, VIDMM_PAGE_SIZE, DEVMEM_ZERO};
    bool resolve = code == 0 && !t->pte.zero;
    if (resolve && (out->owner == NULL || !vram_resolve(out->owner, t->pte.segment, t->pte.address,
                                                        VIDMM_PAGE_SIZE, &out->span)))
        code = SOFTGPU_ERROR_BAD_ADDRESS;
    if (code == 0) return true;
    fault_set(e, va, t->level, kind, code);
    bool system = code == SOFTGPU_ERROR_BAD_ADDRESS && t->pte.segment == 0;
    if (system && softgpu_frame(e->gpu, t->pte.address >> VIDMM_PAGE_SHIFT) == 0) /* the domain's word */
        e->fault.flags |= VIDMM_FAULT_IOMMU;
    return false;
}

bool mmu_translate(struct softgpu_engine *e, const struct softgpu_context *ctx, uint64_t va,
                   enum access_kind kind, struct gpu_page *out)
{
    struct softgpu *g = e->gpu;
    if (ctx->physical) return physical_translate(e, va, kind, out);
    if (ctx->pasid != 0) return shared_translate(e, va, kind == ACCESS_WRITE, out);
    uint64_t tag = ctx->space->tag[e->node], page = va >> VIDMM_PAGE_SHIFT;
    struct tlb_entry *t = tlb_find(e, tag, page);
    if (t != NULL) {
        atomic_fetch_add_explicit(&e->hits, 1, memory_order_relaxed);
        check_leaf(e, ctx, t, va, kind);
        return page_allow(e, t, va, kind, out);
    }
    atomic_fetch_add_explicit(&e->misses, 1, memory_order_relaxed);
    devmem_acquire();
    struct walk_result r = walk_cached(e, ctx, va);
    if (r.out_of_root) {
        fault_set(e, va, r.level, kind, SOFTGPU_ERROR_ROOT_RANGE);
        return false;
    }
    struct tlb_entry once, *slot = r.pte.valid || g->format.cache_invalid ? tlb_slot(e, tag, page) : &once;
    tlb_store(e, slot, tag, page, &r);
    bool allowed = page_allow(e, slot, va, kind, out);
    if (!atomic_load_explicit(&g->no_prefetch, memory_order_relaxed)) prefetch(e, ctx, va, &r);
    return allowed;
}
