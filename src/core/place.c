/* SPDX-License-Identifier: MIT */
/* place.c — where an allocation's bytes are: extents of a memory segment, or its home in system memory.
 * Owns: al->ext, al->state, al->segment, segment.lru. Calls: pagepool, bind.c. Keeps: invariants 4, 6, 7. */
#include "core/core.h"

uint64_t vmm_alloc_bytes(const struct vmm_alloc *al) { return al->pages << VIDMM_PAGE_SHIFT; }

/* Pages that allocations leave to page tables to come. */
uint32_t vmm_held_back(const struct vmm_segment *seg)
{
    return seg->table_reserve > seg->table_pages ? seg->table_reserve - (uint32_t)seg->table_pages : 0;
}

bool vmm_place_extents(struct vmm_alloc *al, struct vmm_segment *seg)
{
    uint32_t need = (uint32_t)div_up(vmm_alloc_bytes(al), 1ull << seg->page_shift);
    if (pagepool_free_pages(&seg->pool) < need + vmm_held_back(seg)) return false;
    CHECK(al->ext_count == 0);
    if (al->mirrored) return vmm_mirror_extents(al, seg->id);
    if (al->physical) { /* inv. 13 */
        uint32_t align = max_u32(al->align >> seg->page_shift, 1);
        al->ext[0] = (struct extent){ pagepool_alloc_run(&seg->pool, need, align, false), need };
        al->ext_count = al->ext[0].page != PAGEPOOL_NONE;
        return al->ext_count != 0;
    }
    al->ext_count = pagepool_alloc_extents(&seg->pool, need, al->ext, al->ext_max, 1);
    al->hint = 0;
    al->hint_page = 0;
    return al->ext_count != 0;
}

void vmm_room_made(struct vidmm_adapter *ad)
{
    ad->room = true;
    vmm_mirror_home(ad)->room = true;
}

void vmm_place_release(struct vmm_alloc *al)
{
    LINK_FOREACH(g, al->ad) {
        if (!vmm_alloc_uses(al, g)) continue;
        struct pagepool *pool = &g->segment[al->segment].pool;
        for (uint32_t i = 0; i < al->ext_count; i++) pagepool_free(pool, al->ext[i].page, al->ext[i].count);
        vmm_room_made(g);
    }
    al->ext_count = 0;
    list_remove(&al->lru);
}

uint64_t vmm_place_run(struct vmm_alloc *al, uint32_t segment, uint64_t offset, uint64_t *bytes)
{
    if (segment == VMM_SYSTEM) {
        *bytes = vmm_alloc_bytes(al) - offset;
        return al->logical * VIDMM_PAGE_SIZE + offset;
    }
    struct vidmm_adapter *ad = al->ad;
    uint32_t shift = ad->segment[segment].page_shift;

    uint64_t page = offset >> shift;
    if (page < al->hint_page) {
        al->hint = 0;
        al->hint_page = 0;
    }
    while (page >= al->hint_page + al->ext[al->hint].count) {
        al->hint_page += al->ext[al->hint].count;
        al->hint++;
        CHECK(al->hint < al->ext_count);
    }
    const struct extent *e = &al->ext[al->hint];
    uint64_t in = offset - (al->hint_page << shift);
    *bytes = ((uint64_t)e->count << shift) - in;
    return ((uint64_t)e->page << shift) + in;
}

static void count_resident(struct vidmm_adapter *ad, const struct vmm_alloc *al, bool now)
{
    struct vidmm_segment_counters *s = &ad->counters
                                            ->segment[min_u32(al->segment, VIDMM_COUNTERS_SEGMENTS - 1)];
    uint64_t bytes = (al->segment != VMM_SYSTEM ? vmm_alloc_copies(al) : 1) * vmm_alloc_bytes(al);
    if (!now) {
        s->resident -= bytes;
        return;
    }
    s->resident += bytes;
    s->resident_peak = max_u64(s->resident_peak, s->resident);
}

/* The only place that changes al->state; devices that require the allocation are told (inv. 7). */
void vmm_place_state(struct vmm_alloc *al, enum vmm_place_state state, uint32_t segment)
{
    struct vidmm_adapter *ad = al->ad;
    bool was = al->state == PLACE_LIVE, is = state == PLACE_LIVE;
    if (was) count_resident(ad, al, false);
    al->state = (uint8_t)state;
    al->segment = (uint8_t)segment;
    if (is) count_resident(ad, al, true);
    vmm_domain_update(al);
    if (was == is) return;
    if (is) al->placed_seq = ++ad->place_seq;
    LIST_FOREACH(it, &al->opens) {
        struct vidmm_open *op = list_entry(it, struct vidmm_open, on_alloc);
        if (!vmm_open_needed(op)) continue;
        CHECK(is ? op->dev->missing > 0 : true);
        vmm_missing_add(op->dev, is ? -1 : 1);
        if (op->arrived) op->dev->taken += is ? -1u : 1u;
        op->arrived = true;
        if (is && op->dev->missing == 0) op->dev->quantum = true;
    }
}

void vmm_place_show(struct vmm_alloc *al)
{
    LIST_FOREACH(it, &al->bindings) {
        struct vmm_binding *b = list_entry(it, struct vmm_binding, on_alloc);
        vmm_bind_write(b, (struct range){ b->node.key, b->end });
        if (vmm_space_flush_pending(b->space)) b->space->gate_seq = b->space->flush_seq;
    }
}

bool vmm_place_system(struct vmm_alloc *al)
{
    CHECK(al->state == PLACE_NONE);
    if (!(al->segments & 1u) || al->physical) return false; /* physical: the aperture must show it first */
    al->fresh = false;
    vmm_place_state(al, PLACE_LIVE, VMM_SYSTEM);
    vmm_place_show(al);
    return true;
}
