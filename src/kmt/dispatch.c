/* SPDX-License-Identifier: MIT */
/* dispatch.c - the way in: one table from entry point to {struct size, handler}, one path for all calls.
 * Owns: the call in progress.  Calls: the handlers (kmt_*.c).
 *
 *   copy the argument struct in (once) -> become owner -> handler -> copy it out -> leave
 *
 * A handler reads arrays and buffers of the client through kmt_copy_array and kmt_copy_bytes, so nothing
 * the client changes during a call can be seen twice.  If the struct cannot be copied out, what the handler
 * made is taken back: the client could never name it. */
#include <string.h>

#include "kmt/local.h"

struct entry { const char *name; uint32_t ioctl, bytes; kmt_handler *handler; };

#define KMT_ENTRY(nr, name, type, handler) {#name, nr, sizeof(type), handler},
#define NONE NULL
static const struct entry entries[KMT_OP_COUNT] = {
#include "kmt/entry_points.inc"
};
#undef NONE
#undef KMT_ENTRY

#define KMT_ENTRY(nr, name, type, handler) _Static_assert(sizeof(type) <= KMT_ARGS_MAX, "raise KMT_ARGS_MAX");
#include "kmt/entry_points.inc"
#undef KMT_ENTRY

struct kmt_entry_info kmt_entry_info(enum kmt_op op)
{
    if ((uint32_t)op >= KMT_OP_COUNT) return (struct kmt_entry_info){"", 0, 0, false};
    const struct entry *e = &entries[op];
    return (struct kmt_entry_info){e->name, e->ioctl, e->bytes, e->handler != NULL};
}

NTSTATUS kmt_status(vidmm_status status)
{
    switch (status) {
    case VIDMM_OK: return STATUS_SUCCESS;
    case VIDMM_PENDING: return STATUS_PENDING;
    case VIDMM_NO_MEMORY: return STATUS_NO_MEMORY;
    case VIDMM_NO_VIDEO_MEMORY: return STATUS_GRAPHICS_NO_VIDEO_MEMORY;
    case VIDMM_BUSY: return STATUS_GRAPHICS_ALLOCATION_BUSY;
    case VIDMM_NOT_SUPPORTED: return STATUS_NOT_SUPPORTED;
    case VIDMM_ACCESS_DENIED: return STATUS_ACCESS_DENIED;
    case VIDMM_DEVICE_LOST: return STATUS_DEVICE_REMOVED;
    case VIDMM_BUFFER_FULL: return STATUS_GRAPHICS_INSUFFICIENT_DMA_BUFFER;
    case VIDMM_ILLEGAL_INSTRUCTION: return STATUS_ILLEGAL_INSTRUCTION;
    case VIDMM_PRIVILEGED_INSTRUCTION: return STATUS_PRIVILEGED_INSTRUCTION;
    case VIDMM_INVALID_USER_BUFFER: return STATUS_INVALID_USER_BUFFER;
    case VIDMM_INVALID_HANDLE: return STATUS_INVALID_HANDLE;
    case VIDMM_ALLOCATION_INVALID: return STATUS_GRAPHICS_ALLOCATION_INVALID;
    case VIDMM_INVALID:
    case VIDMM_LIMIT: return STATUS_INVALID_PARAMETER;
    default: return STATUS_UNSUCCESSFUL;
    }
}

bool kmt_read(struct kmt_call *c, void *dst, D3DKMT_PTR client, size_t bytes)
{
    if (bytes == 0) return true;
    return client != 0 && client == (uintptr_t)client &&
           c->env->copy_in(c->env->ctx, dst, (const void *)(uintptr_t)client, bytes);
}

bool kmt_write(struct kmt_call *c, D3DKMT_PTR client, const void *src, size_t bytes)
{
    if (bytes == 0) return true;
    return client != 0 && client == (uintptr_t)client &&
           c->env->copy_out(c->env->ctx, (void *)(uintptr_t)client, src, bytes);
}

void *kmt_scratch(struct kmt_call *c, size_t bytes)
{
    if (c->scratches == KMT_SCRATCH_MAX) return NULL;
    void *p = c->env->alloc(c->env->ctx, bytes != 0 ? bytes : 1);
    if (p == NULL) return NULL;
    c->scratch[c->scratches].bytes = p;
    c->scratch[c->scratches++].size = bytes != 0 ? bytes : 1;
    return p;
}

static NTSTATUS copy_some(struct kmt_call *c, D3DKMT_PTR client, size_t bytes, void **out)
{
    *out = NULL;
    if (bytes == 0) return STATUS_SUCCESS;
    *out = kmt_scratch(c, bytes);
    if (*out == NULL) return STATUS_NO_MEMORY;
    return kmt_read(c, *out, client, bytes) ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

NTSTATUS kmt_copy_array(struct kmt_call *c, D3DKMT_PTR client, uint32_t count, size_t element, void **out)
{
    *out = NULL;
    if (count > VIDMM_LIST_MAX) return STATUS_INVALID_PARAMETER;
    return copy_some(c, client, count * element, out);
}

NTSTATUS kmt_copy_bytes(struct kmt_call *c, D3DKMT_PTR client, uint32_t bytes, void **out)
{
    *out = NULL;
    if (bytes > VIDMM_PRIVATE_DATA_MAX) return STATUS_INVALID_PARAMETER;
    return copy_some(c, client, bytes, out);
}

void kmt_undo_object(struct kmt_call *c)
{
    if (!c->made->dead) kmt_object_retire(c->made, VIDMM_DESTROY_ASSUME_NOT_IN_USE);
}

void kmt_undo_range(struct kmt_call *c)
{
    if (c->process->core != NULL) vidmm_va_free(c->process->core, c->undo_va, c->undo_bytes);
}

/* What is left to do when the adapter is gone: give back, and ask what became of a device (FLT-20). */
static bool cleans_up(const struct entry *e)
{
    static const char *const first[] = {"Destroy", "Close", "Free", "Unlock", "Unregister", "GetDeviceState"};
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++)
        if (strncmp(e->name, first[i], strlen(first[i])) == 0) return true;
    return false;
}

static NTSTATUS run(struct kmt_call *c, const struct entry *e, D3DKMT_PTR client)
{
    bool gone = vidmm_adapter_removed(c->process->face->config.adapter);
    if (gone && !cleans_up(e)) return STATUS_DEVICE_REMOVED;
    NTSTATUS status = e->handler(c);
    if (status < 0 && !c->answer) return status;
    if (kmt_write(c, client, c->args, e->bytes)) return status;
    if (c->undo != NULL) c->undo(c);
    return STATUS_INVALID_PARAMETER;
}

NTSTATUS kmt_dispatch(struct kmt_process *process, enum kmt_op op, D3DKMT_PTR client)
{
    union { uint64_t align; uint8_t bytes[KMT_ARGS_MAX]; } args;
    struct kmt_call c = {.process = process, .env = process->face->config.env, .args = &args};
    if ((uint32_t)op >= KMT_OP_COUNT) return STATUS_INVALID_PARAMETER;
    const struct entry *e = &entries[op];
    if (e->handler == NULL) return STATUS_NOT_SUPPORTED;
    if (!kmt_read(&c, &args, client, e->bytes)) return STATUS_INVALID_PARAMETER;
    if (!c.env->enter(c.env->ctx)) return STATUS_DEVICE_REMOVED;
    NTSTATUS status = run(&c, e, client);
    while (c.scratches != 0) {
        c.scratches--;
        c.env->free(c.env->ctx, c.scratch[c.scratches].bytes, c.scratch[c.scratches].size);
    }
    c.env->leave(c.env->ctx);
    return status;
}
