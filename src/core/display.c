/* SPDX-License-Identifier: MIT */
/* display.c — the primary that is displayed: mapped into the aperture before the display controller is told,
 * and unmapped when it has gone on to another one (IOM-07, SEG-16).
 * Owns: adapter.display. Calls: aperture.c, the driver. Keeps: invariants 4, 9.
 * Its range is taken at the call, from the high end of the aperture: what is left below is in one piece,
 * and is what admission of everybody else counts on.
 *
 *   IDLE -wanted is not shown-> MAP -> MAPPING -> TELL -> UNMAP -> UNMAPPING -> IDLE
 *   (MAP, MAPPING: only with something to show; UNMAP, UNMAPPING: only with something that was shown)    */
#include "core/core.h"

enum { DISPLAY_IDLE, DISPLAY_MAP, DISPLAY_MAPPING, DISPLAY_TELL, DISPLAY_UNMAP, DISPLAY_UNMAPPING };

static bool on_display(const struct vmm_display *y, const struct vidmm_open *op)
{
    return op == y->coming || op == y->shown || op == y->leaving;
}

/* Nobody's admission may break: everything that a device requires of the aperture fits below. */
static bool others_fit(const struct vidmm_adapter *ad, uint32_t limit)
{
    LIST_FOREACH(pi, &ad->processes) {
        LIST_FOREACH(di, &list_entry(pi, struct vidmm_process, on_adapter)->devices) {
            if (list_entry(di, struct vidmm_device, on_process)->aperture_pages > limit) return false;
        }
    }
    return true;
}

static vidmm_status take_range(struct vidmm_adapter *ad, struct vmm_alloc *al)
{
    if (al->aperture_count > 0) return VIDMM_OK; /* on its way out, or shown already */
    if (!vmm_aperture_take_high(ad, al)) return VIDMM_NO_VIDEO_MEMORY;
    if (others_fit(ad, vmm_aperture_limit(ad))) return VIDMM_OK;
    vmm_aperture_release(ad, al);
    return VIDMM_NO_VIDEO_MEMORY;
}

/* Somebody else is wanted now. */
static void want(struct vidmm_adapter *ad, struct vidmm_open *op)
{
    struct vmm_display *y = &ad->display;
    struct vidmm_open *before = y->wanted;
    y->wanted = op;
    if (before != NULL && before != op && !on_display(y, before)) vmm_aperture_release(ad, before->al);
}

vidmm_status vidmm_display_set(struct vidmm_adapter *ad, struct vidmm_open *op)
{
    struct vmm_display *y = &ad->display;
    if (ad->lost) return VIDMM_DEVICE_LOST;
    if (ad->ops->set_vidpn_source_address == NULL || ad->aperture == 0) return VIDMM_NOT_SUPPORTED;
    if (op != NULL) {
        if (op->dying || op->dev->proc->ad != ad || !op->al->primary) return VIDMM_INVALID;
        if (op->al->ad != ad || op->al->block != NULL) return VIDMM_NOT_SUPPORTED; /* it is GPU 0's */
        if (op->dev->state != VIDMM_DEVICE_ACTIVE) return VIDMM_DEVICE_LOST;
        if (op->al->segments != 1u || op->al->physical) return VIDMM_NOT_SUPPORTED;
        vidmm_status st = take_range(ad, op->al);
        if (st != VIDMM_OK) return st;
    }
    want(ad, op);
    return y->phase == DISPLAY_IDLE && y->wanted == y->shown ? VIDMM_OK : VIDMM_PENDING;
}

struct vidmm_open *vidmm_display_shown(const struct vidmm_adapter *ad) { return ad->display.shown; }

/* Its range comes back when it is shown no more; until then the allocation stays (alloc.c). */
void vmm_display_close(struct vidmm_open *op)
{
    struct vidmm_adapter *ad = op->dev->proc->ad;
    if (ad->display.wanted == op) want(ad, NULL);
}

void vmm_display_forget(struct vidmm_adapter *ad)
{
    ad->display = (struct vmm_display){ .phase = DISPLAY_IDLE };
}

static bool emit(struct vidmm_adapter *ad, struct vidmm_open *op, bool map)
{
    struct vmm_display *y = &ad->display;
    if (vmm_aperture_emit(ad, op->al, map, &y->multipass) == EMIT_WAIT) return false;
    y->multipass = 0;
    y->wait_seq = ad->batch_next;
    y->phase++;
    return true;
}

static void tell(struct vidmm_adapter *ad)
{
    struct vmm_display *y = &ad->display;
    struct vidmm_gpu_address at = { 0, 0 };
    void *allocation = NULL;
    if (y->coming != NULL) {
        at.segment = ad->aperture;
        at.offset = (uint64_t)y->coming->al->aperture_page << VIDMM_PAGE_SHIFT;
        allocation = y->coming->al->kmd_allocation;
    }
    ad->ops->set_vidpn_source_address(ad->kmd, 0, allocation, at);
    y->leaving = y->shown;
    y->shown = y->coming;
    y->coming = NULL;
    y->phase = y->leaving != NULL ? DISPLAY_UNMAP : DISPLAY_IDLE;
}

bool vmm_display_step(struct vidmm_adapter *ad)
{
    struct vmm_display *y = &ad->display;
    if (ad->lost) return false;
    switch (y->phase) {
    case DISPLAY_IDLE:
        if (y->wanted == y->shown) return false;
        y->coming = y->wanted;
        y->phase = y->coming != NULL && !BROKEN(ad, IOM_07) ? DISPLAY_MAP : DISPLAY_TELL;
        return true;
    case DISPLAY_MAP: return emit(ad, y->coming, true);
    case DISPLAY_UNMAP: return emit(ad, y->leaving, false);
    case DISPLAY_TELL: tell(ad); return true;
    default:
        if (!vmm_batch_passed(ad, y->wait_seq)) return false;
        if (y->phase == DISPLAY_MAPPING) {
            y->phase = DISPLAY_TELL;
            return true;
        }
        if (y->leaving != y->wanted) vmm_aperture_release(ad, y->leaving->al); /* else it is shown again */
        y->leaving = NULL;
        y->phase = DISPLAY_IDLE;
        return true;
    }
}
