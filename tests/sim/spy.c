/* SPDX-License-Identifier: MIT */
/* spy.c - stands between the core and the driver and holds the core to what vidmm/kmd_hw.h asks of it: a
 * context is resumed, given a root or destroyed only while the device says that it stands still, suspensions
 * have growing values, entries are dropped only from a context that stands still, and hardware that is being
 * reset or gone is left alone. Owns: the wrapped operations of the one simulator there is at a time. */
#include "sim.h"

#include <string.h>

#include "softgpu/hwqueue.h"

#define SPIED_MAX 256u

struct spied { void *handle, *context; struct sim_gpu *gpu; uint64_t value; };

/* What goes on between the core and the driver of one gpu. */
struct spied_gpu {
    void *paging;                         /* the context of the paging process */
    uint64_t companion[VIDMM_NODES_MAX];  /* fence id of the newest packet of a companion */
    bool silent; /* reset_from_timeout without a restart yet, or removed */
};

static struct {
    struct sim *sim;
    struct vidmm_kmd_ops ops;
    struct vidmm_kmd_hw_ops hw;
    const struct vidmm_kmd_ops *next;
    struct spied context[SPIED_MAX], queue[SPIED_MAX];
    struct spied_gpu gpu[VIDMM_GPUS_MAX];
} spy;

static void wrong(const char *what)
{
    if (spy.sim->wrong == NULL) spy.sim->wrong = what;
}

static struct spied *find(struct spied *in, const void *handle)
{
    for (uint32_t i = 0; i < SPIED_MAX; i++)
        if (in[i].handle == handle) return &in[i];
    sim_fail(spy.sim, "the driver is handed something that it did not make, or makes too much");
}

static struct sim_gpu *gpu_of(const void *kmd)
{
    for (uint32_t i = 0; i < spy.sim->gpus; i++)
        if (spy.sim->gpu[i].ref == kmd) return &spy.sim->gpu[i];
    sim_fail(spy.sim, "the core hands the driver something that is not its own");
}

static struct spied_gpu *watched(const void *kmd) { return &spy.gpu[gpu_of(kmd)->index]; }

static bool still(const void *kmd, void *context)
{
    return softgpu_hwcontext_still(gpu_of(kmd)->hw, context);
}

static void touches(const void *kmd)
{
    if (watched(kmd)->silent) wrong("the driver is asked to touch hardware that is gone or being reset");
}

static vidmm_status create_context(void *kmd, struct vidmm_kmd_hw_context *c)
{
    vidmm_status st = spy.next->hw->create_context(kmd, c);
    if (st == VIDMM_OK) *find(spy.context, NULL) = (struct spied){.handle = c->handle, .gpu = gpu_of(kmd)};
    return st;
}

static void destroy_context(void *kmd, void *context)
{
    if (!still(kmd, context)) wrong("a hardware context is destroyed that executes");
    for (uint32_t i = 0; i < SPIED_MAX; i++)
        if (spy.queue[i].context == context) wrong("a hardware context is destroyed before its queues");
    find(spy.context, context)->handle = NULL;
    spy.next->hw->destroy_context(kmd, context);
}

static vidmm_status create_queue(void *kmd, struct vidmm_kmd_hw_queue *q)
{
    vidmm_status st = spy.next->hw->create_queue(kmd, q);
    if (st != VIDMM_OK) return st;
    *find(spy.queue, NULL) = (struct spied){.handle = q->handle, .context = q->context};
    return st;
}

static void start_queue(void *kmd, void *queue, uint64_t id, uint64_t progress_va)
{
    if (id == 0 || progress_va == 0) wrong("a hardware queue has no name or no progress fence");
    spy.next->hw->start_queue(kmd, queue, id, progress_va);
}

static void destroy_queue(void *kmd, void *queue)
{
    struct spied *q = find(spy.queue, queue);
    if (softgpu_hwqueue_unfinished(gpu_of(kmd)->hw, queue) && !still(kmd, q->context))
        wrong("entries of a hardware queue are dropped while its context executes");
    *q = (struct spied){.handle = NULL};
    spy.next->hw->destroy_queue(kmd, queue);
}

static vidmm_status suspend_context(void *kmd, void *context, uint64_t value)
{
    struct spied *c = find(spy.context, context);
    if (c->gpu != gpu_of(kmd)) wrong("a hardware context is suspended by another gpu's driver");
    touches(kmd);
    if (value <= c->value) wrong("the value of a suspension does not grow");
    c->value = value;
    return spy.next->hw->suspend_context(kmd, context, value);
}

static void resume_context(void *kmd, void *context)
{
    touches(kmd);
    if (!still(kmd, context)) wrong("a hardware context is resumed whose suspension is not acknowledged");
    spy.next->hw->resume_context(kmd, context);
}

static void set_root(void *kmd, void *context, struct vidmm_gpu_address root, uint32_t entries)
{
    for (uint32_t i = 0; i < SPIED_MAX; i++)
        if (spy.context[i].handle == context && !still(kmd, context))
            wrong("a hardware context is given a root while it executes");
    spy.next->set_root_page_table(kmd, context, root, entries);
}

static vidmm_status submit_command(void *kmd, const struct vidmm_kmd_hw_submit *in)
{
    touches(kmd);
    return spy.next->hw->submit_command(kmd, in);
}

static vidmm_status submit_wait(void *kmd, void *queue, const struct vidmm_kmd_hw_sync *in, uint32_t n)
{
    touches(kmd);
    return spy.next->hw->submit_wait(kmd, queue, in, n);
}

static vidmm_status submit_signal(void *kmd, void *queue, const struct vidmm_kmd_hw_sync *in, uint32_t n)
{
    touches(kmd);
    return spy.next->hw->submit_signal(kmd, queue, in, n);
}

static vidmm_status connect_doorbell(void *kmd, const struct vidmm_kmd_doorbell *in)
{
    touches(kmd);
    return spy.next->hw->connect_doorbell(kmd, in);
}

static void disconnect_doorbell(void *kmd, void *queue)
{
    touches(kmd);
    spy.next->hw->disconnect_doorbell(kmd, queue);
}

static vidmm_status start(void *kmd, struct vidmm_adapter *ad, const struct vidmm_platform *pl)
{
    gpu_of(kmd)->core = ad;
    return spy.next->start_device(kmd, ad, pl);
}

/* The paging process' context is the first of the system. */
static vidmm_status create_any_context(void *kmd, struct vidmm_kmd_context *c)
{
    vidmm_status st = spy.next->create_context(kmd, c);
    if (st == VIDMM_OK && watched(kmd)->paging == NULL) watched(kmd)->paging = c->handle;
    return st;
}

static vidmm_status submit(void *kmd, const struct vidmm_kmd_submit *in)
{
    struct spied_gpu *g = watched(kmd);
    touches(kmd);
    if ((in->flags & VIDMM_SUBMIT_PAGING) != 0 && in->context != g->paging) {
        g->companion[in->node] = in->fence_id;
        spy.sim->totals.tile_packets++;
        spy.sim->totals.tile_packets_elsewhere += in->node != REF_NODE_PAGING;
    }
    return spy.next->submit_command_virtual(kmd, in);
}

static vidmm_status reset_engine(void *kmd, uint32_t node, uint64_t *last)
{
    vidmm_status st = spy.next->reset_engine(kmd, node, last);
    spy.sim->totals.tile_packets_cut += *last != 0 && *last == watched(kmd)->companion[node];
    return st;
}

static vidmm_status reset_all(void *kmd)
{
    vidmm_status st = spy.next->reset_from_timeout(kmd);
    watched(kmd)->silent |= st == VIDMM_OK;
    gpu_of(kmd)->stops += st == VIDMM_OK;
    return st;
}

static vidmm_status restart_all(void *kmd)
{
    vidmm_status st = spy.next->restart_from_timeout(kmd);
    if (st == VIDMM_OK) watched(kmd)->silent = false;
    return st;
}

static void begin_exclusive_access(void *kmd)
{
    const struct sim_gpu *g = gpu_of(kmd);
    for (uint32_t i = 0; i < vidmm_gpu_info(spy.sim->ad, g->index)->node_count; i++)
        if (!softgpu_node_idle(g->hw, i))
            spy.sim->wrong = "exclusive access begins while a node works";
    spy.next->begin_exclusive_access(kmd);
}

static void removal(void *kmd)
{
    watched(kmd)->silent = true;
    spy.next->surprise_removal(kmd);
}

const struct vidmm_kmd_ops *spy_ops(struct sim *s)
{
    memset(&spy, 0, sizeof(spy));
    spy.sim = s;
    spy.next = ref_ops();
    spy.ops = *spy.next;
    spy.hw = *spy.next->hw;
    spy.hw.create_context = create_context;
    spy.hw.destroy_context = destroy_context;
    spy.hw.create_queue = create_queue;
    spy.hw.start_queue = start_queue;
    spy.hw.destroy_queue = destroy_queue;
    spy.hw.suspend_context = suspend_context;
    spy.hw.resume_context = resume_context;
    spy.hw.submit_command = submit_command;
    spy.hw.submit_wait = submit_wait;
    spy.hw.submit_signal = submit_signal;
    spy.hw.connect_doorbell = connect_doorbell;
    spy.hw.disconnect_doorbell = disconnect_doorbell;
    spy.ops.start_device = start;
    spy.ops.create_context = create_any_context;
    spy.ops.submit_command_virtual = submit;
    spy.ops.reset_engine = reset_engine;
    spy.ops.set_root_page_table = set_root;
    spy.ops.reset_from_timeout = reset_all;
    spy.ops.restart_from_timeout = restart_all;
    spy.ops.begin_exclusive_access = begin_exclusive_access;
    spy.ops.surprise_removal = removal;
    spy.ops.hw = &spy.hw;
    return &spy.ops;
}
