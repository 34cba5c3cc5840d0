/* SPDX-License-Identifier: MIT */
/* test_render.c - physical mode as a client has it: face, core, host threads, the ref driver and its physical
 * node. If it fails, a client's buffer is not executed, executed with wrong addresses, or not refused. */
#include "vt.h"

#include <string.h>

#include "host/instance.h"
#include "kmt/kmt.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"
#include "softgpu/ref_physical.h"

static struct ref_kmd *ref;
static struct host_instance *host;
static struct kmt_face *face;
static struct kmt_process *process;
static struct vidmm_kmd_ops ops;
static vidmm_status verdict; /* of the next render, unless VIDMM_OK */
static uint32_t renders, patches;

#define PTR(p) ((D3DKMT_PTR)(uintptr_t)(p))
#define CALL(name, args) kmt_dispatch(process, KMT_OP_##name, PTR(args))
#define MIB (1u << 20)

static vidmm_status judge(void *kmd, struct vidmm_kmd_render *r, uint64_t *multipass)
{
    vidmm_status st = verdict;
    verdict = VIDMM_OK;
    renders++;
    return st != VIDMM_OK ? st : ref_ops()->render(kmd, r, multipass);
}

static vidmm_status count_patch(void *kmd, const struct vidmm_kmd_patch *a)
{
    patches++;
    return ref_ops()->patch(kmd, a);
}

struct client {
    D3DKMT_HANDLE device, fence;
    D3DKMT_CREATEPAGINGQUEUE queue;
    D3DKMT_CREATECONTEXT c;
    const uint64_t *value;
    uint64_t next;
    uint32_t words, used, slots;
};

static void begin(struct client *me)
{
    const char *why = "";
    struct ref_options o;
    memset(me, 0, sizeof *me);
    renders = patches = 0;
    verdict = VIDMM_OK;
    ref_options_default(&o, REF_FORMAT_A);
    o.threads = true;
    o.physical = true;
    ops = *ref_ops();
    ops.render = judge;
    ops.patch = count_patch;
    assert_int_equal(ref_create(&o, &ref), VIDMM_OK);
    if (host_instance_create(&ops, ref, NULL, &why, &host) != VIDMM_OK) fail_msg("%s", why);
    const struct kmt_config config = {.env = host_instance_env(host), .adapter = host_instance_adapter(host),
                                      .luid = {7, 9}, .driver_store = "/store"};
    face = kmt_face_create(&config);
    process = kmt_process_create(face);
    D3DKMT_OPENADAPTERFROMLUID a = {{7, 9}, 0};
    assert_int_equal(CALL(OpenAdapterFromLuid, &a), STATUS_SUCCESS);
    D3DKMT_CREATEDEVICE d = {.hAdapter = a.hAdapter};
    assert_int_equal(CALL(CreateDevice, &d), STATUS_SUCCESS);
    me->device = me->queue.hDevice = d.hDevice;
    assert_int_equal(CALL(CreatePagingQueue, &me->queue), STATUS_SUCCESS);
    me->c = (D3DKMT_CREATECONTEXT){.hDevice = d.hDevice, .NodeOrdinal = REF_NODE_PHYSICAL};
    assert_int_equal(CALL(CreateContext, &me->c), STATUS_SUCCESS);
    D3DKMT_CREATESYNCHRONIZATIONOBJECT2 s = {.hDevice = d.hDevice, .Info.Type = SYNC_MONITORED_FENCE};
    assert_int_equal(CALL(CreateSynchronizationObject2, &s), STATUS_SUCCESS);
    me->fence = s.hSyncObject;
    me->value = (const uint64_t *)(uintptr_t)s.Info.MonitoredFence.FenceValueCPUVirtualAddress;
}

static void end(void)
{
    kmt_process_destroy(process);
    kmt_face_destroy(face);
    if (!host_instance_destroy(host)) fail_msg("the adapter does not become idle");
    ref_destroy(ref);
}

static void wait_cpu(const struct client *me, D3DKMT_HANDLE fence, uint64_t value)
{
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU w = {.hDevice = me->device, .ObjectCount = 1,
                                                    .ObjectHandleArray = PTR(&fence),
                                                    .FenceValueArray = PTR(&value)};
    assert_int_equal(CALL(WaitForSynchronizationObjectFromCpu, &w), STATUS_SUCCESS);
}

/* Everything rendered so far has been executed. */
static void finish(struct client *me)
{
    uint64_t value = ++me->next;
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMGPU s = {
        .hContext = me->c.hContext, .ObjectCount = 1, .ObjectHandleArray = PTR(&me->fence),
        .MonitoredFenceValueArray = PTR(&value)};
    assert_int_equal(CALL(SignalSynchronizationObjectFromGpu, &s), STATUS_SUCCESS);
    wait_cpu(me, me->fence, value);
}

static D3DKMT_HANDLE allocate(const struct client *me, uint32_t flags)
{
    struct ref_alloc_private in = {.magic = REF_ALLOC_MAGIC, .bytes = MIB, .supported = 1 | 4, .preferred = 1,
                                   .alignment = 65536, .flags = flags};
    D3DDDI_ALLOCATIONINFO2 info = {.pPrivateDriverData = PTR(&in), .PrivateDriverDataSize = sizeof in};
    D3DKMT_CREATEALLOCATION a = {.hDevice = me->device, .NumAllocations = 1, .pAllocationInfo2 = PTR(&info)};
    assert_int_equal(CALL(CreateAllocation2, &a), STATUS_SUCCESS);
    return info.hAllocation;
}

static void resident(const struct client *me, D3DKMT_HANDLE allocation)
{
    D3DDDI_MAKERESIDENT r = {.hPagingQueue = me->queue.hPagingQueue, .NumAllocations = 1,
                             .AllocationList = PTR(&allocation)};
    NTSTATUS status = CALL(MakeResident, &r);
    assert_true(status == STATUS_SUCCESS || status == STATUS_PENDING);
    if (status == STATUS_PENDING) wait_cpu(me, me->queue.hSyncObject, r.PagingFenceValue);
}

static D3DKMT_HANDLE physical(const struct client *me)
{
    D3DKMT_HANDLE a = allocate(me, VIDMM_ALLOCATION_ACCESSED_PHYSICALLY);
    resident(me, a);
    return a;
}

static uint64_t word_of(const struct client *me, D3DKMT_HANDLE allocation, uint32_t index)
{
    D3DKMT_LOCK2 l = {.hDevice = me->device, .hAllocation = allocation};
    assert_int_equal(CALL(Lock2, &l), STATUS_SUCCESS);
    uint64_t v = ((const uint64_t *)(uintptr_t)l.pData)[index];
    D3DKMT_UNLOCK2 u = {me->device, allocation};
    assert_int_equal(CALL(Unlock2, &u), STATUS_SUCCESS);
    return v;
}

/* ---- the client's buffers ------------------------------------------------------------------------ */

static uint32_t use(struct client *me, D3DKMT_HANDLE allocation, bool write)
{
    D3DDDI_ALLOCATIONLIST *l = (D3DDDI_ALLOCATIONLIST *)(uintptr_t)me->c.pAllocationList;
    l[me->used] = (D3DDDI_ALLOCATIONLIST){allocation, write ? D3DDDI_ALLOCATIONLIST_WriteOperation : 0};
    return me->used++;
}

static D3DDDI_PATCHLOCATIONLIST *patch_list(const struct client *me)
{
    return (D3DDDI_PATCHLOCATIONLIST *)(uintptr_t)me->c.pPatchLocationList;
}

static uint64_t *command(const struct client *me) { return (uint64_t *)(uintptr_t)me->c.pCommandBuffer; }

static void put_write(struct client *me, uint32_t index, uint32_t offset, uint64_t value)
{
    patch_list(me)[me->slots++] = (D3DDDI_PATCHLOCATIONLIST){
        .AllocationIndex = index, .AllocationOffset = offset, .PatchOffset = (me->words + 1) * 8};
    me->words += phys_emit_write64(command(me) + me->words, value);
}

static NTSTATUS render_as(struct client *me, D3DKMT_RENDER *r)
{
    r->hContext = me->c.hContext;
    if (r->CommandLength == 0) r->CommandLength = me->words * 8 - r->CommandOffset;
    if (r->AllocationCount == 0) r->AllocationCount = me->used;
    if (r->PatchLocationCount == 0) r->PatchLocationCount = me->slots;
    NTSTATUS status = CALL(Render, r);
    me->words = me->used = me->slots = 0;
    if (status != STATUS_SUCCESS) return status;
    me->c.pCommandBuffer = r->pNewCommandBuffer;
    me->c.CommandBufferSize = r->NewCommandBufferSize;
    me->c.pAllocationList = r->pNewAllocationList;
    me->c.AllocationListSize = r->NewAllocationListSize;
    me->c.pPatchLocationList = r->pNewPatchLocationList;
    me->c.PatchLocationListSize = r->NewPatchLocationListSize;
    return status;
}

static NTSTATUS render(struct client *me)
{
    D3DKMT_RENDER r = {0};
    return render_as(me, &r);
}

/* ---- cases --------------------------------------------------------------------------------------- */

/* A client that only knows handles gets its bytes written where the handle's memory is. */
static void a_buffer_is_executed(void **state)
{
    struct client me;
    (void)state;
    begin(&me);
    assert_int_equal(me.c.CommandBufferSize, REF_DMA_BYTES);
    assert_int_equal(me.c.AllocationListSize, REF_ALLOCATION_LIST);
    assert_int_equal(me.c.PatchLocationListSize, REF_PATCH_LIST);
    assert_int_equal(me.c.CommandBuffer, 0);
    D3DKMT_HANDLE a = physical(&me), b = physical(&me);
    for (uint32_t i = 0; i < 100; i++) {
        uint32_t ia = use(&me, a, true), ib = use(&me, b, true);
        put_write(&me, ia, 8 * i, i);
        put_write(&me, ib, 8 * i, 1000 + i);
        assert_int_equal(render(&me), STATUS_SUCCESS);
        if (i != 50) continue;
        finish(&me);
        assert_int_equal(word_of(&me, b, 10), 1010); /* it moves meanwhile */
    }
    finish(&me);
    assert_int_equal(renders, 100);
    assert_true(patches >= 100);
    for (uint32_t i = 0; i < 100; i += 9) {
        assert_int_equal(word_of(&me, a, i), i);
        assert_int_equal(word_of(&me, b, i), 1000 + i);
    }
    end();
}

/* Every status of the documents for Render comes out as itself. */
static void statuses(void **state)
{
    static const struct { vidmm_status in; NTSTATUS out; } table[] = {
        {VIDMM_ILLEGAL_INSTRUCTION, STATUS_ILLEGAL_INSTRUCTION},
        {VIDMM_PRIVILEGED_INSTRUCTION, STATUS_PRIVILEGED_INSTRUCTION},
        {VIDMM_INVALID_USER_BUFFER, STATUS_INVALID_USER_BUFFER},
        {VIDMM_INVALID_HANDLE, STATUS_INVALID_HANDLE},
        {VIDMM_ALLOCATION_INVALID, STATUS_GRAPHICS_ALLOCATION_INVALID},
        {VIDMM_BUFFER_FULL, STATUS_GRAPHICS_INSUFFICIENT_DMA_BUFFER},
        {VIDMM_NO_MEMORY, STATUS_NO_MEMORY},
        {VIDMM_INVALID, STATUS_INVALID_PARAMETER},
    };
    struct client me;
    (void)state;
    begin(&me);
    D3DKMT_HANDLE a = physical(&me);
    for (size_t i = 0; i < VT_COUNT(table); i++) {
        verdict = table[i].in;
        put_write(&me, use(&me, a, true), 0, 1);
        assert_int_equal(render(&me), table[i].out);
    }
    put_write(&me, use(&me, a, true), 0, 1);
    command(&me)[0] = phys_header(PHYS_PRIVILEGED, 3, 0); /* and by the driver itself */
    assert_int_equal(render(&me), STATUS_PRIVILEGED_INSTRUCTION);
    put_write(&me, use(&me, a + 64, true), 0, 1);
    assert_int_equal(render(&me), STATUS_INVALID_HANDLE);
    put_write(&me, use(&me, a, true), 0, 1);
    assert_int_equal(render(&me), STATUS_SUCCESS);
    finish(&me);
    end();
}

/* What the client gives is checked before anything is done with it. */
static void bad_arguments(void **state)
{
    struct client me;
    (void)state;
    begin(&me);
    D3DKMT_HANDLE a = physical(&me), n = allocate(&me, 0);
    resident(&me, n);
    for (uint32_t i = 0; i < 12; i++) {
        NTSTATUS want = STATUS_INVALID_PARAMETER;
        D3DKMT_RENDER r = {0};
        put_write(&me, use(&me, i == 0 ? n : a, true), 0, 1); /* 0: not accessed physically */
        switch (i) {
        case 1: patch_list(&me)->AllocationIndex = 1; break;
        case 2: patch_list(&me)->AllocationIndex = 64; break;
        case 3: patch_list(&me)->Bits = 1u << 24; break;
        case 4: patch_list(&me)->PatchOffset = 1u << 20; break;
        case 5: ((D3DDDI_ALLOCATIONLIST *)(uintptr_t)me.c.pAllocationList)->Bits |= 1u << 5; break;
        case 6: r.Flags = D3DKMT_RENDERFLAGS_RenderKm; break;
        case 7: r.Flags = 1u << 7; break;
        case 8: r.CommandLength = REF_DMA_BYTES + 8; break;
        case 9: r.AllocationCount = REF_ALLOCATION_LIST + 1; break;
        case 10: r.PatchLocationCount = REF_PATCH_LIST + 1; break;
        case 11: r.BroadcastContextCount = 65; break;
        default: break;
        }
        NTSTATUS got = render_as(&me, &r);
        if (got != want) fail_msg("row %u: %x", i, (unsigned)got);
    }
    assert_int_equal(renders, 0);
    put_write(&me, use(&me, a, true), 0, 1); /* the device is as it was */
    assert_int_equal(render(&me), STATUS_SUCCESS);
    finish(&me);
    D3DKMT_HANDLE e = allocate(&me, VIDMM_ALLOCATION_ACCESSED_PHYSICALLY);
    put_write(&me, use(&me, e, true), 0, 1); /* not resident: this ends it */
    assert_int_equal(render(&me), STATUS_DEVICE_REMOVED);
    put_write(&me, use(&me, a, true), 0, 1);
    assert_int_equal(render(&me), STATUS_DEVICE_REMOVED);
    D3DKMT_GETDEVICESTATE s = {.hDevice = me.device, .StateType = DEVICESTATE_EXECUTION};
    assert_int_equal(CALL(GetDeviceState, &s), STATUS_SUCCESS);
    assert_int_equal(s.ExecutionState, VIDMM_DEVICE_DMA_FAULT);
    end();
}

/* Each service for its own kind of context. */
static void services_do_not_cross(void **state)
{
    struct client me;
    (void)state;
    begin(&me);
    D3DKMT_CREATECONTEXTVIRTUAL v = {.hDevice = me.device, .NodeOrdinal = REF_NODE_COMPUTE};
    assert_int_equal(CALL(CreateContextVirtual, &v), STATUS_SUCCESS);
    D3DKMT_RENDER r = {.hContext = v.hContext, .CommandLength = 8};
    assert_int_equal(CALL(Render, &r), STATUS_INVALID_PARAMETER);
    D3DKMT_SUBMITCOMMAND s = {.Commands = 65536, .CommandLength = 8, .BroadcastContextCount = 1};
    s.BroadcastContext[0] = me.c.hContext;
    assert_int_equal(CALL(SubmitCommand, &s), STATUS_INVALID_PARAMETER);
    v.NodeOrdinal = REF_NODE_PHYSICAL;
    assert_int_equal(CALL(CreateContextVirtual, &v), STATUS_NOT_SUPPORTED);
    D3DKMT_CREATECONTEXT c = {.hDevice = me.device, .NodeOrdinal = REF_NODE_COMPUTE};
    assert_int_equal(CALL(CreateContext, &c), STATUS_NOT_SUPPORTED);
    c.NodeOrdinal = REF_NODE_PHYSICAL;
    c.Flags = D3DDDI_CREATECONTEXTFLAGS_HwQueueSupported;
    assert_int_equal(CALL(CreateContext, &c), STATUS_INVALID_PARAMETER);
    end();
}

/* Buffers grow and shrink on request, never below what the driver asked for. */
static void buffers_change_their_size(void **state)
{
    struct client me;
    (void)state;
    begin(&me);
    D3DKMT_HANDLE a = physical(&me);
    D3DKMT_RENDER r = {.Flags = 7, .NewCommandBufferSize = 65536, .NewAllocationListSize = 1000,
                       .NewPatchLocationListSize = 3000};
    put_write(&me, use(&me, a, true), 0, 1);
    assert_int_equal(render_as(&me, &r), STATUS_SUCCESS);
    assert_int_equal(me.c.CommandBufferSize, 65536);
    assert_int_equal(me.c.AllocationListSize, 1000);
    assert_int_equal(me.c.PatchLocationListSize, 3000);
    uint32_t index = use(&me, a, true);
    for (uint32_t i = 0; i < 2000; i++) put_write(&me, index, 8 * i, i);
    r = (D3DKMT_RENDER){.Flags = D3DKMT_RENDERFLAGS_ResizePatchLocationList, .NewPatchLocationListSize = 1};
    assert_int_equal(render_as(&me, &r), STATUS_SUCCESS);
    assert_int_equal(me.c.CommandBufferSize, 65536);
    assert_int_equal(me.c.PatchLocationListSize, REF_PATCH_LIST);
    finish(&me);
    for (uint32_t i = 0; i < 2000; i += 333) assert_int_equal(word_of(&me, a, i), i);
    me.words = 2; /* a buffer that starts later in the block */
    put_write(&me, use(&me, a, true), 64, 77);
    r = (D3DKMT_RENDER){.CommandOffset = 16};
    assert_int_equal(render_as(&me, &r), STATUS_SUCCESS);
    finish(&me);
    assert_int_equal(word_of(&me, a, 8), 77);
    end();
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(a_buffer_is_executed, "PHY-01 PHY-02 PHY-03 PHY-08", NULL),
        VT_TEST(statuses, "PHY-12", NULL),
        VT_TEST(bad_arguments, "PHY-04 PHY-05 PHY-09", NULL),
        VT_TEST(services_do_not_cross, "SUB-07 PHY-07", NULL),
        VT_TEST(buffers_change_their_size, "PHY-08 PHY-13", NULL),
    };
    return vt_main(argc, argv, "face_render", cases, VT_COUNT(cases));
}
