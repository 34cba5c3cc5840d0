/* SPDX-License-Identifier: MIT */
/* engine.c - one node: its queue, the packet it executes, completion, fault and reset.
 *   RUNNING -engine_stop-> READY (preempted, see stop.c)
 *   READY -packet_start-> RUNNING -packet_complete-> READY
 *   RUNNING -packet_fault-> FAULTED -softgpu_reset-> READY          (reset also RUNNING -> READY)
 * A faulted node executes nothing more, not even what waits behind the faulted packet. */
#include <vidmm/kmd.h>

#include "softgpu/gpu.h"
#include "softgpu/processor.h"

bool softgpu_submit(struct softgpu *g, uint32_t node, const struct softgpu_packet *p)
{
    struct softgpu_engine *e = &g->engine[node];
    lock_take(&e->queue_lock);
    bool room = e->count < g->opt.queue_depth && !atomic_load(&g->stopped);
    if (room) e->queue[(e->head + e->count++) % SOFTGPU_QUEUE_MAX] = *p;
    lock_drop(&e->queue_lock);
    if (room && g->threads) (void)pthread_cond_signal(&e->wake);
    return room;
}

static bool queue_pop(struct softgpu_engine *e)
{
    lock_take(&e->queue_lock);
    bool any = e->count != 0;
    if (any) {
        e->packet = e->queue[e->head];
        e->head = (e->head + 1) % SOFTGPU_QUEUE_MAX;
        e->count--;
    }
    lock_drop(&e->queue_lock);
    return any;
}

static bool queue_empty(struct softgpu_engine *e)
{
    lock_take(&e->queue_lock);
    bool empty = e->count == 0 && !engine_hw_runnable(e);
    lock_drop(&e->queue_lock);
    return empty;
}

static void packet_fault(struct softgpu_engine *e)
{
    struct softgpu *g = e->gpu;
    e->state = ENGINE_FAULTED;
    e->wakeup_ns = UINT64_MAX;
    e->fault.fence_id = e->packet.fence_id;
    e->fault.hw_queue = 0;
    e->fault.node = e->node;
    atomic_fetch_add_explicit(&e->faults, 1, memory_order_relaxed);
    g->irq.page_fault(g->irq.ctx, &e->fault);
}

static void packet_complete(struct softgpu_engine *e)
{
    struct softgpu *g = e->gpu;
    e->state = ENGINE_READY;
    atomic_fetch_add_explicit(&e->packets, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&e->progress, 1, memory_order_relaxed);
    devmem_release();
    g->irq.completed(g->irq.ctx, e->node, e->packet.fence_id);
}

static bool fault_knob(struct softgpu_engine *e)
{
    struct softgpu_knobs k;
    if (e->packet.inject == SOFTGPU_INJECT_FAULT) {
        processor_error(e, e->packet.va, SOFTGPU_ERROR_BAD_ADDRESS);
        return true;
    }
    softgpu_get_knobs(e->gpu, &k);
    if (k.fault_in == 0 || k.fault_node != e->node) return false;
    if (!softgpu_countdown(e->gpu, SOFTGPU_COUNT_FAULT)) return false;
    processor_error(e, e->packet.va, k.fault_error);
    return true;
}

static void packet_start(struct softgpu_engine *e)
{
    uint64_t delay = atomic_load(&e->gpu->paging_delay_ns);
    e->state = ENGINE_RUNNING;
    e->not_before_ns = e->packet.paging && delay != 0 ? gpu_now(e->gpu) + delay : 0;
    e->bulk.kind = BULK_NONE;
    e->bulk.bytes = e->bulk.done = 0;
    e->bulk.prepared = false;
    e->flush.active = false;
    memset(e->cpu_state, 0, sizeof(e->cpu_state));
    devmem_acquire();
    if (fault_knob(e)) packet_fault(e);
    else if (engine_resume(e)) return;
    else if (!e->packet.null && e->processor != NULL) e->processor->begin(e);
}

static enum softgpu_step packet_step(struct softgpu_engine *e)
{
    if (e->packet.null || e->processor == NULL) {
        packet_complete(e);
        return SOFTGPU_PROGRESS;
    }
    e->wakeup_ns = UINT64_MAX;
    e->again = false;
    switch (e->processor->step(e)) {
    case SOFTGPU_RUN_MORE: return SOFTGPU_PROGRESS;
    case SOFTGPU_RUN_WAIT: return SOFTGPU_WAITING;
    case SOFTGPU_RUN_DONE: packet_complete(e); return SOFTGPU_PROGRESS;
    default:
        if (e->again) return SOFTGPU_WAITING;
        packet_fault(e);
        return SOFTGPU_PROGRESS;
    }
}

/* Packets and hardware queues take turns. */
static enum softgpu_step free_step(struct softgpu_engine *e)
{
    enum softgpu_step r = SOFTGPU_IDLE;
    bool hw = atomic_load_explicit(&e->hw_count, memory_order_relaxed) != 0;
    bool first = hw && e->hw_turn;
    e->hw_turn = !e->hw_turn;
    if (first) r = engine_hw_pick(e);
    if (r == SOFTGPU_PROGRESS || e->hw != NULL) return r; /* it hangs: nobody else gets in */
    if (queue_pop(e)) {
        packet_start(e);
        return SOFTGPU_PROGRESS;
    }
    return hw && !first ? engine_hw_pick(e) : r;
}

static enum softgpu_step step_locked(struct softgpu_engine *e)
{
    if (e->state == ENGINE_FAULTED) return SOFTGPU_WAITING;
    bool hung = (atomic_load_explicit(&e->gpu->hang_nodes, memory_order_relaxed) >> e->node & 1) != 0;
    hung |= e->state == ENGINE_RUNNING && e->packet.inject == SOFTGPU_INJECT_HANG;
    if (hung && !e->bulk.prepared) {
        e->wakeup_ns = UINT64_MAX;
        return e->state == ENGINE_READY && queue_empty(e) ? SOFTGPU_IDLE : SOFTGPU_WAITING;
    }
    if (atomic_load_explicit(&e->preempt, memory_order_relaxed) && engine_may_stop(e)) {
        engine_stop(e);
        return SOFTGPU_PROGRESS;
    }
    if (e->state == ENGINE_READY) return free_step(e);
    if (e->hw != NULL) {
        enum softgpu_step r = engine_hw_continue(e);
        return r == SOFTGPU_WAITING && e->hw == NULL ? free_step(e) : r;
    }
    if (e->not_before_ns != 0 && gpu_now(e->gpu) < e->not_before_ns) {
        e->wakeup_ns = e->not_before_ns;
        return SOFTGPU_WAITING;
    }
    e->not_before_ns = 0;
    return packet_step(e);
}

enum softgpu_step softgpu_engine_step(struct softgpu *g, uint32_t node)
{
    struct softgpu_engine *e = &g->engine[node];
    lock_take(&e->run);
    atomic_fetch_add_explicit(&e->steps, 1, memory_order_relaxed);
    enum softgpu_step r = step_locked(e);
    lock_drop(&e->run);
    return r;
}

uint64_t softgpu_wakeup_ns(struct softgpu *g)
{
    uint64_t earliest = UINT64_MAX;
    for (uint32_t n = 0; n < g->opt.node_count; n++) {
        struct softgpu_engine *e = &g->engine[n];
        lock_take(&e->run);
        if (e->state == ENGINE_RUNNING && e->wakeup_ns < earliest) earliest = e->wakeup_ns;
        if (atomic_load(&e->hw_count) != 0 && e->hw_wakeup_ns < earliest) earliest = e->hw_wakeup_ns;
        lock_drop(&e->run);
    }
    return earliest;
}

bool softgpu_node_idle(struct softgpu *g, uint32_t node)
{
    struct softgpu_engine *e = &g->engine[node];
    lock_take(&e->run);
    bool idle = e->state == ENGINE_READY && queue_empty(e);
    lock_drop(&e->run);
    return idle;
}

/* Waits for at most the step that is being executed. An access cut short has ended: a flush need not
 * wait for it any more. */
uint64_t softgpu_reset(struct softgpu *g, uint32_t node)
{
    struct softgpu_engine *e = &g->engine[node];
    atomic_fetch_add(&e->pause, 1);
    lock_take(&e->run);
    uint64_t cut = e->state == ENGINE_READY ? 0 : e->packet.fence_id;
    if (e->bulk.prepared) {
        shared_leave(e);
        atomic_fetch_add_explicit(&e->in_seq, 1, memory_order_release);
    }
    e->bulk.prepared = false;
    shared_forget(e);
    e->flush.active = false;
    e->state = ENGINE_READY;
    atomic_store(&e->preempt, false);
    engine_hw_reset(e);
    lock_take(&e->queue_lock);
    e->head = e->count = 0;
    lock_drop(&e->queue_lock);
    lock_drop(&e->run);
    atomic_fetch_sub(&e->pause, 1);
    (void)pthread_cond_signal(&e->wake);
    return cut;
}
