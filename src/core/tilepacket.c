/* SPDX-License-Identifier: MIT */
/* tilepacket.c — the packets of companion contexts, where the driver's mode is GPU_VIRTUAL: they write the
 * entries that a tile update changes, through the privileged space, on the node that the driver named.
 * Owns: adapter->updating and what belongs to it. Calls: owed.c, batch.c (flushes), sched.c, the driver.
 *
 * An update has been applied to the bindings; what its space owes now is written here instead of by the
 * paging process: copied from where the privileged space shows the pool, or given. Entries that the paging
 * process has to write (of tables above the leaves) make the update wait for its batch as well.
 * Two engines write tables then, so one waits for the other:
 *
 *   wanted   no client's packet starts on the node, and what runs there is asked to stop after a slice
 *   begun    the node is idle (paging node: it works in order); no paging buffer is built any more
 *   packets  what paging buffers had to write before is written; one after the other, each the only one
 *   over     paging buffers go on, and one packet of a client goes before the next update on the node
 *
 * So packets are short: they wait for nothing, and nobody's work is between them. */
#include "core/core.h"

/* What the packets of a companion have to do with: all of one gpu. */
struct place {
    struct vidmm_adapter *ad;
    struct vmm_space *app, *privileged;
    struct vmm_kernel_buffer *kernel;
};

static struct place place_of(const struct vmm_companion *k)
{
    struct vidmm_adapter *ad = k->ctx->ad;
    struct vmm_privileged *v = &k->ctx->dev->proc->privileged[ad->gpu];
    return (struct place){ ad, k->ctx->dev->proc->on[ad->gpu], &v->space, &v->kernel };
}

/* ---- may it begin? ---- */

/* Nothing of the space is left for a batch that is open. */
static bool emitted(const struct vmm_space *sp)
{
    return !list_is_linked(&sp->on_flush) && sp->flush_seq < sp->ad->batch_next;
}

static bool node_free(const struct vidmm_adapter *ad, uint32_t node)
{
    const struct vmm_node *n = &ad->node[node];
    return n->running_count == 0 && list_empty(&n->paging) && n->preempt_until == 0 && n->group == 0;
}

static bool may_begin(struct vmm_companion *k)
{
    const struct place at = place_of(k);
    struct vidmm_adapter *ad = at.ad;
    uint32_t node = k->ctx->companion_node;
    if (ad->updating != NULL || ad->silent || k->ctx->dev->holds > 0) return false;
    if (node != ad->info.paging_node) ad->node[node].wanted = true;
    if (!emitted(at.app) || !emitted(at.privileged)) return false;
    return node == ad->info.paging_node || node_free(ad, node);
}

bool vmm_tile_packets_begin(struct vmm_companion *k)
{
    struct vidmm_adapter *ad = k->ctx->ad;
    if (ad->updating == NULL && may_begin(k)) {
        ad->updating = k;
        ad->updating_after = ad->batch_next - 1;
        ad->updating_more = true;
        ad->updating_runs = ad->updating_op.active = false;
        ad->node[k->ctx->companion_node].wanted = true;
        ad->node[k->ctx->companion_node].client_next = false;
        k->ctx->dev->running++;
    }
    if (ad->updating != k) return false;
    return k->ctx->companion_node == ad->info.paging_node || vmm_batch_passed(ad, ad->updating_after);
}

static void end(struct vidmm_adapter *ad)
{
    const struct vidmm_context *c = ad->updating->ctx;
    c->dev->running--;
    ad->node[c->companion_node].client_next = true;
    ad->updating = NULL;
}

/* Who wants a node says so again in every round. */
void vmm_tile_packets_round(struct vidmm_adapter *ad)
{
    for (uint32_t i = 0; i < ad->info.node_count; i++)
        ad->node[i].wanted = ad->updating != NULL && ad->updating->ctx->companion_node == i;
}

/* ---- operations ---- */

/* Entries of the privileged space that were in place when the packets began, and still are to be so. */
static bool settled(const struct place *p, uint64_t va, uint64_t bytes)
{
    struct vmm_table *t = vmm_leaf_find(p->privileged, va);
    const struct vmm_owed *o = t != NULL ? vmm_owed_of(t) : NULL;
    uint64_t at = (va & ((1ull << p->ad->shift[1]) - 1)) >> VIDMM_PAGE_SHIFT;
    return o != NULL && !o->fresh && (at + (bytes >> VIDMM_PAGE_SHIFT) <= o->first || at >= o->end);
}

/* Where the leaf table at va is shown; 0: it is not, or not yet. */
static uint64_t shown_at(const struct place *p, const struct vmm_space *of, uint64_t va)
{
    uint64_t at = vmm_privileged_table_va(of, va);
    return at != 0 && settled(p, at, p->ad->info.level[0].table_bytes) ? at : 0;
}

static struct vmm_owed *first_writable(const struct place *p)
{
    const struct vmm_space *sp = p->app;
    struct vmm_owed *o = vmm_owed_leaf(sp, NULL);
    while (o != NULL && (o->fresh || o->table->parent == NULL ||
                         shown_at(p, sp, vmm_table_start(sp, o->table)) == 0))
        o = vmm_owed_leaf(sp, o);
    return o;
}

/* Where the privileged space shows what is bound at va with the same rights; 0: it does not. */
static uint64_t pool_address(const struct vmm_space *sp, uint64_t va)
{
    struct tree_node *n = tree_floor(&sp->bindings, va);
    const struct vmm_binding *b = n != NULL ? tree_entry(n, struct vmm_binding, node) : NULL;
    if (b == NULL || b->end <= va || b->target != TARGET_ALLOC) return 0;
    const struct vmm_binding *pool = b->open->pool[sp->ad->gpu];
    if (pool == NULL || b->prot != pool->prot || b->driver_protection != pool->driver_protection) return 0;
    return pool->node.key + b->offset + (va - b->node.key);
}

/* TIL-13: entries as they are when the command executes. 0: they have to be given. */
static uint32_t copy_entries(const struct place *p, const struct vmm_owed *o, uint64_t va, uint32_t most)
{
    struct vidmm_adapter *ad = p->ad;
    uint64_t from = pool_address(p->app, va), leaf = (1ull << ad->shift[1]) - 1;
    uint64_t table = from != 0 ? shown_at(p, p->privileged, from) : 0;
    uint32_t count = min_u32(most, (uint32_t)((leaf + 1 - (from & leaf)) >> VIDMM_PAGE_SHIFT));
    if (table == 0 || !settled(p, from, (uint64_t)count << VIDMM_PAGE_SHIFT)) return 0;
    ad->copy.source_table = table;
    ad->copy.source_index = (uint32_t)((from & leaf) >> VIDMM_PAGE_SHIFT);
    ad->copy.destination_table = vmm_privileged_table_va(p->app, va);
    ad->copy.destination_index = o->first;
    ad->copy.count = count;
    ad->updating_op.op = (struct vidmm_op){ .code = VIDMM_OP_COPY_PAGE_TABLE_ENTRIES };
    ad->updating_op.op.copy.range = &ad->copy;
    ad->updating_op.op.copy.range_count = 1;
    return count;
}

static void next_entries(const struct place *p, struct vmm_owed *o)
{
    struct vidmm_adapter *ad = p->ad;
    struct vmm_space *sp = p->app;
    struct vmm_emission *e = &ad->updating_op;
    uint64_t va = vmm_table_start(sp, o->table) + ((uint64_t)o->first << VIDMM_PAGE_SHIFT);
    struct vidmm_update_page_table u = sp->tables.update;
    u.run_count = 1;
    uint64_t end = va + ((uint64_t)(o->end - o->first) << VIDMM_PAGE_SHIFT);
    end = vmm_bind_derive(sp, va, end, &u, e->run);
    uint32_t count = (uint32_t)((end - va) >> VIDMM_PAGE_SHIFT), copied = copy_entries(p, o, va, count);
    ad->counters->updates++;
    if (copied > 0) {
        vmm_owed_advance(o, copied);
        return;
    }
    u.table.gpu_virtual = vmm_privileged_table_va(sp, va);
    u.start_index = o->first;
    u.count = count;
    u.first_va = va;
    u.runs = e->run;
    e->op = (struct vidmm_op){ .code = VIDMM_OP_UPDATE_PAGE_TABLE, .update = u };
    vmm_owed_advance(o, count);
}

/* Flushes only when nothing is left for others: theirs have to come after their entries. */
static bool next_op(const struct place *p)
{
    struct vmm_owed *o = first_writable(p);
    p->ad->updating_op.multipass = 0;
    if (o != NULL) next_entries(p, o);
    else if (vmm_owed_any(p->app) || !vmm_batch_take_flush(p->app, &p->ad->updating_op)) return false;
    return true;
}

/* ---- packets ---- */

static void submit(struct vmm_companion *k, const struct place *p)
{
    struct vmm_packet *packet = &p->ad->updating_packet;
    *packet = (struct vmm_packet){ .companion = k, .kind = PACKET_PAGING, .va = p->kernel->va,
                                   .bytes = p->kernel->kmd.used, .seq = ++p->ad->lead->next_seq };
    packet->flags = VIDMM_SUBMIT_PAGING | (packet->bytes == 0 ? VIDMM_SUBMIT_NULL : 0);
    p->ad->updating_runs = true;
    vmm_packet_push(p->ad, k->ctx->companion_node, packet);
}

static void build(struct vmm_companion *k)
{
    const struct place p = place_of(k);
    struct vidmm_adapter *ad = p.ad;
    struct vmm_emission *e = &ad->updating_op;
    vidmm_status st = VIDMM_OK;
    p.kernel->kmd.used = 0;
    while (st == VIDMM_OK && (e->active || next_op(&p))) {
        st = vmm_batch_build(ad, &p.kernel->kmd, &e->op, &e->multipass);
        e->active = st == VIDMM_BUFFER_FULL;
    }
    ad->updating_more = e->active;
    if (st == VIDMM_OK || st == VIDMM_BUFFER_FULL) submit(k, &p);
    else vmm_adapter_remove(ad); /* PAG-26 */
}

bool vmm_tile_packets_step(struct vmm_companion *k)
{
    struct vmm_space *sp = k->ctx->dev->proc->on[k->ctx->ad->gpu];
    struct vidmm_adapter *ad = sp->ad;
    struct vmm_update *u = list_entry(list_first(&k->updates), struct vmm_update, link);
    if (ad->updating != k) return true;
    if (ad->updating_runs) return false;
    if (ad->updating_more) {
        build(k);
        return false;
    }
    end(ad);
    bool left = vmm_owed_any(sp) || sp->flush_all || sp->flush_count > 0;
    u->wait_seq = left ? sp->flush_seq : 0;
    return true;
}

/* The leaf tables are derived once more, by the paging process: all, since packets also write what others
 * have changed meanwhile. */
static void leave_to_paging(struct vmm_companion *k)
{
    struct vmm_space *sp = k->ctx->dev->proc->on[k->ctx->ad->gpu];
    sp->ad->updating_more = false;
    if (sp->ad->silent) return; /* everything will be written again, or nothing any more */
    for (struct vmm_table *t = sp->tables.root; t != NULL; t = vmm_table_next(t))
        if (t->level == 0) vmm_owe_entries(sp, t, 0, t->entries, false);
    vmm_space_flush(sp, (struct range){ 0, UINT64_MAX });
}

bool vmm_tile_packets_enough(struct vmm_companion *k)
{
    struct vidmm_adapter *ad = k->ctx->ad;
    if (ad->updating != k) return false;
    bool runs = ad->updating_runs;
    if (list_entry(list_first(&k->updates), struct vmm_update, link)->applied) leave_to_paging(k);
    if (!runs) end(ad);
    return runs;
}

void vmm_tile_packet_done(struct vidmm_adapter *ad) { ad->updating_runs = false; }
