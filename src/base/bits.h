/* SPDX-License-Identifier: MIT */
/* bits.h - bit and alignment arithmetic on values that cannot overflow by construction.
 * Values that come from a client go through range.h instead. Calls nothing. */
#ifndef VIDMM_BASE_BITS_H
#define VIDMM_BASE_BITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

#define ARRAY_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* The smallest power of two that is not below v; v in [1, 2^63]. */
static inline uint64_t round_up_pow2(uint64_t v)
{
    return v <= 1 ? 1 : 1ull << (64 - __builtin_clzll(v - 1));
}

static inline bool is_pow2(uint64_t v) { return v != 0 && (v & (v - 1)) == 0; }

/* Needs: align is a power of two. */
static inline uint64_t align_down(uint64_t v, uint64_t align) { return v & ~(align - 1); }

/* Needs: align is a power of two and the result fits in 64 bits (otherwise it wraps to 0). */
static inline uint64_t align_up(uint64_t v, uint64_t align) { return (v + align - 1) & ~(align - 1); }

static inline bool is_aligned(uint64_t v, uint64_t align) { return (v & (align - 1)) == 0; }

/* ceil(v / d) without overflow. Needs: d != 0. */
static inline uint64_t div_up(uint64_t v, uint64_t d) { return v / d + (v % d != 0); }

/* Index of the lowest / highest set bit. Needs: v != 0. */
static inline unsigned ctz64(uint64_t v) { return (unsigned)__builtin_ctzll(v); }
static inline unsigned ctz32(uint32_t v) { return (unsigned)__builtin_ctz(v); }
static inline unsigned log2_floor64(uint64_t v) { return 63u - (unsigned)__builtin_clzll(v); }
static inline unsigned log2_floor32(uint32_t v) { return 31u - (unsigned)__builtin_clz(v); }
static inline unsigned clz64(uint64_t v) { return (unsigned)__builtin_clzll(v); }
static inline unsigned clz32(uint32_t v) { return (unsigned)__builtin_clz(v); }

/* Not the builtin: without a popcount instruction that is a call into the compiler's library. */
static inline unsigned popcount64(uint64_t v)
{
    v -= v >> 1 & 0x5555555555555555ull;
    v = (v & 0x3333333333333333ull) + (v >> 2 & 0x3333333333333333ull);
    v = (v + (v >> 4)) & 0x0F0F0F0F0F0F0F0Full;
    return (unsigned)(v * 0x0101010101010101ull >> 56);
}

/* The low n bits set, n in 0..64. */
static inline uint64_t mask_low64(unsigned n) { return n >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1; }

static inline uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }
static inline uint32_t min_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }
static inline uint32_t max_u32(uint32_t a, uint32_t b) { return a > b ? a : b; }

#endif
