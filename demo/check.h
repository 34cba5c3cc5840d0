/* SPDX-License-Identifier: MIT */
/* check.h — what every demo client shares: a pattern that no accident produces, a comparison, one line of
 * result. Owns nothing.  A client ends with status 0 when all was equal, 1 when not, 77 when there is no
 * device. */
#ifndef VIDMM_DEMO_CHECK_H
#define VIDMM_DEMO_CHECK_H

#include <stddef.h>
#include <stdint.h>

#define CHECK_KIB ((size_t)1024)
#define CHECK_MIB ((size_t)1024 * 1024)
#define CHECK_NO_DEVICE 77

/* Fills bytes so that every 8-byte word depends on its place and on the seed: swapped or shifted pages show.
 */
void check_pattern(void *bytes, size_t size, uint64_t seed);

/* Prints "equal  WHAT  SIZE", or says where the first difference is and ends the program with status 1. */
void check_equal(const char *what, const void *got, const void *expected, size_t size);

/* Ends the program with `status` after one line on stderr. */
_Noreturn void check_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Page-aligned memory of which every page is present; ends the program when there is none. */
void *check_memory(size_t size);

#endif
