/* SPDX-License-Identifier: MIT */
/* syspage.c — the system paging process: its space of fixed layout, its context, its scratch windows.
 * Owns: adapter->paging, buffer memory. Calls: table.c, place.c, the driver. Keeps: invariant 3.
 *
 *   0      4K      64K              2M       4M              36M             68M              100M       1G
 *   |invalid| ...  | paging buffers | tables | window 0: src | window 1: dst | window 2: tables |  spare  |
 *
 * All tables of the 1 GiB exist from bring-up on and never change; only scratch entries do (PAG-15..17).
 * They are begun by the CPU. In GPU_VIRTUAL mode the engine writes the scratch entries through [2M, 4M),
 * where the leaf tables of the windows show themselves, and other spaces' tables through window 2. */
#include "core/core.h"

static void write_buffer_entries(struct vidmm_adapter *ad)
{
    uint64_t bytes = (uint64_t)ad->info.paging_buffer_bytes * VMM_BUFFERS;
    struct vidmm_pte_kind kind = { .flags = VIDMM_PTE_VALID, .segment = VMM_SYSTEM };
    struct vidmm_pte_run run = { .address = ad->buffers.logical * VIDMM_PAGE_SIZE,
                                 .count = (uint32_t)(bytes / VIDMM_PAGE_SIZE),
                                 .step = (uint32_t)VIDMM_PAGE_SIZE };
    run.attr = ad->ops->pte_attr(ad->kmd, &kind);
    vmm_tables_write(&ad->paging, (struct range){ VMM_BUFFER_VA, VMM_BUFFER_VA + bytes }, &run, 1);
}

static vidmm_status map_buffers(struct vidmm_adapter *ad)
{
    uint64_t each = ad->info.paging_buffer_bytes, bytes = each * VMM_BUFFERS;
    uint64_t pages = bytes / VIDMM_PAGE_SIZE;
    if (VMM_BUFFER_VA + bytes > VMM_TABLES_VA) return VIDMM_INVALID;
    vidmm_status st = vmm_frames_take(ad, pages, &ad->buffers);
    if (st != VIDMM_OK) return st;
    write_buffer_entries(ad);
    char *cpu = ad->platform->sys_address(ad->platform->ctx, ad->buffers.frame);
    for (uint32_t i = 0; i < VMM_BUFFERS; i++) {
        ad->buffer[i].kmd = (struct vidmm_paging_buffer){ .cpu = cpu + i * each, .bytes = (uint32_t)each,
                                                          .gpu_va = VMM_BUFFER_VA + i * each };
    }
    return VIDMM_OK;
}

/* ---- layout ---- */

static uint64_t windows_end(void) { return VMM_SCRATCH_START + VMM_WINDOWS * VMM_SCRATCH_WINDOW; }

const char *vmm_paging_check(const struct vidmm_adapter_info *in)
{
    uint32_t shift = VIDMM_PAGE_SHIFT + in->level[0].index_bits;
    uint64_t leaves = ((windows_end() - 1) >> shift) - (VMM_SCRATCH_START >> shift) + 1;
    if (in->update_mode != VIDMM_UPDATE_GPU_VIRTUAL) return NULL;
    for (uint32_t i = 0; i < in->level_count; i++)
        if (in->level[i].table_bytes > VMM_SCRATCH_WINDOW) return "a page table is too large for GPU_VIRTUAL";
    if (leaves * in->level[0].table_bytes > VMM_SCRATCH_START - VMM_TABLES_VA)
        return "leaf tables cover too little for GPU_VIRTUAL";
    return NULL;
}

bool vmm_paging_reaches_root(const struct vidmm_adapter *ad)
{
    uint32_t entries = 1u << ad->info.level[1].index_bits;
    if (ad->info.update_mode != VIDMM_UPDATE_GPU_VIRTUAL || ad->info.level_count != 2) return true;
    return ad->ops->get_root_page_table_size(ad->kmd, &entries) <= VMM_SCRATCH_WINDOW;
}

uint64_t vmm_paging_table_va(const struct vidmm_adapter *ad, const struct vmm_table *leaf)
{
    uint64_t first = VMM_SCRATCH_START >> ad->shift[1];
    uint64_t n = (vmm_table_start(&ad->paging, leaf) >> ad->shift[1]) - first;
    return VMM_TABLES_VA + n * ad->info.level[0].table_bytes;
}

/* The leaf tables of the windows show themselves. */
static void write_table_entries(struct vidmm_adapter *ad)
{
    uint64_t bytes = 1ull << ad->shift[1];
    if (ad->info.update_mode != VIDMM_UPDATE_GPU_VIRTUAL) return;
    for (uint64_t va = VMM_SCRATCH_START; va < windows_end(); va = (va & ~(bytes - 1)) + bytes) {
        const struct vmm_table *leaf = vmm_leaf_find(&ad->paging, va);
        struct vidmm_pte_kind kind = { .flags = VIDMM_PTE_VALID, .segment = leaf->segment, .gpu = ad->gpu };
        struct vidmm_pte_run run = { .address = leaf->address, .step = (uint32_t)VIDMM_PAGE_SIZE,
                                     .count = leaf->bytes >> VIDMM_PAGE_SHIFT };
        uint64_t at = vmm_paging_table_va(ad, leaf);
        run.attr = ad->ops->pte_attr(ad->kmd, &kind);
        vmm_tables_write(&ad->paging, (struct range){ at, at + leaf->bytes }, &run, 1);
    }
}

/* From here on, or not yet, the mode of the driver. */
static void cpu_writes(struct vidmm_adapter *ad, bool cpu)
{
    ad->paging.tables.update.mode = cpu ? VIDMM_UPDATE_CPU_VIRTUAL : ad->info.update_mode;
    ad->paging.tables.described = NULL;
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
    write_table_entries(ad);
    vmm_space_forget_flushes(sp); /* no engine has seen the space yet */
    cpu_writes(ad, false);
    return VIDMM_OK;
}

/* Scratch entries need not come back: nothing is on its way any more. */
void vmm_paging_rebuild(struct vidmm_adapter *ad)
{
    cpu_writes(ad, true);
    vmm_tables_rewrite(&ad->paging);
    write_buffer_entries(ad);
    write_table_entries(ad);
    cpu_writes(ad, false);
    vmm_scratch_forget(ad);
    vmm_space_forget_flushes(&ad->paging); /* no engine has seen the new entries yet */
    ad->paging_root_set = 0;
}

void vmm_paging_fini(struct vidmm_adapter *ad)
{
    struct vmm_space *sp = &ad->paging;
    if (ad->paging_context != NULL) ad->ops->destroy_context(ad->kmd, ad->paging_context);
    vmm_frames_give(ad, &ad->buffers);
    if (sp->ad != NULL) {
        cpu_writes(ad, true);
        vmm_tables_drop(sp);
        vmm_space_fini(sp);
    }
    if (sp->kmd_process != NULL) ad->ops->destroy_process(ad->kmd, sp->kmd_process);
}

/* ---- scratch windows ---- */

static uint64_t window_start(uint32_t window) { return VMM_SCRATCH_START + window * VMM_SCRATCH_WINDOW; }

void vmm_scratch_forget(struct vidmm_adapter *ad) { memset(ad->window, 0, sizeof ad->window); }

/* The slot that shows va, or the next one after it; NULL: none. */
static const struct vmm_slot *slot_at(const struct vidmm_adapter *ad, uint64_t va)
{
    for (uint32_t i = 0; i < ad->slot_count; i++)
        if (va < ad->slot[i].va + ad->slot[i].table->bytes) return &ad->slot[i];
    return NULL;
}

/* One run of what va on shows, up to *end at most, which becomes where it ends. false: nothing. */
static bool derive_run(struct vidmm_adapter *ad, uint64_t va, uint64_t *end, struct vidmm_pte_run *run,
                       struct vidmm_pte_kind *kind)
{
    uint32_t n = (uint32_t)((va - VMM_SCRATCH_START) / VMM_SCRATCH_WINDOW);
    *end = min_u64(*end, window_start(n + 1));
    if (n == VMM_TABLES_WINDOW) {
        const struct vmm_slot *s = slot_at(ad, va);
        if (s == NULL) return false;
        *end = min_u64(*end, va < s->va ? s->va : s->va + s->table->bytes);
        run->address = s->table->address + (va - s->va);
        kind->segment = s->table->segment;
        return va >= s->va;
    }
    const struct vmm_window *w = &ad->window[n];
    uint64_t at = va - window_start(n), left;
    if (w->al == NULL || at >= w->bytes) return false;
    run->address = vmm_place_run(w->al, w->segment, w->offset + at, &left);
    kind->segment = w->segment;
    kind->gpu = w->gpu;
    kind->driver_protection = w->driver_protection;
    *end = min_u64(*end, va + min_u64(left, w->bytes - at));
    return true;
}

uint64_t vmm_scratch_derive(struct vidmm_adapter *ad, uint64_t va, uint64_t end,
                            struct vidmm_update_page_table *u, struct vidmm_pte_run *runs)
{
    for (u->run_count = 0; u->run_count < VMM_RUNS && va < end; u->run_count++) {
        struct vidmm_pte_run *run = &runs[u->run_count];
        struct vidmm_pte_kind kind = { .flags = VIDMM_PTE_VALID, .gpu = ad->gpu };
        uint64_t to = end;
        *run = (struct vidmm_pte_run){ .step = (uint32_t)VIDMM_PAGE_SIZE };
        bool shown = derive_run(ad, va, &to, run, &kind);
        if (u->run_count > 0 && kind.driver_protection != u->driver_protection) break; /* one of each call */
        u->driver_protection = kind.driver_protection;
        if (shown) run->attr = ad->ops->pte_attr(ad->kmd, &kind);
        else *run = ad->paging.tables.invalid[0];
        run->count = (uint32_t)((to - va) >> VIDMM_PAGE_SHIFT);
        va = to;
    }
    return va;
}

static void write_window(struct vidmm_adapter *ad, struct range r)
{
    struct vidmm_pte_run runs[VMM_RUNS];
    struct vidmm_update_page_table *u = &ad->paging.tables.update;
    for (uint64_t va = r.start, next; va < r.end; va = next) {
        next = vmm_scratch_derive(ad, va, r.end, u, runs);
        vmm_tables_write(&ad->paging, (struct range){ va, next }, runs, u->run_count);
    }
    u->driver_protection = 0;
    vmm_space_flush(&ad->paging, r);
}

uint64_t vmm_scratch_map(struct vidmm_adapter *ad, uint32_t window, const struct vmm_window *shown)
{
    uint64_t start = window_start(window);
    ad->window[window] = *shown;
    write_window(ad, (struct range){ start, start + shown->bytes });
    return start;
}

void vmm_scratch_show_tables(struct vidmm_adapter *ad)
{
    const struct vmm_slot *last = &ad->slot[ad->slot_count - 1];
    write_window(ad, (struct range){ window_start(VMM_TABLES_WINDOW), last->va + last->table->bytes });
}
