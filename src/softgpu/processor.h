/* SPDX-License-Identifier: MIT */
/* processor.h - what a command processor (ref, dg2) may do on its engine. All addresses are GPU virtual
 * addresses in the space of the packet's context. A false answer has recorded the fault: the processor
 * returns SOFTGPU_RUN_FAULT at once. Every call does a bounded amount of work and never waits. */
#ifndef SOFTGPU_PROCESSOR_H
#define SOFTGPU_PROCESSOR_H

#include "softgpu/softgpu.h"

#define PROCESSOR_STATE_BYTES 640u
#define PROCESSOR_ACCESS_MAX 4096u  /* bytes of one fetch, read or write */

/* Zeroed when a packet starts; at most PROCESSOR_STATE_BYTES. */
void *processor_state(struct softgpu_engine *);
const struct softgpu_packet *processor_packet(const struct softgpu_engine *);
uint64_t processor_now_ns(const struct softgpu_engine *);
/* With SOFTGPU_RUN_WAIT: the engine need not be stepped before. */
void processor_sleep_until(struct softgpu_engine *, uint64_t ns);

bool processor_fetch(struct softgpu_engine *, uint64_t va, void *dst, uint32_t bytes);
bool processor_read(struct softgpu_engine *, uint64_t va, void *dst, uint32_t bytes);
bool processor_write(struct softgpu_engine *, uint64_t va, const void *src, uint32_t bytes);
/* Naturally aligned words, seen whole by everyone; before a store everything earlier is visible. */
bool processor_load(struct softgpu_engine *, uint64_t va, uint32_t bytes, uint64_t *value);
bool processor_store(struct softgpu_engine *, uint64_t va, uint32_t bytes, uint64_t value);
/* One page-table entry of 4 or 8 bytes: by GPU virtual address, or by segment (0: system memory) and offset.
 * claim: its page has a new owner, whatever was known of it before. */
struct processor_place { uint64_t address; uint32_t segment; bool physical, claim; };
bool processor_store_entry(struct softgpu_engine *, const struct processor_place *, uint32_t bytes,
                           uint64_t value);
/* Atomic among the engines of this GPU. */
bool processor_add64(struct softgpu_engine *, uint64_t va, uint64_t value, uint64_t *before);
/* Reports a malformed command at va. */
void processor_error(struct softgpu_engine *, uint64_t va, uint32_t error_code);

/* Bulk operations: begin, then step until it is not MORE. bytes 0 is done at once. */
void processor_copy_begin(struct softgpu_engine *, uint64_t dst, uint64_t src, uint64_t bytes);
void processor_fill_begin(struct softgpu_engine *, uint64_t dst, uint64_t bytes, uint32_t pattern);
void processor_fill16_begin(struct softgpu_engine *, uint64_t dst, uint64_t bytes, const uint32_t pattern[4]);
void processor_sum_begin(struct softgpu_engine *, uint64_t src, uint64_t bytes);
enum softgpu_run processor_bulk_step(struct softgpu_engine *);
uint64_t processor_sum(const struct softgpu_engine *); /* of the last sum operation */

/* TLB flush: clears every engine's entries at once, then steps until the accesses that were in flight
 * have ended: WAIT, finally DONE. start = end = 0: the whole space. false: no such space. */
bool processor_flush_begin(struct softgpu_engine *, uint32_t space_id, uint64_t start, uint64_t end);
enum softgpu_run processor_flush_step(struct softgpu_engine *);

void processor_hang(struct softgpu_engine *); /* with SOFTGPU_RUN_WAIT: only a reset ends it */
/* Aperture pages show frames from `frame` on, or all the same one. false: no such pages. */
bool processor_map_aperture(struct softgpu_engine *, uint64_t page, uint64_t pages, uint64_t frame,
                            bool same);

void processor_signal_interrupt(struct softgpu_engine *); /* a monitored fence was written */

/* The checksum of SUM: over 8-byte little-endian words, a short last one padded with zeros. */
static inline uint64_t processor_sum_word(uint64_t sum, uint64_t word)
{
    sum = (sum ^ word) * 0x9e3779b97f4a7c15ull;
    return sum ^ sum >> 32;
}

#endif
