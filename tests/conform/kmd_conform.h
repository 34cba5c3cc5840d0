/* SPDX-License-Identifier: MIT */
/* kmd_conform.h - what any driver must keep, whatever its formats. Links with the driver, not the core.
 * Every check answers NULL, or a text that names the first thing that was wrong. */
#ifndef TESTS_CONFORM_KMD_CONFORM_H
#define TESTS_CONFORM_KMD_CONFORM_H

#include "kmd_rig.h"

/* The description does not contradict itself (the rules kmd.h states). */
const char *kmd_conform_description(struct rig *);
/* Every level, segment and flag: what pte_attr and update_page_table wrote, pte_decode gives back. */
const char *kmd_conform_entries(struct rig *);
/* Runs in one call, in several calls and one entry at a time give the same bytes; nothing else changes. */
const char *kmd_conform_runs(struct rig *, uint64_t seed, uint32_t rounds);
/* Two-level drivers: root sizes hold what was asked, in whole pages, and never shrink as they grow. */
const char *kmd_conform_root(struct rig *);
/* Paging operations built with buffers of every size give the same memory in the end. */
const char *kmd_conform_paging(struct rig *);
/* Objects: bad arguments are refused, what is created can be destroyed, failures create nothing. */
const char *kmd_conform_objects(struct rig *);

#endif
