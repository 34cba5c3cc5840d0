/* SPDX-License-Identifier: MIT */
/* test_iommu_demo.c - the scenes of `make demo-iommu`: shared addresses through the machine's own page
 * tables. */
#include "demo/iommu_scene.h"

#include "vt.h"

static void must(const struct iommu_result *r)
{
    if (r->wrong != NULL) fail_msg("%s", r->wrong);
}

static void lists_are_walked_through_the_same_pointers(void **state)
{
    struct iommu_result r = {0};
    (void)state;
    iommu_lists(vt_break(), &r);
    must(&r);
    assert_true(r.nodes > 5000 && r.brought >= 300);
}

static void tiles_are_translated_in_the_program(void **state)
{
    struct iommu_result r = {0};
    (void)state;
    iommu_tiles(vt_break(), &r);
    must(&r);
    assert_int_equal(r.tiles, 640);
}

static void one_node_serves_both_models(void **state)
{
    struct iommu_result r = {0};
    (void)state;
    iommu_both(vt_break(), &r);
    must(&r);
    assert_int_equal(r.packets, 100);
}

static void memory_goes_away_under_the_gpu(void **state)
{
    struct iommu_result r = {0};
    (void)state;
    iommu_storm(vt_break(), (double)vt_rounds(300) / 100, vt_seed(), &r);
    must(&r);
    assert_true(r.faults >= vt_rounds(100) && r.packets >= vt_rounds(100));
    assert_true(r.wild > 0 && r.remaps >= vt_rounds(1000));
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(lists_are_walked_through_the_same_pointers, "IOM-02 IOM-03", NULL),
        VT_TEST(tiles_are_translated_in_the_program, "IOM-10", NULL),
        VT_TEST(one_node_serves_both_models, "ADP-02", "ADP-02"),
        VT_TEST(memory_goes_away_under_the_gpu, "IOM-24", NULL),
    };
    return vt_main(argc, argv, "iommu_demo", cases, VT_COUNT(cases));
}
