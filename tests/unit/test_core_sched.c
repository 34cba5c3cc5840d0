/* SPDX-License-Identifier: MIT */
/* test_core_sched.c - contexts, packets, fences, and what a fault or a loss does to them.
 * Asserts the submissions, root settings and resets that the driver sees. */
#include "core/obj.h"

#include "core_fixture.h"

/* A monitored fence that keeps packets waiting on an engine until the CPU signals it. */
static struct vidmm_fence *gate_new(struct vidmm_device *d)
{
    struct vidmm_fence *gate;
    assert_int_equal(vidmm_fence_create(d, 0, 0, &gate), VIDMM_OK);
    return gate;
}

static void gate_hold(struct fx *f, struct vidmm_context *c, const struct vidmm_fence *gate)
{
    fx_wait_packet(f, c, vidmm_fence_gpu_address(gate), 1);
}

static void gate_open(struct vidmm_fence *gate) { assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK); }

static void bad_packet(struct fx *f, struct vidmm_context *c)
{
    (void)ref_emit_write64(fx_words(f, 3), 0x7000000000ull, 1);
    fx_submit(f, c);
}

/* ---- submission ---------------------------------------------------------------------------------- */

/* A context that ran before its root is set, or before its memory is there, would read anything at all. */
static void root_and_residency_come_first(void **state)
{
    struct fx f;
    struct vidmm_context *late;
    struct vidmm_context_desc desc = {.node = REF_NODE_COPY};
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    assert_int_equal(vidmm_context_create(f.d, &desc, &late), VIDMM_OK);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1, 1);
    uint64_t va = fx_map_all(f.q, op);
    fx_resident(f.q, op);
    fx_forget(&f);
    fx_fill(&f, late, va, 1, 64);
    fx_fill(&f, late, va, 2, 64);
    fx_run_core(&f);
    uint32_t at = 0;
    for (const struct event *e; (e = fx_next(&f, EV_SUBMIT, &at)) != NULL;)
        assert_true(e->submit.node != REF_NODE_COPY);
    fx_run(&f);
    at = 0;
    const struct event *first = fx_next(&f, EV_SUBMIT, &at);
    while (first != NULL && first->submit.node != REF_NODE_COPY) first = fx_next(&f, EV_SUBMIT, &at);
    const struct event *second = fx_next(&f, EV_SUBMIT, &at), *root;
    assert_non_null(first);
    assert_non_null(second);
    at = 0;
    do root = fx_next(&f, EV_SET_ROOT, &at);
    while (root != NULL && root->object != first->submit.context);
    assert_non_null(root);
    assert_true(fx_index(&f, root) < fx_index(&f, first));
    assert_true(second->submit.va > first->submit.va);
    assert_true(second->submit.fence_id > first->submit.fence_id);
    assert_int_equal(fx_gpu_read(&f, va), 0x0000000200000002ull);
    fx_close(&f);
}

/* A packet is never handed over while an allocation of its device's list is on its way. */
static void nothing_runs_while_a_list_is_incomplete(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, 9 * MIB, SEG1, 1);
    fx_resident(f.q, op);
    fx_run_core(&f);
    fx_forget(&f);
    fx_fill(&f, f.c, f.cmd_va + 128 * KIB, 1, 64);
    fx_run_core(&f);
    assert_int_equal(f.d->missing, 1);
    assert_int_equal(vidmm_context_pending(f.c), 1);
    assert_int_equal(f.d->running, 0);
    fx_run(&f);
    assert_int_equal(f.d->missing, 0);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    fx_close(&f);
}

/* What was queued before an Evict may still use the allocation: under pressure it is demoted, not
 * taken away. */
static void evicted_allocations_stay_for_earlier_packets(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, 9 * MIB, SEG1 | SYS, 1);
    struct vidmm_fence *gate = gate_new(f.d);
    uint64_t va = fx_map_all(f.q, op), one = 1;
    fx_resident(f.q, op);
    fx_run(&f);
    assert_int_equal(vidmm_context_wait(f.c, &gate, &one, 1), VIDMM_OK);
    fx_fill(&f, f.c, va, 0x16161616, 64);
    fx_evict(f.d, op, 0);
    struct peer other = fx_peer(f.p);
    struct vidmm_open *big = fx_alloc(other.d, 9 * MIB, SEG1, 1);
    fx_resident(other.q, big);
    fx_run(&f);
    assert_true(fx_place(big).resident);
    assert_int_equal(fx_place(big).segment, 1);
    assert_int_equal(vidmm_context_pending(f.c), 2);
    gate_open(gate);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    fx_resident(f.q, op);
    fx_run(&f);
    assert_int_equal(fx_gpu_read(&f, va), 0x1616161616161616ull);
    fx_close(&f);
}

/* Requests that no driver offers, or of another engine, get a status and no object. */
static void contexts_are_refused(void **state)
{
    struct fx f;
    struct vidmm_context *c = NULL;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    fx_forget(&f);
    struct vidmm_context_desc none = {.node = REF_NODE_COUNT};
    assert_int_equal(vidmm_context_create(f.d, &none, &c), VIDMM_INVALID);
    struct vidmm_context_desc far = {.node = UINT32_MAX};
    assert_int_equal(vidmm_context_create(f.d, &far, &c), VIDMM_INVALID);
    struct vidmm_context_desc engine = {.node = REF_NODE_COMPUTE, .engine_affinity = 2};
    assert_int_equal(vidmm_context_create(f.d, &engine, &c), VIDMM_INVALID);
    engine.engine_affinity = 3;
    assert_int_equal(vidmm_context_create(f.d, &engine, &c), VIDMM_INVALID);
    assert_int_equal(fx_count(&f, EV_CREATE_CONTEXT), 0);
    for (uint32_t bit = 0; bit <= 1; bit++) {
        engine.engine_affinity = bit;
        assert_int_equal(vidmm_context_create(f.d, &engine, &c), VIDMM_OK);
    }
    assert_int_equal(fx_count(&f, EV_CREATE_CONTEXT), 2);
    assert_int_equal(f.hooks.context_flags_seen, VIDMM_CONTEXT_VIRTUAL);
    fx_close(&f);
}

static void copy_node_without_gpummu(struct vidmm_adapter_info *info)
{
    info->node[REF_NODE_COPY].gpummu = false;
}

static void a_node_without_the_model_is_refused(void **state)
{
    struct fx f;
    struct vidmm_context *c = NULL;
    struct vidmm_context_desc desc = {.node = REF_NODE_COPY};
    (void)state;
    fx_init(&f, REF_FORMAT_A);
    f.hooks.info = copy_node_without_gpummu;
    fx_start(&f);
    assert_int_equal(vidmm_context_create(f.d, &desc, &c), VIDMM_NOT_SUPPORTED);
    desc.node = REF_NODE_COMPUTE;
    assert_int_equal(vidmm_context_create(f.d, &desc, &c), VIDMM_OK);
    fx_close(&f);
}

/* Private data up to the driver's maximum reaches the driver unchanged; one byte more is refused. */
static void private_data_has_a_limit(void **state)
{
    struct fx f;
    uint8_t data[257];
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    for (uint32_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)i;
    assert_int_equal(vidmm_context_submit(f.c, f.cmd_va, 8, data, 257, VIDMM_SUBMIT_NULL), VIDMM_LIMIT);
    assert_int_equal(vidmm_context_submit(f.c, f.cmd_va, 8, NULL, 1, VIDMM_SUBMIT_NULL), VIDMM_INVALID);
    assert_int_equal(vidmm_context_submit(f.c, f.cmd_va, 8, data, 256, VIDMM_SUBMIT_PAGING), VIDMM_INVALID);
    assert_int_equal(vidmm_context_submit(f.c, f.cmd_va, 8, data, 256, VIDMM_SUBMIT_NULL), VIDMM_OK);
    fx_forget(&f);
    fx_run(&f);
    uint32_t at = 0;
    const struct event *e = fx_next(&f, EV_SUBMIT, &at);
    assert_non_null(e);
    assert_int_equal(e->submit.private_size, 256);
    assert_int_equal(e->submit.flags, VIDMM_SUBMIT_NULL);
    fx_close(&f);
}

/* INVALID from the driver ends the device; packets before the refused one still complete. */
static void the_driver_refuses_a_packet(void **state)
{
    struct fx f;
    struct vidmm_fence *fence;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    fence = gate_new(f.d);
    fx_fill(&f, f.c, f.cmd_va + 128 * KIB, 0x31313131, 64);
    fx_run_core(&f);
    f.hooks.fail_submit = VIDMM_INVALID;
    fx_fill(&f, f.c, f.cmd_va + 128 * KIB, 0x32323232, 64);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_DMA_FAULT);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    assert_int_equal(f.cmd_cpu[128 * KIB / 8], 0x3131313131313131ull);
    assert_int_equal(vidmm_fence_value(fence), UINT64_MAX);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_ACTIVE);
    fx_close(&f);
}

/* Any other answer is the driver's end: every device is lost, and everything can still be taken down. */
static void the_driver_fails_at_a_packet(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    f.hooks.fail_submit = VIDMM_FAILED;
    fx_fill(&f, f.c, f.cmd_va + 128 * KIB, 1, 64);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_RESET);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_RESET);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    fx_close(&f);
}

/* ---- fences -------------------------------------------------------------------------------------- */

static void fence_rules(void **state)
{
    struct fx f;
    struct vidmm_fence *a, *none;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    assert_int_equal(vidmm_fence_create(f.d, 5, 0, &a), VIDMM_OK);
    assert_int_equal(vidmm_fence_value(a), 5);
    assert_int_equal(vidmm_fence_signal(a, 4), VIDMM_INVALID);
    assert_int_equal(vidmm_fence_value(a), 5);
    assert_int_equal(vidmm_fence_signal(a, UINT64_MAX - 1), VIDMM_OK);
    assert_int_equal(*vidmm_fence_cpu_address(a), UINT64_MAX - 1);
    assert_true(vidmm_fence_gpu_address(a) >= 1ull << 47); /* VidMm's own addresses come from the top */
    uint32_t both = VIDMM_FENCE_NO_SIGNAL | VIDMM_FENCE_NO_WAIT;
    assert_int_equal(vidmm_fence_create(f.d, 0, both, &none), VIDMM_INVALID);
    assert_int_equal(vidmm_fence_create(f.d, 0, 1u << 8, &none), VIDMM_INVALID);
    assert_int_equal(vidmm_fence_create(f.d, 0, VIDMM_FENCE_NO_GPU_ACCESS, &none), VIDMM_OK);
    assert_int_equal(vidmm_fence_gpu_address(none), 0);
    vidmm_fence_destroy(none);
    fx_close(&f);
}

static void forbidden_operations_are_denied(void **state)
{
    struct fx f;
    struct vidmm_fence *no_signal, *no_wait;
    uint64_t one = 1;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    assert_int_equal(vidmm_fence_create(f.d, 0, VIDMM_FENCE_NO_SIGNAL, &no_signal), VIDMM_OK);
    assert_int_equal(vidmm_fence_create(f.d, 0, VIDMM_FENCE_NO_WAIT, &no_wait), VIDMM_OK);
    assert_int_equal(vidmm_fence_signal(no_signal, 1), VIDMM_ACCESS_DENIED);
    assert_int_equal(vidmm_context_signal(f.c, &no_signal, &one, 1), VIDMM_ACCESS_DENIED);
    assert_int_equal(vidmm_context_wait(f.c, &no_wait, &one, 1), VIDMM_ACCESS_DENIED);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    struct vidmm_fence *many[33];
    uint64_t values[33] = {0};
    for (int i = 0; i < 33; i++) many[i] = no_signal;
    assert_int_equal(vidmm_context_wait(f.c, many, values, 33), VIDMM_INVALID);
    assert_int_equal(vidmm_context_wait(f.c, many, values, 0), VIDMM_INVALID);
    assert_int_equal(vidmm_context_wait(f.c, many, values, 32), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    fx_close(&f);
}

/* A wait lets later packets go at value >= awaited, not only when equal, and not before. */
static void queued_waits_hold_later_packets(void **state)
{
    struct fx f;
    uint64_t value = 7;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_fence *fence = gate_new(f.d);
    assert_int_equal(vidmm_context_wait(f.c, &fence, &value, 1), VIDMM_OK);
    fx_fill(&f, f.c, f.cmd_va + 128 * KIB, 0x44444444, 64);
    fx_run(&f);
    assert_int_equal(vidmm_fence_signal(fence, 6), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c), 2);
    assert_int_equal(vidmm_fence_signal(fence, 9), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    assert_int_equal(f.cmd_cpu[128 * KIB / 8], 0x4444444444444444ull);
    fx_close(&f);
}

/* A queued signal shows only when everything before it has completed on the engine. */
static void queued_signals_wait_for_completion(void **state)
{
    struct fx f;
    uint64_t value = 3;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_fence *fence = gate_new(f.d), *gate = gate_new(f.d);
    gate_hold(&f, f.c, gate);
    assert_int_equal(vidmm_context_signal(f.c, &fence, &value, 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_fence_value(fence), 0);
    gate_open(gate);
    fx_run(&f);
    assert_int_equal(vidmm_fence_value(fence), 3);
    fx_close(&f);
}

/* The GPU's own write of a fence releases waiters of other contexts. */
static void the_gpu_signals_by_writing(void **state)
{
    struct fx f;
    uint64_t value = 21;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    struct vidmm_fence *fence = gate_new(f.d);
    assert_int_equal(vidmm_context_wait(other.c, &fence, &value, 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(other.c), 1);
    (void)ref_emit_fence_write(fx_words(&f, 3), vidmm_fence_gpu_address(fence), 21);
    fx_submit(&f, f.c);
    fx_run(&f);
    assert_int_equal(vidmm_fence_value(fence), 21);
    assert_int_equal(vidmm_context_pending(other.c), 0);
    fx_close(&f);
}

/* A queued signal below the present value would let a poller miss what was reached. */
static void queued_signals_never_lower_a_fence(void **state)
{
    struct fx f;
    uint64_t low = 5;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_fence *fence = gate_new(f.d), *gate = gate_new(f.d);
    gate_hold(&f, f.c, gate);
    assert_int_equal(vidmm_context_signal(f.c, &fence, &low, 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_fence_signal(fence, 10), VIDMM_OK);
    gate_open(gate);
    fx_run(&f);
    assert_int_equal(vidmm_fence_value(fence), 10);
    fx_close(&f);
}

/* Nor take back the maximum that a lost device's fences were given so that nobody hangs. */
static void a_lost_devices_fence_stays_at_the_maximum(void **state)
{
    struct fx f;
    uint64_t low = 5;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    struct vidmm_fence *fence = gate_new(other.d), *gate = gate_new(f.d);
    gate_hold(&f, f.c, gate);
    assert_int_equal(vidmm_context_signal(f.c, &fence, &low, 1), VIDMM_OK);
    fx_run(&f);
    bad_packet(&f, other.c);
    gate_open(gate);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(vidmm_fence_value(fence), UINT64_MAX);
    fx_close(&f);
}

/* The fence of a paging queue tells what VidMm has done: a client must not be able to say so itself. */
static void clients_do_not_signal_a_paging_fence(void **state)
{
    struct fx f;
    uint64_t value = 1000;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_fence *fence = vidmm_queue_fence(f.q);
    uint64_t before = vidmm_fence_value(fence);
    assert_int_equal(vidmm_fence_signal(fence, 1000), VIDMM_ACCESS_DENIED);
    assert_int_equal(vidmm_context_signal(f.c, &fence, &value, 1), VIDMM_ACCESS_DENIED);
    fx_run(&f);
    assert_int_equal(vidmm_fence_value(fence), before);
    fx_close(&f);
}

/* Waiters of a destroyed fence, and fences of a destroyed device that others name, end well. */
static void fences_outlive_their_owner_for_packets(void **state)
{
    struct fx f;
    uint64_t one = 1, two = 2;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    struct vidmm_fence *theirs = gate_new(other.d), *mine = gate_new(f.d), *gate = gate_new(f.d);
    gate_hold(&f, f.c, gate);
    assert_int_equal(vidmm_context_signal(f.c, &theirs, &two, 1), VIDMM_OK);
    assert_int_equal(vidmm_context_wait(f.c, &mine, &one, 1), VIDMM_OK);
    fx_fill(&f, f.c, f.cmd_va + 128 * KIB, 0x66666666, 64);
    vidmm_device_destroy(other.d);
    fx_run(&f);
    vidmm_fence_destroy(mine);
    gate_open(gate);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    assert_int_equal(f.cmd_cpu[128 * KIB / 8], 0x6666666666666666ull);
    fx_close(&f);
}

/* ---- faults -------------------------------------------------------------------------------------- */

/* A fault stops one device: its engine is reset, its fences go to the maximum, it can be asked why. */
static void a_fault_ends_the_device_that_caused_it(void **state)
{
    struct fx f;
    struct vidmm_page_fault why;
    struct vidmm_fence *plain, *keeps;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    plain = gate_new(f.d);
    assert_int_equal(vidmm_fence_create(f.d, 3, VIDMM_FENCE_NO_MAX_ON_LOSS, &keeps), VIDMM_OK);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(vidmm_device_fault(f.d, &why), VIDMM_INVALID);
    fx_forget(&f);
    bad_packet(&f, f.c);
    fx_fill(&f, f.c, f.cmd_va + 128 * KIB, 1, 64);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(vidmm_device_fault(f.d, &why), VIDMM_OK);
    assert_int_equal(why.va, 0x7000000000ull);
    assert_int_equal(why.node, REF_NODE_COMPUTE);
    assert_true((why.flags & VIDMM_FAULT_WRITE) != 0);
    uint32_t at = 0;
    const struct event *reset = fx_next(&f, EV_RESET, &at);
    assert_non_null(reset);
    assert_int_equal(reset->submit.node, REF_NODE_COMPUTE);
    assert_int_equal(fx_count(&f, EV_RESET), 1);
    assert_int_equal(vidmm_fence_value(plain), UINT64_MAX);
    assert_int_equal(vidmm_fence_value(vidmm_queue_fence(f.q)), UINT64_MAX);
    assert_int_equal(vidmm_fence_value(keeps), 3);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    fx_close(&f);
}

/* A device in error takes nothing new; asking, freeing and destroying go on. */
static void a_device_in_error_refuses_work(void **state)
{
    struct fx f;
    uint64_t va = 0, value, trim;
    struct vidmm_open *none;
    struct vidmm_queue *queue;
    struct vidmm_context *context;
    struct vidmm_fence *fence, *old;
    void *cpu;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    old = gate_new(f.d);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    uint64_t range = fx_map_all(f.q, op);
    struct vidmm_map map = {.open = op, .bytes = PAGE};
    struct ref_alloc_private in = {.magic = REF_ALLOC_MAGIC, .bytes = PAGE};
    struct vidmm_context_desc desc = {.node = 0};
    bad_packet(&f, f.c);
    fx_run(&f);
    assert_int_equal(vidmm_context_submit(f.c, f.cmd_va, 8, NULL, 0, 0), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_context_wait(f.c, &old, &value, 1), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_context_signal(f.c, &old, &value, 1), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_make_resident(f.q, &op, 1, 0, &value, &trim), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_va_map(f.q, &map, &va, &value), VIDMM_DEVICE_LOST);
    assert_int_equal(fx_try_alloc(f.d, &in, &none), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_queue_create(f.d, 0, &queue), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_context_create(f.d, &desc, &context), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_fence_create(f.d, 0, 0, &fence), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_fence_signal(old, 1), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_va_free(f.p, range, MIB), VIDMM_OK);
    assert_true(fx_place(op).resident_count == 0);
    vidmm_open_close(op, 0);
    vidmm_context_destroy(f.c);
    fx_run(&f);
    assert_int_equal(f.count.allocs_live, 1);
    fx_close(&f);
}

/* Not bound, bound but not resident, bound and evicted: all three are the same fault. */
static void non_resident_is_as_invalid_as_unmapped(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct fx f;
        fx_open(&f, REF_FORMAT_A);
        struct peer other = fx_peer(f.p);
        struct vidmm_open *op = fx_alloc(other.d, 10 * MIB, SEG1, 1), *big;
        uint64_t va = fx_map_all(other.q, op);
        fx_run(&f);
        if (kind == 0) assert_int_equal(vidmm_va_free(f.p, va, 10 * MIB), VIDMM_OK);
        if (kind == 2) {
            fx_resident(other.q, op);
            fx_run(&f);
            fx_evict(other.d, op, 0);
            big = fx_alloc(other.d, 10 * MIB, SEG1, 1);
            fx_resident(other.q, big);
            fx_run(&f);
        }
        fx_fill(&f, other.c, va, 1, 64);
        fx_run(&f);
        assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_PAGE_FAULT);
        assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
        fx_close(&f);
    }
}

/* Packets of others that shared the engine run again, in order, and their memory is as it was. */
static void others_survive_an_engine_reset(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer guilty = fx_peer(f.p);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1, 1);
    uint64_t va = fx_map_all(f.q, op);
    fx_resident(f.q, op);
    fx_run(&f);
    fx_fill(&f, f.c, va, 0x77777777, 64);
    fx_run(&f);
    fx_forget(&f);
    bad_packet(&f, guilty.c);
    fx_run_core(&f);
    fx_fill(&f, f.c, va + 64, 0x11111111, 64);
    fx_fill(&f, f.c, va + 64, 0x22222222, 64);
    fx_run_core(&f);
    assert_int_equal(f.d->running, 2);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(guilty.d), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    uint32_t at = 0, again = 0;
    for (const struct event *e; (e = fx_next(&f, EV_SUBMIT, &at)) != NULL;)
        again += (e->submit.flags & VIDMM_SUBMIT_RESUBMISSION) != 0;
    assert_int_equal(again, 2);
    assert_int_equal(fx_gpu_read(&f, va), 0x7777777777777777ull);
    assert_int_equal(fx_gpu_read(&f, va + 64), 0x2222222222222222ull);
    fx_close(&f);
}

/* The same when the survivor's device was being destroyed: its packets must not wait for ever. */
static void a_reset_does_not_revive_a_dying_device(void **state)
{
    struct fx f;
    struct vidmm_process *p;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    assert_int_equal(vidmm_process_create(f.ad, &p), VIDMM_OK);
    struct peer dying = fx_peer(p);
    bad_packet(&f, f.c);
    fx_run_core(&f);
    assert_int_equal(vidmm_context_submit(dying.c, 0x100000, 8, NULL, 0, VIDMM_SUBMIT_NULL), VIDMM_OK);
    fx_run_core(&f);
    assert_int_equal(dying.d->running, 1);
    assert_true(fx_destroy_process(&f, p));
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_PAGE_FAULT);
    fx_close(&f);
}

static void without_adapter_reset(struct vidmm_kmd_ops *o)
{
    o->reset_from_timeout = NULL;
    o->restart_from_timeout = NULL;
    o->surprise_removal = NULL;
}

/* A failing reset takes the adapter with it, if the driver cannot reset that; then everything still goes
 * away. */
static void a_failing_reset_loses_the_adapter(void **state)
{
    struct fx f;
    struct softgpu_knobs k = {.fail_reset = true};
    (void)state;
    fx_init(&f, REF_FORMAT_A);
    f.hooks.ops = without_adapter_reset;
    fx_start(&f);
    struct peer other = fx_peer(f.p);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1, 1);
    fx_resident(f.q, op);
    fx_run(&f);
    softgpu_set_knobs(ref_gpu(f.ref), &k);
    bad_packet(&f, f.c);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_PAGE_FAULT); /* Q26 */
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_RESET);
    struct vidmm_device *d;
    assert_int_equal(vidmm_device_create(f.p, &d), VIDMM_DEVICE_LOST);
    fx_close(&f);
}

/* A fault of the paging process is nobody's device: the adapter is lost, in the middle of a move. */
static void a_paging_fault_loses_the_adapter(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *resident = fx_alloc(f.d, 10 * MIB, SEG1 | SYS, 1);
    struct vidmm_open *op = fx_alloc(f.d, 10 * MIB, SEG1, 1);
    fx_map_all(f.q, resident);
    fx_resident(f.q, resident);
    fx_run(&f);
    struct softgpu_knobs k = {.fault_node = REF_NODE_PAGING, .fault_in = 1, .fault_error = 1};
    softgpu_set_knobs(ref_gpu(f.ref), &k);
    fx_resident(f.q, op);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_RESET);
    assert_int_equal(vidmm_fence_value(vidmm_queue_fence(f.q)), UINT64_MAX);
    fx_close(&f);
}

/* Losing the adapter while a promotion waits for an engine must not damage the counters. */
static void loss_with_a_move_that_has_not_begun(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    struct vidmm_open *big = fx_alloc(other.d, 10 * MIB, SEG1, 1);
    struct vidmm_open *op = fx_alloc(f.d, 10 * MIB, SEG1 | SYS, 1);
    struct vidmm_fence *gate = gate_new(f.d);
    fx_resident(other.q, big);
    fx_run(&f);
    fx_resident(f.q, op);
    fx_run(&f);
    assert_int_equal(fx_place(op).segment, 0);
    gate_hold(&f, f.c, gate);
    fx_run(&f);
    vidmm_open_close(big, VIDMM_DESTROY_ASSUME_NOT_IN_USE);
    fx_run(&f);
    assert_non_null(f.ad->move.al);
    f.hooks.fail_submit = VIDMM_FAILED;
    fx_fill(&f, other.c, f.cmd_va + 128 * KIB, 1, 64);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_RESET);
    assert_true(f.count.segment[1].resident <= 16 * MIB);
    assert_true(f.count.segment[0].resident <= 64 * MIB);
    fx_close(&f);
}

/* Destroying a healthy context lets what it has queued finish; afterwards nothing of it reaches the
 * engine. */
static void a_destroyed_context_finishes_its_packets(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    struct vidmm_fence *gate = gate_new(f.d);
    gate_hold(&f, other.c, gate);
    fx_fill(&f, other.c, f.cmd_va + 128 * KIB, 0x55555555, 64);
    fx_run(&f);
    fx_forget(&f);
    vidmm_context_destroy(other.c);
    fx_run(&f);
    assert_int_equal(fx_count(&f, EV_DESTROY_CONTEXT), 0);
    gate_open(gate);
    fx_run(&f);
    assert_int_equal(fx_count(&f, EV_DESTROY_CONTEXT), 1);
    assert_int_equal(f.cmd_cpu[128 * KIB / 8], 0x5555555555555555ull);
    fx_close(&f);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(root_and_residency_come_first, "SUB-11 PT-12 SUB-09", NULL),
        VT_TEST(nothing_runs_while_a_list_is_incomplete, "RES-03 SUB-11", NULL),
        VT_TEST(evicted_allocations_stay_for_earlier_packets, "RES-12", NULL),
        VT_TEST(contexts_are_refused, "ADP-32", NULL),
        VT_TEST(a_node_without_the_model_is_refused, "ADP-12", NULL),
        VT_TEST(private_data_has_a_limit, "SUB-06 SUB-33", NULL),
        VT_TEST(the_driver_refuses_a_packet, "SUB-08 SUB-20", NULL),
        VT_TEST(the_driver_fails_at_a_packet, "", NULL),
        VT_TEST(fence_rules, "SUB-14 SUB-21", NULL),
        VT_TEST(forbidden_operations_are_denied, "SUB-18 SUB-22", NULL),
        VT_TEST(queued_waits_hold_later_packets, "SUB-14 SUB-15 SUB-16", NULL),
        VT_TEST(queued_signals_wait_for_completion, "SUB-15", NULL),
        VT_TEST(the_gpu_signals_by_writing, "SUB-15", NULL),
        VT_TEST(queued_signals_never_lower_a_fence, "SUB-14", NULL),
        VT_TEST(a_lost_devices_fence_stays_at_the_maximum, "SUB-20", NULL),
        VT_TEST(clients_do_not_signal_a_paging_fence, "", NULL),
        VT_TEST(fences_outlive_their_owner_for_packets, "", NULL),
        VT_TEST(a_fault_ends_the_device_that_caused_it, "FLT-01 FLT-02 FLT-05 FLT-09 SUB-20", NULL),
        VT_TEST(a_device_in_error_refuses_work, "FLT-10", NULL),
        VT_TEST(non_resident_is_as_invalid_as_unmapped, "FLT-04 VA-32", NULL),
        VT_TEST(others_survive_an_engine_reset, "FLT-11", NULL),
        VT_TEST(a_reset_does_not_revive_a_dying_device, "", NULL),
        VT_TEST(a_failing_reset_loses_the_adapter, "", NULL),
        VT_TEST(a_paging_fault_loses_the_adapter, "FLT-24", NULL),
        VT_TEST(loss_with_a_move_that_has_not_begun, "", NULL),
        VT_TEST(a_destroyed_context_finishes_its_packets, "SUB-34", NULL),
    };
    return vt_main(argc, argv, "core_sched", cases, VT_COUNT(cases));
}
