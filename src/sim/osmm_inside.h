/* SPDX-License-Identifier: MIT */
/* osmm_inside.h - what the files of the modelled memory manager share. */
#ifndef SIM_OSMM_INSIDE_H
#define SIM_OSMM_INSIDE_H

#include "base/bits.h"
#include "sim/osmm.h"

enum osmm_pte { PTE_P = 1u << 0, PTE_RW = 1u << 1, PTE_US = 1u << 2, PTE_A = 1u << 5, PTE_D = 1u << 6 };
#define PTE_ADDRESS 0x000ffffffffff000ull
#define QUARANTINE_MAX 1024u

enum region_kind { REGION_COMMITTED, REGION_FRAMES /* VidMm's, shown to the process */ };

struct osmm_region {
    struct osmm_region *next;
    uint64_t start, pages, frame;  /* frame: of REGION_FRAMES */
    enum region_kind kind;
    bool writable;
    bool budgeted, resident;       /* VidMm has spoken of it: is it on a list now? */
    bool dying;                    /* unmapped; goes when `wait` is over */
    struct vidmm_iommu_wait wait;
};

struct osmm_process {
    struct osmm *os;
    uint32_t index, pasid;
    bool blocked;                  /* unbind has begun */
    uint64_t root, next_va;        /* root: a frame */
    struct osmm_region *regions;
    struct vidmm_iommu_wait wait;  /* of the unbinding */
};

/* Of committed memory: entries that show it. `owned`: by process, entries and translations that an
 * invalidation has not reached yet; `uses` is their sum. */
struct osmm_frame { uint32_t refs, uses; uint16_t owned[OSMM_PROCESSES_MAX]; };

struct osmm_quarantine { uint64_t frame; uint32_t owner; struct vidmm_iommu_wait wait; };

struct osmm {
    const struct vidmm_platform *platform;
    const struct vidmm_iommu_unit *unit;
    struct vidmm_iommu face;
    uint64_t frame_count;
    uint32_t levels, defects, next_pasid;
    struct osmm_frame *frame;      /* by number */
    uint64_t directory;            /* frame */
    struct osmm_process *process[OSMM_PROCESSES_MAX];
    struct osmm_quarantine quarantine[QUARANTINE_MAX];
    uint32_t quarantined;
    struct osmm_accounts accounts;
};

/* osmm_table.c: one word of a table, whole; and the leaf entry of an address. NULL: there is none (make: no
 * memory for it). Tables live until their process ends. */
uint64_t osmm_load(const uint64_t *);
void osmm_store(uint64_t *, uint64_t);
uint64_t *osmm_page(struct osmm *, uint64_t frame); /* as 512 words */
uint64_t *osmm_entry(struct osmm_process *, uint64_t va, bool make);
uint64_t osmm_table_new(struct osmm *);             /* a frame of zeros; 0: no memory */
void osmm_tables_free(struct osmm_process *);
vidmm_status osmm_pasid_set(struct osmm *, uint32_t pasid, uint64_t root);
void osmm_pasid_clear(struct osmm *, uint32_t pasid);
void osmm_pasid_free(struct osmm *);

/* osmm_fault.c */
struct osmm_region *osmm_region_at(struct osmm_process *, uint64_t va); /* NULL: nothing mapped there */
bool osmm_fault(struct osmm_process *, uint64_t va, bool write);
bool osmm_drop(struct osmm_process *, uint64_t va); /* takes what is shown there away; false: no room */
void osmm_invalidate(struct osmm_process *, uint64_t start, uint64_t end, struct vidmm_iommu_wait *);
void osmm_own(struct osmm_process *, uint64_t frame);
void osmm_disown(struct osmm *, uint32_t owner, uint64_t frame);
bool osmm_retire(struct osmm *);                    /* a frame that nothing reaches any more */

/* osmm_bind.c: what the core calls */
void osmm_bind_init(struct osmm *);
bool osmm_bind_step(struct osmm *);
void osmm_region_remove(struct osmm_process *, struct osmm_region *);
vidmm_status osmm_region_add(struct osmm_process *, uint64_t pages, bool writable, struct osmm_region **);
struct osmm_process *osmm_by_pasid(const struct osmm *, uint32_t pasid);

#endif
