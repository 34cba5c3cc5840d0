/* SPDX-License-Identifier: MIT */
/* domain.h — what the devices of one logical adapter reach of system memory: an IOMMU domain.
 * A *logical page* is the number under which they find a frame. With isolation alone it is the frame's own
 * number; with DMA remapping it is another one, within what the devices can address. Whatever is not mapped
 * they do not reach.
 * A domain belongs to one logical adapter, whose gpus share it (vidmm_adapter_config.domain).
 * It outlives the adapter. */
#ifndef VIDMM_DOMAIN_H
#define VIDMM_DOMAIN_H

#include <vidmm/status.h>
#include <vidmm/types.h>

/* Called by the owner of the adapter, except where "any thread" is said; nothing blocks. */
struct vidmm_domain {
    void *ctx;
    /* DMA remapping: the domain is attached before the driver is started, and logical pages are its own.
     * Without, it is attached when isolation is asked for, and a logical page is the frame. */
    bool remaps;
    /* A range of logical pages for consecutive frames, below `end` (a page number, exclusive), and all memory
     * that mapping them takes: `map` cannot fail. VIDMM_NO_MEMORY: nothing has changed. */
    vidmm_status (*reserve)(void *ctx, uint64_t frame, uint64_t pages, uint64_t end, uint64_t *page);
    void (*release)(void *ctx, uint64_t page, uint64_t pages); /* a whole range, not mapped */
    void (*map)(void *ctx, uint64_t page, uint64_t pages, uint64_t frame);
    /* When it returns no translation is left in any cache. Needs: no access to the range is in flight. */
    void (*unmap)(void *ctx, uint64_t page, uint64_t pages);
    /* Memory that firmware has set aside for the device and that it finds at its own address: reserved and
     * mapped at once. VIDMM_INVALID: some of it is the OS memory manager's, or taken. VIDMM_NO_MEMORY. */
    vidmm_status (*map_firmware)(void *ctx, uint64_t frame, uint64_t pages);
    /* From now on, for good, the devices reach what is mapped and nothing else. Once. */
    void (*attach)(void *ctx);

    /* The first frame behind a range of logical pages, if all of it shows consecutive frames; else 0. Whether
     * it is attached or not. */
    uint64_t (*mapped)(void *ctx, uint64_t page, uint64_t pages);
    uint64_t (*mapped_pages)(void *ctx); /* all there are */
    /* The devices' side; any thread. The frame that an access meets; 0: it does not go through. */
    uint64_t (*translate)(void *ctx, uint64_t page);
};

#endif
