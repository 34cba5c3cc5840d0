/* SPDX-License-Identifier: MIT */
/* test_oom.c - every call of the client API with its k-th allocation failing, for k = 1, 2, 3 ... until it
 * succeeds: once for bookkeeping memory, once for system frames, once for the driver's create calls.
 * After each failure the logical state must be what it was before, the invariants must hold, and in the
 * end nothing may be left over. */
#include "../model/fixture.h"

enum { TRIES_MAX = 400 };

struct oom {
    struct fixture fx;
    struct client c;
    struct vidmm_open *open, *second;
    struct vidmm_queue *peer;
    uint64_t mapped, reserved;
    void *host;
    struct vidmm_process *process;
    struct vidmm_device *neighbour;
    struct osmm_process *os;
    struct vidmm_sync *sync[2];
    struct vidmm_context *lane[3];
    struct vidmm_hwcontext *hwcontext;
    struct vidmm_hwqueue *hwqueue, *user;
    uint64_t progress;
};

struct operation {
    const char *name;
    vidmm_status (*run)(struct oom *);
    void (*prepare)(struct oom *);
};

/* ---- the operations ------------------------------------------------------------------------------ */

static vidmm_status run_process(struct oom *o)
{
    vidmm_status st = vidmm_process_create(o->fx.ad, &o->process);
    if (st == VIDMM_OK) vidmm_process_destroy(o->process);
    return st;
}

static vidmm_status run_device(struct oom *o)
{
    struct vidmm_device *d;
    return vidmm_device_create(o->c.process, &d);
}

static vidmm_status run_queue(struct oom *o)
{
    struct vidmm_queue *q;
    return vidmm_queue_create(o->c.device, 1, &q);
}

static vidmm_status run_context(struct oom *o)
{
    struct vidmm_context_desc in = { .node = REF_NODE_COPY };
    struct vidmm_context *c;
    return vidmm_context_create(o->c.device, &in, &c);
}

/* The slots of the first page are used up, so that a page, a claim and tables are needed. */
static void fill_fence_page(struct oom *o)
{
    struct vidmm_fence *f;
    for (int i = 0; i < 70; i++) assert_int_equal(vidmm_fence_create(o->c.device, 0, 0, &f), VIDMM_OK);
}

static vidmm_status run_fences(struct oom *o)
{
    struct vidmm_fence *f;
    return vidmm_fence_create(o->c.device, 7, 0, &f);
}

static void fill_fence_pages(struct oom *o)
{
    struct vidmm_fence *f;
    fill_fence_page(o);
    for (int i = 0; i < 64 * 2 - 70 - 1; i++)
        assert_int_equal(vidmm_fence_create(o->c.device, 0, 0, &f), VIDMM_OK);
}

static vidmm_status run_alloc(struct oom *o)
{
    struct fx_alloc in = { .bytes = MIB(1), .set = SET_64K | SET_SYSTEM, .preferred = 1, .alignment = 65536 };
    struct vidmm_open *op;
    return client_try_alloc(&o->c, &in, &op);
}

static vidmm_status run_import(struct oom *o)
{
    struct ref_alloc_private p = { .magic = REF_ALLOC_MAGIC, .bytes = KIB(16), .supported = SET_SYSTEM };
    struct vidmm_alloc_desc in = { &p, sizeof p, o->host, KIB(16), 0 };
    struct vidmm_open *op;
    return vidmm_alloc_create(o->c.device, &in, &op);
}

static void make_open(struct oom *o)
{
    struct fx_alloc in = { .bytes = MIB(1), .set = SET_64K | SET_SYSTEM, .preferred = 1, .alignment = 65536 };
    o->open = client_alloc(&o->c, &in);
    o->second = client_alloc(&o->c, &in);
}

/* By a device of another process. */
static void make_neighbour(struct oom *o)
{
    make_open(o);
    assert_int_equal(vidmm_process_create(o->fx.ad, &o->process), VIDMM_OK);
    assert_int_equal(vidmm_device_create(o->process, &o->neighbour), VIDMM_OK);
}

static vidmm_status run_open(struct oom *o)
{
    struct vidmm_open *op;
    vidmm_status st = vidmm_alloc_open(o->neighbour, o->open, 0, &op);
    if (st == VIDMM_OK) vidmm_process_destroy(o->process);
    return st;
}

static vidmm_status run_reserve(struct oom *o)
{
    struct vidmm_reserve in = { .bytes = MIB(4) };
    uint64_t va, value;
    return vidmm_va_reserve(o->c.process, o->c.queue, &in, &va, &value);
}

static vidmm_status run_reserve_zero(struct oom *o)
{
    struct vidmm_reserve in = { .bytes = MIB(8), .type = VIDMM_RESERVE_ZERO };
    uint64_t va, value;
    if (!(vidmm_adapter_info(o->fx.ad)->mmu_flags & VIDMM_MMU_ZERO_IN_PTE)) in.type = VIDMM_RESERVE_NO_ACCESS;
    return vidmm_va_reserve(o->c.process, o->c.queue, &in, &va, &value);
}

static vidmm_status map_at(struct oom *o, struct vidmm_open *op, uint64_t base, uint64_t bytes)
{
    struct vidmm_map in = { .base = base, .open = op, .bytes = bytes, .protection = VIDMM_PROT_WRITE };
    uint64_t va, value;
    return vidmm_va_map(o->c.queue, &in, &va, &value);
}

static vidmm_status run_map(struct oom *o) { return map_at(o, o->open, 0, MIB(1)); }
static vidmm_status run_map_far(struct oom *o) { return map_at(o, o->open, GIB(200) + MIB(3), MIB(1)); }
static vidmm_status run_map_over(struct oom *o)
{
    return map_at(o, o->second, o->mapped + KIB(256), KIB(64));
}

static void make_mapping(struct oom *o)
{
    make_open(o);
    client_resident(&o->c, o->open);
    o->mapped = client_map(&o->c, o->open, 0, 0, 0, VIDMM_PROT_WRITE);
}

static vidmm_status run_free_all(struct oom *o) { return vidmm_va_free(o->c.process, o->mapped, MIB(1)); }
static vidmm_status run_free_middle(struct oom *o)
{
    return vidmm_va_free(o->c.process, o->mapped + KIB(128), KIB(64));
}

/* Two maps wait on the queue over the range that will be freed. */
static void make_pending(struct oom *o)
{
    make_mapping(o);
    vidmm_queue_delay(o->c.queue, UINT64_MAX);
    assert_int_equal(map_at(o, o->second, o->mapped + KIB(64), KIB(256)), VIDMM_PENDING);
    assert_int_equal(map_at(o, o->second, o->mapped + KIB(128), KIB(128)), VIDMM_PENDING);
}

static vidmm_status run_resident(struct oom *o)
{
    struct vidmm_open *both[] = { o->open, o->second, o->open };
    uint64_t value, trim;
    return vidmm_make_resident(o->c.queue, both, 3, 0, &value, &trim);
}

static vidmm_status run_offer(struct oom *o)
{
    struct vidmm_open *both[] = { o->open, o->second };
    return vidmm_offer(o->c.device, both, 2, VIDMM_OFFER_LOW, VIDMM_OFFER_ALLOW_DECOMMIT);
}

static void make_offered(struct oom *o)
{
    make_open(o);
    client_resident(&o->c, o->open);
    assert_int_equal(run_offer(o), VIDMM_OK);
}

static vidmm_status run_reclaim(struct oom *o)
{
    struct vidmm_open *both[] = { o->open, o->second };
    uint32_t result[2];
    uint64_t value;
    return vidmm_reclaim(o->c.queue, both, 2, result, &value);
}

static vidmm_status run_submit(struct oom *o)
{
    uint64_t words[8];
    uint32_t bytes;
    uint64_t va = client_commands(&o->c, words, ref_emit_spin(words, 1), &bytes);
    return vidmm_context_submit(o->c.context, va, bytes, NULL, 0, 0);
}

static vidmm_status run_hwcontext(struct oom *o)
{
    struct vidmm_hwcontext_desc in = { .node = REF_NODE_COMPUTE };
    return vidmm_hwcontext_create(o->c.device, &in, &o->hwcontext);
}

static vidmm_status run_hwqueue(struct oom *o)
{
    struct vidmm_hwqueue_desc in = { .flags = 0 };
    return vidmm_hwqueue_create(o->hwcontext, &in, &o->hwqueue);
}

static void make_hwcontext(struct oom *o)
{
    fill_fence_page(o);
    assert_int_equal(run_hwcontext(o), VIDMM_OK);
}

/* A long queue: the driver's array is full, too. */
static void make_hwqueue(struct oom *o)
{
    struct vidmm_hwqueue_desc user = { .flags = VIDMM_HWQUEUE_USER_SUBMISSION };
    uint64_t never = 1;
    assert_int_equal(run_hwcontext(o), VIDMM_OK);
    assert_int_equal(run_hwqueue(o), VIDMM_OK);
    assert_int_equal(vidmm_hwqueue_create(o->hwcontext, &user, &o->user), VIDMM_OK);
    for (int i = 0; i < 16; i++)
        assert_int_equal(vidmm_hwqueue_wait(o->hwqueue, &o->c.fence, &never, 1), VIDMM_OK);
    o->progress = 0;
}

static vidmm_status run_hw_submit(struct oom *o)
{
    return vidmm_hwqueue_submit(o->hwqueue, o->c.buffer_va, 8, NULL, 0, o->progress + 1);
}

static vidmm_status run_hw_wait(struct oom *o)
{
    struct vidmm_fence *both[] = { o->c.fence, o->c.fence };
    uint64_t values[] = { 1, 2 };
    return vidmm_hwqueue_wait(o->hwqueue, both, values, 2);
}

static vidmm_status run_hw_signal(struct oom *o)
{
    uint64_t value = 1;
    return vidmm_hwqueue_signal(o->hwqueue, &o->c.fence, &value, 1);
}

static vidmm_status run_doorbell(struct oom *o)
{
    struct vidmm_doorbell_desc in = { .ring = o->c.buffer, .control = o->c.buffer, .ring_entries = 8,
                                      .ring_va = o->c.buffer_va, .control_va = o->c.buffer_va };
    struct vidmm_doorbell *d;
    return vidmm_doorbell_create(o->user, &in, &d);
}

static vidmm_status run_wait(struct oom *o)
{
    uint64_t value = 0;
    return vidmm_context_wait(o->c.context, &o->c.fence, &value, 1);
}

static vidmm_status run_signal(struct oom *o)
{
    uint64_t value = ++o->c.issued;
    return vidmm_context_signal(o->c.context, &o->c.fence, &value, 1);
}

/* Two pools, one of them repeated, and a copy, in step with a fence that never comes. */
static vidmm_status run_update(struct oom *o)
{
    struct vidmm_tile_op op[] = {
        { .type = VIDMM_TILE_MAP, .base = o->reserved, .bytes = KIB(64), .open = o->open },
        { .type = VIDMM_TILE_MAP_PROTECT, .base = o->reserved + MIB(2), .bytes = KIB(128), .open = o->second,
          .open_bytes = KIB(64), .protection = VIDMM_PROT_WRITE },
        { .type = VIDMM_TILE_COPY, .base = o->reserved + KIB(512), .bytes = KIB(16), .source = o->reserved },
        { .type = VIDMM_TILE_UNMAP, .base = o->reserved, .bytes = KIB(8),
          .protection = VIDMM_PROT_NO_ACCESS } };
    return vidmm_va_update(o->c.context, op, 4, o->c.fence, 1000, 0);
}

static void make_reservation(struct oom *o)
{
    make_open(o);
    client_resident(&o->c, o->open);
    struct vidmm_reserve in = { .bytes = MIB(4) };
    uint64_t value;
    assert_int_equal(vidmm_va_reserve(o->c.process, o->c.queue, &in, &o->reserved, &value), VIDMM_OK);
}

static vidmm_status run_free_updates(struct oom *o)
{
    return vidmm_va_free(o->c.process, o->reserved + PAGE, KIB(32));
}

static void make_updates(struct oom *o)
{
    make_reservation(o);
    for (int i = 0; i < 3; i++) assert_int_equal(run_update(o), VIDMM_OK);
}

static vidmm_status run_sync(struct oom *o)
{
    const struct vidmm_sync_desc desc = { VIDMM_SYNC_MUTEX, 0, 0 }; /* owned: a stake, too */
    struct vidmm_sync *s;
    return vidmm_sync_create(o->c.device, &desc, &s);
}

static void make_syncs(struct oom *o)
{
    const struct vidmm_sync_desc desc = { VIDMM_SYNC_SEMAPHORE, 1, 1 };
    for (int i = 0; i < 2; i++)
        assert_int_equal(vidmm_sync_create(o->c.device, &desc, &o->sync[i]), VIDMM_OK);
}

static vidmm_status run_wait_for(struct oom *o)
{
    const struct vidmm_point p[] = { { .sync = o->sync[0] }, { o->c.fence, NULL, 0 },
                                     { .sync = o->sync[1] } };
    return vidmm_context_wait_for(o->c.context, p, 3);
}

static void make_lanes(struct oom *o)
{
    make_syncs(o);
    for (int i = 0; i < 3; i++) o->lane[i] = client_context(&o->c, REF_NODE_COPY);
}

static vidmm_status run_broadcast(struct oom *o)
{
    const struct vidmm_point p[] = { { .sync = o->sync[0] }, { o->c.fence, NULL, 1 },
                                     { .sync = o->sync[1] } };
    return vidmm_contexts_signal(&(struct vidmm_signal){ o->lane, 3, p, 3, 0 });
}

static const struct operation operations[] = {
    { "process_create", run_process, NULL },
    { "device_create", run_device, NULL },
    { "queue_create", run_queue, NULL },
    { "context_create", run_context, NULL },
    { "fence_create", run_fences, NULL },
    { "fence_create, new page", run_fences, fill_fence_pages },
    { "alloc_create", run_alloc, NULL },
    { "alloc_create, imported", run_import, NULL },
    { "alloc_open", run_open, make_neighbour },
    { "va_reserve", run_reserve, NULL },
    { "va_reserve, zero", run_reserve_zero, NULL }, /* refused where entries cannot be zero */
    { "va_map", run_map, make_open },
    { "va_map, far away", run_map_far, make_open },
    { "va_map, over another", run_map_over, make_mapping },
    { "va_free", run_free_all, make_mapping },
    { "va_free, middle", run_free_middle, make_mapping },
    { "va_free, over queued maps", run_free_all, make_pending },
    { "va_update", run_update, make_reservation },
    { "va_update, again", run_update, make_updates },
    { "va_free, over queued updates", run_free_updates, make_updates },
    { "make_resident", run_resident, make_open },
    { "offer", run_offer, make_open },
    { "reclaim", run_reclaim, make_offered },
    { "context_submit", run_submit, NULL },
    { "context_wait", run_wait, NULL },
    { "hwcontext_create", run_hwcontext, NULL },
    { "hwqueue_create", run_hwqueue, make_hwcontext },
    { "hwqueue_submit", run_hw_submit, make_hwqueue },
    { "hwqueue_wait", run_hw_wait, make_hwqueue },
    { "hwqueue_signal", run_hw_signal, make_hwqueue },
    { "doorbell_create", run_doorbell, make_hwqueue },
    { "sync_create", run_sync, NULL },
    { "context_wait_for", run_wait_for, make_syncs },
    { "contexts_signal", run_broadcast, make_lanes },
    { "context_signal", run_signal, NULL },
};

/* ---- the IoMmu model: what needs an address of the process, or a place in the OS ------------------ */

static void make_os_process(struct oom *o)
{
    assert_int_equal(osmm_process_create(o->fx.os, &o->os), VIDMM_OK);
}

static vidmm_status run_shared_process(struct oom *o)
{
    vidmm_status st = vidmm_process_create_for(o->fx.ad, o->os, &o->process);
    if (st == VIDMM_OK) vidmm_process_destroy(o->process);
    return st;
}

static vidmm_status run_shared_context(struct oom *o)
{
    struct ref_context_private p = { .magic = REF_CONTEXT_MAGIC, .iommu = 1 };
    struct vidmm_context_desc in = { .node = REF_NODE_COPY, .private_data = &p, .private_size = sizeof p };
    struct vidmm_context *c;
    return vidmm_context_create(o->c.device, &in, &c);
}

static void make_primary(struct oom *o)
{
    struct fx_alloc in = { .bytes = MIB(1), .set = SET_SYSTEM, .primary = true };
    o->open = client_alloc(&o->c, &in);
}

static vidmm_status run_display(struct oom *o) { return vidmm_display_set(o->fx.ad, o->open); }

static const struct operation shared_operations[] = {
    { "process_create", run_shared_process, make_os_process },
    { "device_create", run_device, NULL },
    { "queue_create", run_queue, NULL },
    { "context_create", run_shared_context, NULL },
    { "fence_create", run_fences, NULL },
    { "fence_create, new page", run_fences, fill_fence_page },
    { "alloc_create", run_alloc, NULL },
    { "alloc_create, imported", run_import, NULL },
    { "make_resident", run_resident, make_open },
    { "display_set", run_display, make_primary },
    { "context_submit", run_submit, NULL },
    { "context_signal", run_signal, NULL },
};

/* ---- on a link of two gpus, of formats C and B ---- */

static vidmm_status run_queue_on(struct oom *o)
{
    struct vidmm_queue *q;
    return vidmm_queue_create_on(o->c.device, 1, 0, &q);
}

static vidmm_status run_context_on(struct oom *o)
{
    struct vidmm_context_desc in = { .node = REF_NODE_COPY, .engine_affinity = 2 };
    struct vidmm_context *c;
    return vidmm_context_create(o->c.device, &in, &c);
}

static vidmm_status run_instances(struct oom *o)
{
    struct fx_alloc in = { .bytes = MIB(1), .set = SET_64K | SET_SYSTEM, .preferred = 1,
                           .flags = VIDMM_ALLOCATION_LINK_INSTANCED };
    return client_try_alloc(&o->c, &in, &o->second);
}

static void make_instances(struct oom *o)
{
    assert_int_equal(run_instances(o), VIDMM_OK);
    assert_int_equal(vidmm_queue_create_on(o->c.device, 1, 0, &o->peer), VIDMM_OK);
}

static vidmm_status run_instances_resident(struct oom *o)
{
    uint64_t value, trim;
    return vidmm_make_resident(o->peer, &o->second, 1, 0, &value, &trim);
}

static vidmm_status map_instance(struct oom *o, struct vidmm_queue *q, uint32_t instance)
{
    struct vidmm_map m = { .base = 0x30000000, .open = o->second, .offset = instance * MIB(1),
                           .bytes = MIB(1) };
    uint64_t value;
    return vidmm_va_map(q, &m, &o->mapped, &value);
}

static vidmm_status run_map_peer(struct oom *o) { return map_instance(o, o->peer, 0); }

static void make_both_mapped(struct oom *o)
{
    make_instances(o);
    assert_true(map_instance(o, o->c.queue, 0) >= 0);
    assert_true(map_instance(o, o->peer, 1) >= 0);
}

static const struct operation link_operations[] = {
    { "process_create", run_process, NULL },
    { "fence_create, new page", run_fences, fill_fence_pages },
    { "queue_create_on", run_queue_on, NULL },
    { "context_create", run_context_on, NULL },
    { "alloc_create, instanced", run_instances, NULL },
    { "make_resident, instanced", run_instances_resident, make_instances },
    { "va_map, of a peer", run_map_peer, make_instances },
    { "va_free, of two gpus", run_free_middle, make_both_mapped },
};

/* ---- the loop ------------------------------------------------------------------------------------ */

enum failing { FAIL_ALLOC, FAIL_FRAMES, FAIL_DRIVER, FAIL_KINDS };

static void arm(struct oom *o, enum failing what, uint32_t k)
{
    world_fail(o->fx.world, WORLD_ALLOC, what == FAIL_ALLOC ? k : 0, false);
    world_fail(o->fx.world, WORLD_FRAMES, what == FAIL_FRAMES ? k : 0, false);
    o->fx.tap.fail_create_in = what == FAIL_DRIVER ? k : 0;
}

static bool struck(struct oom *o, enum failing what)
{
    if (what == FAIL_DRIVER) return o->fx.tap.fail_create_in == 0;
    return world_failed(o->fx.world, what == FAIL_ALLOC ? WORLD_ALLOC : WORLD_FRAMES) > 0;
}

static void disarm(struct oom *o)
{
    world_fail(o->fx.world, WORLD_ALLOC, 0, false);
    world_fail(o->fx.world, WORLD_FRAMES, 0, false);
    o->fx.tap.fail_create_in = 0;
}

/* Fails from the k-th on until nothing fails any more (*done), or a failure did no harm and the call
 * succeeded: then the next k needs a fresh start. Gives the next k. */
static uint32_t exhaust(struct oom *o, const struct operation *op, enum failing what, uint32_t k, bool *done)
{
    uint64_t issued = o->c.issued;
    for (; k < TRIES_MAX; k++) {
        o->c.issued = issued;
        uint64_t before = vidmm_state_hash(o->fx.ad);
        arm(o, what, k);
        vidmm_status st = op->run(o);
        bool hit = struck(o, what);
        disarm(o);
        fx_verify(&o->fx);
        if (!hit && st < 0) fail_msg("%s answers %d although nothing failed", op->name, (int)st);
        if (what == FAIL_ALLOC && st < 0 && st != VIDMM_NO_MEMORY)
            fail_msg("%s answers %d when memory is missing", op->name, (int)st);
        *done = !hit;
        if (st >= 0) return k + 1;
        if (vidmm_state_hash(o->fx.ad) != before) {
            print_error("%s changed the state although failure %u of kind %d made it fail\n", op->name, k,
                        (int)what);
            fail();
        }
    }
    fail_msg("%s never succeeds", op->name);
    return 0;
}

/* The adapter on which all is tried. */
enum machine { PLAIN, ONLY_IOMMU, BOTH, LINKED };
struct ground { enum ref_format format; enum vidmm_update_mode mode; enum machine machine; };

static void open_ground(struct oom *o, struct ground g)
{
    struct fx_options in;
    fx_options(&in, g.format);
    in.ref.update_mode = g.mode;
    in.machine_iommu = in.ref.iommu = g.machine == ONLY_IOMMU || g.machine == BOTH;
    in.ref.no_gpummu = g.machine == ONLY_IOMMU;
    if (g.machine == LINKED) fx_add_peer(&in, REF_FORMAT_B);
    (void)fx_open(&o->fx, &in);
    if (g.machine == PLAIN || g.machine == LINKED) client_open(&o->c, &o->fx, NULL);
    else client_open_shared(&o->c, &o->fx, NULL);
}

static uint32_t run_fresh(const struct operation *op, struct ground g, enum failing what, uint32_t k,
                          bool *done)
{
    struct oom o;
    memset(&o, 0, sizeof o);
    void *raw = test_malloc(KIB(20));
    o.host = (void *)(((uintptr_t)raw + PAGE - 1) & ~(uintptr_t)(PAGE - 1));
    open_ground(&o, g);
    if (op->prepare != NULL) op->prepare(&o);
    fx_settle(&o.fx);
    k = exhaust(&o, op, what, k, done);
    vidmm_queue_delay(o.c.queue, 0);
    fx_settle(&o.fx);
    fx_verify(&o.fx);
    fx_close(&o.fx);
    test_free(raw);
    return k;
}

/* How many failures the operation met. */
static uint32_t run_operation(const struct operation *op, struct ground g, enum failing what)
{
    uint32_t k = 1;
    for (bool done = false; !done;) k = run_fresh(op, g, what, k, &done);
    return k - 2;
}

static void run_all(struct ground g, enum failing what, uint32_t at_least)
{
    uint32_t met = 0;
    for (size_t i = 0; i < VT_COUNT(operations); i++) met += run_operation(&operations[i], g, what);
    print_message("%u failures met\n", met);
    assert_true(met >= at_least); /* a loop that never fails anything proves nothing */
}

static void shared_addresses(void **state)
{
    uint32_t met = 0;
    (void)state;
    for (size_t i = 0; i < VT_COUNT(shared_operations); i++)
        for (int machine = ONLY_IOMMU; machine <= BOTH; machine++)
            for (int what = 0; what < FAIL_KINDS; what++)
                met += run_operation(&shared_operations[i],
                                     (struct ground){ .machine = (enum machine)machine },
                                     (enum failing)what);
    print_message("%u failures met\n", met);
    assert_true(met >= 40);
}

static void linked_gpus(void **state)
{
    const struct ground on = { REF_FORMAT_C, VIDMM_UPDATE_CPU_VIRTUAL, LINKED };
    uint32_t met = 0;
    (void)state;
    for (size_t i = 0; i < VT_COUNT(link_operations); i++)
        for (int what = 0; what < FAIL_KINDS; what++)
            met += run_operation(&link_operations[i], on, (enum failing)what);
    print_message("%u failures met\n", met);
    assert_true(met >= 30);
}

static void run_mode(enum vidmm_update_mode mode, enum failing what, uint32_t at_least)
{
    run_all((struct ground){ REF_FORMAT_A, mode, PLAIN }, what, at_least);
    run_all((struct ground){ REF_FORMAT_B, mode, PLAIN }, what, at_least);
}

static void bookkeeping_memory(void **state)
{
    (void)state;
    run_mode(VIDMM_UPDATE_CPU_VIRTUAL, FAIL_ALLOC, 40);
}

static void system_frames(void **state)
{
    (void)state;
    run_mode(VIDMM_UPDATE_CPU_VIRTUAL, FAIL_FRAMES, 3);
}

static void driver_create_calls(void **state)
{
    (void)state;
    run_mode(VIDMM_UPDATE_CPU_VIRTUAL, FAIL_DRIVER, 3);
}

/* Page tables written by the GPU: what calls show in the privileged space needs memory, too. */
static void bookkeeping_memory_gpu_virtual(void **state)
{
    (void)state;
    run_mode(VIDMM_UPDATE_GPU_VIRTUAL, FAIL_ALLOC, 40);
}

static void system_frames_gpu_virtual(void **state)
{
    (void)state;
    run_mode(VIDMM_UPDATE_GPU_VIRTUAL, FAIL_FRAMES, 3);
}

static void driver_create_calls_gpu_virtual(void **state)
{
    (void)state;
    run_mode(VIDMM_UPDATE_GPU_VIRTUAL, FAIL_DRIVER, 3);
}

static void gpu_physical(void **state)
{
    (void)state;
    run_mode(VIDMM_UPDATE_GPU_PHYSICAL, FAIL_ALLOC, 40);
    run_mode(VIDMM_UPDATE_GPU_PHYSICAL, FAIL_FRAMES, 3);
}

/* ---- bring-up, and what must work without any memory ---------------------------------------------- */

static void adapter_creation_leaks_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        for (uint64_t k = 1;; k++) {
            struct fixture fx;
            struct fx_options in;
            struct vidmm_adapter_config cfg;
            struct world *w = world_create(&(struct world_options){ .seed = 1 });
            struct world_accounts acc;
            fx_options(&in, i % 2 == 0 ? REF_FORMAT_A : REF_FORMAT_B);
            in.ref.update_mode = (uint32_t)i / 2;
            assert_int_equal(ref_create(&in.ref, &fx.ref), VIDMM_OK);
            cfg = (struct vidmm_adapter_config){ .struct_size = sizeof cfg, .platform = world_platform(w),
                                                 .ops = ref_ops(), .kmd = fx.ref };
            world_fail(w, WORLD_ALLOC, k, false);
            vidmm_status st = vidmm_adapter_create(&cfg, &fx.ad, &fx.why);
            world_fail(w, WORLD_ALLOC, 0, false);
            if (st == VIDMM_OK) vidmm_adapter_destroy(fx.ad);
            else assert_non_null(fx.why);
            world_get_accounts(w, &acc);
            assert_int_equal(acc.blocks, 0);
            assert_int_equal(acc.frames, 0);
            assert_int_equal(acc.errors, 0);
            ref_destroy(fx.ref);
            world_destroy(w);
            if (st == VIDMM_OK) break;
            k += k > 40 ? 97 : 0; /* 1,500 tables: the first ones singly, then samples */
        }
    }
}

/* Giving things back, eviction under pressure and teardown never need memory. */
static void giving_back_needs_no_memory(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct oom o;
        uint64_t trim;
        memset(&o, 0, sizeof o);
        open_ground(&o, (struct ground){ (enum ref_format)(i % 2), (enum vidmm_update_mode)(i / 2), PLAIN });
        make_mapping(&o);
        client_resident(&o.c, o.second);
        world_fail(o.fx.world, WORLD_ALLOC, 1, true);
        world_fail(o.fx.world, WORLD_FRAMES, 1, true);
        void *cpu;
        assert_true(vidmm_open_lock(o.open, &cpu) >= 0);
        fx_settle(&o.fx);
        assert_int_equal(vidmm_open_unlock(o.open), VIDMM_OK);
        assert_int_equal(vidmm_evict(o.c.device, &o.open, 1, 0, &trim), VIDMM_OK);
        assert_int_equal(vidmm_va_free(o.c.process, o.mapped, MIB(1)), VIDMM_OK);
        vidmm_open_close(o.open, 0);
        vidmm_open_close(o.second, VIDMM_DESTROY_ASSUME_NOT_IN_USE);
        fx_settle(&o.fx);
        fx_verify(&o.fx);
        fx_close(&o.fx);
    }
}

static const struct vt_case cases[] = {
    VT_TEST(bookkeeping_memory, "", NULL),
    VT_TEST(system_frames, "", NULL),
    VT_TEST(driver_create_calls, "", NULL),
    VT_TEST(shared_addresses, "", NULL),
    VT_TEST(linked_gpus, "", NULL),
    VT_TEST(bookkeeping_memory_gpu_virtual, "", NULL),
    VT_TEST(system_frames_gpu_virtual, "", NULL),
    VT_TEST(driver_create_calls_gpu_virtual, "", NULL),
    VT_TEST(gpu_physical, "", NULL),
    VT_TEST(adapter_creation_leaks_nothing, "", NULL),
    VT_TEST(giving_back_needs_no_memory, "", NULL),
};

int main(int argc, char **argv) { return vt_main(argc, argv, "oom", cases, VT_COUNT(cases)); }
