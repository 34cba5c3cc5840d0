/* SPDX-License-Identifier: MIT */
/* fixture.h - one adapter on the ref driver in a simulated world, and clients that use it.
 * Everything happens in one thread; nothing is random but the order of turns, which a seed decides.
 * Expectations that do not hold end the case (cmocka). */
#ifndef MODEL_FIXTURE_H
#define MODEL_FIXTURE_H

#include <string.h>

#include "vt.h"

#include <vidmm/vidmm.h>

#include "sim/domain.h"
#include "sim/osmm.h"
#include "sim/world.h"
#include "softgpu/iommu.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"
#include "softgpu/ref/ref_commands.h"
#include "tap.h"

#define FX_PROCESSES_MAX 16u
#define FX_TURNS 2000000u
#define FX_COMMAND_BYTES 65536u
#define PAGE VIDMM_PAGE_SIZE
#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

/* Segment sets of the default layout. */
enum { SET_64K = 1u << 0, SET_4K = 1u << 1, SET_SYSTEM = 1u << 2 };

struct fx_options {
    struct ref_options ref;
    uint64_t seed, frames;
    void (*edit_info)(struct vidmm_adapter_info *);
    void (*edit_ops)(struct vidmm_kmd_ops *, uint32_t gpu); /* the tap's, before bring-up */
    bool timeouts;          /* packets and suspensions time out after the default delay; else never */
    uint32_t tdr_limit;     /* timeouts and resets that are too many; 0: the default */
    bool may_refuse;        /* fixture_open gives the status instead of failing */
    struct ref_options peer[VIDMM_GPUS_MAX - 1]; /* of a link: its other gpus */
    uint32_t peer_count;
    bool machine_iommu;     /* the world has a translation unit and an OS with processes */
    enum { FX_NO_DOMAIN, FX_ISOLATION, FX_REMAPPING } domain;
    uint64_t firmware, firmware_end; /* frames that the domain's memory manager does not own */
    uint32_t levels, os_defects, unit_defects; /* of them */
};

/* Another gpu of a link. */
struct fx_peer { struct ref_kmd *ref; struct softgpu *gpu; struct tap tap; bool paging_held; };

struct fixture {
    struct world *world;
    struct ref_kmd *ref;
    struct softgpu *gpu;
    struct tap tap;
    struct vidmm_adapter *ad;
    const char *why;
    enum ref_format format;
    struct vidmm_process *process[FX_PROCESSES_MAX];
    struct osmm_process *os_process[FX_PROCESSES_MAX]; /* of each, with machine_iommu */
    uint32_t process_count;
    struct fx_peer peer[VIDMM_GPUS_MAX - 1];
    uint32_t peer_count;
    struct softgpu_iommu *unit;
    struct osmm *os;
    struct sim_domain *domain;       /* with options.domain */
    uint64_t expect_domain_faults;   /* accesses that the domain stopped, which the case wanted */
    bool expect_violations; /* fixture_close does not insist on a clean detector */
};

/* Segment 1: 64 KB pages, 16 MiB; 2: 4 KB pages, 4 MiB, tables; 3: the aperture. */
void fx_options(struct fx_options *, enum ref_format);
vidmm_status fx_open(struct fixture *, const struct fx_options *);
void fx_open_format(struct fixture *, enum ref_format);
void fx_add_peer(struct fx_options *, enum ref_format); /* one gpu more, of the same memory */
void fx_hold_paging(struct fixture *, uint32_t gpu, bool held); /* of a peer: its paging node stands still */
/* Ends every process, lets everything finish, and insists: nothing leaked, nothing stale was used. */
void fx_close(struct fixture *);
void fx_drop(struct fixture *); /* ends the world of an adapter that was damaged on purpose */
void fx_settle(struct fixture *);
void fx_verify(struct fixture *); /* vidmm_verify is 0, or the case fails with its sentence */
struct softgpu_knobs fx_knobs(struct fixture *);
void fx_set_knobs(struct fixture *, const struct softgpu_knobs *);
struct vidmm_process *fx_process(struct fixture *);
void fx_forget(struct fixture *, struct vidmm_process *); /* the case destroys it itself */

/* ---- a client: one device with a paging queue, a compute context and a command buffer ------------- */

struct client {
    struct fixture *fx;
    struct vidmm_process *process;
    struct osmm_process *os;         /* with machine_iommu */
    struct vidmm_device *device;
    struct vidmm_queue *queue;
    struct vidmm_context *context;
    struct vidmm_fence *fence;       /* signalled behind each packet */
    uint64_t issued;
    struct vidmm_open *buffer;       /* commands, and behind them results: system memory, always locked */
    uint64_t buffer_va;
    uint8_t *buffer_cpu;
    uint64_t used;                   /* bytes of commands handed out */
};

void client_open(struct client *, struct fixture *, struct vidmm_process *); /* process NULL: a new one */
/* The same, when the contexts shall use the addresses of the process; its buffer is named by its pointer. */
void client_open_shared(struct client *, struct fixture *, struct vidmm_process *);
struct vidmm_context *client_context_shared(struct client *, uint32_t node);
void *client_host(struct client *, const struct vidmm_open *); /* where the test sees an allocation at home */
struct vidmm_context *client_context(struct client *, uint32_t node);

struct fx_alloc { uint64_t bytes; uint32_t set, preferred, alignment, flags, priority, gpu; bool primary; };
struct vidmm_open *client_alloc(struct client *, const struct fx_alloc *);
vidmm_status client_try_alloc(struct client *, const struct fx_alloc *, struct vidmm_open **);
/* Maps and waits; fails the case if it is refused. bytes 0: all of it from offset on. */
uint64_t client_map(struct client *, struct vidmm_open *, uint64_t base, uint64_t offset, uint64_t bytes,
                    uint64_t protection);
vidmm_status client_try_map(struct client *, const struct vidmm_map *, uint64_t *va);
void client_resident(struct client *, struct vidmm_open *);
void client_evict(struct client *, struct vidmm_open *);
/* All at once: created, resident, mapped anywhere for writing. */
struct vidmm_open *client_memory(struct client *, uint64_t bytes, uint32_t set, uint64_t *va);
void client_wait(struct client *, struct vidmm_fence *, uint64_t value); /* turns until it is reached */
vidmm_status client_reserve(struct client *, uint64_t base, uint64_t bytes);
bool client_range_free(struct client *, uint64_t base, uint64_t bytes); /* by reserving and freeing it */

/* Puts words into the command buffer (END is added); gives their address. */
uint64_t client_commands(struct client *, const uint64_t *words, uint32_t n, uint32_t *bytes);
vidmm_status client_submit_on(struct client *, struct vidmm_context *, const uint64_t *words, uint32_t n);
/* Submits on the context, signals the fence behind it, turns until it is reached. true: the device lives. */
bool client_run_on(struct client *, struct vidmm_context *, const uint64_t *words, uint32_t n);
bool client_run(struct client *, const uint64_t *words, uint32_t n);
/* One access by the GPU; the case fails if it faults. */
void gpu_fill(struct client *, uint64_t va, uint32_t pattern, uint64_t bytes);
void gpu_copy(struct client *, uint64_t dst, uint64_t src, uint64_t bytes);
uint64_t gpu_sum(struct client *, uint64_t va, uint64_t bytes);
uint32_t gpu_read(struct client *, uint64_t va);
uint32_t gpu_read_on(struct client *, struct vidmm_context *, uint64_t va);
/* The same, when it is expected to end the device by a page fault at exactly va. */
void gpu_read_faults(struct client *, uint64_t va);
void gpu_write_faults(struct client *, uint64_t va);
uint64_t sum_of_pattern(uint32_t pattern, uint64_t bytes); /* what gpu_sum gives after gpu_fill */

#endif
