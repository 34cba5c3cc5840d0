/* SPDX-License-Identifier: MIT */
/* blit.c - the two blitter commands of the copy engine: XY_BLOCK_COPY_BLT and XY_FAST_COLOR_BLT, linear
 * surfaces only. Both have a longer and a shorter form; only the dwords they share are looked at.
 *   copy: dw0[21:19] depth  dw1[17:0] dst pitch - 1, [31:30] tiling  dw2 x1,y1  dw3 x2,y2  dw4-5 dst
 *         dw7 src x1,y1  dw8[17:0] src pitch - 1, [31:30] tiling  dw9-10 src
 *   fill: the same up to dw5, dw7-10 colour */
#include "base/bits.h"
#include "softgpu/dg2/commands.h"

#define MIN_DWORDS 11u

static bool refuse(struct softgpu_engine *e, const struct dg2_state *s, uint32_t code)
{
    processor_error(e, s->ip, code);
    return false;
}

/* Bytes of a pixel, 0 for the depths that do not exist. */
static uint32_t depth_bytes(uint32_t dw0)
{
    static const uint8_t bytes[8] = {1, 2, 4, 8, 0, 16, 0, 0};
    return bytes[dw0 >> 19 & 7];
}

static uint64_t pitch_of(uint32_t dw) { return (dw & 0x3ffff) + 1ull; }
static bool tiled(uint32_t dw) { return dw >> 30 != 0; }

struct rectangle { uint32_t x1, y1, x2, y2; };

static struct rectangle rectangle_of(const uint32_t *dw)
{
    return (struct rectangle){dw[2] & 0xffff, dw[2] >> 16, dw[3] & 0xffff, dw[3] >> 16};
}

/* The destination half, common to both commands. */
static bool begin(struct softgpu_engine *e, struct dg2_state *s)
{
    const uint32_t *dw = s->dw;
    struct rectangle r = rectangle_of(dw);
    uint64_t bytes = depth_bytes(dw[0]);
    if (s->length < MIN_DWORDS) return refuse(e, s, DG2_ERROR_LENGTH);
    if (bytes == 0) return refuse(e, s, DG2_ERROR_DEPTH);
    if (tiled(dw[1])) return refuse(e, s, DG2_ERROR_TILING);
    if (r.x2 < r.x1 || r.y2 < r.y1) return refuse(e, s, DG2_ERROR_RECTANGLE);
    s->rows = (struct dg2_rows){.dst_pitch = pitch_of(dw[1]), .row_bytes = (r.x2 - r.x1) * bytes,
                                .count = r.y2 - r.y1};
    s->rows.dst = dg2_address(dw + 4) + r.y1 * s->rows.dst_pitch + r.x1 * bytes;
    return true;
}

/* Rows without a gap are one long row. */
static void merge(struct dg2_rows *r)
{
    bool dense = r->dst_pitch == r->row_bytes && (r->fill || r->src_pitch == r->row_bytes);
    if (!dense || r->count < 2) return;
    r->row_bytes *= r->count;
    r->count = 1;
}

bool dg2_blit_copy_begin(struct softgpu_engine *e, struct dg2_state *s)
{
    const uint32_t *dw = s->dw;
    if (!begin(e, s)) return false;
    if (tiled(dw[8])) return refuse(e, s, DG2_ERROR_TILING);
    s->rows.src_pitch = pitch_of(dw[8]);
    s->rows.src = dg2_address(dw + 9) + (dw[7] >> 16) * s->rows.src_pitch +
                  (uint64_t)(dw[7] & 0xffff) * depth_bytes(dw[0]);
    merge(&s->rows);
    return true;
}

bool dg2_blit_fill_begin(struct softgpu_engine *e, struct dg2_state *s)
{
    const uint32_t *colour = s->dw + 7;
    if (!begin(e, s)) return false;
    uint32_t bytes = depth_bytes(s->dw[0]);
    s->rows.fill = true;
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t word = colour[i & (max_u32(bytes, 4) / 4 - 1)];
        if (bytes == 1) word = (word & 0xff) * 0x01010101u;
        if (bytes == 2) word = (word & 0xffff) * 0x00010001u;
        s->rows.pattern[i] = word;
    }
    merge(&s->rows);
    return true;
}

enum softgpu_run dg2_blit_step(struct softgpu_engine *e, struct dg2_state *s)
{
    struct dg2_rows *r = &s->rows;
    if (r->count == 0 || r->row_bytes == 0) return SOFTGPU_RUN_DONE;
    if (!r->started && r->fill) processor_fill16_begin(e, r->dst, r->row_bytes, r->pattern);
    else if (!r->started) processor_copy_begin(e, r->dst, r->src, r->row_bytes);
    r->started = true;
    enum softgpu_run run = processor_bulk_step(e);
    if (run != SOFTGPU_RUN_DONE) return run;
    r->started = false;
    r->dst += r->dst_pitch;
    r->src += r->src_pitch;
    return --r->count == 0 ? SOFTGPU_RUN_DONE : SOFTGPU_RUN_MORE;
}
