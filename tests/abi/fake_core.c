/* SPDX-License-Identifier: MIT */
/* fake_core.c - see fake_core.h.  Calls nothing of ours. */
#include "fake_core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { PROCESS = 0x50524f43, DEVICE, CONTEXT, QUEUE, FENCE, OPEN, MUTEX, HWCONTEXT, HWQUEUE };

/* One shape for all kinds of object. */
struct object {
    uint32_t kind;
    struct object *parent, *first, *next;
    struct object *fence;   /* of a queue */
    uint64_t value, issued, flags, bytes, resident, locks;
    uint32_t priority;
};

struct fake fake;
_Alignas(4096) uint8_t client[CLIENT_BYTES];
static struct vidmm_adapter_info info;
static struct vidmm_counters counters;

static void check(bool ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "fake core: %s\n", what);
    abort();
}

static struct object *use(const void *p, uint32_t kind)
{
    struct object *o = (struct object *)(uintptr_t)p;
    check(fake.owned, "called without owning the adapter");
    check(o != NULL && o->kind == kind, "an object of the wrong kind, or a dead one");
    return o;
}

/* One allocation or call of many fails. */
static vidmm_status fails(void)
{
    check(fake.owned, "called without owning the adapter");
    fake.core_calls++;
    return fake.core_calls == fake.fail_core_at ? fake.fail_status : VIDMM_OK;
}

static struct object *make(uint32_t kind, struct object *parent)
{
    struct object *o = calloc(1, sizeof *o);
    check(o != NULL, "no memory");
    o->kind = kind;
    o->parent = parent;
    if (parent != NULL) {
        o->next = parent->first;
        parent->first = o;
    }
    fake.objects++;
    return o;
}

static void unlink_object(struct object *o)
{
    if (o->parent == NULL) return;
    struct object **at = &o->parent->first;
    while (*at != o) at = &(*at)->next;
    *at = o->next;
}

#define QUEUES_MAX 1024u
static struct object *queues[QUEUES_MAX];

/* Work goes on while somebody waits. */
static void catch_up(void)
{
    for (uint32_t i = 0; i < QUEUES_MAX; i++)
        if (queues[i] != NULL && queues[i]->fence->value < queues[i]->issued)
            queues[i]->fence->value = queues[i]->issued;
}

static void list_queue(struct object *from, struct object *to)
{
    uint32_t i = 0;
    while (i < QUEUES_MAX && queues[i] != from) i++;
    if (i < QUEUES_MAX) queues[i] = to;
}

static void drop(struct object *o)
{
    if (o->kind == QUEUE) list_queue(o, NULL);
    unlink_object(o);
    o->kind = 0xdead;
    fake.objects--;
    free(o);
}

static void destroy(struct object *o)
{
    while (o->first != NULL) {
        while (o->first->first != NULL) drop(o->first->first);
        drop(o->first);
    }
    drop(o);
}

/* ---- adapter, process, device ------------------------------------------------------------------- */

struct vidmm_adapter *fake_adapter(void) { return (struct vidmm_adapter *)(void *)&info; }
const struct vidmm_adapter_info *vidmm_adapter_info(const struct vidmm_adapter *a) { (void)a; return &info; }
uint32_t vidmm_gpu_count(const struct vidmm_adapter *a) { (void)a; return 1; }
const struct vidmm_adapter_info *vidmm_gpu_info(const struct vidmm_adapter *a, uint32_t gpu)
{
    (void)a;
    return gpu == 0 ? &info : NULL;
}
struct vidmm_counters *vidmm_adapter_counters(struct vidmm_adapter *a) { (void)a; return &counters; }

vidmm_status vidmm_adapter_query_private(struct vidmm_adapter *a, void *data, uint32_t bytes)
{
    (void)a;
    vidmm_status st = fails();
    if (st == VIDMM_OK) memset(data, 0x5a, bytes);
    return st;
}

bool vidmm_adapter_removed(const struct vidmm_adapter *a)
{
    (void)a;
    return fake.gone;
}
vidmm_status vidmm_adapter_escape(struct vidmm_adapter *a, void *data, uint32_t bytes)
{
    return vidmm_adapter_query_private(a, data, bytes);
}

#define MAKE(type, kind, parent)                                   \
    vidmm_status st = fails();                                     \
    if (st == VIDMM_OK) *out = (struct type *)(void *)make(kind, parent); \
    return st

vidmm_status vidmm_process_create(struct vidmm_adapter *a, struct vidmm_process **out)
{
    (void)a;
    MAKE(vidmm_process, PROCESS, NULL);
}
void vidmm_process_destroy(struct vidmm_process *p) { destroy(use(p, PROCESS)); }

vidmm_status vidmm_device_create(struct vidmm_process *p, struct vidmm_device **out)
{
    MAKE(vidmm_device, DEVICE, use(p, PROCESS));
}
void vidmm_device_destroy(struct vidmm_device *d) { destroy(use(d, DEVICE)); }
enum vidmm_device_state vidmm_device_state(const struct vidmm_device *d)
{
    use(d, DEVICE);
    return fake.lost ? VIDMM_DEVICE_RESET : VIDMM_DEVICE_ACTIVE;
}
enum vidmm_model vidmm_device_model(const struct vidmm_device *d)
{
    (void)d;
    return VIDMM_MODEL_GPUMMU;
}

vidmm_status vidmm_device_mark(struct vidmm_device *d)
{
    use(d, DEVICE);
    return VIDMM_OK;
}
vidmm_status vidmm_device_fault(const struct vidmm_device *d, struct vidmm_page_fault *f)
{
    use(d, DEVICE);
    *f = (struct vidmm_page_fault){.va = 0x1234, .flags = VIDMM_FAULT_WRITE, .error_code = 7,
                                   .primitive = 42, .stage = 7, .bind_entry = 3};
    return VIDMM_OK;
}

/* ---- fences ------------------------------------------------------------------------------------- */

vidmm_status vidmm_fence_create(struct vidmm_device *d, uint64_t initial, uint32_t flags,
                                struct vidmm_fence **out)
{
    struct object *device = use(d, DEVICE);
    vidmm_status st = fails();
    if (st != VIDMM_OK) return st;
    struct object *o = make(FENCE, device);
    o->value = initial;
    o->flags = flags;
    *out = (struct vidmm_fence *)(void *)o;
    return st;
}
void vidmm_fence_destroy(struct vidmm_fence *f) { destroy(use(f, FENCE)); }
const uint64_t *vidmm_fence_cpu_address(const struct vidmm_fence *f) { return &use(f, FENCE)->value; }
uint64_t vidmm_fence_gpu_address(const struct vidmm_fence *f)
{
    return use(f, FENCE)->flags & VIDMM_FENCE_NO_GPU_ACCESS ? 0 : 0x7000;
}
uint64_t vidmm_fence_value(const struct vidmm_fence *f) { return use(f, FENCE)->value; }
bool vidmm_fence_reached(const struct vidmm_fence *f, uint64_t value)
{
    return use(f, FENCE)->value >= value;
}
vidmm_status vidmm_fences_signal(struct vidmm_fence *const *f, const uint64_t *v, uint32_t n, uint32_t flags)
{
    for (uint32_t i = 0; i < n; i++) {
        if (use(f[i], FENCE)->flags & VIDMM_FENCE_NO_SIGNAL) return VIDMM_ACCESS_DENIED;
        if (v[i] < use(f[i], FENCE)->value && (flags & VIDMM_SIGNAL_ALLOW_REWIND) == 0) return VIDMM_INVALID;
    }
    for (uint32_t i = 0; i < n; i++) use(f[i], FENCE)->value = v[i];
    return VIDMM_OK;
}

/* ---- mutexes and semaphores ---------------------------------------------------------------------- */

vidmm_status vidmm_sync_create(struct vidmm_device *d, const struct vidmm_sync_desc *in,
                               struct vidmm_sync **out)
{
    struct object *device = use(d, DEVICE);
    vidmm_status st = fails();
    if (st != VIDMM_OK) return st;
    struct object *o = make(MUTEX, device);
    o->value = in->initial;
    o->flags = in->kind;
    fake.last_max = in->max;
    *out = (struct vidmm_sync *)(void *)o;
    return st;
}
void vidmm_sync_destroy(struct vidmm_sync *s) { destroy(use(s, MUTEX)); }

/* ---- contexts ----------------------------------------------------------------------------------- */

vidmm_status vidmm_context_create(struct vidmm_device *d, const struct vidmm_context_desc *in,
                                  struct vidmm_context **out)
{
    if (in->node >= info.node_count) return VIDMM_INVALID;
    MAKE(vidmm_context, CONTEXT, use(d, DEVICE));
}
void vidmm_context_destroy(struct vidmm_context *c) { destroy(use(c, CONTEXT)); }
vidmm_status vidmm_contexts_submit(struct vidmm_context *const *c, uint32_t n, const struct vidmm_submit *in)
{
    for (uint32_t i = 0; i < n; i++) use(c[i], CONTEXT);
    volatile uint8_t sum = 0;
    for (uint32_t i = 0; i < in->private_size; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)in->private_data)[i]);
    fake.last_submit_va = in->va;
    fake.last_submit_contexts = n;
    return fails();
}
void vidmm_context_sizes(const struct vidmm_context *c, struct vidmm_render_sizes *out)
{
    use(c, CONTEXT);
    *out = (struct vidmm_render_sizes){4096, 64, 128};
}
void vidmm_context_resize(struct vidmm_context *c, const struct vidmm_render_sizes *want)
{
    (void)want;
    use(c, CONTEXT);
}
uint32_t vidmm_context_pending(const struct vidmm_context *c)
{
    use(c, CONTEXT);
    return 0;
}
vidmm_status vidmm_context_render(struct vidmm_context *c, const struct vidmm_render *in)
{
    use(c, CONTEXT);
    volatile uint8_t sum = 0;
    for (uint32_t i = 0; i < in->command_bytes; i++) sum = (uint8_t)(sum + ((const uint8_t *)in->command)[i]);
    for (uint32_t i = 0; i < in->list_count; i++) use(in->list[i].open, OPEN);
    for (uint32_t i = 0; i < in->patch_count; i++) sum = (uint8_t)(sum + in->patch[i].patch_offset);
    return fails();
}
/* A queue's fence is a neighbour of the queue: it goes with it, and with the context. */
vidmm_status vidmm_hwcontext_create(struct vidmm_device *d, const struct vidmm_hwcontext_desc *in,
                                    struct vidmm_hwcontext **out)
{
    if (in->node >= info.node_count) return VIDMM_INVALID;
    MAKE(vidmm_hwcontext, HWCONTEXT, use(d, DEVICE));
}
void vidmm_hwcontext_destroy(struct vidmm_hwcontext *c) { destroy(use(c, HWCONTEXT)); }
vidmm_status vidmm_hwqueue_create(struct vidmm_hwcontext *c, const struct vidmm_hwqueue_desc *in,
                                  struct vidmm_hwqueue **out)
{
    struct object *context = use(c, HWCONTEXT);
    vidmm_status st = fails();
    if (st != VIDMM_OK || in->flags != 0) return st;
    struct object *o = make(HWQUEUE, context);
    o->fence = make(FENCE, context);
    *out = (struct vidmm_hwqueue *)(void *)o;
    return VIDMM_OK;
}
void vidmm_hwqueue_destroy(struct vidmm_hwqueue *q)
{
    struct object *o = use(q, HWQUEUE);
    drop(o->fence);
    drop(o);
}
struct vidmm_fence *vidmm_hwqueue_progress(struct vidmm_hwqueue *q)
{
    return (struct vidmm_fence *)(void *)use(q, HWQUEUE)->fence;
}
vidmm_status vidmm_hwqueue_submit(struct vidmm_hwqueue *q, uint64_t va, uint32_t bytes, const void *data,
                                  uint32_t size, uint64_t progress)
{
    struct object *o = use(q, HWQUEUE);
    (void)bytes;
    volatile uint8_t sum = 0;
    for (uint32_t i = 0; i < size; i++) sum = (uint8_t)(sum + ((const uint8_t *)data)[i]);
    fake.last_submit_va = va;
    vidmm_status st = fails();
    if (st == VIDMM_OK) o->fence->value = progress;
    return st;
}
vidmm_status vidmm_hwqueue_wait(struct vidmm_hwqueue *q, struct vidmm_fence *const *f, const uint64_t *values,
                                uint32_t n)
{
    (void)values;
    use(q, HWQUEUE);
    for (uint32_t i = 0; i < n; i++) use(f[i], FENCE);
    return fails();
}
vidmm_status vidmm_hwqueue_signal(struct vidmm_hwqueue *q, struct vidmm_fence *const *f,
                                  const uint64_t *values, uint32_t n)
{
    return vidmm_hwqueue_wait(q, f, values, n);
}

static void use_point(const struct vidmm_point *p, uint64_t add)
{
    check((p->fence == NULL) != (p->sync == NULL), "a point names one object");
    if (p->sync != NULL) use(p->sync, MUTEX)->value += add;
    else use(p->fence, FENCE)->value = add != 0 && add != UINT64_MAX ? p->value : use(p->fence, FENCE)->value;
}
vidmm_status vidmm_context_wait_for(struct vidmm_context *c, const struct vidmm_point *p, uint32_t n)
{
    use(c, CONTEXT);
    vidmm_status st = fails();
    for (uint32_t i = 0; i < n && st == VIDMM_OK; i++) use_point(&p[i], UINT64_MAX); /* minus one */
    return st;
}
vidmm_status vidmm_contexts_signal(const struct vidmm_signal *in)
{
    const struct object *device = use(in->context[0], CONTEXT)->parent;
    for (uint32_t i = 1; i < in->context_count; i++)
        if (use(in->context[i], CONTEXT)->parent != device) return VIDMM_INVALID;
    vidmm_status st = fails();
    fake.last_signal_contexts = in->context_count;
    fake.last_signal_flags = in->flags;
    for (uint32_t i = 0; i < in->point_count && st == VIDMM_OK; i++) use_point(&in->point[i], 1);
    return st;
}
vidmm_status vidmm_context_set_priority(struct vidmm_context *c, int32_t priority)
{
    use(c, CONTEXT);
    return priority < -7 || priority > 7 ? VIDMM_INVALID : VIDMM_OK;
}

vidmm_status vidmm_context_set_in_process_priority(struct vidmm_context *c, int32_t priority)
{
    use(c, CONTEXT);
    return priority < -7 || priority > 7 ? VIDMM_INVALID : VIDMM_OK;
}

/* ---- allocations -------------------------------------------------------------------------------- */

vidmm_status vidmm_alloc_create(struct vidmm_device *d, const struct vidmm_alloc_desc *in,
                                struct vidmm_open **out)
{
    struct object *device = use(d, DEVICE);
    vidmm_status st = fails();
    if (st != VIDMM_OK) return st;
    struct object *o = make(OPEN, device);
    o->bytes = 65536;
    o->priority = VIDMM_PRIORITY_NORMAL;
    if (in->private_size != 0) o->flags = *(const uint8_t *)in->private_data;
    *out = (struct vidmm_open *)(void *)o;
    return st;
}
vidmm_status vidmm_alloc_open(struct vidmm_device *d, const struct vidmm_open *from, uint32_t flags,
                              struct vidmm_open **out)
{
    struct object *device = use(d, DEVICE);
    const struct object *shared = use(from, OPEN);
    vidmm_status st = fails();
    if (st != VIDMM_OK) return st;
    struct object *o = make(OPEN, device);
    o->bytes = shared->bytes;
    o->priority = shared->priority;
    fake.last_open_flags = flags;
    *out = (struct vidmm_open *)(void *)o;
    return st;
}
void vidmm_open_close(struct vidmm_open *p, uint32_t flags)
{
    fake.last_close_flags = flags;
    destroy(use(p, OPEN));
}
uint64_t vidmm_device_close_mark(const struct vidmm_device *d) { return use(d, DEVICE)->kind; }
bool vidmm_device_closed(const struct vidmm_device *d, uint64_t mark)
{
    check(mark == use(d, DEVICE)->kind, "another mark");
    return !fake.pending || fake.wait_steps >= 3;
}
uint64_t vidmm_open_bytes(const struct vidmm_open *p) { return use(p, OPEN)->bytes; }
vidmm_status vidmm_open_set_priority(struct vidmm_open *p, uint32_t priority)
{
    use(p, OPEN)->priority = priority;
    return fails();
}
uint32_t vidmm_open_priority(const struct vidmm_open *p) { return use(p, OPEN)->priority; }
void vidmm_open_placement(const struct vidmm_open *p, struct vidmm_placement_info *out)
{
    *out = (struct vidmm_placement_info){.segment = 1, .resident = use(p, OPEN)->resident != 0,
                                          .resident_count = (uint32_t)use(p, OPEN)->resident};
}
vidmm_status vidmm_open_lock(struct vidmm_open *p, void **cpu)
{
    struct object *o = use(p, OPEN);
    o->locks++;
    *cpu = o;
    return fake.pending ? VIDMM_PENDING : VIDMM_OK;
}
uint64_t fake_locks(const void *cpu) { return ((const struct object *)cpu)->locks; }
bool vidmm_open_lock_ready(const struct vidmm_open *p) { use(p, OPEN); return fake.wait_steps >= 3; }
vidmm_status vidmm_open_unlock(struct vidmm_open *p)
{
    struct object *o = use(p, OPEN);
    if (o->locks == 0) return VIDMM_INVALID;
    o->locks--;
    return VIDMM_OK;
}

/* ---- queues, residency, addresses --------------------------------------------------------------- */

vidmm_status vidmm_queue_create_on(struct vidmm_device *d, uint32_t gpu, int32_t priority,
                                   struct vidmm_queue **out)
{
    struct object *device = use(d, DEVICE);
    if (gpu != 0) return VIDMM_INVALID;
    check(priority >= -1 && priority <= 1, "queue priority");
    vidmm_status st = fails();
    if (st != VIDMM_OK) return st;
    struct object *o = make(QUEUE, device);
    o->fence = make(FENCE, o);
    list_queue(NULL, o);
    *out = (struct vidmm_queue *)(void *)o;
    return st;
}
void vidmm_queue_destroy(struct vidmm_queue *q) { destroy(use(q, QUEUE)); }
struct vidmm_fence *vidmm_queue_fence(struct vidmm_queue *q)
{
    return (struct vidmm_fence *)(void *)use(q, QUEUE)->fence;
}
uint64_t vidmm_queue_issued(const struct vidmm_queue *q) { return use(q, QUEUE)->issued; }

static vidmm_status queued(struct object *q, uint64_t *value)
{
    *value = 0;
    if (!fake.pending) return VIDMM_OK;
    *value = ++q->issued;
    return VIDMM_PENDING;
}

vidmm_status vidmm_make_resident(struct vidmm_queue *q, struct vidmm_open *const *p, uint32_t n,
                                 uint32_t flags, uint64_t *value, uint64_t *trim)
{
    struct object *queue = use(q, QUEUE);
    (void)flags;
    *trim = 0;
    for (uint32_t i = 0; i < n; i++) check(use(p[i], OPEN)->parent == queue->parent, "foreign open");
    vidmm_status st = fails();
    if (st != VIDMM_OK) *trim = 4096;
    if (st != VIDMM_OK) return st;
    for (uint32_t i = 0; i < n; i++) use(p[i], OPEN)->resident++;
    return queued(queue, value);
}
vidmm_status vidmm_evict(struct vidmm_device *d, struct vidmm_open *const *p, uint32_t n, uint32_t flags,
                         uint64_t *trim)
{
    use(d, DEVICE);
    (void)flags;
    *trim = 0;
    for (uint32_t i = 0; i < n; i++)
        if (use(p[i], OPEN)->resident == 0) return VIDMM_INVALID;
    for (uint32_t i = 0; i < n; i++)
        if (use(p[i], OPEN)->resident != 0) use(p[i], OPEN)->resident--;
    return VIDMM_OK;
}
vidmm_status vidmm_offer(struct vidmm_device *d, struct vidmm_open *const *p, uint32_t n, uint32_t priority,
                         uint32_t flags)
{
    use(d, DEVICE);
    (void)priority;
    (void)flags;
    for (uint32_t i = 0; i < n; i++) check(use(p[i], OPEN)->parent == use(d, DEVICE), "foreign open");
    return fails();
}
vidmm_status vidmm_reclaim(struct vidmm_queue *q, struct vidmm_open *const *p, uint32_t n, uint32_t *result,
                           uint64_t *value)
{
    struct object *queue = use(q, QUEUE);
    for (uint32_t i = 0; i < n; i++) check(use(p[i], OPEN)->parent == queue->parent, "foreign open");
    vidmm_status st = fails();
    if (st != VIDMM_OK) return st;
    for (uint32_t i = 0; i < n; i++) result[i] = VIDMM_RECLAIM_OK;
    return queued(queue, value);
}
vidmm_status vidmm_va_map(struct vidmm_queue *q, const struct vidmm_map *in, uint64_t *va, uint64_t *value)
{
    if (in->open != NULL) check(use(in->open, OPEN)->parent == use(q, QUEUE)->parent, "foreign open");
    use(q, QUEUE);
    vidmm_status st = fails();
    if (st != VIDMM_OK) return st;
    *va = in->base != 0 ? in->base : 0x100000;
    use(q, QUEUE)->parent->parent->value++;
    return queued(use(q, QUEUE), value);
}
vidmm_status vidmm_va_reserve(struct vidmm_process *p, struct vidmm_queue *q, const struct vidmm_reserve *in,
                              uint64_t *va, uint64_t *value)
{
    if (q != NULL) check(use(q, QUEUE)->parent->parent == use(p, PROCESS), "foreign queue");
    vidmm_status st = fails();
    if (st != VIDMM_OK) return st;
    *va = in->base != 0 ? in->base : 0x200000;
    *value = 0;
    use(p, PROCESS)->value++;
    return VIDMM_OK;
}
vidmm_status vidmm_va_free(struct vidmm_process *p, uint64_t base, uint64_t bytes)
{
    (void)base, (void)bytes;
    if (use(p, PROCESS)->value != 0) use(p, PROCESS)->value--;
    return fails();
}
vidmm_status vidmm_va_update(struct vidmm_context *c, const struct vidmm_tile_op *op, uint32_t n,
                             struct vidmm_fence *f, uint64_t value, uint32_t flags)
{
    struct object *ctx = use(c, CONTEXT);
    for (uint32_t i = 0; i < n; i++)
        if (op[i].open != NULL) check(use(op[i].open, OPEN)->parent == ctx->parent, "foreign open");
    if (f != NULL) use(f, FENCE);
    vidmm_status st = fails();
    if (st != VIDMM_OK) return st;
    if (vidmm_context_updates(c) >= VIDMM_UPDATES_MAX) return VIDMM_BUSY;
    ctx->issued++;
    fake.update = op[n - 1];
    fake.update_value = value;
    fake.update_flags = flags;
    return VIDMM_OK;
}
/* One is processed at each step of a wait. */
uint32_t vidmm_context_updates(const struct vidmm_context *c)
{
    uint64_t issued = use(c, CONTEXT)->issued;
    return issued > fake.wait_steps ? (uint32_t)(issued - fake.wait_steps) : 0;
}

/* ---- environment -------------------------------------------------------------------------------- */

static bool env_enter(void *ctx)
{
    (void)ctx;
    check(!fake.owned, "entered twice");
    fake.owned = !fake.removed;
    return fake.owned;
}
static void env_leave(void *ctx)
{
    (void)ctx;
    check(fake.owned, "left without entering");
    fake.owned = false;
}

static bool env_wait(void *ctx, bool (*done)(void *), void *arg)
{
    (void)ctx;
    check(fake.owned, "waits without owning");
    fake.wait_steps = 0;
    while (!done(arg)) {
        if (fake.wait_steps++ == 10) return false;
        fake.owned = false; /* somebody else may call now */
        if (fake.on_wait != NULL) fake.on_wait();
        if (fake.wait_steps == 5) catch_up();
        fake.owned = true;
    }
    return true;
}

static void env_watch(void *ctx, struct vidmm_watch *w)
{
    (void)ctx;
    check(fake.owned, "watches without owning");
    w->next = fake.watches;
    fake.watches = w;
}

void fake_poll(void)
{
    fake.owned = true;
    for (struct vidmm_watch **at = &fake.watches; *at != NULL;) {
        struct vidmm_watch *w = *at;
        if (w->done(w->arg)) {
            *at = w->next;
            w->fire(w->arg);
        } else {
            at = &w->next;
        }
    }
    fake.owned = false;
}

static bool in_client(const void *p, size_t bytes, size_t limit)
{
    uintptr_t at = (uintptr_t)p, base = (uintptr_t)client;
    return at >= base && at <= base + limit && bytes <= base + limit - at;
}
static bool env_copy_in(void *ctx, void *dst, const void *src, size_t bytes)
{
    (void)ctx;
    if (!in_client(src, bytes, CLIENT_BYTES)) return false;
    memcpy(dst, src, bytes);
    return true;
}
static bool env_copy_out(void *ctx, void *dst, const void *src, size_t bytes)
{
    (void)ctx;
    if (!in_client(dst, bytes, CLIENT_BYTES - 4096)) return false;
    memcpy(dst, src, bytes);
    return true;
}
static bool env_event(void *ctx, uint64_t event)
{
    (void)ctx, (void)event;
    fake.events++;
    return true;
}
static void *env_alloc(void *ctx, size_t bytes)
{
    (void)ctx;
    if (++fake.allocs == fake.fail_alloc_at) return NULL;
    fake.env_bytes += (int64_t)bytes;
    return calloc(1, bytes);
}
static void env_free(void *ctx, void *p, size_t bytes)
{
    (void)ctx;
    fake.env_bytes -= (int64_t)bytes;
    free(p);
}

const struct vidmm_env fake_env = {
    .enter = env_enter, .leave = env_leave, .wait = env_wait, .watch = env_watch, .copy_in = env_copy_in,
    .copy_out = env_copy_out, .event_signal = env_event, .alloc = env_alloc, .free = env_free,
};

void fake_reset(void)
{
    memset(&fake, 0, sizeof fake);
    memset(client, 0, sizeof client);
    memset(&info, 0, sizeof info);
    info.segment_count = 2;
    info.segment[0].bytes = 1 << 20;
    info.segment[1].flags = VIDMM_SEGMENT_APERTURE;
    info.node_count = 3;
    info.node[0].gpummu = true;
    memcpy(info.node[0].name, "copy", 5);
    info.va_bits = 48;
    info.flags = VIDMM_ADAPTER_GPUMMU;
}
