/* SPDX-License-Identifier: MIT */
/* span_gap.c - best fit over the size classes (see span_gap.h).
 * Owns: the class sets.  Calls: nothing.  A pick looks at LEAVES_TRIED leaves in each of CLASSES_TRIED
 * classes; what it does not find, the tree finds. */
#include "base/span_gap.h"

enum { LEAVES_TRIED = 2, CLASSES_TRIED = 4 };

static uint64_t *sum_of(const struct span_index *x, uint32_t cls, uint32_t *words)
{
    *words = (x->class_set_words + 63) / 64;
    return &x->class_sum[(size_t)cls * *words];
}

void class_drop(struct span_index *x, uint32_t cls, uint32_t leaf)
{
    uint64_t *word = &x->class_set[(size_t)cls * x->class_set_words + leaf / 64];
    uint32_t words;
    *word &= ~((uint64_t)1 << (leaf % 64));
    if (*word != 0) return;
    uint64_t *sum = sum_of(x, cls, &words);
    sum[leaf / 4096] &= ~((uint64_t)1 << (leaf / 64 % 64));
    for (uint32_t i = 0; i < words; i++) {
        if (sum[i] != 0) return;
    }
    x->class_bits[cls / 64] &= ~((uint64_t)1 << (cls % 64));
}

static bool leaf_has_class(const struct span_node *leaf, uint8_t cls)
{
    uint32_t hits = 0;
    for (uint32_t i = 0; i < leaf->n; i++) hits += leaf->cls[i] == cls;
    return hits != 0;
}

void gap_reclass(struct span_index *x, struct span_node *leaf, uint32_t at)
{
    uint8_t old = leaf->cls[at], cls = gap_class(x, gap_start(leaf, at), leaf->key[at]);
    if (cls == old) return;
    leaf->cls[at] = cls;
    if (old != CLASS_NONE && !leaf_has_class(leaf, old)) class_drop(x, old, leaf->id);
    if (cls != CLASS_NONE) class_add(x, cls, leaf->id);
}

void gap_forget_leaf(struct span_index *x, const struct span_node *leaf)
{
    for (uint32_t i = 0; i < leaf->n; i++) {
        if (leaf->cls[i] != CLASS_NONE) class_drop(x, leaf->cls[i], leaf->id);
    }
}

void gap_record_leaf(struct span_index *x, const struct span_node *leaf)
{
    for (uint32_t i = 0; i < leaf->n; i++) {
        if (leaf->cls[i] != CLASS_NONE) class_add(x, leaf->cls[i], leaf->id);
    }
}

/* The first class >= cls that has a leaf, or SPAN_CLASSES. */
static uint32_t class_next(const struct span_index *x, uint32_t cls)
{
    uint32_t w = cls / 64;
    if (cls >= SPAN_CLASSES) return SPAN_CLASSES;
    uint64_t bits = x->class_bits[w] & (~(uint64_t)0 << (cls % 64));
    while (bits == 0) {
        if (++w == SPAN_CLASS_WORDS) return SPAN_CLASSES;
        bits = x->class_bits[w];
    }
    return w * 64 + ctz64(bits);
}

/* The first leaf id >= from in the set of a class, or SPAN_NONE. */
static uint32_t class_leaf(const struct span_index *x, uint32_t cls, uint32_t from)
{
    const uint64_t *set = &x->class_set[(size_t)cls * x->class_set_words];
    uint32_t words, w = from / 64;
    const uint64_t *sum = sum_of(x, cls, &words);
    if (w >= x->class_set_words) return SPAN_NONE;
    uint64_t bits = set[w] & (~(uint64_t)0 << (from % 64));
    if (bits != 0) return w * 64 + ctz64(bits);
    for (uint32_t i = ++w / 64; i < words; i++, w = i * 64) {
        bits = sum[i] & (~(uint64_t)0 << (w % 64));
        if (bits == 0) continue;
        w = i * 64 + ctz64(bits);
        return w * 64 + ctz64(set[w]);
    }
    return SPAN_NONE;
}

/* The lowest class that may hold a fitting gap. */
static uint32_t class_first(const struct span_want *w)
{
    uint64_t pages = w->size / SPAN_PAGE;
    if (w->align >= SPAN_UNIT) return class_of_units(pages < 16 ? 1 : pages / 16);
    if (pages <= 30) return (uint32_t)pages;
    return class_of_units((pages - 15) / 16); /* up to 15 pages may lie before the first boundary */
}

struct pick {
    struct span_spot spot;
    uint64_t size; /* of the gap */
};

/* The tightest fitting gap of a leaf among those of class `low` or above, if it beats *best. */
static void leaf_pick(struct span_node *leaf, const struct span_want *want, uint32_t low, struct pick *best,
                      uint64_t *start)
{
    for (uint32_t i = 0; i < leaf->n; i++) {
        if (leaf->cls[i] < low) continue;
        uint64_t from = gap_start(leaf, i), size = leaf->key[i] - from, at;
        if (size < want->size || size >= best->size || !want_fits(want, from, leaf->key[i], &at)) continue;
        *best = (struct pick){{leaf, i}, size};
        *start = at;
    }
}

struct span_spot gap_pick(const struct span_index *x, const struct span_want *want, uint64_t *start)
{
    struct pick best = {{NULL, 0}, UINT64_MAX};
    uint32_t classes = CLASSES_TRIED, low = class_first(want);
    for (uint32_t c = class_next(x, low); c < SPAN_CLASSES; c = class_next(x, c + 1)) {
        uint32_t leaves = LEAVES_TRIED, id = class_leaf(x, c, 0);
        for (; id != SPAN_NONE && leaves != 0; id = class_leaf(x, c, id + 1), leaves--) {
            leaf_pick(node_at(x, id), want, low, &best, start);
            if (best.size == want->size) break;
        }
        if (best.spot.leaf || --classes == 0) break;
    }
    return best.spot;
}

const char *gap_check(const struct span_index *x)
{
    uint32_t bits = 0, found = 0;
    const struct span_node *n = x->root;
    while (n->level != 0) n = n->child[0];
    for (; n; n = n->next) {
        for (uint32_t i = 0; i < n->n; i++) {
            uint8_t cls = n->cls[i];
            if (cls != gap_class(x, gap_start(n, i), n->key[i])) return "gap: class";
            if (cls == CLASS_NONE) continue;
            uint32_t first = 0;
            while (n->cls[first] != cls) first++;
            bits += first == i;
            uint64_t word = x->class_set[(size_t)cls * x->class_set_words + n->id / 64];
            if (!(word >> (n->id % 64) & 1)) return "gap: leaf missing in its class";
        }
    }
    for (uint32_t c = 0; c < SPAN_CLASSES; c++) {
        uint32_t before = found;
        for (uint32_t id = class_leaf(x, c, 0); id != SPAN_NONE; id = class_leaf(x, c, id + 1)) found++;
        if ((x->class_bits[c / 64] >> (c % 64) & 1) != (found != before)) return "gap: class bitmap";
        for (uint32_t w = 0; w < x->class_set_words; w++) {
            before += popcount64(x->class_set[(size_t)c * x->class_set_words + w]);
        }
        if (before != found) return "gap: summary of a set";
    }
    return found == bits ? NULL : "gap: leaf in a class it has not";
}
