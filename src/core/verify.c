/* SPDX-License-Identifier: MIT */
/* verify.c — the numbered invariants of docs/invariants.md as one walk, and the hash of the logical state.
 * Changes nothing. Calls: span, tree, pagepool, the driver's pte_decode.
 * Invariants 5 and 6 speak of an order in time: what can be seen of them in a state is checked here, the
 * rest by the device model's detector of stale translations. */
#include "base/hash.h"
#include "core/core.h"

struct walk {
    struct vidmm_adapter *ad;                          /* the lead */
    int number;
    const char *what;
    uint64_t bound;                                    /* bindings of allocations, over all spaces */
    uint64_t table_pages[VIDMM_GPUS_MAX][VIDMM_SEGMENTS_MAX + 1]; /* of the tables seen, by gpu, segment */
};

static bool hold(struct walk *w, bool ok, int number, const char *what)
{
    if (ok || w->number != 0) return w->number == 0;
    w->number = number;
    w->what = what;
    return false;
}

/* ---- claims and bindings: 1, 11, 18 ---- */

/* Pages that a queued map is still going to bind are owned; those that were freed have a hole. */
static void check_pending(struct walk *w, struct vmm_space *sp, const struct vmm_request *r)
{
    const struct vmm_hole *h = r->holes;
    for (uint64_t at = r->range.start; at < r->range.end && w->number == 0;) {
        while (h != NULL && h->range.end <= at) h = h->next;
        if (h != NULL && h->range.start <= at) {
            at = h->range.end;
            continue;
        }
        const struct span *c = span_find(sp->claims, at);
        hold(w, c != NULL, 18, "a queued map is going to bind pages that nobody owns");
        if (c != NULL) at = c->end;
    }
    hold(w, !r->executed, 18, "an executed map is still queued in its space");
    for (h = r->holes; h != NULL; h = h->next)
        hold(w, range_contains(r->range, h->range), 18, "a hole lies outside its queued map");
}

static void check_bindings(struct walk *w, struct vmm_space *sp)
{
    uint64_t last_end = 0, n = 0;
    hold(w, span_check(sp->claims) == NULL, 1, "the claims of a space overlap or their index is damaged");
    hold(w, tree_check(&sp->bindings), 1, "the tree of bindings is damaged");
    TREE_FOREACH(it, &sp->bindings) {
        struct vmm_binding *b = tree_entry(it, struct vmm_binding, node);
        struct span *c = span_find(sp->claims, b->node.key);
        hold(w, b->node.key >= last_end && b->end > b->node.key, 1, "two bindings overlap");
        hold(w, c != NULL && b->end <= c->end, 1, "a binding lies in no claim, or in two");
        hold(w, b->space == sp, 11, "a binding names another space");
        hold(w, (b->target == TARGET_ALLOC) == list_is_linked(&b->on_alloc), 11,
             "a binding is missing from the list of its allocation");
        last_end = b->end;
        n++;
        w->bound += b->target == TARGET_ALLOC;
    }
    LIST_FOREACH(it, &sp->pending) check_pending(w, sp, list_entry(it, struct vmm_request, on_pending));
    hold(w, n == sp->binding_count, 1, "the number of bindings is wrong");
    hold(w, list_count(&sp->pending) == sp->pending_count, 18, "the number of queued maps is wrong");
}

/* ---- page tables: 2, 3 ---- */

static void expect_entry(struct walk *w, struct vmm_space *sp, struct vmm_table *leaf, uint32_t i,
                         uint64_t va, struct vmm_binding *b)
{
    struct vidmm_adapter *ad = sp->ad;
    struct vidmm_pte_kind kind = { 0 };
    uint64_t address = 0, left;
    if (!hold(w, ad->ops->pte_decode(ad->kmd, 0, leaf->cpu, i, &kind, &address), 2,
              "an entry cannot be decoded"))
        return;
    bool valid = (kind.flags & VIDMM_PTE_VALID) != 0, zero = (kind.flags & VIDMM_PTE_ZERO) != 0;
    bool shown = b != NULL && (b->target != TARGET_ALLOC || b->open->al->state == PLACE_LIVE);
    if (!hold(w, valid == shown, 2,
              shown ? "an entry is invalid although its binding is resident"
                    : "an entry is valid although nothing resident is bound there"))
        return;
    if (!shown) return;
    if (!hold(w, zero == (b->target == TARGET_ZERO), 2, "an entry is zero and should not be, or reversed"))
        return;
    uint64_t at = b->offset + (va - b->node.key), want = at;
    if (b->target == TARGET_ZERO) return;
    uint32_t caps = ad->info.mmu_flags;
    uint32_t segment = b->target == TARGET_ALLOC ? b->open->al->segment : VMM_SYSTEM;
    bool read_only = (caps & VIDMM_MMU_READ_ONLY) && !(b->prot & VIDMM_PROT_WRITE);
    bool no_execute = (caps & VIDMM_MMU_NO_EXECUTE) && !(b->prot & VIDMM_PROT_EXECUTE);
    hold(w, kind.segment == segment, 2, "an entry names another segment than its binding's placement");
    hold(w, segment == VMM_SYSTEM || kind.gpu == vmm_gpu_shown(sp, b->open->al), 2,
         "an entry names another gpu's memory");
    hold(w, read_only == ((kind.flags & VIDMM_PTE_READ_ONLY) != 0) &&
            no_execute == ((kind.flags & VIDMM_PTE_NO_EXECUTE) != 0), 2, "an entry grants other access");
    if (b->target == TARGET_ALLOC) want = vmm_place_run(b->open->al, b->open->al->segment, at, &left);
    hold(w, address == want, 2, "an entry names another page than its binding's placement");
}

/* Can entries be looked at, and are they what they shall be? Those that the GPU writes come with a batch. */
static bool readable(const struct vmm_space *sp, const struct vmm_table *t)
{
    if (sp->ad->ops->pte_decode == NULL || sp->ad->lost || sp->dropped || t->cpu == NULL) return false;
    return !vmm_gpu_writes(sp->ad) || (!vmm_owed_any(sp) && !vmm_space_flush_pending(sp));
}

static struct vmm_binding *binding_at(const struct vmm_space *sp, uint64_t va)
{
    struct tree_node *n = tree_floor(&sp->bindings, va);
    struct vmm_binding *b = n != NULL ? tree_entry(n, struct vmm_binding, node) : NULL;
    return b != NULL && b->end > va ? b : NULL;
}

/* The entry shows a page of a leaf table of the process, or nothing. */
static void expect_shown(struct walk *w, struct vmm_space *sp, const struct vmm_table *leaf, uint32_t i,
                         uint64_t va)
{
    struct vidmm_adapter *ad = sp->ad;
    struct vidmm_pte_run run;
    struct vidmm_pte_kind kind = { 0 };
    uint64_t address = 0, end = va + VIDMM_PAGE_SIZE;
    (void)vmm_privileged_derive(sp, va, &end, &run);
    bool ok = ad->ops->pte_decode(ad->kmd, 0, leaf->cpu, i, &kind, &address);
    bool valid = (kind.flags & VIDMM_PTE_VALID) != 0, shown = run.attr != sp->tables.invalid[0].attr;
    hold(w, ok && valid == shown, 2, "a page table is shown that is not there, or the reverse");
    hold(w, !shown || address == run.address, 2, "another page is shown than a page table's");
}

static uint64_t promised_by(const struct vidmm_queue *q, const struct vmm_space *sp, struct range leaf)
{
    uint64_t pages = 0;
    if (q->ad != sp->ad) return 0;
    LIST_FOREACH(it, &q->requests) {
        const struct vmm_request *r = list_entry(it, struct vmm_request, link);
        struct range held = { r->range.start, r->pinned_end };
        if (r->kind == REQ_MAP) pages += range_size(range_intersect(leaf, held)) >> VIDMM_PAGE_SHIFT;
    }
    return pages;
}

/* Pages of a leaf that accepted maps hold until they execute. */
static uint64_t promised(const struct vmm_space *sp, struct range leaf)
{
    uint64_t pages = 0;
    if (vmm_is_privileged(sp)) return 0; /* nothing is ever queued for it */
    LIST_FOREACH(it, &sp->pending) {
        const struct vmm_request *r = list_entry(it, struct vmm_request, on_pending);
        struct range held = { r->range.start, r->pinned_end };
        if (r->update != NULL) pages += range_size(range_intersect(leaf, held)) >> VIDMM_PAGE_SHIFT;
    }
    LIST_FOREACH(di, &sp->proc->devices) {
        const struct vidmm_device *d = list_entry(di, struct vidmm_device, on_process);
        LIST_FOREACH(qi, &d->queues)
            pages += promised_by(list_entry(qi, struct vidmm_queue, on_device), sp, leaf);
    }
    return pages;
}

static void check_leaf(struct walk *w, struct vmm_space *sp, struct vmm_table *leaf, uint64_t start)
{
    uint32_t bound = 0;
    for (uint32_t i = 0; i < leaf->entries; i++) {
        uint64_t va = start + ((uint64_t)i << VIDMM_PAGE_SHIFT);
        struct vmm_binding *b = binding_at(sp, va);
        if (b != NULL) bound++;
        if (!readable(sp, leaf)) continue;
        if (vmm_privileged_shows(sp, va)) expect_shown(w, sp, leaf, i, va);
        else expect_entry(w, sp, leaf, i, va, b);
    }
    struct range all = { start, start + ((uint64_t)leaf->entries << VIDMM_PAGE_SHIFT) };
    bool shows = vmm_privileged_shows(sp, start); /* tables: there for good */
    hold(w, (shows ? leaf->entries : bound + promised(sp, all)) == leaf->live, 3,
         "live of a leaf table differs from the pages bound or promised below it");
    hold(w, leaf->live > 0, 3, "an empty leaf table still exists");
}

static void expect_link(struct walk *w, const struct vidmm_adapter *ad, const struct vmm_table *t, uint32_t i)
{
    struct vidmm_pte_kind kind = { 0 };
    uint64_t address = 0;
    bool ok = ad->ops->pte_decode(ad->kmd, t->level, t->cpu, i, &kind, &address);
    bool valid = (kind.flags & VIDMM_PTE_VALID) != 0;
    const struct vmm_table *c = t->child[i];
    hold(w, ok && valid == (c != NULL), 3, "an upper entry is valid without a table, or reversed");
    if (c == NULL) return;
    hold(w, address == c->address && kind.segment == c->segment, 3, "an upper entry names another table");
    hold(w, c->parent == t && c->index == i && c->level + 1 == t->level, 3, "the tree of tables is damaged");
}

static void count_pages(struct walk *w, const struct vidmm_adapter *ad, const struct vmm_table *t)
{
    const struct vmm_segment *seg = &ad->segment[t->segment];
    if (t->segment == VMM_SYSTEM) return;
    uint64_t n = div_up(t->bytes, 1ull << seg->page_shift);
    hold(w, !pagepool_is_free(&seg->pool, (uint32_t)(t->address >> seg->page_shift), 1), 5,
         "the page of a table is free in its pool");
    w->table_pages[ad->gpu][t->segment] += n;
}

/* Tables that are not linked yet: a root to come, and what queued maps hold for it. */
static uint64_t check_spare_tables(struct walk *w, struct vmm_space *sp)
{
    uint64_t n = 0;
    if (sp->pending_root != NULL) {
        count_pages(w, sp->ad, sp->pending_root);
        n++;
    }
    LIST_FOREACH(it, &sp->pending) {
        const struct vmm_request *r = list_entry(it, struct vmm_request, on_pending);
        LIST_FOREACH(li, &r->new_leaves) {
            count_pages(w, sp->ad, list_entry(li, struct vmm_table, limbo));
            n++;
        }
        if (r->new_root == NULL) continue;
        count_pages(w, sp->ad, r->new_root);
        n++;
    }
    return n;
}

static void check_tables(struct walk *w, struct vmm_space *sp)
{
    uint64_t n = 0;
    for (struct vmm_table *t = sp->tables.root; t != NULL && w->number == 0; t = vmm_table_next(t)) {
        n++;
        count_pages(w, sp->ad, t);
        if (t->level == 0) {
            if (sp->proc != NULL) check_leaf(w, sp, t, vmm_table_start(sp, t));
            continue;
        }
        uint32_t children = 0;
        for (uint32_t i = 0; i < t->entries && w->number == 0; i++) {
            children += t->child[i] != NULL;
            if (readable(sp, t)) expect_link(w, sp->ad, t, i);
        }
        hold(w, children == t->live, 3, "live of an upper table differs from its children");
        hold(w, children > 0 || t->parent == NULL, 3, "an empty upper table still exists");
    }
    n += check_spare_tables(w, sp);
    hold(w, n == sp->tables.count, 3, "the number of tables of a space is wrong");
}

/* A flush that is owed must be found by the next batch, and a table may only wait for a batch that comes. */
static void check_flushes(struct walk *w, const struct vmm_space *sp)
{
    bool owed = sp->flush_all || sp->flush_count > 0;
    hold(w, !owed || list_is_linked(&sp->on_flush), 5, "a flush is owed and nobody will emit it");
    hold(w, !owed || sp->flush_seq == sp->ad->batch_next, 5, "a flush is owed to a batch that is gone");
    hold(w, !vmm_owed_any(sp) || (list_is_linked(&sp->on_flush) && sp->flush_seq == sp->ad->batch_next), 5,
         "entries are owed and nobody will write them");
    hold(w, sp->flush_seq <= sp->ad->batch_next && sp->gate_seq <= sp->ad->batch_next, 5,
         "a space waits for a batch that was never begun");
}

static void check_limbo(struct walk *w, const struct vidmm_adapter *ad)
{
    LIST_FOREACH(it, &ad->limbo) {
        const struct vmm_table *t = list_entry(it, struct vmm_table, limbo);
        hold(w, t->parent == NULL, 5, "a table that waits for its flush is still linked");
        hold(w, t->limbo_seq <= ad->batch_next, 5, "a table waits for a batch that was never begun");
        count_pages(w, ad, t);
    }
}

/* ---- pages: 4, 5 ---- */

static uint64_t check_extents(struct walk *w, const struct vmm_alloc *al, const struct vmm_segment *seg)
{
    const struct vmm_move *m = &al->ad->move;
    uint64_t used = 0;
    bool here = al->segment == seg->id || (m->al == al && m->to == seg->id);
    for (uint32_t i = 0; here && i < al->ext_count; i++) {
        hold(w, !pagepool_is_free(&seg->pool, al->ext[i].page, 1), 5, "a page in use is free in its pool");
        used += al->ext[i].count;
    }
    return used;
}

static void check_segment(struct walk *w, const struct vidmm_adapter *ad, const struct vmm_segment *seg)
{
    uint64_t used = seg->table_pages;
    LINK_FOREACH(g, ad) {
        LIST_FOREACH(it, &g->allocs) {
            const struct vmm_alloc *al = list_entry(it, struct vmm_alloc, on_adapter);
            if (vmm_alloc_uses(al, ad)) used += check_extents(w, al, seg);
        }
    }
    hold(w, seg->table_pages == w->table_pages[ad->gpu][seg->id], 4,
         "the pages of page tables are counted wrong");
    hold(w, pagepool_check(&seg->pool), 4, "a page pool is damaged");
    hold(w, used == pagepool_used_pages(&seg->pool), 4, "pages of a segment are lost or owned twice");
}

/* ---- physical mode: 9, 13 ---- */

static void check_physical(struct walk *w, const struct vmm_alloc *al)
{
    const struct vidmm_adapter *ad = al->ad;
    bool home = al->segment == VMM_SYSTEM, moving = ad->move.al == al, live = al->state == PLACE_LIVE;
    hold(w, home || al->ext_count <= 1, 13, "what is accessed physically is in pieces");
    if (moving) return;
    hold(w, (al->aperture_count > 0) == (live && home), 13,
         "what is accessed physically and resident at home is not in the aperture, or the reverse");
}

static bool displays(const struct vmm_display *y, const struct vmm_alloc *al)
{
    const struct vidmm_open *const on[] = { y->wanted, y->coming, y->shown, y->leaving };
    for (int i = 0; i < 4; i++)
        if (on[i] != NULL && on[i]->al == al) return true;
    return false;
}

static void check_aperture(struct walk *w, const struct vidmm_adapter *ad)
{
    uint64_t end = 0, bytes = 0;
    LIST_FOREACH(it, &ad->in_aperture) {
        const struct vmm_alloc *al = list_entry(it, struct vmm_alloc, on_aperture);
        hold(w, al->aperture_count == al->pages, 13, "a range of the aperture is too short");
        hold(w, al->physical || displays(&ad->display, al), 13, "somebody is in the aperture for nothing");
        hold(w, al->aperture_page >= end, 4, "two ranges of the aperture overlap");
        end = (uint64_t)al->aperture_page + al->aperture_count;
        bytes += vmm_alloc_bytes(al);
    }
    hold(w, end <= ad->aperture_pages, 4, "a range lies beyond what the aperture can map");
    hold(w, bytes == ad->counters->aperture_bytes, 4, "the bytes of the aperture are counted wrong");
}

/* Lists of a packet hold their opens; on an engine, its addresses are those of this moment. */
static uint32_t check_lists(struct walk *w, const struct vmm_packet *p, bool running)
{
    const struct vmm_dma *m = p->dma;
    for (uint32_t i = 0; m != NULL && i < m->list_count; i++) {
        struct vidmm_gpu_address at = vmm_aperture_address(m->open[i]->al->ad, m->open[i]->al);
        bool same = m->list[i].segment == at.segment && m->list[i].address == at.offset;
        hold(w, m->open[i]->refs > 0, 13, "a queued list does not hold its allocation");
        hold(w, !running || (at.segment != 0 && same), 13, "a packet runs with an address of the past");
    }
    return m != NULL ? m->list_count : 0;
}

static void check_references(struct walk *w, const struct vidmm_device *d)
{
    uint64_t listed = 0, held = 0;
    LIST_FOREACH(ci, &d->contexts) {
        const struct vidmm_context *c = list_entry(ci, struct vidmm_context, on_device);
        LIST_FOREACH(pi, &c->packets)
            listed += check_lists(w, list_entry(pi, struct vmm_packet, link), false);
    }
    LINK_FOREACH(g, w->ad) {
        for (uint32_t i = 0; i < g->info.node_count; i++) {
            LIST_FOREACH(pi, &g->node[i].running) {
                const struct vmm_packet *p = list_entry(pi, struct vmm_packet, link);
                if (p->ctx != NULL && p->ctx->dev == d) listed += check_lists(w, p, true);
            }
        }
    }
    LIST_FOREACH(it, &d->opens) held += list_entry(it, struct vidmm_open, on_device)->refs;
    hold(w, listed == held, 13, "the references of queued lists are counted wrong");
}

/* ---- residency: 6, 7, 8, 9, 12, 17 ---- */

static void check_plan(struct walk *w, const struct vidmm_adapter *ad, const uint64_t *planned,
                       const uint64_t *counted)
{
    for (uint32_t id = 1; id <= ad->segment_count; id++) {
        const struct vmm_segment *seg = &ad->segment[id];
        uint64_t held = (uint64_t)max_u64(seg->table_reserve, seg->table_pages) << seg->page_shift;
        hold(w, planned[id] == counted[id], 9, "the plan of a device is counted wrong");
        hold(w, planned[id] == 0 || planned[id] + held <= seg->bytes, 9,
             "a device requires more of a segment than it can hold");
    }
}

/* Inv. 9: the plan covers what can only be in memory segments, and fits beside the tables. */
static void check_admission(struct walk *w, const struct vidmm_device *d)
{
    uint64_t planned[VIDMM_GPUS_MAX][VIDMM_SEGMENTS_MAX + 1] = { { 0 } };
    uint32_t opens = 0, aperture = 0;
    LIST_FOREACH(it, &d->required) {
        const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_required);
        if (op->al->physical) aperture += vmm_aperture_need(op->al);
        if (op->al->segments & 1u) continue;
        opens++;
        planned[op->al->ad->gpu][op->plan] += vmm_alloc_bytes(op->al);
        hold(w, (op->al->segments >> op->plan & 1u) != 0, 9, "an open is planned where it may not be");
    }
    hold(w, aperture == d->aperture_pages, 9, "the aperture pages of a device are counted wrong");
    hold(w, aperture == 0 || aperture <= w->ad->aperture_pages, 9,
         "a device requires more of the aperture than it can hold");
    hold(w, opens == d->memory_only, 8, "the opens that need memory segments are counted wrong");
    LINK_FOREACH(g, w->ad) check_plan(w, g, planned[g->gpu], d->planned[g->gpu]);
}

/* Inv. 14: a pool that was required when an update of it was accepted, or since, still is. */
static void check_pins(struct walk *w, const struct vidmm_device *d)
{
    LIST_FOREACH(it, &d->opens) {
        const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_device);
        uint32_t holds = 0;
        SPACE_FOREACH(sp, d->proc) {
            LIST_FOREACH(pi, &sp->pending) {
                const struct vmm_request *r = list_entry(pi, struct vmm_request, on_pending);
                holds += r->update != NULL && r->open == op;
            }
        }
        hold(w, holds == op->holds, 14, "the queued updates that name a pool are counted wrong");
        hold(w, !op->pinned || (holds > 0 && list_is_linked(&op->on_required)), 14,
             "a pool left the required list while an update of it is queued");
        hold(w, holds == 0 || op->pinned || !list_is_linked(&op->on_required), 14,
             "a required pool is not pinned by its queued updates");
    }
    LIST_FOREACH(it, &d->contexts) {
        const struct vmm_companion *k = list_entry(it, struct vidmm_context, on_device)->companion;
        if (k == NULL) continue;
        hold(w, list_count(&k->updates) == k->count && k->count <= VIDMM_UPDATES_MAX, 14,
             "the updates of a companion are counted wrong");
        hold(w, (k->count > 0) == list_is_linked(&k->on_adapter), 14, "nobody serves a companion's updates");
    }
}

/* Inv. 25. */
static void check_offers(struct walk *w, const struct vidmm_device *d)
{
    LIST_FOREACH(it, &d->opens) {
        const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_device);
        bool waits = op->offer != 0 && !op->offered && !op->dying;
        hold(w, op->offer != 0 || !op->offered, 26, "an open is treated as offered and is not");
        hold(w, waits == list_is_linked(&op->on_offering), 26, "an offer will never be in effect");
        hold(w, op->offer == 0 || op->dying || (op->locks == 0 && op->pins == 0), 26,
             "an offered open is locked or the ring of a doorbell");
        hold(w, !op->offered || op->refs == 0, 26, "a packet names what is offered");
    }
}

static void check_holds(struct walk *w, const struct vidmm_device *d)
{
    uint32_t holds = 0;
    LIST_FOREACH(it, &d->opens) {
        const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_device);
        hold(w, !op->held || op->al == op->al->ad->move.al, 17, "an open is held for a move that is over");
        holds += op->held;
    }
    hold(w, holds == d->holds, 17, "a device is stopped and nobody will let it go on");
}

/* Values of one queue grow, the newest is the one issued last, and none that waits was signalled. */
static uint32_t check_queue(struct walk *w, const struct vidmm_queue *q)
{
    uint64_t last = vmm_fence_load(q->fence);
    uint32_t asking = 0;
    bool executed = true;
    hold(w, last <= q->issued || last == UINT64_MAX, 10, "a paging fence is ahead of what was issued");
    LIST_FOREACH(it, &q->requests) {
        const struct vmm_request *r = list_entry(it, struct vmm_request, link);
        hold(w, r->fence_value > last && r->fence_value <= q->issued, 10,
             "the values of a queue are out of order");
        hold(w, executed || !r->executed, 10, "a request was executed before an earlier one of its queue");
        last = r->fence_value;
        executed = r->executed;
        asking += r->kind == REQ_RESIDENT;
    }
    hold(w, list_empty(&q->requests) || last == q->issued, 10, "the newest request lacks the newest value");
    hold(w, list_empty(&q->requests) == !list_is_linked(&q->on_active), 10,
         "a queue with requests is not served");
    return asking;
}

static void check_hwqueue(struct walk *w, const struct vidmm_hwqueue *q)
{
    uint64_t number = q->submitted, at = vmm_fence_load(q->progress);
    for (struct list *it = q->entries.prev; it != &q->entries; it = it->prev) {
        const struct vmm_hwentry *e = list_entry(it, struct vmm_hwentry, link);
        hold(w, e->number == number--, 23, "an entry of a hardware queue is not counted");
    }
    bool lost = q->ctx->dev->state != VIDMM_DEVICE_ACTIVE;
    hold(w, lost || q->user || at <= q->last_progress, 23, "a progress fence shows what was never submitted");
    hold(w, atomic_load_explicit(&q->retired, memory_order_acquire) <= q->submitted, 23,
         "a hardware queue retired more than it got");
}

static void check_doorbell(struct walk *w, const struct vidmm_hwqueue *q)
{
    const struct vidmm_doorbell *d = q->doorbell;
    if (d == NULL) return;
    bool active = q->ctx->dev->state == VIDMM_DEVICE_ACTIVE, up = list_is_linked(&d->on_adapter);
    uint32_t status = __atomic_load_n(d->status, __ATOMIC_RELAXED);
    hold(w, d->desc.ring->pins > 0 && d->desc.control->pins > 0, 24, "the ring of a doorbell may go");
    hold(w, active || (!up && status == VIDMM_DOORBELL_DISCONNECTED_ABORT), 24,
         "a doorbell of a lost device is connected");
    hold(w, up == (status <= VIDMM_DOORBELL_CONNECTED_NOTIFY), 24, "the status of a doorbell is wrong");
    hold(w, !up || (status == VIDMM_DOORBELL_CONNECTED) == (q->ctx->state == HW_RUNNING), 24,
         "a doorbell does not tell that its context is suspended");
}

static uint32_t check_hwcontext(struct walk *w, const struct vidmm_hwcontext *c)
{
    const struct vidmm_device *d = c->dev;
    bool may = d->state == VIDMM_DEVICE_ACTIVE;
    LIST_FOREACH(it, &c->queues) {
        check_hwqueue(w, list_entry(it, struct vidmm_hwqueue, on_context));
        check_doorbell(w, list_entry(it, struct vidmm_hwqueue, on_context));
    }
    hold(w, may || c->state != HW_RUNNING, 22, "a hardware context of a lost device was not stopped");
    hold(w, c->state == HW_SUSPENDED || c->root_version == d->proc->on[c->ad->gpu]->tables.root_version, 22,
         "a hardware context executes under an old root");
    return c->state != HW_SUSPENDED;
}

static void check_device(struct walk *w, struct vidmm_device *d)
{
    uint32_t missing = 0, required = 0, running = 0, taken = 0;
    LIST_FOREACH(it, &d->opens) {
        const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_device);
        bool lingers = list_is_linked(&op->on_lingering);
        hold(w, (op->resident > 0 || lingers) == list_is_linked(&op->on_required), 8,
             "a required open is not on the list");
        if (op->resident == 0 && !lingers) continue;
        required++;
        if (op->offered) continue;
        missing += op->al->state != PLACE_LIVE;
        taken += op->arrived && op->al->state != PLACE_LIVE;
        hold(w, op->arrived || op->al->state != PLACE_LIVE, 22, "resident memory is not promised to anybody");
    }
    hold(w, taken == d->taken, 22, "device.taken is wrong");
    hold(w, required == list_count(&d->required), 8, "the required list holds something else");
    hold(w, missing == d->missing, 7, "device.missing is wrong");
    hold(w, d->state == VIDMM_DEVICE_ACTIVE || missing == 0, 17, "a lost device still waits for memory");
    hold(w, d->state != VIDMM_DEVICE_ACTIVE || !w->ad->removed, 19, "a device outlived its adapter");
    LIST_FOREACH(it, &d->contexts) running += list_entry(it, struct vidmm_context, on_device)->running;
    LINK_FOREACH(g, w->ad) {
        running += g->updating != NULL && g->updating->ctx->dev == d;
        hold(w, d->state != VIDMM_DEVICE_ACTIVE || !g->lost || !vmm_device_uses(d, g), 19,
             "a device outlived a gpu that it uses");
    }
    LIST_FOREACH(it, &d->hwcontexts)
        running += check_hwcontext(w, list_entry(it, struct vidmm_hwcontext, on_device));
    hold(w, running == d->running, 12, "the number of running packets is wrong");
    uint32_t asking = 0;
    LIST_FOREACH(it, &d->queues) asking += check_queue(w, list_entry(it, struct vidmm_queue, on_device));
    hold(w, asking == d->asking, 17, "a queued MakeResident is not counted");
    check_admission(w, d);
    check_pins(w, d);
    check_offers(w, d);
    check_references(w, d);
    check_holds(w, d);
}

/* ---- sync objects: 20, 21 ---- */

static void check_sync(struct walk *w, const struct vidmm_sync *s)
{
    uint64_t held = 0, refs = 0;
    LIST_FOREACH(it, &s->stakes) {
        const struct vmm_stake *k = list_entry(it, struct vmm_stake, on_sync);
        hold(w, k->sync == s && list_is_linked(&k->on_device), 20, "a stake names another sync object");
        hold(w, k->refs > 0 || k->held > 0, 20, "a stake in nothing still exists");
        held += k->held;
        refs += k->refs;
    }
    hold(w, refs == s->refs, 20, "the points that name a sync object are counted wrong");
    hold(w, s->free <= s->max, 20, "a sync object has more units than its maximum");
    hold(w, s->kind != VIDMM_SYNC_MUTEX || s->free + held == 1, 20, "a mutex is owned twice, or lost");
}

/* Gives how many waiters a device must have in the adapter's list. */
static uint64_t check_syncs(struct walk *w, const struct vidmm_device *d)
{
    uint64_t waiters = 0;
    LIST_FOREACH(it, &d->syncs) check_sync(w, list_entry(it, struct vidmm_sync, on_device));
    LIST_FOREACH(it, &d->contexts) {
        const struct vidmm_context *c = list_entry(it, struct vidmm_context, on_device);
        const struct vmm_packet *p = vmm_packet_head(c);
        if (p == NULL || p->kind != PACKET_WAIT || p->waiter.n == 0) continue;
        bool waits = c->running == 0 && !p->waiter.granted;
        hold(w, waits == list_is_linked(&p->waiter.link), 21, "a wait is forgotten, or waits too early");
        waiters += waits;
    }
    return waiters;
}

/* What a node is said to hold is what the contexts think they have there. */
static void check_nodes(struct walk *w, const struct vidmm_adapter *ad)
{
    for (uint32_t i = 0; i < ad->info.node_count; i++) {
        const struct vmm_node *n = &ad->node[i];
        uint64_t last = 0;
        hold(w, list_count(&n->running) == n->running_count, 12, "the packets on a node are counted wrong");
        LIST_FOREACH(it, &n->running) {
            const struct vmm_packet *p = list_entry(it, struct vmm_packet, link);
            hold(w, p->fence_id > last && p->fence_id <= n->next_fence, 12,
                 "packets on a node are out of order");
            uint32_t node = ad->info.paging_node;
            if (p->ctx != NULL) node = p->ctx->node;
            else if (p->companion != NULL) node = p->companion->ctx->companion_node;
            hold(w, node == i, 12,
                 "a packet runs on another node than its context's");
            last = p->fence_id;
        }
    }
}

/* ---- timeouts and loss: 19 ---- */

static void check_watch(struct walk *w, const struct vidmm_adapter *ad)
{
    hold(w, ad->lost == ad->silent, 19, "the hardware is left alone, or touched, without a reason");
    hold(w, !ad->lost || ad->move.al == NULL, 19, "something moves on an adapter that is gone");
    for (uint32_t i = 0; i < ad->info.node_count; i++) {
        const struct vmm_node *n = &ad->node[i];
        hold(w, !ad->lost || n->running_count == 0, 19, "a packet runs on an adapter that is gone");
        hold(w, n->blamed <= n->next_fence && (n->blamed == 0 || n->preempt_until != 0), 19,
             "a packet is to blame that was never there, or nobody was asked");
    }
}

static uint64_t check_process(struct walk *w, struct vidmm_process *p, uint64_t *waiters)
{
    uint64_t local = 0, missing = 0;
    SPACE_FOREACH(sp, p) {
        hold(w, sp->claims == p->space.claims, 15, "two gpus of a link have claims of their own");
        check_bindings(w, sp);
        check_tables(w, sp);
        check_flushes(w, sp);
    }
    for (uint32_t gpu = 0; gpu < w->ad->gpu_count; gpu++) {
        struct vmm_space *sp = vmm_privileged_of(p, gpu);
        if (sp->ad == NULL) continue;
        check_bindings(w, sp);
        check_tables(w, sp);
        check_flushes(w, sp);
    }
    LIST_FOREACH(it, &p->devices) {
        struct vidmm_device *d = list_entry(it, struct vidmm_device, on_process);
        check_device(w, d);
        *waiters += check_syncs(w, d);
        missing += d->missing;
        LIST_FOREACH(ri, &d->required) {
            const struct vidmm_open *op = list_entry(ri, struct vidmm_open, on_required);
            uint64_t bytes = vmm_alloc_copies(op->al) * vmm_alloc_bytes(op->al);
            if (op->resident > 0 && op->al->preferred != 0) local += bytes;
        }
    }
    hold(w, local == p->local_required, 8, "the bytes a process requires are wrong");
    return missing;
}

/* ---- shared addresses: 25 ---- */

static void check_home(struct walk *w, const struct vmm_alloc *al)
{
    uint64_t locks = 0;
    LIST_FOREACH(it, &al->opens) {
        const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_alloc);
        bool shares = op->dev->model == VIDMM_MODEL_IOMMU && !op->dying;
        locks += op->locks + op->keeps_home;
        hold(w, !shares || op->shared != 0, 25, "an open of a process' own addresses has none");
        hold(w, !shares || op->keeps_home, 25, "an allocation may leave the address at which it is used");
    }
    hold(w, locks == al->locks, 25, "the locks of an allocation are counted wrong");
}

static void check_alloc(struct walk *w, struct vmm_alloc *al)
{
    bool moving = al->ad->move.al == al;
    LIST_FOREACH(it, &al->bindings) {
        const struct vmm_binding *b = list_entry(it, struct vmm_binding, on_alloc);
        hold(w, b->target == TARGET_ALLOC && b->open->al == al, 11, "a reverse list holds a foreign binding");
        if (w->bound == 0) hold(w, false, 11, "a reverse list holds a binding that no space has");
        else w->bound--;
    }
    hold(w, al->state != PLACE_LIVE || !al->fresh, 6, "content is shown that was never made");
    hold(w, moving || al->state == PLACE_NONE || al->state == PLACE_LIVE, 6,
         "an allocation is stuck on its way");
    hold(w, al->state != PLACE_NONE || al->segment == VMM_SYSTEM, 6,
         "an evicted allocation left its bytes behind");
    hold(w, (al->segment != VMM_SYSTEM) == list_is_linked(&al->lru), 4,
         "an allocation is missing from its segment");
    hold(w, al->state != PLACE_LIVE || (al->segments >> al->segment & 1u), 9, "resident where it may not be");
    if (al->physical) check_physical(w, al);
    check_home(w, al);
    if (al->state != PLACE_GOING) return;
    LIST_FOREACH(it, &al->opens) {
        const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_alloc);
        hold(w, !op->held || op->dev->running == 0, 12, "memory moves under a packet");
    }
}

/* What is one gpu's, when the tables of all spaces have been seen. Gives the bytes of its allocations. */
static uint64_t check_gpu(struct walk *w, struct vidmm_adapter *ad)
{
    uint64_t live = 0;
    hold(w, !ad->sealed, 16, "the allocator is sealed between steps");
    check_tables(w, &ad->paging);
    check_flushes(w, &ad->paging);
    LIST_FOREACH(it, &ad->allocs) {
        struct vmm_alloc *al = list_entry(it, struct vmm_alloc, on_adapter);
        check_alloc(w, al);
        live += vmm_alloc_bytes(al);
    }
    check_limbo(w, ad);
    check_nodes(w, ad);
    check_watch(w, ad);
    check_aperture(w, ad);
    for (uint32_t id = 1; id <= ad->segment_count; id++)
        if (!(ad->segment[id].flags & VIDMM_SEGMENT_APERTURE)) check_segment(w, ad, &ad->segment[id]);
    return live;
}

int vidmm_verify(struct vidmm_adapter *ad, const char **what)
{
    struct walk w = { .ad = ad };
    uint64_t missing = 0, live = 0, waiters = 0;
    LIST_FOREACH(it, &ad->processes)
        missing += check_process(&w, list_entry(it, struct vidmm_process, on_adapter), &waiters);
    hold(&w, waiters == list_count(&ad->waiters), 21, "a waiter is not at the head of its context");
    hold(&w, missing == ad->missing, 17, "the sum of what is missing is wrong: somebody is forgotten");
    LINK_FOREACH(g, ad) live += check_gpu(&w, g);
    hold(&w, w.bound == 0, 11, "a binding is missing from the list of its allocation");
    hold(&w, live == ad->counters->alloc_bytes_live, 4, "the bytes of all allocations are wrong");
    const char *wrong = vmm_domain_wrong(ad);
    hold(&w, wrong == NULL, 27, wrong);
    if (what != NULL) *what = w.what;
    return w.number;
}

/* ---- the hash of the logical state: ids, ranges, counts; no pointers, no caches ---- */

static uint64_t hash_space(const struct vmm_space *sp, uint64_t h)
{
    struct span_index *claims = (struct span_index *)(uintptr_t)sp->claims; /* its queries are not const */
    for (const struct span *c = span_find_first(claims, 0); c != NULL; c = span_next(claims, c)) {
        h = hash_u64(h, c->start);
        h = hash_u64(h, c->end);
        h = hash_u64(h, c->kind);
    }
    TREE_FOREACH(it, &sp->bindings) {
        const struct vmm_binding *b = tree_entry(it, struct vmm_binding, node);
        h = hash_u64(h, b->node.key);
        h = hash_u64(h, b->end);
        h = hash_u64(h, b->offset);
        h = hash_u64(h, (uint64_t)b->target << 8 | b->prot);
        h = hash_u64(h, b->open != NULL ? b->open->id : 0);
    }
    LIST_FOREACH(it, &sp->pending) {
        const struct vmm_request *r = list_entry(it, struct vmm_request, on_pending);
        h = hash_u64(h, r->seq);
        for (const struct vmm_hole *hole = r->holes; hole != NULL; hole = hole->next)
            h = hash_u64(h, hole->range.start);
    }
    return hash_u64(h, sp->tables.root != NULL ? vmm_tables_coverage(sp) : 0);
}

static uint64_t hash_device(const struct vidmm_device *d, uint64_t h)
{
    h = hash_u64(h, d->id);
    h = hash_u64(h, d->state);
    h = hash_u64(h, d->missing);
    h = hash_u64(h, d->model);
    LIST_FOREACH(it, &d->contexts) {
        const struct vidmm_context *c = list_entry(it, struct vidmm_context, on_device);
        h = hash_u64(h, c->id);
        h = hash_u64(h, c->queued);
        h = hash_u64(h, c->running);
        h = hash_u64(h, vidmm_context_updates(c));
    }
    LIST_FOREACH(ci, &d->hwcontexts) {
        const struct vidmm_hwcontext *c = list_entry(ci, struct vidmm_hwcontext, on_device);
        h = hash_u64(h, c->id);
        LIST_FOREACH(it, &c->queues) {
            const struct vidmm_hwqueue *q = list_entry(it, struct vidmm_hwqueue, on_context);
            h = hash_u64(h, q->id);
            h = hash_u64(h, q->submitted);
            h = hash_u64(h, q->last_progress);
            if (q->doorbell != NULL) h = hash_u64(h, *q->doorbell->status);
        }
    }
    LIST_FOREACH(it, &d->queues) {
        const struct vidmm_queue *q = list_entry(it, struct vidmm_queue, on_device);
        h = hash_u64(h, q->id);
        h = hash_u64(h, q->issued);
        h = hash_u64(h, list_count(&q->requests));
    }
    LIST_FOREACH(it, &d->opens) {
        const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_device);
        h = hash_u64(h, op->id);
        h = hash_u64(h, (uint64_t)op->resident << 32 | op->pending);
        h = hash_u64(h, (uint64_t)op->locks << 8 | op->dying);
        h = hash_u64(h, op->holds);
        for (uint32_t i = 0; i < VIDMM_GPUS_MAX; i++) h = hash_u64(h, op->pool[i] != NULL);
        h = hash_u64(h, op->refs);
        h = hash_u64(h, (uint64_t)op->offer << 8 | (uint64_t)op->offered << 1 | op->dropped);
        h = hash_u64(h, op->al->id << 1 | op->read_only);
    }
    LIST_FOREACH(it, &d->fences) {
        const struct vidmm_fence *f = list_entry(it, struct vidmm_fence, on_device);
        h = hash_u64(h, f->id);
        h = hash_u64(h, vmm_fence_load(f));
    }
    LIST_FOREACH(it, &d->syncs) {
        const struct vidmm_sync *s = list_entry(it, struct vidmm_sync, on_device);
        h = hash_u64(h, s->id);
        h = hash_u64(h, (uint64_t)s->free << 32 | s->refs);
    }
    LIST_FOREACH(it, &d->stakes) {
        const struct vmm_stake *k = list_entry(it, struct vmm_stake, on_device);
        h = hash_u64(h, k->sync->id);
        h = hash_u64(h, k->held);
    }
    return h;
}

static uint64_t hash_gpu(const struct vidmm_adapter *ad, uint64_t h)
{
    h = hash_u64(h, ad->lost);
    LIST_FOREACH(it, &ad->allocs) {
        const struct vmm_alloc *al = list_entry(it, struct vmm_alloc, on_adapter);
        h = hash_u64(h, al->id);
        h = hash_u64(h, al->pages);
        h = hash_u64(h, (uint64_t)al->state << 8 | al->segment);
        h = hash_u64(h, al->priority);
        h = hash_u64(h, (uint64_t)al->aperture_page << 32 | al->aperture_count);
    }
    return h;
}

uint64_t vidmm_state_hash(const struct vidmm_adapter *ad)
{
    uint64_t h = hash_init();
    LIST_FOREACH(it, &ad->processes) {
        const struct vidmm_process *p = list_entry(it, struct vidmm_process, on_adapter);
        h = hash_u64(h, p->id);
        h = hash_u64(h, p->budget);
        h = hash_u64(h, p->pasid);
        SPACE_FOREACH(sp, p) h = hash_space(sp, h);
        for (uint32_t i = 0; i < ad->gpu_count; i++)
            if (p->privileged[i].space.ad != NULL) h = hash_space(&p->privileged[i].space, h);
        LIST_FOREACH(di, &p->devices) h = hash_device(list_entry(di, struct vidmm_device, on_process), h);
    }
    LINK_FOREACH(g, ad) h = hash_gpu(g, h);
    h = hash_u64(h, (uint64_t)ad->attaching << 1 | ad->attached);
    h = hash_u64(h, ad->next_id);
    return hash_u64(h, ad->next_seq);
}
