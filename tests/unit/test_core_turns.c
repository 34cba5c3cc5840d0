/* SPDX-License-Identifier: MIT */
/* test_core_turns.c - whose packet runs next, and which packet has to make way for whom.
 * Asserts the order of submissions and preemptions that the driver sees, and what the memory shows after. */
#include "core/obj.h"

#include "core_fixture.h"

#define MS 1000000ull
#define SPOT (128 * KIB)

static struct vidmm_fence *gate_new(struct vidmm_device *d)
{
    struct vidmm_fence *gate;
    assert_int_equal(vidmm_fence_create(d, 0, 0, &gate), VIDMM_OK);
    return gate;
}

static void null_packets(struct vidmm_context *c, uint64_t va, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(vidmm_context_submit(c, va, 8, NULL, 0, VIDMM_SUBMIT_NULL), VIDMM_OK);
}

/* Submissions in order, one letter each: 'a' + (va >> 20). */
static void order(const struct fx *f, char *text, uint32_t room)
{
    uint32_t at = 0, n = 0;
    for (const struct event *e; (e = fx_next(f, EV_SUBMIT, &at)) != NULL && n + 1 < room;)
        if (!(e->submit.flags & VIDMM_SUBMIT_PAGING)) text[n++] = (char)('a' + (e->submit.va >> 20));
    text[n] = 0;
}

/* Time passes; what was due meanwhile is done when it is due. */
static void pass(struct fx *f, uint64_t ns)
{
    uint64_t end = f->now + ns;
    fx_run(f);
    for (uint64_t next = vidmm_run(f->ad, f->now); next <= end; next = vidmm_run(f->ad, f->now)) {
        assert_true(next > f->now);
        f->now = next;
        fx_run(f);
    }
    f->now = end;
    fx_run(f);
}

/* ---- order --------------------------------------------------------------------------------------- */

/* The highest priority goes first, equals take turns, each context in its own order. */
static void ranks_and_turns(void **state)
{
    struct fx f;
    char text[64];
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer low = fx_peer(f.p), mid = fx_peer(f.p), same = fx_peer(f.p), high = fx_peer(f.p);
    assert_int_equal(vidmm_context_set_priority(low.c, -7), VIDMM_OK);
    assert_int_equal(vidmm_context_set_priority(high.c, 3), VIDMM_OK);
    assert_int_equal(vidmm_context_set_priority(high.c, 8), VIDMM_INVALID);
    assert_int_equal(vidmm_context_set_priority(high.c, -8), VIDMM_INVALID);
    fx_forget(&f);
    null_packets(low.c, 0, 2);
    null_packets(mid.c, 1 << 20, 2);
    null_packets(same.c, 2 << 20, 2);
    null_packets(high.c, 3 << 20, 2);
    fx_run(&f);
    order(&f, text, sizeof text);
    assert_string_equal(text, "ddbcbcaa");
    assert_int_equal(vidmm_context_set_in_process_priority(same.c, 2), VIDMM_INVALID);
    assert_int_equal(vidmm_context_set_in_process_priority(same.c, 1), VIDMM_OK);
    fx_forget(&f);
    null_packets(mid.c, 1 << 20, 2);
    null_packets(same.c, 2 << 20, 2);
    fx_run(&f);
    order(&f, text, sizeof text);
    assert_string_equal(text, "ccbb");
    fx_close(&f);
}

/* However much the others have: who was passed over sixteen times goes first, once. */
static void nobody_starves(void **state)
{
    struct fx f;
    char text[64];
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer low = fx_peer(f.p), high = fx_peer(f.p);
    assert_int_equal(vidmm_context_set_priority(high.c, 7), VIDMM_OK);
    fx_forget(&f);
    null_packets(low.c, 0, 2);
    null_packets(high.c, 1 << 20, 40);
    fx_run(&f);
    order(&f, text, sizeof text);
    assert_string_equal(text, "bbbbbbbbbbbbbbbbabbbbbbbbbbbbbbbbabbbbbbbb");
    fx_close(&f);
}

/* ---- making way ------------------------------------------------------------------------------------ */

/* A running packet makes way for a higher priority and goes on where it was: nothing of it is done twice. */
static void a_packet_makes_way_for_a_higher_priority(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer high = fx_peer(f.p);
    struct vidmm_fence *gate = gate_new(f.d);
    assert_int_equal(vidmm_context_set_priority(high.c, 1), VIDMM_OK);
    f.cmd_cpu[SPOT / 8] = 0;
    (void)ref_emit_add64(fx_words(&f, 3), f.cmd_va + SPOT, 5);
    (void)ref_emit_fence_wait(fx_words(&f, 3), vidmm_fence_gpu_address(gate), 1);
    (void)ref_emit_add64(fx_words(&f, 3), f.cmd_va + SPOT, 7);
    fx_submit(&f, f.c);
    fx_run(&f);
    assert_int_equal(f.cmd_cpu[SPOT / 8], 5);
    fx_forget(&f);
    fx_fill(&f, high.c, f.cmd_va + SPOT + 64, 0x61616161, 8);
    fx_run(&f);
    assert_int_equal(fx_count(&f, EV_PREEMPT), 1);
    assert_int_equal(fx_count(&f, EV_RESET), 0);
    assert_int_equal(f.cmd_cpu[SPOT / 8 + 8], 0x6161616161616161ull);
    assert_int_equal(f.count.preemptions, 1);
    uint32_t at = 0;
    const struct event *first = fx_next(&f, EV_SUBMIT, &at), *again = fx_next(&f, EV_SUBMIT, &at);
    assert_non_null(again);
    assert_int_equal(first->submit.flags & VIDMM_SUBMIT_RESUBMISSION, 0);
    assert_true((again->submit.flags & VIDMM_SUBMIT_RESUBMISSION) != 0);
    assert_true(again->submit.fence_id > first->submit.fence_id);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    assert_int_equal(f.cmd_cpu[SPOT / 8], 12);
    fx_close(&f);
}

/* An equal waits for a slice; a lower one for the end. */
static void a_packet_makes_way_for_equals_after_a_slice(void **state)
{
    (void)state;
    for (int32_t priority = -1; priority <= 0; priority++) {
        struct fx f;
        fx_init(&f, REF_FORMAT_A);
        f.tdr.slice_ns = 30 * MS;
        fx_start(&f);
        struct peer other = fx_peer(f.p);
        struct vidmm_fence *gate = gate_new(f.d);
        assert_int_equal(vidmm_context_set_priority(other.c, priority), VIDMM_OK);
        fx_wait_packet(&f, f.c, vidmm_fence_gpu_address(gate), 1);
        fx_fill(&f, other.c, f.cmd_va + SPOT, 0x62626262, 8);
        fx_forget(&f);
        f.cmd_cpu[SPOT / 8] = 0;
        pass(&f, 29 * MS);
        assert_int_equal(fx_count(&f, EV_PREEMPT), 0);
        pass(&f, 1 * MS);
        assert_int_equal(fx_count(&f, EV_PREEMPT), priority == 0 ? 1 : 0);
        assert_int_equal(f.cmd_cpu[SPOT / 8], priority == 0 ? 0x6262626262626262ull : 0);
        pass(&f, 500 * MS);
        assert_int_equal(fx_count(&f, EV_PREEMPT), priority == 0 ? 1 : 0); /* alone, nobody is asked */
        assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
        assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
        fx_run(&f);
        assert_int_equal(vidmm_context_pending(f.c) + vidmm_context_pending(other.c), 0);
        fx_close(&f);
    }
}

/* In the middle of a copy: all bytes arrive. */
static void bulk_work_goes_on_where_it_stopped(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer high = fx_peer(f.p);
    assert_int_equal(vidmm_context_set_priority(high.c, 1), VIDMM_OK);
    struct vidmm_open *from = fx_alloc(f.d, 2 * MIB, SYS, 0), *to = fx_alloc(f.d, 2 * MIB, SEG1, 1);
    uint64_t src = fx_map_all(f.q, from), dst = fx_map_all(f.q, to);
    void *cpu;
    fx_resident(f.q, from);
    fx_resident(f.q, to);
    assert_int_equal(vidmm_open_lock(from, &cpu), VIDMM_OK);
    uint32_t *word = cpu;
    for (uint32_t i = 0; i < 2 * MIB / 4; i++) word[i] = i * 2654435761u;
    fx_run(&f);
    (void)ref_emit_copy(fx_words(&f, 4), dst, src, 2 * MIB);
    (void)ref_emit_checksum(fx_words(&f, 4), dst, 2 * MIB, f.cmd_va + SPOT);
    fx_submit(&f, f.c);
    fx_run_core(&f);
    for (uint32_t i = 0; i < 60; i++) { /* a preemption after every few steps */
        for (uint32_t k = 0; k < 3; k++) (void)softgpu_engine_step(ref_gpu(f.ref), REF_NODE_COMPUTE);
        null_packets(high.c, 0, 1);
        fx_run_core(&f);
    }
    fx_run(&f);
    assert_true(f.count.preemptions > 4);
    assert_int_equal(f.cmd_cpu[SPOT / 8], ref_checksum(cpu, 2 * MIB));
    fx_close(&f);
}

/* Work without end must not keep the memory from others: after a slice it is stopped, and goes on after. */
static void long_work_lets_memory_move(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    struct vidmm_open *mine = fx_alloc(f.d, 10 * MIB, SEG1 | SYS, 1);
    struct vidmm_open *big = fx_alloc(other.d, 10 * MIB, SEG1, 1);
    struct vidmm_fence *gate = gate_new(f.d);
    uint64_t va = fx_map_all(f.q, mine);
    fx_resident(f.q, mine);
    fx_run(&f);
    (void)ref_emit_fence_wait(fx_words(&f, 3), vidmm_fence_gpu_address(gate), 1);
    (void)ref_emit_write64(fx_words(&f, 3), va, 0x6363636363636363ull);
    fx_submit(&f, f.c);
    fx_run(&f);
    fx_resident(other.q, big);
    fx_forget(&f);
    pass(&f, 19 * MS);
    assert_false(fx_queue_done(other.q));
    assert_int_equal(fx_count(&f, EV_PREEMPT), 0);
    pass(&f, 1 * MS);
    assert_int_equal(fx_count(&f, EV_PREEMPT), 1);
    assert_true(fx_queue_done(other.q));
    assert_int_equal(fx_place(big).segment, 1);
    assert_int_equal(fx_place(mine).segment, 0);
    assert_int_equal(vidmm_context_pending(f.c), 1);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    assert_int_equal(fx_gpu_read(&f, va), 0x6363636363636363ull);
    fx_close(&f);
}

/* What stood still before it was stopped counts: being stopped often is no way to live for ever. */
static void time_that_stood_still_adds_up(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    struct vidmm_fence *never = gate_new(f.d);
    fx_wait_packet(&f, f.c, vidmm_fence_gpu_address(never), 1);
    for (uint32_t i = 0; i < 9; i++) {
        null_packets(other.c, 0, 1);
        pass(&f, 200 * MS);
        assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    }
    assert_true(f.count.preemptions >= 9);
    pass(&f, 200 * MS);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_HUNG);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_ACTIVE);
    fx_close(&f);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(ranks_and_turns, "SUB-11 SUB-23", NULL),
        VT_TEST(nobody_starves, "", NULL),
        VT_TEST(a_packet_makes_way_for_a_higher_priority, "SUB-09", NULL),
        VT_TEST(a_packet_makes_way_for_equals_after_a_slice, "", NULL),
        VT_TEST(bulk_work_goes_on_where_it_stopped, "SUB-09", NULL),
        VT_TEST(long_work_lets_memory_move, "", NULL),
        VT_TEST(time_that_stood_still_adds_up, "FLT-16", NULL),
    };
    return vt_main(argc, argv, "core_turns", cases, VT_COUNT(cases));
}
