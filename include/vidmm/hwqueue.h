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

/* USER_SUBMISSION: work comes through a ring and a doorbell only; submit, wait and signal are refused. */
enum vidmm_hwqueue_flags { VIDMM_HWQUEUE_USER_SUBMISSION = 1u << 0 };

struct vidmm_hwqueue_desc {
    uint32_t flags; /* vidmm_hwqueue_flags */
    const void *private_data;
    uint32_t private_size;
};
/* VIDMM_NOT_SUPPORTED (USER_SUBMISSION: the node cannot), VIDMM_NO_MEMORY, VIDMM_NO_VIDEO_MEMORY (no address
 * for the fence), VIDMM_DEVICE_LOST, VIDMM_LIMIT, VIDMM_FAILED. */
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

/* ---- doorbells: submission without a call ------------------------------------------------------------
 * User mode writes commands into a ring, moves the ring's put index in the control page on, and then writes
 * the doorbell word; only the device reads them (formats: the driver's). After ringing it reads the status:
 * CONNECTED: done. CONNECTED_NOTIFY: the context is suspended, vidmm_doorbell_notify has its memory brought
 * back at once (a device that polls its doorbells notices by itself, later).
 * DISCONNECTED_RETRY: the word went to a page that nobody reads; connect, then ring again. ABORT: the device
 * is lost, or the doorbell destroyed. */

enum vidmm_doorbell_status { /* D3DDDI_DOORBELLSTATUS */
    VIDMM_DOORBELL_CONNECTED = 0, VIDMM_DOORBELL_CONNECTED_NOTIFY = 1,
    VIDMM_DOORBELL_DISCONNECTED_RETRY = 2, VIDMM_DOORBELL_DISCONNECTED_ABORT = 3
};

struct vidmm_doorbell_desc {
    struct vidmm_open *ring, *control; /* of the queue's device, resident; kept so while it lives */
    uint64_t ring_va, control_va;      /* multiples of 8 */
    uint32_t ring_entries;             /* a power of two */
};
/* Disconnected (RETRY). One per queue. VIDMM_INVALID, VIDMM_NO_MEMORY, VIDMM_DEVICE_LOST. */
vidmm_status vidmm_doorbell_create(struct vidmm_hwqueue *, const struct vidmm_doorbell_desc *,
                                   struct vidmm_doorbell **);
/* Disconnects at once. Ring and control are let go when what was rung has executed. */
void vidmm_doorbell_destroy(struct vidmm_doorbell *);
/* May disconnect another one, the one that was connected or notified longest ago. VIDMM_DEVICE_LOST. */
vidmm_status vidmm_doorbell_connect(struct vidmm_doorbell *);
vidmm_status vidmm_doorbell_disconnect(struct vidmm_doorbell *); /* to RETRY. VIDMM_DEVICE_LOST */
vidmm_status vidmm_doorbell_notify(struct vidmm_doorbell *);     /* VIDMM_INVALID: not connected */
/* Both stay where they are while the doorbell lives. Any thread. */
volatile uint64_t *vidmm_doorbell_address(const struct vidmm_doorbell *);
const uint32_t *vidmm_doorbell_status_address(const struct vidmm_doorbell *);
enum vidmm_doorbell_status vidmm_doorbell_status(const struct vidmm_doorbell *);

#endif
