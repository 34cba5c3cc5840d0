/* SPDX-License-Identifier: MIT */
/* test_softgpu.c - the simulated GPU, stepped by hand: commands, translation, faults, queues, knobs. */
#include "test_softgpu.h"

#include <stdlib.h>
#include <string.h>

/* ---- commands ---------------------------------------------------------------------------------- */

#define AREA_PAGES 160u
#define AREA (AREA_PAGES * 4096u)

/* A window of memory whose pages lie scattered over system memory and both segments. */
static void map_scattered(struct bench *b, uint64_t va, uint64_t *seed)
{
    for (uint32_t i = 0; i < AREA_PAGES; i++) {
        uint32_t segment = (uint32_t)(bench_draw(seed) % 3);
        uint64_t at = segment == 0 ? rig_frames(&b->rig, 1) * 4096 : rig_vram(&b->rig, segment, 4096);
        rig_map(&b->rig, &b->client, va + i * 4096ull, segment, at, 1, VIDMM_PTE_VALID);
        if (bench_draw(seed) % 4 == 0) (void)rig_frames(&b->rig, 1); /* break contiguity now and then */
    }
}

/* The window's bytes, fetched with the GPU's own copy into plain system memory. */
static void read_area(struct bench *b, uint64_t va, uint8_t *out, uint64_t shadow_va, uint64_t shadow_frame)
{
    assert_true(bench_run(b, 0, ref_emit_copy(b->cmd[0], shadow_va, va, AREA)));
    memcpy(out, rig_frame_cpu(&b->rig, shadow_frame), AREA);
}

static void random_commands(struct bench *b, uint64_t seed, uint64_t rounds)
{
    static uint8_t model[AREA], seen[AREA];
    uint64_t shadow_va = 0x8000000, shadow = rig_frames(&b->rig, AREA_PAGES);
    map_scattered(b, DATA_VA, &seed);
    rig_map(&b->rig, &b->client, shadow_va, 0, shadow * 4096, AREA_PAGES, VIDMM_PTE_VALID);
    assert_true(bench_run(b, 0, ref_emit_fill(b->cmd[0], DATA_VA, 0, AREA)));
    memset(model, 0, AREA);
    for (uint64_t i = 0; i < rounds; i++) {
        uint32_t half = AREA / 2, n = (uint32_t)(bench_draw(&seed) % (i % 8 == 0 ? half : 300));
        uint32_t src = (uint32_t)(bench_draw(&seed) % (half - n));
        uint32_t dst = half + (uint32_t)(bench_draw(&seed) % (half - n));
        uint32_t pattern = (uint32_t)bench_draw(&seed);
        if (bench_draw(&seed) % 2 == 0) {
            assert_true(bench_run(b, i & 1, ref_emit_copy(b->cmd[i & 1], DATA_VA + dst, DATA_VA + src, n)));
            memcpy(model + dst, model + src, n);
        } else {
            assert_true(bench_run(b, i & 1, ref_emit_fill(b->cmd[i & 1], DATA_VA + src, pattern, n)));
            for (uint32_t k = 0; k < n; k++) model[src + k] = (uint8_t)(pattern >> (k % 4 * 8));
        }
        uint32_t words = ref_emit_checksum(b->cmd[0], DATA_VA + dst, n, shadow_va);
        assert_true(bench_run(b, 0, words));
        uint64_t sum;
        memcpy(&sum, rig_frame_cpu(&b->rig, shadow), 8);
        assert_int_equal(sum, ref_checksum(model + dst, n));
    }
    read_area(b, DATA_VA, seen, shadow_va, shadow);
    assert_memory_equal(seen, model, AREA);
    assert_int_equal(bench_detector(b).stale_uses, 0);
}

/* A copy that loses, repeats or misplaces a byte at some alignment corrupts a client's buffer. */
static void copies_equal_a_plain_model(void **state)
{
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        struct bench *b = bench_open((enum ref_format)format);
        random_commands(b, vt_seed(), vt_rounds(200));
        bench_close(b);
    }
}

/* Words: an atomic or a fence that is torn or lost breaks every synchronisation built on it. */
static void words_and_fences(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_A);
    uint64_t frame = rig_frames(&b->rig, 1), vram = rig_vram(&b->rig, 2, 4096);
    uint64_t *in_vram = (uint64_t *)(void *)bench_vram(b, 2, vram);
    uint64_t *in_system = (uint64_t *)(void *)rig_frame_cpu(&b->rig, frame);
    rig_map(&b->rig, &b->client, DATA_VA, 0, frame * 4096, 1, VIDMM_PTE_VALID);
    rig_map(&b->rig, &b->client, DATA_VA + 4096, 2, vram, 1, VIDMM_PTE_VALID);
    uint64_t *at = b->cmd[0];
    at += ref_emit_write64(at, DATA_VA, 40);
    at += ref_emit_add64(at, DATA_VA, 2);
    at += ref_emit_write64(at, DATA_VA + 4096 + 8, ~0ull);
    at += ref_emit_add64(at, DATA_VA + 4096 + 8, 3);
    at += ref_emit_fence_write(at, DATA_VA + 4096, 77);
    at += ref_emit_end(at);
    at += ref_emit_write64(at, DATA_VA, 1); /* behind END: never executed */
    assert_true(bench_run(b, 0, (uint32_t)(at - b->cmd[0])));
    assert_int_equal(in_system[0], 42);
    assert_int_equal(in_vram[1], 2);
    assert_int_equal(in_vram[0], 77);
    assert_int_equal(atomic_load(&b->rig.fence_interrupts), 1);
    bench_close(b);
}

/* A semaphore that held up another engine would dead-lock two contexts that wait for each other. */
static void fence_wait_holds_only_its_engine(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_B);
    uint64_t frame = rig_frames(&b->rig, 1);
    rig_map(&b->rig, &b->client, DATA_VA, 0, frame * 4096, 1, VIDMM_PTE_VALID);
    uint64_t *at = b->cmd[0];
    at += ref_emit_fence_wait(at, DATA_VA, 5);
    at += ref_emit_fence_write(at, DATA_VA + 8, 6);
    uint64_t waiting = bench_submit(b, 0, (uint32_t)(at - b->cmd[0]));
    rig_step(&b->rig, 1000);
    assert_false(rig_completed(&b->rig, &b->compute, waiting));
    assert_true(bench_run(b, 1, ref_emit_fence_write(b->cmd[1], DATA_VA, 4)));
    assert_false(rig_completed(&b->rig, &b->compute, waiting));
    at = b->cmd[1];
    at += ref_emit_fence_write(at, DATA_VA, 9); /* more than asked for is enough */
    at += ref_emit_fence_wait(at, DATA_VA + 8, 6);
    assert_true(bench_run(b, 1, (uint32_t)(at - b->cmd[1])));
    assert_true(rig_completed(&b->rig, &b->compute, waiting));
    bench_close(b);
}

/* ---- faults ------------------------------------------------------------------------------------ */

struct expected { uint64_t va; uint32_t level, code; bool write; };

static void expect_fault(struct bench *b, uint32_t words, struct expected want)
{
    uint64_t aborted = 0, before = atomic_load(&b->rig.fault_count);
    uint64_t fence = bench_submit(b, 0, words);
    rig_step(&b->rig, 1000);
    assert_int_equal(atomic_load(&b->rig.fault_count), before + 1);
    assert_int_equal(b->rig.fault.va, want.va);
    assert_int_equal(b->rig.fault.level, want.level);
    assert_int_equal(b->rig.fault.error_code, want.code);
    assert_int_equal((b->rig.fault.flags & VIDMM_FAULT_WRITE) != 0, want.write);
    assert_int_equal(b->rig.fault.fence_id, fence);
    assert_false(rig_completed(&b->rig, &b->compute, fence));
    assert_int_equal(b->rig.ops->reset_engine(b->rig.kmd, REF_NODE_COMPUTE, &aborted), VIDMM_OK);
    assert_int_equal(aborted, fence);
}

/* A fault that names the wrong address, level or direction sends its finder to the wrong client. */
static void faults_name_their_cause(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_A);
    uint64_t frame = rig_frames(&b->rig, 4), far = 1ull << 40;
    uint64_t *cmd = b->cmd[0];
    rig_map(&b->rig, &b->client, DATA_VA, 0, frame * 4096, 1, VIDMM_PTE_VALID);
    rig_map(&b->rig, &b->client, DATA_VA + 4096, 0, frame * 4096 + 4096, 1,
            VIDMM_PTE_VALID | VIDMM_PTE_READ_ONLY);
    rig_map(&b->rig, &b->client, DATA_VA + 0x5000, 0, frame * 4096 + 8192, 1,
            VIDMM_PTE_VALID | VIDMM_PTE_NO_EXECUTE);
    rig_map(&b->rig, &b->client, DATA_VA + 0x8000, 0, (uint64_t)RIG_FRAMES * 4096, 1, VIDMM_PTE_VALID);
    expect_fault(b, ref_emit_write64(cmd, DATA_VA + 0x2000, 1),
                 (struct expected){DATA_VA + 0x2000, 0, SOFTGPU_ERROR_NOT_PRESENT, true});
    expect_fault(b, ref_emit_copy(cmd, DATA_VA, far, 8),
                 (struct expected){far, 3, SOFTGPU_ERROR_NOT_PRESENT, false});
    expect_fault(b, ref_emit_fill(cmd, DATA_VA, 1, 8192),
                 (struct expected){DATA_VA + 4096, 0, SOFTGPU_ERROR_READ_ONLY, true});
    expect_fault(b, ref_emit_write64(cmd, DATA_VA + 0x8000, 1),
                 (struct expected){DATA_VA + 0x8000, 0, SOFTGPU_ERROR_BAD_ADDRESS, true});
    expect_fault(b, ref_emit_write64(cmd, DATA_VA + 4, 1),
                 (struct expected){DATA_VA + 4, 0, SOFTGPU_ERROR_ALIGNMENT, false});
    expect_fault(b, ref_emit_copy(cmd, DATA_VA, 1ull << 48, 8),
                 (struct expected){1ull << 48, 3, SOFTGPU_ERROR_ROOT_RANGE, false});
    /* Reading it is fine, executing it is not. */
    assert_true(bench_run(b, 0, ref_emit_copy(cmd, DATA_VA, DATA_VA + 0x5000, 64)));
    uint64_t fence = rig_submit(&b->rig, &b->compute, DATA_VA + 0x5000, 8, 0);
    rig_step(&b->rig, 100);
    assert_int_equal(b->rig.fault.error_code, SOFTGPU_ERROR_NO_EXECUTE);
    assert_int_equal(b->rig.fault.fence_id, fence);
    bench_close(b);
}

/* Host memory that vanishes under an engine is that client's fault, never a crash. */
static void vanished_memory_is_a_fault(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_A);
    uint64_t frame = rig_frames(&b->rig, 8), vram = rig_vram(&b->rig, 1, 8 * 4096);
    rig_map(&b->rig, &b->client, DATA_VA, 0, frame * 4096, 8, VIDMM_PTE_VALID);
    rig_map(&b->rig, &b->client, DATA_VA + 0x10000, 1, vram, 8, VIDMM_PTE_VALID);
    b->rig.vanished_frame = frame + 3;
    uint64_t *cmd = b->cmd[0];
    expect_fault(b, ref_emit_copy(cmd, DATA_VA, DATA_VA + 0x10000, 8 * 4096),
                 (struct expected){DATA_VA, 0, SOFTGPU_ERROR_VANISHED, true});
    expect_fault(b, ref_emit_copy(cmd, DATA_VA + 0x10000, DATA_VA, 8 * 4096),
                 (struct expected){DATA_VA, 0, SOFTGPU_ERROR_VANISHED, false});
    expect_fault(b, ref_emit_write64(cmd, DATA_VA + 3 * 4096 + 8, 1),
                 (struct expected){DATA_VA + 3 * 4096 + 8, 0, SOFTGPU_ERROR_VANISHED, true});
    b->rig.vanished_frame = 0;
    assert_true(bench_run(b, 0, ref_emit_copy(cmd, DATA_VA, DATA_VA + 0x10000, 8 * 4096)));
    bench_close(b);
}

/* A walker that looks past the end of a short root reads memory that is no page table. */
static void root_index_beyond_the_root_faults(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_B);
    uint64_t beyond = (uint64_t)b->client.root_entries << 22;
    assert_int_equal(b->client.root_entries, 1024);
    expect_fault(b, ref_emit_write64(b->cmd[0], beyond, 1),
                 (struct expected){beyond, 1, SOFTGPU_ERROR_ROOT_RANGE, true});
    expect_fault(b, ref_emit_write64(b->cmd[0], beyond - 8, 1),
                 (struct expected){beyond - 8, 1, SOFTGPU_ERROR_NOT_PRESENT, true});
    bench_close(b);
}

/* Zero pages read as zeros and swallow writes: a client that sees its own write there sees a leak. */
static void zero_pages(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_A);
    uint64_t frame = rig_frames(&b->rig, 1);
    uint8_t *cpu = rig_frame_cpu(&b->rig, frame);
    rig_map(&b->rig, &b->client, DATA_VA, 0, frame * 4096, 1, VIDMM_PTE_VALID);
    rig_map(&b->rig, &b->client, DATA_VA + 4096, 0, 0, 4, VIDMM_PTE_VALID | VIDMM_PTE_ZERO);
    memset(cpu, 0xaa, 4096);
    uint64_t *at = b->cmd[0];
    at += ref_emit_fill(at, DATA_VA + 4096, 0x55555555, 4 * 4096);
    at += ref_emit_write64(at, DATA_VA + 8192, 1);
    at += ref_emit_copy(at, DATA_VA, DATA_VA + 4096 + 100, 2000);
    assert_true(bench_run(b, 0, (uint32_t)(at - b->cmd[0])));
    for (uint32_t i = 0; i < 4096; i++) assert_int_equal(cpu[i], i < 2000 ? 0 : 0xaa);
    bench_close(b);
}

/* A command set that guesses at malformed input does what nobody asked for. */
static void malformed_commands_fault(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_A);
    const struct { uint64_t header; uint32_t words, code; } bad[] = {
        {ref_header((enum ref_op)99, 1, 0), 1, REF_ERROR_OPCODE},
        {ref_header(REF_COPY, 3, 0), 4, REF_ERROR_LENGTH}, {ref_header(REF_COPY, 4, 0), 3, REF_ERROR_LENGTH},
        {ref_header(REF_NOP, 0, 0), 1, REF_ERROR_LENGTH}, {ref_header(REF_NOP, 9, 0), 8, REF_ERROR_LENGTH},
        {ref_header(REF_FLUSH_TLB, 4, 0), 4, REF_ERROR_PRIVILEGE}};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        memset(b->cmd[0], 0, 4096);
        b->cmd[0][0] = bad[i].header;
        expect_fault(b, bad[i].words, (struct expected){CMD_VA, 0, bad[i].code, false});
    }
    struct vidmm_kmd_submit s = {.context = b->compute.handle, .node = REF_NODE_COMPUTE, .va = CMD_VA,
                                 .fence_id = 99};
    assert_int_equal(b->rig.ops->submit_command_virtual(b->rig.kmd, &s), VIDMM_INVALID);
    s.bytes = 12;
    assert_int_equal(b->rig.ops->submit_command_virtual(b->rig.kmd, &s), VIDMM_INVALID);
    bench_close(b);
}

/* ---- queues and knobs -------------------------------------------------------------------------- */

/* What waits behind a faulted packet must not run; after the reset it is the owner's to send again. */
static void fault_stops_what_is_behind(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_A);
    uint64_t frame = rig_frames(&b->rig, 1), aborted = 0;
    uint64_t *cpu = (uint64_t *)(void *)rig_frame_cpu(&b->rig, frame);
    rig_map(&b->rig, &b->client, DATA_VA, 0, frame * 4096, 1, VIDMM_PTE_VALID);
    rig_map(&b->rig, &b->other, DATA_VA, 0, frame * 4096, 1, VIDMM_PTE_VALID);
    uint64_t bad = bench_submit(b, 0, ref_emit_write64(b->cmd[0], DATA_VA + 4096, 1));
    uint64_t innocent = bench_submit(b, 2, ref_emit_write64(b->cmd[2], DATA_VA, 1));
    rig_step(&b->rig, 1000);
    assert_false(rig_completed(&b->rig, &b->compute, innocent));
    assert_int_equal(cpu[0], 0);
    assert_true(bench_run(b, 1, ref_emit_write64(b->cmd[1], DATA_VA, 2))); /* another node goes on */
    assert_int_equal(b->rig.ops->reset_engine(b->rig.kmd, REF_NODE_COMPUTE, &aborted), VIDMM_OK);
    assert_int_equal(aborted, bad);
    rig_step(&b->rig, 1000);
    assert_int_equal(cpu[0], 2);
    assert_true(bench_run(b, 2, ref_emit_write64(b->cmd[2], DATA_VA, 3)));
    assert_int_equal(cpu[0], 3);
    bench_close(b);
}

/* More packets than announced must be refused, not lost. */
static void queue_is_bounded(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_A);
    uint32_t words = ref_emit_spin(b->cmd[0], 3);
    for (uint32_t i = 0; i < b->rig.info.submit_depth; i++) (void)bench_submit(b, 0, words);
    struct vidmm_kmd_submit s = {.context = b->compute.handle, .va = CMD_VA, .bytes = 8, .fence_id = 99};
    assert_int_equal(b->rig.ops->submit_command_virtual(b->rig.kmd, &s), VIDMM_FAILED);
    rig_step(&b->rig, 1000);
    assert_int_equal(atomic_load(&b->rig.completed[0]), b->rig.info.submit_depth);
    uint64_t null = rig_submit(&b->rig, &b->compute, 0, 0, VIDMM_SUBMIT_NULL);
    rig_step(&b->rig, 10);
    assert_true(rig_completed(&b->rig, &b->compute, null));
    bench_close(b);
}

static void set_knobs(struct bench *b, struct softgpu_knobs k) { softgpu_set_knobs(b->rig.gpu, &k); }

/* The knobs are what other tests build on: one that does nothing makes those tests prove nothing. */
static void knobs_do_what_they_say(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_A);
    uint64_t aborted = 0;
    set_knobs(b, (struct softgpu_knobs){.paging_delay_ns = 1000000});
    uint64_t fence = bench_submit(b, 3, ref_emit_spin(b->cmd[3], 1));
    rig_step(&b->rig, 100);
    assert_false(rig_completed(&b->rig, &b->pager, fence));
    assert_int_equal(softgpu_wakeup_ns(b->rig.gpu), 1000000);
    b->rig.clock_ns = 1000000;
    rig_step(&b->rig, 100);
    assert_true(rig_completed(&b->rig, &b->pager, fence));

    set_knobs(b, (struct softgpu_knobs){.hang_nodes = 1u << REF_NODE_COMPUTE});
    assert_false(bench_run(b, 0, ref_emit_spin(b->cmd[0], 1)));
    assert_true(bench_run(b, 1, ref_emit_spin(b->cmd[1], 1)));
    set_knobs(b, (struct softgpu_knobs){.fail_reset = true});
    assert_int_equal(b->rig.ops->reset_engine(b->rig.kmd, 0, &aborted), VIDMM_FAILED);

    set_knobs(b, (struct softgpu_knobs){.fault_node = 1, .fault_in = 2, .fault_error = 1234});
    assert_true(bench_run(b, 1, ref_emit_spin(b->cmd[1], 1)));
    assert_false(bench_run(b, 1, ref_emit_spin(b->cmd[1], 1)));
    assert_int_equal(b->rig.fault.error_code, 1234);
    assert_int_equal(b->rig.fault.node, 1);

    set_knobs(b, (struct softgpu_knobs){.fail_create_in = 2});
    void *one, *two;
    assert_int_equal(b->rig.ops->create_process(b->rig.kmd, false, &one), VIDMM_OK);
    assert_int_equal(b->rig.ops->create_process(b->rig.kmd, false, &two), VIDMM_FAILED);
    b->rig.ops->destroy_process(b->rig.kmd, one);
    bench_close(b);
}

/* DELAY waits by the GPU's clock: in a simulation, by virtual time. */
static void delay_follows_the_clock(void **state)
{
    (void)state;
    struct bench *b = bench_open(REF_FORMAT_A);
    b->rig.clock_ns = 500;
    uint64_t fence = bench_submit(b, 0, ref_emit_delay(b->cmd[0], 250));
    rig_step(&b->rig, 100);
    assert_int_equal(softgpu_wakeup_ns(b->rig.gpu), 750);
    b->rig.clock_ns = 749;
    rig_step(&b->rig, 100);
    assert_false(rig_completed(&b->rig, &b->compute, fence));
    b->rig.clock_ns = 750;
    rig_step(&b->rig, 100);
    assert_true(rig_completed(&b->rig, &b->compute, fence));
    bench_close(b);
}

/* Impossible options and private data must be refused where they come in. */
static void bad_descriptions_are_refused(void **state)
{
    (void)state;
    struct ref_options o = bench_options(REF_FORMAT_B);
    struct ref_kmd *k;
    o.mmu_flags |= VIDMM_MMU_CACHE_COHERENT; /* no bit for it in 4 bytes */
    assert_int_equal(ref_create(&o, &k), VIDMM_INVALID);
    o = bench_options(REF_FORMAT_B);
    o.segment[0].bytes = 128ull << 30; /* more than 24 bits of pages */
    assert_int_equal(ref_create(&o, &k), VIDMM_INVALID);
    o = bench_options(REF_FORMAT_A);
    o.segment[0].bytes += 4096;
    assert_int_equal(ref_create(&o, &k), VIDMM_INVALID);
    o = bench_options(REF_FORMAT_A);
    o.table_segment[0] = 3; /* the aperture */
    assert_int_equal(ref_create(&o, &k), VIDMM_INVALID);
}

static const struct vt_case cases[] = {
    VT_TEST(copies_equal_a_plain_model, "", NULL), VT_TEST(words_and_fences, "", NULL),
    VT_TEST(fence_wait_holds_only_its_engine, "", NULL), VT_TEST(faults_name_their_cause, "", NULL),
    VT_TEST(vanished_memory_is_a_fault, "", NULL), VT_TEST(root_index_beyond_the_root_faults, "", NULL),
    VT_TEST(zero_pages, "", NULL), VT_TEST(malformed_commands_fault, "", NULL),
    VT_TEST(fault_stops_what_is_behind, "", NULL), VT_TEST(queue_is_bounded, "", NULL),
    VT_TEST(knobs_do_what_they_say, "", NULL), VT_TEST(delay_follows_the_clock, "", NULL),
    VT_TEST(bad_descriptions_are_refused, "", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "softgpu", cases, VT_COUNT(cases)); }
