/* SPDX-License-Identifier: MIT */
/* iommu_storm.c — memory that goes away under the GPU. Four clients, each on an engine thread of its own,
 * read and write random pages of an arena, and wild addresses beyond it; two threads unmap, protect, empty
 * and map these pages meanwhile. Every second page is a canary that no command names: if a byte of one
 * changes, or a word is read that does not belong to the page, the GPU was where it must not be.
 * The arena lies where the kernel never puts anything by itself, so that a hole in it stays a hole. */
#define _GNU_SOURCE
#include "iommu_scene.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "iommu_client.h"

enum { PAGE = 4096, PAGES = 2048, CLIENTS = 4, MAPPERS = 2 };

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) || defined(UNDER_TSAN)
#define ARENA 0x4000000000ull   /* its shadow leaves only some ranges to programs */
#else
#define ARENA 0x200000000000ull
#endif

struct storm {
    struct machine machine[CLIENTS / 2];
    struct vidmm_process *process[CLIENTS];
    uint8_t *arena;
    _Atomic bool stop;
    _Atomic(const char *) wrong;
    _Atomic uint64_t packets, faults, wild, remaps, words;
    uint64_t seed;
};

struct hand { struct storm *s; uint32_t id; uint64_t random; };

static uint64_t next(struct hand *h)
{
    h->random ^= h->random << 13;
    h->random ^= h->random >> 7;
    h->random ^= h->random << 17;
    return h->random;
}

static void complain(struct storm *s, const char *what)
{
    const char *none = NULL;
    atomic_compare_exchange_strong(&s->wrong, &none, what);
    atomic_store(&s->stop, true);
}

static uint32_t tag(uint32_t page, bool canary) { return (canary ? 0xca000000u : 0x5a000000u) + page; }

/* ---- the mappings ------------------------------------------------------------------------------ */

static uint8_t *page_at(const struct storm *s, uint32_t page) { return s->arena + (uint64_t)page * PAGE; }

static void *map_page(uint8_t *at)
{
    return mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void *mapper_main(void *arg)
{
    struct hand *h = arg;
    struct storm *s = h->s;
    while (!atomic_load(&s->stop)) {
        uint32_t pair = (uint32_t)(next(h) % (PAGES / 2 / MAPPERS)) * MAPPERS + h->id;
        uint8_t *at = page_at(s, pair * 2);
        bool ok = true;
        switch (next(h) % 8) {
        case 0: ok = munmap(at, PAGE) == 0; break;
        case 1: (void)mprotect(at, PAGE, PROT_NONE); break; /* fails in a hole */
        case 2: (void)mprotect(at, PAGE, PROT_READ); break;
        case 3: (void)madvise(at, PAGE, MADV_DONTNEED); break;
        case 4: (void)mprotect(at, PAGE, PROT_READ | PROT_WRITE); break;
        default: ok = map_page(at) == at; break;
        }
        if (!ok) complain(s, "a mapping could not be changed");
        atomic_fetch_add(&s->remaps, 1);
        if (next(h) % 8 == 0) (void)usleep(1);
    }
    return NULL;
}

/* ---- the clients ------------------------------------------------------------------------------- */

/* Somewhere in 64 bits; to be written only where no process has memory. */
static uint64_t wild_address(struct hand *h, bool write)
{
    uint64_t a = next(h);
    if (write || a % 4 == 0) return a | 1ull << 63 | 1ull << 50; /* the kernel's, or nobody's */
    if (a % 4 == 1) return a >> 52;                              /* next to NULL */
    return a % 4 == 2 ? a >> 17 : a;
}

struct access { uint64_t va, bytes; uint32_t page; bool write, wild; };

static struct access choose(struct hand *h)
{
    struct access a = {.write = next(h) % 2 != 0, .wild = next(h) % 16 == 0};
    uint64_t offset = next(h) % (PAGE / 4) * 4;
    a.page = (uint32_t)(next(h) % (PAGES / 2)) * 2;
    a.bytes = (next(h) % ((PAGE - offset) / 4) + 1) * 4;
    a.va = a.wild ? wild_address(h, a.write) & ~3ull : ARENA + (uint64_t)a.page * PAGE + offset;
    if (a.wild) a.bytes = 64;
    return a;
}

static uint32_t emit(struct client *c, const struct access *a)
{
    if (a->write) return ref_emit_fill(c->commands, a->va, tag(a->page, false), a->bytes);
    return ref_emit_copy(c->commands, c->commands_va + CLIENT_RESULT, a->va, a->bytes);
}

/* What was read is the page's own: never written, or with its tag. */
static void check_read(struct storm *s, const struct client *c, const struct access *a)
{
    const uint32_t *got = (const uint32_t *)(const void *)(c->commands + CLIENT_RESULT / 8);
    for (uint64_t i = 0; i < a->bytes / 4; i++)
        if (got[i] != 0 && got[i] != tag(a->page, false)) complain(s, "the GPU read a foreign byte");
    atomic_fetch_add(&s->words, a->bytes / 4);
}

static void check_fault(struct storm *s, const struct access *a, const struct vidmm_page_fault *f)
{
    bool own = f->va >= a->va && f->va - a->va < a->bytes;
    if (!own || (f->flags & VIDMM_FAULT_IOMMU) == 0) complain(s, "a fault is not where the access was");
    if (((f->flags & VIDMM_FAULT_WRITE) != 0) != a->write) complain(s, "a fault took a read for a write");
    atomic_fetch_add(a->wild ? &s->wild : &s->faults, 1);
}

static void *client_main(void *arg)
{
    struct hand *h = arg;
    struct storm *s = h->s;
    struct machine *m = &s->machine[h->id / 2];
    struct client c;
    struct vidmm_page_fault fault;
    bool open = false;
    while (!atomic_load(&s->stop)) {
        if (!open && !client_open(&c, m, s->process[h->id], h->id % 2, true)) {
            complain(s, "no device");
            break;
        }
        open = true;
        struct access a = choose(h);
        if (!client_submit(&c, emit(&c, &a))) {
            complain(s, "a packet was refused");
            break;
        }
        if (client_wait(&c, &fault)) {
            atomic_fetch_add(&s->packets, 1);
            if (!a.write && !a.wild) check_read(s, &c, &a);
            continue;
        }
        check_fault(s, &a, &fault); /* the device is lost, and nothing else */
        client_close(&c);
        open = false;
    }
    if (open) client_close(&c);
    return NULL;
}

/* ---- the storm --------------------------------------------------------------------------------- */

static bool begin(struct storm *s, const char *break_row)
{
    s->arena = (uint8_t *)(uintptr_t)ARENA;
    void *at = mmap(s->arena, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
    if (at != s->arena) return false;
    for (uint32_t p = 1; p < PAGES; p += 2)
        for (uint32_t i = 0; i < PAGE / 4; i++) ((uint32_t *)(void *)page_at(s, p))[i] = tag(p, true);
    for (uint32_t i = 0; i < CLIENTS / 2; i++)
        if (!machine_open(&s->machine[i], false, break_row)) return false;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        s->process[i] = machine_process(&s->machine[i / 2]);
        if (s->process[i] == NULL) return false;
    }
    return true;
}

static void check_canaries(struct storm *s)
{
    for (uint32_t p = 1; p < PAGES; p += 2) {
        const uint32_t *words = (const uint32_t *)(const void *)page_at(s, p);
        for (uint32_t i = 0; i < PAGE / 4; i++)
            if (words[i] != tag(p, true)) complain(s, "the GPU wrote a foreign byte");
        atomic_fetch_add(&s->words, PAGE / 4);
    }
}

static void end(struct storm *s)
{
    for (uint32_t i = 0; i < CLIENTS; i++) machine_process_end(&s->machine[i / 2], s->process[i]);
    for (uint32_t i = 0; i < CLIENTS / 2; i++)
        if (!machine_close(&s->machine[i])) complain(s, "an adapter did not become idle");
    check_canaries(s);
    (void)munmap(s->arena, (size_t)PAGES * PAGE);
}

static void let_loose(struct storm *s, double seconds)
{
    pthread_t thread[CLIENTS + MAPPERS];
    struct hand hand[CLIENTS + MAPPERS];
    uint32_t started = 0;
    for (; started < CLIENTS + MAPPERS; started++) {
        uint32_t i = started;
        bool client = i < CLIENTS;
        hand[i] = (struct hand){s, client ? i : i - CLIENTS, (s->seed + i + 1) * 0x9e3779b97f4a7c15ull};
        if (pthread_create(&thread[i], NULL, client ? client_main : mapper_main, &hand[i]) != 0) break;
    }
    if (started < CLIENTS + MAPPERS) complain(s, "no thread");
    for (double t = 0; t < seconds && !atomic_load(&s->stop); t += 0.01) (void)usleep(10000);
    atomic_store(&s->stop, true);
    for (uint32_t i = 0; i < started; i++) (void)pthread_join(thread[i], NULL);
}

void iommu_storm(const char *break_row, double seconds, uint64_t seed, struct iommu_result *r)
{
    struct storm s = {.seed = seed};
    if (!begin(&s, break_row)) {
        r->wrong = "no arena, or no adapter";
        return;
    }
    let_loose(&s, seconds);
    end(&s);
    r->wrong = atomic_load(&s.wrong);
    r->packets = s.packets;
    r->faults = s.faults;
    r->wild = s.wild;
    r->remaps = s.remaps;
    r->words = s.words;
}
