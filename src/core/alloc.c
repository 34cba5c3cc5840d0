/* SPDX-License-Identifier: MIT */
/* alloc.c — allocations and the devices' references to them: create, close, CPU access.
 * Owns: struct vmm_alloc, struct vidmm_open. Calls: the driver, place.c, bind.c, va.c (claims), resid.c.
 * Keeps: invariants 4 and 11. An allocation owns its system memory for life: whatever is evicted has a
 * place to go, so eviction cannot fail. */
#include "core/core.h"

/* ---- create ---- */

static vidmm_status check_segments(const struct vidmm_adapter *ad, const struct vidmm_kmd_allocation *ka,
                                   struct vmm_alloc *al)
{
    uint32_t known = (uint32_t)mask_low64(ad->segment_count);
    if (ka->supported == 0 || (ka->supported & ~known)) return VIDMM_INVALID;
    if (ka->preferred > ad->segment_count) return VIDMM_INVALID;
    if (ka->preferred != 0 && !(ka->supported >> (ka->preferred - 1) & 1u)) return VIDMM_INVALID; /* SEG-13 */
    al->align = (uint32_t)VIDMM_PAGE_SIZE;
    for (uint32_t id = 1; id <= ad->segment_count; id++) {
        const struct vmm_segment *seg = &ad->segment[id];
        if (!(ka->supported >> (id - 1) & 1u)) continue;
        /* The aperture stands for system memory (SEG-10, SEG-17). */
        if (seg->flags & VIDMM_SEGMENT_APERTURE) {
            al->segments |= 1u;
            continue;
        }
        al->segments |= 1u << id;
        if (seg->page_shift == 16 && !is_aligned(ka->alignment, VIDMM_PAGE_64K)) return VIDMM_INVALID;
        if (seg->page_shift == 16) al->align = (uint32_t)VIDMM_PAGE_64K;
    }
    al->preferred = ka->preferred;
    if (al->preferred != 0 && (ad->segment[al->preferred].flags & VIDMM_SEGMENT_APERTURE)) al->preferred = 0;
    else if (al->preferred == 0 && !(al->segments & 1u)) al->preferred = ctz32(al->segments);
    return VIDMM_OK;
}

/* Nowhere but in the aperture is a contiguous place certain, so it must be allowed there. */
static vidmm_status check_physical(const struct vidmm_adapter *ad, const struct vidmm_kmd_allocation *ka,
                                   struct vmm_alloc *al)
{
    al->physical = (ka->flags & VIDMM_ALLOCATION_ACCESSED_PHYSICALLY) != 0;
    al->cached = (ka->flags & VIDMM_ALLOCATION_CACHED) != 0;
    al->aperture_cpu_visible = (ka->flags & VIDMM_ALLOCATION_MAP_APERTURE_CPU_VISIBLE) != 0;
    if (!al->physical) return VIDMM_OK;
    if (al->mirrored) return VIDMM_NOT_SUPPORTED;
    if (ad->aperture == 0) return VIDMM_NOT_SUPPORTED;
    return al->segments & 1u ? VIDMM_OK : VIDMM_INVALID;
}

/* Common room is nowhere certain but at home. */
static vidmm_status check_mirrored(const struct vidmm_adapter *ad, const struct vidmm_kmd_allocation *ka,
                                   struct vmm_alloc *al)
{
    al->mirrored = (ka->flags & VIDMM_ALLOCATION_LINK_MIRRORED) != 0;
    if (!al->mirrored) return VIDMM_OK;
    if (ka->flags & VIDMM_ALLOCATION_LINK_INSTANCED) return VIDMM_INVALID;
    return (al->segments & 1u) && vmm_mirror_fits(ad, al) ? VIDMM_OK : VIDMM_INVALID;
}

static bool fits_somewhere(const struct vidmm_adapter *ad, const struct vmm_alloc *al)
{
    if (al->segments & 1u) return true;
    for (uint32_t id = 1; id <= ad->segment_count; id++) {
        const struct vmm_segment *seg = &ad->segment[id];
        uint64_t room = seg->bytes - ((uint64_t)seg->table_reserve << seg->page_shift);
        if ((al->segments >> id & 1u) && vmm_alloc_bytes(al) <= room) return true;
    }
    return false;
}

static vidmm_status size_alloc(const struct vidmm_adapter *ad, const struct vidmm_alloc_desc *in,
                               const struct vidmm_kmd_allocation *ka, struct vmm_alloc *al)
{
    uint64_t bytes, unit = al->align; /* SEG-04: the page size of its segments */
    if (BROKEN(ad, SEG_02) && al->segments == 1u) unit = VIDMM_PAGE_64K;
    if (BROKEN(ad, SEG_04)) unit = VIDMM_PAGE_SIZE;
    if (ka->bytes == 0 || !align_up_checked(ka->bytes, unit, &bytes)) return VIDMM_INVALID;
    if (bytes >> VIDMM_PAGE_SHIFT > VIDMM_ALLOC_PAGES_MAX) return VIDMM_LIMIT;
    if (in->existing != NULL && (al->segments != 1u || bytes > in->existing_bytes)) return VIDMM_INVALID;
    al->pages = bytes >> VIDMM_PAGE_SHIFT;
    if (!fits_somewhere(ad, al)) return VIDMM_NO_VIDEO_MEMORY;
    if (BROKEN(ad, SEG_05) && ad->counters->alloc_bytes_live + bytes > ad->budget)
        return VIDMM_NO_VIDEO_MEMORY;
    return VIDMM_OK;
}

/* Room for the worst scattering: an allocation that fits by its size must never fail for its extents. */
static uint32_t most_extents(const struct vidmm_adapter *ad, const struct vmm_alloc *al)
{
    uint64_t most = 1;
    for (uint32_t id = 1; id <= ad->segment_count; id++) {
        const struct vmm_segment *seg = &ad->segment[id];
        uint64_t pages = div_up(vmm_alloc_bytes(al), 1ull << seg->page_shift);
        if ((al->segments >> id & 1u) && pages <= seg->bytes >> seg->page_shift) most = max_u64(most, pages);
    }
    return (uint32_t)most;
}

/* All instances get theirs with the first one. */
static vidmm_status take_block(struct vidmm_adapter *ad, uint64_t pages, struct vmm_block **out)
{
    const struct vidmm_platform *pl = ad->platform;
    struct vmm_block *b = vmm_new(ad, sizeof *b);
    if (b == NULL) return VIDMM_NO_MEMORY;
    b->pages = pages * ad->lead->gpu_count;
    vidmm_status st = pl->sys_alloc(pl->ctx, b->pages, &b->frame);
    if (st != VIDMM_OK) vmm_delete(ad, b, sizeof *b);
    if (st == VIDMM_OK) *out = b;
    return st;
}

static vidmm_status take_home(struct vidmm_adapter *ad, const struct vidmm_alloc_desc *in,
                              const struct vidmm_open *first, bool instanced, struct vmm_alloc *al)
{
    const struct vidmm_platform *pl = ad->platform;
    al->imported = in->existing != NULL;
    al->fresh = !al->imported;
    if (al->imported) return pl->sys_import(pl->ctx, in->existing, al->pages, &al->home);
    if (!instanced) return pl->sys_alloc(pl->ctx, al->pages, &al->home);
    struct vmm_block *b = first != NULL ? first->al->block : NULL;
    vidmm_status st = first != NULL ? VIDMM_OK : take_block(ad, al->pages, &b);
    if (st != VIDMM_OK) return st;
    b->refs++;
    al->block = b;
    al->home = b->frame + ad->gpu * al->pages;
    return VIDMM_OK;
}

static vidmm_status take_memory(struct vidmm_adapter *ad, const struct vidmm_alloc_desc *in,
                                const struct vidmm_open *first, bool instanced, struct vmm_alloc *al)
{
    if (al->segments >> 1 != 0) {
        al->ext_max = most_extents(ad, al);
        al->ext = vmm_new(ad, al->ext_max * sizeof *al->ext);
        if (al->ext == NULL) return VIDMM_NO_MEMORY;
    }
    vidmm_status st = take_home(ad, in, first, instanced, al);
    return st == VIDMM_OK ? vmm_domain_reserve(al) : st;
}

static void give_home(struct vidmm_adapter *ad, struct vmm_alloc *al)
{
    const struct vidmm_platform *pl = ad->platform;
    struct vmm_block *b = al->block;
    if (al->home == 0) return;
    vmm_domain_release(al);
    if (al->imported) pl->sys_release(pl->ctx, al->home, al->pages);
    else if (b == NULL) pl->sys_free(pl->ctx, al->home, al->pages);
    if (b == NULL || --b->refs > 0) return;
    pl->sys_free(pl->ctx, b->frame, b->pages);
    vmm_delete(ad, b, sizeof *b);
}

static void give_memory(struct vidmm_adapter *ad, struct vmm_alloc *al)
{
    give_home(ad, al);
    vmm_delete(ad, al->ext, al->ext_max * sizeof *al->ext);
    vmm_delete(ad, al, sizeof *al);
}

/* first: of an instanced allocation, when this is another instance. */
static vidmm_status make_alloc(struct vidmm_adapter *ad, const struct vidmm_alloc_desc *in,
                               const struct vidmm_kmd_allocation *ka, const struct vidmm_open *first,
                               struct vmm_alloc **out)
{
    struct vmm_alloc *al = vmm_new(ad, sizeof *al);
    bool instanced = (ka->flags & VIDMM_ALLOCATION_LINK_INSTANCED) != 0;
    if (al == NULL) return VIDMM_NO_MEMORY;
    al->ad = ad;
    vidmm_status st = check_segments(ad, ka, al);
    if (st == VIDMM_OK && (ka->priority == 0 || (ka->alignment != 0 && !is_pow2(ka->alignment))))
        st = VIDMM_INVALID;
    if (st == VIDMM_OK) st = check_mirrored(ad, ka, al);
    if (st == VIDMM_OK) st = check_physical(ad, ka, al);
    if (st == VIDMM_OK) st = size_alloc(ad, in, ka, al);
    if (st == VIDMM_OK && first != NULL && al->pages != first->al->pages) st = VIDMM_FAILED;
    if (st == VIDMM_OK && ka->alignment > al->align) al->align = ka->alignment;
    if (st == VIDMM_OK && al->physical && vmm_aperture_need(al) > ad->aperture_pages)
        st = VIDMM_NO_VIDEO_MEMORY;
    if (st == VIDMM_OK && instanced && in->existing != NULL) st = VIDMM_INVALID;
    if (st == VIDMM_OK) st = take_memory(ad, in, first, instanced, al);
    if (st != VIDMM_OK) {
        give_memory(ad, al);
        return st;
    }
    al->priority = ka->priority;
    al->primary = (in->flags & VIDMM_ALLOC_PRIMARY) != 0 && !BROKEN(ad, IOM_09);
    al->kmd_allocation = ka->handle;
    list_init(&al->opens);
    list_init(&al->bindings);
    *out = al;
    return VIDMM_OK;
}

static void count_alloc(struct vidmm_adapter *ad, const struct vmm_alloc *al, bool created)
{
    struct vidmm_counters *c = ad->counters;
    if (!created) {
        c->allocs_live--;
        c->alloc_bytes_live -= vmm_alloc_bytes(al);
        return;
    }
    c->allocs_created++;
    c->allocs_live++;
    c->alloc_bytes_live += vmm_alloc_bytes(al);
    c->allocs_live_peak = max_u64(c->allocs_live_peak, c->allocs_live);
    c->alloc_bytes_peak = max_u64(c->alloc_bytes_peak, c->alloc_bytes_live);
}

static void break_assign_address(struct vidmm_device *d, struct vmm_alloc *al)
{
    struct span_want want = { vmm_alloc_bytes(al), al->align, 0, UINT64_MAX, SPAN_UP };
    if (!span_reserve(d->proc->space.claims, d->proc->space.binding_count + 4)) return;
    struct span *c = span_alloc(d->proc->space.claims, &want);
    if (c != NULL) c->kind = CLAIM_MAP;
}

/* What the driver makes of the description for one gpu; first: that instance, when this is another one. */
static vidmm_status make_one(struct vidmm_device *d, const struct vidmm_alloc_desc *in,
                             struct vidmm_kmd_allocation *ka, const struct vidmm_open *first,
                             struct vidmm_open **out)
{
    struct vidmm_adapter *ad = d->proc->ad;
    struct vmm_alloc *al;
    vidmm_status st = ad->ops->create_allocation(ad->kmd, ka);
    if (st != VIDMM_OK) return st;
    bool other = (ka->flags & VIDMM_ALLOCATION_LINK_INSTANCED) != 0 && ka->gpu != ka->instance;
    if (ka->gpu >= ad->gpu_count || other) st = VIDMM_FAILED; /* a broken driver */
    if (st == VIDMM_OK) st = vmm_iommu_narrow(d, ka);
    if (st == VIDMM_OK && (ka->flags & VIDMM_ALLOCATION_LINK_MIRRORED)) ka->gpu = vmm_mirror_home(ad)->gpu;
    if (st == VIDMM_OK && ad->link[ka->gpu]->lost) st = VIDMM_DEVICE_LOST;
    if (st == VIDMM_OK) st = make_alloc(ad->link[ka->gpu], in, ka, first, &al);
    if (st == VIDMM_OK) {
        st = vmm_open_make(d, al, VIDMM_KMD_OPEN_CREATE, out);
        if (st != VIDMM_OK) give_memory(al->ad, al);
    }
    if (st != VIDMM_OK) ad->ops->destroy_allocation(ad->kmd, ka->handle);
    return st;
}

/* Of what was never linked. */
static void unmake(struct vidmm_open *op)
{
    while (op != NULL) {
        struct vidmm_open *next = op->next;
        struct vmm_alloc *al = op->al;
        struct vidmm_adapter *lead = al->ad->lead;
        vmm_open_unmake(op);
        lead->ops->destroy_allocation(lead->kmd, al->kmd_allocation);
        give_memory(al->ad, al);
        op = next;
    }
}

static void link_one(struct vidmm_open *op)
{
    struct vmm_alloc *al = op->al;
    al->id = ++al->ad->lead->next_id;
    al->creator = op->dev->proc->id;
    list_push_back(&al->ad->allocs, &al->on_adapter);
    vmm_open_link(op);
    count_alloc(al->ad, al, true);
}

static vidmm_status decode_alloc(const struct vidmm_device *d, const struct vidmm_alloc_desc *in)
{
    bool aligned = is_aligned((uintptr_t)in->existing | in->existing_bytes, VIDMM_PAGE_SIZE);
    if (d->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if ((in->existing == NULL) != (in->existing_bytes == 0) || !aligned) return VIDMM_INVALID;
    if (in->flags & ~(uint32_t)VIDMM_ALLOC_PRIMARY) return VIDMM_INVALID;
    return in->private_size > VIDMM_PRIVATE_DATA_MAX ? VIDMM_LIMIT : VIDMM_OK;
}

vidmm_status vidmm_alloc_create(struct vidmm_device *d, const struct vidmm_alloc_desc *in,
                                struct vidmm_open **out)
{
    struct vidmm_adapter *ad = d->proc->ad;
    struct vidmm_open *first = NULL, **at = &first;
    vidmm_status st = decode_alloc(d, in);
    bool more = st == VIDMM_OK;
    for (uint32_t i = 0; more; i++) {
        struct vidmm_kmd_allocation ka = { .private_data = in->private_data, .instance = i,
                                           .private_size = in->private_size,
                                           .existing_bytes = in->existing_bytes };
        st = make_one(d, in, &ka, first, at);
        more = st == VIDMM_OK && (ka.flags & VIDMM_ALLOCATION_LINK_INSTANCED) != 0 && i + 1 < ad->gpu_count;
        if (st == VIDMM_OK) at = &(*at)->next;
    }
    if (st != VIDMM_OK) {
        unmake(first);
        return st;
    }
    INSTANCE_FOREACH(op, first) link_one(op);
    if (BROKEN(ad, ALC_03)) break_assign_address(d, first->al);
    *out = first;
    return VIDMM_OK;
}

/* ---- close ---- */

void vidmm_open_close(struct vidmm_open *op, uint32_t flags)
{
    while (op != NULL) {
        struct vidmm_open *next = op->next;
        vmm_open_close(op, flags);
        op = next;
    }
}

void vmm_open_close(struct vidmm_open *op, uint32_t flags)
{
    struct vidmm_adapter *ad = op->dev->proc->ad;
    op->dying = 1;
    op->in_use = !(flags & VIDMM_DESTROY_ASSUME_NOT_IN_USE);
    op->close_seq = ad->lead->next_seq + 1;
    op->al->locks -= op->locks;
    op->locks = 0;
    vmm_display_close(op);
    list_remove(&op->on_offering);
    list_push_back(&ad->dying_opens, &op->on_dying);
    if (vmm_open_step(op)) vmm_open_step(op); /* often nothing has to be waited for */
}

static void unbind_all(struct vidmm_open *op)
{
    struct vidmm_adapter *ad = op->dev->proc->ad;
    LIST_FOREACH_SAFE(it, tmp, &op->al->bindings) {
        struct vmm_binding *b = list_entry(it, struct vmm_binding, on_alloc);
        if (b->open != op) continue;
        struct vmm_space *sp = b->space;
        struct range r = { b->node.key, b->end };
        const struct span *c = span_find(sp->claims, r.start);
        bool map = c != NULL && (c->kind & CLAIM_KIND) == CLAIM_MAP;
        vmm_bind_remove(b);
        if (map && !BROKEN(ad, VA_11)) vmm_claims_release(sp, r);
    }
    SPACE_FOREACH(sp, op->dev->proc) {
        if (!ad->sealed) vmm_space_shrink(sp);
    }
}

/* Needs an open: by them the allocation knows its adapter. */
static void release_place(struct vidmm_adapter *ad, struct vmm_alloc *al)
{
    if (al->segment != VMM_SYSTEM) vmm_place_release(al);
    if (al->state == PLACE_LIVE) vmm_place_state(al, PLACE_NONE, VMM_SYSTEM);
    vmm_aperture_release(ad, al); /* a lost adapter's: else it was unmapped before */
}

static void destroy_alloc(struct vidmm_adapter *ad, struct vmm_alloc *al)
{
    list_remove(&al->on_adapter);
    if (ad->push_next == al) ad->push_next = NULL;
    count_alloc(ad, al, false);
    ad->lead->ops->destroy_allocation(ad->lead->kmd, al->kmd_allocation);
    if (!BROKEN(ad, ALC_02)) give_memory(ad, al);
}

/* true: progress was made, op may be gone. */
bool vmm_open_step(struct vidmm_open *op)
{
    struct vmm_alloc *al = op->al;
    struct vidmm_adapter *ad = al->ad;
    if (op->dying == 1) {
        if (op->pins > 0 || op->pending > 0 || op->refs > 0 || ad->move.al == op->al) return false;
        if (op->in_use && vmm_packets_before(op->dev, op->close_seq)) return false;
        vmm_updates_forget(op); /* TIL-28 */
        vmm_required_drop(op);
        unbind_all(op);
        vmm_waits_process(&op->waits, op->dev->proc);
        op->dying = 2;
        return true;
    }
    if (!vmm_waits_passed(ad, &op->waits) || ad->move.al == op->al) return false;
    bool last = vmm_open_last(op);
    if (last && al->aperture_count > 0 && !ad->lost) return false; /* mover or display will unmap it */
    if (!vmm_iommu_close(op)) return false;
    if (last) release_place(ad, al);
    list_remove(&op->on_dying);
    list_remove(&op->on_device);
    list_remove(&op->on_alloc);
    vmm_open_unmake(op);
    if (last) destroy_alloc(ad, al);
    return true;
}

uint64_t vidmm_device_close_mark(const struct vidmm_device *d) { return d->proc->ad->next_seq + 1; }

bool vidmm_device_closed(const struct vidmm_device *d, uint64_t mark)
{
    LIST_FOREACH(it, &d->proc->ad->dying_opens) {
        const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_dying);
        if (op->dev == d && op->close_seq <= mark) return false;
    }
    return true;
}

/* ---- what it is ---- */

/* On a device's list and not offered: somebody wants it, or packets before the last Evict may use it. */
bool vmm_alloc_required(const struct vmm_alloc *al)
{
    LIST_FOREACH(it, &al->opens) {
        if (vmm_open_needed(list_entry(it, struct vidmm_open, on_alloc))) return true;
    }
    return false;
}

bool vmm_alloc_wanted(const struct vmm_alloc *al)
{
    LIST_FOREACH(it, &al->opens) {
        const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_alloc);
        if (op->resident > 0 && !op->offered) return true;
    }
    return false;
}

uint64_t vidmm_open_bytes(const struct vidmm_open *op)
{
    uint64_t n = op->al->block != NULL ? op->al->ad->lead->gpu_count : 1;
    return n * vmm_alloc_bytes(op->al);
}

struct vidmm_device *vidmm_open_device(const struct vidmm_open *op) { return op->dev; }
uint32_t vidmm_open_priority(const struct vidmm_open *op) { return op->al->priority; }

vidmm_status vidmm_open_set_priority(struct vidmm_open *op, uint32_t priority)
{
    if (priority == 0) return VIDMM_INVALID;
    if (op->dev->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    INSTANCE_FOREACH(i, op) {
        i->al->priority = priority;
        i->al->ad->room = true; /* another allocation may deserve the room now */
    }
    return VIDMM_OK;
}

void vidmm_open_placement(const struct vidmm_open *op, struct vidmm_placement_info *out)
{
    uint64_t run;
    struct vmm_alloc *al = op->al;
    out->segment = al->segment;
    out->resident = al->state == PLACE_LIVE;
    out->resident_count = op->resident;
    bool home = al->segment == VMM_SYSTEM;
    out->offset = home ? al->home * VIDMM_PAGE_SIZE : vmm_place_run(al, al->segment, 0, &run);
    bool mapped = al->aperture_count > 0 && al->state == PLACE_LIVE && al->segment == VMM_SYSTEM;
    out->aperture = mapped ? al->ad->aperture : 0;
    out->aperture_offset = mapped ? (uint64_t)al->aperture_page << VIDMM_PAGE_SHIFT : 0;
}

/* ---- CPU access ---- */

/* A move that has begun takes the bytes away in the end, even if it still waits for an engine. */
static bool at_home(const struct vidmm_adapter *ad, const struct vmm_alloc *al)
{
    if (ad->move.al == al) return al->segment == VMM_SYSTEM && ad->move.to == VMM_SYSTEM; /* the aperture's */
    return al->segment == VMM_SYSTEM && (al->state == PLACE_NONE || al->state == PLACE_LIVE);
}

/* true: its bytes are at home. */
static bool lock_one(struct vidmm_open *op)
{
    struct vmm_alloc *al = op->al;
    bool home = at_home(al->ad, al);
    op->locks++;
    al->locks++;
    if (home) al->fresh = false;
    else al->ad->lock_waiters++;
    return home;
}

vidmm_status vidmm_open_lock(struct vidmm_open *op, void **cpu)
{
    const struct vidmm_platform *pl = op->al->ad->platform;
    bool home = true;
    /* ALC-39; but where addresses are shared, this is how a process learns its own (IOM-08, Q28). */
    bool others = op->al->creator != op->dev->proc->id && op->dev->model != VIDMM_MODEL_IOMMU;
    if (op->dying || op->offer != 0 || others) return VIDMM_INVALID;
    if (op->dev->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    INSTANCE_FOREACH(asked, op) {
        const struct vmm_alloc *al = asked->al;
        bool stuck = !at_home(al->ad, al) && !(al->segments & 1u) && vmm_alloc_wanted(al);
        if (stuck && al->locks == 0)
            return VIDMM_BUSY; /* ALC-34, ALC-35; locked already: it is on its way home */
    }
    if (op->locks == UINT32_MAX) return VIDMM_LIMIT;
    INSTANCE_FOREACH(taken, op) home &= lock_one(taken);
    *cpu = op->shared != 0 ? (void *)(uintptr_t)op->shared : pl->sys_address(pl->ctx, op->al->home);
    return home ? VIDMM_OK : VIDMM_PENDING;
}

bool vidmm_open_lock_ready(const struct vidmm_open *op)
{
    for (; op != NULL; op = op->next)
        if (!op->dying && !op->al->ad->lost && !at_home(op->al->ad, op->al)) return false;
    return true;
}

vidmm_status vidmm_open_unlock(struct vidmm_open *op)
{
    if (op->locks == 0) return VIDMM_INVALID;
    INSTANCE_FOREACH(i, op) {
        i->locks--;
        i->al->locks--;
        if (i->al->locks == 0) i->al->ad->room = true; /* it may go back to its segment */
    }
    return VIDMM_OK;
}
