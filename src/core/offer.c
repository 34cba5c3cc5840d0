/* SPDX-License-Identifier: MIT */
/* offer.c - offered allocations: their content may be dropped instead of being moved out.
 * Owns: adapter->offering, open->offer and what goes with it. Calls: resid.c (what a device waits for),
 * request.c (the fence of a reclaim). Keeps: invariant 25. Who is dropped when is the choice of victims.
 *
 *   vidmm_offer -> offering (packets before it go on) -> in effect -> perhaps dropped -> vidmm_reclaim */
#include "core/core.h"

/* ---- what may be dropped ---- */

/* With several opens the most careful one decides; one that is not offered, or is still closing, keeps it. */
uint32_t vmm_offer_class(const struct vmm_alloc *al)
{
    uint32_t class = 0;
    if (al->locks > 0) return 0;
    LIST_FOREACH(it, &al->opens) {
        const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_alloc);
        if (!op->offered || op->dying) return 0;
        class = max_u32(class, op->offer);
    }
    return class;
}

/* Home reads as zeros from here on, so what comes next is a fill or those zeros. */
void vmm_offer_drop(struct vidmm_adapter *ad, struct vmm_alloc *al)
{
    CHECK(vmm_offer_class(al) != 0 && !al->imported);
    ad->platform->sys_discard(ad->platform->ctx, al->home, al->pages);
    bool shown = al->state == PLACE_LIVE && al->segment == VMM_SYSTEM;
    al->fresh = !shown;
    al->clean = al->unwritten = false;
    LIST_FOREACH(it, &al->opens) list_entry(it, struct vidmm_open, on_alloc)->dropped = true;
    ad->counters->discards++;
    ad->counters->discard_bytes += vmm_alloc_bytes(al);
}

static bool may_decommit(const struct vmm_alloc *al)
{
    LIST_FOREACH(it, &al->opens) {
        if (!list_entry(it, struct vidmm_open, on_alloc)->decommit) return false;
    }
    return vmm_offer_class(al) != 0 && !al->imported && al->segment == VMM_SYSTEM;
}

/* ---- from the call to its effect ---- */

static void take_effect(struct vidmm_open *op)
{
    struct vidmm_adapter *ad = op->al->ad;
    list_remove(&op->on_offering);
    vmm_required_offer(op, true);
    /* How short system memory is, the core cannot know: what may be given back is. */
    if (ad->move.al != op->al && may_decommit(op->al)) vmm_offer_drop(ad, op->al);
}

static bool in_use(const struct vidmm_open *op)
{
    return op->refs > 0 || vmm_packets_before(op->dev, op->offer_seq);
}

bool vmm_offers_step(struct vidmm_adapter *ad)
{
    bool progress = false;
    LIST_FOREACH_SAFE(it, tmp, &ad->offering) {
        struct vidmm_open *op = list_entry(it, struct vidmm_open, on_offering);
        if (in_use(op)) continue;
        take_effect(op);
        progress = true;
    }
    return progress;
}

/* ---- services ---- */

/* All of one device, alive, each named once, and all offered or none. */
static vidmm_status check_opens(struct vidmm_device *d, struct vidmm_open *const *opens, uint32_t n,
                                bool offered)
{
    if (d->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if (n > VIDMM_LIST_MAX) return VIDMM_LIMIT;
    uint64_t mark = ++d->proc->ad->next_mark;
    for (uint32_t i = 0; i < n; i++) {
        struct vidmm_open *op = opens[i];
        bool fits = op->dev == d && !op->dying && op->mark != mark && (op->offer != 0) == offered;
        if (!fits) return VIDMM_INVALID;
        op->mark = mark;
    }
    return VIDMM_OK;
}

static uint8_t class_of(const struct vmm_alloc *al, uint32_t priority)
{
    if (priority != VIDMM_OFFER_AUTO) return (uint8_t)priority;
    if (al->priority <= VIDMM_PRIORITY_LOW) return VIDMM_OFFER_LOW;
    return al->priority < VIDMM_PRIORITY_HIGH ? VIDMM_OFFER_NORMAL : VIDMM_OFFER_HIGH;
}

vidmm_status vidmm_offer(struct vidmm_device *d, struct vidmm_open *const *opens, uint32_t n,
                         uint32_t priority, uint32_t flags)
{
    struct vidmm_adapter *ad = d->proc->ad;
    vidmm_status st = check_opens(d, opens, n, false);
    if (st != VIDMM_OK) return st;
    if (priority < VIDMM_OFFER_LOW || priority > VIDMM_OFFER_AUTO) return VIDMM_INVALID;
    if (flags & ~(uint32_t)(VIDMM_OFFER_IMMEDIATELY | VIDMM_OFFER_ALLOW_DECOMMIT)) return VIDMM_INVALID;
    for (uint32_t i = 0; i < n; i++)
        if (opens[i]->locks > 0 || opens[i]->pins > 0) return VIDMM_INVALID;
    for (uint32_t i = 0; i < n; i++)
        if (opens[i]->al->block != NULL || opens[i]->al->mirrored) return VIDMM_NOT_SUPPORTED;
    for (uint32_t i = 0; i < n; i++) {
        struct vidmm_open *op = opens[i];
        op->offer = class_of(op->al, priority);
        op->decommit = (flags & VIDMM_OFFER_ALLOW_DECOMMIT) != 0;
        op->dropped = false;
        op->offer_seq = flags & VIDMM_OFFER_IMMEDIATELY ? 0 : ad->next_seq + 1;
        list_push_back(&ad->offering, &op->on_offering);
        if (!in_use(op)) take_effect(op);
    }
    ad->counters->offers += n;
    return VIDMM_OK;
}

static uint32_t take_back(struct vidmm_open *op)
{
    uint32_t lost = op->decommit ? VIDMM_RECLAIM_NOT_COMMITTED : VIDMM_RECLAIM_DISCARDED;
    list_remove(&op->on_offering);
    op->offer = 0;
    if (op->offered) vmm_required_offer(op, false);
    return op->dropped ? lost : VIDMM_RECLAIM_OK;
}

vidmm_status vidmm_reclaim(struct vidmm_queue *q, struct vidmm_open *const *opens, uint32_t n,
                           uint32_t *results, uint64_t *value)
{
    vidmm_status st = check_opens(q->dev, opens, n, true);
    if (st != VIDMM_OK) return st;
    if (q->dying) return VIDMM_INVALID;
    struct vmm_request *r = vmm_request_new(q, REQ_RESIDENT);
    if (r == NULL) return VIDMM_NO_MEMORY;
    for (uint32_t i = 0; i < n; i++) results[i] = take_back(opens[i]);
    q->dev->asking++;
    *value = vmm_request_enqueue(r);
    q->dev->proc->ad->counters->reclaims += n;
    return *value != 0 ? VIDMM_PENDING : VIDMM_OK;
}
