/* SPDX-License-Identifier: MIT */
/* osmm_table.c - page tables of the modelled processes, and the PASID tables that name them, in the formats
 * that the unit reads. Owns: their frames. Every word is stored whole: engines may be walking. */
#include "sim/osmm_inside.h"

#define PASIDS_PER_TABLE 64u

uint64_t osmm_load(const uint64_t *at) { return __atomic_load_n(at, __ATOMIC_RELAXED); }
void osmm_store(uint64_t *at, uint64_t v) { __atomic_store_n(at, v, __ATOMIC_RELEASE); }

uint64_t *osmm_page(struct osmm *os, uint64_t frame)
{
    return os->platform->sys_address(os->platform->ctx, frame);
}

uint64_t osmm_table_new(struct osmm *os)
{
    uint64_t frame = 0;
    return os->platform->sys_alloc(os->platform->ctx, 1, &frame) == VIDMM_OK ? frame : 0;
}

static uint64_t frame_of(uint64_t entry) { return (entry & PTE_ADDRESS) >> VIDMM_PAGE_SHIFT; }

uint64_t *osmm_entry(struct osmm_process *p, uint64_t va, bool make)
{
    struct osmm *os = p->os;
    uint64_t table = p->root;
    for (uint32_t level = os->levels - 1;; level--) {
        uint64_t *at = osmm_page(os, table) + (va >> (VIDMM_PAGE_SHIFT + 9 * level) & 511);
        if (level == 0) return at;
        uint64_t raw = osmm_load(at);
        if ((raw & PTE_P) == 0) {
            uint64_t frame = make ? osmm_table_new(os) : 0;
            if (frame == 0) return NULL;
            raw = frame << VIDMM_PAGE_SHIFT | PTE_P | PTE_RW | PTE_US;
            osmm_store(at, raw);
        }
        table = frame_of(raw);
    }
}

/* From the leaves up, without recursion: a table is freed when it comes up empty. */
void osmm_tables_free(struct osmm_process *p)
{
    struct osmm *os = p->os;
    uint64_t path[5] = {p->root};
    uint32_t index[5] = {0}, depth = 0, last = os->levels - 2; /* leaf tables hang below depth `last` */
    if (p->root == 0) return;
    for (;;) {
        uint64_t *table = osmm_page(os, path[depth]);
        while (index[depth] < 512 && (osmm_load(&table[index[depth]]) & PTE_P) == 0) index[depth]++;
        if (index[depth] == 512) {
            os->platform->sys_free(os->platform->ctx, path[depth], 1);
            if (depth-- == 0) break;
            continue;
        }
        uint64_t child = frame_of(osmm_load(&table[index[depth]++]));
        if (depth == last) {
            os->platform->sys_free(os->platform->ctx, child, 1);
            continue;
        }
        path[++depth] = child;
        index[depth] = 0;
    }
    p->root = 0;
}

/* ---- PASIDs ------------------------------------------------------------------------------------ */

static uint64_t *pasid_entry(struct osmm *os, uint32_t pasid, bool make)
{
    uint64_t *dir = osmm_page(os, os->directory) + pasid / PASIDS_PER_TABLE;
    if ((osmm_load(dir) & PTE_P) == 0) {
        uint64_t frame = make ? osmm_table_new(os) : 0;
        if (frame == 0) return NULL;
        osmm_store(dir, frame << VIDMM_PAGE_SHIFT | PTE_P);
    }
    return osmm_page(os, frame_of(osmm_load(dir))) + (uint64_t)(pasid % PASIDS_PER_TABLE) * 8;
}

vidmm_status osmm_pasid_set(struct osmm *os, uint32_t pasid, uint64_t root)
{
    uint64_t *at = pasid_entry(os, pasid, true);
    if (at == NULL) return VIDMM_NO_MEMORY;
    osmm_store(at + 2, root << VIDMM_PAGE_SHIFT | (uint64_t)(os->levels - 4) << 2);
    osmm_store(at, PTE_P); /* last: now it counts */
    return VIDMM_OK;
}

void osmm_pasid_clear(struct osmm *os, uint32_t pasid)
{
    uint64_t *at = pasid_entry(os, pasid, false);
    if (at != NULL) osmm_store(at, 0);
}

void osmm_pasid_free(struct osmm *os)
{
    if (os->directory == 0) return;
    for (uint32_t i = 0; i < 512; i++) {
        uint64_t raw = osmm_load(osmm_page(os, os->directory) + i);
        if ((raw & PTE_P) != 0) os->platform->sys_free(os->platform->ctx, frame_of(raw), 1);
    }
    os->platform->sys_free(os->platform->ctx, os->directory, 1);
    os->directory = 0;
}
