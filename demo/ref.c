/* SPDX-License-Identifier: MIT */
/* ref.c — the small user-mode driver of ref.h.  Calls libdxcore.so, found by dlopen as every driver does. */
#include "ref.h"

#include "check.h"
#include "softgpu/ref/ref_abi.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODE_COPY 1u
#define SEGMENT_VIDEO 1u
#define SEGMENTS_VIDEO 0x5u        /* video memory, or the aperture's system memory when that is short */
#define COMMANDS_SIZE 4096u

static bool need(NTSTATUS status, const char *what)
{
    if (status != STATUS_SUCCESS && status != STATUS_PENDING)
        check_fail(1, "D3DKMT%s failed with status 0x%08x", what, (unsigned)status);
    return status == STATUS_PENDING;
}

#define CALL(r, name, arguments) need((r)->name(arguments), #name)

static void load(struct ref *r)
{
    void *library = dlopen("/usr/lib/wsl/lib/libdxcore.so", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) check_fail(CHECK_NO_DEVICE, "%s (start this program with vidmm run)", dlerror());
#define REF_LOAD(name)                                                                           \
    r->name = (NTSTATUS(*)(void *))(uintptr_t)dlsym(library, "D3DKMT" #name);                    \
    if (r->name == NULL) check_fail(1, "libdxcore.so has no function D3DKMT" #name);
    REF_FUNCTIONS(REF_LOAD)
#undef REF_LOAD
}

static void find_adapter(struct ref *r)
{
    D3DKMT_ADAPTERINFO info[4];
    D3DKMT_ENUMADAPTERS2 list = {.NumAdapters = 4, .pAdapters = (uintptr_t)info};
    memset(info, 0, sizeof info);
    CALL(r, EnumAdapters2, &list);
    if (list.NumAdapters == 0) check_fail(CHECK_NO_DEVICE, "there is no adapter");
    r->adapter = info[0].hAdapter;
}

static void wait_for(struct ref *r, D3DKMT_HANDLE fence, uint64_t value)
{
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU wait = {
        .hDevice = r->device, .ObjectCount = 1,
        .ObjectHandleArray = (uintptr_t)&fence, .FenceValueArray = (uintptr_t)&value,
    };
    CALL(r, WaitForSynchronizationObjectFromCpu, &wait);
}

void ref_start(struct ref *r)
{
    memset(r, 0, sizeof *r);
    load(r);
    find_adapter(r);

    D3DKMT_CREATEDEVICE device = {.hAdapter = r->adapter};
    CALL(r, CreateDevice, &device);
    r->device = device.hDevice;

    D3DKMT_CREATEPAGINGQUEUE queue = {.hDevice = r->device, .Priority = PAGINGQUEUE_NORMAL};
    CALL(r, CreatePagingQueue, &queue);
    r->queue = queue.hPagingQueue;
    r->queue_fence = queue.hSyncObject;

    D3DKMT_CREATECONTEXTVIRTUAL context = {.hDevice = r->device, .NodeOrdinal = NODE_COPY};
    CALL(r, CreateContextVirtual, &context);
    r->context = context.hContext;

    D3DKMT_CREATESYNCHRONIZATIONOBJECT2 fence = {.hDevice = r->device, .Info.Type = SYNC_MONITORED_FENCE};
    CALL(r, CreateSynchronizationObject2, &fence);
    r->fence = fence.hSyncObject;

    r->commands = ref_system_memory(r, COMMANDS_SIZE);
    ref_make_resident(r, r->commands);
}

void ref_stop(struct ref *r)
{
    D3DKMT_DESTROYSYNCHRONIZATIONOBJECT fence = {r->fence};
    D3DKMT_DESTROYCONTEXT context = {r->context};
    D3DDDI_DESTROYPAGINGQUEUE queue = {r->queue};
    D3DKMT_DESTROYDEVICE device = {r->device};
    D3DKMT_CLOSEADAPTER adapter = {r->adapter};
    ref_free(r, r->commands);
    CALL(r, DestroySynchronizationObject, &fence);
    CALL(r, DestroyContext, &context);
    CALL(r, DestroyPagingQueue, &queue);
    CALL(r, DestroyDevice, &device);
    CALL(r, CloseAdapter, &adapter);
}

static struct ref_memory *allocate(struct ref *r, size_t size, uint32_t supported, uint32_t preferred)
{
    struct ref_memory *m = calloc(1, sizeof *m);
    if (m == NULL) check_fail(1, "no memory");
    struct ref_alloc_private wish = {
        .magic = REF_ALLOC_MAGIC, .bytes = size, .supported = supported, .preferred = preferred,
        .flags = supported == 0 ? 0x5u : 0,       /* system memory: visible to the CPU, cached */
    };
    D3DDDI_ALLOCATIONINFO2 info = {.pPrivateDriverData = (uintptr_t)&wish,
                                   .PrivateDriverDataSize = sizeof wish};
    D3DKMT_CREATEALLOCATION create = {
        .hDevice = r->device, .NumAllocations = 1, .pAllocationInfo2 = (uintptr_t)&info,
    };
    CALL(r, CreateAllocation2, &create);
    m->handle = info.hAllocation;
    m->size = size;

    D3DDDI_MAPGPUVIRTUALADDRESS map = {
        .hPagingQueue = r->queue, .hAllocation = m->handle, .SizeInPages = (size + 4095) / 4096,
        /* commands are fetched like code */
        .Protection = D3DDDIGPUVIRTUALADDRESS_PROTECTION_TYPE_Write |
                      D3DDDIGPUVIRTUALADDRESS_PROTECTION_TYPE_Execute,
    };
    NTSTATUS status = r->MapGpuVirtualAddress(&map);
    r->shared = status == STATUS_NOT_SUPPORTED;
    if (r->shared) return m;
    if (need(status, "MapGpuVirtualAddress")) wait_for(r, r->queue_fence, map.PagingFenceValue);
    m->va = map.VirtualAddress;
    return m;
}

struct ref_memory *ref_video_memory(struct ref *r, size_t size)
{
    return allocate(r, size, SEGMENTS_VIDEO, SEGMENT_VIDEO);
}

struct ref_memory *ref_system_memory(struct ref *r, size_t size)
{
    struct ref_memory *m = allocate(r, size, 0, 0);
    D3DKMT_LOCK2 lock = {.hDevice = r->device, .hAllocation = m->handle};
    CALL(r, Lock2, &lock);
    m->cpu = (void *)(uintptr_t)lock.pData;
    if (r->shared) m->va = lock.pData;
    return m;
}

void ref_free(struct ref *r, struct ref_memory *m)
{
    D3DKMT_UNLOCK2 unlock = {r->device, m->handle};
    D3DKMT_DESTROYALLOCATION2 destroy = {
        .hDevice = r->device, .phAllocationList = (uintptr_t)&m->handle, .AllocationCount = 1,
    };
    if (m->cpu != NULL) CALL(r, Unlock2, &unlock);
    CALL(r, DestroyAllocation2, &destroy);
    free(m);
}

/* First politely; when the budget is used up, with the flag that says nothing more can be given back: then
 * the memory manager moves something else out of the way. */
void ref_make_resident(struct ref *r, struct ref_memory *m)
{
    D3DDDI_MAKERESIDENT make = {
        .hPagingQueue = r->queue, .NumAllocations = 1, .AllocationList = (uintptr_t)&m->handle,
    };
    NTSTATUS status = r->MakeResident(&make);
    if (status == STATUS_NO_MEMORY) {
        make.NumAllocations = 1;
        make.Flags = D3DDDI_MAKERESIDENT_FLAGS_CantTrimFurther;
        status = r->MakeResident(&make);
    }
    if (need(status, "MakeResident")) wait_for(r, r->queue_fence, make.PagingFenceValue);
}

void ref_run(struct ref *r, const uint64_t *words, uint32_t count)
{
    memcpy(r->commands->cpu, words, 8 * (size_t)count);
    D3DKMT_SUBMITCOMMAND submit = {
        .Commands = r->commands->va, .CommandLength = 8 * count, .BroadcastContextCount = 1,
        .BroadcastContext = {r->context},
    };
    CALL(r, SubmitCommand, &submit);
    r->fence_value++;
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMGPU signal = {
        .hContext = r->context, .ObjectCount = 1, .ObjectHandleArray = (uintptr_t)&r->fence,
        .MonitoredFenceValueArray = (uintptr_t)&r->fence_value,
    };
    CALL(r, SignalSynchronizationObjectFromGpu, &signal);
    wait_for(r, r->fence, r->fence_value);
}
