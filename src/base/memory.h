/* SPDX-License-Identifier: MIT */
/* memory.h - the one way base code gets memory: a hook handed in by its owner. Calls nothing. */
#ifndef VIDMM_BASE_MEMORY_H
#define VIDMM_BASE_MEMORY_H

#include <stddef.h>

struct base_memory {
    void *(*alloc)(void *ctx, size_t bytes, size_t align);  /* NULL when there is none; contents undefined */
    void (*free)(void *ctx, void *p, size_t bytes);         /* bytes as given to alloc; p is never NULL */
    void *ctx;
};

static inline void *memory_alloc(const struct base_memory *m, size_t bytes, size_t align)
{
    return m->alloc(m->ctx, bytes, align);
}

static inline void memory_free(const struct base_memory *m, void *p, size_t bytes)
{
    if (p != NULL) m->free(m->ctx, p, bytes);
}

#endif
