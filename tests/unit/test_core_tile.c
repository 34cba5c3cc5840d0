/* SPDX-License-Identifier: MIT */
/* test_core_tile.c - tile resources: the second address space, companions, updates in step with draws. */
#include "core/core.h"

#include "tile_kit.h"

/* ---- the services -------------------------------------------------------------------------------- */

/* Without these two a driver cannot offer tiled resources at all. */
static void tiles_are_mapped_and_unmapped(void **state)
{
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        struct scene s;
        scene_open(&s, (enum ref_format)format);
        struct vidmm_tile_op two[] = {map_of(&s, 0, TILE, 3), map_of(&s, TILE, TILE, 1)};
        must_update(&s, two, 2);
        assert_int_equal(tile_at(&s, 0), 4);
        assert_int_equal(tile_at(&s, TILE + TILE - 8), 2);
        struct vidmm_tile_op again = map_of(&s, MIB, 4 * TILE, 5);
        again.open_bytes = TILE;
        must_update(&s, &again, 1);
        for (uint64_t i = 0; i < 4; i++) assert_int_equal(tile_at(&s, MIB + i * TILE), 6);
        fx_fill(&s.f, s.f.c, s.tiles + MIB + 3 * TILE, 77, 8); /* aliases, with write access */
        assert_int_equal(tile_at(&s, MIB), 77);
        struct vidmm_tile_op none = unmap_of(&s, 0, TILE, VIDMM_PROT_NO_ACCESS);
        must_update(&s, &none, 1);
        must_update(&s, two, 1); /* mapped again from no access (TIL-24) */
        assert_int_equal(tile_at(&s, 0), 4);
        must_update(&s, &none, 1);
        assert_int_equal(tile_at(&s, TILE), 2);
        must_fault_at(&s, 0);
        fx_close(&s.f);
    }
}

static void zero_tiles(void **state)
{
    struct scene s;
    struct vidmm_reserve in = {.base = BASE, .bytes = MIB, .type = VIDMM_RESERVE_ZERO};
    uint64_t value;
    (void)state;
    scene_with(&s, REF_FORMAT_A, MIB);
    assert_true(vidmm_va_reserve(s.f.p, s.f.q, &in, &s.tiles, &value) >= 0);
    fx_run(&s.f);
    assert_int_equal(tile_at(&s, TILE), 0);
    struct vidmm_tile_op map = map_of(&s, TILE, TILE, 2), zero = unmap_of(&s, TILE, TILE, VIDMM_PROT_ZERO);
    must_update(&s, &map, 1);
    assert_int_equal(tile_at(&s, TILE), 3);
    must_update(&s, &zero, 1);
    assert_int_equal(tile_at(&s, TILE), 0);
    struct vidmm_tile_op wrong = unmap_of(&s, 0, TILE, 0);
    assert_int_equal(update_now(&s, &wrong, 1), VIDMM_INVALID);
    wrong.protection = VIDMM_PROT_ZERO | VIDMM_PROT_NO_ACCESS;
    assert_int_equal(update_now(&s, &wrong, 1), VIDMM_INVALID);
    wrong.protection = VIDMM_PROT_WRITE;
    assert_int_equal(update_now(&s, &wrong, 1), VIDMM_INVALID);
    fx_close(&s.f);
    scene_open(&s, REF_FORMAT_B); /* without zero entries there is no such state */
    zero = unmap_of(&s, 0, TILE, VIDMM_PROT_ZERO);
    assert_int_equal(update_now(&s, &zero, 1), VIDMM_INVALID);
    fx_close(&s.f);
}

/* A reservation of zeros that took effect at once would overtake what the queue was asked before. */
static void reserve_executes_on_the_queue(void **state)
{
    struct scene s;
    struct vidmm_reserve in = {.base = BASE, .bytes = MIB, .type = VIDMM_RESERVE_ZERO};
    struct vidmm_va_info info;
    uint64_t value = 0;
    (void)state;
    scene_with(&s, REF_FORMAT_A, MIB);
    vidmm_queue_delay(s.f.q, UINT64_MAX);
    assert_int_equal(vidmm_va_reserve(s.f.p, s.f.q, &in, &s.tiles, &value), VIDMM_PENDING);
    assert_true(value > fx_done(s.f.q));
    fx_run(&s.f);
    assert_int_equal(vidmm_va_query(s.f.p, BASE, &info), VIDMM_OK);
    assert_true(info.reserved && !info.bound);
    vidmm_queue_delay(s.f.q, 0);
    fx_run(&s.f);
    assert_true(fx_done(s.f.q) >= value);
    assert_int_equal(tile_at(&s, 0), 0);
    fx_close(&s.f);
}

/* ---- the second space and the companions --------------------------------------------------------- */

static void one_space_then_two(void **state)
{
    struct fx f;
    struct vidmm_process *other;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    assert_int_equal(vidmm_process_create(f.ad, &other), VIDMM_OK);
    fx_forget(&f);
    assert_int_equal(vidmm_process_space_count(f.p), 1);
    uint64_t first = fx_reserve(&f, BASE, MIB);
    assert_int_equal(vidmm_process_space_count(f.p), 2);
    fx_reserve(&f, BASE + MIB, MIB);
    assert_int_equal(vidmm_process_space_count(f.p), 2);
    assert_int_equal(fx_count(&f, EV_CREATE_PROCESS), 1); /* one more address space for the driver */
    assert_int_equal(vidmm_va_free(f.p, first, MIB), VIDMM_OK);
    assert_int_equal(vidmm_process_space_count(f.p), 2);
    fx_destroy_process(&f, other);
    fx_close(&f);
}

static void who_never_reserves_has_one_space(void **state)
{
    struct fx f;
    struct vidmm_reserve bad = {.base = BASE + PAGE, .bytes = MIB};
    uint64_t va, value;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    (void)fx_map_all(f.q, fx_alloc(f.d, MIB, SEG1, 1));
    fx_run(&f);
    assert_int_equal(vidmm_va_reserve(f.p, f.q, &bad, &va, &value), VIDMM_INVALID);
    assert_int_equal(vidmm_process_space_count(f.p), 1);
    assert_int_equal(fx_count(&f, EV_CREATE_PROCESS), 2); /* the paging process and this one */
    fx_close(&f);
}

static const struct event *companion_event(struct fx *f, uint32_t n)
{
    uint32_t at = 0;
    const struct event *e;
    while ((e = fx_next(f, EV_CREATE_CONTEXT, &at)) != NULL)
        if (e->system && n-- == 0) return e;
    return NULL;
}

static void a_companion_for_each_context_that_updates(void **state)
{
    struct scene s;
    struct vidmm_context *second;
    struct vidmm_context_desc desc = {.node = REF_NODE_COPY};
    uint32_t at = 0;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    s.f.hooks.companion_node = REF_NODE_COPY + 1;
    assert_int_equal(vidmm_context_create(s.f.d, &desc, &second), VIDMM_OK);
    fx_forget(&s.f);
    struct vidmm_tile_op good = map_of(&s, 0, TILE, 0), bad = map_of(&s, 1, TILE, 0);
    assert_int_equal(vidmm_va_update(second, &bad, 1, NULL, 0, VIDMM_UPDATE_DO_NOT_WAIT), VIDMM_INVALID);
    assert_null(companion_event(&s.f, 0)); /* a refused one makes nothing */
    for (int i = 0; i < 3; i++)
        assert_int_equal(vidmm_va_update(second, &good, 1, NULL, 0, VIDMM_UPDATE_DO_NOT_WAIT), VIDMM_OK);
    const struct event *e = companion_event(&s.f, 0), *root;
    assert_non_null(e);
    assert_null(companion_event(&s.f, 1));
    assert_int_equal(e->submit.node, REF_NODE_COPY); /* named when the context was created */
    assert_ptr_equal(e->process, s.f.p->privileged[0].space.kmd_process);
    assert_ptr_not_equal(e->process, s.f.p->space.kmd_process);
    do root = fx_next(&s.f, EV_SET_ROOT, &at);
    while (root != NULL && root->object != e->object);
    assert_non_null(root);
    assert_int_equal(root->root.offset, s.f.p->privileged[0].space.tables.root->address);
    assert_int_equal(update_now(&s, &good, 1), VIDMM_OK);
    assert_int_equal(companion_event(&s.f, 1)->submit.node, REF_NODE_PAGING); /* the core's proposal */
    fx_run(&s.f);
    vidmm_context_destroy(second);
    fx_run(&s.f);
    assert_int_equal(fx_count(&s.f, EV_DESTROY_CONTEXT), 2);
    fx_close(&s.f);
}

/* Pools are shown in the privileged space wherever they move; user mode has no way to that address. */
static void pools_are_mapped_in_the_privileged_space(void **state)
{
    struct scene s;
    uint32_t at = 0;
    (void)state;
    scene_with(&s, REF_FORMAT_A, 9 * MIB);
    s.tiles = fx_reserve(&s.f, BASE, MIB);
    struct vidmm_tile_op map = map_of(&s, 0, TILE, 0);
    must_update(&s, &map, 1);
    must_update(&s, &map, 1);
    void *companion = s.f.c->companion->kmd_context;
    const struct vmm_space *sp = &s.f.p->privileged[0].space;
    assert_int_equal(sp->binding_count, 1);
    assert_ptr_equal(s.pool->pool[0]->open, s.pool);
    assert_int_equal(s.pool->pool[0]->end - s.pool->pool[0]->node.key, 9 * MIB);
    fx_forget(&s.f);
    struct peer other = fx_peer(s.f.p);
    fx_resident(other.q, fx_alloc(other.d, 9 * MIB, SEG1, 1));
    fx_run(&s.f); /* verify compares the entries of both spaces with the placement */
    assert_int_equal(fx_place(s.pool).segment, 0);
    uint64_t written = 0;
    for (const struct event *e; (e = fx_next(&s.f, EV_UPDATE, &at)) != NULL;)
        if (e->object == sp->kmd_process && e->update.level == 0) written += e->update.count;
    assert_int_equal(written, 2 * 9 * MIB / PAGE); /* invalid, then the new place */
    at = 0;
    for (const struct event *e; (e = fx_next_op(&s.f, VIDMM_OP_FLUSH_TLB, &at)) != NULL;)
        assert_ptr_not_equal(e->op.flush.process, sp->kmd_process); /* nobody has ever run in it */
    uint64_t hidden = s.pool->pool[0]->node.key, unused;
    struct vidmm_map mine = {.base = hidden, .open = s.out, .bytes = PAGE, .protection = VIDMM_PROT_WRITE};
    (void)fx_try_map(s.f.q, &mine, &unused); /* the same number, of the application's space */
    fx_run(&s.f);
    assert_int_equal(sp->binding_count, 1);
    assert_ptr_equal(s.pool->pool[0]->open, s.pool);
    fx_fill(&s.f, s.f.c, s.pool_va, 7, 64);
    fx_run(&s.f);
    at = 0;
    for (const struct event *e; (e = fx_next(&s.f, EV_SUBMIT, &at)) != NULL;) /* nor may it submit there */
        assert_ptr_not_equal(e->submit.context, companion);
    fx_close(&s.f);
}

/* ---- in step with rendering ---------------------------------------------------------------------- */

static void signal_to(struct scene *s, uint64_t value)
{
    assert_int_equal(vidmm_context_signal(s->f.c, &s->fence, &value, 1), VIDMM_OK);
}

static void wait_for(struct scene *s, struct vidmm_fence *f, uint64_t value)
{
    assert_int_equal(vidmm_context_wait(s->f.c, &f, &value, 1), VIDMM_OK);
}

/* draw 42, update behind 42, draw 43; the gate holds draw 42 back. */
static void queue_two_draws(struct scene *s, struct vidmm_fence *gate)
{
    wait_for(s, gate, 1);
    draw(s, 0, 42);
    signal_to(s, 42);
    struct vidmm_tile_op map = map_of(s, 0, TILE, 2);
    assert_int_equal(vidmm_va_update(s->f.c, &map, 1, s->fence, 42, 0), VIDMM_OK);
    wait_for(s, s->fence, 43);
    draw(s, 0, 43);
}

/* A game would show the wrong texture in one of two frames. */
static void draw_42_sees_the_old_tile_and_43_the_new(void **state)
{
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        struct scene s;
        scene_open(&s, (enum ref_format)format);
        struct vidmm_fence *gate = fence_at(s.f.d, 0);
        struct vidmm_tile_op map = map_of(&s, 0, TILE, 1);
        must_update(&s, &map, 1);
        queue_two_draws(&s, gate);
        fx_run(&s.f);
        assert_int_equal(vidmm_fence_value(s.fence), 41);
        assert_int_equal(vidmm_context_updates(s.f.c), 1);
        assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
        fx_run(&s.f);
        assert_int_equal(vidmm_fence_value(s.fence), 43);
        assert_int_equal(s.seen[42] & UINT32_MAX, 2);
        assert_int_equal(s.seen[43] & UINT32_MAX, 3);
        assert_int_equal(vidmm_context_updates(s.f.c), 0);
        fx_close(&s.f);
    }
}

/* The signal of V + 1 may not come before the flush is done: draw 43 could use the old translation. */
static void the_flush_is_done_before_the_signal(void **state)
{
    struct scene s;
    uint32_t at = 0;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vidmm_tile_op map = map_of(&s, 0, 2 * TILE, 1), other = map_of(&s, 0, TILE, 4);
    must_update(&s, &map, 1);
    assert_int_equal(tile_at(&s, 0), 2);
    fx_forget(&s.f);
    assert_int_equal(vidmm_va_update(s.f.c, &other, 1, s.fence, 42, 0), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(fx_count(&s.f, EV_UPDATE), 0); /* nothing is written before V */
    assert_int_equal(vidmm_fence_signal(s.fence, 42), VIDMM_OK);
    fx_run_core(&s.f);
    assert_int_equal(fx_count(&s.f, EV_UPDATE), 1);
    const struct event *flush = fx_next_op(&s.f, VIDMM_OP_FLUSH_TLB, &at);
    assert_non_null(flush);
    assert_ptr_equal(flush->op.flush.process, s.f.p->space.kmd_process);
    assert_int_equal(flush->op.flush.start_va, s.tiles);
    assert_int_equal(flush->op.flush.end_va, s.tiles + TILE);
    assert_int_equal(vidmm_fence_value(s.fence), 42);
    fx_run_node(&s.f, REF_NODE_PAGING);
    fx_run_core(&s.f);
    assert_int_equal(vidmm_fence_value(s.fence), 43);
    assert_null(fx_next_op(&s.f, VIDMM_OP_FLUSH_TLB, &at));
    assert_int_equal(tile_at(&s, 0), 5);
    assert_int_equal(tile_at(&s, TILE), 3);
    fx_close(&s.f);
}

/* While the update waits, user mode evicts the pool and VidMm moves it: the entries name the place of the
 * time of execution. */
static void the_pool_moves_between_queueing_and_execution(void **state)
{
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        struct scene s;
        scene_with(&s, (enum ref_format)format, 9 * MIB);
        s.tiles = fx_reserve(&s.f, format == REF_FORMAT_A ? BASE : BASE_B, MIB);
        struct vidmm_fence *gate = fence_at(s.f.d, 0);
        struct vidmm_tile_op map = map_of(&s, 0, TILE, 1);
        must_update(&s, &map, 1);
        struct vidmm_tile_op next = map_of(&s, 0, TILE, 2);
        assert_int_equal(vidmm_va_update(s.f.c, &next, 1, s.fence, 42, 0), VIDMM_OK);
        fx_evict(s.f.d, s.pool, 0);
        fx_run(&s.f);
        assert_true(s.pool->pinned && list_is_linked(&s.pool->on_required));
        struct peer other = fx_peer(s.f.p);
        struct vidmm_open *big = fx_alloc(other.d, 9 * MIB, SEG1, 1);
        fx_resident(other.q, big);
        fx_run(&s.f);
        assert_true(fx_place(big).resident);
        assert_true(fx_place(s.pool).resident); /* pinned: moved, not taken away */
        assert_int_equal(fx_place(s.pool).segment, 0);
        fx_forget(&s.f);
        assert_int_equal(vidmm_fence_signal(s.fence, 42), VIDMM_OK);
        fx_run(&s.f);
        uint32_t at = 0;
        const struct event *e = fx_next(&s.f, EV_UPDATE, &at);
        assert_int_equal(e->update.first_va, s.tiles);
        assert_int_equal(s.f.log.run[e->first_run].address, (s.pool->al->home + 2 * TILE / PAGE) * PAGE);
        assert_int_equal(vidmm_fence_value(s.fence), 43);
        assert_false(list_is_linked(&s.pool->on_required)); /* the pin ends with the last update */
        fx_resident(s.f.q, s.pool);
        fx_run(&s.f);
        assert_int_equal(tile_at(&s, 0), 3);
        vidmm_fence_destroy(gate);
        fx_close(&s.f);
    }
}

/* A client that never signals V must stop nobody but itself. */
static void a_companion_may_wait_for_ever(void **state)
{
    struct scene s;
    struct vidmm_process *p;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vidmm_tile_op map = map_of(&s, 0, TILE, 1);
    assert_int_equal(vidmm_va_update(s.f.c, &map, 1, s.fence, 1000, 0), VIDMM_OK);
    assert_int_equal(vidmm_process_create(s.f.ad, &p), VIDMM_OK);
    struct peer peer[2] = {fx_peer(s.f.p), fx_peer(p)};
    for (int i = 0; i < 2; i++) {
        struct vidmm_open *op = fx_alloc(peer[i].d, MIB, SEG1, 1);
        fx_resident(peer[i].q, op);
        (void)fx_map_all(peer[i].q, op);
        fx_run(&s.f);
        assert_true(fx_queue_done(peer[i].q));
        assert_true(fx_place(op).resident);
    }
    draw(&s, 2 * MIB, 1); /* its own context goes on too: this one faults, which ends the device */
    fx_run(&s.f);
    assert_int_equal(vidmm_device_state(s.f.d), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(vidmm_fence_value(s.fence), UINT64_MAX);
    assert_int_equal(vidmm_context_updates(s.f.c), 0);
    assert_int_equal(update_now(&s, &map, 1), VIDMM_DEVICE_LOST);
    fx_destroy_process(&s.f, p);
    fx_close(&s.f);
}

static void waiting_is_optional(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vidmm_tile_op map = map_of(&s, 0, TILE, 1);
    assert_int_equal(vidmm_va_update(s.f.c, &map, 1, NULL, 0, 0), VIDMM_INVALID);
    assert_int_equal(vidmm_va_update(s.f.c, &map, 1, s.fence, 99, VIDMM_UPDATE_DO_NOT_WAIT), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(vidmm_fence_value(s.fence), 100); /* signalled all the same */
    assert_int_equal(tile_at(&s, 0), 2);
    assert_int_equal(vidmm_va_update(s.f.c, &map, 1, s.fence, UINT64_MAX, 0), VIDMM_INVALID);
    struct vidmm_fence *one_way;
    assert_int_equal(vidmm_fence_create(s.f.d, 0, VIDMM_FENCE_NO_SIGNAL, &one_way), VIDMM_OK);
    assert_int_equal(vidmm_va_update(s.f.c, &map, 1, one_way, 0, 0), VIDMM_ACCESS_DENIED);
    assert_int_equal(vidmm_fence_create(s.f.d, 0, VIDMM_FENCE_NO_WAIT, &one_way), VIDMM_OK);
    assert_int_equal(vidmm_va_update(s.f.c, &map, 1, one_way, 0, 0), VIDMM_ACCESS_DENIED);
    assert_int_equal(vidmm_va_update(s.f.c, &map, 1, one_way, 0, VIDMM_UPDATE_DO_NOT_WAIT), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(vidmm_fence_value(one_way), 1);
    fx_close(&s.f);
}

/* ---- rules --------------------------------------------------------------------------------------- */

static void operations_stay_in_one_reservation(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    uint64_t second = fx_reserve(&s.f, BASE + 4 * MIB, MIB), hash = vidmm_state_hash(s.f.ad);
    struct vidmm_tile_op mixed[] = {map_of(&s, 0, TILE, 1), map_of(&s, 4 * MIB, TILE, 1)};
    assert_int_equal(update_now(&s, mixed, 2), VIDMM_INVALID);
    struct vidmm_tile_op across = map_of(&s, 4 * MIB - TILE, 2 * TILE, 1);
    assert_int_equal(update_now(&s, &across, 1), VIDMM_INVALID);
    struct vidmm_tile_op plain = map_of(&s, s.pool_va - s.tiles, TILE, 1); /* a mapped range is none */
    assert_int_equal(update_now(&s, &plain, 1), VIDMM_INVALID);
    struct vidmm_tile_op sources[] = {copy_of(&s, 0, MIB, TILE), copy_of(&s, TILE, 4 * MIB, TILE)};
    assert_int_equal(update_now(&s, sources, 2), VIDMM_INVALID);
    for (uint64_t bad = 1; bad < PAGE; bad = bad * 2 + 1) {
        struct vidmm_tile_op odd[5];
        for (int i = 0; i < 5; i++) odd[i] = map_of(&s, 0, TILE, 1);
        odd[0].base += bad;
        odd[1].bytes -= bad;
        odd[2].offset += bad;
        odd[3].open_bytes = bad;
        odd[4] = copy_of(&s, 0, MIB + bad, TILE);
        for (int i = 0; i < 5; i++) assert_int_equal(update_now(&s, &odd[i], 1), VIDMM_INVALID);
    }
    struct vidmm_tile_op part = map_of(&s, 0, 3 * TILE, 1); /* not a multiple; more than there is */
    part.open_bytes = 2 * TILE;
    assert_int_equal(update_now(&s, &part, 1), VIDMM_INVALID);
    part = map_of(&s, 0, 2 * TILE, 15);
    assert_int_equal(update_now(&s, &part, 1), VIDMM_INVALID);
    part = map_of(&s, 0, TILE, 15);
    part.open_bytes = TILE;
    assert_int_equal(vidmm_state_hash(s.f.ad), hash);
    assert_int_equal(vidmm_context_updates(s.f.c), 0);
    must_update(&s, &part, 1);
    struct vidmm_tile_op there = copy_of(&s, 4 * MIB, 0, TILE); /* from one reservation to another */
    must_update(&s, &there, 1);
    assert_int_equal(fx_gpu_read(&s.f, second) & UINT32_MAX, 16);
    fx_close(&s.f);
}

/* Later operations of a call see earlier ones; a copy reads everything first, also onto itself. */
static void copies_read_first(void **state)
{
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        struct scene s;
        scene_open(&s, (enum ref_format)format);
        struct vidmm_tile_op set[] = {map_of(&s, 0, 4 * TILE, 0),
                                      unmap_of(&s, TILE, TILE, VIDMM_PROT_NO_ACCESS),
                                      map_of(&s, 2 * TILE, TILE, 9), copy_of(&s, TILE, 0, 4 * TILE)};
        must_update(&s, set, 4); /* 1 - 10 4 becomes 1 1 - 10 4 */
        assert_int_equal(tile_at(&s, 0), 1);
        assert_int_equal(tile_at(&s, TILE), 1);
        assert_int_equal(tile_at(&s, 3 * TILE), 10);
        assert_int_equal(tile_at(&s, 4 * TILE), 4);
        struct vidmm_tile_op down = copy_of(&s, 0, 3 * TILE, 2 * TILE); /* 10 4 - 10 4 */
        must_update(&s, &down, 1);
        assert_int_equal(tile_at(&s, 0), 10);
        assert_int_equal(tile_at(&s, TILE), 4);
        struct vidmm_tile_op pages = copy_of(&s, 16 * TILE + PAGE, PAGE * 3, TILE); /* not tile by tile */
        must_update(&s, &pages, 1);
        assert_int_equal(tile_at(&s, 16 * TILE + PAGE), 10);
        assert_int_equal(tile_at(&s, 17 * TILE), 4);
        struct vidmm_va_info info;
        assert_int_equal(vidmm_va_query(s.f.p, s.tiles + 16 * TILE, &info), VIDMM_OK);
        assert_false(info.bound);
        must_fault_at(&s, 2 * TILE);
        fx_close(&s.f);
    }
}

static void frees_make_no_ops(void **state)
{
    struct scene s;
    struct vidmm_va_info info;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vidmm_tile_op set = map_of(&s, MIB, 4 * TILE, 4);
    must_update(&s, &set, 1);
    struct vidmm_tile_op ops[] = {map_of(&s, 0, 4 * TILE, 0), copy_of(&s, 8 * TILE, MIB, 4 * TILE),
                                  unmap_of(&s, MIB, 4 * TILE, VIDMM_PROT_NO_ACCESS)};
    assert_int_equal(vidmm_va_update(s.f.c, ops, 2, s.fence, 42, 0), VIDMM_OK);
    assert_int_equal(vidmm_va_free(s.f.p, s.tiles + TILE, TILE), VIDMM_OK);       /* of the map */
    assert_int_equal(vidmm_va_free(s.f.p, s.tiles + MIB + TILE, TILE), VIDMM_OK); /* of the copy's source */
    assert_int_equal(vidmm_va_free(s.f.p, s.tiles + 10 * TILE, TILE), VIDMM_OK);  /* of its destination */
    fx_run(&s.f);
    fx_reserve(&s.f, s.tiles + TILE, TILE); /* somebody else's now */
    assert_int_equal(vidmm_fence_signal(s.fence, 42), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(vidmm_fence_value(s.fence), 43);
    assert_int_equal(tile_at(&s, 0), 1);
    assert_int_equal(tile_at(&s, 2 * TILE), 3);
    assert_int_equal(vidmm_va_query(s.f.p, s.tiles + TILE, &info), VIDMM_OK);
    assert_false(info.bound);
    assert_int_equal(tile_at(&s, 8 * TILE), 5);
    assert_int_equal(tile_at(&s, 11 * TILE), 8);
    assert_int_equal(vidmm_va_query(s.f.p, s.tiles + 9 * TILE, &info), VIDMM_OK);
    assert_false(info.bound); /* untouched */
    assert_int_equal(vidmm_va_query(s.f.p, s.tiles + 10 * TILE, &info), VIDMM_INVALID);
    fx_close(&s.f);
}

static void a_destroyed_pool_makes_no_ops(void **state)
{
    struct scene s;
    struct vidmm_va_info info;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vidmm_open *second = fx_alloc(s.f.d, MIB, SEG1 | SYS, 1);
    fx_resident(s.f.q, second);
    struct vidmm_tile_op ops[] = {map_of(&s, 0, TILE, 1), map_of(&s, TILE, TILE, 2)};
    ops[1].open = second;
    assert_int_equal(vidmm_va_update(s.f.c, ops, 2, s.fence, 42, 0), VIDMM_OK);
    vidmm_open_close(second, VIDMM_DESTROY_ASSUME_NOT_IN_USE);
    fx_run(&s.f);
    assert_int_equal(s.f.p->privileged[0].space.binding_count, 1);
    assert_int_equal(vidmm_fence_signal(s.fence, 42), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(vidmm_fence_value(s.fence), 43);
    assert_int_equal(tile_at(&s, 0), 2);
    assert_int_equal(vidmm_va_query(s.f.p, s.tiles + TILE, &info), VIDMM_OK);
    assert_true(info.reserved && !info.bound);
    fx_close(&s.f);
}

/* What is mapped need not be there: entries appear when it comes. */
static void pools_need_not_be_resident(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    struct vidmm_open *late = fx_alloc(s.f.d, MIB, SEG1, 1);
    struct vidmm_tile_op map = map_of(&s, 0, TILE, 0);
    map.open = late;
    must_update(&s, &map, 1);
    assert_false(fx_place(late).resident);
    assert_int_equal(late->holds, 0);
    fx_resident(s.f.q, late);
    fx_run(&s.f);
    assert_int_equal(tile_at(&s, 0), 0); /* new memory reads as zeros */
    fx_fill(&s.f, s.f.c, s.tiles, 5, TILE);
    assert_int_equal(tile_at(&s, TILE - 8), 5);
    fx_close(&s.f);
}

static void updates_inherit_the_driver_protection(void **state)
{
    struct scene s;
    struct vidmm_reserve in = {.base = BASE, .bytes = MIB, .driver_protection = 0x77};
    uint64_t value;
    uint32_t at = 0;
    (void)state;
    scene_with(&s, REF_FORMAT_A, MIB);
    assert_int_equal(vidmm_va_reserve(s.f.p, s.f.q, &in, &s.tiles, &value), VIDMM_OK);
    assert_int_equal(vidmm_va_free(s.f.p, s.tiles, TILE), VIDMM_OK); /* what is left keeps it */
    fx_forget(&s.f);
    struct vidmm_tile_op ops[] = {map_of(&s, TILE, TILE, 1), map_of(&s, 2 * TILE, TILE, 2)};
    ops[1].type = VIDMM_TILE_MAP_PROTECT;
    ops[1].driver_protection = 0x55;
    must_update(&s, ops, 2);
    uint64_t seen[2] = {0, 0};
    for (const struct event *e; (e = fx_next(&s.f, EV_UPDATE, &at)) != NULL;) {
        if (e->object != s.f.p->space.kmd_process || e->update.level != 0) continue;
        if (e->update.first_va == s.tiles + TILE) seen[0] = e->update.driver_protection;
        if (e->update.first_va == s.tiles + 2 * TILE) seen[1] = e->update.driver_protection;
    }
    assert_int_equal(seen[0], 0x77);
    assert_int_equal(seen[1], 0x55);
    struct vidmm_page_fault fault; /* MAP_PROTECT without write access; MAP has it */
    fx_fill(&s.f, s.f.c, s.tiles + TILE, 1, 8);
    fx_run(&s.f);
    fx_fill(&s.f, s.f.c, s.tiles + 2 * TILE, 1, 8);
    fx_run(&s.f);
    assert_int_equal(vidmm_device_fault(s.f.d, &fault), VIDMM_OK);
    assert_int_equal(fault.va, s.tiles + 2 * TILE);
    fx_close(&s.f);
}

static void no_more_than_128_are_queued(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s, REF_FORMAT_A);
    for (uint32_t i = 0; i < VIDMM_UPDATES_MAX; i++) {
        struct vidmm_tile_op map = map_of(&s, i % 16 * TILE, TILE, i % 16);
        assert_int_equal(vidmm_va_update(s.f.c, &map, 1, s.fence, 42 + i, 0), VIDMM_OK);
    }
    struct vidmm_tile_op map = map_of(&s, 0, TILE, 9);
    uint64_t hash = vidmm_state_hash(s.f.ad);
    assert_int_equal(vidmm_va_update(s.f.c, &map, 1, s.fence, 42 + 127, 0), VIDMM_BUSY);
    assert_int_equal(vidmm_state_hash(s.f.ad), hash);
    assert_int_equal(vidmm_fence_signal(s.fence, 42), VIDMM_OK);
    fx_run(&s.f); /* each signals what the next one waits for */
    assert_int_equal(vidmm_fence_value(s.fence), 42 + 128);
    assert_int_equal(vidmm_va_update(s.f.c, &map, 1, s.fence, 42 + 128, 0), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(tile_at(&s, 0), 10);
    assert_int_equal(tile_at(&s, 15 * TILE), 16);
    fx_close(&s.f);
}

/* Beyond what a two-level root covers it has to grow first, while no context is on an engine. */
static void updates_grow_the_root(void **state)
{
    struct scene s;
    (void)state;
    scene_with(&s, REF_FORMAT_B, MIB);
    uint64_t far = (uint64_t)vmm_tables_coverage(&s.f.p->space) << s.f.ad->shift[1];
    s.tiles = fx_reserve(&s.f, far * 2, MIB);
    struct vidmm_tile_op map = map_of(&s, 0, TILE, 7);
    fx_wait_packet(&s.f, s.f.c, vidmm_fence_gpu_address(s.fence), 42);
    fx_run(&s.f);
    assert_int_equal(vidmm_va_update(s.f.c, &map, 1, s.fence, 42, 0), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(vidmm_fence_value(s.fence), 41);
    assert_int_equal(vidmm_fence_signal(s.fence, 42), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(vidmm_fence_value(s.fence), 43);
    assert_int_equal(tile_at(&s, 0), 8);
    fx_close(&s.f);
}

/* After a reset of the whole adapter both spaces are written again, and a new device goes on in them. */
static void a_reset_of_the_adapter_ends_what_is_queued(void **state)
{
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        struct scene s;
        scene_open(&s, (enum ref_format)format);
        struct vidmm_tile_op map = map_of(&s, 0, 4 * TILE, 1);
        must_update(&s, &map, 1);
        assert_int_equal(vidmm_va_update(s.f.c, &map, 1, s.fence, 42, 0), VIDMM_OK);
        vmm_adapter_reset(s.f.ad, NULL, VIDMM_DEVICE_RESET, NULL);
        assert_int_equal(vidmm_device_state(s.f.d), VIDMM_DEVICE_RESET);
        assert_int_equal(vidmm_context_updates(s.f.c), 0);
        assert_int_equal(s.pool->holds, 0);
        fx_run(&s.f);
        struct peer next = fx_peer(s.f.p);
        struct vidmm_open *op = fx_alloc(next.d, TILE, SYS, 0);
        struct vidmm_tile_op again = {.base = s.tiles + TILE, .bytes = TILE, .open = op};
        fx_resident(next.q, op);
        assert_int_equal(vidmm_va_update(next.c, &again, 1, NULL, 0, VIDMM_UPDATE_DO_NOT_WAIT), VIDMM_OK);
        fx_run(&s.f);
        struct vidmm_va_info info;
        assert_int_equal(vidmm_va_query(s.f.p, s.tiles + TILE, &info), VIDMM_OK);
        assert_ptr_equal(info.open, op);
        assert_int_equal(s.f.p->privileged[0].space.binding_count, 2);
        fx_close(&s.f);
    }
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(tiles_are_mapped_and_unmapped, "TIL-01 TIL-21 TIL-22 TIL-24", "TIL-01"),
        VT_TEST(zero_tiles, "TIL-22 TIL-24", NULL),
        VT_TEST(reserve_executes_on_the_queue, "TIL-02", "TIL-02"),
        VT_TEST(one_space_then_two, "TIL-04", "TIL-04"),
        VT_TEST(who_never_reserves_has_one_space, "TIL-06", "TIL-06"),
        VT_TEST(a_companion_for_each_context_that_updates, "TIL-03 TIL-07", "TIL-03"),
        VT_TEST(pools_are_mapped_in_the_privileged_space, "TIL-10 TIL-12", NULL),
        VT_TEST(draw_42_sees_the_old_tile_and_43_the_new, "TIL-05 TIL-08", "TIL-05"),
        VT_TEST(the_flush_is_done_before_the_signal, "TIL-08 PT-34", NULL),
        VT_TEST(the_pool_moves_between_queueing_and_execution, "TIL-14 TIL-15 INV-14", NULL),
        VT_TEST(a_companion_may_wait_for_ever, "TIL-09", NULL),
        VT_TEST(waiting_is_optional, "TIL-25", NULL),
        VT_TEST(operations_stay_in_one_reservation, "TIL-17 TIL-20 TIL-21", NULL),
        VT_TEST(copies_read_first, "TIL-16 TIL-18", NULL),
        VT_TEST(frees_make_no_ops, "TIL-28 VA-28", NULL),
        VT_TEST(a_destroyed_pool_makes_no_ops, "TIL-28", NULL),
        VT_TEST(pools_need_not_be_resident, "TIL-23", NULL),
        VT_TEST(updates_inherit_the_driver_protection, "VA-40 TIL-22", NULL),
        VT_TEST(no_more_than_128_are_queued, "", NULL),
        VT_TEST(a_reset_of_the_adapter_ends_what_is_queued, "", NULL),
        VT_TEST(updates_grow_the_root, "PT-11", NULL),
    };
    return vt_main(argc, argv, "core_tile", cases, VT_COUNT(cases));
}
