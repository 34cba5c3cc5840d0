/* SPDX-License-Identifier: MIT */
/* hwqueue.h — client API of hardware scheduling: contexts and queues that the device itself schedules.
 * Entries are handed to the device at the call and start without VidMm looking. What protects memory is
 * suspension: a hardware context is stopped before memory that its device was promised is taken away, and
 * goes on when all of it is back. It is not stopped for memory that is still on its way: work that uses an
 * allocation must be ordered behind the paging fence value of its map and of its MakeResident, on the CPU or
 * by a wait entry. */
#ifndef VIDMM_HWQUEUE_H
#define VIDMM_HWQUEUE_H

#include <vidmm/status.h>
#include <vidmm/types.h>

struct vidmm_hwcontext_desc {
    uint32_t node, engine_affinity;
    const void *private_data;
    uint32_t private_size;
};
/* engine_affinity: 0 or 1. VIDMM_NOT_SUPPORTED: the node has no hardware scheduling. VIDMM_NO_MEMORY,
 * VIDMM_DEVICE_LOST, VIDMM_LIMIT (private data), VIDMM_FAILED. */
vidmm_status vidmm_hwcontext_create(struct vidmm_device *, const struct vidmm_hwcontext_desc *,
                                    struct vidmm_hwcontext **);
/* Its queues are destroyed with it. */
void vidmm_hwcontext_destroy(struct vidmm_hwcontext *);

struct vidmm_hwqueue_desc {
    uint32_t flags; /* vidmm_hwqueue_flags: none yet */
    const void *private_data;
    uint32_t private_size;
};
/* VIDMM_NO_MEMORY, VIDMM_NO_VIDEO_MEMORY (no address for the fence), VIDMM_DEVICE_LOST, VIDMM_LIMIT,
 * VIDMM_FAILED. */
vidmm_status vidmm_hwqueue_create(struct vidmm_hwcontext *, const struct vidmm_hwqueue_desc *,
                                  struct vidmm_hwqueue **);
/* Entries already queued execute first, unless the device is lost or destroyed. */
void vidmm_hwqueue_destroy(struct vidmm_hwqueue *);
/* The queue's own monitored fence, starting at 0; goes with the queue. Clients do not signal it. */
struct vidmm_fence *vidmm_hwqueue_progress(struct vidmm_hwqueue *);

/* progress: what the progress fence shows when the commands have completed; must be larger than that of the
 * submission before. The command buffer is named by address alone; there is no allocation list and no
 * patch-location list. VIDMM_INVALID, VIDMM_LIMIT (private data), VIDMM_NO_MEMORY, VIDMM_DEVICE_LOST. */
vidmm_status vidmm_hwqueue_submit(struct vidmm_hwqueue *, uint64_t va, uint32_t bytes,
                                  const void *private_data, uint32_t private_size, uint64_t progress);
/* One entry each, executed by the device. The fences belong to the queue's process and have a GPU address.
 * VIDMM_INVALID, VIDMM_ACCESS_DENIED, VIDMM_NO_MEMORY, VIDMM_DEVICE_LOST. */
vidmm_status vidmm_hwqueue_wait(struct vidmm_hwqueue *, struct vidmm_fence *const *, const uint64_t *values,
                                uint32_t n);
vidmm_status vidmm_hwqueue_signal(struct vidmm_hwqueue *, struct vidmm_fence *const *, const uint64_t *values,
                                  uint32_t n);
/* Entries handed over that have not executed. */
uint32_t vidmm_hwqueue_pending(const struct vidmm_hwqueue *);

#endif
