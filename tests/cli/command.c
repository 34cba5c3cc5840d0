/* SPDX-License-Identifier: MIT */
/* command.c — see command.h.  Calls the shell; makes no file anywhere: output is kept in memfds. */
#define _GNU_SOURCE
#include "command.h"

#include "vt.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

static void become_ordinary(void)
{
    if (geteuid() != 0) return;
    if (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
        setresuid(NOBODY, NOBODY, NOBODY) != 0)
        _exit(90);
    /* A build tree in root's private home is out of nobody's reach; stop rather than test something else. */
    if (access(TEST_VIDMM, X_OK) != 0) _exit(91);
}

static void keep(int fd, char *text, size_t size)
{
    ssize_t n = pread(fd, text, size - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    close(fd);
}

static _Noreturn void child(const char *line, bool stub, int out, int err)
{
    if (dup2(out, 1) < 0 || dup2(err, 2) < 0) _exit(92);
    setenv("vidmm", TEST_VIDMM, 1);
    setenv("probe", TEST_PROBE, 1);
    setenv("static", TEST_STATIC, 1);
    if (stub) setenv("VIDMM_LIBDIR", TEST_STUB_DIR, 1);
    else unsetenv("VIDMM_LIBDIR");
    unsetenv("VIDMM_TEST_LOG");
    if (chdir("/") != 0) _exit(93);
    become_ordinary();
    execl("/bin/sh", "sh", "-c", line, (char *)NULL);
    _exit(94);
}

static struct outcome *run(const char *line, bool stub)
{
    static struct outcome o;
    int status = 0;
    int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) child(line, stub, out, err);
    if (pid < 0 || out < 0 || err < 0 || waitpid(pid, &status, 0) != pid) fail_msg("cannot run a shell");
    keep(out, o.out, sizeof o.out);
    keep(err, o.err, sizeof o.err);
    o.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (o.status == 91) vt_skip("the build directory is not readable for the user nobody");
    if (o.status >= 90 && o.status <= 94) fail_msg("cannot start a shell as an ordinary user (%d)", o.status);
    return &o;
}

struct outcome *command_run(const char *line)
{
    return run(line, true);
}

struct outcome *command_run_plain(const char *line)
{
    return run(line, false);
}

bool command_can_namespace(void)
{
    return command_run("unshare -rm mount -t tmpfs none /mnt")->status == 0;
}

void command_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) fail_msg("\"%s\" is missing in:\n%s", part, text);
}

void command_has_not(const char *text, const char *part)
{
    if (strstr(text, part) != NULL) fail_msg("\"%s\" should not be in:\n%s", part, text);
}
