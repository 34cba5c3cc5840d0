/* SPDX-License-Identifier: MIT */
/* privileged.c — the second address space of a process that uses tile resources (TIL-04, TIL-12).
 * Owns: process->privileged, open->pool. Calls: space.c, table.c, bind.c, span, the driver.
 * User mode cannot name an address of it: nothing here takes one, and only companion contexts are made in it.
 * It begins without a table, since a reservation takes no memory (VA-25); the first update gives it a root.
 * Tile pools are mapped there for good; their bindings are bindings like any other, so a pool that moves
 * takes its entries with it. No packet runs in it while tables are written by the CPU: it owes no flushes. */
#include "core/core.h"

vidmm_status vmm_privileged_make(struct vidmm_process *p)
{
    struct vidmm_adapter *ad = p->ad;
    struct vmm_space *sp = &p->privileged;
    CHECK(sp->ad == NULL);
    if (ad->lost || BROKEN(ad, TIL_04)) return VIDMM_OK; /* nothing will ever run in it */
    vidmm_status st = vmm_space_init(sp, ad, p);
    sp->unseen = true;
    if (st == VIDMM_OK) st = ad->ops->create_process(ad->kmd, false, &sp->kmd_process);
    if (st != VIDMM_OK) vmm_privileged_free(p);
    return st;
}

vidmm_status vmm_privileged_open(struct vidmm_process *p)
{
    if (p->privileged.ad == NULL) return VIDMM_FAILED;
    return vmm_tables_init(&p->privileged, VMM_ROOT_ENTRIES_MIN);
}

void vmm_privileged_close(struct vidmm_process *p)
{
    CHECK(p->privileged.binding_count == 0);
    vmm_tables_fini(&p->privileged);
    vmm_space_forget_flushes(&p->privileged);
    memset(&p->privileged.tables, 0, sizeof p->privileged.tables);
}

void vmm_privileged_free(struct vidmm_process *p)
{
    struct vmm_space *sp = &p->privileged;
    if (sp->ad == NULL) return;
    CHECK(sp->binding_count == 0); /* pools went with their opens */
    vmm_space_fini(sp);
    if (sp->kmd_process != NULL) p->ad->ops->destroy_process(p->ad->kmd, sp->kmd_process);
    memset(sp, 0, sizeof *sp);
}

/* Below what a resizable root covers: it never has to grow. */
static struct span *pool_claim(struct vmm_space *sp, const struct vmm_alloc *al)
{
    uint64_t top = 1ull << sp->ad->info.va_bits;
    if (sp->ad->info.level_count == 2)
        top = min_u64(top, (uint64_t)vmm_tables_coverage(sp) << sp->ad->shift[1]);
    struct span_want want = { vmm_alloc_bytes(al), al->align, 0, top, SPAN_UP };
    return span_alloc(&sp->claims, &want);
}

static vidmm_status pool_place(struct vmm_space *sp, const struct vmm_alloc *al, struct span **claim)
{
    if (!span_reserve(&sp->claims, sp->binding_count + 4)) return VIDMM_NO_MEMORY;
    *claim = pool_claim(sp, al);
    if (*claim == NULL) return VIDMM_NO_VIDEO_MEMORY;
    vidmm_status st = vmm_tables_acquire(sp, (struct range){ (*claim)->start, (*claim)->end });
    if (st != VIDMM_OK) span_remove(&sp->claims, *claim);
    return st;
}

vidmm_status vmm_pool_map(struct vidmm_open *op)
{
    struct vmm_space *sp = &op->dev->proc->privileged;
    struct vmm_binding *b = vmm_new(sp->ad, sizeof *b), *none[2] = { NULL, NULL };
    struct span *c;
    if (b == NULL) return VIDMM_NO_MEMORY;
    vidmm_status st = pool_place(sp, op->al, &c);
    if (st != VIDMM_OK) {
        vmm_delete(sp->ad, b, sizeof *b);
        return st;
    }
    c->kind = CLAIM_MAP;
    b->target = TARGET_ALLOC;
    b->prot = VIDMM_PROT_WRITE;
    b->open = op;
    vmm_bind_replace(sp, (struct range){ c->start, c->end }, b, none);
    op->pool = b;
    return VIDMM_OK;
}

void vmm_pool_unmap(struct vidmm_open *op)
{
    struct vmm_space *sp = op->pool->space;
    struct span *c = span_find(&sp->claims, op->pool->node.key);
    vmm_bind_remove(op->pool);
    op->pool = NULL;
    span_remove(&sp->claims, c);
}

uint32_t vidmm_process_space_count(const struct vidmm_process *p) { return p->privileged.ad != NULL ? 2 : 1; }
