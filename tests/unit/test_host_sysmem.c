/* SPDX-License-Identifier: MIT */
/* test_host_sysmem.c — frames, and the memory behind them. */
#define _GNU_SOURCE
#include "host/sysmem.h"

#include "vt.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE VIDMM_PAGE_SIZE
#define SLOT 4096u

static bool reads_zero(const unsigned char *p, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i++)
        if (p[i] != 0) return false;
    return true;
}

static void fill(struct sysmem *s, uint64_t frame, uint64_t pages, int value)
{
    memset(sysmem_address(s, frame), value, pages * PAGE);
}

/* A page that is handed out again must not show its former owner's bytes, however it was kept. */
static void reused_memory_reads_zero(void **state)
{
    (void)state;
    static const uint64_t runs[] = { 1, 2, 16, 17, 63, 64, 65, 512, 2048, 2049, 4096, 5000 };
    struct sysmem *s = sysmem_create(SYSMEM_FRAMES_MAX);
    assert_non_null(s);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
            uint64_t frame;
            assert_int_equal(sysmem_alloc(s, runs[i], &frame), VIDMM_OK);
            assert_true(frame != 0);
            assert_true(reads_zero(sysmem_address(s, frame), runs[i] * PAGE));
            fill(s, frame, runs[i], 0xAA);
            sysmem_free(s, frame, runs[i]);
            assert_null(sysmem_address(s, frame));
        }
    }
    assert_int_equal(sysmem_usage(s).own, 0);
    sysmem_destroy(s);
}

/* Consecutive frames are consecutive in host memory; no frame beyond the run has an address. */
static void runs_are_contiguous(void **state)
{
    (void)state;
    static const uint64_t runs[] = { 1, 3, 2048, 9000 };
    struct sysmem *s = sysmem_create(SYSMEM_FRAMES_MAX);
    for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        uint64_t frame;
        assert_int_equal(sysmem_alloc(s, runs[i], &frame), VIDMM_OK);
        char *host = sysmem_address(s, frame);
        assert_int_equal((uintptr_t)host % PAGE, 0);
        for (uint64_t p = 0; p < runs[i]; p++)
            assert_ptr_equal(sysmem_address(s, frame + p), host + p * PAGE);
        assert_null(sysmem_address(s, frame + runs[i]));
        sysmem_free(s, frame, runs[i]);
    }
    assert_null(sysmem_address(s, 0));
    assert_null(sysmem_address(s, SYSMEM_FRAMES_MAX));
    assert_null(sysmem_address(s, UINT64_MAX));
    sysmem_destroy(s);
}

static void discard_reads_zero_and_gives_memory_back(void **state)
{
    (void)state;
    uint64_t frame, pages = 300;
    unsigned char in_core[300];
    struct sysmem *s = sysmem_create(SYSMEM_FRAMES_MAX);
    assert_int_equal(sysmem_alloc(s, pages, &frame), VIDMM_OK);
    fill(s, frame, pages, 1);
    sysmem_discard(s, frame + 10, 20);
    unsigned char *p = sysmem_address(s, frame);
    assert_int_equal(p[10 * PAGE - 1], 1);
    assert_int_equal(p[30 * PAGE], 1);
    assert_int_equal(mincore(p, pages * PAGE, in_core), 0);
    for (uint64_t i = 10; i < 30; i++) assert_false(in_core[i] & 1);
    assert_true(reads_zero(p + 10 * PAGE, 20 * PAGE));
    sysmem_free(s, frame, pages);
    sysmem_destroy(s);
}

/* Locked pages can not be given back to the kernel; they must read as zeros all the same. */
static void discard_of_locked_memory(void **state)
{
    (void)state;
    uint64_t frame;
    struct sysmem *s = sysmem_create(SYSMEM_FRAMES_MAX);
    assert_int_equal(sysmem_alloc(s, 20, &frame), VIDMM_OK);
    char *p = sysmem_address(s, frame);
    if (mlock(p, 20 * PAGE) != 0) {
        sysmem_free(s, frame, 20);
        sysmem_destroy(s);
        vt_skip("mlock is not allowed here");
    }
    fill(s, frame, 20, 7);
    sysmem_discard(s, frame, 20);
    assert_true(reads_zero((unsigned char *)p, 20 * PAGE));
    fill(s, frame, 20, 7);
    sysmem_free(s, frame, 20);
    uint64_t again;
    assert_int_equal(sysmem_alloc(s, 20, &again), VIDMM_OK);
    assert_ptr_equal(sysmem_address(s, again), p);
    assert_true(reads_zero((unsigned char *)p, 20 * PAGE));
    munlock(p, 20 * PAGE);
    sysmem_free(s, again, 20);
    sysmem_destroy(s);
}

/* The client takes away what Lock2 gave it; who gets these frames next must not notice. */
static void memory_the_client_took_away(void **state)
{
    (void)state;
    static const uint64_t runs[] = { 1, 4, 16, 17, 40 };
    static const int prots[] = { PROT_NONE, PROT_READ, -1 };
    struct sysmem *s = sysmem_create(SYSMEM_FRAMES_MAX);
    for (size_t i = 0; i < VT_COUNT(runs) * VT_COUNT(prots); i++) {
        uint64_t frame, pages = runs[i / VT_COUNT(prots)];
        int prot = prots[i % VT_COUNT(prots)];
        assert_int_equal(sysmem_alloc(s, pages, &frame), VIDMM_OK);
        fill(s, frame, pages, 9);
        char *last = (char *)sysmem_address(s, frame) + (pages - 1) * PAGE;
        assert_int_equal(prot < 0 ? munmap(last, PAGE) : mprotect(last, PAGE, prot), 0);
        sysmem_free(s, frame, pages);
        assert_int_equal(sysmem_alloc(s, pages, &frame), VIDMM_OK);
        assert_true(reads_zero(sysmem_address(s, frame), pages * PAGE));
        fill(s, frame, pages, 9);
        sysmem_free(s, frame, pages);
    }
    uint64_t frame;
    assert_int_equal(sysmem_alloc(s, 3, &frame), VIDMM_OK);
    assert_int_equal(munmap((char *)sysmem_address(s, frame) + PAGE, PAGE), 0);
    sysmem_discard(s, frame, 3);
    assert_true(reads_zero(sysmem_address(s, frame), 3 * PAGE));
    sysmem_free(s, frame, 3);
    sysmem_destroy(s);
}

/* The client may name memory that is not there: importing it must not touch it. */
static void import_never_touches(void **state)
{
    (void)state;
    uint64_t a, b, frame;
    struct sysmem *s = sysmem_create(SYSMEM_FRAMES_MAX);
    char *none = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(sysmem_import(s, none, 8, &a), VIDMM_OK);
    assert_int_equal(sysmem_import(s, none, 8, &b), VIDMM_OK); /* twice is two sets of frames */
    assert_int_not_equal(a, b);
    for (uint64_t i = 0; i < 8; i++) assert_ptr_equal(sysmem_address(s, b + i), none + i * PAGE);
    assert_int_equal(sysmem_usage(s).imported, 16);
    sysmem_discard(s, a, 8); /* not ours to clear */
    sysmem_release(s, a, 8);
    assert_null(sysmem_address(s, a));
    assert_ptr_equal(sysmem_address(s, b), none);
    sysmem_release(s, b, 8);

    assert_int_equal(sysmem_import(s, none, 100000, &frame), VIDMM_OK); /* 400 MB in one */
    assert_ptr_equal(sysmem_address(s, frame + 99999), none + 99999 * PAGE);
    sysmem_release(s, frame, 100000);

    assert_int_equal(sysmem_import(s, NULL, 1, &frame), VIDMM_INVALID);
    assert_int_equal(sysmem_import(s, none + 1, 1, &frame), VIDMM_INVALID);
    assert_int_equal(sysmem_import(s, none, 0, &frame), VIDMM_INVALID);
    assert_int_equal(sysmem_import(s, none, UINT64_MAX, &frame), VIDMM_INVALID);
    assert_int_equal(sysmem_import(s, none, UINT64_MAX / PAGE, &frame), VIDMM_INVALID);
    assert_int_equal(sysmem_import(s, (void *)(UINTPTR_MAX - PAGE + 1), 1, &frame), VIDMM_INVALID);
    assert_int_equal(frame, 0);
    munmap(none, 8 * PAGE);
    sysmem_destroy(s);
}

/* Three usable slots: every way to run out is NO_MEMORY, and what was there stays usable. */
static void exhaustion_is_a_status(void **state)
{
    (void)state;
    uint64_t frame[3 * SLOT], big;
    struct sysmem *s = sysmem_create(4 * SLOT);
    assert_non_null(s);
    uint32_t n = 0;
    while (n < 3 * SLOT && sysmem_alloc(s, 1, &frame[n]) == VIDMM_OK) n++;
    assert_int_equal(n, 3 * SLOT);
    assert_int_equal(sysmem_alloc(s, 1, &big), VIDMM_NO_MEMORY);
    assert_int_equal(big, 0);
    assert_int_equal(sysmem_import(s, (void *)(uintptr_t)PAGE, 1, &big), VIDMM_NO_MEMORY);
    sysmem_free(s, frame[5], 1);
    sysmem_free(s, frame[7], 1);
    assert_int_equal(sysmem_alloc(s, 2, &big), VIDMM_NO_MEMORY); /* two frames, not together */
    assert_int_equal(sysmem_alloc(s, 1, &frame[5]), VIDMM_OK);
    assert_int_equal(sysmem_alloc(s, 1, &frame[7]), VIDMM_OK);
    for (uint32_t i = 0; i < n; i++) sysmem_free(s, frame[i], 1);
    assert_int_equal(sysmem_alloc(s, 4 * SLOT, &big), VIDMM_NO_MEMORY);
    assert_int_equal(sysmem_alloc(s, UINT64_MAX, &big), VIDMM_NO_MEMORY);
    assert_int_equal(sysmem_alloc(s, 0, &big), VIDMM_INVALID);
    assert_int_equal(sysmem_alloc(s, 2 * SLOT, &big), VIDMM_OK); /* one empty arena may be kept */
    sysmem_free(s, big, 2 * SLOT);
    assert_int_equal(sysmem_usage(s).own, 0);
    sysmem_destroy(s);
}

static void table_sizes_are_checked(void **state)
{
    (void)state;
    assert_null(sysmem_create(0));
    assert_null(sysmem_create(SLOT));
    assert_null(sysmem_create(2 * SLOT + 1));
    assert_null(sysmem_create(SYSMEM_FRAMES_MAX + SLOT));
}

/* ---- random use against the dullest model ------------------------------------------------------ */

#define LIVE 200u
struct run { uint64_t frame, pages; bool imported; };

static uint64_t next_random(uint64_t *seed)
{
    *seed += 0x9e3779b97f4a7c15ull;
    uint64_t x = *seed;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static void run_drop(struct sysmem *s, struct run *r, uint64_t tag)
{
    if (r->pages == 0) return;
    if (r->imported) {
        sysmem_release(s, r->frame, r->pages);
    } else {
        for (uint64_t i = 0; i < r->pages; i += 1 + r->pages / 7)
            assert_int_equal(*(uint64_t *)sysmem_address(s, r->frame + i), tag);
        sysmem_free(s, r->frame, r->pages);
    }
    r->pages = 0;
}

static void run_take(struct sysmem *s, struct run *r, uint64_t tag, uint64_t chance)
{
    static char client[PAGE];
    static const uint64_t pages[] = { 1, 1, 1, 2, 3, 16, 17, 100, 513, 2048, 2049, 4097 };
    r->pages = pages[chance % 12];
    r->imported = (chance >> 8) % 4 == 0;
    if (r->imported) {
        char *host = client + (PAGE - (uintptr_t)client % PAGE) % PAGE;
        assert_int_equal(sysmem_import(s, host, r->pages, &r->frame), VIDMM_OK);
        return;
    }
    assert_int_equal(sysmem_alloc(s, r->pages, &r->frame), VIDMM_OK);
    for (uint64_t i = 0; i < r->pages; i += 1 + r->pages / 7) {
        uint64_t *p = sysmem_address(s, r->frame + i);
        assert_int_equal(*p, 0);
        *p = tag;
    }
}

struct user { struct sysmem *s; uint64_t seed, rounds; };

static void *use_at_random(void *arg)
{
    struct user *u = arg;
    struct run *live = calloc(LIVE, sizeof(*live));
    for (uint64_t i = 0; i < u->rounds; i++) {
        uint64_t r = next_random(&u->seed), at = r % LIVE;
        uint64_t tag = (uint64_t)(uintptr_t)u ^ at;
        if (live[at].pages != 0) run_drop(u->s, &live[at], tag);
        else run_take(u->s, &live[at], tag, r >> 20);
    }
    for (uint64_t at = 0; at < LIVE; at++) run_drop(u->s, &live[at], (uint64_t)(uintptr_t)u ^ at);
    free(live);
    return NULL;
}

/* Two owners of one frame would overwrite each other's tags. Two threads, so that locks matter. */
static void random_use_by_two_threads(void **state)
{
    (void)state;
    struct sysmem *s = sysmem_create(SYSMEM_FRAMES_MAX);
    struct user user[2];
    pthread_t thread;
    print_message("seed %llu\n", (unsigned long long)vt_seed());
    for (unsigned i = 0; i < 2; i++)
        user[i] = (struct user){ .s = s, .seed = vt_seed() + i, .rounds = vt_rounds(20000) };
    assert_int_equal(pthread_create(&thread, NULL, use_at_random, &user[1]), 0);
    use_at_random(&user[0]);
    pthread_join(thread, NULL);
    assert_int_equal(sysmem_usage(s).own, 0);
    assert_int_equal(sysmem_usage(s).imported, 0);
    sysmem_destroy(s);
}

static const struct vt_case cases[] = {
    VT_TEST(reused_memory_reads_zero, "", NULL),
    VT_TEST(runs_are_contiguous, "", NULL),
    VT_TEST(discard_reads_zero_and_gives_memory_back, "", NULL),
    VT_TEST(discard_of_locked_memory, "", NULL),
    VT_TEST(memory_the_client_took_away, "", NULL),
    VT_TEST(import_never_touches, "", NULL),
    VT_TEST(exhaustion_is_a_status, "", NULL),
    VT_TEST(table_sizes_are_checked, "", NULL),
    VT_TEST(random_use_by_two_threads, "", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "host_sysmem", cases, VT_COUNT(cases)); }
