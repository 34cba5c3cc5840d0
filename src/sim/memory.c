/* SPDX-License-Identifier: MIT */
/* memory.c - a world's memory: bookkeeping blocks that are counted, system frames over one lazily backed
 * block, imported client pages, and the failures of each. Calls: the C library. */
#include <stdlib.h>
#include <string.h>

#include "sim/inside.h"

/* ---- failures ----------------------------------------------------------------------------------- */

void world_fail(struct world *w, enum world_service s, uint64_t k, bool forever)
{
    w->fail[s] = (struct fail_plan){.after = k, .armed = k != 0, .forever = forever};
}

uint64_t world_failed(const struct world *w, enum world_service s) { return w->fail[s].failed; }

static bool fails(struct world *w, enum world_service s)
{
    struct fail_plan *f = &w->fail[s];
    if (!f->armed) return false;
    if (f->after > 1) {
        f->after--;
        return false;
    }
    f->armed = f->forever;
    f->failed++;
    return true;
}

/* ---- blocks ------------------------------------------------------------------------------------- */

#define BLOCK_MAGIC 0x6b636f6c42ull

struct block {
    struct block *prev, *next;
    size_t bytes, head;       /* head: distance from the start of the C library's block to the bytes */
    uint64_t magic;
};

static void *block_alloc(void *ctx, size_t bytes, size_t align)
{
    struct world *w = ctx;
    if (fails(w, WORLD_ALLOC)) return NULL;
    if (align < 16) align = 16;
    size_t head = (sizeof(struct block) + align - 1) & ~(align - 1);
    if (bytes > SIZE_MAX / 2) return NULL;
    uint8_t *raw = aligned_alloc(align, (head + bytes + align - 1) & ~(align - 1));
    if (raw == NULL) return NULL;
    struct block *b = (struct block *)(void *)(raw + head - sizeof(struct block));
    *b = (struct block){NULL, w->blocks, bytes, head, BLOCK_MAGIC};
    if (w->blocks != NULL) w->blocks->prev = b;
    w->blocks = b;
    w->accounts.blocks++;
    w->accounts.bytes += bytes;
    memset(raw + head, 0xa5, bytes); /* new memory is not zero */
    return raw + head;
}

static void block_free(void *ctx, void *p, size_t bytes)
{
    struct world *w = ctx;
    if (p == NULL) return;
    struct block *b = (struct block *)(void *)((uint8_t *)p - sizeof(struct block));
    if (b->magic != BLOCK_MAGIC || b->bytes != bytes) {
        w->accounts.errors++;
        return;
    }
    if (b->prev != NULL) b->prev->next = b->next;
    else w->blocks = b->next;
    if (b->next != NULL) b->next->prev = b->prev;
    w->accounts.blocks--;
    w->accounts.bytes -= bytes;
    b->magic = 0;
    memset(p, 0xdd, bytes);
    free((uint8_t *)p - b->head);
}

/* ---- frames ------------------------------------------------------------------------------------- */

static uint64_t total(const struct world *w) { return w->frames + IMPORT_FRAMES; }

/* n free neighbours in [from, to), searched from *next on, round once. UINT64_MAX: none. */
static uint64_t find_free(struct world *w, uint64_t from, uint64_t to, uint64_t *next, uint64_t n)
{
    uint64_t run = 0, at = *next;
    if (n == 0 || n > to - from) return UINT64_MAX;
    for (uint64_t left = 2 * (to - from) + n; left > 0; left--) {
        if (at >= to) {
            at = from;
            run = 0;
        }
        run = w->state[at++] == FRAME_USED ? 0 : run + 1;
        if (run < n) continue;
        *next = at;
        return at - n;
    }
    return UINT64_MAX;
}

static void clean(struct world *w, uint64_t index)
{
    if (w->state[index] == FRAME_DIRTY) memset(w->arena + index * VIDMM_PAGE_SIZE, 0, VIDMM_PAGE_SIZE);
    w->state[index] = FRAME_CLEAN;
}

static vidmm_status frames_alloc(void *ctx, uint64_t pages, uint64_t *frame)
{
    struct world *w = ctx;
    if (fails(w, WORLD_FRAMES)) return VIDMM_NO_MEMORY;
    uint64_t at = find_free(w, 0, w->frames, &w->next_frame, pages);
    if (at == UINT64_MAX) return VIDMM_NO_MEMORY;
    for (uint64_t i = at; i < at + pages; i++) {
        clean(w, i);
        w->state[i] = FRAME_USED;
    }
    w->accounts.frames += pages;
    *frame = at + FRAME_FIRST;
    return VIDMM_OK;
}

/* Are these frames in use, all in the arena or all imported? */
static bool in_use(const struct world *w, uint64_t frame, uint64_t pages, bool imported)
{
    uint64_t at = frame - FRAME_FIRST, end = total(w);
    if (frame < FRAME_FIRST || at >= end || pages > end - at) return false;
    if (imported ? at < w->frames : at + pages > w->frames) return false;
    for (uint64_t i = at; i < at + pages; i++)
        if (w->state[i] != FRAME_USED) return false;
    return true;
}

static void set_access(struct world *w, uint64_t index, enum world_access a)
{
    w->guarded -= w->access[index] != WORLD_NORMAL;
    w->guarded += a != WORLD_NORMAL;
    w->access[index] = (uint8_t)a;
}

static void give_back(struct world *w, uint64_t frame, uint64_t pages, bool imported)
{
    if (!in_use(w, frame, pages, imported)) {
        w->accounts.errors++;
        return;
    }
    for (uint64_t i = frame - FRAME_FIRST; i < frame - FRAME_FIRST + pages; i++) {
        w->state[i] = FRAME_DIRTY;
        set_access(w, i, WORLD_NORMAL);
    }
    if (imported) w->accounts.imported -= pages;
    else w->accounts.frames -= pages;
}

static void frames_free(void *ctx, uint64_t frame, uint64_t pages) { give_back(ctx, frame, pages, false); }
static void frames_release(void *ctx, uint64_t frame, uint64_t pages) { give_back(ctx, frame, pages, true); }

static vidmm_status frames_import(void *ctx, void *host, uint64_t pages, uint64_t *frame)
{
    struct world *w = ctx;
    if (fails(w, WORLD_FRAMES)) return VIDMM_NO_MEMORY;
    uint64_t at = find_free(w, w->frames, total(w), &w->next_import, pages);
    if (at == UINT64_MAX) return VIDMM_NO_MEMORY;
    for (uint64_t i = 0; i < pages; i++) {
        w->state[at + i] = FRAME_USED;
        w->import[at + i - w->frames] = (uint8_t *)host + i * VIDMM_PAGE_SIZE;
    }
    w->accounts.imported += pages;
    *frame = at + FRAME_FIRST;
    return VIDMM_OK;
}

static void *frames_address(void *ctx, uint64_t frame)
{
    struct world *w = ctx;
    uint64_t at = frame - FRAME_FIRST;
    if (frame < FRAME_FIRST || at >= total(w) || w->state[at] != FRAME_USED) return NULL;
    return at < w->frames ? w->arena + at * VIDMM_PAGE_SIZE : w->import[at - w->frames];
}

static void frames_discard(void *ctx, uint64_t frame, uint64_t pages)
{
    struct world *w = ctx;
    if (!in_use(w, frame, pages, false)) {
        w->accounts.errors++;
        return;
    }
    memset(w->arena + (frame - FRAME_FIRST) * VIDMM_PAGE_SIZE, 0, pages * VIDMM_PAGE_SIZE);
}

/* ---- access ------------------------------------------------------------------------------------- */

void world_set_access(struct world *w, uint64_t frame, uint64_t pages, enum world_access a)
{
    uint64_t at = frame - FRAME_FIRST;
    for (uint64_t i = at; frame >= FRAME_FIRST && i < at + pages && i < total(w); i++) set_access(w, i, a);
}

/* Index of the frame that holds a host address; UINT64_MAX: no frame of this world. */
static uint64_t index_of(const struct world *w, const uint8_t *p)
{
    if (p >= w->arena && p < w->arena + w->frames * VIDMM_PAGE_SIZE)
        return (uint64_t)(p - w->arena) / VIDMM_PAGE_SIZE;
    for (uint64_t i = 0; i < IMPORT_FRAMES && w->accounts.imported != 0; i++) {
        bool used = w->state[w->frames + i] == FRAME_USED;
        if (used && p >= w->import[i] && p < w->import[i] + VIDMM_PAGE_SIZE) return w->frames + i;
    }
    return UINT64_MAX;
}

bool world_set_client_access(struct world *w, const void *host, uint64_t pages, enum world_access a)
{
    for (uint64_t i = 0; i < pages; i++) {
        uint64_t at = index_of(w, (const uint8_t *)host + i * VIDMM_PAGE_SIZE);
        if (at == UINT64_MAX) return false;
        set_access(w, at, a);
    }
    return true;
}

static bool allowed(const struct world *w, const uint8_t *p, size_t bytes, bool write)
{
    for (const uint8_t *at = p; at < p + bytes; at += VIDMM_PAGE_SIZE - ((uintptr_t)at % VIDMM_PAGE_SIZE)) {
        uint64_t i = index_of(w, at);
        if (i == UINT64_MAX) continue;
        if (w->access[i] == WORLD_GONE || (write && w->access[i] == WORLD_READ_ONLY)) return false;
    }
    return true;
}

static bool touches(const struct world *w, const uint8_t *p, size_t bytes)
{
    return p < w->watched + w->watched_bytes && w->watched < p + bytes;
}

static bool copy(void *ctx, void *dst, const void *src, size_t bytes)
{
    struct world *w = ctx;
    w->accounts.copies++;
    if (w->watched_bytes != 0 && (touches(w, dst, bytes) || touches(w, src, bytes))) w->watched_copies++;
    if (w->guarded != 0 && (!allowed(w, dst, bytes, true) || !allowed(w, src, bytes, false))) return false;
    memmove(dst, src, bytes);
    return true;
}

void world_watch_copies(struct world *w, const void *host, uint64_t bytes)
{
    w->watched = host;
    w->watched_bytes = bytes;
    w->watched_copies = 0;
}

uint64_t world_watched_copies(const struct world *w) { return w->watched_copies; }

/* ---- making and ending -------------------------------------------------------------------------- */

bool memory_create(struct world *w, uint64_t frames)
{
    w->frames = frames;
    w->next_import = frames;
    w->arena_raw = calloc(frames + 1, VIDMM_PAGE_SIZE);
    w->import = calloc(IMPORT_FRAMES, sizeof(*w->import));
    w->state = calloc(total(w), 1);
    w->access = calloc(total(w), 1);
    uintptr_t raw = (uintptr_t)w->arena_raw, rest = raw % VIDMM_PAGE_SIZE;
    w->arena = (uint8_t *)w->arena_raw + (rest == 0 ? 0 : VIDMM_PAGE_SIZE - rest);
    w->platform.alloc = block_alloc;
    w->platform.free = block_free;
    w->platform.sys_alloc = frames_alloc;
    w->platform.sys_free = frames_free;
    w->platform.sys_import = frames_import;
    w->platform.sys_release = frames_release;
    w->platform.sys_discard = frames_discard;
    w->platform.sys_address = frames_address;
    w->platform.copy = copy;
    w->platform.frame_end = FRAME_FIRST + total(w);
    if (w->arena_raw != NULL && w->import != NULL && w->state != NULL && w->access != NULL) return true;
    memory_destroy(w);
    return false;
}

/* What is still taken is given back all the same; the accounts told the caller. */
void memory_destroy(struct world *w)
{
    while (w->blocks != NULL) {
        struct block *b = w->blocks;
        w->blocks = b->next;
        free((uint8_t *)b + sizeof(struct block) - b->head);
    }
    free(w->arena_raw);
    free(w->import);
    free(w->state);
    free(w->access);
}
