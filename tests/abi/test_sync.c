/* SPDX-License-Identifier: MIT */
/* test_sync.c - synchronization objects as a client has them: face, core, host threads, a driver and its
 * simulated GPU.  If it fails, a client's contexts run in the wrong order, or wait for ever. */
#define _GNU_SOURCE
#include "vt.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host/instance.h"
#include "kmt/kmt.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"

static struct ref_kmd *ref;
static struct host_instance *host;
static struct kmt_face *face;
static struct kmt_process *process;

#define PTR(p) ((D3DKMT_PTR)(uintptr_t)(p))
#define CALL(name, args) kmt_dispatch(process, KMT_OP_##name, PTR(args))

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
    process = kmt_process_create(face);
    assert_non_null(process);
}

static void end(void)
{
    kmt_process_destroy(process);
    kmt_face_destroy(face);
    if (!host_instance_destroy(host)) fail_msg("the adapter does not become idle");
    ref_destroy(ref);
}

/* ---- objects ------------------------------------------------------------------------------------ */

static D3DKMT_HANDLE device_new(void)
{
    D3DKMT_OPENADAPTERFROMLUID a = {{7, 9}, 0};
    assert_int_equal(CALL(OpenAdapterFromLuid, &a), STATUS_SUCCESS);
    D3DKMT_CREATEDEVICE d = {.hAdapter = a.hAdapter};
    assert_int_equal(CALL(CreateDevice, &d), STATUS_SUCCESS);
    return d.hDevice;
}

static void device_end(D3DKMT_HANDLE device)
{
    D3DKMT_DESTROYDEVICE d = {device};
    assert_int_equal(CALL(DestroyDevice, &d), STATUS_SUCCESS);
}

static D3DKMT_HANDLE context_new(D3DKMT_HANDLE device)
{
    D3DKMT_CREATECONTEXTVIRTUAL c = {.hDevice = device, .NodeOrdinal = REF_NODE_COMPUTE};
    assert_int_equal(CALL(CreateContextVirtual, &c), STATUS_SUCCESS);
    return c.hContext;
}

/* By the first form. */
static D3DKMT_HANDLE make(D3DKMT_HANDLE device, uint32_t type, uint32_t first, uint32_t second)
{
    D3DKMT_CREATESYNCHRONIZATIONOBJECT s = {.hDevice = device};
    s.Info.Type = type;
    s.Info.Semaphore.MaxCount = first; /* of a mutex: the initial state */
    s.Info.Semaphore.InitialCount = second;
    assert_int_equal(CALL(CreateSynchronizationObject, &s), STATUS_SUCCESS);
    return s.hSyncObject;
}

static NTSTATUS create2(D3DKMT_CREATESYNCHRONIZATIONOBJECT2 *s, uint32_t type, uint32_t flags)
{
    s->Info.Type = type;
    s->Info.Flags = flags;
    return CALL(CreateSynchronizationObject2, s);
}

static D3DKMT_HANDLE fence_new(D3DKMT_HANDLE device, const uint64_t **value)
{
    D3DKMT_CREATESYNCHRONIZATIONOBJECT2 s = {.hDevice = device};
    assert_int_equal(create2(&s, SYNC_MONITORED_FENCE, 0), STATUS_SUCCESS);
    *value = (const uint64_t *)(uintptr_t)s.Info.MonitoredFence.FenceValueCPUVirtualAddress;
    return s.hSyncObject;
}

static uint64_t now(const uint64_t *value) { return __atomic_load_n(value, __ATOMIC_ACQUIRE); }

/* ---- waits and signals -------------------------------------------------------------------------- */

static NTSTATUS take(D3DKMT_HANDLE context, D3DKMT_HANDLE sync)
{
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECT w = {context, 1, {sync}};
    return CALL(WaitForSynchronizationObject, &w);
}

static NTSTATUS give(D3DKMT_HANDLE context, D3DKMT_HANDLE sync)
{
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECT s = {context, 1, {sync}, 0};
    return CALL(SignalSynchronizationObject, &s);
}

static void mark(D3DKMT_HANDLE context, D3DKMT_HANDLE fence, uint64_t value)
{
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMGPU s = {.hContext = context, .ObjectCount = 1,
                                                   .ObjectHandleArray = PTR(&fence)};
    s.MonitoredFenceValueArray = PTR(&value);
    assert_int_equal(CALL(SignalSynchronizationObjectFromGpu, &s), STATUS_SUCCESS);
}

static void wait_cpu(D3DKMT_HANDLE device, D3DKMT_HANDLE fence, uint64_t value)
{
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU w = {.hDevice = device, .ObjectCount = 1,
                                                    .ObjectHandleArray = PTR(&fence),
                                                    .FenceValueArray = PTR(&value)};
    assert_int_equal(CALL(WaitForSynchronizationObjectFromCpu, &w), STATUS_SUCCESS);
}

static NTSTATUS signal_cpu(D3DKMT_HANDLE device, D3DKMT_HANDLE fence, uint64_t value, uint32_t flags)
{
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMCPU s = {.hDevice = device, .ObjectCount = 1,
                                                   .ObjectHandleArray = PTR(&fence),
                                                   .FenceValueArray = PTR(&value), .Flags = flags};
    return CALL(SignalSynchronizationObjectFromCpu, &s);
}

/* An event within ms; consumes it. */
static bool happens(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    uint64_t count;
    return poll(&p, 1, ms) == 1 && read(fd, &count, sizeof count) == sizeof count;
}

/* ---- cases -------------------------------------------------------------------------------------- */

static void first_forms_order_contexts(void **state)
{
    const uint64_t *value;
    (void)state;
    begin();
    D3DKMT_HANDLE a = device_new(), b = device_new();
    D3DKMT_HANDLE ca = context_new(a), cb = context_new(b), cc = context_new(b);
    D3DKMT_HANDLE m = make(a, SYNC_MUTEX, 1, 0), sem = make(a, SYNC_SEMAPHORE, 3, 1);
    D3DKMT_HANDLE f = fence_new(b, &value);
    assert_int_equal(take(ca, m), STATUS_SUCCESS);
    mark(ca, f, 1);
    wait_cpu(a, f, 1); /* it has the mutex now */
    assert_int_equal(take(cb, m), STATUS_SUCCESS);
    mark(cb, f, 2);
    assert_int_equal(take(cc, sem), STATUS_SUCCESS);
    assert_int_equal(take(cc, sem), STATUS_SUCCESS);
    usleep(20000);
    assert_int_equal(now(value), 1);
    assert_int_equal(give(cb, m), STATUS_SUCCESS); /* behind its own wait */
    assert_int_equal(give(ca, m), STATUS_SUCCESS);
    wait_cpu(b, f, 2);
    mark(cc, f, 3);
    usleep(20000);
    assert_int_equal(now(value), 2);
    assert_int_equal(give(ca, sem), STATUS_SUCCESS);
    wait_cpu(b, f, 3);
    assert_int_equal(take(ca, m), STATUS_SUCCESS);
    assert_int_equal(take(cb, m), STATUS_SUCCESS);
    mark(cb, f, 4);
    usleep(20000);
    assert_int_equal(now(value), 3);
    device_end(a); /* with the mutex in its hands, which is its own besides */
    wait_cpu(b, f, 4);
    end();
}

static void first_forms_refuse_what_they_do_not_know(void **state)
{
    const uint64_t *value;
    (void)state;
    begin();
    D3DKMT_HANDLE d = device_new(), c = context_new(d), f = fence_new(d, &value);
    D3DKMT_HANDLE m = make(d, SYNC_MUTEX, 1, 0);
    D3DKMT_CREATESYNCHRONIZATIONOBJECT s = {.hDevice = d};
    const uint32_t types[] = {0, SYNC_FENCE, SYNC_CPU_NOTIFICATION, SYNC_MONITORED_FENCE, 7};
    for (size_t i = 0; i < VT_COUNT(types); i++) {
        s.Info.Type = types[i];
        assert_int_equal(CALL(CreateSynchronizationObject, &s), STATUS_INVALID_PARAMETER);
    }
    s.Info.Type = SYNC_SEMAPHORE; /* max 0 */
    assert_int_equal(CALL(CreateSynchronizationObject, &s), STATUS_INVALID_PARAMETER);
    s.Info.Semaphore.MaxCount = 1;
    s.Info.Semaphore.InitialCount = 2;
    assert_int_equal(CALL(CreateSynchronizationObject, &s), STATUS_INVALID_PARAMETER);
    s.hDevice = c;
    s.Info.Semaphore.InitialCount = 1;
    assert_int_equal(CALL(CreateSynchronizationObject, &s), STATUS_INVALID_PARAMETER);
    assert_int_equal(take(c, f), STATUS_INVALID_PARAMETER);
    assert_int_equal(give(c, f), STATUS_INVALID_PARAMETER);
    assert_int_equal(take(d, m), STATUS_INVALID_PARAMETER);
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECT w = {c, 33, {m}};
    assert_int_equal(CALL(WaitForSynchronizationObject, &w), STATUS_INVALID_PARAMETER);
    w.ObjectCount = 0;
    assert_int_equal(CALL(WaitForSynchronizationObject, &w), STATUS_INVALID_PARAMETER);
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECT g = {c, 1, {m}, D3DDDICB_SIGNALFLAGS_EnqueueCpuEvent};
    assert_int_equal(CALL(SignalSynchronizationObject, &g), STATUS_INVALID_PARAMETER);
    assert_int_equal(signal_cpu(d, m, 1, 0), STATUS_INVALID_PARAMETER); /* the CPU has no part in it */
    D3DKMT_DESTROYSYNCHRONIZATIONOBJECT x = {m};
    assert_int_equal(CALL(DestroySynchronizationObject, &x), STATUS_SUCCESS);
    assert_int_equal(take(c, m), STATUS_INVALID_PARAMETER);
    end();
}

static void second_forms_mix_kinds(void **state)
{
    const uint64_t *value;
    (void)state;
    begin();
    D3DKMT_HANDLE d = device_new(), c = context_new(d), other = context_new(d), f = fence_new(d, &value);
    D3DKMT_CREATESYNCHRONIZATIONOBJECT2 s = {.hDevice = d};
    s.Info.Semaphore.MaxCount = 2;
    assert_int_equal(create2(&s, SYNC_SEMAPHORE, 0x10), STATUS_INVALID_PARAMETER); /* of monitored fences */
    assert_int_equal(create2(&s, SYNC_SEMAPHORE, 0), STATUS_SUCCESS);
    D3DKMT_HANDLE sem = s.hSyncObject, old;
    s = (D3DKMT_CREATESYNCHRONIZATIONOBJECT2){.hDevice = d};
    s.Info.Fence.FenceValue = 4;
    assert_int_equal(create2(&s, SYNC_FENCE, 0), STATUS_SUCCESS);
    old = s.hSyncObject;
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECT2 w = {c, 3, {f, sem, old}, {.Fence = {5}}};
    assert_int_equal(CALL(WaitForSynchronizationObject2, &w), STATUS_SUCCESS);
    mark(c, f, 9);
    assert_int_equal(signal_cpu(d, f, 5, 0), STATUS_SUCCESS);
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECT2 g = {.hContext = other, .ObjectCount = 1, .ObjectHandleArray = {old}};
    g.Fence.FenceValue = 5;
    assert_int_equal(CALL(SignalSynchronizationObject2, &g), STATUS_SUCCESS);
    usleep(20000);
    assert_int_equal(now(value), 5);
    g.ObjectHandleArray[0] = sem;
    assert_int_equal(CALL(SignalSynchronizationObject2, &g), STATUS_SUCCESS);
    wait_cpu(d, f, 9);
    /* A fence goes back only when that is asked for. */
    assert_int_equal(signal_cpu(d, f, 3, 0), STATUS_INVALID_PARAMETER);
    assert_int_equal(signal_cpu(d, f, 3, D3DDDICB_SIGNALFLAGS_AllowFenceRewind), STATUS_SUCCESS);
    assert_int_equal(now(value), 3);
    assert_int_equal(signal_cpu(d, f, 4, D3DDDICB_SIGNALFLAGS_EnqueueCpuEvent), STATUS_INVALID_PARAMETER);
    assert_int_equal(signal_cpu(d, f, 4, 8), STATUS_INVALID_PARAMETER);
    end();
}

/* Many contexts of one device; the event comes when the last one has got there. */
static void events_of_several_contexts(void **state)
{
    D3DKMT_HANDLE c[D3DKMT_MAX_BROADCAST_CONTEXTS + 1];
    const uint64_t *value;
    (void)state;
    begin();
    D3DKMT_HANDLE d = device_new(), f = fence_new(d, &value);
    int fd = eventfd(0, EFD_NONBLOCK);
    for (uint32_t i = 0; i <= D3DKMT_MAX_BROADCAST_CONTEXTS; i++) c[i] = context_new(d);
    uint64_t one = 1;
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMGPU w = {.hContext = c[33], .ObjectCount = 1,
                                                    .ObjectHandleArray = PTR(&f)};
    w.MonitoredFenceValueArray = PTR(&one);
    assert_int_equal(CALL(WaitForSynchronizationObjectFromGpu, &w), STATUS_SUCCESS);
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMGPU2 g = {
        .Flags = D3DDDICB_SIGNALFLAGS_EnqueueCpuEvent, .BroadcastContextCount = D3DKMT_MAX_BROADCAST_CONTEXTS,
        .BroadcastContextArray = PTR(c)};
    assert_int_equal(CALL(SignalSynchronizationObjectFromGpu2, &g), STATUS_INVALID_PARAMETER); /* no event */
    g.CpuEventHandle = (uint64_t)fd;
    g.ObjectCount = 1; /* an event in the place of objects */
    assert_int_equal(CALL(SignalSynchronizationObjectFromGpu2, &g), STATUS_INVALID_PARAMETER);
    g.ObjectCount = 0;
    g.BroadcastContextCount = 65;
    assert_int_equal(CALL(SignalSynchronizationObjectFromGpu2, &g), STATUS_INVALID_PARAMETER);
    g.BroadcastContextCount = 0;
    assert_int_equal(CALL(SignalSynchronizationObjectFromGpu2, &g), STATUS_INVALID_PARAMETER);
    g.BroadcastContextCount = 64;
    assert_int_equal(CALL(SignalSynchronizationObjectFromGpu2, &g), STATUS_SUCCESS);
    assert_false(happens(fd, 30));
    assert_int_equal(signal_cpu(d, f, 1, 0), STATUS_SUCCESS);
    assert_true(happens(fd, 10000));
    assert_false(happens(fd, 5)); /* once */
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECT2 s = {.hContext = c[64], .Flags = D3DDDICB_SIGNALFLAGS_EnqueueCpuEvent,
                                             .BroadcastContextCount = 65};
    memcpy(s.BroadcastContext, c, sizeof s.BroadcastContext);
    s.CpuEventHandle = (uint64_t)fd;
    assert_int_equal(CALL(SignalSynchronizationObject2, &s), STATUS_INVALID_PARAMETER);
    s.BroadcastContextCount = 64;
    assert_int_equal(CALL(SignalSynchronizationObject2, &s), STATUS_SUCCESS);
    assert_true(happens(fd, 10000));
    D3DKMT_HANDLE stranger = context_new(device_new());
    c[1] = stranger;
    g.BroadcastContextCount = 2;
    assert_int_equal(CALL(SignalSynchronizationObjectFromGpu2, &g), STATUS_INVALID_PARAMETER);
    end();
    close(fd);
}

/* A notification is signalled from a context; one that never comes ends with its device. */
static void cpu_notifications(void **state)
{
    const uint64_t *value;
    (void)state;
    begin();
    int fd = eventfd(0, EFD_NONBLOCK);
    D3DKMT_HANDLE d = device_new(), c = context_new(d), f = fence_new(d, &value);
    D3DKMT_CREATESYNCHRONIZATIONOBJECT2 s = {.hDevice = d};
    assert_int_equal(create2(&s, SYNC_CPU_NOTIFICATION, 0), STATUS_INVALID_PARAMETER); /* of nothing */
    s.Info.CPUNotification.Event = (uint64_t)fd;
    assert_int_equal(create2(&s, SYNC_CPU_NOTIFICATION, 0x100), STATUS_NOT_SUPPORTED); /* by the driver */
    assert_int_equal(create2(&s, SYNC_CPU_NOTIFICATION, 0), STATUS_SUCCESS);
    D3DKMT_HANDLE n = s.hSyncObject;
    assert_int_equal(create2(&s, SYNC_PERIODIC_MONITORED_FENCE, 0), STATUS_NOT_SUPPORTED);
    assert_int_equal(create2(&s, SYNC_MONITORED_FENCE, 0x100), STATUS_INVALID_PARAMETER);
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECT2 w = {c, 1, {n}, {.Fence = {1}}};
    assert_int_equal(CALL(WaitForSynchronizationObject2, &w), STATUS_INVALID_PARAMETER);
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECT2 g = {.hContext = c, .ObjectCount = 2, .ObjectHandleArray = {n, f}};
    g.Fence.FenceValue = 1;
    assert_int_equal(CALL(SignalSynchronizationObject2, &g), STATUS_SUCCESS);
    assert_true(happens(fd, 10000));
    wait_cpu(d, f, 1);
    w.ObjectHandleArray[0] = f;
    w.Fence.FenceValue = 100;
    assert_int_equal(CALL(WaitForSynchronizationObject2, &w), STATUS_SUCCESS);
    g.ObjectCount = 1;
    assert_int_equal(CALL(SignalSynchronizationObject2, &g), STATUS_SUCCESS);
    assert_false(happens(fd, 20));
    device_end(d);
    assert_true(happens(fd, 10000));
    end();
    close(fd);
}

/* Nothing is made on a device that is lost, whatever kind it is. */
static void a_lost_device_makes_no_objects(void **state)
{
    (void)state;
    begin();
    int fd = eventfd(0, EFD_NONBLOCK);
    D3DKMT_HANDLE d = device_new();
    D3DKMT_MARKDEVICEASERROR e = {.hDevice = d, .Reason = 0x80000000u};
    assert_int_equal(CALL(MarkDeviceAsError, &e), STATUS_SUCCESS);
    for (uint32_t type = SYNC_MUTEX; type <= SYNC_MONITORED_FENCE; type++) {
        D3DKMT_CREATESYNCHRONIZATIONOBJECT2 s = {.hDevice = d};
        if (type == SYNC_CPU_NOTIFICATION) s.Info.CPUNotification.Event = (uint64_t)fd;
        if (type == SYNC_SEMAPHORE) s.Info.Semaphore.MaxCount = 1;
        assert_int_equal(create2(&s, type, 0), STATUS_DEVICE_REMOVED);
        assert_int_equal(s.hSyncObject, 0);
    }
    end();
    close(fd);
}

static uint64_t packets_so_far(void)
{
    const struct vidmm_env *env = host_instance_env(host);
    assert_true(env->enter(env->ctx));
    uint64_t n = vidmm_adapter_counters(host_instance_adapter(host))->submits;
    env->leave(env->ctx);
    return n;
}

/* One call, one packet for each context, or none at all. */
static void submissions_go_to_several_contexts(void **state)
{
    static D3DKMT_SUBMITCOMMAND a;
    const uint64_t *value;
    (void)state;
    begin();
    D3DKMT_HANDLE d = device_new(), f = fence_new(d, &value), stranger = context_new(device_new());
    a = (D3DKMT_SUBMITCOMMAND){.Commands = 0x10000, .CommandLength = 8,
                               .Flags = D3DKMT_SUBMITCOMMANDFLAGS_NullRendering};
    for (uint32_t i = 0; i < 64; i++) a.BroadcastContext[i] = context_new(d);
    uint64_t before = packets_so_far();
    assert_int_equal(CALL(SubmitCommand, &a), STATUS_INVALID_PARAMETER); /* to none */
    a.BroadcastContextCount = 65;
    assert_int_equal(CALL(SubmitCommand, &a), STATUS_INVALID_PARAMETER);
    a.BroadcastContextCount = 64;
    a.NumPrimaries = 17;
    assert_int_equal(CALL(SubmitCommand, &a), STATUS_INVALID_PARAMETER);
    a.NumPrimaries = 0;
    D3DKMT_HANDLE last = a.BroadcastContext[63];
    const D3DKMT_HANDLE wrong[] = {0, d, f, stranger};
    for (size_t i = 0; i < VT_COUNT(wrong); i++) {
        a.BroadcastContext[63] = wrong[i];
        assert_int_equal(CALL(SubmitCommand, &a), STATUS_INVALID_PARAMETER);
    }
    a.BroadcastContext[63] = last;
    for (uint32_t n = 1; n <= 64; n += 63) {
        a.BroadcastContextCount = n;
        assert_int_equal(CALL(SubmitCommand, &a), STATUS_SUCCESS);
    }
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMGPU2 g = {
        .ObjectCount = 1, .ObjectHandleArray = PTR(&f), .BroadcastContextCount = 64,
        .BroadcastContextArray = PTR(a.BroadcastContext)};
    uint64_t one = 1;
    g.MonitoredFenceValueArray = PTR(&one);
    assert_int_equal(CALL(SignalSynchronizationObjectFromGpu2, &g), STATUS_SUCCESS);
    wait_cpu(d, f, 1);
    assert_int_equal(packets_so_far() - before, 1 + 64);
    end();
}

/* A written primary that is not on the list is refused, and nothing is queued. */
static void written_primaries_are_on_the_list(void **state)
{
    static D3DKMT_SUBMITCOMMAND a;
    struct ref_alloc_private data = {.magic = REF_ALLOC_MAGIC, .bytes = 65536, .supported = 4};
    D3DDDI_ALLOCATIONINFO2 info[2] = {{.pPrivateDriverData = PTR(&data),
                                       .PrivateDriverDataSize = sizeof data}};
    (void)state;
    begin();
    D3DKMT_HANDLE d = device_new(), c = context_new(d);
    info[1] = info[0];
    D3DKMT_CREATEALLOCATION made = {.hDevice = d, .NumAllocations = 2, .pAllocationInfo2 = PTR(info)};
    assert_int_equal(CALL(CreateAllocation2, &made), STATUS_SUCCESS);
    D3DKMT_CREATEPAGINGQUEUE q = {.hDevice = d};
    assert_int_equal(CALL(CreatePagingQueue, &q), STATUS_SUCCESS);
    const D3DKMT_HANDLE both[2] = {info[0].hAllocation, info[1].hAllocation};
    D3DDDI_MAKERESIDENT m = {.hPagingQueue = q.hPagingQueue, .NumAllocations = 1,
                             .AllocationList = PTR(both)};
    assert_true(CALL(MakeResident, &m) >= 0);
    a = (D3DKMT_SUBMITCOMMAND){.Commands = 0x10000, .CommandLength = 8, .BroadcastContextCount = 1,
                               .BroadcastContext = {c}, .Flags = D3DKMT_SUBMITCOMMANDFLAGS_NullRendering,
                               .NumPrimaries = 2, .WrittenPrimaries = {both[0], both[1]}};
    uint64_t before = packets_so_far();
    assert_int_equal(CALL(SubmitCommand, &a), STATUS_INVALID_PARAMETER);
    a.NumPrimaries = 1;
    assert_int_equal(CALL(SubmitCommand, &a), STATUS_SUCCESS);
    D3DKMT_EVICT e = {.hDevice = d, .NumAllocations = 1, .AllocationList = PTR(both)};
    assert_int_equal(CALL(Evict, &e), STATUS_SUCCESS);
    assert_int_equal(CALL(SubmitCommand, &a), STATUS_INVALID_PARAMETER);
    const uint64_t *value;
    D3DKMT_HANDLE f = fence_new(d, &value);
    mark(c, f, 1);
    wait_cpu(d, f, 1);
    assert_int_equal(packets_so_far() - before, 1);
    end();
}

static NTSTATUS open_named(D3DKMT_OPENSYNCOBJECTFROMNTHANDLE2 *o, D3DKMT_HANDLE device, uint64_t nt,
                           uint32_t flags)
{
    *o = (D3DKMT_OPENSYNCOBJECTFROMNTHANDLE2){.hNtHandle = nt, .hDevice = device, .Flags = flags};
    return CALL(OpenSyncObjectFromNtHandle2, o);
}

static void drop(D3DKMT_HANDLE sync)
{
    D3DKMT_DESTROYSYNCHRONIZATIONOBJECT x = {sync};
    assert_int_equal(CALL(DestroySynchronizationObject, &x), STATUS_SUCCESS);
}

/* By NT handle only; rights are chosen again for the new handle, and the fence lives as long as either. */
static void monitored_fences_are_shared_by_nt_handle(void **state)
{
    enum { SHARED = 1, NT = 2, NO_SIGNAL = 0x10, NO_WAIT = 0x20, STAYS = 0x40 };
    D3DKMT_CREATESYNCHRONIZATIONOBJECT2 s = {.hDevice = 0};
    D3DKMT_OPENSYNCOBJECTFROMNTHANDLE2 o;
    const uint64_t *value;
    uint64_t nt = 0;
    (void)state;
    begin();
    D3DKMT_HANDLE d = device_new(), other = device_new(), c = context_new(d), plain = fence_new(d, &value);
    s.hDevice = d;
    assert_int_equal(create2(&s, SYNC_MONITORED_FENCE, SHARED), STATUS_INVALID_PARAMETER);
    assert_int_equal(create2(&s, SYNC_MONITORED_FENCE, NT), STATUS_INVALID_PARAMETER);
    assert_int_equal(create2(&s, SYNC_MONITORED_FENCE, SHARED | NT | NO_SIGNAL | NO_WAIT),
                     STATUS_INVALID_PARAMETER);
    assert_int_equal(create2(&s, SYNC_SEMAPHORE, SHARED | NT), STATUS_NOT_SUPPORTED);
    assert_int_equal(create2(&s, SYNC_MONITORED_FENCE, SHARED | NT | NO_SIGNAL), STATUS_SUCCESS);
    D3DKMT_HANDLE f = s.hSyncObject;
    D3DKMT_SHAREOBJECTS sh = {.ObjectCount = 1, .ObjectHandleArray = PTR(&plain),
                              .pSharedNtHandle = PTR(&nt)};
    assert_int_equal(CALL(ShareObjects, &sh), STATUS_INVALID_PARAMETER);
    sh.ObjectHandleArray = PTR(&f);
    sh.pSharedNtHandle = 8; /* nowhere */
    assert_int_equal(CALL(ShareObjects, &sh), STATUS_INVALID_PARAMETER);
    sh.pSharedNtHandle = PTR(&nt);
    assert_int_equal(CALL(ShareObjects, &sh), STATUS_SUCCESS);
    assert_int_equal(open_named(&o, d, nt + 64, 0), STATUS_INVALID_PARAMETER);
    assert_int_equal(open_named(&o, d, nt | 1ull << 32, 0), STATUS_INVALID_PARAMETER);
    assert_int_equal(open_named(&o, d, nt, NO_SIGNAL | NO_WAIT), STATUS_INVALID_PARAMETER);
    assert_int_equal(open_named(&o, d, nt, 1u << 9), STATUS_INVALID_PARAMETER);
    assert_int_equal(open_named(&o, d, nt, STAYS), STATUS_NOT_SUPPORTED);
    assert_int_equal(open_named(&o, other, nt, 0), STATUS_NOT_SUPPORTED); /* in this release */
    assert_int_equal(open_named(&o, d, nt, NO_WAIT), STATUS_SUCCESS);
    assert_int_not_equal(o.hSyncObject, f);
    assert_true(o.MonitoredFence.FenceValueCPUVirtualAddress ==
                s.Info.MonitoredFence.FenceValueCPUVirtualAddress);
    assert_true(o.MonitoredFence.FenceValueGPUVirtualAddress ==
                s.Info.MonitoredFence.FenceValueGPUVirtualAddress);
    value = (const uint64_t *)(uintptr_t)o.MonitoredFence.FenceValueCPUVirtualAddress;
    assert_int_equal(signal_cpu(d, f, 1, 0), STATUS_ACCESS_DENIED);
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECT2 w = {c, 1, {o.hSyncObject}, {.Fence = {1}}};
    assert_int_equal(CALL(WaitForSynchronizationObject2, &w), STATUS_ACCESS_DENIED);
    w.ObjectHandleArray[0] = f;
    assert_int_equal(CALL(WaitForSynchronizationObject2, &w), STATUS_SUCCESS);
    assert_int_equal(signal_cpu(d, o.hSyncObject, 1, 0), STATUS_SUCCESS); /* through the one ... */
    wait_cpu(d, f, 1);                                                    /* ... seen through the other */
    drop(f);
    mark(c, o.hSyncObject, 2);
    mark(c, plain, 1);
    wait_cpu(d, plain, 1);
    assert_int_equal(now(value), 2);
    assert_int_equal(open_named(&o, d, nt, 0), STATUS_SUCCESS);
    wait_cpu(d, o.hSyncObject, 2);
    device_end(d); /* with two handles of it */
    assert_int_equal(open_named(&o, other, nt, 0), STATUS_INVALID_PARAMETER);
    end();
}

struct blocking { D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU args; NTSTATUS status; bool back; };

static void *block(void *arg)
{
    struct blocking *b = arg;
    b->status = CALL(WaitForSynchronizationObjectFromCpu, &b->args);
    __atomic_store_n(&b->back, true, __ATOMIC_RELEASE);
    return NULL;
}

/* Waits of the CPU, blocking and by event: any of them, all of them, up to 32. */
static void cpu_waits_for_any_and_for_all(void **state)
{
    D3DKMT_HANDLE f[33];
    uint64_t values[33];
    const uint64_t *value[33];
    (void)state;
    begin();
    D3DKMT_HANDLE d = device_new();
    int any = eventfd(0, EFD_NONBLOCK), all = eventfd(0, EFD_NONBLOCK);
    for (uint32_t i = 0; i < 33; i++) {
        f[i] = fence_new(d, &value[i]);
        values[i] = i + 1;
    }
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU w = {.hDevice = d, .ObjectCount = 33,
                                                    .ObjectHandleArray = PTR(f),
                                                    .FenceValueArray = PTR(values)};
    assert_int_equal(CALL(WaitForSynchronizationObjectFromCpu, &w), STATUS_INVALID_PARAMETER);
    w.ObjectCount = 0;
    assert_int_equal(CALL(WaitForSynchronizationObjectFromCpu, &w), STATUS_INVALID_PARAMETER);
    w.ObjectCount = 32;
    w.Flags = 2;
    assert_int_equal(CALL(WaitForSynchronizationObjectFromCpu, &w), STATUS_INVALID_PARAMETER);
    w.Flags = 0;
    struct blocking b[2] = {{.args = w}, {.args = w}};
    b[0].args.Flags = w.Flags = D3DDDI_WAITFORSYNCHRONIZATIONOBJECTFROMCPU_FLAGS_WaitAny;
    w.hAsyncEvent = (uint64_t)any;
    assert_int_equal(CALL(WaitForSynchronizationObjectFromCpu, &w), STATUS_SUCCESS);
    w.Flags = 0;
    w.hAsyncEvent = (uint64_t)all;
    assert_int_equal(CALL(WaitForSynchronizationObjectFromCpu, &w), STATUS_SUCCESS);
    pthread_t thread[2];
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&thread[i], NULL, block, &b[i]), 0);
    assert_false(happens(any, 30));
    assert_false(__atomic_load_n(&b[0].back, __ATOMIC_ACQUIRE));
    assert_int_equal(signal_cpu(d, f[20], values[20], 0), STATUS_SUCCESS);
    pthread_join(thread[0], NULL);
    assert_int_equal(b[0].status, STATUS_SUCCESS);
    assert_true(happens(any, 10000));
    for (uint32_t i = 0; i < 32; i++) {
        assert_false(__atomic_load_n(&b[1].back, __ATOMIC_ACQUIRE));
        if (i != 20) assert_int_equal(signal_cpu(d, f[i], values[i] + 5, 0), STATUS_SUCCESS);
    }
    pthread_join(thread[1], NULL);
    assert_int_equal(b[1].status, STATUS_SUCCESS);
    assert_true(happens(all, 10000));
    assert_int_equal(now(value[32]), 0);
    end();
    close(any);
    close(all);
}

struct destroying { D3DKMT_DESTROYALLOCATION2 args; NTSTATUS status; bool back; };

static void *destroy_it(void *arg)
{
    struct destroying *x = arg;
    x->status = CALL(DestroyAllocation2, &x->args);
    __atomic_store_n(&x->back, true, __ATOMIC_RELEASE);
    return NULL;
}

static uint64_t live_bytes(void)
{
    const struct vidmm_env *env = host_instance_env(host);
    assert_true(env->enter(env->ctx));
    uint64_t n = vidmm_adapter_counters(host_instance_adapter(host))->alloc_bytes_live;
    env->leave(env->ctx);
    return n;
}

/* SynchronousDestroy behind queued work returns with the memory, not before. */
static void synchronous_destroy_returns_with_the_memory(void **state)
{
    struct ref_alloc_private data = {.magic = REF_ALLOC_MAGIC, .bytes = 65536, .supported = 4};
    D3DDDI_ALLOCATIONINFO2 info = {.pPrivateDriverData = PTR(&data), .PrivateDriverDataSize = sizeof data};
    const uint64_t *value;
    (void)state;
    begin();
    D3DKMT_HANDLE d = device_new(), c = context_new(d), f = fence_new(d, &value);
    uint64_t before = live_bytes();
    D3DKMT_CREATEALLOCATION a = {.hDevice = d, .NumAllocations = 1, .pAllocationInfo2 = PTR(&info)};
    assert_int_equal(CALL(CreateAllocation2, &a), STATUS_SUCCESS);
    assert_true(live_bytes() > before);
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECT2 w = {c, 1, {f}, {.Fence = {1}}};
    assert_int_equal(CALL(WaitForSynchronizationObject2, &w), STATUS_SUCCESS);
    struct destroying x = {.args = {.hDevice = d, .phAllocationList = PTR(&info.hAllocation),
                                    .AllocationCount = 1,
                                    .Flags = D3DDDICB_DESTROYALLOCATION2FLAGS_SynchronousDestroy}};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, destroy_it, &x), 0);
    usleep(30000);
    assert_false(__atomic_load_n(&x.back, __ATOMIC_ACQUIRE));
    assert_true(live_bytes() > before);
    assert_int_equal(signal_cpu(d, f, 1, 0), STATUS_SUCCESS);
    pthread_join(thread, NULL);
    assert_int_equal(x.status, STATUS_SUCCESS);
    assert_int_equal(live_bytes(), before);
    end();
}

static const struct vt_case cases[] = {
    VT_TEST(first_forms_order_contexts, "", NULL),
    VT_TEST(first_forms_refuse_what_they_do_not_know, "SUB-22", NULL),
    VT_TEST(second_forms_mix_kinds, "SUB-18 SUB-21", NULL),
    VT_TEST(events_of_several_contexts, "SUB-22", NULL),
    VT_TEST(cpu_notifications, "SUB-18", NULL),
    VT_TEST(a_lost_device_makes_no_objects, "", NULL),
    VT_TEST(submissions_go_to_several_contexts, "SUB-05 SUB-33", NULL),
    VT_TEST(written_primaries_are_on_the_list, "SUB-10", NULL),
    VT_TEST(monitored_fences_are_shared_by_nt_handle, "SUB-19 SUB-18", NULL),
    VT_TEST(cpu_waits_for_any_and_for_all, "SUB-16 SUB-22", NULL),
    VT_TEST(synchronous_destroy_returns_with_the_memory, "ALC-21", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "face_sync", cases, VT_COUNT(cases)); }
