/* SPDX-License-Identifier: MIT */
/* test_link.c - linked adapters: one address space, tables per gpu; entries that name the memory of peers,
 * and follow it wherever it goes; what the loss of one gpu takes along, and what not. */
#include "link_rig.h"

#include "base/bits.h"

#define X 0x40000000ull

/* ---- bring-up ------------------------------------------------------------------------------------ */

static void each_gpu_is_asked(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, 4);
    for (uint32_t i = 0; i < 4; i++) {
        const struct vidmm_adapter_info *in = vidmm_gpu_info(l.fx->ad, i);
        assert_int_equal(link_tap(&l, i)->count[TAP_QUERY_INFO], 1);
        assert_int_equal(in->gpu, i);
        assert_int_equal(in->level_count, i % 2 == 1 ? 2 : 3);
    }
    assert_null(vidmm_gpu_info(l.fx->ad, 4));
    assert_ptr_equal(vidmm_gpu_info(l.fx->ad, 0), vidmm_adapter_info(l.fx->ad));
    fx_close(l.fx);
}

static void more_nodes(struct vidmm_adapter_info *in) { in->node[in->node_count++] = in->node[0]; }
static void another_gpu(struct vidmm_adapter_info *in) { in->gpu++; }

static void expect_refusal(const struct fx_options *o, const char *sentence)
{
    struct fixture fx;
    struct fx_options may = *o;
    may.may_refuse = true;
    assert_int_equal(fx_open(&fx, &may), VIDMM_INVALID);
    assert_string_equal(fx.why, sentence);
}

static void links_that_do_not_fit_are_refused(void **state)
{
    struct fx_options o;
    (void)state;
    fx_options(&o, REF_FORMAT_A);
    fx_add_peer(&o, REF_FORMAT_B);
    expect_refusal(&o, "gpus of a link differ in VirtualAddressBitCount");
    link_options(&o, 2);
    o.edit_info = another_gpu;
    expect_refusal(&o, "the driver described another gpu");
}

static void no_physical_node_in_a_link(void **state)
{
    struct world *w = world_create(&(struct world_options){.seed = 1});
    struct ref_kmd *kmd[2];
    struct vidmm_adapter *ad;
    const char *why;
    (void)state;
    assert_non_null(w);
    for (uint32_t i = 0; i < 2; i++) {
        struct fx_options o;
        fx_options(&o, REF_FORMAT_C);
        o.ref.physical = true;
        assert_int_equal(ref_create(&o.ref, &kmd[i]), VIDMM_OK);
    }
    ref_link(kmd, 2);
    struct vidmm_gpu peer = {ref_ops(), kmd[1]};
    struct vidmm_adapter_config cfg = {.struct_size = sizeof(cfg), .platform = world_platform(w),
                                       .ops = ref_ops(), .kmd = kmd[0], .peer = &peer, .peer_count = 1};
    assert_int_equal(vidmm_adapter_create(&cfg, &ad, &why), VIDMM_INVALID);
    assert_string_equal(why, "a gpu of a link has a physical node");
    cfg.peer_count = VIDMM_GPUS_MAX;
    assert_int_equal(vidmm_adapter_create(&cfg, &ad, &why), VIDMM_INVALID);
    assert_string_equal(why, "a link has at most 4 gpus");
    for (uint32_t i = 0; i < 2; i++) ref_destroy(kmd[i]);
    world_destroy(w);
}

static void the_number_of_nodes_is_the_same(void **state)
{
    struct fx_options o;
    (void)state;
    link_options(&o, 2);
    o.edit_info = more_nodes; /* of GPU 0 */
    expect_refusal(&o, "gpus of a link differ in their number of nodes");
}

/* ---- one space, tables per gpu -------------------------------------------------------------------- */

/* What one gpu's queue claims is taken for all of them, and a free frees it for all (Q30). */
static void one_space_for_the_link(void **state)
{
    struct link l;
    struct vidmm_reserve r = {.base = 0x20000000, .bytes = MIB(1)};
    uint64_t va, value;
    (void)state;
    link_open(&l, 2);
    assert_int_equal(vidmm_process_space_count(l.c.process), 1);
    struct vidmm_open *a = link_memory(&l, 0, KIB(256)), *b = link_memory(&l, 1, KIB(256));
    uint64_t at = link_map(&l, 0, a, 0), other = link_map(&l, 1, b, 0);
    assert_true(at + KIB(256) <= other || other + KIB(256) <= at);
    assert_int_equal(vidmm_va_reserve(l.c.process, l.queue[0], &r, &va, &value), VIDMM_OK);
    assert_int_equal(vidmm_va_reserve(l.c.process, l.queue[1], &r, &va, &value), VIDMM_INVALID);
    assert_int_equal(link_map(&l, 1, b, at), at); /* a range once obtained, seen by another gpu */
    assert_int_equal(link_map(&l, 0, a, r.base), r.base);
    assert_int_equal(link_map(&l, 1, a, r.base), r.base);
    link_fill(&l, 1, r.base, 0x11, KIB(256));
    fx_verify(l.fx);
    assert_int_equal(vidmm_va_free(l.c.process, r.base, MIB(1)), VIDMM_OK);
    assert_int_equal(vidmm_va_free(l.c.process, r.base, MIB(1)), VIDMM_INVALID);
    assert_int_equal(vidmm_va_reserve(l.c.process, l.queue[1], &r, &va, &value), VIDMM_OK);
    uint64_t words[REF_WORDS_MAX];
    fx_settle(l.fx);
    assert_false(client_run_on(&l.c, l.context[1], words, ref_emit_fill(words, r.base, 1, 4)));
    fx_verify(l.fx);
    fx_close(l.fx);
}

/* A destroyed allocation gives back only what no other gpu shows there. */
static void a_range_lives_as_long_as_any_gpu_shows_it(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, 2);
    struct vidmm_open *a = link_memory(&l, 0, KIB(256)), *b = link_memory(&l, 1, KIB(128));
    (void)link_map(&l, 0, a, X);
    (void)link_map(&l, 1, b, X + KIB(64));
    link_fill(&l, 1, X + KIB(64), 0x77, KIB(128));
    vidmm_open_close(a, 0);
    fx_settle(l.fx);
    fx_verify(l.fx);
    assert_true(client_range_free(&l.c, X, KIB(64)));
    assert_true(client_range_free(&l.c, X + KIB(192), KIB(64)));
    assert_false(client_range_free(&l.c, X + KIB(64), KIB(64)));
    assert_int_equal(link_read(&l, 1, X + KIB(128)), 0x77);
    vidmm_open_close(b, 0);
    fx_settle(l.fx);
    assert_true(client_range_free(&l.c, X, KIB(256)));
    fx_close(l.fx);
}

static void each_gpu_has_tables_of_its_own(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, 2);
    struct vidmm_open *a = link_memory(&l, 0, KIB(256));
    (void)link_map(&l, 0, a, X);
    fx_settle(l.fx);
    uint64_t before = link_tap(&l, 0)->op_count[VIDMM_OP_UPDATE_PAGE_TABLE];
    tap_clear(link_tap(&l, 1));
    (void)link_map(&l, 1, a, X);
    assert_int_equal(link_tap(&l, 0)->op_count[VIDMM_OP_UPDATE_PAGE_TABLE], before); /* LDA-10 */
    assert_true(link_tap(&l, 1)->op_count[VIDMM_OP_UPDATE_PAGE_TABLE] > 0);
    link_fill(&l, 0, X, 0x21, KIB(256));
    assert_int_equal(link_read(&l, 1, X + KIB(128)), 0x21);
    fx_verify(l.fx);
    fx_close(l.fx);
}

/* S39: the same address is self on one gpu, and self or a peer on the other. */
static void self_or_a_peer(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, 2);
    struct vidmm_open *first = link_memory(&l, 0, MIB(1)), *second = link_memory(&l, 1, MIB(1));
    (void)link_memory(&l, 1, KIB(64)); /* so that equal offsets would not be noticed by chance */
    (void)link_map(&l, 0, first, X);
    tap_clear(link_tap(&l, 1));
    (void)link_map(&l, 1, second, X);
    assert_int_equal(link_entry(&l, 1, X).gpu, 1);
    link_fill(&l, 0, X, 0xaaaa, MIB(1));
    link_fill(&l, 1, X, 0xbbbb, MIB(1));
    assert_int_equal(link_read(&l, 0, X + KIB(512)), 0xaaaa);
    assert_int_equal(link_read(&l, 1, X + KIB(512)), 0xbbbb);
    tap_clear(link_tap(&l, 0));
    tap_clear(link_tap(&l, 1));
    (void)link_map(&l, 1, first, X);
    assert_int_equal(link_tap(&l, 0)->count[TAP_UPDATE], 0);
    assert_int_equal(link_entry(&l, 1, X).gpu, 0);
    assert_int_equal(link_sum(&l, 1, X, MIB(1)), sum_of_pattern(0xaaaa, MIB(1)));
    link_fill(&l, 1, X + KIB(64), 0xcccc, KIB(64)); /* and it writes there */
    assert_int_equal(link_read(&l, 0, X + KIB(64)), 0xcccc);
    fx_verify(l.fx);
    fx_close(l.fx);
}

#define EACH MIB(1)

/* One on each gpu, addressed one behind the other: instance i is at i * size, for everybody (Q29). */
static void a_map_chooses_the_instance(void **state)
{
    struct link l;
    uint64_t va;
    (void)state;
    link_open(&l, 3);
    struct vidmm_open *op = client_alloc(&l.c, &(struct fx_alloc){
        .bytes = EACH, .set = SET_64K | SET_SYSTEM, .preferred = 1,
        .flags = VIDMM_ALLOCATION_LINK_INSTANCED});
    assert_int_equal(vidmm_open_bytes(op), 3 * EACH);
    client_resident(&l.c, op);
    for (uint32_t g = 0; g < 3; g++) { /* self on each */
        struct vidmm_map m = {.base = X, .open = op, .offset = g * EACH, .bytes = EACH,
                              .protection = VIDMM_PROT_WRITE};
        tap_clear(link_tap(&l, g));
        assert_int_equal(link_try_map(&l, g, &m, &va), VIDMM_OK);
        assert_int_equal(link_entry(&l, g, X).gpu, g);
        link_fill(&l, g, X, 0x90 + g, EACH);
    }
    for (uint32_t g = 0; g < 3; g++)
        assert_int_equal(link_sum(&l, g, X, EACH), sum_of_pattern(0x90 + g, EACH));
    for (uint32_t i = 0; i < 3; i++) { /* and every instance on gpu 1, by parts */
        struct vidmm_map m = {.base = X + (1 + i) * EACH, .open = op, .offset = i * EACH + KIB(256),
                              .bytes = KIB(512), .protection = VIDMM_PROT_WRITE};
        tap_clear(link_tap(&l, 1));
        assert_int_equal(link_try_map(&l, 1, &m, &va), VIDMM_OK);
        assert_int_equal(link_entry(&l, 1, m.base).gpu, i);
        assert_int_equal(link_read(&l, 1, m.base + KIB(256)), 0x90 + i);
    }
    struct vidmm_map across = {.open = op, .offset = EACH / 2, .bytes = EACH};
    assert_int_equal(link_try_map(&l, 0, &across, &va), VIDMM_INVALID);
    across = (struct vidmm_map){.open = op, .offset = 3 * EACH, .bytes = PAGE};
    assert_int_equal(link_try_map(&l, 0, &across, &va), VIDMM_INVALID);
    fx_verify(l.fx);
    fx_close(l.fx);
}

/* By another process, which sees each from the other gpu. */
static void instances_are_shared(struct link *l, const struct vidmm_open *op)
{
    struct vidmm_open *shared;
    uint64_t va;
    struct link other = {.fx = l->fx, .gpus = 2};
    link_client(&other, &other.c, NULL);
    assert_int_equal(vidmm_alloc_open(other.c.device, op, 0, &shared), VIDMM_OK);
    client_resident(&other.c, shared);
    for (uint32_t g = 0; g < 2; g++) {
        struct vidmm_map m = {.base = X, .open = shared, .offset = (1 - g) * EACH, .bytes = EACH};
        assert_int_equal(link_try_map(&other, g, &m, &va), VIDMM_OK);
        assert_int_equal(link_read(&other, g, X), 0xa0 + 1 - g);
    }
    vidmm_open_close(shared, 0);
    fx_settle(l->fx);
    fx_verify(l->fx);
}

/* Resident, locked, evicted and destroyed together; one CPU range shows them all. */
static void instances_live_together(void **state)
{
    struct link l;
    struct vidmm_open *shared;
    uint32_t *cpu;
    uint64_t va;
    (void)state;
    link_open(&l, 2);
    struct fx_alloc in = {.bytes = EACH, .set = SET_64K | SET_SYSTEM, .preferred = 1,
                          .flags = VIDMM_ALLOCATION_LINK_INSTANCED};
    struct vidmm_open *op = client_alloc(&l.c, &in);
    client_resident(&l.c, op);
    for (uint32_t g = 0; g < 2; g++) {
        struct vidmm_map m = {.base = X, .open = op, .offset = g * EACH, .bytes = EACH,
                              .protection = VIDMM_PROT_WRITE};
        assert_int_equal(link_try_map(&l, g, &m, &va), VIDMM_OK);
        link_fill(&l, g, X, 0xa0 + g, EACH);
    }
    assert_int_equal(vidmm_open_lock(op, (void **)&cpu), VIDMM_PENDING);
    fx_settle(l.fx);
    assert_true(vidmm_open_lock_ready(op));
    for (uint32_t g = 0; g < 2; g++) {
        assert_int_equal(cpu[g * EACH / 4], 0xa0 + g);
        cpu[g * EACH / 4 + 1] = 0xb0 + g;
    }
    assert_int_equal(link_read(&l, 1, X + 4), 0xb1);
    assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
    fx_settle(l.fx);
    for (uint32_t g = 0; g < 2; g++) assert_int_equal(link_read(&l, g, X + 4), 0xb0 + g);
    client_evict(&l.c, op);
    uint64_t trim, value;
    assert_int_equal(vidmm_evict(l.c.device, &op, 1, 0, &trim), VIDMM_INVALID);
    vidmm_process_set_budget(l.c.process, 2 * EACH - PAGE); /* each instance counts */
    assert_int_equal(vidmm_make_resident(l.c.queue, &op, 1, 0, &value, &trim), VIDMM_NO_MEMORY);
    vidmm_process_set_budget(l.c.process, 2 * EACH);
    client_resident(&l.c, op);
    for (uint32_t g = 0; g < 2; g++) assert_int_equal(link_read(&l, g, X), 0xa0 + g);
    struct vidmm_device *d;
    assert_int_equal(vidmm_device_create(l.c.process, &d), VIDMM_OK);
    assert_int_equal(vidmm_alloc_open(d, op, 0, &shared), VIDMM_OK); /* all of them */
    assert_int_equal(vidmm_open_bytes(shared), 2 * EACH);
    instances_are_shared(&l, op);
    vidmm_status offered = vidmm_offer(l.c.device, &op, 1, VIDMM_OFFER_LOW, 0);
    assert_int_equal(offered, VIDMM_NOT_SUPPORTED);
    fx_verify(l.fx);
    vidmm_open_close(op, 0);
    fx_settle(l.fx);
    assert_true(client_range_free(&l.c, X, EACH));
    fx_verify(l.fx);
    (void)client_alloc(&l.c, &in); /* destroyed with its device */
    fx_close(l.fx);
}

/* A larger root of one gpu waits for that gpu's engines: what another one executes may go on for ever. */
static void a_root_grows_beside_work_on_another_gpu(void **state)
{
    struct link l;
    struct vidmm_hwcontext_desc cd = {.node = REF_NODE_COMPUTE, .engine_affinity = 1};
    struct vidmm_hwqueue_desc qd = {.flags = 0};
    struct vidmm_hwcontext *context;
    struct vidmm_hwqueue *queue;
    uint64_t value = 1;
    (void)state;
    link_open(&l, 2);
    struct vidmm_open *a = link_memory(&l, 0, KIB(256));
    assert_int_equal(vidmm_hwcontext_create(l.c.device, &cd, &context), VIDMM_OK);
    assert_int_equal(vidmm_hwqueue_create(context, &qd, &queue), VIDMM_OK);
    assert_int_equal(vidmm_hwqueue_wait(queue, &l.c.fence, &value, 1), VIDMM_OK);
    fx_settle(l.fx);
    assert_int_equal(vidmm_hwqueue_pending(queue), 1);
    uint64_t resizes = vidmm_adapter_counters(l.fx->ad)->root_resizes;
    assert_int_equal(link_map(&l, 1, a, 8 * X), 8 * X);
    assert_int_equal(vidmm_adapter_counters(l.fx->ad)->root_resizes, resizes + 1);
    assert_int_equal(vidmm_hwqueue_pending(queue), 1);
    assert_int_equal(vidmm_fence_signal(l.c.fence, value), VIDMM_OK);
    fx_settle(l.fx);
    assert_int_equal(vidmm_hwqueue_pending(queue), 0);
    fx_verify(l.fx);
    fx_close(l.fx);
}

/* What a gpu shows is told in the words of the map, instance by instance. */
static void a_query_answers_for_each_gpu(void **state)
{
    struct link l;
    struct vidmm_va_info info;
    uint64_t va;
    (void)state;
    link_open(&l, 2);
    struct vidmm_open *op = client_alloc(&l.c, &(struct fx_alloc){
        .bytes = EACH, .set = SET_64K | SET_SYSTEM, .preferred = 1,
        .flags = VIDMM_ALLOCATION_LINK_INSTANCED});
    for (uint32_t g = 0; g < 2; g++) {
        struct vidmm_map m = {.base = X, .open = op, .offset = g * EACH + KIB(64), .bytes = KIB(128)};
        assert_int_equal(vidmm_va_query_on(l.c.process, g, X, &info), g == 0 ? VIDMM_INVALID : VIDMM_OK);
        assert_true(g == 0 || !info.bound);
        assert_int_equal(link_try_map(&l, g, &m, &va), VIDMM_OK);
        assert_int_equal(vidmm_va_query_on(l.c.process, g, X + PAGE, &info), VIDMM_OK);
        assert_true(info.bound);
        assert_ptr_equal(info.open, op);
        assert_int_equal(info.offset, g * EACH + KIB(64) + PAGE);
        assert_int_equal(info.end - info.start, KIB(128));
    }
    assert_int_equal(vidmm_va_query_on(l.c.process, 2, X, &info), VIDMM_INVALID);
    fx_close(l.fx);
}

/* ---- what moves ---------------------------------------------------------------------------------- */

/* No byte is copied before every gpu whose tables named it has flushed, and its entries follow. */
static void a_move_waits_for_the_flush_of_every_gpu(void **state)
{
    struct link l;
    struct vidmm_placement_info where;
    void *cpu;
    (void)state;
    link_open(&l, 3);
    struct vidmm_open *a = link_memory(&l, 0, KIB(256));
    for (uint32_t g = 0; g < 3; g++) (void)link_map(&l, g, a, X);
    link_fill(&l, 2, X, 0x31, KIB(256));
    fx_settle(l.fx);
    fx_hold_paging(l.fx, 1, true);
    assert_int_equal(vidmm_open_lock(a, &cpu), VIDMM_PENDING);
    uint64_t moves = l.fx->tap.op_count[VIDMM_OP_VIRTUAL_TRANSFER];
    fx_settle(l.fx);
    assert_false(vidmm_open_lock_ready(a));
    assert_int_equal(l.fx->tap.op_count[VIDMM_OP_VIRTUAL_TRANSFER], moves);
    fx_hold_paging(l.fx, 1, false);
    fx_settle(l.fx);
    assert_true(vidmm_open_lock_ready(a));
    assert_int_equal(*(uint32_t *)cpu, 0x31);
    *(uint32_t *)cpu = 0x32;
    for (uint32_t g = 0; g < 3; g++) assert_int_equal(link_read(&l, g, X), 0x32); /* in system memory */
    assert_int_equal(vidmm_open_unlock(a), VIDMM_OK);
    fx_settle(l.fx);
    vidmm_open_placement(a, &where);
    assert_int_equal(where.segment, 1); /* promoted again */
    for (uint32_t g = 0; g < 3; g++) assert_int_equal(link_read(&l, g, X), 0x32);
    fx_verify(l.fx);
    fx_close(l.fx);
}

/* A mapping that was freed before is on nobody's list, and its flush still on its way. */
static void a_move_waits_for_freed_mappings_too(void **state)
{
    struct link l;
    void *cpu;
    (void)state;
    link_open(&l, 2);
    struct vidmm_open *a = link_memory(&l, 0, KIB(256));
    (void)link_map(&l, 1, a, X);
    link_fill(&l, 1, X, 0x41, KIB(256));
    fx_settle(l.fx);
    fx_hold_paging(l.fx, 1, true);
    assert_int_equal(vidmm_va_free(l.c.process, X, KIB(256)), VIDMM_OK);
    assert_int_equal(vidmm_open_lock(a, &cpu), VIDMM_PENDING);
    fx_settle(l.fx);
    assert_false(vidmm_open_lock_ready(a));
    fx_hold_paging(l.fx, 1, false);
    fx_settle(l.fx);
    assert_true(vidmm_open_lock_ready(a));
    assert_int_equal(*(uint32_t *)cpu, 0x41);
    fx_close(l.fx);
}

/* The fence of a MakeResident covers the entries and flushes of every gpu, whose queue it ever was. */
static void residency_is_complete_on_every_gpu(void **state)
{
    struct link l;
    uint64_t value, trim;
    (void)state;
    link_open(&l, 2);
    struct vidmm_open *a = client_alloc(&l.c, &(struct fx_alloc){
        .bytes = KIB(256), .set = SET_64K | SET_SYSTEM, .preferred = 1});
    (void)link_map(&l, 1, a, X); /* format B caches invalid entries */
    fx_settle(l.fx);
    fx_hold_paging(l.fx, 1, true);
    assert_int_equal(vidmm_make_resident(l.queue[0], &a, 1, 0, &value, &trim), VIDMM_PENDING);
    fx_settle(l.fx);
    assert_int_equal(vidmm_fence_value(vidmm_queue_fence(l.queue[0])), value - 1);
    fx_hold_paging(l.fx, 1, false);
    fx_settle(l.fx);
    assert_int_equal(vidmm_fence_value(vidmm_queue_fence(l.queue[0])), value);
    assert_int_equal(link_read(&l, 1, X), 0);
    fx_close(l.fx);
}

/* ---- passed around under pressure ---------------------------------------------------------------- */

#define BALL MIB(2)
#define LOAD MIB(3)
#define LOADS 6u /* of 3 MiB in 16 MiB */

/* Memory of the gpu that does not fit beside what is there, so that something has to go, and comes back. */
static void press(struct link *l, uint32_t gpu, struct vidmm_open **load, uint32_t round)
{
    for (uint32_t i = 0; i < LOADS; i++) {
        load[i] = link_memory(l, gpu, LOAD);
        uint64_t va = link_map(l, gpu, load[i], 0);
        link_fill(l, gpu, va, round << 8 | i, LOAD);
    }
}

static void release(struct vidmm_open **load)
{
    for (uint32_t i = 0; i < LOADS; i++) vidmm_open_close(load[i], 0);
}

/* Everybody maps the ball of `home`, each at the same address, reads what the one before wrote and writes. */
static uint32_t pass_around(struct link *l, struct vidmm_open *ball, uint32_t home, uint32_t was,
                            uint32_t seed)
{
    struct vidmm_open *load[LOADS];
    for (uint32_t g = 0; g < l->gpus; g++) {
        if (vidmm_gpu_removed(l->fx->ad, g)) continue;
        (void)link_map(l, g, ball, X);
        press(l, home, load, seed + g);
        assert_int_equal(link_sum(l, g, X, BALL), sum_of_pattern(was, BALL));
        was = seed << 16 | g;
        link_fill(l, g, X, was, BALL);
        fx_verify(l->fx);
        release(load);
        fx_settle(l->fx);
        fx_verify(l->fx);
    }
    return was;
}

static void four_gpus_pass_an_allocation_around(void **state)
{
    struct link l;
    uint32_t was;
    (void)state;
    link_open(&l, 4);
    for (uint32_t home = 0; home < 4; home++) {
        struct vidmm_open *ball = link_memory(&l, home, BALL);
        (void)link_map(&l, home, ball, X);
        link_fill(&l, home, X, 0x100 + home, BALL);
        was = pass_around(&l, ball, home, 0x100 + home, home + 1);
        assert_int_equal(link_read(&l, home, X + BALL - 4), was);
        vidmm_open_close(ball, 0);
        fx_settle(l.fx);
    }
    assert_true(vidmm_adapter_counters(l.fx->ad)->demotions > 0);
    assert_true(vidmm_adapter_counters(l.fx->ad)->promotions > 0);
    fx_close(l.fx);
}

/* LDA-07: who writes the tables is each gpu's own affair. */
static void each_gpu_updates_tables_in_its_own_way(void **state)
{
    (void)state;
    for (uint32_t first = 0; first < 3; first++) {
        struct link l;
        link_open_modes(&l, first, 0);
        struct vidmm_open *ball = link_memory(&l, first, BALL);
        (void)link_map(&l, first, ball, X);
        link_fill(&l, first, X, 0x200, BALL);
        (void)pass_around(&l, ball, first, 0x200, 5);
        fx_close(l.fx);
    }
}

/* ---- trouble on one of them ---------------------------------------------------------------------- */

static void a_fault_on_one_gpu(void **state)
{
    struct link l, m;
    (void)state;
    link_open(&l, 3);
    m = l;
    link_client(&m, &m.c, NULL); /* another process, on all gpus too */
    struct vidmm_open *mine = link_memory(&m, 2, KIB(256));
    for (uint32_t g = 0; g < 3; g++) (void)link_map(&m, g, mine, X);
    uint64_t words[REF_WORDS_MAX];
    assert_false(client_run_on(&l.c, l.context[1], words, ref_emit_fill(words, X, 1, 4)));
    struct vidmm_page_fault f;
    assert_int_equal(vidmm_device_fault(l.c.device, &f), VIDMM_OK);
    assert_int_equal(f.va, X);
    for (uint32_t g = 0; g < 3; g++) {
        link_fill(&m, g, X, 0x50 + g, KIB(256));
        assert_int_equal(link_read(&m, (g + 1) % 3, X), 0x50 + g);
    }
    assert_int_equal(vidmm_gpu_removed(l.fx->ad, 1), false);
    fx_verify(l.fx);
    fx_close(l.fx);
}

/* Whoever used it is lost, with all its contexts; the others go on, and what they do next ends well. */
static void one_gpu_is_lost(uint32_t gone)
{
    struct link l, m;
    struct fx_options o;
    l = (struct link){.fx = &l.own, .gpus = 4};
    link_options(&o, 4);
    (void)fx_open(l.fx, &o);
    link_client(&l, &l.c, NULL);
    uint32_t from = gone < 2 ? 2 : 0; /* m lives on the two gpus of the other half */
    link_open_on(&l, NULL, &m, from, 2);
    struct client *keep = &m.c;
    struct vidmm_open *ball = client_alloc(keep, &(struct fx_alloc){
        .bytes = BALL, .set = SET_64K | SET_SYSTEM, .preferred = 1, .gpu = from});
    client_resident(keep, ball);
    (void)link_map(&m, from, ball, X);
    (void)link_map(&m, from + 1, ball, X);
    struct vidmm_open *theirs = link_memory(&l, gone, BALL);
    for (uint32_t g = 0; g < 4; g++) (void)link_map(&l, g, theirs, X);
    link_fill(&m, from, X, 0x61, BALL);
    link_fill(&l, (gone + 1) % 4, X, 0x62, BALL);
    uint64_t words[REF_WORDS_MAX]; /* in the middle of work, here and there */
    uint32_t n = ref_emit_fill(words, X, 1, BALL);
    assert_int_equal(client_submit_on(&l.c, l.context[gone], words, n), VIDMM_OK);
    assert_int_equal(client_submit_on(&l.c, l.context[from], words, n), VIDMM_OK);
    assert_int_equal(client_submit_on(keep, m.context[from + 1], words,
                                      ref_emit_fill(words, X, 0x63, BALL)), VIDMM_OK);
    link_lose(&l, gone);
    fx_verify(l.fx);
    assert_int_equal(vidmm_device_state(l.c.device), VIDMM_DEVICE_RESET);
    assert_true(vidmm_fence_reached(l.c.fence, UINT64_MAX - 1));
    assert_int_equal(vidmm_device_state(keep->device), VIDMM_DEVICE_ACTIVE);
    assert_false(vidmm_adapter_removed(l.fx->ad));
    fx_settle(l.fx);
    assert_int_equal(link_sum(&m, from, X, BALL), sum_of_pattern(0x63, BALL));
    struct vidmm_device *again;
    struct vidmm_queue *q;
    assert_int_equal(vidmm_device_create(l.c.process, &again), VIDMM_OK);
    assert_int_equal(vidmm_queue_create_on(again, gone, 0, &q), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_queue_create_on(again, from, 0, &q), VIDMM_OK);
    struct vidmm_open *none;
    struct fx_alloc there = {.bytes = KIB(64), .set = SET_64K, .preferred = 1, .gpu = gone};
    assert_int_equal(client_try_alloc(keep, &there, &none), VIDMM_DEVICE_LOST);
    struct vidmm_open *load[LOADS]; /* under pressure, and with what comes after the loss */
    for (uint32_t i = 0; i < LOADS; i++) {
        load[i] = client_alloc(keep, &(struct fx_alloc){
            .bytes = LOAD, .set = SET_64K | SET_SYSTEM, .preferred = 1, .gpu = from});
        client_resident(keep, load[i]);
        link_fill(&m, from + 1, link_map(&m, from + 1, load[i], 0), i, LOAD);
    }
    assert_int_equal(link_sum(&m, from + 1, X, BALL), sum_of_pattern(0x63, BALL));
    fx_verify(l.fx);
    fx_close(l.fx);
}

/* One step of everybody who is left: reads what the one before wrote, under pressure, and writes. */
static uint32_t pass_between(struct link *on, uint32_t round, uint32_t was)
{
    struct vidmm_open *load[LOADS];
    for (uint32_t g = 0; g < 4; g++) {
        if (vidmm_gpu_removed(on[g].fx->ad, g)) continue;
        for (uint32_t i = 0; i < LOADS; i++) { /* of the gpu that has the ball */
            load[i] = link_memory_on(&on[g], g, 1, LOAD);
            link_fill(&on[g], g, link_map(&on[g], g, load[i], 0), i, LOAD);
        }
        assert_int_equal(link_sum(&on[g], g, X, BALL), sum_of_pattern(was, BALL));
        was = round << 16 | g;
        link_fill(&on[g], g, X, was, BALL);
        fx_verify(on[g].fx);
        release(load);
        fx_settle(on[g].fx);
        fx_verify(on[g].fx);
    }
    return was;
}

/* One process, a device on each of four gpus, one allocation of gpu 1, everywhere at the same address: self
 * for gpu 1 and a peer's for the others. One of them is lost between two rounds, at work. */
static void passing_goes_on_when_one_is_lost(void **state)
{
    struct link l = {.fx = &l.own, .gpus = 4}, on[4];
    struct fx_options o;
    (void)state;
    link_options(&o, 4);
    (void)fx_open(l.fx, &o);
    struct vidmm_process *p = fx_process(l.fx);
    for (uint32_t g = 0; g < 4; g++) link_open_on(&l, p, &on[g], g, 1);
    struct vidmm_open *ball = link_memory_on(&on[1], 1, 1, BALL);
    for (uint32_t g = 0; g < 4; g++) {
        struct vidmm_open *mine = ball;
        if (g != 1) assert_int_equal(vidmm_alloc_open(on[g].c.device, ball, 0, &mine), VIDMM_OK);
        client_resident(&on[g].c, mine);
        tap_clear(link_tap(&l, g));
        assert_int_equal(link_map(&on[g], g, mine, X), X);
        assert_int_equal(link_entry(&l, g, X).gpu, 1);
    }
    link_fill(&on[1], 1, X, 0x700, BALL);
    uint32_t was = pass_between(on, 1, 0x700);
    uint64_t words[REF_WORDS_MAX];
    uint32_t n = ref_emit_checksum(words, X, BALL, on[3].c.buffer_va + FX_COMMAND_BYTES - 4096);
    assert_int_equal(client_submit_on(&on[3].c, on[3].context[3], words, n), VIDMM_OK);
    link_lose(&l, 3);
    for (uint32_t g = 0; g < 4; g++)
        assert_int_equal(vidmm_device_state(on[g].c.device),
                         g == 3 ? VIDMM_DEVICE_RESET : VIDMM_DEVICE_ACTIVE);
    was = pass_between(on, 2, was);
    was = pass_between(on, 3, was);
    assert_int_equal(was, 3 << 16 | 2);
    fx_close(l.fx);
}

static void a_peer_is_lost(void **state)
{
    (void)state;
    one_gpu_is_lost(2);
    one_gpu_is_lost(3);
}

static void the_first_gpu_is_lost(void **state)
{
    (void)state;
    one_gpu_is_lost(0);
    one_gpu_is_lost(1);
}

static void the_last_gpu_takes_the_adapter_along(void **state)
{
    struct link l;
    struct vidmm_process *p;
    (void)state;
    link_open(&l, 2);
    link_lose(&l, 0);
    assert_false(vidmm_adapter_removed(l.fx->ad));
    struct client c; /* a process that begins without GPU 0 */
    struct link m = l;
    p = fx_process(l.fx);
    c = (struct client){.fx = l.fx, .process = p};
    assert_int_equal(vidmm_device_create(p, &c.device), VIDMM_OK);
    assert_int_equal(vidmm_queue_create_on(c.device, 0, 0, &c.queue), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_queue_create_on(c.device, 1, 0, &c.queue), VIDMM_OK);
    m.c = c;
    m.queue[1] = c.queue;
    struct vidmm_open *op = link_memory(&m, 1, KIB(256));
    assert_int_equal(link_map(&m, 1, op, X), X);
    fx_verify(l.fx);
    link_lose(&l, 1);
    assert_true(vidmm_adapter_removed(l.fx->ad));
    assert_int_equal(vidmm_process_create(l.fx->ad, &p), VIDMM_DEVICE_LOST);
    fx_verify(l.fx);
    fx_close(l.fx);
}

/* Pulled out as a whole, with everything open and at work. */
static void the_whole_adapter_is_removed(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, 3);
    struct vidmm_open *a = link_memory(&l, 1, MIB(1));
    for (uint32_t g = 0; g < 3; g++) (void)link_map(&l, g, a, X);
    uint64_t words[REF_WORDS_MAX];
    uint32_t n = ref_emit_fill(words, X, 1, MIB(1));
    for (uint32_t g = 0; g < 3; g++)
        assert_int_equal(client_submit_on(&l.c, l.context[g], words, n), VIDMM_OK);
    vidmm_adapter_remove(l.fx->ad);
    assert_true(vidmm_adapter_removed(l.fx->ad));
    for (uint32_t g = 0; g < 3; g++) assert_true(vidmm_gpu_removed(l.fx->ad, g));
    assert_int_equal(vidmm_device_state(l.c.device), VIDMM_DEVICE_RESET);
    fx_verify(l.fx);
    fx_close(l.fx);
}

/* An adapter reset is one of the whole link: devices reach across it. */
static void a_reset_is_of_the_whole_link(void **state)
{
    struct link l, m;
    struct fx_options o;
    (void)state;
    l = (struct link){.fx = &l.own, .gpus = 2};
    link_options(&o, 2);
    o.timeouts = true;
    (void)fx_open(l.fx, &o);
    link_client(&l, &l.c, NULL);
    struct vidmm_open *a = link_memory(&l, 1, KIB(256));
    for (uint32_t g = 0; g < 2; g++) (void)link_map(&l, g, a, X);
    link_fill(&l, 0, X, 0x71, KIB(256));
    struct softgpu_knobs k = {.fail_reset = true};
    softgpu_set_knobs(l.fx->peer[0].gpu, &k);
    uint64_t hang = ref_header(REF_HANG, 1, 0);
    assert_false(client_run_on(&l.c, l.context[1], &hang, 1));
    assert_int_equal(vidmm_device_state(l.c.device), VIDMM_DEVICE_HUNG);
    assert_int_equal(vidmm_adapter_counters(l.fx->ad)->adapter_resets, 1);
    for (uint32_t g = 0; g < 2; g++) {
        assert_int_equal(link_tap(&l, g)->count[TAP_STOP_ALL], 1);
        assert_int_equal(link_tap(&l, g)->count[TAP_RESTART_ALL], 1);
        assert_false(vidmm_gpu_removed(l.fx->ad, g));
    }
    fx_verify(l.fx);
    m = l;
    link_client(&m, &m.c, l.c.process); /* a new device of the same process: its tables are whole */
    struct vidmm_open *b = link_memory(&m, 0, KIB(256));
    for (uint32_t g = 0; g < 2; g++) (void)link_map(&m, g, b, X + MIB(1));
    link_fill(&m, 1, X + MIB(1), 0x72, KIB(256));
    assert_int_equal(link_read(&m, 0, X + MIB(1)), 0x72);
    fx_verify(l.fx);
    fx_close(l.fx);
}

int main(int argc, char **argv)
{
    const struct vt_case cases[] = {
        VT_TEST(each_gpu_is_asked, "ADP-14", NULL),
        VT_TEST(links_that_do_not_fit_are_refused, "LDA-07", NULL),
        VT_TEST(no_physical_node_in_a_link, "", NULL),
        VT_TEST(the_number_of_nodes_is_the_same, "ADP-19", NULL),
        VT_TEST(one_space_for_the_link, "LDA-01 LDA-11 INV-15", "LDA-01"),
        VT_TEST(a_range_lives_as_long_as_any_gpu_shows_it, "LDA-11", NULL),
        VT_TEST(each_gpu_has_tables_of_its_own, "LDA-02 LDA-10", "LDA-02"),
        VT_TEST(self_or_a_peer, "LDA-04 LDA-05", "LDA-04"),
        VT_TEST(a_map_chooses_the_instance, "LDA-03 LDA-06", "LDA-03"),
        VT_TEST(instances_live_together, "LDA-12", NULL),
        VT_TEST(a_move_waits_for_the_flush_of_every_gpu, "INV-05 INV-12", NULL),
        VT_TEST(a_move_waits_for_freed_mappings_too, "INV-05", NULL),
        VT_TEST(residency_is_complete_on_every_gpu, "", NULL),
        VT_TEST(a_root_grows_beside_work_on_another_gpu, "", NULL),
        VT_TEST(a_query_answers_for_each_gpu, "LDA-03", NULL),
        VT_TEST(four_gpus_pass_an_allocation_around, "LDA-05", NULL),
        VT_TEST(each_gpu_updates_tables_in_its_own_way, "LDA-07", NULL),
        VT_TEST(a_fault_on_one_gpu, "", NULL),
        VT_TEST(passing_goes_on_when_one_is_lost, "LDA-04 LDA-05 INV-19", NULL),
        VT_TEST(a_peer_is_lost, "INV-19", NULL),
        VT_TEST(the_first_gpu_is_lost, "INV-19", NULL),
        VT_TEST(the_last_gpu_takes_the_adapter_along, "", NULL),
        VT_TEST(the_whole_adapter_is_removed, "INV-19", NULL),
        VT_TEST(a_reset_is_of_the_whole_link, "", NULL),
    };
    return vt_main(argc, argv, "model_link", cases, VT_COUNT(cases));
}
