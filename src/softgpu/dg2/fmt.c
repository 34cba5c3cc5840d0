/* SPDX-License-Identifier: MIT */
/* fmt.c - the dg2 page-table format: four levels of 512 entries of 8 bytes.
 *   63   62      46 45                 12 11      9      7      1       0
 *   | NX | unused  | address bits 45-12 | local | zero | coh | write | present |
 * `local` says that the address is an offset in VRAM (segment 1); else it is a system address.
 * Upper entries use the same bits. An invalid entry is 0. Owns nothing. */
#include "softgpu/dg2/format.h"
#include "softgpu/devmem.h"

#define PRESENT (1ull << 0)
#define WRITE (1ull << 1)
#define COHERENT (1ull << 7)
#define ZERO (1ull << 9)
#define LOCAL (1ull << 11)
#define NO_EXECUTE (1ull << 63)
#define ADDRESS_BITS 46
#define ADDRESS_MASK ((1ull << ADDRESS_BITS) - 4096)

static uint64_t attr(const struct vidmm_pte_kind *k)
{
    if ((k->flags & VIDMM_PTE_VALID) == 0) return 0;
    uint64_t a = PRESENT;
    if ((k->flags & VIDMM_PTE_READ_ONLY) == 0) a |= WRITE;
    if ((k->flags & VIDMM_PTE_ZERO) != 0) a |= ZERO;
    if ((k->flags & VIDMM_PTE_CACHE_COHERENT) != 0) a |= COHERENT;
    if ((k->flags & VIDMM_PTE_NO_EXECUTE) != 0) a |= NO_EXECUTE;
    if (k->segment != 0) a |= LOCAL;
    return a;
}

static void update(const struct vidmm_update_page_table *u)
{
    uint64_t *at = (uint64_t *)u->table.cpu_virtual + u->start_index;
    for (uint32_t i = 0; i < u->run_count; i++) {
        const struct vidmm_pte_run *r = &u->runs[i];
        bool valid = (r->attr & PRESENT) != 0;
        devmem_fill_entries64(at, valid ? r->attr | r->address : 0, valid ? r->step : 0, r->count);
        at += r->count;
    }
    devmem_release();
}

static uint64_t load(const void *table, uint32_t index)
{
    return devmem_load64((const uint64_t *)table + index);
}

static struct softgpu_pte decode(uint32_t level, uint64_t raw)
{
    (void)level;
    return (struct softgpu_pte){
        .valid = (raw & PRESENT) != 0, .zero = (raw & ZERO) != 0, .read_only = (raw & WRITE) == 0,
        .no_execute = (raw & NO_EXECUTE) != 0, .segment = (raw & LOCAL) != 0 ? 1 : 0,
        .address = raw & ADDRESS_MASK};
}

static void kind(uint32_t level, uint64_t raw, struct vidmm_pte_kind *k)
{
    *k = (struct vidmm_pte_kind){.level = level};
    if ((raw & PRESENT) == 0) return;
    k->flags = VIDMM_PTE_VALID;
    if ((raw & WRITE) == 0) k->flags |= VIDMM_PTE_READ_ONLY;
    if ((raw & ZERO) != 0) k->flags |= VIDMM_PTE_ZERO;
    if ((raw & COHERENT) != 0) k->flags |= VIDMM_PTE_CACHE_COHERENT;
    if ((raw & NO_EXECUTE) != 0) k->flags |= VIDMM_PTE_NO_EXECUTE;
    k->segment = (raw & LOCAL) != 0 ? 1 : 0;
}

const struct port_format dg2_format = {
    .hw = {.level_count = 4, .index_bits = {9, 9, 9, 9}, .entry_bytes = 8, .va_bits = 48, .decode = decode},
    .segment_max = 1, .address_max = 1ull << ADDRESS_BITS,
    .attr = attr, .update = update, .load = load, .kind = kind};
