/* SPDX-License-Identifier: MIT */
/* test_inject.c - `vidmm run --inject`: whatever goes wrong, the program is told in time, and another
 * process of the manager on the same adapter goes on. With our own clients, and with the OpenCL driver where
 * it is installed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "vt.h"

/* What is injected, what the neighbour must be able to do, and whether the victim is told of an error. */
struct injection { const char *what, *neighbour; bool error; };

/* The neighbour submits three packets and makes one allocation before: the fifth is the victim's. */
static const struct injection injections[] = {
    {"fault@5", "goes-on", true},           {"hang@5", "goes-on", true},
    {"reset-fails@5", "starts-again", true}, {"remove@5", "gone", true},
    {"oom@2", "goes-on", true},             {"delay=30", "goes-on", false},
    {"fault@6,delay=5", "goes-on", true},
};

static long told_after_ms(const char *out, long *error)
{
    const char *line = strstr(out, "victim: error ");
    char *end;
    if (line == NULL) fail_msg("the victim was never told: %s", out);
    *error = strtol(line + strlen("victim: error "), &end, 10);
    return strtol(end + strlen(" after "), NULL, 10);
}

/* Runs both processes; gives the victim's error. */
static long run_both(const struct injection *in, const char *profile, const char *words, long delay_ms)
{
    char line[512];
    long error, ms;
    snprintf(line, sizeof line, "VIDMM_TEST_PROCESSES=2 timeout -k 2 60 $vidmm run --profile %s --inject %s "
             "-- '%s' %s %s", profile, in->what, TEST_INJECTED, words, in->neighbour);
    struct outcome *o = command_run_plain(line);
    if (o->status == 77 || strstr(o->out, "victim: error -1001 ") != NULL)
        vt_skip("Debian's OpenCL driver is not here: its part of --inject is NOT tested");
    ms = told_after_ms(o->out, &error);
    printf("%s, %s: error %ld after %ld ms\n", words, in->what, error, ms);
    if (o->status != 0) fail_msg("%s: status %d\n%s%s", line, o->status, o->out, o->err);
    if (error != 0 && ms > delay_ms + 1000) fail_msg("%s: told after %ld ms", in->what, ms);
    command_has(o->out, "neighbour: as it must");
    return error;
}

static void check(const struct injection *in, const char *profile, const char *words, long delay_ms)
{
    assert_true((run_both(in, profile, words, delay_ms) != 0) == in->error);
}

static void all(const char *profile, const char *words, long delay_ms)
{
    for (size_t i = 0; i < VT_COUNT(injections); i++) check(&injections[i], profile, words, delay_ms);
}

static void on_ref(void **state)
{
    (void)state;
    if (!TEST_REAL_LIBRARY) vt_skip("the library is built with the thread sanitizer, the command is not");
    all("ref --tdr-delay 400", "ref", 400);
}

/* One timeout is the end, if so wished: the neighbour is told, and no new device can be had. */
static void the_fatal_level(void **state)
{
    (void)state;
    if (!TEST_REAL_LIBRARY) vt_skip("the library is built with the thread sanitizer, the command is not");
    check(&(struct injection){"hang@5", "gone", true}, "ref --tdr-delay 200 --tdr-level fatal", "ref", 200);
}

static void on_dg2(void **state)
{
    (void)state;
    if (!TEST_REAL_LIBRARY) vt_skip("the library is built with the thread sanitizer, the command is not");
    all("dg2", "dg2", 300);
}

static void under_opencl(void **state)
{
    (void)state;
    if (!TEST_REAL_LIBRARY) vt_skip("the library is built with the thread sanitizer, the command is not");
    for (size_t i = 0; i < VT_COUNT(injections); i++)
        if (strstr(injections[i].what, "oom") == NULL) check(&injections[i], "dg2", "cl", 300);
}

/* The driver's own allocations come first, and it does not survive the lack of each of them (it then reads
 * from address 0x130). From about the twentieth on they are the program's: of the three that a round makes it
 * can do without one, and tells of the two others. */
static void no_memory_under_opencl(void **state)
{
    static const struct injection round[] = {
        {"oom@30", "goes-on", true}, {"oom@31", "goes-on", true}, {"oom@32", "goes-on", true}};
    unsigned told = 0;
    (void)state;
    if (!TEST_REAL_LIBRARY) vt_skip("the library is built with the thread sanitizer, the command is not");
    for (size_t i = 0; i < VT_COUNT(round); i++) told += run_both(&round[i], "dg2", "cl", 300) != 0;
    assert_true(told >= 2);
}

static const struct vt_case cases[] = {
    VT_TEST(on_ref, "FLT-16 FLT-20", NULL),
    VT_TEST(the_fatal_level, "FLT-16", NULL),
    VT_TEST(on_dg2, "", NULL),
    VT_TEST(under_opencl, "", NULL),
    VT_TEST(no_memory_under_opencl, "", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "inject", cases, VT_COUNT(cases)); }
