/* SPDX-License-Identifier: MIT */
/* tdr_kit.h - what the suites of timeouts and of resets share: packets that go wrong, and time that passes.
 * Calls: core_fixture. */
#ifndef TESTS_UNIT_TDR_KIT_H
#define TESTS_UNIT_TDR_KIT_H

#include "core_fixture.h"

#define MS 1000000ull
#define SPOT (128 * KIB) /* of the command buffer: where packets write */

static inline void hang(struct fx *f, struct vidmm_context *c)
{
    (void)ref_emit_hang(fx_words(f, 1));
    fx_submit(f, c);
}

static inline void bad_packet(struct fx *f, struct vidmm_context *c)
{
    (void)ref_emit_write64(fx_words(f, 3), 0x7000000000ull, 1);
    fx_submit(f, c);
}

/* Time passes; what was due meanwhile is done when it is due, no later. */
static inline void pass(struct fx *f, uint64_t ns)
{
    uint64_t end = f->now + ns;
    fx_run(f);
    for (uint64_t next = vidmm_run(f->ad, f->now); next <= end; next = vidmm_run(f->ad, f->now)) {
        assert_true(next > f->now);
        f->now = next;
        fx_run(f);
    }
    f->now = end;
    fx_run(f);
}

static inline void knob_fail_reset(struct fx *f, bool fails)
{
    struct softgpu_knobs k = {.fail_reset = fails};
    softgpu_set_knobs(ref_gpu(f->ref), &k);
}

static inline uint64_t word_at_spot(const struct fx *f) { return f->cmd_cpu[SPOT / 8]; }

static inline uint32_t first_index(const struct fx *f, enum event_kind kind)
{
    uint32_t at = 0;
    const struct event *e = fx_next(f, kind, &at);
    assert_non_null(e);
    return fx_index(f, e);
}

#endif
