/* SPDX-License-Identifier: MIT */
/* ops_phys.c - physical mode: contexts on the physical node, renders that fill and copy allocations named by
 * handle, beside virtual work on the same bytes. Content in the model changes at the call, as for virtual
 * packets: a page in use by one context is touched by another only behind a fence. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#include "softgpu/ref_physical.h"

#define LIST_MAX 6u
#define COMMANDS_MAX 4u
#define CHANGES_MAX 40u

struct rendering {
    struct sim *s;
    struct sim_context *c;
    struct model_alloc *alloc[LIST_MAX];
    struct vidmm_render_reference list[LIST_MAX];
    struct vidmm_patch_location patch[2 * COMMANDS_MAX];
    uint64_t word[4 * COMMANDS_MAX];
    uint32_t count, words, patches, changes;
    struct { struct model_page *page, content; } change[CHANGES_MAX]; /* to be made when it was accepted */
};

static unsigned long long ull(uint64_t v) { return v; }

static bool ours(const struct rendering *r, const struct model_page *m)
{
    if (m->busy_context == 0 || m->busy_context == r->c->id + 1) return true;
    return r->s->done[m->busy_context - 1] >= m->busy_until;
}

/* The page as this packet leaves it so far. */
static struct model_page now(const struct rendering *r, struct model_page *m)
{
    for (uint32_t i = r->changes; i-- > 0;)
        if (r->change[i].page == m) return r->change[i].content;
    return *m;
}

static void set(struct rendering *r, struct model_page *m, struct model_page content)
{
    r->change[r->changes].page = m;
    r->change[r->changes++].content = content;
}

static void patch(struct rendering *r, uint32_t index, uint32_t slot, uint64_t page)
{
    r->patch[r->patches++] = (struct vidmm_patch_location){
        .allocation_index = index, .slot = slot, .allocation_offset = (uint32_t)(page * PAGE),
        .patch_offset = (r->words + 1 + slot) * 8};
}

/* Pages from `first` on that this packet may touch, at most n. */
static uint64_t run_of(const struct rendering *r, const struct model_alloc *al, uint64_t first, uint64_t n)
{
    uint64_t i = 0;
    while (i < n && first + i < al->pages && ours(r, &al->page[first + i])) i++;
    return i;
}

static void add_fill(struct rendering *r)
{
    uint32_t index = (uint32_t)sim_below(r->s, r->count), pattern = r->s->next_pattern++;
    struct model_alloc *al = r->alloc[index];
    uint64_t first = sim_below(r->s, al->pages), n = run_of(r, al, first, 1 + sim_below(r->s, 4));
    if (n == 0 || r->changes + n > CHANGES_MAX) return;
    sim_say(r->s, "  fill allocation %u, %llu pages from %llu with %x", al->id, ull(n), ull(first), pattern);
    patch(r, index, 0, first);
    r->words += phys_emit_fill(r->word + r->words, pattern, n * PAGE);
    for (uint64_t i = 0; i < n; i++)
        set(r, &al->page[first + i],
            (struct model_page){.pattern = pattern, .head = pattern | (uint64_t)pattern << 32});
}

static void add_copy(struct rendering *r)
{
    uint32_t to = (uint32_t)sim_below(r->s, r->count), from = (uint32_t)sim_below(r->s, r->count);
    struct model_alloc *a = r->alloc[to], *b = r->alloc[from];
    uint64_t dst = sim_below(r->s, a->pages), src = sim_below(r->s, b->pages);
    uint64_t n = run_of(r, b, src, run_of(r, a, dst, 1 + sim_below(r->s, 4)));
    if (n == 0 || a == b || r->changes + 2 * n > CHANGES_MAX) return;
    sim_say(r->s, "  copy %llu pages: allocation %u page %llu from allocation %u page %llu", ull(n), a->id,
            ull(dst), b->id, ull(src));
    patch(r, to, 0, dst);
    patch(r, from, 1, src);
    r->words += phys_emit_copy(r->word + r->words, n * PAGE);
    for (uint64_t i = 0; i < n; i++) {
        struct model_page content = now(r, &b->page[src + i]);
        set(r, &b->page[src + i], content); /* read: busy all the same */
        set(r, &a->page[dst + i], content);
    }
}

static void add_word(struct rendering *r)
{
    uint32_t index = (uint32_t)sim_below(r->s, r->count);
    struct model_alloc *al = r->alloc[index];
    uint64_t page = sim_below(r->s, al->pages), value = sim_random(r->s);
    if (run_of(r, al, page, 1) == 0 || r->changes == CHANGES_MAX) return;
    sim_say(r->s, "  write %llx to allocation %u page %llu", ull(value), al->id, ull(page));
    struct model_page content = now(r, &al->page[page]);
    patch(r, index, 0, page);
    r->words += phys_emit_write64(r->word + r->words, value);
    content.head = value;
    set(r, &al->page[page], content);
}

static void name_allocations(struct rendering *r, const struct model_device *d)
{
    for (uint32_t i = 0; i < d->alloc_count && r->count < LIST_MAX; i++) {
        struct model_alloc *al = d->alloc[i];
        if (!al->physical || al->dying || al->count == 0 || al->locks > 0 || al->offer != 0) continue;
        if (sim_chance(r->s, 3)) continue;
        if (al->read_only && !sim_chance(r->s, 16)) continue;
        r->alloc[r->count] = al;
        r->list[r->count++] = (struct vidmm_render_reference){al->handle, true};
    }
}

static void accepted(struct rendering *r)
{
    struct sim_device *sd = sim_of(r->c->dev);
    struct packet *p = context_push(r->s, r->c);
    p->slot = __builtin_ctz(~sd->slots);
    sd->slots |= 1u << p->slot;
    for (uint32_t i = 0; i < r->count; i++) {
        r->alloc[i]->written = true;
        r->alloc[i]->in_flight++;
        p->alloc[p->touched++] = r->alloc[i];
    }
    for (uint32_t i = 0; i < r->changes; i++) {
        struct model_page *m = r->change[i].page;
        *m = r->change[i].content;
        m->busy_context = r->c->id + 1;
        m->busy_until = p->seq;
    }
    if (!sim_chance(r->s, 4) && r->c->count < PACKETS_MAX) (void)context_signal(r->s, r->c);
}

static struct sim_context *physical_context(struct sim *s, struct model_device *d)
{
    struct sim_context *c = NULL;
    for (uint32_t i = 0; d != NULL && !d->lost && i < sim_of(d)->context_count; i++)
        if (sim_of(d)->context[i]->physical && (c == NULL || sim_chance(s, 2))) c = sim_of(d)->context[i];
    return c;
}

static void op_render(struct sim *s)
{
    struct model_device *d = pick_live_device(s);
    struct rendering r = {.s = s, .c = physical_context(s, d)};
    if (r.c == NULL || r.c->count + 2 > PACKETS_MAX || sim_of(d)->slots == UINT32_MAX) return;
    name_allocations(&r, d);
    if (r.count == 0) return;
    for (uint32_t i = 0, n = 1 + (uint32_t)sim_below(s, COMMANDS_MAX); i < n; i++) {
        uint64_t what = sim_below(s, 5);
        if (what < 2) add_fill(&r);
        else if (what < 4) add_copy(&r);
        else add_word(&r);
    }
    if (r.words == 0) return;
    uint32_t highest = 0;
    if (sim_chance(s, 20)) r.patch[0].allocation_index = highest = r.count + (uint32_t)sim_below(s, 70);
    struct vidmm_render in = {.command = r.word, .command_bytes = r.words * 8, .list = r.list,
                              .list_count = r.count, .patch = r.patch, .patch_count = r.patches};
    sim_say(s, "context %u of device %u: render with %u allocations", r.c->id, d->id, r.count);
    if (sim_status(s, model_render(d, r.alloc, r.count, highest), vidmm_context_render(r.c->core, &in)))
        accepted(&r);
}

/* Names an allocation that is scattered, or uses the service of the other kind of context. */
static void op_render_nasty(struct sim *s)
{
    struct model_device *d = pick_live_device(s);
    struct sim_context *c = physical_context(s, d);
    struct model_alloc *al = pick_alloc(s, d);
    uint64_t word[3];
    if (c == NULL || al == NULL || al->physical) return;
    struct vidmm_render_reference ref = {al->handle, true};
    struct vidmm_patch_location at = {.patch_offset = 8};
    struct vidmm_render in = {.command = word, .list = &ref, .list_count = 1, .patch = &at, .patch_count = 1};
    in.command_bytes = phys_emit_write64(word, 1) * 8;
    sim_say(s, "context %u: render with a scattered allocation %u", c->id, al->id);
    (void)sim_status(s, model_render(d, &al, 1, 0), vidmm_context_render(c->core, &in));
    struct model_answer never = {MODEL_BIT(VIDMM_INVALID), false};
    sim_say(s, "context %u: submit on a physical context", c->id);
    (void)sim_status(s, never, vidmm_context_submit(c->core, 0x10000, 8, NULL, 0, 0));
}

static void op_physical_context(struct sim *s)
{
    struct model_device *d = pick_live_device(s);
    if (!s->model->config.physical || d == NULL || !context_room(s, d)) return;
    if (physical_context(s, d) == NULL || sim_chance(s, 8))
        (void)context_new_on(s, d, 0, REF_NODE_PHYSICAL, true);
}

/* What physical clients do: create and make resident; often mapped too, so that both modes see the bytes. */
static void op_physical_memory(struct sim *s)
{
    static const uint32_t sets[] = {0, 4, 5, 5, 6, 7, 7};
    struct model_device *d = pick_live_device(s);
    struct model_queue *q = pick_queue(s, d);
    struct model_alloc_in in = {.physical = true};
    struct model_alloc *al = NULL;
    uint64_t va;
    if (q == NULL || d->alloc_count >= s->temper.allocs || !s->model->config.physical) return;
    in.bytes = 1 + sim_below(s, (sim_chance(s, 8) ? 8 : 1) * s->temper.alloc_pages * PAGE);
    in.supported = sim_chance(s, 40) ? 1u : sets[sim_below(s, 7)];
    if ((in.supported & 3u) != 0 && !sim_chance(s, 4)) in.preferred = in.supported & 1u ? 1 : 2;
    in.alignment = in.supported & 1u ? 65536u << sim_below(s, 2) : 0;
    alloc_make(s, d, &in, VIDMM_ALLOCATION_ACCESSED_PHYSICALLY, &al);
    if (al == NULL) return;
    struct vidmm_map map = {.bytes = al->bytes, .protection = VIDMM_PROT_WRITE};
    make_resident(s, q, &al, 1, sim_chance(s, 4) ? 0 : VIDMM_RESIDENT_CANT_TRIM_FURTHER);
    if (sim_chance(s, 2) && vidmm_device_state(d->handle) == VIDMM_DEVICE_ACTIVE)
        (void)map_range(s, q, &map, al, &va);
}

const struct sim_op ops_phys[] = {
    {"physical_context", op_physical_context, 4}, {"physical_memory", op_physical_memory, 10},
    {"render", op_render, 40}, {"render_nasty", op_render_nasty, 1},
    {NULL, NULL, 0}};
