/* SPDX-License-Identifier: MIT */
/* ops_tile.c - tile updates between packets: sane and nasty, in step with what the context was given before,
 * or at once. A packet queued before an update must see what was there before it, wherever pools move in
 * between; one queued behind it waits for V + 1 like for a paging fence (see need() of ops_gpu.c). */
#include "sim.h"

#define OPS_MAX 4u

static unsigned long long ull(uint64_t v) { return v; }

/* ---- streams ----------------------------------------------------------------------------------- */

void stream_end(struct sim_context *c)
{
    if (c->tiles != NULL) model_stream_gone(c->tiles);
    c->tiles = NULL;
}

void stream_seen(struct sim *s, struct sim_context *c)
{
    if (c->tiles == NULL) return;
    sim_check(s, model_stream_seen(c->tiles, vidmm_fence_value(c->tiles->fence)));
}

static bool stream_ready(struct sim *s, struct sim_context *c)
{
    struct vidmm_fence *f = NULL;
    if (c->tiles != NULL) return true;
    sim_observe_tables(s);
    sim_say(s, "context %u: the fence of its updates", c->id);
    struct model_answer a = model_fence_create(c->dev, 0);
    if (!sim_status(s, a, vidmm_fence_create(c->dev->handle, 0, 0, &f))) return false;
    sim_check(s, model_fence_made(c->dev->proc, vidmm_fence_gpu_address(f)));
    c->tiles = model_stream_new(c->dev, c->gpu, f);
    return true;
}

static bool overlaps(const struct tile_copy *k, uint64_t start, uint64_t end)
{
    return k->start < end && start < k->end;
}

static bool copies_from(const struct sim_context *c, uint64_t start, uint64_t end)
{
    for (uint32_t n = 0; n < COPIES_MAX; n++)
        if (!model_reached(c->tiles, c->copy[n].value) && overlaps(&c->copy[n], start, end)) return true;
    return false;
}

bool copied_later(const struct model_process *p, const struct model_queue *but, uint64_t start, uint64_t end)
{
    for (uint32_t i = 0; i < p->device_count; i++) {
        const struct sim_device *sd = sim_of(p->device[i]);
        for (uint32_t k = 0; k < sd->context_count; k++) {
            const struct sim_context *c = sd->context[k];
            if (c->tiles == NULL || c->tiles == but || c->dev->lost) continue;
            if (copies_from(c, start, end)) return true;
        }
    }
    return false;
}

static bool has_packets(const struct sim_context *c)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->packet[(c->head + i) % PACKETS_MAX].kind == PACKET_EXEC) return true;
    return false;
}

bool older_in_use(const struct model_process *p, const struct model_piece *x)
{
    if (x->queue == NULL || x->queue->fence == NULL || model_ready(x)) return false;
    for (uint32_t i = 0; i < p->device_count; i++) {
        const struct sim_device *sd = sim_of(p->device[i]);
        for (uint32_t k = 0; k < sd->context_count; k++)
            if (sd->context[k]->tiles == x->queue) return has_packets(sd->context[k]);
    }
    return true; /* of a context that is gone: nobody knows */
}

static struct tile_copy *copy_slot(struct sim_context *c)
{
    for (uint32_t n = 0; n < COPIES_MAX; n++)
        if (model_reached(c->tiles, c->copy[n].value)) return &c->copy[n];
    return NULL;
}

/* ---- what may be changed ----------------------------------------------------------------------- */

static uint32_t own_packets(const struct sim_context *c, const struct model_alloc *al)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct packet *p = &c->packet[(c->head + i) % PACKETS_MAX];
        for (uint32_t k = 0; k < p->touched; k++) n += p->alloc[k] == al;
    }
    return n;
}

static bool zero_elsewhere(const struct sim_context *c)
{
    const struct model_process *p = c->dev->proc;
    uint32_t all = 0, own = 0;
    for (uint32_t i = 0; i < p->device_count; i++) all += sim_of(p->device[i])->zero_in_flight;
    for (uint32_t i = 0; i < c->count; i++) own += c->packet[(c->head + i) % PACKETS_MAX].zero;
    return all > own;
}

/* The context's own packets come before V; those of others may come at any time. */
static bool used_elsewhere(const struct sim_context *c, uint64_t start, uint64_t end)
{
    const struct model_space *sp = context_space(c);
    for (uint32_t i = 0; i < sp->piece_count; i++) {
        const struct model_piece *x = &sp->piece[i];
        if (x->end <= start || x->start >= end) continue;
        if (x->content == MODEL_UNKNOWN) return true; /* who knows */
        if (x->content == MODEL_ZERO && zero_elsewhere(c)) return true;
        if (x->content != MODEL_ALLOC) continue;
        if (x->alloc->keep && !x->alloc->dying) return true;
        if (x->alloc->in_flight > own_packets(c, x->alloc)) return true;
    }
    return copied_later(sp->proc, c->tiles, start, end);
}

static bool target_free(const struct sim_context *c, const struct vidmm_tile_op *op, bool no_wait)
{
    uint64_t end = op->base + op->bytes;
    if (end < op->base) return true; /* refused anyway */
    if (model_race(context_space(c), c->tiles, op->base, end)) return false;
    return no_wait ? !range_in_use(context_space(c), op->base, end) : !used_elsewhere(c, op->base, end);
}

/* What a copy will read must be certain by then. */
static bool source_certain(const struct sim_context *c, const struct vidmm_tile_op *op)
{
    const struct model_space *sp = context_space(c);
    uint64_t end = op->source + op->bytes;
    if (end < op->source || model_race(sp, c->tiles, op->source, end)) return end < op->source;
    for (uint32_t i = 0; i < sp->piece_count; i++) {
        const struct model_piece *x = &sp->piece[i];
        if (x->end <= op->source || x->start >= end) continue;
        if (x->content == MODEL_UNKNOWN || x->open) return false;
        if (x->content == MODEL_ALLOC && (x->alloc->dying || x->alloc->keep)) return false;
    }
    return true;
}

/* ---- choosing ---------------------------------------------------------------------------------- */

struct reservation { uint64_t lo, hi; };

static bool joined(const struct model_piece *a, const struct model_piece *b)
{
    return a->range == b->range && a->end == b->start;
}

/* The part of a reserved range around a piece that is still in one. */
static bool pick_reservation(struct sim *s, const struct model_space *sp, struct reservation *r)
{
    for (int i = 0; i < 16 && sp->piece_count > 0; i++) {
        uint32_t k = (uint32_t)sim_below(s, sp->piece_count), lo = k, hi = k;
        const struct model_piece *x = &sp->piece[k];
        if (!x->reserved || x->internal) continue;
        while (lo > 0 && joined(&sp->piece[lo - 1], &sp->piece[lo])) lo--;
        while (hi + 1 < sp->piece_count && joined(&sp->piece[hi], &sp->piece[hi + 1])) hi++;
        *r = (struct reservation){sp->piece[lo].start, sp->piece[hi].end};
        if (r->hi - r->lo > 256 * PAGE) r->hi = r->lo + 256 * PAGE; /* where updates meet each other */
        return true;
    }
    return false;
}

static void choose_place(struct sim *s, const struct reservation *r, uint64_t most, uint64_t *base,
                         uint64_t *bytes)
{
    uint64_t pages = (r->hi - r->lo) / PAGE, first = sim_below(s, pages), n = 1 + sim_below(s, most);
    if (n > pages - first) n = pages - first;
    *base = r->lo + first * PAGE;
    *bytes = n * PAGE;
}

static struct model_alloc *choose_map(struct sim *s, struct sim_context *c, const struct reservation *r,
                                      struct vidmm_tile_op *op)
{
    struct model_alloc *al = pick_alloc(s, c->dev);
    if (al == NULL) return NULL;
    choose_place(s, r, al->pages < 32 ? al->pages : 32, &op->base, &op->bytes);
    op->type = sim_chance(s, 3) ? VIDMM_TILE_MAP_PROTECT : VIDMM_TILE_MAP;
    if (op->type == VIDMM_TILE_MAP_PROTECT && sim_chance(s, 2)) op->protection = VIDMM_PROT_WRITE;
    if (op->type == VIDMM_TILE_MAP_PROTECT && sim_chance(s, 4)) op->driver_protection = sim_below(s, 4);
    op->open = al->handle;
    if (sim_chance(s, 4)) op->open_bytes = PAGE << sim_below(s, 2);
    if (op->open_bytes != 0 && op->bytes % op->open_bytes != 0) op->open_bytes = op->bytes;
    uint64_t shown = op->open_bytes != 0 ? op->open_bytes : op->bytes;
    if (shown <= al->unit) op->offset = sim_below(s, (al->unit - shown) / PAGE + 1) * PAGE;
    op->offset += choose_instance(s, al, c->gpu);
    return al;
}

static struct model_alloc *choose_op(struct sim *s, struct sim_context *c, const struct reservation *r,
                                     const struct reservation *source, struct vidmm_tile_op *op)
{
    uint64_t ignored;
    switch (sim_below(s, 6)) {
    case 0:
        op->type = VIDMM_TILE_UNMAP;
        op->protection = sim_chance(s, 2) ? VIDMM_PROT_ZERO : VIDMM_PROT_NO_ACCESS;
        if (!s->model->config.gpu[c->gpu].zero_pages && !sim_chance(s, 8))
            op->protection = VIDMM_PROT_NO_ACCESS;
        choose_place(s, r, 24, &op->base, &op->bytes);
        return NULL;
    case 1: case 2:
        op->type = VIDMM_TILE_COPY;
        choose_place(s, r, 24, &op->base, &op->bytes);
        choose_place(s, source, op->bytes / PAGE, &op->source, &ignored);
        if (op->bytes > source->hi - op->source) op->source = source->lo;
        if (op->bytes > source->hi - source->lo) op->bytes = source->hi - source->lo;
        return NULL;
    default: return choose_map(s, c, r, op);
    }
}

static void spoil(struct sim *s, struct vidmm_tile_op *op)
{
    uint64_t bad = sim_chance(s, 2) ? 1 + sim_below(s, PAGE - 1) : 1ull << (12 + sim_below(s, 52));
    switch (sim_below(s, 7)) {
    case 0: op->base += bad; break;
    case 1: op->bytes += bad; break;
    case 2: op->offset += bad; break;
    case 3: op->open_bytes += bad; break;
    case 4: op->source += bad; break;
    case 5: op->protection ^= 1ull << sim_below(s, 64); break;
    default: op->type = (uint32_t)sim_below(s, 6); break;
    }
}

/* ---- the call ---------------------------------------------------------------------------------- */

struct planned {
    struct vidmm_tile_op op[OPS_MAX];
    struct model_alloc *al[OPS_MAX];
    struct tile_copy copy;            /* at most one in a call */
    uint32_t n;
};

/* A later operation of the same call may read what an earlier one wrote; the model does so too. */
static bool plan_op(struct sim *s, struct sim_context *c, struct planned *p, const struct vidmm_tile_op *op,
                    struct model_alloc *al, bool no_wait)
{
    bool copy = op->type == VIDMM_TILE_COPY;
    if (!target_free(c, op, no_wait)) return false;
    if (copy && (p->copy.end != 0 || copy_slot(c) == NULL || !source_certain(c, op))) return false;
    if (copy) p->copy = (struct tile_copy){op->source, op->source + op->bytes, 0};
    p->op[p->n] = *op;
    p->al[p->n++] = al;
    sim_say(s, "  update %u: type %u, %llx, %llx bytes, allocation %u + %llx (%llx), from %llx, %llx %llx",
            p->n, op->type, ull(op->base), ull(op->bytes), al != NULL ? al->id : 0, ull(op->offset),
            ull(op->open_bytes), ull(op->source), ull(op->protection), ull(op->driver_protection));
    return true;
}

static void plan(struct sim *s, struct sim_context *c, struct planned *p, bool no_wait, bool nasty)
{
    struct reservation r, source;
    uint32_t n = 1 + (uint32_t)sim_below(s, OPS_MAX);
    if (!pick_reservation(s, context_space(c), &r) || !pick_reservation(s, context_space(c), &source)) return;
    if (sim_chance(s, 2)) source = r;
    for (uint32_t i = 0; i < n; i++) {
        struct vidmm_tile_op op = {0};
        struct model_alloc *al = choose_op(s, c, &r, &source, &op);
        bool map = op.type == VIDMM_TILE_MAP || op.type == VIDMM_TILE_MAP_PROTECT;
        if (op.bytes == 0 || (map && al == NULL)) continue;
        if (nasty && sim_chance(s, 2)) spoil(s, &op);
        if (op.type != VIDMM_TILE_MAP && op.type != VIDMM_TILE_MAP_PROTECT) al = NULL;
        (void)plan_op(s, c, p, &op, al, no_wait);
    }
}

static void accepted(struct sim *s, struct sim_context *c, const struct planned *p,
                     const struct model_update *u, uint64_t value)
{
    model_updated(c->tiles, u, value + 1);
    for (uint32_t i = 0; i < p->n; i++)
        dooms_are_open(c->dev->proc, p->op[i].base, p->op[i].base + p->op[i].bytes);
    if (p->copy.end != 0) {
        struct tile_copy *slot = copy_slot(c);
        *slot = p->copy;
        slot->value = value + 1;
    }
    s->totals.updates++;
    s->totals.updates_waiting += !u->no_wait && c->count > 1;
    world_trace(s->world, value);
}

/* V comes behind the packets of the context so far, and behind V + 1 of the update before: else the fence
 * would tell that one's end too early. */
static bool step_fence(struct sim *s, struct sim_context *c, uint64_t value)
{
    struct model_queue *q = c->tiles;
    if (!model_reached(q, q->issued) && !queue_wait(s, c, q->fence, q->issued, 0)) return false;
    if (!queue_raise(s, c, q->fence, value)) return false;
    q->issued = value;
    return true;
}

static void op_update(struct sim *s)
{
    struct sim_context *c = pick_context(s, pick_live_device(s));
    struct planned p = {.n = 0};
    bool no_wait = sim_chance(s, 6), nasty = sim_chance(s, 10);
    if (c == NULL || c->physical || c->count + 2 > PACKETS_MAX || !stream_ready(s, c)) return;
    uint64_t value = c->tiles->issued + 1;
    plan(s, c, &p, no_wait, nasty);
    if (p.n == 0) return;
    struct model_update u = {p.op, p.al, p.n, vidmm_context_updates(c->core), c->gpu, true, no_wait};
    sim_observe_tables(s);
    sim_say(s, "context %u of device %u: update behind %llu%s", c->id, c->dev->id, ull(value),
            no_wait ? ", without waiting" : "");
    if (!no_wait && !step_fence(s, c, value)) return;
    struct model_answer a = model_update(c->dev, &u);
    vidmm_status st = vidmm_va_update(c->core, p.op, p.n, c->tiles->fence, value,
                                      no_wait ? VIDMM_UPDATE_DO_NOT_WAIT : 0);
    if (!sim_status(s, a, st)) return;
    accepted(s, c, &p, &u, value);
    hang_companions(s);
}

const struct sim_op ops_tile[] = {{"update", op_update, 20}, {NULL, NULL, 0}};
