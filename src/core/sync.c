/* SPDX-License-Identifier: MIT */
/* sync.c — mutexes and semaphores, and what a wait or a signal does to the objects it names.
 * Owns: device->syncs, device->stakes, adapter.waiters. Calls: fence.c. Keeps: invariants 20, 21.
 * Knows no context: whoever queues a wait binds its points, begins a waiter when nothing else keeps it, and
 * goes on when it is granted. A waiter holds nothing before it has everything, and one that cannot be served
 * keeps nobody behind it: reserving what is free for it would let two waits block each other.
 *
 *   unit of a mutex or semaphore:  free --vmm_points_take--> held by a device's stake
 *                                  held --vmm_points_signal, vmm_device_release_held--> free */
#include "core/core.h"

static bool is_over(const struct vidmm_sync *s) { return s->dying || s->dev->state != VIDMM_DEVICE_ACTIVE; }

/* ---- stakes ---- */

static struct vmm_stake *stake_find(const struct vidmm_device *d, const struct vidmm_sync *s)
{
    LIST_FOREACH(it, &d->stakes) {
        struct vmm_stake *k = list_entry(it, struct vmm_stake, on_device);
        if (k->sync == s) return k;
    }
    return NULL;
}

static struct vmm_stake *stake_get(struct vidmm_device *d, struct vidmm_sync *s)
{
    struct vmm_stake *k = stake_find(d, s);
    if (k == NULL) {
        k = vmm_new(d->proc->ad, sizeof *k);
        if (k == NULL) return NULL;
        k->dev = d;
        k->sync = s;
        list_push_back(&d->stakes, &k->on_device);
        list_push_back(&s->stakes, &k->on_sync);
    }
    k->refs++;
    s->refs++;
    return k;
}

static void stake_free(struct vidmm_adapter *ad, struct vmm_stake *k)
{
    list_remove(&k->on_device);
    list_remove(&k->on_sync);
    vmm_delete(ad, k, sizeof *k);
}

static void stake_put(struct vidmm_adapter *ad, struct vmm_stake *k)
{
    struct vidmm_sync *s = k->sync;
    s->refs--;
    if (--k->refs == 0 && k->held == 0) stake_free(ad, k);
    if (s->dying) vmm_sync_drop(s);
}

bool vmm_device_release_held(struct vidmm_device *d)
{
    bool progress = false;
    LIST_FOREACH_SAFE(it, tmp, &d->stakes) {
        struct vmm_stake *k = list_entry(it, struct vmm_stake, on_device);
        struct vidmm_sync *s = k->sync;
        progress |= k->held > 0;
        s->free = (uint32_t)min_u64(s->max, s->free + k->held);
        k->held = 0;
        if (k->refs == 0) stake_free(d->proc->ad, k);
    }
    return progress;
}

/* ---- points ---- */

static vidmm_status check_point(const struct vidmm_adapter *ad, const struct vidmm_point *p, bool wait)
{
    uint32_t forbidden = wait ? VIDMM_FENCE_NO_WAIT : VIDMM_FENCE_NO_SIGNAL;
    if ((p->fence == NULL) == (p->sync == NULL)) return VIDMM_INVALID;
    const struct vidmm_device *d = p->fence != NULL ? p->fence->dev : p->sync->dev;
    if (d->proc->ad != ad) return VIDMM_INVALID;
    if (p->fence == NULL) return p->sync->dying ? VIDMM_INVALID : VIDMM_OK;
    if (p->fence->dying) return VIDMM_INVALID;
    return p->fence->flags & forbidden ? VIDMM_ACCESS_DENIED : VIDMM_OK;
}

static bool named_before(const struct vidmm_point *p, uint32_t i)
{
    for (uint32_t k = 0; k < i; k++)
        if (p[k].sync == p[i].sync) return true;
    return false;
}

vidmm_status vmm_points_check(const struct vidmm_adapter *ad, const struct vidmm_point *p, uint32_t n,
                              bool wait)
{
    if (n == 0 || n > VIDMM_WAIT_OBJECTS_MAX) return VIDMM_INVALID; /* SUB-22 */
    for (uint32_t i = 0; i < n; i++) {
        vidmm_status st = check_point(ad, &p[i], wait);
        if (st != VIDMM_OK) return st;
        if (wait && p[i].sync != NULL && named_before(p, i)) return VIDMM_INVALID; /* never satisfied */
    }
    return VIDMM_OK;
}

vidmm_status vmm_points_bind(struct vidmm_device *d, const struct vidmm_point *in, uint32_t n,
                             struct vmm_point *out)
{
    for (uint32_t i = 0; i < n; i++) {
        out[i] = (struct vmm_point){ .fence = in[i].fence, .value = in[i].value };
        if (in[i].fence != NULL) in[i].fence->refs++;
        else out[i].stake = stake_get(d, in[i].sync);
        if (out[i].fence != NULL || out[i].stake != NULL) continue;
        vmm_points_release(d->proc->ad, out, i);
        return VIDMM_NO_MEMORY;
    }
    return VIDMM_OK;
}

void vmm_points_release(struct vidmm_adapter *ad, struct vmm_point *p, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (p[i].stake != NULL) stake_put(ad, p[i].stake);
        else if (--p[i].fence->refs == 0 && p[i].fence->dying) vmm_fence_drop(p[i].fence);
    }
}

bool vmm_points_take_something(const struct vmm_point *p, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (p[i].stake != NULL) return true;
    return false;
}

bool vmm_points_ready(const struct vmm_point *p, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct vidmm_sync *s = p[i].stake != NULL ? p[i].stake->sync : NULL;
        if (s != NULL ? !is_over(s) && s->free == 0 : !vmm_fence_reached(p[i].fence, p[i].value))
            return false;
    }
    return true;
}

void vmm_points_take(struct vmm_point *p, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct vmm_stake *k = p[i].stake;
        if (k == NULL || is_over(k->sync)) continue;
        CHECK(k->sync->free > 0);
        k->sync->free--;
        k->held++;
    }
}

static void signal_stake(struct vmm_stake *k)
{
    struct vidmm_sync *s = k->sync;
    if (is_over(s) || (s->kind == VIDMM_SYNC_MUTEX && k->held == 0)) return; /* somebody else's mutex */
    if (s->free < s->max) s->free++;
    if (k->held > 0) k->held--;
}

static void signal_fence(struct vidmm_fence *f, uint64_t value, uint32_t flags)
{
    if (f->dying || f->over) return;
    if (flags & VIDMM_SIGNAL_ALLOW_REWIND) vmm_fence_store(f, value);
    else vmm_fence_raise(f, value);
}

void vmm_points_signal(struct vidmm_adapter *ad, struct vmm_point *p, uint32_t n, uint32_t flags)
{
    for (uint32_t i = 0; i < n; i++) {
        if (p[i].fence != NULL) signal_fence(p[i].fence, p[i].value, flags);
        else signal_stake(p[i].stake);
        (void)vmm_waiters_step(ad);
    }
}

/* ---- waiters ---- */

void vmm_waiter_begin(struct vidmm_adapter *ad, struct vmm_waiter *w)
{
    if (w->n > 0 && !w->granted && !list_is_linked(&w->link)) list_push_back(&ad->waiters, &w->link);
}

void vmm_waiter_end(struct vmm_waiter *w) { list_remove(&w->link); }

bool vmm_waiters_step(struct vidmm_adapter *ad)
{
    bool progress = false;
    LIST_FOREACH_SAFE(it, tmp, &ad->waiters) {
        struct vmm_waiter *w = list_entry(it, struct vmm_waiter, link);
        if (!vmm_points_ready(w->point, w->n)) continue;
        vmm_points_take(w->point, w->n);
        vmm_waiter_end(w);
        w->granted = true;
        progress = true;
    }
    return progress;
}

/* ---- objects ---- */

vidmm_status vidmm_sync_create(struct vidmm_device *d, const struct vidmm_sync_desc *in,
                               struct vidmm_sync **out)
{
    struct vidmm_adapter *ad = d->proc->ad;
    bool mutex = in->kind == VIDMM_SYNC_MUTEX;
    uint32_t max = mutex ? 1 : in->max;
    if (!mutex && in->kind != VIDMM_SYNC_SEMAPHORE) return VIDMM_INVALID;
    if (max == 0 || in->initial > max) return VIDMM_INVALID;
    if (d->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    struct vidmm_sync *s = vmm_new(ad, sizeof *s);
    if (s == NULL) return VIDMM_NO_MEMORY;
    s->dev = d;
    s->kind = in->kind;
    s->free = in->initial;
    s->max = max;
    list_init(&s->stakes);
    if (mutex && in->initial == 0) {
        struct vmm_stake *k = stake_get(d, s);
        if (k == NULL) {
            vmm_delete(ad, s, sizeof *s);
            return VIDMM_NO_MEMORY;
        }
        k->held = 1;
        stake_put(ad, k);
    }
    s->id = ++ad->lead->next_id;
    list_push_back(&d->syncs, &s->on_device);
    *out = s;
    return VIDMM_OK;
}

/* Packets that name it go on: their waits are satisfied, their signals have no effect. */
void vmm_sync_drop(struct vidmm_sync *s)
{
    struct vidmm_adapter *ad = s->dev->proc->ad;
    s->dying = true;
    if (s->refs > 0) return;
    LIST_FOREACH_SAFE(it, tmp, &s->stakes) stake_free(ad, list_entry(it, struct vmm_stake, on_sync));
    list_remove(&s->on_device);
    vmm_delete(ad, s, sizeof *s);
}

void vidmm_sync_destroy(struct vidmm_sync *s) { vmm_sync_drop(s); }
uint32_t vidmm_sync_free_units(const struct vidmm_sync *s) { return s->free; }

struct vidmm_device *vidmm_sync_owner(const struct vidmm_sync *s)
{
    LIST_FOREACH(it, &s->stakes) {
        const struct vmm_stake *k = list_entry(it, struct vmm_stake, on_sync);
        if (s->kind == VIDMM_SYNC_MUTEX && k->held > 0) return k->dev;
    }
    return NULL;
}
