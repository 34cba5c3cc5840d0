/* SPDX-License-Identifier: MIT */
/* port_hw.c - hardware contexts and queues for the drivers of the simulated GPU. Owns: their driver objects.
 * Calls: hwqueue.h, softgpu, platform->alloc and free (by the owner of the adapter only). */
#include "base/bits.h"
#include "softgpu/hwqueue.h"
#include "softgpu/port.h"

#define ENTRIES_MIN 16u
#define DOORBELLS 4u /* few, so that they are fought for */

static void *take(struct port *p, uint64_t bytes) { return p->platform->alloc(p->platform->ctx, bytes, 16); }

static void give(struct port *p, void *memory, uint64_t bytes)
{
    p->platform->free(p->platform->ctx, memory, bytes);
}

static vidmm_status create_context(void *kmd, struct vidmm_kmd_hw_context *in)
{
    struct port *p = kmd;
    struct port_process *proc = in->process;
    if (in->node >= p->info.node_count || !p->info.node[in->node].hw_queues) return VIDMM_INVALID;
    if (softgpu_countdown(p->gpu, SOFTGPU_COUNT_CREATE)) return VIDMM_FAILED;
    struct softgpu_hwcontext *c = take(p, sizeof(*c));
    if (c == NULL) return VIDMM_NO_MEMORY;
    *c = (struct softgpu_hwcontext){.hw = {.space = &proc->space, .node = in->node}, .owner = in->core};
    in->handle = c;
    in->submit_private_max = p->private_max;
    return VIDMM_OK;
}

static void destroy_context(void *kmd, void *context)
{
    give(kmd, context, sizeof(struct softgpu_hwcontext));
}

static vidmm_status create_queue(void *kmd, struct vidmm_kmd_hw_queue *in)
{
    struct port *p = kmd;
    struct softgpu_hwqueue_desc d = {.context = in->context, .owner = in->core,
                                     .entries_max = ENTRIES_MIN};
    if (softgpu_countdown(p->gpu, SOFTGPU_COUNT_CREATE)) return VIDMM_FAILED;
    void *q = take(p, softgpu_hwqueue_bytes());
    d.entries = take(p, ENTRIES_MIN * sizeof(*d.entries));
    if (q == NULL || d.entries == NULL) {
        if (q != NULL) give(p, q, softgpu_hwqueue_bytes());
        if (d.entries != NULL) give(p, d.entries, ENTRIES_MIN * sizeof(*d.entries));
        return VIDMM_NO_MEMORY;
    }
    softgpu_hwqueue_open(p->gpu, q, &d);
    in->handle = q;
    return VIDMM_OK;
}

static void start_queue(void *kmd, void *queue, uint64_t id, uint64_t progress_va)
{
    struct port *p = kmd;
    softgpu_hwqueue_start(p->gpu, queue, id, progress_va);
}

static void destroy_queue(void *kmd, void *queue)
{
    struct port *p = kmd;
    uint32_t max;
    struct softgpu_hwentry *entries = softgpu_hwqueue_close(p->gpu, queue, &max);
    give(p, entries, max * sizeof(*entries));
    give(p, queue, softgpu_hwqueue_bytes());
}

static vidmm_status push(struct port *p, struct softgpu_hwqueue *q, const struct softgpu_hwentry *add,
                         uint32_t n)
{
    while (!softgpu_hwqueue_push(p->gpu, q, add, n)) {
        uint32_t size = 2 * softgpu_hwqueue_max(q);
        struct softgpu_hwentry *larger = take(p, size * sizeof(*larger));
        if (larger == NULL) return VIDMM_NO_MEMORY;
        struct softgpu_hwentry *old = softgpu_hwqueue_grow(p->gpu, q, larger, &size);
        give(p, old, size * sizeof(*old));
    }
    return VIDMM_OK;
}

static vidmm_status submit_command(void *kmd, const struct vidmm_kmd_hw_submit *s)
{
    struct port *p = kmd;
    struct softgpu_hwentry e = {.kind = HWENTRY_EXEC, .last = true, .va = s->va, .bytes = s->bytes,
                                .value = s->progress};
    bool aligned = is_aligned(s->va, 8) && is_aligned(s->bytes, 8) && s->bytes != 0;
    if (!aligned || s->private_size > p->private_max) return VIDMM_INVALID;
    return push(p, s->queue, &e, 1);
}

static vidmm_status submit_sync(struct port *p, void *queue, enum softgpu_hwentry_kind kind,
                                const struct vidmm_kmd_hw_sync *s, uint32_t n)
{
    struct softgpu_hwentry e[VIDMM_WAIT_OBJECTS_MAX];
    if (n == 0 || n > VIDMM_WAIT_OBJECTS_MAX) return VIDMM_INVALID;
    for (uint32_t i = 0; i < n; i++)
        e[i] = (struct softgpu_hwentry){.kind = kind, .last = i + 1 == n, .va = s[i].va, .value = s[i].value};
    return push(p, queue, e, n);
}

static vidmm_status submit_wait(void *kmd, void *queue, const struct vidmm_kmd_hw_sync *s, uint32_t n)
{
    return submit_sync(kmd, queue, HWENTRY_WAIT, s, n);
}

static vidmm_status submit_signal(void *kmd, void *queue, const struct vidmm_kmd_hw_sync *s, uint32_t n)
{
    return submit_sync(kmd, queue, HWENTRY_SIGNAL, s, n);
}

static vidmm_status suspend_context(void *kmd, void *context, uint64_t value)
{
    struct port *p = kmd;
    return softgpu_hwcontext_suspend(p->gpu, context, value) ? VIDMM_OK : VIDMM_PENDING;
}

static void resume_context(void *kmd, void *context)
{
    struct port *p = kmd;
    softgpu_hwcontext_resume(p->gpu, context);
}

static uint64_t aborted_queue(void *kmd, uint32_t node)
{
    struct port *p = kmd;
    return softgpu_hwqueue_aborted(p->gpu, node);
}

static vidmm_status connect_doorbell(void *kmd, const struct vidmm_kmd_doorbell *d)
{
    struct port *p = kmd;
    struct softgpu_door door = {.word = d->word, .ring_va = d->ring_va, .control_va = d->control_va,
                                .entries = d->ring_entries};
    softgpu_hwqueue_connect(p->gpu, d->queue, &door);
    return VIDMM_OK;
}

static void disconnect_doorbell(void *kmd, void *queue)
{
    struct port *p = kmd;
    softgpu_hwqueue_disconnect(p->gpu, queue);
}

static bool queue_pending(void *kmd, void *queue)
{
    struct port *p = kmd;
    return softgpu_hwqueue_pending(p->gpu, queue);
}

const struct vidmm_kmd_hw_ops port_hw_ops = {
    .create_context = create_context, .destroy_context = destroy_context,
    .create_queue = create_queue, .destroy_queue = destroy_queue, .start_queue = start_queue,
    .submit_command = submit_command, .submit_wait = submit_wait, .submit_signal = submit_signal,
    .suspend_context = suspend_context, .resume_context = resume_context, .aborted_queue = aborted_queue,
    .doorbells = DOORBELLS, .connect_doorbell = connect_doorbell,
    .disconnect_doorbell = disconnect_doorbell, .queue_pending = queue_pending};
