/* SPDX-License-Identifier: MIT */
/* native.h - the ref command processor and the paging buffers made of its commands; also used by other
 * drivers for their paging node. */
#ifndef SOFTGPU_NATIVE_H
#define SOFTGPU_NATIVE_H

#include <vidmm/kmd.h>

#include "softgpu/port.h"

#define REF_PAGING_COPY_BYTES (4ull << 20) /* one COPY or FILL in a paging buffer moves at most this much */

extern const struct softgpu_processor ref_processor;

/* build_paging_buffer for a struct port: transfer, fill and flush. */
vidmm_status ref_build_paging_buffer(void *kmd, struct vidmm_paging_buffer *, const struct vidmm_op *,
                                     uint64_t *multipass);

#endif
