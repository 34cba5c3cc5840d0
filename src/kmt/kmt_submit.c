/* SPDX-License-Identifier: MIT */
/* kmt_submit.c - contexts, submission, paging queues.
 * Owns: nothing beyond its objects.  Calls: object, core (context, queue). */
#include "kmt/local.h"

/* ---- contexts ---------------------------------------------------------------------------------- */

NTSTATUS kmt_create_context_virtual(struct kmt_call *c)
{
    D3DKMT_CREATECONTEXTVIRTUAL *a = c->args;
    struct kmt_object *device = kmt_object_find(c->process, a->hDevice, KMT_DEVICE);
    void *data;
    if (device == NULL || a->Flags & D3DDDI_CREATECONTEXTFLAGS_Reserved) return STATUS_INVALID_PARAMETER;
    NTSTATUS status = kmt_copy_bytes(c, a->pPrivateDriverData, a->PrivateDriverDataSize, &data);
    if (status != STATUS_SUCCESS) return status;
    if (a->Flags & D3DDDI_CREATECONTEXTFLAGS_HwQueueSupported) { /* for hardware queues, and them alone */
        const struct vidmm_hwcontext_desc hw = {.node = a->NodeOrdinal, .engine_affinity = a->EngineAffinity,
                                                .private_data = data,
                                                .private_size = a->PrivateDriverDataSize};
        return kmt_hwcontext_make(c, device, &hw, &a->hContext);
    }
    struct kmt_object *o = kmt_object_new(c->process, KMT_CONTEXT, device);
    if (o == NULL) return STATUS_NO_MEMORY;
    const struct vidmm_context_desc desc = {.node = a->NodeOrdinal, .engine_affinity = a->EngineAffinity,
                                            .private_data = data, .private_size = a->PrivateDriverDataSize};
    status = kmt_status(vidmm_context_create(device->device.core, &desc, &o->context.core));
    if (status != STATUS_SUCCESS) {
        o->context.core = NULL;
        kmt_object_retire(o, 0);
        return status;
    }
    o->context.null_rendering = (a->Flags & D3DDDI_CREATECONTEXTFLAGS_NullRendering) != 0;
    a->hContext = o->handle;
    c->made = o;
    c->undo = kmt_undo_object;
    return STATUS_SUCCESS;
}

NTSTATUS kmt_destroy_context(struct kmt_call *c)
{
    const D3DKMT_DESTROYCONTEXT *a = c->args;
    struct kmt_object *o = kmt_object_find(c->process, a->hContext, KMT_CONTEXT);
    if (o == NULL) o = kmt_object_find(c->process, a->hContext, KMT_HWCONTEXT);
    if (o == NULL) return STATUS_INVALID_PARAMETER;
    kmt_object_retire(o, 0);
    return STATUS_SUCCESS;
}

NTSTATUS kmt_set_context_priority(struct kmt_call *c)
{
    const D3DKMT_SETCONTEXTSCHEDULINGPRIORITY *a = c->args;
    struct kmt_object *o = kmt_object_find(c->process, a->hContext, KMT_CONTEXT);
    if (o == NULL) return STATUS_INVALID_PARAMETER;
    NTSTATUS status = kmt_status(vidmm_context_set_priority(o->context.core, a->Priority));
    if (status == STATUS_SUCCESS) o->context.priority = a->Priority;
    return status;
}

NTSTATUS kmt_get_context_priority(struct kmt_call *c)
{
    D3DKMT_GETCONTEXTSCHEDULINGPRIORITY *a = c->args;
    const struct kmt_object *o = kmt_object_find(c->process, a->hContext, KMT_CONTEXT);
    if (o == NULL) return STATUS_INVALID_PARAMETER;
    a->Priority = o->context.priority;
    return STATUS_SUCCESS;
}

NTSTATUS kmt_set_in_process_priority(struct kmt_call *c)
{
    const D3DKMT_SETCONTEXTINPROCESSSCHEDULINGPRIORITY *a = c->args;
    struct kmt_object *o = kmt_object_find(c->process, a->hContext, KMT_CONTEXT);
    if (o == NULL || a->Priority < 0 || a->Priority > 1) return STATUS_INVALID_PARAMETER;
    NTSTATUS status = kmt_status(vidmm_context_set_in_process_priority(o->context.core, a->Priority));
    if (status == STATUS_SUCCESS) o->context.in_process = a->Priority;
    return status;
}

NTSTATUS kmt_get_in_process_priority(struct kmt_call *c)
{
    D3DKMT_GETCONTEXTINPROCESSSCHEDULINGPRIORITY *a = c->args;
    const struct kmt_object *o = kmt_object_find(c->process, a->hContext, KMT_CONTEXT);
    if (o == NULL) return STATUS_INVALID_PARAMETER;
    a->Priority = o->context.in_process;
    return STATUS_SUCCESS;
}

/* ---- submission -------------------------------------------------------------------------------- */

/* Drivers write addresses sign-extended; the space is what the page tables cover. */
bool kmt_fold_address(const struct kmt_call *c, uint64_t *va)
{
    uint32_t bits = vidmm_adapter_info(c->process->face->config.adapter)->va_bits;
    uint64_t mask = bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX;
    uint64_t high = *va & ~mask;
    bool upper_half = bits != 0 && (*va >> (bits - 1) & 1) != 0;
    *va &= mask;
    return high == 0 || (high == ~mask && upper_half);
}

static NTSTATUS check_primaries(struct kmt_call *c, const struct kmt_object *context,
                                const D3DKMT_HANDLE *handle, uint32_t n)
{
    struct vidmm_open *open[D3DKMT_MAX_WRITTEN_PRIMARIES];
    if (n > D3DKMT_MAX_WRITTEN_PRIMARIES) return STATUS_INVALID_PARAMETER;
    NTSTATUS status = kmt_find_opens(c, context->parent, handle, n, open);
    for (uint32_t i = 0; i < n && status == STATUS_SUCCESS; i++) { /* SUB-10: only what is on the list */
        struct vidmm_placement_info info;
        vidmm_open_placement(open[i], &info);
        if (info.resident_count == 0) status = STATUS_INVALID_PARAMETER;
    }
    return status;
}

/* All of them, which the core wants to be of one device. They render nothing together, or all do. */
static NTSTATUS find_contexts(struct kmt_call *c, const D3DKMT_SUBMITCOMMAND *a, struct vidmm_context **core,
                              const struct kmt_object **first)
{
    if (a->BroadcastContextCount == 0 || a->BroadcastContextCount > D3DKMT_MAX_BROADCAST_CONTEXTS)
        return STATUS_INVALID_PARAMETER; /* SUB-05 */
    for (uint32_t i = 0; i < a->BroadcastContextCount; i++) {
        const struct kmt_object *o = kmt_object_find(c->process, a->BroadcastContext[i], KMT_CONTEXT);
        if (o == NULL) return STATUS_INVALID_PARAMETER;
        if (i == 0) *first = o;
        if (o->context.null_rendering != (*first)->context.null_rendering) return STATUS_INVALID_PARAMETER;
        core[i] = o->context.core;
    }
    return STATUS_SUCCESS;
}

NTSTATUS kmt_submit_command(struct kmt_call *c)
{
    const D3DKMT_SUBMITCOMMAND *a = c->args;
    struct vidmm_context *core[D3DKMT_MAX_BROADCAST_CONTEXTS];
    struct vidmm_submit in = {.va = a->Commands, .bytes = a->CommandLength};
    const struct kmt_object *context = NULL;
    void *data;
    NTSTATUS status = find_contexts(c, a, core, &context);
    if (status != STATUS_SUCCESS) return status;
    if (a->Flags & D3DKMT_SUBMITCOMMANDFLAGS_Reserved) return STATUS_INVALID_PARAMETER;
    if (a->NumHistoryBuffers != 0) return STATUS_NOT_SUPPORTED;
    if (!kmt_fold_address(c, &in.va)) return STATUS_INVALID_PARAMETER;
    status = check_primaries(c, context, a->WrittenPrimaries, a->NumPrimaries);
    if (status == STATUS_SUCCESS)
        status = kmt_copy_bytes(c, a->pPrivateDriverData, a->PrivateDriverDataSize, &data);
    if (status != STATUS_SUCCESS) return status;
    in.private_data = data;
    in.private_size = a->PrivateDriverDataSize;
    bool null = context->context.null_rendering || a->Flags & D3DKMT_SUBMITCOMMANDFLAGS_NullRendering;
    in.flags = null ? VIDMM_SUBMIT_NULL : 0;
    return kmt_status(vidmm_contexts_submit(core, a->BroadcastContextCount, &in));
}

/* ---- paging queues ----------------------------------------------------------------------------- */

NTSTATUS kmt_create_paging_queue(struct kmt_call *c)
{
    D3DKMT_CREATEPAGINGQUEUE *a = c->args;
    struct kmt_object *device = kmt_object_find(c->process, a->hDevice, KMT_DEVICE);
    if (device == NULL) return STATUS_INVALID_PARAMETER;
    if (a->Priority < PAGINGQUEUE_BELOW_NORMAL || a->Priority > PAGINGQUEUE_ABOVE_NORMAL)
        return STATUS_INVALID_PARAMETER;
    struct kmt_object *queue = kmt_object_new(c->process, KMT_QUEUE, device);
    if (queue == NULL) return STATUS_NO_MEMORY;
    struct kmt_object *sync = kmt_object_new(c->process, KMT_SYNC, device);
    if (sync == NULL) {
        kmt_object_retire(queue, 0);
        return STATUS_NO_MEMORY;
    }
    queue->queue.sync = sync;
    sync->sync.queue = queue;
    sync->sync.type = SYNC_MONITORED_FENCE;
    sync->sync.flags = D3DDDI_SYNCHRONIZATIONOBJECT_FLAGS_NoSignal; /* only the queue signals it */
    NTSTATUS status = kmt_status(vidmm_queue_create_on(device->device.core, a->PhysicalAdapterIndex,
                                                       a->Priority, &queue->queue.core));
    if (status != STATUS_SUCCESS) {
        queue->queue.core = NULL;
        kmt_object_retire(queue, 0);
        return status;
    }
    sync->sync.core = vidmm_queue_fence(queue->queue.core);
    a->hPagingQueue = queue->handle;
    a->hSyncObject = sync->handle;
    a->FenceValueCPUVirtualAddress = (uintptr_t)vidmm_fence_cpu_address(sync->sync.core);
    c->made = queue;
    c->undo = kmt_undo_object;
    return STATUS_SUCCESS;
}

static bool queue_drained(void *arg)
{
    const struct kmt_object *o = arg;
    if (o->dead) return true;
    return vidmm_fence_value(vidmm_queue_fence(o->queue.core)) >= vidmm_queue_issued(o->queue.core);
}

/* Returns when everything queued has been executed: values the client waits for do not get lost. */
NTSTATUS kmt_destroy_paging_queue(struct kmt_call *c)
{
    const D3DDDI_DESTROYPAGINGQUEUE *a = c->args;
    struct kmt_object *o = kmt_object_find(c->process, a->hPagingQueue, KMT_QUEUE);
    if (o == NULL) return STATUS_INVALID_PARAMETER;
    kmt_object_ref(o);
    bool there = queue_drained(o) || c->env->wait(c->env->ctx, queue_drained, o);
    bool mine = !o->dead; /* another thread may have been faster, or destroyed the device */
    if (there && mine) kmt_object_retire(o, 0);
    kmt_object_unref(o);
    if (!there) return STATUS_DEVICE_REMOVED;
    return mine ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}
