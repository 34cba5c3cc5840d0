/* SPDX-License-Identifier: MIT */
/* ops_hw.c - hardware contexts, queues and doorbells. A queue is one more context of its device: what packets
 * do (ops_gpu.c) its commands do, and a ring's too, under the same rules. What differs is here: how entries
 * are handed over and what the progress fence shows. Work in a ring is seen by nobody but the device: the
 * client keeps its memory resident until it is through. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#define QUEUES_MAX 5u /* of a device, rings among them */
#define MANY 66u      /* fences: a page has 64 */

static unsigned long long ull(uint64_t v) { return v; }

static struct sim_hwcontext *pick_hwcontext(struct sim *s, struct model_device *d)
{
    if (d == NULL || sim_of(d)->hwcontext_count == 0) return NULL;
    return sim_of(d)->hwcontext[sim_below(s, sim_of(d)->hwcontext_count)];
}

static struct sim_context *pick_hw(struct sim *s, struct model_device *d, bool ring)
{
    struct sim_context *c = NULL;
    for (uint32_t i = 0; d != NULL && i < sim_of(d)->context_count; i++) {
        struct sim_context *x = sim_of(d)->context[i];
        if (x->queue != NULL && (x->ring != NULL) == ring && (c == NULL || sim_chance(s, 2))) c = x;
    }
    return c;
}

static uint32_t queue_count(const struct sim_device *sd)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < sd->context_count; i++) n += sd->context[i]->queue != NULL;
    return n;
}

/* ---- what happened ------------------------------------------------------------------------------- */

static uint64_t progress_of(const struct sim_context *c)
{
    return vidmm_fence_value(vidmm_hwqueue_progress(c->queue));
}

uint32_t hw_pending(const struct sim_context *c)
{
    uint32_t n = 0;
    uint64_t progress = progress_of(c);
    if (c->ring == NULL) return vidmm_hwqueue_pending(c->queue);
    for (uint32_t i = 0; i < c->count; i++)
        n += c->packet[(c->head + i) % PACKETS_MAX].progress > progress;
    return n;
}

static void check_door(struct sim *s, const struct sim_context *c)
{
    if (c->ring == NULL || c->ring->core == NULL) return;
    enum vidmm_doorbell_status status = vidmm_doorbell_status(c->ring->core);
    const char *wrong = model_door_check(&c->ring->door, c->dev->lost, status);
    if (wrong != NULL) sim_fail(s, "queue %u of device %u: %s (status %u)", c->id, c->dev->id, wrong, status);
}

/* Before what has retired is forgotten. */
void hw_seen(struct sim *s, struct sim_context *c, uint32_t pending)
{
    uint32_t retired = 0;
    for (uint32_t i = 0; i + pending < c->count; i++) {
        const struct packet *p = &c->packet[(c->head + i) % PACKETS_MAX];
        if (p->kind == PACKET_EXEC) c->progress_done = p->progress;
        retired++;
    }
    const char *wrong = model_hwqueue_seen(&c->hwq, progress_of(c), c->progress_done);
    if (wrong != NULL)
        sim_fail(s, "queue %u of device %u: %s (%llu, expected %llu)", c->id, c->dev->id, wrong,
                 ull(progress_of(c)), ull(c->progress_done));
    if (c->ring != NULL) c->ring->got += retired;
    if (c->ring != NULL && c->ring->core != NULL && c->ring->control->get != c->ring->got)
        sim_fail(s, "queue %u: its ring was read up to %llu, %llu entries have executed", c->id,
                 ull(c->ring->control->get), ull(c->ring->got));
    check_door(s, c);
}

/* Of a lost device: at once, and also when what was on its way has come. */
void hw_lost(struct sim *s, struct model_device *d)
{
    struct sim_device *sd = sim_of(d);
    for (uint32_t i = 0; d->lost && i < sd->context_count; i++) {
        struct sim_context *c = sd->context[i];
        if (c->queue == NULL) continue;
        if (c->ring != NULL) model_door_disconnected(s->model, &c->ring->door);
        s->totals.hw_ended += c->count > 0;
        const char *wrong = model_hwqueue_seen(&c->hwq, progress_of(c), 0);
        if (wrong != NULL) sim_fail(s, "queue %u of device %u: %s", c->id, d->id, wrong);
        check_door(s, c);
    }
}

/* What the queue signalled last, whatever it was behind, is there. */
void hw_rest(struct sim *s, struct model_device *d)
{
    struct sim_device *sd = sim_of(d);
    hw_lost(s, d);
    for (uint32_t i = 0; !d->lost && i < sd->fence_count; i++)
        if (vidmm_fence_value(sd->fence[i].core) < sd->fence[i].raised)
            sim_fail(s, "liveness: fence %u stays at %llu, a queue was to raise it to %llu", sd->fence[i].id,
                     ull(vidmm_fence_value(sd->fence[i].core)), ull(sd->fence[i].raised));
}

/* ---- handing over -------------------------------------------------------------------------------- */

/* A ring is read as soon as its doorbell is: its map must have been done. */
bool hw_ready(const struct sim_context *c)
{
    if (c->ring == NULL) return true;
    if (c->ring->core == NULL || c->count == RING_ENTRIES) return false;
    const struct model_piece *x = model_find(context_space(c), c->ring->va);
    return x != NULL && !x->open && model_reached(x->queue, x->value);
}

static void connect(struct sim *s, struct sim_context *c)
{
    struct model_answer a = {0, true};
    sim_say(s, "queue %u: connect its doorbell", c->id);
    if (c->dev->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (!sim_status(s, a, vidmm_doorbell_connect(c->ring->core))) return;
    if (c->ring->door.connected) model_door_used(s->model, &c->ring->door);
    else s->totals.victims += model_door_connected(s->model, &c->ring->door);
    check_door(s, c);
}

static void notify(struct sim *s, struct sim_context *c)
{
    struct model_answer a = {0, true};
    if (c->dev->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (!c->ring->door.connected) model_refuse(&a, VIDMM_INVALID);
    if (sim_status(s, a, vidmm_doorbell_notify(c->ring->core))) model_door_used(s->model, &c->ring->door);
}

/* As user mode does it: entry, put, doorbell, and what its status asks for. */
static bool ring(struct sim *s, struct sim_context *c, uint64_t va, uint32_t bytes, uint64_t progress)
{
    struct sim_ring *r = c->ring;
    volatile uint64_t *word = vidmm_doorbell_address(r->core);
    r->entry[r->put % RING_ENTRIES] = (struct softgpu_ring_entry){va, bytes, progress, 0};
    r->control->put = *word = ++r->put;
    check_door(s, c);
    if (vidmm_doorbell_status(r->core) == VIDMM_DOORBELL_DISCONNECTED_RETRY) {
        connect(s, c);
        *word = r->put;
    }
    if (vidmm_doorbell_status(r->core) == VIDMM_DOORBELL_CONNECTED_NOTIFY) notify(s, c);
    return true;
}

bool hw_hand_over(struct sim *s, struct sim_context *c, uint64_t va, uint32_t bytes, uint64_t *progress)
{
    uint64_t id = c->hwq.issued + 1 + sim_below(s, 3);
    *progress = id;
    if (c->ring == NULL) {
        struct model_answer a = model_hwqueue_submit(&c->hwq, va, bytes, id);
        if (!sim_status(s, a, vidmm_hwqueue_submit(c->queue, va, bytes, NULL, 0, id))) return false;
        c->hwq.issued = id;
        s->totals.hw_commands++;
        return true;
    }
    s->totals.rings++;
    c->hwq.issued = c->fence_issued = id;
    return ring(s, c, va, bytes, id);
}

bool hw_wait(struct sim *s, struct sim_context *c, struct vidmm_fence *const *f, const uint64_t *value,
             uint32_t n, uint32_t all_flags)
{
    struct model_answer a = model_hwqueue_sync(&c->hwq, all_flags, VIDMM_FENCE_NO_WAIT, n);
    if (!sim_status(s, a, vidmm_hwqueue_wait(c->queue, f, value, n))) return false;
    s->totals.hw_waits++;
    return true;
}

bool hw_signal(struct sim *s, struct sim_context *c, struct vidmm_fence *const *f, const uint64_t *value,
               uint32_t n, uint32_t all_flags)
{
    struct model_answer a = model_hwqueue_sync(&c->hwq, all_flags, VIDMM_FENCE_NO_SIGNAL, n);
    if (!sim_status(s, a, vidmm_hwqueue_signal(c->queue, f, value, n))) return false;
    s->totals.hw_signals++;
    return true;
}

/* ---- contexts and queues ------------------------------------------------------------------------- */

static void hwcontext_new(struct sim *s, struct model_device *d)
{
    struct vidmm_hwcontext_desc in = {.node = sim_chance(s, 3) ? REF_NODE_COPY : REF_NODE_COMPUTE};
    struct vidmm_hwcontext *core = NULL;
    uint32_t gpu;
    if (sim_chance(s, 12)) in.node = (uint32_t)sim_below(s, 6);
    in.engine_affinity = affinity_of(s, pick_gpu(s, d));
    sim_say(s, "device %u: create hardware context on node %u, affinity %u", d->id, in.node,
            in.engine_affinity);
    struct model_answer a = model_hwcontext_create(d, in.node, in.engine_affinity);
    if (!sim_status(s, a, vidmm_hwcontext_create(d->handle, &in, &core))) return;
    struct sim_hwcontext *hw = calloc(1, sizeof(*hw));
    if (hw == NULL) abort();
    (void)model_engine(s->model, in.engine_affinity, &gpu);
    *hw = (struct sim_hwcontext){.core = core, .gpu = gpu, .node = in.node, .id = ++s->model->next_id};
    sim_of(d)->used |= 1u << gpu;
    sim_of(d)->hwcontext[sim_of(d)->hwcontext_count++] = hw;
}

/* A ring and its control page in memory of their own, which the client may evict: the doorbell keeps them. */
static void make_ring(struct sim *s, struct sim_context *c, struct model_queue *q)
{
    struct sim_ring *r = calloc(1, sizeof(*r));
    struct model_alloc_in in = {.bytes = 2 * PAGE, .gpu = c->gpu};
    struct vidmm_map map = {.bytes = 2 * PAGE, .protection = VIDMM_PROT_WRITE};
    if (r == NULL) abort();
    c->ring = r;
    r->door.gpu = c->gpu;
    if (q == NULL) return;
    alloc_make(s, c->dev, &in, 0, &r->memory);
    if (r->memory == NULL) return;
    r->memory->keep = true;
    make_resident(s, q, &r->memory, 1, 0);
    if (!lock_alloc(s, r->memory)) sim_fail(s, "system memory cannot be locked");
    r->entry = r->memory->cpu;
    r->control = (void *)((char *)r->memory->cpu + PAGE);
    if (!map_range(s, q, &map, r->memory, &r->va)) r->va = 0;
}

/* The fence of a queue that others can wait for: its own, or of a ring the progress fence. */
static bool queue_fence(struct sim *s, struct sim_context *c)
{
    if (c->ring != NULL) {
        c->fence = vidmm_hwqueue_progress(c->queue);
        return true;
    }
    sim_observe_tables(s);
    sim_say(s, "  its fence");
    if (!sim_status(s, model_fence_create(c->dev, 0), vidmm_fence_create(c->dev->handle, 0, 0, &c->fence)))
        return false;
    sim_check(s, model_fence_made(c->dev->proc, vidmm_fence_gpu_address(c->fence)));
    return true;
}

static void op_hwcontext(struct sim *s)
{
    struct model_device *d = pick_device(s);
    if (d != NULL && sim_of(d)->hwcontext_count < HWCONTEXTS_MAX) hwcontext_new(s, d);
}

static void hwqueue_new(struct sim *s, struct model_device *d, struct sim_hwcontext *hw)
{
    struct vidmm_hwqueue_desc in = {.flags = sim_chance(s, 2) ? VIDMM_HWQUEUE_USER_SUBMISSION : 0};
    struct vidmm_hwqueue *core = NULL;
    if (queue_count(sim_of(d)) == QUEUES_MAX || d->alloc_count > MODEL_OBJECTS_MAX - 8) return;
    if (sim_chance(s, 30)) in.flags |= 1u << sim_below(s, 32);
    sim_say(s, "device %u: create hardware queue on node %u, flags %x", d->id, hw->node, in.flags);
    sim_observe_tables(s);
    struct model_answer a = model_hwqueue_create(d, hw->gpu, hw->node, in.flags);
    if (!sim_status(s, a, vidmm_hwqueue_create(hw->core, &in, &core))) return;
    sim_check(s, model_fence_made(d->proc, vidmm_fence_gpu_address(vidmm_hwqueue_progress(core))));
    struct sim_context *c = calloc(1, sizeof(*c));
    if (c == NULL) abort();
    *c = (struct sim_context){.queue = core, .hw = hw, .dev = d, .gpu = hw->gpu, .node = hw->node};
    c->id = context_id_new(s);
    c->hwq = (struct model_hwqueue){.dev = d, .gpu = hw->gpu, .user = in.flags != 0};
    if (c->hwq.user) make_ring(s, c, pick_queue_on(s, d, c->gpu));
    if (!queue_fence(s, c)) {
        vidmm_hwqueue_destroy(core);
        free(c);
        return;
    }
    hw->queues++;
    sim_of(d)->context[sim_of(d)->context_count++] = c;
}

static void op_hwqueue(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct sim_hwcontext *hw = pick_hwcontext(s, d);
    if (hw != NULL) hwqueue_new(s, d, hw);
}

/* Some devices work by hardware queues from the beginning. */
void hw_new(struct sim *s, struct model_device *d)
{
    if (s->model->config.narrow || !sim_chance(s, 2)) return;
    hwcontext_new(s, d);
    for (int i = 0; i < 3 && sim_of(d)->hwcontext_count > 0; i++) hwqueue_new(s, d, sim_of(d)->hwcontext[0]);
}

/* What the doorbell was to read goes when nothing of it is left to execute: VidMm keeps it until then. */
static void close_ring(struct sim *s, struct sim_context *c)
{
    struct model_alloc *al = c->ring->memory;
    if (al == NULL || al->dying) return;
    sim_say(s, "  close its ring, allocation %u", al->id);
    al->in_flight++; /* until the next rest nobody else gets its addresses */
    al->pins = 0;
    vidmm_open_close(al->handle, 0);
    model_alloc_close(al, true, s->seq);
}

static void queue_gone(struct sim *s, struct sim_context *c, uint32_t at)
{
    struct sim_device *sd = sim_of(c->dev);
    if (c->ring != NULL) {
        model_door_disconnected(s->model, &c->ring->door);
        close_ring(s, c);
    } else if (c->count == 0) vidmm_fence_destroy(c->fence); /* else it ends with the device */
    sd->context[at] = sd->context[--sd->context_count];
    c->hw->queues--;
    free(c->ring);
    free(c);
}

static void op_hwqueue_end(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct sim_context *c = pick_hw(s, d, sim_chance(s, 2));
    uint32_t at = 0;
    if (c == NULL || copied_later(d->proc, NULL, 0, UINT64_MAX)) return;
    while (sim_of(d)->context[at] != c) at++;
    sim_say(s, "destroy hardware queue %u with %u entries", c->id, c->count);
    vidmm_hwqueue_destroy(c->queue);
    queue_gone(s, c, at);
}

static void op_hwcontext_end(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct sim_hwcontext *hw = pick_hwcontext(s, d);
    if (hw == NULL || copied_later(d->proc, NULL, 0, UINT64_MAX)) return;
    struct sim_device *sd = sim_of(d);
    sim_say(s, "destroy hardware context %u with %u queues", hw->id, hw->queues);
    vidmm_hwcontext_destroy(hw->core);
    for (uint32_t i = sd->context_count; i-- > 0;)
        if (sd->context[i]->hw == hw) queue_gone(s, sd->context[i], i);
    for (uint32_t i = 0; i < sd->hwcontext_count; i++)
        if (sd->hwcontext[i] == hw) sd->hwcontext[i] = sd->hwcontext[--sd->hwcontext_count];
    free(hw);
}

/* Its device is gone, and the queue with it. */
void hw_forget(struct sim *s, struct sim_context *c)
{
    if (c->ring != NULL) model_door_disconnected(s->model, &c->ring->door);
    free(c->ring);
}

/* ---- doorbells ----------------------------------------------------------------------------------- */

static void door_create(struct sim *s, struct sim_context *c)
{
    struct sim_ring *r = c->ring;
    struct vidmm_doorbell *core = NULL;
    if (r->memory == NULL || r->va == 0) return;
    struct vidmm_doorbell_desc in = {.ring = r->memory->handle, .control = r->memory->handle,
                                     .ring_va = r->va, .control_va = r->va + PAGE,
                                     .ring_entries = RING_ENTRIES};
    struct model_answer a = model_door_create(&c->hwq, r->memory, r->core != NULL);
    switch (sim_below(s, 24)) {
    case 0: in.ring_entries = sim_chance(s, 2) ? 0 : 12; break;
    case 1: in.ring_va += 4; break;
    case 2: in.control_va += 1; break;
    default: break;
    }
    if (in.ring_entries != RING_ENTRIES || in.ring_va != r->va || in.control_va != r->va + PAGE)
        model_refuse(&a, VIDMM_INVALID);
    sim_say(s, "queue %u: create its doorbell, ring in allocation %u", c->id, r->memory->id);
    if (!sim_status(s, a, vidmm_doorbell_create(c->queue, &in, &core))) return;
    r->core = core;
    r->memory->pins = 2;
    check_door(s, c);
}

static void door_disconnect(struct sim *s, struct sim_context *c)
{
    struct model_answer a = {0, true};
    if (c->dev->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    sim_say(s, "queue %u: disconnect its doorbell", c->id);
    if (sim_status(s, a, vidmm_doorbell_disconnect(c->ring->core)))
        model_door_disconnected(s->model, &c->ring->door);
}

/* The client needs its ring no more: from here on only the doorbell keeps it, and once only. */
static void ring_evict(struct sim *s, struct sim_context *c)
{
    struct model_alloc *al = c->ring->memory;
    uint64_t trim;
    sim_say(s, "device %u: evict ring %u of queue %u", c->dev->id, al->id, c->id);
    struct model_answer a = model_evict(c->dev, &al, 1, 0);
    if (!sim_status(s, a, vidmm_evict(c->dev->handle, &al->handle, 1, 0, &trim))) return;
    (void)model_evicted(c->dev, &al, 1, 0);
}

static void op_hw_submit(struct sim *s)
{
    struct sim_context *c = pick_hw(s, pick_live_device(s), false);
    if (c != NULL) give_work(s, c);
}

static void op_ring(struct sim *s)
{
    struct sim_context *c = pick_hw(s, pick_live_device(s), true);
    if (c == NULL) return;
    if (c->ring->core == NULL) door_create(s, c);
    if (c->ring->core != NULL) give_work(s, c);
}

static void op_door(struct sim *s)
{
    struct sim_context *c = pick_hw(s, pick_device(s), true);
    if (c == NULL) return;
    if (c->ring->core == NULL) {
        door_create(s, c);
        return;
    }
    switch (sim_below(s, 6)) {
    case 0: door_create(s, c); break; /* has one */
    case 1: ring_evict(s, c); break;
    case 2: door_disconnect(s, c); break;
    case 3:
        sim_say(s, "queue %u: notify", c->id);
        notify(s, c);
        break;
    default: connect(s, c); break;
    }
}

/* ---- signals, and what is refused ---------------------------------------------------------------- */

/* Words only grow: whoever is first, the largest of the values is what is left. */
static void op_hw_raise(struct sim *s)
{
    struct model_device *d = pick_live_device(s);
    struct sim_context *c = pick_hw(s, d, false);
    struct vidmm_fence *f[4];
    uint64_t value[4];
    uint32_t flags = 0, all = d != NULL ? sim_of(d)->fence_count : 0;
    if (c == NULL || all == 0 || c->count == PACKETS_MAX) return;
    uint32_t at = (uint32_t)sim_below(s, all), n = 1 + (uint32_t)sim_below(s, 3);
    if (n > all - at) n = all - at;
    struct sim_fence *first = &sim_of(d)->fence[at];
    for (uint32_t i = 0; i < n; i++) {
        f[i] = first[i].core;
        flags |= first[i].flags;
        value[i] = first[i].issued + sim_below(s, 3);
        if (sim_chance(s, 2) && first[i].awaited > value[i]) value[i] = first[i].awaited;
        sim_say(s, "queue %u raises fence %u to %llu", c->id, first[i].id, ull(value[i]));
    }
    if (!hw_signal(s, c, f, value, n, flags)) return;
    (void)context_push_sync(s, c);
    for (uint32_t i = 0; i < n; i++) {
        if (first[i].raised < value[i]) first[i].raised = value[i];
        if (first[i].issued < value[i]) first[i].issued = value[i];
    }
}

/* More fences than one page holds: the page that is added may be cached as invalid where a queue executes.
 * They are destroyed while entries name them. */
static void op_many_fences(struct sim *s)
{
    struct model_device *d = pick_live_device(s);
    struct sim_context *c = pick_hw(s, d, false);
    struct vidmm_fence *many[MANY];
    uint64_t value = 1 + sim_below(s, 100);
    uint32_t n = 0;
    if (c == NULL || !sim_chance(s, 2)) return;
    sim_say(s, "device %u: create %u fences; queue %u raises the last one", d->id, MANY, c->id);
    while (n < MANY) {
        sim_observe_tables(s);
        if (!sim_status(s, model_fence_create(d, 0), vidmm_fence_create(d->handle, 0, 0, &many[n]))) break;
        sim_check(s, model_fence_made(d->proc, vidmm_fence_gpu_address(many[n++])));
    }
    if (n > 0 && c->count < PACKETS_MAX && hw_signal(s, c, &many[n - 1], &value, 1, 0))
        (void)context_push_sync(s, c);
    if (sim_chance(s, 2)) sim_turns(s, sim_below(s, s->temper.turns));
    while (n > 0) vidmm_fence_destroy(many[--n]);
}

/* Refused without a trace. */
static void op_hw_nasty(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct sim_context *c = pick_hw(s, d, sim_chance(s, 4));
    struct vidmm_fence *many[33];
    uint64_t value[33] = {0}, progress, va = 0x10000;
    if (c == NULL) return;
    for (uint32_t i = 0; i < 33; i++) many[i] = c->fence;
    uint64_t hash = vidmm_state_hash(s->ad);
    uint32_t n = sim_chance(s, 2) ? 0 : 33;
    sim_say(s, "queue %u: wait for and signal of %u fences", c->id, n);
    (void)hw_wait(s, c, many, value, n, 0);
    (void)hw_signal(s, c, many, value, n, 0);
    progress = sim_chance(s, 2) ? c->hwq.issued - sim_below(s, 2) : UINT64_MAX;
    if (sim_chance(s, 2)) {
        va += 1 + sim_below(s, 7);
        progress = c->hwq.issued + 1;
    }
    sim_say(s, "queue %u: submit at %llx, progress id %llx", c->id, ull(va), ull(progress));
    (void)sim_status(s, model_hwqueue_submit(&c->hwq, va, 8, progress),
                     vidmm_hwqueue_submit(c->queue, va, 8, NULL, 0, progress));
    if (vidmm_state_hash(s->ad) != hash) sim_fail(s, "a refused call has changed something");
}

const struct sim_op ops_hw[] = {
    {"hwcontext", op_hwcontext, 5}, {"hwqueue", op_hwqueue, 8}, {"hwqueue_end", op_hwqueue_end, 2},
    {"hwcontext_end", op_hwcontext_end, 1}, {"hw_submit", op_hw_submit, 16}, {"ring", op_ring, 16},
    {"door", op_door, 8}, {"hw_raise", op_hw_raise, 3},
    {"many_fences", op_many_fences, 2}, {"hw_nasty", op_hw_nasty, 1}, {NULL, NULL, 0}};
