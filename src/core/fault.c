/* SPDX-License-Identifier: MIT */
/* fault.c — what the driver reports from its own threads, and what follows from a page fault.
 * Owns: node.inbox. Calls: sched.c, device.c, the driver's reset_engine.
 * The inbox cannot overflow: completions coalesce in one number, and a node has one fault at a time,
 * because the engine stops behind it until it is reset. */
#include "core/core.h"

void vidmm_notify_completed(struct vidmm_adapter *ad, uint32_t node, uint64_t fence_id)
{
    if (node >= ad->info.node_count) return;
    _Atomic uint64_t *done = &ad->node[node].inbox.completed;
    uint64_t old = atomic_load_explicit(done, memory_order_relaxed);
    while (old < fence_id && !atomic_compare_exchange_weak_explicit(
                                 done, &old, fence_id, memory_order_release, memory_order_relaxed))
        continue;
    ad->platform->poke(ad->platform->ctx);
}

void vidmm_notify_fence_signaled(struct vidmm_adapter *ad)
{
    ad->platform->poke(ad->platform->ctx); /* waits look at the value itself */
}

void vidmm_notify_page_fault(struct vidmm_adapter *ad, const struct vidmm_page_fault *f)
{
    uint32_t empty = 0;
    if (f->node >= ad->info.node_count) return;
    struct vmm_inbox *in = &ad->node[f->node].inbox;
    if (!atomic_compare_exchange_strong(&in->fault_state, &empty, 1u)) return;
    in->fault = *f;
    atomic_store_explicit(&in->fault_state, 2u, memory_order_release);
    ad->platform->poke(ad->platform->ctx);
}

static void handle_fault(struct vidmm_adapter *ad, uint32_t node)
{
    struct vmm_inbox *in = &ad->node[node].inbox;
    struct vidmm_page_fault fault = in->fault;
    uint64_t last;
    atomic_store_explicit(&in->fault_state, 0u, memory_order_release);
    ad->counters->faults++;
    ad->counters->engine_resets++;
    bool whole = (fault.flags & VIDMM_FAULT_ADAPTER_RESET_REQUIRED) != 0; /* FLT-08 */
    if (BROKEN(ad, FLT_02)) return;
    if (whole || ad->ops->reset_engine(ad->kmd, node, &last) != VIDMM_OK) {
        vmm_adapter_lose(ad);
        return;
    }
    vmm_node_complete(ad, node, atomic_load_explicit(&in->completed, memory_order_acquire));
    struct list *first = list_first(&ad->node[node].running);
    bool unknown = (fault.flags & VIDMM_FAULT_FENCE_INVALID) != 0;
    if (unknown && first != NULL) /* then it is the one that was running */
        fault.fence_id = list_entry(first, struct vmm_packet, link)->fence_id;
    struct vidmm_context *guilty = vmm_node_abort(ad, node, fault.fence_id);
    if (guilty == NULL) vmm_adapter_lose(ad); /* the paging process itself */
    else if (!BROKEN(ad, FLT_01)) vmm_device_fail(guilty->dev, VIDMM_DEVICE_PAGE_FAULT, &fault);
}

bool vmm_inbox_step(struct vidmm_adapter *ad)
{
    bool progress = false;
    for (uint32_t i = 0; i < ad->info.node_count; i++) {
        struct vmm_inbox *in = &ad->node[i].inbox;
        bool faulted = atomic_load_explicit(&in->fault_state, memory_order_acquire) == 2;
        uint64_t done = atomic_load_explicit(&in->completed, memory_order_acquire);
        if (done > ad->node[i].completed) progress |= vmm_node_complete(ad, i, done);
        if (!faulted) continue;
        handle_fault(ad, i);
        progress = true;
    }
    return progress;
}
