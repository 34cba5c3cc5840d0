/* SPDX-License-Identifier: MIT */
/* test_tables.c - bring-up of an adapter and page tables, as the driver sees them (areas ADP and PT). */
#include "fixture.h"

#define BASE 0x200000000ull
#define FAR (12 * GIB(1))                 /* beyond what a fresh two-level root covers */

static const struct vidmm_counters *counters(struct fixture *f) { return vidmm_adapter_counters(f->ad); }

/* ---- page tables belong to VidMm ----------------------------------------------------------------- */

static void page_tables_come_and_go_by_themselves(void **state)
{
    struct fixture f;
    struct client c;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64)});
        client_resident(&c, op);
        fx_settle(&f);
        struct vidmm_counters before = *counters(&f);
        bool deep = format == REF_FORMAT_A;
        uint64_t step = deep ? GIB(1) : MIB(4), start = deep ? BASE : MIB(64);
        for (uint64_t i = 0; i < 32; i++) {
            (void)client_map(&c, op, start + i * step, 0, 0, VIDMM_PROT_WRITE);
            gpu_fill(&c, start + i * step, (uint32_t)i, PAGE);
        }
        assert_true(counters(&f)->tables_live >= before.tables_live + 32);
        fx_verify(&f);
        for (uint64_t i = 0; i < 32; i++)
            assert_int_equal(vidmm_va_free(c.process, start + i * step, KIB(64)), VIDMM_OK);
        fx_settle(&f);
        assert_int_equal(counters(&f)->tables_live, before.tables_live);
        assert_int_equal(counters(&f)->segment[0].tables, before.segment[0].tables);
        assert_int_equal(counters(&f)->segment[2].tables, before.segment[2].tables);
        fx_close(&f);
    }
}

static void the_same_calls_give_the_same_results_in_both_formats(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t sum[2], va, sys;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        (void)client_memory(&c, MIB(1), SET_64K, &va);
        (void)client_memory(&c, MIB(1), SET_SYSTEM, &sys);
        for (uint32_t i = 0; i < 256; i++) gpu_fill(&c, va + i * PAGE, 0x1000 + i, PAGE);
        gpu_copy(&c, sys + 3 * PAGE, va + 64 * PAGE, 100 * PAGE);
        for (uint32_t i = 0; i < 100; i++) assert_int_equal(gpu_read(&c, sys + (3 + i) * PAGE), 0x1040 + i);
        sum[format] = gpu_sum(&c, va, MIB(1)) ^ gpu_sum(&c, sys, MIB(1));
        fx_close(&f);
    }
    assert_true(sum[0] == sum[1]);
}

/* S15: the root of a two-level space grows when an address beyond it is mapped, and contexts follow. */
static void the_root_table_can_be_resized(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t low;
    (void)state;
    fx_open_format(&f, REF_FORMAT_B);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_memory(&c, KIB(64), SET_64K, &low);
    assert_true(low < MIB(64));
    gpu_fill(&c, low, 0x31, KIB(64));
    struct vidmm_context *second = client_context(&c, REF_NODE_COPY);
    assert_int_equal(gpu_read_on(&c, second, low), 0x31);
    fx_settle(&f);
    tap_clear(&f.tap);
    (void)client_map(&c, op, FAR, 0, 0, VIDMM_PROT_WRITE);
    assert_int_equal(gpu_read(&c, FAR + PAGE), 0x31);
    assert_int_equal(gpu_read_on(&c, second, low), 0x31); /* the old range still translates */
    const struct tap_entry *size = tap_find(&f.tap, TAP_ROOT_SIZE, 0), *root = NULL;
    assert_non_null(size);
    assert_true(size->count >= 3073); /* 12 GiB / 4 MiB, and one */
    for (int i = 0; i < 2; i++) {    /* every context is told, with the new number of entries */
        root = tap_find(&f.tap, TAP_SET_ROOT, (uint64_t)i);
        assert_non_null(root);
        assert_int_equal(root->entries, size->entries);
    }
    assert_ptr_not_equal(root->object, tap_find(&f.tap, TAP_SET_ROOT, 0)->object);
    assert_int_equal(counters(&f)->root_resizes, 1);
    fx_verify(&f);
    assert_int_equal(vidmm_va_free(c.process, FAR, KIB(64)), VIDMM_OK);
    fx_settle(&f);
    assert_int_equal(gpu_read(&c, low), 0x31); /* and it shrinks again, with the kept part in place */
    assert_true(tap_root(&f.tap, tap_find(&f.tap, TAP_UPDATE, 0)->object)->entries < 3073);
    assert_int_equal(counters(&f)->root_resizes, 2);
    gpu_read_faults(&c, FAR);
    fx_close(&f);
}

static void levels_are_fixed_in_size_but_for_a_two_level_root(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        struct vidmm_open *op = client_memory(&c, KIB(64), SET_64K, &va);
        const uint64_t places[] = {0x10000000, FAR, GIB(40), GIB(900)};
        for (size_t i = 0; i < VT_COUNT(places); i++) {
            (void)client_map(&c, op, places[i], 0, 0, VIDMM_PROT_WRITE);
            gpu_fill(&c, places[i], (uint32_t)i + 1, PAGE);
            assert_int_equal(gpu_read(&c, va), i + 1);
        }
        if (format == REF_FORMAT_A) {
            assert_int_equal(f.tap.count[TAP_ROOT_SIZE], 0); /* more than two levels: never asked */
            assert_int_equal(counters(&f)->root_resizes, 0);
            const struct tap_entry *e;
            for (uint64_t i = 0; (e = tap_find(&f.tap, TAP_UPDATE, i)) != NULL; i++)
                if ((e->flags & VIDMM_UPDATE_INITIAL) != 0) assert_int_equal(e->count, 512);
        } else {
            assert_true(counters(&f)->root_resizes >= 2);
        }
        fx_close(&f);
    }
}

static void one_application_space_for_all_contexts_of_a_process(void **state)
{
    struct fixture f;
    struct client a, b, sibling;
    uint64_t words[REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&a, &f, NULL);
    client_open(&b, &f, NULL);
    client_open(&sibling, &f, a.process);
    assert_int_equal(vidmm_process_space_count(a.process), 1);
    struct client *who[2] = {&a, &b};
    for (uint32_t i = 0; i < 2; i++) {
        struct vidmm_open *op = client_alloc(who[i], &(struct fx_alloc){.bytes = KIB(64), .set = SET_SYSTEM});
        client_resident(who[i], op);
        assert_int_equal(client_map(who[i], op, BASE, 0, 0, VIDMM_PROT_WRITE), BASE);
        gpu_fill(who[i], BASE, 0x100 + i, KIB(64));
    }
    struct vidmm_context *second = client_context(&a, REF_NODE_COPY);
    struct vidmm_context *third = client_context(&a, REF_NODE_COMPUTE);
    assert_int_equal(gpu_read_on(&a, second, BASE), 0x100);
    assert_int_equal(gpu_read_on(&a, third, BASE), 0x100);
    uint32_t n = ref_emit_fill(words, BASE, 0x200, KIB(64));
    assert_true(client_run_on(&a, second, words, n));
    assert_int_equal(gpu_read(&a, BASE + KIB(60)), 0x200);
    assert_int_equal(gpu_read(&sibling, BASE), 0x200); /* another device of the process */
    assert_int_equal(gpu_read(&b, BASE), 0x101);       /* another process: another space */
    fx_close(&f);
}

static void command_buffers_are_neither_read_nor_changed(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, words[2 * REF_WORDS_MAX], copy[2 * REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A); /* S02 */
    client_open(&c, &f, NULL);
    (void)client_memory(&c, MIB(1), SET_4K, &va);
    struct softgpu_knobs k = fx_knobs(&f);
    k.hang_nodes = 1u << REF_NODE_COMPUTE;
    for (uint32_t i = 0; i < vt_rounds(100); i++) {
        uint32_t n = ref_emit_fill(words, va, i, PAGE), bytes;
        memcpy(copy, words, n * 8);
        uint64_t at = client_commands(&c, words, n, &bytes);
        const uint8_t *cpu = c.buffer_cpu + (at - c.buffer_va);
        fx_set_knobs(&f, &k); /* the engine does not fetch: whoever reads now is not the engine */
        world_watch_copies(f.world, cpu, bytes);
        assert_int_equal(vidmm_context_submit(c.context, at, bytes, NULL, 0, 0), VIDMM_OK);
        fx_settle(&f);
        assert_int_equal(world_watched_copies(f.world), 0);
        assert_memory_equal(cpu, copy, n * 8);
        world_watch_copies(f.world, NULL, 0);
        struct softgpu_knobs go = k;
        go.hang_nodes = 0;
        fx_set_knobs(&f, &go);
        fx_settle(&f);
        assert_memory_equal(cpu, copy, n * 8);
        assert_int_equal(gpu_read(&c, va), i);
    }
    fx_close(&f);
}

static void mappings_make_tables_and_tables_make_mappings(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        struct vidmm_open *op = client_memory(&c, MIB(2), SET_64K, &va);
        uint64_t created = counters(&f)->tables_created;
        uint64_t edge = format == REF_FORMAT_A ? BASE + MIB(1) : FAR + MIB(3); /* across a table boundary */
        (void)client_map(&c, op, edge, 0, 0, VIDMM_PROT_WRITE);
        assert_true(counters(&f)->tables_created > created);
        gpu_fill(&c, edge, 0xabc, MIB(2));
        assert_int_equal(gpu_sum(&c, va, MIB(2)), sum_of_pattern(0xabc, MIB(2)));
        fx_close(&f);
    }
}

/* ---- tables in system or local memory ------------------------------------------------------------ */

static void tables_live_in_system_or_local_memory(void **state)
{
    struct fixture f;
    struct fx_options o;
    struct client c;
    uint64_t local, sys;
    (void)state;
    for (uint32_t mask = 0; mask < 16; mask++) { /* every choice of segment for the four levels */
        fx_options(&o, REF_FORMAT_A);
        for (uint32_t i = 0; i < 4; i++) o.ref.table_segment[i] = (mask >> i & 1) != 0 ? 2 : 0;
        for (uint32_t i = 0; i < 4; i++) o.ref.paging_table_segment[i] = (mask >> (3 - i) & 1) != 0 ? 2 : 0;
        (void)fx_open(&f, &o);
        client_open(&c, &f, NULL);
        (void)client_memory(&c, KIB(64), SET_4K, &local);
        (void)client_memory(&c, KIB(64), SET_SYSTEM, &sys);
        gpu_fill(&c, local, 0x51, KIB(64));
        gpu_fill(&c, sys, 0x52, KIB(64));
        assert_int_equal(gpu_read(&c, local), 0x51);
        assert_int_equal(gpu_read(&c, sys), 0x52);
        const struct tap_entry *root = tap_find(&f.tap, TAP_SET_ROOT, f.tap.count[TAP_SET_ROOT] - 1);
        if (root != NULL) assert_int_equal(root->segment, (mask >> 3 & 1) != 0 ? 2 : 0);
        fx_verify(&f);
        fx_close(&f);
    }
}

/* What the driver makes of a valid entry that names a table in that segment. */
static uint64_t link_attr(const struct fixture *f, uint32_t level, uint32_t segment)
{
    const struct vidmm_pte_kind kind = {.level = level, .flags = VIDMM_PTE_VALID, .segment = segment};
    return f->tap.inner->pte_attr(f->tap.inner_kmd, &kind);
}

static void upper_entries_name_the_segment_of_the_table(void **state)
{
    struct fixture f;
    struct fx_options o;
    struct client c;
    uint64_t va;
    (void)state;
    fx_options(&o, REF_FORMAT_A); /* S16: leaf tables local, the others in system memory */
    for (uint32_t i = 0; i < 4; i++) o.ref.table_segment[i] = i == 0 ? 2 : 0;
    (void)fx_open(&f, &o);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_memory(&c, KIB(64), SET_64K, &va);
    fx_settle(&f);
    const uint64_t places[] = {0x10000000, 0x7fff00000000};
    for (int p = 0; p < 2; p++) {
        uint32_t seen = 0;
        uint64_t made = counters(&f)->tables_created;
        tap_clear(&f.tap);
        (void)client_map(&c, op, places[p], 0, 0, 0);
        assert_in_range(counters(&f)->tables_created - made, p == 0 ? 1 : 3, 3);
        const struct tap_entry *e;
        for (uint64_t i = 0; (e = tap_find(&f.tap, TAP_UPDATE, i)) != NULL; i++) {
            if (e->level == 0 || e->first_attr == 0) continue;
            assert_int_equal(e->first_attr, link_attr(&f, e->level, e->level == 1 ? 2 : 0));
            seen++;
        }
        assert_true(seen >= 1);
        assert_int_equal(gpu_read(&c, places[p]), 0);
    }
    fx_close(&f);
}

static void tables_of_running_contexts_stay(void **state)
{
    struct fixture f;
    struct client a, b;
    uint64_t va, big, words[2 * REF_WORDS_MAX];
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format); /* tables in segment 2, and pressure on it and on segment 1 */
        client_open(&a, &f, NULL);
        client_open(&b, &f, NULL);
        (void)client_memory(&a, KIB(64), SET_SYSTEM, &va);
        (void)client_memory(&a, MIB(2), SET_4K | SET_SYSTEM, &big);
        gpu_fill(&a, va, 0x61, KIB(64));
        uint64_t tables = counters(&f)->segment[2].tables;
        struct vidmm_open *evicted = client_memory(&a, MIB(4), SET_64K, &big);
        client_evict(&a, evicted);
        for (uint32_t i = 0; i < 6; i++) { /* everything of A that can go, goes */
            uint64_t at;
            uint32_t set = i % 2 == 0 ? SET_64K : SET_4K;
            struct vidmm_open *op = client_memory(&b, i % 2 == 0 ? MIB(14) : MIB(3), set, &at);
            gpu_fill(&b, at, i, MIB(1));
            uint32_t n = ref_emit_fill(words, va, 0x70 + i, KIB(64));
            assert_true(client_run(&a, words, n)); /* A runs under pressure, and needs its tables */
            assert_int_equal(gpu_read(&a, va + 5 * PAGE), 0x70 + i);
            assert_true(counters(&f)->segment[2].tables >= tables);
            fx_verify(&f);
            vidmm_open_close(op, 0);
            fx_settle(&f);
        }
        assert_true(counters(&f)->page_outs > 0);
        fx_close(&f);
    }
}

/* ---- how entries are written --------------------------------------------------------------------- */

static void a_table_is_initialised_before_it_is_linked(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va;
    const void *seen[512];
    uint32_t n = 0;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    tap_clear(&f.tap);
    client_open(&c, &f, NULL);
    (void)client_memory(&c, MIB(1), SET_64K, &va);
    const struct tap_entry *e;
    for (uint64_t i = 0; (e = tap_find(&f.tap, TAP_UPDATE, i)) != NULL; i++) {
        if (e->system) continue;
        bool known = false;
        for (uint32_t k = 0; k < n; k++) known |= seen[k] == e->table;
        assert_int_equal(known, (e->flags & VIDMM_UPDATE_INITIAL) == 0);
        assert_int_equal(e->mode, VIDMM_UPDATE_CPU_VIRTUAL);
        assert_true(e->start + e->count <= 512); /* one table per call */
        if (known) continue;
        assert_int_equal(e->start, 0);
        assert_int_equal(e->count, 512);
        seen[n++] = e->table;
    }
    assert_true(n >= 4);
    fx_close(&f);
}

/* Level-0 updates of the client between two points of the log, in order of address. */
static uint32_t leaf_updates(struct fixture *f, uint64_t from, uint64_t to, uint32_t *pages)
{
    const struct tap_entry *e;
    uint32_t calls = 0;
    *pages = 0;
    for (uint64_t i = 0; (e = tap_find(&f->tap, TAP_UPDATE, i)) != NULL; i++) {
        bool leaf = !e->system && e->level == 0 && (e->flags & VIDMM_UPDATE_INITIAL) == 0;
        if (!leaf || e->va < from || e->va >= to) continue;
        assert_int_equal(e->start, (e->va >> 12) & 511); /* VA bits of the level */
        calls++;
        *pages += e->count;
    }
    return calls;
}

static void one_update_call_per_table(void **state)
{
    struct fixture f;
    struct client c;
    uint32_t pages;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = MIB(4)});
    client_resident(&c, op);
    fx_settle(&f);
    tap_clear(&f.tap);
    (void)client_map(&c, op, BASE + MIB(1), 0, 0, VIDMM_PROT_WRITE); /* three tables of 2 MiB */
    assert_int_equal(leaf_updates(&f, BASE, BASE + MIB(8), &pages), 3);
    assert_int_equal(pages, 1024);
    fx_close(&f);
}

static void driver_protection_reaches_leaf_entries(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A); /* S12 */
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = 8 * PAGE, .set = SET_4K,
                                                                .preferred = 2});
    client_resident(&c, op);
    fx_settle(&f);
    tap_clear(&f.tap);
    const struct { uint64_t base, protection; } maps[] = {{BASE, 0x11}, {BASE * 2, 0x22}, {BASE, 0x33}};
    for (size_t i = 0; i < VT_COUNT(maps); i++) {
        struct vidmm_map m = {.base = maps[i].base, .open = op, .bytes = 8 * PAGE,
                              .driver_protection = maps[i].protection};
        assert_int_equal(client_try_map(&c, &m, &va), VIDMM_OK);
    }
    const struct tap_entry *e;
    uint32_t at = 0;
    for (uint64_t i = 0; (e = tap_find(&f.tap, TAP_UPDATE, i)) != NULL; i++) {
        bool leaf = e->level == 0 && !e->system && e->first_attr != 0;
        if (e->level > 0) assert_int_equal(e->protection, 0);
        if (!leaf) continue;
        assert_in_range(at, 0, 2);
        assert_int_equal(e->va, maps[at].base);
        assert_int_equal(e->protection, maps[at++].protection);
    }
    assert_int_equal(at, 3);
    /* Also after eviction and return. */
    client_evict(&c, op);
    struct vidmm_open *others[32];
    uint32_t n = 0;
    for (; counters(&f)->evictions == 0; n++) {
        assert_in_range(n, 0, 31);
        others[n] = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(128), .set = SET_4K});
        client_resident(&c, others[n]);
    }
    while (n > 0) vidmm_open_close(others[--n], 0);
    fx_settle(&f);
    tap_clear(&f.tap);
    client_resident(&c, op);
    uint64_t seen = 0;
    for (uint64_t i = 0; (e = tap_find(&f.tap, TAP_UPDATE, i)) != NULL; i++) {
        if (e->system || e->level != 0 || e->first_attr == 0) continue;
        assert_int_equal(e->protection, e->va == BASE ? 0x33 : 0x22);
        seen++;
    }
    assert_int_equal(seen, 2);
    fx_close(&f);
}

static void unique_driver_protection(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va;
    const uint64_t u1 = 0x8000000000000001ull, u4 = 0x8000000000000004ull;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A); /* S13, the first half */
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = MIB(1)});
    struct vidmm_map m = {.base = BASE, .open = op, .offset = KIB(64), .bytes = KIB(64),
                          .driver_protection = u1};
    assert_int_equal(client_try_map(&c, &m, &va), VIDMM_OK);
    struct vidmm_map other = m;
    other.base = 2 * BASE;
    assert_int_equal(client_try_map(&c, &other, &va), VIDMM_OK); /* the same value */
    uint64_t before = vidmm_state_hash(f.ad);
    other.base = 3 * BASE;
    other.driver_protection = u4;
    assert_int_equal(client_try_map(&c, &other, &va), VIDMM_INVALID);
    other.driver_protection = 0;
    assert_int_equal(client_try_map(&c, &other, &va), VIDMM_INVALID);
    assert_int_equal(vidmm_state_hash(f.ad), before);
    other.offset = KIB(256); /* other pages: any value */
    assert_int_equal(client_try_map(&c, &other, &va), VIDMM_OK);
    assert_int_equal(vidmm_va_free(c.process, BASE, KIB(64)), VIDMM_OK); /* free ends it */
    assert_int_equal(vidmm_va_free(c.process, 2 * BASE, KIB(64)), VIDMM_OK);
    m.driver_protection = 0x5;
    assert_int_equal(client_try_map(&c, &m, &va), VIDMM_OK);
    m.driver_protection = 0x6; /* not unique: any value may follow */
    assert_int_equal(client_try_map(&c, &m, &va), VIDMM_OK);
    fx_close(&f);
}

static uint64_t client_flushes(struct fixture *f)
{
    uint64_t n = 0;
    const struct tap_entry *e;
    for (uint64_t i = 0; (e = tap_find(&f->tap, TAP_BUILD, i)) != NULL; i++)
        n += e->op == VIDMM_OP_FLUSH_TLB && !e->system;
    return n;
}

static void flushes_follow_valid_entries(void **state)
{
    struct fixture f;
    struct fx_options o;
    struct client c;
    uint64_t va;
    (void)state;
    for (int cached = 0; cached < 2; cached++) {
        fx_options(&o, REF_FORMAT_A);
        if (cached != 0) o.ref.mmu_flags &= ~(uint32_t)VIDMM_MMU_INVALID_NOT_CACHED;
        (void)fx_open(&f, &o);
        client_open(&c, &f, NULL);
        struct vidmm_open *op = client_memory(&c, KIB(64), SET_SYSTEM, &va);
        fx_settle(&f);
        tap_clear(&f.tap);
        (void)client_map(&c, op, va + KIB(128), 0, 0, 0); /* invalid to valid, tables are there */
        fx_settle(&f);
        assert_int_equal(client_flushes(&f) > 0, cached != 0);
        tap_clear(&f.tap);
        (void)client_map(&c, op, va + KIB(128), KIB(32), KIB(32), 0); /* valid to something else */
        assert_true(client_flushes(&f) > 0); /* ... and before the fence was signalled */
        tap_clear(&f.tap);
        assert_int_equal(vidmm_va_free(c.process, va, KIB(64)), VIDMM_OK);
        fx_settle(&f);
        assert_true(client_flushes(&f) > 0);
        fx_close(&f);
    }
}

static void explicit_invalidation_precedes_the_end_of_a_table(void **state)
{
    struct fixture f;
    struct fx_options o;
    struct client c;
    (void)state;
    for (int asked = 0; asked < 2; asked++) {
        fx_options(&o, REF_FORMAT_A);
        if (asked != 0) o.ref.mmu_flags |= VIDMM_MMU_EXPLICIT_INVALIDATION;
        (void)fx_open(&f, &o);
        client_open(&c, &f, NULL);
        struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64)});
        client_resident(&c, op);
        (void)client_map(&c, op, BASE, 0, 0, 0);
        fx_settle(&f);
        tap_clear(&f.tap);
        assert_int_equal(vidmm_va_free(c.process, BASE, KIB(64)), VIDMM_OK);
        fx_settle(&f);
        uint32_t whole = 0;
        const struct tap_entry *e;
        for (uint64_t i = 0; (e = tap_find(&f.tap, TAP_UPDATE, i)) != NULL; i++)
            whole += e->level == 0 && e->count == 512 && e->first_attr == 0;
        assert_int_equal(whole, asked);
        fx_close(&f);
    }
}

/* ---- roots and contexts -------------------------------------------------------------------------- */

static void a_context_gets_its_root_before_it_runs(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va;
    (void)state;
    fx_open_format(&f, REF_FORMAT_B);
    tap_clear(&f.tap);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_memory(&c, KIB(64), SET_64K, &va);
    gpu_fill(&c, va, 1, PAGE);
    (void)client_map(&c, op, FAR, 0, 0, VIDMM_PROT_WRITE);
    gpu_fill(&c, FAR, 2, PAGE);
    uint64_t in_flight = 0, roots = 0, entries = 0;
    for (uint64_t i = 0; i < f.tap.logged; i++) {
        const struct tap_entry *e = &f.tap.log[i];
        if (e->call == TAP_SET_ROOT && e->object != NULL) {
            roots++;
            entries = e->entries;
        }
        bool client = e->call == TAP_SUBMIT && !e->system;
        if (client) in_flight++;
        if (client) assert_true(roots > 0);
    }
    assert_int_equal(in_flight, 2);
    assert_true(entries >= 3073);
    fx_close(&f);
}

static void a_root_is_set_while_its_context_is_idle(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, value, words[REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_B);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_memory(&c, KIB(64), SET_64K, &va);
    gpu_fill(&c, va, 1, PAGE);
    struct softgpu_knobs k = fx_knobs(&f);
    k.hang_nodes = 1u << REF_NODE_COMPUTE;
    fx_set_knobs(&f, &k);
    assert_int_equal(client_submit_on(&c, c.context, words, ref_emit_fill(words, va, 5, PAGE)), VIDMM_OK);
    fx_settle(&f);
    tap_clear(&f.tap);
    struct vidmm_map m = {.base = FAR, .open = op, .bytes = KIB(64)};
    assert_int_equal(vidmm_va_map(c.queue, &m, &va, &value), VIDMM_PENDING);
    fx_settle(&f);
    assert_int_equal(f.tap.count[TAP_SET_ROOT], 0);
    assert_true(vidmm_fence_value(vidmm_queue_fence(c.queue)) < value);
    k.hang_nodes = 0;
    fx_set_knobs(&f, &k);
    client_wait(&c, vidmm_queue_fence(c.queue), value);
    assert_int_equal(gpu_read(&c, FAR), 5);
    assert_int_equal(f.tap.count[TAP_SET_ROOT], 1);
    fx_close(&f);
}

static void an_address_beyond_the_root_faults(void **state)
{
    struct fixture f;
    struct client c;
    (void)state;
    fx_open_format(&f, REF_FORMAT_B);
    client_open(&c, &f, NULL);
    gpu_read_faults(&c, FAR);
    struct vidmm_page_fault fault;
    assert_int_equal(vidmm_device_fault(c.device, &fault), VIDMM_OK);
    assert_int_equal(fault.error_code, SOFTGPU_ERROR_ROOT_RANGE);
    fx_close(&f);
}

/* ---- descriptions that are refused --------------------------------------------------------------- */

static int refusal;

static void spoil(struct vidmm_adapter_info *in)
{
    switch (refusal) {
    case 0: in->level_count = 1; break;
    case 1: in->level_count = 7; break;
    case 2: in->level[3].index_bits = 8; break;                       /* 9+9+9+8 */
    case 3: in->level[0].table_bytes = 1000; break;
    case 4: in->level[0].segment = 3; break;                          /* the aperture */
    case 5: in->level[0].segment = 9; break;
    case 6: /* tables out of reach */
        in->segment[1].flags &= ~(uint32_t)VIDMM_SEGMENT_CPU_HOST_APERTURE;
        break;
    case 7: in->segment[2].flags = 0; break;                          /* no aperture */
    case 8: in->segment[0].flags = VIDMM_SEGMENT_APERTURE; break;     /* two */
    case 9: in->segment[1].flags |= VIDMM_SEGMENT_CPU_VISIBLE; break; /* and a host aperture */
    case 10: in->flags = VIDMM_ADAPTER_VIRTUAL_ADDRESSING; break;
    case 11: in->flags = VIDMM_ADAPTER_GPUMMU; break;
    case 12: in->node_count = 65; break;
    case 13: in->node_count = 0; break;
    case 14: in->paging_node = in->node_count; break;
    case 15: in->segment[0].bytes -= 4096; break;                     /* not a multiple of 64 KB */
    case 16: in->paging_buffer_bytes = 100; break;
    case 17: in->submit_depth = 0; break;
    case 18: in->va_bits = 64; break;
    case 19: in->update_mode = 3; break;
    case 20: in->segment_count = VIDMM_SEGMENTS_MAX + 1; break;
    default: break;
    }
}

static void impossible_descriptions_are_refused(void **state)
{
    struct fixture f;
    struct fx_options o;
    (void)state;
    for (refusal = 0; refusal <= 20; refusal++) {
        fx_options(&o, REF_FORMAT_A);
        o.edit_info = spoil;
        o.may_refuse = true;
        assert_int_equal(fx_open(&f, &o), VIDMM_INVALID);
        assert_non_null(f.why);
        assert_true(strlen(f.why) > 8);
    }
}

static void lose_the_model(struct vidmm_adapter_info *in) { in->node[REF_NODE_COPY].gpummu = false; }

static void a_context_needs_a_node_that_serves_it(void **state)
{
    struct fixture f;
    struct fx_options o;
    struct client c;
    struct vidmm_context *ctx;
    (void)state;
    fx_options(&o, REF_FORMAT_A);
    o.edit_info = lose_the_model;
    (void)fx_open(&f, &o);
    client_open(&c, &f, NULL);
    uint64_t before = vidmm_state_hash(f.ad);
    struct vidmm_context_desc d = {.node = REF_NODE_COPY};
    assert_int_equal(vidmm_context_create(c.device, &d, &ctx), VIDMM_NOT_SUPPORTED);
    d.node = REF_NODE_COUNT;
    assert_int_equal(vidmm_context_create(c.device, &d, &ctx), VIDMM_INVALID);
    for (uint32_t affinity = 2; affinity < 5; affinity++) {
        d = (struct vidmm_context_desc){.node = REF_NODE_COMPUTE, .engine_affinity = affinity};
        assert_int_equal(vidmm_context_create(c.device, &d, &ctx), VIDMM_INVALID);
    }
    assert_int_equal(vidmm_state_hash(f.ad), before);
    d.engine_affinity = 1;
    assert_int_equal(vidmm_context_create(c.device, &d, &ctx), VIDMM_OK);
    fx_close(&f);
}

static void the_driver_knows_each_process_once(void **state)
{
    struct fixture f;
    struct client a, b, c;
    uint64_t va;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&a, &f, NULL);
    client_open(&b, &f, a.process);
    client_open(&c, &f, NULL);
    assert_int_equal(f.tap.count[TAP_CREATE_PROCESS], 3); /* two, and the paging process */
    assert_false(tap_find(&f.tap, TAP_CREATE_PROCESS, 1)->system);
    void *first = tap_find(&f.tap, TAP_CREATE_PROCESS, 1)->object;
    tap_clear(&f.tap);
    (void)client_memory(&b, PAGE, SET_SYSTEM, &va);
    const struct tap_entry *e;
    for (uint64_t i = 0; (e = tap_find(&f.tap, TAP_UPDATE, i)) != NULL; i++)
        if (!e->system) assert_ptr_equal(e->object, first);
    fx_close(&f);
}

static const struct vt_case cases[] = {
    VT_TEST(page_tables_come_and_go_by_themselves, "ADP-05", "ADP-05"),
    VT_TEST(the_same_calls_give_the_same_results_in_both_formats, "ADP-06", "ADP-06"),
    VT_TEST(the_root_table_can_be_resized, "ADP-07 PT-08 PT-09 PT-10 PT-11", "ADP-07"),
    VT_TEST(one_application_space_for_all_contexts_of_a_process, "ADP-08", "ADP-08"),
    VT_TEST(one_application_space_for_all_contexts_of_a_process, "SUB-03", "SUB-03"),
    VT_TEST(command_buffers_are_neither_read_nor_changed, "ADP-09", "ADP-09"),
    VT_TEST(mappings_make_tables_and_tables_make_mappings, "PT-01", "PT-01"),
    VT_TEST(levels_are_fixed_in_size_but_for_a_two_level_root, "PT-02 PT-07 PT-08", "PT-02"),
    VT_TEST(tables_live_in_system_or_local_memory, "SEG-07 PT-05 PT-15", "SEG-07"),
    VT_TEST(upper_entries_name_the_segment_of_the_table, "PT-05 PT-34 PT-11", NULL),
    VT_TEST(tables_of_running_contexts_stay, "PT-39", "PT-39"),
    VT_TEST(a_table_is_initialised_before_it_is_linked, "PT-06 PT-28", NULL),
    VT_TEST(one_update_call_per_table, "PT-03 PT-28", NULL),
    VT_TEST(driver_protection_reaches_leaf_entries, "VA-33 VA-34 VA-35 VA-38", NULL),
    VT_TEST(unique_driver_protection, "VA-36 VA-37 VA-38", NULL),
    VT_TEST(flushes_follow_valid_entries, "PT-34 PT-35", NULL),
    VT_TEST(explicit_invalidation_precedes_the_end_of_a_table, "PT-32", NULL),
    VT_TEST(a_context_gets_its_root_before_it_runs, "PT-12 PT-41", NULL),
    VT_TEST(a_root_is_set_while_its_context_is_idle, "PT-12", NULL),
    VT_TEST(an_address_beyond_the_root_faults, "PT-41", NULL),
    VT_TEST(impossible_descriptions_are_refused, "ADP-10 ADP-15 ADP-18 PT-04 PT-15 PT-16 PT-26 SEG-09", NULL),
    VT_TEST(a_context_needs_a_node_that_serves_it, "ADP-12 ADP-32", NULL),
    VT_TEST(the_driver_knows_each_process_once, "ADP-26", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "model_tables", cases, VT_COUNT(cases)); }
