/* SPDX-License-Identifier: MIT */
/* test_noise.c - noise on the face over a fake core, with memory and core calls failing now and then.  If it
 * fails, some client can crash its process, leak, or reach what is not its own.  The fake core aborts on any
 * use of a dead or foreign object. */
#include "vt.h"

#include <stdio.h>
#include <string.h>

#include "fake_core.h"
#include "noise.h"

_Static_assert(NOISE_BYTES == CLIENT_BYTES, "the same client memory");

static bool one_in(uint32_t n) { return noise_random() % n == 0; }

/* What other threads of the client do while one waits. */
static void while_waiting(void)
{
    uint64_t steps = fake.wait_steps;
    if (one_in(3)) noise_call();
    fake.wait_steps = steps;
}

static void play(uint32_t steps)
{
    for (uint32_t step = 0; step < steps; step++) {
        fake.fail_alloc_at = one_in(8) ? fake.allocs + 1 + noise_random() % 5 : 0;
        fake.fail_core_at = one_in(8) ? fake.core_calls + 1 + noise_random() % 4 : 0;
        fake.fail_status = one_in(2) ? VIDMM_NO_MEMORY : VIDMM_DEVICE_LOST;
        fake.pending = one_in(2);
        fake.removed = one_in(500);
        fake.on_wait = one_in(2) ? while_waiting : NULL;
        if (one_in(4)) noise_pure();
        else noise_call();
        if (one_in(16)) fake_poll();
        if (fake.owned) fail_msg("step %u: the call ended without leaving", step);
    }
}

static uint64_t existing_bytes(const void *data, uint32_t bytes)
{
    return bytes != 0 ? ((const uint8_t *)data)[0] * 4096ull : 0;
}

static void noise(void **state)
{
    (void)state;
    printf("first seed %llu\n", (unsigned long long)vt_seed());
    for (uint64_t seed = vt_seed(), last = seed + vt_rounds(300); seed < last; seed++) {
        fake_reset();
        const struct kmt_config config = {.env = &fake_env, .adapter = fake_adapter(), .luid = {7, 9},
                                          .driver_store = "/store", .existing_bytes = existing_bytes};
        struct kmt_face *face = kmt_face_create(&config);
        noise_world.process = kmt_process_create(face);
        noise_world.read_only_args = noise_world.may_block = true;
        noise_world.existing = 0x10000;
        assert_non_null(noise_world.process);
        noise_begin();
        noise_thread(client, seed);
        play(4000);
        fake.fail_alloc_at = fake.fail_core_at = 0;
        fake.removed = false;
        fake.on_wait = NULL;
        kmt_process_destroy(noise_world.process);
        fake_poll();
        kmt_face_destroy(face);
        if (fake.objects != 0 || fake.env_bytes != 0 || fake.watches != NULL)
            fail_msg("seed %llu leaks", (unsigned long long)seed);
    }
    uint32_t silent = noise_silent();
    if (vt_rounds(100) >= 100) assert_int_equal(silent, 0); /* the noise must reach everything */
}

static const struct vt_case cases[] = {
    VT_TEST(noise, "", NULL),
};

int main(int argc, char **argv)
{
    return vt_main(argc, argv, "face_noise", cases, VT_COUNT(cases));
}
