/* SPDX-License-Identifier: MIT */
/* format.h - a page-table format as a driver uses it: encode and decode of entries. */
#ifndef SOFTGPU_FORMAT_H
#define SOFTGPU_FORMAT_H

#include <vidmm/kmd.h>

#include "softgpu/softgpu.h"

struct port_format {
    struct softgpu_format hw;
    uint32_t segment_max;        /* highest segment id an entry can name */
    uint64_t address_max;        /* entries name addresses below */
    uint64_t (*attr)(const struct vidmm_pte_kind *);
    void (*update)(const struct vidmm_update_page_table *);
    uint64_t (*load)(const void *table, uint32_t index);
    /* What pte_attr was given, as far as the entry keeps it. */
    void (*kind)(uint32_t level, uint64_t raw, struct vidmm_pte_kind *);
};

#endif
