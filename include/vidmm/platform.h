/* SPDX-License-Identifier: MIT */
/* platform.h — everything the core and the drivers need from the world, on one page.
 * None of these functions may block or call back into vidmm. They are called by the owner of the
 * adapter, except where "any thread" is said (drivers and device models call those from theirs). */
#ifndef VIDMM_PLATFORM_H
#define VIDMM_PLATFORM_H

#include <vidmm/iommu.h>
#include <vidmm/status.h>
#include <vidmm/types.h>

/* System memory is named by frames: 4 KiB pages of one system physical address space,
 * physical address = frame * 4096. Frame 0 is never handed out. */
struct vidmm_platform {
    uint32_t struct_size;
    void *ctx;

    /* Bookkeeping memory. alloc may fail (NULL); free gets the size that was asked for. */
    void *(*alloc)(void *ctx, size_t bytes, size_t align);
    void (*free)(void *ctx, void *p, size_t bytes);

    /* `pages` consecutive frames that read as zeros and are contiguous in host memory too.
     * Fails with VIDMM_NO_MEMORY. Backing may appear lazily. */
    vidmm_status (*sys_alloc)(void *ctx, uint64_t pages, uint64_t *frame);
    void (*sys_free)(void *ctx, uint64_t frame, uint64_t pages);
    /* Gives consecutive frames to pages the client owns, [host, host + pages * 4096), page aligned.
     * The memory may vanish or turn read-only at any time: it is reached only through `copy`. */
    vidmm_status (*sys_import)(void *ctx, void *host, uint64_t pages, uint64_t *frame);
    void (*sys_release)(void *ctx, uint64_t frame, uint64_t pages);
    /* The content is not needed any more; the frames read as zeros afterwards. */
    void (*sys_discard)(void *ctx, uint64_t frame, uint64_t pages);
    /* Host address of a frame, NULL when the frame is not in use. Any thread. */
    void *(*sys_address)(void *ctx, uint64_t frame);

    /* Copies between device or own memory and memory that may vanish. false: nothing is known about
     * how much was copied; the caller reports a GPU fault. Any thread. */
    bool (*copy)(void *ctx, void *dst, const void *src, size_t bytes);

    /* Something was notified: whoever owns the adapter shall call vidmm_run soon. Any thread. */
    void (*poke)(void *ctx);

    /* Frames are numbered below this: what is installed, and all that sys_alloc and sys_import give. 0: not
     * known. */
    uint64_t frame_end;

    /* NULL: the machine has no IOMMU, or none that devices may share addresses through. */
    const struct vidmm_iommu *iommu;
};

#endif
