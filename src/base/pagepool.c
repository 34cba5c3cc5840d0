/* SPDX-License-Identifier: MIT */
/* pagepool.c - physical pages: runs in, runs out, free never allocates. See the drawing in pagepool.h.
 * Owns the metadata; calls the memory hook in init and destroy only. Keeps:
 *   - bits says which pages are free; each free page is in exactly one of: a run, a mask, a cache;
 *   - tag[b] names the node of a run at its first and last block, so both neighbours of a freed range are
 *     found without a search; runs are maximal;
 *   - tag[b] of a partial block holds the mask of its free pages, neither empty nor full, and the block is in
 *     the bitmap of the class of its longest run of pages; every other tag is 0. */
#include "base/pagepool.h"

#include "base/bits.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/hash.h"

enum {
    BLOCK_SHIFT = 4,
    BLOCK_FULL = 0xFFFF,        /* the mask of a wholly free block */
    PROBES_MAX = 16,            /* list entries looked at for a tighter fit before the next class is taken */
};
#define NONE PAGEPOOL_NONE
#define NOINLINE __attribute__((noinline))
#define TAG_PARTIAL 0x80000000u    /* a tag that holds the mask of a partial block, not a run */

STATIC_ASSERT(1 << BLOCK_SHIFT == PAGEPOOL_BLOCK_PAGES, "block size");
STATIC_ASSERT(sizeof(struct pagepool_run) == 16, "the storage arithmetic keeps every array aligned");

/* ---- partial blocks: one two-level bitmap per class --------------------------------------------------- */

/* One bit per block, exact. */
static uint64_t *level0(const struct pagepool *p, unsigned class)
{
    return p->partial + (size_t)class * p->partial_stride;
}

/* One bit per word of level 0. A bit may be left over after the word became 0: setting without a look costs
 * less than the mispredicted branches that would keep it exact; bitmap_search clears it. */
static uint64_t *level1(const struct pagepool *p, unsigned class) { return level0(p, class) + p->words; }

/* Class 0 is for blocks that are not partial: written, so that no branch is needed, and never read. */
static inline void bitmap_move(struct pagepool *p, uint32_t b, unsigned from, unsigned to)
{
    uint64_t bit = (uint64_t)1 << (b & 63);
    uint32_t w = b >> 6;
    level0(p, from)[w] &= ~bit;
    level0(p, to)[w] |= bit;
    level1(p, to)[w >> 6] |= (uint64_t)1 << (w & 63);
    p->partial_map |= 1u << to;
}

/* The lowest word in [from, to) of a class that is not 0, or NONE. Drops summary bits that were left over. */
static uint32_t bitmap_search(struct pagepool *p, unsigned class, uint32_t from, uint32_t to)
{
    uint64_t *words = level0(p, class), *mid = level1(p, class);
    uint64_t skip = mask_low64(from & 63);
    for (uint32_t m = from >> 6; m << 6 < to; m++, skip = 0) {
        for (uint64_t bits = mid[m] & ~skip; bits != 0; bits &= bits - 1) {
            uint32_t w = m << 6 | ctz64(bits);
            if (words[w] != 0) return w < to ? w : NONE;
            mid[m] &= ~((uint64_t)1 << (w & 63));
        }
    }
    return NONE;
}

/* A block of a class, or NONE. A cursor stays at a word until it is empty and then moves up, round and round:
 * no search as long as it finds something, and low holes are not scanned again and again. */
static inline uint32_t bitmap_pick(struct pagepool *p, unsigned class)
{
    uint32_t w = p->cursor[class];
    if (level0(p, class)[w] == 0) {
        if ((p->partial_map >> class & 1) == 0) return NONE;
        uint32_t next = bitmap_search(p, class, w, p->words);
        if (next == NONE) next = bitmap_search(p, class, 0, w);
        if (next == NONE) {
            p->partial_map &= ~(1u << class);
            return NONE;
        }
        w = p->cursor[class] = next;
    }
    return w << 6 | ctz64(level0(p, class)[w]);
}

/* The lowest block of a class at or above b, or NONE. */
static uint32_t bitmap_next(const struct pagepool *p, unsigned class, uint32_t b)
{
    const uint64_t *words = level0(p, class);
    uint32_t w = b >> 6;
    if (w >= p->words) return NONE;
    uint64_t bits = words[w] & ~mask_low64(b & 63);
    while (bits == 0) {
        if (++w == p->words) return NONE;
        bits = words[w];
    }
    return w << 6 | ctz64(bits);
}

/* ---- blocks ------------------------------------------------------------------------------------------- */

/* 0 for no free page, else 1 + log2 of the longest run of free pages. Needs: mask is not BLOCK_FULL. */
static inline unsigned mask_class(uint32_t mask)
{
    uint32_t two = mask & mask >> 1, four = two & two >> 2, eight = four & four >> 4;
    return (unsigned)(mask != 0) + (two != 0) + (four != 0) + (eight != 0);
}

/* The free pages of a block that are neither in a run nor cached. */
static inline uint32_t block_mask(const struct pagepool *p, uint32_t b)
{
    uint32_t tag = p->tag[b];
    return (tag & TAG_PARTIAL) != 0 ? tag & BLOCK_FULL : 0;
}

/* Needs: before is what block_mask gives, after is not full. */
static inline void block_set(struct pagepool *p, uint32_t b, uint32_t before, uint32_t after)
{
    p->tag[b] = after != 0 ? after | TAG_PARTIAL : 0;
    bitmap_move(p, b, mask_class(before), mask_class(after));
}

/* Takes pages out of a partial block. Needs: all of them are in its mask. */
static void block_take(struct pagepool *p, uint32_t b, uint32_t pages)
{
    uint32_t before = block_mask(p, b);
    DCHECK((before & pages) == pages);
    block_set(p, b, before, before & ~pages);
}

/* Puts pages into a block. Gives: true if it is wholly free now and the caller must make it part of a run. */
static bool block_give(struct pagepool *p, uint32_t b, uint32_t pages)
{
    uint32_t before = block_mask(p, b), after = before | pages;
    DCHECK((before & pages) == 0);
    bool whole = after == BLOCK_FULL;
    block_set(p, b, before, whole ? 0 : after);
    return whole;
}

/* The pages [from, to) of a block as a mask, 0 <= from <= to <= 16. */
static uint32_t page_mask(uint32_t from, uint32_t to)
{
    return ((1u << to) - 1) & ~((1u << from) - 1);
}

/* ---- free runs of whole blocks: two-level segregated fit ----------------------------------------------- */

struct run_class { uint32_t fl, sl; };

/* Lengths below 64 have a class of their own; above, an octave has 32 equal steps. */
static struct run_class class_of(uint32_t len)
{
    if (len < PAGEPOOL_SL_COUNT) return (struct run_class){ 0, len };
    uint32_t shift = log2_floor32(len) - 5;
    return (struct run_class){ shift + 1, len >> shift & (PAGEPOOL_SL_COUNT - 1) };
}

static void run_link(struct pagepool *p, uint32_t r)
{
    struct run_class c = class_of(p->run[r].len);
    uint32_t *head = &p->head[c.fl][c.sl];
    p->run[r].prev = 0;
    p->run[r].next = *head;
    p->run[*head].prev = r;                     /* run[0] is nobody's: written instead of a branch */
    *head = r;
    p->sl_map[c.fl] |= 1u << c.sl;
    p->fl_map |= 1u << c.fl;
}

static void run_unlink(struct pagepool *p, uint32_t r)
{
    struct pagepool_run *n = &p->run[r];
    p->run[n->next].prev = n->prev;
    if (n->prev != 0) {
        p->run[n->prev].next = n->next;
        return;
    }
    struct run_class c = class_of(n->len);
    p->head[c.fl][c.sl] = n->next;
    if (n->next == 0 && (p->sl_map[c.fl] &= ~(1u << c.sl)) == 0) p->fl_map &= ~(1u << c.fl);
}

/* A new run [start, start + len). There is a node for it: no more than every second block starts a run. */
static void run_new(struct pagepool *p, uint32_t start, uint32_t len)
{
    uint32_t r = p->run_spare;
    if (r != 0) p->run_spare = p->run[r].next;
    else r = ++p->run_high;
    p->run[r].start = start;
    p->run[r].len = len;
    p->tag[start] = r;
    p->tag[start + len - 1] = r;
    run_link(p, r);
}

static void run_delete(struct pagepool *p, uint32_t r)
{
    run_unlink(p, r);
    p->run[r].next = p->run_spare;
    p->run_spare = r;
}

/* Gives a run other bounds. Needs: its tags are cleared. Mostly it stays in its class: no relinking. */
static void run_resize(struct pagepool *p, uint32_t r, uint32_t start, uint32_t len)
{
    struct run_class before = class_of(p->run[r].len), after = class_of(len);
    bool moves = before.fl != after.fl || before.sl != after.sl;
    if (moves) run_unlink(p, r);
    p->run[r].start = start;
    p->run[r].len = len;
    p->tag[start] = r;
    p->tag[start + len - 1] = r;
    if (moves) run_link(p, r);
}

/* The node of the run that has an end at b, or 0. tag[-1] and tag[blocks] exist and are always 0. */
static inline uint32_t run_tag(const struct pagepool *p, uint32_t b)
{
    uint32_t tag = p->tag[(int32_t)b];
    return (tag & TAG_PARTIAL) != 0 ? 0 : tag;
}

/* Makes [start, start + len) free, joined with its free neighbours. */
static void run_give(struct pagepool *p, uint32_t start, uint32_t len)
{
    uint32_t end = start + len;
    uint32_t left = run_tag(p, start - 1), right = run_tag(p, end);
    if (left != 0) {
        p->tag[start - 1] = 0;
        start = p->run[left].start;
    }
    if (right != 0) {
        p->tag[end] = 0;
        end += p->run[right].len;
    }
    if (left != 0 && right != 0) run_delete(p, right);
    if ((left | right) == 0) run_new(p, start, end - start);
    else run_resize(p, left != 0 ? left : right, start, end - start);
}

/* Cuts [at, at + len) out of run r; the rest stays free. */
static void run_cut(struct pagepool *p, uint32_t r, uint32_t at, uint32_t len)
{
    uint32_t start = p->run[r].start, end = start + p->run[r].len;
    uint32_t before = at - start, after = end - (at + len);
    p->tag[start] = 0;
    p->tag[end - 1] = 0;
    if (before != 0) run_resize(p, r, start, before);
    else if (after != 0) run_resize(p, r, at + len, after);
    else run_delete(p, r);
    if (before != 0 && after != 0) run_new(p, at + len, after);
}

/* The next class that has a run, from c upwards; fl is PAGEPOOL_FL_COUNT when there is none. */
static struct run_class class_next(const struct pagepool *p, struct run_class c)
{
    uint32_t sl = c.sl < PAGEPOOL_SL_COUNT ? p->sl_map[c.fl] >> c.sl << c.sl : 0;
    if (sl != 0) return (struct run_class){ c.fl, ctz32(sl) };
    uint32_t fl = p->fl_map & ~((2u << c.fl) - 1);
    if (fl == 0) return (struct run_class){ PAGEPOOL_FL_COUNT, 0 };
    return (struct run_class){ ctz32(fl), ctz32(p->sl_map[ctz32(fl)]) };
}

/* Whether len blocks aligned to align fit into a run. */
static bool run_fits(const struct pagepool_run *r, uint32_t len, uint32_t align)
{
    uint32_t at = (uint32_t)align_up(r->start, align), end = r->start + r->len;
    return at <= end && end - at >= len;
}

/* The shortest fitting run among the first `probes` of a class, or 0. */
static uint32_t class_best(const struct pagepool *p, struct run_class c, uint32_t len, uint32_t align,
                           uint32_t probes)
{
    uint32_t best = 0;
    for (uint32_t r = p->head[c.fl][c.sl]; r != 0 && probes-- != 0; r = p->run[r].next) {
        if (!run_fits(&p->run[r], len, align)) continue;
        if (best == 0 || p->run[r].len < p->run[best].len) best = r;
        if (p->run[best].len == len) break;
    }
    return best;
}

/* A run that holds len aligned blocks, tight if a few probes find one; 0 if and only if there is none.
 * The first pass looks at a few runs per class; only a request that it cannot serve walks the lists. */
static uint32_t run_find(const struct pagepool *p, uint32_t len, uint32_t align)
{
    if (len > p->blocks) return 0;
    for (uint32_t probes = PROBES_MAX; ; probes = UINT32_MAX) {
        struct run_class c = class_next(p, class_of(len));
        for (; c.fl < PAGEPOOL_FL_COUNT; c = class_next(p, (struct run_class){ c.fl, c.sl + 1 })) {
            uint32_t best = class_best(p, c, len, align, probes);
            if (best != 0) return best;
        }
        if (probes == UINT32_MAX) return 0;
    }
}

/* The longest run if a few probes find it (the top class is exact to 1/32), or 0. */
static uint32_t run_longest(const struct pagepool *p)
{
    if (p->fl_map == 0) return 0;
    uint32_t fl = log2_floor32(p->fl_map), sl = log2_floor32(p->sl_map[fl]);
    uint32_t best = p->head[fl][sl];
    uint32_t probes = PROBES_MAX;
    for (uint32_t r = best; r != 0 && probes-- != 0; r = p->run[r].next)
        if (p->run[r].len > p->run[best].len) best = r;
    return best;
}

/* ---- bits: the truth ---------------------------------------------------------------------------------- */

static uint32_t block_bits(const struct pagepool *p, uint32_t b)
{
    return (uint32_t)(p->bits[b >> 2] >> ((b & 3) * 16)) & BLOCK_FULL;
}

/* Marks [start, end) free. Needs: it is used (a double free is a bug). */
static void bits_give(struct pagepool *p, uint32_t start, uint32_t end)
{
    uint32_t w = start >> 6, last = end >> 6;
    uint64_t head = ~mask_low64(start & 63), tail = mask_low64(end & 63), twice = 0;
    if (w == last) head &= tail;
    twice |= p->bits[w] & head;
    p->bits[w] |= head;
    for (w++; w < last; w++) {
        twice |= p->bits[w];
        p->bits[w] = ~(uint64_t)0;
    }
    if (w == last && tail != 0) {
        twice |= p->bits[w] & tail;
        p->bits[w] |= tail;
    }
    CHECK(twice == 0);
}

/* Marks [start, end) used. */
static void bits_take(struct pagepool *p, uint32_t start, uint32_t end)
{
    uint32_t w = start >> 6, last = end >> 6;
    uint64_t head = ~mask_low64(start & 63), tail = mask_low64(end & 63);
    if (w == last) head &= tail;
    p->bits[w] &= ~head;
    if (w + 1 < last) memset(&p->bits[w + 1], 0, (last - w - 1) * sizeof *p->bits);
    if (w < last && tail != 0) p->bits[last] &= ~tail;
}

/* The first page at or above `from` that is free (with flip all ones: used); p->pages if there is none. */
static uint32_t bits_find(const struct pagepool *p, uint32_t from, uint64_t flip)
{
    if (from >= p->pages) return p->pages;
    uint32_t w = from >> 6, words = (p->pages + 63) >> 6;
    uint64_t bits = (p->bits[w] ^ flip) & ~mask_low64(from & 63);
    while (bits == 0 && ++w < words) bits = p->bits[w] ^ flip;
    return w < words ? min_u32(p->pages, w << 6 | ctz64(bits)) : p->pages;
}

static uint32_t next_free(const struct pagepool *p, uint32_t from) { return bits_find(p, from, 0); }
static uint32_t next_used(const struct pagepool *p, uint32_t from) { return bits_find(p, from, UINT64_MAX); }

/* ---- index: runs and partial blocks together ---------------------------------------------------------- */

/* Takes count pages of run r from the start of block `at` on. The rest of the last block becomes a partial
 * block. */
static void take_from_run(struct pagepool *p, uint32_t r, uint32_t at, uint32_t count)
{
    uint32_t blocks = (count + 15) >> BLOCK_SHIFT;
    run_cut(p, r, at, blocks);
    if ((count & 15) != 0) block_set(p, at + blocks - 1, 0, page_mask(count & 15, 16));
}

/* Takes [start, end) out of the index wherever it lies. Needs: all of it is free and nothing is cached. Walks
 * back to the start of the run it cuts (at most the pool; only for bad ranges and the last resort). */
static void take_range(struct pagepool *p, uint32_t start, uint32_t end)
{
    uint32_t b0 = start >> BLOCK_SHIFT, b1 = (end - 1) >> BLOCK_SHIFT;
    uint32_t head = page_mask(start & 15, b0 == b1 ? ((end - 1) & 15) + 1 : 16);
    uint32_t tail = page_mask(0, ((end - 1) & 15) + 1);
    bool head_whole = block_bits(p, b0) == BLOCK_FULL, tail_whole = block_bits(p, b1) == BLOCK_FULL;
    uint32_t from = head_whole ? b0 : b0 + 1, to = tail_whole ? b1 + 1 : b1;
    if (from < to) {
        uint32_t first = from;
        while (first != 0 && block_bits(p, first - 1) == BLOCK_FULL) first--;
        run_cut(p, p->tag[first], from, to - from);
    }
    if (!head_whole) block_take(p, b0, head);
    else if (head != BLOCK_FULL) block_give(p, b0, ~head & BLOCK_FULL);
    if (b0 == b1) return;
    if (!tail_whole) block_take(p, b1, tail);
    else if (tail != BLOCK_FULL) block_give(p, b1, ~tail & BLOCK_FULL);
}

/* Puts [start, end) into the index. */
static void give_range(struct pagepool *p, uint32_t start, uint32_t end)
{
    uint32_t from = start >> BLOCK_SHIFT, to = end >> BLOCK_SHIFT;     /* whole blocks in the end */
    uint32_t head = start & 15, tail = end & 15;
    if (from == to) {
        if (block_give(p, from, page_mask(head, tail))) run_give(p, from, 1);
        return;
    }
    if (head != 0 && !block_give(p, from, page_mask(head, 16))) from++;
    if (tail != 0 && block_give(p, to, page_mask(0, tail))) to++;
    if (from < to) run_give(p, from, to - from);
}

/* ---- caches of single pages and single blocks --------------------------------------------------------- */

/* What was freed last is handed out first, without a look at the index. That is an order of magnitude fewer
 * instructions, so the cache misses of the caller's own tables overlap; and short-lived pages do not disturb
 * the index at all. Cached pages are free in `bits` and used in the index. */

static void cache_drop(struct pagepool *p, struct pagepool_cache *c, uint32_t keep)
{
    uint32_t size = c == &p->page_cache ? 1 : PAGEPOOL_BLOCK_PAGES;
    while (c->count > keep) {
        uint32_t page = c->item[--c->count];
        give_range(p, page, page + size);
    }
}

/* Gives: true if the index gained anything. */
static bool caches_flush(struct pagepool *p)
{
    if ((p->page_cache.count | p->block_cache.count) == 0) return false;
    cache_drop(p, &p->page_cache, 0);
    cache_drop(p, &p->block_cache, 0);
    return true;
}

/* Takes all pages of one partial block, or of a whole one if there is no other. Fails: no page is free. */
static bool page_cache_fill(struct pagepool *p)
{
    struct pagepool_cache *c = &p->page_cache;
    uint32_t b = NONE, mask = BLOCK_FULL;
    for (uint32_t map; b == NONE && (map = p->partial_map & ~1u) != 0; ) b = bitmap_pick(p, ctz32(map));
    if (b != NONE) {
        mask = block_mask(p, b);
        block_take(p, b, mask);
    } else if (p->block_cache.count != 0) {
        b = p->block_cache.item[--p->block_cache.count] >> BLOCK_SHIFT;
    } else {
        uint32_t r = run_find(p, 1, 1);
        if (r == 0) return false;
        b = p->run[r].start;
        run_cut(p, r, b, 1);
    }
    for (; mask != 0; mask &= ~(1u << log2_floor32(mask)))      /* so that the lowest page goes out first */
        c->item[c->count++] = b << BLOCK_SHIFT | log2_floor32(mask);
    return true;
}

/* The two hot paths below save no registers: whatever is rare is behind a call that is not inlined. */

static inline uint32_t pop_page(struct pagepool *p)
{
    uint32_t page = p->page_cache.item[--p->page_cache.count];
    p->bits[page >> 6] &= ~((uint64_t)1 << (page & 63));
    p->free_pages--;
    return page;
}

static NOINLINE uint32_t alloc_page_filling(struct pagepool *p)
{
    return page_cache_fill(p) ? pop_page(p) : NONE;
}

uint32_t pagepool_alloc_page(struct pagepool *p)
{
    return __builtin_expect(p->page_cache.count == 0, 0) ? alloc_page_filling(p) : pop_page(p);
}

static NOINLINE void cache_push_dropping(struct pagepool *p, struct pagepool_cache *c, uint32_t page)
{
    cache_drop(p, c, PAGEPOOL_CACHE_MAX / 2);
    c->item[c->count++] = page;
}

static inline void cache_push(struct pagepool *p, struct pagepool_cache *c, uint32_t page)
{
    if (__builtin_expect(c->count == PAGEPOOL_CACHE_MAX, 0)) cache_push_dropping(p, c, page);
    else c->item[c->count++] = page;
}

static NOINLINE void free_many(struct pagepool *p, uint32_t page, uint32_t count)
{
    CHECK(page <= p->pages);
    CHECK(count <= p->pages - page);
    if (count == 0) return;
    /* Both ends are looked at after the bits: their cache misses overlap with those. */
    __builtin_prefetch(&p->tag[page >> BLOCK_SHIFT]);
    __builtin_prefetch(&p->tag[(page + count) >> BLOCK_SHIFT]);
    bits_give(p, page, page + count);
    p->free_pages += count;
    if (count == PAGEPOOL_BLOCK_PAGES && (page & 15) == 0) cache_push(p, &p->block_cache, page);
    else give_range(p, page, page + count);
}

void pagepool_free(struct pagepool *p, uint32_t page, uint32_t count)
{
    if (count != 1) {
        free_many(p, page, count);
        return;
    }
    CHECK(page < p->pages);
    uint64_t bit = (uint64_t)1 << (page & 63), word = p->bits[page >> 6];
    CHECK((word & bit) == 0);                   /* double free */
    p->bits[page >> 6] = word | bit;
    p->free_pages++;
    cache_push(p, &p->page_cache, page);
}

/* ---- contiguous runs ----------------------------------------------------------------------------------- */

/* The lowest place for count pages in a mask, or 16. Needs: count <= 16, align a power of two. */
static uint32_t mask_find(uint32_t mask, uint32_t count, uint32_t align)
{
    uint32_t want = page_mask(0, count);
    for (uint32_t at = 0; at + count <= PAGEPOOL_BLOCK_PAGES; at += align)
        if ((mask >> at & want) == want) return at;
    return PAGEPOOL_BLOCK_PAGES;
}

/* count < 16 pages inside one partial block: a few tight ones are tried, then the looser classes. */
static uint32_t alloc_in_partial(struct pagepool *p, uint32_t count, uint32_t align)
{
    for (unsigned class = 1 + log2_floor32(count); class < PAGEPOOL_CLASS_COUNT; class++) {
        uint32_t b = bitmap_pick(p, class);
        for (uint32_t probes = PROBES_MAX; b != NONE && probes != 0; probes--) {
            uint32_t at = mask_find(block_mask(p, b), count, align);
            if (at < PAGEPOOL_BLOCK_PAGES) {
                block_take(p, b, page_mask(at, at + count));
                return b << BLOCK_SHIFT | at;
            }
            b = bitmap_next(p, class, b + 1);
        }
    }
    return NONE;
}

/* count pages at the start of a block of a free run. */
static uint32_t alloc_in_run(struct pagepool *p, uint32_t count, uint32_t align, bool from_end)
{
    uint32_t blocks = (uint32_t)div_up(count, PAGEPOOL_BLOCK_PAGES);
    uint32_t align_blocks = max_u32(align >> BLOCK_SHIFT, 1);
    uint32_t r = run_find(p, blocks, align_blocks);
    if (r == 0) return NONE;
    uint32_t start = p->run[r].start, end = start + p->run[r].len;
    uint64_t at64 = from_end ? align_down(end - blocks, align_blocks) : align_up(start, align_blocks);
    uint32_t at = (uint32_t)at64;
    take_from_run(p, r, at, count);
    return at << BLOCK_SHIFT;
}

/* The last resort, when nothing is cached any more: walks all pages for a run that begins or ends inside
 * partial blocks. Such a run has at most 15 pages at each end outside whole blocks, which is mostly enough to
 * see from the runs of blocks that there is none. */
static uint32_t alloc_anywhere(struct pagepool *p, uint32_t count, uint32_t align)
{
    if (count > 30 && run_find(p, (count - 30 + 15) >> BLOCK_SHIFT, 1) == 0) return NONE;
    for (uint32_t start = next_free(p, 0); start < p->pages; ) {
        uint32_t end = next_used(p, start);
        uint64_t at = align_up(start, align);
        if (at < end && end - at >= count) {
            take_range(p, (uint32_t)at, (uint32_t)at + count);
            return (uint32_t)at;
        }
        start = next_free(p, end);
    }
    return NONE;
}

static uint32_t find_and_take(struct pagepool *p, uint32_t count, uint32_t align, bool from_end)
{
    bool small = count < PAGEPOOL_BLOCK_PAGES && align <= PAGEPOOL_BLOCK_PAGES;
    uint32_t page = small ? alloc_in_partial(p, count, align) : NONE;
    return page != NONE ? page : alloc_in_run(p, count, align, from_end);
}

/* Any count and alignment; the rest of pagepool_alloc_run after the caches. */
static uint32_t alloc_general(struct pagepool *p, uint32_t count, uint32_t align, bool from_end)
{
    uint32_t page = find_and_take(p, count, align, from_end);
    if (page == NONE && caches_flush(p)) page = find_and_take(p, count, align, from_end);
    /* For whole aligned blocks the runs were all there is. */
    bool whole = count % PAGEPOOL_BLOCK_PAGES == 0 && align >= PAGEPOOL_BLOCK_PAGES;
    if (page == NONE && !whole) page = alloc_anywhere(p, count, align);
    return page;
}

uint32_t pagepool_alloc_run(struct pagepool *p, uint32_t count, uint32_t align_pages, bool from_end)
{
    uint32_t page;
    CHECK(is_pow2(align_pages));
    if (count == 0 || count > p->free_pages || align_pages > PAGEPOOL_PAGES_MAX) return NONE;
    if (count == 1 && align_pages == 1) return pagepool_alloc_page(p);
    if (count == PAGEPOOL_BLOCK_PAGES && align_pages <= PAGEPOOL_BLOCK_PAGES && p->block_cache.count != 0)
        page = p->block_cache.item[--p->block_cache.count];
    else
        page = alloc_general(p, count, align_pages, from_end);
    if (page == NONE) return NONE;
    bits_take(p, page, page + count);
    p->free_pages -= count;
    return page;
}

/* ---- extents ------------------------------------------------------------------------------------------- */

/* The best part of one partial block: the longest run of aligned units, at most `want` pages. Takes it. */
static struct extent take_longest(struct pagepool *p, uint32_t b, uint32_t want, uint32_t align)
{
    uint32_t mask = block_mask(p, b);
    for (uint32_t count = min_u32(want, PAGEPOOL_BLOCK_PAGES); count != 0; count -= align) {
        uint32_t at = mask_find(mask, count, align);
        if (at == PAGEPOOL_BLOCK_PAGES) continue;
        block_take(p, b, page_mask(at, at + count));
        return (struct extent){ b << BLOCK_SHIFT | at, count };
    }
    return (struct extent){ 0, 0 };
}

/* No run of blocks is left: the partial block with the longest run of pages. */
static struct extent gather_partial(struct pagepool *p, uint32_t want, uint32_t align)
{
    if (align >= PAGEPOOL_BLOCK_PAGES) return (struct extent){ 0, 0 };
    for (unsigned class = PAGEPOOL_CLASS_COUNT; --class != log2_floor32(align); ) {
        uint32_t b = bitmap_pick(p, class);          /* any block of a class does for single pages */
        if (b != NONE && align != 1) b = bitmap_next(p, class, 0);
        for (; b != NONE; b = bitmap_next(p, class, b + 1)) {
            struct extent e = take_longest(p, b, want, align);
            if (e.count != 0) return e;
        }
    }
    return (struct extent){ 0, 0 };
}

/* The longest run of aligned blocks, cut to what is wanted. Alignments above a block look at every run. */
static struct extent gather_run(struct pagepool *p, uint32_t want, uint32_t align)
{
    uint32_t align_blocks = max_u32(align >> BLOCK_SHIFT, 1);
    uint32_t r = run_longest(p), len = 0;
    if (align_blocks > 1) {
        /* Halving the length keeps this at 21 searches; a class walk per candidate length would not be. */
        len = (uint32_t)align_down(want >> BLOCK_SHIFT, align_blocks);
        for (r = 0; len != 0 && (r = run_find(p, len, align_blocks)) == 0; )
            len = (uint32_t)align_down(len / 2, align_blocks);
    }
    if (r == 0) return (struct extent){ 0, 0 };
    uint32_t at = (uint32_t)align_up(p->run[r].start, align_blocks);
    len = (uint32_t)align_down(p->run[r].start + p->run[r].len - at, align_blocks);
    uint32_t count = (uint32_t)min_u64(want, (uint64_t)len << BLOCK_SHIFT);
    take_from_run(p, r, at, count);
    return (struct extent){ at << BLOCK_SHIFT, count };
}

static struct extent take_extent(struct pagepool *p, uint32_t want, uint32_t align)
{
    uint32_t page = find_and_take(p, want, align, false);
    if (page == NONE && caches_flush(p)) page = find_and_take(p, want, align, false);
    if (page != NONE) return (struct extent){ page, want };
    struct extent e = gather_run(p, want, align);
    return e.count != 0 ? e : gather_partial(p, want, align);
}

uint32_t pagepool_alloc_extents(struct pagepool *p, uint32_t count, struct extent *out, uint32_t max_extents,
                                uint32_t align_pages)
{
    CHECK(is_pow2(align_pages));
    CHECK(count % align_pages == 0);
    if (count == 0 || count > p->free_pages) return 0;
    uint32_t n = 0;
    for (uint32_t left = count; left != 0; n++) {
        struct extent e = n < max_extents ? take_extent(p, left, align_pages) : (struct extent){ 0, 0 };
        if (e.count == 0) {
            while (n-- != 0) give_range(p, out[n].page, out[n].page + out[n].count);
            return 0;
        }
        out[n] = e;
        left -= e.count;
    }
    for (uint32_t i = 0; i < n; i++) bits_take(p, out[i].page, out[i].page + out[i].count);
    p->free_pages -= count;
    return n;
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static uint32_t blocks_of(uint32_t pages) { return (pages + PAGEPOOL_BLOCK_PAGES - 1) >> BLOCK_SHIFT; }

static uint32_t words_of(uint32_t bits) { return (bits + 63) >> 6; }

/* Free runs are maximal, so every second block at most starts one; node 0 is "none". */
static uint32_t nodes_of(uint32_t blocks) { return (blocks + 1) / 2 + 1; }

size_t pagepool_storage_bytes(uint32_t pages)
{
    uint32_t blocks = blocks_of(pages), words = words_of(blocks);
    size_t partial = ((size_t)words + words_of(words)) * PAGEPOOL_CLASS_COUNT;
    return (words_of(pages) + partial) * sizeof(uint64_t) + nodes_of(blocks) * sizeof(struct pagepool_run)
           + ((size_t)blocks + 2) * sizeof(uint32_t);
}

bool pagepool_init_over(struct pagepool *p, uint32_t pages, void *storage, size_t storage_bytes)
{
    memset(p, 0, sizeof *p);
    if (pages == 0 || pages > PAGEPOOL_PAGES_MAX) return false;
    if (storage_bytes < pagepool_storage_bytes(pages)) return false;
    memset(storage, 0, pagepool_storage_bytes(pages));
    p->storage = storage;
    p->storage_bytes = storage_bytes;
    p->pages = pages;
    p->blocks = blocks_of(pages);
    p->words = words_of(p->blocks);
    p->bits = storage;
    p->partial = p->bits + words_of(pages);
    p->partial_stride = p->words + words_of(p->words);
    p->run = (struct pagepool_run *)(void *)(p->partial + (size_t)p->partial_stride * PAGEPOOL_CLASS_COUNT);
    p->tag = (uint32_t *)(void *)(p->run + nodes_of(p->blocks)) + 1;
    bits_give(p, 0, pages);         /* the missing pages of the last block stay "used" for ever */
    give_range(p, 0, pages);
    p->free_pages = pages;
    return true;
}

bool pagepool_init(struct pagepool *p, uint32_t pages, const struct base_memory *memory)
{
    memset(p, 0, sizeof *p);
    if (pages == 0 || pages > PAGEPOOL_PAGES_MAX) return false;
    size_t bytes = pagepool_storage_bytes(pages);
    void *storage = memory_alloc(memory, bytes, 64);
    if (storage == NULL) return false;
    (void)pagepool_init_over(p, pages, storage, bytes);
    p->memory = *memory;
    return true;
}

void pagepool_destroy(struct pagepool *p)
{
    if (p->memory.free != NULL) memory_free(&p->memory, p->storage, p->storage_bytes);
    memset(p, 0, sizeof *p);
}

/* ---- questions ----------------------------------------------------------------------------------------- */

bool pagepool_is_free(const struct pagepool *p, uint32_t page, uint32_t count)
{
    if (page > p->pages || count > p->pages - page) return false;
    return next_used(p, page) - page >= count;
}

bool pagepool_take_range(struct pagepool *p, uint32_t start, uint32_t count)
{
    if (count == 0 || !pagepool_is_free(p, start, count)) return false;
    caches_flush(p);
    take_range(p, start, start + count);
    bits_take(p, start, start + count);
    p->free_pages -= count;
    return true;
}

bool pagepool_reserve_range(struct pagepool *p, uint32_t start, uint32_t count)
{
    if (!pagepool_take_range(p, start, count)) return false;
    p->reserved_pages += count;
    return true;
}

struct extent pagepool_next_run(const struct pagepool *p, uint32_t from)
{
    uint32_t start = next_free(p, min_u32(from, p->pages));
    return (struct extent){ start, next_used(p, start) - start };
}

uint32_t pagepool_largest_run(const struct pagepool *p)
{
    uint32_t best = 0;
    for (uint32_t start = next_free(p, 0); start < p->pages; ) {
        uint32_t end = next_used(p, start);
        best = max_u32(best, end - start);
        start = next_free(p, end);
    }
    return best;
}

uint64_t pagepool_hash(const struct pagepool *p, uint64_t h)
{
    h = hash_u64(h, p->pages);
    h = hash_u64(h, p->reserved_pages);
    for (uint32_t start = next_free(p, 0); start < p->pages; ) {
        uint32_t end = next_used(p, start);
        h = hash_u64(h, (uint64_t)start << 32 | end);
        start = next_free(p, end);
    }
    return h;
}

/* ---- the check ---------------------------------------------------------------------------------------- */

/* Every word of level 0 that is not 0 has its summary bit, and the map knows the class. */
static bool bitmap_is_sound(const struct pagepool *p, unsigned class)
{
    for (uint32_t w = 0; w < p->words; w++) {
        if (level0(p, class)[w] == 0) continue;
        if ((level1(p, class)[w >> 6] >> (w & 63) & 1) == 0) return false;
        if ((p->partial_map >> class & 1) == 0) return false;
    }
    return p->cursor[class] < p->words;
}

/* The block is in exactly the partial bitmap its mask asks for, and all of its mask is free. */
static bool block_is_sound(const struct pagepool *p, uint32_t b)
{
    uint32_t mask = block_mask(p, b);
    if (mask == BLOCK_FULL || (mask & ~block_bits(p, b)) != 0) return false;
    if (p->tag[b] != (mask != 0 ? mask | TAG_PARTIAL : run_tag(p, b))) return false;
    for (unsigned class = 1; class < PAGEPOOL_CLASS_COUNT; class++)
        if ((level0(p, class)[b >> 6] >> (b & 63) & 1) != (class == mask_class(mask))) return false;
    return true;
}

/* What is cached is free in bits and not in the index. */
static bool cache_is_sound(const struct pagepool *p, const struct pagepool_cache *c, uint32_t size)
{
    if (c->count > PAGEPOOL_CACHE_MAX) return false;
    for (uint32_t i = 0; i < c->count; i++) {
        uint32_t page = c->item[i], b = page >> BLOCK_SHIFT;
        if (!pagepool_is_free(p, page, size)) return false;
        if (run_tag(p, b) != 0) return false;
        if ((block_mask(p, b) & page_mask(page & 15, (page & 15) + size)) != 0) return false;
    }
    return true;
}

/* Run r is tagged at its ends only, all its pages are free, and it is maximal. */
static bool run_is_sound(const struct pagepool *p, uint32_t r)
{
    uint32_t start = p->run[r].start, len = p->run[r].len, end = start + len;
    if (len == 0 || start >= p->blocks || len > p->blocks - start) return false;
    if (p->tag[start] != r || p->tag[end - 1] != r) return false;
    if (run_tag(p, start - 1) != 0 || run_tag(p, end) != 0) return false;
    for (uint32_t b = start; b < end; b++) {
        if (block_bits(p, b) != BLOCK_FULL) return false;
        if (b != start && b != end - 1 && p->tag[b] != 0) return false;
    }
    return true;
}

/* Every list holds sound runs of its class, linked both ways; the maps say which lists have any. Counts the
 * blocks of all runs; runs overlap nowhere because each page is counted once by the caller. */
static bool lists_are_sound(const struct pagepool *p, uint32_t *blocks, uint32_t *runs)
{
    for (uint32_t i = 0; i < PAGEPOOL_FL_COUNT * PAGEPOOL_SL_COUNT; i++) {
        uint32_t fl = i / PAGEPOOL_SL_COUNT, sl = i % PAGEPOOL_SL_COUNT, before = 0;
        if ((p->sl_map[fl] >> sl & 1) != (p->head[fl][sl] != 0)) return false;
        for (uint32_t r = p->head[fl][sl]; r != 0; before = r, r = p->run[r].next) {
            if (r > p->run_high || p->run[r].prev != before || !run_is_sound(p, r)) return false;
            struct run_class c = class_of(p->run[r].len);
            if (c.fl != fl || c.sl != sl || ++*runs > p->blocks) return false;
            *blocks += p->run[r].len;
        }
    }
    for (uint32_t fl = 0; fl < PAGEPOOL_FL_COUNT; fl++)
        if ((p->fl_map >> fl & 1) != (p->sl_map[fl] != 0)) return false;
    return true;
}

bool pagepool_check(const struct pagepool *p)
{
    uint32_t free = 0, indexed = 0, tags = 0, run_blocks = 0, runs = 0, single = 0;
    for (uint32_t b = 0; b < p->blocks; b++) {
        if (!block_is_sound(p, b)) return false;
        free += popcount64(block_bits(p, b));
        indexed += popcount64(block_mask(p, b));
        tags += run_tag(p, b) != 0;
        single += run_tag(p, b) != 0 && p->run[run_tag(p, b)].len == 1;
    }
    for (unsigned class = 1; class < PAGEPOOL_CLASS_COUNT; class++)
        if (!bitmap_is_sound(p, class)) return false;
    if (!cache_is_sound(p, &p->page_cache, 1)) return false;
    if (!cache_is_sound(p, &p->block_cache, PAGEPOOL_BLOCK_PAGES)) return false;
    if (!lists_are_sound(p, &run_blocks, &runs)) return false;
    if (tags + single != 2 * runs || p->tag[-1] != 0 || p->tag[p->blocks] != 0) return false;
    indexed += (run_blocks + p->block_cache.count) * PAGEPOOL_BLOCK_PAGES + p->page_cache.count;
    return free == p->free_pages && free == indexed && (uint64_t)free + p->reserved_pages <= p->pages;
}
