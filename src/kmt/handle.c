/* SPDX-License-Identifier: MIT */
/* handle.c - the handle table.  See handle.h.
 *
 * Values are issued in a circle: each creation takes the next one that is not in the table.  A value that is
 * closed shortly after it was issued is far behind the issuing point; it may be forgotten at once, the circle
 * needs nearly 2^24 creations to come back to it.  A value closed when the issuing point is about to reach it
 * (an old object) must not be: it stays in the table as RETIRED, is skipped when its turn comes, and is
 * forgotten there; its next turn is a whole circle later.
 *
 *      issued long ago ...                 next                 v: closed now, distance d ahead of next
 *   ---------------------------------------|--------------------x--------------------> circle of 2^24
 *
 * d >= used + QUARANTINE: at most `used` values in between are skipped, since nothing is inserted ahead of
 * next; so at least QUARANTINE creations happen first: forgotten at once.  Otherwise retired.
 *
 * The limit of entries is never the end: a retired value whose QUARANTINE creations are over may be forgotten
 * wherever it lies, and those that are still resting were all closed within the last QUARANTINE creations, so
 * together with the open ones they are at most OPEN_MAX + QUARANTINE. */
#include "kmt/handle.h"

#include <stddef.h>
#include <string.h>

enum { HANDLE_EMPTY = 0 };
#define HANDLE_RETIRED 0x80000000u
#define SLOTS_MIN 64u
#define TAG 0x40000000u

_Static_assert(HANDLE_ENTRIES_MAX > HANDLE_OPEN_MAX + HANDLE_QUARANTINE, "the argument above needs it");
_Static_assert(HANDLE_VALUES > HANDLE_ENTRIES_MAX + HANDLE_QUARANTINE, "a circle outlasts a quarantine");

void handle_table_init(struct handle_table *t, const struct base_memory *memory, enum handle_scope scope)
{
    memset(t, 0, sizeof *t);
    t->memory = *memory;
    t->next = 1;
    t->scope = (uint32_t)scope;
    t->entries_max = HANDLE_ENTRIES_MAX;
}

void handle_table_destroy(struct handle_table *t)
{
    memory_free(&t->memory, t->slot, (size_t)t->slots * sizeof *t->slot);
    t->slot = NULL;
    t->slots = t->used = t->open = 0;
}

/* Consecutive values spread over the table: multiplication by an odd number permutes the low bits. */
static uint32_t home_of(const struct handle_table *t, uint32_t value)
{
    return (value * 0x9e3779b1u) & (t->slots - 1);
}

static struct handle_slot *find_value(const struct handle_table *t, uint32_t value)
{
    if (t->slots == 0) return NULL;
    for (uint32_t i = home_of(t, value);; i = (i + 1) & (t->slots - 1)) {
        if (t->slot[i].kind == HANDLE_EMPTY) return NULL;
        if (t->slot[i].value == value) return &t->slot[i];
    }
}

static void insert(struct handle_table *t, uint32_t value, uint32_t kind, void *object)
{
    uint32_t i = home_of(t, value);
    while (t->slot[i].kind != HANDLE_EMPTY) i = (i + 1) & (t->slots - 1);
    t->slot[i] = (struct handle_slot){object, value, kind};
    t->used++;
}

/* Empties a slot and moves later entries of the same probe run back, so that no search ends early. */
static void erase(struct handle_table *t, struct handle_slot *s)
{
    uint32_t mask = t->slots - 1, hole = (uint32_t)(s - t->slot);
    for (uint32_t i = (hole + 1) & mask; t->slot[i].kind != HANDLE_EMPTY; i = (i + 1) & mask) {
        uint32_t home = home_of(t, t->slot[i].value);
        if (((i - home) & mask) < ((i - hole) & mask)) continue; /* its home lies behind the hole: it stays */
        t->slot[hole] = t->slot[i];
        hole = i;
    }
    t->slot[hole] = (struct handle_slot){NULL, 0, HANDLE_EMPTY};
    t->used--;
}

static bool grow(struct handle_table *t)
{
    uint32_t slots = t->slots != 0 ? t->slots * 2 : SLOTS_MIN;
    size_t bytes = (size_t)slots * sizeof *t->slot;
    struct handle_slot *fresh = memory_alloc(&t->memory, bytes, _Alignof(struct handle_slot));
    if (fresh == NULL) return false;
    memset(fresh, 0, bytes);
    struct handle_slot *old = t->slot;
    uint32_t old_slots = t->slots;
    t->slot = fresh;
    t->slots = slots;
    t->used = 0;
    for (uint32_t i = 0; i < old_slots; i++) {
        if (old[i].kind != HANDLE_EMPTY) insert(t, old[i].value, old[i].kind, old[i].object);
    }
    memory_free(&t->memory, old, (size_t)old_slots * sizeof *old);
    return true;
}

/* Forgets retired values that have rested long enough.  Rare: each time at least a third of a full table
 * goes.  What erase moves comes to where we look again, or lies ahead. */
static void sweep(struct handle_table *t)
{
    for (uint32_t i = 0; i < t->slots; i++) {
        struct handle_slot *s = &t->slot[i];
        while (s->kind == HANDLE_RETIRED
               && t->created - (uint32_t)(uintptr_t)s->object >= HANDLE_QUARANTINE)
            erase(t, s);
    }
}

static uint32_t next_value(uint32_t value)
{
    value = (value + 1) & (HANDLE_VALUES - 1);
    return value != 0 ? value : 1; /* value 0 is left out: a handle is more than its tag */
}

uint32_t handle_create(struct handle_table *t, uint32_t kind, void *object)
{
    if (t->open >= HANDLE_OPEN_MAX) return 0;
    if (t->used >= t->entries_max) sweep(t);
    if (t->used >= t->entries_max) return 0;
    if (t->used + 1 > t->slots / 2 && !grow(t)) return 0;
    uint32_t value = t->next;
    for (struct handle_slot *s; (s = find_value(t, value)) != NULL; value = next_value(value)) {
        if (s->kind == HANDLE_RETIRED) erase(t, s); /* its quarantine is the circle that begins here */
    }
    insert(t, value, kind, object);
    t->open++;
    t->created++;
    t->next = next_value(value);
    return TAG | value << 6 | t->scope;
}

static struct handle_slot *find_open(const struct handle_table *t, uint32_t handle)
{
    if ((handle & 0xc000003fu) != (TAG | t->scope)) return NULL;
    struct handle_slot *s = find_value(t, handle >> 6 & (HANDLE_VALUES - 1));
    return s != NULL && s->kind != HANDLE_RETIRED ? s : NULL;
}

void *handle_lookup(const struct handle_table *t, uint32_t handle, uint32_t kind)
{
    const struct handle_slot *s = find_open(t, handle);
    return s != NULL && s->kind == kind ? s->object : NULL;
}

uint32_t handle_kind(const struct handle_table *t, uint32_t handle)
{
    const struct handle_slot *s = find_open(t, handle);
    return s != NULL ? s->kind : 0;
}

bool handle_close(struct handle_table *t, uint32_t handle, uint32_t kind)
{
    struct handle_slot *s = find_open(t, handle);
    if (s == NULL || s->kind != kind) return false;
    t->open--;
    uint32_t ahead = (s->value - t->next) & (HANDLE_VALUES - 1);
    if (ahead < t->used + HANDLE_QUARANTINE) {
        s->kind = HANDLE_RETIRED;
        s->object = (void *)(uintptr_t)t->created;
    } else {
        erase(t, s);
    }
    return true;
}

void *handle_next(const struct handle_table *t, uint32_t *cursor, uint32_t *handle, uint32_t *kind)
{
    while (*cursor < t->slots) {
        const struct handle_slot *s = &t->slot[(*cursor)++];
        if (s->kind == HANDLE_EMPTY || s->kind == HANDLE_RETIRED) continue;
        *handle = TAG | s->value << 6 | t->scope;
        *kind = s->kind;
        return s->object;
    }
    return NULL;
}
