/* SPDX-License-Identifier: MIT */
/* run.c — `vidmm run`: prepares environment and counters, starts the program, waits, reports.
 * The counters lie in a memfd that the program inherits and libdxcore.so maps; it has no name in any file
 * system, and the parent still sees the figures when the program was killed in the middle of a call. */
#define _GNU_SOURCE
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "app/counters_block.h"
#include "app/redirect/hide.h"

/* Where shells and programs that pick their own descriptor numbers do not tread. */
#define COUNTERS_FD_FROM 700

struct run {
    const struct run_options *o;
    struct libraries libraries;
    struct program program;
    enum via via;
    const char *why_via;
    FILE *report;
    int counters_fd;
    struct counters_block *shared;
    int failure_fd;              /* the child writes here why it could not start the program */
};

/* Handlers have no argument of their own; there is one child per vidmm. */
static volatile pid_t child_pid;

/* Terminal keys reach the program by themselves, the kernel sends them to the whole group; what somebody
 * sends to us alone is meant for the program too. */
static void forward_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    int saved = errno;
    if (info->si_code <= 0) kill(child_pid, number);
    errno = saved;
}

static const int forwarded[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};

/* What the caller ignores (nohup) stays ignored. */
static void set_handlers(const struct sigaction *action)
{
    for (size_t i = 0; i < sizeof forwarded / sizeof forwarded[0]; i++) {
        struct sigaction old;
        if (sigaction(forwarded[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN) continue;
        sigaction(forwarded[i], action, NULL);
    }
}

/* Blocks what will be forwarded.  Gives the mask from before in *old. */
static void hold_signals(sigset_t *old)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof forwarded / sizeof forwarded[0]; i++) sigaddset(&set, forwarded[i]);
    sigprocmask(SIG_BLOCK, &set, old);
}

static void forward_signals(void)
{
    const struct sigaction action = {.sa_sigaction = forward_signal, .sa_flags = SA_SIGINFO};
    set_handlers(&action);
}

/* Waits without freeing the process id, so that no signal can be forwarded to a stranger who got it next;
 * once nothing is forwarded any more, signals mean us again and the id is freed. */
static int wait_for_child(void)
{
    const struct sigaction plain = {.sa_handler = SIG_DFL};
    siginfo_t info;
    int status = 0;
    while (waitid(P_PID, (id_t)child_pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR) { }
    set_handlers(&plain);
    waitpid(child_pid, &status, 0);
    return status;
}

static int counters_open(struct run *r)
{
    int fd = memfd_create("vidmm-counters", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    if (fd >= 0 && ftruncate(fd, sizeof *r->shared) == 0) {
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
        r->counters_fd = fcntl(fd, F_DUPFD, COUNTERS_FD_FROM);
        if (r->counters_fd < 0) r->counters_fd = fcntl(fd, F_DUPFD, 3);   /* a low limit of open files */
        r->shared = mmap(NULL, sizeof *r->shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (fd >= 0) close(fd);
    if (fd < 0 || r->counters_fd < 0 || r->shared == MAP_FAILED || r->shared == NULL)
        return complain(EXIT_OWN_FAILURE, "cannot make memory for the counters: %s", strerror(errno));
    return 0;
}

/* Opened before the program starts: a long run must not end in "cannot write". */
static int report_open(struct run *r)
{
    const char *name = r->o->report;
    if (name == NULL) return 0;
    r->report = strcmp(name, "-") == 0 ? stdout : fopen(name, "we");
    if (r->report == NULL)
        return complain(EXIT_OWN_FAILURE, "cannot write the report %s: %s", name, strerror(errno));
    return 0;
}

static bool wants_json(const struct run_options *o)
{
    size_t n = strlen(o->report);
    if (o->format != FORMAT_BY_NAME) return o->format == FORMAT_JSON;
    return n >= 5 && strcmp(o->report + n - 5, ".json") == 0;
}

/* Since 2.35 an auditor also sees the bindings of programs that bind everything at start, as most do. */
static bool linker_can_audit(void)
{
    int major = 0, minor = 0;
    if (sscanf(gnu_get_libc_version(), "%d.%d", &major, &minor) != 2) return false;
    return major > 2 || (major == 2 && minor >= 35);
}

/* Gives the way for this program and says in *why what decided. */
static enum via best_via(const struct run *r, const char **why)
{
    *why = r->program.why_namespace;
    if (*why != NULL) return VIA_NAMESPACE;
    bool sanitized = r->libraries.sanitized;
    *why = sanitized ? "libdxcore.so carries a sanitizer" : "the dynamic linker can redirect it";
    if (r->libraries.audit[0] != '\0' && linker_can_audit() && !sanitized) return VIA_AUDIT;
    if (r->libraries.preload[0] != '\0') return VIA_PRELOAD;
    *why = "the redirection libraries are missing";
    return VIA_NAMESPACE;
}

static int choose_via(struct run *r)
{
    r->via = r->o->via;
    r->why_via = "as asked";
    if (r->via == VIA_AUTO) r->via = best_via(r, &r->why_via);
    if (r->via == VIA_AUDIT && r->libraries.audit[0] == '\0')
        return complain(EXIT_OWN_FAILURE,
                        "libvidmm-audit.so is not beside libdxcore.so: reinstall, or build all of it");
    if (r->via == VIA_PRELOAD && r->libraries.preload[0] == '\0')
        return complain(EXIT_OWN_FAILURE,
                        "libvidmm-preload.so is not beside libdxcore.so: reinstall, or build all of it");
    return 0;
}

static void say_choice(const struct run *r)
{
    fprintf(stderr, "vidmm: program   %s\n", r->program.path);
    fprintf(stderr, "vidmm: libdxcore %s\n", r->libraries.dxcore);
    fprintf(stderr, "vidmm: via       %s (%s)\n", via_name(r->via), r->why_via);
    fprintf(stderr,
            "vidmm: profile   %s, %llu MiB simulated, the driver is told %llu MiB, paging delay %u ms\n",
            r->o->profile, (unsigned long long)(r->o->vram_bytes >> 20),
            (unsigned long long)(r->o->vram_reported_bytes >> 20), r->o->paging_delay_ms);
}

static void set_number(const char *name, unsigned long long value)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", value);
    setenv(name, text, 1);
}

/* Puts ours in front of what the caller already has in a list variable. */
static void set_list(const char *name, const char *ours, const char *separator)
{
    const char *theirs = getenv(name);
    char *text = NULL;
    if (theirs == NULL || theirs[0] == '\0') {
        setenv(name, ours, 1);
    } else if (asprintf(&text, "%s%s%s", ours, separator, theirs) > 0) {
        setenv(name, text, 1);
        free(text);
    }
}

void run_environment(const struct run_options *o, const struct libraries *l, int counters_fd)
{
    setenv("VIDMM_PROFILE", o->profile, 1);
    set_number("VIDMM_VRAM", o->vram_bytes);
    set_number("VIDMM_VRAM_REPORTED", o->vram_reported_bytes);
    set_number("VIDMM_PAGING_DELAY_MS", o->paging_delay_ms);
    set_number("VIDMM_TDR_DELAY_MS", o->tdr_delay_ms);
    set_number("VIDMM_TDR_LIMIT", o->tdr_limit);
    setenv("VIDMM_TDR_LEVEL", o->tdr_level, 1);
    setenv("VIDMM_INJECT", o->inject, 1);
    setenv(REDIRECT_ENV_LIBRARY, l->dxcore, 1);
    unsetenv("VIDMM_COUNTERS_FD");
    if (counters_fd >= 0) set_number("VIDMM_COUNTERS_FD", (unsigned)counters_fd);
}

/* In the child: says why and ends. */
static _Noreturn void child_fail(const struct run *r, int status, const char *text)
{
    char line[CLI_TEXT_MAX];
    int n = snprintf(line, sizeof line, "%c%s", status, text);
    if (write(r->failure_fd, line, (size_t)n < sizeof line ? (size_t)n : sizeof line) < 0) _exit(status);
    _exit(status);
}

static _Noreturn void child_main(const struct run *r, pid_t parent)
{
    char why[CLI_TEXT_MAX / 2], line[CLI_TEXT_MAX - 1];
    /* vidmm killed outright leaves no program behind that nobody waits for */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(EXIT_OWN_FAILURE);
    if (r->via == VIA_NAMESPACE && space_enter(r->libraries.dxcore, why, sizeof why) != 0) {
        snprintf(line, sizeof line, "--via namespace does not work here: %s", why);
        child_fail(r, EXIT_OWN_FAILURE, line);
    }
    run_environment(r->o, &r->libraries, r->counters_fd);
    if (r->libraries.sanitizer[0] != '\0') {
        set_list("LD_PRELOAD", r->libraries.sanitizer, ":");
        set_list("ASAN_OPTIONS", "verify_asan_link_order=0", ":");     /* our own dlopen comes before it */
    }
    if (r->via == VIA_PRELOAD) set_list("LD_PRELOAD", r->libraries.preload, ":");
    if (r->via == VIA_AUDIT) set_list("LD_AUDIT", r->libraries.audit, ":");
    execvp(r->program.path, r->o->program);      /* of the two only this one runs scripts without "#!" */
    snprintf(line, sizeof line, "cannot run %s: %s", r->o->program[0], strerror(errno));
    child_fail(r, EXIT_CANNOT_RUN, line);
}

/* Gives 0 once the program runs, else the exit status after a complaint. */
static int start(struct run *r)
{
    int ends[2];
    char line[CLI_TEXT_MAX] = "";
    if (pipe2(ends, O_CLOEXEC) != 0)
        return complain(EXIT_OWN_FAILURE, "cannot make a pipe: %s", strerror(errno));
    fflush(NULL);
    r->failure_fd = ends[1];
    pid_t parent = getpid();
    sigset_t mask;
    hold_signals(&mask);               /* the program may run, and be signalled, before we know its id */
    child_pid = fork();
    if (child_pid == 0) {
        sigprocmask(SIG_SETMASK, &mask, NULL);
        child_main(r, parent);
    }
    if (child_pid > 0) forward_signals();
    sigprocmask(SIG_SETMASK, &mask, NULL);
    close(ends[1]);
    if (child_pid < 0) return complain(EXIT_OWN_FAILURE, "cannot start a process: %s", strerror(errno));
    ssize_t n;
    while ((n = read(ends[0], line, sizeof line - 1)) < 0 && errno == EINTR) { }
    close(ends[0]);
    if (n <= 0) return 0;              /* closed by a successful exec */
    wait_for_child();
    return complain(line[0], "%s", line + 1);
}

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int write_report(const struct run *r, const struct run_outcome *outcome)
{
    if (r->report == NULL) return 0;
    int failed = 0;
    if (wants_json(r->o)) failed = report_json(r->report, r->o, outcome, &r->shared->counters);
    else report_text(r->report, r->o, outcome, &r->shared->counters);
    failed |= fflush(r->report) != 0 || ferror(r->report);
    if (r->report != stdout) failed |= fclose(r->report) != 0;
    return failed ? complain(EXIT_OWN_FAILURE, "the report %s could not be written in full", r->o->report)
                  : 0;
}

static int wait_and_report(struct run *r)
{
    double begin = now_seconds();
    int status = start(r);
    if (status != 0) return status;
    struct run_outcome outcome = {.via = r->via};
    outcome.wait_status = wait_for_child();
    outcome.seconds = now_seconds() - begin;
    uint64_t adapters = atomic_load(&r->shared->adapters);
    outcome.other_adapters = adapters > 1 ? adapters - 1 : 0;
    if (r->shared->counters.adapter_opens == 0 && adapters <= 1)
        complain(0, "warning: the program never opened our adapter, so it did not run on vidmm%s",
                 r->via == VIA_NAMESPACE ? "" : " (--via namespace may find it)");
    write_report(r, &outcome);
    return WIFSIGNALED(outcome.wait_status) ? 128 + WTERMSIG(outcome.wait_status)
                                            : WEXITSTATUS(outcome.wait_status);
}

int run_program(const struct run_options *o)
{
    struct run r = {.o = o, .counters_fd = -1};
    int status = libraries_find(&r.libraries);
    if (status == 0) status = program_find(&r.program, o->program[0]);
    if (status == 0) status = choose_via(&r);
    if (status == 0) status = report_open(&r);
    if (status == 0) status = counters_open(&r);
    if (status != 0) return status;
    if (o->verbose) say_choice(&r);
    return wait_and_report(&r);
}
