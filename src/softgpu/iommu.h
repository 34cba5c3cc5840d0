/* SPDX-License-Identifier: MIT */
/* iommu.h - the modelled translation unit: PASID directory and tables, first-stage tables as x86-64 CPUs walk
 * them, an IOTLB, a device TLB per source, page requests. Hardware: it reads what an operating system built,
 * through platform->sys_address, and knows nothing of it. Deterministic, and counts its memory references.
 *
 * Formats, in system memory, little-endian words of 64 bits:
 *   directory   512 words; bit 0 present, bits 12-51 a PASID table.      index: PASID bits 6-14
 *   table       64 entries of 8 words.                                    index: PASID bits 0-5
 *               word 0: bit 0 present; word 2: bits 2-3 levels - 4 (0 or 1), bits 12-51 the top-level table
 *   first stage x86-64: bit 0 P, 1 RW, 2 US, 5 A, 6 D (set here), bits 12-51 address; no large pages */
#ifndef SOFTGPU_IOMMU_H
#define SOFTGPU_IOMMU_H

#include <vidmm/platform.h>

#define IOMMU_PASID_MAX 0x7fffu

enum iommu_pte { IOMMU_P = 1u << 0, IOMMU_RW = 1u << 1, IOMMU_US = 1u << 2, IOMMU_A = 1u << 5,
                 IOMMU_D = 1u << 6 };
#define IOMMU_ADDRESS 0x000ffffffffff000ull

struct softgpu_iommu;

/* Parts of an invalidation that are left out on purpose: a verifier that cannot see it is blind. */
enum softgpu_iommu_defect {
    IOMMU_KEEPS_DEVICE_TLB = 1, /* only the IOTLB is cleared */
    IOMMU_NO_DRAIN = 2          /* accesses in flight are not waited for */
};

struct softgpu_iommu_options {
    const struct vidmm_platform *platform;
    uint32_t iotlb_bits, device_tlb_bits; /* entries = 2^bits; 0: 8 and 6 */
    uint32_t defects;                     /* softgpu_iommu_defect */
};

struct softgpu_iommu_stats {
    uint64_t translations, device_hits, iotlb_hits, walks, references, requests, invalidations;
};

vidmm_status softgpu_iommu_create(const struct softgpu_iommu_options *, struct softgpu_iommu **);
void softgpu_iommu_destroy(struct softgpu_iommu *);
const struct vidmm_iommu_unit *softgpu_iommu_unit(struct softgpu_iommu *);
void softgpu_iommu_get_stats(struct softgpu_iommu *, struct softgpu_iommu_stats *);

#endif
