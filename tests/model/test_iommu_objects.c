/* SPDX-License-Identifier: MIT */
/* test_iommu_objects.c - the IoMmu model: allocations, residency, primaries and fences of its processes, and
 * what is not offered to them (area IOM). */
#include "core/core.h"

#include "iommu_rig.h"

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
    hold_paging(&f, true); /* which the aperture needs */
    assert_int_equal(vidmm_make_resident(c.queue, &op, 1, 0, &value, &trim), VIDMM_PENDING);
    assert_int_equal(client_submit_on(&c, c.context, words, ref_emit_fill(words, va, 5, PAGE)), VIDMM_OK);
    for (int i = 0; i < 2000; i++) (void)world_turn(f.world);
    assert_int_equal(cpu_load(&c, va), 0); /* not before it is resident */
    hold_paging(&f, false);
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

static uint64_t pointer(struct vidmm_open *op)
{
    void *cpu = NULL;
    vidmm_status st = vidmm_open_lock(op, &cpu); /* PENDING: the bytes are on their way home */
    assert_true(st == VIDMM_OK || st == VIDMM_PENDING);
    assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
    return (uint64_t)(uintptr_t)cpu;
}

static struct vidmm_open *opened(struct client *c, const struct vidmm_open *first)
{
    struct vidmm_open *op = NULL;
    assert_int_equal(vidmm_alloc_open(c->device, first, 0, &op), VIDMM_OK);
    return op;
}

/* One in video memory of a GpuMmu process comes home when an IoMmu process opens it, before that one's
 * packets start, also when something else is on its way; and each of two processes has its own pointer. */
static void an_open_in_another_process_has_its_own_pointer(void **state)
{
    struct fixture f;
    struct client g, a, b;
    struct vidmm_placement_info at;
    uint64_t va, value = 0, trim = 0, words[REF_WORDS_MAX];
    (void)state;
    open_machine(&f, BOTH);
    client_open(&g, &f, NULL);
    client_open_shared(&a, &f, NULL);
    (void)commit(&a, 3); /* so that addresses differ between the two */
    client_open_shared(&b, &f, NULL);
    struct vidmm_open *op = client_memory(&g, KIB(256), SET_64K | SET_SYSTEM, &va);
    gpu_fill(&g, va, 0x77, KIB(256));
    vidmm_open_placement(op, &at);
    assert_int_equal(at.segment, 1);
    struct fx_alloc more = {.bytes = KIB(64), .set = SET_64K, .preferred = 1};
    struct vidmm_open *other = client_alloc(&g, &more);
    hold_paging(&f, true);
    assert_int_equal(vidmm_make_resident(g.queue, &other, 1, 0, &value, &trim), VIDMM_PENDING);
    for (int i = 0; i < 100; i++) (void)world_turn(f.world);
    struct vidmm_open *in_a = opened(&a, op), *in_b = opened(&b, op);
    uint64_t at_a = pointer(in_a), at_b = pointer(in_b);
    assert_true(at_a != at_b);
    client_resident(&a, in_a);
    client_resident(&b, in_b);
    uint64_t heap = commit(&a, 64);
    uint32_t n = ref_emit_copy(words, heap, at_a, KIB(256));
    assert_int_equal(client_submit_on(&a, a.context, words, n), VIDMM_OK);
    for (int i = 0; i < 2000; i++) (void)world_turn(f.world);
    hold_paging(&f, false);
    fx_settle(&f);
    assert_int_equal(cpu_load(&a, heap + KIB(255)), 0x7700000077ull);
    fx_settle(&f);
    fx_verify(&f);
    vidmm_open_placement(op, &at);
    assert_int_equal(at.segment, 0);
    gpu_fill(&b, at_b, 0x88, KIB(256)); /* one content */
    assert_int_equal(cpu_load(&a, at_a + 8), 0x8800000088ull);
    assert_true(gpu_sum(&g, va, KIB(256)) == sum_of_pattern(0x88, KIB(256)));
    client_evict(&a, in_a);
    client_evict(&b, in_b);
    fx_settle(&f);
    vidmm_open_close(in_a, 0);
    vidmm_open_close(in_b, 0);
    fx_settle(&f);
    vidmm_open_placement(op, &at);
    assert_int_equal(at.segment, 1); /* and it goes back when they have gone */
    fx_close(&f);
}

/* What only video memory can hold is not opened by a process that cannot reach it; what is left of a resource
 * when its creator has gone stays where it is. */
static void shared_memory_outlives_its_creator(void **state)
{
    struct fixture f;
    struct client g, a, b;
    struct vidmm_open *none;
    (void)state;
    open_machine(&f, BOTH);
    client_open(&g, &f, NULL);
    client_open_shared(&a, &f, NULL);
    client_open_shared(&b, &f, NULL);
    struct fx_alloc only = {.bytes = KIB(64), .set = SET_64K, .preferred = 1};
    struct vidmm_open *local = client_alloc(&g, &only);
    uint64_t hash = vidmm_state_hash(f.ad);
    assert_int_equal(vidmm_alloc_open(a.device, local, 0, &none), VIDMM_INVALID);
    assert_true(hash == vidmm_state_hash(f.ad));
    struct vidmm_open *in_a = client_alloc(&a, &(struct fx_alloc){.bytes = KIB(64), .set = SET_SYSTEM});
    client_resident(&a, in_a);
    struct vidmm_open *in_b = opened(&b, in_a);
    client_resident(&b, in_b);
    uint64_t at = pointer(in_b);
    gpu_fill(&a, pointer(in_a), 0x99, KIB(64));
    fx_forget(&f, a.process);
    vidmm_process_destroy(a.process);
    fx_settle(&f);
    assert_int_equal(cpu_load(&b, at + KIB(63)), 0x9900000099ull);
    assert_int_equal(gpu_read(&b, at), 0x99);
    assert_true(pointer(in_b) == at);
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

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(allocations_are_system_memory_at_one_address, "IOM-06 IOM-12", "IOM-06"),
        VT_TEST(allocations_are_system_memory_at_one_address, "ALC-06", "ALC-06"),
        VT_TEST(what_came_before_the_model_waits_at_home, "ADP-11", NULL),
        VT_TEST(residency_is_asked_for_as_ever, "RES-02", "RES-02"),
        VT_TEST(an_open_in_another_process_has_its_own_pointer, "IOM-08 IOM-12", "IOM-08"),
        VT_TEST(shared_memory_outlives_its_creator, "IOM-06 IOM-08 ALC-26", "IOM-08"),
        VT_TEST(primaries_are_mapped_while_they_are_displayed, "IOM-07 SEG-16", "IOM-07"),
        VT_TEST(the_display_never_reads_what_is_not_mapped, "IOM-07", NULL),
        VT_TEST(what_can_be_displayed_is_known, "IOM-09", "IOM-09"),
        VT_TEST(the_verifier_knows_who_stays_at_home, "INV-25", NULL),
        VT_TEST(there_are_no_address_services, "IOM-01 IOM-11", "IOM-01"),
        VT_TEST(tiles_are_translated_by_user_mode, "IOM-10", "IOM-10"),
        VT_TEST(fences_are_reached_by_their_cpu_address, "IOM-15", NULL),
    };
    return vt_main(argc, argv, "model_iommu_objects", cases, VT_COUNT(cases));
}
