/* SPDX-License-Identifier: MIT */
/* test_softgpu_tlb.c - the aggressive TLBs: what they keep, what a flush removes, what a flush waits for,
 * and that the detector sees every use of what should be gone. The memory manager's tests rest on this:
 * a flush that it forgets must always show. */
#include "test_softgpu.h"

#include <string.h>

struct pages { uint64_t old_frame, new_frame; uint64_t *old_cpu, *new_cpu; };

/* One page at DATA_VA, read once so that it is cached on the compute node; a second one for later. */
static struct pages cached_page(struct bench *b)
{
    struct pages p = {.old_frame = rig_frames(&b->rig, 1), .new_frame = rig_frames(&b->rig, 1)};
    p.old_cpu = (uint64_t *)(void *)rig_frame_cpu(&b->rig, p.old_frame);
    p.new_cpu = (uint64_t *)(void *)rig_frame_cpu(&b->rig, p.new_frame);
    rig_map(&b->rig, &b->client, DATA_VA, 0, p.old_frame * 4096, 1, VIDMM_PTE_VALID);
    assert_true(bench_run(b, 0, ref_emit_write64(b->cmd[0], DATA_VA, 1)));
    assert_int_equal(p.old_cpu[0], 1);
    return p;
}

static void flush(struct bench *b, const struct rig_space *s, uint64_t start, uint64_t end)
{
    struct vidmm_paging_buffer buffer = {b->cmd[3], CMD_VA + 3 * 4096, 4096, 0};
    struct vidmm_op op = {.code = VIDMM_OP_FLUSH_TLB,
                          .flush = {.process = s->process, .start_va = start, .end_va = end}};
    uint64_t multipass = 0;
    assert_int_equal(b->rig.ops->build_paging_buffer(b->rig.kmd, &buffer, &op, &multipass), VIDMM_OK);
    if (buffer.used != 0) assert_true(bench_run(b, 3, buffer.used / 8));
}

/* The paging process fills one page of system memory: it has another owner's content now. */
static void paging_fill(struct bench *b, uint64_t frame, uint32_t pattern)
{
    rig_map(&b->rig, &b->paging, DATA_VA, 0, frame * 4096, 1, VIDMM_PTE_VALID);
    flush(b, &b->paging, DATA_VA, DATA_VA + 4096);
    assert_true(bench_run(b, 3, ref_emit_fill(b->cmd[3], DATA_VA, pattern, 4096)));
}

static void changed_entry(enum ref_format format, bool with_flush, bool reuse)
{
    struct bench *b = bench_open(format);
    struct pages p = cached_page(b);
    rig_map(&b->rig, &b->client, DATA_VA, 0, p.new_frame * 4096, 1, VIDMM_PTE_VALID);
    if (with_flush) flush(b, &b->client, DATA_VA, DATA_VA + 4096);
    if (reuse) paging_fill(b, p.old_frame, 0);
    assert_true(bench_run(b, 0, ref_emit_write64(b->cmd[0], DATA_VA, 2)));
    struct softgpu_detector d = bench_detector(b);
    assert_int_equal(with_flush ? p.new_cpu[0] : p.old_cpu[0], 2);
    assert_int_equal(d.stale_uses != 0, !with_flush);
    assert_int_equal(d.violations != 0, !with_flush && reuse);
    if (!with_flush) assert_int_equal(d.first_stale.va, DATA_VA);
    if (!with_flush) assert_int_equal(d.first_stale.node, REF_NODE_COMPUTE);
    if (!with_flush) assert_true(d.first_stale.write);
    bench_close(b);
}

/* Without a flush the old page is still written: exactly the corruption that a flush prevents. */
static void a_changed_entry_needs_a_flush(void **state)
{
    (void)state;
    for (int f = REF_FORMAT_A; f <= REF_FORMAT_B; f++) {
        changed_entry((enum ref_format)f, true, false);
        changed_entry((enum ref_format)f, true, true);
        changed_entry((enum ref_format)f, false, false);
        changed_entry((enum ref_format)f, false, true);
    }
}

/* System memory: a frame that was given back, or handed out again, while a translation still names it. */
static void early_reuse_of_frames_is_caught(void **state)
{
    (void)state;
    for (int gone = 0; gone < 2; gone++) {
        struct bench *b = bench_open(REF_FORMAT_A);
        struct pages p = cached_page(b);
        rig_map(&b->rig, &b->client, DATA_VA, 0, 0, 1, 0);
        if (gone == 0) softgpu_frames_claimed(b->rig.gpu, p.old_frame, 1);
        else b->rig.freed_frame = p.old_frame;
        bool done = bench_run(b, 0, ref_emit_write64(b->cmd[0], DATA_VA, 2));
        assert_int_equal(done, gone == 0); /* what is not there any more cannot be written */
        assert_int_equal(bench_detector(b).violations, 1);
        bench_close(b);
    }
}

/* The knob: a driver that forgets one flush is caught by the detector alone. */
static void a_skipped_flush_is_caught(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_A);
    struct pages p = cached_page(b);
    struct softgpu_knobs k = {.skip_flush_in = 1};
    softgpu_set_knobs(b->rig.gpu, &k);
    rig_map(&b->rig, &b->client, DATA_VA, 0, p.new_frame * 4096, 1, VIDMM_PTE_VALID);
    flush(b, &b->client, 0, 0);
    paging_fill(b, p.old_frame, 0);
    assert_true(bench_run(b, 0, ref_emit_write64(b->cmd[0], DATA_VA, 2)));
    assert_int_equal(bench_detector(b).violations, 1);
    flush(b, &b->client, 0, 0); /* the next one is built again */
    assert_true(bench_run(b, 0, ref_emit_write64(b->cmd[0], DATA_VA, 3)));
    assert_int_equal(p.new_cpu[0], 3);
    assert_int_equal(bench_detector(b).stale_uses, 1);
    bench_close(b);
}

/* The paging process has no excuse: any stale use of its scratch windows is the owner's mistake. */
static void stale_scratch_window_is_a_violation(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_A);
    uint64_t one = rig_frames(&b->rig, 1), two = rig_frames(&b->rig, 1);
    rig_map(&b->rig, &b->paging, DATA_VA, 0, one * 4096, 1, VIDMM_PTE_VALID);
    assert_true(bench_run(b, 3, ref_emit_fill(b->cmd[3], DATA_VA, 1, 4096)));
    rig_map(&b->rig, &b->paging, DATA_VA, 0, two * 4096, 1, VIDMM_PTE_VALID);
    assert_true(bench_run(b, 3, ref_emit_fill(b->cmd[3], DATA_VA, 2, 4096)));
    assert_true(bench_detector(b).violations > 0);
    assert_true(bench_detector(b).first_violation.system);
    bench_close(b);
}

/* Neighbours are loaded without being asked for: unmapping them needs the flush too. */
static void neighbours_are_prefetched(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_A);
    struct softgpu_stats s;
    uint64_t frame = rig_frames(&b->rig, 64);
    rig_map(&b->rig, &b->client, DATA_VA, 0, frame * 4096, 64, VIDMM_PTE_VALID);
    for (uint32_t i = 0; i < 64; i += 8)
        assert_true(bench_run(b, 0, ref_emit_write64(b->cmd[0], DATA_VA + i * 4096, 1)));
    softgpu_get_stats(b->rig.gpu, &s);
    assert_true(s.prefetched > 0);
    rig_map(&b->rig, &b->client, DATA_VA, 0, 0, 64, 0);
    uint32_t survivors = 0;
    for (uint32_t i = 1; i < 64; i += 8) {
        uint64_t fence = bench_submit(b, 0, ref_emit_write64(b->cmd[0], DATA_VA + i * 4096, 1)), aborted;
        rig_step(&b->rig, 1000);
        survivors += rig_completed(&b->rig, &b->compute, fence);
        if (!rig_completed(&b->rig, &b->compute, fence))
            (void)b->rig.ops->reset_engine(b->rig.kmd, 0, &aborted);
    }
    assert_true(survivors > 0);
    assert_int_equal(bench_detector(b).stale_uses, survivors);
    bench_close(b);
}

/* invalid -> valid: no flush where the cap says so; where it does not, the old invalid entry still faults. */
static void invalid_entries_follow_the_cap(void **state)
{
    (void)state;
    for (int f = REF_FORMAT_A; f <= REF_FORMAT_B; f++) {
        struct bench *b = bench_open((enum ref_format)f);
        uint64_t frame = rig_frames(&b->rig, 1), aborted;
        /* makes the table */
        rig_map(&b->rig, &b->client, DATA_VA + 8 * 4096, 0, frame * 4096, 1, VIDMM_PTE_VALID);
        assert_false(bench_run(b, 0, ref_emit_write64(b->cmd[0], DATA_VA, 1)));
        (void)b->rig.ops->reset_engine(b->rig.kmd, 0, &aborted);
        rig_map(&b->rig, &b->client, DATA_VA, 0, frame * 4096, 1, VIDMM_PTE_VALID);
        assert_int_equal(bench_run(b, 0, ref_emit_write64(b->cmd[0], DATA_VA, 1)), f == REF_FORMAT_A);
        if (f == REF_FORMAT_B) {
            assert_true(bench_detector(b).stale_uses > 0);
            (void)b->rig.ops->reset_engine(b->rig.kmd, 0, &aborted);
            flush(b, &b->client, DATA_VA, DATA_VA + 4096);
            assert_true(bench_run(b, 0, ref_emit_write64(b->cmd[0], DATA_VA, 1)));
        }
        bench_close(b);
    }
}

/* A table freed and used again while a walk cache still names it: the walker reads foreign bytes. */
static void upper_entries_are_cached_too(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_A);
    struct pages p = cached_page(b);
    uint64_t neighbour = DATA_VA + 100 * 4096; /* same table, beyond any prefetch */
    rig_map(&b->rig, &b->client, neighbour, 0, p.old_frame * 4096, 1, VIDMM_PTE_VALID);
    struct rig_table *leaf = rig_table(&b->rig, &b->client, DATA_VA, 0);
    struct rig_table *above = rig_table(&b->rig, &b->client, DATA_VA, 1);
    uint32_t slot = (uint32_t)(DATA_VA >> 21 & 511);
    struct vidmm_pte_run gone = {.count = 1};
    struct vidmm_update_page_table u = {.level = 1, .table.cpu_virtual = above->cpu, .start_index = slot,
                                        .count = 1, .runs = &gone, .run_count = 1};
    b->rig.ops->update_page_table(b->rig.kmd, &u);
    /* through the cached upper entry */
    assert_true(bench_run(b, 0, ref_emit_write64(b->cmd[0], neighbour, 1)));
    struct softgpu_detector d = bench_detector(b);
    assert_true(d.stale_uses > 0);
    assert_int_equal(d.first_stale.level, 1);
    assert_int_equal(d.violations, 0);
    softgpu_vram_claimed(b->rig.gpu, leaf->cpu, 4096); /* somebody builds something else there */
    rig_map(&b->rig, &b->client, neighbour + 64 * 4096, 0, p.old_frame * 4096, 1, VIDMM_PTE_VALID);
    assert_true(bench_run(b, 0, ref_emit_write64(b->cmd[0], neighbour + 64 * 4096, 1)));
    assert_true(bench_detector(b).violations > 0);
    uint64_t before = bench_detector(b).stale_uses;
    flush(b, &b->client, DATA_VA, DATA_VA + 4096); /* any address below the entry takes it away */
    assert_false(bench_run(b, 0, ref_emit_write64(b->cmd[0], DATA_VA, 1)));
    assert_int_equal(b->rig.fault.level, 1);
    assert_int_equal(bench_detector(b).stale_uses, before);
    bench_close(b);
}

/* Same translation through another table: a moved table is no stale use. */
static void a_moved_root_is_not_stale(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_B);
    struct pages p = cached_page(b);
    struct rig_table *root = &b->client.table[0];
    uint64_t bytes = b->client.root_entries * 4ull, at = rig_vram(&b->rig, 2, bytes);
    uint8_t *moved = bench_vram(b, 2, at);
    memcpy(moved, root->cpu, bytes);
    memset(root->cpu, 0, bytes);
    struct vidmm_gpu_address where = {2, at};
    b->rig.ops->set_root_page_table(b->rig.kmd, b->compute.handle, where, b->client.root_entries);
    rig_map(&b->rig, &b->client, DATA_VA + 300 * 4096, 0, p.new_frame * 4096, 1, VIDMM_PTE_VALID);
    assert_true(bench_run(b, 0, ref_emit_write64(b->cmd[0], DATA_VA, 5)));
    assert_true(bench_run(b, 0, ref_emit_write64(b->cmd[0], DATA_VA + 300 * 4096, 6)));
    assert_int_equal(bench_detector(b).stale_uses, 0);
    assert_int_equal(p.new_cpu[0], 6);
    bench_close(b);
}

/* Spaces: one process' flush or mapping never touches another's. */
static void spaces_are_apart(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_A);
    struct pages p = cached_page(b);
    rig_map(&b->rig, &b->other, DATA_VA, 0, p.new_frame * 4096, 1, VIDMM_PTE_VALID);
    assert_true(bench_run(b, 2, ref_emit_write64(b->cmd[2], DATA_VA, 9)));
    assert_int_equal(p.old_cpu[0], 1);
    assert_int_equal(p.new_cpu[0], 9);
    rig_map(&b->rig, &b->client, DATA_VA, 0, 0, 1, 0);
    flush(b, &b->other, 0, 0);
    assert_true(bench_run(b, 0, ref_emit_write64(b->cmd[0], DATA_VA, 2))); /* still cached */
    assert_int_equal(bench_detector(b).stale_uses, 1);
    bench_close(b);
}

/* ---- clear, then drain ------------------------------------------------------------------------- */

#define LONG_PAGES 32u

static uint64_t map_long(struct bench *b)
{
    uint64_t frames = rig_frames(&b->rig, LONG_PAGES);
    rig_map(&b->rig, &b->client, DATA_VA, 0, frames * 4096, LONG_PAGES, VIDMM_PTE_VALID);
    return frames;
}

/* Steps the compute node until it is between translating and moving the bytes. */
static uint64_t fill_in_flight(struct bench *b, uint32_t pattern)
{
    uint64_t fence = bench_submit(b, 0, ref_emit_fill(b->cmd[0], DATA_VA, pattern, LONG_PAGES * 4096));
    for (int i = 0; i < 3; i++) /* take the packet, decode, translate */
        assert_int_equal(softgpu_engine_step(b->rig.gpu, REF_NODE_COMPUTE), SOFTGPU_PROGRESS);
    return fence;
}

/* A flush that reports completion while an old translation is still being written through lets the
 * page be given away under the writer. */
static void flush_waits_for_accesses_in_flight(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_A);
    uint64_t frames = map_long(b);
    uint64_t fill = fill_in_flight(b, 0x01010101);
    rig_map(&b->rig, &b->client, DATA_VA, 0, 0, LONG_PAGES, 0);
    uint32_t id = 0;
    struct vidmm_paging_buffer buffer = {b->cmd[3], CMD_VA + 3 * 4096, 4096, 0};
    struct vidmm_op op = {.code = VIDMM_OP_FLUSH_TLB, .flush = {.process = b->client.process}};
    uint64_t multipass = 0;
    assert_int_equal(b->rig.ops->build_paging_buffer(b->rig.kmd, &buffer, &op, &multipass), VIDMM_OK);
    uint64_t flushed = bench_submit(b, 3, buffer.used / 8);
    for (; id < 100; id++) (void)softgpu_engine_step(b->rig.gpu, REF_NODE_PAGING);
    assert_false(rig_completed(&b->rig, &b->pager, flushed));
    assert_int_equal(softgpu_engine_step(b->rig.gpu, REF_NODE_COMPUTE), SOFTGPU_PROGRESS); /* the bytes */
    assert_int_equal(rig_frame_cpu(&b->rig, frames + LONG_PAGES - 1)[4095], 1);
    rig_step_node(&b->rig, REF_NODE_PAGING);
    assert_true(rig_completed(&b->rig, &b->pager, flushed));
    rig_step(&b->rig, 100);
    assert_true(rig_completed(&b->rig, &b->compute, fill));
    assert_int_equal(bench_detector(b).stale_uses, 0);
    bench_close(b);
}

/* A page given other content while an access to it is in flight: the late writer is found out. */
static void reuse_under_an_access_is_late(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_A);
    uint64_t frames = map_long(b);
    rig_map(&b->rig, &b->paging, DATA_VA, 0, (frames + 5) * 4096, 1, VIDMM_PTE_VALID);
    (void)fill_in_flight(b, 0x02020202);
    (void)bench_submit(b, 3, ref_emit_fill(b->cmd[3], DATA_VA, 0, 4096));
    rig_step_node(&b->rig, REF_NODE_PAGING);
    rig_step(&b->rig, 100);
    struct softgpu_detector d = bench_detector(b);
    assert_int_equal(d.late, 1);
    assert_int_equal(d.violations, 1);
    assert_int_equal(d.first_violation.node, REF_NODE_COMPUTE);
    bench_close(b);
}

/* A reset ends the access in flight: nobody waits for it any more, and no byte of it is written later. */
static void reset_ends_the_access_in_flight(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_A);
    uint64_t frames = map_long(b), aborted;
    uint64_t fill = fill_in_flight(b, 0x03030303);
    assert_int_equal(b->rig.ops->reset_engine(b->rig.kmd, REF_NODE_COMPUTE, &aborted), VIDMM_OK);
    assert_int_equal(aborted, fill);
    flush(b, &b->client, 0, 0);
    rig_step(&b->rig, 100);
    assert_int_equal(rig_frame_cpu(&b->rig, frames)[0], 0);
    assert_false(rig_completed(&b->rig, &b->compute, fill));
    bench_close(b);
}

/* With WALK every use is compared with a fresh walk: a table swapped above an unchanged entry shows too. */
static void the_walking_detector_sees_swapped_tables(void **state)
{
    (void)state;
    for (uint32_t detect = SOFTGPU_DETECT_ENTRY; detect <= SOFTGPU_DETECT_WALK; detect++) {
        struct ref_options o = bench_options(REF_FORMAT_A);
        o.detect = detect;
        struct bench *b = bench_open_with(&o);
        (void)cached_page(b);
        struct vidmm_pte_run gone = {.count = 1};
        struct vidmm_update_page_table u = {
            .level = 1, .table.cpu_virtual = rig_table(&b->rig, &b->client, DATA_VA, 1)->cpu,
            .start_index = (uint32_t)(DATA_VA >> 21 & 511), .count = 1, .runs = &gone, .run_count = 1};
        b->rig.ops->update_page_table(b->rig.kmd, &u);
        assert_true(bench_run(b, 0, ref_emit_write64(b->cmd[0], DATA_VA, 2)));
        assert_int_equal(bench_detector(b).stale_uses > 0, detect == SOFTGPU_DETECT_WALK);
        bench_close(b);
    }
}

static const struct vt_case cases[] = {
    VT_TEST(a_changed_entry_needs_a_flush, "", NULL), VT_TEST(a_skipped_flush_is_caught, "", NULL),
    VT_TEST(early_reuse_of_frames_is_caught, "", NULL),
    VT_TEST(stale_scratch_window_is_a_violation, "", NULL), VT_TEST(neighbours_are_prefetched, "", NULL),
    VT_TEST(invalid_entries_follow_the_cap, "", NULL), VT_TEST(upper_entries_are_cached_too, "", NULL),
    VT_TEST(a_moved_root_is_not_stale, "", NULL), VT_TEST(spaces_are_apart, "", NULL),
    VT_TEST(flush_waits_for_accesses_in_flight, "", NULL), VT_TEST(reuse_under_an_access_is_late, "", NULL),
    VT_TEST(reset_ends_the_access_in_flight, "", NULL),
    VT_TEST(the_walking_detector_sees_swapped_tables, "", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "softgpu_tlb", cases, VT_COUNT(cases)); }
