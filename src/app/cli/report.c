/* SPDX-License-Identifier: MIT */
/* report.c — what the memory manager did, in words and units for a reader who is new to it.
 * Reads the counters after the program has ended; writes to one stream and fails only with it. */
#define _GNU_SOURCE
#include "cli.h"

#include <inttypes.h>
#include <string.h>
#include <sys/wait.h>

#include <vidmm/counters.h>

#define WIDTH_SIZE 24

/* "64.0 MiB": the largest unit in which the number is at least one. */
static const char *size_text(char *out, uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    if (bytes < 1024) {
        snprintf(out, WIDTH_SIZE, "%" PRIu64 " bytes", bytes);
        return out;
    }
    double value = (double)bytes / 1024;
    size_t unit = 0;
    for (; value >= 1024 && unit < 3; unit++) value /= 1024;
    snprintf(out, WIDTH_SIZE, "%.1f %s", value, units[unit]);
    return out;
}

static const char *time_text(char *out, uint64_t ns)
{
    if (ns < 10000) snprintf(out, WIDTH_SIZE, "%.1f us", (double)ns / 1e3);
    else if (ns < 10000000) snprintf(out, WIDTH_SIZE, "%.2f ms", (double)ns / 1e6);
    else if (ns < 10000000000) snprintf(out, WIDTH_SIZE, "%.0f ms", (double)ns / 1e6);
    else snprintf(out, WIDTH_SIZE, "%.1f s", (double)ns / 1e9);
    return out;
}

uint64_t report_fence_percentile_ns(const struct vidmm_counters *c, unsigned percent)
{
    uint64_t total = 0, seen = 0;
    for (unsigned i = 0; i < VIDMM_LATENCY_BUCKETS; i++) total += c->fence_ns_bucket[i];
    if (total == 0) return 0;
    uint64_t wanted = (total * percent + 99) / 100;
    for (unsigned i = 0; i < VIDMM_LATENCY_BUCKETS; i++) {
        seen += c->fence_ns_bucket[i];
        if (seen < wanted) continue;
        uint64_t bound = UINT64_C(2) << i;
        return bound < c->fence_ns_max || c->fence_ns_max == 0 ? bound : c->fence_ns_max;
    }
    return c->fence_ns_max;
}

static void heading(FILE *out, const struct run_options *o, const struct run_outcome *r)
{
    char told[WIDTH_SIZE], simulated[WIDTH_SIZE];
    fprintf(out, "vidmm report for:");
    for (char **word = o->program; *word != NULL; word++) fprintf(out, " %s", *word);
    if (WIFSIGNALED(r->wait_status))
        fprintf(out, "\n  ended             killed by signal %d (%s)", WTERMSIG(r->wait_status),
                strsignal(WTERMSIG(r->wait_status)));
    else
        fprintf(out, "\n  ended             with exit status %d", WEXITSTATUS(r->wait_status));
    fprintf(out, " after %.2f s\n", r->seconds);
    fprintf(out, "  virtual GPU       profile %s, %s of video memory simulated, the driver was told %s\n",
            o->profile, size_text(simulated, o->vram_bytes), size_text(told, o->vram_reported_bytes));
    if (o->paging_delay_ms != 0)
        fprintf(out, "  paging delay      %u ms added on purpose\n", o->paging_delay_ms);
    fprintf(out, "  found by way of   %s\n", via_name(r->via));
    if (r->other_adapters != 0)
        fprintf(out,
                "  not in the report %" PRIu64 " more process%s of this run used an adapter of %s own; the "
                "figures are the first one's\n",
                r->other_adapters, r->other_adapters == 1 ? "" : "es",
                r->other_adapters == 1 ? "its" : "their");
}

static void objects(FILE *out, const struct vidmm_counters *c)
{
    char peak[WIDTH_SIZE], left[WIDTH_SIZE];
    fprintf(out, "\nWhat the program made\n");
    fprintf(out, "  adapter opens     %" PRIu64 "   devices %" PRIu64 "   contexts %" PRIu64 "\n",
            c->adapter_opens, c->devices, c->contexts);
    fprintf(out, "  allocations       %" PRIu64 " made; at most %" PRIu64 " at once, %s in all\n",
            c->allocs_created, c->allocs_live_peak, size_text(peak, c->alloc_bytes_peak));
    fprintf(out,
            "  left at the end   %" PRIu64
            " allocations, %s (or still on their way out when the program ended)\n",
            c->allocs_live, size_text(left, c->alloc_bytes_live));
    fprintf(out, "  GPU addresses     %" PRIu64 " maps, %" PRIu64 " reservations, %" PRIu64 " frees\n",
            c->maps, c->reserves, c->frees);
    fprintf(out, "  GPU work          %" PRIu64 " command buffers submitted, %" PRIu64 " completed\n",
            c->submits, c->submits_completed);
}

static void segments(FILE *out, const struct run_options *o, const struct vidmm_counters *c)
{
    char size[WIDTH_SIZE], now[WIDTH_SIZE], peak[WIDTH_SIZE], tables[WIDTH_SIZE], name[32];
    uint64_t count = c->segment_count < VIDMM_COUNTERS_SEGMENTS ? c->segment_count : VIDMM_COUNTERS_SEGMENTS;
    fprintf(out,
            "\nWhere memory was                size   at most used   used at end   page tables (most)\n");
    for (uint64_t i = 0; i < count; i++) {
        const struct vidmm_segment_counters *s = &c->segment[i];
        const char *kind = i == 0                      ? "system memory"
                           : s->bytes == o->vram_bytes ? "video memory"
                                                       : "other memory";
        snprintf(name, sizeof name, "%s (%" PRIu64 ")", kind, i);
        fprintf(out, "  %-20s %13s  %13s %13s  %19s\n", name, s->bytes != 0 ? size_text(size, s->bytes) : "-",
                size_text(peak, s->resident_peak), size_text(now, s->resident),
                size_text(tables, s->tables_peak));
    }
}

static void move_line(FILE *out, const char *name, uint64_t count, uint64_t bytes, const char *words)
{
    char size[WIDTH_SIZE];
    fprintf(out, "  %-14s %7" PRIu64 "  %11s  %s\n", name, count, size_text(size, bytes), words);
}

static void count_line(FILE *out, const char *name, uint64_t count, const char *words)
{
    fprintf(out, "  %-14s %7" PRIu64 "  %11s  %s\n", name, count, "", words);
}

static void paging(FILE *out, const struct vidmm_counters *c)
{
    fprintf(out, "\nPaging: content moved because memory was short\n");
    move_line(out, "page-outs", c->page_outs, c->page_out_bytes, "moved out of a memory segment");
    move_line(out, "page-ins", c->page_ins, c->page_in_bytes, "moved into a memory segment");
    count_line(out, "demotions", c->demotions, "moved to a slower place and still usable by the GPU");
    count_line(out, "promotions", c->promotions, "moved back to the better place");
    count_line(out, "evictions", c->evictions, "page-outs after which the allocation was not resident");
    move_line(out, "zero fills", c->zero_fills, c->zero_fill_bytes, "new content cleared before first use");
    count_line(out, "over budget", c->over_budget, "requests for residency refused for lack of memory");
    count_line(out, "suspends", c->suspends,
               "times the program's GPU work stopped so that memory could move");
}

static void tables(FILE *out, const struct vidmm_counters *c)
{
    double per_update = c->updates != 0 ? (double)c->runs / (double)c->updates : 0;
    fprintf(out, "\nPage tables: the GPU's view of addresses\n");
    count_line(out, "tables made", c->tables_created, "");
    count_line(out, "tables left", c->tables_live, "");
    count_line(out, "entries", c->entries_written, "page-table entries written");
    count_line(out, "updates", c->updates, "calls to the GPU's driver to write entries");
    fprintf(out, "  %-14s %7.2f  %11s  %s\n", "runs/update", per_update, "",
            "runs of entries handed over in one update");
    count_line(out, "flushes", c->flushes, "times the GPU was told to forget old translations");
}

static void fences(FILE *out, const struct vidmm_counters *c)
{
    char mean[WIDTH_SIZE], half[WIDTH_SIZE], most[WIDTH_SIZE], longest[WIDTH_SIZE];
    fprintf(out, "\nTrouble\n");
    count_line(out, "page faults", c->faults, "");
    count_line(out, "engine resets", c->engine_resets, "");
    count_line(out, "timeouts", c->timeouts, "packets that stood still for too long");
    count_line(out, "adapter resets", c->adapter_resets, "");
    fprintf(out, "\nPaging fences: time from the request to its completion\n");
    if (c->fence_signals == 0) {
        fprintf(out, "  no request had to wait\n");
        return;
    }
    fprintf(out, "  %" PRIu64 " waited; mean %s, half within %s, 99%% within %s, longest %s\n",
            c->fence_signals, time_text(mean, c->fence_ns_total / c->fence_signals),
            time_text(half, report_fence_percentile_ns(c, 50)),
            time_text(most, report_fence_percentile_ns(c, 99)), time_text(longest, c->fence_ns_max));
}

void report_text(FILE *out, const struct run_options *o, const struct run_outcome *r,
                 const struct vidmm_counters *c)
{
    heading(out, o, r);
    if (c->adapter_opens == 0) {
        fprintf(out, "\nThe program never opened our adapter: it used no virtual GPU, and there is nothing "
                     "to report.\n");
        return;
    }
    objects(out, c);
    segments(out, o, c);
    paging(out, c);
    tables(out, c);
    fences(out, c);
}
