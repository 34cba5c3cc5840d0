/* SPDX-License-Identifier: MIT */
/* formats.h - the page-table formats of the ref GPU, and its physical mode. */
#ifndef SOFTGPU_REF_FORMATS_H
#define SOFTGPU_REF_FORMATS_H

#include "softgpu/format.h"

#include <vidmm/kmd.h>

/* render.c */
vidmm_status ref_render(void *kmd, struct vidmm_kmd_render *, uint64_t *multipass);
vidmm_status ref_patch(void *kmd, const struct vidmm_kmd_patch *);
vidmm_status ref_submit_physical(void *kmd, const struct vidmm_kmd_submit_physical *);

extern const struct port_format ref_format8, ref_format4, ref_format8c;

#endif
