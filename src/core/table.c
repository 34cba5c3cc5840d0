/* SPDX-License-Identifier: MIT */
/* table.c — the page-table tree of one space: which tables exist, where they are, who writes their entries.
 * Owns: space->tables and the limbo of unlinked tables. Calls: the driver's update_page_table (by runs),
 * pagepool, the platform's frames. Keeps: invariants 3, 4, 5.
 * Knows nothing of bindings: callers say which pages they need tables for, and what the entries are.
 *
 * Maps and unmaps of neighbours come in sequences, so the leaf used last is remembered (the cursor) and the
 * functions of the hot path begin with it; everything else walks down from the root. */
#include "core/core.h"

/* Keeps the registers that a rare case needs out of the frequent one. */
#define NOINLINE __attribute__((noinline))

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

static bool table_pages_take(struct vidmm_adapter *ad, struct vmm_table *t, bool cpu_writes)
{
    if (t->segment == VMM_SYSTEM) {
        struct vmm_frames f;
        if (vmm_frames_take(ad, t->bytes / VIDMM_PAGE_SIZE, &f) != VIDMM_OK) return false;
        t->address = f.logical * VIDMM_PAGE_SIZE;
        t->cpu = ad->platform->sys_address(ad->platform->ctx, f.frame);
        return true;
    }
    struct vmm_segment *seg = &ad->segment[t->segment];
    uint32_t n = (uint32_t)div_up(t->bytes, 1ull << seg->page_shift);
    if (!vmm_tables_may_grow(ad, seg, n)) return false;
    uint32_t page = pagepool_alloc_run(&seg->pool, n, 1, true);
    if (page == PAGEPOOL_NONE) return false;
    t->address = (uint64_t)page << seg->page_shift;
    if (ad->ops->map_cpu_host_aperture != NULL)
        t->cpu = ad->ops->map_cpu_host_aperture(ad->kmd, t->segment, t->address, t->bytes);
    if (t->cpu == NULL && cpu_writes) {
        pagepool_free(&seg->pool, page, n);
        return false;
    }
    seg->table_pages += n;
    return true;
}

static void table_pages_give(struct vidmm_adapter *ad, struct vmm_table *t)
{
    if (t->segment == VMM_SYSTEM) {
        struct vmm_frames f = { .pages = t->bytes / VIDMM_PAGE_SIZE };
        f.logical = t->address / VIDMM_PAGE_SIZE;
        f.frame = vmm_logical_frame(ad, f.logical, f.pages);
        vmm_frames_give(ad, &f);
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

/* One driver call: entries of one table. Those that the GPU writes are derived when their turn comes. */
static inline void write_entries(struct vmm_space *sp, struct vmm_table *t, uint32_t first, uint32_t count,
                                 const struct vidmm_pte_run *runs, uint32_t n, uint64_t va)
{
    struct vidmm_update_page_table *u = &sp->tables.update;
    struct vidmm_adapter *ad = sp->ad;
    struct vidmm_counters *c = ad->counters;
    if (ad->silent) return;
    if (u->mode != VIDMM_UPDATE_CPU_VIRTUAL) {
        vmm_owe_entries(sp, t, first, count, (u->flags & VIDMM_UPDATE_INITIAL) != 0);
        return;
    }
    if (sp->tables.described != t) {
        sp->tables.described = t;
        u->level = t->level;
        u->table.cpu_virtual = t->cpu;
    }
    u->start_index = first;
    u->count = count;
    u->runs = runs;
    u->run_count = n;
    u->first_va = va;
    c->updates++;
    c->runs += n;
    c->entries_written += count;
    ad->ops->update_page_table(ad->kmd, u);
}

static inline void write_invalid(struct vmm_space *sp, struct vmm_table *t, uint32_t level, uint32_t first,
                                 uint32_t count, uint64_t va)
{
    struct vidmm_pte_run *run = &sp->tables.invalid[level];
    run->count = count;
    write_entries(sp, t, first, count, run, 1, va);
}

static NOINLINE void write_all_invalid(struct vmm_space *sp, struct vmm_table *t, uint64_t va)
{
    write_invalid(sp, t, t->level, 0, t->entries, va);
}

/* The parent's entry for va names the table. */
static void write_parent(struct vmm_space *sp, struct vmm_table *parent, uint32_t index,
                         const struct vmm_table *child, uint64_t va)
{
    struct vidmm_pte_run *run = &sp->tables.link[parent->level];
    run->address = child->address;
    write_entries(sp, parent, index, 1, run, 1, va);
}

static uint32_t table_segment(const struct vmm_space *sp, uint32_t level)
{
    const struct vidmm_level_desc *d = &sp->ad->info.level[level];
    if (sp->ad->lost) return VMM_SYSTEM; /* a gpu of a link that is gone: nobody reads them */
    return sp->proc == NULL ? d->paging_segment : d->segment;
}

/* What an invalid entry and one that names a table look like never changes in a space: asked once. */
static void ask_attributes(struct vmm_space *sp)
{
    struct vidmm_adapter *ad = sp->ad;
    for (uint32_t level = 0; level < ad->info.level_count; level++) {
        struct vidmm_pte_kind kind = { .level = level };
        if (BROKEN(ad, VA_02) && level == 0) kind.flags = VIDMM_PTE_VALID | VIDMM_PTE_ZERO;
        sp->tables.invalid[level].attr = ad->ops->pte_attr(ad->kmd, &kind);
        if (level == 0) continue;
        kind.flags = VIDMM_PTE_VALID;
        kind.segment = BROKEN(ad, SEG_07) ? VMM_SYSTEM : table_segment(sp, level - 1);
        if (kind.segment != VMM_SYSTEM) kind.gpu = ad->gpu; /* tables are in each gpu's own memory */
        sp->tables.link[level] = (struct vidmm_pte_run){ .count = 1 };
        sp->tables.link[level].attr = ad->ops->pte_attr(ad->kmd, &kind);
    }
}

/* ---- single tables ---- */

static size_t struct_bytes(const struct vidmm_adapter *ad, uint32_t entries)
{
    size_t owed = vmm_gpu_writes(ad) ? sizeof(struct vmm_owed) : 0;
    return sizeof(struct vmm_table) + entries * sizeof(struct vmm_table *) + owed;
}

void vmm_leaves_init(struct vidmm_adapter *ad)
{
    slab_init(&ad->leaves, struct_bytes(ad, 0), 64, &ad->memory);
}

static struct vmm_table *struct_take(struct vidmm_adapter *ad, uint32_t level, uint32_t entries)
{
    CHECK(!ad->sealed); /* inv. 16 */
    if (level > 0) return vmm_new(ad, struct_bytes(ad, entries));
    return slab_reserve(&ad->leaves, 1) ? slab_take(&ad->leaves) : NULL;
}

static void struct_give(struct vidmm_adapter *ad, struct vmm_table *t)
{
    if (t->level > 0) vmm_delete(ad, t, struct_bytes(ad, t->entries));
    else slab_give(&ad->leaves, t);
}

struct vmm_table *vmm_table_new(struct vmm_space *sp, uint32_t level, uint32_t entries)
{
    struct vidmm_adapter *ad = sp->ad;
    const struct vidmm_level_desc *d = &ad->info.level[level];
    uint32_t bytes = d->table_bytes;
    if (ad->info.level_count == 2 && level == 1)
        bytes = (uint32_t)ad->ops->get_root_page_table_size(ad->kmd, &entries);
    struct vmm_table *t = struct_take(ad, level, entries);
    if (t == NULL) return NULL;
    t->level = level & 0xff;
    t->segment = table_segment(sp, level) & 0x3f;
    t->entries = entries & 0x3ffffff;
    t->bytes = bytes;
    if (!table_pages_take(ad, t, sp->tables.update.mode == VIDMM_UPDATE_CPU_VIRTUAL)) {
        struct_give(ad, t);
        return NULL;
    }
    sp->tables.described = NULL; /* another table may have lain here */
    sp->tables.update.flags = VIDMM_UPDATE_INITIAL; /* PT-06: before anything points to it */
    write_invalid(sp, t, level, 0, entries, 0);
    sp->tables.update.flags = 0;
    sp->tables.count++;
    count_table(ad, t, true);
    return t;
}

void vmm_table_free(struct vidmm_adapter *ad, struct vmm_table *t)
{
    if (vmm_gpu_writes(ad) && !vmm_owed_drop(ad, t)) return;
    count_table(ad, t, false);
    table_pages_give(ad, t);
    struct_give(ad, t);
}

static void forget_cursor(struct vmm_tables *tt)
{
    tt->cursor = NULL;
    tt->cursor_end = 0;
}

static void forget_upper(struct vmm_tables *tt)
{
    forget_cursor(tt);
    tt->upper = NULL;
    tt->upper_end = 0;
}

/* Unlinked: the page may be in walk caches until the space's next flush is done (inv. 5). */
static void table_retire(struct vmm_space *sp, struct vmm_table *t)
{
    struct vmm_tables *tt = &sp->tables;
    bool unknown = vmm_gpu_writes(sp->ad) && vmm_owed_of(t)->fresh; /* to the GPU: nothing names it there */
    if (tt->cursor == t) forget_cursor(tt);
    if (tt->upper == t) forget_upper(tt);
    tt->count--;
    t->parent = NULL;
    t->limbo_seq = sp->flush_seq;
    if (unknown) vmm_table_free(sp->ad, t);
    else list_push_back(&sp->ad->limbo, &t->limbo);
}

/* The list is in the order of limbo_seq: batches are numbered as they are opened. */
bool vmm_limbo_step(struct vidmm_adapter *ad)
{
    bool progress = false;
    LIST_FOREACH_SAFE(it, tmp, &ad->limbo) {
        struct vmm_table *t = list_entry(it, struct vmm_table, limbo);
        if (!vmm_batch_passed(ad, t->limbo_seq)) break;
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
    /* The paging process' own are begun by the CPU, with nobody there yet who could write them (PAG-18). */
    sp->tables.update.mode = sp->proc == NULL ? VIDMM_UPDATE_CPU_VIRTUAL : ad->info.update_mode;
    sp->tables.update.process = sp->kmd_process;
    ask_attributes(sp);
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
        vmm_table_free(sp->ad, t);
        t = parent;
    }
    sp->tables.root = NULL;
    forget_upper(&sp->tables);
}

void vmm_tables_drop(struct vmm_space *sp)
{
    sp->dropped = (sp->ad->info.mmu_flags & VIDMM_MMU_EXPLICIT_INVALIDATION) != 0; /* PT-32 */
    if (!sp->dropped) return;
    for (struct vmm_table *t = sp->tables.root; t != NULL; t = vmm_table_next(t)) write_all_invalid(sp, t, 0);
}

static inline bool in_upper(const struct vmm_tables *tt, uint64_t va)
{
    return va >= tt->upper_start && va < tt->upper_end;
}

struct vmm_table *vmm_leaf_find(const struct vmm_space *sp, uint64_t va)
{
    const struct vidmm_adapter *ad = sp->ad;
    const struct vmm_tables *tt = &sp->tables;
    if (in_upper(tt, va)) return tt->upper->child[(va - tt->upper_start) >> ad->shift[1]];
    struct vmm_table *t = tt->root;
    if (va >> ad->shift[t->level] >= t->entries) return NULL;
    for (uint32_t level = t->level; level > 0 && t != NULL; level--) t = t->child[index_of(ad, level, va)];
    return t;
}

static void set_upper(struct vmm_space *sp, struct vmm_table *t, uint64_t va)
{
    struct vmm_tables *tt = &sp->tables;
    uint64_t bytes = entry_bytes(sp->ad, 2);
    if (t->parent == NULL) return;
    tt->upper = t;
    tt->upper_start = va & ~(bytes - 1);
    tt->upper_end = tt->upper_start + bytes;
}

static void set_cursor(struct vmm_space *sp, struct vmm_table *leaf, uint64_t va)
{
    struct vmm_tables *tt = &sp->tables;
    uint64_t bytes = entry_bytes(sp->ad, 1);
    tt->cursor = leaf;
    tt->cursor_start = va & ~(bytes - 1);
    tt->cursor_end = tt->cursor_start + bytes;
    if (tt->upper != leaf->parent) set_upper(sp, leaf->parent, va);
}

/* Scalars from here on: gcc makes a 16-byte load of a struct range that it has just stored in halves. */
static inline bool in_cursor(const struct vmm_tables *tt, uint64_t start, uint64_t end)
{
    return start >= tt->cursor_start && end <= tt->cursor_end;
}

static inline uint32_t cursor_index(const struct vmm_tables *tt, uint64_t va)
{
    return (uint32_t)((va - tt->cursor_start) >> VIDMM_PAGE_SHIFT);
}

/* The leaf below va becomes the cursor, if there is one. */
static struct vmm_table *leaf_at(struct vmm_space *sp, uint64_t va)
{
    const struct vmm_tables *tt = &sp->tables;
    if (va >= tt->cursor_start && va < tt->cursor_end) return tt->cursor;
    struct vmm_table *t = vmm_leaf_find(sp, va);
    if (t != NULL) set_cursor(sp, t, va);
    return t;
}

/* Takes t out of its parent. Neighbours often go one after the other, so the next one's line is fetched. */
static inline void unlink_table(struct vmm_space *sp, struct vmm_table *t, uint64_t va)
{
    struct vidmm_adapter *ad = sp->ad;
    struct vmm_table *parent = t->parent;
    uint32_t level = parent->level, index = t->index;
    uint64_t size = entry_bytes(ad, level), start = va & ~(size - 1);
    if (ad->info.mmu_flags & VIDMM_MMU_EXPLICIT_INVALIDATION) write_all_invalid(sp, t, start);
    if (index + 1 < parent->entries) __builtin_prefetch(parent->child[index + 1], 1);
    parent->child[index] = NULL;
    parent->live--;
    if (!vmm_space_flush_on(sp, start, start + size))
        vmm_space_flush(sp, (struct range){ start, start + size });
    if (level == 1 && vmm_gpu_writes(ad)) vmm_privileged_leaf(sp, start, true);
    table_retire(sp, t);
    write_invalid(sp, parent, level, index, 1, start);
}

/* Takes out `t` and every ancestor that becomes empty; the root stays. */
static void prune(struct vmm_space *sp, struct vmm_table *t, uint64_t va)
{
    for (struct vmm_table *parent = t->parent; parent != NULL && t->live == 0; parent = t->parent) {
        unlink_table(sp, t, va);
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
    n->index = index & 0xffffff;
    t->child[index] = n;
    t->live++;
    uint64_t size = entry_bytes(ad, t->level), start = va & ~(size - 1);
    write_parent(sp, t, index, n, start);
    if (!(ad->info.mmu_flags & VIDMM_MMU_INVALID_NOT_CACHED))
        vmm_space_flush(sp, (struct range){ start, start + size });
    if (below == 0 && vmm_gpu_writes(ad)) vmm_privileged_leaf(sp, start, false);
    return n;
}

/* The leaf below va, created with its path; NULL: no memory, and nothing was left behind. */
static struct vmm_table *path_make(struct vmm_space *sp, uint64_t va)
{
    struct vmm_table *t = in_upper(&sp->tables, va) ? sp->tables.upper : sp->tables.root;
    CHECK(t->parent != NULL || va >> sp->ad->shift[t->level] < t->entries);
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

bool vmm_tables_pin(struct vmm_space *sp, uint64_t va)
{
    struct vmm_table *leaf = path_make(sp, va);
    if (leaf != NULL) leaf->live = leaf->entries;
    return leaf != NULL;
}

static uint64_t leaf_end(const struct vidmm_adapter *ad, uint64_t va, uint64_t end)
{
    uint64_t size = entry_bytes(ad, 1);
    return min_u64((va & ~(size - 1)) + size, end);
}

static uint32_t pages_between(uint64_t start, uint64_t end)
{
    return (uint32_t)((end - start) >> VIDMM_PAGE_SHIFT);
}

vidmm_status vmm_tables_acquire_path(struct vmm_space *sp, uint64_t start, uint64_t end)
{
    struct vidmm_adapter *ad = sp->ad;
    for (uint64_t va = start, next; va < end; va = next) {
        next = leaf_end(ad, va, end);
        struct vmm_table *leaf = BROKEN(ad, PT_01) ? vmm_leaf_find(sp, va) : path_make(sp, va);
        if (leaf == NULL && BROKEN(ad, PT_01)) continue;
        if (leaf != NULL && leaf->live == 0 && vmm_gpu_writes(ad) && !vmm_privileged_show(sp, va)) {
            prune(sp, leaf, va);
            leaf = NULL;
        }
        if (leaf == NULL) {
            vmm_tables_release(sp, (struct range){ start, va }, false);
            return VIDMM_NO_MEMORY;
        }
        leaf->live += pages_between(va, next);
        set_cursor(sp, leaf, va);
    }
    return VIDMM_OK;
}

static NOINLINE void release_leaves(struct vmm_space *sp, uint64_t start, uint64_t end, bool entries_valid)
{
    struct vmm_tables *tt = &sp->tables;
    for (uint64_t va = start, next; va < end; va = next) {
        next = leaf_end(sp->ad, va, end);
        struct vmm_table *leaf = in_cursor(tt, va, next) ? tt->cursor : vmm_leaf_find(sp, va);
        uint32_t n = pages_between(va, next);
        if (leaf == NULL && BROKEN(sp->ad, PT_01)) continue;
        CHECK(leaf != NULL);
        CHECK(leaf->live >= n);
        leaf->live -= n;
        if (leaf->live == 0) { /* dropped whole: its entries need not be written (PT-32) */
            struct vmm_table *parent = leaf->parent;
            if (tt->upper != parent) set_upper(sp, parent, va);
            unlink_table(sp, leaf, va);
            if (parent->live == 0) prune(sp, parent, va);
            continue;
        }
        set_cursor(sp, leaf, va);
        if (!entries_valid) continue;
        vmm_space_flush(sp, (struct range){ va, next });
        write_invalid(sp, leaf, 0, cursor_index(tt, va), n, va);
    }
}

void vmm_tables_release(struct vmm_space *sp, struct range r, bool entries_valid)
{
    struct vmm_tables *tt = &sp->tables;
    uint32_t n = pages_between(r.start, r.end);
    bool stays = in_cursor(tt, r.start, r.end) && tt->cursor->live > n;
    if (!stays || (entries_valid && !vmm_space_flush_on(sp, r.start, r.end))) {
        release_leaves(sp, r.start, r.end, entries_valid);
        return;
    }
    tt->cursor->live -= n;
    if (entries_valid) write_invalid(sp, tt->cursor, 0, cursor_index(tt, r.start), n, r.start);
}

/* As many runs as fit into `room` entries whole. */
static uint32_t whole_runs(const struct vidmm_pte_run *runs, uint32_t n, uint32_t room, uint32_t *count)
{
    uint32_t k = 0, sum = 0;
    while (k < n && runs[k].count <= room - sum) sum += runs[k++].count;
    *count = sum;
    return k;
}

static NOINLINE void write_leaves(struct vmm_space *sp, uint64_t va, const struct vidmm_pte_run *runs,
                                  uint32_t n)
{
    struct vidmm_pte_run rest = { .count = 0 }; /* of a run that the end of a leaf has cut */
    while (n > 0) {
        struct vmm_table *leaf = leaf_at(sp, va);
        if (leaf == NULL && BROKEN(sp->ad, PT_01)) return;
        CHECK(leaf != NULL);
        uint32_t first = cursor_index(&sp->tables, va), room = leaf->entries - first, count;
        uint32_t k = rest.count > 0 ? 0 : whole_runs(runs, n, room, &count);
        if (k > 0) {
            write_entries(sp, leaf, first, count, runs, k, va);
            runs += k;
            n -= k;
        } else {
            struct vidmm_pte_run part = rest.count > 0 ? rest : runs[0];
            rest = part;
            count = part.count = min_u32(part.count, room);
            rest.count -= count;
            rest.address += (uint64_t)count * rest.step;
            write_entries(sp, leaf, first, count, &part, 1, va);
            if (rest.count == 0) {
                runs++;
                n--;
            }
        }
        va += (uint64_t)count << VIDMM_PAGE_SHIFT;
        if (sp->tables.update.allocation != NULL)
            sp->tables.update.allocation_offset += (uint64_t)count << VIDMM_PAGE_SHIFT;
    }
}

void vmm_tables_write(struct vmm_space *sp, struct range r, const struct vidmm_pte_run *runs, uint32_t n)
{
    struct vmm_tables *tt = &sp->tables;
    if (!in_cursor(tt, r.start, r.end)) {
        write_leaves(sp, r.start, runs, n);
        return;
    }
    write_entries(sp, tt->cursor, cursor_index(tt, r.start), pages_between(r.start, r.end), runs, n, r.start);
}

struct vmm_table *vmm_table_next(struct vmm_table *t)
{
    uint32_t from = 0;
    while (t != NULL) {
        for (uint32_t i = from; t->level > 0 && i < t->entries; i++)
            if (t->child[i] != NULL) return t->child[i];
        from = t->index + 1;
        t = t->parent;
    }
    return NULL;
}

uint64_t vmm_table_start(const struct vmm_space *sp, const struct vmm_table *t)
{
    uint64_t va = 0;
    for (; t->parent != NULL; t = t->parent) va += (uint64_t)t->index << sp->ad->shift[t->parent->level];
    return va;
}

void vmm_tables_rewrite(struct vmm_space *sp)
{
    sp->tables.described = NULL;
    for (struct vmm_table *t = sp->tables.root; t != NULL; t = vmm_table_next(t)) {
        sp->tables.update.flags = VIDMM_UPDATE_INITIAL;
        uint64_t va = vmm_table_start(sp, t);
        write_all_invalid(sp, t, va);
        sp->tables.update.flags = 0;
        if (sp->tables.update.mode != VIDMM_UPDATE_CPU_VIRTUAL) { /* whatever they shall be */
            vmm_owe_entries(sp, t, 0, t->entries, false);
            continue;
        }
        uint64_t each = entry_bytes(sp->ad, t->level);
        for (uint32_t i = 0; t->level > 0 && i < t->entries; i++)
            if (t->child[i] != NULL) write_parent(sp, t, i, t->child[i], va + i * each);
    }
    if (sp->pending_root != NULL) write_all_invalid(sp, sp->pending_root, 0);
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
    forget_upper(&sp->tables);
    sp->ad->counters->root_resizes++;
    if (sp->ad->info.mmu_flags & VIDMM_MMU_EXPLICIT_INVALIDATION)
        write_all_invalid(sp, old, 0);
    vmm_space_flush(sp, (struct range){ 0, UINT64_MAX });
    old->limbo_seq = sp->flush_seq;
    list_push_back(&sp->ad->limbo, &old->limbo);
    sp->tables.count--;
}

void vmm_leaf_attach(struct vmm_space *sp, struct vmm_table *leaf, uint32_t pages)
{
    struct vmm_table *root = sp->tables.root;
    if (root->child[leaf->index] != NULL) { /* another request was first */
        root->child[leaf->index]->live += pages;
        sp->tables.count--;
        vmm_table_free(sp->ad, leaf);
        return;
    }
    leaf->parent = root;
    leaf->live = pages;
    root->child[leaf->index] = leaf;
    root->live++;
    uint64_t size = entry_bytes(sp->ad, 1), start = leaf->index * size;
    write_parent(sp, root, leaf->index, leaf, start);
    if (vmm_gpu_writes(sp->ad)) vmm_privileged_leaf(sp, start, false);
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
