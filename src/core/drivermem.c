/* SPDX-License-Identifier: MIT */
/* drivermem.c — system memory that is the driver's or the firmware's and that the GPU reaches all the same:
 * what a driver asks for, ranges that firmware set aside, segments carved out of system memory, and the
 * charge for saving the frame buffer.
 * Owns: adapter.driver_memory, firmware, save. Calls: domain.c, the driver. */
#include "core/core.h"

/* ---- what a driver asks for ---- */

/* Behind it: ranges, the numbers of the pages, their host addresses. */
struct vmm_driver_memory {
    struct list link;          /* in adapter.driver_memory */
    uint64_t pages;
    uint32_t ranges;           /* 1: contiguous; else one for each page */
    struct vmm_frames range[];
};

static size_t memory_bytes(uint64_t pages, uint32_t ranges)
{
    return sizeof(struct vmm_driver_memory) + ranges * sizeof(struct vmm_frames) +
           pages * (sizeof(uint64_t) + sizeof(void *));
}

static void memory_give(struct vidmm_adapter *ad, struct vmm_driver_memory *m)
{
    for (uint32_t i = 0; i < m->ranges; i++) vmm_frames_give(ad, &m->range[i]);
    vmm_delete(ad, m, memory_bytes(m->pages, m->ranges));
}

static bool memory_fill(struct vidmm_adapter *ad, struct vmm_driver_memory *m)
{
    for (uint32_t i = 0; i < m->ranges; i++)
        if (vmm_frames_take(ad, m->pages / m->ranges, &m->range[i]) != VIDMM_OK) return false;
    return true;
}

static void describe(struct vidmm_adapter *ad, struct vmm_driver_memory *m, struct vidmm_driver_memory *out)
{
    uint64_t *page = (uint64_t *)(m->range + m->ranges), each = m->pages / m->ranges;
    void **cpu = (void **)(page + m->pages);
    for (uint64_t i = 0; i < m->pages; i++) {
        const struct vmm_frames *f = &m->range[i / each];
        page[i] = f->logical + i % each;
        cpu[i] = ad->platform->sys_address(ad->platform->ctx, f->frame + i % each);
    }
    *out = (struct vidmm_driver_memory){ .handle = m, .cpu = cpu };
    out->adl = (struct vidmm_adl){ .page_count = m->pages, .base_page = page[0] };
    out->adl.contiguous = m->ranges == 1;
    if (m->ranges > 1) out->adl.pages = page;
}

vidmm_status vidmm_driver_memory_allocate(struct vidmm_adapter *ad, uint64_t pages, bool contiguous,
                                          struct vidmm_driver_memory *out)
{
    if (ad->sealed) return VIDMM_BUSY;
    if (pages == 0 || pages > VIDMM_DRIVER_PAGES_MAX) return VIDMM_INVALID;
    uint32_t ranges = contiguous ? 1 : (uint32_t)pages;
    struct vmm_driver_memory *m = vmm_new(ad, memory_bytes(pages, ranges));
    if (m == NULL) return VIDMM_NO_MEMORY;
    m->pages = pages;
    m->ranges = ranges;
    if (!memory_fill(ad, m)) {
        memory_give(ad, m);
        return VIDMM_NO_MEMORY;
    }
    list_push_back(&ad->driver_memory, &m->link);
    describe(ad, m, out);
    return VIDMM_OK;
}

void vidmm_driver_memory_free(struct vidmm_adapter *ad, void *handle)
{
    struct vmm_driver_memory *m = handle;
    list_remove(&m->link);
    memory_give(ad, m);
}

/* ---- what firmware set aside ---- */

static const char *firmware_map(struct vidmm_adapter *ad, const struct vidmm_frame_range *r)
{
    const struct vidmm_domain *d = ad->lead->domain;
    if (r->frame == 0 || r->pages == 0) return "a range of reserved memory is empty";
    if (ad->firmware_count == VMM_FIRMWARE_MAX) return "too many ranges of reserved memory";
    if (d->map_firmware(d->ctx, r->frame, r->pages) != VIDMM_OK)
        return "a reserved range is memory of the operating system"; /* IOM-19 */
    ad->firmware[ad->firmware_count++] = *r;
    return NULL;
}

/* Asked twice: how many, and which. */
static const char *firmware_ask(struct vidmm_adapter *ad)
{
    struct vidmm_frame_range list[VMM_FIRMWARE_MAX];
    uint32_t count = 0, again;
    const char *why = NULL;
    if (ad->ops->query_reserved_ranges == NULL) return NULL;
    if (ad->ops->query_reserved_ranges(ad->kmd, NULL, &count) != VIDMM_OK)
        return "the driver did not count its reserved ranges";
    if (count > VMM_FIRMWARE_MAX) return "too many ranges of reserved memory";
    again = count;
    if (count == 0) return NULL;
    if (ad->ops->query_reserved_ranges(ad->kmd, list, &again) != VIDMM_OK || again != count)
        return "the driver's reserved ranges are not as many as it said";
    for (uint32_t i = 0; why == NULL && i < count; i++) why = firmware_map(ad, &list[i]);
    return why;
}

static const char *segments_map(struct vidmm_adapter *ad)
{
    const char *why = NULL;
    for (uint32_t i = 0; why == NULL && i < ad->info.segment_count; i++) {
        const struct vidmm_segment_desc *s = &ad->info.segment[i];
        struct vidmm_frame_range r = { s->system_frame, s->bytes >> VIDMM_PAGE_SHIFT };
        if (s->flags & VIDMM_SEGMENT_FROM_SYSTEM_MEMORY) why = firmware_map(ad, &r);
    }
    return why;
}

/* ---- bring-up ---- */

/* What content of memory segments may need of system memory, one day: it must be there then (IOM-20). */
static vidmm_status save_take(struct vidmm_adapter *ad, const char **why)
{
    if (ad->ops->query_framebuffer_save_size == NULL) return VIDMM_OK;
    uint64_t bytes = ad->ops->query_framebuffer_save_size(ad->kmd), frame;
    *why = "the frame buffer's save size must be a multiple of 4096";
    if (bytes % VIDMM_PAGE_SIZE != 0) return VIDMM_INVALID;
    if (bytes == 0) return VIDMM_OK;
    *why = "no memory to save the frame buffer";
    vidmm_status st = ad->platform->sys_alloc(ad->platform->ctx, bytes / VIDMM_PAGE_SIZE, &frame);
    if (st == VIDMM_OK) ad->save = (struct vidmm_frame_range){ frame, bytes / VIDMM_PAGE_SIZE };
    return st;
}

vidmm_status vmm_driver_memory_init(struct vidmm_adapter *ad, const char **why)
{
    bool secure = (ad->info.flags & VIDMM_ADAPTER_SECURE) != 0;
    vidmm_status st = secure ? save_take(ad, why) : VIDMM_OK;
    if (st != VIDMM_OK || ad->lead->domain == NULL) return st;
    *why = secure ? firmware_ask(ad) : NULL;
    if (*why == NULL) *why = segments_map(ad);
    return *why == NULL ? VIDMM_OK : VIDMM_INVALID;
}

void vmm_driver_memory_fini(struct vidmm_adapter *ad)
{
    const struct vidmm_domain *d = ad->lead->domain;
    LIST_FOREACH_SAFE(it, tmp, &ad->driver_memory)
        vidmm_driver_memory_free(ad, list_entry(it, struct vmm_driver_memory, link));
    while (ad->firmware_count > 0) {
        const struct vidmm_frame_range *r = &ad->firmware[--ad->firmware_count];
        d->unmap(d->ctx, r->frame, r->pages);
        d->release(d->ctx, r->frame, r->pages);
    }
    if (ad->save.pages != 0) ad->platform->sys_free(ad->platform->ctx, ad->save.frame, ad->save.pages);
    ad->save.pages = 0;
}

/* ---- invariant 27 ---- */

void vmm_driver_memory_expect(const struct vidmm_adapter *ad, struct vmm_tally *t)
{
    LIST_FOREACH(it, &ad->driver_memory) {
        const struct vmm_driver_memory *m = list_entry(it, struct vmm_driver_memory, link);
        for (uint32_t i = 0; i < m->ranges; i++) vmm_tally_frames(t, &m->range[i]);
    }
    for (uint32_t i = 0; i < ad->firmware_count; i++) {
        const struct vidmm_frame_range *r = &ad->firmware[i];
        vmm_tally_frames(t, &(struct vmm_frames){ r->frame, r->pages, r->frame });
    }
}
