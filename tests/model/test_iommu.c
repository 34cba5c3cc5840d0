/* SPDX-License-Identifier: MIT */
/* test_iommu.c - the IoMmu model over the modelled translation unit and operating system (area IOM): which
 * adapters and devices have it, the address space of a process, how it is registered, and that the verifier
 * of the modelled OS is not blind. */
#include "iommu_rig.h"

/* ---- which adapters ------------------------------------------------------------------------------ */

static vidmm_status refusal(const struct fx_options *in, const char *part)
{
    struct fixture f;
    struct fx_options o = *in;
    o.may_refuse = true;
    vidmm_status st = fx_open(&f, &o);
    if (st == VIDMM_OK) fx_close(&f);
    else assert_non_null(strstr(f.why, part));
    return st;
}

static void no_device_ops(struct vidmm_adapter_info *info) { info->flags &= ~(uint32_t)VIDMM_ADAPTER_IOMMU; }

static void a_driver_opts_in_to_either_model_or_to_both(void **state)
{
    struct fixture f;
    struct fx_options o;
    struct client c;
    uint32_t want[] = {0, VIDMM_ADAPTER_GPUMMU, VIDMM_ADAPTER_IOMMU,
                       VIDMM_ADAPTER_GPUMMU | VIDMM_ADAPTER_IOMMU};
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        fx_options(&o, REF_FORMAT_A);
        o.machine_iommu = true;
        o.ref.iommu = (want[i] & VIDMM_ADAPTER_IOMMU) != 0;
        o.ref.no_gpummu = (want[i] & VIDMM_ADAPTER_GPUMMU) == 0;
        (void)fx_open(&f, &o);
        uint32_t models = VIDMM_ADAPTER_GPUMMU | VIDMM_ADAPTER_IOMMU;
        assert_int_equal(vidmm_adapter_info(f.ad)->flags & models, want[i]);
        struct vidmm_process *p = fx_process(&f);
        if (i == 0) { /* nothing but physical service: no virtual context, no addresses */
            struct vidmm_device *d;
            struct vidmm_context *ctx;
            struct vidmm_context_desc cd = {.node = REF_NODE_COMPUTE};
            struct vidmm_reserve r = {.base = GIB(8), .bytes = MIB(1)};
            uint64_t va, value;
            assert_int_equal(vidmm_device_create(p, &d), VIDMM_OK);
            assert_int_equal(vidmm_context_create(d, &cd, &ctx), VIDMM_NOT_SUPPORTED);
            assert_int_equal(vidmm_va_reserve(p, NULL, &r, &va, &value), VIDMM_NOT_SUPPORTED);
        } else if ((want[i] & VIDMM_ADAPTER_IOMMU) == 0) {
            client_open(&c, &f, p);
            gpu_fill(&c, c.buffer_va + KIB(32), 7, 64);
        } else {
            client_open_shared(&c, &f, p);
            gpu_fill(&c, c.buffer_va + KIB(32), 7, 64);
        }
        fx_close(&f);
    }
}

static void a_node_serves_only_models_of_its_adapter(void **state)
{
    struct fx_options o;
    (void)state;
    machine_options(&o, BOTH);
    o.edit_info = no_device_ops; /* the bit is not set, but nodes say that they serve the model */
    assert_int_equal(refusal(&o, "a model that the adapter does not have"), VIDMM_INVALID);
    machine_options(&o, BOTH);
    o.machine_iommu = false;
    assert_int_equal(refusal(&o, "a platform with an IOMMU"), VIDMM_INVALID);
}

static void one_model_on_copy(struct vidmm_adapter_info *info)
{
    info->node[REF_NODE_COPY].iommu = false;
    info->node[REF_NODE_COMPUTE].gpummu = false;
}

static void a_context_needs_its_model_on_the_node(void **state)
{
    struct fixture f;
    struct fx_options o;
    struct vidmm_device *d;
    struct vidmm_context *ctx;
    struct ref_context_private in = {.magic = REF_CONTEXT_MAGIC, .iommu = 1};
    struct vidmm_context_desc shared = {.private_data = &in, .private_size = sizeof(in)}, plain = {0};
    (void)state;
    machine_options(&o, BOTH);
    o.edit_info = one_model_on_copy;
    (void)fx_open(&f, &o);
    assert_int_equal(vidmm_device_create(fx_process(&f), &d), VIDMM_OK);
    shared.node = REF_NODE_COPY;
    plain.node = REF_NODE_COMPUTE;
    uint64_t hash = vidmm_state_hash(f.ad);
    assert_int_equal(vidmm_context_create(d, &shared, &ctx), VIDMM_NOT_SUPPORTED);
    assert_int_equal(vidmm_context_create(d, &plain, &ctx), VIDMM_NOT_SUPPORTED);
    assert_true(hash == vidmm_state_hash(f.ad));
    assert_int_equal(vidmm_device_model(d), VIDMM_MODEL_NONE); /* a refused context decides nothing */
    plain.node = REF_NODE_COPY;
    assert_int_equal(vidmm_context_create(d, &plain, &ctx), VIDMM_OK);
    assert_int_equal(vidmm_device_model(d), VIDMM_MODEL_GPUMMU);
    fx_close(&f);
}

static void a_device_has_the_model_of_its_first_context(void **state)
{
    struct fixture f;
    struct client c;
    struct vidmm_context *ctx;
    struct vidmm_context_desc plain = {.node = REF_NODE_COPY};
    (void)state;
    open_machine(&f, BOTH);
    client_open_shared(&c, &f, NULL);
    assert_int_equal(vidmm_device_model(c.device), VIDMM_MODEL_IOMMU);
    uint64_t hash = vidmm_state_hash(f.ad);
    assert_int_equal(vidmm_context_create(c.device, &plain, &ctx), VIDMM_INVALID);
    assert_true(hash == vidmm_state_hash(f.ad));
    (void)client_context_shared(&c, REF_NODE_COPY);
    fx_close(&f);
}

/* ---- one node, both models ------------------------------------------------------------------------ */

static void one_node_serves_both_models_at_the_same_time(void **state)
{
    struct fixture f;
    struct client a, b;
    uint64_t va, words[2][REF_WORDS_MAX];
    (void)state;
    open_machine(&f, BOTH);
    client_open(&a, &f, NULL);
    client_open_shared(&b, &f, NULL);
    (void)client_memory(&a, KIB(256), SET_64K, &va);
    uint64_t own = commit(&b, 64);
    for (uint32_t round = 1; round <= 8; round++) {
        uint64_t done[2] = {++a.issued, ++b.issued};
        uint32_t n = ref_emit_fill(words[0], va, round, KIB(256));
        assert_int_equal(client_submit_on(&a, a.context, words[0], n), VIDMM_OK);
        n = ref_emit_fill(words[1], own, 0x100 + round, KIB(256));
        assert_int_equal(client_submit_on(&b, b.context, words[1], n), VIDMM_OK);
        assert_int_equal(vidmm_context_signal(a.context, &a.fence, &done[0], 1), VIDMM_OK);
        assert_int_equal(vidmm_context_signal(b.context, &b.fence, &done[1], 1), VIDMM_OK);
        assert_true(vidmm_context_pending(a.context) > 0 && vidmm_context_pending(b.context) > 0);
        client_wait(&a, a.fence, done[0]);
        client_wait(&b, b.fence, done[1]);
        assert_true(gpu_sum(&a, va, KIB(256)) == sum_of_pattern(round, KIB(256)));
        for (uint64_t at = 0; at < KIB(256); at += 8)
            assert_true(cpu_load(&b, own + at) == ((uint64_t)(0x100 + round) << 32 | (0x100 + round)));
        assert_true(gpu_sum(&b, own, KIB(256)) == sum_of_pattern(0x100 + round, KIB(256)));
    }
    fx_close(&f);
}

/* ---- the address space ---------------------------------------------------------------------------- */

static void the_gpu_sees_what_the_cpu_sees(void **state)
{
    struct fixture f;
    struct fx_options o;
    struct client c;
    (void)state;
    for (uint32_t levels = 4; levels <= 5; levels++) {
        machine_options(&o, ONLY_IOMMU);
        o.levels = levels;
        (void)fx_open(&f, &o);
        struct client other;
        client_open_shared(&other, &f, NULL); /* another process has its memory at the same addresses */
        client_open_shared(&c, &f, NULL);
        uint64_t x = commit(&c, 16), theirs = commit(&other, 16);
        assert_true(x == theirs); /* the same numbers, other bytes */
        assert_true((x >> 47 != 0) == (levels == 5));
        cpu_store(&other, theirs, 0xbad);
        for (uint64_t i = 0; i < 16 * PAGE; i += 8) cpu_store(&c, x + i, i * 3);
        for (uint64_t i = 0; i < 16 * PAGE; i += 1000) assert_int_equal(gpu_read(&c, x + i), i * 3);
        gpu_fill(&c, x + 5 * PAGE - 12, 0x5a5a5a5a, 2 * PAGE);
        uint64_t edge = (5 * PAGE - 16) * 3 + 0x5a5a5a5a00000000ull;
        assert_true(cpu_load(&c, x + 5 * PAGE) == 0x5a5a5a5a5a5a5a5aull);
        assert_true(cpu_load(&c, x + 5 * PAGE - 16) == edge);
        assert_true(cpu_load(&other, theirs) == 0xbad);
        assert_int_equal(gpu_read(&other, theirs), 0xbad);
        fx_close(&f);
    }
}

/* A list that the CPU builds, over several pages; the GPU follows the pointers and changes what they name. */
static void pointers_are_the_same_for_cpu_and_gpu(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t words[REF_WORDS_MAX], totals[2];
    enum { NODES = 200 };
    (void)state;
    open_machine(&f, ONLY_IOMMU);
    client_open_shared(&c, &f, NULL);
    uint64_t updates = f.tap.op_count[VIDMM_OP_UPDATE_PAGE_TABLE];
    uint64_t heap = commit(&c, 64), result = commit(&c, 1), head = 0, sum = 0;
    for (uint64_t i = 0; i < NODES; i++) {
        struct ref_list_node n = {head, i * i};
        uint64_t at = heap + (i * 7919 % (64 * PAGE / 16)) * 16;
        assert_true(osmm_cpu_write(c.os, at, &n, sizeof(n)));
        head = at;
        sum += i * i;
    }
    assert_true(client_run(&c, words, ref_emit_walk_list(words, head, 1000, result, NODES)));
    assert_true(osmm_cpu_read(c.os, result, totals, sizeof(totals)));
    assert_int_equal(totals[0], NODES);
    assert_int_equal(totals[1], sum);
    for (uint64_t i = NODES; head != 0 && i-- > 0;) {
        struct ref_list_node n;
        assert_true(osmm_cpu_read(c.os, head, &n, sizeof(n)));
        assert_int_equal(n.value, i * i + 1000);
        head = n.next;
    }
    /* No second set of page tables: the driver saw none for anybody but the paging process. */
    assert_int_equal(f.tap.op_count[VIDMM_OP_UPDATE_PAGE_TABLE], updates);
    for (uint64_t i = 0; i < f.tap.count[TAP_UPDATE]; i++)
        assert_true(tap_find(&f.tap, TAP_UPDATE, i)->system);
    for (uint32_t i = 0; i < f.tap.context_count; i++)
        assert_true(f.tap.contexts[i].system || !f.tap.contexts[i].has_root);
    fx_close(&f);
}

static void pages_never_touched_come_when_the_gpu_touches_them(void **state)
{
    struct fixture f;
    struct client c;
    (void)state;
    open_machine(&f, ONLY_IOMMU);
    client_open_shared(&c, &f, NULL);
    uint64_t va = commit(&c, 32), zeros = os_accounts(&f).demand_zero;
    assert_int_equal(gpu_read(&c, va), 0);
    assert_int_equal(os_accounts(&f).demand_zero, zeros + 1);
    assert_true(unit_stats(&f).requests > 0);
    gpu_fill(&c, va, 0x77, 32 * PAGE);
    assert_int_equal(os_accounts(&f).demand_zero, zeros + 32);
    for (uint64_t i = 0; i < 32; i++) assert_true(cpu_load(&c, va + i * PAGE + 8) == 0x7700000077ull);
    fx_close(&f);
}

/* Where the CPU may not go the GPU may not either; the fault says that it came from the IOMMU. */
static void what_the_cpu_cannot_reach_the_gpu_cannot(void **state)
{
    struct fixture f;
    struct client c;
    struct vidmm_page_fault fault;
    (void)state;
    for (int what = 0; what < 4; what++) {
        open_machine(&f, ONLY_IOMMU);
        client_open_shared(&c, &f, NULL);
        uint64_t va = commit(&c, 2);
        cpu_store(&c, va, 0x1234);
        gpu_fill(&c, va + PAGE, 1, PAGE); /* in every cache */
        if (what == 0) gpu_read_faults(&c, 0x10000);
        if (what == 1) gpu_read_faults(&c, 1ull << 62);
        if (what == 2) {
            assert_int_equal(osmm_protect(c.os, va, false), VIDMM_OK);
            assert_int_equal(gpu_read(&c, va), 0x1234);
            gpu_write_faults(&c, va + PAGE);
        }
        if (what == 3) {
            assert_int_equal(osmm_decommit(c.os, va), VIDMM_OK);
            gpu_read_faults(&c, va + PAGE);
        }
        assert_int_equal(vidmm_device_fault(c.device, &fault), VIDMM_OK);
        assert_true((fault.flags & VIDMM_FAULT_IOMMU) != 0);
        assert_int_equal((fault.flags & VIDMM_FAULT_WRITE) != 0, what == 2);
        struct client next; /* and only that device is lost */
        client_open_shared(&next, &f, c.process);
        gpu_fill(&next, commit(&next, 1), 3, PAGE);
        fx_close(&f);
    }
}

static void copies_on_write_are_copied_for_the_gpu_too(void **state)
{
    struct fixture f;
    struct client c, other;
    uint64_t copy = 0;
    (void)state;
    open_machine(&f, ONLY_IOMMU);
    client_open_shared(&c, &f, NULL);
    client_open_shared(&other, &f, NULL);
    uint64_t va = commit(&c, 8);
    gpu_fill(&c, va, 0xaa, 8 * PAGE); /* cached as writable */
    assert_int_equal(osmm_clone(c.os, va, other.os, &copy), VIDMM_OK);
    gpu_fill(&c, va, 0xbb, 4 * PAGE);
    gpu_fill(&other, copy + 4 * PAGE, 0xcc, 4 * PAGE);
    assert_true(gpu_sum(&c, va, 4 * PAGE) == sum_of_pattern(0xbb, 4 * PAGE));
    assert_true(gpu_sum(&c, va + 4 * PAGE, 4 * PAGE) == sum_of_pattern(0xaa, 4 * PAGE));
    assert_true(gpu_sum(&other, copy, 4 * PAGE) == sum_of_pattern(0xaa, 4 * PAGE));
    assert_true(gpu_sum(&other, copy + 4 * PAGE, 4 * PAGE) == sum_of_pattern(0xcc, 4 * PAGE));
    assert_true(os_accounts(&f).copied_on_write >= 8);
    fx_close(&f);
}

/* ---- registration --------------------------------------------------------------------------------- */

static void processes_are_registered_without_being_asked(void **state)
{
    struct fixture f;
    struct fx_options o;
    (void)state;
    open_machine(&f, ONLY_IOMMU);
    struct vidmm_process *p = fx_process(&f);
    assert_true(osmm_process_pasid(f.os_process[0]) != 0);
    struct vidmm_process *again;
    assert_int_equal(vidmm_process_create_for(f.ad, f.os_process[0], &again), VIDMM_INVALID);
    fx_forget(&f, p); /* the OS ends its process with the fixture */
    vidmm_process_destroy(p);
    fx_settle(&f);
    fx_close(&f);
    /* The bit, and nothing else. */
    fx_options(&o, REF_FORMAT_A);
    o.machine_iommu = true;
    (void)fx_open(&f, &o);
    (void)fx_process(&f);
    assert_int_equal(osmm_process_pasid(f.os_process[0]), 0);
    fx_close(&f);
}

static void the_pasid_comes_with_the_device(void **state)
{
    struct fixture f;
    struct vidmm_device *d[3];
    (void)state;
    open_machine(&f, ONLY_IOMMU);
    struct vidmm_process *p = fx_process(&f), *q = fx_process(&f);
    assert_int_equal(vidmm_device_create(p, &d[0]), VIDMM_OK);
    assert_int_equal(vidmm_device_create(p, &d[1]), VIDMM_OK);
    assert_int_equal(vidmm_device_create(q, &d[2]), VIDMM_OK);
    uint32_t pasid[3];
    for (uint64_t i = 0; i < 3; i++) pasid[i] = tap_find(&f.tap, TAP_CREATE_DEVICE, i)->pasid;
    assert_true(pasid[0] != 0 && pasid[0] == pasid[1] && pasid[2] != 0 && pasid[2] != pasid[0]);
    assert_int_equal(pasid[0], osmm_process_pasid(f.os_process[0]));
    assert_int_equal(pasid[2], osmm_process_pasid(f.os_process[1]));
    vidmm_device_destroy(d[0]);
    fx_settle(&f);
    assert_int_equal(f.tap.count[TAP_DESTROY_DEVICE], 1);
    fx_close(&f);
}

/* The end of a process while its packets run: work ends, PASID is given back, and nothing of it is left. */
static void the_pasid_goes_when_the_work_is_over(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t words[REF_WORDS_MAX];
    (void)state;
    open_machine(&f, ONLY_IOMMU);
    client_open_shared(&c, &f, NULL);
    uint64_t va = commit(&c, 512);
    uint32_t n = ref_emit_fill(words, va, 9, 512 * PAGE);
    for (int i = 0; i < 3; i++) assert_int_equal(client_submit_on(&c, c.context, words, n), VIDMM_OK);
    for (int i = 0; i < 400; i++) (void)world_turn(f.world);
    struct osmm_process *os = f.os_process[0];
    fx_forget(&f, c.process);
    vidmm_process_destroy(c.process);
    assert_true(osmm_process_pasid(os) != 0); /* a packet is on the engine */
    fx_settle(&f);
    assert_int_equal(osmm_process_pasid(os), 0);
    struct softgpu_iommu_stats before = unit_stats(&f);
    osmm_process_destroy(os);
    assert_true(before.walks > 0);
    fx_close(&f);
}

/* ---- the verifier is not blind --------------------------------------------------------------------- */

/* Memory of one process goes to another while the first one's engine is in the middle of it. */
static uint64_t foreign_accesses(uint32_t os_defects, uint32_t unit_defects)
{
    struct fixture f;
    struct fx_options o;
    struct client c, other;
    uint64_t words[REF_WORDS_MAX], copy;
    machine_options(&o, ONLY_IOMMU);
    o.os_defects = os_defects;
    o.unit_defects = unit_defects;
    (void)fx_open(&f, &o);
    f.expect_violations = true;
    client_open_shared(&c, &f, NULL);
    client_open_shared(&other, &f, NULL);
    for (int round = 0; round < 60; round++) {
        uint64_t va = commit(&c, 64);
        gpu_fill(&c, va, 0x11, 64 * PAGE);
        if (os_defects == OSMM_SHARES_WRITABLE)
            while (osmm_clone(c.os, va, other.os, &copy) == VIDMM_BUSY) (void)world_turn(f.world);
        uint32_t n = ref_emit_fill(words, va, 0x22, 64 * PAGE);
        assert_int_equal(client_submit_on(&c, c.context, words, n), VIDMM_OK);
        for (uint64_t i = world_below(f.world, 60); i > 0; i--) (void)world_turn(f.world);
        while (osmm_decommit(c.os, va) == VIDMM_BUSY) (void)world_turn(f.world);
        uint64_t theirs = commit(&other, 64);
        for (uint64_t i = 0; i < 64; i++) cpu_store(&other, theirs + i * PAGE, 0x33);
        fx_settle(&f);
        if (vidmm_device_state(c.device) == VIDMM_DEVICE_ACTIVE) continue;
        client_open_shared(&c, &f, c.process); /* it faulted: only right */
    }
    uint64_t foreign = os_accounts(&f).foreign;
    fx_close(&f);
    return foreign;
}

static void memory_is_reused_only_when_nothing_reaches_it(void **state)
{
    (void)state;
    assert_int_equal(foreign_accesses(0, 0), 0);
    assert_true(foreign_accesses(OSMM_REUSES_EARLY, 0) > 0);
    assert_true(foreign_accesses(OSMM_NO_INVALIDATION, 0) > 0);
    assert_true(foreign_accesses(OSMM_SHARES_WRITABLE, 0) > 0);
    assert_true(foreign_accesses(0, IOMMU_NO_DRAIN) > 0);
    assert_true(foreign_accesses(0, IOMMU_KEEPS_DEVICE_TLB) > 0);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(a_driver_opts_in_to_either_model_or_to_both, "ADP-01 ADP-11", "ADP-01"),
        VT_TEST(a_node_serves_only_models_of_its_adapter, "ADP-12", NULL),
        VT_TEST(a_context_needs_its_model_on_the_node, "ADP-12", NULL),
        VT_TEST(a_device_has_the_model_of_its_first_context, "ADP-11", NULL),
        VT_TEST(one_node_serves_both_models_at_the_same_time, "ADP-02", "ADP-02"),
        VT_TEST(the_gpu_sees_what_the_cpu_sees, "IOM-02", "IOM-02"),
        VT_TEST(pointers_are_the_same_for_cpu_and_gpu, "IOM-03", "IOM-03"),
        VT_TEST(pages_never_touched_come_when_the_gpu_touches_them, "IOM-02", NULL),
        VT_TEST(what_the_cpu_cannot_reach_the_gpu_cannot, "IOM-24", NULL),
        VT_TEST(copies_on_write_are_copied_for_the_gpu_too, "IOM-02", NULL),
        VT_TEST(processes_are_registered_without_being_asked, "IOM-04", "IOM-04"),
        VT_TEST(processes_are_registered_without_being_asked, "ADP-04", "ADP-04"),
        VT_TEST(the_pasid_comes_with_the_device, "IOM-05", "IOM-05"),
        VT_TEST(the_pasid_goes_when_the_work_is_over, "IOM-14", NULL),
        VT_TEST(memory_is_reused_only_when_nothing_reaches_it, "", NULL),
    };
    return vt_main(argc, argv, "model_iommu", cases, VT_COUNT(cases));
}
