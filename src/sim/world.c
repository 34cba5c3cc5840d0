/* SPDX-License-Identifier: MIT */
/* world.c - turns, clock, chance, and the env of a face. Memory is in memory.c.
 * Calls: vidmm_run, registered steps. */
#include <stdlib.h>
#include <string.h>

#include "sim/inside.h"

#define TURN_NS_MAX 1000u

/* ---- chance: splitmix64 ------------------------------------------------------------------------ */

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

uint64_t world_random(struct world *w)
{
    w->random += 0x9e3779b97f4a7c15ull;
    return mix(w->random);
}

uint64_t world_below(struct world *w, uint64_t n) { return world_random(w) % n; }
uint64_t world_trace_hash(const struct world *w) { return w->trace; }

void world_trace(struct world *w, uint64_t value)
{
    w->trace = mix(w->trace + 0x9e3779b97f4a7c15ull + value);
}

/* ---- making a world ---------------------------------------------------------------------------- */

static void poke(void *ctx)
{
    struct world *w = ctx;
    w->poked = true;
    w->accounts.pokes++;
}

struct world *world_create(const struct world_options *o)
{
    struct world *w = calloc(1, sizeof(*w));
    if (w == NULL) return NULL;
    w->random = mix(o->seed + 1);
    w->trace = mix(o->seed);
    w->core_next = UINT64_MAX;
    w->platform.struct_size = sizeof(w->platform);
    w->platform.ctx = w;
    w->platform.poke = poke;
    if (memory_create(w, o->frames != 0 ? o->frames : 65536)) return w;
    free(w);
    return NULL;
}

void world_destroy(struct world *w)
{
    if (w == NULL) return;
    memory_destroy(w);
    free(w);
}

const struct vidmm_platform *world_platform(struct world *w) { return &w->platform; }
void world_set_iommu(struct world *w, const struct vidmm_iommu *io) { w->platform.iommu = io; }
void world_get_accounts(const struct world *w, struct world_accounts *out) { *out = w->accounts; }

/* ---- turns ------------------------------------------------------------------------------------- */

void world_add_actor(struct world *w, const struct world_actor *a)
{
    if (w->actor_count < WORLD_ACTORS_MAX) w->actor[w->actor_count++] = *a;
}

void world_own(struct world *w, struct vidmm_adapter *ad)
{
    w->adapter = ad;
    w->core_next = UINT64_MAX;
}

uint64_t world_now_ns(void *world) { return ((struct world *)world)->now; }
void world_advance(struct world *w, uint64_t ns) { w->now += ns; }

static void fire_watches(struct world *w)
{
    for (struct vidmm_watch **at = &w->watches; *at != NULL;) {
        struct vidmm_watch *watch = *at;
        if (!watch->done(watch->arg)) {
            at = &watch->next;
            continue;
        }
        *at = watch->next;
        watch->fire(watch->arg);
    }
}

/* true: the core wants to go on at once, or something was reported to it meanwhile. */
static bool run_core(struct world *w)
{
    if (w->adapter == NULL) return false;
    bool asked = w->poked || w->core_next <= w->now;
    w->poked = false;
    w->accounts.runs++;
    w->core_next = vidmm_run(w->adapter, w->now);
    fire_watches(w);
    return asked || w->core_next <= w->now;
}

static bool act(struct world *w, uint32_t who)
{
    bool progress = who == w->actor_count ? run_core(w) : w->actor[who].step(w->actor[who].ctx);
    world_trace(w, (uint64_t)who << 1 | progress);
    return progress;
}

/* Everybody once, the core first: what it hands out is seen by the others in the same sweep. */
static bool sweep(struct world *w)
{
    bool progress = act(w, w->actor_count);
    for (uint32_t i = 0; i < w->actor_count; i++) progress |= act(w, i);
    return progress || w->poked;
}

static uint64_t next_deadline(const struct world *w)
{
    uint64_t next = w->core_next;
    for (uint32_t i = 0; i < w->actor_count; i++) {
        uint64_t t = w->actor[i].wake != NULL ? w->actor[i].wake(w->actor[i].ctx) : UINT64_MAX;
        if (t < next) next = t;
    }
    return next;
}

bool world_turn(struct world *w)
{
    w->now += world_below(w, TURN_NS_MAX);
    if (act(w, (uint32_t)world_below(w, w->actor_count + 1u))) {
        w->quiet = 0;
        return true;
    }
    if (++w->quiet < 2 * (w->actor_count + 1)) return true;
    w->quiet = 0;
    if (sweep(w)) return true;
    uint64_t next = next_deadline(w);
    if (next == UINT64_MAX) return false;
    if (next > w->now) w->now = next;
    return true;
}

bool world_settle(struct world *w, uint64_t max_turns)
{
    for (uint64_t i = 0; i < max_turns; i++)
        if (!world_turn(w)) return true;
    return false;
}

bool world_until(struct world *w, uint64_t max_turns, bool (*done)(void *arg), void *arg)
{
    for (uint64_t i = 0; i < max_turns && !done(arg); i++)
        if (!world_turn(w)) break;
    return done(arg);
}

/* ---- env ---------------------------------------------------------------------------------------- */

static bool env_enter(void *ctx)
{
    struct world *w = ctx;
    if (w->entered || w->adapter == NULL) return false;
    w->entered = true;
    return true;
}

static void env_leave(void *ctx)
{
    struct world *w = ctx;
    w->entered = false;
    w->poked = true;
}

static bool env_wait(void *ctx, bool (*done)(void *arg), void *arg)
{
    struct world *w = ctx;
    w->poked = true;
    return world_until(w, UINT64_MAX, done, arg);
}

static void env_watch(void *ctx, struct vidmm_watch *watch)
{
    struct world *w = ctx;
    struct vidmm_watch **at = &w->watches;
    while (*at != NULL) at = &(*at)->next;
    watch->next = NULL;
    *at = watch;
}

static bool env_copy_in(void *ctx, void *dst, const void *client, size_t bytes)
{
    struct world *w = ctx;
    return client != NULL && w->platform.copy(w, dst, client, bytes);
}

static bool env_copy_out(void *ctx, void *client, const void *src, size_t bytes)
{
    struct world *w = ctx;
    return client != NULL && w->platform.copy(w, client, src, bytes);
}

static bool env_event(void *ctx, uint64_t event)
{
    struct world *w = ctx;
    if (event >= WORLD_EVENTS_MAX) return false;
    w->events[event]++;
    return true;
}

uint64_t world_event_count(const struct world *w, uint64_t event)
{
    return event < WORLD_EVENTS_MAX ? w->events[event] : 0;
}

static void *env_alloc(void *ctx, size_t bytes)
{
    struct world *w = ctx;
    void *p = w->platform.alloc(w, bytes, 16);
    if (p != NULL) memset(p, 0, bytes);
    return p;
}

static void env_free(void *ctx, void *p, size_t bytes)
{
    struct world *w = ctx;
    w->platform.free(w, p, bytes);
}

void world_env(struct world *w, struct vidmm_env *out)
{
    *out = (struct vidmm_env){.ctx = w, .enter = env_enter, .leave = env_leave, .wait = env_wait,
                              .watch = env_watch, .copy_in = env_copy_in, .copy_out = env_copy_out,
                              .event_signal = env_event, .alloc = env_alloc, .free = env_free};
}
