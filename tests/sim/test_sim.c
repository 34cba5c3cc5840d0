/* SPDX-License-Identifier: MIT */
/* test_sim.c - the simulator as test cases: random seeds against the reference model, no divergence. */
#include "vt.h"

#include <inttypes.h>
#include <stdio.h>

#include "sim.h"

static struct sim_options options(int format, uint64_t ops)
{
    return (struct sim_options){.seed = vt_seed(), .ops = ops, .format = format, .update = -1,
                                .break_row = vt_break()};
}

static void run_seeds(uint64_t seeds, struct sim_options o)
{
    struct sim_totals totals = {0};
    uint64_t hash = 0;
    for (uint64_t i = 0; i < seeds; i++, o.seed++)
        if (!sim_run_seed(&o, &hash, &totals)) fail_msg("seed %" PRIu64 " diverged, see above", o.seed);
    printf("seeds %" PRIu64 " operations %" PRIu64 " divergences 0\n", seeds, seeds * o.ops);
}

static void seeds_of_format_a(void **state)
{
    (void)state;
    run_seeds(vt_rounds(30), options(REF_FORMAT_A, 500));
}

static void seeds_of_format_b(void **state)
{
    (void)state;
    run_seeds(vt_rounds(30), options(REF_FORMAT_B, 500));
}

/* Of two, three and four gpus; what one shows of another's memory is read through its own tables. */
static void seeds_with_links(void **state)
{
    struct sim_options o = options(-1, 500);
    (void)state;
    for (o.gpus = 2; o.gpus <= VIDMM_GPUS_MAX; o.gpus++, o.seed += 1000) run_seeds(vt_rounds(12), o);
}

static void a_seed_gives_the_same_trace_again(void **state)
{
    struct sim_totals totals = {0};
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        struct sim_options o = options(format, 400);
        uint64_t first = 1, second = 2;
        assert_true(sim_run_seed(&o, &first, &totals));
        assert_true(sim_run_seed(&o, &second, &totals));
        assert_int_equal(first, second);
    }
}

static void a_million_operations(void **state)
{
    (void)state;
    if (vt_rounds(1000) < 1000) vt_skip("the full figure belongs to the plain build");
    run_seeds(1000, options(-1, 1000));
}

#define ADDRESSES \
    "VA-01 VA-03 VA-04 VA-05 VA-06 VA-07 VA-08 VA-09 VA-10 VA-11 VA-14 VA-15 VA-18 VA-19 VA-20 VA-22 VA-28 " \
    "VA-29"
#define OFFERS "ALC-41 ALC-44 ALC-48"
#define MEMORY "SEG-01 SEG-04 SEG-05 SEG-06 ALC-19 ALC-37 RES-05 RES-06 RES-15 RES-24 PAG-03 PAG-11"
#define PHYSICAL "PHY-01 PHY-02 PHY-03 PHY-05 PHY-09 PHY-10 SEG-15 SUB-07"
#define TILES "TIL-01 TIL-08 TIL-14 TIL-15 TIL-16 TIL-18 TIL-23 TIL-24 TIL-25 TIL-28"
#define SHARED "IOM-02 ADP-02"
#define ENDS "FLT-01 FLT-04 FLT-10 FLT-11 FLT-23 SUB-08 SUB-14 SUB-20"
#define HARDWARE "SUB-04 SUB-24 SUB-25 SUB-26 SUB-27 SUB-28 SUB-30 SUB-31"
#define LINKS "LDA-02 LDA-03 LDA-04 LDA-05 LDA-06 LDA-11 INV-15 INV-19"
#define ALL ADDRESSES " " MEMORY " " OFFERS " " PHYSICAL " " TILES " " SHARED " " ENDS " " HARDWARE

static const struct vt_case cases[] = {
    VT_TEST(seeds_of_format_a, ALL, NULL),
    VT_TEST(seeds_of_format_b, ALL, NULL),
    VT_TEST(seeds_with_links, LINKS, NULL),
    VT_TEST(a_seed_gives_the_same_trace_again, "", NULL),
    VT_TEST(a_million_operations, ALL, NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "sim", cases, VT_COUNT(cases)); }
