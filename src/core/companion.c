/* SPDX-License-Identifier: MIT */
/* companion.c — companion contexts, and tile updates from acceptance to the signal of V + 1.
 * Owns: context->companion, its updates. Calls: va.c and bind.c to apply, fence.c to signal, the driver.
 *
 *   queued --fence >= V--> applied: bindings replaced, entries written, flushes owed
 *   applied --the batch that carries the flushes is done--> fence = V + 1, gone             (TIL-08)
 *
 * The operation is held here until its time, and the entries follow from where the pool is then (TIL-15):
 * nothing is bound early, and a pool may move or be evicted meanwhile. In GPU_VIRTUAL mode packets of the
 * companion write them (tilepacket.c). Else the CPU or the paging process does, and the flush goes through
 * the one in-order paging engine like every other: pages that an update no longer shows may be given to
 * somebody else right behind it. A companion that waits for ever holds only its own updates (TIL-09). */
#include "core/core.h"

static struct vidmm_adapter *adapter_of(const struct vidmm_context *c) { return c->ad; }

/* ---- the companion ---- */

vidmm_status vmm_companion_make(struct vidmm_context *c)
{
    struct vidmm_adapter *ad = adapter_of(c);
    struct vidmm_process *p = c->dev->proc;
    struct vmm_space *sp = BROKEN(ad, TIL_03) ? p->on[ad->gpu] : vmm_privileged_of(p, ad->gpu);
    struct vidmm_kmd_context kc = { .process = sp->kmd_process, .node = c->companion_node,
                                    .flags = VIDMM_CONTEXT_SYSTEM | VIDMM_CONTEXT_VIRTUAL,
                                    .paging_companion_node = c->companion_node };
    if (c->companion != NULL) return VIDMM_OK;
    struct vmm_companion *k = vmm_new(ad, sizeof *k);
    if (k == NULL) return VIDMM_NO_MEMORY;
    vidmm_status st = ad->ops->create_context(ad->kmd, &kc);
    if (st != VIDMM_OK) {
        vmm_delete(ad, k, sizeof *k);
        return st == VIDMM_NO_MEMORY ? st : VIDMM_FAILED; /* BUSY would mean: again when an update is done */
    }
    struct vmm_table *root = sp->tables.root; /* of the privileged space: it never changes */
    ad->ops->set_root_page_table(ad->kmd, kc.handle,
                                 (struct vidmm_gpu_address){ root->segment, root->address }, root->entries);
    k->kmd_context = kc.handle;
    k->ctx = c;
    list_init(&k->updates);
    c->companion = k;
    return VIDMM_OK;
}

void vmm_companion_free(struct vidmm_context *c)
{
    struct vidmm_adapter *ad = adapter_of(c);
    struct vmm_companion *k = c->companion;
    if (k == NULL) return;
    CHECK(k->count == 0);
    ad->ops->destroy_context(ad->kmd, k->kmd_context);
    vmm_delete(ad, k, sizeof *k);
    c->companion = NULL;
}

/* ---- updates ---- */

void vmm_update_free(struct vidmm_adapter *ad, struct vmm_update *u)
{
    for (struct list *l = list_pop_front(&u->parts); l != NULL; l = list_pop_front(&u->parts)) {
        struct vmm_request *r = list_entry(l, struct vmm_request, link);
        vmm_map_drop(r);
        vmm_delete(ad, r, sizeof *r);
    }
    if (u->fence != NULL && --u->fence->refs == 0 && u->fence->dying) vmm_fence_drop(u->fence);
    vmm_delete(ad, u, sizeof *u);
}

static void drop(struct vmm_companion *k, struct vmm_update *u)
{
    list_remove(&u->link);
    k->count--;
    vmm_update_free(adapter_of(k->ctx), u);
    if (k->count == 0) list_remove(&k->on_adapter);
}

void vmm_companion_cancel(struct vidmm_context *c)
{
    struct vmm_companion *k = c->companion;
    if (k == NULL || k->count == 0) return;
    bool writing = vmm_tile_packets_enough(k);
    while (k->count > writing) drop(k, list_entry(list_last(&k->updates), struct vmm_update, link));
}

void vmm_updates_forget(struct vidmm_open *op)
{
    SPACE_FOREACH(sp, op->dev->proc) {
        LIST_FOREACH_SAFE(it, tmp, &sp->pending) {
            struct vmm_request *r = list_entry(it, struct vmm_request, on_pending);
            if (r->update == NULL || r->open != op) continue;
            vmm_map_drop(r); /* and stays in its update as one that has been applied */
            r->open = NULL;
            r->new_root = NULL;
            r->pinned_end = r->range.start;
            r->executed = true;
        }
    }
}

/* ---- copies: all of the source is read before anything changes (TIL-18) ---- */

static void snapshot(struct vmm_request *r, struct list *items)
{
    struct vmm_space *sp = r->space;
    struct range s = { r->source, r->source + range_size(r->range) };
    struct tree_node *n = tree_floor(&sp->bindings, s.start);
    if (n == NULL) n = tree_ceil(&sp->bindings, s.start);
    for (; n != NULL && n->key < s.end; n = tree_next(n)) {
        const struct vmm_binding *b = tree_entry(n, struct vmm_binding, node);
        struct range part = range_intersect(s, (struct range){ b->node.key, b->end });
        if (range_is_empty(part)) continue;
        struct vmm_binding *item = vmm_map_take_spare(r);
        *item = (struct vmm_binding){ .end = r->range.start + (part.end - s.start),
                                      .offset = b->offset + (part.start - b->node.key),
                                      .driver_protection = b->driver_protection, .open = b->open,
                                      .target = b->target, .prot = b->prot };
        item->node.key = r->range.start + (part.start - s.start);
        list_push_back(items, &item->on_alloc);
    }
}

/* Shows in p, a part of it, what the item says. */
static void show_item(struct vmm_request *r, const struct vmm_binding *item, struct range p)
{
    struct vmm_binding *b = vmm_map_take_spare(r), *spare[2] = { vmm_map_take_spare(r), NULL };
    *b = (struct vmm_binding){ .offset = item->offset + (p.start - item->node.key), .open = item->open,
                               .driver_protection = item->driver_protection, .target = item->target,
                               .prot = item->prot };
    vmm_bind_replace(r->space, p, b, spare);
    if (spare[0] != NULL) list_push_front(&r->spares, &spare[0]->on_alloc);
}

static void show_nothing(struct vmm_request *r, struct range p)
{
    if (range_is_empty(p)) return;
    struct vmm_binding *spare = vmm_map_take_spare(r);
    vmm_bind_clear(r->space, p, &spare);
    if (spare != NULL) list_push_front(&r->spares, &spare->on_alloc);
    vmm_tables_release(r->space, p, false); /* held for this request, and not used */
}

static void show_piece(struct vmm_request *r, struct list *items, struct range p)
{
    uint64_t at = p.start;
    LIST_FOREACH(it, items) {
        const struct vmm_binding *item = list_entry(it, struct vmm_binding, on_alloc);
        struct range part = range_intersect(p, (struct range){ item->node.key, item->end });
        if (range_is_empty(part)) continue;
        show_nothing(r, (struct range){ at, part.start });
        show_item(r, item, part);
        at = part.end;
    }
    show_nothing(r, (struct range){ at, p.end });
}

static void copy_execute(struct vmm_request *r)
{
    struct list items;
    uint64_t at = r->range.start;
    list_init(&items);
    snapshot(r, &items);
    for (struct range p = vmm_map_piece(r, at); p.start < p.end; p = vmm_map_piece(r, p.end)) {
        if (at < p.start) vmm_tables_release(r->space, (struct range){ at, p.start }, false);
        show_piece(r, &items, p);
        at = p.end;
    }
    if (at < r->range.end) vmm_tables_release(r->space, (struct range){ at, r->range.end }, false);
    r->pinned_end = r->range.start;
    vmm_map_unpend(r);
    for (struct list *l = list_pop_front(&items); l != NULL; l = list_pop_front(&items))
        list_push_back(&r->spares, l);
}

/* ---- execution ---- */

static bool ready(const struct vidmm_adapter *ad, const struct vmm_update *u)
{
    return u->no_wait || vmm_fence_reached(u->fence, u->value) || BROKEN(ad, TIL_05);
}

/* A larger root is wanted as soon as the update is queued: it has to wait for idle contexts, and a packet may
 * be waiting for this very update on an engine. */
static bool roots_ready(struct vmm_space *sp, struct vmm_update *u)
{
    bool all = true;
    LIST_FOREACH(it, &u->parts) {
        struct vmm_request *r = list_entry(it, struct vmm_request, link);
        all &= r->executed || vmm_map_root_ready(sp, r);
    }
    return all;
}

static bool apply(struct vmm_space *sp, struct vmm_update *u)
{
    if (!roots_ready(sp, u)) return false;
    LIST_FOREACH(it, &u->parts) {
        struct vmm_request *r = list_entry(it, struct vmm_request, link);
        if (r->executed) continue;
        if (r->copy) copy_execute(r);
        else if (!vmm_map_execute(r)) return false;
        r->executed = true;
    }
    u->wait_seq = vmm_space_flush_pending(sp) ? sp->flush_seq : 0;
    u->applied = true;
    return true;
}

static bool companion_step(struct vmm_companion *k)
{
    struct vidmm_context *c = k->ctx;
    struct vidmm_adapter *ad = adapter_of(c);
    struct vmm_space *sp = c->dev->proc->on[ad->gpu];
    bool progress = false, packets = vmm_tile_packets(ad);
    while (k->count > 0) {
        struct vmm_update *u = list_entry(list_first(&k->updates), struct vmm_update, link);
        if (!u->applied) {
            bool begun = packets && ad->updating == k;
            if (!begun && (!ready(ad, u) || !roots_ready(sp, u))) break; /* tables: before packets */
            if ((packets && !vmm_tile_packets_begin(k)) || !apply(sp, u)) break;
        }
        if (packets && !vmm_tile_packets_step(k)) break;
        if (!vmm_batch_passed(ad, u->wait_seq)) break;
        if (u->fence != NULL && !u->fence->dying) vmm_fence_raise(u->fence, u->value + 1);
        drop(k, u);
        progress = true;
        if (k->count > 0) list_move_back(&ad->companions, &k->on_adapter); /* others write tables first */
    }
    return progress;
}

bool vmm_companions_step(struct vidmm_adapter *ad)
{
    bool progress = false;
    vmm_tile_packets_round(ad);
    LIST_FOREACH_SAFE(it, tmp, &ad->companions) {
        progress |= companion_step(list_entry(it, struct vmm_companion, on_adapter));
        if (ad->lost) break; /* building a packet failed: no other is in the list any more */
    }
    return progress;
}

void vmm_companion_push(struct vidmm_context *c, struct vmm_update *u)
{
    struct vidmm_adapter *ad = adapter_of(c);
    struct vmm_companion *k = c->companion;
    u->seq = ++ad->lead->next_seq;
    list_push_back(&k->updates, &u->link);
    if (k->count++ == 0) list_push_back(&ad->companions, &k->on_adapter);
    (void)roots_ready(c->dev->proc->on[ad->gpu], u);
    (void)companion_step(k);
}
