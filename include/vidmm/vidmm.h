/* SPDX-License-Identifier: MIT */
/* vidmm.h — the client API of the memory manager.
 *
 * Ownership: one thread at a time owns an adapter and everything on it; every function here is called
 * by the owner unless it says "any thread". No call blocks: what takes time is finished inside
 * vidmm_run and shows as a fence value (or as a predicate such as vidmm_open_lock_ready).
 * Every call may answer VIDMM_INVALID for bad arguments; the other answers are listed. A call that
 * fails has changed nothing. Outputs are written only on VIDMM_OK and VIDMM_PENDING.
 *
 * Objects are created by their parent and destroyed explicitly; destroying a parent destroys its
 * children. Destroy functions return at once, never fail, and finish inside vidmm_run: the pointer
 * is dead for the caller when they return. */
#ifndef VIDMM_VIDMM_H
#define VIDMM_VIDMM_H

#include <vidmm/counters.h>
#include <vidmm/domain.h>
#include <vidmm/hwqueue.h>
#include <vidmm/kmd.h>
#include <vidmm/platform.h>
#include <vidmm/status.h>
#include <vidmm/types.h>

/* ---- adapter ---------------------------------------------------------------------------------- */

struct vidmm_gpu { const struct vidmm_kmd_ops *ops; void *kmd; }; /* the driver of one gpu */

struct vidmm_adapter_config {
    uint32_t struct_size;
    const struct vidmm_platform *platform;
    const struct vidmm_kmd_ops *ops;
    void *kmd;
    struct vidmm_counters *counters; /* may be shared memory; NULL: the adapter keeps its own */
    const char *break_row;           /* test builds: requirement row whose rule shall be broken, or NULL */
    /* Timeouts: a packet that stands still for tdr_delay_ns at the front of its node is hung. Its engine is
     * reset; if that fails, or it happens too often, the whole adapter. 0: the default. */
    uint64_t tdr_delay_ns;           /* default 2 s */
    uint64_t tdr_limit_ns;           /* the time over which resets are counted; default 60 s */
    uint32_t tdr_limit_count;        /* default 5, at most VIDMM_TDR_LIMIT_MAX, or VIDMM_TDR_NO_LIMIT */
    uint32_t tdr_level;              /* vidmm_tdr_level */
    uint64_t slice_ns;               /* a packet runs for so long while an equal waits; default 20 ms,
                                        UINT64_MAX: to its end */
    /* A link: one adapter of 1 + peer_count gpus, at most VIDMM_GPUS_MAX; ops and kmd drive the first. Each
     * has its own segments, nodes and page tables; devices and allocations are the first driver's for all. */
    const struct vidmm_gpu *peer;    /* read during the call only */
    uint32_t peer_count;
    /* What the gpus reach of system memory; NULL: everything. No other adapter may have it. */
    const struct vidmm_domain *domain;
};

/* One adapter reset more than tdr_limit_count within tdr_limit_ns: the adapter is removed. One engine
 * reset for a timeout more than tdr_limit_count - 1 is an adapter reset instead. */
#define VIDMM_TDR_LIMIT_MAX 32u
#define VIDMM_TDR_NO_LIMIT UINT32_MAX
enum vidmm_tdr_level { VIDMM_TDR_DEFAULT = 0, VIDMM_TDR_RECOVER = 1, /* the default */
                       VIDMM_TDR_OFF = 2,     /* nothing ever times out */
                       VIDMM_TDR_FATAL = 3 }; /* the first timeout removes the adapter */

/* Asks the driver for its description, checks it, and builds the paging process.
 * VIDMM_INVALID: the description contradicts itself; *why (may be NULL) then names what was wrong.
 * VIDMM_NO_MEMORY; VIDMM_FAILED: the driver refused. */
vidmm_status vidmm_adapter_create(const struct vidmm_adapter_config *, struct vidmm_adapter **,
                                  const char **why);
/* Needs: vidmm_adapter_idle() and no process left. */
void vidmm_adapter_destroy(struct vidmm_adapter *);
/* No process, no work, nothing in flight. */
bool vidmm_adapter_idle(const struct vidmm_adapter *);
const struct vidmm_adapter_info *vidmm_adapter_info(const struct vidmm_adapter *); /* of GPU 0 */
uint32_t vidmm_gpu_count(const struct vidmm_adapter *); /* 1 without a link */
const struct vidmm_adapter_info *vidmm_gpu_info(const struct vidmm_adapter *, uint32_t gpu); /* NULL: none */
struct vidmm_counters *vidmm_adapter_counters(struct vidmm_adapter *);
vidmm_status vidmm_adapter_query_private(struct vidmm_adapter *, void *data, uint32_t bytes);
vidmm_status vidmm_adapter_escape(struct vidmm_adapter *, void *data, uint32_t bytes);
/* The hardware is gone, for good (surprise removal): every fence goes to its maximum, every device is in
 * state RESET unless it was in error before, and from then on every call answers VIDMM_DEVICE_LOST but for
 * those that destroy, free or ask. The driver is only told to clean up. Twice is once. */
void vidmm_adapter_remove(struct vidmm_adapter *);
bool vidmm_adapter_removed(const struct vidmm_adapter *);
/* One gpu of a link can be lost alone (vidmm_notify_removed by its driver, a reset that fails): devices that
 * have contexts, paging queues or allocations there are in state RESET, the others go on with the rest. */
bool vidmm_gpu_removed(const struct vidmm_adapter *, uint32_t gpu);

/* Isolation (IOM-16): from some vidmm_run on, when work in flight has ended, the gpus reach what is mapped in
 * the adapter's domain and nothing else, for good. For a first client that must be protected from others.
 * VIDMM_OK: it is so. VIDMM_PENDING: it is on its way, nothing new starts before.
 * VIDMM_NOT_SUPPORTED: there is no domain, or a gpu cannot do it. VIDMM_DEVICE_LOST. */
vidmm_status vidmm_domain_attach(struct vidmm_adapter *);
bool vidmm_domain_attached(const struct vidmm_adapter *);

/* Does what can be done now, a bounded amount. `now` in ns never goes back. Returns the time at which
 * it wants to be called again: `now` = at once, UINT64_MAX = only after a poke or a call. */
uint64_t vidmm_run(struct vidmm_adapter *, uint64_t now_ns);

/* Walks every numbered invariant (docs/invariants.md). Returns 0, or the number of the first one that
 * does not hold, with a description in *what. Moderate cost: the whole state, page tables included. */
int vidmm_verify(struct vidmm_adapter *, const char **what);
/* Hash of the logical state: equal before and after a call that failed. */
uint64_t vidmm_state_hash(const struct vidmm_adapter *);

/* ---- process and device ----------------------------------------------------------------------- */

/* One GPU VA space per process. VIDMM_NO_MEMORY, VIDMM_FAILED. On an adapter of the IoMmu model the address
 * space of the OS process is registered with the IOMMU (VIDMM_INVALID: it is not known there); os_process
 * names it as platform->iommu does, NULL: the caller's own. */
vidmm_status vidmm_process_create(struct vidmm_adapter *, struct vidmm_process **);
vidmm_status vidmm_process_create_for(struct vidmm_adapter *, void *os_process, struct vidmm_process **);
void vidmm_process_destroy(struct vidmm_process *);
/* Address spaces the process owns now: 1, and 2 from its first reservation on (the privileged space). */
uint32_t vidmm_process_space_count(const struct vidmm_process *);

/* VIDMM_NO_MEMORY, VIDMM_FAILED (driver), VIDMM_DEVICE_LOST. */
vidmm_status vidmm_device_create(struct vidmm_process *, struct vidmm_device **);
/* How the contexts of a device address memory. On an adapter with both models the driver says it when the
 * first context is made; a context of the other model is VIDMM_INVALID from then on. */
enum vidmm_model { VIDMM_MODEL_NONE = 0, /* not known yet, or the adapter has neither */
                   VIDMM_MODEL_GPUMMU = 1, VIDMM_MODEL_IOMMU = 2 };
enum vidmm_model vidmm_device_model(const struct vidmm_device *);
void vidmm_device_destroy(struct vidmm_device *);

enum vidmm_device_state { /* D3DKMT_DEVICEEXECUTION_STATE */
    VIDMM_DEVICE_ACTIVE = 1, VIDMM_DEVICE_RESET = 2, VIDMM_DEVICE_HUNG = 3, VIDMM_DEVICE_STOPPED = 4,
    VIDMM_DEVICE_OUT_OF_MEMORY = 5, VIDMM_DEVICE_DMA_FAULT = 6, VIDMM_DEVICE_PAGE_FAULT = 7
};
enum vidmm_device_state vidmm_device_state(const struct vidmm_device *);
/* User mode says that its device is broken (MarkDeviceAsError): state DMA_FAULT, as after any other error.
 * VIDMM_DEVICE_LOST: it was in error already. */
vidmm_status vidmm_device_mark(struct vidmm_device *);
/* The fault that ended the device; VIDMM_INVALID when its state is not PAGE_FAULT. */
vidmm_status vidmm_device_fault(const struct vidmm_device *, struct vidmm_page_fault *);

/* ---- monitored fences ------------------------------------------------------------------------- */

/* On an adapter with VIDMM_SCHED_NO_64BIT_ATOMICS the value of a fence that the GPU reaches is 32 bits of
 * memory, and what the GPU writes wraps. Values given here keep their meaning in the lower 32 bits: they are
 * compared by distance, so that waits and signals go on across the wrap, as long as they are at most
 * UINT32_MAX / 2 ahead of the present value. What is further away counts as lower. Fences without GPU
 * access, and those of paging queues, have 64 bits on every adapter. */

enum vidmm_fence_flags { VIDMM_FENCE_NO_SIGNAL = 1u << 4, VIDMM_FENCE_NO_WAIT = 1u << 5,
                         VIDMM_FENCE_NO_MAX_ON_LOSS = 1u << 6, VIDMM_FENCE_NO_GPU_ACCESS = 1u << 7 };

/* VIDMM_NO_MEMORY, VIDMM_NO_VIDEO_MEMORY (no address), VIDMM_DEVICE_LOST. */
vidmm_status vidmm_fence_create(struct vidmm_device *, uint64_t initial, uint32_t flags,
                                struct vidmm_fence **);
void vidmm_fence_destroy(struct vidmm_fence *);
/* The value as memory shows it: readable any time, also written by the GPU. Any thread. */
const uint64_t *vidmm_fence_cpu_address(const struct vidmm_fence *);
uint64_t vidmm_fence_gpu_address(const struct vidmm_fence *); /* 0 with NO_GPU_ACCESS */
uint64_t vidmm_fence_value(const struct vidmm_fence *);
enum vidmm_signal_flags { /* D3DDDICB_SIGNALFLAGS, same bits */
    VIDMM_SIGNAL_AT_SUBMISSION = 1u << 0, /* when everything before is on its engine, completed or not */
    VIDMM_SIGNAL_ALLOW_REWIND = 1u << 2   /* of a fence: the value is set, also to a lower one */
};
/* Takes effect at once. VIDMM_ACCESS_DENIED, VIDMM_INVALID (lowers the value), VIDMM_DEVICE_LOST. */
vidmm_status vidmm_fence_signal(struct vidmm_fence *, uint64_t value);
/* The same for up to VIDMM_WAIT_OBJECTS_MAX fences, all or none. flags: vidmm_signal_flags. */
vidmm_status vidmm_fences_signal(struct vidmm_fence *const *, const uint64_t *values, uint32_t n,
                                 uint32_t flags);
/* Is a wait for the value over? Not the same as comparing: see the flags and what a loss does. */
bool vidmm_fence_reached(const struct vidmm_fence *, uint64_t value);

/* ---- mutexes and semaphores ------------------------------------------------------------------- */

/* Both are waited for and signalled in the queues of contexts only. A wait takes one unit, a signal gives
 * one back. A mutex has one unit and an owner, the device whose context took it: signals of other devices
 * have no effect. A semaphore takes signals of anybody; beyond its maximum they have no effect. What a lost
 * or destroyed device has taken and not given back becomes free when its last packet has left the engines.
 * Waits for an object that was destroyed, or whose own device was lost, are satisfied. */
enum vidmm_sync_kind { VIDMM_SYNC_MUTEX = 1, VIDMM_SYNC_SEMAPHORE = 2 };
struct vidmm_sync_desc {
    uint32_t kind;
    uint32_t initial, max; /* units; a mutex: initial 1 = free, 0 = owned by its device; max is not used */
};
/* VIDMM_INVALID (max 0, initial above it), VIDMM_NO_MEMORY, VIDMM_DEVICE_LOST. */
vidmm_status vidmm_sync_create(struct vidmm_device *, const struct vidmm_sync_desc *, struct vidmm_sync **);
void vidmm_sync_destroy(struct vidmm_sync *);
uint32_t vidmm_sync_free_units(const struct vidmm_sync *);
struct vidmm_device *vidmm_sync_owner(const struct vidmm_sync *); /* of a mutex; NULL: it is free */

/* One object that a wait or signal names: a fence and a value, or a sync object. The other one is NULL. */
struct vidmm_point { struct vidmm_fence *fence; struct vidmm_sync *sync; uint64_t value; };

/* ---- contexts --------------------------------------------------------------------------------- */

struct vidmm_context_desc {
    uint32_t node;
    uint32_t engine_affinity; /* bit n: gpu n of the link; exactly one, or 0: GPU 0 */
    const void *private_data;
    uint32_t private_size;
    bool physical; /* for a physical node: takes vidmm_context_render instead of vidmm_context_submit */
};
/* A virtual-mode context, unless `physical` is set.
 * VIDMM_NOT_SUPPORTED: the node lacks the model. VIDMM_NO_MEMORY, VIDMM_DEVICE_LOST, VIDMM_FAILED. */
vidmm_status vidmm_context_create(struct vidmm_device *, const struct vidmm_context_desc *,
                                  struct vidmm_context **);
/* Queued packets finish first. */
void vidmm_context_destroy(struct vidmm_context *);
/* The command buffer is named by address alone; it is never read here. VIDMM_INVALID: also
 * for a physical context. VIDMM_DEVICE_LOST, VIDMM_NO_MEMORY, VIDMM_LIMIT (private data). */
vidmm_status vidmm_context_submit(struct vidmm_context *, uint64_t va, uint32_t bytes,
                                  const void *private_data, uint32_t private_size, uint32_t flags);

/* Physical mode. Sizes of what one render may bring: bytes and entries. */
struct vidmm_render_sizes { uint32_t command_bytes, allocations, patches; };
struct vidmm_render_reference { struct vidmm_open *open; bool write; };
struct vidmm_render {
    const void *command; uint32_t command_bytes; /* read during the call only */
    const struct vidmm_render_reference *list; uint32_t list_count;
    const struct vidmm_patch_location *patch; uint32_t patch_count;
    uint32_t flags;                              /* VIDMM_SUBMIT_NULL */
};
/* The driver checks and translates the buffer now; its references get addresses just before it executes.
 * Lists serve patching only: every allocation must be on the device's residency list.
 * VIDMM_INVALID: a virtual context, an allocation not accessed physically, an index outside the list.
 * VIDMM_DEVICE_LOST: also when an allocation is not on the residency list, which ends the device.
 * VIDMM_ACCESS_DENIED: writes what was opened read-only.
 * VIDMM_LIMIT: beyond the context's sizes. VIDMM_BUFFER_FULL: the driver cannot cut it to fit. What else the
 * driver's render answers; VIDMM_NO_MEMORY. */
vidmm_status vidmm_context_render(struct vidmm_context *, const struct vidmm_render *);
/* The sizes now; all 0 for a virtual context. */
void vidmm_context_sizes(const struct vidmm_context *, struct vidmm_render_sizes *);
/* Sets them as far as possible: not below what the driver asked for, nor above VIDMM_RENDER_.. of types.h. */
void vidmm_context_resize(struct vidmm_context *, const struct vidmm_render_sizes *want);

/* The same to each of up to VIDMM_BROADCAST_MAX contexts of one device, or to none. */
struct vidmm_submit {
    uint64_t va;
    uint32_t bytes, flags;
    const void *private_data;
    uint32_t private_size;
};
vidmm_status vidmm_contexts_submit(struct vidmm_context *const *, uint32_t n, const struct vidmm_submit *);
/* Queued behind earlier packets: later ones wait until every fence has reached its value. */
vidmm_status vidmm_context_wait(struct vidmm_context *, struct vidmm_fence *const *, const uint64_t *values,
                                uint32_t n);
/* Queued: the fences get their values when everything before has completed. */
vidmm_status vidmm_context_signal(struct vidmm_context *, struct vidmm_fence *const *, const uint64_t *values,
                                  uint32_t n);
/* The same for fences, mutexes and semaphores in one array, up to VIDMM_WAIT_OBJECTS_MAX. A wait is all or
 * nothing: it takes when everything it names is there, so that no two waits can block each other half
 * served. It takes when everything before it has completed. Of several waits that could take, the one that
 * has waited longest does; one that cannot yet is passed by. VIDMM_INVALID also: a mutex or semaphore named
 * twice in a wait. */
vidmm_status vidmm_context_wait_for(struct vidmm_context *, const struct vidmm_point *, uint32_t n);

struct vidmm_signal {
    /* 1..VIDMM_BROADCAST_MAX, of one device: takes effect when all of them got there */
    struct vidmm_context *const *context;
    uint32_t context_count;
    const struct vidmm_point *point;
    uint32_t point_count, flags;
};
/* Queued to all of the contexts or to none. VIDMM_ACCESS_DENIED, VIDMM_DEVICE_LOST, VIDMM_NO_MEMORY. */
vidmm_status vidmm_contexts_signal(const struct vidmm_signal *);
/* Packets queued or running. */
uint32_t vidmm_context_pending(const struct vidmm_context *);
/* -7..7. On a node the highest goes first, also before a packet that runs already if the driver can preempt
 * it; equal ones take turns by slices. Nobody starves: who was passed over 16 times goes first once. */
vidmm_status vidmm_context_set_priority(struct vidmm_context *, int32_t priority);
/* 0 or 1; 1 goes before contexts of the same priority. */
vidmm_status vidmm_context_set_in_process_priority(struct vidmm_context *, int32_t priority);

/* ---- allocations ------------------------------------------------------------------------------ */

enum vidmm_alloc_flags { VIDMM_ALLOC_PRIMARY = 1u << 0 /* may be displayed */ };
struct vidmm_alloc_desc {
    const void *private_data; uint32_t private_size; /* for the driver, which decides size and segments */
    void *existing; uint64_t existing_bytes;         /* the client's own page-aligned memory, or NULL, 0 */
    uint32_t flags;                                  /* vidmm_alloc_flags */
};
/* In a link the driver decides on which gpu it is, or that each has an instance of its own. Those are
 * resident and locked together, and addressed one behind the other: instance i is at offset i * size (Q29).
 * They cannot be offered (VIDMM_NOT_SUPPORTED).
 * Or it is mirrored: a copy on each gpu, all at the same segment and offset, or none; a map on a gpu shows
 * that gpu's copy. They move together, and count for the budget each. What a gpu writes is in its own, so
 * user mode writes on all: what moves out is the copy of the first gpu that is left, and what comes back, or
 * was written by the CPU, is then in all of them. Without common room they are one, in system memory. They
 * can be shared, not offered. VIDMM_INVALID: not allowed in system memory, or segments that differ.
 * Not resident, mapped nowhere, reads as zeros. VIDMM_NO_MEMORY, VIDMM_NO_VIDEO_MEMORY (fits no
 * segment of its set), VIDMM_DEVICE_LOST, VIDMM_FAILED (driver). */
vidmm_status vidmm_alloc_create(struct vidmm_device *, const struct vidmm_alloc_desc *, struct vidmm_open **);
/* Sharing: the device, of the same or another process, gets a reference of its own to what `from` refers to;
 * residency, mappings and closing are its own, the bytes are the same. The allocation lives until the last
 * reference is gone. The caller knows who may. VIDMM_INVALID: `from` is closed, of another adapter, or the
 * device has the allocation open. VIDMM_DEVICE_LOST, VIDMM_NO_MEMORY, VIDMM_FAILED (driver). */
enum vidmm_open_flags { VIDMM_OPEN_READ_ONLY = 1u << 0 }; /* no map, tile or render of it may write */
vidmm_status vidmm_alloc_open(struct vidmm_device *, const struct vidmm_open *from, uint32_t flags,
                              struct vidmm_open **);
enum vidmm_destroy_flags { VIDMM_DESTROY_ASSUME_NOT_IN_USE = 1u << 0 };
/* Its mappings and their addresses go with it. Without the flag this happens when everything that the
 * device had queued before has finished. */
void vidmm_open_close(struct vidmm_open *, uint32_t flags);
/* SynchronousDestroy: take the mark right after the last close, then wait until what was closed is gone. */
uint64_t vidmm_device_close_mark(const struct vidmm_device *);
bool vidmm_device_closed(const struct vidmm_device *, uint64_t mark);
/* Rounded to the page size of its segments; of all instances. */
uint64_t vidmm_open_bytes(const struct vidmm_open *);
struct vidmm_device *vidmm_open_device(const struct vidmm_open *);
vidmm_status vidmm_open_set_priority(struct vidmm_open *, uint32_t priority);
uint32_t vidmm_open_priority(const struct vidmm_open *);
/* Segment that holds the bytes now (0 = system memory) and whether the GPU can reach them; of instance 0. */
struct vidmm_placement_info {
    uint32_t segment; bool resident; uint32_t resident_count; uint64_t offset;
    uint32_t aperture;        /* aperture segment that maps it now, 0 = none */
    uint64_t aperture_offset;
};
void vidmm_open_placement(const struct vidmm_open *, struct vidmm_placement_info *);

/* CPU access (Lock2). VIDMM_OK: *cpu is valid until the last unlock, whatever moves.
 * VIDMM_PENDING: content is on its way to system memory; wait for vidmm_open_lock_ready, *cpu is
 * already right (a device that is not active by then may have lost the content on the way). VIDMM_BUSY:
 * resident in memory the CPU cannot see, without another place to go. VIDMM_INVALID: also in a process that
 * did not create the allocation, unless the device is of the IoMmu model. VIDMM_DEVICE_LOST. Locks
 * nest. */
vidmm_status vidmm_open_lock(struct vidmm_open *, void **cpu);
bool vidmm_open_lock_ready(const struct vidmm_open *);
/* VIDMM_INVALID: not locked. */
vidmm_status vidmm_open_unlock(struct vidmm_open *);

/* Displays a primary, NULL: none. One that is in system memory is mapped into the aperture before the display
 * controller is told, and unmapped when something else is shown. VIDMM_PENDING: vidmm_run will; the last call
 * counts. A primary that is closed is not shown any more; after an adapter reset nothing is.
 * VIDMM_NOT_SUPPORTED: no display, or a primary that may be in a memory segment or is accessed physically.
 * VIDMM_NO_VIDEO_MEMORY: no room in the aperture, beside what devices may require of it. */
vidmm_status vidmm_display_set(struct vidmm_adapter *, struct vidmm_open *primary);
struct vidmm_open *vidmm_display_shown(const struct vidmm_adapter *); /* NULL: none */

/* ---- paging queues and residency -------------------------------------------------------------- */

/* priority: -1, 0, 1 (higher is serviced first). VIDMM_NO_MEMORY, VIDMM_DEVICE_LOST. */
vidmm_status vidmm_queue_create(struct vidmm_device *, int32_t priority, struct vidmm_queue **);
/* The same for any gpu of a link: its maps change that gpu's page tables (PhysicalAdapterIndex). */
vidmm_status vidmm_queue_create_on(struct vidmm_device *, uint32_t gpu, int32_t priority,
                                   struct vidmm_queue **);
/* Requests still queued are finished first; its fence object goes with it. */
void vidmm_queue_destroy(struct vidmm_queue *);
struct vidmm_fence *vidmm_queue_fence(struct vidmm_queue *);
uint64_t vidmm_queue_issued(const struct vidmm_queue *); /* newest value handed out */
/* Test service (DELAYEXECUTION): nothing of this queue executes before `until_ns`; UINT64_MAX: until
 * called again with 0. */
void vidmm_queue_delay(struct vidmm_queue *, uint64_t until_ns);

enum vidmm_resident_flags {
    VIDMM_RESIDENT_CANT_TRIM_FURTHER = 1u << 0,
    VIDMM_RESIDENT_MUST_SUCCEED = 1u << 1
};
/* Adds one count each, all or nothing, and brings the allocations in. *fence_value 0 with VIDMM_OK:
 * resident now. VIDMM_NO_MEMORY: over budget (or, with CANT_TRIM_FURTHER, the device's list has no legal
 * assignment to segments); *bytes_to_trim is then set. VIDMM_DEVICE_LOST. */
vidmm_status vidmm_make_resident(struct vidmm_queue *, struct vidmm_open *const *, uint32_t n, uint32_t flags,
                                 uint64_t *fence_value, uint64_t *bytes_to_trim);
enum vidmm_evict_flags { VIDMM_EVICT_ONLY_IF_NECESSARY = 1u << 0, VIDMM_EVICT_NOT_WRITTEN_TO = 1u << 1 };
/* Takes one count off each, all or nothing. VIDMM_INVALID: a count is 0 already. VIDMM_DEVICE_LOST. */
vidmm_status vidmm_evict(struct vidmm_device *, struct vidmm_open *const *, uint32_t n, uint32_t flags,
                         uint64_t *bytes_to_trim);
/* Local budget of a process in bytes (memory segments); default: the application segments' size. It may
 * change at any time: nothing is taken for it, but a process that is over it is to be told (below). */
void vidmm_process_set_budget(struct vidmm_process *, uint64_t bytes);

/* D3DDDIARG_TRIMRESIDENCYSET: user mode is asked to evict. The core never calls a client: the event waits
 * until whoever owns the adapter takes it, after vidmm_run or a change of the budget, and passes it on.
 * Periodic trims do not happen. */
enum vidmm_trim_flags { VIDMM_TRIM_PERIODIC = 1u << 0, VIDMM_TRIM_RESTART_PERIODIC = 1u << 1,
                        VIDMM_TRIM_TO_BUDGET = 1u << 2 };
struct vidmm_trim { uint32_t flags; uint64_t bytes; }; /* bytes over the budget at this moment */
/* true: there was an event, and it is taken. It is raised when the budget is set below what the process
 * requires, and, once per figure, when memory is short while the process is over its budget. */
bool vidmm_process_take_trim(struct vidmm_process *, struct vidmm_trim *);

/* ---- offer and reclaim ------------------------------------------------------------------------ */

enum vidmm_offer_priority { /* D3DKMT_OFFER_PRIORITY: what is dropped first */
    VIDMM_OFFER_LOW = 1, VIDMM_OFFER_NORMAL = 2, VIDMM_OFFER_HIGH = 3,
    VIDMM_OFFER_AUTO = 4 /* by the allocation's priority: up to LOW, below HIGH, the rest */
};
enum vidmm_offer_flags { /* D3DKMT_OFFER_FLAGS */
    VIDMM_OFFER_IMMEDIATELY = 1u << 0,    /* nothing that is queued uses it: in effect at once */
    VIDMM_OFFER_ALLOW_DECOMMIT = 1u << 1  /* its system memory may be given back as well */
};
/* The content may be lost from now on: under memory pressure it is dropped instead of being moved out, lowest
 * class first and before any other memory is taken. In effect when everything that the device had queued
 * before has finished; the call does not wait. The residency counts stay, and so does what they stand for in
 * the budget, but until it is reclaimed nobody waits for the memory, it cannot be locked or named by a render
 * or doorbell, and for the GPU it is as not resident. What several devices have open is dropped only when all
 * of them have offered it. All or nothing. VIDMM_INVALID: offered already, locked, or the ring of a doorbell.
 * VIDMM_LIMIT, VIDMM_DEVICE_LOST. */
vidmm_status vidmm_offer(struct vidmm_device *, struct vidmm_open *const *, uint32_t n, uint32_t priority,
                         uint32_t flags);
enum vidmm_reclaim_result { /* D3DDDI_RECLAIM_RESULT */
    VIDMM_RECLAIM_OK = 0, VIDMM_RECLAIM_DISCARDED = 1, /* reads as zeros until it is written */
    VIDMM_RECLAIM_NOT_COMMITTED = 2 /* the same, of an offer with ALLOW_DECOMMIT; memory comes when touched */
};
/* Takes offered memory back; of the queue's device. results[n]: vidmm_reclaim_result. The CPU may lock it at
 * once; the GPU may use what is on the residency list when the fence has reached *fence_value (0 with
 * VIDMM_OK: now). All or nothing. VIDMM_INVALID: not offered. VIDMM_LIMIT, VIDMM_NO_MEMORY,
 * VIDMM_DEVICE_LOST. */
vidmm_status vidmm_reclaim(struct vidmm_queue *, struct vidmm_open *const *, uint32_t n, uint32_t *results,
                           uint64_t *fence_value);

/* ---- GPU virtual addresses -------------------------------------------------------------------- */

enum vidmm_protection { VIDMM_PROT_WRITE = 1u << 0, VIDMM_PROT_EXECUTE = 1u << 1, VIDMM_PROT_ZERO = 1u << 2,
                        VIDMM_PROT_NO_ACCESS = 1u << 3, VIDMM_PROT_SYSTEM_USE_ONLY = 1u << 4 };

struct vidmm_map {
    uint64_t base; /* 0: choose in [min, max); then 4 KiB aligned min, max; max 0 = end of space */
    uint64_t min, max;         /* min is rounded up; an inclusive max (base + size - 1) is accepted */
    struct vidmm_open *open;   /* NULL with ZERO or NO_ACCESS */
    uint64_t offset, bytes;    /* multiples of 4096 */
    uint64_t protection;       /* vidmm_protection */
    uint64_t driver_protection;
};
/* Claims the range now and binds it on the queue. *fence_value 0 with VIDMM_OK: usable now.
 * VIDMM_NO_VIDEO_MEMORY: no range fits. VIDMM_ACCESS_DENIED: WRITE of what was opened read-only.
 * VIDMM_NO_MEMORY, VIDMM_DEVICE_LOST. */
vidmm_status vidmm_va_map(struct vidmm_queue *, const struct vidmm_map *, uint64_t *va,
                          uint64_t *fence_value);

enum vidmm_reservation_type { VIDMM_RESERVE_NO_ACCESS = 0, VIDMM_RESERVE_ZERO = 1 };
struct vidmm_reserve {
    uint64_t base, min, max, bytes; /* as above; base and bytes multiples of 65536 */
    uint32_t type;                  /* vidmm_reservation_type */
    uint64_t driver_protection;
};
/* O(1), complete at the call (VIDMM_OK, value 0) unless ZERO pages must be written. queue may be NULL
 * for NO_ACCESS: the reservation then is made through the adapter. Belongs to the process. */
vidmm_status vidmm_va_reserve(struct vidmm_process *, struct vidmm_queue *, const struct vidmm_reserve *,
                              uint64_t *va, uint64_t *fence_value);
/* At return the range can be handed out again; queued maps of freed pages are void. VIDMM_INVALID when
 * any page is not owned. VIDMM_NO_MEMORY only for a free that cuts a range in two. */
vidmm_status vidmm_va_free(struct vidmm_process *, uint64_t base, uint64_t bytes);

/* Tile resources: changes of what a reserved range shows, in step with rendering. */
enum vidmm_tile_type { /* D3DDDI_UPDATEGPUVIRTUALADDRESS_OPERATION_TYPE */
    VIDMM_TILE_MAP = 0, VIDMM_TILE_UNMAP = 1, VIDMM_TILE_COPY = 2, VIDMM_TILE_MAP_PROTECT = 3
};
struct vidmm_tile_op { /* addresses, offsets and sizes: multiples of 4096 */
    uint32_t type;             /* vidmm_tile_type */
    uint64_t base, bytes;      /* what changes; of COPY the destination */
    struct vidmm_open *open;   /* MAP, MAP_PROTECT: of the context's device; need not be resident, ever */
    uint64_t offset;           /* first byte shown */
    uint64_t open_bytes;       /* 0: bytes; else a divisor of bytes: that much is shown again and again */
    uint64_t source;           /* COPY: all of it is read before anything changes */
    uint64_t protection;       /* MAP_PROTECT: as for a map; UNMAP: exactly ZERO or NO_ACCESS; else 0 */
    uint64_t driver_protection; /* MAP_PROTECT; MAP takes what was given to the reservation */
};
enum vidmm_update_call_flags { VIDMM_UPDATE_DO_NOT_WAIT = 1u << 0 };
/* Changes the tables of the context's gpu. The offset selects an instance, as in a map.
 * Queued in the context's companion, behind its earlier updates: when the fence has reached `value`, the
 * operations are applied in array order, and when the GPU can see no old entry any more, the fence gets
 * value + 1. All ranges and copy destinations lie in one reservation, all copy sources in one. With
 * DO_NOT_WAIT the value is not waited for, and there may be no fence. A free of pages, and the destruction
 * of an allocation, make no-ops of the parts they hit. While it is queued, the allocations it names stay on
 * the device's required list if they were there, whatever is evicted.
 * VIDMM_BUSY: VIDMM_UPDATES_MAX updates are queued already. VIDMM_ACCESS_DENIED (fence), VIDMM_LIMIT,
 * VIDMM_NO_MEMORY, VIDMM_NO_VIDEO_MEMORY, VIDMM_DEVICE_LOST, VIDMM_FAILED (driver). */
vidmm_status vidmm_va_update(struct vidmm_context *, const struct vidmm_tile_op *, uint32_t n,
                             struct vidmm_fence *, uint64_t value, uint32_t flags);
/* Updates accepted and not yet signalled. */
uint32_t vidmm_context_updates(const struct vidmm_context *);

/* What a range is now, for tools and tests: the claim that contains va, and what a gpu shows there, in the
 * words of the map: of an allocation with instances its open, and an offset that selects the instance. */
struct vidmm_va_info {
    uint64_t start, end;
    bool reserved;
    bool bound;
    struct vidmm_open *open;
    uint64_t offset;
};
/* VIDMM_INVALID: nobody owns va; no such gpu. */
vidmm_status vidmm_va_query_on(struct vidmm_process *, uint32_t gpu, uint64_t va, struct vidmm_va_info *);
vidmm_status vidmm_va_query(struct vidmm_process *, uint64_t va, struct vidmm_va_info *); /* on GPU 0 */

#endif
