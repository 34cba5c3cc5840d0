/* SPDX-License-Identifier: MIT */
/* test_core_resid.c - residency: counts, statuses, budget, what happens under pressure.
 * White box where a limit cannot be reached through the API in reasonable time. */
#include "core/obj.h"

#include "core_fixture.h"

#include <string.h>

static vidmm_status make_resident(struct vidmm_queue *q, struct vidmm_open *const *ops, uint32_t n,
                                  uint32_t flags, uint64_t *trim)
{
    uint64_t value = 77;
    *trim = 0;
    vidmm_status st = vidmm_make_resident(q, ops, n, flags, &value, trim);
    if (st == VIDMM_OK) assert_int_equal(value, 0);
    if (st == VIDMM_PENDING) assert_true(value > 0 && value <= vidmm_queue_issued(q));
    return st;
}

static vidmm_status one_resident(struct vidmm_queue *q, struct vidmm_open *op)
{
    uint64_t trim;
    return make_resident(q, &op, 1, 0, &trim);
}

/* ---- counts -------------------------------------------------------------------------------------- */

/* n calls of MakeResident need n of Evict: an early eviction would take memory that is still in use. */
static void counts_are_kept_per_open(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1 | SYS, 1);
    for (int i = 0; i < 3; i++) fx_resident(f.q, op);
    fx_run(&f);
    assert_int_equal(fx_place(op).resident_count, 3);
    for (int i = 0; i < 2; i++) fx_evict(f.d, op, 0);
    assert_int_equal(fx_place(op).resident_count, 1);
    assert_true(list_is_linked(&op->on_required));
    fx_evict(f.d, op, 0);
    assert_false(list_is_linked(&op->on_required));
    assert_int_equal(f.d->missing, 0);
    fx_close(&f);
}

/* An open named twice in one call counts twice, and goes on the list once. */
static void naming_an_open_twice_counts_twice(void **state)
{
    struct fx f;
    uint64_t trim;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1 | SYS, 1), *both[2] = {op, op};
    assert_true(make_resident(f.q, both, 2, 0, &trim) >= 0);
    fx_run(&f);
    assert_int_equal(fx_place(op).resident_count, 2);
    assert_int_equal(vidmm_evict(f.d, both, 2, 0, &trim), VIDMM_OK);
    assert_int_equal(fx_place(op).resident_count, 0);
    fx_close(&f);
}

/* One bad entry must not leave the others half counted. */
static void make_resident_is_all_or_nothing(void **state)
{
    struct fx f;
    uint64_t trim;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    struct vidmm_open *mine = fx_alloc(f.d, MIB, SEG1 | SYS, 1), *foreign = fx_alloc(other.d, MIB, SYS, 0);
    struct vidmm_open *both[2] = {mine, foreign};
    uint64_t before = vidmm_state_hash(f.ad);
    assert_int_equal(make_resident(f.q, both, 2, 0, &trim), VIDMM_INVALID);
    assert_int_equal(vidmm_state_hash(f.ad), before);
    assert_int_equal(fx_place(mine).resident_count, 0);
    vidmm_process_set_budget(f.p, MIB);
    struct vidmm_open *big = fx_alloc(f.d, 2 * MIB, SEG1 | SYS, 1), *list[2] = {mine, big};
    before = vidmm_state_hash(f.ad);
    assert_int_equal(make_resident(f.q, list, 2, 0, &trim), VIDMM_NO_MEMORY);
    assert_int_equal(vidmm_state_hash(f.ad), before);
    fx_close(&f);
}

/* A count that wraps to zero would leave the open on the list of a device that thinks it is not. */
static void counts_do_not_wrap(void **state)
{
    struct fx f;
    uint64_t trim;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_resident(f.q, op);
    fx_run(&f);
    op->resident = UINT32_MAX;
    assert_int_equal(make_resident(f.q, &op, 1, 0, &trim), VIDMM_LIMIT);
    assert_int_equal(op->resident, UINT32_MAX);
    op->resident = 1;
    fx_close(&f);
}

/* ---- statuses ------------------------------------------------------------------------------------ */

/* Statuses tell a driver whether to wait, to go on or to trim; a wrong one is a hang or a crash in it. */
static void statuses_of_make_resident(void **state)
{
    struct fx f;
    uint64_t trim;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, 4 * MIB, SEG1 | SYS, 1);
    assert_int_equal(one_resident(f.q, op), VIDMM_PENDING);
    assert_false(fx_place(op).resident);
    fx_run(&f);
    assert_true(fx_place(op).resident);
    assert_true(fx_queue_done(f.q));
    assert_int_equal(one_resident(f.q, op), VIDMM_OK);
    vidmm_process_set_budget(f.p, 5 * MIB);
    struct vidmm_open *more = fx_alloc(f.d, 3 * MIB, SEG1 | SYS, 1);
    assert_int_equal(make_resident(f.q, &more, 1, 0, &trim), VIDMM_NO_MEMORY);
    assert_int_equal(trim, 2 * MIB);
    assert_int_equal(vidmm_evict(f.d, &op, 1, 0, &trim), VIDMM_OK);
    assert_int_equal(trim, 0);
    vidmm_process_set_budget(f.p, MIB);
    struct vidmm_open *back = op;
    assert_int_equal(vidmm_evict(f.d, &back, 1, 0, &trim), VIDMM_OK);
    assert_int_equal(trim, 0);
    fx_close(&f);
}

/* While the process is over its budget every Evict says by how much. */
static void evict_reports_what_is_still_over_the_budget(void **state)
{
    struct fx f;
    uint64_t trim = 1;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = fx_alloc(f.d, 4 * MIB, SEG1 | SYS, 1), *b = fx_alloc(f.d, 2 * MIB, SEG1 | SYS, 1);
    fx_resident(f.q, a);
    fx_resident(f.q, b);
    fx_run(&f);
    vidmm_process_set_budget(f.p, 3 * MIB);
    assert_int_equal(vidmm_evict(f.d, &b, 1, 0, &trim), VIDMM_OK);
    assert_int_equal(trim, MIB);
    assert_int_equal(vidmm_evict(f.d, &a, 1, 0, &trim), VIDMM_OK);
    assert_int_equal(trim, 0);
    fx_close(&f);
}

/* What is named twice takes memory once: the budget must not refuse it. */
static void the_budget_counts_an_open_once(void **state)
{
    struct fx f;
    uint64_t trim;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, 4 * MIB, SEG1 | SYS, 1), *both[2] = {op, op};
    vidmm_process_set_budget(f.p, 4 * MIB);
    assert_int_equal(make_resident(f.q, both, 2, 0, &trim), VIDMM_PENDING);
    fx_run(&f);
    fx_close(&f);
}

/* CantTrimFurther goes over the budget, but never beyond what the segments can hold. */
static void cant_trim_further_ignores_the_budget_only(void **state)
{
    struct fx f;
    uint64_t trim;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    vidmm_process_set_budget(f.p, MIB);
    struct vidmm_open *op = fx_alloc(f.d, 4 * MIB, SEG1 | SYS, 1);
    assert_int_equal(make_resident(f.q, &op, 1, 0, &trim), VIDMM_NO_MEMORY);
    assert_int_equal(make_resident(f.q, &op, 1, VIDMM_RESIDENT_CANT_TRIM_FURTHER, &trim), VIDMM_PENDING);
    fx_run(&f);
    assert_true(fx_place(op).resident);
    struct vidmm_open *only[2] = {fx_alloc(f.d, 9 * MIB, SEG1, 1), fx_alloc(f.d, 9 * MIB, SEG1, 1)};
    assert_int_equal(make_resident(f.q, only, 2, VIDMM_RESIDENT_CANT_TRIM_FURTHER, &trim), VIDMM_NO_MEMORY);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    fx_close(&f);
}

/* MustSucceed without CantTrimFurther is refused; with it, failure ends the device. */
static void must_succeed_puts_the_device_in_error(void **state)
{
    struct fx f;
    uint64_t trim;
    uint32_t must = VIDMM_RESIDENT_MUST_SUCCEED, both = must | VIDMM_RESIDENT_CANT_TRIM_FURTHER;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *only[2] = {fx_alloc(f.d, 9 * MIB, SEG1, 1), fx_alloc(f.d, 9 * MIB, SEG1, 1)};
    assert_int_equal(make_resident(f.q, only, 1, must, &trim), VIDMM_INVALID);
    assert_int_equal(make_resident(f.q, only, 1, 1u << 2, &trim), VIDMM_INVALID);
    assert_int_equal(make_resident(f.q, only, 2, both, &trim), VIDMM_NO_MEMORY);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_OUT_OF_MEMORY);
    assert_int_equal(vidmm_context_submit(f.c, f.cmd_va, 8, NULL, 0, 0), VIDMM_DEVICE_LOST);
    fx_close(&f);
}

/* The same when it is bookkeeping memory that lacks. */
static void must_succeed_without_bookkeeping_memory(void **state)
{
    struct fx f;
    uint64_t trim;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1 | SYS, 1);
    f.world.fail_in = 1;
    assert_int_equal(make_resident(f.q, &op, 1, 0, &trim), VIDMM_NO_MEMORY);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    f.world.fail_in = 1;
    uint32_t both = VIDMM_RESIDENT_MUST_SUCCEED | VIDMM_RESIDENT_CANT_TRIM_FURTHER;
    assert_int_equal(make_resident(f.q, &op, 1, both, &trim), VIDMM_NO_MEMORY);
    f.world.fail_in = 0;
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_OUT_OF_MEMORY);
    fx_close(&f);
}

/* Taking off more than was put on is refused as a whole. */
static void evict_below_zero_changes_nothing(void **state)
{
    struct fx f;
    uint64_t trim;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = fx_alloc(f.d, MIB, SYS, 0), *b = fx_alloc(f.d, MIB, SYS, 0), *list[2] = {a, b};
    fx_resident(f.q, a);
    fx_run(&f);
    uint64_t before = vidmm_state_hash(f.ad);
    assert_int_equal(vidmm_evict(f.d, list, 2, 0, &trim), VIDMM_INVALID);
    assert_int_equal(vidmm_state_hash(f.ad), before);
    struct vidmm_open *twice[2] = {a, a};
    assert_int_equal(vidmm_evict(f.d, twice, 2, 0, &trim), VIDMM_INVALID);
    assert_int_equal(vidmm_state_hash(f.ad), before);
    assert_int_equal(vidmm_evict(f.d, list, 1, 1u << 2, &trim), VIDMM_INVALID);
    assert_int_equal(vidmm_evict(f.d, list, 1, 0, &trim), VIDMM_OK);
    assert_int_equal(vidmm_evict(f.d, list, 1, 0, &trim), VIDMM_INVALID);
    fx_close(&f);
}

/* What was evicted may stay where it is until somebody needs the room; it is off the list at once. */
static void evict_is_lazy_and_leaves_the_list_at_once(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = fx_alloc(f.d, 10 * MIB, SEG1 | SYS, 1);
    uint64_t va = fx_map_all(f.q, a);
    fx_resident(f.q, a);
    fx_run(&f);
    fx_fill(&f, f.c, va, 0xabcd0123, 10 * MIB);
    fx_run(&f);
    fx_evict(f.d, a, 0);
    assert_int_equal(fx_place(a).resident_count, 0);
    fx_run(&f);
    assert_int_equal(fx_place(a).segment, 1);
    fx_forget(&f);
    struct vidmm_open *b = fx_alloc(f.d, 10 * MIB, SEG1, 1);
    fx_resident(f.q, b);
    fx_run(&f);
    assert_int_equal(fx_place(b).segment, 1);
    assert_false(fx_place(a).resident);
    uint32_t at = 0;
    const struct event *out = fx_next_op(&f, VIDMM_OP_VIRTUAL_TRANSFER, &at);
    assert_non_null(out);
    assert_int_equal(out->op.transfer.direction, VIDMM_LOCAL_TO_SYSTEM);
    fx_evict(f.d, b, 0);
    fx_resident(f.q, a);
    fx_run(&f);
    assert_int_equal(fx_gpu_read(&f, va + 10 * MIB - 8), 0xabcd0123abcd0123ull);
    fx_close(&f);
}

/* ---- contents ------------------------------------------------------------------------------------ */

/* NotWrittenTo saves the copy out, because home still has the bytes. */
static void not_written_to_saves_the_copy(void **state)
{
    struct fx f;
    void *cpu;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = fx_alloc(f.d, 10 * MIB, SEG1 | SYS, 1), *b = fx_alloc(f.d, 10 * MIB, SEG1, 1);
    uint64_t va = fx_map_all(f.q, a);
    assert_int_equal(vidmm_open_lock(a, &cpu), VIDMM_OK);
    memset(cpu, 0x11, 10 * MIB);
    assert_int_equal(vidmm_open_unlock(a), VIDMM_OK);
    fx_resident(f.q, a);
    fx_run(&f);
    fx_evict(f.d, a, VIDMM_EVICT_NOT_WRITTEN_TO);
    fx_forget(&f);
    fx_resident(f.q, b);
    fx_run(&f);
    assert_int_equal(fx_count_ops(&f, VIDMM_OP_VIRTUAL_TRANSFER), 0);
    assert_int_equal(fx_place(a).segment, 0);
    fx_evict(f.d, b, 0);
    fx_resident(f.q, a);
    fx_run(&f);
    assert_int_equal(fx_gpu_read(&f, va), 0x1111111111111111ull);
    fx_close(&f);
}

/* "Not written" is said of one stay. Writes of a later stay must not be thrown away because of it. */
static void not_written_to_ends_with_the_next_make_resident(void **state)
{
    struct fx f;
    void *cpu;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = fx_alloc(f.d, 10 * MIB, SEG1 | SYS, 1), *b = fx_alloc(f.d, 10 * MIB, SEG1, 1);
    uint64_t va = fx_map_all(f.q, a);
    /* content of its own: it is copied in, not filled */
    assert_int_equal(vidmm_open_lock(a, &cpu), VIDMM_OK);
    assert_int_equal(vidmm_open_unlock(a), VIDMM_OK);
    fx_resident(f.q, a);
    fx_run(&f);
    fx_evict(f.d, a, VIDMM_EVICT_NOT_WRITTEN_TO);
    fx_resident(f.q, a);
    fx_run(&f);
    fx_fill(&f, f.c, va, 0x22222222, 10 * MIB);
    fx_run(&f);
    fx_evict(f.d, a, 0);
    fx_resident(f.q, b);
    fx_run(&f);
    fx_evict(f.d, b, 0);
    fx_resident(f.q, a);
    fx_run(&f);
    assert_int_equal(fx_gpu_read(&f, va), 0x2222222222222222ull);
    fx_close(&f);
}

/* And a stay that did write makes a later "not written" mean: since then. Home has older bytes. */
static void not_written_to_needs_the_earlier_stays_too(void **state)
{
    struct fx f;
    void *cpu;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = fx_alloc(f.d, 10 * MIB, SEG1 | SYS, 1), *b = fx_alloc(f.d, 10 * MIB, SEG1, 1);
    uint64_t va = fx_map_all(f.q, a);
    assert_int_equal(vidmm_open_lock(a, &cpu), VIDMM_OK);
    assert_int_equal(vidmm_open_unlock(a), VIDMM_OK);
    fx_resident(f.q, a);
    fx_run(&f);
    fx_fill(&f, f.c, va, 0x33333333, 10 * MIB);
    fx_run(&f);
    fx_evict(f.d, a, 0);
    fx_resident(f.q, a);
    fx_run(&f);
    fx_evict(f.d, a, VIDMM_EVICT_NOT_WRITTEN_TO);
    fx_resident(f.q, b);
    fx_run(&f);
    fx_evict(f.d, b, 0);
    fx_resident(f.q, a);
    fx_run(&f);
    assert_int_equal(fx_gpu_read(&f, va), 0x3333333333333333ull);
    fx_close(&f);
}

/* ---- admission ----------------------------------------------------------------------------------- */

/* A list that is admitted can be placed: the reserve for page tables is held back once, not twice. */
static void what_is_admitted_fits_beside_the_tables(void **state)
{
    struct fx f;
    uint64_t trim;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vmm_segment *seg = &f.ad->segment[2];
    uint64_t room = seg->bytes - ((uint64_t)seg->table_reserve << seg->page_shift);
    struct vidmm_open *op = fx_alloc(f.d, room, SEG2, 2);
    assert_true(seg->table_pages > 0 && seg->table_pages < seg->table_reserve);
    vidmm_status st = make_resident(f.q, &op, 1, VIDMM_RESIDENT_CANT_TRIM_FURTHER, &trim);
    fx_run(&f);
    assert_true(st == VIDMM_NO_MEMORY || fx_place(op).resident);
    fx_close(&f);
}

/* Three allocations that fit in sum but not one by one: no legal assignment, so the call says so. */
static void admission_does_not_cut_allocations(void **state)
{
    struct fx f;
    uint64_t trim;
    (void)state;
    fx_init(&f, REF_FORMAT_A);
    f.opt.segment[1].bytes = 16 * MIB;
    fx_start(&f);
    struct vidmm_open *list[3];
    for (int i = 0; i < 3; i++) list[i] = fx_alloc(f.d, 10 * MIB, SEG1 | SEG2, 1);
    vidmm_status st = make_resident(f.q, list, 3, VIDMM_RESIDENT_CANT_TRIM_FURTHER, &trim);
    fx_run(&f);
    assert_true(st == VIDMM_NO_MEMORY || fx_queue_done(f.q));
    fx_close(&f);
}

/* Segments that an allocation does not support are no room for it. */
static void admission_counts_supported_segments_only(void **state)
{
    struct fx f;
    uint64_t trim;
    (void)state;
    fx_init(&f, REF_FORMAT_A);
    f.opt.segment_count = 4;
    f.opt.segment[3] = (struct ref_segment){.bytes = 64 * MIB, .application = true};
    fx_start(&f);
    struct vidmm_open *list[6];
    for (int i = 0; i < 6; i++) list[i] = fx_alloc(f.d, 10 * MIB, SEG1 | SEG2, 1);
    vidmm_status st = make_resident(f.q, list, 6, VIDMM_RESIDENT_CANT_TRIM_FURTHER, &trim);
    fx_run(&f);
    assert_true(st == VIDMM_NO_MEMORY || fx_queue_done(f.q));
    fx_close(&f);
}

/* The budget base is the sum of the application segments, of nothing else. */
static void the_budget_is_the_application_segments(void **state)
{
    struct fx f;
    (void)state;
    fx_init(&f, REF_FORMAT_A);
    f.opt.segment[1].application = false;
    fx_start(&f);
    uint64_t trim;
    struct vidmm_open *a = fx_alloc(f.d, 16 * MIB, SEG1 | SYS, 1), *b = fx_alloc(f.d, PAGE, SEG2 | SYS, 2);
    assert_true(make_resident(f.q, &a, 1, 0, &trim) >= 0);
    assert_int_equal(make_resident(f.q, &b, 1, 0, &trim), VIDMM_NO_MEMORY);
    assert_int_equal(trim, PAGE);
    fx_run(&f);
    fx_close(&f);
}

/* Two devices whose lists fit alone and not together both get their turn. */
static void devices_take_turns(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    struct vidmm_open *a = fx_alloc(f.d, 10 * MIB, SEG1, 1), *b = fx_alloc(other.d, 10 * MIB, SEG1, 1);
    uint64_t va = fx_map_all(f.q, a), vb = fx_map_all(other.q, b);
    vidmm_process_set_budget(f.p, 64 * MIB);
    fx_resident(f.q, a);
    fx_resident(other.q, b);
    for (uint32_t i = 0; i < 4; i++) {
        fx_fill(&f, f.c, va, 0x100 + i, 4096);
        fx_fill(&f, other.c, vb, 0x200 + i, 4096);
    }
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c) + vidmm_context_pending(other.c), 0);
    assert_true(fx_queue_done(f.q) && fx_queue_done(other.q));
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_ACTIVE);
    fx_close(&f);
}

/* A device with everything in place goes on while another waits for memory. */
static void other_devices_run_meanwhile(void **state)
{
    struct fx f;
    struct softgpu_knobs k = {.hang_nodes = 1u << REF_NODE_PAGING};
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    struct vidmm_open *b = fx_alloc(other.d, MIB, SEG1, 1);
    softgpu_set_knobs(ref_gpu(f.ref), &k);
    fx_resident(other.q, b);
    fx_run(&f);
    assert_int_equal(other.d->missing, 1);
    fx_fill(&f, other.c, f.cmd_va + 128 * KIB, 1, 64);
    fx_fill(&f, f.c, f.cmd_va + 128 * KIB, 0x77777777, 64);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    assert_int_equal(vidmm_context_pending(other.c), 1);
    assert_int_equal(f.cmd_cpu[128 * KIB / 8], 0x7777777777777777ull);
    k.hang_nodes = 0;
    softgpu_set_knobs(ref_gpu(f.ref), &k);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(other.c), 0);
    fx_close(&f);
}

/* ---- any lists at all -------------------------------------------------------------------------------- */

enum { CROWD = 3, CROWD_OPENS = 7 };

struct crowd {
    struct fx f;
    struct peer who[CROWD];
    struct vidmm_open *op[CROWD][CROWD_OPENS];
    uint64_t va[CROWD][CROWD_OPENS], sum[CROWD][CROWD_OPENS];
    uint32_t count[CROWD][CROWD_OPENS];
    uint64_t random;
};

static uint32_t draw(struct crowd *c, uint32_t n)
{
    c->random = c->random * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(c->random >> 33) % n;
}

static void crowd_open(struct crowd *c, uint64_t seed)
{
    static const uint32_t sets[] = {SEG1, SEG2, SEG1 | SEG2, SEG1 | SYS, SEG2 | SYS, SEG1 | SEG2 | SYS};
    memset(c, 0, sizeof *c);
    c->random = seed;
    fx_init(&c->f, seed & 1 ? REF_FORMAT_A : REF_FORMAT_B);
    c->f.opt.segment[0].bytes = 4 * MIB;
    c->f.opt.segment[1].bytes = 4 * MIB;
    fx_start(&c->f);
    for (uint32_t d = 0; d < CROWD; d++) {
        c->who[d] = fx_peer(c->f.p);
        for (uint32_t i = 0; i < CROWD_OPENS; i++) {
            uint32_t set = sets[draw(c, 6)], preferred = set & SEG1 ? 1 : 2;
            if ((set & SEG2) && draw(c, 2)) preferred = 2;
            c->op[d][i] = fx_alloc_priority(c->who[d].d, (1 + draw(c, 28)) * 64 * KIB, set, preferred,
                                            1 + draw(c, 3) * 0x1000);
            c->va[d][i] = fx_map_all(c->who[d].q, c->op[d][i]);
        }
    }
    fx_run(&c->f);
    vidmm_process_set_budget(c->f.p, UINT64_MAX);
}

/* Adds a stamp to everything on a device's list: a copy that is lost or stale shows in the sum at the end. */
static void crowd_work(struct crowd *c, uint32_t d, uint64_t stamp)
{
    for (uint32_t i = 0; i < CROWD_OPENS; i++) {
        if (c->count[d][i] == 0) continue;
        (void)ref_emit_add64(fx_words(&c->f, 3), c->va[d][i] + 64, stamp);
        c->sum[d][i] += stamp;
    }
    fx_submit(&c->f, c->who[d].c);
}

static void crowd_settle(struct crowd *c)
{
    fx_run(&c->f);
    for (uint32_t d = 0; d < CROWD; d++) {
        assert_int_equal(vidmm_device_state(c->who[d].d), VIDMM_DEVICE_ACTIVE);
        assert_int_equal(vidmm_context_pending(c->who[d].c), 0);
        assert_true(fx_queue_done(c->who[d].q));
    }
}

/* Takes everything off the lists and reads the sums with the CPU. */
static void crowd_check(struct crowd *c)
{
    for (uint32_t k = 0; k < CROWD * CROWD_OPENS; k++) {
        uint32_t d = k / CROWD_OPENS, i = k % CROWD_OPENS;
        void *cpu;
        while (c->count[d][i] > 0) {
            fx_evict(c->who[d].d, c->op[d][i], 0);
            c->count[d][i]--;
        }
        assert_true(vidmm_open_lock(c->op[d][i], &cpu) >= 0);
        fx_run(&c->f);
        assert_true(vidmm_open_lock_ready(c->op[d][i]));
        assert_int_equal(((uint64_t *)cpu)[8], c->sum[d][i]);
    }
}

static void crowd_step(struct crowd *c, uint64_t stamp)
{
    uint32_t d = draw(c, CROWD), i = draw(c, CROWD_OPENS), what = draw(c, 8);
    struct vidmm_open *op = c->op[d][i];
    uint64_t trim;
    if (what < 4) {
        vidmm_status st = make_resident(c->who[d].q, &op, 1, VIDMM_RESIDENT_CANT_TRIM_FURTHER, &trim);
        assert_true(st >= 0 || st == VIDMM_NO_MEMORY);
        if (st >= 0) c->count[d][i]++;
    } else if (what < 6 && c->count[d][i] > 0) {
        crowd_settle(c); /* a client evicts what its queued packets do not use */
        fx_evict(c->who[d].d, op, 0);
        c->count[d][i]--;
    } else {
        crowd_work(c, d, stamp);
    }
}

/* Whatever lists are accepted: every device gets its turn, every fence is reached, all comes to rest. */
static void accepted_lists_always_settle(void **state)
{
    static struct crowd c;
    uint64_t first = vt_seed(), rounds = vt_rounds(30);
    (void)state;
    print_message("seeds %llu..%llu\n", (unsigned long long)first, (unsigned long long)(first + rounds - 1));
    for (uint64_t seed = first; seed < first + rounds; seed++) {
        crowd_open(&c, seed);
        for (uint64_t n = 1; n <= 60; n++) {
            crowd_step(&c, n);
            if (draw(&c, 3) == 0) crowd_settle(&c);
            if (c.f.cmd_used > 12 * 1024) {
                crowd_settle(&c);
                c.f.cmd_used = 0;
            }
        }
        crowd_settle(&c);
        crowd_check(&c);
        fx_close(&c.f);
    }
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(counts_are_kept_per_open, "RES-05 RES-12", NULL),
        VT_TEST(naming_an_open_twice_counts_twice, "RES-05", NULL),
        VT_TEST(make_resident_is_all_or_nothing, "RES-06 RES-08", NULL),
        VT_TEST(counts_do_not_wrap, "", NULL),
        VT_TEST(statuses_of_make_resident, "RES-07", NULL),
        VT_TEST(evict_reports_what_is_still_over_the_budget, "RES-13", NULL),
        VT_TEST(the_budget_counts_an_open_once, "", NULL),
        VT_TEST(cant_trim_further_ignores_the_budget_only, "RES-10", NULL),
        VT_TEST(must_succeed_puts_the_device_in_error, "RES-10 FLT-22", NULL),
        VT_TEST(must_succeed_without_bookkeeping_memory, "FLT-22", NULL),
        VT_TEST(evict_below_zero_changes_nothing, "RES-15", NULL),
        VT_TEST(evict_is_lazy_and_leaves_the_list_at_once, "RES-12 RES-24", NULL),
        VT_TEST(not_written_to_saves_the_copy, "RES-14", NULL),
        VT_TEST(not_written_to_ends_with_the_next_make_resident, "RES-24", NULL),
        VT_TEST(not_written_to_needs_the_earlier_stays_too, "RES-24", NULL),
        VT_TEST(what_is_admitted_fits_beside_the_tables, "RES-10", NULL),
        VT_TEST(admission_does_not_cut_allocations, "RES-10", NULL),
        VT_TEST(admission_counts_supported_segments_only, "RES-10", NULL),
        VT_TEST(the_budget_is_the_application_segments, "RES-18 SEG-30", NULL),
        VT_TEST(devices_take_turns, "RES-23", NULL),
        VT_TEST(other_devices_run_meanwhile, "RES-22 RES-03", NULL),
        VT_TEST(accepted_lists_always_settle, "RES-23 RES-10", NULL),
    };
    return vt_main(argc, argv, "core_resid", cases, VT_COUNT(cases));
}
