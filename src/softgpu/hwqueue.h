/* SPDX-License-Identifier: MIT */
/* hwqueue.h - hardware contexts and queues of the simulated GPU, for its drivers: queues that engines read by
 * themselves. An engine takes turns between the packets of its node and the queues of running contexts; a
 * queue that waits is set aside for the others. Packets are not: one that waits keeps its engine. */
#ifndef SOFTGPU_HWQUEUE_H
#define SOFTGPU_HWQUEUE_H

#include "softgpu/softgpu.h"

struct softgpu_hwcontext {
    struct softgpu_context hw;      /* first: what set_root_page_table fills in */
    void *owner;                    /* handed back in interrupts */
    uint64_t suspend_value;
    bool running, answer;           /* answer: the engine owes a suspension interrupt */
    uint64_t resets;                /* of the engine, when it was resumed: another one has suspended it */
};

enum softgpu_hwentry_kind { HWENTRY_EXEC, HWENTRY_WAIT, HWENTRY_SIGNAL, HWENTRY_RING /* look into it */ };

struct softgpu_hwentry {
    uint32_t kind;
    bool last;                      /* of a group that retires as one */
    uint64_t va;                    /* commands, or the fence */
    uint32_t bytes;                 /* EXEC */
    uint64_t value;                 /* progress id, or the fence's value */
};

struct softgpu_hwqueue;             /* memory of softgpu_hwqueue_bytes() that the driver provides */

struct softgpu_hwqueue_desc {
    struct softgpu_hwcontext *context;
    void *owner;                    /* handed back in interrupts */
    struct softgpu_hwentry *entries; uint32_t entries_max; /* a power of two */
};

uint64_t softgpu_hwqueue_bytes(void);
void softgpu_hwqueue_open(struct softgpu *, struct softgpu_hwqueue *, const struct softgpu_hwqueue_desc *);
void softgpu_hwqueue_start(struct softgpu *, struct softgpu_hwqueue *, uint64_t id, uint64_t progress_va);
/* Waits for at most one step. Gives the entries array back. */
struct softgpu_hwentry *softgpu_hwqueue_close(struct softgpu *, struct softgpu_hwqueue *, uint32_t *max);
uint32_t softgpu_hwqueue_max(const struct softgpu_hwqueue *);
/* All or nothing; false: no room. */
bool softgpu_hwqueue_push(struct softgpu *, struct softgpu_hwqueue *, const struct softgpu_hwentry *,
                          uint32_t n);
/* Moves to a larger array and gives the old one back. */
struct softgpu_hwentry *softgpu_hwqueue_grow(struct softgpu *, struct softgpu_hwqueue *,
                                             struct softgpu_hwentry *, uint32_t *max);

/* Connects the queue to a word of host memory: whenever it changes, the ring is looked at (ring.h). */
struct softgpu_door { uint64_t *word; uint64_t ring_va, control_va; uint32_t entries; };
void softgpu_hwqueue_connect(struct softgpu *, struct softgpu_hwqueue *, const struct softgpu_door *);
void softgpu_hwqueue_disconnect(struct softgpu *, struct softgpu_hwqueue *);
bool softgpu_hwqueue_pending(struct softgpu *, struct softgpu_hwqueue *); /* rung, and not all executed */
/* Also of what was handed over. */
bool softgpu_hwqueue_unfinished(struct softgpu *, struct softgpu_hwqueue *);

/* Id of the queue that the last reset cut short; 0: none. */
uint64_t softgpu_hwqueue_aborted(struct softgpu *, uint32_t node);
/* true: it stands still. false: the interrupt will tell. */
bool softgpu_hwcontext_suspend(struct softgpu *, struct softgpu_hwcontext *, uint64_t value);
void softgpu_hwcontext_resume(struct softgpu *, struct softgpu_hwcontext *);
bool softgpu_hwcontext_still(struct softgpu *, struct softgpu_hwcontext *);

#endif
