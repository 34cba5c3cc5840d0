/* SPDX-License-Identifier: MIT */
/* test_memory.c - segments and allocations: page sizes, placement, over-commit, relocation, life cycle,
 * CPU access (areas SEG and ALC). */
#include "fixture.h"

#define BASE 0x200000000ull

static struct vidmm_placement_info placement(const struct vidmm_open *op)
{
    struct vidmm_placement_info p;
    vidmm_open_placement(op, &p);
    return p;
}

static struct world_accounts accounts(const struct fixture *f)
{
    struct world_accounts a;
    world_get_accounts(f->world, &a);
    return a;
}

/* ---- segments ------------------------------------------------------------------------------------ */

static void an_address_shows_local_or_system_memory(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t local, sys;
    void *cpu;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        struct vidmm_open *a = client_memory(&c, KIB(64), SET_64K, &local);
        struct vidmm_open *b = client_memory(&c, KIB(64), SET_SYSTEM, &sys);
        gpu_fill(&c, local, 0x11, KIB(64));
        gpu_fill(&c, sys, 0x22, KIB(64));
        assert_int_equal(placement(a).segment, 1);
        assert_int_equal(placement(b).segment, 0);
        /* The bytes themselves, where they are said to be. */
        const uint32_t *vram = softgpu_vram(f.gpu, 1, placement(a).offset, KIB(64));
        assert_non_null(vram);
        for (uint32_t i = 0; i < KIB(64) / 4; i++) assert_int_equal(vram[i], 0x11);
        assert_int_equal(vidmm_open_lock(b, &cpu), VIDMM_OK);
        for (uint32_t i = 0; i < KIB(64) / 4; i++) assert_int_equal(((uint32_t *)cpu)[i], 0x22);
        gpu_copy(&c, local, sys, KIB(64)); /* and one engine reaches both at once */
        assert_int_equal(gpu_sum(&c, local, KIB(64)), sum_of_pattern(0x22, KIB(64)));
        fx_close(&f);
    }
}

static void system_memory_is_managed_in_4k_pages(void **state)
{
    struct fixture f;
    struct client c;
    struct vidmm_open *op[16];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    uint64_t frames = accounts(&f).frames;
    for (int i = 0; i < 16; i++) {
        op[i] = client_alloc(&c, &(struct fx_alloc){.bytes = 1, .set = SET_SYSTEM});
        assert_int_equal(vidmm_open_bytes(op[i]), PAGE);
        client_resident(&c, op[i]);
        assert_int_equal(placement(op[i]).segment, 0);
        assert_int_equal(placement(op[i]).offset % PAGE, 0);
    }
    assert_int_equal(accounts(&f).frames, frames + 16);
    struct vidmm_open *odd = client_alloc(&c, &(struct fx_alloc){.bytes = PAGE + 1});
    assert_int_equal(vidmm_open_bytes(odd), 2 * PAGE);
    fx_close(&f);
}

/* Offset in VRAM of the n-th page table that was ever initialised there, or UINT64_MAX. */
static uint64_t table_offset(struct fixture *f, uint32_t segment, uint64_t bytes, const struct tap_entry *e)
{
    const uint8_t *base = softgpu_vram(f->gpu, segment, 0, bytes);
    if ((const uint8_t *)e->table < base || (const uint8_t *)e->table >= base + bytes) return UINT64_MAX;
    return (uint64_t)((const uint8_t *)e->table - base);
}

/* Tables live in the 64 KB-page segment here: each takes a page of that size, so nothing in the segment ever
 * starts off a 64 KB boundary; in the other segment things stand 4 KB apart. */
static void a_segment_has_pages_of_the_size_the_driver_chose(void **state)
{
    struct fixture f;
    struct fx_options o;
    struct client c;
    uint64_t large = 0, small = 0;
    (void)state;
    fx_options(&o, REF_FORMAT_A);
    for (int i = 0; i < 4; i++) o.ref.table_segment[i] = 1;
    (void)fx_open(&f, &o);
    client_open(&c, &f, NULL);
    for (uint32_t i = 0; i < 8; i++) {
        struct vidmm_open *a = client_alloc(&c, &(struct fx_alloc){.bytes = 1, .set = SET_64K,
                                                                   .preferred = 1});
        struct vidmm_open *b = client_alloc(&c, &(struct fx_alloc){.bytes = 1, .set = SET_4K,
                                                                   .preferred = 2});
        assert_int_equal(vidmm_open_bytes(a), KIB(64));
        assert_int_equal(vidmm_open_bytes(b), PAGE);
        client_resident(&c, a);
        client_resident(&c, b);
        (void)client_map(&c, a, BASE + i * GIB(2), 0, 0, 0);
        assert_int_equal(placement(a).offset % KIB(64), 0);
        large += placement(b).offset % KIB(64) != 0;
    }
    assert_in_range(large, 1, 8);
    const struct tap_entry *e;
    for (uint64_t i = 0; (e = tap_find(&f.tap, TAP_UPDATE, i)) != NULL; i++) {
        uint64_t offset = table_offset(&f, 1, MIB(16), e);
        if (offset == UINT64_MAX) continue;
        assert_int_equal(offset % KIB(64), 0);
        small++;
    }
    assert_true(small > 8);
    fx_close(&f);
}

static void sizes_are_rounded_to_the_page_size(void **state)
{
    struct fixture f;
    struct client c;
    struct vidmm_open *op;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A); /* S03 */
    client_open(&c, &f, NULL);
    const struct { uint32_t set; uint64_t bytes, want; } rows[] = {
        {SET_64K, 1, 65536}, {SET_4K, 1, 4096}, {SET_SYSTEM, 1, 4096}, {SET_64K, 65536, 65536},
        {SET_64K, 65537, 131072}, {SET_4K, 4097, 8192}, {SET_64K | SET_4K, 1, 65536},
        {SET_64K | SET_SYSTEM, 1, 65536}, {SET_4K | SET_SYSTEM, 12289, 16384}};
    for (size_t i = 0; i < VT_COUNT(rows); i++) {
        op = client_alloc(&c, &(struct fx_alloc){.bytes = rows[i].bytes, .set = rows[i].set});
        assert_int_equal(vidmm_open_bytes(op), rows[i].want);
        client_resident(&c, op);
        struct vidmm_placement_info p = placement(op);
        assert_int_equal(p.offset % (p.segment == 1 ? KIB(64) : PAGE), 0);
    }
    /* A segment of 64 KB pages asks for an alignment of 64 KB. */
    uint64_t before = vidmm_state_hash(f.ad);
    assert_int_equal(client_try_alloc(&c, &(struct fx_alloc){.bytes = 1, .set = SET_64K, .alignment = 4096},
                                      &op),
                     VIDMM_INVALID);
    assert_int_equal(client_try_alloc(&c, &(struct fx_alloc){.bytes = 1, .set = 1u << 3}, &op),
                     VIDMM_INVALID);
    assert_int_equal(client_try_alloc(&c, &(struct fx_alloc){.bytes = 1, .set = SET_4K, .preferred = 1}, &op),
                     VIDMM_INVALID);
    assert_int_equal(vidmm_state_hash(f.ad), before);
    fx_close(&f);
}

/* ---- over-commit and relocation ------------------------------------------------------------------ */

enum { SHARE = 3, LISTED = 2 };
#define PART MIB(6)                       /* of a 16 MiB segment: two of three fit, 36 MiB in all */

struct party { struct client c; struct vidmm_open *op[SHARE]; uint64_t va[SHARE]; uint32_t pattern; };

static void party_open(struct party *p, struct fixture *f, uint32_t set, uint32_t pattern)
{
    client_open(&p->c, f, NULL);
    p->pattern = pattern;
    for (int i = 0; i < SHARE; i++) {
        p->op[i] = client_alloc(&p->c, &(struct fx_alloc){.bytes = PART, .set = set, .preferred = 1});
        p->va[i] = client_map(&p->c, p->op[i], 0, 0, 0, VIDMM_PROT_WRITE);
        client_resident(&p->c, p->op[i]);
        for (uint64_t at = 0; at < PART; at += MIB(1))
            gpu_fill(&p->c, p->va[i] + at, pattern + (uint32_t)(i * 16 + at / MIB(1)), MIB(1));
        client_evict(&p->c, p->op[i]);
    }
}

static void party_round(struct party *p, int leave_out)
{
    for (int i = 0; i < SHARE; i++)
        if (i != leave_out) client_resident(&p->c, p->op[i]);
    for (int i = 0; i < SHARE; i++) {
        if (i == leave_out) continue;
        uint64_t at = (uint64_t)((i + leave_out) % 6) * MIB(1);
        uint32_t want = p->pattern + (uint32_t)(i * 16) + (uint32_t)(at / MIB(1));
        assert_int_equal(gpu_read(&p->c, p->va[i] + at), want);
        assert_int_equal(gpu_sum(&p->c, p->va[i] + at, MIB(1)), sum_of_pattern(want, MIB(1)));
    }
    for (int i = 0; i < SHARE; i++)
        if (i != leave_out) client_evict(&p->c, p->op[i]);
}

static void segments_are_shared_and_over_committed(void **state)
{
    struct fixture f;
    struct party a, b;
    uint64_t va[2 * SHARE];
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format); /* S04: 36 MiB in a segment of 16 */
        party_open(&a, &f, SET_64K, 0x1000);
        party_open(&b, &f, SET_64K | SET_SYSTEM, 0x2000);
        for (int i = 0; i < SHARE; i++) {
            va[i] = a.va[i];
            va[SHARE + i] = b.va[i];
        }
        uint64_t rounds = vt_rounds(8);
        for (uint64_t r = 0; r < rounds; r++) {
            party_round(&a, (int)(r % SHARE));
            party_round(&b, (int)(r % SHARE));
            fx_verify(&f);
        }
        assert_true(vidmm_adapter_counters(f.ad)->evictions > 0);
        assert_true(vidmm_adapter_counters(f.ad)->page_ins > 0);
        struct vidmm_va_info info;
        for (int i = 0; i < SHARE; i++) { /* user mode did nothing, the addresses are what they were */
            assert_int_equal(vidmm_va_query(a.c.process, va[i], &info), VIDMM_OK);
            assert_ptr_equal(info.open, a.op[i]);
            assert_int_equal(vidmm_va_query(b.c.process, va[SHARE + i], &info), VIDMM_OK);
            assert_ptr_equal(info.open, b.op[i]);
        }
        fx_close(&f);
    }
}

static void three_times_the_segment_can_be_created(void **state)
{
    struct fixture f;
    struct client c[3];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    for (int k = 0; k < 3; k++) {
        client_open(&c[k], &f, NULL);
        for (int i = 0; i < 4; i++)
            (void)client_alloc(&c[k], &(struct fx_alloc){.bytes = MIB(4), .set = SET_64K, .preferred = 1});
    }
    fx_close(&f);
}

/* One allocation is pushed out of its segment and comes back somewhere else, seen at two addresses. */
static void placement_changes_and_addresses_do_not(void **state)
{
    struct fixture f;
    struct client a, b;
    uint64_t x, other;
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&a, &f, NULL);
        client_open(&b, &f, NULL);
        struct vidmm_open *op = client_memory(&a, MIB(6), SET_64K | SET_SYSTEM, &x);
        uint64_t y = client_map(&a, op, 0, MIB(1), MIB(1), VIDMM_PROT_WRITE);
        uint64_t z = client_map(&a, op, 0, 3 * PAGE, 5 * PAGE, 0);
        for (uint32_t i = 0; i < 6; i++) gpu_fill(&a, x + MIB(i), 70 + i, MIB(1));
        gpu_fill(&a, x + 4 * PAGE, 99, PAGE);
        assert_int_equal(placement(op).segment, 1);
        struct vidmm_open *big = client_memory(&b, MIB(14), SET_64K, &other); /* has no other place */
        gpu_fill(&b, other, 1, MIB(14));
        assert_int_equal(placement(op).segment, 0); /* demoted: still resident, at the same addresses */
        assert_true(placement(op).resident);
        for (int round = 0; round < 2; round++) {
            for (uint32_t i = 0; i < 6; i++) assert_int_equal(gpu_read(&a, x + MIB(i) + KIB(512)), 70 + i);
            assert_int_equal(gpu_read(&a, y), 71 + round);
            assert_int_equal(gpu_read(&a, z + PAGE), 99);
            if (round == 0) {
                gpu_fill(&a, y, 72, MIB(1));
                vidmm_open_close(big, 0);
                fx_settle(&f);
                assert_int_equal(placement(op).segment, 1); /* promoted when there was room again */
                assert_int_equal(gpu_read(&a, x + MIB(1)), 72);
                gpu_fill(&a, x + MIB(1), 71, MIB(1));
                gpu_fill(&a, y, 72, PAGE);
            }
        }
        fx_close(&f);
    }
}

/* ---- life cycle ---------------------------------------------------------------------------------- */

static void deallocate_gives_the_memory_back(void **state)
{
    struct fixture f;
    struct client c;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    fx_settle(&f);
    struct world_accounts before = accounts(&f);
    for (int i = 0; i < 3; i++) {
        uint32_t set = i == 0 ? SET_SYSTEM : i == 1 ? SET_64K : SET_4K;
        struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = MIB(1), .set = set});
        assert_true(accounts(&f).frames >= before.frames + 256);
        client_resident(&c, op);
        vidmm_open_close(op, i == 2 ? VIDMM_DESTROY_ASSUME_NOT_IN_USE : 0);
        fx_settle(&f);
        assert_int_equal(accounts(&f).frames, before.frames);
        assert_int_equal(accounts(&f).blocks, before.blocks);
        const struct vidmm_counters *n = vidmm_adapter_counters(f.ad);
        assert_int_equal(n->segment[1].resident + n->segment[2].resident, 0);
    }
    /* all but the command buffer */
    assert_int_equal(f.tap.count[TAP_CREATE_ALLOCATION], f.tap.count[TAP_DESTROY_ALLOCATION] + 1);
    fx_close(&f);
}

static void allocating_assigns_no_address(void **state)
{
    struct fixture f;
    struct client c;
    struct vidmm_va_info info;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    for (uint32_t set = SET_64K; set <= SET_SYSTEM; set <<= 1) {
        struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = MIB(1), .set = set});
        client_resident(&c, op);
    }
    /* All of the lower half is free but for the command buffer, which the client mapped itself. */
    assert_int_equal(vidmm_va_query(c.process, BASE, &info), VIDMM_INVALID);
    assert_int_equal(client_reserve(&c, VIDMM_VA_LOWEST, c.buffer_va - VIDMM_VA_LOWEST), VIDMM_OK);
    assert_int_equal(client_reserve(&c, c.buffer_va + FX_COMMAND_BYTES,
                                    (1ull << 47) - c.buffer_va - FX_COMMAND_BYTES), VIDMM_OK);
    fx_close(&f);
}

static void cpu_and_gpu_address_are_independent(void **state)
{
    struct fixture f;
    struct client c;
    void *cpu;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64)});
    client_resident(&c, op);
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_OK);
    uint64_t same = (uint64_t)(uintptr_t)cpu;
    assert_int_equal(client_map(&c, op, same, 0, 0, VIDMM_PROT_WRITE), same); /* equal, if the client likes */
    assert_int_equal(client_map(&c, op, BASE, 0, 0, VIDMM_PROT_WRITE), BASE); /* or different */
    memset(cpu, 0x33, KIB(64));
    assert_int_equal(gpu_read(&c, same + PAGE), 0x33333333);
    gpu_fill(&c, BASE, 0x44, PAGE);
    assert_int_equal(*(uint32_t *)cpu, 0x44);
    fx_close(&f);
}

static void each_mapping_has_an_address_of_its_own_for_life(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va[24];
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        for (uint32_t i = 0; i < 24; i++) {
            struct fx_alloc a = {.bytes = KIB(64), .set = SET_64K | SET_SYSTEM};
            struct vidmm_open *op = client_alloc(&c, &a);
            client_resident(&c, op);
            va[i] = client_map(&c, op, 0, 0, 0, VIDMM_PROT_WRITE);
            gpu_fill(&c, va[i], 900 + i, KIB(64));
            for (uint32_t k = 0; k < i; k++)
                assert_true(va[k] + KIB(64) <= va[i] || va[i] + KIB(64) <= va[k]);
        }
        for (uint32_t i = 0; i < 24; i++)
            assert_int_equal(gpu_sum(&c, va[i], KIB(64)), sum_of_pattern(900 + i, KIB(64)));
        fx_close(&f);
    }
}

static void destruction_waits_for_queued_work(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, keep, words[2 * REF_WORDS_MAX];
    struct vidmm_va_info info;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A); /* S05 */
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_memory(&c, MIB(1), SET_64K, &va);
    (void)client_memory(&c, MIB(1), SET_64K, &keep);
    gpu_fill(&c, va, 0x5a, MIB(1));
    uint32_t n = ref_emit_delay(words, 200000000);
    n += ref_emit_copy(words + n, keep, va, MIB(1));
    assert_int_equal(client_submit_on(&c, c.context, words, n), VIDMM_OK);
    for (int i = 0; i < 200; i++) (void)world_turn(f.world);
    uint64_t frames = accounts(&f).frames, now = world_now_ns(f.world);
    vidmm_open_close(op, 0); /* returns at once */
    assert_int_equal(world_now_ns(f.world), now);
    for (int i = 0; i < 200 && vidmm_context_pending(c.context) > 0; i++) {
        assert_int_equal(vidmm_va_query(c.process, va, &info), VIDMM_OK);
        (void)vidmm_run(f.ad, world_now_ns(f.world));
    }
    assert_true(accounts(&f).frames >= frames);
    fx_settle(&f);
    assert_int_equal(vidmm_device_state(c.device), VIDMM_DEVICE_ACTIVE); /* the job ended without a fault */
    assert_int_equal(gpu_sum(&c, keep, MIB(1)), sum_of_pattern(0x5a, MIB(1)));
    assert_true(client_range_free(&c, va, MIB(1)));
    fx_close(&f);
}

static void assume_not_in_use_does_not_wait(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va, words[REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_memory(&c, MIB(1), SET_64K, &va);
    struct softgpu_knobs k = fx_knobs(&f);
    k.hang_nodes = 1u << REF_NODE_COMPUTE;
    fx_set_knobs(&f, &k);
    assert_int_equal(client_submit_on(&c, c.context, words, ref_emit_spin(words, 3)), VIDMM_OK);
    fx_settle(&f);
    vidmm_open_close(op, VIDMM_DESTROY_ASSUME_NOT_IN_USE);
    fx_settle(&f);
    assert_int_equal(vidmm_context_pending(c.context), 1);
    assert_true(client_range_free(&c, va, MIB(1)));
    k.hang_nodes = 0;
    fx_set_knobs(&f, &k);
    fx_close(&f);
}

static void a_device_takes_everything_with_it(void **state)
{
    struct fixture f;
    struct client a, b;
    uint64_t va, mine;
    struct vidmm_va_info info;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&b, &f, NULL);
    (void)client_memory(&b, KIB(64), SET_64K, &mine);
    gpu_fill(&b, mine, 6, KIB(64));
    fx_settle(&f);
    struct world_accounts before = accounts(&f);
    client_open(&a, &f, b.process);
    (void)client_memory(&a, MIB(1), SET_64K, &va);
    vidmm_device_destroy(a.device);
    fx_settle(&f);
    assert_int_equal(vidmm_va_query(b.process, va, &info), VIDMM_INVALID);
    assert_int_equal(vidmm_va_query(b.process, a.buffer_va, &info), VIDMM_INVALID);
    assert_int_equal(accounts(&f).frames, before.frames);
    assert_int_equal(gpu_read(&b, mine), 6);
    client_open(&a, &f, NULL);
    (void)client_memory(&a, MIB(1), SET_64K, &va);
    vidmm_process_destroy(a.process); /* with work in flight */
    fx_forget(&f, a.process);
    fx_settle(&f);
    assert_int_equal(accounts(&f).frames, before.frames);
    assert_int_equal(accounts(&f).blocks, before.blocks);
    fx_close(&f);
}

static void a_device_with_queued_maps_leaves_no_addresses_behind(void **state)
{
    struct fixture f;
    struct client a, b;
    uint64_t va, value;
    struct vidmm_va_info info;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&b, &f, NULL);
    client_open(&a, &f, b.process);
    struct vidmm_open *op = client_alloc(&a, &(struct fx_alloc){.bytes = KIB(64)});
    vidmm_queue_delay(a.queue, UINT64_MAX);
    struct vidmm_map m = {.base = BASE, .open = op, .bytes = KIB(64)};
    assert_int_equal(vidmm_va_map(a.queue, &m, &va, &value), VIDMM_PENDING);
    vidmm_device_destroy(a.device);
    fx_settle(&f);
    assert_int_equal(vidmm_va_query(b.process, BASE, &info), VIDMM_INVALID);
    assert_int_equal(client_reserve(&b, BASE, KIB(64)), VIDMM_OK);
    fx_close(&f);
}

static void the_driver_decides_the_size(void **state)
{
    struct fixture f;
    struct client c;
    struct vidmm_open *op;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    op = client_alloc(&c, &(struct fx_alloc){.bytes = 5 * PAGE, .priority = VIDMM_PRIORITY_HIGH});
    assert_int_equal(vidmm_open_bytes(op), 5 * PAGE);
    assert_int_equal(vidmm_open_priority(op), VIDMM_PRIORITY_HIGH);
    assert_int_equal(vidmm_open_set_priority(op, VIDMM_PRIORITY_LOW), VIDMM_OK);
    assert_int_equal(vidmm_open_priority(op), VIDMM_PRIORITY_LOW);
    assert_int_equal(vidmm_open_set_priority(op, 0x12345678), VIDMM_OK); /* values in between are legal */
    struct vidmm_alloc_desc d = {.private_data = "not the driver's struct", .private_size = 8};
    uint64_t before = vidmm_state_hash(f.ad);
    assert_int_equal(vidmm_alloc_create(c.device, &d, &op), VIDMM_INVALID);
    assert_int_equal(client_try_alloc(&c, &(struct fx_alloc){.bytes = MIB(64), .set = SET_4K}, &op),
                     VIDMM_NO_VIDEO_MEMORY); /* fits no segment of its set */
    world_fail(f.world, WORLD_FRAMES, 1, false);
    assert_int_equal(client_try_alloc(&c, &(struct fx_alloc){.bytes = PAGE}, &op), VIDMM_NO_MEMORY);
    assert_int_equal(vidmm_state_hash(f.ad), before);
    fx_close(&f);
}

static void new_content_is_zero(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    for (int round = 0; round < 3; round++) { /* memory that had other content before */
        for (uint32_t set = SET_64K; set <= SET_SYSTEM; set <<= 1) {
            struct vidmm_open *op = client_memory(&c, MIB(2), set, &va);
            assert_int_equal(gpu_sum(&c, va, MIB(2)), sum_of_pattern(0, MIB(2)));
            gpu_fill(&c, va, 0xdeadbeef, MIB(2));
            vidmm_open_close(op, 0);
            fx_settle(&f);
        }
    }
    fx_close(&f);
}

/* ---- CPU access ---------------------------------------------------------------------------------- */

static void locks_nest_and_last(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va;
    void *cpu = NULL, *again = NULL;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_memory(&c, KIB(64), SET_64K | SET_SYSTEM, &va);
    gpu_fill(&c, va, 0x10, KIB(64));
    vidmm_status st = vidmm_open_lock(op, &cpu);
    assert_int_equal(st, VIDMM_PENDING); /* the bytes are on their way to where the CPU sees them */
    assert_int_equal(vidmm_open_lock(op, &again), VIDMM_PENDING);
    assert_ptr_equal(cpu, again);
    fx_settle(&f);
    assert_true(vidmm_open_lock_ready(op));
    assert_int_equal(((uint32_t *)cpu)[4096], 0x10);
    ((uint32_t *)cpu)[0] = 0x20;
    assert_int_equal(gpu_read(&c, va), 0x20);
    assert_int_equal(gpu_read(&c, va + PAGE), 0x10);
    gpu_fill(&c, va + PAGE, 0x30, PAGE); /* locked for life: GPU and CPU go on using it */
    assert_int_equal(((uint32_t *)cpu)[1024], 0x30);
    assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
    assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
    fx_settle(&f);
    assert_int_equal(gpu_read(&c, va), 0x20);
    assert_int_equal(placement(op).segment, 1); /* it may go back */
    fx_close(&f);
}

static void a_lock_needs_a_place_the_cpu_can_see(void **state)
{
    struct fixture f;
    struct client c;
    void *cpu = NULL;
    uint64_t value = 0, trim, va;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_alloc(&c, &(struct fx_alloc){.bytes = KIB(64), .set = SET_64K});
    va = client_map(&c, op, 0, 0, 0, VIDMM_PROT_WRITE);
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_OK); /* not resident: its bytes are in system memory */
    memset(cpu, 0x42, KIB(64));
    /* No aperture in its set: it is not committed to memory while the lock lasts. */
    assert_int_equal(vidmm_make_resident(c.queue, &op, 1, 0, &value, &trim), VIDMM_PENDING);
    fx_settle(&f);
    assert_true(vidmm_fence_value(vidmm_queue_fence(c.queue)) < value);
    assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
    client_wait(&c, vidmm_queue_fence(c.queue), value);
    assert_int_equal(placement(op).segment, 1);
    assert_int_equal(gpu_read(&c, va + 16), 0x42424242);
    uint64_t before = vidmm_state_hash(f.ad);
    assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_BUSY);
    assert_int_equal(vidmm_state_hash(f.ad), before);
    fx_close(&f);
}

static void a_cpu_address_survives_eviction(void **state)
{
    struct fixture f;
    struct client c;
    uint64_t va;
    void *cpu = NULL;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    struct vidmm_open *op = client_memory(&c, KIB(64), SET_4K | SET_SYSTEM, &va);
    gpu_fill(&c, va, 0x77, KIB(64));
    assert_true(vidmm_open_lock(op, &cpu) >= 0);
    fx_settle(&f);
    client_evict(&c, op);
    fx_settle(&f);
    assert_int_equal(*(uint32_t *)cpu, 0x77);
    client_resident(&c, op);
    gpu_fill(&c, va, 0x78, PAGE);
    assert_int_equal(*(uint32_t *)cpu, 0x78);
    fx_close(&f);
}

static void the_clients_own_memory_can_be_an_allocation(void **state)
{
    struct fixture f;
    struct client c;
    static _Alignas(4096) uint8_t own[4 * 4096];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    memset(own, 0x19, sizeof(own));
    struct ref_alloc_private p = {.magic = REF_ALLOC_MAGIC, .bytes = sizeof(own), .supported = SET_SYSTEM};
    struct vidmm_alloc_desc d = {.private_data = &p, .private_size = sizeof(p), .existing = own + 8,
                                 .existing_bytes = sizeof(own)};
    struct vidmm_open *op;
    assert_int_equal(vidmm_alloc_create(c.device, &d, &op), VIDMM_INVALID); /* not page aligned */
    d.existing = own;
    d.existing_bytes = 0;
    assert_int_equal(vidmm_alloc_create(c.device, &d, &op), VIDMM_INVALID);
    d.existing_bytes = sizeof(own);
    assert_int_equal(vidmm_alloc_create(c.device, &d, &op), VIDMM_OK);
    client_resident(&c, op);
    uint64_t va = client_map(&c, op, 0, 0, 0, VIDMM_PROT_WRITE);
    assert_int_equal(gpu_read(&c, va + PAGE), 0x19191919);
    gpu_fill(&c, va, 0x20, PAGE);
    assert_int_equal(*(uint32_t *)own, 0x20);
    /* It may go read-only, or away, while the GPU uses it: a fault, and nothing worse. */
    assert_true(world_set_client_access(f.world, own, 4, WORLD_READ_ONLY));
    assert_int_equal(gpu_read(&c, va), 0x20);
    gpu_write_faults(&c, va);
    vidmm_open_close(op, 0);
    fx_settle(&f);
    assert_int_equal(accounts(&f).imported, 0);
    assert_int_equal(((uint32_t *)own)[2048], 0x19191919);
    fx_close(&f);
}

static const struct vt_case cases[] = {
    VT_TEST(an_address_shows_local_or_system_memory, "SEG-01 SEG-11 SEG-17", "SEG-01"),
    VT_TEST(system_memory_is_managed_in_4k_pages, "SEG-02 SEG-08 SEG-10", "SEG-02"),
    VT_TEST(a_segment_has_pages_of_the_size_the_driver_chose, "SEG-03", "SEG-03"),
    VT_TEST(sizes_are_rounded_to_the_page_size, "SEG-04 SEG-12 SEG-22", "SEG-04"),
    VT_TEST(segments_are_shared_and_over_committed, "SEG-05 SEG-06 SEG-18 PAG-24 RES-24", "SEG-05"),
    VT_TEST(three_times_the_segment_can_be_created, "SEG-05", "SEG-05"),
    VT_TEST(placement_changes_and_addresses_do_not, "SEG-06 VA-41", "SEG-06"),
    VT_TEST(deallocate_gives_the_memory_back, "ALC-02", "ALC-02"),
    VT_TEST(allocating_assigns_no_address, "ALC-03", "ALC-03"),
    VT_TEST(cpu_and_gpu_address_are_independent, "ALC-04", "ALC-04"),
    VT_TEST(each_mapping_has_an_address_of_its_own_for_life, "ALC-07", "ALC-07"),
    VT_TEST(destruction_waits_for_queued_work, "ALC-19", NULL),
    VT_TEST(assume_not_in_use_does_not_wait, "ALC-20", NULL),
    VT_TEST(a_device_takes_everything_with_it, "ALC-23", NULL),
    VT_TEST(a_device_with_queued_maps_leaves_no_addresses_behind, "ALC-23", NULL),
    VT_TEST(the_driver_decides_the_size, "ALC-08 ALC-09 ALC-40", NULL),
    VT_TEST(new_content_is_zero, "ALC-52", NULL),
    VT_TEST(locks_nest_and_last, "ALC-28 ALC-29", NULL),
    VT_TEST(a_lock_needs_a_place_the_cpu_can_see, "ALC-34 ALC-35 ALC-36", NULL),
    VT_TEST(a_cpu_address_survives_eviction, "ALC-31 ALC-37", NULL),
    VT_TEST(the_clients_own_memory_can_be_an_allocation, "", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "model_memory", cases, VT_COUNT(cases)); }
