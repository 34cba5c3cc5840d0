/* SPDX-License-Identifier: MIT */
/* queued.c — waits and signals in the queue of a context: packets that no engine sees.
 * Owns: the points and groups of such packets. Calls: sched.c (packets), sync.c (objects). Keeps: invariant
 * 21. A wait for fences lets the packets behind it go as soon as the values are there. A wait that takes a
 * mutex or semaphore becomes a waiter only when everything before it has completed: taking early could keep
 * from others what they need to finish that very work. */
#include "core/core.h"

static struct vidmm_adapter *adapter_of(const struct vidmm_context *c) { return c->dev->proc->ad; }
static struct vmm_point *points_of(struct vmm_packet *p) { return (struct vmm_point *)(void *)(p + 1); }

uint64_t vmm_sync_packet_bytes(const struct vmm_packet *p)
{
    return sizeof *p + p->extra * sizeof(struct vmm_point);
}

static void group_put(struct vidmm_adapter *ad, struct vmm_group *g)
{
    if (--g->packets > 0) return;
    vmm_points_release(ad, g->point, g->n);
    vmm_delete(ad, g, sizeof *g + g->n * sizeof *g->point);
}

void vmm_sync_packet_drop(struct vidmm_adapter *ad, struct vmm_packet *p)
{
    vmm_waiter_end(&p->waiter);
    vmm_points_release(ad, points_of(p), p->extra);
    if (p->group == NULL) return;
    p->group->broken = true; /* one that was reached has left the group already */
    group_put(ad, p->group);
}

/* ---- at the head of the queue ---- */

void vmm_context_arrive(struct vidmm_context *c)
{
    struct vmm_packet *p = vmm_packet_head(c);
    if (p != NULL && p->kind == PACKET_WAIT && c->running == 0) vmm_waiter_begin(adapter_of(c), &p->waiter);
}

static bool wait_is_over(struct vmm_packet *p)
{
    return p->waiter.n > 0 ? p->waiter.granted : vmm_points_ready(points_of(p), p->extra);
}

static void do_signal(struct vidmm_adapter *ad, struct vmm_packet *p)
{
    struct vmm_group *g = p->group;
    if (g == NULL) {
        vmm_points_signal(ad, points_of(p), p->extra, p->flags);
        return;
    }
    p->group = NULL;
    if (--g->left == 0 && !g->broken) vmm_points_signal(ad, g->point, g->n, g->flags);
    group_put(ad, g);
}

bool vmm_context_sync_step(struct vidmm_context *c)
{
    bool progress = false;
    struct vidmm_adapter *ad = adapter_of(c);
    for (struct vmm_packet *p = vmm_packet_head(c); p != NULL && p->kind != PACKET_EXEC;
         p = vmm_packet_head(c)) {
        bool early = (p->flags & VIDMM_SIGNAL_AT_SUBMISSION) != 0;
        if (p->kind == PACKET_WAIT && !wait_is_over(p)) break;
        if (p->kind == PACKET_SIGNAL && c->running > 0 && !early) break; /* what came before goes on */
        if (p->kind == PACKET_SIGNAL) do_signal(ad, p);
        vmm_packet_pop(c);
        vmm_packet_free(ad, p);
        progress = true;
    }
    return progress;
}

/* ---- services ---- */

static vidmm_status check_context(const struct vidmm_context *c)
{
    if (c->dev->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    return c->dying ? VIDMM_INVALID : VIDMM_OK;
}

static struct vmm_packet *packet_with(struct vidmm_context *c, enum vmm_packet_kind kind,
                                      const struct vidmm_point *point, uint32_t n)
{
    struct vmm_packet *p = vmm_packet_new(c, kind, n * (uint32_t)sizeof(struct vmm_point));
    if (p == NULL) return NULL;
    p->extra = n;
    if (vmm_points_bind(c->dev, point, n, points_of(p)) == VIDMM_OK) return p;
    vmm_delete(adapter_of(c), p, vmm_sync_packet_bytes(p)); /* it names nothing */
    return NULL;
}

vidmm_status vidmm_context_wait_for(struct vidmm_context *c, const struct vidmm_point *point, uint32_t n)
{
    vidmm_status st = check_context(c);
    if (st == VIDMM_OK) st = vmm_points_check(adapter_of(c), point, n, true);
    if (st != VIDMM_OK) return st;
    struct vmm_packet *p = packet_with(c, PACKET_WAIT, point, n);
    if (p == NULL) return VIDMM_NO_MEMORY;
    if (vmm_points_take_something(points_of(p), n)) {
        p->waiter.point = points_of(p);
        p->waiter.n = n;
    }
    vmm_packet_queue(c, p);
    return VIDMM_OK;
}

static vidmm_status check_signal(const struct vidmm_signal *in)
{
    uint32_t known = VIDMM_SIGNAL_AT_SUBMISSION | VIDMM_SIGNAL_ALLOW_REWIND;
    if (in->flags & ~known) return VIDMM_INVALID;
    if (in->context_count == 0 || in->context_count > VIDMM_BROADCAST_MAX) return VIDMM_INVALID;
    for (uint32_t i = 0; i < in->context_count; i++) {
        vidmm_status st = check_context(in->context[i]);
        if (st != VIDMM_OK) return st;
        if (in->context[i]->dev != in->context[0]->dev) return VIDMM_INVALID;
    }
    return vmm_points_check(adapter_of(in->context[0]), in->point, in->point_count, false);
}

static struct vmm_group *group_new(const struct vidmm_signal *in)
{
    struct vidmm_adapter *ad = adapter_of(in->context[0]);
    uint64_t bytes = sizeof(struct vmm_group) + in->point_count * sizeof(struct vmm_point);
    struct vmm_group *g = vmm_new(ad, bytes);
    if (g == NULL) return NULL;
    if (vmm_points_bind(in->context[0]->dev, in->point, in->point_count, g->point) != VIDMM_OK) {
        vmm_delete(ad, g, bytes);
        return NULL;
    }
    g->n = in->point_count;
    g->flags = in->flags;
    g->left = in->context_count;
    g->packets = 1; /* the caller's */
    return g;
}

static vidmm_status signal_several(const struct vidmm_signal *in)
{
    struct vmm_packet *packet[VIDMM_BROADCAST_MAX];
    struct vidmm_adapter *ad = adapter_of(in->context[0]);
    struct vmm_group *g = group_new(in);
    uint32_t n = 0;
    if (g == NULL) return VIDMM_NO_MEMORY;
    for (; n < in->context_count; n++) {
        packet[n] = vmm_packet_new(in->context[n], PACKET_SIGNAL, 0);
        if (packet[n] == NULL) break;
        packet[n]->group = g;
        packet[n]->flags = in->flags;
        g->packets++;
    }
    bool all = n == in->context_count;
    for (uint32_t i = 0; i < n; i++) {
        if (all) vmm_packet_queue(in->context[i], packet[i]);
        else vmm_packet_free(ad, packet[i]);
    }
    group_put(ad, g);
    return all ? VIDMM_OK : VIDMM_NO_MEMORY;
}

vidmm_status vidmm_contexts_signal(const struct vidmm_signal *in)
{
    vidmm_status st = check_signal(in);
    if (st != VIDMM_OK) return st;
    if (in->context_count > 1) return signal_several(in);
    struct vmm_packet *p = packet_with(in->context[0], PACKET_SIGNAL, in->point, in->point_count);
    if (p == NULL) return VIDMM_NO_MEMORY;
    p->flags = in->flags;
    vmm_packet_queue(in->context[0], p);
    return VIDMM_OK;
}

/* ---- the short forms: fences only ---- */

static void points_from(struct vidmm_point *to, struct vidmm_fence *const *fences, const uint64_t *values,
                        uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) to[i] = (struct vidmm_point){ fences[i], NULL, values[i] };
}

vidmm_status vidmm_context_wait(struct vidmm_context *c, struct vidmm_fence *const *fences,
                                const uint64_t *values, uint32_t n)
{
    struct vidmm_point point[VIDMM_WAIT_OBJECTS_MAX];
    points_from(point, fences, values, min_u32(n, VIDMM_WAIT_OBJECTS_MAX));
    return vidmm_context_wait_for(c, point, n);
}

vidmm_status vidmm_context_signal(struct vidmm_context *c, struct vidmm_fence *const *fences,
                                  const uint64_t *values, uint32_t n)
{
    struct vidmm_point point[VIDMM_WAIT_OBJECTS_MAX];
    const struct vidmm_signal in = { &c, 1, point, n, 0 };
    points_from(point, fences, values, min_u32(n, VIDMM_WAIT_OBJECTS_MAX));
    return vidmm_contexts_signal(&in);
}
