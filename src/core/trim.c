/* SPDX-License-Identifier: MIT */
/* trim.c - a process over its budget is to be told. Owns: process->trim_due, trim_told. Calls: resid.c.
 * The event is a bit; the figure is computed when it is taken, so that it is always the newest. */
#include "core/core.h"

void vidmm_process_set_budget(struct vidmm_process *p, uint64_t bytes)
{
    p->budget = bytes;
    p->trim_told = 0;
    p->trim_due = vmm_over_budget(p, 0) > 0;
}

/* Once per figure: pressure lasts, and a client that cannot trim further is not told again and again. */
void vmm_trim_pressure(struct vidmm_adapter *ad)
{
    LIST_FOREACH(it, &ad->lead->processes) {
        struct vidmm_process *p = list_entry(it, struct vidmm_process, on_adapter);
        uint64_t over = vmm_over_budget(p, 0);
        if (over > 0 && over != p->trim_told) p->trim_due = true;
    }
}

bool vidmm_process_take_trim(struct vidmm_process *p, struct vidmm_trim *out)
{
    uint64_t over = vmm_over_budget(p, 0);
    bool due = p->trim_due && over > 0;
    p->trim_due = false;
    if (!due) return false;
    p->trim_told = over;
    *out = (struct vidmm_trim){ VIDMM_TRIM_TO_BUDGET, over };
    return true;
}
