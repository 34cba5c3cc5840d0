/* SPDX-License-Identifier: MIT */
/* test_softgpu_fuzz.c - hostile input to the simulated GPU: command bytes and page-table bytes that mean
 * nothing, or nearly something. The GPU may fault or wait; it must stay in its memory and in its steps. */
#include "test_softgpu.h"

#include <string.h>

#include "softgpu/dg2/dg2.h"

#define STEPS 2000u
#define CMD_PAGES 2u
#define CMD_BYTES (CMD_PAGES * 4096u)

static uint64_t pick(uint64_t *seed, const uint64_t *from, size_t n) { return from[bench_draw(seed) % n]; }

/* Addresses at which something happens: mapped, at edges, unmapped, beyond the space. */
static uint64_t address(uint64_t *seed)
{
    static const uint64_t bases[] = {0, CMD_VA, DATA_VA, DATA_VA + 8 * 4096 - 8, DATA_VA + 0x100000,
                                     1ull << 40, (1ull << 48) - 4096, 1ull << 48, ~0ull - 4095,
                                     0xffff800000000000ull};
    uint64_t low = bench_draw(seed) % 3 == 0 ? bench_draw(seed) % 8192 : bench_draw(seed) % 64 * 8;
    return pick(seed, bases, ARRAY_COUNT(bases)) + low;
}

static uint64_t size(uint64_t *seed)
{
    static const uint64_t sizes[] = {0, 1, 7, 8, 4096, 32768, 1ull << 32, 1ull << 63, ~0ull};
    return pick(seed, sizes, ARRAY_COUNT(sizes));
}

static void ref_words(uint64_t *w, uint32_t n, uint64_t *seed)
{
    for (uint32_t i = 0; i < n;) {
        uint32_t op = (uint32_t)(bench_draw(seed) % 13), words = (uint32_t)(bench_draw(seed) % 6);
        static const uint8_t right[] = {1, 1, 4, 3, 4, 3, 3, 3, 3, 1, 2, 4, 1};
        if (bench_draw(seed) % 8 != 0) words = right[op];
        w[i++] = ref_header((enum ref_op)op, words, (uint32_t)bench_draw(seed) % 100);
        for (uint32_t k = 1; k < words && i < n; k++) w[i++] = k == 3 ? size(seed) : address(seed);
        if (bench_draw(seed) % 16 == 0) w[i - 1] = bench_draw(seed);
    }
}

/* Random ref commands on every node but the paging node, which only trusted code feeds. */
static void ref_commands(void **state)
{
    (void)state;
    uint64_t seed = vt_seed();
    print_message("seed %llu\n", (unsigned long long)seed);
    struct bench *b = bench_open(REF_FORMAT_A);
    uint64_t frame = rig_frames(&b->rig, 8);
    rig_map(&b->rig, &b->client, DATA_VA, 0, frame * 4096, 4, VIDMM_PTE_VALID);
    rig_map(&b->rig, &b->client, DATA_VA + 4 * 4096, 1, 0, 2, VIDMM_PTE_VALID);
    rig_map(&b->rig, &b->client, DATA_VA + 6 * 4096, 0, 0, 2, VIDMM_PTE_VALID | VIDMM_PTE_ZERO);
    for (uint64_t i = 0; i < vt_rounds(20000); i++) {
        uint32_t slot = (uint32_t)(i % 3);
        uint64_t aborted;
        ref_words(b->cmd[slot], 64, &seed);
        (void)bench_submit(b, slot, 1 + (uint32_t)(bench_draw(&seed) % 64));
        b->rig.clock_ns += 1000000;
        assert_true(rig_step(&b->rig, STEPS) <= STEPS + 3);
        for (uint32_t n = 0; n < 2; n++) (void)b->rig.ops->reset_engine(b->rig.kmd, n, &aborted);
        assert_true(softgpu_node_idle(b->rig.gpu, 0));
    }
    bench_close(b);
}

static void dg2_dwords(uint32_t *w, uint32_t n, uint64_t *seed)
{
    static const uint32_t heads[] = {0x50400014, 0x5040000a, 0x5110000e, 0x51100009, 0x13014203, 0x0e00d003,
                                     0x02800000, 0x18800101, 0x18c00101, 0x05000000, 0x7a000004, 0x72080025,
                                     0x69040000, 0x61010014, 0x10000002, 0x10200003, 0x11000001};
    for (uint32_t i = 0; i < n;) {
        uint32_t head = heads[bench_draw(seed) % ARRAY_COUNT(heads)], operands = head & 0x3f;
        if (bench_draw(seed) % 8 == 0) head ^= 1u << bench_draw(seed) % 32;
        w[i++] = head;
        for (uint32_t k = 0; k <= operands && i < n; k++) {
            uint64_t r = bench_draw(seed);
            uint32_t edge = (uint32_t)address(seed), wide = (uint32_t)(r >> 32) & 0x00ff00ff;
            uint32_t some[3] = {edge, wide, (uint32_t)(r % 64)};
            w[i++] = some[r % 3];
        }
    }
}

/* The same for the dg2 interpreter. */
static void dg2_commands(void **state)
{
    (void)state;
    static struct rig rig;
    static struct rig_space space;
    struct rig_context context;
    struct dg2_options o;
    struct dg2_kmd *kmd;
    uint64_t seed = vt_seed(), aborted;
    dg2_options_default(&o);
    o.tlb_bits = 8;
    assert_int_equal(dg2_create(&o, &kmd), VIDMM_OK);
    assert_true(rig_open(&rig, dg2_ops(), kmd, dg2_gpu(kmd)));
    rig_space_open(&rig, &space, false);
    rig_context_open(&rig, &context, &space, DG2_NODE_COPY);
    uint64_t cmd = rig_frames(&rig, CMD_PAGES);
    rig_map(&rig, &space, CMD_VA, 0, cmd * 4096, CMD_PAGES, VIDMM_PTE_VALID);
    rig_map(&rig, &space, DATA_VA, 1, 0, 8, VIDMM_PTE_VALID);
    for (uint64_t i = 0; i < vt_rounds(20000); i++) {
        dg2_dwords((uint32_t *)(void *)rig_frame_cpu(&rig, cmd), CMD_BYTES / 4, &seed);
        (void)rig_submit(&rig, &context, CMD_VA, 4 + (uint32_t)(bench_draw(&seed) % (CMD_BYTES / 4)) * 4, 0);
        assert_true(rig_step(&rig, STEPS) <= STEPS + DG2_NODE_COUNT);
        assert_int_equal(rig.ops->reset_engine(rig.kmd, DG2_NODE_COPY, &aborted), VIDMM_OK);
    }
    rig_context_close(&rig, &context);
    rig_space_close(&rig, &space);
    rig_close(&rig);
    dg2_destroy(kmd);
}

/* Page tables full of random bytes: the walker ends at a fault or in memory that the GPU has. */
static void table_bytes(void **state)
{
    (void)state;
    uint64_t seed = vt_seed();
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        struct bench *b = bench_open((enum ref_format)format);
        uint64_t frame = rig_frames(&b->rig, 8), aborted;
        rig_map(&b->rig, &b->client, DATA_VA, 0, frame * 4096, 8, VIDMM_PTE_VALID);
        for (uint64_t i = 0; i < vt_rounds(10000); i++) {
            uint32_t level = (uint32_t)(bench_draw(&seed) % b->rig.info.level_count);
            uint32_t entry = format == REF_FORMAT_A ? 8 : 4, shift = format == REF_FORMAT_A ? 9 : 10;
            uint32_t index = (uint32_t)(DATA_VA >> (12 + level * shift)) & ((1u << shift) - 1);
            uint8_t *at = rig_table(&b->rig, &b->client, DATA_VA, level)->cpu + index * entry;
            uint64_t old = 0, raw = bench_draw(&seed) | (bench_draw(&seed) % 2 == 0 ? 1 : 0);
            if (format == REF_FORMAT_A) raw &= bench_draw(&seed) % 2 == 0 ? 0xfffff07full : ~0ull;
            memcpy(&old, at, entry);
            memcpy(at, &raw, entry);
            for (uint32_t slot = 0; slot < 2; slot++)
                (void)bench_submit(b, slot, ref_emit_checksum(b->cmd[slot], DATA_VA, 5000, DATA_VA + 4096));
            (void)rig_step(&b->rig, STEPS);
            for (uint32_t n = 0; n < 2; n++) (void)b->rig.ops->reset_engine(b->rig.kmd, n, &aborted);
            memcpy(at, &old, entry);
            softgpu_clear_detector(b->rig.gpu);
        }
        bench_close(b);
    }
}

static const struct vt_case cases[] = {
    VT_TEST(ref_commands, "", NULL), VT_TEST(dg2_commands, "", NULL), VT_TEST(table_bytes, "", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "softgpu_fuzz", cases, VT_COUNT(cases)); }
