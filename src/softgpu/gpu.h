/* SPDX-License-Identifier: MIT */
/* gpu.h - the inside of the simulated GPU: every struct of it, and the calls between its files.
 * Lock order: engine.run, then engine.tlb_lock, then gpu.lock. engine.queue_lock nests inside run only. */
#ifndef SOFTGPU_GPU_H
#define SOFTGPU_GPU_H

#include <pthread.h>
#include <stdatomic.h>

#include "softgpu/devmem.h"
#include "softgpu/hwqueue.h"
#include "softgpu/lock.h"
#include "softgpu/softgpu.h"

#define GPU_SYS_EPOCHS (1u << 20)  /* frames share an epoch modulo this; see vram.c */
#define GPU_WALK_CACHE 1024u
#define GPU_TLB_WAYS 4u
#define GPU_CHUNK_BYTES (256u * 1024u)
#define GPU_CHUNK_PAGES (GPU_CHUNK_BYTES / 4096u + 1u)
#define GPU_PREFETCH_MAX 16u
#define GPU_NO_SEGMENT UINT32_MAX  /* host memory of which nothing but the address is known */

/* Only physical nodes look through the aperture. frame 0: the page shows nothing. */
struct gpu_aperture_page { _Atomic uint64_t frame; _Atomic uint32_t epoch; };
struct gpu_aperture { uint32_t segment; uint64_t pages; struct gpu_aperture_page *table; };

struct gpu_segment { uint64_t vram_offset, bytes; bool aperture; };

/* ---- translation ------------------------------------------------------------------------------- */

struct pte_place { uint64_t offset; uint32_t segment; }; /* where an entry lies */

struct tlb_entry {
    uint64_t tag, page;          /* tag 0: unused */
    uint64_t raw;                /* the entry as read */
    struct pte_place place;
    struct softgpu_pte pte;
    uint32_t level;              /* of the entry; above 0 only for cached invalid ones */
    uint32_t epoch;              /* of the page it names, at the time of reading */
};

struct walk_entry {              /* upper entry: names the table of level - 1 */
    uint64_t tag, prefix, raw;
    struct pte_place place, next;
    uint32_t level, epoch;
};

struct gpu_page { /* a translated page */
    struct devmem_span span;
    struct softgpu *owner; /* of the segment */
    uint32_t segment; uint64_t address;
};

enum access_kind { ACCESS_READ, ACCESS_WRITE, ACCESS_FETCH };

/* ---- engines ----------------------------------------------------------------------------------- */

/* A bulk operation goes chunk by chunk: translate and enter the access section in one step, move the
 * bytes and leave it in the next. In between it is an access in flight that a flush must wait for. */
enum bulk_kind { BULK_NONE, BULK_COPY, BULK_FILL, BULK_SUM };

struct bulk_side {
    uint64_t va;
    uint32_t pages, spans;
    struct devmem_span span[GPU_CHUNK_PAGES];
    struct { struct softgpu *owner; uint32_t segment, epoch; uint64_t address; } page[GPU_CHUNK_PAGES];
};

struct bulk {
    enum bulk_kind kind;
    uint64_t dst, src, bytes, done;
    uint32_t pattern[4], chunk;
    uint64_t sum;
    bool prepared;
    struct bulk_side to, from;
};

struct flush_wait { bool active, waiting[SOFTGPU_NODES_MAX]; uint64_t seq[SOFTGPU_NODES_MAX]; };

enum engine_state { ENGINE_READY, ENGINE_RUNNING, ENGINE_FAULTED };

struct softgpu_engine {
    struct softgpu *gpu;
    uint32_t node;
    const struct softgpu_processor *processor;

    struct gpu_lock run;                 /* held over a step; reset takes it */
    enum engine_state state;
    struct softgpu_packet packet;        /* while RUNNING or FAULTED */
    struct softgpu_fault fault;          /* filled by the access that failed */
    uint64_t not_before_ns, wakeup_ns;
    uint64_t cpu_state[80];              /* the command processor's */
    struct bulk bulk;
    struct flush_wait flush;
    bool again;                          /* what failed is no fault: the step is to be repeated */

    struct gpu_lock tlb_lock;            /* TLBs and entering the access section */
    struct tlb_entry *tlb;
    struct walk_entry *walk;
    uint64_t random;
    const struct softgpu_space *in_space; /* of the access in flight */
    _Atomic uint64_t in_seq;              /* odd while an access is in flight */

    struct gpu_lock queue_lock;
    pthread_cond_t wake;
    struct softgpu_packet queue[SOFTGPU_QUEUE_MAX];
    uint32_t head, count;

    struct softgpu_hwqueue *hw, *hw_last, *hw_queues; /* in the engine; served last; all: hwqueue.c */
    struct softgpu_hwentry hw_entry;     /* of hw */
    uint64_t hw_wakeup_ns;               /* of queues that were set aside */
    uint64_t hw_aborted;                 /* id of the queue that the last reset cut short */
    uint64_t hw_resets;                  /* each suspends every context of the node */
    _Atomic uint32_t hw_count, doors;    /* hardware queues; connected doorbells, which are polled */
    bool hw_turn;

    pthread_t thread;
    bool has_thread;
    _Atomic bool stop;
    _Atomic bool preempt;                /* asked to stop at the next step */
    _Atomic uint32_t pause;              /* somebody waits for `run` */
    _Atomic uint64_t progress;           /* chunks moved, entries written, packets completed */
    _Atomic uint64_t steps;              /* taken, whatever came of them */
    uint64_t steps_seen, starved;        /* by softgpu_progress, which one thread calls */
    _Atomic uint64_t packets, hits, misses, prefetched, flushes, copied, filled, faults;
};

struct softgpu {
    struct softgpu *peer[VIDMM_GPUS_MAX]; /* of its link, by index; itself among them */
    uint32_t index;
    struct softgpu_options opt;
    struct softgpu_format format;
    struct gpu_segment segment[VIDMM_SEGMENTS_MAX + 1]; /* by id */
    struct gpu_aperture aperture;
    uint32_t level_shift[VIDMM_LEVELS_MAX];
    uint32_t tlb_mask;
    uint8_t *vram;
    uint64_t vram_bytes;
    _Atomic uint32_t *vram_epoch;        /* per 4 KiB page */
    _Atomic uint32_t *sys_epoch;         /* of GPU 0: for the whole link */
    uint64_t vram_epoch_bytes;
    const struct vidmm_platform *platform;
    const struct vidmm_domain *domain;   /* NULL: pages of system memory are frames */
    struct softgpu_irq irq;
    _Atomic uint64_t next_tag;
    _Atomic uint32_t next_space;
    struct gpu_lock lock;                /* knobs, detector, spaces; of GPU 0: atomics on system memory */
    struct softgpu_knobs knobs;
    struct softgpu_detector detector;
    struct softgpu_space *spaces;
    _Atomic uint64_t paging_delay_ns;    /* the hot knobs, readable without the lock */
    _Atomic uint32_t hang_nodes;
    _Atomic bool no_prefetch;
    _Atomic bool stopped;                /* between softgpu_stop_all and softgpu_restart */
    bool threads;
    struct softgpu_engine engine[SOFTGPU_NODES_MAX];
};

/* stop.c: called under engine.run */
bool engine_may_stop(struct softgpu_engine *);
void engine_stop(struct softgpu_engine *);
bool engine_resume(struct softgpu_engine *); /* the packet goes on where it was preempted */
/* hwqueue.c: called under engine.run, the first under queue_lock */
bool engine_hw_runnable(const struct softgpu_engine *);
void engine_hw_reset(struct softgpu_engine *);
enum softgpu_step engine_hw_continue(struct softgpu_engine *); /* engine.hw is not NULL */
enum softgpu_step engine_hw_pick(struct softgpu_engine *);     /* the engine is free */

/* vram.c: memory and content epochs */
void vram_forget(struct softgpu *);
bool vram_create(struct softgpu *);
void vram_destroy(struct softgpu *);
/* Whose memory a page of a link is: NULL: there is no such gpu, or it is gone. */
struct softgpu *vram_owner(struct softgpu *, const struct softgpu_pte *);
/* Host bytes behind a page address; false: nothing there. Stays within one page. */
bool vram_resolve(struct softgpu *, uint32_t segment, uint64_t address, uint64_t bytes,
                  struct devmem_span *);
/* Epochs of system memory are by what the GPU calls the page. */
uint32_t vram_epoch_get(struct softgpu *, uint32_t segment, uint64_t address);
void vram_epoch_bump(struct softgpu *, uint32_t segment, uint64_t address);

/* mmu.c: called under engine.tlb_lock */
bool mmu_translate(struct softgpu_engine *, const struct softgpu_context *, uint64_t va, enum access_kind,
                   struct gpu_page *);
bool mmu_read_entry(struct softgpu *, struct pte_place, uint64_t *raw);

/* physical.c */
bool physical_create(struct softgpu *);
void physical_destroy(struct softgpu *);
void physical_resume(struct softgpu_engine *); /* its processor's state was put back */
bool physical_translate(struct softgpu_engine *, uint64_t address, enum access_kind, struct gpu_page *);

/* shared.c: addresses of the packet's OS process; nothing happens for other contexts */
void shared_enter(struct softgpu_engine *); /* an access begins; leave: it has ended */
void shared_leave(struct softgpu_engine *);
void shared_forget(struct softgpu_engine *); /* the engine was reset */
void shared_used(struct softgpu_engine *, uint64_t va, uint64_t address, bool write);
bool shared_fault(struct softgpu_engine *, uint64_t va, bool write); /* false */
bool shared_translate(struct softgpu_engine *, uint64_t va, bool write, struct gpu_page *);

/* tlb.c: called under engine.tlb_lock */
struct tlb_entry *tlb_find(struct softgpu_engine *, uint64_t tag, uint64_t page);
struct tlb_entry *tlb_slot(struct softgpu_engine *, uint64_t tag, uint64_t page); /* to put a new one */
struct walk_entry *tlb_walk_slot(struct softgpu_engine *, uint64_t tag, uint32_t level, uint64_t prefix);
void tlb_clear_range(struct softgpu_engine *, uint64_t tag, uint64_t start, uint64_t end);
uint64_t tlb_random(struct softgpu_engine *);

/* detector.c */
void detector_stale(struct softgpu_engine *, const struct softgpu_context *, const struct softgpu_stale *,
                    bool violation);
void detector_late(struct softgpu_engine *, const struct softgpu_context *, uint64_t va, bool write);

uint64_t gpu_now(const struct softgpu *);
struct softgpu_space *gpu_find_space(struct softgpu *, uint32_t id); /* NULL: none */

#endif
