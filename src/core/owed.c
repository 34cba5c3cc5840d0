/* SPDX-License-Identifier: MIT */
/* owed.c — page-table entries that the GPU writes (update modes GPU_VIRTUAL and GPU_PHYSICAL): which entries
 * of which tables it has yet to write, and the operations that write them.
 * Owns: space->owed, the struct vmm_owed behind each table, adapter->slot. Calls: bind.c, syspage.c.
 * Keeps: invariants 3, 4, 5.
 *
 * Nothing here remembers what an entry shall be. It is derived when its operation is built: what changed
 * twice is written once, and memory is never needed for it. Lower tables come first, so an entry never names
 * a table whose content has not been written. The GPU reaches tables by segment and offset, or (GPU_VIRTUAL)
 * through the paging space: up to VMM_SLOTS of them are shown in its window 2 at a time (PT-37). */
#include "core/core.h"

void vmm_owe_entries(struct vmm_space *sp, struct vmm_table *t, uint32_t first, uint32_t count, bool fresh)
{
    struct vidmm_adapter *ad = sp->ad;
    struct vmm_owed *o = vmm_owed_of(t);
    o->table = t;
    if (fresh) {
        o->fresh = true;
    } else {
        bool none = o->first == o->end;
        o->first = none ? first : min_u32(o->first, first);
        o->end = none ? first + count : max_u32(o->end, first + count);
    }
    if (!list_is_linked(&o->link)) list_push_back(&sp->owed[t->level], &o->link);
    if (!list_is_linked(&sp->on_flush)) list_push_back(&ad->flush_spaces, &sp->on_flush);
    t->limbo_seq = sp->flush_seq = ad->batch_next;
}

/* The lowest table first; NULL: nothing is owed. */
static struct vmm_owed *first_owed(const struct vmm_space *sp)
{
    for (uint32_t i = 0; i < sp->ad->info.level_count; i++) {
        struct list *l = list_first(&sp->owed[i]);
        if (l != NULL) return list_entry(l, struct vmm_owed, link);
    }
    return NULL;
}

bool vmm_owed_any(const struct vmm_space *sp) { return first_owed(sp) != NULL; }

static void forget(struct vmm_owed *o)
{
    list_remove(&o->link);
    o->first = o->end = 0;
    o->fresh = false;
}

void vmm_owed_forget(struct vmm_space *sp)
{
    for (struct vmm_owed *o = first_owed(sp); o != NULL; o = first_owed(sp)) forget(o);
}

/* ---- the table behind what is owed ---- */

static const struct vmm_slot *slot_of(const struct vidmm_adapter *ad, const struct vmm_table *t)
{
    for (uint32_t i = 0; i < ad->slot_count; i++)
        if (ad->slot[i].table == t) return &ad->slot[i];
    return NULL;
}

struct vmm_owed *vmm_owed_leaf(const struct vmm_space *sp, const struct vmm_owed *after)
{
    const struct list *at = after != NULL ? after->link.next : sp->owed[0].next;
    return at != &sp->owed[0] ? list_entry(at, struct vmm_owed, link) : NULL;
}

void vmm_owed_advance(struct vmm_owed *o, uint32_t entries)
{
    o->first += entries;
    if (o->first == o->end) forget(o);
}

void vmm_owe_range(struct vmm_space *sp, struct range r)
{
    uint64_t bytes = 1ull << sp->ad->shift[1];
    for (uint64_t va = r.start, next; va < r.end; va = next) {
        next = min_u64((va & ~(bytes - 1)) + bytes, r.end);
        struct vmm_table *leaf = vmm_leaf_find(sp, va);
        uint32_t first = (uint32_t)((va & (bytes - 1)) >> VIDMM_PAGE_SHIFT);
        uint32_t n = (uint32_t)((next - va) >> VIDMM_PAGE_SHIFT);
        if (leaf != NULL) vmm_owe_entries(sp, leaf, first, n, false);
    }
}

/* A table that never got a single entry can go at once: the GPU does not know of it. */
bool vmm_owed_drop(struct vidmm_adapter *ad, struct vmm_table *t)
{
    struct vmm_owed *o = vmm_owed_of(t);
    bool unknown = o->fresh && slot_of(ad, t) == NULL;
    forget(o);
    if (unknown || vmm_batch_passed(ad, t->limbo_seq)) return true;
    if (t->limbo_seq == ad->batch_next) ad->batch_open = true;
    list_push_back(&ad->limbo, &t->limbo);
    t->parent = NULL;
    return false;
}

/* ---- where the engine finds tables ---- */

/* What was shown before has been written by then: the engine works in order. */
static void show_tables(struct vmm_space *sp)
{
    struct vidmm_adapter *ad = sp->ad;
    uint64_t va = VMM_SCRATCH_START + VMM_TABLES_WINDOW * VMM_SCRATCH_WINDOW, end = va + VMM_SCRATCH_WINDOW;
    ad->slot_count = 0;
    for (uint32_t i = 0; i < ad->info.level_count; i++) {
        LIST_FOREACH(it, &sp->owed[i]) {
            struct vmm_table *t = list_entry(it, struct vmm_owed, link)->table;
            if (ad->slot_count == VMM_SLOTS || t->bytes > end - va) continue;
            ad->slot[ad->slot_count++] = (struct vmm_slot){ t, va };
            va += t->bytes;
        }
    }
    vmm_scratch_show_tables(ad);
}

/* false: it has to be shown first. */
static bool name_table(struct vmm_space *sp, const struct vmm_table *t, struct vidmm_update_page_table *u)
{
    struct vidmm_adapter *ad = sp->ad;
    if (u->mode == VIDMM_UPDATE_GPU_PHYSICAL) {
        u->table.gpu_physical = (struct vidmm_gpu_address){ t->segment, t->address };
        return true;
    }
    if (sp == &ad->paging) {
        u->table.gpu_virtual = vmm_paging_table_va(ad, t);
        return true;
    }
    const struct vmm_slot *s = slot_of(ad, t);
    if (s != NULL) u->table.gpu_virtual = s->va;
    return s != NULL;
}

/* ---- what entries are to be ---- */

static void derive_links(struct vmm_space *sp, const struct vmm_table *t, struct vidmm_update_page_table *u,
                         struct vidmm_pte_run *runs, bool linked)
{
    uint32_t at = u->start_index, end = at + u->count;
    for (u->run_count = 0; u->run_count < VMM_RUNS && at < end; u->run_count++) {
        struct vidmm_pte_run *run = &runs[u->run_count];
        uint32_t from = at;
        while (at < end && (!linked || t->child[at] == NULL)) at++;
        if (at > from) {
            *run = sp->tables.invalid[t->level];
            run->count = at - from;
            continue;
        }
        *run = sp->tables.link[t->level];
        run->address = t->child[at++]->address;
    }
    u->count = at - u->start_index;
}

static void derive_pages(struct vmm_space *sp, const struct vmm_table *t, struct vidmm_update_page_table *u,
                         struct vidmm_pte_run *runs)
{
    uint64_t start = vmm_table_start(sp, t), va = start + ((uint64_t)u->start_index << VIDMM_PAGE_SHIFT);
    uint64_t end = va + ((uint64_t)u->count << VIDMM_PAGE_SHIFT);
    u->run_count = 1;
    if (sp->proc == NULL) end = vmm_scratch_derive(sp->ad, va, end, u, runs);
    else if (!vmm_privileged_derive(sp, va, &end, runs)) end = vmm_bind_derive(sp, va, end, u, runs);
    u->first_va = va;
    u->count = (uint32_t)((end - va) >> VIDMM_PAGE_SHIFT);
}

static void derive(struct vmm_space *sp, const struct vmm_table *t, struct vidmm_update_page_table *u,
                   struct vidmm_pte_run *runs)
{
    bool linked = !sp->dropped && (t == sp->tables.root || t->parent != NULL);
    if (t->level > 0) {
        derive_links(sp, t, u, runs, linked);
    } else if (linked) {
        derive_pages(sp, t, u, runs);
    } else {
        runs[0] = sp->tables.invalid[0];
        runs[0].count = u->count;
        u->run_count = 1;
    }
}

enum vmm_owed_next vmm_owed_take(struct vmm_space *sp, struct vmm_emission *e)
{
    struct vmm_owed *o = first_owed(sp);
    struct vidmm_update_page_table u = sp->tables.update;
    if (o == NULL) return OWED_NOTHING;
    struct vmm_table *t = o->table;
    if (!name_table(sp, t, &u)) {
        show_tables(sp);
        return OWED_SHOWN;
    }
    u.level = t->level;
    u.flags = o->fresh ? VIDMM_UPDATE_INITIAL : 0; /* PT-06 */
    u.start_index = o->fresh ? 0 : o->first;
    u.count = o->fresh ? t->entries : o->end - o->first;
    u.runs = e->run;
    if (o->fresh) {
        u.run_count = 1;
        e->run[0] = sp->tables.invalid[t->level];
        e->run[0].count = u.count;
    } else {
        derive(sp, t, &u, e->run);
    }
    uint32_t written = o->fresh ? 0 : u.count;
    o->fresh = false;
    vmm_owed_advance(o, written);
    sp->ad->counters->updates++;
    sp->ad->counters->runs += u.run_count;
    sp->ad->counters->entries_written += u.count;
    e->op = (struct vidmm_op){ .code = VIDMM_OP_UPDATE_PAGE_TABLE, .update = u };
    return OWED_OP;
}
