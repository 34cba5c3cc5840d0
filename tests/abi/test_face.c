/* SPDX-License-Identifier: MIT */
/* test_face.c - the face on a fake core: if one of these fails, a client's mistake crashes its process,
 * leaks, or reaches an object it did not name. */
#include "vt.h"

#include <stdio.h>
#include <string.h>

#include "fake_core.h"
#include "kmt/kmt.h"

#define AT(offset) ((D3DKMT_PTR)(uintptr_t)(client + (offset)))
#define ARGS 0u        /* where argument structs lie in client memory */
#define ARRAYS 4096u
#define READ_ONLY (CLIENT_BYTES - 4096u)

static struct kmt_face *face;
static struct kmt_process *process;

static uint64_t existing_bytes(const void *data, uint32_t bytes)
{
    return bytes != 0 ? ((const uint8_t *)data)[0] * 4096ull : 0;
}

static void begin(void)
{
    fake_reset();
    const struct kmt_config config = {
        .env = &fake_env, .adapter = fake_adapter(), .luid = {7, 9}, .driver_store = "/store",
        .dedicated_bytes = 1 << 20, .existing_bytes = existing_bytes,
    };
    face = kmt_face_create(&config);
    assert_non_null(face);
    process = kmt_process_create(face);
    assert_non_null(process);
}

static void end(void)
{
    kmt_process_destroy(process);
    fake_poll();
    kmt_face_destroy(face);
    assert_int_equal(fake.objects, 0);
    assert_int_equal(fake.env_bytes, 0);
    assert_null(fake.watches);
}

/* Calls with the struct at the usual place; it is copied back for the test to read. */
static NTSTATUS call(enum kmt_op op, void *args)
{
    size_t bytes = kmt_entry_info(op).bytes;
    memcpy(client + ARGS, args, bytes);
    NTSTATUS status = kmt_dispatch(process, op, AT(ARGS));
    memcpy(args, client + ARGS, bytes);
    return status;
}
#define CALL(name, ...) call(KMT_OP_##name, __VA_ARGS__)

static D3DKMT_HANDLE open_adapter(void)
{
    D3DKMT_OPENADAPTERFROMLUID a = {{7, 9}, 0};
    assert_int_equal(CALL(OpenAdapterFromLuid, &a), STATUS_SUCCESS);
    return a.hAdapter;
}

static D3DKMT_HANDLE create_device(D3DKMT_HANDLE adapter)
{
    D3DKMT_CREATEDEVICE a = {.hAdapter = adapter};
    assert_int_equal(CALL(CreateDevice, &a), STATUS_SUCCESS);
    return a.hDevice;
}

static D3DKMT_CREATEPAGINGQUEUE create_queue(D3DKMT_HANDLE device)
{
    D3DKMT_CREATEPAGINGQUEUE a = {.hDevice = device};
    assert_int_equal(CALL(CreatePagingQueue, &a), STATUS_SUCCESS);
    return a;
}

/* n allocations with one byte of private data each; element 0 at ARRAYS. */
static NTSTATUS create_allocations(D3DKMT_CREATEALLOCATION *a, uint32_t n)
{
    D3DDDI_ALLOCATIONINFO2 *info = (D3DDDI_ALLOCATIONINFO2 *)(void *)(client + ARRAYS);
    memset(info, 0, n * sizeof *info);
    for (uint32_t i = 0; i < n; i++) {
        info[i].pPrivateDriverData = AT(ARRAYS - 16);
        info[i].PrivateDriverDataSize = 1;
    }
    a->NumAllocations = n;
    a->pAllocationInfo2 = AT(ARRAYS);
    return CALL(CreateAllocation2, a);
}

static D3DKMT_HANDLE allocation(uint32_t i)
{
    return ((D3DDDI_ALLOCATIONINFO2 *)(void *)(client + ARRAYS))[i].hAllocation;
}

static void put_handles(const D3DKMT_HANDLE *h, uint32_t n)
{
    memcpy(client + 2 * ARRAYS, h, n * sizeof *h);
}

/* ---- single services ---------------------------------------------------------------------------- */

static void adapter_and_device_life(void **state)
{
    (void)state;
    begin();
    D3DKMT_OPENADAPTERFROMLUID wrong = {{7, 8}, 0};
    assert_int_equal(CALL(OpenAdapterFromLuid, &wrong), STATUS_INVALID_PARAMETER);
    D3DKMT_HANDLE a = open_adapter(), b = open_adapter();
    assert_int_not_equal(a, b);
    D3DKMT_HANDLE device = create_device(a);
    create_queue(device);
    D3DKMT_CLOSEADAPTER close_a = {a}, close_b = {b};
    assert_int_equal(CALL(CloseAdapter, &close_a), STATUS_SUCCESS);
    assert_int_equal(CALL(CloseAdapter, &close_a), STATUS_INVALID_PARAMETER);
    assert_int_equal(CALL(CloseAdapter, &close_b), STATUS_SUCCESS);
    assert_true(fake.objects > 0); /* the device lives on without adapter handles */
    D3DKMT_DESTROYDEVICE d = {device};
    assert_int_equal(CALL(DestroyDevice, &d), STATUS_SUCCESS);
    assert_int_equal(fake.objects, 0); /* and takes the address space with it */
    end();
}

static void handles_of_another_kind(void **state)
{
    (void)state;
    begin();
    D3DKMT_HANDLE adapter = open_adapter(), device = create_device(adapter);
    D3DKMT_CREATEPAGINGQUEUE q = create_queue(device);
    D3DKMT_DESTROYDEVICE d = {q.hPagingQueue};
    assert_int_equal(CALL(DestroyDevice, &d), STATUS_INVALID_PARAMETER);
    D3DKMT_DESTROYSYNCHRONIZATIONOBJECT s = {q.hSyncObject}; /* the queue's own */
    assert_int_equal(CALL(DestroySynchronizationObject, &s), STATUS_INVALID_PARAMETER);
    D3DKMT_DESTROYCONTEXT c = {device};
    assert_int_equal(CALL(DestroyContext, &c), STATUS_INVALID_PARAMETER);
    D3DDDI_DESTROYPAGINGQUEUE dq = {q.hPagingQueue};
    assert_int_equal(CALL(DestroyPagingQueue, &dq), STATUS_SUCCESS);
    assert_int_equal(CALL(DestroyPagingQueue, &dq), STATUS_INVALID_PARAMETER);
    end();
}

/* Two clients on one adapter: the numbers may be equal, the objects never are. */
static void foreign_handles(void **state)
{
    (void)state;
    begin();
    D3DKMT_HANDLE device = create_device(open_adapter());
    struct kmt_process *mine = process;
    process = kmt_process_create(face);
    D3DKMT_HANDLE adapter = open_adapter();
    D3DKMT_CREATECONTEXTVIRTUAL c = {.hDevice = device};
    assert_int_equal(CALL(CreateContextVirtual, &c), STATUS_INVALID_PARAMETER);
    create_device(adapter);
    kmt_process_destroy(process);
    process = mine;
    assert_int_equal(CALL(CreateContextVirtual, &c), STATUS_SUCCESS);
    end();
}

static void create_allocation_rules(void **state)
{
    (void)state;
    begin();
    D3DKMT_HANDLE device = create_device(open_adapter());
    const struct { uint32_t flags; uint32_t n; NTSTATUS want; } table[] = {
        {0, 0, STATUS_INVALID_PARAMETER},          /* nothing to make */
        {0x1, 0, STATUS_SUCCESS},                  /* an empty resource */
        {0x2, 1, STATUS_INVALID_PARAMETER},        /* shared, no resource */
        {0x41, 1, STATUS_INVALID_PARAMETER},       /* NT sharing, not shared */
        {0x43, 1, STATUS_SUCCESS},
        {0x10001, 1, STATUS_INVALID_PARAMETER},    /* standard without its companions */
        {0x10000 | 0x20 | 0x2 | 0x1 | 0x800, 1, STATUS_NOT_SUPPORTED},
        {0x20020, 1, STATUS_INVALID_PARAMETER},    /* memory and section */
        {0x400000, 1, STATUS_INVALID_PARAMETER},   /* a reserved bit */
        {0x20, 1, STATUS_INVALID_PARAMETER},       /* existing memory, no pointer */
        {0x8, 1, STATUS_NOT_SUPPORTED},            /* protected */
        {0, 100, STATUS_SUCCESS},
    };
    for (size_t i = 0; i < VT_COUNT(table); i++) {
        D3DKMT_CREATEALLOCATION a = {.hDevice = device, .Flags = table[i].flags};
        if (create_allocations(&a, table[i].n) != table[i].want) fail_msg("row %zu", i);
        if (table[i].want == STATUS_SUCCESS) assert_int_equal(a.hResource != 0, table[i].flags & 1);
    }
    D3DKMT_CREATEALLOCATION a = {.hDevice = device, .NumAllocations = VIDMM_LIST_MAX + 1,
                                 .pAllocationInfo2 = AT(ARRAYS)};
    assert_int_equal(CALL(CreateAllocation2, &a), STATUS_INVALID_PARAMETER);
    end();
}

/* The second of three fails: nothing is left of the first. */
static void create_allocation_is_atomic(void **state)
{
    (void)state;
    begin();
    D3DKMT_HANDLE device = create_device(open_adapter());
    int64_t objects = fake.objects, bytes = fake.env_bytes;
    D3DKMT_CREATEALLOCATION a = {.hDevice = device, .Flags = 1};
    fake.fail_core_at = fake.core_calls + 2;
    fake.fail_status = VIDMM_NO_VIDEO_MEMORY;
    assert_int_equal(create_allocations(&a, 3), STATUS_GRAPHICS_NO_VIDEO_MEMORY);
    assert_int_equal(fake.objects, objects);
    assert_int_equal(fake.last_close_flags, VIDMM_DESTROY_ASSUME_NOT_IN_USE);
    assert_true(fake.env_bytes >= bytes); /* the handle table may have grown */
    end();
}

union request {
    D3DKMT_OPENADAPTERFROMLUID open;
    D3DKMT_CREATEDEVICE device;
    D3DKMT_CREATEPAGINGQUEUE queue;
    D3DKMT_CREATECONTEXTVIRTUAL context;
    D3DKMT_CREATESYNCHRONIZATIONOBJECT2 sync;
    D3DKMT_CREATEALLOCATION alloc;
    D3DDDI_RESERVEGPUVIRTUALADDRESS reserve;
    D3DDDI_MAPGPUVIRTUALADDRESS map;
    D3DDDI_MAKERESIDENT resident;
};

struct named { D3DKMT_HANDLE adapter, device, queue, allocation; };

/* A request that succeeds; the allocation's handle lies at 2 * ARRAYS. */
static void fill_request(union request *u, enum kmt_op op, const struct named *h)
{
    memset(u, 0, sizeof *u);
    switch (op) {
    case KMT_OP_OpenAdapterFromLuid: u->open.AdapterLuid = (D3DKMT_LUID){7, 9}; break;
    case KMT_OP_CreateDevice: u->device.hAdapter = h->adapter; break;
    case KMT_OP_CreatePagingQueue: u->queue.hDevice = h->device; break;
    case KMT_OP_CreateContextVirtual: u->context.hDevice = h->device; break;
    case KMT_OP_CreateSynchronizationObject2:
        u->sync.hDevice = h->device;
        u->sync.Info.Type = SYNC_MONITORED_FENCE;
        break;
    case KMT_OP_CreateAllocation2:
        memset(client + ARRAYS, 0, sizeof(D3DDDI_ALLOCATIONINFO2));
        u->alloc = (D3DKMT_CREATEALLOCATION){.hDevice = h->device, .NumAllocations = 1, .Flags = 1,
                                             .pAllocationInfo2 = AT(ARRAYS)};
        break;
    case KMT_OP_ReserveGpuVirtualAddress:
        u->reserve.hAdapter = h->adapter;
        u->reserve.Size = 65536;
        break;
    case KMT_OP_MapGpuVirtualAddress:
        u->map = (D3DDDI_MAPGPUVIRTUALADDRESS){.hPagingQueue = h->queue, .hAllocation = h->allocation,
                                               .SizeInPages = 16};
        break;
    default:
        u->resident = (D3DDDI_MAKERESIDENT){.hPagingQueue = h->queue, .NumAllocations = 1,
                                            .AllocationList = AT(2 * ARRAYS)};
        break;
    }
}

/* Results that cannot be written to the client are taken back. */
static void unwritable_results_are_undone(void **state)
{
    static const enum kmt_op table[] = {
        KMT_OP_OpenAdapterFromLuid, KMT_OP_CreateDevice, KMT_OP_CreatePagingQueue,
        KMT_OP_CreateContextVirtual, KMT_OP_CreateSynchronizationObject2, KMT_OP_CreateAllocation2,
        KMT_OP_ReserveGpuVirtualAddress, KMT_OP_MapGpuVirtualAddress, KMT_OP_MakeResident,
    };
    struct named h;
    union request u;
    (void)state;
    begin();
    h.adapter = open_adapter();
    h.device = create_device(h.adapter);
    h.queue = create_queue(h.device).hPagingQueue;
    D3DKMT_CREATEALLOCATION made = {.hDevice = h.device};
    assert_int_equal(create_allocations(&made, 1), STATUS_SUCCESS);
    h.allocation = allocation(0);
    put_handles(&h.allocation, 1);
    for (size_t i = 0; i < VT_COUNT(table); i++) {
        int64_t objects = fake.objects;
        fill_request(&u, table[i], &h);
        memcpy(client + READ_ONLY, &u, kmt_entry_info(table[i]).bytes);
        NTSTATUS status = kmt_dispatch(process, table[i], AT(READ_ONLY));
        if (status != STATUS_INVALID_PARAMETER) fail_msg("row %zu: %x", i, (unsigned)status);
        if (fake.objects != objects) fail_msg("row %zu leaves objects", i);
        fill_request(&u, table[i], &h);
        if (call(table[i], &u) != STATUS_SUCCESS) fail_msg("row %zu is no request that succeeds", i);
    }
    D3DKMT_EVICT e = {.hDevice = h.device, .NumAllocations = 1, .AllocationList = AT(2 * ARRAYS)};
    assert_int_equal(CALL(Evict, &e), STATUS_SUCCESS);
    assert_int_equal(CALL(Evict, &e), STATUS_INVALID_PARAMETER); /* counted once, not twice */
    end();
}

static void make_resident_answers(void **state)
{
    (void)state;
    begin();
    D3DKMT_HANDLE device = create_device(open_adapter());
    D3DKMT_CREATEPAGINGQUEUE q = create_queue(device);
    D3DKMT_CREATEALLOCATION a = {.hDevice = device};
    assert_int_equal(create_allocations(&a, 2), STATUS_SUCCESS);
    put_handles((D3DKMT_HANDLE[]){allocation(0), allocation(1)}, 2);
    D3DDDI_MAKERESIDENT m = {.hPagingQueue = q.hPagingQueue, .NumAllocations = 2,
                             .AllocationList = AT(2 * ARRAYS), .PriorityList = 1 /* ignored */};
    fake.fail_core_at = fake.core_calls + 1;
    fake.fail_status = VIDMM_NO_MEMORY;
    assert_int_equal(CALL(MakeResident, &m), STATUS_NO_MEMORY);
    assert_int_equal(m.NumAllocations, 0);
    assert_int_equal(m.NumBytesToTrim, 4096);
    m.NumAllocations = 2;
    fake.pending = true;
    assert_int_equal(CALL(MakeResident, &m), STATUS_PENDING);
    assert_int_equal(m.PagingFenceValue, 1);
    assert_int_equal(m.NumAllocations, 2);
    /* The queue is destroyed only when it is drained. */
    D3DDDI_DESTROYPAGINGQUEUE dq = {q.hPagingQueue};
    assert_int_equal(CALL(DestroyPagingQueue, &dq), STATUS_SUCCESS);
    assert_int_equal(fake.wait_steps, 5);
    end();
}

/* A primary that a packet writes must be on the list of its device (SUB-10), and there are at most 16. */
static void written_primaries(void **state)
{
    (void)state;
    begin();
    D3DKMT_HANDLE device = create_device(open_adapter());
    D3DKMT_CREATEPAGINGQUEUE q = create_queue(device);
    D3DKMT_CREATECONTEXTVIRTUAL cv = {.hDevice = device};
    D3DKMT_CREATEALLOCATION a = {.hDevice = device};
    assert_int_equal(CALL(CreateContextVirtual, &cv), STATUS_SUCCESS);
    assert_int_equal(create_allocations(&a, 2), STATUS_SUCCESS);
    D3DKMT_HANDLE listed = allocation(0), other = allocation(1);
    put_handles(&listed, 1);
    D3DDDI_MAKERESIDENT m = {.hPagingQueue = q.hPagingQueue, .NumAllocations = 1,
                             .AllocationList = AT(2 * ARRAYS)};
    assert_int_equal(CALL(MakeResident, &m), STATUS_SUCCESS);
    D3DKMT_SUBMITCOMMAND s = {.Commands = 0x10000, .CommandLength = 8, .BroadcastContextCount = 1,
                              .BroadcastContext = {cv.hContext}, .NumPrimaries = 1,
                              .WrittenPrimaries = {listed}};
    assert_int_equal(CALL(SubmitCommand, &s), STATUS_SUCCESS);
    s.NumPrimaries = 2;
    s.WrittenPrimaries[1] = other;
    assert_int_equal(CALL(SubmitCommand, &s), STATUS_INVALID_PARAMETER);
    s.NumPrimaries = 17;
    assert_int_equal(CALL(SubmitCommand, &s), STATUS_INVALID_PARAMETER);
    s.NumPrimaries = 1;
    assert_int_equal(CALL(SubmitCommand, &s), STATUS_SUCCESS);
    end();
}

/* User mode reports its device: two reasons are known; what a fault said is told. */
static void device_state_and_mark(void **state)
{
    (void)state;
    begin();
    D3DKMT_HANDLE device = create_device(open_adapter());
    D3DKMT_GETDEVICESTATE g = {.hDevice = device, .StateType = DEVICESTATE_PAGE_FAULT};
    assert_int_equal(CALL(GetDeviceState, &g), STATUS_SUCCESS);
    assert_int_equal(g.PageFaultState.FaultedVirtualAddress, 0x1234);
    assert_int_equal(g.PageFaultState.PageFaultFlags, 1);
    assert_int_equal(g.PageFaultState.FaultErrorCode, 7);
    assert_int_equal(g.PageFaultState.FaultedPrimitiveAPISequenceNumber, 42);
    assert_int_equal(g.PageFaultState.FaultedPipelineStage, 7);
    assert_int_equal(g.PageFaultState.FaultedBindTableEntry, 3);
    g.StateType = 7;
    assert_int_equal(CALL(GetDeviceState, &g), STATUS_INVALID_PARAMETER);
    D3DKMT_MARKDEVICEASERROR m = {.hDevice = device, .Reason = 0x80000000u};
    assert_int_equal(CALL(MarkDeviceAsError, &m), STATUS_SUCCESS);
    m.Reason = 0x80000006u;
    assert_int_equal(CALL(MarkDeviceAsError, &m), STATUS_SUCCESS);
    m.Reason = 6;
    assert_int_equal(CALL(MarkDeviceAsError, &m), STATUS_INVALID_PARAMETER);
    m = (D3DKMT_MARKDEVICEASERROR){.hDevice = device + 64, .Reason = 0x80000000u};
    assert_int_equal(CALL(MarkDeviceAsError, &m), STATUS_INVALID_PARAMETER);
    end();
}

static D3DKMT_HANDLE waited_device;

static void destroy_device_meanwhile(void)
{
    D3DKMT_DESTROYDEVICE d = {waited_device};
    if (fake.wait_steps != 2) return;
    memcpy(client + 3 * ARRAYS, &d, sizeof d);
    assert_int_equal(kmt_dispatch(process, KMT_OP_DestroyDevice, AT(3 * ARRAYS)), STATUS_SUCCESS);
}

static D3DKMT_HANDLE create_fence(D3DKMT_HANDLE device, uint64_t initial)
{
    D3DKMT_CREATESYNCHRONIZATIONOBJECT2 s = {.hDevice = device};
    s.Info.Type = SYNC_MONITORED_FENCE;
    s.Info.MonitoredFence.InitialFenceValue = initial;
    assert_int_equal(CALL(CreateSynchronizationObject2, &s), STATUS_SUCCESS);
    assert_int_not_equal(s.Info.MonitoredFence.FenceValueCPUVirtualAddress, 0);
    assert_int_not_equal(s.Info.MonitoredFence.FenceValueGPUVirtualAddress, 0);
    return s.hSyncObject;
}

static D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU wait_args(D3DKMT_HANDLE device, D3DKMT_HANDLE fence,
                                                            uint64_t value)
{
    put_handles(&fence, 1);
    memcpy(client + 3 * ARRAYS + 64, &value, 8);
    return (D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU){
        .hDevice = device, .ObjectCount = 1, .ObjectHandleArray = AT(2 * ARRAYS),
        .FenceValueArray = AT(3 * ARRAYS + 64)};
}

/* Everything a wait looks at disappears under it. */
static void objects_die_during_waits(void **state)
{
    (void)state;
    begin();
    D3DKMT_HANDLE adapter = open_adapter();
    fake.on_wait = destroy_device_meanwhile;
    waited_device = create_device(adapter);
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU w =
        wait_args(waited_device, create_fence(waited_device, 3), 4);
    assert_int_equal(CALL(WaitForSynchronizationObjectFromCpu, &w), STATUS_INVALID_PARAMETER);

    waited_device = create_device(adapter);
    D3DKMT_CREATEALLOCATION a = {.hDevice = waited_device};
    assert_int_equal(create_allocations(&a, 1), STATUS_SUCCESS);
    fake.pending = true;
    D3DKMT_LOCK2 l = {.hDevice = waited_device, .hAllocation = allocation(0)};
    assert_int_equal(CALL(Lock2, &l), STATUS_INVALID_PARAMETER);

    waited_device = create_device(adapter);
    D3DKMT_CREATEPAGINGQUEUE q = create_queue(waited_device);
    a = (D3DKMT_CREATEALLOCATION){.hDevice = waited_device};
    assert_int_equal(create_allocations(&a, 1), STATUS_SUCCESS);
    D3DDDI_MAPGPUVIRTUALADDRESS m = {
        .hPagingQueue = q.hPagingQueue, .hAllocation = allocation(0), .SizeInPages = 1};
    assert_int_equal(CALL(MapGpuVirtualAddress, &m), STATUS_PENDING);
    D3DDDI_DESTROYPAGINGQUEUE dq = {q.hPagingQueue};
    assert_int_equal(CALL(DestroyPagingQueue, &dq), STATUS_INVALID_PARAMETER);
    end();
}

static void asynchronous_wait(void **state)
{
    (void)state;
    begin();
    D3DKMT_HANDLE device = create_device(open_adapter());
    D3DKMT_HANDLE fence = create_fence(device, 0);
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU w = wait_args(device, fence, 5);
    w.hAsyncEvent = 33;
    assert_int_equal(CALL(WaitForSynchronizationObjectFromCpu, &w), STATUS_SUCCESS);
    fake_poll();
    assert_int_equal(fake.events, 0);
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMCPU s = {
        .hDevice = device, .ObjectCount = 1, .ObjectHandleArray = w.ObjectHandleArray,
        .FenceValueArray = w.FenceValueArray};
    assert_int_equal(CALL(SignalSynchronizationObjectFromCpu, &s), STATUS_SUCCESS);
    fake_poll();
    assert_int_equal(fake.events, 1);
    memcpy(client + 3 * ARRAYS + 64, &(uint64_t){4}, 8);
    assert_int_equal(CALL(SignalSynchronizationObjectFromCpu, &s), STATUS_INVALID_PARAMETER); /* backwards */
    /* A wait that is never satisfied ends with its object. */
    memcpy(client + 3 * ARRAYS + 64, &(uint64_t){99}, 8);
    assert_int_equal(CALL(WaitForSynchronizationObjectFromCpu, &w), STATUS_SUCCESS);
    end();
}

static void addresses_are_folded(void **state)
{
    (void)state;
    begin();
    D3DKMT_HANDLE device = create_device(open_adapter());
    D3DKMT_CREATECONTEXTVIRTUAL c = {.hDevice = device};
    assert_int_equal(CALL(CreateContextVirtual, &c), STATUS_SUCCESS);
    D3DKMT_SUBMITCOMMAND s = {.Commands = 0xffffc00012340000, .BroadcastContextCount = 1};
    s.BroadcastContext[0] = c.hContext;
    assert_int_equal(CALL(SubmitCommand, &s), STATUS_SUCCESS);
    assert_true(fake.last_submit_va == 0xc00012340000);
    s.Commands = 0x0001c00012340000;
    assert_int_equal(CALL(SubmitCommand, &s), STATUS_INVALID_PARAMETER);
    s.Commands = 0xffff000012340000; /* sign bits that do not continue the address */
    assert_int_equal(CALL(SubmitCommand, &s), STATUS_INVALID_PARAMETER);
    s.Commands = 0x1000;
    s.PrivateDriverDataSize = VIDMM_PRIVATE_DATA_MAX + 1;
    assert_int_equal(CALL(SubmitCommand, &s), STATUS_INVALID_PARAMETER);
    s.PrivateDriverDataSize = 8; /* at address 0 */
    assert_int_equal(CALL(SubmitCommand, &s), STATUS_INVALID_PARAMETER);
    end();
}

static void driver_store_path(void **state)
{
    D3DKMT_QUERYADAPTERINFO a = {.Type = KMTQAITYPE_QUERYREGISTRY, .pPrivateDriverData = AT(ARRAYS)};
    D3DKMT_QUERYREGISTRY_INFO *r = (D3DKMT_QUERYREGISTRY_INFO *)(void *)(client + ARRAYS);
    (void)state;
    begin();
    a.hAdapter = open_adapter();
    r->QueryType = QUERYREGISTRY_DRIVERSTOREPATH;
    a.PrivateDriverDataSize = sizeof *r;
    assert_int_equal(CALL(QueryAdapterInfo, &a), STATUS_SUCCESS);
    assert_int_equal(r->Status, QUERYREGISTRY_BUFFER_OVERFLOW);
    assert_int_equal(r->OutputValueSize, 7 * 4);
    a.PrivateDriverDataSize = sizeof *r + r->OutputValueSize;
    assert_int_equal(CALL(QueryAdapterInfo, &a), STATUS_SUCCESS);
    assert_int_equal(r->Status, QUERYREGISTRY_SUCCESS);
    const uint32_t *wide = (const uint32_t *)(const void *)(client + ARRAYS + 1064);
    for (size_t i = 0; i < 7; i++) assert_int_equal(wide[i], "/store"[i]);
    r->QueryType = 77;
    assert_int_equal(CALL(QueryAdapterInfo, &a), STATUS_SUCCESS);
    assert_int_equal(r->Status, QUERYREGISTRY_FAIL);
    a.PrivateDriverDataSize = 100;
    assert_int_equal(CALL(QueryAdapterInfo, &a), STATUS_INVALID_PARAMETER);
    end();
}

/* Shared by NT handle, opened by another device and again by its own; each destroyed before the next. */
static void shared_resource(void **state)
{
    (void)state;
    begin();
    D3DKMT_HANDLE adapter = open_adapter(), device = create_device(adapter), other = create_device(adapter);
    D3DKMT_CREATEALLOCATION a = {.hDevice = device, .Flags = 0x43};
    assert_int_equal(create_allocations(&a, 2), STATUS_SUCCESS);
    put_handles(&a.hResource, 1);
    D3DKMT_SHAREOBJECTS s = {.ObjectCount = 1, .ObjectHandleArray = AT(2 * ARRAYS),
                             .pSharedNtHandle = AT(2 * ARRAYS + 64)};
    assert_int_equal(CALL(ShareObjects, &s), STATUS_SUCCESS);
    uint64_t nt;
    memcpy(&nt, client + 2 * ARRAYS + 64, 8);
    assert_int_not_equal(nt, 0);
    D3DKMT_QUERYRESOURCEINFOFROMNTHANDLE q = {.hDevice = device, .hNtHandle = nt};
    assert_int_equal(CALL(QueryResourceInfoFromNtHandle, &q), STATUS_SUCCESS);
    assert_int_equal(q.NumAllocations, 2);
    assert_int_equal(q.TotalPrivateDriverDataSize, 2);
    D3DKMT_OPENRESOURCEFROMNTHANDLE o = {
        .hDevice = other, .hNtHandle = nt, .NumAllocations = 2, .pOpenAllocationInfo2 = AT(3 * ARRAYS),
        .TotalPrivateDriverDataBufferSize = 2, .pTotalPrivateDriverDataBuffer = AT(2 * ARRAYS + 128)};
    int64_t objects = fake.objects;
    fake.fail_core_at = fake.core_calls + 2; /* the second allocation */
    fake.fail_status = VIDMM_DEVICE_LOST;
    assert_int_equal(CALL(OpenResourceFromNtHandle, &o), STATUS_DEVICE_REMOVED);
    assert_int_equal(fake.objects, objects);
    assert_int_equal(CALL(OpenResourceFromNtHandle, &o), STATUS_SUCCESS);
    assert_int_equal(fake.objects, objects + 2); /* opens of its own */
    assert_int_equal(fake.last_open_flags, VIDMM_OPEN_READ_ONLY); /* no access was asked for */
    D3DKMT_DESTROYALLOCATION2 d = {.hDevice = other, .hResource = o.hResource};
    assert_int_equal(CALL(DestroyAllocation2, &d), STATUS_SUCCESS);
    assert_int_equal(fake.objects, objects);
    o.hDevice = device;
    assert_int_equal(CALL(OpenResourceFromNtHandle, &o), STATUS_SUCCESS);
    d = (D3DKMT_DESTROYALLOCATION2){.hDevice = device, .hResource = a.hResource};
    assert_int_equal(CALL(DestroyAllocation2, &d), STATUS_SUCCESS);
    assert_int_equal(fake.objects, objects); /* the second handles keep the opens */
    assert_int_equal(CALL(QueryResourceInfoFromNtHandle, &q), STATUS_SUCCESS); /* and the name */
    D3DDDI_OPENALLOCATIONINFO2 info;
    memcpy(&info, client + 3 * ARRAYS, sizeof info);
    D3DKMT_LOCK2 l = {.hDevice = device, .hAllocation = info.hAllocation};
    assert_int_equal(CALL(Lock2, &l), STATUS_SUCCESS);
    d.hResource = o.hResource;
    assert_int_equal(CALL(DestroyAllocation2, &d), STATUS_SUCCESS);
    assert_int_equal(fake.objects, objects - 2);
    end();
}

static D3DKMT_HANDLE dying, dying_device;

static void destroy_it_meanwhile(void)
{
    if (fake.wait_steps != 2) return;
    fake.on_wait = NULL;
    put_handles(&dying, 1);
    D3DKMT_DESTROYALLOCATION2 d = {.hDevice = dying_device, .phAllocationList = AT(2 * ARRAYS),
                                   .AllocationCount = 1};
    assert_int_equal(CALL(DestroyAllocation2, &d), STATUS_SUCCESS);
}

/* Locks belong to the handle they were taken through: no other one gives them back, and when the handle goes,
 * also in the middle of a Lock2, they go, while the allocation lives on under its second handle. */
static void locks_die_with_their_handle(void **state)
{
    (void)state;
    begin();
    D3DKMT_HANDLE device = dying_device = create_device(open_adapter());
    D3DKMT_CREATEALLOCATION a = {.hDevice = device, .Flags = 0x3};
    assert_int_equal(create_allocations(&a, 1), STATUS_SUCCESS);
    D3DKMT_HANDLE first = allocation(0);
    D3DDDI_OPENALLOCATIONINFO2 info;
    D3DKMT_OPENRESOURCE o = {.hDevice = device, .hGlobalShare = a.hGlobalShare, .NumAllocations = 1,
                             .pOpenAllocationInfo2 = AT(3 * ARRAYS), .TotalPrivateDriverDataBufferSize = 2,
                             .pTotalPrivateDriverDataBuffer = AT(2 * ARRAYS + 128)};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(CALL(OpenResource, &o), STATUS_SUCCESS);
        memcpy(&info, client + 3 * ARRAYS, sizeof info);
        dying = info.hAllocation;
        D3DKMT_LOCK2 l = {.hDevice = device, .hAllocation = dying};
        assert_int_equal(CALL(Lock2, &l), STATUS_SUCCESS);
        const void *cpu = (void *)(uintptr_t)l.pData;
        assert_int_equal(fake_locks(cpu), 1);
        D3DKMT_UNLOCK2 u = {device, first};
        assert_int_equal(CALL(Unlock2, &u), STATUS_INVALID_PARAMETER);
        fake.pending = i == 1;
        fake.wait_steps = 0;
        if (i == 1) {
            fake.on_wait = destroy_it_meanwhile;
            assert_int_equal(CALL(Lock2, &l), STATUS_INVALID_PARAMETER);
        } else {
            fake.wait_steps = 2;
            destroy_it_meanwhile();
        }
        assert_int_equal(fake_locks(cpu), 0);
    }
    end();
}

static void lose_devices(void) { fake.lost |= fake.wait_steps == 2; }

/* The bytes will not come any more: the client hears of it, and holds no lock. */
static void a_lock_ends_with_its_device(void **state)
{
    (void)state;
    begin();
    D3DKMT_HANDLE device = create_device(open_adapter());
    D3DKMT_CREATEALLOCATION a = {.hDevice = device};
    assert_int_equal(create_allocations(&a, 1), STATUS_SUCCESS);
    D3DKMT_LOCK2 l = {.hDevice = device, .hAllocation = allocation(0)};
    assert_int_equal(CALL(Lock2, &l), STATUS_SUCCESS);
    const void *cpu = (void *)(uintptr_t)l.pData;
    fake.pending = true;
    assert_int_equal(CALL(Lock2, &l), STATUS_SUCCESS);
    assert_int_equal(fake_locks(cpu), 2);
    fake.on_wait = lose_devices;
    l.pData = 0;
    assert_int_equal(CALL(Lock2, &l), STATUS_DEVICE_REMOVED);
    fake.on_wait = NULL;
    assert_int_equal(l.pData, 0);
    assert_int_equal(fake_locks(cpu), 2);
    end();
}

/* ---- tile updates ------------------------------------------------------------------------------- */

struct tile_names { D3DKMT_HANDLE device, context, fence, allocation; };

static void make_tile_names(struct tile_names *t)
{
    t->device = create_device(open_adapter());
    D3DKMT_CREATECONTEXTVIRTUAL v = {.hDevice = t->device, .EngineAffinity = 1};
    assert_int_equal(CALL(CreateContextVirtual, &v), STATUS_SUCCESS);
    D3DKMT_CREATESYNCHRONIZATIONOBJECT2 s = {.hDevice = t->device};
    s.Info.Type = SYNC_MONITORED_FENCE;
    assert_int_equal(CALL(CreateSynchronizationObject2, &s), STATUS_SUCCESS);
    D3DKMT_CREATEALLOCATION made = {.hDevice = t->device};
    assert_int_equal(create_allocations(&made, 1), STATUS_SUCCESS);
    t->context = v.hContext;
    t->fence = s.hSyncObject;
    t->allocation = allocation(0);
}

typedef D3DDDI_UPDATEGPUVIRTUALADDRESS_OPERATION tile_operation;

static D3DKMT_UPDATEGPUVIRTUALADDRESS update_of(const struct tile_names *t, const tile_operation *op,
                                                uint32_t n)
{
    memcpy(client + 2 * ARRAYS, op, n * sizeof *op);
    return (D3DKMT_UPDATEGPUVIRTUALADDRESS){.hDevice = t->device, .hContext = t->context,
                                            .hFenceObject = t->fence, .NumOperations = n,
                                            .Operations = AT(2 * ARRAYS), .FenceValue = 42};
}

static void tile_updates_reach_the_core(void **state)
{
    struct tile_names t;
    (void)state;
    begin();
    make_tile_names(&t);
    D3DDDI_UPDATEGPUVIRTUALADDRESS_OPERATION op[4] = {
        {.OperationType = UPDATE_MAP, .Map = {0x10000, 0x4000, t.allocation, 0x1000, 0x2000}},
        {.OperationType = UPDATE_MAP_PROTECT,
         .MapProtect = {0x20000, 0x3000, t.allocation, 0x5000, 0, 1, 0x77}},
        {.OperationType = UPDATE_UNMAP, .Unmap = {0x30000, 0x1000, 8}},
        {.OperationType = UPDATE_COPY, .Copy = {0x40000, 0x6000, 0x50000}}};
    static const struct vidmm_tile_op want[4] = {
        {VIDMM_TILE_MAP, 0x10000, 0x4000, NULL, 0x1000, 0x2000, 0, 0, 0},
        {VIDMM_TILE_MAP_PROTECT, 0x20000, 0x3000, NULL, 0x5000, 0, 0, 1, 0x77},
        {VIDMM_TILE_UNMAP, 0x30000, 0x1000, NULL, 0, 0, 0, 8, 0},
        {VIDMM_TILE_COPY, 0x50000, 0x6000, NULL, 0, 0, 0x40000, 0, 0}};
    for (uint32_t i = 0; i < 4; i++) {
        D3DKMT_UPDATEGPUVIRTUALADDRESS a = update_of(&t, op, i + 1);
        a.Flags = i & 1 ? D3DKMT_UPDATEGPUVIRTUALADDRESS_Flags_DoNotWait : 0;
        assert_int_equal(CALL(UpdateGpuVirtualAddress, &a), STATUS_SUCCESS);
        assert_int_equal(fake.update.open != NULL, i < 2);
        fake.update.open = NULL;
        assert_memory_equal(&fake.update, &want[i], sizeof want[i]);
        assert_int_equal(fake.update_value, 42);
        assert_int_equal(fake.update_flags, i & 1 ? VIDMM_UPDATE_DO_NOT_WAIT : 0);
    }
    end();
}

static void tile_updates_are_refused(void **state)
{
    struct tile_names t;
    (void)state;
    begin();
    make_tile_names(&t);
    D3DDDI_UPDATEGPUVIRTUALADDRESS_OPERATION op = {
        .OperationType = UPDATE_MAP, .Map = {0x10000, 0x4000, t.allocation, 0, 0}};
    const D3DKMT_UPDATEGPUVIRTUALADDRESS good = update_of(&t, &op, 1);
    D3DKMT_UPDATEGPUVIRTUALADDRESS bad[9];
    for (int i = 0; i < 9; i++) bad[i] = good;
    bad[0].hDevice = t.context;
    bad[1].hContext = t.device;
    bad[2].hFenceObject = t.context;
    bad[3].NumOperations = 0;
    bad[4].Reserved0 = 1;
    bad[5].Reserved1 = 1;
    bad[6].Flags = 2;
    bad[7].Operations = 0;
    bad[8].hDevice = create_device(open_adapter()); /* the context is another device's */
    uint64_t calls = fake.core_calls;
    for (int i = 0; i < 9; i++)
        assert_int_equal(CALL(UpdateGpuVirtualAddress, &bad[i]), STATUS_INVALID_PARAMETER);
    op.OperationType = 4;
    D3DKMT_UPDATEGPUVIRTUALADDRESS a = update_of(&t, &op, 1);
    assert_int_equal(CALL(UpdateGpuVirtualAddress, &a), STATUS_INVALID_PARAMETER);
    op.OperationType = UPDATE_MAP;
    op.Map.hAllocation = t.fence;
    a = update_of(&t, &op, 1);
    assert_int_equal(CALL(UpdateGpuVirtualAddress, &a), STATUS_INVALID_PARAMETER);
    assert_int_equal(fake.core_calls, calls);
    end();
}

static D3DKMT_HANDLE destroyed_while_waiting;

static void destroy_the_context(void)
{
    D3DKMT_DESTROYCONTEXT d = {destroyed_while_waiting};
    if (fake.wait_steps != 1) return;
    fake.owned = false; /* another thread's turn */
    assert_int_equal(CALL(DestroyContext, &d), STATUS_SUCCESS);
    fake.owned = true;
}

/* Without the wait a runtime would have to poll; with a wrong one it would hang. */
static void the_129th_update_waits(void **state)
{
    struct tile_names t;
    (void)state;
    begin();
    make_tile_names(&t);
    D3DDDI_UPDATEGPUVIRTUALADDRESS_OPERATION op = {
        .OperationType = UPDATE_MAP, .Map = {0x10000, 0x4000, t.allocation, 0, 0}};
    D3DKMT_UPDATEGPUVIRTUALADDRESS a = update_of(&t, &op, 1);
    fake.wait_steps = 0;
    for (uint32_t i = 0; i < VIDMM_UPDATES_MAX; i++) {
        assert_int_equal(CALL(UpdateGpuVirtualAddress, &a), STATUS_SUCCESS);
        assert_int_equal(fake.wait_steps, 0);
    }
    assert_int_equal(CALL(UpdateGpuVirtualAddress, &a), STATUS_SUCCESS);
    assert_int_equal(fake.wait_steps, 1); /* until one has been processed */
    fake.wait_steps = 0;
    destroyed_while_waiting = t.context;
    fake.on_wait = destroy_the_context;
    assert_int_equal(CALL(UpdateGpuVirtualAddress, &a), STATUS_INVALID_PARAMETER);
    fake.on_wait = NULL;
    end();
}

static void removed_adapter(void **state)
{
    (void)state;
    begin();
    D3DKMT_HANDLE adapter = open_adapter();
    fake.removed = true;
    D3DKMT_CREATEDEVICE d = {.hAdapter = adapter};
    assert_int_equal(CALL(CreateDevice, &d), STATUS_DEVICE_REMOVED);
    fake.removed = false;
    end();
}

/* The core knows that the adapter is gone: no service but those that give back or ask what became of a device
 * is reached, not even those that name no device. */
static void a_lost_adapter_takes_cleanup_only(void **state)
{
    unsigned others = 0;
    (void)state;
    begin();
    D3DKMT_HANDLE adapter = open_adapter(), device = create_device(adapter);
    D3DKMT_CREATEALLOCATION a = {.hDevice = device};
    assert_int_equal(create_allocations(&a, 1), STATUS_SUCCESS);
    D3DKMT_LOCK2 l = {.hDevice = device, .hAllocation = allocation(0)};
    assert_int_equal(CALL(Lock2, &l), STATUS_SUCCESS);
    fake.gone = fake.lost = true;
    D3DKMT_ENUMADAPTERS2 all = {0};
    assert_int_equal(CALL(EnumAdapters2, &all), STATUS_DEVICE_REMOVED);
    for (int op = 0; op < KMT_OP_COUNT; op++) {
        memset(client + ARGS, 0, 512);
        NTSTATUS status = kmt_dispatch(process, (enum kmt_op)op, AT(ARGS));
        others += status == STATUS_DEVICE_REMOVED;
    }
    assert_true(others > 20);
    D3DKMT_GETDEVICESTATE s = {.hDevice = device, .StateType = 1};
    assert_int_equal(CALL(GetDeviceState, &s), STATUS_SUCCESS);
    D3DKMT_UNLOCK2 u = {device, l.hAllocation};
    assert_int_equal(CALL(Unlock2, &u), STATUS_SUCCESS);
    D3DKMT_DESTROYDEVICE d = {device};
    assert_int_equal(CALL(DestroyDevice, &d), STATUS_SUCCESS);
    D3DKMT_CLOSEADAPTER c = {adapter};
    assert_int_equal(CALL(CloseAdapter, &c), STATUS_SUCCESS);
    fake.gone = fake.lost = false;
    end();
}

static void absent_services(void **state)
{
    unsigned works = 0, absent = 0;
    (void)state;
    begin();
    for (int op = 0; op < KMT_OP_COUNT; op++) {
        if (kmt_entry_info((enum kmt_op)op).works) works++;
        else assert_int_equal(kmt_dispatch(process, (enum kmt_op)op, 0), STATUS_NOT_SUPPORTED), absent++;
    }
    printf("%u work, %u are not supported\n", works, absent);
    assert_int_equal(kmt_dispatch(process, (enum kmt_op)KMT_OP_COUNT, 0), STATUS_INVALID_PARAMETER);
    assert_int_equal(kmt_dispatch(process, (enum kmt_op)-1, 0), STATUS_INVALID_PARAMETER);
    end();
}

/* Every allocation the face makes fails once: status, nothing leaks, and the service works afterwards. */
static void each_allocation_fails(void **state)
{
    (void)state;
    for (uint64_t k = 1; k < 200; k++) {
        begin();
        fake.fail_alloc_at = fake.allocs + k;
        for (unsigned round = 0; round < 2; round++) {
            D3DKMT_OPENADAPTERFROMLUID a = {{7, 9}, 0};
            CALL(OpenAdapterFromLuid, &a);
            D3DKMT_CREATEDEVICE d = {.hAdapter = a.hAdapter};
            CALL(CreateDevice, &d);
            D3DKMT_CREATEPAGINGQUEUE q = {.hDevice = d.hDevice};
            CALL(CreatePagingQueue, &q);
            D3DKMT_CREATEALLOCATION al = {.hDevice = d.hDevice, .Flags = 0x43};
            NTSTATUS status = create_allocations(&al, 3);
            put_handles(&al.hResource, 1);
            D3DKMT_SHAREOBJECTS s = {.ObjectCount = 1, .ObjectHandleArray = AT(2 * ARRAYS),
                                     .pSharedNtHandle = AT(2 * ARRAYS + 64)};
            CALL(ShareObjects, &s);
            put_handles((D3DKMT_HANDLE[]){allocation(0), allocation(1)}, 2);
            D3DDDI_MAKERESIDENT m = {.hPagingQueue = q.hPagingQueue, .NumAllocations = 2,
                                     .AllocationList = AT(2 * ARRAYS)};
            NTSTATUS resident = CALL(MakeResident, &m);
            if (round == 0) {
                if (fake.allocs < fake.fail_alloc_at) k = 200; /* past the last one */
                fake.fail_alloc_at = 0;
                continue;
            }
            assert_int_equal(status, STATUS_SUCCESS);
            assert_int_equal(resident, STATUS_SUCCESS);
        }
        end();
    }
}

static const struct vt_case cases[] = {
    VT_TEST(adapter_and_device_life, "", NULL),
    VT_TEST(handles_of_another_kind, "", NULL),
    VT_TEST(foreign_handles, "", NULL),
    VT_TEST(create_allocation_rules, "", NULL),
    VT_TEST(create_allocation_is_atomic, "", NULL),
    VT_TEST(unwritable_results_are_undone, "", NULL),
    VT_TEST(written_primaries, "SUB-10", NULL),
    VT_TEST(device_state_and_mark, "FLT-06 FLT-09 FLT-21", NULL),
    VT_TEST(make_resident_answers, "", NULL),
    VT_TEST(objects_die_during_waits, "", NULL),
    VT_TEST(asynchronous_wait, "", NULL),
    VT_TEST(addresses_are_folded, "", NULL),
    VT_TEST(driver_store_path, "", NULL),
    VT_TEST(shared_resource, "", NULL),
    VT_TEST(locks_die_with_their_handle, "", NULL),
    VT_TEST(a_lock_ends_with_its_device, "FLT-10", NULL),
    VT_TEST(tile_updates_reach_the_core, "TIL-16", NULL),
    VT_TEST(tile_updates_are_refused, "", NULL),
    VT_TEST(the_129th_update_waits, "TIL-19", NULL),
    VT_TEST(removed_adapter, "", NULL),
    VT_TEST(a_lost_adapter_takes_cleanup_only, "FLT-20", NULL),
    VT_TEST(absent_services, "", NULL),
    VT_TEST(each_allocation_fails, "", NULL),
};

int main(int argc, char **argv)
{
    return vt_main(argc, argv, "face", cases, VT_COUNT(cases));
}
