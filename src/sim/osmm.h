/* SPDX-License-Identifier: MIT */
/* osmm.h - a modelled operating system's memory manager, for worlds with a translation unit: processes with
 * x86-64 page tables of 4 or 5 levels, memory that is committed, decommitted, protected and copied on write,
 * pages that appear when they are touched, by the CPU or by a device. It hands out PASIDs, answers page
 * requests, and gives no frame to anybody else before nothing can reach it any more.
 * One thread. Owns: its processes' tables and frames. Calls: the platform, the unit. */
#ifndef SIM_OSMM_H
#define SIM_OSMM_H

#include <vidmm/platform.h>

#define OSMM_PROCESSES_MAX 32u

struct osmm;
struct osmm_process;

/* What is left out on purpose; the verifier must notice each. */
enum osmm_defect {
    OSMM_REUSES_EARLY = 1,    /* a frame goes to somebody else before its invalidation is over */
    OSMM_NO_INVALIDATION = 2, /* tables change and the unit is not told */
    OSMM_SHARES_WRITABLE = 4  /* copy on write without write protection */
};

struct osmm_options {
    const struct vidmm_platform *platform;
    const struct vidmm_iommu_unit *unit;
    uint64_t frames;          /* numbers of the platform's frames are below this */
    uint32_t levels;          /* 4 or 5; 0: 4 */
    uint32_t defects;         /* osmm_defect */
};

/* VIDMM_NO_MEMORY, VIDMM_INVALID. */
vidmm_status osmm_create(const struct osmm_options *, struct osmm **);
void osmm_destroy(struct osmm *); /* with what is left of its processes */
const struct vidmm_iommu *osmm_iommu(struct osmm *); /* os_process: a struct osmm_process */
/* One bounded piece of work: a page request, or a frame that nobody reaches now. false: there was none. */
bool osmm_step(void *osmm);

vidmm_status osmm_process_create(struct osmm *, struct osmm_process **);
void osmm_process_destroy(struct osmm_process *); /* it is not bound any more */
/* Where the world has what VidMm's frames show at va, contiguous as they are; NULL: nothing of VidMm is
 * there. */
void *osmm_host(struct osmm_process *, uint64_t va);
uint32_t osmm_process_pasid(const struct osmm_process *); /* 0: not bound */

/* Memory of a process. Addresses are multiples of 4096; *va is chosen, and never again for anything else.
 * Committed memory reads as zeros. VIDMM_NO_MEMORY, VIDMM_INVALID (not a whole committed range),
 * VIDMM_LIMIT (more than 1024 pages).
 * VIDMM_BUSY: accesses that began before are not over; what was asked holds for new ones, repeat the call. */
vidmm_status osmm_commit(struct osmm_process *, uint64_t pages, bool writable, uint64_t *va);
vidmm_status osmm_decommit(struct osmm_process *, uint64_t va);
vidmm_status osmm_protect(struct osmm_process *, uint64_t va, bool writable);
/* A copy of a committed range in another process, or in the same: pages are shared until somebody writes. */
vidmm_status osmm_clone(struct osmm_process *from, uint64_t va, struct osmm_process *to, uint64_t *copy);
/* What the CPU does at these addresses. false: an access violation, or no memory for the page. */
bool osmm_cpu_read(struct osmm_process *, uint64_t va, void *out, uint64_t bytes);
bool osmm_cpu_write(struct osmm_process *, uint64_t va, const void *in, uint64_t bytes);

struct osmm_accounts {
    uint64_t demand_zero, copied_on_write, refused; /* page faults of both kinds; refused: no such access */
    uint64_t no_memory;      /* page faults for which there was no frame */
    uint64_t quarantined;    /* frames that wait for an invalidation now */
    /* Accesses of devices that moved bytes of a frame that is not their process' at that address, or wrote
     * what is shared: always somebody's bug. */
    uint64_t foreign;
    uint64_t evicted_uses;   /* of an allocation while it was not resident: the client's bug (Q45) */
};
void osmm_get_accounts(const struct osmm *, struct osmm_accounts *);

#endif
