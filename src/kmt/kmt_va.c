/* SPDX-License-Identifier: MIT */
/* kmt_va.c - GPU virtual addresses: reserve, map, update, free.
 * Owns: nothing.  Calls: object, core (va, contexts). */
#include "kmt/local.h"

NTSTATUS kmt_reserve_gpu_virtual_address(struct kmt_call *c)
{
    D3DDDI_RESERVEGPUVIRTUALADDRESS *a = c->args;
    NTSTATUS status;
    /* One field names a queue or, in the older form, an adapter: the handle itself tells which. */
    struct kmt_object *queue = kmt_object_find(c->process, a->hPagingQueue, KMT_QUEUE);
    if (queue == NULL && kmt_object_find(c->process, a->hAdapter, KMT_ADAPTER) == NULL)
        return STATUS_INVALID_PARAMETER;
    if (a->ReservationType > RESERVATION_ZERO) return STATUS_INVALID_PARAMETER;
    struct vidmm_process *core = kmt_process_core(c->process, &status);
    if (core == NULL) return status;
    const struct vidmm_reserve in = {
        .base = a->BaseAddress, .min = a->MinimumAddress, .max = a->MaximumAddress, .bytes = a->Size,
        .type = a->ReservationType, .driver_protection = a->DriverProtection,
    };
    uint64_t va = 0, value = 0;
    status = kmt_status(vidmm_va_reserve(core, queue != NULL ? queue->queue.core : NULL, &in, &va, &value));
    if (status < 0) {
        kmt_process_rest(c->process);
        return status;
    }
    a->VirtualAddress = va;
    a->PagingFenceValue = value;
    c->undo_va = va;
    c->undo_bytes = a->Size;
    c->undo = kmt_undo_range;
    return status;
}

NTSTATUS kmt_map_gpu_virtual_address(struct kmt_call *c)
{
    D3DDDI_MAPGPUVIRTUALADDRESS *a = c->args;
    const struct kmt_object *queue = kmt_object_find(c->process, a->hPagingQueue, KMT_QUEUE);
    struct vidmm_open *open = NULL;
    if (queue == NULL || a->Reserved0 != 0 || a->Reserved1 != 0) return STATUS_INVALID_PARAMETER;
    if (a->OffsetInPages > UINT64_MAX / VIDMM_PAGE_SIZE || a->SizeInPages > UINT64_MAX / VIDMM_PAGE_SIZE)
        return STATUS_INVALID_PARAMETER;
    if (a->Protection & D3DDDIGPUVIRTUALADDRESS_PROTECTION_TYPE_Reserved) return STATUS_INVALID_PARAMETER;
    if (a->hAllocation != 0) {
        NTSTATUS status = kmt_find_opens(c, queue->parent, &a->hAllocation, 1, &open);
        if (status != STATUS_SUCCESS) return status;
    }
    const struct vidmm_map in = {
        .base = a->BaseAddress, .min = a->MinimumAddress, .max = a->MaximumAddress, .open = open,
        .offset = a->OffsetInPages * VIDMM_PAGE_SIZE, .bytes = a->SizeInPages * VIDMM_PAGE_SIZE,
        .protection = a->Protection, .driver_protection = a->DriverProtection,
    };
    uint64_t va = 0, value = 0;
    NTSTATUS status = kmt_status(vidmm_va_map(queue->queue.core, &in, &va, &value));
    if (status < 0) return status;
    a->VirtualAddress = va;
    a->PagingFenceValue = value;
    if (in.base == 0) { /* with an explicit base the client knows the address, and may own it from before */
        c->undo_va = va;
        c->undo_bytes = in.bytes;
        c->undo = kmt_undo_range;
    }
    return status;
}

NTSTATUS kmt_free_gpu_virtual_address(struct kmt_call *c)
{
    const D3DKMT_FREEGPUVIRTUALADDRESS *a = c->args;
    if (kmt_object_find(c->process, a->hAdapter, KMT_ADAPTER) == NULL) return STATUS_INVALID_PARAMETER;
    if (c->process->core == NULL) return STATUS_INVALID_PARAMETER; /* nothing was ever mapped */
    return kmt_status(vidmm_va_free(c->process->core, a->BaseAddress, a->Size));
}

/* ---- tile resources ------------------------------------------------------------------------------ */

static NTSTATUS decode_tile(struct kmt_call *c, const struct kmt_object *device,
                            const D3DDDI_UPDATEGPUVIRTUALADDRESS_OPERATION *in, struct vidmm_tile_op *out)
{
    *out = (struct vidmm_tile_op){.type = in->OperationType};
    switch (in->OperationType) {
    case UPDATE_MAP:
    case UPDATE_MAP_PROTECT:
        out->base = in->Map.BaseAddress; /* MapProtect begins with the same fields */
        out->bytes = in->Map.SizeInBytes;
        out->offset = in->Map.AllocationOffsetInBytes;
        out->open_bytes = in->Map.AllocationSizeInBytes;
        if (in->OperationType == UPDATE_MAP_PROTECT) {
            out->protection = in->MapProtect.Protection;
            out->driver_protection = in->MapProtect.DriverProtection;
        }
        return kmt_find_opens(c, device, &in->Map.hAllocation, 1, &out->open);
    case UPDATE_UNMAP:
        out->base = in->Unmap.BaseAddress;
        out->bytes = in->Unmap.SizeInBytes;
        out->protection = in->Unmap.Protection;
        return STATUS_SUCCESS;
    case UPDATE_COPY:
        out->base = in->Copy.DestAddress;
        out->bytes = in->Copy.SizeInBytes;
        out->source = in->Copy.SourceAddress;
        return STATUS_SUCCESS;
    default: return STATUS_INVALID_PARAMETER;
    }
}

struct tile_call {
    struct kmt_object *device, *context, *fence;
    const D3DDDI_UPDATEGPUVIRTUALADDRESS_OPERATION *in; /* copied once */
    struct vidmm_tile_op *op;
};

static NTSTATUS find_tile_objects(struct kmt_call *c, struct tile_call *t)
{
    const D3DKMT_UPDATEGPUVIRTUALADDRESS *a = c->args;
    t->device = kmt_object_find(c->process, a->hDevice, KMT_DEVICE);
    t->context = kmt_object_find(c->process, a->hContext, KMT_CONTEXT);
    t->fence = kmt_object_find(c->process, a->hFenceObject, KMT_SYNC);
    if (t->device == NULL || t->context == NULL || t->context->parent != t->device)
        return STATUS_INVALID_PARAMETER;
    if (a->Reserved0 != 0 || a->Reserved1 != 0 || a->NumOperations == 0 ||
        a->Flags & D3DKMT_UPDATEGPUVIRTUALADDRESS_Flags_Reserved)
        return STATUS_INVALID_PARAMETER;
    if (a->hFenceObject != 0 && (t->fence == NULL || t->fence->sync.type != SYNC_MONITORED_FENCE))
        return STATUS_INVALID_PARAMETER;
    return STATUS_SUCCESS;
}

static bool room_for_update(void *arg)
{
    const struct kmt_object *o = arg;
    return o->dead || vidmm_context_updates(o->context.core) < VIDMM_UPDATES_MAX ||
           vidmm_device_state(o->parent->device.core) != VIDMM_DEVICE_ACTIVE;
}

/* TIL-19: the caller waits for room. Handles may die meanwhile, so they are looked up again after it. */
static NTSTATUS wait_for_room(struct kmt_call *c, struct kmt_object *context)
{
    kmt_object_ref(context);
    bool there = c->env->wait(c->env->ctx, room_for_update, context);
    kmt_object_unref(context);
    return there ? STATUS_SUCCESS : STATUS_DEVICE_REMOVED;
}

static NTSTATUS try_update(struct kmt_call *c, struct tile_call *t)
{
    const D3DKMT_UPDATEGPUVIRTUALADDRESS *a = c->args;
    uint32_t flags = a->Flags & D3DKMT_UPDATEGPUVIRTUALADDRESS_Flags_DoNotWait ? VIDMM_UPDATE_DO_NOT_WAIT : 0;
    NTSTATUS status = find_tile_objects(c, t);
    for (uint32_t i = 0; status == STATUS_SUCCESS && i < a->NumOperations; i++)
        status = decode_tile(c, t->device, &t->in[i], &t->op[i]);
    if (status != STATUS_SUCCESS) return status;
    if (vidmm_device_model(t->device->device.core) == VIDMM_MODEL_IOMMU) return STATUS_NOT_SUPPORTED;
    uint32_t rights = t->fence != NULL ? t->fence->sync.flags : 0;
    if (rights & D3DDDI_SYNCHRONIZATIONOBJECT_FLAGS_NoSignal) return STATUS_ACCESS_DENIED;
    if (flags == 0 && rights & D3DDDI_SYNCHRONIZATIONOBJECT_FLAGS_NoWait) return STATUS_ACCESS_DENIED;
    struct vidmm_fence *fence = t->fence != NULL ? t->fence->sync.core : NULL;
    return kmt_status(
        vidmm_va_update(t->context->context.core, t->op, a->NumOperations, fence, a->FenceValue, flags));
}

NTSTATUS kmt_update_gpu_virtual_address(struct kmt_call *c)
{
    const D3DKMT_UPDATEGPUVIRTUALADDRESS *a = c->args;
    struct tile_call t;
    void *raw;
    NTSTATUS status = kmt_copy_array(c, a->Operations, a->NumOperations, sizeof *t.in, &raw);
    if (status != STATUS_SUCCESS) return status;
    t.in = raw;
    t.op = kmt_scratch(c, a->NumOperations * sizeof *t.op);
    if (t.op == NULL) return STATUS_NO_MEMORY;
    while ((status = try_update(c, &t)) == STATUS_GRAPHICS_ALLOCATION_BUSY) {
        status = wait_for_room(c, t.context);
        if (status != STATUS_SUCCESS) return status;
    }
    return status;
}
