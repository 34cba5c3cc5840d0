/* SPDX-License-Identifier: MIT */
/* bench_engines.c - what it takes until an engine has a command buffer: a virtual one through the D3DKMT
 * face, up to its first instruction; a physical one with its lists, up to the driver's submission.
 * Owns: two adapters, one after the other. Calls: the face, vidmm.h, the host, the ref driver.
 * The floor of the first is a thread woken by a futex, which writes a word; that of the second is the
 * copy of the commands and an address written per patch location, with no check of anything. */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"
#include "host/instance.h"
#include "host/posix.h"
#include "kmt/kmt.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"
#include "softgpu/ref_commands.h"
#include "softgpu/ref_physical.h"

enum { TRIPS = 400, RENDERS = 400, MOST = 256, FRAMES = 1 << 18, COMMAND_BYTES = 16384 };

static double wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* ---- submission through the face --------------------------------------------------------------------- */

static uint64_t seen(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

struct echo { _Atomic uint32_t ask; uint64_t word; };

static void *echo_main(void *arg)
{
    struct echo *e = arg;
    for (uint32_t i = 1; i <= TRIPS; i++) {
        while (atomic_load(&e->ask) < i)
            syscall(SYS_futex, &e->ask, FUTEX_WAIT_PRIVATE, i - 1, NULL, NULL, 0);
        __atomic_store_n(&e->word, i, __ATOMIC_RELEASE);
    }
    return NULL;
}

static double echo_us(void)
{
    static double trip[TRIPS];
    struct echo e = { .word = 0 };
    pthread_t thread;
    must(pthread_create(&thread, NULL, echo_main, &e) == 0, "no thread");
    for (uint32_t i = 1; i <= TRIPS; i++) {
        usleep(50); /* it sleeps by then */
        double t = wall_us();
        atomic_store(&e.ask, i);
        syscall(SYS_futex, &e.ask, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
        while (seen(&e.word) < i) continue;
        trip[i - 1] = wall_us() - t;
    }
    pthread_join(thread, NULL);
    return median(trip, TRIPS);
}

#define PTR(p) ((D3DKMT_PTR)(uintptr_t)(p))
#define CALL(name, args) kmt_dispatch(process, KMT_OP_##name, PTR(args))

static void wait_cpu(struct kmt_process *process, D3DKMT_HANDLE device, D3DKMT_HANDLE fence, uint64_t value)
{
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU w = { .hDevice = device, .ObjectCount = 1,
                                                     .ObjectHandleArray = PTR(&fence),
                                                     .FenceValueArray = PTR(&value) };
    must(CALL(WaitForSynchronizationObjectFromCpu, &w) == STATUS_SUCCESS, "the paging fence");
}

struct session { struct kmt_process *process; D3DKMT_HANDLE context; uint64_t va, *cpu; };

/* A context, and 64 KiB that it can reach, mapped and locked. */
static void open_session(struct session *s)
{
    struct kmt_process *process = s->process;
    struct ref_alloc_private priv = { .magic = REF_ALLOC_MAGIC, .bytes = 65536 };
    D3DKMT_OPENADAPTERFROMLUID a = { { 7, 9 }, 0 };
    must(CALL(OpenAdapterFromLuid, &a) == STATUS_SUCCESS, "no adapter");
    D3DKMT_CREATEDEVICE d = { .hAdapter = a.hAdapter };
    must(CALL(CreateDevice, &d) == STATUS_SUCCESS, "no device");
    D3DKMT_CREATEPAGINGQUEUE q = { .hDevice = d.hDevice };
    must(CALL(CreatePagingQueue, &q) == STATUS_SUCCESS, "no paging queue");
    D3DKMT_CREATECONTEXTVIRTUAL v = { .hDevice = d.hDevice, .NodeOrdinal = REF_NODE_COMPUTE };
    must(CALL(CreateContextVirtual, &v) == STATUS_SUCCESS, "no context");
    D3DDDI_ALLOCATIONINFO2 info = { .pPrivateDriverData = PTR(&priv), .PrivateDriverDataSize = sizeof priv };
    D3DKMT_CREATEALLOCATION ca = { .hDevice = d.hDevice, .NumAllocations = 1,
                                   .pAllocationInfo2 = PTR(&info) };
    must(CALL(CreateAllocation2, &ca) == STATUS_SUCCESS, "no allocation");
    D3DDDI_MAKERESIDENT r = { .hPagingQueue = q.hPagingQueue, .NumAllocations = 1,
                              .AllocationList = PTR(&info.hAllocation) };
    NTSTATUS st = CALL(MakeResident, &r);
    must(st == STATUS_SUCCESS || st == STATUS_PENDING, "not resident");
    if (st == STATUS_PENDING) wait_cpu(process, d.hDevice, q.hSyncObject, r.PagingFenceValue);
    D3DDDI_MAPGPUVIRTUALADDRESS m = { .hPagingQueue = q.hPagingQueue, .hAllocation = info.hAllocation,
                                      .SizeInPages = 16, .Protection = 3 };
    st = CALL(MapGpuVirtualAddress, &m);
    must(st == STATUS_SUCCESS || st == STATUS_PENDING, "not mapped");
    if (st == STATUS_PENDING) wait_cpu(process, d.hDevice, q.hSyncObject, m.PagingFenceValue);
    D3DKMT_LOCK2 l = { .hDevice = d.hDevice, .hAllocation = info.hAllocation };
    must(CALL(Lock2, &l) == STATUS_SUCCESS, "not locked");
    s->context = v.hContext;
    s->va = m.VirtualAddress;
    s->cpu = (uint64_t *)(uintptr_t)l.pData;
}

static void face_submit(struct bench_out *out)
{
    static double trip[TRIPS];
    struct ref_kmd *kmd;
    struct host_instance *host;
    struct session s;
    struct ref_options opt;
    const char *why = "no instance";
    double floor = echo_us();
    ref_options_default(&opt, REF_FORMAT_A);
    opt.threads = true;
    must(ref_create(&opt, &kmd) == VIDMM_OK, "no driver");
    must(host_instance_create(ref_ops(), kmd, NULL, &why, &host) == VIDMM_OK, why);
    const struct kmt_config config = { .env = host_instance_env(host),
                                       .adapter = host_instance_adapter(host), .luid = { 7, 9 },
                                       .driver_store = "/store" };
    struct kmt_face *face = kmt_face_create(&config);
    struct kmt_process *process = s.process = kmt_process_create(face);
    open_session(&s);
    for (uint64_t i = 1; i <= TRIPS; i++) {
        uint64_t *result = s.cpu + 4096 / 8;
        D3DKMT_SUBMITCOMMAND c = { .Commands = s.va, .BroadcastContextCount = 1 };
        c.BroadcastContext[0] = s.context;
        c.CommandLength = ref_emit_write64(s.cpu, s.va + 4096, i) * 8;
        usleep(50);
        double t = wall_us();
        must(CALL(SubmitCommand, &c) == STATUS_SUCCESS, "a submission was refused");
        while (seen(result) < i) continue;
        trip[i - 1] = wall_us() - t;
    }
    bench_add(out, "SubmitCommand to first instruction (threads)", median(trip, TRIPS), "us", floor, 2, true);
    kmt_process_destroy(process);
    kmt_face_destroy(face);
    must(host_instance_destroy(host), "the adapter did not become idle");
    ref_destroy(kmd);
}

/* ---- physical mode ----------------------------------------------------------------------------------- */

struct phys {
    struct posix_platform platform;
    struct ref_kmd *kmd;
    struct vidmm_adapter *ad;
    struct vidmm_process *proc;
    struct vidmm_device *dev;
    struct vidmm_queue *queue;
    struct vidmm_context *ctx;
    uint64_t now, word[COMMAND_BYTES / 8], dma[COMMAND_BYTES / 8];
    struct vidmm_patch_location patch[MOST];
    struct vidmm_render_reference list[MOST];
};

static void no_poke(void *arg) { (void)arg; }

static void settle(struct phys *p)
{
    for (bool busy = true; busy;) {
        p->now++;
        busy = vidmm_run(p->ad, p->now) == p->now;
        for (uint32_t node = 0; node <= REF_NODE_PHYSICAL; node++)
            busy |= softgpu_engine_step(ref_gpu(p->kmd), node) == SOFTGPU_PROGRESS;
    }
}

static void open_phys(struct phys *p)
{
    struct ref_options opt;
    const char *why = "no adapter";
    uint64_t value, trim;
    ref_options_default(&opt, REF_FORMAT_A);
    opt.physical = true;
    must(posix_platform_init(&p->platform, FRAMES, no_poke, NULL), "no platform");
    must(ref_create(&opt, &p->kmd) == VIDMM_OK, "no driver");
    struct vidmm_adapter_config cfg = { .struct_size = sizeof cfg, .platform = &p->platform.face,
                                        .ops = ref_ops(), .kmd = p->kmd };
    must(vidmm_adapter_create(&cfg, &p->ad, &why) == VIDMM_OK, why);
    must(vidmm_process_create(p->ad, &p->proc) == VIDMM_OK, "no process");
    must(vidmm_device_create(p->proc, &p->dev) == VIDMM_OK, "no device");
    must(vidmm_queue_create(p->dev, 0, &p->queue) == VIDMM_OK, "no paging queue");
    struct vidmm_context_desc desc = { .node = REF_NODE_PHYSICAL, .physical = true };
    must(vidmm_context_create(p->dev, &desc, &p->ctx) == VIDMM_OK, "no context");
    vidmm_context_resize(p->ctx, &(struct vidmm_render_sizes){ COMMAND_BYTES, MOST, MOST });
    struct ref_alloc_private in = { .magic = REF_ALLOC_MAGIC, .bytes = 4096,
                                    .flags = VIDMM_ALLOCATION_ACCESSED_PHYSICALLY };
    struct vidmm_alloc_desc alloc = { .private_data = &in, .private_size = sizeof in };
    for (uint32_t i = 0; i < MOST; i++) {
        must(vidmm_alloc_create(p->dev, &alloc, &p->list[i].open) == VIDMM_OK, "no allocation");
        p->list[i].write = true;
        vidmm_status st = vidmm_make_resident(p->queue, &p->list[i].open, 1, 0, &value, &trim);
        must(st >= 0, "not resident");
    }
    settle(p);
}

/* The bare work: the bytes, and an address per location. */
static double floor_ns(struct phys *p, uint32_t n, uint32_t bytes)
{
    enum { TIMES = 2000 };
    double t = bench_now_ns();
    for (uint32_t k = 0; k < TIMES; k++) {
        memcpy(p->dma, p->word, bytes);
        for (uint32_t i = 0; i < n; i++) {
            uint64_t address = ((uint64_t)p->patch[i].allocation_index << 12) + p->patch[i].allocation_offset;
            memcpy((char *)p->dma + p->patch[i].patch_offset, &address, sizeof address);
        }
        atomic_signal_fence(memory_order_seq_cst);
    }
    return (bench_now_ns() - t) / TIMES;
}

static void physical(struct bench_out *out, struct phys *p, uint32_t n, double goal)
{
    static double trip[RENDERS];
    char name[64];
    uint32_t words = 0;
    for (uint32_t i = 0; i < n; i++) {
        p->patch[i] = (struct vidmm_patch_location){ .allocation_index = i, .patch_offset = (words + 1) * 8 };
        words += phys_emit_write64(p->word + words, i);
    }
    struct vidmm_render r = { .command = p->word, .command_bytes = words * 8, .list = p->list,
                              .list_count = n, .patch = p->patch, .patch_count = n };
    for (uint32_t i = 0; i < RENDERS; i++) {
        double t = bench_now_ns();
        vidmm_status st = vidmm_context_render(p->ctx, &r);
        (void)vidmm_run(p->ad, ++p->now);
        trip[i] = bench_now_ns() - t;
        must(st == VIDMM_OK, "a render was refused");
        settle(p);
    }
    (void)snprintf(name, sizeof name, "physical submission, %u patch%s", n, n == 1 ? "" : "es");
    bench_add(out, name, median(trip, RENDERS), "ns", floor_ns(p, n, words * 8), goal, true);
}

void bench_engines(struct bench_out *out)
{
    static struct phys p;
    bench_say("engines: through the face");
    face_submit(out);
    bench_say("engines: physical mode");
    open_phys(&p);
    physical(out, &p, 1, 100);
    physical(out, &p, 16, 50);
    physical(out, &p, 256, 20);
    vidmm_process_destroy(p.proc);
    settle(&p);
    vidmm_adapter_destroy(p.ad);
    ref_destroy(p.kmd);
    posix_platform_fini(&p.platform);
}
