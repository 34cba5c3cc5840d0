/* SPDX-License-Identifier: MIT */
/* list.h - intrusive, circular, doubly linked list. Head and node are the same struct; calls nothing.
 *
 * A node that is in no list points to itself (list_init, or after list_remove) or is all zero, so a zeroed
 * object holds valid unlinked nodes and removing twice is harmless. A head must be list_init'ed. */
#ifndef VIDMM_BASE_LIST_H
#define VIDMM_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

struct list { struct list *next, *prev; };

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define list_entry(node, type, member) container_of(node, type, member)

static inline void list_init(struct list *l) { l->next = l; l->prev = l; }

/* True for a head without nodes. */
static inline bool list_empty(const struct list *head) { return head->next == head; }

/* True for a node that is in a list now. */
static inline bool list_is_linked(const struct list *node)
{
    return node->next != NULL && node->next != node;
}

static inline void list_insert_between(struct list *node, struct list *prev, struct list *next)
{
    DCHECK(!list_is_linked(node));
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    list_insert_between(node, head->prev, head);
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_insert_between(node, head, head->next);
}

static inline void list_insert_before(struct list *at, struct list *node)
{
    list_insert_between(node, at->prev, at);
}

static inline void list_insert_after(struct list *at, struct list *node)
{
    list_insert_between(node, at, at->next);
}

static inline void list_remove(struct list *node)
{
    if (!list_is_linked(node)) return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

static inline void list_move_back(struct list *head, struct list *node)
{
    list_remove(node);
    list_push_back(head, node);
}

/* NULL when empty. */
static inline struct list *list_first(const struct list *head)
{
    return list_empty(head) ? NULL : head->next;
}

static inline struct list *list_last(const struct list *head)
{
    return list_empty(head) ? NULL : head->prev;
}

/* NULL at the end. */
static inline struct list *list_next(const struct list *head, const struct list *node)
{
    return node->next == head ? NULL : node->next;
}

static inline struct list *list_pop_front(struct list *head)
{
    struct list *node = list_first(head);
    if (node != NULL) list_remove(node);
    return node;
}

/* Appends all nodes of `from` to `to` in order; `from` is empty afterwards. */
static inline void list_splice_back(struct list *to, struct list *from)
{
    if (list_empty(from)) return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

/* O(n). */
static inline uint32_t list_count(const struct list *head)
{
    uint32_t n = 0;
    for (const struct list *at = head->next; at != head; at = at->next) n++;
    return n;
}

/* `it` is a `struct list *`. The list must not change under LIST_FOREACH; under LIST_FOREACH_SAFE the body
 * may remove (or free) `it`, and only it. */
#define LIST_FOREACH(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
#define LIST_FOREACH_SAFE(it, tmp, head) \
    for (struct list *it = (head)->next, *tmp = it->next; it != (head); it = tmp, tmp = tmp->next)

#endif
