/* SPDX-License-Identifier: MIT */
/* ref.h — a small user-mode driver for the virtual GPU `ref`, on the D3DKMT functions of libdxcore.so.
 * It does what a vendor's driver does: adapter, device, paging queue, context, memory with GPU addresses,
 * residency, submission, fences.  Every call that fails ends the program with the call's name and status. */
#ifndef VIDMM_DEMO_REF_H
#define VIDMM_DEMO_REF_H

#include "kmt/abi.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REF_FUNCTIONS(X)                                                                              \
    X(EnumAdapters2) X(CreateDevice) X(CreatePagingQueue) X(CreateContextVirtual)                     \
    X(CreateSynchronizationObject2) X(CreateAllocation2) X(MapGpuVirtualAddress) X(MakeResident)      \
    X(Lock2) X(Unlock2) X(SubmitCommand) X(SignalSynchronizationObjectFromGpu)                        \
    X(WaitForSynchronizationObjectFromCpu) X(DestroyAllocation2) X(DestroySynchronizationObject)      \
    X(DestroyContext) X(DestroyPagingQueue) X(DestroyDevice) X(CloseAdapter)               \
    X(ReserveGpuVirtualAddress) X(UpdateGpuVirtualAddress) X(FreeGpuVirtualAddress)

struct ref {
#define REF_MEMBER(name) NTSTATUS (*name)(void *);
    REF_FUNCTIONS(REF_MEMBER)
#undef REF_MEMBER
    D3DKMT_HANDLE adapter, device, queue, queue_fence, context, fence;
    uint64_t fence_value;             /* last one asked for */
    struct ref_memory *commands;      /* where packets are written */
    bool shared;                      /* the GPU uses the program's addresses: there are no others */
};

struct ref_memory {
    D3DKMT_HANDLE handle;
    uint64_t va;                      /* GPU address */
    size_t size;
    void *cpu;                        /* system memory only, else NULL; of a shared GPU the same as va */
};

/* Ends the program with CHECK_NO_DEVICE when there is no library or no adapter. */
void ref_start(struct ref *r);
void ref_stop(struct ref *r);

/* Memory that prefers video memory and may be demoted (video), or system memory the program can write. */
struct ref_memory *ref_video_memory(struct ref *r, size_t size);
struct ref_memory *ref_system_memory(struct ref *r, size_t size);
void ref_free(struct ref *r, struct ref_memory *m);

/* Makes the memory resident and waits until the GPU may use it. */
void ref_make_resident(struct ref *r, struct ref_memory *m);

/* Submits the words as one packet and waits until they are done. */
void ref_run(struct ref *r, const uint64_t *words, uint32_t count);

#endif
