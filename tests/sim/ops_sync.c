/* SPDX-License-Identifier: MIT */
/* ops_sync.c - mutexes and semaphores between lanes: contexts that hold waits, signals and empty packets
 * only. Owns: struct sync_world. A lane gives back what it took, sooner or later; the deadlocks that clients
 * can build with mutexes are built here too, and ended at the next settle by destroying what they hang on. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#include "sim/model_sync.h"

#define LANES_MAX 12u
#define OBJECTS_MAX 8u
#define GONE_MAX 4096u

struct lane {
    struct model_lane model;
    struct model_device *dev;
    struct vidmm_context *core;
    struct vidmm_fence *fence;
    uint64_t issued;
    uint32_t owed_count;            /* taken by a queued wait, its signal not queued yet */
    struct object *owed[MODEL_NAMES_MAX];
};

struct object {
    struct model_object model;
    struct vidmm_sync *core;        /* NULL: destroyed */
    bool semaphore;
};

struct sync_world {
    struct lane *lane[LANES_MAX];
    struct object *object[OBJECTS_MAX];
    struct object *gone[GONE_MAX];  /* steps may name them */
    uint32_t lanes, objects, gones, next_id;
    uint64_t rest;
};

static struct sync_world *world_of(struct sim *s)
{
    if (s->sync == NULL) s->sync = calloc(1, sizeof(*s->sync));
    if (s->sync == NULL) abort();
    return s->sync;
}

void sync_free(struct sim *s)
{
    struct sync_world *w = s->sync;
    if (w == NULL) return;
    for (uint32_t i = 0; i < w->objects; i++) free(w->object[i]);
    for (uint32_t i = 0; i < w->gones; i++) free(w->gone[i]);
    free(w);
    s->sync = NULL;
}

/* ---- what happened ----------------------------------------------------------------------------- */

static uint32_t all_lanes(struct sync_world *w, struct model_lane **all)
{
    for (uint32_t i = 0; i < w->lanes; i++) all[i] = &w->lane[i]->model;
    return w->lanes;
}

static void check_objects(struct sim *s, bool at_rest)
{
    struct sync_world *w = s->sync;
    for (uint32_t i = 0; i < w->objects; i++) {
        struct object *o = w->object[i];
        const char *wrong = model_object_check(&o->model, vidmm_sync_free_units(o->core), at_rest);
        if (wrong == NULL) continue;
        sim_fail(s, "sync object %u shows %u units, expected %lld: %s", o->model.id,
                 vidmm_sync_free_units(o->core), (long long)o->model.free, wrong);
    }
}

void sync_poll(struct sim *s)
{
    struct sync_world *w = world_of(s);
    struct model_lane *all[LANES_MAX];
    uint32_t n = all_lanes(w, all);
    for (uint32_t i = 0; i < w->lanes; i++) all[i]->left = vidmm_context_pending(w->lane[i]->core);
    for (uint32_t i = 0; i < w->lanes; i++) {
        const char *wrong = model_lane_retire(all[i], all, n);
        if (wrong != NULL) sim_fail(s, "lane %u of device %u: %s", all[i]->id, all[i]->device, wrong);
    }
    check_objects(s, false);
}

static void drop_lane(struct sync_world *w, uint32_t i)
{
    model_lane_cancel(&w->lane[i]->model);
    free(w->lane[i]);
    w->lane[i] = w->lane[--w->lanes];
}

static void drop_object(struct sync_world *w, uint32_t i)
{
    struct object *o = w->object[i];
    o->model.dead = true;
    o->core = NULL;
    if (w->gones == GONE_MAX) abort();
    w->gone[w->gones++] = o;
    w->object[i] = w->object[--w->objects];
}

/* The device is in error: nothing of it goes on. Its lanes can only be destroyed. */
static void device_over(struct sim *s, struct model_device *d, bool unseen)
{
    struct sync_world *w = world_of(s);
    struct model_lane *all[LANES_MAX];
    uint32_t n = all_lanes(w, all);
    for (uint32_t i = 0; i < w->objects; i++)
        model_object_device_lost(&w->object[i]->model, d->id, all, n, unseen);
    for (uint32_t i = w->lanes; i-- > 0;)
        if (w->lane[i]->dev == d) drop_lane(w, i);
}

void sync_device_lost(struct sim *s, struct model_device *d) { device_over(s, d, true); }

void sync_device_gone(struct sim *s, struct model_device *d)
{
    struct sync_world *w = world_of(s);
    device_over(s, d, false);
    for (uint32_t i = w->objects; i-- > 0;)
        if (w->object[i]->model.device == d->id) drop_object(w, i);
}

/* ---- making ------------------------------------------------------------------------------------ */

static struct lane *pick_lane(struct sim *s)
{
    struct sync_world *w = world_of(s);
    return w->lanes > 0 ? w->lane[sim_below(s, w->lanes)] : NULL;
}

static bool room(const struct lane *l, uint32_t n) { return l->model.count + n <= MODEL_STEPS_MAX; }

static struct model_answer answer_of(const struct model_device *d)
{
    struct model_answer a = {0, true};
    if (d->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    return a;
}

static void op_lane(struct sim *s)
{
    struct sync_world *w = world_of(s);
    struct model_device *d = pick_live_device(s);
    struct vidmm_context_desc desc = {.node = sim_chance(s, 2) ? REF_NODE_COMPUTE : REF_NODE_COPY};
    struct vidmm_context *core = NULL;
    if (d == NULL || w->lanes == LANES_MAX) return;
    uint32_t gpu = pick_gpu(s, d);
    if (gpu >= s->gpus || (s->model->gone >> gpu & 1u) != 0) return; /* ops_object.c sees it refused */
    desc.engine_affinity = 1u << gpu;
    sim_say(s, "device %u: create lane %u", d->id, w->next_id + 1);
    sim_observe_tables(s);
    struct vidmm_fence *fence = NULL;
    uint64_t initial = (1ull << 32) - 3 - sim_below(s, 3); /* soon at the end of what 32 bits hold */
    vidmm_status st = vidmm_fence_create(d->handle, initial, 0, &fence);
    if (!sim_status(s, model_fence_create(d, 0), st)) return;
    sim_check(s, model_fence_made(d->proc, vidmm_fence_gpu_address(fence)));
    if (!sim_status(s, answer_of(d), vidmm_context_create(d->handle, &desc, &core))) {
        vidmm_fence_destroy(fence);
        return;
    }
    struct lane *l = calloc(1, sizeof(*l));
    if (l == NULL) abort();
    *l = (struct lane){.model = {.device = d->id, .id = ++w->next_id}, .dev = d, .core = core,
                       .fence = fence, .issued = initial};
    sim_of(d)->used |= 1u << gpu;
    w->lane[w->lanes++] = l;
}

static void op_lane_end(struct sim *s)
{
    struct sync_world *w = world_of(s);
    uint32_t i = w->lanes > 0 ? (uint32_t)sim_below(s, w->lanes) : 0;
    if (w->lanes == 0 || w->lane[i]->model.count > 0 || w->lane[i]->owed_count > 0) return;
    for (uint32_t k = 0; k < w->lanes; k++) /* its fence is waited for, perhaps */
        if (w->lane[k]->dev == w->lane[i]->dev && w->lane[k]->model.count > 0) return;
    sim_say(s, "destroy lane %u", w->lane[i]->model.id);
    vidmm_context_destroy(w->lane[i]->core);
    vidmm_fence_destroy(w->lane[i]->fence);
    drop_lane(w, i);
}

static void op_object(struct sim *s)
{
    struct sync_world *w = world_of(s);
    struct model_device *d = pick_device(s);
    bool semaphore = sim_chance(s, 2);
    struct vidmm_sync_desc desc = {semaphore ? VIDMM_SYNC_SEMAPHORE : VIDMM_SYNC_MUTEX, 1, 100000};
    if (d == NULL || w->objects == OBJECTS_MAX || w->gones > GONE_MAX - 64) return;
    if (semaphore) desc.initial = (uint32_t)sim_below(s, 4);
    struct vidmm_sync *core = NULL;
    sim_say(s, "device %u: create %s %u, %u free", d->id, semaphore ? "semaphore" : "mutex", w->next_id + 1,
            desc.initial);
    if (!sim_status(s, answer_of(d), vidmm_sync_create(d->handle, &desc, &core))) return;
    struct object *o = calloc(1, sizeof(*o));
    if (o == NULL) abort();
    o->model = (struct model_object){.id = ++w->next_id, .device = d->id, .mutex = !semaphore,
                                     .free = desc.initial};
    o->core = core;
    o->semaphore = semaphore;
    w->object[w->objects++] = o;
}

static void destroy_object(struct sim *s, uint32_t i)
{
    struct sync_world *w = s->sync;
    sim_say(s, "destroy sync object %u", w->object[i]->model.id);
    vidmm_sync_destroy(w->object[i]->core);
    drop_object(w, i);
}

static void op_object_end(struct sim *s)
{
    struct sync_world *w = world_of(s);
    if (w->objects > 0 && sim_chance(s, 4)) destroy_object(s, (uint32_t)sim_below(s, w->objects));
}

/* ---- waits and signals ------------------------------------------------------------------------- */

static uint32_t pick_objects(struct sim *s, struct object **out)
{
    struct sync_world *w = s->sync;
    uint32_t n = 0, want = 1 + (sim_chance(s, 2) ? 0 : (uint32_t)sim_below(s, MODEL_NAMES_MAX));
    for (uint32_t tries = 0; tries < 8 && n < want && w->objects > 0; tries++) {
        struct object *o = w->object[sim_below(s, w->objects)];
        bool again = false;
        for (uint32_t i = 0; i < n; i++) again |= out[i] == o;
        if (!again) out[n++] = o;
    }
    return n;
}

/* A fence of a lane of the same device; its value may never come by itself. */
static void add_fence(struct sim *s, const struct lane *l, struct vidmm_point *p, uint32_t *n,
                      struct model_step *step)
{
    const struct lane *other = pick_lane(s);
    if (other->dev != l->dev || !sim_chance(s, 3)) return;
    step->fence = vidmm_fence_cpu_address(other->fence);
    step->narrow = s->model->config.narrow;
    step->value = other->issued + sim_below(s, 2);
    sim_say(s, "  and for %llu of lane %u", (unsigned long long)step->value, other->model.id);
    p[(*n)++] = (struct vidmm_point){.fence = other->fence, .value = step->value};
}

static void op_take(struct sim *s)
{
    struct lane *l = pick_lane(s);
    struct vidmm_point p[MODEL_NAMES_MAX + 1];
    struct object *o[MODEL_NAMES_MAX];
    if (l == NULL || l->owed_count > 0 || !room(l, 4)) return;
    uint32_t n = pick_objects(s, o), points = n;
    struct model_step step = {.kind = MODEL_STEP_WAIT, .n = n};
    if (n == 0) return;
    for (uint32_t i = 0; i < n; i++) {
        p[i] = (struct vidmm_point){.sync = o[i]->core};
        step.object[i] = &o[i]->model;
        sim_say(s, "lane %u of device %u waits for %u", l->model.id, l->model.device, o[i]->model.id);
    }
    add_fence(s, l, p, &points, &step);
    if (!sim_status(s, answer_of(l->dev), vidmm_context_wait_for(l->core, p, points))) return;
    model_lane_queue(&l->model, &step);
    memcpy(l->owed, o, sizeof(o));
    l->owed_count = n;
}

static void op_empty(struct sim *s)
{
    struct lane *l = pick_lane(s);
    const struct model_step step = {.kind = MODEL_STEP_EMPTY};
    if (l == NULL || !room(l, 3)) return;
    sim_say(s, "lane %u: an empty packet", l->model.id);
    vidmm_status st = vidmm_context_submit(l->core, 0x10000, 8, NULL, 0, VIDMM_SUBMIT_NULL);
    if (sim_status(s, answer_of(l->dev), st)) model_lane_queue(&l->model, &step);
}

/* The signal of one lane, or of it and all others of its device with room. */
static bool queue_signal(struct sim *s, struct lane *l, struct vidmm_point *p, uint32_t points,
                         struct model_step *step)
{
    struct sync_world *w = s->sync;
    struct vidmm_context *core[LANES_MAX] = {l->core};
    struct lane *lane[LANES_MAX] = {l};
    uint32_t n = 1;
    bool together = sim_chance(s, 4);
    for (uint32_t i = 0; i < w->lanes && together; i++) {
        if (w->lane[i] == l || w->lane[i]->dev != l->dev || !room(w->lane[i], 2)) continue;
        lane[n] = w->lane[i];
        core[n++] = w->lane[i]->core;
    }
    if (n > 1) sim_say(s, "  together with %u other lanes", n - 1);
    const struct vidmm_signal in = {core, n, p, points, 0};
    if (!sim_status(s, answer_of(l->dev), vidmm_contexts_signal(&in))) return false;
    if (n > 1) {
        step->group = calloc(1, sizeof(*step->group));
        if (step->group == NULL) abort();
        step->group->left = step->group->refs = n;
    }
    for (uint32_t i = 0; i < n; i++) model_lane_queue(&lane[i]->model, step);
    return true;
}

static void give(struct sim *s, struct lane *l)
{
    struct vidmm_point p[MODEL_NAMES_MAX + 1];
    struct model_step step = {.kind = MODEL_STEP_SIGNAL};
    uint32_t points = 0;
    for (uint32_t i = 0; i < l->owed_count; i++) {
        if (l->owed[i]->core == NULL) continue;
        sim_say(s, "lane %u of device %u signals %u", l->model.id, l->model.device, l->owed[i]->model.id);
        p[points++] = (struct vidmm_point){.sync = l->owed[i]->core};
        step.object[step.n++] = &l->owed[i]->model;
    }
    if (sim_chance(s, 2)) p[points++] = (struct vidmm_point){.fence = l->fence, .value = l->issued + 1};
    bool fence = points > step.n;
    if (points > 0 && !queue_signal(s, l, p, points, &step)) return;
    if (fence) l->issued++;
    l->owed_count = 0;
}

static void op_give(struct sim *s)
{
    struct lane *l = pick_lane(s);
    if (l != NULL && l->owed_count > 0 && room(l, 1)) give(s, l);
}

/* A semaphore is signalled by who did not wait for it. */
static void op_post(struct sim *s)
{
    struct lane *l = pick_lane(s);
    struct sync_world *w = world_of(s);
    if (l == NULL || w->objects == 0 || !room(l, 3)) return;
    struct object *o = w->object[sim_below(s, w->objects)];
    struct vidmm_point p = {.sync = o->core};
    struct model_step step = {.kind = MODEL_STEP_SIGNAL, .n = 1, .object = {&o->model}};
    if (!o->semaphore) return;
    sim_say(s, "lane %u of device %u signals %u", l->model.id, l->model.device, o->model.id);
    (void)queue_signal(s, l, &p, 1, &step);
}

static void op_nasty(struct sim *s)
{
    struct lane *l = pick_lane(s);
    struct sync_world *w = world_of(s);
    struct vidmm_point p[33] = {{0}};
    struct model_answer a = {MODEL_BIT(VIDMM_INVALID), false};
    if (l == NULL || w->objects == 0) return;
    for (uint32_t i = 0; i < 33; i++) p[i].sync = w->object[0]->core;
    static const uint32_t counts[] = {0, 2, 32, 33};
    uint32_t n = counts[sim_below(s, 4)];
    sim_say(s, "lane %u: a wait that names an object %u times", l->model.id, n);
    (void)sim_status(s, a, vidmm_context_wait_for(l->core, p, n));
    sim_say(s, "lane %u: a signal with wrong flags", l->model.id);
    (void)sim_status(s, a, vidmm_contexts_signal(&(struct vidmm_signal){&l->core, 1, p, 1, 1u << 1}));
}

/* ---- rest -------------------------------------------------------------------------------------- */

/* false: something goes on all the time, and nothing can be told (a hung engine is looked after for ever). */
static bool rest_now(struct sim *s, uint64_t turns)
{
    struct sync_world *w = s->sync;
    bool rests = world_settle(s->world, turns);
    sim_poll(s);
    if (!rests) return false;
    check_objects(s, true);
    w->rest++;
    for (uint32_t i = 0; i < w->lanes; i++) {
        const struct model_step *head = model_lane_head(&w->lane[i]->model);
        if (head == NULL || head->kind == MODEL_STEP_EMPTY) continue; /* its device may wait for memory */
        const char *wrong = model_lane_rest(&w->lane[i]->model, w->rest);
        if (wrong != NULL)
            sim_fail(s, "lane %u of device %u: %s", w->lane[i]->model.id, w->lane[i]->model.device, wrong);
    }
    return true;
}

static void op_rest(struct sim *s)
{
    uint32_t hanging = 0;
    for (uint32_t g = 0; g < s->gpus; g++) hanging |= sim_knobs(s, g).hang_nodes;
    if (world_of(s)->lanes == 0 || hanging != 0) return; /* a hung engine keeps units */
    sim_say(s, "lanes come to rest");
    (void)rest_now(s, 20000);
}

/* What keeps the first blocked lane: a fence gets its value, an object goes. false: none is blocked. */
static bool unblock(struct sim *s)
{
    struct sync_world *w = s->sync;
    for (uint32_t i = 0; i < w->lanes; i++) {
        struct lane *l = w->lane[i];
        struct model_object *which;
        const struct model_step *head = model_lane_head(&l->model);
        if (head == NULL || model_step_ready(head, &which)) continue;
        for (uint32_t k = 0; which != NULL && k < w->objects; k++) {
            if (&w->object[k]->model != which) continue;
            destroy_object(s, k);
            return true;
        }
        for (uint32_t k = 0; k < w->lanes; k++) {
            struct lane *of = w->lane[k];
            if (vidmm_fence_cpu_address(of->fence) != head->fence) continue;
            sim_say(s, "signal the fence of lane %u with %llu at last", of->model.id,
                    (unsigned long long)head->value);
            (void)sim_status(s, (struct model_answer){0, true}, vidmm_fence_signal(of->fence, head->value));
            if (of->issued < head->value) of->issued = head->value;
            return true;
        }
    }
    return false;
}

/* All owed signals are queued, deadlocks are ended: the lanes are empty afterwards. */
void sync_settle(struct sim *s)
{
    struct sync_world *w = world_of(s);
    if (w->lanes == 0 && w->objects == 0) return;
    for (uint32_t i = 0; i < w->lanes; i++)
        if (w->lane[i]->owed_count > 0 && room(w->lane[i], 1)) give(s, w->lane[i]);
    do if (!rest_now(s, SIM_TURNS_MAX)) sim_fail(s, "no rest with lanes");
    while (unblock(s));
    for (uint32_t i = 0; i < w->lanes; i++)
        if (w->lane[i]->model.count > 0)
            sim_fail(s, "liveness: lane %u has %u steps left", w->lane[i]->model.id, w->lane[i]->model.count);
}

const struct sim_op ops_sync[] = {
    {"lane", op_lane, 4}, {"lane_end", op_lane_end, 1}, {"object", op_object, 3},
    {"object_end", op_object_end, 1}, {"take", op_take, 12}, {"give", op_give, 14}, {"empty", op_empty, 5},
    {"post", op_post, 5}, {"sync_rest", op_rest, 2}, {"lane_nasty", op_nasty, 1},
    {NULL, NULL, 0}};
