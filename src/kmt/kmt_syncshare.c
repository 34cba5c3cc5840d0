/* SPDX-License-Identifier: MIT */
/* kmt_syncshare.c - monitored fences that have a name, and opening them again by it.
 * Owns: struct kmt_shared_fence, one for all handles of a fence.  Calls: object, core (fence).
 * As with resources, the device that made it can open it. Rights belong to a handle: the core's fence has
 * none, and whoever uses a handle is checked by what stands there. */
#include "kmt/local.h"

#define FLAG(name) D3DDDI_SYNCHRONIZATIONOBJECT_FLAGS_##name

void kmt_shared_fence_release(struct kmt_object *o, bool core_lives)
{
    struct kmt_shared_fence *s = o->sync.shared;
    o->sync.shared = NULL;
    if (--s->users > 0) return;
    if (s->name != 0) handle_close(&o->process->face->shared, s->name, KMT_SYNC);
    if (core_lives && s->core != NULL) vidmm_fence_destroy(s->core);
    o->env->free(o->env->ctx, s, sizeof *s);
}

/* The name of the fence behind a handle, made at first use. *fresh: just now, and kmt_unname_fence takes
 * it back. */
NTSTATUS kmt_name_fence(struct kmt_call *c, D3DKMT_HANDLE handle, uint32_t *name, bool *fresh)
{
    const struct kmt_object *o = kmt_object_find(c->process, handle, KMT_SYNC);
    if (o == NULL || o->sync.shared == NULL) return STATUS_INVALID_PARAMETER; /* SUB-19 */
    struct kmt_shared_fence *s = o->sync.shared;
    *fresh = s->name == 0;
    if (*fresh) s->name = handle_create(&c->process->face->shared, KMT_SYNC, s);
    *name = s->name;
    return s->name != 0 ? STATUS_SUCCESS : STATUS_NO_MEMORY;
}

void kmt_unname_fence(struct kmt_call *c, D3DKMT_HANDLE handle)
{
    struct kmt_shared_fence *s = kmt_object_find(c->process, handle, KMT_SYNC)->sync.shared;
    handle_close(&c->process->face->shared, s->name, KMT_SYNC);
    s->name = 0;
}

/* Signalling and waiting may be forbidden anew; what happens at a loss was decided at creation. */
static NTSTATUS check_open(const D3DKMT_OPENSYNCOBJECTFROMNTHANDLE2 *a, const struct kmt_shared_fence *s)
{
    const uint32_t rights = FLAG(NoSignal) | FLAG(NoWait);
    const uint32_t made = FLAG(Shared) | FLAG(NtSecuritySharing) | FLAG(NoSignalMaxValueOnTdr) |
                          FLAG(NoGPUAccess);
    if ((a->Flags & rights) == rights || a->MonitoredFence.EngineAffinity > 1)
        return STATUS_INVALID_PARAMETER;
    if ((a->Flags & ~(rights | made)) != 0) return STATUS_INVALID_PARAMETER;
    const uint32_t asked = a->Flags & (FLAG(NoSignalMaxValueOnTdr) | FLAG(NoGPUAccess));
    return asked == (s->flags & (FLAG(NoSignalMaxValueOnTdr) | FLAG(NoGPUAccess))) ? STATUS_SUCCESS
                                                                                   : STATUS_NOT_SUPPORTED;
}

NTSTATUS kmt_open_sync_nt(struct kmt_call *c)
{
    D3DKMT_OPENSYNCOBJECTFROMNTHANDLE2 *a = c->args;
    struct kmt_object *device = kmt_object_find(c->process, a->hDevice, KMT_DEVICE);
    if (device == NULL || a->hNtHandle > UINT32_MAX) return STATUS_INVALID_PARAMETER;
    struct kmt_shared_fence *s = handle_lookup(&c->process->face->shared, (uint32_t)a->hNtHandle, KMT_SYNC);
    if (s == NULL) return STATUS_INVALID_PARAMETER;
    if (s->device != device) return STATUS_NOT_SUPPORTED;
    NTSTATUS status = check_open(a, s);
    if (status != STATUS_SUCCESS) return status;
    struct kmt_object *o = kmt_object_new(c->process, KMT_SYNC, device);
    if (o == NULL) return STATUS_NO_MEMORY;
    s->users++;
    o->sync.shared = s;
    o->sync.core = s->core;
    o->sync.type = SYNC_MONITORED_FENCE;
    o->sync.flags = a->Flags;
    a->hSyncObject = o->handle;
    a->MonitoredFence.FenceValueCPUVirtualAddress = (uintptr_t)vidmm_fence_cpu_address(s->core);
    a->MonitoredFence.FenceValueGPUVirtualAddress = vidmm_fence_gpu_address(s->core);
    c->made = o;
    c->undo = kmt_undo_object;
    return STATUS_SUCCESS;
}
