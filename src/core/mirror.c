/* SPDX-License-Identifier: MIT */
/* mirror.c — allocations of a link with a copy on every gpu, all at the same segment and offset.
 * It is one allocation with one list of extents, whose pages are taken in the pools of all gpus, or of none:
 * so the copies cannot be anywhere else, and one mover moves them together, that of the first gpu that is
 * left. Its engine reaches the memory of the others as packets do. A gpu that is lost keeps its books, and
 * nothing is copied there. Owns: nothing. Calls: pagepool. Keeps: invariant 4 of all pools. */
#include "core/core.h"

bool vmm_mirror_fits(const struct vidmm_adapter *ad, const struct vmm_alloc *al)
{
    LINK_FOREACH(g, ad) {
        for (uint32_t id = 1; id <= ad->segment_count; id++) {
            if (!(al->segments >> id & 1u)) continue;
            const struct vmm_segment *seg = &g->segment[id];
            if (id > g->segment_count || (seg->flags & VIDMM_SEGMENT_APERTURE)) return false;
            if (seg->page_shift != ad->segment[id].page_shift) return false;
        }
    }
    return true;
}

/* The first run of pages from `from` on that is free on every gpu; count 0: none. */
static struct extent common_run(const struct vmm_alloc *al, uint32_t id, uint32_t from)
{
    uint32_t start = from, end, last;
    do {
        last = start;
        end = UINT32_MAX;
        LINK_FOREACH(g, al->ad) {
            struct extent e = pagepool_next_run(&g->segment[id].pool, start);
            if (e.count == 0) return e;
            start = max_u32(start, e.page);
            end = min_u32(end, e.page + e.count);
        }
    } while (start != last);
    return (struct extent){ start, end - start };
}

/* Extents of the pages in common, first ones first. Gives their number; 0: there are not enough. */
static uint32_t find_extents(const struct vmm_alloc *al, uint32_t id, struct extent *out)
{
    uint32_t n = 0, shift = al->ad->segment[id].page_shift;
    uint32_t need = (uint32_t)div_up(vmm_alloc_bytes(al), 1ull << shift);
    for (struct extent e = common_run(al, id, 0); e.count != 0; e = common_run(al, id, e.page + e.count)) {
        if (e.count > need) e.count = need;
        if (out != NULL) out[n] = e;
        n++;
        need -= e.count;
        if (need == 0) return n;
    }
    return 0;
}

static bool enough_free(const struct vmm_alloc *al, uint32_t id)
{
    LINK_FOREACH(g, al->ad) {
        const struct vmm_segment *seg = &g->segment[id];
        uint64_t need = div_up(vmm_alloc_bytes(al), 1ull << seg->page_shift);
        if (pagepool_free_pages(&seg->pool) < need + vmm_held_back(seg)) return false;
    }
    return true;
}

bool vmm_mirror_room(const struct vmm_alloc *al)
{
    return enough_free(al, al->preferred) && find_extents(al, al->preferred, NULL) != 0;
}

bool vmm_mirror_extents(struct vmm_alloc *al, uint32_t id)
{
    if (!enough_free(al, id)) return false;
    al->ext_count = find_extents(al, id, al->ext);
    al->hint = 0;
    al->hint_page = 0;
    LINK_FOREACH(g, al->ad) {
        for (uint32_t i = 0; i < al->ext_count; i++) {
            bool ok = pagepool_take_range(&g->segment[id].pool, al->ext[i].page, al->ext[i].count);
            CHECK(ok);
        }
    }
    return al->ext_count != 0;
}

struct vidmm_adapter *vmm_mirror_home(const struct vidmm_adapter *ad)
{
    LINK_FOREACH(g, ad) {
        if (!g->lost) return g;
    }
    return ad->lead;
}

bool vmm_mirror_next_copy(struct vmm_move *m)
{
    const struct vidmm_adapter *lead = m->al->ad->lead;
    if (!m->al->mirrored || m->to == VMM_SYSTEM) return false;
    do m->gpu++;
    while (m->gpu < lead->gpu_count && lead->link[m->gpu]->lost);
    return m->gpu < lead->gpu_count;
}

/* Nothing of it is on its way. */
void vmm_mirrors_hand_over(struct vidmm_adapter *ad)
{
    struct vidmm_adapter *to = vmm_mirror_home(ad);
    ad->push_next = NULL;
    LIST_FOREACH_SAFE(it, tmp, &ad->allocs) {
        struct vmm_alloc *al = list_entry(it, struct vmm_alloc, on_adapter);
        if (!al->mirrored) continue;
        al->ad = to;
        list_move_back(&to->allocs, &al->on_adapter);
        if (al->segment != VMM_SYSTEM) list_move_back(&to->segment[al->segment].lru, &al->lru);
        to->lock_waiters += al->locks > 0;
    }
    to->room = true;
}
