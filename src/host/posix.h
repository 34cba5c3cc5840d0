/* SPDX-License-Identifier: MIT */
/* posix.h — vidmm_platform on a POSIX system: malloc, sysmem.c and guard.c behind one struct. */
#ifndef HOST_POSIX_H
#define HOST_POSIX_H

#include <vidmm/platform.h>

#include "host/iommu.h"
#include "host/sysmem.h"

struct posix_platform {
    struct vidmm_platform face; /* what the core gets; its ctx is this struct, so it may not move */
    struct host_iommu iommu;    /* behind face.iommu: adapters of the IoMmu model share our addresses */
    struct sysmem *memory;
    void (*poke)(void *arg);    /* any thread */
    void *poke_arg;
};

/* Installs the guard. frames: as in sysmem_create. Fails: false, no memory. */
bool posix_platform_init(struct posix_platform *, uint64_t frames, void (*poke)(void *), void *poke_arg);
void posix_platform_fini(struct posix_platform *);

#endif
