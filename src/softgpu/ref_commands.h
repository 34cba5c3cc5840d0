/* SPDX-License-Identifier: MIT */
/* ref_commands.h - the command set of the ref GPU, for its driver, its clients and tests.
 * A packet is a sequence of commands, each a whole number of 64-bit little-endian words, the first of
 * which is the header: bits 0-15 opcode, 16-31 length in words (header included), 32-63 immediate.
 * Addresses are GPU virtual addresses. Commands execute in order; each sees the effects of those before.
 * Packets start at multiples of 8 and end at their length or at END. A malformed command is a fault whose
 * va is the command's address and whose error_code is one of enum ref_error. */
#ifndef SOFTGPU_REF_COMMANDS_H
#define SOFTGPU_REF_COMMANDS_H

#include <stdint.h>

enum ref_op {
    REF_NOP = 0,         /* any length: skipped */
    REF_END = 1,         /* ends the packet */
    REF_COPY = 2,        /* dst, src, bytes: any alignment; ranges that overlap: undefined content */
    REF_FILL = 3,        /* dst, bytes; immediate = 4-byte pattern, starting at dst */
    REF_CHECKSUM = 4,    /* src, bytes, result: stores ref_checksum of the bytes at result */
    REF_ATOMIC_ADD64 = 5, /* va, value: atomic among all engines */
    REF_WRITE64 = 6,     /* va, value */
    REF_FENCE_WRITE = 7, /* va, value: WRITE64 after everything before is visible, then an interrupt. With
                          * immediate 1, here and below: 32 bits; the wait compares by distance then */
    REF_FENCE_WAIT = 8,  /* va, value: waits until the word is >= value; other engines go on */
    REF_SPIN = 9,        /* immediate = steps to spend */
    REF_DELAY = 10,      /* ns: waits that long by the GPU's clock */
    REF_FLUSH_TLB = 11,  /* space id, start, end: system contexts only; 0, 0 = the whole space */
    REF_HANG = 12,       /* the engine does nothing any more, nor stops when asked, until it is reset */
    REF_WALK_LIST = 13,  /* head, increment, result; immediate = most nodes. Adds to each node's value, and
                          * stores at result how many there were, and 8 bytes behind it the sum of the values
                          * as they were found. A list that is longer is a malformed command */
    REF_MAP_APERTURE = 20, /* first page, pages, frame: system contexts only. Immediate 1: one for all */
    REF_WRITE_ENTRIES = 21, /* address, first, step, count: entry i becomes first + i * step. System contexts
                            * only. Immediate: see ref_entries */
    REF_COPY_ENTRIES = 22 /* destination, source, count: system contexts only. Immediate: entry bytes */
};

enum ref_error {
    REF_ERROR_OPCODE = 256, REF_ERROR_LENGTH = 257, REF_ERROR_PACKET = 258, REF_ERROR_PRIVILEGE = 259,
    REF_ERROR_SPACE = 260, REF_ERROR_APERTURE = 261, REF_ERROR_LIST = 262
};

struct ref_list_node { uint64_t next, value; }; /* next: address of a node, 0 = the last; multiples of 8 */

/* Of REF_WRITE_ENTRIES: bits 0-7 bytes of an entry, 8 the pages get a new owner, 9 the address is an offset
 * in the segment of bits 16-23 (0: system memory), else it is a GPU virtual address. */
enum ref_entries { REF_ENTRIES_NEW = 1 << 8, REF_ENTRIES_PHYSICAL = 1 << 9, REF_ENTRIES_SEGMENT_SHIFT = 16 };

#define REF_WORDS_MAX 5u     /* longest command but NOP */

static inline uint64_t ref_header(enum ref_op op, uint32_t words, uint32_t immediate)
{
    return (uint64_t)op | (uint64_t)words << 16 | (uint64_t)immediate << 32;
}

/* Encoders: write at `at`, give the number of words. */
static inline uint32_t ref_emit3(uint64_t *at, uint64_t header, uint64_t a, uint64_t b)
{
    at[0] = header;
    at[1] = a;
    at[2] = b;
    return 3;
}

static inline uint32_t ref_emit_copy(uint64_t *at, uint64_t dst, uint64_t src, uint64_t bytes)
{
    at[3] = bytes;
    return ref_emit3(at, ref_header(REF_COPY, 4, 0), dst, src) + 1;
}

static inline uint32_t ref_emit_fill(uint64_t *at, uint64_t dst, uint32_t pattern, uint64_t bytes)
{
    return ref_emit3(at, ref_header(REF_FILL, 3, pattern), dst, bytes);
}

static inline uint32_t ref_emit_checksum(uint64_t *at, uint64_t src, uint64_t bytes, uint64_t result)
{
    at[3] = result;
    return ref_emit3(at, ref_header(REF_CHECKSUM, 4, 0), src, bytes) + 1;
}

static inline uint32_t ref_emit_add64(uint64_t *at, uint64_t va, uint64_t value)
{
    return ref_emit3(at, ref_header(REF_ATOMIC_ADD64, 3, 0), va, value);
}

static inline uint32_t ref_emit_write64(uint64_t *at, uint64_t va, uint64_t value)
{
    return ref_emit3(at, ref_header(REF_WRITE64, 3, 0), va, value);
}

static inline uint32_t ref_emit_fence_write(uint64_t *at, uint64_t va, uint64_t value)
{
    return ref_emit3(at, ref_header(REF_FENCE_WRITE, 3, 0), va, value);
}

static inline uint32_t ref_emit_fence_wait(uint64_t *at, uint64_t va, uint64_t value)
{
    return ref_emit3(at, ref_header(REF_FENCE_WAIT, 3, 0), va, value);
}

/* The same for 32 bits: the wait goes on when the value is ahead by less than half of the range. */
static inline uint32_t ref_emit_fence_write32(uint64_t *at, uint64_t va, uint32_t value)
{
    return ref_emit3(at, ref_header(REF_FENCE_WRITE, 3, 1), va, value);
}

static inline uint32_t ref_emit_fence_wait32(uint64_t *at, uint64_t va, uint32_t value)
{
    return ref_emit3(at, ref_header(REF_FENCE_WAIT, 3, 1), va, value);
}

static inline uint32_t ref_emit_flush(uint64_t *at, uint32_t space, uint64_t start, uint64_t end)
{
    at[3] = end;
    return ref_emit3(at, ref_header(REF_FLUSH_TLB, 4, 0), space, start) + 1;
}

static inline uint32_t ref_emit_map_aperture(uint64_t *at, uint64_t page, uint64_t pages, uint64_t frame,
                                             uint32_t same)
{
    at[3] = frame;
    return ref_emit3(at, ref_header(REF_MAP_APERTURE, 4, same), page, pages) + 1;
}

static inline uint32_t ref_emit_write_entries(uint64_t *at, uint32_t immediate, uint64_t address,
                                              uint64_t first, uint64_t step, uint64_t count)
{
    at[3] = step;
    at[4] = count;
    return ref_emit3(at, ref_header(REF_WRITE_ENTRIES, 5, immediate), address, first) + 2;
}

static inline uint32_t ref_emit_copy_entries(uint64_t *at, uint32_t entry_bytes, uint64_t destination,
                                             uint64_t source, uint64_t count)
{
    at[3] = count;
    return ref_emit3(at, ref_header(REF_COPY_ENTRIES, 4, entry_bytes), destination, source) + 1;
}

static inline uint32_t ref_emit_walk_list(uint64_t *at, uint64_t head, uint64_t increment, uint64_t result,
                                          uint32_t most)
{
    at[3] = result;
    return ref_emit3(at, ref_header(REF_WALK_LIST, 4, most), head, increment) + 1;
}

static inline uint32_t ref_emit_spin(uint64_t *at, uint32_t steps)
{
    at[0] = ref_header(REF_SPIN, 1, steps);
    return 1;
}

static inline uint32_t ref_emit_delay(uint64_t *at, uint64_t ns)
{
    at[0] = ref_header(REF_DELAY, 2, 0);
    at[1] = ns;
    return 2;
}

static inline uint32_t ref_emit_hang(uint64_t *at)
{
    at[0] = ref_header(REF_HANG, 1, 0);
    return 1;
}

static inline uint32_t ref_emit_end(uint64_t *at)
{
    at[0] = ref_header(REF_END, 1, 0);
    return 1;
}

/* What CHECKSUM computes: over 8-byte little-endian words, a short last one padded with zeros. */
static inline uint64_t ref_checksum(const void *data, uint64_t bytes)
{
    const uint8_t *d = (const uint8_t *)data;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < bytes; i += 8) {
        uint64_t word = 0;
        for (uint64_t k = 0; k < 8 && i + k < bytes; k++) word |= (uint64_t)d[i + k] << (8 * k);
        sum = (sum ^ word) * 0x9e3779b97f4a7c15ull;
        sum ^= sum >> 32;
    }
    return sum;
}

#endif
