/* SPDX-License-Identifier: MIT */
/* ref_commands.h - the command set, where clients of the ref driver look for it. Owns nothing: other
 * drivers use the commands for their paging node, so they live with the hardware. */
#ifndef SOFTGPU_REF_REF_COMMANDS_H
#define SOFTGPU_REF_REF_COMMANDS_H

#include "softgpu/ref_commands.h"

#endif
