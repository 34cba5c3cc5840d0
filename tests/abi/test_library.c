/* SPDX-License-Identifier: MIT */
/* test_library.c - libdxcore.so as a stranger loads it: by dlopen and function names.  If it fails, a guest's
 * manners are missing: a client crashes at exit, after a fork, after dlclose, or by a pointer of its own. */
#define _GNU_SOURCE
#include "vt.h"

#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/libdxcore/dxcore.h"
#include "kmt/abi.h"
#include "softgpu/ref/ref_abi.h"
#include "softgpu/ref/ref_commands.h"

typedef NTSTATUS entry(void *);

static void *library;

static void load(void)
{
    const char *path = getenv("VIDMM_TEST_DXCORE");
    if (library != NULL) return;
    if (path == NULL) vt_skip("VIDMM_TEST_DXCORE names no library");
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) fail_msg("%s", dlerror());
}

static entry *find(const char *name)
{
    void *p = dlsym(library, name);
    if (p == NULL) fail_msg("%s is not exported", name);
    entry *f;
    memcpy(&f, &p, sizeof f);
    return f;
}
#define CALL(name, args) find("D3DKMT" #name)(args)

static D3DKMT_LUID luid_of_adapter(void)
{
    typedef int32_t factory_fn(const struct dxcore_guid *, void **);
    typedef struct dxcore_guid guid;
    typedef int32_t list_fn(void *, uint32_t, const guid *, const guid *, void **);
    typedef int32_t get_fn(void *, uint32_t, const struct dxcore_guid *, void **);
    typedef int32_t property_fn(void *, uint32_t, size_t, void *);
    struct object { void (*const *functions)(void); } *factory, *list, *adapter;
    static const struct dxcore_guid
        id_factory = {0x78ee5945, 0xc36e, 0x4b13, {0xa6, 0x69, 0x00, 0x5d, 0xd1, 0x1c, 0x0f, 0x06}},
        id_list = {0x526c7776, 0x40e9, 0x459b, {0xb7, 0x11, 0xf3, 0x2a, 0xd7, 0x6d, 0xfc, 0x28}},
        id_adapter = {0xf0db4c7f, 0xfe5a, 0x42a2, {0xbd, 0x62, 0xf2, 0xa6, 0xcf, 0x6f, 0xc8, 0x3e}},
        compute = {0x248e2800, 0xa793, 0x4724, {0xab, 0xaa, 0x23, 0xa6, 0xde, 0x1b, 0xe0, 0x90}};
    void *symbol = dlsym(library, "DXCoreCreateAdapterFactory"), *p;
    factory_fn *create;
    D3DKMT_LUID luid;
    assert_non_null(symbol);
    memcpy(&create, &symbol, sizeof create);
    assert_int_equal(create(&id_factory, &p), 0);
    factory = p;
    assert_int_equal(((list_fn *)factory->functions[3])(factory, 1, &compute, &id_list, &p), 0);
    list = p;
    assert_int_equal(((get_fn *)list->functions[3])(list, 0, &id_adapter, &p), 0);
    adapter = p;
    assert_int_equal(((property_fn *)adapter->functions[6])(adapter, 0, sizeof luid, &luid), 0);
    return luid;
}

static D3DKMT_HANDLE open_adapter(void)
{
    D3DKMT_OPENADAPTERFROMLUID a = {luid_of_adapter(), 0};
    assert_int_equal(CALL(OpenAdapterFromLuid, &a), STATUS_SUCCESS);
    return a.hAdapter;
}

static D3DKMT_HANDLE create_device(D3DKMT_HANDLE adapter)
{
    D3DKMT_CREATEDEVICE d = {.hAdapter = adapter};
    assert_int_equal(CALL(CreateDevice, &d), STATUS_SUCCESS);
    return d.hDevice;
}

/* ---- before the library is loaded here ---------------------------------------------------------- */

static D3DKMT_HANDLE left_open;
static entry *close_adapter, *destroy_device;
static D3DKMT_HANDLE left_device;

/* Registered before the library was loaded, so it runs after everything of the library's own could have. */
static void late_handler(void)
{
    D3DKMT_DESTROYDEVICE d = {left_device};
    D3DKMT_CLOSEADAPTER c = {left_open};
    if (destroy_device == NULL || destroy_device(&d) != STATUS_SUCCESS) _exit(10);
    _exit(close_adapter(&c) == STATUS_SUCCESS ? 42 : 11);
}

static int wait_for(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) fail_msg("the child died by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

static void usable_from_exit_handlers(void **state)
{
    (void)state;
    if (getenv("VIDMM_TEST_DXCORE") == NULL) vt_skip("VIDMM_TEST_DXCORE names no library");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        atexit(late_handler);
        load();
        left_open = open_adapter();
        left_device = create_device(left_open);
        close_adapter = find("D3DKMTCloseAdapter");
        destroy_device = find("D3DKMTDestroyDevice");
        dlclose(library);
        exit(0);
    }
    assert_int_equal(wait_for(child), 42);
}

static void bad_settings_mean_no_adapter(void **state)
{
    (void)state;
    if (getenv("VIDMM_TEST_DXCORE") == NULL) vt_skip("VIDMM_TEST_DXCORE names no library");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        D3DKMT_ENUMADAPTERS2 e = {0, 0};
        if (freopen("/dev/null", "w", stderr) == NULL) _exit(1);
        setenv("VIDMM_VRAM", "lots", 1);
        load();
        _exit(CALL(EnumAdapters2, &e) == STATUS_UNSUCCESSFUL ? 42 : 1);
    }
    assert_int_equal(wait_for(child), 42);
}

/* The test harness replaces the fault handlers before each case, as no well-behaved program does behind our
 * back; so this is played in a fresh process, where ours are installed last. */
static int try_bad_pointers(void)
{
    static const char *const names[] = {
        "D3DKMTOpenAdapterFromLuid", "D3DKMTCreateDevice", "D3DKMTCreateAllocation2",
        "D3DKMTQueryAdapterInfo", "D3DKMTMakeResident", "D3DKMTMapGpuVirtualAddress",
        "D3DKMTSubmitCommand", "D3DKMTLock2"};
    load();
    D3DKMT_HANDLE adapter = open_adapter();
    uint8_t *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return 1;
    munmap(page + 4096, 4096);
    const uintptr_t bad[] = {0, 1, 4096, (uintptr_t)page + 4090, UINTPTR_MAX, UINTPTR_MAX - 100,
                             0x8000000000000000, 0x7ffffffff000};
    for (size_t i = 0; i < VT_COUNT(names); i++)
        for (size_t k = 0; k < VT_COUNT(bad); k++)
            if (find(names[i])((void *)bad[k]) != STATUS_INVALID_PARAMETER) return 2;
    D3DKMT_CREATEDEVICE *d = (D3DKMT_CREATEDEVICE *)(void *)page;
    d->hAdapter = adapter;
    if (mprotect(page, 4096, PROT_READ) != 0) return 3;
    return CALL(CreateDevice, d) == STATUS_INVALID_PARAMETER ? 42 : 4;
}

static void bad_pointers(void **state)
{
    (void)state;
    if (getenv("VIDMM_TEST_DXCORE") == NULL) vt_skip("VIDMM_TEST_DXCORE names no library");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) _exit(try_bad_pointers());
    assert_int_equal(wait_for(child), 42);
}

/* ---- one client --------------------------------------------------------------------------------- */

struct session { D3DKMT_HANDLE adapter, device; D3DKMT_CREATEPAGINGQUEUE queue; };

static struct session begin(void)
{
    struct session s;
    load();
    s.adapter = open_adapter();
    s.device = create_device(s.adapter);
    s.queue = (D3DKMT_CREATEPAGINGQUEUE){.hDevice = s.device};
    assert_int_equal(CALL(CreatePagingQueue, &s.queue), STATUS_SUCCESS);
    return s;
}

static void end(const struct session *s)
{
    D3DDDI_DESTROYPAGINGQUEUE q = {s->queue.hPagingQueue};
    D3DKMT_DESTROYDEVICE d = {s->device};
    D3DKMT_CLOSEADAPTER c = {s->adapter};
    assert_int_equal(CALL(DestroyPagingQueue, &q), STATUS_SUCCESS);
    assert_int_equal(CALL(DestroyDevice, &d), STATUS_SUCCESS);
    assert_int_equal(CALL(CloseAdapter, &c), STATUS_SUCCESS);
}

static D3DKMT_HANDLE create_allocation(const struct session *s, uint32_t segments)
{
    struct ref_alloc_private data = {.magic = REF_ALLOC_MAGIC, .bytes = 65536, .supported = segments};
    D3DDDI_ALLOCATIONINFO2 info = {.pPrivateDriverData = (uintptr_t)&data,
                                   .PrivateDriverDataSize = sizeof data};
    D3DKMT_CREATEALLOCATION a = {.hDevice = s->device, .NumAllocations = 1,
                                 .pAllocationInfo2 = (uintptr_t)&info};
    assert_int_equal(CALL(CreateAllocation2, &a), STATUS_SUCCESS);
    return info.hAllocation;
}

/* Waits as drivers do: by looking at the fence. */
static void settle(const struct session *s, NTSTATUS status, uint64_t value)
{
    const uint64_t *fence = (const uint64_t *)(uintptr_t)s->queue.FenceValueCPUVirtualAddress;
    assert_true(status == STATUS_SUCCESS || status == STATUS_PENDING);
    while (status == STATUS_PENDING && __atomic_load_n(fence, __ATOMIC_ACQUIRE) < value) usleep(100);
}

static void life_of_an_allocation(void **state)
{
    (void)state;
    struct session s = begin();
    D3DKMT_HANDLE al = create_allocation(&s, 0);
    D3DKMT_LOCK2 l = {.hDevice = s.device, .hAllocation = al};
    assert_int_equal(CALL(Lock2, &l), STATUS_SUCCESS);
    uint8_t *bytes = (uint8_t *)(uintptr_t)l.pData;
    for (size_t i = 0; i < 65536; i++) assert_int_equal(bytes[i], 0);
    memset(bytes, 0x77, 65536);
    D3DDDI_MAPGPUVIRTUALADDRESS m = {.hPagingQueue = s.queue.hPagingQueue, .hAllocation = al,
                                     .SizeInPages = 16,
                                     .Protection = D3DDDIGPUVIRTUALADDRESS_PROTECTION_TYPE_Write};
    settle(&s, CALL(MapGpuVirtualAddress, &m), m.PagingFenceValue);
    assert_int_not_equal(m.VirtualAddress, 0);
    D3DDDI_MAKERESIDENT r = {.hPagingQueue = s.queue.hPagingQueue, .NumAllocations = 1,
                             .AllocationList = (uintptr_t)&al};
    settle(&s, CALL(MakeResident, &r), r.PagingFenceValue);
    assert_int_equal(bytes[65535], 0x77);
    uint32_t residency = 0;
    D3DKMT_QUERYALLOCATIONRESIDENCY q = {.hDevice = s.device, .phAllocationList = (uintptr_t)&al,
                                         .AllocationCount = 1, .pResidencyStatus = (uintptr_t)&residency};
    assert_int_equal(CALL(QueryAllocationResidency, &q), STATUS_SUCCESS);
    assert_int_equal(residency, RESIDENTINSHAREDMEMORY);
    D3DKMT_UNLOCK2 u = {s.device, al};
    assert_int_equal(CALL(Unlock2, &u), STATUS_SUCCESS);
    D3DKMT_EVICT e = {.hDevice = s.device, .NumAllocations = 1, .AllocationList = (uintptr_t)&al};
    assert_int_equal(CALL(Evict, &e), STATUS_SUCCESS);
    D3DKMT_DESTROYALLOCATION2 d = {.hDevice = s.device, .phAllocationList = (uintptr_t)&al,
                                   .AllocationCount = 1};
    assert_int_equal(CALL(DestroyAllocation2, &d), STATUS_SUCCESS);
    assert_int_equal(CALL(Evict, &e), STATUS_INVALID_PARAMETER); /* what the Debian driver does at exit */
    end(&s);
}

/* A client polls no fence of a reservation: there is none to wait for. */
static void reserve_is_complete_at_the_call(void **state)
{
    (void)state;
    struct session s = begin();
    const D3DKMT_HANDLE by[] = {s.queue.hPagingQueue, s.adapter};
    for (size_t i = 0; i < VT_COUNT(by); i++) {
        D3DDDI_RESERVEGPUVIRTUALADDRESS r = {.hPagingQueue = by[i], .Size = 1 << 20, .PagingFenceValue = 99,
                                             .ReservationType = RESERVATION_NO_ACCESS};
        assert_int_equal(CALL(ReserveGpuVirtualAddress, &r), STATUS_SUCCESS);
        assert_int_equal(r.PagingFenceValue, 0);
        assert_int_not_equal(r.VirtualAddress, 0);
        D3DKMT_FREEGPUVIRTUALADDRESS f = {.hAdapter = s.adapter, .BaseAddress = r.VirtualAddress,
                                          .Size = r.Size};
        assert_int_equal(CALL(FreeGpuVirtualAddress, &f), STATUS_SUCCESS);
    }
    end(&s);
}

/* ---- several processes on one adapter ----------------------------------------------------------- */

enum { SAME_VA = 0x40000000, SHARE = 65536 };

/* One thread, one VidMm process. */
struct member {
    unsigned nr;
    struct session s;
    D3DKMT_HANDLE context, fence, data, out, commands;
    uint64_t out_va, commands_va, fence_value;
    uint8_t *data_cpu, *out_cpu, *commands_cpu;
};

static struct member members[2];
static pthread_barrier_t together;

static uint8_t *make_member_memory(struct member *m, uint64_t base, D3DKMT_HANDLE *handle, uint64_t *va)
{
    *handle = create_allocation(&m->s, 0);
    D3DKMT_LOCK2 l = {.hDevice = m->s.device, .hAllocation = *handle};
    assert_int_equal(CALL(Lock2, &l), STATUS_SUCCESS);
    D3DDDI_MAPGPUVIRTUALADDRESS a = {
        .hPagingQueue = m->s.queue.hPagingQueue, .hAllocation = *handle, .SizeInPages = 16,
        .BaseAddress = base,
        .Protection = D3DDDIGPUVIRTUALADDRESS_PROTECTION_TYPE_Write |
                      D3DDDIGPUVIRTUALADDRESS_PROTECTION_TYPE_Execute};
    settle(&m->s, CALL(MapGpuVirtualAddress, &a), a.PagingFenceValue);
    if (base != 0) assert_int_equal(a.VirtualAddress, base);
    *va = a.VirtualAddress;
    D3DDDI_MAKERESIDENT r = {.hPagingQueue = m->s.queue.hPagingQueue, .NumAllocations = 1,
                             .AllocationList = (uintptr_t)handle};
    settle(&m->s, CALL(MakeResident, &r), r.PagingFenceValue);
    return (uint8_t *)(uintptr_t)l.pData;
}

static void make_member(struct member *m)
{
    uint64_t va;
    load();
    /* Numbers that the other process does not come to: both tables begin alike. */
    for (unsigned i = 0; i < 1000 * m->nr; i++) {
        D3DKMT_CLOSEADAPTER c = {open_adapter()};
        assert_int_equal(CALL(CloseAdapter, &c), STATUS_SUCCESS);
    }
    m->s = begin();
    D3DKMT_CREATECONTEXTVIRTUAL c = {.hDevice = m->s.device, .NodeOrdinal = 1};
    assert_int_equal(CALL(CreateContextVirtual, &c), STATUS_SUCCESS);
    m->context = c.hContext;
    D3DKMT_CREATESYNCHRONIZATIONOBJECT2 f = {.hDevice = m->s.device, .Info.Type = SYNC_MONITORED_FENCE};
    assert_int_equal(CALL(CreateSynchronizationObject2, &f), STATUS_SUCCESS);
    m->fence = f.hSyncObject;
    m->data_cpu = make_member_memory(m, SAME_VA, &m->data, &va);
    m->out_cpu = make_member_memory(m, 0, &m->out, &m->out_va);
    m->commands_cpu = make_member_memory(m, 0, &m->commands, &m->commands_va);
    memset(m->data_cpu, 0x50 + (int)m->nr, SHARE);
}

/* What this process' GPU work reads at SAME_VA must be this process' bytes. */
static void read_same_va(struct member *m)
{
    uint64_t words[8];
    uint32_t n = ref_emit_copy(words, m->out_va, SAME_VA, SHARE);
    n += ref_emit_end(words + n);
    memset(m->out_cpu, 0, SHARE);
    memcpy(m->commands_cpu, words, n * sizeof *words);
    D3DKMT_SUBMITCOMMAND c = {.Commands = m->commands_va, .CommandLength = n * 8, .BroadcastContextCount = 1,
                              .BroadcastContext = {m->context}};
    assert_int_equal(CALL(SubmitCommand, &c), STATUS_SUCCESS);
    m->fence_value++;
    D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMGPU g = {
        .hContext = m->context, .ObjectCount = 1, .ObjectHandleArray = (uintptr_t)&m->fence,
        .MonitoredFenceValueArray = (uintptr_t)&m->fence_value};
    assert_int_equal(CALL(SignalSynchronizationObjectFromGpu, &g), STATUS_SUCCESS);
    D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU w = {
        .hDevice = m->s.device, .ObjectCount = 1, .ObjectHandleArray = (uintptr_t)&m->fence,
        .FenceValueArray = (uintptr_t)&m->fence_value};
    assert_int_equal(CALL(WaitForSynchronizationObjectFromCpu, &w), STATUS_SUCCESS);
    for (size_t i = 0; i < SHARE; i++) assert_int_equal(m->out_cpu[i], 0x50 + m->nr);
}

static void handles_are_strange_here(struct member *mine, const struct member *other)
{
    D3DKMT_HANDLE theirs = other->data;
    D3DKMT_CREATEDEVICE d = {.hAdapter = other->s.adapter};
    D3DKMT_CREATEPAGINGQUEUE q = {.hDevice = other->s.device};
    D3DKMT_LOCK2 l = {.hDevice = mine->s.device, .hAllocation = theirs};
    D3DDDI_MAKERESIDENT r = {.hPagingQueue = mine->s.queue.hPagingQueue, .NumAllocations = 1,
                             .AllocationList = (uintptr_t)&theirs};
    D3DDDI_MAPGPUVIRTUALADDRESS a = {.hPagingQueue = mine->s.queue.hPagingQueue, .hAllocation = theirs,
                                     .SizeInPages = 16};
    D3DKMT_DESTROYALLOCATION2 x = {.hDevice = mine->s.device, .phAllocationList = (uintptr_t)&theirs,
                                   .AllocationCount = 1};
    D3DKMT_DESTROYDEVICE e = {other->s.device};
    D3DKMT_DESTROYCONTEXT c = {other->context};
    assert_int_equal(CALL(CreateDevice, &d), STATUS_INVALID_PARAMETER);
    assert_int_equal(CALL(CreatePagingQueue, &q), STATUS_INVALID_PARAMETER);
    assert_int_equal(CALL(Lock2, &l), STATUS_INVALID_PARAMETER);
    assert_int_equal(CALL(MakeResident, &r), STATUS_INVALID_PARAMETER);
    assert_int_equal(CALL(MapGpuVirtualAddress, &a), STATUS_INVALID_PARAMETER);
    assert_int_equal(CALL(DestroyAllocation2, &x), STATUS_INVALID_PARAMETER);
    assert_int_equal(CALL(DestroyDevice, &e), STATUS_INVALID_PARAMETER);
    assert_int_equal(CALL(DestroyContext, &c), STATUS_INVALID_PARAMETER);
}

static void *member_life(void *arg)
{
    struct member *m = arg;
    make_member(m);
    pthread_barrier_wait(&together);
    handles_are_strange_here(m, &members[!m->nr]);
    read_same_va(m);
    pthread_barrier_wait(&together);
    if (m->nr == 0) { /* with its last handle the whole process goes */
        D3DKMT_DESTROYDEVICE d = {m->s.device};
        D3DKMT_CLOSEADAPTER c = {m->s.adapter};
        assert_int_equal(CALL(DestroyDevice, &d), STATUS_SUCCESS);
        assert_int_equal(CALL(CloseAdapter, &c), STATUS_SUCCESS);
    }
    pthread_barrier_wait(&together);
    if (m->nr == 0) return NULL;
    for (size_t i = 0; i < SHARE; i++) assert_int_equal(m->data_cpu[i], 0x50 + m->nr);
    read_same_va(m);
    return NULL;
}

static int two_processes(void)
{
    setenv("VIDMM_TEST_PROCESSES", "2", 1);
    pthread_barrier_init(&together, NULL, 2);
    alarm(60); /* a failed assertion in one thread leaves the other at the barrier */
    load();
    pthread_t thread[2];
    for (unsigned i = 0; i < 2; i++) {
        members[i].nr = i;
        if (pthread_create(&thread[i], NULL, member_life, &members[i]) != 0) return 1;
    }
    for (unsigned i = 0; i < 2; i++) pthread_join(thread[i], NULL);
    return 42;
}

/* In a fresh process: the library reads its settings at the first call. */
static void processes_are_apart(void **state)
{
    (void)state;
    if (getenv("VIDMM_TEST_DXCORE") == NULL) vt_skip("VIDMM_TEST_DXCORE names no library");
#ifndef VIDMM_TEST_HOOKS
    vt_skip("built without test hooks");
#endif
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) _exit(two_processes());
    assert_int_equal(wait_for(child), 42);
}

static void forked_child_is_refused(void **state)
{
    (void)state;
    struct session s = begin();
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        D3DKMT_CREATEDEVICE d = {.hAdapter = s.adapter};
        D3DKMT_CLOSEADAPTER c = {s.adapter};
        D3DKMT_ENUMADAPTERS2 e = {0, 0};
        if (CALL(CreateDevice, &d) != STATUS_DEVICE_REMOVED) _exit(1);
        if (CALL(CloseAdapter, &c) != STATUS_DEVICE_REMOVED) _exit(2);
        if (CALL(EnumAdapters2, &e) != STATUS_DEVICE_REMOVED) _exit(3);
        if (CALL(QueryStatistics, &e) != STATUS_NOT_SUPPORTED) _exit(4);
        _exit(42);
    }
    assert_int_equal(wait_for(child), 42);
    assert_int_equal(create_device(s.adapter) != 0, 1); /* the parent goes on */
    end(&s);
}

static void stays_after_dlclose(void **state)
{
    (void)state;
    struct session s = begin();
    entry *create = find("D3DKMTCreateDevice");
    assert_int_equal(dlclose(library), 0);
    library = NULL;
    D3DKMT_CREATEDEVICE d = {.hAdapter = s.adapter};
    assert_int_equal(create(&d), STATUS_SUCCESS);
    load();
    end(&s);
}

/* Signals sent to the process belong to the client's threads. */
static void own_threads_block_signals(void **state)
{
    unsigned others = 0;
    (void)state;
    struct session s = begin();
    DIR *tasks = opendir("/proc/self/task");
    if (tasks == NULL) vt_skip("no /proc");
    for (struct dirent *t; (t = readdir(tasks)) != NULL;) {
        char path[300], line[128];
        unsigned long long blocked = 0;
        if (t->d_name[0] == '.' || atoi(t->d_name) == getpid()) continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", t->d_name);
        FILE *f = fopen(path, "r");
        if (f == NULL) continue;
        while (fgets(line, sizeof line, f) != NULL) sscanf(line, "SigBlk: %llx", &blocked);
        fclose(f);
        others++;
        /* HUP INT QUIT USR1 USR2 PIPE ALRM TERM CHLD: 1 2 3 10 12 13 14 15 17 */
        const unsigned long long wanted = 0x17a07;
        if ((blocked & wanted) != wanted) fail_msg("thread %s blocks %llx", t->d_name, blocked);
    }
    closedir(tasks);
    assert_true(others >= 1);
    end(&s);
}

static const struct vt_case cases[] = {
    VT_TEST(usable_from_exit_handlers, "", NULL),
    VT_TEST(bad_settings_mean_no_adapter, "", NULL),
    VT_TEST(bad_pointers, "", NULL),
    VT_TEST(processes_are_apart, "", NULL), /* before the library is used here */
    VT_TEST(life_of_an_allocation, "", NULL),
    VT_TEST(reserve_is_complete_at_the_call, "", NULL),
    VT_TEST(forked_child_is_refused, "", NULL),
    VT_TEST(stays_after_dlclose, "", NULL),
    VT_TEST(own_threads_block_signals, "", NULL),
};

int main(int argc, char **argv)
{
    setenv("VIDMM_PROFILE", "ref", 1);
    setenv("VIDMM_VRAM", "16M", 1);
    return vt_main(argc, argv, "library", cases, VT_COUNT(cases));
}
