/* SPDX-License-Identifier: MIT */
/* request.c — paging queues: requests accepted at a call, executed and signalled in order.
 * Owns: queues and requests. Calls: va.c and resid.c to execute, fence.c to signal. Keeps: invariant 10.
 *
 *   issued > value:   [ executed, waits for its batch ] [ executed, ... ] [ not executed ] ...
 *                      ^ signalled next                                    ^ executed next           */
#include "core/core.h"

static struct vidmm_adapter *adapter_of(const struct vidmm_queue *q) { return q->ad; }

struct vmm_request *vmm_request_new(struct vidmm_queue *q, enum vmm_request_kind kind)
{
    struct vmm_request *r = vmm_new(adapter_of(q), sizeof *r);
    if (r == NULL) return NULL;
    r->queue = q;
    r->space = q->dev->proc->on[q->ad->gpu];
    r->kind = (uint8_t)kind;
    list_init(&r->new_leaves);
    list_init(&r->spares);
    return r;
}

void vmm_request_free(struct vmm_request *r)
{
    list_remove(&r->link);
    if (r->kind == REQ_MAP) vmm_map_drop(r);
    else r->queue->dev->asking--;
    vmm_delete(adapter_of(r->queue), r, sizeof *r);
}

static bool execute(struct vmm_request *r)
{
    if (!r->executed) r->executed = r->kind == REQ_MAP ? vmm_map_execute(r) : vmm_resident_execute(r);
    return r->executed;
}

static bool delayed(const struct vidmm_queue *q) { return q->delay_until > adapter_of(q)->now; }

uint64_t vmm_request_enqueue(struct vmm_request *r)
{
    struct vidmm_queue *q = r->queue;
    struct vidmm_adapter *ad = adapter_of(q);
    bool idle = list_empty(&q->requests) && !delayed(q);
    r->seq = ++ad->lead->next_seq;
    if (BROKEN(ad, PAG_01) || (BROKEN(ad, TIL_02) && r->target == TARGET_ZERO)) idle = true;
    if (idle && execute(r) && vmm_waits_passed(ad, &r->waits)) {
        vmm_request_free(r);
        return 0;
    }
    r->fence_value = ++q->issued;
    r->issued_ns = ad->now;
    list_push_back(&q->requests, &r->link);
    if (!list_is_linked(&q->on_active)) list_push_back(&ad->active[q->priority + 1], &q->on_active);
    return BROKEN(ad, VA_09) ? 0 : r->fence_value;
}

static void count_latency(struct vidmm_adapter *ad, const struct vmm_request *r)
{
    uint64_t ns = ad->now - r->issued_ns;
    struct vidmm_counters *c = ad->counters;
    c->fence_signals++;
    c->fence_ns_total += ns;
    c->fence_ns_max = max_u64(c->fence_ns_max, ns);
    c->fence_ns_bucket[min_u32(ns == 0 ? 0 : log2_floor64(ns), VIDMM_LATENCY_BUCKETS - 1)]++;
}

static bool retire(struct vidmm_queue *q)
{
    struct vidmm_adapter *ad = adapter_of(q);
    bool progress = false;
    while (!list_empty(&q->requests)) {
        struct vmm_request *r = list_entry(list_first(&q->requests), struct vmm_request, link);
        if (!r->executed || !vmm_waits_passed(ad, &r->waits)) break;
        if (!BROKEN(ad, PAG_02)) vmm_fence_raise(q->fence, r->fence_value);
        count_latency(ad, r);
        vmm_request_free(r);
        progress = true;
    }
    return progress;
}

static bool queue_step(struct vidmm_queue *q)
{
    bool progress = retire(q);
    if (!delayed(q)) {
        LIST_FOREACH(it, &q->requests) {
            struct vmm_request *r = list_entry(it, struct vmm_request, link);
            if (r->executed) continue;
            if (!execute(r)) break; /* the next ones wait behind it (PAG-11) */
            progress = true;
        }
    }
    progress |= retire(q);
    if (list_empty(&q->requests)) list_remove(&q->on_active);
    return progress;
}

/* Higher priorities first (PAG-10). */
bool vmm_queues_step(struct vidmm_adapter *ad)
{
    bool progress = false;
    for (int p = 2; p >= 0; p--) {
        LIST_FOREACH_SAFE(it, tmp, &ad->active[p]) {
            progress |= queue_step(list_entry(it, struct vidmm_queue, on_active));
        }
    }
    return progress;
}

uint64_t vmm_queues_deadline(struct vidmm_adapter *ad)
{
    uint64_t next = UINT64_MAX;
    for (int p = 0; p < 3; p++) {
        LIST_FOREACH(it, &ad->active[p]) {
            const struct vidmm_queue *q = list_entry(it, struct vidmm_queue, on_active);
            if (delayed(q)) next = min_u64(next, q->delay_until);
        }
    }
    return next;
}

/* The device is lost or going: what was not executed never will be. */
void vmm_queue_cancel(struct vidmm_queue *q)
{
    LIST_FOREACH_SAFE(it, tmp, &q->requests) {
        struct vmm_request *r = list_entry(it, struct vmm_request, link);
        if (r->kind == REQ_MAP) vmm_map_cancel(r);
        vmm_request_free(r);
    }
    list_remove(&q->on_active);
}

vidmm_status vidmm_queue_create_on(struct vidmm_device *d, uint32_t gpu, int32_t priority,
                                   struct vidmm_queue **out)
{
    if (priority < -1 || priority > 1 || gpu >= d->proc->ad->gpu_count) return VIDMM_INVALID;
    struct vidmm_adapter *ad = d->proc->ad->link[gpu];
    if (d->state != VIDMM_DEVICE_ACTIVE || ad->lost) return VIDMM_DEVICE_LOST;
    struct vidmm_queue *q = vmm_new(ad, sizeof *q);
    if (q == NULL) return VIDMM_NO_MEMORY;
    vidmm_status st = vmm_fence_make(d, 0, VIDMM_FENCE_NO_SIGNAL | VMM_FENCE_READ_ONLY, &q->fence);
    if (st != VIDMM_OK) {
        vmm_delete(ad, q, sizeof *q);
        return st;
    }
    q->dev = d;
    q->ad = ad;
    q->priority = priority;
    q->id = ++ad->lead->next_id;
    list_init(&q->requests);
    list_push_back(&d->queues, &q->on_device);
    *out = q;
    return VIDMM_OK;
}

vidmm_status vidmm_queue_create(struct vidmm_device *d, int32_t priority, struct vidmm_queue **out)
{
    return vidmm_queue_create_on(d, 0, priority, out);
}

void vidmm_queue_destroy(struct vidmm_queue *q)
{
    q->dying = true;
    q->delay_until = 0;
    vmm_queue_step_dying(q);
}

bool vmm_queue_step_dying(struct vidmm_queue *q)
{
    struct vidmm_adapter *ad = adapter_of(q);
    if (!q->dying || !list_empty(&q->requests)) return false;
    list_remove(&q->on_device);
    list_remove(&q->on_active);
    vmm_fence_drop(q->fence);
    vmm_delete(ad, q, sizeof *q);
    return true;
}

struct vidmm_fence *vidmm_queue_fence(struct vidmm_queue *q) { return q->fence; }
uint64_t vidmm_queue_issued(const struct vidmm_queue *q) { return q->issued; }
void vidmm_queue_delay(struct vidmm_queue *q, uint64_t until_ns) { q->delay_until = until_ns; }
