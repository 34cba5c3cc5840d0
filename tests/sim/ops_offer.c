/* SPDX-License-Identifier: MIT */
/* ops_offer.c - memory is offered, now and then in classes and with memory to be given back, and reclaimed.
 * What happens in between, the other operations and the pressure they make decide. */
#include "sim.h"

#define SOME_MAX 4u

/* What only the device's own clients know to be in use is not offered. */
static uint32_t choose(struct sim *s, struct model_device *d, bool offered, struct model_alloc **out,
                       struct vidmm_open **handle)
{
    uint32_t n = 0, want = 1 + (uint32_t)sim_below(s, SOME_MAX);
    for (uint32_t i = 0; i < 4 * want && n < want; i++) {
        struct model_alloc *al = pick_alloc(s, d);
        if (al == NULL || al->in_rings > 0) continue;
        if ((al->offer != 0) != offered && !sim_chance(s, 40)) continue;
        bool again = false;
        for (uint32_t k = 0; k < n; k++) again |= out[k] == al;
        if (again && !sim_chance(s, 40)) continue;
        handle[n] = al->handle;
        out[n++] = al;
    }
    return n;
}

static bool all_idle(struct model_alloc *const *al, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (al[i]->in_flight > 0) return false;
    return true;
}

static void op_offer(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct model_alloc *al[SOME_MAX];
    struct vidmm_open *handle[SOME_MAX];
    uint32_t n = choose(s, d, false, al, handle);
    uint32_t priority = sim_chance(s, 40) ? 5 * (uint32_t)sim_below(s, 2) : 1 + (uint32_t)sim_below(s, 4);
    uint32_t flags = sim_chance(s, 3) ? VIDMM_OFFER_ALLOW_DECOMMIT : 0;
    if (n == 0) return;
    if (all_idle(al, n) && sim_chance(s, 3)) flags |= VIDMM_OFFER_IMMEDIATELY;
    if (sim_chance(s, 60)) flags |= 4u;
    sim_say(s, "device %u: offer %u allocations (%u, %u ...), priority %u, flags %x", d->id, n, al[0]->id,
            n > 1 ? al[1]->id : 0, priority, flags);
    struct model_answer a = model_offer(d, al, n, priority, flags);
    if (sim_status(s, a, vidmm_offer(d->handle, handle, n, priority, flags)))
        model_offered(al, n, priority, flags);
}

static void op_reclaim(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct model_queue *q = pick_queue(s, d);
    struct model_alloc *al[SOME_MAX];
    struct vidmm_open *handle[SOME_MAX];
    uint32_t result[SOME_MAX];
    uint64_t value = 0;
    uint32_t n = choose(s, d, true, al, handle);
    if (q == NULL || n == 0) return;
    sim_say(s, "queue %u: reclaim %u allocations (%u, %u ...)", q->id, n, al[0]->id, n > 1 ? al[1]->id : 0);
    vidmm_status st = vidmm_reclaim(q->handle, handle, n, result, &value);
    if (!sim_status(s, model_reclaim(q, al, n), st)) return;
    if ((st == VIDMM_OK) != (value == 0)) sim_fail(s, "%s with value %llu", sim_status_name(st),
                                                   (unsigned long long)value);
    for (uint32_t i = 0; i < n; i++) s->totals.discards += result[i] != VIDMM_RECLAIM_OK;
    sim_check(s, model_queue_issue(q, value));
    sim_check(s, model_reclaimed(q, al, n, result, value));
}

const struct sim_op ops_offer[] = {
    { "offer", op_offer, 6 }, { "reclaim", op_reclaim, 8 }, { NULL, NULL, 0 }
};
