/* SPDX-License-Identifier: MIT */
/* model.c - objects and allocations of the reference model; addresses are in model_va.c.
 * Owns: every struct of model.h. Calls: malloc and friends only. */
#include "sim/model_inside.h"

#include <stdlib.h>
#include <string.h>

void *model_take(size_t bytes)
{
    void *p = calloc(1, bytes);
    if (p == NULL) abort();
    return p;
}

void model_refuse(struct model_answer *a, vidmm_status st)
{
    a->errors |= MODEL_BIT(st);
    a->success = false;
}

struct model *model_create(const struct model_config *c)
{
    struct model *m = model_take(sizeof(*m));
    m->config = *c;
    m->epoch = 1;
    for (uint32_t i = 0; i < c->gpus; i++)
        for (uint32_t id = 1; id <= c->gpu[i].segment_count; id++) {
            const struct model_segment *s = &c->gpu[i].segment[id];
            if (s->application && !s->aperture) m->budget += s->bytes;
        }
    return m;
}

/* ---- freeing ----------------------------------------------------------------------------------- */

static void alloc_free(struct model_alloc *al)
{
    if (--al->body->users == 0) {
        free(al->body->client);
        free(al->body->page);
        free(al->body);
    }
    free(al);
}

static void device_free(struct model_device *d)
{
    for (uint32_t i = 0; i < d->alloc_count; i++) alloc_free(d->alloc[i]);
    for (uint32_t i = 0; i < d->queue_count; i++) free(d->queue[i]);
    free(d);
}

static void bury(struct model *m, struct model_alloc *al)
{
    al->next = m->graveyard;
    m->graveyard = al;
}

static void free_dead(struct model *m)
{
    while (m->graveyard != NULL) {
        struct model_alloc *al = m->graveyard;
        m->graveyard = al->next;
        alloc_free(al);
    }
    for (uint32_t i = 0; i < m->dead_queues; i++) free(m->dead_queue[i]);
    for (uint32_t i = 0; i < m->dead_devices; i++) device_free(m->dead_device[i]);
    m->dead_queues = m->dead_devices = 0;
}

/* Memory that clients lent is in use until everything has come to rest. */
void model_process_gone(struct model_process *p)
{
    struct model *m = p->model;
    for (uint32_t i = 0; i < p->device_count; i++) {
        struct model_device *d = p->device[i];
        while (d->alloc_count > 0) bury(m, d->alloc[--d->alloc_count]);
        device_free(d);
    }
    for (uint32_t i = 0; i < m->process_count; i++)
        if (m->process[i] == p) m->process[i] = m->process[--m->process_count];
    EACH_SPACE(sp, p) free(sp->piece);
    free(p);
}

void model_destroy(struct model *m)
{
    while (m->process_count > 0) model_process_gone(m->process[0]);
    free_dead(m);
    free(m);
}

/* ---- processes, devices, queues ---------------------------------------------------------------- */

struct model_answer model_process_create(const struct model *m)
{
    struct model_answer a = {0, true};
    if (m->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (model_tables_tight_somewhere(m, 0, 0)) a.errors |= MODEL_BIT(VIDMM_NO_MEMORY);
    return a;
}

struct model_process *model_process_new(struct model *m, struct vidmm_process *handle)
{
    struct model_process *p = model_take(sizeof(*p));
    p->model = m;
    p->handle = handle;
    p->id = ++m->next_id;
    p->budget = m->budget;
    EACH_SPACE(sp, p) {
        sp->proc = p;
        sp->gpu = (uint32_t)(sp - p->on);
        sp->piece_room = 64;
        sp->piece = model_take(sp->piece_room * sizeof(*sp->piece));
    }
    m->process[m->process_count++] = p;
    return p;
}

struct model_device *model_device_new(struct model_process *p, struct vidmm_device *handle)
{
    struct model_device *d = model_take(sizeof(*d));
    d->proc = p;
    d->handle = handle;
    d->id = ++p->model->next_id;
    p->device[p->device_count++] = d;
    return d;
}

void model_device_lost(struct model_device *d)
{
    d->lost = true;
    model_pieces_cut_off(d);
    /* What it has on an engine goes on: until everything rests, its addresses are in use. */
    for (uint32_t i = 0; i < d->alloc_count; i++) d->alloc[i]->count = 0;
}

/* Its allocations die like closed ones, its queues at once. The struct lives on until all is settled. */
void model_device_destroyed(struct model_device *d)
{
    struct model_process *p = d->proc;
    if (!d->lost) model_device_lost(d);
    d->destroyed = true;
    for (uint32_t i = 0; i < d->alloc_count; i++) {
        d->alloc[i]->dying = true;
        model_updates_voided(d->alloc[i]); /* another device's copies may be about to show it */
    }
    for (uint32_t i = 0; i < d->queue_count; i++) d->queue[i]->dead = true;
    for (uint32_t i = 0; i < p->device_count; i++)
        if (p->device[i] == d) p->device[i] = p->device[--p->device_count];
    p->model->dead_device[p->model->dead_devices++] = d;
}

/* It has a fence. */
struct model_answer model_queue_create(const struct model_device *d, uint32_t gpu, int32_t priority)
{
    const struct model *m = d->proc->model;
    struct model_answer a = model_fence_create(d, 0);
    if (priority < -1 || priority > 1 || gpu >= m->config.gpus) model_refuse(&a, VIDMM_INVALID);
    else if (m->gone >> gpu & 1u) model_refuse(&a, VIDMM_DEVICE_LOST);
    return a;
}

struct model_queue *model_queue_new(struct model_device *d, struct vidmm_queue *handle, uint32_t gpu)
{
    struct model_queue *q = model_take(sizeof(*q));
    q->dev = d;
    q->gpu = gpu;
    q->handle = handle;
    q->id = ++d->proc->model->next_id;
    d->queue[d->queue_count++] = q;
    return q;
}

void model_queue_destroyed(struct model_queue *q)
{
    struct model_device *d = q->dev;
    q->dead = true;
    for (uint32_t i = 0; i < d->queue_count; i++)
        if (d->queue[i] == q) d->queue[i] = d->queue[--d->queue_count];
    d->proc->model->dead_queue[d->proc->model->dead_queues++] = q;
}

bool model_reached(const struct model_queue *q, uint64_t value)
{
    return value == 0 || q == NULL || q->reached >= value;
}

const char *model_queue_seen(struct model_queue *q, uint64_t v)
{
    if (v < q->reached) return "a paging fence went back";
    if (v > q->issued) return "a paging fence is ahead of what was issued";
    if (q->delayed && v > q->delay_from && v > q->reached) return "a delayed queue made progress";
    q->reached = v;
    return NULL;
}

const char *model_queue_issue(struct model_queue *q, uint64_t value)
{
    if (value == 0) return q->reached == q->issued && !q->delayed ? NULL : "value 0 although work is queued";
    if (value <= q->issued) return "fence values of a queue must grow";
    q->issued = value;
    return NULL;
}

/* ---- fences ------------------------------------------------------------------------------------ */

struct model_answer model_fence_create(const struct model_device *d, uint32_t flags)
{
    struct model_answer a = {0, true};
    uint32_t both = VIDMM_FENCE_NO_SIGNAL | VIDMM_FENCE_NO_WAIT;
    if (d->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if ((flags & ~0xf0u) != 0 || (flags & both) == both) model_refuse(&a, VIDMM_INVALID);
    if (model_tables_tight_somewhere(d->proc->model, 1, 0)) a.errors |= MODEL_BIT(VIDMM_NO_MEMORY);
    if (model_no_room_inside(d->proc)) a.errors |= MODEL_BIT(VIDMM_NO_VIDEO_MEMORY);
    return a;
}

struct model_answer model_fence_signal(const struct model_device *d, uint32_t flags, uint64_t now,
                                       uint64_t value)
{
    struct model_answer a = {0, true};
    if (d->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (flags & VIDMM_FENCE_NO_SIGNAL) model_refuse(&a, VIDMM_ACCESS_DENIED);
    if (value < now) model_refuse(&a, VIDMM_INVALID);
    return a;
}

struct model_answer model_sync(const struct model_device *d, uint32_t all_flags, uint32_t forbidden,
                               uint32_t n)
{
    struct model_answer a = {0, true};
    if (d->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (n == 0 || n > 32) model_refuse(&a, VIDMM_INVALID);
    if (all_flags & forbidden) model_refuse(&a, VIDMM_ACCESS_DENIED);
    return a;
}

/* Exactly one bit, or none: GPU 0. */
bool model_engine(const struct model *m, uint32_t affinity, uint32_t *gpu)
{
    for (*gpu = 0; *gpu < m->config.gpus; ++*gpu)
        if (affinity == 1u << *gpu || affinity == 0) return true;
    return false;
}

/* ---- allocations ------------------------------------------------------------------------------- */

/* Its segments: bit id; bit 0 = system memory, for which the aperture stands. */
static uint32_t segments_of(const struct model_gpu *g, uint32_t supported, bool *any_64k)
{
    uint32_t set = 0;
    for (uint32_t id = 1; id <= g->segment_count; id++) {
        const struct model_segment *s = &g->segment[id];
        if ((supported >> (id - 1) & 1u) == 0) continue;
        set |= s->aperture ? 1u : 1u << id;
        *any_64k |= !s->aperture && s->pages_64k;
    }
    return set;
}

static uint64_t round_up(uint64_t v, uint64_t unit) { return (v + unit - 1) / unit * unit; }

/* What one gpu says to it: adds to the answer. */
static void create_on(const struct model *m, uint32_t gpu, const struct model_alloc_in *in,
                      struct model_answer *a)
{
    const struct model_gpu *g = &m->config.gpu[gpu];
    bool any_64k = false, fits;
    uint32_t supported = in->supported;
    for (uint32_t id = 1; supported == 0 && id <= g->segment_count; id++)
        if (g->segment[id].aperture) supported |= 1u << (id - 1); /* the driver's default */
    uint32_t set = segments_of(g, supported, &any_64k);
    uint64_t bytes = round_up(in->bytes, any_64k ? VIDMM_PAGE_64K : VIDMM_PAGE_SIZE);
    bool existing = in->client != NULL || in->existing_bytes != 0;
    if (m->gone >> gpu & 1u) model_refuse(a, VIDMM_DEVICE_LOST);
    if (any_64k && in->alignment % VIDMM_PAGE_64K != 0) model_refuse(a, VIDMM_INVALID);
    if (existing && (in->client == NULL || in->existing_bytes == 0 || in->instanced ||
                     in->existing_bytes % VIDMM_PAGE_SIZE != 0 || set != 1u || bytes > in->existing_bytes))
        model_refuse(a, VIDMM_INVALID);
    fits = (set & 1u) != 0;
    for (uint32_t id = 1; id <= g->segment_count; id++) {
        const struct model_segment *s = &g->segment[id];
        if ((set >> id & 1u) != 0 && bytes <= s->bytes - s->table_reserve) fits = true;
    }
    if (!fits) model_refuse(a, VIDMM_NO_VIDEO_MEMORY);
    model_physical_create(m, in, set, bytes, a);
}

struct model_answer model_alloc_create(const struct model_device *d, const struct model_alloc_in *in)
{
    const struct model *m = d->proc->model;
    struct model_answer a = {0, true};
    if (d->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (in->refused || in->gpu >= m->config.gpus) model_refuse(&a, VIDMM_INVALID);
    for (uint32_t g = 0; g < m->config.gpus; g++)
        if (in->instanced || g == in->gpu) create_on(m, g, in, &a);
    return a;
}

const char *model_alloc_created(struct model_device *d, const struct model_alloc_in *in,
                                struct vidmm_open *handle, uint64_t bytes, struct model_alloc **out)
{
    struct model *m = d->proc->model;
    struct model_alloc *al = model_take(sizeof(*al));
    bool any_64k = false;
    const struct model_gpu *g = &m->config.gpu[in->gpu];
    al->gpu = in->gpu;
    al->instances = in->instanced ? m->config.gpus : 1;
    al->segments = in->supported == 0 ? 1u : segments_of(g, in->supported, &any_64k);
    al->align = any_64k ? VIDMM_PAGE_64K : VIDMM_PAGE_SIZE;
    al->bytes = bytes;
    al->unit = bytes / al->instances;
    bool size_ok = bytes == al->instances * round_up(in->bytes, al->align);
    if (in->alignment > al->align) al->align = in->alignment;
    bool in_memory = in->preferred != 0 && !g->segment[in->preferred].aperture;
    al->local = in_memory || (al->segments & 1u) == 0;
    al->dev = d;
    al->handle = handle;
    al->id = ++m->next_id;
    al->pages = bytes / VIDMM_PAGE_SIZE;
    al->body = model_take(sizeof(*al->body));
    al->body->page = al->page = model_take((al->pages + 1) * sizeof(*al->page));
    al->body->client = in->client;
    al->body->creator = d->proc->id;
    al->body->users = 1;
    al->imported = in->client != NULL;
    al->physical = in->physical;
    d->alloc[d->alloc_count++] = al;
    *out = al;
    return size_ok ? NULL : "the size is not rounded up to the page size of its segments";
}

/* ALC-05: any process may; each device once. Its list, its mappings and its end are its own. */
struct model_answer model_alloc_open(const struct model_device *d, const struct model_alloc *from,
                                     uint32_t flags)
{
    struct model_answer a = {0, true};
    if (d->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (from->dying || (flags & ~1u) != 0) model_refuse(&a, VIDMM_INVALID);
    uint32_t gone = d->proc->model->gone;
    if (from->instances > 1 ? gone != 0 : (gone >> from->gpu & 1u) != 0) model_refuse(&a, VIDMM_DEVICE_LOST);
    for (uint32_t i = 0; i < d->alloc_count; i++)
        if (d->alloc[i]->body == from->body && !d->alloc[i]->dying) model_refuse(&a, VIDMM_INVALID);
    return a;
}

struct model_alloc *model_alloc_opened(struct model_device *d, const struct model_alloc *from, uint32_t flags,
                                       struct vidmm_open *handle)
{
    struct model_alloc *al = model_take(sizeof(*al));
    model_offer_opened(from);
    *al = (struct model_alloc){.dev = d, .body = from->body, .handle = handle, .bytes = from->bytes,
                               .align = from->align, .unit = from->unit, .gpu = from->gpu,
                               .instances = from->instances, .id = ++d->proc->model->next_id,
                               .segments = from->segments, .local = from->local, .physical = from->physical,
                               .imported = from->imported, .pages = from->pages, .page = from->page};
    al->read_only = (flags & VIDMM_OPEN_READ_ONLY) != 0;
    al->body->users++;
    d->alloc[d->alloc_count++] = al;
    return al;
}

void model_alloc_close(struct model_alloc *al, bool in_use, uint64_t seq)
{
    al->dying = true;
    al->in_use = in_use;
    al->close_seq = seq;
    al->locks = 0;
    model_updates_voided(al);
}

void model_instance_gone(struct model_alloc *al, uint32_t instance)
{
    struct model_device *d = al->dev;
    model_pieces_release(al, instance);
    al->gone |= 1u << instance;
    if (al->gone != (1u << al->instances) - 1) return;
    for (uint32_t i = 0; i < d->alloc_count; i++)
        if (d->alloc[i] == al) d->alloc[i] = d->alloc[--d->alloc_count];
    bury(d->proc->model, al);
}

static bool wanted_by_any(const struct model *m, const struct model_body *b)
{
    for (uint32_t i = 0; i < m->process_count; i++)
        for (uint32_t k = 0; k < m->process[i]->device_count; k++) {
            const struct model_device *d = m->process[i]->device[k];
            for (uint32_t n = 0; n < d->alloc_count; n++)
                if (d->alloc[n]->body == b && d->alloc[n]->count > 0) return true;
        }
    return false;
}

struct model_answer model_lock(const struct model_alloc *al)
{
    struct model_answer a = {0, true};
    if (al->dev->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (al->body->creator != al->dev->proc->id) model_refuse(&a, VIDMM_INVALID); /* ALC-39 */
    if (al->offer != 0) model_refuse(&a, VIDMM_INVALID);                         /* ALC-45 */
    /* Only in memory the CPU cannot see, and wanted there: busy, unless it is not there at the moment. */
    if ((al->segments & 1u) == 0 && wanted_by_any(al->dev->proc->model, al->body) && al->locks == 0)
        a.errors |= MODEL_BIT(VIDMM_BUSY);
    return a;
}

/* ---- residency --------------------------------------------------------------------------------- */

/* Bytes on the lists of a process that count for its budget; closed allocations may or may not count. */
static uint64_t local_used(const struct model_process *p, bool with_dying)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p->device_count; i++)
        for (uint32_t k = 0; k < p->device[i]->alloc_count; k++) {
            const struct model_alloc *al = p->device[i]->alloc[k];
            if (al->local && al->count > 0 && (with_dying || !al->dying)) sum += al->bytes;
        }
    return sum;
}

static uint64_t above(uint64_t v, uint64_t limit) { return v > limit ? v - limit : 0; }

uint64_t model_over_budget(const struct model_process *p) { return above(local_used(p, false), p->budget); }

static bool named_before(struct model_alloc *const *al, uint32_t i)
{
    for (uint32_t k = 0; k < i; k++)
        if (al[k] == al[i]) return true;
    return false;
}

struct demand { uint64_t only[VIDMM_SEGMENTS_MAX + 1], several, all; uint32_t common; };

static void demand_add(struct demand *d, uint32_t gpu, const struct model_alloc *al)
{
    bool one = (al->segments & (al->segments - 1)) == 0;
    if ((al->segments & 1u) != 0 || (al->instances == 1 && al->gpu != gpu)) return;
    d->all += al->unit;
    if (one) {
        d->only[__builtin_ctz(al->segments)] += al->unit;
        return;
    }
    d->several += al->unit;
    d->common &= al->segments;
}

/* Of the memory of one gpu. */
static struct demand demand_of(const struct model_device *dev, uint32_t gpu, struct model_alloc *const *al,
                               uint32_t n, bool dying)
{
    struct demand d = {.common = UINT32_MAX};
    for (uint32_t i = 0; i < dev->alloc_count; i++)
        if (dev->alloc[i]->count > 0 ? dying || !dev->alloc[i]->dying : dying && dev->alloc[i]->lingers)
            demand_add(&d, gpu, dev->alloc[i]);
    for (uint32_t i = 0; i < n; i++)
        if (al[i]->count == 0 && !(dying && al[i]->lingers) && !named_before(al, i))
            demand_add(&d, gpu, al[i]);
    return d;
}

/* What page tables leave of a segment; of a link, only their sum over all gpus is known. */
static uint64_t room_beside(const struct model_segment *s, uint64_t tables)
{
    return above(s->bytes, tables > s->table_reserve ? tables : s->table_reserve);
}

/* Has everything that can only be in memory segments a place there? Certain both ways where one segment
 * decides; between the two bounds it is a packing problem, and both answers are accepted. */
static bool surely_fits(const struct model_gpu *g, const struct demand *d, bool *surely_not)
{
    uint64_t room = 0;
    bool fits = true, several = d->several == 0;
    *surely_not = false;
    for (uint32_t id = 1; id <= g->segment_count; id++) {
        const struct model_segment *s = &g->segment[id];
        if (s->aperture) continue;
        uint64_t cap = room_beside(s, s->tables), most = room_beside(s, s->tables_least);
        room += most;
        if (d->only[id] > cap) fits = false;
        if (d->only[id] > most) *surely_not = true;
        if ((d->common >> id & 1u) != 0 && d->only[id] + d->several <= cap) several = true;
    }
    *surely_not |= d->all > room;
    return fits && several;
}

/* The same for what a call adds to a device's list; the two ways in which closed ones may count. */
static bool all_fit(const struct model_device *dev, struct model_alloc *const *al, uint32_t n,
                    bool *not_ever)
{
    const struct model_config *c = &dev->proc->model->config;
    bool fits = true, not_now, never;
    *not_ever = false;
    for (uint32_t gpu = 0; gpu < c->gpus; gpu++) {
        struct demand least = demand_of(dev, gpu, al, n, false), most = demand_of(dev, gpu, al, n, true);
        fits &= surely_fits(&c->gpu[gpu], &most, &not_now);
        (void)surely_fits(&c->gpu[gpu], &least, &never);
        *not_ever |= never;
    }
    return fits;
}

struct model_answer model_make_resident(const struct model_queue *q, struct model_alloc *const *al,
                                        uint32_t n, uint32_t flags, uint64_t *least_trim)
{
    const struct model_process *p = q->dev->proc;
    struct model_answer a = {0, true};
    bool forced = (flags & VIDMM_RESIDENT_CANT_TRIM_FURTHER) != 0, memory_only = false, not_ever;
    uint64_t new_bytes = 0;
    *least_trim = 0;
    if (q->dev->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if ((flags & ~3u) != 0 || (flags & 3u) == VIDMM_RESIDENT_MUST_SUCCEED) model_refuse(&a, VIDMM_INVALID);
    for (uint32_t i = 0; i < n; i++)
        if (al[i]->dev != q->dev) model_refuse(&a, VIDMM_INVALID);
    if (!a.success) return a;
    for (uint32_t i = 0; i < n; i++) {
        if (al[i]->local && al[i]->count == 0 && !named_before(al, i)) new_bytes += al[i]->bytes;
        memory_only |= (al[i]->segments & 1u) == 0;
    }
    uint64_t over = above(local_used(p, false) + new_bytes, p->budget);
    bool fits = all_fit(q->dev, al, n, &not_ever);
    *least_trim = over;
    if ((over > 0 && !forced) || (memory_only && not_ever)) model_refuse(&a, VIDMM_NO_MEMORY);
    if (memory_only && !fits) a.errors |= MODEL_BIT(VIDMM_NO_MEMORY);
    if (!forced && local_used(p, true) + new_bytes > p->budget) a.errors |= MODEL_BIT(VIDMM_NO_MEMORY);
    model_physical_resident(q->dev, al, n, &a);
    return a;
}

void model_made_resident(struct model_queue *q, struct model_alloc *const *al, uint32_t n, uint64_t value)
{
    for (uint32_t i = 0; i < n; i++) {
        al[i]->body->touched = true;
        if (al[i]->count++ > 0) continue;
        al[i]->written = al[i]->lingers = false;
        al[i]->queue = q;
        al[i]->value = value;
    }
}

struct model_answer model_evict(const struct model_device *d, struct model_alloc *const *al, uint32_t n,
                                uint32_t flags)
{
    struct model_answer a = {0, true};
    if (d->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if ((flags & ~3u) != 0) model_refuse(&a, VIDMM_INVALID);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t before = 0;
        for (uint32_t k = 0; k < i; k++) before += al[k] == al[i];
        if (al[i]->dev != d || al[i]->count <= before) model_refuse(&a, VIDMM_INVALID);
    }
    return a;
}

/* Gives the bytes over budget that a process is left with at least. */
uint64_t model_evicted(struct model_device *d, struct model_alloc *const *al, uint32_t n, uint32_t flags)
{
    for (uint32_t i = 0; i < n; i++) {
        al[i]->count--;
        al[i]->lingers = al[i]->count == 0;
        if ((flags & VIDMM_EVICT_NOT_WRITTEN_TO) == 0 || !al[i]->written) continue;
        for (uint64_t k = 0; k < al[i]->pages; k++) al[i]->page[k].unknown = true; /* the client lied */
    }
    return model_over_budget(d->proc);
}

/* ---- quiescence -------------------------------------------------------------------------------- */

static void gone_dying(struct model_device *d)
{
    for (uint32_t i = d->alloc_count; i-- > 0;) {
        struct model_alloc *al = d->alloc[i];
        for (uint32_t k = 0; al->dying && k < al->instances; k++)
            if ((al->gone >> k & 1u) == 0) model_instance_gone(al, k);
    }
}

void model_settled(struct model *m)
{
    for (uint32_t i = 0; i < m->process_count; i++) model_pieces_settled(m->process[i]);
    for (uint32_t i = 0; i < m->process_count; i++) {
        struct model_process *p = m->process[i];
        for (uint32_t k = 0; k < p->device_count; k++) {
            gone_dying(p->device[k]);
            for (uint32_t n = 0; n < p->device[k]->alloc_count; n++) {
                p->device[k]->alloc[n]->value = 0;
                p->device[k]->alloc[n]->lingers = false;
            }
        }
    }
    for (uint32_t i = 0; i < m->dead_devices; i++)
        if (model_has_process(m, m->dead_device[i]->proc)) gone_dying(m->dead_device[i]);
    m->epoch++;
    free_dead(m);
}
