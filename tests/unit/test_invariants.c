/* SPDX-License-Identifier: MIT */
/* test_invariants.c - each numbered invariant of docs/invariants.md is broken on purpose in a living state,
 * in each of the ways that vidmm_verify can tell apart, and vidmm_verify must name that number and say why.
 * A checker that never objects proves nothing. Number 13 is in test_core_aperture.c, 25 in
 * test_iommu_objects.c; 15 speaks of what does not exist yet. */
#include "core/core.h"

#include "core_fixture.h"

#include <signal.h>

#define BASE 0x200000000ull
#define RANGE (4ull * MIB)

/* A state with something of everything: mappings of local and system memory, a hole of queued work. */
struct scene {
    struct fx f;
    struct vidmm_open *local, *sys;
    struct vidmm_fence *gate;
    struct vidmm_queue *blocked;      /* two queued maps at QUEUED, the second with a hole */
    struct vidmm_open *queued;
};

#define QUEUED (BASE + 64 * MIB)

static void scene_open(struct scene *s, enum ref_format format)
{
    struct fx *f = &s->f;
    fx_open(f, format);
    s->local = fx_alloc(f->d, RANGE, SEG1, 1);
    s->sys = fx_alloc(f->d, RANGE, SYS, 0);
    s->queued = fx_alloc(f->d, MIB, SYS, 0);
    fx_resident(f->q, s->local);
    fx_resident(f->q, s->sys);
    fx_map(f->q, s->local, BASE, 0, RANGE);
    fx_map(f->q, s->sys, BASE + RANGE, 0, RANGE);
    assert_int_equal(vidmm_fence_create(f->d, 0, 0, &s->gate), VIDMM_OK);
    assert_int_equal(vidmm_queue_create(f->d, 0, &s->blocked), VIDMM_OK);
    vidmm_queue_delay(s->blocked, UINT64_MAX);
    fx_map(s->blocked, s->queued, QUEUED, 0, MIB);
    fx_map(s->blocked, s->queued, QUEUED + MIB, 0, MIB);
    assert_int_equal(vidmm_va_free(f->p, QUEUED + MIB + 64 * KIB, 64 * KIB), VIDMM_OK);
    fx_run(f);
    fx_wait_packet(f, f->c, vidmm_fence_gpu_address(s->gate), 1);
    fx_wait_packet(f, f->c, vidmm_fence_gpu_address(s->gate), 1);
    fx_run(f);
    assert_int_equal(f->c->running, 2);
}

static void scene_close(struct scene *s)
{
    fx_run_core(&s->f); /* whole again */
    assert_int_equal(vidmm_fence_signal(s->gate, 1), VIDMM_OK);
    fx_run(&s->f);
    fx_close(&s->f);
}

/* vidmm_verify objects, under this number, with words. */
static void objects(struct scene *s, int number)
{
    const char *what = NULL;
    int got = vidmm_verify(s->f.ad, &what);
    if (got != number) fail_msg("verify says %d (%s), not %d", got, what != NULL ? what : "nothing", number);
    assert_non_null(what);
    assert_true(what[0] != 0);
    assert_int_equal(vidmm_verify(s->f.ad, NULL), number);
}

static void content(struct scene *s)
{
    const char *what = NULL;
    int got = vidmm_verify(s->f.ad, &what);
    if (got != 0) fail_msg("verify says %d (%s) of a state put back", got, what);
}

static struct vmm_binding *binding_at(struct scene *s, uint64_t va)
{
    return tree_entry(tree_find(&s->f.p->space.bindings, va), struct vmm_binding, node);
}

static struct vmm_request *first_request(struct scene *s)
{
    return list_entry(list_first(&s->blocked->requests), struct vmm_request, link);
}

/* ---- 1, 11: claims, bindings ---------------------------------------------------------------------- */

static void bindings_lie_in_one_claim(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vmm_space *sp = &s.f.p->space;
    struct vmm_binding *b = binding_at(&s, BASE);
    b->end += PAGE;                                  /* into the neighbour */
    objects(&s, 1);
    b->end -= PAGE;
    struct span *c = span_find(sp->claims, BASE);
    c->end -= PAGE;                                  /* the claim ends before the binding */
    objects(&s, 1);
    c->end += PAGE;
    sp->binding_count++;
    objects(&s, 1);
    sp->binding_count--;
    content(&s);
    scene_close(&s);
}

static void reverse_lists_are_exact(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vmm_binding *b = binding_at(&s, BASE);
    list_remove(&b->on_alloc);
    objects(&s, 11);
    list_push_back(&s.sys->al->bindings, &b->on_alloc); /* on a stranger's list */
    objects(&s, 11);
    list_move_back(&s.local->al->bindings, &b->on_alloc);
    content(&s);
    struct vmm_binding ghost = {.target = TARGET_ALLOC, .open = s.local};
    list_push_back(&s.local->al->bindings, &ghost.on_alloc);
    objects(&s, 11);
    list_remove(&ghost.on_alloc);
    b->space = &s.f.ad->paging;
    objects(&s, 11);
    b->space = &s.f.p->space;
    content(&s);
    scene_close(&s);
}

/* ---- 2, 3: page tables ------------------------------------------------------------------------------ */

/* Writes one leaf entry the way the core would, through the driver, with any content. */
static void write_entry(struct scene *s, uint64_t va, const struct vidmm_pte_kind *kind, uint64_t address)
{
    struct fx *f = &s->f;
    struct vmm_table *leaf = vmm_leaf_find(&f->p->space, va);
    struct vidmm_pte_run run = {.address = address, .count = 1, .step = (uint32_t)PAGE};
    run.attr = ref_ops()->pte_attr(f->ref, kind);
    struct vidmm_update_page_table u = {.mode = VIDMM_UPDATE_CPU_VIRTUAL, .count = 1, .runs = &run,
                                        .run_count = 1, .first_va = va};
    u.table.cpu_virtual = leaf->cpu;
    u.start_index = (uint32_t)(va / PAGE) & (leaf->entries - 1);
    ref_ops()->update_page_table(f->ref, &u);
}

static void entries_equal_their_bindings(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    uint64_t left, right = vmm_place_run(s.local->al, 1, 8 * PAGE, &left), va = BASE + 8 * PAGE;
    struct vidmm_pte_kind good = {.flags = VIDMM_PTE_VALID, .segment = 1}, none = {0}, kind = good;
    write_entry(&s, va, &good, right);
    content(&s);
    write_entry(&s, va, &none, 0);
    objects(&s, 2);
    write_entry(&s, va, &good, right + PAGE);
    objects(&s, 2);
    kind.segment = 2;
    write_entry(&s, va, &kind, right);
    objects(&s, 2);
    kind = good;
    kind.flags |= VIDMM_PTE_ZERO;
    write_entry(&s, va, &kind, right);
    objects(&s, 2);
    kind.flags = VIDMM_PTE_VALID | VIDMM_PTE_READ_ONLY;
    write_entry(&s, va, &kind, right);
    objects(&s, 2);
    write_entry(&s, va, &good, right);
    content(&s);
    struct vidmm_pte_kind sys = {.flags = VIDMM_PTE_VALID};
    write_entry(&s, QUEUED, &sys, s.queued->al->home * PAGE); /* of a map that has not been executed */
    objects(&s, 2);
    write_entry(&s, QUEUED, &none, 0);
    content(&s);
    scene_close(&s);
}

static void tables_exist_for_a_reason(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vmm_space *sp = &s.f.p->space;
    struct vmm_table *leaf = vmm_leaf_find(sp, BASE), *up = leaf->parent;
    leaf->live++;
    objects(&s, 3);
    leaf->live--;
    up->live--;
    objects(&s, 3);
    up->live++;
    sp->tables.count++;
    objects(&s, 3);
    sp->tables.count--;
    struct vmm_table *queued = vmm_leaf_find(sp, QUEUED);
    uint32_t promised = queued->live;
    queued->live = 0;                                /* empty, and nobody holds it */
    objects(&s, 3);
    queued->live = promised;
    uint64_t address = leaf->address;
    leaf->address += PAGE;                           /* its parent's entry names another page */
    objects(&s, 3);
    leaf->address = address;
    content(&s);
    scene_close(&s);
}

/* ---- 4, 5: pages -------------------------------------------------------------------------------------- */

static void every_page_has_one_owner(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vmm_segment *seg = &s.f.ad->segment[1];
    uint32_t lost = pagepool_alloc_page(&seg->pool);
    objects(&s, 4);
    pagepool_free(&seg->pool, lost, 1);
    content(&s);
    s.f.ad->segment[2].table_pages++;
    objects(&s, 4);
    s.f.ad->segment[2].table_pages--;
    s.f.count.alloc_bytes_live -= PAGE;
    objects(&s, 4);
    s.f.count.alloc_bytes_live += PAGE;
    list_remove(&s.local->al->lru);
    objects(&s, 4);
    list_push_back(&seg->lru, &s.local->al->lru);
    content(&s);
    scene_close(&s);
}

static void pages_are_freed_after_their_flush(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vmm_space *sp = &s.f.p->space;
    struct pagepool *pool = &s.f.ad->segment[1].pool;
    uint32_t page = s.local->al->ext[0].page;
    pagepool_free(pool, page, 1);                    /* behind the core's back */
    objects(&s, 5);
    assert_int_equal(pagepool_alloc_page(pool), page);
    content(&s);
    struct vmm_table *leaf = vmm_leaf_find(sp, BASE);
    pool = &s.f.ad->segment[2].pool;
    page = (uint32_t)(leaf->address / PAGE);
    pagepool_free(pool, page, 1);
    objects(&s, 5);
    assert_int_equal(pagepool_alloc_page(pool), page);
    content(&s);
    vmm_space_flush(sp, (struct range){BASE, BASE + PAGE});
    content(&s);
    list_remove(&sp->on_flush);                      /* owed, and forgotten */
    objects(&s, 5);
    list_push_back(&s.f.ad->flush_spaces, &sp->on_flush);
    content(&s);
    struct vmm_table ghost = {.limbo_seq = s.f.ad->batch_next + 1};
    list_push_back(&s.f.ad->limbo, &ghost.limbo);    /* waits for a batch that nobody will begin */
    objects(&s, 5);
    ghost.limbo_seq = 0;
    ghost.parent = leaf;
    objects(&s, 5);
    list_remove(&ghost.limbo);
    content(&s);
    scene_close(&s);
}

/* ---- 6, 12: contents, moves --------------------------------------------------------------------- */

static void content_is_made_before_it_is_shown(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    s.local->al->fresh = true;                       /* shown, and never filled */
    objects(&s, 6);
    s.local->al->fresh = false;
    content(&s);
    struct vmm_alloc *al = s.queued->al;
    al->state = PLACE_COMING;                        /* on its way, and no move */
    objects(&s, 6);
    al->state = PLACE_NONE;
    content(&s);
    scene_close(&s);
}

static void memory_does_not_move_under_a_packet(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vidmm_device *d = s.f.d;
    d->running--;
    objects(&s, 12);
    d->running++;
    struct vmm_node *n = &s.f.ad->node[REF_NODE_COMPUTE];
    n->running_count++;
    objects(&s, 12);
    n->running_count--;
    struct vmm_packet *p = list_entry(list_last(&n->running), struct vmm_packet, link);
    p->fence_id = 1;
    objects(&s, 12);
    p->fence_id = n->next_fence;
    content(&s);
    /* A move of something that the running device has open. */
    struct vmm_alloc *al = s.queued->al;
    s.f.ad->move.al = al;
    d->holds = 1;
    s.queued->held = true;
    al->state = PLACE_GOING;
    objects(&s, 12);
    al->state = PLACE_NONE;
    s.queued->held = false;
    d->holds = 0;
    s.f.ad->move.al = NULL;
    content(&s);
    scene_close(&s);
}

/* ---- 7, 8, 9, 17: residency --------------------------------------------------------------------- */

static void missing_is_exact(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    s.f.d->missing++;
    objects(&s, 7);
    s.f.d->missing--;
    content(&s);
    scene_close(&s);
}

static void the_required_list_is_exact(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vidmm_device *d = s.f.d;
    list_remove(&s.local->on_required);
    objects(&s, 8);
    list_push_back(&d->required, &s.local->on_required);
    list_push_back(&d->required, &s.queued->on_required); /* nobody asked for it */
    objects(&s, 8);
    list_remove(&s.queued->on_required);
    s.f.p->local_required += PAGE;
    objects(&s, 8);
    s.f.p->local_required -= PAGE;
    content(&s);
    scene_close(&s);
}

static void what_is_required_fits(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vmm_segment *seg = &s.f.ad->segment[1];
    uint64_t bytes = seg->bytes;
    seg->bytes = MIB;                                /* the segment shrinks under the list */
    objects(&s, 9);
    seg->bytes = bytes;
    uint32_t segments = s.local->al->segments;
    s.local->al->segments = 1u << 2;                 /* placed where it may not be */
    objects(&s, 9);
    s.local->al->segments = segments;
    content(&s);
    scene_close(&s);
}

static void nobody_is_forgotten(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vidmm_device *d = s.f.d;
    s.f.ad->missing++;
    objects(&s, 17);
    s.f.ad->missing--;
    d->holds = 1;                                    /* stopped, and no move that will let it go */
    objects(&s, 17);
    d->holds = 0;
    d->asking++;
    objects(&s, 17);
    d->asking--;
    content(&s);
    struct peer lost = fx_peer(s.f.p);
    struct vidmm_open *op = fx_alloc(lost.d, MIB, SEG1, 1);
    fx_resident(lost.q, op);
    lost.d->state = VIDMM_DEVICE_HUNG;               /* in error, and still waiting for memory */
    objects(&s, 17);
    lost.d->state = VIDMM_DEVICE_ACTIVE;
    fx_evict(lost.d, op, 0);
    content(&s);
    scene_close(&s);
}

/* ---- 10, 18: requests --------------------------------------------------------------------------- */

static void values_are_never_early(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vidmm_fence *fence = vidmm_queue_fence(s.blocked);
    uint64_t value = vmm_fence_load(fence);
    vmm_fence_store(fence, value + 1);               /* signalled, and not executed */
    objects(&s, 10);
    vmm_fence_store(fence, vidmm_queue_issued(s.blocked) + 1);
    objects(&s, 10);
    vmm_fence_store(fence, value);
    content(&s);
    struct vmm_request *r = first_request(&s);
    r->fence_value++;                                /* two with one value */
    objects(&s, 10);
    r->fence_value--;
    s.blocked->issued++;                             /* a value that no request carries */
    objects(&s, 10);
    s.blocked->issued--;
    list_remove(&s.blocked->on_active);              /* never looked at again */
    objects(&s, 10);
    list_push_back(&s.f.ad->active[1], &s.blocked->on_active);
    content(&s);
    struct vmm_request *second = list_entry(r->link.next, struct vmm_request, link);
    list_remove(&second->on_pending);                /* executed before the one ahead of it */
    s.f.p->space.pending_count--;
    second->executed = true;
    objects(&s, 10);
    second->executed = false;
    s.f.p->space.pending_count++;
    list_push_back(&s.f.p->space.pending, &second->on_pending);
    content(&s);
    scene_close(&s);
}

static void freed_pages_are_void_for_queued_maps(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vmm_space *sp = &s.f.p->space;
    sp->pending_count++;
    objects(&s, 18);
    sp->pending_count--;
    struct vmm_request *r = first_request(&s), *second = list_entry(r->link.next, struct vmm_request, link);
    struct vmm_hole *hole = second->holes;
    assert_non_null(hole);
    second->holes = NULL;                            /* it would bind pages that were freed */
    objects(&s, 18);
    second->holes = hole;
    content(&s);
    hole->range.end += MIB;                          /* a hole beyond its map */
    objects(&s, 18);
    hole->range.end -= MIB;
    struct span *c = span_find(sp->claims, QUEUED);
    struct span_halves halves;
    assert_true(span_cut(sp->claims, c, QUEUED, QUEUED + 64 * KIB, &halves)); /* freed, and no hole */
    objects(&s, 18);
    assert_true(span_reserve(sp->claims, 1));
    c = span_insert(sp->claims, QUEUED, QUEUED + 64 * KIB);
    assert_non_null(c);
    c->kind = CLAIM_MAP;
    r->executed = true;
    objects(&s, 18);
    r->executed = false;
    content(&s);
    scene_close(&s);
}

/* ---- 16: the seal ------------------------------------------------------------------------------- */

/* Memory taken inside vidmm_run could not be refused to anybody: it must not even be asked for. */
static void allocate_while_sealed(void)
{
    struct fx f;
    fx_open(&f, REF_FORMAT_A);
    f.ad->sealed = true;
    (void)vmm_new(f.ad, 64);
}

/* ---- 14 ------------------------------------------------------------------------------------------ */

static void queued_updates_pin_their_pools(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    uint64_t tiles = fx_reserve(&s.f, 2 * BASE, MIB);
    struct vidmm_tile_op op = {.type = VIDMM_TILE_MAP, .base = tiles, .bytes = 64 * KIB, .open = s.local};
    struct vidmm_fence *f;
    assert_int_equal(vidmm_fence_create(s.f.d, 0, 0, &f), VIDMM_OK);
    assert_int_equal(vidmm_va_update(s.f.c, &op, 1, f, 1, 0), VIDMM_OK);
    content(&s);
    s.local->holds++;
    objects(&s, 14);
    s.local->holds--;
    s.local->pinned = false;
    objects(&s, 14);
    s.local->pinned = true;
    s.sys->pinned = true;
    objects(&s, 14);
    s.sys->pinned = false;
    struct vmm_companion *k = s.f.c->companion;
    k->count++;
    objects(&s, 14);
    k->count--;
    list_remove(&k->on_adapter);
    objects(&s, 14);
    list_push_back(&s.f.ad->companions, &k->on_adapter);
    content(&s);
    assert_int_equal(vidmm_fence_signal(f, 1), VIDMM_OK);
    scene_close(&s);
}

static void allocate_unsealed(void)
{
    struct fx f;
    fx_open(&f, REF_FORMAT_A);
    vmm_delete(f.ad, vmm_new(f.ad, 64), 64);
    fx_close(&f);
}

static void the_allocator_is_sealed_in_run(void **state)
{
    struct scene s;
    (void)state;
    assert_int_equal(fx_in_child(allocate_unsealed), 0);
    int signal = fx_in_child(allocate_while_sealed);
    assert_true(signal == SIGILL || signal == SIGTRAP);
    scene_open(&s, REF_FORMAT_A);
    s.f.ad->sealed = true;
    objects(&s, 16);
    s.f.ad->sealed = false;
    content(&s);
    scene_close(&s);
}

/* Everything that needs no memory works without any: the world refuses every request from here on. */
static void teardown_needs_no_memory(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_B);
    struct vidmm_open *big = fx_alloc(s.f.d, 14 * MIB, SEG1, 1);
    assert_int_equal(vidmm_fence_signal(s.gate, 1), VIDMM_OK);
    fx_run(&s.f);
    fx_evict(s.f.d, s.local, 0);
    fx_resident(s.f.q, big);
    vidmm_queue_delay(s.blocked, 0);
    uint64_t asked = s.f.world.asked;
    s.f.world.refuses = true;
    fx_run(&s.f);                                    /* eviction, page-in, queued maps */
    assert_true(fx_place(big).resident);
    assert_true(fx_queue_done(s.f.q) && fx_queue_done(s.blocked));
    assert_int_equal(s.f.world.asked, asked);
    vidmm_open_close(s.sys, 0);
    s.f.q = NULL;
    vidmm_device_destroy(s.f.d);
    asked = s.f.world.asked; /* a smaller root may be asked for in a call, and done without */
    fx_run(&s.f);
    assert_int_equal(s.f.world.asked, asked);
    assert_int_equal(s.f.count.allocs_live, 0);
    s.f.world.refuses = false;
    fx_close(&s.f);
}

/* Spoils the watch over the nodes, then the state of an adapter that is gone. */
static void a_lost_adapter_holds_nothing(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vidmm_adapter *ad = s.f.ad;
    ad->node[0].blamed = 1;
    objects(&s, 19);
    ad->node[0].preempt_until = 1;
    content(&s);
    ad->node[0].blamed = ad->node[0].next_fence + 1;
    objects(&s, 19);
    ad->node[0].blamed = ad->node[0].preempt_until = 0;
    ad->silent = true;
    objects(&s, 19);
    ad->silent = false;
    content(&s);
    scene_close(&s);
    fx_open(&s.f, REF_FORMAT_A);
    vidmm_adapter_remove(s.f.ad);
    fx_run(&s.f);
    content(&s);
    s.f.d->state = VIDMM_DEVICE_ACTIVE;
    objects(&s, 19);
    s.f.d->state = VIDMM_DEVICE_RESET;
    content(&s);
    fx_close(&s.f);
}

/* ---- 22, 23: hardware contexts and queues --------------------------------------------------------- */

static void hardware_contexts_follow_their_device(void **state)
{
    struct scene s;
    struct vidmm_hwcontext *c;
    struct vidmm_hwcontext_desc cd = {.node = REF_NODE_COPY};
    struct vidmm_hwqueue *q;
    struct vidmm_hwqueue_desc qd = {0};
    uint64_t one = 1;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    assert_int_equal(vidmm_hwcontext_create(s.f.d, &cd, &c), VIDMM_OK);
    assert_int_equal(vidmm_hwqueue_create(c, &qd, &q), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(c->state, HW_RUNNING);
    assert_int_equal(vidmm_hwqueue_wait(q, &s.gate, &one, 1), VIDMM_OK);
    assert_int_equal(vidmm_hwqueue_submit(q, s.f.cmd_va, 8, NULL, 0, 3), VIDMM_OK);
    content(&s);
    s.f.d->taken++;
    objects(&s, 22);
    s.f.d->taken--;
    s.local->arrived = false;
    objects(&s, 22);
    s.local->arrived = true;
    c->root_version--;
    objects(&s, 22);
    c->root_version++;
    c->state = HW_SUSPENDED;                         /* nobody would wait for it */
    objects(&s, 12);
    c->state = HW_RUNNING;
    s.f.d->state = VIDMM_DEVICE_HUNG;
    objects(&s, 22);
    s.f.d->state = VIDMM_DEVICE_ACTIVE;
    q->submitted++;
    objects(&s, 23);
    q->submitted--;
    atomic_store(&q->retired, 3);
    objects(&s, 23);
    atomic_store(&q->retired, 0);
    vmm_fence_store(q->progress, 4);                 /* 3 was the last */
    objects(&s, 23);
    vmm_fence_store(q->progress, 0);
    content(&s);
    scene_close(&s);
}

/* ---- 24: doorbells -------------------------------------------------------------------------------- */

static void doorbells_tell_the_truth(void **state)
{
    struct scene s;
    struct vidmm_hwcontext *c;
    struct vidmm_hwcontext_desc cd = {.node = REF_NODE_COMPUTE};
    struct vidmm_hwqueue *q;
    struct vidmm_hwqueue_desc qd = {.flags = VIDMM_HWQUEUE_USER_SUBMISSION};
    struct vidmm_doorbell *d;
    struct vidmm_doorbell_desc dd = {.ring_va = BASE + RANGE, .control_va = BASE + RANGE, .ring_entries = 8};
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    dd.ring = dd.control = s.sys;
    assert_int_equal(vidmm_hwcontext_create(s.f.d, &cd, &c), VIDMM_OK);
    assert_int_equal(vidmm_hwqueue_create(c, &qd, &q), VIDMM_OK);
    assert_int_equal(vidmm_doorbell_create(q, &dd, &d), VIDMM_OK);
    assert_int_equal(vidmm_doorbell_connect(d), VIDMM_OK);
    fx_run(&s.f);
    content(&s);
    s.sys->pins = 0;
    objects(&s, 24);
    s.sys->pins = 2;
    *d->status = VIDMM_DOORBELL_CONNECTED_NOTIFY;    /* its context runs */
    objects(&s, 24);
    *d->status = VIDMM_DOORBELL_DISCONNECTED_RETRY;
    objects(&s, 24);
    *d->status = VIDMM_DOORBELL_CONNECTED;
    content(&s);
    scene_close(&s);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(bindings_lie_in_one_claim, "INV-01", NULL),
        VT_TEST(entries_equal_their_bindings, "INV-02", NULL),
        VT_TEST(tables_exist_for_a_reason, "INV-03", NULL),
        VT_TEST(every_page_has_one_owner, "INV-04", NULL),
        VT_TEST(pages_are_freed_after_their_flush, "INV-05", NULL),
        VT_TEST(content_is_made_before_it_is_shown, "INV-06", NULL),
        VT_TEST(missing_is_exact, "INV-07", NULL),
        VT_TEST(the_required_list_is_exact, "INV-08", NULL),
        VT_TEST(what_is_required_fits, "INV-09", NULL),
        VT_TEST(values_are_never_early, "INV-10", NULL),
        VT_TEST(reverse_lists_are_exact, "INV-11", NULL),
        VT_TEST(memory_does_not_move_under_a_packet, "INV-12", NULL),
        VT_TEST(queued_updates_pin_their_pools, "INV-14", NULL),
        VT_TEST(the_allocator_is_sealed_in_run, "INV-16", NULL),
        VT_TEST(teardown_needs_no_memory, "INV-16", NULL),
        VT_TEST(nobody_is_forgotten, "INV-17", NULL),
        VT_TEST(freed_pages_are_void_for_queued_maps, "INV-18", NULL),
        VT_TEST(a_lost_adapter_holds_nothing, "INV-19", NULL),
        VT_TEST(doorbells_tell_the_truth, "INV-24", NULL),
        VT_TEST(hardware_contexts_follow_their_device, "INV-22 INV-23", NULL),
    };
    return vt_main(argc, argv, "invariants", cases, VT_COUNT(cases));
}
