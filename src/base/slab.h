/* SPDX-License-Identifier: MIT */
/* slab.h - fixed-size objects, split into the part that may fail (reserve) and the part that may not (take).
 * Owns its chunks; calls only the memory hook, and only in reserve, hold and destroy.
 * Objects are zero when taken and 0xDD when given back. A chunk stays until slab_destroy. */
#ifndef VIDMM_BASE_SLAB_H
#define VIDMM_BASE_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"

enum { SLAB_POISON = 0xDD };

struct slab {
    struct base_memory memory;
    uint32_t size;              /* bytes the owner sees */
    uint32_t stride;            /* bytes from one object to the next */
    uint32_t align;
    uint32_t chunk_bytes;
    uint32_t chunk_first;       /* offset of the first object of a chunk */
    uint32_t chunk_objects;
    uint64_t free, live;        /* objects */
    uint64_t held;              /* of the free ones: promised by slab_hold; held <= free */
    void *free_list;            /* linked through the first word of the free objects */
    void *chunks;               /* linked through the first word of each chunk */
};

/* Needs: size > 0, align a power of two <= 4096. Takes no memory yet. */
void slab_init(struct slab *s, size_t size, size_t align, const struct base_memory *memory);

/* Gives: at least n objects are free beyond the held ones, so the next n slab_take succeed. Not cumulative:
 * two reserves of 3 promise 3. Fails: no memory; free objects may have been added, nothing else changed. */
bool slab_reserve(struct slab *s, uint32_t n);

/* Never fails. Needs (CHECKed): an object is free beyond the held ones. Gives: size bytes of zero. */
void *slab_take(struct slab *s);

/* Never fails. Needs: p came from slab_take of this slab. */
void slab_give(struct slab *s, void *p);

/* For promises that outlive a call (tickets): sets n free objects aside / takes one of them / lets n go.
 * slab_hold fails like slab_reserve; the other two never fail and CHECK that so many are held. */
bool slab_hold(struct slab *s, uint32_t n);
void *slab_take_held(struct slab *s);
void slab_unhold(struct slab *s, uint32_t n);

/* Frees all memory, that of live objects too (a caller for whom that is a bug checks s->live first). */
void slab_destroy(struct slab *s);

#endif
