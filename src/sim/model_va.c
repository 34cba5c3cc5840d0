/* SPDX-License-Identifier: MIT */
/* model_va.c - addresses of the reference model: per process and gpu a sorted array of pieces, searched and
 * rebuilt by plain copying. Owns: space->piece. Calls: malloc and friends only. Who owns a page is in all
 * arrays of a process the same; it is asked of the first. */
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
static uint32_t first_from(const struct model_space *sp, uint64_t va)
{
    uint32_t lo = 0, hi = sp->piece_count;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (sp->piece[mid].end > va) hi = mid;
        else lo = mid + 1;
    }
    return lo;
}

const struct model_piece *model_find(const struct model_space *sp, uint64_t va)
{
    uint32_t i = first_from(sp, va);
    return i < sp->piece_count && sp->piece[i].start <= va ? &sp->piece[i] : NULL;
}

static void open_gap(struct model_space *sp, uint32_t at)
{
    if (sp->piece_count == sp->piece_room) {
        sp->piece_room *= 2;
        sp->piece = realloc(sp->piece, sp->piece_room * sizeof(*sp->piece));
        if (sp->piece == NULL) abort();
    }
    memmove(&sp->piece[at + 1], &sp->piece[at], (sp->piece_count - at) * sizeof(*sp->piece));
    sp->piece_count++;
}

static void split(struct model_space *sp, uint64_t va)
{
    uint32_t i = first_from(sp, va);
    if (i == sp->piece_count || sp->piece[i].start >= va) return;
    open_gap(sp, i);
    sp->piece[i].end = va;
    sp->piece[i + 1].start = va;
    if (sp->piece[i].content == MODEL_ALLOC) sp->piece[i + 1].offset += va - sp->piece[i].start;
}

static void cut_out(struct model_space *sp, uint64_t start, uint64_t end)
{
    split(sp, start);
    split(sp, end);
    uint32_t from = first_from(sp, start), to = from;
    while (to < sp->piece_count && sp->piece[to].start < end) to++;
    memmove(&sp->piece[from], &sp->piece[to], (sp->piece_count - to) * sizeof(*sp->piece));
    sp->piece_count -= to - from;
}

/* The pages are nobody's. */
static void remove_range(struct model_process *p, uint64_t start, uint64_t end)
{
    EACH_SPACE(sp, p) cut_out(sp, start, end);
    p->removed = p->model->epoch;
}

static void put(struct model_space *sp, const struct model_piece *piece)
{
    cut_out(sp, piece->start, piece->end);
    uint32_t at = first_from(sp, piece->start);
    open_gap(sp, at);
    sp->piece[at] = *piece;
}

/* ---- who owns a range -------------------------------------------------------------------------- */

enum owned { OWNED_NONE, OWNED_BY_ONE, OWNED_ALL, OWNED_PARTLY };

/* Nobody's; inside one range; all of it somebody's; or a mix with free pages. */
static enum owned who_owns(const struct model_process *p, uint64_t start, uint64_t end)
{
    const struct model_space *sp = &p->on[0];
    uint32_t i = first_from(sp, start);
    uint64_t at = start;
    bool one = true, any = false;
    for (; i < sp->piece_count && sp->piece[i].start < end; i++) {
        any = true;
        if (sp->piece[i].start > at) return OWNED_PARTLY;
        if (sp->piece[i].internal) return OWNED_PARTLY;
        if (at > start && sp->piece[i].range != sp->piece[i - 1].range) one = false;
        at = sp->piece[i].end;
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
    const struct model_space *sp = &p->on[0];
    uint64_t at = w.lo;
    for (uint32_t i = first_from(sp, w.lo); i < sp->piece_count && sp->piece[i].start < w.hi; i++) {
        if (sp->piece[i].start > at && gap_fits(at, sp->piece[i].start, bytes, align, skew)) return true;
        at = sp->piece[i].end;
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

bool model_tables_tight(const struct model_gpu *c, uint64_t bytes, uint64_t end)
{
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

bool model_tables_tight_somewhere(const struct model *m, uint64_t bytes, uint64_t end)
{
    for (uint32_t g = 0; g < m->config.gpus; g++)
        if (model_tables_tight(&m->config.gpu[g], bytes, end)) return true;
    return false;
}

/* VidMm keeps its own pages in the upper half of what every resizable root covers: at least 512 MiB. */
bool model_no_room_inside(const struct model_process *p)
{
    const struct model_space *sp = &p->on[0];
    const struct model_config *c = &p->model->config;
    uint64_t owned = 0;
    bool resizable = false;
    for (uint32_t i = 0; i < sp->piece_count; i++) owned += sp->piece[i].end - sp->piece[i].start;
    for (uint32_t g = 0; g < c->gpus; g++) resizable |= c->gpu[g].level_count == 2;
    return resizable && owned >= 512ull << 20;
}

static const struct model_gpu *gpu_of(const struct model_queue *q)
{
    return &q->dev->proc->model->config.gpu[q->gpu];
}

/* ---- map --------------------------------------------------------------------------------------- */

static bool protection_valid(const struct model_gpu *g, uint64_t prot, bool has_alloc)
{
    bool zero = (prot & VIDMM_PROT_ZERO) != 0, none = (prot & VIDMM_PROT_NO_ACCESS) != 0;
    if (prot & ~0xfull) return false; /* SystemUseOnly included */
    if (zero && (none || !g->zero_pages)) return false;
    if (zero || none) return !has_alloc && (prot & 3u) == 0;
    return has_alloc;
}

static bool map_valid(const struct model_queue *q, const struct vidmm_map *in, const struct model_alloc *al)
{
    uint64_t mask = VIDMM_PAGE_SIZE - 1;
    if (!protection_valid(gpu_of(q), in->protection, al != NULL)) return false;
    if (in->bytes == 0 || ((in->bytes | in->offset) & mask) != 0 || in->offset + in->bytes < in->bytes)
        return false;
    if (al == NULL) return true;
    uint64_t of = in->offset / al->unit; /* LDA-06, Q29: all of it in one instance */
    return al->dev == q->dev && of < al->instances && in->offset + in->bytes <= (of + 1) * al->unit;
}

static bool base_valid(const struct model_process *p, const struct vidmm_map *in, bool has_alloc)
{
    if ((in->base & (VIDMM_PAGE_SIZE - 1)) != 0 || !in_space(p->model, in->base, in->bytes)) return false;
    enum owned o = who_owns(p, in->base, in->base + in->bytes);
    if (o == OWNED_NONE) return true;
    return o == OWNED_BY_ONE && (has_alloc || model_find(&p->on[0], in->base)->reserved);
}

/* Unique driver protection: 0 no conflict, 1 conflict, 2 depends on what has been executed. target: where
 * the map is to be. */
static int conflict_in(const struct model_space *sp, const struct model_space *target,
                       const struct vidmm_map *in, const struct model_alloc *al)
{
    int found = 0;
    for (uint32_t i = 0; i < sp->piece_count; i++) {
        const struct model_piece *x = &sp->piece[i];
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
        bool replaced = sp == target && in->base != 0 && va >= in->base && va_end <= in->base + in->bytes;
        if (replaced && (x->driver_protection & UNIQUE) == 0) continue;
        if (x->alloc->dying) found = found == 1 ? 1 : 2; /* may be gone */
        else if (model_ready(x)) found = 1;
    }
    return found;
}

/* In all processes: what was mapped by one that is gone may be there until its flush is done. */
static int unique_conflict(const struct model_queue *q, const struct vidmm_map *in,
                           const struct model_alloc *al)
{
    const struct model *m = q->dev->proc->model;
    int found = 0;
    if (al == NULL || !(al->body->unique || (in->driver_protection & UNIQUE) != 0)) return 0;
    for (uint32_t i = 0; i < m->process_count; i++)
        EACH_SPACE(sp, m->process[i]) {
            int here = conflict_in(sp, &q->dev->proc->on[q->gpu], in, al);
            if (here != 0) found = found == 1 ? 1 : here;
        }
    return found == 0 && al->body->users > 1 ? 2 : found;
}

static uint64_t map_align(const struct model_alloc *al) { return al != NULL ? al->align : VIDMM_PAGE_SIZE; }

/* How far it begins off alignment: counted from the beginning of its instance. */
static uint64_t map_skew(const struct vidmm_map *in, const struct model_alloc *al)
{
    return al != NULL ? in->offset % al->unit % al->align : 0;
}

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
    if (in->base == 0 && !room_for(p, w, in->bytes, align, map_skew(in, al)))
        model_refuse(&a, VIDMM_NO_VIDEO_MEMORY);
    if (al != NULL && al->read_only && (in->protection & VIDMM_PROT_WRITE))
        model_refuse(&a, VIDMM_ACCESS_DENIED);
    int conflict = a.success ? unique_conflict(q, in, al) : 0;
    if (conflict == 1) model_refuse(&a, VIDMM_INVALID);
    if (conflict == 2) a.errors |= MODEL_BIT(VIDMM_INVALID);
    uint64_t end = in->base != 0 ? in->base + in->bytes : w.hi;
    if (!(in->protection & VIDMM_PROT_NO_ACCESS) && model_tables_tight(gpu_of(q), in->bytes, end))
        a.errors |= MODEL_BIT(VIDMM_NO_MEMORY);
    return a;
}

/* A new range of the process, which shows something on one gpu. */
static void claim(struct model_space *of, struct model_piece *x)
{
    struct model_process *p = of->proc;
    x->range = ++p->model->next_range;
    struct model_piece nothing = {.start = x->start, .end = x->end, .range = x->range,
                                  .reserved = x->reserved, .internal = x->internal, .epoch = p->removed};
    EACH_SPACE(sp, p) put(sp, sp == of || x->internal ? x : &nothing);
}

/* The pages of [start, end) show something new; who owns them stays, or a new range takes them. */
void model_show(struct model_space *sp, struct model_piece *x)
{
    const struct model_piece *old = model_find(sp, x->start);
    if (old == NULL) {
        claim(sp, x);
        return;
    }
    x->range = old->range;
    x->reserved = old->reserved;
    x->reserved_zero = old->reserved_zero;
    EACH_SPACE(other, sp->proc) { /* so that of each piece all pages have the same owner, now and later */
        split(other, x->start);
        split(other, x->end);
    }
    put(sp, x);
}

const char *model_mapped(struct model_queue *q, const struct vidmm_map *in, struct model_alloc *al,
                         uint64_t va, uint64_t value)
{
    struct model_process *p = q->dev->proc;
    struct window w = window_of(p->model, in->min, in->max, VIDMM_PAGE_SIZE);
    uint64_t align = map_align(al);
    const char *why = NULL;
    if (in->base != 0 && va != in->base) return "the address is not the one that was asked for";
    if (in->base == 0) why = check_choice(p, w, va, in->bytes, align, map_skew(in, al));
    if (why == NULL) why = model_queue_issue(q, value);
    if (why != NULL) return why;
    struct model_piece x = {.start = va, .end = va + in->bytes, .prot = (uint8_t)in->protection, .alloc = al,
                            .offset = in->offset, .driver_protection = in->driver_protection, .queue = q,
                            .value = value, .content = MODEL_ALLOC};
    if (al == NULL) x.offset = 0;
    if (in->protection & VIDMM_PROT_ZERO) x.content = MODEL_ZERO;
    if (in->protection & VIDMM_PROT_NO_ACCESS) x.content = MODEL_NOTHING;
    if (al != NULL && (in->driver_protection & UNIQUE) != 0) al->body->unique = true;
    model_show(&p->on[q->gpu], &x);
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
    if (in->type > VIDMM_RESERVE_ZERO || (zero && (q == NULL || !gpu_of(q)->zero_pages)))
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
    if (zero && q != NULL && model_tables_tight(gpu_of(q), in->bytes, end))
        a.errors |= MODEL_BIT(VIDMM_NO_MEMORY);
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
    model_show(&p->on[zero ? q->gpu : 0], &x);
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
    const struct model_piece *at = model_find(&p->on[0], page);
    if (gpu_va == 0 || (at != NULL && at->internal)) return NULL;
    if (at != NULL) return "a fence lies in a range of the client";
    if (!in_space(p->model, page, VIDMM_PAGE_SIZE)) return "a fence lies outside the space";
    struct model_piece x = {.start = page, .end = page + VIDMM_PAGE_SIZE, .internal = true};
    claim(&p->on[0], &x);
    return NULL;
}

bool model_race(const struct model_space *sp, const struct model_queue *q, uint64_t start, uint64_t end)
{
    for (uint32_t i = first_from(sp, start); i < sp->piece_count && sp->piece[i].start < end; i++) {
        const struct model_piece *x = &sp->piece[i];
        if (x->open || (!model_ready(x) && (x->queue != q || q->dead))) return true;
    }
    return false;
}

bool model_ready(const struct model_piece *x) { return !x->open && model_reached(x->queue, x->value); }

enum kept { KEPT_NOT, KEPT_PERHAPS, KEPT };

/* Does another gpu keep the page, and those up to *end? A map that shows nothing does while it is queued. */
static enum kept kept_by_others(const struct model_space *of, uint64_t at, uint64_t *end)
{
    enum kept kept = KEPT_NOT;
    EACH_SPACE(sp, of->proc) {
        const struct model_piece *x = model_find(sp, at);
        if (sp == of || x == NULL) continue;
        if (x->end < *end) *end = x->end;
        bool perhaps = x->open || (x->content == MODEL_NOTHING && !model_ready(x));
        if (perhaps && kept == KEPT_NOT) kept = KEPT_PERHAPS;
        if (!perhaps && x->content != MODEL_NOTHING) kept = KEPT;
    }
    return kept;
}

static void must_be_seen(struct model_space *sp, uint64_t start, uint64_t end)
{
    split(sp, start);
    split(sp, end);
    for (uint32_t i = first_from(sp, start); i < sp->piece_count && sp->piece[i].start < end; i++) {
        sp->piece[i].open = true;
        sp->piece[i].content = MODEL_UNKNOWN;
    }
}

/* One gpu shows nothing there any more: the pages are free where no other one does (LDA-11). */
static void release_range(struct model_space *sp, uint64_t start, uint64_t end)
{
    for (uint64_t at = start, to; at < end; at = to) {
        to = end;
        enum kept kept = kept_by_others(sp, at, &to);
        if (kept == KEPT_NOT) remove_range(sp->proc, at, to);
        else if (kept == KEPT_PERHAPS) must_be_seen(sp, at, to);
    }
}

/* Pages of a destroyed allocation: free in mapped ranges, back to what was reserved in the others. */
void model_pieces_release(struct model_alloc *al, uint32_t instance)
{
    EACH_SPACE(sp, al->dev->proc)
        for (uint32_t i = sp->piece_count; i-- > 0;) {
            struct model_piece *x = &sp->piece[i];
            if (x->alloc != al || x->offset / al->unit != instance) continue;
            uint64_t start = x->start, end = x->end;
            x->alloc = NULL;
            x->queue = NULL;
            x->value = x->offset = 0;
            x->content = x->reserved_zero ? MODEL_ZERO : MODEL_NOTHING;
            x->epoch = sp->proc->model->epoch;
            if (!x->reserved) release_range(sp, start, end);
        }
}

/* What a queue had not finished when its device went may have happened or not. */
void model_pieces_cut_off(struct model_device *d)
{
    EACH_SPACE(sp, d->proc)
        for (uint32_t i = 0; i < sp->piece_count; i++) {
            struct model_piece *x = &sp->piece[i];
            if (x->queue == NULL || x->queue->dev != d || model_ready(x)) continue;
            x->open = true;
            x->content = MODEL_UNKNOWN;
            x->queue = NULL;
            x->value = 0;
        }
}

bool model_open_page(const struct model_space *sp, uint64_t from, uint64_t *va)
{
    for (uint32_t i = first_from(sp, from); i < sp->piece_count; i++) {
        if (!sp->piece[i].open) continue;
        *va = sp->piece[i].start > from ? sp->piece[i].start : from;
        return true;
    }
    return false;
}

/* A closed one may be gone already and its handle be another's, or a third one's: those that live come first,
 * then the newest. */
static struct model_alloc *rather(struct model_alloc *a, struct model_alloc *b)
{
    if (a == NULL || b == NULL) return a != NULL ? a : b;
    if (a->dying != b->dying) return a->dying ? b : a;
    return a->id > b->id ? a : b;
}

static struct model_alloc *alloc_by_handle(const struct model_device *d, const struct vidmm_open *handle)
{
    struct model_alloc *found = NULL;
    for (uint32_t i = 0; i < d->alloc_count; i++)
        if (d->alloc[i]->handle == handle) found = rather(found, d->alloc[i]);
    return found;
}

static struct model_alloc *find_alloc(const struct model_process *p, const struct vidmm_open *handle)
{
    const struct model *m = p->model;
    struct model_alloc *al = NULL;
    for (uint32_t i = 0; i < p->device_count; i++) al = rather(al, alloc_by_handle(p->device[i], handle));
    for (uint32_t i = 0; i < m->dead_devices; i++)
        if (m->dead_device[i]->proc == p) al = rather(al, alloc_by_handle(m->dead_device[i], handle));
    return al;
}

const char *model_observe_page(struct model_space *sp, uint64_t va, bool owned,
                               const struct vidmm_va_info *info)
{
    split(sp, va);
    split(sp, va + VIDMM_PAGE_SIZE);
    struct model_piece *x = &sp->piece[first_from(sp, va)];
    if (!owned) {
        remove_range(sp->proc, va, va + VIDMM_PAGE_SIZE);
        return NULL;
    }
    if (info->reserved != x->reserved) return "a range has become one of the other kind";
    x->open = false;
    x->content = MODEL_NOTHING;
    x->epoch = sp->proc->model->epoch;
    x->offset = 0;
    x->alloc = NULL;
    if (!info->bound) return NULL;
    x->blurred = true;
    x->content = info->open != NULL ? MODEL_ALLOC : MODEL_ZERO;
    if (info->open != NULL) x->alloc = find_alloc(sp->proc, info->open);
    x->offset = info->offset & ~(VIDMM_PAGE_SIZE - 1);
    return x->content == MODEL_ALLOC && x->alloc == NULL ? "a page shows an unknown allocation" : NULL;
}

/* ---- seeing a deferred destruction ------------------------------------------------------------- */

const struct model_piece *model_alloc_trace(const struct model_alloc *al, uint32_t instance,
                                            struct model_trace *at)
{
    for (; at->gpu < al->dev->proc->model->config.gpus; at->gpu++, at->next = 0) {
        const struct model_space *sp = &al->dev->proc->on[at->gpu];
        while (at->next < sp->piece_count) {
            const struct model_piece *x = &sp->piece[at->next++];
            if (x->alloc != al || x->content != MODEL_ALLOC || x->offset / al->unit != instance) continue;
            if (model_ready(x) || !x->reserved) return x;
        }
    }
    return NULL;
}

/* What is bound where an instance was shown last is that instance: it may outlive the first one, by which
 * the client knows them all. */
bool model_is_gone(const struct model_piece *x, bool owned, const struct vidmm_va_info *info)
{
    const struct model_alloc *al = x->alloc;
    if (!owned) return true;
    bool it = info->open == al->handle || (al->instances > 1 && info->open != NULL);
    return model_ready(x) && !(info->bound && it);
}

/* ---- settled ----------------------------------------------------------------------------------- */

void model_pieces_settled(struct model_process *p)
{
    EACH_SPACE(sp, p)
        for (uint32_t i = 0; i < sp->piece_count; i++) {
            sp->piece[i].queue = NULL;
            sp->piece[i].value = 0;
        }
}

const char *model_check_query(const struct model_space *sp, uint64_t va, bool owned,
                              const struct vidmm_va_info *info)
{
    const struct model_piece *at = sp->piece;
    uint32_t i = first_from(sp, va), lo = i, hi = i;
    const struct model_piece *x = model_find(sp, va);
    if (x == NULL || x->internal) return owned ? "a free page has an owner" : NULL;
    if (!owned) return "an owned page is free";
    while (lo > 0 && at[lo - 1].range == x->range && at[lo - 1].end == at[lo].start) lo--;
    while (hi + 1 < sp->piece_count && at[hi + 1].range == x->range && at[hi + 1].start == at[hi].end) hi++;
    if (info->start != at[lo].start || info->end != at[hi].end)
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

enum model_access model_gpu(const struct model_device *d, uint32_t gpu, uint64_t va, bool write)
{
    const struct model_process *p = d->proc;
    const struct model_piece *x = model_find(&p->on[gpu], va);
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
    bool denied = write && p->model->config.gpu[gpu].read_only &&
                  ((x->prot & VIDMM_PROT_WRITE) == 0 || x->alloc->read_only);
    return denied ? MODEL_FAULTS : MODEL_WORKS;
}
