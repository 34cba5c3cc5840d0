/* SPDX-License-Identifier: MIT */
/* bench_hwqueue.c - what hardware queues cost the client: a doorbell, which is stores and nothing else, and
 * SubmitCommandToHwQueue through the D3DKMT face. Owns: an adapter with engines on threads of their own.
 * Calls: vidmm.h, the face, the host's instance, the ref driver. CPU time of the client's thread; medians. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "bench.h"
#include "host/instance.h"
#include "kmt/kmt.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"
#include "softgpu/ref_commands.h"

enum { ROUNDS = 9, RINGS = 100000, CALLS = 2000, BUFFER_BYTES = 65536 };

#define PTR(p) ((D3DKMT_PTR)(uintptr_t)(p))

struct hw {
    struct ref_kmd *kmd;
    struct host_instance *host;
    struct kmt_face *face;
    struct kmt_process *process;
    D3DKMT_HANDLE device, sync;
    D3DKMT_CREATEPAGINGQUEUE paging;
    D3DKMT_CREATEHWQUEUE queue;
    uint64_t va, *cpu;
};

/* ---- doorbells: the client's side of one, in memory that nobody polls ------------------------------- */

struct door { uint64_t entry[64][4], put, word; uint32_t status; };

static struct door *door;

/* The device and the manager see what is stored: each word is stored whole and in this order. */
static uint64_t ring_once(uint64_t i)
{
    __atomic_store_n(&door->put, i, __ATOMIC_RELAXED);
    atomic_thread_fence(memory_order_release);
    __atomic_store_n(&door->word, i, __ATOMIC_RELAXED);
    return __atomic_load_n(&door->status, __ATOMIC_RELAXED);
}

static double rings_ns(bool entries)
{
    uint64_t seen = 0;
    double t = bench_now_ns();
    for (uint64_t i = 0; i < RINGS; i++) {
        uint64_t *e = door->entry[i % 64];
        for (int k = 0; k < 3 && entries; k++) __atomic_store_n(&e[k], i + (uint64_t)k, __ATOMIC_RELAXED);
        seen += ring_once(i);
    }
    t = bench_now_ns() - t;
    must(seen == 0, "the status of a connected doorbell is not 0");
    return t / RINGS;
}

static double stores_ns(void)
{
    double t = bench_now_ns();
    for (uint64_t i = 0; i < RINGS; i++) {
        __atomic_store_n(&door->put, i, __ATOMIC_RELAXED);
        atomic_thread_fence(memory_order_release);
    }
    return (bench_now_ns() - t) / RINGS;
}

static void doorbells(struct bench_out *out)
{
    double bare[ROUNDS], full[ROUNDS], floor[ROUNDS];
    door = aligned_alloc(4096, align_up(sizeof *door, 4096));
    must(door != NULL, "no memory");
    memset(door, 0, sizeof *door);
    for (int i = 0; i < ROUNDS; i++) {
        floor[i] = stores_ns();
        bare[i] = rings_ns(false);
        full[i] = rings_ns(true);
    }
    double f = median(floor, ROUNDS);
    bench_add(out, "doorbell: put, fence, ring, status", median(bare, ROUNDS), "ns", f, 3, true);
    bench_add(out, "doorbell: with its ring entry", median(full, ROUNDS), "ns", f, 6, true);
    free(door);
}

/* ---- SubmitCommandToHwQueue through the face ------------------------------------------------------- */

static NTSTATUS call(struct hw *h, enum kmt_op op, void *args)
{
    return kmt_dispatch(h->process, op, PTR(args));
}

static void wait_fence(struct hw *h, D3DKMT_HANDLE fence, uint64_t value)
{
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU w = {.hDevice = h->device, .ObjectCount = 1,
                                                    .ObjectHandleArray = PTR(&fence),
                                                    .FenceValueArray = PTR(&value)};
    must(call(h, KMT_OP_WaitForSynchronizationObjectFromCpu, &w) == STATUS_SUCCESS, "a wait was refused");
}

static void make_buffer(struct hw *h)
{
    struct ref_alloc_private in = {.magic = REF_ALLOC_MAGIC, .bytes = BUFFER_BYTES};
    D3DDDI_ALLOCATIONINFO2 info = {.pPrivateDriverData = PTR(&in), .PrivateDriverDataSize = sizeof in};
    D3DKMT_CREATEALLOCATION a = {.hDevice = h->device, .NumAllocations = 1, .pAllocationInfo2 = PTR(&info)};
    must(call(h, KMT_OP_CreateAllocation2, &a) == STATUS_SUCCESS, "no allocation");
    D3DDDI_MAKERESIDENT r = {.hPagingQueue = h->paging.hPagingQueue, .NumAllocations = 1,
                             .AllocationList = PTR(&info.hAllocation)};
    must(call(h, KMT_OP_MakeResident, &r) >= 0, "not resident");
    D3DDDI_MAPGPUVIRTUALADDRESS m = {.hPagingQueue = h->paging.hPagingQueue, .hAllocation = info.hAllocation,
                                     .SizeInPages = BUFFER_BYTES / 4096};
    m.Protection = D3DDDIGPUVIRTUALADDRESS_PROTECTION_TYPE_Write |
                   D3DDDIGPUVIRTUALADDRESS_PROTECTION_TYPE_Execute;
    must(call(h, KMT_OP_MapGpuVirtualAddress, &m) >= 0, "not mapped");
    wait_fence(h, h->paging.hSyncObject, m.PagingFenceValue);
    D3DKMT_LOCK2 l = {.hDevice = h->device, .hAllocation = info.hAllocation};
    must(call(h, KMT_OP_Lock2, &l) == STATUS_SUCCESS, "not locked");
    h->va = m.VirtualAddress;
    h->cpu = (uint64_t *)(uintptr_t)l.pData;
}

static void open_hw(struct hw *h)
{
    const char *why = "no instance";
    struct ref_options o;
    memset(h, 0, sizeof *h);
    ref_options_default(&o, REF_FORMAT_A);
    o.threads = true;
    must(ref_create(&o, &h->kmd) == VIDMM_OK, "no driver");
    must(host_instance_create(ref_ops(), h->kmd, NULL, &why, &h->host) == VIDMM_OK, why);
    const struct kmt_config config = {.env = host_instance_env(h->host),
                                      .adapter = host_instance_adapter(h->host),
                                      .luid = {7, 9}, .driver_store = "/store"};
    h->face = kmt_face_create(&config);
    h->process = kmt_process_create(h->face);
    D3DKMT_OPENADAPTERFROMLUID a = {{7, 9}, 0};
    must(call(h, KMT_OP_OpenAdapterFromLuid, &a) == STATUS_SUCCESS, "no adapter");
    D3DKMT_CREATEDEVICE d = {.hAdapter = a.hAdapter};
    must(call(h, KMT_OP_CreateDevice, &d) == STATUS_SUCCESS, "no device");
    h->device = h->paging.hDevice = d.hDevice;
    must(call(h, KMT_OP_CreatePagingQueue, &h->paging) == STATUS_SUCCESS, "no paging queue");
    make_buffer(h);
    D3DKMT_CREATEHWCONTEXT c = {.hDevice = h->device, .NodeOrdinal = REF_NODE_COMPUTE};
    must(call(h, KMT_OP_CreateHwContext, &c) == STATUS_SUCCESS, "no hardware context");
    h->queue = (D3DKMT_CREATEHWQUEUE){.hHwContext = c.hHwContext};
    must(call(h, KMT_OP_CreateHwQueue, &h->queue) == STATUS_SUCCESS, "no hardware queue");
}

static void close_hw(struct hw *h)
{
    kmt_process_destroy(h->process);
    kmt_face_destroy(h->face);
    must(host_instance_destroy(h->host), "the adapter does not become idle");
    ref_destroy(h->kmd);
}

/* The floor is the cheapest call the face has: into the adapter and out again, with a handle looked up. */
static double empty_calls_ns(struct hw *h)
{
    double t = bench_now_ns();
    for (int i = 0; i < CALLS; i++) {
        D3DKMT_DESTROYHWQUEUE none = {h->device};
        must(call(h, KMT_OP_DestroyHwQueue, &none) == STATUS_INVALID_PARAMETER, "a wrong handle was taken");
    }
    return (bench_now_ns() - t) / CALLS;
}

static void submissions(struct bench_out *out)
{
    struct hw h;
    double submit[ROUNDS], floor[ROUNDS];
    uint64_t id = 0;
    open_hw(&h);
    uint32_t bytes = ref_emit_spin(h.cpu, 1) * 8;
    for (int i = 0; i < ROUNDS; i++) {
        floor[i] = empty_calls_ns(&h);
        double t = bench_now_ns();
        for (int k = 0; k < CALLS; k++) {
            D3DKMT_SUBMITCOMMANDTOHWQUEUE s = {.hHwQueue = h.queue.hHwQueue, .CommandBuffer = h.va,
                                               .CommandLength = bytes, .HwQueueProgressFenceId = ++id};
            must(call(&h, KMT_OP_SubmitCommandToHwQueue, &s) == STATUS_SUCCESS, "a submission was refused");
        }
        submit[i] = (bench_now_ns() - t) / CALLS;
        wait_fence(&h, h.queue.hHwQueueProgressFence, id);
    }
    bench_add(out, "face SubmitCommandToHwQueue", median(submit, ROUNDS), "ns", median(floor, ROUNDS), 3,
              true);
    close_hw(&h);
}

void bench_hwqueue(struct bench_out *out)
{
    doorbells(out);
    bench_say("hardware queues: doorbells done");
    submissions(out);
}
