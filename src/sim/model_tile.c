/* SPDX-License-Identifier: MIT */
/* model_tile.c - tile updates of the reference model, by the requirements TIL-14 to TIL-28 and Q05, Q33, Q34.
 * Owns: nothing beyond streams. An accepted update changes the pieces at once; they are ready when the stream
 * has reached its value, so what is drawn before and after it is told apart by the packet's own waits. */
#include "sim/model_inside.h"

#include <stdlib.h>

struct model_queue *model_stream_new(struct model_device *d, uint32_t gpu, struct vidmm_fence *fence)
{
    struct model_queue *q = model_take(sizeof(*q));
    q->dev = d;
    q->gpu = gpu;
    q->fence = fence;
    q->id = ++d->proc->model->next_id;
    return q;
}

/* The context is gone, or its device: pieces may still name it until everything is settled. */
void model_stream_gone(struct model_queue *q)
{
    struct model *m = q->dev->proc->model;
    q->dead = true;
    m->dead_queue[m->dead_queues++] = q;
}

const char *model_stream_seen(struct model_queue *q, uint64_t v)
{
    if (v < q->reached) return "the fence of a stream of updates went back";
    if (v > q->issued) return "the fence of a stream of updates is ahead of what was asked for";
    q->reached = v;
    return NULL;
}

/* ---- what a call may answer -------------------------------------------------------------------- */

/* The range that a whole interval lies in, if it is one that was reserved; 0: no. */
static uint64_t reservation_of(const struct model_space *sp, uint64_t base, uint64_t bytes)
{
    uint64_t at = base, end = base + bytes, range = 0;
    if (end <= base) return 0;
    while (at < end) {
        const struct model_piece *x = model_find(sp, at);
        if (x == NULL || !x->reserved || (range != 0 && x->range != range)) return 0;
        range = x->range;
        at = x->end;
    }
    return range;
}

/* What the operations of a call touch so far, on one side. */
struct side { uint64_t range, lo, hi; };

static bool in_side(const struct model_space *sp, struct side *s, uint64_t base, uint64_t bytes)
{
    uint64_t range = reservation_of(sp, base, bytes);
    if (bytes == 0 || ((base | bytes) & (VIDMM_PAGE_SIZE - 1)) != 0) return false;
    if (range == 0 || (s->range != 0 && s->range != range)) return false;
    if (s->range == 0) *s = (struct side){range, base, base + bytes};
    if (base < s->lo) s->lo = base;
    if (base + bytes > s->hi) s->hi = base + bytes;
    return true;
}

static bool map_ok(const struct model_device *d, const struct vidmm_tile_op *op, const struct model_alloc *al)
{
    uint64_t shown = op->open_bytes != 0 ? op->open_bytes : op->bytes, mask = VIDMM_PAGE_SIZE - 1;
    if (al == NULL || al->dev != d || ((op->offset | shown) & mask) != 0) return false;
    if (shown > op->bytes || op->bytes % shown != 0) return false;
    uint64_t of = op->offset / al->unit; /* all of it in one instance */
    if (of >= al->instances || shown > (of + 1) * al->unit - op->offset) return false;
    if (op->type == VIDMM_TILE_MAP) return op->protection == 0 && op->driver_protection == 0;
    return (op->protection & ~(uint64_t)(VIDMM_PROT_WRITE | VIDMM_PROT_EXECUTE)) == 0;
}

static bool unmap_ok(const struct model_gpu *g, const struct vidmm_tile_op *op)
{
    if (op->protection == VIDMM_PROT_ZERO) return g->zero_pages;
    return op->protection == VIDMM_PROT_NO_ACCESS;
}

static bool op_ok(const struct model_device *d, const struct model_update *u, uint32_t i, struct side *target,
                  struct side *source)
{
    const struct vidmm_tile_op *op = &u->op[i];
    const struct model_space *sp = &d->proc->on[u->gpu];
    if (!in_side(sp, target, op->base, op->bytes)) return false;
    switch (op->type) {
    case VIDMM_TILE_MAP:
    case VIDMM_TILE_MAP_PROTECT: return map_ok(d, op, u->al[i]);
    case VIDMM_TILE_UNMAP: return unmap_ok(&d->proc->model->config.gpu[u->gpu], op);
    case VIDMM_TILE_COPY: return in_side(sp, source, op->source, op->bytes);
    default: return false;
    }
}

/* A reservation that was cut in two by a free may count as one range or as two. */
static bool was_cut(const struct model_space *sp, const struct side *s)
{
    return s->range != 0 && reservation_of(sp, s->lo, s->hi - s->lo) == 0;
}

/* Mappings that an operation is made of, as far as the call alone tells. */
static uint64_t mappings_of(const struct vidmm_tile_op *op)
{
    bool map = op->type == VIDMM_TILE_MAP || op->type == VIDMM_TILE_MAP_PROTECT;
    return map && op->open_bytes != 0 ? op->bytes / op->open_bytes : 1;
}

/* Beyond what a two-level root covers each of them brings its own tables; a copy may have one per page. */
static uint64_t parts_of(const struct model_gpu *c, const struct vidmm_tile_op *op)
{
    if (c->level_count != 2) return 1;
    return op->type == VIDMM_TILE_COPY ? op->bytes / VIDMM_PAGE_SIZE : mappings_of(op);
}

/* Page tables may be short beyond what is kept free: those of the ranges and those that show the pools. */
static bool tables_tight(const struct model_process *p, const struct model_update *u)
{
    const struct model_gpu *c = &p->model->config.gpu[u->gpu];
    uint64_t need[VIDMM_SEGMENTS_MAX + 1] = {0};
    uint32_t shift = 12;
    for (uint32_t l = 0; l < c->level_count; l++) {
        uint64_t tables = 1, bytes = c->table_bytes[l] != 0 ? c->table_bytes[l] : 4 * VIDMM_PAGE_SIZE;
        shift += c->index_bits[l];
        for (uint32_t i = 0; i < u->n; i++) {
            tables += (u->op[i].bytes >> shift) + 2 * parts_of(c, &u->op[i]);
            if (u->al[i] != NULL) tables += (u->al[i]->bytes >> shift) + 2;
        }
        need[c->table_segment[l]] += tables * bytes;
        bool root = c->level_count == 2 && l == 1 && c->table_segment[l] != 0;
        bool first = c->tile_packets && !p->on[u->gpu].tiled;
        if (root && (first || u->op[0].base >> (shift - c->index_bits[l]) > 1024))
            return true; /* a larger root has to be contiguous */
    }
    for (uint32_t id = 1; id <= c->segment_count; id++)
        if (need[id] > 0 && c->segment[id].tables + need[id] > c->segment[id].table_reserve) return true;
    return false;
}

struct model_answer model_update(const struct model_device *d, const struct model_update *u)
{
    struct model_answer a = {0, true};
    struct side target = {0}, source = {0};
    uint64_t copied = 0, mappings = 0; /* of the call: pages of all copies, mappings */
    bool unique = false;
    if (d->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (u->n == 0 || (!u->fence && !u->no_wait)) model_refuse(&a, VIDMM_INVALID);
    for (uint32_t i = 0; i < u->n; i++) {
        if (!op_ok(d, u, i, &target, &source)) model_refuse(&a, VIDMM_INVALID);
        unique |= u->al[i] != NULL && (u->al[i]->body->unique || u->op[i].driver_protection >> 63 != 0);
        if (u->op[i].type == VIDMM_TILE_COPY) copied += u->op[i].bytes / VIDMM_PAGE_SIZE;
        mappings += mappings_of(&u->op[i]);
        if (u->op[i].bytes / VIDMM_PAGE_SIZE > VIDMM_ALLOC_PAGES_MAX) model_refuse(&a, VIDMM_LIMIT);
    }
    if (copied > VIDMM_COPY_PAGES_MAX || mappings > VIDMM_LIST_MAX) model_refuse(&a, VIDMM_LIMIT);
    if (u->queued >= VIDMM_UPDATES_MAX) model_refuse(&a, VIDMM_BUSY);
    if (!a.success) return a;
    const struct model_space *sp = &d->proc->on[u->gpu];
    bool cut = was_cut(sp, &target) || was_cut(sp, &source);
    if (unique || cut) a.errors |= MODEL_BIT(VIDMM_INVALID);
    if (tables_tight(d->proc, u)) a.errors |= MODEL_BIT(VIDMM_NO_MEMORY);
    return a;
}

/* ---- what it changes --------------------------------------------------------------------------- */

static struct model_piece blank(struct model_queue *q, uint64_t value, uint64_t start, uint64_t bytes)
{
    return (struct model_piece){.start = start, .end = start + bytes, .queue = q, .value = value,
                                .content = MODEL_NOTHING};
}

static void map(struct model_queue *q, const struct vidmm_tile_op *op, struct model_alloc *al, uint64_t value)
{
    uint64_t shown = op->open_bytes != 0 ? op->open_bytes : op->bytes;
    for (uint64_t at = 0; at < op->bytes; at += shown) {
        struct model_piece x = blank(q, value, op->base + at, shown);
        x.content = MODEL_ALLOC;
        x.alloc = al;
        x.offset = op->offset;
        x.prot = op->type == VIDMM_TILE_MAP ? VIDMM_PROT_WRITE : (uint8_t)op->protection;
        x.driver_protection = op->driver_protection;
        if (op->driver_protection >> 63 != 0) al->body->unique = true;
        model_show(&q->dev->proc->on[q->gpu], &x);
    }
}

static void unmap(struct model_queue *q, const struct vidmm_tile_op *op, uint64_t value)
{
    struct model_piece x = blank(q, value, op->base, op->bytes);
    if (op->protection == VIDMM_PROT_ZERO) x.content = MODEL_ZERO;
    model_show(&q->dev->proc->on[q->gpu], &x);
}

/* All of the source is read, then the target written. */
static void copy(struct model_queue *q, const struct vidmm_tile_op *op, uint64_t value)
{
    uint64_t pages = op->bytes / VIDMM_PAGE_SIZE, n = 0, at = op->source;
    struct model_piece *part = model_take(pages * sizeof(*part));
    while (at < op->source + op->bytes) {
        const struct model_piece *x = model_find(&q->dev->proc->on[q->gpu], at);
        uint64_t end = x->end < op->source + op->bytes ? x->end : op->source + op->bytes;
        part[n] = blank(q, value, op->base + (at - op->source), end - at);
        part[n].content = x->content;
        part[n].blurred = x->blurred;
        part[n].alloc = x->alloc;
        part[n].offset = x->content == MODEL_ALLOC ? x->offset + (at - x->start) : x->offset;
        part[n].prot = x->prot;
        part[n++].driver_protection = x->driver_protection;
        at = end;
    }
    for (uint64_t i = 0; i < n; i++) model_show(&q->dev->proc->on[q->gpu], &part[i]);
    free(part);
}

void model_updated(struct model_queue *q, const struct model_update *u, uint64_t value)
{
    q->issued = value;
    q->dev->proc->on[q->gpu].tiled = true;
    for (uint32_t i = 0; i < u->n; i++) {
        const struct vidmm_tile_op *op = &u->op[i];
        if (op->type == VIDMM_TILE_COPY) copy(q, op, value);
        else if (op->type == VIDMM_TILE_UNMAP) unmap(q, op, value);
        else map(q, op, u->al[i], value);
    }
}

void model_updates_voided(struct model_alloc *al)
{
    EACH_SPACE(sp, al->dev->proc)
        for (uint32_t i = 0; i < sp->piece_count; i++) {
            struct model_piece *x = &sp->piece[i];
            if (x->alloc != al || x->queue == NULL || x->queue->fence == NULL || model_ready(x)) continue;
            x->content = MODEL_UNKNOWN; /* TIL-28: mapped and gone again, or never touched */
            x->alloc = NULL;
        }
}
