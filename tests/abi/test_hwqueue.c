/* SPDX-License-Identifier: MIT */
/* test_hwqueue.c - hardware queues as a client has them: face, core, host threads, the ref driver. If it
 * fails, a client's work does not reach its queue, its fence lies, or a dead handle still names something. */
#include "vt.h"

#include <string.h>

#include "host/instance.h"
#include "kmt/kmt.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"
#include "softgpu/ref/ref_commands.h"

#define PTR(p) ((D3DKMT_PTR)(uintptr_t)(p))
#define CALL(name, args) kmt_dispatch(process, KMT_OP_##name, PTR(args))
#define BUFFER_BYTES 65536u
#define RESULT (BUFFER_BYTES - 4096u)

static struct ref_kmd *ref;
static struct host_instance *host;
static struct kmt_face *face;
static struct kmt_process *process;

struct client {
    D3DKMT_HANDLE device;
    D3DKMT_CREATEPAGINGQUEUE paging;
    D3DKMT_CREATEHWCONTEXT c;
    D3DKMT_CREATEHWQUEUE q;
    uint64_t va;          /* of the buffer: commands, and results in its last page */
    uint8_t *cpu;
    uint32_t used;
    uint64_t next;        /* progress id handed out last */
};

static void wait_cpu(const struct client *me, D3DKMT_HANDLE fence, uint64_t value)
{
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU w = {.hDevice = me->device, .ObjectCount = 1,
                                                    .ObjectHandleArray = PTR(&fence),
                                                    .FenceValueArray = PTR(&value)};
    assert_int_equal(CALL(WaitForSynchronizationObjectFromCpu, &w), STATUS_SUCCESS);
}

static void make_buffer(struct client *me)
{
    struct ref_alloc_private in = {.magic = REF_ALLOC_MAGIC, .bytes = BUFFER_BYTES};
    D3DDDI_ALLOCATIONINFO2 info = {.pPrivateDriverData = PTR(&in), .PrivateDriverDataSize = sizeof in};
    D3DKMT_CREATEALLOCATION a = {.hDevice = me->device, .NumAllocations = 1, .pAllocationInfo2 = PTR(&info)};
    assert_int_equal(CALL(CreateAllocation2, &a), STATUS_SUCCESS);
    D3DDDI_MAKERESIDENT r = {.hPagingQueue = me->paging.hPagingQueue, .NumAllocations = 1,
                             .AllocationList = PTR(&info.hAllocation)};
    assert_true(CALL(MakeResident, &r) >= 0);
    D3DDDI_MAPGPUVIRTUALADDRESS m = {.hPagingQueue = me->paging.hPagingQueue, .hAllocation = info.hAllocation,
                                     .SizeInPages = BUFFER_BYTES / 4096};
    m.Protection = D3DDDIGPUVIRTUALADDRESS_PROTECTION_TYPE_Write |
                   D3DDDIGPUVIRTUALADDRESS_PROTECTION_TYPE_Execute;
    assert_true(CALL(MapGpuVirtualAddress, &m) >= 0);
    wait_cpu(me, me->paging.hSyncObject, m.PagingFenceValue);
    D3DKMT_LOCK2 l = {.hDevice = me->device, .hAllocation = info.hAllocation};
    assert_int_equal(CALL(Lock2, &l), STATUS_SUCCESS);
    me->va = m.VirtualAddress;
    me->cpu = (uint8_t *)(uintptr_t)l.pData;
}

static void begin(struct client *me)
{
    const char *why = "";
    struct ref_options o;
    memset(me, 0, sizeof *me);
    ref_options_default(&o, REF_FORMAT_A);
    o.threads = true;
    assert_int_equal(ref_create(&o, &ref), VIDMM_OK);
    if (host_instance_create(ref_ops(), ref, NULL, &why, &host) != VIDMM_OK) fail_msg("%s", why);
    const struct kmt_config config = {.env = host_instance_env(host), .adapter = host_instance_adapter(host),
                                      .luid = {7, 9}, .driver_store = "/store"};
    face = kmt_face_create(&config);
    process = kmt_process_create(face);
    D3DKMT_OPENADAPTERFROMLUID a = {{7, 9}, 0};
    assert_int_equal(CALL(OpenAdapterFromLuid, &a), STATUS_SUCCESS);
    D3DKMT_CREATEDEVICE d = {.hAdapter = a.hAdapter};
    assert_int_equal(CALL(CreateDevice, &d), STATUS_SUCCESS);
    me->device = me->paging.hDevice = d.hDevice;
    assert_int_equal(CALL(CreatePagingQueue, &me->paging), STATUS_SUCCESS);
    make_buffer(me);
    me->c = (D3DKMT_CREATEHWCONTEXT){.hDevice = d.hDevice, .NodeOrdinal = REF_NODE_COMPUTE};
    assert_int_equal(CALL(CreateHwContext, &me->c), STATUS_SUCCESS);
    me->q = (D3DKMT_CREATEHWQUEUE){.hHwContext = me->c.hHwContext};
    assert_int_equal(CALL(CreateHwQueue, &me->q), STATUS_SUCCESS);
}

static void end(void)
{
    kmt_process_destroy(process);
    kmt_face_destroy(face);
    if (!host_instance_destroy(host)) fail_msg("the adapter does not become idle");
    ref_destroy(ref);
}

static volatile uint64_t *progress(const struct client *me)
{
    return (volatile uint64_t *)(uintptr_t)me->q.HwQueueProgressFenceCPUVirtualAddress;
}

static D3DKMT_SUBMITCOMMANDTOHWQUEUE command(struct client *me, const uint64_t *words, uint32_t n)
{
    D3DKMT_SUBMITCOMMANDTOHWQUEUE s = {.hHwQueue = me->q.hHwQueue, .CommandLength = n * 8,
                                       .CommandBuffer = me->va + me->used,
                                       .HwQueueProgressFenceId = ++me->next};
    memcpy(me->cpu + me->used, words, n * 8);
    me->used += n * 8;
    return s;
}

static void add(struct client *me, uint64_t value)
{
    uint64_t words[REF_WORDS_MAX];
    D3DKMT_SUBMITCOMMANDTOHWQUEUE s = command(me, words, ref_emit_add64(words, me->va + RESULT, value));
    assert_int_equal(CALL(SubmitCommandToHwQueue, &s), STATUS_SUCCESS);
}

static uint64_t result(const struct client *me)
{
    return __atomic_load_n((uint64_t *)(void *)(me->cpu + RESULT), __ATOMIC_ACQUIRE);
}

/* ---- cases --------------------------------------------------------------------------------------- */

static void commands_show_their_progress(void **state)
{
    struct client me;
    (void)state;
    begin(&me);
    assert_int_equal(*progress(&me), 0);
    assert_true(me.q.HwQueueProgressFenceGPUVirtualAddress != 0);
    for (uint64_t i = 1; i <= 100; i++) {
        add(&me, 7);
        if (i % 10 != 0) continue;
        wait_cpu(&me, me.q.hHwQueueProgressFence, i);
        assert_int_equal(*progress(&me), i);
        assert_int_equal(result(&me), 7 * i);
    }
    end();
}

static void waits_and_signals_go_through_the_queue(void **state)
{
    struct client me;
    uint64_t one = 1, two = 2;
    (void)state;
    begin(&me);
    D3DKMT_CREATESYNCHRONIZATIONOBJECT2 s = {.hDevice = me.device, .Info.Type = SYNC_MONITORED_FENCE};
    assert_int_equal(CALL(CreateSynchronizationObject2, &s), STATUS_SUCCESS);
    D3DKMT_SUBMITWAITFORSYNCOBJECTSTOHWQUEUE w = {.hHwQueue = me.q.hHwQueue, .ObjectCount = 1,
                                                  .ObjectHandleArray = PTR(&s.hSyncObject),
                                                  .FenceValueArray = PTR(&one)};
    D3DKMT_SUBMITSIGNALSYNCOBJECTSTOHWQUEUE g = {.BroadcastHwQueueCount = 1, .ObjectCount = 1,
                                                 .BroadcastHwQueueArray = PTR(&me.q.hHwQueue),
                                                 .ObjectHandleArray = PTR(&s.hSyncObject),
                                                 .FenceValueArray = PTR(&two)};
    assert_int_equal(CALL(SubmitWaitForSyncObjectsToHwQueue, &w), STATUS_SUCCESS);
    add(&me, 1);
    assert_int_equal(CALL(SubmitSignalSyncObjectsToHwQueue, &g), STATUS_SUCCESS);
    assert_int_equal(result(&me), 0); /* it waits */
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMCPU cpu = {.hDevice = me.device, .ObjectCount = 1,
                                                     .ObjectHandleArray = PTR(&s.hSyncObject),
                                                     .FenceValueArray = PTR(&one)};
    assert_int_equal(CALL(SignalSynchronizationObjectFromCpu, &cpu), STATUS_SUCCESS);
    wait_cpu(&me, s.hSyncObject, 2);
    assert_int_equal(result(&me), 1);
    g.BroadcastHwQueueCount = 0;
    assert_int_equal(CALL(SubmitSignalSyncObjectsToHwQueue, &g), STATUS_INVALID_PARAMETER);
    g.BroadcastHwQueueCount = 65;
    assert_int_equal(CALL(SubmitSignalSyncObjectsToHwQueue, &g), STATUS_INVALID_PARAMETER);
    w.ObjectCount = 33;
    assert_int_equal(CALL(SubmitWaitForSyncObjectsToHwQueue, &w), STATUS_INVALID_PARAMETER);
    w.ObjectCount = 1;
    w.ObjectHandleArray = PTR(&me.q.hHwQueue); /* no sync object */
    assert_int_equal(CALL(SubmitWaitForSyncObjectsToHwQueue, &w), STATUS_INVALID_PARAMETER);
    end();
}

/* Ids must grow, contexts of the other kind are not served, undefined flags are refused. */
static void requests_are_refused(void **state)
{
    struct client me;
    uint64_t words[REF_WORDS_MAX];
    (void)state;
    begin(&me);
    D3DKMT_SUBMITCOMMANDTOHWQUEUE s = command(&me, words, ref_emit_spin(words, 1));
    s.HwQueueProgressFenceId = 5;
    assert_int_equal(CALL(SubmitCommandToHwQueue, &s), STATUS_SUCCESS);
    assert_int_equal(CALL(SubmitCommandToHwQueue, &s), STATUS_INVALID_PARAMETER);
    s.HwQueueProgressFenceId = 6;
    s.NumPrimaries = 17;
    assert_int_equal(CALL(SubmitCommandToHwQueue, &s), STATUS_INVALID_PARAMETER);
    s.NumPrimaries = 0;
    s.hHwQueue = me.c.hHwContext;
    assert_int_equal(CALL(SubmitCommandToHwQueue, &s), STATUS_INVALID_PARAMETER);
    D3DKMT_SUBMITCOMMAND plain = {.Commands = me.va, .CommandLength = 8, .BroadcastContextCount = 1,
                                  .BroadcastContext = {me.c.hHwContext}};
    assert_int_equal(CALL(SubmitCommand, &plain), STATUS_INVALID_PARAMETER);
    D3DKMT_CREATEHWCONTEXT c = {.hDevice = me.device, .NodeOrdinal = REF_NODE_PAGING};
    assert_int_equal(CALL(CreateHwContext, &c), STATUS_NOT_SUPPORTED);
    c.Flags = 1;
    assert_int_equal(CALL(CreateHwContext, &c), STATUS_INVALID_PARAMETER);
    D3DKMT_CREATEHWQUEUE q = {.hHwContext = me.c.hHwContext, .Flags = 1u << 4};
    assert_int_equal(CALL(CreateHwQueue, &q), STATUS_INVALID_PARAMETER);
    q = (D3DKMT_CREATEHWQUEUE){.hHwContext = me.device};
    assert_int_equal(CALL(CreateHwQueue, &q), STATUS_INVALID_PARAMETER);
    end();
}

/* Queues die with their context, their fences with them; either kind of creation gives such a context. */
static void handles_die_with_their_context(void **state)
{
    struct client me;
    uint64_t words[REF_WORDS_MAX];
    (void)state;
    begin(&me);
    add(&me, 1);
    wait_cpu(&me, me.q.hHwQueueProgressFence, 1);
    D3DKMT_DESTROYSYNCHRONIZATIONOBJECT own = {me.q.hHwQueueProgressFence}; /* the queue's */
    assert_int_equal(CALL(DestroySynchronizationObject, &own), STATUS_INVALID_PARAMETER);
    D3DKMT_DESTROYHWCONTEXT dc = {me.c.hHwContext};
    D3DKMT_DESTROYHWQUEUE dq = {me.q.hHwQueue};
    D3DKMT_CREATEHWQUEUE more = {.hHwContext = me.c.hHwContext};
    assert_int_equal(CALL(CreateHwQueue, &more), STATUS_SUCCESS);
    assert_int_equal(CALL(DestroyHwContext, &dc), STATUS_SUCCESS);
    assert_int_equal(CALL(DestroyHwContext, &dc), STATUS_INVALID_PARAMETER);
    assert_int_equal(CALL(DestroyHwQueue, &dq), STATUS_INVALID_PARAMETER);
    D3DKMT_SUBMITCOMMANDTOHWQUEUE s = command(&me, words, ref_emit_spin(words, 1));
    assert_int_equal(CALL(SubmitCommandToHwQueue, &s), STATUS_INVALID_PARAMETER);
    D3DKMT_CREATECONTEXTVIRTUAL v = {.hDevice = me.device, .NodeOrdinal = REF_NODE_COPY,
                                     .Flags = D3DDDI_CREATECONTEXTFLAGS_HwQueueSupported};
    assert_int_equal(CALL(CreateContextVirtual, &v), STATUS_SUCCESS);
    me.q = (D3DKMT_CREATEHWQUEUE){.hHwContext = v.hContext};
    assert_int_equal(CALL(CreateHwQueue, &me.q), STATUS_SUCCESS);
    me.next = 0;
    add(&me, 4);
    wait_cpu(&me, me.q.hHwQueueProgressFence, 1);
    assert_int_equal(result(&me), 5);
    dq.hHwQueue = me.q.hHwQueue;
    assert_int_equal(CALL(DestroyHwQueue, &dq), STATUS_SUCCESS);
    D3DKMT_DESTROYCONTEXT dv = {v.hContext};
    assert_int_equal(CALL(DestroyContext, &dv), STATUS_SUCCESS);
    end();
}

/* A fault is told: the progress fence goes to the maximum, later submissions are refused. */
static void a_fault_is_told(void **state)
{
    struct client me;
    uint64_t words[REF_WORDS_MAX];
    (void)state;
    begin(&me);
    D3DKMT_SUBMITCOMMANDTOHWQUEUE s = command(&me, words, ref_emit_write64(words, 0x7000000000ull, 1));
    assert_int_equal(CALL(SubmitCommandToHwQueue, &s), STATUS_SUCCESS);
    wait_cpu(&me, me.q.hHwQueueProgressFence, 1);
    assert_int_equal(*progress(&me), UINT64_MAX);
    s.HwQueueProgressFenceId = 9;
    assert_int_equal(CALL(SubmitCommandToHwQueue, &s), STATUS_DEVICE_REMOVED);
    end();
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(commands_show_their_progress, "SUB-24 SUB-01 PHY-07", NULL),
        VT_TEST(waits_and_signals_go_through_the_queue, "SUB-25 SUB-22", NULL),
        VT_TEST(requests_are_refused, "SUB-24", NULL),
        VT_TEST(handles_die_with_their_context, "SUB-24", NULL),
        VT_TEST(a_fault_is_told, "SUB-20", NULL),
    };
    return vt_main(argc, argv, "face_hwqueue", cases, VT_COUNT(cases));
}
