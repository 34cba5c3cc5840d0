/* SPDX-License-Identifier: MIT */
/* compare.h — the same bytes and the same accesses through each way of addressing: what the files of
 * `vidmm compare` share. rig.c makes machines and their memory, reach.c translates and measures, costs.c
 * takes what faults and allocations cost, compare.c is the command. */
#ifndef VIDMM_APP_COMPARE_COMPARE_H
#define VIDMM_APP_COMPARE_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#include <vidmm/vidmm.h>

enum way { WAY_GPUMMU_4K, WAY_GPUMMU_64K, WAY_IOMMU_4, WAY_IOMMU_5, WAY_PHYSICAL, WAYS };
const char *way_name(enum way);  /* in words */
const char *way_key(enum way);   /* in JSON and TSV */
static inline bool way_shares(enum way w) { return w == WAY_IOMMU_4 || w == WAY_IOMMU_5; }

/* ---- rig.c ---- */

/* Where tables begin, as hardware has it: a radix tree of 512-entry tables, or a PASID in front of one. */
struct root { uint64_t address; uint32_t levels, pasid; };

struct rig;
/* One process with a device, on a machine with room for `bytes`. NULL: *why says what is missing. */
struct rig *rig_open(enum way, uint64_t bytes, const char **why);
void rig_close(struct rig *);
#define RIG_NO_ADDRESS 1u
/* Memory that an engine can use: created, resident and, where there are such addresses, mapped; else
 * RIG_NO_ADDRESS. 0: no memory. */
uint64_t rig_memory(struct rig *, uint64_t bytes, struct vidmm_open **);
void rig_forget(struct rig *, struct vidmm_open *, uint64_t va, uint64_t bytes); /* waits for its end */
void *rig_host(struct rig *, struct vidmm_open *); /* where its first byte is in the memory of this machine */
bool rig_root(struct rig *, struct root *);
const struct vidmm_platform *rig_platform(const struct rig *);
const struct vidmm_counters *rig_counters(const struct rig *);
uint64_t rig_invalidations(const struct rig *);
/* IoMmu: memory of the process that nobody has touched, and what a device does that finds it missing. */
uint64_t rig_untouched(struct rig *, uint64_t pages);
bool rig_touch(struct rig *, uint64_t va); /* until it is there */

/* ---- reach.c ---- */

/* Of one access: table words read, walks, and time on this machine. */
struct reach { double references, walks, ns; };

struct trace { uint64_t bytes, accesses; bool sequential; };
/* `host` has the bytes behind va. false: the tables do not lead there. */
bool reach_measure(enum way, const struct rig *, const struct root *, uint64_t va, const void *host,
                   const struct trace *, struct reach *);
uint64_t reach_now_ns(void);

/* ---- costs.c ---- */

struct costs {
    double cold_ns, warm_ns;      /* of the first touch of a page, and of the second; 0: no faults */
    double manage_ns;             /* one allocation of 1 MiB: made, usable, gone */
    double updates, entries, flushes, buffers, invalidations; /* for it */
};
bool costs_measure(enum way, struct costs *, const char **why);

/* argv[0] is the word "compare". Gives the exit status. */
int compare_command(int argc, char **argv);

#endif
