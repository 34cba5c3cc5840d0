/* SPDX-License-Identifier: MIT */
/* osmm_bind.c - the modelled OS as VidMm sees it: PASIDs, frames shown to a process, page requests, and the
 * verifier, which looks at every access of a device when its bytes move.
 * Order of teardown, as in tests/protocol/iommu.pml: block the PASID, let the page requests be answered,
 * invalidate the unit and then the device, wait for accesses in flight, free. */
#include "sim/osmm_inside.h"

struct osmm_process *osmm_by_pasid(const struct osmm *os, uint32_t pasid)
{
    for (uint32_t i = 0; i < OSMM_PROCESSES_MAX; i++)
        if (os->process[i] != NULL && pasid != 0 && os->process[i]->pasid == pasid) return os->process[i];
    return NULL;
}

/* ---- PASIDs ------------------------------------------------------------------------------------ */

static vidmm_status bind(void *ctx, void *os_process, uint32_t *pasid)
{
    struct osmm *os = ctx;
    struct osmm_process *p = os_process;
    if (p == NULL || p->os != os || p->pasid != 0) return VIDMM_INVALID;
    uint32_t next = os->next_pasid;
    do next = next % 0x7fff + 1; /* not soon again */
    while (osmm_by_pasid(os, next) != NULL);
    vidmm_status st = osmm_pasid_set(os, next, p->root);
    if (st != VIDMM_OK) return st;
    os->next_pasid = p->pasid = next;
    p->blocked = false;
    *pasid = next;
    return VIDMM_OK;
}

/* The rest of an entry stays for disown_frames, which has to know what was shown. */
static void hide_frames(struct osmm_process *p, struct osmm_region *r)
{
    for (uint64_t i = 0; i < r->pages; i++) {
        uint64_t *at = osmm_entry(p, r->start + i * VIDMM_PAGE_SIZE, false);
        if (at != NULL) osmm_store(at, osmm_load(at) & PTE_ADDRESS);
    }
}

static void disown_frames(struct osmm_process *p, const struct osmm_region *r)
{
    for (uint64_t i = 0; i < r->pages; i++) {
        uint64_t *at = osmm_entry(p, r->start + i * VIDMM_PAGE_SIZE, false);
        if (at == NULL || osmm_load(at) == 0) continue;
        osmm_store(at, 0);
        osmm_disown(p->os, p->index, r->frame + i);
    }
}

static bool unbind(void *ctx, uint32_t pasid)
{
    struct osmm *os = ctx;
    struct osmm_process *p = osmm_by_pasid(os, pasid);
    if (p == NULL) return true;
    if (!p->blocked) {
        p->blocked = true;
        osmm_pasid_clear(os, pasid);
        os->unit->invalidate(os->unit->ctx, pasid, 0, 0, &p->wait);
    }
    if (os->unit->requests_open(os->unit->ctx, pasid)) return false;
    if (!os->unit->invalidated(os->unit->ctx, &p->wait)) return false;
    for (struct osmm_region *r = p->regions, *next; r != NULL; r = next) {
        next = r->next;
        if (r->kind != REGION_FRAMES) continue;
        disown_frames(p, r);
        osmm_region_remove(p, r);
    }
    p->pasid = 0;
    return true;
}

/* ---- frames of VidMm --------------------------------------------------------------------------- */

static vidmm_status map(void *ctx, uint32_t pasid, uint64_t frame, uint64_t pages, bool writable,
                        uint64_t *address)
{
    struct osmm *os = ctx;
    struct osmm_process *p = osmm_by_pasid(os, pasid);
    struct osmm_region *r;
    if (p == NULL || frame + pages > os->frame_count) return VIDMM_INVALID;
    vidmm_status st = osmm_region_add(p, pages, writable, &r);
    if (st != VIDMM_OK) return st;
    r->kind = REGION_FRAMES;
    r->frame = frame;
    *address = r->start;
    return VIDMM_OK;
}

static bool finish(struct osmm_process *p, struct osmm_region *r)
{
    if (!p->os->unit->invalidated(p->os->unit->ctx, &r->wait)) return false;
    if (r->kind == REGION_FRAMES) disown_frames(p, r);
    osmm_region_remove(p, r);
    return true;
}

static bool unmap(void *ctx, uint32_t pasid, uint64_t address)
{
    struct osmm_process *p = osmm_by_pasid(ctx, pasid);
    struct osmm_region *r = p != NULL ? osmm_region_at(p, address) : NULL;
    if (r == NULL) return true;
    if (!r->dying) {
        r->dying = true;
        hide_frames(p, r);
        osmm_invalidate(p, r->start, r->start + (r->pages << VIDMM_PAGE_SHIFT), &r->wait);
    }
    return finish(p, r);
}

static void resident(void *ctx, uint32_t pasid, uint64_t address, bool is)
{
    struct osmm_process *p = osmm_by_pasid(ctx, pasid);
    struct osmm_region *r = p != NULL ? osmm_region_at(p, address) : NULL;
    if (r == NULL) return;
    r->resident = is;
    r->budgeted = true;
}

/* ---- the verifier ------------------------------------------------------------------------------ */

static void used(void *arg, uint32_t pasid, uint64_t va, uint64_t frame, bool write)
{
    struct osmm *os = arg;
    struct osmm_process *p = osmm_by_pasid(os, pasid);
    const struct osmm_frame *f = frame < os->frame_count ? &os->frame[frame] : NULL;
    bool own = p != NULL && f != NULL && f->owned[p->index] != 0;
    if (!own || (write && f->refs > 1)) os->accounts.foreign++;
    const struct osmm_region *r = p != NULL ? osmm_region_at(p, va) : NULL;
    if (r != NULL && r->budgeted && !r->resident && !r->dying) os->accounts.evicted_uses++;
}

bool osmm_bind_step(struct osmm *os)
{
    struct vidmm_page_request q;
    if (os->unit->next_request(os->unit->ctx, &q)) {
        struct osmm_process *p = osmm_by_pasid(os, q.pasid);
        os->unit->respond(os->unit->ctx, q.id, p != NULL && !p->blocked && osmm_fault(p, q.va, q.write));
        return true;
    }
    for (uint32_t i = 0; i < OSMM_PROCESSES_MAX; i++) {
        struct osmm_process *p = os->process[i];
        for (struct osmm_region *r = p != NULL ? p->regions : NULL; r != NULL; r = r->next)
            if (r->dying && finish(p, r)) return true;
    }
    return false;
}

void osmm_bind_init(struct osmm *os)
{
    os->face = (struct vidmm_iommu){.ctx = os, .unit = os->unit, .bind = bind, .unbind = unbind, .map = map,
                                    .unmap = unmap, .resident = resident};
    os->unit->set_directory(os->unit->ctx, os->directory);
    os->unit->set_verifier(os->unit->ctx, used, os);
}
