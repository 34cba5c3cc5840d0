/* SPDX-License-Identifier: MIT */
/* test_core_domain.c - behind an IOMMU domain: physical engines and the aperture, what drivers and firmware
 * have of system memory, and what is asked of a driver for it. */
#include "core/core.h"

#include <string.h>

#include "physical_rig.h"
#include "sim/domain.h"

enum { FRAMES = 1 << 20, FIRMWARE = FRAMES, FIRMWARE_PAGES = 64 * 1024 };

static struct sim_domain *domain_for(struct fx *f, bool remaps)
{
    struct sim_domain_options o = {.remaps = remaps, .pages = FRAMES + FIRMWARE_PAGES, .firmware = FIRMWARE,
                                   .firmware_end = FRAMES + FIRMWARE_PAGES};
    struct sim_domain *d = sim_domain_create(&o);
    assert_non_null(d);
    f->domain = sim_domain_face(d);
    f->opt.secure = true;
    return d;
}

static struct sim_domain_accounts accounts(struct sim_domain *d)
{
    struct sim_domain_accounts a;
    sim_domain_get_accounts(d, &a);
    return a;
}

/* After fx_close: nothing is left, and nothing went wrong but what the case wanted. */
static void domain_end(struct sim_domain *d, uint64_t faults)
{
    struct sim_domain_accounts a = accounts(d);
    sim_domain_destroy(d);
    assert_int_equal(a.errors, 0);
    assert_int_equal(a.mapped, 0);
    assert_int_equal(a.reserved, 0);
    assert_int_equal(a.faults, faults);
}

static uint64_t shown(const struct fx *f, uint64_t page)
{
    return f->domain->mapped(f->domain->ctx, page, 1);
}

/* ---- the aperture ---------------------------------------------------------------------------------- */

/* What aperture operations said, and how the driver was given it. */
static struct { uint32_t old_ones, lists; struct vidmm_adl adl; void *cpu; bool as_array; } seen;

static vidmm_status (*ref_build)(void *kmd, struct vidmm_paging_buffer *, const struct vidmm_op *,
                                 uint64_t *);

/* With as_array, the driver gets the same pages one by one, as it must be able to take them. */
static vidmm_status note_build(void *kmd, struct vidmm_paging_buffer *b, const struct vidmm_op *op,
                               uint64_t *multipass)
{
    static uint64_t pages[2048];
    struct vidmm_op other = *op;
    struct vidmm_adl list = {.pages = pages};
    seen.old_ones += op->code == VIDMM_OP_MAP_APERTURE_SEGMENT;
    if (op->code != VIDMM_OP_MAP_APERTURE_SEGMENT2) return ref_build(kmd, b, op, multipass);
    seen.lists++;
    seen.adl = *op->aperture.adl;
    seen.cpu = op->aperture.cpu_visible;
    assert_int_equal(op->aperture.frame, 0);
    if (!seen.as_array) return ref_build(kmd, b, op, multipass);
    list.page_count = op->aperture.adl->page_count;
    assert_true(list.page_count <= 2048);
    for (uint64_t i = 0; i < list.page_count; i++) pages[i] = op->aperture.adl->base_page + i;
    other.aperture.adl = &list;
    return ref_build(kmd, b, &other, multipass);
}

static void hook_build(struct vidmm_kmd_ops *o)
{
    ref_build = o->build_paging_buffer;
    o->build_paging_buffer = note_build;
}

/* Operation 17 where the driver knows it, 5 where it does not; physical engines, DMA buffers and the aperture
 * behind a domain that remaps. */
static void the_aperture_is_mapped_by_lists_of_logical_pages(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct rig r;
        bool newer = i > 1, remaps = i % 2 == 1;
        memset(&seen, 0, sizeof seen);
        seen.as_array = i > 3;
        rig_init(&r);
        struct sim_domain *d = domain_for(&r.f, remaps);
        r.f.opt.map_aperture2 = newer;
        r.f.hooks.ops = hook_build;
        rig_open(&r);
        struct vidmm_open *a = rig_alloc(r.f.d, 3 * MIB, SYS), *b;
        uint32_t flags = VIDMM_ALLOCATION_MAP_APERTURE_CPU_VISIBLE;
        assert_int_equal(rig_try_alloc(r.f.d, MIB, SYS, flags, &b), VIDMM_OK);
        uint64_t home = fx_place(a).offset / PAGE, home_b = fx_place(b).offset / PAGE;
        assert_int_equal(sim_domain_find(d, home), 0); /* not resident: not reached */
        fx_resident(r.f.q, a);
        fx_run(&r.f);
        assert_int_equal(seen.lists, newer);
        assert_int_equal(seen.old_ones, !newer);
        uint64_t page = sim_domain_find(d, home);
        assert_int_equal(page != home, remaps);
        uint64_t at = fx_place(a).aperture_offset / PAGE;
        assert_int_equal(softgpu_aperture_frame(ref_gpu(r.f.ref), at + 7), page + 7);
        if (newer) {
            assert_true(seen.adl.contiguous);
            assert_int_equal(seen.adl.page_count, 3 * MIB / PAGE);
            assert_int_equal(seen.adl.base_page, page);
            assert_null(seen.cpu); /* it did not ask for it */
        }
        rig_fill(&r, a, 2 * (uint32_t)MIB, 0x44444444, 64);
        fx_run(&r.f);
        const struct event *submit = rig_last(&r.f, EV_SUBMIT_PHYSICAL);
        assert_int_equal(shown(&r.f, submit->frame) != submit->frame, remaps);
        assert_int_equal(rig_word(&r, a, 2 * MIB), 0x4444444444444444ull);
        fx_resident(r.f.q, b);
        fx_run(&r.f);
        if (newer) { /* the CPU writes where it was told, the engine reads it there */
            assert_ptr_equal(seen.cpu, r.f.world.frame[home_b]);
            memset((uint8_t *)seen.cpu + PAGE, 0x66, 64);
            rig_put_copy(&r.b, rig_use(&r.b, a, true), 0, rig_use(&r.b, b, false), PAGE, 64);
            assert_int_equal(rig_render(r.phys, &r.b), VIDMM_OK);
            fx_run(&r.f);
            assert_int_equal(rig_word(&r, a, 0), 0x6666666666666666ull);
        }
        vidmm_open_close(a, 0);
        fx_run(&r.f);
        assert_int_equal(sim_domain_find(d, home), 0);
        uint64_t dummy = softgpu_aperture_frame(ref_gpu(r.f.ref), at + 7); /* what is shown there now */
        assert_int_equal(shown(&r.f, dummy) != dummy, remaps);
        assert_true(shown(&r.f, dummy) != 0);
        fx_close(&r.f);
        domain_end(d, 0);
    }
}

/* ---- memory of drivers ------------------------------------------------------------------------------- */

/* One base, or page by page; reached from the call on, by attached domains or later. */
static void driver_memory_is_mapped_while_it_exists(void **state)
{
    (void)state;
    for (int remaps = 0; remaps < 2; remaps++) {
        struct fx f;
        struct vidmm_driver_memory one, list, left;
        fx_init(&f, REF_FORMAT_A);
        struct sim_domain *d = domain_for(&f, remaps);
        fx_start(&f);
        uint64_t before = accounts(d).mapped, frames = f.world.live_frames;
        assert_int_equal(vidmm_driver_memory_allocate(f.ad, 16, true, &one), VIDMM_OK);
        assert_int_equal(vidmm_driver_memory_allocate(f.ad, 9, false, &list), VIDMM_OK);
        assert_int_equal(vidmm_driver_memory_allocate(f.ad, 1, false, &left), VIDMM_OK);
        assert_int_equal(accounts(d).mapped, before + 16 + 9 + 1);
        assert_true(one.adl.contiguous && left.adl.contiguous && !list.adl.contiguous);
        assert_int_equal(one.adl.page_count, 16);
        assert_int_equal(list.adl.page_count, 9);
        for (uint64_t i = 0; i < 16; i++) {
            uint64_t frame = shown(&f, one.adl.base_page + i);
            assert_int_equal(frame == one.adl.base_page + i, !remaps);
            assert_ptr_equal(one.cpu[i], f.world.frame[frame]);
        }
        for (uint64_t i = 0; i < 9; i++)
            assert_ptr_equal(list.cpu[i], f.world.frame[shown(&f, list.adl.pages[i])]);
        if (!remaps) {
            assert_int_equal(vidmm_domain_attach(f.ad), VIDMM_PENDING);
            fx_run(&f);
            assert_true(vidmm_domain_attached(f.ad));
            uint64_t last = one.adl.base_page + 15;
            assert_int_equal(f.domain->translate(f.domain->ctx, last), last);
        }
        vidmm_driver_memory_free(f.ad, one.handle);
        assert_int_equal(shown(&f, one.adl.base_page), 0);
        vidmm_driver_memory_free(f.ad, list.handle);
        assert_int_equal(accounts(d).mapped, before + 1);
        assert_int_equal(f.world.live_frames, frames + 1);
        fx_run(&f); /* and invariant 27 holds with what is left, which ends with the adapter */
        fx_close(&f);
        domain_end(d, 0);
    }
}

static void driver_memory_is_all_or_nothing(void **state)
{
    struct fx f;
    struct vidmm_driver_memory m;
    (void)state;
    fx_init(&f, REF_FORMAT_A);
    struct sim_domain *d = domain_for(&f, true);
    fx_start(&f);
    uint64_t hash = vidmm_state_hash(f.ad), mapped = accounts(d).mapped, frames = f.world.live_frames;
    assert_int_equal(vidmm_driver_memory_allocate(f.ad, 0, true, &m), VIDMM_INVALID);
    assert_int_equal(vidmm_driver_memory_allocate(f.ad, VIDMM_DRIVER_PAGES_MAX + 1, true, &m), VIDMM_INVALID);
    f.ad->sealed = true; /* from an operation that vidmm_run calls */
    assert_int_equal(vidmm_driver_memory_allocate(f.ad, 1, true, &m), VIDMM_BUSY);
    f.ad->sealed = false;
    for (uint64_t k = 1; k <= 5; k++) {
        if (k <= 3) sim_domain_fail(d, k);
        else f.world.fail_in = k - 3;
        assert_int_equal(vidmm_driver_memory_allocate(f.ad, 5, false, &m), VIDMM_NO_MEMORY);
        assert_int_equal(accounts(d).mapped, mapped);
        assert_int_equal(f.world.live_frames, frames);
        assert_int_equal(vidmm_state_hash(f.ad), hash);
    }
    fx_close(&f);
    domain_end(d, 0);
}

/* ---- attaching ---------------------------------------------------------------------------------------- */

/* A packet that waits for others would keep the domain off for ever: after a slice it is asked to stop. */
static void work_that_waits_is_asked_to_stop(void **state)
{
    struct fx f;
    struct vidmm_fence *gate;
    (void)state;
    fx_init(&f, REF_FORMAT_A);
    struct sim_domain *d = domain_for(&f, false);
    f.tdr.slice_ns = 30000000;
    fx_start(&f);
    assert_int_equal(vidmm_fence_create(f.d, 0, 0, &gate), VIDMM_OK);
    fx_wait_packet(&f, f.c, vidmm_fence_gpu_address(gate), 1);
    fx_run(&f);
    assert_int_equal(vidmm_domain_attach(f.ad), VIDMM_PENDING);
    fx_run(&f);
    f.now += f.tdr.slice_ns - 1;
    fx_run(&f);
    assert_false(vidmm_domain_attached(f.ad));
    assert_int_equal(fx_count(&f, EV_PREEMPT), 0);
    f.now++;
    fx_run(&f);
    assert_int_equal(fx_count(&f, EV_PREEMPT), 1);
    assert_true(vidmm_domain_attached(f.ad));
    assert_int_equal(vidmm_context_pending(f.c), 1); /* it goes on where it stopped */
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&f);
    assert_int_equal(vidmm_context_pending(f.c), 0);
    assert_int_equal(vidmm_device_state(f.d), VIDMM_DEVICE_ACTIVE);
    fx_close(&f);
    domain_end(d, 0);
}

/* ---- what firmware set aside ------------------------------------------------------------------------ */

static struct {
    struct vidmm_frame_range range[3];
    uint32_t count, answered, asked_count, asked_list;
    uint64_t save;
    uint32_t asked_save, started; /* start_device calls when the save size was asked for, + 1 */
} firm;

static vidmm_status reserved_ranges(void *kmd, struct vidmm_frame_range *list, uint32_t *count)
{
    (void)kmd;
    if (list == NULL) {
        firm.asked_count++;
        *count = firm.count;
        return VIDMM_OK;
    }
    assert_int_equal(firm.asked_count, 1); /* first how many, with room for so many */
    assert_int_equal(*count, firm.count);
    firm.asked_list++;
    memcpy(list, firm.range, firm.count * sizeof *list);
    *count = firm.answered;
    return VIDMM_OK;
}

static void firmware_ops(struct vidmm_kmd_ops *o) { o->query_reserved_ranges = reserved_ranges; }

static void reserved_ranges_are_mapped_or_refused(void **state)
{
    struct fx f;
    const char *why = NULL;
    (void)state;
    struct { uint64_t frame, pages; uint32_t answered; bool ok; } c[] = {
        {FIRMWARE, 16, 2, true}, {FIRMWARE + 8, 1, 2, true},
        {FRAMES - 1, 2, 2, false},    /* its first page is memory of the operating system */
        {1000, 1, 2, false},
        {FIRMWARE, 0, 2, false},
        {FIRMWARE + 100, 2, 2, false}, /* overlaps the other one */
        {FIRMWARE, 16, 1, false}};    /* says two, gives one */
    for (uint32_t i = 0; i < sizeof c / sizeof c[0]; i++) {
        memset(&firm, 0, sizeof firm);
        firm.count = 2;
        firm.answered = c[i].answered;
        firm.range[0] = (struct vidmm_frame_range){c[i].frame, c[i].pages};
        firm.range[1] = (struct vidmm_frame_range){FIRMWARE + 101, 3};
        fx_init(&f, REF_FORMAT_A);
        struct sim_domain *d = domain_for(&f, i % 2 == 0);
        f.hooks.ops = firmware_ops;
        assert_int_equal(fx_start_adapter(&f, &why), c[i].ok ? VIDMM_OK : VIDMM_INVALID);
        assert_int_equal(firm.asked_count, 1);
        assert_int_equal(firm.asked_list, 1);
        if (c[i].ok) {
            for (uint64_t k = 0; k < c[i].pages; k++)
                assert_int_equal(shown(&f, c[i].frame + k), c[i].frame + k);
            assert_int_equal(shown(&f, FIRMWARE + 103), FIRMWARE + 103);
            assert_int_equal(shown(&f, FIRMWARE + 104), 0);
            fx_run(&f);
        } else {
            assert_non_null(strstr(why, "reserved"));
            assert_int_equal(accounts(d).mapped, 0);
        }
        fx_close(&f);
        domain_end(d, 0);
    }
}

/* A segment that is system memory: VidMm maps it, and without that the GPU would not get there. */
static void segments_of_system_memory_are_mapped(void **state)
{
    (void)state;
    for (int broken = 0; broken < 2; broken++) {
        struct fx f;
        fx_init(&f, REF_FORMAT_A);
        struct sim_domain *d = domain_for(&f, true);
        f.opt.segment[0].system_frame = FIRMWARE + 512;
        fx_start(&f);
        uint64_t pages = 16 * MIB / PAGE;
        assert_int_equal(f.domain->mapped(f.domain->ctx, FIRMWARE + 512, pages), FIRMWARE + 512);
        assert_int_equal(shown(&f, FIRMWARE + 511), 0);
        assert_int_equal(shown(&f, FIRMWARE + 512 + pages), 0);
        struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1, 1);
        uint64_t va = fx_map_all(f.q, op);
        fx_resident(f.q, op);
        fx_run(&f);
        if (broken) f.domain->unmap(f.domain->ctx, FIRMWARE + 512, pages);
        f.no_verify = broken;
        fx_fill(&f, f.c, va, 0x31, MIB);
        fx_run(&f);
        assert_int_equal(vidmm_device_state(f.d), broken ? VIDMM_DEVICE_PAGE_FAULT : VIDMM_DEVICE_ACTIVE);
        if (broken) f.domain->map(f.domain->ctx, FIRMWARE + 512, pages, FIRMWARE + 512);
        else assert_int_equal(fx_gpu_read(&f, va), 0x3100000031ull);
        uint64_t faults = accounts(d).faults;
        assert_int_equal(faults != 0, broken);
        fx_close(&f);
        domain_end(d, faults);
    }
}

/* ---- saving the frame buffer ------------------------------------------------------------------------ */

static uint64_t save_size(void *kmd)
{
    assert_null(((struct fx *)kmd)->ad);
    firm.asked_save++;
    assert_int_equal(firm.started, 0);
    return firm.save;
}

static vidmm_status (*ref_start)(void *kmd, struct vidmm_adapter *, const struct vidmm_platform *);

static vidmm_status note_start(void *kmd, struct vidmm_adapter *ad, const struct vidmm_platform *pl)
{
    firm.started++;
    return ref_start(kmd, ad, pl);
}

static void save_ops(struct vidmm_kmd_ops *o)
{
    ref_start = o->start_device;
    o->start_device = note_start;
    o->query_framebuffer_save_size = save_size;
}

static uint64_t frames_with(uint64_t save, bool secure, vidmm_status expected)
{
    struct fx f;
    const char *why = NULL;
    memset(&firm, 0, sizeof firm);
    firm.save = save;
    fx_init(&f, REF_FORMAT_A);
    f.opt.secure = secure;
    f.hooks.ops = save_ops;
    assert_int_equal(fx_start_adapter(&f, &why), expected);
    if (expected != VIDMM_OK) assert_non_null(strstr(why, "save"));
    assert_int_equal(firm.asked_save, secure);
    uint64_t frames = f.world.live_frames;
    fx_close(&f);
    return frames;
}

/* Asked for before the start, and paid for then: the memory is there, and is given back at the end. */
static void saving_the_frame_buffer_is_paid_for_at_bring_up(void **state)
{
    (void)state;
    uint64_t none = frames_with(0, true, VIDMM_OK);
    assert_int_equal(frames_with(24 * MIB, true, VIDMM_OK), none + 24 * MIB / PAGE);
    assert_int_equal(frames_with(24 * MIB, false, VIDMM_OK), none); /* who cannot be isolated is not asked */
    assert_int_equal(frames_with(24 * MIB + 512, true, VIDMM_INVALID), 0);
    assert_int_equal(frames_with(FRAMES * PAGE, true, VIDMM_NO_MEMORY), 0);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(the_aperture_is_mapped_by_lists_of_logical_pages, "IOM-22 IOM-21 IOM-17", NULL),
        VT_TEST(driver_memory_is_mapped_while_it_exists, "IOM-19 IOM-16 IOM-21", NULL),
        VT_TEST(driver_memory_is_all_or_nothing, "IOM-19", NULL),
        VT_TEST(work_that_waits_is_asked_to_stop, "IOM-18", NULL),
        VT_TEST(reserved_ranges_are_mapped_or_refused, "IOM-19", NULL),
        VT_TEST(segments_of_system_memory_are_mapped, "IOM-19 IOM-17", NULL),
        VT_TEST(saving_the_frame_buffer_is_paid_for_at_bring_up, "IOM-20", NULL),
    };
    return vt_main(argc, argv, "core_domain", cases, VT_COUNT(cases));
}
