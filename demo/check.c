/* SPDX-License-Identifier: MIT */
/* check.c — patterns and comparisons of the demo clients.  Calls the C library only. */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 4096u

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    return x * 0x94d049bb133111ebu;
}

void check_pattern(void *bytes, size_t size, uint64_t seed)
{
    unsigned char *out = bytes;
    size_t done = 0;
    for (; done + 8 <= size; done += 8) {
        uint64_t word = mix(seed * 0x9e3779b97f4a7c15u + done);
        memcpy(out + done, &word, 8);
    }
    for (; done < size; done++) out[done] = (unsigned char)mix(seed * 0x9e3779b97f4a7c15u + done);
}

static void print_size(char *out, size_t out_size, size_t size)
{
    if (size % CHECK_MIB == 0 && size != 0) snprintf(out, out_size, "%zu MiB", size / CHECK_MIB);
    else if (size % CHECK_KIB == 0 && size != 0) snprintf(out, out_size, "%zu KiB", size / CHECK_KIB);
    else snprintf(out, out_size, "%zu byte%s", size, size == 1 ? "" : "s");
}

void check_equal(const char *what, const void *got, const void *expected, size_t size)
{
    const unsigned char *a = got, *b = expected;
    char text[32];
    print_size(text, sizeof text, size);
    if (memcmp(a, b, size) == 0) {
        printf("  equal  %-52s %s\n", what, text);
        fflush(stdout);
        return;
    }
    size_t at = 0, wrong = 0;
    while (a[at] == b[at]) at++;
    for (size_t i = at; i < size; i++) wrong += a[i] != b[i];
    fflush(stdout);
    check_fail(1, "DIFFERENT  %s, %s: %zu bytes differ, the first at %zu (%02x instead of %02x)", what, text,
               wrong, at, a[at], b[at]);
}

void check_fail(int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "  ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(status);
}

void *check_memory(size_t size)
{
    size_t rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void *memory = aligned_alloc(ALIGNMENT, rounded);
    if (memory == NULL) check_fail(1, "no memory for %zu bytes", size);
    memset(memory, 0, rounded);
    return memory;
}
