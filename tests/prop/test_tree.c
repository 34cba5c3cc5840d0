/* SPDX-License-Identifier: MIT */
/* test_tree.c - if this fails, core loses or doubles an object it keeps in a tree, a list, a slab or a heap.
 * Each structure of base against the dullest model: arrays, sorted or not. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/hash.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/range.h"
#include "base/slab.h"
#include "base/tree.h"
#include "vt.h"

static uint64_t below(uint64_t *seed, uint64_t n)
{
    *seed += 0x9E3779B97F4A7C15ull;
    return hash_mix(*seed) % n;
}

/* ---- tree ---- */

enum { KEYS = 512 };

struct tree_world {
    struct tree tree;
    struct tree_node node[KEYS];
    bool in[KEYS];
    uint64_t scale, offset;
};

static uint64_t key_of(const struct tree_world *w, uint32_t i) { return w->offset + i * w->scale; }

/* Index of the nearest member at or beyond `from` in steps of `step`, or -1. */
static int nearest(const struct tree_world *w, int from, int step)
{
    while (from >= 0 && from < KEYS && !w->in[from]) from += step;
    return from >= 0 && from < KEYS ? from : -1;
}

static void expect_node(const struct tree_world *w, const struct tree_node *n, int i)
{
    assert_ptr_equal(n, i < 0 ? NULL : &w->node[i]);
}

static void tree_agrees(const struct tree_world *w, int around)
{
    assert_true(tree_check(&w->tree));
    assert_int_equal(tree_is_empty(&w->tree), nearest(w, 0, 1) < 0);
    expect_node(w, tree_first(&w->tree), nearest(w, 0, 1));
    expect_node(w, tree_last(&w->tree), nearest(w, KEYS - 1, -1));
    uint64_t key = key_of(w, (uint32_t)around);
    expect_node(w, tree_find(&w->tree, key), w->in[around] ? around : -1);
    expect_node(w, tree_floor(&w->tree, key), nearest(w, around, -1));
    expect_node(w, tree_ceil(&w->tree, key), nearest(w, around, 1));
    expect_node(w, tree_floor(&w->tree, key + w->scale - 1), nearest(w, around, -1));
    expect_node(w, tree_ceil(&w->tree, key + 1), nearest(w, around + 1, 1));
    if (!w->in[around]) return;
    expect_node(w, tree_next(&w->node[around]), nearest(w, around + 1, 1));
    expect_node(w, tree_prev(&w->node[around]), nearest(w, around - 1, -1));
}

static void tree_toggle(struct tree_world *w, uint32_t i)
{
    struct tree_node twin = { .height = 0 };
    if (w->in[i]) {
        assert_false(tree_insert(&w->tree, &twin, key_of(w, i)));
        tree_remove(&w->tree, &w->node[i]);
    } else {
        assert_true(tree_insert(&w->tree, &w->node[i], key_of(w, i)));
    }
    w->in[i] = !w->in[i];
    assert_int_equal(tree_is_linked(&w->node[i]), w->in[i]);
}

static void tree_matches_a_sorted_array(void **state)
{
    (void)state;
    uint64_t seed = vt_seed();
    print_message("seed %llu\n", (unsigned long long)seed);
    for (uint64_t round = 0; round < vt_rounds(20); round++) {
        struct tree_world *w = calloc(1, sizeof *w);
        uint64_t keys = 1 + below(&seed, KEYS);
        w->scale = 1 + below(&seed, 1000) * below(&seed, 2);
        w->offset = below(&seed, 2) != 0 ? 0 : UINT64_MAX - w->scale * KEYS;
        for (uint32_t i = 0; i < 3000; i++) {
            tree_toggle(w, (uint32_t)below(&seed, keys));
            tree_agrees(w, (int)below(&seed, KEYS));
        }
        free(w);
    }
}

/* All insertion orders of 7 keys, then all removals in key order from each side. */
static void tree_survives_every_order_of_seven(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 7 * 6 * 5 * 4 * 3 * 2; code++) {
        struct tree tree = { NULL };
        struct tree_node node[7];
        bool used[7] = { false };
        memset(node, 0, sizeof node);
        for (uint32_t left = 7, rest = code; left != 0; rest /= left, left--) {
            uint32_t skip = rest % left, k = 0;
            while (used[k] || skip-- != 0) k++;
            used[k] = true;
            assert_true(tree_insert(&tree, &node[k], k));
            assert_true(tree_check(&tree));
        }
        assert_int_equal(tree.root->height, 3 + (tree.root->height == 4));
        for (uint32_t i = 0; i < 7; i++) {
            tree_remove(&tree, (code + i) % 2 != 0 ? tree_first(&tree) : tree_last(&tree));
            assert_true(tree_check(&tree));
        }
        assert_true(tree_is_empty(&tree));
    }
}

/* Addresses come in order; a tree that degenerates then makes every look-up linear. */
static void tree_stays_flat_for_ascending_keys(void **state)
{
    enum { N = 65536 };
    (void)state;
    struct tree tree = { NULL };
    struct tree_node *node = calloc(N, sizeof *node);
    for (uint32_t i = 0; i < N; i++) assert_true(tree_insert(&tree, &node[i], i));
    assert_true(tree_check(&tree));
    assert_true(tree.root->height <= 17);
    free(node);
}

static void tree_check_sees_damage(void **state)
{
    (void)state;
    struct tree tree = { NULL };
    struct tree_node node[8];
    memset(node, 0, sizeof node);
    for (uint32_t i = 0; i < 8; i++) assert_true(tree_insert(&tree, &node[i], i * 10));
    node[2].key = 500;
    assert_false(tree_check(&tree));
    node[2].key = 20;
    tree.root->height++;
    assert_false(tree_check(&tree));
    tree.root->height--;
    struct tree_node *kept = node[7].parent;
    node[7].parent = &node[0];
    assert_false(tree_check(&tree));
    node[7].parent = kept;
    assert_true(tree_check(&tree));
}

/* ---- slab ---- */

static int64_t blocks_left, blocks_live;

static void *count_alloc(void *ctx, size_t bytes, size_t align)
{
    (void)ctx;
    if (blocks_left == 0) return NULL;
    blocks_left--;
    blocks_live++;
    return aligned_alloc(align, (bytes + align - 1) / align * align);
}

static void count_free(void *ctx, void *p, size_t bytes)
{
    (void)ctx;
    memset(p, 0xEE, bytes);
    blocks_live--;
    free(p);
}

static const struct base_memory counting_memory = { count_alloc, count_free, NULL };

static bool all_bytes_are(const unsigned char *p, size_t n, unsigned char v)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != v) return false;
    return true;
}

/* Takes and gives objects of one shape for a while; every object is aligned, zero, and nobody else's. */
static void slab_history(size_t size, size_t align, uint64_t seed)
{
    enum { N = 300 };
    unsigned char *object[N], mark[N];
    uint32_t n = 0;
    struct slab s;
    blocks_left = INT64_MAX;
    slab_init(&s, size, align, &counting_memory);
    for (uint32_t i = 0; i < 3000; i++) {
        if (n < N && below(&seed, 100) < 55) {
            assert_true(slab_reserve(&s, 1));
            object[n] = slab_take(&s);
            assert_true((uintptr_t)object[n] % align == 0 && all_bytes_are(object[n], size, 0));
            mark[n] = (unsigned char)below(&seed, 256);
            memset(object[n], mark[n], size);
            n++;
        } else if (n != 0) {
            uint32_t k = (uint32_t)below(&seed, n);
            assert_true(all_bytes_are(object[k], size, mark[k]));
            slab_give(&s, object[k]);
            if (size > sizeof(void *))
                assert_true(all_bytes_are(object[k] + sizeof(void *), size - sizeof(void *), SLAB_POISON));
            object[k] = object[--n];
            mark[k] = mark[n];
        }
        assert_int_equal(s.live, n);
    }
    slab_destroy(&s);
    assert_int_equal(blocks_live, 0);
}

static void slab_objects_are_zero_and_apart(void **state)
{
    static const size_t shapes[][2] = { { 1, 1 }, { 8, 8 }, { 24, 8 }, { 40, 64 }, { 100, 4 }, { 5000, 16 },
                                        { 70000, 4096 } };
    (void)state;
    for (size_t i = 0; i < VT_COUNT(shapes); i++) slab_history(shapes[i][0], shapes[i][1], vt_seed() + i);
}

/* Reserve is the only step that may fail, and then nothing is promised; what was reserved can be taken. */
static void slab_reserve_fails_whole(void **state)
{
    (void)state;
    struct slab s;
    slab_init(&s, 1000, 8, &counting_memory);
    blocks_left = 0;
    assert_false(slab_reserve(&s, 1));
    assert_true(slab_reserve(&s, 0));
    blocks_left = 2;
    assert_false(slab_reserve(&s, 1000));
    assert_true(s.free > 0 && s.live == 0);
    uint64_t had = s.free;
    assert_true(slab_reserve(&s, (uint32_t)had));
    assert_false(slab_hold(&s, (uint32_t)had + 1));
    assert_int_equal(s.held, 0);
    assert_true(slab_hold(&s, (uint32_t)had));
    assert_false(slab_reserve(&s, 1));
    assert_non_null(slab_take_held(&s));
    slab_unhold(&s, (uint32_t)had - 1);
    for (uint64_t i = 1; i < had; i++) assert_non_null(slab_take(&s));
    assert_int_equal(s.live, had);
    slab_destroy(&s);
    assert_int_equal(blocks_live, 0);
}

/* ---- heap, list, ranges ---- */

static bool item_before(struct heap_item a, struct heap_item b)
{
    return a.key < b.key || (a.key == b.key && a.payload < b.payload);
}

static void heap_pops_in_order(void **state)
{
    enum { N = 400 };
    (void)state;
    struct heap h;
    struct heap_item model[N], item, least;
    uint64_t seed = vt_seed();
    blocks_left = INT64_MAX;
    heap_init(&h, &counting_memory);
    assert_false(heap_pop(&h, &item));
    for (uint32_t n = 0, i = 0; i < 20000; i++) {
        uint64_t what = below(&seed, 10), k = n == 0 ? 0 : below(&seed, n);
        if (n < N && what < 5) {
            item = (struct heap_item){ below(&seed, 50), below(&seed, 3) };
            assert_true(heap_reserve(&h, 1));
            heap_push(&h, item.key, item.payload);
            model[n++] = item;
            continue;
        }
        if (n == 0) continue;
        for (uint32_t j = 0; what >= 7 && j < n; j++)
            if (item_before(model[j], model[k])) k = j;
        if (what < 7) {
            assert_true(heap_remove(&h, model[k].key, model[k].payload));
        } else {
            assert_true(heap_peek(&h, &item) && heap_pop(&h, &least));
            assert_true(item.key == least.key && item.payload == least.payload);
            assert_true(least.key == model[k].key && least.payload == model[k].payload);
        }
        model[k] = model[--n];
        assert_int_equal(h.count, n);
    }
    assert_false(heap_remove(&h, 51, 0));
    blocks_left = 0;
    assert_false(heap_reserve(&h, h.capacity + 1));
    heap_destroy(&h);
    assert_int_equal(blocks_live, 0);
}

struct thing { uint32_t value; struct list node; };

static void list_keeps_order_and_survives_removal(void **state)
{
    (void)state;
    struct list head, other;
    struct thing things[6];
    memset(things, 0, sizeof things);
    list_init(&head);
    list_init(&other);
    assert_true(list_empty(&head) && list_first(&head) == NULL && list_pop_front(&head) == NULL);
    for (uint32_t i = 0; i < 6; i++) {
        things[i].value = i;
        assert_false(list_is_linked(&things[i].node));
        if (i % 2 != 0) list_push_front(&head, &things[i].node);
        else list_push_back(&head, &things[i].node);
    }
    uint32_t seen = 0;
    LIST_FOREACH(it, &head) seen = seen * 10 + list_entry(it, struct thing, node)->value;
    assert_int_equal(seen, 531024);
    LIST_FOREACH_SAFE(it, next, &head)
        if (list_entry(it, struct thing, node)->value < 3) list_remove(it);
    list_remove(&things[0].node);
    assert_int_equal(list_count(&head), 3);
    assert_ptr_equal(list_first(&head), &things[5].node);
    assert_ptr_equal(list_last(&head), &things[4].node);
    list_push_back(&other, &things[1].node);
    list_splice_back(&other, &head);
    assert_true(list_empty(&head));
    assert_int_equal(list_count(&other), 4);
    assert_ptr_equal(list_pop_front(&other), &things[1].node);
}

static void range_sums_never_wrap(void **state)
{
    (void)state;
    uint64_t v = 1;
    assert_true(range_add(UINT64_MAX - 1, 1, &v) && v == UINT64_MAX);
    assert_false(range_add(UINT64_MAX, 1, &v));
    assert_true(v == 0);
    assert_false(range_end(1ull << 63, 1ull << 63, &v));
    assert_true(mul_checked(1ull << 32, 0xFFFFFFFFull, &v) && v == 0xFFFFFFFF00000000ull);
    assert_false(mul_checked(1ull << 32, 1ull << 32, &v));
    assert_true(align_up_checked(4097, 4096, &v) && v == 8192);
    assert_false(align_up_checked(UINT64_MAX, 4096, &v));
    struct range a = { 10, 20 }, b = { 20, 30 }, c = { 15, 25 }, e = { 12, 12 };
    assert_false(range_overlaps(a, b) || range_overlaps(a, e));
    assert_true(range_overlaps(a, c) && range_overlaps(c, b) && range_contains(a, e));
    assert_true(range_is_empty(range_intersect(a, b)) && range_size(range_intersect(a, c)) == 5);
    for (unsigned i = 0; i <= 64; i++) assert_int_equal(popcount64(mask_low64(i)), i);
    assert_true(align_up(17, 16) == 32 && align_down(17, 16) == 16 && div_up(UINT64_MAX, 2) == 1ull << 63);
}

static const struct vt_case cases[] = {
    VT_TEST(tree_matches_a_sorted_array, "", NULL),
    VT_TEST(tree_survives_every_order_of_seven, "", NULL),
    VT_TEST(tree_stays_flat_for_ascending_keys, "", NULL),
    VT_TEST(tree_check_sees_damage, "", NULL),
    VT_TEST(slab_objects_are_zero_and_apart, "", NULL),
    VT_TEST(slab_reserve_fails_whole, "", NULL),
    VT_TEST(heap_pops_in_order, "", NULL),
    VT_TEST(list_keeps_order_and_survives_removal, "", NULL),
    VT_TEST(range_sums_never_wrap, "", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "tree", cases, VT_COUNT(cases)); }
