/* SPDX-License-Identifier: MIT */
/* model.h - the reference model: what the memory manager has to answer and what the GPU has to see, by the
 * requirements alone. Owns: its own picture of every object. Calls: nothing of the core; it shares no code
 * with it, only the words of the public headers.
 *
 * Use: ask model_NAME for what a call may answer, make the call, hand what was observed to
 * model_NAME_done. What the requirements leave open (which address, when a request executes, when a
 * deferred destruction happens) is observed and checked for being allowed. Functions that check give NULL,
 * or a sentence that says what is wrong. */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include <vidmm/vidmm.h>

#define MODEL_OBJECTS_MAX 64u      /* of one kind below one parent */

struct model_segment {
    uint64_t bytes, table_reserve;  /* reserve: kept free for page tables whatever is resident */
    uint64_t tables_least, tables;  /* bytes of page tables there now, at least and at most: observed */
    bool pages_64k, aperture, application;
};

struct model_gpu {
    uint32_t level_count, segment_count;
    uint32_t index_bits[VIDMM_LEVELS_MAX], table_bytes[VIDMM_LEVELS_MAX], table_segment[VIDMM_LEVELS_MAX];
    bool zero_pages, read_only, no_execute;
    bool tile_packets;              /* it updates tiles: their privileged space shows page tables */
    uint32_t hw_nodes, user_nodes;  /* bits */
    struct model_segment segment[VIDMM_SEGMENTS_MAX + 1]; /* by id; 0 is not used */
};

struct model_config {
    uint32_t va_bits, gpus;
    bool physical;                  /* a node is */
    bool narrow;                    /* fences are 32 bits wide */
    uint32_t node_count, doorbells;
    struct model_gpu gpu[VIDMM_GPUS_MAX];
};

/* What a call may answer: any of `errors` (bits, see MODEL_BIT), or success if `success`. */
struct model_answer { uint32_t errors; bool success; };
#define MODEL_BIT(status) (1u << (uint32_t)(-(int)(status)))
void model_refuse(struct model_answer *, vidmm_status); /* it must fail, perhaps with this */

enum model_content { MODEL_NOTHING, MODEL_ZERO, MODEL_ALLOC, MODEL_UNKNOWN };

/* Consecutive pages of one range with the same story. What they show is valid when `queue` has reached
 * `value` (0: it is now), and no older than settle number `epoch`. */
struct model_piece {
    uint64_t start, end, range;     /* range: identity of the map or reserve call that took it */
    bool reserved, reserved_zero, internal;
    bool blurred;                   /* was observed: nobody remembers its protection */
    bool open;                      /* cut off while queued: what it shows has to be observed */
    uint8_t content, prot;
    struct model_alloc *alloc;
    uint64_t offset, driver_protection;
    struct model_queue *queue;
    uint64_t value, epoch;
};

/* Content of 4 KiB: `head` in the first eight bytes, `pattern` in every word behind them. */
struct model_page { uint32_t pattern; bool unknown; uint64_t head, busy_until; uint32_t busy_context; };

/* What the opens of one allocation have in common. */
struct model_body {
    struct model_page *page;
    void *client;                   /* memory behind an imported one */
    uint32_t creator;               /* id of the process that made it */
    uint32_t users;
    bool touched;                   /* was on a residency list once */
    bool unique;                    /* was mapped with a unique driver protection once */
};

/* An allocation as one device has it open. One with instances has them one behind the other (Q29). */
struct model_alloc {
    struct model_device *dev;
    struct model_body *body;
    struct vidmm_open *handle;
    uint64_t bytes, align, close_seq;
    uint64_t unit;                  /* bytes of an instance */
    uint32_t gpu;                   /* whose segments it may be in; of one with instances: the first's */
    uint32_t instances, gone;       /* 1, or one on each gpu; bits: of which the destruction was seen */
    uint32_t id, segments, count, locks, in_flight; /* segments: bit id; bit 0 = system memory */
    uint32_t in_rings, pins;        /* used by work that nobody but the device sees; doorbells that read it */
    bool local;                     /* counts for the local budget */
    bool written;                   /* by this device, since the count left 0 */
    bool lingers;                   /* evicted since the last settle: queued work may use it, it may count */
    bool physical;                  /* accessed physically */
    bool read_only;
    bool dying, in_use, imported, keep; /* keep: the simulator's own */
    uint32_t offer;                 /* vidmm_offer_priority; 0: not offered */
    bool decommit;                  /* offered so */
    bool droppable;                 /* since then its content may have been dropped */
    int owes;                       /* of model_offer.c: a drop that another open was told of */
    struct model_queue *queue;      /* resident when it has reached `value` */
    uint64_t value;
    uint64_t pages;
    struct model_page *page;        /* the body's */
    void *cpu;                      /* of the lock */
    struct model_alloc *next;       /* graveyard */
};

struct model_queue {
    struct model_device *dev;
    struct vidmm_queue *handle;
    struct vidmm_fence *fence;      /* a stream of tile updates has this instead of a handle */
    uint32_t gpu;                   /* whose tables it changes */
    uint64_t issued, reached, delay_from; /* delay_from: newest value when the delay began */
    uint32_t id;
    bool dead, delayed;
};

struct model_device {
    struct model_process *proc;
    struct vidmm_device *handle;
    uint32_t id, queue_count, alloc_count;
    bool lost, destroyed;
    struct model_queue *queue[MODEL_OBJECTS_MAX];
    struct model_alloc *alloc[MODEL_OBJECTS_MAX];
    void *user;
};

/* The addresses of a process as one gpu sees them. Who owns what is the same for all gpus (LDA-01), so their
 * pieces have the same ranges; what pages show is each gpu's own. */
struct model_space {
    struct model_process *proc;
    uint32_t gpu, piece_count, piece_room;
    bool tiled;                     /* an update was accepted: its privileged space there has tables */
    struct model_piece *piece;      /* sorted */
};

struct model_process {
    struct model *model;
    struct vidmm_process *handle;
    uint32_t id, device_count;
    uint64_t budget, removed;       /* removed: epoch of the newest free */
    struct model_space on[VIDMM_GPUS_MAX]; /* by gpu */
    struct model_device *device[MODEL_OBJECTS_MAX];
};

struct model {
    struct model_config config;
    struct model_process *process[MODEL_OBJECTS_MAX];
    uint32_t process_count, next_id;
    uint64_t next_range, epoch, budget;
    bool lost;                      /* the adapter is: nothing can be made any more */
    uint32_t gone;                  /* bits: gpus that are lost */
    struct model_alloc *graveyard;
    struct model_door *door[VIDMM_GPUS_MAX]; /* connected ones, the one used longest ago first */
    struct model_queue *dead_queue[256];
    struct model_device *dead_device[256];
    uint32_t dead_queues, dead_devices;
};

struct model *model_create(const struct model_config *);
void model_destroy(struct model *);

/* ---- objects ----------------------------------------------------------------------------------- */

struct model_answer model_process_create(const struct model *);
struct model_process *model_process_new(struct model *, struct vidmm_process *);
void model_process_gone(struct model_process *);
struct model_device *model_device_new(struct model_process *, struct vidmm_device *);
/* The device is in error: its lists are empty, what its queues had not finished is open (see
 * model_open_page). */
void model_device_lost(struct model_device *);
void model_device_destroyed(struct model_device *);
struct model_answer model_queue_create(const struct model_device *, uint32_t gpu, int32_t priority);
struct model_queue *model_queue_new(struct model_device *, struct vidmm_queue *, uint32_t gpu);
void model_queue_destroyed(struct model_queue *);
const char *model_queue_seen(struct model_queue *, uint64_t fence_value);
bool model_reached(const struct model_queue *, uint64_t value);
/* The value that an accepted call gave back: strictly growing, 0 only if nothing is outstanding. */
const char *model_queue_issue(struct model_queue *, uint64_t value);

/* The gpu that an engine affinity names; false: none. */
bool model_engine(const struct model *, uint32_t affinity, uint32_t *gpu);

/* A fence was made; gpu_va 0: none. Takes the page it lies in. */
const char *model_fence_made(struct model_process *, uint64_t gpu_va);
struct model_answer model_fence_create(const struct model_device *, uint32_t flags);
struct model_answer model_fence_signal(const struct model_device *, uint32_t flags, uint64_t now,
                                       uint64_t value);
struct model_answer model_sync(const struct model_device *, uint32_t all_flags, uint32_t forbidden,
                               uint32_t n);

/* ---- allocations ------------------------------------------------------------------------------- */

struct model_alloc_in {
    uint64_t bytes, existing_bytes;
    uint32_t alignment, supported, preferred; /* supported: bit n = segment n + 1 */
    bool refused;                             /* the driver must refuse it */
    bool physical;                            /* accessed physically */
    uint32_t gpu;                             /* whose segments these are */
    bool instanced;                           /* or each gpu's */
    void *client;
};
struct model_answer model_alloc_create(const struct model_device *, const struct model_alloc_in *);
const char *model_alloc_created(struct model_device *, const struct model_alloc_in *, struct vidmm_open *,
                                uint64_t bytes, struct model_alloc **);
/* Another device opens it. */
struct model_answer model_alloc_open(const struct model_device *, const struct model_alloc *from,
                                     uint32_t flags);
struct model_alloc *model_alloc_opened(struct model_device *, const struct model_alloc *from, uint32_t flags,
                                       struct vidmm_open *);
void model_alloc_close(struct model_alloc *, bool in_use, uint64_t seq);
/* The deferred destruction of an instance has happened: its pages are released. */
void model_instance_gone(struct model_alloc *, uint32_t instance);
/* The next piece by which to see whether it has happened, of gpu at->gpu; begins with zeros. NULL: none. Any
 * of them tells that it has; none by itself that it has not: others of the link may keep the range. */
struct model_trace { uint32_t gpu, next; };
const struct model_piece *model_alloc_trace(const struct model_alloc *, uint32_t instance,
                                            struct model_trace *at);
bool model_is_gone(const struct model_piece *, bool owned, const struct vidmm_va_info *);

struct model_answer model_lock(const struct model_alloc *);
struct model_answer model_make_resident(const struct model_queue *, struct model_alloc *const *, uint32_t n,
                                        uint32_t flags, uint64_t *least_trim);
void model_made_resident(struct model_queue *, struct model_alloc *const *, uint32_t n, uint64_t value);
struct model_answer model_evict(const struct model_device *, struct model_alloc *const *, uint32_t n,
                                uint32_t flags);
uint64_t model_evicted(struct model_device *, struct model_alloc *const *, uint32_t n, uint32_t flags);
uint64_t model_over_budget(const struct model_process *);

/* ---- offer and reclaim: model_offer.c ----------------------------------------------------------- */

struct model_answer model_offer(const struct model_device *, struct model_alloc *const *, uint32_t n,
                                uint32_t priority, uint32_t flags);
void model_offered(struct model_alloc *const *, uint32_t n, uint32_t priority, uint32_t flags);
struct model_answer model_reclaim(const struct model_queue *, struct model_alloc *const *, uint32_t n);
const char *model_reclaimed(struct model_queue *, struct model_alloc *const *, uint32_t n,
                            const uint32_t *results, uint64_t value);
const char *model_budget_told(const struct model_process *, bool told, const struct vidmm_trim *);

/* ---- physical mode: model_phys.c --------------------------------------------------------------- */

struct model_answer model_render(const struct model_device *, struct model_alloc *const *, uint32_t n,
                                 uint32_t highest_index);

/* ---- hardware queues: model_hw.c ---------------------------------------------------------------- */

struct model_hwqueue {
    struct model_device *dev;
    uint32_t gpu;
    uint64_t issued;                /* progress id */
    bool user;
};
struct model_answer model_hwcontext_create(const struct model_device *, uint32_t node, uint32_t affinity);
struct model_answer model_hwqueue_create(const struct model_device *, uint32_t gpu, uint32_t node,
                                         uint32_t flags);
struct model_answer model_hwqueue_submit(const struct model_hwqueue *, uint64_t va, uint32_t bytes,
                                         uint64_t progress);
struct model_answer model_hwqueue_sync(const struct model_hwqueue *, uint32_t all_flags, uint32_t forbidden,
                                       uint32_t n);
/* done: id of the newest commands that have retired. */
const char *model_hwqueue_seen(const struct model_hwqueue *, uint64_t value, uint64_t done);

struct model_door { struct model_door *next; uint32_t gpu; bool connected; };
struct model_answer model_door_create(const struct model_hwqueue *, const struct model_alloc *ring,
                                      bool has_one);
/* It was not; true: another one is no more. */
bool model_door_connected(struct model *, struct model_door *);
void model_door_used(struct model *, struct model_door *);         /* connected or notified anew */
void model_door_disconnected(struct model *, struct model_door *); /* by whatever; if it was connected */
const char *model_door_check(const struct model_door *, bool lost, enum vidmm_doorbell_status);

/* ---- addresses --------------------------------------------------------------------------------- */

struct model_answer model_map(const struct model_queue *, const struct vidmm_map *,
                              const struct model_alloc *);
const char *model_mapped(struct model_queue *, const struct vidmm_map *, struct model_alloc *, uint64_t va,
                         uint64_t value);
struct model_answer model_reserve(const struct model_process *, const struct model_queue *,
                                  const struct vidmm_reserve *);
const char *model_reserved(struct model_process *, struct model_queue *, const struct vidmm_reserve *,
                           uint64_t va, uint64_t value);
struct model_answer model_free(const struct model_process *, uint64_t base, uint64_t bytes);
void model_freed(struct model_process *, uint64_t base, uint64_t bytes);
/* Tile updates (model_tile.c). A stream is what a context's updates are queued in: like a paging queue, but
 * its values are those of a fence that the client chooses. It can be waited for like one. */
struct model_update {
    const struct vidmm_tile_op *op;
    struct model_alloc *const *al;  /* by operation; NULL where there is none */
    uint32_t n, queued, gpu;        /* of the context; queued: updates of the stream not yet signalled */
    bool fence, no_wait;
};
struct model_queue *model_stream_new(struct model_device *, uint32_t gpu, struct vidmm_fence *);
void model_stream_gone(struct model_queue *);
const char *model_stream_seen(struct model_queue *, uint64_t fence_value);
struct model_answer model_update(const struct model_device *, const struct model_update *);
/* Accepted: what the ranges show is valid when the stream has reached `value`. */
void model_updated(struct model_queue *stream, const struct model_update *, uint64_t value);
/* Would two queues race for what [start, end) shows? */
bool model_race(const struct model_space *, const struct model_queue *, uint64_t start, uint64_t end);
const struct model_piece *model_find(const struct model_space *, uint64_t va); /* NULL: nobody's */
bool model_ready(const struct model_piece *);
/* Next page at or after `from` whose content only observation can tell (a queue was cut off); false: none. */
bool model_open_page(const struct model_space *, uint64_t from, uint64_t *va);
const char *model_observe_page(struct model_space *, uint64_t va, bool owned, const struct vidmm_va_info *);
/* Compares an answer of vidmm_va_query_on; only when everything is settled. */
const char *model_check_query(const struct model_space *, uint64_t va, bool owned,
                              const struct vidmm_va_info *);

/* ---- what a GPU access meets ------------------------------------------------------------------- */

enum model_access { MODEL_WORKS, MODEL_FAULTS, MODEL_OPEN /* not decided */ };
enum model_access model_gpu(const struct model_device *, uint32_t gpu, uint64_t va, bool write);
/* Page behind va of a piece that shows an allocation. */
struct model_page *model_page(const struct model_piece *, uint64_t va);

/* Everything that was queued has been done, every dying object is gone. */
void model_settled(struct model *);

#endif
