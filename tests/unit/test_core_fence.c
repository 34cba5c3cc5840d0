/* SPDX-License-Identifier: MIT */
/* test_core_fence.c - monitored fences of 32 bits of memory, on adapters without 64-bit atomics: the GPU
 * writes values that wrap, and whoever waits must neither wait for ever nor go on too early. */
#include <string.h>

#include "core/obj.h"

#include "core_fixture.h"

#define WRAP (1ull << 32)

static void open_narrow(struct fx *f)
{
    fx_init(f, REF_FORMAT_A);
    f->opt.no_64bit_atomics = true;
    fx_start(f);
}

static struct vidmm_fence *fence(struct vidmm_device *d, uint64_t initial, uint32_t flags)
{
    struct vidmm_fence *f;
    assert_int_equal(vidmm_fence_create(d, initial, flags, &f), VIDMM_OK);
    return f;
}

/* What lies in memory, and the four bytes behind it. */
static uint32_t word(const struct vidmm_fence *f, uint32_t i)
{
    uint32_t v[2];
    memcpy(v, vidmm_fence_cpu_address(f), sizeof v);
    return v[i];
}

static void storage_follows_the_cap(void **state)
{
    struct fx f;
    (void)state;
    for (int narrow = 0; narrow <= 1; narrow++) {
        fx_init(&f, REF_FORMAT_A);
        f.opt.no_64bit_atomics = narrow != 0;
        fx_start(&f);
        struct vidmm_fence *a = fence(f.d, WRAP + 7, 0);
        struct vidmm_fence *far = fence(f.d, WRAP + 7, VIDMM_FENCE_NO_GPU_ACCESS);
        assert_int_equal(word(a, 0), 7);
        assert_int_equal(word(a, 1), !narrow);
        assert_true(vidmm_fence_value(a) == (narrow ? 7 : WRAP + 7));
        assert_true(vidmm_fence_value(far) == WRAP + 7); /* no GPU writes it */
        assert_true(vidmm_fence_reached(a, WRAP + 7));
        assert_int_equal(vidmm_fence_signal(a, 3 * WRAP + 9), VIDMM_OK);
        assert_int_equal(word(a, 0), 9);
        assert_int_equal(word(a, 1), narrow ? 0 : 3);
        fx_close(&f);
    }
}

/* On both sides of the wrap and of the half range. */
static void values_are_compared_by_distance(void **state)
{
    static const struct { uint64_t now, value; bool reached; } table[] = {
        {0, 0, true}, {0, 1, false}, {5, 4, true}, {WRAP - 1, WRAP, false}, {WRAP, WRAP - 1, true},
        {0, WRAP - 1, true}, {WRAP - 1, 0, false}, {WRAP - 1, 0x7ffffffe, false},
        {0, 0x7fffffff, false}, {0, 0x80000000, false}, {0, 0x80000001, true},
        {0xfffffff0, 0x7fffffef, false}, {0x7fffffff, 0, true},
        {10, 2 * WRAP + 11, false}, {10, 2 * WRAP + 10, true},
    };
    struct fx f;
    (void)state;
    open_narrow(&f);
    for (size_t i = 0; i < VT_COUNT(table); i++) {
        struct vidmm_fence *a = fence(f.d, table[i].now, 0);
        if (vidmm_fence_reached(a, table[i].value) != table[i].reached) fail_msg("row %zu", i);
        /* What is reached already and not the present value would be lowered. */
        bool same = (uint32_t)table[i].now == (uint32_t)table[i].value;
        bool half = (uint32_t)table[i].value - (uint32_t)table[i].now > UINT32_MAX / 2; /* too far ahead */
        vidmm_status want = same || (!table[i].reached && !half) ? VIDMM_OK : VIDMM_INVALID;
        if (vidmm_fence_signal(a, table[i].value) != want) fail_msg("signal of row %zu", i);
        if (want != VIDMM_OK) assert_int_equal(word(a, 0), (uint32_t)table[i].now);
        vidmm_fence_destroy(a);
    }
    fx_close(&f);
}

/* Queued waits and signals, and the GPU's own, go on across the wrap. */
static void work_goes_on_across_the_wrap(void **state)
{
    struct fx f;
    (void)state;
    open_narrow(&f);
    struct peer other = fx_peer(f.p);
    struct vidmm_fence *a = fence(f.d, WRAP - 3, 0), *b = fence(f.d, WRAP - 3, 0);
    uint64_t va = vidmm_fence_gpu_address(a);
    for (uint64_t v = WRAP - 2; v < WRAP + 3; v++) {
        assert_int_equal(vidmm_context_wait(other.c, &a, &v, 1), VIDMM_OK);
        assert_int_equal(vidmm_context_signal(other.c, &b, &v, 1), VIDMM_OK);
        fx_run(&f);
        assert_int_equal(vidmm_context_pending(other.c), 2);
        assert_true(vidmm_fence_value(b) == (uint32_t)(v - 1));
        (void)ref_emit_fence_write32(fx_words(&f, 3), va, (uint32_t)v);
        fx_submit(&f, f.c);
        fx_run(&f);
        assert_int_equal(vidmm_context_pending(other.c), 0);
        assert_true(vidmm_fence_value(b) == (uint32_t)v);
        assert_int_equal(word(a, 1), 0);
    }
    fx_close(&f);
}

/* A wait of the GPU itself, on a value that the CPU signals behind the wrap. */
static void the_gpu_waits_across_the_wrap(void **state)
{
    struct fx f;
    (void)state;
    open_narrow(&f);
    struct vidmm_fence *a = fence(f.d, WRAP - 1, 0);
    (void)ref_emit_fence_wait32(fx_words(&f, 3), vidmm_fence_gpu_address(a), 1);
    fx_submit(&f, f.c);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c), 1);
    assert_int_equal(vidmm_fence_signal(a, WRAP), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c), 1);
    assert_int_equal(vidmm_fence_signal(a, WRAP + 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    fx_close(&f);
}

/* The maximum is one value among others here: whoever waits must be let go whatever it waits for. */
static void a_loss_ends_every_wait(void **state)
{
    struct fx f;
    (void)state;
    open_narrow(&f);
    struct peer lost = fx_peer(f.p);
    struct vidmm_fence *a = fence(lost.d, WRAP - 2, 0), *stay = fence(lost.d, 5, VIDMM_FENCE_NO_MAX_ON_LOSS);
    uint64_t value = WRAP + 0x7000000, six = 6;
    assert_int_equal(vidmm_context_wait(f.c, &a, &value, 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c), 1);
    (void)ref_emit_write64(fx_words(&f, 3), 0x7000000000ull, 1);
    fx_submit(&f, lost.c);
    fx_run(&f);
    assert_int_equal(vidmm_device_state(lost.d), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    assert_int_equal(vidmm_fence_value(a), UINT32_MAX);
    assert_true(vidmm_fence_reached(a, value));
    assert_false(vidmm_fence_reached(stay, six));
    assert_int_equal(vidmm_context_signal(f.c, &a, &value, 1), VIDMM_OK); /* takes nothing back */
    assert_int_equal(vidmm_context_wait(f.c, &a, &value, 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_fence_value(a), UINT32_MAX);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    fx_close(&f);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(storage_follows_the_cap, "ADP-20 SUB-18", NULL),
        VT_TEST(values_are_compared_by_distance, "SUB-17", NULL),
        VT_TEST(work_goes_on_across_the_wrap, "SUB-17 ADP-20", NULL),
        VT_TEST(the_gpu_waits_across_the_wrap, "SUB-17", NULL),
        VT_TEST(a_loss_ends_every_wait, "SUB-20 SUB-17", NULL),
    };
    return vt_main(argc, argv, "core_fence", cases, VT_COUNT(cases));
}
