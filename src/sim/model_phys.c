/* SPDX-License-Identifier: MIT */
/* model_phys.c - the reference model of physical mode: what may be accessed physically, what a render may
 * answer, and what of a residency list the aperture must be able to show. What content becomes of a render is
 * the simulator's to note: the pages of a physical packet are those of the allocations it names. */
#include "sim/model.h"
#include "sim/model_inside.h"

static uint64_t aperture_bytes(const struct model *m)
{
    const struct model_gpu *g = &m->config.gpu[0]; /* of a link none is physical */
    for (uint32_t id = 1; id <= g->segment_count; id++)
        if (g->segment[id].aperture) return g->segment[id].bytes;
    return 0;
}

/* With the most that may be lost in front of it by its alignment. */
static uint64_t at_most(uint64_t bytes, uint64_t align) { return bytes + align; }

void model_physical_create(const struct model *m, const struct model_alloc_in *in, uint32_t set,
                           uint64_t bytes, struct model_answer *a)
{
    if (!in->physical) return;
    if (!m->config.physical) model_refuse(a, VIDMM_NOT_SUPPORTED);
    else if ((set & 1u) == 0) model_refuse(a, VIDMM_INVALID);
    else if (bytes > aperture_bytes(m)) model_refuse(a, VIDMM_NO_VIDEO_MEMORY);
    else if (at_most(bytes, in->alignment | VIDMM_PAGE_64K) > aperture_bytes(m))
        a->errors |= MODEL_BIT(VIDMM_NO_VIDEO_MEMORY);
}

static bool named_before(struct model_alloc *const *al, uint32_t i)
{
    for (uint32_t k = 0; k < i; k++)
        if (al[k] == al[i]) return true;
    return false;
}

/* Everything that is accessed physically and required must fit into the aperture at the same time. */
void model_physical_resident(const struct model_device *d, struct model_alloc *const *al, uint32_t n,
                             struct model_answer *a)
{
    uint64_t least = 0, most = 0, room = aperture_bytes(d->proc->model);
    bool any = false;
    for (uint32_t i = 0; i < n; i++) any |= al[i]->physical;
    if (!any) return;
    for (uint32_t i = 0; i < d->alloc_count; i++) {
        const struct model_alloc *x = d->alloc[i];
        if (!x->physical) continue;
        if (x->count > 0 && !x->dying) least += x->bytes;
        if (x->count > 0 || x->lingers) most += at_most(x->bytes, x->align);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!al[i]->physical || al[i]->count > 0 || named_before(al, i)) continue;
        least += al[i]->bytes;
        if (!al[i]->lingers) most += at_most(al[i]->bytes, al[i]->align);
    }
    if (least > room) model_refuse(a, VIDMM_NO_MEMORY);
    else if (most > room) a->errors |= MODEL_BIT(VIDMM_NO_MEMORY);
}

/* PHY-04, PHY-05, PHY-09. */
struct model_answer model_render(const struct model_device *d, struct model_alloc *const *al, uint32_t n,
                                 uint32_t highest_index)
{
    struct model_answer a = {0, true};
    if (d->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    for (uint32_t i = 0; i < n; i++)
        if (!al[i]->physical || al[i]->dying || al[i]->dev != d) model_refuse(&a, VIDMM_INVALID);
    for (uint32_t i = 0; i < n; i++)
        if (al[i]->read_only) model_refuse(&a, VIDMM_ACCESS_DENIED); /* all are named as written */
    if (highest_index >= n) model_refuse(&a, VIDMM_INVALID);
    return a;
}
