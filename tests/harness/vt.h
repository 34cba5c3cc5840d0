/* SPDX-License-Identifier: MIT */
/* vt.h - test tables on top of cmocka.
 * Owns: the form of a test case (name, what it proves, what breaks it) and the line each case logs.
 * A suite is one executable: a table of cases and a main() that returns vt_main(...).
 *
 *   static void free_range_is_reused(void **state) { (void)state; assert_int_equal(...); }
 *   static const struct vt_case cases[] = {
 *       VT_TEST(free_range_is_reused, "VA-05 INV-01", NULL),
 *       VT_TEST(flush_precedes_reuse, "PT-02 INV-05", "PT-02"),
 *   };
 *   int main(int argc, char **argv) { return vt_main(argc, argv, "claim", cases, VT_COUNT(cases)); }
 */
#ifndef VIDMM_TEST_VT_H
#define VIDMM_TEST_VT_H

/* cmocka.h wants these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct vt_case {
    const char *name;
    void (*fn)(void **state);
    const char *proves;    /* IDs of docs/requirements.tsv or INV-nn, separated by spaces; "" if none */
    const char *broken_by; /* the break switch under which this case must fail, or NULL */
};

#define VT_TEST(fn_, proves_, broken_by_) { #fn_, fn_, proves_, broken_by_ }
#define VT_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Runs the table. Options: --list (name, proves, broken_by per line), --only NAME (repeatable).
 * Gives 0 if every case passed, 1 if one failed, 2 on wrong use. If the environment names a file in
 * VIDMM_TEST_LOG, one line per case is appended to it: RESULT <tab> suite <tab> case <tab> proves. */
int vt_main(int argc, char **argv, const char *suite, const struct vt_case *cases, size_t n);

/* The break switch this run asks for (VIDMM_BREAK), or NULL. Fixtures hand it to the adapter. */
const char *vt_break(void);

/* Called by a fixture when the code under test does not know the switch: ends the run with status 3,
 * so that a mistyped switch is never taken for a test that noticed the breakage. */
_Noreturn void vt_break_unknown(const char *name);

/* Ends the current case without a verdict, with the reason printed and logged as SKIP. */
_Noreturn void vt_skip(const char *reason);

/* A count of repetitions, scaled by VIDMM_TEST_SCALE (percent, default 100), at least 1: the
 * sanitizer builds run the same cases with fewer rounds. */
uint64_t vt_rounds(uint64_t n);

/* First seed of a random test (VIDMM_TEST_SEED, default 1). Print it before use. */
uint64_t vt_seed(void);

#endif
