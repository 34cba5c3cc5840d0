/* SPDX-License-Identifier: MIT */
/* aperture.c — allocations that are accessed physically. In a memory segment they are one extent; in system
 * memory a contiguous range of the aperture shows their frames (inv. 13).
 * Owns: adapter.in_aperture, which is sorted by address; al->aperture_page, _count. Calls: batch.c, move.c.
 * A memory segment may be too fragmented for one of them, the aperture never is: it holds nothing else, and
 * ranges there can be taken back without moving a byte. So the aperture is the place that admission counts
 * on, and memory segments are used while they have room (inv. 9). */
#include "core/core.h"

static uint32_t range_align(const struct vmm_alloc *al) { return al->align >> VIDMM_PAGE_SHIFT; }

/* With what may be lost in front of it by its alignment: ranges given out one after another from the low end
 * then never need more than the sum of this. */
uint32_t vmm_aperture_need(const struct vmm_alloc *al) { return (uint32_t)al->pages + range_align(al) - 1; }

/* ---- bring-up ---- */

static bool any_physical(const struct vidmm_adapter_info *in)
{
    for (uint32_t i = 0; i < in->node_count; i++)
        if (in->node[i].physical) return true;
    return false;
}

/* Physical engines see system memory there, and the display controller primaries (IOM-07). */
static bool uses_aperture(const struct vidmm_adapter_info *in)
{
    return any_physical(in) || (in->flags & VIDMM_ADAPTER_IOMMU) != 0;
}

const char *vmm_aperture_check(const struct vidmm_adapter *ad)
{
    const struct vidmm_adapter_info *in = &ad->info;
    bool all = ad->ops->render != NULL && ad->ops->patch != NULL && ad->ops->submit_command != NULL;
    bool any = ad->ops->render != NULL || ad->ops->patch != NULL || ad->ops->submit_command != NULL;
    if (any && !all) return "render, patch and submit_command belong together";
    if (!uses_aperture(in)) return NULL;
    if (any_physical(in) && !all) return "a physical node needs render, patch and submit_command";
    if (in->node[in->paging_node].physical) return "paging work needs a node with virtual addresses";
    for (uint32_t i = 0; i < in->node_count; i++) {
        if (in->node[i].physical && (in->node[i].gpummu || in->node[i].iommu))
            return "a node is either physical or virtual"; /* ADP-03 */
        if (BROKEN(ad, ADP_03) && in->node[i].gpummu && i != in->paging_node) return "broken on purpose";
    }
    for (uint32_t i = 0; i < in->segment_count; i++) {
        const struct vidmm_segment_desc *s = &in->segment[i];
        if (!(s->flags & VIDMM_SEGMENT_APERTURE)) continue;
        if (s->commit_limit == 0 || s->commit_limit > s->bytes)
            return "the aperture's commit limit must be 1..its size"; /* SEG-19 */
        if (s->commit_limit >> VIDMM_PAGE_SHIFT > VIDMM_ALLOC_PAGES_MAX)
            return "the aperture has too many pages";
    }
    return NULL;
}

vidmm_status vmm_aperture_init(struct vidmm_adapter *ad)
{
    list_init(&ad->in_aperture);
    if (!uses_aperture(&ad->info)) return VIDMM_OK;
    for (uint32_t id = 1; id <= ad->segment_count; id++)
        if (ad->segment[id].flags & VIDMM_SEGMENT_APERTURE) ad->aperture = id;
    ad->aperture_pages = (uint32_t)(ad->info.segment[ad->aperture - 1].commit_limit >> VIDMM_PAGE_SHIFT);
    return vmm_frames_take(ad, 1, &ad->dummy);
}

void vmm_aperture_fini(struct vidmm_adapter *ad) { vmm_frames_give(ad, &ad->dummy); }

/* ---- ranges ---- */

static struct vmm_alloc *holder(struct list *l) { return list_entry(l, struct vmm_alloc, on_aperture); }

/* May what v has be taken for d? Of nobody, or of a device that may be stopped. d NULL: nothing is taken. */
static bool may_take(const struct vmm_alloc *v, const struct vidmm_device *d)
{
    return d != NULL && v->physical && (!vmm_alloc_required(v) || vmm_resid_may_stop(v, d));
}

/* The lowest page at which al fits beside what may not be taken for d; *before: who comes next of those that
 * stay, or the end of the list. false: nowhere. */
static bool find_range(const struct vidmm_adapter *ad, const struct vmm_alloc *al,
                       const struct vidmm_device *d, uint64_t *page, struct list **before)
{
    *page = 0;
    LIST_FOREACH(it, &ad->in_aperture) {
        *before = it;
        if (may_take(holder(it), d)) continue;
        if (*page + al->pages <= holder(it)->aperture_page) return true;
        uint64_t end = (uint64_t)holder(it)->aperture_page + holder(it)->aperture_count;
        *page = align_up(end, range_align(al));
    }
    *before = (struct list *)(uintptr_t)&ad->in_aperture;
    return *page + al->pages <= ad->aperture_pages;
}

bool vmm_aperture_room(const struct vidmm_adapter *ad, const struct vmm_alloc *al)
{
    uint64_t page;
    struct list *before;
    return find_range(ad, al, NULL, &page, &before);
}

bool vmm_aperture_take(struct vidmm_adapter *ad, struct vmm_alloc *al)
{
    uint64_t page;
    struct list *before;
    CHECK(al->aperture_count == 0);
    if (!find_range(ad, al, NULL, &page, &before)) return false;
    al->aperture_page = (uint32_t)page;
    al->aperture_count = (uint32_t)al->pages;
    ad->counters->aperture_bytes += vmm_alloc_bytes(al);
    list_insert_before(before, &al->on_aperture);
    vmm_domain_update(al);
    return true;
}

bool vmm_aperture_take_high(struct vidmm_adapter *ad, struct vmm_alloc *al)
{
    struct list *before = &ad->in_aperture;
    uint64_t end = ad->aperture_pages, page = 0;
    for (struct list *it = before->prev;; it = it->prev) {
        bool first = it == &ad->in_aperture;
        uint64_t from = first ? 0 : (uint64_t)holder(it)->aperture_page + holder(it)->aperture_count;
        bool room = end >= al->pages;
        if (room) page = align_down(end - al->pages, range_align(al));
        if (room && page >= from) break;
        if (first) return false;
        before = it;
        end = holder(it)->aperture_page;
    }
    al->aperture_page = (uint32_t)page;
    al->aperture_count = (uint32_t)al->pages;
    ad->counters->aperture_bytes += vmm_alloc_bytes(al);
    list_insert_before(before, &al->on_aperture);
    vmm_domain_update(al);
    return true;
}

uint32_t vmm_aperture_limit(const struct vidmm_adapter *ad)
{
    LIST_FOREACH(it, &ad->in_aperture)
        if (!holder(it)->physical) return holder(it)->aperture_page;
    return ad->aperture_pages;
}

void vmm_aperture_release(struct vidmm_adapter *ad, struct vmm_alloc *al)
{
    if (al->aperture_count == 0) return;
    ad->counters->aperture_bytes -= vmm_alloc_bytes(al);
    al->aperture_count = 0;
    list_remove(&al->on_aperture);
    vmm_domain_update(al);
}

bool vmm_aperture_admits(struct vidmm_device *d, struct vidmm_open *const *opens, uint32_t n)
{
    struct vidmm_adapter *ad = d->proc->ad;
    uint64_t pages = d->aperture_pages, mark = ++ad->lead->next_mark;
    for (uint32_t i = 0; i < n; i++) {
        if (!opens[i]->al->physical || list_is_linked(&opens[i]->on_required)) continue;
        if (opens[i]->mark == mark) continue;
        opens[i]->mark = mark;
        pages += vmm_aperture_need(opens[i]->al);
    }
    return pages == 0 || pages <= vmm_aperture_limit(ad);
}

enum vmm_emit vmm_aperture_emit(struct vidmm_adapter *ad, struct vmm_alloc *al, bool map, uint64_t *multipass)
{
    bool coherent = (ad->segment[ad->aperture].flags & VIDMM_SEGMENT_CACHE_COHERENT) != 0;
    bool list = map && al->physical && (ad->info.flags & VIDMM_ADAPTER_MAP_APERTURE2) != 0; /* IOM-22 */
    struct vidmm_adl adl = { .page_count = al->pages, .contiguous = true, .base_page = al->logical };
    struct vidmm_op op = { .code = map ? VIDMM_OP_MAP_APERTURE_SEGMENT : VIDMM_OP_UNMAP_APERTURE_SEGMENT };
    op.aperture.allocation = al->kmd_allocation;
    op.aperture.segment = ad->aperture;
    op.aperture.offset_page = al->aperture_page;
    op.aperture.pages = al->pages;
    op.aperture.frame = map ? al->logical : ad->dummy.logical; /* SEG-20 */
    op.aperture.cache_coherent = map && al->cached && coherent; /* SEG-21 */
    if (list) {
        op.code = VIDMM_OP_MAP_APERTURE_SEGMENT2;
        op.aperture.frame = 0;
        op.aperture.adl = &adl;
        if (al->aperture_cpu_visible)
            op.aperture.cpu_visible = ad->platform->sys_address(ad->platform->ctx, al->home);
    }
    if (vmm_batch_emit(ad, &op, multipass) == EMIT_WAIT) return EMIT_WAIT;
    if (map) ad->counters->aperture_maps++;
    else ad->counters->aperture_unmaps++;
    return EMIT_DONE;
}

/* The adapter was reset: what its aperture showed is forgotten, and the driver hears of it (FLT-19). */
void vmm_aperture_forget(struct vidmm_adapter *ad)
{
    LIST_FOREACH_SAFE(it, tmp, &ad->in_aperture) {
        struct vmm_alloc *al = list_entry(it, struct vmm_alloc, on_aperture);
        struct vidmm_paging_buffer none = { .cpu = NULL };
        struct vidmm_op op = { .code = VIDMM_OP_UNMAP_APERTURE_SEGMENT };
        uint64_t multipass = 0;
        op.aperture.allocation = al->kmd_allocation;
        op.aperture.segment = ad->aperture;
        op.aperture.offset_page = al->aperture_page;
        op.aperture.pages = al->pages;
        op.aperture.frame = ad->dummy.logical;
        (void)ad->ops->build_paging_buffer(ad->kmd, &none, &op, &multipass);
        if (al->state == PLACE_LIVE && al->physical) vmm_place_state(al, PLACE_NONE, VMM_SYSTEM);
        vmm_aperture_release(ad, al);
    }
    vmm_display_forget(ad);
}

struct vidmm_gpu_address vmm_aperture_address(const struct vidmm_adapter *ad, const struct vmm_alloc *al)
{
    if (al->state != PLACE_LIVE || !al->physical) return (struct vidmm_gpu_address){ 0, 0 };
    if (al->segment == VMM_SYSTEM)
        return (struct vidmm_gpu_address){ ad->aperture, (uint64_t)al->aperture_page << VIDMM_PAGE_SHIFT };
    uint64_t offset = (uint64_t)al->ext[0].page << ad->segment[al->segment].page_shift;
    return (struct vidmm_gpu_address){ al->segment, offset };
}

/* ---- who gets a range ---- */

/* One of those that together make room for al; NULL: there is no such set. */
static struct vmm_alloc *victim(struct vidmm_adapter *ad, const struct vmm_alloc *al,
                                const struct vidmm_device *d)
{
    uint64_t page;
    struct list *before;
    if (!find_range(ad, al, d, &page, &before)) return NULL;
    LIST_FOREACH(it, &ad->in_aperture) {
        struct vmm_alloc *v = holder(it);
        bool above = v->aperture_page >= page + al->pages;
        bool below = v->aperture_page + v->aperture_count <= page;
        if (!above && !below) return v;
    }
    return NULL;
}

/* What is not d's own may be taken: so there is room, only not in one piece. */
static bool own_gaps(const struct vidmm_adapter *ad, const struct vidmm_device *d)
{
    LIST_FOREACH(it, &ad->in_aperture)
        if (holder(it)->physical && !vmm_resid_others_may_stop(holder(it), d)) return false;
    return true;
}

bool vmm_aperture_repack(struct vidmm_adapter *ad, struct vidmm_device *d)
{
    if (!d->repack) return false;
    LIST_FOREACH(it, &ad->in_aperture) {
        struct vmm_alloc *v = holder(it);
        if (!v->physical || !vmm_resid_others_may_stop(v, d)) continue;
        vmm_move_begin(ad, v, VMM_SYSTEM, false);
        return true;
    }
    d->repack = false; /* all out: what comes now fills it from the low end, without gaps */
    return false;
}

bool vmm_aperture_place(struct vidmm_adapter *ad, struct vmm_alloc *al, struct vidmm_device *d)
{
    if (vmm_aperture_take(ad, al)) {
        vmm_move_begin(ad, al, VMM_SYSTEM, true);
        return true;
    }
    struct vmm_alloc *v = victim(ad, al, d);
    if (v != NULL) {
        vmm_move_begin(ad, v, VMM_SYSTEM, false);
        return true;
    }
    d->repack = own_gaps(ad, d);
    return vmm_aperture_repack(ad, d);
}

bool vmm_aperture_return(struct vidmm_adapter *ad)
{
    if (ad->aperture == 0) return false;
    LIST_FOREACH(it, &ad->lead->dying_opens) {
        struct vidmm_open *op = list_entry(it, struct vidmm_open, on_dying);
        if (op->dying != 2 || op->al->aperture_count == 0) continue;
        if (!op->al->physical || !vmm_open_last(op)) continue;
        vmm_move_begin(ad, op->al, VMM_SYSTEM, false);
        return true;
    }
    return false;
}
