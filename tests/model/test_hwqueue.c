/* SPDX-License-Identifier: MIT */
/* test_hwqueue.c - hardware queues: work that starts without VidMm, and memory that must be right all the
 * same (rows SUB-04, SUB-24 to SUB-26, PHY-07). */
#include "fixture.h"

#include <stdlib.h>

/* A device with one hardware context and one queue on a node. */
struct hwq { struct vidmm_hwcontext *c; struct vidmm_hwqueue *q; uint64_t progress; };

static struct hwq hwq_open(struct client *c, uint32_t node)
{
    struct hwq h = {0};
    struct vidmm_hwcontext_desc cd = {.node = node};
    struct vidmm_hwqueue_desc qd = {0};
    assert_int_equal(vidmm_hwcontext_create(c->device, &cd, &h.c), VIDMM_OK);
    assert_int_equal(vidmm_hwqueue_create(h.c, &qd, &h.q), VIDMM_OK);
    return h;
}

static vidmm_status hwq_submit(struct client *c, struct hwq *h, const uint64_t *words, uint32_t n)
{
    uint32_t bytes;
    uint64_t va = client_commands(c, words, n, &bytes);
    return vidmm_hwqueue_submit(h->q, va, bytes, NULL, 0, ++h->progress);
}

static void hwq_put(struct client *c, struct hwq *h, const uint64_t *words, uint32_t n)
{
    assert_int_equal(hwq_submit(c, h, words, n), VIDMM_OK);
}

static uint64_t hwq_done(const struct hwq *h) { return vidmm_fence_value(vidmm_hwqueue_progress(h->q)); }

static void hwq_wait(struct client *c, struct hwq *h)
{
    client_wait(c, vidmm_hwqueue_progress(h->q), h->progress);
    assert_int_equal(vidmm_device_state(c->device), VIDMM_DEVICE_ACTIVE);
}

static struct vidmm_fence *fence_new(struct client *c, uint64_t value)
{
    struct vidmm_fence *f;
    assert_int_equal(vidmm_fence_create(c->device, value, 0, &f), VIDMM_OK);
    return f;
}

/* The engine alone: nobody calls vidmm_run. */
static void engine_only(struct fixture *f, uint32_t node)
{
    uint32_t rest = 0;
    for (uint32_t i = 0; i < 100000 && rest < 4; i++)
        rest = softgpu_engine_step(f->gpu, node) == SOFTGPU_PROGRESS ? 0 : rest + 1;
}

static uint64_t runs(struct fixture *f)
{
    struct world_accounts a;
    world_get_accounts(f->world, &a);
    return a.runs;
}

static uint32_t place(const struct vidmm_open *op)
{
    struct vidmm_placement_info p;
    vidmm_open_placement(op, &p);
    return p.resident ? p.segment : 99;
}

/* ---- queues --------------------------------------------------------------------------------------- */

/* If an entry needed a turn of VidMm between the call and its execution, work could not be submitted by the
 * hardware's own means at all. */
static void entries_execute_without_vidmm(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, words[REF_WORDS_MAX];
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        (void)client_memory(&c, KIB(64), SET_64K, &va);
        struct hwq h = hwq_open(&c, REF_NODE_COMPUTE);
        assert_true(vidmm_fence_gpu_address(vidmm_hwqueue_progress(h.q)) != 0);
        assert_int_equal(hwq_done(&h), 0);
        fx_settle(&f); /* the context runs from here on */
        uint64_t before = runs(&f), packets = f.tap.count[TAP_SUBMIT];
        for (uint64_t i = 1; i <= 100; i++) {
            hwq_put(&c, &h, words, ref_emit_add64(words, va, 3));
            assert_int_equal(f.tap.hw.commands, i); /* handed over at the call */
            assert_int_equal(f.tap.hw.submit.progress, i);
            if (i % 10 != 0) continue;
            engine_only(&f, REF_NODE_COMPUTE);
            assert_int_equal(hwq_done(&h), i);
            assert_int_equal(vidmm_hwqueue_pending(h.q), 0);
        }
        assert_int_equal(runs(&f), before);
        assert_int_equal(f.tap.count[TAP_SUBMIT], packets); /* nothing went through the packet scheduler */
        assert_int_equal(f.tap.hw.private_bytes, 0);        /* nor was a list attached */
        assert_int_equal(gpu_read(&c, va), 300);
        fx_close(&f);
        f.tap.hw = (struct tap_hw){0};
    }
}

/* The progress fence shows every id in turn and never one too early. */
static void progress_follows_execution(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, words[2 * REF_WORDS_MAX], last = 0;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_memory(&c, KIB(64), SET_SYSTEM, &va);
    void *cpu;
    struct hwq h = hwq_open(&c, REF_NODE_COPY);
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_OK);
    for (uint64_t i = 1; i <= 50; i++) {
        uint32_t n = ref_emit_spin(words, 3);
        hwq_put(&c, &h, words, n + ref_emit_write64(words + n, va, i));
    }
    for (uint32_t i = 0; i < 100000 && last < 50; i++) {
        (void)world_turn(f.world);
        uint64_t now = hwq_done(&h);
        assert_true(now == last || now == last + 1);
        assert_true(*(volatile uint64_t *)cpu >= now);
        last = now;
    }
    assert_int_equal(last, 50);
    assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
    fx_close(&f);
}

static void waits_and_signals_are_entries_of_the_queue(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, words[REF_WORDS_MAX], one = 1, two = 2;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    (void)client_memory(&c, KIB(64), SET_64K, &va);
    struct hwq a = hwq_open(&c, REF_NODE_COMPUTE), b = hwq_open(&c, REF_NODE_COPY);
    struct vidmm_fence *pair[2] = {fence_new(&c, 0), fence_new(&c, 0)};
    uint64_t both[2] = {1, 2};
    fx_settle(&f);
    uint64_t before = runs(&f);
    assert_int_equal(vidmm_hwqueue_wait(a.q, pair, both, 2), VIDMM_OK);
    hwq_put(&c, &a, words, ref_emit_add64(words, va, 1));
    assert_int_equal(vidmm_hwqueue_signal(b.q, &pair[0], &one, 1), VIDMM_OK);
    assert_int_equal(f.tap.hw.waits, 1);
    assert_int_equal(f.tap.hw.signals, 1);
    assert_int_equal(f.tap.hw.sync.va, vidmm_fence_gpu_address(pair[0]));
    assert_int_equal(f.tap.hw.sync.value, 1);
    engine_only(&f, REF_NODE_COMPUTE);
    engine_only(&f, REF_NODE_COPY);
    engine_only(&f, REF_NODE_COMPUTE);
    assert_int_equal(vidmm_fence_value(pair[0]), 1);
    assert_int_equal(hwq_done(&a), 0); /* one of two is not enough */
    assert_int_equal(vidmm_fence_signal(pair[1], two), VIDMM_OK);
    engine_only(&f, REF_NODE_COMPUTE);
    assert_int_equal(hwq_done(&a), 1);
    assert_int_equal(runs(&f), before);
    /* A signal that comes late does not take a fence back. */
    assert_int_equal(vidmm_fence_signal(pair[0], 9), VIDMM_OK);
    assert_int_equal(vidmm_hwqueue_signal(a.q, &pair[0], &two, 1), VIDMM_OK);
    fx_settle(&f);
    assert_int_equal(vidmm_fence_value(pair[0]), 9);
    fx_close(&f);
}

/* A queue that waits keeps neither its node's other queues nor the packets of the scheduler waiting. */
static void a_waiting_queue_is_set_aside(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, words[REF_WORDS_MAX], one = 1;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    (void)client_memory(&c, KIB(64), SET_64K, &va);
    struct hwq a = hwq_open(&c, REF_NODE_COMPUTE), b = hwq_open(&c, REF_NODE_COMPUTE);
    struct vidmm_fence *gate = fence_new(&c, 0), *inner = fence_new(&c, 0);
    assert_int_equal(vidmm_hwqueue_wait(a.q, &gate, &one, 1), VIDMM_OK);
    hwq_put(&c, &a, words, ref_emit_add64(words, va, 1));
    hwq_put(&c, &b, words, ref_emit_fence_wait(words, vidmm_fence_gpu_address(inner), 1));
    hwq_put(&c, &b, words, ref_emit_add64(words, va, 10));
    fx_settle(&f);
    assert_int_equal(hwq_done(&a) + hwq_done(&b), 0);
    assert_int_equal(gpu_read(&c, va), 0); /* a packet of the same node gets through */
    assert_int_equal(vidmm_fence_signal(inner, 1), VIDMM_OK);
    fx_settle(&f);
    assert_int_equal(hwq_done(&b), 2);
    assert_int_equal(hwq_done(&a), 0);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_settle(&f);
    assert_int_equal(gpu_read(&c, va), 11);
    fx_close(&f);
}

static void requests_are_refused_without_effect(void **state)
{
    struct fixture f;
    struct client c, d;
    uint64_t words[REF_WORDS_MAX], one = 1;
    uint8_t data[512] = {0};
    uint32_t bytes;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    client_open(&d, &f, NULL);
    struct hwq h = hwq_open(&c, REF_NODE_COMPUTE);
    struct vidmm_fence *far = fence_new(&d, 0), *deaf, *mute, *cpu_only;
    assert_int_equal(vidmm_fence_create(c.device, 0, VIDMM_FENCE_NO_WAIT, &deaf), VIDMM_OK);
    assert_int_equal(vidmm_fence_create(c.device, 0, VIDMM_FENCE_NO_SIGNAL, &mute), VIDMM_OK);
    assert_int_equal(vidmm_fence_create(c.device, 0, VIDMM_FENCE_NO_GPU_ACCESS, &cpu_only), VIDMM_OK);
    uint64_t va = client_commands(&c, words, ref_emit_spin(words, 1), &bytes);
    assert_int_equal(vidmm_hwqueue_submit(h.q, va, bytes, data, 256, 5), VIDMM_OK);
    fx_settle(&f);
    uint64_t before = vidmm_state_hash(f.ad);
    struct vidmm_hwcontext *hc;
    struct vidmm_hwqueue *hq;
    struct vidmm_hwcontext_desc paging = {.node = REF_NODE_PAGING}, none = {.node = REF_NODE_COUNT};
    struct vidmm_hwqueue_desc odd = {.flags = 1u << 31};
    assert_int_equal(vidmm_hwcontext_create(c.device, &paging, &hc), VIDMM_NOT_SUPPORTED);
    assert_int_equal(vidmm_hwcontext_create(c.device, &none, &hc), VIDMM_INVALID);
    assert_int_equal(vidmm_hwqueue_create(h.c, &odd, &hq), VIDMM_INVALID);
    assert_int_equal(vidmm_hwqueue_submit(h.q, va, bytes, NULL, 0, 5), VIDMM_INVALID); /* ids grow */
    assert_int_equal(vidmm_hwqueue_submit(h.q, va, bytes, NULL, 0, 4), VIDMM_INVALID);
    assert_int_equal(vidmm_hwqueue_submit(h.q, va, bytes, NULL, 0, 0), VIDMM_INVALID);
    assert_int_equal(vidmm_hwqueue_submit(h.q, va, bytes, data, 257, 6), VIDMM_LIMIT);
    assert_int_equal(vidmm_hwqueue_submit(h.q, va, bytes, NULL, 8, 6), VIDMM_INVALID);
    assert_int_equal(vidmm_hwqueue_submit(h.q, va + 1, bytes, NULL, 0, 6), VIDMM_INVALID); /* the driver's */
    assert_int_equal(vidmm_hwqueue_wait(h.q, &far, &one, 1), VIDMM_INVALID); /* of another process */
    assert_int_equal(vidmm_hwqueue_wait(h.q, &cpu_only, &one, 1), VIDMM_INVALID);
    assert_int_equal(vidmm_hwqueue_wait(h.q, &deaf, &one, 1), VIDMM_ACCESS_DENIED);
    assert_int_equal(vidmm_hwqueue_signal(h.q, &mute, &one, 1), VIDMM_ACCESS_DENIED);
    struct vidmm_fence *own = vidmm_hwqueue_progress(h.q), *paging_fence = vidmm_queue_fence(c.queue);
    assert_int_equal(vidmm_hwqueue_signal(h.q, &own, &one, 1), VIDMM_ACCESS_DENIED);
    assert_int_equal(vidmm_fence_signal(own, 9), VIDMM_ACCESS_DENIED);
    assert_int_equal(vidmm_hwqueue_signal(h.q, &paging_fence, &one, 1), VIDMM_ACCESS_DENIED);
    assert_int_equal(vidmm_hwqueue_wait(h.q, &mute, &one, 0), VIDMM_INVALID);
    assert_int_equal(vidmm_state_hash(f.ad), before);
    fx_close(&f);
}

/* A paging fence may be waited for by the queue, whatever the page size, the format or the length of the
 * queue: entries beyond the driver's first array arrive as well. */
static void long_queues_keep_their_order(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, words[2 * REF_WORDS_MAX], one = 1;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    (void)client_memory(&c, KIB(64), SET_64K, &va);
    struct hwq h = hwq_open(&c, REF_NODE_COMPUTE);
    struct vidmm_fence *gate = fence_new(&c, 0);
    assert_int_equal(vidmm_hwqueue_wait(h.q, &gate, &one, 1), VIDMM_OK);
    for (uint32_t i = 0; i < 300; i++) { /* each copies what the one before has written */
        uint32_t n = ref_emit_copy(words, va + 8 * (i + 1), va + 8 * i, 8);
        hwq_put(&c, &h, words, n + ref_emit_add64(words + n, va + 8 * (i + 1), 1));
    }
    fx_settle(&f);
    assert_int_equal(vidmm_hwqueue_pending(h.q), 301);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    hwq_wait(&c, &h);
    assert_int_equal(gpu_read(&c, va + 8 * 300), 300);
    fx_close(&f);
}

/* ---- residency ------------------------------------------------------------------------------------ */

/* A driver with hardware queues has nothing but the fence value: if it comes before the pages, the entries
 * and the flushes, the queue reads something else or faults. */
static void paging_fences_are_right_without_a_gate(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t words[REF_WORDS_MAX], small;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        (void)client_memory(&c, KIB(64), SET_64K, &small);
        struct hwq h = hwq_open(&c, REF_NODE_COMPUTE), busy = hwq_open(&c, REF_NODE_COPY);
        fx_settle(&f);
        struct softgpu_knobs k = fx_knobs(&f);
        k.paging_delay_ns = 100000;
        fx_set_knobs(&f, &k);
        struct vidmm_fence *paging = vidmm_queue_fence(c.queue);
        for (uint32_t i = 0; i < 6; i++) {
            uint64_t map = 0, resident = 0, trim, va;
            struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = MIB(6), .set = SET_64K,
                                                                        .preferred = 1});
            struct vidmm_map m = {.open = op, .bytes = MIB(6), .protection = VIDMM_PROT_WRITE};
            assert_true(vidmm_make_resident(c.queue, &op, 1, 0, &resident, &trim) >= 0);
            assert_true(vidmm_va_map(c.queue, &m, &va, &map) >= 0);
            assert_int_equal(vidmm_hwqueue_wait(h.q, &paging, &map, 1), VIDMM_OK);
            hwq_put(&c, &h, words, ref_emit_fill(words, va, 0x51515151 + i, MIB(6)));
            /* what does not use it goes on meanwhile: the gate of the packet scheduler is not there */
            uint64_t suspends = f.tap.hw.suspends;
            hwq_put(&c, &busy, words, ref_emit_add64(words, small, 1));
            client_wait(&c, vidmm_hwqueue_progress(busy.q), busy.progress);
            bool gated = vidmm_fence_value(paging) >= map || f.tap.hw.suspends != suspends;
            hwq_wait(&c, &h);
            assert_false(i == 0 && gated);
            assert_int_equal(gpu_sum(&c, va, MIB(6)), sum_of_pattern(0x51515151 + i, MIB(6)));
            client_evict(&c, op);
        }
        fx_close(&f);
    }
}

/* Two devices whose memory does not fit together, each kept busy by a queue: without suspension one would
 * write into what has become the other's. */
static void memory_is_taken_from_suspended_contexts_only(void **state)
{
    struct fixture f;
    struct client c[2];
    struct hwq h[2];
    uint64_t va[2], words[2 * REF_WORDS_MAX];
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        for (uint32_t i = 0; i < 2; i++) {
            client_open(&c[i], &f, NULL);
            (void)client_memory(&c[i], MIB(10), SET_64K, &va[i]);
            gpu_fill(&c[i], va[i], 0, MIB(10));
            h[i] = hwq_open(&c[i], REF_NODE_COMPUTE);
        }
        uint64_t rounds = vt_rounds(40);
        for (uint32_t k = 0; k < rounds; k++) {
            for (uint32_t i = 0; i < 2; i++) {
                uint32_t n = ref_emit_fill(words, va[i] + MIB(5), (k << 1 | i) * 0x01010101u, MIB(5));
                hwq_put(&c[i], &h[i], words, n + ref_emit_add64(words + n, va[i], 1));
            }
            for (uint32_t turn = 0; turn < 50; turn++) (void)world_turn(f.world);
            if (k % 8 == 0) fx_verify(&f);
        }
        for (uint32_t i = 0; i < 2; i++) hwq_wait(&c[i], &h[i]);
        for (uint32_t i = 0; i < 2; i++) {
            uint32_t pattern = ((uint32_t)(rounds - 1) << 1 | i) * 0x01010101u;
            assert_int_equal(gpu_read(&c[i], va[i]), rounds);
            assert_int_equal(gpu_sum(&c[i], va[i] + MIB(5), MIB(5)), sum_of_pattern(pattern, MIB(5)));
        }
        assert_true(f.tap.hw.suspends > 1);
        fx_close(&f);
    }
}

/* Nothing the context uses moves before the acknowledgement of the newest request: neither by hope nor by an
 * answer to an older one. */
static void only_the_newest_acknowledgement_counts(void **state)
{
    struct fixture f;
    struct client c, d;
    uint64_t va, other;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    client_open(&d, &f, NULL);
    struct vidmm_open *op = client_memory(&c, MIB(10), SET_64K, &va);
    struct hwq h = hwq_open(&c, REF_NODE_COMPUTE);
    fx_settle(&f);
    f.tap.hw.hold_suspends = true;
    struct vidmm_open *big = client_alloc(&d, &(struct fx_alloc){.bytes = MIB(10), .set = SET_64K,
                                                                 .preferred = 1});
    uint64_t value, trim, suspends = f.tap.hw.suspends;
    assert_int_equal(vidmm_make_resident(d.queue, &big, 1, 0, &value, &trim), VIDMM_PENDING);
    (void)vidmm_run(f.ad, world_now_ns(f.world));
    assert_int_equal(f.tap.hw.suspends, suspends + 1);
    assert_true(f.tap.hw.suspend_value > 0);
    uint64_t outs = vidmm_adapter_counters(f.ad)->page_outs;
    vidmm_notify_context_suspended(h.c, f.tap.hw.suspend_value - 1);
    for (int i = 0; i < 50; i++) (void)vidmm_run(f.ad, world_now_ns(f.world));
    assert_int_equal(place(op), 1);
    assert_int_equal(vidmm_adapter_counters(f.ad)->page_outs, outs);
    assert_int_equal(f.tap.hw.suspends, suspends + 1); /* asked once */
    fx_verify(&f);
    f.tap.hw.hold_suspends = false;
    assert_int_equal(f.tap.inner->hw->suspend_context(f.tap.inner_kmd, f.tap.hw.suspended, 77), VIDMM_OK);
    vidmm_notify_context_suspended(h.c, f.tap.hw.suspend_value);
    client_wait(&d, vidmm_queue_fence(d.queue), value);
    assert_int_equal(place(big), 1);
    assert_true(place(op) != 1);
    other = client_map(&d, big, 0, 0, 0, VIDMM_PROT_WRITE);
    gpu_fill(&d, other, 7, MIB(10));
    fx_close(&f);
}

/* Each request has a value of its own, larger than the one before. */
static void suspension_values_grow(void **state)
{
    struct fixture f;
    struct client c, d;
    uint64_t va[2], words[REF_WORDS_MAX], last = 0;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    client_open(&d, &f, NULL);
    (void)client_memory(&c, MIB(10), SET_64K, &va[0]);
    struct hwq h = hwq_open(&c, REF_NODE_COMPUTE);
    (void)client_memory(&d, MIB(10), SET_64K, &va[1]);
    for (uint32_t i = 0; i < 5; i++) {
        hwq_put(&c, &h, words, ref_emit_add64(words, va[0], 1));
        hwq_wait(&c, &h);
        gpu_fill(&d, va[1], i, MIB(10));
        assert_true(f.tap.hw.suspend_value > last);
        last = f.tap.hw.suspend_value;
    }
    assert_int_equal(gpu_read(&c, va[0]), 5);
    fx_close(&f);
}

static void open_with_timeouts(struct fixture *f)
{
    struct fx_options o;
    fx_options(&o, REF_FORMAT_A);
    o.timeouts = true;
    (void)fx_open(f, &o);
}

/* A context that never answers is stopped by a reset of its engine, and its device is the one that pays. */
static void no_acknowledgement_means_a_reset(void **state)
{
    struct fixture f;
    struct client c, d;
    uint64_t va, other, words[REF_WORDS_MAX], value, trim;
    (void)state;
    open_with_timeouts(&f);
    client_open(&c, &f, NULL);
    client_open(&d, &f, NULL);
    (void)client_memory(&c, MIB(10), SET_64K, &va);
    struct hwq h = hwq_open(&c, REF_NODE_COMPUTE), innocent = hwq_open(&d, REF_NODE_COMPUTE);
    struct vidmm_open *big = client_alloc(&d, &(struct fx_alloc){.bytes = MIB(10), .set = SET_64K,
                                                                 .preferred = 1});
    other = client_map(&d, big, 0, 0, 0, VIDMM_PROT_WRITE);
    hwq_put(&c, &h, words, ref_emit_spin(words, 100000));
    for (int i = 0; i < 40; i++) (void)world_turn(f.world);
    struct softgpu_knobs k = fx_knobs(&f);
    k.hang_nodes = 1u << REF_NODE_COMPUTE;
    fx_set_knobs(&f, &k);
    assert_int_equal(vidmm_make_resident(d.queue, &big, 1, 0, &value, &trim), VIDMM_PENDING);
    uint64_t start = world_now_ns(f.world);
    client_wait(&d, vidmm_queue_fence(d.queue), value);
    assert_true(world_now_ns(f.world) - start >= 2000000000ull);
    assert_int_equal(f.tap.count[TAP_RESET], 1);
    assert_int_equal(vidmm_device_state(c.device), VIDMM_DEVICE_HUNG);
    assert_int_equal(hwq_done(&h), UINT64_MAX);
    assert_int_equal(hwq_submit(&c, &h, words, 1), VIDMM_DEVICE_LOST);
    k.hang_nodes = 0;
    fx_set_knobs(&f, &k);
    hwq_put(&d, &innocent, words, ref_emit_fill(words, other, 3, MIB(10)));
    hwq_wait(&d, &innocent);
    assert_int_equal(gpu_read(&d, other), 3);
    fx_close(&f);
}

/* An entry that never ends is found although nobody wants the engine's context suspended, and a packet that
 * waits behind it for the engine is not blamed. */
static void entries_that_stand_still_end_their_device(void **state)
{
    struct fixture f;
    struct client c, d;
    uint64_t va, words[REF_WORDS_MAX], one = 1;
    (void)state;
    for (uint32_t packets = 0; packets < 2; packets++) {
        open_with_timeouts(&f);
        client_open(&c, &f, NULL);
        client_open(&d, &f, NULL);
        (void)client_memory(&d, KIB(64), SET_64K, &va);
        struct hwq h = hwq_open(&c, REF_NODE_COMPUTE), good = hwq_open(&d, REF_NODE_COMPUTE);
        struct vidmm_fence *late = fence_new(&d, 0);
        assert_int_equal(vidmm_hwqueue_wait(good.q, &late, &one, 1), VIDMM_OK); /* may wait for long */
        hwq_put(&d, &good, words, ref_emit_add64(words, va, 1));
        hwq_put(&c, &h, words, ref_emit_hang(words));
        uint64_t start = world_now_ns(f.world);
        for (uint32_t i = 0; i < packets; i++) {
            for (uint32_t turn = 0; turn < 20; turn++) (void)world_turn(f.world); /* behind it */
            assert_int_equal(client_submit_on(&d, d.context, words, ref_emit_add64(words, va, 1)), VIDMM_OK);
        }
        fx_settle(&f);
        assert_true(world_now_ns(f.world) - start >= 1900000000ull);
        assert_int_equal(vidmm_device_state(c.device), VIDMM_DEVICE_HUNG);
        assert_int_equal(hwq_done(&h), UINT64_MAX);
        assert_int_equal(vidmm_device_state(d.device), VIDMM_DEVICE_ACTIVE);
        assert_int_equal(vidmm_fence_signal(late, 1), VIDMM_OK);
        hwq_wait(&d, &good);
        assert_int_equal(gpu_read(&d, va), 1 + packets);
        fx_close(&f);
    }
}

static void give(struct client *c, struct hwq *h, bool queue, uint64_t *words, uint32_t n)
{
    if (queue) hwq_put(c, h, words, n);
    else assert_int_equal(client_submit_on(c, c->context, words, n), VIDMM_OK);
}

/* A packet or an entry hangs; a packet or an entry of somebody else waits for the engine, given sooner or
 * later. Only the first one's device ends, by a reset of the engine; often: one timeout is one too many. */
static void hang_beside(bool guilty_queue, bool other_queue, uint32_t turns, bool often)
{
    const uint32_t before = turns % 2, between = turns / 2;
    struct fixture f;
    struct client c, d;
    struct fx_options o;
    uint64_t va, words[REF_WORDS_MAX];
    fx_options(&o, REF_FORMAT_A);
    o.timeouts = true;
    if (often) o.tdr_limit = 1;
    (void)fx_open(&f, &o);
    client_open(&c, &f, NULL);
    client_open(&d, &f, NULL);
    (void)client_memory(&d, KIB(64), SET_64K, &va);
    struct hwq bad = hwq_open(&c, REF_NODE_COMPUTE), good = hwq_open(&d, REF_NODE_COMPUTE);
    for (uint32_t i = 0; i < before; i++) (void)softgpu_engine_step(f.gpu, REF_NODE_COMPUTE);
    give(&c, &bad, guilty_queue, words, ref_emit_hang(words));
    for (uint32_t i = 0; i < between; i++) (void)world_turn(f.world);
    give(&d, &good, other_queue, words, ref_emit_add64(words, va, 1));
    fx_settle(&f);
    assert_int_equal(vidmm_device_state(c.device), VIDMM_DEVICE_HUNG);
    assert_int_equal(vidmm_device_state(d.device), often ? VIDMM_DEVICE_RESET : VIDMM_DEVICE_ACTIVE);
    if (!often) assert_int_equal(gpu_read(&d, va), 1);
    fx_close(&f);
}

static void only_what_hangs_ends_its_device(void **state)
{
    (void)state;
    for (uint32_t turns = 0; turns < 8; turns++)
        for (uint32_t kinds = 0; kinds < 4; kinds++) hang_beside(kinds & 1u, kinds & 2u, turns, false);
    for (uint32_t kinds = 0; kinds < 4; kinds++) hang_beside(kinds & 1u, kinds & 2u, 0, true);
}

/* Also one without a queue: what it is given later waits for its resumption (vidmm/kmd_hw.h). */
static void a_reset_suspends_every_context_of_the_node(void **state)
{
    struct fixture f;
    struct client c, d;
    struct vidmm_hwqueue_desc qd = {.flags = 0};
    uint64_t va, words[REF_WORDS_MAX];
    (void)state;
    open_with_timeouts(&f);
    client_open(&c, &f, NULL);
    client_open(&d, &f, NULL);
    (void)client_memory(&c, KIB(64), SET_64K, &va);
    struct hwq h = hwq_open(&c, REF_NODE_COMPUTE), bad = hwq_open(&d, REF_NODE_COMPUTE);
    hwq_put(&c, &h, words, ref_emit_add64(words, va, 1));
    hwq_wait(&c, &h);
    vidmm_hwqueue_destroy(h.q);
    hwq_put(&d, &bad, words, ref_emit_hang(words));
    fx_settle(&f);
    assert_int_equal(f.tap.count[TAP_RESET], 1);
    uint64_t resumes = f.tap.hw.resumes;
    assert_int_equal(vidmm_hwqueue_create(h.c, &qd, &h.q), VIDMM_OK);
    h.progress = 0;
    hwq_put(&c, &h, words, ref_emit_add64(words, va, 1));
    for (uint32_t i = 0; i < 100; i++) (void)softgpu_engine_step(f.gpu, REF_NODE_COMPUTE);
    assert_int_equal(hwq_done(&h), 0);
    hwq_wait(&c, &h);
    assert_int_equal(f.tap.hw.resumes, resumes + 1);
    assert_int_equal(gpu_read(&c, va), 2);
    fx_close(&f);
}

/* What was queued before an Evict may still use the allocation, also when VidMm never saw it start. */
static void evicted_memory_waits_for_earlier_entries(void **state)
{
    struct fixture f;
    struct client c, d;
    uint64_t va, words[REF_WORDS_MAX], one = 1;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    client_open(&d, &f, NULL);
    struct vidmm_open *op = client_memory(&c, MIB(10), SET_64K, &va), *big;
    struct hwq h = hwq_open(&c, REF_NODE_COMPUTE);
    struct vidmm_fence *gate = fence_new(&c, 0);
    assert_int_equal(vidmm_hwqueue_wait(h.q, &gate, &one, 1), VIDMM_OK);
    hwq_put(&c, &h, words, ref_emit_fill(words, va, 0x33333333, MIB(10)));
    client_evict(&c, op);
    uint64_t other;
    big = client_memory(&d, MIB(10), SET_64K, &other); /* takes the room while the queue waits */
    assert_int_equal(place(big), 1);
    gpu_fill(&d, other, 1, MIB(10));
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    hwq_wait(&c, &h);
    client_resident(&c, op);
    assert_int_equal(gpu_sum(&c, va, MIB(10)), sum_of_pattern(0x33333333, MIB(10)));
    fx_close(&f);
}

/* An allocation closed behind queued entries is unmapped after them. */
static void closed_memory_waits_for_earlier_entries(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, sink, words[REF_WORDS_MAX], one = 1;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    (void)client_memory(&c, KIB(64), SET_64K, &sink);
    struct vidmm_open *op = client_memory(&c, MIB(1), SET_64K, &va);
    gpu_fill(&c, va, 0x44444444, MIB(1));
    struct hwq h = hwq_open(&c, REF_NODE_COMPUTE);
    struct vidmm_fence *gate = fence_new(&c, 0);
    assert_int_equal(vidmm_hwqueue_wait(h.q, &gate, &one, 1), VIDMM_OK);
    hwq_put(&c, &h, words, ref_emit_copy(words, sink, va, 64));
    vidmm_open_close(op, 0);
    vidmm_fence_destroy(gate); /* which lets the queue go on */
    hwq_wait(&c, &h);
    assert_int_equal(gpu_read(&c, sink), 0x44444444);
    fx_settle(&f);
    assert_true(client_range_free(&c, va, KIB(64)));
    fx_close(&f);
}

/* In a two-level format the root moves only while every hardware context of the process stands still. */
static void the_root_moves_under_suspended_contexts(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t near, words[REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_B);
    client_open(&c, &f, NULL);
    (void)client_memory(&c, KIB(64), SET_64K, &near);
    struct hwq h = hwq_open(&c, REF_NODE_COMPUTE);
    for (uint32_t i = 0; i < 200; i++) hwq_put(&c, &h, words, ref_emit_add64(words, near, 1));
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64), .set = SET_64K,
                                                                .preferred = 1});
    client_resident(&c, op);
    uint64_t resizes = vidmm_adapter_counters(f.ad)->root_resizes;
    uint64_t far = client_map(&c, op, 0x300000000ull, 0, 0, VIDMM_PROT_WRITE);
    assert_true(vidmm_adapter_counters(f.ad)->root_resizes > resizes);
    hwq_put(&c, &h, words, ref_emit_copy(words, far, near, 8));
    hwq_wait(&c, &h);
    assert_int_equal(gpu_read(&c, far), 200);
    fx_close(&f);
}

/* ---- faults and ends ------------------------------------------------------------------------------ */

static void a_fault_ends_its_owner_only(void **state)
{
    struct fixture f;
    struct client c, d;
    uint64_t va, words[REF_WORDS_MAX], one = 1;
    struct vidmm_page_fault fault;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    client_open(&d, &f, NULL);
    (void)client_memory(&d, KIB(64), SET_64K, &va);
    struct hwq h = hwq_open(&c, REF_NODE_COMPUTE), elsewhere = hwq_open(&c, REF_NODE_COPY);
    struct hwq good = hwq_open(&d, REF_NODE_COMPUTE);
    struct vidmm_fence *never = fence_new(&c, 0);
    assert_int_equal(vidmm_hwqueue_wait(elsewhere.q, &never, &one, 1), VIDMM_OK);
    hwq_put(&c, &elsewhere, words, ref_emit_spin(words, 1));
    hwq_put(&c, &h, words, ref_emit_spin(words, 1));
    hwq_put(&c, &h, words, ref_emit_write64(words, 0x7000000000ull, 1));
    hwq_put(&c, &h, words, ref_emit_spin(words, 1));
    for (uint32_t i = 0; i < 50; i++) {
        hwq_put(&d, &good, words, ref_emit_add64(words, va, 1));
        assert_int_equal(client_submit_on(&d, d.context, words, ref_emit_add64(words, va + 8, 1)), VIDMM_OK);
    }
    fx_settle(&f);
    assert_int_equal(vidmm_device_state(c.device), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(vidmm_device_fault(c.device, &fault), VIDMM_OK);
    assert_int_equal(fault.va, 0x7000000000ull);
    assert_true(fault.hw_queue != 0);
    assert_int_equal(hwq_done(&h), UINT64_MAX);
    assert_int_equal(hwq_done(&elsewhere), UINT64_MAX);
    assert_int_equal(vidmm_hwqueue_pending(elsewhere.q), 0);
    assert_int_equal(hwq_submit(&c, &h, words, 1), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_hwqueue_wait(h.q, &never, &one, 1), VIDMM_DEVICE_LOST);
    hwq_wait(&d, &good);
    assert_int_equal(hwq_done(&good), 50);
    assert_int_equal(gpu_read(&d, va), 50);
    assert_int_equal(gpu_read(&d, va + 8), 50);
    assert_int_equal(f.tap.count[TAP_RESET], 1);
    fx_close(&f);
}

/* The progress of a lost device stays at the maximum whatever was still executing. */
static void lost_fences_stay_at_the_maximum(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t words[REF_WORDS_MAX];
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct fx_options o;
        fx_options(&o, REF_FORMAT_A);
        o.seed = seed;
        assert_int_equal(fx_open(&f, &o), VIDMM_OK);
        client_open(&c, &f, NULL);
        struct hwq h = hwq_open(&c, REF_NODE_COPY), bad = hwq_open(&c, REF_NODE_COMPUTE);
        for (uint32_t i = 0; i < 50; i++) hwq_put(&c, &h, words, ref_emit_spin(words, 2));
        hwq_put(&c, &bad, words, ref_emit_write64(words, 0x7000000000ull, 1));
        fx_settle(&f);
        assert_int_equal(vidmm_device_state(c.device), VIDMM_DEVICE_PAGE_FAULT);
        assert_int_equal(hwq_done(&h), UINT64_MAX);
        assert_int_equal(hwq_done(&bad), UINT64_MAX);
        fx_close(&f);
    }
}

static void destroyed_queues_finish_and_lost_ones_do_not(void **state)
{
    struct fixture f;
    struct client c, d;
    uint64_t va, words[REF_WORDS_MAX], one = 1;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    client_open(&d, &f, NULL);
    (void)client_memory(&c, KIB(64), SET_64K, &va);
    struct hwq h = hwq_open(&c, REF_NODE_COMPUTE), stuck = hwq_open(&d, REF_NODE_COMPUTE);
    for (uint32_t i = 0; i < 20; i++) hwq_put(&c, &h, words, ref_emit_add64(words, va, 1));
    vidmm_hwqueue_destroy(h.q);
    vidmm_hwcontext_destroy(h.c);
    struct vidmm_fence *never = fence_new(&d, 0);
    assert_int_equal(vidmm_hwqueue_wait(stuck.q, &never, &one, 1), VIDMM_OK);
    hwq_put(&d, &stuck, words, ref_emit_spin(words, 1));
    fx_settle(&f);
    assert_int_equal(gpu_read(&c, va), 20);
    vidmm_device_destroy(d.device); /* without waiting for what will never come */
    fx_settle(&f);
    fx_close(&f);
}

/* An adapter that is lost takes its hardware contexts with it: nothing of them is left executing. */
static void a_lost_adapter_lets_go_of_its_queues(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, words[REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    (void)client_memory(&c, KIB(64), SET_64K, &va);
    struct hwq h = hwq_open(&c, REF_NODE_COPY), bad = hwq_open(&c, REF_NODE_COMPUTE);
    for (uint32_t i = 0; i < 50; i++) hwq_put(&c, &h, words, ref_emit_add64(words, va, 1));
    struct softgpu_knobs k = fx_knobs(&f);
    k.fail_reset = true;
    fx_set_knobs(&f, &k);
    hwq_put(&c, &bad, words, ref_emit_write64(words, 0x7000000000ull, 1));
    fx_settle(&f);
    assert_true(vidmm_device_state(c.device) != VIDMM_DEVICE_ACTIVE);
    assert_int_equal(hwq_done(&h), UINT64_MAX);
    assert_int_equal(softgpu_engine_step(f.gpu, REF_NODE_COPY), SOFTGPU_IDLE);
    fx_close(&f);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(entries_execute_without_vidmm, "SUB-04 SUB-24 SUB-25 PHY-07", NULL),
        VT_TEST(progress_follows_execution, "SUB-24", NULL),
        VT_TEST(waits_and_signals_are_entries_of_the_queue, "SUB-25", NULL),
        VT_TEST(a_waiting_queue_is_set_aside, "SUB-25", NULL),
        VT_TEST(requests_are_refused_without_effect, "SUB-24 SUB-18", NULL),
        VT_TEST(long_queues_keep_their_order, "SUB-24", NULL),
        VT_TEST(paging_fences_are_right_without_a_gate, "SUB-04", "SUB-04"),
        VT_TEST(memory_is_taken_from_suspended_contexts_only, "SUB-04 SUB-26", NULL),
        VT_TEST(only_the_newest_acknowledgement_counts, "SUB-26", NULL),
        VT_TEST(suspension_values_grow, "SUB-26", NULL),
        VT_TEST(no_acknowledgement_means_a_reset, "SUB-26", NULL),
        VT_TEST(entries_that_stand_still_end_their_device, "SUB-26", NULL),
        VT_TEST(only_what_hangs_ends_its_device, "FLT-11 FLT-16 FLT-18", NULL),
        VT_TEST(a_reset_suspends_every_context_of_the_node, "SUB-26", NULL),
        VT_TEST(evicted_memory_waits_for_earlier_entries, "SUB-04", NULL),
        VT_TEST(closed_memory_waits_for_earlier_entries, "SUB-25", NULL),
        VT_TEST(the_root_moves_under_suspended_contexts, "SUB-04 PT-12", NULL),
        VT_TEST(a_fault_ends_its_owner_only, "SUB-04 FLT-01", NULL),
        VT_TEST(lost_fences_stay_at_the_maximum, "SUB-20", NULL),
        VT_TEST(destroyed_queues_finish_and_lost_ones_do_not, "SUB-34", NULL),
        VT_TEST(a_lost_adapter_lets_go_of_its_queues, "SUB-20", NULL),
    };
    return vt_main(argc, argv, "model_hwqueue", cases, VT_COUNT(cases));
}
