/* SPDX-License-Identifier: MIT */
/* kmt_sync.c - synchronization objects, waits and signals from the CPU.
 * Owns: nothing beyond its objects.  Calls: object, core (fence, sync).
 * Fences (type 3) and monitored fences (type 5) are one kind in the core, and so are mutexes (1) and
 * semaphores (2). A CPU notification (4) is an event and nothing else (see kmt_queued.c). */
#include <string.h>

#include "kmt/local.h"

#define FLAG(name) D3DDDI_SYNCHRONIZATIONOBJECT_FLAGS_##name

_Static_assert((uint32_t)VIDMM_FENCE_NO_SIGNAL == FLAG(NoSignal), "same bit");
_Static_assert((uint32_t)VIDMM_FENCE_NO_WAIT == FLAG(NoWait), "same bit");
_Static_assert((uint32_t)VIDMM_FENCE_NO_MAX_ON_LOSS == FLAG(NoSignalMaxValueOnTdr), "same bit");
_Static_assert((uint32_t)VIDMM_SIGNAL_AT_SUBMISSION == D3DDDICB_SIGNALFLAGS_SignalAtSubmission, "same bit");
_Static_assert((uint32_t)VIDMM_SIGNAL_ALLOW_REWIND == D3DDDICB_SIGNALFLAGS_AllowFenceRewind, "same bit");
_Static_assert((uint32_t)VIDMM_FENCE_NO_GPU_ACCESS == FLAG(NoGPUAccess), "same bit");

/* ---- objects ----------------------------------------------------------------------------------- */

static NTSTATUS check_flags(uint32_t type, uint32_t f)
{
    const uint32_t monitored =
        FLAG(TopOfPipeline) | FLAG(NoSignal) | FLAG(NoWait) | FLAG(NoSignalMaxValueOnTdr);
    const uint32_t absent = FLAG(CrossAdapter) | FLAG(TopOfPipeline) | FLAG(SignalByKmd);
    const uint32_t by_name = FLAG(Shared) | FLAG(NtSecuritySharing), how = f & by_name;
    if (f & (FLAG(Reserved) | FLAG(Reserved0))) return STATUS_INVALID_PARAMETER;
    if (type != SYNC_MONITORED_FENCE && f & monitored) return STATUS_INVALID_PARAMETER;
    if (type != SYNC_CPU_NOTIFICATION && f & FLAG(SignalByKmd)) return STATUS_INVALID_PARAMETER;
    if (f & absent) return STATUS_NOT_SUPPORTED;
    if (type != SYNC_MONITORED_FENCE) return how == 0 ? STATUS_SUCCESS : STATUS_NOT_SUPPORTED;
    return how == 0 || how == by_name ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER; /* SUB-19 */
}

static NTSTATUS check_new(const D3DKMT_CREATESYNCHRONIZATIONOBJECT2 *a)
{
    const uint32_t type = a->Info.Type;
    if (type < SYNC_MUTEX || type > SYNC_PERIODIC_MONITORED_FENCE) return STATUS_INVALID_PARAMETER;
    NTSTATUS status = check_flags(type, a->Info.Flags);
    if (status != STATUS_SUCCESS) return status;
    if (type == SYNC_PERIODIC_MONITORED_FENCE) return STATUS_NOT_SUPPORTED;
    if (type == SYNC_CPU_NOTIFICATION && a->Info.CPUNotification.Event == 0) return STATUS_INVALID_PARAMETER;
    if (type == SYNC_MONITORED_FENCE && a->Info.MonitoredFence.EngineAffinity > 1)
        return STATUS_INVALID_PARAMETER; /* one engine per node */
    return STATUS_SUCCESS;
}

/* The rights of a fence that can be opened again belong to its handles (kmt_syncshare.c). */
static vidmm_status make_fence(struct vidmm_device *device, uint64_t initial, struct kmt_object *o)
{
    const uint32_t rights = FLAG(NoSignal) | FLAG(NoWait);
    uint32_t flags = o->sync.flags & ~(FLAG(Shared) | FLAG(NtSecuritySharing));
    if ((flags & rights) == rights) return VIDMM_INVALID;
    if (o->sync.shared != NULL) flags &= ~rights;
    vidmm_status st = vidmm_fence_create(device, initial, flags, &o->sync.core);
    if (st == VIDMM_OK && o->sync.shared != NULL) o->sync.shared->core = o->sync.core;
    return st;
}

static bool may_be_named(struct kmt_call *c, struct kmt_object *o)
{
    if ((o->sync.flags & FLAG(NtSecuritySharing)) == 0) return true;
    o->sync.shared = c->env->alloc(c->env->ctx, sizeof *o->sync.shared);
    if (o->sync.shared == NULL) return false;
    o->sync.shared->device = o->parent;
    o->sync.shared->users = 1;
    o->sync.shared->flags = o->sync.flags;
    return true;
}

/* InitialState TRUE: signalled, nobody owns the mutex. */
static vidmm_status make_core(struct vidmm_device *device, D3DKMT_CREATESYNCHRONIZATIONOBJECT2 *a,
                              struct kmt_object *o)
{
    struct vidmm_sync_desc desc = {.kind = VIDMM_SYNC_MUTEX};
    switch (a->Info.Type) {
    case SYNC_MUTEX:
        desc.initial = a->Info.SynchronizationMutex.InitialState != 0;
        return vidmm_sync_create(device, &desc, &o->sync.object);
    case SYNC_SEMAPHORE:
        desc = (struct vidmm_sync_desc){VIDMM_SYNC_SEMAPHORE, a->Info.Semaphore.InitialCount,
                                        a->Info.Semaphore.MaxCount};
        return vidmm_sync_create(device, &desc, &o->sync.object);
    case SYNC_CPU_NOTIFICATION: /* the core has no part in it, and would refuse */
        if (vidmm_device_state(device) != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
        o->sync.event = a->Info.CPUNotification.Event;
        return VIDMM_OK;
    default: return make_fence(device, a->Info.Fence.FenceValue, o); /* both types: at the same place */
    }
}

static NTSTATUS create_sync(struct kmt_call *c, D3DKMT_CREATESYNCHRONIZATIONOBJECT2 *a)
{
    struct kmt_object *device = kmt_object_find(c->process, a->hDevice, KMT_DEVICE);
    if (device == NULL) return STATUS_INVALID_PARAMETER;
    NTSTATUS status = check_new(a);
    if (status != STATUS_SUCCESS) return status;
    struct kmt_object *o = kmt_object_new(c->process, KMT_SYNC, device);
    if (o == NULL) return STATUS_NO_MEMORY;
    o->sync.type = a->Info.Type;
    o->sync.flags = a->Info.Flags;
    if (a->Info.Type == SYNC_FENCE) o->sync.flags |= FLAG(NoGPUAccess); /* its value has no address */
    status = may_be_named(c, o) ? kmt_status(make_core(device->device.core, a, o)) : STATUS_NO_MEMORY;
    if (status != STATUS_SUCCESS) {
        o->sync.core = NULL;
        o->sync.object = NULL;
        kmt_object_retire(o, 0);
        return status;
    }
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

NTSTATUS kmt_create_sync2(struct kmt_call *c) { return create_sync(c, c->args); }

/* The first form knows mutexes and semaphores only. */
NTSTATUS kmt_create_sync(struct kmt_call *c)
{
    D3DKMT_CREATESYNCHRONIZATIONOBJECT *a = c->args;
    D3DKMT_CREATESYNCHRONIZATIONOBJECT2 b = {.hDevice = a->hDevice};
    if (a->Info.Type != SYNC_MUTEX && a->Info.Type != SYNC_SEMAPHORE) return STATUS_INVALID_PARAMETER;
    b.Info.Type = a->Info.Type;
    memcpy(&b.Info.Semaphore, &a->Info.Semaphore, sizeof b.Info.Semaphore); /* the larger of the two */
    NTSTATUS status = create_sync(c, &b);
    if (status == STATUS_SUCCESS) a->hSyncObject = b.hSyncObject;
    return status;
}

NTSTATUS kmt_destroy_sync(struct kmt_call *c)
{
    const D3DKMT_DESTROYSYNCHRONIZATIONOBJECT *a = c->args;
    struct kmt_object *o = kmt_object_find(c->process, a->hSyncObject, KMT_SYNC);
    /* The one of a paging queue goes with the queue, one that only an event hangs on with the event. */
    if (o == NULL || o->sync.queue != NULL || o->sync.type == SYNC_NONE) return STATUS_INVALID_PARAMETER;
    kmt_object_retire(o, 0);
    return STATUS_SUCCESS;
}

/* ---- lists of objects and values --------------------------------------------------------------- */

NTSTATUS kmt_find_syncs(struct kmt_call *c, const D3DKMT_HANDLE *handle, uint32_t n, struct kmt_points *p)
{
    if (n == 0 || n > D3DKMT_MAX_SYNC_OBJECTS) return STATUS_INVALID_PARAMETER;
    p->n = n;
    for (uint32_t i = 0; i < n; i++) {
        p->sync[i] = kmt_object_find(c->process, handle[i], KMT_SYNC);
        if (p->sync[i] == NULL || p->sync[i]->sync.type == SYNC_NONE) return STATUS_INVALID_PARAMETER;
    }
    return STATUS_SUCCESS;
}

/* Both arrays lie in client memory. */
NTSTATUS kmt_copy_points(struct kmt_call *c, D3DKMT_PTR handles, D3DKMT_PTR values, uint32_t n,
                         struct kmt_points *p)
{
    D3DKMT_HANDLE handle[D3DKMT_MAX_SYNC_OBJECTS];
    if (n == 0 || n > D3DKMT_MAX_SYNC_OBJECTS) return STATUS_INVALID_PARAMETER;
    if (!kmt_read(c, handle, handles, n * sizeof *handle)) return STATUS_INVALID_PARAMETER;
    if (!kmt_read(c, p->value, values, n * sizeof *p->value)) return STATUS_INVALID_PARAMETER;
    return kmt_find_syncs(c, handle, n, p);
}

NTSTATUS kmt_fences_of(const struct kmt_points *p, uint32_t forbidden, struct vidmm_fence **fence)
{
    for (uint32_t i = 0; i < p->n; i++) {
        fence[i] = p->sync[i]->sync.core;
        if (fence[i] == NULL) return STATUS_INVALID_PARAMETER;
        if (p->sync[i]->sync.flags & forbidden) return STATUS_ACCESS_DENIED;
    }
    return STATUS_SUCCESS;
}

/* ---- from the CPU ------------------------------------------------------------------------------ */

NTSTATUS kmt_signal_from_cpu(struct kmt_call *c)
{
    const D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMCPU *a = c->args;
    const uint32_t illegal = D3DDDICB_SIGNALFLAGS_Reserved | D3DDDICB_SIGNALFLAGS_DXGK_SIGNAL_FLAG_INTERNAL0 |
                             D3DDDICB_SIGNALFLAGS_EnqueueCpuEvent;
    struct vidmm_fence *fence[D3DKMT_MAX_SYNC_OBJECTS];
    struct kmt_points p;
    if (kmt_object_find(c->process, a->hDevice, KMT_DEVICE) == NULL) return STATUS_INVALID_PARAMETER;
    if (a->Flags & illegal) return STATUS_INVALID_PARAMETER;
    NTSTATUS status = kmt_copy_points(c, a->ObjectHandleArray, a->FenceValueArray, a->ObjectCount, &p);
    if (status == STATUS_SUCCESS) status = kmt_fences_of(&p, FLAG(NoSignal), fence);
    if (status != STATUS_SUCCESS) return status;
    return kmt_status(vidmm_fences_signal(fence, p.value, p.n, a->Flags));
}

/* A wait in progress.  Objects may be destroyed meanwhile: that ends the wait. */
struct wait {
    struct vidmm_watch watch;
    const struct vidmm_env *env;
    uint64_t event;
    bool any;
    struct kmt_points p;
};

static bool point_reached(const struct wait *w, uint32_t i)
{
    return w->p.sync[i]->dead || vidmm_fence_reached(w->p.sync[i]->sync.core, w->p.value[i]);
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
    struct vidmm_fence *unused[D3DKMT_MAX_SYNC_OBJECTS];
    NTSTATUS status = kmt_copy_points(c, a->ObjectHandleArray, a->FenceValueArray, a->ObjectCount, &w.p);
    if (status == STATUS_SUCCESS) status = kmt_fences_of(&w.p, FLAG(NoWait), unused);
    if (status != STATUS_SUCCESS) return status;
    if (w.event != 0) return wait_later(c, &w);
    if (wait_over(&w)) return STATUS_SUCCESS;
    hold_points(&w);
    bool there = c->env->wait(c->env->ctx, wait_over, &w);
    bool dead = drop_points(&w);
    if (!there) return STATUS_DEVICE_REMOVED;
    return dead ? STATUS_INVALID_PARAMETER : STATUS_SUCCESS;
}
