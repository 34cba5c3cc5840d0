/* SPDX-License-Identifier: MIT */
/* interpreter.c - the command streamer of the dg2 engines: the subset of the instruction set that the
 * Debian compute driver emits. Blits move data; compute commands only complete (there are no execution
 * units). One command, or one piece of a blit, per step: a batch that loops for ever never completes and
 * does no other harm. What is not known is a fault, never skipped in silence.
 * The bytes come from clients: every address is cut to 48 bits, every length checked. */
#include "softgpu/dg2/commands.h"

#define PATIENCE (1u << 20)  /* commands after which a batch is taken for a loop and made to pause */

_Static_assert(sizeof(struct dg2_state) <= PROCESSOR_STATE_BYTES, "state fits");

enum client { CLIENT_MI = 0, CLIENT_2D = 2, CLIENT_RENDER = 3 };

enum mi_op { /* dw0[28:23]; those below 0x10 are one dword long */
    MI_BATCH_BUFFER_END = 0x0a, MI_SEMAPHORE_WAIT = 0x1c, MI_STORE_DATA_IMM = 0x20,
    MI_LOAD_REGISTER_IMM = 0x22, MI_FLUSH_DW = 0x26, MI_LOAD_REGISTER_MEM = 0x29,
    MI_LOAD_REGISTER_REG = 0x2a, MI_BATCH_BUFFER_START = 0x31
};

enum blit_op { XY_BLOCK_COPY = 0x41, XY_FAST_COLOR = 0x44 }; /* dw0[28:22] */

enum render_op { /* dw0[31:16] */
    PIPELINE_SELECT = 0x6904, PIPE_CONTROL = 0x7a00, COMPUTE_WALKER = 0x7208, GPGPU_WALKER = 0x7105
};

enum post_sync { POST_SYNC_NONE = 0, POST_SYNC_VALUE = 1, POST_SYNC_TIMESTAMP = 3 };

/* State that no execution unit will ever look at. */
static bool render_skipped(uint32_t op)
{
    static const uint16_t known[] = {0x6101, 0x6102, 0x6105, 0x7000, 0x7001, 0x7002, 0x7004, 0x7200, 0x7919,
                                     GPGPU_WALKER};
    for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i] == op) return true;
    return false;
}

static enum softgpu_run malformed(struct softgpu_engine *e, const struct dg2_state *s, uint32_t code)
{
    processor_error(e, s->ip, code);
    return SOFTGPU_RUN_FAULT;
}

static uint64_t timestamp(struct softgpu_engine *e) { return processor_now_ns(e) * 12 / 625; } /* 19.2 MHz */

static uint32_t command_client(uint32_t dw0) { return dw0 >> 29; }
static uint32_t mi_opcode(uint32_t dw0) { return dw0 >> 23 & 0x3f; }

static uint32_t command_length(uint32_t dw0)
{
    bool one = command_client(dw0) == CLIENT_MI && mi_opcode(dw0) < 0x10;
    if (one || dw0 >> 16 == PIPELINE_SELECT) return 1;
    return (dw0 & 0xff) + 2;
}

/* ---- commands ---------------------------------------------------------------------------------- */

static enum softgpu_run store_result(struct softgpu_engine *e, uint32_t op, uint64_t va,
                                     const uint32_t *value)
{
    uint64_t v = (uint64_t)value[1] << 32 | value[0];
    if (op == POST_SYNC_TIMESTAMP) v = timestamp(e);
    if (op != POST_SYNC_VALUE && op != POST_SYNC_TIMESTAMP) return SOFTGPU_RUN_DONE;
    return processor_store(e, va & ~7ull, 8, v) ? SOFTGPU_RUN_DONE : SOFTGPU_RUN_FAULT;
}

static enum softgpu_run flush_dw(struct softgpu_engine *e, struct dg2_state *s)
{
    uint32_t op = s->dw[0] >> 14 & 3;
    if (op != POST_SYNC_NONE && s->length < 5) return malformed(e, s, DG2_ERROR_LENGTH);
    return store_result(e, op, dg2_address(s->dw + 1), s->dw + 3);
}

static enum softgpu_run pipe_control(struct softgpu_engine *e, struct dg2_state *s)
{
    if (s->length < 6) return malformed(e, s, DG2_ERROR_LENGTH);
    return store_result(e, s->dw[1] >> 14 & 3, dg2_address(s->dw + 2), s->dw + 4);
}

/* Completes without computing: only the post-sync write, four 32-bit timestamps or a value. */
static enum softgpu_run compute_walker(struct softgpu_engine *e, struct dg2_state *s)
{
    if (s->length < 31) return malformed(e, s, DG2_ERROR_LENGTH);
    uint32_t op = s->dw[26] & 3;
    uint64_t va = dg2_address(s->dw + 27);
    if (op != POST_SYNC_TIMESTAMP) return store_result(e, op, va, s->dw + 29);
    uint32_t now = (uint32_t)timestamp(e), stamps[4] = {now, now, now, now};
    return processor_write(e, va, stamps, sizeof(stamps)) ? SOFTGPU_RUN_DONE : SOFTGPU_RUN_FAULT;
}

static enum softgpu_run store_data(struct softgpu_engine *e, struct dg2_state *s)
{
    bool qword = (s->dw[0] >> 21 & 1) != 0;
    if (s->length < (qword ? 5u : 4u)) return malformed(e, s, DG2_ERROR_LENGTH);
    uint64_t va = dg2_address(s->dw + 1) & ~3ull;
    bool ok = processor_store(e, va, 4, s->dw[3]);
    if (ok && qword) ok = processor_store(e, va + 4, 4, s->dw[4]);
    return ok ? SOFTGPU_RUN_DONE : SOFTGPU_RUN_FAULT;
}

static bool compare(uint32_t op, uint32_t memory, uint32_t data)
{
    switch (op) {
    case 0: return memory > data;
    case 1: return memory >= data;
    case 2: return memory < data;
    case 3: return memory <= data;
    case 4: return memory == data;
    case 5: return memory != data;
    default: return false;
    }
}

static enum softgpu_run semaphore_wait(struct softgpu_engine *e, struct dg2_state *s)
{
    uint64_t memory;
    if (s->length < 4) return malformed(e, s, DG2_ERROR_LENGTH);
    if (!processor_load(e, dg2_address(s->dw + 2) & ~3ull, 4, &memory)) return SOFTGPU_RUN_FAULT;
    s->waiting = !compare(s->dw[0] >> 12 & 7, (uint32_t)memory, s->dw[1]);
    return s->waiting ? SOFTGPU_RUN_WAIT : SOFTGPU_RUN_DONE;
}

/* Continues elsewhere; with bit 22 until BATCH_BUFFER_END there. Sets ip itself. */
static enum softgpu_run batch_start(struct softgpu_engine *e, struct dg2_state *s)
{
    bool second = (s->dw[0] >> 22 & 1) != 0;
    if (s->length < 3) return malformed(e, s, DG2_ERROR_LENGTH);
    if (second && s->second_level) return malformed(e, s, DG2_ERROR_NESTING);
    if (second) {
        s->return_ip = s->ip + s->length * 4ull;
        s->return_limit = s->limit;
        s->second_level = true;
    }
    s->ip = dg2_address(s->dw + 1) & ~3ull;
    s->limit = UINT64_MAX;
    return SOFTGPU_RUN_MORE;
}

/* ---- the end ----------------------------------------------------------------------------------- */

static enum softgpu_run packet_end(struct softgpu_engine *e)
{
    const uint64_t *arg = processor_packet(e)->arg;
    if (arg[DG2_ARG_FENCE_VA] == 0) return SOFTGPU_RUN_DONE;
    if (!processor_store(e, arg[DG2_ARG_FENCE_VA], 8, arg[DG2_ARG_FENCE_VALUE])) return SOFTGPU_RUN_FAULT;
    processor_signal_interrupt(e);
    return SOFTGPU_RUN_DONE;
}

static enum softgpu_run batch_end(struct softgpu_engine *e, struct dg2_state *s)
{
    if (!s->second_level) return packet_end(e);
    s->second_level = false;
    s->ip = s->return_ip;
    s->limit = s->return_limit;
    return SOFTGPU_RUN_MORE;
}

/* ---- decode ------------------------------------------------------------------------------------ */

static enum softgpu_run execute_mi(struct softgpu_engine *e, struct dg2_state *s)
{
    uint32_t op = mi_opcode(s->dw[0]);
    switch (op) {
    case MI_SEMAPHORE_WAIT: return semaphore_wait(e, s);
    case MI_STORE_DATA_IMM: return store_data(e, s);
    case MI_FLUSH_DW: return flush_dw(e, s);
    case MI_LOAD_REGISTER_IMM:
    case MI_LOAD_REGISTER_MEM:
    case MI_LOAD_REGISTER_REG: return SOFTGPU_RUN_DONE;
    default: return op < 0x10 ? SOFTGPU_RUN_DONE : malformed(e, s, DG2_ERROR_OPCODE);
    }
}

static enum softgpu_run execute_2d(struct softgpu_engine *e, struct dg2_state *s)
{
    uint32_t op = s->dw[0] >> 22 & 0x7f;
    bool ok;
    if (op == XY_BLOCK_COPY) ok = dg2_blit_copy_begin(e, s);
    else if (op == XY_FAST_COLOR) ok = dg2_blit_fill_begin(e, s);
    else return malformed(e, s, DG2_ERROR_OPCODE);
    if (!ok) return SOFTGPU_RUN_FAULT;
    s->blitting = true;
    return SOFTGPU_RUN_MORE;
}

static enum softgpu_run execute_render(struct softgpu_engine *e, struct dg2_state *s)
{
    uint32_t op = s->dw[0] >> 16;
    if (op == PIPE_CONTROL) return pipe_control(e, s);
    if (op == COMPUTE_WALKER) return compute_walker(e, s);
    if (op == PIPELINE_SELECT || render_skipped(op)) return SOFTGPU_RUN_DONE;
    return malformed(e, s, DG2_ERROR_OPCODE);
}

static enum softgpu_run execute(struct softgpu_engine *e, struct dg2_state *s)
{
    switch (command_client(s->dw[0])) {
    case CLIENT_MI: return execute_mi(e, s);
    case CLIENT_2D: return execute_2d(e, s);
    case CLIENT_RENDER: return execute_render(e, s);
    default: return malformed(e, s, DG2_ERROR_OPCODE);
    }
}

static enum softgpu_run fetch(struct softgpu_engine *e, struct dg2_state *s)
{
    if (s->limit - s->ip < 4) return malformed(e, s, DG2_ERROR_PACKET);
    if (!processor_fetch(e, s->ip, s->dw, 4)) return SOFTGPU_RUN_FAULT;
    s->length = command_length(s->dw[0]);
    bool bounded = s->limit != UINT64_MAX;
    if (bounded && s->length > (s->limit - s->ip) / 4) return malformed(e, s, DG2_ERROR_LENGTH);
    uint32_t more = (s->length < DG2_COMMAND_DWORDS ? s->length : DG2_COMMAND_DWORDS) - 1;
    if (more != 0 && !processor_fetch(e, s->ip + 4, s->dw + 1, more * 4)) return SOFTGPU_RUN_FAULT;
    return SOFTGPU_RUN_DONE;
}

static void begin(struct softgpu_engine *e)
{
    struct dg2_state *s = processor_state(e);
    const struct softgpu_packet *p = processor_packet(e);
    s->ip = p->va & DG2_ADDRESS_MASK;
    s->limit = s->ip + p->bytes;
}

static enum softgpu_run resume(struct softgpu_engine *e, struct dg2_state *s)
{
    enum softgpu_run r = s->waiting ? semaphore_wait(e, s) : dg2_blit_step(e, s);
    if (r == SOFTGPU_RUN_DONE) s->blitting = false;
    return r;
}

static enum softgpu_run step(struct softgpu_engine *e)
{
    struct dg2_state *s = processor_state(e);
    enum softgpu_run r;
    if (s->waiting || s->blitting) {
        r = resume(e, s);
    } else {
        if (s->ip == s->limit) return batch_end(e, s);
        if (s->executed++ >= PATIENCE && s->executed % 16 == 0) return SOFTGPU_RUN_WAIT;
        r = fetch(e, s);
        if (r != SOFTGPU_RUN_DONE) return r;
        bool mi = command_client(s->dw[0]) == CLIENT_MI;
        if (mi && mi_opcode(s->dw[0]) == MI_BATCH_BUFFER_END) return batch_end(e, s);
        if (mi && mi_opcode(s->dw[0]) == MI_BATCH_BUFFER_START) return batch_start(e, s);
        r = execute(e, s);
    }
    if (r != SOFTGPU_RUN_DONE) return r;
    s->ip += s->length * 4ull;
    return SOFTGPU_RUN_MORE;
}

const struct softgpu_processor dg2_processor = {begin, step};
