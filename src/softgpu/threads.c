/* SPDX-License-Identifier: MIT */
/* threads.c - lets every engine step by itself: one thread per node, all signals blocked, so that none
 * meant for the program is delivered to it; but for the two by which the platform's copy notices, in the
 * copying thread, that memory is gone. Calls engine steps, nothing else. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "base/bits.h"
#include "softgpu/gpu.h"

#define STEPS_PER_HOLD 16      /* steps before `run` is offered to a reset */
#define POLL_NS 50000ull       /* semaphores, flushes, hangs */
#define POLL_STOPPED_NS 1000000ull

static void timed_wait(struct softgpu_engine *e, uint64_t ns)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t at = (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec + ns;
    t.tv_sec = (time_t)(at / 1000000000ull);
    t.tv_nsec = (long)(at % 1000000000ull);
    (void)pthread_cond_timedwait(&e->wake, &e->queue_lock.mutex, &t);
}

static uint64_t wait_span(struct softgpu_engine *e)
{
    lock_take(&e->run);
    uint64_t wakeup = e->wakeup_ns;
    bool stopped = e->state == ENGINE_FAULTED;
    lock_drop(&e->run);
    if (stopped) return POLL_STOPPED_NS;
    if (wakeup == UINT64_MAX) return POLL_NS;
    uint64_t now = gpu_now(e->gpu);
    return wakeup > now ? min_u64(wakeup - now, POLL_STOPPED_NS) : 0;
}

/* Nobody tells the engine that a doorbell was rung: it looks. */
static bool wait_for_doors(struct softgpu_engine *e)
{
    if (atomic_load(&e->doors) == 0) return false;
    timed_wait(e, POLL_NS);
    return true;
}

static void wait_for_work(struct softgpu_engine *e, enum softgpu_step last)
{
    uint64_t span = last == SOFTGPU_WAITING ? wait_span(e) : 0;
    lock_take(&e->queue_lock);
    if (last == SOFTGPU_IDLE) {
        while (e->count == 0 && !engine_hw_runnable(e) && !atomic_load(&e->stop) &&
               !atomic_load(&e->preempt)) {
            if (wait_for_doors(e)) break;
            (void)pthread_cond_wait(&e->wake, &e->queue_lock.mutex);
        }
    } else if (span != 0 && !atomic_load(&e->stop)) {
        timed_wait(e, span);
    }
    lock_drop(&e->queue_lock);
}

static enum softgpu_step steps(struct softgpu_engine *e)
{
    enum softgpu_step r = SOFTGPU_PROGRESS;
    for (int i = 0; i < STEPS_PER_HOLD && r == SOFTGPU_PROGRESS && atomic_load(&e->pause) == 0; i++)
        r = softgpu_engine_step(e->gpu, e->node);
    return r;
}

static void *engine_main(void *arg)
{
    struct softgpu_engine *e = arg;
    while (!atomic_load(&e->stop)) {
        if (atomic_load(&e->pause) != 0) {
            (void)sched_yield();
            continue;
        }
        enum softgpu_step r = steps(e);
        if (r != SOFTGPU_PROGRESS) wait_for_work(e, r);
    }
    return NULL;
}

vidmm_status softgpu_start_threads(struct softgpu *g)
{
    sigset_t all, old;
    bool ok = true;
    (void)sigfillset(&all);
    (void)sigdelset(&all, SIGSEGV);
    (void)sigdelset(&all, SIGBUS);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    g->threads = true;
    for (uint32_t n = 0; ok && n < g->opt.node_count; n++) {
        struct softgpu_engine *e = &g->engine[n];
        if (e->processor == NULL || e->has_thread) continue;
        atomic_store(&e->stop, false);
        ok = pthread_create(&e->thread, NULL, engine_main, e) == 0;
        e->has_thread = ok;
    }
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!ok) softgpu_stop_threads(g);
    return ok ? VIDMM_OK : VIDMM_NO_MEMORY;
}

void softgpu_stop_threads(struct softgpu *g)
{
    for (uint32_t n = 0; n < g->opt.node_count; n++) {
        struct softgpu_engine *e = &g->engine[n];
        if (!e->has_thread) continue;
        lock_take(&e->queue_lock);
        atomic_store(&e->stop, true);
        (void)pthread_cond_signal(&e->wake);
        lock_drop(&e->queue_lock);
        (void)pthread_join(e->thread, NULL);
        e->has_thread = false;
    }
    g->threads = false;
}
