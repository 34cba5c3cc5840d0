/* SPDX-License-Identifier: MIT */
/* kmt_va.c - GPU virtual addresses: reserve, map, free.
 * Owns: nothing.  Calls: object, core (va). */
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
