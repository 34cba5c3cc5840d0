/* SPDX-License-Identifier: MIT */
/* heap.c - binary min-heap by value. Owns its array; calls only the memory hook, and only to grow or destroy.
 * Keeps: no item is less than its parent (index (i - 1) / 2). */
#include "base/heap.h"

#include "base/bytes.h"
#include "base/check.h"

static bool item_less(struct heap_item a, struct heap_item b)
{
    return a.key != b.key ? a.key < b.key : a.payload < b.payload;
}

void heap_init(struct heap *h, const struct base_memory *memory)
{
    h->items = NULL;
    h->count = 0;
    h->capacity = 0;
    h->memory = *memory;
}

void heap_destroy(struct heap *h)
{
    memory_free(&h->memory, h->items, h->capacity * sizeof *h->items);
    h->items = NULL;
    h->count = 0;
    h->capacity = 0;
}

bool heap_reserve(struct heap *h, uint32_t n)
{
    uint32_t capacity = h->capacity == 0 ? 16 : h->capacity;
    if (n <= h->capacity - h->count) return true;
    if (n > INT32_MAX - h->count) return false;
    while (capacity < h->count + n) capacity *= 2;
    struct heap_item *items = memory_alloc(&h->memory, capacity * sizeof *items, _Alignof(struct heap_item));
    if (items == NULL) return false;
    if (h->count != 0) memcpy(items, h->items, h->count * sizeof *items);
    memory_free(&h->memory, h->items, h->capacity * sizeof *items);
    h->items = items;
    h->capacity = capacity;
    return true;
}

static void sift_up(struct heap *h, uint32_t at, struct heap_item item)
{
    while (at != 0 && item_less(item, h->items[(at - 1) / 2])) {
        h->items[at] = h->items[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    h->items[at] = item;
}

static void sift_down(struct heap *h, uint32_t at, struct heap_item item)
{
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= h->count) break;
        if (child + 1 < h->count && item_less(h->items[child + 1], h->items[child])) child++;
        if (!item_less(h->items[child], item)) break;
        h->items[at] = h->items[child];
        at = child;
    }
    h->items[at] = item;
}

/* The last item fills the hole; it may belong above or below it. */
static void remove_at(struct heap *h, uint32_t at)
{
    struct heap_item last = h->items[--h->count];
    if (at == h->count) return;
    if (at != 0 && item_less(last, h->items[(at - 1) / 2])) sift_up(h, at, last);
    else sift_down(h, at, last);
}

void heap_push(struct heap *h, uint64_t key, uint64_t payload)
{
    CHECK(h->count < h->capacity);
    sift_up(h, h->count++, (struct heap_item){ key, payload });
}

bool heap_peek(const struct heap *h, struct heap_item *least)
{
    *least = h->count == 0 ? (struct heap_item){ 0, 0 } : h->items[0];
    return h->count != 0;
}

bool heap_pop(struct heap *h, struct heap_item *least)
{
    if (!heap_peek(h, least)) return false;
    remove_at(h, 0);
    return true;
}

bool heap_remove(struct heap *h, uint64_t key, uint64_t payload)
{
    for (uint32_t i = 0; i < h->count; i++) {
        if (h->items[i].key != key || h->items[i].payload != payload) continue;
        remove_at(h, i);
        return true;
    }
    return false;
}
