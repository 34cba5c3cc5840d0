/* SPDX-License-Identifier: MIT */
/* resid.c — residency: the devices' lists, admission, and who gets the memory segments.
 * Owns: device->required, missing counts, the choice of victims. Calls: place.c, move.c.
 * Keeps: invariants 7, 8, 9. A plan is checked for covering the need before anything moves. */
#include "core/core.h"

void vmm_missing_add(struct vidmm_device *d, int by)
{
    struct vidmm_adapter *ad = d->proc->ad;
    if (d->missing == 0 && by > 0) d->need_seq = ++ad->lead->next_seq;
    d->missing += (uint32_t)by;
    ad->missing += (uint64_t)(int64_t)by;
}

static uint64_t local_bytes(const struct vmm_alloc *al)
{
    return al->preferred != 0 ? vmm_alloc_copies(al) * vmm_alloc_bytes(al) : 0;
}

static bool memory_only(const struct vmm_alloc *al) { return !(al->segments & 1u); }
static bool listed(const struct vidmm_open *op) { return list_is_linked(&op->on_required); }

/* What is listed and not offered counts as missing until it is LIVE. */
static void count_in(struct vidmm_open *op)
{
    op->arrived = op->al->state == PLACE_LIVE;
    if (!op->arrived) vmm_missing_add(op->dev, 1);
}

static void count_out(struct vidmm_open *op)
{
    if (op->al->state != PLACE_LIVE) {
        vmm_missing_add(op->dev, -1);
        if (op->arrived) op->dev->taken--;
    }
    op->arrived = false;
    vmm_room_made(op->al->ad); /* what it holds may be taken for a promotion */
}

/* It keeps its place in the plan, the aperture and the budget: a reclaim can never be refused for memory. */
void vmm_required_offer(struct vidmm_open *op, bool offered)
{
    if (listed(op) && offered) count_out(op);
    if (listed(op) && !offered) count_in(op);
    op->offered = offered;
}

static void required_add(struct vidmm_open *op)
{
    struct vidmm_adapter *ad = op->dev->proc->ad;
    if (op->resident++ > 0) return;
    if (!op->al->unwritten) op->al->clean = false; /* the stay before may have written: home is older */
    op->al->unwritten = false;                     /* was said of that stay, not of this one */
    op->dev->proc->local_required += local_bytes(op->al);
    op->al->resident_seq = ++ad->lead->next_seq;
    list_remove(&op->on_lingering);
    if (op->holds > 0) op->pinned = true;
    if (listed(op)) return;
    vmm_iommu_resident(op, true);
    list_push_back(&op->dev->required, &op->on_required);
    if (op->al->physical) op->dev->aperture_pages += vmm_aperture_need(op->al);
    if (memory_only(op->al)) op->dev->memory_only++;
    if (!op->offered) count_in(op);
}

static void unlist(struct vidmm_open *op)
{
    struct vidmm_device *d = op->dev;
    list_remove(&op->on_required);
    if (op->al->physical) d->aperture_pages -= vmm_aperture_need(op->al);
    if (memory_only(op->al)) {
        d->memory_only--;
        /* what remains of a legal plan is legal */
        d->planned[op->al->ad->gpu][op->plan] -= vmm_alloc_bytes(op->al);
    }
    if (!op->offered) count_out(op);
}

static bool others_listed(const struct vidmm_open *op)
{
    LIST_FOREACH(it, &op->al->opens) {
        const struct vidmm_open *other = list_entry(it, struct vidmm_open, on_alloc);
        if (other != op && listed(other)) return true;
    }
    return false;
}

void vmm_required_drop(struct vidmm_open *op)
{
    if (listed(op)) op->al->clean = op->al->unwritten = false; /* nobody says that it was not written */
    list_remove(&op->on_lingering);
    if (op->resident > 0) op->dev->proc->local_required -= local_bytes(op->al);
    op->resident = 0;
    op->pinned = false;
    if (listed(op)) unlist(op);
}

/* The last count is gone. Packets queued before may still use it: until they are through it stays listed, and
 * is stopped and brought back with its device like everything else. */
static void evict_last(struct vidmm_open *op, bool unwritten)
{
    struct vidmm_adapter *ad = op->dev->proc->ad;
    op->dev->proc->local_required -= local_bytes(op->al);
    op->linger_seq = ad->lead->next_seq + 1;
    bool lingers = op->holds > 0 || vmm_packets_before(op->dev, op->linger_seq);
    /* What one device says of its stay is worth something only if no other one can write, or could before. */
    if (!unwritten) op->al->clean = false;
    op->al->unwritten = unwritten && op->al->clean && !lingers && !others_listed(op);
    if (lingers) list_push_back(&ad->lingering, &op->on_lingering);
    else unlist(op);
    if (!lingers) vmm_iommu_resident(op, false);
}

/* One count less that was not the client's. Needs no memory. */
void vmm_resident_release(struct vidmm_open *op)
{
    if (op->resident == 0 || --op->resident > 0) return;
    evict_last(op, false);
}

bool vmm_lingering_step(struct vidmm_adapter *ad)
{
    bool progress = false;
    LIST_FOREACH_SAFE(it, tmp, &ad->lingering) {
        struct vidmm_open *op = list_entry(it, struct vidmm_open, on_lingering);
        if (op->holds > 0 || vmm_packets_before(op->dev, op->linger_seq)) continue;
        list_remove(&op->on_lingering);
        unlist(op);
        vmm_iommu_resident(op, false);
        progress = true;
    }
    return progress;
}

/* ---- admission ---- */

static uint64_t capacity(const struct vmm_segment *seg)
{
    return seg->bytes - ((uint64_t)max_u64(seg->table_reserve, seg->table_pages) << seg->page_shift);
}

/* ---- admission of what can only be in memory segments (inv. 9, Q44): every such open has a segment planned
 * for it, and the placer keeps to the plan. New ones are added to the plan as it is; if that does not work,
 * the whole list is planned again: first what has one segment to go to, then the others by first fit ---- */

static bool single_segment(const struct vmm_alloc *al) { return is_pow2(al->segments); }

struct plan { uint64_t filled[VIDMM_GPUS_MAX][VIDMM_SEGMENTS_MAX + 1]; bool whole; };

static bool try_fit(struct vidmm_open *op, struct plan *p)
{
    const struct vmm_alloc *al = op->al;
    const struct vidmm_adapter *ad = al->ad;
    uint64_t *filled = p->filled[ad->gpu];
    for (uint32_t k = 0; k <= ad->segment_count; k++) {
        uint32_t id = k == 0 ? al->preferred : k;
        if (!(al->segments >> id & 1u)) continue;
        if (filled[id] + vmm_alloc_bytes(al) > capacity(&ad->segment[id])) continue;
        filled[id] += vmm_alloc_bytes(al);
        op->trial = (uint8_t)id;
        return true;
    }
    return false;
}

enum plan_pass { PLAN_SINGLE, PLAN_OTHERS, PLAN_ALL };

static bool in_pass(const struct vmm_alloc *al, enum plan_pass pass)
{
    return memory_only(al) && (pass == PLAN_ALL || single_segment(al) == (pass == PLAN_SINGLE));
}

static bool try_new(struct vidmm_device *d, struct vidmm_open *const *opens, uint32_t n, enum plan_pass pass,
                    struct plan *p)
{
    uint64_t mark = ++d->proc->ad->next_mark;
    for (uint32_t i = 0; i < n; i++) {
        INSTANCE_FOREACH(op, opens[i]) {
            if (!in_pass(op->al, pass) || listed(op) || op->mark == mark) continue;
            op->mark = mark;
            if (!try_fit(op, p)) return false;
        }
    }
    return true;
}

static bool try_list(struct vidmm_device *d, enum plan_pass pass, struct plan *p)
{
    LIST_FOREACH(it, &d->required) {
        struct vidmm_open *op = list_entry(it, struct vidmm_open, on_required);
        if (in_pass(op->al, pass) && !try_fit(op, p)) return false;
    }
    return true;
}

static bool make_plan(struct vidmm_device *d, struct vidmm_open *const *opens, uint32_t n, struct plan *p)
{
    size_t bytes = sizeof p->filled[0] * d->proc->ad->gpu_count;
    p->whole = false;
    memcpy(p->filled, d->planned, bytes);
    if (try_new(d, opens, n, PLAN_ALL, p)) return true;
    p->whole = true;
    memset(p->filled, 0, bytes);
    return try_list(d, PLAN_SINGLE, p) && try_new(d, opens, n, PLAN_SINGLE, p) &&
           try_list(d, PLAN_OTHERS, p) && try_new(d, opens, n, PLAN_OTHERS, p);
}

/* Before the new ones are listed. */
static void take_plan(struct vidmm_device *d, struct vidmm_open *const *opens, uint32_t n,
                      const struct plan *p)
{
    memcpy(d->planned, p->filled, sizeof d->planned[0] * d->proc->ad->gpu_count);
    for (uint32_t i = 0; i < n; i++) {
        INSTANCE_FOREACH(fresh, opens[i]) {
            if (!listed(fresh)) fresh->plan = fresh->trial;
        }
    }
    if (!p->whole) return;
    LIST_FOREACH(it, &d->required) {
        struct vidmm_open *op = list_entry(it, struct vidmm_open, on_required);
        op->plan = op->trial;
    }
}

/* May page tables take n more pages of a segment? Not those that lists admitted earlier count on (inv. 9). */
bool vmm_tables_may_grow(struct vidmm_adapter *ad, struct vmm_segment *seg, uint32_t n)
{
    uint64_t tables = (seg->table_pages + n) << seg->page_shift;
    if (seg->table_pages + n <= seg->table_reserve) return true;
    LIST_FOREACH(pi, &ad->lead->processes) {
        LIST_FOREACH(di, &list_entry(pi, struct vidmm_process, on_adapter)->devices) {
            const struct vidmm_device *d = list_entry(di, struct vidmm_device, on_process);
            if (d->planned[ad->gpu][seg->id] + tables > seg->bytes) return false;
        }
    }
    return true;
}

uint64_t vmm_over_budget(const struct vidmm_process *p, uint64_t extra)
{
    uint64_t want = p->local_required + extra;
    return want > p->budget ? want - p->budget : 0;
}

static uint64_t new_local_bytes(struct vidmm_adapter *ad, struct vidmm_open *const *opens, uint32_t n)
{
    uint64_t bytes = 0, mark = ++ad->lead->next_mark;
    for (uint32_t i = 0; i < n; i++) {
        if (opens[i]->resident > 0 || opens[i]->mark == mark) continue;
        opens[i]->mark = mark;
        INSTANCE_FOREACH(op, opens[i]) bytes += local_bytes(op->al);
    }
    return bytes;
}

static vidmm_status decode_resident(const struct vidmm_queue *q, struct vidmm_open *const *opens, uint32_t n,
                                    uint32_t flags, uint64_t *trim, struct plan *plan)
{
    bool forced = (flags & VIDMM_RESIDENT_CANT_TRIM_FURTHER) != 0;
    if (q->dev->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if (n > VIDMM_LIST_MAX) return VIDMM_LIMIT;
    if (q->dying || flags & ~(VIDMM_RESIDENT_CANT_TRIM_FURTHER | VIDMM_RESIDENT_MUST_SUCCEED))
        return VIDMM_INVALID;
    if ((flags & VIDMM_RESIDENT_MUST_SUCCEED) && !forced) return VIDMM_INVALID;
    for (uint32_t i = 0; i < n; i++)
        if (opens[i]->dev != q->dev || opens[i]->dying) return VIDMM_INVALID;
    for (uint32_t i = 0; i < n; i++)
        if (opens[i]->resident > UINT32_MAX - VIDMM_LIST_MAX) return VIDMM_LIMIT;
    uint64_t over = vmm_over_budget(q->dev->proc, new_local_bytes(q->dev->proc->ad, opens, n));
    bool legal = make_plan(q->dev, opens, n, plan) && vmm_aperture_admits(q->dev, opens, n);
    if ((forced || over == 0) && legal) return VIDMM_OK;
    *trim = max_u64(over, VIDMM_PAGE_SIZE);
    return VIDMM_NO_MEMORY;
}

vidmm_status vidmm_make_resident(struct vidmm_queue *q, struct vidmm_open *const *opens, uint32_t n,
                                 uint32_t flags, uint64_t *value, uint64_t *trim)
{
    struct vidmm_device *d = q->dev;
    struct vidmm_adapter *ad = d->proc->ad;
    struct plan plan;
    vidmm_status st = decode_resident(q, opens, n, flags, trim, &plan);
    if (st == VIDMM_NO_MEMORY) {
        ad->counters->over_budget++;
        if (flags & VIDMM_RESIDENT_MUST_SUCCEED)
            vmm_device_fail(d, VIDMM_DEVICE_OUT_OF_MEMORY, NULL); /* FLT-22 */
    }
    if (st != VIDMM_OK) return st;
    struct vmm_request *r = vmm_request_new(q, REQ_RESIDENT);
    if (r == NULL) {
        if (flags & VIDMM_RESIDENT_MUST_SUCCEED) vmm_device_fail(d, VIDMM_DEVICE_OUT_OF_MEMORY, NULL);
        *trim = 0;
        return VIDMM_NO_MEMORY;
    }
    take_plan(d, opens, n, &plan);
    for (uint32_t i = 0; i < n; i++) {
        INSTANCE_FOREACH(op, opens[i]) required_add(op);
    }
    d->asking++;
    *trim = 0;
    *value = vmm_request_enqueue(r);
    ad->counters->make_residents++;
    return *value != 0 ? VIDMM_PENDING : VIDMM_OK;
}

static void count_all(struct vidmm_open *op, uint32_t by)
{
    INSTANCE_FOREACH(i, op) i->resident += by;
}

vidmm_status vidmm_evict(struct vidmm_device *d, struct vidmm_open *const *opens, uint32_t n, uint32_t flags,
                         uint64_t *trim)
{
    uint32_t done = 0;
    vidmm_status st = VIDMM_OK;
    if (d->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if (n > VIDMM_LIST_MAX) return VIDMM_LIMIT;
    if (flags & ~(VIDMM_EVICT_ONLY_IF_NECESSARY | VIDMM_EVICT_NOT_WRITTEN_TO)) return VIDMM_INVALID;
    for (; done < n && st == VIDMM_OK; done++) { /* count down first: one open may be named several times */
        bool counted = opens[done]->resident > opens[done]->pins;
        if (opens[done]->dev != d || opens[done]->dying || !counted) st = VIDMM_INVALID;
        else count_all(opens[done], -1u);
    }
    if (st != VIDMM_OK) {
        for (uint32_t i = 0; i + 1 < done; i++) count_all(opens[i], 1);
        return st;
    }
    for (uint32_t i = 0; i < n; i++) {
        INSTANCE_FOREACH(op, opens[i]) {
            bool done_before = !listed(op) || list_is_linked(&op->on_lingering);
            if (op->resident > 0 || done_before) continue;
            /* While a count is left the GPU may go on writing: what is said with the last one is used. */
            evict_last(op, (flags & VIDMM_EVICT_NOT_WRITTEN_TO) != 0);
        }
    }
    *trim = vmm_over_budget(d->proc, 0);
    d->proc->ad->counters->evict_calls++;
    return VIDMM_OK;
}

/* ---- bringing in ---- */

static bool wants_memory(const struct vmm_alloc *al)
{
    return al->preferred != 0 && (al->locks == 0 || !(al->segments & 1u));
}

bool vmm_device_fill(struct vidmm_device *d)
{
    if (d->missing == 0) return true;
    LIST_FOREACH(it, &d->required) {
        const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_required);
        if (op->offered) continue;
        if (op->al->state == PLACE_NONE && !wants_memory(op->al)) vmm_place_system(op->al);
    }
    return d->missing == 0;
}

bool vmm_resident_execute(struct vmm_request *r)
{
    bool there = vmm_device_fill(r->queue->dev);
    /* Nothing gates hardware queues but this fence. */
    if (!there && !BROKEN(r->queue->ad, SUB_04)) return false;
    vmm_waits_process(&r->waits, r->queue->dev->proc);
    return true;
}

/* ---- victims ---- */

static bool movable(const struct vmm_alloc *al)
{
    return al->state == PLACE_LIVE && al->segment != VMM_SYSTEM;
}

/* A device that misses something, and for whom it matters: somebody waits for the memory. */
static bool asks(const struct vidmm_device *d)
{
    return d->missing > 0 && (d->asking > 0 || vmm_device_has_work(d));
}

/* The age rule: may `v` be taken, for `d`, from every other device that requires it? Not from an older
 * requester, and not from one that is owed a packet. */
bool vmm_resid_others_may_stop(const struct vmm_alloc *v, const struct vidmm_device *d)
{
    LIST_FOREACH(it, &v->opens) {
        const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_alloc);
        if (!vmm_open_needed(op) || op->dev == d) continue;
        bool owed = op->dev->quantum && op->dev->missing == 0; /* what cannot run now is not owed anything */
        if (owed && vmm_device_has_work(op->dev)) return false;
        if (asks(op->dev) && op->dev->need_seq < d->need_seq) return false;
    }
    return true;
}

/* The one of d that is on its list: a closed one may be there until the packets before are through. */
static const struct vidmm_open *listed_open(const struct vmm_alloc *al, const struct vidmm_device *d)
{
    LIST_FOREACH(it, &al->opens) {
        const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_alloc);
        if (op->dev == d && vmm_open_needed(op)) return op;
    }
    return NULL;
}

/* May `v` be taken from all that require it? Never from d's own list. */
bool vmm_resid_may_stop(const struct vmm_alloc *v, const struct vidmm_device *d)
{
    return listed_open(v, d) == NULL && vmm_resid_others_may_stop(v, d);
}

/* Is v on d's list, and not where its plan wants it? Then it goes, and is placed again by the plan. Devices
 * with other plans for it take turns. */
static bool misplaced(const struct vmm_alloc *v, const struct vidmm_device *d)
{
    const struct vidmm_open *own = listed_open(v, d);
    return own != NULL && own->plan != v->segment && vmm_resid_others_may_stop(v, d);
}

enum victim_class { VICTIM_OFFERED, VICTIM_FREE, VICTIM_DEMOTE, VICTIM_STOP, VICTIM_OWN, VICTIM_NO };

static enum victim_class classify(const struct vidmm_adapter *ad, const struct vmm_alloc *v,
                                  const struct vmm_alloc *al, const struct vidmm_device *d)
{
    bool must = memory_only(al);
    if (!movable(v) || v == al) return VICTIM_NO;
    if (vmm_offer_class(v) != 0) return VICTIM_OFFERED;
    if (!vmm_alloc_required(v)) return VICTIM_FREE;
    if (!memory_only(v) && (!v->physical || vmm_aperture_room(ad, v))) {
        bool less = !vmm_alloc_wanted(v) || v->priority < al->priority ||
                    (v->priority == al->priority && v->resident_seq < al->resident_seq);
        return must || less ? VICTIM_DEMOTE : VICTIM_NO;
    }
    if (!must || d == NULL) return VICTIM_NO;
    if (vmm_resid_may_stop(v, d)) return VICTIM_STOP;
    return misplaced(v, d) ? VICTIM_OWN : VICTIM_NO;
}

static bool better(const struct vmm_alloc *a, enum victim_class ca, const struct vmm_alloc *b,
                   enum victim_class cb)
{
    if (b == NULL || ca != cb) return b == NULL || ca < cb;
    if (ca == VICTIM_OFFERED && vmm_offer_class(a) != vmm_offer_class(b))
        return vmm_offer_class(a) < vmm_offer_class(b);
    if (a->priority != b->priority) return a->priority < b->priority;
    return a->resident_seq < b->resident_seq;
}

/* What holds pages of a segment: the gpu's own allocations, then what is mirrored and another's to move.
 * after NULL: the first one. NULL: no more. */
static struct vmm_alloc *next_holder(const struct vidmm_adapter *ad, uint32_t id, struct vmm_alloc *after)
{
    const struct vidmm_adapter *home = vmm_mirror_home(ad), *at = after != NULL ? after->ad : ad;
    const struct list *head = &at->segment[id].lru, *it = after != NULL ? after->lru.next : head->next;
    if (it == head && at == ad && home != ad && id <= home->segment_count) {
        head = &home->segment[id].lru;
        at = home;
        it = head->next;
    }
    while (it != head && at != ad && !list_entry(it, struct vmm_alloc, lru)->mirrored) it = it->next;
    return it != head ? list_entry(it, struct vmm_alloc, lru) : NULL;
}

#define HOLDER_FOREACH(v, ad, id) \
    for (struct vmm_alloc *v = next_holder(ad, id, NULL); v != NULL; v = next_holder(ad, id, v))

/* The first of a set of victims that together make room for al in seg; NULL: no set does, or needs to. */
static struct vmm_alloc *choose_victim(const struct vidmm_adapter *ad, const struct vmm_segment *seg,
                                       const struct vmm_alloc *al, const struct vidmm_device *d,
                                       enum victim_class worst, bool *enough)
{
    uint64_t pages = pagepool_free_pages(&seg->pool);
    uint64_t need = div_up(vmm_alloc_bytes(al), 1ull << seg->page_shift) + vmm_held_back(seg);
    struct vmm_alloc *best = NULL;
    enum victim_class best_class = VICTIM_NO;
    HOLDER_FOREACH(v, ad, seg->id) {
        enum victim_class c = classify(ad, v, al, d);
        if (c > worst || c == VICTIM_NO) continue;
        pages += vmm_alloc_bytes(v) >> seg->page_shift;
        if (better(v, c, best, best_class)) {
            best = v;
            best_class = c;
        }
    }
    *enough = pages >= need;
    return *enough ? best : NULL;
}

/* Of what is mirrored the copies must find room on every gpu, and only what nobody requires gives way: they
 * can be at home as well. */
static struct vmm_alloc *choose_on_all(const struct vmm_alloc *al, uint32_t id)
{
    struct vmm_alloc *best = NULL;
    LINK_FOREACH(g, al->ad) {
        bool enough;
        struct vmm_alloc *v = choose_victim(g, &g->segment[id], al, NULL, VICTIM_FREE, &enough);
        if (!enough) return NULL;
        if (best == NULL) best = v;
    }
    return best;
}

bool vmm_resid_stays(struct vmm_alloc *v)
{
    bool stays = vmm_alloc_required(v) && !memory_only(v);
    return stays && v->physical ? vmm_aperture_take(v->ad, v) : stays;
}

static bool push_out(struct vmm_alloc *v)
{
    struct vidmm_adapter *ad = v->ad;
    if (ad->move.al != NULL) { /* another gpu's mover: it is the next thing that one does */
        if (ad->push_next == NULL) ad->push_next = v;
        return false;
    }
    vmm_move_begin(ad, v, VMM_SYSTEM, vmm_resid_stays(v));
    return true;
}

/* It may have gone, or be required again, since it was asked for. */
static bool push_asked(struct vidmm_adapter *ad)
{
    struct vmm_alloc *v = ad->push_next;
    ad->push_next = NULL;
    return v != NULL && movable(v) && !(memory_only(v) && vmm_alloc_required(v)) && push_out(v);
}

/* Pages of a destroyed allocation are free as soon as a flush is done: better to wait than to push out. */
static bool room_is_coming(const struct vidmm_adapter *ad)
{
    LIST_FOREACH(it, &ad->lead->dying_opens) {
        const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_dying);
        if (!vmm_alloc_uses(op->al, ad) || op->dying != 2) continue;
        if (op->al->segment != VMM_SYSTEM && vmm_open_last(op)) return true;
    }
    return false;
}

/* One step towards having al in a memory segment. false: nothing can be done for it now. */
static bool place_in_memory(struct vidmm_adapter *ad, struct vmm_alloc *al, struct vidmm_device *d,
                            enum victim_class worst)
{
    for (uint32_t k = 0; k <= ad->segment_count; k++) {
        uint32_t id = k == 0 ? al->preferred : k;
        if (!(al->segments >> id & 1u) || (k != 0 && id == al->preferred)) continue;
        if (d != NULL && memory_only(al) && listed_open(al, d)->plan != id) continue;
        if (vmm_place_extents(al, &ad->segment[id])) {
            vmm_move_begin(ad, al, id, true);
            return true;
        }
        if (d != NULL) vmm_trim_pressure(ad); /* somebody waits, and there is no room */
        enum victim_class most = al->physical ? VICTIM_FREE : worst;
        bool enough;
        struct vmm_alloc *v = al->mirrored ? choose_on_all(al, id)
                                           : choose_victim(ad, &ad->segment[id], al, d, most, &enough);
        if (v != NULL) return push_out(v);
    }
    return false;
}

static bool serve_alloc(struct vidmm_adapter *ad, struct vidmm_device *d, struct vmm_alloc *al,
                        bool *progress)
{
    if (al->state != PLACE_NONE) return false;
    if (wants_memory(al) && al->locks == 0 && place_in_memory(ad, al, d, VICTIM_OWN)) return true;
    if (al->physical) return vmm_aperture_place(ad, al, d);
    *progress |= vmm_place_system(al); /* resident all the same; promoted when there is room */
    return false;
}

/* What is accessed physically comes last: if it took the room of what can be nowhere else, it would have to
 * go again. */
static bool serve_device(struct vidmm_adapter *ad, struct vidmm_device *d)
{
    bool progress = false;
    if (vmm_aperture_repack(ad, d)) return true;
    for (int physical = 0; physical < 2; physical++) {
        LIST_FOREACH(it, &d->required) {
            const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_required);
            struct vmm_alloc *al = op->al;
            bool now = al->ad == ad && !op->offered && al->physical == (physical != 0);
            if (now && serve_alloc(ad, d, al, &progress)) return true;
        }
    }
    return progress;
}

static struct vidmm_device *oldest_requester(struct vidmm_adapter *ad, uint64_t after)
{
    struct vidmm_device *best = NULL;
    LIST_FOREACH(pi, &ad->lead->processes) {
        struct vidmm_process *p = list_entry(pi, struct vidmm_process, on_adapter);
        LIST_FOREACH(di, &p->devices) {
            struct vidmm_device *d = list_entry(di, struct vidmm_device, on_process);
            if (d->need_seq <= after || !asks(d)) continue;
            if (best == NULL || d->need_seq < best->need_seq) best = d;
        }
    }
    return best;
}

/* ---- locks and promotions ---- */

static bool serve_locks(struct vidmm_adapter *ad)
{
    if (ad->lock_waiters == 0) return false;
    LIST_FOREACH(it, &ad->allocs) {
        struct vmm_alloc *al = list_entry(it, struct vmm_alloc, on_adapter);
        if (al->locks == 0 || !movable(al)) continue;
        return push_out(al);
    }
    ad->lock_waiters = 0;
    return false;
}

static bool promotable(const struct vmm_alloc *al)
{
    return al->state == PLACE_LIVE && al->segment == VMM_SYSTEM && al->preferred != 0 && al->locks == 0 &&
           vmm_alloc_wanted(al);
}

/* Bytes of a segment that are free, or held by what nobody requires. */
static uint64_t idle_bytes(const struct vidmm_adapter *ad, const struct vmm_segment *seg)
{
    uint64_t bytes = (uint64_t)pagepool_free_pages(&seg->pool) << seg->page_shift;
    HOLDER_FOREACH(al, ad, seg->id) {
        if (movable(al) && !vmm_alloc_required(al)) bytes += vmm_alloc_bytes(al);
    }
    uint64_t held = (uint64_t)vmm_held_back(seg) << seg->page_shift;
    return bytes > held ? bytes - held : 0;
}

static bool more_deserving(const struct vmm_alloc *a, const struct vmm_alloc *b)
{
    if (b == NULL || a->priority != b->priority) return b == NULL || a->priority > b->priority;
    return a->resident_seq > b->resident_seq;
}

static bool run_is_free(struct vmm_segment *seg, const struct vmm_alloc *al)
{
    uint32_t pad = al->align >> seg->page_shift;
    return pagepool_largest_run(&seg->pool) >= (vmm_alloc_bytes(al) >> seg->page_shift) + pad;
}

/* Into free room, or in the place of what nobody requires; never by demoting somebody (no ping-pong). */
static bool promote(struct vidmm_adapter *ad)
{
    uint64_t idle[VIDMM_SEGMENTS_MAX + 1] = { 0 };
    struct vmm_alloc *best = NULL;
    if (!ad->room) return false;
    for (uint32_t id = 1; id <= ad->segment_count; id++)
        if (!(ad->segment[id].flags & VIDMM_SEGMENT_APERTURE)) idle[id] = idle_bytes(ad, &ad->segment[id]);
    LIST_FOREACH(it, &ad->allocs) {
        struct vmm_alloc *al = list_entry(it, struct vmm_alloc, on_adapter);
        if (!promotable(al) || vmm_alloc_bytes(al) > idle[al->preferred]) continue;
        if (al->physical && !run_is_free(&ad->segment[al->preferred], al)) continue;
        if (al->mirrored && !vmm_mirror_room(al) && choose_on_all(al, al->preferred) == NULL) continue;
        if (more_deserving(al, best)) best = al;
    }
    if (best != NULL && place_in_memory(ad, best, NULL, VICTIM_FREE)) return true;
    ad->room = false;
    return false;
}

/* One move at a time; the oldest requester first, locks before it, promotions when nobody asks. */
bool vmm_mover_step(struct vidmm_adapter *ad)
{
    if (ad->lost) return false;
    if (ad->move.al != NULL) return vmm_move_step(ad);
    if (push_asked(ad)) return true;
    if (vmm_aperture_return(ad)) return true;
    if (room_is_coming(ad)) return false;
    if (serve_locks(ad)) return true;
    bool progress = false, asked = false;
    uint64_t after = 0;
    for (struct vidmm_device *d; ad->move.al == NULL && ad->lead->missing > 0;) {
        d = oldest_requester(ad, after);
        if (d == NULL) break;
        asked = true;
        after = d->need_seq;
        progress |= serve_device(ad, d);
    }
    return asked ? progress : promote(ad);
}
