/* SPDX-License-Identifier: MIT */
/* iommu.h — shared addresses (the IoMmu model): what an adapter needs from the machine so that engines can
 * use the addresses of an OS process, through the page tables of that process.
 * Two seams: struct vidmm_iommu, which the core and the engines call, and, where the translation is modelled,
 * struct vidmm_iommu_unit, the hardware that the modelled operating system builds its tables for. */
#ifndef VIDMM_IOMMU_H
#define VIDMM_IOMMU_H

#include <vidmm/status.h>
#include <vidmm/types.h>

#define VIDMM_IOMMU_SOURCES 32u /* requesters that one unit tells apart: eight engines of each gpu */

enum vidmm_iommu_answer {
    VIDMM_IOMMU_DONE,      /* translated; of a page request: it may be there now, look again */
    VIDMM_IOMMU_MISSING,   /* not mapped, or not for this access: a page request may help */
    VIDMM_IOMMU_PENDING,   /* the page request was not answered yet: ask again later */
    VIDMM_IOMMU_FAULT      /* never: blocked PASID, impossible address, or the OS refused the page */
};

struct vidmm_iommu_page { uint8_t *host; uint64_t frame; }; /* host address of the page; its frame */

/* Accesses that an invalidation waits for; filled by `invalidate`, worn down by `invalidated`. */
struct vidmm_iommu_wait { uint64_t seq[VIDMM_IOMMU_SOURCES]; uint32_t busy; /* bit per source */ };

struct vidmm_page_request { uint64_t id, va; uint32_t pasid; bool write; }; /* va: 4 KiB aligned */

/* Engines' side: any thread, one per source, never blocks. */
struct vidmm_iommu_unit {
    void *ctx;
    /* An access by `source` begins and ends: what it translated in between stays what an invalidation has to
     * wait for. One at a time per source. */
    void (*enter)(void *ctx, uint32_t source, uint32_t pasid);
    void (*leave)(void *ctx, uint32_t source);
    void (*forget)(void *ctx, uint32_t source); /* the engine was reset: its page request is void */
    enum vidmm_iommu_answer (*translate)(void *ctx, uint32_t source, uint32_t pasid, uint64_t va, bool write,
                                         struct vidmm_iommu_page *);
    enum vidmm_iommu_answer (*page_request)(void *ctx, uint32_t source, uint32_t pasid, uint64_t va,
                                            bool write);
    /* The bytes of a translated page are being moved now: for the OS's verifier. */
    void (*used)(void *ctx, uint32_t pasid, uint64_t va, uint64_t frame, bool write);

    /* The operating system's side: one thread. */
    void (*set_directory)(void *ctx, uint64_t frame); /* of the PASID directory; 0: nothing translates */
    /* Drops what is cached of [start, end), end 0: of everything, in the unit first and then in the device.
     * pasid 0: of all of them. */
    void (*invalidate)(void *ctx, uint32_t pasid, uint64_t start, uint64_t end, struct vidmm_iommu_wait *);
    bool (*invalidated)(void *ctx, struct vidmm_iommu_wait *); /* no access uses it any more */
    bool (*next_request)(void *ctx, struct vidmm_page_request *); /* the oldest not taken; false: none */
    void (*respond)(void *ctx, uint64_t id, bool there);
    bool (*requests_open)(void *ctx, uint32_t pasid); /* any of the PASID, taken or not */
    void (*set_verifier)(void *ctx, void (*used)(void *arg, uint32_t pasid, uint64_t va, uint64_t frame,
                                                 bool write), void *arg);
};

/* The core's side, called by the owner of the adapter; nothing blocks. */
struct vidmm_iommu {
    void *ctx;
    /* NULL: the addresses are those of our own process, and the machine translates them; engines use them as
     * they are, through platform->copy. */
    const struct vidmm_iommu_unit *unit;
    /* Registers the address space that os_process names (NULL: the caller's own). *pasid is not 0 and names
     * one space at a time. VIDMM_NO_MEMORY, VIDMM_INVALID (no such process). */
    vidmm_status (*bind)(void *ctx, void *os_process, uint32_t *pasid);
    /* Blocks the PASID at the first call: nothing translates for it any more. true: what had begun has ended,
     * mappings made for it are gone, and it may be given to somebody else. false: to be called again.
     * Needs: no engine executes for it. */
    bool (*unbind)(void *ctx, uint32_t pasid);
    /* Both NULL where frames have host addresses that the process can use. Shows frames in the address space
     * of the PASID, at an address that does not change. VIDMM_NO_MEMORY. */
    vidmm_status (*map)(void *ctx, uint32_t pasid, uint64_t frame, uint64_t pages, bool writable,
                        uint64_t *address);
    /* Invalid at the first call. true: no access reaches the frames any more, they may be given to others. */
    bool (*unmap)(void *ctx, uint32_t pasid, uint64_t address);
    /* NULL: nobody asks. The client said that it is going to use what was mapped there, or that it is not;
     * for a verifier: translation does not depend on it (Q45). */
    void (*resident)(void *ctx, uint32_t pasid, uint64_t address, bool resident);
};

#endif
