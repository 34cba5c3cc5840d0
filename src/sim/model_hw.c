/* SPDX-License-Identifier: MIT */
/* model_hw.c - the reference model of hardware queues and doorbells: what their calls may answer, what a
 * progress fence may show, and which doorbell is connected. Owns: model.door, the connected ones. That a
 * queue's commands see memory only while it is theirs is for their content to show, as with packets. */
#include "sim/model.h"
#include "sim/model_inside.h"

/* ---- contexts and queues ------------------------------------------------------------------------- */

struct model_answer model_hwcontext_create(const struct model_device *d, uint32_t node, uint32_t affinity)
{
    const struct model *m = d->proc->model;
    const struct model_config *c = &m->config;
    struct model_answer a = {0, true};
    uint32_t gpu;
    if (d->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (!model_engine(m, affinity, &gpu) || node >= c->node_count) model_refuse(&a, VIDMM_INVALID);
    else if (m->gone >> gpu & 1u) model_refuse(&a, VIDMM_DEVICE_LOST);
    else if (c->narrow || (c->gpu[gpu].hw_nodes >> node & 1u) == 0) model_refuse(&a, VIDMM_NOT_SUPPORTED);
    return a;
}

/* It has a fence of its own. */
struct model_answer model_hwqueue_create(const struct model_device *d, uint32_t gpu, uint32_t node,
                                         uint32_t flags)
{
    struct model_answer a = model_fence_create(d, 0);
    bool user = (flags & VIDMM_HWQUEUE_USER_SUBMISSION) != 0;
    if ((flags & ~(uint32_t)VIDMM_HWQUEUE_USER_SUBMISSION) != 0) model_refuse(&a, VIDMM_INVALID);
    if (user && (d->proc->model->config.gpu[gpu].user_nodes >> node & 1u) == 0) /* SUB-27 */
        model_refuse(&a, VIDMM_NOT_SUPPORTED);
    return a;
}

/* SUB-24: ids grow; the largest of all belongs to lost devices. SUB-27: not on queues of user mode. */
struct model_answer model_hwqueue_submit(const struct model_hwqueue *q, uint64_t va, uint32_t bytes,
                                         uint64_t progress)
{
    struct model_answer a = {0, true};
    if (q->dev->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    bool grows = progress > q->issued && progress != UINT64_MAX;
    if (q->user || !grows || ((va | bytes) & 7) != 0 || bytes == 0) model_refuse(&a, VIDMM_INVALID);
    return a;
}

/* Words in memory, which the device itself reads: a fence without a GPU address cannot be named. */
struct model_answer model_hwqueue_sync(const struct model_hwqueue *q, uint32_t all_flags, uint32_t forbidden,
                                       uint32_t n)
{
    struct model_answer a = model_sync(q->dev, all_flags, forbidden, n);
    if (q->user || (all_flags & VIDMM_FENCE_NO_GPU_ACCESS) != 0) model_refuse(&a, VIDMM_INVALID);
    return a;
}

/* done: id of the newest commands that have retired. */
const char *model_hwqueue_seen(const struct model_hwqueue *q, uint64_t value, uint64_t done)
{
    if (q->dev->lost) return value == UINT64_MAX ? NULL : "a progress fence of a lost device goes on waiting";
    if (value > q->issued) return "a progress fence shows what was never submitted";
    return value == done ? NULL : "a progress fence does not show the newest commands that retired";
}

/* ---- doorbells ----------------------------------------------------------------------------------- */

/* Where it is among those of its gpu; if it is not, behind all others. */
static struct model_door **place_of(struct model *m, const struct model_door *d)
{
    struct model_door **at = &m->door[d->gpu];
    while (*at != NULL && *at != d) at = &(*at)->next;
    return at;
}

void model_door_disconnected(struct model *m, struct model_door *d)
{
    struct model_door **at = place_of(m, d);
    if (*at == d) *at = d->next;
    d->next = NULL;
    d->connected = false;
}

void model_door_used(struct model *m, struct model_door *d)
{
    model_door_disconnected(m, d);
    *place_of(m, d) = d;
    d->connected = true;
}

/* One more than the device has: the one used longest ago goes. */
bool model_door_connected(struct model *m, struct model_door *d)
{
    uint32_t n = 0;
    for (const struct model_door *it = m->door[d->gpu]; it != NULL; it = it->next) n++;
    bool full = n == m->config.doorbells;
    if (full) model_door_disconnected(m, m->door[d->gpu]);
    model_door_used(m, d);
    return full;
}

/* SUB-28 to SUB-31. Suspended or not is for the core to say: either is allowed while it is connected. */
const char *model_door_check(const struct model_door *d, bool lost, enum vidmm_doorbell_status status)
{
    if (lost) return status == VIDMM_DOORBELL_DISCONNECTED_ABORT ? NULL : "a doorbell outlives its device";
    bool up = status == VIDMM_DOORBELL_CONNECTED || status == VIDMM_DOORBELL_CONNECTED_NOTIFY;
    if (up && !d->connected) return "a doorbell is connected that should not be";
    if (!up && d->connected) return "a doorbell lost its connection";
    return up || status == VIDMM_DOORBELL_DISCONNECTED_RETRY ? NULL : "a doorbell of a living device aborts";
}

/* SUB-28: the ring is an allocation of the device, and resident. */
struct model_answer model_door_create(const struct model_hwqueue *q, const struct model_alloc *al,
                                      bool has_one)
{
    struct model_answer a = {0, true};
    if (q->dev->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (!q->user || has_one || al->dev != q->dev || al->dying || al->count == 0 || al->offer != 0)
        model_refuse(&a, VIDMM_INVALID);
    else if (!model_reached(al->queue, al->value)) a.errors |= MODEL_BIT(VIDMM_INVALID);
    return a;
}
