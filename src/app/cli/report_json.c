/* SPDX-License-Identifier: MIT */
/* report_json.c — the same figures for programs: one JSON object; sizes in bytes, times in nanoseconds.
 * Key names follow the fields of vidmm/counters.h.  Calls jansson. */
#include "cli.h"

#include <jansson.h>
#include <sys/wait.h>

#include <vidmm/counters.h>

#define SET_COUNTER(object, field) \
    json_object_set_new(object, #field, json_integer((json_int_t)c->field))

static json_t *json_run(const struct run_options *o, const struct run_outcome *r)
{
    json_t *run = json_object();
    json_t *words = json_array();
    for (char **word = o->program; *word != NULL; word++) {
        json_t *text = json_string(*word);
        /* a word that is not UTF-8 has no JSON form; its place is kept */
        json_array_append_new(words, text != NULL ? text : json_null());
    }
    json_object_set_new(run, "program", words);
    if (WIFSIGNALED(r->wait_status))
        json_object_set_new(run, "signal", json_integer(WTERMSIG(r->wait_status)));
    else json_object_set_new(run, "exit_status", json_integer(WEXITSTATUS(r->wait_status)));
    json_object_set_new(run, "seconds", json_real(r->seconds));
    json_object_set_new(run, "via", json_string(via_name(r->via)));
    json_object_set_new(run, "profile", json_string(o->profile));
    json_object_set_new(run, "vram_bytes", json_integer((json_int_t)o->vram_bytes));
    json_object_set_new(run, "vram_reported_bytes", json_integer((json_int_t)o->vram_reported_bytes));
    json_object_set_new(run, "paging_delay_ms", json_integer(o->paging_delay_ms));
    json_object_set_new(run, "other_adapters", json_integer((json_int_t)r->other_adapters));
    return run;
}

static json_t *json_objects(const struct vidmm_counters *c)
{
    json_t *j = json_object();
    SET_COUNTER(j, adapter_opens);
    SET_COUNTER(j, processes);
    SET_COUNTER(j, devices);
    SET_COUNTER(j, contexts);
    SET_COUNTER(j, allocs_created);
    SET_COUNTER(j, allocs_live);
    SET_COUNTER(j, allocs_live_peak);
    SET_COUNTER(j, alloc_bytes_live);
    SET_COUNTER(j, alloc_bytes_peak);
    SET_COUNTER(j, maps);
    SET_COUNTER(j, reserves);
    SET_COUNTER(j, frees);
    SET_COUNTER(j, submits);
    SET_COUNTER(j, submits_completed);
    return j;
}

static json_t *json_segments(const struct vidmm_counters *all)
{
    json_t *list = json_array();
    uint64_t count =
        all->segment_count < VIDMM_COUNTERS_SEGMENTS ? all->segment_count : VIDMM_COUNTERS_SEGMENTS;
    for (uint64_t i = 0; i < count; i++) {
        const struct vidmm_segment_counters *c = &all->segment[i];
        json_t *j = json_object();
        json_object_set_new(j, "id", json_integer((json_int_t)i));
        SET_COUNTER(j, bytes);
        SET_COUNTER(j, resident);
        SET_COUNTER(j, resident_peak);
        SET_COUNTER(j, tables);
        SET_COUNTER(j, tables_peak);
        json_array_append_new(list, j);
    }
    return list;
}

static json_t *json_paging(const struct vidmm_counters *c)
{
    json_t *j = json_object();
    SET_COUNTER(j, page_ins);
    SET_COUNTER(j, page_in_bytes);
    SET_COUNTER(j, page_outs);
    SET_COUNTER(j, page_out_bytes);
    SET_COUNTER(j, zero_fills);
    SET_COUNTER(j, zero_fill_bytes);
    SET_COUNTER(j, evictions);
    SET_COUNTER(j, demotions);
    SET_COUNTER(j, promotions);
    SET_COUNTER(j, make_residents);
    SET_COUNTER(j, evict_calls);
    SET_COUNTER(j, over_budget);
    SET_COUNTER(j, suspends);
    SET_COUNTER(j, batches);
    return j;
}

static json_t *json_tables(const struct vidmm_counters *c)
{
    json_t *j = json_object();
    SET_COUNTER(j, tables_live);
    SET_COUNTER(j, tables_created);
    SET_COUNTER(j, tables_freed);
    SET_COUNTER(j, entries_written);
    SET_COUNTER(j, updates);
    SET_COUNTER(j, runs);
    SET_COUNTER(j, flushes);
    SET_COUNTER(j, root_resizes);
    json_object_set_new(j, "runs_per_update",
                        json_real(c->updates != 0 ? (double)c->runs / (double)c->updates : 0.0));
    return j;
}

static json_t *json_fences(const struct vidmm_counters *c)
{
    json_t *j = json_object();
    json_t *buckets = json_array();
    SET_COUNTER(j, fence_signals);
    SET_COUNTER(j, fence_ns_total);
    SET_COUNTER(j, fence_ns_max);
    json_object_set_new(j, "fence_ns_p50_bound", json_integer((json_int_t)report_fence_percentile_ns(c, 50)));
    json_object_set_new(j, "fence_ns_p99_bound", json_integer((json_int_t)report_fence_percentile_ns(c, 99)));
    for (unsigned i = 0; i < VIDMM_LATENCY_BUCKETS; i++)
        json_array_append_new(buckets, json_integer((json_int_t)c->fence_ns_bucket[i]));
    json_object_set_new(j, "fence_ns_log2_buckets", buckets);
    return j;
}

int report_json(FILE *out, const struct run_options *o, const struct run_outcome *r,
                const struct vidmm_counters *c)
{
    json_t *trouble = json_object();
    SET_COUNTER(trouble, faults);
    SET_COUNTER(trouble, engine_resets);
    SET_COUNTER(trouble, timeouts);
    SET_COUNTER(trouble, adapter_resets);

    json_t *all = json_object();
    json_object_set_new(all, "run", json_run(o, r));
    json_object_set_new(all, "opened", json_boolean(c->adapter_opens != 0));
    json_object_set_new(all, "objects", json_objects(c));
    json_object_set_new(all, "segments", json_segments(c));
    json_object_set_new(all, "paging", json_paging(c));
    json_object_set_new(all, "page_tables", json_tables(c));
    json_object_set_new(all, "trouble", trouble);
    json_object_set_new(all, "paging_fences", json_fences(c));
    int failed = json_dumpf(all, out, JSON_INDENT(2)) != 0 || fputc('\n', out) == EOF;
    json_decref(all);
    return failed;
}
