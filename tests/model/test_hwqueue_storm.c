/* SPDX-License-Identifier: MIT */
/* test_hwqueue_storm.c - hardware queues and doorbells in random order, many seeds: devices whose memory does
 * not fit together, evicted and brought back behind the queues' backs, some of them lost on the way. The
 * model is dull on purpose: per queue a sum and a pattern, in the order in which entries were queued. */
#include "fixture.h"

#include <stdio.h>

#include "softgpu/ring.h"

enum { CLIENTS = 3, QUEUES = 3, RING = 2, OPS = 120, RING_ENTRIES = 256 }; /* queue RING has a doorbell */
#define BYTES MIB(6)                       /* two of them fit into the segment, three do not */
#define WORD(k) (64u * (k))
#define PATTERN(k) (MIB(1) * ((k) + 1u))
#define FILLED KIB(64)

struct player {
    struct client c;
    struct vidmm_open *memory;
    uint64_t va;
    struct vidmm_hwcontext *hc[QUEUES];
    struct vidmm_hwqueue *q[QUEUES];
    struct vidmm_fence *gate, *chain;
    struct vidmm_doorbell *door;
    struct softgpu_ring_entry *ring;
    struct softgpu_ring_control *control;
    uint64_t next[QUEUES], sum[QUEUES], gate_value, chain_value, ready; /* ready: paging value to wait for */
    uint32_t pattern[QUEUES];
    bool resident, doomed;
};

struct storm { struct fixture f; struct player p[CLIENTS]; uint64_t random; };

static uint64_t draw(struct storm *s, uint64_t below)
{
    uint64_t z = (s->random += 0x9e3779b97f4a7c15ull);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return (z ^ z >> 31) % below;
}

static void *shared_page(struct client *c, struct vidmm_open **op, uint64_t *va)
{
    void *cpu;
    *op = client_memory(c, 4 * PAGE, SET_SYSTEM, va);
    assert_int_equal(vidmm_open_lock(*op, &cpu), VIDMM_OK);
    return cpu;
}

static void player_open(struct storm *s, struct player *p)
{
    struct vidmm_doorbell_desc d = {.ring_entries = RING_ENTRIES};
    *p = (struct player){.resident = true};
    client_open(&p->c, &s->f, NULL);
    p->memory = client_memory(&p->c, BYTES, SET_64K, &p->va);
    for (uint32_t k = 0; k < QUEUES; k++) {
        struct vidmm_hwcontext_desc cd = {.node = k == 1 ? REF_NODE_COPY : REF_NODE_COMPUTE};
        struct vidmm_hwqueue_desc qd = {.flags = k == RING ? VIDMM_HWQUEUE_USER_SUBMISSION : 0};
        assert_int_equal(vidmm_hwcontext_create(p->c.device, &cd, &p->hc[k]), VIDMM_OK);
        assert_int_equal(vidmm_hwqueue_create(p->hc[k], &qd, &p->q[k]), VIDMM_OK);
    }
    assert_int_equal(vidmm_fence_create(p->c.device, 0, 0, &p->gate), VIDMM_OK);
    assert_int_equal(vidmm_fence_create(p->c.device, 0, 0, &p->chain), VIDMM_OK);
    p->ring = shared_page(&p->c, &d.ring, &d.ring_va);
    p->control = shared_page(&p->c, &d.control, &d.control_va);
    assert_int_equal(vidmm_doorbell_create(p->q[RING], &d, &p->door), VIDMM_OK);
    assert_int_equal(vidmm_doorbell_connect(p->door), VIDMM_OK);
}

static bool lives(const struct player *p)
{
    return vidmm_device_state(p->c.device) == VIDMM_DEVICE_ACTIVE;
}

/* By a call, or by two stores; a lost device takes nothing any more. */
static void submit(struct player *p, uint32_t k, uint64_t *words, uint32_t n)
{
    uint32_t bytes;
    if (k == RING && p->ready != 0) { /* rings wait by a command */
        uint64_t all[16];
        uint64_t at = vidmm_fence_gpu_address(vidmm_queue_fence(p->c.queue));
        uint32_t m = ref_emit_fence_wait(all, at, p->ready);
        memcpy(all + m, words, n * 8);
        memcpy(words, all, (n + m) * 8);
        n += m;
    }
    uint64_t va = client_commands(&p->c, words, n, &bytes), id = ++p->next[k];
    if (k != RING) {
        vidmm_status st = vidmm_hwqueue_submit(p->q[k], va, bytes, NULL, 0, id);
        assert_int_equal(st, lives(p) ? VIDMM_OK : VIDMM_DEVICE_LOST);
        return;
    }
    p->ring[(id - 1) % RING_ENTRIES] = (struct softgpu_ring_entry){va, bytes, id, 0};
    p->control->put = id;
    *vidmm_doorbell_address(p->door) = id;
    if (vidmm_doorbell_status(p->door) == VIDMM_DOORBELL_CONNECTED_NOTIFY)
        assert_int_equal(vidmm_doorbell_notify(p->door), VIDMM_OK);
}

static void work(struct storm *s, struct player *p)
{
    uint32_t k = (uint32_t)draw(s, QUEUES);
    uint64_t words[16], add = draw(s, 1000);
    if (!p->resident || !lives(p)) return;
    if (draw(s, 3) != 0) {
        submit(p, k, words, ref_emit_add64(words, p->va + WORD(k), add));
        p->sum[k] += add;
        return;
    }
    p->pattern[k] = (uint32_t)draw(s, UINT32_MAX);
    submit(p, k, words, ref_emit_fill(words, p->va + PATTERN(k), p->pattern[k], FILLED));
}

/* One queue waits for the other, or for the CPU, which signals later. */
static void order(struct storm *s, struct player *p)
{
    bool cpu = draw(s, 2) != 0;
    if (!lives(p)) return;
    uint64_t value = cpu ? ++p->gate_value : ++p->chain_value;
    if (!cpu) assert_int_equal(vidmm_hwqueue_signal(p->q[0], &p->chain, &value, 1), VIDMM_OK);
    assert_int_equal(vidmm_hwqueue_wait(p->q[1], cpu ? &p->gate : &p->chain, &value, 1), VIDMM_OK);
}

static void open_gate(struct player *p)
{
    if (lives(p) && vidmm_fence_value(p->gate) < p->gate_value)
        assert_int_equal(vidmm_fence_signal(p->gate, p->gate_value), VIDMM_OK);
}

/* The ring's work must be through before its memory may be given away: VidMm does not see it. */
static bool ring_is_empty(const struct player *p)
{
    return vidmm_fence_value(vidmm_hwqueue_progress(p->q[RING])) >= p->next[RING];
}

static void residency(struct player *p)
{
    uint64_t value = 0, trim;
    if (!lives(p) || (p->resident && !ring_is_empty(p))) return;
    if (p->resident) {
        assert_int_equal(vidmm_evict(p->c.device, &p->memory, 1, 0, &trim), VIDMM_OK);
        p->resident = false;
        return;
    }
    assert_true(vidmm_make_resident(p->c.queue, &p->memory, 1, 0, &value, &trim) >= 0);
    p->resident = true;
    if (value == 0) return;
    p->ready = value; /* nothing gates the queues but this */
    struct vidmm_fence *paging = vidmm_queue_fence(p->c.queue);
    for (uint32_t k = 0; k < RING; k++)
        assert_int_equal(vidmm_hwqueue_wait(p->q[k], &paging, &value, 1), VIDMM_OK);
}

static void doom(struct player *p)
{
    uint64_t words[16];
    if (!lives(p)) return;
    p->doomed = true;
    submit(p, 0, words, ref_emit_write64(words, 0x7000000000ull, 1));
}

static void op(struct storm *s, bool faults)
{
    struct player *p = &s->p[draw(s, CLIENTS)];
    switch (draw(s, 12)) {
    case 0: order(s, p); break;
    case 1: open_gate(p); break;
    case 2: residency(p); break;
    case 3:
        if (faults && p != &s->p[0] && draw(s, 20) == 0) doom(p);
        break;
    default: work(s, p); break;
    }
    for (uint64_t n = draw(s, 40); n > 0; n--) (void)world_turn(s->f.world);
}

static void check(struct player *p)
{
    if (!lives(p)) {
        assert_true(p->doomed);
        for (uint32_t k = 0; k < QUEUES; k++)
            assert_int_equal(vidmm_fence_value(vidmm_hwqueue_progress(p->q[k])), UINT64_MAX);
        return;
    }
    assert_false(p->doomed);
    for (uint32_t k = 0; k < QUEUES; k++)
        assert_int_equal(vidmm_fence_value(vidmm_hwqueue_progress(p->q[k])), p->next[k]);
    if (!p->resident) client_resident(&p->c, p->memory);
    for (uint32_t k = 0; k < QUEUES; k++) {
        assert_int_equal(gpu_read(&p->c, p->va + WORD(k)), (uint32_t)p->sum[k]);
        assert_int_equal(gpu_sum(&p->c, p->va + PATTERN(k), FILLED), sum_of_pattern(p->pattern[k], FILLED));
    }
}

static void run_seed(uint64_t seed, bool faults)
{
    struct storm s = {.random = seed};
    struct fx_options o;
    fx_options(&o, seed % 2 == 0 ? REF_FORMAT_A : REF_FORMAT_B);
    o.seed = seed;
    assert_int_equal(fx_open(&s.f, &o), VIDMM_OK);
    for (uint32_t i = 0; i < CLIENTS; i++) player_open(&s, &s.p[i]);
    for (uint32_t i = 0; i < OPS; i++) {
        op(&s, faults);
        if (i % 16 == 0) fx_verify(&s.f);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) open_gate(&s.p[i]);
    fx_settle(&s.f);
    for (uint32_t i = 0; i < CLIENTS; i++) check(&s.p[i]);
    fx_close(&s.f);
}

static void run_seeds(uint64_t n, bool faults)
{
    uint64_t first = vt_seed();
    for (uint64_t seed = first; seed < first + vt_rounds(n); seed++) {
        printf("seed %llu\n", (unsigned long long)seed);
        run_seed(seed, faults);
    }
}

static void queues_keep_their_content_under_pressure(void **state)
{
    (void)state;
    run_seeds(60, false);
}

static void lost_devices_leave_the_others_alone(void **state)
{
    (void)state;
    run_seeds(60, true);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(queues_keep_their_content_under_pressure, "SUB-04 SUB-26 SUB-30", NULL),
        VT_TEST(lost_devices_leave_the_others_alone, "SUB-04 SUB-28 SUB-31", NULL),
    };
    return vt_main(argc, argv, "model_hwqueue_storm", cases, VT_COUNT(cases));
}
