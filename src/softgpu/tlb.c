/* SPDX-License-Identifier: MIT */
/* tlb.c - one engine's translation caches: a four-way TLB of leaf entries and one of upper entries.
 * Nothing leaves voluntarily: entries survive suspends, context switches and root changes; they go when a
 * flush clears them or another address needs the slot. Called under engine.tlb_lock. */
#include "base/bits.h"
#include "softgpu/gpu.h"

/* splitmix64 */
uint64_t tlb_random(struct softgpu_engine *e)
{
    uint64_t z = (e->random += 0x9e3779b97f4a7c15ull);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

/* Upper bits are folded in: aligned ranges would all meet in the same few sets otherwise. */
static struct tlb_entry *set_of(struct softgpu_engine *e, uint64_t tag, uint64_t page)
{
    uint64_t folded = page ^ page >> 9 ^ page >> 18 ^ page >> 27 ^ tag * 0x9e3779b1u;
    return &e->tlb[(folded * GPU_TLB_WAYS) & e->gpu->tlb_mask];
}

struct tlb_entry *tlb_find(struct softgpu_engine *e, uint64_t tag, uint64_t page)
{
    struct tlb_entry *set = set_of(e, tag, page);
    for (uint32_t i = 0; i < GPU_TLB_WAYS; i++)
        if (set[i].page == page && set[i].tag == tag) return &set[i];
    return NULL;
}

struct tlb_entry *tlb_slot(struct softgpu_engine *e, uint64_t tag, uint64_t page)
{
    struct tlb_entry *set = set_of(e, tag, page);
    for (uint32_t i = 0; i < GPU_TLB_WAYS; i++)
        if (set[i].tag == 0) return &set[i];
    return &set[tlb_random(e) % GPU_TLB_WAYS];
}

struct walk_entry *tlb_walk_slot(struct softgpu_engine *e, uint64_t tag, uint32_t level, uint64_t prefix)
{
    return &e->walk[(prefix ^ tag * 0x9e3779b1u ^ level * 0x155u) & (GPU_WALK_CACHE - 1)];
}

static void clear_pages(struct softgpu_engine *e, uint64_t tag, uint64_t first, uint64_t end)
{
    for (uint64_t page = first; page < end; page++) {
        struct tlb_entry *t = tlb_find(e, tag, page);
        if (t != NULL) t->tag = 0;
    }
}

static void clear_table(struct softgpu_engine *e, uint64_t tag, uint64_t first, uint64_t end)
{
    for (uint32_t i = 0; i <= e->gpu->tlb_mask; i++) {
        struct tlb_entry *t = &e->tlb[i];
        if (t->tag == tag && t->page >= first && t->page < end) t->tag = 0;
    }
}

/* [start, end) rounded outwards to pages; upper entries that cover any of it go too. */
void tlb_clear_range(struct softgpu_engine *e, uint64_t tag, uint64_t start, uint64_t end)
{
    uint64_t first = start >> VIDMM_PAGE_SHIFT, limit = div_up(end, VIDMM_PAGE_SIZE);
    if (limit - first <= e->gpu->tlb_mask / 8) clear_pages(e, tag, first, limit);
    else clear_table(e, tag, first, limit);
    for (uint32_t i = 0; i < GPU_WALK_CACHE; i++) {
        struct walk_entry *w = &e->walk[i];
        if (w->tag != tag) continue;
        uint32_t shift = e->gpu->level_shift[w->level];
        if (w->prefix >= start >> shift && w->prefix <= (end - 1) >> shift) w->tag = 0;
    }
}
