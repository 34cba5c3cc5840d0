/* SPDX-License-Identifier: MIT */
/* inside.h - what the files of a world share; nobody else includes it. */
#ifndef SIM_INSIDE_H
#define SIM_INSIDE_H

#include "sim/world.h"

#define FRAME_FIRST 16u         /* frame numbers start here: a frame is never its own index */
#define IMPORT_FRAMES 16384u    /* client pages that can be imported at once */

enum frame_state { FRAME_CLEAN, FRAME_DIRTY /* free, but used before */, FRAME_USED };

struct block;

struct fail_plan { uint64_t after, failed; bool armed, forever; };

struct world {
    struct vidmm_platform platform;
    struct world_accounts accounts;
    uint64_t random, trace, now;
    /* turns */
    struct world_actor actor[WORLD_ACTORS_MAX];
    uint32_t actor_count, quiet;
    struct vidmm_adapter *adapter;
    uint64_t core_next;
    bool poked, entered;
    struct vidmm_watch *watches;
    uint64_t events[WORLD_EVENTS_MAX];
    /* memory.c */
    struct fail_plan fail[WORLD_SERVICES];
    struct block *blocks;
    void *arena_raw;
    uint8_t *arena, **import;      /* host address of arena frames; of each imported frame */
    uint8_t *state, *access;       /* per frame, arena first, imports behind */
    uint64_t frames, next_frame, next_import;
    uint64_t guarded;              /* frames whose access is not WORLD_NORMAL */
    const uint8_t *watched;
    uint64_t watched_bytes, watched_copies;
};

bool memory_create(struct world *, uint64_t frames);
void memory_destroy(struct world *);

#endif
