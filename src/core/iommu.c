/* SPDX-License-Identifier: MIT */
/* iommu.c — the IoMmu model: contexts that use the addresses of their OS process.
 * Owns: process.pasid, device.model, open.shared. Calls: platform->iommu. Keeps: invariant 25.
 * There is no GPU address space and no table here: the OS memory manager decides what an address means.
 * What is left of memory management is that allocations stay at home, where the process sees them at one
 * address for life (Q45), and the order of teardown: contexts idle, PASID blocked, accesses drained, memory
 * freed. */
#include "core/core.h"

static const struct vidmm_iommu *iommu_of(const struct vidmm_process *p) { return p->ad->platform->iommu; }

const char *vmm_iommu_check(const struct vidmm_adapter *ad)
{
    const struct vidmm_adapter_info *in = &ad->info;
    bool gpummu = (in->flags & VIDMM_ADAPTER_GPUMMU) != 0, iommu = (in->flags & VIDMM_ADAPTER_IOMMU) != 0;
    if (BROKEN(ad, ADP_01) && iommu && !gpummu) return "broken on purpose";
    for (uint32_t i = 0; i < in->node_count; i++) {
        const struct vidmm_node_desc *n = &in->node[i];
        if ((n->gpummu && !gpummu) || (n->iommu && !iommu))
            return "a node serves a model that the adapter does not have"; /* ADP-12 */
        if (n->hw_queues && iommu) return "this release has no hardware queues beside IoMmuSupported";
        if (BROKEN(ad, ADP_02) && n->gpummu && n->iommu) return "broken on purpose";
    }
    if (!iommu) return NULL;
    if (ad->platform->iommu == NULL) return "IoMmuSupported needs a platform with an IOMMU";
    if (ad->ops->create_device == NULL || ad->ops->destroy_device == NULL)
        return "IoMmuSupported needs create_device and destroy_device";
    return NULL;
}

/* ---- processes ---- */

/* Models that any gpu of the link has: each has its own, or both (LDA-08). */
static uint32_t models_of(const struct vidmm_adapter *ad)
{
    uint32_t flags = 0;
    LINK_FOREACH(g, ad) flags |= g->info.flags & (VIDMM_ADAPTER_GPUMMU | VIDMM_ADAPTER_IOMMU);
    return flags;
}

bool vmm_iommu_supported(const struct vidmm_adapter *ad)
{
    return (models_of(ad) & VIDMM_ADAPTER_IOMMU) != 0 || (BROKEN(ad, ADP_04) && ad->platform->iommu != NULL);
}

vidmm_status vmm_iommu_bind(struct vidmm_process *p, void *os_process)
{
    const struct vidmm_iommu *io = iommu_of(p);
    if (!vmm_iommu_supported(p->ad) || BROKEN(p->ad, IOM_04)) return VIDMM_OK;
    return io->bind(io->ctx, os_process, &p->pasid);
}

bool vmm_iommu_unbind(struct vidmm_process *p)
{
    const struct vidmm_iommu *io = iommu_of(p);
    if (p->pasid == 0) return true;
    if (!io->unbind(io->ctx, p->pasid)) return false;
    p->pasid = 0;
    return true;
}

/* ---- pointers ---- */

vidmm_status vmm_iommu_map(struct vidmm_process *p, uint64_t frame, uint64_t pages, bool writable,
                           uint64_t *address)
{
    const struct vidmm_iommu *io = iommu_of(p);
    const struct vidmm_platform *pl = p->ad->platform;
    *address = (uint64_t)(uintptr_t)pl->sys_address(pl->ctx, frame);
    return io->map == NULL ? VIDMM_OK : io->map(io->ctx, p->pasid, frame, pages, writable, address);
}

bool vmm_iommu_unmap(struct vidmm_process *p, uint64_t address)
{
    const struct vidmm_iommu *io = iommu_of(p);
    return address == 0 || p->pasid == 0 || io->unmap == NULL || io->unmap(io->ctx, p->pasid, address);
}

static bool shares(const struct vidmm_device *d)
{
    return d->proc->pasid != 0 && d->model != VIDMM_MODEL_GPUMMU;
}

vidmm_status vmm_iommu_narrow(const struct vidmm_device *d, struct vidmm_kmd_allocation *ka)
{
    const struct vidmm_adapter *ad = d->proc->ad->link[ka->gpu];
    uint32_t aperture = 0;
    if (d->model == VIDMM_MODEL_IOMMU && BROKEN(d->proc->ad, ALC_06)) return VIDMM_NOT_SUPPORTED;
    if (d->model != VIDMM_MODEL_IOMMU || BROKEN(d->proc->ad, IOM_06)) return VIDMM_OK;
    for (uint32_t id = 1; id <= ad->segment_count; id++)
        if (ad->segment[id].flags & VIDMM_SEGMENT_APERTURE) aperture = 1u << (id - 1);
    if ((ka->supported & aperture) == 0) return VIDMM_INVALID; /* nowhere but in a memory segment */
    ka->supported = aperture;
    ka->preferred = 0;
    return VIDMM_OK;
}

vidmm_status vmm_iommu_open(struct vidmm_open *op, struct vmm_alloc *al)
{
    if (!shares(op->dev) || !(al->segments & 1u)) return VIDMM_OK;
    vidmm_status st = vmm_iommu_map(op->dev->proc, al->home, al->pages, true, &op->shared);
    if (st != VIDMM_OK) return st;
    op->keeps_home = true; /* a lock for life: it is never placed elsewhere, and comes home if it is */
    al->locks++;
    al->fresh = false;
    al->ad->lock_waiters++;
    return VIDMM_OK;
}

bool vmm_iommu_close(struct vidmm_open *op)
{
    if (!vmm_iommu_unmap(op->dev->proc, op->shared)) return false;
    if (op->keeps_home) {
        op->al->locks--;
        vmm_room_made(op->al->ad); /* others may have it in video memory again */
    }
    op->keeps_home = false;
    op->shared = 0;
    return true;
}

/* An open that was made while a memory segment had the bytes waits until they have come home: its pointer
 * shows nothing else. */
bool vmm_iommu_may_start(const struct vidmm_device *d)
{
    uint32_t waiters = 0;
    if (d->model != VIDMM_MODEL_IOMMU) return true;
    LINK_FOREACH(g, d->proc->ad) waiters += g->lock_waiters;
    if (waiters == 0) return true;
    LIST_FOREACH(it, &d->required) {
        if (list_entry(it, struct vidmm_open, on_required)->al->segment != VMM_SYSTEM) return false;
    }
    return true;
}

/* The client says that it uses the bytes, or that it does not (RES-02). */
void vmm_iommu_resident(struct vidmm_open *op, bool resident)
{
    const struct vidmm_iommu *io = iommu_of(op->dev->proc);
    if (op->shared == 0 || io->resident == NULL) return;
    io->resident(io->ctx, op->dev->proc->pasid, op->shared, resident);
}

/* ---- which model ---- */

enum vidmm_model vmm_model_of_adapter(const struct vidmm_adapter *ad)
{
    switch (models_of(ad)) {
    case VIDMM_ADAPTER_GPUMMU: return VIDMM_MODEL_GPUMMU;
    case VIDMM_ADAPTER_IOMMU: return VIDMM_MODEL_IOMMU;
    default: return VIDMM_MODEL_NONE;
    }
}

static bool all_at_home(const struct vidmm_device *d)
{
    LIST_FOREACH(it, &d->opens) {
        const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_device);
        if (!op->dying && !op->keeps_home) return false;
    }
    return true;
}

vidmm_status vmm_model_check(const struct vidmm_device *d, const struct vidmm_node_desc *n, bool iommu)
{
    enum vidmm_model model = iommu ? VIDMM_MODEL_IOMMU : VIDMM_MODEL_GPUMMU;
    if (iommu ? !n->iommu : !n->gpummu) return VIDMM_NOT_SUPPORTED; /* ADP-12 */
    if (d->model != VIDMM_MODEL_NONE) return d->model == model ? VIDMM_OK : VIDMM_INVALID; /* Q46 */
    return !iommu || all_at_home(d) ? VIDMM_OK : VIDMM_INVALID;
}

/* The first context of a device. Without it allocations waited at home (Q46). */
void vmm_model_take(struct vidmm_device *d, bool iommu)
{
    if (d->model != VIDMM_MODEL_NONE) return;
    d->model = iommu ? VIDMM_MODEL_IOMMU : VIDMM_MODEL_GPUMMU;
    if (iommu) return;
    LIST_FOREACH(it, &d->opens) {
        struct vidmm_open *op = list_entry(it, struct vidmm_open, on_device);
        if (op->keeps_home) op->al->locks--;
        op->keeps_home = false;
        vmm_room_made(op->al->ad);
    }
}

enum vidmm_model vidmm_device_model(const struct vidmm_device *d) { return (enum vidmm_model)d->model; }
