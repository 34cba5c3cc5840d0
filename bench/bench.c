/* SPDX-License-Identifier: MIT */
/* bench.c - runs the benchmarks, prints one table, writes the JSON file.
 * Owns: the figures of this run.  Calls: the bench_* functions of the other files, libc.
 * Use: bench [FILE.json]   default build/bench.json */
#define _POSIX_C_SOURCE 200809L
#include "bench.h"

#include <stdio.h>
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

void bench_say(const char *text) { fprintf(stderr, "  %s\n", text); }

/* What goal and peer are compared with. */
static double measure(const struct figure *f) { return f->floor > 0 ? f->value / f->floor : f->value; }

static bool meets(const struct figure *f, double bar)
{
    return f->lower ? measure(f) <= bar : measure(f) >= bar;
}

/* ratio = figure / floor; goal and peer are compared with it, or with the figure where there is no floor. */
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

int main(int argc, char **argv)
{
    static struct bench_out out;
    const char *path = argc > 1 ? argv[1] : "build/bench.json";
    if (argc > 2 || path[0] == '-') {
        fprintf(stderr, "use: bench [FILE.json]\n");
        return 2;
    }
    bench_span(&out);
    if (bench_pagepool) bench_pagepool(&out);
    if (bench_pte) bench_pte(&out);
    if (bench_services) bench_services(&out);
    print_table(&out);
    if (!write_json(&out, path)) {
        fprintf(stderr, "bench: cannot write %s\n", path);
        return 1;
    }
    return 0;
}
