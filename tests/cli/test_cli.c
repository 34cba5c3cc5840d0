/* SPDX-License-Identifier: MIT */
/* test_cli.c — the command line, exit statuses, environment and reports of `vidmm`. */
#include "command.h"
#include "vt.h"

#include <stdio.h>
#include <string.h>

static void one_line(const char *text)
{
    size_t n = strlen(text);
    if (strncmp(text, "vidmm: ", 7) != 0 || n == 0 || strchr(text, '\n') != text + n - 1)
        fail_msg("not one line that starts with 'vidmm: ':\n%s", text);
}

static void is_refused(const char *line, const char *part)
{
    struct outcome *o = command_run(line);
    if (o->status != 2) fail_msg("%s: status %d", line, o->status);
    one_line(o->err);
    command_has(o->err, part);
    assert_string_equal(o->out, "");
}

/* A user who mistypes gets a manual, a core dump or silence instead of the one thing that was wrong. */
static void wrong_use_is_one_line_and_status_2(void **state)
{
    static const char *const uses[][2] = {
        {"$vidmm", "no command"},
        {"$vidmm ruin", "ruin"},
        {"$vidmm --bogus", "--bogus"},
        {"$vidmm --version now", "now"},
        {"$vidmm profiles all", "all"},
        {"$vidmm adapters all", "all"},
        {"$vidmm adapters --vram 64M", "--vram"},
        {"$vidmm run", "no program"},
        {"$vidmm run --", "no program"},
        {"$vidmm run -- ''", "empty"},
        {"$vidmm run --profile", "--profile"},
        {"$vidmm run --profile dg3 -- true", "dg3"},
        {"$vidmm run --gpus 5 -- true", "--gpus 5"},
        {"$vidmm run --gpus 22 -- true", "--gpus 22"},
        {"$vidmm run --bogus -- true", "--bogus"},
        {"$vidmm run -x -- true", "-x"},
        {"$vidmm run --verbose=1 -- true", "--verbose"},
        {"$vidmm run --vram 64Q -- true", "64Q"},
        {"$vidmm run --vram -64M -- true", "-64M"},
        {"$vidmm run --vram 0x100000 -- true", "0x100000"},
        {"$vidmm run --vram '' -- true", "--vram"},
        {"$vidmm run --vram M -- true", "M"},
        {"$vidmm run --vram 1M -- true", "out of range"},
        {"$vidmm run --vram 2T -- true", "out of range"},
        {"$vidmm run --vram 99999999999999999999 -- true", "99999999999999999999"},
        {"$vidmm run --vram 16777217 -- true", "64K"},
        {"$vidmm run --vram-reported many -- true", "--vram-reported"},
        {"$vidmm run --paging-delay 20s -- true", "20s"},
        {"$vidmm run --paging-delay 60001 -- true", "60001"},
        {"$vidmm run --tdr-delay soon -- true", "--tdr-delay soon"},
        {"$vidmm run --tdr-limit 33 -- true", "33"},
        {"$vidmm run --tdr-limit 0 -- true", "--tdr-limit 0"},
        {"$vidmm run --tdr-level maybe -- true", "maybe"},
        {"$vidmm run --inject fault -- true", "fault"},
        {"$vidmm run --inject fault@1,boom@2 -- true", "'boom@2'"},
        {"$vidmm run --inject delay=9s -- true", "delay=9s"},
        {"$vidmm run --inject '' -- true", "--inject"},
        {"$vidmm run --inject a@1 --inject fault@1 -- true", "a@1"},
        {"$vidmm run --via magic -- true", "magic"},
        {"$vidmm run --via auto -- true", "auto"},
        {"$vidmm run --report '' -- true", "--report"},
        {"$vidmm run --report - --report-format xml -- true", "xml"},
        {"$vidmm run --report-format json -- true", "--report FILE"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof uses / sizeof uses[0]; i++) is_refused(uses[i][0], uses[i][1]);
}

static void help_version_profiles_go_to_stdout(void **state)
{
    (void)state;
    assert_int_equal(command_run("$vidmm --help >/dev/full")->status, 125);
    struct outcome *o = command_run("$vidmm --help && $vidmm run --help");
    assert_int_equal(o->status, 0);
    command_has(o->out, "--vram-reported");
    o = command_run("$vidmm --version");
    assert_int_equal(o->status, 0);
    command_has(o->out, "vidmm 0.");
    o = command_run("$vidmm profiles");
    assert_int_equal(o->status, 0);
    command_has(o->out, "dg2 ");
    command_has(o->out, "ref ");
    assert_string_equal(o->err, "");
}

/* Scripts around a wrapped program decide by its status; a wrapper that changes it breaks them. */
static void exit_status_is_the_programs(void **state)
{
    (void)state;
    assert_int_equal(command_run("$vidmm run -- $probe exit 0")->status, 0);
    assert_int_equal(command_run("$vidmm run -- $probe exit 7")->status, 7);
    assert_int_equal(command_run("$vidmm run -- $probe exit 255")->status, 255);
    assert_int_equal(command_run("$vidmm run -- $probe raise 9")->status, 128 + 9);
    assert_int_equal(command_run("$vidmm run -- $probe raise 15")->status, 128 + 15);
    assert_int_equal(command_run("$vidmm run $probe exit 3")->status, 3);
}

static void program_that_cannot_run(void **state)
{
    static const struct { const char *line; int status; } uses[] = {
        {"$vidmm run -- /no/such/program", 127}, {"$vidmm run -- no-such-program", 127},
        {"$vidmm run -- /usr", 126},             {"$vidmm run -- /etc/passwd", 126},
        {"PATH= $vidmm run -- sh", 127},
    };
    (void)state;
    for (size_t i = 0; i < sizeof uses / sizeof uses[0]; i++) {
        struct outcome *o = command_run(uses[i].line);
        if (o->status != uses[i].status) fail_msg("%s: status %d\n%s", uses[i].line, o->status, o->err);
        one_line(o->err);
    }
}

static void words_reach_the_program_untouched(void **state)
{
    (void)state;
    struct outcome *o = command_run("$vidmm run --vram 64M -- $probe words --vram 1 '' 'a b' -- -v");
    assert_string_equal(o->out, "[--vram][1][][a b][--][-v]");
    o = command_run("$vidmm run -- $probe words < /dev/null; echo in | $vidmm run cat");
    assert_string_equal(o->out, "in\n");
}

static void settings_reach_the_library(void **state)
{
    (void)state;
    struct outcome *o = command_run("VIDMM_PAGING_DELAY_MS=9 VIDMM_PROFILE=x $vidmm run -- env | sort");
    command_has(o->out, "VIDMM_PROFILE=dg2\n");
    command_has(o->out, "VIDMM_PAGING_DELAY_MS=0\n");
    command_has(o->out, "VIDMM_VRAM=1073741824\n");
    command_has(o->out, "VIDMM_VRAM_REPORTED=4294967296\n");
    o = command_run("$vidmm run --profile ref --vram 64MiB --vram-reported 2g --paging-delay 20 -- env");
    command_has(o->out, "VIDMM_PROFILE=ref\n");
    command_has(o->out, "VIDMM_VRAM=67108864\n");
    command_has(o->out, "VIDMM_VRAM_REPORTED=2147483648\n");
    command_has(o->out, "VIDMM_PAGING_DELAY_MS=20\n");
    command_has(o->out, "VIDMM_TDR_DELAY_MS=0\n");
    command_has(o->out, "VIDMM_INJECT=\n");
    command_has(o->out, "VIDMM_TDR_LEVEL=recover\n");
    command_has(command_run("$vidmm run --gpus 3 -- env")->out, "VIDMM_PROFILE=lda3\n");
    o = command_run("$vidmm run --tdr-limit 3 --tdr-level fatal -- env");
    command_has(o->out, "VIDMM_TDR_LIMIT=3\n");
    command_has(o->out, "VIDMM_TDR_LEVEL=fatal\n");
    o = command_run("VIDMM_INJECT=x $vidmm run --inject fault@3,oom@2 --inject delay=5 -- env");
    command_has(o->out, "VIDMM_INJECT=fault@3,oom@2,delay=5\n");
    command_has(command_run("$vidmm run --tdr-delay 700 -- env")->out, "VIDMM_TDR_DELAY_MS=700\n");
}

/* The caller's own preloads (a sanitizer, fakeroot) must not be lost. */
static void callers_lists_are_kept(void **state)
{
    (void)state;
    /* the option is for a vidmm that was itself built with AddressSanitizer */
    struct outcome *o = command_run("export ASAN_OPTIONS=verify_asan_link_order=0;"
                                    "LD_PRELOAD=libm.so.6 $vidmm run --via preload -- env");
    command_has(o->out, "libvidmm-preload.so:libm.so.6\n");
}

static void says_when_the_adapter_was_not_opened(void **state)
{
    (void)state;
    command_has(command_run("$vidmm run -- true")->err, "never opened our adapter");
    command_has_not(command_run("$vidmm run -- $probe open")->err, "never opened");
}

static void report_in_words(void **state)
{
    (void)state;
    struct outcome *o = command_run("$vidmm run --vram 64M --report - -- $probe open");
    assert_int_equal(o->status, 0);
    command_has(o->out, "12345 made");
    command_has(o->out, "video memory (1)");
    command_has(o->out, "48.0 MiB");
    command_has(o->out, "page-outs            7      7.0 MiB");
    command_has(o->out, "2.50");
    command_has(o->out, "2 waited; mean 1.50 ms");
    o = command_run("$vidmm run --report - -- true");
    command_has(o->out, "nothing to report");
}

static void report_as_json(void **state)
{
    (void)state;
    struct outcome *o = command_run("$vidmm run --report - --report-format json -- $probe open | tail -n +3 |"
                                    "python3 -m json.tool");
    assert_int_equal(o->status, 0);
    command_has(o->out, "\"allocs_created\": 12345");
    command_has(o->out, "\"page_out_bytes\": 7340032");
    command_has(o->out, "\"runs_per_update\": 2.5");
    command_has(o->out, "\"exit_status\": 0");
    o = command_run("d=$(mktemp -d) && $vidmm run --report $d/r.json -- $probe open >/dev/null;"
                    "python3 -m json.tool $d/r.json; rm -r $d");
    assert_int_equal(o->status, 0);
    command_has(o->out, "\"opened\": true");
}

/* Figures of two adapters mixed in one report would be of neither. */
static void report_counts_other_adapters(void **state)
{
    (void)state;
    struct outcome *o = command_run("$vidmm run --report - -- sh -c '$probe open; $probe open; $probe open'");
    assert_int_equal(o->status, 0);
    command_has(o->out, "2 more processes of this run used an adapter of their own");
    command_has(o->out, "12345 made");
    o = command_run("$vidmm run --report - --report-format json -- sh -c '$probe open; $probe open'");
    command_has(o->out, "\"other_adapters\": 1");
    command_has_not(command_run("$vidmm run --report - -- $probe open")->out, "more process");
}

/* The figures matter most when the program came to a bad end. */
static void report_survives_a_killed_program(void **state)
{
    (void)state;
    struct outcome *o = command_run("$vidmm run --report - -- $probe open-then-die");
    assert_int_equal(o->status, 128 + 9);
    command_has(o->out, "killed by signal 9");
    command_has(o->out, "12345 made");
}

static void report_file_is_tried_before_the_start(void **state)
{
    (void)state;
    struct outcome *o = command_run("$vidmm run --report /no/such/dir/r.txt -- echo started");
    assert_int_equal(o->status, 125);
    assert_string_equal(o->out, "");
    one_line(o->err);
    command_has(o->err, "/no/such/dir/r.txt");
}

static void signals_sent_to_us_reach_the_program(void **state)
{
    (void)state;
    struct outcome *o = command_run("mkfifo_dir=$(mktemp -d); mkfifo $mkfifo_dir/f;"
                                    "$vidmm run -- $probe wait > $mkfifo_dir/f & pid=$!;"
                                    "read line < $mkfifo_dir/f; kill -TERM $pid; wait $pid; s=$?;"
                                    "rm -r $mkfifo_dir; echo $line; exit $s");
    assert_int_equal(o->status, 42);
    assert_string_equal(o->out, "ready\n");
}

static void verbose_shows_the_choice(void **state)
{
    (void)state;
    struct outcome *o = command_run("$vidmm run -v -- $probe exit 0");
    command_has(o->err, "libdxcore.so");
    command_has(o->err, "audit");
    o = command_run("$vidmm run -v --via preload -- $probe exit 0");
    command_has(o->err, "preload (as asked)");
}

/* The real library, asked by way of the interface that drivers use. */
static void adapters_as_programs_see_them(void **state)
{
    (void)state;
    if (!TEST_REAL_LIBRARY) vt_skip("libdxcore.so is not built here, or with a runtime the command lacks");
    struct outcome *o = command_run_plain("$vidmm adapters");
    assert_int_equal(o->status, 0);
    command_has(o->out, "dg2   ");
    command_has(o->out, "Intel");
    command_has(o->out, "vendor 8086  device 5690");
    command_has(o->out, "\nref   ");
    command_has(o->out, "\nref-iommu ");
    command_has(o->out, "simulated link of 4 GPUs");
    assert_string_equal(o->err, "");
    o = command_run_plain("$vidmm adapters --profile ref");
    assert_int_equal(o->status, 0);
    command_has_not(o->out, "dg2   ");
}

/* A program whose commands name malloc's addresses, and which is told that there are no others. */
static void programs_run_on_shared_addresses(void **state)
{
    (void)state;
    if (!TEST_REAL_LIBRARY) vt_skip("libdxcore.so is not built here, or with a runtime the command lacks");
    struct outcome *o = command_run_plain("timeout 60 $vidmm run --profile ref-iommu -- '" TEST_POINTERS "'");
    assert_int_equal(o->status, 0);
    command_has(o->out, "a list of malloc's, walked by the GPU");
    o = command_run_plain("timeout 60 $vidmm run --profile ref-both -- '" TEST_POINTERS "'");
    assert_int_equal(o->status, 77); /* its contexts did not ask for them */
}

/* Without any library of ours the message must say where it was looked for. */
/* Pages that a TLB of 512 cannot hold: each miss asks for what the ways of addressing differ in. */
static void compare_counts_references_exactly(void **state)
{
    (void)state;
    if (!TEST_COMPARE) vt_skip("not in builds with the thread sanitizer");
    is_refused("$vidmm compare now", "now");
    is_refused("$vidmm compare --size", "--size");
    is_refused("$vidmm compare --size 1M,", "1M,");
    is_refused("$vidmm compare --size 1000", "1000");
    is_refused("$vidmm compare --size 8G", "8G");
    is_refused("$vidmm compare --size -1M", "-1M");
    is_refused("$vidmm compare --size 1M,1M,1M,1M,1M,1M,1M,1M,1M", "more than 8");
    struct outcome *o = command_run(
        "d=$(mktemp -d) && $vidmm compare --size 16M --json $d/c.json --tsv /dev/null && python3 -c '\n"
        "import json, sys\n"
        "d = {w[\"way\"]: w for w in json.load(open(sys.argv[1]))}\n"
        "for k, n in ((\"gpummu-4k\", 4), (\"gpummu-64k\", 5), (\"iommu-4\", 6), (\"iommu-5\", 7)):\n"
        "    a = d[k][\"access\"][0][\"random\"]\n"
        "    assert abs(a[\"references\"] - n * a[\"walks\"]) < 1e-9, k\n"
        "    assert (a[\"walks\"] > 0.8) == (k != \"gpummu-64k\"), k\n"
        "assert d[\"physical\"][\"access\"][0][\"random\"][\"references\"] == 0\n"
        "assert d[\"iommu-4\"][\"allocation\"][\"entries\"] == 0\n"
        "assert d[\"gpummu-4k\"][\"allocation\"][\"entries\"] >= 256\n"
        "assert d[\"iommu-5\"][\"touch\"][\"cold_ns\"] > 0\n' $d/c.json; s=$?; rm -r $d; exit $s");
    if (o->status != 0) fail_msg("status %d\n%s%s", o->status, o->out, o->err);
    command_has(o->out, "IoMmu, 5 levels");
    o = command_run("$vidmm compare --size 64K --json /nonexistent/c.json");
    assert_int_equal(o->status, 125);
    command_has(o->err, "/nonexistent/c.json");
}

static void missing_library_is_named(void **state)
{
    (void)state;
    struct outcome *o = command_run_plain("d=$(mktemp -d); cp $vidmm $d/vidmm; $d/vidmm run -- true; s=$?;"
                                          "rm -r $d; exit $s");
    if (o->status == 0) vt_skip("an installed libdxcore.so was found");
    assert_int_equal(o->status, 125);
    one_line(o->err);
    command_has(o->err, "libdxcore.so is neither near /");
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(wrong_use_is_one_line_and_status_2, "", NULL),
        VT_TEST(help_version_profiles_go_to_stdout, "", NULL),
        VT_TEST(exit_status_is_the_programs, "", NULL),
        VT_TEST(program_that_cannot_run, "", NULL),
        VT_TEST(words_reach_the_program_untouched, "", NULL),
        VT_TEST(settings_reach_the_library, "", NULL),
        VT_TEST(callers_lists_are_kept, "", NULL),
        VT_TEST(says_when_the_adapter_was_not_opened, "", NULL),
        VT_TEST(report_in_words, "", NULL),
        VT_TEST(report_as_json, "", NULL),
        VT_TEST(report_counts_other_adapters, "", NULL),
        VT_TEST(report_survives_a_killed_program, "", NULL),
        VT_TEST(report_file_is_tried_before_the_start, "", NULL),
        VT_TEST(signals_sent_to_us_reach_the_program, "", NULL),
        VT_TEST(verbose_shows_the_choice, "", NULL),
        VT_TEST(adapters_as_programs_see_them, "", NULL),
        VT_TEST(programs_run_on_shared_addresses, "IOM-02 IOM-11", NULL),
        VT_TEST(compare_counts_references_exactly, "", NULL),
        VT_TEST(missing_library_is_named, "", NULL),
    };
    return vt_main(argc, argv, "cli", cases, VT_COUNT(cases));
}
