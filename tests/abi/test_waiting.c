/* SPDX-License-Identifier: MIT */
/* test_waiting.c - threads of a client that wait inside the face, on the real thing: face, core, host
 * threads, the ref driver and its simulated GPU.  If it fails, a thread sleeps for ever, or goes on too
 * early. */
#include "vt.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "host/instance.h"
#include "kmt/kmt.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"

enum { LOOKS = 2000 }; /* chances for a thread that must wait to show that it does not */

struct rig {
    struct ref_kmd *kmd;
    struct host_instance *host;
    struct kmt_face *face;
    struct kmt_process *process;
    D3DKMT_HANDLE device, queue, context, fence, allocation;
    uint64_t tile;
};

#define CALL(r, name, args) kmt_dispatch((r)->process, KMT_OP_##name, (uintptr_t)(args))
#define MUST(r, name, args) assert_int_equal(CALL(r, name, args), STATUS_SUCCESS)

static void open_face(struct rig *r)
{
    struct ref_options o;
    const char *why = "";
    ref_options_default(&o, REF_FORMAT_A);
    o.threads = true;
    assert_int_equal(ref_create(&o, &r->kmd), VIDMM_OK);
    if (host_instance_create(ref_ops(), r->kmd, NULL, &why, &r->host) != VIDMM_OK) fail_msg("%s", why);
    const struct kmt_config config = {.env = host_instance_env(r->host), .luid = {7, 9},
                                      .adapter = host_instance_adapter(r->host), .driver_store = "/store"};
    r->face = kmt_face_create(&config);
    r->process = kmt_process_create(r->face);
    assert_non_null(r->process);
}

static void make_objects(struct rig *r)
{
    D3DKMT_OPENADAPTERFROMLUID adapter = {.AdapterLuid = {7, 9}};
    MUST(r, OpenAdapterFromLuid, &adapter);
    D3DKMT_CREATEDEVICE device = {.hAdapter = adapter.hAdapter};
    MUST(r, CreateDevice, &device);
    r->device = device.hDevice;
    D3DKMT_CREATEPAGINGQUEUE queue = {.hDevice = r->device, .Priority = PAGINGQUEUE_NORMAL};
    MUST(r, CreatePagingQueue, &queue);
    r->queue = queue.hPagingQueue;
    D3DKMT_CREATECONTEXTVIRTUAL context = {.hDevice = r->device, .NodeOrdinal = REF_NODE_COMPUTE};
    MUST(r, CreateContextVirtual, &context);
    r->context = context.hContext;
    D3DKMT_CREATESYNCHRONIZATIONOBJECT2 fence = {.hDevice = r->device, .Info.Type = SYNC_MONITORED_FENCE};
    MUST(r, CreateSynchronizationObject2, &fence);
    r->fence = fence.hSyncObject;
}

static void make_tile(struct rig *r)
{
    static struct ref_alloc_private data = {.magic = REF_ALLOC_MAGIC, .bytes = 0x10000};
    D3DDDI_ALLOCATIONINFO2 info = {.pPrivateDriverData = (uintptr_t)&data,
                                   .PrivateDriverDataSize = sizeof data};
    D3DKMT_CREATEALLOCATION create = {.hDevice = r->device, .NumAllocations = 1,
                                      .pAllocationInfo2 = (uintptr_t)&info};
    MUST(r, CreateAllocation2, &create);
    r->allocation = info.hAllocation;
    D3DDDI_RESERVEGPUVIRTUALADDRESS reserve = {.hPagingQueue = r->queue, .Size = 0x10000};
    MUST(r, ReserveGpuVirtualAddress, &reserve);
    r->tile = reserve.VirtualAddress;
}

static void rig_open(struct rig *r)
{
    open_face(r);
    make_objects(r);
    make_tile(r);
}

static void rig_close(struct rig *r)
{
    kmt_process_destroy(r->process);
    kmt_face_destroy(r->face);
    if (!host_instance_destroy(r->host)) fail_msg("the adapter does not become idle");
    ref_destroy(r->kmd);
}

/* Maps the tile when the fence has reached `value`; the fence goes to value + 1 then. */
static NTSTATUS update(struct rig *r, uint64_t value)
{
    D3DDDI_UPDATEGPUVIRTUALADDRESS_OPERATION op = {
        .OperationType = UPDATE_MAP, .Map = {r->tile, 0x10000, r->allocation, 0, 0}};
    D3DKMT_UPDATEGPUVIRTUALADDRESS a = {
        .hDevice = r->device, .hContext = r->context, .hFenceObject = r->fence, .NumOperations = 1,
        .Operations = (uintptr_t)&op, .FenceValue = value};
    return CALL(r, UpdateGpuVirtualAddress, &a);
}

static NTSTATUS wait_for(struct rig *r, uint64_t value)
{
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU a = {.hDevice = r->device, .ObjectCount = 1,
                                                    .ObjectHandleArray = (uintptr_t)&r->fence,
                                                    .FenceValueArray = (uintptr_t)&value};
    return CALL(r, WaitForSynchronizationObjectFromCpu, &a);
}

static void signal_fence(struct rig *r, uint64_t value)
{
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMCPU a = {.hDevice = r->device, .ObjectCount = 1,
                                                   .ObjectHandleArray = (uintptr_t)&r->fence,
                                                   .FenceValueArray = (uintptr_t)&value};
    MUST(r, SignalSynchronizationObjectFromCpu, &a);
}

/* ---- a thread that waits ------------------------------------------------------------------------ */

struct waiter {
    pthread_t thread;
    struct rig *rig;
    NTSTATUS (*call)(struct rig *, uint64_t value);
    uint64_t value;
    NTSTATUS status;
    atomic_bool begun, over;
};

static void *wait_inside(void *arg)
{
    struct waiter *w = arg;
    atomic_store(&w->begun, true);
    w->status = w->call(w->rig, w->value);
    atomic_store(&w->over, true);
    return NULL;
}

static void waiter_start(struct waiter *w, struct rig *r, NTSTATUS (*call)(struct rig *, uint64_t),
                         uint64_t value)
{
    *w = (struct waiter){.rig = r, .call = call, .value = value};
    assert_int_equal(pthread_create(&w->thread, NULL, wait_inside, w), 0);
    while (!atomic_load(&w->begun)) sched_yield();
    for (int i = 0; i < LOOKS; i++) {
        sched_yield();
        assert_false(atomic_load(&w->over));
    }
}

static NTSTATUS waiter_end(struct waiter *w)
{
    pthread_join(w->thread, NULL);
    return w->status;
}

static void fill_updates(struct rig *r)
{
    rig_open(r);
    for (uint64_t i = 0; i < VIDMM_UPDATES_MAX; i++)
        assert_int_equal(update(r, 2 * i + 1), STATUS_SUCCESS); /* each behind a value of its own */
}

/* ---- cases -------------------------------------------------------------------------------------- */

static void an_applied_update_makes_room(void **state)
{
    struct rig r;
    struct waiter w;
    (void)state;
    fill_updates(&r);
    waiter_start(&w, &r, update, 2 * VIDMM_UPDATES_MAX + 1);
    signal_fence(&r, 1);
    assert_int_equal(waiter_end(&w), STATUS_SUCCESS);
    for (uint64_t i = 1; i <= VIDMM_UPDATES_MAX; i++) {
        assert_int_equal(wait_for(&r, 2 * i), STATUS_SUCCESS); /* V + 1 of the one before */
        signal_fence(&r, 2 * i + 1);
    }
    assert_int_equal(wait_for(&r, 2 * VIDMM_UPDATES_MAX + 2), STATUS_SUCCESS);
    rig_close(&r);
}

static void a_lost_device_ends_the_wait_for_room(void **state)
{
    struct rig r;
    struct waiter w;
    (void)state;
    fill_updates(&r);
    waiter_start(&w, &r, update, 2 * VIDMM_UPDATES_MAX + 1);
    D3DKMT_MARKDEVICEASERROR mark = {.hDevice = r.device, .Reason = DEVICE_ERROR_REASON_GENERIC};
    MUST(&r, MarkDeviceAsError, &mark);
    assert_int_equal(waiter_end(&w), STATUS_DEVICE_REMOVED);
    rig_close(&r);
}

static void removal_ends_every_wait(void **state)
{
    struct rig r;
    struct waiter room, value;
    (void)state;
    fill_updates(&r);
    waiter_start(&room, &r, update, 2 * VIDMM_UPDATES_MAX + 1);
    waiter_start(&value, &r, wait_for, 2 * VIDMM_UPDATES_MAX);
    vidmm_notify_removed(host_instance_adapter(r.host));
    assert_int_equal(waiter_end(&room), STATUS_DEVICE_REMOVED);
    NTSTATUS status = waiter_end(&value); /* its fence went to the maximum, or the call is refused */
    assert_true(status == STATUS_SUCCESS || status == STATUS_DEVICE_REMOVED);
    assert_int_equal(update(&r, 1), STATUS_DEVICE_REMOVED);
    rig_close(&r);
}

static const struct vt_case cases[] = {
    VT_TEST(an_applied_update_makes_room, "TIL-08 TIL-19", NULL),
    VT_TEST(a_lost_device_ends_the_wait_for_room, "FLT-10 TIL-19", NULL),
    VT_TEST(removal_ends_every_wait, "FLT-20", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "waiting", cases, VT_COUNT(cases)); }
