/* SPDX-License-Identifier: MIT */
/* test_detector.c - mistakes that the device model must notice: a TLB flush that a driver leaves out, and a
 * page that is given to somebody else before the flush that takes it away is done. Each has a twin without
 * the mistake, in which nothing is reported. */
#include "fixture.h"

#define BASE 0x200000000ull

static struct softgpu_detector detector(struct fixture *f)
{
    struct softgpu_detector d;
    softgpu_get_detector(f->gpu, &d);
    return d;
}

/* A has translations of its memory in the TLBs when its memory has to go to system memory and comes back
 * after others used those pages. Without the flush it goes on using the old place. */
static void flush_scenario(bool skip)
{
    struct fixture f;
    struct client a, b;
    uint64_t va, other;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&a, &f, NULL);
    client_open(&b, &f, NULL);
    struct vidmm_open *op = client_memory(&a, MIB(8), SET_64K | SET_SYSTEM, &va);
    for (uint64_t p = 0; p < MIB(8); p += MIB(1)) gpu_fill(&a, va + p, 0x11, MIB(1));
    fx_settle(&f);
    softgpu_clear_detector(f.gpu);
    struct softgpu_knobs k = fx_knobs(&f);
    k.skip_flush_in = skip ? 1 : 0;
    fx_set_knobs(&f, &k);
    /* A's memory is demoted; its pages get other content. */
    (void)client_memory(&b, MIB(14), SET_64K, &other);
    for (uint64_t p = 0; p < MIB(14); p += MIB(1)) gpu_fill(&b, other + p, 0x22, MIB(1));
    struct vidmm_placement_info place;
    vidmm_open_placement(op, &place);
    assert_int_equal(place.segment, 0);
    for (uint64_t p = 0; p < MIB(8); p += 64 * PAGE) (void)gpu_read(&a, va + p);
    struct softgpu_detector d = detector(&f);
    if (skip) {
        assert_true(d.violations > 0);
        assert_in_range(d.first_violation.va, va, va + MIB(8) - 1);
    } else {
        assert_int_equal(d.violations, 0);
        assert_int_equal(d.stale_uses, 0);
    }
    f.expect_violations = skip;
    fx_close(&f);
}

static void a_skipped_flush_is_caught(void **state)
{
    (void)state;
    flush_scenario(true);
}

static void without_the_mistake_no_flush_is_missed(void **state)
{
    (void)state;
    flush_scenario(false);
}

/* The driver says that paging packets are complete before they are: pages are reused before their fence.
 * Freed pages of the 4 KB segment become page tables at once, while a TLB still leads there. */
static void reuse_scenario(bool early)
{
    struct fixture f;
    struct client a;
    uint64_t va;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&a, &f, NULL);
    struct vidmm_open *op = client_memory(&a, MIB(1), SET_4K, &va);
    for (uint64_t p = 0; p < MIB(1); p += PAGE) gpu_fill(&a, va + p, 0x33, PAGE);
    struct vidmm_open *keep = client_alloc(&a, &(struct fx_alloc){.bytes = PAGE});
    client_resident(&a, keep);
    fx_settle(&f);
    softgpu_clear_detector(f.gpu);
    f.tap.early_fence = f.tap.drop_early = early;
    vidmm_open_close(op, 0); /* its pages are free once its flush is said to be done */
    fx_settle(&f);
    for (uint64_t i = 1; i <= 128; i++) (void)client_map(&a, keep, BASE + i * GIB(1), 0, 0, 0);
    f.tap.early_fence = f.tap.drop_early = false;
    uint64_t words[REF_WORDS_MAX];
    for (uint64_t p = 0; p < MIB(1) && vidmm_device_state(a.device) == VIDMM_DEVICE_ACTIVE; p += PAGE)
        (void)client_run(&a, words, ref_emit_copy(words, a.buffer_va + KIB(32), va + p, 8));
    struct softgpu_detector d = detector(&f);
    assert_int_equal(d.violations > 0, early);
    f.expect_violations = early;
    fx_close(&f);
}

static void reuse_before_the_fence_is_caught(void **state)
{
    (void)state;
    reuse_scenario(true);
}

static void without_the_mistake_no_page_is_reused_early(void **state)
{
    (void)state;
    reuse_scenario(false);
}

static const struct vt_case cases[] = {
    VT_TEST(a_skipped_flush_is_caught, "INV-05", NULL),
    VT_TEST(without_the_mistake_no_flush_is_missed, "PT-34", NULL),
    VT_TEST(reuse_before_the_fence_is_caught, "INV-05", NULL),
    VT_TEST(without_the_mistake_no_page_is_reused_early, "PAG-24 PT-34", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "model_detector", cases, VT_COUNT(cases)); }
