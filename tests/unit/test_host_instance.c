/* SPDX-License-Identifier: MIT */
/* test_host_instance.c — the real core and the ref driver, engines on threads, under the host's monitor.
 * Buffers go in and out of a VRAM that holds half of them, clients wait in the two ways clients do. */
#define _GNU_SOURCE
#include "host/instance.h"

#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"

#include "vt.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#define BUFFERS 16u
#define BUFFER_BYTES (1u << 20)
#define VRAM_BYTES (BUFFERS / 2 * BUFFER_BYTES)

struct world {
    struct ref_kmd *kmd;
    struct host_instance *host;
    struct vidmm_adapter *adapter;
    const struct vidmm_env *env;
};

static struct world world_create(void)
{
    struct world w;
    struct ref_options options;
    const char *why = NULL;
    ref_options_default(&options, REF_FORMAT_A);
    options.segment[0].bytes = VRAM_BYTES;
    options.threads = true;
    assert_int_equal(ref_create(&options, &w.kmd), VIDMM_OK);
    vidmm_status status = host_instance_create(ref_ops(), w.kmd, NULL, &why, &w.host);
    if (status != VIDMM_OK) print_message("refused: %s\n", why != NULL ? why : "?");
    assert_int_equal(status, VIDMM_OK);
    w.adapter = host_instance_adapter(w.host);
    w.env = host_instance_env(w.host);
    return w;
}

static void world_destroy(struct world *w)
{
    assert_true(host_instance_destroy(w->host));
    ref_destroy(w->kmd);
}

static void enter(struct world *w) { assert_true(w->env->enter(w->env->ctx)); }
static void leave(struct world *w) { w->env->leave(w->env->ctx); }

struct client {
    struct world *w;
    bool spin;              /* on the fence, instead of a blocking wait */
    unsigned id, rounds;
    struct vidmm_process *process;
    struct vidmm_device *device;
    struct vidmm_queue *queue;
    struct vidmm_open *buffer[BUFFERS];
};

static void client_create(struct client *c)
{
    const struct ref_alloc_private private = {
        .magic = REF_ALLOC_MAGIC, .bytes = BUFFER_BYTES, .supported = 1u << 0 | 1u << 2, .preferred = 1,
    };
    const struct vidmm_alloc_desc desc = { .private_data = &private, .private_size = sizeof(private) };
    enter(c->w);
    assert_int_equal(vidmm_process_create(c->w->adapter, &c->process), VIDMM_OK);
    assert_int_equal(vidmm_device_create(c->process, &c->device), VIDMM_OK);
    assert_int_equal(vidmm_queue_create(c->device, 0, &c->queue), VIDMM_OK);
    for (unsigned i = 0; i < BUFFERS; i++)
        assert_int_equal(vidmm_alloc_create(c->device, &desc, &c->buffer[i]), VIDMM_OK);
    leave(c->w);
}

static void client_destroy(struct client *c)
{
    enter(c->w);
    vidmm_process_destroy(c->process);
    leave(c->w);
}

struct fence_wish { struct vidmm_fence *fence; uint64_t value; };

static bool fence_reached(void *arg)
{
    const struct fence_wish *f = arg;
    return vidmm_fence_value(f->fence) >= f->value;
}

/* Owner. Leaves and enters when it spins. */
static void await(struct client *c, uint64_t value)
{
    struct fence_wish wish = { vidmm_queue_fence(c->queue), value };
    if (!c->spin) {
        assert_true(c->w->env->wait(c->w->env->ctx, fence_reached, &wish));
        return;
    }
    const uint64_t *shown = vidmm_fence_cpu_address(wish.fence);
    leave(c->w);
    while (__atomic_load_n(shown, __ATOMIC_ACQUIRE) < value) { } /* as drivers do */
    enter(c->w);
}

static bool lock_ready(void *arg) { return vidmm_open_lock_ready(arg); }

/* Owner. Gives: the bytes, up to date. */
static uint32_t *lock_buffer(struct client *c, unsigned i)
{
    void *cpu = NULL;
    vidmm_status status = vidmm_open_lock(c->buffer[i], &cpu);
    assert_true(status == VIDMM_OK || status == VIDMM_PENDING);
    if (status == VIDMM_PENDING) assert_true(c->w->env->wait(c->w->env->ctx, lock_ready, c->buffer[i]));
    return cpu;
}

static uint32_t stamp(const struct client *c, unsigned buffer, unsigned round, uint32_t word)
{
    return (c->id << 28 | buffer << 20 | round << 12) ^ (word * 2654435761u);
}

static void write_buffer(struct client *c, unsigned i, unsigned round)
{
    enter(c->w);
    uint32_t *p = lock_buffer(c, i);
    leave(c->w);
    for (uint32_t k = 0; k < BUFFER_BYTES / 4; k += 97) p[k] = stamp(c, i, round, k);
    enter(c->w);
    assert_int_equal(vidmm_open_unlock(c->buffer[i]), VIDMM_OK);
    leave(c->w);
}

static void check_buffer(struct client *c, unsigned i, unsigned round)
{
    enter(c->w);
    uint32_t *p = lock_buffer(c, i);
    leave(c->w);
    for (uint32_t k = 0; k < BUFFER_BYTES / 4; k += 97) assert_int_equal(p[k], stamp(c, i, round, k));
    enter(c->w);
    assert_int_equal(vidmm_open_unlock(c->buffer[i]), VIDMM_OK);
    leave(c->w);
}

static void client_round(struct client *c, unsigned round)
{
    uint64_t value, trim;
    for (unsigned i = 0; i < BUFFERS; i++) write_buffer(c, i, round);
    enter(c->w);
    vidmm_status status = vidmm_make_resident(c->queue, c->buffer, BUFFERS,
                                              VIDMM_RESIDENT_CANT_TRIM_FURTHER, &value, &trim);
    assert_true(status == VIDMM_OK || status == VIDMM_PENDING);
    if (value != 0) await(c, value);
    assert_int_equal(vidmm_evict(c->device, c->buffer, BUFFERS, 0, &trim), VIDMM_OK);
    leave(c->w);
    for (unsigned i = 0; i < BUFFERS; i++) check_buffer(c, i, round);
}

static void *client_main(void *arg)
{
    struct client *c = arg;
    client_create(c);
    for (unsigned round = 0; round < c->rounds; round++) client_round(c, round);
    client_destroy(c);
    return NULL;
}

/* Paging has to go on while the only client spins on the fence and makes no call. */
static void bytes_survive_paging_while_a_client_spins(void **state)
{
    (void)state;
    struct world w = world_create();
    struct client c = { .w = &w, .spin = true, .id = 1, .rounds = (unsigned)vt_rounds(4) };
    client_main(&c);
    struct vidmm_counters *counters = vidmm_adapter_counters(w.adapter);
    assert_true(counters->page_in_bytes != 0);
    world_destroy(&w);
}

static void the_same_on_one_cpu(void **state)
{
    (void)state;
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0); /* the engines inherit it */
    bytes_survive_paging_while_a_client_spins(state);
    sched_setaffinity(0, sizeof(all), &all);
}

/* Two processes fight for a VRAM that holds a quarter of what they use. */
static void two_clients_at_once(void **state)
{
    (void)state;
    struct world w = world_create();
    struct client c[2];
    pthread_t thread;
    for (unsigned i = 0; i < 2; i++)
        c[i] = (struct client){ .w = &w, .spin = i == 1, .id = i + 2, .rounds = (unsigned)vt_rounds(4) };
    assert_int_equal(pthread_create(&thread, NULL, client_main, &c[1]), 0);
    client_main(&c[0]);
    pthread_join(thread, NULL);
    world_destroy(&w);
}

static const struct vt_case cases[] = {
    VT_TEST(bytes_survive_paging_while_a_client_spins, "", NULL),
    VT_TEST(the_same_on_one_cpu, "", NULL),
    VT_TEST(two_clients_at_once, "", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "host_instance", cases, VT_COUNT(cases)); }
