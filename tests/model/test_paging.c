/* SPDX-License-Identifier: MIT */
/* test_paging.c - paging queues and residency (areas PAG and RES). */
#include "fixture.h"

#define BASE 0x200000000ull

static struct vidmm_placement_info placement(const struct vidmm_open *op)
{
    struct vidmm_placement_info p;
    vidmm_open_placement(op, &p);
    return p;
}

static uint64_t paging_value(const struct client *c)
{
    return vidmm_fence_value(vidmm_queue_fence(c->queue));
}

/* ---- queues -------------------------------------------------------------------------------------- */

static void map_and_reserve_execute_on_the_queue(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, value[2], busy;
    struct vidmm_va_info info;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    (void)client_memory(&c, KIB(64), SET_64K, &busy);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64)});
    client_resident(&c, op);
    vidmm_queue_delay(c.queue, UINT64_MAX);
    struct vidmm_map m = {.base = BASE, .open = op, .bytes = KIB(64)};
    assert_int_equal(vidmm_va_map(c.queue, &m, &va, &value[0]), VIDMM_PENDING);
    struct vidmm_reserve r = {.base = 2 * BASE, .bytes = KIB(64), .type = VIDMM_RESERVE_ZERO};
    assert_int_equal(vidmm_va_reserve(c.process, c.queue, &r, &va, &value[1]), VIDMM_PENDING);
    gpu_fill(&c, busy, 3, KIB(64)); /* rendering goes on meanwhile */
    for (int i = 0; i < 2; i++) {   /* owned since the call, bound when the queue executes */
        assert_int_equal(vidmm_va_query(c.process, i == 0 ? BASE : 2 * BASE, &info), VIDMM_OK);
        assert_false(info.bound);
    }
    fx_verify(&f);
    vidmm_queue_delay(c.queue, 0);
    client_wait(&c, vidmm_queue_fence(c.queue), value[1]);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(vidmm_va_query(c.process, i == 0 ? BASE : 2 * BASE, &info), VIDMM_OK);
        assert_true(info.bound);
        assert_int_equal(gpu_read(&c, i == 0 ? BASE : 2 * BASE), 0);
    }
    fx_close(&f);
}

static void the_fence_value_says_when(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, value, words[REF_WORDS_MAX];
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = MIB(1), .set = SET_64K});
        va = client_map(&c, op, 0, 0, 0, VIDMM_PROT_WRITE);
        uint64_t trim;
        assert_int_equal(vidmm_make_resident(c.queue, &op, 1, 0, &value, &trim), VIDMM_PENDING);
        assert_true(value != 0);
        assert_true(paging_value(&c) < value);
        struct vidmm_fence *paging = vidmm_queue_fence(c.queue);
        assert_int_equal(vidmm_context_wait(c.context, &paging, &value, 1), VIDMM_OK);
        assert_int_equal(client_submit_on(&c, c.context, words, ref_emit_fill(words, va, 6, MIB(1))),
                         VIDMM_OK);
        fx_settle(&f);
        assert_int_equal(paging_value(&c), value);
        assert_int_equal(vidmm_context_pending(c.context), 0);
        assert_int_equal(gpu_read(&c, va + KIB(999)), 6);
        /* What is there already needs no waiting: value 0. */
        assert_int_equal(vidmm_make_resident(c.queue, &op, 1, 0, &value, &trim), VIDMM_OK);
        assert_int_equal(value, 0);
        fx_close(&f);
    }
}

static void every_operation_has_its_own_growing_value(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, last = 0, done = 0;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct softgpu_knobs k = fx_knobs(&f);
    k.paging_delay_ns = 20000000;
    fx_set_knobs(&f, &k);
    last = vidmm_queue_issued(c.queue);
    for (int i = 0; i < 20; i++) {
        uint64_t value = 0, trim;
        struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64), .set = SET_64K});
        struct vidmm_map m = {.open = op, .bytes = KIB(64)};
        assert_int_equal(vidmm_make_resident(c.queue, &op, 1, 0, &value, &trim), VIDMM_PENDING);
        assert_int_equal(value, last + 1);
        assert_int_equal(vidmm_va_map(c.queue, &m, &va, &value), VIDMM_PENDING); /* behind it, in order */
        assert_int_equal(value, last + 2);
        last = value;
        for (int t = 0; t < 50; t++) {
            (void)world_turn(f.world);
            assert_true(paging_value(&c) >= done && paging_value(&c) <= last);
            done = paging_value(&c);
        }
    }
    fx_settle(&f);
    assert_int_equal(paging_value(&c), last);
    assert_int_equal(vidmm_queue_issued(c.queue), last);
    fx_close(&f);
}

static void higher_priorities_first_and_other_devices_go_on(void **state)
{
    struct fixture f;
    struct client c, other;
    struct vidmm_queue *q[3];
    uint64_t va, value[3], far;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A); /* S22 */
    client_open(&c, &f, NULL);
    client_open(&other, &f, NULL);
    struct vidmm_queue *bad;
    assert_int_equal(vidmm_queue_create(c.device, 7, &bad), VIDMM_INVALID);
    assert_int_equal(vidmm_queue_create(c.device, -2, &bad), VIDMM_INVALID);
    for (int i = 0; i < 3; i++) assert_int_equal(vidmm_queue_create(c.device, i - 1, &q[i]), VIDMM_OK);
    for (int i = 0; i < 3; i++) {
        uint64_t trim;
        vidmm_queue_delay(q[i], UINT64_MAX);
        for (int k = 0; k < 10; k++) {
            struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64), .set = SET_64K});
            struct vidmm_map m = {.open = op, .bytes = KIB(64)};
            assert_int_equal(vidmm_va_map(q[i], &m, &va, &value[i]), VIDMM_PENDING);
            assert_int_equal(vidmm_make_resident(q[i], &op, 1, 0, &value[i], &trim), VIDMM_PENDING);
        }
    }
    /* Another device's queue advances while all of these are blocked. */
    (void)client_memory(&other, KIB(64), SET_4K, &far);
    gpu_fill(&other, far, 1, PAGE);
    for (int i = 0; i < 3; i++) assert_int_equal(vidmm_fence_value(vidmm_queue_fence(q[i])), 0);
    tap_clear(&f.tap);
    for (int i = 0; i < 3; i++) vidmm_queue_delay(q[i], 0);
    uint64_t first[3] = {0, 0, 0}, turns = 0;
    for (bool more = true; first[0] == 0 || first[1] == 0 || first[2] == 0;) {
        assert_true(more && turns++ < FX_TURNS);
        more = world_turn(f.world);
        for (int i = 0; i < 3; i++)
            if (first[i] == 0 && vidmm_fence_value(vidmm_queue_fence(q[i])) >= 1) first[i] = turns;
    }
    assert_true(first[2] <= first[1] && first[1] <= first[0]);
    vidmm_queue_destroy(q[2]); /* what is queued is finished first */
    fx_settle(&f);
    for (int i = 0; i < 2; i++) assert_int_equal(vidmm_fence_value(vidmm_queue_fence(q[i])), value[i]);
    fx_close(&f);
}

static void a_destroyed_queue_finishes_its_work(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, value;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_queue *q;
    assert_int_equal(vidmm_queue_create(c.device, 0, &q), VIDMM_OK);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64), .set = SET_SYSTEM});
    client_resident(&c, op);
    vidmm_queue_delay(q, UINT64_MAX);
    for (uint64_t i = 0; i < 3; i++) {
        struct vidmm_map m = {.base = BASE + i * KIB(64), .open = op, .bytes = KIB(64)};
        assert_int_equal(vidmm_va_map(q, &m, &va, &value), VIDMM_PENDING);
    }
    vidmm_queue_destroy(q);
    fx_settle(&f);
    for (uint64_t i = 0; i < 3; i++) assert_int_equal(gpu_read(&c, BASE + i * KIB(64)), 0);
    fx_close(&f);
}

/* ---- residency ----------------------------------------------------------------------------------- */

static void user_mode_is_responsible_for_residency(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64)});
        va = client_map(&c, op, 0, 0, 0, VIDMM_PROT_WRITE); /* mapped, never made resident by anybody */
        fx_settle(&f);
        assert_int_equal(placement(op).resident_count, 0);
        gpu_read_faults(&c, va);
        fx_close(&f);
    }
}

static void evicted_memory_is_out_of_reach(void **state)
{
    struct fixture f;
    struct client a, b;
    uint64_t va, other;
    struct vidmm_va_info info;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A); /* S24 (c) */
    client_open(&a, &f, NULL);
    client_open(&b, &f, NULL);
    struct vidmm_open *op = client_memory(&a, MIB(8), SET_64K, &va);
    gpu_fill(&a, va, 9, MIB(8));
    client_evict(&a, op);
    (void)client_memory(&b, MIB(14), SET_64K, &other);
    assert_false(placement(op).resident);
    assert_int_equal(vidmm_va_query(a.process, va, &info), VIDMM_OK); /* the range stays owned */
    assert_ptr_equal(info.open, op);
    gpu_read_faults(&a, va + MIB(3));
    fx_close(&f);
}

static vidmm_status make_resident(struct client *c, struct vidmm_open *const *list, uint32_t n,
                                  uint32_t flags, uint64_t *trim)
{
    uint64_t value = 0;
    vidmm_status st = vidmm_make_resident(c->queue, list, n, flags, &value, trim);
    if (st >= 0) client_wait(c, vidmm_queue_fence(c->queue), value);
    return st >= 0 ? VIDMM_OK : st;
}

static void counts_add_up(void **state)
{
    struct fixture f;
    struct client c, other;
    uint64_t trim = 0;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A); /* S23 */
    client_open(&c, &f, NULL);
    client_open(&other, &f, NULL);
    struct vidmm_open *a = client_alloc(&c, &(struct fx_alloc){.bytes = MIB(2), .set = SET_64K});
    struct vidmm_open *b = client_alloc(&c, &(struct fx_alloc){.bytes = MIB(2), .set = SET_64K});
    struct vidmm_open *foreign = client_alloc(&other, &(struct fx_alloc){.bytes = MIB(2), .set = SET_64K});
    struct vidmm_open *list[2] = {a, b}, *mixed[2] = {a, foreign};
    assert_int_equal(make_resident(&c, &a, 1, 0, &trim), VIDMM_OK);
    assert_int_equal(make_resident(&c, &a, 1, 0, &trim), VIDMM_OK);
    assert_int_equal(make_resident(&c, list, 2, 0, &trim), VIDMM_OK);
    uint64_t before = vidmm_state_hash(f.ad);
    assert_int_equal(make_resident(&c, mixed, 2, 0, &trim), VIDMM_INVALID);
    assert_int_equal(vidmm_evict(c.device, mixed, 2, 0, &trim), VIDMM_INVALID);
    assert_int_equal(vidmm_state_hash(f.ad), before);
    assert_int_equal(placement(a).resident_count, 3);
    assert_int_equal(placement(b).resident_count, 1);
    for (uint32_t left = 2; left < 3; left--) {
        assert_int_equal(vidmm_evict(c.device, &a, 1, 0, &trim), VIDMM_OK);
        assert_int_equal(placement(a).resident_count, left);
    }
    before = vidmm_state_hash(f.ad);
    assert_int_equal(vidmm_evict(c.device, &a, 1, 0, &trim), VIDMM_INVALID);
    list[0] = b;
    list[1] = b; /* counts of one call add up too: 1 - 2 < 0, and nothing is applied */
    assert_int_equal(vidmm_evict(c.device, list, 2, 0, &trim), VIDMM_INVALID);
    assert_int_equal(vidmm_evict(c.device, &b, 1, 1u << 7, &trim), VIDMM_INVALID);
    assert_int_equal(vidmm_state_hash(f.ad), before);
    assert_int_equal(placement(b).resident_count, 1);
    fx_close(&f);
}

static void the_budget_is_announced_and_kept(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t trim = 0;
    struct vidmm_open *op[4];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A); /* S32 */
    client_open(&c, &f, NULL);
    for (int i = 0; i < 4; i++)
        op[i] = client_alloc(&c, &(struct fx_alloc){.bytes = MIB(4), .set = SET_64K | SET_SYSTEM,
                                                    .preferred = 1});
    vidmm_process_set_budget(c.process, MIB(10));
    assert_int_equal(make_resident(&c, op, 2, 0, &trim), VIDMM_OK);
    uint64_t before = vidmm_state_hash(f.ad);
    assert_int_equal(make_resident(&c, op + 2, 1, 0, &trim), VIDMM_NO_MEMORY);
    assert_int_equal(trim, MIB(2));
    assert_int_equal(vidmm_state_hash(f.ad), before); /* all or nothing */
    assert_int_equal(make_resident(&c, op + 1, 3, 0, &trim), VIDMM_NO_MEMORY);
    assert_int_equal(trim, MIB(6));
    assert_int_equal(vidmm_state_hash(f.ad), before);
    struct vidmm_open *twice[2] = {op[1], op[1]}; /* no new bytes */
    assert_int_equal(make_resident(&c, twice, 2, 0, &trim), VIDMM_OK);
    assert_int_equal(vidmm_evict(c.device, twice, 2, 0, &trim), VIDMM_OK);
    assert_int_equal(trim, 0);
    assert_int_equal(make_resident(&c, op + 2, 1, VIDMM_RESIDENT_CANT_TRIM_FURTHER, &trim), VIDMM_OK);
    assert_int_equal(vidmm_evict(c.device, op + 1, 1, 0, &trim), VIDMM_OK);
    assert_int_equal(trim, 0);
    vidmm_process_set_budget(c.process, MIB(5));
    assert_int_equal(vidmm_evict(c.device, op + 2, 1, 0, &trim), VIDMM_OK);
    assert_int_equal(trim, 0);
    assert_int_equal(make_resident(&c, op + 1, 1, VIDMM_RESIDENT_CANT_TRIM_FURTHER, &trim), VIDMM_OK);
    assert_int_equal(make_resident(&c, op + 2, 1, VIDMM_RESIDENT_CANT_TRIM_FURTHER, &trim), VIDMM_OK);
    assert_int_equal(vidmm_evict(c.device, op, 1, 0, &trim), VIDMM_OK);
    assert_int_equal(trim, MIB(3)); /* what the process is still over */
    fx_close(&f);
}

static void one_new_allocation_named_twice_counts_once(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t trim = 0;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = MIB(6), .set = SET_64K});
    struct vidmm_open *twice[2] = {op, op};
    vidmm_process_set_budget(c.process, MIB(10));
    assert_int_equal(make_resident(&c, twice, 2, 0, &trim), VIDMM_OK);
    assert_int_equal(placement(op).resident_count, 2);
    fx_close(&f);
}

static void only_application_segments_make_the_budget(void **state)
{
    struct fixture f;
    struct fx_options o;
    struct client c;
    uint64_t trim = 0;
    (void)state;
    fx_options(&o, REF_FORMAT_A);
    o.ref.segment[1].application = false;
    (void)fx_open(&f, &o);
    client_open(&c, &f, NULL);
    struct vidmm_open *op[5];
    for (int i = 0; i < 5; i++)
        op[i] = client_alloc(&c, &(struct fx_alloc){.bytes = MIB(4), .set = SET_64K | SET_SYSTEM,
                                                    .preferred = 1});
    assert_int_equal(make_resident(&c, op, 4, 0, &trim), VIDMM_OK); /* 16 MiB, the flagged segment */
    assert_int_equal(make_resident(&c, op + 4, 1, 0, &trim), VIDMM_NO_MEMORY);
    assert_int_equal(trim, MIB(4));
    fx_close(&f);
}

static void what_can_never_fit_is_refused(void **state)
{
    struct fixture f;
    struct client c, d;
    uint64_t trim = 0, va, words[REF_WORDS_MAX];
    struct vidmm_open *op[3];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    client_open(&d, &f, NULL);
    for (int i = 0; i < 3; i++) op[i] = client_alloc(&c, &(struct fx_alloc){.bytes = MIB(6), .set = SET_64K});
    vidmm_process_set_budget(c.process, MIB(100));
    uint64_t before = vidmm_state_hash(f.ad);
    assert_int_equal(make_resident(&c, op, 3, VIDMM_RESIDENT_CANT_TRIM_FURTHER, &trim), VIDMM_NO_MEMORY);
    assert_true(trim > 0);
    assert_int_equal(make_resident(&c, op, 3, VIDMM_RESIDENT_MUST_SUCCEED, &trim), VIDMM_INVALID);
    assert_int_equal(make_resident(&c, op, 1, 1u << 9, &trim), VIDMM_INVALID);
    assert_int_equal(vidmm_state_hash(f.ad), before);
    (void)client_memory(&d, KIB(64), SET_64K, &va);
    uint32_t both = VIDMM_RESIDENT_CANT_TRIM_FURTHER | VIDMM_RESIDENT_MUST_SUCCEED;
    assert_int_equal(make_resident(&c, op, 3, both, &trim), VIDMM_NO_MEMORY); /* and it must have */
    assert_int_equal(vidmm_device_state(c.device), VIDMM_DEVICE_OUT_OF_MEMORY);
    assert_int_equal(client_submit_on(&c, c.context, words, ref_emit_spin(words, 1)), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_device_state(d.device), VIDMM_DEVICE_ACTIVE);
    gpu_fill(&d, va, 1, KIB(64));
    fx_close(&f);
}

/* Admission and placement speak of the same room: a list that was accepted becomes resident. */
static void an_accepted_list_becomes_resident(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t trim = 0;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        for (uint64_t bytes = KIB(4096); bytes >= KIB(3600); bytes -= KIB(8)) {
            struct vidmm_open *op;
            struct fx_alloc a = {.bytes = bytes, .set = SET_4K};
            if (client_try_alloc(&c, &a, &op) != VIDMM_OK) continue;
            if (make_resident(&c, &op, 1, VIDMM_RESIDENT_CANT_TRIM_FURTHER, &trim) == VIDMM_OK)
                assert_true(placement(op).resident);
            vidmm_open_close(op, 0);
            fx_settle(&f);
        }
        fx_close(&f);
    }
}

static void two_lists_that_do_not_fit_together_take_turns(void **state)
{
    struct fixture f;
    struct client c[3];
    uint64_t va[3], words[2 * REF_WORDS_MAX], values[3] = {0, 0, 0};
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format); /* S33 */
        for (int i = 0; i < 3; i++) {
            client_open(&c[i], &f, NULL);
            uint64_t bytes = i < 2 ? MIB(12) : MIB(1), value, trim;
            struct vidmm_open *op = client_alloc(&c[i], &(struct fx_alloc){.bytes = bytes, .set = SET_64K});
            va[i] = client_map(&c[i], op, 0, 0, 0, VIDMM_PROT_WRITE);
            assert_true(vidmm_make_resident(c[i].queue, &op, 1, 0, &value, &trim) >= 0);
        }
        uint64_t jobs = vt_rounds(30);
        for (uint32_t k = 0; k < jobs; k++) {
            for (int i = 0; i < 3; i++) {
                uint32_t n = ref_emit_add64(words, va[i], 1);
                n += ref_emit_fill(words + n, va[i] + PAGE * (1 + k % 16), k, PAGE);
                assert_int_equal(client_submit_on(&c[i], c[i].context, words, n), VIDMM_OK);
                values[i] = ++c[i].issued;
                assert_int_equal(vidmm_context_signal(c[i].context, &c[i].fence, &values[i], 1), VIDMM_OK);
            }
        }
        for (int i = 0; i < 3; i++) client_wait(&c[i], c[i].fence, values[i]);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(vidmm_device_state(c[i].device), VIDMM_DEVICE_ACTIVE);
            assert_int_equal(gpu_read(&c[i], va[i]), jobs);
        }
        fx_verify(&f);
        fx_close(&f);
    }
}

static uint64_t transfers(struct fixture *f, uint32_t direction)
{
    uint64_t bytes = 0;
    const struct tap_entry *e;
    for (uint64_t i = 0; (e = tap_find(&f->tap, TAP_BUILD, i)) != NULL; i++)
        if (e->op == VIDMM_OP_VIRTUAL_TRANSFER && e->start == direction) bytes += e->bytes;
    return bytes;
}

/* NotWrittenTo: the copy in system memory is still good, nothing needs to be moved out. */
static void unwritten_memory_is_not_copied_out(void **state)
{
    struct fixture f;
    struct client a, b;
    uint64_t va, other, trim;
    (void)state;
    for (uint32_t said = 0; said < 2; said++) {
        fx_open_format(&f, REF_FORMAT_A);
        client_open(&a, &f, NULL);
        client_open(&b, &f, NULL);
        struct vidmm_open *op = client_memory(&a, MIB(8), SET_64K, &va);
        gpu_fill(&a, va, 0x4d, MIB(8));
        client_evict(&a, op);
        struct vidmm_open *big = client_memory(&b, MIB(14), SET_64K, &other);
        vidmm_open_close(big, 0);
        client_resident(&a, op); /* a copy is left in system memory */
        assert_int_equal(gpu_read(&a, va + MIB(1)), 0x4d);
        tap_clear(&f.tap);
        uint32_t flags = VIDMM_EVICT_ONLY_IF_NECESSARY | (said != 0 ? VIDMM_EVICT_NOT_WRITTEN_TO : 0u);
        assert_int_equal(vidmm_evict(a.device, &op, 1, flags, &trim), VIDMM_OK);
        big = client_memory(&b, MIB(14), SET_64K, &other);
        assert_int_equal(transfers(&f, VIDMM_LOCAL_TO_SYSTEM), said != 0 ? 0 : MIB(8));
        vidmm_open_close(big, 0);
        client_resident(&a, op);
        assert_int_equal(gpu_sum(&a, va, MIB(8)), sum_of_pattern(0x4d, MIB(8)));
        fx_close(&f);
    }
}

/* Q44: what a device's own list cannot have in its preferred segment is resident elsewhere. */
static void a_list_larger_than_its_segment_is_resident_all_the_same(void **state)
{
    struct fixture f;
    struct client c;
    struct vidmm_open *op[8];
    uint64_t va[8], trim;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        for (uint32_t i = 0; i < 8; i++) {
            op[i] = client_alloc(&c, &(struct fx_alloc){.bytes = MIB(4), .set = SET_64K | SET_SYSTEM,
                                                        .preferred = 1});
            va[i] = client_map(&c, op[i], 0, 0, 0, VIDMM_PROT_WRITE);
            assert_int_equal(make_resident(&c, &op[i], 1, VIDMM_RESIDENT_CANT_TRIM_FURTHER, &trim), VIDMM_OK);
            gpu_fill(&c, va[i], 0xb0 + i, MIB(4));
        }
        fx_verify(&f);
        uint32_t local = 0;
        for (uint32_t i = 0; i < 8; i++) {
            assert_true(placement(op[i]).resident);
            local += placement(op[i]).segment == 1;
            assert_int_equal(gpu_sum(&c, va[i], MIB(4)), sum_of_pattern(0xb0 + i, MIB(4)));
        }
        assert_in_range(local, 3, 4);
        assert_true(vidmm_adapter_counters(f.ad)->demotions > 0);
        for (uint32_t i = 0; i < 8; i++)
            if (i % 2 == 0) vidmm_open_close(op[i], 0);
        fx_settle(&f);
        for (uint32_t i = 1; i < 8; i += 2) { /* and comes back when there is room */
            assert_int_equal(gpu_sum(&c, va[i], MIB(4)), sum_of_pattern(0xb0 + i, MIB(4)));
            local += placement(op[i]).segment == 1;
        }
        assert_true(vidmm_adapter_counters(f.ad)->promotions > 0);
        fx_close(&f);
    }
}

static const struct vt_case cases[] = {
    VT_TEST(map_and_reserve_execute_on_the_queue, "PAG-01", "PAG-01"),
    VT_TEST(the_fence_value_says_when, "PAG-02 PAG-04 RES-07", "PAG-02"),
    VT_TEST(every_operation_has_its_own_growing_value, "PAG-03 PAG-11", NULL),
    VT_TEST(higher_priorities_first_and_other_devices_go_on, "PAG-07 PAG-08 PAG-10", NULL),
    VT_TEST(a_destroyed_queue_finishes_its_work, "PAG-12", NULL),
    VT_TEST(user_mode_is_responsible_for_residency, "RES-01 VA-32", "RES-01"),
    VT_TEST(evicted_memory_is_out_of_reach, "VA-32 RES-12 FLT-04", NULL),
    VT_TEST(counts_add_up, "RES-05 RES-06 RES-08 RES-15", NULL),
    VT_TEST(the_budget_is_announced_and_kept, "RES-06 RES-07 RES-10 RES-13 RES-17", NULL),
    VT_TEST(one_new_allocation_named_twice_counts_once, "RES-07", NULL),
    VT_TEST(only_application_segments_make_the_budget, "RES-18", NULL),
    VT_TEST(what_can_never_fit_is_refused, "RES-10 RES-23 FLT-22", NULL),
    VT_TEST(an_accepted_list_becomes_resident, "RES-07", NULL),
    VT_TEST(two_lists_that_do_not_fit_together_take_turns, "RES-03 RES-22 RES-23", NULL),
    VT_TEST(unwritten_memory_is_not_copied_out, "RES-14", NULL),
    VT_TEST(a_list_larger_than_its_segment_is_resident_all_the_same, "RES-23 RES-24", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "model_paging", cases, VT_COUNT(cases)); }
