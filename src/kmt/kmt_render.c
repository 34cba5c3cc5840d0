/* SPDX-License-Identifier: MIT */
/* kmt_render.c - physical mode: contexts that hand out a command buffer and two lists, and Render.
 * Owns: those buffers, one block of the face's own memory per context, which the client writes.
 * Calls: object, core (context).  A render copies everything once and looks at the copy only: another thread
 * of the client may go on writing. */
#include <string.h>

#include "kmt/local.h"

/* ---- buffers ------------------------------------------------------------------------------------ */

#define LISTS_ALIGN 8u

static uint32_t rounded(uint32_t bytes) { return (bytes + LISTS_ALIGN - 1) & ~(LISTS_ALIGN - 1); }

static uint32_t block_bytes(const struct vidmm_render_sizes *s)
{
    return rounded(s->command_bytes) + s->allocations * (uint32_t)sizeof(D3DDDI_ALLOCATIONLIST) +
           s->patches * (uint32_t)sizeof(D3DDDI_PATCHLOCATIONLIST);
}

static D3DKMT_PTR command_at(const struct kmt_object *o) { return (uintptr_t)o->context.buffers.bytes; }

static D3DKMT_PTR list_at(const struct kmt_object *o)
{
    return command_at(o) + rounded(o->context.sizes.command_bytes);
}

static D3DKMT_PTR patches_at(const struct kmt_object *o)
{
    return list_at(o) + o->context.sizes.allocations * sizeof(D3DDDI_ALLOCATIONLIST);
}

/* Buffers of the sizes the core's context has now.  false: no memory, what there was remains. */
static bool make_buffers(struct kmt_object *o)
{
    struct vidmm_render_sizes s;
    vidmm_context_sizes(o->context.core, &s);
    struct kmt_blob b = {.size = block_bytes(&s)};
    b.bytes = o->env->alloc(o->env->ctx, b.size);
    if (b.bytes == NULL) return false;
    kmt_blob_free(o->env, &o->context.buffers);
    o->context.buffers = b;
    o->context.sizes = s;
    return true;
}

/* ---- contexts ----------------------------------------------------------------------------------- */

static NTSTATUS make_core(struct kmt_object *o, const D3DKMT_CREATECONTEXT *a, const void *data)
{
    const struct vidmm_context_desc desc = {.node = a->NodeOrdinal, .engine_affinity = a->EngineAffinity,
                                            .private_data = data, .private_size = a->PrivateDriverDataSize,
                                            .physical = true};
    NTSTATUS status = kmt_status(vidmm_context_create(o->parent->device.core, &desc, &o->context.core));
    if (status != STATUS_SUCCESS) o->context.core = NULL;
    else if (!make_buffers(o)) status = STATUS_NO_MEMORY;
    return status;
}

NTSTATUS kmt_create_context(struct kmt_call *c)
{
    D3DKMT_CREATECONTEXT *a = c->args;
    struct kmt_object *device = kmt_object_find(c->process, a->hDevice, KMT_DEVICE);
    void *data;
    if (device == NULL || a->Flags & D3DDDI_CREATECONTEXTFLAGS_Reserved) return STATUS_INVALID_PARAMETER;
    if (a->Flags & D3DDDI_CREATECONTEXTFLAGS_HwQueueSupported)
        return STATUS_INVALID_PARAMETER; /* PHY-07: hardware scheduling knows no lists */
    NTSTATUS status = kmt_copy_bytes(c, a->pPrivateDriverData, a->PrivateDriverDataSize, &data);
    if (status != STATUS_SUCCESS) return status;
    struct kmt_object *o = kmt_object_new(c->process, KMT_CONTEXT, device);
    if (o == NULL) return STATUS_NO_MEMORY;
    status = make_core(o, a, data);
    if (status != STATUS_SUCCESS) {
        kmt_object_retire(o, 0);
        return status;
    }
    o->context.null_rendering = (a->Flags & D3DDDI_CREATECONTEXTFLAGS_NullRendering) != 0;
    a->hContext = o->handle;
    a->pCommandBuffer = command_at(o);
    a->CommandBufferSize = o->context.sizes.command_bytes;
    a->pAllocationList = list_at(o);
    a->AllocationListSize = o->context.sizes.allocations;
    a->pPatchLocationList = patches_at(o);
    a->PatchLocationListSize = o->context.sizes.patches;
    a->CommandBuffer = 0;
    c->made = o;
    c->undo = kmt_undo_object;
    return STATUS_SUCCESS;
}

/* ---- render ------------------------------------------------------------------------------------- */

static NTSTATUS take(struct kmt_call *c, D3DKMT_PTR from, size_t bytes, void **out)
{
    *out = NULL;
    if (bytes == 0) return STATUS_SUCCESS;
    *out = kmt_scratch(c, bytes);
    if (*out == NULL) return STATUS_NO_MEMORY;
    memcpy(*out, (const void *)(uintptr_t)from, bytes);
    return STATUS_SUCCESS;
}

static NTSTATUS check_render(const struct kmt_object *o, const D3DKMT_RENDER *a)
{
    const uint32_t kernel = D3DKMT_RENDERFLAGS_RenderKm | D3DKMT_RENDERFLAGS_RenderKmReadback;
    if (o == NULL || o->context.buffers.bytes == NULL) return STATUS_INVALID_PARAMETER; /* SUB-07 */
    if (a->Flags & (D3DKMT_RENDERFLAGS_Reserved | kernel)) return STATUS_INVALID_PARAMETER;
    if (a->BroadcastContextCount > D3DKMT_MAX_BROADCAST_CONTEXTS) return STATUS_INVALID_PARAMETER;
    if (a->BroadcastContextCount != 0) return STATUS_NOT_SUPPORTED;
    const struct vidmm_render_sizes *s = &o->context.sizes;
    if (a->CommandOffset > s->command_bytes || a->CommandLength > s->command_bytes - a->CommandOffset)
        return STATUS_INVALID_PARAMETER;
    if (a->AllocationCount > s->allocations || a->PatchLocationCount > s->patches)
        return STATUS_INVALID_PARAMETER;
    return STATUS_SUCCESS;
}

static NTSTATUS read_list(struct kmt_call *c, const struct kmt_object *o, uint32_t n, struct vidmm_render *r)
{
    D3DDDI_ALLOCATIONLIST *in;
    void *copy;
    NTSTATUS status = take(c, list_at(o), n * sizeof *in, &copy);
    if (status != STATUS_SUCCESS || n == 0) return status;
    struct vidmm_render_reference *out = kmt_scratch(c, n * sizeof *out);
    if (out == NULL) return STATUS_NO_MEMORY;
    in = copy;
    for (uint32_t i = 0; i < n; i++) {
        if (in[i].Bits & D3DDDI_ALLOCATIONLIST_Reserved) return STATUS_INVALID_PARAMETER;
        if (kmt_find_opens(c, o->parent, &in[i].hAllocation, 1, &out[i].open) != STATUS_SUCCESS)
            return STATUS_INVALID_HANDLE;
        out[i].write = (in[i].Bits & D3DDDI_ALLOCATIONLIST_WriteOperation) != 0;
    }
    r->list = out;
    r->list_count = n;
    return STATUS_SUCCESS;
}

/* The structs are the same; offsets of the client count from the start of its buffer. */
static NTSTATUS read_patches(struct kmt_call *c, const struct kmt_object *o, const D3DKMT_RENDER *a,
                             struct vidmm_render *r)
{
    _Static_assert(sizeof(struct vidmm_patch_location) == sizeof(D3DDDI_PATCHLOCATIONLIST), "same layout");
    struct vidmm_patch_location *p;
    void *copy;
    NTSTATUS status = take(c, patches_at(o), a->PatchLocationCount * sizeof *p, &copy);
    p = copy;
    for (uint32_t i = 0; i < a->PatchLocationCount && status == STATUS_SUCCESS; i++) {
        bool inside = p[i].patch_offset >= a->CommandOffset;
        inside = inside && p[i].patch_offset - a->CommandOffset < a->CommandLength;
        if (!inside) status = STATUS_INVALID_PARAMETER;
        p[i].patch_offset -= a->CommandOffset;
    }
    r->patch = p;
    r->patch_count = a->PatchLocationCount;
    return status;
}

/* As far as possible: without memory for other buffers, the old ones stay (PHY-08). */
static void resize(struct kmt_object *o, const D3DKMT_RENDER *a)
{
    const uint32_t any = D3DKMT_RENDERFLAGS_ResizeCommandBuffer | D3DKMT_RENDERFLAGS_ResizeAllocationList |
                         D3DKMT_RENDERFLAGS_ResizePatchLocationList;
    struct vidmm_render_sizes old = o->context.sizes, want = old;
    if ((a->Flags & any) == 0) return;
    if (a->Flags & D3DKMT_RENDERFLAGS_ResizeCommandBuffer) want.command_bytes = a->NewCommandBufferSize;
    if (a->Flags & D3DKMT_RENDERFLAGS_ResizeAllocationList) want.allocations = a->NewAllocationListSize;
    if (a->Flags & D3DKMT_RENDERFLAGS_ResizePatchLocationList) want.patches = a->NewPatchLocationListSize;
    vidmm_context_resize(o->context.core, &want);
    if (!make_buffers(o)) vidmm_context_resize(o->context.core, &old);
}

static void tell(const struct kmt_object *o, D3DKMT_RENDER *a)
{
    a->pNewCommandBuffer = command_at(o);
    a->NewCommandBufferSize = o->context.sizes.command_bytes;
    a->pNewAllocationList = list_at(o);
    a->NewAllocationListSize = o->context.sizes.allocations;
    a->pNewPatchLocationList = patches_at(o);
    a->NewPatchLocationListSize = o->context.sizes.patches;
    a->QueuedBufferCount = vidmm_context_pending(o->context.core);
    a->NewCommandBuffer = 0;
}

NTSTATUS kmt_render(struct kmt_call *c)
{
    D3DKMT_RENDER *a = c->args;
    struct kmt_object *o = kmt_object_find(c->process, a->hContext, KMT_CONTEXT);
    struct vidmm_render r = {.command_bytes = a->CommandLength};
    void *data, *command;
    NTSTATUS status = check_render(o, a);
    if (status == STATUS_SUCCESS)
        status = kmt_copy_bytes(c, a->pPrivateDriverData, a->PrivateDriverDataSize, &data);
    if (status == STATUS_SUCCESS)
        status = take(c, command_at(o) + a->CommandOffset, a->CommandLength, &command);
    if (status == STATUS_SUCCESS) status = read_list(c, o, a->AllocationCount, &r);
    if (status == STATUS_SUCCESS) status = read_patches(c, o, a, &r);
    if (status != STATUS_SUCCESS) return status;
    r.command = command;
    bool null = o->context.null_rendering || a->Flags & D3DKMT_RENDERFLAGS_NullRendering;
    r.flags = null ? VIDMM_SUBMIT_NULL : 0;
    status = kmt_status(vidmm_context_render(o->context.core, &r));
    if (status != STATUS_SUCCESS) return status;
    resize(o, a);
    tell(o, a);
    return status;
}
