/* SPDX-License-Identifier: MIT */
/* fmt4.c - format B: leaf tables of 1024 entries of 4 bytes under a root of up to 2^18 entries.
 *   31          8 7   6 5     4  3    2    1      0
 *   | page number | gpu | segment | NX | RO | zero | valid |
 * An invalid entry is 0. Pages beyond 64 GiB of their segment (or of system memory) cannot be named: such
 * an entry is written invalid, so that the GPU faults instead of reaching a wrong page. Owns nothing. */
#include "softgpu/devmem.h"
#include "softgpu/ref/formats.h"

#define VALID 1u
#define ZERO 2u
#define READ_ONLY 4u
#define NO_EXECUTE 8u
#define SEGMENT_SHIFT 4
#define SEGMENT_MASK 3u
#define GPU_SHIFT 6
#define GPU_MASK 3u
#define PAGE_SHIFT 8
#define ADDRESS_MAX (1ull << 36)

static uint64_t attr4(const struct vidmm_pte_kind *k)
{
    if ((k->flags & VIDMM_PTE_VALID) == 0) return 0;
    uint32_t a = VALID | (k->segment & SEGMENT_MASK) << SEGMENT_SHIFT | (k->gpu & GPU_MASK) << GPU_SHIFT;
    if ((k->flags & VIDMM_PTE_ZERO) != 0) a |= ZERO;
    if ((k->flags & VIDMM_PTE_READ_ONLY) != 0) a |= READ_ONLY;
    if ((k->flags & VIDMM_PTE_NO_EXECUTE) != 0) a |= NO_EXECUTE;
    return a;
}

/* How many of a run's entries can be named. The division is for runs that cannot be named whole. */
static uint32_t nameable(const struct vidmm_pte_run *r)
{
    if (r->address + (uint64_t)(r->count - 1) * r->step < ADDRESS_MAX) return r->count;
    if (r->address >= ADDRESS_MAX) return 0;
    return (uint32_t)((ADDRESS_MAX - 1 - r->address) / r->step + 1);
}

static void write_run(uint32_t *at, const struct vidmm_pte_run *r)
{
    bool valid_single = r->count == 1 && (r->attr & VALID) != 0 && r->address < ADDRESS_MAX;
    if (valid_single) { /* scattered pages: most of the time goes to getting here */
        devmem_store32(at, (uint32_t)r->attr | (uint32_t)(r->address >> VIDMM_PAGE_SHIFT) << PAGE_SHIFT);
        return;
    }
    if ((r->attr & VALID) == 0) {
        devmem_fill_entries32(at, 0, 0, r->count);
        return;
    }
    uint32_t page = (uint32_t)(r->address >> VIDMM_PAGE_SHIFT), n = nameable(r);
    uint32_t first = (uint32_t)r->attr | page << PAGE_SHIFT;
    devmem_fill_entries32(at, first, r->step >> VIDMM_PAGE_SHIFT << PAGE_SHIFT, n);
    if (n < r->count) devmem_fill_entries32(at + n, 0, 0, r->count - n);
}

static void update4(const struct vidmm_update_page_table *u)
{
    uint32_t *at = (uint32_t *)u->table.cpu_virtual + u->start_index;
    for (uint32_t i = 0; i < u->run_count; i++) {
        write_run(at, &u->runs[i]);
        at += u->runs[i].count;
    }
    devmem_release();
}

static uint64_t load4(const void *table, uint32_t index)
{
    return devmem_load32((const uint32_t *)table + index);
}

static struct softgpu_pte decode4(uint32_t level, uint64_t raw)
{
    (void)level;
    return (struct softgpu_pte){
        .valid = (raw & VALID) != 0, .zero = (raw & ZERO) != 0, .read_only = (raw & READ_ONLY) != 0,
        .no_execute = (raw & NO_EXECUTE) != 0, .segment = (uint32_t)(raw >> SEGMENT_SHIFT & SEGMENT_MASK),
        .gpu = (uint32_t)(raw >> GPU_SHIFT & GPU_MASK),
        .address = raw >> PAGE_SHIFT << VIDMM_PAGE_SHIFT};
}

static void kind4(uint32_t level, uint64_t raw, struct vidmm_pte_kind *k)
{
    *k = (struct vidmm_pte_kind){.level = level};
    if ((raw & VALID) == 0) return;
    k->flags = VIDMM_PTE_VALID;
    if ((raw & ZERO) != 0) k->flags |= VIDMM_PTE_ZERO;
    if ((raw & READ_ONLY) != 0) k->flags |= VIDMM_PTE_READ_ONLY;
    if ((raw & NO_EXECUTE) != 0) k->flags |= VIDMM_PTE_NO_EXECUTE;
    k->segment = (uint32_t)(raw >> SEGMENT_SHIFT & SEGMENT_MASK);
    k->gpu = (uint32_t)(raw >> GPU_SHIFT & GPU_MASK);
}

const struct port_format ref_format4 = {
    .hw = {.level_count = 2, .index_bits = {10, 18}, .entry_bytes = 4, .va_bits = 40, .cache_invalid = true,
           .decode = decode4},
    .segment_max = 3, .address_max = ADDRESS_MAX,
    .attr = attr4, .update = update4, .load = load4, .kind = kind4};
