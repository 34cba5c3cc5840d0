/* SPDX-License-Identifier: MIT */
/* ref_physical.h - the command set of physical nodes, for the ref driver, its clients and tests.
 * A command is a whole number of 64-bit little-endian words; its header has bits 0-15 opcode, 16-31 length
 * in words (header included), 32-63 immediate. Clients write the short form, with 0 where an address belongs
 * and a patch location for each such word, in the order of the buffer. The driver makes the long form of it,
 * in which a last word holds tags: what the hardware knows about the memory behind an address changes when
 * that memory gets another owner or leaves the aperture, so an address that was not renewed is noticed.
 * Addresses are physical: base of a segment plus offset. */
#ifndef SOFTGPU_REF_PHYSICAL_H
#define SOFTGPU_REF_PHYSICAL_H

#include <stdint.h>

enum phys_op {
    PHYS_NOP = 0,
    PHYS_COPY = 1,    /* dst (slot 0), src (slot 1), bytes; bytes a multiple of 8 */
    PHYS_FILL = 2,    /* dst (slot 0), bytes; immediate = 4-byte pattern */
    PHYS_SUM = 3,     /* result (slot 0), src (slot 1), bytes: stores ref_checksum of the bytes at result */
    PHYS_WRITE64 = 4, /* dst (slot 0), value */
    PHYS_PRIVILEGED = 128 /* from here on: not for clients */
};

#define PHYS_WORDS_MAX 4u  /* of the short form; the long form has one more */

/* Words of the short form (0: no such command), and how many of them, from word 1 on, are addresses. */
static inline uint32_t phys_words(uint32_t op, uint32_t *addresses)
{
    static const uint8_t words[] = {1, 4, 3, 4, 3}, address[] = {0, 2, 1, 2, 1};
    if (op >= sizeof(words)) return 0;
    *addresses = address[op];
    return words[op];
}

static inline uint64_t phys_header(enum phys_op op, uint32_t words, uint32_t immediate)
{
    return (uint64_t)op | (uint64_t)words << 16 | (uint64_t)immediate << 32;
}

/* Encoders of the short form: write at `at`, give the number of words. */
static inline uint32_t phys_emit_copy(uint64_t *at, uint64_t bytes)
{
    at[0] = phys_header(PHYS_COPY, 4, 0);
    at[1] = at[2] = 0;
    at[3] = bytes;
    return 4;
}

static inline uint32_t phys_emit_fill(uint64_t *at, uint32_t pattern, uint64_t bytes)
{
    at[0] = phys_header(PHYS_FILL, 3, pattern);
    at[1] = 0;
    at[2] = bytes;
    return 3;
}

static inline uint32_t phys_emit_sum(uint64_t *at, uint64_t bytes)
{
    at[0] = phys_header(PHYS_SUM, 4, 0);
    at[1] = at[2] = 0;
    at[3] = bytes;
    return 4;
}

static inline uint32_t phys_emit_write64(uint64_t *at, uint64_t value)
{
    at[0] = phys_header(PHYS_WRITE64, 3, 0);
    at[1] = 0;
    at[2] = value;
    return 3;
}

#endif
