/* SPDX-License-Identifier: MIT */
/* test_host_monitor.c — threads around an adapter. The core is replaced by a fake one, defined here, which
 * counts what it was told and notices two owners at once; so this suite must not be linked with core. */
#define _GNU_SOURCE
#include "host/instance.h"
#include "host/monitor.h"

#include "vt.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- a fake core ------------------------------------------------------------------------------- */

struct vidmm_adapter {
    const struct vidmm_platform *platform;
    atomic_ulong inbox;         /* notified, any thread */
    uint64_t seen;              /* taken from the inbox by vidmm_run */
    uint64_t backlog;           /* work: one unit per run */
    uint64_t deadline;          /* 0: none */
    uint64_t deadlines;         /* passed */
    uint64_t last_now;
    uint64_t echoes;            /* reports that the driver will make inside vidmm_run */
    atomic_ulong runs;
    atomic_ulong shown;         /* `seen`, as a fence a client can spin on */
    atomic_int owners;
};

static void own_alone(struct vidmm_adapter *a)
{
    if (atomic_fetch_add(&a->owners, 1) != 0) abort(); /* two owners at once */
}

static void fake_notify(struct vidmm_adapter *a)
{
    atomic_fetch_add(&a->inbox, 1);
    a->platform->poke(a->platform->ctx);
}

static void own_end(struct vidmm_adapter *a) { atomic_fetch_sub(&a->owners, 1); }

uint64_t vidmm_run(struct vidmm_adapter *a, uint64_t now)
{
    own_alone(a);
    if (now < a->last_now) abort(); /* time went back */
    a->last_now = now;
    atomic_fetch_add(&a->runs, 1);
    a->seen += atomic_exchange(&a->inbox, 0);
    atomic_store(&a->shown, a->seen);
    if (a->backlog != 0) a->backlog--;
    if (a->echoes != 0) {
        a->echoes--;
        fake_notify(a);
    }
    if (a->deadline != 0 && now >= a->deadline) {
        a->deadline = 0;
        a->deadlines++;
    }
    uint64_t next = a->deadline != 0 ? a->deadline : UINT64_MAX;
    if (a->backlog != 0) next = now;
    own_end(a);
    return next;
}

static const char *const fake_refusal = "the fake driver said no";

vidmm_status vidmm_adapter_create(const struct vidmm_adapter_config *in, struct vidmm_adapter **out,
                                  const char **why)
{
    if (in->kmd != NULL) {
        if (why != NULL) *why = fake_refusal;
        return VIDMM_FAILED;
    }
    *out = calloc(1, sizeof(**out));
    (*out)->platform = in->platform;
    return VIDMM_OK;
}

void vidmm_adapter_destroy(struct vidmm_adapter *a)
{
    fake_notify(a); /* a driver that reports while it stops */
    free(a);
}

bool vidmm_adapter_idle(const struct vidmm_adapter *a) { return a->backlog == 0; }

/* ---- fixture ----------------------------------------------------------------------------------- */

struct world { struct host_instance *host; struct vidmm_adapter *adapter; const struct vidmm_env *env; };

static struct world world_create(void)
{
    struct world w;
    assert_int_equal(host_instance_create(NULL, NULL, NULL, NULL, &w.host), VIDMM_OK);
    w.adapter = host_instance_adapter(w.host);
    w.env = host_instance_env(w.host);
    return w;
}

static void world_destroy(struct world *w) { assert_true(host_instance_destroy(w->host)); }

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct wish { struct vidmm_adapter *a; uint64_t seen, deadlines; };

static bool wish_done(void *arg)
{
    struct wish *w = arg;
    return w->a->seen >= w->seen && w->a->deadlines >= w->deadlines && w->a->backlog == 0;
}

/* Enters, waits, leaves. */
static bool wait_for(struct world *w, uint64_t seen, uint64_t deadlines)
{
    struct wish wish = { w->adapter, seen, deadlines };
    if (!w->env->enter(w->env->ctx)) return false;
    bool ok = w->env->wait(w->env->ctx, wish_done, &wish);
    w->env->leave(w->env->ctx);
    return ok;
}

/* Threads created afterwards inherit it. */
static void stay_on_one_cpu(cpu_set_t *before)
{
    cpu_set_t one;
    assert_int_equal(sched_getaffinity(0, sizeof(*before), before), 0);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, before)) CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
}

/* ---- progress ---------------------------------------------------------------------------------- */

static void *notify_100(void *arg)
{
    for (int i = 0; i < 100; i++) {
        fake_notify(arg);
        if (i % 10 == 0) usleep(200);
    }
    return NULL;
}

/* A report that gets lost leaves a client waiting for ever. */
static void reports_wake_waiters(void **state)
{
    (void)state;
    struct world w = world_create();
    pthread_t engine[2];
    for (uint64_t round = 1; round <= vt_rounds(20); round++) {
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&engine[i], NULL, notify_100, w.adapter), 0);
        for (uint64_t i = 1; i <= 200; i += 7) assert_true(wait_for(&w, (round - 1) * 200 + i, 0));
        assert_true(wait_for(&w, round * 200, 0));
        for (int i = 0; i < 2; i++) pthread_join(engine[i], NULL);
    }
    world_destroy(&w);
}

/* A report made inside a call is acted upon before the call returns, without the worker. */
static void report_of_the_owner_is_seen_at_leave(void **state)
{
    (void)state;
    struct world w = world_create();
    for (unsigned i = 1; i <= 100; i++) {
        assert_true(w.env->enter(w.env->ctx));
        fake_notify(w.adapter);
        w.env->leave(w.env->ctx);
        assert_int_equal(atomic_load(&w.adapter->shown), i);
    }
    assert_true(w.env->enter(w.env->ctx));
    w.adapter->echoes = 1; /* work that is finished the moment the core hands it over */
    w.env->leave(w.env->ctx);
    assert_int_equal(atomic_load(&w.adapter->shown), 101);
    world_destroy(&w);
}

static void deadline_passes_without_a_call(void **state)
{
    (void)state;
    struct world w = world_create();
    for (unsigned i = 1; i <= 5; i++) {
        uint64_t due = now_ns() + 5000000;
        assert_true(w.env->enter(w.env->ctx));
        w.adapter->deadline = due;
        w.env->leave(w.env->ctx);
        assert_true(wait_for(&w, 0, i));
        assert_true(now_ns() >= due);
    }
    world_destroy(&w);
}

/* An earlier deadline than the one the worker sleeps for must wake it. */
static void earlier_deadline_replaces_later(void **state)
{
    (void)state;
    struct world w = world_create();
    assert_true(w.env->enter(w.env->ctx));
    w.adapter->deadline = now_ns() + 3600ull * 1000000000;
    w.env->leave(w.env->ctx);
    usleep(2000); /* the worker goes to sleep for an hour */
    assert_true(w.env->enter(w.env->ctx));
    w.adapter->deadline = now_ns() + 1000000;
    w.env->leave(w.env->ctx);
    assert_true(wait_for(&w, 0, 1));
    world_destroy(&w);
}

static int by_value(const void *a, const void *b)
{
    unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;
    return (x > y) - (x < y);
}

/* Work that takes many runs is finished by the worker, but a client that comes meanwhile waits for a
 * small part of it only, not until the worker's time slice ends. */
static void long_work_lets_clients_in(void **state)
{
    (void)state;
    struct world w = world_create();
    unsigned long met[99];
    assert_true(w.env->enter(w.env->ctx));
    w.adapter->backlog = UINT64_MAX / 2;
    w.env->leave(w.env->ctx);
    for (unsigned i = 0; i < 99; i++) {
        usleep(100);
        met[i] = atomic_load(&w.adapter->runs);
        assert_true(w.env->enter(w.env->ctx));
        met[i] = atomic_load(&w.adapter->runs) - met[i];
        w.env->leave(w.env->ctx);
    }
    qsort(met, 99, sizeof(met[0]), by_value);
    print_message("runs while entering: median %lu, most %lu\n", met[49], met[98]);
    assert_true(met[49] <= 64); /* a single one may meet a preemption */
    assert_true(w.env->enter(w.env->ctx));
    w.adapter->backlog = vt_rounds(100000); /* from here on without us */
    w.env->leave(w.env->ctx);
    assert_true(wait_for(&w, 0, 0));
    world_destroy(&w);
}

struct hammer { struct world *w; unsigned id; uint64_t rounds; };

static void *hammer(void *arg)
{
    struct hammer *h = arg;
    const struct vidmm_env *env = h->w->env;
    for (uint64_t i = 0; i < h->rounds; i++) {
        if (!env->enter(env->ctx)) abort();
        own_alone(h->w->adapter);
        if (i % 5 == h->id) h->w->adapter->backlog += 9;
        own_end(h->w->adapter);
        if (i % 16 == h->id) {
            struct wish wish = { h->w->adapter, 0, 0 };
            if (!env->wait(env->ctx, wish_done, &wish)) abort();
        }
        env->leave(env->ctx);
        fake_notify(h->w->adapter);
    }
    return NULL;
}

static void many_threads_one_owner(void **state)
{
    (void)state;
    struct world w = world_create();
    struct hammer h[4];
    pthread_t thread[4];
    uint64_t rounds = vt_rounds(5000);
    for (unsigned i = 0; i < 4; i++) {
        h[i] = (struct hammer){ &w, i, rounds };
        assert_int_equal(pthread_create(&thread[i], NULL, hammer, &h[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    assert_true(wait_for(&w, 4 * rounds, 0));
    assert_int_equal(w.adapter->seen, 4 * rounds);
    world_destroy(&w);
}

/* ---- one CPU ----------------------------------------------------------------------------------- */

struct engine { struct vidmm_adapter *a; atomic_ulong asked; atomic_bool stop; int wake; };

static void *engine_main(void *arg)
{
    struct engine *e = arg;
    uint64_t n;
    while (read(e->wake, &n, sizeof(n)) == sizeof(n) && !atomic_load(&e->stop)) fake_notify(e->a);
    return NULL;
}

/* A client that spins on a fence must not keep away those who will signal it. */
static void progress_on_one_cpu_while_a_client_spins(void **state)
{
    (void)state;
    cpu_set_t before;
    pthread_t thread;
    const uint64_t more = 1;
    stay_on_one_cpu(&before);

    struct world w = world_create();
    struct engine e = { .a = w.adapter, .wake = eventfd(0, EFD_CLOEXEC) };
    assert_int_equal(pthread_create(&thread, NULL, engine_main, &e), 0);
    for (uint64_t i = 1; i <= vt_rounds(100); i++) {
        assert_int_equal(write(e.wake, &more, sizeof(more)), sizeof(more));
        while (atomic_load_explicit(&w.adapter->shown, memory_order_acquire) < i) { } /* on purpose */
    }
    atomic_store(&e.stop, true);
    assert_int_equal(write(e.wake, &more, sizeof(more)), sizeof(more));
    pthread_join(thread, NULL);
    close(e.wake);
    world_destroy(&w);
    sched_setaffinity(0, sizeof(before), &before);
}

/* ---- watches ----------------------------------------------------------------------------------- */

struct watched {
    struct vidmm_watch watch;
    struct world *w;
    uint64_t seen;
    atomic_int fired;
    struct watched *next; /* asked for when this one fires */
};

static bool watched_done(void *arg)
{
    struct watched *x = arg;
    return x->w->adapter->seen >= x->seen;
}

static void watched_fire(void *arg)
{
    struct watched *x = arg;
    if (x->next != NULL) x->w->env->watch(x->w->env->ctx, &x->next->watch);
    atomic_fetch_add(&x->fired, 1);
    memset(&x->watch, 0xDD, sizeof(x->watch)); /* the face may free it here */
}

static void watched_init(struct watched *x, struct world *w, uint64_t seen)
{
    *x = (struct watched){ .watch = { watched_done, watched_fire, x, NULL }, .w = w, .seen = seen };
}

static void watches_fire_once(void **state)
{
    (void)state;
    struct world w = world_create();
    static struct watched x[10], chained[10];
    for (int i = 0; i < 10; i++) {
        watched_init(&x[i], &w, (uint64_t)(i % 5) + 1);
        watched_init(&chained[i], &w, 7);
        x[i].next = &chained[i];
        assert_true(w.env->enter(w.env->ctx));
        w.env->watch(w.env->ctx, &x[i].watch);
        w.env->leave(w.env->ctx);
    }
    for (uint64_t seen = 1; seen <= 7; seen++) {
        fake_notify(w.adapter);
        assert_true(wait_for(&w, seen, 0));
        for (int i = 0; i < 10; i++) {
            assert_int_equal(atomic_load(&x[i].fired), x[i].seen <= seen);
            assert_int_equal(atomic_load(&chained[i].fired), seen >= 7);
        }
    }
    world_destroy(&w);
}

/* ---- the end of things ------------------------------------------------------------------------- */

struct patient { struct world *w; atomic_bool waits; };

static bool never(void *arg)
{
    struct patient *p = arg;
    atomic_store(&p->waits, true);
    return false;
}

static void *wait_for_ever(void *arg)
{
    const struct vidmm_env *env = ((struct patient *)arg)->w->env;
    if (!env->enter(env->ctx)) return NULL;
    bool ok = env->wait(env->ctx, never, arg);
    env->leave(env->ctx);
    return ok ? NULL : arg;
}

static void removal_ends_waits_and_refuses_calls(void **state)
{
    (void)state;
    struct world w = world_create();
    pthread_t thread[3];
    struct patient p[3];
    for (int i = 0; i < 3; i++) {
        p[i].w = &w;
        atomic_init(&p[i].waits, false);
        assert_int_equal(pthread_create(&thread[i], NULL, wait_for_ever, &p[i]), 0);
    }
    for (int i = 0; i < 3; i++)
        while (!atomic_load(&p[i].waits)) usleep(100);
    host_instance_remove(w.host);
    for (int i = 0; i < 3; i++) {
        void *result;
        pthread_join(thread[i], &result);
        assert_ptr_equal(result, &p[i]);
    }
    assert_false(w.env->enter(w.env->ctx));
    world_destroy(&w);
}

static void *hold_the_lock(void *arg)
{
    struct world *w = arg;
    if (!w->env->enter(w->env->ctx)) abort();
    usleep(100000);
    w->env->leave(w->env->ctx);
    return NULL;
}

/* In a forked child there is no worker, and the lock may be held by a thread that does not exist there. */
static void forked_child_is_refused(void **state)
{
    (void)state;
    struct world w = world_create();
    pthread_t thread;
    for (int held = 0; held < 2; held++) {
        if (held) assert_int_equal(pthread_create(&thread, NULL, hold_the_lock, &w), 0);
        if (held) usleep(20000);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            alarm(10);
            _exit(w.env->enter(w.env->ctx) ? 1 : 0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        if (held) pthread_join(thread, NULL);
    }
    assert_true(w.env->enter(w.env->ctx)); /* the parent has noticed nothing */
    w.env->leave(w.env->ctx);
    world_destroy(&w);
}

static struct world exit_world;

static void *notify_later(void *arg)
{
    usleep(10000);
    fake_notify(arg);
    return NULL;
}

static void exit_handler(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, notify_later, exit_world.adapter) != 0) _exit(3);
    if (!wait_for(&exit_world, 1, 0)) _exit(4);
    pthread_join(thread, NULL);
}

/* A driver tears down from exit handlers, after the destructors of every library. */
static void usable_from_exit_handlers(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(20);
        if (atexit(exit_handler) != 0) _exit(2);
        exit_world = world_create();
        exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* The client's handlers must never run on our thread. */
static void worker_blocks_all_signals(void **state)
{
    (void)state;
    struct world w = world_create();
    bool found = false;
    assert_true(wait_for(&w, 0, 0));
    FILE *list = popen("exec 2>/dev/null; cd /proc/$PPID/task && for t in *; do "
                       "[ \"$(cat $t/comm)\" = vidmm ] && grep SigBlk $t/status; done", "r");
    char line[64];
    assert_non_null(list);
    while (fgets(line, sizeof(line), list) != NULL) {
        unsigned long long mask = strtoull(line + strlen("SigBlk:"), NULL, 16);
        const unsigned long long kept = 1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1) | 3ull << 31;
        assert_true((mask | kept) == ~0ull); /* 32 and 33 belong to the C library */
        found = true;
    }
    pclose(list);
    assert_true(found);
    world_destroy(&w);
}

static void *cancelled_wait(void *arg)
{
    struct world *w = arg;
    wait_for(w, 1, 0);
    pthread_testcancel();
    return NULL;
}

/* A client's thread that is cancelled inside a call must not take the adapter with it. */
static void cancellation_waits_for_the_call(void **state)
{
    (void)state;
    struct world w = world_create();
    pthread_t thread;
    void *result;
    assert_int_equal(pthread_create(&thread, NULL, cancelled_wait, &w), 0);
    usleep(5000);
    pthread_cancel(thread);
    usleep(5000);
    fake_notify(w.adapter);
    pthread_join(thread, &result);
    assert_ptr_equal(result, PTHREAD_CANCELED);
    assert_true(wait_for(&w, 1, 0));
    world_destroy(&w);
}

static void refusal_is_passed_on(void **state)
{
    (void)state;
    const char *why = NULL;
    int driver;
    struct host_instance *host = (struct host_instance *)&driver;
    assert_int_equal(host_instance_create(NULL, &driver, NULL, &why, &host), VIDMM_FAILED);
    assert_null(host);
    assert_ptr_equal(why, fake_refusal);
    struct host_config odd = { .frames = 1 };
    assert_int_equal(host_instance_create_with(&odd, &why, &host), VIDMM_NO_MEMORY);
    assert_non_null(strstr(why, "frames"));
}

/* ---- client memory and events ------------------------------------------------------------------ */

static void client_copies_are_guarded(void **state)
{
    (void)state;
    struct world w = world_create();
    void *ctx = w.env->ctx;
    char here[16] = { 0 };
    char *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(w.env->copy_in(ctx, here, "abcdef", 7));
    assert_string_equal(here, "abcdef");
    assert_true(w.env->copy_in(ctx, here, p, 16));
    assert_false(w.env->copy_out(ctx, p, here, 1));
    assert_true(w.env->copy_in(ctx, here, NULL, 0));
    assert_true(w.env->copy_out(ctx, (void *)1, here, 0));
    assert_false(w.env->copy_in(ctx, here, NULL, 1));
    assert_false(w.env->copy_out(ctx, NULL, here, 1));
    assert_false(w.env->copy_in(ctx, here, (void *)(UINTPTR_MAX - 3), 8));
    assert_false(w.env->copy_in(ctx, here, p, SIZE_MAX));
    assert_false(w.env->copy_out(ctx, p, here, SIZE_MAX - 1));
    munmap(p, 4096);
    assert_false(w.env->copy_in(ctx, here, p, 16));
    unsigned char *zeroed = w.env->alloc(ctx, 100);
    for (int i = 0; i < 100; i++) assert_int_equal(zeroed[i], 0);
    w.env->free(ctx, zeroed, 100);
    world_destroy(&w);
}

/* A wrong descriptor as event must neither block the adapter nor be written to. */
static void only_eventfds_are_signalled(void **state)
{
    (void)state;
    struct world w = world_create();
    void *ctx = w.env->ctx;
    int event = eventfd(0, EFD_CLOEXEC), ends[2], file = memfd_create("t", MFD_CLOEXEC);
    uint64_t n;
    assert_true(w.env->event_signal(ctx, (uint64_t)event));
    assert_true(w.env->event_signal(ctx, (uint64_t)event));
    assert_int_equal(read(event, &n, sizeof(n)), sizeof(n));
    assert_int_equal(n, 2);
    n = UINT64_MAX - 1;
    assert_int_equal(write(event, &n, sizeof(n)), sizeof(n));
    assert_true(w.env->event_signal(ctx, (uint64_t)event)); /* full: does not block */

    assert_int_equal(pipe(ends), 0);
    assert_false(w.env->event_signal(ctx, (uint64_t)ends[1]));
    close(ends[0]);
    assert_false(w.env->event_signal(ctx, (uint64_t)ends[1])); /* nor SIGPIPE */
    close(ends[1]);
    assert_false(w.env->event_signal(ctx, (uint64_t)ends[1]));
    assert_false(w.env->event_signal(ctx, (uint64_t)file));
    assert_int_equal(lseek(file, 0, SEEK_END), 0);
    assert_false(w.env->event_signal(ctx, UINT64_MAX));
    assert_false(w.env->event_signal(ctx, 1ull << 32 | (uint64_t)event));
    close(event);
    close(file);
    world_destroy(&w);
}

static const struct vt_case cases[] = {
    VT_TEST(reports_wake_waiters, "", NULL),
    VT_TEST(report_of_the_owner_is_seen_at_leave, "", NULL),
    VT_TEST(deadline_passes_without_a_call, "", NULL),
    VT_TEST(earlier_deadline_replaces_later, "", NULL),
    VT_TEST(long_work_lets_clients_in, "", NULL),
    VT_TEST(many_threads_one_owner, "", NULL),
    VT_TEST(progress_on_one_cpu_while_a_client_spins, "", NULL),
    VT_TEST(watches_fire_once, "", NULL),
    VT_TEST(removal_ends_waits_and_refuses_calls, "", NULL),
    VT_TEST(forked_child_is_refused, "", NULL),
    VT_TEST(usable_from_exit_handlers, "", NULL),
    VT_TEST(worker_blocks_all_signals, "", NULL),
    VT_TEST(cancellation_waits_for_the_call, "", NULL),
    VT_TEST(refusal_is_passed_on, "", NULL),
    VT_TEST(client_copies_are_guarded, "", NULL),
    VT_TEST(only_eventfds_are_signalled, "", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "host_monitor", cases, VT_COUNT(cases)); }
