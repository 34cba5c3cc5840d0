/* SPDX-License-Identifier: MIT */
/* handle.h - the numbers by which a client names objects: one table per process.
 * Owns: its slots.  Calls: the memory hook, in handle_create only.
 *
 * A handle is 32 bits: 31..30 are not zero, 29..6 a value, 5..0 zero (2 in a table of global handles).
 * A freed value is not issued again before HANDLE_QUARANTINE later creations in the table, so that a stale
 * handle names nothing for a long time.  Closing never needs memory and never fails; a table in which fewer
 * than HANDLE_OPEN_MAX handles are open has room for another one, whatever happened before. */
#ifndef VIDMM_KMT_HANDLE_H
#define VIDMM_KMT_HANDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"

#define HANDLE_VALUE_BITS 24u
#define HANDLE_VALUES (1u << HANDLE_VALUE_BITS)
#define HANDLE_QUARANTINE (1u << 22)
#define HANDLE_OPEN_MAX (1u << 22)
#define HANDLE_ENTRIES_MAX (3u * HANDLE_QUARANTINE - 16u) /* open handles and retired values together */

enum handle_scope { HANDLE_LOCAL = 0, HANDLE_GLOBAL = 2 }; /* bits 5..0 */

struct handle_slot {
    void *object;  /* of a retired one: the number of creations at its closing */
    uint32_t value;
    uint32_t kind; /* HANDLE_EMPTY, HANDLE_RETIRED, or the caller's kind */
};

struct handle_table {
    struct base_memory memory;
    struct handle_slot *slot; /* open addressing, linear probing; a power of two, at most half full */
    uint32_t slots, used;     /* used: open + retired */
    uint32_t open;
    uint32_t next;            /* the value that is tried first at the next creation */
    uint32_t scope;
    uint32_t created;         /* creations so far, modulo 2^32 */
    uint32_t entries_max;     /* HANDLE_ENTRIES_MAX, or a test's */
};

void handle_table_init(struct handle_table *, const struct base_memory *, enum handle_scope);
/* Frees the slots; objects are the caller's. */
void handle_table_destroy(struct handle_table *);

/* kind is not 0 and less than 2^31; object is not NULL.  Gives 0 when there is no memory or the table is
 * full: nothing has changed then. */
uint32_t handle_create(struct handle_table *, uint32_t kind, void *object);
/* The object behind a handle of this kind, or NULL: never issued, closed, another kind, any other number. */
void *handle_lookup(const struct handle_table *, uint32_t handle, uint32_t kind);
/* The kind of an open handle, 0 for anything else. */
uint32_t handle_kind(const struct handle_table *, uint32_t handle);
/* true: it was open and of this kind, and is closed now. */
bool handle_close(struct handle_table *, uint32_t handle, uint32_t kind);

/* Walks the open handles in no particular order: start with *cursor = 0; NULL at the end.  Closing the handle
 * just given is not allowed before the walk is over. */
void *handle_next(const struct handle_table *, uint32_t *cursor, uint32_t *handle, uint32_t *kind);

#endif
