/* SPDX-License-Identifier: MIT */
/* kmd_drivers.c - our drivers against the conformance kit. */
#include "kmd_conform.h"
#include "softgpu/dg2/dg2.h"
#include "softgpu/ref/ref.h"
#include "vt.h"

typedef const char *(*check_fn)(struct rig *);

static const char *runs_check(struct rig *r)
{
    return kmd_conform_runs(r, vt_seed(), (uint32_t)vt_rounds(300));
}

static void check(check_fn fn, struct rig *r, const char *driver)
{
    const char *wrong = fn(r);
    if (wrong != NULL) fail_msg("%s: %s", driver, wrong);
}

static void on_ref(check_fn fn, enum ref_format format)
{
    static struct rig rig;
    struct ref_options o;
    struct ref_kmd *k;
    ref_options_default(&o, format);
    o.tlb_bits = 10;
    assert_int_equal(ref_create(&o, &k), VIDMM_OK);
    assert_true(rig_open(&rig, ref_ops(), k, ref_gpu(k)));
    check(fn, &rig, format == REF_FORMAT_A ? "ref A" : "ref B");
    rig_close(&rig);
    ref_destroy(k);
}

static void on_dg2(check_fn fn)
{
    static struct rig rig;
    struct dg2_options o;
    struct dg2_kmd *k;
    dg2_options_default(&o);
    assert_int_equal(dg2_create(&o, &k), VIDMM_OK);
    assert_true(rig_open(&rig, dg2_ops(), k, dg2_gpu(k)));
    check(fn, &rig, "dg2");
    rig_close(&rig);
    dg2_destroy(k);
}

static void on_all(check_fn fn)
{
    on_ref(fn, REF_FORMAT_A);
    on_ref(fn, REF_FORMAT_B);
    on_dg2(fn);
}

/* A description that contradicts itself would never get past bring-up. */
static void description(void **state) { (void)state; on_all(kmd_conform_description); }
/* An entry that means something else than what was asked maps somebody else's page. */
static void entries(void **state) { (void)state; on_all(kmd_conform_entries); }
/* A run that is not the sum of its entries maps the wrong page somewhere in a large allocation. */
static void runs(void **state) { (void)state; on_all(runs_check); }
/* A root smaller than announced makes the walker read past it. */
static void root(void **state) { (void)state; on_all(kmd_conform_root); }
/* A transfer cut at a full buffer must not lose or repeat bytes. */
static void paging(void **state) { (void)state; on_all(kmd_conform_paging); }
/* A refused object must leave nothing behind. */
static void objects(void **state) { (void)state; on_all(kmd_conform_objects); }

static const struct vt_case cases[] = {
    VT_TEST(description, "", NULL), VT_TEST(entries, "", NULL), VT_TEST(runs, "", NULL),
    VT_TEST(root, "", NULL), VT_TEST(paging, "", NULL), VT_TEST(objects, "", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "kmd_conform", cases, VT_COUNT(cases)); }
