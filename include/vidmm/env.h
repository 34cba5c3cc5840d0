/* SPDX-License-Identifier: MIT */
/* env.h — what a face (D3DKMT) needs around the core: to own the adapter, to wait, to reach client
 * memory. host implements it with a mutex and a worker thread, sim with one thread and virtual time. */
#ifndef VIDMM_ENV_H
#define VIDMM_ENV_H

#include <vidmm/types.h>

/* Asks for `fire(arg)` once `done(arg)` holds; both are called by the owner. The face keeps the memory
 * until then. */
struct vidmm_watch {
    bool (*done)(void *arg);
    void (*fire)(void *arg);
    void *arg;
    struct vidmm_watch *next; /* env's */
};

struct vidmm_env {
    void *ctx;
    /* Become and cease to be the owner of the adapter. Not recursive. Any thread. enter answers false
     * when the adapter cannot be owned any more (process forked, adapter removed). */
    bool (*enter)(void *ctx);
    void (*leave)(void *ctx); /* also lets the worker run: calls may have left work behind */
    /* Between enter and leave: gives the adapter up until done(arg), called by the owner after each
     * progress, answers true. false: gave up, the adapter is gone. */
    bool (*wait)(void *ctx, bool (*done)(void *arg), void *arg);
    void (*watch)(void *ctx, struct vidmm_watch *); /* between enter and leave */
    /* Client memory: false when any byte is not accessible; never probes by writing. Any thread. */
    bool (*copy_in)(void *ctx, void *dst, const void *client, size_t bytes);
    bool (*copy_out)(void *ctx, void *client, const void *src, size_t bytes);
    /* Signals a client's event object (a file descriptor on Linux). */
    bool (*event_signal)(void *ctx, uint64_t event);
    /* Bookkeeping memory of the face, zeroed. Any thread. */
    void *(*alloc)(void *ctx, size_t bytes);
    void (*free)(void *ctx, void *p, size_t bytes);
};

#endif
