/* SPDX-License-Identifier: MIT */
/* costs.c — what is not an access: the first touch of a page, and the life of an allocation.
 * Times are those of the simulated machine's software here; operations are counted and exact. */
#include "app/compare/compare.h"

#define FAULT_PAGES 1024u
#define LIVES 32u
#define LIFE_BYTES (1ull << 20)

static bool touch_all(struct rig *r, uint64_t va, double *ns)
{
    uint64_t begin = reach_now_ns();
    for (uint64_t i = 0; i < FAULT_PAGES; i++)
        if (!rig_touch(r, va + i * VIDMM_PAGE_SIZE)) return false;
    *ns = (double)(reach_now_ns() - begin) / FAULT_PAGES;
    return true;
}

static bool faults(struct rig *r, struct costs *out)
{
    uint64_t va = rig_untouched(r, FAULT_PAGES);
    return va != 0 && touch_all(r, va, &out->cold_ns) && touch_all(r, va, &out->warm_ns);
}

static bool lives(struct rig *r, struct costs *out)
{
    const struct vidmm_counters *c = rig_counters(r), before = *c;
    uint64_t invalidated = rig_invalidations(r), begin = reach_now_ns();
    for (uint32_t i = 0; i < LIVES; i++) {
        struct vidmm_open *op;
        uint64_t va = rig_memory(r, LIFE_BYTES, &op);
        if (va == 0) return false;
        rig_forget(r, op, va, LIFE_BYTES);
    }
    out->manage_ns = (double)(reach_now_ns() - begin) / LIVES;
    out->updates = (double)(c->updates - before.updates) / LIVES;
    out->entries = (double)(c->entries_written - before.entries_written) / LIVES;
    out->flushes = (double)(c->flushes - before.flushes) / LIVES;
    out->buffers = (double)(c->batches - before.batches) / LIVES;
    out->invalidations = (double)(rig_invalidations(r) - invalidated) / LIVES;
    return true;
}

bool costs_measure(enum way way, struct costs *out, const char **why)
{
    *out = (struct costs){0};
    struct rig *r = rig_open(way, 64 * LIFE_BYTES, why);
    if (r == NULL) return false;
    struct vidmm_open *first;
    bool ok = rig_memory(r, LIFE_BYTES, &first) != 0; /* tables that stay are not one allocation's cost */
    ok = ok && lives(r, out) && (!way_shares(way) || faults(r, out));
    if (!ok) *why = "an allocation was refused";
    rig_close(r);
    return ok;
}
