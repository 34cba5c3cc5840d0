/* SPDX-License-Identifier: MIT */
/* test_vt.c - the harness judged by itself: runs this executable again with a table of small cases that
 * pass, fail, skip, abort and leave early, and reads the log they leave. */
#define _GNU_SOURCE
#include "vt.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the inner suite, run as a child under VT_INNER=1 ---- */

static void inner_pass(void **state) { (void)state; }

static void inner_fail(void **state)
{
    (void)state;
    assert_int_equal(1, 2);
}

static void inner_skip(void **state)
{
    (void)state;
    vt_skip("to see it logged");
}

static void inner_abort(void **state)
{
    (void)state;
    abort();
}

static void inner_exit(void **state)
{
    (void)state;
    _exit(0);
}

static void inner_break(void **state)
{
    (void)state;
    if (vt_break() != NULL && strcmp(vt_break(), "known") != 0) {
        vt_break_unknown(vt_break());
    }
    assert_null(vt_break());
}

static const struct vt_case inner_cases[] = {
    VT_TEST(inner_pass, "VA-01 VA-02", NULL), VT_TEST(inner_fail, "", NULL),
    VT_TEST(inner_skip, "VA-03", NULL),       VT_TEST(inner_abort, "", NULL),
    VT_TEST(inner_exit, "", NULL),            VT_TEST(inner_break, "", "known"),
};

/* ---- the outer suite ---- */

struct child {
    int status;
    char log[2048];
};

static void read_file(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, text, size - 1);
    text[got < 0 ? 0 : got] = '\0';
    if (fd >= 0) {
        close(fd);
    }
}

static void run_inner(const char *only, const char *broken, struct child *out)
{
    char path[] = "/tmp/vt-log-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);

    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        setenv("VT_INNER", "1", 1);
        setenv("VIDMM_TEST_LOG", path, 1);
        setenv("VIDMM_BREAK", broken, 1);
        execl("/proc/self/exe", "inner", "--only", only, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &out->status, 0), pid);
    read_file(path, out->log, sizeof out->log);
    unlink(path);
}

static void a_pass_is_logged_with_its_ids(void **state)
{
    struct child c;
    (void)state;
    run_inner("inner_pass", "", &c);
    assert_int_equal(c.status, 0);
    assert_string_equal(c.log, "BEGIN\tinner\t1\nPASS\tinner\tinner_pass\tVA-01 VA-02\nDONE\tinner\t1\n");
}

static void a_failed_assertion_is_logged_and_returned(void **state)
{
    struct child c;
    (void)state;
    run_inner("inner_fail", "", &c);
    assert_int_equal(WEXITSTATUS(c.status), 1);
    assert_non_null(strstr(c.log, "FAIL\tinner\tinner_fail\t\n"));
}

static void a_skip_is_no_pass(void **state)
{
    struct child c;
    (void)state;
    run_inner("inner_skip", "", &c);
    assert_int_equal(c.status, 0);
    assert_non_null(strstr(c.log, "SKIP\tinner\tinner_skip\tVA-03\n"));
    assert_null(strstr(c.log, "PASS"));
}

static void an_abort_is_logged_as_failure(void **state)
{
    struct child c;
    (void)state;
    run_inner("inner_abort", "", &c);
    assert_true(WIFSIGNALED(c.status));
    assert_int_equal(WTERMSIG(c.status), SIGABRT);
    assert_non_null(strstr(c.log, "FAIL\tinner\tinner_abort"));
}

/* A case that ends the process with status 0 must not hide the cases after it. */
static void leaving_early_lacks_the_done_line(void **state)
{
    struct child c;
    (void)state;
    run_inner("inner_exit", "", &c);
    assert_int_equal(c.status, 0);
    assert_non_null(strstr(c.log, "BEGIN"));
    assert_null(strstr(c.log, "DONE"));
}

static void a_known_break_fails_and_an_unknown_one_ends_with_3(void **state)
{
    struct child c;
    (void)state;
    run_inner("inner_break", "", &c);
    assert_int_equal(c.status, 0);
    run_inner("inner_break", "known", &c);
    assert_int_equal(WEXITSTATUS(c.status), 1);
    run_inner("inner_break", "mistyped", &c);
    assert_int_equal(WEXITSTATUS(c.status), 3);
}

static void an_unknown_case_is_refused(void **state)
{
    struct child c;
    (void)state;
    run_inner("inner_typo", "", &c);
    assert_int_equal(WEXITSTATUS(c.status), 2);
}

static void rounds_scale_but_never_reach_zero(void **state)
{
    (void)state;
    setenv("VIDMM_TEST_SCALE", "10", 1);
    assert_int_equal(vt_rounds(1000), 100);
    assert_int_equal(vt_rounds(155), 15);
    assert_int_equal(vt_rounds(3), 1);
    unsetenv("VIDMM_TEST_SCALE");
    assert_int_equal(vt_rounds(1000), 1000);
}

static const struct vt_case cases[] = {
    VT_TEST(a_pass_is_logged_with_its_ids, "", NULL),
    VT_TEST(a_failed_assertion_is_logged_and_returned, "", NULL),
    VT_TEST(a_skip_is_no_pass, "", NULL),
    VT_TEST(an_abort_is_logged_as_failure, "", NULL),
    VT_TEST(leaving_early_lacks_the_done_line, "", NULL),
    VT_TEST(a_known_break_fails_and_an_unknown_one_ends_with_3, "", NULL),
    VT_TEST(an_unknown_case_is_refused, "", NULL),
    VT_TEST(rounds_scale_but_never_reach_zero, "", NULL),
};

int main(int argc, char **argv)
{
    if (getenv("VT_INNER") != NULL) {
        return vt_main(argc, argv, "inner", inner_cases, VT_COUNT(inner_cases));
    }
    return vt_main(argc, argv, "harness", cases, VT_COUNT(cases));
}
