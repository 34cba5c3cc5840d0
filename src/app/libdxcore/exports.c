/* SPDX-License-Identifier: MIT */
/* exports.c - the exported D3DKMT functions: one line each, made from the face's own list of entry points.
 * Owns nothing.  Calls: instance, kmt_dispatch. */
#include "app/libdxcore/instance.h"

#define EXPORT __attribute__((visibility("default")))

static NTSTATUS call(enum kmt_op op, const void *args)
{
    NTSTATUS status = STATUS_NOT_SUPPORTED;
    if (!kmt_entry_info(op).works) return status;
    struct kmt_process *process = instance_process(&status);
    return process != NULL ? kmt_dispatch(process, op, (uintptr_t)args) : status;
}

#define KMT_ENTRY(nr, name, type, handler)      \
    EXPORT NTSTATUS D3DKMT##name(void *args);   \
    NTSTATUS D3DKMT##name(void *args)           \
    {                                           \
        return call(KMT_OP_##name, args);       \
    }
#define KMT_SKIP_SHAREOBJECTS
#include "kmt/entry_points.inc"
#undef KMT_ENTRY

/* The one function that takes its arguments one by one; as a struct they have the layout of the others. */
EXPORT NTSTATUS D3DKMTShareObjects(uint32_t count, const D3DKMT_HANDLE *objects, void *attributes,
                                   uint32_t access, uint64_t *nt_handle);

NTSTATUS D3DKMTShareObjects(uint32_t count, const D3DKMT_HANDLE *objects, void *attributes, uint32_t access,
                            uint64_t *nt_handle)
{
    const D3DKMT_SHAREOBJECTS args = {count, (uintptr_t)objects, (uintptr_t)attributes, access,
                                      (uintptr_t)nt_handle};
    return call(KMT_OP_ShareObjects, &args);
}
