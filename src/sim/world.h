/* SPDX-License-Identifier: MIT */
/* world.h - a simulated world in one thread: memory, clock, chance and the order in which things happen.
 * Owns: bookkeeping blocks, system frames, the virtual clock, the random numbers, the trace hash.
 * Calls: vidmm_run, and the steps that a composition root registers (engines, clients).
 * Nothing here knows a device model: engines come in as callbacks. Same seed, same calls: same trace. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <vidmm/env.h>
#include <vidmm/platform.h>
#include <vidmm/vidmm.h>

#define WORLD_ACTORS_MAX 16u
#define WORLD_EVENTS_MAX 64u

struct world;

struct world_options {
    uint64_t seed;
    uint64_t frames;        /* 4 KiB frames of system memory; 0: 65536. Backed when touched */
};

/* Somebody who can take a bounded step. step: true = did something. wake (may be NULL): earliest time at
 * which a waiting actor can go on by itself, UINT64_MAX = not by time. */
struct world_actor {
    bool (*step)(void *ctx);
    uint64_t (*wake)(void *ctx);
    void *ctx;
};

struct world *world_create(const struct world_options *); /* NULL: no memory */
void world_destroy(struct world *);
const struct vidmm_platform *world_platform(struct world *);
void world_env(struct world *, struct vidmm_env *out);
void world_set_iommu(struct world *, const struct vidmm_iommu *); /* before the adapter is made; NULL: none */

/* ---- who acts ---------------------------------------------------------------------------------- */

void world_add_actor(struct world *, const struct world_actor *);
void world_own(struct world *, struct vidmm_adapter *); /* the adapter that turns run; NULL: none */
/* One turn of somebody chosen by chance; the clock moves on a little. Jumps to the next deadline when
 * nobody can act. false: nobody can act any more, now or later. */
bool world_turn(struct world *);
/* Turns until nothing is left to do. false: still busy after max_turns. */
bool world_settle(struct world *, uint64_t max_turns);
/* Turns until done(arg). false: it never became true (nothing left to do, or max_turns). */
bool world_until(struct world *, uint64_t max_turns, bool (*done)(void *arg), void *arg);
/* The clock, in ns; never goes back. now_ns has the shape that device models ask for. */
uint64_t world_now_ns(void *world);
void world_advance(struct world *, uint64_t ns);

/* ---- chance and trace -------------------------------------------------------------------------- */

uint64_t world_random(struct world *);
uint64_t world_below(struct world *, uint64_t n); /* [0, n); n > 0 */
void world_trace(struct world *, uint64_t value);
uint64_t world_trace_hash(const struct world *);

/* ---- failures ---------------------------------------------------------------------------------- */

enum world_service { WORLD_ALLOC, WORLD_FRAMES /* sys_alloc and sys_import */, WORLD_SERVICES };
/* The k-th call from now on fails (k >= 1); forever: and every later one. k = 0: nothing fails. */
void world_fail(struct world *, enum world_service, uint64_t k, bool forever);
uint64_t world_failed(const struct world *, enum world_service); /* failures since world_fail */

/* What `copy` meets in system frames. The bytes stay; platform->copy answers false for them. */
enum world_access { WORLD_NORMAL, WORLD_READ_ONLY, WORLD_GONE };
void world_set_access(struct world *, uint64_t frame, uint64_t pages, enum world_access);
/* The same for client memory by address; false: those bytes were never imported. */
bool world_set_client_access(struct world *, const void *host, uint64_t pages, enum world_access);

/* ---- accounts ---------------------------------------------------------------------------------- */

struct world_accounts {
    uint64_t blocks, bytes;        /* bookkeeping memory in use */
    uint64_t frames, imported;     /* system frames in use; client frames imported */
    uint64_t errors;               /* frees of what was not taken, with another size, twice */
    uint64_t copies;               /* calls of platform->copy */
    uint64_t pokes;
    uint64_t runs;                 /* calls of vidmm_run */
};
void world_get_accounts(const struct world *, struct world_accounts *);
/* Every copy that touches [host, host + bytes) from now on is counted; bytes 0: off. */
void world_watch_copies(struct world *, const void *host, uint64_t bytes);
uint64_t world_watched_copies(const struct world *);
uint64_t world_event_count(const struct world *, uint64_t event); /* env.event_signal(event) so far */

#endif
