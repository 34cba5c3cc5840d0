/* SPDX-License-Identifier: MIT */
/* bench_services.c - what a client pays for each service, through the public call, with the ref driver.
 * Owns: two adapters, one after the other.  Calls: vidmm.h, the host's platform and instance, the ref driver.
 *
 * Part one runs in one thread: the caller owns the adapter, engines are stepped between the timed parts, and
 * CPU time counts. Part two has the engines and the adapter's worker on threads of their own, and wall time
 * counts: what is measured is a round trip. Its floor is the same work by a thread that waits on a futex.
 * Figures are medians. */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "bench.h"
#include "host/instance.h"
#include "host/posix.h"
#include "softgpu/devmem.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"
#include "softgpu/ref_commands.h"

enum { ROUNDS = 9, MAPS = 2048, ARRAY = 1000, TRIPS = 400, FRAMES = 1 << 20 };
enum { SET_LOCAL = 1u << 0, SET_SYSTEM = 1u << 2 }; /* of ref_options_default */

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static double wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct vidmm_open *alloc(struct vidmm_device *d, uint64_t bytes, uint32_t set)
{
    struct ref_alloc_private in = { .magic = REF_ALLOC_MAGIC, .alignment = 65536, .bytes = bytes,
                                    .supported = set, .preferred = set == SET_LOCAL ? 1 : 0 };
    struct vidmm_alloc_desc desc = { .private_data = &in, .private_size = sizeof in };
    struct vidmm_open *op;
    must(vidmm_alloc_create(d, &desc, &op) == VIDMM_OK, "an allocation was refused");
    return op;
}

/* ---- one thread ------------------------------------------------------------------------------------- */

struct bench {
    struct posix_platform platform;
    struct ref_kmd *kmd;
    struct vidmm_adapter *ad;
    struct vidmm_process *proc;
    struct vidmm_device *dev;
    struct vidmm_queue *queue;
    struct vidmm_context *ctx;
    uint64_t now;
};

static void no_poke(void *arg) { (void)arg; }

static void settle(struct bench *b)
{
    bool busy = true;
    while (busy) {
        b->now++;
        busy = vidmm_run(b->ad, b->now) == b->now;
        for (uint32_t node = 0; node < REF_NODE_COUNT; node++)
            busy |= softgpu_engine_step(ref_gpu(b->kmd), node) == SOFTGPU_PROGRESS;
    }
}

static void open_bench(struct bench *b)
{
    struct ref_options opt;
    const char *why = "no adapter";
    memset(b, 0, sizeof *b);
    ref_options_default(&opt, REF_FORMAT_A);
    must(posix_platform_init(&b->platform, FRAMES, no_poke, NULL), "no platform");
    must(ref_create(&opt, &b->kmd) == VIDMM_OK, "no driver");
    struct vidmm_adapter_config cfg = { .struct_size = sizeof cfg, .platform = &b->platform.face,
                                        .ops = ref_ops(), .kmd = b->kmd };
    must(vidmm_adapter_create(&cfg, &b->ad, &why) == VIDMM_OK, why);
    must(vidmm_process_create(b->ad, &b->proc) == VIDMM_OK, "no process");
    must(vidmm_device_create(b->proc, &b->dev) == VIDMM_OK, "no device");
    must(vidmm_queue_create(b->dev, 0, &b->queue) == VIDMM_OK, "no paging queue");
    struct vidmm_context_desc desc = { .node = REF_NODE_COMPUTE };
    must(vidmm_context_create(b->dev, &desc, &b->ctx) == VIDMM_OK, "no context");
    settle(b);
}

static void close_bench(struct bench *b)
{
    vidmm_process_destroy(b->proc);
    settle(b);
    vidmm_adapter_destroy(b->ad);
    ref_destroy(b->kmd);
    posix_platform_fini(&b->platform);
}

static uint64_t map_inline(struct bench *b, struct vidmm_open *op, uint64_t bytes)
{
    struct vidmm_map in = { .open = op, .bytes = bytes, .protection = VIDMM_PROT_WRITE };
    uint64_t va, value;
    must(vidmm_va_map(b->queue, &in, &va, &value) == VIDMM_OK, "a map was not complete at the call");
    return va;
}

static void make_resident(struct bench *b, struct vidmm_open **op, uint32_t n)
{
    uint64_t value, trim;
    must(vidmm_make_resident(b->queue, op, n, 0, &value, &trim) == VIDMM_OK, "not resident at the call");
}

static void evict(struct bench *b, struct vidmm_open **op, uint32_t n)
{
    uint64_t trim;
    must(vidmm_evict(b->dev, op, n, 0, &trim) == VIDMM_OK, "evict failed");
}

static void map_pages(struct bench_out *out, struct bench *b)
{
    static uint64_t va[MAPS];
    double map[ROUNDS], unmap[ROUNDS];
    struct vidmm_open *op = alloc(b->dev, 65536, SET_SYSTEM);
    make_resident(b, &op, 1);
    for (int i = 0; i < ROUNDS; i++) {
        double t0 = bench_now_ns();
        for (int k = 0; k < MAPS; k++) va[k] = map_inline(b, op, VIDMM_PAGE_SIZE);
        double t1 = bench_now_ns();
        for (int k = 0; k < MAPS; k++)
            must(vidmm_va_free(b->proc, va[k], VIDMM_PAGE_SIZE) == VIDMM_OK, "free failed");
        double t2 = bench_now_ns();
        settle(b);
        map[i] = (t1 - t0) / MAPS;
        unmap[i] = (t2 - t1) / MAPS;
    }
    bench_add(out, "service map: 1 resident page, inline", median(map, ROUNDS), "ns", 0, 500, true);
    bench_add(out, "service free: 1 page", median(unmap, ROUNDS), "ns", 0, 500, true);
    vidmm_open_close(op, 0);
    settle(b);
}

/* The same entries into tables that only have to be cleared first. */
static double store_entries_ns(uint64_t *tables, uint64_t entries)
{
    double t = bench_now_ns();
    for (uint64_t i = 0; i < entries; i += 512) {
        memset(tables + i, 0, 512 * sizeof *tables);
        devmem_fill_entries64(tables + i, i << VIDMM_PAGE_SHIFT | 1, VIDMM_PAGE_SIZE, 512);
    }
    return bench_now_ns() - t;
}

static void map_gibibyte(struct bench_out *out, struct bench *b)
{
    double map[ROUNDS], unmap[ROUNDS], floor[ROUNDS];
    uint64_t entries = GIB >> VIDMM_PAGE_SHIFT;
    struct vidmm_open *op = alloc(b->dev, GIB, SET_SYSTEM);
    uint64_t *tables = aligned_alloc(4096, entries * sizeof *tables);
    must(tables != NULL, "no memory for the floor");
    memset(tables, 0xff, entries * sizeof *tables);
    make_resident(b, &op, 1);
    for (int i = 0; i < ROUNDS; i++) {
        floor[i] = store_entries_ns(tables, entries) / 1e3;
        double t0 = bench_now_ns();
        uint64_t va = map_inline(b, op, GIB);
        double t1 = bench_now_ns();
        must(vidmm_va_free(b->proc, va, GIB) == VIDMM_OK, "free failed");
        double t2 = bench_now_ns();
        settle(b);
        map[i] = (t1 - t0) / 1e3;
        unmap[i] = (t2 - t1) / 1e3;
    }
    bench_add(out, "service map: 1 GiB, inline", median(map, ROUNDS), "us", median(floor, ROUNDS), 1.5, true);
    bench_add(out, "service free: 1 GiB", median(unmap, ROUNDS), "us", 0, 30, true);
    free(tables);
    vidmm_open_close(op, 0);
    settle(b);
}

static void reserve(struct bench_out *out, struct bench *b)
{
    static uint64_t va[MAPS];
    double take[ROUNDS], give[ROUNDS];
    struct vidmm_reserve in = { .bytes = VIDMM_PAGE_64K, .type = VIDMM_RESERVE_NO_ACCESS };
    uint64_t value;
    for (int i = 0; i < ROUNDS; i++) {
        double t0 = bench_now_ns();
        for (int k = 0; k < MAPS; k++)
            must(vidmm_va_reserve(b->proc, NULL, &in, &va[k], &value) == VIDMM_OK, "reserve failed");
        double t1 = bench_now_ns();
        for (int k = 0; k < MAPS; k++)
            must(vidmm_va_free(b->proc, va[k], VIDMM_PAGE_64K) == VIDMM_OK, "free failed");
        double t2 = bench_now_ns();
        settle(b);
        take[i] = (t1 - t0) / MAPS;
        give[i] = (t2 - t1) / MAPS;
    }
    bench_add(out, "service reserve: 64 KiB", median(take, ROUNDS), "ns", 0, 100, true);
    bench_add(out, "service free: 64 KiB reservation", median(give, ROUNDS), "ns", 0, 100, true);
}

/* One count each behind an array of pointers, in objects as far apart as allocations are. */
static double count_array_ns(uint64_t **count)
{
    double t = bench_now_ns();
    for (int k = 0; k < ARRAY; k++) __atomic_fetch_add(count[k], 1, __ATOMIC_RELAXED);
    return (bench_now_ns() - t) / ARRAY;
}

static void residency(struct bench_out *out, struct bench *b)
{
    static struct vidmm_open *op[ARRAY];
    static uint64_t *count[ARRAY];
    double in[ROUNDS], again[ROUNDS], back[ROUNDS], floor[ROUNDS];
    for (int k = 0; k < ARRAY; k++) {
        op[k] = alloc(b->dev, VIDMM_PAGE_SIZE, SET_SYSTEM);
        count[k] = calloc(1, 256);
        must(count[k] != NULL, "no memory for the floor");
    }
    for (int i = 0; i < ROUNDS; i++) {
        floor[i] = count_array_ns(count);
        double t0 = bench_now_ns();
        make_resident(b, op, ARRAY);
        double t1 = bench_now_ns();
        make_resident(b, op, ARRAY);
        double t2 = bench_now_ns();
        evict(b, op, ARRAY);
        evict(b, op, ARRAY);
        double t3 = bench_now_ns();
        settle(b);
        in[i] = (t1 - t0) / ARRAY;
        again[i] = (t2 - t1) / ARRAY;
        back[i] = (t3 - t2) / (2 * ARRAY);
    }
    double f = median(floor, ROUNDS);
    bench_add(out, "service make resident: resident, of 1000", median(again, ROUNDS), "ns/item", f, 5, true);
    bench_add(out, "service make resident: system, of 1000", median(in, ROUNDS), "ns/item", f, 20, true);
    bench_add(out, "service evict: of 1000", median(back, ROUNDS), "ns/item", f, 10, true);
    for (int k = 0; k < ARRAY; k++) {
        vidmm_open_close(op[k], 0);
        free(count[k]);
    }
    settle(b);
}

static void locks(struct bench_out *out, struct bench *b)
{
    double pair[ROUNDS], floor[ROUNDS];
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    struct vidmm_open *op = alloc(b->dev, 65536, SET_SYSTEM);
    void *cpu;
    make_resident(b, &op, 1);
    for (int i = 0; i < ROUNDS; i++) {
        double t0 = bench_now_ns();
        for (int k = 0; k < MAPS * 8; k++) {
            pthread_mutex_lock(&mutex);
            pthread_mutex_unlock(&mutex);
        }
        double t1 = bench_now_ns();
        for (int k = 0; k < MAPS * 8; k++) {
            must(vidmm_open_lock(op, &cpu) == VIDMM_OK, "lock failed");
            must(vidmm_open_unlock(op) == VIDMM_OK, "unlock failed");
        }
        floor[i] = (t1 - t0) / (MAPS * 8);
        pair[i] = (bench_now_ns() - t1) / (MAPS * 8);
    }
    bench_add(out, "service lock and unlock (floor: mutex)", median(pair, ROUNDS), "ns",
              median(floor, ROUNDS), 5, true);
    vidmm_open_close(op, 0);
    settle(b);
}

static void fences(struct bench_out *out, struct bench *b)
{
    double set[ROUNDS], wait[ROUNDS], floor[ROUNDS];
    _Atomic uint64_t word = 0;
    struct vidmm_fence *in, *done;
    uint64_t v = 0;
    must(vidmm_fence_create(b->dev, 0, 0, &in) == VIDMM_OK, "no fence");
    must(vidmm_fence_create(b->dev, 0, 0, &done) == VIDMM_OK, "no fence");
    for (int i = 0; i < ROUNDS; i++) {
        double t0 = bench_now_ns();
        for (uint64_t k = 1; k <= MAPS * 8; k++) {
            atomic_store_explicit(&word, k, memory_order_release);
            must(atomic_load_explicit(&word, memory_order_acquire) == k, "memory is broken");
        }
        double t1 = bench_now_ns();
        for (int k = 0; k < MAPS * 8; k++) {
            must(vidmm_fence_signal(done, ++v) == VIDMM_OK && vidmm_fence_value(done) == v, "signal failed");
        }
        double t2 = bench_now_ns();
        for (int k = 0; k < MAPS; k++) {
            uint64_t next = ++v;
            must(vidmm_context_wait(b->ctx, &in, &next, 1) == VIDMM_OK, "wait failed");
            must(vidmm_context_signal(b->ctx, &done, &next, 1) == VIDMM_OK, "signal failed");
            must(vidmm_fence_signal(in, next) == VIDMM_OK, "signal failed");
            vidmm_run(b->ad, ++b->now);
            must(vidmm_fence_value(done) == next, "a satisfied wait did not let go");
        }
        floor[i] = (t1 - t0) / (MAPS * 8);
        set[i] = (t2 - t1) / (MAPS * 8);
        wait[i] = (bench_now_ns() - t2) / MAPS;
    }
    double f = median(floor, ROUNDS);
    bench_add(out, "service fence: signal and read", median(set, ROUNDS), "ns", f, 10, true);
    bench_add(out, "service fence: queued wait and signal, run", median(wait, ROUNDS), "ns", 0, 1000, true);
}

/* ---- threads: round trips ---------------------------------------------------------------------------- */

static void futex_wait(_Atomic uint32_t *word, uint32_t old)
{
    while (atomic_load(word) == old) syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
}

static void futex_set(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store(word, value);
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

struct echo { _Atomic uint32_t ask, answer; void *memory; size_t bytes; };

static void *echo_main(void *arg)
{
    struct echo *e = arg;
    for (uint32_t i = 1; i <= TRIPS; i++) {
        futex_wait(&e->ask, i - 1);
        memset(e->memory, (int)i, e->bytes);
        futex_set(&e->answer, i);
    }
    return NULL;
}

/* A thread is woken, sets so many bytes, and wakes us: us per trip. */
static double echo_us(size_t bytes)
{
    static double trip[TRIPS];
    struct echo e = { .bytes = bytes, .memory = aligned_alloc(4096, bytes + 4096) };
    pthread_t thread;
    must(e.memory != NULL, "no memory for the floor");
    memset(e.memory, 0xff, bytes + 4096);
    must(pthread_create(&thread, NULL, echo_main, &e) == 0, "no thread");
    for (uint32_t i = 1; i <= TRIPS; i++) {
        double t = wall_ns();
        futex_set(&e.ask, i);
        futex_wait(&e.answer, i - 1);
        trip[i - 1] = (wall_ns() - t) / 1e3;
    }
    pthread_join(thread, NULL);
    free(e.memory);
    return median(trip, TRIPS);
}

struct threads {
    struct ref_kmd *kmd;
    struct host_instance *instance;
    const struct vidmm_env *env;
    struct vidmm_process *proc;
    struct vidmm_device *dev;
    struct vidmm_queue *queue;
    struct vidmm_context *ctx;
    struct vidmm_fence *fence;
};

struct until { struct vidmm_fence *fence; uint64_t value; };

static bool reached(void *arg)
{
    const struct until *u = arg;
    return vidmm_fence_value(u->fence) >= u->value;
}

static void await(struct threads *t, struct vidmm_fence *fence, uint64_t value)
{
    struct until u = { fence, value };
    must(t->env->wait(t->env->ctx, reached, &u), "the adapter is gone");
}

static void open_threads(struct threads *t)
{
    struct ref_options opt;
    const char *why = "no instance";
    memset(t, 0, sizeof *t);
    ref_options_default(&opt, REF_FORMAT_A);
    opt.threads = true;
    must(ref_create(&opt, &t->kmd) == VIDMM_OK, "no driver");
    must(host_instance_create(ref_ops(), t->kmd, NULL, &why, &t->instance) == VIDMM_OK, why);
    t->env = host_instance_env(t->instance);
    must(t->env->enter(t->env->ctx), "the adapter is gone");
    struct vidmm_context_desc desc = { .node = REF_NODE_COMPUTE };
    must(vidmm_process_create(host_instance_adapter(t->instance), &t->proc) == VIDMM_OK, "no process");
    must(vidmm_device_create(t->proc, &t->dev) == VIDMM_OK, "no device");
    must(vidmm_queue_create(t->dev, 0, &t->queue) == VIDMM_OK, "no paging queue");
    must(vidmm_context_create(t->dev, &desc, &t->ctx) == VIDMM_OK, "no context");
    must(vidmm_fence_create(t->dev, 0, 0, &t->fence) == VIDMM_OK, "no fence");
    t->env->leave(t->env->ctx);
}

static void close_threads(struct threads *t)
{
    must(t->env->enter(t->env->ctx), "the adapter is gone");
    vidmm_process_destroy(t->proc);
    t->env->leave(t->env->ctx);
    must(host_instance_destroy(t->instance), "the adapter did not become idle");
    ref_destroy(t->kmd);
}

/* One packet of an END command, and a fence behind it. */
static void submit(struct bench_out *out, struct threads *t, double floor)
{
    static double trip[TRIPS];
    uint64_t va, fence_value, trim;
    void *cpu;
    must(t->env->enter(t->env->ctx), "the adapter is gone");
    struct vidmm_open *op = alloc(t->dev, 65536, SET_SYSTEM);
    struct vidmm_map in = { .open = op, .bytes = 65536, .protection = VIDMM_PROT_EXECUTE };
    must(vidmm_open_lock(op, &cpu) == VIDMM_OK, "lock failed");
    ref_emit_end(cpu);
    must(vidmm_make_resident(t->queue, &op, 1, 0, &fence_value, &trim) == VIDMM_OK, "not resident");
    must(vidmm_va_map(t->queue, &in, &va, &fence_value) == VIDMM_OK, "not mapped");
    t->env->leave(t->env->ctx);
    for (uint64_t i = 1; i <= TRIPS; i++) {
        double start = wall_ns();
        must(t->env->enter(t->env->ctx), "the adapter is gone");
        must(vidmm_context_submit(t->ctx, va, 8, NULL, 0, 0) == VIDMM_OK, "submit failed");
        must(vidmm_context_signal(t->ctx, &t->fence, &i, 1) == VIDMM_OK, "signal failed");
        await(t, t->fence, i);
        t->env->leave(t->env->ctx);
        trip[i - 1] = (wall_ns() - start) / 1e3;
    }
    bench_add(out, "service submit to complete (threads)", median(trip, TRIPS), "us", floor, 2, true);
}

static void page_in(struct bench_out *out, struct threads *t, double floor)
{
    static double trip[TRIPS / 4];
    uint64_t value, trim;
    for (int i = 0; i < TRIPS / 4; i++) {
        must(t->env->enter(t->env->ctx), "the adapter is gone");
        struct vidmm_open *op = alloc(t->dev, MIB, SET_LOCAL);
        double start = wall_ns();
        vidmm_status st = vidmm_make_resident(t->queue, &op, 1, 0, &value, &trim);
        must(st == VIDMM_PENDING, "make resident was not queued");
        await(t, vidmm_queue_fence(t->queue), value);
        trip[i] = (wall_ns() - start) / 1e3;
        vidmm_open_close(op, VIDMM_DESTROY_ASSUME_NOT_IN_USE);
        t->env->leave(t->env->ctx);
    }
    bench_add(out, "service make resident: new 1 MiB, zeroed", median(trip, TRIPS / 4), "us", floor, 2, true);
}

void bench_services(struct bench_out *out)
{
    struct bench b;
    struct threads t;
    bench_say("services, one thread");
    open_bench(&b);
    map_pages(out, &b);
    map_gibibyte(out, &b);
    reserve(out, &b);
    residency(out, &b);
    locks(out, &b);
    fences(out, &b);
    close_bench(&b);
    bench_say("services, engines on threads");
    double echo = echo_us(0), echo_mib = echo_us(MIB);
    open_threads(&t);
    submit(out, &t, echo);
    page_in(out, &t, echo_mib);
    close_threads(&t);
}
