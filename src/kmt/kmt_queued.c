/* SPDX-License-Identifier: MIT */
/* kmt_queued.c - waits and signals that are queued to contexts, and events that are signalled from there.
 * Owns: events in flight.  Calls: object, kmt_sync, core (contexts, fences).
 * An event is a fence of the face and a watch on it: when the contexts get there, the fence has its value,
 * and the owner signals the event. A device that is lost or destroyed signals its events, like its fences. */
#include <string.h>

#include "kmt/local.h"

/* ---- events ------------------------------------------------------------------------------------ */

struct event {
    struct vidmm_watch watch;
    const struct vidmm_env *env;
    struct kmt_object *fence; /* of type SYNC_NONE */
    uint64_t event;
};

static bool event_due(void *arg)
{
    const struct event *e = arg;
    return e->fence->dead || vidmm_fence_reached(e->fence->sync.core, 1);
}

static void event_drop(struct event *e)
{
    const struct vidmm_env *env = e->env;
    if (!e->fence->dead) kmt_object_retire(e->fence, 0);
    kmt_object_unref(e->fence);
    env->free(env->ctx, e, sizeof *e);
}

static void event_fire(void *arg)
{
    struct event *e = arg;
    e->env->event_signal(e->env->ctx, e->event);
    event_drop(e);
}

static NTSTATUS event_new(struct kmt_call *c, struct kmt_object *device, uint64_t event, struct event **out)
{
    struct event *e = c->env->alloc(c->env->ctx, sizeof *e);
    if (e == NULL) return STATUS_NO_MEMORY;
    struct kmt_object *o = kmt_object_new(c->process, KMT_SYNC, device);
    if (o == NULL) {
        c->env->free(c->env->ctx, e, sizeof *e);
        return STATUS_NO_MEMORY;
    }
    e->env = c->env;
    e->fence = kmt_object_ref(o);
    e->event = event;
    e->watch = (struct vidmm_watch){event_due, event_fire, e, NULL};
    NTSTATUS status =
        kmt_status(vidmm_fence_create(device->device.core, 0, VIDMM_FENCE_NO_GPU_ACCESS, &o->sync.core));
    if (status == STATUS_SUCCESS) {
        *out = e;
        return status;
    }
    o->sync.core = NULL;
    event_drop(e);
    return status;
}

/* ---- signals ----------------------------------------------------------------------------------- */

struct signal {
    struct vidmm_context *context[VIDMM_BROADCAST_MAX];
    struct vidmm_point point[D3DKMT_MAX_SYNC_OBJECTS];
    struct event *event[D3DKMT_MAX_SYNC_OBJECTS];
    uint32_t contexts, points, events, flags;
    struct kmt_object *device; /* of the contexts: the core sees to it that there is only one */
};

static NTSTATUS add_contexts(struct kmt_call *c, struct signal *s, const D3DKMT_HANDLE *handle, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct kmt_object *o = kmt_object_find(c->process, handle[i], KMT_CONTEXT);
        if (o == NULL || s->contexts == VIDMM_BROADCAST_MAX) return STATUS_INVALID_PARAMETER;
        s->device = o->parent;
        s->context[s->contexts++] = o->context.core;
    }
    return STATUS_SUCCESS;
}

static NTSTATUS add_event(struct kmt_call *c, struct signal *s, uint64_t event)
{
    struct event *e;
    NTSTATUS status = event_new(c, s->device, event, &e);
    if (status != STATUS_SUCCESS) return status;
    s->event[s->events++] = e;
    s->point[s->points++] = (struct vidmm_point){.fence = e->fence->sync.core, .value = 1};
    return STATUS_SUCCESS;
}

static NTSTATUS add_points(struct kmt_call *c, struct signal *s, const struct kmt_points *p)
{
    NTSTATUS status = STATUS_SUCCESS;
    for (uint32_t i = 0; i < p->n && status == STATUS_SUCCESS; i++) {
        const struct kmt_object *o = p->sync[i];
        if (o->sync.flags & D3DDDI_SYNCHRONIZATIONOBJECT_FLAGS_NoSignal) return STATUS_ACCESS_DENIED;
        if (o->sync.type == SYNC_CPU_NOTIFICATION) status = add_event(c, s, o->sync.event);
        else s->point[s->points++] = (struct vidmm_point){o->sync.core, o->sync.object, p->value[i]};
    }
    return status;
}

/* All of it is queued, or nothing is left of it. */
static NTSTATUS queue_signal(struct kmt_call *c, struct signal *s, NTSTATUS status)
{
    const struct vidmm_signal in = {s->context, s->contexts, s->point, s->points, s->flags};
    if (status == STATUS_SUCCESS) status = kmt_status(vidmm_contexts_signal(&in));
    for (uint32_t i = 0; i < s->events; i++) {
        if (status == STATUS_SUCCESS) c->env->watch(c->env->ctx, &s->event[i]->watch);
        else event_drop(s->event[i]);
    }
    return status;
}

/* EnqueueCpuEvent takes an event in the place of objects. */
static NTSTATUS check_flags(uint32_t flags, uint32_t objects, uint64_t event)
{
    if (flags & (D3DDDICB_SIGNALFLAGS_Reserved | D3DDDICB_SIGNALFLAGS_DXGK_SIGNAL_FLAG_INTERNAL0))
        return STATUS_INVALID_PARAMETER;
    if ((flags & D3DDDICB_SIGNALFLAGS_EnqueueCpuEvent) != 0 && (objects != 0 || event == 0))
        return STATUS_INVALID_PARAMETER;
    return STATUS_SUCCESS;
}

static uint32_t core_flags(uint32_t flags)
{
    return flags & (D3DDDICB_SIGNALFLAGS_SignalAtSubmission | D3DDDICB_SIGNALFLAGS_AllowFenceRewind);
}

NTSTATUS kmt_signal_from_gpu(struct kmt_call *c)
{
    const D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMGPU *a = c->args;
    struct signal s = {.flags = 0};
    struct kmt_points p;
    NTSTATUS status =
        kmt_copy_points(c, a->ObjectHandleArray, a->MonitoredFenceValueArray, a->ObjectCount, &p);
    if (status == STATUS_SUCCESS) status = add_contexts(c, &s, &a->hContext, 1);
    if (status == STATUS_SUCCESS) status = add_points(c, &s, &p);
    return queue_signal(c, &s, status);
}

NTSTATUS kmt_signal_from_gpu2(struct kmt_call *c)
{
    const D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMGPU2 *a = c->args;
    D3DKMT_HANDLE context[D3DKMT_MAX_BROADCAST_CONTEXTS];
    const uint32_t n = a->BroadcastContextCount;
    struct signal s = {.flags = core_flags(a->Flags)};
    struct kmt_points p;
    NTSTATUS status = check_flags(a->Flags, a->ObjectCount, a->CpuEventHandle);
    if (status != STATUS_SUCCESS) return status;
    if (n == 0 || n > D3DKMT_MAX_BROADCAST_CONTEXTS) return STATUS_INVALID_PARAMETER;
    if (!kmt_read(c, context, a->BroadcastContextArray, n * sizeof *context)) return STATUS_INVALID_PARAMETER;
    status = add_contexts(c, &s, context, n);
    if (status == STATUS_SUCCESS && (a->Flags & D3DDDICB_SIGNALFLAGS_EnqueueCpuEvent) != 0)
        return queue_signal(c, &s, add_event(c, &s, a->CpuEventHandle));
    if (status == STATUS_SUCCESS)
        status = kmt_copy_points(c, a->ObjectHandleArray, a->MonitoredFenceValueArray, a->ObjectCount, &p);
    if (status == STATUS_SUCCESS) status = add_points(c, &s, &p);
    return queue_signal(c, &s, status);
}

/* The older forms: objects inside the struct, one value for all of them. */
static NTSTATUS same_value(struct kmt_call *c, const D3DKMT_HANDLE *handle, uint32_t n, uint64_t value,
                           struct kmt_points *p)
{
    NTSTATUS status = kmt_find_syncs(c, handle, n, p);
    for (uint32_t i = 0; i < n && status == STATUS_SUCCESS; i++) p->value[i] = value;
    return status;
}

NTSTATUS kmt_signal_sync2(struct kmt_call *c)
{
    const D3DKMT_SIGNALSYNCHRONIZATIONOBJECT2 *a = c->args;
    struct signal s = {.flags = core_flags(a->Flags)};
    struct kmt_points p;
    NTSTATUS status = check_flags(a->Flags, a->ObjectCount, a->CpuEventHandle);
    if (status != STATUS_SUCCESS) return status;
    if (a->BroadcastContextCount > D3DKMT_MAX_BROADCAST_CONTEXTS) return STATUS_INVALID_PARAMETER;
    status = add_contexts(c, &s, &a->hContext, 1);
    if (status == STATUS_SUCCESS)
        status = add_contexts(c, &s, a->BroadcastContext, a->BroadcastContextCount);
    if (status == STATUS_SUCCESS && (a->Flags & D3DDDICB_SIGNALFLAGS_EnqueueCpuEvent) != 0)
        return queue_signal(c, &s, add_event(c, &s, a->CpuEventHandle));
    if (status == STATUS_SUCCESS)
        status = same_value(c, a->ObjectHandleArray, a->ObjectCount, a->Fence.FenceValue, &p);
    if (status == STATUS_SUCCESS) status = add_points(c, &s, &p);
    return queue_signal(c, &s, status);
}

/* The first forms are for mutexes and semaphores. */
static NTSTATUS no_fences(const struct kmt_points *p)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (p->sync[i]->sync.object == NULL) return STATUS_INVALID_PARAMETER;
    return STATUS_SUCCESS;
}

NTSTATUS kmt_signal_sync(struct kmt_call *c)
{
    const D3DKMT_SIGNALSYNCHRONIZATIONOBJECT *a = c->args;
    struct signal s = {.flags = core_flags(a->Flags)};
    struct kmt_points p;
    NTSTATUS status = check_flags(a->Flags, a->ObjectCount, 0);
    if (status == STATUS_SUCCESS) status = add_contexts(c, &s, &a->hContext, 1);
    if (status == STATUS_SUCCESS) status = same_value(c, a->ObjectHandleArray, a->ObjectCount, 0, &p);
    if (status == STATUS_SUCCESS) status = no_fences(&p);
    if (status == STATUS_SUCCESS) status = add_points(c, &s, &p);
    return queue_signal(c, &s, status);
}

/* ---- waits ------------------------------------------------------------------------------------- */

static NTSTATUS queue_wait(struct kmt_call *c, D3DKMT_HANDLE handle, const struct kmt_points *p)
{
    struct vidmm_point point[D3DKMT_MAX_SYNC_OBJECTS];
    const struct kmt_object *context = kmt_object_find(c->process, handle, KMT_CONTEXT);
    if (context == NULL) return STATUS_INVALID_PARAMETER;
    for (uint32_t i = 0; i < p->n; i++) {
        const struct kmt_object *o = p->sync[i];
        if (o->sync.type == SYNC_CPU_NOTIFICATION) return STATUS_INVALID_PARAMETER; /* nothing to wait for */
        if (o->sync.flags & D3DDDI_SYNCHRONIZATIONOBJECT_FLAGS_NoWait) return STATUS_ACCESS_DENIED;
        point[i] = (struct vidmm_point){o->sync.core, o->sync.object, p->value[i]};
    }
    return kmt_status(vidmm_context_wait_for(context->context.core, point, p->n));
}

NTSTATUS kmt_wait_from_gpu(struct kmt_call *c)
{
    const D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMGPU *a = c->args;
    struct kmt_points p;
    NTSTATUS status =
        kmt_copy_points(c, a->ObjectHandleArray, a->MonitoredFenceValueArray, a->ObjectCount, &p);
    return status == STATUS_SUCCESS ? queue_wait(c, a->hContext, &p) : status;
}

NTSTATUS kmt_wait_sync2(struct kmt_call *c)
{
    const D3DKMT_WAITFORSYNCHRONIZATIONOBJECT2 *a = c->args;
    struct kmt_points p;
    NTSTATUS status = same_value(c, a->ObjectHandleArray, a->ObjectCount, a->Fence.FenceValue, &p);
    return status == STATUS_SUCCESS ? queue_wait(c, a->hContext, &p) : status;
}

NTSTATUS kmt_wait_sync(struct kmt_call *c)
{
    const D3DKMT_WAITFORSYNCHRONIZATIONOBJECT *a = c->args;
    struct kmt_points p;
    NTSTATUS status = same_value(c, a->ObjectHandleArray, a->ObjectCount, 0, &p);
    if (status == STATUS_SUCCESS) status = no_fences(&p);
    return status == STATUS_SUCCESS ? queue_wait(c, a->hContext, &p) : status;
}
