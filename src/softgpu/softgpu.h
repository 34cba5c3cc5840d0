/* SPDX-License-Identifier: MIT */
/* softgpu.h - the simulated GPU as seen by composition roots, tests and its drivers.
 * Owns nothing; says how to make a GPU, step or run its engines, turn its knobs, read its detector.
 * A GPU is hardware: it knows nothing of the memory manager. It meets the world through a platform
 * (system frames) and an interrupt table, both handed in by the driver with softgpu_attach. */
#ifndef SOFTGPU_SOFTGPU_H
#define SOFTGPU_SOFTGPU_H

#include <vidmm/domain.h>
#include <vidmm/platform.h>
#include <vidmm/status.h>
#include <vidmm/types.h>

#define SOFTGPU_NODES_MAX 8u
#define SOFTGPU_QUEUE_MAX 32u     /* packets one node can hold */
#define SOFTGPU_PACKET_ARGS 4u
#define SOFTGPU_INJECTIONS_MAX 16u

struct softgpu;
struct softgpu_engine;

/* ---- page-table format: what the walker asks the driver's silicon ------------------------------ */

struct softgpu_pte {
    bool valid, zero, read_only, no_execute;
    uint32_t segment;    /* 0: system memory, address = frame * 4096 */
    uint32_t gpu;        /* of a link: whose segment; tables are in the walker's own memory only */
    uint64_t address;    /* of the page, or above level 0 of the next table */
};

struct softgpu_format {
    uint32_t level_count;
    uint32_t index_bits[VIDMM_LEVELS_MAX]; /* [0] = leaf */
    uint32_t entry_bytes;                  /* 4 or 8 */
    uint32_t va_bits;
    bool cache_invalid;                    /* TLBs keep invalid entries too */
    struct softgpu_pte (*decode)(uint32_t level, uint64_t raw);
};

/* ---- command processors ------------------------------------------------------------------------ */

enum softgpu_run { SOFTGPU_RUN_MORE, SOFTGPU_RUN_WAIT, SOFTGPU_RUN_DONE, SOFTGPU_RUN_FAULT };

struct softgpu_processor {
    void (*begin)(struct softgpu_engine *);              /* a packet starts; the state is zeroed */
    enum softgpu_run (*step)(struct softgpu_engine *);   /* a bounded amount of work */
};

/* ---- making a GPU ------------------------------------------------------------------------------ */

struct softgpu_segment {
    uint64_t bytes;      /* of VRAM; segments follow each other in it */
    bool aperture;       /* has no VRAM; shows system frames to physical nodes */
    uint64_t base;       /* where physical nodes find it */
    uint64_t system_frame; /* not 0: it is system memory, which the GPU reaches through the domain only */
};

enum softgpu_detect { SOFTGPU_DETECT_ENTRY = 0, SOFTGPU_DETECT_WALK = 1 };

struct softgpu_options {
    const struct softgpu_format *format;
    struct softgpu_segment segment[VIDMM_SEGMENTS_MAX]; /* id = index + 1 */
    uint32_t segment_count;
    uint32_t node_count;
    const struct softgpu_processor *processor[SOFTGPU_NODES_MAX]; /* NULL: the node executes nothing */
    uint32_t queue_depth;   /* 0: SOFTGPU_QUEUE_MAX */
    uint32_t tlb_bits;      /* entries of one TLB = 2^bits; 0: 14 */
    uint64_t seed;          /* of the prefetchers */
    uint32_t detect;        /* softgpu_detect: compare the entry at every use, or walk afresh */
    uint64_t (*now_ns)(void *ctx); /* clock of delays; NULL: the monotonic clock */
    void *now_ctx;
};

enum softgpu_error {       /* error_code of a fault; command processors add theirs from 256 up */
    SOFTGPU_ERROR_NOT_PRESENT = 1, SOFTGPU_ERROR_ROOT_RANGE = 2, SOFTGPU_ERROR_READ_ONLY = 3,
    SOFTGPU_ERROR_NO_EXECUTE = 4,
    SOFTGPU_ERROR_BAD_ADDRESS = 5, /* the entry or table names memory that does not exist */
    SOFTGPU_ERROR_VANISHED = 6,    /* host memory behind a frame is gone or read-only */
    SOFTGPU_ERROR_ALIGNMENT = 7,
    SOFTGPU_ERROR_PROCESSOR = 256
};

struct softgpu_fault {
    uint64_t va, fence_id;
    uint64_t hw_queue;   /* id of the hardware queue that faulted; 0: a packet */
    uint32_t node, level, flags, error_code; /* flags: vidmm_fault_flags */
};

/* Interrupts, raised by whoever steps the engine. None may block. */
struct softgpu_irq {
    void *ctx;
    void (*completed)(void *ctx, uint32_t node, uint64_t fence_id);
    void (*fence_signaled)(void *ctx);
    void (*page_fault)(void *ctx, const struct softgpu_fault *);
    void (*preempted)(void *ctx, uint32_t node); /* the answer to softgpu_preempt; may be NULL */
    void (*context_suspended)(void *ctx, void *owner, uint64_t value); /* see hwqueue.h */
    void (*queue_retired)(void *ctx, void *owner, uint64_t entries);
};

/* VIDMM_INVALID: impossible options. VIDMM_NO_MEMORY. */
vidmm_status softgpu_create(const struct softgpu_options *, struct softgpu **);
void softgpu_destroy(struct softgpu *); /* stops its threads */
/* Up to VIDMM_GPUS_MAX gpus that reach each other's segments, by their index. Before they are attached; none
 * may be destroyed while another one of them runs. */
void softgpu_link(struct softgpu *const *, uint32_t n);
/* The IOMMU that every access to system memory goes through; before it is attached. */
void softgpu_set_domain(struct softgpu *, const struct vidmm_domain *);
/* What an access to a page of system memory meets there: its frame; 0: it does not go through. */
uint64_t softgpu_frame(const struct softgpu *, uint64_t page);
void softgpu_attach(struct softgpu *, const struct vidmm_platform *, const struct softgpu_irq *);

/* ---- address spaces, contexts, packets (embedded in the driver's objects) ----------------------- */

struct softgpu_space {
    uint64_t tag[SOFTGPU_NODES_MAX]; /* the hardware's; what TLB entries of each node carry */
    bool system;                     /* the paging process: every stale use is the owner's mistake */
    uint32_t id;                     /* never used twice; how commands name the space */
    struct softgpu_space *next;      /* the GPU's list */
};

struct softgpu_root { uint32_t segment; uint64_t offset; uint32_t entries; };

/* What a packet that was preempted goes on with: the processor's state and the bulk operation it was in. */
struct softgpu_saved {
    bool valid;
    uint32_t kind, pattern[4];
    uint64_t va, dst, src, bytes, done, sum, cpu_state[80];
};

struct softgpu_context {
    struct softgpu_space *space;
    struct softgpu_root root;
    uint32_t node;
    bool privileged;  /* may use commands that act on other spaces */
    struct softgpu_saved saved;
    bool physical;    /* its packets use physical addresses, and are fetched from frames */
    uint32_t pasid;   /* not 0: its packets use the addresses of an OS process (platform->iommu) */
};

enum softgpu_inject { SOFTGPU_INJECT_NONE, SOFTGPU_INJECT_FAULT, SOFTGPU_INJECT_HANG };

struct softgpu_packet {
    struct softgpu_context *context;
    uint64_t va; uint32_t bytes;
    uint64_t fence_id;
    bool paging, null;                  /* null: completes without executing */
    bool resumed;                       /* submitted before and preempted: goes on from context->saved */
    uint8_t inject;                     /* softgpu_inject: it faults or hangs when it starts */
    uint64_t arg[SOFTGPU_PACKET_ARGS];  /* from the driver to its command processor */
};

void softgpu_space_init(struct softgpu *, struct softgpu_space *, bool system);
void softgpu_space_fini(struct softgpu *, struct softgpu_space *); /* nothing uses it any more */
/* The context is idle. */
void softgpu_context_set_root(struct softgpu_context *, const struct softgpu_root *);
/* false: the node's queue is full. */
bool softgpu_submit(struct softgpu *, uint32_t node, const struct softgpu_packet *);
/* Stops the node, drops what it holds. Gives the fence id of the packet cut short, or 0. */
uint64_t softgpu_reset(struct softgpu *, uint32_t node);
/* Asks a node to stop: when its next step comes, it forgets what it holds, keeps the state of the packet it
 * was in, and says so with irq.preempted. A node that hangs or has faulted does not answer. */
void softgpu_preempt(struct softgpu *, uint32_t node);
/* Changes whenever the node moved bytes or completed a packet; and, if threads run the engines, when the
 * node's thread was given no time since the last call: a loaded machine is no reason to call it hung. */
uint64_t softgpu_progress(struct softgpu *, uint32_t node);
/* Every node stops and drops what it holds; nothing can be submitted until softgpu_restart, which clears the
 * TLBs and the memory. */
void softgpu_stop_all(struct softgpu *);
void softgpu_restart(struct softgpu *);

/* ---- stepping ---------------------------------------------------------------------------------- */

enum softgpu_step {
    SOFTGPU_IDLE,     /* nothing queued */
    SOFTGPU_WAITING,  /* a semaphore, a delay, a hang, or stopped by a fault */
    SOFTGPU_PROGRESS  /* did a bounded piece of work; there may be more */
};
enum softgpu_step softgpu_engine_step(struct softgpu *, uint32_t node);
/* Earliest time at which a waiting node can go on by itself; UINT64_MAX: not by time. */
uint64_t softgpu_wakeup_ns(struct softgpu *);
bool softgpu_node_idle(struct softgpu *, uint32_t node);
/* One thread per node with a processor, all signals blocked. VIDMM_NO_MEMORY. */
vidmm_status softgpu_start_threads(struct softgpu *);
void softgpu_stop_threads(struct softgpu *);

/* ---- knobs: any time, any thread --------------------------------------------------------------- */

struct softgpu_knobs {
    uint64_t paging_delay_ns;     /* every paging packet starts this much later */
    uint32_t hang_nodes;          /* bit n: node n makes no progress */
    uint32_t fault_node;          /* fault_in > 0: the fault_in-th packet to start there faults */
    uint32_t fault_in, fault_error;
    bool no_prefetch;             /* TLBs load only what is asked for */
    bool fail_reset;              /* driver: reset_engine fails */
    uint32_t fail_create_in;      /* driver: the n-th create call from now fails; 0 = none */
    uint32_t skip_flush_in;       /* driver: the n-th FLUSH_TLB from now is left out; 0 = none */
    uint32_t buffer_full_every;   /* driver: every n-th build stops for lack of room; 0 = never */
    uint32_t copy_bytes_max;      /* driver: bytes of one copy command in paging buffers; 0 = default */
    struct softgpu_injection {    /* driver: what goes wrong at the `at`-th since the adapter was started */
        uint32_t kind;            /* softgpu_injected; 0 ends the list */
        uint64_t at;              /* counts packets of clients, of OOM allocations; from 1 */
    } injection[SOFTGPU_INJECTIONS_MAX];
};
enum softgpu_injected {
    SOFTGPU_AT_FAULT = 1,         /* the packet faults */
    SOFTGPU_AT_HANG,              /* the packet hangs its node, which does not even stop when asked */
    SOFTGPU_AT_RESET_FAILS,       /* the same, and from then on no engine can be reset */
    SOFTGPU_AT_REMOVE,            /* the hardware is gone when the packet arrives */
    SOFTGPU_AT_OOM                /* there is no memory for the allocation */
};
void softgpu_set_knobs(struct softgpu *, const struct softgpu_knobs *);
void softgpu_get_knobs(struct softgpu *, struct softgpu_knobs *);
/* Takes one step of a countdown knob: true when it just reached zero. For drivers. */
enum softgpu_countdown { SOFTGPU_COUNT_FAULT, SOFTGPU_COUNT_CREATE, SOFTGPU_COUNT_FLUSH };
bool softgpu_countdown(struct softgpu *, enum softgpu_countdown);

/* ---- detector of stale translations and late accesses ------------------------------------------- */

struct softgpu_stale {
    uint64_t va;
    uint32_t space, node, level; /* level > 0: a cached upper entry, naming a table */
    bool system, write;
    uint64_t cached, actual;     /* the entry as cached and as it is in memory now */
};

struct softgpu_detector {
    /* Uses of a translation that the tables no longer contain. A client that touches an address while
     * it is being taken away causes these all by itself, between the table write and the flush. */
    uint64_t stale_uses;
    /* Those that prove a missing flush or an early reuse: the page behind it was given other content
     * since, or its frame is not in use any more, or the user is the paging process. Also late accesses.
     * Always somebody's bug. */
    uint64_t violations;
    uint64_t late;               /* accesses in flight while their page was given other content */
    struct softgpu_stale first_stale, first_violation;
};
void softgpu_get_detector(struct softgpu *, struct softgpu_detector *);
void softgpu_clear_detector(struct softgpu *);

struct softgpu_stats {
    uint64_t packets, tlb_hits, tlb_misses, prefetched, flushes, copied_bytes, filled_bytes, faults;
};
void softgpu_get_stats(struct softgpu *, struct softgpu_stats *);

/* ---- memory, for drivers and tests ------------------------------------------------------------- */

/* CPU address of VRAM in a segment; NULL when out of range or an aperture. */
void *softgpu_vram(struct softgpu *, uint32_t segment, uint64_t offset, uint64_t bytes);
/* The bytes at a VRAM address get another owner's content (a table is built there). */
void softgpu_vram_claimed(struct softgpu *, const void *cpu, uint64_t bytes);
/* The same for system frames: a platform that tells when it hands frames out again lets the detector
 * prove early reuse of system memory too. Any thread. */
void softgpu_frames_claimed(struct softgpu *, uint64_t frame, uint64_t pages);

#endif
