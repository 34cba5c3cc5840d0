/* SPDX-License-Identifier: MIT */
/* test_offer.c - offer and reclaim as a client calls them: face, core, host threads, a driver and its GPU.
 * The memory is system memory, so that what is offered for decommit is given back without any pressure. */
#include "vt.h"

#include <string.h>

#include "host/instance.h"
#include "kmt/kmt.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"

#define PTR(p) ((D3DKMT_PTR)(uintptr_t)(p))
#define CALL(name, args) kmt_dispatch(process, KMT_OP_##name, PTR(args))
#define MUST(name, args) assert_int_equal(CALL(name, args), STATUS_SUCCESS)
#define BYTES 0x10000u
enum { DECOMMIT = D3DKMT_OFFER_FLAGS_AllowDecommit, LOW = VIDMM_OFFER_LOW };

static struct ref_kmd *ref;
static struct host_instance *host;
static struct kmt_face *face;
static struct kmt_process *process;
static D3DKMT_HANDLE device, queue, loose, resource, member[2];

static D3DKMT_HANDLE create(uint32_t n, uint32_t flags, D3DKMT_HANDLE *out)
{
    static const struct ref_alloc_private data = {.magic = REF_ALLOC_MAGIC, .bytes = BYTES};
    D3DDDI_ALLOCATIONINFO2 info[2];
    D3DKMT_CREATEALLOCATION a = {.hDevice = device, .NumAllocations = n, .Flags = flags,
                                 .pAllocationInfo2 = PTR(info)};
    for (uint32_t i = 0; i < n; i++)
        info[i] = (D3DDDI_ALLOCATIONINFO2){.pPrivateDriverData = PTR(&data),
                                           .PrivateDriverDataSize = sizeof data};
    MUST(CreateAllocation2, &a);
    for (uint32_t i = 0; i < n; i++) out[i] = info[i].hAllocation;
    return a.hResource;
}

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
    process = kmt_process_create(face);
    assert_non_null(process);
    D3DKMT_OPENADAPTERFROMLUID a = {{7, 9}, 0};
    MUST(OpenAdapterFromLuid, &a);
    D3DKMT_CREATEDEVICE d = {.hAdapter = a.hAdapter};
    MUST(CreateDevice, &d);
    device = d.hDevice;
    D3DKMT_CREATEPAGINGQUEUE q = {.hDevice = device};
    MUST(CreatePagingQueue, &q);
    queue = q.hPagingQueue;
    create(1, 0, &loose);
    resource = create(2, 1 /* CreateResource */, member);
}

static void end(void)
{
    kmt_process_destroy(process);
    kmt_face_destroy(face);
    if (!host_instance_destroy(host)) fail_msg("the adapter does not become idle");
    ref_destroy(ref);
}

static NTSTATUS offer(const D3DKMT_HANDLE *resources, const D3DKMT_HANDLE *allocations, uint32_t n,
                      uint32_t priority, uint32_t flags)
{
    D3DKMT_OFFERALLOCATIONS a = {.hDevice = device, .pResources = PTR(resources),
                                 .HandleList = PTR(allocations), .NumAllocations = n, .Priority = priority,
                                 .Flags = flags};
    return CALL(OfferAllocations, &a);
}

static NTSTATUS reclaim(const D3DKMT_HANDLE *resources, const D3DKMT_HANDLE *allocations, uint32_t n,
                        uint32_t *results)
{
    D3DKMT_RECLAIMALLOCATIONS2 a = {.hPagingQueue = queue, .NumAllocations = n, .pResources = PTR(resources),
                                    .HandleList = PTR(allocations), .pResults = PTR(results)};
    return CALL(ReclaimAllocations2, &a);
}

static NTSTATUS lock(D3DKMT_HANDLE al, uint32_t **cpu)
{
    D3DKMT_LOCK2 l = {.hDevice = device, .hAllocation = al};
    NTSTATUS status = CALL(Lock2, &l);
    *cpu = (uint32_t *)(uintptr_t)l.pData;
    return status;
}

static void write_and_unlock(D3DKMT_HANDLE al)
{
    uint32_t *cpu;
    D3DKMT_UNLOCK2 u = {.hDevice = device, .hAllocation = al};
    assert_int_equal(lock(al, &cpu), STATUS_SUCCESS);
    memset(cpu, 0x5a, BYTES);
    MUST(Unlock2, &u);
}

/* One list and no more; a known class; no unknown flags. Nothing is offered by a call that fails. */
static void one_of_two_lists(void **state)
{
    (void)state;
    begin();
    uint32_t result = 77;
    assert_int_equal(offer(&resource, &loose, 1, LOW, 0), STATUS_INVALID_PARAMETER);
    assert_int_equal(offer(NULL, NULL, 1, LOW, 0), STATUS_INVALID_PARAMETER);
    assert_int_equal(offer(NULL, &loose, 0, LOW, 0), STATUS_INVALID_PARAMETER);
    assert_int_equal(offer(&loose, NULL, 1, LOW, 0), STATUS_INVALID_PARAMETER); /* of the other kind */
    assert_int_equal(offer(NULL, &resource, 1, LOW, 0), STATUS_INVALID_PARAMETER);
    assert_int_equal(offer(NULL, &loose, 1, 0, 0), STATUS_INVALID_PARAMETER);
    assert_int_equal(offer(NULL, &loose, 1, 5, 0), STATUS_INVALID_PARAMETER);
    assert_int_equal(offer(NULL, &loose, 1, LOW, 4), STATUS_INVALID_PARAMETER);
    assert_int_equal(reclaim(NULL, &loose, 1, &result), STATUS_INVALID_PARAMETER);
    assert_int_equal(offer(NULL, &loose, 1, LOW, 0), STATUS_SUCCESS);
    assert_int_equal(reclaim(&resource, &loose, 1, &result), STATUS_INVALID_PARAMETER);
    assert_int_equal(reclaim(NULL, NULL, 1, &result), STATUS_INVALID_PARAMETER);
    uint32_t *nowhere = (uint32_t *)1;
    assert_int_equal(reclaim(NULL, &loose, 1, nowhere), STATUS_INVALID_PARAMETER); /* it stays offered */
    assert_int_equal(reclaim(NULL, &loose, 1, &result), STATUS_SUCCESS);
    assert_int_equal(result, VIDMM_RECLAIM_OK);
    end();
}

/* A resource is offered with all its allocations and is as lost as the worst of them. Nothing can be locked
 * before the reclaim, everything right after it. */
static void resources_and_allocations(void **state)
{
    (void)state;
    begin();
    uint32_t *cpu, result = 77, both[2] = {77, 77};
    D3DKMT_HANDLE list[2] = {loose, member[0]};
    for (int i = 0; i < 2; i++) write_and_unlock(member[i]);
    write_and_unlock(loose);
    assert_int_equal(offer(&resource, NULL, 1, LOW, DECOMMIT), STATUS_SUCCESS);
    assert_int_equal(offer(NULL, &loose, 1, VIDMM_OFFER_AUTO, 0), STATUS_SUCCESS);
    assert_int_equal(lock(member[1], &cpu), STATUS_INVALID_PARAMETER);
    assert_int_equal(lock(loose, &cpu), STATUS_INVALID_PARAMETER);
    assert_int_equal(reclaim(&resource, NULL, 1, &result), STATUS_SUCCESS);
    assert_int_equal(result, VIDMM_RECLAIM_NOT_COMMITTED);
    assert_int_equal(lock(member[1], &cpu), STATUS_SUCCESS);
    assert_int_equal(*cpu, 0);
    assert_int_equal(offer(NULL, &member[0], 1, LOW, 0), STATUS_SUCCESS);
    assert_int_equal(reclaim(NULL, list, 2, both), STATUS_SUCCESS);
    assert_true(both[0] == VIDMM_RECLAIM_OK && both[1] == VIDMM_RECLAIM_OK);
    assert_int_equal(lock(loose, &cpu), STATUS_SUCCESS);
    assert_int_equal(*cpu, 0x5a5a5a5a);
    end();
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(one_of_two_lists, "ALC-42 ALC-43", NULL),
        VT_TEST(resources_and_allocations, "ALC-45 ALC-47 ALC-48", NULL),
    };
    return vt_main(argc, argv, "face_offer", cases, VT_COUNT(cases));
}
