/* SPDX-License-Identifier: MIT */
/* test_core_sync.c - mutexes, semaphores and mixed arrays in the queues of contexts, signals of several
 * contexts, and what a loss or a destruction in the middle does to those who wait. */
#include "core/core.h"

#include "core_fixture.h"

struct scene {
    struct fx f;
    struct peer p[4]; /* devices of the fixture's process, each with a context */
};

static void scene_open(struct scene *s)
{
    fx_open(&s->f, REF_FORMAT_A);
    for (int i = 0; i < 4; i++) s->p[i] = fx_peer(s->f.p);
}

static struct vidmm_sync *make(struct vidmm_device *d, uint32_t kind, uint32_t initial, uint32_t max)
{
    const struct vidmm_sync_desc desc = {kind, initial, max};
    struct vidmm_sync *sync = NULL;
    assert_int_equal(vidmm_sync_create(d, &desc, &sync), VIDMM_OK);
    return sync;
}

static struct vidmm_sync *mutex(struct vidmm_device *d) { return make(d, VIDMM_SYNC_MUTEX, 1, 0); }

static struct vidmm_fence *fence(struct vidmm_device *d)
{
    struct vidmm_fence *f;
    assert_int_equal(vidmm_fence_create(d, 0, 0, &f), VIDMM_OK);
    return f;
}

#define SYNC(s_) ((struct vidmm_point){.sync = (s_)})
#define FENCE(f_, v_) ((struct vidmm_point){.fence = (f_), .value = (v_)})

static void wait_n(struct vidmm_context *c, const struct vidmm_point *p, uint32_t n)
{
    assert_int_equal(vidmm_context_wait_for(c, p, n), VIDMM_OK);
}
static void wait_1(struct vidmm_context *c, struct vidmm_sync *s) { wait_n(c, &SYNC(s), 1); }

static vidmm_status signal_flags(struct vidmm_context *c, struct vidmm_point p, uint32_t flags)
{
    return vidmm_contexts_signal(&(struct vidmm_signal){&c, 1, &p, 1, flags});
}
static void give(struct vidmm_context *c, struct vidmm_sync *s)
{
    assert_int_equal(signal_flags(c, SYNC(s), 0), VIDMM_OK);
}
static void null_packet(struct vidmm_context *c)
{
    assert_int_equal(vidmm_context_submit(c, 0x10000, 8, NULL, 0, VIDMM_SUBMIT_NULL), VIDMM_OK);
}
static uint32_t pending(const struct scene *s, int i) { return vidmm_context_pending(s->p[i].c); }

static void bad_packet(struct fx *f, struct vidmm_context *c)
{
    (void)ref_emit_write64(fx_words(f, 3), 0x7000000000ull, 1);
    fx_submit(f, c);
}

/* ---- taking and giving ---------------------------------------------------------------------------- */

/* Two contexts inside at once would corrupt what the mutex guards. */
static void a_mutex_lets_one_in(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vidmm_sync *m = mutex(s.f.d);
    assert_null(vidmm_sync_owner(m));
    for (int i = 0; i < 3; i++) wait_1(s.p[i].c, m);
    fx_run(&s.f);
    for (int i = 0; i < 3; i++) { /* in the order of asking */
        assert_ptr_equal(vidmm_sync_owner(m), s.p[i].d);
        assert_int_equal(vidmm_sync_free_units(m), 0);
        for (int k = 0; k < 3; k++) assert_int_equal(pending(&s, k), k > i);
        give(s.p[i].c, m);
        fx_run(&s.f);
    }
    assert_null(vidmm_sync_owner(m));
    assert_int_equal(vidmm_sync_free_units(m), 1);
    fx_close(&s.f);
}

/* Otherwise a stranger's stray signal lets a second one in. */
static void only_the_owner_gives_a_mutex_back(void **state)
{
    struct scene s;
    struct vidmm_context *sibling;
    struct vidmm_context_desc desc = {.node = REF_NODE_COPY};
    (void)state;
    scene_open(&s);
    struct vidmm_sync *m = mutex(s.f.d);
    wait_1(s.p[0].c, m);
    give(s.p[1].c, m);
    fx_run(&s.f);
    assert_ptr_equal(vidmm_sync_owner(m), s.p[0].d);
    wait_1(s.p[0].c, m); /* nor is it taken twice by its owner */
    fx_run(&s.f);
    assert_int_equal(pending(&s, 0), 1);
    assert_int_equal(vidmm_context_create(s.p[0].d, &desc, &sibling), VIDMM_OK);
    give(sibling, m);
    fx_run(&s.f);
    assert_int_equal(pending(&s, 0), 0);
    give(sibling, m);
    give(sibling, m); /* free already: no second unit */
    fx_run(&s.f);
    assert_int_equal(vidmm_sync_free_units(m), 1);
    struct vidmm_sync *held = make(s.f.d, VIDMM_SYNC_MUTEX, 0, 0);
    assert_ptr_equal(vidmm_sync_owner(held), s.f.d);
    wait_1(s.p[0].c, held);
    fx_run(&s.f);
    assert_int_equal(pending(&s, 0), 1);
    give(s.f.c, held);
    fx_run(&s.f);
    assert_ptr_equal(vidmm_sync_owner(held), s.p[0].d);
    fx_close(&s.f);
}

static void a_semaphore_counts(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vidmm_sync *two = make(s.f.d, VIDMM_SYNC_SEMAPHORE, 2, 3);
    for (int i = 0; i < 4; i++) wait_1(s.p[i].c, two);
    fx_run(&s.f);
    for (int i = 0; i < 4; i++) assert_int_equal(pending(&s, i), i >= 2);
    give(s.f.c, two); /* anybody may signal */
    fx_run(&s.f);
    assert_int_equal(pending(&s, 2), 0);
    assert_int_equal(pending(&s, 3), 1);
    for (int i = 0; i < 9; i++) give(s.f.c, two);
    fx_run(&s.f);
    assert_int_equal(pending(&s, 3), 0);
    assert_int_equal(vidmm_sync_free_units(two), 3); /* beyond the maximum they are lost */
    fx_close(&s.f);
}

static void bad_objects_and_arrays_are_refused(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    static const struct vidmm_sync_desc bad[] = {{0, 0, 1}, {3, 0, 1}, {VIDMM_SYNC_SEMAPHORE, 0, 0},
                                                 {VIDMM_SYNC_SEMAPHORE, 2, 1}, {VIDMM_SYNC_MUTEX, 2, 2}};
    struct vidmm_sync *none = NULL, *m = mutex(s.f.d);
    struct vidmm_fence *f = fence(s.f.d);
    uint64_t before = vidmm_state_hash(s.f.ad);
    for (size_t i = 0; i < VT_COUNT(bad); i++)
        assert_int_equal(vidmm_sync_create(s.f.d, &bad[i], &none), VIDMM_INVALID);
    assert_null(none);
    struct vidmm_point many[33];
    for (int i = 0; i < 33; i++) many[i] = FENCE(f, 0);
    assert_int_equal(vidmm_context_wait_for(s.f.c, many, 0), VIDMM_INVALID);
    assert_int_equal(vidmm_context_wait_for(s.f.c, many, 33), VIDMM_INVALID);
    many[1] = many[7] = SYNC(m); /* named twice, it could never be satisfied */
    assert_int_equal(vidmm_context_wait_for(s.f.c, many, 32), VIDMM_INVALID);
    many[7] = (struct vidmm_point){.fence = f, .sync = m};
    assert_int_equal(vidmm_context_wait_for(s.f.c, many, 32), VIDMM_INVALID);
    many[7] = (struct vidmm_point){0};
    assert_int_equal(vidmm_context_wait_for(s.f.c, many, 32), VIDMM_INVALID);
    struct vidmm_signal sig = {&s.f.c, 1, many, 33, 0};
    assert_int_equal(vidmm_contexts_signal(&sig), VIDMM_INVALID);
    sig.point_count = 1;
    sig.flags = 2;
    assert_int_equal(vidmm_contexts_signal(&sig), VIDMM_INVALID);
    assert_int_equal(vidmm_state_hash(s.f.ad), before);
    many[7] = FENCE(f, 0);
    wait_n(s.f.c, many, 32);
    fx_run(&s.f);
    assert_int_equal(vidmm_context_pending(s.f.c), 0);
    assert_ptr_equal(vidmm_sync_owner(m), s.f.d);
    fx_close(&s.f);
}

/* ---- arrays ---------------------------------------------------------------------------------------- */

/* Taking one after the other would leave each with half of what both need. */
static void arrays_take_all_or_nothing(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vidmm_sync *a = mutex(s.f.d), *b = mutex(s.f.d);
    const struct vidmm_point ab[] = {SYNC(a), SYNC(b)}, ba[] = {SYNC(b), SYNC(a)};
    wait_1(s.p[0].c, a);
    fx_run(&s.f);
    wait_n(s.p[1].c, ab, 2);
    fx_run(&s.f);
    assert_int_equal(vidmm_sync_free_units(b), 1); /* not reserved for the one that waits for both */
    wait_n(s.p[2].c, ba, 2);
    wait_1(s.p[0].c, b); /* the owner of a gets b, or nobody would ever go on */
    fx_run(&s.f);
    assert_ptr_equal(vidmm_sync_owner(b), s.p[0].d);
    give(s.p[0].c, a);
    fx_run(&s.f);
    assert_null(vidmm_sync_owner(a));
    give(s.p[0].c, b);
    fx_run(&s.f);
    assert_ptr_equal(vidmm_sync_owner(a), s.p[1].d);
    assert_ptr_equal(vidmm_sync_owner(b), s.p[1].d);
    assert_int_equal(pending(&s, 2), 1);
    assert_int_equal(vidmm_contexts_signal(&(struct vidmm_signal){&s.p[1].c, 1, ba, 2, 0}), VIDMM_OK);
    fx_run(&s.f);
    assert_ptr_equal(vidmm_sync_owner(a), s.p[2].d);
    assert_ptr_equal(vidmm_sync_owner(b), s.p[2].d);
    fx_close(&s.f);
}

static void arrays_mix_kinds(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vidmm_sync *m = mutex(s.f.d), *sem = make(s.f.d, VIDMM_SYNC_SEMAPHORE, 0, 5);
    struct vidmm_fence *f = fence(s.f.d);
    const struct vidmm_point all[] = {SYNC(m), FENCE(f, 7), SYNC(sem)};
    wait_n(s.p[0].c, all, 3);
    fx_run(&s.f);
    assert_int_equal(vidmm_fence_signal(f, 8), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(pending(&s, 0), 1);
    assert_null(vidmm_sync_owner(m));
    give(s.f.c, sem);
    fx_run(&s.f);
    assert_int_equal(pending(&s, 0), 0);
    assert_ptr_equal(vidmm_sync_owner(m), s.p[0].d);
    assert_int_equal(vidmm_sync_free_units(sem), 0);
    const struct vidmm_point back[] = {SYNC(sem), SYNC(m), FENCE(f, 20), SYNC(sem)};
    assert_int_equal(vidmm_contexts_signal(&(struct vidmm_signal){&s.p[0].c, 1, back, 4, 0}), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(vidmm_sync_free_units(sem), 2);
    assert_int_equal(vidmm_sync_free_units(m), 1);
    assert_int_equal(vidmm_fence_value(f), 20);
    fx_close(&s.f);
}

/* A mutex taken while older packets of the context still run can keep from another context what those
 * packets wait for. */
static void taking_waits_for_the_work_before(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vidmm_sync *m = mutex(s.f.d);
    struct vidmm_fence *gate = fence(s.f.d);
    struct vidmm_context *other;
    struct vidmm_context_desc desc = {.node = REF_NODE_COPY};
    assert_int_equal(vidmm_context_create(s.p[1].d, &desc, &other), VIDMM_OK);
    fx_wait_packet(&s.f, s.p[0].c, vidmm_fence_gpu_address(gate), 1);
    wait_1(s.p[0].c, m);
    fx_run(&s.f);
    wait_1(other, m);
    (void)ref_emit_fence_write(fx_words(&s.f, 3), vidmm_fence_gpu_address(gate), 1);
    fx_submit(&s.f, s.f.c); /* behind the first on the engine: it opens nothing */
    assert_int_equal(vidmm_context_signal(other, &gate, &(uint64_t){1}, 1), VIDMM_OK);
    give(other, m);
    fx_run(&s.f);
    assert_int_equal(vidmm_context_pending(other), 0);
    assert_int_equal(pending(&s, 0), 0);
    assert_ptr_equal(vidmm_sync_owner(m), s.p[0].d);
    fx_close(&s.f);
}

/* ---- ends ------------------------------------------------------------------------------------------ */

/* What a lost device holds would keep the others for ever. */
static void a_lost_device_gives_back(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vidmm_sync *m = mutex(s.f.d), *sem = make(s.f.d, VIDMM_SYNC_SEMAPHORE, 2, 2);
    wait_1(s.p[0].c, m);
    wait_1(s.p[0].c, sem);
    wait_1(s.p[0].c, sem);
    fx_run(&s.f);
    wait_1(s.p[0].c, sem); /* waits itself: cancelled */
    wait_1(s.p[1].c, m);
    wait_1(s.p[2].c, sem);
    bad_packet(&s.f, s.p[0].c);
    fx_run(&s.f);
    assert_int_equal(pending(&s, 1), 1);
    struct vidmm_context *c;
    struct vidmm_context_desc desc = {.node = REF_NODE_COMPUTE};
    assert_int_equal(vidmm_context_create(s.p[0].d, &desc, &c), VIDMM_OK);
    bad_packet(&s.f, c);
    fx_run(&s.f);
    assert_int_equal(vidmm_device_state(s.p[0].d), VIDMM_DEVICE_PAGE_FAULT);
    assert_ptr_equal(vidmm_sync_owner(m), s.p[1].d);
    assert_int_equal(vidmm_sync_free_units(sem), 1);
    for (int i = 0; i < 3; i++) assert_int_equal(pending(&s, i), 0);
    fx_close(&s.f);
}

/* Its last packet may still be writing what the mutex guards. */
static void not_before_its_last_packet_is_off_the_engine(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vidmm_sync *m = mutex(s.f.d);
    struct vidmm_fence *gate = fence(s.f.d);
    wait_1(s.p[0].c, m);
    fx_wait_packet(&s.f, s.p[0].c, vidmm_fence_gpu_address(gate), 1);
    wait_1(s.p[1].c, m);
    fx_run(&s.f);
    vidmm_device_destroy(s.p[0].d);
    fx_run(&s.f);
    assert_int_equal(pending(&s, 1), 1);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(pending(&s, 1), 0);
    assert_ptr_equal(vidmm_sync_owner(m), s.p[1].d);
    fx_close(&s.f);
}

/* Waits for an object that is destroyed, or whose device is lost, end. */
static void nobody_waits_for_an_object_that_is_gone(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vidmm_sync *m = make(s.f.d, VIDMM_SYNC_MUTEX, 0, 0);
    struct vidmm_sync *of_1 = make(s.p[1].d, VIDMM_SYNC_SEMAPHORE, 0, 1);
    struct vidmm_sync *of_2 = make(s.p[2].d, VIDMM_SYNC_MUTEX, 0, 0);
    wait_1(s.p[0].c, m);
    null_packet(s.p[0].c);
    wait_1(s.p[0].c, of_1);
    wait_1(s.p[0].c, of_2);
    fx_run(&s.f);
    assert_int_equal(pending(&s, 0), 4);
    vidmm_sync_destroy(m);
    fx_run(&s.f);
    assert_int_equal(pending(&s, 0), 2);
    bad_packet(&s.f, s.p[1].c);
    fx_run(&s.f);
    assert_int_equal(pending(&s, 0), 1);
    vidmm_device_destroy(s.p[2].d);
    fx_run(&s.f);
    assert_int_equal(pending(&s, 0), 0);
    assert_int_equal(vidmm_context_wait_for(s.p[1].c, &SYNC(of_1), 1), VIDMM_DEVICE_LOST);
    struct vidmm_sync *none;
    const struct vidmm_sync_desc desc = {VIDMM_SYNC_MUTEX, 1, 0};
    assert_int_equal(vidmm_sync_create(s.p[1].d, &desc, &none), VIDMM_DEVICE_LOST);
    fx_close(&s.f);
}

/* Each allocation of a call fails in turn: status, and nothing has changed. */
static void no_memory_changes_nothing(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vidmm_sync *m = mutex(s.f.d), *sem = make(s.f.d, VIDMM_SYNC_SEMAPHORE, 1, 1), *held = NULL;
    const struct vidmm_point both[] = {SYNC(m), SYNC(sem)};
    const struct vidmm_sync_desc desc = {VIDMM_SYNC_MUTEX, 0, 0};
    struct vidmm_context *two[2] = {s.p[0].c, NULL};
    struct vidmm_context_desc cd = {.node = REF_NODE_COPY};
    assert_int_equal(vidmm_context_create(s.p[0].d, &cd, &two[1]), VIDMM_OK);
    const struct vidmm_signal sig = {two, 2, both, 2, 0};
    uint64_t before = vidmm_state_hash(s.f.ad), bytes = s.f.world.live_bytes;
    vidmm_status st[3] = {VIDMM_NO_MEMORY, VIDMM_NO_MEMORY, VIDMM_NO_MEMORY};
    for (uint64_t k = 1; st[0] + st[1] + st[2] != VIDMM_OK; k++) {
        for (int i = 0; i < 3; i++) {
            if (st[i] == VIDMM_OK) continue;
            s.f.world.fail_in = k;
            st[i] = i == 0   ? vidmm_sync_create(s.f.d, &desc, &held)
                    : i == 1 ? vidmm_context_wait_for(s.p[0].c, both, 2)
                             : vidmm_contexts_signal(&sig);
            s.f.world.fail_in = 0;
            if (st[i] == VIDMM_OK) { /* past its last one */
                before = vidmm_state_hash(s.f.ad);
                bytes = s.f.world.live_bytes;
                continue;
            }
            assert_int_equal(st[i], VIDMM_NO_MEMORY);
            assert_true(k <= 6);
            assert_int_equal(vidmm_state_hash(s.f.ad), before);
            assert_int_equal(s.f.world.live_bytes, bytes);
        }
    }
    fx_run(&s.f);
    assert_int_equal(pending(&s, 0), 0);
    fx_close(&s.f);
}

/* ---- signals --------------------------------------------------------------------------------------- */

/* Signalled by the first context that gets there, its waiters would read what the others have not written. */
static void several_contexts_signal_together(void **state)
{
    struct scene s;
    struct vidmm_context *all[VIDMM_BROADCAST_MAX + 1];
    struct vidmm_context_desc desc = {.node = REF_NODE_COPY};
    (void)state;
    scene_open(&s);
    struct vidmm_fence *f = fence(s.f.d), *gate = fence(s.f.d), *last = fence(s.f.d);
    struct vidmm_sync *sem = make(s.f.d, VIDMM_SYNC_SEMAPHORE, 0, 9);
    const struct vidmm_point point[] = {FENCE(f, 5), SYNC(sem)};
    for (uint32_t i = 0; i <= VIDMM_BROADCAST_MAX; i++)
        assert_int_equal(vidmm_context_create(s.f.d, &desc, &all[i]), VIDMM_OK);
    uint64_t one = 1;
    assert_int_equal(vidmm_context_wait(all[0], &last, &one, 1), VIDMM_OK);
    assert_int_equal(vidmm_context_wait(all[40], &gate, &one, 1), VIDMM_OK);
    struct vidmm_signal sig = {all, VIDMM_BROADCAST_MAX + 1, point, 2, 0};
    uint64_t before = vidmm_state_hash(s.f.ad);
    assert_int_equal(vidmm_contexts_signal(&sig), VIDMM_INVALID);
    sig.context_count = 0;
    assert_int_equal(vidmm_contexts_signal(&sig), VIDMM_INVALID);
    struct vidmm_context *mixed[2] = {s.p[0].c, s.p[1].c};
    assert_int_equal(vidmm_contexts_signal(&(struct vidmm_signal){mixed, 2, point, 2, 0}), VIDMM_INVALID);
    assert_int_equal(vidmm_state_hash(s.f.ad), before);
    sig.context_count = VIDMM_BROADCAST_MAX;
    assert_int_equal(vidmm_contexts_signal(&sig), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(vidmm_fence_value(f), 0);
    assert_int_equal(vidmm_context_pending(all[40]), 0); /* those that got there do not wait for the rest */
    assert_int_equal(vidmm_fence_signal(last, 1), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(vidmm_fence_value(f), 5);
    assert_int_equal(vidmm_sync_free_units(sem), 1); /* once, not once per context */
    fx_close(&s.f);
}

static void a_lost_group_signals_nothing(void **state)
{
    struct scene s;
    struct vidmm_context *two[2];
    struct vidmm_context_desc desc = {.node = REF_NODE_COPY};
    (void)state;
    scene_open(&s);
    struct vidmm_sync *sem = make(s.f.d, VIDMM_SYNC_SEMAPHORE, 0, 9);
    struct vidmm_fence *never = fence(s.f.d);
    uint64_t one = 1;
    two[0] = s.p[0].c;
    assert_int_equal(vidmm_context_create(s.p[0].d, &desc, &two[1]), VIDMM_OK);
    assert_int_equal(vidmm_context_wait(two[1], &never, &one, 1), VIDMM_OK);
    const struct vidmm_point p = SYNC(sem);
    assert_int_equal(vidmm_contexts_signal(&(struct vidmm_signal){two, 2, &p, 1, 0}), VIDMM_OK);
    fx_run(&s.f);
    vidmm_device_destroy(s.p[0].d);
    fx_run(&s.f);
    assert_int_equal(vidmm_sync_free_units(sem), 0);
    fx_close(&s.f);
}

/* SignalAtSubmission: the packet before is on its engine, and need not have completed. */
static void signals_at_submission_do_not_wait_for_completion(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vidmm_fence *gate = fence(s.f.d), *early = fence(s.f.d), *late = fence(s.f.d);
    fx_wait_packet(&s.f, s.p[0].c, vidmm_fence_gpu_address(gate), 1);
    assert_int_equal(signal_flags(s.p[0].c, FENCE(early, 1), VIDMM_SIGNAL_AT_SUBMISSION), VIDMM_OK);
    assert_int_equal(signal_flags(s.p[0].c, FENCE(late, 1), 0), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(vidmm_fence_value(early), 1);
    assert_int_equal(vidmm_fence_value(late), 0);
    assert_int_equal(vidmm_fence_signal(gate, 1), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(vidmm_fence_value(late), 1);
    fx_close(&s.f);
}

static void a_fence_goes_back_only_when_asked_to(void **state)
{
    struct scene s;
    uint64_t value = 4;
    (void)state;
    scene_open(&s);
    struct vidmm_fence *f = fence(s.f.d), *of_0 = fence(s.p[0].d), *mute;
    struct vidmm_fence *both[2] = {f, of_0};
    assert_int_equal(vidmm_fence_signal(f, 10), VIDMM_OK);
    assert_int_equal(vidmm_fences_signal(both, (uint64_t[]){9, 9}, 2, 0), VIDMM_INVALID);
    assert_int_equal(vidmm_fence_value(of_0), 0); /* all or none */
    assert_int_equal(vidmm_fences_signal(&f, &value, 1, VIDMM_SIGNAL_ALLOW_REWIND), VIDMM_OK);
    assert_int_equal(vidmm_fence_value(f), 4);
    assert_int_equal(signal_flags(s.f.c, FENCE(f, 3), 0), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(vidmm_fence_value(f), 4);
    assert_int_equal(signal_flags(s.f.c, FENCE(f, 3), VIDMM_SIGNAL_ALLOW_REWIND), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(vidmm_fence_value(f), 3);
    assert_int_equal(vidmm_fence_create(s.f.d, 0, VIDMM_FENCE_NO_SIGNAL, &mute), VIDMM_OK);
    assert_int_equal(vidmm_fences_signal(&mute, &value, 1, VIDMM_SIGNAL_ALLOW_REWIND), VIDMM_ACCESS_DENIED);
    assert_int_equal(signal_flags(s.f.c, FENCE(of_0, 1), VIDMM_SIGNAL_ALLOW_REWIND), VIDMM_OK);
    vidmm_device_destroy(s.p[1].d);
    bad_packet(&s.f, s.p[0].c); /* the maximum that a loss leaves is not taken back */
    fx_run_node(&s.f, REF_NODE_COMPUTE);
    fx_run(&s.f);
    assert_int_equal(signal_flags(s.f.c, FENCE(of_0, 1), VIDMM_SIGNAL_ALLOW_REWIND), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(vidmm_fence_value(of_0), UINT64_MAX);
    assert_true(vidmm_fence_reached(of_0, UINT64_MAX));
    fx_close(&s.f);
}

/* A submission to several contexts of one device: all get the packet, or none does. */
static void several_contexts_take_one_submission(void **state)
{
    struct scene s;
    struct vidmm_context *c[3];
    struct vidmm_context_desc desc = {.node = REF_NODE_COPY};
    const struct vidmm_submit in = {.va = 0x10000, .bytes = 8, .flags = VIDMM_SUBMIT_NULL};
    (void)state;
    scene_open(&s);
    for (int i = 0; i < 3; i++) assert_int_equal(vidmm_context_create(s.f.d, &desc, &c[i]), VIDMM_OK);
    struct vidmm_context *mixed[2] = {c[0], s.p[0].c};
    uint64_t before = vidmm_state_hash(s.f.ad);
    assert_int_equal(vidmm_contexts_submit(mixed, 2, &in), VIDMM_INVALID);
    assert_int_equal(vidmm_contexts_submit(c, 0, &in), VIDMM_INVALID);
    assert_int_equal(vidmm_contexts_submit(c, VIDMM_BROADCAST_MAX + 1, &in), VIDMM_INVALID);
    for (uint64_t k = 1; k <= 3; k++) {
        s.f.world.fail_in = k;
        assert_int_equal(vidmm_contexts_submit(c, 3, &in), VIDMM_NO_MEMORY);
    }
    s.f.world.fail_in = 0;
    assert_int_equal(vidmm_state_hash(s.f.ad), before);
    fx_forget(&s.f);
    assert_int_equal(vidmm_contexts_submit(c, 3, &in), VIDMM_OK);
    fx_run(&s.f);
    assert_int_equal(fx_count(&s.f, EV_SUBMIT), 3);
    fx_close(&s.f);
}

/* ---- the checker ----------------------------------------------------------------------------------- */

static void objects(struct scene *s, int number)
{
    const char *what = NULL;
    assert_int_equal(vidmm_verify(s->f.ad, &what), number);
    assert_non_null(what);
}

static void verify_watches_sync_objects(void **state)
{
    struct scene s;
    (void)state;
    scene_open(&s);
    struct vidmm_sync *m = mutex(s.f.d), *sem = make(s.f.d, VIDMM_SYNC_SEMAPHORE, 1, 2);
    wait_1(s.p[0].c, m);
    wait_1(s.p[1].c, m);
    fx_run(&s.f);
    m->free = 1; /* owned, and free */
    objects(&s, 20);
    m->free = 0;
    sem->free = 3;
    objects(&s, 20);
    sem->free = 1;
    m->refs++;
    objects(&s, 20);
    m->refs--;
    struct vmm_stake *k = list_entry(list_first(&s.p[1].d->stakes), struct vmm_stake, on_device);
    uint32_t refs = k->refs;
    k->refs = 0;
    objects(&s, 20);
    k->refs = refs;
    k->sync = sem;
    objects(&s, 20);
    k->sync = m;
    struct vmm_waiter *w = list_entry(list_first(&s.f.ad->waiters), struct vmm_waiter, link);
    vmm_waiter_end(w); /* forgotten */
    objects(&s, 21);
    w->granted = true; /* over, and still in the list */
    list_push_back(&s.f.ad->waiters, &w->link);
    objects(&s, 21);
    w->granted = false;
    struct vmm_waiter stray = {.n = 1};
    list_push_back(&s.f.ad->waiters, &stray.link);
    objects(&s, 21);
    list_remove(&stray.link);
    fx_run(&s.f);
    fx_close(&s.f);
}

int main(int argc, char **argv)
{
    static const struct vt_case cases[] = {
        VT_TEST(a_mutex_lets_one_in, "", NULL),
        VT_TEST(only_the_owner_gives_a_mutex_back, "", NULL),
        VT_TEST(a_semaphore_counts, "", NULL),
        VT_TEST(bad_objects_and_arrays_are_refused, "SUB-22", NULL),
        VT_TEST(arrays_take_all_or_nothing, "", NULL),
        VT_TEST(arrays_mix_kinds, "", NULL),
        VT_TEST(taking_waits_for_the_work_before, "", NULL),
        VT_TEST(a_lost_device_gives_back, "", NULL),
        VT_TEST(not_before_its_last_packet_is_off_the_engine, "", NULL),
        VT_TEST(nobody_waits_for_an_object_that_is_gone, "", NULL),
        VT_TEST(no_memory_changes_nothing, "", NULL),
        VT_TEST(several_contexts_signal_together, "SUB-22", NULL),
        VT_TEST(a_lost_group_signals_nothing, "", NULL),
        VT_TEST(signals_at_submission_do_not_wait_for_completion, "", NULL),
        VT_TEST(a_fence_goes_back_only_when_asked_to, "SUB-20 SUB-21", NULL),
        VT_TEST(several_contexts_take_one_submission, "SUB-05", NULL),
        VT_TEST(verify_watches_sync_objects, "INV-20 INV-21", NULL),
    };
    return vt_main(argc, argv, "core_sync", cases, VT_COUNT(cases));
}
