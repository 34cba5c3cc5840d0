/* SPDX-License-Identifier: MIT */
/* stub_dxcore.c — a libdxcore.so for the tests of the command only: it counts that it was opened, nothing
 * more. With it the tests of finding, redirecting and reporting fail for reasons of the command alone. */
#include <stdlib.h>
#include <sys/mman.h>

#include "app/counters_block.h"

int stub_open(void);

/* Gives 0 when the shared counters were reached, else which step failed. */
int stub_open(void)
{
    const char *fd = getenv("VIDMM_COUNTERS_FD");
    if (fd == NULL) return 1;
    struct counters_block *b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(fd), 0);
    if (b == MAP_FAILED) return 2;
    struct vidmm_counters *c = &b->counters;
    if (atomic_fetch_add(&b->adapters, 1) != 0) return 0;
    c->magic = VIDMM_COUNTERS_MAGIC;
    c->adapter_opens++;
    c->allocs_created = 12345;
    c->segment_count = 2;
    c->segment[1].bytes = 64u << 20;
    c->segment[1].resident_peak = 48u << 20;
    c->page_outs = 7;
    c->page_out_bytes = 7u << 20;
    c->updates = 4;
    c->runs = 10;
    c->fence_signals = 2;
    c->fence_ns_total = 3000000;
    c->fence_ns_max = 2000000;
    c->fence_ns_bucket[19] = 1;
    c->fence_ns_bucket[20] = 1;
    return 0;
}
