/* SPDX-License-Identifier: MIT */
/* test_core_physical.c - physical contexts beside virtual ones: what the driver is asked to render, patch and
 * submit, and what is refused. */
#include <string.h>
#include <sys/mman.h>

#include "core/core.h"

#include "physical_rig.h"

/* ---- addresses ----------------------------------------------------------------------------------- */

/* A buffer that kept the address of its submission would write into memory that is somebody else's by now. */
static void the_engine_sees_where_it_is_now(void **state)
{
    struct rig r;
    void *cpu;
    (void)state;
    rig_start(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SEG1 | SYS);
    fx_resident(r.f.q, a);
    fx_run(&r.f);
    assert_int_equal(fx_place(a).segment, 1);
    uint64_t x = rig_address(&r, a);
    struct vidmm_fence *g = rig_gate(&r);
    fx_forget(&r.f);
    rig_fill(&r, a, 0x40, 0x11111111, 64);
    fx_run(&r.f);
    const struct event *made = rig_last(&r.f, EV_RENDER);
    assert_int_equal(made->first.segment, 1); /* where it is when the buffer is made */
    assert_int_equal(fx_count(&r.f, EV_PATCH), 0);
    assert_int_equal(vidmm_open_lock(a, &cpu), VIDMM_PENDING); /* the bytes leave the segment */
    fx_run(&r.f);
    uint64_t y = rig_address(&r, a);
    assert_true(y != x);
    assert_int_equal(fx_place(a).aperture, 3);
    rig_gate_open(g);
    fx_run(&r.f);
    const struct event *sent = rig_last(&r.f, EV_SUBMIT_PHYSICAL);
    assert_non_null(sent);
    assert_int_equal(sent->word[1], y + 0x40);
    assert_int_equal(fx_count(&r.f, EV_PATCH), 1);
    uint64_t seen;
    memcpy(&seen, (uint8_t *)cpu + 0x40, 8);
    assert_int_equal(seen, 0x1111111111111111ull);
    fx_close(&r.f);
}

/* Patching is what makes physical mode expensive: once is enough while nothing moves. After a reset the same
 * buffer goes out again, and must be patched again if, and only if, something moved in between. */
static void patched_again_only_after_a_move(void **state)
{
    (void)state;
    for (int move = 0; move < 2; move++) {
        struct rig r;
        void *cpu;
        rig_start(&r);
        struct vidmm_open *a = rig_alloc(r.f.d, MIB, SEG1 | SYS);
        struct peer bad = fx_peer(r.f.p);
        struct vidmm_context *bad_phys = rig_context(bad.d);
        struct vidmm_open *b = rig_alloc(bad.d, 64 * KIB, SYS);
        fx_resident(r.f.q, a);
        fx_resident(bad.q, b);
        fx_run(&r.f);
        struct softgpu_knobs k;
        softgpu_get_knobs(ref_gpu(r.f.ref), &k);
        k.fault_node = REF_NODE_PHYSICAL;
        k.fault_in = 1;
        k.fault_error = 300;
        softgpu_set_knobs(ref_gpu(r.f.ref), &k);
        fx_forget(&r.f);
        rig_put_fill(&r.b, rig_use(&r.b, b, true), 0, 1, 64);
        assert_int_equal(rig_render(bad_phys, &r.b), VIDMM_OK);
        rig_fill(&r, a, 0, 0x22222222, 64);
        fx_run_core(&r.f); /* both are on the node now */
        assert_int_equal(fx_count(&r.f, EV_SUBMIT_PHYSICAL), 2);
        uint64_t x = rig_address(&r, a);
        if (move) assert_int_equal(vidmm_open_lock(a, &cpu), VIDMM_PENDING); /* waits for the packet */
        fx_run(&r.f);
        assert_int_equal(fx_count(&r.f, EV_RESET), 1);
        assert_int_equal(vidmm_device_state(bad.d), VIDMM_DEVICE_PAGE_FAULT);
        assert_int_equal(fx_count(&r.f, EV_SUBMIT_PHYSICAL), 3);
        assert_int_equal(fx_count(&r.f, EV_PATCH), move ? 3 : 2);
        assert_int_equal(r.f.count.repatches, move);
        const struct event *sent = rig_last(&r.f, EV_SUBMIT_PHYSICAL);
        assert_true(sent->submit.flags & VIDMM_SUBMIT_RESUBMISSION);
        assert_int_equal(sent->word[1], rig_address(&r, a));
        assert_int_equal(sent->word[1] != x, move);
        assert_int_equal(rig_word(&r, a, 0), 0x2222222222222222ull);
        vidmm_device_destroy(bad.d);
        fx_close(&r.f);
    }
}

/* A buffer cut short goes on at its new addresses, not at those it began with. */
static void a_preempted_buffer_follows_its_memory(void **state)
{
    struct rig r;
    void *cpu;
    (void)state;
    rig_start(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, 4 * MIB, SEG1 | SYS);
    fx_resident(r.f.q, a);
    fx_run(&r.f);
    fx_forget(&r.f);
    uint32_t index = rig_use(&r.b, a, true);
    rig_put_fill(&r.b, index, 0, 0x12121212, 2 * MIB);
    rig_put_fill(&r.b, index, 2 * MIB, 0x34343434, 2 * MIB);
    assert_int_equal(rig_render(r.phys, &r.b), VIDMM_OK);
    fx_run_core(&r.f);
    for (uint32_t i = 0; i < 24; i++) /* into the second fill */
        assert_int_equal(softgpu_engine_step(ref_gpu(r.f.ref), REF_NODE_PHYSICAL), SOFTGPU_PROGRESS);
    assert_int_equal(vidmm_open_lock(a, &cpu), VIDMM_PENDING);
    assert_true(vmm_node_ask(r.f.ad, REF_NODE_PHYSICAL, 0));
    fx_run(&r.f);
    assert_int_equal(fx_count(&r.f, EV_SUBMIT_PHYSICAL), 2);
    assert_int_equal(fx_count(&r.f, EV_PATCH), 2);
    const struct event *sent = rig_last(&r.f, EV_SUBMIT_PHYSICAL);
    assert_true(sent->submit.flags & VIDMM_SUBMIT_RESUBMISSION);
    assert_int_equal(sent->word[1], rig_address(&r, a));
    for (uint64_t i = 0; i < 4 * MIB / 8; i++)
        assert_int_equal(((uint64_t *)cpu)[i], (i < 2 * MIB / 8 ? 0x12 : 0x34) * 0x0101010101010101ull);
    fx_close(&r.f);
}

/* The device model is the judge of all this: an address that was not renewed must be noticed. */
static vidmm_status forgetful(void *kmd, const struct vidmm_kmd_patch *a)
{
    struct fx *f = kmd;
    static bool second;
    second = !second;
    return second ? ref_ops()->patch(f->ref, a) : VIDMM_OK;
}

static void forgetful_driver(struct vidmm_kmd_ops *o) { o->patch = forgetful; }

static void a_stale_address_is_caught(void **state)
{
    struct rig r;
    struct softgpu_detector seen;
    (void)state;
    rig_init(&r);
    r.f.hooks.ops = forgetful_driver;
    r.f.violations_allowed = true;
    rig_open(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SEG1 | SYS);
    fx_resident(r.f.q, a);
    fx_run(&r.f);
    rig_fill(&r, a, 0, 1, 64);
    fx_run(&r.f);
    softgpu_get_detector(ref_gpu(r.f.ref), &seen);
    assert_int_equal(seen.violations, 0);
    rig_fill(&r, a, 0, 1, 64); /* this one keeps the old buffer's address, by luck the same memory's */
    (void)rig_word(&r, a, 0);
    fx_run(&r.f);
    softgpu_get_detector(ref_gpu(r.f.ref), &seen);
    assert_true(seen.violations > 0);
    fx_close(&r.f);
}

/* What was placed when the buffer is made is told to the driver; what was not is told as nothing. */
static void places_before_patching(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SEG1 | SYS);
    struct vidmm_fence *g = rig_gate(&r);
    fx_resident(r.f.q, a);
    fx_forget(&r.f);
    rig_put_fill(&r.b, rig_use(&r.b, a, true), 0, 7, 64);
    assert_int_equal(rig_render(r.phys, &r.b), VIDMM_OK); /* on its way, not there */
    assert_int_equal(rig_last(&r.f, EV_RENDER)->first.segment, 0);
    assert_int_equal(rig_last(&r.f, EV_RENDER)->first.address, 0);
    fx_run(&r.f);
    rig_fill(&r, a, 0, 7, 64);
    const struct event *e = rig_last(&r.f, EV_RENDER);
    assert_int_equal(e->first.segment, fx_place(a).segment);
    assert_int_equal(e->first.address, fx_place(a).offset);
    assert_true(e->first.write);
    assert_int_equal(e->first.bytes, MIB);
    assert_int_equal(e->patch_count, 1);
    rig_gate_open(g);
    fx_run(&r.f);
    fx_close(&r.f);
}

/* ---- both modes ---------------------------------------------------------------------------------- */

/* One adapter, one device: the virtual node is never patched or rendered, the physical one always. */
static void two_modes_on_one_adapter(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SEG1 | SYS), *b = rig_alloc(r.f.d, MIB, SYS);
    struct vidmm_open *v = fx_alloc(r.f.d, MIB, SEG1, 1);
    uint64_t va = fx_map_all(r.f.q, v);
    fx_resident(r.f.q, a);
    fx_resident(r.f.q, b);
    fx_resident(r.f.q, v);
    fx_run(&r.f);
    fx_forget(&r.f);
    r.f.count.patch_locations = 0;
    for (uint32_t i = 0; i < 50; i++) {
        fx_fill(&r.f, r.f.c, va + 8 * i, i, 8);
        uint32_t to = rig_use(&r.b, a, true), from = rig_use(&r.b, b, true);
        rig_put_write(&r.b, from, 8 * i, 1000 + i);
        rig_put_copy(&r.b, to, 8 * i, from, 8 * i, 8);
        assert_int_equal(rig_render(r.phys, &r.b), VIDMM_OK);
        fx_fill(&r.f, r.f.c, va + 8 * i, i + 1, 8);
        if (i % 8 == 0) fx_run(&r.f);
    }
    fx_run(&r.f);
    uint32_t at = 0, virtual = 0;
    for (const struct event *e; (e = fx_next(&r.f, EV_SUBMIT, &at)) != NULL;) {
        virtual += e->submit.node == REF_NODE_COMPUTE;
        assert_true(e->submit.node != REF_NODE_PHYSICAL);
    }
    assert_int_equal(virtual, 100);
    assert_int_equal(fx_count(&r.f, EV_RENDER), 50);
    assert_int_equal(fx_count(&r.f, EV_PATCH), 50);
    assert_int_equal(fx_count(&r.f, EV_SUBMIT_PHYSICAL), 50);
    assert_int_equal(r.f.count.patch_locations, 150);
    at = 0;
    for (const struct event *e; (e = fx_next(&r.f, EV_PATCH, &at)) != NULL;)
        assert_int_equal(e->patch_count, 3);
    for (uint64_t i = 0; i < 50; i++) assert_int_equal(rig_word(&r, a, 8 * i), 1000 + i);
    assert_int_equal(fx_gpu_read(&r.f, va + 8 * 49), 50ull << 32 | 50);
    fx_close(&r.f);
}

static void submit_behind_guards(void)
{
    struct rig r;
    rig_start(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SEG1 | SYS);
    uint64_t va = fx_map_all(r.f.q, a);
    fx_resident(r.f.q, a);
    fx_run(&r.f);
    fx_forget(&r.f);
    uint32_t words = ref_emit_write64(r.f.cmd_cpu, va, 4711);
    (void)ref_emit_write64(r.f.cmd_cpu + words, va + 8, 4712);
    assert_int_equal(mprotect(r.f.cmd_cpu, 256 * KIB, PROT_NONE), 0);
    assert_int_equal(vidmm_context_submit(r.f.c, r.f.cmd_va, words * 16, NULL, 0, 0), VIDMM_OK);
    fx_run_core(&r.f); /* down to the driver: it is on the node now */
    assert_int_equal(fx_count(&r.f, EV_SUBMIT), 1);
    assert_int_equal(mprotect(r.f.cmd_cpu, 256 * KIB, PROT_READ | PROT_WRITE), 0);
    fx_run(&r.f);
    assert_int_equal(fx_count(&r.f, EV_RENDER) + fx_count(&r.f, EV_PATCH), 0);
    assert_int_equal(fx_gpu_read(&r.f, va), 4711);
    assert_int_equal(fx_gpu_read(&r.f, va + 8), 4712);
    fx_close(&r.f);
}

/* Virtual buffers are nobody's business between client and engine: with their pages out of reach from the
 * call to the engine, whoever looked at them would be killed. */
static void virtual_buffers_are_never_read(void **state)
{
    (void)state;
    assert_int_equal(fx_in_child(submit_behind_guards), 0);
}

/* Physical mode is the old scheme: without the two lists of the client there is nothing to patch by. */
static void each_buffer_brings_its_lists(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SYS), *b = rig_alloc(r.f.d, MIB, SYS);
    fx_resident(r.f.q, a);
    fx_resident(r.f.q, b);
    fx_run(&r.f);
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t to = rig_use(&r.b, i == 0 ? a : b, true), from = rig_use(&r.b, i == 0 ? b : a, true);
        rig_put_write(&r.b, from, 0, 77 + i);
        rig_put_copy(&r.b, to, 8, from, 0, 8);
        assert_int_equal(rig_render(r.phys, &r.b), VIDMM_OK);
        const struct event *e = rig_last(&r.f, EV_RENDER);
        assert_int_equal(e->list_count, 2);
        assert_int_equal(e->patch_count, 3);
        fx_run(&r.f);
    }
    assert_int_equal(rig_word(&r, a, 8), 77);
    assert_int_equal(rig_word(&r, b, 8), 78);
    fx_close(&r.f);
}

/* Physical clients know no addresses: an allocation that was never mapped anywhere serves. */
static void a_handle_is_reference_enough(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SEG1 | SYS);
    fx_resident(r.f.q, a);
    fx_run(&r.f);
    assert_true(list_empty(&a->al->bindings));
    rig_fill(&r, a, 8, 0x99, 8);
    fx_run(&r.f);
    assert_true(list_empty(&a->al->bindings));
    assert_int_equal(rig_word(&r, a, 8), 0x0000009900000099ull);
    fx_close(&r.f);
}

/* Allocate gives a handle to memory that an engine can be sent to, whatever segments it may be in. */
static void what_allocate_returns_works_in_a_list(void **state)
{
    struct rig r;
    static const uint32_t sets[] = {SYS, SEG1 | SYS, SEG2 | SYS, SEG1 | SEG2 | SYS};
    (void)state;
    rig_start(&r);
    for (uint32_t i = 0; i < 4; i++) {
        struct vidmm_open *a = rig_alloc(r.f.d, 5, sets[i]);
        fx_resident(r.f.q, a);
        fx_run(&r.f);
        rig_fill(&r, a, 0, 100 + i, 64);
        fx_run(&r.f);
        assert_int_equal(rig_word(&r, a, 56), (100ull + i) << 32 | (100 + i));
        vidmm_open_close(a, 0);
    }
    fx_close(&r.f);
}

/* Each kind of context takes its own service only, and each node its own kind of context. */
static void services_do_not_cross(void **state)
{
    struct rig r;
    struct vidmm_context *none = NULL;
    struct vidmm_context_desc desc = {.node = REF_NODE_PHYSICAL};
    struct vidmm_render_sizes sizes;
    (void)state;
    rig_start(&r);
    assert_int_equal(vidmm_context_create(r.f.d, &desc, &none), VIDMM_NOT_SUPPORTED);
    desc = (struct vidmm_context_desc){.node = REF_NODE_COMPUTE, .physical = true};
    assert_int_equal(vidmm_context_create(r.f.d, &desc, &none), VIDMM_NOT_SUPPORTED);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SYS);
    fx_resident(r.f.q, a);
    rig_put_fill(&r.b, rig_use(&r.b, a, true), 0, 1, 64);
    struct vidmm_render in = rig_request(&r.b);
    uint64_t before = vidmm_state_hash(r.f.ad);
    assert_int_equal(vidmm_context_render(r.f.c, &in), VIDMM_INVALID);
    assert_int_equal(vidmm_context_submit(r.phys, r.f.cmd_va, 64, NULL, 0, 0), VIDMM_INVALID);
    assert_int_equal(vidmm_state_hash(r.f.ad), before);
    vidmm_context_sizes(r.f.c, &sizes);
    assert_int_equal(sizes.command_bytes | sizes.allocations | sizes.patches, 0);
    assert_int_equal(vidmm_device_state(r.f.d), VIDMM_DEVICE_ACTIVE);
    fx_close(&r.f);
}

static void both_models(struct vidmm_adapter_info *i) { i->node[REF_NODE_PHYSICAL].gpummu = true; }
static void physical_paging(struct vidmm_adapter_info *i) { i->paging_node = REF_NODE_PHYSICAL; }
static void no_limit(struct vidmm_adapter_info *i) { i->segment[2].commit_limit = 0; }
static void beyond_limit(struct vidmm_adapter_info *i) { i->segment[2].commit_limit += 4096; }
static void no_patch(struct vidmm_kmd_ops *o) { o->patch = NULL; }
static void no_render(struct vidmm_kmd_ops *o)
{
    o->render = NULL;
    o->patch = NULL;
    o->submit_command = NULL;
}

/* A description that cannot work is refused at bring-up, not at the first submission. */
static void bring_up_checks_physical_nodes(void **state)
{
    static void (*const bad_info[])(struct vidmm_adapter_info *) = {both_models, physical_paging, no_limit,
                                                                    beyond_limit};
    static void (*const bad_ops[])(struct vidmm_kmd_ops *) = {no_patch, no_render};
    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        struct rig r;
        const char *why = NULL;
        rig_init(&r);
        if (i < 4) r.f.hooks.info = bad_info[i];
        else r.f.hooks.ops = bad_ops[i - 4];
        assert_int_equal(fx_start_adapter(&r.f, &why), VIDMM_INVALID);
        assert_non_null(why);
        fx_close(&r.f);
    }
    struct rig r; /* without physical nodes nobody needs the operations, and nothing is accessed physically */
    struct vidmm_open *op = NULL;
    rig_init(&r);
    r.f.opt.physical = false;
    r.f.hooks.ops = no_render;
    fx_start(&r.f);
    assert_int_equal(rig_try_alloc(r.f.d, MIB, SYS, 0, &op), VIDMM_NOT_SUPPORTED);
    fx_close(&r.f);
}

/* ---- refusals ------------------------------------------------------------------------------------ */

/* Scattered memory has no address to patch in: the call is refused, and nothing else happens. */
static void scattered_allocations_are_refused(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    struct vidmm_open *n = fx_alloc(r.f.d, MIB, SEG1 | SYS, 1), *a = rig_alloc(r.f.d, MIB, SYS);
    fx_resident(r.f.q, n);
    fx_resident(r.f.q, a);
    fx_run(&r.f);
    uint64_t before = vidmm_state_hash(r.f.ad);
    (void)rig_use(&r.b, n, false);
    rig_put_fill(&r.b, rig_use(&r.b, a, true), 0, 1, 64);
    assert_int_equal(rig_render(r.phys, &r.b), VIDMM_INVALID);
    assert_int_equal(vidmm_device_state(r.f.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(vidmm_state_hash(r.f.ad), before);
    rig_fill(&r, a, 0, 1, 64);
    fx_run(&r.f);
    fx_close(&r.f);
}

/* Lists are no residency: who names what is not on the device's list would read another's memory. */
static void not_resident_ends_the_device(void **state)
{
    struct rig r;
    struct vidmm_fence *fence = NULL;
    (void)state;
    rig_start(&r);
    struct vidmm_open *e = rig_alloc(r.f.d, MIB, SEG1 | SYS);
    assert_int_equal(vidmm_fence_create(r.f.d, 0, 0, &fence), VIDMM_OK);
    fx_run(&r.f);
    fx_forget(&r.f);
    rig_put_fill(&r.b, rig_use(&r.b, e, true), 0, 1, 64);
    struct vidmm_render in = rig_request(&r.b);
    assert_int_equal(vidmm_context_render(r.phys, &in), VIDMM_DEVICE_LOST);
    assert_int_equal(vidmm_device_state(r.f.d), VIDMM_DEVICE_DMA_FAULT);
    assert_int_equal(vidmm_fence_value(fence), UINT64_MAX);
    assert_int_equal(vidmm_context_render(r.phys, &in), VIDMM_DEVICE_LOST);
    fx_run(&r.f);
    assert_int_equal(fx_count(&r.f, EV_RENDER), 0);
    assert_int_equal(fx_count(&r.f, EV_SUBMIT_PHYSICAL), 0);
    fx_close(&r.f);
}

/* What is evicted behind a queued buffer stays until the buffer is through. */
static void evicted_behind_a_queued_buffer(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SEG1 | SYS);
    fx_resident(r.f.q, a);
    fx_run(&r.f);
    struct vidmm_fence *g = rig_gate(&r);
    rig_fill(&r, a, 0, 0x33333333, 64);
    fx_evict(r.f.d, a, 0);
    fx_run(&r.f);
    assert_true(fx_place(a).resident);
    rig_gate_open(g);
    fx_run(&r.f);
    assert_int_equal(vidmm_device_state(r.f.d), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(rig_word(&r, a, 0), 0x3333333333333333ull);
    fx_close(&r.f);
}

/* A buffer that names an allocation neither brings it in nor keeps it: who counted on that would lose memory
 * that is on a list to memory that is not. */
static void references_do_not_hold_memory(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    struct vidmm_open *listed = rig_alloc(r.f.d, 6 * MIB, SEG1 | SYS);
    struct vidmm_open *named = rig_alloc(r.f.d, 6 * MIB, SEG1 | SYS);
    fx_resident(r.f.q, listed);
    fx_resident(r.f.q, named);
    fx_run(&r.f);
    for (uint32_t i = 0; i < 8; i++) rig_fill(&r, named, i * 64, i, 64);
    assert_int_equal(fx_place(named).resident_count, 1);
    fx_run(&r.f);
    fx_evict(r.f.d, named, 0);
    assert_int_equal(fx_place(named).resident_count, 0);
    struct vidmm_open *more = fx_alloc(r.f.d, 8 * MIB, SEG1, 1);
    fx_resident(r.f.q, more);
    fx_run(&r.f);
    assert_int_equal(fx_place(more).segment, 1);
    assert_int_equal(fx_place(listed).segment, 1); /* no buffer ever named it */
    assert_false(fx_place(named).resident);        /* the buffers of a moment ago do not matter */
    fx_close(&r.f);
}

/* Client data decides what is patched where: nothing outside the lists and the buffer may be reached. */
static void bad_lists_are_refused(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    struct peer other = fx_peer(r.f.p);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SYS), *foreign = rig_alloc(other.d, MIB, SYS);
    fx_resident(r.f.q, a);
    fx_resident(other.q, foreign);
    fx_run(&r.f);
    for (uint32_t i = 0; i < 9; i++) {
        vidmm_status want = VIDMM_INVALID;
        uint32_t index = rig_use(&r.b, a, true);
        rig_put_fill(&r.b, index, 0, 1, 64);
        struct vidmm_render in = rig_request(&r.b);
        switch (i) {
        case 0: r.b.patch[0].allocation_index = 1; break;
        case 1: r.b.patch[0].allocation_index = 64; break;
        case 2: r.b.patch[0].slot = 1u << 24; break;
        case 3: r.b.patch[0].allocation_offset = MIB; break;
        case 4: r.b.list[0].open = foreign; break;
        case 5: r.b.list[0].write = false; break;
        case 6: in.flags = 1; break;
        case 7: in.list_count = 65; want = VIDMM_LIMIT; break;
        default: in.command_bytes = REF_DMA_BYTES + 8; want = VIDMM_LIMIT; break;
        }
        uint64_t before = vidmm_state_hash(r.f.ad);
        assert_int_equal(vidmm_context_render(r.phys, &in), want);
        assert_int_equal(vidmm_state_hash(r.f.ad), before);
        memset(&r.b, 0, sizeof r.b);
    }
    vidmm_device_destroy(other.d);
    fx_close(&r.f);
}

/* What the driver finds in a buffer reaches the client as it is, and leaves nothing behind. */
static void the_drivers_verdicts(void **state)
{
    static const vidmm_status verdict[] = {VIDMM_ILLEGAL_INSTRUCTION, VIDMM_PRIVILEGED_INSTRUCTION,
                                           VIDMM_INVALID_USER_BUFFER, VIDMM_INVALID_USER_BUFFER,
                                           VIDMM_INVALID_USER_BUFFER, VIDMM_INVALID_USER_BUFFER};
    struct rig r;
    (void)state;
    rig_start(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SYS);
    fx_resident(r.f.q, a);
    fx_run(&r.f);
    uint64_t before = vidmm_state_hash(r.f.ad);
    for (uint32_t i = 0; i < 6; i++) {
        uint32_t index = rig_use(&r.b, a, true);
        rig_put_fill(&r.b, index, 0, 1, 64);
        switch (i) {
        case 0: r.b.word[0] = phys_header(9, 3, 0); break;
        case 1: r.b.word[0] = phys_header(PHYS_PRIVILEGED, 3, 0); break;
        case 2: r.b.words--; break;                               /* cut short */
        case 3: r.b.word[1] = 0x1234; break;                      /* an address of its own */
        case 4: r.b.patches = 0; break;                           /* no patch location */
        default: r.b.word[2] = MIB + 8; break;                    /* beyond the allocation */
        }
        assert_int_equal(rig_render(r.phys, &r.b), verdict[i]);
        assert_int_equal(vidmm_state_hash(r.f.ad), before);
    }
    static const vidmm_status passed_on[] = {VIDMM_INVALID_HANDLE, VIDMM_ALLOCATION_INVALID, VIDMM_NO_MEMORY,
                                             VIDMM_BUFFER_FULL};
    for (uint32_t i = 0; i < 4; i++) {
        r.f.hooks.fail_render = passed_on[i];
        rig_put_fill(&r.b, rig_use(&r.b, a, true), 0, 1, 64);
        assert_int_equal(rig_render(r.phys, &r.b), passed_on[i]);
        assert_int_equal(vidmm_state_hash(r.f.ad), before);
    }
    fx_close(&r.f);
}

static void the_driver_fails_to_patch(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SYS);
    fx_resident(r.f.q, a);
    fx_run(&r.f);
    r.f.hooks.fail_patch = VIDMM_INVALID;
    rig_put_fill(&r.b, rig_use(&r.b, a, true), 0, 1, 64);
    assert_int_equal(rig_render(r.phys, &r.b), VIDMM_OK);
    fx_run(&r.f);
    assert_int_equal(vidmm_device_state(r.f.d), VIDMM_DEVICE_RESET);
    fx_close(&r.f);
}

/* ---- sizes and passes ---------------------------------------------------------------------------- */

/* The driver says how large buffer and lists are at first; clients may have more, and less again. */
static void sizes_come_from_the_driver(void **state)
{
    struct rig r;
    struct vidmm_render_sizes s, want = {16384, 256, 512}, less = {8, 1, 1}, huge = {~0u, ~0u, ~0u};
    (void)state;
    rig_start(&r);
    vidmm_context_sizes(r.phys, &s);
    assert_int_equal(s.command_bytes, REF_DMA_BYTES);
    assert_int_equal(s.allocations, REF_ALLOCATION_LIST);
    assert_int_equal(s.patches, REF_PATCH_LIST);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SYS);
    fx_resident(r.f.q, a);
    rig_fill(&r, a, 0, 1, 64);
    fx_run(&r.f);
    vidmm_context_resize(r.phys, &want);
    vidmm_context_sizes(r.phys, &s);
    assert_memory_equal(&s, &want, sizeof s);
    uint32_t index = rig_use(&r.b, a, true);
    for (uint32_t i = 0; i < 160; i++) rig_put_write(&r.b, index, 8 * i, i); /* more slots than at first */
    assert_int_equal(rig_render(r.phys, &r.b), VIDMM_OK);
    fx_run(&r.f);
    for (uint64_t i = 0; i < 160; i += 53) assert_int_equal(rig_word(&r, a, 8 * i), i);
    vidmm_context_resize(r.phys, &less);
    vidmm_context_sizes(r.phys, &s);
    assert_int_equal(s.command_bytes, REF_DMA_BYTES);
    assert_int_equal(s.patches, REF_PATCH_LIST);
    vidmm_context_resize(r.phys, &huge);
    vidmm_context_sizes(r.phys, &s);
    assert_int_equal(s.command_bytes, VIDMM_RENDER_BYTES_MAX);
    assert_int_equal(s.allocations, VIDMM_RENDER_LIST_MAX);
    assert_int_equal(s.patches, VIDMM_RENDER_PATCHES_MAX);
    fx_close(&r.f);
}

static void dma_in_memory(struct vidmm_kmd_context *c) { c->dma_segments = SEG2; }
static void dma_in_aperture(struct vidmm_kmd_context *c) { c->dma_segments = SYS; }
static void dma_of_nothing(struct vidmm_kmd_context *c) { c->dma_bytes = 0; }

/* A DMA buffer in a memory segment cannot be written by the CPU; such a context must not come to be. */
static void dma_buffers_are_not_in_memory_segments(void **state)
{
    static void (*const bad[])(struct vidmm_kmd_context *) = {dma_in_memory, dma_in_aperture, dma_of_nothing};
    static const vidmm_status want[] = {VIDMM_INVALID, VIDMM_NOT_SUPPORTED, VIDMM_INVALID};
    struct rig r;
    struct vidmm_context_desc desc = {.node = REF_NODE_PHYSICAL, .physical = true};
    struct vidmm_context *c = NULL;
    (void)state;
    rig_start(&r);
    for (uint32_t i = 0; i < 3; i++) {
        fx_forget(&r.f);
        r.f.hooks.context = bad[i];
        assert_int_equal(vidmm_context_create(r.f.d, &desc, &c), want[i]);
        assert_int_equal(fx_count(&r.f, EV_DESTROY_CONTEXT), 1);
    }
    r.f.hooks.context = NULL;
    fx_close(&r.f);
}

/* The driver's private part of a DMA buffer is empty at first, and what it keeps there is its own. */
static void private_data_is_the_drivers(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SYS);
    fx_resident(r.f.q, a);
    fx_run(&r.f);
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t frame = i > 0 ? rig_last(&r.f, EV_RENDER)->frame : 0;
        rig_fill(&r, a, 0, i, 64);
        const struct event *e = rig_last(&r.f, EV_RENDER);
        assert_int_equal(e->private_bytes, 256);
        assert_int_equal(e->private_used, i > 0 ? 256 : 0); /* the same buffer again, as it was left */
        if (i > 0) assert_int_equal(e->frame, frame);
        fx_run(&r.f);
    }
    fx_close(&r.f);
}

/* A translation longer than one DMA buffer becomes several submissions, in order, with all their patches. */
static void long_buffers_take_several_passes(void **state)
{
    struct rig r;
    (void)state;
    rig_start(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SEG1 | SYS);
    fx_resident(r.f.q, a);
    fx_run(&r.f);
    fx_forget(&r.f);
    uint32_t index = rig_use(&r.b, a, true);
    for (uint32_t i = 0; i < 128; i++) rig_put_write(&r.b, index, 8 * i, 500 + i); /* 3 words in, 4 out */
    for (uint32_t i = 0; i < 32; i++) r.b.word[r.b.words++] = phys_header(PHYS_NOP, 1, 0);
    assert_int_equal(rig_render(r.phys, &r.b), VIDMM_OK);
    assert_int_equal(fx_count(&r.f, EV_RENDER), 2);
    uint32_t at = 0;
    const struct event *first = fx_next(&r.f, EV_RENDER, &at), *second = fx_next(&r.f, EV_RENDER, &at);
    assert_int_equal(first->status, VIDMM_BUFFER_FULL);
    assert_int_equal(first->multipass_in, 0);
    assert_int_equal(second->multipass_in, first->multipass_out);
    assert_int_equal(second->status, VIDMM_OK);
    assert_int_equal(vidmm_context_pending(r.phys), 2);
    fx_run(&r.f);
    assert_int_equal(fx_count(&r.f, EV_SUBMIT_PHYSICAL), 2);
    assert_int_equal(r.f.count.renders, 1);
    assert_int_equal(r.f.count.dma_buffers, 2);
    for (uint64_t i = 0; i < 128; i++) assert_int_equal(rig_word(&r, a, 8 * i), 500 + i);
    fx_close(&r.f);
}

/* Every allocation that a render needs may be the one that fails: then nothing was queued. */
static void no_memory_leaves_nothing_behind(void **state)
{
    struct rig r;
    uint64_t fails = 0;
    (void)state;
    rig_start(&r);
    struct vidmm_open *a = rig_alloc(r.f.d, MIB, SYS);
    fx_resident(r.f.q, a);
    fx_run(&r.f);
    uint64_t before = vidmm_state_hash(r.f.ad);
    for (;; fails++) {
        uint32_t index = rig_use(&r.b, a, true);
        for (uint32_t i = 0; i < 128; i++) rig_put_write(&r.b, index, 8 * i, i);
        for (uint32_t i = 0; i < 32; i++) r.b.word[r.b.words++] = phys_header(PHYS_NOP, 1, 0);
        r.f.world.fail_in = fails + 1;
        vidmm_status st = rig_render(r.phys, &r.b);
        r.f.world.fail_in = 0;
        if (st == VIDMM_OK) break;
        assert_int_equal(st, VIDMM_NO_MEMORY);
        assert_int_equal(vidmm_state_hash(r.f.ad), before);
        vidmm_context_destroy(r.phys); /* its spare buffers would serve the next try */
        r.phys = rig_context(r.f.d);
        fx_run(&r.f);
        before = vidmm_state_hash(r.f.ad);
    }
    assert_true(fails >= 6); /* two passes: packet, lists, frames */
    fx_run(&r.f);
    assert_int_equal(rig_word(&r, a, 8 * 127), 127);
    fx_close(&r.f);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(the_engine_sees_where_it_is_now, "PHY-02 PHY-10 PHY-11", "PHY-02"),
        VT_TEST(patched_again_only_after_a_move, "PHY-10 PHY-14", NULL),
        VT_TEST(a_preempted_buffer_follows_its_memory, "PHY-02 PHY-10 PHY-14", NULL),
        VT_TEST(a_stale_address_is_caught, "PHY-02", NULL),
        VT_TEST(places_before_patching, "PHY-11", NULL),
        VT_TEST(two_modes_on_one_adapter, "ADP-03 ADP-09 SUB-01 SUB-02", "ADP-03"),
        VT_TEST(virtual_buffers_are_never_read, "ADP-09 SUB-02", "ADP-09"),
        VT_TEST(each_buffer_brings_its_lists, "PHY-01", "PHY-01"),
        VT_TEST(a_handle_is_reference_enough, "PHY-03", "PHY-03"),
        VT_TEST(what_allocate_returns_works_in_a_list, "ALC-01", "ALC-01"),
        VT_TEST(services_do_not_cross, "SUB-07 ADP-03", NULL),
        VT_TEST(bring_up_checks_physical_nodes, "ADP-03", NULL),
        VT_TEST(scattered_allocations_are_refused, "PHY-05 SEG-14", NULL),
        VT_TEST(not_resident_ends_the_device, "PHY-04 RES-04", NULL),
        VT_TEST(evicted_behind_a_queued_buffer, "PHY-04", NULL),
        VT_TEST(references_do_not_hold_memory, "RES-04", NULL),
        VT_TEST(bad_lists_are_refused, "PHY-09", NULL),
        VT_TEST(the_drivers_verdicts, "PHY-12", NULL),
        VT_TEST(the_driver_fails_to_patch, "PHY-10", NULL),
        VT_TEST(sizes_come_from_the_driver, "PHY-08 PHY-13", NULL),
        VT_TEST(dma_buffers_are_not_in_memory_segments, "PHY-13", NULL),
        VT_TEST(private_data_is_the_drivers, "PHY-13", NULL),
        VT_TEST(long_buffers_take_several_passes, "PHY-10 PHY-12", NULL),
        VT_TEST(no_memory_leaves_nothing_behind, "PHY-12", NULL),
    };
    return vt_main(argc, argv, "core_physical", cases, VT_COUNT(cases));
}
