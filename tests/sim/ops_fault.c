/* SPDX-License-Identifier: MIT */
/* ops_fault.c - engines that hang, adapters that are reset or removed: how the simulator brings it about, and
 * whether what follows was allowed. Calls: sim.h only. */
#include "sim.h"

/* ---- what may happen to the whole adapter ------------------------------------------------------- */

/* Is there a reason for an adapter reset? A fault or hang that no engine reset ends, a hanging paging node,
 * or more engine resets than a minute may have. */
static bool reset_explained(const struct sim *s)
{
    const struct vidmm_counters *c = vidmm_adapter_counters(s->ad);
    uint32_t most = s->tdr_limit;
    bool often = most != VIDMM_TDR_NO_LIMIT && c->timeouts >= most;
    return s->losing || (s->hung_nodes >> REF_NODE_PAGING & 1u) != 0 || often;
}

/* By gpu: one that is reset too often is lost alone, as one that is pulled out. */
static void check_removed(struct sim *s)
{
    const struct vidmm_counters *c = vidmm_adapter_counters(s->ad);
    bool often = s->tdr_limit != VIDMM_TDR_NO_LIMIT && c->adapter_resets > s->tdr_limit;
    for (uint32_t g = 0; g < s->gpus; g++) {
        if (s->gpu[g].lost || !vidmm_gpu_removed(s->ad, g)) continue;
        if (!s->removing && !s->gpu[g].removing && !often)
            sim_fail(s, "gpu %u is gone, which nothing explains", g);
        sim_say(s, "  gpu %u is gone", g);
        s->gpu[g].lost = true;
        s->model->gone |= 1u << g;
    }
    if (s->model->lost || !vidmm_adapter_removed(s->ad)) return;
    if (s->model->gone != (1u << s->gpus) - 1) sim_fail(s, "the adapter is gone, and not all of its gpus");
    sim_say(s, "  the adapter is gone");
    s->model->lost = true;
}

/* After a reset the driver may be well again, so that the next fault ends in an engine reset. */
static void heal(struct sim *s)
{
    if (!sim_chance(s, 2)) return;
    s->losing = false;
    for (uint32_t g = 0; g < s->gpus; g++) {
        struct softgpu_knobs k = sim_knobs(s, g);
        k.fail_reset = false;
        sim_set_knobs(s, g, &k);
        /* To come, or just come and not reported yet: ends in one all the same. */
        bool comes = k.fault_in > 0 || !softgpu_node_idle(s->gpu[g].hw, REF_NODE_PAGING);
        s->losing |= comes && k.fault_node == REF_NODE_PAGING;
    }
}

/* A gpu that is not lost is stopped for each of them. */
uint64_t sim_resets(const struct sim *s)
{
    uint64_t most = 0;
    for (uint32_t g = 0; g < s->gpus; g++)
        if (s->gpu[g].stops > most) most = s->gpu[g].stops;
    return most;
}

void sim_watch_adapter(struct sim *s)
{
    uint64_t resets = vidmm_adapter_counters(s->ad)->adapter_resets;
    check_removed(s);
    if (resets == s->resets) return;
    sim_say(s, "  the adapter was reset");
    if (!reset_explained(s)) sim_fail(s, "the adapter was reset, which nothing explains");
    s->resets = resets;
    s->totals.adapter_resets++;
    heal(s);
}

/* Bits: gpus on which the device has something now. Nothing comes to a gpu that is lost: what is there was
 * there when it went. */
static uint32_t gpus_of(const struct sim *s, const struct model_device *d)
{
    const struct sim_device *sd = sim_of(d);
    uint32_t bits = 0;
    for (uint32_t i = 0; i < d->queue_count; i++) bits |= 1u << d->queue[i]->gpu;
    for (uint32_t i = 0; i < sd->context_count; i++) bits |= 1u << sd->context[i]->gpu;
    for (uint32_t i = 0; i < sd->hwcontext_count; i++) bits |= 1u << sd->hwcontext[i]->gpu;
    for (uint32_t i = 0; i < d->alloc_count; i++) {
        const struct model_alloc *al = d->alloc[i];
        if (!al->dying) bits |= sim_gpus_of(s, al);
    }
    return bits;
}

/* Whoever was there at a reset or a removal is told, or had something on a gpu that was lost; and only they
 * are. What is on its way out may count, and may not. */
void sim_check_reset(struct sim *s, const struct model_device *d)
{
    const struct sim_device *sd = sim_of(d);
    bool reset = sd->born < sim_resets(s) || s->model->lost;
    bool must = (gpus_of(s, d) & s->model->gone) != 0, may = (sd->used & s->model->gone) != 0;
    enum vidmm_device_state state = vidmm_device_state(d->handle);
    if (reset && state == VIDMM_DEVICE_ACTIVE) sim_fail(s, "device %u survived an adapter reset", d->id);
    if (must && state == VIDMM_DEVICE_ACTIVE) sim_fail(s, "device %u survived the loss of a gpu", d->id);
    if (!reset && !may && state == VIDMM_DEVICE_RESET) sim_fail(s, "device %u was reset alone", d->id);
}

/* ---- operations --------------------------------------------------------------------------------- */

/* A packet that never ends and does not stop when asked: its device must be told (FLT-12). */
static void op_hang(struct sim *s)
{
    struct model_device *d = pick_live_device(s);
    if (!s->temper.hangs || d == NULL || sim_of(d)->hang_doom || !sim_chance(s, 3)) return;
    if (hang_packet(s, d)) sim_of(d)->hang_doom = true;
}

/* The node hangs that the packets of companions are on, and time passes. */
void hang_companions(struct sim *s)
{
    const struct ref_options *ro = &s->gpu[0].ro;
    uint32_t node = ro->companion_node != 0 ? ro->companion_node - 1 : REF_NODE_PAGING;
    if (!s->temper.hangs || !sim_chance(s, node == REF_NODE_PAGING ? 12 : 4)) return;
    sim_say(s, "node %u hangs", node);
    sim_turns(s, sim_below(s, 12));
    struct softgpu_knobs k = sim_knobs(s, 0);
    uint32_t had = k.hang_nodes;
    k.hang_nodes |= 1u << node;
    s->hung_nodes |= k.hang_nodes;
    sim_set_knobs(s, 0, &k);
    sim_turns(s, 3000);
    k = sim_knobs(s, 0); /* a fault that was to come may have come */
    k.hang_nodes = had;
    sim_set_knobs(s, 0, &k);
}

static void op_remove(struct sim *s)
{
    if (!s->temper.faults || s->model->lost || !sim_chance(s, 120)) return;
    sim_say(s, "the adapter is removed");
    s->removing = true;
    bool told = sim_chance(s, 2);
    for (uint32_t g = 0; told && g < s->gpus; g++) vidmm_notify_removed(s->gpu[g].core);
    if (!told) vidmm_adapter_remove(s->ad);
    sim_turns(s, 1 + sim_below(s, 4));
}

/* User mode says that its device is broken; what it has on an engine goes on, and nothing else does. */
static void op_mark(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct model_answer a = {0, true};
    if (!s->temper.faults || d == NULL || !sim_chance(s, 12)) return;
    sim_say(s, "device %u: marked as broken", d->id);
    if (d->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (sim_status(s, a, vidmm_device_mark(d->handle))) sim_of(d)->packet_doom = true;
}

/* What it changes is an order that is open; what packets do must not change. */
static void op_rank(struct sim *s)
{
    struct model_device *d = pick_live_device(s);
    if (d == NULL || sim_of(d)->context_count == 0) return;
    struct sim_context *c = sim_of(d)->context[sim_below(s, sim_of(d)->context_count)];
    if (c->core == NULL) return; /* the device itself has no ranks */
    int32_t priority = (int32_t)sim_below(s, 19) - 9, inside = (int32_t)sim_below(s, 4) - 1;
    struct model_answer a = {0, true}, b = {0, true};
    if (priority < -7 || priority > 7) model_refuse(&a, VIDMM_INVALID);
    if (inside < 0 || inside > 1) model_refuse(&b, VIDMM_INVALID);
    sim_say(s, "context %u: priority %d, in its process %d", c->id, priority, inside);
    (void)sim_status(s, a, vidmm_context_set_priority(c->core, priority));
    (void)sim_status(s, b, vidmm_context_set_in_process_priority(c->core, inside));
}

const struct sim_op ops_fault[] = {{"hang", op_hang, 3}, {"rank", op_rank, 2},
                                    {"mark", op_mark, 1}, {"remove", op_remove, 1}, {NULL, NULL, 0}};
