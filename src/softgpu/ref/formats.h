/* SPDX-License-Identifier: MIT */
/* formats.h - the two page-table formats of the ref GPU. */
#ifndef SOFTGPU_REF_FORMATS_H
#define SOFTGPU_REF_FORMATS_H

#include "softgpu/format.h"

extern const struct port_format ref_format8, ref_format4;

#endif
