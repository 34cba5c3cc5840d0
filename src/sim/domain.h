/* SPDX-License-Identifier: MIT */
/* domain.h - a modelled IOMMU domain: ranges of logical pages, the frames they show, and a count of what went
 * wrong. Owns: its table. Engines of any thread may look into it; everything else is the owner's. */
#ifndef SIM_DOMAIN_H
#define SIM_DOMAIN_H

#include <vidmm/domain.h>
#include <vidmm/platform.h>

struct sim_domain;

struct sim_domain_options {
    bool remaps;
    uint64_t pages;        /* logical pages [1, pages) there are; at least what the machine has of frames */
    uint64_t firmware, firmware_end; /* frames that are not the memory manager's; none: 0, 0 */
};

struct sim_domain_accounts {
    uint64_t reserved, mapped;
    uint64_t errors;       /* mapped twice or without a range, unmapped twice, released while mapped, .. */
    uint64_t faults;       /* accesses that did not go through */
    uint64_t attached;     /* calls of attach */
};

struct sim_domain *sim_domain_create(const struct sim_domain_options *); /* NULL: no memory */
void sim_domain_destroy(struct sim_domain *);
const struct vidmm_domain *sim_domain_face(struct sim_domain *);
void sim_domain_get_accounts(struct sim_domain *, struct sim_domain_accounts *);
void sim_domain_fail(struct sim_domain *, uint64_t k); /* the k-th reservation from now fails; 0: none */
/* The logical page that shows a frame; 0: none does. */
uint64_t sim_domain_find(struct sim_domain *, uint64_t frame);

#endif
