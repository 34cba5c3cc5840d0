/* SPDX-License-Identifier: MIT */
/* open.c - a device's reference to an allocation: made with the allocation, or later by another device of the
 * same or another process. Owns: struct vidmm_open (closing it is in alloc.c). Calls: the driver, move.c. */
#include "core/core.h"

void vmm_open_unmake(struct vidmm_open *op)
{
    struct vidmm_adapter *ad = op->dev->proc->ad;
    (void)vmm_iommu_close(op); /* of what was never linked: nobody knows the address yet */
    if (ad->ops->close_allocation != NULL) ad->ops->close_allocation(ad->kmd, op->kmd_open); /* ALC-17 */
    vmm_delete(ad, op, sizeof *op);
}

vidmm_status vmm_open_make(struct vidmm_device *d, struct vmm_alloc *al, uint32_t kmd_flags,
                           struct vidmm_open **out)
{
    struct vidmm_adapter *ad = d->proc->ad;
    struct vidmm_kmd_open ko = { .process = d->proc->space.kmd_process, .allocation = al->kmd_allocation,
                                 .flags = kmd_flags };
    struct vidmm_open *op = vmm_new(ad, sizeof *op);
    if (op == NULL) return VIDMM_NO_MEMORY;
    vidmm_status st = ad->ops->open_allocation != NULL ? ad->ops->open_allocation(ad->kmd, &ko) : VIDMM_OK;
    if (st != VIDMM_OK) {
        vmm_delete(ad, op, sizeof *op);
        return st;
    }
    op->dev = d;
    op->al = al;
    op->kmd_open = ko.handle;
    op->read_only = (kmd_flags & VIDMM_KMD_OPEN_READ_ONLY) != 0;
    st = vmm_iommu_open(op, al);
    if (st != VIDMM_OK) vmm_open_unmake(op);
    else *out = op;
    return st;
}

void vmm_open_link(struct vidmm_open *op)
{
    op->id = ++op->dev->proc->ad->next_id;
    list_push_back(&op->al->opens, &op->on_alloc);
    list_push_back(&op->dev->opens, &op->on_device);
    vmm_move_join(op);
}

bool vmm_open_last(const struct vidmm_open *op)
{
    return op->al->opens.next == op->al->opens.prev;
}

static bool has_open(const struct vmm_alloc *al, const struct vidmm_device *d)
{
    LIST_FOREACH(it, &al->opens) {
        const struct vidmm_open *op = list_entry(it, struct vidmm_open, on_alloc);
        if (op->dev == d && !op->dying) return true;
    }
    return false;
}

static bool any_lost(const struct vidmm_open *op)
{
    while (op != NULL && !op->al->ad->lost) op = op->next;
    return op != NULL;
}

/* All instances, or nothing. */
static vidmm_status open_all(struct vidmm_device *d, const struct vidmm_open *from, uint32_t kmd_flags,
                             struct vidmm_open **out)
{
    struct vidmm_open *first = NULL, **at = &first;
    vidmm_status st = VIDMM_OK;
    for (const struct vidmm_open *i = from; st == VIDMM_OK && i != NULL; i = i->next) {
        st = vmm_open_make(d, i->al, kmd_flags, at);
        if (st == VIDMM_OK) at = &(*at)->next;
    }
    while (st != VIDMM_OK && first != NULL) {
        struct vidmm_open *next = first->next;
        vmm_open_unmake(first);
        first = next;
    }
    if (st == VIDMM_OK) *out = first;
    return st;
}

vidmm_status vidmm_alloc_open(struct vidmm_device *d, const struct vidmm_open *from, uint32_t flags,
                              struct vidmm_open **out)
{
    struct vidmm_adapter *ad = d->proc->ad;
    if (d->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
    if (any_lost(from)) return VIDMM_DEVICE_LOST;
    if (from->dying || from->dev->proc->ad != ad || (flags & ~(uint32_t)VIDMM_OPEN_READ_ONLY))
        return VIDMM_INVALID;
    if (has_open(from->al, d)) return VIDMM_INVALID;
    if (d->model == VIDMM_MODEL_IOMMU && !(from->al->segments & 1u)) return VIDMM_INVALID; /* IOM-06 */
    if (BROKEN(ad, IOM_08) && d->model == VIDMM_MODEL_IOMMU) return VIDMM_INVALID;
    if (BROKEN(ad, ALC_05) && d->proc != from->dev->proc) return VIDMM_INVALID;
    uint32_t kmd_flags = flags & VIDMM_OPEN_READ_ONLY ? VIDMM_KMD_OPEN_READ_ONLY : 0;
    struct vidmm_open *first;
    vidmm_status st = open_all(d, from, kmd_flags, &first);
    if (st != VIDMM_OK) return st;
    INSTANCE_FOREACH(op, first) vmm_open_link(op);
    *out = first;
    return VIDMM_OK;
}
