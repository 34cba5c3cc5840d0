/* SPDX-License-Identifier: MIT */
/* ops_va.c - reserve, map, free, with sane and with nasty arguments. */
#include "sim.h"

#include <string.h>

#define ZERO_BYTES_MAX (4ull << 20)
#define UNIQUE (1ull << 63)

static uint64_t top_of(const struct sim *s) { return 1ull << s->model->config.va_bits; }
static unsigned long long ull(uint64_t v) { return v; }

/* ---- what must not be disturbed ---------------------------------------------------------------- */

static bool zero_in_use(const struct model_process *p)
{
    for (uint32_t i = 0; i < p->device_count; i++)
        if (sim_of(p->device[i])->zero_in_flight > 0) return true;
    return false;
}

/* Also by packets of contexts that are gone: those count until the next rest. */
static bool process_busy(const struct model_process *p)
{
    for (uint32_t i = 0; i < p->device_count; i++) {
        const struct model_device *d = p->device[i];
        if (sim_of(d)->zero_in_flight > 0) return true;
        for (uint32_t k = 0; k < d->alloc_count; k++)
            if (d->alloc[k]->in_flight > 0) return true;
    }
    return false;
}

/* Would a change of [start, end) pull something from under a packet, or a command buffer away? */
bool range_in_use(const struct model_space *sp, uint64_t start, uint64_t end)
{
    const struct model_process *p = sp->proc;
    if (copied_later(p, NULL, start, end)) return true;
    for (uint32_t i = 0; i < sp->piece_count; i++) {
        const struct model_piece *x = &sp->piece[i];
        if (x->end <= start || x->start >= end) continue;
        if (older_in_use(p, x)) return true;
        if (x->content == MODEL_UNKNOWN && process_busy(p)) return true;
        if (x->content == MODEL_ZERO && zero_in_use(p)) return true;
        if (x->content != MODEL_ALLOC) continue;
        if (x->alloc->in_flight > 0 || (x->alloc->keep && !x->alloc->dying)) return true;
    }
    return false;
}

/* What is freed is so for every gpu. */
static bool in_use_anywhere(struct sim *s, const struct model_process *p, uint64_t start, uint64_t end)
{
    for (uint32_t g = 0; g < s->gpus; g++)
        if (range_in_use(&p->on[g], start, end)) return true;
    return false;
}

/* A range that is not free any more may cover an address at which a device was to fault. */
void dooms_are_open(struct model_process *p, uint64_t start, uint64_t end)
{
    for (uint32_t i = 0; i < p->device_count; i++) {
        struct sim_device *sd = sim_of(p->device[i]);
        if (sd->doomed && sd->doom_va >= start && sd->doom_va < end) sd->doom_open = true;
    }
}

/* ---- map --------------------------------------------------------------------------------------- */

bool map_range(struct sim *s, struct model_queue *q, struct vidmm_map *in, struct model_alloc *al,
               uint64_t *va)
{
    uint64_t value = 0, got = 0;
    in->open = al != NULL ? al->handle : NULL;
    sim_say(
        s,
        "queue %u: map base %llx [%llx, %llx) allocation %u + %llx, %llx bytes, protection %llx, driver %llx",
        q->id, ull(in->base), ull(in->min), ull(in->max), al != NULL ? al->id : 0, ull(in->offset),
        ull(in->bytes), ull(in->protection), ull(in->driver_protection));
    sim_observe_tables(s);
    struct model_answer a = model_map(q, in, al);
    vidmm_status st = vidmm_va_map(q->handle, in, &got, &value);
    if (!sim_status(s, a, st)) return false;
    if ((st == VIDMM_OK) != (value == 0)) sim_fail(s, "%s with value %llu", sim_status_name(st), ull(value));
    const char *wrong = model_mapped(q, in, al, got, value);
    if (wrong != NULL) sim_fail(s, "address %llx, value %llu: %s", ull(got), ull(value), wrong);
    dooms_are_open(q->dev->proc, got, got + in->bytes);
    s->totals.peer_maps += al != NULL && (al->instances > 1 ? in->offset / al->unit : al->gpu) != q->gpu;
    world_trace(s->world, got);
    world_trace(s->world, value);
    if (s->opt.verbose) sim_say(s, "  at %llx, value %llu", ull(got), ull(value));
    *va = got;
    return true;
}

/* Of several instances mostly the one of the gpu that shows it. */
uint64_t choose_instance(struct sim *s, const struct model_alloc *al, uint32_t gpu)
{
    if (al->instances == 1) return 0;
    return (sim_chance(s, 3) ? sim_below(s, al->instances) : gpu) * al->unit;
}

void choose_whole(struct sim *s, const struct model_alloc *al, uint32_t gpu, struct vidmm_map *in)
{
    in->offset = choose_instance(s, al, gpu);
    in->bytes = al->unit;
}

static void choose_part(struct sim *s, const struct model_alloc *al, uint32_t gpu, struct vidmm_map *in)
{
    uint64_t all = al->unit / PAGE, first = sim_chance(s, 2) ? 0 : sim_below(s, all);
    uint64_t pages = sim_chance(s, 2) ? all - first : 1 + sim_below(s, all - first);
    in->offset = choose_instance(s, al, gpu) + first * PAGE;
    in->bytes = pages * PAGE;
    in->protection = sim_chance(s, 4) ? 0 : VIDMM_PROT_WRITE;
    if (sim_chance(s, 8)) in->protection |= VIDMM_PROT_EXECUTE;
    if (sim_chance(s, 8)) in->driver_protection = sim_below(s, 4);
    if (s->temper.unique && sim_chance(s, 4)) in->driver_protection = UNIQUE | sim_below(s, 2);
}

/* A window that is often nearly full. */
static void choose_window(struct sim *s, struct vidmm_map *in)
{
    uint64_t low = 0x10000000, size = sim_chance(s, 2) ? in->bytes : 1ull << (16 + sim_below(s, 8));
    if (!s->temper.low_window && !sim_chance(s, 6)) return;
    in->min = low + sim_below(s, 32) * PAGE * (sim_chance(s, 2) ? 1 : 16);
    in->max = in->min + size;
    if (sim_chance(s, 4)) in->max -= 1;
    if (sim_chance(s, 8)) in->min += sim_below(s, PAGE);
    if (sim_chance(s, 12)) in->max = 0;
    if (sim_chance(s, 12)) in->min = 0;
    if (sim_chance(s, 20)) in->min = top_of(s) - sim_below(s, 64) * PAGE;
    if (sim_chance(s, 20)) in->max = sim_chance(s, 2) ? UINT64_MAX : VIDMM_VA_LOWEST + sim_below(s, 4 * PAGE);
}

/* Somewhere in a few busy places, or anywhere. */
static uint64_t choose_base(struct sim *s)
{
    static const uint64_t place[] = { 0x10000,    0x10000000,  0x10200000,
                                      0x3fe00000, 0x1ffff0000, 0x8000000000 - 0x200000 };
    uint64_t base = place[sim_below(s, 6)] + sim_below(s, 128) * PAGE * (sim_chance(s, 2) ? 1 : 16);
    if (sim_chance(s, 16)) base = sim_below(s, top_of(s) / PAGE) * PAGE;
    if (sim_chance(s, 24)) base = top_of(s) - sim_below(s, 64) * PAGE;
    if (sim_chance(s, 40)) base = sim_below(s, 16) * PAGE;
    return base;
}

bool may_map_at(struct sim *s, const struct model_queue *q, const struct vidmm_map *in)
{
    const struct model_space *sp = &q->dev->proc->on[q->gpu];
    (void)s;
    if (in->base == 0) return true;
    uint64_t end = in->base + in->bytes;
    return !range_in_use(sp, in->base, end) && !model_race(sp, q, in->base, end);
}

static void op_map(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct model_queue *q = pick_queue(s, d);
    struct model_alloc *al = pick_alloc(s, d);
    struct vidmm_map in = {0};
    uint64_t va;
    if (q == NULL || al == NULL) return;
    choose_part(s, al, q->gpu, &in);
    if (sim_chance(s, 2)) choose_window(s, &in);
    if (sim_chance(s, 3)) in.base = choose_base(s);
    if (in.base == 0 && sim_chance(s, 4)) in.base = choose_base(s) & ~0xffffull;
    if (may_map_at(s, q, &in)) (void)map_range(s, q, &in, al, &va);
}

/* A piece of the process, not VidMm's own. NULL: none. */
static const struct model_piece *pick_piece(struct sim *s, const struct model_process *p)
{
    if (p == NULL) return NULL;
    const struct model_space *sp = &p->on[s->gpus > 1 ? sim_below(s, s->gpus) : 0];
    if (sp->piece_count == 0) return NULL;
    const struct model_piece *x = &sp->piece[sim_below(s, sp->piece_count)];
    return x->internal ? NULL : x;
}

/* Into, or a little beyond, a range that is owned already. */
static void op_overlay(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct model_queue *q = pick_queue(s, d);
    struct model_alloc *al = pick_alloc(s, d);
    const struct model_piece *x = d != NULL ? pick_piece(s, d->proc) : NULL;
    struct vidmm_map in = {0};
    uint64_t va;
    if (q == NULL || al == NULL || x == NULL) return;
    choose_part(s, al, q->gpu, &in);
    uint64_t pages = (x->end - x->start) / PAGE;
    in.base = x->start + sim_below(s, pages < 64 ? pages : 64) * PAGE;
    if (!sim_chance(s, 4) && in.bytes > x->end - in.base) in.bytes = x->end - in.base;
    if (may_map_at(s, q, &in)) (void)map_range(s, q, &in, al, &va);
}

/* Zero pages or no access: over free addresses or reservations. */
static void op_unbacked(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct model_queue *q = pick_queue(s, d);
    const struct model_piece *x = d != NULL ? pick_piece(s, d->proc) : NULL;
    struct vidmm_map in = {.bytes = (1 + sim_below(s, 40)) * PAGE};
    uint64_t va;
    if (q == NULL) return;
    in.protection = sim_chance(s, 2) ? VIDMM_PROT_ZERO : VIDMM_PROT_NO_ACCESS;
    if (x != NULL && sim_chance(s, 2)) {
        in.base = x->start;
        if (in.bytes > x->end - x->start) in.bytes = x->end - x->start;
    } else if (sim_chance(s, 2)) {
        in.base = choose_base(s);
    } else {
        choose_window(s, &in);
    }
    if (may_map_at(s, q, &in)) (void)map_range(s, q, &in, NULL, &va);
}

static uint64_t nasty(struct sim *s)
{
    const uint64_t values[] = { 0,
                                1,
                                PAGE - 1,
                                PAGE + 1,
                                UINT64_MAX,
                                UINT64_MAX - PAGE + 1,
                                1ull << 63,
                                top_of(s),
                                top_of(s) - PAGE,
                                VIDMM_VA_LOWEST - PAGE,
                                (1ull << 63) - PAGE };
    return values[sim_below(s, sizeof(values) / sizeof(values[0]))];
}

static void op_map_nasty(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct model_queue *q = pick_queue(s, d);
    struct model_alloc *al = pick_alloc(s, sim_chance(s, 3) ? pick_device(s) : d);
    struct vidmm_map in = {0};
    uint64_t va;
    if (q == NULL || al == NULL) return;
    choose_part(s, al, q->gpu, &in);
    switch (sim_below(s, 6)) {
    case 0: in.base = nasty(s); break;
    case 1: in.bytes = nasty(s); break;
    case 2: in.offset = nasty(s); break;
    case 3: in.protection = sim_below(s, 64); break;
    case 4: in.protection |= 1ull << sim_below(s, 64); break;
    default: in.min = nasty(s); in.max = nasty(s); break;
    }
    if (in.protection & (VIDMM_PROT_ZERO | VIDMM_PROT_NO_ACCESS)) al = sim_chance(s, 2) ? al : NULL;
    if (al == NULL && in.bytes > ZERO_BYTES_MAX) return; /* page tables for all that would be taken */
    if (may_map_at(s, q, &in)) (void)map_range(s, q, &in, al, &va);
}

/* ---- reserve ----------------------------------------------------------------------------------- */

static void reserve_range(struct sim *s, struct model_process *p, struct model_queue *q,
                          const struct vidmm_reserve *in)
{
    uint64_t va = 0, value = 0;
    sim_say(s, "process %u, queue %u: reserve base %llx [%llx, %llx) %llx bytes, type %u", p->id,
            q != NULL ? q->id : 0, ull(in->base), ull(in->min), ull(in->max), ull(in->bytes), in->type);
    sim_observe_tables(s);
    struct model_answer a = model_reserve(p, q, in);
    vidmm_status st = vidmm_va_reserve(p->handle, q != NULL ? q->handle : NULL, in, &va, &value);
    if (!sim_status(s, a, st)) return;
    if ((st == VIDMM_OK) != (value == 0)) sim_fail(s, "%s with value %llu", sim_status_name(st), ull(value));
    const char *wrong = model_reserved(p, q, in, va, value);
    if (wrong != NULL) sim_fail(s, "address %llx, value %llu: %s", ull(va), ull(value), wrong);
    dooms_are_open(p, va, va + in->bytes);
    world_trace(s->world, va);
}

static void op_reserve(struct sim *s)
{
    struct model_process *p = pick_process(s);
    struct vidmm_reserve in = {.bytes = (1 + sim_below(s, 32)) * VIDMM_PAGE_64K};
    struct vidmm_map window = {.bytes = in.bytes};
    if (p == NULL || p->device_count == 0) return;
    struct model_queue *q = pick_queue(s, p->device[sim_below(s, p->device_count)]);
    if (sim_chance(s, 3)) in.type = VIDMM_RESERVE_ZERO;
    if (sim_chance(s, 3) || (q != NULL && q->dead)) q = NULL;
    if (in.type == 0 && sim_chance(s, 6)) in.bytes = VIDMM_PAGE_64K << sim_below(s, 30);
    if (sim_chance(s, 3)) in.base = choose_base(s) & ~0xffffull;
    if (in.base == 0 && sim_chance(s, 2)) {
        choose_window(s, &window);
        in.min = window.min;
        in.max = window.max;
    }
    for (uint32_t g = 0; in.base != 0 && g < s->gpus; g++)
        if (model_race(&p->on[g], q, in.base, in.base + in.bytes)) return;
    reserve_range(s, p, q, &in);
}

static void op_reserve_nasty(struct sim *s)
{
    struct model_process *p = pick_process(s);
    struct model_queue *q = pick_queue(s, pick_device(s)); /* perhaps of another process */
    struct vidmm_reserve in = {.bytes = VIDMM_PAGE_64K};
    if (p == NULL) return;
    switch (sim_below(s, 5)) {
    case 0: in.base = nasty(s); break;
    case 1: in.bytes = nasty(s); break;
    case 2: in.type = (uint32_t)sim_below(s, 4); break;
    case 3: in.base = choose_base(s); break;
    default: in.min = nasty(s); in.max = nasty(s); break;
    }
    if (in.type != 0 && in.bytes > ZERO_BYTES_MAX) return;
    reserve_range(s, p, q, &in);
}

/* ---- free -------------------------------------------------------------------------------------- */

static void free_range(struct sim *s, struct model_process *p, uint64_t base, uint64_t bytes)
{
    sim_say(s, "process %u: free %llx, %llx bytes", p->id, ull(base), ull(bytes));
    struct model_answer a = model_free(p, base, bytes);
    if (sim_status(s, a, vidmm_va_free(p->handle, base, bytes))) model_freed(p, base, bytes);
}

static void op_free(struct sim *s)
{
    struct model_process *p = pick_process(s);
    const struct model_piece *x = pick_piece(s, p);
    if (x == NULL) return;
    uint64_t start = x->start, end = x->end;
    const struct model_space *sp = &p->on[s->gpus > 1 ? sim_below(s, s->gpus) : 0];
    while (sim_chance(s, 2) && model_find(sp, end) != NULL && !model_find(sp, end)->internal)
        end = model_find(sp, end)->end;
    if (!in_use_anywhere(s, p, start, end)) free_range(s, p, start, end - start);
}

static void op_free_part(struct sim *s)
{
    struct model_process *p = pick_process(s);
    const struct model_piece *x = pick_piece(s, p);
    if (x == NULL) return;
    uint64_t pages = (x->end - x->start) / PAGE;
    uint64_t start = x->start + sim_below(s, pages) * PAGE, n = 1 + sim_below(s, pages);
    uint64_t end = start + n * PAGE;
    if (end > x->end && !sim_chance(s, 6)) end = x->end;
    if (!in_use_anywhere(s, p, start, end)) free_range(s, p, start, end - start);
}

static void op_free_nasty(struct sim *s)
{
    struct model_process *p = pick_process(s);
    const struct model_piece *x = pick_piece(s, p);
    if (p == NULL) return;
    uint64_t base = sim_chance(s, 2) || x == NULL ? choose_base(s) : x->start;
    uint64_t bytes = sim_chance(s, 2) ? nasty(s) : PAGE;
    if (sim_chance(s, 3)) base = nasty(s);
    if (base + bytes > base && in_use_anywhere(s, p, base, base + bytes)) return;
    free_range(s, p, base, bytes);
}

const struct sim_op ops_va[] = { { "map", op_map, 20 },
                                 { "overlay", op_overlay, 8 },
                                 { "unbacked", op_unbacked, 4 },
                                 { "map_nasty", op_map_nasty, 3 },
                                 { "reserve", op_reserve, 6 },
                                 { "reserve_nasty", op_reserve_nasty, 2 },
                                 { "free", op_free, 8 },
                                 { "free_part", op_free_part, 5 },
                                 { "free_nasty", op_free_nasty, 3 },
                                 { NULL, NULL, 0 } };
