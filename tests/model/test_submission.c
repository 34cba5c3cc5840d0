/* SPDX-License-Identifier: MIT */
/* test_submission.c - submission, fences, faults and what they leave alone (areas SUB and FLT). */
#include "fixture.h"

#include <stdlib.h>

#define BASE 0x200000000ull

/* ---- submission ---------------------------------------------------------------------------------- */

static void user_mode_submits_finished_command_buffers(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, words[REF_WORDS_MAX];
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        (void)client_memory(&c, KIB(64), SET_64K, &va);
        tap_clear(&f.tap);
        uint64_t last = 0, jobs = vt_rounds(100);
        for (uint32_t i = 0; i < jobs; i++)
            assert_true(client_run(&c, words, ref_emit_add64(words, va, 3)));
        assert_int_equal(gpu_read(&c, va), 3 * jobs);
        uint32_t packets = 0;
        const struct tap_entry *e;
        for (uint64_t i = 0; (e = tap_find(&f.tap, TAP_SUBMIT, i)) != NULL; i++) {
            if (e->system) continue;
            assert_int_equal(e->node, REF_NODE_COMPUTE);
            assert_true(e->fence_id > last); /* the ids of a node grow */
            assert_true(e->va >= c.buffer_va && e->va < c.buffer_va + FX_COMMAND_BYTES);
            last = e->fence_id;
            packets++;
        }
        assert_int_equal(packets, jobs + 1); /* one for one */
        fx_close(&f);
    }
}

static void a_submission_carries_no_lists(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, words[REF_WORDS_MAX], private_data[33] = {0};
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    (void)client_memory(&c, KIB(64), SET_64K, &va);
    tap_clear(&f.tap);
    gpu_fill(&c, va, 1, KIB(64)); /* reaches an allocation that no call named */
    assert_int_equal(f.tap.submit_private_bytes, 0); /* nothing was attached to it */
    uint32_t bytes, n = ref_emit_spin(words, 1);
    uint64_t at = client_commands(&c, words, n, &bytes);
    /* the most that the driver takes */
    assert_int_equal(vidmm_context_submit(c.context, at, bytes, private_data, 256, 0), VIDMM_OK);
    uint64_t before = vidmm_state_hash(f.ad);
    assert_int_equal(vidmm_context_submit(c.context, at, bytes, private_data, 257, 0), VIDMM_LIMIT);
    assert_int_equal(vidmm_context_submit(c.context, at, bytes, NULL, 8, 0), VIDMM_INVALID);
    assert_int_equal(vidmm_context_submit(c.context, at, bytes, NULL, 0, VIDMM_SUBMIT_PAGING), VIDMM_INVALID);
    assert_int_equal(vidmm_context_submit(c.context, at, bytes, NULL, 0, VIDMM_SUBMIT_RESUBMISSION),
                     VIDMM_INVALID);
    assert_int_equal(vidmm_state_hash(f.ad), before);
    fx_settle(&f);
    assert_int_equal(f.tap.submit_private_bytes, 256);
    fx_close(&f);
}

static void packets_of_a_context_execute_in_order(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, words[2 * REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    (void)client_memory(&c, KIB(64), SET_64K, &va);
    struct vidmm_context *other = client_context(&c, REF_NODE_COPY);
    for (uint32_t i = 0; i < 50; i++) { /* each packet copies what the one before has written */
        uint32_t n = ref_emit_copy(words, va + 8 * (i + 1), va + 8 * i, 8);
        n += ref_emit_add64(words + n, va + 8 * (i + 1), 1);
        assert_int_equal(client_submit_on(&c, c.context, words, n), VIDMM_OK);
        assert_int_equal(client_submit_on(&c, other, words, ref_emit_spin(words, 2)), VIDMM_OK);
    }
    fx_settle(&f);
    assert_int_equal(gpu_read(&c, va + 8 * 50), 50);
    fx_close(&f);
}

static void null_packets_pass_through_the_queue(void **state)
{
    struct fixture f;
    struct client c;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    for (uint64_t i = 0; i < 5; i++) {
        uint64_t value = i + 1; /* an address where nothing is: nothing executes it */
        assert_int_equal(vidmm_context_submit(c.context, 0x1234000, 64, NULL, 0, VIDMM_SUBMIT_NULL),
                         VIDMM_OK);
        assert_int_equal(vidmm_context_signal(c.context, &c.fence, &value, 1), VIDMM_OK);
    }
    client_wait(&c, c.fence, 5);
    assert_int_equal(vidmm_device_state(c.device), VIDMM_DEVICE_ACTIVE);
    fx_close(&f);
}

static void a_packet_the_driver_refuses_ends_its_device_only(void **state)
{
    struct fixture f;
    struct client c, d;
    uint64_t va, words[REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    client_open(&d, &f, NULL);
    (void)client_memory(&d, KIB(64), SET_64K, &va);
    f.tap.submit_answer = VIDMM_INVALID;
    assert_int_equal(client_submit_on(&c, c.context, words, ref_emit_spin(words, 1)), VIDMM_OK);
    fx_settle(&f);
    assert_true(vidmm_device_state(c.device) != VIDMM_DEVICE_ACTIVE);
    assert_int_equal(client_submit_on(&c, c.context, words, 1), VIDMM_DEVICE_LOST);
    gpu_fill(&d, va, 2, KIB(64));
    assert_int_equal(gpu_read(&d, va), 2);
    fx_close(&f);
}

static void destroying_a_context_lets_its_packets_finish(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, words[REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    (void)client_memory(&c, KIB(64), SET_64K, &va);
    struct vidmm_context *ctx = client_context(&c, REF_NODE_COPY);
    for (int i = 0; i < 10; i++)
        assert_int_equal(client_submit_on(&c, ctx, words, ref_emit_add64(words, va, 1)), VIDMM_OK);
    vidmm_context_destroy(ctx);
    fx_settle(&f);
    assert_int_equal(gpu_read(&c, va), 10);
    assert_int_equal(f.tap.count[TAP_DESTROY_CONTEXT], 1);
    fx_close(&f);
}

/* ---- fences -------------------------------------------------------------------------------------- */

static void fences_hold_values_that_grow(void **state)
{
    struct fixture f;
    struct client c;
    struct vidmm_fence *fence;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A); /* S40 */
    client_open(&c, &f, NULL);
    assert_int_equal(vidmm_fence_create(c.device, 40, 0, &fence), VIDMM_OK);
    assert_int_equal(vidmm_fence_value(fence), 40);
    assert_int_equal(*vidmm_fence_cpu_address(fence), 40);
    uint64_t gpu = vidmm_fence_gpu_address(fence);
    assert_true(gpu != 0 && gpu % 8 == 0);
    assert_true(gpu >= 1ull << 47); /* what VidMm picks for itself comes from the upper half */
    assert_int_equal(vidmm_fence_signal(fence, 41), VIDMM_OK);
    uint64_t before = vidmm_state_hash(f.ad);
    assert_int_equal(vidmm_fence_signal(fence, 40), VIDMM_INVALID); /* no rewind */
    assert_int_equal(vidmm_fence_value(fence), 41);
    assert_int_equal(vidmm_state_hash(f.ad), before);
    assert_int_equal(gpu_read(&c, gpu), 41); /* the GPU sees it at its address */
    uint64_t words[REF_WORDS_MAX];
    assert_true(client_run(&c, words, ref_emit_fence_write(words, gpu, 77)));
    assert_int_equal(vidmm_fence_value(fence), 77);
    const uint32_t bad[] = {1u, 1u << 3, 1u << 8, VIDMM_FENCE_NO_SIGNAL | VIDMM_FENCE_NO_WAIT};
    struct vidmm_fence *none = NULL;
    for (size_t i = 0; i < VT_COUNT(bad); i++)
        assert_int_equal(vidmm_fence_create(c.device, 0, bad[i], &none), VIDMM_INVALID);
    assert_null(none);
    fx_close(&f);
}

static void rights_of_a_fence_are_kept(void **state)
{
    struct fixture f;
    struct client c;
    struct vidmm_fence *mute, *deaf, *far;
    uint64_t v = 1;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    assert_int_equal(vidmm_fence_create(c.device, 0, VIDMM_FENCE_NO_SIGNAL, &mute), VIDMM_OK);
    assert_int_equal(vidmm_fence_create(c.device, 0, VIDMM_FENCE_NO_WAIT, &deaf), VIDMM_OK);
    assert_int_equal(vidmm_fence_create(c.device, 0, VIDMM_FENCE_NO_GPU_ACCESS, &far), VIDMM_OK);
    uint64_t before = vidmm_state_hash(f.ad);
    assert_int_equal(vidmm_fence_signal(mute, 1), VIDMM_ACCESS_DENIED);
    assert_int_equal(vidmm_context_signal(c.context, &mute, &v, 1), VIDMM_ACCESS_DENIED);
    assert_int_equal(vidmm_context_wait(c.context, &deaf, &v, 1), VIDMM_ACCESS_DENIED);
    assert_int_equal(vidmm_fence_gpu_address(far), 0);
    struct vidmm_fence *many[VIDMM_WAIT_OBJECTS_MAX + 1];
    uint64_t values[VIDMM_WAIT_OBJECTS_MAX + 1];
    for (uint32_t i = 0; i <= VIDMM_WAIT_OBJECTS_MAX; i++) {
        many[i] = far;
        values[i] = 1;
    }
    assert_int_equal(vidmm_context_wait(c.context, many, values, VIDMM_WAIT_OBJECTS_MAX + 1), VIDMM_INVALID);
    assert_int_equal(vidmm_context_signal(c.context, many, values, VIDMM_WAIT_OBJECTS_MAX + 1),
                     VIDMM_INVALID);
    assert_int_equal(vidmm_context_wait(c.context, many, values, 0), VIDMM_INVALID);
    assert_int_equal(vidmm_state_hash(f.ad), before);
    assert_int_equal(vidmm_context_signal(c.context, many, values, VIDMM_WAIT_OBJECTS_MAX), VIDMM_OK);
    assert_int_equal(vidmm_context_wait(c.context, many, values, VIDMM_WAIT_OBJECTS_MAX), VIDMM_OK);
    fx_settle(&f);
    assert_int_equal(vidmm_fence_value(far), 1);
    assert_int_equal(vidmm_context_pending(c.context), 0);
    fx_close(&f);
}

static void waits_and_signals_order_contexts(void **state)
{
    struct fixture f;
    struct client c;
    struct vidmm_fence *fence[2];
    uint64_t va, words[2 * REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    (void)client_memory(&c, KIB(64), SET_64K, &va);
    struct vidmm_context *other = client_context(&c, REF_NODE_COPY);
    for (int i = 0; i < 2; i++) assert_int_equal(vidmm_fence_create(c.device, 0, 0, &fence[i]), VIDMM_OK);
    for (uint64_t i = 1; i <= 20; i++) { /* ping, pong: each doubles what the other left, and adds one */
        uint32_t n = ref_emit_copy(words, va + 64, va, 8);
        n += ref_emit_add64(words + n, va + 64, 1);
        uint64_t before = i - 1;
        if (i > 1) assert_int_equal(vidmm_context_wait(c.context, &fence[1], &before, 1), VIDMM_OK);
        assert_int_equal(client_submit_on(&c, c.context, words, n), VIDMM_OK);
        assert_int_equal(vidmm_context_signal(c.context, &fence[0], &i, 1), VIDMM_OK);
        assert_int_equal(vidmm_context_wait(other, &fence[0], &i, 1), VIDMM_OK);
        n = ref_emit_copy(words, va, va + 64, 8);
        n += ref_emit_add64(words + n, va, 1);
        assert_int_equal(client_submit_on(&c, other, words, n), VIDMM_OK);
        assert_int_equal(vidmm_context_signal(other, &fence[1], &i, 1), VIDMM_OK);
    }
    fx_settle(&f);
    assert_int_equal(gpu_read(&c, va), 40);
    /* A CPU signal releases at once what waits for it. */
    uint64_t later = 100;
    assert_int_equal(vidmm_context_wait(other, &fence[0], &later, 1), VIDMM_OK);
    assert_int_equal(client_submit_on(&c, other, words, ref_emit_add64(words, va, 2)), VIDMM_OK);
    fx_settle(&f);
    assert_int_equal(vidmm_context_pending(other), 2);
    assert_int_equal(vidmm_fence_signal(fence[0], 100), VIDMM_OK);
    fx_settle(&f);
    assert_int_equal(vidmm_context_pending(other), 0);
    assert_int_equal(gpu_read(&c, va), 42);
    fx_close(&f);
}

/* ---- faults -------------------------------------------------------------------------------------- */

/* It refuses work; asking, freeing and destroying still work. */
static void a_lost_device_refuses_work(struct client *c, struct vidmm_open *own, struct vidmm_fence *fence)
{
    uint64_t words[1] = {0}, value = 1, trim, va;
    struct vidmm_map m = {.open = own, .bytes = KIB(64)};
    struct vidmm_context_desc cd = {.node = 0};
    struct vidmm_context *ctx;
    struct vidmm_queue *q;
    struct vidmm_open *op;
    struct vidmm_fence *other;
    void *cpu;
    assert_int_equal(client_submit_on(c, c->context, words, 1), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_context_wait(c->context, &fence, &value, 1), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_context_signal(c->context, &fence, &value, 1), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_make_resident(c->queue, &own, 1, 0, &value, &trim), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_va_map(c->queue, &m, &va, &value), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_context_create(c->device, &cd, &ctx), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_queue_create(c->device, 0, &q), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_fence_create(c->device, 0, 0, &other), VIDMM_DEVICE_LOST);
    assert_int_equal(client_try_alloc(c, &(struct fx_alloc){.bytes = 1}, &op), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_open_lock(own, &cpu), VIDMM_DEVICE_LOST);
}

static void a_fault_ends_one_device_and_nobody_else(void **state)
{
    struct fixture f;
    struct client d1, d2;
    uint64_t va, mine, words[REF_WORDS_MAX];
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format); /* S24 (b) */
        client_open(&d1, &f, NULL);
        client_open(&d2, &f, NULL);
        struct vidmm_open *own = client_memory(&d1, KIB(64), SET_64K, &mine);
        (void)client_memory(&d2, KIB(64), SET_64K, &va);
        fx_settle(&f);
        tap_clear(&f.tap);
        struct vidmm_fence *stay, *fence;
        assert_int_equal(vidmm_fence_create(d1.device, 3, VIDMM_FENCE_NO_MAX_ON_LOSS, &stay), VIDMM_OK);
        assert_int_equal(vidmm_fence_create(d1.device, 3, 0, &fence), VIDMM_OK);
        uint32_t n = ref_emit_copy(words, d1.buffer_va, 0x3333000, 8);
        assert_int_equal(client_submit_on(&d1, d1.context, words, n), VIDMM_OK);
        for (int i = 0; i < 5; i++) /* behind it on the same engine */
            assert_int_equal(client_submit_on(&d2, d2.context, words, ref_emit_add64(words, va, 1)),
                             VIDMM_OK);
        for (int i = 0; i < 3; i++)
            assert_int_equal(client_submit_on(&d1, d1.context, words, ref_emit_add64(words, mine, 1)),
                             VIDMM_OK);
        fx_settle(&f);
        struct vidmm_page_fault fault;
        assert_int_equal(vidmm_device_state(d1.device), VIDMM_DEVICE_PAGE_FAULT);
        assert_int_equal(vidmm_device_fault(d1.device, &fault), VIDMM_OK);
        assert_int_equal(fault.va, 0x3333000);
        assert_int_equal(fault.node, REF_NODE_COMPUTE);
        assert_int_equal(fault.flags & VIDMM_FAULT_WRITE, 0);
        assert_int_equal(f.tap.count[TAP_RESET], 1); /* an engine reset, once */
        assert_int_equal(tap_find(&f.tap, TAP_RESET, 0)->fence_id, fault.fence_id);
        assert_int_equal(vidmm_device_state(d2.device), VIDMM_DEVICE_ACTIVE);
        assert_int_equal(vidmm_device_fault(d2.device, &fault), VIDMM_INVALID);
        assert_int_equal(gpu_read(&d2, va), 5); /* each packet of the other device, once */
        assert_int_equal(vidmm_fence_value(fence), UINT64_MAX); /* nobody waits for ever */
        assert_int_equal(vidmm_fence_value(stay), 3);
        a_lost_device_refuses_work(&d1, own, fence);
        assert_int_equal(vidmm_va_free(d1.process, mine, KIB(64)), VIDMM_OK);
        vidmm_open_close(own, 0);
        fx_settle(&f);
        fx_verify(&f);
        fx_close(&f);
    }
}

static void all_kinds_of_invalid_access_fault(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        gpu_read_faults(&c, 0);
        client_open(&c, &f, NULL);
        (void)client_memory(&c, KIB(64), SET_4K, &va);
        gpu_fill(&c, va, 1, PAGE);
        gpu_read_faults(&c, va + KIB(64));
        client_open(&c, &f, NULL);
        struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64)});
        va = client_map(&c, op, 0, 0, 0, 0);
        gpu_read_faults(&c, va); /* behind it an allocation that is not resident */
        client_open(&c, &f, NULL);
        uint64_t bad = 0xffffull; /* and a malformed command, for its own address */
        assert_false(client_run(&c, &bad, 1));
        assert_true(vidmm_device_state(c.device) != VIDMM_DEVICE_ACTIVE);
        fx_close(&f);
    }
}

static void a_fault_reveals_and_changes_nothing_of_others(void **state)
{
    struct fixture f;
    struct client a, b, again;
    uint64_t secret, words[REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&a, &f, NULL);
    client_open(&b, &f, NULL);
    struct vidmm_open *op = client_alloc(&b, &(struct fx_alloc){.bytes = MIB(1), .set = SET_64K});
    client_resident(&b, op);
    secret = client_map(&b, op, BASE, 0, 0, VIDMM_PROT_WRITE);
    gpu_fill(&b, secret, 0x5ec2e7, MIB(1));
    assert_int_equal(client_submit_on(&a, a.context, words, ref_emit_fill(words, secret, 0, MIB(1))),
                     VIDMM_OK);
    fx_settle(&f);
    assert_int_equal(vidmm_device_state(a.device), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(gpu_sum(&b, secret, MIB(1)), sum_of_pattern(0x5ec2e7, MIB(1)));
    vidmm_process_destroy(a.process); /* its tables go, and the same addresses mean something else later */
    fx_forget(&f, a.process);
    fx_settle(&f);
    client_open(&again, &f, NULL);
    gpu_read_faults(&again, secret);
    fx_close(&f);
}

static void a_failed_engine_reset_resets_the_adapter(void **state)
{
    struct fixture f;
    struct client a, b;
    uint64_t words[REF_WORDS_MAX], value = 9, trim;
    struct vidmm_open *op;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A); /* S25 */
    client_open(&a, &f, NULL);
    client_open(&b, &f, NULL);
    op = client_alloc(&b, &(struct fx_alloc){.bytes = KIB(64), .set = SET_64K});
    assert_int_equal(vidmm_context_wait(b.context, &b.fence, &value, 1), VIDMM_OK);
    struct softgpu_knobs k = fx_knobs(&f);
    k.fail_reset = true;
    fx_set_knobs(&f, &k);
    assert_int_equal(client_submit_on(&a, a.context, words, ref_emit_fill(words, 0x5000, 0, 4)), VIDMM_OK);
    fx_settle(&f);
    assert_int_equal(vidmm_device_state(a.device), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(vidmm_device_state(b.device), VIDMM_DEVICE_RESET);
    assert_int_equal(f.tap.count[TAP_RESET], 1);
    assert_int_equal(f.tap.count[TAP_STOP_ALL], 1);
    assert_int_equal(f.tap.count[TAP_RESTART_ALL], 1);
    assert_int_equal(vidmm_fence_value(b.fence), UINT64_MAX);
    assert_int_equal(vidmm_make_resident(b.queue, &op, 1, 0, &value, &trim), VIDMM_DEVICE_LOST);
    struct client c; /* at once, by new devices, everything works */
    client_open(&c, &f, NULL);
    uint64_t at;
    (void)client_memory(&c, KIB(64), SET_64K, &at);
    gpu_fill(&c, at, 77, KIB(64));
    assert_int_equal(gpu_sum(&c, at, KIB(64)), sum_of_pattern(77, KIB(64)));
    for (uint32_t i = 0; i < f.process_count; i++) vidmm_process_destroy(f.process[i]);
    f.process_count = 0;
    fx_settle(&f); /* everything can still be given back */
    struct world_accounts acc;
    vidmm_adapter_destroy(f.ad);
    world_own(f.world, NULL);
    world_get_accounts(f.world, &acc);
    assert_int_equal(acc.blocks + acc.frames + acc.errors, 0);
    ref_destroy(f.ref);
    tap_fini(&f.tap);
    world_destroy(f.world);
}

static void vanished_host_memory_is_a_fault(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_memory(&c, KIB(64), SET_SYSTEM, &va);
    gpu_fill(&c, va, 3, KIB(64));
    struct vidmm_placement_info p;
    vidmm_open_placement(op, &p);
    world_set_access(f.world, p.offset / PAGE + 3, 1, WORLD_GONE);
    assert_int_equal(gpu_read(&c, va + 2 * PAGE), 3);
    gpu_read_faults(&c, va + 3 * PAGE);
    struct vidmm_page_fault fault;
    assert_int_equal(vidmm_device_fault(c.device, &fault), VIDMM_OK);
    assert_int_equal(fault.error_code, SOFTGPU_ERROR_VANISHED);
    fx_close(&f);
}

/* The same story from the engine's side: without a reset nothing runs on it any more. */
static void a_fault_resets_the_engine_it_happened_on(void **state)
{
    a_fault_ends_one_device_and_nobody_else(state);
}

static const struct vt_case cases[] = {
    VT_TEST(user_mode_submits_finished_command_buffers, "SUB-01 SUB-09", "SUB-01"),
    VT_TEST(a_submission_carries_no_lists, "SUB-02 SUB-06", "SUB-02"),
    VT_TEST(packets_of_a_context_execute_in_order, "SUB-11", NULL),
    VT_TEST(null_packets_pass_through_the_queue, "SUB-33", NULL),
    VT_TEST(a_packet_the_driver_refuses_ends_its_device_only, "SUB-08", NULL),
    VT_TEST(destroying_a_context_lets_its_packets_finish, "SUB-34", NULL),
    VT_TEST(fences_hold_values_that_grow, "SUB-13 SUB-14 SUB-21", NULL),
    VT_TEST(rights_of_a_fence_are_kept, "SUB-18 SUB-22", NULL),
    VT_TEST(waits_and_signals_order_contexts, "SUB-15 SUB-16", NULL),
    VT_TEST(a_fault_ends_one_device_and_nobody_else, "FLT-01 FLT-05 FLT-09 FLT-10 FLT-11 SUB-20", "FLT-01"),
    VT_TEST(a_fault_resets_the_engine_it_happened_on, "FLT-02", "FLT-02"),
    VT_TEST(all_kinds_of_invalid_access_fault, "FLT-04 FLT-08", NULL),
    VT_TEST(a_fault_reveals_and_changes_nothing_of_others, "FLT-23", NULL),
    VT_TEST(a_failed_engine_reset_resets_the_adapter, "FLT-03 FLT-17 FLT-18 SUB-20", "FLT-03"),
    VT_TEST(vanished_host_memory_is_a_fault, "", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "model_submission", cases, VT_COUNT(cases)); }
