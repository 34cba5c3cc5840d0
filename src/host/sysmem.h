/* SPDX-License-Identifier: MIT */
/* sysmem.h — system memory as the platform shows it: frames of 4 KiB, numbered from 1.
 * Owns: a table from frame number to host address, the memory behind sysmem_alloc, and the frame numbers
 * of sysmem_import. Calls: mmap, madvise, a mutex. Every function may be called by any thread.
 *
 * Frame numbers come in slots of 4096 (16 MiB). A slot serves small runs (up to half a slot) as an arena, of
 * own memory or of imported frames, or is part of one big run. Slot 0 is not used, so no frame is 0. */
#ifndef HOST_SYSMEM_H
#define HOST_SYSMEM_H

#include <vidmm/status.h>
#include <vidmm/types.h>

#define SYSMEM_FRAMES_MAX (1ull << 26) /* 256 GiB */

struct sysmem;

/* frames: how many numbers there are, a multiple of 4096 up to SYSMEM_FRAMES_MAX. NULL: no memory. */
struct sysmem *sysmem_create(uint64_t frames);
/* Needs: nobody uses a frame any more. */
void sysmem_destroy(struct sysmem *);

/* These are vidmm_platform's sys_ functions. Fails: NO_MEMORY; INVALID for no pages or an import that is
 * not page aligned, is NULL or passes the end of the address space. */
vidmm_status sysmem_alloc(struct sysmem *, uint64_t pages, uint64_t *frame);
void sysmem_free(struct sysmem *, uint64_t frame, uint64_t pages);
vidmm_status sysmem_import(struct sysmem *, void *host, uint64_t pages, uint64_t *frame);
void sysmem_release(struct sysmem *, uint64_t frame, uint64_t pages);
/* Own memory only; the client's memory is not ours to clear, so there it does nothing. */
void sysmem_discard(struct sysmem *, uint64_t frame, uint64_t pages);
void *sysmem_address(struct sysmem *, uint64_t frame);

/* Frames in use now. */
struct sysmem_usage { uint64_t own, imported; };
struct sysmem_usage sysmem_usage(struct sysmem *);

#endif
