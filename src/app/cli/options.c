/* SPDX-License-Identifier: MIT */
/* options.c — the command line of `vidmm run` and `vidmm adapters`, read into struct run_options.
 * Every mistake is one line that names the offending word, and exit status 2. */
#define _GNU_SOURCE
#include "cli.h"

#include <getopt.h>
#include <string.h>

#include "app/inject.h"

#define KIB 1024ull
#define VRAM_MIN (16 * KIB * KIB)             /* page tables and one buffer must find room */
#define VRAM_MAX (1024 * KIB * KIB * KIB)     /* 1 TiB */
#define VRAM_UNIT (64 * KIB)                  /* the largest page of any profile */
#define DELAY_MAX_MS 60000u

enum { OPT_PROFILE = 256, OPT_GPUS, OPT_VRAM, OPT_REPORTED, OPT_DELAY, OPT_TDR, OPT_TDR_LIMIT, OPT_TDR_LEVEL,
       OPT_INJECT, OPT_REPORT,       OPT_FORMAT, OPT_VIA };

static const struct option run_table[] = {
    {"profile", required_argument, NULL, OPT_PROFILE},
    {"gpus", required_argument, NULL, OPT_GPUS},
    {"vram", required_argument, NULL, OPT_VRAM},
    {"vram-reported", required_argument, NULL, OPT_REPORTED},
    {"paging-delay", required_argument, NULL, OPT_DELAY},
    {"tdr-delay", required_argument, NULL, OPT_TDR},
    {"tdr-limit", required_argument, NULL, OPT_TDR_LIMIT},
    {"tdr-level", required_argument, NULL, OPT_TDR_LEVEL},
    {"inject", required_argument, NULL, OPT_INJECT},
    {"report", required_argument, NULL, OPT_REPORT},
    {"report-format", required_argument, NULL, OPT_FORMAT},
    {"via", required_argument, NULL, OPT_VIA},
    {"verbose", no_argument, NULL, 'v'},
    {NULL, 0, NULL, 0},
};

static const struct option adapters_table[] = {
    {"profile", required_argument, NULL, OPT_PROFILE},
    {NULL, 0, NULL, 0},
};

void options_defaults(struct run_options *o)
{
    *o = (struct run_options){
        .profile = "dg2",
        .tdr_level = "recover",
        .vram_bytes = 1024 * KIB * KIB,
        .vram_reported_bytes = 4096 * KIB * KIB,
    };
}

/* Decimal digits only: strtoull would also take signs, blanks and hexadecimal.  Gives the end, or NULL. */
static const char *read_digits(const char *text, uint64_t *value)
{
    const char *p = text;
    *value = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (*value > (UINT64_MAX - 9) / 10) return NULL;
        *value = *value * 10 + (uint64_t)(*p - '0');
    }
    return p == text ? NULL : p;
}

/* Gives the number of binary digits a unit stands for, or -1. */
static int unit_shift(const char *unit)
{
    static const char letters[] = "kmgt";
    if (unit[0] == '\0' || strcasecmp(unit, "b") == 0) return 0;
    const char *at = strchr(letters, unit[0] | 0x20);
    if (at == NULL) return -1;
    if (unit[1] != '\0' && strcasecmp(unit + 1, "b") != 0 && strcasecmp(unit + 1, "ib") != 0) return -1;
    return 10 * (int)(at - letters + 1);
}

static int read_size(const char *option, const char *text, uint64_t *bytes)
{
    uint64_t number = 0;
    const char *unit = read_digits(text, &number);
    int shift = unit != NULL ? unit_shift(unit) : -1;
    if (shift < 0)
        return complain(EXIT_WRONG_USE, "%s %s: not a size; write digits and K, M, G or T, as in 64M", option,
                        text);
    if (number > VRAM_MAX >> shift || number << shift < VRAM_MIN)
        return complain(EXIT_WRONG_USE, "%s %s: out of range; 16M to 1T can be simulated", option, text);
    *bytes = number << shift;
    if (*bytes % VRAM_UNIT != 0)
        return complain(EXIT_WRONG_USE, "%s %s: not a multiple of 64K, the size of a large page", option,
                        text);
    return 0;
}

static int read_delay(const char *option, const char *text, unsigned *ms)
{
    uint64_t number = 0;
    const char *rest = read_digits(text, &number);
    if (rest == NULL || *rest != '\0' || number > DELAY_MAX_MS)
        return complain(EXIT_WRONG_USE, "%s %s: not a number of milliseconds from 0 to 60000", option, text);
    *ms = (unsigned)number;
    return 0;
}

static int read_limit(const char *text, unsigned *limit)
{
    uint64_t number = 0;
    const char *rest = read_digits(text, &number);
    if (rest == NULL || *rest != '\0' || number == 0 || number > 32)
        return complain(EXIT_WRONG_USE, "--tdr-limit %s: not a number of resets from 1 to 32", text);
    *limit = (unsigned)number;
    return 0;
}

static int read_level(const char *text, const char **level)
{
    static const char *const names[] = {"recover", "off", "fatal"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], text) != 0) continue;
        *level = names[i];
        return 0;
    }
    return complain(EXIT_WRONG_USE, "--tdr-level %s: no such level; there are recover, off and fatal", text);
}

/* Lists of several options add up. */
static int read_inject(const char *text, char all[CLI_TEXT_MAX])
{
    struct inject checked;
    size_t used = strlen(all);
    const char *wrong = text[0] == '\0' ? text : inject_read(&checked, text);
    if (wrong != NULL)
        return complain(EXIT_WRONG_USE,
                        "--inject %s: not understood from '%s' on; there are fault@N, hang@N, reset-fails@N, "
                        "remove@N, oom@N (N from 1) and delay=MS, separated by commas", text, wrong);
    size_t room = CLI_TEXT_MAX - used;
    if ((size_t)snprintf(all + used, room, "%s%s", used != 0 ? "," : "", text) >= room ||
        inject_read(&checked, all) != NULL)
        return complain(EXIT_WRONG_USE, "--inject %s: too many; %u are possible", text, INJECT_MOST);
    return 0;
}

static int read_profile(const char *text, const char **profile)
{
    for (const char *const *name = profile_names(); *name != NULL; name++) {
        if (strcmp(*name, text) != 0) continue;
        *profile = *name;
        return 0;
    }
    return complain(EXIT_WRONG_USE, "--profile %s: no such profile; 'vidmm profiles' lists them", text);
}

static int read_gpus(const char *text, const char **profile)
{
    static const char *const links[] = {"lda2", "lda3", "lda4"};
    if (text[0] < '2' || text[0] > '4' || text[1] != '\0')
        return complain(EXIT_WRONG_USE, "--gpus %s: not a number of GPUs from 2 to 4", text);
    *profile = links[text[0] - '2'];
    return 0;
}

static int read_via(const char *text, enum via *via)
{
    for (enum via v = VIA_AUDIT; v <= VIA_NAMESPACE; v++) {
        if (strcmp(via_name(v), text) != 0) continue;
        *via = v;
        return 0;
    }
    return complain(EXIT_WRONG_USE, "--via %s: no such way; there are audit, preload and namespace", text);
}

static int read_format(const char *text, enum report_format *format)
{
    if (strcmp(text, "text") == 0) *format = FORMAT_TEXT;
    else if (strcmp(text, "json") == 0) *format = FORMAT_JSON;
    else return complain(EXIT_WRONG_USE, "--report-format %s: no such format; there are text and json", text);
    return 0;
}

static int read_report(const char *text, const char **report)
{
    if (text[0] == '\0') return complain(EXIT_WRONG_USE, "--report: the file name is empty");
    *report = text;
    return 0;
}

static int take_option(struct run_options *o, int which)
{
    switch (which) {
    case OPT_PROFILE: return read_profile(optarg, &o->profile);
    case OPT_GPUS: return read_gpus(optarg, &o->profile);
    case OPT_VRAM: return read_size("--vram", optarg, &o->vram_bytes);
    case OPT_REPORTED: return read_size("--vram-reported", optarg, &o->vram_reported_bytes);
    case OPT_DELAY: return read_delay("--paging-delay", optarg, &o->paging_delay_ms);
    case OPT_TDR: return read_delay("--tdr-delay", optarg, &o->tdr_delay_ms);
    case OPT_TDR_LIMIT: return read_limit(optarg, &o->tdr_limit);
    case OPT_TDR_LEVEL: return read_level(optarg, &o->tdr_level);
    case OPT_INJECT: return read_inject(optarg, o->inject);
    case OPT_REPORT: return read_report(optarg, &o->report);
    case OPT_FORMAT: return read_format(optarg, &o->format);
    case OPT_VIA: return read_via(optarg, &o->via);
    case 'v': o->verbose = true; return 0;
    default: return EXIT_WRONG_USE;
    }
}

/* getopt knows four mistakes; optopt is the short letter, or the code of a long option, or 0. */
static int complain_option(const char *command, int kind, char **argv)
{
    const char *word = argv[optind - 1];
    if (kind == ':') return complain(EXIT_WRONG_USE, "%s: option %s needs a value", command, word);
    if (optopt >= OPT_PROFILE || (optopt == 'v' && strncmp(word, "--", 2) == 0))
        return complain(EXIT_WRONG_USE, "%s: option %s takes no value", command, word);
    if (optopt != 0) return complain(EXIT_WRONG_USE, "%s: no such option: -%c", command, optopt);
    return complain(EXIT_WRONG_USE, "%s: no such option: %s", command, word);
}

static int read_all(struct run_options *o, int argc, char **argv, const char *letters,
                    const struct option *table)
{
    opterr = 0;
    optind = 1;
    for (;;) {
        int which = getopt_long(argc, argv, letters, table, NULL);
        if (which == -1) return 0;
        int status =
            which == '?' || which == ':' ? complain_option(argv[0], which, argv) : take_option(o, which);
        if (status != 0) return status;
    }
}

int options_read(struct run_options *o, int argc, char **argv)
{
    options_defaults(o);
    /* '+': options end at the program's name, so the program's own options are never taken for ours. */
    int status = read_all(o, argc, argv, "+:v", run_table);
    if (status != 0) return status;
    if (o->format != FORMAT_BY_NAME && o->report == NULL)
        return complain(EXIT_WRONG_USE, "run: --report-format without --report FILE");
    if (optind >= argc) return complain(EXIT_WRONG_USE, "run: no program given; try 'vidmm run -- clinfo'");
    o->program = argv + optind;
    if (o->program[0][0] == '\0') return complain(EXIT_WRONG_USE, "run: the program's name is empty");
    return 0;
}

int options_read_adapters(struct run_options *o, int argc, char **argv)
{
    options_defaults(o);
    int status = read_all(o, argc, argv, ":", adapters_table);
    if (status != 0) return status;
    if (optind < argc) return complain(EXIT_WRONG_USE, "adapters: unexpected word: %s", argv[optind]);
    return 0;
}
