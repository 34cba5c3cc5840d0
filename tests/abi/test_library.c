/* SPDX-License-Identifier: MIT */
/* test_library.c - libdxcore.so as a stranger loads it: by dlopen and function names.  If it fails, a guest's
 * manners are missing: a client crashes at exit, after a fork, after dlclose, or by a pointer of its own. */
#define _GNU_SOURCE
#include "vt.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/libdxcore/dxcore.h"
#include "kmt/abi.h"
#include "softgpu/ref/ref_abi.h"

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
        if (CALL(Render, &e) != STATUS_NOT_SUPPORTED) _exit(4);
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
    VT_TEST(life_of_an_allocation, "", NULL),
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
