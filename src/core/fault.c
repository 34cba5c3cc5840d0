/* SPDX-License-Identifier: MIT */
/* fault.c — what the driver reports from its own threads, and what follows from a page fault.
 * Owns: node.inbox. Calls: sched.c, tdr.c, reset.c.
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

void vidmm_notify_preempted(struct vidmm_adapter *ad, uint32_t node)
{
    if (node >= ad->info.node_count) return;
    atomic_store_explicit(&ad->node[node].inbox.preempted, true, memory_order_release);
    ad->platform->poke(ad->platform->ctx);
}

static struct vmm_packet *first_of_process(const struct vmm_node *n, const void *process)
{
    LIST_FOREACH(it, &n->running) {
        struct vmm_packet *p = list_entry(it, struct vmm_packet, link);
        if (p->ctx != NULL && p->ctx->dev->proc->on[p->ctx->ad->gpu]->kmd_process == process) return p;
    }
    return NULL;
}

/* The packet that faulted: named, or known by its process, or the one that was running. */
struct vmm_packet *vmm_fault_packet(const struct vmm_node *n, const struct vidmm_page_fault *f)
{
    if (!(f->flags & VIDMM_FAULT_FENCE_INVALID)) return vmm_node_find(n, f->fence_id);
    if (f->flags & VIDMM_FAULT_PROCESS_HANDLE_VALID) return first_of_process(n, f->process);
    return vmm_node_front(n);
}

static struct vidmm_device *owner_of(const struct vmm_node *n, const struct vidmm_page_fault *f)
{
    const struct vmm_packet *p = vmm_fault_packet(n, f);
    return p != NULL ? vmm_packet_owner(p) : NULL;
}

static void handle_fault(struct vidmm_adapter *ad, uint32_t node)
{
    struct vmm_inbox *in = &ad->node[node].inbox;
    struct vidmm_page_fault fault = in->fault;
    atomic_store_explicit(&in->fault_state, 0u, memory_order_release);
    ad->counters->faults++;
    if (BROKEN(ad, FLT_02)) return;
    uint32_t whole = VIDMM_FAULT_ADAPTER_RESET_REQUIRED | VIDMM_FAULT_FATAL_HARDWARE_ERROR; /* FLT-08 */
    if (fault.flags & whole)
        vmm_adapter_reset(ad, owner_of(&ad->node[node], &fault), VIDMM_DEVICE_PAGE_FAULT, &fault);
    else
        vmm_engine_recover(ad, node, &fault);
}

/* Read in the opposite order of what a driver reports: completed, then a fault, then that the node has
 * stopped. A fault goes before the answer of a node that stopped behind it: its packet is still there. */
static bool inbox_step(struct vidmm_adapter *ad, uint32_t node)
{
    struct vmm_inbox *in = &ad->node[node].inbox;
    bool stopped = atomic_exchange_explicit(&in->preempted, false, memory_order_acquire);
    bool faulted = atomic_load_explicit(&in->fault_state, memory_order_acquire) == 2;
    uint64_t done = atomic_load_explicit(&in->completed, memory_order_acquire);
    bool progress = done > ad->node[node].completed && vmm_node_complete(ad, node, done);
    if (faulted) handle_fault(ad, node);
    else if (stopped) vmm_tdr_preempted(ad, node);
    return progress || faulted || stopped;
}

bool vmm_inbox_step(struct vidmm_adapter *ad)
{
    bool progress = false;
    if (atomic_load_explicit(&ad->removal, memory_order_acquire)) vmm_adapter_remove(ad);
    for (uint32_t i = 0; i < ad->info.node_count && !ad->lost; i++) progress |= inbox_step(ad, i);
    return progress;
}
