/* SPDX-License-Identifier: MIT */
/* engines.c - a virtual and a physical node side by side on one adapter: the same work on both, with 1 to
 * 1,000 allocations referred to by each buffer. Shows how many addresses are patched per submission, and
 * what a submission costs the CPU from the call until the engine has it.
 * Use: engines FILE [ROUNDS]. Writes the figures to FILE (tab separated) and prints them as a table.
 * Exit status 0 only if every byte is where it belongs and the numbers of patches are 0 and all. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <vidmm/vidmm.h>

#include "host/posix.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"
#include "softgpu/ref_commands.h"
#include "softgpu/ref_physical.h"

enum { MOST = 1000, ROUNDS = 200, FRAMES = 1 << 20, NODES = 4, COMMAND_BYTES = 65536 };

struct scene {
    struct posix_platform platform;
    struct ref_kmd *kmd;
    struct vidmm_counters count;
    struct vidmm_adapter *ad;
    struct vidmm_process *proc;
    struct vidmm_device *dev;
    struct vidmm_queue *queue;
    struct vidmm_context *virtual, *physical;
    struct vidmm_open *cmd, *open[MOST];
    uint64_t cmd_va, va[MOST], now;
    uint64_t *cmd_cpu;
    uint64_t words[COMMAND_BYTES / 8];              /* the physical client's command buffer and lists */
    struct vidmm_patch_location patch[MOST];
    struct vidmm_render_reference list[MOST];
};

static void must(bool ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "engines: %s\n", what);
    exit(1);
}

static void no_poke(void *arg) { (void)arg; }

static void settle(struct scene *s)
{
    for (bool busy = true; busy;) {
        s->now++;
        busy = vidmm_run(s->ad, s->now) == s->now;
        for (uint32_t node = 0; node < NODES; node++)
            busy |= softgpu_engine_step(ref_gpu(s->kmd), node) == SOFTGPU_PROGRESS;
    }
}

static struct vidmm_open *allocate(struct scene *s, uint64_t bytes, uint32_t flags)
{
    struct ref_alloc_private in = {.magic = REF_ALLOC_MAGIC, .bytes = bytes, .flags = flags};
    struct vidmm_alloc_desc desc = {.private_data = &in, .private_size = sizeof in};
    struct vidmm_open *op;
    uint64_t value, trim;
    must(vidmm_alloc_create(s->dev, &desc, &op) == VIDMM_OK, "an allocation was refused");
    must(vidmm_make_resident(s->queue, &op, 1, 0, &value, &trim) >= 0, "it does not become resident");
    return op;
}

static uint64_t map(struct scene *s, struct vidmm_open *op)
{
    struct vidmm_map in = {.open = op, .bytes = vidmm_open_bytes(op),
                           .protection = VIDMM_PROT_WRITE | VIDMM_PROT_EXECUTE};
    uint64_t va, value;
    must(vidmm_va_map(s->queue, &in, &va, &value) >= 0, "a map was refused");
    return va;
}

static void begin(struct scene *s)
{
    struct ref_options opt;
    const char *why = "no adapter";
    void *cpu;
    ref_options_default(&opt, REF_FORMAT_A);
    opt.physical = true;
    must(posix_platform_init(&s->platform, FRAMES, no_poke, NULL), "no platform");
    must(ref_create(&opt, &s->kmd) == VIDMM_OK, "no driver");
    struct vidmm_adapter_config cfg = {.struct_size = sizeof cfg, .platform = &s->platform.face,
                                       .ops = ref_ops(), .kmd = s->kmd, .counters = &s->count};
    must(vidmm_adapter_create(&cfg, &s->ad, &why) == VIDMM_OK, why);
    must(vidmm_process_create(s->ad, &s->proc) == VIDMM_OK, "no process");
    must(vidmm_device_create(s->proc, &s->dev) == VIDMM_OK, "no device");
    must(vidmm_queue_create(s->dev, 0, &s->queue) == VIDMM_OK, "no paging queue");
    struct vidmm_context_desc on = {.node = REF_NODE_COMPUTE};
    must(vidmm_context_create(s->dev, &on, &s->virtual) == VIDMM_OK, "no virtual context");
    on = (struct vidmm_context_desc){.node = REF_NODE_PHYSICAL, .physical = true};
    must(vidmm_context_create(s->dev, &on, &s->physical) == VIDMM_OK, "no physical context");
    vidmm_context_resize(s->physical, &(struct vidmm_render_sizes){COMMAND_BYTES, MOST, MOST});
    s->cmd = allocate(s, COMMAND_BYTES, 0);
    s->cmd_va = map(s, s->cmd);
    for (uint32_t i = 0; i < MOST; i++) {
        s->open[i] = allocate(s, 4096, VIDMM_ALLOCATION_ACCESSED_PHYSICALLY);
        s->va[i] = map(s, s->open[i]);
        s->list[i] = (struct vidmm_render_reference){s->open[i], true};
    }
    settle(s);
    must(vidmm_open_lock(s->cmd, &cpu) == VIDMM_OK, "the command buffer cannot be written");
    s->cmd_cpu = cpu;
}

static void end(struct scene *s)
{
    vidmm_process_destroy(s->proc);
    settle(s);
    vidmm_adapter_destroy(s->ad);
    ref_destroy(s->kmd);
    posix_platform_fini(&s->platform);
}

/* ---- the two clients: each writes one word into each of n allocations --------------------------- */

static uint32_t build_virtual(struct scene *s, uint32_t n, uint64_t value)
{
    uint32_t words = 0;
    for (uint32_t i = 0; i < n; i++) words += ref_emit_write64(s->cmd_cpu + words, s->va[i], value + i);
    return words * 8;
}

static uint32_t build_physical(struct scene *s, uint32_t n, uint64_t value)
{
    uint32_t words = 0;
    for (uint32_t i = 0; i < n; i++) {
        s->patch[i] = (struct vidmm_patch_location){.allocation_index = i, .allocation_offset = 8,
                                                    .patch_offset = (words + 1) * 8};
        words += phys_emit_write64(s->words + words, value + i);
    }
    return words * 8;
}

static double now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* From the call until the engine has it: what VidMm and the driver do. */
static double submit(struct scene *s, bool physical, uint32_t n, uint32_t bytes)
{
    struct vidmm_render r = {.command = s->words, .command_bytes = bytes, .list = s->list, .list_count = n,
                             .patch = s->patch, .patch_count = n};
    double t = now_ns();
    vidmm_status st = physical ? vidmm_context_render(s->physical, &r)
                               : vidmm_context_submit(s->virtual, s->cmd_va, bytes, NULL, 0, 0);
    s->now++;
    (void)vidmm_run(s->ad, s->now);
    t = now_ns() - t;
    must(st == VIDMM_OK, "a submission was refused");
    return t;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct point { uint32_t n; double ns[2], patches[2]; };

/* Median over the rounds; [0] virtual, [1] physical. */
static void measure(struct scene *s, struct point *p, uint32_t rounds)
{
    double *t = calloc(rounds, sizeof *t);
    must(t != NULL, "no memory");
    for (uint32_t side = 0; side < 2; side++) {
        uint64_t before = s->count.patch_locations;
        for (uint32_t i = 0; i < rounds; i++) {
            uint64_t value = (uint64_t)p->n << 32 | i << 16;
            uint32_t bytes = side == 1 ? build_physical(s, p->n, value) : build_virtual(s, p->n, value);
            t[i] = submit(s, side == 1, p->n, bytes);
            settle(s);
        }
        qsort(t, rounds, sizeof *t, by_value);
        p->ns[side] = t[rounds / 2];
        p->patches[side] = (double)(s->count.patch_locations - before) / rounds;
        double wanted = side == 1 ? (double)p->n : 0.0;
        must(p->patches[side] == wanted, "the number of patched addresses is wrong");
    }
    free(t);
}

/* Both clients' words of the last round, in every allocation. */
static void check(struct scene *s, const struct point *p, uint32_t rounds)
{
    for (uint32_t i = 0; i < p->n; i++) {
        void *cpu;
        uint64_t want = ((uint64_t)p->n << 32 | (rounds - 1) << 16) + i, word[2];
        must(vidmm_open_lock(s->open[i], &cpu) == VIDMM_OK, "an allocation cannot be read");
        memcpy(word, cpu, sizeof word);
        must(vidmm_open_unlock(s->open[i]) == VIDMM_OK, "unlock");
        must(word[0] == want, "the virtual engine wrote something else, or somewhere else");
        must(word[1] == want, "the physical engine wrote something else, or somewhere else");
    }
}

int main(int argc, char **argv)
{
    static const uint32_t sizes[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};
    static struct scene s;
    uint32_t rounds = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : ROUNDS;
    FILE *out = argc > 1 ? fopen(argv[1], "w") : NULL;
    if (out == NULL || rounds == 0) {
        fprintf(stderr, "use: engines FILE [ROUNDS]\n");
        return 2;
    }
    begin(&s);
    fprintf(out, "# references\tvirtual ns\tvirtual patches\tphysical ns\tphysical patches\n");
    printf("%12s  %26s  %26s  %9s\n", "references", "virtual node", "physical node", "");
    printf("%12s  %12s %13s  %12s %13s  %9s\n", "per buffer", "ns", "patches", "ns", "patches", "ratio");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct point p = {.n = sizes[i]};
        measure(&s, &p, rounds);
        check(&s, &p, rounds);
        fprintf(out, "%u\t%.0f\t%.0f\t%.0f\t%.0f\n", p.n, p.ns[0], p.patches[0], p.ns[1], p.patches[1]);
        printf("%12u  %12.0f %13.0f  %12.0f %13.0f  %8.1fx\n", p.n, p.ns[0], p.patches[0], p.ns[1],
               p.patches[1], p.ns[1] / p.ns[0]);
    }
    end(&s);
    return fclose(out) == 0 ? 0 : 1;
}
