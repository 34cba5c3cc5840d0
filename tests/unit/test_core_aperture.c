/* SPDX-License-Identifier: MIT */
/* test_core_aperture.c - where allocations that are accessed physically are, how long, and that verify sees
 * it when they are not. */
#include "core/core.h"

#include "physical_rig.h"

/* ---- the aperture -------------------------------------------------------------------------------- */

static const struct event *op_after(const struct fx *f, enum vidmm_op_code code)
{
    uint32_t at = 0;
    return fx_next_op(f, code, &at);
}

/* Contiguous where it is: one extent, or one range of the aperture, which moves no byte. */
static void contiguous_or_in_the_aperture(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, 3 * MIB, SYS), *n = fx_alloc(r.f.d, 3 * MIB, SYS, 0);
    fx_forget(&r.f);
    fx_resident(r.f.q, n);
    fx_run(&r.f);
    assert_int_equal(fx_count_ops(&r.f, VIDMM_OP_MAP_APERTURE_SEGMENT), 0); /* SEG-17 */
    fx_resident(r.f.q, a);
    fx_run(&r.f);
    assert_int_equal(fx_count_ops(&r.f, VIDMM_OP_MAP_APERTURE_SEGMENT), 1);
    assert_int_equal(fx_count_ops(&r.f, VIDMM_OP_VIRTUAL_TRANSFER), 0); /* SEG-18 */
    assert_int_equal(fx_count_ops(&r.f, VIDMM_OP_VIRTUAL_FILL), 0);
    const struct event *map = op_after(&r.f, VIDMM_OP_MAP_APERTURE_SEGMENT);
    struct softgpu *gpu = ref_gpu(r.f.ref);
    assert_int_equal(map->op.aperture.pages, 3 * MIB / PAGE);
    assert_int_equal(map->op.aperture.segment, 3);
    assert_false(map->op.aperture.cache_coherent);
    for (uint64_t i = 0; i < 3 * MIB / PAGE; i += 100)
        assert_int_equal(softgpu_aperture_frame(gpu, map->op.aperture.offset_page + i),
                         map->op.aperture.frame + i);
    uint64_t page = map->op.aperture.offset_page;
    rig_fill(&r, a, 2 * (uint32_t)MIB, 0x44444444, 64);
    fx_run(&r.f);
    assert_int_equal(rig_word(&r, a, 2 * MIB), 0x4444444444444444ull);
    assert_int_equal(r.f.count.aperture_bytes, 3 * MIB);
    vidmm_open_close(a, 0);
    fx_run(&r.f);
    const struct event *unmap = op_after(&r.f, VIDMM_OP_UNMAP_APERTURE_SEGMENT);
    assert_non_null(unmap);
    assert_int_equal(unmap->op.aperture.offset_page, page);
    for (uint64_t i = 0; i < 3 * MIB / PAGE; i++) /* SEG-20 */
        assert_int_equal(softgpu_aperture_frame(gpu, page + i), unmap->op.aperture.frame);
    assert_true(unmap->op.aperture.frame != map->op.aperture.frame);
    assert_int_equal(r.f.count.aperture_bytes, 0);
    fx_close(&r.f);
}

static void coherent(struct vidmm_adapter_info *i) { i->segment[2].flags |= VIDMM_SEGMENT_CACHE_COHERENT; }

/* Coherency is asked for where it is needed and possible, and nowhere else. */
static void cache_coherent_maps(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct rig r;
        struct vidmm_open *op = NULL;
        rig_init(&r);
        if (i & 1) r.f.hooks.info = coherent;
        rig_open(&r);
        uint32_t flags = i & 2 ? VIDMM_ALLOCATION_CACHED | VIDMM_ALLOCATION_CPU_VISIBLE : 0;
        assert_int_equal(rig_try_alloc(r.f.d, MIB, SYS, flags, &op), VIDMM_OK);
        fx_resident(r.f.q, op);
        fx_run(&r.f);
        const struct event *map = op_after(&r.f, VIDMM_OP_MAP_APERTURE_SEGMENT);
        assert_non_null(map);
        assert_int_equal(map->op.aperture.cache_coherent, i == 3);
        fx_close(&r.f);
    }
}

/* Memory in pieces is of no use to a physical engine: then it is the aperture, although enough is free. */
static void fragmented_memory_means_aperture(void **state)
{
    struct rig r;
    struct vidmm_open *small[15];
    (void)state;
    rig_start(&r);
    for (uint32_t i = 0; i < 15; i++) {
        small[i] = fx_alloc(r.f.d, MIB, SEG1, 1);
        fx_resident(r.f.q, small[i]);
        fx_run(&r.f);
    }
    for (uint32_t i = 0; i < 15; i += 2) vidmm_open_close(small[i], 0);
    fx_run(&r.f);
    struct vidmm_open *one = rig_alloc(r.f.d, MIB, SEG1 | SYS), *two = rig_alloc(r.f.d, 3 * MIB, SEG1 | SYS);
    fx_resident(r.f.q, one);
    fx_resident(r.f.q, two);
    fx_run(&r.f);
    assert_int_equal(fx_place(one).segment, 1);
    assert_int_equal(fx_place(two).segment, 0);
    assert_int_equal(fx_place(two).aperture, 3);
    rig_fill(&r, two, 0, 0x55555555, 64);
    fx_run(&r.f);
    for (uint32_t i = 1; i < 15; i += 2) vidmm_open_close(small[i], 0); /* now there is a run */
    fx_run(&r.f);
    assert_int_equal(fx_place(two).segment, 1);
    assert_int_equal(fx_place(two).aperture, 0);
    assert_int_equal(rig_word(&r, two, 0), 0x5555555555555555ull);
    fx_close(&r.f);
}

static void small_aperture(struct rig *r, uint64_t bytes)
{
    rig_init(r);
    r->f.opt.segment[2].bytes = bytes;
    rig_open(r);
}

/* A device may not require more than the aperture can map; two devices take turns in it. */
static void the_aperture_is_shared_in_turns(void **state)
{
    struct rig r;
    uint64_t value, trim;
    (void)state;
    small_aperture(&r, 4 * MIB);
    struct peer other = fx_peer(r.f.p);
    struct vidmm_context *theirs = rig_context(other.d);
    struct vidmm_open *mine = rig_alloc(r.f.d, 3 * MIB, SYS), *more = rig_alloc(r.f.d, 2 * MIB, SYS);
    struct vidmm_open *yours = rig_alloc(other.d, 3 * MIB, SYS), *never = NULL;
    assert_int_equal(rig_try_alloc(r.f.d, 5 * MIB, SYS, 0, &never), VIDMM_NO_VIDEO_MEMORY);
    assert_int_equal(rig_try_alloc(r.f.d, MIB, SEG1, 0, &never), VIDMM_INVALID); /* no way out */
    fx_resident(r.f.q, mine);
    uint64_t before = vidmm_state_hash(r.f.ad);
    assert_int_equal(vidmm_make_resident(r.f.q, &more, 1, VIDMM_RESIDENT_CANT_TRIM_FURTHER, &value, &trim),
                     VIDMM_NO_MEMORY);
    assert_int_equal(vidmm_state_hash(r.f.ad), before);
    fx_resident(other.q, yours);
    for (uint32_t i = 1; i <= 10; i++) {
        rig_fill(&r, mine, 0, i, 64);
        rig_put_fill(&r.b, rig_use(&r.b, yours, true), 0, 100 + i, 64);
        assert_int_equal(rig_render(theirs, &r.b), VIDMM_OK);
        fx_run(&r.f);
        assert_int_equal(vidmm_context_pending(r.phys), 0);
        assert_int_equal(vidmm_context_pending(theirs), 0);
        assert_true(r.f.count.aperture_bytes <= 4 * MIB); /* SEG-19 */
    }
    assert_int_equal(rig_word(&r, mine, 0), 10ull << 32 | 10);
    assert_int_equal(rig_word(&r, yours, 0), 110ull << 32 | 110);
    vidmm_device_destroy(other.d);
    fx_close(&r.f);
}

/* Gaps between a device's own ranges are closed when they are what keeps it from running. */
static void own_gaps_are_closed(void **state)
{
    struct rig r;
    struct vidmm_open *op[4];
    (void)state;
    small_aperture(&r, 4 * MIB);
    for (uint32_t i = 0; i < 4; i++) {
        op[i] = rig_alloc(r.f.d, MIB, SYS);
        fx_resident(r.f.q, op[i]);
        fx_run(&r.f);
        rig_fill(&r, op[i], 0, i + 1, 64);
        fx_run(&r.f);
    }
    struct vidmm_open *large = rig_alloc(r.f.d, 2 * MIB, SYS);
    fx_evict(r.f.d, op[0], 0);
    fx_evict(r.f.d, op[2], 0);
    vidmm_open_close(op[0], 0);
    vidmm_open_close(op[2], 0);
    fx_run(&r.f); /* |gap|1|gap|3| */
    fx_resident(r.f.q, large);
    rig_fill(&r, large, 0, 9, 64);
    fx_run(&r.f);
    assert_int_equal(vidmm_context_pending(r.phys), 0);
    assert_true(fx_place(large).resident && fx_place(op[1]).resident && fx_place(op[3]).resident);
    assert_int_equal(rig_word(&r, large, 0), 9ull << 32 | 9);
    assert_int_equal(rig_word(&r, op[1], 0), 2ull << 32 | 2);
    assert_int_equal(rig_word(&r, op[3], 0), 4ull << 32 | 4);
    fx_close(&r.f);
}

/* Under pressure a physical allocation leaves its segment for the aperture, stays resident and keeps its
 * bytes; virtual addresses of it follow as for any other. */
static void pressure_moves_it_to_the_aperture(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, 8 * MIB, SEG1 | SYS), *must = fx_alloc(r.f.d, 10 * MIB, SEG1, 1);
    uint64_t va = fx_map_all(r.f.q, a);
    fx_resident(r.f.q, a);
    rig_fill(&r, a, 4096, 0x66666666, 64);
    fx_run(&r.f);
    assert_int_equal(fx_place(a).segment, 1);
    fx_resident(r.f.q, must);
    fx_run(&r.f);
    assert_int_equal(fx_place(must).segment, 1);
    assert_true(fx_place(a).resident);
    assert_int_equal(fx_place(a).aperture, 3);
    assert_int_equal(fx_gpu_read(&r.f, va + 4096), 0x6666666666666666ull);
    rig_fill(&r, a, 4096, 0x77777777, 64);
    fx_run(&r.f);
    assert_int_equal(fx_gpu_read(&r.f, va + 4096), 0x7777777777777777ull);
    fx_close(&r.f);
}

/* ---- life ---------------------------------------------------------------------------------------- */

/* Lists hold what they name, even when the client says that nobody uses it. */
static void lists_hold_their_allocations(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SYS);
    fx_resident(r.f.q, a);
    fx_run(&r.f);
    struct vidmm_fence *g = rig_gate(&r);
    rig_fill(&r, a, 0, 1, 64);
    rig_fill(&r, a, 0, 2, 64);
    fx_run(&r.f);
    fx_forget(&r.f);
    vidmm_open_close(a, VIDMM_DESTROY_ASSUME_NOT_IN_USE);
    fx_run(&r.f);
    assert_int_equal(fx_count(&r.f, EV_DESTROY_ALLOC), 0);
    rig_gate_open(g);
    fx_run(&r.f);
    assert_int_equal(fx_count(&r.f, EV_DESTROY_ALLOC), 1);
    fx_close(&r.f);
}

/* Nothing is left in the aperture, the driver was told, and a new device can use all of it. */
static void after_a_reset(struct rig *r)
{
    assert_int_equal(vidmm_device_state(r->f.d), VIDMM_DEVICE_RESET);
    assert_int_equal(r->f.count.aperture_bytes, 0);
    uint32_t at = 0, told = 0;
    for (const struct event *e; (e = fx_next(&r->f, EV_BUILD, &at)) != NULL;)
        told += e->op.code == VIDMM_OP_UNMAP_APERTURE_SEGMENT;
    assert_true(told > 0);
    rig_hang(r, false);
    fx_run(&r->f);
    struct peer fresh = fx_peer(r->f.p);
    struct vidmm_context *c = rig_context(fresh.d);
    struct vidmm_open *op = rig_alloc(fresh.d, MIB, SYS);
    fx_resident(fresh.q, op);
    rig_put_fill(&r->b, rig_use(&r->b, op, true), 0, 5, 64);
    assert_int_equal(rig_render(c, &r->b), VIDMM_OK);
    fx_run(&r->f);
    assert_int_equal(rig_word(r, op, 0), 5ull << 32 | 5);
    vidmm_device_destroy(fresh.d);
}

/* Devices and adapters end in the middle of it all. */
static void ends_with_packets_under_way(void **state)
{
    (void)state;
    for (int lose = 0; lose < 3; lose++) {
        struct rig r;
        rig_start(&r);
        struct vidmm_open *a = rig_alloc(r.f.d, MIB, SEG1 | SYS), *b = rig_alloc(r.f.d, MIB, SYS);
        fx_resident(r.f.q, a);
        fx_resident(r.f.q, b);
        fx_run(&r.f);
        struct vidmm_fence *g = NULL;
        rig_hang(&r, true);
        rig_fill(&r, a, 0, 1, 64);
        g = rig_gate(&r);
        rig_fill(&r, b, 0, 1, 64);
        fx_run_core(&r.f);
        if (lose == 1) {
            r.f.hooks.fail_submit = VIDMM_FAILED;
            fx_fill(&r.f, r.f.c, r.f.cmd_va + 128 * KIB, 1, 64);
            fx_run_core(&r.f);
            assert_int_equal(vidmm_device_state(r.f.d), VIDMM_DEVICE_RESET);
        }
        if (lose == 2) vmm_adapter_reset(r.f.ad, NULL, VIDMM_DEVICE_RESET, NULL);
        if (lose == 2) after_a_reset(&r);
        (void)g;
        rig_hang(&r, false);
        fx_close(&r.f);
    }
}

/* ---- invariant 13 -------------------------------------------------------------------------------- */

static void objects(struct rig *r, int number)
{
    const char *what = NULL;
    int got = vidmm_verify(r->f.ad, &what);
    if (got != number) fail_msg("verify says %d (%s), not %d", got, what != NULL ? what : "nothing", number);
}

/* A checker that never objects proves nothing: each thing it looks at is put wrong once. */
static void physical_places_are_verified(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SEG1 | SYS), *b = rig_alloc(r.f.d, MIB, SYS);
    fx_resident(r.f.q, a);
    fx_resident(r.f.q, b);
    fx_run(&r.f);
    rig_hang(&r, true);
    rig_fill(&r, a, 0, 1, 64);
    fx_run_core(&r.f);
    struct list *running = list_first(&r.f.ad->node[REF_NODE_PHYSICAL].running);
    struct vmm_packet *p = list_entry(running, struct vmm_packet, link);
    p->dma->list[0].address += PAGE; /* a packet that runs with an old address */
    objects(&r, 13);
    p->dma->list[0].address -= PAGE;
    a->refs++;
    objects(&r, 13);
    a->refs -= 2; /* nobody holds what it names */
    objects(&r, 13);
    a->refs++;
    struct vmm_alloc *al = b->al;
    uint32_t n = al->aperture_count;
    al->aperture_count = 0; /* resident at home without a range */
    objects(&r, 13);
    al->aperture_count--; /* a range that does not cover it */
    objects(&r, 13);
    al->aperture_count = n;
    a->al->ext_count = 2; /* in two pieces */
    a->al->ext[1] = (struct extent){0, 0};
    objects(&r, 13);
    a->al->ext_count = 1;
    r.f.d->aperture_pages++; /* admission counts something else than the list */
    objects(&r, 9);
    r.f.d->aperture_pages--;
    objects(&r, 0);
    rig_hang(&r, false);
    fx_close(&r.f);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(contiguous_or_in_the_aperture, "SEG-15 SEG-17 SEG-18 SEG-20", NULL),
        VT_TEST(cache_coherent_maps, "SEG-21", NULL),
        VT_TEST(fragmented_memory_means_aperture, "SEG-15", NULL),
        VT_TEST(the_aperture_is_shared_in_turns, "SEG-19 SEG-15", NULL),
        VT_TEST(own_gaps_are_closed, "SEG-15", NULL),
        VT_TEST(pressure_moves_it_to_the_aperture, "SEG-15 PHY-02", NULL),
        VT_TEST(lists_hold_their_allocations, "PHY-10", NULL),
        VT_TEST(ends_with_packets_under_way, "FLT-19", NULL),
        VT_TEST(physical_places_are_verified, "INV-13 INV-09", NULL),
    };
    return vt_main(argc, argv, "core_aperture", cases, VT_COUNT(cases));
}
