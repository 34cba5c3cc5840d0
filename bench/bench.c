/* SPDX-License-Identifier: MIT */
/* bench.c - runs the benchmarks, prints one table, writes the JSON file.
 * Owns: the figures of this run.  Calls: the bench_* functions of the other files, libc.
 * Use: vidmm-bench [FILE.json [PART...]]   default: build/bench.json and all parts */
#define _GNU_SOURCE
#include "bench.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FIGURES_MAX = 256, NAME_MAX_BYTES = 64 };

struct figure {
    char name[NAME_MAX_BYTES];
    char unit[16];
    char peer[32];
    double value, floor, goal, best_peer;
    bool lower, has_peer;
};

struct bench_out {
    struct figure figure[FIGURES_MAX];
    unsigned n;
};

void bench_add(struct bench_out *out, const char *name, double figure, const char *unit, double floor,
               double goal, bool lower_is_better_met)
{
    if (out->n == FIGURES_MAX) return;
    struct figure *f = &out->figure[out->n++];
    snprintf(f->name, sizeof f->name, "%s", name);
    snprintf(f->unit, sizeof f->unit, "%s", unit);
    f->value = figure;
    f->floor = floor;
    f->goal = goal;
    f->lower = lower_is_better_met;
}

void bench_peer(struct bench_out *out, const char *peer, double best_peer)
{
    if (out->n == 0) return;
    struct figure *f = &out->figure[out->n - 1];
    snprintf(f->peer, sizeof f->peer, "%s", peer);
    f->best_peer = best_peer;
    f->has_peer = true;
}

double bench_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *v, size_t n)
{
    qsort(v, n, sizeof *v, by_value);
    return v[n / 2];
}

_Noreturn void die(const char *what)
{
    fprintf(stderr, "vidmm-bench: %s\n", what);
    exit(1);
}

void bench_say(const char *text) { fprintf(stderr, "  %s\n", text); }

/* What goal and peer are compared with. */
static double measure(const struct figure *f) { return f->floor > 0 ? f->value / f->floor : f->value; }

static bool meets(const struct figure *f, double bar)
{
    return f->lower ? measure(f) <= bar : measure(f) >= bar;
}

static const char legend[] =
    "\n"
    "floor: the same work done by nothing but the harness, measured in this run, round by round beside it.\n"
    "ratio: value / floor. goal and peer are compared with it, or with the value where there is no floor.\n"
    "goal:  what we would like to reach; nothing fails if it is missed.\n"
    "peer:  what the best library of its kind needed, as a ratio to its own floor on its machine.\n"
    "Times are CPU time of one thread, except where (threads) stands: those are wall time.\n";

static void print_table(const struct bench_out *out)
{
    printf("%-40s %10s %-8s %8s %8s %8s %5s %8s %6s  %s\n", "figure", "value", "unit", "floor", "ratio",
           "goal", "met", "peer", "ahead", "best peer");
    for (unsigned i = 0; i < out->n; i++) {
        const struct figure *f = &out->figure[i];
        printf("%-40s %10.3f %-8s ", f->name, f->value, f->unit);
        if (f->floor > 0) printf("%8.2f %8.2f ", f->floor, measure(f));
        else printf("%8s %8s ", "-", "-");
        printf("%8.3f %5s ", f->goal, meets(f, f->goal) ? "yes" : "no");
        const char *ahead = meets(f, f->best_peer) ? "yes" : "no";
        if (f->has_peer) printf("%8.3f %6s  %s\n", f->best_peer, ahead, f->peer);
        else printf("%8s %6s\n", "-", "-");
    }
}

static void print_summary(const struct bench_out *out)
{
    unsigned met = 0, peers = 0, ahead = 0;
    for (unsigned i = 0; i < out->n; i++) {
        const struct figure *f = &out->figure[i];
        met += meets(f, f->goal);
        peers += f->has_peer;
        ahead += f->has_peer && meets(f, f->best_peer);
    }
    printf("%s\n%u of %u figures meet their goal; %u of %u are ahead of their best peer.\n", legend, met,
           out->n, ahead, peers);
    for (unsigned i = 0; i < out->n; i++) {
        const struct figure *f = &out->figure[i];
        if (f->has_peer && !meets(f, f->best_peer))
            printf("behind: %s (%.3f, %s %.3f)\n", f->name, measure(f), f->peer, f->best_peer);
    }
}

/* Names and units are ours: letters, digits and plain punctuation, nothing that JSON would escape. */
static bool write_json(const struct bench_out *out, const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file) return false;
    fprintf(file, "[\n");
    for (unsigned i = 0; i < out->n; i++) {
        const struct figure *f = &out->figure[i];
        fprintf(file, "  {\"name\": \"%s\", \"figure\": %.4f, \"unit\": \"%s\", \"floor\": ", f->name,
                f->value, f->unit);
        if (f->floor > 0) fprintf(file, "%.4f", f->floor);
        else fprintf(file, "null");
        fprintf(file, ", \"goal\": %.4f, \"met\": %s", f->goal, meets(f, f->goal) ? "true" : "false");
        if (f->has_peer) {
            fprintf(file, ", \"peer\": \"%s\", \"best_peer\": %.4f, \"ahead\": %s", f->peer, f->best_peer,
                    meets(f, f->best_peer) ? "true" : "false");
        }
        fprintf(file, "}%s\n", i + 1 < out->n ? "," : "");
    }
    fprintf(file, "]\n");
    return fclose(file) == 0;
}

/* Caches stay warm on one CPU. Where that is not allowed, it is only noisier. */
static void pin(bool one)
{
    static cpu_set_t all;
    static bool known;
    cpu_set_t set;
    int cpu = sched_getcpu();
    if (!known) known = sched_getaffinity(0, sizeof all, &all) == 0;
    if (!known || cpu < 0) return;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    (void)sched_setaffinity(0, sizeof set, one ? &set : &all);
}

static const struct part { const char *name; void (*run)(struct bench_out *); bool one_cpu; } parts[] = {
    {"span", bench_span, true},
    {"table", bench_table, true},
    {"pagepool", bench_pagepool, true},
    {"tiles", bench_tiles, true},
    {"services", bench_services, false},
    {"engines", bench_engines, false},
    {"hwqueue", bench_hwqueue, false},
};

enum { PARTS = sizeof parts / sizeof parts[0] };

static bool wanted(const char *name, int n, char **names)
{
    bool found = n <= 0;
    for (int i = 0; i < n; i++) found |= strcmp(names[i], name) == 0;
    return found;
}

/* Options and words that are no part. */
static bool bad_arguments(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool part = i == 1 && argv[i][0] != '-';
        for (unsigned k = 0; k < PARTS && i > 1; k++) part |= strcmp(argv[i], parts[k].name) == 0;
        if (part) continue;
        fprintf(stderr, "vidmm-bench: unknown %s %s\n", argv[i][0] == '-' ? "option" : "part", argv[i]);
        fprintf(stderr,
                "use: vidmm-bench [FILE.json [PART...]], parts: span table pagepool tiles services\n");
        return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    static struct bench_out out;
    const char *path = argc > 1 ? argv[1] : "build/bench.json";
    if (bad_arguments(argc, argv)) return 2;
    for (unsigned k = 0; k < PARTS; k++) {
        if (!wanted(parts[k].name, argc - 2, argv + 2)) continue;
        pin(parts[k].one_cpu);
        parts[k].run(&out);
    }
    print_table(&out);
    print_summary(&out);
    if (!write_json(&out, path)) {
        fprintf(stderr, "vidmm-bench: cannot write %s\n", path);
        return 1;
    }
    return 0;
}
