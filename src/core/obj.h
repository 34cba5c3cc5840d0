/* SPDX-License-Identifier: MIT */
/* obj.h — every struct of the core in one place, with what its fields mean and which invariant they keep
 * (numbers: docs/invariants.md). One owner per adapter: nothing here is locked. What other threads may
 * write is `struct vmm_inbox` alone. Lists are FIFO and ids grow, so no order depends on a pointer. */
#ifndef VMM_OBJ_H
#define VMM_OBJ_H

#include <stdatomic.h>
#include <vidmm/vidmm.h>

#include "base/bits.h"
#include "base/check.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/pagepool.h"
#include "base/range.h"
#include "base/slab.h"
#include "base/span.h"
#include "base/tree.h"
#include "core/breaks.h"

enum {
    VMM_SYSTEM = 0,            /* id of the implicit system segment */
    VMM_BUFFERS = 8,           /* paging buffers in the ring: backpressure beyond */
    VMM_FLUSH_RANGES = 4,      /* ranges a space collects before it flushes everything */
    VMM_RUNS = 64,             /* runs handed to the driver in one call */
    VMM_FENCE_SLOTS = 64,      /* monitored fences per page, 64 bytes apart */
    VMM_LOOPS_MAX = 64,        /* rounds of one vidmm_run */
    VMM_ROOT_ENTRIES_MIN = 256, /* a resizable root is never smaller */
    VMM_FIRMWARE_MAX = 16,     /* ranges of system memory set aside for a gpu */
    VMM_SLOTS = 16             /* tables the paging engine is shown at a time (GPU_VIRTUAL) */
};
#define VMM_SCRATCH_START 0x400000ull   /* the paging space's fixed layout (PAG-15) */
#define VMM_SCRATCH_WINDOW 0x2000000ull /* 32 MiB: 64 KiB of 8-byte entries, one quantum */
#define VMM_TABLES_WINDOW 2             /* the scratch window through which GPU_VIRTUAL writes tables */
#define VMM_WINDOWS 3
#define VMM_PAGING_END 0x40000000ull    /* 1 GiB */
#define VMM_TABLES_VA 0x200000ull       /* the leaf tables of the scratch windows show themselves here */
#define VMM_BUFFER_VA 0x10000ull        /* first paging buffer */

/* System memory that the GPU reaches for as long as it exists (domain.c). frame 0: none. */
struct vmm_frames {
    uint64_t frame, pages;
    uint64_t logical;          /* where the GPU finds the first frame; without remapping that frame */
};

/* ---- page tables (table.c): derived from bindings and placements, never a truth of their own ---- */

/* One cache line for a leaf: at random addresses its misses are what a map or unmap costs. */
struct vmm_table {
    struct list limbo;         /* on adapter.limbo from unlinking to the flush that makes the page free */
    uint64_t limbo_seq;        /* batch that must be done first (inv. 5); until then, where the GPU writes
                                  tables: batch with its newest entries */
    uint64_t address;          /* offset in the segment, or logical page * 4096 */
    void *cpu;                 /* NULL: out of the CPU's reach, so the GPU writes it */
    struct vmm_table *parent;
    uint32_t index : 24, level : 8;      /* index in the parent */
    uint32_t live;             /* leaf: pages bound below or promised to maps; above: children (inv. 3) */
    uint32_t entries : 26, segment : 6;
    uint32_t bytes;
    struct vmm_table *child[]; /* entries pointers above the leaf, none at the leaf; then, where the GPU
                                  writes tables, a struct vmm_owed */
};
_Static_assert(sizeof(struct vmm_table) == 64, "a leaf is one cache line");

/* Entries of a table that the GPU has yet to write (owed.c). */
struct vmm_owed {
    struct list link;          /* in space.owed[level] while anything is owed */
    struct vmm_table *table;
    uint32_t first, end;       /* entries [first, end) */
    bool fresh;                /* before them, all of a new table: invalid */
};

struct vmm_tables {
    struct vmm_table *root;
    struct vmm_table *cursor;  /* leaf used last */
    uint64_t cursor_start, cursor_end; /* what it covers; end 0: there is none */
    struct vmm_table *upper;   /* the table above it, if that is not the root; outlives the cursor */
    uint64_t upper_start, upper_end;
    uint64_t root_version;     /* grows when the root moves; contexts compare (PT-12) */
    uint64_t count;
    struct vidmm_pte_run invalid[VIDMM_LEVELS_MAX]; /* all but the count; pte_attr is pure, so asked once */
    struct vidmm_pte_run link[VIDMM_LEVELS_MAX];    /* an entry that names a table; all but the address */
    struct vidmm_update_page_table update; /* mode and process filled in once, the table when it changes */
    const struct vmm_table *described;     /* the table that `update` names; only compared */
};

/* ---- address spaces ---- */

enum vmm_claim_kind { CLAIM_MAP = 1, CLAIM_RESERVE = 2, CLAIM_INTERNAL = 3, CLAIM_KIND = 0xff,
                      CLAIM_ZERO = 0x100 /* << gpu: reservation whose unmapped pages read as zeros there */ };

enum vmm_target { TARGET_ALLOC, TARGET_ZERO, TARGET_FRAME };

/* [node.key, end) shows `open`'s allocation from `offset` on; execution-time truth. */
struct vmm_binding {
    struct tree_node node;     /* in space.bindings; key = start */
    struct list on_alloc;      /* in alloc.bindings (inv. 11) */
    uint64_t end, offset, driver_protection;
    struct vmm_space *space;
    struct vidmm_open *open;   /* TARGET_ALLOC */
    uint8_t target, prot;      /* vmm_target; vidmm_protection WRITE and EXECUTE */
};

struct vmm_space {
    struct vidmm_adapter *ad;        /* the gpu whose tables these are */
    struct vidmm_process *proc;      /* NULL: the paging process */
    struct span_index *claims;       /* call-time truth: who owns which range (inv. 1); in a link the app
                                        spaces of a process have the same, GPU 0's (inv. 15) */
    struct span_index own_claims;
    struct tree bindings;
    struct list pending;             /* map requests accepted and not executed, oldest first */
    uint32_t binding_count, pending_count;
    struct vmm_tables tables;
    void *kmd_process;
    /* flushes not yet emitted, and the newest batch that carries one */
    struct list on_flush;            /* in adapter.flush_spaces */
    struct range flush[VMM_FLUSH_RANGES];
    uint32_t flush_count;
    uint64_t flush_seq;        /* also of the newest entries that the GPU writes */
    bool unseen;               /* no packet ever runs in it: no translation can be stale */
    bool flush_all;
    bool dropped;              /* the process is gone: every entry is to be invalid */
    struct list owed[VIDMM_LEVELS_MAX]; /* tables with entries that the GPU has yet to write, by level */
    uint64_t gate_seq;         /* no packet of the space starts before this batch is done */
    struct vmm_table *pending_root; /* swapped in when every context is idle; none starts before (PT-12) */
};

/* Batches to wait for, by gpu of the link; 0: none of that gpu. */
struct vmm_waits { uint64_t seq[VIDMM_GPUS_MAX]; };

/* ---- requests (request.c) ---- */

enum vmm_request_kind { REQ_MAP, REQ_RESIDENT };

/* Pages freed after a queued map was accepted: the map is void there (VA-28). */
struct vmm_hole { struct vmm_hole *next; struct range range; };

struct vmm_request {
    struct list link;          /* in queue.requests, FIFO (inv. 10) */
    struct list on_pending;    /* REQ_MAP: in space.pending until executed */
    struct vidmm_queue *queue; /* NULL: part of a tile update */
    struct vmm_space *space;   /* whose addresses it changes */
    uint64_t seq, fence_value, issued_ns;
    struct vmm_waits waits;    /* batches that must be done before the value may be signalled */
    uint8_t kind;
    bool executed;
    /* REQ_MAP */
    struct range range;
    uint8_t target, prot;
    bool unmap;                /* NoAccess: bind nothing */
    bool new_claim;            /* the range was claimed for this request */
    struct vidmm_open *open;
    uint64_t offset, driver_protection;
    struct list spares;        /* bindings (by on_alloc): for each piece a new one and one for a split */
    struct vmm_update *update; /* part of a tile update: has no queue; link is in update.parts */
    bool copy;                 /* of a tile update: shows what `source` shows */
    uint64_t source;
    struct vmm_hole *holes;    /* by address, not touching */
    uint64_t pinned_end;       /* tables of [range.start, pinned_end) are acquired */
    /* two-level spaces beyond the root: a larger root and the leaves below it, linked when it is in place */
    struct vmm_table *new_root;
    struct list new_leaves;
};

struct vidmm_queue {
    struct list on_device, on_active; /* on_active: adapter.active[priority + 1] while requests exist */
    struct list requests;
    struct vidmm_device *dev;
    struct vidmm_adapter *ad;  /* the gpu whose tables its requests change (LDA-05) */
    struct vidmm_fence *fence;
    uint64_t issued, delay_until;
    int32_t priority;
    bool dying;
    uint64_t id;
};

/* ---- tile updates (tile.c, companion.c) ---- */

/* One accepted call; its parts are map requests without a paging queue. */
struct vmm_update {
    struct list link;          /* in companion.updates, FIFO */
    struct list parts;         /* by request.link, in the order in which they are applied */
    struct vidmm_fence *fence; /* NULL: nobody is told */
    uint64_t value, seq;
    uint64_t wait_seq;         /* once applied: the batch after which the GPU sees no old entry */
    bool no_wait, applied;
};

/* The stream of updates that goes with a rendering context; lives in the process' privileged space. */
struct vmm_companion {
    struct list on_adapter;    /* in adapter.companions while updates are queued */
    struct list updates;
    struct vidmm_context *ctx;
    void *kmd_context;
    uint32_t count;            /* updates queued */
};

/* Where the kernel's commands for companion contexts of a process lie, in its privileged space. */
struct vmm_kernel_buffer { struct vmm_frames memory; uint64_t va; struct vidmm_paging_buffer kmd; };

/* The second space of a process, on one gpu. */
struct vmm_privileged {
    struct vmm_space space;           /* .ad NULL: none */
    struct vmm_kernel_buffer kernel;  /* frame 0: none */
};

/* ---- fences ---- */

struct vmm_fence_page {
    struct list on_process;
    struct vmm_frames memory;
    uint64_t used;             /* bitmap of slots */
    bool read_only;            /* for the GPU: fences that only VidMm may move */
    void *cpu;
    struct span *claim;        /* NULL without GpuMmu */
    struct vmm_binding *binding[VIDMM_GPUS_MAX]; /* by gpu; NULL: none, or a gpu that was lost before */
    uint64_t shared;           /* its address in the OS process; 0 without IoMmu */
};

#define VMM_FENCE_READ_ONLY (1u << 31) /* beside vidmm_fence_flags: paging fences */

struct vidmm_fence {
    struct list on_device;
    struct vidmm_device *dev;
    struct vmm_fence_page *page;
    uint64_t *value;           /* also written by the GPU */
    uint64_t gpu_va, id;
    uint32_t slot, flags, refs; /* refs: queued packets and updates that name it */
    bool dying;                /* waits on it are satisfied */
    bool narrow;               /* 32 bits of memory, compared by distance */
    bool over;                 /* its device was lost: so are all waits, and the value stays as it is */
};

/* ---- mutexes and semaphores, and what waits for them (sync.c) ---- */

struct vidmm_sync {
    struct list on_device, stakes;
    struct vidmm_device *dev;
    uint64_t id;
    uint32_t kind;             /* vidmm_sync_kind */
    uint32_t free, max;        /* units nobody holds; a mutex has one */
    uint32_t refs;             /* points that name it */
    bool dying;                /* waits on it are satisfied, signals have no effect */
};

/* What a device has to do with a sync object: made with the first point that names it, for both ends. */
struct vmm_stake {
    struct list on_device, on_sync;
    struct vidmm_device *dev;
    struct vidmm_sync *sync;
    uint32_t refs;             /* points that name it */
    uint64_t held;             /* units taken and not given back; a mutex: 1 in its owner's (inv. 20) */
};

/* One object of a wait or signal: a fence and a value, or a stake. */
struct vmm_point { struct vidmm_fence *fence; struct vmm_stake *stake; uint64_t value; };

/* A wait that takes something. Whoever waits longest takes first, if it can take everything it asks for. */
struct vmm_waiter {
    struct list link;          /* in adapter.waiters from the moment nothing else keeps it (inv. 21) */
    struct vmm_point *point;
    uint32_t n;                /* 0: takes nothing, never in the list */
    bool granted;              /* has taken */
};

/* ---- contexts and packets (sched.c) ---- */

enum vmm_packet_kind { PACKET_EXEC, PACKET_WAIT, PACKET_SIGNAL, PACKET_PAGING };

/* Packets of several contexts that signal together: when the last of them is reached (queued.c). */
struct vmm_group {
    uint32_t packets, left;    /* that exist; that were not reached */
    bool broken;               /* one was cancelled: nothing will be signalled */
    uint32_t flags, n;
    struct vmm_point point[];
};

/* One buffer of a physical context, with room for the lists that belong to it (render.c). Pooled. */
struct vmm_dma {
    struct list link;          /* context.spare while no packet has it */
    struct vidmm_dma_buffer kmd;
    struct vmm_frames memory;
    uint32_t list_max, patch_max, list_count, patch_count;
    uint64_t patched_seq;      /* adapter.place_seq when it was patched last; 0: never */
    uint64_t meta_bytes;
    struct vidmm_open **open;  /* [list_count], each counted in open.refs */
    struct vidmm_reference *list;
    struct vidmm_patch_location *patch;
};

struct vmm_packet {
    struct list link;          /* in context.packets, then in node.running */
    struct vidmm_context *ctx; /* NULL: the paging context, or that of a companion */
    struct vmm_companion *companion;
    struct vmm_dma *dma;       /* physical contexts */
    uint64_t seq;              /* order of acceptance over the adapter */
    uint64_t fence_id;         /* once submitted */
    uint64_t va;
    uint32_t bytes, flags, kind;
    uint32_t extra;            /* bytes of private data, or number of points, behind the struct */
    uint64_t batch_seq;        /* PACKET_PAGING */
    struct vmm_waiter waiter;  /* PACKET_WAIT on mutexes or semaphores */
    struct vmm_group *group;   /* PACKET_SIGNAL of several contexts; else the points are behind the struct */
    uint64_t still;            /* ns it stood still at the front before it was given back */
    int8_t rank;               /* of its context when it was submitted, see turns.c */
};

struct vidmm_context {
    struct list on_device, on_node; /* on_node: node.contexts while packets are queued */
    struct list packets;
    struct vidmm_device *dev;
    struct vidmm_adapter *ad;  /* the gpu of its node */
    void *kmd_context;
    uint64_t root_version;     /* of the root the driver was last given; 0 = none */
    uint64_t id;
    uint32_t node, running, queued, submit_private_max;
    struct vmm_companion *companion; /* from its first tile update on */
    uint32_t companion_node;
    bool physical;
    struct list spare;         /* DMA buffers no packet has */
    struct vidmm_render_sizes start, size; /* what the driver asked for; what holds now */
    uint32_t dma_private;
    int32_t priority;          /* -7..7 */
    int32_t in_process;        /* 0 or 1: before contexts of the same priority */
    uint32_t passed;           /* how often a higher rank went first since it ran */
    bool dying;
};

/* ---- hardware contexts and queues (hwqueue.c) ----
 * SUSPENDED -resume-> RUNNING -suspend-> SUSPENDING -ack-> SUSPENDED; reset_engine: any -> SUSPENDED.
 * What is not SUSPENDED counts in device.running, so everything that waits for a device to stand still waits
 * for the acknowledgement too (inv. 12). */
enum vmm_hw_state { HW_SUSPENDED, HW_RUNNING, HW_SUSPENDING };

struct vmm_hwsync { struct vidmm_fence *fence; uint64_t value; };

/* One entry handed to the device and not known to have executed: it keeps fences and allocations alive. */
struct vmm_hwentry {
    struct list link;          /* in hwqueue.entries, oldest first */
    uint64_t seq;              /* order of acceptance over the adapter */
    uint64_t number;           /* 1, 2, ... in its queue */
    uint32_t kind, syncs;      /* vmm_packet_kind; struct vmm_hwsync behind the struct */
};

struct vidmm_hwcontext {
    struct list on_device, on_adapter, queues;
    struct vidmm_adapter *ad;
    struct vidmm_device *dev;
    void *kmd_context;
    uint64_t root_version;     /* of the root the driver was last given; 0 = none */
    uint64_t suspend_value;    /* of the newest suspend_context (SUB-26) */
    uint64_t since;            /* time of that call, or of the last resume */
    uint64_t watch_since, watch_status; /* since when commands are at the front; the engine's status */
    uint64_t id;
    uint32_t node, submit_private_max;
    uint8_t state;             /* vmm_hw_state */
    bool abandoned;            /* the device was lost and nothing of it is with the driver any more */
    bool dying;
    bool refused;              /* the driver did not even take the request: as if it had timed out */
    _Atomic uint64_t acknowledged; /* written by any thread */
};

struct vidmm_hwqueue {
    struct list on_context, entries;
    struct vidmm_adapter *ad;  /* for reports, which come from any thread */
    struct vidmm_hwcontext *ctx;
    struct vidmm_fence *progress;
    void *kmd_queue;
    struct vidmm_doorbell *doorbell; /* NULL: none */
    bool user;                 /* work comes by doorbell only */
    uint64_t last_progress;    /* of the newest submission */
    uint64_t submitted;        /* entries handed over */
    uint64_t id;
    bool dying;
    _Atomic uint64_t retired;  /* of them, executed; written by any thread */
};

struct vidmm_doorbell {
    struct list on_adapter;    /* in adapter.doorbells while connected, the one used last at the end */
    struct vidmm_hwqueue *queue;
    struct vidmm_doorbell_desc desc;
    uint64_t frame;            /* its page: the word that user mode writes, and the status */
    uint64_t *word;
    uint32_t *status;          /* vidmm_doorbell_status */
    bool dying;
};

struct vmm_inbox {             /* written by any thread, read by the owner */
    _Atomic uint64_t completed;
    _Atomic uint32_t fault_state; /* 0 empty, 1 being written, 2 full */
    _Atomic bool preempted;
    struct vidmm_page_fault fault;
};

struct vmm_node {
    struct list contexts;      /* with queued packets, round robin */
    struct list paging;        /* paging packets not yet submitted; they go first */
    struct list running;       /* by fence_id */
    uint64_t next_fence, completed;
    uint32_t running_count;
    struct vmm_inbox inbox;
    /* tdr.c: the packet at the front of `running` is watched */
    uint64_t front_id;         /* its fence id; 0: none was there */
    uint64_t front_began;      /* when it came to the front */
    uint64_t front_since, front_status; /* since when it stands still; what the driver said then */
    uint64_t preempt_until;    /* the node was asked to stop and must answer before; 0: not asked */
    uint64_t blamed;           /* fence id of the packet that shall not come back, 0: none */
    bool wanted;               /* by a companion: no client's packet starts (tilepacket.c) */
    bool client_next;          /* but this one: a companion had the node last */
    uint64_t group;            /* nodes that must have stopped before this one is reset; 0: no reset is due */
    bool group_fault;          /* the reset is due to pending_fault, else to a timeout */
    struct vidmm_page_fault pending_fault;
};

/* When something happened last, as many times as a limit can ask for. */
struct vmm_history { uint64_t at[VIDMM_TDR_LIMIT_MAX]; uint32_t count; };

/* ---- allocations ---- */

enum vmm_place_state { PLACE_NONE, PLACE_COMING, PLACE_LIVE, PLACE_GOING };
/* NONE -move_begin-> COMING -move_finish-> LIVE -move_begin-> GOING -move_finish-> LIVE (demoted, promoted)
 *                                                                              or NONE (evicted);
 * NONE -place_system-> LIVE for what needs no transfer. */

/* The homes of all instances of an allocation, as one range (LDA-12). */
struct vmm_block { uint64_t frame, pages; uint32_t refs; };

struct vmm_alloc {
    struct list on_adapter;
    struct vidmm_adapter *ad;  /* the gpu whose segments it may be in; mirrored: the first that is left */
    struct list opens;         /* at most one of each device that is not closed; it ends with the last */
    struct list bindings;
    struct list lru;           /* in segment.lru while it holds pages there, oldest residency first */
    uint64_t id, pages;        /* 4 KiB pages, rounded to the largest page size of its segments */
    uint64_t creator;          /* id of the process that made it: the only one that may lock it (ALC-39) */
    uint64_t home;             /* first of `pages` frames: its place in system memory, for life */
    uint64_t logical;          /* page under which the GPU finds it there; without remapping, home */
    bool mapped;               /* the domain shows it there: by the one rule of domain.c (inv. 27) */
    struct vmm_block *block;   /* of an instance: its home is a part of that; else NULL */
    void *kmd_allocation;
    struct extent *ext;        /* pages of the memory segment that holds it */
    uint32_t ext_count, ext_max;
    uint32_t hint;             /* extent found last, and the page of the allocation it starts at */
    uint64_t hint_page;
    uint32_t segments;         /* bit 0: may be resident in system memory; bit n: segment n */
    uint32_t preferred;        /* segment id; 0 = system */
    uint32_t align;            /* of VidMm-picked addresses */
    uint32_t priority, locks;
    uint32_t unique;           /* bindings and queued maps with a unique driver protection (bit 63) */
    uint64_t resident_seq;     /* when it was last made resident: the planner's age */
    uint8_t state, segment;    /* vmm_place_state; segment that has the bytes, 0 = home */
    bool aperture_cpu_visible; /* MapApertureCpuVisible: not the same as CpuVisible */
    bool physical;             /* AccessedPhysically: contiguous, or mapped in the aperture (inv. 13) */
    bool mirrored;             /* a copy on each gpu: `ext` are pages of all their pools (mirror.c) */
    bool primary;              /* may be displayed; in the aperture while it is */
    struct list on_aperture;   /* adapter.in_aperture while it holds a range */
    uint64_t placed_seq;       /* adapter.place_seq when it became LIVE last */
    uint32_t aperture_page, aperture_count; /* that range, in 4 KiB pages; count 0: none */
    bool fresh;                /* nobody has written it: zeros need a fill, not a copy */
    bool cached;               /* system memory of it is cached (SEG-21) */
    bool imported;             /* home is the client's own memory */
    bool clean;                /* home had the same bytes when it came into the memory segment */
    bool unwritten;            /* and user mode says that nobody wrote since (RES-14) */
    uint8_t seen;              /* bit g: gpu g's tables have named it since its last move */
};

struct vidmm_open {
    struct list on_device, on_alloc, on_required, on_dying;
    struct list on_lingering;  /* adapter.lingering: evicted, but required until older packets are through */
    uint64_t linger_seq;       /* those packets have a smaller seq */
    struct list on_offering;   /* adapter.offering: offered, but packets before offer_seq may still use it */
    uint64_t offer_seq;
    struct vidmm_device *dev;
    struct vmm_alloc *al;
    struct vidmm_open *next;   /* the next instance, where each gpu has one; the client knows the first */
    void *kmd_open;            /* the driver's handle, if it wants to know */
    uint64_t id, close_seq;    /* packets with a smaller seq may still use it */
    struct vmm_waits waits;
    uint32_t resident;         /* MakeResident calls minus Evict calls (inv. 8), and pins */
    uint32_t pins;             /* doorbells whose ring or control it is: it can neither go nor be destroyed */
    uint8_t plan, trial;       /* memory only: segment that admission has found for it (inv. 9) */
    uint64_t mark;             /* of the array walk that saw it last */
    uint32_t pending;          /* queued map requests that name it */
    uint32_t holds;            /* parts of queued tile updates that name it */
    bool pinned;               /* held while it was required: stays listed as long as it is held (inv. 14) */
    struct vmm_binding *pool[VIDMM_GPUS_MAX]; /* tile pools: where the gpu's privileged space shows it */
    uint32_t refs;             /* entries of queued and running DMA buffers that name it (inv. 13) */
    uint32_t locks;
    uint8_t dying;             /* 0 no, 1 waiting for its users, 2 unbound and waiting for the flush */
    bool in_use;               /* close waits for queued work */
    bool read_only;            /* opened without the right to write */
    bool held;                 /* the mover has stopped its device */
    bool arrived;              /* on the required list, and LIVE since then: promised to hardware queues */
    uint64_t shared;           /* address in the OS process, for CPU and GPU (iommu.c); 0: none */
    bool keeps_home;           /* counts in al->locks for its life (inv. 25) */
    uint8_t offer;             /* vidmm_offer_priority, never AUTO; 0: not offered */
    bool offered;              /* and in effect: listed as before, but nobody needs it (inv. 26) */
    bool decommit;             /* offered with ALLOW_DECOMMIT */
    bool dropped;              /* the content is gone since it was offered */
};

struct vmm_segment {
    uint32_t id, page_shift, flags;
    uint64_t bytes;
    struct pagepool pool;      /* memory segments (inv. 4) */
    struct list lru;
    uint32_t table_reserve;    /* pages that allocations leave to page tables */
    uint64_t table_pages;
};

/* ---- devices and processes ---- */

struct vidmm_device {
    struct list on_process, contexts, queues, opens, fences, hwcontexts;
    struct list syncs, stakes; /* sync objects made on it; sync objects its packets use or it holds */
    struct list required;      /* opens with resident > 0, oldest first (inv. 8) */
    struct vidmm_process *proc;
    uint64_t id;
    uint32_t memory_only;      /* required opens that cannot be in system memory */
    uint32_t aperture_pages;   /* that its required opens need when all are in the aperture (inv. 9) */
    bool repack;               /* its aperture ranges are being taken back, to be given out without gaps */
    uint32_t missing;          /* required opens whose allocation is not LIVE (inv. 7) */
    uint64_t planned[VIDMM_GPUS_MAX][VIDMM_SEGMENTS_MAX + 1]; /* bytes of the plan by gpu, segment (inv. 9) */
    uint32_t taken;            /* those of them that were LIVE on the list before: hardware contexts stop */
    uint32_t asking;           /* MakeResident requests queued */
    uint64_t need_seq;         /* when it began to miss something: the oldest is served first (R7) */
    uint32_t holds;            /* movers that need it stopped */
    uint32_t running;          /* packets on engines, a tile update that writes tables, and
                                  hardware contexts that are not suspended */
    uint8_t state;             /* vidmm_device_state */
    uint8_t model;             /* vidmm_model */
    void *kmd_device;          /* NULL: the driver does not ask */
    bool dying;
    bool settled;              /* in error, and nothing of it is on an engine any more */
    bool quantum;              /* owed one packet before its memory may be taken again */
    struct vidmm_page_fault fault;
};

struct vidmm_process {
    struct list on_adapter, devices, fence_pages;
    struct vidmm_adapter *ad;  /* the lead */
    struct vmm_space space;    /* GPU 0's */
    struct vmm_space *on[VIDMM_GPUS_MAX]; /* by gpu; [0] is `space` */
    struct vmm_privileged privileged[VIDMM_GPUS_MAX]; /* by gpu; made by the first reservation (TIL-04) */
    uint64_t id, budget;
    struct vmm_waits waits;
    uint32_t pasid;            /* of its OS process in the IOMMU; 0: not registered */
    bool trim_due;             /* it is to be told that it is over its budget, */
    uint64_t trim_told;        /* if not by the figure that it was told last */
    uint64_t local_required;   /* bytes its devices require that prefer a memory segment */
    uint64_t last_pick;        /* used by a break switch only */
    uint8_t dying;             /* 0 no, 1 destroying devices, 2 waiting for the last flush, 3 for the IOMMU */
};

/* ---- paging (syspage.c, batch.c, move.c) ---- */

struct vmm_buffer {
    struct vmm_packet packet;
    struct vidmm_paging_buffer kmd;
    bool busy;                 /* submitted and not completed */
};

/* The operation that is on its way into a buffer, when it is not the mover's: once begun, it is finished. */
struct vmm_emission {
    struct vidmm_op op;
    struct vidmm_pte_run run[VMM_RUNS]; /* of an UPDATE_PAGE_TABLE */
    uint64_t multipass;
    bool active;
};

/* What a scratch window of the paging process shows: bytes of an allocation at a place. */
struct vmm_window { /* al NULL: nothing */
    struct vmm_alloc *al;
    uint32_t segment, gpu;     /* whose segment */
    uint64_t offset, bytes, driver_protection;
};

/* Where the paging process finds a table that is written next. */
struct vmm_slot { struct vmm_table *table; uint64_t va; };

/* One allocation on its way. There is at most one: the mover is serial. */
struct vmm_move {
    struct vmm_alloc *al;      /* NULL: idle */
    uint64_t done, chunk;      /* bytes moved; bytes of the chunk in flight */
    uint64_t wait_seq, multipass;
    struct vmm_waits peers;    /* flushes of the other gpus that showed it */
    uint8_t phase;             /* MOVE_* of move.c */
    uint8_t to;                /* target segment, 0 = home */
    uint8_t gpu;               /* whose memory: of what is mirrored, the copy that is made now */
    bool live;                 /* resident at the target */
    uint64_t since;            /* when it began */
    bool copy, fill;           /* how the bytes get there; neither: they are there, or */
    bool drop;                 /* not needed any more */
    bool op_ready;
    uint8_t emitted;           /* of the chunk: 1 the unmap, 2 the transfer, 3 the map */
    struct vidmm_op op;
};

/* What is displayed (display.c). */
struct vmm_display {
    struct vidmm_open *wanted, *coming, *shown, *leaving;
    uint64_t wait_seq, multipass;
    uint8_t phase;             /* DISPLAY_* of display.c */
};

/* The machine of one gpu. Those of a link have one lead, GPU 0's, which owns what is logical: processes and
 * all they have, ids and sequence numbers, and the lists that say so. A gpu without a link leads itself. */
struct vidmm_adapter {
    struct vidmm_adapter *lead;
    struct vidmm_adapter *link[VIDMM_GPUS_MAX]; /* of the lead: every gpu by its index, itself first */
    uint32_t gpu, gpu_count;   /* index in the link; of the lead: how many there are */
    const struct vidmm_domain *domain; /* of the lead: NULL: the gpus reach all system memory */
    uint64_t logical_end;      /* of the lead: logical pages are below it, so that every gpu reaches them */
    bool attaching, attached;  /* of the lead: the domain; attaching: no engine gets anything new */
    uint64_t attaching_since;
    bool removed;              /* of the lead: every gpu is lost, nothing can be made any more */
    const struct vidmm_platform *platform;
    const struct vidmm_kmd_ops *ops;
    void *kmd;
    struct base_memory memory;
    struct vidmm_adapter_info info;
    struct vidmm_counters *counters, own_counters;
    enum vmm_row broken;
    bool sealed;               /* inside vidmm_run: nothing may be allocated (inv. 16) */
    bool lost;                 /* this gpu is gone for good: every device that used it is in error */
    bool silent;               /* the hardware must not be touched: removed, or in the middle of a reset */
    _Atomic bool removal;      /* reported by the driver */
    uint64_t tdr_delay, tdr_window, slice; /* ns */
    uint32_t tdr_limit, tdr_level;
    struct vmm_history engine_resets, adapter_resets;
    bool started;              /* the driver was started and must be stopped */
    uint64_t now;
    uint64_t next_id, next_seq, next_mark; /* of the lead */
    uint32_t shift[VIDMM_LEVELS_MAX + 1]; /* address bits below an entry of each level */
    struct vmm_segment segment[VIDMM_SEGMENTS_MAX + 1];
    uint32_t segment_count;    /* driver segments */
    uint64_t budget;           /* bytes of the application segments */
    struct vmm_node node[VIDMM_NODES_MAX];
    _Atomic uint32_t fence_poke;
    struct list driver_memory; /* that the driver asked for (drivermem.c) */
    struct vidmm_frame_range firmware[VMM_FIRMWARE_MAX]; /* mapped in the domain, for its life */
    uint32_t firmware_count;
    struct vidmm_frame_range save; /* frames kept in hand for the content of memory segments */
    struct list allocs;
    struct list processes, dying_opens, lingering; /* of the lead */
    struct list offering;      /* of the lead: offers that are not in effect yet, oldest first */
    struct list waiters;       /* of the lead: waits for mutexes and semaphores, longest first */
    struct list hwcontexts;    /* of all devices, oldest first */
    struct list doorbells;     /* connected */
    uint32_t doorbell_count;   /* of them */
    struct list active[3];     /* queues with requests, by priority */
    struct list companions;    /* with queued updates; the one served last at the end */
    uint32_t aperture;         /* segment id, when somebody uses it; else 0 */
    uint32_t aperture_pages;   /* 4 KiB pages that it may map */
    uint64_t place_seq;        /* placements so far: a buffer patched before a newer one is patched again */
    struct vmm_frames dummy;   /* what unmapped aperture pages show */
    struct list in_aperture;   /* allocations that hold a range there, by address */
    /* paging process */
    struct vmm_space paging;
    void *paging_context;
    uint64_t paging_root_set;
    struct vmm_frames buffers; /* memory of the paging buffers */
    struct vmm_buffer buffer[VMM_BUFFERS];
    uint32_t buffer_open;      /* index of the buffer under construction */
    struct vmm_emission emission;
    struct vmm_window window[VMM_TABLES_WINDOW];
    struct vmm_slot slot[VMM_SLOTS]; /* of the tables window, by address; of the open batch */
    uint32_t slot_count;
    /* The companion whose packets write entries now. Paging buffers wait for it: two engines could not order
     * what they write. */
    struct vmm_companion *updating;
    struct vmm_packet updating_packet;
    uint64_t updating_after;   /* newest batch before it */
    bool updating_more, updating_runs; /* packets are yet to be built; one is on its way */
    struct vidmm_copy_range copy;      /* of the operation in `updating_op` */
    struct vmm_emission updating_op;
    bool batch_open;           /* operations were appended since the last batch, if only without bytes */
    uint64_t batch_next, batch_done; /* seq of the open batch; newest completed one */
    struct list flush_spaces, limbo;
    struct slab leaves;        /* struct vmm_table of level 0 */
    struct vmm_move move;
    struct vmm_alloc *push_next; /* what a mover of another gpu wants to go before anything else moves */
    struct vmm_display display;
    uint64_t missing;          /* of the lead: sum of device.missing */
    uint32_t lock_waiters;     /* allocations that were locked while a memory segment had the bytes */
    bool room;                 /* pages were released since the last look for promotions */
};

#endif
