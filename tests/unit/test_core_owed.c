/* SPDX-License-Identifier: MIT */
/* test_core_owed.c - page tables that the paging engine writes: which operations, in which order, and that
 * nothing is promised before they have been executed. Both formats, by address and by segment. */
#include "core/core.h"
#include "core_fixture.h"

#define BASE 0x40000000ull

static void open_mode(struct fx *f, enum ref_format format, enum vidmm_update_mode mode)
{
    fx_init(f, format);
    f->opt.update_mode = mode;
    fx_start(f);
}

static bool is_update(const struct event *e)
{
    return e->status == VIDMM_OK && e->op.code == VIDMM_OP_UPDATE_PAGE_TABLE;
}

/* The next update or flush of anybody. */
static const struct event *next_build(const struct fx *f, uint32_t *at)
{
    const struct event *e = fx_next(f, EV_BUILD, at);
    while (e != NULL && e->status != VIDMM_OK) e = fx_next(f, EV_BUILD, at);
    return e;
}

static void *app(const struct fx *f) { return f->p->space.kmd_process; }
static void *paging(const struct fx *f) { return f->ad->paging.kmd_process; }

/* One page behind an address whose tables exist: scratch entry, flush of the paging process, entry, and for a
 * change of a valid entry the flush of the process. */
static void sequence_of_an_update(void **state)
{
    struct fx f;
    uint32_t at = 0;
    (void)state;
    open_mode(&f, REF_FORMAT_A, VIDMM_UPDATE_GPU_VIRTUAL);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_resident(f.q, op);
    fx_map(f.q, op, BASE, 0, MIB);
    fx_run(&f);
    fx_forget(&f);
    fx_map(f.q, op, BASE, 64 * KIB, PAGE); /* valid to valid */
    uint64_t value = f.q->issued;
    fx_run(&f);
    const struct event *e = next_build(&f, &at);
    assert_true(is_update(e));
    assert_ptr_equal(e->op.update.process, paging(&f));
    assert_int_equal(e->op.update.mode, VIDMM_UPDATE_GPU_VIRTUAL);
    uint64_t window = VMM_SCRATCH_START + VMM_TABLES_WINDOW * VMM_SCRATCH_WINDOW;
    assert_int_equal(e->op.update.first_va, window);
    assert_in_range(e->op.update.table.gpu_virtual, VMM_TABLES_VA, VMM_SCRATCH_START - 1);
    e = next_build(&f, &at);
    assert_int_equal(e->op.code, VIDMM_OP_FLUSH_TLB);
    assert_ptr_equal(e->op.flush.process, paging(&f));
    assert_int_equal(e->op.flush.start_va, window);
    e = next_build(&f, &at);
    assert_true(is_update(e));
    assert_ptr_equal(e->op.update.process, app(&f));
    assert_int_equal(e->op.update.table.gpu_virtual, window);
    assert_int_equal(e->op.update.level, 0);
    assert_int_equal(e->op.update.first_va, BASE);
    assert_int_equal(e->op.update.count, 1);
    assert_int_equal(e->fence_value, value - 1);
    e = next_build(&f, &at);
    assert_int_equal(e->op.code, VIDMM_OP_FLUSH_TLB);
    assert_ptr_equal(e->op.flush.process, app(&f));
    assert_int_equal(e->op.flush.start_va, BASE);
    assert_int_equal(e->op.flush.end_va, BASE + PAGE);
    assert_null(next_build(&f, &at));
    assert_int_equal(fx_count(&f, EV_UPDATE), 0);
    assert_int_equal(fx_count(&f, EV_SUBMIT), 1); /* all in one batch */
    fx_close(&f);
}

/* By segment and offset no scratch address is needed. */
static void physical_updates_need_no_window(void **state)
{
    struct fx f;
    uint32_t at = 0;
    (void)state;
    open_mode(&f, REF_FORMAT_A, VIDMM_UPDATE_GPU_PHYSICAL);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_resident(f.q, op);
    fx_map(f.q, op, BASE, 0, MIB);
    fx_run(&f);
    fx_forget(&f);
    fx_map(f.q, op, BASE, 64 * KIB, PAGE);
    fx_run(&f);
    const struct event *e = next_build(&f, &at);
    const struct vmm_table *leaf = vmm_leaf_find(&f.p->space, BASE);
    assert_true(is_update(e));
    assert_int_equal(e->op.update.mode, VIDMM_UPDATE_GPU_PHYSICAL);
    assert_int_equal(e->op.update.table.gpu_physical.segment, leaf->segment);
    assert_int_equal(e->op.update.table.gpu_physical.offset, leaf->address);
    assert_ptr_equal(e->op.update.process, app(&f));
    e = next_build(&f, &at);
    assert_int_equal(e->op.code, VIDMM_OP_FLUSH_TLB);
    assert_ptr_equal(e->op.flush.process, app(&f));
    assert_null(next_build(&f, &at));
    fx_close(&f);
}

/* New tables: first all of each is invalid, and no entry names a table whose own entries are not written. */
static void new_tables_come_from_below(void **state)
{
    (void)state;
    for (uint32_t mode = VIDMM_UPDATE_GPU_VIRTUAL; mode <= VIDMM_UPDATE_GPU_PHYSICAL; mode++) {
        struct fx f;
        uint32_t at = 0, initial = 0, level = 0;
        open_mode(&f, REF_FORMAT_A, mode);
        struct vidmm_open *op = fx_alloc(f.d, 64 * KIB, SYS, 0);
        fx_resident(f.q, op);
        fx_run(&f);
        fx_forget(&f);
        fx_map(f.q, op, 1ull << 45, 0, 64 * KIB);
        fx_run(&f);
        for (const struct event *e = next_build(&f, &at); e != NULL; e = next_build(&f, &at)) {
            if (!is_update(e) || e->op.update.process != app(&f)) continue;
            const struct vidmm_update_page_table *u = &e->op.update;
            assert_true(u->level >= level);
            level = u->level;
            if (!(u->flags & VIDMM_UPDATE_INITIAL)) continue;
            initial++;
            assert_int_equal(u->start_index, 0);
            assert_int_equal(u->count, 512);
        }
        assert_int_equal(level, 3);
        assert_int_equal(initial, 3);
        assert_int_equal(fx_gpu_read(&f, 1ull << 45), 0);
        fx_close(&f);
    }
}

/* 4 MiB at the border of two leaf tables: no operation crosses it. */
static void an_update_stays_in_its_table(void **state)
{
    struct fx f;
    uint32_t at = 0, pages = 0, leaves = 0;
    (void)state;
    open_mode(&f, REF_FORMAT_A, VIDMM_UPDATE_GPU_VIRTUAL);
    struct vidmm_open *op = fx_alloc(f.d, 4 * MIB, SYS, 0);
    fx_resident(f.q, op);
    fx_run(&f);
    fx_forget(&f);
    fx_map(f.q, op, BASE + MIB, 0, 4 * MIB);
    fx_run(&f);
    for (const struct event *e = next_build(&f, &at); e != NULL; e = next_build(&f, &at)) {
        const struct vidmm_update_page_table *u = &e->op.update;
        if (!is_update(e) || u->process != app(&f) || u->level > 0) continue;
        assert_true(u->start_index + u->count <= 512);
        if (u->flags & VIDMM_UPDATE_INITIAL) continue;
        pages += u->count;
        leaves++;
    }
    assert_int_equal(pages, 1024);
    assert_int_equal(leaves, 3);
    fx_close(&f);
}

/* Nothing is told before the engine has written: neither by the fence nor to packets. */
static void nothing_is_promised_early(void **state)
{
    (void)state;
    for (uint32_t mode = VIDMM_UPDATE_GPU_VIRTUAL; mode <= VIDMM_UPDATE_GPU_PHYSICAL; mode++) {
        struct fx f;
        uint64_t va, value;
        open_mode(&f, REF_FORMAT_A, mode);
        struct vidmm_open *op = fx_alloc(f.d, 64 * KIB, SYS, 0);
        fx_resident(f.q, op);
        fx_run(&f);
        struct vidmm_map in = {.base = BASE, .open = op, .bytes = 64 * KIB, .protection = VIDMM_PROT_WRITE};
        assert_int_equal(vidmm_va_map(f.q, &in, &va, &value), VIDMM_PENDING);
        fx_run_core(&f); /* the batch lies on the node */
        assert_true(fx_done(f.q) < value);
        fx_run(&f);
        assert_true(fx_done(f.q) >= value);
        fx_fill(&f, f.c, BASE, 0x11, 64 * KIB);
        fx_submit(&f, f.c);
        fx_run(&f);
        assert_int_equal(fx_gpu_read(&f, BASE + PAGE), 0x1100000011ull);
        fx_close(&f);
    }
}

/* What comes back to its place is seen before a packet of the space starts. */
static void packets_wait_for_entries(void **state)
{
    struct fx f;
    (void)state;
    open_mode(&f, REF_FORMAT_A, VIDMM_UPDATE_GPU_VIRTUAL);
    struct vidmm_open *op = fx_alloc(f.d, 64 * KIB, SEG1 | SYS, 1);
    fx_resident(f.q, op);
    uint64_t va = fx_map_all(f.q, op);
    fx_run(&f);
    fx_evict(f.d, op, 0);
    fx_run(&f);
    fx_resident(f.q, op);
    fx_fill(&f, f.c, va, 0x22, 64 * KIB);
    fx_submit(&f, f.c); /* without waiting for the paging fence: residency alone lets it start */
    fx_run(&f);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(fx_gpu_read(&f, va), 0x2200000022ull);
    fx_close(&f);
}

/* Tables in memory that the CPU cannot reach, and a root that grows. */
static void tables_out_of_the_cpus_reach(void **state)
{
    (void)state;
    for (uint32_t format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        for (uint32_t mode = VIDMM_UPDATE_GPU_VIRTUAL; mode <= VIDMM_UPDATE_GPU_PHYSICAL; mode++) {
            struct fx f;
            fx_init(&f, (enum ref_format)format);
            f.opt.update_mode = mode;
            f.opt.segment[1].no_cpu_access = true;
            f.opt.table_segment[0] = f.opt.table_segment[1] = 2;
            fx_start(&f);
            struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
            fx_resident(f.q, op);
            uint64_t far = fx_map(f.q, op, 1ull << 38, 0, MIB);
            uint64_t near = fx_map(f.q, op, BASE, 0, MIB);
            fx_run(&f);
            assert_null(vmm_leaf_find(&f.p->space, far)->cpu);
            fx_fill(&f, f.c, far, 0x33, MIB);
            fx_submit(&f, f.c);
            fx_run(&f);
            assert_int_equal(fx_gpu_read(&f, near + 512 * KIB), 0x3300000033ull);
            assert_int_equal(vidmm_va_free(f.p, far, MIB), VIDMM_OK);
            fx_run(&f);
            fx_close(&f);
        }
    }
}

/* After an adapter reset every table is written again, by operations; nothing starts before. */
static void a_reset_writes_all_tables_again(void **state)
{
    (void)state;
    for (uint32_t mode = VIDMM_UPDATE_GPU_VIRTUAL; mode <= VIDMM_UPDATE_GPU_PHYSICAL; mode++) {
        struct fx f;
        open_mode(&f, REF_FORMAT_A, mode);
        struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1 | SYS, 1);
        fx_resident(f.q, op);
        fx_map(f.q, op, BASE, 0, MIB);
        fx_run(&f);
        fx_forget(&f);
        vmm_adapter_reset(f.ad, NULL, VIDMM_DEVICE_RESET, NULL);
        struct peer p = fx_peer(f.p);
        struct vidmm_open *fresh = fx_alloc(p.d, MIB, SEG1 | SYS, 1);
        fx_resident(p.q, fresh);
        uint64_t va = fx_map_all(p.q, fresh);
        fx_run(&f);
        assert_true(fx_count_ops(&f, VIDMM_OP_UPDATE_PAGE_TABLE) > 0);
        assert_true(fx_queue_done(p.q));
        assert_int_equal(f.ad->counters->adapter_resets, 1);
        assert_int_equal(vidmm_device_state(p.d), VIDMM_DEVICE_ACTIVE);
        assert_true(va != 0);
        fx_close(&f);
    }
}

/* Two changes of an entry before its turn comes are one. */
static void what_changes_twice_is_written_once(void **state)
{
    struct fx f;
    uint32_t at = 0, leaf_updates = 0;
    (void)state;
    open_mode(&f, REF_FORMAT_A, VIDMM_UPDATE_GPU_PHYSICAL);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_resident(f.q, op);
    fx_map(f.q, op, BASE, 0, MIB);
    fx_run(&f);
    fx_forget(&f);
    fx_map(f.q, op, BASE, 64 * KIB, PAGE);
    fx_map(f.q, op, BASE, 128 * KIB, PAGE);
    fx_run(&f);
    for (const struct event *e = next_build(&f, &at); e != NULL; e = next_build(&f, &at))
        leaf_updates += is_update(e) && e->op.update.level == 0;
    assert_int_equal(leaf_updates, 1);
    fx_close(&f);
}

/* A new table that the window shows already is not forgotten at once: another one may get its struct. */
static void a_table_that_is_shown_stays(void **state)
{
    struct fx f;
    bool kept = false;
    (void)state;
    open_mode(&f, REF_FORMAT_A, VIDMM_UPDATE_GPU_VIRTUAL);
    struct vidmm_open *op = fx_alloc(f.d, 64 * KIB, SYS, 0);
    fx_resident(f.q, op);
    fx_run(&f);
    fx_map(f.q, op, BASE, 0, 64 * KIB);
    const struct vmm_table *leaf = vmm_leaf_find(&f.p->space, BASE);
    assert_int_equal(vmm_owed_take(&f.p->space, &f.ad->emission), OWED_SHOWN);
    assert_int_equal(vidmm_va_free(f.p, BASE, 64 * KIB), VIDMM_OK);
    LIST_FOREACH(it, &f.ad->limbo) kept |= list_entry(it, struct vmm_table, limbo) == leaf;
    assert_true(kept);
    fx_map(f.q, op, BASE, 0, 64 * KIB);
    fx_run(&f);
    assert_int_equal(fx_gpu_read(&f, BASE), 0);
    fx_close(&f);
}

static const struct vt_case cases[] = {
    VT_TEST(sequence_of_an_update, "PT-26 PT-27 PT-37 PAG-19", NULL),
    VT_TEST(physical_updates_need_no_window, "PT-26 PT-27", NULL),
    VT_TEST(new_tables_come_from_below, "PT-06", NULL),
    VT_TEST(an_update_stays_in_its_table, "PT-28", NULL),
    VT_TEST(nothing_is_promised_early, "PAG-03 VA-09", NULL),
    VT_TEST(packets_wait_for_entries, "", NULL),
    VT_TEST(tables_out_of_the_cpus_reach, "PT-26 SEG-07", NULL),
    VT_TEST(a_reset_writes_all_tables_again, "", NULL),
    VT_TEST(what_changes_twice_is_written_once, "", NULL),
    VT_TEST(a_table_that_is_shown_stays, "", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "core_owed", cases, VT_COUNT(cases)); }
