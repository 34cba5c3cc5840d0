/* SPDX-License-Identifier: MIT */
/* shared.c - addresses of an OS process, for contexts that carry a PASID. Where the machine has a translation
 * unit, it translates, and a page that is missing is requested; else the address is the host's own, and
 * what is not there shows when the platform's copy fails. Owns nothing. Calls: platform->iommu->unit. */
#include <vidmm/kmd.h>

#include "base/bits.h"
#include "softgpu/gpu.h"
#include "softgpu/processor.h"

/* NULL: the machine translates by itself. */
static const struct vidmm_iommu_unit *unit_of(const struct softgpu_engine *e)
{
    const struct vidmm_iommu *io = e->gpu->platform->iommu;
    return io != NULL ? io->unit : NULL;
}

/* Each engine of each gpu of a link is a requester of its own. */
static uint32_t source_of(const struct softgpu_engine *e)
{
    return e->gpu->index * (VIDMM_IOMMU_SOURCES / VIDMM_GPUS_MAX) + e->node;
}

static bool shares(const struct softgpu_engine *e) { return e->packet.context->pasid != 0; }

void shared_enter(struct softgpu_engine *e)
{
    const struct vidmm_iommu_unit *u = unit_of(e);
    if (u != NULL && shares(e)) u->enter(u->ctx, source_of(e), e->packet.context->pasid);
}

void shared_leave(struct softgpu_engine *e)
{
    const struct vidmm_iommu_unit *u = unit_of(e);
    if (u != NULL && shares(e)) u->leave(u->ctx, source_of(e));
}

void shared_forget(struct softgpu_engine *e)
{
    const struct vidmm_iommu_unit *u = e->gpu->platform != NULL ? unit_of(e) : NULL;
    if (u != NULL) u->forget(u->ctx, source_of(e));
}

void shared_used(struct softgpu_engine *e, uint64_t va, uint64_t address, bool write)
{
    const struct vidmm_iommu_unit *u = unit_of(e);
    if (u == NULL || !shares(e)) return;
    u->used(u->ctx, e->packet.context->pasid, va, address >> VIDMM_PAGE_SHIFT, write);
}

bool shared_fault(struct softgpu_engine *e, uint64_t va, bool write)
{
    processor_error(e, va, SOFTGPU_ERROR_NOT_PRESENT);
    e->fault.flags |= VIDMM_FAULT_IOMMU | (write ? VIDMM_FAULT_WRITE : 0u);
    return false;
}

bool shared_translate(struct softgpu_engine *e, uint64_t va, bool write, struct gpu_page *out)
{
    const struct vidmm_iommu_unit *u = unit_of(e);
    uint64_t at = align_down(va, VIDMM_PAGE_SIZE);
    uint32_t pasid = e->packet.context->pasid;
    struct vidmm_iommu_page page;
    if (u == NULL) {
        uint8_t *host = (uint8_t *)(uintptr_t)at;
        *out = (struct gpu_page){.span = {host, VIDMM_PAGE_SIZE, DEVMEM_SYSTEM}, .owner = e->gpu,
                                 .segment = GPU_NO_SEGMENT};
        return true;
    }
    enum vidmm_iommu_answer a = u->translate(u->ctx, source_of(e), pasid, at, write, &page);
    if (a == VIDMM_IOMMU_MISSING) a = u->page_request(u->ctx, source_of(e), pasid, at, write);
    if (a == VIDMM_IOMMU_FAULT) return shared_fault(e, va, write);
    e->again = a != VIDMM_IOMMU_DONE; /* the same access again, when the OS has answered */
    if (e->again) return false;
    *out = (struct gpu_page){.span = {page.host, VIDMM_PAGE_SIZE, DEVMEM_SYSTEM}, .owner = e->gpu,
                             .address = page.frame << VIDMM_PAGE_SHIFT};
    return true;
}
