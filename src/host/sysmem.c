/* SPDX-License-Identifier: MIT */
/* sysmem.c — see sysmem.h. An entry of the table is the host address of the frame (page aligned) with
 * ENTRY_ bits below; an unused frame's entry has no address. Entries are written only for frames that
 * the writer has to itself (just taken, or about to be given back), so the mutex guards the slots alone
 * and sysmem_address needs no lock. */
#define _GNU_SOURCE
#include "host/sysmem.h"

#include "base/check.h"
#include "host/guard.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum entry_bits {
    ENTRY_OWN = 1,
    ENTRY_IMPORT = 2,
    ENTRY_IN_USE = ENTRY_OWN | ENTRY_IMPORT,
    ENTRY_DIRTY = 4      /* unused, own: holds old bytes; cleared by the next sysmem_alloc */
};

enum slot_kind { SLOT_FREE, SLOT_OWN, SLOT_IMPORT, SLOT_RUN_OWN, SLOT_RUN_IMPORT, SLOT_RUN_TAIL };
/* FREE -take_slots-> OWN | IMPORT | RUN_x RUN_TAIL... -give_slots-> FREE */

#define SLOT_SHIFT 12u
#define SLOT_FRAMES (1u << SLOT_SHIFT)
#define SLOT_WORDS (SLOT_FRAMES / 64u)
#define SLOT_BYTES (SLOT_FRAMES * VIDMM_PAGE_SIZE)
#define SMALL_PAGES_MAX (SLOT_FRAMES / 2u)
#define SLOTS_MAX (SYSMEM_FRAMES_MAX / SLOT_FRAMES)
/* Up to here a freed run keeps its pages and is cleared when reused: clearing 4 KiB costs about half of a
 * page fault, and these are the page tables and command buffers that come and go. */
#define KEEP_PAGES_MAX 16u
#define NO_RUN UINT32_MAX

struct arena {
    char *host;                /* NULL for imports */
    uint32_t unused;           /* frames */
    uint64_t used[SLOT_WORDS]; /* bit per frame */
};

struct slot_head { uint16_t kind, fit; }; /* fit: no unused run of the arena is longer */

struct sysmem {
    _Atomic uint64_t *table;
    uint64_t frames;
    pthread_mutex_t lock;              /* everything below */
    uint32_t slots, slots_end;         /* slots_end: all at and above it are free */
    uint32_t hint[2];                  /* per arena kind: the slot that served last */
    uint32_t empty_arenas;             /* own arenas without a used frame */
    struct sysmem_usage usage;
    struct slot_head head[SLOTS_MAX];  /* apart from the arenas: searches touch little memory */
    uint64_t run_pages[SLOTS_MAX];     /* RUN_x: pages of the run */
    struct arena arena[];              /* one per slot */
};

/* ---- host memory ------------------------------------------------------------------------------- */

static void *map_memory(uint64_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static uint64_t header_bytes(uint64_t slots)
{
    uint64_t bytes = sizeof(struct sysmem) + slots * sizeof(struct arena);
    return (bytes + VIDMM_PAGE_SIZE - 1) & ~(VIDMM_PAGE_SIZE - 1);
}

struct sysmem *sysmem_create(uint64_t frames)
{
    if (frames < 2 * SLOT_FRAMES || frames > SYSMEM_FRAMES_MAX || frames % SLOT_FRAMES != 0) return NULL;
    uint64_t slots = frames / SLOT_FRAMES;
    struct sysmem *s = map_memory(header_bytes(slots)); /* zero, and costs only what is touched */
    if (s == NULL) return NULL;
    s->table = map_memory(frames * sizeof(*s->table));
    if (s->table == NULL || pthread_mutex_init(&s->lock, NULL) != 0) {
        if (s->table != NULL) munmap((void *)s->table, frames * sizeof(*s->table));
        munmap(s, header_bytes(slots));
        return NULL;
    }
    s->frames = frames;
    s->slots = (uint32_t)slots;
    s->slots_end = 1;
    return s;
}

void sysmem_destroy(struct sysmem *s)
{
    CHECK(s->usage.own == 0);
    for (uint32_t i = 1; i < s->slots_end; i++)
        if (s->head[i].kind == SLOT_OWN) munmap(s->arena[i].host, SLOT_BYTES);
    pthread_mutex_destroy(&s->lock);
    munmap((void *)s->table, s->frames * sizeof(*s->table));
    munmap(s, header_bytes(s->slots));
}

/* ---- slots (under the lock) -------------------------------------------------------------------- */

/* First fit. Gives: the first slot, 0 if there is no such run. */
static uint32_t take_slots(struct sysmem *s, uint64_t count, enum slot_kind kind)
{
    uint32_t start = 1;
    for (uint32_t i = 1; i < s->slots; i++) {
        if (s->head[i].kind != SLOT_FREE) start = i + 1;
        else if (i + 1 - start == count) break;
    }
    if (count > s->slots || start + count > s->slots) return 0;
    for (uint32_t i = 0; i < count; i++) {
        bool tail = i != 0;
        s->head[start + i].kind = (uint16_t)(tail ? SLOT_RUN_TAIL : kind);
    }
    if (s->slots_end < start + count) s->slots_end = (uint32_t)(start + count);
    return start;
}

static void give_slots(struct sysmem *s, uint32_t start, uint64_t count)
{
    for (uint32_t i = 0; i < count; i++) s->head[start + i].kind = SLOT_FREE;
    while (s->slots_end > 1 && s->head[s->slots_end - 1].kind == SLOT_FREE) s->slots_end--;
}

/* ---- arenas (under the lock) ------------------------------------------------------------------- */

/* Position of the first bit at or after `at` that equals `value`; SLOT_FRAMES if there is none. */
static uint32_t find_bit(const uint64_t *bits, uint32_t at, bool value)
{
    uint64_t flip = value ? 0 : UINT64_MAX;
    uint64_t mask = UINT64_MAX << (at % 64);
    for (uint32_t w = at / 64; w < SLOT_WORDS; w++) {
        uint64_t word = (bits[w] ^ flip) & mask;
        if (word != 0) return w * 64 + (uint32_t)__builtin_ctzll(word);
        mask = UINT64_MAX;
    }
    return SLOT_FRAMES;
}

static void set_bits(uint64_t *bits, uint32_t start, uint32_t count, bool value)
{
    for (uint32_t end = start + count; start < end; ) {
        uint32_t n = 64 - start % 64;
        if (n > end - start) n = end - start;
        uint64_t mask = (n == 64 ? UINT64_MAX : (1ull << n) - 1) << (start % 64);
        if (value) bits[start / 64] |= mask;
        else bits[start / 64] &= ~mask;
        start += n;
    }
}

static uint32_t arena_find(const struct arena *a, uint32_t pages, uint32_t *longest)
{
    *longest = 0;
    for (uint32_t at = find_bit(a->used, 0, false); at < SLOT_FRAMES; ) {
        uint32_t end = find_bit(a->used, at, true);
        if (end - at >= pages) return at;
        if (end - at > *longest) *longest = end - at;
        at = end == SLOT_FRAMES ? end : find_bit(a->used, end, false);
    }
    return NO_RUN;
}

/* Takes a run out of one arena. Gives: the frame, 0 if it has no room; then `fit` has become exact. */
static uint64_t arena_take(struct sysmem *s, uint32_t slot, uint32_t pages)
{
    struct arena *a = &s->arena[slot];
    uint32_t longest;
    uint32_t at = arena_find(a, pages, &longest);
    if (at == NO_RUN) {
        s->head[slot].fit = (uint16_t)longest;
        return 0;
    }
    if (s->head[slot].kind == SLOT_OWN && a->unused == SLOT_FRAMES) s->empty_arenas--;
    set_bits(a->used, at, pages, true);
    a->unused -= pages;
    if (s->head[slot].fit > a->unused) s->head[slot].fit = (uint16_t)a->unused;
    return (uint64_t)slot * SLOT_FRAMES + at;
}

static uint32_t arena_new(struct sysmem *s, enum slot_kind kind)
{
    char *host = NULL;
    if (kind == SLOT_OWN && (host = map_memory(SLOT_BYTES)) == NULL) return 0;
    uint32_t slot = take_slots(s, 1, kind);
    if (slot == 0) {
        if (host != NULL) munmap(host, SLOT_BYTES);
        return 0;
    }
    s->arena[slot].host = host;
    s->arena[slot].unused = SLOT_FRAMES;
    s->head[slot].fit = SLOT_FRAMES;
    memset(s->arena[slot].used, 0, sizeof(s->arena[slot].used));
    if (kind == SLOT_OWN) s->empty_arenas++;
    return slot;
}

static uint64_t small_take(struct sysmem *s, enum slot_kind kind, uint32_t pages)
{
    uint32_t *hint = &s->hint[kind == SLOT_IMPORT];
    uint64_t frame = 0;
    if (*hint != 0 && s->head[*hint].kind == kind && s->head[*hint].fit >= pages)
        frame = arena_take(s, *hint, pages);
    for (uint32_t i = 1; frame == 0 && i < s->slots_end; i++)
        if (s->head[i].kind == kind && s->head[i].fit >= pages) frame = arena_take(s, i, pages);
    if (frame == 0) {
        uint32_t slot = arena_new(s, kind);
        if (slot != 0) frame = arena_take(s, slot, pages);
    }
    if (frame != 0) *hint = (uint32_t)(frame >> SLOT_SHIFT);
    return frame;
}

/* One empty arena of own memory is kept: a client that allocates and frees one buffer in a loop shall
 * not map and unmap 16 MiB each time. */
static void small_give(struct sysmem *s, uint64_t frame, uint32_t pages)
{
    uint32_t slot = (uint32_t)(frame >> SLOT_SHIFT);
    struct arena *a = &s->arena[slot];
    set_bits(a->used, (uint32_t)(frame % SLOT_FRAMES), pages, false);
    a->unused += pages;
    s->head[slot].fit = (uint16_t)a->unused;
    if (a->unused != SLOT_FRAMES) return;
    if (s->head[slot].kind == SLOT_OWN) {
        if (s->empty_arenas == 0) {
            s->empty_arenas = 1;
            return;
        }
        for (uint32_t i = 0; i < SLOT_FRAMES; i++) /* forget ENTRY_DIRTY: the pages go */
            atomic_store_explicit(&s->table[(uint64_t)slot * SLOT_FRAMES + i], 0, memory_order_relaxed);
        munmap(a->host, SLOT_BYTES);
    }
    give_slots(s, slot, 1);
}

/* ---- entries ----------------------------------------------------------------------------------- */

static void entries_write(struct sysmem *s, uint64_t frame, uint64_t pages, const char *host, uint64_t bits)
{
    for (uint64_t i = 0; i < pages; i++) {
        uint64_t entry = (uint64_t)(uintptr_t)host + i * VIDMM_PAGE_SIZE;
        atomic_store_explicit(&s->table[frame + i], entry | bits, memory_order_relaxed);
    }
}

static void entries_clear(struct sysmem *s, uint64_t frame, uint64_t pages, uint64_t bits)
{
    for (uint64_t i = 0; i < pages; i++)
        atomic_store_explicit(&s->table[frame + i], bits, memory_order_relaxed);
}

/* The frames are ours to give back: all in use, of that kind. A caller's mistake here would hand one page
 * to two owners, so it ends the process. */
static void entries_check(struct sysmem *s, uint64_t frame, uint64_t pages, uint64_t kind)
{
    CHECK(frame != 0);
    CHECK(frame < s->frames);
    CHECK(pages <= s->frames - frame);
    for (uint64_t i = 0; i < pages; i++) {
        uint64_t entry = atomic_load_explicit(&s->table[frame + i], memory_order_relaxed);
        CHECK((entry & ENTRY_IN_USE) == kind);
    }
}

void *sysmem_address(struct sysmem *s, uint64_t frame)
{
    if (frame >= s->frames) return NULL;
    uint64_t entry = atomic_load_explicit(&s->table[frame], memory_order_relaxed);
    return entry & ENTRY_IN_USE ? (void *)(uintptr_t)(entry & ~(VIDMM_PAGE_SIZE - 1)) : NULL;
}

/* ---- own memory -------------------------------------------------------------------------------- */

/* The client has the addresses of some of our pages, and may have unmapped or protected them.  They are still
 * ours: then new ones are put in their place. */
static bool clear_page(char *page)
{
    static const char zeros[VIDMM_PAGE_SIZE];
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    if (guard_copy(page, zeros, sizeof zeros)) return true;
    return mmap(page, VIDMM_PAGE_SIZE, PROT_READ | PROT_WRITE, flags, -1, 0) != MAP_FAILED;
}

static bool clear_dirty(struct sysmem *s, uint64_t frame, uint64_t pages, char *host)
{
    for (uint64_t i = 0; i < pages; i++) {
        uint64_t entry = atomic_load_explicit(&s->table[frame + i], memory_order_relaxed);
        if ((entry & ENTRY_DIRTY) && !clear_page(host + i * VIDMM_PAGE_SIZE)) return false;
    }
    return true;
}

/* Gives the run back to its slot or slots; the entries no longer say "in use". */
static void give_back(struct sysmem *s, uint64_t frame, uint64_t pages, bool own);

static vidmm_status alloc_small(struct sysmem *s, uint32_t pages, uint64_t *frame)
{
    pthread_mutex_lock(&s->lock);
    uint64_t got = small_take(s, SLOT_OWN, pages);
    char *host = NULL;
    if (got != 0) {
        host = s->arena[got >> SLOT_SHIFT].host + (got % SLOT_FRAMES) * VIDMM_PAGE_SIZE;
        s->usage.own += pages;
    }
    pthread_mutex_unlock(&s->lock);
    if (got == 0) return VIDMM_NO_MEMORY;
    if (!clear_dirty(s, got, pages, host)) {
        give_back(s, got, pages, true);
        return VIDMM_NO_MEMORY;
    }
    entries_write(s, got, pages, host, ENTRY_OWN);
    *frame = got;
    return VIDMM_OK;
}

static uint64_t slots_for(uint64_t pages) { return (pages + SLOT_FRAMES - 1) / SLOT_FRAMES; }

static vidmm_status run_new(struct sysmem *s, uint64_t pages, char *host, uint64_t *frame)
{
    bool own = host == NULL;
    if (own && (host = map_memory(pages * VIDMM_PAGE_SIZE)) == NULL) return VIDMM_NO_MEMORY;
    pthread_mutex_lock(&s->lock);
    uint32_t slot = take_slots(s, slots_for(pages), own ? SLOT_RUN_OWN : SLOT_RUN_IMPORT);
    if (slot != 0) {
        s->run_pages[slot] = pages;
        *(own ? &s->usage.own : &s->usage.imported) += pages;
    }
    pthread_mutex_unlock(&s->lock);
    if (slot == 0) {
        if (own) munmap(host, pages * VIDMM_PAGE_SIZE);
        return VIDMM_NO_MEMORY;
    }
    *frame = (uint64_t)slot * SLOT_FRAMES;
    entries_write(s, *frame, pages, host, own ? ENTRY_OWN : ENTRY_IMPORT);
    return VIDMM_OK;
}

vidmm_status sysmem_alloc(struct sysmem *s, uint64_t pages, uint64_t *frame)
{
    *frame = 0;
    if (pages == 0) return VIDMM_INVALID;
    if (pages >= s->frames) return VIDMM_NO_MEMORY;
    return pages <= SMALL_PAGES_MAX ? alloc_small(s, (uint32_t)pages, frame)
                                    : run_new(s, pages, NULL, frame);
}

static void give_back(struct sysmem *s, uint64_t frame, uint64_t pages, bool own)
{
    uint32_t slot = (uint32_t)(frame >> SLOT_SHIFT);
    pthread_mutex_lock(&s->lock);
    enum slot_kind kind = (enum slot_kind)s->head[slot].kind;
    if (kind == SLOT_OWN || kind == SLOT_IMPORT) {
        small_give(s, frame, (uint32_t)pages);
    } else {
        CHECK(s->run_pages[slot] == pages);
        give_slots(s, slot, slots_for(pages));
    }
    *(own ? &s->usage.own : &s->usage.imported) -= pages;
    pthread_mutex_unlock(&s->lock);
}

static bool is_big_run(struct sysmem *s, uint64_t frame)
{
    pthread_mutex_lock(&s->lock);
    bool big = s->head[frame >> SLOT_SHIFT].kind == SLOT_RUN_OWN;
    pthread_mutex_unlock(&s->lock);
    return big;
}

static void count_lost(struct sysmem *s, uint64_t pages)
{
    pthread_mutex_lock(&s->lock);
    s->usage.own -= pages;
    pthread_mutex_unlock(&s->lock);
}

/* Zero pages that can be written, also where the client has protected them.  Gives: 0 or errno. */
static int forget_pages(char *host, uint64_t bytes)
{
    if (madvise(host, bytes, MADV_DONTNEED) != 0) return errno;
    return mprotect(host, bytes, PROT_READ | PROT_WRITE) != 0 ? errno : 0;
}

void sysmem_free(struct sysmem *s, uint64_t frame, uint64_t pages)
{
    entries_check(s, frame, pages, ENTRY_OWN);
    char *host = sysmem_address(s, frame);
    uint64_t left = ENTRY_DIRTY;
    if (is_big_run(s, frame)) {
        entries_clear(s, frame, pages, 0);
        munmap(host, pages * VIDMM_PAGE_SIZE);
        left = 0;
    } else if (pages > KEEP_PAGES_MAX) {
        int failed = forget_pages(host, pages * VIDMM_PAGE_SIZE);
        /* A hole: the client has unmapped our memory, and something of its own may be there by now. These
         * frames and addresses are never used again. (EINVAL: mlocked; clearing by hand works then.) */
        if (failed == ENOMEM) {
            entries_clear(s, frame, pages, 0);
            count_lost(s, pages);
            return;
        }
        left = failed ? ENTRY_DIRTY : 0;
    }
    entries_clear(s, frame, pages, left);
    give_back(s, frame, pages, true);
}

void sysmem_discard(struct sysmem *s, uint64_t frame, uint64_t pages)
{
    char *host = sysmem_address(s, frame);
    if (host == NULL || pages == 0) return;
    if (!(atomic_load_explicit(&s->table[frame], memory_order_relaxed) & ENTRY_OWN)) return;
    entries_check(s, frame, pages, ENTRY_OWN);
    CHECK(sysmem_address(s, frame + pages - 1) == host + (pages - 1) * VIDMM_PAGE_SIZE);
    if (madvise(host, pages * VIDMM_PAGE_SIZE, MADV_DONTNEED) == 0) return;
    for (uint64_t i = 0; i < pages; i++) clear_page(host + i * VIDMM_PAGE_SIZE);
}

/* ---- the client's memory ----------------------------------------------------------------------- */

vidmm_status sysmem_import(struct sysmem *s, void *host, uint64_t pages, uint64_t *frame)
{
    uint64_t start = (uint64_t)(uintptr_t)host;
    *frame = 0;
    if (pages == 0 || start == 0 || start % VIDMM_PAGE_SIZE != 0) return VIDMM_INVALID;
    if (pages > (UINT64_MAX - start) / VIDMM_PAGE_SIZE) return VIDMM_INVALID;
    if (pages >= s->frames) return VIDMM_NO_MEMORY;
    if (pages > SMALL_PAGES_MAX) return run_new(s, pages, host, frame);

    pthread_mutex_lock(&s->lock);
    uint64_t got = small_take(s, SLOT_IMPORT, (uint32_t)pages);
    if (got != 0) s->usage.imported += pages;
    pthread_mutex_unlock(&s->lock);
    if (got == 0) return VIDMM_NO_MEMORY;
    entries_write(s, got, pages, host, ENTRY_IMPORT);
    *frame = got;
    return VIDMM_OK;
}

void sysmem_release(struct sysmem *s, uint64_t frame, uint64_t pages)
{
    entries_check(s, frame, pages, ENTRY_IMPORT);
    entries_clear(s, frame, pages, 0);
    give_back(s, frame, pages, false);
}

struct sysmem_usage sysmem_usage(struct sysmem *s)
{
    pthread_mutex_lock(&s->lock);
    struct sysmem_usage usage = s->usage;
    pthread_mutex_unlock(&s->lock);
    return usage;
}
