/* SPDX-License-Identifier: MIT */
/* stop.c - how nodes are made to stop: preemption, which keeps what a packet had reached, and the stop of
 * the whole GPU, after which nothing is left of it. Calls: engine resets, TLBs, vram. */
#include "base/bits.h"
#include "softgpu/gpu.h"

void softgpu_preempt(struct softgpu *g, uint32_t node)
{
    struct softgpu_engine *e = &g->engine[node];
    lock_take(&e->queue_lock);
    atomic_store(&e->preempt, true);
    (void)pthread_cond_signal(&e->wake);
    lock_drop(&e->queue_lock);
}

uint64_t softgpu_progress(struct softgpu *g, uint32_t node)
{
    struct softgpu_engine *e = &g->engine[node];
    uint64_t steps = atomic_load_explicit(&e->steps, memory_order_relaxed);
    if (g->threads && steps == e->steps_seen) e->starved++;
    e->steps_seen = steps;
    return atomic_load_explicit(&e->progress, memory_order_relaxed) + e->starved;
}

/* Between chunks of a bulk operation, and not inside a flush: that ends by itself. */
bool engine_may_stop(struct softgpu_engine *e)
{
    return e->state == ENGINE_READY || e->hw != NULL || (!e->bulk.prepared && !e->flush.active);
}

static void save(struct softgpu_engine *e)
{
    struct softgpu_saved *s = &e->packet.context->saved;
    const struct bulk *b = &e->bulk;
    *s = (struct softgpu_saved){.valid = true, .va = e->packet.va, .kind = b->kind, .dst = b->dst,
                                .src = b->src, .bytes = b->bytes, .done = b->done, .sum = b->sum};
    memcpy(s->pattern, b->pattern, sizeof(s->pattern));
    memcpy(s->cpu_state, e->cpu_state, sizeof(s->cpu_state));
}

void engine_stop(struct softgpu_engine *e)
{
    struct softgpu *g = e->gpu;
    if (e->hw == NULL && e->state == ENGINE_RUNNING && !e->packet.null) save(e);
    if (e->hw == NULL) e->state = ENGINE_READY; /* entries of hardware queues are not given back */
    lock_take(&e->queue_lock);
    e->head = e->count = 0;
    lock_drop(&e->queue_lock);
    atomic_store(&e->preempt, false);
    devmem_release();
    if (g->irq.preempted != NULL) g->irq.preempted(g->irq.ctx, e->node);
}

bool engine_resume(struct softgpu_engine *e)
{
    struct softgpu_saved *s = &e->packet.context->saved;
    if (!e->packet.resumed || e->packet.null || !s->valid || s->va != e->packet.va) return false;
    s->valid = false;
    memcpy(e->cpu_state, s->cpu_state, sizeof(e->cpu_state));
    if (e->packet.context->physical) { /* memory may have moved: the command cut short is fetched again */
        physical_resume(e);
        return true;
    }
    struct bulk *b = &e->bulk;
    b->kind = (enum bulk_kind)s->kind;
    b->dst = s->dst;
    b->src = s->src;
    b->bytes = s->bytes;
    b->done = s->done;
    b->sum = s->sum;
    memcpy(b->pattern, s->pattern, sizeof(b->pattern));
    return true;
}

void softgpu_stop_all(struct softgpu *g)
{
    atomic_store(&g->stopped, true);
    for (uint32_t n = 0; n < g->opt.node_count; n++) (void)softgpu_reset(g, n);
}

void softgpu_restart(struct softgpu *g)
{
    for (uint32_t n = 0; n < g->opt.node_count; n++) {
        struct softgpu_engine *e = &g->engine[n];
        lock_take(&e->tlb_lock);
        memset(e->tlb, 0, ((size_t)g->tlb_mask + 1) * sizeof(*e->tlb));
        memset(e->walk, 0, GPU_WALK_CACHE * sizeof(*e->walk));
        lock_drop(&e->tlb_lock);
    }
    vram_forget(g);
    atomic_store(&g->stopped, false);
}
