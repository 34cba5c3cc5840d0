/* SPDX-License-Identifier: MIT */
/* privileged.c — the second address space of a process that uses tile resources (TIL-04, TIL-12).
 * Owns: process->privileged, by gpu, and open->pool. Calls: space.c, table.c, bind.c, span, the driver.
 * User mode cannot name an address of it: nothing here takes one, and only companion contexts are made in it.
 * It begins without a table, since a reservation takes no memory (VA-25); the first update gives it a root.
 * Tile pools are mapped there for good; their bindings are bindings like any other, so a pool that moves
 * takes its entries with it. Unless the driver's mode is GPU_VIRTUAL, no packet runs in it, and it owes no
 * flushes.
 *
 * GPU_VIRTUAL: the packets of companions write entries through it, so the leaf tables of both spaces of the
 * process show themselves there (TIL-11), each at an address that follows from what it covers:
 *
 *   0   S                                 2S                          3S
 *   |   | leaf tables of the application  | leaf tables of this space | pools, commands ...
 *
 * What the tables of [S, 3S) hold is derived from which leaves there are; once made, they stay. */
#include "core/core.h"

bool vmm_tile_packets(const struct vidmm_adapter *ad)
{
    return ad->info.update_mode == VIDMM_UPDATE_GPU_VIRTUAL;
}

/* ---- where tables are shown ---- */

/* Bytes from one table to the next: their addresses are multiples of 64 KiB (TIL-27). */
static uint64_t stride(const struct vidmm_adapter_info *in)
{
    return round_up_pow2(max_u64(in->level[0].table_bytes, VIDMM_PAGE_64K));
}

/* S of the picture: room for every leaf table a space can have. */
static uint64_t region(const struct vidmm_adapter_info *in)
{
    return ((1ull << in->va_bits) >> (VIDMM_PAGE_SHIFT + in->level[0].index_bits)) * stride(in);
}

const char *vmm_privileged_check(const struct vidmm_adapter_info *in)
{
    if (in->update_mode != VIDMM_UPDATE_GPU_VIRTUAL || 4 * region(in) <= 1ull << in->va_bits) return NULL;
    return "leaf tables are too many for the address space of GPU_VIRTUAL";
}

/* The space whose leaf tables are shown in the privileged space of its process; NULL: none are. */
static struct vmm_space *shower(const struct vmm_space *of)
{
    struct vmm_space *sp = of->proc != NULL ? vmm_privileged_of(of->proc, of->ad->gpu) : NULL;
    return sp != NULL && sp->tables.root != NULL && vmm_tile_packets(of->ad) ? sp : NULL;
}

bool vmm_privileged_shows(const struct vmm_space *sp, uint64_t va)
{
    uint64_t s = region(&sp->ad->info);
    return shower(sp) == sp && va >= s && va < 3 * s;
}

static uint64_t place_of(const struct vmm_space *of, uint64_t va)
{
    const struct vidmm_adapter_info *in = &of->ad->info;
    uint64_t start = vmm_is_privileged(of) ? 2 * region(in) : region(in);
    return start + (va >> of->ad->shift[1]) * stride(in);
}

uint64_t vmm_privileged_table_va(const struct vmm_space *of, uint64_t va)
{
    struct vmm_space *sp = shower(of);
    if (sp == NULL || vmm_privileged_shows(of, va)) return 0;
    uint64_t at = place_of(of, va);
    return vmm_leaf_find(sp, at) != NULL ? at : 0;
}

void vmm_privileged_leaf(struct vmm_space *of, uint64_t va, bool gone)
{
    uint64_t at = vmm_privileged_table_va(of, va);
    if (at == 0) return;
    struct vmm_space *sp = shower(of);
    struct range r = { at, at + sp->ad->info.level[0].table_bytes };
    vmm_owe_range(sp, r);
    if (gone || !(sp->ad->info.mmu_flags & VIDMM_MMU_INVALID_NOT_CACHED)) vmm_space_flush(sp, r);
}

bool vmm_privileged_show(struct vmm_space *of, uint64_t va)
{
    struct vmm_space *sp = shower(of);
    if (sp == NULL || vmm_privileged_shows(of, va)) return true;
    uint64_t at = place_of(of, va), bytes = 1ull << sp->ad->shift[1];
    if (vmm_leaf_find(sp, at) != NULL) return true;
    if (!vmm_tables_pin(sp, at)) return false;
    at &= ~(bytes - 1);
    vmm_owe_range(sp, (struct range){ at, at + bytes }); /* leaves may have been waiting for it */
    return true;
}

bool vmm_privileged_derive(struct vmm_space *sp, uint64_t va, uint64_t *end, struct vidmm_pte_run *run)
{
    struct vidmm_adapter *ad = sp->ad;
    uint64_t s = region(&ad->info), each = stride(&ad->info);
    if (!vmm_privileged_shows(sp, va)) return false;
    const struct vmm_space *of = va < 2 * s ? sp->proc->on[ad->gpu] : sp;
    uint64_t n = (va - (of == sp ? 2 * s : s)) / each, in = va % each;
    const struct vmm_table *leaf = vmm_leaf_find(of, n << ad->shift[1]);
    bool shown = leaf != NULL && in < leaf->bytes;
    *run = sp->tables.invalid[0];
    if (shown) {
        struct vidmm_pte_kind kind = { .flags = VIDMM_PTE_VALID, .segment = leaf->segment, .gpu = ad->gpu };
        *run = (struct vidmm_pte_run){ .address = leaf->address + in, .step = (uint32_t)VIDMM_PAGE_SIZE };
        run->attr = ad->ops->pte_attr(ad->kmd, &kind);
    }
    *end = min_u64(*end, va - in + (shown ? leaf->bytes : each));
    run->count = (uint32_t)((*end - va) >> VIDMM_PAGE_SHIFT);
    return true;
}

/* ---- commands of companions ---- */

static void kernel_free(struct vmm_privileged *v)
{
    struct vmm_space *sp = &v->space;
    struct vidmm_adapter *ad = sp->ad;
    if (v->kernel.memory.frame == 0) return;
    struct tree_node *n = tree_floor(&sp->bindings, v->kernel.va);
    struct span *c = span_find(sp->claims, v->kernel.va);
    vmm_bind_remove(tree_entry(n, struct vmm_binding, node));
    span_remove(sp->claims, c);
    vmm_frames_give(ad, &v->kernel.memory);
}

/* Below what a resizable root covers: it never has to grow. */
static struct span *claim_range(struct vmm_space *sp, uint64_t bytes, uint64_t align)
{
    uint64_t top = 1ull << sp->ad->info.va_bits;
    uint64_t low = vmm_tile_packets(sp->ad) ? 3 * region(&sp->ad->info) : 0;
    if (sp->ad->info.level_count == 2)
        top = min_u64(top, (uint64_t)vmm_tables_coverage(sp) << sp->ad->shift[1]);
    struct span_want want = { bytes, align, low, top, SPAN_UP };
    return span_alloc(sp->claims, &want);
}

static vidmm_status place_range(struct vmm_space *sp, uint64_t bytes, uint64_t align, struct span **out)
{
    if (!span_reserve(sp->claims, sp->binding_count + 4)) return VIDMM_NO_MEMORY;
    *out = claim_range(sp, bytes, align);
    if (*out == NULL) return VIDMM_NO_VIDEO_MEMORY;
    vidmm_status st = vmm_tables_acquire(sp, (struct range){ (*out)->start, (*out)->end });
    if (st != VIDMM_OK) span_remove(sp->claims, *out);
    return st;
}

static vidmm_status kernel_make(struct vmm_privileged *v)
{
    struct vmm_space *sp = &v->space;
    struct vidmm_adapter *ad = sp->ad;
    struct vmm_kernel_buffer *k = &v->kernel;
    struct vmm_binding *b = vmm_new(ad, sizeof *b), *none[2] = { NULL, NULL };
    uint32_t bytes = ad->info.paging_buffer_bytes;
    struct span *c;
    vidmm_status st = b != NULL ? place_range(sp, bytes, VIDMM_PAGE_SIZE, &c) : VIDMM_NO_MEMORY;
    if (st == VIDMM_OK) {
        st = vmm_frames_take(ad, bytes / VIDMM_PAGE_SIZE, &k->memory);
        if (st != VIDMM_OK) vmm_tables_release(sp, (struct range){ c->start, c->end }, false);
        if (st != VIDMM_OK) span_remove(sp->claims, c);
    }
    if (st != VIDMM_OK) {
        vmm_delete(ad, b, sizeof *b);
        return st;
    }
    c->kind = CLAIM_INTERNAL;
    b->target = TARGET_FRAME;
    b->offset = k->memory.logical * VIDMM_PAGE_SIZE;
    b->prot = VIDMM_PROT_EXECUTE;
    k->va = c->start;
    k->kmd = (struct vidmm_paging_buffer){ .gpu_va = k->va, .bytes = bytes };
    k->kmd.cpu = ad->platform->sys_address(ad->platform->ctx, k->memory.frame);
    vmm_bind_replace(sp, (struct range){ c->start, c->end }, b, none);
    return VIDMM_OK;
}

/* ---- the space ---- */

static vidmm_status make_on(struct vidmm_process *p, struct vidmm_adapter *ad)
{
    struct vmm_space *sp = vmm_privileged_of(p, ad->gpu);
    vidmm_status st = vmm_space_init(sp, ad, p);
    sp->unseen = !vmm_tile_packets(ad);
    return st == VIDMM_OK ? ad->ops->create_process(ad->kmd, false, &sp->kmd_process) : st;
}

vidmm_status vmm_privileged_make(struct vidmm_process *p)
{
    vidmm_status st = VIDMM_OK;
    if (BROKEN(p->ad, TIL_04)) return VIDMM_OK;
    LINK_FOREACH(g, p->ad) {
        bool runs = !g->lost && p->on[g->gpu]->tables.root != NULL; /* else nothing will ever run in it */
        if (st == VIDMM_OK && runs) st = make_on(p, g);
    }
    if (st != VIDMM_OK) vmm_privileged_free(p);
    return st;
}

static bool show_all(struct vmm_space *sp)
{
    for (struct vmm_table *t = sp->tables.root; t != NULL; t = vmm_table_next(t))
        if (t->level == 0 && !vmm_privileged_show(sp, vmm_table_start(sp, t))) return false;
    return true;
}

vidmm_status vmm_privileged_open(struct vidmm_process *p, uint32_t gpu)
{
    struct vmm_privileged *v = &p->privileged[gpu];
    struct vidmm_adapter *ad = v->space.ad;
    uint32_t entries = VMM_ROOT_ENTRIES_MIN;
    if (ad == NULL) return VIDMM_FAILED;
    if (vmm_tile_packets(ad)) entries = (uint32_t)(4 * region(&ad->info) >> ad->shift[1]);
    vidmm_status st = vmm_tables_init(&v->space, entries);
    if (st != VIDMM_OK || !vmm_tile_packets(ad)) return st;
    st = show_all(p->on[gpu]) ? kernel_make(v) : VIDMM_NO_MEMORY;
    if (st != VIDMM_OK) vmm_privileged_close(p, gpu);
    return st;
}

void vmm_privileged_close(struct vidmm_process *p, uint32_t gpu)
{
    struct vmm_space *sp = vmm_privileged_of(p, gpu);
    kernel_free(&p->privileged[gpu]);
    CHECK(sp->binding_count == 0);
    vmm_tables_fini(sp);
    vmm_space_forget_flushes(sp);
    memset(&sp->tables, 0, sizeof sp->tables);
}

static void free_on(struct vmm_privileged *v)
{
    struct vmm_space *sp = &v->space;
    struct vidmm_adapter *ad = sp->ad;
    if (ad == NULL) return;
    kernel_free(v);
    CHECK(sp->binding_count == 0); /* pools went with their opens */
    vmm_space_fini(sp);
    if (sp->kmd_process != NULL) ad->ops->destroy_process(ad->kmd, sp->kmd_process);
    memset(sp, 0, sizeof *sp);
}

void vmm_privileged_free(struct vidmm_process *p)
{
    for (uint32_t i = 0; i < p->ad->gpu_count; i++) free_on(&p->privileged[i]);
}

/* ---- pools ---- */

vidmm_status vmm_pool_map(struct vidmm_open *op, uint32_t gpu)
{
    struct vmm_space *sp = vmm_privileged_of(op->dev->proc, gpu);
    struct vmm_binding *b = vmm_new(sp->ad, sizeof *b), *none[2] = { NULL, NULL };
    struct span *c;
    if (b == NULL) return VIDMM_NO_MEMORY;
    vidmm_status st = place_range(sp, vmm_alloc_bytes(op->al), op->al->align, &c);
    if (st != VIDMM_OK) {
        vmm_delete(sp->ad, b, sizeof *b);
        return st;
    }
    c->kind = CLAIM_MAP;
    b->target = TARGET_ALLOC;
    b->prot = VIDMM_PROT_WRITE;
    b->open = op;
    vmm_bind_replace(sp, (struct range){ c->start, c->end }, b, none);
    op->pool[gpu] = b;
    return VIDMM_OK;
}

void vmm_pool_unmap(struct vidmm_open *op, uint32_t gpu)
{
    struct vmm_space *sp = vmm_privileged_of(op->dev->proc, gpu);
    struct span *c = span_find(sp->claims, op->pool[gpu]->node.key);
    vmm_bind_remove(op->pool[gpu]);
    op->pool[gpu] = NULL;
    span_remove(sp->claims, c);
}

uint32_t vidmm_process_space_count(const struct vidmm_process *p)
{
    for (uint32_t i = 0; i < p->ad->gpu_count; i++)
        if (p->privileged[i].space.ad != NULL) return 2;
    return 1;
}
