/* SPDX-License-Identifier: MIT */
/* wl.h - deterministic streams of memory-management operations, the same for every allocator measured.
 * Owns: the definition of workloads W1 to W8; wl_hash_expected pins every stream bit by bit.
 * A stream names slots, not addresses: the allocator under test chooses those. If it fails an allocation,
 * the slot stays empty and its later free is skipped, so a worse allocator then faces an emptier space:
 * read times together with failures. Sizes and addresses are bytes. */
#ifndef VIDMM_BENCH_WL_H
#define VIDMM_BENCH_WL_H

#include <stdbool.h>
#include <stdint.h>

enum wl_kind { WL_ALLOC = 1, WL_FREE = 2, WL_ALLOC_AT = 3, WL_MAP = 4, WL_UNMAP = 5, WL_MAP_LIST = 6 };

/* 32 bytes; the hash runs over them, so the layout is fixed. */
struct wl_op {
    uint8_t kind;      /* enum wl_kind */
    uint8_t align_lg2; /* required alignment of the address */
    uint16_t aux;      /* W7: buffer object; W6: 0 = 4K, 1 = 64K, 2 = contiguous, 3 = list */
    uint32_t slot;     /* the generator's handle; a free names the slot of its allocation */
    uint64_t size;
    uint64_t a; /* ALLOC: window start; ALLOC_AT, MAP, UNMAP: virtual address */
    uint64_t b; /* ALLOC: window end; MAP: physical address or object offset; MAP_LIST: seed of the list */
};

struct wl_stream {
    char name[16];
    uint64_t seed;
    uint64_t base, limit; /* the managed space [base, limit) */
    uint32_t slots;       /* slot numbers are below this */
    uint32_t prefill;     /* ops[0, prefill) build the initial state and are timed apart */
    uint32_t nops;        /* prefill included */
    struct wl_op *ops;
};

/* All names, ended by NULL: W1 W1b W2a W2b W3a W3b W4a..W4f W5 W6a W6b W6c W7 W8. */
extern const char *const wl_names[];

/* Builds a stream. Gives 0; -1: no such name. Ends the program when there is no memory. */
int wl_make(const char *name, struct wl_stream *out);
void wl_free(struct wl_stream *s);

/* FNV-1a over the records. */
uint64_t wl_hash(const struct wl_stream *s);

/* The value wl_hash must have for that workload, 0 if the name is unknown. */
uint64_t wl_hash_expected(const char *name);

/* splitmix64, the only generator used; below(n) = floor(r * n / 2^64). */
static inline uint64_t wl_next(uint64_t *state)
{
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline uint64_t wl_below(uint64_t *state, uint64_t n)
{
    __extension__ typedef unsigned __int128 u128;
    return (uint64_t)(((u128)wl_next(state) * n) >> 64);
}

/* Physical address of page i of a MAP_LIST with seed b: 4K aligned, below 2^34. */
static inline uint64_t wl_scatter_pa(uint64_t b, uint64_t i)
{
    uint64_t s = b + i * 0xD1B54A32D192ED03u;
    return (wl_next(&s) & (((uint64_t)1 << 22) - 1)) << 12;
}

#endif
