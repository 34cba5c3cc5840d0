/* SPDX-License-Identifier: MIT */
/* domain.c - see domain.h. Remapped ranges are given out from the high end, the lowest numbers last: a frame
 * number that somebody hands to a device by mistake is then never a page that is mapped by chance. */
#include "sim/domain.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { FREE, TAKEN, FIRMWARE /* nobody's yet, and given out at its own number only */ };

struct sim_domain {
    struct vidmm_domain face;
    struct sim_domain_options opt;
    struct sim_domain_accounts accounts;
    _Atomic uint64_t faults;
    _Atomic bool attached;
    uint64_t fail_in;
    uint8_t *taken;            /* by logical page: FREE, TAKEN: belongs to a range, .. */
    _Atomic uint64_t *frame;   /* by logical page; 0: not mapped */
};

static bool valid(const struct sim_domain *d, uint64_t page, uint64_t pages)
{
    return page != 0 && pages != 0 && page < d->opt.pages && pages <= d->opt.pages - page;
}

static uint64_t frame_at(const struct sim_domain *d, uint64_t page)
{
    return atomic_load_explicit(&d->frame[page], memory_order_acquire);
}

/* n free pages below end, as high as there are; 0: none. */
static uint64_t find_free(const struct sim_domain *d, uint64_t n, uint64_t end)
{
    uint64_t run = 0, at = end < d->opt.pages ? end : d->opt.pages;
    if (n == 0) return 0;
    while (at > 1) {
        run = d->taken[--at] != FREE ? 0 : run + 1;
        if (run == n) return at;
    }
    return 0;
}

/* Does any of them belong to a range? */
static bool any_taken(const struct sim_domain *d, uint64_t page, uint64_t pages)
{
    bool is = !valid(d, page, pages);
    for (uint64_t i = 0; !is && i < pages; i++) is = d->taken[page + i] == TAKEN;
    return is;
}

static void take(struct sim_domain *d, uint64_t page, uint64_t pages)
{
    for (uint64_t i = 0; i < pages; i++) d->taken[page + i] = TAKEN;
    d->accounts.reserved += pages;
}

static vidmm_status reserve(void *ctx, uint64_t frame, uint64_t pages, uint64_t end, uint64_t *page)
{
    struct sim_domain *d = ctx;
    if (d->fail_in != 0 && --d->fail_in == 0) return VIDMM_NO_MEMORY;
    uint64_t at = d->opt.remaps ? find_free(d, pages, end) : frame;
    if (at == 0 || any_taken(d, at, pages)) return VIDMM_NO_MEMORY;
    take(d, at, pages);
    *page = at;
    return VIDMM_OK;
}

static void release(void *ctx, uint64_t page, uint64_t pages)
{
    struct sim_domain *d = ctx;
    for (uint64_t i = 0; i < pages; i++) {
        bool fits = valid(d, page + i, 1) && d->taken[page + i] == TAKEN && frame_at(d, page + i) == 0;
        d->accounts.errors += !fits;
        d->accounts.reserved -= fits;
        bool firmware = page + i >= d->opt.firmware && page + i < d->opt.firmware_end;
        if (fits) d->taken[page + i] = firmware ? FIRMWARE : FREE;
    }
}

static void map(void *ctx, uint64_t page, uint64_t pages, uint64_t frame)
{
    struct sim_domain *d = ctx;
    for (uint64_t i = 0; i < pages; i++) {
        bool fits = valid(d, page + i, 1) && d->taken[page + i] == TAKEN && frame_at(d, page + i) == 0;
        d->accounts.errors += !fits || frame == 0;
        if (!fits) continue;
        atomic_store_explicit(&d->frame[page + i], frame + i, memory_order_release);
        d->accounts.mapped++;
    }
}

static void unmap(void *ctx, uint64_t page, uint64_t pages)
{
    struct sim_domain *d = ctx;
    for (uint64_t i = 0; i < pages; i++) {
        bool fits = valid(d, page + i, 1) && frame_at(d, page + i) != 0;
        d->accounts.errors += !fits;
        if (!fits) continue;
        atomic_store_explicit(&d->frame[page + i], 0, memory_order_release);
        d->accounts.mapped--;
    }
}

static vidmm_status map_firmware(void *ctx, uint64_t frame, uint64_t pages)
{
    struct sim_domain *d = ctx;
    bool inside = frame >= d->opt.firmware && frame <= d->opt.firmware_end;
    if (!inside || pages > d->opt.firmware_end - frame || any_taken(d, frame, pages)) return VIDMM_INVALID;
    take(d, frame, pages);
    map(d, frame, pages, frame);
    return VIDMM_OK;
}

static void attach(void *ctx)
{
    struct sim_domain *d = ctx;
    d->accounts.attached++;
    atomic_store(&d->attached, true);
}

static uint64_t mapped(void *ctx, uint64_t page, uint64_t pages)
{
    const struct sim_domain *d = ctx;
    if (!valid(d, page, pages)) return 0;
    uint64_t first = frame_at(d, page);
    for (uint64_t i = 1; i < pages && first != 0; i++)
        if (frame_at(d, page + i) != first + i) return 0;
    return first;
}

static uint64_t mapped_pages(void *ctx) { return ((const struct sim_domain *)ctx)->accounts.mapped; }

static uint64_t translate(void *ctx, uint64_t page)
{
    struct sim_domain *d = ctx;
    if (!atomic_load(&d->attached)) return page;
    uint64_t frame = valid(d, page, 1) ? frame_at(d, page) : 0;
    if (frame == 0) atomic_fetch_add(&d->faults, 1);
    return frame;
}

struct sim_domain *sim_domain_create(const struct sim_domain_options *o)
{
    struct sim_domain *d = calloc(1, sizeof(*d));
    if (d == NULL) return NULL;
    d->opt = *o;
    d->taken = calloc(o->pages, sizeof(*d->taken));
    d->frame = calloc(o->pages, sizeof(*d->frame));
    d->face = (struct vidmm_domain){
        .ctx = d, .remaps = o->remaps, .reserve = reserve, .release = release, .map = map, .unmap = unmap,
        .map_firmware = map_firmware, .attach = attach, .mapped = mapped, .mapped_pages = mapped_pages,
        .translate = translate};
    if (d->taken != NULL && d->frame != NULL) {
        for (uint64_t i = o->firmware; i < o->firmware_end; i++) d->taken[i] = FIRMWARE;
        return d;
    }
    sim_domain_destroy(d);
    return NULL;
}

void sim_domain_destroy(struct sim_domain *d)
{
    if (d == NULL) return;
    free(d->taken);
    free((void *)d->frame);
    free(d);
}

const struct vidmm_domain *sim_domain_face(struct sim_domain *d) { return &d->face; }

void sim_domain_get_accounts(struct sim_domain *d, struct sim_domain_accounts *out)
{
    *out = d->accounts;
    out->faults = atomic_load(&d->faults);
}

void sim_domain_fail(struct sim_domain *d, uint64_t k) { d->fail_in = k; }

uint64_t sim_domain_find(struct sim_domain *d, uint64_t frame)
{
    for (uint64_t i = 1; i < d->opt.pages; i++)
        if (frame_at(d, i) == frame) return i;
    return 0;
}
