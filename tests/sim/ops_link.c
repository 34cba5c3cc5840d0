/* SPDX-License-Identifier: MIT */
/* ops_link.c - what only links have: the same address on several gpus, self on one and a peer on another;
 * and one gpu that is lost while the others go on. On a seed without a link nothing of it happens. */
#include "sim.h"

/* A queue of the device on a gpu that it works on. */
static struct model_queue *pick_peer_queue(struct sim *s, struct model_device *d, uint32_t but)
{
    uint32_t gpu = (uint32_t)sim_below(s, s->gpus);
    return gpu == but ? NULL : pick_queue_on(s, d, gpu);
}

/* What a gpu shows somewhere another one shows there too: of an allocation with instances its own. */
static void op_mirror(struct sim *s)
{
    struct model_device *d = s->gpus > 1 ? pick_live_device(s) : NULL;
    if (d == NULL) return;
    const struct model_space *sp = &d->proc->on[sim_below(s, s->gpus)];
    struct model_queue *q = pick_peer_queue(s, d, sp->gpu);
    uint64_t va;
    for (int i = 0; i < 12 && q != NULL && sp->piece_count > 0; i++) {
        const struct model_piece *x = &sp->piece[sim_below(s, sp->piece_count)];
        if (x->internal || x->content != MODEL_ALLOC || x->alloc->dev != d) continue;
        struct model_alloc *al = x->alloc;
        if (al->dying || al->keep) continue;
        struct vidmm_map in = {.base = x->start, .offset = x->offset, .bytes = x->end - x->start,
                               .protection = al->read_only ? 0 : VIDMM_PROT_WRITE};
        if (al->instances > 1 && !sim_chance(s, 4)) in.offset = q->gpu * al->unit + x->offset % al->unit;
        if (may_map_at(s, q, &in)) (void)map_range(s, q, &in, al, &va);
        return;
    }
}

/* Made on one gpu, resident by whatever queue there is, and at one address of all gpus. */
static void op_everywhere(struct sim *s)
{
    struct model_device *d = s->gpus > 1 ? pick_live_device(s) : NULL;
    struct model_alloc *al = pick_alloc(s, d);
    struct model_queue *q = pick_queue(s, d);
    struct vidmm_map in = {.protection = VIDMM_PROT_WRITE};
    uint64_t va = 0;
    if (al == NULL || q == NULL || al->read_only) return;
    if (al->count == 0) make_resident(s, q, &al, 1, VIDMM_RESIDENT_CANT_TRIM_FURTHER);
    for (uint32_t gpu = 0; gpu < s->gpus; gpu++) {
        if ((q = pick_queue_on(s, d, gpu)) == NULL) continue;
        if (vidmm_device_state(d->handle) != VIDMM_DEVICE_ACTIVE) return;
        choose_whole(s, al, gpu, &in);
        in.base = va;
        if (may_map_at(s, q, &in) && !map_range(s, q, &in, al, &va)) return;
    }
}

/* Pulled out; its neighbours are not. */
static void op_lose_gpu(struct sim *s)
{
    if (s->gpus == 1 || !s->temper.faults || s->model->lost || !sim_chance(s, 6)) return;
    struct sim_gpu *g = &s->gpu[sim_below(s, s->gpus)];
    if (g->lost) return;
    sim_say(s, "gpu %u is lost", g->index);
    g->removing = true;
    s->totals.gpus_lost++;
    vidmm_notify_removed(g->core);
    sim_turns(s, 1 + sim_below(s, 4));
}

const struct sim_op ops_link[] = {
    {"mirror", op_mirror, 14}, {"everywhere", op_everywhere, 8}, {"lose_gpu", op_lose_gpu, 1}, {NULL, NULL, 0}
};
