/* SPDX-License-Identifier: MIT */
/* test_doorbell.c - user-mode submission: rings that VidMm never reads and doorbells it hands out (rows
 * SUB-27 to SUB-31). The ring and its control page are the client's own allocations. */
#include "fixture.h"

#include "softgpu/ring.h"

#define RING_ENTRIES 64u

struct ums {
    struct client *c;
    struct vidmm_hwcontext *hc;
    struct vidmm_hwqueue *q;
    struct vidmm_doorbell *door;
    struct vidmm_open *ring, *control;
    struct softgpu_ring_entry *entries;
    struct softgpu_ring_control *shared;
    uint64_t ring_va, control_va, put;
};

static struct vidmm_open *page_of(struct client *c, uint64_t *va, void **cpu)
{
    struct vidmm_open *op = client_memory(c, PAGE, SET_SYSTEM, va);
    assert_int_equal(vidmm_open_lock(op, cpu), VIDMM_OK);
    return op;
}

static void ums_open(struct ums *u, struct client *c)
{
    struct vidmm_hwcontext_desc cd = {.node = REF_NODE_COMPUTE};
    struct vidmm_hwqueue_desc qd = {.flags = VIDMM_HWQUEUE_USER_SUBMISSION};
    void *cpu;
    *u = (struct ums){.c = c};
    assert_int_equal(vidmm_hwcontext_create(c->device, &cd, &u->hc), VIDMM_OK);
    assert_int_equal(vidmm_hwqueue_create(u->hc, &qd, &u->q), VIDMM_OK);
    u->ring = page_of(c, &u->ring_va, &cpu);
    u->entries = cpu;
    u->control = page_of(c, &u->control_va, &cpu);
    u->shared = cpu;
    struct vidmm_doorbell_desc d = {.ring = u->ring, .control = u->control, .ring_va = u->ring_va,
                                    .control_va = u->control_va, .ring_entries = RING_ENTRIES};
    assert_int_equal(vidmm_doorbell_create(u->q, &d, &u->door), VIDMM_OK);
}

static void ring(struct ums *u) { *vidmm_doorbell_address(u->door) = u->put; }

/* Writes commands and an entry for them; rings unless told not to. */
static void put(struct ums *u, const uint64_t *words, uint32_t n, bool rings)
{
    uint32_t bytes;
    uint64_t va = client_commands(u->c, words, n, &bytes);
    u->entries[u->put % RING_ENTRIES] = (struct softgpu_ring_entry){va, bytes, u->put + 1, 0};
    u->shared->put = ++u->put;
    if (rings) ring(u);
}

static uint64_t done(const struct ums *u) { return vidmm_fence_value(vidmm_hwqueue_progress(u->q)); }

static enum vidmm_doorbell_status status(const struct ums *u)
{
    assert_int_equal(vidmm_doorbell_status(u->door), *vidmm_doorbell_status_address(u->door));
    return vidmm_doorbell_status(u->door);
}

static void engine_only(struct fixture *f)
{
    uint32_t rest = 0;
    for (uint32_t i = 0; i < 100000 && rest < 4; i++)
        rest = softgpu_engine_step(f->gpu, REF_NODE_COMPUTE) == SOFTGPU_PROGRESS ? 0 : rest + 1;
}

/* ---- cases --------------------------------------------------------------------------------------- */

/* Work must reach the engine by two stores, without any call. */
static void doorbells_submit_without_a_call(void **state)
{
    struct fixture f;
    struct client c;
    struct ums u;
    struct world_accounts before, after;
    uint64_t va, words[REF_WORDS_MAX];
    (void)state;
    for (int format = REF_FORMAT_A; format <= REF_FORMAT_B; format++) {
        fx_open_format(&f, format);
        client_open(&c, &f, NULL);
        (void)client_memory(&c, KIB(64), SET_64K, &va);
        ums_open(&u, &c);
        assert_int_equal(vidmm_doorbell_connect(u.door), VIDMM_OK);
        fx_settle(&f);
        assert_int_equal(status(&u), VIDMM_DOORBELL_CONNECTED);
        world_get_accounts(f.world, &before);
        for (uint64_t i = 1; i <= 200; i++) {
            put(&u, words, ref_emit_add64(words, va, 3), true);
            if (i % 20 != 0) continue;
            engine_only(&f);
            assert_int_equal(done(&u), i);
            assert_int_equal(u.shared->get, i);
        }
        world_get_accounts(f.world, &after);
        assert_int_equal(after.runs, before.runs);
        assert_int_equal(f.tap.hw.commands, 0);
        assert_int_equal(gpu_read(&c, va), 600);
        fx_close(&f);
    }
}

static void user_queues_refuse_the_kernel_path(void **state)
{
    struct fixture f;
    struct client c;
    struct ums u;
    uint64_t words[REF_WORDS_MAX], one = 1;
    uint32_t bytes;
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    ums_open(&u, &c);
    fx_settle(&f);
    uint64_t va = client_commands(&c, words, ref_emit_spin(words, 1), &bytes), hash = vidmm_state_hash(f.ad);
    assert_int_equal(vidmm_hwqueue_submit(u.q, va, bytes, NULL, 0, 1), VIDMM_INVALID);
    assert_int_equal(vidmm_hwqueue_wait(u.q, &c.fence, &one, 1), VIDMM_INVALID);
    assert_int_equal(vidmm_hwqueue_signal(u.q, &c.fence, &one, 1), VIDMM_INVALID);
    struct vidmm_hwcontext_desc cd = {.node = REF_NODE_COPY}; /* has hardware queues, but no doorbells */
    struct vidmm_hwqueue_desc user = {.flags = VIDMM_HWQUEUE_USER_SUBMISSION}, plain = {.flags = 0};
    struct vidmm_hwcontext *hc;
    struct vidmm_hwqueue *q;
    struct vidmm_doorbell *door;
    assert_int_equal(vidmm_state_hash(f.ad), hash);
    assert_int_equal(vidmm_hwcontext_create(c.device, &cd, &hc), VIDMM_OK);
    assert_int_equal(vidmm_hwqueue_create(hc, &user, &q), VIDMM_NOT_SUPPORTED);
    assert_int_equal(vidmm_hwqueue_create(hc, &plain, &q), VIDMM_OK);
    struct vidmm_doorbell_desc d = {.ring = u.ring, .control = u.control, .ring_va = u.ring_va,
                                    .control_va = u.control_va, .ring_entries = RING_ENTRIES};
    assert_int_equal(vidmm_doorbell_create(q, &d, &door), VIDMM_INVALID);   /* not a user queue */
    assert_int_equal(vidmm_doorbell_create(u.q, &d, &door), VIDMM_INVALID); /* has one */
    fx_close(&f);
}

/* Created disconnected: what is written goes nowhere until it is connected and rung again. */
static void a_doorbell_starts_disconnected(void **state)
{
    struct fixture f;
    struct client c;
    struct ums u;
    uint64_t va, words[REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    (void)client_memory(&c, KIB(64), SET_64K, &va);
    ums_open(&u, &c);
    volatile uint64_t *address = vidmm_doorbell_address(u.door);
    assert_int_equal(status(&u), VIDMM_DOORBELL_DISCONNECTED_RETRY);
    put(&u, words, ref_emit_add64(words, va, 1), true);
    fx_settle(&f);
    assert_int_equal(done(&u), 0);
    assert_int_equal(vidmm_doorbell_connect(u.door), VIDMM_OK);
    fx_settle(&f);
    assert_int_equal(done(&u), 0); /* nobody listened when it was rung */
    put(&u, words, ref_emit_add64(words, va, 1), true);
    fx_settle(&f);
    assert_int_equal(done(&u), 2);
    assert_int_equal(vidmm_doorbell_disconnect(u.door), VIDMM_OK);
    assert_int_equal(status(&u), VIDMM_DOORBELL_DISCONNECTED_RETRY);
    assert_ptr_equal(vidmm_doorbell_address(u.door), address);
    put(&u, words, ref_emit_add64(words, va, 1), true);
    fx_settle(&f);
    assert_int_equal(done(&u), 2);
    assert_int_equal(vidmm_doorbell_connect(u.door), VIDMM_OK);
    *address = u.put + 1000; /* any change is a ring */
    fx_settle(&f);
    assert_int_equal(done(&u), 3);
    assert_int_equal(gpu_read(&c, va), 3);
    fx_close(&f);
}

/* As ring.h says it: connect, then write the same put once more. */
static void a_doorbell_rung_again_with_the_same_value_is_heard(void **state)
{
    struct fixture f;
    struct client c;
    struct ums u;
    uint64_t va, words[REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    (void)client_memory(&c, KIB(64), SET_64K, &va);
    ums_open(&u, &c);
    for (uint64_t i = 1; i <= 2; i++) {
        put(&u, words, ref_emit_add64(words, va, 1), true);
        assert_int_equal(status(&u), VIDMM_DOORBELL_DISCONNECTED_RETRY);
        assert_int_equal(vidmm_doorbell_connect(u.door), VIDMM_OK);
        ring(&u);
        fx_settle(&f);
        assert_int_equal(done(&u), i);
        assert_int_equal(vidmm_doorbell_disconnect(u.door), VIDMM_OK);
    }
    assert_int_equal(gpu_read(&c, va), 2);
    fx_close(&f);
}

/* The device has four physical doorbells: a fifth takes the one used longest ago. */
static void the_doorbell_used_longest_ago_is_the_victim(void **state)
{
    struct fixture f;
    struct client c[5];
    struct ums u[5];
    uint64_t va[5], words[REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    for (uint32_t i = 0; i < 5; i++) {
        client_open(&c[i], &f, NULL);
        (void)client_memory(&c[i], KIB(64), SET_64K, &va[i]);
        ums_open(&u[i], &c[i]);
    }
    for (uint32_t i = 0; i < 4; i++) assert_int_equal(vidmm_doorbell_connect(u[i].door), VIDMM_OK);
    assert_int_equal(vidmm_doorbell_connect(u[0].door), VIDMM_OK); /* used again: now 1 is the oldest */
    assert_int_equal(vidmm_doorbell_connect(u[4].door), VIDMM_OK);
    fx_settle(&f);
    assert_int_equal(status(&u[1]), VIDMM_DOORBELL_DISCONNECTED_RETRY);
    for (uint32_t i = 0; i < 5; i++) put(&u[i], words, ref_emit_add64(words, va[i], i + 1), true);
    fx_settle(&f);
    for (uint32_t i = 0; i < 5; i++) assert_int_equal(done(&u[i]), i != 1);
    assert_int_equal(vidmm_doorbell_connect(u[1].door), VIDMM_OK); /* as its status asks for */
    fx_settle(&f);
    assert_int_equal(status(&u[2]), VIDMM_DOORBELL_DISCONNECTED_RETRY);
    assert_int_equal(status(&u[1]), VIDMM_DOORBELL_CONNECTED);
    *vidmm_doorbell_address(u[1].door) = 77;
    fx_settle(&f);
    for (uint32_t i = 0; i < 5; i++) assert_int_equal(gpu_read(&c[i], va[i]), i + 1);
    fx_close(&f);
}

/* While memory is taken from the device, the doorbell stays connected and user mode goes on queueing. */
static void suspension_leaves_doorbells_connected(void **state)
{
    struct fixture f;
    struct client c, d;
    struct ums u;
    uint64_t va, other, words[REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    client_open(&d, &f, NULL);
    (void)client_memory(&c, MIB(10), SET_64K, &va);
    ums_open(&u, &c);
    assert_int_equal(vidmm_doorbell_connect(u.door), VIDMM_OK);
    put(&u, words, ref_emit_fill(words, va, 0x0a0a0a0a, MIB(10)), true);
    fx_settle(&f);
    assert_int_equal(done(&u), 1);
    for (uint32_t round = 0; round < 4; round++) {
        struct vidmm_open *big = client_memory(&d, MIB(10), SET_64K, &other); /* takes c's memory away */
        gpu_fill(&d, other, round, MIB(10));
        assert_int_equal(status(&u), VIDMM_DOORBELL_CONNECTED_NOTIFY);
        assert_int_equal(f.tap.hw.disconnects, 0);
        uint64_t before = done(&u);
        put(&u, words, ref_emit_add64(words, va, 1), true); /* into a suspended context */
        if (round % 2 == 0) assert_int_equal(vidmm_doorbell_notify(u.door), VIDMM_OK);
        else engine_only(&f); /* who does not look at the status is noticed too */
        client_wait(&c, vidmm_hwqueue_progress(u.q), before + 1);
        client_evict(&d, big);
        vidmm_open_close(big, 0);
        fx_settle(&f);
        assert_int_equal(status(&u), VIDMM_DOORBELL_CONNECTED);
        fx_verify(&f);
    }
    assert_int_equal(gpu_read(&c, va), 0x0a0a0a0a + 4);
    fx_close(&f);
}

static void rings_live_as_long_as_their_doorbell(void **state)
{
    struct fixture f;
    struct client c, d;
    struct ums u;
    uint64_t trim, sink, words[REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    client_open(&d, &f, NULL);
    ums_open(&u, &c);
    struct vidmm_doorbell *none;
    struct vidmm_open *cold = client_alloc(&c, &(struct fx_alloc){.bytes = PAGE});
    struct vidmm_doorbell_desc desc = {.ring = cold, .control = u.control, .ring_va = u.ring_va,
                                       .control_va = u.control_va, .ring_entries = RING_ENTRIES};
    struct vidmm_hwqueue_desc qd = {.flags = VIDMM_HWQUEUE_USER_SUBMISSION};
    struct vidmm_hwqueue *q;
    assert_int_equal(vidmm_hwqueue_create(u.hc, &qd, &q), VIDMM_OK);
    assert_int_equal(vidmm_doorbell_create(q, &desc, &none), VIDMM_INVALID); /* not resident */
    desc.ring = d.buffer;
    assert_int_equal(vidmm_doorbell_create(q, &desc, &none), VIDMM_INVALID); /* of another device */
    desc.ring = u.ring;
    desc.ring_entries = 3;
    assert_int_equal(vidmm_doorbell_create(q, &desc, &none), VIDMM_INVALID);
    assert_int_equal(vidmm_doorbell_connect(u.door), VIDMM_OK);
    client_evict(&c, u.ring); /* the client's own count; the doorbell's remains */
    assert_int_equal(vidmm_evict(c.device, &u.ring, 1, 0, &trim), VIDMM_INVALID);
    struct vidmm_placement_info p;
    vidmm_open_placement(u.ring, &p);
    assert_true(p.resident);
    vidmm_open_close(u.ring, VIDMM_DESTROY_ASSUME_NOT_IN_USE);
    vidmm_open_close(u.control, VIDMM_DESTROY_ASSUME_NOT_IN_USE);
    (void)client_memory(&c, KIB(64), SET_64K, &sink);
    fx_settle(&f);
    uint64_t live = vidmm_adapter_counters(f.ad)->allocs_live;
    /* Normal end: rung work is executed out of the ring although the doorbell is gone. */
    put(&u, words, ref_emit_add64(words, sink, 5), true);
    uint64_t fence = u.put;
    vidmm_doorbell_destroy(u.door);
    client_wait(&c, vidmm_hwqueue_progress(u.q), fence);
    assert_int_equal(gpu_read(&c, sink), 5);
    fx_settle(&f);
    assert_int_equal(vidmm_adapter_counters(f.ad)->allocs_live, live - 2);
    vidmm_hwqueue_destroy(u.q);
    fx_close(&f);
}

/* A lost device's doorbells say so at once, and nothing of it waits for a ring that nobody executes. */
static void lost_devices_abort_their_doorbells(void **state)
{
    struct fixture f;
    struct client c, d;
    struct ums u, v;
    uint64_t va, words[REF_WORDS_MAX];
    (void)state;
    for (uint32_t kill = 0; kill < 2; kill++) {
        fx_open_format(&f, REF_FORMAT_A);
        client_open(&c, &f, NULL);
        client_open(&d, &f, NULL);
        (void)client_memory(&d, KIB(64), SET_64K, &va);
        ums_open(&u, &c);
        ums_open(&v, &d);
        assert_int_equal(vidmm_doorbell_connect(u.door), VIDMM_OK);
        assert_int_equal(vidmm_doorbell_connect(v.door), VIDMM_OK);
        fx_settle(&f);
        put(&u, words, ref_emit_write64(words, 0x7000000000ull, 1), false);
        put(&u, words, ref_emit_spin(words, 1000), false);
        if (kill == 0) ring(&u);
        put(&v, words, ref_emit_add64(words, va, 1), true);
        if (kill != 0) {
            fx_forget(&f, c.process);
            vidmm_process_destroy(c.process); /* in the middle of it */
        }
        fx_settle(&f);
        if (kill == 0) {
            assert_int_equal(vidmm_device_state(c.device), VIDMM_DEVICE_PAGE_FAULT);
            assert_int_equal(status(&u), VIDMM_DOORBELL_DISCONNECTED_ABORT);
            assert_int_equal(done(&u), UINT64_MAX);
            assert_int_equal(vidmm_doorbell_connect(u.door), VIDMM_DEVICE_LOST);
            assert_int_equal(vidmm_doorbell_notify(u.door), VIDMM_DEVICE_LOST);
        }
        assert_int_equal(done(&v), 1);
        assert_int_equal(status(&v), VIDMM_DOORBELL_CONNECTED);
        put(&v, words, ref_emit_add64(words, va, 1), true);
        fx_settle(&f);
        assert_int_equal(gpu_read(&d, va), 2);
        fx_close(&f);
    }
}

/* Ring memory that the client unmaps under the device faults, and costs nobody but that client. */
static void a_bad_ring_ends_its_owner_only(void **state)
{
    struct fixture f;
    struct client c;
    struct ums u;
    uint64_t words[REF_WORDS_MAX];
    (void)state;
    fx_open_format(&f, REF_FORMAT_A);
    client_open(&c, &f, NULL);
    ums_open(&u, &c);
    assert_int_equal(vidmm_doorbell_connect(u.door), VIDMM_OK);
    fx_settle(&f);
    assert_int_equal(vidmm_va_free(c.process, u.ring_va, PAGE), VIDMM_OK);
    fx_settle(&f);
    put(&u, words, ref_emit_spin(words, 1), true);
    fx_settle(&f);
    assert_int_equal(vidmm_device_state(c.device), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(status(&u), VIDMM_DOORBELL_DISCONNECTED_ABORT);
    fx_close(&f);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(doorbells_submit_without_a_call, "SUB-04 SUB-29", NULL),
        VT_TEST(user_queues_refuse_the_kernel_path, "SUB-27", NULL),
        VT_TEST(a_doorbell_starts_disconnected, "SUB-28 SUB-29", NULL),
        VT_TEST(a_doorbell_rung_again_with_the_same_value_is_heard, "SUB-28", NULL),
        VT_TEST(the_doorbell_used_longest_ago_is_the_victim, "SUB-29", NULL),
        VT_TEST(suspension_leaves_doorbells_connected, "SUB-30 SUB-29", NULL),
        VT_TEST(rings_live_as_long_as_their_doorbell, "SUB-28 SUB-31", NULL),
        VT_TEST(lost_devices_abort_their_doorbells, "SUB-29 SUB-31 SUB-28", NULL),
        VT_TEST(a_bad_ring_ends_its_owner_only, "SUB-28", NULL),
    };
    return vt_main(argc, argv, "model_doorbell", cases, VT_COUNT(cases));
}
