/* SPDX-License-Identifier: MIT */
/* core.h — what the files of the core offer each other, by file. Calls go down this page's order from
 * services (top) to mechanisms (bottom); going up happens through state that vidmm_run looks at. */
#ifndef VMM_CORE_H
#define VMM_CORE_H

#include "base/bytes.h"
#include "core/obj.h"

enum vmm_emit { EMIT_DONE, EMIT_WAIT }; /* of batch.c */

/* The gpus of the link that an adapter belongs to; the app spaces of a process, one for each of them. */
#define LINK_FOREACH(g, of) \
    for (struct vidmm_adapter *const *g##_at = (of)->lead->link, *g; \
         g##_at < (of)->lead->link + (of)->lead->gpu_count && (g = *g##_at, true); g##_at++)
#define SPACE_FOREACH(sp, p) \
    for (struct vmm_space *const *sp##_at = (p)->on, *sp; \
         sp##_at < (p)->on + (p)->ad->gpu_count && (sp = *sp##_at, true); sp##_at++)

/* The gpus of the IoMmu model alone have no tables of the process. */
static inline bool vmm_has_tables(const struct vidmm_process *p)
{
    SPACE_FOREACH(sp, p) {
        if (sp->tables.root != NULL) return true;
    }
    return false;
}

/* All instances of what the client calls an open. */
#define INSTANCE_FOREACH(i, op) for (struct vidmm_open *i = (op); i != NULL; i = i->next)

/* link.c */
const char *vmm_link_check(const struct vidmm_adapter *); /* does it fit its lead? NULL */
void vmm_waits_add(struct vmm_waits *, const struct vmm_space *);        /* for what the space owes now */
void vmm_waits_process(struct vmm_waits *, const struct vidmm_process *); /* for what all its spaces owe */
/* Until no other gpu can reach the bytes any more. */
void vmm_waits_peers(struct vmm_waits *, const struct vmm_alloc *);
/* The gpu of a one-bit mask (0: GPU 0), as EngineAffinity has it; NULL: there is no such one. */
struct vidmm_adapter *vmm_link_engine(const struct vidmm_adapter *lead, uint32_t affinity);
uint32_t vmm_link_sched_flags(const struct vidmm_adapter *lead); /* vidmm_sched_flags that any gpu has */
bool vmm_device_uses(const struct vidmm_device *, const struct vidmm_adapter *); /* has something there */
bool vmm_waits_passed(const struct vidmm_adapter *, const struct vmm_waits *);

/* adapter.c: memory. vmm_new gives zeroed memory or NULL, never while sealed (inv. 16). */
void *vmm_new(struct vidmm_adapter *, size_t bytes);
void vmm_delete(struct vidmm_adapter *, void *p, size_t bytes);

/* domain.c: what the GPU reaches of system memory */
const char *vmm_domain_check(const struct vidmm_adapter *); /* what is wrong with the description; NULL */
void vmm_domain_start(struct vidmm_adapter *); /* before its driver is: remapping is in force from now on */
bool vmm_domain_step(struct vidmm_adapter *);  /* attaches it when that was asked for and nothing runs */
/* Zeroed system memory that is reached while it exists. VIDMM_NO_MEMORY. give: frame 0 is nothing. */
vidmm_status vmm_frames_take(struct vidmm_adapter *, uint64_t pages, struct vmm_frames *);
void vmm_frames_give(struct vidmm_adapter *, struct vmm_frames *);
/* The first frame behind a mapped range of logical pages. */
uint64_t vmm_logical_frame(const struct vidmm_adapter *, uint64_t page, uint64_t pages);
/* The home of an allocation: logical pages for it, mapped while the GPU may reach it. */
vidmm_status vmm_domain_reserve(struct vmm_alloc *);
void vmm_domain_release(struct vmm_alloc *);
void vmm_domain_update(struct vmm_alloc *); /* its place has changed, or what moves it */
/* What is to be mapped, added up by whoever knows of it. */
struct vmm_tally { const struct vidmm_domain *domain; uint64_t pages; bool wrong; };
void vmm_tally_frames(struct vmm_tally *, const struct vmm_frames *);
const char *vmm_domain_wrong(struct vidmm_adapter *); /* inv. 27; NULL: it holds */

/* drivermem.c: system memory of drivers and firmware */
vidmm_status vmm_driver_memory_init(struct vidmm_adapter *, const char **why); /* before it is started */
void vmm_driver_memory_fini(struct vidmm_adapter *);
void vmm_driver_memory_expect(const struct vidmm_adapter *, struct vmm_tally *);

/* process.c, device.c */
bool vmm_process_step(struct vidmm_process *);
bool vmm_device_step(struct vidmm_device *);
bool vmm_device_runnable(const struct vidmm_device *);
bool vmm_device_has_work(const struct vidmm_device *);
void vmm_device_fail(struct vidmm_device *, enum vidmm_device_state, const struct vidmm_page_fault *);
void vmm_device_release_waiters(struct vidmm_device *); /* its fences go to the maximum */

/* iommu.c */
const char *vmm_iommu_check(const struct vidmm_adapter *); /* what is wrong with the description; NULL */
bool vmm_iommu_supported(const struct vidmm_adapter *); /* by any gpu of the link */
vidmm_status vmm_iommu_bind(struct vidmm_process *, void *os_process);
bool vmm_iommu_unbind(struct vidmm_process *);  /* false: to be called again */
/* Where the OS process sees frames; 0 is no address. unmap true: no access reaches them any more. */
vidmm_status vmm_iommu_map(struct vidmm_process *, uint64_t frame, uint64_t pages, bool writable,
                           uint64_t *address);
bool vmm_iommu_unmap(struct vidmm_process *, uint64_t address);
vidmm_status vmm_iommu_narrow(const struct vidmm_device *, struct vidmm_kmd_allocation *); /* home only */
/* For every open that is made, whoever makes it: its address in the device's process. Nothing has changed if
 * that fails. close is called when nothing of the device uses it any more; false: to be called again. */
vidmm_status vmm_iommu_open(struct vidmm_open *, struct vmm_alloc *);
bool vmm_iommu_close(struct vidmm_open *);
bool vmm_iommu_may_start(const struct vidmm_device *); /* what it requires is where its pointers show */
void vmm_iommu_resident(struct vidmm_open *, bool resident);
enum vidmm_model vmm_model_of_adapter(const struct vidmm_adapter *);
/* For a new context there. */
vidmm_status vmm_model_check(const struct vidmm_device *, const struct vidmm_node_desc *, bool iommu);
void vmm_model_take(struct vidmm_device *, bool iommu);

/* reset.c */
void vmm_adapter_reset(struct vidmm_adapter *, struct vidmm_device *culprit, enum vidmm_device_state,
                       const struct vidmm_page_fault *);
void vmm_adapter_remove(struct vidmm_adapter *); /* gone for good: also after a driver's error */

/* turns.c */
struct vidmm_context *vmm_turn_pick(struct vmm_node *); /* who goes next; NULL: nobody can */
void vmm_turn_taken(struct vidmm_context *, struct vmm_packet *);
bool vmm_turns_step(struct vidmm_adapter *);
uint64_t vmm_turns_deadline(const struct vidmm_adapter *);

/* tdr.c */
bool vmm_node_ask(struct vidmm_adapter *, uint32_t node, uint64_t blamed); /* to stop; blamed 0: nobody */
bool vmm_tdr_step(struct vidmm_adapter *);
uint64_t vmm_tdr_deadline(const struct vidmm_adapter *);
void vmm_tdr_preempted(struct vidmm_adapter *, uint32_t node); /* the answer has come */
void vmm_engine_recover(struct vidmm_adapter *, uint32_t node, const struct vidmm_page_fault *);
void vmm_tdr_hw(struct vidmm_hwcontext *); /* it stands still, or does not suspend: its engine is reset */
bool vmm_history_over(struct vmm_history *, uint64_t now, uint64_t window, uint32_t limit);

/* open.c: `make` prepares an open, also with the driver; `link` makes it one of the device's. */
vidmm_status vmm_open_make(struct vidmm_device *, struct vmm_alloc *, uint32_t kmd_flags,
                           struct vidmm_open **);
void vmm_open_link(struct vidmm_open *);
void vmm_open_unmake(struct vidmm_open *);
bool vmm_open_last(const struct vidmm_open *); /* the allocation ends with it */

/* alloc.c */
void vmm_open_close(struct vidmm_open *, uint32_t flags); /* one instance */
bool vmm_open_step(struct vidmm_open *);
bool vmm_alloc_required(const struct vmm_alloc *);
bool vmm_alloc_wanted(const struct vmm_alloc *);
uint64_t vmm_alloc_bytes(const struct vmm_alloc *);

/* va.c: executes an accepted map request. Sets r->waits. false: must wait (root, idle contexts). */
bool vmm_map_execute(struct vmm_request *);
void vmm_map_drop(struct vmm_request *); /* gives back what an unexecuted or executed map still holds */
void vmm_map_cancel(
    struct vmm_request *); /* never to be executed: its own claim goes, where nothing is bound */
void vmm_claims_release(struct vmm_space *, struct range); /* MAP pages nobody else has or waits for: free */
bool vmm_claims_reserve(struct vmm_space *); /* room for what later cuts need; false: no memory */

struct range vmm_map_piece(const struct vmm_request *, uint64_t at); /* not taken by a free; or empty */
/* Q29: the offset selects the instance, and becomes one in it; beyond it is beyond the end. */
void vmm_choose_instance(const struct vidmm_adapter *, struct vidmm_open **, uint64_t *offset);
/* Unique driver protection: another address shows the pages with another value, or is going to. */
bool vmm_map_conflicts(const struct vmm_space *, const struct vidmm_map *, struct range at);
vidmm_status vmm_map_take_tables(struct vmm_space *, struct vmm_request *);
bool vmm_map_add_spares(struct vidmm_adapter *, struct list *); /* two bindings */
bool vmm_map_root_ready(struct vmm_space *, struct vmm_request *); /* no root has to grow first */
void vmm_map_pend(struct vmm_request *);       /* accepted: frees and conflicts see it from now on */
void vmm_map_unpend(struct vmm_request *);
struct vmm_binding *vmm_map_take_spare(struct vmm_request *);

/* privileged.c: the second address space of processes that use tile resources */
vidmm_status vmm_privileged_make(struct vidmm_process *); /* on each gpu; needs: there is none yet */
void vmm_privileged_free(struct vidmm_process *);         /* also when there is none */
/* The root table of the space on a gpu; needs: there is none yet. Close takes it back; nothing is mapped. */
vidmm_status vmm_privileged_open(struct vidmm_process *, uint32_t gpu);
void vmm_privileged_close(struct vidmm_process *, uint32_t gpu);
static inline struct vmm_space *vmm_privileged_of(struct vidmm_process *p, uint32_t gpu)
{
    return &p->privileged[gpu].space;
}
static inline bool vmm_is_privileged(const struct vmm_space *sp)
{
    return sp->proc != NULL && sp == &sp->proc->privileged[sp->ad->gpu].space;
}
/* GPU_VIRTUAL: leaf tables of the process show themselves there (TIL-11). */
const char *vmm_privileged_check(const struct vidmm_adapter_info *); /* is there room for that? NULL */
bool vmm_privileged_show(struct vmm_space *of, uint64_t va);  /* room for the leaf at va; false: no memory */
void vmm_privileged_leaf(struct vmm_space *of, uint64_t va, bool gone); /* the leaf at va is new, or gone */
uint64_t vmm_privileged_table_va(const struct vmm_space *of, uint64_t va); /* where; 0: not shown */
/* As vmm_bind_derive, for where tables are shown. false: nothing is shown at va. */
bool vmm_privileged_derive(struct vmm_space *, uint64_t va, uint64_t *end, struct vidmm_pte_run *);
bool vmm_privileged_shows(const struct vmm_space *, uint64_t va); /* are tables shown around va? */
vidmm_status vmm_pool_map(struct vidmm_open *, uint32_t gpu); /* shown from now on, wherever it moves */
void vmm_pool_unmap(struct vidmm_open *, uint32_t gpu);

/* companion.c: tile updates from acceptance to signal */
vidmm_status vmm_companion_make(struct vidmm_context *);  /* VIDMM_OK when it is there already */
void vmm_companion_free(struct vidmm_context *);
void vmm_companion_push(struct vidmm_context *, struct vmm_update *); /* at once if nothing is ahead */
void vmm_companion_cancel(struct vidmm_context *);        /* what was queued never happens */
void vmm_update_free(struct vidmm_adapter *, struct vmm_update *);
void vmm_updates_forget(struct vidmm_open *);             /* is destroyed: parts that name it become no-ops */
bool vmm_companions_step(struct vidmm_adapter *);

/* tilepacket.c: what writes the entries of an update where the GPU writes tables: packets of the companion */
bool vmm_tile_packets(const struct vidmm_adapter *); /* else the paging process writes them */
bool vmm_tile_packets_begin(struct vmm_companion *);     /* true: for what its space owes from now on */
void vmm_tile_packets_round(struct vidmm_adapter *);     /* before the companions are asked */
bool vmm_tile_packets_step(struct vmm_companion *);      /* false: not all have completed */
bool vmm_tile_packets_enough(struct vmm_companion *);    /* its update ends; true: when its packet has */
void vmm_tile_packet_done(struct vidmm_adapter *); /* or lost: its device is, or will be, in error */

/* resid.c */
bool vmm_resident_execute(struct vmm_request *);
bool vmm_tables_may_grow(struct vidmm_adapter *, struct vmm_segment *, uint32_t pages);
void vmm_resident_release(struct vidmm_open *); /* a pin goes */
void vmm_required_drop(struct vidmm_open *);   /* count to 0, off the list */
bool vmm_lingering_step(struct vidmm_adapter *);
void vmm_required_offer(struct vidmm_open *, bool offered); /* on the list it counts as needed, or not */
/* On its device's list and not offered: the device waits for it. */
static inline bool vmm_open_needed(const struct vidmm_open *op)
{
    return list_is_linked(&op->on_required) && !op->offered;
}
uint64_t vmm_over_budget(const struct vidmm_process *, uint64_t extra); /* bytes, with that much more */
/* Does it stay resident, at home, when it leaves its segment? Physically accessed: takes aperture pages. */
bool vmm_resid_stays(struct vmm_alloc *);
bool vmm_resid_may_stop(const struct vmm_alloc *, const struct vidmm_device *); /* the age rule */
/* The same, but the device may have it on its own list. */
bool vmm_resid_others_may_stop(const struct vmm_alloc *, const struct vidmm_device *);
void vmm_missing_add(struct vidmm_device *, int by);     /* keeps the adapter's sum and the device's age */
bool vmm_device_fill(struct vidmm_device *);   /* places what needs no transfer; true: nothing missing */
bool vmm_mover_step(struct vidmm_adapter *);

/* offer.c */
bool vmm_offers_step(struct vidmm_adapter *);
uint32_t vmm_offer_class(const struct vmm_alloc *); /* vidmm_offer_priority; 0: its content must be kept */
void vmm_offer_drop(struct vidmm_adapter *, struct vmm_alloc *); /* needs: a class */

/* trim.c */
void vmm_trim_pressure(struct vidmm_adapter *); /* memory is short: who is over its budget is told */

/* request.c */
struct vmm_request *vmm_request_new(struct vidmm_queue *, enum vmm_request_kind);
void vmm_request_free(struct vmm_request *);
uint64_t vmm_request_enqueue(struct vmm_request *); /* or executes inline: returns 0 then */
bool vmm_queues_step(struct vidmm_adapter *);
void vmm_queue_cancel(struct vidmm_queue *);
bool vmm_queue_step_dying(struct vidmm_queue *);
uint64_t vmm_queues_deadline(struct vidmm_adapter *);

/* sched.c */
bool vmm_sched_step(struct vidmm_adapter *);
void vmm_packet_push(struct vidmm_adapter *, uint32_t node, struct vmm_packet *); /* paging: to the front */
void vmm_context_cancel(struct vidmm_context *);
bool vmm_context_step_dying(struct vidmm_context *);
bool vmm_node_complete(struct vidmm_adapter *, uint32_t node, uint64_t fence_id);
bool vmm_context_may_start(const struct vidmm_context *);
struct vmm_packet *vmm_node_front(const struct vmm_node *);                   /* NULL: nothing is on it */
struct vmm_packet *vmm_node_find(const struct vmm_node *, uint64_t fence_id); /* NULL: not on it */
void vmm_node_give_back(struct vidmm_adapter *, uint32_t node, uint64_t guilty);
void vmm_node_drop(struct vidmm_adapter *, uint32_t node); /* adapter reset: forgets what is on the node */
bool vmm_contexts_idle(const struct vmm_space *);   /* none of the space is on an engine of its gpu */
struct vmm_packet *vmm_packet_new(struct vidmm_context *, enum vmm_packet_kind, uint32_t extra_bytes);
void vmm_packet_free(struct vidmm_adapter *, struct vmm_packet *);
void vmm_packet_queue(struct vidmm_context *, struct vmm_packet *);
struct vidmm_device *vmm_packet_owner(const struct vmm_packet *); /* NULL: the system itself */
struct vmm_packet *vmm_packet_head(const struct vidmm_context *); /* NULL: nothing is queued */
void vmm_packet_pop(struct vidmm_context *);                      /* takes the head off */
bool vmm_packets_before(const struct vidmm_device *, uint64_t seq); /* any accepted earlier and unfinished */

/* queued.c: waits and signals in the queue of a context */
bool vmm_context_sync_step(struct vidmm_context *);
void vmm_context_arrive(struct vidmm_context *); /* its head may have become a waiter */
uint64_t vmm_sync_packet_bytes(const struct vmm_packet *);
void vmm_sync_packet_drop(struct vidmm_adapter *, struct vmm_packet *); /* before its memory goes */

/* sync.c: what a wait or signal names, whoever queues it. `bind` counts the objects and finds the stakes of
 * the device on whose behalf it happens; NO_MEMORY: nothing was bound. `release` takes the counts back. */
vidmm_status vmm_points_check(const struct vidmm_adapter *, const struct vidmm_point *, uint32_t n,
                              bool wait);
vidmm_status vmm_points_bind(struct vidmm_device *, const struct vidmm_point *, uint32_t n,
                             struct vmm_point *);
void vmm_points_release(struct vidmm_adapter *, struct vmm_point *, uint32_t n);
bool vmm_points_take_something(const struct vmm_point *, uint32_t n); /* names a mutex or semaphore */
bool vmm_points_ready(const struct vmm_point *, uint32_t n);          /* everything is there now */
void vmm_points_take(struct vmm_point *, uint32_t n);                 /* needs: ready */
/* flags: vidmm_signal_flags. Who waits is served at once, so that units pass a maximum that is reached. */
void vmm_points_signal(struct vidmm_adapter *, struct vmm_point *, uint32_t n, uint32_t flags);
/* Waiters: begin when nothing but the objects keeps the wait; then look at `granted`; end when it is over
 * or given up. */
void vmm_waiter_begin(struct vidmm_adapter *, struct vmm_waiter *);
void vmm_waiter_end(struct vmm_waiter *);
bool vmm_waiters_step(struct vidmm_adapter *);
bool vmm_device_release_held(struct vidmm_device *); /* what it took becomes free again */
void vmm_sync_drop(struct vidmm_sync *);

/* hwqueue.c */
bool vmm_hw_step(struct vidmm_adapter *);
uint64_t vmm_hw_deadline(const struct vidmm_adapter *);
void vmm_hw_stop(struct vidmm_device *);             /* in error: its contexts never execute again */
bool vmm_hw_step_dying(struct vidmm_device *);
void vmm_hw_destroy_all(struct vidmm_device *);
void vmm_hw_node_reset(struct vidmm_adapter *, uint32_t node); /* reset_engine was called: all suspended */
void vmm_hw_gate(struct vmm_space *); /* entries handed over from now on wait for space.gate_seq */
void vmm_doorbell_abort(struct vidmm_hwqueue *);            /* doorbell.c: the device is lost */
void vmm_doorbell_suspended(struct vidmm_hwqueue *, bool);  /* the status that user mode sees */
bool vmm_doorbell_pending(const struct vidmm_hwqueue *);
bool vmm_doorbell_step_dying(struct vidmm_hwqueue *);
bool vmm_hw_suspended(const struct vidmm_hwcontext *); /* acknowledged */
bool vmm_hw_has_work(const struct vidmm_device *);
bool vmm_hw_before(const struct vidmm_device *, uint64_t seq); /* an unfinished entry accepted earlier */
struct vidmm_device *vmm_hw_owner(const struct vidmm_adapter *, uint64_t queue_id); /* NULL: gone */

/* fault.c */
struct vmm_packet *vmm_fault_packet(const struct vmm_node *, const struct vidmm_page_fault *); /* or NULL */
bool vmm_inbox_step(struct vidmm_adapter *);

/* fence.c */
vidmm_status vmm_fence_make(struct vidmm_device *, uint64_t initial, uint32_t flags, struct vidmm_fence **);
void vmm_fence_drop(struct vidmm_fence *);
uint64_t vmm_fence_load(const struct vidmm_fence *);
void vmm_fence_store(struct vidmm_fence *, uint64_t value);
void vmm_fence_raise(struct vidmm_fence *, uint64_t value); /* never lowers it, also not from the maximum */
bool vmm_fence_reached(const struct vidmm_fence *, uint64_t value); /* a wait for the value is satisfied */
void vmm_fence_end(struct vidmm_fence *); /* its device is lost: the maximum, and no wait is left */
void vmm_fence_pages_free(struct vidmm_process *);

/* move.c: brings one allocation to another place. Needs: mover idle; extents taken when to != 0. */
void vmm_move_begin(struct vidmm_adapter *, struct vmm_alloc *, uint32_t to, bool live);
void vmm_move_join(struct vidmm_open *); /* a new open of what may be about to move */
bool vmm_move_step(struct vidmm_adapter *);
bool vmm_move_waits(const struct vidmm_adapter *); /* for devices to stop */
void vmm_move_cancel(struct vidmm_adapter *); /* adapter lost: the content in memory segments is gone */

/* mirror.c: allocations of a link with a copy on every gpu, at the same place */
bool vmm_mirror_fits(const struct vidmm_adapter *, const struct vmm_alloc *); /* segments are alike */
bool vmm_mirror_extents(struct vmm_alloc *, uint32_t segment); /* as vmm_place_extents, on every gpu */
bool vmm_mirror_room(const struct vmm_alloc *);                /* in its preferred segment, now? */
struct vidmm_adapter *vmm_mirror_home(const struct vidmm_adapter *); /* the gpu whose mover moves them */
void vmm_mirrors_hand_over(struct vidmm_adapter *);            /* is lost: the next gpu looks after them */
bool vmm_mirror_next_copy(struct vmm_move *);                 /* of a move into memory; false: that was all */
/* Whose memory the entries of a space name where it shows the allocation. */
static inline uint32_t vmm_gpu_shown(const struct vmm_space *sp, const struct vmm_alloc *al)
{
    return al->mirrored ? sp->ad->gpu : al->ad->gpu;
}
/* Is a part of it, when it is in memory, in that gpu's segments? */
static inline bool vmm_alloc_uses(const struct vmm_alloc *al, const struct vidmm_adapter *ad)
{
    return al->ad == ad || al->mirrored;
}
static inline uint32_t vmm_alloc_copies(const struct vmm_alloc *al)
{
    return al->mirrored ? al->ad->lead->gpu_count : 1;
}

/* place.c: where bytes are, and what follows for bindings and counters */
uint32_t vmm_held_back(const struct vmm_segment *);
bool vmm_place_extents(struct vmm_alloc *, struct vmm_segment *); /* takes pages into al->ext */
void vmm_place_release(struct vmm_alloc *);                       /* gives al->ext back */
/* Somebody may be promoted: of the gpu, or what is mirrored, which looks for common room on all. */
void vmm_room_made(struct vidmm_adapter *);
void vmm_place_state(struct vmm_alloc *, enum vmm_place_state, uint32_t segment);
bool vmm_place_system(struct vmm_alloc *);  /* NONE -> LIVE in system memory, no transfer; false: cannot */
void vmm_place_show(struct vmm_alloc *);    /* writes all its entries; what starts now waits for them */
/* Run of consecutive pages at byte offset: its address, and bytes until it ends. */
uint64_t vmm_place_run(struct vmm_alloc *, uint32_t segment, uint64_t offset, uint64_t *bytes);

/* aperture.c: allocations that are accessed physically */
const char *vmm_aperture_check(const struct vidmm_adapter *); /* what is wrong with the description; NULL */
vidmm_status vmm_aperture_init(struct vidmm_adapter *);
void vmm_aperture_fini(struct vidmm_adapter *);
bool vmm_aperture_room(const struct vidmm_adapter *, const struct vmm_alloc *); /* for a range now? */
bool vmm_aperture_take(struct vidmm_adapter *, struct vmm_alloc *); /* the range; to be mapped by a move */
void vmm_aperture_release(struct vidmm_adapter *, struct vmm_alloc *);
void vmm_aperture_forget(struct vidmm_adapter *);
uint32_t vmm_aperture_need(const struct vmm_alloc *);
/* Would what the device requires fit beside n more? */
bool vmm_aperture_admits(struct vidmm_device *, struct vidmm_open *const *, uint32_t n);
/* One step towards having al mapped. false: nothing can be done for it now. */
bool vmm_aperture_place(struct vidmm_adapter *, struct vmm_alloc *, struct vidmm_device *);
bool vmm_aperture_repack(struct vidmm_adapter *, struct vidmm_device *); /* true: a range is coming back */
bool vmm_aperture_return(struct vidmm_adapter *); /* the range of something destroyed is on its way back */
enum vmm_emit vmm_aperture_emit(struct vidmm_adapter *, struct vmm_alloc *, bool map, uint64_t *multipass);
/* Where a physical engine finds it now: segment and offset; 0, 0: it is not resident. */
struct vidmm_gpu_address vmm_aperture_address(const struct vidmm_adapter *, const struct vmm_alloc *);

bool vmm_aperture_take_high(struct vidmm_adapter *, struct vmm_alloc *); /* for the display: stays in place */
uint32_t vmm_aperture_limit(const struct vidmm_adapter *); /* pages below what is displayed */

/* display.c */
bool vmm_display_step(struct vidmm_adapter *);
void vmm_display_close(struct vidmm_open *);     /* is closed: shall not be shown any more */
void vmm_display_forget(struct vidmm_adapter *); /* hardware was reset or is gone: nothing is shown */

/* render.c: physical contexts */
vidmm_status vmm_render_context(struct vidmm_context *, const struct vidmm_kmd_context *);
void vmm_render_context_fini(struct vidmm_context *);
vidmm_status vmm_render_submit(struct vidmm_adapter *, const struct vmm_packet *, uint32_t node);
void vmm_render_release(struct vmm_packet *); /* the packet is over: references and buffer go back */

/* owed.c: page-table entries that the GPU writes (GPU_VIRTUAL, GPU_PHYSICAL): what it has yet to write, and
 * the operations that do it. */
enum vmm_owed_next { OWED_NOTHING, OWED_OP, OWED_SHOWN }; /* SHOWN: the paging space owes entries first */
void vmm_owe_entries(struct vmm_space *, struct vmm_table *, uint32_t first, uint32_t count, bool fresh);
enum vmm_owed_next vmm_owed_take(struct vmm_space *, struct vmm_emission *); /* derived as of now */
bool vmm_owed_any(const struct vmm_space *);
struct vmm_owed *vmm_owed_leaf(const struct vmm_space *, const struct vmm_owed *after); /* NULL: none */
void vmm_owed_advance(struct vmm_owed *, uint32_t entries); /* its first ones are taken care of */
void vmm_owe_range(struct vmm_space *, struct range); /* of the leaf tables there are */
void vmm_owed_forget(struct vmm_space *);
bool vmm_owed_drop(struct vidmm_adapter *, struct vmm_table *); /* false: the GPU may still write to it */
static inline struct vmm_owed *vmm_owed_of(struct vmm_table *t)
{
    return (struct vmm_owed *)(void *)&t->child[t->level > 0 ? t->entries : 0];
}
static inline bool vmm_gpu_writes(const struct vidmm_adapter *ad)
{
    return ad->info.update_mode != VIDMM_UPDATE_CPU_VIRTUAL;
}

/* bind.c: what the GPU sees. All collect the flushes they need in the space. */
void vmm_bind_replace(struct vmm_space *, struct range, struct vmm_binding *nb, struct vmm_binding *spare[2]);
void vmm_bind_clear(struct vmm_space *, struct range, struct vmm_binding **spare); /* to unmapped */
void vmm_bind_remove(struct vmm_binding *);   /* unlinks, entries invalid (or zero in a ZERO reservation) */
void vmm_bind_write(struct vmm_binding *, struct range);  /* entries as derived from the placement now */
void vmm_bind_invalidate(struct vmm_binding *);           /* entries invalid, binding stays */
/* VA-39: the driver protection with which the paging process maps the page at `offset`: that of its unique
 * mappings, else 0. Lowers *end to where another one may begin. */
uint64_t vmm_bind_paging_protection(const struct vmm_alloc *, uint64_t offset, uint64_t *end);
/* What the entries from va on are to be now, in at most VMM_RUNS runs, and whose they are. Gives where the
 * runs end: at `end`, or where another binding or a gap begins. */
uint64_t vmm_bind_derive(struct vmm_space *, uint64_t va, uint64_t end, struct vidmm_update_page_table *,
                         struct vidmm_pte_run *);

/* space.c */
vidmm_status vmm_space_init(struct vmm_space *, struct vidmm_adapter *, struct vidmm_process *);
void vmm_space_fini(struct vmm_space *);
void vmm_space_flush(struct vmm_space *, struct range);  /* to be emitted; flush_seq = its batch */
/* The same, if the range touches the one before: the usual case of a sequence. false: nothing was done. */
static inline bool vmm_space_flush_on(struct vmm_space *sp, uint64_t start, uint64_t end)
{
    if (sp->flush_count == 0) return false;
    struct range *f = &sp->flush[sp->flush_count - 1];
    if (start > f->end || end < f->start) return false;
    f->start = min_u64(f->start, start);
    f->end = max_u64(f->end, end);
    sp->flush_seq = sp->ad->batch_next; /* who has ranges is on the adapter's list */
    return true;
}
bool vmm_space_flush_pending(const struct vmm_space *);
void vmm_space_forget_flushes(struct vmm_space *);
void vmm_space_offer_root(struct vmm_space *, struct vmm_table *); /* takes it over; swapped in while idle */
void vmm_space_shrink(struct vmm_space *);               /* call time: offers a smaller root if that pays */
bool vmm_space_root_step(struct vmm_space *);

/* table.c */
vidmm_status vmm_tables_init(struct vmm_space *, uint32_t root_entries);
void vmm_tables_fini(struct vmm_space *);
uint32_t vmm_tables_coverage(const struct vmm_space *);  /* root entries */
/* Creates the missing tables of a range and counts its pages in the leaves, so that they stay until the
 * same pages are released. Nothing changes on failure. A map acquires when it is accepted; what it binds
 * later keeps that count, what it does not bind (holes, a dropped request) it releases. */
vidmm_status vmm_tables_acquire_path(struct vmm_space *, uint64_t start, uint64_t end);
static inline vidmm_status vmm_tables_acquire(struct vmm_space *sp, struct range r)
{
    struct vmm_tables *tt = &sp->tables;
    if (r.start < tt->cursor_start || r.end > tt->cursor_end)
        return vmm_tables_acquire_path(sp, r.start, r.end);
    tt->cursor->live += (uint32_t)((r.end - r.start) >> VIDMM_PAGE_SHIFT);
    return VIDMM_OK;
}
/* Takes the pages off again; an empty leaf is unlinked and freed after a flush. entries_valid: the GPU may
 * have seen them, so entries of leaves that stay are written invalid and flushed. */
void vmm_tables_release(struct vmm_space *, struct range, bool entries_valid);
/* Entries of a range, which the counts of the runs add up to. May cross tables. */
void vmm_tables_write(struct vmm_space *, struct range, const struct vidmm_pte_run *, uint32_t n);
void vmm_leaves_init(struct vidmm_adapter *); /* needs: the driver's description */
struct vmm_table *vmm_table_new(struct vmm_space *, uint32_t level, uint32_t entries);
void vmm_table_free(struct vidmm_adapter *, struct vmm_table *); /* or into limbo: the GPU still writes it */
struct vmm_table *vmm_table_next(struct vmm_table *); /* in pre-order, without recursion; NULL: the last */
uint64_t vmm_table_start(const struct vmm_space *, const struct vmm_table *); /* first address below it */
void vmm_root_swap(struct vmm_space *, struct vmm_table *new_root);
/* Links a leaf below a two-level root, with that many pages acquired. */
void vmm_leaf_attach(struct vmm_space *, struct vmm_table *leaf, uint32_t pages);
uint32_t vmm_root_used(const struct vmm_space *);        /* 1 + highest root index in use */
bool vmm_tables_pin(struct vmm_space *, uint64_t va); /* the leaf at va, for as long as the space */
struct vmm_table *vmm_leaf_find(const struct vmm_space *, uint64_t va);
bool vmm_limbo_step(struct vidmm_adapter *);
void vmm_tables_rewrite(struct vmm_space *); /* their memory was lost: links again, leaf entries invalid */
void vmm_tables_drop(struct vmm_space *);    /* before they go: every entry invalid, where the driver asks */

/* batch.c */
/* The driver's answer; BUFFER_FULL only with something in the buffer. */
vidmm_status vmm_batch_build(struct vidmm_adapter *, struct vidmm_paging_buffer *, const struct vidmm_op *,
                             uint64_t *multipass);
enum vmm_emit vmm_batch_emit(struct vidmm_adapter *, const struct vidmm_op *, uint64_t *multipass);
void vmm_batch_complete(struct vidmm_adapter *, struct vmm_buffer *);
bool vmm_batch_take_flush(struct vmm_space *, struct vmm_emission *); /* false: no flush is owed */
enum vmm_emit vmm_batch_flushes(struct vidmm_adapter *); /* all flushes owed, into the open batch */
bool vmm_batch_step(struct vidmm_adapter *);  /* emits flushes, submits the open buffer */
void vmm_batch_forget(struct vidmm_adapter *); /* adapter reset: every batch so far counts as done */
/* A lost adapter executes nothing any more: whoever waits goes on. */
static inline bool vmm_batch_passed(const struct vidmm_adapter *ad, uint64_t seq)
{
    return seq <= ad->batch_done || ad->lost;
}

/* syspage.c */
const char *vmm_paging_check(const struct vidmm_adapter_info *); /* does its layout suit the levels? NULL */
vidmm_status vmm_paging_init(struct vidmm_adapter *, const char **why);
bool vmm_paging_reaches_root(const struct vidmm_adapter *); /* also the largest of a two-level space */
void vmm_paging_fini(struct vidmm_adapter *);
void vmm_paging_rebuild(struct vidmm_adapter *); /* after the content of memory segments was lost */
/* Points a scratch window (0 source, 1 destination) at something; returns its address. */
uint64_t vmm_scratch_map(struct vidmm_adapter *, uint32_t window, const struct vmm_window *);
void vmm_scratch_forget(struct vidmm_adapter *); /* the windows show nothing any more */
void vmm_scratch_show_tables(struct vidmm_adapter *); /* the slots of the tables window */
/* As vmm_bind_derive, for the paging space. */
uint64_t vmm_scratch_derive(struct vidmm_adapter *, uint64_t va, uint64_t end,
                            struct vidmm_update_page_table *, struct vidmm_pte_run *);
uint64_t vmm_paging_table_va(const struct vidmm_adapter *, const struct vmm_table *); /* of a scratch leaf */

#endif
