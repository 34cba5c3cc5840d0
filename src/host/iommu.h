/* SPDX-License-Identifier: MIT */
/* iommu.h — shared addresses through the machine's own page tables: engine threads live in the process whose
 * addresses they use, so nothing is translated and nothing mapped. What is not there is found by the guarded
 * copy (guard.h), also when it goes away under an access: a GPU fault then, at no cost while all is well.
 * Owns: the numbers of PASIDs. Calls: guard_install. */
#ifndef HOST_IOMMU_H
#define HOST_IOMMU_H

#include <vidmm/iommu.h>

struct host_iommu {
    struct vidmm_iommu face; /* its ctx is this struct, so it may not move */
    uint32_t last;           /* PASID handed out last; the owner of the adapter alone asks for one */
};

void host_iommu_init(struct host_iommu *);

#endif
