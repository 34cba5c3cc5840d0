/* SPDX-License-Identifier: MIT */
/* doorbell.c — doorbells: how user mode tells a hardware queue of work in a ring that VidMm never reads.
 * Owns: struct vidmm_doorbell, adapter->doorbells. Calls: the driver (ops->hw), hwqueue.c, resid.c (pins).
 * Keeps: invariant 24. The driver has few physical doorbells: the one connected or notified longest ago goes.
 *
 *   RETRY --connect--> CONNECTED <--resumed, suspended--> NOTIFY;   CONNECTED, NOTIFY --disconnect--> RETRY
 *   any --device lost--> ABORT                                                                       */
#include "core/core.h"

#define STATUS_OFFSET 64u /* in the doorbell's page, away from the word that user mode writes */

static const struct vidmm_kmd_hw_ops *ops_of(const struct vidmm_doorbell *d) { return d->queue->ad->ops->hw; }
static bool connected(const struct vidmm_doorbell *d) { return list_is_linked(&d->on_adapter); }

/* Before anybody asks the driver whether there is work: who rings and then sees CONNECTED was seen. */
static void set_status(struct vidmm_doorbell *d, enum vidmm_doorbell_status status)
{
    __atomic_store_n(d->status, (uint32_t)status, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void disconnect(struct vidmm_doorbell *d, enum vidmm_doorbell_status status)
{
    struct vidmm_adapter *ad = d->queue->ad;
    if (connected(d) && !ad->silent) ops_of(d)->disconnect_doorbell(ad->kmd, d->queue->kmd_queue);
    if (connected(d)) ad->doorbell_count--;
    list_remove(&d->on_adapter);
    set_status(d, status);
}

void vmm_doorbell_abort(struct vidmm_hwqueue *q)
{
    if (q->doorbell != NULL) disconnect(q->doorbell, VIDMM_DOORBELL_DISCONNECTED_ABORT);
}

void vmm_doorbell_suspended(struct vidmm_hwqueue *q, bool suspended)
{
    if (q->doorbell == NULL || !connected(q->doorbell)) return;
    set_status(q->doorbell, suspended ? VIDMM_DOORBELL_CONNECTED_NOTIFY : VIDMM_DOORBELL_CONNECTED);
}

bool vmm_doorbell_pending(const struct vidmm_hwqueue *q)
{
    return q->user && !q->ad->silent && q->ad->ops->hw->queue_pending(q->ad->kmd, q->kmd_queue);
}

/* ---- services ---- */

static bool usable(const struct vidmm_hwqueue *q, const struct vidmm_open *op)
{
    return op != NULL && op->dev == q->ctx->dev && !op->dying && op->resident > 0 && op->offer == 0 &&
           op->al->state == PLACE_LIVE;
}

static void pin(struct vidmm_open *op)
{
    op->pins++;
    op->resident++;
}

static void unpin(struct vidmm_open *op)
{
    op->pins--;
    vmm_resident_release(op);
}

vidmm_status vidmm_doorbell_create(struct vidmm_hwqueue *q, const struct vidmm_doorbell_desc *in,
                                   struct vidmm_doorbell **out)
{
    struct vidmm_adapter *ad = q->ad;
    const struct vidmm_platform *pl = ad->platform;
    if (q->ctx->dev->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if (!q->user || q->dying || q->doorbell != NULL) return VIDMM_INVALID;
    if (!usable(q, in->ring) || !usable(q, in->control)) return VIDMM_INVALID; /* SUB-28 */
    if (!is_pow2(in->ring_entries) || !is_aligned(in->ring_va | in->control_va, 8)) return VIDMM_INVALID;
    struct vidmm_doorbell *d = vmm_new(ad, sizeof *d);
    if (d == NULL) return VIDMM_NO_MEMORY;
    if (pl->sys_alloc(pl->ctx, 1, &d->frame) != VIDMM_OK) {
        vmm_delete(ad, d, sizeof *d);
        return VIDMM_NO_MEMORY;
    }
    char *page = pl->sys_address(pl->ctx, d->frame);
    d->queue = q;
    d->desc = *in;
    d->word = (uint64_t *)(void *)page;
    d->status = (uint32_t *)(void *)(page + STATUS_OFFSET);
    set_status(d, VIDMM_DOORBELL_DISCONNECTED_RETRY);
    pin(in->ring);
    pin(in->control);
    q->doorbell = d;
    *out = d;
    return VIDMM_OK;
}

vidmm_status vidmm_doorbell_connect(struct vidmm_doorbell *d)
{
    struct vidmm_hwqueue *q = d->queue;
    struct vidmm_adapter *ad = q->ad;
    struct vidmm_kmd_doorbell k = { .queue = q->kmd_queue, .word = d->word, .ring_va = d->desc.ring_va,
                                    .ring_entries = d->desc.ring_entries, .control_va = d->desc.control_va };
    if (q->ctx->dev->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if (d->dying) return VIDMM_INVALID;
    if (connected(d)) {
        list_move_back(&ad->doorbells, &d->on_adapter);
        return VIDMM_OK;
    }
    if (ad->doorbell_count == ad->ops->hw->doorbells) { /* somebody else has to try again */
        struct list *oldest = list_first(&ad->doorbells);
        disconnect(list_entry(oldest, struct vidmm_doorbell, on_adapter), VIDMM_DOORBELL_DISCONNECTED_RETRY);
    }
    vidmm_status st = ad->ops->hw->connect_doorbell(ad->kmd, &k);
    if (st != VIDMM_OK) return st;
    list_push_back(&ad->doorbells, &d->on_adapter);
    ad->doorbell_count++;
    vmm_doorbell_suspended(q, q->ctx->state != HW_RUNNING);
    return VIDMM_OK;
}

vidmm_status vidmm_doorbell_disconnect(struct vidmm_doorbell *d)
{
    if (d->queue->ctx->dev->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if (d->dying) return VIDMM_INVALID;
    disconnect(d, VIDMM_DOORBELL_DISCONNECTED_RETRY);
    return VIDMM_OK;
}

vidmm_status vidmm_doorbell_notify(struct vidmm_doorbell *d)
{
    if (d->queue->ctx->dev->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if (!connected(d)) return VIDMM_INVALID;
    struct vidmm_adapter *ad = d->queue->ad;
    list_move_back(&ad->doorbells, &d->on_adapter);
    ad->platform->poke(ad->platform->ctx); /* the next step asks the driver what there is */
    return VIDMM_OK;
}

/* The ring may still be read: its memory is let go when nothing of it is left to execute, or can be. */
bool vmm_doorbell_step_dying(struct vidmm_hwqueue *q)
{
    struct vidmm_doorbell *d = q->doorbell;
    struct vidmm_adapter *ad = q->ad;
    if (d == NULL || !d->dying) return false;
    if (!q->ctx->abandoned && vmm_doorbell_pending(q)) return false;
    unpin(d->desc.ring);
    unpin(d->desc.control);
    ad->platform->sys_free(ad->platform->ctx, d->frame, 1);
    q->doorbell = NULL;
    vmm_delete(ad, d, sizeof *d);
    return true;
}

void vidmm_doorbell_destroy(struct vidmm_doorbell *d)
{
    if (d->dying) return;
    d->dying = true;
    disconnect(d, VIDMM_DOORBELL_DISCONNECTED_ABORT);
    (void)vmm_doorbell_step_dying(d->queue);
}

volatile uint64_t *vidmm_doorbell_address(const struct vidmm_doorbell *d) { return d->word; }
const uint32_t *vidmm_doorbell_status_address(const struct vidmm_doorbell *d) { return d->status; }

enum vidmm_doorbell_status vidmm_doorbell_status(const struct vidmm_doorbell *d)
{
    return (enum vidmm_doorbell_status)__atomic_load_n(d->status, __ATOMIC_ACQUIRE);
}
