/* SPDX-License-Identifier: MIT */
/* batch.c — paging buffers: operations are appended to the open one; a batch ends when everything owed is
 * in it. Calls: build_paging_buffer, also for companions. Owns: adapter->buffer, batch_next, batch_done.
 *
 * Nothing else emits entries and flushes: what spaces owe is derived when its turn comes, space by space.
 * A batch may need several buffers (the driver says BUFFER_FULL): only the last one carries the batch's
 * number, so "batch n is done" means all its operations are. The paging engine works in order (R3). */
#include "core/core.h"

static struct vmm_buffer *open_buffer(struct vidmm_adapter *ad) { return &ad->buffer[ad->buffer_open]; }

static void submit(struct vidmm_adapter *ad, bool last)
{
    struct vmm_buffer *b = open_buffer(ad);
    b->busy = true;
    b->packet.kind = PACKET_PAGING;
    b->packet.va = b->kmd.gpu_va;
    b->packet.bytes = b->kmd.used;
    b->packet.flags = VIDMM_SUBMIT_PAGING | (b->kmd.used == 0 ? VIDMM_SUBMIT_NULL : 0);
    if (last) ad->batch_open = false;
    if (last) ad->slot_count = 0; /* tables may go when the batch is done */
    b->packet.seq = ++ad->lead->next_seq;
    b->packet.batch_seq = last ? ad->batch_next++ : 0;
    ad->counters->batches++;
    vmm_packet_push(ad, ad->info.paging_node, &b->packet);
    ad->buffer_open = (ad->buffer_open + 1) % VMM_BUFFERS;
}

void vmm_batch_complete(struct vidmm_adapter *ad, struct vmm_buffer *b)
{
    b->busy = false;
    b->kmd.used = 0;
    if (b->packet.batch_seq == 0) return;
    CHECK(b->packet.batch_seq == ad->batch_done + 1);
    ad->batch_done = b->packet.batch_seq;
}

/* A whole buffer that is not enough for anything: once more, then it is a broken driver. */
vidmm_status vmm_batch_build(struct vidmm_adapter *ad, struct vidmm_paging_buffer *b,
                             const struct vidmm_op *op, uint64_t *multipass)
{
    vidmm_status st = ad->ops->build_paging_buffer(ad->kmd, b, op, multipass);
    if (st == VIDMM_BUFFER_FULL && b->used == 0)
        st = ad->ops->build_paging_buffer(ad->kmd, b, op, multipass);
    return st == VIDMM_BUFFER_FULL && b->used == 0 ? VIDMM_FAILED : st;
}

/* EMIT_WAIT: every buffer is in flight; call again with the same op and multipass. */
enum vmm_emit vmm_batch_emit(struct vidmm_adapter *ad, const struct vidmm_op *op, uint64_t *multipass)
{
    vidmm_status st = VIDMM_BUFFER_FULL;
    while (st == VIDMM_BUFFER_FULL) {
        struct vmm_buffer *b = open_buffer(ad);
        if (ad->lost || b->busy || ad->updating != NULL) return EMIT_WAIT;
        st = vmm_batch_build(ad, &b->kmd, op, multipass);
        if (st == VIDMM_BUFFER_FULL) submit(ad, false);
    }
    if (st == VIDMM_OK) {
        ad->batch_open = true;
        return EMIT_DONE;
    }
    vmm_adapter_remove(ad); /* PAG-26: any other failure is fatal */
    return EMIT_WAIT;
}

/* What has been begun is finished before anything else. */
static bool push(struct vidmm_adapter *ad)
{
    struct vmm_emission *e = &ad->emission;
    if (e->active && vmm_batch_emit(ad, &e->op, &e->multipass) == EMIT_WAIT) return false;
    e->active = false;
    e->multipass = 0;
    return true;
}

/* Takes a range off the list: what comes meanwhile must not change it. false: no flush is owed. */
bool vmm_batch_take_flush(struct vmm_space *sp, struct vmm_emission *e)
{
    struct range r = { 0, 0 }; /* everything */
    if (!sp->flush_all && sp->flush_count == 0) return false;
    if (sp->flush_all) sp->flush_count = 0;
    else r = sp->flush[--sp->flush_count];
    sp->flush_all = false;
    e->op = (struct vidmm_op){ .code = VIDMM_OP_FLUSH_TLB };
    e->op.flush.process = sp->kmd_process;
    e->op.flush.root.segment = sp->tables.root->segment;
    e->op.flush.root.offset = sp->tables.root->address;
    e->op.flush.start_va = r.start;
    e->op.flush.end_va = r.end;
    sp->ad->counters->flushes++;
    return true;
}

/* Entries first, then the flushes that make them seen (PT-37). Other spaces' tables are written through
 * the paging space, so what it owes comes before. */
static bool emit_space(struct vidmm_adapter *ad, struct vmm_space *sp)
{
    while (push(ad)) {
        bool through = ad->info.update_mode == VIDMM_UPDATE_GPU_VIRTUAL;
        struct vmm_space *now = through && list_is_linked(&ad->paging.on_flush) ? &ad->paging : sp;
        enum vmm_owed_next next = vmm_owed_take(now, &ad->emission);
        if (next == OWED_SHOWN) continue;
        ad->emission.active = next == OWED_OP || vmm_batch_take_flush(now, &ad->emission);
        if (ad->emission.active) continue;
        CHECK(now->flush_seq == ad->batch_next);
        list_remove(&now->on_flush);
        ad->batch_open = true; /* somebody waits for it, also when all that was owed went away again */
        if (now == sp) return true;
    }
    return false;
}

enum vmm_emit vmm_batch_flushes(struct vidmm_adapter *ad)
{
    if (ad->updating != NULL) return EMIT_WAIT;
    for (struct list *l = list_first(&ad->flush_spaces); l != NULL; l = list_first(&ad->flush_spaces)) {
        if (!emit_space(ad, list_entry(l, struct vmm_space, on_flush))) return EMIT_WAIT;
    }
    return EMIT_DONE;
}

bool vmm_batch_step(struct vidmm_adapter *ad)
{
    if (ad->lost) return false;
    if (vmm_batch_flushes(ad) == EMIT_WAIT || !ad->batch_open || open_buffer(ad)->busy) return false;
    submit(ad, true);
    return true;
}

void vmm_batch_forget(struct vidmm_adapter *ad)
{
    for (uint32_t i = 0; i < VMM_BUFFERS; i++) {
        list_remove(&ad->buffer[i].packet.link);
        ad->buffer[i].busy = false;
        ad->buffer[i].kmd.used = 0;
    }
    LIST_FOREACH_SAFE(it, tmp, &ad->flush_spaces)
        vmm_space_forget_flushes(list_entry(it, struct vmm_space, on_flush));
    ad->buffer_open = 0;
    ad->batch_open = false;
    ad->slot_count = 0;
    ad->emission.active = false;
    ad->emission.multipass = 0;
    ad->batch_done = ad->batch_next++; /* also what was owed to the open one: TLBs are empty */
}
