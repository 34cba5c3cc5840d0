/* SPDX-License-Identifier: MIT */
/* core_fixture.h - the core over the ref driver in stepping mode, one thread, with every driver call
 * recorded.
 * Owns: a platform that counts what it hands out, the ref GPU, the adapter, one process, device, queue,
 * compute context and a command buffer. Calls: the public API, ref, softgpu. */
#ifndef TESTS_UNIT_CORE_FIXTURE_H
#define TESTS_UNIT_CORE_FIXTURE_H

#include <vidmm/vidmm.h>

#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"
#include "softgpu/ref/ref_commands.h"
#include "vt.h"

#define PAGE 4096ull
#define KIB 1024ull
#define MIB (1024ull * KIB)

/* Segment sets of ref_options_default: 64 KB memory, 4 KB memory, the aperture (system memory). */
enum { SEG1 = 1, SEG2 = 2, SYS = 4 };

/* ---- the record -------------------------------------------------------------------------------- */

enum event_kind {
    EV_CREATE_PROCESS, EV_DESTROY_PROCESS, EV_CREATE_CONTEXT, EV_DESTROY_CONTEXT, EV_CREATE_ALLOC,
    EV_DESTROY_ALLOC, EV_ROOT_SIZE, EV_SET_ROOT, EV_UPDATE, EV_ATTR, EV_BUILD, EV_SUBMIT, EV_RESET,
    EV_PREEMPT, EV_STOP_ALL, EV_RESTART_ALL, EV_REMOVAL, EV_CANCEL,
    EV_RENDER, EV_PATCH, EV_SUBMIT_PHYSICAL
};

struct event {
    enum event_kind kind;
    vidmm_status status;
    void *object;                     /* process, context or allocation */
    bool system;                      /* of the paging process, or of a companion */
    void *process;                    /* of a context */
    struct vidmm_update_page_table update; /* its runs: record.run from first_run on */
    uint32_t first_run;
    struct vidmm_pte_kind attr;
    struct vidmm_op op;
    uint64_t multipass_in, multipass_out;
    uint64_t buffer_va;
    uint32_t buffer_used_in, buffer_used_out;
    struct vidmm_kmd_submit submit;
    struct vidmm_gpu_address root;
    uint32_t entries, entries_in;
    uint64_t root_bytes;
    struct vidmm_reference first;     /* of the list of a render or patch */
    uint32_t list_count, patch_count, bytes;
    uint32_t private_bytes, private_used; /* of the DMA buffer; how many were not 0: all 0xee afterwards */
    uint64_t frame;                   /* of the DMA buffer */
    uint64_t word[8];                 /* its first words, when it was submitted */
    uint64_t fence_value;             /* of the fixture's queue when the call came */
};

struct record {
    struct event *event;
    struct vidmm_pte_run *run;
    uint32_t count, max, run_count, run_max;
};

/* What a test may change in the driver's answers. NULL and 0: nothing. */
struct hooks {
    void (*info)(struct vidmm_adapter_info *);
    void (*alloc)(struct vidmm_kmd_allocation *); /* what create_allocation answered */
    void (*ops)(struct vidmm_kmd_ops *);          /* the table itself, before bring-up */
    bool swallow_flushes;             /* FLUSH_TLB is done without a byte in the buffer */
    bool full_flushes;                /* FLUSH_TLB: BUFFER_FULL whenever the buffer holds something */
    uint32_t full_with_progress;      /* the next n builds of transfers or fills stop halfway */
    void (*context)(struct vidmm_kmd_context *);  /* what create_context answered */
    vidmm_status fail_render, fail_patch; /* of the next render; of every patch */
    vidmm_status fail_submit;         /* of the next packet that is not paging */
    void *refused_context;            /* of which every submission fails */
    enum vidmm_op_code fail_build;    /* of such operations */
    enum vidmm_op_code full_build;    /* the next n of such operations: BUFFER_FULL, with nothing done */
    uint32_t full_count;
    vidmm_status fail_stop_all, fail_restart_all; /* what reset_ and restart_from_timeout answer */
    uint64_t last_aborted;            /* what reset_engine says was cut short, if not 0 */
    uint32_t context_flags_seen;
    uint32_t companion_node;          /* + 1: what create_context names; 0: the driver's own choice */
};

/* ---- the fixture ------------------------------------------------------------------------------- */

struct world {                        /* the platform */
    uint8_t **frame;                  /* host address by frame, NULL: not in use */
    uint64_t next_frame, live_frames, frames_max;
    uint64_t live_bytes;
    uint64_t fail_in;                 /* the n-th allocation of bookkeeping or frames fails; 0: none */
    bool refuses;                     /* all of them fail */
    uint64_t asked;                   /* requests for memory so far */
    uint64_t pokes;
};

struct fx {
    struct world world;
    struct vidmm_platform platform;
    const struct vidmm_domain *domain; /* of the test; NULL: none */
    struct ref_options opt;
    struct ref_kmd *ref;
    struct hooks hooks;
    struct { uint64_t delay_ns, limit_ns, slice_ns; uint32_t limit_count, level; } tdr; /* of the config */
    struct vidmm_kmd_ops ops;
    struct record log;
    struct vidmm_counters count;
    struct vidmm_adapter *ad;
    struct vidmm_process *p;
    struct vidmm_device *d;
    struct vidmm_queue *q;
    struct vidmm_context *c;
    struct vidmm_open *cmd;           /* the command buffer, mapped at cmd_va, locked at cmd_cpu */
    uint64_t cmd_va;
    uint64_t *cmd_cpu;
    uint32_t cmd_used;                /* words */
    uint64_t now;
    bool no_verify;                   /* fx_run leaves vidmm_verify out */
    bool violations_allowed;
};

/* Options only; a test may change them before fx_start. */
void fx_init(struct fx *, enum ref_format);
/* Adapter, process, device, queue, context, command buffer. */
void fx_start(struct fx *);
/* The adapter alone. */
vidmm_status fx_start_adapter(struct fx *, const char **why);
/* fx_init, fx_start. */
void fx_open(struct fx *, enum ref_format);
/* Destroys everything and sees that nothing is left over anywhere. */
void fx_close(struct fx *);
/* Destroys the fixture's process with all it holds and runs: false when it does not go away. */
bool fx_destroy_process(struct fx *, struct vidmm_process *);

/* Runs core and engines until nothing moves; then verifies. */
void fx_run(struct fx *);
void fx_run_core(struct fx *);       /* the core only: what was submitted stays where it is */
void fx_run_node(struct fx *, uint32_t node); /* one engine only, until it rests */

/* ---- shorthands: each expects success ----------------------------------------------------------- */

struct vidmm_open *fx_alloc(struct vidmm_device *, uint64_t bytes, uint32_t supported, uint32_t preferred);
struct vidmm_open *fx_alloc_priority(struct vidmm_device *, uint64_t bytes, uint32_t supported,
                                     uint32_t preferred, uint32_t priority);
vidmm_status fx_try_alloc(struct vidmm_device *, const struct ref_alloc_private *, struct vidmm_open **);
/* Write access, VidMm's choice of address when base is 0. */
uint64_t fx_map(struct vidmm_queue *, struct vidmm_open *, uint64_t base, uint64_t offset, uint64_t bytes);
uint64_t fx_map_all(struct vidmm_queue *, struct vidmm_open *);
vidmm_status fx_try_map(struct vidmm_queue *, const struct vidmm_map *, uint64_t *va);
void fx_resident(struct vidmm_queue *, struct vidmm_open *);
void fx_evict(struct vidmm_device *, struct vidmm_open *, uint32_t flags);
uint64_t fx_reserve(struct fx *, uint64_t base, uint64_t bytes);
struct vidmm_placement_info fx_place(const struct vidmm_open *);
uint64_t fx_done(struct vidmm_queue *); /* value of its fence */
bool fx_queue_done(struct vidmm_queue *);

/* Words of the packet under construction; fx_submit hands it over and starts the next. */
uint64_t *fx_words(struct fx *, uint32_t n);
void fx_submit(struct fx *, struct vidmm_context *);
void fx_fill(struct fx *, struct vidmm_context *, uint64_t va, uint32_t pattern, uint64_t bytes);
/* runs until then */
void fx_wait_packet(struct fx *, struct vidmm_context *, uint64_t fence_va, uint64_t value);
/* The word at va as the GPU reads it, through the fixture's context. */
uint64_t fx_gpu_read(struct fx *, uint64_t va);

/* A second device of a process, with a queue and a context on the compute node. */
struct peer { struct vidmm_device *d; struct vidmm_queue *q; struct vidmm_context *c; };
struct peer fx_peer(struct vidmm_process *);

/* ---- reading the record ------------------------------------------------------------------------- */

void fx_forget(struct fx *);          /* empties the record */
uint32_t fx_count(const struct fx *, enum event_kind);
/* Next event of a kind from `at` on; NULL: none. */
const struct event *fx_next(const struct fx *, enum event_kind, uint32_t *at);
uint32_t fx_index(const struct fx *, const struct event *);
const struct event *fx_next_op(const struct fx *, enum vidmm_op_code, uint32_t *at); /* successful builds */
uint32_t fx_count_ops(const struct fx *, enum vidmm_op_code);
static inline bool attr_valid(uint64_t attr) { return (attr & 1) != 0; } /* both formats of ref */
static inline bool attr_zero(uint64_t attr) { return (attr & 2) != 0; }
static inline bool attr_read_only(uint64_t attr) { return (attr & 4) != 0; }
static inline bool attr_no_execute(uint64_t attr) { return (attr & 8) != 0; }

/* Runs fn in a child process: 0 when it came back, else the signal that ended it (-1: it exited). */
int fx_in_child(void (*fn)(void));

#endif
