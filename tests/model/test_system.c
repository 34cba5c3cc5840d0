/* SPDX-License-Identifier: MIT */
/* test_system.c - the system paging process and the operations that it executes, as the driver sees them
 * (area PAG). */
#include "fixture.h"

static void the_paging_process_is_set_up_at_bring_up(void **state)
{
    struct fixture f;
    (void)state;
    fx_open_format(&f, REF_FORMAT_B); /* S20: 4-byte entries, two levels of 1024 */
    assert_int_equal(f.tap.count[TAP_CREATE_PROCESS], 1);
    assert_true(tap_find(&f.tap, TAP_CREATE_PROCESS, 0)->system);
    assert_int_equal(tap_find(&f.tap, TAP_CREATE_CONTEXT, 0)->flags & VIDMM_CONTEXT_SYSTEM,
                     VIDMM_CONTEXT_SYSTEM);
    assert_int_equal(tap_find(&f.tap, TAP_CREATE_CONTEXT, 0)->node, REF_NODE_PAGING);
    uint32_t root = 0, leaf = 0;
    const struct tap_entry *e;
    for (uint64_t i = 0; (e = tap_find(&f.tap, TAP_UPDATE, i)) != NULL; i++) {
        assert_int_equal(e->mode, VIDMM_UPDATE_CPU_VIRTUAL);
        if ((e->flags & VIDMM_UPDATE_INITIAL) == 0) continue;
        root += e->level == 1;
        leaf += e->level == 0;
    }
    assert_int_equal(root, 1);
    assert_int_equal(leaf, 256); /* the system table and 255 scratch tables: 1 GiB */
    assert_int_equal(f.tap.op_count[VIDMM_OP_VIRTUAL_FILL] + f.tap.op_count[VIDMM_OP_VIRTUAL_TRANSFER], 0);
    assert_int_equal(f.tap.count[TAP_SUBMIT], 0); /* all of it by the CPU */
    fx_close(&f);
}

static void only_scratch_entries_change_later(void **state)
{
    struct fixture f;
    struct client a, b;
    uint64_t va, other;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&a, &f, NULL);
    client_open(&b, &f, NULL);
    tap_clear(&f.tap);
    (void)client_memory(&a, MIB(8), SET_64K | SET_SYSTEM, &va);
    gpu_fill(&a, va, 0x5e, MIB(8));
    struct vidmm_open *op = client_memory(&b, MIB(14), SET_64K, &other);
    vidmm_open_close(op, 0);
    fx_settle(&f);
    assert_int_equal(gpu_sum(&a, va, MIB(8)), sum_of_pattern(0x5e, MIB(8)));
    uint32_t scratch = 0;
    const struct tap_entry *e;
    for (uint64_t i = 0; (e = tap_find(&f.tap, TAP_UPDATE, i)) != NULL; i++) {
        if (!e->system) continue;
        assert_int_equal(e->level, 0);
        assert_int_equal(e->protection, 0);
        assert_in_range(e->va, 0x400000, 0x3fffffff);
        scratch++;
    }
    assert_true(scratch > 0);
    fx_close(&f);
}

/* The order of operations: entries, flush of the paging process, transfer; start and end flags. */
static void transfers_come_after_their_flush(void **state)
{
    struct fixture f;
    struct client a, b;
    uint64_t va, other, moved = 0, filled = 0;
    bool flushed = false, open = false;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&a, &f, NULL);
    client_open(&b, &f, NULL);
    tap_clear(&f.tap);
    (void)client_memory(&a, MIB(8), SET_64K | SET_SYSTEM, &va);
    gpu_fill(&a, va, 0x5e, MIB(8));
    (void)client_memory(&b, MIB(14), SET_64K, &other);
    for (uint64_t i = 0; i < f.tap.logged; i++) {
        const struct tap_entry *e = &f.tap.log[i % TAP_LOG_MAX];
        if (e->call == TAP_UPDATE && e->system) flushed = false;
        if (e->call != TAP_BUILD) continue;
        if (e->op == VIDMM_OP_FLUSH_TLB) flushed |= e->system;
        if (e->op == VIDMM_OP_VIRTUAL_FILL) {
            assert_true(flushed);
            filled += e->bytes;
        }
        if (e->op != VIDMM_OP_VIRTUAL_TRANSFER) continue;
        assert_true(flushed);
        /* one transfer ends before the next */
        assert_int_equal(open, (e->flags & VIDMM_TRANSFER_START) == 0);
        open = (e->flags & VIDMM_TRANSFER_END) == 0;
        moved += e->bytes;
    }
    assert_false(open);
    assert_true(filled >= MIB(22)); /* both were new: zeros */
    assert_int_equal(moved, MIB(8)); /* every byte once */
    for (uint64_t i = 0; i < f.tap.count[TAP_SUBMIT]; i++) {
        const struct tap_entry *e = tap_find(&f.tap, TAP_SUBMIT, i);
        assert_int_equal(e->node == REF_NODE_PAGING, e->system);
    }
    fx_close(&f);
}

/* Operations are packed one behind the other, and a new buffer starts on a page of its own. */
static void paging_buffers_are_packed(void **state)
{
    struct fixture f;
    struct client a, b;
    uint64_t va, other;
    const void *buffer = NULL;
    uint32_t end = 0, packed = 0;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&a, &f, NULL);
    client_open(&b, &f, NULL);
    tap_clear(&f.tap);
    struct vidmm_open *op = client_memory(&a, MIB(8), SET_64K | SET_SYSTEM, &va);
    gpu_fill(&a, va, 3, MIB(8));
    (void)client_memory(&b, MIB(14), SET_64K, &other);
    vidmm_open_close(op, 0);
    fx_settle(&f);
    const struct tap_entry *e;
    for (uint64_t i = 0; (e = tap_find(&f.tap, TAP_BUILD, i)) != NULL; i++) {
        assert_true(e->count > e->entries);
        if (e->entries == 0) assert_int_equal((uintptr_t)e->table % PAGE, 0);
        if (e->entries != 0) assert_ptr_equal(e->table, buffer);
        if (e->entries != 0) assert_int_equal(e->entries, end);
        packed += e->entries != 0;
        buffer = e->table;
        end = e->count;
    }
    assert_true(packed > 0);
    fx_close(&f);
}

static void system_memory_is_never_filled_by_the_gpu(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    tap_clear(&f.tap);
    (void)client_memory(&c, MIB(2), SET_SYSTEM, &va);
    assert_int_equal(gpu_sum(&c, va, MIB(2)), sum_of_pattern(0, MIB(2)));
    assert_int_equal(f.tap.op_count[VIDMM_OP_VIRTUAL_FILL], 0);
    (void)client_memory(&c, MIB(2), SET_64K, &va);
    assert_int_equal(f.tap.op_count[VIDMM_OP_VIRTUAL_FILL], 1);
    fx_close(&f);
}

static void a_full_paging_buffer_loses_nothing(void **state)
{
    struct fixture f;
    struct fx_options o;
    struct client a, b;
    uint64_t va, other;
    (void)state;
    fx_options(&o, REF_FORMAT_A); /* S21 */
    o.ref.paging_buffer_bytes = 4096;
    (void)fx_open(&f, &o);
    struct softgpu_knobs k = fx_knobs(&f);
    k.buffer_full_every = 3;
    k.copy_bytes_max = 8192;
    fx_set_knobs(&f, &k);
    client_open(&a, &f, NULL);
    client_open(&b, &f, NULL);
    struct vidmm_open *op = client_memory(&a, MIB(8), SET_64K, &va);
    for (uint32_t i = 0; i < 8; i++) gpu_fill(&a, va + MIB(i), 0x900 + i, MIB(1));
    client_evict(&a, op);
    struct vidmm_open *big = client_memory(&b, MIB(14), SET_64K, &other);
    assert_int_equal(gpu_sum(&b, other, MIB(14)), sum_of_pattern(0, MIB(14)));
    client_evict(&b, big);
    client_resident(&a, op);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(gpu_sum(&a, va + MIB(i), MIB(1)), sum_of_pattern(0x900 + i, MIB(1)));
    fx_close(&f);
}

static const struct vt_case cases[] = {
    VT_TEST(the_paging_process_is_set_up_at_bring_up, "PAG-15 PAG-16 PAG-18 ADP-24", NULL),
    VT_TEST(only_scratch_entries_change_later, "PAG-14 PAG-17", NULL),
    VT_TEST(transfers_come_after_their_flush, "PAG-13 PAG-20 PAG-21 PAG-22 PAG-27 PAG-32 PT-40", NULL),
    VT_TEST(paging_buffers_are_packed, "PAG-35", NULL),
    VT_TEST(system_memory_is_never_filled_by_the_gpu, "PAG-36", NULL),
    VT_TEST(a_full_paging_buffer_loses_nothing, "PAG-25 PT-38 RES-24", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "model_system", cases, VT_COUNT(cases)); }
