/* SPDX-License-Identifier: MIT */
/* model_shared.h - the reference model of a process' own memory (the IoMmu model): what each page shows,
 * for the CPU and for the GPU alike. A page is one pattern in every word. Knows nothing of tables, units or
 * VidMm. */
#ifndef SIM_MODEL_SHARED_H
#define SIM_MODEL_SHARED_H

#include <stdbool.h>
#include <stdint.h>

#define SHARED_PAGES_MAX 48u

/* `later` is what a packet that may or may not have got there writes; counts while open. */
struct shared_page { uint32_t now, later; bool open; };

struct shared_region {
    uint64_t va;
    uint32_t pages, writers, readers; /* packets in flight that write or read it */
    bool writable, gone;              /* gone: was taken away; nothing may reach it */
    struct shared_page page[SHARED_PAGES_MAX];
};

/* A packet: writes `count` pages from `first` on; with a source it copies that region's from its first page
 * on, else it fills with the pattern. */
struct shared_packet {
    struct shared_region *target, *source;
    uint32_t first, count, pattern;
    bool must_fault, may_fault;
};

void shared_packet_begin(struct shared_packet *);
/* completed: the fence behind it came. false: its device was lost before, or because of it. */
void shared_packet_end(struct shared_packet *, bool completed);
void shared_region_clone(const struct shared_region *from, struct shared_region *to);
/* Somebody read a word of it. NULL, or what is wrong with that. */
const char *shared_page_seen(const struct shared_region *, struct shared_page *, uint32_t word);

#endif
