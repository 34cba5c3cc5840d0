/* SPDX-License-Identifier: MIT */
/* detector.c - remembers uses of translations that should be gone. Owns: gpu->detector. */
#include "softgpu/gpu.h"

void detector_stale(struct softgpu_engine *e, const struct softgpu_context *ctx,
                    const struct softgpu_stale *in, bool violation)
{
    struct softgpu *g = e->gpu;
    struct softgpu_stale s = *in;
    s.space = ctx->space->id;
    s.node = e->node;
    s.system = ctx->space->system;
    lock_take(&g->lock);
    if (g->detector.stale_uses++ == 0) g->detector.first_stale = s;
    if (violation && g->detector.violations++ == 0) g->detector.first_violation = s;
    lock_drop(&g->lock);
}

void detector_late(struct softgpu_engine *e, const struct softgpu_context *ctx, uint64_t va, bool write)
{
    struct softgpu *g = e->gpu;
    struct softgpu_stale s = {.va = va, .space = ctx->space->id, .node = e->node, .write = write};
    lock_take(&g->lock);
    g->detector.late++;
    if (g->detector.violations++ == 0) g->detector.first_violation = s;
    lock_drop(&g->lock);
}

void softgpu_get_detector(struct softgpu *g, struct softgpu_detector *out)
{
    lock_take(&g->lock);
    *out = g->detector;
    lock_drop(&g->lock);
}

void softgpu_clear_detector(struct softgpu *g)
{
    lock_take(&g->lock);
    g->detector = (struct softgpu_detector){0};
    lock_drop(&g->lock);
}
