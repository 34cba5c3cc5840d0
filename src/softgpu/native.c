/* SPDX-License-Identifier: MIT */
/* native.c - executes ref commands (ref_commands.h): one command, or one piece of a long one, per step.
 * Calls processor.h only. The bytes come from clients: nothing in them is trusted. */
#include "softgpu/native.h"

#include "softgpu/processor.h"
#include "softgpu/ref_commands.h"

struct state {
    uint64_t at, end;            /* next command, end of the packet */
    uint64_t word[REF_WORDS_MAX];
    uint64_t until_ns, spins;
    uint64_t written;            /* entries of a WRITE_ENTRIES or COPY_ENTRIES */
    uint64_t node, nodes, sum;   /* of a list that is walked: the next one, how many were, their values */
    bool active;                 /* `word` holds a command that is not finished */
};

_Static_assert(sizeof(struct state) <= PROCESSOR_STATE_BYTES, "state fits");

/* Words a command must have; 0: any. */
static bool op_words(uint32_t op, uint32_t *words)
{
    static const uint8_t table[] = {[REF_NOP] = 0, [REF_END] = 1, [REF_COPY] = 4, [REF_FILL] = 3,
                                    [REF_CHECKSUM] = 4, [REF_ATOMIC_ADD64] = 3, [REF_WRITE64] = 3,
                                    [REF_FENCE_WRITE] = 3, [REF_FENCE_WAIT] = 3, [REF_SPIN] = 1,
                                    [REF_DELAY] = 2, [REF_FLUSH_TLB] = 4, [REF_HANG] = 1,
                                    [REF_WALK_LIST] = 4, [REF_MAP_APERTURE] = 4,
                                    [REF_WRITE_ENTRIES] = 5, [REF_COPY_ENTRIES] = 4};
    bool gap = op > REF_WALK_LIST && op < REF_MAP_APERTURE;
    if (op >= sizeof(table) || gap) return false;
    *words = table[op];
    return true;
}

static void begin(struct softgpu_engine *e)
{
    struct state *s = processor_state(e);
    const struct softgpu_packet *p = processor_packet(e);
    s->at = p->va;
    s->end = p->va + p->bytes;
}

static enum softgpu_run malformed(struct softgpu_engine *e, const struct state *s, uint32_t code)
{
    processor_error(e, s->at, code);
    return SOFTGPU_RUN_FAULT;
}

static enum softgpu_run result(bool ok) { return ok ? SOFTGPU_RUN_DONE : SOFTGPU_RUN_FAULT; }

/* First step of a command; DONE: it is finished already. */
static enum softgpu_run start(struct softgpu_engine *e, struct state *s)
{
    const uint64_t *w = s->word;
    uint64_t before;
    switch ((enum ref_op)(w[0] & 0xffff)) {
    case REF_COPY: processor_copy_begin(e, w[1], w[2], w[3]); return SOFTGPU_RUN_MORE;
    case REF_FILL: processor_fill_begin(e, w[1], w[2], (uint32_t)(w[0] >> 32)); return SOFTGPU_RUN_MORE;
    case REF_CHECKSUM: processor_sum_begin(e, w[1], w[2]); return SOFTGPU_RUN_MORE;
    case REF_ATOMIC_ADD64: return result(processor_add64(e, w[1], w[2], &before));
    case REF_WRITE64: return result(processor_store(e, w[1], 8, w[2]));
    case REF_FENCE_WRITE:
        if (!processor_store(e, w[1], w[0] >> 32 != 0 ? 4 : 8, w[2])) return SOFTGPU_RUN_FAULT;
        processor_signal_interrupt(e);
        return SOFTGPU_RUN_DONE;
    case REF_FENCE_WAIT: return SOFTGPU_RUN_MORE;
    case REF_SPIN: s->spins = w[0] >> 32; return SOFTGPU_RUN_MORE;
    case REF_HANG: processor_hang(e); return SOFTGPU_RUN_WAIT;
    case REF_DELAY: s->until_ns = processor_now_ns(e) + w[1]; return SOFTGPU_RUN_MORE;
    case REF_WALK_LIST:
        s->node = w[1];
        s->nodes = s->sum = 0;
        return SOFTGPU_RUN_MORE;
    case REF_FLUSH_TLB:
        if (!processor_packet(e)->context->privileged) return malformed(e, s, REF_ERROR_PRIVILEGE);
        if (!processor_flush_begin(e, (uint32_t)w[1], w[2], w[3])) return malformed(e, s, REF_ERROR_SPACE);
        return SOFTGPU_RUN_MORE;
    case REF_MAP_APERTURE:
        if (!processor_packet(e)->context->privileged) return malformed(e, s, REF_ERROR_PRIVILEGE);
        if (!processor_map_aperture(e, w[1], w[2], w[3], w[0] >> 32 != 0))
            return malformed(e, s, REF_ERROR_APERTURE);
        return SOFTGPU_RUN_DONE;
    case REF_WRITE_ENTRIES:
    case REF_COPY_ENTRIES:
        if (!processor_packet(e)->context->privileged) return malformed(e, s, REF_ERROR_PRIVILEGE);
        s->written = 0;
        return SOFTGPU_RUN_MORE;
    default: return SOFTGPU_RUN_DONE; /* NOP; END is handled by the caller */
    }
}

static enum softgpu_run wait_fence(struct softgpu_engine *e, const uint64_t *w)
{
    uint64_t value;
    bool narrow = w[0] >> 32 != 0;
    if (!processor_load(e, w[1], narrow ? 4 : 8, &value)) return SOFTGPU_RUN_FAULT;
    bool there = narrow ? (uint32_t)value - (uint32_t)w[2] <= UINT32_MAX / 2 : value >= w[2];
    return there ? SOFTGPU_RUN_DONE : SOFTGPU_RUN_WAIT;
}

static enum softgpu_run delay(struct softgpu_engine *e, const struct state *s)
{
    if (processor_now_ns(e) >= s->until_ns) return SOFTGPU_RUN_DONE;
    processor_sleep_until(e, s->until_ns);
    return SOFTGPU_RUN_WAIT;
}

#define ENTRIES_A_STEP 64u

static enum softgpu_run write_entries(struct softgpu_engine *e, struct state *s)
{
    const uint64_t *w = s->word;
    uint32_t how = (uint32_t)(w[0] >> 32), bytes = how & 0xff;
    struct processor_place place = {.physical = (how & REF_ENTRIES_PHYSICAL) != 0,
                                    .segment = how >> REF_ENTRIES_SEGMENT_SHIFT & 0xff};
    for (uint32_t i = 0; i < ENTRIES_A_STEP && s->written < w[4]; i++, s->written++) {
        place.address = w[1] + s->written * bytes;
        bool page = s->written == 0 || (place.address & 4095) == 0;
        place.claim = page && (how & REF_ENTRIES_NEW) != 0;
        if (!processor_store_entry(e, &place, bytes, w[2] + s->written * w[3])) return SOFTGPU_RUN_FAULT;
    }
    return s->written == w[4] ? SOFTGPU_RUN_DONE : SOFTGPU_RUN_MORE;
}

static enum softgpu_run copy_entries(struct softgpu_engine *e, struct state *s)
{
    const uint64_t *w = s->word;
    uint32_t bytes = (uint32_t)(w[0] >> 32);
    for (uint32_t i = 0; i < ENTRIES_A_STEP && s->written < w[3]; i++, s->written++) {
        struct processor_place to = {.address = w[1] + s->written * bytes};
        uint64_t entry;
        bool sane = bytes == 4 || bytes == 8;
        if (sane && !processor_load(e, w[2] + s->written * bytes, bytes, &entry)) return SOFTGPU_RUN_FAULT;
        if (!processor_store_entry(e, &to, bytes, sane ? entry : 0)) return SOFTGPU_RUN_FAULT;
    }
    return s->written == w[3] ? SOFTGPU_RUN_DONE : SOFTGPU_RUN_MORE;
}

static enum softgpu_run checksum(struct softgpu_engine *e, const uint64_t *w)
{
    enum softgpu_run r = processor_bulk_step(e);
    if (r != SOFTGPU_RUN_DONE) return r;
    return result(processor_store(e, w[3], 8, processor_sum(e)));
}

/* One node a step; what a node changes is stored last, so that the step can be repeated. */
static enum softgpu_run walk_list(struct softgpu_engine *e, struct state *s)
{
    const uint64_t *w = s->word, totals[2] = {s->nodes, s->sum};
    struct ref_list_node n;
    if (s->node == 0) return result(processor_write(e, w[3], totals, sizeof(totals)));
    if (s->nodes == w[0] >> 32) return malformed(e, s, REF_ERROR_LIST);
    if (!processor_read(e, s->node, &n, sizeof(n))) return SOFTGPU_RUN_FAULT;
    if (!processor_store(e, s->node + 8, 8, n.value + w[2])) return SOFTGPU_RUN_FAULT;
    s->node = n.next;
    s->nodes++;
    s->sum += n.value;
    return SOFTGPU_RUN_MORE;
}

static enum softgpu_run resume(struct softgpu_engine *e, struct state *s)
{
    switch ((enum ref_op)(s->word[0] & 0xffff)) {
    case REF_COPY:
    case REF_FILL: return processor_bulk_step(e);
    case REF_CHECKSUM: return checksum(e, s->word);
    case REF_FENCE_WAIT: return wait_fence(e, s->word);
    case REF_SPIN: return s->spins == 0 || --s->spins == 0 ? SOFTGPU_RUN_DONE : SOFTGPU_RUN_MORE;
    case REF_DELAY: return delay(e, s);
    case REF_WALK_LIST: return walk_list(e, s);
    case REF_FLUSH_TLB: return processor_flush_step(e);
    case REF_WRITE_ENTRIES: return write_entries(e, s);
    case REF_COPY_ENTRIES: return copy_entries(e, s);
    default: return SOFTGPU_RUN_DONE;
    }
}

/* Fetches and checks the command at s->at. */
static enum softgpu_run fetch(struct softgpu_engine *e, struct state *s)
{
    uint32_t need = 0;
    if ((s->at & 7) != 0 || s->end - s->at < 8) return malformed(e, s, REF_ERROR_PACKET);
    if (!processor_fetch(e, s->at, s->word, 8)) return SOFTGPU_RUN_FAULT;
    uint32_t op = (uint32_t)s->word[0] & 0xffff, words = (uint32_t)(s->word[0] >> 16) & 0xffff;
    if (!op_words(op, &need)) return malformed(e, s, REF_ERROR_OPCODE);
    bool fits = words != 0 && (need == 0 || words == need) && words <= (s->end - s->at) / 8;
    if (!fits) return malformed(e, s, REF_ERROR_LENGTH);
    if (need > 1 && !processor_fetch(e, s->at + 8, s->word + 1, (need - 1) * 8)) return SOFTGPU_RUN_FAULT;
    return SOFTGPU_RUN_DONE;
}

static enum softgpu_run step(struct softgpu_engine *e)
{
    struct state *s = processor_state(e);
    enum softgpu_run r;
    if (s->active) {
        r = resume(e, s);
    } else {
        if (s->at == s->end) return SOFTGPU_RUN_DONE;
        r = fetch(e, s);
        if (r != SOFTGPU_RUN_DONE) return r;
        if ((s->word[0] & 0xffff) == REF_END) return SOFTGPU_RUN_DONE;
        r = start(e, s);
        s->active = r != SOFTGPU_RUN_FAULT; /* which may be no fault: then it starts once more */
    }
    if (r != SOFTGPU_RUN_DONE) return r;
    s->active = false;
    s->at += (s->word[0] >> 16 & 0xffff) * 8;
    return SOFTGPU_RUN_MORE;
}

const struct softgpu_processor ref_processor = {begin, step};
