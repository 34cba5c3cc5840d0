/* SPDX-License-Identifier: MIT */
/* space.c — a GPU address space as a whole: its indexes, and the flushes it owes.
 * Owns: space->claims (as a container), space->flush. Calls: span, table.c.
 * A flush is collected here, emitted by batch.c, and done when the batch `flush_seq` is (inv. 5). */
#include "core/core.h"

static void *hook_alloc(void *ctx, size_t size, size_t align)
{
    (void)align;
    return vmm_new(ctx, size);
}

static void hook_free(void *ctx, void *p, size_t size) { vmm_delete(ctx, p, size); }

vidmm_status vmm_space_init(struct vmm_space *sp, struct vidmm_adapter *ad, struct vidmm_process *proc)
{
    struct base_memory hook = { hook_alloc, hook_free, ad };
    uint64_t top = proc == NULL ? VMM_PAGING_END : 1ull << ad->info.va_bits;
    sp->ad = ad;
    sp->proc = proc;
    sp->claims = &sp->own_claims;
    list_init(&sp->pending);
    for (uint32_t i = 0; i < VIDMM_LEVELS_MAX; i++) list_init(&sp->owed[i]);
    tree_init(&sp->bindings);
    /* The low 4 GiB are for those who ask for them (Q49). */
    uint64_t pick = min_u64(1ull << 32, top / 2);
    bool shares = proc != NULL && sp == proc->on[ad->gpu] && ad->gpu != 0;
    if (shares && !BROKEN(ad, LDA_01)) { /* one VA space for the whole link */
        sp->claims = proc->space.claims;
        return VIDMM_OK;
    }
    return span_init(sp->claims, VIDMM_VA_LOWEST, top, pick, &hook) ? VIDMM_OK : VIDMM_INVALID;
}

void vmm_space_fini(struct vmm_space *sp)
{
    list_remove(&sp->on_flush);
    vmm_owed_forget(sp); /* an adapter that is lost leaves some */
    if (sp->tables.root != NULL) vmm_tables_fini(sp);
    if (sp->claims == &sp->own_claims) span_fini(sp->claims);
}

bool vmm_space_flush_pending(const struct vmm_space *sp)
{
    return sp->flush_seq > sp->ad->batch_done;
}

static bool merge_flush(struct range *f, uint64_t start, uint64_t end)
{
    if (start > f->end || end < f->start) return false;
    f->start = min_u64(f->start, start);
    f->end = max_u64(f->end, end);
    return true;
}

/* Ranges are merged when they touch; too many, and everything is flushed. */
void vmm_space_flush(struct vmm_space *sp, struct range r)
{
    if (sp->unseen) return;
    sp->flush_seq = sp->ad->batch_next;
    if (!list_is_linked(&sp->on_flush)) list_push_back(&sp->ad->flush_spaces, &sp->on_flush);
    if (sp->flush_all) return;
    for (uint32_t i = sp->flush_count; i-- > 0;)
        if (merge_flush(&sp->flush[i], r.start, r.end)) return;
    if (sp->flush_count == VMM_FLUSH_RANGES || r.end == UINT64_MAX) sp->flush_all = true;
    else sp->flush[sp->flush_count++] = r;
}

void vmm_space_forget_flushes(struct vmm_space *sp)
{
    list_remove(&sp->on_flush);
    vmm_owed_forget(sp);
    sp->flush_count = 0;
    sp->flush_all = false;
    sp->flush_seq = 0;
}

/* ---- the resizable root of two-level spaces ---- */

/* Entries that linked tables and queued maps count on. */
static uint32_t root_needed(struct vmm_space *sp)
{
    uint32_t needed = max_u32(vmm_root_used(sp), VMM_ROOT_ENTRIES_MIN);
    LIST_FOREACH(it, &sp->pending) {
        const struct vmm_request *r = list_entry(it, struct vmm_request, on_pending);
        if (!r->unmap) needed = max_u32(needed, (uint32_t)((r->range.end - 1) >> sp->ad->shift[1]) + 1);
    }
    return needed;
}

/* A larger root is wanted; the largest of several wins, and none that would shrink what there is. */
void vmm_space_offer_root(struct vmm_space *sp, struct vmm_table *root)
{
    struct vmm_table *loser = root;
    bool larger = root->entries > vmm_tables_coverage(sp);
    if (larger && (sp->pending_root == NULL || sp->pending_root->entries < root->entries)) {
        loser = sp->pending_root;
        sp->pending_root = root;
    }
    if (loser == NULL) return;
    sp->tables.count--;
    vmm_table_free(sp->ad, loser);
}

void vmm_space_shrink(struct vmm_space *sp)
{
    if (sp->tables.root == NULL) return;
    uint32_t now = vmm_tables_coverage(sp), used;
    if (sp->ad->info.level_count != 2 || sp->pending_root != NULL || now <= VMM_ROOT_ENTRIES_MIN) return;
    if (sp->ad->silent) return;
    used = root_needed(sp);
    if (used > now / 4) return;
    uint32_t gives = used;
    sp->ad->ops->get_root_page_table_size(sp->ad->kmd, &gives);
    if (gives < now) sp->pending_root = vmm_table_new(sp, 1, used); /* without memory it simply stays large */
}

bool vmm_space_root_step(struct vmm_space *sp)
{
    struct vmm_table *root = sp->pending_root;
    if (root == NULL || !vmm_contexts_idle(sp)) return false;
    sp->pending_root = NULL;
    if (root->entries < vmm_tables_coverage(sp) && root->entries < root_needed(sp)) {
        sp->tables.count--;
        vmm_table_free(sp->ad, root);
        return true;
    }
    vmm_root_swap(sp, root);
    sp->gate_seq = sp->flush_seq;
    return true;
}
