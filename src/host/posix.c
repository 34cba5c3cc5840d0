/* SPDX-License-Identifier: MIT */
/* posix.c — see posix.h. Calls: malloc, sysmem.c, guard.c. */
#define _GNU_SOURCE
#include "host/posix.h"

#include "host/guard.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>

static atomic_uint platforms; /* alive now: the last one gives the signal handlers back */

static void *platform_alloc(void *ctx, size_t bytes, size_t align)
{
    void *p = NULL;
    (void)ctx;
    if (align <= alignof(max_align_t)) return malloc(bytes != 0 ? bytes : 1);
    return posix_memalign(&p, align, bytes != 0 ? bytes : 1) == 0 ? p : NULL;
}

static void platform_free(void *ctx, void *p, size_t bytes)
{
    (void)ctx;
    (void)bytes;
    free(p);
}

static struct sysmem *memory_of(void *ctx) { return ((struct posix_platform *)ctx)->memory; }

static vidmm_status platform_sys_alloc(void *ctx, uint64_t pages, uint64_t *frame)
{
    return sysmem_alloc(memory_of(ctx), pages, frame);
}

static void platform_sys_free(void *ctx, uint64_t frame, uint64_t pages)
{
    sysmem_free(memory_of(ctx), frame, pages);
}

/* The client's memory becomes reachable here, so this is a good moment to see that the guard stands. */
static vidmm_status platform_sys_import(void *ctx, void *host, uint64_t pages, uint64_t *frame)
{
    guard_install();
    return sysmem_import(memory_of(ctx), host, pages, frame);
}

static void platform_sys_release(void *ctx, uint64_t frame, uint64_t pages)
{
    sysmem_release(memory_of(ctx), frame, pages);
}

static void platform_sys_discard(void *ctx, uint64_t frame, uint64_t pages)
{
    sysmem_discard(memory_of(ctx), frame, pages);
}

static void *platform_sys_address(void *ctx, uint64_t frame) { return sysmem_address(memory_of(ctx), frame); }

static bool platform_copy(void *ctx, void *dst, const void *src, size_t bytes)
{
    (void)ctx;
    return guard_copy(dst, src, bytes);
}

static void platform_poke(void *ctx)
{
    struct posix_platform *p = ctx;
    p->poke(p->poke_arg);
}

bool posix_platform_init(struct posix_platform *p, uint64_t frames, void (*poke)(void *), void *poke_arg)
{
    *p = (struct posix_platform){
        .face = {
            .struct_size = sizeof(p->face), .ctx = p,
            .alloc = platform_alloc, .free = platform_free,
            .sys_alloc = platform_sys_alloc, .sys_free = platform_sys_free,
            .sys_import = platform_sys_import, .sys_release = platform_sys_release,
            .sys_discard = platform_sys_discard, .sys_address = platform_sys_address,
            .copy = platform_copy, .poke = platform_poke, .frame_end = frames,
        },
        .memory = sysmem_create(frames),
        .poke = poke, .poke_arg = poke_arg,
    };
    if (p->memory == NULL) return false;
    host_iommu_init(&p->iommu);
    p->face.iommu = &p->iommu.face;
    atomic_fetch_add(&platforms, 1);
    guard_install(); /* false is no failure: copies then go through the kernel */
    return true;
}

void posix_platform_fini(struct posix_platform *p)
{
    sysmem_destroy(p->memory);
    if (atomic_fetch_sub(&platforms, 1) == 1) guard_uninstall();
}
