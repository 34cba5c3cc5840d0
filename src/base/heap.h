/* SPDX-License-Identifier: MIT */
/* heap.h - binary min-heap of (key, payload) values over an array it grows through the memory hook.
 * Equal keys leave in the order of their payloads, so the order never depends on history. Growing happens
 * only in heap_reserve; push and pop never fail after it. */
#ifndef VIDMM_BASE_HEAP_H
#define VIDMM_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"

struct heap_item { uint64_t key, payload; };

struct heap {
    struct heap_item *items;
    uint32_t count, capacity;
    struct base_memory memory;
};

void heap_init(struct heap *h, const struct base_memory *memory);
void heap_destroy(struct heap *h);

/* Gives: n more pushes succeed. Fails: no memory (or 2^31 items); nothing changed. */
bool heap_reserve(struct heap *h, uint32_t n);

/* Needs (CHECKed): room, see heap_reserve. */
void heap_push(struct heap *h, uint64_t key, uint64_t payload);

/* The least item. Fails (false, *least is zero): empty. */
bool heap_peek(const struct heap *h, struct heap_item *least);
bool heap_pop(struct heap *h, struct heap_item *least);

/* Removes one item that equals (key, payload). Fails: there is none. O(n). */
bool heap_remove(struct heap *h, uint64_t key, uint64_t payload);

static inline bool heap_is_empty(const struct heap *h) { return h->count == 0; }

#endif
