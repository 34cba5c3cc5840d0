/* SPDX-License-Identifier: MIT */
/* reach.c — accesses through tables: one TLB, one walker, one trace for every way of addressing, so that what
 * differs is what the tables ask for. The tables are those that the memory manager or the modelled OS wrote.
 *
 * GpuMmu entries of the ref GPU and first-stage entries of x86-64 agree in what is looked at: bit 0 says that
 * there is something, bits 12-51 where. In front of the latter stand a word of the PASID directory and one of
 * the PASID's entry. The TLB has 512 entries in four ways; with 64 KB reach an entry covers 16 pages that
 * follow each other, of which the second half of the entries is one more reference (a line has eight). */
#include "app/compare/compare.h"

#include <string.h>
#include <time.h>

#define SETS 128u
#define TLB_WAYS 4u
#define PRESENT 1ull
#define ADDRESS 0x000ffffffffff000ull
#define BLOCK_PAGES 16u
#define ROUNDS 3

struct tlb_entry { uint64_t page, frame; bool block, used; };

struct machine {
    const struct vidmm_platform *platform;
    struct root root;
    bool walks, blocks;
    struct tlb_entry tlb[SETS][TLB_WAYS];
    uint32_t next[SETS];
    uint64_t references, walk_count;
};

uint64_t reach_now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint64_t word(struct machine *m, uint64_t table, uint64_t index)
{
    const uint8_t *page = m->platform->sys_address(m->platform->ctx, table >> VIDMM_PAGE_SHIFT);
    uint64_t value = 0;
    m->references++;
    if (page != NULL) memcpy(&value, page + index * 8, sizeof(value));
    return value;
}

/* The table of the lowest level that covers va; 0: none. */
static uint64_t leaf_table(struct machine *m, uint64_t va)
{
    uint64_t table = m->root.address;
    if (m->root.pasid != 0) {
        uint64_t entry = word(m, table, m->root.pasid >> 6);
        if ((entry & PRESENT) == 0) return 0;
        table = word(m, entry & ADDRESS, (uint64_t)(m->root.pasid & 63) * 8 + 2) & ADDRESS;
    }
    for (uint32_t level = m->root.levels - 1; level > 0; level--) {
        uint64_t entry = word(m, table, va >> (VIDMM_PAGE_SHIFT + 9 * level) & 511);
        if ((entry & PRESENT) == 0) return 0;
        table = entry & ADDRESS;
    }
    return table;
}

static uint64_t peek(struct machine *m, uint64_t table, uint64_t index)
{
    uint64_t value = word(m, table, index);
    m->references--; /* in the same line as one that was counted */
    return value;
}

/* Do the 16 pages around va follow each other? */
static bool is_block(struct machine *m, uint64_t table, uint64_t index, uint64_t frame)
{
    uint64_t first = index & ~(uint64_t)(BLOCK_PAGES - 1), base = frame - (index - first);
    m->references++; /* the other line */
    for (uint64_t i = 0; i < BLOCK_PAGES; i++) {
        uint64_t entry = peek(m, table, first + i);
        if ((entry & PRESENT) == 0 || (entry & ADDRESS) >> VIDMM_PAGE_SHIFT != base + i) return false;
    }
    return true;
}

static struct tlb_entry *slot(struct machine *m, uint64_t key)
{
    uint64_t set = (key ^ key >> 7 ^ key >> 14) % SETS;
    for (uint32_t i = 0; i < TLB_WAYS; i++)
        if (!m->tlb[set][i].used) return &m->tlb[set][i];
    return &m->tlb[set][m->next[set]++ % TLB_WAYS];
}

static const struct tlb_entry *find(const struct machine *m, uint64_t key, bool block)
{
    const struct tlb_entry *set = m->tlb[(key ^ key >> 7 ^ key >> 14) % SETS];
    for (uint32_t i = 0; i < TLB_WAYS; i++)
        if (set[i].used && set[i].page == key && set[i].block == block) return &set[i];
    return NULL;
}

/* Frame of the page at va; 0: the tables do not lead there. */
static uint64_t translate(struct machine *m, uint64_t va)
{
    uint64_t page = va >> VIDMM_PAGE_SHIFT, index = page & 511, in = page % BLOCK_PAGES;
    const struct tlb_entry *hit = m->blocks ? find(m, page / BLOCK_PAGES, true) : NULL;
    if (hit != NULL) return hit->frame + in;
    hit = find(m, page, false);
    if (hit != NULL) return hit->frame;
    m->walk_count++;
    uint64_t table = leaf_table(m, va), entry = table != 0 ? word(m, table, index) : 0;
    if ((entry & PRESENT) == 0) return 0;
    uint64_t frame = (entry & ADDRESS) >> VIDMM_PAGE_SHIFT;
    bool block = m->blocks && is_block(m, table, index, frame);
    *slot(m, block ? page / BLOCK_PAGES : page) = (struct tlb_entry){
        block ? page / BLOCK_PAGES : page, block ? frame - in : frame, block, true};
    return frame;
}

static uint64_t next_offset(const struct trace *t, uint64_t i, uint64_t *random)
{
    if (t->sequential) return i * 64 % t->bytes;
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random % (t->bytes / 8) * 8;
}

/* One run of the trace. The sum keeps the loads from being left out. */
static bool run(struct machine *m, uint64_t va, const uint8_t *host, const struct trace *t, uint64_t *ns,
                volatile uint64_t *sum)
{
    uint64_t random = 0x9e3779b97f4a7c15ull, begin = reach_now_ns(), total = 0;
    m->references = m->walk_count = 0;
    for (uint64_t i = 0; i < t->accesses; i++) {
        uint64_t offset = next_offset(t, i, &random), value;
        const uint8_t *at = host + offset;
        if (m->walks) {
            uint64_t frame = translate(m, va + offset);
            at = frame == 0 ? NULL : m->platform->sys_address(m->platform->ctx, frame);
            if (at == NULL) return false;
            at += offset & (VIDMM_PAGE_SIZE - 1);
        }
        memcpy(&value, at, sizeof(value));
        total += value;
    }
    *ns = reach_now_ns() - begin;
    *sum += total;
    return true;
}

bool reach_measure(enum way way, const struct rig *r, const struct root *root, uint64_t va, const void *host,
                   const struct trace *t, struct reach *out)
{
    static struct machine m; /* 24 KB, used by one thread */
    volatile uint64_t sum = 0;
    uint64_t best = UINT64_MAX, ns;
    memset(&m, 0, sizeof(m));
    m.platform = rig_platform(r);
    m.root = *root;
    m.walks = way != WAY_PHYSICAL;
    m.blocks = way == WAY_GPUMMU_64K;
    for (int i = 0; i <= ROUNDS; i++) { /* the first fills the TLB and the caches */
        if (!run(&m, va, host, t, &ns, &sum)) return false;
        if (i > 0 && ns < best) best = ns;
    }
    *out = (struct reach){(double)m.references / (double)t->accesses,
                          (double)m.walk_count / (double)t->accesses, (double)best / (double)t->accesses};
    return true;
}
