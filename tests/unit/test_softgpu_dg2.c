/* SPDX-License-Identifier: MIT */
/* test_softgpu_dg2.c - the dg2 driver and its command interpreter, stepped by hand: the commands that the
 * Debian compute driver emits, with the headers that it was seen to emit. */
#include <stdlib.h>
#include <string.h>

#include <vidmm/dg2_abi.h>

#include "base/bits.h"
#include "base/check.h"
#include "kmd_rig.h"
#include "softgpu/dg2/commands.h"
#include "softgpu/dg2/dg2.h"
#include "vt.h"

#define SIGN 0xffff000000000000ull           /* clients sign-extend addresses */
#define CMD_VA 0xc00000100000ull
#define DATA_VA 0xc00000400000ull
#define DATA_PAGES 96u
#define FENCE_VA 0x10000000ull

struct bench {
    struct rig rig;
    struct dg2_kmd *kmd;
    struct rig_space space;
    struct rig_context copy, compute;
    uint32_t *cmd;          /* 4 pages at CMD_VA */
    uint8_t *data;          /* DATA_PAGES of system memory at DATA_VA, and as many in VRAM behind them */
    uint64_t *fence;        /* one page at FENCE_VA */
};

static struct bench memory;

static struct bench *bench_open(void)
{
    struct bench *b = &memory;
    struct dg2_options o;
    dg2_options_default(&o);
    o.tlb_bits = 10;
    o.now_ns = rig_now;
    o.now_ctx = &b->rig;
    CHECK(dg2_create(&o, &b->kmd) == VIDMM_OK);
    CHECK(rig_open(&b->rig, dg2_ops(), b->kmd, dg2_gpu(b->kmd)));
    rig_space_open(&b->rig, &b->space, false);
    rig_context_open(&b->rig, &b->copy, &b->space, DG2_NODE_COPY);
    rig_context_open(&b->rig, &b->compute, &b->space, DG2_NODE_COMPUTE);
    uint64_t cmd = rig_frames(&b->rig, 4), data = rig_frames(&b->rig, DATA_PAGES);
    uint64_t fence = rig_frames(&b->rig, 1);
    b->cmd = (uint32_t *)(void *)rig_frame_cpu(&b->rig, cmd);
    b->data = rig_frame_cpu(&b->rig, data);
    b->fence = (uint64_t *)(void *)rig_frame_cpu(&b->rig, fence);
    rig_map(&b->rig, &b->space, CMD_VA, 0, cmd * 4096, 4, VIDMM_PTE_VALID);
    rig_map(&b->rig, &b->space, DATA_VA, 0, data * 4096, DATA_PAGES, VIDMM_PTE_VALID);
    rig_map(&b->rig, &b->space, DATA_VA + DATA_PAGES * 4096, 1, 0, DATA_PAGES, VIDMM_PTE_VALID);
    rig_map(&b->rig, &b->space, FENCE_VA, 0, fence * 4096, 1, VIDMM_PTE_VALID);
    return b;
}

static void bench_close(struct bench *b)
{
    rig_context_close(&b->rig, &b->copy);
    rig_context_close(&b->rig, &b->compute);
    rig_space_close(&b->rig, &b->space);
    rig_close(&b->rig);
    dg2_destroy(b->kmd);
}

static uint64_t submit(struct bench *b, struct rig_context *c, uint32_t dwords, uint64_t fence_va,
                       uint64_t value)
{
    struct vidmm_dg2_command_header h = {
        .head = {VIDMM_DG2_COMMAND, VIDMM_DG2_VERSION, sizeof(h), 0},
        .monitored_fence_va = fence_va, .monitored_fence_value = value, .umd_context_type = 5};
    struct vidmm_kmd_submit s = {.context = c->handle, .node = c->node, .va = CMD_VA | SIGN,
                                 .bytes = dwords * 4, .private_data = &h, .private_size = sizeof(h),
                                 .fence_id = ++b->rig.fence[c->node]};
    assert_int_equal(b->rig.ops->submit_command_virtual(b->rig.kmd, &s), VIDMM_OK);
    return s.fence_id;
}

static bool run(struct bench *b, struct rig_context *c, uint32_t dwords)
{
    uint64_t fence = submit(b, c, dwords, 0, 0);
    rig_step(&b->rig, 10000000);
    return rig_completed(&b->rig, c, fence);
}

static void recover(struct bench *b, struct rig_context *c)
{
    uint64_t aborted;
    assert_int_equal(b->rig.ops->reset_engine(b->rig.kmd, c->node, &aborted), VIDMM_OK);
}

/* ---- encoders: header as seen, fields where the documentation says ------------------------------ */

static uint32_t *put64(uint32_t *at, uint64_t v)
{
    at[0] = (uint32_t)v;
    at[1] = (uint32_t)(v >> 32);
    return at + 2;
}

struct surface { uint64_t va; uint32_t pitch, x, y; };

static uint32_t *emit_copy(uint32_t *at, uint32_t depth, struct surface dst, struct surface src, uint32_t w,
                           uint32_t h)
{
    memset(at, 0, 22 * 4);
    at[0] = 0x50400014 | depth << 19;
    at[1] = dst.pitch - 1;
    at[2] = dst.y << 16 | dst.x;
    at[3] = (dst.y + h) << 16 | (dst.x + w);
    (void)put64(at + 4, dst.va | SIGN);
    at[7] = src.y << 16 | src.x;
    at[8] = src.pitch - 1;
    (void)put64(at + 9, src.va | SIGN);
    return at + 22;
}

static uint32_t *emit_fill(uint32_t *at, uint32_t depth, struct surface dst, uint32_t w, uint32_t h,
                           const uint32_t colour[4])
{
    memset(at, 0, 16 * 4);
    at[0] = (0x5110000e & ~(7u << 19)) | depth << 19;
    at[1] = dst.pitch - 1;
    at[2] = dst.y << 16 | dst.x;
    at[3] = (dst.y + h) << 16 | (dst.x + w);
    (void)put64(at + 4, dst.va);
    memcpy(at + 7, colour, 16);
    return at + 16;
}

static uint32_t *emit_flush_dw(uint32_t *at, uint64_t va, uint64_t value)
{
    at[0] = 0x13014203;
    return put64(put64(at + 1, va), value);
}

static uint32_t *emit_end(uint32_t *at)
{
    at[0] = 0x05000000;
    return at + 1;
}

static uint32_t words(const struct bench *b, const uint32_t *at) { return (uint32_t)(at - b->cmd); }

/* ---- blits ------------------------------------------------------------------------------------- */

static void fill_random(uint8_t *p, uint64_t n, uint64_t seed)
{
    for (uint64_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        p[i] = (uint8_t)(seed >> 56);
    }
}

/* 16384 bytes wide, whole rows, then one remainder row: how every buffer transfer is cut. */
static void buffers_travel_as_rows(void **state)
{
    (void)state;
    struct bench *b = bench_open();
    uint64_t vram = DATA_VA + DATA_PAGES * 4096;
    uint8_t *local = softgpu_vram(b->rig.gpu, 1, 0, DATA_PAGES * 4096);
    fill_random(b->data, DATA_PAGES * 4096, 1);
    const uint32_t sizes[] = {1, 4096, 16384, 16385, 65536, 100000, 300001};
    for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
        uint32_t rows = sizes[i] / 16384, rest = sizes[i] % 16384, done = rows * 16384;
        uint32_t *at = b->cmd;
        memset(local, 0, DATA_PAGES * 4096);
        if (rows != 0) at = emit_copy(at, 0, (struct surface){vram + 3, 16384, 0, 0},
                                      (struct surface){DATA_VA + 5, 16384, 0, 0}, 16384, rows);
        if (rest != 0) at = emit_copy(at, 0, (struct surface){vram + 3 + done, rest, 0, 0},
                                      (struct surface){DATA_VA + 5 + done, rest, 0, 0}, rest, 1);
        at = emit_end(at);
        assert_true(run(b, &b->copy, words(b, at)));
        assert_memory_equal(local + 3, b->data + 5, sizes[i]);
        assert_int_equal(local[3 + sizes[i]], 0);
        assert_int_equal(local[2], 0);
    }
    bench_close(b);
}

/* A rectangle with pitches: rows must not run into each other. */
static void rectangles_keep_their_rows(void **state)
{
    (void)state;
    struct bench *b = bench_open();
    uint8_t *model = calloc(1, 65536), *local = softgpu_vram(b->rig.gpu, 1, 0, 65536);
    fill_random(b->data, 65536, 2);
    memset(local, 0, 65536);
    for (uint32_t y = 0; y < 7; y++)
        memcpy(model + (y + 2) * 600 + 4 * 4, b->data + (y + 1) * 256 + 3 * 4, 20 * 4);
    uint32_t *at = emit_copy(b->cmd, 2, (struct surface){DATA_VA + DATA_PAGES * 4096, 600, 4, 2},
                             (struct surface){DATA_VA, 256, 3, 1}, 20, 7);
    assert_true(run(b, &b->copy, words(b, emit_end(at))));
    assert_memory_equal(local, model, 65536);
    free(model);
    bench_close(b);
}

/* The colour repeats from the start of each row, at every depth. */
static void fills_repeat_their_colour(void **state)
{
    (void)state;
    struct bench *b = bench_open();
    const uint32_t colour[4] = {0x44332211, 0x88776655, 0xccbbaa99, 0x00ffeedd};
    const struct { uint32_t depth, bytes; } depth[] = {{0, 1}, {1, 2}, {2, 4}, {3, 8}, {5, 16}};
    uint8_t pattern[16];
    memcpy(pattern, colour, 16);
    for (size_t d = 0; d < ARRAY_COUNT(depth); d++) {
        uint32_t n = depth[d].bytes;
        memset(b->data, 0, 8192);
        struct surface to = {DATA_VA + 32, 1000, 1, 1};
        uint32_t *at = emit_fill(b->cmd, depth[d].depth, to, 30, 3, colour);
        assert_true(run(b, &b->copy, words(b, emit_end(at))));
        for (uint32_t i = 0; i < 8000; i++) {
            int64_t x = (int64_t)i - 32 - n;
            int64_t row = x < 0 ? -1 : x / 1000, col = x < 0 ? -1 : x % 1000;
            bool inside = row >= 1 && row <= 3 && col < 30 * (int64_t)n;
            assert_int_equal(b->data[i], inside ? pattern[(uint32_t)col % n] : 0);
        }
    }
    bench_close(b);
}

/* ---- control flow ------------------------------------------------------------------------------ */

/* Both completion writes, and the second only after the last command. */
static void completion_writes_tag_and_fence(void **state)
{
    (void)state;
    struct bench *b = bench_open();
    uint32_t *at = emit_flush_dw(b->cmd, FENCE_VA + 8, 0x1122334455667788ull);
    *at++ = 0x02800000; /* arbitration check */
    *at++ = 0;
    at = emit_end(at);
    uint64_t id = submit(b, &b->copy, words(b, at), FENCE_VA | SIGN, 41);
    rig_step(&b->rig, 1000);
    assert_true(rig_completed(&b->rig, &b->copy, id));
    assert_int_equal(b->fence[1], 0x1122334455667788ull);
    assert_int_equal(b->fence[0], 41);
    assert_int_equal(atomic_load(&b->rig.fence_interrupts), 1);
    id = submit(b, &b->copy, words(b, at), FENCE_VA + 0x1000, 42); /* nobody mapped that */
    rig_step(&b->rig, 1000);
    assert_false(rig_completed(&b->rig, &b->copy, id));
    assert_int_equal(b->rig.fault.va, FENCE_VA + 0x1000);
    bench_close(b);
}

/* Waits on memory that another engine writes; the ring of packets depends on it. */
static void semaphore_waits_for_its_word(void **state)
{
    (void)state;
    struct bench *b = bench_open();
    uint32_t *sem = (uint32_t *)(void *)(b->fence + 16);
    *sem = 1;
    uint32_t *at = b->cmd;
    *at++ = 0x0e00d003;
    *at++ = 1;
    at = put64(at, FENCE_VA + 128);
    *at++ = 0;
    at = emit_flush_dw(at, FENCE_VA + 8, 5);
    uint64_t id = submit(b, &b->copy, words(b, emit_end(at)), 0, 0);
    rig_step(&b->rig, 1000);
    assert_int_equal(b->fence[1], 0);
    __atomic_store_n(sem, 0, __ATOMIC_RELAXED);
    rig_step(&b->rig, 1000);
    assert_true(rig_completed(&b->rig, &b->copy, id));
    assert_int_equal(b->fence[1], 5);
    bench_close(b);
}

/* Chained batches end where they end; second-level ones come back. */
static void batches_chain_and_return(void **state)
{
    (void)state;
    struct bench *b = bench_open();
    uint32_t *second = b->cmd + 1024, *third = b->cmd + 2048, *at = b->cmd;
    *at++ = 0x18c00101; /* second level: to page 1 and back */
    at = put64(at, (CMD_VA + 4096) | SIGN);
    at = emit_flush_dw(at, FENCE_VA + 16, 2);
    *at++ = 0x18800101; /* chain: to page 2 for good */
    at = put64(at, CMD_VA + 8192);
    at = emit_flush_dw(at, FENCE_VA + 24, 99); /* never reached */
    (void)emit_end(emit_flush_dw(second, FENCE_VA + 8, 1));
    (void)emit_end(emit_flush_dw(third, FENCE_VA + 32, 3));
    assert_true(run(b, &b->copy, words(b, at)));
    assert_int_equal(b->fence[1], 1);
    assert_int_equal(b->fence[2], 2);
    assert_int_equal(b->fence[3], 0);
    assert_int_equal(b->fence[4], 3);
    bench_close(b);
}

/* Compute packets complete: post-sync writes of both kinds, everything else skipped by its length. */
static void compute_packets_complete(void **state)
{
    (void)state;
    struct bench *b = bench_open();
    const uint32_t skipped[][2] = {{0x69041300, 1}, {0x61010014, 22}, {0x72000004, 6}, {0x70000007, 9},
                                   {0x70040000, 2}, {0x70020002, 4}, {0x61050000, 2}, {0x79190002, 4},
                                   {0x11000001, 3}};
    uint32_t *at = b->cmd;
    for (size_t i = 0; i < ARRAY_COUNT(skipped); i++) {
        memset(at, 0xff, skipped[i][1] * 4); /* operands look like nothing */
        at[0] = skipped[i][0];
        at += skipped[i][1];
    }
    memset(at, 0, 39 * 4); /* walker: post-sync timestamp at FENCE_VA + 64 */
    at[0] = 0x72080025;
    at[26] = 3;
    (void)put64(at + 27, FENCE_VA + 64);
    at += 39;
    at[0] = 0x7a000004; /* pipe control: a value */
    at[1] = 1u << 14;
    at = put64(put64(at + 2, FENCE_VA + 8), 7);
    b->rig.clock_ns = 1000000;
    b->fence[8] = b->fence[9] = ~0ull;
    assert_true(run(b, &b->compute, words(b, emit_end(at))));
    assert_int_equal(b->fence[1], 7);
    assert_int_equal(b->fence[8], 19200ull << 32 | 19200);
    assert_int_equal(b->fence[9], 19200ull << 32 | 19200);
    bench_close(b);
}

/* ---- refusals ---------------------------------------------------------------------------------- */

/* What the interpreter does not know it must not guess at. */
static void unknown_commands_fault(void **state)
{
    (void)state;
    struct bench *b = bench_open();
    const struct { uint32_t dw[4]; uint32_t code; } bad[] = {
        {{0x1f000000}, DG2_ERROR_OPCODE}, {{0x50000014}, DG2_ERROR_OPCODE}, {{0x7fff0000}, DG2_ERROR_OPCODE},
        {{0xe0000000}, DG2_ERROR_OPCODE}, {{0x504000ff}, DG2_ERROR_LENGTH}, {{0x50400002}, DG2_ERROR_LENGTH},
        {{0x50600014}, DG2_ERROR_DEPTH}, {{0x50400014, 1u << 30}, DG2_ERROR_TILING},
        {{0x50400014, 0, 5}, DG2_ERROR_RECTANGLE}};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        memset(b->cmd, 0, 4096);
        memcpy(b->cmd, bad[i].dw, sizeof(bad[i].dw));
        assert_false(run(b, &b->copy, 64));
        assert_int_equal(b->rig.fault.error_code, bad[i].code);
        assert_int_equal(b->rig.fault.va, CMD_VA);
        recover(b, &b->copy);
    }
    bench_close(b);
}

/* A batch that starts itself: bounded work per step, and a reset ends it. */
static void an_endless_batch_never_completes(void **state)
{
    (void)state;
    struct bench *b = bench_open();
    b->cmd[0] = 0x18800101;
    (void)put64(b->cmd + 1, CMD_VA);
    uint64_t id = submit(b, &b->copy, 3, 0, 0), aborted;
    rig_step(&b->rig, vt_rounds(100000));
    assert_false(rig_completed(&b->rig, &b->copy, id));
    assert_int_equal(b->rig.ops->reset_engine(b->rig.kmd, DG2_NODE_COPY, &aborted), VIDMM_OK);
    assert_int_equal(aborted, id);
    bench_close(b);
}

static struct vidmm_dg2_resource_info resource(uint64_t bytes, uint32_t flags)
{
    return (struct vidmm_dg2_resource_info){
        .head = {VIDMM_DG2_RESOURCE, VIDMM_DG2_VERSION, sizeof(struct vidmm_dg2_resource_info), 0},
        .bytes = bytes, .flags = flags, .type = 6};
}

static struct vidmm_kmd_allocation create(struct bench *b, const struct vidmm_dg2_resource_info *r,
                                          uint64_t existing, vidmm_status want)
{
    struct vidmm_kmd_allocation a = {.private_data = r, .private_size = sizeof(*r),
                                     .existing_bytes = existing};
    assert_int_equal(b->rig.ops->create_allocation(b->rig.kmd, &a), want);
    if (want == VIDMM_OK) b->rig.ops->destroy_allocation(b->rig.kmd, a.handle);
    return a;
}

/* The client's flags are the only hint there is: local means video memory first, all else is system. */
static void resource_flags_choose_segments(void **state)
{
    (void)state;
    struct bench *b = bench_open();
    struct vidmm_dg2_resource_info r = resource(100000, VIDMM_DG2_LOCAL_ONLY | VIDMM_DG2_NOT_LOCKABLE);
    struct vidmm_kmd_allocation a = create(b, &r, 0, VIDMM_OK);
    assert_int_equal(a.supported, 3);
    assert_int_equal(a.preferred, 1);
    assert_int_equal(a.alignment, 65536);
    assert_int_equal(a.bytes, 100000);
    r = resource(4096, VIDMM_DG2_NON_LOCAL_ONLY | VIDMM_DG2_CACHEABLE);
    a = create(b, &r, 0, VIDMM_OK);
    assert_int_equal(a.supported, 2);
    assert_int_equal(a.preferred, 0);
    r = resource(4096, 0);
    assert_int_equal(create(b, &r, 0, VIDMM_OK).supported, 2);
    r = resource(5000, VIDMM_DG2_EXISTING_SYSMEM | VIDMM_DG2_NON_LOCAL_ONLY);
    assert_int_equal(create(b, &r, 0x11000, VIDMM_OK).bytes, 0x11000);
    r = resource(0, 0);
    (void)create(b, &r, 0, VIDMM_INVALID);
    r = resource(4096, VIDMM_DG2_LOCAL_ONLY | VIDMM_DG2_NON_LOCAL_ONLY);
    (void)create(b, &r, 0, VIDMM_INVALID);
    r = resource(4096, 0);
    r.head.version++;
    (void)create(b, &r, 0, VIDMM_INVALID);
    bench_close(b);
}

/* The reported size is the client's business, the segment ours. */
static void description_and_private_data(void **state)
{
    (void)state;
    struct bench *b = bench_open();
    struct vidmm_dg2_adapter_info info;
    assert_int_equal(b->rig.ops->query_private(b->rig.kmd, &info, sizeof(info)), VIDMM_OK);
    assert_true(vidmm_dg2_head_ok(&info.head, VIDMM_DG2_ADAPTER, sizeof(info)));
    assert_int_equal(info.dedicated_bytes, 4ull << 30);
    assert_int_equal(b->rig.info.segment[0].bytes, 256ull << 20);
    assert_int_equal(b->rig.ops->query_private(b->rig.kmd, &info, sizeof(info) - 1), VIDMM_INVALID);
    struct vidmm_dg2_partition p = {.head = {VIDMM_DG2_PARTITION, VIDMM_DG2_VERSION, sizeof(p), 0}};
    assert_int_equal(b->rig.ops->escape(b->rig.kmd, &p, sizeof(p)), VIDMM_OK);
    assert_int_equal(p.svm.base, 0x10000);
    p.head.magic = 0;
    assert_int_equal(b->rig.ops->escape(b->rig.kmd, &p, sizeof(p)), VIDMM_NOT_SUPPORTED);
    struct vidmm_kmd_submit s = {.context = b->copy.handle, .node = DG2_NODE_COPY, .va = CMD_VA, .bytes = 64,
                                 .private_data = &info, .private_size = sizeof(info), .fence_id = 1};
    assert_int_equal(b->rig.ops->submit_command_virtual(b->rig.kmd, &s), VIDMM_INVALID);
    bench_close(b);
}

static const struct vt_case cases[] = {
    VT_TEST(buffers_travel_as_rows, "", NULL), VT_TEST(rectangles_keep_their_rows, "", NULL),
    VT_TEST(fills_repeat_their_colour, "", NULL), VT_TEST(completion_writes_tag_and_fence, "", NULL),
    VT_TEST(semaphore_waits_for_its_word, "", NULL), VT_TEST(batches_chain_and_return, "", NULL),
    VT_TEST(compute_packets_complete, "", NULL), VT_TEST(unknown_commands_fault, "", NULL),
    VT_TEST(an_endless_batch_never_completes, "", NULL), VT_TEST(resource_flags_choose_segments, "", NULL),
    VT_TEST(description_and_private_data, "", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "softgpu_dg2", cases, VT_COUNT(cases)); }
