/* SPDX-License-Identifier: MIT */
/* kmt.h - the D3DKMT face: turns the calls of a WDDM client into calls of the core.
 * Owns: handles and the objects behind them.  Calls: include/vidmm, through the environment it is given.
 * The face knows no threads, clocks or files.  Client memory is reached only by the environment's copy
 * functions: every argument is copied once, then checked, then used. */
#ifndef VIDMM_KMT_KMT_H
#define VIDMM_KMT_KMT_H

#include <vidmm/env.h>
#include <vidmm/vidmm.h>

#include "kmt/abi.h"

struct kmt_config {
    const struct vidmm_env *env;
    struct vidmm_adapter *adapter;
    D3DKMT_LUID luid;
    uint32_t vendor, device, subvendor, subsystem, revision;
    uint64_t dedicated_bytes, shared_bytes; /* what GETSEGMENTSIZE tells */
    const char *driver_store;               /* directory of the user-mode driver's files; static */
    /* Client memory comes as a pointer; how long it is stands in the driver's private data only.  0: it is
     * not told there, and the allocation is refused. */
    uint64_t (*existing_bytes)(const void *private_data, uint32_t bytes);
};

struct kmt_face;
struct kmt_process; /* one client: a handle table and an address space */

/* NULL: no memory. */
struct kmt_face *kmt_face_create(const struct kmt_config *);
void kmt_face_destroy(struct kmt_face *); /* no process is left */
struct kmt_process *kmt_process_create(struct kmt_face *);
/* Everything the client has goes with it.  No call of it is running.  Any thread. */
void kmt_process_destroy(struct kmt_process *);

enum kmt_op {
#define KMT_ENTRY(nr, name, type, handler) KMT_OP_##name,
#include "kmt/entry_points.inc"
#undef KMT_ENTRY
    KMT_OP_COUNT
};

/* One call; `client` is the address of the argument struct in the client's memory.  Any thread. */
NTSTATUS kmt_dispatch(struct kmt_process *, enum kmt_op, D3DKMT_PTR client);

/* Facts about an entry point, for tools and tests. */
struct kmt_entry_info { const char *name; uint32_t ioctl, bytes; bool works; };
struct kmt_entry_info kmt_entry_info(enum kmt_op);

#endif
