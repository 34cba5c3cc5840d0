/* SPDX-License-Identifier: MIT */
/* test_core_tdr.c - packets that hang or fault, engines that are stopped and reset.
 * Asserts what the driver is asked to do, in which order and when, and what devices are told. */
#include "core/obj.h"

#include <string.h>

#include "tdr_kit.h"

/* ---- timeouts ------------------------------------------------------------------------------------ */

/* A packet that hangs would keep its engine from everybody. It is asked to stop, then the engine is reset:
 * its device is told, the packets behind it run once, with new fence ids, in order. */
static void a_hang_ends_its_device_alone(void **state)
{
    struct fx f;
    (void)state;
    fx_init(&f, REF_FORMAT_A);
    f.tdr.slice_ns = UINT64_MAX;
    fx_start(&f);
    struct peer other = fx_peer(f.p);
    struct vidmm_fence *waiter;
    assert_int_equal(vidmm_fence_create(other.d, 0, 0, &waiter), VIDMM_OK);
    hang(&f, other.c);
    fx_fill(&f, other.c, f.cmd_va + SPOT + 64, 0x11111111, 8);
    fx_run(&f);
    for (uint32_t i = 0; i < 3; i++) {
        (void)ref_emit_add64(fx_words(&f, 3), f.cmd_va + SPOT, i + 1);
        fx_submit(&f, f.c);
    }
    f.cmd_cpu[SPOT / 8] = 0;
    fx_run(&f);
    fx_forget(&f);
    pass(&f, 1999 * MS);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(fx_count(&f, EV_PREEMPT), 0);
    pass(&f, 1 * MS);
    assert_int_equal(fx_count(&f, EV_PREEMPT), 1);
    assert_int_equal(fx_count(&f, EV_RESET), 0);
    pass(&f, 500 * MS);
    assert_int_equal(fx_count(&f, EV_RESET), 1);
    assert_true(first_index(&f, EV_PREEMPT) < first_index(&f, EV_RESET));
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_HUNG);
    assert_int_equal(vidmm_fence_value(waiter), UINT64_MAX);
    assert_int_equal(vidmm_context_submit(other.c, f.cmd_va, 8, NULL, 0, 0), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    assert_int_equal(word_at_spot(&f), 6);
    assert_int_equal(f.cmd_cpu[SPOT / 8 + 8], 0); /* what the guilty one had queued never ran */
    assert_int_equal(fx_count(&f, EV_CANCEL), 1); /* of which the driver is told */
    uint32_t at = first_index(&f, EV_RESET);
    uint64_t last = 0, again = 0;
    for (const struct event *e; (e = fx_next(&f, EV_SUBMIT, &at)) != NULL; last = e->submit.fence_id) {
        assert_true(e->submit.fence_id > last);
        again += (e->submit.flags & VIDMM_SUBMIT_RESUBMISSION) != 0;
    }
    assert_int_equal(again, 2);
    assert_int_equal(f.count.timeouts, 1);
    assert_int_equal(f.count.adapter_resets, 0);
    fx_close(&f);
}

/* A wait for a value that nobody writes: the engine can be stopped, so nothing is reset. */
static void a_packet_that_waits_for_ever_is_stopped(void **state)
{
    struct fx f;
    struct vidmm_fence *never;
    (void)state;
    fx_init(&f, REF_FORMAT_A);
    f.tdr.slice_ns = UINT64_MAX;
    fx_start(&f);
    struct peer other = fx_peer(f.p);
    assert_int_equal(vidmm_fence_create(other.d, 0, 0, &never), VIDMM_OK);
    fx_wait_packet(&f, other.c, vidmm_fence_gpu_address(never), 1);
    fx_fill(&f, f.c, f.cmd_va + SPOT, 0x22222222, 8);
    fx_forget(&f);
    pass(&f, 2000 * MS);
    assert_int_equal(fx_count(&f, EV_PREEMPT), 1);
    assert_int_equal(fx_count(&f, EV_RESET), 0);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_HUNG);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(word_at_spot(&f), 0x2222222222222222ull);
    fx_close(&f);
}

/* Slow is not hung: as long as bytes move, a packet may take many times the delay. */
static void a_slow_packet_is_left_alone(void **state)
{
    struct fx f;
    (void)state;
    fx_init(&f, REF_FORMAT_A);
    f.tdr.delay_ns = 300 * MS;
    fx_start(&f);
    struct vidmm_open *op = fx_alloc(f.d, 4 * MIB, SYS, 0);
    uint64_t va = fx_map_all(f.q, op);
    fx_resident(f.q, op);
    fx_run(&f);
    fx_forget(&f);
    fx_fill(&f, f.c, va, 0x33333333, 4 * MIB);
    fx_run_core(&f);
    for (uint32_t i = 0; i < 20 && vidmm_context_pending(f.c) > 0; i++) {
        for (uint32_t k = 0; k < 4; k++) (void)softgpu_engine_step(ref_gpu(f.ref), REF_NODE_COMPUTE);
        f.now += 290 * MS;
        fx_run_core(&f);
    }
    assert_true(f.now > 1000 * MS);
    assert_int_equal(fx_count(&f, EV_PREEMPT), 0);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(fx_gpu_read(&f, va + 4 * MIB - 8), 0x3333333333333333ull);
    fx_close(&f);
}

static vidmm_status never_answers(void *kmd, uint32_t node)
{
    (void)kmd;
    (void)node;
    return VIDMM_OK;
}

static void deaf(struct vidmm_kmd_ops *o) { o->preempt_command = never_answers; }

/* What was on the node completes while its answer is awaited, and the answer never comes: nothing may be
 * submitted until then, so there is a deadline also for a node on which nothing is left. */
static void an_idle_node_that_never_answers_is_reset(void **state)
{
    struct fx f;
    struct vidmm_fence *gate;
    (void)state;
    fx_init(&f, REF_FORMAT_A);
    f.hooks.ops = deaf;
    fx_start(&f);
    assert_int_equal(vidmm_fence_create(f.d, 0, 0, &gate), VIDMM_OK);
    fx_wait_packet(&f, f.c, vidmm_fence_gpu_address(gate), 1);
    pass(&f, 2000 * MS);
    assert_int_not_equal(f.ad->node[REF_NODE_COMPUTE].preempt_until, 0);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    fx_forget(&f);
    fx_fill(&f, f.c, f.cmd_va + SPOT, 0x66666666, 8);
    fx_run(&f);
    assert_int_equal(vidmm_run(f.ad, f.now), f.now + 500 * MS);
    pass(&f, 500 * MS);
    assert_int_equal(fx_count(&f, EV_RESET), 1);
    assert_int_equal(word_at_spot(&f), 0x6666666666666666ull);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(f.count.adapter_resets, 0);
    fx_close(&f);
}

/* A driver that answers what nobody asked must not get packets queued again that are still running. */
static void an_answer_that_nobody_asked_for_is_ignored(void **state)
{
    struct fx f;
    struct vidmm_fence *gate;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    assert_int_equal(vidmm_fence_create(f.d, 0, 0, &gate), VIDMM_OK);
    fx_wait_packet(&f, f.c, vidmm_fence_gpu_address(gate), 1);
    fx_run(&f);
    assert_int_equal(f.ad->node[REF_NODE_COMPUTE].running_count, 1);
    uint32_t submits = fx_count(&f, EV_SUBMIT);
    vidmm_notify_preempted(f.ad, REF_NODE_COMPUTE);
    fx_run(&f);
    assert_int_equal(f.ad->node[REF_NODE_COMPUTE].running_count, 1);
    assert_int_equal(fx_count(&f, EV_SUBMIT), submits);
    assert_int_equal(f.count.preemptions, 0);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    fx_close(&f);
}

/* The packet faults while its node is being stopped, and the driver reports both before anybody looks: it is
 * a fault of that packet, as if it had come alone. */
static void a_fault_comes_before_the_answer(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    hang(&f, other.c);
    fx_fill(&f, f.c, f.cmd_va + SPOT, 0x77777777, 8);
    fx_run(&f);
    pass(&f, 2000 * MS);
    const struct vmm_node *n = &f.ad->node[REF_NODE_COMPUTE];
    assert_int_not_equal(n->preempt_until, 0);
    const struct vmm_packet *front = list_entry(list_first(&n->running), struct vmm_packet, link);
    struct vidmm_page_fault fault = {.node = REF_NODE_COMPUTE, .va = 0x123000, .fence_id = front->fence_id};
    vidmm_notify_page_fault(f.ad, &fault);
    vidmm_notify_preempted(f.ad, REF_NODE_COMPUTE);
    fx_run(&f);
    assert_int_equal(f.count.adapter_resets, 0);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(word_at_spot(&f), 0x7777777777777777ull);
    fx_close(&f);
}

/* A lost device's packet on another engine goes on, and writes a fence of the device after that was given its
 * maximum: who waits for the fence in a command buffer would wait for ever, and be taken for hung. */
static void fences_stay_at_their_maximum(void **state)
{
    struct fx f;
    struct vidmm_fence *gate, *late;
    struct vidmm_context *copy;
    struct vidmm_context_desc desc = {.node = REF_NODE_COPY};
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    assert_int_equal(vidmm_context_create(other.d, &desc, &copy), VIDMM_OK);
    assert_int_equal(vidmm_fence_create(f.d, 0, 0, &gate), VIDMM_OK);
    assert_int_equal(vidmm_fence_create(other.d, 0, 0, &late), VIDMM_OK);
    (void)ref_emit_fence_wait(fx_words(&f, 3), vidmm_fence_gpu_address(gate), 1);
    (void)ref_emit_write64(fx_words(&f, 3), vidmm_fence_gpu_address(late), 5);
    fx_submit(&f, copy);
    fx_run(&f);
    bad_packet(&f, other.c);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(vidmm_fence_value(late), UINT64_MAX);
    assert_int_equal(vidmm_context_pending(copy), 1);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(copy), 0);
    assert_int_equal(vidmm_fence_value(late), UINT64_MAX);
    fx_close(&f);
}

static void cannot_preempt(struct vidmm_kmd_ops *o) { o->preempt_command = NULL; }

/* Settings: the delay, no timeouts at all, and a machine that shall stop at the first. */
static void levels_and_delay(void **state)
{
    (void)state;
    for (uint32_t level = VIDMM_TDR_DEFAULT; level <= VIDMM_TDR_FATAL; level++) {
        struct fx f;
        fx_init(&f, REF_FORMAT_A);
        f.tdr.level = level;
        f.tdr.delay_ns = 100 * MS;
        f.hooks.ops = cannot_preempt;
        fx_start(&f);
        struct peer other = fx_peer(f.p);
        fx_forget(&f);
        hang(&f, f.c);
        pass(&f, 99 * MS);
        assert_int_equal(fx_count(&f, EV_RESET), 0);
        pass(&f, level == VIDMM_TDR_OFF ? 100000 * MS : 1 * MS);
        bool off = level == VIDMM_TDR_OFF, fatal = level == VIDMM_TDR_FATAL;
        assert_int_equal(vidmm_device_state(f.d), off ? VIDMM_DEVICE_ACTIVE : VIDMM_DEVICE_HUNG);
        assert_int_equal(vidmm_device_state(other.d), fatal ? VIDMM_DEVICE_RESET : VIDMM_DEVICE_ACTIVE);
        assert_int_equal(fx_count(&f, EV_RESET), off || fatal ? 0 : 1);
        assert_int_equal(fx_count(&f, EV_REMOVAL), fatal ? 1 : 0);
        assert_int_equal(vidmm_adapter_removed(f.ad), fatal);
        if (off) vidmm_adapter_remove(f.ad);
        fx_close(&f);
    }
}

static void bad_settings_are_refused(void **state)
{
    (void)state;
    for (uint32_t kind = 0; kind < 2; kind++) {
        struct fx f;
        const char *why = NULL;
        fx_init(&f, REF_FORMAT_A);
        if (kind == 0) f.tdr.limit_count = VIDMM_TDR_LIMIT_MAX + 1;
        else f.tdr.level = VIDMM_TDR_FATAL + 1;
        assert_int_equal(fx_start_adapter(&f, &why), VIDMM_INVALID);
        assert_string_equal(why, "impossible timeout settings");
        fx_close(&f);
    }
}

/* A driver that names a fence nobody can have cut short cannot be trusted with memory any more. */
static void an_aborted_fence_outside_the_window_is_fatal(void **state)
{
    (void)state;
    for (uint32_t kind = 0; kind < 3; kind++) {
        struct fx f;
        fx_open(&f, REF_FORMAT_A);
        struct peer other = fx_peer(f.p);
        for (uint32_t i = 0; i < 3; i++) fx_fill(&f, f.c, f.cmd_va + SPOT, 1, 8);
        fx_run(&f);
        bad_packet(&f, f.c);
        fx_run_core(&f);
        uint64_t submitted = f.ad->node[REF_NODE_COMPUTE].next_fence;
        f.hooks.last_aborted = kind == 0 ? submitted + 1 : kind == 1 ? submitted - 2 : submitted;
        fx_run(&f);
        assert_int_equal(vidmm_adapter_removed(f.ad), kind != 2);
        assert_int_equal(vidmm_device_state(other.d), kind != 2 ? VIDMM_DEVICE_RESET : VIDMM_DEVICE_ACTIVE);
        fx_close(&f);
    }
}

static void paging_on_the_copy_node(struct vidmm_adapter_info *info) { info->paging_node = REF_NODE_COPY; }

/* Behind a packet that faults: paging packets come again first, as they were; the others later, as new. */
static void paging_packets_are_resubmitted_first(void **state)
{
    struct fx f;
    struct vidmm_context *c[2];
    struct vidmm_context_desc desc = {.node = REF_NODE_COPY};
    uint64_t first = 0, last = 0;
    uint32_t at = 0, paging = 0, client = 0;
    (void)state;
    fx_init(&f, REF_FORMAT_A);
    f.hooks.info = paging_on_the_copy_node;
    fx_start(&f);
    struct peer other = fx_peer(f.p);
    assert_int_equal(vidmm_context_create(other.d, &desc, &c[0]), VIDMM_OK);
    assert_int_equal(vidmm_context_create(f.d, &desc, &c[1]), VIDMM_OK);
    struct peer third = fx_peer(f.p);
    struct vidmm_open *op = fx_alloc(third.d, MIB, SEG1, 1);
    fx_run(&f);
    fx_forget(&f);
    bad_packet(&f, c[0]);
    fx_fill(&f, c[1], f.cmd_va + SPOT, 0x55555555, 8);
    fx_run_core(&f);
    fx_resident(third.q, op);
    fx_run_core(&f);
    for (const struct event *e; (e = fx_next(&f, EV_SUBMIT, &at)) != NULL;) {
        bool system = (e->submit.flags & VIDMM_SUBMIT_PAGING) != 0;
        if (system) last = e->submit.fence_id;
        if (system && first == 0) first = last;
        assert_true(system || first == 0); /* both client packets are in front */
    }
    assert_true(first > 2);
    fx_run(&f);
    at = first_index(&f, EV_RESET);
    for (const struct event *e; (e = fx_next(&f, EV_SUBMIT, &at)) != NULL;) {
        if (!(e->submit.flags & VIDMM_SUBMIT_RESUBMISSION)) continue;
        bool system = (e->submit.flags & VIDMM_SUBMIT_PAGING) != 0;
        if (system) assert_int_equal(client, 0);
        if (system) assert_int_equal(e->submit.fence_id, first + paging);
        else assert_true(e->submit.fence_id > last);
        paging += system;
        client += !system;
    }
    assert_int_equal(paging, last - first + 1);
    assert_int_equal(client, 1);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(word_at_spot(&f), 0x5555555555555555ull);
    assert_true(fx_queue_done(third.q));
    assert_int_equal(fx_place(op).segment, 1);
    fx_close(&f);
}

/* ---- groups of engines, and what a fault says --------------------------------------------------------- */

static uint32_t group_asked[REF_NODE_COUNT];

static uint64_t compute_and_copy(void *kmd, uint32_t node)
{
    (void)kmd;
    group_asked[node]++;
    return 1u << REF_NODE_COMPUTE | 1u << REF_NODE_COPY | 1u << node;
}

static void with_a_group(struct vidmm_kmd_ops *o) { o->query_dependent_engine_group = compute_and_copy; }

static struct vidmm_context *copy_context(struct vidmm_device *d)
{
    struct vidmm_context_desc desc = {.node = REF_NODE_COPY};
    struct vidmm_context *c;
    assert_int_equal(vidmm_context_create(d, &desc, &c), VIDMM_OK);
    return c;
}

/* An engine that a reset affects is stopped first, and goes on after; if it does not stop in half a second,
 * it is reset as well. */
static void dependent_engines_are_stopped_first(void **state)
{
    (void)state;
    for (uint32_t hangs = 0; hangs <= 1; hangs++) {
        struct fx f;
        struct vidmm_fence *gate;
        fx_init(&f, REF_FORMAT_A);
        f.hooks.ops = with_a_group;
        memset(group_asked, 0, sizeof group_asked);
        fx_start(&f);
        struct peer other = fx_peer(f.p);
        struct vidmm_context *c = copy_context(f.d);
        assert_int_equal(vidmm_fence_create(f.d, 0, 0, &gate), VIDMM_OK);
        if (hangs) hang(&f, c);
        else fx_wait_packet(&f, c, vidmm_fence_gpu_address(gate), 1);
        fx_fill(&f, c, f.cmd_va + SPOT, 0x77777777, 8);
        fx_run(&f);
        fx_forget(&f);
        f.cmd_cpu[SPOT / 8] = 0;
        bad_packet(&f, other.c);
        pass(&f, 499 * MS);
        assert_int_equal(fx_count(&f, EV_PREEMPT), 1);
        uint32_t at = first_index(&f, EV_PREEMPT);
        assert_int_equal(f.log.event[at].submit.node, REF_NODE_COPY);
        assert_int_equal(group_asked[REF_NODE_COMPUTE], 1);
        assert_int_equal(fx_count(&f, EV_RESET), hangs ? 0 : 1);
        pass(&f, 1 * MS);
        assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_PAGE_FAULT);
        assert_int_equal(fx_count(&f, EV_RESET), hangs ? 2 : 1);
        assert_int_equal(group_asked[REF_NODE_COPY], hangs ? 1 : 0);
        assert_int_equal(vidmm_device_state(f.d), hangs ? VIDMM_DEVICE_HUNG : VIDMM_DEVICE_ACTIVE);
        if (!hangs) {
            assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
            fx_run(&f);
            assert_int_equal(word_at_spot(&f), 0x7777777777777777ull);
        }
        assert_int_equal(f.count.adapter_resets, 0);
        fx_close(&f);
    }
}

/* All that a driver tells of a fault reaches whoever asks; without a fence it is known by its process. */
static void what_a_fault_says(void **state)
{
    struct fx f;
    struct vidmm_process *p2;
    struct vidmm_page_fault why;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    assert_int_equal(vidmm_process_create(f.ad, &p2), VIDMM_OK);
    struct peer other = fx_peer(p2);
    hang(&f, f.c);
    fx_run(&f);
    assert_int_equal(vidmm_context_submit(other.c, 0x10000, 8, NULL, 0, VIDMM_SUBMIT_NULL), VIDMM_OK);
    fx_run(&f);
    struct vidmm_page_fault fault = {
        .node = REF_NODE_COMPUTE, .level = 2, .error_code = 0x1235, .va = 0x123000, .primitive = 42,
        .stage = 7, .bind_entry = 5, .process = p2->space.kmd_process,
        .flags = VIDMM_FAULT_WRITE | VIDMM_FAULT_FENCE_INVALID | VIDMM_FAULT_PROCESS_HANDLE_VALID |
                 VIDMM_FAULT_ENGINE_RESET_REQUIRED};
    vidmm_notify_page_fault(f.ad, &fault);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(vidmm_device_fault(other.d, &why), VIDMM_OK);
    assert_memory_equal(&why, &fault, sizeof why);
    fault.flags = VIDMM_FAULT_FENCE_INVALID; /* then it is the one at the front */
    fault.process = NULL;
    vidmm_notify_page_fault(f.ad, &fault);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(f.count.adapter_resets, 0);
    struct peer third = fx_peer(p2);
    hang(&f, third.c);
    fault.flags = VIDMM_FAULT_FATAL_HARDWARE_ERROR | VIDMM_FAULT_IOMMU | VIDMM_FAULT_FENCE_INVALID;
    vidmm_notify_page_fault(f.ad, &fault);
    fx_run(&f);
    assert_int_equal(f.count.adapter_resets, 1);
    assert_true(fx_destroy_process(&f, p2));
    fx_close(&f);
}

static void cancelled_packets_are_told(void **state)
{
    struct fx f;
    struct vidmm_fence *gate;
    uint64_t one = 1;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    assert_int_equal(vidmm_fence_create(other.d, 0, 0, &gate), VIDMM_OK);
    assert_int_equal(vidmm_context_wait(other.c, &gate, &one, 1), VIDMM_OK);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(vidmm_context_submit(other.c, 0x100000 * (i + 1), 8, &one, 8, 0), VIDMM_OK);
    struct vidmm_context_desc desc = {.node = REF_NODE_COPY};
    struct vidmm_context *c2;
    assert_int_equal(vidmm_context_create(other.d, &desc, &c2), VIDMM_OK);
    fx_forget(&f);
    bad_packet(&f, c2);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(fx_count(&f, EV_CANCEL), 3);
    uint32_t at = 0;
    for (uint32_t i = 0; i < 3; i++) {
        const struct event *e = fx_next(&f, EV_CANCEL, &at);
        assert_int_equal(e->submit.va, 0x100000 * (i + 1));
        assert_int_equal(e->submit.private_size, 8);
    }
    fx_close(&f);
}

/* User mode declares its device broken: as after any other error, and nobody else is touched. */
static void a_marked_device_is_in_error(void **state)
{
    struct fx f;
    struct vidmm_fence *fence;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    struct vidmm_open *op = fx_alloc(other.d, MIB, SEG1, 1);
    fx_map_all(other.q, op);
    fx_resident(other.q, op);
    assert_int_equal(vidmm_fence_create(other.d, 0, 0, &fence), VIDMM_OK);
    fx_run(&f);
    fx_wait_packet(&f, other.c, vidmm_fence_gpu_address(fence), 1); /* on the engine */
    fx_run(&f);
    assert_int_equal(vidmm_device_mark(other.d), VIDMM_OK);
    assert_int_equal(vidmm_device_mark(other.d), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_DMA_FAULT);
    assert_int_equal(vidmm_fence_value(fence), UINT64_MAX); /* which ends the wait on the engine too */
    assert_int_equal(vidmm_context_submit(other.c, f.cmd_va, 8, NULL, 0, 0), VIDMM_DEVICE_LOST);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    fx_fill(&f, f.c, f.cmd_va + SPOT, 0x66666666, 8);
    fx_run(&f);
    assert_int_equal(word_at_spot(&f), 0x6666666666666666ull);
    assert_int_equal(fx_count(&f, EV_RESET), 0);
    vidmm_device_destroy(other.d);
    fx_close(&f);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(a_hang_ends_its_device_alone, "FLT-11 FLT-12 FLT-16 SUB-09", NULL),
        VT_TEST(a_packet_that_waits_for_ever_is_stopped, "FLT-12", NULL),
        VT_TEST(a_slow_packet_is_left_alone, "", NULL),
        VT_TEST(paging_packets_are_resubmitted_first, "FLT-15", NULL),
        VT_TEST(an_idle_node_that_never_answers_is_reset, "FLT-12 FLT-16 INV-19", NULL),
        VT_TEST(an_answer_that_nobody_asked_for_is_ignored, "", NULL),
        VT_TEST(a_fault_comes_before_the_answer, "FLT-08 FLT-11 FLT-12", NULL),
        VT_TEST(fences_stay_at_their_maximum, "SUB-20", NULL),
        VT_TEST(dependent_engines_are_stopped_first, "FLT-25", NULL),
        VT_TEST(what_a_fault_says, "FLT-06 FLT-07 FLT-08", NULL),
        VT_TEST(levels_and_delay, "FLT-16", NULL),
        VT_TEST(bad_settings_are_refused, "", NULL),
        VT_TEST(an_aborted_fence_outside_the_window_is_fatal, "FLT-13", NULL),
        VT_TEST(cancelled_packets_are_told, "SUB-34", NULL),
        VT_TEST(a_marked_device_is_in_error, "FLT-21", NULL),
    };
    return vt_main(argc, argv, "core_tdr", cases, VT_COUNT(cases));
}
