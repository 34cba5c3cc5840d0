/* SPDX-License-Identifier: MIT */
/* sim_main.c - vidmm-sim: many seeds of the simulator against the reference model. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments { struct sim_options o; uint64_t seeds; bool counts, ok; };

static bool number(const char *text, uint64_t *out)
{
    char *end;
    if (text == NULL || *text == 0) return false;
    *out = strtoull(text, &end, 10);
    return *end == 0;
}

static bool update_mode(const char *text, int *out)
{
    for (int i = 0; i < 3 && text != NULL; i++) {
        if (strcmp(text, sim_update_names[i]) != 0) continue;
        *out = i;
        return true;
    }
    return false;
}

/* 0: the seed decides. */
static bool gpus(const char *text, uint32_t *out)
{
    uint64_t n = 0;
    bool ok = number(text, &n) && n <= VIDMM_GPUS_MAX;
    *out = (uint32_t)n;
    return ok;
}

static struct arguments parse(int argc, char **argv)
{
    struct arguments a = {.seeds = 100, .ok = true};
    a.o = (struct sim_options){.seed = 1, .ops = 1000, .format = -1, .update = -1};
    for (int i = 1; i < argc && a.ok; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool verbose = strcmp(argv[i], "-v") == 0, counts = strcmp(argv[i], "--counts") == 0;
        a.o.verbose |= verbose;
        a.counts |= counts;
        if (verbose || counts) continue;
        if (strcmp(argv[i], "--seeds") == 0) a.ok = number(value, &a.seeds);
        else if (strcmp(argv[i], "--ops") == 0) a.ok = number(value, &a.o.ops);
        else if (strcmp(argv[i], "--seed") == 0) a.ok = number(value, &a.o.seed);
        else if (strcmp(argv[i], "--format") == 0 && value != NULL && strcmp(value, "A") == 0)
            a.o.format = REF_FORMAT_A;
        else if (strcmp(argv[i], "--format") == 0 && value != NULL && strcmp(value, "B") == 0)
            a.o.format = REF_FORMAT_B;
        else if (strcmp(argv[i], "--update") == 0) a.ok = update_mode(value, &a.o.update);
        else if (strcmp(argv[i], "--gpus") == 0) a.ok = gpus(value, &a.o.gpus);
        else if (strcmp(argv[i], "--break") == 0 && value != NULL) a.o.break_row = value;
        else a.ok = false;
        i++;
    }
    return a;
}

static void tell(const struct sim_totals *t)
{
    const struct { const char *name; uint64_t n; } line[] = {
        {"maps", t->maps}, {"reserves", t->reserves}, {"frees", t->frees}, {"MakeResident", t->residents},
        {"Evict", t->evicts}, {"over budget", t->over_budget}, {"calls refused", t->refused},
        {"page-ins", t->page_ins}, {"page-outs", t->page_outs}, {"zero fills", t->fills},
        {"evictions", t->evictions}, {"demotions", t->demotions}, {"promotions", t->promotions},
        {"devices stopped for a move", t->suspends}, {"flushes", t->flushes}, {"page tables made", t->tables},
        {"root resizes", t->root_resizes}, {"packets completed", t->submits}, {"faults", t->faults},
        {"tile updates", t->updates}, {"... in step with packets", t->updates_waiting},
        {"packets of companions", t->tile_packets}, {"... elsewhere", t->tile_packets_elsewhere},
        {"... cut short", t->tile_packets_cut},
        {"commands in hardware queues", t->hw_commands}, {"... waits", t->hw_waits},
        {"... signals", t->hw_signals}, {"commands in rings", t->rings},
        {"doorbells that made way", t->victims}, {"hardware queues of lost devices", t->hw_ended},
        {"reclaims of dropped content", t->discards}, {"timeouts", t->timeouts},
        {"preemptions", t->preemptions}, {"adapter resets", t->adapter_resets}, {"removals", t->removals},
        {"seeds with remapping", t->remapped}, {"domains attached", t->attached},
        {"pages read and compared at rest", t->pages_read},
        {"seeds with a link", t->links}, {"... maps of a peer's memory", t->peer_maps},
        {"... pages of it read at rest", t->peer_pages_read}, {"... gpus lost alone", t->gpus_lost}};
    for (uint32_t i = 0; i < sizeof(line) / sizeof(line[0]); i++)
        printf("  %-32s %12llu\n", line[i].name, (unsigned long long)line[i].n);
}

int main(int argc, char **argv)
{
    struct arguments a = parse(argc, argv);
    struct sim_totals totals = {0}, unused = {0};
    uint64_t all = 0, hash, again;
    if (!a.ok) {
        fprintf(
            stderr,
            "usage: vidmm-sim [--seeds N] [--ops N] [--seed FIRST] [--format A|B] [--break ROW] [--counts] "
            "[-v]\n                 [--update cpu|gpu-virtual|gpu-physical] [--gpus 1..4]\n");
        return 2;
    }
    uint64_t first = a.o.seed;
    for (uint64_t i = 0; i < a.seeds; i++) {
        a.o.seed = first + i;
        if (!sim_run_seed(&a.o, &hash, &totals)) return 1;
        all = (all ^ hash) * 0x9e3779b97f4a7c15ull;
        if (i > 0) continue;
        if (!sim_run_seed(&a.o, &again, &unused)) return 1; /* the first one twice: the same trace */
        if (again == hash) continue;
        fprintf(stderr, "seed %llu gave the traces %016llx and %016llx\n", (unsigned long long)a.o.seed,
                (unsigned long long)hash, (unsigned long long)again);
        return 1;
    }
    printf("seeds %llu operations %llu divergences 0 hash %016llx\n", (unsigned long long)a.seeds,
           (unsigned long long)(a.seeds * a.o.ops), (unsigned long long)all);
    if (a.counts) tell(&totals);
    return 0;
}
