/* SPDX-License-Identifier: MIT */
/* model_va.c - addresses of the reference model: a sorted array of pieces per process, searched and rebuilt
 * by plain copying. Owns: process->piece. Calls: malloc and friends only. */
#include "sim/model_inside.h"

#include <stdlib.h>
#include <string.h>

#define UNIQUE (1ull << 63)

static uint64_t top_of(const struct model *m) { return 1ull << m->config.va_bits; }

bool model_has_process(const struct model *m, const struct model_process *p)
{
    for (uint32_t i = 0; i < m->process_count; i++)
        if (m->process[i] == p) return true;
    return false;
}

/* ---- the array --------------------------------------------------------------------------------- */

/* Index of the first piece with end > va. */
static uint32_t first_from(const struct model_process *p, uint64_t va)
{
    uint32_t lo = 0, hi = p->piece_count;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (p->piece[mid].end > va) hi = mid;
        else lo = mid + 1;
    }
    return lo;
}

const struct model_piece *model_find(const struct model_process *p, uint64_t va)
{
    uint32_t i = first_from(p, va);
    return i < p->piece_count && p->piece[i].start <= va ? &p->piece[i] : NULL;
}

static void open_gap(struct model_process *p, uint32_t at)
{
    if (p->piece_count == p->piece_room) {
        p->piece_room *= 2;
        p->piece = realloc(p->piece, p->piece_room * sizeof(*p->piece));
        if (p->piece == NULL) abort();
    }
    memmove(&p->piece[at + 1], &p->piece[at], (p->piece_count - at) * sizeof(*p->piece));
    p->piece_count++;
}

static void split(struct model_process *p, uint64_t va)
{
    uint32_t i = first_from(p, va);
    if (i == p->piece_count || p->piece[i].start >= va) return;
    open_gap(p, i);
    p->piece[i].end = va;
    p->piece[i + 1].start = va;
    if (p->piece[i].content == MODEL_ALLOC) p->piece[i + 1].offset += va - p->piece[i].start;
}

static void remove_range(struct model_process *p, uint64_t start, uint64_t end)
{
    split(p, start);
    split(p, end);
    uint32_t from = first_from(p, start), to = from;
    while (to < p->piece_count && p->piece[to].start < end) to++;
    memmove(&p->piece[from], &p->piece[to], (p->piece_count - to) * sizeof(*p->piece));
    p->piece_count -= to - from;
    p->removed = p->model->epoch;
}

static void put(struct model_process *p, const struct model_piece *piece)
{
    uint64_t removed = p->removed;
    remove_range(p, piece->start, piece->end);
    p->removed = removed;
    uint32_t at = first_from(p, piece->start);
    open_gap(p, at);
    p->piece[at] = *piece;
}

/* ---- who owns a range -------------------------------------------------------------------------- */

enum owned { OWNED_NONE, OWNED_BY_ONE, OWNED_ALL, OWNED_PARTLY };

/* Nobody's; inside one range; all of it somebody's; or a mix with free pages. */
static enum owned who_owns(const struct model_process *p, uint64_t start, uint64_t end)
{
    uint32_t i = first_from(p, start);
    uint64_t at = start;
    bool one = true, any = false;
    for (; i < p->piece_count && p->piece[i].start < end; i++) {
        any = true;
        if (p->piece[i].start > at) return OWNED_PARTLY;
        if (p->piece[i].internal) return OWNED_PARTLY;
        if (at > start && p->piece[i].range != p->piece[i - 1].range) one = false;
        at = p->piece[i].end;
    }
    if (!any) return OWNED_NONE;
    if (at < end) return OWNED_PARTLY;
    return one ? OWNED_BY_ONE : OWNED_ALL;
}

static bool in_space(const struct model *m, uint64_t base, uint64_t bytes)
{
    return base >= VIDMM_VA_LOWEST && bytes <= top_of(m) && base <= top_of(m) - bytes;
}

struct window { uint64_t lo, hi; };

/* Minimum up, maximum + 1 down to the unit; maximum 0: the end of the space. */
static struct window window_of(const struct model *m, uint64_t min, uint64_t max, uint64_t unit)
{
    uint64_t top = top_of(m);
    struct window w = {min >= top ? top : (min + unit - 1) / unit * unit, top};
    if (max != 0 && max < top) w.hi = (max + 1) / unit * unit;
    if (w.lo < VIDMM_VA_LOWEST) w.lo = VIDMM_VA_LOWEST;
    return w;
}

static bool gap_fits(uint64_t lo, uint64_t hi, uint64_t bytes, uint64_t align, uint64_t skew)
{
    uint64_t va = lo / align * align + skew;
    if (va < lo) va += align;
    return va <= hi && hi - va >= bytes;
}

/* Is there an address = skew (mod align) with `bytes` free in the window? */
static bool room_for(const struct model_process *p, struct window w, uint64_t bytes, uint64_t align,
                     uint64_t skew)
{
    uint64_t at = w.lo;
    for (uint32_t i = first_from(p, w.lo); i < p->piece_count && p->piece[i].start < w.hi; i++) {
        if (p->piece[i].start > at && gap_fits(at, p->piece[i].start, bytes, align, skew)) return true;
        at = p->piece[i].end;
    }
    return at < w.hi && gap_fits(at, w.hi, bytes, align, skew);
}

static const char *check_choice(const struct model_process *p, struct window w, uint64_t va, uint64_t bytes,
                                uint64_t align, uint64_t skew)
{
    if (va < w.lo || va > w.hi || w.hi - va < bytes) return "the address lies outside the window";
    if (va % align != skew) return "the address is not aligned as its segments need";
    if (who_owns(p, va, va + bytes) != OWNED_NONE) return "the address is not free";
    return NULL;
}

bool model_tables_tight(const struct model *m, uint64_t bytes, uint64_t end)
{
    const struct model_config *c = &m->config;
    uint64_t need[VIDMM_SEGMENTS_MAX + 1] = {0};
    uint32_t shift = 12;
    for (uint32_t l = 0; l + 1 < c->level_count; l++) {
        shift += c->index_bits[l];
        need[c->table_segment[l]] += ((bytes >> shift) + 2) * c->table_bytes[l];
    }
    uint32_t top = c->level_count - 1;
    if (c->level_count == 2 && c->table_segment[top] != 0 && end >> shift > 1024)
        return true; /* a larger root has to be contiguous, which nothing promises */
    if (c->level_count == 2) need[c->table_segment[top]] += VIDMM_PAGE_SIZE;
    else if (bytes == 0) need[c->table_segment[top]] += c->table_bytes[top];
    for (uint32_t id = 1; id <= c->segment_count; id++)
        if (need[id] > 0 && c->segment[id].tables + need[id] > c->segment[id].table_reserve) return true;
    return false;
}

/* VidMm keeps its own pages in the upper half of what a resizable root covers: at least 512 MiB. */
bool model_no_room_inside(const struct model_process *p)
{
    uint64_t owned = 0;
    for (uint32_t i = 0; i < p->piece_count; i++) owned += p->piece[i].end - p->piece[i].start;
    return p->model->config.level_count == 2 && owned >= 512ull << 20;
}

/* ---- map --------------------------------------------------------------------------------------- */

static bool protection_valid(const struct model *m, uint64_t prot, bool has_alloc)
{
    bool zero = (prot & VIDMM_PROT_ZERO) != 0, none = (prot & VIDMM_PROT_NO_ACCESS) != 0;
    if (prot & ~0xfull) return false; /* SystemUseOnly included */
    if (zero && (none || !m->config.zero_pages)) return false;
    if (zero || none) return !has_alloc && (prot & 3u) == 0;
    return has_alloc;
}

static bool map_valid(const struct model_queue *q, const struct vidmm_map *in, const struct model_alloc *al)
{
    uint64_t mask = VIDMM_PAGE_SIZE - 1;
    if (!protection_valid(q->dev->proc->model, in->protection, al != NULL)) return false;
    if (in->bytes == 0 || ((in->bytes | in->offset) & mask) != 0 || in->offset + in->bytes < in->bytes)
        return false;
    return al == NULL || (al->dev == q->dev && in->offset + in->bytes <= al->bytes);
}

static bool base_valid(const struct model_process *p, const struct vidmm_map *in, bool has_alloc)
{
    if ((in->base & (VIDMM_PAGE_SIZE - 1)) != 0 || !in_space(p->model, in->base, in->bytes)) return false;
    enum owned o = who_owns(p, in->base, in->base + in->bytes);
    if (o == OWNED_NONE) return true;
    return o == OWNED_BY_ONE && (has_alloc || model_find(p, in->base)->reserved);
}

/* Unique driver protection: 0 no conflict, 1 conflict, 2 depends on what has been executed. */
static int conflict_in(const struct model_process *p, const struct vidmm_map *in,
                       const struct model_alloc *al)
{
    int found = 0;
    for (uint32_t i = 0; i < p->piece_count; i++) {
        const struct model_piece *x = &p->piece[i];
        if (!model_ready(x) || x->open) found = found == 1 ? 1 : 2;
        if (x->content != MODEL_ALLOC || x->alloc->body != al->body) continue;
        if (x->blurred) found = found == 1 ? 1 : 2; /* left by a map that its device's loss made void */
        if (((x->driver_protection | in->driver_protection) & UNIQUE) == 0) continue;
        if (x->driver_protection == in->driver_protection) continue;
        uint64_t lo = x->offset > in->offset ? x->offset : in->offset;
        uint64_t x_end = x->offset + (x->end - x->start), in_end = in->offset + in->bytes;
        uint64_t hi = x_end < in_end ? x_end : in_end;
        if (lo >= hi) continue;
        uint64_t va = x->start + (lo - x->offset), va_end = va + (hi - lo);
        bool own = p == al->dev->proc;
        bool replaced = own && in->base != 0 && va >= in->base && va_end <= in->base + in->bytes;
        if (replaced && (x->driver_protection & UNIQUE) == 0) continue;
        if (x->alloc->dying) found = found == 1 ? 1 : 2; /* may be gone */
        else if (model_ready(x)) found = 1;
    }
    return found;
}

/* In all processes: what was mapped by one that is gone may be there until its flush is done. */
static int unique_conflict(const struct model *m, const struct vidmm_map *in, const struct model_alloc *al)
{
    int found = 0;
    if (al == NULL || !(al->body->unique || (in->driver_protection & UNIQUE) != 0)) return 0;
    for (uint32_t i = 0; i < m->process_count; i++) {
        int here = conflict_in(m->process[i], in, al);
        if (here != 0) found = found == 1 ? 1 : here;
    }
    return found == 0 && al->body->users > 1 ? 2 : found;
}

static uint64_t map_align(const struct model_alloc *al) { return al != NULL ? al->align : VIDMM_PAGE_SIZE; }

struct model_answer model_map(const struct model_queue *q, const struct vidmm_map *in,
                              const struct model_alloc *al)
{
    const struct model_process *p = q->dev->proc;
    const struct model *m = p->model;
    struct model_answer a = {0, true};
    uint64_t align = map_align(al);
    if (q->dev->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (!map_valid(q, in, al)) model_refuse(&a, VIDMM_INVALID);
    if (!a.success) return a;
    struct window w = window_of(m, in->min, in->max, VIDMM_PAGE_SIZE);
    if (in->base != 0 && !base_valid(p, in, al != NULL)) model_refuse(&a, VIDMM_INVALID);
    if (in->base == 0 && !room_for(p, w, in->bytes, align, in->offset % align))
        model_refuse(&a, VIDMM_NO_VIDEO_MEMORY);
    if (al != NULL && al->read_only && (in->protection & VIDMM_PROT_WRITE))
        model_refuse(&a, VIDMM_ACCESS_DENIED);
    int conflict = a.success ? unique_conflict(m, in, al) : 0;
    if (conflict == 1) model_refuse(&a, VIDMM_INVALID);
    if (conflict == 2) a.errors |= MODEL_BIT(VIDMM_INVALID);
    uint64_t end = in->base != 0 ? in->base + in->bytes : w.hi;
    if (!(in->protection & VIDMM_PROT_NO_ACCESS) && model_tables_tight(m, in->bytes, end))
        a.errors |= MODEL_BIT(VIDMM_NO_MEMORY);
    return a;
}

/* The pages of [start, end) show something new; who owns them stays, or a new range takes them. */
void model_show(struct model_process *p, struct model_piece *x)
{
    const struct model_piece *old = model_find(p, x->start);
    x->range = old != NULL ? old->range : ++p->model->next_range;
    if (old != NULL) {
        x->reserved = old->reserved;
        x->reserved_zero = old->reserved_zero;
    }
    put(p, x);
}

const char *model_mapped(struct model_queue *q, const struct vidmm_map *in, struct model_alloc *al,
                         uint64_t va, uint64_t value)
{
    struct model_process *p = q->dev->proc;
    struct window w = window_of(p->model, in->min, in->max, VIDMM_PAGE_SIZE);
    uint64_t align = map_align(al);
    const char *why = NULL;
    if (in->base != 0 && va != in->base) return "the address is not the one that was asked for";
    if (in->base == 0) why = check_choice(p, w, va, in->bytes, align, in->offset % align);
    if (why == NULL) why = model_queue_issue(q, value);
    if (why != NULL) return why;
    struct model_piece x = {.start = va, .end = va + in->bytes, .prot = (uint8_t)in->protection, .alloc = al,
                            .offset = in->offset, .driver_protection = in->driver_protection, .queue = q,
                            .value = value, .content = MODEL_ALLOC};
    if (al == NULL) x.offset = 0;
    if (in->protection & VIDMM_PROT_ZERO) x.content = MODEL_ZERO;
    if (in->protection & VIDMM_PROT_NO_ACCESS) x.content = MODEL_NOTHING;
    if (al != NULL && (in->driver_protection & UNIQUE) != 0) al->body->unique = true;
    model_show(p, &x);
    return NULL;
}

/* ---- reserve ----------------------------------------------------------------------------------- */

struct model_answer model_reserve(const struct model_process *p, const struct model_queue *q,
                                  const struct vidmm_reserve *in)
{
    struct model_answer a = {0, true};
    uint64_t mask = VIDMM_PAGE_64K - 1;
    bool zero = in->type == VIDMM_RESERVE_ZERO;
    if (p->model->lost || (q != NULL && q->dev->lost)) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (q != NULL && q->dev->proc != p) model_refuse(&a, VIDMM_INVALID);
    if (in->type > VIDMM_RESERVE_ZERO || (zero && (q == NULL || !p->model->config.zero_pages)))
        model_refuse(&a, VIDMM_INVALID);
    if (in->bytes == 0 || ((in->bytes | in->base) & mask) != 0) model_refuse(&a, VIDMM_INVALID);
    if (!a.success) return a;
    struct window w = window_of(p->model, in->min, in->max, VIDMM_PAGE_64K);
    if (in->base != 0 && (!in_space(p->model, in->base, in->bytes) ||
                          who_owns(p, in->base, in->base + in->bytes) != OWNED_NONE))
        model_refuse(&a, VIDMM_INVALID);
    if (in->base == 0 && !room_for(p, w, in->bytes, VIDMM_PAGE_64K, 0))
        model_refuse(&a, VIDMM_NO_VIDEO_MEMORY);
    uint64_t end = in->base != 0 ? in->base + in->bytes : w.hi;
    if (zero && model_tables_tight(p->model, in->bytes, end)) a.errors |= MODEL_BIT(VIDMM_NO_MEMORY);
    return a;
}

const char *model_reserved(struct model_process *p, struct model_queue *q, const struct vidmm_reserve *in,
                           uint64_t va, uint64_t value)
{
    struct window w = window_of(p->model, in->min, in->max, VIDMM_PAGE_64K);
    bool zero = in->type == VIDMM_RESERVE_ZERO;
    const char *why = NULL;
    if (in->base != 0 && va != in->base) return "the address is not the one that was asked for";
    if (in->base == 0) why = check_choice(p, w, va, in->bytes, VIDMM_PAGE_64K, 0);
    if (why == NULL && zero) why = model_queue_issue(q, value);
    if (why == NULL && !zero && value != 0) why = "a reservation without zero pages is complete at the call";
    if (why != NULL) return why;
    struct model_piece x = {.start = va, .end = va + in->bytes, .reserved = true, .reserved_zero = zero,
                            .queue = zero ? q : NULL, .value = value, .epoch = p->model->epoch,
                            .content = zero ? MODEL_ZERO : MODEL_NOTHING};
    if (zero) x.epoch = 0;
    model_show(p, &x);
    return NULL;
}

/* ---- free, and what goes by itself ------------------------------------------------------------- */

struct model_answer model_free(const struct model_process *p, uint64_t base, uint64_t bytes)
{
    struct model_answer a = {0, true};
    bool aligned = ((base | bytes) & (VIDMM_PAGE_SIZE - 1)) == 0;
    if (bytes == 0 || !aligned || base + bytes < base) {
        model_refuse(&a, VIDMM_INVALID);
        return a;
    }
    enum owned o = who_owns(p, base, base + bytes);
    if (o != OWNED_BY_ONE && o != OWNED_ALL) model_refuse(&a, VIDMM_INVALID);
    return a;
}

void model_freed(struct model_process *p, uint64_t base, uint64_t bytes)
{
    remove_range(p, base, base + bytes);
}

const char *model_fence_made(struct model_process *p, uint64_t gpu_va)
{
    uint64_t page = gpu_va & ~(VIDMM_PAGE_SIZE - 1);
    const struct model_piece *at = model_find(p, page);
    if (gpu_va == 0 || (at != NULL && at->internal)) return NULL;
    if (at != NULL) return "a fence lies in a range of the client";
    if (!in_space(p->model, page, VIDMM_PAGE_SIZE)) return "a fence lies outside the space";
    struct model_piece x = {.start = page, .end = page + VIDMM_PAGE_SIZE, .internal = true,
                            .range = ++p->model->next_range};
    put(p, &x);
    return NULL;
}

bool model_race(const struct model_process *p, const struct model_queue *q, uint64_t start, uint64_t end)
{
    for (uint32_t i = first_from(p, start); i < p->piece_count && p->piece[i].start < end; i++) {
        const struct model_piece *x = &p->piece[i];
        if (x->open || (!model_ready(x) && (x->queue != q || q->dead))) return true;
    }
    return false;
}

bool model_ready(const struct model_piece *x) { return !x->open && model_reached(x->queue, x->value); }

/* Pages of a destroyed allocation: free in mapped ranges, back to what was reserved in the others. */
void model_pieces_release(struct model_alloc *al)
{
    struct model_process *p = al->dev->proc;
    for (uint32_t i = p->piece_count; i-- > 0;) {
        struct model_piece *x = &p->piece[i];
        if (x->alloc != al) continue;
        if (!x->reserved) {
            remove_range(p, x->start, x->end);
            continue;
        }
        x->alloc = NULL;
        x->queue = NULL;
        x->value = x->offset = 0;
        x->content = x->reserved_zero ? MODEL_ZERO : MODEL_NOTHING;
        x->epoch = p->model->epoch;
    }
}

/* What a queue had not finished when its device went may have happened or not. */
void model_pieces_cut_off(struct model_device *d)
{
    struct model_process *p = d->proc;
    for (uint32_t i = 0; i < p->piece_count; i++) {
        struct model_piece *x = &p->piece[i];
        if (x->queue == NULL || x->queue->dev != d || model_ready(x)) continue;
        x->open = true;
        x->content = MODEL_UNKNOWN;
        x->queue = NULL;
        x->value = 0;
    }
}

bool model_open_page(const struct model_process *p, uint64_t from, uint64_t *va)
{
    for (uint32_t i = first_from(p, from); i < p->piece_count; i++) {
        if (!p->piece[i].open) continue;
        *va = p->piece[i].start > from ? p->piece[i].start : from;
        return true;
    }
    return false;
}

/* A closed one may be gone already and its handle be another's: those that live come first. */
static struct model_alloc *alloc_by_handle(const struct model_device *d, const struct vidmm_open *handle)
{
    struct model_alloc *found = NULL;
    for (uint32_t i = 0; i < d->alloc_count; i++) {
        if (d->alloc[i]->handle != handle) continue;
        if (found == NULL || !d->alloc[i]->dying) found = d->alloc[i];
    }
    return found;
}

static struct model_alloc *find_alloc(const struct model_process *p, const struct vidmm_open *handle)
{
    const struct model *m = p->model;
    struct model_alloc *al = NULL;
    for (uint32_t i = 0; i < p->device_count && (al == NULL || al->dying); i++) {
        struct model_alloc *other = alloc_by_handle(p->device[i], handle);
        if (other != NULL) al = other;
    }
    for (uint32_t i = 0; i < m->dead_devices && al == NULL; i++)
        if (m->dead_device[i]->proc == p) al = alloc_by_handle(m->dead_device[i], handle);
    return al;
}

const char *model_observe_page(struct model_process *p, uint64_t va, bool owned,
                               const struct vidmm_va_info *info)
{
    split(p, va);
    split(p, va + VIDMM_PAGE_SIZE);
    struct model_piece *x = &p->piece[first_from(p, va)];
    if (!owned) {
        remove_range(p, va, va + VIDMM_PAGE_SIZE);
        return NULL;
    }
    if (info->reserved != x->reserved) return "a range has become one of the other kind";
    x->open = false;
    x->content = MODEL_NOTHING;
    x->epoch = p->model->epoch;
    x->offset = 0;
    x->alloc = NULL;
    if (!info->bound) return NULL;
    x->blurred = true;
    x->content = info->open != NULL ? MODEL_ALLOC : MODEL_ZERO;
    if (info->open != NULL) x->alloc = find_alloc(p, info->open);
    x->offset = info->offset & ~(VIDMM_PAGE_SIZE - 1);
    return x->content == MODEL_ALLOC && x->alloc == NULL ? "a page shows an unknown allocation" : NULL;
}

/* ---- seeing a deferred destruction ------------------------------------------------------------- */

const struct model_piece *model_alloc_trace(const struct model_alloc *al)
{
    const struct model_process *p = al->dev->proc;
    const struct model_piece *pending = NULL;
    for (uint32_t i = 0; i < p->piece_count; i++) {
        const struct model_piece *x = &p->piece[i];
        if (x->alloc != al || x->content != MODEL_ALLOC) continue;
        if (model_ready(x)) return x;
        if (!x->reserved) pending = x;
    }
    return pending;
}

bool model_is_gone(const struct model_piece *x, bool owned, const struct vidmm_va_info *info)
{
    if (!owned) return true;
    return model_ready(x) && !(info->bound && info->open == x->alloc->handle);
}

/* ---- settled ----------------------------------------------------------------------------------- */

void model_pieces_settled(struct model_process *p)
{
    for (uint32_t i = 0; i < p->piece_count; i++) {
        p->piece[i].queue = NULL;
        p->piece[i].value = 0;
    }
}

const char *model_check_query(const struct model_process *p, uint64_t va, bool owned,
                              const struct vidmm_va_info *info)
{
    uint32_t i = first_from(p, va), lo = i, hi = i;
    const struct model_piece *x = model_find(p, va);
    if (x == NULL || x->internal) return owned ? "a free page has an owner" : NULL;
    if (!owned) return "an owned page is free";
    while (lo > 0 && p->piece[lo - 1].range == x->range && p->piece[lo - 1].end == p->piece[lo].start) lo--;
    while (hi + 1 < p->piece_count && p->piece[hi + 1].range == x->range &&
           p->piece[hi + 1].start == p->piece[hi].end) hi++;
    if (info->start != p->piece[lo].start || info->end != p->piece[hi].end)
        return "the bounds of a range differ";
    if (info->reserved != x->reserved) return "a range is of the other kind";
    if (x->content == MODEL_UNKNOWN) return NULL;
    if (info->bound != (x->content != MODEL_NOTHING))
        return "a page shows something, or nothing, unexpectedly";
    if (x->content != MODEL_ALLOC) return NULL;
    if (info->open != x->alloc->handle) return "a page shows another allocation";
    return info->offset == x->offset + (va - x->start) ? NULL : "a page shows another offset";
}

/* ---- what a GPU access meets ------------------------------------------------------------------- */

struct model_page *model_page(const struct model_piece *x, uint64_t va)
{
    return &x->alloc->page[(x->offset + (va - x->start)) / VIDMM_PAGE_SIZE];
}

enum model_access model_gpu(const struct model_device *d, uint64_t va, bool write)
{
    const struct model_process *p = d->proc;
    const struct model_piece *x = model_find(p, va);
    if (x == NULL) return p->removed < p->model->epoch ? MODEL_FAULTS : MODEL_OPEN;
    if (x->internal || x->blurred || x->content == MODEL_UNKNOWN || !model_ready(x)) return MODEL_OPEN;
    if (x->content != MODEL_ALLOC) {
        if (x->epoch >= p->model->epoch) return MODEL_OPEN; /* old entries may not be flushed yet */
        return x->content == MODEL_ZERO ? MODEL_WORKS : MODEL_FAULTS;
    }
    if (x->alloc->dying || x->alloc->dev != d) return MODEL_OPEN;
    if (!x->alloc->body->touched) return MODEL_FAULTS; /* never resident */
    bool needed = x->alloc->count > 0 && x->alloc->offer == 0;
    if (!needed || !model_reached(x->alloc->queue, x->alloc->value)) return MODEL_OPEN;
    bool denied = write && p->model->config.read_only &&
                  ((x->prot & VIDMM_PROT_WRITE) == 0 || x->alloc->read_only);
    return denied ? MODEL_FAULTS : MODEL_WORKS;
}
