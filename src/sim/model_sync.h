/* SPDX-License-Identifier: MIT */
/* model_sync.h - the reference model of mutexes and semaphores: what may happen in contexts that hold nothing
 * but waits, signals and empty packets ("lanes"). Owns: its own picture; shares no code with the core.
 *
 * Steps of a lane retire in order. Which lane goes on first is the core's choice as far as the rules leave
 * it one, so retirements are observed; what they did to the objects is then checked against the units that
 * the core shows. At rest nobody may wait who could be served, and nobody overtakes who asked for the same
 * one object later. Functions that check give NULL, or a sentence that says what is wrong. */
#ifndef SIM_MODEL_SYNC_H
#define SIM_MODEL_SYNC_H

#include <stdbool.h>
#include <stdint.h>

#define MODEL_STEPS_MAX 24u   /* queued in one lane */
#define MODEL_NAMES_MAX 4u    /* objects of one step */
#define MODEL_USERS_MAX 64u   /* devices that ever used one object */

/* What one device has taken from an object and given to it. */
struct model_user { uint32_t device; uint64_t taken, given; };

struct model_object {
    uint32_t id, device;      /* device: whose object it is */
    bool mutex, dead;         /* dead: waits for it are satisfied, signals have no effect */
    int64_t free;             /* units, by what has retired; for a moment below 0 */
    uint64_t slack;           /* a lost device gave back between 0 and this many more */
    bool loose;               /* units are on their way back: no comparison before the next rest */
    uint32_t user_count;
    struct model_user user[MODEL_USERS_MAX];
};

enum model_step_kind { MODEL_STEP_WAIT, MODEL_STEP_SIGNAL, MODEL_STEP_EMPTY };

struct model_group { uint32_t left, refs; }; /* steps of several lanes that signal together */

struct model_step {
    enum model_step_kind kind;
    uint32_t n;
    struct model_object *object[MODEL_NAMES_MAX];
    const uint64_t *fence;    /* of a wait: besides, it wants *fence to have come to value */
    bool narrow;              /* of 32 bits, which go round */
    uint64_t value;
    struct model_group *group;
    uint64_t since;           /* of a wait: the rest at which it was first seen at the head; 0: not yet */
};

struct model_lane {
    uint32_t device, id, head, count, left;
    struct model_step step[MODEL_STEPS_MAX];
};

struct model_step *model_lane_head(struct model_lane *); /* NULL: empty */
/* Room is the caller's business. The step is copied; the group is shared with the other lanes. */
void model_lane_queue(struct model_lane *, const struct model_step *);
/* Set `left`, the steps still pending, of all lanes that exist; then take off what has retired. */
const char *model_lane_retire(struct model_lane *, struct model_lane *const *all, uint32_t n);
/* The lane's device is lost: its steps are cancelled. */
void model_lane_cancel(struct model_lane *);
/* What the device holds comes back, now or a little later; its own objects are dead. Before that, its lanes
 * may have got through any part of what they had queued, if nobody has looked: `unseen`. */
void model_object_device_lost(struct model_object *, uint32_t device, struct model_lane *const *all,
                              uint32_t n, bool unseen);
/* Compares the units that the core shows. */
const char *model_object_check(struct model_object *, uint32_t shown, bool at_rest);
/* The lane is at rest: its head must be waiting for good reason. */
const char *model_lane_rest(struct model_lane *, uint64_t rest);
/* Can the step go on? *which (may be NULL): the first object that keeps it, if it is one. */
bool model_step_ready(const struct model_step *, struct model_object **which);

#endif
