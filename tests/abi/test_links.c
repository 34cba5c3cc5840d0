/* SPDX-License-Identifier: MIT */
/* test_links.c - a link of two gpus as a client has it: face, core, host threads, two devices that reach each
 * other's memory. If it fails, an index or a mask names the wrong gpu, or engines of two gpus race. */
#include "vt.h"

#include <string.h>

#include "host/instance.h"
#include "kmt/kmt.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"
#include "softgpu/ref/ref_commands.h"

#define PTR(p) ((D3DKMT_PTR)(uintptr_t)(p))
#define CALL(name, args) kmt_dispatch(c->process, KMT_OP_##name, PTR(args))
#define MUST(name, args) assert_int_equal(CALL(name, args), STATUS_SUCCESS)
#define GPUS 2u
#define BYTES 0x40000u
#define X 0x40000000ull
#define COMMANDS 0x20000000ull
enum { WRITE = 1, EXECUTE = 2 };

struct client {
    struct ref_kmd *ref[GPUS];
    struct host_instance *host;
    struct kmt_face *face;
    struct kmt_process *process;
    D3DKMT_HANDLE adapter, device, queue[GPUS], queue_fence[GPUS], context[GPUS], fence, buffer;
    uint64_t value;
    void *commands;
};

static void bring_up(struct client *c)
{
    const char *why = "";
    for (uint32_t i = 0; i < GPUS; i++) {
        struct ref_options o;
        ref_options_default(&o, i == 0 ? REF_FORMAT_C : REF_FORMAT_B);
        o.threads = true;
        assert_int_equal(ref_create(&o, &c->ref[i]), VIDMM_OK);
    }
    ref_link(c->ref, GPUS);
    const struct vidmm_gpu peer = {ref_ops(), c->ref[1]};
    const struct host_config in = {.ops = ref_ops(), .kmd = c->ref[0], .peer = &peer, .peer_count = 1};
    if (host_instance_create_with(&in, &why, &c->host) != VIDMM_OK) fail_msg("%s", why);
    const struct kmt_config config = {.env = host_instance_env(c->host),
                                      .adapter = host_instance_adapter(c->host),
                                      .luid = {7, 9}, .driver_store = "/store"};
    c->face = kmt_face_create(&config);
    assert_non_null(c->face);
    c->process = kmt_process_create(c->face);
    assert_non_null(c->process);
}

static void end(struct client *c)
{
    kmt_process_destroy(c->process);
    kmt_face_destroy(c->face);
    if (!host_instance_destroy(c->host)) fail_msg("the adapter does not become idle");
    for (uint32_t i = 0; i < GPUS; i++) ref_destroy(c->ref[i]);
}

static void wait_for(struct client *c, D3DKMT_HANDLE fence, uint64_t value)
{
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU w = {.hDevice = c->device, .ObjectCount = 1,
                                                    .ObjectHandleArray = PTR(&fence),
                                                    .FenceValueArray = PTR(&value)};
    MUST(WaitForSynchronizationObjectFromCpu, &w);
}

static D3DKMT_HANDLE allocate(struct client *c, uint32_t gpu, uint32_t supported)
{
    struct ref_alloc_private data = {.magic = REF_ALLOC_MAGIC, .bytes = BYTES, .supported = supported,
                                     .preferred = supported != 0 ? 1 : 0, .gpu = gpu, .alignment = 65536};
    D3DDDI_ALLOCATIONINFO2 info = {.pPrivateDriverData = PTR(&data), .PrivateDriverDataSize = sizeof data};
    D3DKMT_CREATEALLOCATION a = {.hDevice = c->device, .NumAllocations = 1, .pAllocationInfo2 = PTR(&info)};
    MUST(CreateAllocation2, &a);
    D3DKMT_HANDLE al = info.hAllocation;
    D3DDDI_MAKERESIDENT m = {.hPagingQueue = c->queue[gpu], .NumAllocations = 1, .AllocationList = PTR(&al)};
    assert_true(CALL(MakeResident, &m) >= 0);
    wait_for(c, c->queue_fence[gpu], m.PagingFenceValue);
    return al;
}

static void map(struct client *c, uint32_t gpu, D3DKMT_HANDLE al, uint64_t base, uint64_t protection)
{
    D3DDDI_MAPGPUVIRTUALADDRESS v = {.hPagingQueue = c->queue[gpu], .BaseAddress = base, .hAllocation = al,
                                     .SizeInPages = BYTES / 4096, .Protection = protection};
    assert_true(CALL(MapGpuVirtualAddress, &v) >= 0);
    assert_true(v.VirtualAddress == base);
    wait_for(c, c->queue_fence[gpu], v.PagingFenceValue);
}

static void begin(struct client *c)
{
    *c = (struct client){0};
    bring_up(c);
    D3DKMT_OPENADAPTERFROMLUID a = {{7, 9}, 0};
    MUST(OpenAdapterFromLuid, &a);
    c->adapter = a.hAdapter;
    D3DKMT_CREATEDEVICE d = {.hAdapter = a.hAdapter};
    MUST(CreateDevice, &d);
    c->device = d.hDevice;
    for (uint32_t i = 0; i < GPUS; i++) {
        D3DKMT_CREATEPAGINGQUEUE q = {.hDevice = c->device, .PhysicalAdapterIndex = i};
        MUST(CreatePagingQueue, &q);
        c->queue[i] = q.hPagingQueue;
        c->queue_fence[i] = q.hSyncObject;
        D3DKMT_CREATECONTEXTVIRTUAL v = {.hDevice = c->device, .NodeOrdinal = REF_NODE_COMPUTE,
                                         .EngineAffinity = 1u << i};
        MUST(CreateContextVirtual, &v);
        c->context[i] = v.hContext;
    }
    D3DKMT_CREATESYNCHRONIZATIONOBJECT2 s = {.hDevice = c->device};
    s.Info.Type = SYNC_MONITORED_FENCE;
    MUST(CreateSynchronizationObject2, &s);
    c->fence = s.hSyncObject;
    c->buffer = allocate(c, 0, 0);
    D3DKMT_LOCK2 l = {.hDevice = c->device, .hAllocation = c->buffer};
    MUST(Lock2, &l);
    c->commands = (void *)(uintptr_t)l.pData;
    for (uint32_t i = 0; i < GPUS; i++) map(c, i, c->buffer, COMMANDS, WRITE | EXECUTE);
}

static void run(struct client *c, uint32_t gpu, uint32_t words)
{
    words += ref_emit_end((uint64_t *)c->commands + words);
    D3DKMT_SUBMITCOMMAND s = {.Commands = COMMANDS, .CommandLength = words * 8, .BroadcastContextCount = 1,
                              .BroadcastContext = {c->context[gpu]}};
    MUST(SubmitCommand, &s);
    c->value++;
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMGPU g = {.hContext = c->context[gpu], .ObjectCount = 1,
                                                   .ObjectHandleArray = PTR(&c->fence)};
    g.MonitoredFenceValueArray = PTR(&c->value);
    MUST(SignalSynchronizationObjectFromGpu, &g);
    wait_for(c, c->fence, c->value);
}

static uint32_t gpu_read(struct client *c, uint32_t gpu, uint64_t va)
{
    run(c, gpu, ref_emit_copy(c->commands, COMMANDS + 4096, va, 8));
    return *(const volatile uint32_t *)(const void *)((const uint8_t *)c->commands + 4096);
}

static NTSTATUS query(struct client *c, uint32_t type, void *data, uint32_t bytes)
{
    D3DKMT_QUERYADAPTERINFO a = {.hAdapter = c->adapter, .Type = type, .pPrivateDriverData = PTR(data),
                                 .PrivateDriverDataSize = bytes};
    return CALL(QueryAdapterInfo, &a);
}

static void gpus_are_told_by_their_index(void **state)
{
    struct client me, *c = &me;
    uint32_t count = 0;
    (void)state;
    begin(c);
    assert_int_equal(query(c, KMTQAITYPE_PHYSICALADAPTERCOUNT, &count, sizeof count), STATUS_SUCCESS);
    assert_int_equal(count, GPUS);
    for (uint32_t i = 0; i < GPUS; i++) {
        D3DKMT_QUERY_GPUMMU_CAPS caps = {.PhysicalAdapterIndex = i};
        assert_int_equal(query(c, KMTQAITYPE_QUERY_GPUMMU_CAPS, &caps, sizeof caps), STATUS_SUCCESS);
        assert_int_equal(caps.PhysicalAdapterIndex, i);
        assert_int_equal(caps.VirtualAddressBitCount, 40);
        bool no_execute = (caps.Flags & D3DKMT_GPUMMU_CAPS_NoExecuteMemorySupported) != 0;
        assert_int_equal(no_execute, i == 0); /* format B has no such bit */
    }
    D3DKMT_QUERY_GPUMMU_CAPS none = {.PhysicalAdapterIndex = GPUS};
    assert_int_equal(query(c, KMTQAITYPE_QUERY_GPUMMU_CAPS, &none, sizeof none), STATUS_INVALID_PARAMETER);
    D3DKMT_CREATEPAGINGQUEUE q = {.hDevice = c->device, .PhysicalAdapterIndex = GPUS};
    assert_int_equal(CALL(CreatePagingQueue, &q), STATUS_INVALID_PARAMETER);
    D3DKMT_CREATECONTEXTVIRTUAL v = {.hDevice = c->device, .EngineAffinity = 1u << GPUS};
    assert_int_equal(CALL(CreateContextVirtual, &v), STATUS_INVALID_PARAMETER);
    v.EngineAffinity = 3; /* exactly one engine */
    assert_int_equal(CALL(CreateContextVirtual, &v), STATUS_INVALID_PARAMETER);
    end(c);
}

/* The queue says whose tables change, the allocation whose memory they show. */
static void one_address_two_gpus(void **state)
{
    struct client me, *c = &me;
    (void)state;
    begin(c);
    D3DKMT_HANDLE first = allocate(c, 0, 1), second = allocate(c, 1, 1);
    map(c, 0, first, X, WRITE);
    map(c, 1, second, X, WRITE);
    run(c, 0, ref_emit_fill(c->commands, X, 0x11, BYTES));
    run(c, 1, ref_emit_fill(c->commands, X, 0x22, BYTES));
    assert_int_equal(gpu_read(c, 0, X + BYTES / 2), 0x11);
    assert_int_equal(gpu_read(c, 1, X + BYTES / 2), 0x22);
    for (uint32_t i = 1; i <= vt_rounds(50); i++) { /* self and peer by turns, under running engines */
        map(c, 1, i % 2 == 1 ? first : second, X, WRITE);
        assert_int_equal(gpu_read(c, 1, X + 4096), i % 2 == 1 ? i == 1 ? 0x11 : 0x1000 + i - 2 : 0x22);
        if (i % 2 == 1) run(c, 1, ref_emit_fill(c->commands, X, 0x1000 + i, BYTES));
        if (i % 2 == 1) assert_int_equal(gpu_read(c, 0, X + 8192), 0x1000 + i);
    }
    D3DKMT_FREEGPUVIRTUALADDRESS f = {.hAdapter = c->adapter, .BaseAddress = X, .Size = BYTES};
    MUST(FreeGpuVirtualAddress, &f);
    end(c);
}

static const struct vt_case cases[] = {
    VT_TEST(gpus_are_told_by_their_index, "ADP-32", NULL),
    VT_TEST(one_address_two_gpus, "LDA-05", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "face_links", cases, VT_COUNT(cases)); }
