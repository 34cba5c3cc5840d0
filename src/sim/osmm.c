/* SPDX-License-Identifier: MIT */
/* osmm.c - see osmm.h. Life of the modelled OS and its processes, and what they do to their memory. */
#include <string.h>

#include "sim/osmm_inside.h"

/* ---- regions ----------------------------------------------------------------------------------- */

vidmm_status osmm_region_add(struct osmm_process *p, uint64_t pages, bool writable, struct osmm_region **out)
{
    const struct vidmm_platform *pl = p->os->platform;
    uint64_t bytes = (pages + 1) << VIDMM_PAGE_SHIFT; /* with a page between neighbours */
    if (pages == 0 || pages > VIDMM_ALLOC_PAGES_MAX || p->next_va < bytes + VIDMM_VA_LOWEST)
        return VIDMM_INVALID;
    struct osmm_region *r = pl->alloc(pl->ctx, sizeof(*r), 16);
    if (r == NULL) return VIDMM_NO_MEMORY;
    p->next_va -= bytes;
    *r = (struct osmm_region){.next = p->regions, .start = p->next_va, .pages = pages, .writable = writable};
    p->regions = r;
    *out = r;
    return VIDMM_OK;
}

void osmm_region_remove(struct osmm_process *p, struct osmm_region *r)
{
    struct osmm_region **at = &p->regions;
    while (*at != r) at = &(*at)->next;
    *at = r->next;
    p->os->platform->free(p->os->platform->ctx, r, sizeof(*r));
}

static struct osmm_region *committed(struct osmm_process *p, uint64_t va)
{
    struct osmm_region *r = osmm_region_at(p, va);
    return r != NULL && r->start == va && r->kind == REGION_COMMITTED && !r->dying ? r : NULL;
}

static uint64_t end_of(const struct osmm_region *r) { return r->start + (r->pages << VIDMM_PAGE_SHIFT); }

vidmm_status osmm_commit(struct osmm_process *p, uint64_t pages, bool writable, uint64_t *va)
{
    struct osmm_region *r;
    if (pages > QUARANTINE_MAX) return VIDMM_LIMIT;
    vidmm_status st = osmm_region_add(p, pages, writable, &r);
    if (st == VIDMM_OK) *va = r->start;
    return st;
}

vidmm_status osmm_decommit(struct osmm_process *p, uint64_t va)
{
    struct osmm_region *r = committed(p, va);
    if (r == NULL) return VIDMM_INVALID;
    if (p->os->quarantined + r->pages > QUARANTINE_MAX) return VIDMM_BUSY;
    for (uint64_t at = r->start; at < end_of(r); at += VIDMM_PAGE_SIZE) (void)osmm_drop(p, at);
    osmm_region_remove(p, r);
    return VIDMM_OK;
}

/* Entries of a region lose their write permission, and nobody writes with the old one any more. */
static bool write_protect(struct osmm_process *p, const struct osmm_region *r)
{
    struct vidmm_iommu_wait w;
    for (uint64_t va = r->start; va < end_of(r); va += VIDMM_PAGE_SIZE) {
        uint64_t *at = osmm_entry(p, va, false);
        if (at != NULL && (osmm_load(at) & PTE_P) != 0) osmm_store(at, osmm_load(at) & ~(uint64_t)PTE_RW);
    }
    osmm_invalidate(p, r->start, end_of(r), &w);
    return w.busy == 0;
}

/* Upwards nothing changes but what the next fault finds. */
vidmm_status osmm_protect(struct osmm_process *p, uint64_t va, bool writable)
{
    struct osmm_region *r = committed(p, va);
    if (r == NULL) return VIDMM_INVALID;
    r->writable = writable;
    return writable || write_protect(p, r) ? VIDMM_OK : VIDMM_BUSY;
}

static bool share_page(struct osmm_process *from, uint64_t va, struct osmm_process *to, uint64_t copy)
{
    const uint64_t *at = osmm_entry(from, va, false);
    if (at == NULL || (osmm_load(at) & PTE_P) == 0) return true; /* zeros in both */
    uint64_t raw = osmm_load(at), *dst = osmm_entry(to, copy, true);
    if (dst == NULL) return false;
    struct osmm_frame *f = &from->os->frame[(raw & PTE_ADDRESS) >> VIDMM_PAGE_SHIFT];
    f->refs++;
    osmm_own(to, (raw & PTE_ADDRESS) >> VIDMM_PAGE_SHIFT);
    osmm_store(dst, raw & ~(uint64_t)(PTE_A | PTE_D));
    return true;
}

vidmm_status osmm_clone(struct osmm_process *from, uint64_t va, struct osmm_process *to, uint64_t *copy)
{
    struct osmm_region *r = committed(from, va), *n;
    if (r == NULL || to->os != from->os) return VIDMM_INVALID;
    if ((from->os->defects & OSMM_SHARES_WRITABLE) == 0 && !write_protect(from, r)) return VIDMM_BUSY;
    vidmm_status st = osmm_region_add(to, r->pages, r->writable, &n);
    if (st != VIDMM_OK) return st;
    for (uint64_t i = 0; i < r->pages; i++) {
        if (share_page(from, r->start + i * VIDMM_PAGE_SIZE, to, n->start + i * VIDMM_PAGE_SIZE)) continue;
        (void)osmm_decommit(to, n->start);
        return VIDMM_NO_MEMORY;
    }
    *copy = n->start;
    return VIDMM_OK;
}

/* ---- the CPU ----------------------------------------------------------------------------------- */

static uint8_t *cpu_page(struct osmm_process *p, uint64_t va, bool write)
{
    for (int i = 0; i < 2; i++) {
        const uint64_t *at = osmm_entry(p, va, false);
        uint64_t raw = at != NULL ? osmm_load(at) : 0;
        bool there = (raw & PTE_P) != 0 && (!write || (raw & PTE_RW) != 0);
        if (there) return (uint8_t *)osmm_page(p->os, (raw & PTE_ADDRESS) >> VIDMM_PAGE_SHIFT);
        if (!osmm_fault(p, va, write)) return NULL;
    }
    return NULL;
}

static bool cpu_access(struct osmm_process *p, uint64_t va, uint8_t *own, uint64_t bytes, bool write)
{
    for (uint64_t n; bytes != 0; bytes -= n, va += n, own += n) {
        uint64_t offset = va % VIDMM_PAGE_SIZE;
        uint8_t *page = cpu_page(p, va, write);
        n = min_u64(bytes, VIDMM_PAGE_SIZE - offset);
        if (page == NULL) return false;
        if (write) memcpy(page + offset, own, n);
        else memcpy(own, page + offset, n);
    }
    return true;
}

bool osmm_cpu_read(struct osmm_process *p, uint64_t va, void *out, uint64_t bytes)
{
    return cpu_access(p, va, out, bytes, false);
}

bool osmm_cpu_write(struct osmm_process *p, uint64_t va, const void *in, uint64_t bytes)
{
    return cpu_access(p, va, (uint8_t *)(uintptr_t)in, bytes, true);
}

/* ---- processes --------------------------------------------------------------------------------- */

vidmm_status osmm_process_create(struct osmm *os, struct osmm_process **out)
{
    const struct vidmm_platform *pl = os->platform;
    uint32_t i = 0;
    while (i < OSMM_PROCESSES_MAX && os->process[i] != NULL) i++;
    if (i == OSMM_PROCESSES_MAX) return VIDMM_LIMIT;
    struct osmm_process *p = pl->alloc(pl->ctx, sizeof(*p), 16);
    if (p == NULL) return VIDMM_NO_MEMORY;
    *p = (struct osmm_process){.os = os, .index = i, .root = osmm_table_new(os)};
    p->next_va = 1ull << (11 + 9 * os->levels); /* the end of the user half */
    if (p->root == 0) {
        pl->free(pl->ctx, p, sizeof(*p));
        return VIDMM_NO_MEMORY;
    }
    os->process[i] = p;
    *out = p;
    return VIDMM_OK;
}

void osmm_process_destroy(struct osmm_process *p)
{
    struct osmm *os = p->os;
    while (osmm_retire(os)) continue; /* of this process everything: unbind has waited for it */
    for (struct osmm_region *r = p->regions, *next; r != NULL; r = next) {
        next = r->next;
        for (uint64_t at = r->start; r->kind == REGION_COMMITTED && at < end_of(r); at += VIDMM_PAGE_SIZE)
            (void)osmm_drop(p, at); /* not bound: nothing has to be waited for */
        osmm_region_remove(p, r);
    }
    osmm_tables_free(p);
    os->process[p->index] = NULL;
    os->platform->free(os->platform->ctx, p, sizeof(*p));
}

void *osmm_host(struct osmm_process *p, uint64_t va)
{
    const struct osmm_region *r = osmm_region_at(p, va);
    if (r == NULL || r->kind != REGION_FRAMES || r->dying) return NULL;
    uint8_t *host = p->os->platform->sys_address(p->os->platform->ctx, r->frame);
    return host + (va - r->start);
}

uint32_t osmm_process_pasid(const struct osmm_process *p) { return p->pasid; }

/* ---- the whole --------------------------------------------------------------------------------- */

vidmm_status osmm_create(const struct osmm_options *o, struct osmm **out)
{
    const struct vidmm_platform *pl = o->platform;
    bool levels = o->levels == 0 || o->levels == 4 || o->levels == 5;
    if (pl == NULL || o->unit == NULL || o->frames == 0 || !levels) return VIDMM_INVALID;
    struct osmm *os = pl->alloc(pl->ctx, sizeof(*os), 16);
    if (os == NULL) return VIDMM_NO_MEMORY;
    *os = (struct osmm){.platform = pl, .unit = o->unit, .frame_count = o->frames, .defects = o->defects,
                        .levels = o->levels != 0 ? o->levels : 4};
    os->frame = pl->alloc(pl->ctx, o->frames * sizeof(*os->frame), 16);
    if (os->frame != NULL) memset(os->frame, 0, o->frames * sizeof(*os->frame));
    os->directory = osmm_table_new(os);
    if (os->frame == NULL || os->directory == 0) {
        osmm_destroy(os);
        return VIDMM_NO_MEMORY;
    }
    osmm_bind_init(os);
    *out = os;
    return VIDMM_OK;
}

void osmm_destroy(struct osmm *os)
{
    const struct vidmm_platform *pl = os->platform;
    for (uint32_t i = 0; i < OSMM_PROCESSES_MAX; i++)
        if (os->process[i] != NULL) osmm_process_destroy(os->process[i]);
    os->unit->set_directory(os->unit->ctx, 0);
    osmm_pasid_free(os);
    if (os->frame != NULL) pl->free(pl->ctx, os->frame, os->frame_count * sizeof(*os->frame));
    pl->free(pl->ctx, os, sizeof(*os));
}

const struct vidmm_iommu *osmm_iommu(struct osmm *os) { return &os->face; }

bool osmm_step(void *osmm)
{
    struct osmm *os = osmm;
    return osmm_bind_step(os) || osmm_retire(os);
}

void osmm_get_accounts(const struct osmm *os, struct osmm_accounts *out)
{
    *out = os->accounts;
    out->quarantined = os->quarantined;
}
