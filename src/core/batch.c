/* SPDX-License-Identifier: MIT */
/* batch.c — paging buffers: operations are appended to the open one; a batch ends when everything owed is
 * in it. The only caller of build_paging_buffer. Owns: adapter->buffer, batch_next, batch_done.
 *
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
    b->packet.seq = ++ad->next_seq;
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

/* EMIT_WAIT: every buffer is in flight; call again with the same op and multipass. */
enum vmm_emit vmm_batch_emit(struct vidmm_adapter *ad, const struct vidmm_op *op, uint64_t *multipass)
{
    for (uint32_t empty = 0; empty <= 1; ) {
        struct vmm_buffer *b = open_buffer(ad);
        if (ad->lost || b->busy) return EMIT_WAIT;
        vidmm_status st = ad->ops->build_paging_buffer(ad->kmd, &b->kmd, op, multipass);
        if (st == VIDMM_OK) {
            ad->batch_open = true;
            return EMIT_DONE;
        }
        if (st != VIDMM_BUFFER_FULL) break;
        if (b->kmd.used > 0) submit(ad, false);
        else empty++; /* a whole buffer was not enough for anything: once more, then it is a broken driver */
    }
    vmm_adapter_remove(ad); /* PAG-26: any other failure is fatal */
    return EMIT_WAIT;
}

/* Takes a range off the list when its emission starts: what comes meanwhile must not change it. */
static void next_flush(struct vmm_space *sp)
{
    sp->emitting = true;
    sp->emit_range = (struct range){ 0, 0 }; /* everything */
    if (sp->flush_all) sp->flush_count = 0;
    else sp->emit_range = sp->flush[--sp->flush_count];
    sp->flush_all = false;
}

static bool emit_space(struct vidmm_adapter *ad, struct vmm_space *sp)
{
    while (sp->emitting || sp->flush_all || sp->flush_count > 0) {
        struct vidmm_op op = { .code = VIDMM_OP_FLUSH_TLB };
        if (!sp->emitting) next_flush(sp);
        op.flush.process = sp->kmd_process;
        op.flush.root.segment = sp->tables.root->segment;
        op.flush.root.offset = sp->tables.root->address;
        op.flush.start_va = sp->emit_range.start;
        op.flush.end_va = sp->emit_range.end;
        if (vmm_batch_emit(ad, &op, &sp->flush_multipass) == EMIT_WAIT) return false;
        sp->flush_multipass = 0;
        sp->emitting = false;
        ad->counters->flushes++;
    }
    CHECK(sp->flush_seq == ad->batch_next);
    list_remove(&sp->on_flush);
    return true;
}

enum vmm_emit vmm_batch_flushes(struct vidmm_adapter *ad)
{
    LIST_FOREACH_SAFE(it, tmp, &ad->flush_spaces) {
        if (!emit_space(ad, list_entry(it, struct vmm_space, on_flush))) return EMIT_WAIT;
    }
    return EMIT_DONE;
}

bool vmm_batch_step(struct vidmm_adapter *ad)
{
    if (ad->lost) return false; /* nothing is submitted any more */
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
    ad->batch_done = ad->batch_next++; /* also what was owed to the open one: TLBs are empty */
}
