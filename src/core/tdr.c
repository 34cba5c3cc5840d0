/* SPDX-License-Identifier: MIT */
/* tdr.c — timeout detection and recovery: the packet at the front of each node is watched.
 * Owns: node.front_*, preempt_until, blamed; the history of resets. Calls: the driver (preempt_command,
 * reset_engine, query_engine_status), sched.c, device.c, reset.c.
 *
 *   stands still for the delay -> asked to stop -> answered: the packet is dropped, nothing is reset
 *                                               -> silent:   the engine is reset
 *                                                            -> fails, or too often: the adapter is
 *   a hardware context stands still, or does not suspend -> the engine is reset, see recover()
 * A packet counts as hung when it neither completes nor gets anything done, also if it could be stopped: a
 * wait for a value that nobody writes would never end. */
#include "core/core.h"

#define PREEMPT_WAIT_NS 500000000ull /* at most: with a short delay, a quarter of it */

bool vmm_history_over(struct vmm_history *h, uint64_t now, uint64_t window, uint32_t limit)
{
    uint32_t recent = 1;
    for (uint32_t i = 0; i < min_u32(h->count, VIDMM_TDR_LIMIT_MAX); i++) recent += now - h->at[i] < window;
    h->at[h->count++ % VIDMM_TDR_LIMIT_MAX] = now;
    return limit != VIDMM_TDR_NO_LIMIT && recent > limit;
}

static bool take_fault(struct vmm_inbox *in, struct vidmm_page_fault *out)
{
    if (atomic_load_explicit(&in->fault_state, memory_order_acquire) != 2) return false;
    *out = in->fault;
    atomic_store_explicit(&in->fault_state, 0u, memory_order_release);
    return true;
}

static void fail_owner(struct vidmm_device *d, enum vidmm_device_state state,
                       const struct vidmm_page_fault *fault)
{
    if (!BROKEN(d->proc->ad, FLT_01)) vmm_device_fail(d, state, fault);
}

/* Who is to blame: by the fault, else by what the driver says was cut short, else the one at the front. */
static struct vmm_packet *guilty_packet(const struct vmm_node *n, const struct vidmm_page_fault *fault,
                                        uint64_t last_aborted)
{
    if (fault != NULL) return vmm_fault_packet(n, fault);
    return last_aborted != 0 ? vmm_node_find(n, last_aborted) : vmm_node_front(n);
}

/* The engine has stopped in any case: from here on nothing of the node is reported, and what it completed
 * before has been told (the snapshot of FLT-12). */
static bool reset_engine(struct vidmm_adapter *ad, uint32_t node, uint64_t *last)
{
    struct vmm_node *n = &ad->node[node];
    ad->counters->engine_resets++;
    *last = 0;
    bool ok = ad->ops->reset_engine(ad->kmd, node, last) == VIDMM_OK;
    vmm_node_complete(ad, node, atomic_load_explicit(&n->inbox.completed, memory_order_acquire));
    atomic_store_explicit(&n->inbox.preempted, false, memory_order_relaxed);
    n->preempt_until = n->blamed = n->front_id = n->group = 0;
    vmm_hw_node_reset(ad, node);
    return ok;
}

/* The owner of a hardware queue whose entry was executing; NULL: none was. */
static struct vidmm_device *hw_owner(struct vidmm_adapter *ad, uint32_t node,
                                     const struct vidmm_page_fault *fault)
{
    uint64_t queue = fault != NULL ? fault->hw_queue : 0;
    if (fault == NULL && ad->info.node[node].hw_queues) queue = ad->ops->hw->aborted_queue(ad->kmd, node);
    return queue != 0 ? vmm_hw_owner(ad, queue) : NULL;
}

/* suspect: a device whose hardware context stands still or did not stop, to blame if nothing was cut short;
 * or NULL. often: the engine is reset only to see whom the reset of the adapter is due to. */
static void recover(struct vidmm_adapter *ad, uint32_t node, const struct vidmm_page_fault *fault,
                    struct vidmm_device *suspect, bool often)
{
    struct vmm_node *n = &ad->node[node];
    struct vidmm_page_fault late;
    uint64_t last;
    bool ok = reset_engine(ad, node, &last);
    if (fault == NULL && take_fault(&n->inbox, &late)) fault = &late;
    enum vidmm_device_state state = fault != NULL ? VIDMM_DEVICE_PAGE_FAULT : VIDMM_DEVICE_HUNG;
    struct vidmm_device *owner = hw_owner(ad, node, fault);
    bool hw = owner != NULL || (fault != NULL && fault->hw_queue != 0) || (suspect != NULL && last == 0);
    struct vmm_packet *p = hw ? NULL : guilty_packet(n, fault, last);
    struct vidmm_device *of = p != NULL ? vmm_packet_owner(p) : NULL; /* FLT-24 */
    if (owner == NULL) owner = of != NULL ? of : suspect;
    bool system = !hw && (p != NULL ? of == NULL : fault != NULL); /* FLT-14; of nobody: the system's */
    if (last != 0 && (last < n->completed || last > n->next_fence)) { /* FLT-13 */
        vmm_adapter_remove(ad);
    } else if (system || often || (!ok && !BROKEN(ad, FLT_03))) {
        vmm_adapter_reset(ad, owner, state, fault);
    } else {
        vmm_node_give_back(ad, node, p != NULL ? p->fence_id : 0);
        if (owner != NULL) fail_owner(owner, state, fault);
    }
}

/* ---- nodes that a reset affects as well (FLT-25) ---- */

static bool in_a_group(const struct vidmm_adapter *ad, uint32_t node)
{
    for (uint32_t i = 0; i < ad->info.node_count; i++)
        if (ad->node[i].group >> node & 1u) return true;
    return false;
}

/* Asks the others that have work. Gives those that were asked. */
static uint64_t ask_group(struct vidmm_adapter *ad, uint32_t node)
{
    uint64_t asked = 0, mask = 0;
    if (ad->ops->query_dependent_engine_group != NULL)
        mask = ad->ops->query_dependent_engine_group(ad->kmd, node) & mask_low64(ad->info.node_count);
    bool wait = ad->tdr_level != VIDMM_TDR_OFF && ad->ops->preempt_command != NULL && !in_a_group(ad, node);
    for (uint32_t i = 0; i < ad->info.node_count && wait && !ad->lost; i++) {
        struct vmm_node *n = &ad->node[i];
        if (i == node || !(mask >> i & 1u) || n->running_count == 0) continue;
        if (n->preempt_until == 0) vmm_node_ask(ad, i, 0);
        n->preempt_until = ad->now + PREEMPT_WAIT_NS;
        asked |= 1ull << i;
    }
    return asked;
}

/* Who did not stop in time has been reset by its own watch. */
static bool group_step(struct vidmm_adapter *ad, uint32_t node)
{
    struct vmm_node *n = &ad->node[node];
    for (uint32_t i = 0; i < ad->info.node_count; i++)
        if ((n->group >> i & 1u) && ad->node[i].preempt_until != 0) return false;
    struct vidmm_page_fault fault = n->pending_fault;
    n->group = 0;
    recover(ad, node, n->group_fault ? &fault : NULL, NULL, false);
    return true;
}

static bool too_often(struct vidmm_adapter *ad)
{
    uint32_t limit = ad->tdr_limit == VIDMM_TDR_NO_LIMIT ? ad->tdr_limit : ad->tdr_limit - 1;
    ad->counters->timeouts++;
    return vmm_history_over(&ad->engine_resets, ad->now, ad->tdr_window, limit) ||
           ad->tdr_level == VIDMM_TDR_FATAL;
}

void vmm_tdr_hw(struct vidmm_hwcontext *c) { recover(c->ad, c->node, NULL, c->dev, too_often(c->ad)); }

void vmm_engine_recover(struct vidmm_adapter *ad, uint32_t node, const struct vidmm_page_fault *fault)
{
    struct vmm_node *n = &ad->node[node];
    uint64_t group = ask_group(ad, node);
    if (ad->lost) return;
    if (group == 0) {
        recover(ad, node, fault, NULL, false);
        return;
    }
    n->group = group;
    n->group_fault = fault != NULL;
    if (fault != NULL) n->pending_fault = *fault;
}

/* ---- the watch ---- */

static uint64_t status_of(const struct vidmm_adapter *ad, uint32_t node)
{
    return ad->ops->query_engine_status != NULL ? ad->ops->query_engine_status(ad->kmd, node) : 0;
}

static void timed_out(struct vidmm_adapter *ad, uint32_t node)
{
    const struct vmm_packet *front = vmm_node_front(&ad->node[node]);
    struct vidmm_device *owner = front != NULL ? vmm_packet_owner(front) : NULL;
    bool system = front != NULL && owner == NULL, often = too_often(ad);
    bool certain = system || list_empty(&ad->hwcontexts); /* else a queue may be what keeps the engine */
    if (system || (often && certain)) vmm_adapter_reset(ad, owner, VIDMM_DEVICE_HUNG, NULL);
    else if (often) recover(ad, node, NULL, NULL, true);
    else vmm_engine_recover(ad, node, NULL);
}

/* Who is asked for somebody else's sake has the whole delay to answer; who stood still for it, a part. */
bool vmm_node_ask(struct vidmm_adapter *ad, uint32_t node, uint64_t blamed)
{
    struct vmm_node *n = &ad->node[node];
    n->preempt_until = ad->now + (blamed != 0 ? min_u64(ad->tdr_delay / 4, PREEMPT_WAIT_NS) : ad->tdr_delay);
    n->blamed = blamed;
    if (ad->ops->preempt_command(ad->kmd, node) != VIDMM_OK) vmm_adapter_remove(ad);
    return true;
}

/* The paging process has no one to blame and nothing to resume: it is not asked. */
static bool ask_to_stop(struct vidmm_adapter *ad, uint32_t node)
{
    const struct vmm_node *n = &ad->node[node];
    const struct vmm_packet *front = vmm_node_front(n);
    if (n->preempt_until != 0 || front->ctx == NULL || ad->ops->preempt_command == NULL) return false;
    return vmm_node_ask(ad, node, front->fence_id);
}

static bool watch(struct vidmm_adapter *ad, uint32_t node)
{
    struct vmm_node *n = &ad->node[node];
    const struct vmm_packet *front = vmm_node_front(n);
    bool asked = n->preempt_until != 0, watched = ad->tdr_level != VIDMM_TDR_OFF && n->group == 0;
    if (front == NULL && asked && watched && ad->now >= n->preempt_until) {
        timed_out(ad, node); /* everything has completed, but the answer has not come */
        return true;
    }
    if (front == NULL || front->fence_id != n->front_id) {
        n->front_id = front != NULL ? front->fence_id : 0;
        n->front_began = ad->now;
        n->front_since = ad->now - (front != NULL ? min_u64(front->still, ad->now) : 0);
        if (front != NULL) n->front_status = status_of(ad, node);
        return false;
    }
    if (!watched || ad->now < (asked ? n->preempt_until : n->front_since + ad->tdr_delay)) return false;
    uint64_t status = asked ? n->front_status : status_of(ad, node);
    if (status != n->front_status) { /* slow, but alive */
        n->front_status = status;
        n->front_since = ad->now;
        return false;
    }
    if (!ask_to_stop(ad, node)) timed_out(ad, node);
    return true;
}

/* What a packet stood still counts on when it comes again. */
static void keep_time(const struct vidmm_adapter *ad, const struct vmm_node *n, uint32_t node)
{
    struct vmm_packet *front = vmm_node_front(n);
    if (front == NULL || front->fence_id != n->front_id) return;
    front->still = status_of(ad, node) == n->front_status ? ad->now - n->front_since : 0;
}

void vmm_tdr_preempted(struct vidmm_adapter *ad, uint32_t node)
{
    struct vmm_node *n = &ad->node[node];
    if (n->preempt_until == 0) return; /* nobody asked: what is there goes on running */
    keep_time(ad, n, node);
    ad->counters->preemptions += n->running_count > 0;
    struct vmm_packet *p = n->blamed != 0 ? vmm_node_find(n, n->blamed) : NULL;
    struct vidmm_device *owner = p != NULL ? vmm_packet_owner(p) : NULL;
    vmm_node_give_back(ad, node, p != NULL ? p->fence_id : 0);
    n->preempt_until = n->blamed = n->front_id = 0;
    if (owner == NULL) return;
    ad->counters->timeouts++;
    fail_owner(owner, VIDMM_DEVICE_HUNG, NULL);
}

bool vmm_tdr_step(struct vidmm_adapter *ad)
{
    bool progress = false;
    for (uint32_t i = 0; i < ad->info.node_count && !ad->lost; i++) {
        progress |= watch(ad, i);
        if (ad->node[i].group != 0) progress |= group_step(ad, i);
    }
    return progress;
}

/* Of what is watched: a front that is new is seen by the step before. */
uint64_t vmm_tdr_deadline(const struct vidmm_adapter *ad)
{
    uint64_t next = UINT64_MAX;
    if (ad->tdr_level == VIDMM_TDR_OFF) return next;
    for (uint32_t i = 0; i < ad->info.node_count; i++) {
        const struct vmm_node *n = &ad->node[i];
        if (n->group != 0) continue;
        if (n->preempt_until != 0) next = min_u64(next, n->preempt_until);
        else if (n->running_count != 0) next = min_u64(next, n->front_since + ad->tdr_delay);
    }
    return next;
}
