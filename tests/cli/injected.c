/* SPDX-License-Identifier: MIT */
/* injected.c - the program that the tests of --inject run: a victim and its neighbour, two VidMm processes on
 * one adapter (VIDMM_TEST_PROCESSES=2 deals them out to threads). The neighbour works before, and has to work
 * after. Words: ref, dg2 (how to talk to the GPU) or cl (the victim is an OpenCL program); then what the
 * neighbour must be able to do: goes-on, starts-again (its device is gone, a new one works) or gone. */
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <vidmm/dg2_abi.h>

#include "kmt/abi.h"
#include "softgpu/ref/ref_abi.h"
#include "softgpu/ref_commands.h"

#define FUNCTIONS(X)                                                                                  \
    X(EnumAdapters2) X(CreateDevice) X(CreatePagingQueue) X(CreateContextVirtual)                     \
    X(CreateSynchronizationObject2) X(CreateAllocation2) X(MapGpuVirtualAddress) X(MakeResident)      \
    X(Lock2) X(SubmitCommand) X(SignalSynchronizationObjectFromGpu)                                   \
    X(WaitForSynchronizationObjectFromCpu) X(GetDeviceState) X(DestroyDevice)

struct kmt {
#define MEMBER(name) NTSTATUS (*name)(void *);
    FUNCTIONS(MEMBER)
#undef MEMBER
};

struct client {
    const char *name;
    bool dg2;
    D3DKMT_HANDLE adapter, device, queue, queue_fence, context, fence;
    uint64_t va, fence_value;
    volatile uint8_t *cpu;
};

static struct kmt kmt;
static sem_t ready, go;
static const char *neighbour_must;
static int result;

static void load(void)
{
    void *library = dlopen("/usr/lib/wsl/lib/libdxcore.so", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        printf("no library: %s\n", dlerror());
        exit(1);
    }
#define LOAD(name) kmt.name = (NTSTATUS(*)(void *))(uintptr_t)dlsym(library, "D3DKMT" #name);
    FUNCTIONS(LOAD)
#undef LOAD
}

#define TRY(name, args)                                     \
    do {                                                    \
        NTSTATUS status_ = kmt.name(args);                  \
        if (status_ < 0) return status_;                    \
    } while (0)

/* ---- a client ---------------------------------------------------------------------------------- */

static NTSTATUS wait_for(struct client *c, D3DKMT_HANDLE fence, uint64_t value)
{
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU wait = {
        .hDevice = c->device, .ObjectCount = 1,
        .ObjectHandleArray = (uintptr_t)&fence, .FenceValueArray = (uintptr_t)&value};
    return kmt.WaitForSynchronizationObjectFromCpu(&wait);
}

static NTSTATUS find_adapter(struct client *c)
{
    D3DKMT_ADAPTERINFO info[4];
    D3DKMT_ENUMADAPTERS2 list = {.NumAdapters = 4, .pAdapters = (uintptr_t)info};
    memset(info, 0, sizeof info);
    TRY(EnumAdapters2, &list);
    c->adapter = info[0].hAdapter;
    return STATUS_SUCCESS;
}

static NTSTATUS allocate(struct client *c, D3DKMT_HANDLE *handle)
{
    static struct vidmm_dg2_resource_info dg2 = {
        .head = {VIDMM_DG2_RESOURCE, VIDMM_DG2_VERSION, sizeof dg2, 0}, .bytes = 0x10000,
        .alignment = 0x10000, .flags = VIDMM_DG2_NON_LOCAL_ONLY | VIDMM_DG2_CACHEABLE, .type = 6};
    static struct ref_alloc_private ref = {.magic = REF_ALLOC_MAGIC, .bytes = 0x10000, .flags = 0x5};
    D3DDDI_ALLOCATIONINFO2 info = {
        .pPrivateDriverData = c->dg2 ? (uintptr_t)&dg2 : (uintptr_t)&ref,
        .PrivateDriverDataSize = c->dg2 ? sizeof dg2 : sizeof ref};
    D3DKMT_CREATEALLOCATION create = {.hDevice = c->device, .NumAllocations = 1,
                                      .pAllocationInfo2 = (uintptr_t)&info};
    TRY(CreateAllocation2, &create);
    *handle = info.hAllocation;
    return STATUS_SUCCESS;
}

static NTSTATUS make_memory(struct client *c)
{
    D3DKMT_HANDLE handle;
    NTSTATUS status = allocate(c, &handle);
    if (status < 0) return status;
    D3DDDI_MAPGPUVIRTUALADDRESS map = {
        .hPagingQueue = c->queue, .hAllocation = handle, .SizeInPages = 16,
        .Protection = D3DDDIGPUVIRTUALADDRESS_PROTECTION_TYPE_Write |
                      D3DDDIGPUVIRTUALADDRESS_PROTECTION_TYPE_Execute};
    D3DDDI_MAKERESIDENT make = {.hPagingQueue = c->queue, .NumAllocations = 1,
                                .AllocationList = (uintptr_t)&handle};
    D3DKMT_LOCK2 lock = {.hDevice = c->device, .hAllocation = handle};
    TRY(MapGpuVirtualAddress, &map);
    TRY(MakeResident, &make);
    uint64_t value = map.PagingFenceValue > make.PagingFenceValue ? map.PagingFenceValue
                                                                  : make.PagingFenceValue;
    if (value != 0) status = wait_for(c, c->queue_fence, value);
    if (status < 0) return status;
    TRY(Lock2, &lock);
    c->va = map.VirtualAddress;
    c->cpu = (volatile uint8_t *)(uintptr_t)lock.pData;
    return STATUS_SUCCESS;
}

static NTSTATUS client_open(struct client *c)
{
    static struct vidmm_dg2_context_info info = {
        .head = {VIDMM_DG2_CONTEXT, VIDMM_DG2_VERSION, sizeof info, 0}, .gpu_va_context = 1};
    D3DKMT_CREATEDEVICE device = {.hAdapter = c->adapter};
    TRY(CreateDevice, &device);
    c->device = device.hDevice;
    D3DKMT_CREATEPAGINGQUEUE queue = {.hDevice = c->device, .Priority = PAGINGQUEUE_NORMAL};
    TRY(CreatePagingQueue, &queue);
    c->queue = queue.hPagingQueue;
    c->queue_fence = queue.hSyncObject;
    D3DKMT_CREATECONTEXTVIRTUAL context = {.hDevice = c->device, .NodeOrdinal = c->dg2 ? 2 : 1};
    if (c->dg2) context.pPrivateDriverData = (uintptr_t)&info;
    if (c->dg2) context.PrivateDriverDataSize = sizeof info;
    TRY(CreateContextVirtual, &context);
    c->context = context.hContext;
    D3DKMT_CREATESYNCHRONIZATIONOBJECT2 fence = {.hDevice = c->device, .Info.Type = SYNC_MONITORED_FENCE};
    TRY(CreateSynchronizationObject2, &fence);
    c->fence = fence.hSyncObject;
    c->fence_value = 0;
    return make_memory(c);
}

/* A packet that stores the value; gives its length. */
static uint32_t write_packet(struct client *c, uint32_t value)
{
    uint64_t to = c->va + 4096, words[4];
    uint32_t dw[8] = {0x10000002, (uint32_t)to, (uint32_t)(to >> 32), value, 0x05000000, 0, 0, 0};
    uint32_t n = ref_emit_write64(words, to, value);
    void *at = (void *)(uintptr_t)c->cpu;
    if (c->dg2) memcpy(at, dw, sizeof dw);
    else memcpy(at, words, n * 8);
    return c->dg2 ? sizeof dw : n * 8;
}

/* STATUS_DEVICE_REMOVED also when a fence that went to its maximum ended the wait. */
static NTSTATUS client_work(struct client *c)
{
    static struct vidmm_dg2_command_header header = {
        .head = {VIDMM_DG2_COMMAND, VIDMM_DG2_VERSION, sizeof header, 0}};
    uint32_t value = (uint32_t)++c->fence_value, seen;
    D3DKMT_SUBMITCOMMAND submit = {.Commands = c->va, .CommandLength = write_packet(c, value),
                                   .BroadcastContextCount = 1, .BroadcastContext = {c->context}};
    if (c->dg2) submit.pPrivateDriverData = (uintptr_t)&header;
    if (c->dg2) submit.PrivateDriverDataSize = sizeof header;
    TRY(SubmitCommand, &submit);
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMGPU signal = {
        .hContext = c->context, .ObjectCount = 1, .ObjectHandleArray = (uintptr_t)&c->fence,
        .MonitoredFenceValueArray = (uintptr_t)&c->fence_value};
    TRY(SignalSynchronizationObjectFromGpu, &signal);
    NTSTATUS status = wait_for(c, c->fence, c->fence_value);
    if (status < 0) return status;
    memcpy(&seen, (const void *)(uintptr_t)(c->cpu + 4096), 4);
    return seen == value ? STATUS_SUCCESS : STATUS_DEVICE_REMOVED;
}

static uint32_t client_state(struct client *c)
{
    D3DKMT_GETDEVICESTATE state = {.hDevice = c->device, .StateType = DEVICESTATE_EXECUTION};
    return kmt.GetDeviceState(&state) == STATUS_SUCCESS ? state.ExecutionState : 0;
}

static NTSTATUS work_often(struct client *c, int times)
{
    NTSTATUS status = STATUS_SUCCESS;
    for (int i = 0; i < times && status >= 0; i++) status = client_work(c);
    return status;
}

/* ---- the neighbour ------------------------------------------------------------------------------ */

static int neighbour_after(struct client *c)
{
    NTSTATUS status = work_often(c, 20);
    uint32_t state = client_state(c);
    printf("neighbour: state %u, status %08x\n", state, (unsigned)status);
    if (strcmp(neighbour_must, "goes-on") == 0) return status == STATUS_SUCCESS && state == 1 ? 0 : 1;
    if (status != STATUS_DEVICE_REMOVED || state != 2) return 1;
    D3DKMT_DESTROYDEVICE end = {c->device};
    if (kmt.DestroyDevice(&end) != STATUS_SUCCESS) return 1;
    status = client_open(c);
    printf("neighbour: opens again, status %08x\n", (unsigned)status);
    if (strcmp(neighbour_must, "gone") == 0) return status == STATUS_DEVICE_REMOVED ? 0 : 1;
    return status >= 0 && work_often(c, 20) == STATUS_SUCCESS ? 0 : 1;
}

static void *neighbour(void *arg)
{
    struct client *c = arg;
    NTSTATUS status = find_adapter(c);
    if (status >= 0) status = client_open(c);
    if (status >= 0) status = work_often(c, 3);
    printf("neighbour: before, status %08x\n", (unsigned)status);
    sem_post(&ready);
    sem_wait(&go);
    result = status >= 0 ? neighbour_after(c) : 1;
    printf("neighbour: %s\n", result == 0 ? "as it must" : "WRONG");
    return NULL;
}

/* ---- the victim --------------------------------------------------------------------------------- */

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

#ifdef WITH_OPENCL
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

#define CL_BYTES (1u << 20)

static cl_int cl_round(cl_context context, cl_command_queue queue, unsigned char *a, unsigned char *b)
{
    cl_int error;
    cl_mem m = clCreateBuffer(context, CL_MEM_READ_WRITE, CL_BYTES, NULL, &error);
    if (error == 0) error = clEnqueueWriteBuffer(queue, m, CL_TRUE, 0, CL_BYTES, a, 0, NULL, NULL);
    if (error == 0) error = clEnqueueReadBuffer(queue, m, CL_TRUE, 0, CL_BYTES, b, 0, NULL, NULL);
    if (error == 0 && memcmp(a, b, CL_BYTES) != 0) error = 1;
    return error;
}

static long victim_cl(void)
{
    static unsigned char a[CL_BYTES], b[CL_BYTES];
    cl_platform_id platform;
    cl_device_id device;
    cl_int error = clGetPlatformIDs(1, &platform, NULL);
    if (error == 0) error = clGetDeviceIDs(platform, CL_DEVICE_TYPE_GPU, 1, &device, NULL);
    if (error != 0) return error;
    cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &error);
    if (error != 0) return error;
    cl_command_queue queue = clCreateCommandQueueWithProperties(context, device, NULL, &error);
    memset(a, 7, sizeof a);
    for (int i = 0; i < 20 && error == 0; i++) error = cl_round(context, queue, a, b);
    return error;
}
#else
static long victim_cl(void)
{
    printf("SKIP: built without OpenCL\n");
    exit(77);
}
#endif

static long victim_kmt(struct client *c)
{
    NTSTATUS status = client_open(c);
    if (status >= 0) status = work_often(c, 20);
    if (status < 0 && c->device != 0) printf("victim: state %u\n", client_state(c));
    return status;
}

int main(int argc, char **argv)
{
    bool cl = argc > 2 && strcmp(argv[1], "cl") == 0, dg2 = cl || (argc > 2 && strcmp(argv[1], "dg2") == 0);
    struct client victim = {.name = "victim", .dg2 = dg2}, other = {.name = "neighbour", .dg2 = dg2};
    pthread_t thread;
    if (argc < 3) return 2;
    neighbour_must = argv[2];
    setvbuf(stdout, NULL, _IOLBF, 0);
    load();
    if (find_adapter(&victim) < 0) return 1; /* the first call: this thread has the first process */
    sem_init(&ready, 0, 0);
    sem_init(&go, 0, 0);
    if (pthread_create(&thread, NULL, neighbour, &other) != 0) return 1;
    sem_wait(&ready);
    double begin = now_ms();
    long error = cl ? victim_cl() : victim_kmt(&victim);
    printf("victim: error %ld after %.0f ms\n", error, now_ms() - begin);
    sem_post(&go);
    pthread_join(thread, NULL);
    fflush(stdout);
    _Exit(result); /* the OpenCL driver's exit handlers are not the subject */
}
