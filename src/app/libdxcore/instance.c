/* SPDX-License-Identifier: MIT */
/* instance.c - composition root: settings, device model and driver, host, face.
 * Owns: the instance, for the life of the OS process.  Nothing is ever torn down: clients call from their
 * exit handlers.  No constructor, no destructor, no exit handler; the first call builds everything.
 * In a forked child the environment cannot be entered, which clients see as STATUS_DEVICE_REMOVED. */
#define _GNU_SOURCE
#include "app/libdxcore/instance.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vidmm/dg2_abi.h>

#include "app/counters_block.h"
#include "app/libdxcore/dxcore.h"
#include "app/libdxcore/settings.h"
#include "host/instance.h"
#include "softgpu/dg2/dg2.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"

#define LUID_LOW 0x4d4d4456u
#define HELPER_LIBRARY "libwsl_compute_helper.so"
#define PROCESSES_MAX 8u /* more than one only in tests */

static struct {
    struct settings settings;
    bool settings_ok;
    struct dxcore_adapter_facts facts;
    struct kmt_process *process[PROCESSES_MAX];
    unsigned processes;
    NTSTATUS status;
    char driver_store[PATH_MAX + 32];
} instance;

static pthread_once_t described = PTHREAD_ONCE_INIT, built = PTHREAD_ONCE_INIT;

/* ---- description: nothing is started ------------------------------------------------------------ */

static void complain(const char *what)
{
    fprintf(stderr, "vidmm: %s; no adapter\n", what);
}

static void describe(void)
{
    const char *why;
    struct dxcore_adapter_facts *f = &instance.facts;
    const struct settings *s = &instance.settings;
    static const struct vidmm_dg2_adapter_info dg2 = VIDMM_DG2_ADAPTER_INFO_INIT;
    instance.settings_ok = settings_read(&instance.settings, getenv, &why);
    if (!instance.settings_ok) {
        complain(why);
        return;
    }
    f->luid_low = LUID_LOW;
    f->luid_high = 0;
    if (s->profile != PROFILE_DG2) {
        static const char *const names[] = {[PROFILE_REF] = "vidmm simulated GPU (ref)",
                                            [PROFILE_REF_IOMMU] = "vidmm simulated GPU (ref-iommu)",
                                            [PROFILE_REF_BOTH] = "vidmm simulated GPU (ref-both)",
                                            [PROFILE_LDA2] = "vidmm simulated link of 2 GPUs (lda2)",
                                            [PROFILE_LDA3] = "vidmm simulated link of 3 GPUs (lda3)",
                                            [PROFILE_LDA4] = "vidmm simulated link of 4 GPUs (lda4)"};
        f->description = names[s->profile];
        f->device = (uint32_t)s->profile;
        f->dedicated_bytes = s->vram_reported_bytes != 0 ? s->vram_reported_bytes : s->vram_bytes;
        f->shared_bytes = UINT64_C(1) << 32;
        return;
    }
    /* The client's driver takes adapters that have its maker's name in their description. */
    f->description = "vidmm simulated GPU for the Intel compute driver (dg2)";
    f->vendor = 0x8086;
    f->device = dg2.device_id;
    f->revision = dg2.revision;
    f->dedicated_bytes = s->vram_reported_bytes != 0 ? s->vram_reported_bytes : dg2.dedicated_bytes;
    f->shared_bytes = dg2.shared_bytes;
}

const struct dxcore_adapter_facts *dxcore_adapter_facts(void)
{
    pthread_once(&described, describe);
    return instance.settings_ok ? &instance.facts : NULL;
}

/* ---- drivers ------------------------------------------------------------------------------------ */

struct driver {
    const struct vidmm_kmd_ops *ops;
    void *kmd;
    struct softgpu *gpu;
    struct vidmm_gpu peer[VIDMM_GPUS_MAX - 1]; /* of a link */
    uint32_t peers;
};

static vidmm_status make_dg2(const struct settings *s, struct driver *d)
{
    struct dg2_options o;
    struct dg2_kmd *kmd;
    dg2_options_default(&o);
    if (s->vram_bytes != 0) o.vram_bytes = s->vram_bytes;
    if (s->vram_reported_bytes != 0) o.vram_reported_bytes = s->vram_reported_bytes;
    o.threads = true;
    vidmm_status status = dg2_create(&o, &kmd);
    if (status == VIDMM_OK) *d = (struct driver){.ops = dg2_ops(), .kmd = kmd, .gpu = dg2_gpu(kmd)};
    return status;
}

static vidmm_status make_ref(const struct settings *s, struct driver *d)
{
    struct ref_options o;
    struct ref_kmd *kmd;
    ref_options_default(&o, REF_FORMAT_A);
    if (s->vram_bytes != 0) o.segment[0].bytes = s->vram_bytes;
    o.threads = true;
    o.iommu = s->profile != PROFILE_REF;
    o.no_gpummu = s->profile == PROFILE_REF_IOMMU;
    vidmm_status status = ref_create(&o, &kmd);
    if (status == VIDMM_OK) *d = (struct driver){.ops = ref_ops(), .kmd = kmd, .gpu = ref_gpu(kmd)};
    return status;
}

/* Gpus with two table formats by turns, of the same address size. The first one has the knobs. */
static vidmm_status make_link(const struct settings *s, struct driver *d)
{
    struct ref_kmd *kmd[VIDMM_GPUS_MAX] = {NULL};
    uint32_t n = 2 + (uint32_t)s->profile - PROFILE_LDA2;
    for (uint32_t i = 0; i < n; i++) {
        struct ref_options o;
        ref_options_default(&o, i % 2 == 0 ? REF_FORMAT_C : REF_FORMAT_B);
        if (s->vram_bytes != 0) o.segment[0].bytes = s->vram_bytes;
        o.threads = true;
        vidmm_status status = ref_create(&o, &kmd[i]);
        if (status == VIDMM_OK) continue;
        while (i > 0) ref_destroy(kmd[--i]);
        return status;
    }
    ref_link(kmd, n);
    *d = (struct driver){.ops = ref_ops(), .kmd = kmd[0], .gpu = ref_gpu(kmd[0]), .peers = n - 1};
    for (uint32_t i = 1; i < n; i++) d->peer[i - 1] = (struct vidmm_gpu){ref_ops(), kmd[i]};
    return VIDMM_OK;
}

static vidmm_status make_driver(const struct settings *s, struct driver *d)
{
    if (s->profile == PROFILE_DG2) return make_dg2(s, d);
    return s->profile >= PROFILE_LDA2 ? make_link(s, d) : make_ref(s, d);
}

/* The sizes of client memory that the drivers' private data tell. */
static uint64_t dg2_existing_bytes(const void *data, uint32_t bytes)
{
    const struct vidmm_dg2_resource_info *r = data;
    if (bytes < sizeof *r || !vidmm_dg2_head_ok(&r->head, VIDMM_DG2_RESOURCE, sizeof *r)) return 0;
    return r->flags & VIDMM_DG2_EXISTING_SYSMEM ? r->bytes : 0;
}

static uint64_t ref_existing_bytes(const void *data, uint32_t bytes)
{
    const struct ref_alloc_private *r = data;
    return bytes == sizeof *r && r->magic == REF_ALLOC_MAGIC ? r->bytes : 0;
}

/* ---- surroundings ------------------------------------------------------------------------------- */

/* Shared counters, or NULL: a descriptor that does not fit is no reason to refuse service, and counters that
 * belong to another process of this run are left to it. */
static struct vidmm_counters *map_counters(int fd)
{
    struct stat st;
    if (fd < 0) return NULL;
    if (fstat(fd, &st) == 0 && st.st_size >= (off_t)sizeof(struct counters_block)) {
        struct counters_block *b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (b != MAP_FAILED) return atomic_fetch_add(&b->adapters, 1) == 0 ? &b->counters : NULL;
    }
    fprintf(stderr, "vidmm: VIDMM_COUNTERS_FD=%d cannot hold the counters; they are not reported\n", fd);
    return NULL;
}

static bool holds_helper(const char *directory)
{
    char path[2 * PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", directory, HELPER_LIBRARY);
    return access(path, R_OK) == 0;
}

/* The helper library lies beside this one, or, in a build tree, in the folder next to it. */
static void find_driver_store(char *out, size_t bytes)
{
    Dl_info self;
    char path[PATH_MAX], beside[PATH_MAX + 32];
    out[0] = '\0';
    if (dladdr((void *)(uintptr_t)find_driver_store, &self) == 0 || self.dli_fname == NULL) return;
    if (realpath(self.dli_fname, path) == NULL) return;
    char *slash = strrchr(path, '/');
    if (slash == NULL) return;
    *slash = '\0';
    snprintf(beside, sizeof beside, "%s/../compute_helper", path);
    snprintf(out, bytes, "%s", !holds_helper(path) && holds_helper(beside) ? beside : path);
}

static void set_knobs(struct softgpu *gpu, const struct settings *s)
{
    static const uint32_t kinds[] = {[INJECT_FAULT] = SOFTGPU_AT_FAULT, [INJECT_HANG] = SOFTGPU_AT_HANG,
                                     [INJECT_RESET_FAILS] = SOFTGPU_AT_RESET_FAILS,
                                     [INJECT_REMOVE] = SOFTGPU_AT_REMOVE, [INJECT_OOM] = SOFTGPU_AT_OOM};
    _Static_assert(INJECT_MOST <= SOFTGPU_INJECTIONS_MAX, "every injection has a place");
    struct softgpu_knobs knobs;
    softgpu_get_knobs(gpu, &knobs);
    knobs.paging_delay_ns = (s->inject.delayed ? s->inject.delay_ms : s->paging_delay_ms) * 1000000;
    for (unsigned i = 0; i < s->inject.count; i++)
        knobs.injection[i] = (struct softgpu_injection){kinds[s->inject.what[i].kind], s->inject.what[i].at};
    softgpu_set_knobs(gpu, &knobs);
}

/* ---- all together ------------------------------------------------------------------------------- */

/* Programs on dg2 shall see an error soon; 0 is the core's own delay. */
static uint64_t tdr_delay_ms(const struct settings *s)
{
    if (s->tdr_delay_ms != 0) return s->tdr_delay_ms;
    return s->profile == PROFILE_DG2 ? 300 : 0;
}

static NTSTATUS start_host(const struct driver *d, struct host_instance **host)
{
    const char *why = "unknown";
    struct host_config config = {.ops = d->ops, .kmd = d->kmd, .peer = d->peer, .peer_count = d->peers,
                                 .counters = map_counters(instance.settings.counters_fd),
                                 .tdr_delay_ns = tdr_delay_ms(&instance.settings) * 1000000,
                                 .tdr_limit_count = instance.settings.tdr_limit,
                                 .tdr_level = instance.settings.tdr_level};
#ifdef VIDMM_TEST_HOOKS
    config.break_row = getenv("VIDMM_BREAK");
#endif
    vidmm_status status = host_instance_create_with(&config, &why, host);
    if (status == VIDMM_OK) return STATUS_SUCCESS;
    fprintf(stderr, "vidmm: the adapter does not start: %s\n", why != NULL ? why : "unknown");
    return status == VIDMM_NO_MEMORY ? STATUS_NO_MEMORY : STATUS_UNSUCCESSFUL;
}

/* For tests: VIDMM_TEST_PROCESSES=n puts n VidMm processes on the adapter, and threads are dealt out to
 * them in the order of their first calls.  A thread stays with its process. */
#ifdef VIDMM_TEST_HOOKS
static unsigned wanted_processes(void)
{
    const char *text = getenv("VIDMM_TEST_PROCESSES");
    int n = text != NULL ? atoi(text) : 1;
    return n >= 1 && n <= (int)PROCESSES_MAX ? (unsigned)n : 1;
}

static unsigned process_of_thread(void)
{
    static atomic_uint threads;
    static _Thread_local unsigned number __attribute__((tls_model("initial-exec"))); /* from 1 */
    if (instance.processes == 1) return 0;
    if (number == 0) number = atomic_fetch_add(&threads, 1) + 1;
    return (number - 1) % instance.processes;
}
#else
static unsigned wanted_processes(void) { return 1; }
static unsigned process_of_thread(void) { return 0; }
#endif

static NTSTATUS start_face(struct host_instance *host)
{
    const struct dxcore_adapter_facts *f = &instance.facts;
    const bool ref = instance.settings.profile != PROFILE_DG2;
    const struct kmt_config config = {
        .env = host_instance_env(host), .adapter = host_instance_adapter(host),
        .luid = {f->luid_low, f->luid_high},
        .vendor = f->vendor, .device = f->device, .revision = f->revision,
        .dedicated_bytes = f->dedicated_bytes, .shared_bytes = f->shared_bytes,
        .driver_store = instance.driver_store,
        .existing_bytes = ref ? ref_existing_bytes : dg2_existing_bytes,
    };
    struct kmt_face *face = kmt_face_create(&config);
    if (face == NULL) return STATUS_NO_MEMORY;
    instance.processes = wanted_processes();
    for (unsigned i = 0; i < instance.processes; i++) {
        instance.process[i] = kmt_process_create(face);
        if (instance.process[i] == NULL) return STATUS_NO_MEMORY;
    }
    return STATUS_SUCCESS;
}

static void build(void)
{
    struct driver driver;
    struct host_instance *host;
    const struct settings *s = &instance.settings;
    pthread_once(&described, describe);
    instance.status = STATUS_UNSUCCESSFUL;
    if (!instance.settings_ok) return;
    vidmm_status made = make_driver(s, &driver);
    if (made != VIDMM_OK) {
        complain(made == VIDMM_INVALID ? "the driver refuses this size of VIDMM_VRAM" : "no memory");
        if (made == VIDMM_NO_MEMORY) instance.status = STATUS_NO_MEMORY;
        return;
    }
    find_driver_store(instance.driver_store, sizeof instance.driver_store);
    set_knobs(driver.gpu, s);
    instance.status = start_host(&driver, &host);
    if (instance.status == STATUS_SUCCESS) instance.status = start_face(host);
}

struct kmt_process *instance_process(NTSTATUS *status)
{
    pthread_once(&built, build);
    *status = instance.status;
    return *status == STATUS_SUCCESS ? instance.process[process_of_thread()] : NULL;
}
