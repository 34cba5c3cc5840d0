/* SPDX-License-Identifier: MIT */
/* link.c — what the gpus of a link have in common: are they fit for each other, and what has to be waited for
 * when their tables name the same memory. Owns: nothing. Calls: nothing.
 * Each gpu has its own paging process and batches, so a flush is waited for gpu by gpu. */
#include "core/core.h"

/* ---- waiting for batches of several gpus ---- */

void vmm_waits_add(struct vmm_waits *w, const struct vmm_space *sp)
{
    if (!vmm_space_flush_pending(sp)) return;
    uint64_t *seq = &w->seq[sp->ad->gpu];
    *seq = max_u64(*seq, sp->flush_seq);
}

void vmm_waits_process(struct vmm_waits *w, const struct vidmm_process *p)
{
    SPACE_FOREACH(sp, p) vmm_waits_add(w, sp);
    for (uint32_t i = 0; i < p->ad->gpu_count; i++)
        if (p->privileged[i].space.ad != NULL) vmm_waits_add(w, &p->privileged[i].space);
}

bool vmm_waits_passed(const struct vidmm_adapter *ad, const struct vmm_waits *w)
{
    LINK_FOREACH(g, ad) {
        if (!vmm_batch_passed(g, w->seq[g->gpu])) return false;
    }
    return true;
}

/* Flushes of mappings that are gone already are on nobody's list: so it is everything that those gpus owe. */
void vmm_waits_peers(struct vmm_waits *w, const struct vmm_alloc *al)
{
    LINK_FOREACH(g, al->ad) {
        bool owes = g->batch_open || !list_empty(&g->flush_spaces);
        if (g == al->ad || !(al->seen >> g->gpu & 1u)) continue;
        w->seq[g->gpu] = owes ? g->batch_next : g->batch_next - 1;
    }
}

/* ---- bring-up ---- */

const char *vmm_link_check(const struct vidmm_adapter *ad)
{
    const struct vidmm_adapter_info *first = &ad->lead->info, *in = &ad->info;
    for (uint32_t i = 0; i < in->node_count; i++)
        if (in->node[i].physical) return "a gpu of a link has a physical node";
    /* Devices are logical: GPU 0's driver makes them for all (LDA-13). */
    if ((in->flags & VIDMM_ADAPTER_IOMMU) && ad->lead->ops->create_device == NULL)
        return "IoMmuSupported in a link needs create_device of its first gpu";
    if (in->va_bits != first->va_bits)
        return "gpus of a link differ in VirtualAddressBitCount"; /* LDA-07 */
    if (in->node_count != first->node_count)
        return "gpus of a link differ in their number of nodes"; /* ADP-19 */
    return NULL;
}

struct vidmm_adapter *vmm_link_engine(const struct vidmm_adapter *lead, uint32_t affinity)
{
    uint32_t gpu = affinity != 0 ? ctz32(affinity) : 0;
    return affinity <= 1u << gpu && gpu < lead->gpu_count ? lead->link[gpu] : NULL;
}

uint32_t vmm_link_sched_flags(const struct vidmm_adapter *lead)
{
    uint32_t flags = 0;
    LINK_FOREACH(g, lead) flags |= g->info.sched_flags;
    return flags;
}

/* ---- the loss of one gpu ---- */

bool vmm_device_uses(const struct vidmm_device *d, const struct vidmm_adapter *ad)
{
    bool uses = false;
    LIST_FOREACH(it, &d->contexts) uses |= list_entry(it, struct vidmm_context, on_device)->ad == ad;
    LIST_FOREACH(it, &d->hwcontexts) uses |= list_entry(it, struct vidmm_hwcontext, on_device)->ad == ad;
    LIST_FOREACH(it, &d->queues) uses |= list_entry(it, struct vidmm_queue, on_device)->ad == ad;
    LIST_FOREACH(it, &d->opens) uses |= list_entry(it, struct vidmm_open, on_device)->al->ad == ad;
    return uses;
}
