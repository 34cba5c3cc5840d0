/* SPDX-License-Identifier: MIT */
/* main.c — the `vidmm` command: picks the subcommand; help, version and the list of profiles.
 * Wrong use is one line on stderr and exit status 2; nothing is started in that case. */
#include "cli.h"

#include "app/compare/compare.h"

#include <stdarg.h>
#include <string.h>

static const char help_text[] =
    "vidmm runs programs on a virtual GPU whose video memory is managed by the vidmm library.\n"
    "No GPU, no Windows and no root are needed.\n"
    "\n"
    "  vidmm run [OPTIONS] -- PROGRAM ARGS   run a program on the virtual GPU\n"
    "  vidmm adapters                        show the virtual GPUs as programs see them\n"
    "  vidmm profiles                        explain the kinds of virtual GPU\n"
    "  vidmm compare [COMPARE OPTIONS]       the same accesses through GpuMmu, IoMmu and physical addresses\n"
    "  vidmm --help | --version\n"
    "\n"
    "Options of run (SIZE is digits with K, M, G or T, as in 64M):\n"
    "  --profile NAME        kind of virtual GPU, see 'vidmm profiles' (default dg2)\n"
    "  --gpus N              a link of N GPUs, 2 to 4: the same as --profile ldaN\n"
    "  --vram SIZE           video memory that is simulated (default 1G); make it small to see paging\n"
    "  --vram-reported SIZE  video memory the driver is told about (default 4G)\n"
    "  --paging-delay MS     make every paging operation this many milliseconds slower (default 0)\n"
    "  --tdr-delay MS        a packet that stands still for this long is hung (default: dg2 300, ref 2000)\n"
    "  --tdr-limit N         the adapter may be reset N times a minute, then it is gone (default 5)\n"
    "  --tdr-level LEVEL     recover (default), off (never), fatal (the first timeout is the end)\n"
    "  --inject WHAT         what shall go wrong, separated by commas or in several options:\n"
    "                        fault@N, hang@N, reset-fails@N, remove@N: at the program's N-th submission a\n"
    "                        page fault, a hang, a hang whose engine cannot be reset, removal of the GPU;\n"
    "                        oom@N: no memory for its N-th allocation; delay=MS: as --paging-delay\n"
    "  --report FILE|-       afterwards write what the memory manager did; - is standard output\n"
    "  --report-format F     text or json (default: json when FILE ends in .json, else text)\n"
    "  --via WAY             how the program finds us: audit, preload or namespace (default: what works)\n"
    "  -v, --verbose         show what was chosen\n"
    "\n"
    "Options of compare:\n"
    "  --size SIZE,SIZE...   bytes that are accessed (default 1M,64M,1G)\n"
    "  --json FILE           all figures; --tsv FILE: those of random accesses, to plot\n"
    "\n"
    "The exit status is the program's, 128 + N when signal N killed it; 2 for wrong use, 125 when vidmm\n"
    "itself failed, 126 when the program cannot be run, 127 when there is no such program.\n"
    "\n"
    "Try:  vidmm run -- clinfo -l\n"
    "      vidmm run --vram 64M --report - -- PROGRAM\n";

static const char profiles_text[] =
    "dg2        A discrete GPU as Debian's unmodified Intel compute driver (OpenCL and Level Zero) expects\n"
    "           one. Copy engines and the copy commands work; there are no shader units, so kernels leave\n"
    "           memory as it was. Use it for programs: vidmm run -- clinfo -l\n"
    "ref        vidmm's own small GPU with its own commands: copy, fill, checksum, atomic add, fences.\n"
    "           No vendor's driver knows it; our tests and the demo's own client drive it directly.\n"
    "ref-iommu  The same without GPU addresses: commands name the program's own pointers (IoMmu).\n"
    "ref-both   The same with both: each context says which of the two it uses.\n"
    "lda2, lda3, lda4\n"
    "           A link of so many of ref's GPUs, each with video memory of its own and with two page-table\n"
    "           formats by turns: one adapter, one address space (PhysicalAdapterIndex). Or: --gpus N.\n";

const char *via_name(enum via via)
{
    static const char *const names[] = {"auto", "audit", "preload", "namespace"};
    return names[via];
}

const char *const *profile_names(void)
{
    static const char *const names[] = {"dg2", "ref", "ref-iommu", "ref-both", "lda2", "lda3", "lda4",
                                        NULL};
    return names;
}

int complain(int status, const char *format, ...)
{
    char line[4 * CLI_TEXT_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fprintf(stderr, "vidmm: %s\n", line);
    return status;
}

static int print(const char *text)
{
    fputs(text, stdout);
    return fflush(stdout) == 0 ? 0 : complain(EXIT_OWN_FAILURE, "cannot write to standard output");
}

/* For words that take nothing after them. */
static int print_alone(const char *text, int argc, char **argv)
{
    if (argc > 1) return complain(EXIT_WRONG_USE, "%s: unexpected word: %s", argv[0], argv[1]);
    return print(text);
}

static bool asks_help(int argc, char **argv)
{
    return argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
}

static int do_run(int argc, char **argv)
{
    struct run_options o;
    int status = options_read(&o, argc, argv);
    return status != 0 ? status : run_program(&o);
}

static int do_compare(int argc, char **argv)
{
#if CLI_COMPARE
    return compare_command(argc, argv);
#else
    (void)argc, (void)argv;
    return complain(EXIT_OWN_FAILURE, "compare is left out of builds with the thread sanitizer");
#endif
}

static int do_adapters(int argc, char **argv)
{
    struct run_options o;
    int status = options_read_adapters(&o, argc, argv);
    return status != 0 ? status : adapters_list(&o, argc > 1);
}

int main(int argc, char **argv)
{
    if (argc < 2) return complain(EXIT_WRONG_USE, "no command given; 'vidmm --help' shows them");
    const char *word = argv[1];
    argc--;
    argv++;
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) return print_alone(help_text, argc, argv);
    if (strcmp(word, "--version") == 0) return print_alone("vidmm " CLI_VERSION "\n", argc, argv);
    if (asks_help(argc, argv)) return print(help_text);
    if (strcmp(word, "run") == 0) return do_run(argc, argv);
    if (strcmp(word, "adapters") == 0) return do_adapters(argc, argv);
    if (strcmp(word, "profiles") == 0) return print_alone(profiles_text, argc, argv);
    if (strcmp(word, "compare") == 0) return do_compare(argc, argv);
    return complain(EXIT_WRONG_USE, "no such command: %s; there are run, adapters, profiles and compare",
                    word);
}
