/* SPDX-License-Identifier: MIT */
/* test_sharing.c - one allocation, several devices and processes: each has its own reference, its own
 * addresses and its own residency, and the bytes are the same, wherever they are. */
#include "fixture.h"

#include "base/bits.h"

struct two { struct fixture fx; struct client a, b; };

static void two_open(struct two *t, enum ref_format format)
{
    fx_open_format(&t->fx, format);
    client_open(&t->a, &t->fx, NULL);
    client_open(&t->b, &t->fx, NULL);
}

static struct vidmm_open *share(struct client *to, const struct vidmm_open *from)
{
    struct vidmm_open *op = NULL;
    assert_int_equal(vidmm_alloc_open(to->device, from, 0, &op), VIDMM_OK);
    return op;
}

/* S14: a write of one process at its address is read by the other at another address, and the other way
 * round; in the creator, the address of the other one means nothing. */
static void each_process_has_its_own_address(enum ref_format format)
{
    struct two t;
    two_open(&t, format);
    struct fx_alloc in = {.bytes = KIB(256), .set = SET_4K | SET_SYSTEM, .preferred = 2};
    struct vidmm_open *mine = client_alloc(&t.a, &in), *theirs = share(&t.b, mine);
    assert_int_equal(vidmm_open_bytes(theirs), vidmm_open_bytes(mine));
    client_resident(&t.a, mine);
    client_resident(&t.b, theirs);
    uint64_t at = client_map(&t.a, mine, 0x50000000, 0, 0, VIDMM_PROT_WRITE);
    uint64_t there = client_map(&t.b, theirs, 0x70000000, 0, 0, VIDMM_PROT_WRITE);
    assert_int_equal(at, 0x50000000);
    assert_int_equal(there, 0x70000000);
    gpu_fill(&t.a, at, 0x5a5a5a5a, KIB(256));
    assert_int_equal(gpu_sum(&t.b, there, KIB(256)), sum_of_pattern(0x5a5a5a5a, KIB(256)));
    gpu_fill(&t.b, there + KIB(64), 0x77777777, KIB(64));
    assert_int_equal(gpu_read(&t.a, at + KIB(64)), 0x77777777);
    struct vidmm_context *copy = client_context(&t.a, REF_NODE_COPY); /* ADP-08: one space for all engines */
    assert_int_equal(gpu_read_on(&t.a, copy, at + KIB(64)), 0x77777777);
    gpu_read_faults(&t.a, there);
    assert_int_equal(gpu_read(&t.b, there), 0x5a5a5a5a);
    fx_verify(&t.fx);
    fx_close(&t.fx);
}

static void each_process_has_its_own_address_a(void **state)
{
    (void)state;
    each_process_has_its_own_address(REF_FORMAT_A);
}

static void each_process_has_its_own_address_b(void **state)
{
    (void)state;
    each_process_has_its_own_address(REF_FORMAT_B);
}

/* Whatever moves it, the entries of both processes follow, and nobody maps again. */
static void a_move_rewrites_the_entries_of_all(void **state)
{
    struct two t;
    struct vidmm_placement_info where;
    (void)state;
    two_open(&t, REF_FORMAT_A);
    struct fx_alloc in = {.bytes = MIB(2), .set = SET_4K | SET_SYSTEM, .preferred = 2};
    struct vidmm_open *mine = client_alloc(&t.a, &in), *theirs = share(&t.b, mine);
    client_resident(&t.a, mine);
    client_resident(&t.b, theirs);
    uint64_t at = client_map(&t.a, mine, 0, 0, 0, VIDMM_PROT_WRITE);
    uint64_t there = client_map(&t.b, theirs, 0, MIB(1), MIB(1), VIDMM_PROT_WRITE);
    gpu_fill(&t.a, at, 0x11111111, MIB(2));
    vidmm_open_placement(mine, &where);
    assert_int_equal(where.segment, 2);
    void *cpu;
    assert_int_equal(vidmm_open_lock(mine, &cpu), VIDMM_PENDING); /* on its way to system memory */
    fx_settle(&t.fx);
    vidmm_open_placement(theirs, &where);
    assert_int_equal(where.segment, 0);
    assert_true(where.resident);
    assert_int_equal(*(uint32_t *)cpu, 0x11111111);
    *(uint32_t *)((char *)cpu + MIB(1)) = 0x22222222;
    assert_int_equal(gpu_read(&t.b, there), 0x22222222);
    assert_int_equal(gpu_read(&t.a, at + MIB(1)), 0x22222222);
    assert_int_equal(vidmm_open_unlock(mine), VIDMM_OK);
    fx_settle(&t.fx);
    vidmm_open_placement(theirs, &where);
    assert_int_equal(where.segment, 2); /* promoted again */
    assert_int_equal(gpu_read(&t.b, there), 0x22222222);
    assert_int_equal(gpu_read(&t.a, at), 0x11111111);
    fx_verify(&t.fx);
    fx_close(&t.fx);
}

/* A device that stands on a packet keeps memory from moving also when it is not the one that made it. */
static void a_move_waits_for_the_devices_of_all(void **state)
{
    struct two t;
    struct vidmm_placement_info where;
    uint64_t word[16];
    (void)state;
    two_open(&t, REF_FORMAT_A);
    struct vidmm_fence *go;
    struct fx_alloc in = {.bytes = KIB(64), .set = SET_4K | SET_SYSTEM, .preferred = 2};
    struct vidmm_open *mine = client_alloc(&t.a, &in), *theirs = share(&t.b, mine);
    client_resident(&t.b, theirs);
    uint64_t there = client_map(&t.b, theirs, 0, 0, 0, VIDMM_PROT_WRITE);
    assert_int_equal(vidmm_fence_create(t.b.device, 0, 0, &go), VIDMM_OK);
    uint32_t n = ref_emit_fence_wait(word, vidmm_fence_gpu_address(go), 1);
    n += ref_emit_fill(word + n, there, 0x33333333, KIB(64));
    assert_int_equal(client_submit_on(&t.b, t.b.context, word, n), VIDMM_OK);
    fx_settle(&t.fx);
    void *cpu;
    assert_int_equal(vidmm_open_lock(mine, &cpu), VIDMM_PENDING);
    fx_settle(&t.fx);
    assert_false(vidmm_open_lock_ready(mine));
    vidmm_open_placement(mine, &where);
    assert_int_equal(where.segment, 2);
    assert_int_equal(vidmm_fence_signal(go, 1), VIDMM_OK);
    fx_settle(&t.fx);
    assert_true(vidmm_open_lock_ready(mine));
    assert_int_equal(*(uint32_t *)cpu, 0x33333333);
    fx_verify(&t.fx);
    fx_close(&t.fx);
}

/* Opened while a move waits for its devices: the new one is stopped as well, else it would be in the way. */
static void who_opens_during_a_move_is_part_of_it(void **state)
{
    struct two t;
    uint64_t word[16];
    (void)state;
    two_open(&t, REF_FORMAT_A);
    struct client c;
    client_open(&c, &t.fx, NULL);
    struct vidmm_fence *go;
    struct fx_alloc in = {.bytes = MIB(1), .set = SET_4K | SET_SYSTEM, .preferred = 2};
    struct vidmm_open *mine = client_alloc(&t.a, &in);
    client_resident(&t.a, mine);
    uint64_t at = client_map(&t.a, mine, 0, 0, 0, VIDMM_PROT_WRITE);
    assert_int_equal(vidmm_fence_create(t.a.device, 0, 0, &go), VIDMM_OK);
    gpu_fill(&t.a, at, 0x44444444, MIB(1));
    uint32_t n = ref_emit_fence_wait(word, vidmm_fence_gpu_address(go), 1);
    assert_int_equal(client_submit_on(&t.a, t.a.context, word, n), VIDMM_OK);
    fx_settle(&t.fx);
    void *cpu;
    assert_int_equal(vidmm_open_lock(mine, &cpu), VIDMM_PENDING);
    fx_settle(&t.fx);
    struct vidmm_open *theirs = share(&c, mine);
    fx_verify(&t.fx);
    uint64_t there = client_map(&c, theirs, 0, 0, 0, VIDMM_PROT_WRITE), value, trim;
    vidmm_status st = vidmm_make_resident(c.queue, &theirs, 1, 0, &value, &trim);
    assert_true(st == VIDMM_OK || st == VIDMM_PENDING);
    n = ref_emit_fill(word, there, 0x55555555, KIB(4));
    struct vidmm_context *copy = client_context(&c, REF_NODE_COPY); /* nothing is ahead of it there */
    assert_int_equal(client_submit_on(&c, copy, word, n), VIDMM_OK);
    fx_settle(&t.fx);
    assert_int_equal(vidmm_context_pending(copy), 1); /* else it could keep the move waiting for ever */
    fx_verify(&t.fx);
    assert_int_equal(vidmm_fence_signal(go, 1), VIDMM_OK);
    fx_settle(&t.fx);
    assert_int_equal(vidmm_device_state(c.device), VIDMM_DEVICE_ACTIVE);
    assert_int_equal(*(uint32_t *)cpu, 0x55555555);
    assert_int_equal(gpu_read(&t.a, at + KIB(4)), 0x44444444);
    fx_close(&t.fx);
}

/* One device requires it, another does not: it stays; the last one lets go, and it may be taken. */
static void residency_is_counted_per_device(void **state)
{
    struct two t;
    struct vidmm_placement_info where;
    (void)state;
    two_open(&t, REF_FORMAT_A);
    uint64_t at, big;
    struct vidmm_open *mine = client_memory(&t.a, MIB(1), SET_4K, &at);
    struct vidmm_open *theirs = share(&t.b, mine);
    vidmm_open_placement(theirs, &where);
    assert_int_equal(where.resident_count, 0);
    client_resident(&t.b, theirs);
    client_resident(&t.b, theirs);
    vidmm_open_placement(mine, &where);
    assert_int_equal(where.resident_count, 1);
    vidmm_open_placement(theirs, &where);
    assert_int_equal(where.resident_count, 2);
    gpu_fill(&t.a, at, 0x66666666, MIB(1));
    uint64_t there = client_map(&t.b, theirs, 0, 0, 0, VIDMM_PROT_WRITE);
    client_evict(&t.a, mine);
    (void)client_memory(&t.a, MIB(1), SET_4K, &big); /* 2 of 4 MiB: beside tables, what fits */
    vidmm_open_placement(theirs, &where);
    assert_true(where.resident);
    assert_int_equal(gpu_read(&t.b, there), 0x66666666);
    uint64_t trim;
    assert_int_equal(vidmm_evict(t.a.device, &mine, 1, 0, &trim), VIDMM_INVALID); /* its own count is 0 */
    client_evict(&t.b, theirs);
    client_evict(&t.b, theirs);
    struct vidmm_open *more = client_memory(&t.a, MIB(2), SET_4K, &big);
    assert_non_null(more);
    vidmm_open_placement(mine, &where);
    assert_false(where.resident);
    fx_verify(&t.fx);
    fx_close(&t.fx);
}

static void push_out(struct client *c, const struct vidmm_open *what)
{
    struct vidmm_placement_info where;
    uint64_t va;
    struct vidmm_open *large = client_memory(c, MIB(3), SET_4K, &va);
    vidmm_open_placement(what, &where);
    assert_int_equal(where.segment, 0);
    client_evict(c, large);
    vidmm_open_close(large, 0);
    fx_settle(c->fx);
}

/* What one device says of its own stay is not said of another's writes (RES-14). Both ask for it before it is
 * brought in, so that what home has is as new as can be; B writes, and A says that it has not. */
static void not_written_counts_for_one_device(void **state)
{
    struct two t;
    uint64_t trim, value, at;
    (void)state;
    two_open(&t, REF_FORMAT_A);
    struct vidmm_open *mine = client_memory(&t.a, MIB(1), SET_4K, &at), *theirs = share(&t.b, mine);
    uint64_t there = client_map(&t.b, theirs, 0, 0, 0, VIDMM_PROT_WRITE);
    gpu_fill(&t.a, at, 0x60, MIB(1));
    client_evict(&t.a, mine);
    push_out(&t.a, mine);
    for (uint32_t first = 0; first < 2; first++) { /* A lets go last, then first */
        assert_int_equal(vidmm_make_resident(t.a.queue, &mine, 1, 0, &value, &trim), VIDMM_PENDING);
        assert_int_equal(vidmm_make_resident(t.b.queue, &theirs, 1, 0, &value, &trim), VIDMM_PENDING);
        fx_settle(&t.fx);
        gpu_fill(&t.b, there, 0x70 + first, MIB(1));
        if (first) assert_int_equal(vidmm_evict(t.a.device, &mine, 1, VIDMM_EVICT_NOT_WRITTEN_TO, &trim), 0);
        assert_int_equal(vidmm_evict(t.b.device, &theirs, 1, 0, &trim), VIDMM_OK);
        if (!first) assert_int_equal(vidmm_evict(t.a.device, &mine, 1, VIDMM_EVICT_NOT_WRITTEN_TO, &trim), 0);
        push_out(&t.a, mine);
        client_resident(&t.a, mine);
        assert_int_equal(gpu_sum(&t.a, at, MIB(1)), sum_of_pattern(0x70 + first, MIB(1)));
        client_evict(&t.a, mine);
        push_out(&t.a, mine);
    }
    /* And both say so: nothing is copied out. */
    assert_int_equal(vidmm_make_resident(t.a.queue, &mine, 1, 0, &value, &trim), VIDMM_PENDING);
    assert_int_equal(vidmm_make_resident(t.b.queue, &theirs, 1, 0, &value, &trim), VIDMM_PENDING);
    fx_settle(&t.fx);
    assert_int_equal(vidmm_evict(t.a.device, &mine, 1, VIDMM_EVICT_NOT_WRITTEN_TO, &trim), VIDMM_OK);
    assert_int_equal(vidmm_evict(t.b.device, &theirs, 1, VIDMM_EVICT_NOT_WRITTEN_TO, &trim), VIDMM_OK);
    tap_clear(&t.fx.tap);
    push_out(&t.a, mine);
    assert_int_equal(t.fx.tap.op_count[VIDMM_OP_VIRTUAL_TRANSFER], 0);
    fx_close(&t.fx);
}

/* The same while the other one still has it and goes on writing: it is moved with what is in it. */
static void not_written_ends_with_the_stay(void **state)
{
    struct two t;
    uint64_t trim, value;
    void *cpu;
    (void)state;
    two_open(&t, REF_FORMAT_A);
    struct fx_alloc in = {.bytes = KIB(64), .set = SET_4K | SET_SYSTEM, .preferred = 2};
    struct vidmm_open *mine = client_alloc(&t.a, &in), *theirs = share(&t.b, mine);
    assert_int_equal(vidmm_open_lock(mine, &cpu), VIDMM_OK); /* written, so brought in by a copy */
    memset(cpu, 0x31, KIB(64));
    assert_int_equal(vidmm_open_unlock(mine), VIDMM_OK);
    assert_int_equal(vidmm_make_resident(t.a.queue, &mine, 1, 0, &value, &trim), VIDMM_PENDING);
    assert_int_equal(vidmm_make_resident(t.b.queue, &theirs, 1, 0, &value, &trim), VIDMM_PENDING);
    fx_settle(&t.fx);
    assert_int_equal(vidmm_evict(t.a.device, &mine, 1, VIDMM_EVICT_NOT_WRITTEN_TO, &trim), VIDMM_OK);
    uint64_t there = client_map(&t.b, theirs, 0, 0, 0, VIDMM_PROT_WRITE);
    gpu_fill(&t.b, there, 0x32323232, KIB(64));
    assert_int_equal(vidmm_open_lock(mine, &cpu), VIDMM_PENDING);
    fx_settle(&t.fx);
    assert_int_equal(*(uint32_t *)cpu, 0x32323232);
    fx_close(&t.fx);
}

/* A device that is gone says nothing of its stay: it may have written. */
static void not_written_says_nothing_for_the_dead(void **state)
{
    struct two t;
    uint64_t trim, value;
    void *cpu;
    (void)state;
    two_open(&t, REF_FORMAT_A);
    struct fx_alloc in = {.bytes = KIB(64), .set = SET_4K | SET_SYSTEM, .preferred = 2};
    struct vidmm_open *mine = client_alloc(&t.a, &in), *theirs = share(&t.b, mine);
    assert_int_equal(vidmm_open_lock(mine, &cpu), VIDMM_OK);
    memset(cpu, 0x31, KIB(64));
    assert_int_equal(vidmm_open_unlock(mine), VIDMM_OK);
    assert_int_equal(vidmm_make_resident(t.a.queue, &mine, 1, 0, &value, &trim), VIDMM_PENDING);
    assert_int_equal(vidmm_make_resident(t.b.queue, &theirs, 1, 0, &value, &trim), VIDMM_PENDING);
    fx_settle(&t.fx);
    uint64_t there = client_map(&t.b, theirs, 0, 0, 0, VIDMM_PROT_WRITE);
    gpu_fill(&t.b, there, 0x32323232, KIB(64));
    vidmm_device_destroy(t.b.device);
    fx_settle(&t.fx);
    assert_int_equal(vidmm_evict(t.a.device, &mine, 1, VIDMM_EVICT_NOT_WRITTEN_TO, &trim), VIDMM_OK);
    assert_int_equal(vidmm_open_lock(mine, &cpu), VIDMM_PENDING);
    fx_settle(&t.fx);
    assert_int_equal(*(uint32_t *)cpu, 0x32323232);
    fx_close(&t.fx);
}

/* Two devices planned it for different segments: both get their turn. */
static void each_device_fits_alone(void **state)
{
    struct two t;
    (void)state;
    two_open(&t, REF_FORMAT_A);
    struct fx_alloc either = {.bytes = MIB(2), .set = SET_64K | SET_4K, .preferred = 2, .alignment = 65536};
    struct fx_alloc in_2 = {.bytes = MIB(2), .set = SET_4K};
    struct fx_alloc in_1 = {.bytes = MIB(15), .set = SET_64K, .alignment = 65536};
    struct vidmm_open *mine = client_alloc(&t.a, &either), *theirs = share(&t.b, mine);
    struct vidmm_open *small = client_alloc(&t.a, &in_2), *large = client_alloc(&t.b, &in_1);
    client_resident(&t.b, large);
    client_resident(&t.b, theirs); /* only segment 2 is left for it */
    client_resident(&t.a, mine);
    client_resident(&t.a, small);  /* and here only segment 1 */
    uint64_t at = client_map(&t.a, mine, 0, 0, 0, VIDMM_PROT_WRITE);
    uint64_t there = client_map(&t.b, theirs, 0, 0, 0, VIDMM_PROT_WRITE);
    for (uint32_t i = 0; i < 4; i++) {
        gpu_fill(&t.a, at, 0x100 + i, MIB(2));
        assert_int_equal(gpu_sum(&t.b, there, MIB(2)), sum_of_pattern(0x100 + i, MIB(2)));
    }
    fx_verify(&t.fx);
    fx_close(&t.fx);
}

/* ---- lifetime ---------------------------------------------------------------------------------- */

/* S11, S14: addresses go with the reference they were mapped through, the bytes with the last one. */
static void it_outlives_its_creator(void **state)
{
    struct two t;
    (void)state;
    two_open(&t, REF_FORMAT_A);
    uint64_t at;
    struct vidmm_open *mine = client_memory(&t.a, KIB(256), SET_4K | SET_SYSTEM, &at);
    uint64_t again = client_map(&t.a, mine, 0, 0, KIB(64), VIDMM_PROT_WRITE);
    struct vidmm_open *theirs = share(&t.b, mine);
    client_resident(&t.b, theirs);
    uint64_t there = client_map(&t.b, theirs, 0, 0, 0, VIDMM_PROT_WRITE);
    gpu_fill(&t.a, at, 0x88888888, KIB(256));
    vidmm_open_close(mine, 0);
    fx_settle(&t.fx);
    assert_true(client_range_free(&t.a, at, KIB(256)));
    assert_true(client_range_free(&t.a, again, KIB(64)));
    assert_false(client_range_free(&t.b, there, KIB(256)));
    assert_int_equal(gpu_sum(&t.b, there, KIB(256)), sum_of_pattern(0x88888888, KIB(256)));
    fx_forget(&t.fx, t.a.process);
    vidmm_process_destroy(t.a.process);
    fx_settle(&t.fx);
    fx_verify(&t.fx);
    assert_int_equal(gpu_sum(&t.b, there, KIB(256)), sum_of_pattern(0x88888888, KIB(256)));
    struct client c; /* and it can be opened by what is left of it */
    client_open(&c, &t.fx, NULL);
    struct vidmm_open *third = share(&c, theirs);
    client_resident(&c, third);
    uint64_t where = client_map(&c, third, 0, 0, 0, VIDMM_PROT_WRITE);
    vidmm_open_close(theirs, 0);
    fx_settle(&t.fx);
    assert_int_equal(gpu_read(&c, where), 0x88888888);
    assert_true(client_range_free(&t.b, there, KIB(256)));
    uint64_t before = vidmm_adapter_counters(t.fx.ad)->allocs_live;
    vidmm_open_close(third, 0);
    fx_settle(&t.fx);
    assert_int_equal(vidmm_adapter_counters(t.fx.ad)->allocs_live, before - 1);
    fx_close(&t.fx);
}

/* The driver hears of each device, creator first, and of the end of each before that of the allocation. */
static void the_driver_knows_who_has_it_open(void **state)
{
    struct two t;
    (void)state;
    two_open(&t, REF_FORMAT_A);
    tap_clear(&t.fx.tap);
    struct vidmm_open *mine = client_alloc(&t.a, &(struct fx_alloc){.bytes = KIB(4)}), *theirs = NULL;
    assert_int_equal(vidmm_alloc_open(t.b.device, mine, VIDMM_OPEN_READ_ONLY, &theirs), VIDMM_OK);
    const struct tap_entry *made = tap_find(&t.fx.tap, TAP_CREATE_ALLOCATION, 0);
    const struct tap_entry *first = tap_find(&t.fx.tap, TAP_OPEN, 0);
    const struct tap_entry *second = tap_find(&t.fx.tap, TAP_OPEN, 1);
    assert_ptr_equal(first->allocation, made->object);
    assert_ptr_equal(second->allocation, made->object);
    assert_int_equal(first->flags, VIDMM_KMD_OPEN_CREATE);
    assert_int_equal(second->flags, VIDMM_KMD_OPEN_READ_ONLY);
    assert_ptr_not_equal(first->process, second->process);
    assert_ptr_not_equal(first->object, second->object);
    vidmm_open_close(mine, 0);
    fx_settle(&t.fx);
    assert_ptr_equal(tap_find(&t.fx.tap, TAP_CLOSE, 0)->object, first->object);
    assert_int_equal(t.fx.tap.count[TAP_DESTROY_ALLOCATION], 0);
    vidmm_open_close(theirs, 0);
    fx_settle(&t.fx);
    assert_ptr_equal(tap_find(&t.fx.tap, TAP_CLOSE, 1)->object, second->object);
    assert_int_equal(t.fx.tap.count[TAP_DESTROY_ALLOCATION], 1);
    const struct tap_entry *end = tap_find(&t.fx.tap, TAP_DESTROY_ALLOCATION, 0);
    assert_true(tap_find(&t.fx.tap, TAP_CLOSE, 1) < end); /* the log is in order */
    assert_ptr_equal(end->object, made->object);
    fx_close(&t.fx);
}

/* A device that ends in a fault, or an adapter reset, takes its own reference only. */
static void others_live_on(void **state)
{
    struct two t;
    (void)state;
    two_open(&t, REF_FORMAT_A);
    uint64_t at;
    struct vidmm_open *mine = client_memory(&t.a, KIB(256), SET_4K | SET_SYSTEM, &at);
    struct vidmm_open *theirs = share(&t.b, mine);
    client_resident(&t.b, theirs);
    uint64_t there = client_map(&t.b, theirs, 0, 0, 0, VIDMM_PROT_WRITE);
    gpu_fill(&t.a, at, 0x99999999, KIB(256));
    gpu_read_faults(&t.a, 0x123450000);
    fx_verify(&t.fx);
    assert_int_equal(gpu_read(&t.b, there), 0x99999999);
    struct vidmm_open *refused = NULL;
    assert_int_equal(vidmm_alloc_open(t.a.device, theirs, 0, &refused), VIDMM_DEVICE_LOST);
    assert_null(refused);
    vidmm_device_destroy(t.a.device);
    fx_settle(&t.fx);
    fx_verify(&t.fx);
    gpu_fill(&t.b, there, 0x10101010, KIB(256));
    assert_int_equal(gpu_sum(&t.b, there, KIB(256)), sum_of_pattern(0x10101010, KIB(256)));
    fx_close(&t.fx);
}

/* After an adapter reset every device that had it open is lost. It is still there to be opened by a new one,
 * also when the creator has cleaned up. */
static void it_outlives_an_adapter_reset(void **state)
{
    struct two t;
    struct client c;
    (void)state;
    two_open(&t, REF_FORMAT_A);
    uint64_t at;
    struct vidmm_open *mine = client_memory(&t.a, KIB(256), SET_4K, &at), *theirs = share(&t.b, mine);
    client_resident(&t.b, theirs);
    struct softgpu_knobs k = fx_knobs(&t.fx);
    k.fail_reset = true;
    fx_set_knobs(&t.fx, &k);
    gpu_read_faults(&t.a, 0x123450000);
    k.fail_reset = false;
    fx_set_knobs(&t.fx, &k);
    assert_int_equal(vidmm_adapter_counters(t.fx.ad)->adapter_resets, 1);
    assert_int_equal(vidmm_device_state(t.b.device), VIDMM_DEVICE_RESET);
    vidmm_device_destroy(t.a.device);
    fx_settle(&t.fx);
    client_open(&c, &t.fx, t.b.process);
    struct vidmm_open *again = share(&c, theirs);
    vidmm_device_destroy(t.b.device);
    fx_settle(&t.fx);
    client_resident(&c, again);
    uint64_t there = client_map(&c, again, 0, 0, 0, VIDMM_PROT_WRITE);
    gpu_fill(&c, there, 0x20202020, KIB(256));
    assert_int_equal(gpu_sum(&c, there, KIB(256)), sum_of_pattern(0x20202020, KIB(256)));
    fx_verify(&t.fx);
    fx_close(&t.fx);
}

/* ---- rules ------------------------------------------------------------------------------------- */

static void refusals_change_nothing(void **state)
{
    struct two t;
    struct client c;
    (void)state;
    two_open(&t, REF_FORMAT_A);
    struct vidmm_open *mine = client_alloc(&t.a, &(struct fx_alloc){.bytes = KIB(64)}), *out = NULL;
    uint64_t hash = vidmm_state_hash(t.fx.ad);
    assert_int_equal(vidmm_alloc_open(t.a.device, mine, 0, &out), VIDMM_INVALID); /* it has it */
    assert_int_equal(vidmm_alloc_open(t.b.device, mine, 2, &out), VIDMM_INVALID);
    t.fx.tap.fail_create_in = 1;
    assert_int_equal(vidmm_alloc_open(t.b.device, mine, 0, &out), VIDMM_FAILED);
    world_fail(t.fx.world, WORLD_ALLOC, 1, false);
    assert_int_equal(vidmm_alloc_open(t.b.device, mine, 0, &out), VIDMM_NO_MEMORY);
    world_fail(t.fx.world, WORLD_ALLOC, 0, false);
    assert_null(out);
    assert_int_equal(vidmm_state_hash(t.fx.ad), hash);
    struct vidmm_open *theirs = share(&t.b, mine);
    uint64_t value, trim; /* the reference of another device is nobody's business */
    assert_int_equal(vidmm_make_resident(t.a.queue, &theirs, 1, 0, &value, &trim), VIDMM_INVALID);
    uint64_t one = t.b.issued + 1;
    assert_int_equal(vidmm_context_wait(t.b.context, &t.b.fence, &one, 1), VIDMM_OK);
    vidmm_open_close(theirs, 0); /* behind queued work: it is on its way out, and does not count any more */
    client_open(&c, &t.fx, NULL);
    assert_int_equal(vidmm_alloc_open(c.device, theirs, 0, &out), VIDMM_INVALID);
    theirs = share(&t.b, mine);
    client_resident(&t.b, theirs);
    fx_verify(&t.fx);
    assert_int_equal(vidmm_fence_signal(t.b.fence, one), VIDMM_OK);
    fx_settle(&t.fx);
    fx_verify(&t.fx);
    fx_close(&t.fx);
}

static void the_creator_alone_may_lock(void **state)
{
    struct two t;
    void *cpu;
    (void)state;
    two_open(&t, REF_FORMAT_A);
    struct vidmm_open *mine = client_alloc(&t.a, &(struct fx_alloc){.bytes = KIB(64)});
    struct vidmm_open *theirs = share(&t.b, mine);
    assert_int_equal(vidmm_open_lock(theirs, &cpu), VIDMM_INVALID);
    assert_int_equal(vidmm_open_unlock(theirs), VIDMM_INVALID);
    assert_int_equal(vidmm_open_lock(mine, &cpu), VIDMM_OK);
    struct client second; /* the process may, by any of its devices */
    client_open(&second, &t.fx, t.a.process);
    struct vidmm_open *ours = share(&second, mine);
    void *same;
    assert_int_equal(vidmm_open_lock(ours, &same), VIDMM_OK);
    assert_ptr_equal(cpu, same);
    vidmm_open_close(mine, 0);
    fx_settle(&t.fx);
    memset(same, 0x21, KIB(64));
    client_resident(&t.b, theirs);
    uint64_t there = client_map(&t.b, theirs, 0, 0, 0, VIDMM_PROT_WRITE);
    assert_int_equal(gpu_read(&t.b, there), 0x21212121);
    fx_forget(&t.fx, t.a.process);
    vidmm_process_destroy(t.a.process);
    fx_settle(&t.fx);
    assert_int_equal(vidmm_open_lock(theirs, &cpu), VIDMM_INVALID); /* not even now */
    fx_close(&t.fx);
}

static void a_reader_does_not_write(void **state)
{
    struct two t;
    uint64_t va, value;
    (void)state;
    two_open(&t, REF_FORMAT_A);
    uint64_t at;
    struct vidmm_open *mine = client_memory(&t.a, KIB(64), SET_4K | SET_SYSTEM, &at), *theirs;
    gpu_fill(&t.a, at, 0x12121212, KIB(64));
    assert_int_equal(vidmm_alloc_open(t.b.device, mine, VIDMM_OPEN_READ_ONLY, &theirs), VIDMM_OK);
    client_resident(&t.b, theirs);
    struct vidmm_map map = {.open = theirs, .bytes = KIB(64), .protection = VIDMM_PROT_WRITE};
    uint64_t hash = vidmm_state_hash(t.fx.ad);
    assert_int_equal(vidmm_va_map(t.b.queue, &map, &va, &value), VIDMM_ACCESS_DENIED);
    assert_int_equal(vidmm_state_hash(t.fx.ad), hash);
    va = client_map(&t.b, theirs, 0, 0, 0, 0);
    assert_int_equal(gpu_read(&t.b, va), 0x12121212);
    gpu_write_faults(&t.b, va);
    assert_int_equal(gpu_read(&t.a, at), 0x12121212);
    fx_close(&t.fx);
}

/* VA-36 over all processes: queued maps count, too. */
static void unique_values_are_unique_for_all(void **state)
{
    const uint64_t u = 1ull << 63;
    struct two t;
    uint64_t va, value;
    (void)state;
    two_open(&t, REF_FORMAT_A);
    struct vidmm_open *mine = client_alloc(&t.a, &(struct fx_alloc){.bytes = KIB(64)});
    struct vidmm_open *theirs = share(&t.b, mine);
    struct vidmm_map map = {.open = mine, .bytes = KIB(16), .protection = VIDMM_PROT_WRITE,
                            .driver_protection = u | 1};
    vidmm_queue_delay(t.a.queue, UINT64_MAX);
    assert_int_equal(vidmm_va_map(t.a.queue, &map, &va, &value), VIDMM_PENDING);
    for (uint32_t executed = 0; executed < 2; executed++) {
        struct vidmm_map other = map;
        other.open = theirs;
        other.driver_protection = u | 2;
        assert_int_equal(vidmm_va_map(t.b.queue, &other, &va, &value), VIDMM_INVALID);
        other.driver_protection = 0;
        assert_int_equal(vidmm_va_map(t.b.queue, &other, &va, &value), VIDMM_INVALID);
        other.offset = KIB(16);
        other.driver_protection = u | 2;
        if (executed == 0) (void)client_try_map(&t.b, &other, &va);
        other.offset = 0;
        other.driver_protection = u | 1;
        assert_true(vidmm_va_map(t.b.queue, &other, &va, &value) >= 0);
        vidmm_queue_delay(t.a.queue, 0);
        fx_settle(&t.fx);
    }
    fx_close(&t.fx);
}

/* Each process is charged for what its own devices require. */
static void budgets_are_per_process(void **state)
{
    struct two t;
    uint64_t value, trim;
    (void)state;
    two_open(&t, REF_FORMAT_A);
    struct fx_alloc in = {.bytes = MIB(1), .set = SET_4K | SET_SYSTEM, .preferred = 2};
    struct vidmm_open *mine = client_alloc(&t.a, &in), *theirs = share(&t.b, mine);
    vidmm_process_set_budget(t.b.process, KIB(512));
    client_resident(&t.a, mine);
    assert_int_equal(vidmm_make_resident(t.b.queue, &theirs, 1, 0, &value, &trim), VIDMM_NO_MEMORY);
    assert_int_equal(trim, KIB(512));
    vidmm_process_set_budget(t.b.process, MIB(1));
    client_resident(&t.b, theirs);
    fx_verify(&t.fx);
    vidmm_open_close(theirs, 0);
    fx_settle(&t.fx);
    struct vidmm_open *another = client_alloc(&t.b, &in);
    client_resident(&t.b, another); /* the charge went with the reference */
    fx_close(&t.fx);
}

int main(int argc, char **argv)
{
    const struct vt_case cases[] = {
        VT_TEST(each_process_has_its_own_address_a, "ALC-05", "ALC-05"),
        VT_TEST(each_process_has_its_own_address_b, "ALC-05", "ALC-05"),
        VT_TEST(a_move_rewrites_the_entries_of_all, "VA-41", NULL),
        VT_TEST(a_move_waits_for_the_devices_of_all, "INV-12", NULL),
        VT_TEST(who_opens_during_a_move_is_part_of_it, "INV-12", NULL),
        VT_TEST(residency_is_counted_per_device, "", NULL),
        VT_TEST(not_written_counts_for_one_device, "RES-14", NULL),
        VT_TEST(not_written_ends_with_the_stay, "RES-14", NULL),
        VT_TEST(not_written_says_nothing_for_the_dead, "RES-14", NULL),
        VT_TEST(each_device_fits_alone, "INV-09", NULL),
        VT_TEST(it_outlives_its_creator, "ALC-26", NULL),
        VT_TEST(the_driver_knows_who_has_it_open, "ALC-17", NULL),
        VT_TEST(others_live_on, "ALC-23", NULL),
        VT_TEST(it_outlives_an_adapter_reset, "ALC-26", NULL),
        VT_TEST(refusals_change_nothing, "", NULL),
        VT_TEST(the_creator_alone_may_lock, "ALC-39", NULL),
        VT_TEST(a_reader_does_not_write, "", NULL),
        VT_TEST(unique_values_are_unique_for_all, "VA-36", NULL),
        VT_TEST(budgets_are_per_process, "", NULL),
    };
    return vt_main(argc, argv, "model_sharing", cases, VT_COUNT(cases));
}
