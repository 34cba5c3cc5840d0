/* SPDX-License-Identifier: MIT */
/* test_verify.c - each numbered invariant (docs/invariants.md) is broken on purpose in a working adapter,
 * and vidmm_verify has to object with that number. Reaches into the structs of the core: nothing else can
 * break them. */
#include "fixture.h"

#include "core/core.h"

struct scene {
    struct fixture fx;
    struct client c;
    struct vidmm_open *local, *sys;    /* resident in segment 1, and in system memory; both mapped */
    uint64_t local_va, sys_va;
};

/* A client with memory everywhere, a queued map, and nothing wrong. */
static void scene_open(struct scene *s)
{
    fx_open_format(&s->fx, REF_FORMAT_A);
    client_open(&s->c, &s->fx, NULL);
    s->local = client_memory(&s->c, MIB(1), SET_64K | SET_SYSTEM, &s->local_va);
    s->sys = client_memory(&s->c, KIB(64), SET_SYSTEM, &s->sys_va);
    gpu_fill(&s->c, s->local_va, 1, MIB(1));
    gpu_fill(&s->c, s->sys_va, 1, KIB(64));
    fx_settle(&s->fx);
    fx_verify(&s->fx);
}

/* The damage is there: verify names the invariant. Undone by the caller: nothing is wrong again. */
static void objects(struct scene *s, int number)
{
    const char *what = NULL;
    assert_int_equal(vidmm_verify(s->fx.ad, &what), number);
    assert_non_null(what);
    assert_true(strlen(what) > 10);
}

static void scene_close(struct scene *s)
{
    fx_verify(&s->fx);
    fx_close(&s->fx);
}

static struct vmm_space *space_of(struct scene *s) { return &s->c.process->space; }

static struct vmm_binding *binding_of(struct scene *s, uint64_t va)
{
    struct tree_node *n = tree_floor(&space_of(s)->bindings, va);
    assert_non_null(n);
    return tree_entry(n, struct vmm_binding, node);
}

static void bindings_lie_in_one_claim(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vmm_binding *b = binding_of(&s, s.local_va);
    uint64_t end = b->end;
    b->end += MIB(1);
    objects(&s, 1);
    b->end = b->node.key;
    objects(&s, 1);
    b->end = end;
    space_of(&s)->binding_count++;
    objects(&s, 1);
    space_of(&s)->binding_count--;
    scene_close(&s);
}

static void entries_are_derived_from_placements(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vmm_table *leaf = vmm_leaf_find(space_of(&s), s.local_va);
    uint64_t *entry = (uint64_t *)leaf->cpu + ((s.local_va >> 12) & 511), was = *entry;
    const uint64_t damage[] = {0, was + PAGE, was | 2, entry[1]}; /* invalid, another page, zero */
    for (size_t i = 0; i < VT_COUNT(damage); i++) {
        *entry = damage[i];
        objects(&s, 2);
    }
    *entry = was;
    uint64_t *empty = (uint64_t *)leaf->cpu + 511; /* an entry where nothing is bound */
    assert_int_equal(*empty, 0);
    *empty = was;
    objects(&s, 2);
    *empty = 0;
    scene_close(&s);
}

static void tables_know_what_is_below_them(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vmm_table *leaf = vmm_leaf_find(space_of(&s), s.local_va);
    leaf->live++;
    objects(&s, 3);
    leaf->live--;
    leaf->parent->live++;
    objects(&s, 3);
    leaf->parent->live--;
    space_of(&s)->tables.count++;
    objects(&s, 3);
    space_of(&s)->tables.count--;
    scene_close(&s);
}

static void every_page_has_one_owner(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vmm_segment *seg = &s.fx.ad->segment[1];
    seg->table_pages++;
    objects(&s, 4);
    seg->table_pages--;
    s.fx.ad->counters->alloc_bytes_live += PAGE;
    objects(&s, 4);
    s.fx.ad->counters->alloc_bytes_live -= PAGE;
    s.local->al->ext_count--;
    objects(&s, 4);
    s.local->al->ext_count++;
    scene_close(&s);
}

static void a_page_in_use_is_not_free(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vmm_alloc *al = s.local->al;
    assert_int_equal(al->segment, 1);
    pagepool_free(&s.fx.ad->segment[1].pool, al->ext[0].page, al->ext[0].count);
    objects(&s, 5);
    fx_drop(&s.fx);
}

static void nothing_is_stuck_between_two_places(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vmm_alloc *al = client_alloc(&s.c, &(struct fx_alloc){.bytes = PAGE})->al;
    al->state = PLACE_COMING;
    objects(&s, 6);
    al->state = PLACE_GOING;
    objects(&s, 6);
    al->state = PLACE_NONE;
    scene_close(&s);
}

static void missing_counts_what_is_not_live(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    s.c.device->missing++;
    s.fx.ad->missing++;
    objects(&s, 7);
    s.c.device->missing--;
    s.fx.ad->missing--;
    scene_close(&s);
}

static void the_required_list_holds_what_is_required(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    uint32_t was = s.local->resident;
    s.local->resident = 0;
    objects(&s, 8);
    s.local->resident = was;
    s.c.process->local_required++;
    objects(&s, 8);
    s.c.process->local_required--;
    scene_close(&s);
}

static void memory_is_where_it_may_be(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    uint32_t was = s.local->al->segments;
    s.local->al->segments = 1u;
    objects(&s, 9);
    s.local->al->segments = was;
    scene_close(&s);
}

static void signalled_is_not_ahead_of_issued(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    uint64_t *value = s.c.queue->fence->value, was = *value;
    *value = s.c.queue->issued + 1;
    objects(&s, 10);
    *value = was;
    scene_close(&s);
}

static void reverse_lists_hold_the_bindings(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vmm_binding *b = binding_of(&s, s.local_va);
    struct vidmm_open *was = b->open;
    list_remove(&b->on_alloc);
    objects(&s, 11);
    list_push_back(&s.sys->al->bindings, &b->on_alloc); /* somebody else's list */
    objects(&s, 11);
    list_remove(&b->on_alloc);
    list_push_back(&was->al->bindings, &b->on_alloc);
    b->space = &s.fx.ad->paging;
    objects(&s, 11);
    b->space = space_of(&s);
    scene_close(&s);
}

static void devices_know_what_runs(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    s.c.device->running++;
    objects(&s, 12);
    s.c.device->running--;
    scene_close(&s);
}

static void the_allocator_is_open_between_steps(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    s.fx.ad->sealed = true;
    objects(&s, 16);
    s.fx.ad->sealed = false;
    scene_close(&s);
}

static void nobody_is_forgotten(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    s.fx.ad->missing++;
    objects(&s, 17);
    s.fx.ad->missing--;
    scene_close(&s);
}

static void queued_maps_are_counted(void **state)
{
    struct scene s;
    uint64_t va, value;
    (void)state;
    scene_open(&s);
    vidmm_queue_delay(s.c.queue, UINT64_MAX);
    struct vidmm_map m = {.open = s.sys, .bytes = KIB(64)};
    assert_int_equal(vidmm_va_map(s.c.queue, &m, &va, &value), VIDMM_PENDING);
    fx_verify(&s.fx);
    space_of(&s)->pending_count--;
    objects(&s, 18);
    space_of(&s)->pending_count++;
    vidmm_queue_delay(s.c.queue, 0);
    fx_settle(&s.fx);
    scene_close(&s);
}

static void gpus_of_a_link_share_claims(void **state)
{
    struct fx_options o;
    struct scene s;
    const char *what;
    (void)state;
    fx_options(&o, REF_FORMAT_C);
    fx_add_peer(&o, REF_FORMAT_B);
    (void)fx_open(&s.fx, &o);
    client_open(&s.c, &s.fx, NULL);
    fx_verify(&s.fx);
    struct vmm_space *peer = s.c.process->on[1];
    struct span_index *shared = peer->claims;
    struct vmm_space *other = fx_process(&s.fx)->on[0];
    peer->claims = other->claims;
    assert_int_equal(vidmm_verify(s.fx.ad, &what), 15);
    peer->claims = shared;
    scene_close(&s);
}

static void domains_show_what_may_be_reached(void **state)
{
    struct fx_options o;
    struct scene s;
    (void)state;
    fx_options(&o, REF_FORMAT_A);
    o.domain = FX_REMAPPING;
    (void)fx_open(&s.fx, &o);
    client_open(&s.c, &s.fx, NULL);
    s.sys = client_memory(&s.c, KIB(64), SET_SYSTEM, &s.sys_va);
    fx_verify(&s.fx);
    const struct vidmm_domain *d = sim_domain_face(s.fx.domain);
    struct vmm_alloc *al = s.sys->al;
    uint64_t spare;
    d->unmap(d->ctx, al->logical, 1); /* too little */
    objects(&s, 27);
    d->map(d->ctx, al->logical, 1, al->home + 1); /* another one's */
    objects(&s, 27);
    d->unmap(d->ctx, al->logical, 1);
    d->map(d->ctx, al->logical, 1, al->home);
    assert_int_equal(d->reserve(d->ctx, 0, 1, UINT64_MAX, &spare), VIDMM_OK);
    d->map(d->ctx, spare, 1, al->home); /* too much */
    objects(&s, 27);
    d->unmap(d->ctx, spare, 1);
    d->release(d->ctx, spare, 1);
    scene_close(&s);
}

static const struct vt_case cases[] = {
    VT_TEST(bindings_lie_in_one_claim, "INV-01", NULL),
    VT_TEST(entries_are_derived_from_placements, "INV-02", NULL),
    VT_TEST(tables_know_what_is_below_them, "INV-03", NULL),
    VT_TEST(every_page_has_one_owner, "INV-04", NULL),
    VT_TEST(a_page_in_use_is_not_free, "INV-05", NULL),
    VT_TEST(nothing_is_stuck_between_two_places, "INV-06", NULL),
    VT_TEST(missing_counts_what_is_not_live, "INV-07", NULL),
    VT_TEST(the_required_list_holds_what_is_required, "INV-08", NULL),
    VT_TEST(memory_is_where_it_may_be, "INV-09", NULL),
    VT_TEST(signalled_is_not_ahead_of_issued, "INV-10", NULL),
    VT_TEST(reverse_lists_hold_the_bindings, "INV-11", NULL),
    VT_TEST(devices_know_what_runs, "INV-12", NULL),
    VT_TEST(gpus_of_a_link_share_claims, "INV-15", NULL),
    VT_TEST(the_allocator_is_open_between_steps, "INV-16", NULL),
    VT_TEST(nobody_is_forgotten, "INV-17", NULL),
    VT_TEST(queued_maps_are_counted, "INV-18", NULL),
    VT_TEST(domains_show_what_may_be_reached, "INV-27", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "model_verify", cases, VT_COUNT(cases)); }
