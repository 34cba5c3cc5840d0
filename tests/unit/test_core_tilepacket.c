/* SPDX-License-Identifier: MIT */
/* test_core_tilepacket.c - tile updates by packets of companion contexts (GPU_VIRTUAL): entries copied
 * through the privileged space, on the node the driver named, and nothing else writing tables meanwhile. */
#include "core/core.h"
#include "tdr_kit.h"
#include "tile_kit.h"

/* companion_node: + 1, 0: the driver's choice, which is the paging node. */
static void packets_with(struct scene *s, enum ref_format format, uint32_t companion_node,
                         uint64_t pool_bytes)
{
    fx_init(&s->f, format);
    s->f.opt.update_mode = VIDMM_UPDATE_GPU_VIRTUAL;
    s->f.hooks.companion_node = companion_node;
    scene_fill(s, pool_bytes);
    s->tiles = fx_reserve(&s->f, format == REF_FORMAT_A ? BASE : BASE_B, 4 * MIB);
}

static void packets_open(struct scene *s, enum ref_format format, uint32_t companion_node)
{
    packets_with(s, format, companion_node, MIB);
}

/* The context of the process' first companion. */
static void *companion_of(const struct fx *f) { return f->c->companion->kmd_context; }

static const struct event *submission_of(const struct fx *f, const void *context)
{
    uint32_t at = 0;
    const struct event *e = fx_next(f, EV_SUBMIT, &at);
    while (e != NULL && e->submit.context != context) e = fx_next(f, EV_SUBMIT, &at);
    return e;
}

static bool packet_on_its_way(const struct fx *f) { return f->ad->updating_runs; }

/* One update is one packet of the companion: the copy, the flush of the application's space, the signal. */
static void an_update_is_a_packet(void **state)
{
    (void)state;
    for (uint32_t node = 0; node <= REF_NODE_COPY + 1; node += REF_NODE_COPY + 1) {
        struct scene s;
        uint32_t at = 0;
        packets_open(&s, REF_FORMAT_A, node);
        struct vidmm_tile_op op = map_of(&s, 0, 4 * TILE, 1);
        must_update(&s, &op, 1); /* tables are there, and the pool is shown */
        fx_forget(&s.f);
        op = map_of(&s, 0, TILE, 5);
        assert_int_equal(vidmm_va_update(s.f.c, &op, 1, s.fence, 41, 0), VIDMM_OK);
        fx_run_core(&s.f);
        assert_true(packet_on_its_way(&s.f));
        assert_int_equal(vidmm_fence_value(s.fence), 41);
        const struct event *e = fx_next_op(&s.f, VIDMM_OP_COPY_PAGE_TABLE_ENTRIES, &at);
        assert_non_null(e);
        const struct event *flush = fx_next_op(&s.f, VIDMM_OP_FLUSH_TLB, &at);
        assert_non_null(flush);
        assert_ptr_equal(flush->op.flush.process, s.f.p->space.kmd_process);
        const struct event *sent = submission_of(&s.f, companion_of(&s.f));
        assert_non_null(sent);
        assert_int_equal(sent->submit.node, node == 0 ? REF_NODE_PAGING : REF_NODE_COPY);
        assert_true(fx_index(&s.f, flush) < fx_index(&s.f, sent));
        fx_run(&s.f);
        assert_int_equal(vidmm_fence_value(s.fence), 42);
        assert_int_equal(tile_at(&s, 0), 6);
        assert_int_equal(tile_at(&s, 2 * TILE), 4);
        fx_close(&s.f);
    }
}

/* Both tables are named by addresses of the privileged space where they are shown, each at 64 KiB. */
static void entries_are_copied_through_the_privileged_space(void **state)
{
    struct scene s;
    uint32_t at = 0;
    (void)state;
    packets_open(&s, REF_FORMAT_A, 0);
    struct vidmm_tile_op op = map_of(&s, 128 * KIB, TILE, 3);
    must_update(&s, &op, 1);
    fx_forget(&s.f);
    op = map_of(&s, 0, 2 * TILE, 5);
    must_update(&s, &op, 1);
    const struct event *e = fx_next_op(&s.f, VIDMM_OP_COPY_PAGE_TABLE_ENTRIES, &at);
    assert_non_null(e);
    const struct vidmm_copy_range *r = &s.f.ad->copy; /* of the last operation */
    const struct vmm_binding *pool = s.pool->pool[0];
    assert_int_equal(r->source_table % VIDMM_PAGE_64K, 0);
    assert_int_equal(r->destination_table % VIDMM_PAGE_64K, 0);
    assert_int_equal(r->source_table, vmm_privileged_table_va(&s.f.p->privileged[0].space, pool->node.key));
    assert_int_equal(r->destination_table, vmm_privileged_table_va(&s.f.p->space, s.tiles));
    assert_int_equal(r->source_index, (pool->node.key + 5 * TILE) / PAGE % 512);
    assert_int_equal(r->destination_index, s.tiles / PAGE % 512);
    assert_int_equal(r->count, 2 * TILE / PAGE);
    /* The tables are mapped there for good: the entry of the privileged space names the leaf. */
    struct vidmm_pte_kind kind;
    uint64_t address;
    const struct vmm_table *shows = vmm_leaf_find(&s.f.p->privileged[0].space, r->destination_table);
    const struct vmm_table *leaf = vmm_leaf_find(&s.f.p->space, s.tiles);
    assert_true(s.f.ops.pte_decode(&s.f, 0, shows->cpu, r->destination_table / PAGE % 512, &kind, &address));
    assert_int_equal(address, leaf->address);
    assert_true(kind.flags & VIDMM_PTE_VALID);
    fx_close(&s.f);
}

/* What the pool's mapping does not say is given: other rights, zeros, nothing. */
static void other_entries_are_given(void **state)
{
    struct scene s;
    (void)state;
    packets_open(&s, REF_FORMAT_A, 0);
    struct vidmm_tile_op op = map_of(&s, 128 * KIB, TILE, 3);
    must_update(&s, &op, 1);
    fx_forget(&s.f);
    struct vidmm_tile_op read_only = map_of(&s, 0, TILE, 5);
    read_only.type = VIDMM_TILE_MAP_PROTECT;
    must_update(&s, &read_only, 1);
    op = unmap_of(&s, 128 * KIB, TILE, VIDMM_PROT_ZERO);
    must_update(&s, &op, 1);
    assert_int_equal(fx_count_ops(&s.f, VIDMM_OP_COPY_PAGE_TABLE_ENTRIES), 0);
    assert_non_null(submission_of(&s.f, companion_of(&s.f)));
    assert_int_equal(tile_at(&s, 0), 6);
    assert_int_equal(tile_at(&s, 128 * KIB), 0);
    fx_close(&s.f);
}

/* Queued behind V; the pool goes and comes back elsewhere; V: the entries show where it is then. */
static void the_place_is_that_of_the_execution(void **state)
{
    struct scene s;
    (void)state;
    packets_with(&s, REF_FORMAT_A, 0, 9 * MIB);
    struct vidmm_tile_op op = map_of(&s, 0, TILE, 5);
    assert_int_equal(vidmm_va_update(s.f.c, &op, 1, s.fence, 50, 0), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(fx_place(s.pool).segment, 1);
    struct peer other = fx_peer(s.f.p);
    fx_resident(other.q, fx_alloc(other.d, 9 * MIB, SEG1, 1)); /* takes the memory */
    fx_run(&s.f);
    assert_int_equal(fx_place(s.pool).segment, 0);
    fx_forget(&s.f);
    assert_int_equal(vidmm_fence_signal(s.fence, 50), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(vidmm_fence_value(s.fence), 51);
    assert_int_equal(fx_count_ops(&s.f, VIDMM_OP_COPY_PAGE_TABLE_ENTRIES), 1);
    struct vidmm_pte_kind kind;
    uint64_t address;
    const struct vmm_table *leaf = vmm_leaf_find(&s.f.p->space, s.tiles);
    assert_true(s.f.ops.pte_decode(&s.f, 0, leaf->cpu, s.tiles / PAGE % 512, &kind, &address));
    assert_int_equal(address, (s.pool->al->home + 5 * TILE / PAGE) * PAGE);
    assert_int_equal(tile_at(&s, 0), 6);
    fx_close(&s.f);
}

/* No paging buffer is built between the packet's submission and its end, nor does a pool move. */
static void tables_have_one_writer_at_a_time(void **state)
{
    struct scene s;
    uint64_t va, value;
    (void)state;
    packets_open(&s, REF_FORMAT_A, REF_NODE_COPY + 1);
    struct vidmm_tile_op op = map_of(&s, 128 * KIB, TILE, 3);
    must_update(&s, &op, 1);
    op = map_of(&s, 0, TILE, 5);
    assert_int_equal(vidmm_va_update(s.f.c, &op, 1, s.fence, 41, 0), VIDMM_OK);
    fx_run_core(&s.f);
    assert_true(packet_on_its_way(&s.f));
    fx_forget(&s.f);
    struct vidmm_map in = {.base = 0x300000000ull, .open = s.out, .bytes = PAGE};
    assert_int_equal(vidmm_va_map(s.f.q, &in, &va, &value), VIDMM_PENDING);
    fx_run_core(&s.f);
    fx_run_node(&s.f, REF_NODE_PAGING);
    fx_run_core(&s.f);
    assert_int_equal(fx_count(&s.f, EV_BUILD), 0);
    assert_true(fx_done(s.f.q) < value);
    fx_run(&s.f);
    assert_true(fx_done(s.f.q) >= value);
    assert_int_equal(tile_at(&s, 0), 6);
    fx_close(&s.f);
}

/* A companion's packet that hangs ends its device, by an engine reset; its entries are written anyway. */
static void a_packet_that_hangs_ends_its_device(void **state)
{
    struct scene s;
    (void)state;
    packets_open(&s, REF_FORMAT_A, REF_NODE_COPY + 1);
    struct peer other = fx_peer(s.f.p);
    struct vidmm_tile_op op = map_of(&s, 128 * KIB, TILE, 3);
    must_update(&s, &op, 1);
    struct softgpu_knobs k = {.hang_nodes = 1u << REF_NODE_COPY};
    softgpu_set_knobs(ref_gpu(s.f.ref), &k);
    op = map_of(&s, 0, TILE, 5);
    assert_int_equal(vidmm_va_update(s.f.c, &op, 1, s.fence, 41, 0), VIDMM_OK);
    pass(&s.f, 3000 * MS);
    assert_int_equal(vidmm_device_state(s.f.d), VIDMM_DEVICE_HUNG);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(s.f.ad->counters->adapter_resets, 0);
    assert_true(s.f.ad->counters->engine_resets > 0);
    k.hang_nodes = 0;
    softgpu_set_knobs(ref_gpu(s.f.ref), &k);
    fx_run(&s.f); /* verifies that entries are what the bindings say */
    assert_null(s.f.ad->updating);
    fx_close(&s.f);
}

/* The device is given up while its packet is on the engine: that one ends, then everything goes. */
static void a_device_that_goes_waits_for_its_packet(void **state)
{
    struct scene s;
    (void)state;
    packets_open(&s, REF_FORMAT_A, REF_NODE_COPY + 1);
    struct vidmm_tile_op op[2] = {map_of(&s, 0, TILE, 5), map_of(&s, TILE, TILE, 6)};
    must_update(&s, &op[0], 1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(vidmm_va_update(s.f.c, &op[i], 1, NULL, 0, VIDMM_UPDATE_DO_NOT_WAIT), VIDMM_OK);
    fx_run_core(&s.f);
    assert_true(packet_on_its_way(&s.f));
    vidmm_device_destroy(s.f.d);
    s.f.q = NULL; /* goes with it */
    fx_run_core(&s.f);
    assert_int_equal(vidmm_context_updates(s.f.c), 1);
    fx_run(&s.f);
    assert_null(s.f.ad->updating);
    assert_true(list_empty(&s.f.p->devices));
    fx_close(&s.f);
}

/* Commands for one tile fill no small buffer; those for a hundred scattered ones fill many. */
static void many_tiles_take_many_packets(void **state)
{
    struct scene s;
    struct vidmm_tile_op op[128];
    (void)state;
    packets_open(&s, REF_FORMAT_A, 0);
    for (uint32_t i = 0; i < 128; i++) {
        op[i] = map_of(&s, i % 64 * TILE, TILE / 2, (i * 5) % 16);
        op[i].base += i / 64 * TILE / 2;
    }
    must_update(&s, op, 128);
    fx_forget(&s.f);
    for (uint32_t i = 0; i < 128; i++) op[i].offset = (i * 7) % 16 * TILE;
    must_update(&s, op, 128);
    assert_true(fx_count_ops(&s.f, VIDMM_OP_COPY_PAGE_TABLE_ENTRIES) >= 128);
    assert_true(fx_count(&s.f, EV_SUBMIT) > 1);
    for (uint32_t i = 0; i < 128; i++)
        assert_int_equal(tile_at(&s, op[i].base - s.tiles), (i * 7) % 16 + 1);
    fx_close(&s.f);
}

/* Format B: the root that shows all tables is made once, and tables beyond the first root are shown too. */
static void two_level_spaces(void **state)
{
    struct scene s;
    (void)state;
    packets_open(&s, REF_FORMAT_B, 0);
    struct vidmm_tile_op op = map_of(&s, 0, TILE, 5);
    must_update(&s, &op, 1);
    uint64_t far = fx_reserve(&s.f, 1ull << 38, MIB);
    op.base = far;
    must_update(&s, &op, 1);
    fx_forget(&s.f);
    op.offset = 7 * TILE;
    must_update(&s, &op, 1);
    assert_int_equal(fx_count_ops(&s.f, VIDMM_OP_COPY_PAGE_TABLE_ENTRIES), 1);
    assert_int_equal(fx_gpu_read(&s.f, far) & UINT32_MAX, 8);
    assert_int_equal(tile_at(&s, 0), 6);
    fx_close(&s.f);
}

/* Where the CPU writes tables, or the paging engine by segment, nothing is ever copied. */
static void other_modes_never_copy(void **state)
{
    static const enum vidmm_update_mode modes[] = {VIDMM_UPDATE_CPU_VIRTUAL, VIDMM_UPDATE_GPU_PHYSICAL};
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        struct scene s;
        fx_init(&s.f, REF_FORMAT_A);
        s.f.opt.update_mode = modes[i];
        scene_fill(&s, MIB);
        s.tiles = fx_reserve(&s.f, BASE, 4 * MIB);
        struct vidmm_tile_op op = map_of(&s, 0, TILE, 5);
        must_update(&s, &op, 1);
        assert_int_equal(tile_at(&s, 0), 6);
        assert_int_equal(fx_count_ops(&s.f, VIDMM_OP_COPY_PAGE_TABLE_ENTRIES), 0);
        assert_null(submission_of(&s.f, companion_of(&s.f)));
        fx_close(&s.f);
    }
}

/* A leaf goes with its last tile: the entry above it is the paging process' to write, the flush comes behind
 * that, and the update waits for both. */
static void a_table_that_goes_with_an_update(void **state)
{
    struct scene s;
    uint32_t at = 0;
    (void)state;
    packets_open(&s, REF_FORMAT_A, REF_NODE_COPY + 1);
    struct vidmm_tile_op op = map_of(&s, 2 * MIB, TILE, 5);
    must_update(&s, &op, 1);
    fx_forget(&s.f);
    op = unmap_of(&s, 2 * MIB, TILE, VIDMM_PROT_NO_ACCESS);
    assert_int_equal(vidmm_va_update(s.f.c, &op, 1, s.fence, 41, 0), VIDMM_OK);
    fx_run_core(&s.f);
    fx_run_node(&s.f, REF_NODE_COPY);
    fx_run_core(&s.f);
    assert_null(s.f.ad->updating);
    assert_int_equal(vidmm_fence_value(s.fence), 41);
    fx_run(&s.f);
    assert_int_equal(vidmm_fence_value(s.fence), 42);
    const struct event *e = fx_next_op(&s.f, VIDMM_OP_UPDATE_PAGE_TABLE, &at);
    while (e != NULL && (e->op.update.process != s.f.p->space.kmd_process || e->op.update.level == 0))
        e = fx_next_op(&s.f, VIDMM_OP_UPDATE_PAGE_TABLE, &at);
    assert_non_null(e);
    uint32_t written = fx_index(&s.f, e), flushes = 0;
    at = 0;
    for (e = fx_next_op(&s.f, VIDMM_OP_FLUSH_TLB, &at); e != NULL;
         e = fx_next_op(&s.f, VIDMM_OP_FLUSH_TLB, &at)) {
        if (e->op.flush.process != s.f.p->space.kmd_process) continue;
        assert_true(fx_index(&s.f, e) > written);
        flushes++;
    }
    assert_true(flushes > 0);
    fx_close(&s.f);
}

/* ---- drivers that fail ---- */

/* The submission of a packet fails: the adapter is removed, and nothing waits for the packet. */
static void a_submission_that_fails(void **state)
{
    struct scene s;
    (void)state;
    packets_open(&s, REF_FORMAT_A, REF_NODE_COPY + 1);
    struct vidmm_tile_op op = map_of(&s, 0, TILE, 5);
    must_update(&s, &op, 1);
    s.f.hooks.refused_context = companion_of(&s.f);
    assert_int_equal(update_now(&s, &op, 1), VIDMM_OK);
    fx_run(&s.f);
    assert_true(vidmm_adapter_removed(s.f.ad));
    assert_null(s.f.ad->updating);
    assert_int_equal(s.f.d->running, 0);
    fx_close(&s.f);
}

/* The driver cannot build a packet while other companions have updates too. */
static void a_build_that_fails(void **state)
{
    struct scene s;
    (void)state;
    packets_open(&s, REF_FORMAT_A, 0);
    struct peer other = fx_peer(s.f.p);
    struct vidmm_tile_op op = map_of(&s, 0, TILE, 5), back = unmap_of(&s, TILE, TILE, VIDMM_PROT_NO_ACCESS);
    must_update(&s, &op, 1);
    assert_int_equal(vidmm_va_update(s.f.c, &op, 1, s.fence, 50, 0), VIDMM_OK);
    assert_int_equal(vidmm_va_update(other.c, &back, 1, s.fence, 60, 0), VIDMM_OK);
    fx_run(&s.f);
    s.f.hooks.fail_build = VIDMM_OP_COPY_PAGE_TABLE_ENTRIES;
    assert_int_equal(vidmm_fence_signal(s.fence, 50), VIDMM_OK);
    fx_run(&s.f);
    assert_true(vidmm_adapter_removed(s.f.ad));
    assert_null(s.f.ad->updating);
    fx_close(&s.f);
}

/* An empty buffer that is not enough is offered once more, as in the paging process. */
static void a_buffer_that_is_never_enough(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 2; n++) {
        struct scene s;
        packets_open(&s, REF_FORMAT_A, 0);
        struct vidmm_tile_op op = map_of(&s, 0, TILE, 5);
        must_update(&s, &op, 1);
        s.f.hooks.full_build = VIDMM_OP_COPY_PAGE_TABLE_ENTRIES;
        s.f.hooks.full_count = n;
        op = map_of(&s, 0, TILE, 6);
        assert_int_equal(vidmm_va_update(s.f.c, &op, 1, s.fence, 41, 0), VIDMM_OK);
        fx_run(&s.f);
        assert_int_equal(vidmm_adapter_removed(s.f.ad), n == 2);
        if (n == 1) assert_int_equal(tile_at(&s, 0), 7);
        fx_close(&s.f);
    }
}

/* The node must translate addresses: the driver's answer is refused with the context. */
static void a_node_without_page_tables(void **state)
{
    struct fx f;
    struct vidmm_context *c;
    struct vidmm_context_desc in = {.node = REF_NODE_COMPUTE};
    (void)state;
    fx_init(&f, REF_FORMAT_A);
    f.opt.physical = true;
    fx_start(&f);
    f.hooks.companion_node = REF_NODE_PHYSICAL + 1;
    assert_int_equal(vidmm_context_create(f.d, &in, &c), VIDMM_FAILED);
    f.hooks.companion_node = REF_NODE_COPY + 1;
    assert_int_equal(vidmm_context_create(f.d, &in, &c), VIDMM_OK);
    fx_close(&f);
}

/* ---- one node, several users ---- */

static struct vidmm_context *on_copy_node(struct fx *f)
{
    struct vidmm_context_desc in = {.node = REF_NODE_COPY};
    struct vidmm_context *c;
    assert_int_equal(vidmm_context_create(f->d, &in, &c), VIDMM_OK);
    return c;
}

/* The engine completes one packet, and no more. */
static void one_packet(struct fx *f, uint32_t node)
{
    const struct vmm_node *n = &f->ad->node[node];
    uint64_t was = atomic_load(&n->inbox.completed);
    for (int i = 0; i < 10000 && atomic_load(&n->inbox.completed) == was; i++)
        (void)softgpu_engine_step(ref_gpu(f->ref), node);
}

static void busy(struct scene *s, struct vidmm_context *c)
{
    while (vidmm_context_pending(c) < 6) {
        fx_fill(&s->f, c, s->out_va, 1, 8);
        fx_submit(&s->f, c);
    }
}

/* Packets of clients without end: an update has the node when it has become idle, and then they go on. */
static void a_busy_node_becomes_idle(void **state)
{
    struct scene s;
    uint32_t rounds = 0;
    (void)state;
    packets_open(&s, REF_FORMAT_A, REF_NODE_COPY + 1);
    struct vidmm_context *c = on_copy_node(&s.f);
    struct vidmm_tile_op op = map_of(&s, 0, TILE, 5);
    must_update(&s, &op, 1);
    busy(&s, c);
    fx_run_core(&s.f);
    uint64_t had = s.f.ad->counters->submits_completed;
    for (uint64_t v = 41; v < 49; v += 2)
        assert_int_equal(vidmm_va_update(s.f.c, &op, 1, s.fence, v, 0), VIDMM_OK);
    for (; vidmm_fence_value(s.fence) < 48 && rounds < 200; rounds++) {
        assert_int_equal(vidmm_fence_signal(s.fence, vidmm_fence_value(s.fence) | 1), VIDMM_OK);
        busy(&s, c);
        fx_run_core(&s.f);
        one_packet(&s.f, REF_NODE_COPY);
        fx_run_core(&s.f);
        fx_run_node(&s.f, REF_NODE_PAGING);
    }
    assert_int_equal(vidmm_fence_value(s.fence), 48);
    assert_in_range(rounds, 4, 60);
    assert_true(s.f.ad->counters->submits_completed - had >= 4); /* one for each update */
    fx_run(&s.f);
    fx_close(&s.f);
}

/* On the node a packet waits for this very update: it is asked to stop after its slice. */
static void a_packet_waits_on_the_node_for_the_update(void **state)
{
    struct scene s;
    (void)state;
    packets_open(&s, REF_FORMAT_A, REF_NODE_COPY + 1);
    struct vidmm_context *c = on_copy_node(&s.f);
    struct vidmm_tile_op op = map_of(&s, 0, TILE, 5);
    must_update(&s, &op, 1);
    (void)ref_emit_fence_wait(fx_words(&s.f, 3), s.fence->gpu_va, 42);
    fx_submit(&s.f, c);
    fx_run(&s.f);
    assert_int_equal(vidmm_context_pending(c), 1);
    op = map_of(&s, 0, TILE, 6);
    assert_int_equal(vidmm_va_update(s.f.c, &op, 1, s.fence, 41, 0), VIDMM_OK);
    fx_run_core(&s.f);
    assert_null(s.f.ad->updating); /* paging goes on meanwhile */
    pass(&s.f, 100 * MS);
    assert_int_equal(vidmm_fence_value(s.fence), 42);
    assert_int_equal(vidmm_context_pending(c), 0);
    assert_int_equal(vidmm_device_state(s.f.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(s.f.ad->counters->timeouts, 0);
    fx_close(&s.f);
}

static void scattered(struct scene *s, struct vidmm_tile_op *op, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        op[i] = map_of(s, i % 64 * TILE, TILE / 2, i * 5 % 16);
        op[i].base += i / 64 * TILE / 2;
    }
}

/* Paging buffers of everybody wait for the packets of an update, so no client's packet is between them. */
static void nobody_is_between_packets(void **state)
{
    (void)state;
    for (uint32_t node = 0; node <= REF_NODE_COPY + 1; node += REF_NODE_COPY + 1) {
        struct scene s;
        struct vidmm_tile_op op[128];
        uint32_t at = 0, packets = 0, others = 0;
        packets_open(&s, REF_FORMAT_A, node);
        struct vidmm_context *c = on_copy_node(&s.f);
        scattered(&s, op, 128);
        must_update(&s, op, 128);
        fx_forget(&s.f);
        assert_int_equal(update_now(&s, op, 128), VIDMM_OK);
        busy(&s, c);
        fx_run(&s.f);
        for (const struct event *e = fx_next(&s.f, EV_SUBMIT, &at); e != NULL;
             e = fx_next(&s.f, EV_SUBMIT, &at)) {
            uint32_t of = node == 0 ? REF_NODE_PAGING : REF_NODE_COPY;
            bool ours = e->submit.context == companion_of(&s.f);
            if (e->submit.node != of) continue;
            if (ours) assert_int_equal(others, 0);
            packets += ours;
            others += !ours;
        }
        assert_true(packets > 1);
        assert_true(others > 0 || node == 0);
        fx_close(&s.f);
    }
}

/* Maps without end in the process: what is behind the update waits for it, not the reverse. */
static void paging_without_end(void **state)
{
    struct scene s;
    uint32_t rounds = 0;
    (void)state;
    packets_open(&s, REF_FORMAT_A, REF_NODE_COPY + 1);
    struct vidmm_tile_op op = map_of(&s, 0, TILE, 5);
    must_update(&s, &op, 1);
    fx_map(s.f.q, s.out, s.out_va, 0, PAGE);
    fx_run_core(&s.f);
    assert_int_equal(vidmm_va_update(s.f.c, &op, 1, s.fence, 41, 0), VIDMM_OK);
    for (; vidmm_fence_value(s.fence) < 42 && rounds < 40; rounds++) {
        fx_map(s.f.q, s.out, s.out_va, rounds % 2 * PAGE, PAGE);
        fx_run_core(&s.f);
        one_packet(&s.f, REF_NODE_PAGING);
        fx_run_core(&s.f);
        fx_run_node(&s.f, REF_NODE_COPY);
    }
    assert_in_range(rounds, 1, 10);
    fx_run(&s.f);
    fx_close(&s.f);
}

/* A companion that always has something to do leaves the others of its process their turns. */
static void companions_take_turns(void **state)
{
    struct scene s;
    (void)state;
    packets_open(&s, REF_FORMAT_A, 0);
    struct peer other = fx_peer(s.f.p);
    struct vidmm_tile_op op = map_of(&s, 0, TILE, 5), zero = unmap_of(&s, TILE, TILE, VIDMM_PROT_ZERO);
    must_update(&s, &op, 1);
    for (int i = 0; i < 6; i++) assert_int_equal(update_now(&s, &op, 1), VIDMM_OK);
    assert_int_equal(vidmm_va_update(other.c, &zero, 1, NULL, 0, VIDMM_UPDATE_DO_NOT_WAIT), VIDMM_OK);
    for (int i = 0; i < 40 && vidmm_context_updates(other.c) > 0; i++) {
        fx_run_core(&s.f);
        one_packet(&s.f, REF_NODE_PAGING);
    }
    assert_int_equal(vidmm_context_updates(other.c), 0);
    assert_in_range(vidmm_context_updates(s.f.c), 3, 5);
    fx_run(&s.f);
    fx_close(&s.f);
}

/* A packet that hangs was also to write what somebody else's map had changed meanwhile. */
static void a_packet_that_hangs_with_entries_of_others(void **state)
{
    struct scene s;
    struct vidmm_tile_op op[128];
    uint64_t va;
    (void)state;
    packets_open(&s, REF_FORMAT_A, REF_NODE_COPY + 1);
    struct peer other = fx_peer(s.f.p);
    struct vidmm_open *mem = fx_alloc(other.d, MIB, SYS, 0);
    fx_resident(other.q, mem);
    va = fx_map(other.q, mem, 0x300000000ull, 0, MIB);
    scattered(&s, op, 128);
    must_update(&s, op, 128);
    fx_forget(&s.f);
    assert_int_equal(update_now(&s, op, 128), VIDMM_OK);
    fx_map(other.q, mem, va, 512 * KIB, PAGE);
    const struct event *e = NULL;
    for (uint32_t at = 0; e == NULL || e->op.update.first_va != va;) {
        e = fx_next_op(&s.f, VIDMM_OP_UPDATE_PAGE_TABLE, &at);
        if (e != NULL) continue;
        at = s.f.log.count;
        fx_run_node(&s.f, REF_NODE_COPY);
        fx_run_core(&s.f);
    }
    struct softgpu_knobs k = {.hang_nodes = 1u << REF_NODE_COPY};
    softgpu_set_knobs(ref_gpu(s.f.ref), &k);
    pass(&s.f, 3000 * MS);
    assert_int_equal(vidmm_device_state(s.f.d), VIDMM_DEVICE_HUNG);
    assert_int_equal(vidmm_device_state(other.d), VIDMM_DEVICE_ACTIVE);
    fx_run(&s.f); /* verifies that entries are what the bindings say */
    fx_close(&s.f);
}

static const struct vt_case cases[] = {
    VT_TEST(an_update_is_a_packet, "TIL-03 TIL-07 TIL-08 TIL-13", "TIL-03"),
    VT_TEST(entries_are_copied_through_the_privileged_space, "TIL-11 TIL-13 TIL-27", NULL),
    VT_TEST(other_entries_are_given, "TIL-22", NULL),
    VT_TEST(the_place_is_that_of_the_execution, "TIL-13", NULL),
    VT_TEST(tables_have_one_writer_at_a_time, "PAG-24", NULL),
    VT_TEST(a_packet_that_hangs_ends_its_device, "FLT-24", NULL),
    VT_TEST(a_device_that_goes_waits_for_its_packet, "ALC-23", NULL),
    VT_TEST(many_tiles_take_many_packets, "TIL-27 PT-38", NULL),
    VT_TEST(two_level_spaces, "TIL-11", NULL),
    VT_TEST(other_modes_never_copy, "TIL-15", NULL),
    VT_TEST(a_table_that_goes_with_an_update, "PT-37", NULL),
    VT_TEST(a_submission_that_fails, "PAG-26", NULL),
    VT_TEST(a_build_that_fails, "PAG-26", NULL),
    VT_TEST(a_buffer_that_is_never_enough, "PAG-26", NULL),
    VT_TEST(a_node_without_page_tables, "", NULL),
    VT_TEST(a_busy_node_becomes_idle, "", NULL),
    VT_TEST(a_packet_waits_on_the_node_for_the_update, "", NULL),
    VT_TEST(nobody_is_between_packets, "", NULL),
    VT_TEST(paging_without_end, "", NULL),
    VT_TEST(companions_take_turns, "TIL-09", NULL),
    VT_TEST(a_packet_that_hangs_with_entries_of_others, "FLT-24", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "core_tilepacket", cases, VT_COUNT(cases)); }
