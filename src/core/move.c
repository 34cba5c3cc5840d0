/* SPDX-License-Identifier: MIT */
/* move.c — brings one allocation from one place to another: page-in, eviction, demotion, promotion.
 * Owns: adapter->move. Calls: place.c, bind.c, syspage.c (scratch windows), batch.c. Keeps: invariants 5,
 * 6, 12.
 *
 *   STOP        devices that can reach it run nothing         (only when it is LIVE)
 *   INVALIDATE  entries of every mapping invalid, flush owed  (only when it is LIVE)
 *   PEERS       the other gpus of the link have flushed what named it    (only when it was LIVE)
 *   CHUNK/WAIT  [flushes][fill or transfer] as one batch, window by window
 *   FINISH      old pages released, new entries written, devices go on                          */
#include "core/core.h"

enum { MOVE_STOP, MOVE_INVALIDATE, MOVE_PEERS, MOVE_CHUNK, MOVE_EMIT, MOVE_WAIT, MOVE_FINISH };

static void hold_device(struct vidmm_open *op)
{
    struct vidmm_device *d = op->dev;
    op->held = true;
    d->holds++;
    if (d->running > 0) d->proc->ad->counters->suspends++;
}

static void release_devices(struct vmm_alloc *al)
{
    LIST_FOREACH(it, &al->opens) {
        struct vidmm_open *op = list_entry(it, struct vidmm_open, on_alloc);
        op->dev->holds -= op->held;
        op->held = false;
    }
}

static bool devices_idle(const struct vmm_alloc *al)
{
    LIST_FOREACH(it, &al->opens) {
        if (list_entry(it, struct vidmm_open, on_alloc)->dev->running > 0) return false;
    }
    return true;
}

/* What is mapped after the invalidation is invalid until the move is over: only before it, the device could
 * get in the way. */
void vmm_move_join(struct vidmm_open *op)
{
    const struct vmm_move *m = &op->al->ad->move;
    if (m->al == op->al && m->phase == MOVE_STOP) hold_device(op);
}

void vmm_move_begin(struct vidmm_adapter *ad, struct vmm_alloc *al, uint32_t to, bool live)
{
    CHECK(ad->move.al == NULL);
    CHECK(al->state == PLACE_NONE || al->state == PLACE_LIVE);
    ad->move = (struct vmm_move){ .al = al, .to = (uint8_t)to, .live = live, .phase = MOVE_STOP,
                                    .gpu = (uint8_t)ad->gpu, .since = ad->now };
    LIST_FOREACH(it, &al->opens) hold_device(list_entry(it, struct vidmm_open, on_alloc));
}

/* How the bytes get there: zeros are made, and what home still has is not copied again. */
static void choose_transfer(struct vidmm_adapter *ad)
{
    struct vmm_move *m = &ad->move;
    m->drop = m->al->segment != VMM_SYSTEM && m->to == VMM_SYSTEM && !m->live && vmm_offer_class(m->al) != 0;
    if (m->drop) vmm_offer_drop(ad, m->al); /* from here on a reclaim finds it gone */
    m->fill = m->to != VMM_SYSTEM && m->al->fresh;
    bool there = m->drop || m->al->unwritten || m->al->segment == VMM_SYSTEM;
    m->copy = !m->fill && !(m->to == VMM_SYSTEM && there);
}

static void invalidate(struct vidmm_adapter *ad)
{
    struct vmm_alloc *al = ad->move.al;
    bool leaves = al->segment != VMM_SYSTEM && ad->move.to == VMM_SYSTEM && al->state == PLACE_LIVE;
    if (leaves && !ad->move.live) ad->move.live = vmm_resid_stays(al); /* required again meanwhile */
    choose_transfer(ad);
    if (al->state == PLACE_LIVE) {
        LIST_FOREACH(it, &al->bindings) vmm_bind_invalidate(list_entry(it, struct vmm_binding, on_alloc));
        vmm_waits_peers(&ad->move.peers, al);
        vmm_place_state(al, PLACE_GOING, al->segment);
    } else {
        vmm_place_state(al, PLACE_COMING, al->segment);
    }
}

static void build_chunk(struct vidmm_adapter *ad)
{
    struct vmm_move *m = &ad->move;
    uint64_t total = vmm_alloc_bytes(m->al);
    uint64_t end = m->done + min_u64(total - m->done, VMM_SCRATCH_WINDOW);
    uint64_t dp = vmm_bind_paging_protection(m->al, m->done, &end);
    m->chunk = end - m->done;
    struct vmm_window from = { m->al, m->al->segment, m->gpu, m->done, m->chunk, dp }, to = from;
    to.segment = m->to;
    uint64_t src = m->fill ? 0 : vmm_scratch_map(ad, 0, &from), dst = vmm_scratch_map(ad, 1, &to);
    if (m->fill) {
        m->op = (struct vidmm_op){ .code = VIDMM_OP_VIRTUAL_FILL };
        m->op.fill.allocation = m->al->kmd_allocation;
        m->op.fill.allocation_offset = m->done;
        m->op.fill.bytes = m->chunk;
        m->op.fill.destination_va = dst;
        return;
    }
    m->op = (struct vidmm_op){ .code = VIDMM_OP_VIRTUAL_TRANSFER };
    m->op.transfer.allocation = m->al->kmd_allocation;
    m->op.transfer.allocation_offset = m->done;
    m->op.transfer.bytes = m->chunk;
    m->op.transfer.source_va = src;
    m->op.transfer.destination_va = dst;
    m->op.transfer.direction = m->to == VMM_SYSTEM ? VIDMM_LOCAL_TO_SYSTEM : VIDMM_SYSTEM_TO_LOCAL;
    if (m->done == 0) m->op.transfer.flags |= VIDMM_TRANSFER_START;
    if (m->done + m->chunk == total) m->op.transfer.flags |= VIDMM_TRANSFER_END;
}

/* No other gpu can reach the bytes any more; those that map it will. */
static void forget_gpus(struct vmm_alloc *al)
{
    al->seen = 0;
    LIST_FOREACH(it, &al->bindings)
        al->seen |= (uint8_t)(1u << list_entry(it, struct vmm_binding, on_alloc)->space->ad->gpu);
}

/* What is resident at home and accessed physically is mapped in the aperture; nothing else is. */
static bool ends_in_aperture(const struct vmm_move *m)
{
    return m->al->physical && m->live && m->to == VMM_SYSTEM;
}

static bool starts_in_aperture(const struct vmm_move *m)
{
    return m->al->aperture_count > 0 && m->al->segment == VMM_SYSTEM && !ends_in_aperture(m);
}

/* Operations of a chunk, each once, however often a buffer has to be waited for. */
static bool emit_ops(struct vidmm_adapter *ad)
{
    struct vmm_move *m = &ad->move;
    bool last = m->done + m->chunk == vmm_alloc_bytes(m->al);
    if (m->emitted < 1 && m->done == 0 && starts_in_aperture(m) &&
        vmm_aperture_emit(ad, m->al, false, &m->multipass) == EMIT_WAIT)
        return false;
    m->emitted = (uint8_t)max_u32(m->emitted, 1);
    if (m->emitted < 2 && (m->copy || m->fill) && vmm_batch_emit(ad, &m->op, &m->multipass) == EMIT_WAIT)
        return false;
    m->emitted = 2;
    return !last || !ends_in_aperture(m) ||
           vmm_aperture_emit(ad, m->al, true, &m->multipass) == EMIT_DONE;
}

/* The flushes come first in the buffer: of the mappings that were taken away, and of the windows. */
static bool emit_chunk(struct vidmm_adapter *ad)
{
    struct vmm_move *m = &ad->move;
    if (vmm_batch_flushes(ad) == EMIT_WAIT || !emit_ops(ad)) return false;
    m->emitted = 0;
    /* Nothing was owed and nothing is copied: what is in flight is all there is to wait for. */
    m->wait_seq = ad->batch_open ? ad->batch_next : ad->batch_next - 1;
    m->multipass = 0;
    return true;
}

static void count_move(struct vidmm_adapter *ad, bool was_live)
{
    const struct vmm_move *m = &ad->move;
    struct vidmm_counters *c = ad->counters;
    uint64_t bytes = vmm_alloc_bytes(m->al);
    if (m->to != VMM_SYSTEM) bytes *= vmm_alloc_copies(m->al);
    if (m->to == VMM_SYSTEM && m->al->segment == VMM_SYSTEM) { /* into the aperture, or out of it */
        if (!m->live) c->evictions++;
    } else if (m->fill) {
        c->zero_fills++;
        c->zero_fill_bytes += bytes;
    } else if (m->to != VMM_SYSTEM) {
        c->page_ins++;
        c->page_in_bytes += bytes;
        if (was_live) c->promotions++;
    } else if (!m->drop) {
        c->page_outs++;
        c->page_out_bytes += bytes;
        if (m->live) c->demotions++;
        else c->evictions++;
    }
}

/* For the break switch of PT-39: a table goes although contexts will need it. */
static void break_tables(struct vmm_alloc *al)
{
    LIST_FOREACH(pi, &al->ad->lead->processes) {
        struct vmm_space *sp = &list_entry(pi, struct vidmm_process, on_adapter)->space;
        struct tree_node *n = tree_first(&sp->bindings);
        if (n == NULL) continue;
        struct vmm_binding *b = tree_entry(n, struct vmm_binding, node);
        struct vidmm_pte_run run = { .count = 1 };
        run.attr = sp->ad->ops->pte_attr(sp->ad->kmd, &(struct vidmm_pte_kind){ .level = 0 });
        vmm_tables_write(sp, (struct range){ b->node.key, b->node.key + VIDMM_PAGE_SIZE }, &run, 1);
        vmm_space_flush(sp, (struct range){ b->node.key, b->end });
    }
}

static void finish(struct vidmm_adapter *ad)
{
    struct vmm_move *m = &ad->move;
    struct vmm_alloc *al = m->al;
    bool was_live = al->state == PLACE_GOING;
    count_move(ad, was_live);
    if (!ends_in_aperture(m)) vmm_aperture_release(ad, al);
    if (m->to == VMM_SYSTEM) {
        if (al->segment != VMM_SYSTEM) vmm_place_release(al);
        if (m->live) al->fresh = false;
        ad->room = true;
    } else {
        list_push_back(&ad->segment[m->to].lru, &al->lru);
        al->clean = !m->fill;
        al->fresh = false;
    }
    al->unwritten = false;
    vmm_place_state(al, m->live ? PLACE_LIVE : PLACE_NONE, m->to);
    bool stays = BROKEN(ad, SEG_06) && (was_live || !m->fill);
    if (m->live && !stays) vmm_place_show(al);
    if (BROKEN(ad, PT_39) && m->to == VMM_SYSTEM) break_tables(al);
    release_devices(al);
    vmm_scratch_forget(ad);
    m->al = NULL;
}

void vmm_move_cancel(struct vidmm_adapter *ad)
{
    struct vmm_alloc *al = ad->move.al;
    if (al == NULL) return;
    if (al->mirrored && al->state == PLACE_GOING && al->segment != VMM_SYSTEM) {
        /* The other gpus may still have it in their TLBs, and have their copies. */
        vmm_place_state(al, PLACE_LIVE, al->segment);
        vmm_place_show(al);
    }
    bool begun = al->state != PLACE_LIVE; /* else its entries still show where it is: there it stays */
    if (al->ext_count > 0 && (begun || ad->move.to != VMM_SYSTEM)) {
        uint8_t was = al->segment;
        if (ad->move.to != VMM_SYSTEM) al->segment = ad->move.to;
        vmm_place_release(al);
        al->segment = was;
    }
    if (begun) vmm_place_state(al, PLACE_NONE, VMM_SYSTEM);
    if (begun || al->segment != VMM_SYSTEM) vmm_aperture_release(ad, al);
    release_devices(al);
    vmm_scratch_forget(ad);
    ad->move.al = NULL;
}

bool vmm_move_waits(const struct vidmm_adapter *ad)
{
    const struct vmm_move *m = &ad->move;
    return m->al != NULL && m->phase == MOVE_STOP && m->al->state == PLACE_LIVE;
}

bool vmm_move_step(struct vidmm_adapter *ad)
{
    struct vmm_move *m = &ad->move;
    switch (m->phase) {
    case MOVE_STOP:
        if (m->al->state == PLACE_LIVE && !devices_idle(m->al)) return false;
        m->phase = MOVE_INVALIDATE;
        return true;
    case MOVE_INVALIDATE:
        invalidate(ad);
        m->phase = MOVE_PEERS;
        return true;
    case MOVE_PEERS: /* their paging engines are not in order with ours */
        if (!vmm_waits_passed(ad, &m->peers)) return false;
        forget_gpus(m->al);
        m->phase = MOVE_CHUNK;
        return true;
    case MOVE_CHUNK:
        m->chunk = vmm_alloc_bytes(m->al) - m->done;
        if (m->copy || m->fill) build_chunk(ad);
        m->phase = MOVE_EMIT;
        return true;
    case MOVE_EMIT:
        if (!emit_chunk(ad)) return false;
        m->phase = MOVE_WAIT;
        return true;
    case MOVE_WAIT:
        if (!vmm_batch_passed(ad, m->wait_seq)) return false;
        m->done += m->chunk;
        if (m->done == vmm_alloc_bytes(m->al) && vmm_mirror_next_copy(m)) m->done = 0;
        m->phase = m->done < vmm_alloc_bytes(m->al) ? MOVE_CHUNK : MOVE_FINISH;
        return true;
    default:
        finish(ad);
        return true;
    }
}
