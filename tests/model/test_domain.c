/* SPDX-License-Identifier: MIT */
/* test_domain.c - the IOMMU domain of an adapter: what the GPU reaches of system memory, under which numbers,
 * and how the domain is attached. Every access of the software GPU goes through the modelled domain, so a
 * mapping that is missing is a fault, and one too many is found by invariant 27 (fx_verify). */
#include "link_rig.h"

static void open_domain(struct fixture *f, enum ref_format format, int domain)
{
    struct fx_options o;
    fx_options(&o, format);
    o.ref.secure = true;
    o.domain = domain;
    (void)fx_open(f, &o);
}

static struct sim_domain_accounts accounts(const struct fixture *f)
{
    struct sim_domain_accounts a;
    sim_domain_get_accounts(f->domain, &a);
    return a;
}

static uint64_t frame_of(const struct vidmm_open *op) /* of what is at home */
{
    struct vidmm_placement_info at;
    vidmm_open_placement(op, &at);
    assert_int_equal(at.segment, 0);
    return at.offset / PAGE;
}

/* All of [frame, + pages) is reached, or none of it. */
static bool reached(const struct fixture *f, uint64_t frame, uint64_t pages)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < pages; i++) n += sim_domain_find(f->domain, frame + i) != 0;
    assert_true(n == 0 || n == pages);
    return n != 0;
}

static void hold_node(struct fixture *f, uint32_t node, bool held)
{
    struct softgpu_knobs k = fx_knobs(f);
    k.hang_nodes = held ? 1u << node : 0;
    fx_set_knobs(f, &k);
}

static void attach(struct fixture *f)
{
    assert_int_equal(vidmm_domain_attach(f->ad), VIDMM_PENDING);
    fx_settle(f);
    assert_true(vidmm_domain_attached(f->ad));
}

/* ---- starting ------------------------------------------------------------------------------------ */

/* Half of what is installed can be seen: only with remapping the adapter starts, and all is in that half. */
static void a_gpu_that_sees_too_little_needs_remapping(void **state)
{
    (void)state;
    for (int domain = FX_NO_DOMAIN; domain <= FX_REMAPPING; domain++) {
        struct fixture f;
        struct fx_options o;
        struct client c;
        uint64_t va[4];
        fx_options(&o, REF_FORMAT_A);
        o.frames = 32768;
        o.domain = domain;
        o.may_refuse = true;
        o.ref.secure = true;
        o.ref.visible_bytes = (16 + 32768 + 16384) * PAGE / 2; /* of frames up to there, with imports */
        vidmm_status st = fx_open(&f, &o);
        if (domain != FX_REMAPPING) {
            assert_int_equal(st, VIDMM_INVALID);
            assert_non_null(strstr(f.why, "does not reach"));
            continue;
        }
        assert_int_equal(st, VIDMM_OK);
        client_open(&c, &f, NULL);
        for (uint32_t i = 0; i < 4; i++) (void)client_memory(&c, MIB(1), SET_SYSTEM, &va[i]);
        for (uint32_t i = 0; i < 4; i++) gpu_fill(&c, va[i], i + 1, MIB(1));
        for (uint32_t i = 0; i < 4; i++)
            assert_int_equal(gpu_sum(&c, va[i], MIB(1)), sum_of_pattern(i + 1, MIB(1)));
        const struct vidmm_domain *d = sim_domain_face(f.domain);
        uint64_t within = 0, end = o.ref.visible_bytes / PAGE;
        for (uint64_t page = 1; page < end; page++) within += d->mapped(d->ctx, page, 1) != 0;
        assert_true(within > 4 * MIB(1) / PAGE);
        assert_int_equal(within, d->mapped_pages(d->ctx));
        fx_close(&f);
    }
    struct fixture f; /* what it sees is all there is */
    struct fx_options o;
    fx_options(&o, REF_FORMAT_A);
    o.frames = 32768;
    o.ref.visible_bytes = (16 + 32768 + 16384) * PAGE;
    assert_int_equal(fx_open(&f, &o), VIDMM_OK);
    fx_close(&f);
}

static void require_isolation(struct vidmm_adapter_info *in)
{
    in->flags |= VIDMM_ADAPTER_SECURE_REQUIRED;
    in->iommu_caps |= VIDMM_IOMMU_ISOLATION_REQUIRED;
}

static void claim_otherwise(struct vidmm_adapter_info *in) { in->iommu_caps = VIDMM_IOMMU_REMAPPING; }
static void know_frames_only(struct vidmm_adapter_info *in) { in->iommu_caps = VIDMM_IOMMU_ISOLATION; }

/* What the driver says of isolation is coherent, and is what the machine has. */
static void isolation_that_is_required_is_there_from_the_start(void **state)
{
    struct fixture f;
    struct fx_options o;
    (void)state;
    for (int domain = FX_NO_DOMAIN; domain <= FX_REMAPPING; domain++) {
        fx_options(&o, REF_FORMAT_B);
        o.ref.secure = true;
        o.edit_info = require_isolation;
        o.domain = domain;
        o.may_refuse = true;
        assert_int_equal(fx_open(&f, &o), domain != FX_NO_DOMAIN ? VIDMM_OK : VIDMM_INVALID);
        if (domain == FX_NO_DOMAIN) continue;
        assert_true(vidmm_domain_attached(f.ad));
        fx_close(&f);
    }
    o.edit_info = claim_otherwise;
    assert_int_equal(fx_open(&f, &o), VIDMM_INVALID);
    o.edit_info = know_frames_only;
    assert_int_equal(fx_open(&f, &o), VIDMM_INVALID);
    assert_non_null(strstr(f.why, "logical"));
}

/* ---- what is reached ------------------------------------------------------------------------------ */

/* Under isolation and under remapping: at home, into a memory segment, back home, and gone. */
static void what_the_gpu_may_reach_is_mapped_and_nothing_else(void **state)
{
    (void)state;
    for (int domain = FX_ISOLATION; domain <= FX_REMAPPING; domain++) {
        struct fixture f;
        struct client c;
        uint64_t va, pages = KIB(256) / PAGE;
        open_domain(&f, REF_FORMAT_A, domain);
        client_open(&c, &f, NULL);
        if (domain == FX_ISOLATION) attach(&f);
        struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(256), .set = SET_4K});
        uint64_t frame = frame_of(op);
        void *cpu;
        assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_OK);
        memset(cpu, 0x11, KIB(256));
        vidmm_open_unlock(op);
        assert_false(reached(&f, frame, pages)); /* nobody required it */
        hold_node(&f, REF_NODE_PAGING, true);
        uint64_t value, trim;
        assert_true(vidmm_make_resident(c.queue, &op, 1, 0, &value, &trim) >= 0);
        (void)world_settle(f.world, 2000);
        assert_true(reached(&f, frame, pages)); /* for the length of the transfer */
        hold_node(&f, REF_NODE_PAGING, false);
        fx_settle(&f);
        assert_false(reached(&f, frame, pages)); /* it is in the memory segment now */
        va = client_map(&c, op, 0, 0, 0, VIDMM_PROT_WRITE);
        assert_int_equal(gpu_read(&c, va), 0x11111111);
        fx_close(&f);
    }
}

/* A page-table entry that names what it should not: isolation is what is left, and it holds. */
static void a_wrong_entry_reaches_nothing_that_is_not_mapped(void **state)
{
    (void)state;
    for (int isolated = 0; isolated < 2; isolated++) {
        struct fixture f;
        struct client c, d;
        void *cpu;
        open_domain(&f, REF_FORMAT_A, FX_ISOLATION);
        client_open(&c, &f, NULL);
        client_open(&d, &f, NULL);
        if (isolated) attach(&f);
        struct vidmm_open *secret = client_alloc(&d, &(struct fx_alloc){.bytes = PAGE, .set = SET_SYSTEM});
        struct vidmm_open *own = client_alloc(&c, &(struct fx_alloc){.bytes = PAGE, .set = SET_SYSTEM});
        assert_int_equal(vidmm_open_lock(secret, &cpu), VIDMM_OK);
        memset(cpu, 0x77, PAGE);
        client_resident(&c, own);
        f.tap.steer = frame_of(secret) * PAGE;
        uint64_t va = client_map(&c, own, 0, 0, 0, VIDMM_PROT_WRITE);
        assert_int_equal(f.tap.steer, 0);
        struct vidmm_page_fault fault;
        if (isolated) {
            gpu_write_faults(&c, va);
            assert_int_equal(vidmm_device_fault(c.device, &fault), VIDMM_OK);
            assert_int_equal(fault.flags & VIDMM_FAULT_IOMMU, VIDMM_FAULT_IOMMU);
        } else {
            assert_int_equal(gpu_read(&c, va), 0x77777777);
        }
        assert_int_equal(*(uint8_t *)cpu, 0x77);
        f.expect_domain_faults = accounts(&f).faults;
        assert_int_equal(f.expect_domain_faults != 0, isolated);
        assert_int_equal(vidmm_va_free(c.process, va, PAGE), VIDMM_OK);
        fx_close(&f);
    }
}

/* ---- numbers -------------------------------------------------------------------------------------- */

static const struct tap_entry *leaf_entry(const struct fixture *f, uint64_t va)
{
    const struct tap_entry *e, *last = NULL;
    for (uint64_t i = 0; (e = tap_find(&f->tap, TAP_UPDATE, i)) != NULL; i++)
        if (e->level == 0 && e->va == va && e->first_address != 0) last = e;
    assert_non_null(last);
    return last;
}

/* Entries, tables, roots and paging buffers: no number the driver gets is a frame. */
static void remapped_gpus_are_told_logical_addresses(void **state)
{
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_C; format++) {
        struct fixture f;
        struct client c;
        struct fx_options o;
        uint64_t va, bytes = KIB(512);
        fx_options(&o, format);
        o.domain = FX_REMAPPING;
        for (uint32_t i = 0; i < VIDMM_LEVELS_MAX; i++) o.ref.table_segment[i] = 0;
        (void)fx_open(&f, &o);
        assert_true(vidmm_domain_attached(f.ad));
        assert_int_equal(vidmm_domain_attach(f.ad), VIDMM_OK); /* nothing is left to do */
        const struct vidmm_domain *d = sim_domain_face(f.domain);
        client_open(&c, &f, NULL);
        tap_clear(&f.tap);
        struct vidmm_open *op = client_memory(&c, bytes, SET_SYSTEM, &va);
        uint64_t page = leaf_entry(&f, va)->first_address / PAGE, frame = frame_of(op);
        assert_int_not_equal(page, frame);
        assert_int_equal(d->mapped(d->ctx, page, bytes / PAGE), frame);
        gpu_fill(&c, va, 0xabcd, bytes);
        const struct tap_context *root = &f.tap.contexts[0];
        while (!root->has_root || root->system) root++;
        page = root->root.offset / PAGE;
        assert_int_equal(root->root.segment, 0);
        assert_true(d->mapped(d->ctx, page, 1) != 0 && d->mapped(d->ctx, page, 1) != page);
        assert_int_equal(gpu_sum(&c, va, bytes), sum_of_pattern(0xabcd, bytes));
        uint64_t words[REF_WORDS_MAX];
        struct vidmm_fence *fence; /* its page is reached too: the GPU writes the value */
        assert_int_equal(vidmm_fence_create(c.device, 0, 0, &fence), VIDMM_OK);
        fx_settle(&f);
        assert_true(client_run(&c, words, ref_emit_write64(words, vidmm_fence_gpu_address(fence), 99)));
        assert_int_equal(vidmm_fence_value(fence), 99);
        const uint32_t *host = client_host(&c, op); /* what lies there, behind the domain's back */
        assert_int_equal(host[bytes / 4 - 1], 0xabcd);
        fx_close(&f);
    }
}

/* A logical range that cannot be had: the call fails as a whole. */
static void a_domain_without_room_refuses_and_nothing_changes(void **state)
{
    struct fixture f;
    struct client c;
    struct fx_options o;
    (void)state;
    fx_options(&o, REF_FORMAT_A);
    o.domain = FX_REMAPPING;
    for (uint32_t i = 0; i < VIDMM_LEVELS_MAX; i++) o.ref.table_segment[i] = 0;
    (void)fx_open(&f, &o);
    client_open(&c, &f, NULL);
    fx_settle(&f);
    uint64_t hash = vidmm_state_hash(f.ad), reserved = accounts(&f).reserved;
    struct vidmm_open *op;
    struct world_accounts before, after;
    world_get_accounts(f.world, &before);
    sim_domain_fail(f.domain, 1);
    assert_int_equal(client_try_alloc(&c, &(struct fx_alloc){.bytes = MIB(1), .set = SET_SYSTEM}, &op),
                     VIDMM_NO_MEMORY);
    assert_int_equal(vidmm_state_hash(f.ad), hash);
    assert_int_equal(accounts(&f).reserved, reserved);
    world_get_accounts(f.world, &after);
    assert_int_equal(after.blocks, before.blocks);
    assert_int_equal(after.frames, before.frames);
    for (uint32_t k = 1; k < 8; k++) { /* tables, a fence page: whatever comes first */
        struct vidmm_process *p;
        sim_domain_fail(f.domain, k);
        if (vidmm_process_create(f.ad, &p) == VIDMM_OK) {
            sim_domain_fail(f.domain, 0);
            vidmm_process_destroy(p);
            assert_true(k > 1);
            break;
        }
        fx_settle(&f);
        assert_int_equal(accounts(&f).reserved, reserved);
    }
    fx_close(&f);
}

/* ---- attaching ------------------------------------------------------------------------------------ */

/* What is seen between the first BeginExclusiveAccess and the last EndExclusiveAccess. */
struct bracket {
    struct fixture *f;
    uint32_t gpus, begun, ended;
    uint64_t calls, attached_at_begin;
    bool busy, early;
};

static struct tap *tap_of(struct fixture *f, uint32_t gpu)
{
    return gpu == 0 ? &f->tap : &f->peer[gpu - 1].tap;
}

static uint64_t calls_of_all(const struct bracket *b)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < b->gpus; i++) n += tap_of(b->f, i)->calls;
    return n;
}

static void note_exclusive(void *arg, bool begins)
{
    struct bracket *b = arg;
    uint64_t calls = calls_of_all(b);
    if (!begins) {
        b->early |= b->begun != b->gpus || !vidmm_domain_attached(b->f->ad);
        b->busy |= calls - b->calls != b->gpus - 1 + b->ended; /* the other gpus' begin, and ends before */
        b->ended++;
        return;
    }
    if (b->begun++ == 0) b->calls = calls;
    b->early |= accounts(b->f).attached != 0;
    for (uint32_t n = 0; n < REF_NODE_COUNT; n++) {
        b->busy |= !softgpu_node_idle(b->f->gpu, n);
        for (uint32_t i = 0; i < b->f->peer_count; i++) b->busy |= !softgpu_node_idle(b->f->peer[i].gpu, n);
    }
}

static void watch_brackets(struct bracket *b, struct fixture *f, uint32_t gpus)
{
    *b = (struct bracket){.f = f, .gpus = gpus};
    for (uint32_t i = 0; i < gpus; i++) {
        tap_of(f, i)->on_exclusive = note_exclusive;
        tap_of(f, i)->on_exclusive_arg = b;
    }
}

static void check_brackets(const struct bracket *b)
{
    assert_int_equal(b->begun, b->gpus);
    assert_int_equal(b->ended, b->gpus);
    assert_false(b->busy);
    assert_false(b->early);
    assert_int_equal(accounts(b->f).attached, 1);
}

/* A packet is on its node, one waits behind it, a hardware context runs: the domain comes when all have
 * stopped, and then they go on. */
static void the_domain_is_switched_while_nothing_runs(void **state)
{
    struct fixture f;
    struct client c;
    struct bracket b;
    struct vidmm_hwcontext *hc;
    struct vidmm_hwqueue *hq;
    uint64_t va, words[REF_WORDS_MAX];
    (void)state;
    open_domain(&f, REF_FORMAT_A, FX_ISOLATION);
    watch_brackets(&b, &f, 1);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_memory(&c, KIB(64), SET_SYSTEM, &va);
    struct vidmm_hwcontext_desc cd = {.node = REF_NODE_COPY};
    struct vidmm_hwqueue_desc qd = {0};
    assert_int_equal(vidmm_hwcontext_create(c.device, &cd, &hc), VIDMM_OK);
    assert_int_equal(vidmm_hwqueue_create(hc, &qd, &hq), VIDMM_OK);
    fx_settle(&f);
    uint64_t suspends = f.tap.hw.suspends, resumes = f.tap.hw.resumes;
    hold_node(&f, REF_NODE_COMPUTE, true);
    assert_int_equal(client_submit_on(&c, c.context, words, ref_emit_add64(words, va, 1)), VIDMM_OK);
    (void)world_settle(f.world, 2000);
    uint64_t hash = vidmm_state_hash(f.ad);
    f.tap.hw.hold_suspends = true;
    assert_int_equal(vidmm_domain_attach(f.ad), VIDMM_PENDING);
    assert_int_equal(vidmm_domain_attach(f.ad), VIDMM_PENDING);
    assert_int_not_equal(vidmm_state_hash(f.ad), hash);
    uint64_t submits = f.tap.count[TAP_SUBMIT];
    assert_int_equal(client_submit_on(&c, c.context, words, ref_emit_add64(words, va, 2)), VIDMM_OK);
    (void)world_settle(f.world, 2000);
    assert_false(vidmm_domain_attached(f.ad)); /* the first packet is not over */
    assert_int_equal(f.tap.count[TAP_SUBMIT], submits); /* and the second does not start */
    assert_int_equal(f.tap.hw.suspends, suspends + 1);
    assert_int_equal(b.begun, 0);
    hold_node(&f, REF_NODE_COMPUTE, false);
    fx_settle(&f);
    assert_false(vidmm_domain_attached(f.ad)); /* nobody said that the hardware context stands still */
    f.tap.hw.hold_suspends = false;
    assert_int_equal(f.tap.inner->hw->suspend_context(f.tap.inner_kmd, f.tap.hw.suspended, 77), VIDMM_OK);
    vidmm_notify_context_suspended(hc, f.tap.hw.suspend_value);
    fx_settle(&f);
    assert_true(vidmm_domain_attached(f.ad));
    check_brackets(&b);
    uint32_t bytes;
    uint64_t at = client_commands(&c, words, ref_emit_add64(words, va, 4), &bytes);
    assert_int_equal(vidmm_hwqueue_submit(hq, at, bytes, NULL, 0, 1), VIDMM_OK);
    fx_settle(&f);
    assert_true(f.tap.hw.resumes > resumes);
    assert_int_equal(gpu_read(&c, va), 7); /* all three, once each */
    assert_true(reached(&f, frame_of(op), KIB(64) / PAGE)); /* made before, reached afterwards */
    assert_int_equal(vidmm_domain_attach(f.ad), VIDMM_OK);
    fx_settle(&f);
    check_brackets(&b); /* once is for good */
    fx_close(&f);
}

/* Without a domain, or without a driver that can do it, nothing changes. */
static void attaching_is_refused_where_it_cannot_be(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct fixture f;
        struct fx_options o;
        fx_options(&o, REF_FORMAT_A);
        o.ref.secure = i != 1;
        o.domain = i == 0 ? FX_NO_DOMAIN : FX_ISOLATION;
        (void)fx_open(&f, &o);
        uint64_t hash = vidmm_state_hash(f.ad);
        if (i == 2) vidmm_adapter_remove(f.ad);
        assert_int_equal(vidmm_domain_attach(f.ad), i == 2 ? VIDMM_DEVICE_LOST : VIDMM_NOT_SUPPORTED);
        if (i != 2) assert_int_equal(vidmm_state_hash(f.ad), hash);
        assert_false(vidmm_domain_attached(f.ad));
        fx_close(&f);
    }
}

/* One domain for all gpus of a link, attached once; and a second adapter has another one. */
static void the_gpus_of_a_link_share_one_domain(void **state)
{
    (void)state;
    for (int domain = FX_ISOLATION; domain <= FX_REMAPPING; domain++) {
        struct link l = {.gpus = 2};
        struct fx_options o;
        struct bracket b;
        struct fixture other;
        l.fx = &l.own;
        link_options(&o, 2);
        o.ref.secure = o.peer[0].secure = true;
        o.domain = domain;
        (void)fx_open(l.fx, &o);
        open_domain(&other, REF_FORMAT_A, FX_ISOLATION);
        watch_brackets(&b, l.fx, 2);
        link_client(&l, &l.c, NULL);
        struct vidmm_open *op = link_memory(&l, 1, KIB(64));
        uint64_t va = link_map(&l, 1, op, 0), again = link_map(&l, 0, op, va);
        assert_int_equal(again, va);
        if (domain == FX_ISOLATION) {
            struct softgpu_knobs held = {.hang_nodes = 1u << REF_NODE_COMPUTE}, none = {0};
            uint64_t words[REF_WORDS_MAX];
            softgpu_set_knobs(l.fx->peer[0].gpu, &held); /* GPU 1 works, GPU 0 does not */
            uint32_t n = ref_emit_fill(words, va, 1, PAGE);
            assert_int_equal(client_submit_on(&l.c, l.context[1], words, n), VIDMM_OK);
            (void)world_settle(l.fx->world, 2000);
            assert_int_equal(vidmm_domain_attach(l.fx->ad), VIDMM_PENDING);
            (void)world_settle(l.fx->world, 2000);
            assert_false(vidmm_domain_attached(l.fx->ad));
            softgpu_set_knobs(l.fx->peer[0].gpu, &none);
            fx_settle(l.fx);
            assert_true(vidmm_domain_attached(l.fx->ad));
            check_brackets(&b);
        }
        assert_int_equal(accounts(l.fx).attached, 1);
        assert_false(vidmm_domain_attached(other.ad));
        struct vidmm_open *home = client_alloc(&l.c, &(struct fx_alloc){.bytes = KIB(64), .set = SET_SYSTEM});
        client_resident(&l.c, home);
        uint64_t at = link_map(&l, 0, home, 0);
        assert_int_equal(link_map(&l, 1, home, at), at);
        link_fill(&l, 1, at, 0x1234, KIB(64));
        assert_int_equal(link_sum(&l, 0, at, KIB(64)), sum_of_pattern(0x1234, KIB(64)));
        link_fill(&l, 0, va, 0x99, KIB(64));
        assert_int_equal(link_sum(&l, 1, va, KIB(64)), sum_of_pattern(0x99, KIB(64)));
        fx_verify(l.fx);
        fx_close(&other);
        fx_close(l.fx);
    }
}

/* ---- the display, and every gpu -------------------------------------------------------------------- */

/* Operation 17 is for what is accessed physically: a primary is mapped as ever, and reached while it is. */
static void primaries_are_mapped_by_the_old_operation(void **state)
{
    struct fixture f;
    struct client c;
    struct fx_options o;
    uint32_t pixel = 0;
    (void)state;
    fx_options(&o, REF_FORMAT_A);
    o.machine_iommu = o.ref.iommu = o.ref.map_aperture2 = true;
    o.domain = FX_REMAPPING;
    (void)fx_open(&f, &o);
    client_open_shared(&c, &f, NULL);
    struct fx_alloc want = {.bytes = KIB(64), .set = SET_SYSTEM, .primary = true};
    struct vidmm_open *op = client_alloc(&c, &want);
    uint32_t *host = client_host(&c, op);
    host[5] = 0x123456;
    client_resident(&c, op);
    assert_int_equal(vidmm_display_set(f.ad, op), VIDMM_PENDING);
    fx_settle(&f);
    assert_int_equal(f.tap.op_count[VIDMM_OP_MAP_APERTURE_SEGMENT], 1);
    assert_int_equal(f.tap.op_count[VIDMM_OP_MAP_APERTURE_SEGMENT2], 0);
    assert_true(ref_scan_out(f.ref, 20, &pixel, sizeof(pixel)));
    assert_int_equal(pixel, 0x123456);
    struct vidmm_open *idle = client_alloc(&c, &want); /* displayed, and not resident */
    assert_false(reached(&f, frame_of(idle), KIB(64) / PAGE));
    host = client_host(&c, idle);
    host[5] = 0x654321;
    assert_int_equal(vidmm_display_set(f.ad, idle), VIDMM_PENDING);
    fx_settle(&f);
    fx_verify(&f);
    assert_true(reached(&f, frame_of(idle), KIB(64) / PAGE));
    assert_true(ref_scan_out(f.ref, 20, &pixel, sizeof(pixel)));
    assert_int_equal(pixel, 0x654321);
    assert_int_equal(vidmm_display_set(f.ad, NULL), VIDMM_PENDING);
    fx_settle(&f);
    assert_false(reached(&f, frame_of(idle), KIB(64) / PAGE));
    fx_close(&f);
}

static uint32_t asked_save[2];

static uint64_t save_size_of_0(void *kmd)
{
    (void)kmd;
    asked_save[0]++;
    return MIB(1);
}

static uint64_t save_size_of_1(void *kmd)
{
    (void)kmd;
    asked_save[1]++;
    return MIB(2);
}

static void add_save_size(struct vidmm_kmd_ops *ops, uint32_t gpu)
{
    ops->query_framebuffer_save_size = gpu == 0 ? save_size_of_0 : save_size_of_1;
}

/* Each gpu of a link says how much, and all is paid for; one that cannot be isolated spoils it for all. */
static void each_gpu_is_asked(void **state)
{
    struct world_accounts with, without;
    (void)state;
    for (int saves = 0; saves < 2; saves++) {
        struct fx_options o;
        struct fixture f;
        link_options(&o, 2);
        o.ref.secure = o.peer[0].secure = true;
        o.domain = FX_ISOLATION;
        if (saves) o.edit_ops = add_save_size;
        (void)fx_open(&f, &o);
        world_get_accounts(f.world, saves ? &with : &without);
        fx_close(&f);
    }
    assert_int_equal(with.frames, without.frames + MIB(3) / PAGE);
    assert_int_equal(asked_save[0], 1);
    assert_int_equal(asked_save[1], 1);
    struct fx_options o;
    struct fixture f;
    link_options(&o, 2);
    o.ref.secure = true;
    o.domain = FX_ISOLATION;
    (void)fx_open(&f, &o);
    assert_int_equal(vidmm_domain_attach(f.ad), VIDMM_NOT_SUPPORTED);
    fx_close(&f);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(a_gpu_that_sees_too_little_needs_remapping, "ADP-23 IOM-21", NULL),
        VT_TEST(isolation_that_is_required_is_there_from_the_start, "IOM-23 IOM-16", NULL),
        VT_TEST(what_the_gpu_may_reach_is_mapped_and_nothing_else, "IOM-17 INV-27", NULL),
        VT_TEST(a_wrong_entry_reaches_nothing_that_is_not_mapped, "IOM-17 IOM-24", NULL),
        VT_TEST(remapped_gpus_are_told_logical_addresses, "IOM-21", NULL),
        VT_TEST(a_domain_without_room_refuses_and_nothing_changes, "IOM-21", NULL),
        VT_TEST(the_domain_is_switched_while_nothing_runs, "IOM-18 IOM-16", NULL),
        VT_TEST(attaching_is_refused_where_it_cannot_be, "IOM-16", NULL),
        VT_TEST(the_gpus_of_a_link_share_one_domain, "IOM-16 IOM-18", NULL),
        VT_TEST(primaries_are_mapped_by_the_old_operation, "IOM-22 IOM-17", NULL),
        VT_TEST(each_gpu_is_asked, "IOM-20 IOM-16", NULL),
    };
    return vt_main(argc, argv, "model_domain", cases, VT_COUNT(cases));
}
