/* SPDX-License-Identifier: MIT */
/* bench.h - what a benchmark file sees: a place to put figures, and the clock they are taken with.
 * Owns: nothing. bench.c collects the figures, prints the table and writes the JSON file. */
#ifndef VIDMM_BENCH_H
#define VIDMM_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench_out;

/* Adds one figure.
 * name  "W1 churn", unit "ns/op", "%", "MB/s" ...
 * floor the same work done by nothing but the harness, measured in the same run; 0 = there is none.
 * goal  the stretch: a ratio figure / floor if floor != 0, else an absolute value in `unit`.
 * lower_is_better_met  true: met when the figure (or ratio) is <= goal; false: when it is >= goal. */
void bench_add(struct bench_out *out, const char *name, double figure, const char *unit, double floor,
               double goal, bool lower_is_better_met);

/* The bar for the figure added last: the best peer's ratio to its own floor (or its absolute value where
 * floor is 0). Figures without a bar show "-" in the column "ahead". */
void bench_peer(struct bench_out *out, const char *peer, double best_peer);

/* CPU time of this thread in ns: other jobs on the machine do not count. */
double bench_now_ns(void);

/* Sorts v. */
double median(double *v, size_t n);

/* Ends the program with a word about what is wrong. */
_Noreturn void die(const char *what);
static inline void must(bool ok, const char *what)
{
    if (!ok) die(what);
}

/* One line of progress on stderr. */
void bench_say(const char *text);

/* One function per file of benchmarks. */
void bench_span(struct bench_out *out);
void bench_table(struct bench_out *out);
void bench_pagepool(struct bench_out *out);
void bench_services(struct bench_out *out);
void bench_engines(struct bench_out *out);
void bench_tiles(struct bench_out *out);
void bench_hwqueue(struct bench_out *out);

#endif
