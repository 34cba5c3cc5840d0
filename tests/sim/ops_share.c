/* SPDX-License-Identifier: MIT */
/* ops_share.c - allocations that several devices have open: how they get there, and what is known of their
 * content when one of those devices ends. Everything else happens to them by the other operations. */
#include "sim.h"

/* Packets of other devices, also of ones that are gone, may be about to touch it. */
static bool busy(const struct sim *s, const struct model_page *m)
{
    return m->busy_context != 0 && s->done[m->busy_context - 1] < m->busy_until;
}

bool content_in_use(const struct sim *s, const struct model_alloc *al)
{
    for (uint64_t i = 0; i < al->pages; i++)
        if (busy(s, &al->page[i])) return true;
    return false;
}

uint32_t sim_gpus_of(const struct sim *s, const struct model_alloc *al)
{
    return al->instances > 1 ? (1u << s->gpus) - 1 : 1u << al->gpu;
}

/* The adapter was reset since: what memory segments held for this device is lost. */
static bool before_reset(const struct sim *s, const struct model_device *d)
{
    return sim_resets(s) != sim_of(d)->born || s->model->lost;
}

/* The device ends: its packets may have been executed, or not. */
void content_cut_off(struct sim *s, const struct model_device *d)
{
    bool reset = before_reset(s, d);
    for (uint32_t i = 0; i < d->alloc_count; i++)
        for (uint64_t k = 0; k < d->alloc[i]->pages; k++)
            if (reset || busy(s, &d->alloc[i]->page[k])) d->alloc[i]->page[k].unknown = true;
}

static struct model_alloc *open_it(struct sim *s, struct model_device *d, const struct model_alloc *from)
{
    uint32_t flags = sim_chance(s, 6) ? VIDMM_OPEN_READ_ONLY : 0;
    struct vidmm_open *handle = NULL;
    if (sim_chance(s, 40)) flags |= 1u << sim_below(s, 32);
    sim_say(s, "device %u opens allocation %u of device %u, flags %x", d->id, from->id, from->dev->id, flags);
    struct model_answer a = model_alloc_open(d, from, flags);
    if (!sim_status(s, a, vidmm_alloc_open(d->handle, from->handle, flags, &handle))) return NULL;
    struct model_alloc *al = model_alloc_opened(d, from, flags, handle);
    sim_of(d)->used |= sim_gpus_of(s, al);
    sim_say(s, "  it is allocation %u there", al->id);
    for (uint64_t i = 0; i < al->pages && before_reset(s, from->dev); i++) al->page[i].unknown = true;
    if (vidmm_open_bytes(handle) != al->bytes) sim_fail(s, "another size");
    return al;
}

/* Opened, and most often made resident and mapped. */
static void op_share(struct sim *s)
{
    struct model_alloc *from = pick_alloc(s, pick_device(s)), *al;
    struct model_device *d = pick_device(s);
    struct model_queue *q = pick_queue(s, d);
    uint64_t va;
    if (from == NULL || d == NULL || d->alloc_count >= s->temper.allocs + 8) return;
    if (d->alloc_count >= MODEL_OBJECTS_MAX || (al = open_it(s, d, from)) == NULL) return;
    if (q == NULL || sim_chance(s, 4)) return;
    struct vidmm_map map = {.protection = al->read_only ? 0 : VIDMM_PROT_WRITE};
    choose_whole(s, al, q->gpu, &map);
    make_resident(s, q, &al, 1, sim_chance(s, 4) ? 0 : VIDMM_RESIDENT_CANT_TRIM_FURTHER);
    if (vidmm_device_state(d->handle) == VIDMM_DEVICE_ACTIVE) (void)map_range(s, q, &map, al, &va);
}

const struct sim_op ops_share[] = { { "share", op_share, 10 }, { NULL, NULL, 0 } };
