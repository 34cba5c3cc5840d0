/* SPDX-License-Identifier: MIT */
/* reset.c — the end of an adapter: the reset of the whole of it, after which it goes on without the devices
 * it had, and its removal, after which it does not. Calls: the driver, every file that owns a part.
 * Keeps: invariants 4, 5, 17. A reset is finished when the function returns and needs no memory.
 *
 *   reset_from_timeout -> devices in error, memory segments emptied, batches forgotten   (hardware untouched)
 *   restart_from_timeout -> tables of the paging process, then those of all spaces, are written again     */
#include "core/core.h"

/* Those that use one gpu; `of` NULL: all of the link. */
static void fail_devices(struct vidmm_adapter *lead, const struct vidmm_adapter *of)
{
    LIST_FOREACH(pi, &lead->processes) {
        LIST_FOREACH(di, &list_entry(pi, struct vidmm_process, on_adapter)->devices) {
            struct vidmm_device *d = list_entry(di, struct vidmm_device, on_process);
            if (of == NULL || vmm_device_uses(d, of)) vmm_device_fail(d, VIDMM_DEVICE_RESET, NULL);
        }
    }
}

static void drop_work(struct vidmm_adapter *ad)
{
    for (uint32_t i = 0; i < ad->info.node_count; i++) {
        struct vmm_node *n = &ad->node[i];
        vmm_node_drop(ad, i);
        vmm_hw_node_reset(ad, i);
        n->front_id = n->preempt_until = n->blamed = n->group = 0;
        atomic_store_explicit(&n->inbox.fault_state, 0u, memory_order_relaxed);
        atomic_store_explicit(&n->inbox.preempted, false, memory_order_relaxed);
    }
    vmm_move_cancel(ad);
}

/* The driver hears of each allocation that lost its place (FLT-19); bytes 0: nothing is to be moved. */
static void notice(struct vidmm_adapter *ad, const struct vmm_alloc *al)
{
    struct vidmm_paging_buffer none = { .cpu = NULL };
    struct vidmm_op op = { .code = VIDMM_OP_VIRTUAL_TRANSFER };
    uint64_t multipass = 0;
    op.transfer.allocation = al->kmd_allocation;
    op.transfer.direction = VIDMM_LOCAL_TO_SYSTEM;
    (void)ad->ops->build_paging_buffer(ad->kmd, &none, &op, &multipass);
}

/* Content without a copy in system memory is gone; only devices in error could have asked for it. */
static void empty_segments(struct vidmm_adapter *ad)
{
    LIST_FOREACH(it, &ad->allocs) {
        struct vmm_alloc *al = list_entry(it, struct vmm_alloc, on_adapter);
        if (al->segment == VMM_SYSTEM) continue;
        if (!ad->lost) notice(ad, al);
        vmm_place_release(al);
        vmm_place_state(al, PLACE_NONE, VMM_SYSTEM);
    }
    ad->room = true;
}

static void rewrite_space(struct vmm_space *sp)
{
    vmm_tables_rewrite(sp);
    TREE_FOREACH(it, &sp->bindings) {
        struct vmm_binding *b = tree_entry(it, struct vmm_binding, node);
        vmm_bind_write(b, (struct range){ b->node.key, b->end });
    }
    sp->gate_seq = sp->flush_seq; /* entries that the GPU writes are yet to come */
}

static bool too_often(struct vidmm_adapter *ad)
{
    bool often = vmm_history_over(&ad->adapter_resets, ad->now, ad->tdr_window, ad->tdr_limit);
    return often || ad->tdr_level == VIDMM_TDR_FATAL;
}

static bool stop(struct vidmm_adapter *ad)
{
    bool can = ad->ops->reset_from_timeout != NULL && ad->ops->restart_from_timeout != NULL;
    ad->silent = can && ad->ops->reset_from_timeout(ad->kmd) == VIDMM_OK;
    if (ad->silent) drop_work(ad);
    return ad->silent;
}

static bool restart(struct vidmm_adapter *ad)
{
    if (ad->ops->restart_from_timeout(ad->kmd) != VIDMM_OK) return false;
    ad->silent = false;
    vmm_paging_rebuild(ad); /* PWR-02: first of all */
    return true;
}

static void rewrite_process(struct vidmm_process *p)
{
    SPACE_FOREACH(sp, p) {
        if (!sp->ad->lost && sp->tables.root != NULL) rewrite_space(sp);
    }
    for (uint32_t i = 0; i < p->ad->gpu_count; i++) {
        struct vmm_space *sp = vmm_privileged_of(p, i);
        if (sp->tables.root != NULL && !sp->ad->lost) rewrite_space(sp);
    }
}

/* The whole link: devices reach across it. A gpu that cannot be recovered is lost, and the others go on; if
 * it is the one that is in trouble, they need no reset. */
void vmm_adapter_reset(struct vidmm_adapter *ad, struct vidmm_device *culprit, enum vidmm_device_state state,
                       const struct vidmm_page_fault *fault)
{
    struct vidmm_adapter *lead = ad->lead;
    if (ad->lost) return;
    ad->counters->adapter_resets++;
    bool recover = !too_often(ad) && stop(ad); /* what the others are reset for does not count for them */
    LINK_FOREACH(other, ad) {
        if (recover && other != ad && !other->lost) (void)stop(other);
    }
    if (culprit != NULL) vmm_device_fail(culprit, state, fault); /* Q26: the others report RESET */
    if (recover) fail_devices(lead, NULL);
    LINK_FOREACH(g, ad) {
        if (!g->lost && !g->silent && (recover || g == ad)) vmm_adapter_remove(g);
        if (g->lost || !recover) continue;
        empty_segments(g);
        vmm_aperture_forget(g);
        vmm_batch_forget(g);
        if (!restart(g)) vmm_adapter_remove(g);
    }
    if (!recover) return;
    LIST_FOREACH(it, &lead->processes) rewrite_process(list_entry(it, struct vidmm_process, on_adapter));
}

/* Stopped first: what engines use is going to be freed. A driver that does not know removal resets them. */
static void stop_hardware(struct vidmm_adapter *ad)
{
    uint64_t last;
    if (ad->ops->surprise_removal != NULL) {
        ad->ops->surprise_removal(ad->kmd);
        return;
    }
    for (uint32_t i = 0; i < ad->info.node_count; i++) (void)ad->ops->reset_engine(ad->kmd, i, &last);
}

static bool any_left(const struct vidmm_adapter *ad)
{
    bool left = false;
    LINK_FOREACH(g, ad) left |= !g->lost;
    return left;
}

/* What the others of the link still show of the memory that went with the gpu. */
static void hide_content(struct vidmm_adapter *ad)
{
    LIST_FOREACH(it, &ad->allocs) {
        struct vmm_alloc *al = list_entry(it, struct vmm_alloc, on_adapter);
        LIST_FOREACH(bi, &al->bindings) {
            struct vmm_binding *b = list_entry(bi, struct vmm_binding, on_alloc);
            if (al->segment != VMM_SYSTEM) vmm_bind_invalidate(b);
        }
    }
    empty_segments(ad);
}

/* Nothing executes on it any more: whoever waits for a packet, a batch or a move goes on. */
void vmm_adapter_remove(struct vidmm_adapter *ad)
{
    if (ad->lost) return;
    ad->lost = true;
    ad->silent = true;
    bool last = !any_left(ad);
    if (last) ad->lead->removed = true;
    stop_hardware(ad);
    drop_work(ad);
    if (!last) vmm_mirrors_hand_over(ad);
    fail_devices(ad->lead, last ? NULL : ad);
    if (!last) hide_content(ad);
    vmm_display_forget(ad);
    vmm_space_forget_flushes(&ad->paging);
}

void vidmm_adapter_remove(struct vidmm_adapter *ad)
{
    LINK_FOREACH(g, ad) vmm_adapter_remove(g);
}

bool vidmm_adapter_removed(const struct vidmm_adapter *ad) { return ad->removed; }

bool vidmm_gpu_removed(const struct vidmm_adapter *ad, uint32_t gpu)
{
    return gpu >= ad->gpu_count || ad->link[gpu]->lost;
}

void vidmm_notify_removed(struct vidmm_adapter *ad)
{
    atomic_store_explicit(&ad->removal, true, memory_order_release);
    ad->platform->poke(ad->platform->ctx);
}
