/* SPDX-License-Identifier: MIT */
/* test_share.c - shared resources as clients of several processes have them: face, core, host threads, a
 * driver and its simulated GPU.  If it fails, a client reads another's memory, or not the one it opened. */
#include "vt.h"

#include <string.h>

#include "host/instance.h"
#include "kmt/kmt.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"
#include "softgpu/ref/ref_commands.h"

#define PTR(p) ((D3DKMT_PTR)(uintptr_t)(p))
#define CALL(c, name, args) kmt_dispatch((c)->process, KMT_OP_##name, PTR(args))
#define MUST(c, name, args) assert_int_equal(CALL(c, name, args), STATUS_SUCCESS)
#define BYTES 0x40000u
#define MEMBERS 2u
enum { PLAIN = 0x1, GLOBAL = 0x3, NT = 0x43, WRITE = 1, EXECUTE = 2 };

static struct ref_kmd *ref;
static struct host_instance *host;
static struct kmt_face *face;

/* A VidMm process with one device, a paging queue, a context, a fence and a command buffer. */
struct client {
    struct kmt_process *process;
    D3DKMT_HANDLE device, queue, queue_fence, context, fence, buffer;
    uint64_t value, buffer_va;
    void *commands;
};

static void begin(void)
{
    const char *why = "";
    struct ref_options o;
    ref_options_default(&o, REF_FORMAT_A);
    o.threads = true;
    assert_int_equal(ref_create(&o, &ref), VIDMM_OK);
    if (host_instance_create(ref_ops(), ref, NULL, &why, &host) != VIDMM_OK) fail_msg("%s", why);
    const struct kmt_config config = {.env = host_instance_env(host), .adapter = host_instance_adapter(host),
                                      .luid = {7, 9}, .driver_store = "/store"};
    face = kmt_face_create(&config);
    assert_non_null(face);
}

static void end(void)
{
    kmt_face_destroy(face);
    if (!host_instance_destroy(host)) fail_msg("the adapter does not become idle");
    ref_destroy(ref);
}

/* ---- a client ----------------------------------------------------------------------------------- */

static NTSTATUS create(struct client *c, D3DKMT_CREATEALLOCATION *a, D3DDDI_ALLOCATIONINFO2 *info)
{
    static const struct ref_alloc_private data = {.magic = REF_ALLOC_MAGIC, .bytes = BYTES};
    for (uint32_t i = 0; i < a->NumAllocations; i++)
        info[i] = (D3DDDI_ALLOCATIONINFO2){.pPrivateDriverData = PTR(&data),
                                           .PrivateDriverDataSize = sizeof data};
    a->hDevice = c->device;
    a->pAllocationInfo2 = PTR(info);
    return CALL(c, CreateAllocation2, a);
}

static void wait_for(struct client *c, D3DKMT_HANDLE fence, uint64_t value)
{
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU w = {.hDevice = c->device, .ObjectCount = 1,
                                                    .ObjectHandleArray = PTR(&fence),
                                                    .FenceValueArray = PTR(&value)};
    MUST(c, WaitForSynchronizationObjectFromCpu, &w);
}

static NTSTATUS resident_and_mapped(struct client *c, D3DKMT_HANDLE al, uint64_t protection, uint64_t *va)
{
    D3DDDI_MAKERESIDENT m = {.hPagingQueue = c->queue, .NumAllocations = 1, .AllocationList = PTR(&al)};
    NTSTATUS status = CALL(c, MakeResident, &m);
    if (status < 0) return status;
    D3DDDI_MAPGPUVIRTUALADDRESS v = {.hPagingQueue = c->queue, .hAllocation = al,
                                     .SizeInPages = BYTES / 4096, .Protection = protection};
    status = CALL(c, MapGpuVirtualAddress, &v);
    if (status < 0) return status;
    wait_for(c, c->queue_fence, v.PagingFenceValue > m.PagingFenceValue ? v.PagingFenceValue
                                                                        : m.PagingFenceValue);
    *va = v.VirtualAddress;
    return STATUS_SUCCESS;
}

static void *lock(struct client *c, D3DKMT_HANDLE al)
{
    D3DKMT_LOCK2 l = {.hDevice = c->device, .hAllocation = al};
    MUST(c, Lock2, &l);
    return (void *)(uintptr_t)l.pData;
}

static void client_open(struct client *c)
{
    *c = (struct client){.process = kmt_process_create(face)};
    assert_non_null(c->process);
    D3DKMT_OPENADAPTERFROMLUID a = {{7, 9}, 0};
    MUST(c, OpenAdapterFromLuid, &a);
    D3DKMT_CREATEDEVICE d = {.hAdapter = a.hAdapter};
    MUST(c, CreateDevice, &d);
    c->device = d.hDevice;
    D3DKMT_CREATEPAGINGQUEUE q = {.hDevice = c->device};
    MUST(c, CreatePagingQueue, &q);
    c->queue = q.hPagingQueue;
    c->queue_fence = q.hSyncObject;
    D3DKMT_CREATECONTEXTVIRTUAL v = {.hDevice = c->device, .NodeOrdinal = REF_NODE_COMPUTE};
    MUST(c, CreateContextVirtual, &v);
    c->context = v.hContext;
    D3DKMT_CREATESYNCHRONIZATIONOBJECT2 s = {.hDevice = c->device};
    s.Info.Type = SYNC_MONITORED_FENCE;
    MUST(c, CreateSynchronizationObject2, &s);
    c->fence = s.hSyncObject;
    D3DDDI_ALLOCATIONINFO2 info;
    D3DKMT_CREATEALLOCATION al = {.NumAllocations = 1};
    assert_int_equal(create(c, &al, &info), STATUS_SUCCESS);
    c->buffer = info.hAllocation;
    c->commands = lock(c, c->buffer);
    assert_int_equal(resident_and_mapped(c, c->buffer, WRITE | EXECUTE, &c->buffer_va), STATUS_SUCCESS);
}

static void run(struct client *c, uint32_t words)
{
    words += ref_emit_end((uint64_t *)c->commands + words);
    D3DKMT_SUBMITCOMMAND s = {.Commands = c->buffer_va, .CommandLength = words * 8,
                              .BroadcastContextCount = 1, .BroadcastContext = {c->context}};
    MUST(c, SubmitCommand, &s);
    c->value++;
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMGPU g = {.hContext = c->context, .ObjectCount = 1,
                                                   .ObjectHandleArray = PTR(&c->fence)};
    g.MonitoredFenceValueArray = PTR(&c->value);
    MUST(c, SignalSynchronizationObjectFromGpu, &g);
    wait_for(c, c->fence, c->value);
}

static void gpu_fill(struct client *c, uint64_t va, uint32_t pattern)
{
    run(c, ref_emit_fill(c->commands, va, pattern, BYTES));
}

static uint32_t gpu_read(struct client *c, uint64_t va)
{
    run(c, ref_emit_copy(c->commands, c->buffer_va + 4096, va, 8));
    return *(const volatile uint32_t *)(const void *)((const uint8_t *)c->commands + 4096);
}

/* ---- resources ---------------------------------------------------------------------------------- */

static const char runtime_data[] = "of the runtime", driver_data[] = "of the driver, for the resource";

struct resource { D3DKMT_HANDLE handle, global; D3DKMT_HANDLE member[MEMBERS]; };

static void resource_new(struct client *c, uint32_t flags, struct resource *r)
{
    D3DDDI_ALLOCATIONINFO2 info[MEMBERS];
    D3DKMT_CREATEALLOCATION a = {.Flags = flags, .NumAllocations = MEMBERS,
                                 .pPrivateRuntimeData = PTR(runtime_data),
                                 .PrivateRuntimeDataSize = sizeof runtime_data,
                                 .pPrivateDriverData = PTR(driver_data),
                                 .PrivateDriverDataSize = sizeof driver_data};
    assert_int_equal(create(c, &a, info), STATUS_SUCCESS);
    *r = (struct resource){.handle = a.hResource, .global = a.hGlobalShare};
    for (uint32_t i = 0; i < MEMBERS; i++) r->member[i] = info[i].hAllocation;
}

static NTSTATUS share(struct client *c, const D3DKMT_HANDLE *object, uint32_t n, uint32_t access,
                      uint64_t *nt)
{
    D3DKMT_SHAREOBJECTS s = {.ObjectCount = n, .ObjectHandleArray = PTR(object), .DesiredAccess = access,
                             .pSharedNtHandle = PTR(nt)};
    return CALL(c, ShareObjects, &s);
}

/* What a query told, and where the open puts it. */
struct opened {
    D3DDDI_OPENALLOCATIONINFO2 info[MEMBERS + 1];
    char runtime[64], driver[64], total[256];
    D3DKMT_OPENRESOURCEFROMNTHANDLE args;
};

static NTSTATUS open_nt(struct client *c, uint64_t nt, struct opened *o)
{
    D3DKMT_QUERYRESOURCEINFOFROMNTHANDLE q = {.hDevice = c->device, .hNtHandle = nt};
    memset(o, 0, sizeof *o);
    NTSTATUS status = CALL(c, QueryResourceInfoFromNtHandle, &q);
    if (status < 0) return status;
    assert_int_equal(q.PrivateRuntimeDataSize, sizeof runtime_data);
    assert_int_equal(q.ResourcePrivateDriverDataSize, sizeof driver_data);
    assert_int_equal(q.TotalPrivateDriverDataSize, q.NumAllocations * sizeof(struct ref_alloc_private));
    o->args = (D3DKMT_OPENRESOURCEFROMNTHANDLE){
        .hDevice = c->device, .hNtHandle = nt, .NumAllocations = q.NumAllocations,
        .pOpenAllocationInfo2 = PTR(o->info), .pPrivateRuntimeData = PTR(o->runtime),
        .PrivateRuntimeDataSize = q.PrivateRuntimeDataSize, .pResourcePrivateDriverData = PTR(o->driver),
        .ResourcePrivateDriverDataSize = q.ResourcePrivateDriverDataSize,
        .pTotalPrivateDriverDataBuffer = PTR(o->total),
        .TotalPrivateDriverDataBufferSize = q.TotalPrivateDriverDataSize};
    return CALL(c, OpenResourceFromNtHandle, &o->args);
}

static void destroy(struct client *c, D3DKMT_HANDLE resource)
{
    D3DKMT_DESTROYALLOCATION2 d = {.hDevice = c->device, .hResource = resource, .AllocationCount = 7};
    MUST(c, DestroyAllocation2, &d); /* the count is ignored */
}

static uint64_t live(void)
{
    return __atomic_load_n(&vidmm_adapter_counters(host_instance_adapter(host))->allocs_live,
                           __ATOMIC_RELAXED);
}

/* ---- cases --------------------------------------------------------------------------------------- */

/* S14: written by one process, read by another at its own address; the creator ends, and it lives on. */
static void shared_between_processes(void **state)
{
    struct client a, b, c;
    struct resource r;
    struct opened o, p;
    uint64_t nt, at, there, third;
    (void)state;
    begin();
    client_open(&a);
    client_open(&b);
    client_open(&c);
    resource_new(&a, NT, &r);
    assert_int_equal(r.global, 0);
    assert_int_equal(share(&a, &r.handle, 1, WRITE, &nt), STATUS_SUCCESS);
    assert_int_equal(open_nt(&b, nt, &o), STATUS_SUCCESS);
    assert_string_equal(o.runtime, runtime_data);
    assert_string_equal(o.driver, driver_data);
    assert_int_equal(resident_and_mapped(&a, r.member[1], WRITE, &at), STATUS_SUCCESS);
    assert_int_equal(resident_and_mapped(&b, o.info[1].hAllocation, WRITE, &there), STATUS_SUCCESS);
    gpu_fill(&a, at, 0x11111111);
    assert_int_equal(gpu_read(&b, there + BYTES - 8), 0x11111111);
    gpu_fill(&b, there, 0x22222222);
    assert_int_equal(gpu_read(&a, at), 0x22222222);
    assert_int_equal(*(uint32_t *)lock(&a, r.member[1]), 0x22222222);
    D3DKMT_LOCK2 l = {.hDevice = b.device, .hAllocation = o.info[1].hAllocation};
    assert_int_equal(CALL(&b, Lock2, &l), STATUS_INVALID_PARAMETER); /* ALC-39 */
    kmt_process_destroy(a.process);
    assert_int_equal(gpu_read(&b, there), 0x22222222);
    assert_int_equal(open_nt(&c, nt, &p), STATUS_SUCCESS); /* by the name that the creator gave */
    assert_int_equal(resident_and_mapped(&c, p.info[1].hAllocation, WRITE, &third), STATUS_SUCCESS);
    assert_int_equal(gpu_read(&c, third), 0x22222222);
    destroy(&b, o.args.hResource);
    assert_int_equal(gpu_read(&c, third), 0x22222222);
    destroy(&c, p.args.hResource);
    assert_int_equal(open_nt(&b, nt, &o), STATUS_INVALID_PARAMETER); /* nobody has it any more */
    kmt_process_destroy(b.process);
    kmt_process_destroy(c.process);
    end();
}

static void global_names(void **state)
{
    struct client a, b;
    struct resource r;
    struct opened o = {0};
    uint64_t nt, there;
    (void)state;
    begin();
    client_open(&a);
    client_open(&b);
    resource_new(&a, GLOBAL, &r);
    assert_int_not_equal(r.global, 0);
    D3DKMT_QUERYRESOURCEINFO q = {.hDevice = b.device, .hGlobalShare = r.global};
    MUST(&b, QueryResourceInfo, &q);
    assert_int_equal(q.NumAllocations, MEMBERS);
    D3DKMT_GETSHAREDRESOURCEADAPTERLUID luid = {.hGlobalShare = r.global};
    MUST(&b, GetSharedResourceAdapterLuid, &luid);
    D3DKMT_OPENRESOURCE in = {.hDevice = b.device, .hGlobalShare = r.global, .NumAllocations = MEMBERS,
                              .pOpenAllocationInfo2 = PTR(o.info), .pPrivateRuntimeData = PTR(o.runtime),
                              .PrivateRuntimeDataSize = sizeof o.runtime,
                              .pResourcePrivateDriverData = PTR(o.driver),
                              .ResourcePrivateDriverDataSize = sizeof o.driver,
                              .pTotalPrivateDriverDataBuffer = PTR(o.total),
                              .TotalPrivateDriverDataBufferSize = sizeof o.total};
    MUST(&b, OpenResource, &in);
    assert_int_equal(in.TotalPrivateDriverDataBufferSize, q.TotalPrivateDriverDataSize);
    *(uint32_t *)lock(&a, r.member[0]) = 0x33333333;
    assert_int_equal(resident_and_mapped(&b, o.info[0].hAllocation, 0, &there), STATUS_SUCCESS);
    assert_int_equal(gpu_read(&b, there), 0x33333333);
    assert_int_equal(share(&a, &r.handle, 1, WRITE, &nt), STATUS_INVALID_PARAMETER); /* not by NT handle */
    assert_int_equal(open_nt(&b, r.global, &o), STATUS_INVALID_PARAMETER);
    in.hGlobalShare++;
    assert_int_equal(CALL(&b, OpenResource, &in), STATUS_INVALID_PARAMETER);
    kmt_process_destroy(b.process);
    kmt_process_destroy(a.process);
    end();
}

/* A handle without SHARED_ALLOCATION_WRITE opens for reading. */
static void rights_of_a_handle(void **state)
{
    struct client a, b;
    struct resource r;
    struct opened o;
    uint64_t read_only, writable, va;
    (void)state;
    begin();
    client_open(&a);
    client_open(&b);
    resource_new(&a, NT, &r);
    assert_int_equal(share(&a, &r.handle, 1, 0x80000000, &read_only), STATUS_SUCCESS);
    assert_int_equal(share(&a, &r.handle, 1, WRITE, &writable), STATUS_SUCCESS);
    assert_true(read_only != writable);
    *(uint32_t *)lock(&a, r.member[0]) = 0x44444444;
    assert_int_equal(open_nt(&b, read_only, &o), STATUS_SUCCESS);
    D3DKMT_HANDLE al = o.info[0].hAllocation;
    assert_int_equal(resident_and_mapped(&b, al, WRITE, &va), STATUS_ACCESS_DENIED);
    assert_int_equal(resident_and_mapped(&b, al, 0, &va), STATUS_SUCCESS);
    assert_int_equal(gpu_read(&b, va), 0x44444444);
    struct opened more;
    assert_int_equal(open_nt(&b, writable, &more), STATUS_NOT_SUPPORTED); /* rights belong to the open */
    destroy(&b, o.args.hResource);
    assert_int_equal(open_nt(&b, writable, &more), STATUS_SUCCESS);
    assert_int_equal(resident_and_mapped(&b, more.info[0].hAllocation, WRITE, &va), STATUS_SUCCESS);
    assert_int_equal(open_nt(&b, read_only, &o), STATUS_SUCCESS); /* it writes already */
    kmt_process_destroy(b.process);
    kmt_process_destroy(a.process);
    end();
}

/* Opened again by a device that has it: other handles, the same open. */
static void opened_twice_by_a_device(void **state)
{
    struct client a;
    struct resource r;
    struct opened o;
    uint64_t nt, va;
    (void)state;
    begin();
    client_open(&a);
    resource_new(&a, NT, &r);
    assert_int_equal(share(&a, &r.handle, 1, WRITE, &nt), STATUS_SUCCESS);
    assert_int_equal(open_nt(&a, nt, &o), STATUS_SUCCESS);
    assert_int_not_equal(o.info[0].hAllocation, r.member[0]);
    uint64_t n = live();
    assert_int_equal(resident_and_mapped(&a, r.member[0], WRITE, &va), STATUS_SUCCESS);
    gpu_fill(&a, va, 0x55555555);
    destroy(&a, r.handle);
    assert_int_equal(gpu_read(&a, va), 0x55555555); /* still mapped, by the second handle */
    assert_int_equal(*(uint32_t *)lock(&a, o.info[0].hAllocation), 0x55555555);
    assert_int_equal(live(), n);
    kmt_process_destroy(a.process);
    end();
}

static void what_may_be_shared(void **state)
{
    struct client a;
    struct resource plain, nt[2];
    uint64_t name = 0;
    (void)state;
    begin();
    client_open(&a);
    resource_new(&a, PLAIN, &plain);
    resource_new(&a, NT, &nt[0]);
    resource_new(&a, NT, &nt[1]);
    const D3DKMT_HANDLE two[4] = {nt[0].handle, nt[1].handle, nt[0].handle, nt[1].handle};
    const D3DKMT_HANDLE with_fence[2] = {nt[0].handle, a.fence};
    assert_int_equal(share(&a, &plain.handle, 1, WRITE, &name), STATUS_INVALID_PARAMETER);
    assert_int_equal(share(&a, &nt[0].member[0], 1, WRITE, &name), STATUS_INVALID_PARAMETER);
    assert_int_equal(share(&a, &a.context, 1, WRITE, &name), STATUS_INVALID_PARAMETER);
    assert_int_equal(share(&a, two, 0, WRITE, &name), STATUS_INVALID_PARAMETER);
    assert_int_equal(share(&a, two, 2, WRITE, &name), STATUS_INVALID_PARAMETER);
    assert_int_equal(share(&a, two, 4, WRITE, &name), STATUS_INVALID_PARAMETER);
    assert_int_equal(share(&a, with_fence, 2, WRITE, &name), STATUS_NOT_SUPPORTED);
    assert_int_equal(share(&a, &nt[0].handle, 1, WRITE, (uint64_t *)8), STATUS_INVALID_PARAMETER);
    assert_int_equal(name, 0);
    assert_int_equal(share(&a, &nt[0].handle, 1, WRITE, &name), STATUS_SUCCESS);
    kmt_process_destroy(a.process);
    end();
}

/* ALC-10, ALC-11, ALC-12, ALC-18. */
static void what_a_resource_is(void **state)
{
    struct client a;
    struct resource plain, shared;
    D3DDDI_ALLOCATIONINFO2 info;
    (void)state;
    begin();
    client_open(&a);
    uint64_t before = live();
    D3DKMT_CREATEALLOCATION empty = {.Flags = PLAIN}, nothing = {.Flags = 0};
    assert_int_equal(create(&a, &nothing, NULL), STATUS_INVALID_PARAMETER);
    assert_int_equal(create(&a, &empty, NULL), STATUS_SUCCESS);
    assert_int_not_equal(empty.hResource, 0);
    D3DKMT_CREATEALLOCATION append = {.hResource = empty.hResource, .NumAllocations = 1};
    assert_int_equal(create(&a, &append, &info), STATUS_SUCCESS);
    assert_int_equal(append.hResource, empty.hResource);
    resource_new(&a, PLAIN, &plain);
    resource_new(&a, GLOBAL, &shared);
    append.hResource = shared.handle;
    assert_int_equal(create(&a, &append, &info), STATUS_INVALID_PARAMETER);
    D3DKMT_CREATEALLOCATION alone = {.Flags = 0x2, .NumAllocations = 1};
    assert_int_equal(create(&a, &alone, &info), STATUS_INVALID_PARAMETER); /* shared, no resource */
    alone.Flags = 0x41;
    assert_int_equal(create(&a, &alone, &info), STATUS_INVALID_PARAMETER); /* NT security, not shared */
    assert_int_equal(live(), before + 1 + 2 * MEMBERS);
    const D3DKMT_HANDLE mixed[2] = {plain.member[0], shared.member[0]};
    D3DKMT_DESTROYALLOCATION2 d = {.hDevice = a.device, .phAllocationList = PTR(mixed), .AllocationCount = 2};
    assert_int_equal(CALL(&a, DestroyAllocation2, &d), STATUS_INVALID_PARAMETER);
    d.hResource = plain.handle; /* a resource and a list */
    assert_int_equal(CALL(&a, DestroyAllocation2, &d), STATUS_INVALID_PARAMETER);
    assert_int_equal(live(), before + 1 + 2 * MEMBERS);
    d = (D3DKMT_DESTROYALLOCATION2){.hDevice = a.device, .hResource = plain.handle, .AllocationCount = 9,
                                    .Flags = D3DDDICB_DESTROYALLOCATION2FLAGS_SynchronousDestroy};
    MUST(&a, DestroyAllocation2, &d);
    assert_int_equal(live(), before + 1 + MEMBERS);
    kmt_process_destroy(a.process);
    end();
}

/* ALC-25: what does not fit is refused, and nothing is left of it. */
static void opening_rules(void **state)
{
    struct client a, b;
    struct resource r;
    struct opened o;
    uint64_t nt;
    (void)state;
    begin();
    client_open(&a);
    client_open(&b);
    resource_new(&a, NT, &r);
    assert_int_equal(share(&a, &r.handle, 1, WRITE, &nt), STATUS_SUCCESS);
    assert_int_equal(open_nt(&b, nt, &o), STATUS_SUCCESS);
    destroy(&b, o.args.hResource);
    D3DKMT_OPENRESOURCEFROMNTHANDLE good = o.args, bad = good;
    bad.NumAllocations = MEMBERS + 1;
    assert_int_equal(CALL(&b, OpenResourceFromNtHandle, &bad), STATUS_INVALID_PARAMETER);
    bad.NumAllocations = MEMBERS - 1;
    assert_int_equal(CALL(&b, OpenResourceFromNtHandle, &bad), STATUS_INVALID_PARAMETER);
    bad = good;
    bad.TotalPrivateDriverDataBufferSize--;
    assert_int_equal(CALL(&b, OpenResourceFromNtHandle, &bad), STATUS_BUFFER_TOO_SMALL);
    bad = good;
    bad.PrivateRuntimeDataSize--;
    assert_int_equal(CALL(&b, OpenResourceFromNtHandle, &bad), STATUS_INVALID_PARAMETER);
    bad = good;
    bad.pOpenAllocationInfo2 = 8; /* nowhere */
    assert_int_equal(CALL(&b, OpenResourceFromNtHandle, &bad), STATUS_INVALID_PARAMETER);
    bad = good;
    bad.hDevice = a.context;
    assert_int_equal(CALL(&b, OpenResourceFromNtHandle, &bad), STATUS_INVALID_PARAMETER);
    D3DKMT_HANDLE foreign = r.member[0]; /* a handle of another process means nothing here */
    D3DDDI_MAKERESIDENT m = {.hPagingQueue = b.queue, .NumAllocations = 1, .AllocationList = PTR(&foreign)};
    assert_int_equal(CALL(&b, MakeResident, &m), STATUS_INVALID_PARAMETER);
    /* A member that its only owner has destroyed is no longer there to be opened. */
    D3DKMT_DESTROYALLOCATION2 d = {.hDevice = a.device, .phAllocationList = PTR(&r.member[0]),
                                   .AllocationCount = 1};
    MUST(&a, DestroyAllocation2, &d);
    assert_int_equal(CALL(&b, OpenResourceFromNtHandle, &good), STATUS_INVALID_PARAMETER);
    assert_int_equal(open_nt(&b, nt, &o), STATUS_SUCCESS);
    assert_int_equal(o.args.NumAllocations, MEMBERS - 1);
    kmt_process_destroy(b.process);
    kmt_process_destroy(a.process);
    end();
}

static const struct vt_case cases[] = {
    VT_TEST(shared_between_processes, "ALC-05 ALC-26 ALC-39", NULL),
    VT_TEST(global_names, "", NULL),
    VT_TEST(rights_of_a_handle, "ALC-25", NULL),
    VT_TEST(opened_twice_by_a_device, "", NULL),
    VT_TEST(what_may_be_shared, "ALC-24", NULL),
    VT_TEST(what_a_resource_is, "ALC-10 ALC-11 ALC-12 ALC-18", NULL),
    VT_TEST(opening_rules, "ALC-25", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "face_share", cases, VT_COUNT(cases)); }
