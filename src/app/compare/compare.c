/* SPDX-License-Identifier: MIT */
/* compare.c — the command: sizes to compare, a table in words, JSON, and figures to plot. */
#include "app/compare/compare.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZES_MAX 8u
#define ACCESSES (1ull << 20)

struct options { uint64_t size[SIZES_MAX]; uint32_t sizes; const char *json, *tsv; };
struct figures { struct reach reach[SIZES_MAX][2]; struct costs costs; }; /* [1]: sequential */

const char *way_name(enum way w)
{
    static const char *const names[] = {"GpuMmu, 4 KB pages", "GpuMmu, 64 KB reach", "IoMmu, 4 levels",
                                        "IoMmu, 5 levels", "physical, patched"};
    return names[w];
}

const char *way_key(enum way w)
{
    static const char *const keys[] = {"gpummu-4k", "gpummu-64k", "iommu-4", "iommu-5", "physical"};
    return keys[w];
}

/* ---- words of the command ---- */

static int wrong(const char *what, const char *word)
{
    fprintf(stderr, "vidmm: compare: %s: %s\n", what, word);
    return 2;
}

static bool read_size(const char **text, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(*text, &end, 10);
    if (end == *text || errno != 0 || **text == '-') return false;
    uint32_t shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
    if (shift != 0) end++;
    *out = n << shift;
    bool sane = n != 0 && n <= 1ull << 20 && *out >= 65536 && *out <= 4ull << 30 && *out % 65536 == 0;
    bool more = *end == ',' && end[1] != 0;
    *text = more ? end + 1 : end;
    return sane && (more || *end == 0);
}

static int read_sizes(struct options *o, const char *text)
{
    const char *all = text;
    for (o->sizes = 0; *text != 0; o->sizes++) {
        if (o->sizes == SIZES_MAX) return wrong("more than 8 sizes", all);
        if (!read_size(&text, &o->size[o->sizes]))
            return wrong("sizes are multiples of 64K from 64K to 4G, as in 1M,64M,1G", all);
    }
    return o->sizes > 0 ? 0 : wrong("no size", "--size");
}

static int read_options(struct options *o, int argc, char **argv)
{
    *o = (struct options){.size = {1ull << 20, 64ull << 20, 1ull << 30}, .sizes = 3};
    for (int i = 1; i < argc; i += 2) {
        bool json = strcmp(argv[i], "--json") == 0, tsv = strcmp(argv[i], "--tsv") == 0;
        bool size = strcmp(argv[i], "--size") == 0;
        if (!json && !tsv && !size) return wrong("unexpected word", argv[i]);
        if (i + 1 == argc) return wrong("a value is missing behind", argv[i]);
        if (json) o->json = argv[i + 1];
        if (tsv) o->tsv = argv[i + 1];
        int status = size ? read_sizes(o, argv[i + 1]) : 0;
        if (status != 0) return status;
    }
    return 0;
}

/* ---- figures ---- */

static bool measure_size(enum way w, uint64_t bytes, struct reach out[2], const char **why)
{
    struct rig *r = rig_open(w, bytes, why);
    struct vidmm_open *op;
    struct root root;
    if (r == NULL) return false;
    uint64_t va = rig_memory(r, bytes, &op);
    void *host = va != 0 ? rig_host(r, op) : NULL;
    bool ok = host != NULL && rig_root(r, &root);
    *why = ok ? "the tables do not lead to the memory" : "the memory was refused";
    if (ok) memset(host, 1, bytes); /* backed, and the same for everybody */
    for (uint64_t at = 0; ok && way_shares(w) && at < bytes; at += VIDMM_PAGE_SIZE)
        ok = rig_touch(r, va + at);
    for (int s = 0; ok && s < 2; s++) {
        struct trace t = {bytes, ACCESSES, s == 1};
        ok = reach_measure(w, r, &root, va, host, &t, &out[s]);
    }
    rig_close(r);
    return ok;
}

static bool measure(const struct options *o, struct figures all[WAYS])
{
    const char *why = NULL;
    for (uint32_t w = 0; w < WAYS; w++) {
        bool ok = costs_measure((enum way)w, &all[w].costs, &why);
        for (uint32_t i = 0; ok && i < o->sizes; i++)
            ok = measure_size((enum way)w, o->size[i], all[w].reach[i], &why);
        if (ok) continue;
        fprintf(stderr, "vidmm: compare: %s: %s\n", way_name((enum way)w), why);
        return false;
    }
    return true;
}

/* ---- what is told ---- */

static void print_reach(const struct options *o, const struct figures *all)
{
    printf("Per access of 8 bytes, TLB of 512 entries; references and walks are exact\n\n");
    printf("%-20s %8s | %34s | %34s\n", "", "", "at random", "every 64 bytes");
    printf("%-20s %8s | %10s %11s %11s | %10s %11s %11s\n", "", "MiB", "references", "walks", "ns",
           "references", "walks", "ns");
    for (uint32_t i = 0; i < o->sizes; i++)
        for (uint32_t w = 0; w < WAYS; w++) {
            const struct reach *r = all[w].reach[i];
            printf("%-20s %8.2f | %10.4f %11.5f %11.2f | %10.4f %11.5f %11.2f\n", way_name((enum way)w),
                   (double)o->size[i] / (1 << 20), r[0].references, r[0].walks, r[0].ns, r[1].references,
                   r[1].walks, r[1].ns);
        }
}

static void print_costs(const struct figures *all)
{
    printf("\nThe first touch of a page, and one allocation of 1 MiB from its creation to its end\n\n");
    printf("%-20s | %9s %9s | %9s %8s %8s %8s %8s %13s\n", "", "cold ns", "warm ns", "ns", "updates",
           "entries", "flushes", "buffers", "invalidations");
    for (uint32_t w = 0; w < WAYS; w++) {
        const struct costs *c = &all[w].costs;
        printf("%-20s | ", way_name((enum way)w));
        if (c->cold_ns > 0) printf("%9.0f %9.0f", c->cold_ns, c->warm_ns);
        else printf("%9s %9s", "-", "-");
        printf(" | %9.0f %8.1f %8.1f %8.1f %8.1f %13.1f\n", c->manage_ns, c->updates, c->entries, c->flushes,
               c->buffers, c->invalidations);
    }
    printf("\nA dash: nothing comes by faults; memory is resident, or the device is lost. Physical memory\n"
           "needs no table: the aperture shows it; each submission is patched, see make demo-engines.\n");
}

static json_t *reach_json(const struct reach *r)
{
    return json_pack("{s:f,s:f,s:f}", "references", r->references, "walks", r->walks, "ns", r->ns);
}

static int write_json(const struct options *o, const struct figures *all)
{
    json_t *top = json_array();
    for (uint32_t w = 0; w < WAYS; w++) {
        const struct costs *c = &all[w].costs;
        json_t *sizes = json_array();
        for (uint32_t i = 0; i < o->sizes; i++)
            (void)json_array_append_new(sizes, json_pack(
                "{s:I,s:o,s:o}", "bytes", (json_int_t)o->size[i], "random", reach_json(&all[w].reach[i][0]),
                "sequential", reach_json(&all[w].reach[i][1])));
        (void)json_array_append_new(top, json_pack(
            "{s:s,s:o,s:{s:f,s:f},s:{s:f,s:f,s:f,s:f,s:f,s:f}}", "way", way_key((enum way)w), "access", sizes,
            "touch", "cold_ns", c->cold_ns, "warm_ns", c->warm_ns, "allocation", "ns", c->manage_ns,
            "updates", c->updates, "entries", c->entries, "flushes", c->flushes, "buffers", c->buffers,
            "invalidations", c->invalidations));
    }
    int failed = json_dump_file(top, o->json, JSON_INDENT(2));
    json_decref(top);
    if (failed == 0) return 0;
    fprintf(stderr, "vidmm: compare: cannot write %s\n", o->json);
    return 125;
}

/* One line a size: MiB, then for each way references and ns at random. */
static int write_tsv(const struct options *o, const struct figures *all)
{
    FILE *f = fopen(o->tsv, "w");
    for (uint32_t i = 0; f != NULL && i < o->sizes; i++) {
        fprintf(f, "%g", (double)o->size[i] / (1 << 20));
        for (uint32_t w = 0; w < WAYS; w++)
            fprintf(f, "\t%.5f\t%.3f", all[w].reach[i][0].references, all[w].reach[i][0].ns);
        fputc('\n', f);
    }
    if (f != NULL && fclose(f) == 0) return 0;
    fprintf(stderr, "vidmm: compare: cannot write %s: %s\n", o->tsv, strerror(errno));
    return 125;
}

int compare_command(int argc, char **argv)
{
    static struct figures all[WAYS];
    struct options o;
    int status = read_options(&o, argc, argv);
    if (status != 0) return status;
    if (!measure(&o, all)) return 125;
    print_reach(&o, all);
    print_costs(all);
    if (o.json != NULL) status = write_json(&o, all);
    if (status == 0 && o.tsv != NULL) status = write_tsv(&o, all);
    return status;
}
