/* SPDX-License-Identifier: MIT */
/* model_inside.h - what the files of the reference model share; nobody else includes it. */
#ifndef SIM_MODEL_INSIDE_H
#define SIM_MODEL_INSIDE_H

#include "sim/model.h"

void *model_take(size_t bytes); /* zeroed; the simulator has no use for a model without memory */
bool model_has_process(const struct model *, const struct model_process *);
/* May page tables for `bytes` of addresses up to `end` be refused? Only beyond what is kept free for them. */
bool model_tables_tight(const struct model_gpu *, uint64_t bytes, uint64_t end);
/* The same on some gpu of the link: what is to be shown on each of them. */
bool model_tables_tight_somewhere(const struct model *, uint64_t bytes, uint64_t end);
#define EACH_SPACE(sp, p) \
    for (struct model_space *sp = (p)->on, *end_##sp = sp + (p)->model->config.gpus; sp < end_##sp; sp++)
bool model_no_room_inside(const struct model_process *);
void model_pieces_cut_off(struct model_device *);
void model_pieces_release(struct model_alloc *, uint32_t instance);
void model_show(struct model_space *, struct model_piece *); /* the pages show something new */
void model_updates_voided(struct model_alloc *); /* is closed: what names it may happen or not */
void model_pieces_settled(struct model_process *);
/* model_offer.c: another open is going to be there. */
void model_offer_opened(const struct model_alloc *from);
/* model_phys.c: what being accessed physically adds to an answer. set: segments; bit 0 = system memory. */
void model_physical_create(const struct model *, const struct model_alloc_in *, uint32_t set, uint64_t bytes,
                           struct model_answer *);
void model_physical_resident(const struct model_device *, struct model_alloc *const *, uint32_t n,
                             struct model_answer *);

#endif
