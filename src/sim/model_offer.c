/* SPDX-License-Identifier: MIT */
/* model_offer.c - offer and reclaim, and what a process over its budget is told, in the reference model.
 * Owns: model_alloc.offer and what goes with it. Calls: model.c.
 *
 * Whether and when offered content is dropped is not decided by the requirements (ALC-44), only when it may
 * be: while every open of the allocation is offered. A reclaim tells, and settles what the content is. With
 * several opens the first reclaim after a drop tells it first; the others have to tell the same later, when
 * the content may be new already. */
#include "sim/model_inside.h"

enum { OWES_NOTHING, OWES_RESULT /* must tell of a drop that is known */, OWES_PERHAPS };

/* Calls f for every living open of a body. */
static void each_open(const struct model *m, const struct model_body *b,
                      void (*f)(struct model_alloc *, void *), void *arg)
{
    for (uint32_t i = 0; i < m->process_count; i++)
        for (uint32_t k = 0; k < m->process[i]->device_count; k++) {
            const struct model_device *d = m->process[i]->device[k];
            for (uint32_t n = 0; n < d->alloc_count; n++)
                if (d->alloc[n]->body == b && !d->alloc[n]->dying) f(d->alloc[n], arg);
        }
}

static void see_offer(struct model_alloc *al, void *all)
{
    if (al->offer == 0) *(bool *)all = false;
}

static void may_be_dropped(struct model_alloc *al, void *unused)
{
    (void)unused;
    al->droppable = true;
}

static void settled(struct model_alloc *al, void *owes)
{
    al->droppable = false;
    if (al->offer != 0 && *(int *)owes != OWES_NOTHING && al->owes != OWES_RESULT) al->owes = *(int *)owes;
}

static void offers_look(const struct model *m, const struct model_body *b)
{
    bool all = true;
    each_open(m, b, see_offer, &all);
    if (all) each_open(m, b, may_be_dropped, NULL);
}

static bool twice(struct model_alloc *const *al, uint32_t i)
{
    for (uint32_t k = 0; k < i; k++)
        if (al[k] == al[i]) return true;
    return false;
}

/* ALC-42, ALC-45. */
struct model_answer model_offer(const struct model_device *d, struct model_alloc *const *al, uint32_t n,
                                uint32_t priority, uint32_t flags)
{
    struct model_answer a = {0, true};
    if (d->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (priority == 0 || priority > VIDMM_OFFER_AUTO || (flags & ~3u) != 0) model_refuse(&a, VIDMM_INVALID);
    for (uint32_t i = 0; i < n; i++) {
        bool used = al[i]->offer != 0 || al[i]->locks > 0 || al[i]->pins > 0;
        if (al[i]->dev != d || al[i]->dying || used || twice(al, i)) model_refuse(&a, VIDMM_INVALID);
        if (al[i]->instances > 1) model_refuse(&a, VIDMM_NOT_SUPPORTED);
    }
    return a;
}

void model_offered(struct model_alloc *const *al, uint32_t n, uint32_t priority, uint32_t flags)
{
    for (uint32_t i = 0; i < n; i++) {
        al[i]->offer = priority;
        al[i]->decommit = (flags & VIDMM_OFFER_ALLOW_DECOMMIT) != 0;
        al[i]->droppable = false;
        al[i]->owes = OWES_NOTHING;
    }
}

struct model_answer model_reclaim(const struct model_queue *q, struct model_alloc *const *al, uint32_t n)
{
    struct model_answer a = {0, true};
    if (q->dev->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    for (uint32_t i = 0; i < n; i++)
        if (al[i]->dev != q->dev || al[i]->dying || al[i]->offer == 0 || twice(al, i))
            model_refuse(&a, VIDMM_INVALID);
    return a;
}

/* ALC-44: dropped content reads as zeros. */
static void content_is(const struct model_alloc *al, bool zero)
{
    struct model_page page = {.unknown = !zero};
    for (uint64_t i = 0; i < al->pages; i++) {
        page.busy_context = al->page[i].busy_context;
        page.busy_until = al->page[i].busy_until;
        al->page[i] = page;
    }
}

/* From here on nothing is dropped, but nobody knows what was before. */
void model_offer_opened(const struct model_alloc *from)
{
    const struct model *m = from->dev->proc->model;
    int perhaps = OWES_PERHAPS;
    offers_look(m, from->body);
    if (!from->droppable || from->imported) return;
    content_is(from, false);
    each_open(m, from->body, settled, &perhaps);
}

static const char *reclaimed(struct model_alloc *al, uint32_t result)
{
    const struct model *m = al->dev->proc->model;
    int others = OWES_NOTHING;
    offers_look(m, al->body);
    bool droppable = al->droppable && !al->imported;
    if (result > VIDMM_RECLAIM_NOT_COMMITTED) return "no such result of a reclaim";
    bool dropped = result != VIDMM_RECLAIM_OK;
    if (dropped && (result == VIDMM_RECLAIM_NOT_COMMITTED) != al->decommit)
        return "the result does not go with the offer";
    if (dropped && !droppable && al->owes == OWES_NOTHING) return "content was dropped that may be in use";
    if (!dropped && al->owes == OWES_RESULT) return "another device was told that the content was dropped";
    if (dropped && droppable) {
        others = al->owes == OWES_NOTHING ? OWES_RESULT : OWES_PERHAPS;
        content_is(al, al->owes == OWES_NOTHING);
    }
    al->offer = 0;
    al->owes = OWES_NOTHING;
    each_open(m, al->body, settled, &others);
    return NULL;
}

const char *model_reclaimed(struct model_queue *q, struct model_alloc *const *al, uint32_t n,
                            const uint32_t *results, uint64_t value)
{
    for (uint32_t i = 0; i < n; i++) {
        const char *wrong = reclaimed(al[i], results[i]);
        if (wrong != NULL) return wrong;
        if (al[i]->count == 0) continue;
        al[i]->queue = q; /* ALC-46 */
        al[i]->value = value;
    }
    return NULL;
}

/* RES-17: when the budget has changed. What is closed may still count. */
const char *model_budget_told(const struct model_process *p, bool told, const struct vidmm_trim *trim)
{
    uint64_t least = model_over_budget(p);
    if (!told) return least > 0 ? "over the budget, and not told" : NULL;
    if (trim->flags != VIDMM_TRIM_TO_BUDGET) return "a trim without its flag";
    return trim->bytes == 0 || trim->bytes < least ? "too few bytes to trim" : NULL;
}
