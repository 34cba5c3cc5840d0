/* SPDX-License-Identifier: MIT */
/* test_core_offer.c - offered memory: when an offer takes effect, what is dropped first, what a reclaim says
 * and brings back; and what a process is told that is over its budget. Segment 1 has 16 MiB here. */
#include "core/obj.h"

#include "core_fixture.h"

#include <string.h>

static vidmm_status offer(struct vidmm_open *op, uint32_t priority, uint32_t flags)
{
    return vidmm_offer(vidmm_open_device(op), &op, 1, priority, flags);
}

static uint32_t reclaim(struct vidmm_queue *q, struct vidmm_open *op)
{
    uint32_t result = 77;
    uint64_t value;
    assert_true(vidmm_reclaim(q, &op, 1, &result, &value) >= 0);
    return result;
}

static struct vidmm_open *resident(struct fx *f, uint64_t bytes)
{
    struct vidmm_open *op = fx_alloc(f->d, bytes, SEG1 | SYS, 1);
    fx_resident(f->q, op);
    return op;
}

/* What the device submits from now on waits for its value 1. */
static struct vidmm_fence *gate_before(struct fx *f)
{
    struct vidmm_fence *gate;
    assert_int_equal(vidmm_fence_create(f->d, 0, 0, &gate), VIDMM_OK);
    fx_wait_packet(f, f->c, vidmm_fence_gpu_address(gate), 1);
    return gate;
}

/* Something that can be nowhere else, and is gone again. */
static void press(struct fx *f, uint64_t bytes)
{
    struct vidmm_open *op = fx_alloc(f->d, bytes, SEG1, 1);
    fx_resident(f->q, op);
    fx_run(f);
    assert_int_equal(fx_place(op).segment, 1);
    vidmm_open_close(op, 0);
    fx_run(f);
}

/* What is in a segment and written by the GPU: to keep it, it would have to be copied. */
static struct vidmm_open *written(struct fx *f, uint64_t bytes, uint64_t *va)
{
    struct vidmm_open *op = resident(f, bytes);
    *va = fx_map_all(f->q, op);
    fx_run(f);
    fx_fill(f, f->c, *va, 0x5a5a5a5a, bytes);
    fx_run(f);
    return op;
}

/* ---- when an offer takes effect ------------------------------------------------------------------ */

/* The call comes right after the last submission that uses it and returns at once; the packet still works. */
static void an_offer_waits_for_what_was_queued_before(void **state)
{
    struct fx f;
    uint64_t va;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = written(&f, 10 * MIB, &va);
    struct vidmm_fence *gate = gate_before(&f);
    fx_fill(&f, f.c, va, 0x77777777, 10 * MIB);
    assert_int_equal(offer(a, VIDMM_OFFER_LOW, 0), VIDMM_OK);
    assert_false(a->offered);
    struct peer other = fx_peer(f.p);
    struct vidmm_open *b = fx_alloc(other.d, 10 * MIB, SEG1 | SYS, 1);
    fx_resident(other.q, b);
    fx_run(&f);
    assert_false(a->offered);
    assert_int_equal(f.count.discards, 0);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(f.count.faults, 0);
    assert_true(a->offered);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(reclaim(f.q, a), VIDMM_RECLAIM_OK); /* b has been served without it */
    fx_run(&f);
    assert_int_equal(fx_gpu_read(&f, va), 0x7777777777777777ull);
    fx_close(&f);
}

/* The same without anything else that wants the memory: reclaimed in time, the bytes are there. */
static void an_offer_taken_back_before_its_effect_changes_nothing(void **state)
{
    struct fx f;
    uint64_t va, value = 77;
    uint32_t result = 77;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = written(&f, 4 * MIB, &va);
    struct vidmm_fence *gate = gate_before(&f);
    assert_int_equal(offer(a, VIDMM_OFFER_LOW, VIDMM_OFFER_ALLOW_DECOMMIT), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_reclaim(f.q, &a, 1, &result, &value), VIDMM_OK);
    assert_int_equal(value, 0);
    assert_int_equal(result, VIDMM_RECLAIM_OK);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&f);
    assert_false(a->offered);
    assert_int_equal(fx_gpu_read(&f, va), 0x5a5a5a5a5a5a5a5aull);
    fx_close(&f);
}

/* The client knows that nothing queued uses it. */
static void offered_immediately_does_not_wait(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = resident(&f, MIB);
    fx_run(&f);
    struct vidmm_fence *gate = gate_before(&f);
    fx_run(&f);
    assert_int_equal(offer(a, VIDMM_OFFER_LOW, VIDMM_OFFER_IMMEDIATELY), VIDMM_OK);
    assert_true(a->offered);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&f);
    fx_close(&f);
}

/* The mover was about to drop it, and waits for its device to stop, when it is reclaimed: it is required
 * again, so it stays resident. An idle device would not get it back otherwise. */
static void a_reclaim_overtakes_the_mover(void **state)
{
    struct fx f;
    uint64_t va;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = written(&f, 10 * MIB, &va);
    struct vidmm_fence *gate = gate_before(&f);
    fx_run_core(&f); /* it is on the engine, and holds the device */
    assert_int_equal(offer(a, VIDMM_OFFER_LOW, VIDMM_OFFER_IMMEDIATELY), VIDMM_OK);
    struct peer other = fx_peer(f.p);
    struct vidmm_open *b = fx_alloc(other.d, 10 * MIB, SEG1, 1);
    fx_resident(other.q, b);
    fx_run_core(&f);
    assert_ptr_equal(f.ad->move.al, a->al);
    assert_int_equal(reclaim(f.q, a), VIDMM_RECLAIM_OK);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(fx_place(b).segment, 1);
    assert_true(fx_place(a).resident);
    assert_int_equal(f.d->missing, 0);
    assert_int_equal(fx_gpu_read(&f, va), 0x5a5a5a5a5a5a5a5aull);
    fx_close(&f);
}

/* ---- what is dropped ----------------------------------------------------------------------------- */

/* Three classes, offered in an order that is not theirs, all made resident in another; LOW goes first. Before
 * anything else is taken, even what nobody requires; and not a byte is copied for it. */
static void the_lowest_class_is_dropped_first(void **state)
{
    struct fx f;
    uint64_t va;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *high = written(&f, 3 * MIB, &va), *low = written(&f, 3 * MIB, &va);
    struct vidmm_open *idle = written(&f, 3 * MIB, &va), *normal = written(&f, 3 * MIB, &va);
    assert_int_equal(offer(high, VIDMM_OFFER_HIGH, 0), VIDMM_OK);
    assert_int_equal(offer(normal, VIDMM_OFFER_NORMAL, 0), VIDMM_OK);
    assert_int_equal(offer(low, VIDMM_OFFER_LOW, 0), VIDMM_OK);
    fx_evict(f.d, idle, 0);
    fx_run(&f);
    fx_forget(&f);
    assert_int_equal(f.count.discards, 0); /* no pressure, no loss */
    press(&f, 6 * MIB);
    assert_true(low->dropped && !normal->dropped && !high->dropped);
    press(&f, 9 * MIB);
    assert_true(normal->dropped && !high->dropped);
    assert_int_equal(f.count.discards, 2);
    assert_int_equal(f.count.discard_bytes, 6 * MIB);
    press(&f, 12 * MIB);
    assert_true(high->dropped);
    assert_int_equal(fx_count_ops(&f, VIDMM_OP_VIRTUAL_TRANSFER), 0);
    assert_int_equal(fx_place(idle).segment, 1);
    assert_int_equal(reclaim(f.q, low), VIDMM_RECLAIM_DISCARDED);
    assert_int_equal(reclaim(f.q, normal), VIDMM_RECLAIM_DISCARDED);
    assert_int_equal(reclaim(f.q, high), VIDMM_RECLAIM_DISCARDED);
    fx_run(&f);
    fx_close(&f);
}

/* AUTO is read off the eviction priority. */
static void auto_follows_the_eviction_priority(void **state)
{
    static const struct { uint32_t priority, class; } row[] = {
        {VIDMM_PRIORITY_MINIMUM, VIDMM_OFFER_LOW}, {VIDMM_PRIORITY_LOW, VIDMM_OFFER_LOW},
        {VIDMM_PRIORITY_LOW + 1, VIDMM_OFFER_NORMAL}, {VIDMM_PRIORITY_NORMAL, VIDMM_OFFER_NORMAL},
        {VIDMM_PRIORITY_HIGH, VIDMM_OFFER_HIGH}, {VIDMM_PRIORITY_MAXIMUM, VIDMM_OFFER_HIGH}};
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        struct vidmm_open *op = fx_alloc_priority(f.d, MIB, SEG1 | SYS, 1, row[i].priority);
        assert_int_equal(offer(op, VIDMM_OFFER_AUTO, 0), VIDMM_OK);
        assert_int_equal(op->offer, row[i].class);
    }
    fx_close(&f);
}

/* One that another device has open as well may still be used there. */
static void shared_memory_is_dropped_when_all_have_offered_it(void **state)
{
    struct fx f;
    uint64_t va;
    struct vidmm_process *p;
    struct vidmm_open *there;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    assert_int_equal(vidmm_process_create(f.ad, &p), VIDMM_OK);
    struct peer other = fx_peer(p);
    struct vidmm_open *a = written(&f, 10 * MIB, &va);
    assert_int_equal(vidmm_alloc_open(other.d, a, 0, &there), VIDMM_OK);
    assert_int_equal(offer(a, VIDMM_OFFER_LOW, 0), VIDMM_OK);
    fx_run(&f);
    press(&f, 10 * MIB);
    assert_int_equal(f.count.discards, 0);
    assert_int_equal(reclaim(f.q, a), VIDMM_RECLAIM_OK);
    fx_run(&f);
    assert_int_equal(fx_gpu_read(&f, va), 0x5a5a5a5a5a5a5a5aull);
    assert_int_equal(offer(a, VIDMM_OFFER_LOW, 0), VIDMM_OK);
    assert_int_equal(offer(there, VIDMM_OFFER_HIGH, VIDMM_OFFER_ALLOW_DECOMMIT), VIDMM_OK);
    fx_run(&f);
    press(&f, 10 * MIB);
    assert_int_equal(f.count.discards, 1);
    assert_int_equal(reclaim(other.q, there), VIDMM_RECLAIM_NOT_COMMITTED); /* each is told its own way */
    assert_int_equal(reclaim(f.q, a), VIDMM_RECLAIM_DISCARDED);
    fx_run(&f);
    assert_true(fx_destroy_process(&f, p));
    fx_close(&f);
}

/* ---- while it is offered ------------------------------------------------------------------------- */

/* It must be reclaimed first. The device itself goes on without the memory. */
static void offered_memory_cannot_be_used(void **state)
{
    struct fx f;
    uint64_t va;
    void *cpu;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = written(&f, 10 * MIB, &va), *locked = fx_alloc(f.d, MIB, SYS, 0);
    assert_int_equal(offer(a, VIDMM_OFFER_NORMAL, 0), VIDMM_OK);
    uint64_t before = vidmm_state_hash(f.ad);
    assert_int_equal(vidmm_open_lock(a, &cpu), VIDMM_INVALID);
    assert_int_equal(vidmm_open_lock(locked, &cpu), VIDMM_OK);
    assert_int_equal(offer(locked, VIDMM_OFFER_NORMAL, 0), VIDMM_INVALID);
    assert_int_equal(vidmm_open_unlock(locked), VIDMM_OK);
    assert_int_equal(vidmm_state_hash(f.ad), before);
    press(&f, 10 * MIB);
    assert_int_equal(f.d->missing, 0); /* nobody waits for it */
    assert_int_equal(fx_place(a).resident_count, 1);
    fx_fill(&f, f.c, va, 1, 8);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_PAGE_FAULT);
    fx_close(&f);
}

/* Counts go up and down as usual; what is resident only in name comes back with the reclaim. */
static void residency_counts_go_on(void **state)
{
    struct fx f;
    uint64_t va;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = written(&f, 10 * MIB, &va);
    assert_int_equal(offer(a, VIDMM_OFFER_NORMAL, 0), VIDMM_OK);
    fx_resident(f.q, a);
    fx_evict(f.d, a, 0);
    fx_run(&f);
    press(&f, 10 * MIB);
    fx_evict(f.d, a, 0);
    fx_run(&f);
    fx_resident(f.q, a);
    fx_run(&f);
    assert_false(fx_place(a).resident);
    assert_int_equal(reclaim(f.q, a), VIDMM_RECLAIM_DISCARDED);
    fx_run(&f);
    assert_int_equal(fx_place(a).segment, 1);
    assert_int_equal(fx_gpu_read(&f, va), 0);
    fx_close(&f);
}

/* ---- reclaim ------------------------------------------------------------------------------------- */

/* On the list: paging in starts, and the fence says when. The GPU reads zeros then, never older bytes. */
static void a_reclaim_brings_it_in_by_the_fence(void **state)
{
    struct fx f;
    uint64_t va, value = 0;
    uint32_t result;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = written(&f, 10 * MIB, &va);
    assert_int_equal(offer(a, VIDMM_OFFER_NORMAL, 0), VIDMM_OK);
    fx_run(&f);
    press(&f, 10 * MIB);
    assert_int_equal(vidmm_reclaim(f.q, &a, 1, &result, &value), VIDMM_PENDING);
    assert_int_equal(result, VIDMM_RECLAIM_DISCARDED);
    assert_int_equal(value, vidmm_queue_issued(f.q));
    assert_false(vidmm_fence_reached(vidmm_queue_fence(f.q), value));
    assert_false(fx_place(a).resident);
    fx_run(&f);
    assert_true(vidmm_fence_reached(vidmm_queue_fence(f.q), value));
    assert_int_equal(fx_place(a).segment, 1);
    assert_int_equal(fx_gpu_read(&f, va + 10 * MIB - 8), 0);
    fx_close(&f);
}

/* Not on the list: nothing is brought in, and the value is 0. */
static void a_reclaim_of_what_is_not_required_is_complete_at_once(void **state)
{
    struct fx f;
    uint64_t value = 77;
    uint32_t result;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = fx_alloc(f.d, MIB, SEG1 | SYS, 1);
    assert_int_equal(offer(a, VIDMM_OFFER_HIGH, 0), VIDMM_OK);
    assert_int_equal(vidmm_reclaim(f.q, &a, 1, &result, &value), VIDMM_OK);
    assert_int_equal(value, 0);
    assert_int_equal(result, VIDMM_RECLAIM_OK);
    fx_run(&f);
    assert_false(fx_place(a).resident);
    fx_close(&f);
}

/* The CPU does not wait for that fence: zeros where the content was dropped, and what it writes is what the
 * GPU finds. */
static void the_cpu_may_lock_at_once(void **state)
{
    struct fx f;
    uint64_t va, value = 0;
    uint32_t result;
    void *cpu;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = written(&f, 10 * MIB, &va);
    assert_int_equal(offer(a, VIDMM_OFFER_NORMAL, 0), VIDMM_OK);
    fx_run(&f);
    press(&f, 10 * MIB);
    assert_int_equal(vidmm_reclaim(f.q, &a, 1, &result, &value), VIDMM_PENDING);
    assert_int_equal(vidmm_open_lock(a, &cpu), VIDMM_OK);
    assert_int_equal(*(uint64_t *)cpu, 0);
    memset(cpu, 0x33, 10 * MIB);
    assert_false(vidmm_fence_reached(vidmm_queue_fence(f.q), value));
    assert_int_equal(vidmm_open_unlock(a), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(fx_gpu_read(&f, va + 64), 0x3333333333333333ull);
    fx_close(&f);
}

/* The third result comes only where it was allowed; then also without any pressure. */
static void allow_decommit_gives_system_memory_back(void **state)
{
    struct fx f;
    void *cpu, *kept;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = fx_alloc(f.d, MIB, SYS, 0), *b = fx_alloc(f.d, MIB, SYS, 0), *both[2] = {a, b};
    uint64_t va = fx_map_all(f.q, a), value;
    uint32_t result[2];
    assert_int_equal(vidmm_open_lock(a, &cpu), VIDMM_OK);
    assert_int_equal(vidmm_open_lock(b, &kept), VIDMM_OK);
    memset(cpu, 0x44, MIB);
    memset(kept, 0x44, MIB);
    assert_int_equal(vidmm_open_unlock(a), VIDMM_OK);
    assert_int_equal(vidmm_open_unlock(b), VIDMM_OK);
    fx_resident(f.q, a);
    fx_run(&f);
    assert_int_equal(offer(a, VIDMM_OFFER_NORMAL, VIDMM_OFFER_ALLOW_DECOMMIT), VIDMM_OK);
    assert_int_equal(offer(b, VIDMM_OFFER_NORMAL, 0), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_reclaim(f.q, both, 2, result, &value), VIDMM_OK);
    assert_int_equal(result[0], VIDMM_RECLAIM_NOT_COMMITTED);
    assert_int_equal(result[1], VIDMM_RECLAIM_OK);
    assert_int_equal(((uint64_t *)cpu)[7], 0);
    assert_int_equal(((uint64_t *)kept)[7], 0x4444444444444444ull);
    fx_fill(&f, f.c, va, 0x12345678, 64 * KIB); /* resident all the time: what is written now stays */
    fx_run(&f);
    assert_int_equal(fx_gpu_read(&f, va), 0x1234567812345678ull);
    fx_close(&f);
}

/* Client memory is never thrown away. */
static void imported_memory_is_not_given_back(void **state)
{
    static _Alignas(4096) uint8_t host[64 * 1024];
    struct fx f;
    struct ref_alloc_private p = {.magic = REF_ALLOC_MAGIC, .bytes = sizeof host, .supported = SYS};
    struct vidmm_alloc_desc in = {&p, sizeof p, host, sizeof host, 0};
    struct vidmm_open *op;
    (void)state;
    memset(host, 0x66, sizeof host);
    fx_open(&f, REF_FORMAT_A);
    assert_int_equal(vidmm_alloc_create(f.d, &in, &op), VIDMM_OK);
    assert_int_equal(offer(op, VIDMM_OFFER_LOW, VIDMM_OFFER_ALLOW_DECOMMIT), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(reclaim(f.q, op), VIDMM_RECLAIM_OK);
    assert_int_equal(host[5], 0x66);
    fx_close(&f);
}

/* ---- bad calls ----------------------------------------------------------------------------------- */

static void refuses_offer(struct fx *f, struct vidmm_open *const *list, uint32_t n, uint32_t priority,
                          uint32_t flags)
{
    uint64_t before = vidmm_state_hash(f->ad);
    assert_int_equal(vidmm_offer(f->d, list, n, priority, flags), VIDMM_INVALID);
    assert_int_equal(vidmm_state_hash(f->ad), before);
}

static void refuses_reclaim(struct fx *f, struct vidmm_open *const *list, uint32_t n, vidmm_status st)
{
    uint32_t result[2] = {77, 77};
    uint64_t value = 77, before = vidmm_state_hash(f->ad);
    assert_int_equal(vidmm_reclaim(f->q, list, n, result, &value), st);
    assert_int_equal(vidmm_state_hash(f->ad), before);
    assert_true(result[0] == 77 && result[1] == 77 && value == 77);
}

static void bad_calls_change_nothing(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    struct vidmm_open *a = fx_alloc(f.d, MIB, SYS, 0), *b = fx_alloc(f.d, MIB, SYS, 0);
    struct vidmm_open *foreign = fx_alloc(other.d, MIB, SYS, 0);
    struct vidmm_open *twice[2] = {a, a}, *mixed[2] = {a, foreign}, *both[2] = {a, b};
    refuses_offer(&f, both, 2, 0, 0);
    refuses_offer(&f, both, 2, VIDMM_OFFER_AUTO + 1, 0);
    refuses_offer(&f, both, 2, VIDMM_OFFER_LOW, 1u << 2);
    refuses_offer(&f, twice, 2, VIDMM_OFFER_LOW, 0);
    refuses_offer(&f, mixed, 2, VIDMM_OFFER_LOW, 0);
    assert_int_equal(offer(b, VIDMM_OFFER_LOW, 0), VIDMM_OK);
    refuses_offer(&f, both, 2, VIDMM_OFFER_LOW, 0);
    refuses_reclaim(&f, both, 2, VIDMM_INVALID);
    assert_int_equal(offer(a, VIDMM_OFFER_LOW, 0), VIDMM_OK);
    refuses_reclaim(&f, twice, 2, VIDMM_INVALID);
    f.world.fail_in = 1;
    refuses_reclaim(&f, both, 2, VIDMM_NO_MEMORY);
    f.world.fail_in = 0;
    assert_int_equal(vidmm_device_mark(f.d), VIDMM_OK);
    refuses_reclaim(&f, both, 2, VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_offer(f.d, both, 1, VIDMM_OFFER_LOW, 0), VIDMM_DEVICE_LOST);
    fx_close(&f);
}

/* ---- trim ---------------------------------------------------------------------------------------- */

/* A budget may change at any time: nothing moves for it, but the process is told by how much it is over. The
 * figure is that of the moment in which the event is taken. */
static void a_lower_budget_is_told_once(void **state)
{
    struct fx f;
    struct vidmm_trim trim = {77, 77};
    uint64_t due;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = resident(&f, 4 * MIB), *b = resident(&f, 2 * MIB);
    fx_run(&f);
    assert_false(vidmm_process_take_trim(f.p, &trim));
    vidmm_process_set_budget(f.p, 3 * MIB);
    assert_int_equal(fx_place(a).segment, 1); /* enforced only under pressure */
    assert_true(vidmm_process_take_trim(f.p, &trim));
    assert_int_equal(trim.flags, VIDMM_TRIM_TO_BUDGET);
    assert_int_equal(trim.bytes, 3 * MIB);
    assert_false(vidmm_process_take_trim(f.p, &trim));
    vidmm_process_set_budget(f.p, 2 * MIB);
    assert_int_equal(vidmm_evict(f.d, &b, 1, 0, &due), VIDMM_OK);
    assert_int_equal(due, 2 * MIB);
    assert_true(vidmm_process_take_trim(f.p, &trim));
    assert_int_equal(trim.bytes, due); /* the newest figure, the same everywhere */
    vidmm_process_set_budget(f.p, 3 * MIB);
    fx_evict(f.d, a, 0);
    assert_false(vidmm_process_take_trim(f.p, &trim)); /* done before it was told */
    fx_close(&f);
}

/* Under pressure a process that is over its budget is asked to shrink, once per figure. */
static void pressure_asks_who_is_over_the_budget(void **state)
{
    struct fx f;
    struct vidmm_trim trim;
    uint64_t value, more;
    struct vidmm_process *p;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    vidmm_process_set_budget(f.p, 6 * MIB);
    struct vidmm_open *a = fx_alloc(f.d, 10 * MIB, SEG1 | SYS, 1);
    uint32_t flags = VIDMM_RESIDENT_CANT_TRIM_FURTHER;
    assert_true(vidmm_make_resident(f.q, &a, 1, flags, &value, &more) >= 0);
    fx_run(&f);
    assert_false(vidmm_process_take_trim(f.p, &trim)); /* over it, but there is room for everybody */
    assert_int_equal(vidmm_process_create(f.ad, &p), VIDMM_OK);
    struct peer other = fx_peer(p);
    struct vidmm_open *b = fx_alloc(other.d, 10 * MIB, SEG1, 1);
    fx_resident(other.q, b);
    fx_run(&f);
    assert_true(vidmm_process_take_trim(f.p, &trim));
    assert_int_equal(trim.flags, VIDMM_TRIM_TO_BUDGET);
    assert_int_equal(trim.bytes, 4 * MIB);
    assert_false(vidmm_process_take_trim(p, &trim));
    assert_true(fx_place(b).resident && fx_place(a).resident); /* a stays, in its second segment */
    assert_true(fx_destroy_process(&f, p));
    fx_close(&f);
}

/* ---- the invariant ------------------------------------------------------------------------------- */

static void objects(struct fx *f)
{
    const char *what = NULL;
    assert_int_equal(vidmm_verify(f->ad, &what), 26);
    assert_non_null(what);
}

static void offers_are_kept_track_of(void **state)
{
    struct fx f;
    const char *what;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = resident(&f, MIB);
    fx_run(&f);
    struct vidmm_fence *gate = gate_before(&f);
    assert_int_equal(offer(a, VIDMM_OFFER_LOW, 0), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_verify(f.ad, &what), 0);
    list_remove(&a->on_offering); /* forgotten */
    objects(&f);
    list_push_back(&f.ad->offering, &a->on_offering);
    a->locks = 1;
    objects(&f);
    a->locks = 0;
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&f);
    a->refs = 1;
    f.no_verify = true;
    assert_int_not_equal(vidmm_verify(f.ad, &what), 0);
    a->refs = 0;
    a->offer = 0;
    objects(&f);
    a->offer = VIDMM_OFFER_LOW;
    f.no_verify = false;
    fx_close(&f);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(an_offer_waits_for_what_was_queued_before, "ALC-41", NULL),
        VT_TEST(an_offer_taken_back_before_its_effect_changes_nothing, "ALC-41 ALC-48", NULL),
        VT_TEST(offered_immediately_does_not_wait, "", NULL),
        VT_TEST(a_reclaim_overtakes_the_mover, "ALC-46", NULL),
        VT_TEST(the_lowest_class_is_dropped_first, "ALC-42 ALC-44 ALC-48", NULL),
        VT_TEST(auto_follows_the_eviction_priority, "ALC-42", NULL),
        VT_TEST(shared_memory_is_dropped_when_all_have_offered_it, "ALC-44 ALC-48", NULL),
        VT_TEST(offered_memory_cannot_be_used, "ALC-45", NULL),
        VT_TEST(residency_counts_go_on, "ALC-46", NULL),
        VT_TEST(a_reclaim_brings_it_in_by_the_fence, "ALC-46", NULL),
        VT_TEST(a_reclaim_of_what_is_not_required_is_complete_at_once, "ALC-46 ALC-48", NULL),
        VT_TEST(the_cpu_may_lock_at_once, "ALC-47", NULL),
        VT_TEST(allow_decommit_gives_system_memory_back, "ALC-48", NULL),
        VT_TEST(imported_memory_is_not_given_back, "", NULL),
        VT_TEST(bad_calls_change_nothing, "ALC-42", NULL),
        VT_TEST(a_lower_budget_is_told_once, "RES-17 RES-19", NULL),
        VT_TEST(pressure_asks_who_is_over_the_budget, "RES-16 RES-17 RES-19", NULL),
        VT_TEST(offers_are_kept_track_of, "INV-26", NULL),
    };
    return vt_main(argc, argv, "core_offer", cases, VT_COUNT(cases));
}
