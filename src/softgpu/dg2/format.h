/* SPDX-License-Identifier: MIT */
/* format.h - the page-table format of the dg2 GPU. */
#ifndef SOFTGPU_DG2_FORMAT_H
#define SOFTGPU_DG2_FORMAT_H

#include "softgpu/format.h"

extern const struct port_format dg2_format;

#endif
