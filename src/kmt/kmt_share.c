/* SPDX-License-Identifier: MIT */
/* kmt_share.c - naming a resource by a global or NT handle, and opening it by that name, in any process.
 * Owns: struct kmt_shared and struct kmt_member, and their names in the face's table.
 * Calls: object, core (open).
 * A device that has a resource open gets more handles for the same opens; another one gets opens of its own.
 * Names of both kinds are numbers from one table, not descriptors; they live as long as any handle of the
 * resource. */
#include <string.h>

#include "kmt/local.h"

#define SHARED_ALLOCATION_WRITE 0x1u
#define GENERIC_ALL 0x10000000u
#define GENERIC_WRITE 0x40000000u

/* ---- what is shared ----------------------------------------------------------------------------- */

NTSTATUS kmt_blob_keep(const struct vidmm_env *env, struct kmt_blob *b, const void *bytes, uint32_t size)
{
    if (size == 0) return STATUS_SUCCESS;
    b->bytes = env->alloc(env->ctx, size);
    if (b->bytes == NULL) return STATUS_NO_MEMORY;
    b->size = size;
    memcpy(b->bytes, bytes, size);
    return STATUS_SUCCESS;
}

bool kmt_shared_begin(struct kmt_object *resource, uint32_t flags)
{
    const struct vidmm_env *env = resource->env;
    struct kmt_shared *s = env->alloc(env->ctx, sizeof *s);
    if (s == NULL) return false;
    s->env = env;
    s->face = resource->process->face;
    s->users = 1;
    s->flags = flags;
    list_init(&s->members);
    resource->resource.shared = s;
    return true;
}

/* With the last handle. Allocations may outlive it by a moment, when a device goes. */
void kmt_shared_leave(struct kmt_object *resource)
{
    struct kmt_shared *s = resource->resource.shared;
    struct list *at;
    resource->resource.shared = NULL;
    if (--s->users > 0) return;
    for (uint32_t i = 0; i < KMT_NAMES; i++)
        if (s->name[i] != 0) handle_close(&s->face->shared, s->name[i], KMT_RESOURCE);
    while ((at = list_first(&s->members)) != NULL) list_remove(at);
    kmt_blob_free(s->env, &s->runtime_data);
    kmt_blob_free(s->env, &s->private_data);
    s->env->free(s->env->ctx, s, sizeof *s);
}

static void join_member(struct kmt_member *m, struct kmt_backing *b)
{
    b->member = m;
    list_push_back(&m->backings, &b->in_member);
}

NTSTATUS kmt_member_begin(struct kmt_shared *s, struct kmt_backing *b, const void *data, uint32_t bytes)
{
    struct kmt_member *m = s->env->alloc(s->env->ctx, sizeof *m);
    if (m == NULL) return STATUS_NO_MEMORY;
    list_init(&m->backings);
    list_push_back(&s->members, &m->in_shared);
    join_member(m, b);
    return kmt_blob_keep(s->env, &m->private_data, data, bytes);
}

/* What no device has open any more cannot be opened again. */
void kmt_member_leave(const struct vidmm_env *env, struct kmt_backing *b)
{
    struct kmt_member *m = b->member;
    list_remove(&b->in_member);
    if (!list_empty(&m->backings)) return;
    list_remove(&m->in_shared);
    kmt_blob_free(env, &m->private_data);
    env->free(env->ctx, m, sizeof *m);
}

/* ---- names -------------------------------------------------------------------------------------- */

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

static NTSTATUS share_resource(struct kmt_call *c, D3DKMT_HANDLE handle)
{
    const D3DKMT_SHAREOBJECTS *a = c->args;
    struct kmt_shared *s = kmt_object_find(c->process, handle, KMT_RESOURCE)->resource.shared;
    if (s == NULL || !(s->flags & D3DKMT_CREATEALLOCATIONFLAGS_NtSecuritySharing))
        return STATUS_INVALID_PARAMETER; /* ALC-24 */
    bool writes = (a->DesiredAccess & (SHARED_ALLOCATION_WRITE | GENERIC_WRITE | GENERIC_ALL)) != 0;
    uint32_t *name = &s->name[writes ? KMT_NAME_NT : KMT_NAME_NT_READ];
    bool fresh = *name == 0;
    if (fresh) *name = handle_create(&s->face->shared, KMT_RESOURCE, s);
    if (*name == 0) return STATUS_NO_MEMORY;
    const uint64_t nt = *name;
    if (kmt_write(c, a->pSharedNtHandle, &nt, sizeof nt)) return STATUS_SUCCESS;
    if (fresh) {
        handle_close(&s->face->shared, *name, KMT_RESOURCE);
        *name = 0;
    }
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
    bool fence = handle_kind(&c->process->handles, handle[0]) == KMT_SYNC;
    return fence ? share_fence(c, handle[0]) : share_resource(c, handle[0]);
}

/* A global name does not open what was shared by NT handle, and the other way round. */
static struct kmt_shared *find_shared(struct kmt_call *c, uint64_t name, bool nt, bool *read_only)
{
    if (name > UINT32_MAX) return NULL;
    struct kmt_shared *s = handle_lookup(&c->process->face->shared, (uint32_t)name, KMT_RESOURCE);
    if (s == NULL || (name != s->name[KMT_NAME_GLOBAL]) != nt) return NULL;
    *read_only = name == s->name[KMT_NAME_NT_READ];
    return s;
}

NTSTATUS kmt_get_shared_luid(struct kmt_call *c)
{
    D3DKMT_GETSHAREDRESOURCEADAPTERLUID *a = c->args;
    bool nt = a->hGlobalShare == 0, read_only;
    if (find_shared(c, nt ? a->hNtHandle : a->hGlobalShare, nt, &read_only) == NULL)
        return STATUS_INVALID_PARAMETER;
    a->AdapterLuid = c->process->face->config.luid;
    return STATUS_SUCCESS;
}

static struct kmt_member *member(struct list *at) { return list_entry(at, struct kmt_member, in_shared); }

static uint32_t total_private_bytes(const struct kmt_shared *s)
{
    uint32_t bytes = 0; /* at most LIST_MAX * PRIVATE_DATA_MAX = 2^30 */
    LIST_FOREACH(it, &s->members) bytes += member(it)->private_data.size;
    return bytes;
}

_Static_assert((uint64_t)VIDMM_LIST_MAX * VIDMM_PRIVATE_DATA_MAX <= UINT32_MAX, "the sum above");

/* ---- sizes ------------------------------------------------------------------------------------- */

static NTSTATUS resource_sizes(struct kmt_call *c, const struct kmt_shared *s, D3DKMT_PTR runtime,
                               uint32_t *runtime_bytes, uint32_t *total, uint32_t *own, uint32_t *count)
{
    const struct kmt_blob *data = &s->runtime_data;
    if (runtime != 0) {
        if (*runtime_bytes < data->size) return STATUS_BUFFER_TOO_SMALL;
        if (!kmt_write(c, runtime, data->bytes, data->size)) return STATUS_INVALID_PARAMETER;
    }
    *runtime_bytes = data->size;
    *total = total_private_bytes(s);
    *own = s->private_data.size;
    *count = (uint32_t)list_count(&s->members);
    return STATUS_SUCCESS;
}

NTSTATUS kmt_query_resource_info(struct kmt_call *c)
{
    D3DKMT_QUERYRESOURCEINFO *a = c->args;
    bool read_only;
    const struct kmt_shared *s = find_shared(c, a->hGlobalShare, false, &read_only);
    if (s == NULL || kmt_object_find(c->process, a->hDevice, KMT_DEVICE) == NULL)
        return STATUS_INVALID_PARAMETER;
    return resource_sizes(c, s, a->pPrivateRuntimeData, &a->PrivateRuntimeDataSize,
                          &a->TotalPrivateDriverDataSize, &a->ResourcePrivateDriverDataSize,
                          &a->NumAllocations);
}

NTSTATUS kmt_query_resource_info_nt(struct kmt_call *c)
{
    D3DKMT_QUERYRESOURCEINFOFROMNTHANDLE *a = c->args;
    bool read_only;
    const struct kmt_shared *s = find_shared(c, a->hNtHandle, true, &read_only);
    if (s == NULL || kmt_object_find(c->process, a->hDevice, KMT_DEVICE) == NULL)
        return STATUS_INVALID_PARAMETER;
    return resource_sizes(c, s, a->pPrivateRuntimeData, &a->PrivateRuntimeDataSize,
                          &a->TotalPrivateDriverDataSize, &a->ResourcePrivateDriverDataSize,
                          &a->NumAllocations);
}

/* ---- opening ----------------------------------------------------------------------------------- */

/* What both open calls want. */
struct opening {
    struct kmt_object *device;
    bool read_only;
    uint32_t count;
    D3DKMT_PTR elements, runtime, own, total; /* of the client */
    uint32_t runtime_bytes, own_bytes, total_bytes;
};

static bool fill(struct kmt_call *c, D3DKMT_PTR to, uint32_t room, const struct kmt_blob *b)
{
    return room >= b->size && kmt_write(c, to, b->bytes, b->size);
}

static struct kmt_backing *backing_of(const struct kmt_member *m, const struct kmt_object *device)
{
    LIST_FOREACH(it, &m->backings) {
        struct kmt_backing *b = list_entry(it, struct kmt_backing, in_member);
        if (b->device == device) return b;
    }
    return NULL;
}

/* The device's open of a member, made unless it has one. Rights belong to the open: who wants more than it
 * has is refused. */
static NTSTATUS take_backing(struct kmt_call *c, const struct opening *in, struct kmt_member *m,
                             struct kmt_backing **out)
{
    struct kmt_backing *b = backing_of(m, in->device);
    const struct kmt_backing *from = list_entry(list_first(&m->backings), struct kmt_backing, in_member);
    if (b != NULL && b->read_only && !in->read_only) return STATUS_NOT_SUPPORTED;
    if (b == NULL) {
        b = c->env->alloc(c->env->ctx, sizeof *b);
        if (b == NULL) return STATUS_NO_MEMORY;
        NTSTATUS status = kmt_status(vidmm_alloc_open(in->device->device.core, from->open,
                                                      in->read_only ? VIDMM_OPEN_READ_ONLY : 0, &b->open));
        if (status != STATUS_SUCCESS) {
            c->env->free(c->env->ctx, b, sizeof *b);
            return status;
        }
        b->device = in->device;
        b->read_only = in->read_only;
        join_member(m, b);
    }
    b->users++;
    *out = b;
    return STATUS_SUCCESS;
}

static NTSTATUS open_member(struct kmt_call *c, const struct opening *in, struct kmt_member *m,
                            struct kmt_object *resource, D3DKMT_HANDLE *handle)
{
    struct kmt_object *o = kmt_object_new(c->process, KMT_ALLOCATION, in->device);
    if (o == NULL) return STATUS_NO_MEMORY;
    o->allocation.resource = resource;
    list_push_back(&resource->resource.allocations, &o->allocation.in_resource);
    resource->resource.count++;
    *handle = o->handle;
    return take_backing(c, in, m, &o->allocation.backing);
}

/* Makes the handles and tells them, element by element, together with the private data. */
static NTSTATUS open_members(struct kmt_call *c, const struct opening *in, struct kmt_object *resource)
{
    uint32_t i = 0, at = 0;
    LIST_FOREACH(it, &resource->resource.shared->members) {
        const struct kmt_blob *data = &member(it)->private_data;
        D3DDDI_OPENALLOCATIONINFO2 info = {.pPrivateDriverData = data->size != 0 ? in->total + at : 0,
                                           .PrivateDriverDataSize = data->size};
        NTSTATUS status = open_member(c, in, member(it), resource, &info.hAllocation);
        if (status != STATUS_SUCCESS) return status;
        if (!kmt_write(c, in->total + at, data->bytes, data->size) ||
            !kmt_write(c, in->elements + i * sizeof info, &info, sizeof info))
            return STATUS_INVALID_PARAMETER;
        at += data->size;
        i++;
    }
    return STATUS_SUCCESS;
}

static NTSTATUS open_shared(struct kmt_call *c, const struct opening *in, struct kmt_shared *s,
                            struct kmt_object **out)
{
    if (s == NULL || in->device == NULL) return STATUS_INVALID_PARAMETER;
    if (in->count != list_count(&s->members)) return STATUS_INVALID_PARAMETER; /* ALC-25 */
    if (in->total_bytes < total_private_bytes(s)) return STATUS_BUFFER_TOO_SMALL;
    if (!fill(c, in->runtime, in->runtime_bytes, &s->runtime_data) ||
        !fill(c, in->own, in->own_bytes, &s->private_data))
        return STATUS_INVALID_PARAMETER;
    struct kmt_object *resource = kmt_object_new(c->process, KMT_RESOURCE, in->device);
    if (resource == NULL) return STATUS_NO_MEMORY;
    resource->resource.shared = s;
    s->users++;
    NTSTATUS status = open_members(c, in, resource);
    if (status != STATUS_SUCCESS) {
        kmt_object_retire(resource, VIDMM_DESTROY_ASSUME_NOT_IN_USE);
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
    struct opening in = {
        kmt_object_find(c->process, a->hDevice, KMT_DEVICE), false, a->NumAllocations,
        a->pOpenAllocationInfo2, a->pPrivateRuntimeData, a->pResourcePrivateDriverData,
        a->pTotalPrivateDriverDataBuffer, a->PrivateRuntimeDataSize, a->ResourcePrivateDriverDataSize,
        a->TotalPrivateDriverDataBufferSize,
    };
    struct kmt_shared *s = find_shared(c, a->hGlobalShare, false, &in.read_only);
    struct kmt_object *o;
    NTSTATUS status = open_shared(c, &in, s, &o);
    if (status != STATUS_SUCCESS) return status;
    a->TotalPrivateDriverDataBufferSize = total_private_bytes(s);
    a->hResource = o->handle;
    return STATUS_SUCCESS;
}

NTSTATUS kmt_open_resource_nt(struct kmt_call *c)
{
    D3DKMT_OPENRESOURCEFROMNTHANDLE *a = c->args;
    struct opening in = {
        kmt_object_find(c->process, a->hDevice, KMT_DEVICE), false, a->NumAllocations,
        a->pOpenAllocationInfo2, a->pPrivateRuntimeData, a->pResourcePrivateDriverData,
        a->pTotalPrivateDriverDataBuffer, a->PrivateRuntimeDataSize, a->ResourcePrivateDriverDataSize,
        a->TotalPrivateDriverDataBufferSize,
    };
    struct kmt_shared *s = find_shared(c, a->hNtHandle, true, &in.read_only);
    struct kmt_object *o;
    NTSTATUS status = open_shared(c, &in, s, &o);
    if (status != STATUS_SUCCESS) return status;
    a->TotalPrivateDriverDataBufferSize = total_private_bytes(s);
    a->hResource = o->handle;
    a->hKeyedMutex = 0;
    a->hSyncObject = 0;
    return STATUS_SUCCESS;
}
