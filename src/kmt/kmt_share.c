/* SPDX-License-Identifier: MIT */
/* kmt_share.c - naming a resource by a global or NT handle, and opening it again by that name.
 * Owns: the face's table of shared names (entries die with their resource).  Calls: object.
 * In this release one device owns a resource: it can be opened again by the same device only, and the new
 * handles stand for the same opens.  Names of both kinds are numbers from one table, not
 * descriptors. */
#include <string.h>

#include "kmt/local.h"

static NTSTATUS share_fence(struct kmt_call *c, D3DKMT_HANDLE handle)
{
    const D3DKMT_SHAREOBJECTS *a = c->args;
    uint32_t name;
    bool fresh;
    NTSTATUS status = kmt_name_fence(c, handle, &name, &fresh);
    if (status != STATUS_SUCCESS) return status;
    const uint64_t nt = name;
    if (kmt_write(c, a->pSharedNtHandle, &nt, sizeof nt)) return STATUS_SUCCESS;
    if (fresh) kmt_unname_fence(c, handle);
    return STATUS_INVALID_PARAMETER;
}

NTSTATUS kmt_share_objects(struct kmt_call *c)
{
    const D3DKMT_SHAREOBJECTS *a = c->args;
    D3DKMT_HANDLE handle[D3DKMT_MAX_SHARED_OBJECTS];
    if (a->ObjectCount == 0 || a->ObjectCount > D3DKMT_MAX_SHARED_OBJECTS) return STATUS_INVALID_PARAMETER;
    if (!kmt_read(c, handle, a->ObjectHandleArray, a->ObjectCount * sizeof *handle))
        return STATUS_INVALID_PARAMETER;
    for (uint32_t i = 0; i < a->ObjectCount; i++) {
        uint32_t kind = handle_kind(&c->process->handles, handle[i]);
        if (kind == KMT_SYNC && a->ObjectCount > 1) return STATUS_NOT_SUPPORTED; /* beside a resource */
        if (kind != KMT_RESOURCE && kind != KMT_SYNC) return STATUS_INVALID_PARAMETER;
    }
    if (a->ObjectCount != 1) return STATUS_INVALID_PARAMETER; /* two resources behind one handle */
    if (handle_kind(&c->process->handles, handle[0]) == KMT_SYNC) return share_fence(c, handle[0]);
    struct kmt_object *o = kmt_object_find(c->process, handle[0], KMT_RESOURCE);
    const uint32_t needed = D3DKMT_CREATEALLOCATIONFLAGS_NtSecuritySharing;
    if (!(o->resource.flags & needed)) return STATUS_INVALID_PARAMETER;
    bool fresh = o->resource.nt == 0;
    if (fresh) o->resource.nt = handle_create(&c->process->face->shared, KMT_RESOURCE, o);
    if (o->resource.nt == 0) return STATUS_NO_MEMORY;
    const uint64_t nt = o->resource.nt;
    if (kmt_write(c, a->pSharedNtHandle, &nt, sizeof nt)) return STATUS_SUCCESS;
    if (fresh) {
        handle_close(&c->process->face->shared, o->resource.nt, KMT_RESOURCE);
        o->resource.nt = 0;
    }
    return STATUS_INVALID_PARAMETER;
}

enum name_kind { NAME_GLOBAL, NAME_NT };

/* A global name does not open what was shared by NT handle, and the other way round. */
static const struct kmt_object *find_shared(struct kmt_call *c, uint64_t name, enum name_kind kind)
{
    if (name > UINT32_MAX) return NULL;
    const struct kmt_object *o = handle_lookup(&c->process->face->shared, (uint32_t)name, KMT_RESOURCE);
    if (o == NULL) return NULL;
    return name == (kind == NAME_NT ? o->resource.nt : o->resource.global) ? o : NULL;
}

NTSTATUS kmt_get_shared_luid(struct kmt_call *c)
{
    D3DKMT_GETSHAREDRESOURCEADAPTERLUID *a = c->args;
    const struct kmt_object *o = a->hGlobalShare != 0 ? find_shared(c, a->hGlobalShare, NAME_GLOBAL)
                                                      : find_shared(c, a->hNtHandle, NAME_NT);
    if (o == NULL) return STATUS_INVALID_PARAMETER;
    a->AdapterLuid = c->process->face->config.luid;
    return STATUS_SUCCESS;
}

static uint32_t total_private_bytes(const struct kmt_object *resource)
{
    uint32_t bytes = 0; /* at most LIST_MAX * PRIVATE_DATA_MAX = 2^30 */
    LIST_FOREACH(it, &resource->resource.allocations)
        bytes += list_entry(it, struct kmt_object, allocation.in_resource)->allocation.private_data.size;
    return bytes;
}

_Static_assert((uint64_t)VIDMM_LIST_MAX * VIDMM_PRIVATE_DATA_MAX <= UINT32_MAX, "the sum above");

/* ---- sizes ------------------------------------------------------------------------------------- */

static NTSTATUS resource_sizes(struct kmt_call *c, const struct kmt_object *o, D3DKMT_PTR runtime,
                               uint32_t *runtime_bytes, uint32_t *total, uint32_t *own, uint32_t *count)
{
    const struct kmt_blob *data = &o->resource.runtime_data;
    if (runtime != 0) {
        if (*runtime_bytes < data->size) return STATUS_BUFFER_TOO_SMALL;
        if (!kmt_write(c, runtime, data->bytes, data->size)) return STATUS_INVALID_PARAMETER;
    }
    *runtime_bytes = data->size;
    *total = total_private_bytes(o);
    *own = o->resource.private_data.size;
    *count = o->resource.count;
    return STATUS_SUCCESS;
}

NTSTATUS kmt_query_resource_info(struct kmt_call *c)
{
    D3DKMT_QUERYRESOURCEINFO *a = c->args;
    const struct kmt_object *o = find_shared(c, a->hGlobalShare, NAME_GLOBAL);
    if (o == NULL || kmt_object_find(c->process, a->hDevice, KMT_DEVICE) == NULL)
        return STATUS_INVALID_PARAMETER;
    return resource_sizes(c, o, a->pPrivateRuntimeData, &a->PrivateRuntimeDataSize,
                          &a->TotalPrivateDriverDataSize, &a->ResourcePrivateDriverDataSize,
                          &a->NumAllocations);
}

NTSTATUS kmt_query_resource_info_nt(struct kmt_call *c)
{
    D3DKMT_QUERYRESOURCEINFOFROMNTHANDLE *a = c->args;
    const struct kmt_object *o = find_shared(c, a->hNtHandle, NAME_NT);
    if (o == NULL || kmt_object_find(c->process, a->hDevice, KMT_DEVICE) == NULL)
        return STATUS_INVALID_PARAMETER;
    return resource_sizes(c, o, a->pPrivateRuntimeData, &a->PrivateRuntimeDataSize,
                          &a->TotalPrivateDriverDataSize, &a->ResourcePrivateDriverDataSize,
                          &a->NumAllocations);
}

/* ---- opening ----------------------------------------------------------------------------------- */

/* What both open calls want. */
struct opening {
    D3DKMT_HANDLE device;
    uint32_t count;
    D3DKMT_PTR elements, runtime, own, total; /* of the client */
    uint32_t runtime_bytes, own_bytes, total_bytes;
};

static bool fill(struct kmt_call *c, D3DKMT_PTR to, uint32_t room, const struct kmt_blob *b)
{
    return room >= b->size && kmt_write(c, to, b->bytes, b->size);
}

/* A second handle for an allocation: the same backing. */
static struct kmt_object *alias(struct kmt_call *c, struct kmt_object *resource,
                                const struct kmt_object *from)
{
    struct kmt_object *o = kmt_object_new(c->process, KMT_ALLOCATION, from->parent);
    if (o == NULL) return NULL;
    o->allocation.backing = from->allocation.backing;
    o->allocation.backing->users++;
    o->allocation.resource = resource;
    list_push_back(&resource->resource.allocations, &o->allocation.in_resource);
    resource->resource.count++;
    return o;
}

/* Makes the handles and tells them, element by element, together with the private data. */
static NTSTATUS open_members(struct kmt_call *c, const struct opening *in, const struct kmt_object *shared,
                             struct kmt_object *resource)
{
    uint32_t i = 0, at = 0;
    LIST_FOREACH(it, &shared->resource.allocations) {
        const struct kmt_object *from = list_entry(it, struct kmt_object, allocation.in_resource);
        const struct kmt_blob *data = &from->allocation.private_data;
        const struct kmt_object *o = alias(c, resource, from);
        if (o == NULL) return STATUS_NO_MEMORY;
        const D3DDDI_OPENALLOCATIONINFO2 info = {.hAllocation = o->handle,
                                                 .pPrivateDriverData = data->size != 0 ? in->total + at : 0,
                                                 .PrivateDriverDataSize = data->size};
        if (!kmt_write(c, in->total + at, data->bytes, data->size) ||
            !kmt_write(c, in->elements + i * sizeof info, &info, sizeof info))
            return STATUS_INVALID_PARAMETER;
        at += data->size;
        i++;
    }
    return STATUS_SUCCESS;
}

static NTSTATUS open_shared(struct kmt_call *c, const struct opening *in, const struct kmt_object *shared,
                            struct kmt_object **out)
{
    struct kmt_object *device = kmt_object_find(c->process, in->device, KMT_DEVICE);
    if (shared == NULL || device == NULL) return STATUS_INVALID_PARAMETER;
    if (shared->parent != device) return STATUS_NOT_SUPPORTED;
    if (in->count != shared->resource.count) return STATUS_INVALID_PARAMETER;
    if (in->total_bytes < total_private_bytes(shared)) return STATUS_BUFFER_TOO_SMALL;
    if (!fill(c, in->runtime, in->runtime_bytes, &shared->resource.runtime_data) ||
        !fill(c, in->own, in->own_bytes, &shared->resource.private_data))
        return STATUS_INVALID_PARAMETER;
    struct kmt_object *resource = kmt_object_new(c->process, KMT_RESOURCE, device);
    if (resource == NULL) return STATUS_NO_MEMORY;
    /* As shared as the first one in that nothing is added to it, but it has no name of its own. */
    resource->resource.flags = D3DKMT_CREATEALLOCATIONFLAGS_CreateShared;
    NTSTATUS status = open_members(c, in, shared, resource);
    if (status != STATUS_SUCCESS) {
        kmt_object_retire(resource, 0);
        return status;
    }
    *out = resource;
    c->made = resource;
    c->undo = kmt_undo_object;
    return STATUS_SUCCESS;
}

/* The elements are written in the second form. */
NTSTATUS kmt_open_resource(struct kmt_call *c)
{
    D3DKMT_OPENRESOURCE *a = c->args;
    const struct opening in = {
        a->hDevice, a->NumAllocations, a->pOpenAllocationInfo2, a->pPrivateRuntimeData,
        a->pResourcePrivateDriverData, a->pTotalPrivateDriverDataBuffer, a->PrivateRuntimeDataSize,
        a->ResourcePrivateDriverDataSize, a->TotalPrivateDriverDataBufferSize,
    };
    const struct kmt_object *shared = find_shared(c, a->hGlobalShare, NAME_GLOBAL);
    struct kmt_object *o;
    NTSTATUS status = open_shared(c, &in, shared, &o);
    if (status != STATUS_SUCCESS) return status;
    a->TotalPrivateDriverDataBufferSize = total_private_bytes(shared);
    a->hResource = o->handle;
    return STATUS_SUCCESS;
}

NTSTATUS kmt_open_resource_nt(struct kmt_call *c)
{
    D3DKMT_OPENRESOURCEFROMNTHANDLE *a = c->args;
    const struct opening in = {
        a->hDevice, a->NumAllocations, a->pOpenAllocationInfo2, a->pPrivateRuntimeData,
        a->pResourcePrivateDriverData, a->pTotalPrivateDriverDataBuffer, a->PrivateRuntimeDataSize,
        a->ResourcePrivateDriverDataSize, a->TotalPrivateDriverDataBufferSize,
    };
    const struct kmt_object *shared = find_shared(c, a->hNtHandle, NAME_NT);
    struct kmt_object *o;
    NTSTATUS status = open_shared(c, &in, shared, &o);
    if (status != STATUS_SUCCESS) return status;
    a->TotalPrivateDriverDataBufferSize = total_private_bytes(shared);
    a->hResource = o->handle;
    a->hKeyedMutex = 0;
    a->hSyncObject = 0;
    return STATUS_SUCCESS;
}
