/* SPDX-License-Identifier: MIT */
/* test_core_tables.c - page-table operations as the driver sees them: which tables are written, with what,
 * in which order, and which flushes go with them. */
#include "core/core.h"

#include "core_fixture.h"

#define BASE 0x200000000ull
#define LEAF_A (2ull * MIB)  /* covered by one leaf table of format A */
#define LEAF_B (4ull * MIB)
#define UNIQUE (1ull << 63)

/* ---- reading updates --------------------------------------------------------------------------------- */

/* Next update of a level in the fixture's application space; level UINT32_MAX: any. */
static const struct event *next_update(const struct fx *f, uint32_t level, uint32_t *at)
{
    const struct event *e;
    while ((e = fx_next(f, EV_UPDATE, at)) != NULL)
        if (e->object == f->p->space.kmd_process && (level == UINT32_MAX || e->update.level == level)) break;
    return e;
}

static const struct vidmm_pte_run *runs_of(const struct fx *f, const struct event *e)
{
    return f->log.run + e->first_run;
}

static uint32_t run_entries(const struct fx *f, const struct event *e)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < e->update.run_count; i++) n += runs_of(f, e)[i].count;
    return n;
}

static bool writes_valid(const struct fx *f, const struct event *e)
{
    return attr_valid(runs_of(f, e)[0].attr);
}

/* The newest update of the entry at a level that covers va in [start of table, ...): by table and index. */
static const struct event *last_leaf_write(const struct fx *f, uint64_t va)
{
    const struct event *e, *last = NULL;
    uint32_t at = 0;
    while ((e = next_update(f, 0, &at)) != NULL) {
        uint64_t end = e->update.first_va + (uint64_t)e->update.count * PAGE;
        if (e->update.first_va != 0 && va >= e->update.first_va && va < end) last = e;
    }
    return last;
}

static bool flush_covers(const struct event *e, const struct fx *f, uint64_t start, uint64_t end)
{
    bool all = e->op.flush.start_va == 0 && e->op.flush.end_va == 0;
    if (e->op.flush.process != f->p->space.kmd_process) return false;
    return all || (e->op.flush.start_va <= start && e->op.flush.end_va >= end);
}

/* The first flush of the application space that covers a range, at or after `at`. */
static const struct event *next_flush(const struct fx *f, uint64_t start, uint64_t end, uint32_t *at)
{
    const struct event *e;
    while ((e = fx_next_op(f, VIDMM_OP_FLUSH_TLB, at)) != NULL)
        if (flush_covers(e, f, start, end)) break;
    return e;
}

/* ---- shape of updates -------------------------------------------------------------------------------- */

/* A call that spilled into a neighbour table would corrupt whatever lies there. */
static void one_table_per_call(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, 5 * MIB, SYS, 0);
    fx_resident(f.q, op);
    fx_run(&f);
    fx_forget(&f);
    fx_map(f.q, op, BASE + LEAF_A - 3 * PAGE, 0, 5 * MIB);
    uint32_t at = 0, calls = 0;
    uint64_t next = BASE + LEAF_A - 3 * PAGE;
    for (const struct event *e; (e = next_update(&f, 0, &at)) != NULL;) {
        if (!writes_valid(&f, e)) continue;
        const struct vidmm_update_page_table *u = &e->update;
        assert_true(u->start_index + u->count <= 512);
        assert_int_equal(run_entries(&f, e), u->count);
        assert_int_equal(u->first_va, next);
        assert_int_equal(u->start_index, next / PAGE % 512);
        assert_int_equal(u->mode, VIDMM_UPDATE_CPU_VIRTUAL);
        next += (uint64_t)u->count * PAGE;
        calls++;
    }
    assert_int_equal(next, BASE + LEAF_A - 3 * PAGE + 5 * MIB);
    assert_int_equal(calls, 4);
    fx_run(&f);
    fx_close(&f);
}

/* What a call says about the owner must be true of each table, not only of the first. */
static void each_call_names_its_place_in_the_allocation(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    fx_forget(&f);
    struct vidmm_open *op = fx_alloc(f.d, 5 * MIB, SYS, 0);
    uint32_t at = 0;
    const struct event *created = fx_next(&f, EV_CREATE_ALLOC, &at);
    fx_resident(f.q, op);
    uint64_t va = BASE + LEAF_A - 3 * PAGE;
    fx_map(f.q, op, va, 7 * PAGE, 4 * MIB);
    at = 0;
    for (const struct event *e; (e = next_update(&f, 0, &at)) != NULL;) {
        if (!writes_valid(&f, e) || e->update.first_va < BASE) continue;
        assert_ptr_equal(e->update.allocation, created->object);
        assert_int_equal(e->update.allocation_offset, 7 * PAGE + (e->update.first_va - va));
        assert_ptr_equal(e->update.process, f.p->space.kmd_process);
    }
    fx_run(&f);
    fx_close(&f);
}

/* A driver may use the first address to invalidate what it caches of its own: it must be the right one. */
static void every_update_names_its_address(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_resident(f.q, op);
    fx_map(f.q, op, BASE, 0, MIB);
    fx_run(&f);
    fx_forget(&f);
    fx_map(f.q, op, BASE + 8 * PAGE, 0, 8 * PAGE);
    fx_run(&f);
    assert_int_equal(vidmm_va_free(f.p, BASE + 64 * PAGE, 16 * PAGE), VIDMM_OK);
    fx_map(f.q, op, BASE + 1024 * MIB, 0, MIB);
    fx_run(&f);
    uint32_t at = 0;
    for (const struct event *e; (e = next_update(&f, UINT32_MAX, &at)) != NULL;) {
        uint64_t span = 1ull << f.ad->shift[e->update.level];
        if (e->update.flags & VIDMM_UPDATE_INITIAL) continue;
        assert_true(e->update.first_va >= BASE);
        assert_int_equal(e->update.first_va / span % 512, e->update.start_index);
    }
    fx_close(&f);
}

/* Scattered memory travels as runs, one step of 4 KiB each: an entry more or less reads a stranger's page. */
static void runs_follow_the_extents(void **state)
{
    struct fx f;
    struct vidmm_open *small[64];
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    for (int i = 0; i < 64; i++) {
        small[i] = fx_alloc(f.d, 128 * KIB, SEG1, 1);
        fx_resident(f.q, small[i]);
    }
    fx_run(&f);
    for (int i = 0; i < 64; i += 2) vidmm_open_close(small[i], VIDMM_DESTROY_ASSUME_NOT_IN_USE);
    fx_run(&f);
    fx_evict(f.d, small[1], 0);
    struct vidmm_open *op = fx_alloc(f.d, 11 * MIB, SEG1, 1);
    uint64_t va = fx_map_all(f.q, op), bytes = 0;
    fx_forget(&f);
    fx_resident(f.q, op);
    fx_run(&f);
    assert_true(op->al->ext_count > 8);
    uint32_t at = 0;
    for (const struct event *e; (e = next_update(&f, 0, &at)) != NULL;) {
        const struct vidmm_pte_run *r = runs_of(&f, e);
        if (e->update.first_va < va || e->update.first_va >= va + 11 * MIB) continue;
        for (uint32_t i = 0; i < e->update.run_count; bytes += (uint64_t)r[i].count * PAGE, i++) {
            uint64_t left;
            assert_int_equal(r[i].address, vmm_place_run(op->al, 1, bytes, &left));
            assert_int_equal(r[i].step, PAGE);
            assert_true((uint64_t)r[i].count * PAGE <= left);
        }
    }
    assert_int_equal(bytes, 11 * MIB);
    fx_close(&f);
}

/* A table is written invalid from end to end before any entry names it. */
static void tables_are_initialised_before_they_are_linked(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_forget(&f);
    fx_map(f.q, op, 0x300000000000ull, 0, MIB);
    uint32_t at = 0, initial = 0, links = 0;
    for (const struct event *e; (e = next_update(&f, UINT32_MAX, &at)) != NULL;) {
        if (e->update.flags & VIDMM_UPDATE_INITIAL) {
            assert_int_equal(e->update.level, 2 - initial); /* from the top down */
            assert_int_equal(e->update.start_index, 0);
            assert_int_equal(e->update.count, 512);
            assert_false(writes_valid(&f, e));
            initial++;
        } else if (e->update.level > 0) {
            assert_int_equal(e->update.level, 3 - links);
            assert_true(writes_valid(&f, e));
            links++;
            assert_int_equal(initial, links);
        }
    }
    assert_int_equal(initial, 3);
    assert_int_equal(links, 3);
    fx_run(&f);
    fx_close(&f);
}

/* With more than two levels every table has its level's size, and nobody asks for a root size. */
static void fixed_tables_have_their_levels_size(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    assert_int_equal(fx_count(&f, EV_ROOT_SIZE), 0);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_map(f.q, op, 0x10000, 0, MIB);
    fx_map(f.q, op, 0x7f0000000000ull, 0, MIB);
    fx_run(&f);
    assert_int_equal(fx_count(&f, EV_ROOT_SIZE), 0);
    for (struct vmm_table *t = f.p->space.tables.root; t->level > 0;) {
        assert_int_equal(t->entries, 512);
        assert_int_equal(t->bytes, 4096);
        uint32_t i = 0;
        while (t->child[i] == NULL) i++;
        assert_int_equal(t->child[i]->level, t->level - 1);
        t = t->child[i];
    }
    assert_int_equal(f.p->space.tables.root->level, 3);
    /* Index of each level: bits above the level below, byte offset in bits 0..11. */
    uint64_t va = 0x7f0000000000ull;
    struct vmm_table *t = f.p->space.tables.root->child[va >> 39];
    assert_non_null(t);
    t = t->child[va >> 30 & 511];
    assert_non_null(t);
    t = t->child[va >> 21 & 511];
    assert_ptr_equal(t, vmm_leaf_find(&f.p->space, va));
    fx_close(&f);
}

/* Tables live where the level descriptors say, those of the paging process where theirs do. */
static void tables_live_in_their_segments(void **state)
{
    struct fx f;
    (void)state;
    fx_init(&f, REF_FORMAT_A);
    f.opt.table_segment[0] = 0;
    f.opt.table_segment[1] = 2;
    f.opt.paging_table_segment[2] = 1;
    fx_start(&f);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_map(f.q, op, BASE, 0, MIB);
    fx_run(&f);
    for (struct vmm_table *t = vmm_leaf_find(&f.p->space, BASE); t != NULL; t = t->parent)
        assert_int_equal(t->segment, f.opt.table_segment[t->level]);
    for (struct vmm_table *t = vmm_leaf_find(&f.ad->paging, VMM_SCRATCH_START); t != NULL; t = t->parent)
        assert_int_equal(t->segment, f.opt.paging_table_segment[t->level]);
    fx_resident(f.q, op);
    fx_run(&f);
    fx_fill(&f, f.c, BASE, 0x51515151, MIB);
    assert_int_equal(fx_gpu_read(&f, BASE + MIB - 8), 0x5151515151515151ull);
    fx_close(&f);
}

/* ---- driver protection ------------------------------------------------------------------------------- */

static uint64_t map_protected(struct fx *f, struct vidmm_open *op, uint64_t base, uint64_t offset,
                              uint64_t bytes, uint64_t protection)
{
    struct vidmm_map in = {.base = base, .open = op, .offset = offset, .bytes = bytes,
                           .protection = VIDMM_PROT_WRITE, .driver_protection = protection};
    uint64_t va = 0;
    assert_true(fx_try_map(f->q, &in, &va) >= 0);
    return va;
}

static vidmm_status try_protected(struct fx *f, struct vidmm_open *op, uint64_t base, uint64_t offset,
                                  uint64_t bytes, uint64_t protection)
{
    struct vidmm_map in = {.base = base, .open = op, .offset = offset, .bytes = bytes,
                           .driver_protection = protection};
    uint64_t va = 0;
    return fx_try_map(f->q, &in, &va);
}

/* Every leaf update of a range carries its 64 bits, on the way out and back too; upper levels carry 0. */
static void driver_protection_is_delivered(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    const uint64_t value = 0x123456789abcde5full;
    struct vidmm_open *op = fx_alloc(f.d, 10 * MIB, SEG1, 1), *big = fx_alloc(f.d, 10 * MIB, SEG1, 1);
    fx_forget(&f);
    map_protected(&f, op, BASE, 0, 10 * MIB, value);
    fx_resident(f.q, op);
    fx_run(&f);
    fx_evict(f.d, op, 0);
    fx_resident(f.q, big);
    fx_run(&f);
    assert_false(fx_place(op).resident);
    fx_evict(f.d, big, 0);
    fx_resident(f.q, op);
    fx_run(&f);
    uint32_t at = 0, valid = 0, invalid = 0;
    for (const struct event *e; (e = next_update(&f, UINT32_MAX, &at)) != NULL;) {
        bool leaf = e->update.level == 0 && !(e->update.flags & VIDMM_UPDATE_INITIAL);
        assert_int_equal(e->update.driver_protection, leaf ? value : 0);
        if (leaf && writes_valid(&f, e)) valid += e->update.count;
        else if (leaf) invalid += e->update.count;
    }
    assert_int_equal(valid, 2 * 2560);
    assert_int_equal(invalid, 2560);
    at = 0;
    for (const struct event *e; (e = fx_next(&f, EV_ATTR, &at)) != NULL;)
        if (e->attr.level > 0) assert_int_equal(e->attr.driver_protection, 0);
    fx_close(&f);
}

/* Plain values may differ between mappings of the same pages, and each mapping keeps its own. */
static void plain_protections_coexist(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_resident(f.q, op);
    fx_forget(&f);
    map_protected(&f, op, BASE, 0, MIB, 0x11);
    map_protected(&f, op, BASE + 4 * MIB, 0, MIB, 0x22);
    map_protected(&f, op, BASE + 8 * MIB, 0, MIB, 0);
    assert_int_equal(last_leaf_write(&f, BASE)->update.driver_protection, 0x11);
    assert_int_equal(last_leaf_write(&f, BASE + 4 * MIB)->update.driver_protection, 0x22);
    assert_int_equal(last_leaf_write(&f, BASE + 8 * MIB)->update.driver_protection, 0);
    map_protected(&f, op, BASE, 0, MIB, 0x33); /* a plain value can be changed in place */
    fx_run(&f);
    assert_int_equal(last_leaf_write(&f, BASE)->update.driver_protection, 0x33);
    map_protected(&f, op, BASE + 4 * PAGE, 0, 4 * PAGE, 0x44);
    fx_run(&f);
    assert_int_equal(last_leaf_write(&f, BASE + 4 * PAGE)->update.driver_protection, 0x44);
    assert_int_equal(f.p->space.tables.update.driver_protection, 0);
    fx_run(&f);
    fx_close(&f);
}

/* A unique value excludes every other value for the same pages, anywhere; other pages do not care. */
static void unique_protection_excludes_others(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    map_protected(&f, op, BASE, 4 * PAGE, 4 * PAGE, UNIQUE | 1);
    assert_int_equal(try_protected(&f, op, BASE + MIB, 0, 5 * PAGE, 0), VIDMM_INVALID);
    assert_int_equal(try_protected(&f, op, BASE + MIB, 7 * PAGE, PAGE, UNIQUE | 2), VIDMM_INVALID);
    assert_int_equal(try_protected(&f, op, BASE + MIB, 6 * PAGE, PAGE, 1), VIDMM_INVALID);
    assert_true(try_protected(&f, op, BASE + MIB, 4 * PAGE, 2 * PAGE, UNIQUE | 1) >= 0);
    assert_true(try_protected(&f, op, BASE + 2 * MIB, 0, 4 * PAGE, 0) >= 0);
    assert_true(try_protected(&f, op, BASE + 3 * MIB, 8 * PAGE, PAGE, UNIQUE | 9) >= 0);
    /* plain there */
    assert_int_equal(try_protected(&f, op, BASE + 4 * MIB, 0, PAGE, UNIQUE | 3), VIDMM_INVALID);
    /* In place a unique value does not change; freed, it is gone. */
    assert_int_equal(try_protected(&f, op, BASE, 4 * PAGE, 4 * PAGE, UNIQUE | 2), VIDMM_INVALID);
    assert_int_equal(vidmm_va_free(f.p, BASE, 4 * PAGE), VIDMM_OK);
    assert_int_equal(vidmm_va_free(f.p, BASE + MIB, 2 * PAGE), VIDMM_OK);
    assert_true(try_protected(&f, op, BASE, 4 * PAGE, 4 * PAGE, UNIQUE | 2) >= 0);
    fx_run(&f);
    /* Inside a reservation, mapping no access ends it too. */
    uint64_t range = fx_reserve(&f, BASE + 16 * MIB, 65536);
    assert_true(try_protected(&f, op, range, 32 * PAGE, PAGE, UNIQUE | 5) >= 0);
    assert_int_equal(try_protected(&f, op, range, 32 * PAGE, PAGE, UNIQUE | 6), VIDMM_INVALID);
    uint64_t va;
    struct vidmm_map none = {.base = range, .bytes = PAGE, .protection = VIDMM_PROT_NO_ACCESS};
    assert_true(fx_try_map(f.q, &none, &va) >= 0);
    fx_run(&f);
    assert_true(try_protected(&f, op, range, 32 * PAGE, PAGE, UNIQUE | 6) >= 0);
    fx_run(&f);
    fx_close(&f);
}

/* A range with a plain value may be remapped with any value, unique ones included, whole or in part. */
static void plain_protection_gives_way(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    map_protected(&f, op, BASE, 0, 16 * PAGE, 5);
    assert_true(try_protected(&f, op, BASE, 0, 16 * PAGE, UNIQUE | 7) >= 0);
    map_protected(&f, op, BASE + MIB, 32 * PAGE, 16 * PAGE, 5);
    assert_true(try_protected(&f, op, BASE + MIB + 4 * PAGE, 36 * PAGE, 4 * PAGE, UNIQUE | 8) >= 0);
    fx_run(&f);
    fx_close(&f);
}

/* Queued maps are accepted maps: two that contradict each other must not both get through. */
static void unique_protection_sees_queued_maps(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    vidmm_queue_delay(f.q, UINT64_MAX);
    map_protected(&f, op, BASE, 0, 4 * PAGE, UNIQUE | 1);
    assert_int_equal(try_protected(&f, op, BASE + MIB, 0, 4 * PAGE, UNIQUE | 2), VIDMM_INVALID);
    vidmm_queue_delay(f.q, 0);
    fx_run(&f);
    fx_close(&f);
}

/* ---- access bits --------------------------------------------------------------------------------------- */

static uint64_t attr_of_map(struct fx *f, struct vidmm_open *op, uint64_t protection)
{
    struct vidmm_map in = {.base = BASE, .open = op, .bytes = PAGE, .protection = protection};
    uint64_t va = 0;
    assert_true(fx_try_map(f->q, &in, &va) >= 0);
    fx_run(f);
    return runs_of(f, last_leaf_write(f, BASE))->attr;
}

/* Write and execute are bits in the entry only where the hardware has them. */
static void access_bits_follow_the_caps(void **state)
{
    static const uint32_t caps[] = {0, VIDMM_MMU_READ_ONLY, VIDMM_MMU_NO_EXECUTE,
                                    VIDMM_MMU_READ_ONLY | VIDMM_MMU_NO_EXECUTE};
    (void)state;
    for (size_t i = 0; i < VT_COUNT(caps); i++) {
        struct fx f;
        fx_init(&f, REF_FORMAT_A);
        f.opt.mmu_flags = caps[i] | VIDMM_MMU_INVALID_NOT_CACHED;
        fx_start(&f);
        struct vidmm_open *op = fx_alloc(f.d, PAGE, SYS, 0);
        fx_resident(f.q, op);
        for (uint64_t prot = 0; prot < 4; prot++) {
            uint64_t attr = attr_of_map(&f, op, prot);
            bool ro = (caps[i] & VIDMM_MMU_READ_ONLY) && !(prot & VIDMM_PROT_WRITE);
            bool nx = (caps[i] & VIDMM_MMU_NO_EXECUTE) && !(prot & VIDMM_PROT_EXECUTE);
            assert_true(attr_valid(attr));
            assert_int_equal(attr_read_only(attr), ro);
            assert_int_equal(attr_no_execute(attr), nx);
        }
        fx_run(&f);
        fx_close(&f);
    }
}

/* Cache coherence: of system memory only, and only with the cap. Zero pages: valid and zero. */
static void coherence_and_zero_bits(void **state)
{
    struct fx f;
    uint64_t va, value;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *sys = fx_alloc(f.d, PAGE, SYS, 0), *local = fx_alloc(f.d, PAGE, SEG2, 2);
    fx_resident(f.q, sys);
    fx_resident(f.q, local);
    fx_run(&f);
    fx_forget(&f);
    fx_map(f.q, sys, BASE, 0, PAGE);
    fx_map(f.q, local, BASE + MIB, 0, PAGE);
    struct vidmm_reserve in = {.base = BASE + 16 * MIB, .bytes = 65536, .type = VIDMM_RESERVE_ZERO};
    assert_true(vidmm_va_reserve(f.p, f.q, &in, &va, &value) >= 0);
    uint32_t at = 0;
    for (const struct event *e; (e = fx_next(&f, EV_ATTR, &at)) != NULL;) {
        if (e->attr.level != 0 || !(e->attr.flags & VIDMM_PTE_VALID)) continue;
        bool zero = (e->attr.flags & VIDMM_PTE_ZERO) != 0;
        assert_int_equal((e->attr.flags & VIDMM_PTE_CACHE_COHERENT) != 0, e->attr.segment == 0 && !zero);
    }
    const struct event *z = last_leaf_write(&f, BASE + 16 * MIB);
    assert_true(attr_valid(runs_of(&f, z)->attr) && attr_zero(runs_of(&f, z)->attr));
    assert_int_equal(z->update.count, 16);
    assert_int_equal(runs_of(&f, z)->step, 0);
    fx_run(&f);
    fx_close(&f);
}

/* ---- flushes ------------------------------------------------------------------------------------------- */

/* Map over a mapping: the old translation must be gone from every TLB before the fence says so. */
static void a_change_is_flushed_before_the_fence(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = fx_alloc(f.d, MIB, SYS, 0), *b = fx_alloc(f.d, MIB, SYS, 0);
    fx_resident(f.q, a);
    fx_resident(f.q, b);
    fx_map(f.q, a, BASE, 0, MIB);
    fx_run(&f);
    fx_forget(&f);
    uint64_t value, va;
    struct vidmm_map in = {.base = BASE + 16 * PAGE, .open = b, .bytes = 4 * PAGE};
    assert_int_equal(vidmm_va_map(f.q, &in, &va, &value), VIDMM_PENDING);
    fx_run_core(&f);
    assert_true(fx_done(f.q) < value);
    uint32_t at = 0;
    const struct event *flush = next_flush(&f, in.base, in.base + 4 * PAGE, &at);
    assert_non_null(flush);
    assert_int_equal(flush->op.flush.root.segment, f.p->space.tables.root->segment);
    assert_int_equal(flush->op.flush.root.offset, f.p->space.tables.root->address);
    fx_run(&f);
    assert_true(fx_done(f.q) >= value);
    fx_close(&f);
}

/* Evicted: the flush is in the stream before the copy that ends in the pages' being free. */
static void pages_are_flushed_before_they_are_reused(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = fx_alloc(f.d, 10 * MIB, SEG1 | SYS, 1), *b = fx_alloc(f.d, 10 * MIB, SEG1, 1);
    fx_map(f.q, a, BASE, 0, 10 * MIB);
    fx_map(f.q, a, BASE + 32 * MIB, 0, MIB);
    fx_resident(f.q, a);
    fx_run(&f);
    fx_evict(f.d, a, 0);
    fx_forget(&f);
    fx_resident(f.q, b);
    fx_run(&f);
    uint32_t at = 0;
    const struct event *one = next_flush(&f, BASE, BASE + 10 * MIB, &at);
    at = 0;
    const struct event *two = next_flush(&f, BASE + 32 * MIB, BASE + 33 * MIB, &at);
    at = 0;
    const struct event *copy = fx_next_op(&f, VIDMM_OP_VIRTUAL_TRANSFER, &at);
    assert_non_null(one);
    assert_non_null(two);
    assert_non_null(copy);
    const struct event *gone = last_leaf_write(&f, BASE);
    assert_false(writes_valid(&f, gone));
    assert_true(fx_index(&f, gone) < fx_index(&f, one));
    assert_true(fx_index(&f, one) < fx_index(&f, copy));
    assert_true(fx_index(&f, two) < fx_index(&f, copy));
    fx_close(&f);
}

/* A freed range: its pages stay the allocation's until the flush is done. */
static void a_destroyed_allocation_keeps_its_pages_until_the_flush(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = fx_alloc(f.d, MIB, SEG1, 1);
    fx_map(f.q, a, BASE, 0, MIB);
    fx_resident(f.q, a);
    fx_run(&f);
    uint32_t before = pagepool_free_pages(&f.ad->segment[1].pool);
    fx_forget(&f);
    vidmm_open_close(a, VIDMM_DESTROY_ASSUME_NOT_IN_USE);
    fx_run_core(&f);
    assert_int_equal(pagepool_free_pages(&f.ad->segment[1].pool), before);
    assert_int_equal(fx_count(&f, EV_DESTROY_ALLOC), 0);
    fx_run(&f);
    assert_int_equal(pagepool_free_pages(&f.ad->segment[1].pool), before + 16);
    uint32_t at = 0;
    const struct event *flush = next_flush(&f, BASE, BASE + MIB, &at);
    assert_non_null(flush);
    assert_int_equal(fx_count(&f, EV_DESTROY_ALLOC), 1);
    fx_close(&f);
}

/* Invalid to valid: no flush where the hardware never caches an invalid entry, a flush where it does. */
static void first_maps_are_flushed_only_without_the_cap(void **state)
{
    (void)state;
    for (int cap = 0; cap < 2; cap++) {
        struct fx f;
        fx_init(&f, REF_FORMAT_A);
        f.opt.mmu_flags = cap ? VIDMM_MMU_INVALID_NOT_CACHED : 0;
        fx_start(&f);
        struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
        fx_resident(f.q, op);
        for (uint64_t base = BASE; base < BASE + LEAF_A; base += MIB) { /* with a new table, then without */
            fx_run(&f);
            fx_forget(&f);
            struct vidmm_map in = {.base = base, .open = op, .bytes = MIB};
            uint64_t va;
            assert_int_equal(fx_try_map(f.q, &in, &va), cap ? VIDMM_OK : VIDMM_PENDING);
            fx_run(&f);
            uint32_t at = 0;
            assert_int_equal(next_flush(&f, base, base + MIB, &at) == NULL, cap);
        }
        fx_close(&f);
    }
}

/* ---- life of tables ----------------------------------------------------------------------------- */

/* An empty leaf goes with its last mapping: first its parent's entry, then the flush, then the page. */
static void empty_tables_are_freed_after_the_flush(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    uint64_t tables = f.count.tables_live, va = 0x300000000000ull;
    fx_map(f.q, op, va, 0, MIB);
    fx_run(&f);
    assert_int_equal(f.count.tables_live, tables + 3);
    fx_forget(&f);
    assert_int_equal(vidmm_va_free(f.p, va, MIB), VIDMM_OK);
    fx_run_core(&f);
    assert_int_equal(f.count.tables_live, tables + 3);
    uint32_t at = 0;
    const struct event *unlink = next_update(&f, 3, &at);
    assert_non_null(unlink);
    assert_false(writes_valid(&f, unlink));
    at = 0;
    const struct event *flush = next_flush(&f, va, va + MIB, &at);
    assert_non_null(flush);
    assert_true(fx_index(&f, unlink) < fx_index(&f, flush));
    fx_run(&f);
    assert_int_equal(f.count.tables_live, tables);
    fx_close(&f);
}

/* With ExplicitPageTableInvalidation every entry of a table is invalidated before the table is freed. */
static void explicit_invalidation_of_freed_tables(void **state)
{
    (void)state;
    for (int explicit_cap = 0; explicit_cap < 2; explicit_cap++) {
        struct fx f;
        fx_init(&f, REF_FORMAT_A);
        f.opt.mmu_flags = VIDMM_MMU_INVALID_NOT_CACHED | (explicit_cap ? VIDMM_MMU_EXPLICIT_INVALIDATION : 0);
        fx_start(&f);
        struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
        fx_resident(f.q, op);
        fx_map(f.q, op, 0x300000000000ull, 0, MIB);
        fx_run(&f);
        void *leaf = vmm_leaf_find(&f.p->space, 0x300000000000ull)->cpu;
        fx_forget(&f);
        assert_int_equal(vidmm_va_free(f.p, 0x300000000000ull, MIB), VIDMM_OK);
        fx_run(&f);
        uint32_t at = 0, whole = 0;
        for (const struct event *e; (e = next_update(&f, 0, &at)) != NULL;)
            whole += e->update.table.cpu_virtual == leaf && e->update.count == 512 && !writes_valid(&f, e);
        assert_int_equal(whole, explicit_cap);
        fx_close(&f);
    }
}

/* ... also before a replaced root, and before the tables of a process that goes. */
static void explicit_invalidation_of_roots(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_B);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    void *old = f.p->space.tables.root->cpu;
    fx_forget(&f);
    fx_map(f.q, op, 0x8000000000ull, 0, MIB);
    fx_run(&f);
    assert_ptr_not_equal(f.p->space.tables.root->cpu, old);
    uint32_t at = 0, whole = 0;
    for (const struct event *e; (e = next_update(&f, 1, &at)) != NULL;)
        whole += e->update.table.cpu_virtual == old && e->update.count >= 1024 && !writes_valid(&f, e);
    assert_int_equal(whole, 1);
    fx_close(&f);
}

/* ---- the resizable root ------------------------------------------------------------------------- */

static const struct event *last_root(const struct fx *f)
{
    const struct event *e, *last = NULL;
    uint32_t at = 0;
    while ((e = fx_next(f, EV_SET_ROOT, &at)) != NULL) last = e;
    return last;
}

/* The root has exactly the size the driver gave for the wanted number of entries. */
static void the_root_has_the_drivers_size(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_B);
    uint32_t at = 0;
    assert_int_equal(fx_count(&f, EV_ROOT_SIZE), 2); /* paging process, application process */
    const struct event *paging = fx_next(&f, EV_ROOT_SIZE, &at), *app = fx_next(&f, EV_ROOT_SIZE, &at);
    assert_int_equal(paging->entries_in, 256);
    assert_int_equal(f.p->space.tables.root->bytes, app->root_bytes);
    assert_int_equal(f.p->space.tables.root->entries, app->entries);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_forget(&f);
    fx_map(f.q, op, 5000 * LEAF_B, 0, MIB);
    fx_run(&f);
    at = 0;
    const struct event *grown = fx_next(&f, EV_ROOT_SIZE, &at);
    assert_non_null(grown);
    assert_int_equal(grown->entries_in, 5001);
    assert_int_equal(f.p->space.tables.root->bytes, grown->root_bytes);
    assert_int_equal(f.p->space.tables.root->entries, grown->entries);
    fx_close(&f);
}

/* Growth keeps what was mapped, adds tables for the new range only, and tells every context. */
static void the_root_grows_on_demand(void **state)
{
    struct fx f;
    struct vidmm_context *copy;
    struct vidmm_context_desc desc = {.node = REF_NODE_COPY};
    (void)state;
    fx_open(&f, REF_FORMAT_B);
    assert_int_equal(vidmm_context_create(f.d, &desc, &copy), VIDMM_OK);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_resident(f.q, op);
    uint64_t low = fx_map_all(f.q, op), tables = f.count.tables_live, high = 5000 * LEAF_B;
    fx_fill(&f, f.c, low, 0x61616161, MIB);
    fx_fill(&f, copy, low, 0x61616161, 64);
    fx_run(&f);
    fx_forget(&f);
    fx_map(f.q, op, high, 0, MIB);
    fx_run(&f);
    assert_int_equal(f.count.root_resizes, 1);
    assert_int_equal(f.count.tables_live, tables + 1);
    assert_int_equal(fx_gpu_read(&f, low + 4096), 0x6161616161616161ull);
    assert_int_equal(fx_gpu_read(&f, high + 4096), 0x6161616161616161ull);
    const struct event *set = last_root(&f);
    assert_non_null(set);
    assert_int_equal(set->entries, f.p->space.tables.root->entries);
    assert_int_equal(set->root.offset, f.p->space.tables.root->address);
    assert_int_equal(set->root.segment, f.p->space.tables.root->segment);
    fx_fill(&f, copy, high, 0x62626262, 64);
    fx_run(&f);
    assert_true(last_root(&f) != set && last_root(&f)->object != set->object);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    fx_close(&f);
}

/* The new root is initialised, then filled from the old, before any context hears of it. */
static void a_new_root_is_complete_before_it_is_set(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_B);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_resident(f.q, op);
    fx_run(&f);
    uint32_t at = 0, links = 0;
    fx_forget(&f);
    fx_map(f.q, op, 5000 * LEAF_B, 0, MIB);
    fx_run(&f);
    (void)fx_gpu_read(&f, 5000 * LEAF_B);
    void *root = f.p->space.tables.root->cpu;
    const struct event *set = last_root(&f);
    bool initial = false;
    for (const struct event *e; (e = next_update(&f, 1, &at)) != NULL;) {
        if (e->update.table.cpu_virtual != root) continue;
        assert_true(fx_index(&f, e) < fx_index(&f, set));
        if (e->update.flags & VIDMM_UPDATE_INITIAL) initial = true;
        else links += writes_valid(&f, e);
        assert_true(initial);
    }
    assert_int_equal(links, f.p->space.tables.root->live);
    fx_close(&f);
}

/* The root moves only while every context of the process is idle; nothing starts until it has moved. */
static void the_root_moves_while_contexts_are_idle(void **state)
{
    struct fx f;
    struct vidmm_fence *gate;
    (void)state;
    fx_open(&f, REF_FORMAT_B);
    struct peer other = fx_peer(f.p);
    assert_int_equal(vidmm_fence_create(other.d, 0, 0, &gate), VIDMM_OK);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_resident(f.q, op);
    fx_run(&f);
    fx_wait_packet(&f, other.c, vidmm_fence_gpu_address(gate), 1);
    fx_run(&f);
    fx_forget(&f);
    uint64_t va, value;
    struct vidmm_map in = {.base = 5000 * LEAF_B, .open = op, .bytes = MIB, .protection = VIDMM_PROT_WRITE};
    assert_int_equal(vidmm_va_map(f.q, &in, &va, &value), VIDMM_PENDING);
    fx_fill(&f, f.c, f.cmd_va + 128 * KIB, 1, 64);
    fx_run(&f);
    assert_int_equal(fx_count(&f, EV_SET_ROOT), 0);
    assert_int_equal(f.count.root_resizes, 0);
    assert_int_equal(vidmm_context_pending(f.c), 1);
    assert_false(fx_queue_done(f.q));
    struct softgpu_knobs k = {.hang_nodes = 1u << REF_NODE_PAGING};
    softgpu_set_knobs(ref_gpu(f.ref), &k);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(f.count.root_resizes, 1);
    assert_int_equal(vidmm_context_pending(f.c), 1); /* upper entries are cached until the flush is done */
    k.hang_nodes = 0;
    softgpu_set_knobs(ref_gpu(f.ref), &k);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    assert_true(fx_queue_done(f.q));
    uint32_t at = 0;
    const struct event *flush = next_flush(&f, 0, UINT64_MAX - 1, &at);
    assert_non_null(flush); /* of everything: upper entries are cached too */
    fx_close(&f);
}

/* When most of it is unused the root shrinks again, and an index beyond its end faults. */
static void the_root_shrinks(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_B);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_resident(f.q, op);
    uint64_t low = fx_map_all(f.q, op), high = 200000 * LEAF_B;
    fx_fill(&f, f.c, low, 0x71717171, MIB);
    fx_map(f.q, op, high, 0, MIB);
    fx_run(&f);
    uint32_t large = f.p->space.tables.root->entries;
    assert_true(large > 200000);
    fx_forget(&f);
    assert_int_equal(vidmm_va_free(f.p, high, MIB), VIDMM_OK);
    fx_run(&f);
    assert_true(f.p->space.tables.root->entries < large / 4);
    assert_int_equal(fx_gpu_read(&f, low), 0x7171717171717171ull);
    assert_int_equal(last_root(&f)->entries, f.p->space.tables.root->entries);
    (void)fx_gpu_read(&f, high);
    struct vidmm_page_fault why;
    assert_int_equal(vidmm_device_fault(f.d, &why), VIDMM_OK);
    assert_int_equal(why.error_code, SOFTGPU_ERROR_ROOT_RANGE);
    fx_close(&f);
}

/* A root that could not get smaller is left alone: a swap stops every context of the process. */
static void no_root_swap_without_gain(void **state)
{
    struct fx f;
    struct vidmm_process *p;
    uint64_t va, value;
    (void)state;
    fx_open(&f, REF_FORMAT_B);
    assert_int_equal(vidmm_process_create(f.ad, &p), VIDMM_OK);
    struct vidmm_reserve in = {.bytes = 65536};
    assert_int_equal(vidmm_va_reserve(p, NULL, &in, &va, &value), VIDMM_OK);
    assert_int_equal(vidmm_va_free(p, va, 65536), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(f.count.root_resizes, 0);
    assert_true(fx_destroy_process(&f, p));
    fx_close(&f);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(one_table_per_call, "PT-28 PT-42", NULL),
        VT_TEST(each_call_names_its_place_in_the_allocation, "PT-27", NULL),
        VT_TEST(every_update_names_its_address, "PT-27", NULL),
        VT_TEST(runs_follow_the_extents, "PT-27 PT-44 SEG-14", NULL),
        VT_TEST(tables_are_initialised_before_they_are_linked, "PT-06 PT-45", NULL),
        VT_TEST(fixed_tables_have_their_levels_size, "PT-03 PT-07 PT-08", NULL),
        VT_TEST(tables_live_in_their_segments, "PT-05", NULL),
        VT_TEST(driver_protection_is_delivered, "VA-33 VA-34", NULL),
        VT_TEST(plain_protections_coexist, "VA-33 VA-35 VA-38", NULL),
        VT_TEST(unique_protection_excludes_others, "VA-36 VA-37", NULL),
        VT_TEST(plain_protection_gives_way, "VA-38", NULL),
        VT_TEST(unique_protection_sees_queued_maps, "VA-36", NULL),
        VT_TEST(access_bits_follow_the_caps, "VA-43 PT-31", NULL),
        VT_TEST(coherence_and_zero_bits, "PT-30 PT-31", NULL),
        VT_TEST(a_change_is_flushed_before_the_fence, "PT-34", NULL),
        VT_TEST(pages_are_flushed_before_they_are_reused, "PT-34", NULL),
        VT_TEST(a_destroyed_allocation_keeps_its_pages_until_the_flush, "PT-34 PAG-24", NULL),
        VT_TEST(first_maps_are_flushed_only_without_the_cap, "PT-35", NULL),
        VT_TEST(empty_tables_are_freed_after_the_flush, "PT-32", NULL),
        VT_TEST(explicit_invalidation_of_freed_tables, "PT-32", NULL),
        VT_TEST(explicit_invalidation_of_roots, "PT-32", NULL),
        VT_TEST(the_root_has_the_drivers_size, "PT-08", NULL),
        VT_TEST(the_root_grows_on_demand, "PT-09 PT-11 PT-12", NULL),
        VT_TEST(a_new_root_is_complete_before_it_is_set, "PT-06 PT-09", NULL),
        VT_TEST(the_root_moves_while_contexts_are_idle, "PT-12", NULL),
        VT_TEST(the_root_shrinks, "PT-10 PT-41", NULL),
        VT_TEST(no_root_swap_without_gain, "", NULL),
    };
    return vt_main(argc, argv, "core_tables", cases, VT_COUNT(cases));
}
