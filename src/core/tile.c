/* SPDX-License-Identifier: MIT */
/* tile.c — UpdateGpuVirtualAddress: what a call may ask for, and the memory that it needs.
 * Owns: nothing that outlives the call; an accepted update is companion.c's. Calls: va.c, privileged.c,
 * companion.c. Each operation becomes one or more parts, which are map requests without a paging queue: frees
 * find them among the queued maps of the space and leave holes in them (TIL-28). */
#include "core/core.h"

struct update_call {
    struct vidmm_context *ctx;
    struct vidmm_fence *fence;
    const struct vidmm_tile_op *op;
    uint32_t n, parts;
    uint64_t copies; /* pages */
    uint64_t value, mark;
    bool no_wait;
    const struct span *target, *source; /* the reservations, as far as known */
};

static struct vmm_space *space_of(const struct update_call *c)
{
    return c->ctx->dev->proc->on[c->ctx->ad->gpu];
}

static bool maps(const struct vidmm_tile_op *op)
{
    return op->type == VIDMM_TILE_MAP || op->type == VIDMM_TILE_MAP_PROTECT;
}

/* With the instance that its offset selects (Q29). */
static struct vidmm_tile_op op_of(const struct update_call *c, uint32_t i)
{
    struct vidmm_tile_op op = c->op[i];
    if (maps(&op)) vmm_choose_instance(c->ctx->ad, &op.open, &op.offset);
    return op;
}

/* ---- decode ---- */

static vidmm_status in_reservation(struct vmm_space *sp, uint64_t base, uint64_t bytes,
                                   const struct span **one)
{
    uint64_t end;
    if (bytes == 0 || !is_aligned(base | bytes, VIDMM_PAGE_SIZE) || !range_end(base, bytes, &end))
        return VIDMM_INVALID; /* TIL-20 */
    const struct span *c = span_find(sp->claims, base);
    if (c == NULL || (c->kind & CLAIM_KIND) != CLAIM_RESERVE || end > c->end) return VIDMM_INVALID;
    if (*one != NULL && *one != c) return VIDMM_INVALID; /* TIL-17 */
    *one = c;
    return VIDMM_OK;
}

static vidmm_status decode_unmap(const struct update_call *c, const struct vidmm_tile_op *op)
{
    bool zero = op->protection == VIDMM_PROT_ZERO;
    if (!zero && op->protection != VIDMM_PROT_NO_ACCESS) return VIDMM_INVALID;
    if (zero && !(space_of(c)->ad->info.mmu_flags & VIDMM_MMU_ZERO_IN_PTE)) return VIDMM_INVALID;
    return VIDMM_OK;
}

static vidmm_status decode_map(struct update_call *c, const struct vidmm_tile_op *op)
{
    uint64_t shown = op->open_bytes != 0 ? op->open_bytes : op->bytes, end;
    if (op->open == NULL || op->open->dev != c->ctx->dev || op->open->dying) return VIDMM_INVALID;
    if (op->protection & ~(uint64_t)(VIDMM_PROT_WRITE | VIDMM_PROT_EXECUTE)) return VIDMM_INVALID;
    if (op->type == VIDMM_TILE_MAP && (op->protection | op->driver_protection) != 0) return VIDMM_INVALID;
    if (!is_aligned(op->offset | shown, VIDMM_PAGE_SIZE) || shown > op->bytes || op->bytes % shown != 0)
        return VIDMM_INVALID; /* TIL-21 */
    if (!range_end(op->offset, shown, &end) || end > vmm_alloc_bytes(op->open->al)) return VIDMM_INVALID;
    if (op->bytes / shown - 1 > VIDMM_LIST_MAX - c->parts) return VIDMM_LIMIT;
    c->parts += (uint32_t)(op->bytes / shown) - 1;
    return VIDMM_OK;
}

static vidmm_status decode_op(struct update_call *c, const struct vidmm_tile_op *op)
{
    vidmm_status st = in_reservation(space_of(c), op->base, op->bytes, &c->target);
    if (st != VIDMM_OK) return st;
    if (op->bytes >> VIDMM_PAGE_SHIFT > VIDMM_ALLOC_PAGES_MAX || c->parts == VIDMM_LIST_MAX)
        return VIDMM_LIMIT;
    c->parts++;
    switch (op->type) {
    case VIDMM_TILE_MAP:
    case VIDMM_TILE_MAP_PROTECT: return decode_map(c, op);
    case VIDMM_TILE_UNMAP: return decode_unmap(c, op);
    case VIDMM_TILE_COPY:
        c->copies += op->bytes >> VIDMM_PAGE_SHIFT;
        if (c->copies > VIDMM_COPY_PAGES_MAX) return VIDMM_LIMIT; /* of the call: each page takes memory */
        return in_reservation(space_of(c), op->source, op->bytes, &c->source);
    default: return VIDMM_INVALID;
    }
}

static vidmm_status decode_fence(const struct update_call *c)
{
    const struct vidmm_fence *f = c->fence;
    if (f == NULL) return c->no_wait ? VIDMM_OK : VIDMM_INVALID; /* TIL-25 */
    if (f->dev->proc->ad != c->ctx->dev->proc->ad || f->dying || c->value == UINT64_MAX) return VIDMM_INVALID;
    if (f->flags & VIDMM_FENCE_NO_SIGNAL) return VIDMM_ACCESS_DENIED;
    return !c->no_wait && (f->flags & VIDMM_FENCE_NO_WAIT) ? VIDMM_ACCESS_DENIED : VIDMM_OK;
}

static vidmm_status decode(struct update_call *c, uint32_t flags)
{
    bool none = c->ctx->dev->model == VIDMM_MODEL_IOMMU; /* IOM-11 */
    if (none || BROKEN(space_of(c)->ad, TIL_01)) return VIDMM_NOT_SUPPORTED;
    if (c->ctx->dev->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if (c->ctx->dying || c->n == 0 || (flags & ~(uint32_t)VIDMM_UPDATE_DO_NOT_WAIT)) return VIDMM_INVALID;
    if (c->n > VIDMM_LIST_MAX) return VIDMM_LIMIT;
    vidmm_status st = decode_fence(c);
    for (uint32_t i = 0; st == VIDMM_OK && i < c->n; i++) {
        struct vidmm_tile_op op = op_of(c, i);
        st = decode_op(c, &op);
    }
    if (st != VIDMM_OK) return st;
    bool full = vidmm_context_updates(c->ctx) >= VIDMM_UPDATES_MAX;
    return full ? VIDMM_BUSY : VIDMM_OK; /* TIL-19 */
}

/* ---- reserve ---- */

static struct vmm_request *part_new(struct update_call *c, struct vmm_update *u, uint64_t base,
                                    uint64_t bytes)
{
    struct vmm_space *sp = space_of(c);
    struct vmm_request *r = vmm_new(sp->ad, sizeof *r);
    if (r == NULL) return NULL;
    r->kind = REQ_MAP;
    r->update = u;
    r->space = sp;
    r->range = (struct range){ base, base + bytes };
    r->pinned_end = base;
    list_init(&r->new_leaves);
    list_init(&r->spares);
    list_push_back(&u->parts, &r->link);
    return r;
}

static vidmm_status part_take(struct vmm_request *r)
{
    if (!vmm_map_add_spares(r->space->ad, &r->spares)) return VIDMM_NO_MEMORY;
    return r->unmap ? VIDMM_OK : vmm_map_take_tables(r->space, r);
}

/* One for each page is the only bound that later calls cannot break. */
static vidmm_status take_copy_spares(struct vmm_request *r)
{
    uint64_t pages = range_size(r->range) >> VIDMM_PAGE_SHIFT;
    for (uint64_t i = 0; i < pages; i++)
        if (!vmm_map_add_spares(r->space->ad, &r->spares)) return VIDMM_NO_MEMORY;
    return VIDMM_OK;
}

static vidmm_status add_copy(struct update_call *c, struct vmm_update *u, const struct vidmm_tile_op *op)
{
    struct vmm_request *r = part_new(c, u, op->base, op->bytes);
    if (r == NULL) return VIDMM_NO_MEMORY;
    r->copy = true;
    r->source = op->source;
    vidmm_status st = take_copy_spares(r);
    if (st == VIDMM_OK) st = part_take(r);
    if (st == VIDMM_OK) vmm_map_pend(r);
    return st;
}

static vidmm_status add_unmap(struct update_call *c, struct vmm_update *u, const struct vidmm_tile_op *op)
{
    struct vmm_request *r = part_new(c, u, op->base, op->bytes);
    if (r == NULL) return VIDMM_NO_MEMORY;
    r->unmap = op->protection == VIDMM_PROT_NO_ACCESS;
    r->target = TARGET_ZERO;
    vidmm_status st = part_take(r);
    if (st == VIDMM_OK) vmm_map_pend(r);
    return st;
}

static vidmm_status add_map(struct update_call *c, struct vmm_update *u, const struct vidmm_tile_op *op,
                            uint64_t at, uint64_t shown)
{
    bool plain = op->type == VIDMM_TILE_MAP;
    struct vmm_request *r = part_new(c, u, at, shown);
    if (r == NULL) return VIDMM_NO_MEMORY;
    r->target = TARGET_ALLOC;
    r->prot = plain ? VIDMM_PROT_WRITE : (uint8_t)op->protection;
    r->offset = op->offset;
    uint64_t dp = plain ? (uint64_t)(uintptr_t)c->target->owner : op->driver_protection; /* VA-40 */
    struct vidmm_map as = { .open = op->open, .offset = op->offset, .bytes = shown, .driver_protection = dp };
    if (vmm_map_conflicts(r->space, &as, r->range)) return VIDMM_INVALID;
    vidmm_status st = part_take(r);
    if (st != VIDMM_OK) return st;
    r->open = op->open;
    r->driver_protection = dp;
    vmm_map_pend(r);
    return VIDMM_OK;
}

static vidmm_status add_maps(struct update_call *c, struct vmm_update *u, const struct vidmm_tile_op *op)
{
    uint64_t shown = op->open_bytes != 0 ? op->open_bytes : op->bytes;
    vidmm_status st = VIDMM_OK;
    for (uint64_t at = 0; st == VIDMM_OK && at < op->bytes; at += shown)
        st = add_map(c, u, op, op->base + at, shown);
    if (st != VIDMM_OK || op->open->pool[c->ctx->ad->gpu] != NULL) return st;
    op->open->mark = c->mark;
    return vmm_pool_map(op->open, c->ctx->ad->gpu); /* TIL-12 */
}

static vidmm_status add_op(struct update_call *c, struct vmm_update *u, const struct vidmm_tile_op *op)
{
    if (op->type == VIDMM_TILE_COPY) return add_copy(c, u, op);
    if (op->type == VIDMM_TILE_UNMAP) return add_unmap(c, u, op);
    return add_maps(c, u, op);
}

static void take_back_pools(struct update_call *c)
{
    uint32_t gpu = c->ctx->ad->gpu;
    for (uint32_t i = 0; i < c->n; i++) {
        struct vidmm_tile_op op = op_of(c, i);
        if (maps(&op) && op.open->mark == c->mark && op.open->pool[gpu] != NULL)
            vmm_pool_unmap(op.open, gpu);
    }
}

/* Complete in itself: vmm_update_free gives everything back but the pools. */
static vidmm_status reserve(struct update_call *c, struct vmm_update **out)
{
    struct vidmm_process *p = c->ctx->dev->proc;
    struct vidmm_adapter *ad = c->ctx->ad;
    struct vmm_update *u = vmm_new(ad, sizeof *u);
    if (u == NULL) return VIDMM_NO_MEMORY;
    list_init(&u->parts);
    c->mark = ++ad->lead->next_mark;
    bool first = vmm_privileged_of(p, ad->gpu)->tables.root == NULL;
    vidmm_status st = first ? vmm_privileged_open(p, ad->gpu) : VIDMM_OK;
    if (st != VIDMM_OK) first = false;
    for (uint32_t i = 0; st == VIDMM_OK && i < c->n; i++) {
        struct vidmm_tile_op op = op_of(c, i);
        st = add_op(c, u, &op);
    }
    if (st == VIDMM_OK) st = vmm_companion_make(c->ctx);
    if (st != VIDMM_OK) {
        vmm_update_free(ad, u);
        take_back_pools(c);
        if (first) vmm_privileged_close(p, ad->gpu);
        return st;
    }
    *out = u;
    return VIDMM_OK;
}

/* ---- commit ---- */

/* What is required now stays so until the update has been applied, whatever is evicted (TIL-14). */
static void pin_pools(struct vmm_update *u)
{
    LIST_FOREACH(it, &u->parts) {
        struct vidmm_open *op = list_entry(it, struct vmm_request, link)->open;
        if (op != NULL && list_is_linked(&op->on_required)) op->pinned = true;
    }
}

vidmm_status vidmm_va_update(struct vidmm_context *ctx, const struct vidmm_tile_op *op, uint32_t n,
                             struct vidmm_fence *fence, uint64_t value, uint32_t flags)
{
    struct update_call c = { .ctx = ctx, .fence = fence, .op = op, .n = n, .value = value,
                             .no_wait = (flags & VIDMM_UPDATE_DO_NOT_WAIT) != 0 };
    struct vmm_update *u;
    vidmm_status st = decode(&c, flags);
    if (st == VIDMM_OK) st = reserve(&c, &u);
    if (st != VIDMM_OK) return st;
    u->fence = fence;
    u->value = value;
    u->no_wait = c.no_wait;
    if (fence != NULL) fence->refs++;
    pin_pools(u);
    vmm_companion_push(ctx, u);
    return VIDMM_OK;
}

uint32_t vidmm_context_updates(const struct vidmm_context *c)
{
    return c->companion != NULL ? c->companion->count : 0;
}
