/* SPDX-License-Identifier: MIT */
/* test_link_models.c - linked adapters whose gpus are not alike, and what they have in common all the same:
 * mirrored allocations, tile updates on each gpu, models of addressing that differ. */
#include "link_rig.h"

#include "base/bits.h"

#define X 0x40000000ull
#define SIZE MIB(1)

/* ---- mirrored allocations ------------------------------------------------------------------------- */

static struct vidmm_open *mirrored(struct link *l, uint64_t bytes)
{
    return client_alloc(&l->c, &(struct fx_alloc){.bytes = bytes, .set = SET_64K | SET_SYSTEM, .preferred = 1,
                                                  .flags = VIDMM_ALLOCATION_LINK_MIRRORED});
}

/* Memory that has to stay where it is. */
static struct vidmm_open *fixed(struct link *l, uint32_t gpu, uint64_t bytes)
{
    struct vidmm_open *op = client_alloc(&l->c, &(struct fx_alloc){.bytes = bytes, .set = SET_64K,
                                                                   .preferred = 1, .gpu = gpu});
    client_resident(&l->c, op);
    return op;
}

static uint32_t segment_of(const struct vidmm_open *op)
{
    struct vidmm_placement_info at;
    vidmm_open_placement(op, &at);
    assert_true(at.resident);
    return at.segment;
}

/* Every page on every gpu: self, in the same segment, at the same offset. */
static void expect_one_place(struct link *l, uint64_t va, uint64_t bytes, uint32_t segment)
{
    for (uint64_t at = 0; at < bytes; at += KIB(64)) {
        uint64_t first = 0;
        for (uint32_t g = 0; g < l->gpus; g++) {
            struct vidmm_pte_kind kind;
            uint64_t address = link_decode(l, g, va + at, &kind);
            assert_int_equal(kind.segment, segment);
            if (segment != 0) assert_int_equal(kind.gpu, g);
            if (g == 0) first = address;
            assert_true(address == first);
        }
    }
}

static void map_everywhere(struct link *l, struct vidmm_open *op, uint64_t va)
{
    for (uint32_t g = 0; g < l->gpus; g++) {
        tap_clear(link_tap(l, g));
        assert_int_equal(link_map(l, g, op, va), va);
    }
}

static void expect_everywhere(struct link *l, uint64_t va, uint32_t pattern, uint64_t bytes)
{
    for (uint32_t g = 0; g < l->gpus; g++)
        assert_int_equal(link_sum(l, g, va, bytes), sum_of_pattern(pattern, bytes));
}

/* Holes that are on each gpu elsewhere, so that a common place is neither one run nor the lowest. */
static void scatter(struct link *l)
{
    struct vidmm_open *op[24];
    for (uint32_t g = 0; g < l->gpus; g++) {
        for (uint32_t i = 0; i < 24; i++) op[i] = fixed(l, g, KIB(64));
        for (uint32_t i = 0; i < 24; i++)
            if (i % (g + 2) != 0) vidmm_open_close(op[i], 0);
        fx_settle(l->fx);
    }
}

static void a_copy_on_every_gpu_at_one_place(void **state)
{
    struct link l;
    uint32_t *cpu;
    (void)state;
    link_open(&l, 3);
    scatter(&l);
    struct vidmm_open *op = mirrored(&l, SIZE);
    assert_int_equal(vidmm_open_bytes(op), SIZE);
    client_resident(&l.c, op);
    map_everywhere(&l, op, X);
    assert_int_equal(segment_of(op), 1);
    expect_one_place(&l, X, SIZE, 1);
    expect_everywhere(&l, X, 0, SIZE);
    for (uint32_t g = 0; g < 3; g++) link_fill(&l, g, X, 0x10 + g, SIZE); /* each its own copy */
    for (uint32_t g = 0; g < 3; g++)
        assert_int_equal(link_sum(&l, g, X, SIZE), sum_of_pattern(0x10 + g, SIZE));
    for (uint32_t g = 0; g < 3; g++) link_fill(&l, g, X, 0x20, SIZE);
    assert_int_equal(vidmm_open_lock(op, (void **)&cpu), VIDMM_PENDING); /* LDA-12: one range, GPU 0's copy */
    fx_settle(l.fx);
    assert_true(vidmm_open_lock_ready(op));
    fx_verify(l.fx);
    for (uint32_t i = 0; i < SIZE / 4; i++) {
        assert_int_equal(cpu[i], 0x20);
        cpu[i] = 0x21;
    }
    assert_int_equal(segment_of(op), 0);
    expect_everywhere(&l, X, 0x21, SIZE); /* system memory is one for all */
    for (uint32_t g = 0; g < 3; g++) tap_clear(link_tap(&l, g));
    assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
    fx_settle(l.fx);
    assert_int_equal(segment_of(op), 1);
    expect_one_place(&l, X, SIZE, 1);
    expect_everywhere(&l, X, 0x21, SIZE); /* same content in every copy */
    link_fill(&l, 2, X, 0x22, SIZE);
    assert_int_equal(link_read(&l, 0, X), 0x21);
    fx_verify(l.fx);
    vidmm_open_close(op, 0);
    fx_settle(l.fx);
    fx_verify(l.fx);
    fx_close(l.fx);
}

/* Pressure on one gpu takes the copies from all, and they come back to all. */
static void copies_move_together(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, 3);
    struct vidmm_open *op = mirrored(&l, 2 * SIZE);
    client_resident(&l.c, op);
    map_everywhere(&l, op, X);
    const struct vidmm_segment_counters *s = &vidmm_adapter_counters(l.fx->ad)->segment[1];
    assert_int_equal(s->resident, 3 * 2 * SIZE);
    for (uint32_t g = 0; g < 3; g++) link_fill(&l, g, X, 0x30, 2 * SIZE);
    for (uint32_t press = 0; press < 3; press++) {
        struct vidmm_open *load = fixed(&l, press, MIB(15)); /* of 16 */
        assert_int_equal(segment_of(op), 0);
        assert_int_equal(s->resident, MIB(15));
        fx_verify(l.fx);
        expect_everywhere(&l, X, 0x30 + press, 2 * SIZE);
        link_fill(&l, press, X, 0x31 + press, 2 * SIZE);
        for (uint32_t g = 0; g < 3; g++) tap_clear(link_tap(&l, g));
        vidmm_open_close(load, 0);
        fx_settle(l.fx);
        assert_int_equal(segment_of(op), 1); /* promoted */
        expect_one_place(&l, X, 2 * SIZE, 1);
        expect_everywhere(&l, X, 0x31 + press, 2 * SIZE);
        fx_verify(l.fx);
    }
    client_evict(&l.c, op);
    struct vidmm_open *load = fixed(&l, 1, MIB(15));
    struct vidmm_placement_info at;
    vidmm_open_placement(op, &at);
    assert_false(at.resident);
    assert_int_equal(s->resident, MIB(15));
    fx_verify(l.fx);
    client_resident(&l.c, op);
    assert_int_equal(segment_of(op), 0); /* nobody gives way on GPU 1 */
    expect_everywhere(&l, X, 0x33, 2 * SIZE);
    client_evict(&l.c, load);
    fx_settle(l.fx);
    client_evict(&l.c, op);
    client_resident(&l.c, op); /* what nobody requires goes, on whichever gpu */
    fx_settle(l.fx);
    assert_int_equal(segment_of(op), 1);
    expect_everywhere(&l, X, 0x33, 2 * SIZE);
    fx_verify(l.fx);
    fx_close(l.fx);
}

/* Half of each gpu is free, but no page on both: nothing is placed, and nothing has changed. */
static void without_common_room_they_are_one_at_home(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, 2);
    struct vidmm_open *low = fixed(&l, 0, MIB(8)), *high = fixed(&l, 1, MIB(8));
    struct vidmm_placement_info a, b;
    vidmm_open_placement(low, &a);
    vidmm_open_placement(high, &b);
    assert_true(a.offset == b.offset); /* both begin below: GPU 1's has to be above */
    struct vidmm_open *above = fixed(&l, 1, MIB(8));
    vidmm_open_placement(above, &b);
    assert_true(b.offset == a.offset + MIB(8) || a.offset == b.offset + MIB(8));
    vidmm_open_close(high, 0);
    fx_settle(l.fx);
    struct vidmm_open *op = mirrored(&l, KIB(64));
    client_resident(&l.c, op);
    map_everywhere(&l, op, X);
    fx_settle(l.fx);
    assert_int_equal(segment_of(op), 0);
    assert_int_equal(vidmm_adapter_counters(l.fx->ad)->segment[1].resident, MIB(16));
    expect_one_place(&l, X, KIB(64), 0);
    link_fill(&l, 1, X, 0x44, KIB(64));
    expect_everywhere(&l, X, 0x44, KIB(64));
    fx_verify(l.fx);
    for (uint32_t g = 0; g < 2; g++) tap_clear(link_tap(&l, g));
    vidmm_open_close(above, 0); /* room on GPU 1 only: for both */
    fx_settle(l.fx);
    assert_int_equal(segment_of(op), 1);
    expect_one_place(&l, X, KIB(64), 1);
    expect_everywhere(&l, X, 0x44, KIB(64));
    fx_verify(l.fx);
    fx_close(l.fx);
}

static void small_pages(struct vidmm_adapter_info *in)
{
    in->segment[0].flags &= ~(uint32_t)VIDMM_SEGMENT_USE_64KB_PAGES; /* of GPU 0 */
}

static void expect_none(struct link *l, const struct fx_alloc *in)
{
    struct vidmm_open *op;
    uint64_t hash = vidmm_state_hash(l->fx->ad);
    assert_int_equal(client_try_alloc(&l->c, in, &op), VIDMM_INVALID);
    assert_true(vidmm_state_hash(l->fx->ad) == hash);
    fx_verify(l->fx);
}

static void what_cannot_be_mirrored_is_refused(void **state)
{
    struct link l = {.fx = &l.own, .gpus = 2};
    struct fx_options o;
    struct fx_alloc in = {.bytes = SIZE, .set = SET_64K | SET_SYSTEM, .preferred = 1,
                          .flags = VIDMM_ALLOCATION_LINK_MIRRORED};
    (void)state;
    link_options(&o, 2);
    o.edit_info = small_pages;
    (void)fx_open(l.fx, &o);
    link_client(&l, &l.c, NULL);
    expect_none(&l, &in); /* segments differ */
    in.set = SET_4K;
    in.preferred = 2;
    expect_none(&l, &in); /* not allowed at home */
    in.set = SET_4K | SET_SYSTEM;
    in.flags |= VIDMM_ALLOCATION_LINK_INSTANCED;
    expect_none(&l, &in);
    in.flags = VIDMM_ALLOCATION_LINK_MIRRORED;
    struct vidmm_open *op = client_alloc(&l.c, &in); /* segment 2 is alike */
    client_resident(&l.c, op);
    map_everywhere(&l, op, X);
    expect_one_place(&l, X, SIZE, 2);
    assert_int_equal(vidmm_offer(l.c.device, &op, 1, VIDMM_OFFER_LOW, 0), VIDMM_NOT_SUPPORTED);
    uint64_t value, trim;
    client_evict(&l.c, op);
    vidmm_process_set_budget(l.c.process, 2 * SIZE - PAGE); /* each copy counts */
    assert_int_equal(vidmm_make_resident(l.c.queue, &op, 1, 0, &value, &trim), VIDMM_NO_MEMORY);
    vidmm_process_set_budget(l.c.process, 2 * SIZE);
    client_resident(&l.c, op);
    fx_close(l.fx);
}

/* A client of gpus 1 and 2, and a mirrored allocation of it. */
static struct vidmm_open *on_the_last_two(struct link *l, struct link *m)
{
    link_open(l, 3);
    link_open_on(l, NULL, m, 1, 2);
    struct vidmm_open *op = mirrored(m, SIZE);
    client_resident(&m->c, op);
    for (uint32_t g = 1; g < 3; g++) {
        assert_int_equal(link_map(m, g, op, X), X);
        link_fill(m, g, X, 0x50, SIZE);
    }
    assert_int_equal(segment_of(op), 1);
    return op;
}

static void expect_on_the_last_two(struct link *m, uint32_t pattern)
{
    for (uint32_t g = 1; g < 3; g++)
        assert_int_equal(link_sum(m, g, X, SIZE), sum_of_pattern(pattern, SIZE));
    fx_verify(m->fx);
}

/* Whoever is left has all the copies that are left, and another gpu moves them from now on. */
static void the_copies_outlive_the_loss_of_a_gpu(void **state)
{
    struct link l, m;
    uint32_t *cpu;
    (void)state;
    for (uint32_t moves = 0; moves < 3; moves++) {
        struct vidmm_open *op = on_the_last_two(&l, &m);
        if (moves > 0) { /* out: gpu 1 has yet to flush, or the bytes are on their way */
            fx_hold_paging(l.fx, 1, moves == 1);
            assert_int_equal(vidmm_open_lock(op, (void **)&cpu), VIDMM_PENDING);
            for (uint32_t i = 0; i < moves * 4; i++) (void)vidmm_run(l.fx->ad, i);
        }
        link_lose(&l, 0);
        fx_verify(l.fx);
        fx_hold_paging(l.fx, 1, false);
        fx_settle(l.fx);
        assert_int_equal(vidmm_device_state(m.c.device), VIDMM_DEVICE_ACTIVE);
        assert_int_equal(vidmm_device_state(l.c.device), VIDMM_DEVICE_RESET);
        assert_int_equal(segment_of(op), moves == 0 ? 1 : 0);
        expect_on_the_last_two(&m, 0x50);
        if (moves == 0) assert_int_equal(vidmm_open_lock(op, (void **)&cpu), VIDMM_PENDING);
        fx_settle(l.fx);
        assert_true(vidmm_open_lock_ready(op));
        for (uint32_t i = 0; i < SIZE / 4; i++) {
            assert_int_equal(cpu[i], 0x50);
            cpu[i] = 0x51;
        }
        assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
        fx_settle(l.fx);
        assert_int_equal(segment_of(op), 1);
        expect_on_the_last_two(&m, 0x51);
        (void)fixed(&m, 2, MIB(16) - KIB(512)); /* pushes it out there */
        assert_int_equal(segment_of(op), 0);
        expect_on_the_last_two(&m, 0x51);
        fx_close(l.fx);
    }
}

/* What is in memory segments is lost with a reset, and all their pages are free again. */
static void a_reset_takes_all_copies(void **state)
{
    struct link l = {.fx = &l.own, .gpus = 2};
    struct fx_options o;
    (void)state;
    link_options(&o, 2);
    o.timeouts = true;
    (void)fx_open(l.fx, &o);
    link_client(&l, &l.c, NULL);
    struct vidmm_open *op = mirrored(&l, SIZE);
    client_resident(&l.c, op);
    map_everywhere(&l, op, X);
    struct softgpu_knobs k = {.fail_reset = true};
    softgpu_set_knobs(l.fx->peer[0].gpu, &k);
    uint64_t hang = ref_header(REF_HANG, 1, 0);
    assert_false(client_run_on(&l.c, l.context[1], &hang, 1));
    assert_int_equal(vidmm_adapter_counters(l.fx->ad)->adapter_resets, 1);
    assert_int_equal(vidmm_adapter_counters(l.fx->ad)->segment[1].resident, 0);
    fx_verify(l.fx);
    link_client(&l, &l.c, l.c.process);
    op = mirrored(&l, MIB(15)); /* of 16 */
    client_resident(&l.c, op);
    map_everywhere(&l, op, X + GIB(1));
    assert_int_equal(segment_of(op), 1);
    expect_one_place(&l, X + GIB(1), MIB(15), 1);
    for (uint32_t g = 0; g < 2; g++) link_fill(&l, g, X + GIB(1), 0x60, MIB(15));
    expect_everywhere(&l, X + GIB(1), 0x60, MIB(15));
    fx_verify(l.fx);
    fx_close(l.fx);
}

/* ---- tile updates ---------------------------------------------------------------------------------- */

#define TILE KIB(64)

/* One operation, in step with the context's fence. */
static void update(struct link *l, uint32_t gpu, const struct vidmm_tile_op *op)
{
    uint64_t v = l->c.issued + 1;
    assert_int_equal(vidmm_va_update(l->context[gpu], op, 1, l->c.fence, v, 0), VIDMM_OK);
    fx_settle(l->fx);
    assert_int_equal(vidmm_context_updates(l->context[gpu]), 1); /* not before its time */
    assert_int_equal(vidmm_fence_signal(l->c.fence, v), VIDMM_OK);
    client_wait(&l->c, l->c.fence, v + 1);
    l->c.issued = v + 1;
    assert_int_equal(vidmm_context_updates(l->context[gpu]), 0);
    fx_settle(l->fx);
    fx_verify(l->fx);
}

static void show(struct link *l, uint32_t gpu, uint32_t at, struct vidmm_open *pool, uint64_t offset)
{
    update(l, gpu, &(struct vidmm_tile_op){.type = VIDMM_TILE_MAP, .base = X + at * TILE, .bytes = TILE,
                                           .open = pool, .offset = offset});
}

/* How often the tables of a gpu were written, whoever does it there. */
static uint64_t table_writes(struct link *l, uint32_t gpu)
{
    const struct tap *t = link_tap(l, gpu);
    return t->count[TAP_UPDATE] + t->op_count[VIDMM_OP_UPDATE_PAGE_TABLE] +
           t->op_count[VIDMM_OP_COPY_PAGE_TABLE_ENTRIES];
}

/* The pool of each gpu, tile i filled with 0x<gpu>0<i>, mapped for nobody else. */
static void make_pools(struct link *l, struct vidmm_open **pool)
{
    for (uint32_t g = 0; g < l->gpus; g++) {
        pool[g] = link_memory(l, g, 4 * TILE);
        uint64_t va = link_map(l, g, pool[g], 0);
        for (uint32_t i = 0; i < 4; i++) link_fill(l, g, va + i * TILE, g << 8 | i, TILE);
        assert_int_equal(vidmm_va_free(l->c.process, va, 4 * TILE), VIDMM_OK);
    }
    fx_settle(l->fx);
}

static void tiles_on(struct link *l)
{
    struct vidmm_open *pool[3];
    void *cpu;
    make_pools(l, pool);
    assert_int_equal(client_reserve(&l->c, X, 8 * TILE), VIDMM_OK);
    for (uint32_t g = 0; g < 3; g++) { /* TIL-26 */
        uint64_t before[3];
        for (uint32_t i = 0; i < 3; i++) before[i] = table_writes(l, i);
        show(l, g, 0, pool[g], (g + 1) * TILE);
        for (uint32_t i = 0; i < 3; i++) assert_int_equal(table_writes(l, i) > before[i], i == g);
    }
    for (uint32_t g = 0; g < 3; g++) {
        show(l, g, 1, pool[(g + 1) % 3], 0); /* a peer's */
        update(l, g, &(struct vidmm_tile_op){.type = VIDMM_TILE_COPY, .base = X + 2 * TILE, .bytes = 2 * TILE,
                                             .source = X});
    }
    for (uint32_t g = 0; g < 3; g++) { /* TIL-13 */
        bool packets = vidmm_gpu_info(l->fx->ad, g)->update_mode == VIDMM_UPDATE_GPU_VIRTUAL;
        assert_int_equal(link_tap(l, g)->op_count[VIDMM_OP_COPY_PAGE_TABLE_ENTRIES] > 0, packets);
    }
    for (uint32_t turn = 0; turn < 3; turn++) { /* then the pools move, and come back */
        for (uint32_t g = 0; g < 3; g++) {
            for (uint32_t i = 0; i < 4; i += 2) {
                assert_int_equal(link_read(l, g, X + i * TILE), g << 8 | (g + 1));
                assert_int_equal(link_sum(l, g, X + (i + 1) * TILE, TILE),
                                 sum_of_pattern((g + 1) % 3 << 8, TILE));
            }
        }
        for (uint32_t g = 0; g < 3; g++) {
            if (turn == 0) assert_int_equal(vidmm_open_lock(pool[g], &cpu), VIDMM_PENDING);
            else if (turn == 1) assert_int_equal(vidmm_open_unlock(pool[g]), VIDMM_OK);
        }
        fx_settle(l->fx);
        fx_verify(l->fx);
    }
    vidmm_open_close(pool[1], 0); /* gone from all tables */
    fx_settle(l->fx);
    fx_verify(l->fx);
    assert_int_equal(link_read(l, 0, X), 1);
    assert_int_equal(link_read(l, 2, X), 2 << 8 | 3);
    link_read_faults(l, 1, X);
}

static void the_context_selects_whose_tiles_change(void **state)
{
    (void)state;
    for (uint32_t first = 0; first < 3; first++) {
        for (uint32_t node = 0; node < 2; node++) {
            struct link l;
            link_open_modes(&l, first, node == 0 ? 0 : REF_NODE_COMPUTE + 1);
            tiles_on(&l);
            fx_close(l.fx);
        }
    }
}

/* Of a pool that is on every gpu the offset chooses the instance; of a mirrored one the context the copy. */
static void tiles_of_instances_and_copies(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, 2);
    struct fx_alloc in = {.bytes = 4 * TILE, .set = SET_64K | SET_SYSTEM, .preferred = 1,
                          .flags = VIDMM_ALLOCATION_LINK_INSTANCED};
    struct vidmm_open *each = client_alloc(&l.c, &in), *same = mirrored(&l, 4 * TILE);
    client_resident(&l.c, each);
    client_resident(&l.c, same);
    assert_int_equal(client_reserve(&l.c, X, 8 * TILE), VIDMM_OK);
    for (uint32_t g = 0; g < 2; g++) {
        show(&l, g, 0, each, (4 * g + 1) * TILE); /* self */
        show(&l, g, 1, same, 3 * TILE);
        link_fill(&l, g, X, 0x70 + g, TILE);
        link_fill(&l, g, X + TILE, 0x80 + g, TILE);
    }
    for (uint32_t g = 0; g < 2; g++) {
        show(&l, g, 2, each, (4 * (1 - g) + 1) * TILE); /* the peer's */
        assert_int_equal(link_read(&l, g, X + 2 * TILE), 0x70 + 1 - g);
        assert_int_equal(link_read(&l, g, X + TILE), 0x80 + g);
    }
    struct vidmm_tile_op across = {.type = VIDMM_TILE_MAP, .base = X, .bytes = 2 * TILE, .open = each,
                                   .offset = 3 * TILE};
    uint64_t hash = vidmm_state_hash(l.fx->ad);
    for (uint32_t g = 0; g < 2; g++) {
        across.offset = (4 * g + 3) * TILE; /* reaches beyond its instance */
        assert_int_equal(vidmm_va_update(l.context[1], &across, 1, NULL, 0, VIDMM_UPDATE_DO_NOT_WAIT),
                         VIDMM_INVALID);
    }
    assert_true(vidmm_state_hash(l.fx->ad) == hash);
    fx_close(l.fx);
}

/* ---- models of addressing -------------------------------------------------------------------------- */

enum { MMU = 1, SHARED = 2 }; /* what a gpu has: one of them or both */

/* A client of the process that uses its own addresses on every gpu that can do that. */
static void open_shared(struct link *l, struct vidmm_process *p, const uint32_t *models, struct link *m)
{
    struct client *c = &m->c;
    struct ref_context_private in = {.magic = REF_CONTEXT_MAGIC, .iommu = 1};
    struct vidmm_context_desc d = {.node = REF_NODE_COMPUTE, .private_data = &in, .private_size = sizeof(in)};
    m->fx = l->fx;
    m->gpus = l->gpus;
    *c = (struct client){.fx = l->fx, .process = p, .os = l->fx->os_process[0]};
    assert_int_equal(vidmm_device_create(p, &c->device), VIDMM_OK);
    for (uint32_t g = 0; g < l->gpus; g++) {
        d.engine_affinity = 1u << g;
        assert_int_equal(vidmm_queue_create_on(c->device, g, 0, &m->queue[g]), VIDMM_OK);
        if (models[g] & SHARED)
            assert_int_equal(vidmm_context_create(c->device, &d, &m->context[g]), VIDMM_OK);
    }
    c->queue = m->queue[0];
    assert_int_equal(vidmm_device_model(c->device), VIDMM_MODEL_IOMMU);
    assert_int_equal(vidmm_fence_create(c->device, 0, 0, &c->fence), VIDMM_OK);
    c->buffer = client_alloc(c, &(struct fx_alloc){.bytes = FX_COMMAND_BYTES, .gpu = l->gpus - 1});
    client_resident(c, c->buffer);
    void *pointer;
    assert_int_equal(vidmm_open_lock(c->buffer, &pointer), VIDMM_OK);
    c->buffer_va = (uint64_t)(uintptr_t)pointer;
    c->buffer_cpu = client_host(c, c->buffer);
}

/* What one gpu of the client writes, each of them reads. */
static void write_and_read(struct link *m, const uint32_t *models, uint32_t model, uint64_t va, uint32_t seed)
{
    for (uint32_t g = 0; g < m->gpus; g++) {
        if (!(models[g] & model)) continue;
        link_fill(m, g, va, seed + g, SIZE);
        for (uint32_t i = 0; i < m->gpus; i++)
            if (models[i] & model) assert_int_equal(link_sum(m, i, va, SIZE), sum_of_pattern(seed + g, SIZE));
    }
}

/* No context of the other model, and no tables where there are none. */
static void expect_refusals(struct link *l, const uint32_t *models, struct link *mmu, struct link *shared)
{
    struct ref_context_private in = {.magic = REF_CONTEXT_MAGIC, .iommu = 1};
    struct vidmm_context *c;
    uint64_t va, value, hash = vidmm_state_hash(l->fx->ad);
    for (uint32_t g = 0; g < l->gpus; g++) {
        struct vidmm_context_desc d = {.node = REF_NODE_COMPUTE, .engine_affinity = 1u << g};
        if (shared != NULL && models[g] != SHARED)
            assert_int_equal(vidmm_context_create(shared->c.device, &d, &c), VIDMM_INVALID);
        d.private_data = &in;
        d.private_size = sizeof(in);
        if (mmu != NULL && models[g] != MMU)
            assert_int_equal(vidmm_context_create(mmu->c.device, &d, &c), VIDMM_INVALID);
        struct vidmm_map m = {.base = X + GIB(1), .bytes = PAGE, .protection = VIDMM_PROT_WRITE};
        if (shared != NULL) {
            m.open = shared->c.buffer;
            assert_int_equal(vidmm_va_map(shared->queue[g], &m, &va, &value), VIDMM_NOT_SUPPORTED);
        }
    }
    assert_true(vidmm_state_hash(l->fx->ad) == hash);
}

/* One allocation, by pointer and by address, on each gpu that has the model. */
static void pass_between_models(struct link *mmu, struct link *shared, const uint32_t *models)
{
    struct vidmm_open *op = client_alloc(&shared->c, &(struct fx_alloc){.bytes = SIZE, .gpu = 1}), *mine;
    void *pointer;
    client_resident(&shared->c, op);
    assert_int_equal(vidmm_open_lock(op, &pointer), VIDMM_OK);
    uint64_t va = (uint64_t)(uintptr_t)pointer;
    assert_int_equal(vidmm_alloc_open(mmu->c.device, op, 0, &mine), VIDMM_OK);
    client_resident(&mmu->c, mine);
    for (uint32_t g = 0; g < 2; g++)
        if (models[g] & MMU) assert_int_equal(link_map(mmu, g, mine, X + SIZE), X + SIZE);
    for (uint32_t from = 0; from < 2; from++) {
        for (uint32_t to = 0; to < 2; to++) {
            if (!(models[from] & SHARED) || !(models[to] & MMU)) continue;
            uint32_t pattern = 0x900 + 16 * from + to;
            link_fill(shared, from, va, pattern, SIZE);
            assert_int_equal(link_sum(mmu, to, X + SIZE, SIZE), sum_of_pattern(pattern, SIZE));
            link_fill(mmu, to, X + SIZE, ~pattern, SIZE);
            assert_int_equal(link_sum(shared, from, va, SIZE), sum_of_pattern(~pattern, SIZE));
        }
    }
}

static void models_on(const uint32_t *models)
{
    struct link l = {.fx = &l.own, .gpus = 2}, mmu, shared;
    struct fx_options o;
    uint32_t devices = 0, any = models[0] | models[1];
    link_options(&o, 2);
    o.machine_iommu = true;
    for (uint32_t g = 0; g < 2; g++) {
        struct ref_options *r = g == 0 ? &o.ref : &o.peer[g - 1];
        r->iommu = (models[g] & SHARED) != 0;
        r->no_gpummu = (models[g] & MMU) == 0;
    }
    (void)fx_open(l.fx, &o);
    struct vidmm_process *p = fx_process(l.fx);
    if (any & MMU) {
        uint32_t from = models[0] & MMU ? 0 : 1, count = (models[0] & MMU) + (models[1] & MMU);
        link_open_on(&l, p, &mmu, from, count);
        devices++;
        assert_int_equal(vidmm_device_model(mmu.c.device), VIDMM_MODEL_GPUMMU);
        struct vidmm_open *op = link_memory_on(&mmu, from, from, SIZE);
        for (uint32_t g = from; g < from + count; g++) assert_int_equal(link_map(&mmu, g, op, X), X);
        write_and_read(&mmu, models, MMU, X, 0x100);
    }
    if (any & SHARED) {
        uint64_t va = 0;
        open_shared(&l, p, models, &shared);
        devices++;
        assert_int_equal(osmm_commit(shared.c.os, SIZE / PAGE, true, &va), VIDMM_OK); /* malloc's */
        write_and_read(&shared, models, SHARED, va, 0x200);
        uint32_t word = 0;
        assert_true(osmm_cpu_read(shared.c.os, va + SIZE / 2, &word, sizeof(word)));
        assert_int_equal(word, 0x200 + (models[1] & SHARED ? 1 : 0));
    }
    assert_int_equal(link_tap(&l, 0)->count[TAP_CREATE_DEVICE], devices); /* LDA-13 */
    assert_int_equal(link_tap(&l, 1)->count[TAP_CREATE_DEVICE], 0);
    if (devices == 2) pass_between_models(&mmu, &shared, models);
    fx_verify(l.fx);
    expect_refusals(&l, models, any & MMU ? &mmu : NULL, any & SHARED ? &shared : NULL);
    fx_verify(l.fx);
    fx_close(l.fx);
}

static void each_gpu_has_models_of_its_own(void **state)
{
    (void)state;
    for (uint32_t first = MMU; first <= (MMU | SHARED); first++)
        for (uint32_t second = MMU; second <= (MMU | SHARED); second++)
            models_on((uint32_t[]){first, second});
}

int main(int argc, char **argv)
{
    const struct vt_case cases[] = {
        VT_TEST(a_copy_on_every_gpu_at_one_place, "LDA-06 LDA-12", NULL),
        VT_TEST(copies_move_together, "LDA-06 INV-04", NULL),
        VT_TEST(without_common_room_they_are_one_at_home, "", NULL),
        VT_TEST(the_copies_outlive_the_loss_of_a_gpu, "INV-05 INV-19", NULL),
        VT_TEST(a_reset_takes_all_copies, "INV-04", NULL),
        VT_TEST(what_cannot_be_mirrored_is_refused, "", NULL),
        VT_TEST(the_context_selects_whose_tiles_change, "TIL-26 INV-14", NULL),
        VT_TEST(each_gpu_has_models_of_its_own, "LDA-08 LDA-13", NULL),
        VT_TEST(tiles_of_instances_and_copies, "LDA-06 TIL-26", NULL),
    };
    return vt_main(argc, argv, "model_link_models", cases, VT_COUNT(cases));
}
