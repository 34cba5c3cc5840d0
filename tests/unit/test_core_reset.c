/* SPDX-License-Identifier: MIT */
/* test_core_reset.c - adapters that are reset as a whole, or are gone.
 * Asserts what the driver is asked to do, in which order, what devices are told, and what works after. */
#include "core/obj.h"

#include "tdr_kit.h"

/* ---- the whole adapter ---------------------------------------------------------------------------- */

/* A new device of a process, used in every way. */
static void device_works(struct fx *f, struct vidmm_process *p)
{
    struct peer me = fx_peer(p);
    struct vidmm_open *cmd = fx_alloc(me.d, 64 * KIB, SYS, 0), *op = fx_alloc(me.d, MIB, SEG1, 1);
    uint64_t cmd_va = fx_map_all(me.q, cmd), va = fx_map_all(me.q, op);
    void *cpu;
    fx_resident(me.q, cmd);
    fx_resident(me.q, op);
    assert_int_equal(vidmm_open_lock(cmd, &cpu), VIDMM_OK);
    uint64_t *w = cpu;
    uint32_t n = ref_emit_fill(w, va, 0x44444444, MIB);
    n += ref_emit_copy(w + n, cmd_va + 4096, va + MIB - 8, 8);
    assert_int_equal(vidmm_context_submit(me.c, cmd_va, n * 8, NULL, 0, 0), VIDMM_OK);
    fx_run(f);
    assert_int_equal(vidmm_device_state(me.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(w[512], 0x4444444444444444ull);
    assert_int_equal(fx_place(op).segment, 1);
    vidmm_device_destroy(me.d);
    fx_run(f);
}

static void driver_order_of_a_reset(const struct fx *f, const struct vidmm_open *lost)
{
    uint32_t stop = first_index(f, EV_STOP_ALL), restart = first_index(f, EV_RESTART_ALL);
    uint32_t notices = 0, at = 0;
    bool seen = false;
    assert_true(first_index(f, EV_RESET) < stop);
    assert_true(stop < restart);
    for (uint32_t i = stop + 1; i < restart; i++) {
        const struct event *e = &f->log.event[i];
        if (e->kind == EV_ATTR) continue; /* a pure function */
        assert_int_equal(e->kind, EV_BUILD);
        assert_int_equal(e->op.code, VIDMM_OP_VIRTUAL_TRANSFER);
        assert_int_equal(e->op.transfer.bytes, 0);
        seen |= e->op.transfer.allocation == lost->al->kmd_allocation;
        notices++;
    }
    assert_true(seen);
    assert_true(notices >= 1);
    at = restart;
    const struct event *update = fx_next(f, EV_UPDATE, &at);
    assert_non_null(update);
    assert_ptr_equal(update->object, f->ad->paging.kmd_process); /* the paging process comes first */
}

/* An engine that cannot be reset takes the devices of the whole adapter; nothing else is lost for good. */
static void a_failing_engine_reset_resets_the_adapter(void **state)
{
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        struct fx f;
        struct vidmm_process *p2, *p3;
        struct vidmm_fence *plain, *keeps;
        struct vidmm_page_fault why;
        fx_open(&f, (enum ref_format)format);
        struct peer other = fx_peer(f.p);
        assert_int_equal(vidmm_process_create(f.ad, &p2), VIDMM_OK);
        struct peer third = fx_peer(p2);
        struct vidmm_open *vram = fx_alloc(other.d, 3 * MIB, SEG1, 1), *sys = fx_alloc(other.d, MIB, SYS, 0);
        (void)fx_map_all(other.q, vram);
        (void)fx_map_all(other.q, sys);
        fx_resident(other.q, vram);
        fx_resident(other.q, sys);
        assert_int_equal(vidmm_fence_create(other.d, 0, 0, &plain), VIDMM_OK);
        assert_int_equal(vidmm_fence_create(third.d, 7, VIDMM_FENCE_NO_MAX_ON_LOSS, &keeps), VIDMM_OK);
        fx_run(&f);
        assert_int_equal(fx_place(vram).segment, 1);
        knob_fail_reset(&f, true);
        fx_forget(&f);
        bad_packet(&f, f.c);
        fx_run(&f);
        assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_PAGE_FAULT);
        assert_int_equal(vidmm_device_fault(f.d, &why), VIDMM_OK);
        assert_int_equal(why.va, 0x7000000000ull & ((1ull << f.ad->info.va_bits) - 1));
        assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_RESET);
        assert_int_equal(vidmm_device_state(third.d), VIDMM_DEVICE_RESET);
        assert_int_equal(vidmm_fence_value(plain), UINT64_MAX);
        assert_int_equal(vidmm_fence_value(keeps), 7);
        assert_false(vidmm_adapter_removed(f.ad));
        assert_int_equal(f.count.adapter_resets, 1);
        assert_int_equal(f.count.segment[1].resident, 0);
        driver_order_of_a_reset(&f, vram);
        knob_fail_reset(&f, false);
        device_works(&f, f.p);
        device_works(&f, p2);
        assert_int_equal(vidmm_process_create(f.ad, &p3), VIDMM_OK);
        device_works(&f, p3);
        assert_true(fx_destroy_process(&f, p3));
        assert_true(fx_destroy_process(&f, p2));
        fx_close(&f);
    }
}

/* A hang whose engine cannot be reset: the culprit is told that it hung. */
static void the_culprit_of_a_hang_is_told(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    knob_fail_reset(&f, true);
    hang(&f, other.c);
    pass(&f, 2500 * MS);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_HUNG);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_RESET);
    device_works(&f, f.p);
    fx_close(&f);
}

/* The paging process is nobody's device: when it hangs in the middle of a move, all are reset, and the
 * next ones page as if nothing had been. */
static void a_paging_hang_resets_the_adapter(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *old = fx_alloc(f.d, 10 * MIB, SEG1 | SYS, 1), *op = fx_alloc(f.d, 10 * MIB, SEG1, 1);
    fx_map_all(f.q, old);
    fx_resident(f.q, old);
    fx_run(&f);
    struct softgpu_knobs k = {.hang_nodes = 1u << REF_NODE_PAGING};
    softgpu_set_knobs(ref_gpu(f.ref), &k);
    fx_resident(f.q, op);
    fx_run(&f);
    assert_non_null(f.ad->move.al);
    fx_forget(&f);
    pass(&f, 2000 * MS);
    assert_int_equal(fx_count(&f, EV_PREEMPT), 0);
    assert_int_equal(fx_count(&f, EV_STOP_ALL), 1);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_RESET);
    assert_int_equal(vidmm_fence_value(vidmm_queue_fence(f.q)), UINT64_MAX);
    k.hang_nodes = 0;
    softgpu_set_knobs(ref_gpu(f.ref), &k);
    device_works(&f, f.p);
    fx_close(&f);
}

/* The driver may ask for it right away. */
static void a_fault_can_ask_for_the_adapter(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    (void)ref_emit_hang(fx_words(&f, 1));
    fx_submit(&f, f.c);
    fx_run(&f);
    fx_forget(&f);
    struct vidmm_page_fault fault = {.node = REF_NODE_COMPUTE, .va = 0x123000,
                                     .flags = VIDMM_FAULT_ADAPTER_RESET_REQUIRED,
                                     .fence_id = f.ad->node[REF_NODE_COMPUTE].next_fence};
    vidmm_notify_page_fault(f.ad, &fault);
    fx_run(&f);
    assert_int_equal(fx_count(&f, EV_RESET), 0);
    assert_int_equal(fx_count(&f, EV_STOP_ALL), 1);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_RESET);
    fx_close(&f);
}

static void fail_adapter(struct fx *f)
{
    struct peer me = fx_peer(f->p);
    assert_int_equal(vidmm_context_submit(me.c, 0x7000000000ull, 8, NULL, 0, 0), VIDMM_OK);
    fx_run(f);
    assert_true(vidmm_device_state(me.d) != VIDMM_DEVICE_ACTIVE);
    vidmm_device_destroy(me.d);
    fx_run(f);
}

/* Five adapter resets a minute are bad luck, the sixth is the end. */
static void too_many_adapter_resets_are_fatal(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    knob_fail_reset(&f, true);
    for (uint32_t i = 0; i < 5; i++) fail_adapter(&f);
    assert_false(vidmm_adapter_removed(f.ad));
    f.now += 60000 * MS; /* long ago */
    for (uint32_t i = 0; i < 5; i++) fail_adapter(&f);
    assert_false(vidmm_adapter_removed(f.ad));
    f.now += 59999 * MS;
    fail_adapter(&f);
    assert_true(vidmm_adapter_removed(f.ad));
    assert_int_equal(f.count.adapter_resets, 11);
    struct vidmm_device *d;
    assert_int_equal(vidmm_device_create(f.p, &d), VIDMM_DEVICE_LOST);
    fx_close(&f);
}

static void cannot_preempt(struct vidmm_kmd_ops *o) { o->preempt_command = NULL; }

static void hang_once(struct fx *f, enum vidmm_device_state others)
{
    struct peer me = fx_peer(f->p);
    struct peer other = fx_peer(f->p);
    (void)vidmm_context_submit(me.c, f->cmd_va + SPOT, 8, NULL, 0, 0);
    pass(f, 100 * MS);
    assert_int_equal(vidmm_device_state(me.d), VIDMM_DEVICE_HUNG);
    assert_int_equal(vidmm_device_state(other.d), others);
    vidmm_device_destroy(me.d);
    vidmm_device_destroy(other.d);
    fx_run(f);
}

/* Engines have a limit of their own, one less; beyond it, the adapter is reset instead. */
static void too_many_engine_resets_reset_the_adapter(void **state)
{
    struct fx f;
    (void)state;
    fx_init(&f, REF_FORMAT_A);
    f.tdr.delay_ns = 100 * MS;
    f.hooks.ops = cannot_preempt;
    fx_start(&f);
    (void)ref_emit_hang(f.cmd_cpu + SPOT / 8);
    for (uint32_t i = 0; i < 4; i++) hang_once(&f, VIDMM_DEVICE_ACTIVE);
    assert_int_equal(f.count.adapter_resets, 0);
    hang_once(&f, VIDMM_DEVICE_RESET);
    assert_int_equal(f.count.adapter_resets, 1);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_RESET);
    fx_close(&f);
}

/* A driver that cannot start again: the adapter is gone. */
static void a_restart_that_fails_removes_the_adapter(void **state)
{
    (void)state;
    for (uint32_t kind = 0; kind < 2; kind++) {
        struct fx f;
        fx_open(&f, REF_FORMAT_A);
        struct peer other = fx_peer(f.p);
        struct vidmm_open *op = fx_alloc(other.d, MIB, SEG1, 1);
        fx_map_all(other.q, op);
        fx_resident(other.q, op);
        fx_run(&f);
        knob_fail_reset(&f, true);
        if (kind == 0) f.hooks.fail_restart_all = VIDMM_FAILED;
        else f.hooks.fail_stop_all = VIDMM_FAILED;
        bad_packet(&f, f.c);
        fx_run(&f);
        assert_true(vidmm_adapter_removed(f.ad));
        assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_PAGE_FAULT);
        assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_RESET);
        fx_close(&f);
    }
}

/* ---- removal ------------------------------------------------------------------------------------- */

static void all_calls_are_refused(struct fx *f, struct vidmm_open *op, struct vidmm_fence *fence)
{
    uint64_t va = 0, value = 9, trim;
    struct vidmm_map map = {.open = op, .bytes = PAGE};
    struct vidmm_reserve reserve = {.bytes = 65536};
    struct ref_alloc_private in = {.magic = REF_ALLOC_MAGIC, .bytes = PAGE};
    struct vidmm_context_desc desc = {.node = 0};
    struct vidmm_process *p;
    struct vidmm_device *d;
    struct vidmm_open *none;
    struct vidmm_queue *q;
    struct vidmm_context *c;
    struct vidmm_fence *made;
    void *cpu;
    assert_int_equal(vidmm_process_create(f->ad, &p), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_device_create(f->p, &d), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_queue_create(f->d, 0, &q), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_context_create(f->d, &desc, &c), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_fence_create(f->d, 0, 0, &made), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_fence_signal(fence, UINT64_MAX), VIDMM_DEVICE_LOST);
    assert_int_equal(fx_try_alloc(f->d, &in, &none), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_open_set_priority(op, VIDMM_PRIORITY_LOW), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_make_resident(f->q, &op, 1, 0, &value, &trim), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_evict(f->d, &op, 1, 0, &trim), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_va_map(f->q, &map, &va, &value), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_va_reserve(f->p, f->q, &reserve, &va, &value), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_va_reserve(f->p, NULL, &reserve, &va, &value), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_context_submit(f->c, f->cmd_va, 8, NULL, 0, 0), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_context_wait(f->c, &fence, &value, 1), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_context_signal(f->c, &fence, &value, 1), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_adapter_escape(f->ad, NULL, 0), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_adapter_query_private(f->ad, &value, sizeof value), VIDMM_DEVICE_LOST);
}

static void only_cleanup_reaches_the_driver(const struct fx *f)
{
    for (uint32_t i = first_index(f, EV_REMOVAL) + 1; i < f->log.count; i++) {
        enum event_kind k = f->log.event[i].kind;
        bool pure = k == EV_ATTR || k == EV_ROOT_SIZE;
        assert_true(pure || k == EV_DESTROY_ALLOC || k == EV_DESTROY_CONTEXT || k == EV_DESTROY_PROCESS);
    }
}

/* Surprise removal, by a call and by the driver's report: waiters go free, nothing new is taken, and the
 * teardown does not touch hardware that is gone. */
static void a_removed_adapter_refuses_and_cleans_up(void **state)
{
    (void)state;
    for (uint32_t kind = 0; kind < 4; kind++) {
        struct fx f;
        struct vidmm_fence *fence;
        uint64_t value = 5;
        fx_open(&f, kind < 2 ? REF_FORMAT_A : REF_FORMAT_B);
        struct vidmm_open *op = fx_alloc(f.d, 3 * MIB, SEG1, 1), *moving = fx_alloc(f.d, 2 * MIB, SEG1, 1);
        uint64_t va = fx_map_all(f.q, op);
        fx_resident(f.q, op);
        assert_int_equal(vidmm_fence_create(f.d, 0, 0, &fence), VIDMM_OK);
        fx_run(&f);
        hang(&f, f.c);
        assert_int_equal(vidmm_context_wait(f.c, &fence, &value, 1), VIDMM_OK);
        fx_resident(f.q, moving);
        fx_run_core(&f);
        if (kind % 2 == 0) vidmm_adapter_remove(f.ad);
        else vidmm_notify_removed(f.ad);
        fx_run_core(&f);
        assert_int_equal(vidmm_fence_value(fence), UINT64_MAX);
        assert_int_equal(vidmm_fence_value(vidmm_queue_fence(f.q)), UINT64_MAX);
        assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_RESET);
        all_calls_are_refused(&f, op, fence);
        assert_int_equal(vidmm_va_free(f.p, va, PAGE), VIDMM_OK);
        vidmm_open_close(op, 0);
        vidmm_adapter_remove(f.ad); /* twice is once */
        fx_run(&f);
        struct vidmm_process *p = f.p;
        f.p = NULL;
        f.q = NULL;
        assert_true(fx_destroy_process(&f, p));
        only_cleanup_reaches_the_driver(&f);
        fx_close(&f);
    }
}

/* Whoever waits for bytes that cannot come any more, or for a fence that keeps its value, does not wait
 * for ever, also if its device was lost before. */
static void waits_end_with_the_adapter(void **state)
{
    struct fx f;
    struct vidmm_fence *keeps;
    void *cpu;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1 | SYS, 1);
    fx_resident(f.q, op);
    assert_int_equal(vidmm_fence_create(other.d, 7, VIDMM_FENCE_NO_MAX_ON_LOSS, &keeps), VIDMM_OK);
    bad_packet(&f, other.c);
    fx_run(&f);
    assert_int_equal(fx_place(op).segment, 1);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_PAGE_FAULT);
    assert_false(vidmm_fence_reached(keeps, 8));
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_PENDING);
    assert_false(vidmm_open_lock_ready(op));
    vidmm_adapter_remove(f.ad);
    fx_run(&f);
    assert_true(vidmm_open_lock_ready(op));
    assert_true(vidmm_fence_reached(keeps, 8));
    assert_int_equal(vidmm_fence_value(keeps), 7);
    fx_close(&f);
}

/* A device in error: the driver hears of each packet that will not come any more. */
int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(a_failing_engine_reset_resets_the_adapter, "FLT-03 FLT-17 FLT-18 FLT-19 SUB-20", "FLT-03"),
        VT_TEST(the_culprit_of_a_hang_is_told, "FLT-03 FLT-18", "FLT-03"),
        VT_TEST(a_paging_hang_resets_the_adapter, "FLT-14 FLT-24", NULL),
        VT_TEST(a_fault_can_ask_for_the_adapter, "FLT-08", NULL),
        VT_TEST(too_many_adapter_resets_are_fatal, "FLT-16", NULL),
        VT_TEST(too_many_engine_resets_reset_the_adapter, "FLT-16", NULL),
        VT_TEST(a_restart_that_fails_removes_the_adapter, "", NULL),
        VT_TEST(a_removed_adapter_refuses_and_cleans_up, "FLT-20", NULL),
        VT_TEST(waits_end_with_the_adapter, "FLT-20", NULL),
    };
    return vt_main(argc, argv, "core_reset", cases, VT_COUNT(cases));
}
