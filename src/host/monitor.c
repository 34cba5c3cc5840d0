/* SPDX-License-Identifier: MIT */
/* monitor.c — see monitor.h. */
#define _GNU_SOURCE
#include "host/monitor.h"

#include "base/check.h"
#include "host/guard.h"

#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE 0ull         /* what drive() answers when there is more to do now */
#define NEVER UINT64_MAX
/* How much of the work a client does itself before it returns. A run is some microseconds; waking the
 * worker on another CPU costs more than that, on the same CPU it would only run after the client. */
#define INLINE_RUNS 4u
#define WORKER_RUNS 16u
#define GUARD_CHECK_ENTERS 64u

/* State of the worker:
 * AWAKE -worker_sleep-> ASLEEP; any -wake_worker-> POKED; ASLEEP or POKED -worker_sleep-> AWAKE */
enum worker_state { AWAKE, POKED, ASLEEP };

struct waiter { /* on the stack of a thread in env wait */
    bool (*done)(void *arg);
    void *arg;
    bool woken;
    pthread_cond_t cond;
    struct waiter *next;
};

struct host_monitor {
    struct vidmm_env env;
    pthread_mutex_t lock;          /* holding it is owning the adapter */
    struct vidmm_adapter *adapter;
    struct waiter *waiters;
    struct vidmm_watch *watches, **watches_end;
    bool removed, stop;
    uint64_t armed;                /* when the sleeping worker wakes by itself */
    uint32_t enters;
    bool again;                    /* poked by the owner itself since vidmm_run was called */
    pthread_t worker;
    bool started;
    _Atomic uint32_t state;        /* enum worker_state; the futex */
    _Atomic uint32_t entering;     /* clients that found the lock taken */
    _Atomic uintptr_t owner;       /* which thread holds the lock, 0: nobody */
    const _Atomic uint32_t *alive; /* 1; reads as 0 in a forked child */
    pid_t pid;                     /* used where the kernel can not do that */
};

/* Its address names the calling thread; a load of it is cheaper than a thread id. */
static _Thread_local char this_thread __attribute__((tls_model("initial-exec")));

static uintptr_t self(void) { return (uintptr_t)&this_thread; }

/* ---- time and sleep ---------------------------------------------------------------------------- */

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Until the word changes from `value`, somebody wakes us, or the deadline passes. */
static void futex_sleep(_Atomic uint32_t *word, uint32_t value, uint64_t deadline_ns)
{
    struct timespec t = { (time_t)(deadline_ns / 1000000000u), (long)(deadline_ns % 1000000000u) };
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, value, deadline_ns == NEVER ? NULL : &t,
            NULL, FUTEX_BITSET_MATCH_ANY);
}

static void wake_worker(struct host_monitor *m)
{
    if (atomic_exchange(&m->state, POKED) == ASLEEP)
        syscall(SYS_futex, &m->state, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

/* A driver that finishes work inside a call reports it from the owner's thread; the owner runs the core
 * before it lets go, so it needs no worker. */
void monitor_poke(void *monitor)
{
    struct host_monitor *m = monitor;
    if (atomic_load_explicit(&m->owner, memory_order_relaxed) == self())
        m->again = true;
    else
        wake_worker(m);
}

/* ---- ownership --------------------------------------------------------------------------------- */

static void own(struct host_monitor *m)
{
    CHECK(pthread_mutex_lock(&m->lock) == 0);
    atomic_store_explicit(&m->owner, self(), memory_order_relaxed);
}

static void disown(struct host_monitor *m)
{
    atomic_store_explicit(&m->owner, 0, memory_order_relaxed);
    CHECK(pthread_mutex_unlock(&m->lock) == 0);
}

static bool same_process(const struct host_monitor *m)
{
    if (m->alive != NULL) return atomic_load_explicit(m->alive, memory_order_relaxed) == 1;
    return getpid() == m->pid;
}

/* ---- driving the adapter (owner) --------------------------------------------------------------- */

static void watch_add(struct host_monitor *m, struct vidmm_watch *w)
{
    w->next = NULL;
    *m->watches_end = w;
    m->watches_end = &w->next;
}

/* Gives: whether a watch fired, which may have left new work. fire may ask for another watch, which waits
 * for the next round, and free its own. */
static bool fire_watches(struct host_monitor *m)
{
    struct vidmm_watch *todo = m->watches;
    bool fired = false;

    m->watches = NULL;
    m->watches_end = &m->watches;
    while (todo != NULL) {
        struct vidmm_watch *w = todo;
        todo = w->next;
        if (w->done(w->arg)) {
            w->fire(w->arg);
            fired = true;
        } else {
            watch_add(m, w);
        }
    }
    return fired;
}

static void wake_waiters(struct host_monitor *m)
{
    for (struct waiter *w = m->waiters; w != NULL; w = w->next) {
        if (w->woken || !(m->removed || w->done(w->arg))) continue;
        w->woken = true;
        atomic_fetch_add(&m->entering, 1); /* it wants the lock now, like a client in enter */
        pthread_cond_signal(&w->cond);
    }
}

/* Runs the core at most `runs` times and tells everybody who waits for what has happened.
 * Gives: when to come back; AT_ONCE if there was more to do. */
static uint64_t drive(struct host_monitor *m, unsigned runs)
{
    uint64_t next = AT_ONCE;
    while (runs-- != 0) {
        m->again = false;
        uint64_t now = clock_ns();
        next = vidmm_run(m->adapter, now);
        bool fired = !m->removed && fire_watches(m);
        wake_waiters(m);
        if (next > now && !fired && !m->again) return next;
    }
    return AT_ONCE;
}

/* What a client does before it lets go: a part of the work; the worker learns of the rest. */
static void drive_inline(struct host_monitor *m)
{
    uint64_t next = drive(m, INLINE_RUNS);
    if (next < m->armed) wake_worker(m);
}

/* ---- the worker -------------------------------------------------------------------------------- */

static void worker_sleep(struct host_monitor *m, uint64_t until)
{
    uint32_t awake = AWAKE;
    if (atomic_compare_exchange_strong(&m->state, &awake, ASLEEP)) futex_sleep(&m->state, ASLEEP, until);
    atomic_exchange(&m->state, AWAKE); /* from POKED, or ASLEEP after the deadline; reports are seen next */
}

static void *worker_main(void *arg)
{
    struct host_monitor *m = arg;
    for (bool stop = false; !stop; ) {
        guard_install(); /* costs nothing next to a wake-up */
        own(m);
        uint64_t next = drive(m, WORKER_RUNS);
        /* A client that waits for the lock carries on, and wakes us if it leaves work behind. */
        if (next == AT_ONCE && atomic_load(&m->entering) != 0) next = NEVER;
        /* A timeout that was armed stays, though its packet is done: the next one asks for about the same,
         * and would have to wake us for it. */
        if (next != AT_ONCE && m->armed > clock_ns() && m->armed < next) next = m->armed;
        m->armed = next;
        stop = m->stop;
        disown(m);
        if (next != AT_ONCE && !stop) worker_sleep(m, next);
    }
    return NULL;
}

/* ---- vidmm_env --------------------------------------------------------------------------------- */

static bool env_enter(void *ctx)
{
    struct host_monitor *m = ctx;
    if (!same_process(m)) return false;
    if (pthread_mutex_trylock(&m->lock) != 0) {
        atomic_fetch_add(&m->entering, 1);
        CHECK(pthread_mutex_lock(&m->lock) == 0);
        atomic_fetch_sub(&m->entering, 1);
    }
    if (m->removed) {
        pthread_mutex_unlock(&m->lock);
        return false;
    }
    atomic_store_explicit(&m->owner, self(), memory_order_relaxed);
    if (++m->enters % GUARD_CHECK_ENTERS == 0) guard_install();
    return true;
}

static void env_leave(void *ctx)
{
    struct host_monitor *m = ctx;
    drive_inline(m);
    disown(m);
}

static void waiter_link(struct host_monitor *m, struct waiter *w)
{
    w->next = m->waiters;
    m->waiters = w;
}

static void waiter_unlink(struct host_monitor *m, struct waiter *w)
{
    struct waiter **at = &m->waiters;
    while (*at != w) at = &(*at)->next;
    *at = w->next;
}

static bool env_wait(void *ctx, bool (*done)(void *arg), void *arg)
{
    struct host_monitor *m = ctx;
    struct waiter w = { .done = done, .arg = arg, .cond = PTHREAD_COND_INITIALIZER };
    int cancel_state;

    if (done(arg)) return true;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state); /* w is on this stack */
    waiter_link(m, &w);
    drive_inline(m);
    while (!m->removed && !done(arg)) {
        atomic_store_explicit(&m->owner, 0, memory_order_relaxed);
        while (!w.woken) CHECK(pthread_cond_wait(&w.cond, &m->lock) == 0);
        atomic_store_explicit(&m->owner, self(), memory_order_relaxed);
        w.woken = false;
        atomic_fetch_sub(&m->entering, 1);
    }
    if (w.woken) atomic_fetch_sub(&m->entering, 1); /* done before it slept */
    waiter_unlink(m, &w);
    pthread_cond_destroy(&w.cond);
    pthread_setcancelstate(cancel_state, NULL);
    return !m->removed;
}

static void env_watch(void *ctx, struct vidmm_watch *w)
{
    watch_add(ctx, w);
}

static bool range_wraps(const void *start, size_t bytes)
{
    return bytes > UINTPTR_MAX - (uintptr_t)start;
}

static bool env_copy_in(void *ctx, void *dst, const void *client, size_t bytes)
{
    (void)ctx;
    if (bytes == 0) return true;
    return !range_wraps(client, bytes) && guard_copy(dst, client, bytes);
}

static bool env_copy_out(void *ctx, void *client, const void *src, size_t bytes)
{
    (void)ctx;
    if (bytes == 0) return true;
    return !range_wraps(client, bytes) && guard_copy(client, src, bytes);
}

static bool is_eventfd(int fd)
{
    static const char name[] = "anon_inode:[eventfd]";
    char path[32], target[sizeof(name)];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, target, sizeof(target));
    if (n < 0) { /* no /proc, as in a bare chroot: of an anonymous inode's file there is no type to see */
        struct stat st;
        return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == 0;
    }
    return n == (ssize_t)sizeof(name) - 1 && memcmp(target, name, sizeof(name) - 1) == 0;
}

static bool env_event_signal(void *ctx, uint64_t event)
{
    const uint64_t one = 1;
    (void)ctx;
    if (event > INT_MAX || !is_eventfd((int)event)) return false;
    struct pollfd poll_fd = { .fd = (int)event, .events = POLLOUT };
    if (poll(&poll_fd, 1, 0) != 1) return true; /* the count is at its maximum: signalled enough */
    /* The plain call: write() is a cancellation point, and we own the adapter. */
    return syscall(SYS_write, (int)event, &one, sizeof(one)) == (long)sizeof(one);
}

static void *env_alloc(void *ctx, size_t bytes)
{
    (void)ctx;
    return calloc(1, bytes != 0 ? bytes : 1);
}

static void env_free(void *ctx, void *p, size_t bytes)
{
    (void)ctx;
    (void)bytes;
    free(p);
}

static const struct vidmm_env env_functions = {
    .enter = env_enter, .leave = env_leave, .wait = env_wait, .watch = env_watch,
    .copy_in = env_copy_in, .copy_out = env_copy_out, .event_signal = env_event_signal,
    .alloc = env_alloc, .free = env_free,
};

/* ---- life -------------------------------------------------------------------------------------- */

/* A page that the kernel clears in a forked child: enter then sees without a system call, and whatever
 * way the fork took, that the worker is not there and the lock may be held by nobody. */
static const _Atomic uint32_t *alive_page(void)
{
    size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
    _Atomic uint32_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    if (madvise((void *)p, bytes, MADV_WIPEONFORK) != 0) {
        munmap((void *)p, bytes);
        return NULL;
    }
    atomic_store(p, 1);
    return p;
}

static bool lock_init(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attr;
    if (pthread_mutexattr_init(&attr) != 0) return false;
#ifdef VIDMM_DEBUG
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK); /* a face that enters twice traps */
#endif
    bool ok = pthread_mutex_init(lock, &attr) == 0;
    pthread_mutexattr_destroy(&attr);
    return ok;
}

struct host_monitor *monitor_create(void)
{
    struct host_monitor *m = calloc(1, sizeof(*m));
    if (m == NULL) return NULL;
    if (!lock_init(&m->lock)) {
        free(m);
        return NULL;
    }
    m->env = env_functions;
    m->env.ctx = m;
    m->watches_end = &m->watches;
    m->alive = alive_page();
    m->pid = getpid();
    return m;
}

bool monitor_start(struct host_monitor *m, struct vidmm_adapter *adapter)
{
    sigset_t all, before;
    m->adapter = adapter;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited: none of the client's handlers runs on it */
    m->started = pthread_create(&m->worker, NULL, worker_main, m) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (m->started) pthread_setname_np(m->worker, "vidmm");
    return m->started;
}

void monitor_remove(struct host_monitor *m)
{
    own(m);
    m->removed = true;
    wake_waiters(m);
    disown(m);
}

void monitor_stop(struct host_monitor *m)
{
    if (!m->started) return;
    own(m);
    m->stop = true;
    disown(m);
    wake_worker(m);
    pthread_join(m->worker, NULL);
    m->started = false;
}

void monitor_destroy(struct host_monitor *m)
{
    CHECK(!m->started);
    pthread_mutex_destroy(&m->lock);
    if (m->alive != NULL) munmap((void *)(uintptr_t)m->alive, (size_t)sysconf(_SC_PAGESIZE));
    free(m);
}

const struct vidmm_env *monitor_env(struct host_monitor *m) { return &m->env; }
void monitor_lock(struct host_monitor *m) { own(m); }

void monitor_unlock(struct host_monitor *m)
{
    drive_inline(m);
    disown(m);
}
