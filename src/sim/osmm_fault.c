/* SPDX-License-Identifier: MIT */
/* osmm_fault.c - what happens when a page is touched that is not there, or not for writing; and how frames
 * are taken away again: entry, invalidation, drain, and only then somebody else. Owns: osmm.frame,
 * .quarantine. */
#include <string.h>

#include "sim/osmm_inside.h"

void osmm_invalidate(struct osmm_process *p, uint64_t start, uint64_t end, struct vidmm_iommu_wait *w)
{
    w->busy = 0;
    if (p->pasid == 0 || (p->os->defects & OSMM_NO_INVALIDATION) != 0) return;
    p->os->unit->invalidate(p->os->unit->ctx, p->pasid, start, end, w);
}

struct osmm_region *osmm_region_at(struct osmm_process *p, uint64_t va)
{
    for (struct osmm_region *r = p->regions; r != NULL; r = r->next)
        if (va >= r->start && va < r->start + (r->pages << VIDMM_PAGE_SHIFT)) return r;
    return NULL;
}

/* ---- frames ------------------------------------------------------------------------------------ */

void osmm_own(struct osmm_process *p, uint64_t frame)
{
    p->os->frame[frame].owned[p->index]++;
    p->os->frame[frame].uses++;
}

void osmm_disown(struct osmm *os, uint32_t owner, uint64_t frame)
{
    os->frame[frame].owned[owner]--;
    os->frame[frame].uses--;
}

static void enter(uint64_t *at, uint64_t frame, bool writable)
{
    osmm_store(at, frame << VIDMM_PAGE_SHIFT | PTE_P | PTE_US | (writable ? PTE_RW : 0u));
}

static void release(struct osmm *os, uint32_t owner, uint64_t frame)
{
    osmm_disown(os, owner, frame);
    if (os->frame[frame].uses == 0) os->platform->sys_free(os->platform->ctx, frame, 1);
}

static void quarantine(struct osmm_process *p, uint64_t frame, const struct vidmm_iommu_wait *w)
{
    struct osmm *os = p->os;
    os->frame[frame].refs--;
    if (w->busy == 0 || (os->defects & OSMM_REUSES_EARLY) != 0) {
        release(os, p->index, frame);
        return;
    }
    os->quarantine[os->quarantined++] = (struct osmm_quarantine){frame, p->index, *w};
}

bool osmm_retire(struct osmm *os)
{
    for (uint32_t i = 0; i < os->quarantined; i++) {
        struct osmm_quarantine q = os->quarantine[i];
        if (!os->unit->invalidated(os->unit->ctx, &q.wait)) continue;
        os->quarantine[i] = os->quarantine[--os->quarantined];
        release(os, q.owner, q.frame);
        return true;
    }
    return false;
}

bool osmm_drop(struct osmm_process *p, uint64_t va)
{
    struct vidmm_iommu_wait w;
    uint64_t *at = osmm_entry(p, va, false);
    if (at == NULL || (osmm_load(at) & PTE_P) == 0) return true;
    if (p->os->quarantined == QUARANTINE_MAX) return false;
    uint64_t frame = (osmm_load(at) & PTE_ADDRESS) >> VIDMM_PAGE_SHIFT;
    osmm_store(at, 0);
    osmm_invalidate(p, va, va + VIDMM_PAGE_SIZE, &w);
    quarantine(p, frame, &w);
    return true;
}

/* ---- faults ------------------------------------------------------------------------------------ */

static bool demand_zero(struct osmm_process *p, const struct osmm_region *r, uint64_t *at)
{
    uint64_t frame = osmm_table_new(p->os); /* zeros */
    p->os->accounts.no_memory += frame == 0;
    if (frame == 0) return false;
    p->os->frame[frame].refs = 1;
    p->os->accounts.demand_zero++;
    osmm_own(p, frame);
    enter(at, frame, r->writable);
    return true;
}

static bool copy_on_write(struct osmm_process *p, uint64_t va, uint64_t *at)
{
    struct osmm *os = p->os;
    struct vidmm_iommu_wait w;
    uint64_t old = (osmm_load(at) & PTE_ADDRESS) >> VIDMM_PAGE_SHIFT;
    if (os->frame[old].refs == 1) {
        enter(at, old, true);
        return true;
    }
    os->accounts.no_memory += os->quarantined == QUARANTINE_MAX;
    if (os->quarantined == QUARANTINE_MAX) return false;
    uint64_t frame = osmm_table_new(os);
    os->accounts.no_memory += frame == 0;
    if (frame == 0) return false;
    memcpy(osmm_page(os, frame), osmm_page(os, old), VIDMM_PAGE_SIZE);
    os->frame[frame].refs = 1;
    os->accounts.copied_on_write++;
    osmm_own(p, frame);
    enter(at, frame, true);
    osmm_invalidate(p, va, va + VIDMM_PAGE_SIZE, &w); /* readers must see the copy too */
    quarantine(p, old, &w);
    return true;
}

bool osmm_fault(struct osmm_process *p, uint64_t va, bool write)
{
    const struct osmm_region *r = osmm_region_at(p, va);
    uint64_t page = align_down(va, VIDMM_PAGE_SIZE);
    bool allowed = r != NULL && !r->dying && (!write || r->writable);
    p->os->accounts.refused += !allowed;
    if (!allowed) return false;
    uint64_t *at = osmm_entry(p, page, true);
    p->os->accounts.no_memory += at == NULL;
    if (at == NULL) return false;
    uint64_t raw = osmm_load(at);
    if ((raw & PTE_P) != 0 && (!write || (raw & PTE_RW) != 0)) return true; /* it has come meanwhile */
    if (r->kind == REGION_FRAMES) {
        uint64_t frame = r->frame + ((page - r->start) >> VIDMM_PAGE_SHIFT);
        osmm_own(p, frame);
        enter(at, frame, r->writable);
        return true;
    }
    return (raw & PTE_P) == 0 ? demand_zero(p, r, at) : copy_on_write(p, page, at);
}
