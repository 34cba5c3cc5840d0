/* SPDX-License-Identifier: MIT */
/* ops_object.c - processes, devices, queues, contexts, fences, knobs: made and ended at any time. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

/* ---- choosing ---------------------------------------------------------------------------------- */

struct model_process *pick_process(struct sim *s)
{
    if (s->model->process_count == 0) return NULL;
    return s->model->process[sim_below(s, s->model->process_count)];
}

struct model_device *pick_device(struct sim *s)
{
    struct model_process *p = pick_process(s);
    if (p == NULL || p->device_count == 0) return NULL;
    return p->device[sim_below(s, p->device_count)];
}

struct model_device *pick_live_device(struct sim *s)
{
    for (int i = 0; i < 3; i++) {
        struct model_device *d = pick_device(s);
        if (d != NULL && !d->lost) return d;
    }
    return NULL;
}

struct model_queue *pick_queue(struct sim *s, struct model_device *d)
{
    if (d == NULL || d->queue_count == 0) return NULL;
    return d->queue[sim_below(s, d->queue_count)];
}

struct model_queue *pick_queue_on(struct sim *s, struct model_device *d, uint32_t gpu)
{
    struct model_queue *q = NULL;
    for (uint32_t i = 0; d != NULL && i < d->queue_count; i++)
        if (d->queue[i]->gpu == gpu && (q == NULL || sim_chance(s, 2))) q = d->queue[i];
    return q;
}

uint32_t pick_gpu(struct sim *s, const struct model_device *d)
{
    uint32_t gpu;
    if (s->gpus == 1) return 0;
    if (sim_chance(s, 30)) return (uint32_t)sim_below(s, s->gpus + 1); /* no such gpu, perhaps */
    do gpu = (uint32_t)sim_below(s, s->gpus);
    while ((sim_of(d)->gpus >> gpu & 1u) == 0);
    return gpu;
}

/* Now and then not what is meant. */
uint32_t affinity_of(struct sim *s, uint32_t gpu)
{
    if (sim_chance(s, 12)) return (uint32_t)sim_below(s, s->gpus > 1 ? 32 : 4);
    return gpu == 0 && sim_chance(s, 2) ? 0 : 1u << gpu;
}

/* ---- processes and devices --------------------------------------------------------------------- */

struct model_process *process_new(struct sim *s)
{
    struct vidmm_process *core = NULL;
    sim_say(s, "create process");
    sim_observe_tables(s);
    struct model_answer a = model_process_create(s->model);
    if (!sim_status(s, a, shared_other_create(s, s->model->next_id + 1, &core))) return NULL;
    return model_process_new(s->model, core);
}

/* A gpu's engines read the command buffer at its address: if they do not yet, the queue shows it to them. */
static void show_buffer(struct sim *s, struct model_queue *q)
{
    struct sim_device *sd = sim_of(q->dev);
    struct vidmm_map map = {.base = sd->buffer_va, .bytes = BUFFER_BYTES,
                            .protection = VIDMM_PROT_WRITE | VIDMM_PROT_EXECUTE};
    const struct model_piece *x = model_find(&q->dev->proc->on[q->gpu], sd->buffer_va);
    if (sd->buffer == NULL || sd->buffer->dying || (x != NULL && x->content != MODEL_NOTHING)) return;
    if (may_map_at(s, q, &map)) (void)map_range(s, q, &map, sd->buffer, &sd->buffer_va);
}

struct model_queue *queue_new(struct sim *s, struct model_device *d, uint32_t gpu)
{
    struct vidmm_queue *core = NULL;
    struct model_queue *q;
    vidmm_status st;
    int32_t priority = (int32_t)sim_below(s, 4) - 1;
    sim_say(s, "device %u: create queue on gpu %u, priority %d", d->id, gpu, priority);
    sim_observe_tables(s);
    struct model_answer a = model_queue_create(d, gpu, priority);
    if (gpu == 0) st = vidmm_queue_create(d->handle, priority, &core);
    else st = vidmm_queue_create_on(d->handle, gpu, priority, &core);
    if (!sim_status(s, a, st)) return NULL;
    sim_check(s, model_fence_made(d->proc, vidmm_fence_gpu_address(vidmm_queue_fence(core))));
    sim_of(d)->used |= 1u << gpu;
    q = model_queue_new(d, core, gpu);
    if (sim_of(d)->buffer_va != 0) show_buffer(s, q);
    return q;
}

static void take_buffer(struct sim *s, struct model_device *d, struct model_queue *q)
{
    struct sim_device *sd = sim_of(d);
    struct model_alloc_in in = {.bytes = BUFFER_BYTES, .gpu = q->gpu};
    alloc_make(s, d, &in, 0, &sd->buffer);
    if (sd->buffer == NULL) return;
    sd->buffer->keep = true;
    make_resident(s, q, &sd->buffer, 1, 0);
    if (!lock_alloc(s, sd->buffer)) sim_fail(s, "system memory cannot be locked");
    sd->buffer_cpu = sd->buffer->cpu;
    show_buffer(s, q);
}

/* On some gpus of a link that are left; all of them as often as not. */
static uint32_t choose_gpus(struct sim *s)
{
    uint32_t all = (1u << s->gpus) - 1, left = all & ~s->model->gone;
    if (s->gpus == 1 || left == 0) return 1;
    uint32_t some = left & (uint32_t)sim_below(s, all + 1);
    return sim_chance(s, 2) || some == 0 ? left : some;
}

/* What a device begins with on one gpu. */
static void settle_on(struct sim *s, struct model_device *d, uint32_t gpu)
{
    struct model_queue *q = queue_new(s, d, gpu);
    if (q != NULL && sim_of(d)->buffer == NULL) take_buffer(s, d, q);
    if (q != NULL && context_room(s, d)) (void)context_new_on(s, d, gpu, (uint32_t)sim_below(s, 2), false);
}

struct model_device *device_new(struct sim *s, struct model_process *p)
{
    struct vidmm_device *core = NULL;
    sim_say(s, "process %u: create device", p->id);
    struct model_answer a = {0, true};
    if (s->model->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (!sim_status(s, a, vidmm_device_create(p->handle, &core))) return NULL;
    struct model_device *d = model_device_new(p, core);
    d->user = calloc(1, sizeof(struct sim_device));
    if (d->user == NULL) abort();
    sim_of(d)->born = sim_resets(s);
    sim_of(d)->gpus = choose_gpus(s);
    for (uint32_t g = 0; g < s->gpus; g++)
        if (sim_of(d)->gpus >> g & 1u) settle_on(s, d, g);
    if (d->queue_count > 0) hw_new(s, d);
    return d;
}

static void free_user(struct sim *s, struct model_device *d)
{
    struct sim_device *sd = d->user;
    for (uint32_t i = 0; i < sd->context_count; i++) {
        context_forget(s, sd->context[i]);
        stream_end(sd->context[i]);
        hw_forget(s, sd->context[i]);
        free(sd->context[i]);
    }
    for (uint32_t i = 0; i < sd->hwcontext_count; i++) free(sd->hwcontext[i]);
    free(sd);
    d->user = NULL;
}

static void device_end(struct sim *s, struct model_device *d)
{
    sim_say(s, "destroy device %u", d->id);
    sync_device_gone(s, d);
    vidmm_device_destroy(d->handle);
    content_cut_off(s, d);
    free_user(s, d);
    model_device_destroyed(d);
}

void process_end(struct sim *s, struct model_process *p)
{
    sim_say(s, "destroy process %u", p->id);
    for (uint32_t i = 0; i < p->device_count; i++) sync_device_gone(s, p->device[i]);
    vidmm_process_destroy(p->handle);
    for (uint32_t i = 0; i < p->device_count; i++) content_cut_off(s, p->device[i]);
    shared_other_end(s, p->id);
    for (uint32_t i = 0; i < p->device_count; i++) free_user(s, p->device[i]);
    model_process_gone(p);
}

static void op_process(struct sim *s)
{
    if (s->model->process_count >= s->temper.processes) return;
    struct model_process *p = process_new(s);
    if (p != NULL) (void)device_new(s, p);
}

static void op_process_end(struct sim *s)
{
    struct model_process *p = pick_process(s);
    if (p != NULL && sim_chance(s, 3)) process_end(s, p);
}

static void op_device(struct sim *s)
{
    struct model_process *p = pick_process(s);
    if (p != NULL && p->device_count < s->temper.devices) (void)device_new(s, p);
}

static void op_device_end(struct sim *s)
{
    struct model_device *d = pick_device(s);
    if (d != NULL && s->model->dead_devices < 200 && (d->lost || sim_chance(s, 4))) device_end(s, d);
}

static void op_queue(struct sim *s)
{
    struct model_device *d = pick_device(s);
    if (d != NULL && d->queue_count < s->temper.queues + s->gpus - 1) (void)queue_new(s, d, pick_gpu(s, d));
}

static void op_queue_end(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct model_queue *q = pick_queue(s, d);
    if (q == NULL || s->model->dead_queues >= 200 || sim_of(d)->ring_waits) return;
    sim_say(s, "destroy queue %u", q->id);
    vidmm_queue_destroy(q->handle);
    model_queue_destroyed(q);
}

static void op_delay(struct sim *s)
{
    struct model_queue *q = pick_queue(s, pick_live_device(s));
    if (q == NULL) return;
    bool on = !q->delayed;
    uint64_t until = on ? (sim_chance(s, 2) ? UINT64_MAX : world_now_ns(s->world) + sim_below(s, 20000)) : 0;
    sim_say(s, "queue %u: delay until %llx", q->id, (unsigned long long)until);
    vidmm_queue_delay(q->handle, until);
    q->delayed = until == UINT64_MAX;
    q->delay_from = q->issued;
}

/* ---- contexts and fences ----------------------------------------------------------------------- */

uint32_t context_id_new(struct sim *s)
{
    if (s->contexts_made == s->contexts_room) {
        s->contexts_room = s->contexts_room * 2 + 64;
        s->done = realloc(s->done, s->contexts_room * sizeof(*s->done));
        if (s->done == NULL) abort();
    }
    s->done[s->contexts_made] = 0;
    return s->contexts_made++;
}

struct sim_context *context_new(struct sim *s, struct model_device *d)
{
    uint32_t node = (uint32_t)sim_below(s, 2);
    if (sim_chance(s, 12)) node = (uint32_t)sim_below(s, 6);
    return context_new_on(s, d, pick_gpu(s, d), node, false);
}

struct sim_context *context_new_on(struct sim *s, struct model_device *d, uint32_t gpu, uint32_t node,
                                   bool physical)
{
    struct sim_device *sd = sim_of(d);
    struct vidmm_context_desc in = {.node = node, .physical = physical};
    struct vidmm_context *core = NULL;
    struct vidmm_fence *fence = NULL;
    struct model_answer a = {0, true};
    in.engine_affinity = affinity_of(s, gpu);
    sim_say(s, "device %u: create context on node %u, affinity %u", d->id, in.node, in.engine_affinity);
    if (d->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    bool there = in.node < REF_NODE_PAGING /* nobody's but the driver's own */ ||
                 (s->model->config.physical && in.node == REF_NODE_PHYSICAL);
    if (!model_engine(s->model, in.engine_affinity, &gpu) || !there) model_refuse(&a, VIDMM_INVALID);
    if (gpu < s->gpus && (s->model->gone >> gpu & 1u) != 0) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (there && physical != (in.node == REF_NODE_PHYSICAL)) model_refuse(&a, VIDMM_NOT_SUPPORTED);
    if (!sim_status(s, a, vidmm_context_create(d->handle, &in, &core))) return NULL;
    sim_of(d)->used |= 1u << gpu;
    sim_observe_tables(s);
    sim_say(s, "  its fence");
    if (!sim_status(s, model_fence_create(d, 0), vidmm_fence_create(d->handle, 0, 0, &fence))) {
        vidmm_context_destroy(core);
        return NULL;
    }
    sim_check(s, model_fence_made(d->proc, vidmm_fence_gpu_address(fence)));
    struct sim_context *c = calloc(1, sizeof(*c));
    if (c == NULL) abort();
    c->core = core;
    c->dev = d;
    c->fence = fence;
    c->gpu = gpu;
    c->node = in.node;
    c->physical = physical;
    c->id = context_id_new(s);
    sd->context[sd->context_count++] = c;
    return c;
}

bool context_room(const struct sim *s, const struct model_device *d)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < sim_of(d)->context_count; i++) n += sim_of(d)->context[i]->core != NULL;
    return n < CONTEXTS_MAX + s->gpus - 1;
}

static void op_context(struct sim *s)
{
    struct model_device *d = pick_device(s);
    if (d != NULL && context_room(s, d)) (void)context_new(s, d);
}

static void op_context_end(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct sim_device *sd = d != NULL ? sim_of(d) : NULL;
    if (sd == NULL || sd->context_count == 0) return;
    uint32_t i = (uint32_t)sim_below(s, sd->context_count);
    struct sim_context *c = sd->context[i];
    if (c->core == NULL) return; /* ops_hw.c ends those */
    if (copied_later(d->proc, NULL, 0, UINT64_MAX)) return; /* somebody has to remember what is read */
    sim_say(s, "destroy context %u with %u packets", c->id, c->count);
    vidmm_context_destroy(c->core);
    if (c->count == 0) vidmm_fence_destroy(c->fence); /* else it ends with the device: others may wait */
    sd->context[i] = sd->context[--sd->context_count];
    stream_end(c);
    free(c);
}

static void op_fence(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct sim_device *sd = d != NULL ? sim_of(d) : NULL;
    struct vidmm_fence *core = NULL, *probe = NULL;
    if (sd == NULL || sd->fence_count == FENCES_MAX) return;
    uint64_t initial = sim_chance(s, 2) ? 0 : sim_below(s, 1000);
    uint32_t flags = sim_chance(s, 2) ? 0 : (uint32_t)sim_below(s, 16) << 4;
    if (sim_chance(s, 16)) flags |= 1u << sim_below(s, 32);
    sim_say(s, "device %u: create fence, initial %llu, flags %x", d->id, (unsigned long long)initial, flags);
    sim_observe_tables(s);
    struct model_answer a = model_fence_create(d, flags);
    if (!sim_status(s, a, vidmm_fence_create(d->handle, initial, flags, &core))) return;
    uint64_t va = vidmm_fence_gpu_address(core);
    if ((va == 0) != ((flags & VIDMM_FENCE_NO_GPU_ACCESS) != 0))
        sim_fail(s, "GPU address %llx", (unsigned long long)va);
    if (vidmm_fence_value(core) != initial) sim_fail(s, "the initial value is not there");
    /* One without an address may have taken a page of addresses: another one tells which. */
    if (va == 0 && vidmm_fence_create(d->handle, 0, 0, &probe) == VIDMM_OK) {
        sim_check(s, model_fence_made(d->proc, vidmm_fence_gpu_address(probe)));
        vidmm_fence_destroy(probe);
    }
    sim_check(s, model_fence_made(d->proc, va));
    sd->fence[sd->fence_count++] = (struct sim_fence){.core = core, .flags = flags,
                                                      .id = ++s->model->next_id, .issued = initial};
}

static struct sim_fence *pick_fence(struct sim *s, struct model_device **d)
{
    *d = pick_device(s);
    if (*d == NULL || sim_of(*d)->fence_count == 0) return NULL;
    return &sim_of(*d)->fence[sim_below(s, sim_of(*d)->fence_count)];
}

static void op_fence_end(struct sim *s)
{
    struct model_device *d;
    struct sim_fence *f = pick_fence(s, &d);
    if (f == NULL) return;
    sim_say(s, "destroy fence %u", f->id);
    vidmm_fence_destroy(f->core);
    *f = sim_of(d)->fence[--sim_of(d)->fence_count];
}

static void op_fence_signal(struct sim *s)
{
    struct model_device *d;
    struct sim_fence *f = pick_fence(s, &d);
    if (f == NULL) return;
    uint64_t now = vidmm_fence_value(f->core), value = now + sim_below(s, 4);
    if (sim_chance(s, 6)) value = now - 1;
    if (sim_chance(s, 3) && f->awaited > value) value = f->awaited;
    if (value == UINT64_MAX) value = 0;
    sim_say(s, "fence %u: CPU signal %llu", f->id, (unsigned long long)value);
    struct model_answer a = model_fence_signal(d, f->flags, now, value);
    if (!sim_status(s, a, vidmm_fence_signal(f->core, value))) return;
    if (vidmm_fence_value(f->core) != value) sim_fail(s, "the signal has had no effect");
    if (f->issued < value) f->issued = value;
}

/* ---- the world --------------------------------------------------------------------------------- */

static void op_knobs(struct sim *s)
{
    uint32_t gpu = (uint32_t)sim_below(s, s->gpus);
    struct softgpu_knobs k = sim_knobs(s, gpu);
    switch (sim_below(s, 6)) {
    case 4: case 5: k.hang_nodes = sim_chance(s, 2) ? 0 : (uint32_t)sim_below(s, 8); break;
    case 0: k.buffer_full_every = sim_chance(s, 2) ? 0 : 2 + (uint32_t)sim_below(s, 4); break;
    case 1: k.no_prefetch = !k.no_prefetch; break;
    case 2: k.paging_delay_ns = sim_chance(s, 2) ? 0 : sim_below(s, 30000); break;
    default: k.copy_bytes_max = sim_chance(s, 2) ? 0 : (uint32_t)PAGE << sim_below(s, 4); break;
    }
    sim_say(s, "knobs of gpu %u: buffer_full_every %u, no_prefetch %d, delay %llu, copy %u, hang %x", gpu,
            k.buffer_full_every, k.no_prefetch, (unsigned long long)k.paging_delay_ns, k.copy_bytes_max,
            k.hang_nodes);
    s->hung_nodes |= k.hang_nodes;
    sim_set_knobs(s, gpu, &k);
}

static void op_fault_knob(struct sim *s)
{
    if (!s->temper.faults || s->armed || !sim_chance(s, 6)) return;
    uint32_t gpu = (uint32_t)sim_below(s, s->gpus);
    struct softgpu_knobs k = sim_knobs(s, gpu);
    k.fault_node = (uint32_t)sim_below(s, 2);
    k.fault_in = 1 + (uint32_t)sim_below(s, 8);
    k.fault_error = SOFTGPU_ERROR_BAD_ADDRESS;
    sim_say(s, "knobs: packet %u from now on node %u of gpu %u faults", k.fault_in, k.fault_node, gpu);
    sim_set_knobs(s, gpu, &k);
    s->armed = true;
}

/* A fault whose engine reset fails: the adapter is reset, and every device with it (FLT-03). */
static void op_lose(struct sim *s)
{
    if (!s->temper.faults || s->armed || !sim_chance(s, 40)) return;
    uint32_t gpu = (uint32_t)sim_below(s, s->gpus);
    struct softgpu_knobs k = sim_knobs(s, gpu);
    k.fault_node = (uint32_t)sim_below(s, 3);
    k.fault_in = 1 + (uint32_t)sim_below(s, 4);
    k.fault_error = SOFTGPU_ERROR_BAD_ADDRESS;
    k.fail_reset = true;
    sim_say(s, "knobs: packet %u from now on node %u of gpu %u faults, and no engine can be reset",
            k.fault_in, k.fault_node, gpu);
    sim_set_knobs(s, gpu, &k);
    s->armed = true;
    s->losing = true;
}

static void op_turns(struct sim *s) { sim_turns(s, sim_below(s, 8 * s->temper.turns)); }
static void op_time(struct sim *s) { world_advance(s->world, sim_below(s, 40000)); }

const struct sim_op ops_object[] = { { "process", op_process, 6 },
                                     { "process_end", op_process_end, 1 },
                                     { "device", op_device, 6 },
                                     { "device_end", op_device_end, 2 },
                                     { "queue", op_queue, 3 },
                                     { "queue_end", op_queue_end, 1 },
                                     { "delay", op_delay, 3 },
                                     { "context", op_context, 3 },
                                     { "context_end", op_context_end, 2 },
                                     { "fence", op_fence, 3 },
                                     { "fence_end", op_fence_end, 2 },
                                     { "fence_signal", op_fence_signal, 4 },
                                     { "knobs", op_knobs, 1 },
                                     { "fault_knob", op_fault_knob, 1 },
                                     { "lose", op_lose, 1 },
                                     { "turns", op_turns, 6 },
                                     { "time", op_time, 1 },
                                     { NULL, NULL, 0 } };
