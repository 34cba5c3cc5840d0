/* SPDX-License-Identifier: MIT */
/* fmt8.c - format A: four levels of 512 entries of 8 bytes.
 *   63      60 59        52 51                12 11 10     5   4     3    2    1      0
 *   | unused  | protection | address bits 51-12 | 0 | segment| coh | NX | RO | zero | valid |
 * An invalid entry is 0. Owns nothing. */
#include "softgpu/devmem.h"
#include "softgpu/ref/formats.h"

#define VALID 1ull
#define ZERO 2ull
#define READ_ONLY 4ull
#define NO_EXECUTE 8ull
#define COHERENT 16ull
#define SEGMENT_SHIFT 5
#define SEGMENT_MASK 0x3full
#define ADDRESS_MASK 0x000ffffffffff000ull
#define PROTECTION_SHIFT 52

static uint64_t attr8(const struct vidmm_pte_kind *k)
{
    if ((k->flags & VIDMM_PTE_VALID) == 0) return 0;
    uint64_t a = VALID | (k->segment & SEGMENT_MASK) << SEGMENT_SHIFT;
    if ((k->flags & VIDMM_PTE_ZERO) != 0) a |= ZERO;
    if ((k->flags & VIDMM_PTE_READ_ONLY) != 0) a |= READ_ONLY;
    if ((k->flags & VIDMM_PTE_NO_EXECUTE) != 0) a |= NO_EXECUTE;
    if ((k->flags & VIDMM_PTE_CACHE_COHERENT) != 0) a |= COHERENT;
    return a | (k->driver_protection & 0xff) << PROTECTION_SHIFT;
}

static void update8(const struct vidmm_update_page_table *u)
{
    uint64_t *at = (uint64_t *)u->table.cpu_virtual + u->start_index;
    for (uint32_t i = 0; i < u->run_count; i++) {
        const struct vidmm_pte_run *r = &u->runs[i];
        bool valid = (r->attr & VALID) != 0;
        devmem_fill_entries64(at, valid ? r->attr | r->address : 0, valid ? r->step : 0, r->count);
        at += r->count;
    }
    devmem_release();
}

static uint64_t load8(const void *table, uint32_t index)
{
    return devmem_load64((const uint64_t *)table + index);
}

static struct softgpu_pte decode8(uint32_t level, uint64_t raw)
{
    (void)level;
    return (struct softgpu_pte){
        .valid = (raw & VALID) != 0, .zero = (raw & ZERO) != 0, .read_only = (raw & READ_ONLY) != 0,
        .no_execute = (raw & NO_EXECUTE) != 0, .segment = (uint32_t)(raw >> SEGMENT_SHIFT & SEGMENT_MASK),
        .address = raw & ADDRESS_MASK};
}

static void kind8(uint32_t level, uint64_t raw, struct vidmm_pte_kind *k)
{
    *k = (struct vidmm_pte_kind){.level = level};
    if ((raw & VALID) == 0) return;
    k->flags = VIDMM_PTE_VALID;
    if ((raw & ZERO) != 0) k->flags |= VIDMM_PTE_ZERO;
    if ((raw & READ_ONLY) != 0) k->flags |= VIDMM_PTE_READ_ONLY;
    if ((raw & NO_EXECUTE) != 0) k->flags |= VIDMM_PTE_NO_EXECUTE;
    if ((raw & COHERENT) != 0) k->flags |= VIDMM_PTE_CACHE_COHERENT;
    k->segment = (uint32_t)(raw >> SEGMENT_SHIFT & SEGMENT_MASK);
    k->driver_protection = raw >> PROTECTION_SHIFT & 0xff;
}

const struct port_format ref_format8 = {
    .hw = {.level_count = 4, .index_bits = {9, 9, 9, 9}, .entry_bytes = 8, .va_bits = 48, .decode = decode8},
    .segment_max = VIDMM_SEGMENTS_MAX, .address_max = 1ull << 52,
    .attr = attr8, .update = update8, .load = load8, .kind = kind8};
