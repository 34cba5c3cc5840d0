/* SPDX-License-Identifier: MIT */
/* hw_pass.h - for drivers that stand between the core and another driver: hardware scheduling operations that
 * only pass on. Define HW_NEXT(kmd), the next driver's object, and HW_NEXT_OPS(kmd), its operations, then
 * include this; hw_pass is the table. Owns nothing. */
#ifndef TESTS_HARNESS_HW_PASS_H
#define TESTS_HARNESS_HW_PASS_H

#include <vidmm/kmd.h>

static vidmm_status pass_create_context(void *kmd, struct vidmm_kmd_hw_context *c)
{
    return HW_NEXT_OPS(kmd)->create_context(HW_NEXT(kmd), c);
}

static void pass_destroy_context(void *kmd, void *c) { HW_NEXT_OPS(kmd)->destroy_context(HW_NEXT(kmd), c); }

static vidmm_status pass_create_queue(void *kmd, struct vidmm_kmd_hw_queue *q)
{
    return HW_NEXT_OPS(kmd)->create_queue(HW_NEXT(kmd), q);
}

static void pass_start_queue(void *kmd, void *q, uint64_t id, uint64_t progress_va)
{
    HW_NEXT_OPS(kmd)->start_queue(HW_NEXT(kmd), q, id, progress_va);
}

static void pass_destroy_queue(void *kmd, void *q) { HW_NEXT_OPS(kmd)->destroy_queue(HW_NEXT(kmd), q); }

static vidmm_status pass_submit_command(void *kmd, const struct vidmm_kmd_hw_submit *s)
{
    return HW_NEXT_OPS(kmd)->submit_command(HW_NEXT(kmd), s);
}

static vidmm_status pass_submit_wait(void *kmd, void *q, const struct vidmm_kmd_hw_sync *s, uint32_t n)
{
    return HW_NEXT_OPS(kmd)->submit_wait(HW_NEXT(kmd), q, s, n);
}

static vidmm_status pass_submit_signal(void *kmd, void *q, const struct vidmm_kmd_hw_sync *s, uint32_t n)
{
    return HW_NEXT_OPS(kmd)->submit_signal(HW_NEXT(kmd), q, s, n);
}

static vidmm_status pass_suspend_context(void *kmd, void *c, uint64_t value)
{
    return HW_NEXT_OPS(kmd)->suspend_context(HW_NEXT(kmd), c, value);
}

static void pass_resume_context(void *kmd, void *c) { HW_NEXT_OPS(kmd)->resume_context(HW_NEXT(kmd), c); }

static uint64_t pass_aborted_queue(void *kmd, uint32_t node)
{
    return HW_NEXT_OPS(kmd)->aborted_queue(HW_NEXT(kmd), node);
}

static vidmm_status pass_connect_doorbell(void *kmd, const struct vidmm_kmd_doorbell *d)
{
    return HW_NEXT_OPS(kmd)->connect_doorbell(HW_NEXT(kmd), d);
}

static void pass_disconnect_doorbell(void *kmd, void *q)
{
    HW_NEXT_OPS(kmd)->disconnect_doorbell(HW_NEXT(kmd), q);
}

static bool pass_queue_pending(void *kmd, void *q)
{
    return HW_NEXT_OPS(kmd)->queue_pending(HW_NEXT(kmd), q);
}

static const struct vidmm_kmd_hw_ops hw_pass = {
    .create_context = pass_create_context, .destroy_context = pass_destroy_context,
    .create_queue = pass_create_queue, .destroy_queue = pass_destroy_queue,
    .start_queue = pass_start_queue,
    .submit_command = pass_submit_command, .submit_wait = pass_submit_wait,
    .submit_signal = pass_submit_signal, .suspend_context = pass_suspend_context,
    .resume_context = pass_resume_context, .aborted_queue = pass_aborted_queue,
    .doorbells = 4, .connect_doorbell = pass_connect_doorbell,
    .disconnect_doorbell = pass_disconnect_doorbell, .queue_pending = pass_queue_pending};

#endif
