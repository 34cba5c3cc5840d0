/* SPDX-License-Identifier: MIT */
/* ze_copy.c — Level Zero on the copy-only queue: copies and fills, each compared byte for byte. */
#include "check.h"
#include "ze.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MOST (64 * CHECK_MIB)

static void fill(struct ze *z, size_t size, size_t pattern_size, unsigned char *expected, unsigned char *got)
{
    unsigned char pattern[16];
    char what[64];
    void *memory = ze_device_memory(z, size);
    check_pattern(pattern, pattern_size, 77 + pattern_size);
    for (size_t i = 0; i < size; i++) expected[i] = pattern[i % pattern_size];
    memset(got, 0, size);
    ze_need(z->zeCommandListAppendMemoryFill(z->list, memory, pattern, pattern_size, size, NULL, 0, NULL),
            "append a fill");
    ze_need(z->zeCommandListAppendBarrier(z->list, NULL, 0, NULL), "append a barrier");
    ze_need(z->zeCommandListAppendMemoryCopy(z->list, got, memory, size, NULL, 0, NULL), "append a copy");
    ze_run(z);
    snprintf(what, sizeof what, "fill with a pattern of %zu byte%s", pattern_size,
             pattern_size == 1 ? "" : "s");
    check_equal(what, got, expected, size);
    ze_need(z->zeMemFree(z->context, memory), "zeMemFree");
}

int main(void)
{
    static const size_t sizes[] = {1, 4096, 65536, 1000000, 16 * CHECK_MIB, SIZE_MOST};
    struct ze z;
    ze_start(&z);
    unsigned char *expected = check_memory(SIZE_MOST), *got = check_memory(SIZE_MOST);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) ze_copy_chain(&z, sizes[i], expected, got);
    fill(&z, 4096, 1, expected, got);
    fill(&z, CHECK_MIB, 4, expected, got);
    fill(&z, 4 * CHECK_MIB, 16, expected, got);
    ze_stop(&z);
    free(expected);
    free(got);
    return 0;
}
