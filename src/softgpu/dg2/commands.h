/* SPDX-License-Identifier: MIT */
/* commands.h - between the files of the dg2 command interpreter. */
#ifndef SOFTGPU_DG2_COMMANDS_H
#define SOFTGPU_DG2_COMMANDS_H

#include "softgpu/processor.h"

#define DG2_COMMAND_DWORDS 40u   /* fetched of a command; what is longer is skipped, not read */
#define DG2_ADDRESS_MASK ((1ull << 48) - 1)

enum dg2_error {
    DG2_ERROR_OPCODE = 256, DG2_ERROR_LENGTH = 257, DG2_ERROR_TILING = 258, DG2_ERROR_DEPTH = 259,
    DG2_ERROR_NESTING = 260, DG2_ERROR_PACKET = 261, DG2_ERROR_RECTANGLE = 262
};

/* Arguments of a packet, from the driver: where to write which value when it has finished (va 0: no). */
enum { DG2_ARG_FENCE_VA = 0, DG2_ARG_FENCE_VALUE = 1 };

struct dg2_rows { /* what is left of a blit, row by row (or as one row when rows follow each other) */
    uint64_t dst, src, dst_pitch, src_pitch, row_bytes, count;
    uint32_t pattern[4];
    bool fill, started;
};

struct dg2_state {
    uint64_t ip, limit;              /* next command; end of the buffer, when known */
    uint64_t return_ip, return_limit;
    uint32_t dw[DG2_COMMAND_DWORDS], length; /* the command at ip, in dwords */
    uint32_t executed;
    bool second_level, waiting, blitting;
    struct dg2_rows rows;
};

/* Full address of a command's low and high dword: clients pass them sign-extended or not. */
static inline uint64_t dg2_address(const uint32_t *lo)
{
    return ((uint64_t)lo[1] << 32 | lo[0]) & DG2_ADDRESS_MASK;
}

/* blit.c. Begin: false with the error recorded. Step: MORE until every row is done. */
bool dg2_blit_copy_begin(struct softgpu_engine *, struct dg2_state *);
bool dg2_blit_fill_begin(struct softgpu_engine *, struct dg2_state *);
enum softgpu_run dg2_blit_step(struct softgpu_engine *, struct dg2_state *);

extern const struct softgpu_processor dg2_processor;

#endif
