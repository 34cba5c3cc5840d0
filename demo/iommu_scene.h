/* SPDX-License-Identifier: MIT */
/* iommu_scene.h — a program of our own on the IoMmu model with the machine's own page tables: the GPU follows
 * and changes what the CPU built, through the same pointers, in malloc's memory and in pages nobody has
 * touched; and it is let loose on memory that goes away under it. */
#ifndef VIDMM_DEMO_IOMMU_SCENE_H
#define VIDMM_DEMO_IOMMU_SCENE_H

#include <stdbool.h>
#include <stdint.h>

struct iommu_result {
    const char *wrong;                /* NULL: everything was as it must be */
    uint64_t nodes, brought;          /* lists: nodes walked; pages that came because the GPU touched them */
    uint64_t tiles;                   /* drawn and compared */
    uint64_t packets, faults, wild;   /* storm: what got through; contained faults, of wild pointers */
    uint64_t remaps, words;           /* changes of mappings; words compared */
};

/* Each part stops at the first thing that is wrong. break_row: test builds: a rule to be broken, or NULL. */
void iommu_lists(const char *break_row, struct iommu_result *);
void iommu_tiles(const char *break_row, struct iommu_result *);
/* A GpuMmu and an IoMmu process on one node at the same time. */
void iommu_both(const char *break_row, struct iommu_result *);
/* Four engine threads at random addresses, while two threads unmap, protect and map what is there. */
void iommu_storm(const char *break_row, double seconds, uint64_t seed, struct iommu_result *);

#endif
