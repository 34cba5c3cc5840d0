/* SPDX-License-Identifier: MIT */
/* test_iommu.c - the IoMmu model over the modelled translation unit and operating system (area IOM): what
 * is a process' own, how it is registered, what an allocation is there, and what is not offered. */
#include "core/core.h"

#include "fixture.h"

enum machine { ONLY_IOMMU, BOTH };

static void machine_options(struct fx_options *o, enum machine m)
{
    fx_options(o, REF_FORMAT_A);
    o->machine_iommu = o->ref.iommu = true;
    o->ref.no_gpummu = m == ONLY_IOMMU;
}

static void open_machine(struct fixture *f, enum machine m)
{
    struct fx_options o;
    machine_options(&o, m);
    (void)fx_open(f, &o);
}

static uint64_t commit(struct client *c, uint64_t pages)
{
    uint64_t va = 0;
    assert_int_equal(osmm_commit(c->os, pages, true, &va), VIDMM_OK);
    return va;
}

static uint64_t cpu_load(struct client *c, uint64_t va)
{
    uint64_t v = 0;
    assert_true(osmm_cpu_read(c->os, va, &v, sizeof(v)));
    return v;
}

static void cpu_store(struct client *c, uint64_t va, uint64_t v)
{
    assert_true(osmm_cpu_write(c->os, va, &v, sizeof(v)));
}

static struct softgpu_iommu_stats unit_stats(struct fixture *f)
{
    struct softgpu_iommu_stats s;
    softgpu_iommu_get_stats(f->unit, &s);
    return s;
}

static struct osmm_accounts os_accounts(struct fixture *f)
{
    struct osmm_accounts a;
    osmm_get_accounts(f->os, &a);
    return a;
}

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

/* ---- allocations ----------------------------------------------------------------------------------- */

static void allocations_are_system_memory_at_one_address(void **state)
{
    struct fixture f;
    struct client c;
    void *cpu, *again;
    (void)state;
    for (int m = ONLY_IOMMU; m <= BOTH; m++) {
        struct vidmm_open *op;
        struct vidmm_placement_info at;
        open_machine(&f, (enum machine)m);
        client_open_shared(&c, &f, NULL);
        uint64_t hash = vidmm_state_hash(f.ad);
        struct fx_alloc only = {.bytes = KIB(64), .set = SET_64K, .preferred = 1};
        assert_int_equal(client_try_alloc(&c, &only, &op), VIDMM_INVALID); /* IOM-06 */
        assert_true(hash == vidmm_state_hash(f.ad));
        struct fx_alloc either = {.bytes = KIB(256), .set = SET_64K | SET_SYSTEM, .preferred = 1};
        op = client_alloc(&c, &either);
        client_resident(&c, op);
        fx_settle(&f);
        vidmm_open_placement(op, &at);
        assert_true(at.resident && at.segment == 0);
        assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_OK);
        uint64_t va = (uint64_t)(uintptr_t)cpu;
        cpu_store(&c, va + 8, 0x600df00d);
        assert_int_equal(gpu_read(&c, va + 8), 0x600df00d);
        assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
        for (int i = 0; i < 3; i++) {
            client_evict(&c, op);
            fx_settle(&f);
            client_resident(&c, op);
            assert_int_equal(vidmm_open_lock(op, &again), VIDMM_OK);
            assert_ptr_equal(cpu, again);
            assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
            gpu_fill(&c, va, (uint32_t)i + 1, KIB(256)); /* also while it is not locked */
            assert_true(cpu_load(&c, va + KIB(256) - 8) == (uint64_t)(i + 1) * 0x100000001ull);
        }
        vidmm_open_close(op, 0);
        fx_settle(&f);
        gpu_read_faults(&c, va);
        fx_close(&f);
    }
}

static void what_came_before_the_model_waits_at_home(void **state)
{
    struct fixture f;
    struct vidmm_placement_info at;
    struct ref_context_private in = {.magic = REF_CONTEXT_MAGIC, .iommu = 1};
    struct vidmm_context_desc shared = {.private_data = &in, .private_size = sizeof(in)}, plain = {0};
    struct fx_alloc either = {.bytes = KIB(64), .set = SET_64K | SET_SYSTEM, .preferred = 1};
    struct fx_alloc only = {.bytes = KIB(64), .set = SET_64K, .preferred = 1};
    (void)state;
    for (int becomes = VIDMM_MODEL_GPUMMU; becomes <= VIDMM_MODEL_IOMMU; becomes++) {
        struct client c;
        open_machine(&f, BOTH);
        c = (struct client){.fx = &f, .process = fx_process(&f)};
        assert_int_equal(vidmm_device_create(c.process, &c.device), VIDMM_OK);
        assert_int_equal(vidmm_queue_create(c.device, 0, &c.queue), VIDMM_OK);
        struct vidmm_open *op = client_alloc(&c, &either), *local = client_alloc(&c, &only);
        client_resident(&c, op);
        fx_settle(&f);
        vidmm_open_placement(op, &at);
        assert_true(at.resident && at.segment == 0);
        uint64_t hash = vidmm_state_hash(f.ad);
        assert_int_equal(vidmm_context_create(c.device, &shared, &c.context), VIDMM_INVALID); /* `local` */
        assert_true(hash == vidmm_state_hash(f.ad));
        vidmm_open_close(local, 0);
        bool iommu = becomes == VIDMM_MODEL_IOMMU;
        assert_int_equal(vidmm_context_create(c.device, iommu ? &shared : &plain, &c.context), VIDMM_OK);
        fx_settle(&f);
        vidmm_open_placement(op, &at);
        assert_int_equal(at.segment, iommu ? 0 : 1);
        fx_close(&f);
    }
}

/* Budgets, counts and lists as for anybody else; packets wait for what is not resident. */
static void residency_is_asked_for_as_ever(void **state)
{
    struct fixture f;
    struct fx_options o;
    struct client c;
    uint64_t words[REF_WORDS_MAX], value = 0, trim = 0;
    void *cpu;
    (void)state;
    machine_options(&o, ONLY_IOMMU);
    (void)fx_open(&f, &o);
    client_open_shared(&c, &f, NULL);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){
        .bytes = MIB(1), .set = SET_SYSTEM, .flags = VIDMM_ALLOCATION_ACCESSED_PHYSICALLY});
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_OK);
    uint64_t va = (uint64_t)(uintptr_t)cpu;
    struct softgpu_knobs k = fx_knobs(&f); /* the aperture needs the paging engine: hold it */
    k.hang_nodes = 1u << REF_NODE_PAGING;
    fx_set_knobs(&f, &k);
    assert_int_equal(vidmm_make_resident(c.queue, &op, 1, 0, &value, &trim), VIDMM_PENDING);
    assert_int_equal(client_submit_on(&c, c.context, words, ref_emit_fill(words, va, 5, PAGE)), VIDMM_OK);
    for (int i = 0; i < 2000; i++) (void)world_turn(f.world);
    assert_int_equal(cpu_load(&c, va), 0); /* not before it is resident */
    k.hang_nodes = 0;
    fx_set_knobs(&f, &k);
    client_wait(&c, vidmm_queue_fence(c.queue), value);
    fx_settle(&f);
    assert_int_equal(cpu_load(&c, va), 0x500000005ull);
    /* Used while it is not resident: translation does not care (Q45), the verifier does. */
    client_evict(&c, op);
    fx_settle(&f);
    assert_int_equal(os_accounts(&f).evicted_uses, 0);
    f.expect_violations = true;
    assert_int_equal(gpu_read(&c, va), 5);
    assert_true(os_accounts(&f).evicted_uses > 0);
    assert_int_equal(vidmm_evict(c.device, &op, 1, 0, &trim), VIDMM_INVALID);
    fx_close(&f);
}

static void objects(struct fixture *f, int number)
{
    const char *what = "";
    assert_int_equal(vidmm_verify(f->ad, &what), number);
    assert_true(what[0] != 0);
}

static void the_verifier_knows_who_stays_at_home(void **state)
{
    struct fixture f;
    struct client c;
    (void)state;
    open_machine(&f, ONLY_IOMMU);
    client_open_shared(&c, &f, NULL);
    fx_settle(&f);
    fx_verify(&f);
    struct vidmm_open *op = c.buffer;
    uint64_t shared = op->shared;
    op->shared = 0;
    objects(&f, 25);
    op->shared = shared;
    op->al->locks++;
    objects(&f, 25);
    op->al->locks--;
    op->keeps_home = false;
    objects(&f, 25);
    op->keeps_home = true;
    fx_close(&f);
}

/* ---- primaries -------------------------------------------------------------------------------------- */

static struct vidmm_open *primary(struct client *c, uint64_t bytes)
{
    struct vidmm_open *op = client_alloc(c, &(struct fx_alloc){.bytes = bytes, .set = SET_SYSTEM,
                                                               .primary = true});
    client_resident(c, op);
    return op;
}

static uint64_t pointer(struct vidmm_open *op)
{
    void *cpu = NULL;
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_OK);
    assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
    return (uint64_t)(uintptr_t)cpu;
}

static uint32_t scanned(struct fixture *f, uint64_t offset)
{
    uint32_t pixel = 0;
    assert_true(ref_scan_out(f->ref, offset, &pixel, sizeof(pixel)));
    return pixel;
}

static uint64_t mapped_now(const struct fixture *f)
{
    return vidmm_adapter_counters(f->ad)->aperture_maps - vidmm_adapter_counters(f->ad)->aperture_unmaps;
}

static void primaries_are_mapped_while_they_are_displayed(void **state)
{
    struct fixture f;
    struct client c;
    struct vidmm_open *op[8];
    (void)state;
    for (int m = ONLY_IOMMU; m <= BOTH; m++) {
        open_machine(&f, (enum machine)m);
        client_open_shared(&c, &f, NULL);
        for (uint32_t i = 0; i < 8; i++) {
            op[i] = primary(&c, KIB(128));
            gpu_fill(&c, pointer(op[i]), 0x100 + i, KIB(128));
        }
        fx_settle(&f);
        assert_int_equal(mapped_now(&f), 0);
        for (uint32_t i = 0; i < 16; i++) {
            uint32_t k = i * 3 % 8;
            assert_int_equal(vidmm_display_set(f.ad, op[k]), VIDMM_PENDING);
            fx_settle(&f);
            fx_verify(&f);
            assert_ptr_equal(vidmm_display_shown(f.ad), op[k]);
            assert_int_equal(mapped_now(&f), 1);
            for (uint64_t at = 0; at < KIB(128); at += 4096 + 4) assert_int_equal(scanned(&f, at), 0x100 + k);
            const struct tap_entry *told = tap_find(&f.tap, TAP_DISPLAY, i);
            assert_int_equal(told->segment, 3);
        }
        gpu_fill(&c, pointer(op[5]), 0xabc, KIB(128)); /* drawn while it is displayed */
        assert_int_equal(scanned(&f, KIB(100)), 0xabc);
        assert_int_equal(vidmm_display_set(f.ad, op[5]), VIDMM_OK);
        assert_int_equal(vidmm_display_set(f.ad, NULL), VIDMM_PENDING);
        fx_settle(&f);
        assert_int_equal(mapped_now(&f), 0);
        assert_int_equal(vidmm_adapter_counters(f.ad)->aperture_bytes, 0);
        fx_close(&f);
    }
}

/* The controller is told only when the bytes are there, and the old ones go only when it has been. */
static void the_display_never_reads_what_is_not_mapped(void **state)
{
    struct fixture f;
    struct client c;
    struct vidmm_open *op[3];
    (void)state;
    open_machine(&f, ONLY_IOMMU);
    client_open_shared(&c, &f, NULL);
    for (uint32_t i = 0; i < 3; i++) {
        op[i] = primary(&c, KIB(64));
        gpu_fill(&c, pointer(op[i]), 0x200 + i, KIB(64));
    }
    for (uint32_t round = 0; round < 300; round++) {
        uint32_t k = (uint32_t)world_below(f.world, 4);
        assert_true(vidmm_display_set(f.ad, k < 3 ? op[k] : NULL) >= 0);
        for (uint64_t turns = world_below(f.world, 40); turns > 0; turns--) {
            (void)world_turn(f.world);
            const struct vidmm_open *shown = vidmm_display_shown(f.ad);
            for (uint32_t i = 0; i < 3; i++)
                if (shown == op[i]) assert_int_equal(scanned(&f, 4096 * (round % 16)), 0x200 + i);
            fx_verify(&f);
        }
    }
    assert_true(vidmm_display_set(f.ad, op[0]) >= 0);
    fx_settle(&f);
    vidmm_open_close(op[0], 0); /* what is closed is not shown any more, and only then goes */
    fx_settle(&f);
    assert_null(vidmm_display_shown(f.ad));
    assert_int_equal(mapped_now(&f), 0);
    fx_close(&f);
}

static void what_can_be_displayed_is_known(void **state)
{
    struct fixture f;
    struct fx_options o;
    struct client c;
    (void)state;
    machine_options(&o, ONLY_IOMMU);
    o.ref.segment[2].bytes = MIB(1); /* the aperture */
    (void)fx_open(&f, &o);
    client_open_shared(&c, &f, NULL);
    struct vidmm_open *plain = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64), .set = SET_SYSTEM});
    struct vidmm_open *large = primary(&c, MIB(2)), *half = primary(&c, KIB(512));
    struct vidmm_open *more = primary(&c, KIB(600));
    struct vidmm_open *busy = client_alloc(&c, &(struct fx_alloc){
        .bytes = KIB(512), .set = SET_SYSTEM, .flags = VIDMM_ALLOCATION_ACCESSED_PHYSICALLY});
    uint64_t hash = vidmm_state_hash(f.ad), value, trim;
    assert_int_equal(vidmm_display_set(f.ad, plain), VIDMM_INVALID); /* no primary */
    assert_int_equal(vidmm_display_set(f.ad, large), VIDMM_NO_VIDEO_MEMORY);
    assert_true(hash == vidmm_state_hash(f.ad));
    client_resident(&c, busy);
    assert_int_equal(vidmm_display_set(f.ad, more), VIDMM_NO_VIDEO_MEMORY); /* a list counts on that room */
    assert_int_equal(vidmm_display_set(f.ad, half), VIDMM_PENDING);
    fx_settle(&f);
    fx_verify(&f);
    client_evict(&c, busy);
    struct vidmm_open *rest = client_alloc(&c, &(struct fx_alloc){
        .bytes = KIB(516), .set = SET_SYSTEM, .flags = VIDMM_ALLOCATION_ACCESSED_PHYSICALLY});
    assert_int_equal(vidmm_make_resident(c.queue, &rest, 1, VIDMM_RESIDENT_CANT_TRIM_FURTHER, &value, &trim),
                     VIDMM_NO_MEMORY);
    assert_int_equal(vidmm_display_set(f.ad, NULL), VIDMM_PENDING);
    fx_settle(&f);
    client_resident(&c, rest);
    fx_close(&f);
}

/* ---- what is not offered --------------------------------------------------------------------------- */

static void there_are_no_address_services(void **state)
{
    struct fixture f;
    struct client c;
    (void)state;
    for (int m = ONLY_IOMMU; m <= BOTH; m++) {
        uint64_t va = 0, value = 0;
        open_machine(&f, (enum machine)m);
        client_open_shared(&c, &f, NULL);
        struct vidmm_map map = {.open = c.buffer, .bytes = PAGE};
        uint64_t hash = vidmm_state_hash(f.ad);
        assert_int_equal(vidmm_va_map(c.queue, &map, &va, &value), VIDMM_NOT_SUPPORTED);
        if (m == ONLY_IOMMU) assert_int_equal(vidmm_va_free(c.process, GIB(8), MIB(1)), VIDMM_NOT_SUPPORTED);
        assert_true(hash == vidmm_state_hash(f.ad));
        fx_close(&f);
    }
}

/* Tiles are user mode's: it finds the shared address of each tile and writes that into its commands. */
static void tiles_are_translated_by_user_mode(void **state)
{
    struct fixture f;
    struct client c;
    enum { TILES = 16, TILE = 65536 };
    uint64_t table[TILES], words[REF_WORDS_MAX], va = 0, value = 0;
    (void)state;
    open_machine(&f, BOTH);
    client_open_shared(&c, &f, NULL);
    struct vidmm_reserve r = {.base = GIB(8), .bytes = MIB(1)};
    struct vidmm_tile_op op = {.type = VIDMM_TILE_UNMAP, .base = GIB(8), .bytes = KIB(64),
                               .protection = VIDMM_PROT_NO_ACCESS};
    assert_int_equal(vidmm_va_reserve(c.process, c.queue, &r, &va, &value), VIDMM_NOT_SUPPORTED);
    assert_true(vidmm_va_update(c.context, &op, 1, NULL, 0, VIDMM_UPDATE_DO_NOT_WAIT) < 0);
    assert_int_equal(vidmm_context_updates(c.context), 0);
    uint64_t pool = commit(&c, TILES * TILE / PAGE), image = commit(&c, TILES * TILE / PAGE);
    for (uint32_t i = 0; i < TILES; i++) table[i] = pool + (i * 5 % TILES) * TILE;
    for (uint32_t i = 0; i < TILES; i++) gpu_fill(&c, table[i], 0x1000 + i, TILE);
    for (uint32_t i = 0; i < TILES; i++)
        assert_true(client_run(&c, words, ref_emit_copy(words, image + i * TILE, table[i], TILE)));
    for (uint32_t i = 0; i < TILES; i++) {
        assert_int_equal((uint32_t)cpu_load(&c, image + i * TILE + 4096), 0x1000 + i);
        assert_int_equal((uint32_t)cpu_load(&c, pool + (i * 5 % TILES) * TILE), 0x1000 + i);
    }
    fx_close(&f);
}

/* ---- fences ---------------------------------------------------------------------------------------- */

static void fences_are_reached_by_their_cpu_address(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t words[2 * REF_WORDS_MAX];
    (void)state;
    for (int m = ONLY_IOMMU; m <= BOTH; m++) {
        struct vidmm_fence *before, *after;
        open_machine(&f, (enum machine)m);
        client_open_shared(&c, &f, NULL);
        assert_int_equal(vidmm_fence_create(c.device, 5, 0, &before), VIDMM_OK);
        assert_int_equal(vidmm_fence_create(c.device, 0, 0, &after), VIDMM_OK);
        uint64_t wait = vidmm_fence_gpu_address(before), signal = vidmm_fence_gpu_address(after);
        assert_int_equal(cpu_load(&c, wait), 5); /* the process sees the value at that address */
        uint32_t n = ref_emit_fence_wait(words, wait, 6);
        n += ref_emit_fence_write(words + n, signal, 77);
        assert_int_equal(client_submit_on(&c, c.context, words, n), VIDMM_OK);
        for (int i = 0; i < 1000; i++) (void)world_turn(f.world);
        assert_int_equal(vidmm_fence_value(after), 0);
        cpu_store(&c, wait, 6);
        assert_int_equal(vidmm_fence_value(before), 6);
        client_wait(&c, after, 77);
        assert_int_equal(cpu_load(&c, signal), 77);
        fx_close(&f);
    }
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
        VT_TEST(allocations_are_system_memory_at_one_address, "IOM-06 IOM-12", "IOM-06"),
        VT_TEST(allocations_are_system_memory_at_one_address, "ALC-06", "ALC-06"),
        VT_TEST(what_came_before_the_model_waits_at_home, "ADP-11", NULL),
        VT_TEST(residency_is_asked_for_as_ever, "RES-02", "RES-02"),
        VT_TEST(primaries_are_mapped_while_they_are_displayed, "IOM-07 SEG-16", "IOM-07"),
        VT_TEST(the_display_never_reads_what_is_not_mapped, "IOM-07", NULL),
        VT_TEST(what_can_be_displayed_is_known, "IOM-09", "IOM-09"),
        VT_TEST(the_verifier_knows_who_stays_at_home, "INV-25", NULL),
        VT_TEST(there_are_no_address_services, "IOM-01 IOM-11", "IOM-01"),
        VT_TEST(tiles_are_translated_by_user_mode, "IOM-10", "IOM-10"),
        VT_TEST(fences_are_reached_by_their_cpu_address, "IOM-15", NULL),
        VT_TEST(memory_is_reused_only_when_nothing_reaches_it, "", NULL),
    };
    return vt_main(argc, argv, "model_iommu", cases, VT_COUNT(cases));
}
