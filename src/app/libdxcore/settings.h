/* SPDX-License-Identifier: MIT */
/* settings.h - what the environment variables ask for. */
#ifndef VIDMM_APP_SETTINGS_H
#define VIDMM_APP_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "app/inject.h"

enum settings_profile { PROFILE_DG2, PROFILE_REF, PROFILE_REF_IOMMU, PROFILE_REF_BOTH, PROFILE_LDA2,
                        PROFILE_LDA3, PROFILE_LDA4 };

struct settings {
    enum settings_profile profile; /* VIDMM_PROFILE: dg2 (default), ref, ref-iommu, ref-both, lda2 to lda4 */
    uint64_t vram_bytes;           /* VIDMM_VRAM: bytes, or with K, M, G; 0: the profile's own */
    uint64_t vram_reported_bytes;  /* VIDMM_VRAM_REPORTED; 0: the profile's own */
    uint64_t paging_delay_ms;      /* VIDMM_PAGING_DELAY_MS */
    uint64_t tdr_delay_ms;         /* VIDMM_TDR_DELAY_MS: timeout of packets; 0: the profile's own */
    uint32_t tdr_limit;            /* VIDMM_TDR_LIMIT: adapter resets a minute may have; 0: the core's own */
    uint32_t tdr_level;            /* VIDMM_TDR_LEVEL: recover, off, fatal; as vidmm_tdr_level */
    struct inject inject;          /* VIDMM_INJECT */
    int counters_fd;               /* VIDMM_COUNTERS_FD: shared struct counters_block; -1: none */
};

/* false: a variable cannot be understood; *why names it.  `get` is getenv, or a test's. */
bool settings_read(struct settings *, char *(*get)(const char *), const char **why);

#endif
