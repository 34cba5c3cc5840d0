/* SPDX-License-Identifier: MIT */
/* process.c — the process: owner of one application address space on the adapter (ADP-08).
 * Owns: struct vidmm_process. Calls: space.c, table.c, device.c, the driver. */
#include "core/core.h"

static vidmm_status make_space(struct vidmm_process *p)
{
    vidmm_status st = vmm_space_init(&p->space, p->ad, p);
    if (st == VIDMM_OK) st = p->ad->ops->create_process(p->ad->kmd, false, &p->space.kmd_process);
    if (!(p->ad->info.flags & VIDMM_ADAPTER_GPUMMU) && !BROKEN(p->ad, IOM_03)) {
        p->space.unseen = true; /* no table and no translation: nothing is ever to be flushed */
        return st;
    }
    if (st == VIDMM_OK) st = vmm_tables_init(&p->space, VMM_ROOT_ENTRIES_MIN);
    return st;
}

static void free_process(struct vidmm_process *p)
{
    struct vidmm_adapter *ad = p->ad;
    for (struct tree_node *n = tree_first(&p->space.bindings); n != NULL;
         n = tree_first(&p->space.bindings)) {
        tree_remove(&p->space.bindings, n);
        vmm_delete(ad, tree_entry(n, struct vmm_binding, node), sizeof(struct vmm_binding));
    }
    vmm_fence_pages_free(p);
    vmm_privileged_free(p);
    if (p->space.pending_root != NULL) vmm_table_free(ad, p->space.pending_root);
    if (p->space.ad != NULL) vmm_space_fini(&p->space);
    if (p->space.kmd_process != NULL) ad->ops->destroy_process(ad->kmd, p->space.kmd_process);
    vmm_delete(ad, p, sizeof *p);
}

vidmm_status vidmm_process_create(struct vidmm_adapter *ad, struct vidmm_process **out)
{
    return vidmm_process_create_for(ad, NULL, out);
}

vidmm_status vidmm_process_create_for(struct vidmm_adapter *ad, void *os_process, struct vidmm_process **out)
{
    if (ad->lost) return VIDMM_DEVICE_LOST;
    struct vidmm_process *p = vmm_new(ad, sizeof *p);
    if (p == NULL) return VIDMM_NO_MEMORY;
    p->ad = ad;
    list_init(&p->devices);
    list_init(&p->fence_pages);
    vidmm_status st = make_space(p);
    if (st == VIDMM_OK && BROKEN(ad, TIL_06)) st = vmm_privileged_make(p);
    if (st == VIDMM_OK) st = vmm_iommu_bind(p, os_process); /* last: it is not taken back at once */
    if (st != VIDMM_OK) {
        free_process(p);
        return st;
    }
    p->id = ++ad->next_id;
    p->budget = ad->budget;
    list_push_back(&ad->processes, &p->on_adapter);
    ad->counters->processes++;
    *out = p;
    return VIDMM_OK;
}

void vidmm_process_destroy(struct vidmm_process *p)
{
    if (p->dying) return;
    p->dying = 1;
    LIST_FOREACH_SAFE(it, tmp, &p->devices)
        vidmm_device_destroy(list_entry(it, struct vidmm_device, on_process));
}

/* Its pages may be in TLBs until a last flush of everything is done (inv. 5). */
bool vmm_process_step(struct vidmm_process *p)
{
    bool progress = false;
    LIST_FOREACH_SAFE(it, tmp, &p->devices)
        progress |= vmm_device_step(list_entry(it, struct vidmm_device, on_process));
    if (p->space.pending_root != NULL) progress |= vmm_space_root_step(&p->space);
    if (p->dying == 1 && list_empty(&p->devices)) {
        vmm_tables_drop(&p->space);
        vmm_space_flush(&p->space, (struct range){ 0, UINT64_MAX });
        if (p->privileged.tables.root != NULL) {
            vmm_tables_drop(&p->privileged);
            vmm_space_flush(&p->privileged, (struct range){ 0, UINT64_MAX });
        }
        p->wait_seq = max_u64(p->space.flush_seq, p->privileged.flush_seq);
        p->dying = 2;
        return true;
    }
    if (p->dying == 2 && (vmm_batch_passed(p->ad, p->wait_seq) || p->ad->lost)) p->dying = 3;
    if (p->dying == 3 && vmm_iommu_unbind(p)) {
        list_remove(&p->on_adapter);
        free_process(p);
        return true;
    }
    return progress;
}
