/* SPDX-License-Identifier: MIT */
/* process.c — the process: owner of one application address space on the adapter (ADP-08).
 * Owns: struct vidmm_process. Calls: space.c, table.c, device.c, the driver. */
#include "core/core.h"

/* One address space, mapped on each gpu by tables of its own (LDA-02). */
static vidmm_status make_space(struct vidmm_process *p, struct vidmm_adapter *ad)
{
    struct vmm_space *sp = ad->gpu == 0 ? &p->space : vmm_new(ad, sizeof *sp);
    if (sp == NULL) return VIDMM_NO_MEMORY;
    p->on[ad->gpu] = sp;
    vidmm_status st = vmm_space_init(sp, ad, p);
    if (ad->lost) sp->dropped = true; /* nothing will ever run in it there; but devices are made by GPU 0 */
    if (st == VIDMM_OK && (!ad->lost || ad->gpu == 0))
        st = ad->ops->create_process(ad->kmd, false, &sp->kmd_process);
    if (!(ad->info.flags & VIDMM_ADAPTER_GPUMMU) && !BROKEN(ad, IOM_03)) {
        sp->unseen = true; /* no table and no translation: nothing is ever to be flushed */
        return st;
    }
    if (st == VIDMM_OK) st = vmm_tables_init(sp, VMM_ROOT_ENTRIES_MIN);
    return st;
}

static void free_bindings(struct vmm_space *sp)
{
    for (struct tree_node *n = tree_first(&sp->bindings); n != NULL; n = tree_first(&sp->bindings)) {
        tree_remove(&sp->bindings, n);
        vmm_delete(sp->ad, tree_entry(n, struct vmm_binding, node), sizeof(struct vmm_binding));
    }
}

static void free_space(struct vidmm_process *p, struct vmm_space *sp)
{
    struct vidmm_adapter *ad = sp->ad;
    if (sp->pending_root != NULL) vmm_table_free(ad, sp->pending_root);
    vmm_space_fini(sp);
    if (sp->kmd_process != NULL) ad->ops->destroy_process(ad->kmd, sp->kmd_process);
    if (sp != &p->space) vmm_delete(ad, sp, sizeof *sp);
}

static void free_process(struct vidmm_process *p)
{
    struct vidmm_adapter *ad = p->ad;
    SPACE_FOREACH(sp, p) {
        if (sp != NULL) free_bindings(sp);
    }
    vmm_fence_pages_free(p);
    vmm_privileged_free(p);
    for (uint32_t i = ad->gpu_count; i-- > 0;) /* GPU 0's last: it has the claims */
        if (p->on[i] != NULL) free_space(p, p->on[i]);
    vmm_delete(ad, p, sizeof *p);
}

vidmm_status vidmm_process_create(struct vidmm_adapter *ad, struct vidmm_process **out)
{
    return vidmm_process_create_for(ad, NULL, out);
}

vidmm_status vidmm_process_create_for(struct vidmm_adapter *ad, void *os_process, struct vidmm_process **out)
{
    if (ad->removed) return VIDMM_DEVICE_LOST;
    struct vidmm_process *p = vmm_new(ad, sizeof *p);
    if (p == NULL) return VIDMM_NO_MEMORY;
    p->ad = ad;
    list_init(&p->devices);
    list_init(&p->fence_pages);
    vidmm_status st = VIDMM_OK;
    LINK_FOREACH(g, ad) {
        if (st == VIDMM_OK) st = make_space(p, g);
    }
    if (st == VIDMM_OK && BROKEN(ad, TIL_06)) st = vmm_privileged_make(p);
    if (st == VIDMM_OK) st = vmm_iommu_bind(p, os_process); /* last: it is not taken back at once */
    if (st != VIDMM_OK) {
        free_process(p);
        return st;
    }
    p->id = ++ad->lead->next_id;
    LINK_FOREACH(g, ad) p->budget += g->budget;
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

static void drop_space(struct vmm_space *sp)
{
    vmm_tables_drop(sp);
    vmm_space_flush(sp, (struct range){ 0, UINT64_MAX });
}

/* Its pages may be in TLBs until a last flush of everything is done (inv. 5). */
bool vmm_process_step(struct vidmm_process *p)
{
    bool progress = false;
    LIST_FOREACH_SAFE(it, tmp, &p->devices)
        progress |= vmm_device_step(list_entry(it, struct vidmm_device, on_process));
    SPACE_FOREACH(sp, p) {
        if (sp->pending_root != NULL) progress |= vmm_space_root_step(sp);
    }
    if (p->dying == 1 && list_empty(&p->devices)) {
        SPACE_FOREACH(sp, p) drop_space(sp);
        for (uint32_t i = 0; i < p->ad->gpu_count; i++)
            if (p->privileged[i].space.tables.root != NULL) drop_space(vmm_privileged_of(p, i));
        vmm_waits_process(&p->waits, p);
        p->dying = 2;
        return true;
    }
    if (p->dying == 2 && vmm_waits_passed(p->ad, &p->waits)) p->dying = 3;
    if (p->dying == 3 && vmm_iommu_unbind(p)) {
        list_remove(&p->on_adapter);
        free_process(p);
        return true;
    }
    return progress;
}
