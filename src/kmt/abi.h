/* SPDX-License-Identifier: MIT */
/* abi.h - the whole D3DKMT interface: include this one.
 * Owns: the compile-time proof that every struct has the published layout.  Calls: nothing. */
#ifndef VIDMM_KMT_ABI_H
#define VIDMM_KMT_ABI_H

#include <stddef.h>

#include "kmt/abi_engine.h"
#include "kmt/abi_flags.h"
#include "kmt/abi_info.h"
#include "kmt/abi_memory.h"
#include "kmt/abi_types.h"

#define PIN_SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " has the wrong size");
#define PIN_AT(type, field, at) \
    _Static_assert(offsetof(type, field) == (at), #type "." #field " is misplaced");
#include "kmt/abi_pins.inc"
#undef PIN_SIZE
#undef PIN_AT

#endif
