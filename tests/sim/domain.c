/* SPDX-License-Identifier: MIT */
/* domain.c - the IOMMU domain of a seed: none, one that remaps from the start, or one that is attached in
 * the middle of everything. Every access of the GPU goes through it; invariant 27 says what it shows.
 * Nothing is drawn for it, so that a seed does the same things with and without. */
#include "sim.h"

#include "sim/domain.h"

static uint64_t mix(uint64_t seed) { return (seed * 0x9e3779b97f4a7c15ull) >> 40; }

bool domain_open(struct sim *s)
{
    uint64_t frames = world_platform(s->world)->frame_end, h = mix(s->opt.seed);
    struct sim_domain_options o = {.remaps = h % 4 == 0, .pages = frames};
    if (h % 4 > 1) return true;
    s->domain = sim_domain_create(&o);
    if (s->domain == NULL) return false;
    for (uint32_t g = 0; g < s->gpus; g++) {
        struct ref_options *ro = &s->gpu[g].ro;
        ro->secure = true;
        ro->map_aperture2 = h / 8 % 2 == 0;
        if (o.remaps && h / 4 % 2 == 0) ro->visible_bytes = frames / 4 * 3 * PAGE;
    }
    s->attach_at = o.remaps ? 0 : 1 + h / 4 % s->opt.ops;
    s->totals.remapped = o.remaps;
    return true;
}

void domain_wire(struct sim *s)
{
    for (uint32_t g = 0; g < s->gpus && s->domain != NULL; g++)
        softgpu_set_domain(s->gpu[g].hw, sim_domain_face(s->domain));
}

void domain_step(struct sim *s)
{
    if (s->domain == NULL || s->step != s->attach_at) return;
    sim_say(s, "attach the domain");
    vidmm_status st = vidmm_domain_attach(s->ad);
    bool lost = st == VIDMM_DEVICE_LOST && vidmm_adapter_removed(s->ad);
    if (st != VIDMM_PENDING && !lost) sim_fail(s, "answered %s; expected PENDING", sim_status_name(st));
    s->totals.attached = !lost;
}

void domain_rest(struct sim *s)
{
    bool due = s->attach_at != 0 && s->step >= s->attach_at && !vidmm_adapter_removed(s->ad);
    if (s->domain == NULL || !due) return;
    if (!vidmm_domain_attached(s->ad)) sim_fail(s, "at rest, and the domain is not attached");
}

void domain_close(struct sim *s)
{
    struct sim_domain_accounts a;
    if (s->domain == NULL) return;
    sim_domain_get_accounts(s->domain, &a);
    if (a.errors + a.mapped + a.reserved + a.faults != 0 || a.attached > 1)
        sim_fail(s, "domain: %llu errors, %llu faults, left over: %llu mapped, %llu reserved",
                 (unsigned long long)a.errors, (unsigned long long)a.faults, (unsigned long long)a.mapped,
                 (unsigned long long)a.reserved);
    sim_domain_destroy(s->domain);
}
