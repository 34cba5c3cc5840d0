/* SPDX-License-Identifier: MIT */
/* guard.c — see guard.h. The handler touches nothing but the interrupted instruction pointer, and that only
 * for a real fault (not a signal sent by somebody) inside the copy's own instructions. Everything else
 * goes to whoever had the signal before us, as if we were not there. */
#define _GNU_SOURCE
#include "host/guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#if defined(__x86_64__) && defined(__linux__)
#include <ucontext.h>
#define GUARD_HAS_FAST 1
bool guard_fast_copy(void *dst, const void *src, size_t n);
extern const char guard_fast_start[], guard_fast_end[], guard_fast_fault[];
#else
#define GUARD_HAS_FAST 0
#endif

/* ---- the slow way ------------------------------------------------------------------------------ */

enum slow_result { SLOW_OK, SLOW_FAULT, SLOW_UNAVAILABLE };

/* The system call itself: the wrapper would be intercepted by sanitizers, which then look at the bytes. */
static enum slow_result slow_copy(char *dst, const char *src, size_t n)
{
    int saved_errno = errno;
    enum slow_result result = SLOW_OK;
    while (n != 0 && result == SLOW_OK) {
        struct iovec to = { dst, n }, from = { (void *)(uintptr_t)src, n };
        long got = syscall(SYS_process_vm_readv, (long)getpid(), &to, 1ul, &from, 1ul, 0ul);
        if (got > 0) {
            dst += got;
            src += got;
            n -= (size_t)got;
        } else if (got < 0 && (errno == ENOSYS || errno == EPERM || errno == EACCES)) {
            result = SLOW_UNAVAILABLE;
        } else {
            result = SLOW_FAULT;
        }
    }
    errno = saved_errno;
    return result;
}

#if !GUARD_HAS_FAST

bool guard_copy(void *dst, const void *src, size_t n) { return slow_copy(dst, src, n) == SLOW_OK; }
bool guard_install(void) { return false; }
void guard_uninstall(void) { }

#else

/* ---- the handlers we replaced ------------------------------------------------------------------ */

/* A handler may be reading a slot on another thread, so a slot is not written again soon: there is a new
 * one for each installation. Slot 0 stays zero, which is SIG_DFL. */
#define SLOTS 16u

struct guarded_signal {
    int number;
    bool installed;          /* ours has been in front once; only the holder of `installing` looks */
    uint32_t slots_used;     /* the same */
    struct sigaction slot[SLOTS];
    _Atomic uint32_t current;
};

static struct guarded_signal guarded[2] = { { .number = SIGSEGV }, { .number = SIGBUS } };
static atomic_flag installing = ATOMIC_FLAG_INIT;
static atomic_bool fast;     /* both handlers were in front when last looked at */
static atomic_bool dying;    /* SIG_DFL has been restored to end the process: do not come back */

/* Initial-exec: the first access must not allocate, it may happen in a signal handler. */
enum thread_mask { MASK_UNKNOWN, MASK_OPEN, MASK_BLOCKED };
static _Thread_local unsigned char thread_mask __attribute__((tls_model("initial-exec")));

static struct guarded_signal *guarded_by_number(int sig) { return &guarded[sig == SIGBUS]; }

static bool is_default(const struct sigaction *act)
{
    return act->sa_handler == SIG_DFL || act->sa_handler == SIG_IGN; /* whatever SA_SIGINFO says */
}

/* A fault of the running instruction: would happen again if nothing was done about it. */
static bool is_synchronous(int sig, const siginfo_t *info)
{
    return info->si_code > 0 && !(sig == SIGBUS && info->si_code == BUS_MCEERR_AO);
}

/* What the kernel would have done. A fault happens again by itself when we return, with the registers and
 * siginfo that a core dump should show; a signal that was sent has to be sent again. */
static void chain_default(int sig, siginfo_t *info)
{
    int saved_errno = errno;
    struct sigaction def = { .sa_handler = SIG_DFL };
    sigemptyset(&def.sa_mask);
    atomic_store(&dying, true);
    sigaction(sig, &def, NULL);
    if (!is_synchronous(sig, info))
        syscall(SYS_rt_tgsigqueueinfo, (long)getpid(), syscall(SYS_gettid), (long)sig, info);
    errno = saved_errno;
}

static void chain(int sig, siginfo_t *info, void *context)
{
    struct guarded_signal *g = guarded_by_number(sig);
    const struct sigaction *previous = &g->slot[atomic_load_explicit(&g->current, memory_order_acquire)];

    if (previous->sa_handler == SIG_IGN && !is_synchronous(sig, info)) return;
    if (is_default(previous)) { /* the kernel does not let a fault be ignored either */
        chain_default(sig, info);
        return;
    }
    if (previous->sa_flags & SA_RESETHAND) atomic_store(&g->current, 0);
    /* The kernel has blocked the signal for the handler's time: a copy in there must not fault.  If the
     * handler jumps out, this thread's copies stay slow, and right. */
    unsigned char saved_mask = thread_mask;
    thread_mask = MASK_BLOCKED;
    if (previous->sa_flags & SA_SIGINFO)
        previous->sa_sigaction(sig, info, context);
    else
        previous->sa_handler(sig);
    thread_mask = saved_mask;
}

__attribute__((no_sanitize("address", "thread", "undefined")))
static void on_fault(int sig, siginfo_t *info, void *context)
{
    greg_t *ip = &((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    uintptr_t at = (uintptr_t)*ip;

    if (at >= (uintptr_t)guard_fast_start && at < (uintptr_t)guard_fast_end && is_synchronous(sig, info))
        *ip = (greg_t)(uintptr_t)guard_fast_fault;
    else
        chain(sig, info, context);
}

/* ---- installation ------------------------------------------------------------------------------ */

static bool is_ours(const struct sigaction *act)
{
    return (act->sa_flags & SA_SIGINFO) && act->sa_sigaction == on_fault;
}

static bool in_front(const struct guarded_signal *g)
{
    struct sigaction now;
    return sigaction(g->number, NULL, &now) == 0 && is_ours(&now);
}

/* Mask and flags are taken from the previous handler, so that the kernel prepares for it what it would have
 * prepared without us. SA_ONSTACK is harmless where there is nobody to be exact about. */
static bool install_one(struct guarded_signal *g)
{
    struct sigaction now;
    if (sigaction(g->number, NULL, &now) != 0) return false;
    if (is_ours(&now)) return true;
    if (g->installed && !is_default(&now)) return false;
    if (g->slots_used + 1 == SLOTS) return false; /* somebody resets it all the time; stay out of it */

    uint32_t slot = ++g->slots_used;
    g->slot[slot] = now;
    atomic_store_explicit(&g->current, slot, memory_order_release);
    struct sigaction ours = { .sa_sigaction = on_fault, .sa_mask = now.sa_mask };
    ours.sa_flags = SA_SIGINFO;
    ours.sa_flags |= is_default(&now) ? SA_ONSTACK : now.sa_flags & (SA_ONSTACK | SA_RESTART | SA_NODEFER);
    g->installed = sigaction(g->number, &ours, NULL) == 0;
    return g->installed;
}

bool guard_install(void)
{
    if (atomic_load(&dying)) return false;
    bool ok = in_front(&guarded[0]) && in_front(&guarded[1]);
    if (!ok) {
        if (atomic_flag_test_and_set(&installing)) return atomic_load(&fast);
        ok = install_one(&guarded[0]);
        ok = install_one(&guarded[1]) && ok;
        atomic_flag_clear(&installing);
    }
    if (atomic_load(&fast) != ok) atomic_store(&fast, ok);
    return ok;
}

void guard_uninstall(void)
{
    if (atomic_flag_test_and_set(&installing)) return;
    atomic_store(&fast, false);
    for (int i = 0; i < 2; i++) {
        struct guarded_signal *g = &guarded[i];
        struct sigaction now;
        if (sigaction(g->number, NULL, &now) != 0) continue;
        if (is_ours(&now)) sigaction(g->number, &g->slot[atomic_load(&g->current)], NULL);
        else if (!is_default(&now)) continue; /* it may still call ours */
        g->installed = false;
        g->slots_used = 0;
    }
    atomic_flag_clear(&installing);
}

/* ---- the copy ---------------------------------------------------------------------------------- */

static bool thread_is_open(void)
{
    if (thread_mask == MASK_UNKNOWN) {
        sigset_t set;
        bool blocked = pthread_sigmask(SIG_BLOCK, NULL, &set) != 0 || sigismember(&set, SIGSEGV) == 1
                    || sigismember(&set, SIGBUS) == 1;
        thread_mask = blocked ? MASK_BLOCKED : MASK_OPEN;
    }
    return thread_mask == MASK_OPEN;
}

bool guard_copy(void *dst, const void *src, size_t n)
{
    if (atomic_load_explicit(&fast, memory_order_relaxed) && thread_is_open())
        return guard_fast_copy(dst, src, n);

    enum slow_result result = slow_copy(dst, src, n);
    /* A sandbox may forbid the call. Good pointers must still work, so take the way that may fault. */
    if (result == SLOW_UNAVAILABLE) return guard_fast_copy(dst, src, n);
    return result == SLOW_OK;
}

#endif
