/* SPDX-License-Identifier: MIT */
/* test_live.c - noise on the real thing: face, core, host threads, a driver and its simulated GPU.  If it
 * fails, some order of calls from several threads crashes the client, damages the manager's state, or leaves
 * work that never ends. */
#define _GNU_SOURCE
#include "vt.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vidmm/dg2_abi.h>

#include "host/instance.h"
#include "noise.h"
#include "softgpu/dg2/dg2.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"

enum { THREADS = 4 };

static struct host_instance *host;
static struct kmt_face *face;

static uint64_t one_page(const void *data, uint32_t bytes)
{
    (void)data;
    (void)bytes;
    return 4096;
}

/* ---- client memory ------------------------------------------------------------------------------ */

/* A damaged pointer may by chance name the test's own heap, and a client that asks for answers there destroys
 * itself.  So only the threads' memory and addresses that nobody can own are let through to the guard. */
static const struct vidmm_env *real_env;
static struct vidmm_env env;
static uint8_t *arena; /* of all threads, one after the other */

static bool harmless(const void *client, size_t bytes)
{
    uintptr_t at = (uintptr_t)client, base = (uintptr_t)arena;
    if (at < 65536 || at >> 47 != 0) return true;
    return at >= base && at < base + THREADS * NOISE_BYTES && bytes <= base + THREADS * NOISE_BYTES - at;
}

static bool copy_in(void *ctx, void *dst, const void *client, size_t bytes)
{
    return harmless(client, bytes) && real_env->copy_in(ctx, dst, client, bytes);
}

static bool copy_out(void *ctx, void *client, const void *src, size_t bytes)
{
    return harmless(client, bytes) && real_env->copy_out(ctx, client, src, bytes);
}

static void make_client_memory(void)
{
    arena = mmap(NULL, THREADS * NOISE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(arena != MAP_FAILED);
    for (uint32_t i = 0; i < THREADS; i++) {
        uint8_t *last = arena + i * NOISE_BYTES + NOISE_READ_ONLY;
        assert_int_equal(mprotect(last, NOISE_BYTES - NOISE_READ_ONLY, PROT_READ), 0);
    }
}

/* ---- one instance ------------------------------------------------------------------------------- */

static void start(const struct vidmm_kmd_ops *ops, void *kmd)
{
    const char *why = "";
    if (host_instance_create(ops, kmd, NULL, &why, &host) != VIDMM_OK) fail_msg("%s", why);
    real_env = host_instance_env(host);
    env = *real_env;
    env.copy_in = copy_in;
    env.copy_out = copy_out;
    const struct kmt_config config = {
        .env = &env, .adapter = host_instance_adapter(host), .luid = {7, 9},
        .driver_store = "/store", .existing_bytes = one_page,
    };
    face = kmt_face_create(&config);
    noise_world.process = kmt_process_create(face);
    assert_non_null(noise_world.process);
    noise_begin();
}

static void verify(void)
{
    const char *what = "";
    assert_true(env.enter(env.ctx));
    int broken = vidmm_verify(host_instance_adapter(host), &what);
    env.leave(env.ctx);
    if (broken != 0) fail_msg("invariant %d: %s", broken, what);
}

static void stop(void)
{
    verify();
    kmt_process_destroy(noise_world.process);
    kmt_face_destroy(face);
    if (!host_instance_destroy(host)) fail_msg("the adapter does not become idle");
}

struct player { pthread_t thread; uint8_t *memory; uint64_t seed, calls; };

static void *play(void *arg)
{
    const struct player *p = arg;
    noise_thread(p->memory, p->seed);
    for (uint64_t i = 0; i < p->calls; i++) {
        if (noise_random() % 4 == 0) noise_pure();
        else noise_call();
    }
    return NULL;
}

static void play_together(uint32_t threads, uint64_t seed, uint64_t calls)
{
    struct player player[THREADS];
    for (uint32_t i = 0; i < threads; i++) {
        player[i] = (struct player){.memory = arena + i * NOISE_BYTES, .seed = seed + i, .calls = calls};
        assert_int_equal(pthread_create(&player[i].thread, NULL, play, &player[i]), 0);
    }
    for (uint32_t i = 0; i < threads; i++) pthread_join(player[i].thread, NULL);
}

static void all_seeds(uint32_t threads, uint64_t rounds, uint64_t calls,
                      void (*make)(const struct vidmm_kmd_ops **, void **), void (*drop)(void *))
{
    printf("first seed %llu\n", (unsigned long long)vt_seed());
    if (arena == NULL) make_client_memory();
    for (uint64_t seed = vt_seed(), last = seed + vt_rounds(rounds); seed < last; seed++) {
        const struct vidmm_kmd_ops *ops;
        void *kmd;
        make(&ops, &kmd);
        start(ops, kmd);
        play_together(threads, seed * 100, calls);
        stop();
        drop(kmd);
    }
}

/* ---- drivers ------------------------------------------------------------------------------------ */

static uint8_t *sysmem_page;

static void make_ref(const struct vidmm_kmd_ops **ops, void **kmd)
{
    static struct ref_alloc_private data = {.magic = REF_ALLOC_MAGIC, .bytes = 200000, .supported = 0x5,
                                            .preferred = 1};
    struct ref_options o;
    struct ref_kmd *made;
    ref_options_default(&o, REF_FORMAT_A);
    o.segment[0].bytes = 1 << 20; /* five allocations: paging all the time */
    o.threads = true;
    assert_int_equal(ref_create(&o, &made), VIDMM_OK);
    *ops = ref_ops();
    *kmd = made;
    noise_world.private_data = &data;
    noise_world.private_size = sizeof data;
    noise_world.existing = (uintptr_t)sysmem_page;
}

static void drop_ref(void *kmd) { ref_destroy(kmd); }

static void make_dg2(const struct vidmm_kmd_ops **ops, void **kmd)
{
    static struct vidmm_dg2_resource_info data = {
        .head = {VIDMM_DG2_RESOURCE, VIDMM_DG2_VERSION, sizeof data, 0}, .bytes = 0x30000,
        .alignment = 0x10000, .flags = VIDMM_DG2_LOCAL_ONLY, .type = 6};
    struct dg2_options o;
    struct dg2_kmd *made;
    dg2_options_default(&o);
    o.vram_bytes = 1 << 20;
    o.threads = true;
    vidmm_status st = dg2_create(&o, &made);
    if (st != VIDMM_OK) {
        o.vram_bytes = 0;
        st = dg2_create(&o, &made);
    }
    assert_int_equal(st, VIDMM_OK);
    *ops = dg2_ops();
    *kmd = made;
    noise_world.private_data = &data;
    noise_world.private_size = sizeof data;
    noise_world.existing = (uintptr_t)sysmem_page;
}

static void drop_dg2(void *kmd) { dg2_destroy(kmd); }

/* ---- cases -------------------------------------------------------------------------------------- */

static void one_client_thread(void **state)
{
    (void)state;
    all_seeds(1, 40, 4000, make_ref, drop_ref);
    uint32_t silent = noise_silent();
    printf("%u services never succeeded\n", silent);
}

static void four_client_threads(void **state)
{
    (void)state;
    all_seeds(THREADS, 20, 2000, make_ref, drop_ref);
}

static void on_dg2(void **state)
{
    (void)state;
    all_seeds(THREADS, 20, 2000, make_dg2, drop_dg2);
}

static const struct vt_case cases[] = {
    VT_TEST(one_client_thread, "", NULL),
    VT_TEST(four_client_threads, "", NULL),
    VT_TEST(on_dg2, "", NULL),
};

int main(int argc, char **argv)
{
    sysmem_page = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sysmem_page == MAP_FAILED) return 1;
    return vt_main(argc, argv, "face_live", cases, VT_COUNT(cases));
}
