/* SPDX-License-Identifier: MIT */
/* fence.c — monitored fences: a value of 64 or 32 bits in a page that CPU and GPU both reach.
 * Owns: process->fence_pages, device->fences. Calls: bind.c, table.c, span. Keeps: invariant 10 (values).
 * Fence pages are VidMm's own: their addresses come top-down from the upper half of the space (Q49). */
#include "core/core.h"

#define SLOT_BYTES (VIDMM_PAGE_SIZE / VMM_FENCE_SLOTS)

/* A narrow fence is never touched as 64 bits. */
static uint32_t *narrow_of(const struct vidmm_fence *f) { return (uint32_t *)(void *)f->value; }

uint64_t vmm_fence_load(const struct vidmm_fence *f)
{
    if (f->narrow) return __atomic_load_n(narrow_of(f), __ATOMIC_ACQUIRE);
    return __atomic_load_n(f->value, __ATOMIC_ACQUIRE);
}

void vmm_fence_store(struct vidmm_fence *f, uint64_t value)
{
    if (f->narrow) __atomic_store_n(narrow_of(f), (uint32_t)value, __ATOMIC_RELEASE);
    else __atomic_store_n(f->value, value, __ATOMIC_RELEASE);
}

/* Has `now` come as far as `value`? Of narrow fences only the lower half counts: the shorter way round
 * tells which of the two is ahead (SUB-17). */
static bool come_to(const struct vidmm_fence *f, uint64_t now, uint64_t value)
{
    if (!f->narrow) return now >= value;
    return (uint32_t)now - (uint32_t)value <= UINT32_MAX / 2;
}

bool vmm_fence_reached(const struct vidmm_fence *f, uint64_t value)
{
    return f->dying || f->over || f->dev->proc->ad->removed || come_to(f, vmm_fence_load(f), value);
}

void vmm_fence_raise(struct vidmm_fence *f, uint64_t value)
{
    if (!vmm_fence_reached(f, value)) vmm_fence_store(f, value);
}

void vmm_fence_end(struct vidmm_fence *f)
{
    vmm_fence_store(f, UINT64_MAX);
    f->over = true;
}

/* A two-level space keeps its own pages below what the root covers, so that a fence never grows it. */
static struct span *claim_page(const struct vidmm_process *p)
{
    uint64_t top = 1ull << p->ad->info.va_bits;
    SPACE_FOREACH(sp, p) {
        if (sp->ad->info.level_count == 2 && !sp->ad->lost && sp->tables.root != NULL)
            top = min_u64(top, (uint64_t)vmm_tables_coverage(sp) << sp->ad->shift[1]);
    }
    struct span_want want = { VIDMM_PAGE_SIZE, VIDMM_PAGE_SIZE, top / 2, top, SPAN_DOWN };
    return span_alloc(p->space.claims, &want);
}

/* At the same address on every gpu. */
static vidmm_status take_bindings(struct vidmm_process *p, struct vmm_fence_page *page)
{
    struct range r = { page->claim->start, page->claim->end };
    SPACE_FOREACH(sp, p) {
        struct vmm_binding **b = &page->binding[sp->ad->gpu];
        if (sp->ad->lost || sp->tables.root == NULL) continue;
        *b = vmm_new(sp->ad, sizeof **b);
        if (*b == NULL) return VIDMM_NO_MEMORY;
        vidmm_status st = vmm_tables_acquire(sp, r);
        if (st == VIDMM_OK) continue;
        vmm_delete(sp->ad, *b, sizeof **b);
        *b = NULL; /* nothing is held there */
        return st;
    }
    return VIDMM_OK;
}

static void give_bindings(struct vidmm_process *p, struct vmm_fence_page *page)
{
    SPACE_FOREACH(sp, p) {
        struct vmm_binding *b = page->binding[sp->ad->gpu];
        if (b == NULL) continue;
        vmm_tables_release(sp, (struct range){ page->claim->start, page->claim->end }, false);
        vmm_delete(sp->ad, b, sizeof *b);
    }
}

static void page_free(struct vidmm_process *p, struct vmm_fence_page *page)
{
    struct vidmm_adapter *ad = p->ad;
    (void)vmm_iommu_unmap(p, page->shared); /* nobody knows the address yet, or the PASID is gone */
    if (page->claim != NULL) span_remove(p->space.claims, page->claim);
    vmm_frames_give(ad, &page->memory);
    vmm_delete(ad, page, sizeof *page);
}

static vidmm_status page_fill(struct vidmm_process *p, bool read_only, struct vmm_fence_page *page)
{
    struct vidmm_adapter *ad = p->ad;
    vidmm_status st = vmm_frames_take(ad, 1, &page->memory);
    if (st != VIDMM_OK) return VIDMM_NO_MEMORY;
    page->cpu = ad->platform->sys_address(ad->platform->ctx, page->memory.frame);
    if (p->pasid != 0 && vmm_iommu_map(p, page->memory.frame, 1, !read_only, &page->shared) != VIDMM_OK)
        return VIDMM_NO_MEMORY;
    if (!vmm_has_tables(p)) return VIDMM_OK; /* reached by the process' own address only */
    if (!vmm_claims_reserve(&p->space)) return VIDMM_NO_MEMORY;
    page->claim = claim_page(p);
    if (page->claim == NULL) return VIDMM_NO_VIDEO_MEMORY;
    page->claim->kind = CLAIM_INTERNAL;
    st = take_bindings(p, page);
    if (st != VIDMM_OK) give_bindings(p, page);
    return st;
}

static void page_show(struct vidmm_process *p, struct vmm_fence_page *page)
{
    struct range r = { page->claim->start, page->claim->end };
    SPACE_FOREACH(sp, p) {
        struct vmm_binding *b = page->binding[sp->ad->gpu], *none[2] = { NULL, NULL };
        if (b == NULL) continue;
        b->target = TARGET_FRAME;
        b->prot = page->read_only ? 0 : VIDMM_PROT_WRITE;
        b->offset = page->memory.logical * VIDMM_PAGE_SIZE;
        vmm_bind_replace(sp, r, b, none);
        if (!vmm_space_flush_pending(sp)) continue;
        sp->gate_seq = sp->flush_seq;
        vmm_hw_gate(sp);
    }
}

static vidmm_status page_make(struct vidmm_process *p, bool read_only, struct vmm_fence_page **out)
{
    struct vidmm_adapter *ad = p->ad;
    struct vmm_fence_page *page = vmm_new(ad, sizeof *page);
    if (page == NULL) return VIDMM_NO_MEMORY;
    vidmm_status st = page_fill(p, read_only, page);
    if (st != VIDMM_OK) {
        page_free(p, page);
        return st;
    }
    page->read_only = read_only;
    if (page->claim != NULL) page_show(p, page);
    list_push_back(&p->fence_pages, &page->on_process);
    *out = page;
    return VIDMM_OK;
}

static vidmm_status page_find(struct vidmm_process *p, bool read_only, struct vmm_fence_page **out)
{
    LIST_FOREACH(it, &p->fence_pages) {
        struct vmm_fence_page *page = list_entry(it, struct vmm_fence_page, on_process);
        if (page->used == UINT64_MAX || page->read_only != read_only) continue;
        *out = page;
        return VIDMM_OK;
    }
    return page_make(p, read_only, out);
}

vidmm_status vmm_fence_make(struct vidmm_device *d, uint64_t initial, uint32_t flags,
                            struct vidmm_fence **out)
{
    struct vidmm_adapter *ad = d->proc->ad;
    struct vmm_fence_page *page = NULL;
    struct vidmm_fence *f = vmm_new(ad, sizeof *f);
    if (f == NULL) return VIDMM_NO_MEMORY;
    vidmm_status st = page_find(d->proc, (flags & VMM_FENCE_READ_ONLY) != 0, &page);
    if (st != VIDMM_OK) {
        vmm_delete(ad, f, sizeof *f);
        return st;
    }
    f->dev = d;
    f->page = page;
    f->slot = ctz64(~page->used);
    f->flags = flags;
    f->id = ++ad->lead->next_id;
    page->used |= 1ull << f->slot;
    f->value = (uint64_t *)(void *)((char *)page->cpu + f->slot * SLOT_BYTES);
    uint64_t start = page->claim != NULL ? page->claim->start : page->shared; /* 0: a physical adapter */
    bool reach = start != 0 && !(flags & VIDMM_FENCE_NO_GPU_ACCESS);
    f->gpu_va = reach ? start + f->slot * SLOT_BYTES : 0;
    f->narrow = (vmm_link_sched_flags(ad) & VIDMM_SCHED_NO_64BIT_ATOMICS) != 0 &&
                (flags & (VIDMM_FENCE_NO_GPU_ACCESS | VMM_FENCE_READ_ONLY)) == 0; /* ADP-20 */
    memset(f->value, 0, sizeof *f->value);
    vmm_fence_store(f, initial);
    list_push_back(&d->fences, &f->on_device);
    *out = f;
    return VIDMM_OK;
}

vidmm_status vidmm_fence_create(struct vidmm_device *d, uint64_t initial, uint32_t flags,
                                struct vidmm_fence **out)
{
    uint32_t known = VIDMM_FENCE_NO_SIGNAL | VIDMM_FENCE_NO_WAIT | VIDMM_FENCE_NO_MAX_ON_LOSS |
                     VIDMM_FENCE_NO_GPU_ACCESS;
    if (flags & ~known) return VIDMM_INVALID;
    if ((flags & VIDMM_FENCE_NO_SIGNAL) && (flags & VIDMM_FENCE_NO_WAIT)) return VIDMM_INVALID;
    if (d->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    return vmm_fence_make(d, initial, flags, out);
}

/* Packets that name it go on: their waits are satisfied, their signals have no effect. */
void vmm_fence_drop(struct vidmm_fence *f)
{
    struct vidmm_adapter *ad = f->dev->proc->ad;
    f->dying = true;
    if (f->refs > 0) {
        vmm_fence_store(f, UINT64_MAX); /* for waits that the device looks at itself */
        return;
    }
    list_remove(&f->on_device);
    f->page->used &= ~(1ull << f->slot);
    vmm_delete(ad, f, sizeof *f);
}

void vidmm_fence_destroy(struct vidmm_fence *f) { vmm_fence_drop(f); }

/* The space is going away as a whole; its bindings are freed by the caller. */
void vmm_fence_pages_free(struct vidmm_process *p)
{
    LIST_FOREACH_SAFE(it, tmp, &p->fence_pages) {
        struct vmm_fence_page *page = list_entry(it, struct vmm_fence_page, on_process);
        list_remove(&page->on_process);
        page_free(p, page);
    }
}

const uint64_t *vidmm_fence_cpu_address(const struct vidmm_fence *f) { return f->value; }
/* Contexts of the IoMmu model reach a fence where their process does (IOM-15). */
uint64_t vidmm_fence_gpu_address(const struct vidmm_fence *f)
{
    bool shared = f->dev->model == VIDMM_MODEL_IOMMU && f->gpu_va != 0;
    return shared ? f->page->shared + f->slot * SLOT_BYTES : f->gpu_va;
}

uint64_t vidmm_fence_value(const struct vidmm_fence *f) { return vmm_fence_load(f); }

bool vidmm_fence_reached(const struct vidmm_fence *f, uint64_t value) { return vmm_fence_reached(f, value); }

static vidmm_status check_signal(const struct vidmm_fence *f, uint64_t value, uint32_t flags)
{
    if (f->flags & VIDMM_FENCE_NO_SIGNAL) return VIDMM_ACCESS_DENIED;
    if (f->dev->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if (flags & VIDMM_SIGNAL_ALLOW_REWIND) return VIDMM_OK;
    return come_to(f, value, vmm_fence_load(f)) ? VIDMM_OK : VIDMM_INVALID; /* SUB-21 */
}

vidmm_status vidmm_fences_signal(struct vidmm_fence *const *fences, const uint64_t *values, uint32_t n,
                                 uint32_t flags)
{
    uint32_t known = VIDMM_SIGNAL_AT_SUBMISSION | VIDMM_SIGNAL_ALLOW_REWIND;
    if (n == 0 || n > VIDMM_WAIT_OBJECTS_MAX || (flags & ~known) != 0) return VIDMM_INVALID;
    for (uint32_t i = 0; i < n; i++) {
        vidmm_status st = check_signal(fences[i], values[i], flags);
        if (st != VIDMM_OK) return st;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (flags & VIDMM_SIGNAL_ALLOW_REWIND) vmm_fence_store(fences[i], values[i]);
        else vmm_fence_raise(fences[i], values[i]); /* the GPU may have been faster */
    }
    return VIDMM_OK;
}

vidmm_status vidmm_fence_signal(struct vidmm_fence *f, uint64_t value)
{
    return vidmm_fences_signal(&f, &value, 1, 0);
}
