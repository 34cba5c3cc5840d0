/* SPDX-License-Identifier: MIT */
/* bytes.h - the four functions a freestanding program must bring along (the compiler calls them by itself),
 * declared here because <string.h> is not a freestanding header. For .c files of base and core. */
#ifndef VIDMM_BASE_BYTES_H
#define VIDMM_BASE_BYTES_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *at, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);

#endif
