/* SPDX-License-Identifier: MIT */
/* link_rig.h - a link of gpus with two table formats, and a client that has a queue and a context on each. */
#ifndef MODEL_LINK_RIG_H
#define MODEL_LINK_RIG_H

#include "fixture.h"

struct link {
    struct fixture *fx, own; /* fx: own, or that of another client's link */
    struct client c;
    uint32_t gpus;
    struct vidmm_queue *queue[VIDMM_GPUS_MAX];
    struct vidmm_context *context[VIDMM_GPUS_MAX];
};

/* GPU 0 and 2 have format C, 1 and 3 format B. */
void link_options(struct fx_options *, uint32_t gpus);
void link_open(struct link *, uint32_t gpus);
/* Three gpus, each of which updates its tables in another mode: GPU 0 in mode `first`, and so on. */
void link_open_modes(struct link *, uint32_t first, uint32_t companion_node);
void link_client(struct link *, struct client *, struct vidmm_process *); /* fills queue and context for it */
/* A client that lives on some gpus only. process NULL: one of its own. */
void link_open_on(struct link *, struct vidmm_process *, struct link *m, uint32_t from, uint32_t gpus);
void link_lose(struct link *, uint32_t gpu); /* one gpu is gone, and the core knows it */
struct tap *link_tap(struct link *, uint32_t gpu);
vidmm_status link_try_map(struct link *, uint32_t gpu, const struct vidmm_map *, uint64_t *va);
/* Maps all of it on a gpu; base 0: anywhere. */
uint64_t link_map(struct link *, uint32_t gpu, struct vidmm_open *, uint64_t base);
struct vidmm_open *link_memory(struct link *, uint32_t gpu, uint64_t bytes); /* of that gpu, resident */
/* The same; `of` has it, and the queue of `gpu` makes it resident. */
struct vidmm_open *link_memory_on(struct link *, uint32_t gpu, uint32_t of, uint64_t bytes);
/* With a copy on each gpu; may be at home. */
struct vidmm_open *link_mirrored(struct link *, uint64_t bytes);
uint32_t link_segment_of(const struct vidmm_open *); /* of what is resident; else the case fails */
void link_fill(struct link *, uint32_t gpu, uint64_t va, uint32_t pattern, uint64_t bytes);
uint64_t link_sum(struct link *, uint32_t gpu, uint64_t va, uint64_t bytes);
uint32_t link_read(struct link *, uint32_t gpu, uint64_t va);
/* The same, when it is expected to end the device by a page fault at exactly va. */
void link_read_faults(struct link *, uint32_t gpu, uint64_t va);
/* The leaf entry that shows va on a gpu since tap_clear, as its driver reads it back. */
struct vidmm_pte_kind link_entry(struct link *, uint32_t gpu, uint64_t va);
/* The same, with the address that it names. */
uint64_t link_decode(struct link *, uint32_t gpu, uint64_t va, struct vidmm_pte_kind *);

#endif
