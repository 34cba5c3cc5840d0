/* SPDX-License-Identifier: MIT */
/* test_guard.c — copies that meet missing memory, and the manners of the signal handler behind them.
 * Death is tested in forked children. */
#define _GNU_SOURCE
#include "host/guard.h"

#include "vt.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096u

/* Where the CPU has no fast way, install says false and everything below must hold all the same. */
#if defined(__x86_64__)
#define FAST true
#else
#define FAST false
#endif

static const size_t sizes[] = { 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 255, 256, 257, 4095, 4096 };

#if defined(__SANITIZE_THREAD__)
#define TSAN true
#elif defined(__has_feature)
#define TSAN __has_feature(thread_sanitizer)
#else
#define TSAN false
#endif
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static char *map_pages(size_t pages, int prot)
{
    char *p = mmap(NULL, pages * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    return p;
}

/* A handler shall not outlive its test: cmocka has its own, set before and restored after each. */
static struct sigaction before[2];

static int setup(void)
{
    sigaction(SIGSEGV, NULL, &before[0]);
    sigaction(SIGBUS, NULL, &before[1]);
    return guard_install() == FAST;
}

static void teardown(void)
{
    guard_uninstall();
    sigaction(SIGSEGV, &before[0], NULL);
    sigaction(SIGBUS, &before[1], NULL);
}

/* ---- copies ------------------------------------------------------------------------------------ */

/* A copy that is one byte long or short damages a neighbour of the client's data. */
static void every_size_copies_exactly(void **state)
{
    (void)state;
    static unsigned char from[1200], to[1200];
    assert_true(setup());
    for (size_t i = 0; i < sizeof(from); i++) from[i] = (unsigned char)(i * 7 + 1);
    for (size_t n = 0; n <= 1024; n++) {
        size_t at = 16 + n % 17;
        memset(to, 0xEE, sizeof(to));
        assert_true(guard_copy(to + at, from + n % 13, n));
        assert_memory_equal(to + at, from + n % 13, n);
        for (size_t i = 0; i < at; i++) assert_int_equal(to[i], 0xEE);
        for (size_t i = at + n; i < at + n + 32; i++) assert_int_equal(to[i], 0xEE);
    }
    teardown();
}

static void big_copy_is_equal(void **state)
{
    (void)state;
    size_t bytes = 3u << 20;
    unsigned char *from = malloc(bytes), *to = calloc(1, bytes);
    assert_true(setup());
    for (size_t i = 0; i < bytes; i++) from[i] = (unsigned char)(i >> 7 ^ i);
    assert_true(guard_copy(to + 1, from + 3, bytes - 3));
    assert_memory_equal(to + 1, from + 3, bytes - 3);
    free(from);
    free(to);
    teardown();
}

/* Each size with the missing page at each possible distance, on either side. */
static void missing_page_on_either_side(void **state)
{
    (void)state;
    char *p = map_pages(3, PROT_READ | PROT_WRITE);
    static char other[2 * PAGE];
    assert_true(setup());
    assert_int_equal(munmap(p + PAGE, PAGE), 0);
    for (size_t s = 0; s < SIZES; s++) {
        size_t n = sizes[s];
        for (size_t inside = 0; inside < n; inside += n > 64 ? 61 : 1) {
            char *edge = p + PAGE - inside; /* `inside` bytes are there, the rest is not */
            assert_false(guard_copy(other, edge, n));
            assert_false(guard_copy(edge, other, n));
        }
        assert_true(guard_copy(other, p + PAGE - n, n));
        assert_true(guard_copy(p + PAGE - n, other, n));
        assert_true(guard_copy(other, p + 2 * PAGE, n));
        assert_false(guard_copy(other, p + 2 * PAGE - 1, n));
        assert_false(guard_copy(p + 2 * PAGE - 1, other, n));
    }
    munmap(p, 3 * PAGE);
    teardown();
}

static void addresses_that_can_never_be(void **state)
{
    (void)state;
    static const uintptr_t wild[] = { 0, 8, 0x00007ffffffff000u, 0x0000800000000000u, 0x4141414141414141u,
                                      0x8000000000000000u, 0xffff800000000000u, UINTPTR_MAX - 7 };
    char here[300] = { 0 };
    assert_true(setup());
    for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
        for (size_t s = 0; s < SIZES && sizes[s] <= sizeof(here); s++) {
            assert_false(guard_copy(here, (const void *)wild[i], sizes[s]));
            assert_false(guard_copy((void *)wild[i], here, sizes[s]));
        }
    }
    assert_true(guard_copy(NULL, NULL, 0));
    teardown();
}

/* A read-only page refuses, keeps its bytes, and can still be read: nobody probes by writing. */
static void read_only_destination(void **state)
{
    (void)state;
    char *p = map_pages(1, PROT_READ | PROT_WRITE);
    static char ours[PAGE];
    assert_true(setup());
    memset(p, 0x55, PAGE);
    assert_int_equal(mprotect(p, PAGE, PROT_READ), 0);
    for (size_t s = 0; s < SIZES; s++) {
        assert_false(guard_copy(p, ours, sizes[s]));
        assert_true(guard_copy(ours, p, sizes[s]));
        memset(ours, 0, sizeof(ours));
    }
    for (size_t i = 0; i < PAGE; i++) assert_int_equal(p[i], 0x55);
    munmap(p, PAGE);
    teardown();
}

static void file_that_shrank(void **state)
{
    (void)state;
    char here[64];
    int fd = memfd_create("t", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 2 * PAGE), 0);
    char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(p != MAP_FAILED);
    assert_true(setup());
    assert_true(guard_copy(here, p + PAGE, sizeof(here)));
    assert_int_equal(ftruncate(fd, PAGE), 0);
    assert_false(guard_copy(here, p + PAGE, sizeof(here)));
    assert_false(guard_copy(p + PAGE, here, sizeof(here)));
    assert_false(guard_copy(here, p + PAGE - 1, sizeof(here)));
    assert_true(guard_copy(here, p, sizeof(here)));
    munmap(p, 2 * PAGE);
    close(fd);
    teardown();
}

/* ---- memory that comes and goes ---------------------------------------------------------------- */

struct race { char *area; atomic_bool stop; atomic_ulong good, bad; };
#define RACE_PAGES 64u

static void *race_copier(void *arg)
{
    struct race *r = arg;
    static _Thread_local char mine[RACE_PAGES * PAGE];
    for (unsigned i = 0; !atomic_load(&r->stop); i++) {
        size_t n = 1 + (i * 7919u) % (sizeof(mine) - 1);
        bool ok = i & 1 ? guard_copy(mine, r->area, n) : guard_copy(r->area, mine, n);
        atomic_fetch_add(ok ? &r->good : &r->bad, 1);
    }
    return NULL;
}

static void memory_vanishes_under_the_copy(void **state)
{
    (void)state;
    struct race r = { .area = map_pages(RACE_PAGES, PROT_READ | PROT_WRITE) };
    pthread_t copier[2];
    assert_true(setup());
    for (int i = 0; i < 2; i++) assert_int_equal(pthread_create(&copier[i], NULL, race_copier, &r), 0);
    uint64_t rounds = vt_rounds(3000);
    for (uint64_t i = 0; i < rounds || atomic_load(&r.bad) == 0 || atomic_load(&r.good) == 0; i++) {
        char *hole = r.area + (i * 31 % RACE_PAGES) * PAGE;
        static const int prots[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE };
        int prot = prots[i % 3];
        if (i % 2) mprotect(hole, PAGE, prot);
        else mmap(hole, PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        if (i % 16 == 0) mprotect(r.area, RACE_PAGES * PAGE, PROT_READ | PROT_WRITE);
        if (i % 16 == 8) usleep(50);
    }
    atomic_store(&r.stop, true);
    for (int i = 0; i < 2; i++) pthread_join(copier[i], NULL);
    munmap(r.area, RACE_PAGES * PAGE);
    teardown();
}

/* ---- other handlers ---------------------------------------------------------------------------- */

static volatile sig_atomic_t calls;
static char *volatile repair;          /* page that the handler makes writable */
static void *volatile seen_address;
static volatile sig_atomic_t seen_mask;

static void handle_info(int sig, siginfo_t *info, void *context)
{
    sigset_t set;
    (void)sig;
    assert_non_null(context);
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    seen_mask = sigismember(&set, SIGUSR2);
    seen_address = info->si_addr;
    calls++;
    if (repair != NULL) mprotect(repair, PAGE, PROT_READ | PROT_WRITE);
}

static void handle_plain(int sig)
{
    (void)sig;
    calls++;
    if (repair != NULL) mprotect(repair, PAGE, PROT_READ | PROT_WRITE);
}

static void set_handler(int sig, void (*plain)(int), void (*info)(int, siginfo_t *, void *), int flags)
{
    struct sigaction act = { .sa_flags = flags };
    sigemptyset(&act.sa_mask);
    if (info != NULL) {
        act.sa_sigaction = info;
        act.sa_flags |= SA_SIGINFO;
        sigaddset(&act.sa_mask, SIGUSR2);
    } else {
        act.sa_handler = plain;
    }
    assert_int_equal(sigaction(sig, &act, NULL), 0);
}

static void fault_at(char *p) { *(volatile char *)p = 1; }

/* A garbage collector's write barrier in the client must still see its own faults. */
static void faults_elsewhere_reach_the_previous_handler(void **state)
{
    (void)state;
    char *p = map_pages(1, PROT_NONE), here;
    sigaction(SIGSEGV, NULL, &before[0]);
    sigaction(SIGBUS, NULL, &before[1]);
    for (int style = 0; style < 2; style++) {
        set_handler(SIGSEGV, handle_plain, style ? handle_info : NULL, 0);
        assert_int_equal(guard_install(), FAST);
        calls = 0;
        repair = p;
        assert_false(guard_copy(&here, p, 1));
        assert_int_equal(calls, 0); /* ours stays ours */
        fault_at(p + 5);
        assert_int_equal(calls, 1);
        assert_int_equal(p[5], 1);
        if (style) assert_ptr_equal(seen_address, p + 5);
        if (style) assert_int_equal(seen_mask, 1);
        assert_int_equal(mprotect(p, PAGE, PROT_NONE), 0);
        guard_uninstall();
    }
    repair = NULL;
    munmap(p, PAGE);
    teardown();
}

static atomic_bool sender_stop;

static void *sender(void *arg)
{
    while (!atomic_load(&sender_stop)) {
        pthread_kill(*(pthread_t *)arg, SIGSEGV);
        usleep(100);
    }
    return NULL;
}

/* A signal that somebody sends may arrive inside our instructions; it is not a fault of the copy. */
static void sent_signal_is_not_a_fault(void **state)
{
    (void)state;
    size_t bytes = 1u << 20;
    char *from = calloc(1, bytes), *to = malloc(bytes);
    pthread_t me = pthread_self(), thread;
    sigaction(SIGSEGV, NULL, &before[0]);
    sigaction(SIGBUS, NULL, &before[1]);
    set_handler(SIGSEGV, handle_plain, NULL, SA_RESTART);
    assert_int_equal(guard_install(), FAST);
    calls = 0;
    atomic_store(&sender_stop, false);
    assert_int_equal(pthread_create(&thread, NULL, sender, &me), 0);
    for (uint64_t i = 0; i < vt_rounds(500) || calls < 20; i++) assert_true(guard_copy(to, from, bytes));
    atomic_store(&sender_stop, true);
    pthread_join(thread, NULL);
    free(from);
    free(to);
    teardown();
}

static void forward_to_nobody(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, (void)context;
    _exit(77); /* a crash reporter that never passes anything on */
}

/* A handler that came later is not fought: copies go through the kernel until it is gone. */
static void handler_installed_afterwards(void **state)
{
    (void)state;
    char *p = map_pages(1, PROT_NONE), here = 0;
    struct sigaction ours;
    assert_true(setup());
    sigaction(SIGSEGV, NULL, &ours);
    set_handler(SIGSEGV, NULL, forward_to_nobody, 0);
    for (int i = 0; i < 3; i++) {
        assert_false(guard_install());
        assert_false(guard_copy(&here, p, 1));
        assert_false(guard_copy(p, &here, 1));
        assert_true(guard_copy(&here, "x", 1));
        assert_int_equal(here, 'x');
    }
    struct sigaction now;
    sigaction(SIGSEGV, NULL, &now);
    assert_true(now.sa_sigaction == forward_to_nobody); /* left in place */
    sigaction(SIGSEGV, &ours, NULL);
    assert_int_equal(guard_install(), FAST);
    assert_false(guard_copy(&here, p, 1));
    munmap(p, PAGE);
    teardown();
}

static struct sigaction chained_to;

static void forward_to_previous(int sig, siginfo_t *info, void *context)
{
    calls++;
    chained_to.sa_sigaction(sig, info, context);
}

static void later_handler_that_passes_on(void **state)
{
    (void)state;
    char *p = map_pages(1, PROT_NONE), here = 0;
    assert_true(setup());
    sigaction(SIGSEGV, NULL, &chained_to);
    set_handler(SIGSEGV, NULL, forward_to_previous, 0);
    calls = 0;
    assert_false(guard_copy(&here, p, 1)); /* not looked again yet: the fast way still works */
    if (FAST) assert_int_equal(calls, 1);
    assert_false(guard_install());
    guard_uninstall(); /* must not forget that the other one calls us, or both would call each other */
    assert_false(guard_install());
    assert_false(guard_copy(&here, p, 1));
    if (FAST) assert_int_equal(calls, 1);
    sigaction(SIGSEGV, &chained_to, NULL);
    munmap(p, PAGE);
    teardown();
}

static void default_set_afterwards_is_replaced(void **state)
{
    (void)state;
    char *p = map_pages(1, PROT_NONE), here = 0;
    assert_true(setup());
    for (int i = 0; i < 3; i++) {
        set_handler(SIGSEGV, i & 1 ? SIG_IGN : SIG_DFL, NULL, 0);
        assert_int_equal(guard_install(), FAST);
        assert_false(guard_copy(&here, p, 1));
    }
    munmap(p, PAGE);
    teardown();
}

/* ---- death ------------------------------------------------------------------------------------- */

/* Runs fn in a child with the given handler before ours. Gives: its wait status. */
static int status_of_child(void (*fn)(void), void (*handler)(int), int flags)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = { 0, 0 };
        setrlimit(RLIMIT_CORE, &none);
        alarm(20);
        calls = 0;
        set_handler(SIGSEGV, handler, NULL, flags);
        if (guard_install() != FAST) _exit(98);
        fn();
        _exit(calls != 0 ? 40 + calls : 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static char *volatile dead_page;
static void die_by_fault(void) { fault_at(dead_page); }
static void die_by_kill(void) { kill(getpid(), SIGSEGV); }
static void survive_copy(void) { char c; if (guard_copy(&c, dead_page, 1)) _exit(97); }

static void kill_twice(void)
{
    kill(getpid(), SIGSEGV);
    if (calls != 1) _exit(96);
    kill(getpid(), SIGSEGV);
}

static void default_and_ignore_keep_their_meaning(void **state)
{
    (void)state;
    dead_page = map_pages(1, PROT_NONE);
    sigaction(SIGSEGV, NULL, &before[0]);
    sigaction(SIGBUS, NULL, &before[1]);
    guard_uninstall();
    int s = status_of_child(die_by_fault, SIG_DFL, 0);
    assert_true(WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV);
    s = status_of_child(die_by_kill, SIG_DFL, 0);
    assert_true(WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV);
    s = status_of_child(die_by_fault, SIG_IGN, 0);
    assert_true(WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV);
    s = status_of_child(die_by_kill, SIG_IGN, 0);
    assert_true(WIFEXITED(s) && WEXITSTATUS(s) == 0);
    s = status_of_child(survive_copy, SIG_DFL, 0);
    assert_true(WIFEXITED(s) && WEXITSTATUS(s) == 0);
    s = status_of_child(die_by_kill, handle_plain, 0);
    assert_true(WIFEXITED(s) && WEXITSTATUS(s) == 41);
    s = status_of_child(kill_twice, handle_plain, SA_RESETHAND);
    assert_true(WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV);
    munmap(dead_page, PAGE);
    teardown();
}

/* ---- where copies happen ----------------------------------------------------------------------- */

static volatile sig_atomic_t nested_good, nested_bad;

static void copy_in_handler(int sig)
{
    char here;
    (void)sig;
    if (guard_copy(&here, "x", 1)) nested_good++;
    if (!guard_copy(&here, dead_page, 1)) nested_bad++;
}

static void copy_inside_a_signal_handler(void **state)
{
    (void)state;
    struct sigaction old, act = { .sa_handler = copy_in_handler };
    if (TSAN) vt_skip("the thread sanitizer runs handlers with SIGSEGV blocked, see guard.h");
    assert_true(setup());
    dead_page = map_pages(1, PROT_NONE);
    sigaction(SIGUSR1, &act, &old);
    for (int i = 0; i < 100; i++) raise(SIGUSR1);
    assert_int_equal(nested_good, 100);
    assert_int_equal(nested_bad, 100);
    sigaction(SIGUSR1, &old, NULL);
    munmap(dead_page, PAGE);
    teardown();
}

static void copy_and_repair(int sig)
{
    copy_in_handler(sig);
    mprotect(repair, PAGE, PROT_READ | PROT_WRITE);
}

/* A client's own SIGSEGV handler runs with the signal blocked; a bad pointer in there is a status, too. */
static void copy_inside_the_previous_handler(void **state)
{
    (void)state;
    char *p = map_pages(1, PROT_NONE), here;
    if (TSAN) vt_skip("the thread sanitizer calls handlers its own way");
    sigaction(SIGSEGV, NULL, &before[0]);
    sigaction(SIGBUS, NULL, &before[1]);
    set_handler(SIGSEGV, copy_and_repair, NULL, 0);
    assert_int_equal(guard_install(), FAST);
    dead_page = map_pages(1, PROT_NONE);
    repair = p;
    nested_good = nested_bad = 0;
    assert_true(guard_copy(&here, "x", 1)); /* the thread's mask is known by now */
    fault_at(p);
    assert_int_equal(nested_good, 1);
    assert_int_equal(nested_bad, 1);
    assert_false(guard_copy(&here, dead_page, 1));
    repair = NULL;
    munmap(p, PAGE);
    munmap(dead_page, PAGE);
    teardown();
}

static void *copy_with_all_blocked(void *arg)
{
    char here = 0;
    sigset_t all;
    (void)arg;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    errno = 4711;
    bool right = !guard_copy(&here, dead_page, 1) && guard_copy(&here, "x", 1) && here == 'x';
    return right && errno == 4711 ? arg : NULL;
}

/* The kernel kills a process that faults with the signal blocked; a worker thread blocks everything. */
static void copy_in_a_thread_that_blocks_all_signals(void **state)
{
    (void)state;
    pthread_t thread;
    void *result = NULL;
    assert_true(setup());
    dead_page = map_pages(1, PROT_NONE);
    assert_int_equal(pthread_create(&thread, NULL, copy_with_all_blocked, &result), 0);
    pthread_join(thread, &result);
    assert_ptr_equal(result, &result);
    munmap(dead_page, PAGE);
    teardown();
}

/* Before installation, and again after it is taken back, copies are right, only slower. */
static void copy_without_a_handler(void **state)
{
    (void)state;
    char here = 0;
    guard_uninstall();
    dead_page = map_pages(1, PROT_NONE);
    assert_false(guard_copy(&here, dead_page, 1));
    assert_false(guard_copy(dead_page, &here, 1));
    assert_true(guard_copy(&here, "y", 1));
    assert_int_equal(here, 'y');
    munmap(dead_page, PAGE);
}

static const struct vt_case cases[] = {
    VT_TEST(every_size_copies_exactly, "", NULL),
    VT_TEST(big_copy_is_equal, "", NULL),
    VT_TEST(missing_page_on_either_side, "", NULL),
    VT_TEST(addresses_that_can_never_be, "", NULL),
    VT_TEST(read_only_destination, "", NULL),
    VT_TEST(file_that_shrank, "", NULL),
    VT_TEST(memory_vanishes_under_the_copy, "", NULL),
    VT_TEST(faults_elsewhere_reach_the_previous_handler, "", NULL),
    VT_TEST(sent_signal_is_not_a_fault, "", NULL),
    VT_TEST(handler_installed_afterwards, "", NULL),
    VT_TEST(later_handler_that_passes_on, "", NULL),
    VT_TEST(default_set_afterwards_is_replaced, "", NULL),
    VT_TEST(default_and_ignore_keep_their_meaning, "", NULL),
    VT_TEST(copy_inside_a_signal_handler, "", NULL),
    VT_TEST(copy_inside_the_previous_handler, "", NULL),
    VT_TEST(copy_in_a_thread_that_blocks_all_signals, "", NULL),
    VT_TEST(copy_without_a_handler, "", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "guard", cases, VT_COUNT(cases)); }
