/* SPDX-License-Identifier: MIT */
/* kmd_hw.h — the part of the driver interface that drivers with hardware scheduling fill in.
 * A hardware context is an address space on a node; its queues are read by the device itself. The core hands
 * over every entry at once and does not see when it starts: what it can do is to suspend a whole context.
 *
 * A context is suspended when it is created, and after reset_engine of its node or reset_from_timeout. A
 * suspended context executes nothing and reads no table. Its queues take entries all the same; they execute
 * after resume_context. */
#ifndef VIDMM_KMD_HW_H
#define VIDMM_KMD_HW_H

#include <vidmm/status.h>
#include <vidmm/types.h>

struct vidmm_kmd_hw_context {
    void *process;                  /* in: driver's process handle */
    uint32_t node;                  /* in */
    const void *private_data; uint32_t private_size; /* in */
    struct vidmm_hwcontext *core;   /* in: for vidmm_notify_context_suspended */
    void *handle;                   /* out; set_root_page_table takes it too, while it is suspended */
    uint32_t submit_private_max;    /* out */
};

struct vidmm_kmd_hw_queue {
    void *context;                  /* in: driver's handle */
    uint32_t flags;                 /* in: vidmm_hwqueue_flags */
    const void *private_data; uint32_t private_size; /* in */
    struct vidmm_hwqueue *core;     /* in: for vidmm_notify_queue_retired */
    void *handle;                   /* out */
};

struct vidmm_kmd_hw_submit {
    void *queue;
    uint64_t va; uint32_t bytes;    /* in the space of the context's process; never read by the core */
    const void *private_data; uint32_t private_size; /* valid during the call only */
    uint64_t progress;              /* written to progress_va when the commands have completed; grows */
};

struct vidmm_kmd_hw_sync { uint64_t va, value; }; /* a monitored fence, by the context's space */

/* The device reads the ring by the context's space, whenever user mode has written `word`. */
struct vidmm_kmd_doorbell {
    void *queue;
    uint64_t *word;                 /* CPU address, valid until disconnected */
    uint64_t ring_va, control_va;
    uint32_t ring_entries;
};

/* All or none, but for the doorbells. Entries of a queue execute in order. submit_*: VIDMM_OK,
 * VIDMM_NO_MEMORY, VIDMM_INVALID; on failure nothing was queued. */
struct vidmm_kmd_hw_ops {
    vidmm_status (*create_context)(void *kmd, struct vidmm_kmd_hw_context *);
    /* Suspended, and without queues. Nothing is reported for it afterwards. */
    void (*destroy_context)(void *kmd, void *context);
    vidmm_status (*create_queue)(void *kmd, struct vidmm_kmd_hw_queue *);
    /* Once, before anything else is done with the queue: id (not 0) names it in page faults, and the device
     * writes progress ids to progress_va, by the context's space. */
    void (*start_queue)(void *kmd, void *queue, uint64_t id, uint64_t progress_va);
    /* Drops entries that have not executed; the context is suspended then. Nothing is reported afterwards. */
    void (*destroy_queue)(void *kmd, void *queue);

    vidmm_status (*submit_command)(void *kmd, const struct vidmm_kmd_hw_submit *);
    /* One entry: the queue goes on when every word is at least its value. */
    vidmm_status (*submit_wait)(void *kmd, void *queue, const struct vidmm_kmd_hw_sync *, uint32_t n);
    /* One entry: raises every word that is lower to its value and reports vidmm_notify_fence_signaled. */
    vidmm_status (*submit_signal)(void *kmd, void *queue, const struct vidmm_kmd_hw_sync *, uint32_t n);

    /* VIDMM_OK: nothing of the context executes, and nothing will until it is resumed. VIDMM_PENDING: so it
     * is once vidmm_notify_context_suspended has brought this value; until then the device may go on with
     * what it executes, but starts no further entry. value grows with each call for the context. */
    vidmm_status (*suspend_context)(void *kmd, void *context, uint64_t value);
    /* What was interrupted goes on where it stopped. */
    void (*resume_context)(void *kmd, void *context);
    /* Doorbells: needed if a node has user_submission. `doorbells` of them can be connected at once. What was
     * written to the word before connect_doorbell or after disconnect_doorbell is not noticed, but the same
     * value is when it is written again (the driver may set the word when it connects it); what was noticed
     * executes. queue_pending: is there noticed work that has not executed? */
    uint32_t doorbells;
    vidmm_status (*connect_doorbell)(void *kmd, const struct vidmm_kmd_doorbell *);
    void (*disconnect_doorbell)(void *kmd, void *queue);
    bool (*queue_pending)(void *kmd, void *queue);
    /* After reset_engine: id of the queue whose entry was cut short; 0: none was. */
    uint64_t (*aborted_queue)(void *kmd, uint32_t node);
};

/* Any thread, wait-free. */

/* The context executes nothing any more; value is that of the suspend_context call being answered. */
void vidmm_notify_context_suspended(struct vidmm_hwcontext *, uint64_t value);
/* The first `entries` entries ever handed to the queue have executed and their effects are visible. */
void vidmm_notify_queue_retired(struct vidmm_hwqueue *, uint64_t entries);

#endif
