/* SPDX-License-Identifier: MIT */
/* test_link_mirror.c - linked adapters: allocations with a copy on every gpu at one place, which move and
 * come back together, whatever happens on one of the gpus. */
#include "link_rig.h"

#define X 0x40000000ull
#define SIZE MIB(1)

/* Memory that has to stay where it is. */
static struct vidmm_open *fixed(struct link *l, uint32_t gpu, uint64_t bytes)
{
    struct vidmm_open *op = client_alloc(&l->c, &(struct fx_alloc){.bytes = bytes, .set = SET_64K,
                                                                   .preferred = 1, .gpu = gpu});
    client_resident(&l->c, op);
    return op;
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
    struct vidmm_open *op = link_mirrored(&l, SIZE);
    assert_int_equal(vidmm_open_bytes(op), SIZE);
    client_resident(&l.c, op);
    map_everywhere(&l, op, X);
    assert_int_equal(link_segment_of(op), 1);
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
    assert_int_equal(link_segment_of(op), 0);
    expect_everywhere(&l, X, 0x21, SIZE); /* system memory is one for all */
    for (uint32_t g = 0; g < 3; g++) tap_clear(link_tap(&l, g));
    assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
    fx_settle(l.fx);
    assert_int_equal(link_segment_of(op), 1);
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
    struct vidmm_open *op = link_mirrored(&l, 2 * SIZE);
    client_resident(&l.c, op);
    map_everywhere(&l, op, X);
    const struct vidmm_segment_counters *s = &vidmm_adapter_counters(l.fx->ad)->segment[1];
    assert_int_equal(s->resident, 3 * 2 * SIZE);
    for (uint32_t g = 0; g < 3; g++) link_fill(&l, g, X, 0x30, 2 * SIZE);
    for (uint32_t press = 0; press < 3; press++) {
        struct vidmm_open *load = fixed(&l, press, MIB(15)); /* of 16 */
        assert_int_equal(link_segment_of(op), 0);
        assert_int_equal(s->resident, MIB(15));
        fx_verify(l.fx);
        expect_everywhere(&l, X, 0x30 + press, 2 * SIZE);
        link_fill(&l, press, X, 0x31 + press, 2 * SIZE);
        for (uint32_t g = 0; g < 3; g++) tap_clear(link_tap(&l, g));
        vidmm_open_close(load, 0);
        fx_settle(l.fx);
        assert_int_equal(link_segment_of(op), 1); /* promoted */
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
    assert_int_equal(link_segment_of(op), 0); /* nobody gives way on GPU 1 */
    expect_everywhere(&l, X, 0x33, 2 * SIZE);
    client_evict(&l.c, load);
    fx_settle(l.fx);
    client_evict(&l.c, op);
    client_resident(&l.c, op); /* what nobody requires goes, on whichever gpu */
    fx_settle(l.fx);
    assert_int_equal(link_segment_of(op), 1);
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
    struct vidmm_open *op = link_mirrored(&l, KIB(64));
    client_resident(&l.c, op);
    map_everywhere(&l, op, X);
    fx_settle(l.fx);
    assert_int_equal(link_segment_of(op), 0);
    assert_int_equal(vidmm_adapter_counters(l.fx->ad)->segment[1].resident, MIB(16));
    expect_one_place(&l, X, KIB(64), 0);
    link_fill(&l, 1, X, 0x44, KIB(64));
    expect_everywhere(&l, X, 0x44, KIB(64));
    fx_verify(l.fx);
    for (uint32_t g = 0; g < 2; g++) tap_clear(link_tap(&l, g));
    vidmm_open_close(above, 0); /* room on GPU 1 only: for both */
    fx_settle(l.fx);
    assert_int_equal(link_segment_of(op), 1);
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
    struct vidmm_open *op = link_mirrored(m, SIZE);
    client_resident(&m->c, op);
    for (uint32_t g = 1; g < 3; g++) {
        assert_int_equal(link_map(m, g, op, X), X);
        link_fill(m, g, X, 0x50, SIZE);
    }
    assert_int_equal(link_segment_of(op), 1);
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
        assert_int_equal(link_segment_of(op), moves == 0 ? 1 : 0);
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
        assert_int_equal(link_segment_of(op), 1);
        expect_on_the_last_two(&m, 0x51);
        (void)fixed(&m, 2, MIB(16) - KIB(512)); /* pushes it out there */
        assert_int_equal(link_segment_of(op), 0);
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
    struct vidmm_open *op = link_mirrored(&l, SIZE);
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
    op = link_mirrored(&l, MIB(15)); /* of 16 */
    client_resident(&l.c, op);
    map_everywhere(&l, op, X + GIB(1));
    assert_int_equal(link_segment_of(op), 1);
    expect_one_place(&l, X + GIB(1), MIB(15), 1);
    for (uint32_t g = 0; g < 2; g++) link_fill(&l, g, X + GIB(1), 0x60, MIB(15));
    expect_everywhere(&l, X + GIB(1), 0x60, MIB(15));
    fx_verify(l.fx);
    fx_close(l.fx);
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
    };
    return vt_main(argc, argv, "model_link_mirror", cases, VT_COUNT(cases));
}
