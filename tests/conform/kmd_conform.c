/* SPDX-License-Identifier: MIT */
/* kmd_conform.c - see kmd_conform.h. Uses a rig; sees drivers only through struct vidmm_kmd_ops. */
#include "kmd_conform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

static char text[256];

#define WRONG(...) return snprintf(text, sizeof(text), __VA_ARGS__), text

static uint64_t draw(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15ull);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

/* ---- description ------------------------------------------------------------------------------- */

static const char *segments_conform(const struct vidmm_adapter_info *d)
{
    uint32_t apertures = 0;
    for (uint32_t i = 0; i < d->segment_count; i++) {
        const struct vidmm_segment_desc *s = &d->segment[i];
        bool aperture = (s->flags & VIDMM_SEGMENT_APERTURE) != 0;
        uint64_t page = (s->flags & VIDMM_SEGMENT_USE_64KB_PAGES) != 0 ? VIDMM_PAGE_64K : VIDMM_PAGE_SIZE;
        if (s->bytes == 0 || !is_aligned(s->bytes, page)) WRONG("segment %u: size", i + 1);
        if (aperture && s->commit_limit == 0) WRONG("segment %u: commit limit", i + 1);
        apertures += aperture;
    }
    if (apertures != 1) WRONG("%u apertures", apertures);
    return NULL;
}

static const char *levels_conform(const struct vidmm_adapter_info *d)
{
    uint32_t bits = VIDMM_PAGE_SHIFT;
    for (uint32_t i = 0; i < d->level_count; i++) {
        const struct vidmm_level_desc *l = &d->level[i];
        bool root = d->level_count == 2 && i == 1;
        bits += l->index_bits;
        if (root != (l->table_bytes == 0) || l->table_bytes % 4096 != 0) WRONG("level %u: table size", i);
        if (l->segment > d->segment_count) WRONG("level %u: segment", i);
        if (l->paging_segment > d->segment_count) WRONG("level %u: paging segment", i);
        if (l->segment == 0 && l->table_bytes > 4096) WRONG("level %u: too big for system memory", i);
    }
    if (bits != d->va_bits) WRONG("levels cover %u bits of %u", bits, d->va_bits);
    return NULL;
}

const char *kmd_conform_description(struct rig *r)
{
    const struct vidmm_adapter_info *d = &r->info;
    if (d->level_count < VIDMM_LEVELS_MIN || d->level_count > VIDMM_LEVELS_MAX) WRONG("level count");
    if (d->node_count == 0 || d->node_count > VIDMM_NODES_MAX) WRONG("node count");
    if (d->paging_node >= d->node_count) WRONG("paging node");
    if (!d->node[d->paging_node].gpummu) WRONG("the paging node has no address model");
    if (d->submit_depth == 0 || d->paging_buffer_bytes == 0) WRONG("depth or paging buffer");
    if (d->segment_count == 0 || d->segment_count > VIDMM_SEGMENTS_MAX) WRONG("segment count");
    const char *wrong = segments_conform(d);
    return wrong != NULL ? wrong : levels_conform(d);
}

/* ---- entries ----------------------------------------------------------------------------------- */

static void put(struct rig *r, uint32_t level, void *table, uint32_t index, const struct vidmm_pte_run *runs,
                uint32_t run_count)
{
    struct vidmm_update_page_table u = {.level = level, .mode = VIDMM_UPDATE_CPU_VIRTUAL,
                                        .start_index = index, .runs = runs, .run_count = run_count,
                                        .table.cpu_virtual = table};
    for (uint32_t i = 0; i < run_count; i++) u.count += runs[i].count;
    r->ops->update_page_table(r->kmd, &u);
}

static uint32_t flags_able(const struct rig *r)
{
    uint32_t mmu = r->info.mmu_flags, flags = VIDMM_PTE_VALID;
    if ((mmu & VIDMM_MMU_READ_ONLY) != 0) flags |= VIDMM_PTE_READ_ONLY;
    if ((mmu & VIDMM_MMU_NO_EXECUTE) != 0) flags |= VIDMM_PTE_NO_EXECUTE;
    if ((mmu & VIDMM_MMU_ZERO_IN_PTE) != 0) flags |= VIDMM_PTE_ZERO;
    if ((mmu & VIDMM_MMU_CACHE_COHERENT) != 0) flags |= VIDMM_PTE_CACHE_COHERENT;
    return flags;
}

static const char *entry_conforms(struct rig *r, void *table, const struct vidmm_pte_kind *k,
                                  uint64_t address)
{
    struct vidmm_pte_kind got;
    uint64_t got_address = 1;
    bool valid = (k->flags & VIDMM_PTE_VALID) != 0, zero = (k->flags & VIDMM_PTE_ZERO) != 0;
    struct vidmm_pte_run run = {.address = valid && !zero ? address : 0, .attr = r->ops->pte_attr(r->kmd, k),
                                .count = 1};
    put(r, k->level, table, 5, &run, 1);
    if (!r->ops->pte_decode(r->kmd, k->level, table, 5, &got, &got_address)) WRONG("not decodable");
    if (got.flags != k->flags) WRONG("level %u flags %x came back as %x", k->level, k->flags, got.flags);
    if (!valid || zero) return NULL;
    if (got.segment != k->segment)
        WRONG("level %u segment %u came back as %u", k->level, k->segment, got.segment);
    if (got_address != address) WRONG("level %u address %llx came back as %llx", k->level,
                                      (unsigned long long)address, (unsigned long long)got_address);
    return NULL;
}

/* Highest page of a segment; for system memory a frame that every machine of today has. */
static uint64_t last_page(const struct rig *r, uint32_t segment)
{
    return segment == 0 ? (1ull << 36) - 4096 : r->info.segment[segment - 1].bytes - 4096;
}

static const char *segment_conforms(struct rig *r, void *table, uint32_t level, uint32_t segment)
{
    uint32_t able = level == 0 ? flags_able(r) : VIDMM_PTE_VALID;
    for (uint32_t flags = 0; flags < 32; flags++) {
        bool sense = flags == 0 || ((flags & VIDMM_PTE_VALID) != 0 && (flags & ~able) == 0);
        bool coherent_local = (flags & VIDMM_PTE_CACHE_COHERENT) != 0 && segment != 0;
        if (!sense || coherent_local) continue;
        struct vidmm_pte_kind k = {.level = level, .flags = flags, .segment = segment};
        for (uint64_t address = 4096; address <= last_page(r, segment); address *= 2) {
            const char *wrong = entry_conforms(r, table, &k, address);
            uint64_t high = last_page(r, segment) & ~(address - 4096);
            if (wrong == NULL) wrong = entry_conforms(r, table, &k, high);
            if (wrong != NULL) return wrong;
        }
    }
    return NULL;
}

const char *kmd_conform_entries(struct rig *r)
{
    static uint64_t table[8192];
    for (uint32_t level = 0; level < r->info.level_count; level++) {
        for (uint32_t segment = 0; segment <= r->info.segment_count; segment++) {
            uint32_t flags = segment == 0 ? 0 : r->info.segment[segment - 1].flags;
            bool aperture = (flags & VIDMM_SEGMENT_APERTURE) != 0;
            const char *wrong = aperture ? NULL : segment_conforms(r, table, level, segment);
            if (wrong != NULL) return wrong;
        }
    }
    return NULL;
}

/* ---- runs -------------------------------------------------------------------------------------- */

#define RUN_ENTRIES 512u
#define RUNS_MAX 32u

static uint32_t random_runs(struct rig *r, uint64_t *seed, struct vidmm_pte_run *runs)
{
    uint32_t n = 0, left = RUN_ENTRIES;
    while (left != 0 && n < RUNS_MAX) {
        uint32_t count = n + 1 == RUNS_MAX ? left : 1 + (uint32_t)(draw(seed) % left);
        struct vidmm_pte_kind k = {.flags = draw(seed) % 4 == 0 ? 0 : VIDMM_PTE_VALID};
        struct vidmm_pte_run *run = &runs[n++];
        *run = (struct vidmm_pte_run){.attr = r->ops->pte_attr(r->kmd, &k), .count = count};
        if (k.flags != 0) run->address = draw(seed) % (1u << 20) * VIDMM_PAGE_SIZE;
        if (k.flags != 0 && draw(seed) % 4 != 0) run->step = VIDMM_PAGE_SIZE;
        left -= count;
    }
    return n;
}

static void put_singly(struct rig *r, void *table, const struct vidmm_pte_run *runs, uint32_t n)
{
    uint32_t index = 0;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < runs[i].count; k++) {
            struct vidmm_pte_run one = runs[i];
            one.address += (uint64_t)k * one.step;
            one.count = 1;
            put(r, 0, table, index++, &one, 1);
        }
    }
}

const char *kmd_conform_runs(struct rig *r, uint64_t seed, uint32_t rounds)
{
    static uint64_t whole[RUN_ENTRIES + 16], split[RUN_ENTRIES + 16], single[RUN_ENTRIES + 16];
    for (uint32_t round = 0; round < rounds; round++) {
        struct vidmm_pte_run runs[RUNS_MAX];
        uint32_t n = random_runs(r, &seed, runs), index = 0;
        memset(whole, 0x5a, sizeof(whole));
        memset(split, 0x5a, sizeof(split));
        memset(single, 0x5a, sizeof(single));
        put(r, 0, whole, 0, runs, n);
        put_singly(r, single, runs, n);
        for (uint32_t i = 0; i < n; index += runs[i].count, i++) put(r, 0, split, index, &runs[i], 1);
        if (memcmp(whole, split, sizeof(whole)) != 0) WRONG("round %u: run by run differs", round);
        if (memcmp(whole, single, sizeof(whole)) != 0) WRONG("round %u: entry by entry differs", round);
        if (whole[RUN_ENTRIES] != 0x5a5a5a5a5a5a5a5aull) WRONG("round %u: wrote past its entries", round);
    }
    return NULL;
}

/* ---- root -------------------------------------------------------------------------------------- */

const char *kmd_conform_root(struct rig *r)
{
    if (r->info.level_count != 2) return NULL;
    uint64_t most = 1ull << r->info.level[1].index_bits, before = 0;
    for (uint64_t want = 1; want <= most; want = want < 4096 ? want + 1 : want * 2) {
        uint32_t entries = (uint32_t)want;
        uint64_t bytes = r->ops->get_root_page_table_size(r->kmd, &entries);
        if (entries < want || entries > most) WRONG("asked for %u entries, got %u", (unsigned)want, entries);
        if (bytes == 0 || bytes % 4096 != 0) WRONG("%u entries: %u bytes", entries, (unsigned)bytes);
        if (bytes < before) WRONG("%u entries: smaller than for fewer", entries);
        uint32_t again = entries;
        if (r->ops->get_root_page_table_size(r->kmd, &again) != bytes || again != entries)
            WRONG("%u entries: another answer for its own answer", entries);
        before = bytes;
    }
    return NULL;
}

/* ---- paging ------------------------------------------------------------------------------------ */

#define PAGES 40u
#define SOURCE_VA 0x400000ull
#define TARGET_VA 0x800000ull
#define BUFFER_VA 0x200000ull

struct paging { struct rig_space space; struct rig_context context; uint64_t frames, buffer; };

static void paging_open(struct rig *r, struct paging *p)
{
    rig_space_open(r, &p->space, true);
    rig_context_open(r, &p->context, &p->space, r->info.paging_node);
    p->frames = rig_frames(r, 2 * PAGES);
    p->buffer = rig_frames(r, 1);
    rig_map(r, &p->space, SOURCE_VA, 0, p->frames * 4096, PAGES, VIDMM_PTE_VALID);
    rig_map(r, &p->space, TARGET_VA, 0, (p->frames + PAGES) * 4096, PAGES, VIDMM_PTE_VALID);
    rig_map(r, &p->space, BUFFER_VA, 0, p->buffer * 4096, 1, VIDMM_PTE_VALID);
}

static void paging_close(struct rig *r, struct paging *p)
{
    rig_context_close(r, &p->context);
    rig_space_close(r, &p->space);
}

static bool paging_submit(struct rig *r, struct paging *p, struct vidmm_paging_buffer *b)
{
    if (b->used == 0) return true;
    uint64_t fence = rig_submit(r, &p->context, b->gpu_va, b->used, VIDMM_SUBMIT_PAGING);
    rig_step(r, 1000000);
    b->used = 0;
    return rig_completed(r, &p->context, fence);
}

/* One operation through buffers of `bytes` bytes; false when the driver makes no progress. */
static bool paging_execute(struct rig *r, struct paging *p, uint32_t bytes, const struct vidmm_op *op)
{
    struct vidmm_paging_buffer b = {rig_frame_cpu(r, p->buffer), BUFFER_VA, bytes, 0};
    uint64_t multipass = 0;
    for (uint32_t pass = 0; pass < 10000; pass++) {
        vidmm_status st = r->ops->build_paging_buffer(r->kmd, &b, op, &multipass);
        if (b.used > b.bytes || (st != VIDMM_OK && st != VIDMM_BUFFER_FULL)) return false;
        if (st == VIDMM_BUFFER_FULL && b.used == 0) return false;
        if (!paging_submit(r, p, &b)) return false;
        if (st == VIDMM_OK) return true;
    }
    return false;
}

static const char *paging_with(struct rig *r, struct paging *p, uint32_t bytes, uint8_t *result)
{
    uint8_t *source = rig_frame_cpu(r, p->frames), *target = rig_frame_cpu(r, p->frames + PAGES);
    uint64_t seed = 7;
    for (uint32_t i = 0; i < PAGES * 4096; i++) source[i] = (uint8_t)draw(&seed);
    memset(target, 0xee, PAGES * 4096);
    struct vidmm_op fill = {.code = VIDMM_OP_VIRTUAL_FILL,
                            .fill = {.bytes = 3 * 4096, .destination_va = TARGET_VA + 4096,
                                     .pattern = 0x11223344}};
    struct vidmm_op move = {.code = VIDMM_OP_VIRTUAL_TRANSFER,
                            .transfer = {.bytes = (PAGES - 8) * 4096, .source_va = SOURCE_VA,
                                         .destination_va = TARGET_VA + 8 * 4096,
                                         .direction = VIDMM_SYSTEM_TO_LOCAL,
                                         .flags = VIDMM_TRANSFER_START | VIDMM_TRANSFER_END}};
    struct vidmm_op flush = {.code = VIDMM_OP_FLUSH_TLB, .flush = {.process = p->space.process}};
    bool ok = paging_execute(r, p, bytes, &fill) && paging_execute(r, p, bytes, &move) &&
              paging_execute(r, p, bytes, &flush);
    if (!ok) WRONG("buffers of %u bytes: an operation did not finish", bytes);
    memcpy(result, target, PAGES * 4096);
    return NULL;
}

const char *kmd_conform_paging(struct rig *r)
{
    static uint8_t first[PAGES * 4096], other[PAGES * 4096];
    struct paging *p = calloc(1, sizeof(*p));
    paging_open(r, p);
    struct softgpu_knobs k = {.copy_bytes_max = 4096}; /* many commands, so that small buffers fill up */
    softgpu_set_knobs(r->gpu, &k);
    const char *wrong = paging_with(r, p, 4096, first);
    for (uint32_t bytes = 64; bytes <= 512 && wrong == NULL; bytes += 8) {
        wrong = paging_with(r, p, bytes, other);
        if (wrong == NULL && memcmp(first, other, sizeof(first)) != 0)
            wrong = "another buffer size gave another memory";
    }
    for (k.buffer_full_every = 1; k.buffer_full_every < 5 && wrong == NULL; k.buffer_full_every++) {
        softgpu_set_knobs(r->gpu, &k);
        wrong = paging_with(r, p, 256, other);
        if (wrong == NULL && memcmp(first, other, sizeof(first)) != 0)
            wrong = "BUFFER_FULL changed the memory";
    }
    paging_close(r, p);
    free(p);
    return wrong;
}

/* ---- objects ----------------------------------------------------------------------------------- */

const char *kmd_conform_objects(struct rig *r)
{
    void *process;
    if (r->ops->create_process(r->kmd, false, &process) != VIDMM_OK) WRONG("create_process");
    uint32_t live = atomic_load(&r->allocs_live);
    for (uint32_t node = 0; node < r->info.node_count; node++) {
        struct vidmm_kmd_context c = {.process = process, .node = node, .flags = VIDMM_CONTEXT_VIRTUAL};
        vidmm_status st = r->ops->create_context(r->kmd, &c);
        bool schedulable = r->info.node[node].gpummu && node != r->info.paging_node;
        if (schedulable != (st == VIDMM_OK)) WRONG("context on node %u: %d", node, st);
        if (st == VIDMM_OK) r->ops->destroy_context(r->kmd, c.handle);
    }
    struct vidmm_kmd_context outside = {.process = process, .node = r->info.node_count,
                                        .flags = VIDMM_CONTEXT_VIRTUAL};
    if (r->ops->create_context(r->kmd, &outside) == VIDMM_OK) WRONG("context on a node that is not there");
    struct vidmm_kmd_allocation nothing = {0};
    if (r->ops->create_allocation(r->kmd, &nothing) != VIDMM_INVALID) WRONG("allocation from nothing");
    uint8_t zeros[64] = {0};
    struct vidmm_kmd_allocation empty = {.private_data = zeros, .private_size = sizeof(zeros)};
    if (r->ops->create_allocation(r->kmd, &empty) != VIDMM_INVALID) WRONG("allocation from zeros");
    uint64_t aborted = 1;
    if (r->ops->reset_engine(r->kmd, 0, &aborted) != VIDMM_OK || aborted != 0) WRONG("reset of an idle node");
    if (atomic_load(&r->allocs_live) != live) WRONG("a failed or destroyed object left memory behind");
    r->ops->destroy_process(r->kmd, process);
    return NULL;
}
