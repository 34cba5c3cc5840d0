/* SPDX-License-Identifier: MIT */
/* turns.c — whose turn it is on a node: the rank of contexts, the patience of those passed over, and when a
 * packet on the engine is asked to stop for somebody else. Calls: sched.c, tdr.c (to ask). Keeps: 12.
 *
 * The highest rank goes first, equal ranks in turn. Nobody starves: a context that was passed over
 * VMM_PATIENCE times goes before everybody once, and is not asked to stop for a rank. A packet is asked
 *   - at once, when a higher rank waits for its node;
 *   - after a slice, when an equal rank does;
 *   - after a slice, when memory of its device has to move (the page-in of somebody else waits for it). */
#include "core/core.h"

enum { VMM_PATIENCE = 16, RANK_PATIENT = 100, RANK_NONE = -100 };

static int32_t rank(const struct vidmm_context *c)
{
    return c->passed >= VMM_PATIENCE ? RANK_PATIENT : c->priority * 2 + c->in_process;
}

struct vidmm_context *vmm_turn_pick(struct vmm_node *n)
{
    struct vidmm_context *best = NULL;
    LIST_FOREACH(it, &n->contexts) {
        struct vidmm_context *c = list_entry(it, struct vidmm_context, on_node);
        if (vmm_context_may_start(c) && (best == NULL || rank(c) > rank(best))) best = c;
    }
    if (best == NULL) return NULL;
    LIST_FOREACH(it, &n->contexts) {
        struct vidmm_context *c = list_entry(it, struct vidmm_context, on_node);
        if (rank(c) < rank(best) && vmm_context_may_start(c)) c->passed++;
    }
    return best;
}

void vmm_turn_taken(struct vidmm_context *c, struct vmm_packet *p)
{
    p->rank = (int8_t)rank(c);
    c->passed = 0;
}

/* Who lost patience waits like an equal. */
static int32_t against(int32_t r, const struct vmm_packet *front)
{
    return r == RANK_PATIENT ? front->rank : r;
}

/* The highest rank that waits for the packet at the front to go away: behind it or not yet on the node. A
 * companion that wants the node is an equal. */
static int32_t contender(const struct vmm_node *n, const struct vmm_packet *front)
{
    int32_t best = n->wanted ? front->rank : RANK_NONE;
    LIST_FOREACH(it, &n->running) {
        const struct vmm_packet *p = list_entry(it, struct vmm_packet, link);
        bool other = p->ctx != NULL && p->ctx != front->ctx;
        if (other && against(p->rank, front) > best) best = against(p->rank, front);
    }
    LIST_FOREACH(it, &n->contexts) {
        const struct vidmm_context *c = list_entry(it, struct vidmm_context, on_node);
        bool better = c != front->ctx && against(rank(c), front) > best;
        if (better && vmm_context_may_start(c)) best = against(rank(c), front);
    }
    return best;
}

/* May the packet at the front be asked? A paging packet never is. */
static const struct vmm_packet *stoppable(const struct vidmm_adapter *ad, const struct vmm_node *n)
{
    const struct vmm_packet *front = vmm_node_front(n);
    bool can = ad->ops->preempt_command != NULL && n->preempt_until == 0 && n->group == 0;
    return can && front != NULL && front->ctx != NULL ? front : NULL;
}

static uint64_t slice_end(const struct vidmm_adapter *ad, uint64_t since)
{
    return ad->slice > UINT64_MAX - since ? UINT64_MAX : since + ad->slice;
}

/* When the front of a node has to go for a context; UINT64_MAX: not at all. */
static uint64_t due(const struct vidmm_adapter *ad, const struct vmm_node *n)
{
    const struct vmm_packet *front = stoppable(ad, n);
    if (front == NULL || front->fence_id != n->front_id) return UINT64_MAX;
    int32_t other = contender(n, front);
    if (other == RANK_NONE || other < front->rank) return UINT64_MAX;
    return other > front->rank ? ad->now : slice_end(ad, n->front_began);
}

/* ---- for the mover, and for the domain that is to be attached ---- */

static bool holds_up_move(const struct vidmm_adapter *ad, const struct vmm_node *n)
{
    LIST_FOREACH(it, &n->running) {
        const struct vmm_packet *p = list_entry(it, struct vmm_packet, link);
        if (p->ctx != NULL && p->ctx->dev->holds > 0 && vmm_move_waits(ad)) return true;
    }
    return false;
}

static uint64_t due_for_others(const struct vidmm_adapter *ad, const struct vmm_node *n)
{
    if (stoppable(ad, n) == NULL) return UINT64_MAX;
    if (ad->lead->attaching) return slice_end(ad, ad->lead->attaching_since);
    return holds_up_move(ad, n) ? slice_end(ad, ad->move.since) : UINT64_MAX;
}

bool vmm_turns_step(struct vidmm_adapter *ad)
{
    bool progress = false;
    for (uint32_t i = 0; i < ad->info.node_count && !ad->lost; i++) {
        const struct vmm_node *n = &ad->node[i];
        if (min_u64(due(ad, n), due_for_others(ad, n)) > ad->now) continue;
        vmm_node_ask(ad, i, 0);
        progress = true;
    }
    return progress;
}

uint64_t vmm_turns_deadline(const struct vidmm_adapter *ad)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < ad->info.node_count; i++)
        next = min_u64(next, min_u64(due(ad, &ad->node[i]), due_for_others(ad, &ad->node[i])));
    return next;
}
