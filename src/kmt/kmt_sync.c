/* SPDX-License-Identifier: MIT */
/* kmt_sync.c - synchronization objects, waits and signals from CPU and GPU.
 * Owns: nothing beyond its objects.  Calls: object, core (fence, context).
 * Fences (type 3) and monitored fences (type 5) exist; the core has one kind and both are it. */
#include <string.h>

#include "kmt/local.h"

#define FLAG(name) D3DDDI_SYNCHRONIZATIONOBJECT_FLAGS_##name

_Static_assert((uint32_t)VIDMM_FENCE_NO_SIGNAL == FLAG(NoSignal), "same bit");
_Static_assert((uint32_t)VIDMM_FENCE_NO_WAIT == FLAG(NoWait), "same bit");
_Static_assert((uint32_t)VIDMM_FENCE_NO_MAX_ON_LOSS == FLAG(NoSignalMaxValueOnTdr), "same bit");
_Static_assert((uint32_t)VIDMM_FENCE_NO_GPU_ACCESS == FLAG(NoGPUAccess), "same bit");

/* ---- objects ----------------------------------------------------------------------------------- */

static NTSTATUS check_new(const D3DKMT_CREATESYNCHRONIZATIONOBJECT2 *a)
{
    const uint32_t f = a->Info.Flags;
    const uint32_t absent =
        FLAG(NtSecuritySharing) | FLAG(CrossAdapter) | FLAG(TopOfPipeline) | FLAG(SignalByKmd);
    if (f & (FLAG(Reserved) | FLAG(Reserved0))) return STATUS_INVALID_PARAMETER;
    if (a->Info.Type < SYNC_MUTEX || a->Info.Type > SYNC_PERIODIC_MONITORED_FENCE)
        return STATUS_INVALID_PARAMETER;
    if (a->Info.Type != SYNC_FENCE && a->Info.Type != SYNC_MONITORED_FENCE) return STATUS_NOT_SUPPORTED;
    if (f & absent) return STATUS_NOT_SUPPORTED;
    if (f & FLAG(Shared)) /* a monitored fence is shared by NT handle only */
        return a->Info.Type == SYNC_MONITORED_FENCE ? STATUS_INVALID_PARAMETER : STATUS_NOT_SUPPORTED;
    if (a->Info.Type == SYNC_MONITORED_FENCE && a->Info.MonitoredFence.EngineAffinity > 1)
        return STATUS_INVALID_PARAMETER; /* one engine per node */
    return STATUS_SUCCESS;
}

NTSTATUS kmt_create_sync2(struct kmt_call *c)
{
    D3DKMT_CREATESYNCHRONIZATIONOBJECT2 *a = c->args;
    struct kmt_object *device = kmt_object_find(c->process, a->hDevice, KMT_DEVICE);
    if (device == NULL) return STATUS_INVALID_PARAMETER;
    NTSTATUS status = check_new(a);
    if (status != STATUS_SUCCESS) return status;
    struct kmt_object *o = kmt_object_new(c->process, KMT_SYNC, device);
    if (o == NULL) return STATUS_NO_MEMORY;
    uint32_t flags = a->Info.Flags;
    if (a->Info.Type == SYNC_FENCE) flags |= FLAG(NoGPUAccess); /* its value has no address */
    const uint64_t initial = a->Info.Fence.FenceValue; /* at the same place for both types */
    status = kmt_status(vidmm_fence_create(device->device.core, initial, flags, &o->sync.core));
    if (status != STATUS_SUCCESS) {
        o->sync.core = NULL;
        kmt_object_retire(o, 0);
        return status;
    }
    o->sync.flags = flags;
    o->sync.type = a->Info.Type;
    if (a->Info.Type == SYNC_MONITORED_FENCE) {
        a->Info.MonitoredFence.FenceValueCPUVirtualAddress = (uintptr_t)vidmm_fence_cpu_address(o->sync.core);
        a->Info.MonitoredFence.FenceValueGPUVirtualAddress = vidmm_fence_gpu_address(o->sync.core);
    }
    a->Info.SharedHandle = 0;
    a->hSyncObject = o->handle;
    c->made = o;
    c->undo = kmt_undo_object;
    return STATUS_SUCCESS;
}

NTSTATUS kmt_destroy_sync(struct kmt_call *c)
{
    const D3DKMT_DESTROYSYNCHRONIZATIONOBJECT *a = c->args;
    struct kmt_object *o = kmt_object_find(c->process, a->hSyncObject, KMT_SYNC);
    /* The one of a paging queue goes with the queue. */
    if (o == NULL || o->sync.queue != NULL) return STATUS_INVALID_PARAMETER;
    kmt_object_retire(o, 0);
    return STATUS_SUCCESS;
}

/* ---- lists of objects and values --------------------------------------------------------------- */

struct points {
    struct kmt_object *sync[D3DKMT_MAX_SYNC_OBJECTS];
    uint64_t value[D3DKMT_MAX_SYNC_OBJECTS];
    uint32_t n;
};

static NTSTATUS find_syncs(struct kmt_call *c, const D3DKMT_HANDLE *handle, uint32_t n, struct points *p)
{
    if (n == 0 || n > D3DKMT_MAX_SYNC_OBJECTS) return STATUS_INVALID_PARAMETER;
    p->n = n;
    for (uint32_t i = 0; i < n; i++) {
        p->sync[i] = kmt_object_find(c->process, handle[i], KMT_SYNC);
        if (p->sync[i] == NULL) return STATUS_INVALID_PARAMETER;
    }
    return STATUS_SUCCESS;
}

/* Both arrays lie in client memory. */
static NTSTATUS copy_points(struct kmt_call *c, D3DKMT_PTR handles, D3DKMT_PTR values, uint32_t n,
                            struct points *p)
{
    D3DKMT_HANDLE handle[D3DKMT_MAX_SYNC_OBJECTS];
    if (n == 0 || n > D3DKMT_MAX_SYNC_OBJECTS) return STATUS_INVALID_PARAMETER;
    if (!kmt_read(c, handle, handles, n * sizeof *handle)) return STATUS_INVALID_PARAMETER;
    if (!kmt_read(c, p->value, values, n * sizeof *p->value)) return STATUS_INVALID_PARAMETER;
    return find_syncs(c, handle, n, p);
}

/* One right of all of them. */
static NTSTATUS check_right(const struct points *p, uint32_t forbidden)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (p->sync[i]->sync.flags & forbidden) return STATUS_ACCESS_DENIED;
    return STATUS_SUCCESS;
}

/* ---- from the CPU ------------------------------------------------------------------------------ */

NTSTATUS kmt_signal_from_cpu(struct kmt_call *c)
{
    const D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMCPU *a = c->args;
    const uint32_t illegal = D3DDDICB_SIGNALFLAGS_Reserved | D3DDDICB_SIGNALFLAGS_DXGK_SIGNAL_FLAG_INTERNAL0 |
                             D3DDDICB_SIGNALFLAGS_EnqueueCpuEvent;
    struct points p;
    if (kmt_object_find(c->process, a->hDevice, KMT_DEVICE) == NULL) return STATUS_INVALID_PARAMETER;
    if (a->Flags & illegal) return STATUS_INVALID_PARAMETER;
    if (a->Flags & D3DDDICB_SIGNALFLAGS_AllowFenceRewind) return STATUS_NOT_SUPPORTED;
    NTSTATUS status = copy_points(c, a->ObjectHandleArray, a->FenceValueArray, a->ObjectCount, &p);
    if (status == STATUS_SUCCESS) status = check_right(&p, FLAG(NoSignal));
    if (status != STATUS_SUCCESS) return status;
    for (uint32_t i = 0; i < p.n; i++) /* all or nothing, as far as the GPU does not write meanwhile */
        if (p.value[i] < vidmm_fence_value(p.sync[i]->sync.core)) return STATUS_INVALID_PARAMETER;
    for (uint32_t i = 0; i < p.n && status == STATUS_SUCCESS; i++)
        status = kmt_status(vidmm_fence_signal(p.sync[i]->sync.core, p.value[i]));
    return status;
}

/* A wait in progress.  Objects may be destroyed meanwhile: that ends the wait. */
struct wait {
    struct vidmm_watch watch;
    const struct vidmm_env *env;
    uint64_t event;
    bool any;
    struct points p;
};

static bool point_reached(const struct wait *w, uint32_t i)
{
    return w->p.sync[i]->dead || vidmm_fence_value(w->p.sync[i]->sync.core) >= w->p.value[i];
}

static bool wait_over(void *arg)
{
    const struct wait *w = arg;
    uint32_t reached = 0;
    for (uint32_t i = 0; i < w->p.n; i++) reached += point_reached(w, i);
    return w->any ? reached != 0 : reached == w->p.n;
}

static void hold_points(struct wait *w)
{
    for (uint32_t i = 0; i < w->p.n; i++) kmt_object_ref(w->p.sync[i]);
}

/* true: one of the objects was destroyed. */
static bool drop_points(struct wait *w)
{
    bool dead = false;
    for (uint32_t i = 0; i < w->p.n; i++) {
        dead |= w->p.sync[i]->dead;
        kmt_object_unref(w->p.sync[i]);
    }
    return dead;
}

static void wait_fired(void *arg)
{
    struct wait *w = arg;
    const struct vidmm_env *env = w->env;
    drop_points(w);
    env->event_signal(env->ctx, w->event);
    env->free(env->ctx, w, sizeof *w);
}

static NTSTATUS wait_later(struct kmt_call *c, const struct wait *now)
{
    struct wait *w = c->env->alloc(c->env->ctx, sizeof *w);
    if (w == NULL) return STATUS_NO_MEMORY;
    *w = *now;
    w->env = c->env;
    w->watch = (struct vidmm_watch){wait_over, wait_fired, w, NULL};
    hold_points(w);
    c->env->watch(c->env->ctx, &w->watch);
    return STATUS_SUCCESS;
}

NTSTATUS kmt_wait_from_cpu(struct kmt_call *c)
{
    const D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU *a = c->args;
    struct wait w = {.event = a->hAsyncEvent};
    if (kmt_object_find(c->process, a->hDevice, KMT_DEVICE) == NULL) return STATUS_INVALID_PARAMETER;
    if (a->Flags & D3DDDI_WAITFORSYNCHRONIZATIONOBJECTFROMCPU_FLAGS_Reserved) return STATUS_INVALID_PARAMETER;
    w.any = (a->Flags & D3DDDI_WAITFORSYNCHRONIZATIONOBJECTFROMCPU_FLAGS_WaitAny) != 0;
    NTSTATUS status = copy_points(c, a->ObjectHandleArray, a->FenceValueArray, a->ObjectCount, &w.p);
    if (status == STATUS_SUCCESS) status = check_right(&w.p, FLAG(NoWait));
    if (status != STATUS_SUCCESS) return status;
    if (w.event != 0) return wait_later(c, &w);
    if (wait_over(&w)) return STATUS_SUCCESS;
    hold_points(&w);
    bool there = c->env->wait(c->env->ctx, wait_over, &w);
    bool dead = drop_points(&w);
    if (!there) return STATUS_DEVICE_REMOVED;
    return dead ? STATUS_INVALID_PARAMETER : STATUS_SUCCESS;
}

/* ---- queued to a context ----------------------------------------------------------------------- */

enum queued { QUEUED_WAIT, QUEUED_SIGNAL };

static NTSTATUS queue_points(struct kmt_call *c, D3DKMT_HANDLE context_handle, const struct points *p,
                             enum queued what)
{
    struct vidmm_fence *fence[D3DKMT_MAX_SYNC_OBJECTS];
    const struct kmt_object *context = kmt_object_find(c->process, context_handle, KMT_CONTEXT);
    if (context == NULL) return STATUS_INVALID_PARAMETER;
    NTSTATUS status = check_right(p, what == QUEUED_WAIT ? FLAG(NoWait) : FLAG(NoSignal));
    if (status != STATUS_SUCCESS) return status;
    for (uint32_t i = 0; i < p->n; i++) fence[i] = p->sync[i]->sync.core;
    struct vidmm_context *core = context->context.core;
    if (what == QUEUED_WAIT) return kmt_status(vidmm_context_wait(core, fence, p->value, p->n));
    return kmt_status(vidmm_context_signal(core, fence, p->value, p->n));
}

NTSTATUS kmt_wait_from_gpu(struct kmt_call *c)
{
    const D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMGPU *a = c->args;
    struct points p;
    NTSTATUS status = copy_points(c, a->ObjectHandleArray, a->MonitoredFenceValueArray, a->ObjectCount, &p);
    return status == STATUS_SUCCESS ? queue_points(c, a->hContext, &p, QUEUED_WAIT) : status;
}

NTSTATUS kmt_signal_from_gpu(struct kmt_call *c)
{
    const D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMGPU *a = c->args;
    struct points p;
    NTSTATUS status = copy_points(c, a->ObjectHandleArray, a->MonitoredFenceValueArray, a->ObjectCount, &p);
    return status == STATUS_SUCCESS ? queue_points(c, a->hContext, &p, QUEUED_SIGNAL) : status;
}

static NTSTATUS check_signal_flags(uint32_t flags)
{
    if (flags & (D3DDDICB_SIGNALFLAGS_Reserved | D3DDDICB_SIGNALFLAGS_DXGK_SIGNAL_FLAG_INTERNAL0))
        return STATUS_INVALID_PARAMETER;
    return flags != 0 ? STATUS_NOT_SUPPORTED : STATUS_SUCCESS;
}

/* Broadcast belongs to linked adapters: one context only. */
NTSTATUS kmt_signal_from_gpu2(struct kmt_call *c)
{
    const D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMGPU2 *a = c->args;
    D3DKMT_HANDLE context;
    struct points p;
    NTSTATUS status = check_signal_flags(a->Flags);
    if (status != STATUS_SUCCESS) return status;
    if (a->BroadcastContextCount == 0 || a->BroadcastContextCount > D3DKMT_MAX_BROADCAST_CONTEXTS)
        return STATUS_INVALID_PARAMETER;
    if (a->BroadcastContextCount > 1) return STATUS_NOT_SUPPORTED;
    if (!kmt_read(c, &context, a->BroadcastContextArray, sizeof context)) return STATUS_INVALID_PARAMETER;
    status = copy_points(c, a->ObjectHandleArray, a->MonitoredFenceValueArray, a->ObjectCount, &p);
    return status == STATUS_SUCCESS ? queue_points(c, context, &p, QUEUED_SIGNAL) : status;
}

/* The older forms: objects inside the struct, one value for all of them. */
static NTSTATUS queue_same(struct kmt_call *c, D3DKMT_HANDLE context, const D3DKMT_HANDLE *handle, uint32_t n,
                           uint64_t value, enum queued what)
{
    struct points p;
    NTSTATUS status = find_syncs(c, handle, n, &p);
    if (status != STATUS_SUCCESS) return status;
    for (uint32_t i = 0; i < n; i++) p.value[i] = value;
    return queue_points(c, context, &p, what);
}

NTSTATUS kmt_signal_sync2(struct kmt_call *c)
{
    const D3DKMT_SIGNALSYNCHRONIZATIONOBJECT2 *a = c->args;
    NTSTATUS status = check_signal_flags(a->Flags);
    if (status != STATUS_SUCCESS) return status;
    if (a->BroadcastContextCount > D3DKMT_MAX_BROADCAST_CONTEXTS) return STATUS_INVALID_PARAMETER;
    if (a->BroadcastContextCount != 0) return STATUS_NOT_SUPPORTED;
    const uint64_t value = a->Fence.FenceValue;
    return queue_same(c, a->hContext, a->ObjectHandleArray, a->ObjectCount, value, QUEUED_SIGNAL);
}

NTSTATUS kmt_wait_sync2(struct kmt_call *c)
{
    const D3DKMT_WAITFORSYNCHRONIZATIONOBJECT2 *a = c->args;
    return queue_same(c, a->hContext, a->ObjectHandleArray, a->ObjectCount, a->Fence.FenceValue, QUEUED_WAIT);
}
