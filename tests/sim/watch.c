/* SPDX-License-Identifier: MIT */
/* watch.c - what happened meanwhile, and whether it was allowed: devices, queues, contexts, deferred
 * destructions; and the state of rest, in which everything is compared. */
#include "sim.h"

#include <stdlib.h>

void sim_turns(struct sim *s, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        if (!world_turn(s->world)) break;
    }
    sim_poll(s);
}

/* ---- devices ----------------------------------------------------------------------------------- */

/* What was cut off by the end of a device: each page is looked at. */
static void observe_open_pages(struct sim *s, struct model_process *p)
{
    for (uint32_t g = 0; g < s->gpus; g++)
        for (uint64_t va = 0; model_open_page(&p->on[g], va, &va); va += PAGE) {
            struct vidmm_va_info info;
            bool owned = vidmm_va_query_on(p->handle, g, va, &info) == VIDMM_OK;
            sim_check(s, model_observe_page(&p->on[g], va, owned, &info));
        }
}

static void check_fault(struct sim *s, struct model_device *d)
{
    struct sim_device *sd = sim_of(d);
    struct vidmm_page_fault f;
    if (vidmm_device_fault(d->handle, &f) != VIDMM_OK) sim_fail(s, "device %u: the fault is not told", d->id);
    if (sd->doomed && f.va == sd->doom_va) return;
    if (s->armed) {
        s->armed = false;
        return;
    }
    sim_fail(s, "device %u faulted at %llx (error %u, level %u), which nothing explains", d->id,
             (unsigned long long)f.va, f.error_code, f.level);
}

static void check_end(struct sim *s, struct model_device *d, enum vidmm_device_state state)
{
    struct sim_device *sd = sim_of(d);
    sim_say(s, "  device %u is in state %d", d->id, state);
    if (state == VIDMM_DEVICE_PAGE_FAULT) check_fault(s, d);
    else if (state == VIDMM_DEVICE_RESET) sim_check_reset(s, d);
    else if (state == VIDMM_DEVICE_HUNG && s->temper.hangs && (sd->hang_doom || s->hung_nodes != 0)) return;
    else if (state == VIDMM_DEVICE_OUT_OF_MEMORY && sd->memory_doom) return;
    else if (state == VIDMM_DEVICE_DMA_FAULT && sd->packet_doom) return;
    else sim_fail(s, "device %u ended in state %d, which nothing explains", d->id, state);
}

static void device_ended(struct sim *s, struct model_device *d, enum vidmm_device_state state)
{
    struct sim_device *sd = sim_of(d);
    check_end(s, d, state);
    content_cut_off(s, d);
    model_device_lost(d);
    sync_device_lost(s, d);
    observe_open_pages(s, d->proc);
    for (uint32_t i = 0; i < d->queue_count; i++)
        if (vidmm_fence_value(vidmm_queue_fence(d->queue[i]->handle)) != UINT64_MAX)
            sim_fail(s, "a paging fence of the lost device %u is not at its maximum", d->id);
    hw_lost(s, d);
    for (uint32_t i = 0; i < sd->context_count; i++) context_forget(s, sd->context[i]);
    for (uint32_t i = 0; i < sd->fence_count; i++) {
        uint64_t v = vidmm_fence_value(sd->fence[i].core);
        bool stays = (sd->fence[i].flags & VIDMM_FENCE_NO_MAX_ON_LOSS) != 0;
        bool narrow = s->model->config.narrow && (sd->fence[i].flags & VIDMM_FENCE_NO_GPU_ACCESS) == 0;
        bool most = v == (narrow ? UINT32_MAX : UINT64_MAX);
        if (most == stays) sim_fail(s, "fence %u of lost device %u", sd->fence[i].id, d->id);
    }
}

static void poll_device(struct sim *s, struct model_device *d)
{
    struct sim_device *sd = sim_of(d);
    if (d->lost) return;
    enum vidmm_device_state state = vidmm_device_state(d->handle);
    sim_check_reset(s, d);
    if (state != VIDMM_DEVICE_ACTIVE) {
        device_ended(s, d, state);
        return;
    }
    for (uint32_t i = 0; i < d->queue_count; i++)
        sim_check(s,
                  model_queue_seen(d->queue[i], vidmm_fence_value(vidmm_queue_fence(d->queue[i]->handle))));
    for (uint32_t i = 0; i < sd->context_count; i++) {
        context_seen(s, sd->context[i]);
        stream_seen(s, sd->context[i]);
    }
}

/* ---- deferred destruction ---------------------------------------------------------------------- */

/* Not before what was queued before has finished (ALC-19): more is pending than what was queued since. */
static void check_early(struct sim *s, const struct model_alloc *al)
{
    const struct sim_device *sd = sim_of(al->dev);
    if (!al->in_use || al->dev->lost) return;
    for (uint32_t i = 0; i < sd->context_count; i++) {
        const struct sim_context *c = sd->context[i];
        uint32_t newer = 0;
        for (uint32_t k = 0; k < c->count; k++)
            newer += c->packet[(c->head + k) % PACKETS_MAX].seq > al->close_seq;
        if (c->ring == NULL && context_pending(c) > newer)
            sim_fail(s, "allocation %u was destroyed while context %u had older work", al->id, c->id);
    }
}

static bool is_gone(const struct model_alloc *al, uint32_t instance)
{
    struct model_trace at = {0};
    const struct model_piece *x;
    while ((x = model_alloc_trace(al, instance, &at)) != NULL) {
        struct vidmm_va_info info;
        bool owned = vidmm_va_query_on(al->dev->proc->handle, at.gpu, x->start, &info) == VIDMM_OK;
        if (model_is_gone(x, owned, &info)) return true;
    }
    return false;
}

static void poll_dying(struct sim *s, struct model_device *d)
{
    for (uint32_t i = d->alloc_count; i-- > 0;) {
        struct model_alloc *al = d->alloc[i];
        uint32_t instances = al->dying ? al->instances : 0;
        for (uint32_t k = 0; k < instances; k++) {
            if ((al->gone >> k & 1u) != 0 || !is_gone(al, k)) continue;
            if (!d->destroyed) check_early(s, al);
            model_instance_gone(al, k);
        }
    }
}

static bool has_process(const struct sim *s, const struct model_process *p)
{
    for (uint32_t i = 0; i < s->model->process_count; i++)
        if (s->model->process[i] == p) return true;
    return false;
}

void sim_poll(struct sim *s)
{
    struct model *m = s->model;
    sim_check(s, s->wrong);
    sim_watch_adapter(s);
    for (uint32_t i = 0; i < m->process_count; i++) {
        struct model_process *p = m->process[i];
        for (uint32_t k = 0; k < p->device_count; k++) poll_device(s, p->device[k]);
        for (uint32_t k = 0; k < p->device_count; k++) poll_dying(s, p->device[k]);
        if (s->gpus > 1) observe_open_pages(s, p); /* another gpu may have kept what one gave up */
    }
    sync_poll(s);
    shared_poll(s);
    for (uint32_t i = 0; i < m->dead_devices; i++) {
        struct model_device *d = m->dead_device[i];
        if (!has_process(s, d->proc)) continue;
        observe_open_pages(s, d->proc);
        poll_dying(s, d);
        if (s->gpus > 1) observe_open_pages(s, d->proc);
    }
}

/* ---- at any time ------------------------------------------------------------------------------- */

void sim_verify(struct sim *s)
{
    const char *what = "";
    int number = vidmm_verify(s->ad, &what);
    if (number != 0) sim_fail(s, "invariant %d does not hold: %s", number, what);
    for (uint32_t g = 0; g < s->gpus; g++) {
        struct softgpu_detector d;
        softgpu_get_detector(s->gpu[g].hw, &d);
        if (d.violations == 0) continue;
        sim_fail(s,
                 "%llu violations seen by the device model of gpu %u; the first at %llx (space %u, level %u, "
                 "late %llu)",
                 (unsigned long long)d.violations, g, (unsigned long long)d.first_violation.va,
                 d.first_violation.space, d.first_violation.level, (unsigned long long)d.late);
    }
}

/* ---- at rest ----------------------------------------------------------------------------------- */

static void rest(struct sim *s)
{
    if (!world_settle(s->world, SIM_TURNS_MAX)) sim_fail(s, "no rest after %u turns", SIM_TURNS_MAX);
    sim_poll(s);
}

static void each_alloc(struct sim *s, void (*fn)(struct sim *, struct model_alloc *))
{
    for (uint32_t i = 0; i < s->model->process_count; i++) {
        struct model_process *p = s->model->process[i];
        for (uint32_t k = 0; k < p->device_count; k++)
            for (uint32_t n = 0; n < p->device[k]->alloc_count; n++) fn(s, p->device[k]->alloc[n]);
    }
}

static void each_device(struct sim *s, void (*fn)(struct sim *, struct model_device *))
{
    for (uint32_t i = 0; i < s->model->process_count; i++)
        for (uint32_t k = 0; k < s->model->process[i]->device_count; k++)
            fn(s, s->model->process[i]->device[k]);
}

static void undelay(struct sim *s, struct model_device *d)
{
    (void)s;
    for (uint32_t i = 0; i < d->queue_count; i++) {
        vidmm_queue_delay(d->queue[i]->handle, 0);
        d->queue[i]->delayed = false;
    }
}

static void lock_is_ready(struct sim *s, struct model_alloc *al)
{
    if (al->dying || al->locks == 0 || al->dev->lost) return;
    if (!vidmm_open_lock_ready(al->handle))
        sim_fail(s, "the lock of allocation %u never becomes ready", al->id);
}

/* Locked without a place outside memory segments: it holds its device up until it is unlocked (ALC-36). */
static void let_go(struct sim *s, struct model_alloc *al)
{
    while (!al->dying && !al->keep && al->locks > 0 && (al->segments & 1u) == 0) unlock_alloc(s, al);
}

static void release_waits(struct sim *s, struct model_device *d)
{
    struct sim_device *sd = sim_of(d);
    for (uint32_t i = 0; !d->lost && i < sd->fence_count; i++) {
        struct sim_fence *f = &sd->fence[i];
        if (f->awaited <= vidmm_fence_value(f->core)) continue;
        sim_say(s, "  signal fence %u with %llu at last", f->id, (unsigned long long)f->awaited);
        if (vidmm_fence_signal(f->core, f->awaited) != VIDMM_OK) sim_fail(s, "fence %u refuses", f->id);
        if (f->issued < f->awaited) f->issued = f->awaited;
    }
}

static void nothing_outstanding(struct sim *s, struct model_device *d)
{
    struct sim_device *sd = sim_of(d);
    if (d->lost) return;
    for (uint32_t i = 0; i < d->queue_count; i++)
        if (d->queue[i]->reached != d->queue[i]->issued)
            sim_fail(s, "liveness: queue %u of device %u stays at %llu of %llu", d->queue[i]->id, d->id,
                     (unsigned long long)d->queue[i]->reached, (unsigned long long)d->queue[i]->issued);
    for (uint32_t i = 0; i < sd->context_count; i++)
        if (sd->context[i]->count > 0)
            sim_fail(s, "liveness: context %u of device %u has %u packets left", sd->context[i]->id, d->id,
                     sd->context[i]->count);
    for (uint32_t i = 0; i < sd->context_count; i++) {
        const struct model_queue *q = sd->context[i]->tiles;
        if (q != NULL && q->reached != q->issued)
            sim_fail(s, "liveness: the updates of context %u stay at %llu of %llu", sd->context[i]->id,
                     (unsigned long long)q->reached, (unsigned long long)q->issued);
    }
    if (sd->doomed && !sd->doom_open)
        sim_fail(s, "device %u was to fault at %llx and did not", d->id, (unsigned long long)sd->doom_va);
    if (sd->hang_doom) sim_fail(s, "device %u has a packet that hangs and was not told", d->id);
    sd->doomed = sd->doom_open = false;
}

/* Packets of contexts that were destroyed have finished too. */
static void forget_old_work(struct sim *s, struct model_alloc *al)
{
    (void)s;
    al->in_flight = al->in_rings = 0;
    for (uint64_t i = 0; i < al->pages; i++) al->page[i].busy_context = 0;
}

static void reset_device(struct sim *s, struct model_device *d)
{
    (void)s;
    sim_of(d)->zero_in_flight = 0;
    sim_of(d)->slots = 0;
    sim_of(d)->ring_waits = false;
}

static void check_at(struct sim *s, const struct model_space *sp, uint64_t va)
{
    struct vidmm_va_info info;
    bool owned = vidmm_va_query_on(sp->proc->handle, sp->gpu, va, &info) == VIDMM_OK;
    const char *wrong = model_check_query(sp, va, owned, &info);
    if (wrong != NULL)
        sim_fail(s, "process %u, gpu %u, address %llx: %s (owned %d, [%llx, %llx), bound %d, offset %llx)",
                 sp->proc->id, sp->gpu, (unsigned long long)va, wrong, owned,
                 (unsigned long long)(owned ? info.start : 0),
                 (unsigned long long)(owned ? info.end : 0), owned && info.bound,
                 (unsigned long long)(owned ? info.offset : 0));
}

static void check_addresses(struct sim *s, const struct model_space *sp)
{
    for (uint32_t i = 0; i < sp->piece_count; i++) {
        const struct model_piece *x = &sp->piece[i];
        check_at(s, sp, x->start);
        check_at(s, sp, x->end - PAGE);
        if (i == 0 || sp->piece[i - 1].end != x->start) check_at(s, sp, x->start - PAGE);
        if (i + 1 == sp->piece_count || sp->piece[i + 1].start != x->end) check_at(s, sp, x->end);
    }
}

static void check_placement(struct sim *s, struct model_alloc *al)
{
    struct vidmm_placement_info info;
    if (al->dying || al->dev->lost) return;
    vidmm_open_placement(al->handle, &info);
    if (info.resident_count != al->count + al->pins)
        sim_fail(s, "allocation %u: count %u, expected %u", al->id, info.resident_count,
                 al->count + al->pins);
    /* It may have made way, until its device has work again; what is offered, until it is reclaimed. */
    bool idle = (al->segments & 1u) == 0 || al->physical || al->offer != 0;
    if (al->count + al->pins > 0 && !info.resident && !idle)
        sim_fail(s, "allocation %u is required, but not resident", al->id);
    if (info.resident && (al->segments >> info.segment & 1u) == 0)
        sim_fail(s, "allocation %u is resident in segment %u, which is not of its set", al->id, info.segment);
}

void sim_settle(struct sim *s)
{
    sim_say(s, "settle");
    for (uint32_t g = 0; g < s->gpus; g++) {
        struct softgpu_knobs k = sim_knobs(s, g);
        k.hang_nodes = 0;
        sim_set_knobs(s, g, &k);
    }
    each_device(s, undelay);
    rest(s);
    each_alloc(s, lock_is_ready);
    each_alloc(s, let_go);
    rest(s);
    each_device(s, release_waits);
    rest(s);
    sync_settle(s);
    each_device(s, nothing_outstanding);
    each_device(s, hw_rest);
    s->hung_nodes = 0;
    each_alloc(s, forget_old_work);
    each_device(s, reset_device);
    model_settled(s->model);
    for (uint32_t i = 0; i < s->contexts_made; i++) s->done[i] = s->seq;
    sim_verify(s);
    domain_rest(s);
    each_alloc(s, check_placement);
    for (uint32_t i = 0; i < s->model->process_count; i++)
        for (uint32_t g = 0; g < s->gpus; g++) check_addresses(s, &s->model->process[i]->on[g]);
    each_device(s, read_everything);
    shared_settle(s);
    rest(s); /* a fault of the last packets may have reset the adapter */
    sim_verify(s);
}
