/* SPDX-License-Identifier: MIT */
/* tap_hw.c - the tap's hardware scheduling part: counts, and can hold suspensions back. */
#include "tap.h"

static const struct vidmm_kmd_hw_ops *next(const struct tap *t) { return t->inner->hw; }

static bool create_fails(struct tap *t) { return t->fail_create_in != 0 && --t->fail_create_in == 0; }

static vidmm_status create_context(void *kmd, struct vidmm_kmd_hw_context *c)
{
    struct tap *t = kmd;
    t->calls++;
    if (create_fails(t)) return VIDMM_FAILED;
    return next(t)->create_context(t->inner_kmd, c);
}

static void destroy_context(void *kmd, void *context)
{
    struct tap *t = kmd;
    t->calls++;
    next(t)->destroy_context(t->inner_kmd, context);
}

static vidmm_status create_queue(void *kmd, struct vidmm_kmd_hw_queue *q)
{
    struct tap *t = kmd;
    t->calls++;
    if (create_fails(t)) return VIDMM_FAILED;
    t->hw.queue = *q;
    return next(t)->create_queue(t->inner_kmd, q);
}

static void start_queue(void *kmd, void *queue, uint64_t id, uint64_t progress_va)
{
    struct tap *t = kmd;
    t->calls++;
    next(t)->start_queue(t->inner_kmd, queue, id, progress_va);
}

static void destroy_queue(void *kmd, void *queue)
{
    struct tap *t = kmd;
    t->calls++;
    next(t)->destroy_queue(t->inner_kmd, queue);
}

static vidmm_status submit_command(void *kmd, const struct vidmm_kmd_hw_submit *s)
{
    struct tap *t = kmd;
    t->calls++;
    t->hw.commands++;
    t->hw.submit = *s;
    t->hw.private_bytes += s->private_size;
    return next(t)->submit_command(t->inner_kmd, s);
}

static vidmm_status submit_wait(void *kmd, void *queue, const struct vidmm_kmd_hw_sync *s, uint32_t n)
{
    struct tap *t = kmd;
    t->calls++;
    t->hw.waits++;
    t->hw.sync = s[0];
    return next(t)->submit_wait(t->inner_kmd, queue, s, n);
}

static vidmm_status submit_signal(void *kmd, void *queue, const struct vidmm_kmd_hw_sync *s, uint32_t n)
{
    struct tap *t = kmd;
    t->calls++;
    t->hw.signals++;
    t->hw.sync = s[0];
    return next(t)->submit_signal(t->inner_kmd, queue, s, n);
}

static vidmm_status suspend_context(void *kmd, void *context, uint64_t value)
{
    struct tap *t = kmd;
    t->calls++;
    t->hw.suspends++;
    t->hw.suspended = context;
    t->hw.suspend_value = value;
    if (t->hw.hold_suspends) return VIDMM_PENDING; /* and the device is not even asked */
    return next(t)->suspend_context(t->inner_kmd, context, value);
}

static void resume_context(void *kmd, void *context)
{
    struct tap *t = kmd;
    t->calls++;
    t->hw.resumes++;
    next(t)->resume_context(t->inner_kmd, context);
}

static uint64_t aborted_queue(void *kmd, uint32_t node)
{
    struct tap *t = kmd;
    t->calls++;
    return next(t)->aborted_queue(t->inner_kmd, node);
}

static vidmm_status connect_doorbell(void *kmd, const struct vidmm_kmd_doorbell *d)
{
    struct tap *t = kmd;
    t->calls++;
    t->hw.connects++;
    return next(t)->connect_doorbell(t->inner_kmd, d);
}

static void disconnect_doorbell(void *kmd, void *queue)
{
    struct tap *t = kmd;
    t->calls++;
    t->hw.disconnects++;
    next(t)->disconnect_doorbell(t->inner_kmd, queue);
}

static bool queue_pending(void *kmd, void *queue)
{
    struct tap *t = kmd;
    t->calls++;
    return next(t)->queue_pending(t->inner_kmd, queue);
}

const struct vidmm_kmd_hw_ops tap_hw_ops = {
    .create_context = create_context, .destroy_context = destroy_context,
    .create_queue = create_queue, .destroy_queue = destroy_queue, .start_queue = start_queue,
    .submit_command = submit_command, .submit_wait = submit_wait, .submit_signal = submit_signal,
    .suspend_context = suspend_context, .resume_context = resume_context, .aborted_queue = aborted_queue,
    .doorbells = 4, .connect_doorbell = connect_doorbell, .disconnect_doorbell = disconnect_doorbell,
    .queue_pending = queue_pending};
