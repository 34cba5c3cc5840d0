/* SPDX-License-Identifier: MIT */
/* test_core_bringup.c - descriptions that contradict themselves, and the paging process that bring-up
 * makes. */
#include "core/core.h"

#include "core_fixture.h"

#include <string.h>

/* ---- descriptions ----------------------------------------------------------------------------------- */

/* A wrong description must end in a named refusal with nothing left behind, not in a crash later on. */
static void refused(enum ref_format format, void (*change)(struct vidmm_adapter_info *), const char *word)
{
    struct fx f;
    const char *why = NULL;
    fx_init(&f, format);
    f.hooks.info = change;
    assert_int_equal(fx_start_adapter(&f, &why), VIDMM_INVALID);
    assert_non_null(why);
    if (strstr(why, word) == NULL) fail_msg("\"%s\" says nothing of %s", why, word);
    f.ad = NULL;
    assert_int_equal(fx_count(&f, EV_CREATE_PROCESS), 0);
    fx_close(&f);
}

static void accepted(enum ref_format format, void (*change)(struct vidmm_adapter_info *))
{
    struct fx f;
    fx_init(&f, format);
    f.hooks.info = change;
    fx_start(&f);
    fx_close(&f);
}

static void no_model(struct vidmm_adapter_info *i) { i->flags = VIDMM_ADAPTER_VIRTUAL_ADDRESSING; }
static void model_alone(struct vidmm_adapter_info *i) { i->flags = VIDMM_ADAPTER_GPUMMU; }
static void nothing(struct vidmm_adapter_info *i) { i->flags = 0; }
static void both_models(struct vidmm_adapter_info *i) { i->flags |= VIDMM_ADAPTER_IOMMU; }

static void model_bits_belong_together(void **state)
{
    (void)state;
    refused(REF_FORMAT_A, no_model, "VirtualAddressingSupported");
    refused(REF_FORMAT_A, model_alone, "VirtualAddressingSupported");
    refused(REF_FORMAT_A, nothing, "a model that the adapter does not have");
    refused(REF_FORMAT_A, both_models, "hardware queues"); /* accepted without: tests/model/test_iommu.c */
}

static void one_level(struct vidmm_adapter_info *i) { i->level_count = 1; }
static void no_level(struct vidmm_adapter_info *i) { i->level_count = 0; }
static void seven_levels(struct vidmm_adapter_info *i) { i->level_count = 7; }

static void level_counts(void **state)
{
    (void)state;
    refused(REF_FORMAT_A, no_level, "2..6");
    refused(REF_FORMAT_A, one_level, "2..6");
    refused(REF_FORMAT_A, seven_levels, "2..6");
}

static void no_nodes(struct vidmm_adapter_info *i) { i->node_count = 0; }
static void many_nodes(struct vidmm_adapter_info *i) { i->node_count = 65; }

static void node_counts(void **state)
{
    (void)state;
    refused(REF_FORMAT_A, no_nodes, "node count");
    refused(REF_FORMAT_A, many_nodes, "node count");
}

static void bits_missing(struct vidmm_adapter_info *i) { i->level[1].index_bits = 8; }
static void bits_more(struct vidmm_adapter_info *i) { i->va_bits = 47; }
static void bits_none(struct vidmm_adapter_info *i) { i->level[0].index_bits = 0; }
static void bits_many(struct vidmm_adapter_info *i) { i->level[0].index_bits = 32; }

static void index_bits_must_add_up(void **state)
{
    (void)state;
    refused(REF_FORMAT_A, bits_missing, "VirtualAddressBitCount");
    refused(REF_FORMAT_A, bits_more, "VirtualAddressBitCount");
    refused(REF_FORMAT_A, bits_none, "index bits");
    refused(REF_FORMAT_A, bits_many, "index bits");
}

static void odd_table(struct vidmm_adapter_info *i) { i->level[2].table_bytes = 5000; }
static void no_table(struct vidmm_adapter_info *i) { i->level[2].table_bytes = 0; }

static void table_sizes(void **state)
{
    (void)state;
    refused(REF_FORMAT_A, odd_table, "table size");
    refused(REF_FORMAT_A, no_table, "table size");
}

static void tables_unreachable(struct vidmm_adapter_info *i) { i->segment[1].flags = 0; }
static void tables_in_aperture(struct vidmm_adapter_info *i) { i->level[0].segment = 3; }
static void tables_nowhere(struct vidmm_adapter_info *i) { i->level[0].paging_segment = 9; }
static void no_mode(struct vidmm_adapter_info *i) { i->update_mode = 3; }

static void gpu_writes_large_system_tables(struct vidmm_adapter_info *i)
{
    i->update_mode = VIDMM_UPDATE_GPU_PHYSICAL;
    i->level[0].segment = 0;
    i->level[0].table_bytes = 8192;
}

static void nobody_begins_the_paging_tables(struct vidmm_adapter_info *i)
{
    i->update_mode = VIDMM_UPDATE_GPU_VIRTUAL;
    i->segment[1].flags = 0;
    i->level[0].paging_segment = 2;
}

static void tables_must_be_in_reach_of_the_cpu(void **state)
{
    (void)state;
    refused(REF_FORMAT_A, tables_unreachable, "CPU");
    refused(REF_FORMAT_A, tables_in_aperture, "memory segment");
    refused(REF_FORMAT_A, tables_nowhere, "memory segment");
    refused(REF_FORMAT_A, no_mode, "update mode");
    refused(REF_FORMAT_A, gpu_writes_large_system_tables, "single pages");
    refused(REF_FORMAT_A, nobody_begins_the_paging_tables, "paging process");
}

static void no_aperture(struct vidmm_adapter_info *i) { i->segment[2].flags = 0; }
static void two_apertures(struct vidmm_adapter_info *i) { i->segment[0].flags = VIDMM_SEGMENT_APERTURE; }

static void exactly_one_aperture(void **state)
{
    (void)state;
    refused(REF_FORMAT_A, no_aperture, "aperture");
    refused(REF_FORMAT_A, two_apertures, "aperture");
}

static void visible_twice(struct vidmm_adapter_info *i) { i->segment[1].flags |= VIDMM_SEGMENT_CPU_VISIBLE; }
static void half_page(struct vidmm_adapter_info *i) { i->segment[0].bytes += 4096; }
static void empty_segment(struct vidmm_adapter_info *i) { i->segment[0].bytes = 0; }

static void segment_descriptions(void **state)
{
    (void)state;
    refused(REF_FORMAT_A, visible_twice, "CpuVisible");
    refused(REF_FORMAT_A, half_page, "page size");
    refused(REF_FORMAT_A, empty_segment, "page size");
}

/* An aperture has no pages of its own: a large one is no reason to refuse. */
static void large_aperture(struct vidmm_adapter_info *i) { i->segment[2].bytes = 512ull << 30; }

static void apertures_may_be_large(void **state)
{
    (void)state;
    accepted(REF_FORMAT_A, large_aperture);
}

static void paging_nowhere(struct vidmm_adapter_info *i) { i->paging_node = 3; }
static void odd_buffer(struct vidmm_adapter_info *i) { i->paging_buffer_bytes = 5000; }
static void huge_buffer(struct vidmm_adapter_info *i) { i->paging_buffer_bytes = 8u << 20; }
static void no_depth(struct vidmm_adapter_info *i) { i->submit_depth = 0; }

static void other_numbers(void **state)
{
    struct fx f;
    const char *why = NULL;
    (void)state;
    refused(REF_FORMAT_A, paging_nowhere, "paging node");
    refused(REF_FORMAT_A, odd_buffer, "paging buffer");
    refused(REF_FORMAT_A, no_depth, "submit_depth");
    fx_init(&f, REF_FORMAT_A);
    f.hooks.info = huge_buffer;
    assert_int_equal(fx_start_adapter(&f, &why), VIDMM_INVALID);
    assert_non_null(strstr(why, "paging buffers"));
    f.ad = NULL;
    fx_close(&f);
}

static void without_root_size(struct vidmm_kmd_ops *o) { o->get_root_page_table_size = NULL; }
static void without_submit(struct vidmm_kmd_ops *o) { o->submit_command_virtual = NULL; }
static void without_window(struct vidmm_kmd_ops *o) { o->map_cpu_host_aperture = NULL; }
static void other_abi(struct vidmm_kmd_ops *o) { o->abi = 2; }

static vidmm_status start_without(enum ref_format format, void (*change)(struct vidmm_kmd_ops *))
{
    struct fx f;
    const char *why = NULL;
    fx_init(&f, format);
    f.hooks.ops = change;
    vidmm_status st = fx_start_adapter(&f, &why);
    if (st != VIDMM_OK) f.ad = NULL;
    assert_true(st == VIDMM_OK || why != NULL);
    fx_close(&f);
    return st;
}

static uint64_t huge_root(void *kmd, uint32_t *entries)
{
    (void)kmd;
    return (uint64_t)*entries * 4096; /* bytes; at least 256 MiB for format B's largest */
}

static void with_huge_root(struct vidmm_kmd_ops *o) { o->get_root_page_table_size = huge_root; }

/* The engine must be able to reach a whole table through its window. */
static void a_root_beyond_the_window(void **state)
{
    struct fx f;
    const char *why;
    (void)state;
    fx_init(&f, REF_FORMAT_B);
    f.opt.update_mode = VIDMM_UPDATE_GPU_VIRTUAL;
    f.hooks.ops = with_huge_root;
    assert_int_equal(fx_start_adapter(&f, &why), VIDMM_INVALID);
    assert_string_equal(why, "a root page table is too large for GPU_VIRTUAL");
    fx_close(&f);
}

/* What the description needs, the table must have: a missing entry is a refusal, not a jump to 0. */
static void operations_that_are_needed(void **state)
{
    (void)state;
    assert_int_equal(start_without(REF_FORMAT_A, without_submit), VIDMM_INVALID);
    assert_int_equal(start_without(REF_FORMAT_A, other_abi), VIDMM_INVALID);
    assert_int_equal(start_without(REF_FORMAT_B, without_root_size), VIDMM_INVALID);
    assert_int_equal(start_without(REF_FORMAT_A, without_root_size), VIDMM_OK);
}

static void tables_without_a_window(void)
{
    assert_int_equal(start_without(REF_FORMAT_A, without_window), VIDMM_INVALID);
}

static void tables_in_memory_need_a_window(void **state)
{
    (void)state;
    assert_int_equal(fx_in_child(tables_without_a_window), 0);
}

/* ---- the paging process -------------------------------------------------------------------------------- */

/* Its process comes first, then its tables, each initialised by the CPU, then its context. */
static void bring_up_order(void **state)
{
    struct fx f;
    const char *why;
    (void)state;
    fx_init(&f, REF_FORMAT_B);
    assert_int_equal(fx_start_adapter(&f, &why), VIDMM_OK);
    uint32_t at = 0;
    const struct event *process = fx_next(&f, EV_CREATE_PROCESS, &at), *e;
    assert_non_null(process);
    assert_true(process->system);
    const struct event *context = fx_next(&f, EV_CREATE_CONTEXT, &at);
    assert_non_null(context);
    assert_true(context->system);
    assert_int_equal(context->submit.node, REF_NODE_PAGING);
    uint32_t initial = 0;
    for (at = 0; (e = fx_next(&f, EV_UPDATE, &at)) != NULL;) {
        assert_true(fx_index(&f, e) > fx_index(&f, process) && fx_index(&f, e) < fx_index(&f, context));
        assert_ptr_equal(e->object, process->object);
        assert_int_equal(e->update.mode, VIDMM_UPDATE_CPU_VIRTUAL);
        assert_non_null(e->update.table.cpu_virtual);
        initial += (e->update.flags & VIDMM_UPDATE_INITIAL) != 0;
    }
    assert_int_equal(initial, 1 + 1 + 255); /* root, system table, scratch tables */
    assert_int_equal(fx_count(&f, EV_BUILD), 0);
    assert_int_equal(fx_count(&f, EV_SUBMIT), 0);
    fx_close(&f);
}

/* One create_process per process, one of them the system's; the handle is what updates and flushes carry. */
static void processes_are_told_to_the_driver(void **state)
{
    struct fx f;
    struct vidmm_process *p;
    (void)state;
    fx_open(&f, REF_FORMAT_A);
    uint32_t at = 0, system = 0, apps = 0;
    assert_int_equal(vidmm_process_create(f.ad, &p), VIDMM_OK);
    for (const struct event *e; (e = fx_next(&f, EV_CREATE_PROCESS, &at)) != NULL;) {
        if (e->system) system++;
        else apps++;
    }
    assert_int_equal(system, 1);
    assert_int_equal(apps, 2);
    struct peer me = fx_peer(p);
    struct vidmm_open *op = fx_alloc(me.d, MIB, SEG1, 1);
    fx_map_all(me.q, op);
    fx_resident(me.q, op);
    fx_run(&f);
    fx_forget(&f);
    fx_evict(me.d, op, 0);
    uint64_t va = fx_map(me.q, op, 0, 0, 64 * KIB);
    fx_map(me.q, op, va, 64 * KIB, 64 * KIB);
    fx_run(&f);
    uint32_t carried = 0;
    at = 0;
    for (const struct event *e; (e = fx_next(&f, EV_UPDATE, &at)) != NULL; carried++)
        assert_ptr_equal(e->object, p->space.kmd_process);
    at = 0;
    for (const struct event *e; (e = fx_next_op(&f, VIDMM_OP_FLUSH_TLB, &at)) != NULL; carried++)
        assert_ptr_equal(e->op.flush.process, p->space.kmd_process);
    assert_true(carried > 2);
    assert_true(fx_destroy_process(&f, p));
    fx_close(&f);
}

static bool entry_valid(struct fx *f, struct vmm_table *t, uint32_t i)
{
    struct vidmm_pte_kind kind = {0};
    uint64_t address;
    assert_true(ref_ops()->pte_decode(f->ref, t->level, t->cpu, i, &kind, &address));
    return (kind.flags & VIDMM_PTE_VALID) != 0;
}

/* 1 GiB with all its tables; the first page invalid; scratch from 4 MiB on, invalid until it is used. */
static void the_paging_space_has_its_fixed_layout(void **state)
{
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        struct fx f;
        const char *why;
        fx_init(&f, (enum ref_format)format);
        assert_int_equal(fx_start_adapter(&f, &why), VIDMM_OK);
        struct vmm_space *sp = &f.ad->paging;
        assert_int_equal(VMM_SCRATCH_START, 4 * MIB);
        assert_int_equal(VMM_PAGING_END, 1024 * MIB);
        uint64_t leaf_bytes = 1ull << f.ad->shift[1], leaves = 0, valid = 0;
        for (uint64_t va = 0; va < VMM_PAGING_END; va += leaf_bytes, leaves++) {
            struct vmm_table *leaf = vmm_leaf_find(sp, va);
            assert_non_null(leaf);
            assert_true(leaf->live > 0);
            for (uint32_t i = 0; i < leaf->entries; i++) {
                bool is = entry_valid(&f, leaf, i);
                uint64_t at = va + i * PAGE;
                assert_false(is && at < PAGE);
                assert_false(is && at >= VMM_SCRATCH_START);
                valid += is;
            }
        }
        assert_int_equal(valid, VMM_BUFFERS * f.ad->info.paging_buffer_bytes / PAGE);
        if (format == REF_FORMAT_B) {
            assert_int_equal(leaves, 256); /* the system table and 255 scratch tables */
            assert_int_equal(sp->tables.count, 257);
            assert_int_equal(sp->tables.root->live, 256);
        }
        fx_close(&f);
    }
}

/* Work of all kinds later, its root and upper tables are those of bring-up; only scratch entries change. */
static void the_paging_tables_never_change(void **state)
{
    struct fx f;
    (void)state;
    fx_open(&f, REF_FORMAT_B);
    struct vmm_table *root = f.ad->paging.tables.root, *system = vmm_leaf_find(&f.ad->paging, 0);
    uint64_t tables = f.ad->paging.tables.count;
    fx_forget(&f);
    for (int i = 0; i < 4; i++) {
        struct vidmm_open *op = fx_alloc(f.d, 10 * MIB, SEG1 | SYS, 1);
        fx_map_all(f.q, op);
        fx_resident(f.q, op);
        fx_run(&f);
    }
    uint32_t at = 0, scratch = 0;
    for (const struct event *e; (e = fx_next(&f, EV_UPDATE, &at)) != NULL;) {
        if (e->object != f.ad->paging.kmd_process) continue;
        assert_int_equal(e->update.level, 0);
        assert_true(e->update.first_va >= VMM_SCRATCH_START && e->update.first_va < VMM_PAGING_END);
        assert_ptr_not_equal(e->update.table.cpu_virtual, system->cpu);
        scratch++;
    }
    assert_true(scratch > 0);
    assert_ptr_equal(f.ad->paging.tables.root, root);
    assert_int_equal(f.ad->paging.tables.count, tables);
    fx_close(&f);
}

static void paging_on_the_copy_node(struct vidmm_adapter_info *i) { i->paging_node = REF_NODE_COPY; }

/* Paging work goes to the node that the driver names, and there with the paging flag. */
static void paging_goes_to_its_node(void **state)
{
    (void)state;
    for (int moved = 0; moved < 2; moved++) {
        struct fx f;
        fx_init(&f, REF_FORMAT_A);
        f.hooks.info = moved ? paging_on_the_copy_node : NULL;
        fx_start(&f);
        struct vidmm_open *op = fx_alloc(f.d, MIB, SEG1, 1);
        fx_forget(&f);
        fx_resident(f.q, op);
        fx_run(&f);
        uint32_t at = 0, n = 0;
        for (const struct event *e; (e = fx_next(&f, EV_SUBMIT, &at)) != NULL; n++) {
            assert_int_equal(e->submit.node, moved ? REF_NODE_COPY : REF_NODE_PAGING);
            assert_ptr_equal(e->object, f.ad->paging_context);
            assert_true((e->submit.flags & VIDMM_SUBMIT_PAGING) != 0);
            assert_int_equal(e->submit.va % 4096, 0);
        }
        assert_true(n > 0);
        fx_close(&f);
    }
}

/* Wherever bring-up fails, nothing is left over. */
static void bring_up_fails_cleanly_everywhere(void **state)
{
    (void)state;
    for (uint64_t k = 1;; k++) {
        struct fx f;
        const char *why = NULL;
        fx_init(&f, REF_FORMAT_B);
        f.world.fail_in = k;
        vidmm_status st = fx_start_adapter(&f, &why);
        bool reached = f.world.fail_in == 0;
        f.world.fail_in = 0;
        if (st != VIDMM_OK) f.ad = NULL;
        assert_true(reached ? st == VIDMM_NO_MEMORY && why != NULL : st == VIDMM_OK);
        fx_close(&f);
        if (!reached) break;
    }
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(model_bits_belong_together, "ADP-10", NULL),
        VT_TEST(level_counts, "ADP-15", NULL),
        VT_TEST(node_counts, "ADP-18", NULL),
        VT_TEST(index_bits_must_add_up, "PT-04", NULL),
        VT_TEST(table_sizes, "PT-16", NULL),
        VT_TEST(tables_must_be_in_reach_of_the_cpu, "PT-26", NULL),
        VT_TEST(exactly_one_aperture, "SEG-09", NULL),
        VT_TEST(segment_descriptions, "SEG-24", NULL),
        VT_TEST(apertures_may_be_large, "", NULL),
        VT_TEST(other_numbers, "", NULL),
        VT_TEST(operations_that_are_needed, "PT-08", NULL),
        VT_TEST(a_root_beyond_the_window, "", NULL),
        VT_TEST(tables_in_memory_need_a_window, "", NULL),
        VT_TEST(bring_up_order, "ADP-24 PAG-16 PAG-18", NULL),
        VT_TEST(processes_are_told_to_the_driver, "ADP-26", NULL),
        VT_TEST(the_paging_space_has_its_fixed_layout, "PAG-14 PAG-15 PAG-16", NULL),
        VT_TEST(the_paging_tables_never_change, "PAG-17", NULL),
        VT_TEST(paging_goes_to_its_node, "PT-40", NULL),
        VT_TEST(bring_up_fails_cleanly_everywhere, "", NULL),
    };
    return vt_main(argc, argv, "core_bringup", cases, VT_COUNT(cases));
}
