/* SPDX-License-Identifier: MIT */
/* syspage.c — the system paging process: its space of fixed layout, its context, its scratch windows.
 * Owns: adapter->paging, buffer memory. Calls: table.c, place.c, the driver. Keeps: invariant 3.
 *
 *   0      4K      64K              4M            36M            68M                          1G
 *   |invalid| ...  | paging buffers | window 0: src | window 1: dst |  spare, tables in place  |
 *
 * All tables of the 1 GiB exist from bring-up on and never change; only scratch entries do (PAG-15..17). */
#include "core/core.h"

static void write_buffer_entries(struct vidmm_adapter *ad)
{
    uint64_t bytes = (uint64_t)ad->info.paging_buffer_bytes * VMM_BUFFERS;
    struct vidmm_pte_kind kind = { .flags = VIDMM_PTE_VALID, .segment = VMM_SYSTEM };
    struct vidmm_pte_run run = { .address = ad->buffer_frame * VIDMM_PAGE_SIZE,
                                 .count = (uint32_t)(bytes / VIDMM_PAGE_SIZE),
                                 .step = (uint32_t)VIDMM_PAGE_SIZE };
    run.attr = ad->ops->pte_attr(ad->kmd, &kind);
    vmm_tables_write(&ad->paging, (struct range){ VMM_BUFFER_VA, VMM_BUFFER_VA + bytes }, &run, 1);
}

static vidmm_status map_buffers(struct vidmm_adapter *ad)
{
    uint64_t each = ad->info.paging_buffer_bytes, bytes = each * VMM_BUFFERS;
    uint64_t pages = bytes / VIDMM_PAGE_SIZE;
    if (VMM_BUFFER_VA + bytes > VMM_SCRATCH_START) return VIDMM_INVALID;
    vidmm_status st = ad->platform->sys_alloc(ad->platform->ctx, pages, &ad->buffer_frame);
    if (st != VIDMM_OK) return st;
    write_buffer_entries(ad);
    char *cpu = ad->platform->sys_address(ad->platform->ctx, ad->buffer_frame);
    for (uint32_t i = 0; i < VMM_BUFFERS; i++) {
        ad->buffer[i].kmd = (struct vidmm_paging_buffer){ .cpu = cpu + i * each, .bytes = (uint32_t)each,
                                                          .gpu_va = VMM_BUFFER_VA + i * each };
    }
    return VIDMM_OK;
}

vidmm_status vmm_paging_init(struct vidmm_adapter *ad, const char **why)
{
    struct vmm_space *sp = &ad->paging;
    struct vidmm_kmd_context kc = { .node = ad->info.paging_node,
                                    .flags = VIDMM_CONTEXT_SYSTEM | VIDMM_CONTEXT_VIRTUAL };
    ad->batch_next = 1;
    *why = "the driver did not create the paging process";
    vidmm_status st = vmm_space_init(sp, ad, NULL);
    if (st == VIDMM_OK) st = ad->ops->create_process(ad->kmd, true, &sp->kmd_process);
    if (st != VIDMM_OK) return st;
    *why = "no memory for the paging process' page tables";
    st = vmm_tables_init(sp, (uint32_t)(VMM_PAGING_END >> ad->shift[ad->info.level_count - 1]));
    if (st == VIDMM_OK) st = vmm_tables_acquire(sp, (struct range){ VIDMM_PAGE_SIZE, VMM_PAGING_END });
    if (st != VIDMM_OK) return st;
    *why = "no memory for paging buffers, or they are too large for the paging space";
    st = map_buffers(ad);
    if (st != VIDMM_OK) return st;
    *why = "the driver did not create the paging context";
    kc.process = sp->kmd_process;
    st = ad->ops->create_context(ad->kmd, &kc);
    if (st != VIDMM_OK) return st;
    ad->paging_context = kc.handle;
    vmm_space_forget_flushes(sp); /* no engine has seen the space yet */
    return VIDMM_OK;
}

/* Scratch entries need not come back: nothing is on its way any more. */
void vmm_paging_rebuild(struct vidmm_adapter *ad)
{
    vmm_tables_rewrite(&ad->paging);
    write_buffer_entries(ad);
    vmm_space_forget_flushes(&ad->paging); /* no engine has seen the new entries yet */
    ad->paging_root_set = 0;
}

void vmm_paging_fini(struct vidmm_adapter *ad)
{
    struct vmm_space *sp = &ad->paging;
    if (ad->paging_context != NULL) ad->ops->destroy_context(ad->kmd, ad->paging_context);
    if (ad->buffer_frame != 0) {
        uint64_t bytes = (uint64_t)ad->info.paging_buffer_bytes * VMM_BUFFERS;
        ad->platform->sys_free(ad->platform->ctx, ad->buffer_frame, bytes / VIDMM_PAGE_SIZE);
    }
    if (sp->ad != NULL) vmm_space_fini(sp);
    if (sp->kmd_process != NULL) ad->ops->destroy_process(ad->kmd, sp->kmd_process);
}

uint64_t vmm_scratch_map(struct vidmm_adapter *ad, uint32_t window, struct vmm_alloc *al, uint32_t segment,
                         uint64_t offset, uint64_t bytes)
{
    uint64_t start = VMM_SCRATCH_START + window * VMM_SCRATCH_WINDOW, va = start, end = start + bytes;
    struct vidmm_pte_kind kind = { .flags = VIDMM_PTE_VALID, .segment = segment };
    struct vidmm_pte_run run = { .step = (uint32_t)VIDMM_PAGE_SIZE };
    run.attr = ad->ops->pte_attr(ad->kmd, &kind);
    while (va < end) {
        uint64_t left;
        run.address = vmm_place_run(al, segment, offset + (va - start), &left);
        left = min_u64(left, end - va);
        run.count = (uint32_t)(left >> VIDMM_PAGE_SHIFT);
        vmm_tables_write(&ad->paging, (struct range){ va, va + left }, &run, 1);
        va += left;
    }
    vmm_space_flush(&ad->paging, (struct range){ start, end });
    return start;
}
