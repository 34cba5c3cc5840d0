/* SPDX-License-Identifier: MIT */
/* physical.h - physical nodes, for the files of the simulated GPU and its drivers. */
#ifndef SOFTGPU_PHYSICAL_H
#define SOFTGPU_PHYSICAL_H

#include "softgpu/softgpu.h"

extern const struct softgpu_processor physical_processor; /* executes ref_physical.h */

/* What the hardware knows about the memory behind an address now: a number that changes with its owner. */
uint32_t softgpu_physical_tag(struct softgpu *, uint64_t address);
/* Frame that an aperture page shows; 0: none. */
uint64_t softgpu_aperture_frame(struct softgpu *, uint64_t page);

#endif
