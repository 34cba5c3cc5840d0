/* SPDX-License-Identifier: MIT */
/* noise.h - random D3DKMT calls: valid requests, damaged ones and pure noise, over one kmt_process.
 * Handles that answers contain are shared by all threads, so threads destroy what others use. */
#ifndef VIDMM_TEST_NOISE_H
#define VIDMM_TEST_NOISE_H

#include "kmt/kmt.h"

#define NOISE_BYTES (1u << 16)                 /* client memory of one thread, page aligned */
#define NOISE_READ_ONLY (NOISE_BYTES - 4096u)  /* its last page cannot be written through the face */

struct noise_world {
    struct kmt_process *process;
    bool read_only_args;  /* argument structs may lie in the last page (the test can write there) */
    bool may_block;       /* false: no wait that nobody ends */
    uint64_t existing;    /* page-aligned client memory for allocations */
    const void *private_data; /* of allocations, as the driver under test wants it; NULL: a few bytes */
    uint32_t private_size;
    _Atomic uint32_t succeeded[KMT_OP_COUNT];
};
extern struct noise_world noise_world;

void noise_begin(void);                                /* forgets all handles */
void noise_thread(uint8_t *memory, uint64_t seed);     /* for the calling thread */
uint32_t noise_random(void);
void noise_call(void);   /* a valid request, one in four damaged */
void noise_pure(void);   /* random words */
/* Prints the services that never succeeded; gives their number. */
uint32_t noise_silent(void);

#endif
