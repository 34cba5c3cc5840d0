/* SPDX-License-Identifier: MIT */
/* tree.c - AVL tree: insert and remove like a plain search tree, then one walk upwards (rebalance).
 * Owns the links inside the nodes; calls nothing. Keeps: the heights of two siblings differ by at most 1. */
#include "base/tree.h"

#include "base/check.h"

/* Puts `with` (may be NULL) where `old` hangs below parent. */
static void replace_child(struct tree *t, struct tree_node *parent, struct tree_node *old,
                          struct tree_node *with)
{
    if (parent == NULL) t->root = with;
    else parent->child[parent->child[1] == old] = with;
    if (with != NULL) with->parent = parent;
}

/* Lifts n's child of side `side` above n; returns it. The key order stays. */
static struct tree_node *rotate(struct tree *t, struct tree_node *n, int side)
{
    struct tree_node *up = n->child[side];
    struct tree_node *inner = up->child[!side];
    replace_child(t, n->parent, n, up);
    up->child[!side] = n;
    n->parent = up;
    n->child[side] = inner;
    if (inner != NULL) inner->parent = n;
    n->height = tree_height_from_children(n);
    up->height = tree_height_from_children(up);
    return up;
}

/* Walks up from n while heights change. At most one node of the path is out of balance by 2 at a time. */
static void rebalance(struct tree *t, struct tree_node *n)
{
    while (n != NULL) {
        uint32_t before = n->height;
        uint32_t small = tree_height_of(n->child[0]), great = tree_height_of(n->child[1]);
        if (small > great + 1 || great > small + 1) {
            int heavy = great > small;
            struct tree_node *c = n->child[heavy];
            if (tree_height_of(c->child[!heavy]) > tree_height_of(c->child[heavy])) rotate(t, c, !heavy);
            n = rotate(t, n, heavy);
        } else {
            n->height = tree_height_from_children(n);
        }
        if (n->height == before) return;
        n = n->parent;
    }
}

bool tree_insert(struct tree *t, struct tree_node *n, uint64_t key)
{
    struct tree_node *parent = NULL, **at = &t->root;
    CHECK(n->height == 0);
    while (*at != NULL) {
        parent = *at;
        if (parent->key == key) return false;
        at = &parent->child[key > parent->key];
    }
    n->child[0] = NULL;
    n->child[1] = NULL;
    n->parent = parent;
    n->key = key;
    n->height = 1;
    *at = n;
    rebalance(t, parent);
    return true;
}

void tree_remove(struct tree *t, struct tree_node *n)
{
    struct tree_node *from;                     /* the lowest node whose subtree shrank */
    CHECK(n->height != 0);
    if (n->child[0] == NULL || n->child[1] == NULL) {
        from = n->parent;
        replace_child(t, n->parent, n, n->child[n->child[0] == NULL]);
    } else {
        struct tree_node *next = n->child[1];   /* the successor takes n's place, links and height */
        while (next->child[0] != NULL) next = next->child[0];
        from = next->parent == n ? next : next->parent;
        replace_child(t, next->parent, next, next->child[1]);
        replace_child(t, n->parent, n, next);
        next->child[0] = n->child[0];
        next->child[0]->parent = next;
        next->child[1] = n->child[1];
        if (next->child[1] != NULL) next->child[1]->parent = next;
        next->height = n->height;
    }
    n->child[0] = NULL;
    n->child[1] = NULL;
    n->parent = NULL;
    n->height = 0;
    rebalance(t, from);
}

struct tree_node *tree_find(const struct tree *t, uint64_t key)
{
    struct tree_node *n = t->root;
    while (n != NULL && n->key != key) n = n->child[key > n->key];
    return n;
}

struct tree_node *tree_floor(const struct tree *t, uint64_t key)
{
    struct tree_node *best = NULL;
    for (struct tree_node *n = t->root; n != NULL; ) {
        bool fits = n->key <= key;
        if (fits) best = n;
        n = n->child[fits];
    }
    return best;
}

struct tree_node *tree_ceil(const struct tree *t, uint64_t key)
{
    struct tree_node *best = NULL;
    for (struct tree_node *n = t->root; n != NULL; ) {
        bool fits = n->key >= key;
        if (fits) best = n;
        n = n->child[!fits];
    }
    return best;
}

static struct tree_node *outermost(struct tree_node *n, int side)
{
    while (n != NULL && n->child[side] != NULL) n = n->child[side];
    return n;
}

struct tree_node *tree_first(const struct tree *t) { return outermost(t->root, 0); }
struct tree_node *tree_last(const struct tree *t) { return outermost(t->root, 1); }

/* The neighbour of n on one side: the near end of that subtree, or the first ancestor reached from there. */
static struct tree_node *neighbour(const struct tree_node *n, int side)
{
    if (n->child[side] != NULL) return outermost(n->child[side], !side);
    while (n->parent != NULL && n->parent->child[side] == n) n = n->parent;
    return n->parent;
}

struct tree_node *tree_next(const struct tree_node *n) { return neighbour(n, 1); }
struct tree_node *tree_prev(const struct tree_node *n) { return neighbour(n, 0); }
