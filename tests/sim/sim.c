/* SPDX-License-Identifier: MIT */
/* sim.c - a seed from beginning to end, and how a divergence is told. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/domain.h"

#define OPS_MAX 96u

struct menu { const struct sim_op *op[OPS_MAX]; uint32_t weight[OPS_MAX], count, total; };

/* ---- chance ------------------------------------------------------------------------------------ */

uint64_t sim_random(struct sim *s)
{
    uint64_t z = s->random += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

uint64_t sim_below(struct sim *s, uint64_t n) { return sim_random(s) % n; }
bool sim_chance(struct sim *s, uint32_t one_in) { return sim_below(s, one_in) == 0; }

/* ---- words ------------------------------------------------------------------------------------- */

void sim_say(struct sim *s, const char *format, ...)
{
    va_list ap;
    char *line = s->history[s->calls++ % HISTORY];
    va_start(ap, format);
    int n = snprintf(line, sizeof(s->text), "step %llu: ", (unsigned long long)s->step);
    vsnprintf(line + n, sizeof(s->text) - (size_t)n, format, ap);
    va_end(ap);
    memcpy(s->text, line, sizeof(s->text));
    if (s->opt.verbose) printf("%s\n", line);
}

const char *const sim_update_names[3] = {"cpu", "gpu-virtual", "gpu-physical"};

static void say_replay(const struct sim_options *o)
{
    fprintf(stderr, "\nreplay: vidmm-sim --seeds 1 --seed %llu --ops %llu", (unsigned long long)o->seed,
            (unsigned long long)o->ops);
    if (o->gpus != 0) fprintf(stderr, " --gpus %u", o->gpus);
    if (o->format >= 0) fprintf(stderr, " --format %c", o->format == REF_FORMAT_A ? 'A' : 'B');
    if (o->update >= 0) fprintf(stderr, " --update %s", sim_update_names[o->update]);
    if (o->break_row != NULL) fprintf(stderr, " --break %s", o->break_row);
    fprintf(stderr, " -v\n");
}

void sim_fail(struct sim *s, const char *format, ...)
{
    va_list ap;
    uint64_t from = s->calls > HISTORY ? s->calls - HISTORY : 0;
    fflush(stdout);
    fprintf(stderr, "DIVERGENCE seed %llu step %llu\n", (unsigned long long)s->opt.seed,
            (unsigned long long)s->step);
    for (uint64_t i = from; i < s->calls; i++) fprintf(stderr, "  %s\n", s->history[i % HISTORY]);
    va_start(ap, format);
    fprintf(stderr, "  => ");
    vfprintf(stderr, format, ap);
    va_end(ap);
    say_replay(&s->opt);
    longjmp(s->out, 1);
}

void sim_check(struct sim *s, const char *wrong)
{
    if (wrong != NULL) sim_fail(s, "%s", wrong);
}

const char *sim_status_name(vidmm_status st)
{
    static const char *const names[] = { "OK",          "INVALID",     "NO_MEMORY",     "NO_VIDEO_MEMORY",
                                         "LIMIT",       "BUSY",        "NOT_SUPPORTED", "ACCESS_DENIED",
                                         "DEVICE_LOST", "BUFFER_FULL", "FAILED" };
    if (st == VIDMM_PENDING) return "PENDING";
    return st <= 0 && st >= VIDMM_FAILED ? names[-st] : "?";
}

bool sim_status(struct sim *s, struct model_answer a, vidmm_status st)
{
    char expected[128] = "";
    size_t used = 0;
    world_trace(s->world, (uint64_t)(int64_t)st);
    if (s->opt.verbose) printf("    %s\n", sim_status_name(st));
    if (st >= 0 && a.success) return true;
    s->totals.refused++;
    if (st < 0 && (a.errors & MODEL_BIT(st)) != 0) return false;
    if ((st == VIDMM_NO_MEMORY || st == VIDMM_FAILED) && s->injecting) return false;
    if (a.success) used = (size_t)snprintf(expected, sizeof(expected), " success");
    for (int e = 1; e <= 10 && used < sizeof(expected); e++) {
        if ((a.errors >> e & 1u) == 0) continue;
        used += (size_t)snprintf(expected + used, sizeof(expected) - used, " %s", sim_status_name(-e));
    }
    sim_fail(s, "answered %s; expected:%s", sim_status_name(st), expected);
}

/* ---- a seed ------------------------------------------------------------------------------------ */

/* Swarm: each operation is left out in one seed of four, and its weight varies by a factor of eight. */
static void make_menu(struct sim *s, struct menu *m)
{
    const struct sim_op *const tables[] = {ops_object, ops_memory, ops_va, ops_gpu, ops_fault, ops_sync,
                                           ops_phys, ops_tile, ops_hw, ops_share, ops_shared, ops_offer,
                                           ops_link};
    memset(m, 0, sizeof(*m));
    for (uint32_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
        for (const struct sim_op *op = tables[t]; op->name != NULL; op++) {
            uint32_t weight = sim_chance(s, 4) ? 0 : op->weight << sim_below(s, 4);
            m->op[m->count] = op;
            m->weight[m->count++] = weight;
            m->total += weight;
        }
}

static void set_create_knob(struct sim *s, uint32_t gpu, uint32_t n)
{
    struct softgpu_knobs k = sim_knobs(s, gpu);
    k.fail_create_in = n;
    sim_set_knobs(s, gpu, &k);
}

/* Memory, frames or the driver's create calls fail during one operation. */
static void inject(struct sim *s)
{
    if (!s->temper.oom || !sim_chance(s, 6)) return;
    s->injecting = true;
    if (sim_chance(s, 3)) {
        uint64_t k = 1 + sim_below(s, 2);
        bool forever = sim_chance(s, 2);
        if (s->domain != NULL && s->step % 2 == 0) sim_domain_fail(s->domain, k);
        else world_fail(s->world, WORLD_FRAMES, k, forever);
    } else if (sim_chance(s, 3)) {
        set_create_knob(s, (uint32_t)sim_below(s, s->gpus), 1 + (uint32_t)sim_below(s, 2));
    } else {
        world_fail(s->world, WORLD_ALLOC, 1 + sim_below(s, 6), sim_chance(s, 4));
    }
}

static void inject_nothing(struct sim *s)
{
    if (!s->injecting) return;
    world_fail(s->world, WORLD_ALLOC, 0, false);
    world_fail(s->world, WORLD_FRAMES, 0, false);
    if (s->domain != NULL) sim_domain_fail(s->domain, 0);
    for (uint32_t g = 0; g < s->gpus; g++) set_create_knob(s, g, 0);
    s->injecting = false;
}

/* An operation that finds nothing to work on says nothing: another one is taken. */
static void run_one(struct sim *s, const struct menu *m)
{
    uint64_t before = s->calls;
    inject(s);
    for (int tries = 0; tries < 12 && s->calls == before; tries++) {
        uint64_t at = sim_below(s, m->total);
        uint32_t i = 0;
        while (at >= m->weight[i]) at -= m->weight[i++];
        m->op[i]->run(s);
    }
    inject_nothing(s);
    sim_poll(s);
    if (!sim_chance(s, 3)) sim_turns(s, sim_below(s, s->temper.turns + 1));
}

static void storm(struct sim *s)
{
    struct menu m;
    make_menu(s, &m);
    while (s->model->process_count < s->temper.processes) {
        struct model_process *p = process_new(s);
        for (uint32_t i = 0; p != NULL && i < s->temper.devices; i++) (void)device_new(s, p);
        if (p == NULL) break;
    }
    for (s->step = 1; s->step <= s->opt.ops; s->step++) {
        if (m.total > 0) run_one(s, &m);
        domain_step(s);
        if (sim_chance(s, s->temper.check_every)) sim_verify(s);
        if (sim_chance(s, s->temper.settle_every)) sim_settle(s);
    }
    sim_settle(s);
}

static void add_up(struct sim *s, struct sim_totals *t)
{
    const struct vidmm_counters *c = vidmm_adapter_counters(s->ad);
    t->maps += c->maps;
    t->reserves += c->reserves;
    t->frees += c->frees;
    t->residents += c->make_residents;
    t->evicts += c->evict_calls;
    t->over_budget += c->over_budget;
    t->page_ins += c->page_ins;
    t->page_outs += c->page_outs;
    t->fills += c->zero_fills;
    t->evictions += c->evictions;
    t->demotions += c->demotions;
    t->promotions += c->promotions;
    t->flushes += c->flushes;
    t->submits += c->submits_completed;
    t->faults += c->faults;
    t->timeouts += c->timeouts;
    t->preemptions += c->preemptions;
    t->adapter_resets += s->totals.adapter_resets;
    t->removals += s->model->lost;
    t->updates += s->totals.updates;
    t->updates_waiting += s->totals.updates_waiting;
    t->tile_packets += s->totals.tile_packets;
    t->tile_packets_elsewhere += s->totals.tile_packets_elsewhere;
    t->tile_packets_cut += s->totals.tile_packets_cut;
    t->hw_commands += s->totals.hw_commands;
    t->hw_waits += s->totals.hw_waits;
    t->hw_signals += s->totals.hw_signals;
    t->rings += s->totals.rings;
    t->victims += s->totals.victims;
    t->hw_ended += s->totals.hw_ended;
    t->discards += s->totals.discards;
    t->remapped += s->totals.remapped;
    t->attached += s->totals.attached;
    t->suspends += c->suspends;
    t->root_resizes += c->root_resizes;
    t->tables += c->tables_created;
    t->refused += s->totals.refused;
    t->pages_read += s->totals.pages_read;
    t->links += s->gpus > 1;
    t->peer_maps += s->totals.peer_maps;
    t->peer_pages_read += s->totals.peer_pages_read;
    t->gpus_lost += s->totals.gpus_lost;
}

bool sim_run_seed(const struct sim_options *o, uint64_t *hash, struct sim_totals *totals)
{
    struct sim *s = calloc(1, sizeof(*s));
    if (s == NULL) abort();
    s->opt = *o;
    s->random = o->seed * 0x9e3779b97f4a7c15ull + 0x1234567;
    if (setjmp(s->out) != 0) return false; /* what it held is left as it is, for a debugger */
    if (!sim_world_open(s)) sim_fail(s, "the adapter could not be made");
    storm(s);
    add_up(s, totals);
    sim_world_close(s);
    *hash = world_trace_hash(s->world);
    world_destroy(s->world);
    sync_free(s);
    free(s->done);
    free(s);
    return true;
}
