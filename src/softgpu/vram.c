/* SPDX-License-Identifier: MIT */
/* vram.c - the bytes of the GPU: VRAM, and per 4 KiB page an epoch that counts changes of its content's
 * owner (a paging operation wrote it, a page table was built in it).
 * System frames beyond GPU_SYS_EPOCHS share epochs; that can only turn a stale use that exists anyway
 * into a violation, never invent one. Calls: mmap, platform->sys_address. */
#include <sys/mman.h>

#include "base/bits.h"
#include "softgpu/gpu.h"

static void *map_zeroed(uint64_t bytes)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Large memory is worth large host pages: the first fill of a new buffer is mostly page faults else. */
#define HUGE_FROM (64ull << 20)

bool vram_create(struct softgpu *g)
{
    g->vram_epoch_bytes = align_up((g->vram_bytes >> VIDMM_PAGE_SHIFT) * 4 + 4, VIDMM_PAGE_SIZE);
    g->vram = map_zeroed(g->vram_bytes + VIDMM_PAGE_SIZE);
    g->vram_epoch = map_zeroed(g->vram_epoch_bytes);
    g->sys_epoch = map_zeroed(GPU_SYS_EPOCHS * 4ull);
    bool large = g->vram != NULL && g->vram_bytes >= HUGE_FROM;
    if (large) (void)madvise(g->vram, g->vram_bytes, MADV_HUGEPAGE); /* a wish; refusal is fine */
    return g->vram != NULL && g->vram_epoch != NULL && g->sys_epoch != NULL;
}

void vram_destroy(struct softgpu *g)
{
    if (g->vram != NULL) (void)munmap(g->vram, g->vram_bytes + VIDMM_PAGE_SIZE);
    if (g->vram_epoch != NULL) (void)munmap((void *)g->vram_epoch, g->vram_epoch_bytes);
    if (g->sys_epoch != NULL) (void)munmap((void *)g->sys_epoch, GPU_SYS_EPOCHS * 4ull);
}

void vram_forget(struct softgpu *g)
{
    if (g->vram_bytes != 0) (void)madvise(g->vram, g->vram_bytes, MADV_DONTNEED); /* reads as zeros */
}

static const struct gpu_segment *memory_segment(const struct softgpu *g, uint32_t id)
{
    if (id == 0 || id > g->opt.segment_count || g->segment[id].aperture) return NULL;
    return &g->segment[id];
}

void *softgpu_vram(struct softgpu *g, uint32_t segment, uint64_t offset, uint64_t bytes)
{
    const struct gpu_segment *s = memory_segment(g, segment);
    if (s == NULL || offset > s->bytes || bytes > s->bytes - offset) return NULL;
    return g->vram + s->vram_offset + offset;
}

struct softgpu *vram_owner(struct softgpu *g, const struct softgpu_pte *pte)
{
    if (pte->segment == 0) return g;
    struct softgpu *owner = pte->gpu < VIDMM_GPUS_MAX ? g->peer[pte->gpu] : NULL;
    bool gone = owner != NULL && owner != g && atomic_load_explicit(&owner->stopped, memory_order_relaxed);
    return gone ? NULL : owner;
}

uint64_t softgpu_frame(const struct softgpu *g, uint64_t page)
{
    return g->domain == NULL ? page : g->domain->translate(g->domain->ctx, page);
}

/* Of a segment carved out of system memory: does an access get there? */
static bool carved_out_reached(const struct softgpu *g, uint32_t segment, uint64_t address)
{
    uint64_t frame = g->opt.segment[segment - 1].system_frame;
    if (frame == 0) return true;
    frame += address >> VIDMM_PAGE_SHIFT;
    return softgpu_frame(g, frame) == frame;
}

bool vram_resolve(struct softgpu *g, uint32_t segment, uint64_t address, uint64_t bytes,
                  struct devmem_span *out)
{
    out->bytes = bytes;
    if (segment != 0) {
        out->kind = DEVMEM_VRAM;
        out->host = softgpu_vram(g, segment, address, bytes);
        return out->host != NULL && carved_out_reached(g, segment, address);
    }
    uint64_t number = softgpu_frame(g, address >> VIDMM_PAGE_SHIFT);
    uint8_t *frame = g->platform->sys_address(g->platform->ctx, number);
    out->kind = DEVMEM_SYSTEM;
    out->host = frame == NULL ? NULL : frame + (address & (VIDMM_PAGE_SIZE - 1));
    return frame != NULL;
}

static _Atomic uint32_t *epoch_of(struct softgpu *g, uint32_t segment, uint64_t address)
{
    uint64_t page = address >> VIDMM_PAGE_SHIFT;
    if (segment == 0) return &g->peer[0]->sys_epoch[page & (GPU_SYS_EPOCHS - 1)];
    const struct gpu_segment *s = memory_segment(g, segment);
    if (s == NULL || address >= s->bytes) return &g->vram_epoch[g->vram_bytes >> VIDMM_PAGE_SHIFT];
    return &g->vram_epoch[(s->vram_offset >> VIDMM_PAGE_SHIFT) + page];
}

uint32_t vram_epoch_get(struct softgpu *g, uint32_t segment, uint64_t address)
{
    return atomic_load_explicit(epoch_of(g, segment, address), memory_order_relaxed);
}

void vram_epoch_bump(struct softgpu *g, uint32_t segment, uint64_t address)
{
    (void)atomic_fetch_add_explicit(epoch_of(g, segment, address), 1, memory_order_relaxed);
}

void softgpu_frames_claimed(struct softgpu *g, uint64_t frame, uint64_t pages)
{
    for (uint64_t i = 0; i < pages; i++) vram_epoch_bump(g, 0, (frame + i) << VIDMM_PAGE_SHIFT);
}

void softgpu_vram_claimed(struct softgpu *g, const void *cpu, uint64_t bytes)
{
    uintptr_t at = (uintptr_t)cpu, base = (uintptr_t)g->vram;
    if (at < base || at - base >= g->vram_bytes) return;
    uint64_t page = (at - base) >> VIDMM_PAGE_SHIFT, end = (at - base + bytes + 4095) >> VIDMM_PAGE_SHIFT;
    for (; page < end; page++) (void)atomic_fetch_add_explicit(&g->vram_epoch[page], 1, memory_order_relaxed);
}
