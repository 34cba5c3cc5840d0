/* SPDX-License-Identifier: MIT */
/* bind.c — what the GPU sees at an address: bindings, and the page-table entries that follow from them.
 * Owns: space->bindings and the reverse lists. Calls: table.c, place.c. Keeps: invariants 1, 2, 11.
 * Entries are derived: the same function writes them at a map, a move and a return from eviction. */
#include "core/core.h"

static bool entries_valid(const struct vmm_binding *b)
{
    return b->target != TARGET_ALLOC || b->open->al->state == PLACE_LIVE;
}

static uint32_t pte_flags(const struct vmm_binding *b, uint32_t segment)
{
    uint32_t caps = b->space->ad->info.mmu_flags, flags = VIDMM_PTE_VALID;
    if (b->target == TARGET_ZERO) return flags | VIDMM_PTE_ZERO;
    if ((caps & VIDMM_MMU_READ_ONLY) && !(b->prot & VIDMM_PROT_WRITE)) flags |= VIDMM_PTE_READ_ONLY;
    if ((caps & VIDMM_MMU_NO_EXECUTE) && !(b->prot & VIDMM_PROT_EXECUTE)) flags |= VIDMM_PTE_NO_EXECUTE;
    if ((caps & VIDMM_MMU_CACHE_COHERENT) && segment == VMM_SYSTEM) flags |= VIDMM_PTE_CACHE_COHERENT;
    return flags;
}

/* Next run of entries of b at va; its address by where the bytes are now. */
static struct vidmm_pte_run next_run(const struct vmm_binding *b, uint64_t va, uint64_t end, uint64_t attr)
{
    struct vidmm_pte_run run = { .attr = attr, .step = (uint32_t)VIDMM_PAGE_SIZE };
    uint64_t bytes = end - va, left = bytes, at = b->offset + (va - b->node.key);
    if (b->target == TARGET_ZERO) {
        run.step = 0;
    } else if (b->target == TARGET_FRAME) {
        run.address = at;
    } else {
        struct vmm_alloc *al = b->open->al;
        if (BROKEN(b->space->ad, VA_07)) at = va - b->node.key;
        run.address = vmm_place_run(al, al->segment, at, &left);
        if (BROKEN(b->space->ad, ADP_06)) run.address >>= VIDMM_PAGE_SHIFT;
    }
    run.count = (uint32_t)(min_u64(bytes, left) >> VIDMM_PAGE_SHIFT);
    return run;
}

static uint64_t attr_of(const struct vmm_binding *b)
{
    struct vidmm_adapter *ad = b->space->ad;
    uint32_t segment = b->target == TARGET_ALLOC ? b->open->al->segment : VMM_SYSTEM;
    struct vidmm_pte_kind kind = { .flags = pte_flags(b, segment), .segment = segment,
                                   .driver_protection = b->driver_protection };
    if (segment != VMM_SYSTEM) kind.gpu = BROKEN(ad, LDA_04) ? ad->gpu : vmm_gpu_shown(b->space, b->open->al);
    if (BROKEN(ad, SEG_01)) kind.segment = VMM_SYSTEM;
    return ad->ops->pte_attr(ad->kmd, &kind);
}

/* Runs from va on, as many as there is room for; gives where they end. */
static uint64_t derive_runs(const struct vmm_binding *b, uint64_t va, uint64_t end, uint64_t attr,
                            struct vidmm_pte_run *runs, uint32_t *n)
{
    for (*n = 0; *n < VMM_RUNS && va < end; ++*n) {
        runs[*n] = next_run(b, va, end, attr);
        va += (uint64_t)runs[*n].count << VIDMM_PAGE_SHIFT;
    }
    return va;
}

uint64_t vmm_bind_paging_protection(const struct vmm_alloc *al, uint64_t offset, uint64_t *end)
{
    uint64_t dp = 0;
    if (al->unique == 0) return 0;
    LIST_FOREACH(it, &al->bindings) {
        const struct vmm_binding *b = list_entry(it, struct vmm_binding, on_alloc);
        uint64_t stop = b->offset + (b->end - b->node.key);
        if (b->driver_protection >> 63 == 0 || stop <= offset) continue;
        if (b->offset <= offset) dp = b->driver_protection;
        *end = min_u64(*end, b->offset <= offset ? stop : b->offset);
    }
    return dp;
}

/* Handle that the driver gave to the allocation behind a binding; NULL for implicit ones. */
static void describe(struct vmm_binding *b, uint64_t va, struct vidmm_update_page_table *u)
{
    bool alloc = b->target == TARGET_ALLOC;
    u->allocation = alloc ? b->open->al->kmd_allocation : NULL;
    u->allocation_offset = alloc ? b->offset + (va - b->node.key) : 0;
    u->driver_protection = b->driver_protection;
}

static void describe_nothing(struct vmm_space *sp)
{
    sp->tables.update.allocation = NULL;
    sp->tables.update.allocation_offset = 0;
    sp->tables.update.driver_protection = 0;
}

void vmm_bind_write(struct vmm_binding *b, struct range r)
{
    struct vmm_space *sp = b->space;
    struct vidmm_adapter *ad = sp->ad;
    if (!entries_valid(b)) return;
    uint64_t attr = attr_of(b);
    struct vidmm_pte_run runs[VMM_RUNS];
    for (uint64_t va = r.start; va < r.end;) {
        uint64_t first = va;
        uint32_t n;
        va = derive_runs(b, va, r.end, attr, runs, &n);
        describe(b, first, &sp->tables.update);
        vmm_tables_write(sp, (struct range){ first, va }, runs, n);
    }
    describe_nothing(sp);
    if (!(ad->info.mmu_flags & VIDMM_MMU_INVALID_NOT_CACHED)) vmm_space_flush(sp, r); /* PT-35 */
}

void vmm_bind_invalidate(struct vmm_binding *b)
{
    struct vmm_space *sp = b->space;
    struct vidmm_adapter *ad = sp->ad;
    struct range r = { b->node.key, b->end };
    struct vidmm_pte_kind kind = { .level = 0 };
    struct vidmm_pte_run run = { .attr = ad->ops->pte_attr(ad->kmd, &kind) };
    run.count = (uint32_t)((r.end - r.start) >> VIDMM_PAGE_SHIFT);
    describe(b, r.start, &sp->tables.update);
    vmm_tables_write(sp, r, &run, 1);
    describe_nothing(sp);
    vmm_space_flush(sp, r);
}

uint64_t vmm_bind_derive(struct vmm_space *sp, uint64_t va, uint64_t end, struct vidmm_update_page_table *u,
                         struct vidmm_pte_run *runs)
{
    struct tree_node *n = tree_floor(&sp->bindings, va);
    struct vmm_binding *b = n != NULL ? tree_entry(n, struct vmm_binding, node) : NULL;
    bool bound = b != NULL && b->end > va;
    if (bound) {
        describe(b, va, u);
        end = min_u64(end, b->end);
    } else {
        n = tree_ceil(&sp->bindings, va);
        if (n != NULL) end = min_u64(end, n->key);
    }
    u->run_count = 1;
    if (bound && entries_valid(b)) return derive_runs(b, va, end, attr_of(b), runs, &u->run_count);
    runs[0] = sp->tables.invalid[0];
    runs[0].count = (uint32_t)((end - va) >> VIDMM_PAGE_SHIFT);
    return end;
}

static void link_binding(struct vmm_space *sp, struct vmm_binding *b, uint64_t start)
{
    b->space = sp;
    bool ok = tree_insert(&sp->bindings, &b->node, start);
    CHECK(ok);
    sp->binding_count++;
    if (b->target != TARGET_ALLOC) return;
    if (b->open->read_only) b->prot &= (uint8_t)~VIDMM_PROT_WRITE; /* a tile map asks for it by default */
    list_push_back(&b->open->al->bindings, &b->on_alloc);
    b->open->al->unique += (uint32_t)(b->driver_protection >> 63);
    b->open->al->seen |= (uint8_t)(1u << sp->ad->gpu);
}

static void forget_alloc(struct vmm_binding *b)
{
    list_remove(&b->on_alloc);
    if (b->target == TARGET_ALLOC) b->open->al->unique -= (uint32_t)(b->driver_protection >> 63);
}

static void unlink_binding(struct vmm_binding *b)
{
    tree_remove(&b->space->bindings, &b->node);
    b->space->binding_count--;
    forget_alloc(b);
}

/* b keeps [start, end) of what it shows. */
static void narrow(struct vmm_binding *b, uint64_t start, uint64_t end)
{
    if (start != b->node.key) {
        tree_remove(&b->space->bindings, &b->node);
        b->offset += start - b->node.key;
        bool ok = tree_insert(&b->space->bindings, &b->node, start);
        CHECK(ok);
    }
    b->end = end;
}

static void split(struct vmm_binding *b, struct range cut, struct vmm_binding **spare)
{
    struct vmm_binding *right = *spare;
    CHECK(right != NULL);
    *spare = NULL;
    *right = (struct vmm_binding){ .end = b->end, .offset = b->offset + (cut.end - b->node.key),
                                   .driver_protection = b->driver_protection, .open = b->open,
                                   .target = b->target, .prot = b->prot };
    uint64_t at = cut.end;
    b->end = cut.start;
    link_binding(b->space, right, at);
}

/*   b:   [........)   [........)    [........)     [........)
 *   r:  (..........)      [......   ....]             [..]
 *        removed      keeps left     keeps right    keeps both: needs *spare           */
static void clear(struct vmm_space *sp, struct range r, struct vmm_binding **spare, bool rewritten)
{
    struct tree_node *n = tree_floor(&sp->bindings, r.start);
    if (n == NULL) n = tree_ceil(&sp->bindings, r.start);
    while (n != NULL && n->key < r.end) {
        struct vmm_binding *b = tree_entry(n, struct vmm_binding, node);
        n = tree_next(n);
        struct range cut = range_intersect(r, (struct range){ b->node.key, b->end });
        if (range_is_empty(cut)) continue;
        vmm_tables_release(sp, cut, entries_valid(b) && !rewritten);
        if (entries_valid(b) && rewritten) vmm_space_flush(sp, cut); /* PT-34: valid entries change */
        if (cut.start > b->node.key && cut.end < b->end) {
            split(b, cut, spare);
        } else if (cut.start > b->node.key) {
            narrow(b, b->node.key, cut.start);
        } else if (cut.end < b->end) {
            narrow(b, cut.end, b->end);
        } else {
            unlink_binding(b);
            vmm_delete(sp->ad, b, sizeof *b);
        }
    }
}

void vmm_bind_clear(struct vmm_space *sp, struct range r, struct vmm_binding **spare)
{
    clear(sp, r, spare, false);
}

static void break_other_bindings(struct vmm_space *sp, struct vmm_binding *nb)
{
    LIST_FOREACH_SAFE(it, tmp, &nb->open->al->bindings) {
        struct vmm_binding *b = list_entry(it, struct vmm_binding, on_alloc);
        if (b->space == sp && b->open == nb->open) vmm_bind_remove(b);
    }
}

void vmm_bind_replace(struct vmm_space *sp, struct range r, struct vmm_binding *nb,
                      struct vmm_binding *spare[2])
{
    clear(sp, r, &spare[0], entries_valid(nb));
    nb->end = r.end;
    if (BROKEN(sp->ad, VA_06) && nb->target == TARGET_ALLOC) break_other_bindings(sp, nb);
    link_binding(sp, nb, r.start);
    vmm_bind_write(nb, r);
}

void vmm_bind_remove(struct vmm_binding *b)
{
    struct vmm_space *sp = b->space;
    struct range r = { b->node.key, b->end };
    struct span *claim = span_find(sp->claims, r.start);
    if (claim != NULL && (claim->kind & CLAIM_ZERO << sp->ad->gpu)) { /* as it was reserved (VA-45) */
        bool was = entries_valid(b);
        forget_alloc(b);
        b->target = TARGET_ZERO;
        b->open = NULL;
        b->driver_protection = (uint64_t)(uintptr_t)claim->owner;
        vmm_bind_write(b, r);
        if (was) vmm_space_flush(sp, r);
        return;
    }
    vmm_tables_release(sp, r, entries_valid(b));
    unlink_binding(b);
    vmm_delete(sp->ad, b, sizeof *b);
}
