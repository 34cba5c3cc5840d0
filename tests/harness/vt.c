/* SPDX-License-Identifier: MIT */
/* vt.c - runs a table of cases through cmocka and logs one line for each.
 * Owns: the case that runs at the moment. Calls: cmocka, write(2). One suite per process. */
#define _GNU_SOURCE
#include "vt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1024 };

struct run {
    const char *suite;
    const struct vt_case *now;
    size_t logged;
    bool passed;
    bool skipped;
};

static struct run run;

/* One write per line on an O_APPEND file, so that suites running side by side never mix lines. Only
 * async-signal-safe calls (snprintf is avoided): the abort handler logs through here too. */
static void log_line(const char *const *part, size_t parts)
{
    const char *path = getenv("VIDMM_TEST_LOG");
    char line[LINE_MAX_BYTES];
    size_t used = 0;

    if (path == NULL || path[0] == '\0') {
        return;
    }
    for (size_t i = 0; i < parts; i++) {
        size_t len = strlen(part[i]);
        size_t room = sizeof line - used - 1;
        if (len > room) {
            len = room;
        }
        memcpy(line + used, part[i], len);
        used += len;
        line[used++] = i + 1 == parts ? '\n' : '\t';
        if (used >= sizeof line) {
            break;
        }
    }
    line[used - 1] = '\n';
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, line, used) != (ssize_t)used) {
        static const char text[] = "vt: cannot append to the file named by VIDMM_TEST_LOG\n";
        ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
        (void)ignored;
        _exit(2);
    }
    close(fd);
}

static void log_case(const char *result)
{
    const char *part[] = {result, run.suite, run.now->name, run.now->proves};
    log_line(part, VT_COUNT(part));
    run.logged++;
}

static void log_frame(const char *word, size_t n)
{
    char count[32];
    snprintf(count, sizeof count, "%zu", n);
    const char *part[] = {word, run.suite, count};
    log_line(part, VT_COUNT(part));
}

/* cmocka leaves a case by longjmp on failure and on skip, so only a pass comes back here. */
static void body(void **state)
{
    run.passed = false;
    run.skipped = false;
    run.now->fn(state);
    run.passed = true;
}

static int before(void **state)
{
    run.now = *state;
    *state = NULL;
    return 0;
}

static int after(void **state)
{
    (void)state;
    log_case(run.passed ? "PASS" : run.skipped ? "SKIP" : "FAIL");
    run.now = NULL;
    return 0;
}

/* A failed CHECK in the code under test aborts; the case that ran must still be logged as failed. */
static void on_abort(int sig)
{
    if (run.now != NULL) {
        log_case("FAIL");
    }
    signal(sig, SIG_DFL);
    raise(sig);
}

static int usage(const char *why, const char *what)
{
    fprintf(stderr, "%s: %s%s\nuse: [--list] [--only NAME]...\n", run.suite, why, what);
    return 2;
}

static const struct vt_case *find(const struct vt_case *cases, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(cases[i].name, name) == 0) {
            return &cases[i];
        }
    }
    return NULL;
}

static int list(const struct vt_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct vt_case *c = &cases[i];
        printf("%s\t%s\t%s\n", c->name, c->proves, c->broken_by != NULL ? c->broken_by : "");
    }
    return 0;
}

static int run_cases(const struct vt_case *const *chosen, size_t n)
{
    struct CMUnitTest *tests = calloc(n, sizeof *tests);
    if (tests == NULL) {
        return usage("out of memory", "");
    }
    for (size_t i = 0; i < n; i++) {
        tests[i].name = chosen[i]->name;
        tests[i].test_func = body;
        tests[i].setup_func = before;
        tests[i].teardown_func = after;
        tests[i].initial_state = (void *)(uintptr_t)chosen[i];
    }
    signal(SIGABRT, on_abort);
    log_frame("BEGIN", n);
    int failed = _cmocka_run_group_tests(run.suite, tests, n, NULL, NULL);
    log_frame("DONE", run.logged);
    free(tests);
    return failed == 0 ? 0 : 1;
}

int vt_main(int argc, char **argv, const char *suite, const struct vt_case *cases, size_t n)
{
    const struct vt_case **chosen = calloc(n + (size_t)argc, sizeof(*chosen));
    size_t count = 0;
    int status = 0;
    bool all = true;

    run = (struct run){.suite = suite};
    if (chosen == NULL) {
        return usage("out of memory", "");
    }
    for (int i = 1; i < argc && status == 0; i++) {
        if (strcmp(argv[i], "--list") == 0) {
            free(chosen);
            return list(cases, n);
        }
        if (strcmp(argv[i], "--only") != 0 || i + 1 == argc) {
            status = usage("unknown or incomplete option: ", argv[i]);
            break;
        }
        const struct vt_case *c = find(cases, n, argv[++i]);
        all = false;
        if (c == NULL) {
            status = usage("no such case: ", argv[i]);
        } else {
            chosen[count++] = c;
        }
    }
    for (size_t i = 0; all && i < n; i++) {
        chosen[count++] = &cases[i];
    }
    if (status == 0) {
        status = run_cases(chosen, count);
    }
    free(chosen);
    return status;
}

const char *vt_break(void)
{
    const char *name = getenv("VIDMM_BREAK");
    return name != NULL && name[0] != '\0' ? name : NULL;
}

_Noreturn void vt_break_unknown(const char *name)
{
    fprintf(stderr, "%s: nothing knows the break switch %s\n", run.suite, name);
    _exit(3);
}

_Noreturn void vt_skip(const char *reason)
{
    print_message("skipped: %s\n", reason);
    run.skipped = true;
    skip();
    abort(); /* skip() leaves by longjmp */
}

static uint64_t env_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    char *end = NULL;

    if (text == NULL || text[0] == '\0') {
        return otherwise;
    }
    errno = 0;
    uint64_t v = strtoull(text, &end, 0);
    if (errno != 0 || *end != '\0') {
        fprintf(stderr, "%s: %s is not a number: %s\n", run.suite, name, text);
        _exit(2);
    }
    return v;
}

uint64_t vt_rounds(uint64_t n)
{
    uint64_t percent = env_number("VIDMM_TEST_SCALE", 100);
    uint64_t scaled = n / 100 * percent + n % 100 * percent / 100;
    return scaled == 0 ? 1 : scaled;
}

uint64_t vt_seed(void)
{
    return env_number("VIDMM_TEST_SEED", 1);
}
