/* SPDX-License-Identifier: MIT */
/* va.c — the GPU virtual address services: map, reserve, free.
 * Owns: the claims of application spaces (call-time truth). Calls: span, table.c, bind.c, request.c.
 * Keeps: invariants 1 and 18. A call decides who owns a range; what the GPU sees there changes when the
 * queued request executes, or at once when nothing is ahead of it. */
#include "core/core.h"

struct map_plan {
    struct range range;
    bool new_claim;
    uint64_t base_claim; /* start of the span chosen when new_claim */
};

/* The first part of the request at or after `at` that no later free has taken away; empty: none. */
struct range vmm_map_piece(const struct vmm_request *r, uint64_t at)
{
    struct range p = { at, r->range.end };
    const struct vmm_hole *h = r->holes;
    while (h != NULL && h->range.end <= p.start) h = h->next;
    if (h != NULL && h->range.start <= p.start) {
        p.start = min_u64(h->range.end, r->range.end);
        h = h->next;
    }
    if (h != NULL) p.end = min_u64(p.end, h->range.start);
    return p;
}

/* ---- decode: every check, no change ---- */

static vidmm_status check_protection(const struct vidmm_adapter *ad, uint64_t prot, bool open)
{
    uint64_t access = prot & (VIDMM_PROT_WRITE | VIDMM_PROT_EXECUTE);
    uint64_t none = prot & (VIDMM_PROT_ZERO | VIDMM_PROT_NO_ACCESS);
    if (prot & ~(access | none)) return VIDMM_INVALID; /* SystemUseOnly and undefined bits */
    if (none != 0 && (access != 0 || !is_pow2(none) || open)) return VIDMM_INVALID;
    if (none == 0 && !open) return VIDMM_INVALID;
    if (none == VIDMM_PROT_ZERO && !(ad->info.mmu_flags & VIDMM_MMU_ZERO_IN_PTE)) return VIDMM_INVALID;
    return VIDMM_OK;
}

/* May pages [shown) of an allocation, mapped with value `has`, be mapped as `asked` with `wants` too? */
static bool values_conflict(struct range shown, uint64_t has, struct range asked, uint64_t wants)
{
    return has != wants && ((has | wants) >> 63) && range_overlaps(shown, asked);
}

/* One mapping, done or queued: [va) shows the allocation from `offset` on with value `has`. */
struct shown { struct range va; uint64_t offset, has; };

static struct range part_of(const struct shown *s, struct range va)
{
    struct range r = range_intersect(s->va, va);
    return (struct range){ s->offset + (r.start - s->va.start), s->offset + (r.end - s->va.start) };
}

/* Of a plain mapping only what the new one at `at` leaves of it counts; a unique one must be ended first. */
static bool shown_conflicts(const struct shown *s, struct range at, struct range asked, uint64_t wants)
{
    if (s->has >> 63) return values_conflict(part_of(s, s->va), s->has, asked, wants);
    struct range low = { s->va.start, max_u64(s->va.start, min_u64(s->va.end, at.start)) };
    struct range high = { min_u64(s->va.end, max_u64(s->va.start, at.end)), s->va.end };
    return values_conflict(part_of(s, low), s->has, asked, wants) ||
           values_conflict(part_of(s, high), s->has, asked, wants);
}

/* A queued copy is going to read some of it. */
static bool copy_queued(const struct vmm_space *sp, struct range at)
{
    LIST_FOREACH(it, &sp->pending) {
        const struct vmm_request *r = list_entry(it, struct vmm_request, on_pending);
        if (!r->copy) continue;
        if (range_overlaps((struct range){ r->source, r->source + range_size(r->range) }, at)) return true;
    }
    return false;
}

/* Is a map queued in `sp` going to show the pages with another value? at: what the asked one replaces. */
static bool queued_conflicts(const struct vmm_space *sp, const struct vidmm_map *in, struct range at)
{
    struct range asked = { in->offset, in->offset + in->bytes };
    LIST_FOREACH(it, &sp->pending) {
        const struct vmm_request *r = list_entry(it, struct vmm_request, on_pending);
        if (r->open == NULL || r->open->al != in->open->al) continue;
        struct range p = vmm_map_piece(r, r->range.start);
        for (; p.start < p.end; p = vmm_map_piece(r, p.end)) {
            struct shown s = { p, r->offset + (p.start - r->range.start), r->driver_protection };
            if (shown_conflicts(&s, at, asked, in->driver_protection)) return true;
        }
    }
    return false;
}

/* Unique driver protection (bit 63, VA-36..38): no other address, in whatever process, may show the same
 * pages with another value. Where VidMm shows a pool to itself does not count. */
bool vmm_map_conflicts(const struct vmm_space *sp, const struct vidmm_map *in, struct range at)
{
    struct range asked = { in->offset, in->offset + in->bytes };
    uint64_t wants = in->driver_protection;
    if (!(wants >> 63) && in->open->al->unique == 0) return false;
    if (copy_queued(sp, at)) at.end = at.start; /* what is replaced there will still be shown elsewhere */
    LIST_FOREACH(it, &in->open->al->bindings) {
        const struct vmm_binding *b = list_entry(it, struct vmm_binding, on_alloc);
        if (b == b->open->pool[b->space->ad->gpu]) continue;
        struct shown s = { { b->node.key, b->end }, b->offset, b->driver_protection };
        if (shown_conflicts(&s, b->space == sp ? at : (struct range){ 0, 0 }, asked, wants)) return true;
    }
    LIST_FOREACH(it, &sp->ad->lead->processes) {
        SPACE_FOREACH(other, list_entry(it, struct vidmm_process, on_adapter)) {
            if (queued_conflicts(other, in, other == sp ? at : (struct range){ 0, 0 })) return true;
        }
    }
    return false;
}

/* [min, max) of a request in units of `unit`; an inclusive max is accepted (Q47). */
static struct range window(const struct vidmm_adapter *ad, uint64_t min, uint64_t max, uint64_t unit)
{
    uint64_t top = 1ull << ad->info.va_bits, hi = top;
    if (BROKEN(ad, VA_05)) min = max = 0;
    if (max != 0 && max < top) hi = align_down(max + 1, unit);
    if (min > top) min = top;
    return (struct range){ align_up(min, unit), hi };
}

/* For ranges that start off alignment: the index looks for room from an aligned address on, which asks for
 * `skew` bytes more than is needed. When that fails, gap by gap; exact, and rare. */
static bool pick_skewed(struct vmm_space *sp, struct range w, uint64_t bytes, uint64_t align, uint64_t skew,
                        uint64_t *va)
{
    uint64_t at = max_u64(w.start, VIDMM_VA_LOWEST), end;
    for (;;) {
        uint64_t start = align_down(at, align) + skew;
        if (start < at) start += align;
        if (!range_end(start, bytes, &end) || end > w.end) return false;
        const struct span *c = span_find_first(sp->claims, start);
        *va = start;
        if (c == NULL || c->start >= end) return true;
        at = c->end;
    }
}

/* Where VidMm puts a range of its own choice: start = skew modulo the alignment. */
static bool pick(struct vmm_space *sp, struct range w, uint64_t bytes, uint64_t align, uint64_t skew,
                 uint64_t *va)
{
    struct span_want want = { bytes + skew, align, w.start, w.end, SPAN_UP };
    bool rooted = sp->ad->info.level_count == 2 && sp->tables.root != NULL;
    if (rooted) { /* below what the root covers, if there is room */
        want.max = min_u64(w.end, (uint64_t)vmm_tables_coverage(sp) << sp->ad->shift[1]);
        if (want.max > want.min && span_fit(sp->claims, &want, va)) {
            *va += skew;
            return true;
        }
        want.max = w.end;
    }
    if (!span_fit(sp->claims, &want, va)) return skew != 0 && pick_skewed(sp, w, bytes, align, skew, va);
    *va += skew;
    return true;
}

/* IOM-11, Q27: there is no GPU address space to manage in the IoMmu model. q NULL: asked of the adapter. */
static bool has_addresses(const struct vidmm_process *p, const struct vidmm_queue *q)
{
    bool model = q == NULL || q->dev->model != VIDMM_MODEL_IOMMU || BROKEN(p->ad, IOM_01);
    return (q != NULL ? p->on[q->ad->gpu]->tables.root != NULL : vmm_has_tables(p)) && model;
}

static vidmm_status decode_base(struct vmm_space *sp, uint64_t base, uint64_t bytes, bool unbacked,
                                struct map_plan *plan)
{
    uint64_t end, top = 1ull << sp->ad->info.va_bits;
    if (!is_aligned(base, VIDMM_PAGE_SIZE) || base < VIDMM_VA_LOWEST) return VIDMM_INVALID;
    if (!range_end(base, bytes, &end) || end > top) return VIDMM_INVALID;
    plan->range = (struct range){ base, end };
    plan->new_claim = span_is_free(sp->claims, base, end);
    if (plan->new_claim) return VIDMM_OK;
    const struct span *c = span_find(sp->claims, base);
    if (c == NULL || end > c->end) return VIDMM_INVALID; /* a mix of free and owned, or of two ranges */
    uint32_t kind = c->kind & CLAIM_KIND;
    if (kind == CLAIM_INTERNAL || (unbacked && kind != CLAIM_RESERVE)) return VIDMM_INVALID;
    return VIDMM_OK;
}

static vidmm_status decode_map(const struct vidmm_queue *q, const struct vidmm_map *in, struct map_plan *plan)
{
    struct vidmm_adapter *ad = q->ad;
    struct vmm_space *sp = q->dev->proc->on[ad->gpu];
    uint64_t end;
    if (q->dev->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if (!has_addresses(q->dev->proc, q)) return VIDMM_NOT_SUPPORTED;
    if (q->dying || check_protection(ad, in->protection, in->open != NULL) != VIDMM_OK) return VIDMM_INVALID;
    if (in->bytes == 0 || !is_aligned(in->bytes | in->offset, VIDMM_PAGE_SIZE)) return VIDMM_INVALID;
    if (!range_end(in->offset, in->bytes, &end)) return VIDMM_INVALID;
    if (in->open == NULL && in->bytes >> VIDMM_PAGE_SHIFT > VIDMM_ALLOC_PAGES_MAX) return VIDMM_LIMIT;
    if (in->open != NULL) {
        if (in->open->dev != q->dev || in->open->dying || end > vmm_alloc_bytes(in->open->al))
            return VIDMM_INVALID;
        if (in->open->read_only && (in->protection & VIDMM_PROT_WRITE)) return VIDMM_ACCESS_DENIED;
        if (BROKEN(ad, VA_08) && !is_aligned(in->bytes, in->open->al->align)) return VIDMM_INVALID;
        if (BROKEN(ad, ALC_04) && in->open->locks > 0 && in->base != 0) return VIDMM_INVALID;
    }
    uint64_t base = in->base;
    if (BROKEN(ad, VA_03)) base = 0;
    if (BROKEN(ad, ALC_07) && base == 0) base = q->dev->proc->last_pick;
    if (base != 0) {
        vidmm_status st = decode_base(sp, base, in->bytes, in->open == NULL, plan);
        if (st != VIDMM_OK) return st;
    } else {
        uint64_t align = in->open != NULL ? in->open->al->align : VIDMM_PAGE_SIZE, va;
        struct range w = window(ad, in->min, in->max, VIDMM_PAGE_SIZE);
        if (BROKEN(ad, VA_04)) return VIDMM_INVALID;
        if (!range_end(in->bytes, align, &end)) return VIDMM_INVALID;
        if (!pick(sp, w, in->bytes, align, in->offset & (align - 1), &va)) return VIDMM_NO_VIDEO_MEMORY;
        plan->range = (struct range){ va, va + in->bytes };
        plan->new_claim = true;
    }
    if (in->open != NULL && vmm_map_conflicts(sp, in, plan->range)) return VIDMM_INVALID;
    return VIDMM_OK;
}

/* ---- reserve: all memory, or nothing ---- */

static vidmm_status take_new_leaves(struct vmm_space *sp, struct vmm_request *r, uint64_t from)
{
    struct vidmm_adapter *ad = sp->ad;
    uint32_t shift = ad->shift[1];
    uint64_t need = ((r->range.end - 1) >> shift) + 1;
    r->new_root = vmm_table_new(sp, 1, (uint32_t)need);
    if (r->new_root == NULL) return VIDMM_NO_MEMORY;
    for (uint64_t i = from >> shift; i < need; i++) {
        struct vmm_table *leaf = vmm_table_new(sp, 0, 1u << ad->info.level[0].index_bits);
        if (leaf == NULL) return VIDMM_NO_MEMORY;
        leaf->index = (uint32_t)i & 0xffffff;
        list_push_back(&r->new_leaves, &leaf->limbo);
        if (vmm_gpu_writes(ad) && !vmm_privileged_show(sp, i << shift)) return VIDMM_NO_MEMORY;
    }
    return VIDMM_OK;
}

/* Tables for the whole range: linked and pinned where the root reaches, ready to be linked beyond it. */
vidmm_status vmm_map_take_tables(struct vmm_space *sp, struct vmm_request *r)
{
    uint64_t covered = (uint64_t)vmm_tables_coverage(sp) << sp->ad->shift[sp->ad->info.level_count - 1];
    uint64_t end = min_u64(r->range.end, max_u64(covered, r->range.start));
    vidmm_status st = VIDMM_OK;
    if (BROKEN(sp->ad, ADP_07) && r->range.end > covered) return VIDMM_OK;
    if (r->range.end > covered) st = take_new_leaves(sp, r, end);
    if (st == VIDMM_OK && end > r->range.start)
        st = vmm_tables_acquire(sp, (struct range){ r->range.start, end });
    if (st == VIDMM_OK) r->pinned_end = end;
    return st;
}

/* Two bindings: what one piece of a map may need. */
bool vmm_map_add_spares(struct vidmm_adapter *ad, struct list *spares)
{
    for (int i = 0; i < 2; i++) {
        struct vmm_binding *b = vmm_new(ad, sizeof *b);
        if (b == NULL) return false;
        list_push_back(spares, &b->on_alloc);
    }
    return true;
}

static void give_spares(struct vidmm_adapter *ad, struct list *spares)
{
    for (struct list *l = list_pop_front(spares); l != NULL; l = list_pop_front(spares))
        vmm_delete(ad, list_entry(l, struct vmm_binding, on_alloc), sizeof(struct vmm_binding));
}

/* The request is complete in itself afterwards: vmm_request_free gives everything back. */
static vidmm_status reserve_map(struct vidmm_queue *q, struct range range, bool unmap,
                                struct vmm_request **out)
{
    struct vidmm_adapter *ad = q->ad;
    struct vmm_space *sp = q->dev->proc->on[ad->gpu];
    struct vmm_request *r = vmm_request_new(q, REQ_MAP);
    if (r == NULL) return VIDMM_NO_MEMORY;
    r->range = range;
    r->pinned_end = range.start;
    r->unmap = unmap;
    bool ok = vmm_claims_reserve(sp) && vmm_map_add_spares(ad, &r->spares);
    vidmm_status st = ok ? VIDMM_OK : VIDMM_NO_MEMORY;
    if (st == VIDMM_OK && !unmap) st = vmm_map_take_tables(sp, r);
    if (st != VIDMM_OK) {
        vmm_request_free(r);
        return st;
    }
    *out = r;
    return VIDMM_OK;
}

void vmm_map_pend(struct vmm_request *r)
{
    struct vmm_space *sp = r->space;
    list_push_back(&sp->pending, &r->on_pending);
    sp->pending_count++;
    if (r->open == NULL) return;
    if (r->update == NULL) r->open->pending++;
    else r->open->holds++;
    r->open->al->unique += (uint32_t)(r->driver_protection >> 63);
}

void vmm_map_unpend(struct vmm_request *r)
{
    list_remove(&r->on_pending);
    r->space->pending_count--;
    if (r->open == NULL) return;
    if (r->update == NULL) r->open->pending--;
    else if (--r->open->holds == 0) r->open->pinned = false;
    r->open->al->unique -= (uint32_t)(r->driver_protection >> 63);
}

void vmm_map_drop(struct vmm_request *r)
{
    struct vmm_space *sp = r->space;
    struct vidmm_adapter *ad = sp->ad;
    if (list_is_linked(&r->on_pending)) vmm_map_unpend(r);
    if (!r->executed && r->pinned_end > r->range.start)
        vmm_tables_release(sp, (struct range){ r->range.start, r->pinned_end }, false);
    LIST_FOREACH_SAFE(it, tmp, &r->new_leaves) {
        struct vmm_table *leaf = list_entry(it, struct vmm_table, limbo);
        list_remove(&leaf->limbo);
        sp->tables.count--;
        vmm_table_free(ad, leaf);
    }
    if (r->new_root != NULL) {
        sp->tables.count--;
        vmm_table_free(ad, r->new_root);
    }
    while (r->holes != NULL) {
        struct vmm_hole *h = r->holes;
        r->holes = h->next;
        vmm_delete(ad, h, sizeof *h);
    }
    give_spares(ad, &r->spares);
}

/* ---- commit and execution ---- */

/* Updates of a reservation inherit what was given to it (VA-40). */
static void keep_protection(struct span *claim, uint64_t driver_protection)
{
    _Static_assert(sizeof(uintptr_t) == sizeof(uint64_t), "the owner of a span has room for a protection");
    claim->owner = (void *)(uintptr_t)driver_protection;
}

static uint64_t commit_map(struct vmm_request *r, bool new_claim, uint32_t kind)
{
    struct vmm_space *sp = r->space;
    if (new_claim) {
        struct span *c = span_insert(sp->claims, r->range.start, r->range.end);
        CHECK(c != NULL);
        c->kind = kind;
        if (kind != CLAIM_MAP) keep_protection(c, r->driver_protection);
    }
    r->new_claim = new_claim;
    vmm_map_pend(r);
    return vmm_request_enqueue(r);
}

struct vmm_binding *vmm_map_take_spare(struct vmm_request *r)
{
    struct list *l = list_pop_front(&r->spares);
    CHECK(l != NULL);
    return list_entry(l, struct vmm_binding, on_alloc);
}

static void keep_spare(struct vmm_request *r, struct vmm_binding *b)
{
    if (b != NULL) list_push_front(&r->spares, &b->on_alloc);
}

static void bind_piece(struct vmm_request *r, struct range p)
{
    struct vmm_space *sp = r->space;
    if (r->unmap) {
        struct vmm_binding *extra = vmm_map_take_spare(r);
        vmm_bind_clear(sp, p, &extra);
        keep_spare(r, extra);
        return;
    }
    struct vmm_binding *b = vmm_map_take_spare(r), *spare[2] = { vmm_map_take_spare(r), NULL };
    b->target = r->target;
    b->prot = r->prot;
    b->open = r->open;
    b->offset = r->offset + (p.start - r->range.start);
    b->driver_protection = r->driver_protection;
    vmm_bind_replace(sp, p, b, spare);
    keep_spare(r, spare[0]);
}

bool vmm_map_root_ready(struct vmm_space *sp, struct vmm_request *r)
{
    if (r->new_root != NULL) {
        struct vmm_table *root = r->new_root;
        r->new_root = NULL;
        vmm_space_offer_root(sp, root);
    }
    if (list_empty(&r->new_leaves)) return true;
    uint64_t covered = (uint64_t)vmm_tables_coverage(sp) << sp->ad->shift[1];
    if (covered < r->range.end) {
        vmm_space_root_step(sp);
        covered = (uint64_t)vmm_tables_coverage(sp) << sp->ad->shift[1];
    }
    if (covered < r->range.end) return false;
    LIST_FOREACH_SAFE(it, tmp, &r->new_leaves) {
        struct vmm_table *leaf = list_entry(it, struct vmm_table, limbo);
        uint64_t start = (uint64_t)leaf->index << sp->ad->shift[1], end = start + (1ull << sp->ad->shift[1]);
        struct range part = range_intersect(r->range, (struct range){ start, end });
        list_remove(&leaf->limbo);
        vmm_leaf_attach(sp, leaf, (uint32_t)(range_size(part) >> VIDMM_PAGE_SHIFT));
    }
    r->pinned_end = r->range.end;
    return true;
}

/* Tables that were acquired for pages a later free has taken away. */
static void release_hole(struct vmm_request *r, struct range hole)
{
    struct range held = range_intersect(hole, (struct range){ r->range.start, r->pinned_end });
    if (!range_is_empty(held)) vmm_tables_release(r->space, held, false);
}

bool vmm_map_execute(struct vmm_request *r)
{
    struct vmm_space *sp = r->space;
    if (!vmm_map_root_ready(sp, r)) return false;
    uint64_t at = r->range.start; /* tables of [at, pinned_end) are still held for this request */
    for (const struct vmm_hole *h = r->holes; at < r->range.end; h = h->next) {
        struct range p = { at, h != NULL ? h->range.start : r->range.end };
        if (BROKEN(sp->ad, ADP_07) && !r->unmap && r->pinned_end < p.end) break;
        if (p.start < p.end) bind_piece(r, p);
        at = p.end;
        if (h == NULL) break;
        if (!r->unmap) release_hole(r, h->range);
        at = h->range.end;
    }
    vmm_map_unpend(r);
    if (!r->unmap && r->pinned_end > at) vmm_tables_release(sp, (struct range){ at, r->pinned_end }, false);
    r->pinned_end = r->range.start;
    vmm_waits_add(&r->waits, sp);
    return true;
}

/* ---- the services ---- */

void vmm_choose_instance(const struct vidmm_adapter *ad, struct vidmm_open **open, uint64_t *offset)
{
    while (*open != NULL && (*open)->next != NULL && *offset >= vmm_alloc_bytes((*open)->al)) {
        *offset -= vmm_alloc_bytes((*open)->al);
        if (BROKEN(ad, LDA_03)) continue;
        *open = (*open)->next;
    }
}

vidmm_status vidmm_va_map(struct vidmm_queue *q, const struct vidmm_map *asked, uint64_t *va, uint64_t *value)
{
    struct vidmm_adapter *ad = q->ad;
    struct vidmm_map chosen = *asked;
    const struct vidmm_map *in = &chosen;
    struct map_plan plan;
    struct vmm_request *r;
    vmm_choose_instance(ad, &chosen.open, &chosen.offset);
    vidmm_status st = decode_map(q, in, &plan);
    if (st != VIDMM_OK) return st;
    st = reserve_map(q, plan.range, (in->protection & VIDMM_PROT_NO_ACCESS) != 0, &r);
    if (st != VIDMM_OK) return st;
    r->target = in->protection & VIDMM_PROT_ZERO ? TARGET_ZERO : TARGET_ALLOC;
    r->prot = (uint8_t)in->protection;
    r->open = in->open;
    r->offset = in->open != NULL ? in->offset : 0;
    r->driver_protection = in->driver_protection;
    *va = plan.range.start;
    q->dev->proc->last_pick = plan.range.start;
    *value = commit_map(r, plan.new_claim, CLAIM_MAP);
    ad->counters->maps++;
    if (BROKEN(ad, RES_01) && in->open != NULL && in->open->resident == 0) {
        uint64_t v, trim;
        vidmm_make_resident(q, &(struct vidmm_open *){ in->open }, 1, 0, &v, &trim);
        *value = max_u64(*value, v);
    }
    return *value != 0 ? VIDMM_PENDING : VIDMM_OK;
}

static vidmm_status decode_reserve(struct vidmm_process *p, const struct vidmm_queue *q,
                                   const struct vidmm_reserve *in, struct range *out)
{
    struct vmm_space *sp = &p->space;
    uint64_t end, va = in->base;
    if (q != NULL && (q->dev->proc != p || q->dying)) return VIDMM_INVALID;
    if (p->ad->removed || (q != NULL && q->dev->state != VIDMM_DEVICE_ACTIVE)) return VIDMM_DEVICE_LOST;
    if (!has_addresses(p, q) && !BROKEN(p->ad, IOM_10)) return VIDMM_NOT_SUPPORTED;
    if (in->type > VIDMM_RESERVE_ZERO || (in->type == VIDMM_RESERVE_ZERO && q == NULL)) return VIDMM_INVALID;
    if (in->type == VIDMM_RESERVE_ZERO && !(q->ad->info.mmu_flags & VIDMM_MMU_ZERO_IN_PTE))
        return VIDMM_INVALID;
    if (in->bytes == 0 || !is_aligned(in->bytes | in->base, VIDMM_PAGE_64K)) return VIDMM_INVALID;
    bool tables = in->type == VIDMM_RESERVE_ZERO; /* zero pages need entries; a plain range is O(1) */
    if (tables && in->bytes >> VIDMM_PAGE_SHIFT > VIDMM_ALLOC_PAGES_MAX) return VIDMM_LIMIT;
    if (va == 0) {
        struct range w = window(p->ad, in->min, in->max, VIDMM_PAGE_64K);
        if (in->bytes > 1ull << p->ad->info.va_bits) return VIDMM_NO_VIDEO_MEMORY;
        if (!pick(sp, w, in->bytes, VIDMM_PAGE_64K, 0, &va)) return VIDMM_NO_VIDEO_MEMORY;
    }
    if (va < VIDMM_VA_LOWEST || !range_end(va, in->bytes, &end)) return VIDMM_INVALID;
    if (end > 1ull << p->ad->info.va_bits || !span_is_free(sp->claims, va, end)) return VIDMM_INVALID;
    *out = (struct range){ va, end };
    return VIDMM_OK;
}

static vidmm_status reserve_range(struct vidmm_process *p, struct vidmm_queue *q, struct range range,
                                  const struct vidmm_reserve *in, uint64_t *value)
{
    struct vmm_space *sp = &p->space;
    if (in->type == VIDMM_RESERVE_ZERO) {
        struct vmm_request *r;
        vidmm_status st = reserve_map(q, range, false, &r);
        if (st != VIDMM_OK) return st;
        r->target = TARGET_ZERO;
        r->driver_protection = in->driver_protection;
        *value = commit_map(r, true, CLAIM_RESERVE | CLAIM_ZERO << q->ad->gpu);
        return VIDMM_OK;
    }
    if (!vmm_claims_reserve(sp)) return VIDMM_NO_MEMORY;
    struct span *c = span_insert(sp->claims, range.start, range.end);
    CHECK(c != NULL);
    c->kind = CLAIM_RESERVE;
    keep_protection(c, in->driver_protection);
    *value = 0;
    return VIDMM_OK;
}

vidmm_status vidmm_va_reserve(struct vidmm_process *p, struct vidmm_queue *q, const struct vidmm_reserve *in,
                              uint64_t *va, uint64_t *value)
{
    struct range range;
    bool first = vidmm_process_space_count(p) == 1;
    vidmm_status st = decode_reserve(p, q, in, &range);
    if (st == VIDMM_OK && first) st = vmm_privileged_make(p);
    if (st != VIDMM_OK) return st;
    st = reserve_range(p, q, range, in, value);
    if (st != VIDMM_OK) {
        if (first) vmm_privileged_free(p);
        return st;
    }
    *va = range.start;
    p->ad->counters->reserves++;
    return *value != 0 ? VIDMM_PENDING : VIDMM_OK;
}

/* ---- free ---- */

static bool all_owned(struct vmm_space *sp, struct range r)
{
    uint64_t at = r.start;
    for (const struct span *c = span_find(sp->claims, at); c != NULL && at < r.end;) {
        if (c->start > at || (c->kind & CLAIM_KIND) == CLAIM_INTERNAL) return false;
        at = c->end;
        if (at < r.end) c = span_next(sp->claims, c);
    }
    return at >= r.end;
}

/* Of one space. */
struct free_stock { struct vmm_binding *spare; struct vmm_hole *holes; struct list spares; };

static void give_stock(struct vidmm_adapter *ad, struct free_stock *s)
{
    vmm_delete(ad, s->spare, sizeof *s->spare);
    give_spares(ad, &s->spares);
    while (s->holes != NULL) {
        struct vmm_hole *h = s->holes;
        s->holes = h->next;
        vmm_delete(ad, h, sizeof *h);
    }
}

static bool add_hole(struct vidmm_adapter *ad, struct free_stock *s)
{
    struct vmm_hole *h = vmm_new(ad, sizeof *h);
    if (h == NULL) return false;
    h->next = s->holes;
    s->holes = h;
    return vmm_map_add_spares(ad, &s->spares);
}

static struct range hit_target(const struct vmm_request *q, struct range freed)
{
    return range_intersect(q->range, freed);
}

/* Pages of a copy's target whose source goes: nothing is copied there (TIL-28). */
static struct range hit_source(const struct vmm_request *q, struct range freed)
{
    if (!q->copy) return (struct range){ 0, 0 };
    struct range s = range_intersect((struct range){ q->source, q->source + range_size(q->range) }, freed);
    if (range_is_empty(s)) return s;
    return (struct range){ q->range.start + (s.start - q->source), q->range.start + (s.end - q->source) };
}

/* What a free may need: a binding for one that is cut in two, and a hole for each queued map it hits. */
static vidmm_status take_stock(struct vmm_space *sp, struct range r, struct free_stock *s)
{
    struct tree_node *n = tree_floor(&sp->bindings, r.start);
    bool cut = n != NULL && n->key < r.start && tree_entry(n, struct vmm_binding, node)->end > r.end;
    bool ok = vmm_claims_reserve(sp);
    s->spare = NULL;
    s->holes = NULL;
    list_init(&s->spares);
    if (ok && cut) {
        s->spare = vmm_new(sp->ad, sizeof *s->spare);
        ok = s->spare != NULL;
    }
    LIST_FOREACH(it, &sp->pending) {
        const struct vmm_request *q = list_entry(it, struct vmm_request, on_pending);
        if (ok && !range_is_empty(hit_target(q, r))) ok = add_hole(sp->ad, s);
        if (ok && !range_is_empty(hit_source(q, r))) ok = add_hole(sp->ad, s);
    }
    if (ok) return VIDMM_OK;
    give_stock(sp->ad, s);
    return VIDMM_NO_MEMORY;
}

static vidmm_status take_stocks(struct vidmm_process *p, struct range r, struct free_stock *stock)
{
    SPACE_FOREACH(sp, p) {
        uint32_t taken = sp->ad->gpu;
        vidmm_status st = take_stock(sp, r, &stock[taken]);
        while (st != VIDMM_OK && taken > 0) give_stock(p->ad, &stock[--taken]);
        if (st != VIDMM_OK) return st;
    }
    return VIDMM_OK;
}

/* Into the list by address; holes that touch become one. */
static void insert_hole(struct vidmm_adapter *ad, struct vmm_request *r, struct vmm_hole *h)
{
    struct vmm_hole **at = &r->holes;
    while (*at != NULL && (*at)->range.end < h->range.start) at = &(*at)->next;
    while (*at != NULL && (*at)->range.start <= h->range.end) {
        struct vmm_hole *old = *at;
        h->range.start = min_u64(h->range.start, old->range.start);
        h->range.end = max_u64(h->range.end, old->range.end);
        *at = old->next;
        vmm_delete(ad, old, sizeof *old);
    }
    h->next = *at;
    *at = h;
}

static void void_part(struct vmm_request *q, struct range hit, struct free_stock *s)
{
    if (range_is_empty(hit)) return;
    struct vmm_hole *h = s->holes;
    s->holes = h->next;
    h->range = hit;
    for (int i = 0; i < 2; i++) list_push_back(&q->spares, list_pop_front(&s->spares));
    insert_hole(q->space->ad, q, h);
}

static void void_pending(struct vmm_space *sp, struct range r, struct free_stock *s)
{
    LIST_FOREACH(it, &sp->pending) {
        struct vmm_request *q = list_entry(it, struct vmm_request, on_pending);
        void_part(q, hit_target(q, r), s);
        void_part(q, hit_source(q, r), s);
    }
}

static void cut_claims(struct vmm_space *sp, struct range r)
{
    struct span *c = span_find_first(sp->claims, r.start);
    while (c != NULL && c->start < r.end) {
        struct range cut = range_intersect(r, (struct range){ c->start, c->end });
        struct span_halves halves;
        bool ok = span_cut(sp->claims, c, cut.start, cut.end, &halves);
        CHECK(ok);
        c = span_find_first(sp->claims, cut.end);
    }
}

static void break_cpu_content(struct vmm_space *sp, struct range r)
{
    struct tree_node *n = tree_floor(&sp->bindings, r.start);
    struct vmm_binding *b = n != NULL ? tree_entry(n, struct vmm_binding, node) : NULL;
    if (b == NULL || b->target != TARGET_ALLOC) return;
    sp->ad->platform->sys_discard(sp->ad->platform->ctx, b->open->al->home, b->open->al->pages);
}

vidmm_status vidmm_va_free(struct vidmm_process *p, uint64_t base, uint64_t bytes)
{
    struct vmm_space *sp = &p->space;
    struct free_stock stock[VIDMM_GPUS_MAX];
    struct range r = { base, 0 };
    if (BROKEN(p->ad, VA_01) || !has_addresses(p, NULL)) return VIDMM_NOT_SUPPORTED;
    if (bytes == 0 || !is_aligned(base | bytes, VIDMM_PAGE_SIZE)) return VIDMM_INVALID;
    if (!range_end(base, bytes, &r.end) || !all_owned(sp, r)) return VIDMM_INVALID;
    vidmm_status st = take_stocks(p, r, stock);
    if (st != VIDMM_OK) return st;
    if (BROKEN(p->ad, VA_13)) break_cpu_content(sp, r);
    if (!BROKEN(p->ad, VA_10)) cut_claims(sp, r);
    SPACE_FOREACH(on, p) { /* LDA-11 */
        struct free_stock *s = &stock[on->ad->gpu];
        void_pending(on, r, s);
        vmm_bind_clear(on, r, &s->spare);
        vmm_space_shrink(on);
        give_stock(p->ad, s);
    }
    p->ad->counters->frees++;
    return VIDMM_OK;
}

/* Whoever has the pages [p) keeps them: what is left of part in front of or behind them. */
static void keep_pages(struct range *part, struct range p)
{
    if (p.start >= p.end || p.start >= part->end) return;
    if (p.start <= part->start) part->start = min_u64(max_u64(p.end, part->start), part->end);
    else part->end = min_u64(part->end, p.start);
}

static void keep_pending(const struct vmm_space *sp, struct range *part)
{
    LIST_FOREACH(it, &sp->pending) {
        const struct vmm_request *q = list_entry(it, struct vmm_request, on_pending);
        if (!range_overlaps(q->range, *part)) continue;
        keep_pages(part, vmm_map_piece(q, max_u64(q->range.start, part->start)));
    }
}

static void keep_bound(const struct vmm_space *sp, struct range *part)
{
    struct tree_node *n = tree_floor(&sp->bindings, part->start);
    if (n == NULL || tree_entry(n, struct vmm_binding, node)->end <= part->start)
        n = tree_ceil(&sp->bindings, part->start);
    if (n != NULL) keep_pages(part, (struct range){ n->key, tree_entry(n, struct vmm_binding, node)->end });
}

/* Pages in MAP ranges where sp shows nothing any more: free, but for those that a queued map is going to
 * bind, or where another gpu shows something. */
void vmm_claims_release(struct vmm_space *sp, struct range r)
{
    for (uint64_t at = r.start; at < r.end;) {
        struct range part = { at, r.end };
        SPACE_FOREACH(on, sp->proc) {
            if (on->claims != sp->claims) continue; /* of the privileged space: nobody else's */
            keep_pending(on, &part);
            if (on != sp) keep_bound(on, &part);
        }
        if (part.start < part.end && part.start == at) cut_claims(sp, part);
        at = part.start == at ? part.end : part.start;
    }
}

/* Each thing that ends by itself later may cut a claim in two. */
bool vmm_claims_reserve(struct vmm_space *sp)
{
    uint64_t cuts = 4;
    SPACE_FOREACH(on, sp->proc) cuts += (uint64_t)on->binding_count + on->pending_count;
    return span_reserve(sp->claims, cuts);
}

static void release_unbound(struct vmm_space *sp, struct range p)
{
    uint64_t at = p.start;
    struct tree_node *n = tree_floor(&sp->bindings, at);
    for (n = n != NULL ? n : tree_ceil(&sp->bindings, at); at < p.end; n = tree_next(n)) {
        struct range gap = { at, n == NULL ? p.end : min_u64(n->key, p.end) };
        if (gap.start < gap.end) vmm_claims_release(sp, gap);
        if (n == NULL) break;
        at = max_u64(at, tree_entry(n, struct vmm_binding, node)->end);
    }
}

void vmm_map_cancel(struct vmm_request *r)
{
    struct vmm_space *sp = r->space;
    if (r->executed || !r->new_claim) return;
    vmm_map_unpend(r);
    for (struct range p = vmm_map_piece(r, r->range.start); p.start < p.end; p = vmm_map_piece(r, p.end))
        release_unbound(sp, p);
}

/* The client knows the first instance only. After a close that may be gone before the others. */
static struct vidmm_open *known_open(struct vidmm_open *op)
{
    LIST_FOREACH(it, &op->dev->opens) {
        struct vidmm_open *other = list_entry(it, struct vidmm_open, on_device);
        if (other->al->block == op->al->block) return other;
    }
    return op;
}

static void describe(const struct vmm_binding *b, uint64_t va, struct vidmm_va_info *out)
{
    out->bound = true;
    out->open = b->open;
    out->offset = b->offset + (b->target == TARGET_ALLOC ? va - b->node.key : 0);
    if (b->open == NULL || b->open->al->block == NULL) return;
    out->open = known_open(b->open);
    out->offset += b->open->al->ad->gpu * vmm_alloc_bytes(b->open->al);
}

vidmm_status vidmm_va_query_on(struct vidmm_process *p, uint32_t gpu, uint64_t va, struct vidmm_va_info *out)
{
    const struct span *c = span_find(p->space.claims, va);
    if (gpu >= p->ad->gpu_count || c == NULL || (c->kind & CLAIM_KIND) == CLAIM_INTERNAL)
        return VIDMM_INVALID;
    struct tree_node *n = tree_floor(&p->on[gpu]->bindings, va);
    const struct vmm_binding *b = n != NULL ? tree_entry(n, struct vmm_binding, node) : NULL;
    *out = (struct vidmm_va_info){ .start = c->start, .end = c->end,
                                   .reserved = (c->kind & CLAIM_KIND) == CLAIM_RESERVE };
    if (b != NULL && b->end > va) describe(b, va, out);
    return VIDMM_OK;
}

vidmm_status vidmm_va_query(struct vidmm_process *p, uint64_t va, struct vidmm_va_info *out)
{
    return vidmm_va_query_on(p, 0, va, out);
}
