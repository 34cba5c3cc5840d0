/* SPDX-License-Identifier: MIT */
/* tree.h - intrusive height-balanced (AVL) search tree over unique u64 keys.
 * Owns only the links inside its nodes; calls nothing, allocates nothing, does not recurse.
 * AVL and not a treap: keys are addresses a client can choose, so the height must hold for every order. */
#ifndef VIDMM_BASE_TREE_H
#define VIDMM_BASE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct tree_node {
    struct tree_node *child[2];     /* [0] smaller keys, [1] greater keys */
    struct tree_node *parent;
    uint64_t key;
    uint32_t height;                /* of the subtree; 1 for a leaf, 0 while in no tree */
};

struct tree { struct tree_node *root; };    /* zero is an empty tree */

#define tree_entry(node, type, member) container_of(node, type, member)

static inline void tree_init(struct tree *t) { t->root = NULL; }
static inline bool tree_is_empty(const struct tree *t) { return t->root == NULL; }
static inline bool tree_is_linked(const struct tree_node *n) { return n->height != 0; }

/* Links n under key. Fails (false, nothing changed): the key is there already. Needs: n is in no tree. */
bool tree_insert(struct tree *t, struct tree_node *n, uint64_t key);

/* Unlinks n. Needs: n is in t. Gives: tree_is_linked(n) is false, n->key is kept. */
void tree_remove(struct tree *t, struct tree_node *n);

/* All return NULL when there is no such node. */
struct tree_node *tree_find(const struct tree *t, uint64_t key);        /* key == k */
struct tree_node *tree_floor(const struct tree *t, uint64_t key);       /* greatest key <= k */
struct tree_node *tree_ceil(const struct tree *t, uint64_t key);        /* smallest key >= k */
struct tree_node *tree_first(const struct tree *t);
struct tree_node *tree_last(const struct tree *t);
struct tree_node *tree_next(const struct tree_node *n);
struct tree_node *tree_prev(const struct tree_node *n);

#define TREE_FOREACH(it, t) for (struct tree_node *it = tree_first(t); it != NULL; it = tree_next(it))

static inline uint32_t tree_height_of(const struct tree_node *n) { return n == NULL ? 0 : n->height; }

static inline uint32_t tree_height_from_children(const struct tree_node *n)
{
    uint32_t a = tree_height_of(n->child[0]), b = tree_height_of(n->child[1]);
    return (a > b ? a : b) + 1;
}

static inline bool tree_node_is_sound(const struct tree_node *n)
{
    uint32_t a = tree_height_of(n->child[0]), b = tree_height_of(n->child[1]);
    if (n->height != tree_height_from_children(n) || a > b + 1 || b > a + 1) return false;
    for (int side = 0; side < 2; side++)
        if (n->child[side] != NULL && n->child[side]->parent != n) return false;
    return true;
}

/* True if links, order, heights and balance all hold. O(n); inline, so that release builds carry no copy. */
static inline bool tree_check(const struct tree *t)
{
    const struct tree_node *before = NULL;
    if (t->root != NULL && t->root->parent != NULL) return false;
    TREE_FOREACH(n, t) {
        if (!tree_node_is_sound(n) || (before != NULL && before->key >= n->key)) return false;
        before = n;
    }
    return true;
}

#endif
