/* SPDX-License-Identifier: MIT */
/* iommu_scene.c — see iommu_scene.h: lists, tiles, and both models on one node. The storm is in
 * iommu_storm.c. */
#define _GNU_SOURCE
#include "iommu_scene.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "iommu_client.h"

enum { PAGE = 4096, NODES = 5000, FAR_PAGES = 300, STEP = 1000 };

static bool fail(struct iommu_result *r, const char *what)
{
    if (r->wrong == NULL) r->wrong = what;
    return false;
}

static bool run(struct client *c, uint32_t words, struct iommu_result *r)
{
    struct vidmm_page_fault fault;
    if (!client_submit(c, words) || !client_wait(c, &fault)) return fail(r, "a packet did not get through");
    return true;
}

/* ---- lists ------------------------------------------------------------------------------------- */

static uint64_t address(const void *p) { return (uint64_t)(uintptr_t)p; }

/* The GPU adds STEP to every node from `head` on; `sum` is that of their values. */
static bool walk(struct client *c, const void *head, uint64_t nodes, uint64_t sum, struct iommu_result *r)
{
    volatile uint64_t *totals = malloc(2 * sizeof *totals);
    if (totals == NULL) return fail(r, "no memory");
    totals[0] = totals[1] = 0;
    uint64_t at = address((const void *)(uintptr_t)totals);
    bool ok = run(c, ref_emit_walk_list(c->commands, address(head), STEP, at, (uint32_t)nodes), r);
    if (ok && (totals[0] != nodes || totals[1] != sum)) ok = fail(r, "the GPU found another list");
    free((void *)(uintptr_t)totals);
    r->nodes += nodes;
    return ok;
}

static void free_list(struct ref_list_node *n)
{
    while (n != NULL) {
        struct ref_list_node *next = (struct ref_list_node *)(uintptr_t)n->next;
        free(n);
        n = next;
    }
}

/* Built by the CPU in malloc's memory, walked and changed by the GPU, and read by the CPU again. */
static bool malloc_list(struct client *c, struct iommu_result *r)
{
    struct ref_list_node *head = NULL;
    uint64_t sum = 0, i;
    for (i = 0; i < NODES; i++) {
        struct ref_list_node *n = malloc(sizeof *n + i % 7 * 40);
        if (n == NULL) break;
        *n = (struct ref_list_node){address(head), i * i};
        sum += i * i;
        head = n;
    }
    bool ok = i == NODES ? walk(c, head, NODES, sum, r) : fail(r, "no memory for a list");
    for (struct ref_list_node *n = head; ok && n != NULL; n = (struct ref_list_node *)(uintptr_t)n->next) {
        i--;
        if (n->value != i * i + STEP) ok = fail(r, "a node of malloc's has another value");
        r->words++;
    }
    free_list(head);
    return ok;
}

/* A node in each of many pages of a file that was mapped and never looked at, the last one in a page of
 * zeros. */
static bool write_nodes(int fd, const uint8_t *base, const uint8_t *zeros, uint64_t *sum)
{
    *sum = 0;
    for (uint64_t i = 0; i < FAR_PAGES; i++) {
        const uint8_t *next = i + 1 < FAR_PAGES ? base + (i + 1) * PAGE + (i + 1) * 8 % PAGE : zeros;
        struct ref_list_node n = {address(next), i + 7};
        *sum += n.value;
        if (pwrite(fd, &n, sizeof n, (off_t)(i * PAGE + i * 8 % PAGE)) != (ssize_t)sizeof n) return false;
    }
    return true;
}

static uint64_t faults_so_far(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? (uint64_t)u.ru_minflt + (uint64_t)u.ru_majflt : 0;
}

static bool check_far(const uint8_t *base, const uint8_t *zeros, struct iommu_result *r)
{
    struct ref_list_node n;
    for (uint64_t i = 0; i < FAR_PAGES; i++) {
        memcpy(&n, base + i * PAGE + i * 8 % PAGE, sizeof n);
        if (n.value != i + 7 + STEP) return fail(r, "a node in an untouched page has another value");
        r->words++;
    }
    memcpy(&n, zeros, sizeof n);
    return n.value == STEP && n.next == 0 ? true : fail(r, "the page of zeros was not changed");
}

static bool far_list(struct client *c, struct iommu_result *r)
{
    uint64_t sum, bytes = (FAR_PAGES + 1) * PAGE;
    int fd = memfd_create("list", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0) return fail(r, "no file for a list");
    uint8_t *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    uint8_t *zeros = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool ok = base != MAP_FAILED && zeros != MAP_FAILED && write_nodes(fd, base, zeros, &sum);
    if (!ok) return fail(r, "no pages for a list");
    (void)madvise(base, bytes, MADV_RANDOM); /* no fault-around: each page comes by itself */
    uint64_t before = faults_so_far();
    ok = walk(c, base, FAR_PAGES + 1, sum, r);
    r->brought += faults_so_far() - before;
    if (ok && r->brought < FAR_PAGES) ok = fail(r, "the pages were there before");
    ok = ok && check_far(base, zeros, r);
    (void)munmap(base, bytes);
    (void)munmap(zeros, PAGE);
    (void)close(fd);
    return ok;
}

typedef bool part(struct client *, struct iommu_result *);

static void with_client(const char *break_row, struct iommu_result *r, part *first, part *second)
{
    struct machine m;
    struct client c;
    if (!machine_open(&m, false, break_row)) {
        (void)fail(r, "no adapter");
        return;
    }
    struct vidmm_process *p = machine_process(&m);
    bool ok = p != NULL && client_open(&c, &m, p, REF_NODE_COMPUTE, true);
    if (!ok) (void)fail(r, "no device");
    ok = ok && first(&c, r);
    if (ok && second != NULL) (void)second(&c, r);
    if (p != NULL) machine_process_end(&m, p);
    if (!machine_close(&m)) (void)fail(r, "the adapter did not become idle");
}

void iommu_lists(const char *break_row, struct iommu_result *r)
{
    with_client(break_row, r, malloc_list, far_list);
}

/* ---- tiles ------------------------------------------------------------------------------------- */

/* A texture of which a pool holds a part; where a tile is, is in a table of pointers that only this program
 * knows: its drawing commands name the addresses. */
enum { TILE = 4096, SIDE = 32, POOL = 64, DRAWS = 40 };

struct texture { uint8_t *pool, *shown; uint8_t *table[SIDE * SIDE]; uint32_t holds[POOL], next; };

static bool bring(struct client *c, struct texture *t, uint32_t tile, struct iommu_result *r)
{
    uint32_t at = t->next++ % POOL, old = t->holds[at];
    if (old != UINT32_MAX) t->table[old] = NULL;
    t->holds[at] = tile;
    t->table[tile] = t->pool + (size_t)at * TILE;
    return run(c, ref_emit_fill(c->commands, address(t->table[tile]), 0x7e000000u + tile, TILE), r);
}

static bool draw(struct client *c, struct texture *t, uint32_t n, struct iommu_result *r)
{
    uint32_t words = 0, seen[16];
    for (uint32_t i = 0; i < 16; i++) {
        seen[i] = (n * 37 + i / 4 * SIDE + i % 4) % (SIDE * SIDE);
        if (t->table[seen[i]] == NULL && !bring(c, t, seen[i], r)) return false;
    }
    for (uint32_t i = 0; i < 16; i++)
        words += ref_emit_copy(c->commands + words, address(t->shown + (size_t)i * TILE),
                               address(t->table[seen[i]]), TILE);
    if (!run(c, words, r)) return false;
    for (uint32_t i = 0; i < 16; i++) {
        for (uint32_t k = 0; k < TILE; k += 4) {
            uint32_t word;
            memcpy(&word, t->shown + (size_t)i * TILE + k, 4);
            if (word != 0x7e000000u + seen[i]) return fail(r, "a tile shows another tile's bytes");
        }
        r->tiles++;
    }
    return true;
}

static bool draw_tiles(struct client *c, struct iommu_result *r)
{
    struct texture t = {.pool = malloc((size_t)POOL * TILE), .shown = malloc(16u * TILE)};
    memset(t.holds, 0xff, sizeof t.holds);
    bool ok = t.pool != NULL && t.shown != NULL;
    if (!ok) (void)fail(r, "no memory for a texture");
    for (uint32_t n = 0; ok && n < DRAWS; n++) ok = draw(c, &t, n, r);
    free(t.pool);
    free(t.shown);
    return ok;
}

void iommu_tiles(const char *break_row, struct iommu_result *r)
{
    with_client(break_row, r, draw_tiles, NULL);
}

/* ---- both models ------------------------------------------------------------------------------- */

static bool check_fill(const uint32_t *at, uint32_t pattern, struct iommu_result *r)
{
    for (uint32_t i = 0; i < CLIENT_RESULT / 4; i++)
        if (at[i] != pattern) return fail(r, "bytes of one process are not what it wrote");
    r->words += CLIENT_RESULT / 4;
    return true;
}

/* Each client fills its own memory: the one by a GPU address, the other by a pointer of malloc's. */
static bool take_turns(struct client *g, struct client *s, uint32_t *heap, struct iommu_result *r)
{
    struct vidmm_page_fault fault;
    for (uint32_t i = 1; i <= 50; i++) {
        uint32_t a = ref_emit_fill(g->commands, g->commands_va + CLIENT_RESULT, i, CLIENT_RESULT);
        uint32_t b = ref_emit_fill(s->commands, address(heap), ~i, CLIENT_RESULT);
        bool both = client_submit(g, a) && client_submit(s, b);
        both = both && client_wait(g, &fault) && client_wait(s, &fault);
        if (!both) return fail(r, "a packet did not get through");
        const void *theirs = g->commands + CLIENT_RESULT / 8;
        if (!check_fill(theirs, i, r) || !check_fill(heap, ~i, r)) return false;
        r->packets += 2;
    }
    return true;
}

void iommu_both(const char *break_row, struct iommu_result *r)
{
    struct machine m;
    struct client g, s;
    uint32_t *heap = malloc(CLIENT_RESULT);
    if (heap == NULL || !machine_open(&m, true, break_row)) {
        (void)fail(r, "no adapter with both models");
        free(heap);
        return;
    }
    struct vidmm_process *p = machine_process(&m), *q = machine_process(&m);
    bool ok = p != NULL && q != NULL && client_open(&g, &m, p, REF_NODE_COMPUTE, false) &&
              client_open(&s, &m, q, REF_NODE_COMPUTE, true);
    if (ok) (void)take_turns(&g, &s, heap, r);
    else (void)fail(r, "no device");
    if (p != NULL) machine_process_end(&m, p);
    if (q != NULL) machine_process_end(&m, q);
    if (!machine_close(&m)) (void)fail(r, "the adapter did not become idle");
    free(heap);
}
