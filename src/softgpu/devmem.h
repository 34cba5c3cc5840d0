/* SPDX-License-Identifier: MIT */
/* devmem.h - the only place that touches simulated device memory, page tables and system frames.
 * CPU and engines use the same bytes at the same time, as on a real bus: every word access here is a
 * relaxed atomic, order comes from devmem_release and devmem_acquire alone. Bytes of system frames may
 * belong to a client and vanish: bulk data and fences go there through platform->copy only. */
#ifndef SOFTGPU_DEVMEM_H
#define SOFTGPU_DEVMEM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <vidmm/platform.h>

static inline void devmem_release(void) { atomic_thread_fence(memory_order_release); }
static inline void devmem_acquire(void) { atomic_thread_fence(memory_order_acquire); }

#define DEVMEM_WORD(bits) \
    static inline uint##bits##_t devmem_load##bits(const void *p) \
    { \
        return __atomic_load_n((const uint##bits##_t *)p, __ATOMIC_RELAXED); \
    } \
    static inline void devmem_store##bits(void *p, uint##bits##_t v) \
    { \
        __atomic_store_n((uint##bits##_t *)p, v, __ATOMIC_RELAXED); \
    }
DEVMEM_WORD(8)
DEVMEM_WORD(32)
DEVMEM_WORD(64)
#undef DEVMEM_WORD

static inline uint64_t devmem_add64(void *p, uint64_t v)
{
    return __atomic_fetch_add((uint64_t *)p, v, __ATOMIC_RELAXED);
}

/* Page-table entries: whole, whatever their size. */
static inline uint64_t devmem_load_entry(const void *p, uint32_t entry_bytes)
{
    return entry_bytes == 8 ? devmem_load64(p) : devmem_load32(p);
}

/* Runs of entries: value, value + step, ... One plain store each; the loop is bound by the store port, so
 * short entries go two to a store (both are whole). */
static inline void devmem_fill_entries64(uint64_t *dst, uint64_t value, uint64_t step, uint32_t count)
{
    for (; count >= 4; count -= 4, dst += 4, value += 4 * step) {
        devmem_store64(dst, value);
        devmem_store64(dst + 1, value + step);
        devmem_store64(dst + 2, value + 2 * step);
        devmem_store64(dst + 3, value + 3 * step);
    }
    for (; count > 0; count--, dst++, value += step) devmem_store64(dst, value);
}

static inline void devmem_fill_entries32(uint32_t *dst, uint32_t value, uint32_t step, uint32_t count)
{
    uint32_t i = 0;
    if (count != 0 && ((uintptr_t)dst & 7) != 0) devmem_store32(dst + i++, value);
    uint64_t pair = (uint64_t)(value + (i + 1) * step) << 32 | (uint32_t)(value + i * step);
    uint64_t pair_step = (uint64_t)(2 * step) << 32 | 2 * step; /* the lower half never carries over */
    for (; i + 2 <= count; i += 2, pair += pair_step) devmem_store64(dst + i, pair);
    if (i < count) devmem_store32(dst + i, (uint32_t)pair);
}

/* A table that nothing points to yet: engines see it once a later entry, behind devmem_release, names it.
 * Plain stores of whole lines then take a third of the time. Race detectors know no fences: not there. */
static inline void devmem_clear_fresh(void *dst, uint64_t bytes)
{
#if defined(__SANITIZE_THREAD__)
    devmem_fill_entries64((uint64_t *)dst, 0, 0, (uint32_t)(bytes / 8));
#else
    memset(dst, 0, bytes);
#endif
    devmem_release();
}

/* ---- bulk: where bytes are ---------------------------------------------------------------------- */

enum devmem_kind { DEVMEM_VRAM, DEVMEM_SYSTEM, DEVMEM_ZERO /* reads as zeros, swallows writes */ };

struct devmem_span { uint8_t *host; uint64_t bytes; enum devmem_kind kind; };

/* Moves bytes between spans of any kinds. false: system memory was not there. */
bool devmem_move(const struct vidmm_platform *, struct devmem_span dst, struct devmem_span src,
                 uint64_t bytes);
/* Writes the 16-byte pattern; `phase` = distance of dst from the start of the fill. */
bool devmem_fill(const struct vidmm_platform *, struct devmem_span dst, uint64_t bytes,
                 const uint32_t pattern[4], uint64_t phase);
/* Copies out to / in from the device model's own memory. */
bool devmem_read(const struct vidmm_platform *, void *own, struct devmem_span src, uint64_t bytes);
bool devmem_write(const struct vidmm_platform *, struct devmem_span dst, const void *own, uint64_t bytes);

#endif
