/* SPDX-License-Identifier: MIT */
/* counters_block.h - what `vidmm run` and the libdxcore.so of the programs it starts share: memory behind
 * VIDMM_COUNTERS_FD.  Owns nothing.
 *
 * A run may have several OS processes with an adapter each, and counters have one writer.  The first adapter
 * that adds itself to `adapters` writes the shared ones; the later ones are only counted there. */
#ifndef VIDMM_APP_COUNTERS_BLOCK_H
#define VIDMM_APP_COUNTERS_BLOCK_H

#include <stdatomic.h>

#include <vidmm/counters.h>

struct counters_block {
    struct vidmm_counters counters;
    _Atomic uint64_t adapters;
};

#endif
