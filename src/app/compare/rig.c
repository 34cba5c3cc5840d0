/* SPDX-License-Identifier: MIT */
/* rig.c — a machine in the simulated world: the ref GPU, the modelled translation unit and OS where addresses
 * are shared, one process with one device. Calls: sim, softgpu, the core's public interface.
 * Roots are overheard between the core and the driver, between the OS and the unit: two static words, since
 * one machine exists at a time. */
#include <stdlib.h>
#include <string.h>

#include "app/compare/compare.h"
#include "sim/osmm.h"
#include "sim/world.h"
#include "softgpu/iommu.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"
#include "softgpu/ref/ref_commands.h"

#define TURNS 40000000u
#define SPARE_FRAMES 65536u

struct rig {
    enum way way;
    struct world *world;
    struct ref_kmd *ref;
    struct vidmm_kmd_ops ops;
    struct softgpu_iommu *unit;
    struct vidmm_iommu_unit heard;
    struct osmm *os;
    struct osmm_process *os_process;
    struct vidmm_adapter *ad;
    struct vidmm_process *process;
    struct vidmm_device *device;
    struct vidmm_queue *queue;
    struct vidmm_context *context;
};

static struct { struct vidmm_gpu_address root; uint64_t directory; } overheard;

static void hear_root(void *kmd, void *context, struct vidmm_gpu_address root, uint32_t entries)
{
    overheard.root = root;
    ref_ops()->set_root_page_table(kmd, context, root, entries);
}

static const struct vidmm_iommu_unit *real_unit;

static void hear_directory(void *ctx, uint64_t frame)
{
    if (frame != 0) overheard.directory = frame;
    real_unit->set_directory(ctx, frame);
}

static bool failed(struct rig *r, const char **why, const char *what)
{
    (void)r;
    if (*why == NULL) *why = what;
    return false;
}

/* ---- the machine ---- */

static bool step_compute(void *gpu) { return softgpu_engine_step(gpu, REF_NODE_COMPUTE) == SOFTGPU_PROGRESS; }
static bool step_paging(void *gpu) { return softgpu_engine_step(gpu, REF_NODE_PAGING) == SOFTGPU_PROGRESS; }
static bool step_os(void *os) { return osmm_step(os); }

static bool open_os(struct rig *r, uint64_t frames, const char **why)
{
    struct softgpu_iommu_options uo = {.platform = world_platform(r->world)};
    if (softgpu_iommu_create(&uo, &r->unit) != VIDMM_OK) return failed(r, why, "no memory for the unit");
    real_unit = softgpu_iommu_unit(r->unit);
    r->heard = *real_unit;
    r->heard.set_directory = hear_directory;
    struct osmm_options so = {.platform = world_platform(r->world), .unit = &r->heard,
                              .frames = frames + SPARE_FRAMES, .levels = r->way == WAY_IOMMU_5 ? 5 : 4};
    if (osmm_create(&so, &r->os) != VIDMM_OK) return failed(r, why, "no memory for the OS");
    world_set_iommu(r->world, osmm_iommu(r->os));
    world_add_actor(r->world, &(struct world_actor){step_os, NULL, r->os});
    return true;
}

static bool open_adapter(struct rig *r, uint64_t bytes, const char **why)
{
    struct ref_options ro;
    ref_options_default(&ro, REF_FORMAT_A);
    for (uint32_t i = 0; i < VIDMM_LEVELS_MAX; i++) ro.table_segment[i] = 0; /* the same medium for all */
    ro.iommu = ro.no_gpummu = way_shares(r->way);
    ro.physical = r->way == WAY_PHYSICAL;
    ro.segment[2].bytes = 2 * bytes; /* the aperture */
    ro.paging_buffer_bytes = 65536;
    ro.now_ns = world_now_ns;
    ro.now_ctx = r->world;
    if (ref_create(&ro, &r->ref) != VIDMM_OK) return failed(r, why, "no GPU");
    r->ops = *ref_ops();
    r->ops.set_root_page_table = hear_root;
    struct vidmm_adapter_config c = {.struct_size = sizeof(c), .platform = world_platform(r->world),
                                     .ops = &r->ops, .kmd = r->ref, .tdr_level = VIDMM_TDR_OFF};
    if (vidmm_adapter_create(&c, &r->ad, why) != VIDMM_OK) return failed(r, why, "no adapter");
    world_own(r->world, r->ad);
    world_add_actor(r->world, &(struct world_actor){step_compute, NULL, ref_gpu(r->ref)});
    world_add_actor(r->world, &(struct world_actor){step_paging, NULL, ref_gpu(r->ref)});
    return true;
}

static bool open_client(struct rig *r, const char **why)
{
    struct ref_context_private in = {.magic = REF_CONTEXT_MAGIC, .iommu = way_shares(r->way)};
    struct vidmm_context_desc d = {.node = REF_NODE_COMPUTE, .private_data = &in, .private_size = sizeof(in)};
    if (r->os != NULL && osmm_process_create(r->os, &r->os_process) != VIDMM_OK)
        return failed(r, why, "no process");
    bool ok = vidmm_process_create_for(r->ad, r->os_process, &r->process) == VIDMM_OK &&
              vidmm_device_create(r->process, &r->device) == VIDMM_OK &&
              vidmm_queue_create(r->device, 0, &r->queue) == VIDMM_OK &&
              vidmm_context_create(r->device, &d, &r->context) == VIDMM_OK;
    return ok || failed(r, why, "no device");
}

struct rig *rig_open(enum way way, uint64_t bytes, const char **why)
{
    struct rig *r = calloc(1, sizeof(*r));
    struct world_options wo = {.seed = 1, .frames = bytes / VIDMM_PAGE_SIZE * 2 + SPARE_FRAMES};
    *why = r == NULL ? "no memory" : NULL;
    if (r == NULL) return NULL;
    r->way = way;
    r->world = world_create(&wo);
    bool ok = r->world != NULL || failed(r, why, "no memory for the world");
    if (ok && way_shares(way)) ok = open_os(r, wo.frames, why);
    ok = ok && open_adapter(r, bytes, why) && open_client(r, why);
    if (ok) return r;
    rig_close(r);
    return NULL;
}

void rig_close(struct rig *r)
{
    if (r->process != NULL) vidmm_process_destroy(r->process);
    if (r->ad != NULL) (void)world_settle(r->world, TURNS);
    if (r->ad != NULL) vidmm_adapter_destroy(r->ad);
    if (r->world != NULL) world_own(r->world, NULL);
    if (r->os != NULL) osmm_destroy(r->os);
    if (r->unit != NULL) softgpu_iommu_destroy(r->unit);
    ref_destroy(r->ref);
    if (r->world != NULL) world_destroy(r->world);
    free(r);
}

/* ---- memory ---- */

uint64_t rig_memory(struct rig *r, uint64_t bytes, struct vidmm_open **op)
{
    struct ref_alloc_private p = {.magic = REF_ALLOC_MAGIC, .alignment = 65536, .bytes = bytes};
    if (r->way == WAY_PHYSICAL) p.flags = VIDMM_ALLOCATION_ACCESSED_PHYSICALLY;
    struct vidmm_alloc_desc d = {.private_data = &p, .private_size = sizeof(p)};
    uint64_t va = 0, value, trim;
    void *pointer;
    if (vidmm_alloc_create(r->device, &d, op) != VIDMM_OK) return 0;
    if (vidmm_make_resident(r->queue, op, 1, VIDMM_RESIDENT_CANT_TRIM_FURTHER, &value, &trim) < 0) return 0;
    if (way_shares(r->way)) {
        if (vidmm_open_lock(*op, &pointer) != VIDMM_OK) return 0;
        (void)vidmm_open_unlock(*op);
        va = (uint64_t)(uintptr_t)pointer;
    } else if (r->way == WAY_PHYSICAL) {
        va = RIG_NO_ADDRESS;
    } else {
        struct vidmm_map m = {.open = *op, .bytes = bytes, .protection = VIDMM_PROT_WRITE};
        if (vidmm_va_map(r->queue, &m, &va, &value) < 0) return 0;
    }
    return world_settle(r->world, TURNS) ? va : 0;
}

void rig_forget(struct rig *r, struct vidmm_open *op, uint64_t va, uint64_t bytes)
{
    if (!way_shares(r->way) && va != RIG_NO_ADDRESS) (void)vidmm_va_free(r->process, va, bytes);
    vidmm_open_close(op, 0);
    (void)world_settle(r->world, TURNS);
}

void *rig_host(struct rig *r, struct vidmm_open *op)
{
    const struct vidmm_platform *pl = world_platform(r->world);
    struct vidmm_placement_info at;
    vidmm_open_placement(op, &at);
    return at.segment != 0 ? NULL : pl->sys_address(pl->ctx, at.offset / VIDMM_PAGE_SIZE);
}

/* The driver is told the root of a context before its first packet. */
bool rig_root(struct rig *r, struct root *out)
{
    *out = (struct root){.levels = 4};
    if (r->way == WAY_PHYSICAL) return true;
    if (way_shares(r->way)) {
        *out = (struct root){overheard.directory * VIDMM_PAGE_SIZE, r->way == WAY_IOMMU_5 ? 5 : 4,
                             osmm_process_pasid(r->os_process)};
        return out->pasid != 0;
    }
    overheard.root = (struct vidmm_gpu_address){0, 0};
    if (vidmm_context_submit(r->context, 0, 0, NULL, 0, VIDMM_SUBMIT_NULL) != VIDMM_OK) return false;
    if (!world_settle(r->world, TURNS)) return false;
    out->address = overheard.root.offset;
    return overheard.root.segment == 0 && out->address != 0;
}

const struct vidmm_platform *rig_platform(const struct rig *r) { return world_platform(r->world); }
const struct vidmm_counters *rig_counters(const struct rig *r) { return vidmm_adapter_counters(r->ad); }

uint64_t rig_invalidations(const struct rig *r)
{
    struct softgpu_iommu_stats s = {0};
    if (r->unit != NULL) softgpu_iommu_get_stats(r->unit, &s);
    return s.invalidations;
}

uint64_t rig_untouched(struct rig *r, uint64_t pages)
{
    uint64_t va = 0;
    return osmm_commit(r->os_process, pages, true, &va) == VIDMM_OK ? va : 0;
}

bool rig_touch(struct rig *r, uint64_t va)
{
    const struct vidmm_iommu_unit *u = real_unit;
    uint32_t pasid = osmm_process_pasid(r->os_process);
    struct vidmm_iommu_page page;
    for (int tries = 0; tries < 64; tries++) {
        enum vidmm_iommu_answer a = u->translate(u->ctx, REF_NODE_COMPUTE, pasid, va, true, &page);
        if (a == VIDMM_IOMMU_DONE) return true;
        if (a == VIDMM_IOMMU_FAULT) return false;
        if (u->page_request(u->ctx, REF_NODE_COMPUTE, pasid, va, true) == VIDMM_IOMMU_FAULT) return false;
        (void)osmm_step(r->os);
    }
    return false;
}
