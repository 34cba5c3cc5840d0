/* SPDX-License-Identifier: MIT */
/* fmt8.c - format A: four levels of 512 entries of 8 bytes; format C: the same entries, and three levels.
 *   63  62 61 60 59        52 51                12 11 10     5   4     3    2    1      0
 *   |  0  | gpu | protection | address bits 51-12 | 0 | segment| coh | NX | RO | zero | valid |
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
#define GPU_SHIFT 60
#define GPU_MASK 3ull

static uint64_t attr8(const struct vidmm_pte_kind *k)
{
    if ((k->flags & VIDMM_PTE_VALID) == 0) return 0;
    uint64_t a = VALID | (k->segment & SEGMENT_MASK) << SEGMENT_SHIFT | (k->gpu & GPU_MASK) << GPU_SHIFT;
    if ((k->flags & VIDMM_PTE_ZERO) != 0) a |= ZERO;
    if ((k->flags & VIDMM_PTE_READ_ONLY) != 0) a |= READ_ONLY;
    if ((k->flags & VIDMM_PTE_NO_EXECUTE) != 0) a |= NO_EXECUTE;
    if ((k->flags & VIDMM_PTE_CACHE_COHERENT) != 0) a |= COHERENT;
    return a | (k->driver_protection & 0xff) << PROTECTION_SHIFT;
}

static inline uint64_t entry_of(const struct vidmm_pte_run *r)
{
    return (r->attr & VALID) != 0 ? r->attr | r->address : 0;
}

static inline uint64_t *fill_run(uint64_t *at, const struct vidmm_pte_run *r)
{
    devmem_fill_entries64(at, entry_of(r), (r->attr & VALID) != 0 ? r->step : 0, r->count);
    return at + r->count;
}

static __attribute__((noinline)) uint64_t *fill_long_run(uint64_t *at, const struct vidmm_pte_run *r)
{
    return fill_run(at, r);
}

/* Scattered memory comes as runs of one page, all alike but for the address: four at a time, one branch. */
static inline bool four_alike(const struct vidmm_pte_run *r)
{
    uint64_t differ = (r[0].attr ^ r[1].attr) | (r[0].attr ^ r[2].attr) | (r[0].attr ^ r[3].attr);
    uint32_t longer = (r[0].count ^ 1) | (r[1].count ^ 1) | (r[2].count ^ 1) | (r[3].count ^ 1);
    return (differ | longer) == 0 && (r[0].attr & VALID) != 0;
}

static __attribute__((noinline)) void write_runs(uint64_t *at, const struct vidmm_pte_run *r, uint32_t n)
{
    const struct vidmm_pte_run *end = r + n;
    while (r < end) {
        if (end - r >= 4 && four_alike(r)) {
            uint64_t attr = r->attr, entry[4] = {r[0].address, r[1].address, r[2].address, r[3].address};
            devmem_store64(at, attr | entry[0]);
            devmem_store64(at + 1, attr | entry[1]);
            devmem_store64(at + 2, attr | entry[2]);
            devmem_store64(at + 3, attr | entry[3]);
            at += 4;
            r += 4;
        } else {
            at = fill_long_run(at, r++);
        }
    }
    devmem_release();
}

static __attribute__((noinline)) void write_fresh(uint64_t *at, const struct vidmm_pte_run *r)
{
    if ((r->attr & VALID) == 0) devmem_clear_fresh(at, r->count * sizeof *at);
    else write_runs(at, r, 1);
}

static void update8(const struct vidmm_update_page_table *u)
{
    uint64_t *at = (uint64_t *)u->table.cpu_virtual + u->start_index;
    if (u->run_count != 1) {
        write_runs(at, u->runs, u->run_count);
    } else if ((u->flags & VIDMM_UPDATE_INITIAL) != 0) {
        write_fresh(at, u->runs);
    } else if (u->count == 1) {
        devmem_store64(at, entry_of(u->runs));
        devmem_release();
    } else {
        fill_run(at, u->runs);
        devmem_release();
    }
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
        .gpu = (uint32_t)(raw >> GPU_SHIFT & GPU_MASK),
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
    k->gpu = (uint32_t)(raw >> GPU_SHIFT & GPU_MASK);
    k->driver_protection = raw >> PROTECTION_SHIFT & 0xff;
}

const struct port_format ref_format8 = {
    .hw = {.level_count = 4, .index_bits = {9, 9, 9, 9}, .entry_bytes = 8, .va_bits = 48, .decode = decode8},
    .segment_max = VIDMM_SEGMENTS_MAX, .address_max = 1ull << 52,
    .attr = attr8, .update = update8, .load = load8, .kind = kind8};

/* 40-bit addresses, like format B's: gpus of both can be linked. */
const struct port_format ref_format8c = {
    .hw = {.level_count = 3, .index_bits = {9, 9, 10}, .entry_bytes = 8, .va_bits = 40, .decode = decode8},
    .segment_max = VIDMM_SEGMENTS_MAX, .address_max = 1ull << 52,
    .attr = attr8, .update = update8, .load = load8, .kind = kind8};
