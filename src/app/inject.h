/* SPDX-License-Identifier: MIT */
/* inject.h - what shall go wrong on purpose: the words of `vidmm run --inject` and of VIDMM_INJECT.
 *   fault@N hang@N reset-fails@N remove@N oom@N delay=MS      separated by commas
 * N counts submissions of the program, of oom its allocations, from 1. Owns nothing, calls nothing. */
#ifndef VIDMM_APP_INJECT_H
#define VIDMM_APP_INJECT_H

#include <stdbool.h>
#include <stdint.h>

#define INJECT_MOST 16u           /* of all kinds but delay */
#define INJECT_DELAY_MAX_MS 60000u

enum inject_kind { INJECT_FAULT = 1, INJECT_HANG, INJECT_RESET_FAILS, INJECT_REMOVE, INJECT_OOM };

struct inject {
    struct { enum inject_kind kind; uint64_t at; } what[INJECT_MOST];
    unsigned count;
    bool delayed;
    uint64_t delay_ms;            /* of every paging operation */
};

/* Reads a list; nothing, or "", is an empty one. Gives NULL, or the word that cannot be understood. */
const char *inject_read(struct inject *, const char *text);

#endif
