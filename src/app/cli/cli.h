/* SPDX-License-Identifier: MIT */
/* cli.h — what the files of the `vidmm` command share: the options of `run`, and one function per step.
 * main.c dispatches, options.c reads the command line, libraries.c and program.c look at files, space.c makes
 * the namespace, run.c starts and waits, report*.c write what the shared counters say. */
#ifndef VIDMM_APP_CLI_CLI_H
#define VIDMM_APP_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CLI_VERSION VIDMM_CLI_VERSION

/* Exit statuses of vidmm's own; everything else is the program's.  The last three are those of env and nohup.
 */
#define EXIT_WRONG_USE 2
#define EXIT_OWN_FAILURE 125
#define EXIT_CANNOT_RUN 126
#define EXIT_NOT_FOUND 127

#define CLI_PATH_MAX 4096
#define CLI_TEXT_MAX 512

enum via { VIA_AUTO, VIA_AUDIT, VIA_PRELOAD, VIA_NAMESPACE };
enum report_format { FORMAT_BY_NAME, FORMAT_TEXT, FORMAT_JSON };

struct run_options {
    const char *profile;             /* one of profile_names */
    uint64_t vram_bytes;             /* size of the simulated memory segment */
    uint64_t vram_reported_bytes;    /* what the driver is told */
    unsigned paging_delay_ms;
    unsigned tdr_delay_ms;           /* 0: the profile's own */
    unsigned tdr_limit;              /* 0: the usual one */
    const char *tdr_level;           /* "recover", "off" or "fatal" */
    char inject[CLI_TEXT_MAX];       /* what shall go wrong, see app/inject.h; "": nothing */
    const char *report;              /* NULL: none; "-": standard output */
    enum report_format format;
    enum via via;
    bool verbose;
    char **program;                  /* argv of the program, NULL-terminated */
};

/* The files of ours that a run needs; absolute paths, "" when not found. */
struct libraries {
    char dxcore[CLI_PATH_MAX];
    char audit[CLI_PATH_MAX];
    char preload[CLI_PATH_MAX];
    char sanitizer[64];              /* runtime that libdxcore.so was built with, "" for none */
    bool sanitized;                  /* also when the runtime is expected in the program, as clang does */
};

/* What the program file is, as far as redirection cares. */
struct program {
    char path[CLI_PATH_MAX];         /* as execve gets it */
    const char *why_namespace;       /* why only a namespace can redirect it; NULL when the linker can */
};

/* How the program ended and what was chosen for it: the heading of a report. */
struct run_outcome {
    int wait_status;
    double seconds;
    enum via via;
    uint64_t other_adapters;         /* processes whose adapters are not in the figures */
};

struct vidmm_counters;

const char *via_name(enum via via);
const char *const *profile_names(void);      /* NULL-terminated */

/* Says "vidmm: ..." in one line on stderr and gives `status`, so that callers can return it. */
int complain(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Gives 0, or the exit status after a complaint.  argv[0] is the word "run" (or "adapters"). */
int options_read(struct run_options *o, int argc, char **argv);
void options_defaults(struct run_options *o);
int options_read_adapters(struct run_options *o, int argc, char **argv);

int libraries_find(struct libraries *l);
int program_find(struct program *p, const char *name);

/* Puts the calling process into a mount namespace where libdxcore.so lies at the driver's path and /dev/dri
 * is empty.  Gives 0, or -1 with one line in `why`.  The file system of everybody else stays as it is. */
int space_enter(const char *dxcore, char *why, size_t why_size);

int run_program(const struct run_options *o);
int adapters_list(const struct run_options *o, bool one_profile);

/* The environment that libdxcore.so reads; counters_fd < 0: none. */
void run_environment(const struct run_options *o, const struct libraries *l, int counters_fd);

void report_text(FILE *out, const struct run_options *o, const struct run_outcome *r,
                 const struct vidmm_counters *c);
int report_json(FILE *out, const struct run_options *o, const struct run_outcome *r,
                const struct vidmm_counters *c);
/* Upper bound in ns under which `percent` of the paging fences were signalled; 0 when there were none. */
uint64_t report_fence_percentile_ns(const struct vidmm_counters *c, unsigned percent);

#endif
