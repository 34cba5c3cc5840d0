/* SPDX-License-Identifier: MIT */
/* fake_core.h - a core and an environment for testing the face alone: every core object is a piece of memory
 * that knows its kind and its parent, so that a use after destruction or of the wrong kind is caught. */
#ifndef VIDMM_TEST_FAKE_CORE_H
#define VIDMM_TEST_FAKE_CORE_H

#include <vidmm/env.h>
#include <vidmm/vidmm.h>

struct fake {
    int64_t objects;        /* core objects alive */
    int64_t env_bytes;      /* face memory in use */
    uint64_t allocs, fail_alloc_at; /* the n-th allocation of the face fails; 0: none */
    uint64_t core_calls, fail_core_at;
    vidmm_status fail_status;
    bool owned;             /* between enter and leave */
    bool removed;           /* enter answers false */
    bool lost;              /* devices are in error */
    bool gone;              /* the adapter was removed */
    bool pending;           /* asynchronous services answer PENDING */
    uint64_t wait_steps;    /* of the last wait */
    void (*on_wait)(void);  /* called once per step of a wait: another client acts */
    uint64_t events;        /* signalled */
    struct vidmm_watch *watches;
    uint64_t last_submit_va;
    uint32_t last_submit_contexts;
    uint32_t last_close_flags, last_open_flags;
    struct vidmm_tile_op update;   /* the last one of the last call, and its other arguments */
    uint64_t update_value;
    uint32_t update_flags;
    uint32_t last_max;      /* of a semaphore */
    uint32_t last_signal_contexts, last_signal_flags;
};
extern struct fake fake;

/* Client memory: [client, client + CLIENT_BYTES) is readable, all but the last page writable. */
#define CLIENT_BYTES (1u << 16)
extern _Alignas(4096) uint8_t client[CLIENT_BYTES];

extern const struct vidmm_env fake_env;
struct vidmm_adapter *fake_adapter(void);
void fake_reset(void);
/* Locks on the open that vidmm_open_lock gave as the address. */
uint64_t fake_locks(const void *cpu);
/* Fires what is due. */
void fake_poll(void);

#endif
