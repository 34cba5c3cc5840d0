/* SPDX-License-Identifier: MIT */
/* test_core_paging.c - paging operations: their order, how they are cut, and how paging queues tell of
 * them. */
#include <string.h>

#include "core/core.h"

#include "core_fixture.h"

#define BASE 0x200000000ull
#define WINDOW (32ull * MIB)

/* A world with a memory segment larger than a scratch window. */
static void open_large(struct fx *f)
{
    fx_init(f, REF_FORMAT_A);
    f->opt.segment[0].bytes = 256 * MIB;
    fx_start(f);
}

static const struct event *submit_after(const struct fx *f, const struct event *e)
{
    uint32_t at = fx_index(f, e);
    const struct event *s;
    while ((s = fx_next(f, EV_SUBMIT, &at)) != NULL)
        if (s->submit.flags & VIDMM_SUBMIT_PAGING) break;
    return s;
}

/* Newest update of the paging space's window before an event. */
static const struct event *window_write(const struct fx *f, const struct event *before, uint32_t window,
                                        bool first)
{
    uint64_t start = VMM_SCRATCH_START + window * WINDOW;
    const struct event *e, *found = NULL;
    uint32_t at = 0;
    while ((e = fx_next(f, EV_UPDATE, &at)) != NULL && e < before) {
        bool here = e->object == f->ad->paging.kmd_process && e->update.first_va >= start &&
                    e->update.first_va < start + WINDOW;
        if (here && (found == NULL || !first)) found = e;
    }
    return found;
}

static const struct event *paging_flush_before(const struct fx *f, const struct event *before, uint64_t va)
{
    const struct event *e, *found = NULL;
    uint32_t at = 0;
    while ((e = fx_next_op(f, VIDMM_OP_FLUSH_TLB, &at)) != NULL && e < before) {
        bool all = e->op.flush.end_va == 0;
        bool covers = all || (e->op.flush.start_va <= va && e->op.flush.end_va > va);
        if (e->op.flush.process == f->ad->paging.kmd_process && covers) found = e;
    }
    return found;
}

/* ---- order ------------------------------------------------------------------------------------------- */

/* Source entries, destination entries, flush of the paging process, transfer, submit. */
static void sequence_of_a_transfer(void **state)
{
    struct fx f;
    void *cpu;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1 | SYS, 1);
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_OK);
    assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
    fx_forget(&f);
    fx_resident(f.q, op);
    fx_run(&f);
    uint32_t at = 0;
    const struct event *copy = fx_next_op(&f, VIDMM_OP_VIRTUAL_TRANSFER, &at);
    assert_non_null(copy);
    assert_int_equal(copy->op.transfer.source_va, VMM_SCRATCH_START);
    assert_int_equal(copy->op.transfer.destination_va, VMM_SCRATCH_START + WINDOW);
    assert_int_equal(copy->op.transfer.direction, VIDMM_SYSTEM_TO_LOCAL);
    assert_ptr_equal(copy->op.transfer.allocation, op->al->kmd_allocation);
    const struct event *source = window_write(&f, copy, 0, false), *target = window_write(&f, copy, 1, true);
    const struct event *flush = paging_flush_before(&f, copy, copy->op.transfer.destination_va);
    assert_non_null(source);
    assert_non_null(target);
    assert_non_null(flush);
    assert_non_null(paging_flush_before(&f, copy, copy->op.transfer.source_va));
    assert_true(fx_index(&f, source) < fx_index(&f, target));
    assert_true(fx_index(&f, target) < fx_index(&f, flush));
    assert_true(fx_index(&f, flush) < fx_index(&f, copy));
    const struct event *submit = submit_after(&f, copy);
    assert_non_null(submit);
    assert_int_equal(submit->submit.va, copy->buffer_va);
    fx_close(&f);
}

/* Entries, flush, fill, submit; memory segments only. */
static void sequence_of_a_fill(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1 | SYS, 1), *sys = fx_alloc(f.d, MIB, SYS, 0);
    fx_forget(&f);
    fx_resident(f.q, sys);
    fx_run(&f);
    assert_int_equal(fx_count_ops(&f, VIDMM_OP_VIRTUAL_FILL), 0);
    fx_resident(f.q, op);
    fx_run(&f);
    uint32_t at = 0;
    const struct event *fill = fx_next_op(&f, VIDMM_OP_VIRTUAL_FILL, &at);
    assert_non_null(fill);
    assert_int_equal(fill->op.fill.pattern, 0);
    const struct event *target = window_write(&f, fill, 1, false);
    const struct event *flush = paging_flush_before(&f, fill, fill->op.fill.destination_va);
    assert_non_null(target);
    assert_non_null(flush);
    assert_true(fx_index(&f, target) < fx_index(&f, flush));
    assert_true(fx_index(&f, flush) < fx_index(&f, fill));
    assert_int_equal(submit_after(&f, fill)->submit.va, fill->buffer_va);
    assert_int_equal(fx_count_ops(&f, VIDMM_OP_VIRTUAL_FILL), 1);
    fx_close(&f);
}

/* Nothing of the chunk after is mapped into a window before the chunk before has been done. */
static void windows_are_not_moved_under_a_transfer(void **state)
{
    struct fx f;
    struct softgpu_knobs k = {.hang_nodes = 1u << REF_NODE_PAGING};
    (void)state;
    open_large(&f);
    struct vidmm_open *op = fx_alloc(f.d, 70 * MIB, SEG1, 1);
    softgpu_set_knobs(ref_gpu(f.ref), &k);
    fx_forget(&f);
    fx_resident(f.q, op);
    fx_run(&f);
    assert_int_equal(fx_count_ops(&f, VIDMM_OP_VIRTUAL_FILL), 1);
    uint32_t updates = fx_count(&f, EV_UPDATE);
    fx_run(&f);
    assert_int_equal(fx_count(&f, EV_UPDATE), updates);
    k.hang_nodes = 0;
    softgpu_set_knobs(ref_gpu(f.ref), &k);
    fx_run(&f);
    assert_int_equal(fx_count_ops(&f, VIDMM_OP_VIRTUAL_FILL), 3);
    fx_close(&f);
}

/* ---- chunks ------------------------------------------------------------------------------------------ */

/* Every byte moves exactly once; the first part says START, the last END, a single one both. */
static void every_byte_moves_once(void **state)
{
    static const uint64_t sizes[] = {64 * KIB, 32 * MIB, 32 * MIB + 64 * KIB, 100 * MIB};
    struct fx f;
    void *cpu;
    (void)state;
    open_large(&f);
    for (size_t s = 0; s < VT_COUNT(sizes); s++) {
        struct vidmm_open *op = fx_alloc(f.d, sizes[s], SEG1 | SYS, 1);
        assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_OK);
        assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
        fx_forget(&f);
        fx_resident(f.q, op);
        fx_run(&f);
        uint32_t at = 0;
        uint64_t done = 0;
        for (const struct event *e; (e = fx_next_op(&f, VIDMM_OP_VIRTUAL_TRANSFER, &at)) != NULL;) {
            assert_int_equal(e->op.transfer.allocation_offset, done);
            assert_true(e->op.transfer.bytes <= WINDOW);
            assert_int_equal((e->op.transfer.flags & VIDMM_TRANSFER_START) != 0, done == 0);
            done += e->op.transfer.bytes;
            assert_int_equal((e->op.transfer.flags & VIDMM_TRANSFER_END) != 0, done == sizes[s]);
        }
        assert_int_equal(done, sizes[s]);
        vidmm_open_close(op, 0);
        fx_run(&f);
    }
    fx_close(&f);
}

/* Buffers reach the engine in the order in which they were built. */
static void submits_follow_builds(const struct fx *f)
{
    const struct event *b, *s;
    uint32_t at = 0, sat = 0;
    uint64_t va = 0;
    while ((b = fx_next(f, EV_BUILD, &at)) != NULL) {
        if (b->buffer_va == va) continue;
        va = b->buffer_va;
        do s = fx_next(f, EV_SUBMIT, &sat);
        while (s != NULL && !(s->submit.flags & VIDMM_SUBMIT_PAGING));
        assert_non_null(s);
        assert_int_equal(s->submit.va, va);
    }
}

/* The driver stops halfway for lack of room: what there is is submitted, and the same operation comes again
 * with the driver's own progress and the same flags. */
static void buffer_full_keeps_the_drivers_progress(void **state)
{
    struct fx f;
    void *cpu;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, 8 * MIB, SEG1 | SYS, 1);
    uint64_t va = fx_map_all(f.q, op);
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_OK);
    for (uint64_t i = 0; i < MIB; i++) ((uint64_t *)cpu)[i] = i * 0x9e3779b97f4a7c15ull;
    assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
    f.hooks.full_with_progress = 3;
    fx_forget(&f);
    fx_resident(f.q, op);
    fx_run(&f);
    uint32_t at = 0, tries = 0;
    uint64_t progress = 0;
    const struct event *e, *last = NULL;
    while ((e = fx_next(&f, EV_BUILD, &at)) != NULL) {
        if (e->op.code != VIDMM_OP_VIRTUAL_TRANSFER) continue;
        assert_int_equal(e->multipass_in, progress);
        assert_int_equal(e->op.transfer.flags, VIDMM_TRANSFER_START | VIDMM_TRANSFER_END);
        assert_int_equal(e->op.transfer.bytes, 8 * MIB);
        if (last != NULL) assert_int_equal(e->buffer_used_in, 0); /* the one before is on its way */
        if (last != NULL) assert_int_not_equal(e->buffer_va, last->buffer_va);
        progress = e->multipass_out;
        last = e;
        tries++;
    }
    assert_int_equal(tries, 4);
    assert_int_equal(last->status, VIDMM_OK);
    submits_follow_builds(&f);
    for (uint64_t i = 0; i < 8; i++)
        assert_int_equal(fx_gpu_read(&f, va + i * MIB), (i * MIB / 8) * 0x9e3779b97f4a7c15ull);
    fx_close(&f);
}

/* Buffers full at every turn: nothing is lost, nothing is done twice. */
static void small_buffers_lose_nothing(void **state)
{
    struct fx f;
    struct softgpu_knobs k = {.buffer_full_every = 2, .copy_bytes_max = 4096};
    void *cpu;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, 4 * MIB, SEG1 | SYS, 1);
    uint64_t va = fx_map_all(f.q, op);
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_OK);
    for (uint64_t i = 0; i < MIB / 2; i++) ((uint64_t *)cpu)[i] = ~i;
    assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
    softgpu_set_knobs(ref_gpu(f.ref), &k);
    fx_forget(&f);
    fx_resident(f.q, op);
    fx_run(&f);
    uint32_t at = 0;
    for (const struct event *e; (e = fx_next(&f, EV_SUBMIT, &at)) != NULL;) {
        if (!(e->submit.flags & VIDMM_SUBMIT_PAGING)) continue;
        assert_int_equal(e->submit.va % 4096, 0);
        assert_true(e->submit.bytes > 0 && e->submit.bytes <= 4096);
    }
    for (uint64_t i = 0; i < 64; i++) assert_int_equal(fx_gpu_read(&f, va + i * 64 * KIB), ~(i * 8192));
    fx_close(&f);
}

/* A flush cut by a full ring goes on where the driver left it, whatever is asked for meanwhile. */
static void a_cut_flush_goes_on_where_it_was(void **state)
{
    struct fx f;
    struct softgpu_knobs k = {.hang_nodes = 1u << REF_NODE_PAGING};
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_resident(f.q, op);
    for (uint64_t i = 0; i < 24; i++) fx_map(f.q, op, BASE + i * 64 * MIB, 0, MIB);
    fx_run(&f);
    softgpu_set_knobs(ref_gpu(f.ref), &k);
    f.hooks.full_flushes = true;
    fx_forget(&f);
    for (uint64_t i = 0; i < 24; i++) {
        assert_int_equal(vidmm_va_free(f.p, BASE + i * 64 * MIB, MIB), VIDMM_OK);
        if (i % 2 == 0) fx_run(&f); /* 1, 2, 2, ...: the ring of 8 fills between the two of a pair */
    }
    k.hang_nodes = 0;
    softgpu_set_knobs(ref_gpu(f.ref), &k);
    fx_run(&f);
    uint32_t at = 0;
    const struct event *cut = NULL;
    for (const struct event *e; (e = fx_next(&f, EV_BUILD, &at)) != NULL;) {
        if (cut != NULL) {
            assert_int_equal(e->multipass_in, cut->multipass_out);
            assert_int_equal(e->op.flush.start_va, cut->op.flush.start_va);
            assert_int_equal(e->op.flush.end_va, cut->op.flush.end_va);
        }
        cut = e->status == VIDMM_BUFFER_FULL ? e : NULL;
    }
    fx_close(&f);
}

/* A driver may flush without a command (a register write): what waits for the flush must go on. */
static void flushes_may_need_no_bytes(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    f.violations_allowed = true; /* nobody flushes here */
    struct vidmm_open *a = fx_alloc(f.d, MIB, SYS, 0), *b = fx_alloc(f.d, MIB, SYS, 0);
    fx_resident(f.q, a);
    fx_resident(f.q, b);
    fx_map(f.q, a, BASE, 0, MIB);
    fx_run(&f);
    f.hooks.swallow_flushes = true;
    fx_map(f.q, b, BASE, 0, 64 * KIB);
    fx_run(&f);
    assert_true(fx_queue_done(f.q));
    vidmm_open_close(a, 0);
    fx_run(&f);
    assert_int_equal(f.count.allocs_live, 2);
    fx_close(&f);
}

static vidmm_status refuse_build(void *kmd, struct vidmm_paging_buffer *b, const struct vidmm_op *op,
                                 uint64_t *pass)
{
    (void)kmd;
    (void)b;
    (void)op;
    (void)pass;
    return VIDMM_FAILED;
}

static void with_broken_builds(struct vidmm_kmd_ops *o) { o->build_paging_buffer = refuse_build; }

static vidmm_status always_full(void *kmd, struct vidmm_paging_buffer *b, const struct vidmm_op *op,
                                uint64_t *pass)
{
    (void)kmd;
    (void)b;
    (void)op;
    (void)pass;
    return VIDMM_BUFFER_FULL;
}

static void with_full_builds(struct vidmm_kmd_ops *o) { o->build_paging_buffer = always_full; }

/* Any other failure, also a buffer that is full while it is empty, ends the adapter, not the program. */
static void other_failures_end_the_adapter(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        struct fx f;
        fx_init(&f, REF_FORMAT_A);
        f.hooks.ops = kind == 0 ? with_broken_builds : with_full_builds;
        fx_start(&f);
        struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1, 1);
        fx_resident(f.q, op);
        fx_run(&f);
        assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_RESET);
        assert_int_equal(vidmm_fence_value(vidmm_queue_fence(f.q)), UINT64_MAX);
        fx_close(&f);
    }
}

/* ---- queues ------------------------------------------------------------------------------------------ */

/* Values of one queue grow by one operation each, and are reached in order. */
static void values_grow_and_are_reached_in_order(void **state)
{
    struct fx f;
    uint64_t value = 0, before = 0, trim, va;
    struct vidmm_open *op[6];
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    vidmm_queue_delay(f.q, UINT64_MAX);
    before = vidmm_queue_issued(f.q);
    for (int i = 0; i < 6; i++) {
        op[i] = fx_alloc(f.d, MIB, i % 2 ? SEG1 : SYS, 0);
        struct vidmm_map in = {.open = op[i], .bytes = MIB};
        vidmm_status st = i % 3 ? vidmm_va_map(f.q, &in, &va, &value)
                                : vidmm_make_resident(f.q, &op[i], 1, 0, &value, &trim);
        assert_int_equal(st, VIDMM_PENDING);
        assert_int_equal(value, before + 1);
        before = value;
    }
    assert_int_equal(vidmm_queue_issued(f.q), before);
    uint64_t low = fx_done(f.q);
    vidmm_queue_delay(f.q, 0);
    for (int i = 0; i < 200000 && fx_done(f.q) < before; i++) {
        (void)vidmm_run(f.ad, f.now);
        (void)softgpu_engine_step(ref_gpu(f.ref), REF_NODE_PAGING);
        assert_true(fx_done(f.q) >= low && fx_done(f.q) <= before);
        low = fx_done(f.q);
    }
    assert_int_equal(fx_done(f.q), before);
    fx_run(&f);
    fx_close(&f);
}

/* A request that cannot be executed yet holds the later ones of its queue, even those that could. */
static void later_requests_wait_behind_earlier_ones(void **state)
{
    struct fx f;
    struct vidmm_fence *gate;
    struct vidmm_va_info info;
    uint64_t va, first, second;
    (void)state;
    fx_open(&f, REF_FORMAT_B);
    assert_int_equal(vidmm_fence_create(f.d, 0, 0, &gate), VIDMM_OK);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_resident(f.q, op);
    fx_run(&f);
    fx_wait_packet(&f, f.c, vidmm_fence_gpu_address(gate), 1);
    fx_run(&f);
    /* Needs a larger root, and that needs idle contexts. */
    struct vidmm_map far = {.base = BASE, .open = op, .bytes = MIB};
    struct vidmm_map near = {.open = op, .bytes = MIB};
    assert_int_equal(vidmm_va_map(f.q, &far, &va, &first), VIDMM_PENDING);
    assert_int_equal(vidmm_va_map(f.q, &near, &va, &second), VIDMM_PENDING);
    fx_run(&f);
    assert_int_equal(vidmm_va_query(f.p, va, &info), VIDMM_OK);
    assert_false(info.bound);
    assert_true(fx_done(f.q) < first && first < second);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_va_query(f.p, va, &info), VIDMM_OK);
    assert_true(info.bound);
    assert_int_equal(fx_done(f.q), second);
    fx_close(&f);
}

/* What is complete on return says 0, and queues nothing. */
static void value_zero_means_done(void **state)
{
    struct fx f;
    uint64_t value = 5, va, trim;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    uint64_t issued = vidmm_queue_issued(f.q);
    assert_int_equal(vidmm_make_resident(f.q, &op, 1, 0, &value, &trim), VIDMM_OK);
    assert_int_equal(value, 0);
    struct vidmm_map in = {.open = op, .bytes = MIB};
    value = 5;
    assert_int_equal(vidmm_va_map(f.q, &in, &va, &value), VIDMM_OK);
    assert_int_equal(value, 0);
    assert_int_equal(vidmm_queue_issued(f.q), issued);
    assert_int_equal(fx_gpu_read(&f, va), 0);
    fx_close(&f);
}

static bool wrote(const struct fx *f, const struct vidmm_process *p, uint64_t va, uint64_t value)
{
    const struct event *e;
    uint32_t at = 0;
    while ((e = fx_next(f, EV_UPDATE, &at)) != NULL)
        if (e->object == p->space.kmd_process && e->update.first_va == va) return e->fence_value < value;
    return false;
}

/* The caller gets its pages and a value, and goes on: nothing of the work is done in its call. Done are then
 * the entries of every mapping and the zeros of what is new in local memory, and last the value is told. */
static void make_resident_only_queues(void **state)
{
    struct fx f;
    uint64_t value = 0, trim;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1 | SYS, 1);
    uint64_t one = fx_map_all(f.q, op), other = fx_map_all(f.q, op);
    fx_run(&f);
    fx_forget(&f);
    uint64_t before = fx_done(f.q);
    assert_int_equal(vidmm_make_resident(f.q, &op, 1, 0, &value, &trim), VIDMM_PENDING);
    assert_true(value > before && value == vidmm_queue_issued(f.q));
    assert_int_equal(f.log.count, 0); /* the driver heard nothing of it yet */
    assert_int_equal(fx_done(f.q), before);
    uint64_t frames = f.world.live_frames, asked = f.world.asked;
    fx_run(&f);
    assert_int_equal(f.world.live_frames, frames); /* all there since the call */
    assert_int_equal(f.world.asked, asked);
    assert_true(wrote(&f, f.p, one, value));
    assert_true(wrote(&f, f.p, other, value));
    uint32_t at = 0;
    const struct event *fill = fx_next_op(&f, VIDMM_OP_VIRTUAL_FILL, &at);
    assert_int_equal(fx_count_ops(&f, VIDMM_OP_VIRTUAL_FILL), 1);
    assert_true(fill->fence_value < value && submit_after(&f, fill)->fence_value < value);
    assert_int_equal(fx_done(f.q), value);
    fx_close(&f);
}

/* Updates by the GPU that carry a protection, in the chunk that ends with `end`. */
static uint32_t updates_with(const struct fx *f, uint32_t from, const struct event *end, uint64_t protection)
{
    const struct event *e;
    uint32_t n = 0;
    while ((e = fx_next_op(f, VIDMM_OP_UPDATE_PAGE_TABLE, &from)) != NULL && e < end)
        n += e->op.update.driver_protection == protection;
    return n;
}

/* Pages that a client maps with a protection of their own are reached with it by the paging process, too: a
 * format that encrypts by it would copy rubbish. The rest is reached with 0. */
static void unique_protections_hold_for_transfers(void **state)
{
    static const uint64_t want[5] = {0, 1ull << 63 | 0x11, 0, 1ull << 63 | 0x44, 0};
    const uint64_t part = 64 * KIB;
    (void)state;
    for (int mode = VIDMM_UPDATE_CPU_VIRTUAL; mode <= VIDMM_UPDATE_GPU_VIRTUAL; mode++) {
        struct fx f;
        void *cpu;
        uint64_t va, value;
        fx_init(&f, REF_FORMAT_A);
        f.opt.update_mode = (uint32_t)mode;
        fx_start(&f);
        struct vidmm_open *op = fx_alloc(f.d, 5 * part, SEG1 | SYS, 1);
        for (uint32_t i = 1; i < 5; i += 2) {
            struct vidmm_map in = {.open = op, .offset = i * part, .bytes = part};
            in.driver_protection = want[i];
            assert_true(vidmm_va_map(f.q, &in, &va, &value) >= 0);
        }
        uint64_t all = fx_map(f.q, op, 0, 0, part);
        assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_OK);
        memset(cpu, 0x5e, 5 * part);
        assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
        fx_run(&f);
        fx_forget(&f);
        fx_resident(f.q, op);
        fx_run(&f);
        uint32_t at = 0;
        for (uint32_t i = 0; i < 5; i++) {
            uint32_t from = at;
            const struct event *copy = fx_next_op(&f, VIDMM_OP_VIRTUAL_TRANSFER, &at);
            assert_non_null(copy);
            if (mode == VIDMM_UPDATE_GPU_VIRTUAL) assert_true(updates_with(&f, from, copy, want[i]) >= 2);
            assert_int_equal(copy->op.transfer.allocation_offset, i * part);
            assert_int_equal(copy->op.transfer.bytes, part);
            for (uint32_t w = 0; w < 2 && mode == VIDMM_UPDATE_CPU_VIRTUAL; w++)
                assert_true(window_write(&f, copy, w, false)->update.driver_protection == want[i]);
        }
        assert_null(fx_next_op(&f, VIDMM_OP_VIRTUAL_TRANSFER, &at));
        assert_int_equal(fx_gpu_read(&f, all + part - 8), 0x5e5e5e5e5e5e5e5eull);
        assert_int_equal(fx_gpu_read(&f, va + part - 8), 0x5e5e5e5e5e5e5e5eull);
        fx_close(&f);
    }
}

/* The paging fence is a monitored fence like others: GPU waits on it hold packets. */
static void gpu_waits_on_a_paging_fence(void **state)
{
    struct fx f;
    uint64_t value, va;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_fence *fence = vidmm_queue_fence(f.q);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_resident(f.q, op);
    vidmm_queue_delay(f.q, 100);
    struct vidmm_map in = {.open = op, .bytes = MIB, .protection = VIDMM_PROT_WRITE};
    assert_int_equal(vidmm_va_map(f.q, &in, &va, &value), VIDMM_PENDING);
    assert_int_equal(vidmm_context_wait(f.c, &fence, &value, 1), VIDMM_OK);
    fx_fill(&f, f.c, va, 0x18181818, 64);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c), 2);
    assert_true(*vidmm_fence_cpu_address(fence) < value);
    f.now = 100;
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    assert_true(*vidmm_fence_cpu_address(fence) >= value);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    fx_close(&f);
}

/* Priorities -1, 0, 1; the higher is serviced first. Anything else is refused. */
static void queue_priorities(void **state)
{
    struct fx f;
    struct vidmm_queue *q[3], *none;
    uint64_t values[3], va;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    assert_int_equal(vidmm_queue_create(f.d, 2, &none), VIDMM_INVALID);
    assert_int_equal(vidmm_queue_create(f.d, -2, &none), VIDMM_INVALID);
    assert_int_equal(vidmm_queue_create(f.d, INT32_MIN, &none), VIDMM_INVALID);
    struct vidmm_open *op[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(vidmm_queue_create(f.d, i - 1, &q[i]), VIDMM_OK);
        vidmm_queue_delay(q[i], 50);
        op[i] = fx_alloc(f.d, MIB, SYS, 0);
    }
    fx_resident(f.q, op[0]);
    fx_resident(f.q, op[1]);
    fx_resident(f.q, op[2]);
    for (int i = 0; i < 3; i++) {
        struct vidmm_map in = {.base = BASE, .open = op[i], .bytes = MIB};
        assert_int_equal(vidmm_va_map(q[i], &in, &va, &values[i]), VIDMM_PENDING);
    }
    f.now = 50;
    fx_run(&f);
    struct vidmm_va_info info;
    assert_int_equal(vidmm_va_query(f.p, BASE, &info), VIDMM_OK);
    assert_ptr_equal(info.open, op[0]); /* the lowest came last */
    fx_close(&f);
}

/* A destroyed queue finishes what it has; then its fence is gone. */
static void a_destroyed_queue_finishes_first(void **state)
{
    struct fx f;
    struct vidmm_queue *q;
    uint64_t va, value;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    assert_int_equal(vidmm_queue_create(f.d, 0, &q), VIDMM_OK);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    fx_resident(f.q, op);
    vidmm_queue_delay(q, UINT64_MAX);
    struct vidmm_map in = {.base = BASE, .open = op, .bytes = MIB};
    assert_int_equal(vidmm_va_map(q, &in, &va, &value), VIDMM_PENDING);
    uint32_t fences = list_count(&f.d->fences);
    vidmm_queue_destroy(q);
    fx_run(&f);
    struct vidmm_va_info info;
    assert_int_equal(vidmm_va_query(f.p, BASE, &info), VIDMM_OK);
    assert_true(info.bound);
    assert_int_equal(list_count(&f.d->fences), fences - 1);
    assert_int_equal(list_count(&f.d->queues), 1);
    fx_close(&f);
}

/* A queue that does not move holds no other: not of its device, not of another. */
static void a_blocked_queue_blocks_nobody_else(void **state)
{
    struct fx f;
    struct vidmm_queue *second;
    uint64_t va, value;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    assert_int_equal(vidmm_queue_create(f.d, 0, &second), VIDMM_OK);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1, 1), *theirs = fx_alloc(other.d, MIB, SEG1, 1);
    vidmm_queue_delay(f.q, UINT64_MAX);
    struct vidmm_map in = {.open = op, .bytes = MIB};
    assert_int_equal(vidmm_va_map(f.q, &in, &va, &value), VIDMM_PENDING);
    fx_resident(second, op);
    fx_resident(other.q, theirs);
    fx_map_all(other.q, theirs);
    fx_run(&f);
    assert_true(fx_queue_done(second));
    assert_true(fx_queue_done(other.q));
    assert_false(fx_queue_done(f.q));
    vidmm_queue_delay(f.q, 0);
    fx_run(&f);
    fx_close(&f);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(sequence_of_a_transfer, "PAG-21", NULL),
        VT_TEST(sequence_of_a_fill, "PAG-22 PAG-36", NULL),
        VT_TEST(windows_are_not_moved_under_a_transfer, "PAG-24", NULL),
        VT_TEST(every_byte_moves_once, "PAG-20 PAG-27", NULL),
        VT_TEST(buffer_full_keeps_the_drivers_progress, "PAG-25 PAG-27", NULL),
        VT_TEST(small_buffers_lose_nothing, "PAG-25 PAG-35", NULL),
        VT_TEST(a_cut_flush_goes_on_where_it_was, "PAG-25 PT-38", NULL),
        VT_TEST(flushes_may_need_no_bytes, "", NULL),
        VT_TEST(other_failures_end_the_adapter, "PAG-26", NULL),
        VT_TEST(values_grow_and_are_reached_in_order, "PAG-03 PAG-11", NULL),
        VT_TEST(later_requests_wait_behind_earlier_ones, "PAG-11", NULL),
        VT_TEST(value_zero_means_done, "PAG-04", NULL),
        VT_TEST(make_resident_only_queues, "PAG-23", NULL),
        VT_TEST(unique_protections_hold_for_transfers, "VA-39", NULL),
        VT_TEST(gpu_waits_on_a_paging_fence, "PAG-05", NULL),
        VT_TEST(queue_priorities, "PAG-10", NULL),
        VT_TEST(a_destroyed_queue_finishes_first, "PAG-12", NULL),
        VT_TEST(a_blocked_queue_blocks_nobody_else, "PAG-07 PAG-08", NULL),
    };
    return vt_main(argc, argv, "core_paging", cases, VT_COUNT(cases));
}
