/* SPDX-License-Identifier: MIT */
/* test_softgpu_threads.c - engines on threads of their own: what stepping cannot show is whether clearing,
 * draining, resetting and reporting hold when everything really happens at once. */
#include "test_softgpu.h"

#include <sched.h>
#include <string.h>
#include <time.h>

static struct bench *open_threads(enum ref_format format)
{
    struct ref_options o = bench_options(format);
    o.threads = true;
    o.now_ns = NULL;
    o.tlb_bits = 12;
    return bench_open_with(&o);
}

static void flush_and_wait(struct bench *b, const struct rig_space *s)
{
    struct vidmm_paging_buffer buffer = {b->cmd[3], CMD_VA + 3 * 4096, 4096, 0};
    struct vidmm_op op = {.code = VIDMM_OP_FLUSH_TLB, .flush = {.process = s->process}};
    uint64_t multipass = 0;
    assert_int_equal(b->rig.ops->build_paging_buffer(b->rig.kmd, &buffer, &op, &multipass), VIDMM_OK);
    assert_true(rig_wait(&b->rig, &b->pager, bench_submit(b, 3, buffer.used / 8)));
}

#define BIG_PAGES 512u

/* Two engines copy while the third flushes again and again: every byte arrives. */
static void copies_survive_flushes(void **state)
{
    (void)state;
    struct bench *b = open_threads(REF_FORMAT_A);
    uint64_t from = rig_frames(&b->rig, BIG_PAGES), to = rig_frames(&b->rig, BIG_PAGES);
    uint64_t vram = rig_vram(&b->rig, 1, BIG_PAGES * 4096), far = DATA_VA + 0x1000000;
    uint8_t *src = rig_frame_cpu(&b->rig, from), *dst = rig_frame_cpu(&b->rig, to);
    rig_map(&b->rig, &b->client, DATA_VA, 0, from * 4096, BIG_PAGES, VIDMM_PTE_VALID);
    rig_map(&b->rig, &b->client, far, 1, vram, BIG_PAGES, VIDMM_PTE_VALID);
    rig_map(&b->rig, &b->client, 2 * far, 0, to * 4096, BIG_PAGES, VIDMM_PTE_VALID);
    for (uint32_t i = 0; i < BIG_PAGES * 4096; i++) src[i] = (uint8_t)(i * 2654435761u >> 13);
    for (uint64_t round = 0; round < vt_rounds(20); round++) {
        memset(dst, 0, BIG_PAGES * 4096);
        /* copy engine: source to VRAM, then raises the fence; compute engine: waits, VRAM to target */
        uint64_t fence_va = DATA_VA + 0x2000000, *at = b->cmd[1];
        if (round == 0)
            rig_map(&b->rig, &b->client, fence_va, 0, rig_frames(&b->rig, 1) * 4096, 1, VIDMM_PTE_VALID);
        at += ref_emit_copy(at, far, DATA_VA, BIG_PAGES * 4096);
        at += ref_emit_fence_write(at, fence_va, round + 1);
        uint64_t first = bench_submit(b, 1, (uint32_t)(at - b->cmd[1]));
        at = b->cmd[0];
        at += ref_emit_fence_wait(at, fence_va, round + 1);
        at += ref_emit_copy(at, 2 * far, far, BIG_PAGES * 4096);
        uint64_t second = bench_submit(b, 0, (uint32_t)(at - b->cmd[0]));
        for (int i = 0; i < 4; i++) flush_and_wait(b, &b->client);
        assert_true(rig_wait(&b->rig, &b->copy, first));
        assert_true(rig_wait(&b->rig, &b->compute, second));
        assert_memory_equal(dst, src, BIG_PAGES * 4096);
    }
    assert_int_equal(bench_detector(b).stale_uses, 0);
    bench_close(b);
}

static void recover(struct bench *b)
{
    uint64_t aborted;
    assert_int_equal(b->rig.ops->reset_engine(b->rig.kmd, REF_NODE_COMPUTE, &aborted), VIDMM_OK);
    atomic_store(&b->rig.fault_count, 0);
}

#define VICTIM_PAGES 64u

static void assert_zero(const uint64_t *cpu, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes / 8; i++) assert_int_equal(__atomic_load_n(cpu + i, __ATOMIC_RELAXED), 0);
}

/* Pages are taken from a client that writes them all the time. Once the flush is done nothing may reach
 * them any more; the client's engine faults, or had been quick enough. */
static void nothing_is_written_after_the_flush(void **state)
{
    (void)state;
    struct bench *b = open_threads(REF_FORMAT_A);
    uint64_t frames = rig_frames(&b->rig, VICTIM_PAGES);
    uint64_t *cpu = (uint64_t *)(void *)rig_frame_cpu(&b->rig, frames);
    uint64_t bytes = VICTIM_PAGES * 4096, faults = 0, *at = b->cmd[0];
    rig_map(&b->rig, &b->paging, DATA_VA, 0, frames * 4096, VICTIM_PAGES, VIDMM_PTE_VALID);
    for (int i = 0; i < 100; i++) at += ref_emit_fill(at, DATA_VA, 0x77777777, bytes);
    for (uint64_t round = 0; round < vt_rounds(60); round++) {
        rig_map(&b->rig, &b->client, DATA_VA, 0, frames * 4096, VICTIM_PAGES, VIDMM_PTE_VALID);
        uint64_t fence = bench_submit(b, 0, (uint32_t)(at - b->cmd[0]));
        const struct timespec pause = {.tv_nsec = (long)(bench_draw(&b->rig.clock_ns) % 300000)};
        (void)nanosleep(&pause, NULL);
        rig_map(&b->rig, &b->client, DATA_VA, 0, 0, VICTIM_PAGES, 0);
        struct vidmm_paging_buffer buffer = {b->cmd[3], CMD_VA + 3 * 4096, 4096, 0};
        struct vidmm_op op = {.code = VIDMM_OP_FLUSH_TLB, .flush = {.process = b->client.process}};
        uint64_t multipass = 0;
        (void)b->rig.ops->build_paging_buffer(b->rig.kmd, &buffer, &op, &multipass);
        uint32_t words = buffer.used / 8 + ref_emit_fill(b->cmd[3] + buffer.used / 8, DATA_VA, 0, bytes);
        uint64_t done = bench_submit(b, 3, words);
        while (!rig_completed(&b->rig, &b->pager, done))
            (void)nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL);
        assert_zero(cpu, bytes);
        if (!rig_wait(&b->rig, &b->compute, fence)) faults++;
        assert_zero(cpu, bytes);
        if (atomic_load(&b->rig.fault_count) != 0) recover(b);
    }
    print_message("%u of %u rounds ended in a fault\n", (unsigned)faults, (unsigned)vt_rounds(60));
    assert_int_equal(bench_detector(b).violations, 0);
    bench_close(b);
}

/* A reset must come back, whatever the engine is at, and leave it ready. */
static void resets_return_and_leave_a_ready_engine(void **state)
{
    (void)state;
    struct bench *b = open_threads(REF_FORMAT_B);
    uint64_t frame = rig_frames(&b->rig, 64), aborted, *at = b->cmd[0];
    rig_map(&b->rig, &b->client, DATA_VA, 0, frame * 4096, 64, VIDMM_PTE_VALID);
    at += ref_emit_fill(at, DATA_VA, 1, 64 * 4096);
    at += ref_emit_fence_wait(at, DATA_VA, ~0ull); /* for ever */
    for (uint64_t round = 0; round < vt_rounds(100); round++) {
        uint64_t fence = bench_submit(b, 0, (uint32_t)(at - b->cmd[0]));
        (void)bench_submit(b, 2, 4);
        if (round % 2 != 0) (void)nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
        assert_int_equal(b->rig.ops->reset_engine(b->rig.kmd, REF_NODE_COMPUTE, &aborted), VIDMM_OK);
        assert_true(aborted == 0 || aborted == fence);
        assert_false(rig_completed(&b->rig, &b->compute, fence));
    }
    uint32_t words = ref_emit_write64(b->cmd[2], CMD_VA + 2 * 4096 + 512, 1);
    assert_true(rig_wait(&b->rig, &b->other_compute, bench_submit(b, 2, words)));
    bench_close(b); /* stops threads, one of them polling */
}

/* The delay knob by real time, and stopping while it runs. */
static void paging_can_be_slow(void **state)
{
    (void)state;
    struct bench *b = open_threads(REF_FORMAT_A);
    struct softgpu_knobs k = {.paging_delay_ns = 20000000};
    struct timespec start, end;
    softgpu_set_knobs(b->rig.gpu, &k);
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    assert_true(rig_wait(&b->rig, &b->pager, bench_submit(b, 3, ref_emit_spin(b->cmd[3], 1))));
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true((end.tv_sec - start.tv_sec) * 1000000000ll + end.tv_nsec - start.tv_nsec >= 20000000);
    k.paging_delay_ns = 3600000000000ull;
    softgpu_set_knobs(b->rig.gpu, &k);
    (void)bench_submit(b, 3, 1);
    bench_close(b);
}

/* Queues of two running contexts on one engine are suspended and resumed at any moment: an acknowledged
 * context does nothing more, and no entry is lost or done twice. */
static void suspended_contexts_stand_still(void **state)
{
    (void)state;
    struct bench *b = open_threads(REF_FORMAT_A);
    const struct vidmm_kmd_hw_ops *hw = b->rig.ops->hw;
    _Atomic uint64_t acknowledged[2] = {0}, retired[2] = {0};
    struct vidmm_kmd_hw_context c[2];
    struct vidmm_kmd_hw_queue q[2];
    uint64_t *word = b->cmd[0] + 256, va = CMD_VA + 2048, words = 0, progress = 0;
    for (uint32_t i = 0; i < 2; i++) {
        c[i] = (struct vidmm_kmd_hw_context){.process = b->client.process, .node = REF_NODE_COMPUTE,
                                             .core = (struct vidmm_hwcontext *)(void *)&acknowledged[i]};
        assert_int_equal(hw->create_context(b->rig.kmd, &c[i]), VIDMM_OK);
        b->rig.ops->set_root_page_table(b->rig.kmd, c[i].handle, b->client.table[0].at,
                                        b->client.root_entries);
        q[i] = (struct vidmm_kmd_hw_queue){.context = c[i].handle,
                                           .core = (struct vidmm_hwqueue *)(void *)&retired[i]};
        assert_int_equal(hw->create_queue(b->rig.kmd, &q[i]), VIDMM_OK);
        hw->start_queue(b->rig.kmd, q[i].handle, i + 1, va + 64 + 8 * i);
        hw->resume_context(b->rig.kmd, c[i].handle);
        words = ref_emit_spin(b->cmd[0] + 64 * i, 3);
        words += ref_emit_add64(b->cmd[0] + 64 * i + words, va + 8 * i, 1);
    }
    for (uint64_t round = 1; round <= vt_rounds(300); round++) {
        for (uint32_t k = 0; k < 20; k++, progress++)
            for (uint32_t i = 0; i < 2; i++) {
                struct vidmm_kmd_hw_submit s = {.queue = q[i].handle, .va = CMD_VA + 512 * i,
                                                .bytes = (uint32_t)words * 8, .progress = progress + 1};
                assert_int_equal(hw->submit_command(b->rig.kmd, &s), VIDMM_OK);
            }
        vidmm_status st = hw->suspend_context(b->rig.kmd, c[0].handle, round);
        while (st == VIDMM_PENDING && atomic_load(&acknowledged[0]) != round) (void)sched_yield();
        uint64_t before = __atomic_load_n(&word[0], __ATOMIC_ACQUIRE);
        (void)nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
        assert_int_equal(__atomic_load_n(&word[0], __ATOMIC_ACQUIRE), before);
        hw->resume_context(b->rig.kmd, c[0].handle);
    }
    for (uint32_t i = 0; i < 2; i++) {
        while (atomic_load(&retired[i]) != progress) (void)sched_yield();
        hw->destroy_queue(b->rig.kmd, q[i].handle);
        assert_int_equal(word[i], progress);
        assert_int_equal(word[8 + i], progress);
        hw->destroy_context(b->rig.kmd, c[i].handle);
    }
    bench_close(b);
}

static const struct vt_case cases[] = {
    VT_TEST(copies_survive_flushes, "", NULL), VT_TEST(nothing_is_written_after_the_flush, "", NULL),
    VT_TEST(resets_return_and_leave_a_ready_engine, "", NULL), VT_TEST(paging_can_be_slow, "", NULL),
    VT_TEST(suspended_contexts_stand_still, "SUB-26", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "softgpu_threads", cases, VT_COUNT(cases)); }
