/* SPDX-License-Identifier: MIT */
/* sim_main.c - vidmm-sim: many seeds of the simulator against the reference model. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments { struct sim_options o; uint64_t seeds; bool ok; };

static bool number(const char *text, uint64_t *out)
{
    char *end;
    if (text == NULL || *text == 0) return false;
    *out = strtoull(text, &end, 10);
    return *end == 0;
}

static struct arguments parse(int argc, char **argv)
{
    struct arguments a = {.o = {.seed = 1, .ops = 1000, .format = -1}, .seeds = 100, .ok = true};
    for (int i = 1; i < argc && a.ok; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "-v") == 0) {
            a.o.verbose = true;
            continue;
        }
        if (strcmp(argv[i], "--seeds") == 0) a.ok = number(value, &a.seeds);
        else if (strcmp(argv[i], "--ops") == 0) a.ok = number(value, &a.o.ops);
        else if (strcmp(argv[i], "--seed") == 0) a.ok = number(value, &a.o.seed);
        else if (strcmp(argv[i], "--format") == 0 && value != NULL && strcmp(value, "A") == 0) a.o.format = REF_FORMAT_A;
        else if (strcmp(argv[i], "--format") == 0 && value != NULL && strcmp(value, "B") == 0) a.o.format = REF_FORMAT_B;
        else a.ok = false;
        i++;
    }
    return a;
}

int main(int argc, char **argv)
{
    struct arguments a = parse(argc, argv);
    uint64_t all = 0, calls = 0, hash, again;
    if (!a.ok) {
        fprintf(stderr, "usage: vidmm-sim [--seeds N] [--ops N] [--seed FIRST] [--format A|B] [-v]\n");
        return 2;
    }
    uint64_t first = a.o.seed;
    for (uint64_t i = 0; i < a.seeds; i++) {
        a.o.seed = first + i;
        if (!sim_run_seed(&a.o, &hash, &calls)) return 1;
        all = (all ^ hash) * 0x9e3779b97f4a7c15ull;
        if (i > 0) continue;
        if (!sim_run_seed(&a.o, &again, &calls)) return 1; /* the first one twice: the same trace */
        if (again == hash) continue;
        fprintf(stderr, "seed %llu gave the traces %016llx and %016llx\n", (unsigned long long)a.o.seed,
                (unsigned long long)hash, (unsigned long long)again);
        return 1;
    }
    printf("seeds %llu operations %llu divergences 0 hash %016llx\n", (unsigned long long)a.seeds,
           (unsigned long long)(a.seeds * a.o.ops), (unsigned long long)all);
    return 0;
}
