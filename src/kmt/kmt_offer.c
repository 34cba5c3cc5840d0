/* SPDX-License-Identifier: MIT */
/* kmt_offer.c - offer and reclaim: lists of allocations, or of resources with all that is theirs.
 * Owns: nothing.  Calls: object, core (offer). */
#include "kmt/local.h"

/* What a call names: allocations, or resources with all that is theirs; item i has the opens from first[i] to
 * first[i + 1]. */
struct items { uint32_t n, *first; struct vidmm_open **open; };

static NTSTATUS find_resource(struct kmt_call *c, const struct kmt_object *device, D3DKMT_HANDLE handle,
                              struct kmt_object **out)
{
    *out = kmt_object_find(c->process, handle, KMT_RESOURCE);
    return *out != NULL && (*out)->parent == device ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

static NTSTATUS spread_resources(struct kmt_call *c, const struct kmt_object *device,
                                 const D3DKMT_HANDLE *handle, struct items *s)
{
    struct kmt_object *o;
    uint64_t all = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        NTSTATUS status = find_resource(c, device, handle[i], &o);
        if (status != STATUS_SUCCESS) return status;
        all += o->resource.count;
    }
    if (all > VIDMM_LIST_MAX) return STATUS_INVALID_PARAMETER;
    s->open = kmt_scratch(c, all * sizeof *s->open);
    if (s->open == NULL) return STATUS_NO_MEMORY;
    for (uint32_t i = 0, at = 0; i < s->n; i++) {
        find_resource(c, device, handle[i], &o);
        LIST_FOREACH(it, &o->resource.allocations)
            s->open[at++] =
                list_entry(it, struct kmt_object, allocation.in_resource)->allocation.backing->open;
        s->first[i + 1] = at;
    }
    return STATUS_SUCCESS;
}

/* Exactly one of the two lists (ALC-43). */
static NTSTATUS find_items(struct kmt_call *c, const struct kmt_object *device, D3DKMT_PTR resources,
                           D3DKMT_PTR allocations, uint32_t n, struct items *s)
{
    void *handles;
    if ((resources == 0) == (allocations == 0) || n == 0) return STATUS_INVALID_PARAMETER;
    NTSTATUS status =
        kmt_copy_array(c, resources != 0 ? resources : allocations, n, sizeof(D3DKMT_HANDLE), &handles);
    if (status != STATUS_SUCCESS) return status;
    s->n = n;
    s->first = kmt_scratch(c, (n + 1u) * sizeof *s->first);
    if (s->first == NULL) return STATUS_NO_MEMORY;
    if (resources != 0) return spread_resources(c, device, handles, s);
    s->open = kmt_scratch(c, n * sizeof *s->open);
    if (s->open == NULL) return STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < n; i++) s->first[i + 1] = i + 1;
    return kmt_find_opens(c, device, handles, n, s->open);
}

NTSTATUS kmt_offer_allocations(struct kmt_call *c)
{
    const D3DKMT_OFFERALLOCATIONS *a = c->args;
    const struct kmt_object *device = kmt_object_find(c->process, a->hDevice, KMT_DEVICE);
    struct items s;
    if (device == NULL || a->Flags & D3DKMT_OFFER_FLAGS_Reserved) return STATUS_INVALID_PARAMETER;
    NTSTATUS status = find_items(c, device, a->pResources, a->HandleList, a->NumAllocations, &s);
    if (status != STATUS_SUCCESS) return status;
    return kmt_status(vidmm_offer(device->device.core, s.open, s.first[s.n], a->Priority, a->Flags));
}

/* A resource is as lost as the worst of its allocations. */
NTSTATUS kmt_reclaim_allocations2(struct kmt_call *c)
{
    D3DKMT_RECLAIMALLOCATIONS2 *a = c->args;
    const struct kmt_object *queue = kmt_object_find(c->process, a->hPagingQueue, KMT_QUEUE);
    struct items s;
    uint64_t value = 0;
    if (queue == NULL) return STATUS_INVALID_PARAMETER;
    NTSTATUS status = find_items(c, queue->parent, a->pResources, a->HandleList, a->NumAllocations, &s);
    if (status != STATUS_SUCCESS) return status;
    uint32_t *one = kmt_scratch(c, s.first[s.n] * sizeof *one), *out = kmt_scratch(c, s.n * sizeof *out);
    if (one == NULL || out == NULL) return STATUS_NO_MEMORY;
    /* A reclaim cannot be taken back: whether its answer can be given is seen before. */
    bool asked = a->pResults != 0;
    if (asked && !kmt_write(c, a->pResults, out, s.n * sizeof *out)) return STATUS_INVALID_PARAMETER;
    status = kmt_status(vidmm_reclaim(queue->queue.core, s.open, s.first[s.n], one, &value));
    if (status < 0) return status;
    for (uint32_t i = 0; i < s.n; i++)
        for (uint32_t k = s.first[i]; k < s.first[i + 1]; k++)
            if (one[k] > out[i]) out[i] = one[k];
    if (asked && !kmt_write(c, a->pResults, out, s.n * sizeof *out)) return STATUS_INVALID_PARAMETER;
    a->PagingFenceValue = value;
    return status;
}
