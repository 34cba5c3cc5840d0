/* SPDX-License-Identifier: MIT */
/* domain.c — what the GPU reaches of system memory, where an IOMMU domain says so, and how it is attached.
 * Owns: al->logical, al->mapped, adapter.attaching, attached. Calls: the embedder's domain.
 * Keeps: invariant 27.
 *
 * Everything the core tells a driver about system memory is a logical page: of tables, fences and buffers
 * for as long as they exist, of an allocation's home while it is placed or transferred there. The range is
 * reserved with the memory, so nothing fails later. Without a domain, or with one that does not remap, the
 * logical page is the frame. What is mapped is kept right from the start, attached or not: attaching is then
 * one step, and cannot fail. */
#include "core/core.h"

static const struct vidmm_domain *domain_of(const struct vidmm_adapter *ad) { return ad->lead->domain; }

/* ---- bring-up ---- */

static const char *check_flags(const struct vidmm_adapter *ad)
{
    const struct vidmm_adapter_info *in = &ad->info;
    bool secure = (in->flags & VIDMM_ADAPTER_SECURE) != 0;
    bool required = (in->flags & VIDMM_ADAPTER_SECURE_REQUIRED) != 0;
    if (secure != ((in->iommu_caps & VIDMM_IOMMU_ISOLATION) != 0) ||
        required != ((in->iommu_caps & VIDMM_IOMMU_ISOLATION_REQUIRED) != 0))
        return "the IOMMU caps say otherwise than IoMmuSecureModeSupported and Required";
    if (required && !secure) return "IoMmuSecureModeRequired without IoMmuSecureModeSupported";
    if (secure && (ad->ops->begin_exclusive_access == NULL || ad->ops->end_exclusive_access == NULL))
        return "IoMmuSecureModeSupported needs begin_exclusive_access and end_exclusive_access";
    return NULL;
}

const char *vmm_domain_check(const struct vidmm_adapter *ad)
{
    const struct vidmm_adapter_info *in = &ad->info;
    const struct vidmm_domain *d = domain_of(ad);
    bool remaps = d != NULL && d->remaps;
    const char *why = check_flags(ad);
    if (why != NULL) return why;
    if (in->visible_bytes % VIDMM_PAGE_SIZE != 0) return "the visible bytes must be a multiple of 4096";
    if (remaps && !(in->iommu_caps & VIDMM_IOMMU_REMAPPING))
        return "DMA is remapped, and the driver does not know logical addresses";
    if (d == NULL && (in->flags & VIDMM_ADAPTER_SECURE_REQUIRED))
        return "IoMmuSecureModeRequired needs a domain"; /* IOM-23 */
    bool short_sighted = in->visible_bytes != 0 &&
                         in->visible_bytes >> VIDMM_PAGE_SHIFT < ad->platform->frame_end;
    if (short_sighted && !remaps) return "the gpu does not reach all system memory"; /* ADP-23 */
    return NULL;
}

static void attach(struct vidmm_adapter *lead)
{
    lead->domain->attach(lead->domain->ctx);
    lead->attached = true;
}

/* Nothing of the hardware was started yet: it is silent without being asked. */
void vmm_domain_start(struct vidmm_adapter *ad)
{
    struct vidmm_adapter *lead = ad->lead;
    const struct vidmm_domain *d = lead->domain;
    uint64_t visible = ad->info.visible_bytes >> VIDMM_PAGE_SHIFT;
    if (ad == lead) lead->logical_end = UINT64_MAX;
    if (visible != 0) lead->logical_end = min_u64(lead->logical_end, visible);
    bool now = d != NULL && (d->remaps || (ad->info.flags & VIDMM_ADAPTER_SECURE_REQUIRED) != 0);
    if (now && !lead->attached) attach(lead);
}

/* ---- memory that is reached while it exists ---- */

static vidmm_status reserve(struct vidmm_adapter *ad, uint64_t frame, uint64_t pages, uint64_t *logical)
{
    const struct vidmm_domain *d = domain_of(ad);
    if (d != NULL) return d->reserve(d->ctx, frame, pages, ad->lead->logical_end, logical);
    *logical = frame;
    return VIDMM_OK;
}

vidmm_status vmm_frames_take(struct vidmm_adapter *ad, uint64_t pages, struct vmm_frames *out)
{
    const struct vidmm_domain *d = domain_of(ad);
    struct vmm_frames f = { .pages = pages };
    vidmm_status st = ad->platform->sys_alloc(ad->platform->ctx, pages, &f.frame);
    if (st != VIDMM_OK) return st;
    st = reserve(ad, f.frame, pages, &f.logical);
    if (st != VIDMM_OK) {
        ad->platform->sys_free(ad->platform->ctx, f.frame, pages);
        return st;
    }
    if (d != NULL) d->map(d->ctx, f.logical, pages, f.frame);
    *out = f;
    return VIDMM_OK;
}

void vmm_frames_give(struct vidmm_adapter *ad, struct vmm_frames *f)
{
    const struct vidmm_domain *d = domain_of(ad);
    if (f->frame == 0) return;
    if (d != NULL) {
        d->unmap(d->ctx, f->logical, f->pages);
        d->release(d->ctx, f->logical, f->pages);
    }
    ad->platform->sys_free(ad->platform->ctx, f->frame, f->pages);
    f->frame = 0;
}

uint64_t vmm_logical_frame(const struct vidmm_adapter *ad, uint64_t page, uint64_t pages)
{
    const struct vidmm_domain *d = domain_of(ad);
    return d == NULL ? page : d->mapped(d->ctx, page, pages);
}

/* ---- homes of allocations ---- */

vidmm_status vmm_domain_reserve(struct vmm_alloc *al)
{
    return reserve(al->ad, al->home, al->pages, &al->logical);
}

/* The one rule of what is reached of an allocation at home (IOM-17): what is placed there, what the aperture
 * shows, and what is copied from or to a memory segment, until every old translation is flushed. */
static bool reaches(const struct vmm_alloc *al)
{
    bool placed = al->segment == VMM_SYSTEM && al->state == PLACE_LIVE;
    bool moving = al->state == PLACE_COMING || al->state == PLACE_GOING;
    return placed || al->aperture_count > 0 || (moving && al->ad->move.copy);
}

static void show(struct vmm_alloc *al, bool shown)
{
    const struct vidmm_domain *d = domain_of(al->ad);
    if (shown == al->mapped) return;
    al->mapped = shown;
    if (shown) d->map(d->ctx, al->logical, al->pages, al->home);
    else d->unmap(d->ctx, al->logical, al->pages);
}

void vmm_domain_update(struct vmm_alloc *al)
{
    if (domain_of(al->ad) != NULL) show(al, reaches(al));
}

void vmm_domain_release(struct vmm_alloc *al)
{
    const struct vidmm_domain *d = domain_of(al->ad);
    if (d == NULL || al->logical == 0) return;
    show(al, false);
    d->release(d->ctx, al->logical, al->pages);
}

/* ---- attaching ---- */

vidmm_status vidmm_domain_attach(struct vidmm_adapter *lead)
{
    if (lead->removed) return VIDMM_DEVICE_LOST;
    if (lead->attached) return VIDMM_OK;
    if (lead->domain == NULL) return VIDMM_NOT_SUPPORTED;
    LINK_FOREACH(g, lead) {
        if (!(g->info.flags & VIDMM_ADAPTER_SECURE)) return VIDMM_NOT_SUPPORTED;
    }
    if (!lead->attaching) lead->attaching_since = lead->now;
    lead->attaching = true;
    return VIDMM_PENDING;
}

bool vidmm_domain_attached(const struct vidmm_adapter *lead) { return lead->attached; }

/* Nothing executes there, and nothing is expected of it. */
static bool flushed(const struct vidmm_adapter *ad)
{
    if (ad->lost) return true;
    for (uint32_t i = 0; i < ad->info.node_count; i++) {
        const struct vmm_node *n = &ad->node[i];
        if (n->running_count > 0 || n->preempt_until != 0 || n->group != 0) return false;
    }
    LIST_FOREACH(it, &ad->hwcontexts) {
        if (!vmm_hw_suspended(list_entry(it, struct vidmm_hwcontext, on_adapter))) return false;
    }
    return true;
}

/* IOM-18: all of it in one go, so nothing of ours can come in between. */
bool vmm_domain_step(struct vidmm_adapter *lead)
{
    bool idle = true;
    if (!lead->attaching) return false;
    LINK_FOREACH(g, lead) idle &= flushed(g);
    if (!idle && !lead->removed) return false;
    lead->attaching = false;
    if (lead->removed) return true;
    LINK_FOREACH(begin, lead) if (!begin->lost) begin->ops->begin_exclusive_access(begin->kmd);
    attach(lead);
    LINK_FOREACH(end, lead) if (!end->lost) end->ops->end_exclusive_access(end->kmd);
    return true;
}

/* ---- invariant 27 ---- */

static void expect(struct vmm_tally *t, uint64_t logical, uint64_t pages, uint64_t frame)
{
    t->wrong |= t->domain->mapped(t->domain->ctx, logical, pages) != frame;
    t->pages += pages;
}

void vmm_tally_frames(struct vmm_tally *t, const struct vmm_frames *f)
{
    if (f->frame != 0) expect(t, f->logical, f->pages, f->frame);
}

static void expect_packets(struct vmm_tally *t, const struct list *packets)
{
    LIST_FOREACH(it, packets) {
        const struct vmm_packet *p = list_entry(it, struct vmm_packet, link);
        if (p->dma != NULL) vmm_tally_frames(t, &p->dma->memory);
    }
}

static void expect_process(struct vmm_tally *t, const struct vidmm_process *p)
{
    for (uint32_t g = 0; g < VIDMM_GPUS_MAX; g++) vmm_tally_frames(t, &p->privileged[g].kernel.memory);
    LIST_FOREACH(fi, &p->fence_pages)
        vmm_tally_frames(t, &list_entry(fi, struct vmm_fence_page, on_process)->memory);
    LIST_FOREACH(di, &p->devices) {
        const struct vidmm_device *d = list_entry(di, struct vidmm_device, on_process);
        LIST_FOREACH(ci, &d->contexts) {
            const struct vidmm_context *c = list_entry(ci, struct vidmm_context, on_device);
            expect_packets(t, &c->packets);
            if (!c->physical) continue;
            LIST_FOREACH(it, &c->spare) vmm_tally_frames(t, &list_entry(it, struct vmm_dma, link)->memory);
        }
    }
}

static void expect_gpu(struct vmm_tally *t, const struct vidmm_adapter *ad)
{
    vmm_tally_frames(t, &ad->buffers);
    vmm_tally_frames(t, &ad->dummy);
    vmm_driver_memory_expect(ad, t);
    for (uint32_t i = 0; i < ad->info.node_count; i++) expect_packets(t, &ad->node[i].running);
    LIST_FOREACH(it, &ad->allocs) {
        const struct vmm_alloc *al = list_entry(it, struct vmm_alloc, on_adapter);
        t->wrong |= al->mapped != reaches(al);
        if (al->mapped) expect(t, al->logical, al->pages, al->home);
    }
}

/* Tables are counted as they are made: those on their way out are in no tree. */
const char *vmm_domain_wrong(struct vidmm_adapter *lead)
{
    struct vmm_tally t = { .domain = lead->domain };
    if (t.domain == NULL) return NULL;
    LINK_FOREACH(g, lead) expect_gpu(&t, g);
    LIST_FOREACH(it, &lead->processes)
        expect_process(&t, list_entry(it, struct vidmm_process, on_adapter));
    t.pages += lead->counters->segment[VMM_SYSTEM].tables / VIDMM_PAGE_SIZE;
    if (t.wrong) return "something that the GPU may reach is not mapped in the domain where it is";
    bool more = t.pages != t.domain->mapped_pages(t.domain->ctx);
    return more ? "the domain shows what the GPU shall not reach" : NULL;
}
