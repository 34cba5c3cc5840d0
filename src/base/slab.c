/* SPDX-License-Identifier: MIT */
/* slab.c - fixed-size objects in chunks of 16 to 64 KiB.
 * Owns the chunks; calls only the memory hook. Keeps: held <= free; every free object is poisoned behind its
 * link word, which debug builds check on take, so a write after give is caught there. */
#include "base/slab.h"

#include "base/bits.h"
#include "base/bytes.h"
#include "base/check.h"

enum { CHUNK_BYTES_MIN = 16 * 1024, CHUNK_BYTES_MAX = 64 * 1024, CHUNK_OBJECTS_WANTED = 128 };

void slab_init(struct slab *s, size_t size, size_t align, const struct base_memory *memory)
{
    CHECK(size > 0 && size <= UINT32_MAX / 2);
    CHECK(is_pow2(align) && align <= 4096);
    memset(s, 0, sizeof *s);
    align = max_u64(align, _Alignof(void *));
    s->memory = *memory;
    s->size = (uint32_t)size;
    s->align = (uint32_t)align;
    s->stride = (uint32_t)align_up(max_u64(size, sizeof(void *)), align);
    s->chunk_first = (uint32_t)align_up(sizeof(void *), align);
    uint64_t wanted = s->chunk_first + (uint64_t)s->stride * CHUNK_OBJECTS_WANTED;
    wanted = min_u64(max_u64(wanted, CHUNK_BYTES_MIN), CHUNK_BYTES_MAX);
    s->chunk_bytes = (uint32_t)max_u64(wanted, (uint64_t)s->chunk_first + s->stride);
    s->chunk_objects = (s->chunk_bytes - s->chunk_first) / s->stride;
}

static void push_free(struct slab *s, void *p)
{
#ifdef VIDMM_DEBUG
    memset(p, SLAB_POISON, s->stride);
#endif
    *(void **)p = s->free_list;
    s->free_list = p;
    s->free++;
}

static bool add_chunk(struct slab *s)
{
    char *chunk = memory_alloc(&s->memory, s->chunk_bytes, s->align);
    if (chunk == NULL) return false;
    *(void **)(void *)chunk = s->chunks;
    s->chunks = chunk;
    for (uint32_t i = s->chunk_objects; i-- != 0; )     /* backwards: objects are taken in address order */
        push_free(s, chunk + s->chunk_first + (size_t)i * s->stride);
    return true;
}

bool slab_reserve(struct slab *s, uint32_t n)
{
    while (s->free - s->held < n)
        if (!add_chunk(s)) return false;
    return true;
}

#ifdef VIDMM_DEBUG
static bool poison_is_intact(const struct slab *s, const void *p)
{
    const unsigned char *b = p;
    for (uint32_t i = sizeof(void *); i < s->stride; i++)
        if (b[i] != SLAB_POISON) return false;
    return true;
}
#endif

void *slab_take(struct slab *s)
{
    CHECK(s->free > s->held);
    void *p = s->free_list;
#ifdef VIDMM_DEBUG
    CHECK(poison_is_intact(s, p));
#endif
    s->free_list = *(void **)p;
    s->free--;
    s->live++;
    memset(p, 0, s->size);
    return p;
}

void slab_give(struct slab *s, void *p)
{
    CHECK(p != NULL);
    CHECK(s->live > 0);
    s->live--;
    push_free(s, p);
}

bool slab_hold(struct slab *s, uint32_t n)
{
    if (!slab_reserve(s, n)) return false;
    s->held += n;
    return true;
}

void slab_unhold(struct slab *s, uint32_t n)
{
    CHECK(s->held >= n);
    s->held -= n;
}

void *slab_take_held(struct slab *s)
{
    slab_unhold(s, 1);
    return slab_take(s);
}

void slab_destroy(struct slab *s)
{
    while (s->chunks != NULL) {
        void *chunk = s->chunks;
        s->chunks = *(void **)chunk;
        memory_free(&s->memory, chunk, s->chunk_bytes);
    }
    s->free_list = NULL;
    s->free = 0;
    s->live = 0;
    s->held = 0;
}
