/* SPDX-License-Identifier: MIT */
/* kmt_mem.c - residency, CPU access and priorities of allocations.
 * Owns: nothing.  Calls: object, core (residency, lock, priority). */
#include "kmt/local.h"

/* ---- residency --------------------------------------------------------------------------------- */

/* Copies a list of handles and finds their opens, all on one device. */
static NTSTATUS copy_opens(struct kmt_call *c, const struct kmt_object *device, D3DKMT_PTR list, uint32_t n,
                           struct vidmm_open ***out)
{
    void *handles;
    NTSTATUS status = kmt_copy_array(c, list, n, sizeof(D3DKMT_HANDLE), &handles);
    if (status != STATUS_SUCCESS) return status;
    *out = kmt_scratch(c, n * sizeof **out);
    if (*out == NULL) return STATUS_NO_MEMORY;
    return kmt_find_opens(c, device, handles, n, *out);
}

struct taken { struct vidmm_device *device; struct vidmm_open **open; uint32_t n; };

/* The client never learnt that the counts went up. */
static void undo_resident(struct kmt_call *c)
{
    const struct taken *t = c->undo_arg;
    uint64_t trim;
    vidmm_evict(t->device, t->open, t->n, 0, &trim);
}

NTSTATUS kmt_make_resident(struct kmt_call *c)
{
    D3DDDI_MAKERESIDENT *a = c->args;
    const struct kmt_object *queue = kmt_object_find(c->process, a->hPagingQueue, KMT_QUEUE);
    struct vidmm_open **open;
    if (queue == NULL || a->NumAllocations == 0) return STATUS_INVALID_PARAMETER;
    if (a->Flags & D3DDDI_MAKERESIDENT_FLAGS_Reserved) return STATUS_INVALID_PARAMETER;
    struct taken *t = kmt_scratch(c, sizeof *t);
    if (t == NULL) return STATUS_NO_MEMORY;
    NTSTATUS status = copy_opens(c, queue->parent, a->AllocationList, a->NumAllocations, &open);
    if (status != STATUS_SUCCESS) return status;
    uint64_t value = 0, trim = 0;
    status = kmt_status(
        vidmm_make_resident(queue->queue.core, open, a->NumAllocations, a->Flags, &value, &trim));
    if (status < 0) {
        /* All or nothing: none of them became resident, and NO_MEMORY tells how much is too much. */
        a->NumAllocations = 0;
        a->PagingFenceValue = 0;
        a->NumBytesToTrim = status == STATUS_NO_MEMORY ? trim : 0;
        c->answer = true;
        return status;
    }
    a->PagingFenceValue = value;
    a->NumBytesToTrim = trim;
    *t = (struct taken){queue->parent->device.core, open, a->NumAllocations};
    c->undo = undo_resident;
    c->undo_arg = t;
    return status;
}

NTSTATUS kmt_evict(struct kmt_call *c)
{
    D3DKMT_EVICT *a = c->args;
    const struct kmt_object *device = kmt_object_find(c->process, a->hDevice, KMT_DEVICE);
    struct vidmm_open **open;
    if (device == NULL || a->NumAllocations == 0) return STATUS_INVALID_PARAMETER;
    if (a->Flags & D3DDDI_EVICT_FLAGS_Reserved) return STATUS_INVALID_PARAMETER;
    NTSTATUS status = copy_opens(c, device, a->AllocationList, a->NumAllocations, &open);
    if (status != STATUS_SUCCESS) return status;
    uint64_t trim = 0;
    status = kmt_status(vidmm_evict(device->device.core, open, a->NumAllocations, a->Flags, &trim));
    if (status >= 0) a->NumBytesToTrim = trim;
    return status;
}

/* ---- lists of allocations, or a resource ------------------------------------------------------- */

/* The opens a (resource, list) pair names; `per_item` is how many values the client gives or gets. */
struct selection { struct vidmm_open **open; uint32_t n, per_item; };

static NTSTATUS select_resource(struct kmt_call *c, const struct kmt_object *device, D3DKMT_HANDLE resource,
                                struct selection *s)
{
    const struct kmt_object *o = kmt_object_find(c->process, resource, KMT_RESOURCE);
    if (o == NULL || o->parent != device) return STATUS_INVALID_PARAMETER;
    s->open = kmt_scratch(c, o->resource.count * sizeof *s->open);
    if (s->open == NULL) return STATUS_NO_MEMORY;
    LIST_FOREACH(it, &o->resource.allocations)
        s->open[s->n++] = list_entry(it, struct kmt_object, allocation.in_resource)->allocation.backing->open;
    s->per_item = 1;
    return STATUS_SUCCESS;
}

static NTSTATUS select_opens(struct kmt_call *c, D3DKMT_HANDLE device_handle, D3DKMT_HANDLE resource,
                             D3DKMT_PTR list, uint32_t count, struct selection *s)
{
    const struct kmt_object *device = kmt_object_find(c->process, device_handle, KMT_DEVICE);
    *s = (struct selection){NULL, 0, 0};
    if (device == NULL) return STATUS_INVALID_PARAMETER;
    if (resource != 0) {
        if (list != 0 || count != 0) return STATUS_INVALID_PARAMETER;
        return select_resource(c, device, resource, s);
    }
    if (count == 0) return STATUS_INVALID_PARAMETER;
    s->n = s->per_item = count;
    return copy_opens(c, device, list, count, &s->open);
}

NTSTATUS kmt_set_allocation_priority(struct kmt_call *c)
{
    const D3DKMT_SETALLOCATIONPRIORITY *a = c->args;
    struct selection s;
    void *raw;
    NTSTATUS status = select_opens(c, a->hDevice, a->hResource, a->phAllocationList, a->AllocationCount, &s);
    if (status == STATUS_SUCCESS)
        status = kmt_copy_array(c, a->pPriorities, s.per_item, sizeof(uint32_t), &raw);
    if (status != STATUS_SUCCESS) return status;
    const uint32_t *priority = raw;
    for (uint32_t i = 0; i < s.per_item; i++)
        if (priority[i] == 0) return STATUS_INVALID_PARAMETER;
    for (uint32_t i = 0; i < s.n && status == STATUS_SUCCESS; i++)
        status = kmt_status(vidmm_open_set_priority(s.open[i], priority[s.per_item == s.n ? i : 0]));
    return status;
}

NTSTATUS kmt_get_allocation_priority(struct kmt_call *c)
{
    const D3DKMT_GETALLOCATIONPRIORITY *a = c->args;
    struct selection s;
    NTSTATUS status = select_opens(c, a->hDevice, a->hResource, a->phAllocationList, a->AllocationCount, &s);
    if (status != STATUS_SUCCESS) return status;
    if (s.n == 0) return STATUS_INVALID_PARAMETER; /* an empty resource has no priority */
    uint32_t *out = kmt_scratch(c, s.per_item * sizeof *out);
    if (out == NULL) return STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < s.per_item; i++) out[i] = vidmm_open_priority(s.open[i]);
    bool ok = kmt_write(c, a->pPriorities, out, s.per_item * sizeof *out);
    return ok ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

static bool in_memory_segment(const struct kmt_call *c, uint32_t segment)
{
    const struct vidmm_adapter_info *info = vidmm_adapter_info(c->process->face->config.adapter);
    return segment != 0 && segment <= info->segment_count &&
           !(info->segment[segment - 1].flags & VIDMM_SEGMENT_APERTURE);
}

/* A resource is as resident as its least resident member. */
NTSTATUS kmt_query_allocation_residency(struct kmt_call *c)
{
    const D3DKMT_QUERYALLOCATIONRESIDENCY *a = c->args;
    struct selection s;
    NTSTATUS status = select_opens(c, a->hDevice, a->hResource, a->phAllocationList, a->AllocationCount, &s);
    if (status != STATUS_SUCCESS) return status;
    uint32_t *out = kmt_scratch(c, s.per_item * sizeof *out);
    if (out == NULL) return STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < s.per_item; i++) out[i] = RESIDENTINGPUMEMORY;
    for (uint32_t i = 0; i < s.n; i++) {
        struct vidmm_placement_info where;
        vidmm_open_placement(s.open[i], &where);
        uint32_t now = !where.resident ? NOTRESIDENT
                       : in_memory_segment(c, where.segment) ? RESIDENTINGPUMEMORY : RESIDENTINSHAREDMEMORY;
        uint32_t *item = &out[s.per_item == s.n ? i : 0];
        if (now > *item) *item = now;
    }
    bool ok = kmt_write(c, a->pResidencyStatus, out, s.per_item * sizeof *out);
    return ok ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

/* ---- CPU access -------------------------------------------------------------------------------- */

static struct kmt_object *find_allocation(struct kmt_call *c, D3DKMT_HANDLE device_handle,
                                          D3DKMT_HANDLE handle)
{
    const struct kmt_object *device = kmt_object_find(c->process, device_handle, KMT_DEVICE);
    struct kmt_object *o = kmt_object_find(c->process, handle, KMT_ALLOCATION);
    return device != NULL && o != NULL && o->parent == device ? o : NULL;
}

static bool lock_settled(void *arg)
{
    const struct kmt_object *o = arg;
    return o->dead || vidmm_open_lock_ready(o->allocation.backing->open);
}

static NTSTATUS unlock(struct kmt_object *o)
{
    if (o->allocation.locks == 0) return STATUS_INVALID_PARAMETER; /* another handle's locks are not ours */
    o->allocation.locks--;
    return kmt_status(vidmm_open_unlock(o->allocation.backing->open));
}

static void undo_lock(struct kmt_call *c)
{
    unlock(c->undo_arg);
}

NTSTATUS kmt_lock2(struct kmt_call *c)
{
    D3DKMT_LOCK2 *a = c->args;
    struct kmt_object *o = find_allocation(c, a->hDevice, a->hAllocation);
    void *cpu = NULL;
    if (o == NULL || a->Flags & D3DDDICB_LOCK2FLAGS_Reserved) return STATUS_INVALID_PARAMETER;
    NTSTATUS status = kmt_status(vidmm_open_lock(o->allocation.backing->open, &cpu));
    if (status >= 0) o->allocation.locks++;
    if (status == STATUS_PENDING) {
        /* Another thread may destroy the allocation while this one waits; its locks go with it. */
        kmt_object_ref(o);
        bool there = c->env->wait(c->env->ctx, lock_settled, o);
        bool dead = o->dead;
        kmt_object_unref(o);
        if (!there) return STATUS_DEVICE_REMOVED;
        if (dead) return STATUS_INVALID_PARAMETER;
        status = STATUS_SUCCESS;
        if (vidmm_device_state(o->parent->device.core) != VIDMM_DEVICE_ACTIVE) { /* so may be the content */
            unlock(o);
            return STATUS_DEVICE_REMOVED;
        }
    }
    if (status < 0) return status;
    a->pData = (uintptr_t)cpu;
    c->undo = undo_lock;
    c->undo_arg = o;
    return status;
}

NTSTATUS kmt_unlock2(struct kmt_call *c)
{
    const D3DKMT_UNLOCK2 *a = c->args;
    struct kmt_object *o = find_allocation(c, a->hDevice, a->hAllocation);
    return o != NULL ? unlock(o) : STATUS_INVALID_PARAMETER;
}

/* The simulated device reads through the CPU's own caches: there is nothing to write back. */
NTSTATUS kmt_invalidate_cache(struct kmt_call *c)
{
    const D3DKMT_INVALIDATECACHE *a = c->args;
    const struct kmt_object *o = find_allocation(c, a->hDevice, a->hAllocation);
    if (o == NULL) return STATUS_INVALID_PARAMETER;
    uint64_t bytes = vidmm_open_bytes(o->allocation.backing->open);
    bool inside = a->Offset <= bytes && a->Length <= bytes - a->Offset;
    return inside ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}
