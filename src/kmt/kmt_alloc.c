/* SPDX-License-Identifier: MIT */
/* kmt_alloc.c - creating and destroying allocations and resources.
 * Owns: nothing beyond its objects.  Calls: object, core (alloc).
 * A call is checked as a whole before anything is made; what fails in the middle takes back what was made. */
#include <string.h>

#include "kmt/local.h"

#define FLAG(name) D3DKMT_CREATEALLOCATIONFLAGS_##name

/* What one CreateAllocation wants, copied and checked. */
struct creation {
    struct kmt_object *device, *resource; /* resource: to add to, or made; NULL: plain allocations */
    bool new_resource;
    D3DDDI_ALLOCATIONINFO2 *info;
    struct kmt_object **made;
    uint32_t count, flags;
    uint8_t *private_data; /* room for the largest of the elements */
};

/* ---- checks ------------------------------------------------------------------------------------ */

static NTSTATUS check_flags(uint32_t flags)
{
    const uint32_t absent = FLAG(CreateProtected) | FLAG(SwapChainBackBuffer) | FLAG(CrossAdapter) |
                            FLAG(OpenCrossAdapter) | FLAG(PartialSharedCreation) | FLAG(WriteWatch) |
                            FLAG(StandardAllocation) | FLAG(ExistingSection) | FLAG(PhysicallyContiguous) |
                            FLAG(SharedDisplayable) | FLAG(RestrictSharedAccess);
    const uint32_t existing = FLAG(ExistingSysMem) | FLAG(ExistingSection);
    if (flags & FLAG(Reserved)) return STATUS_INVALID_PARAMETER;
    if ((flags & FLAG(CreateShared)) && !(flags & FLAG(CreateResource))) return STATUS_INVALID_PARAMETER;
    if ((flags & FLAG(NtSecuritySharing)) && !(flags & FLAG(CreateShared))) return STATUS_INVALID_PARAMETER;
    if ((flags & existing) == existing) return STATUS_INVALID_PARAMETER;
    if (flags & FLAG(StandardAllocation)) {
        const uint32_t needed = FLAG(CreateShared) | FLAG(CrossAdapter);
        if ((flags & existing) == 0 || (flags & needed) != needed) return STATUS_INVALID_PARAMETER;
    }
    return flags & absent ? STATUS_NOT_SUPPORTED : STATUS_SUCCESS;
}

static NTSTATUS check_element(const D3DDDI_ALLOCATIONINFO2 *i, uint32_t flags)
{
    const uint32_t primary = D3DDDI_ALLOCATIONINFO2_Flags_Primary;
    for (uint32_t r = 0; r < 5; r++)
        if (i->Reserved[r] != 0) return STATUS_INVALID_PARAMETER;
    if (i->Flags & D3DDDI_ALLOCATIONINFO2_Flags_Reserved) return STATUS_INVALID_PARAMETER;
    if ((i->Flags & D3DDDI_ALLOCATIONINFO2_Flags_Stereo) && !(i->Flags & primary))
        return STATUS_INVALID_PARAMETER;
    if (!(i->Flags & D3DDDI_ALLOCATIONINFO2_Flags_OverridePriority) && i->Unused != 0)
        return STATUS_INVALID_PARAMETER;
    if ((flags & FLAG(ExistingSysMem)) && i->pSystemMem == 0) return STATUS_INVALID_PARAMETER;
    if (i->pSystemMem % VIDMM_PAGE_SIZE != 0) return STATUS_INVALID_PARAMETER;
    if (i->PrivateDriverDataSize > VIDMM_PRIVATE_DATA_MAX) return STATUS_INVALID_PARAMETER;
    return i->Flags & primary ? STATUS_NOT_SUPPORTED : STATUS_SUCCESS;
}

static NTSTATUS check_resource(struct kmt_call *c, const D3DKMT_CREATEALLOCATION *a, struct creation *k)
{
    k->new_resource = (a->Flags & FLAG(CreateResource)) != 0;
    if (k->new_resource) return a->hResource == 0 ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
    if (a->NumAllocations == 0) return STATUS_INVALID_PARAMETER;
    if (a->hResource == 0) return STATUS_SUCCESS;
    k->resource = kmt_object_find(c->process, a->hResource, KMT_RESOURCE);
    if (k->resource == NULL || k->resource->parent != k->device) return STATUS_INVALID_PARAMETER;
    /* Others may have opened it with the allocations it had. */
    return k->resource->resource.shared != NULL ? STATUS_INVALID_PARAMETER : STATUS_SUCCESS;
}

/* Elements of the first form are the front part of those of the second. */
static NTSTATUS copy_elements(struct kmt_call *c, const D3DKMT_CREATEALLOCATION *a, size_t element,
                              struct creation *k)
{
    void *raw;
    NTSTATUS status = kmt_copy_array(c, a->pAllocationInfo2, a->NumAllocations, element, &raw);
    if (status != STATUS_SUCCESS || raw == NULL) return status;
    k->info = raw;
    if (element != sizeof *k->info) {
        k->info = kmt_scratch(c, a->NumAllocations * sizeof *k->info);
        if (k->info == NULL) return STATUS_NO_MEMORY;
        for (uint32_t i = 0; i < a->NumAllocations; i++)
            memcpy(&k->info[i], (const uint8_t *)raw + i * element, element);
    }
    k->made = kmt_scratch(c, a->NumAllocations * sizeof(struct kmt_object *));
    return k->made != NULL ? STATUS_SUCCESS : STATUS_NO_MEMORY;
}

static NTSTATUS decode(struct kmt_call *c, size_t element, struct creation *k)
{
    const D3DKMT_CREATEALLOCATION *a = c->args;
    uint32_t largest = 0;
    k->device = kmt_object_find(c->process, a->hDevice, KMT_DEVICE);
    if (k->device == NULL) return STATUS_INVALID_PARAMETER;
    NTSTATUS status = check_flags(a->Flags);
    if (status == STATUS_SUCCESS) status = check_resource(c, a, k);
    if (status == STATUS_SUCCESS) status = copy_elements(c, a, element, k);
    if (status != STATUS_SUCCESS) return status;
    k->count = a->NumAllocations;
    k->flags = a->Flags;
    for (uint32_t i = 0; i < k->count; i++) {
        status = check_element(&k->info[i], k->flags);
        if (status != STATUS_SUCCESS) return status;
        if (k->info[i].PrivateDriverDataSize > largest) largest = k->info[i].PrivateDriverDataSize;
    }
    k->private_data = kmt_scratch(c, largest);
    return k->private_data != NULL ? STATUS_SUCCESS : STATUS_NO_MEMORY;
}

/* ---- making ------------------------------------------------------------------------------------ */

/* Resource-level data is of use only to those who open the resource later. */
static NTSTATUS keep_resource_data(struct kmt_call *c, struct kmt_object *resource)
{
    const D3DKMT_CREATEALLOCATION *a = c->args;
    void *runtime, *driver;
    struct kmt_shared *shared = resource->resource.shared;
    NTSTATUS status = kmt_copy_bytes(c, a->pPrivateRuntimeData, a->PrivateRuntimeDataSize, &runtime);
    if (status == STATUS_SUCCESS)
        status = kmt_copy_bytes(c, a->pPrivateDriverData, a->PrivateDriverDataSize, &driver);
    if (status == STATUS_SUCCESS)
        status = kmt_blob_keep(c->env, &shared->runtime_data, runtime, a->PrivateRuntimeDataSize);
    if (status == STATUS_SUCCESS)
        status = kmt_blob_keep(c->env, &shared->private_data, driver, a->PrivateDriverDataSize);
    return status;
}

static NTSTATUS make_resource(struct kmt_call *c, struct creation *k)
{
    if (!k->new_resource) return STATUS_SUCCESS;
    struct kmt_object *o = kmt_object_new(c->process, KMT_RESOURCE, k->device);
    if (o == NULL) return STATUS_NO_MEMORY;
    k->resource = o;
    if (!(k->flags & FLAG(CreateShared))) return STATUS_SUCCESS;
    if (!kmt_shared_begin(o, k->flags)) return STATUS_NO_MEMORY;
    NTSTATUS status = keep_resource_data(c, o);
    if (status != STATUS_SUCCESS || (k->flags & FLAG(NtSecuritySharing))) return status;
    uint32_t *global = &o->resource.shared->name[KMT_NAME_GLOBAL];
    *global = handle_create(&c->process->face->shared, KMT_RESOURCE, o->resource.shared);
    return *global != 0 ? STATUS_SUCCESS : STATUS_NO_MEMORY;
}

static NTSTATUS make_open(struct kmt_call *c, const struct creation *k, const D3DDDI_ALLOCATIONINFO2 *i,
                          struct vidmm_open **open)
{
    const struct kmt_config *f = &c->process->face->config;
    struct vidmm_alloc_desc desc = {.private_data = k->private_data,
                                    .private_size = i->PrivateDriverDataSize};
    if (i->pSystemMem != 0) {
        desc.existing = (void *)(uintptr_t)i->pSystemMem;
        if (f->existing_bytes != NULL)
            desc.existing_bytes = f->existing_bytes(k->private_data, i->PrivateDriverDataSize);
        if (desc.existing_bytes == 0) return STATUS_INVALID_PARAMETER;
    }
    return kmt_status(vidmm_alloc_create(k->device->device.core, &desc, open));
}

/* One allocation: handle and backing first, because they can be taken back without a trace. */
static NTSTATUS make_allocation(struct kmt_call *c, struct creation *k, uint32_t index)
{
    const D3DDDI_ALLOCATIONINFO2 *i = &k->info[index];
    if (!kmt_read(c, k->private_data, i->pPrivateDriverData, i->PrivateDriverDataSize))
        return STATUS_INVALID_PARAMETER;
    struct kmt_object *o = kmt_object_new(c->process, KMT_ALLOCATION, k->device);
    if (o == NULL) return STATUS_NO_MEMORY;
    k->made[index] = o;
    struct kmt_backing *b = c->env->alloc(c->env->ctx, sizeof *b);
    if (b == NULL) return STATUS_NO_MEMORY;
    b->users = 1;
    b->device = k->device;
    o->allocation.backing = b;
    NTSTATUS status = STATUS_SUCCESS;
    if (k->flags & FLAG(CreateShared))
        status = kmt_member_begin(k->resource->resource.shared, b, k->private_data, i->PrivateDriverDataSize);
    if (status != STATUS_SUCCESS) return status;
    status = make_open(c, k, i, &b->open);
    if (status != STATUS_SUCCESS) {
        b->open = NULL;
        return status;
    }
    if (i->Flags & D3DDDI_ALLOCATIONINFO2_Flags_OverridePriority)
        return kmt_status(vidmm_open_set_priority(b->open, i->Priority));
    return STATUS_SUCCESS;
}

static void join_resource(struct creation *k)
{
    for (uint32_t i = 0; k->resource != NULL && i < k->count; i++) {
        k->made[i]->allocation.resource = k->resource;
        list_push_back(&k->resource->resource.allocations, &k->made[i]->allocation.in_resource);
        k->resource->resource.count++;
    }
}

/* Takes everything back, newest first; the handles rest in quarantine. */
static void unmake(struct creation *k)
{
    for (uint32_t i = k->count; i-- != 0;)
        if (k->made[i] != NULL) kmt_object_retire(k->made[i], VIDMM_DESTROY_ASSUME_NOT_IN_USE);
    if (k->new_resource && k->resource != NULL) kmt_object_retire(k->resource, 0);
}

/* Tells the client the handles: one word of each element, and the struct itself. */
static bool tell(struct kmt_call *c, const struct creation *k, size_t element)
{
    D3DKMT_CREATEALLOCATION *a = c->args;
    for (uint32_t i = 0; i < k->count; i++) {
        const D3DKMT_PTR at = a->pAllocationInfo2 + i * element;
        const uint64_t no_address = 0;
        if (!kmt_write(c, at, &k->made[i]->handle, sizeof k->made[i]->handle)) return false;
        if (element == sizeof *k->info &&
            !kmt_write(c, at + offsetof(D3DDDI_ALLOCATIONINFO2, GpuVirtualAddress), &no_address, 8))
            return false;
    }
    a->hResource = k->resource != NULL ? k->resource->handle : 0;
    const struct kmt_shared *shared = k->new_resource ? k->resource->resource.shared : NULL;
    a->hGlobalShare = shared != NULL ? shared->name[KMT_NAME_GLOBAL] : 0;
    return true;
}

static void undo_creation(struct kmt_call *c)
{
    unmake(c->undo_arg);
}

static NTSTATUS create(struct kmt_call *c, size_t element)
{
    struct creation *k = kmt_scratch(c, sizeof *k);
    if (k == NULL) return STATUS_NO_MEMORY;
    NTSTATUS status = decode(c, element, k);
    if (status != STATUS_SUCCESS) return status;
    status = make_resource(c, k);
    for (uint32_t i = 0; status == STATUS_SUCCESS && i < k->count; i++) status = make_allocation(c, k, i);
    if (status == STATUS_SUCCESS) {
        join_resource(k);
        if (!tell(c, k, element)) status = STATUS_INVALID_PARAMETER;
    }
    if (status != STATUS_SUCCESS) unmake(k);
    c->undo = undo_creation;
    c->undo_arg = k;
    return status;
}

NTSTATUS kmt_create_allocation2(struct kmt_call *c)
{
    return create(c, sizeof(D3DDDI_ALLOCATIONINFO2));
}

NTSTATUS kmt_create_allocation(struct kmt_call *c)
{
    return create(c, sizeof(D3DDDI_ALLOCATIONINFO));
}

/* ---- destroying -------------------------------------------------------------------------------- */

static NTSTATUS destroy(struct kmt_call *c, D3DKMT_HANDLE device_handle, D3DKMT_HANDLE resource_handle,
                        D3DKMT_PTR list, uint32_t count, uint32_t core_flags)
{
    struct kmt_object *device = kmt_object_find(c->process, device_handle, KMT_DEVICE), *o;
    void *raw;
    if (device == NULL) return STATUS_INVALID_PARAMETER;
    if (resource_handle != 0) {
        o = kmt_object_find(c->process, resource_handle, KMT_RESOURCE);
        if (o == NULL || o->parent != device || list != 0) return STATUS_INVALID_PARAMETER;
        kmt_object_retire(o, core_flags);
        return STATUS_SUCCESS;
    }
    NTSTATUS status = kmt_copy_array(c, list, count, sizeof(D3DKMT_HANDLE), &raw);
    if (status != STATUS_SUCCESS) return status;
    const D3DKMT_HANDLE *handle = raw;
    const struct kmt_object *resource = NULL;
    for (uint32_t i = 0; i < count; i++) { /* all or nothing */
        o = kmt_object_find(c->process, handle[i], KMT_ALLOCATION);
        if (o == NULL || o->parent != device) return STATUS_INVALID_PARAMETER;
        if (resource == NULL) resource = o->allocation.resource;
        if (o->allocation.resource != NULL && o->allocation.resource != resource)
            return STATUS_INVALID_PARAMETER; /* ALC-18 */
    }
    for (uint32_t i = 0; i < count; i++) { /* a handle listed twice is gone at its second turn */
        o = kmt_object_find(c->process, handle[i], KMT_ALLOCATION);
        if (o != NULL) kmt_object_retire(o, core_flags);
    }
    return STATUS_SUCCESS;
}

struct closing { struct kmt_object *device; uint64_t mark; };

static bool all_closed(void *arg)
{
    const struct closing *w = arg;
    return w->device->dead || vidmm_device_closed(w->device->device.core, w->mark);
}

/* SynchronousDestroy: returns when the memory is the system's again, or nobody has it any more. */
static NTSTATUS wait_until_closed(struct kmt_call *c, D3DKMT_HANDLE device_handle)
{
    struct kmt_object *device = kmt_object_find(c->process, device_handle, KMT_DEVICE);
    struct closing w = {device, vidmm_device_close_mark(device->device.core)};
    kmt_object_ref(device);
    bool there = all_closed(&w) || c->env->wait(c->env->ctx, all_closed, &w);
    kmt_object_unref(device);
    return there ? STATUS_SUCCESS : STATUS_DEVICE_REMOVED;
}

NTSTATUS kmt_destroy_allocation2(struct kmt_call *c)
{
    const D3DKMT_DESTROYALLOCATION2 *a = c->args;
    const uint32_t illegal =
        D3DDDICB_DESTROYALLOCATION2FLAGS_Reserved | D3DDDICB_DESTROYALLOCATION2FLAGS_SystemUseOnly;
    if (a->Flags & illegal) return STATUS_INVALID_PARAMETER;
    bool unused = (a->Flags & D3DDDICB_DESTROYALLOCATION2FLAGS_AssumeNotInUse) != 0;
    bool wait = (a->Flags & D3DDDICB_DESTROYALLOCATION2FLAGS_SynchronousDestroy) != 0;
    NTSTATUS status = destroy(c, a->hDevice, a->hResource, a->phAllocationList, a->AllocationCount,
                              unused ? VIDMM_DESTROY_ASSUME_NOT_IN_USE : 0);
    return status == STATUS_SUCCESS && wait ? wait_until_closed(c, a->hDevice) : status;
}

NTSTATUS kmt_destroy_allocation(struct kmt_call *c)
{
    const D3DKMT_DESTROYALLOCATION *a = c->args;
    return destroy(c, a->hDevice, a->hResource, a->phAllocationList, a->AllocationCount, 0);
}
