/* SPDX-License-Identifier: MIT */
/* test_storm.c - a hundred processes on one adapter in the simulated world, a third of them faulting, hanging
 * or being killed by chance. With engines that can be reset nobody else may notice; with engines that cannot,
 * everybody is told and the next ones work. The same seed must tell the same story.
 * Owns: the adapter, the clients. Calls: the public API, sim/world, ref. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vidmm/vidmm.h>

#include "sim/world.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"
#include "softgpu/ref/ref_commands.h"
#include "vt.h"

#define CLIENTS 100u
#define PAGE VIDMM_PAGE_SIZE
#define PAGES 16u                 /* that a client writes; one more holds its counter */
#define SLOTS 16u
#define SLOT_BYTES 512u
#define RESULT (16u * 1024u)      /* where the command buffer takes what is read back */
#define CMD_BYTES (128u * 1024u)
#define DATA_BYTES (512u * 1024u)
#define PENDING_MOST 6u

enum role { INNOCENT, FAULTER, HANGER, MORTAL };

struct client {
    enum role role;
    bool bad;                     /* it has submitted what must end it */
    struct vidmm_process *process;
    struct vidmm_device *device;
    struct vidmm_queue *queue;
    struct vidmm_context *context;
    struct vidmm_fence *fence;    /* nobody ever signals it */
    struct vidmm_open *cmd, *data;
    uint64_t cmd_va, data_va, submitted;
    uint8_t *cpu;
    uint32_t slot, pattern[PAGES];
};

struct storm {
    struct world *world;
    struct ref_kmd *ref;
    struct vidmm_adapter *ad;
    struct client client[CLIENTS];
    uint64_t submissions, told_fault, told_hang, killed, told_reset;
};

/* ---- world ------------------------------------------------------------------------------------- */

static bool step_node(struct storm *s, uint32_t n)
{
    return softgpu_engine_step(ref_gpu(s->ref), n) == SOFTGPU_PROGRESS;
}
static bool step_compute(void *s) { return step_node(s, REF_NODE_COMPUTE); }
static bool step_copy(void *s) { return step_node(s, REF_NODE_COPY); }
static bool step_paging(void *s) { return step_node(s, REF_NODE_PAGING); }
static uint64_t gpu_wake(void *s) { return softgpu_wakeup_ns(ref_gpu(((struct storm *)s)->ref)); }

static void storm_open(struct storm *s, uint64_t seed)
{
    struct world_options wo = {.seed = seed, .frames = 65536};
    struct ref_options ro;
    const char *why = NULL;
    memset(s, 0, sizeof(*s));
    s->world = world_create(&wo);
    assert_non_null(s->world);
    ref_options_default(&ro, seed % 2 == 0 ? REF_FORMAT_A : REF_FORMAT_B);
    ro.segment[0].bytes = 16u << 20; /* a third of what the clients want resident */
    ro.seed = seed;
    ro.now_ns = world_now_ns;
    ro.now_ctx = s->world;
    assert_int_equal(ref_create(&ro, &s->ref), VIDMM_OK);
    struct vidmm_adapter_config c = {.struct_size = sizeof(c), .platform = world_platform(s->world),
                                     .ops = ref_ops(), .kmd = s->ref, .break_row = vt_break(),
                                     .tdr_delay_ns = 3000000, .slice_ns = 200000,
                                     .tdr_limit_count = VIDMM_TDR_NO_LIMIT};
    if (vidmm_adapter_create(&c, &s->ad, &why) != VIDMM_OK) fail_msg("no adapter: %s", why);
    world_own(s->world, s->ad);
    world_add_actor(s->world, &(struct world_actor){step_compute, gpu_wake, s});
    world_add_actor(s->world, &(struct world_actor){step_copy, NULL, s});
    world_add_actor(s->world, &(struct world_actor){step_paging, NULL, s});
}

static void verify(struct storm *s)
{
    const char *what = "";
    struct softgpu_detector d;
    int number = vidmm_verify(s->ad, &what);
    if (number != 0) fail_msg("invariant %d: %s", number, what);
    softgpu_get_detector(ref_gpu(s->ref), &d);
    assert_int_equal(d.violations, 0);
}

static void rest(struct storm *s)
{
    if (!world_settle(s->world, 4000000)) fail_msg("no rest: something hangs");
}

/* ---- clients ----------------------------------------------------------------------------------- */

static struct vidmm_open *memory(struct client *c, uint64_t bytes, uint32_t set, uint32_t preferred,
                                 uint64_t *va)
{
    struct ref_alloc_private in = {.magic = REF_ALLOC_MAGIC, .bytes = bytes, .supported = set,
                                   .preferred = preferred};
    struct vidmm_alloc_desc desc = {.private_data = &in, .private_size = sizeof(in)};
    struct vidmm_open *op;
    uint64_t value, trim;
    assert_int_equal(vidmm_alloc_create(c->device, &desc, &op), VIDMM_OK);
    struct vidmm_map map = {.open = op, .bytes = vidmm_open_bytes(op),
                            .protection = VIDMM_PROT_WRITE | VIDMM_PROT_EXECUTE};
    assert_true(vidmm_va_map(c->queue, &map, va, &value) >= 0);
    assert_true(vidmm_make_resident(c->queue, &op, 1, VIDMM_RESIDENT_CANT_TRIM_FURTHER, &value, &trim) >= 0);
    return op;
}

static bool mapped(void *arg)
{
    const struct client *c = arg;
    return vidmm_fence_value(vidmm_queue_fence(c->queue)) >= vidmm_queue_issued(c->queue);
}

static void client_open(struct storm *s, struct client *c, enum role role)
{
    uint32_t node = world_below(s->world, 3) == 0 ? REF_NODE_COPY : REF_NODE_COMPUTE;
    struct vidmm_context_desc desc = {.node = node};
    void *cpu;
    *c = (struct client){.role = role};
    assert_int_equal(vidmm_process_create(s->ad, &c->process), VIDMM_OK);
    assert_int_equal(vidmm_device_create(c->process, &c->device), VIDMM_OK);
    assert_int_equal(vidmm_queue_create(c->device, 0, &c->queue), VIDMM_OK);
    assert_int_equal(vidmm_context_create(c->device, &desc, &c->context), VIDMM_OK);
    assert_int_equal(vidmm_context_set_priority(c->context, (int32_t)world_below(s->world, 3) - 1), VIDMM_OK);
    assert_int_equal(vidmm_fence_create(c->device, 0, 0, &c->fence), VIDMM_OK);
    c->cmd = memory(c, CMD_BYTES, 4, 0, &c->cmd_va);
    assert_int_equal(vidmm_open_lock(c->cmd, &cpu), VIDMM_OK);
    c->cpu = cpu;
    /* What can only be in video memory does not fit for all: devices stop and take turns. */
    bool only = world_below(s->world, 2) == 0;
    c->data = memory(c, DATA_BYTES, only ? 1 : 1 | 4, 1, &c->data_va);
    memset(c->pattern, 0, sizeof(c->pattern));
}

static void client_close(struct client *c)
{
    vidmm_process_destroy(c->process);
    c->process = NULL;
}

static void submit(struct storm *s, struct client *c, const uint64_t *words, uint32_t n)
{
    uint64_t at = c->slot++ % SLOTS * SLOT_BYTES;
    memcpy(c->cpu + at, words, n * 8);
    assert_int_equal(vidmm_context_submit(c->context, c->cmd_va + at, n * 8, NULL, 0, 0), VIDMM_OK);
    s->submissions++;
    world_trace(s->world, s->submissions * CLIENTS + (uint64_t)(c - s->client));
}

/* Counts, and writes a page: lost or done twice, the counter shows it; out of order, the page does. */
static void good_packet(struct storm *s, struct client *c)
{
    uint64_t words[16];
    uint32_t page = (uint32_t)world_below(s->world, PAGES);
    c->pattern[page] = (uint32_t)world_random(s->world) | 1;
    c->submitted++;
    uint32_t n = ref_emit_add64(words, c->data_va + PAGES * PAGE, 1);
    n += ref_emit_fill(words + n, c->data_va + page * PAGE, c->pattern[page], PAGE);
    submit(s, c, words, n);
}

static void bad_packet(struct storm *s, struct client *c)
{
    uint64_t words[16];
    uint32_t n = ref_emit_add64(words, c->data_va + PAGES * PAGE, 1);
    c->bad = true;
    if (c->role == FAULTER) n += ref_emit_write64(words + n, 0x7000000000ull, 1);
    else if (world_below(s->world, 2) == 0) n += ref_emit_hang(words + n);
    else n += ref_emit_fence_wait(words + n, vidmm_fence_gpu_address(c->fence), 1); /* nobody signals it */
    submit(s, c, words, n);
}

/* Everything it ever wrote is there, once. */
static void compare(struct storm *s, struct client *c)
{
    uint64_t words[16], count;
    uint32_t n = ref_emit_copy(words, c->cmd_va + RESULT, c->data_va, (PAGES + 1) * PAGE);
    assert_int_equal(vidmm_device_state(c->device), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(vidmm_context_pending(c->context), 0);
    submit(s, c, words, n);
    rest(s);
    assert_int_equal(vidmm_context_pending(c->context), 0);
    memcpy(&count, c->cpu + RESULT + PAGES * PAGE, 8);
    assert_int_equal(count, c->submitted);
    for (uint32_t i = 0; i < PAGES; i++)
        for (uint32_t k = 0; k < PAGE; k += 4) {
            uint32_t word;
            memcpy(&word, c->cpu + RESULT + i * PAGE + k, 4);
            if (word != c->pattern[i]) fail_msg("page %u holds %x, expected %x", i, word, c->pattern[i]);
        }
}

/* ---- storm A ----------------------------------------------------------------------------------- */

static void replace(struct storm *s, struct client *c)
{
    enum role role = c->role;
    client_close(c);
    client_open(s, c, role);
}

/* Whoever ended, ended for a reason and as it must. */
static void look(struct storm *s, struct client *c)
{
    enum vidmm_device_state state = vidmm_device_state(c->device);
    if (state == VIDMM_DEVICE_ACTIVE) return;
    if (!c->bad) fail_msg("an innocent device is in state %d", state);
    assert_int_equal(state, c->role == FAULTER ? VIDMM_DEVICE_PAGE_FAULT : VIDMM_DEVICE_HUNG);
    assert_int_equal(vidmm_fence_value(c->fence), UINT64_MAX);
    assert_int_equal(vidmm_context_submit(c->context, c->cmd_va, 8, NULL, 0, 0), VIDMM_DEVICE_LOST);
    if (c->role == FAULTER) s->told_fault++;
    else s->told_hang++;
    replace(s, c);
}

static void act(struct storm *s)
{
    struct client *c = &s->client[world_below(s->world, CLIENTS)];
    look(s, c);
    if (c->bad || !mapped(c) || vidmm_context_pending(c->context) >= PENDING_MOST) return;
    bool turns = c->role != INNOCENT && world_below(s->world, 20) == 0;
    if (turns && c->role == MORTAL) {
        s->killed++;
        replace(s, c);
    } else if (turns) {
        bad_packet(s, c);
    } else {
        good_packet(s, c);
    }
}

static void storm_close(struct storm *s)
{
    struct world_accounts a;
    for (uint32_t i = 0; i < CLIENTS; i++)
        if (s->client[i].process != NULL) client_close(&s->client[i]);
    rest(s);
    assert_true(vidmm_adapter_idle(s->ad));
    vidmm_adapter_destroy(s->ad);
    world_own(s->world, NULL);
    world_get_accounts(s->world, &a);
    assert_int_equal(a.blocks + a.bytes + a.frames + a.imported + a.errors, 0);
    ref_destroy(s->ref);
    world_destroy(s->world);
}

static uint64_t storm_a(uint64_t seed, uint64_t submissions)
{
    struct storm *s = malloc(sizeof(*s));
    assert_non_null(s);
    storm_open(s, seed);
    for (uint32_t i = 0; i < CLIENTS; i++)
        client_open(s, &s->client[i], i % 3 == 0 ? (enum role)(1 + i / 3 % 3) : INNOCENT);
    while (s->submissions < submissions) {
        act(s);
        for (uint64_t n = world_below(s->world, 12); n > 0; n--) (void)world_turn(s->world);
        if (s->submissions % 1000 == 0) verify(s);
    }
    rest(s);
    verify(s);
    for (uint32_t i = 0; i < CLIENTS; i++) look(s, &s->client[i]);
    rest(s);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        if (s->client[i].bad) fail_msg("client %u was to be told and was not", i);
        compare(s, &s->client[i]);
    }
    verify(s);
    const struct vidmm_counters *n = vidmm_adapter_counters(s->ad);
    assert_int_equal(n->adapter_resets, 0);
    printf("seed %llu: %llu submissions, %llu faults and %llu hangs told, %llu killed; %llu engine resets, "
           "%llu preemptions, %llu page-outs, %llu page-ins\n", (unsigned long long)seed,
           (unsigned long long)s->submissions, (unsigned long long)s->told_fault,
           (unsigned long long)s->told_hang, (unsigned long long)s->killed,
           (unsigned long long)n->engine_resets, (unsigned long long)n->preemptions,
           (unsigned long long)n->page_outs, (unsigned long long)n->page_ins);
    if (submissions >= 10000) assert_true(s->told_fault > 10 && s->told_hang > 10 && s->killed > 10);
    world_trace(s->world, s->told_fault << 32 ^ s->told_hang << 16 ^ s->killed);
    uint64_t story = world_trace_hash(s->world);
    storm_close(s);
    free(s);
    return story;
}

static void innocents_lose_nothing(void **state)
{
    (void)state;
    uint64_t seed = vt_seed(), n = vt_rounds(10000);
    uint64_t a = storm_a(seed, n), b = storm_a(seed + 1, n);
    assert_true(a != b);
    assert_true(storm_a(seed, n) == a); /* the same seed, the same story */
}

/* ---- storm B ----------------------------------------------------------------------------------- */

static void set_fail_reset(struct storm *s)
{
    struct softgpu_knobs k;
    softgpu_get_knobs(ref_gpu(s->ref), &k);
    k.fail_reset = true;
    softgpu_set_knobs(ref_gpu(s->ref), &k);
}

/* Everybody is told: the culprit what it did, the others that they were reset. */
static void all_are_told(struct storm *s, const struct client *culprit)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct client *c = &s->client[i];
        enum vidmm_device_state state = vidmm_device_state(c->device), blame = VIDMM_DEVICE_RESET;
        if (c == culprit) blame = c->role == FAULTER ? VIDMM_DEVICE_PAGE_FAULT : VIDMM_DEVICE_HUNG;
        if (state != blame) fail_msg("client %u is in state %d, not %d", i, state, blame);
        assert_int_equal(vidmm_fence_value(c->fence), UINT64_MAX);
        s->told_reset += c != culprit;
    }
}

static bool reset_seen(void *arg)
{
    const struct client *c = arg;
    return vidmm_device_state(c->device) != VIDMM_DEVICE_ACTIVE;
}

static void storm_b_round(struct storm *s)
{
    struct client *culprit = &s->client[world_below(s->world, CLIENTS)];
    for (uint32_t i = 0; i < 150; i++) {
        struct client *c = &s->client[world_below(s->world, CLIENTS)];
        if (mapped(c) && vidmm_context_pending(c->context) < PENDING_MOST) good_packet(s, c);
        for (uint64_t n = world_below(s->world, 12); n > 0; n--) (void)world_turn(s->world);
    }
    culprit->role = world_below(s->world, 2) == 0 ? FAULTER : HANGER;
    while (vidmm_context_pending(culprit->context) >= PENDING_MOST) (void)world_turn(s->world);
    uint64_t words[4];
    bool faults = culprit->role == FAULTER;
    uint32_t n = faults ? ref_emit_write64(words, 0x7000000000ull, 1) : ref_emit_hang(words);
    submit(s, culprit, words, n);
    if (!world_until(s->world, 4000000, reset_seen, culprit)) fail_msg("the culprit is never told");
    all_are_told(s, culprit);
    verify(s);
    for (uint32_t i = 0; i < CLIENTS; i++) replace(s, &s->client[i]);
}

static void everybody_is_told_and_the_next_ones_work(void **state)
{
    (void)state;
    struct storm *s = malloc(sizeof(*s));
    uint64_t rounds = vt_rounds(20);
    assert_non_null(s);
    storm_open(s, vt_seed() + 7);
    set_fail_reset(s);
    for (uint32_t i = 0; i < CLIENTS; i++) client_open(s, &s->client[i], INNOCENT);
    for (uint64_t i = 0; i < rounds; i++) storm_b_round(s);
    assert_int_equal(vidmm_adapter_counters(s->ad)->adapter_resets, rounds);
    for (uint32_t i = 0; i < CLIENTS; i++) good_packet(s, &s->client[i]);
    rest(s);
    for (uint32_t i = 0; i < CLIENTS; i++) compare(s, &s->client[i]);
    printf("%llu adapter resets, %llu devices told of them\n", (unsigned long long)rounds,
           (unsigned long long)s->told_reset);
    storm_close(s);
    free(s);
}

static const struct vt_case cases[] = {
    VT_TEST(innocents_lose_nothing, "FLT-11 FLT-23 SUB-34", NULL),
    VT_TEST(everybody_is_told_and_the_next_ones_work, "FLT-03 FLT-17 FLT-18", "FLT-03"),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "storm", cases, VT_COUNT(cases)); }
