/* SPDX-License-Identifier: MIT */
/* hwqueue.c — hardware contexts and queues: work that starts without the core looking.
 * Owns: device->hwcontexts, their queues and entries. Calls: the driver (ops->hw), fence.c, device.c.
 * Keeps: invariants 12, 22, 23. Entries go to the driver at the call. What protects memory is suspension: a
 * context counts in device.running until its suspension is acknowledged, so whoever waits for a device to
 * stand still (the mover, a root swap) waits for that. What is only on its way in stops nobody: work that
 * uses it waits for the paging fence, which is right by itself. */
#include "core/core.h"

#define QUANTUM_NS 2000000ull           /* a resumed device keeps its memory that long, or for one entry */

static struct vmm_hwsync *syncs_of(struct vmm_hwentry *e) { return (struct vmm_hwsync *)(e + 1); }
static const struct vidmm_kmd_hw_ops *ops_of(const struct vidmm_adapter *ad) { return ad->ops->hw; }

/* ---- entries ---- */

static struct vmm_hwentry *entry_new(struct vidmm_hwqueue *q, enum vmm_packet_kind kind, uint32_t syncs)
{
    struct vmm_hwentry *e = vmm_new(q->ad, sizeof *e + syncs * sizeof(struct vmm_hwsync));
    if (e == NULL) return NULL;
    e->kind = kind;
    e->syncs = syncs;
    return e;
}

static void entry_delete(struct vidmm_adapter *ad, struct vmm_hwentry *e)
{
    vmm_delete(ad, e, sizeof *e + e->syncs * sizeof(struct vmm_hwsync));
}

static void entry_commit(struct vidmm_hwqueue *q, struct vmm_hwentry *e)
{
    e->seq = ++q->ad->lead->next_seq;
    e->number = ++q->submitted;
    for (uint32_t i = 0; i < e->syncs; i++) syncs_of(e)[i].fence->refs++;
    list_push_back(&q->entries, &e->link);
}

static void entry_drop(struct vidmm_hwqueue *q, struct vmm_hwentry *e)
{
    list_remove(&e->link);
    for (uint32_t i = 0; i < e->syncs; i++) {
        struct vidmm_fence *f = syncs_of(e)[i].fence;
        if (--f->refs == 0 && f->dying) vmm_fence_drop(f);
    }
    entry_delete(q->ad, e);
}

static uint64_t retired_of(const struct vidmm_hwqueue *q)
{
    return atomic_load_explicit(&q->retired, memory_order_acquire);
}

/* The oldest entry that has not executed; NULL: none. */
static struct vmm_hwentry *front(const struct vidmm_hwqueue *q)
{
    uint64_t done = retired_of(q);
    LIST_FOREACH(it, &q->entries) {
        struct vmm_hwentry *e = list_entry(it, struct vmm_hwentry, link);
        if (e->number > done) return e;
    }
    return NULL;
}

static bool retire(struct vidmm_hwqueue *q)
{
    uint64_t done = retired_of(q);
    bool progress = false;
    LIST_FOREACH_SAFE(it, tmp, &q->entries) {
        struct vmm_hwentry *e = list_entry(it, struct vmm_hwentry, link);
        if (e->number > done) break;
        if (e->kind == PACKET_EXEC) q->ad->counters->submits_completed++;
        entry_drop(q, e);
        progress = true;
    }
    return progress;
}

/* ---- reports: any thread ---- */

void vidmm_notify_context_suspended(struct vidmm_hwcontext *c, uint64_t value)
{
    struct vidmm_adapter *ad = c->ad;
    atomic_store_explicit(&c->acknowledged, value, memory_order_release);
    ad->platform->poke(ad->platform->ctx);
}

/* The last access to the queue is the store: its owner may be waiting for nothing else. */
void vidmm_notify_queue_retired(struct vidmm_hwqueue *q, uint64_t entries)
{
    struct vidmm_adapter *ad = q->ad;
    atomic_store_explicit(&q->retired, entries, memory_order_release);
    ad->platform->poke(ad->platform->ctx);
}

/* ---- suspension ---- */

static void set_state(struct vidmm_hwcontext *c, enum vmm_hw_state state)
{
    bool was = c->state != HW_SUSPENDED, is = state != HW_SUSPENDED;
    c->state = (uint8_t)state;
    c->since = UINT64_MAX; /* the next step writes the time down */
    LIST_FOREACH(it, &c->queues)
        vmm_doorbell_suspended(list_entry(it, struct vidmm_hwqueue, on_context), state != HW_RUNNING);
    if (is && !was) c->dev->running++;
    if (was && !is) c->dev->running--;
}

static void suspend(struct vidmm_hwcontext *c)
{
    struct vidmm_adapter *ad = c->ad;
    vidmm_status st = ops_of(ad)->suspend_context(ad->kmd, c->kmd_context, ++c->suspend_value);
    c->refused = st != VIDMM_OK && st != VIDMM_PENDING;
    set_state(c, st == VIDMM_OK ? HW_SUSPENDED : HW_SUSPENDING);
}

static void resume(struct vidmm_hwcontext *c)
{
    struct vidmm_adapter *ad = c->ad;
    struct vmm_space *sp = c->dev->proc->on[ad->gpu];
    if (c->root_version != sp->tables.root_version) {
        struct vmm_table *root = sp->tables.root;
        struct vidmm_gpu_address at = { root->segment, root->address };
        ad->ops->set_root_page_table(ad->kmd, c->kmd_context, at, root->entries);
        c->root_version = sp->tables.root_version;
    }
    set_state(c, HW_RUNNING);
    ops_of(ad)->resume_context(ad->kmd, c->kmd_context);
}

/* Is somebody taking memory from the device? An allocation on its way in holds the device too, for the packet
 * scheduler; nobody was promised that one yet. */
static bool held(const struct vidmm_device *d)
{
    uint32_t coming = 0;
    if (d->holds == 0) return false;
    LINK_FOREACH(g, d->proc->ad) {
        const struct vmm_alloc *al = g->move.al;
        if (al == NULL || (al->state != PLACE_NONE && al->state != PLACE_COMING)) continue;
        LIST_FOREACH(it, &al->opens) {
            const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_alloc);
            coming += op->dev == d && op->held; /* who opened it later is not held by it */
        }
    }
    return d->holds > coming;
}

/* May it execute? `taken` and not `missing`: what never was there was never promised. */
static bool may_run(const struct vidmm_hwcontext *c)
{
    const struct vidmm_device *d = c->dev;
    bool ends = c->dying && list_empty(&c->queues);
    return d->state == VIDMM_DEVICE_ACTIVE && !d->proc->ad->attaching && !held(d) && d->taken == 0 && !ends &&
           d->proc->on[c->ad->gpu]->pending_root == NULL;
}

bool vmm_hw_suspended(const struct vidmm_hwcontext *c) { return c->state == HW_SUSPENDED; }

static bool gate_passed(const struct vidmm_hwcontext *c)
{
    const struct vmm_space *sp = c->dev->proc->on[c->ad->gpu];
    return vmm_batch_passed(sp->ad, sp->gate_seq);
}

/* Only the newest request's answer counts (SUB-26). */
static bool take_acknowledgement(struct vidmm_hwcontext *c)
{
    if (c->state != HW_SUSPENDING) return false;
    if (atomic_load_explicit(&c->acknowledged, memory_order_acquire) != c->suspend_value) return false;
    set_state(c, HW_SUSPENDED);
    return true;
}

/* No answer within the timeout: the engine is reset, and whoever kept it busy is lost. */
static bool overdue(struct vidmm_hwcontext *c)
{
    struct vidmm_adapter *ad = c->ad;
    bool late = c->refused || (ad->now - c->since >= ad->tdr_delay && ad->tdr_level != VIDMM_TDR_OFF);
    if (c->state != HW_SUSPENDING || !late) return false;
    vmm_tdr_hw(c);
    return true;
}

/* ---- the watch: an entry at the front of a queue while the engine gets nothing done for the delay ---- */

static uint64_t engine_status(const struct vidmm_adapter *ad, uint32_t node)
{
    return ad->ops->query_engine_status != NULL ? ad->ops->query_engine_status(ad->kmd, node) : 0;
}

/* Of commands only: a queue may wait for a fence as long as it likes. While the node has a packet, that one
 * is watched: what comes of it tells who kept the engine. */
static bool watched(const struct vidmm_hwcontext *c)
{
    if (c->state != HW_RUNNING || c->ad->tdr_level == VIDMM_TDR_OFF) return false;
    if (vmm_node_front(&c->ad->node[c->node]) != NULL) return false;
    LIST_FOREACH(it, &c->queues) {
        const struct vidmm_hwqueue *q = list_entry(it, struct vidmm_hwqueue, on_context);
        const struct vmm_hwentry *e = front(q);
        if ((e != NULL && e->kind == PACKET_EXEC) || vmm_doorbell_pending(q)) return true;
    }
    return false;
}

static bool stands_still(struct vidmm_hwcontext *c, bool retired)
{
    struct vidmm_adapter *ad = c->ad;
    bool news = retired || !watched(c), due = ad->now - c->watch_since >= ad->tdr_delay;
    if (!news && c->watch_since != 0 && !due) return false;
    uint64_t status = news ? 0 : engine_status(ad, c->node);
    bool still = !news && c->watch_since != 0 && status == c->watch_status;
    c->watch_since = news ? 0 : max_u64(ad->now, 1);
    c->watch_status = status;
    if (!still) return false;
    vmm_tdr_hw(c); /* another context may be what keeps the engine */
    return true;
}

/* The device is lost and the context stands still: nothing of it will ever execute. A progress id that was
 * on its way when the fences went to their maximum may have come after it. */
static bool abandon(struct vidmm_hwcontext *c)
{
    bool lost = c->dev->state != VIDMM_DEVICE_ACTIVE;
    if (c->state != HW_SUSPENDED || !lost || c->abandoned) return false;
    c->abandoned = true;
    LIST_FOREACH(qi, &c->queues) {
        struct vidmm_hwqueue *q = list_entry(qi, struct vidmm_hwqueue, on_context);
        (void)retire(q);
        LIST_FOREACH_SAFE(it, tmp, &q->entries) entry_drop(q, list_entry(it, struct vmm_hwentry, link));
        atomic_store_explicit(&q->retired, q->submitted, memory_order_relaxed);
    }
    vmm_device_release_waiters(c->dev);
    return true;
}

static bool retire_all(struct vidmm_hwcontext *c)
{
    bool progress = false;
    LIST_FOREACH(it, &c->queues) progress |= retire(list_entry(it, struct vidmm_hwqueue, on_context));
    return progress;
}

static bool context_step(struct vidmm_hwcontext *c)
{
    struct vidmm_adapter *ad = c->ad;
    bool progress = take_acknowledgement(c), retired = retire_all(c);
    if (c->since == UINT64_MAX) c->since = ad->now;
    progress |= overdue(c) || stands_still(c, retired) || abandon(c);
    if (ad->lost) return progress;
    bool paid = c->state == HW_RUNNING && (retired || ad->now - c->since >= QUANTUM_NS);
    if (paid && c->dev->quantum) {
        c->dev->quantum = false;
        progress = true;
    }
    if (c->state == HW_RUNNING && !may_run(c)) {
        suspend(c);
        progress = true;
    } else if (c->state == HW_SUSPENDED && may_run(c) && gate_passed(c) && !list_empty(&c->queues)) {
        resume(c);
        progress = true;
    }
    return progress | retired;
}

bool vmm_hw_step(struct vidmm_adapter *ad)
{
    bool progress = false;
    LIST_FOREACH(it, &ad->hwcontexts)
        progress |= context_step(list_entry(it, struct vidmm_hwcontext, on_adapter));
    return progress;
}

uint64_t vmm_hw_deadline(const struct vidmm_adapter *ad)
{
    uint64_t next = UINT64_MAX;
    LIST_FOREACH(it, &ad->hwcontexts) {
        const struct vidmm_hwcontext *c = list_entry(it, struct vidmm_hwcontext, on_adapter);
        bool owed = c->state == HW_RUNNING && c->dev->quantum && ad->lead->missing > 0;
        bool answers = c->state == HW_SUSPENDING && ad->tdr_level != VIDMM_TDR_OFF;
        if (answers) next = min_u64(next, c->since + ad->tdr_delay);
        if (owed) next = min_u64(next, c->since + QUANTUM_NS);
        if (c->watch_since != 0) next = min_u64(next, c->watch_since + ad->tdr_delay);
    }
    return next;
}

void vmm_hw_stop(struct vidmm_device *d)
{
    LIST_FOREACH(it, &d->hwcontexts) {
        struct vidmm_hwcontext *c = list_entry(it, struct vidmm_hwcontext, on_device);
        if (c->state == HW_RUNNING && !c->ad->lost) suspend(c);
        if (d->state == VIDMM_DEVICE_ACTIVE) continue; /* only a gate */
        LIST_FOREACH(qi, &c->queues) vmm_doorbell_abort(list_entry(qi, struct vidmm_hwqueue, on_context));
    }
}

void vmm_hw_node_reset(struct vidmm_adapter *ad, uint32_t node)
{
    LIST_FOREACH(it, &ad->hwcontexts) {
        struct vidmm_hwcontext *c = list_entry(it, struct vidmm_hwcontext, on_adapter);
        if (c->node == node && c->state != HW_SUSPENDED) set_state(c, HW_SUSPENDED);
    }
}

/* Entries of a page that becomes valid now may be cached as invalid. What is handed over after a suspension
 * was asked for does not execute before the resumption, and that waits for the gate. */
void vmm_hw_gate(struct vmm_space *sp)
{
    LIST_FOREACH(it, &sp->proc->devices) vmm_hw_stop(list_entry(it, struct vidmm_device, on_process));
}

/* ---- questions ---- */

static bool can_go_on(struct vmm_hwentry *e)
{
    bool reached = true;
    for (uint32_t i = 0; i < e->syncs && e->kind == PACKET_WAIT; i++)
        reached = reached && vmm_fence_reached(syncs_of(e)[i].fence, syncs_of(e)[i].value);
    return reached;
}

/* Work that only residency keeps from executing: a queue that waits for a fence has none. */
bool vmm_hw_has_work(const struct vidmm_device *d)
{
    LIST_FOREACH(ci, &d->hwcontexts) {
        LIST_FOREACH(qi, &list_entry(ci, struct vidmm_hwcontext, on_device)->queues) {
            const struct vidmm_hwqueue *q = list_entry(qi, struct vidmm_hwqueue, on_context);
            struct vmm_hwentry *e = front(q);
            if ((e != NULL && can_go_on(e)) || vmm_doorbell_pending(q)) return true;
        }
    }
    return false;
}

bool vmm_hw_before(const struct vidmm_device *d, uint64_t seq)
{
    LIST_FOREACH(ci, &d->hwcontexts) {
        LIST_FOREACH(qi, &list_entry(ci, struct vidmm_hwcontext, on_device)->queues) {
            const struct vmm_hwentry *e = front(list_entry(qi, struct vidmm_hwqueue, on_context));
            if (e != NULL && e->seq < seq) return true;
        }
    }
    return false;
}

struct vidmm_device *vmm_hw_owner(const struct vidmm_adapter *ad, uint64_t queue_id)
{
    LIST_FOREACH(ci, &ad->hwcontexts) {
        struct vidmm_hwcontext *c = list_entry(ci, struct vidmm_hwcontext, on_adapter);
        LIST_FOREACH(qi, &c->queues)
            if (list_entry(qi, struct vidmm_hwqueue, on_context)->id == queue_id) return c->dev;
    }
    return NULL;
}

/* ---- contexts ---- */

vidmm_status vidmm_hwcontext_create(struct vidmm_device *d, const struct vidmm_hwcontext_desc *in,
                                    struct vidmm_hwcontext **out)
{
    struct vidmm_adapter *ad = vmm_link_engine(d->proc->ad, in->engine_affinity);
    if (d->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if (ad == NULL || in->node >= ad->info.node_count) return VIDMM_INVALID;
    if (ad->lost) return VIDMM_DEVICE_LOST;
    if (in->private_size > VIDMM_PRIVATE_DATA_MAX) return VIDMM_LIMIT;
    if (vmm_link_sched_flags(ad) & VIDMM_SCHED_NO_64BIT_ATOMICS) return VIDMM_NOT_SUPPORTED;
    if (!ad->info.node[in->node].hw_queues || !ad->info.node[in->node].gpummu) return VIDMM_NOT_SUPPORTED;
    struct vidmm_hwcontext *c = vmm_new(ad, sizeof *c);
    if (c == NULL) return VIDMM_NO_MEMORY;
    struct vidmm_kmd_hw_context kc = { .process = d->proc->on[ad->gpu]->kmd_process, .node = in->node,
                                       .core = c, .private_data = in->private_data,
                                       .private_size = in->private_size };
    c->ad = ad;
    c->dev = d;
    c->node = in->node;
    vidmm_status st = ops_of(ad)->create_context(ad->kmd, &kc);
    if (st != VIDMM_OK) {
        vmm_delete(ad, c, sizeof *c);
        return st;
    }
    c->kmd_context = kc.handle;
    c->submit_private_max = kc.submit_private_max;
    c->id = ++ad->lead->next_id;
    list_init(&c->queues);
    list_push_back(&d->hwcontexts, &c->on_device);
    list_push_back(&ad->hwcontexts, &c->on_adapter);
    ad->counters->contexts++;
    *out = c;
    return VIDMM_OK;
}

static bool context_step_dying(struct vidmm_hwcontext *c)
{
    struct vidmm_adapter *ad = c->ad;
    if (!c->dying || !list_empty(&c->queues) || c->state != HW_SUSPENDED) return false;
    ops_of(ad)->destroy_context(ad->kmd, c->kmd_context);
    list_remove(&c->on_device);
    list_remove(&c->on_adapter);
    vmm_delete(ad, c, sizeof *c);
    return true;
}

void vidmm_hwcontext_destroy(struct vidmm_hwcontext *c)
{
    c->dying = true;
    LIST_FOREACH_SAFE(it, tmp, &c->queues)
        vidmm_hwqueue_destroy(list_entry(it, struct vidmm_hwqueue, on_context));
    (void)context_step_dying(c);
}

void vmm_hw_destroy_all(struct vidmm_device *d)
{
    LIST_FOREACH_SAFE(it, tmp, &d->hwcontexts)
        vidmm_hwcontext_destroy(list_entry(it, struct vidmm_hwcontext, on_device));
}

/* ---- queues ---- */

static vidmm_status make_queue(struct vidmm_hwcontext *c, const struct vidmm_hwqueue_desc *in,
                               struct vidmm_hwqueue *q)
{
    struct vidmm_adapter *ad = c->ad;
    struct vidmm_kmd_hw_queue kq = { .context = c->kmd_context, .flags = in->flags, .core = q,
                                     .private_data = in->private_data, .private_size = in->private_size };
    vidmm_status st = ops_of(ad)->create_queue(ad->kmd, &kq);
    if (st != VIDMM_OK) return st;
    st = vmm_fence_make(c->dev, 0, VIDMM_FENCE_NO_SIGNAL, &q->progress); /* last: it is not taken back */
    if (st != VIDMM_OK) {
        ops_of(ad)->destroy_queue(ad->kmd, kq.handle);
        return st;
    }
    q->kmd_queue = kq.handle;
    q->id = ++ad->lead->next_id;
    ops_of(ad)->start_queue(ad->kmd, q->kmd_queue, q->id, q->progress->gpu_va);
    return VIDMM_OK;
}

vidmm_status vidmm_hwqueue_create(struct vidmm_hwcontext *c, const struct vidmm_hwqueue_desc *in,
                                  struct vidmm_hwqueue **out)
{
    struct vidmm_adapter *ad = c->ad;
    if (c->dev->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    bool user = (in->flags & VIDMM_HWQUEUE_USER_SUBMISSION) != 0;
    if (c->dying || (in->flags & ~(uint32_t)VIDMM_HWQUEUE_USER_SUBMISSION)) return VIDMM_INVALID;
    if (user && !ad->info.node[c->node].user_submission) return VIDMM_NOT_SUPPORTED; /* SUB-27 */
    if (in->private_size > VIDMM_PRIVATE_DATA_MAX) return VIDMM_LIMIT;
    struct vidmm_hwqueue *q = vmm_new(ad, sizeof *q);
    if (q == NULL) return VIDMM_NO_MEMORY;
    q->ad = ad;
    q->ctx = c;
    q->user = user;
    list_init(&q->entries);
    vidmm_status st = make_queue(c, in, q);
    if (st != VIDMM_OK) {
        vmm_delete(ad, q, sizeof *q);
        return st;
    }
    list_push_back(&c->queues, &q->on_context);
    *out = q;
    return VIDMM_OK;
}

static bool queue_step_dying(struct vidmm_hwqueue *q)
{
    struct vidmm_adapter *ad = q->ad;
    bool progress = vmm_doorbell_step_dying(q);
    if (!q->dying || !list_empty(&q->entries) || q->doorbell != NULL) return progress;
    if (q->user && !q->ctx->abandoned && vmm_doorbell_pending(q)) return progress;
    ops_of(ad)->destroy_queue(ad->kmd, q->kmd_queue);
    list_remove(&q->on_context);
    vmm_fence_drop(q->progress);
    vmm_delete(ad, q, sizeof *q);
    return true;
}

void vidmm_hwqueue_destroy(struct vidmm_hwqueue *q)
{
    q->dying = true;
    if (q->doorbell != NULL) vidmm_doorbell_destroy(q->doorbell);
    (void)retire(q);
    (void)queue_step_dying(q);
}

bool vmm_hw_step_dying(struct vidmm_device *d)
{
    bool progress = false;
    LIST_FOREACH_SAFE(ci, ctmp, &d->hwcontexts) {
        struct vidmm_hwcontext *c = list_entry(ci, struct vidmm_hwcontext, on_device);
        LIST_FOREACH_SAFE(qi, qtmp, &c->queues)
            progress |= queue_step_dying(list_entry(qi, struct vidmm_hwqueue, on_context));
        progress |= context_step_dying(c);
    }
    return progress;
}

struct vidmm_fence *vidmm_hwqueue_progress(struct vidmm_hwqueue *q) { return q->progress; }

uint32_t vidmm_hwqueue_pending(const struct vidmm_hwqueue *q)
{
    return (uint32_t)(q->submitted - min_u64(q->submitted, retired_of(q)));
}

/* ---- submission ---- */

vidmm_status vidmm_hwqueue_submit(struct vidmm_hwqueue *q, uint64_t va, uint32_t bytes,
                                  const void *private_data, uint32_t private_size, uint64_t progress)
{
    struct vidmm_adapter *ad = q->ad;
    struct vidmm_kmd_hw_submit s = { .queue = q->kmd_queue, .va = va, .bytes = bytes, .progress = progress,
                                     .private_data = private_data, .private_size = private_size };
    if (q->ctx->dev->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if (q->dying || q->user || (private_size > 0 && private_data == NULL)) return VIDMM_INVALID; /* SUB-27 */
    if (progress <= q->last_progress || progress == UINT64_MAX) return VIDMM_INVALID; /* SUB-24 */
    if (private_size > q->ctx->submit_private_max) return VIDMM_LIMIT;
    struct vmm_hwentry *e = entry_new(q, PACKET_EXEC, 0);
    if (e == NULL) return VIDMM_NO_MEMORY;
    vidmm_status st = ops_of(ad)->submit_command(ad->kmd, &s);
    if (st != VIDMM_OK) {
        entry_delete(ad, e);
        return st;
    }
    q->last_progress = progress;
    ad->counters->submits++;
    entry_commit(q, e);
    return VIDMM_OK;
}

static vidmm_status check_sync(const struct vidmm_hwqueue *q, struct vidmm_fence *const *fences, uint32_t n,
                               uint32_t forbidden)
{
    if (q->ctx->dev->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if (q->dying || q->user || n == 0 || n > VIDMM_WAIT_OBJECTS_MAX) return VIDMM_INVALID;
    for (uint32_t i = 0; i < n; i++) {
        const struct vidmm_fence *f = fences[i];
        if (f->dying || f->dev->proc != q->ctx->dev->proc || f->gpu_va == 0) return VIDMM_INVALID;
        if (f->flags & forbidden) return VIDMM_ACCESS_DENIED;
    }
    return VIDMM_OK;
}

static vidmm_status submit_sync(struct vidmm_hwqueue *q, enum vmm_packet_kind kind,
                                struct vidmm_fence *const *fences, const uint64_t *values, uint32_t n)
{
    struct vidmm_adapter *ad = q->ad;
    struct vidmm_kmd_hw_sync sync[VIDMM_WAIT_OBJECTS_MAX];
    bool wait = kind == PACKET_WAIT;
    vidmm_status st = check_sync(q, fences, n, wait ? VIDMM_FENCE_NO_WAIT : VIDMM_FENCE_NO_SIGNAL);
    if (st != VIDMM_OK) return st;
    struct vmm_hwentry *e = entry_new(q, kind, n);
    if (e == NULL) return VIDMM_NO_MEMORY;
    for (uint32_t i = 0; i < n; i++) {
        syncs_of(e)[i] = (struct vmm_hwsync){ fences[i], values[i] };
        sync[i] = (struct vidmm_kmd_hw_sync){ fences[i]->gpu_va, values[i] };
    }
    if (wait) st = ops_of(ad)->submit_wait(ad->kmd, q->kmd_queue, sync, n);
    else st = ops_of(ad)->submit_signal(ad->kmd, q->kmd_queue, sync, n);
    if (st != VIDMM_OK) {
        entry_delete(ad, e);
        return st;
    }
    entry_commit(q, e);
    return VIDMM_OK;
}

vidmm_status vidmm_hwqueue_wait(struct vidmm_hwqueue *q, struct vidmm_fence *const *fences,
                                const uint64_t *values, uint32_t n)
{
    return submit_sync(q, PACKET_WAIT, fences, values, n);
}

vidmm_status vidmm_hwqueue_signal(struct vidmm_hwqueue *q, struct vidmm_fence *const *fences,
                                  const uint64_t *values, uint32_t n)
{
    return submit_sync(q, PACKET_SIGNAL, fences, values, n);
}
