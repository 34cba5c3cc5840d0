/* SPDX-License-Identifier: MIT */
/* kmt_hwqueue.c - hardware contexts and queues, and what is handed to them.
 * Owns: nothing beyond its objects.  Calls: object, core (hwqueue).
 * A hardware context takes no lists, and none are given out with it. */
#include "kmt/local.h"

/* ---- contexts ---------------------------------------------------------------------------------- */

NTSTATUS kmt_hwcontext_make(struct kmt_call *c, struct kmt_object *device,
                            const struct vidmm_hwcontext_desc *desc, D3DKMT_HANDLE *handle)
{
    struct kmt_object *o = kmt_object_new(c->process, KMT_HWCONTEXT, device);
    if (o == NULL) return STATUS_NO_MEMORY;
    NTSTATUS status = kmt_status(vidmm_hwcontext_create(device->device.core, desc, &o->hwcontext.core));
    if (status != STATUS_SUCCESS) {
        o->hwcontext.core = NULL;
        kmt_object_retire(o, 0);
        return status;
    }
    *handle = o->handle;
    c->made = o;
    c->undo = kmt_undo_object;
    return STATUS_SUCCESS;
}

NTSTATUS kmt_create_hwcontext(struct kmt_call *c)
{
    D3DKMT_CREATEHWCONTEXT *a = c->args;
    struct kmt_object *device = kmt_object_find(c->process, a->hDevice, KMT_DEVICE);
    void *data;
    if (device == NULL || a->Flags & D3DDDI_CREATEHWCONTEXTFLAGS_Reserved) return STATUS_INVALID_PARAMETER;
    NTSTATUS status = kmt_copy_bytes(c, a->pPrivateDriverData, a->PrivateDriverDataSize, &data);
    if (status != STATUS_SUCCESS) return status;
    const struct vidmm_hwcontext_desc desc = {.node = a->NodeOrdinal, .engine_affinity = a->EngineAffinity,
                                              .private_data = data, .private_size = a->PrivateDriverDataSize};
    return kmt_hwcontext_make(c, device, &desc, &a->hHwContext);
}

NTSTATUS kmt_destroy_hwcontext(struct kmt_call *c)
{
    const D3DKMT_DESTROYHWCONTEXT *a = c->args;
    struct kmt_object *o = kmt_object_find(c->process, a->hHwContext, KMT_HWCONTEXT);
    if (o == NULL) return STATUS_INVALID_PARAMETER;
    kmt_object_retire(o, 0);
    return STATUS_SUCCESS;
}

/* ---- queues ------------------------------------------------------------------------------------ */

static NTSTATUS make_queue(struct kmt_call *c, struct kmt_object *context,
                           const struct vidmm_hwqueue_desc *desc, struct kmt_object **out)
{
    struct kmt_object *queue = kmt_object_new(c->process, KMT_HWQUEUE, context->parent);
    if (queue == NULL) return STATUS_NO_MEMORY;
    struct kmt_object *sync = kmt_object_new(c->process, KMT_SYNC, context->parent);
    if (sync == NULL) {
        kmt_object_retire(queue, 0);
        return STATUS_NO_MEMORY;
    }
    queue->hwqueue.sync = sync;
    queue->hwqueue.context = context;
    sync->sync.queue = queue;
    sync->sync.type = SYNC_MONITORED_FENCE;
    sync->sync.flags = D3DDDI_SYNCHRONIZATIONOBJECT_FLAGS_NoSignal; /* only the device signals it */
    NTSTATUS status = kmt_status(vidmm_hwqueue_create(context->hwcontext.core, desc, &queue->hwqueue.core));
    if (status != STATUS_SUCCESS) {
        queue->hwqueue.core = NULL;
        kmt_object_retire(queue, 0);
        return status;
    }
    sync->sync.core = vidmm_hwqueue_progress(queue->hwqueue.core);
    *out = queue;
    return STATUS_SUCCESS;
}

NTSTATUS kmt_create_hwqueue(struct kmt_call *c)
{
    const uint32_t absent = D3DDDI_CREATEHWQUEUEFLAGS_DisableGpuTimeout |
                            D3DDDI_CREATEHWQUEUEFLAGS_NoKmdAccess;
    D3DKMT_CREATEHWQUEUE *a = c->args;
    struct kmt_object *context = kmt_object_find(c->process, a->hHwContext, KMT_HWCONTEXT), *queue;
    void *data;
    if (context == NULL || a->Flags & D3DDDI_CREATEHWQUEUEFLAGS_Reserved) return STATUS_INVALID_PARAMETER;
    if (a->Flags & absent) return STATUS_NOT_SUPPORTED;
    NTSTATUS status = kmt_copy_bytes(c, a->pPrivateDriverData, a->PrivateDriverDataSize, &data);
    if (status != STATUS_SUCCESS) return status;
    const struct vidmm_hwqueue_desc desc = {.private_data = data, .private_size = a->PrivateDriverDataSize};
    status = make_queue(c, context, &desc, &queue);
    if (status != STATUS_SUCCESS) return status;
    struct kmt_object *sync = queue->hwqueue.sync;
    a->hHwQueue = queue->handle;
    a->hHwQueueProgressFence = sync->handle;
    a->HwQueueProgressFenceCPUVirtualAddress = (uintptr_t)vidmm_fence_cpu_address(sync->sync.core);
    a->HwQueueProgressFenceGPUVirtualAddress = vidmm_fence_gpu_address(sync->sync.core);
    c->made = queue;
    c->undo = kmt_undo_object;
    return STATUS_SUCCESS;
}

NTSTATUS kmt_destroy_hwqueue(struct kmt_call *c)
{
    const D3DKMT_DESTROYHWQUEUE *a = c->args;
    struct kmt_object *o = kmt_object_find(c->process, a->hHwQueue, KMT_HWQUEUE);
    if (o == NULL) return STATUS_INVALID_PARAMETER;
    kmt_object_retire(o, 0);
    return STATUS_SUCCESS;
}

/* ---- entries ----------------------------------------------------------------------------------- */

NTSTATUS kmt_submit_command_to_hwqueue(struct kmt_call *c)
{
    const D3DKMT_SUBMITCOMMANDTOHWQUEUE *a = c->args;
    struct kmt_object *o = kmt_object_find(c->process, a->hHwQueue, KMT_HWQUEUE);
    struct vidmm_open *open[D3DKMT_MAX_WRITTEN_PRIMARIES];
    uint64_t va = a->CommandBuffer;
    void *data, *primaries;
    if (o == NULL || a->NumPrimaries > D3DKMT_MAX_WRITTEN_PRIMARIES || !kmt_fold_address(c, &va))
        return STATUS_INVALID_PARAMETER;
    NTSTATUS status = kmt_copy_array(c, a->WrittenPrimaries, a->NumPrimaries, sizeof(D3DKMT_HANDLE),
                                     &primaries);
    if (status == STATUS_SUCCESS) status = kmt_find_opens(c, o->parent, primaries, a->NumPrimaries, open);
    if (status == STATUS_SUCCESS)
        status = kmt_copy_bytes(c, a->pPrivateDriverData, a->PrivateDriverDataSize, &data);
    if (status != STATUS_SUCCESS) return status;
    return kmt_status(vidmm_hwqueue_submit(o->hwqueue.core, va, a->CommandLength, data,
                                           a->PrivateDriverDataSize, a->HwQueueProgressFenceId));
}

/* The device looks at values in memory: only fences have those. */
static NTSTATUS find_fences(struct kmt_call *c, D3DKMT_PTR handles, D3DKMT_PTR values, uint32_t n,
                            struct kmt_points *points, uint32_t forbidden, struct vidmm_fence **fence)
{
    NTSTATUS status = kmt_copy_points(c, handles, values, n, points);
    return status == STATUS_SUCCESS ? kmt_fences_of(points, forbidden, fence) : status;
}

NTSTATUS kmt_submit_wait_to_hwqueue(struct kmt_call *c)
{
    const D3DKMT_SUBMITWAITFORSYNCOBJECTSTOHWQUEUE *a = c->args;
    struct kmt_object *o = kmt_object_find(c->process, a->hHwQueue, KMT_HWQUEUE);
    struct vidmm_fence *fence[D3DKMT_MAX_SYNC_OBJECTS];
    struct kmt_points points;
    if (o == NULL) return STATUS_INVALID_PARAMETER;
    NTSTATUS status = find_fences(c, a->ObjectHandleArray, a->FenceValueArray, a->ObjectCount, &points,
                                  D3DDDI_SYNCHRONIZATIONOBJECT_FLAGS_NoWait, fence);
    if (status != STATUS_SUCCESS) return status;
    return kmt_status(vidmm_hwqueue_wait(o->hwqueue.core, fence, points.value, points.n));
}

NTSTATUS kmt_submit_signal_to_hwqueue(struct kmt_call *c)
{
    const D3DKMT_SUBMITSIGNALSYNCOBJECTSTOHWQUEUE *a = c->args;
    struct vidmm_fence *fence[D3DKMT_MAX_SYNC_OBJECTS];
    struct kmt_points points;
    void *queues;
    if (a->BroadcastHwQueueCount == 0 || a->BroadcastHwQueueCount > D3DKMT_MAX_BROADCAST_CONTEXTS)
        return STATUS_INVALID_PARAMETER;
    NTSTATUS status = kmt_copy_array(c, a->BroadcastHwQueueArray, a->BroadcastHwQueueCount,
                                     sizeof(D3DKMT_HANDLE), &queues);
    if (status != STATUS_SUCCESS) return status;
    struct kmt_object *o = kmt_object_find(c->process, ((const D3DKMT_HANDLE *)queues)[0], KMT_HWQUEUE);
    if (o == NULL) return STATUS_INVALID_PARAMETER;
    if (a->BroadcastHwQueueCount > 1 || a->Flags != 0) return STATUS_NOT_SUPPORTED;
    status = find_fences(c, a->ObjectHandleArray, a->FenceValueArray, a->ObjectCount, &points,
                         D3DDDI_SYNCHRONIZATIONOBJECT_FLAGS_NoSignal, fence);
    if (status != STATUS_SUCCESS) return status;
    return kmt_status(vidmm_hwqueue_signal(o->hwqueue.core, fence, points.value, points.n));
}
