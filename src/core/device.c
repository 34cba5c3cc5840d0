/* SPDX-License-Identifier: MIT */
/* device.c — the device: unit of residency, of suspension and of the error state.
 * Owns: struct vidmm_device. Calls: sched.c, request.c, fence.c, alloc.c. Keeps: invariants 7, 12.
 *
 *   ACTIVE --vmm_device_fail--> PAGE_FAULT, HUNG, DMA_FAULT, OUT_OF_MEMORY, RESET
 *   any --vidmm_device_destroy--> dying --vmm_device_step--> gone                                    */
#include "core/core.h"

static vidmm_status tell_driver(struct vidmm_device *d)
{
    struct vidmm_adapter *ad = d->proc->ad;
    struct vidmm_kmd_device kd = { .process = d->proc->space.kmd_process, .pasid = d->proc->pasid };
    if (ad->ops->create_device == NULL) return VIDMM_OK;
    if (BROKEN(ad, IOM_05)) kd.pasid = 0;
    struct list *first = ad->processes.next;
    if (BROKEN(ad, IOM_02)) kd.pasid = list_entry(first, struct vidmm_process, on_adapter)->pasid;
    vidmm_status st = ad->ops->create_device(ad->kmd, &kd);
    if (st == VIDMM_OK) d->kmd_device = kd.handle;
    return st;
}

vidmm_status vidmm_device_create(struct vidmm_process *p, struct vidmm_device **out)
{
    struct vidmm_adapter *ad = p->ad;
    if (p->dying) return VIDMM_INVALID;
    if (ad->removed) return VIDMM_DEVICE_LOST;
    struct vidmm_device *d = vmm_new(ad, sizeof *d);
    if (d == NULL) return VIDMM_NO_MEMORY;
    d->proc = p;
    vidmm_status st = tell_driver(d);
    if (st != VIDMM_OK) {
        vmm_delete(ad, d, sizeof *d);
        return st;
    }
    d->model = (uint8_t)vmm_model_of_adapter(ad);
    d->id = ++ad->lead->next_id;
    d->state = VIDMM_DEVICE_ACTIVE;
    list_init(&d->contexts);
    list_init(&d->hwcontexts);
    list_init(&d->queues);
    list_init(&d->opens);
    list_init(&d->fences);
    list_init(&d->syncs);
    list_init(&d->stakes);
    list_init(&d->required);
    list_push_back(&p->devices, &d->on_process);
    ad->counters->devices++;
    *out = d;
    return VIDMM_OK;
}

bool vmm_device_runnable(const struct vidmm_device *d)
{
    if (BROKEN(d->proc->ad, RES_02) && d->model == VIDMM_MODEL_IOMMU) return d->state == VIDMM_DEVICE_ACTIVE;
    return d->state == VIDMM_DEVICE_ACTIVE && d->holds == 0 && d->missing == 0;
}

/* A packet at the head of a context that only residency keeps from running. */
bool vmm_device_has_work(const struct vidmm_device *d)
{
    LIST_FOREACH(it, &d->contexts) {
        struct list *l = list_first(&list_entry(it, struct vidmm_context, on_device)->packets);
        if (l != NULL && list_entry(l, struct vmm_packet, link)->kind == PACKET_EXEC) return true;
    }
    return vmm_hw_has_work(d);
}

void vmm_device_release_waiters(struct vidmm_device *d)
{
    LIST_FOREACH(it, &d->fences) {
        struct vidmm_fence *f = list_entry(it, struct vidmm_fence, on_device);
        if (!(f->flags & VIDMM_FENCE_NO_MAX_ON_LOSS)) vmm_fence_end(f);
    }
}

static void stop_work(struct vidmm_device *d)
{
    vmm_hw_stop(d);
    LIST_FOREACH(it, &d->contexts) vmm_context_cancel(list_entry(it, struct vidmm_context, on_device));
    LIST_FOREACH(it, &d->queues) vmm_queue_cancel(list_entry(it, struct vidmm_queue, on_device));
    LIST_FOREACH(it, &d->opens) vmm_required_drop(list_entry(it, struct vidmm_open, on_device));
}

/* Fences go to the maximum first: nobody may be refused while a waiter still hopes. */
void vmm_device_fail(struct vidmm_device *d, enum vidmm_device_state state,
                     const struct vidmm_page_fault *fault)
{
    if (d->state != VIDMM_DEVICE_ACTIVE) return;
    vmm_device_release_waiters(d);
    d->state = (uint8_t)state;
    if (fault != NULL) d->fault = *fault;
    stop_work(d);
}

void vidmm_device_destroy(struct vidmm_device *d)
{
    if (d->dying) return;
    d->dying = true;
    vmm_device_release_waiters(d);
    d->state = VIDMM_DEVICE_STOPPED;
    stop_work(d);
    LIST_FOREACH_SAFE(it, tmp, &d->contexts)
        vidmm_context_destroy(list_entry(it, struct vidmm_context, on_device));
    vmm_hw_destroy_all(d);
    LIST_FOREACH_SAFE(it, tmp, &d->queues) vidmm_queue_destroy(list_entry(it, struct vidmm_queue, on_device));
    LIST_FOREACH_SAFE(it, tmp, &d->opens) {
        struct vidmm_open *op = list_entry(it, struct vidmm_open, on_device);
        if (!op->dying) vmm_open_close(op, 0);
    }
}

static bool step_children(struct vidmm_device *d)
{
    bool progress = vmm_hw_step_dying(d);
    LIST_FOREACH_SAFE(it, tmp, &d->contexts)
        progress |= vmm_context_step_dying(list_entry(it, struct vidmm_context, on_device));
    LIST_FOREACH_SAFE(it, tmp, &d->queues)
        progress |= vmm_queue_step_dying(list_entry(it, struct vidmm_queue, on_device));
    return progress;
}

/* Not before its last packet has left the engines: that one may still be inside what a mutex guards, and may
 * write a fence that is at its maximum. */
static bool settle(struct vidmm_device *d)
{
    bool first = !d->settled;
    if (d->state == VIDMM_DEVICE_ACTIVE || d->running > 0) return false;
    if (first) vmm_device_release_waiters(d);
    d->settled = true;
    return vmm_device_release_held(d) || first;
}

bool vmm_device_step(struct vidmm_device *d)
{
    bool progress = step_children(d);
    progress |= settle(d);
    bool empty = list_empty(&d->contexts) && list_empty(&d->hwcontexts) && list_empty(&d->queues);
    if (!d->dying || !empty || !list_empty(&d->opens)) return progress;
    LIST_FOREACH_SAFE(it, tmp, &d->fences) vmm_fence_drop(list_entry(it, struct vidmm_fence, on_device));
    LIST_FOREACH_SAFE(it, tmp, &d->syncs) vmm_sync_drop(list_entry(it, struct vidmm_sync, on_device));
    if (!list_empty(&d->fences) || !list_empty(&d->syncs)) return progress; /* others' packets name one */
    CHECK(list_empty(&d->stakes)); /* nothing of it is queued, and it holds nothing */
    if (d->proc->ad->ops->destroy_device != NULL)
        d->proc->ad->ops->destroy_device(d->proc->ad->kmd, d->kmd_device);
    list_remove(&d->on_process);
    vmm_delete(d->proc->ad, d, sizeof *d);
    return true;
}

vidmm_status vidmm_device_mark(struct vidmm_device *d)
{
    if (d->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    vmm_device_fail(d, VIDMM_DEVICE_DMA_FAULT, NULL);
    return VIDMM_OK;
}

enum vidmm_device_state vidmm_device_state(const struct vidmm_device *d)
{
    return (enum vidmm_device_state)d->state;
}

vidmm_status vidmm_device_fault(const struct vidmm_device *d, struct vidmm_page_fault *out)
{
    if (d->state != VIDMM_DEVICE_PAGE_FAULT) return VIDMM_INVALID;
    *out = d->fault;
    return VIDMM_OK;
}
