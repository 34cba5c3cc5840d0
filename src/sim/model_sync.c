/* SPDX-License-Identifier: MIT */
/* model_sync.c - see model_sync.h.  Calls: malloc's free for groups, nothing else. */
#include "sim/model_sync.h"

#include <stdlib.h>

/* ---- objects ----------------------------------------------------------------------------------- */

static struct model_user *user_of(struct model_object *o, uint32_t device)
{
    for (uint32_t i = 0; i < o->user_count; i++)
        if (o->user[i].device == device) return &o->user[i];
    if (o->user_count == MODEL_USERS_MAX) abort();
    o->user[o->user_count] = (struct model_user){device, 0, 0};
    return &o->user[o->user_count++];
}

/* How often the steps of a lane take the object and give to it. */
static void count_steps(const struct model_lane *l, const struct model_object *o, uint64_t *takes,
                        uint64_t *gives)
{
    for (uint32_t i = 0; i < l->count; i++) {
        const struct model_step *s = &l->step[(l->head + i) % MODEL_STEPS_MAX];
        for (uint32_t k = 0; k < s->n; k++) {
            if (s->object[k] != o) continue;
            *(s->kind == MODEL_STEP_WAIT ? takes : gives) += 1;
        }
    }
}

/* What it holds is what it took less what it gave, but never below 0: of a semaphore the order decides, and
 * only bounds can be told. A mutex is free afterwards if it was the owner, whatever else got through. */
void model_object_device_lost(struct model_object *o, uint32_t device, struct model_lane *const *all,
                              uint32_t n, bool unseen)
{
    struct model_user *u = user_of(o, device);
    uint64_t takes = 0, gives = 0;
    for (uint32_t i = 0; i < n && unseen && !o->mutex; i++)
        if (all[i]->device == device) count_steps(all[i], o, &takes, &gives);
    int64_t held = (int64_t)u->taken - (int64_t)u->given, least = -(int64_t)takes;
    if (held > least) least = held;
    if (o->device == device) o->dead = true;
    o->free += least;
    if (!o->mutex) o->slack += (uint64_t)((int64_t)(u->taken + gives) - least);
    o->loose = true;
    *u = (struct model_user){device, 0, 0};
}

const char *model_object_check(struct model_object *o, uint32_t shown, bool at_rest)
{
    if (o->dead) return NULL;
    if (o->free < 0 && !o->loose) return "more units were taken than there are";
    if (o->mutex && o->free > 1) return "a mutex was given back twice";
    if (o->loose && !at_rest) return NULL;
    /* A wait takes its units a moment before it retires. */
    if ((int64_t)shown > o->free + (int64_t)o->slack) return "units appeared from nowhere";
    if (at_rest && (int64_t)shown < o->free) return "units were lost";
    if (!at_rest) return NULL;
    o->free = shown;
    o->slack = 0;
    o->loose = false;
    return NULL;
}

/* ---- lanes ------------------------------------------------------------------------------------- */

struct model_step *model_lane_head(struct model_lane *l) { return l->count > 0 ? &l->step[l->head] : NULL; }

void model_lane_queue(struct model_lane *l, const struct model_step *s)
{
    if (l->count == MODEL_STEPS_MAX) abort();
    l->step[(l->head + l->count++) % MODEL_STEPS_MAX] = *s;
}

static void group_put(struct model_group *g)
{
    if (g != NULL && --g->refs == 0) free(g);
}

static void drop_head(struct model_lane *l)
{
    group_put(l->step[l->head].group);
    l->head = (l->head + 1) % MODEL_STEPS_MAX;
    l->count--;
}

/* 32 bits hold the last of all values that are near it: the one in between is less than 2^31 away. */
static bool fence_there(const struct model_step *s)
{
    if (s->fence == NULL) return true;
    if (!s->narrow) return __atomic_load_n(s->fence, __ATOMIC_ACQUIRE) >= s->value;
    uint32_t now = __atomic_load_n((const uint32_t *)(const void *)s->fence, __ATOMIC_ACQUIRE);
    return (int32_t)(now - (uint32_t)s->value) >= 0;
}

bool model_step_ready(const struct model_step *s, struct model_object **which)
{
    if (which != NULL) *which = NULL;
    if (s->kind != MODEL_STEP_WAIT) return true;
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->object[i]->dead || s->object[i]->free > 0) continue;
        if (which != NULL) *which = s->object[i];
        return false;
    }
    return fence_there(s);
}

/* Another lane asked for the same one object at an earlier rest and waits still. */
static bool overtakes(const struct model_step *s, struct model_lane *const *all, uint32_t n)
{
    if (s->kind != MODEL_STEP_WAIT || s->n != 1 || s->fence != NULL || s->object[0]->dead) return false;
    for (uint32_t i = 0; i < n; i++) {
        const struct model_step *other = model_lane_head(all[i]);
        if (all[i]->left < all[i]->count) continue; /* it goes on, too */
        if (other == NULL || other == s || other->kind != MODEL_STEP_WAIT || other->since == 0) continue;
        bool same = other->n == 1 && other->fence == NULL && other->object[0] == s->object[0];
        if (same && (s->since == 0 || other->since < s->since)) return true;
    }
    return false;
}

static const char *retire(struct model_lane *l, struct model_step *s)
{
    if (s->group != NULL && --s->group->left > 0) return NULL;
    for (uint32_t i = 0; i < s->n; i++) {
        struct model_object *o = s->object[i];
        struct model_user *u = user_of(o, l->device);
        if (o->dead || s->kind == MODEL_STEP_EMPTY) continue;
        if (s->kind == MODEL_STEP_WAIT) {
            o->free--;
            u->taken++;
        } else {
            o->free++;
            u->given++;
        }
    }
    return s->kind != MODEL_STEP_WAIT || fence_there(s) ? NULL : "a wait went on before its fence";
}

const char *model_lane_retire(struct model_lane *l, struct model_lane *const *all, uint32_t n)
{
    if (l->left > l->count) return "more is pending than was queued";
    while (l->count > l->left) {
        struct model_step *s = &l->step[l->head];
        if (overtakes(s, all, n)) return "a wait was overtaken by a later one for the same object";
        const char *wrong = retire(l, s);
        if (wrong != NULL) return wrong;
        drop_head(l);
    }
    return NULL;
}

void model_lane_cancel(struct model_lane *l)
{
    while (l->count > 0) drop_head(l);
}

const char *model_lane_rest(struct model_lane *l, uint64_t rest)
{
    struct model_step *s = model_lane_head(l);
    if (s == NULL) return NULL;
    if (model_step_ready(s, NULL)) return "nothing keeps a step, and it does not go on";
    if (s->since == 0) s->since = rest;
    return NULL;
}
