/* SPDX-License-Identifier: MIT */
/* hwqueue.c - the queues an engine schedules itself. Owns: struct softgpu_hwqueue, engine.hw and the engine's
 * list of queues. Calls: the command processor, small accesses, interrupts.
 * engine.hw is the queue whose entry is in the engine; it changes under queue_lock, so that a suspension
 * that finds another queue there is done at once. A queue that is set aside keeps its command processor's
 * state; accesses in flight are never set aside. */
#include <vidmm/kmd.h>

#include "base/bits.h"
#include "softgpu/gpu.h"
#include "softgpu/hwqueue.h"
#include "softgpu/processor.h"
#include "softgpu/ring.h"

#define BULK_SAVED offsetof(struct bulk, prepared) /* the rest describes an access in flight */

struct softgpu_hwqueue {
    struct softgpu_hwqueue *next;   /* of the engine */
    struct softgpu_hwcontext *context;
    void *owner;
    uint64_t id, progress_va;
    struct softgpu_hwentry *entries; /* a ring; under queue_lock */
    uint32_t max, head, count;
    uint64_t retired;
    struct softgpu_door door;       /* of a ring; word NULL: not connected */
    uint64_t seen, get;             /* the word when it was last looked at; ring entries executed */
    bool rung, fetched;             /* there may be work in the ring; its next entry has been read */
    struct softgpu_hwentry ring_entry;
    bool begun;                     /* the first entry has started; its state is below or in the engine */
    uint64_t cpu_state[ARRAY_COUNT(((struct softgpu_engine *)0)->cpu_state)];
    uint8_t bulk[BULK_SAVED];
};

uint64_t softgpu_hwqueue_bytes(void) { return sizeof(struct softgpu_hwqueue); }
uint32_t softgpu_hwqueue_max(const struct softgpu_hwqueue *q) { return q->max; }

static struct softgpu_engine *engine_of(struct softgpu *g, const struct softgpu_hwcontext *c)
{
    return &g->engine[c->hw.node];
}

static void wake(struct softgpu *g, struct softgpu_engine *e)
{
    if (g->threads) (void)pthread_cond_signal(&e->wake);
}

/* ---- the driver's side --------------------------------------------------------------------------- */

void softgpu_hwqueue_open(struct softgpu *g, struct softgpu_hwqueue *q, const struct softgpu_hwqueue_desc *d)
{
    struct softgpu_engine *e = engine_of(g, d->context);
    *q = (struct softgpu_hwqueue){.context = d->context, .owner = d->owner, .entries = d->entries,
                                  .max = d->entries_max};
    lock_take(&e->queue_lock);
    struct softgpu_hwqueue **at = &e->hw_queues;
    while (*at != NULL) at = &(*at)->next;
    *at = q;
    atomic_fetch_add(&e->hw_count, 1);
    lock_drop(&e->queue_lock);
}

void softgpu_hwqueue_start(struct softgpu *g, struct softgpu_hwqueue *q, uint64_t id, uint64_t progress_va)
{
    struct softgpu_engine *e = engine_of(g, q->context);
    lock_take(&e->queue_lock);
    q->id = id;
    q->progress_va = progress_va;
    lock_drop(&e->queue_lock);
}

struct softgpu_hwentry *softgpu_hwqueue_close(struct softgpu *g, struct softgpu_hwqueue *q, uint32_t *max)
{
    struct softgpu_engine *e = engine_of(g, q->context);
    atomic_fetch_add(&e->pause, 1);
    lock_take(&e->run);
    lock_take(&e->queue_lock);
    struct softgpu_hwqueue **at = &e->hw_queues;
    while (*at != NULL && *at != q) at = &(*at)->next;
    if (*at == q) *at = q->next;
    if (q->door.word != NULL) atomic_fetch_sub(&e->doors, 1);
    if (e->hw_last == q) e->hw_last = NULL;
    atomic_fetch_sub(&e->hw_count, 1);
    lock_drop(&e->queue_lock);
    lock_drop(&e->run);
    atomic_fetch_sub(&e->pause, 1);
    *max = q->max;
    return q->entries;
}

bool softgpu_hwqueue_push(struct softgpu *g, struct softgpu_hwqueue *q, const struct softgpu_hwentry *add,
                          uint32_t n)
{
    struct softgpu_engine *e = engine_of(g, q->context);
    lock_take(&e->queue_lock);
    bool room = n <= q->max - q->count;
    for (uint32_t i = 0; i < n && room; i++) q->entries[(q->head + q->count++) & (q->max - 1)] = add[i];
    lock_drop(&e->queue_lock);
    wake(g, e);
    return room;
}

struct softgpu_hwentry *softgpu_hwqueue_grow(struct softgpu *g, struct softgpu_hwqueue *q,
                                             struct softgpu_hwentry *larger, uint32_t *max)
{
    struct softgpu_engine *e = engine_of(g, q->context);
    lock_take(&e->queue_lock);
    struct softgpu_hwentry *old = q->entries;
    uint32_t old_max = q->max;
    for (uint32_t i = 0; i < q->count; i++) larger[i] = old[(q->head + i) & (old_max - 1)];
    q->entries = larger;
    q->head = 0;
    q->max = *max;
    lock_drop(&e->queue_lock);
    *max = old_max;
    return old;
}

bool softgpu_hwcontext_suspend(struct softgpu *g, struct softgpu_hwcontext *c, uint64_t value)
{
    struct softgpu_engine *e = engine_of(g, c);
    lock_take(&e->queue_lock);
    c->running = false;
    c->suspend_value = value;
    c->answer = e->hw != NULL && e->hw->context == c;
    bool still = !c->answer;
    lock_drop(&e->queue_lock);
    wake(g, e);
    return still;
}

void softgpu_hwcontext_resume(struct softgpu *g, struct softgpu_hwcontext *c)
{
    struct softgpu_engine *e = engine_of(g, c);
    lock_take(&e->queue_lock);
    c->running = true;
    c->resets = e->hw_resets;
    lock_drop(&e->queue_lock);
    wake(g, e);
}

static bool executes(const struct softgpu_engine *e, const struct softgpu_hwcontext *c)
{
    return c->running && c->resets == e->hw_resets;
}

bool softgpu_hwcontext_still(struct softgpu *g, struct softgpu_hwcontext *c)
{
    struct softgpu_engine *e = engine_of(g, c);
    lock_take(&e->queue_lock);
    bool still = !executes(e, c) && !c->answer;
    lock_drop(&e->queue_lock);
    return still;
}

static bool door_moved(const struct softgpu_hwqueue *q)
{
    return q->door.word != NULL && __atomic_load_n(q->door.word, __ATOMIC_ACQUIRE) != q->seen;
}

void softgpu_hwqueue_connect(struct softgpu *g, struct softgpu_hwqueue *q, const struct softgpu_door *d)
{
    struct softgpu_engine *e = engine_of(g, q->context);
    lock_take(&e->queue_lock);
    q->door = *d;
    q->seen = SOFTGPU_DOOR_FRESH; /* rung while nobody listened: not heard, and heard if rung with it again */
    __atomic_store_n(d->word, q->seen, __ATOMIC_RELEASE);
    atomic_fetch_add(&e->doors, 1);
    lock_drop(&e->queue_lock);
    wake(g, e); /* from now on it polls */
}

void softgpu_hwqueue_disconnect(struct softgpu *g, struct softgpu_hwqueue *q)
{
    struct softgpu_engine *e = engine_of(g, q->context);
    lock_take(&e->queue_lock);
    q->rung = q->rung || door_moved(q);
    if (q->door.word != NULL) atomic_fetch_sub(&e->doors, 1);
    q->door.word = NULL;
    lock_drop(&e->queue_lock);
}

bool softgpu_hwqueue_pending(struct softgpu *g, struct softgpu_hwqueue *q)
{
    struct softgpu_engine *e = engine_of(g, q->context);
    lock_take(&e->queue_lock);
    bool pending = q->rung || door_moved(q);
    lock_drop(&e->queue_lock);
    return pending;
}

bool softgpu_hwqueue_unfinished(struct softgpu *g, struct softgpu_hwqueue *q)
{
    struct softgpu_engine *e = engine_of(g, q->context);
    lock_take(&e->queue_lock);
    bool left = q->count != 0 || q->rung;
    lock_drop(&e->queue_lock);
    return left;
}

uint64_t softgpu_hwqueue_aborted(struct softgpu *g, uint32_t node)
{
    struct softgpu_engine *e = &g->engine[node];
    lock_take(&e->queue_lock);
    uint64_t id = e->hw_aborted;
    lock_drop(&e->queue_lock);
    return id;
}

/* ---- which queue: under queue_lock ---------------------------------------------------------------- */

static bool runnable(const struct softgpu_engine *e, const struct softgpu_hwqueue *q)
{
    return executes(e, q->context) && (q->count != 0 || q->rung || door_moved(q));
}

bool engine_hw_runnable(const struct softgpu_engine *e)
{
    for (const struct softgpu_hwqueue *q = e->hw_queues; q != NULL; q = q->next)
        if (runnable(e, q)) return true;
    return false;
}

/* Next runnable queue after the one served last, round and round. */
static struct softgpu_hwqueue *next_queue(const struct softgpu_engine *e)
{
    struct softgpu_hwqueue *first = e->hw_last != NULL ? e->hw_last->next : e->hw_queues;
    for (struct softgpu_hwqueue *q = first; q != NULL; q = q->next)
        if (runnable(e, q)) return q;
    for (struct softgpu_hwqueue *q = e->hw_queues; q != NULL && q != first; q = q->next)
        if (runnable(e, q)) return q;
    return NULL;
}

/* ---- in and out of the engine: under run ---------------------------------------------------------- */

static struct softgpu_hwentry look_again(struct softgpu_hwqueue *q)
{
    if (door_moved(q)) q->seen = __atomic_load_n(q->door.word, __ATOMIC_ACQUIRE);
    q->rung = true;
    return (struct softgpu_hwentry){.kind = HWENTRY_RING};
}

static bool take_next(struct softgpu_engine *e)
{
    lock_take(&e->queue_lock);
    struct softgpu_hwqueue *q = next_queue(e);
    e->hw = q;
    if (q != NULL) {
        e->hw_last = q;
        e->hw_entry = q->entries[q->head];
        if (q->count == 0) e->hw_entry = q->fetched ? q->ring_entry : look_again(q);
    }
    lock_drop(&e->queue_lock);
    return q != NULL;
}

static void load(struct softgpu_engine *e)
{
    struct softgpu_hwqueue *q = e->hw;
    e->state = ENGINE_RUNNING;
    e->not_before_ns = 0;
    e->packet = (struct softgpu_packet){.context = &q->context->hw, .va = e->hw_entry.va,
                                        .bytes = e->hw_entry.bytes};
    e->bulk.prepared = false;
    e->flush.active = false;
    devmem_acquire();
    if (q->begun) {
        memcpy(e->cpu_state, q->cpu_state, sizeof(e->cpu_state));
        memcpy(&e->bulk, q->bulk, BULK_SAVED);
        return;
    }
    memset(e->cpu_state, 0, sizeof(e->cpu_state));
    e->bulk.kind = BULK_NONE;
    e->bulk.bytes = e->bulk.done = 0;
    q->begun = true;
    if (e->hw_entry.kind == HWENTRY_EXEC && e->processor != NULL) e->processor->begin(e);
}

/* The engine is free; a suspension that waited for that is answered. */
static void release(struct softgpu_engine *e)
{
    struct softgpu *g = e->gpu;
    lock_take(&e->queue_lock);
    struct softgpu_hwcontext *c = e->hw->context;
    bool answer = c->answer;
    uint64_t value = c->suspend_value;
    c->answer = false;
    e->hw = NULL;
    e->state = ENGINE_READY;
    lock_drop(&e->queue_lock);
    if (answer) g->irq.context_suspended(g->irq.ctx, c->owner, value);
}

static void set_aside(struct softgpu_engine *e)
{
    struct softgpu_hwqueue *q = e->hw;
    memcpy(q->cpu_state, e->cpu_state, sizeof(e->cpu_state));
    memcpy(q->bulk, &e->bulk, BULK_SAVED);
    release(e);
}

static void complete(struct softgpu_engine *e)
{
    struct softgpu *g = e->gpu;
    struct softgpu_hwqueue *q = e->hw;
    lock_take(&e->queue_lock);
    bool ring = q->fetched;
    if (!ring) q->head = (q->head + 1) & (q->max - 1);
    if (!ring) q->count--;
    q->get += ring;
    q->fetched = false;
    q->begun = false;
    lock_drop(&e->queue_lock);
    if (e->hw_entry.kind == HWENTRY_EXEC) atomic_fetch_add_explicit(&e->packets, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&e->progress, 1, memory_order_relaxed);
    devmem_release();
    if (e->hw_entry.last && !ring) g->irq.queue_retired(g->irq.ctx, q->owner, ++q->retired);
    release(e);
}

static void fault(struct softgpu_engine *e)
{
    struct softgpu *g = e->gpu;
    e->state = ENGINE_FAULTED;
    e->wakeup_ns = UINT64_MAX;
    e->fault.fence_id = 0;
    e->fault.hw_queue = e->hw->id;
    e->fault.node = e->node;
    atomic_fetch_add_explicit(&e->faults, 1, memory_order_relaxed);
    g->irq.page_fault(g->irq.ctx, &e->fault);
}

/* Under run, by a reset: every context of the node is suspended, the entry cut short starts again if its
 * queue ever goes on. */
void engine_hw_reset(struct softgpu_engine *e)
{
    lock_take(&e->queue_lock);
    e->hw_aborted = e->hw != NULL ? e->hw->id : 0;
    if (e->hw != NULL) e->hw->begun = e->hw->context->answer = false;
    e->hw = NULL;
    e->hw_resets++;
    lock_drop(&e->queue_lock);
}

/* ---- execution ------------------------------------------------------------------------------------ */

/* Fences only grow: a value that something else has brought further stays. */
static enum softgpu_run raise_word(struct softgpu_engine *e, uint64_t va, uint64_t value)
{
    uint64_t now;
    if (!processor_load(e, va, 8, &now)) return SOFTGPU_RUN_FAULT;
    if (now < value && !processor_store(e, va, 8, value)) return SOFTGPU_RUN_FAULT;
    processor_signal_interrupt(e);
    return SOFTGPU_RUN_DONE;
}

static enum softgpu_run wait_word(struct softgpu_engine *e)
{
    uint64_t now;
    if (!processor_load(e, e->hw_entry.va, 8, &now)) return SOFTGPU_RUN_FAULT;
    return now >= e->hw_entry.value ? SOFTGPU_RUN_DONE : SOFTGPU_RUN_WAIT;
}

/* Nothing new: the ring has been looked at, and is again when the word changes. */
static enum softgpu_run ring_empty(struct softgpu_engine *e)
{
    lock_take(&e->queue_lock);
    e->hw->rung = false;
    e->hw->begun = false;
    lock_drop(&e->queue_lock);
    return SOFTGPU_RUN_WAIT;
}

/* Reads the next entry of the ring, which is then executed like one that was handed over. */
static enum softgpu_run fetch_ring(struct softgpu_engine *e)
{
    struct softgpu_hwqueue *q = e->hw;
    struct softgpu_ring_entry in;
    uint64_t put;
    if (!processor_load(e, q->door.control_va, 8, &put)) return SOFTGPU_RUN_FAULT;
    if (put == q->get) return ring_empty(e);
    uint64_t at = q->door.ring_va + (q->get & (q->door.entries - 1)) * sizeof(in);
    if (!processor_read(e, at, &in, sizeof(in))) return SOFTGPU_RUN_FAULT;
    if (in.bytes > UINT32_MAX || ((in.va | in.bytes) & 7) != 0) {
        processor_error(e, at, SOFTGPU_ERROR_ALIGNMENT);
        return SOFTGPU_RUN_FAULT;
    }
    q->ring_entry = (struct softgpu_hwentry){.kind = HWENTRY_EXEC, .va = in.va, .bytes = (uint32_t)in.bytes,
                                             .value = in.progress};
    lock_take(&e->queue_lock);
    q->fetched = true;
    lock_drop(&e->queue_lock);
    e->hw_entry = q->ring_entry;
    e->packet.va = in.va;
    e->packet.bytes = (uint32_t)in.bytes;
    memset(e->cpu_state, 0, sizeof(e->cpu_state));
    if (e->processor != NULL) e->processor->begin(e);
    return SOFTGPU_RUN_MORE;
}

static enum softgpu_run finish(struct softgpu_engine *e)
{
    struct softgpu_hwqueue *q = e->hw;
    if (q->fetched && !processor_store(e, q->door.control_va + 8, 8, q->get + 1)) return SOFTGPU_RUN_FAULT;
    return raise_word(e, q->progress_va, e->hw_entry.value);
}

static enum softgpu_run execute(struct softgpu_engine *e)
{
    if (e->hw_entry.kind == HWENTRY_RING) return fetch_ring(e);
    if (e->hw_entry.kind == HWENTRY_WAIT) return wait_word(e);
    if (e->hw_entry.kind == HWENTRY_SIGNAL) return raise_word(e, e->hw_entry.va, e->hw_entry.value);
    enum softgpu_run r = e->processor != NULL ? e->processor->step(e) : SOFTGPU_RUN_DONE;
    return r == SOFTGPU_RUN_DONE ? finish(e) : r;
}

static enum softgpu_step entry_step(struct softgpu_engine *e)
{
    e->wakeup_ns = UINT64_MAX;
    switch (execute(e)) {
    case SOFTGPU_RUN_MORE: /* the watch over packets must not blame one that waits for the engine */
        atomic_fetch_add_explicit(&e->progress, 1, memory_order_relaxed);
        return SOFTGPU_PROGRESS;
    case SOFTGPU_RUN_DONE: complete(e); return SOFTGPU_PROGRESS;
    case SOFTGPU_RUN_FAULT: fault(e); return SOFTGPU_PROGRESS;
    default: e->hw_wakeup_ns = min_u64(e->hw_wakeup_ns, e->wakeup_ns); break;
    }
    if (e->packet.inject != SOFTGPU_INJECT_HANG) set_aside(e); /* else the engine is stuck with it */
    return SOFTGPU_WAITING;
}

static bool answer_due(struct softgpu_engine *e)
{
    lock_take(&e->queue_lock);
    bool due = e->hw->context->answer;
    lock_drop(&e->queue_lock);
    return due;
}

enum softgpu_step engine_hw_continue(struct softgpu_engine *e)
{
    if (!e->bulk.prepared && answer_due(e)) {
        set_aside(e);
        return SOFTGPU_PROGRESS;
    }
    return entry_step(e);
}

/* Rung while its context is suspended: nothing executes, but the owner is told, once for each ring. */
static void announce(struct softgpu_engine *e)
{
    bool news = false;
    lock_take(&e->queue_lock);
    for (struct softgpu_hwqueue *q = e->hw_queues; q != NULL; q = q->next) {
        if (executes(e, q->context) || !door_moved(q)) continue;
        q->seen = __atomic_load_n(q->door.word, __ATOMIC_ACQUIRE);
        news = q->rung = true;
    }
    lock_drop(&e->queue_lock);
    if (news) processor_signal_interrupt(e);
}

/* Every queue gets one look: the first that can do something does it. */
enum softgpu_step engine_hw_pick(struct softgpu_engine *e)
{
    enum softgpu_step r = SOFTGPU_IDLE;
    e->hw_wakeup_ns = UINT64_MAX;
    if (atomic_load(&e->doors) != 0) announce(e);
    for (uint32_t i = atomic_load(&e->hw_count); i != 0 && take_next(e); i--) {
        load(e);
        r = entry_step(e);
        if (r == SOFTGPU_PROGRESS || e->hw != NULL) return r;
    }
    e->wakeup_ns = e->hw_wakeup_ns;
    return r;
}
