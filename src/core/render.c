/* SPDX-License-Identifier: MIT */
/* render.c — physical contexts: what a client renders becomes DMA buffers with lists; just before one is
 * submitted the driver writes the addresses of that moment into it, and again only if something moved.
 * Owns: struct vmm_dma. Calls: the driver (render, patch, submit_command), sched.c, aperture.c.
 * Keeps: invariant 13. A packet keeps its lists until it is over, because it may be patched again. */
#include "core/core.h"

enum { PASSES_MAX = 1024, SPARE_MAX = 16 };

static struct vidmm_adapter *adapter_of(const struct vidmm_context *c) { return c->ad; }

/* ---- buffers: a context keeps some, so that a render in the steady state takes no memory ---- */

static void dma_delete(struct vidmm_adapter *ad, struct vmm_dma *m)
{
    vmm_frames_give(ad, &m->memory);
    vmm_delete(ad, m, m->meta_bytes);
}

static struct vmm_dma *dma_new(struct vidmm_context *c)
{
    struct vidmm_adapter *ad = adapter_of(c);
    const struct vidmm_render_sizes *s = &c->size;
    uint64_t lists = s->allocations * (sizeof(struct vidmm_open *) + sizeof(struct vidmm_reference));
    uint64_t patches = s->patches * sizeof(struct vidmm_patch_location);
    uint64_t bytes = sizeof(struct vmm_dma) + lists + patches + c->dma_private;
    uint64_t pages = div_up(s->command_bytes, VIDMM_PAGE_SIZE);
    struct vmm_dma *m = vmm_new(ad, bytes);
    if (m == NULL) return NULL;
    m->meta_bytes = bytes;
    if (vmm_frames_take(ad, pages, &m->memory) != VIDMM_OK) {
        vmm_delete(ad, m, bytes);
        return NULL;
    }
    m->kmd.frame = m->memory.logical;
    m->kmd.cpu = ad->platform->sys_address(ad->platform->ctx, m->memory.frame);
    m->kmd.bytes = s->command_bytes;
    m->list_max = s->allocations;
    m->patch_max = s->patches;
    m->list = (struct vidmm_reference *)(m + 1);
    m->open = (struct vidmm_open **)(m->list + m->list_max);
    m->patch = (struct vidmm_patch_location *)(m->open + m->list_max);
    m->kmd.private_data = m->patch + m->patch_max;
    m->kmd.private_bytes = c->dma_private;
    return m;
}

static bool large_enough(const struct vidmm_context *c, const struct vmm_dma *m)
{
    const struct vidmm_render_sizes *s = &c->size;
    return m->kmd.bytes == s->command_bytes && m->list_max == s->allocations && m->patch_max == s->patches;
}

static struct vmm_dma *dma_take(struct vidmm_context *c)
{
    struct list *l;
    while ((l = list_first(&c->spare)) != NULL) {
        struct vmm_dma *m = list_entry(l, struct vmm_dma, link);
        list_remove(l);
        if (large_enough(c, m)) return m;
        dma_delete(adapter_of(c), m); /* of another size */
    }
    return dma_new(c);
}

static void dma_give(struct vidmm_context *c, struct vmm_dma *m)
{
    for (uint32_t i = 0; i < m->list_count; i++) m->open[i]->refs--;
    m->list_count = m->patch_count = m->kmd.used = 0;
    m->patched_seq = 0;
    if (!c->dying && large_enough(c, m) && list_count(&c->spare) < SPARE_MAX)
        list_push_back(&c->spare, &m->link);
    else dma_delete(adapter_of(c), m);
}

void vmm_render_release(struct vmm_packet *p)
{
    dma_give(p->ctx, p->dma);
    p->dma = NULL;
}

/* ---- contexts ---- */

/* What the driver asks for a context (PHY-08, PHY-13). */
static vidmm_status check_sizes(const struct vidmm_adapter *ad, const struct vidmm_kmd_context *kc)
{
    for (uint32_t id = 1; id <= ad->segment_count; id++) {
        bool named = (kc->dma_segments >> (id - 1) & 1u) != 0;
        if (named && !(ad->segment[id].flags & VIDMM_SEGMENT_APERTURE)) return VIDMM_INVALID;
    }
    if (kc->dma_segments != 0) return VIDMM_NOT_SUPPORTED;
    if (kc->dma_bytes == 0 || kc->dma_bytes > VIDMM_RENDER_BYTES_MAX) return VIDMM_INVALID;
    if (kc->allocation_list > VIDMM_RENDER_LIST_MAX || kc->patch_list > VIDMM_RENDER_PATCHES_MAX)
        return VIDMM_INVALID;
    return kc->submit_private_max <= VIDMM_PRIVATE_DATA_MAX ? VIDMM_OK : VIDMM_INVALID;
}

vidmm_status vmm_render_context(struct vidmm_context *c, const struct vidmm_kmd_context *kc)
{
    struct vidmm_adapter *ad = adapter_of(c);
    vidmm_status st = check_sizes(ad, kc);
    if (st != VIDMM_OK) {
        ad->ops->destroy_context(ad->kmd, kc->handle);
        return st;
    }
    list_init(&c->spare);
    c->physical = true;
    c->start = (struct vidmm_render_sizes){ kc->dma_bytes, kc->allocation_list, kc->patch_list };
    c->size = c->start;
    c->dma_private = (uint32_t)align_up(kc->submit_private_max, 8);
    return VIDMM_OK;
}

void vmm_render_context_fini(struct vidmm_context *c)
{
    LIST_FOREACH_SAFE(it, tmp, &c->spare) {
        list_remove(it);
        dma_delete(adapter_of(c), list_entry(it, struct vmm_dma, link));
    }
}

void vidmm_context_sizes(const struct vidmm_context *c, struct vidmm_render_sizes *out) { *out = c->size; }

void vidmm_context_resize(struct vidmm_context *c, const struct vidmm_render_sizes *want)
{
    if (!c->physical) return;
    uint32_t bytes = min_u32(want->command_bytes, VIDMM_RENDER_BYTES_MAX) & ~7u;
    c->size.command_bytes = max_u32(bytes, c->start.command_bytes);
    c->size.allocations = max_u32(min_u32(want->allocations, VIDMM_RENDER_LIST_MAX), c->start.allocations);
    c->size.patches = max_u32(min_u32(want->patches, VIDMM_RENDER_PATCHES_MAX), c->start.patches);
}

/* ---- render ---- */

static vidmm_status check_list(const struct vidmm_context *c, const struct vidmm_render *in)
{
    struct vidmm_adapter *ad = adapter_of(c);
    for (uint32_t i = 0; i < in->list_count; i++) {
        const struct vidmm_open *op = in->list[i].open;
        if (op->dev != c->dev || op->dying || !op->al->physical) return VIDMM_INVALID; /* PHY-05 */
        if (op->read_only && in->list[i].write) return VIDMM_ACCESS_DENIED;
        if (BROKEN(ad, ALC_01)) return VIDMM_INVALID;
        if (BROKEN(ad, PHY_03) && list_empty(&op->al->bindings)) return VIDMM_INVALID;
    }
    for (uint32_t i = 0; i < in->patch_count; i++) {
        const struct vidmm_patch_location *p = &in->patch[i];
        if (p->allocation_index >= in->list_count || p->slot >> 24 != 0) return VIDMM_INVALID; /* PHY-09 */
        if (p->allocation_offset >= vmm_alloc_bytes(in->list[p->allocation_index].open->al))
            return VIDMM_INVALID;
    }
    return VIDMM_OK;
}

static vidmm_status decode_render(const struct vidmm_context *c, const struct vidmm_render *in)
{
    if (c->dev->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if (!c->physical || c->dying || (in->flags & ~(uint32_t)VIDMM_SUBMIT_NULL)) return VIDMM_INVALID;
    if (in->command_bytes == 0 || in->command == NULL) return VIDMM_INVALID;
    if (in->command_bytes > c->size.command_bytes || in->list_count > c->size.allocations ||
        in->patch_count > c->size.patches)
        return VIDMM_LIMIT;
    return check_list(c, in);
}

/* PHY-04: residency is the device's list, not this one; who names what is not there is lost. */
static bool all_required(const struct vidmm_render *in)
{
    for (uint32_t i = 0; i < in->list_count; i++)
        if (in->list[i].open->resident == 0 || in->list[i].open->offer != 0) return false;
    return true;
}

static void take_references(struct vidmm_adapter *ad, struct vmm_dma *m, const struct vidmm_render *in)
{
    m->list_count = in->list_count;
    for (uint32_t i = 0; i < in->list_count; i++) {
        struct vmm_alloc *al = in->list[i].open->al;
        struct vidmm_gpu_address at = vmm_aperture_address(ad, al);
        m->open[i] = in->list[i].open;
        m->open[i]->refs++;
        m->list[i] = (struct vidmm_reference){ al->kmd_allocation, vmm_alloc_bytes(al), in->list[i].write,
                                               at.segment, at.offset };
    }
}

/* One pass: a packet with a DMA buffer, not queued yet. */
static vidmm_status render_pass(struct vidmm_context *c, const struct vidmm_render *in, struct list *made,
                                uint64_t *multipass)
{
    struct vidmm_adapter *ad = adapter_of(c);
    struct vmm_packet *p = vmm_packet_new(c, PACKET_EXEC, 0);
    if (p == NULL) return VIDMM_NO_MEMORY;
    list_push_back(made, &p->link);
    p->flags = in->flags;
    p->dma = dma_take(c);
    if (p->dma == NULL) return VIDMM_NO_MEMORY;
    take_references(ad, p->dma, in);
    struct vidmm_kmd_render r = {
        .context = c->kmd_context, .command = in->command, .command_bytes = in->command_bytes,
        .dma = &p->dma->kmd, .list = p->dma->list, .list_count = p->dma->list_count, .patch_in = in->patch,
        .patch_in_count = BROKEN(ad, PHY_01) ? 0 : in->patch_count, .patch_out = p->dma->patch,
        .patch_out_max = p->dma->patch_max };
    vidmm_status st = ad->ops->render(ad->kmd, &r, multipass);
    CHECK(p->dma->kmd.used <= p->dma->kmd.bytes);
    CHECK(r.patch_out_count <= r.patch_out_max);
    p->dma->patch_count = r.patch_out_count;
    p->bytes = p->dma->kmd.used;
    return st;
}

static vidmm_status render_all(struct vidmm_context *c, const struct vidmm_render *in, struct list *made)
{
    uint64_t multipass = 0;
    for (uint32_t pass = 0; pass < PASSES_MAX; pass++) {
        vidmm_status st = render_pass(c, in, made, &multipass);
        if (st != VIDMM_BUFFER_FULL) return st;
        if (list_entry(list_last(made), struct vmm_packet, link)->bytes == 0) break;
    }
    return VIDMM_BUFFER_FULL;
}

vidmm_status vidmm_context_render(struct vidmm_context *c, const struct vidmm_render *in)
{
    struct vidmm_adapter *ad = adapter_of(c);
    struct list made;
    vidmm_status st = decode_render(c, in);
    if (st != VIDMM_OK) return st;
    if (!all_required(in)) {
        vmm_device_fail(c->dev, VIDMM_DEVICE_DMA_FAULT, NULL);
        return VIDMM_DEVICE_LOST;
    }
    list_init(&made);
    st = render_all(c, in, &made);
    LIST_FOREACH_SAFE(it, tmp, &made) {
        struct vmm_packet *p = list_entry(it, struct vmm_packet, link);
        list_remove(it);
        if (st == VIDMM_OK) vmm_packet_queue(c, p);
        else vmm_packet_free(ad, p);
        if (st == VIDMM_OK) ad->counters->dma_buffers++;
    }
    if (st == VIDMM_OK) ad->counters->renders++;
    return st;
}

/* ---- submission ---- */

/* true: something moved since the buffer was patched, perhaps away and back. */
static bool refresh(const struct vidmm_adapter *ad, struct vmm_dma *m)
{
    bool moved = false;
    if (BROKEN(ad, PHY_02)) return false;
    for (uint32_t i = 0; i < m->list_count; i++) {
        struct vidmm_gpu_address at = vmm_aperture_address(ad, m->open[i]->al);
        CHECK(at.segment != 0); /* the device's list is complete, and this is on it (inv. 7, 13) */
        moved |= m->open[i]->al->placed_seq > m->patched_seq;
        m->list[i].segment = at.segment;
        m->list[i].address = at.offset;
    }
    return moved;
}

vidmm_status vmm_render_submit(struct vidmm_adapter *ad, const struct vmm_packet *p, uint32_t node)
{
    struct vmm_dma *m = p->dma;
    if ((refresh(ad, m) || m->patched_seq == 0) && m->patch_count > 0) {
        struct vidmm_kmd_patch args = { .context = p->ctx->kmd_context, .dma = &m->kmd, .list = m->list,
                                        .list_count = m->list_count, .patch = m->patch,
                                        .patch_count = m->patch_count, .fence_id = p->fence_id };
        ad->counters->patches++;
        ad->counters->patch_locations += m->patch_count;
        if (m->patched_seq != 0) ad->counters->repatches++;
        if (ad->ops->patch(ad->kmd, &args) != VIDMM_OK) return VIDMM_FAILED; /* PHY-10 */
    }
    m->patched_seq = ad->place_seq;
    struct vidmm_kmd_submit_physical s = { .context = p->ctx->kmd_context, .node = node, .dma = &m->kmd,
                                           .fence_id = p->fence_id, .flags = p->flags };
    return ad->ops->submit_command(ad->kmd, &s) == VIDMM_OK ? VIDMM_OK : VIDMM_FAILED;
}
