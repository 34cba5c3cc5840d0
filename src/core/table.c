/* SPDX-License-Identifier: MIT */
/* table.c — the page-table tree of one space: which tables exist, where they are, who writes their entries.
 * Owns: space->tables and the limbo of unlinked tables. Calls: the driver's update_page_table (by runs),
 * pagepool, the platform's frames. Keeps: invariants 3, 4, 5.
 * Knows nothing of bindings: callers say how many pages below a leaf are bound. */
#include "core/core.h"

static uint64_t entry_bytes(const struct vidmm_adapter *ad, uint32_t level)
{
    return 1ull << ad->shift[level];
}

static uint32_t index_of(const struct vidmm_adapter *ad, uint32_t level, uint64_t va)
{
    uint64_t i = va >> ad->shift[level];
    return (uint32_t)(i & mask_low64(ad->info.level[level].index_bits));
}

/* ---- memory of tables ---- */

static bool table_pages_take(struct vidmm_adapter *ad, struct vmm_table *t)
{
    if (t->segment == VMM_SYSTEM) {
        uint64_t frame;
        vidmm_status st = ad->platform->sys_alloc(ad->platform->ctx, t->bytes / VIDMM_PAGE_SIZE, &frame);
        if (st != VIDMM_OK) return false;
        t->address = frame * VIDMM_PAGE_SIZE;
        t->cpu = ad->platform->sys_address(ad->platform->ctx, frame);
        return true;
    }
    struct vmm_segment *seg = &ad->segment[t->segment];
    uint32_t n = (uint32_t)div_up(t->bytes, 1ull << seg->page_shift);
    if (!vmm_tables_may_grow(ad, seg, n)) return false;
    uint32_t page = pagepool_alloc_run(&seg->pool, n, 1, true);
    if (page == PAGEPOOL_NONE) return false;
    t->address = (uint64_t)page << seg->page_shift;
    t->cpu = ad->ops->map_cpu_host_aperture(ad->kmd, t->segment, t->address, t->bytes);
    if (t->cpu == NULL) {
        pagepool_free(&seg->pool, page, n);
        return false;
    }
    seg->table_pages += n;
    return true;
}

static void table_pages_give(struct vidmm_adapter *ad, struct vmm_table *t)
{
    if (t->segment == VMM_SYSTEM) {
        ad->platform->sys_free(ad->platform->ctx, t->address / VIDMM_PAGE_SIZE, t->bytes / VIDMM_PAGE_SIZE);
        return;
    }
    struct vmm_segment *seg = &ad->segment[t->segment];
    uint32_t n = (uint32_t)div_up(t->bytes, 1ull << seg->page_shift);
    pagepool_free(&seg->pool, (uint32_t)(t->address >> seg->page_shift), n);
    seg->table_pages -= n;
}

static void count_table(struct vidmm_adapter *ad, const struct vmm_table *t, bool created)
{
    struct vidmm_counters *c = ad->counters;
    struct vidmm_segment_counters *s = &c->segment[min_u32(t->segment, VIDMM_COUNTERS_SEGMENTS - 1)];
    if (created) {
        c->tables_live++;
        c->tables_created++;
        s->tables += t->bytes;
        s->tables_peak = max_u64(s->tables_peak, s->tables);
    } else {
        c->tables_live--;
        c->tables_freed++;
        s->tables -= t->bytes;
    }
}

/* ---- entries ---- */

/* One driver call: entries of one table. */
static void write_entries(struct vmm_space *sp, struct vmm_table *t, uint32_t first, uint32_t count,
                          const struct vidmm_pte_run *runs, uint32_t n, uint64_t va)
{
    struct vidmm_update_page_table *u = &sp->tables.update;
    u->level = t->level;
    u->table.cpu_virtual = t->cpu;
    u->start_index = first;
    u->count = count;
    u->runs = runs;
    u->run_count = n;
    u->first_va = va;
    sp->ad->ops->update_page_table(sp->ad->kmd, u);
    sp->ad->counters->updates++;
    sp->ad->counters->runs += n;
    sp->ad->counters->entries_written += count;
}

static struct vidmm_pte_run invalid_run(struct vidmm_adapter *ad, uint32_t level, uint32_t count)
{
    struct vidmm_pte_kind kind = { .level = level };
    if (BROKEN(ad, VA_02) && level == 0) kind.flags = VIDMM_PTE_VALID | VIDMM_PTE_ZERO;
    struct vidmm_pte_run run = { .attr = ad->ops->pte_attr(ad->kmd, &kind), .count = count };
    return run;
}

static void write_invalid(struct vmm_space *sp, struct vmm_table *t, uint32_t first, uint32_t count,
                          uint32_t flags, uint64_t va)
{
    struct vidmm_pte_run run = invalid_run(sp->ad, t->level, count);
    sp->tables.update.flags = flags;
    write_entries(sp, t, first, count, &run, 1, va);
    sp->tables.update.flags = 0;
}

/* The parent's entry for va names the table, or nothing. */
static void write_parent(struct vmm_space *sp, struct vmm_table *parent, uint32_t index,
                         const struct vmm_table *child, uint64_t va)
{
    struct vidmm_adapter *ad = sp->ad;
    if (child == NULL) {
        write_invalid(sp, parent, index, 1, 0, va);
        return;
    }
    struct vidmm_pte_kind kind = { .level = parent->level,
                                   .flags = VIDMM_PTE_VALID,
                                   .segment = child->segment };
    if (BROKEN(ad, SEG_07)) kind.segment = VMM_SYSTEM;
    struct vidmm_pte_run run = { .address = child->address, .count = 1 };
    run.attr = ad->ops->pte_attr(ad->kmd, &kind);
    write_entries(sp, parent, index, 1, &run, 1, va);
}

/* ---- single tables ---- */

struct vmm_table *vmm_table_new(struct vmm_space *sp, uint32_t level, uint32_t entries)
{
    struct vidmm_adapter *ad = sp->ad;
    const struct vidmm_level_desc *d = &ad->info.level[level];
    struct vmm_table *t = vmm_new(ad, sizeof *t);
    if (t == NULL) return NULL;
    t->level = (uint8_t)level;
    t->segment = (uint8_t)(sp->proc == NULL ? d->paging_segment : d->segment);
    t->entries = entries;
    t->bytes = d->table_bytes;
    if (ad->info.level_count == 2 && level == 1)
        t->bytes = (uint32_t)ad->ops->get_root_page_table_size(ad->kmd, &t->entries);
    if (level > 0) t->child = vmm_new(ad, t->entries * sizeof *t->child);
    if ((level > 0 && t->child == NULL) || !table_pages_take(ad, t)) {
        vmm_delete(ad, t->child, t->entries * sizeof *t->child);
        vmm_delete(ad, t, sizeof *t);
        return NULL;
    }
    write_invalid(sp, t, 0, t->entries, VIDMM_UPDATE_INITIAL, 0); /* PT-06: before anything points to it */
    sp->tables.count++;
    count_table(ad, t, true);
    return t;
}

void vmm_table_free(struct vidmm_adapter *ad, struct vmm_table *t)
{
    count_table(ad, t, false);
    table_pages_give(ad, t);
    if (t->child != NULL) vmm_delete(ad, t->child, t->entries * sizeof *t->child);
    vmm_delete(ad, t, sizeof *t);
}

/* Unlinked: the page may be in walk caches until the space's next flush is done (inv. 5). */
static void table_retire(struct vmm_space *sp, struct vmm_table *t, struct range va)
{
    vmm_space_flush(sp, va);
    t->limbo_seq = sp->flush_seq;
    list_push_back(&sp->ad->limbo, &t->limbo);
    sp->tables.count--;
    if (sp->tables.cursor == t) sp->tables.cursor = NULL;
}

bool vmm_limbo_step(struct vidmm_adapter *ad)
{
    bool progress = false;
    LIST_FOREACH_SAFE(it, tmp, &ad->limbo) {
        struct vmm_table *t = list_entry(it, struct vmm_table, limbo);
        if (!vmm_batch_passed(ad, t->limbo_seq)) continue;
        list_remove(&t->limbo);
        if (!BROKEN(ad, ADP_05)) vmm_table_free(ad, t);
        progress = true;
    }
    return progress;
}

/* ---- the tree ---- */

vidmm_status vmm_tables_init(struct vmm_space *sp, uint32_t root_entries)
{
    struct vidmm_adapter *ad = sp->ad;
    uint32_t top = ad->info.level_count - 1;
    sp->tables.update.mode = VIDMM_UPDATE_CPU_VIRTUAL;
    sp->tables.update.process = sp->kmd_process;
    uint32_t full = 1u << ad->info.level[top].index_bits;
    sp->tables.root = vmm_table_new(sp, top, top == 1 ? min_u32(root_entries, full) : full);
    if (sp->tables.root == NULL) return VIDMM_NO_MEMORY;
    sp->tables.root_version = 1;
    return VIDMM_OK;
}

uint32_t vmm_tables_coverage(const struct vmm_space *sp) { return sp->tables.root->entries; }

/* Post-order over the tree without recursion: down to the first child, free on the way up. */
void vmm_tables_fini(struct vmm_space *sp)
{
    struct vmm_table *t = sp->tables.root;
    uint32_t at = 0;
    while (t != NULL) {
        uint32_t n = t->level > 0 ? t->entries : 0;
        while (at < n && t->child[at] == NULL) at++;
        if (at < n) {
            t = t->child[at];
            at = 0;
            continue;
        }
        struct vmm_table *parent = t->parent;
        at = t->index + 1;
        if (sp->ad->info.mmu_flags & VIDMM_MMU_EXPLICIT_INVALIDATION)
            write_invalid(sp, t, 0, t->entries, 0, 0);
        vmm_table_free(sp->ad, t);
        t = parent;
    }
    sp->tables.root = NULL;
    sp->tables.cursor = NULL;
}

struct vmm_table *vmm_leaf_find(const struct vmm_space *sp, uint64_t va)
{
    const struct vidmm_adapter *ad = sp->ad;
    struct vmm_table *t = sp->tables.root;
    uint64_t top = va >> ad->shift[t->level];
    if (top >= t->entries) return NULL;
    while (t != NULL && t->level > 0) t = t->child[index_of(ad, t->level, va)];
    return t;
}

static struct vmm_table *leaf_at(struct vmm_space *sp, uint64_t va)
{
    uint64_t start = va & ~(entry_bytes(sp->ad, 1) - 1);
    struct vmm_tables *tt = &sp->tables;
    if (tt->cursor != NULL && tt->cursor_start == start) return tt->cursor;
    struct vmm_table *t = vmm_leaf_find(sp, va);
    if (t == NULL) return NULL;
    tt->cursor = t;
    tt->cursor_start = start;
    return t;
}

/* Takes out `t` and every ancestor that becomes empty; the root stays. */
static void prune(struct vmm_space *sp, struct vmm_table *t, uint64_t va)
{
    struct vidmm_adapter *ad = sp->ad;
    while (t->parent != NULL && t->live == 0 && t->pins == 0) {
        struct vmm_table *parent = t->parent;
        uint64_t size = entry_bytes(ad, parent->level), start = va & ~(size - 1);
        bool explicit_invalid = (ad->info.mmu_flags & VIDMM_MMU_EXPLICIT_INVALIDATION) != 0;
        if (explicit_invalid) write_invalid(sp, t, 0, t->entries, 0, start);
        write_parent(sp, parent, t->index, NULL, start);
        parent->child[t->index] = NULL;
        parent->live--;
        t->parent = NULL;
        table_retire(sp, t, (struct range){ start, start + size });
        t = parent;
    }
}

/* Links a new table below t at va; NULL: no memory. */
static struct vmm_table *child_make(struct vmm_space *sp, struct vmm_table *t, uint32_t index, uint64_t va)
{
    struct vidmm_adapter *ad = sp->ad;
    uint32_t below = t->level - 1u;
    struct vmm_table *n = vmm_table_new(sp, below, 1u << ad->info.level[below].index_bits);
    if (n == NULL) return NULL;
    n->parent = t;
    n->index = index;
    t->child[index] = n;
    t->live++;
    uint64_t size = entry_bytes(ad, t->level), start = va & ~(size - 1);
    write_parent(sp, t, index, n, start);
    if (!(ad->info.mmu_flags & VIDMM_MMU_INVALID_NOT_CACHED))
        vmm_space_flush(sp, (struct range){ start, start + size });
    return n;
}

/* The leaf below va, created with its path; NULL: no memory, and nothing was left behind. */
static struct vmm_table *path_make(struct vmm_space *sp, uint64_t va)
{
    struct vmm_table *t = sp->tables.root;
    while (t->level > 0) {
        uint32_t i = index_of(sp->ad, t->level, va);
        struct vmm_table *below = t->child[i] != NULL ? t->child[i] : child_make(sp, t, i, va);
        if (below == NULL) {
            prune(sp, t, va);
            return NULL;
        }
        t = below;
    }
    return t;
}

vidmm_status vmm_tables_acquire(struct vmm_space *sp, struct range r)
{
    uint64_t size = entry_bytes(sp->ad, 1);
    uint64_t end_covered = (uint64_t)sp->tables.root->entries << sp->ad->shift[sp->tables.root->level];
    if (BROKEN(sp->ad, PT_01)) return VIDMM_OK;
    CHECK(r.end <= end_covered);
    for (uint64_t va = r.start & ~(size - 1); va < r.end; va += size) {
        struct vmm_table *leaf = path_make(sp, va);
        if (leaf == NULL) {
            if (va > r.start) vmm_tables_unpin(sp, (struct range){ r.start, va });
            return VIDMM_NO_MEMORY;
        }
        leaf->pins++;
    }
    return VIDMM_OK;
}

void vmm_tables_unpin(struct vmm_space *sp, struct range r)
{
    uint64_t size = entry_bytes(sp->ad, 1);
    if (BROKEN(sp->ad, PT_01)) return;
    for (uint64_t va = r.start & ~(size - 1); va < r.end; va += size) {
        struct vmm_table *leaf = vmm_leaf_find(sp, va);
        CHECK(leaf != NULL);
        CHECK(leaf->pins > 0);
        leaf->pins--;
        if (leaf->pins == 0 && leaf->live == 0) prune(sp, leaf, va);
    }
}

static uint64_t step_end(const struct vidmm_adapter *ad, uint64_t va, uint64_t end)
{
    uint64_t size = entry_bytes(ad, 1);
    return min_u64((va & ~(size - 1)) + size, end);
}

void vmm_tables_bind(struct vmm_space *sp, struct range r)
{
    for (uint64_t va = r.start, next; va < r.end; va = next) {
        next = step_end(sp->ad, va, r.end);
        struct vmm_table *leaf = leaf_at(sp, va);
        if (leaf == NULL && BROKEN(sp->ad, PT_01)) continue;
        CHECK(leaf != NULL);
        leaf->live += (uint32_t)((next - va) >> VIDMM_PAGE_SHIFT);
    }
}

/* A leaf that empties is dropped whole: its entries need not be written (PT-32). */
void vmm_tables_unbind(struct vmm_space *sp, struct range r, bool entries_valid)
{
    struct vidmm_adapter *ad = sp->ad;
    for (uint64_t va = r.start, next; va < r.end; va = next) {
        next = step_end(ad, va, r.end);
        struct vmm_table *leaf = leaf_at(sp, va);
        uint32_t n = (uint32_t)((next - va) >> VIDMM_PAGE_SHIFT);
        if (leaf == NULL && BROKEN(ad, PT_01)) continue;
        CHECK(leaf != NULL);
        CHECK(leaf->live >= n);
        leaf->live -= n;
        if (leaf->live == 0 && leaf->pins == 0) {
            prune(sp, leaf, va);
        } else if (entries_valid) {
            write_invalid(sp, leaf, index_of(ad, 0, va), n, 0, va);
            vmm_space_flush(sp, (struct range){ va, next });
        }
    }
}

void vmm_tables_write(struct vmm_space *sp, uint64_t va, const struct vidmm_pte_run *runs, uint32_t n)
{
    struct vidmm_adapter *ad = sp->ad;
    struct vidmm_pte_run part[VMM_RUNS];
    uint32_t used = 0; /* entries of runs[0] that were written already */
    while (n > 0) {
        struct vmm_table *leaf = leaf_at(sp, va);
        if (leaf == NULL && BROKEN(ad, PT_01)) return;
        CHECK(leaf != NULL);
        uint32_t first = index_of(ad, 0, va), room = leaf->entries - first, count = 0, k = 0;
        while (n > 0 && k < VMM_RUNS && count < room) {
            part[k] = runs[0];
            part[k].address += (uint64_t)used * part[k].step;
            part[k].count = min_u32(runs[0].count - used, room - count);
            count += part[k].count;
            used += part[k].count;
            k++;
            if (used == runs[0].count) {
                used = 0;
                runs++;
                n--;
            }
        }
        write_entries(sp, leaf, first, count, part, k, va);
        va += (uint64_t)count << VIDMM_PAGE_SHIFT;
        if (sp->tables.update.allocation != NULL)
            sp->tables.update.allocation_offset += (uint64_t)count << VIDMM_PAGE_SHIFT;
    }
}

/* Needs: every context of the space is idle (PT-09, PT-12). The old root is freed after a full flush. */
void vmm_root_swap(struct vmm_space *sp, struct vmm_table *nr)
{
    struct vmm_table *old = sp->tables.root;
    for (uint32_t i = 0; i < min_u32(old->entries, nr->entries); i++) {
        if (old->child[i] == NULL) continue;
        nr->child[i] = old->child[i];
        nr->child[i]->parent = nr;
        nr->live++;
        write_parent(sp, nr, i, nr->child[i], i * entry_bytes(sp->ad, 1));
    }
    CHECK(nr->live == old->live);
    sp->tables.root = nr;
    sp->tables.root_version++;
    sp->tables.cursor = NULL;
    sp->ad->counters->root_resizes++;
    if (sp->ad->info.mmu_flags & VIDMM_MMU_EXPLICIT_INVALIDATION)
        write_invalid(sp, old, 0, old->entries, 0, 0);
    vmm_space_flush(sp, (struct range){ 0, UINT64_MAX });
    old->limbo_seq = sp->flush_seq;
    list_push_back(&sp->ad->limbo, &old->limbo);
    sp->tables.count--;
}

void vmm_leaf_attach(struct vmm_space *sp, struct vmm_table *leaf)
{
    struct vmm_table *root = sp->tables.root;
    if (root->child[leaf->index] != NULL) { /* another request was first */
        root->child[leaf->index]->pins++;
        sp->tables.count--;
        vmm_table_free(sp->ad, leaf);
        return;
    }
    leaf->parent = root;
    leaf->pins = 1;
    root->child[leaf->index] = leaf;
    root->live++;
    uint64_t size = entry_bytes(sp->ad, 1), start = leaf->index * size;
    write_parent(sp, root, leaf->index, leaf, start);
    if (!(sp->ad->info.mmu_flags & VIDMM_MMU_INVALID_NOT_CACHED))
        vmm_space_flush(sp, (struct range){ start, start + size });
}

uint32_t vmm_root_used(const struct vmm_space *sp)
{
    const struct vmm_table *root = sp->tables.root;
    uint32_t n = root->entries;
    while (n > 0 && root->child[n - 1] == NULL) n--;
    return n;
}
