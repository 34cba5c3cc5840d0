/* SPDX-License-Identifier: MIT */
/* hash.h - 64-bit hash of a state: the same values in the same order give the same hash on every machine.
 * Not for keys chosen by an enemy. Calls nothing. */
#ifndef VIDMM_BASE_HASH_H
#define VIDMM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* A finaliser with full avalanche (every input bit reaches every output bit). */
static inline uint64_t hash_mix(uint64_t v)
{
    v = (v ^ (v >> 30)) * 0xBF58476D1CE4E5B9ull;
    v = (v ^ (v >> 27)) * 0x94D049BB133111EBull;
    return v ^ (v >> 31);
}

static inline uint64_t hash_init(void) { return 0x243F6A8885A308D3ull; }

/* Order matters: the old hash is multiplied before the value comes in. */
static inline uint64_t hash_u64(uint64_t h, uint64_t v)
{
    return hash_mix(h * 0x9E3779B97F4A7C15ull + v + 1);
}

/* Byte order independent; the length is part of the hash, so "ab","c" differs from "a","bc". */
static inline uint64_t hash_bytes(uint64_t h, const void *data, size_t len)
{
    const unsigned char *b = data;
    h = hash_u64(h, len);
    for (size_t at = 0; at < len; at += 8) {
        uint64_t v = 0;
        size_t n = len - at < 8 ? len - at : 8;
        for (size_t i = 0; i < n; i++) v |= (uint64_t)b[at + i] << (8 * i);
        h = hash_u64(h, v);
    }
    return h;
}

#endif
