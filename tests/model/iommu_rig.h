/* SPDX-License-Identifier: MIT */
/* iommu_rig.h - for the suites of the IoMmu model: an adapter in a world with a translation unit and an OS,
 * and what the CPU of a client does at its addresses. */
#ifndef MODEL_IOMMU_RIG_H
#define MODEL_IOMMU_RIG_H

#include "fixture.h"

enum machine { ONLY_IOMMU, BOTH };

static inline void machine_options(struct fx_options *o, enum machine m)
{
    fx_options(o, REF_FORMAT_A);
    o->machine_iommu = o->ref.iommu = true;
    o->ref.no_gpummu = m == ONLY_IOMMU;
}

static inline void open_machine(struct fixture *f, enum machine m)
{
    struct fx_options o;
    machine_options(&o, m);
    (void)fx_open(f, &o);
}

static inline uint64_t commit(struct client *c, uint64_t pages)
{
    uint64_t va = 0;
    assert_int_equal(osmm_commit(c->os, pages, true, &va), VIDMM_OK);
    return va;
}

static inline uint64_t cpu_load(struct client *c, uint64_t va)
{
    uint64_t v = 0;
    assert_true(osmm_cpu_read(c->os, va, &v, sizeof(v)));
    return v;
}

static inline void cpu_store(struct client *c, uint64_t va, uint64_t v)
{
    assert_true(osmm_cpu_write(c->os, va, &v, sizeof(v)));
}

static inline struct softgpu_iommu_stats unit_stats(struct fixture *f)
{
    struct softgpu_iommu_stats s;
    softgpu_iommu_get_stats(f->unit, &s);
    return s;
}

static inline struct osmm_accounts os_accounts(struct fixture *f)
{
    struct osmm_accounts a;
    osmm_get_accounts(f->os, &a);
    return a;
}

static inline void hold_paging(struct fixture *f, bool hold)
{
    struct softgpu_knobs k = fx_knobs(f);
    k.hang_nodes = hold ? 1u << REF_NODE_PAGING : 0;
    fx_set_knobs(f, &k);
}

#endif
