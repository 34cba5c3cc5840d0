/* SPDX-License-Identifier: MIT */
/* dxcore.h - adapter enumeration as the client's driver expects it: DXCore's interfaces, in plain C.
 * An object starts with a pointer to a table of functions; every function gets the object first.  That is
 * what a C++ compiler makes of a class with virtual functions, so drivers call these without knowing. */
#ifndef VIDMM_APP_DXCORE_H
#define VIDMM_APP_DXCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dxcore_guid { uint32_t a; uint16_t b, c; uint8_t d[8]; };

/* What enumeration tells about the adapter; nothing is started by asking. */
struct dxcore_adapter_facts {
    uint32_t luid_low;
    int32_t luid_high;
    uint32_t vendor, device, subsystem, revision;
    uint64_t dedicated_bytes, shared_bytes;
    const char *description;
};

/* Given by whoever links this file: static storage, any thread.  NULL: there is no adapter (any more). */
const struct dxcore_adapter_facts *dxcore_adapter_facts(void);

int32_t DXCoreCreateAdapterFactory(const struct dxcore_guid *interface_id, void **out);

#endif
