/* SPDX-License-Identifier: MIT */
/* sim.h - the randomised simulator: one adapter on the ref driver in a simulated world, of one gpu or a link
 * of several, driven by a seed, and the reference model beside it. Owns: struct sim and what its files
 * offer each other.
 *   sim.c        a seed from beginning to end    world.c   the adapter and what this seed is like
 *   watch.c      what happened meanwhile         ops_*.c   the operations
 *   spy.c        what the driver is asked          domain.c  what the GPU reaches of system memory
 * Every operation says in words what it does, asks the model, makes the call, compares. */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <setjmp.h>
#include <vidmm/vidmm.h>

#include "sim/model.h"
#include "sim/world.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"
#include "softgpu/ref/ref_commands.h"
#include "softgpu/ring.h"

#define PAGE VIDMM_PAGE_SIZE
#define SLOTS 32u                 /* command buffers of a device */
#define SLOT_BYTES 2048u          /* commands, and from the middle on results */
#define RESULT_PAGES 48u          /* for the reading of everything, behind the slots */
#define BUFFER_BYTES (SLOTS * SLOT_BYTES + RESULT_PAGES * PAGE)
#define PACKETS_MAX 16u           /* queued in one context */
#define TOUCHED_MAX 8u
#define CONTEXTS_MAX 4u            /* with packets */
#define WORKERS_MAX 13u           /* contexts with packets, one more for each peer; and hardware queues */
#define HWCONTEXTS_MAX 3u
#define RING_ENTRIES 16u
#define COPIES_MAX 4u             /* unfinished copies of mappings of a context */
#define FENCES_MAX 6u
#define HISTORY 24u
#define SIM_TURNS_MAX 4000000u     /* until all rests; paging engines that write tables take many */

struct sim_options {
    uint64_t seed, ops;
    int format;                   /* ref_format, or -1: the seed decides */
    int update;                   /* vidmm_update_mode, or -1: the same */
    uint32_t gpus;                /* 1: no link, 2..4, or 0: the seed decides */
    bool verbose;
    const char *break_row;        /* requirement that the core shall break, or NULL */
};

extern const char *const sim_update_names[3]; /* by vidmm_update_mode */

enum packet_kind { PACKET_EXEC, PACKET_WAIT, PACKET_SIGNAL };

struct packet {
    enum packet_kind kind;
    uint64_t seq, value;          /* value: of the signal */
    uint64_t progress;            /* id, in a hardware queue */
    int slot;
    bool zero;                    /* touches zero pages */
    uint32_t touched, checks;
    struct model_alloc *alloc[TOUCHED_MAX];
    struct { uint32_t offset; bool open; uint64_t expect; } check[4];
};

struct sim_hwcontext { struct vidmm_hwcontext *core; uint32_t id, gpu, node, queues; };

struct sim_ring {
    struct vidmm_doorbell *core;  /* NULL: none yet */
    struct model_door door;
    struct model_alloc *memory;   /* ring and control page; NULL: there was none */
    uint64_t va, put, got;
    struct softgpu_ring_entry *entry;
    struct softgpu_ring_control *control;
};

/* A context with packets, or a hardware queue: one that takes work in order. */
struct sim_context {
    struct vidmm_context *core;   /* NULL: a hardware queue, with */
    struct vidmm_hwqueue *queue;
    struct sim_hwcontext *hw;
    struct model_hwqueue hwq;
    struct sim_ring *ring;        /* NULL: not of user mode */
    uint64_t progress_done;       /* id of the newest commands that retired */
    struct model_device *dev;
    struct vidmm_fence *fence;    /* only it signals it: its own, or a ring's progress fence */
    uint64_t fence_issued, fence_seen;
    bool physical;
    struct model_queue *tiles;    /* its stream of updates; NULL: none yet */
    struct tile_copy { uint64_t start, end, value; } copy[COPIES_MAX]; /* sources, until read */
    uint32_t id, gpu, node, head, count;
    struct packet packet[PACKETS_MAX];
};

struct sim_fence {
    struct vidmm_fence *core;
    uint32_t flags, id;
    uint64_t issued, awaited;     /* highest value given out, highest value a context waits for */
    uint64_t raised;              /* highest value that a hardware queue is to bring it to */
};

struct sim_device {
    struct model_alloc *buffer;
    uint64_t buffer_va;
    uint8_t *buffer_cpu;
    uint32_t slots;               /* bit: in use */
    uint32_t zero_in_flight;      /* packets on zero pages */
    uint32_t context_count, fence_count;
    struct sim_context *context[WORKERS_MAX];
    uint32_t hwcontext_count;
    struct sim_hwcontext *hwcontext[HWCONTEXTS_MAX];
    struct sim_fence fence[FENCES_MAX];
    uint64_t born;                /* resets of all gpus before it */
    uint32_t gpus, used;          /* bits: where it works; where it ever had something */
    bool ring_waits;              /* commands in a ring wait for a fence: nobody else knows, so it stays */
    bool hang_doom;               /* has a packet that hangs */
    bool doomed, doom_open, memory_doom, packet_doom; /* what may end it; doom_open: or may not */
    uint64_t doom_va;
    struct model_body *doom_body;
};

/* What this seed is like: sizes, limits, weights. Swarm: a part of the operations never happens. */
struct temper {
    uint32_t alloc_pages, big_one_in, turns, check_every, settle_every;
    uint32_t processes, devices, queues, allocs;
    bool unique, low_window, memory_only, faults, oom;
    bool hangs;                   /* packets time out */
};

/* What seeds did, added up. */
struct sim_totals {
    uint64_t maps, reserves, frees, residents, evicts, over_budget, page_ins, page_outs, fills, evictions,
        demotions, promotions, flushes, submits, faults, suspends, root_resizes, tables, refused, pages_read,
        timeouts, adapter_resets, removals, preemptions, updates, updates_waiting,
        tile_packets, tile_packets_elsewhere, tile_packets_cut,
        hw_commands, hw_waits, hw_signals, rings, victims, hw_ended, discards, remapped, attached,
        links, peer_maps, peer_pages_read, gpus_lost;
};

struct sim_gpu {
    struct sim *sim;
    uint32_t index;
    struct ref_options ro;
    struct ref_kmd *ref;
    struct softgpu *hw;
    struct vidmm_adapter *core;   /* as its driver knows it */
    uint64_t stops;               /* how often it was stopped for a reset of all */
    bool removing, lost;
};

struct sim {
    struct sim_options opt;
    struct world *world;
    struct sim_gpu gpu[VIDMM_GPUS_MAX];
    uint32_t gpus;
    struct vidmm_adapter *ad;
    struct model *model;
    struct temper temper;
    struct sim_totals totals;
    uint64_t random, step, seq, calls, live_bytes;
    uint32_t next_pattern, weights;
    uint64_t *done;               /* per context id: newest packet known to be complete */
    uint32_t contexts_made, contexts_room;
    bool armed;                   /* a fault knob may end any device */
    bool injecting;               /* memory or the driver fails now: NO_MEMORY, FAILED are legal */
    bool losing;                  /* the next fault or hang is an adapter reset */
    bool removing;                /* the adapter was or is being removed */
    uint64_t resets;              /* adapter resets counted by the core, as seen last */
    uint32_t hung_nodes;          /* nodes that hung at some time since the last rest */
    uint32_t tdr_limit;
    const char *wrong;            /* what the spy saw the core do; NULL: nothing */
    char text[256], history[HISTORY][256];
    struct sync_world *sync;      /* of ops_sync.c */
    struct sim_domain *domain;    /* of domain.c; NULL: the GPU reaches everything */
    uint64_t attach_at;           /* the step that asks for it; 0: it is attached from the start */
    struct shared_world *shared;  /* of ops_shared.c; NULL: this seed has no IoMmu */
    jmp_buf out;
};

/* sim.c */
bool sim_run_seed(const struct sim_options *, uint64_t *hash, struct sim_totals *); /* false: it diverged */
_Noreturn void sim_fail(struct sim *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_say(struct sim *, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t sim_random(struct sim *);
uint64_t sim_below(struct sim *, uint64_t n);
bool sim_chance(struct sim *, uint32_t one_in);
void sim_check(struct sim *, const char *wrong);  /* NULL: nothing is wrong */
/* The status of a call against what it may answer; true: accepted. */
bool sim_status(struct sim *, struct model_answer, vidmm_status);
const char *sim_status_name(vidmm_status);

/* world.c */
bool sim_world_open(struct sim *);
void sim_world_close(struct sim *); /* checks that nothing is left */
void sim_observe_tables(struct sim *);
void sim_set_knobs(struct sim *, uint32_t gpu, const struct softgpu_knobs *);
struct softgpu_knobs sim_knobs(const struct sim *, uint32_t gpu);

/* watch.c */
void sim_turns(struct sim *, uint64_t n);
void sim_poll(struct sim *);
void sim_verify(struct sim *);
/* Everything comes to rest; all of it is compared. */
void sim_settle(struct sim *);

/* spy.c */
const struct vidmm_kmd_ops *spy_ops(struct sim *); /* until the next call */

/* ops_*.c */
struct sim_op { const char *name; void (*run)(struct sim *); uint32_t weight; };
/* Ended by name NULL. */
extern const struct sim_op ops_object[], ops_memory[], ops_va[], ops_gpu[], ops_fault[], ops_sync[],
    ops_phys[], ops_tile[], ops_hw[], ops_share[], ops_shared[], ops_offer[], ops_link[];

struct model_process *pick_process(struct sim *);
struct model_device *pick_device(struct sim *);             /* any; NULL: none */
struct model_device *pick_live_device(struct sim *);
struct model_queue *pick_queue(struct sim *, struct model_device *);
struct model_queue *pick_queue_on(struct sim *, struct model_device *, uint32_t gpu);
uint32_t pick_gpu(struct sim *, const struct model_device *); /* where it works; now and then another one */
uint32_t affinity_of(struct sim *, uint32_t gpu);
struct model_alloc *pick_alloc(struct sim *, struct model_device *); /* not dying, not the buffer */
struct model_process *process_new(struct sim *);
struct model_device *device_new(struct sim *, struct model_process *);
void process_end(struct sim *, struct model_process *);
struct sim_context *context_new(struct sim *, struct model_device *);
bool context_room(const struct sim *, const struct model_device *); /* for one more with packets */
uint32_t context_id_new(struct sim *);
struct sim_context *context_new_on(struct sim *, struct model_device *, uint32_t gpu, uint32_t node,
                                   bool physical);
struct model_queue *queue_new(struct sim *, struct model_device *, uint32_t gpu);
void alloc_make(struct sim *, struct model_device *, const struct model_alloc_in *, uint32_t flags,
                struct model_alloc **);
void make_resident(struct sim *, struct model_queue *, struct model_alloc *const *, uint32_t n,
                   uint32_t flags);
bool lock_alloc(struct sim *, struct model_alloc *);
void unlock_alloc(struct sim *, struct model_alloc *);
/* The part of an allocation that a map shows by default: all of it, or an instance, mostly the gpu's own. */
void choose_whole(struct sim *, const struct model_alloc *, uint32_t gpu, struct vidmm_map *);
bool map_range(struct sim *, struct model_queue *, struct vidmm_map *, struct model_alloc *, uint64_t *va);
void fill_by_cpu(void *page, uint32_t pattern, uint64_t head);
bool page_equals(const void *page, const struct model_page *);
static inline struct sim_device *sim_of(const struct model_device *d) { return d->user; }
/* The addresses that its engine sees. */
static inline struct model_space *context_space(const struct sim_context *c)
{
    return &c->dev->proc->on[c->gpu];
}

/* ops_fault.c */
void sim_watch_adapter(struct sim *);
uint64_t sim_resets(const struct sim *); /* of all gpus, so far */
void sim_check_reset(struct sim *, const struct model_device *);

/* ops_shared.c; without IoMmu they do what they would do without them */
bool shared_open(struct sim *, uint64_t frames); /* before the adapter is made; false: no memory */
bool shared_step(void *sim);                     /* of the modelled OS */
vidmm_status shared_other_create(struct sim *, uint32_t id, struct vidmm_process **); /* a GpuMmu process */
void shared_other_end(struct sim *, uint32_t id);
void *shared_host(struct sim *, uint32_t id, void *pointer); /* where the simulator sees it */
void shared_poll(struct sim *);
void shared_settle(struct sim *);
void shared_end(struct sim *);
void shared_close(struct sim *);

/* domain.c */
bool domain_open(struct sim *);  /* before the driver is made; false: no memory */
void domain_wire(struct sim *);  /* puts it in front of the GPU */
void domain_step(struct sim *);
void domain_rest(struct sim *);
void domain_close(struct sim *); /* checks that nothing is left */

/* ops_va.c */
bool range_in_use(const struct model_space *, uint64_t start, uint64_t end); /* by a packet, or a copy */
uint64_t choose_instance(struct sim *, const struct model_alloc *, uint32_t gpu); /* its offset */
bool may_map_at(struct sim *, const struct model_queue *, const struct vidmm_map *);
void dooms_are_open(struct model_process *, uint64_t start, uint64_t end);

/* ops_tile.c */
void stream_end(struct sim_context *);
void stream_seen(struct sim *, struct sim_context *);
/* Do packets use what is there until the update of a piece is applied? */
bool older_in_use(const struct model_process *, const struct model_piece *);
/* Is [start, end) read by a copy that has not been applied, of another stream than `but`? */
bool copied_later(const struct model_process *, const struct model_queue *but, uint64_t start, uint64_t end);

/* ops_gpu.c */
/* Of a live device, virtual; NULL: none. The second: hardware queues and rings too. */
struct sim_context *pick_context(struct sim *, struct model_device *);
struct sim_context *pick_worker(struct sim *, struct model_device *);
bool queue_wait(struct sim *, struct sim_context *, struct vidmm_fence *, uint64_t value, uint32_t flags);
bool queue_raise(struct sim *, struct sim_context *, struct vidmm_fence *, uint64_t value);
void give_work(struct sim *, struct sim_context *); /* commands, if it can take any */
bool hang_packet(struct sim *, struct model_device *);
void hang_companions(struct sim *); /* now and then, behind an update */
void context_forget(struct sim *, struct sim_context *); /* packets are not looked at any more */
void context_seen(struct sim *, struct sim_context *);
uint32_t context_pending(const struct sim_context *);
struct packet *context_push(struct sim *, struct sim_context *); /* a packet for an engine was accepted */
struct packet *context_push_sync(struct sim *, struct sim_context *); /* something else was */
bool context_signal(struct sim *, struct sim_context *);         /* behind it, its fence */
struct sim_context *virtual_context(const struct model_device *); /* its first; NULL: none */
struct sim_context *virtual_context_on(const struct model_device *, uint32_t gpu);
void read_everything(struct sim *, struct model_device *);

/* ops_hw.c */
uint32_t hw_pending(const struct sim_context *);
void hw_seen(struct sim *, struct sim_context *, uint32_t pending);
void hw_lost(struct sim *, struct model_device *);
void hw_rest(struct sim *, struct model_device *);
void hw_new(struct sim *, struct model_device *);
void hw_forget(struct sim *, struct sim_context *);
bool hw_ready(const struct sim_context *); /* can it be given commands? */
/* false: refused. *progress: the id of the commands. */
bool hw_hand_over(struct sim *, struct sim_context *, uint64_t va, uint32_t bytes, uint64_t *progress);
bool hw_wait(struct sim *, struct sim_context *, struct vidmm_fence *const *, const uint64_t *value,
             uint32_t n, uint32_t all_flags);
bool hw_signal(struct sim *, struct sim_context *, struct vidmm_fence *const *, const uint64_t *value,
               uint32_t n, uint32_t all_flags);

/* ops_share.c */
bool content_in_use(const struct sim *, const struct model_alloc *);
uint32_t sim_gpus_of(const struct sim *, const struct model_alloc *); /* bits: in whose segments it may be */
void content_cut_off(struct sim *, const struct model_device *); /* before its contexts are forgotten */

/* ops_sync.c */
void sync_poll(struct sim *);
void sync_settle(struct sim *);
void sync_device_lost(struct sim *, struct model_device *);
void sync_device_gone(struct sim *, struct model_device *); /* it is being destroyed */
void sync_free(struct sim *);

#endif
