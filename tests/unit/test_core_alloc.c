/* SPDX-License-Identifier: MIT */
/* test_core_alloc.c - allocations: what the driver may answer, deferred destruction, CPU access. */
#define _GNU_SOURCE
#include "core/core.h"

#include "core_fixture.h"

#include <string.h>
#include <sys/mman.h>

#define BASE 0x200000000ull

static struct vidmm_fence *gate_new(struct vidmm_device *d)
{
    struct vidmm_fence *gate;
    assert_int_equal(vidmm_fence_create(d, 0, 0, &gate), VIDMM_OK);
    return gate;
}

static void *lock_now(struct vidmm_open *op)
{
    void *cpu = NULL;
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_OK);
    assert_true(vidmm_open_lock_ready(op));
    return cpu;
}

static void unlock(struct vidmm_open *op) { assert_int_equal(vidmm_open_unlock(op), VIDMM_OK); }

/* ---- creation ------------------------------------------------------------------------------------- */

static void answer_preferred_outside(struct vidmm_kmd_allocation *a) { a->preferred = 1; }
static void answer_preferred_unknown(struct vidmm_kmd_allocation *a) { a->preferred = 33; }
static void answer_no_segment(struct vidmm_kmd_allocation *a) { a->supported = 0; }
static void answer_unknown_segment(struct vidmm_kmd_allocation *a) { a->supported |= 8; }
static void answer_no_priority(struct vidmm_kmd_allocation *a) { a->priority = 0; }
static void answer_odd_alignment(struct vidmm_kmd_allocation *a) { a->alignment = 3 * 4096; }
static void answer_no_bytes(struct vidmm_kmd_allocation *a) { a->bytes = 0; }
static void answer_huge(struct vidmm_kmd_allocation *a) { a->bytes = UINT64_MAX - 100; }

/* What a driver answers wrongly is refused, and its object is given back to it. */
static void the_drivers_answer_is_checked(void **state)
{
    static void (*const wrong[])(struct vidmm_kmd_allocation *) = {
        answer_preferred_outside, answer_preferred_unknown, answer_no_segment, answer_unknown_segment,
        answer_no_priority, answer_odd_alignment, answer_no_bytes, answer_huge};
    struct fx f;
    struct vidmm_open *op;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct ref_alloc_private in = {.magic = REF_ALLOC_MAGIC, .bytes = PAGE, .supported = SEG2};
    uint64_t before = vidmm_state_hash(f.ad);
    for (size_t i = 0; i < VT_COUNT(wrong); i++) {
        uint32_t at = 0;
        fx_forget(&f);
        f.hooks.alloc = wrong[i];
        assert_int_equal(fx_try_alloc(f.d, &in, &op), VIDMM_INVALID);
        const struct event *made = fx_next(&f, EV_CREATE_ALLOC, &at);
        const struct event *gone = fx_next(&f, EV_DESTROY_ALLOC, &at);
        assert_ptr_equal(made->object, gone->object);
    }
    assert_int_equal(vidmm_state_hash(f.ad), before);
    fx_close(&f);
}

/* A segment of 64 KB pages forces alignments of 64 KB on all who list it. */
static void large_pages_force_alignment(void **state)
{
    struct fx f;
    struct vidmm_open *op;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct ref_alloc_private in = {.magic = REF_ALLOC_MAGIC, .bytes = 1, .supported = SEG1 | SYS,
                                   .alignment = 4096};
    fx_forget(&f);
    assert_int_equal(fx_try_alloc(f.d, &in, &op), VIDMM_INVALID);
    uint32_t at = 0;
    const struct event *made = fx_next(&f, EV_CREATE_ALLOC, &at), *gone = fx_next(&f, EV_DESTROY_ALLOC, &at);
    assert_non_null(made);
    assert_non_null(gone);
    assert_ptr_equal(made->object, gone->object);
    in.alignment = 131072;
    assert_int_equal(fx_try_alloc(f.d, &in, &op), VIDMM_OK);
    assert_int_equal(vidmm_open_bytes(op), 65536);
    uint64_t va = fx_map_all(f.q, op);
    assert_int_equal(va % 131072, 0);
    assert_int_equal(fx_map(f.q, op, 0, 3 * PAGE, PAGE) % 131072, 3 * PAGE);
    in = (struct ref_alloc_private){.magic = REF_ALLOC_MAGIC, .bytes = 1, .supported = SEG2 | SYS};
    assert_int_equal(fx_try_alloc(f.d, &in, &op), VIDMM_OK);
    assert_int_equal(vidmm_open_bytes(op), PAGE);
    fx_close(&f);
}

/* Sizes that no segment of the set can ever hold are refused; system memory is not limited by segments. */
static void sizes_must_fit_a_segment(void **state)
{
    struct fx f;
    struct vidmm_open *op;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct ref_alloc_private in = {.magic = REF_ALLOC_MAGIC, .bytes = 17 * MIB, .supported = SEG1,
                                   .alignment = 65536};
    uint64_t before = vidmm_state_hash(f.ad);
    assert_int_equal(fx_try_alloc(f.d, &in, &op), VIDMM_NO_VIDEO_MEMORY);
    assert_int_equal(vidmm_state_hash(f.ad), before);
    in.supported = SEG1 | SYS;
    assert_int_equal(fx_try_alloc(f.d, &in, &op), VIDMM_OK);
    in.supported = SEG1 | SEG2;
    assert_int_equal(fx_try_alloc(f.d, &in, &op), VIDMM_OK);
    fx_close(&f);
}

/* The client's own memory: page aligned, large enough, system memory only; it is really used. */
static void existing_memory(void **state)
{
    struct fx f;
    struct vidmm_open *op;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    uint8_t *mine = mmap(NULL, 64 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(mine, MAP_FAILED);
    struct ref_alloc_private in = {.magic = REF_ALLOC_MAGIC, .bytes = 64 * KIB};
    struct vidmm_alloc_desc desc = {&in, sizeof in, mine + 8, 64 * KIB, 0};
    assert_int_equal(vidmm_alloc_create(f.d, &desc, &op), VIDMM_INVALID);
    desc.existing = mine;
    desc.existing_bytes = 60 * KIB;
    assert_int_equal(vidmm_alloc_create(f.d, &desc, &op), VIDMM_INVALID);
    desc.existing_bytes = 0;
    assert_int_equal(vidmm_alloc_create(f.d, &desc, &op), VIDMM_INVALID);
    desc.existing_bytes = 64 * KIB;
    memset(mine, 0x3c, 64 * KIB);
    assert_int_equal(vidmm_alloc_create(f.d, &desc, &op), VIDMM_OK);
    fx_resident(f.q, op);
    uint64_t va = fx_map_all(f.q, op);
    assert_int_equal(fx_gpu_read(&f, va + 8 * KIB), 0x3c3c3c3c3c3c3c3cull);
    fx_fill(&f, f.c, va, 0x4d4d4d4d, PAGE);
    fx_run(&f);
    assert_int_equal(mine[100], 0x4d);
    vidmm_open_close(op, 0);
    fx_run(&f);
    assert_int_equal(mine[PAGE], 0x3c);
    assert_int_equal(munmap(mine, 64 * KIB), 0);
    fx_close(&f);
}

/* ---- zeros ------------------------------------------------------------------------------------------ */

/* The first placement fills with zeros, before any entry names the pages; later ones copy. */
static void new_content_is_filled_before_it_is_shown(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *dirt = fx_alloc(f.d, 12 * MIB, SEG1, 1);
    uint64_t va = fx_map_all(f.q, dirt);
    fx_resident(f.q, dirt);
    fx_fill(&f, f.c, va, 0xdeadbeef, 12 * MIB);
    fx_run(&f);
    vidmm_open_close(dirt, 0);
    fx_run(&f);
    struct vidmm_open *op = fx_alloc(f.d, 12 * MIB, SEG1 | SYS, 1);
    va = fx_map_all(f.q, op);
    fx_forget(&f);
    fx_resident(f.q, op);
    fx_run(&f);
    uint32_t at = 0, uat = 0;
    const struct event *fill = fx_next_op(&f, VIDMM_OP_VIRTUAL_FILL, &at), *shown;
    assert_non_null(fill);
    assert_int_equal(fill->op.fill.pattern, 0);
    assert_int_equal(fill->op.fill.bytes, 12 * MIB);
    do shown = fx_next(&f, EV_UPDATE, &uat);
    while (shown != NULL && shown->update.first_va != va);
    assert_non_null(shown);
    assert_true(fx_index(&f, fill) < fx_index(&f, shown));
    assert_int_equal(fx_count_ops(&f, VIDMM_OP_VIRTUAL_TRANSFER), 0);
    assert_int_equal(fx_gpu_read(&f, va), 0);
    assert_int_equal(fx_gpu_read(&f, va + 12 * MIB - 8), 0);
    fx_close(&f);
}

/* Content written through the CPU before is copied, not wiped. */
static void locked_content_is_not_filled(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1, 1);
    uint64_t va = fx_map_all(f.q, op);
    memset(lock_now(op), 0x2f, MIB);
    unlock(op);
    fx_forget(&f);
    fx_resident(f.q, op);
    fx_run(&f);
    assert_int_equal(fx_count_ops(&f, VIDMM_OP_VIRTUAL_FILL), 0);
    assert_int_equal(fx_gpu_read(&f, va + 512 * KIB), 0x2f2f2f2f2f2f2f2full);
    fx_close(&f);
}

/* ---- destruction ------------------------------------------------------------------------------------- */

/* Queued work may still use it: addresses and entries live until that has finished. The call does not
 * wait. */
static void destruction_waits_for_queued_work(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1, 1);
    struct vidmm_fence *gate = gate_new(f.d);
    uint64_t va = fx_map_all(f.q, op);
    fx_resident(f.q, op);
    fx_run(&f);
    fx_wait_packet(&f, f.c, vidmm_fence_gpu_address(gate), 1);
    (void)ref_emit_copy(fx_words(&f, 4), f.cmd_va + 128 * KIB, va, 64);
    fx_submit(&f, f.c);
    fx_run(&f);
    f.cmd_cpu[128 * KIB / 8] = 7;
    fx_forget(&f);
    vidmm_open_close(op, 0);
    fx_run(&f);
    assert_int_equal(fx_count(&f, EV_DESTROY_ALLOC), 0);
    struct vidmm_va_info info;
    assert_int_equal(vidmm_va_query(f.p, va, &info), VIDMM_OK);
    assert_true(info.bound);
    fx_fill(&f, f.c, f.cmd_va + 192 * KIB, 0x1b, 64); /* later work does not hold it */
    struct vidmm_fence *late = gate_new(f.d);
    fx_wait_packet(&f, f.c, vidmm_fence_gpu_address(late), 1);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(f.cmd_cpu[128 * KIB / 8], 0);
    assert_int_equal(fx_count(&f, EV_DESTROY_ALLOC), 1);
    assert_int_equal(vidmm_va_query(f.p, va, &info), VIDMM_INVALID);
    assert_int_equal(vidmm_context_pending(f.c), 1);
    assert_int_equal(vidmm_fence_signal(late, 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    fx_close(&f);
}

/* AssumeNotInUse skips the wait. */
static void assume_not_in_use_does_not_wait(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1, 1);
    struct vidmm_fence *gate = gate_new(f.d);
    uint64_t va = fx_map_all(f.q, op);
    fx_resident(f.q, op);
    fx_run(&f);
    fx_wait_packet(&f, f.c, vidmm_fence_gpu_address(gate), 1);
    fx_run(&f);
    fx_forget(&f);
    vidmm_open_close(op, VIDMM_DESTROY_ASSUME_NOT_IN_USE);
    fx_run(&f);
    assert_int_equal(fx_count(&f, EV_DESTROY_ALLOC), 1);
    struct vidmm_va_info info;
    assert_int_equal(vidmm_va_query(f.p, va, &info), VIDMM_INVALID);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&f);
    fx_close(&f);
}

/* Driver objects go in this order: allocations and contexts of a process before the process. */
static void driver_objects_go_in_order(void **state)
{
    struct fx f;
    struct vidmm_process *p;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    assert_int_equal(vidmm_process_create(f.ad, &p), VIDMM_OK);
    struct peer one = fx_peer(p), two = fx_peer(p);
    struct vidmm_open *op[3];
    for (int i = 0; i < 3; i++) {
        op[i] = fx_alloc(one.d, MIB, SEG1, 1);
        fx_map_all(one.q, op[i]);
        fx_resident(one.q, op[i]);
    }
    fx_run(&f);
    assert_int_equal(vidmm_context_submit(two.c, 0x10000, 8, NULL, 0, VIDMM_SUBMIT_NULL), VIDMM_OK);
    fx_run_core(&f);
    uint32_t free_before = pagepool_free_pages(&f.ad->segment[1].pool);
    fx_forget(&f);
    assert_true(fx_destroy_process(&f, p));
    uint32_t at = 0, contexts = 0, allocs = 0;
    const struct event *gone = fx_next(&f, EV_DESTROY_PROCESS, &at), *e;
    for (at = 0; (e = fx_next(&f, EV_DESTROY_CONTEXT, &at)) != NULL; contexts++)
        assert_true(fx_index(&f, e) < fx_index(&f, gone));
    for (at = 0; (e = fx_next(&f, EV_DESTROY_ALLOC, &at)) != NULL; allocs++)
        assert_true(fx_index(&f, e) < fx_index(&f, gone));
    assert_int_equal(contexts, 2);
    assert_int_equal(allocs, 3);
    assert_int_equal(pagepool_free_pages(&f.ad->segment[1].pool), free_before + 48);
    fx_close(&f);
}

/* A dying allocation must not be picked as a victim: its memory would be freed under the mover. */
static void dying_allocations_are_no_victims(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *a = fx_alloc(f.d, 10 * MIB, SEG1, 1), *b = fx_alloc(f.d, 10 * MIB, SEG1, 1);
    fx_map_all(f.q, a);
    fx_resident(f.q, a);
    fx_run(&f);
    fx_evict(f.d, a, 0);
    vidmm_open_close(a, VIDMM_DESTROY_ASSUME_NOT_IN_USE);
    fx_resident(f.q, b);
    fx_run(&f);
    assert_int_equal(fx_place(b).segment, 1);
    fx_close(&f);
}

/* ---- CPU access ---------------------------------------------------------------------------------------- */

/* A lock may last for the whole life, and nests. */
static void locks_nest(void **state)
{
    struct fx f;
    void *again;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SYS, 0);
    assert_int_equal(vidmm_open_unlock(op), VIDMM_INVALID);
    void *cpu = lock_now(op);
    assert_int_equal(vidmm_open_lock(op, &again), VIDMM_OK);
    assert_ptr_equal(again, cpu);
    unlock(op);
    fx_resident(f.q, op);
    uint64_t va = fx_map_all(f.q, op);
    fx_fill(&f, f.c, va, 0x1234abcd, MIB);
    fx_run(&f);
    assert_int_equal(*(uint32_t *)cpu, 0x1234abcd);
    unlock(op);
    assert_int_equal(vidmm_open_unlock(op), VIDMM_INVALID);
    fx_close(&f);
}

/* Locked while in memory: the content comes to system memory, stays there, and goes back afterwards. */
static void a_lock_brings_the_content_home(void **state)
{
    struct fx f;
    void *cpu;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1 | SYS, 1);
    uint64_t va = fx_map_all(f.q, op);
    fx_resident(f.q, op);
    fx_fill(&f, f.c, va, 0x77665544, MIB);
    fx_run(&f);
    assert_int_equal(fx_place(op).segment, 1);
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_PENDING);
    assert_false(vidmm_open_lock_ready(op));
    fx_run(&f);
    assert_true(vidmm_open_lock_ready(op));
    assert_int_equal(*(uint32_t *)cpu, 0x77665544);
    *(uint64_t *)cpu = 0x1111222233334444ull;
    assert_int_equal(fx_gpu_read(&f, va), 0x1111222233334444ull);
    fx_run(&f);
    assert_int_equal(fx_place(op).segment, 0);
    assert_true(fx_place(op).resident);
    unlock(op);
    fx_run(&f);
    assert_int_equal(fx_place(op).segment, 1);
    assert_int_equal(fx_gpu_read(&f, va), 0x1111222233334444ull);
    fx_close(&f);
}

/* Memory only: lockable while it is not resident, and not committed as long as the lock lasts. */
static void memory_only_allocations_lock_while_out(void **state)
{
    struct fx f;
    void *cpu;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1, 1);
    uint64_t va = fx_map_all(f.q, op);
    memset(lock_now(op), 0x66, MIB);
    fx_resident(f.q, op);
    fx_run(&f);
    assert_false(fx_place(op).resident);
    assert_false(fx_queue_done(f.q));
    unlock(op);
    fx_run(&f);
    assert_true(fx_queue_done(f.q));
    assert_int_equal(fx_place(op).segment, 1);
    assert_int_equal(fx_gpu_read(&f, va), 0x6666666666666666ull);
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_BUSY);
    assert_int_equal(vidmm_open_unlock(op), VIDMM_INVALID);
    fx_evict(f.d, op, 0);
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_PENDING);
    fx_run(&f);
    assert_true(vidmm_open_lock_ready(op));
    assert_int_equal(*(uint8_t *)cpu, 0x66);
    unlock(op);
    fx_close(&f);
}

/* A promotion waits for an engine when the CPU locks: the content must stay where the pointer points. */
static void a_lock_beats_a_promotion_that_waits(void **state)
{
    struct fx f;
    void *cpu;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct peer other = fx_peer(f.p);
    struct vidmm_open *big = fx_alloc(other.d, 10 * MIB, SEG1, 1);
    struct vidmm_open *op = fx_alloc(f.d, 10 * MIB, SEG1 | SYS, 1);
    struct vidmm_fence *gate = gate_new(f.d);
    uint64_t va = fx_map_all(f.q, op);
    fx_resident(other.q, big);
    fx_run(&f);
    fx_resident(f.q, op);
    fx_run(&f);
    assert_int_equal(fx_place(op).segment, 0);
    fx_wait_packet(&f, f.c, vidmm_fence_gpu_address(gate), 1);
    fx_run(&f);
    vidmm_open_close(big, VIDMM_DESTROY_ASSUME_NOT_IN_USE);
    fx_run(&f);
    assert_ptr_equal(f.ad->move.al, op->al); /* the promotion has begun and waits for the packet */
    assert_true(vidmm_open_lock(op, &cpu) >= 0);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&f);
    assert_true(vidmm_open_lock_ready(op));
    fx_fill(&f, f.c, va, 0x0badcafe, 64);
    fx_run(&f);
    assert_int_equal(*(uint32_t *)cpu, 0x0badcafe);
    unlock(op);
    fx_run(&f);
    fx_close(&f);
}

/* Closing a locked allocation while its content is on the way. */
static void close_while_a_lock_is_pending(void **state)
{
    struct fx f;
    void *cpu;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1 | SYS, 1);
    fx_map_all(f.q, op);
    fx_resident(f.q, op);
    fx_run(&f);
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_PENDING);
    fx_run_core(&f);
    vidmm_open_close(op, 0);
    fx_run(&f);
    assert_int_equal(f.count.allocs_live, 1);
    fx_close(&f);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(the_drivers_answer_is_checked, "SEG-13", NULL),
        VT_TEST(large_pages_force_alignment, "SEG-22 ALC-09", NULL),
        VT_TEST(sizes_must_fit_a_segment, "ALC-08", NULL),
        VT_TEST(existing_memory, "", NULL),
        VT_TEST(new_content_is_filled_before_it_is_shown, "ALC-52", NULL),
        VT_TEST(locked_content_is_not_filled, "ALC-52", NULL),
        VT_TEST(destruction_waits_for_queued_work, "ALC-19 ALC-22", NULL),
        VT_TEST(assume_not_in_use_does_not_wait, "ALC-20", NULL),
        VT_TEST(driver_objects_go_in_order, "ALC-23", NULL),
        VT_TEST(dying_allocations_are_no_victims, "", NULL),
        VT_TEST(locks_nest, "ALC-29 ALC-31", NULL),
        VT_TEST(a_lock_brings_the_content_home, "ALC-37", NULL),
        VT_TEST(memory_only_allocations_lock_while_out, "ALC-35 ALC-36", NULL),
        VT_TEST(a_lock_beats_a_promotion_that_waits, "ALC-29", NULL),
        VT_TEST(close_while_a_lock_is_pending, "", NULL),
    };
    return vt_main(argc, argv, "core_alloc", cases, VT_COUNT(cases));
}
