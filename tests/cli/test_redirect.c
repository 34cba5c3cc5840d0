/* SPDX-License-Identifier: MIT */
/* test_redirect.c — the three ways in which a program finds our library, and what they leave behind. */
#include "command.h"
#include "vt.h"

#include "app/redirect/hide.h"

#include <stdio.h>
#include <string.h>

/* A sibling of /dev/dri that is hidden by mistake, or a spelling of it that is not, goes unnoticed for long.
 */
static void hidden_paths(void **state)
{
    static const char *const hidden[] = {"/dev/dri", "/dev/dri/", "/dev/dri/renderD128", "//dev///dri/card0",
                                         "/dev/./dri/by-path", "/./dev/dri/."};
    static const char *const shown[] = {"/dev/driver", "/dev/dr", "/dev", "/dev/", "/", "", "dev/dri", "dri",
                                        "/devel/dri", "/dev/dri2/x", "/srv/dev/dri", "/dev/.dri"};
    (void)state;
    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++)
        assert_ptr_not_equal(hide_path(hidden[i]), hidden[i]);
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
        assert_ptr_equal(hide_path(shown[i]), shown[i]);
    assert_null(hide_path(NULL));
    assert_true(hide_is_driver_path("/usr/lib/wsl/lib/libdxcore.so"));
    assert_true(hide_is_driver_path("libdxcore.so"));
    assert_false(hide_is_driver_path("/usr/lib/libdxcore.so"));
    assert_false(hide_is_driver_path("libdxcore.so.1"));
    assert_false(hide_is_driver_path(NULL));
}

static void opens_our_library(const char *via)
{
    static const char *const words[] = {"open", "deepbind"};
    char line[256];
    for (size_t i = 0; i < 2; i++) {
        snprintf(line, sizeof line, "$vidmm run --via %s -- $probe %s", via, words[i]);
        struct outcome *o = command_run(line);
        if (o->status != 0) fail_msg("%s: status %d\n%s%s", line, o->status, o->out, o->err);
        command_has(o->out, "libdxcore.so\nstub 0\n");
        assert_string_equal(o->err, "");
    }
}

static void audit_opens_our_library(void **state)
{
    (void)state;
    opens_our_library("audit");
}

static void preload_opens_our_library(void **state)
{
    (void)state;
    opens_our_library("preload");
}

static void namespace_opens_our_library(void **state)
{
    (void)state;
    if (!command_can_namespace()) vt_skip("the kernel allows no namespaces here");
    opens_our_library("namespace");
}

/* Children of the program (a shell that starts the client) are redirected too. */
static void children_are_redirected(void **state)
{
    (void)state;
    command_has(command_run("$vidmm run -- sh -c '$probe open; exit 5'")->out, "stub 0");
    assert_int_equal(command_run("$vidmm run -- sh -c '$probe open; exit 5'")->status, 5);
}

/* dlopen finds the caller's search path by its return address: a wrapper that calls instead of jumping
 * makes programs lose libraries that lie beside them. */
static void callers_search_path_is_kept(void **state)
{
    (void)state;
    assert_int_equal(command_run("$probe neighbour")->status, 0);
    assert_int_equal(command_run("$vidmm run --via audit -- $probe neighbour")->status, 0);
    assert_int_equal(command_run("$vidmm run --via preload -- $probe neighbour")->status, 0);
}

/* A /dev with one GPU node, made in a namespace of the test's own. */
#define WITH_DRI \
    "unshare -rm sh -ec 'mount -t tmpfs none /mnt; mkdir /mnt/dri; echo x > /mnt/dri/renderD128;" \
    "echo x > /mnt/driver; ln -s renderD128 /mnt/dri/link; : > /mnt/null; mount --bind /dev/null /mnt/null;" \
    "mount --rbind /mnt /dev; "

/* With a real GPU in the machine the driver would take that one, and nobody would notice. */
static void gpu_devices_are_hidden(void **state)
{
    static const char *const ways[] = {"audit", "preload", "namespace"};
    char line[1024];
    (void)state;
    if (!command_can_namespace()) vt_skip("the kernel allows no namespaces here");
    struct outcome *o = command_run(WITH_DRI "$probe dri'");
    command_has_not(o->out, "ENOENT");      /* the test itself: unredirected, all is seen */
    command_has(o->out, "readlink seen");
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        snprintf(line, sizeof line, WITH_DRI "$vidmm run --via %s -- $probe dri'", ways[i]);
        o = command_run(line);
        if (strcmp(ways[i], "namespace") == 0) {     /* there the directory stays, and is empty */
            command_has(o->out, "open ENOENT\nopenat ENOENT\nopendir seen\nstat ENOENT\n");
        } else {
            command_has(o->out, "open ENOENT\nopenat ENOENT\nopendir ENOENT\nstat ENOENT\nlstat ENOENT\n");
        }
        command_has(o->out, "access ENOENT\nfopen ENOENT\nreadlink ENOENT\nneighbour seen\nnull seen\n");
    }
}

static void static_programs_get_a_namespace(void **state)
{
    (void)state;
    bool can = command_can_namespace();
    struct outcome *o = command_run("$vidmm run -v -- $static exit 4");
    command_has(o->err, "namespace (it is statically linked)");
    if (!can) {
        assert_int_equal(o->status, 125);
        vt_skip("the kernel allows no namespaces here");
    }
    assert_int_equal(o->status, 4);
}

static void raised_rights_get_a_namespace(void **state)
{
    (void)state;
    if (command_run("test -u /usr/bin/su -o -u /bin/su")->status != 0) vt_skip("no setuid program here");
    struct outcome *o = command_run("$vidmm run -v -- su --version");
    command_has(o->err, "namespace (it runs with raised rights)");
}

/* What a run may not change: the file system, the mounts, shared memory, processes. */
static const char leaves_nothing[] =
    "state() {"
    "  find /usr/lib /usr/bin /usr/local /etc /opt /srv /mnt /dev/shm -xdev -maxdepth 3"
    "    -printf '%p %y %s %m %u %T@\\n' 2>/dev/null | sort | sha256sum;"
    "  find /tmp /var/tmp /run -maxdepth 2 -user $(id -u) 2>/dev/null | sort | sha256sum;"
    "  sha256sum < /proc/self/mountinfo; ls -d /usr/lib/wsl 2>&1;"
    "};"
    "before=$(state);"
    "$vidmm run --via $via -- $probe open >/dev/null; $vidmm run --via $via -- $probe raise 9;"
    "after=$(state);"
    "[ \"$before\" = \"$after\" ] || { echo \"$before\"; echo \"$after\"; exit 1; };"
    "ps -eo comm | grep -x cli_probe && exit 2; exit 0";

static void nothing_is_left_behind(void **state)
{
    static const char *const ways[] = {"audit", "preload", "namespace"};
    char line[2048];
    bool can = command_can_namespace();
    (void)state;
    for (size_t i = 0; i < (can ? 3u : 2u); i++) {
        snprintf(line, sizeof line, "via=%s; %s", ways[i], leaves_nothing);
        struct outcome *o = command_run(line);
        if (o->status != 0)
            fail_msg("%s left something behind (%d):\n%s%s", ways[i], o->status, o->out, o->err);
    }
}

/* The namespace keeps the caller: same ids, same directory, /usr/lib still whole and not writable. */
static void namespace_changes_nothing_else(void **state)
{
    (void)state;
    if (!command_can_namespace()) vt_skip("the kernel allows no namespaces here");
    struct outcome *o =
        command_run("cd /usr/share; $vidmm run --via namespace -- sh -c 'id -u; pwd; ls /usr/lib |"
                    "wc -l; grep -c . /etc/passwd; touch /usr/lib/vidmm-test 2>&1 | grep -c .'");
    struct outcome inside = *o;
    o = command_run("cd /usr/share; id -u; pwd; echo $(($(ls /usr/lib | grep -v '^wsl$' | wc -l) + 1));"
                    "grep -c . /etc/passwd; echo 1");
    assert_string_equal(inside.out, o->out);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(hidden_paths, "", NULL),
        VT_TEST(audit_opens_our_library, "", NULL),
        VT_TEST(preload_opens_our_library, "", NULL),
        VT_TEST(namespace_opens_our_library, "", NULL),
        VT_TEST(children_are_redirected, "", NULL),
        VT_TEST(callers_search_path_is_kept, "", NULL),
        VT_TEST(gpu_devices_are_hidden, "", NULL),
        VT_TEST(static_programs_get_a_namespace, "", NULL),
        VT_TEST(raised_rights_get_a_namespace, "", NULL),
        VT_TEST(nothing_is_left_behind, "", NULL),
        VT_TEST(namespace_changes_nothing_else, "", NULL),
    };
    return vt_main(argc, argv, "redirect", cases, VT_COUNT(cases));
}
