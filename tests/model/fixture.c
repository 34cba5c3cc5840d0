/* SPDX-License-Identifier: MIT */
/* fixture.c - see fixture.h. */
#include "fixture.h"

#include <stdlib.h>

#include "base/bits.h"
#include "core/breaks.h"

#define RESULT_OFFSET (FX_COMMAND_BYTES - 4096u) /* the last page of the command buffer takes results */

#define FX_FRAMES_MORE 32768u /* numbers of imported frames lie above those of the world's own */

/* Command buffers stay out of the way of the addresses that cases name. */
#define BUFFER_MIN_A 0x600000000000ull
#define BUFFER_MIN_B 0x1c000000ull

/* ---- break switches ------------------------------------------------------------------------------ */

/* A switch that the core does not know must never look like one that a test noticed. */
static const char *known_break(void)
{
#define ROW_NAME(row) #row,
    static const char *const names[] = {VMM_ROWS(ROW_NAME)};
#undef ROW_NAME
    const char *name = vt_break();
    if (name == NULL) return NULL;
    for (size_t i = 0; i < VT_COUNT(names); i++) {
        size_t k = 0;
        while (name[k] != 0 && (name[k] == '-' ? '_' : name[k]) == names[i][k]) k++;
        if (name[k] == 0 && names[i][k] == 0) return name;
    }
    vt_break_unknown(name);
}

/* ---- adapter ------------------------------------------------------------------------------------- */

void fx_options(struct fx_options *o, enum ref_format format)
{
    *o = (struct fx_options){.seed = vt_seed(), .frames = 65536};
    ref_options_default(&o->ref, format);
    o->ref.segment[0].bytes = MIB(16);
    o->ref.segment[1].bytes = MIB(4);
    o->ref.detect = SOFTGPU_DETECT_WALK;
}

static bool engine_step(struct fixture *f, uint32_t node)
{
    return softgpu_engine_step(f->gpu, node) == SOFTGPU_PROGRESS;
}

static bool step_compute(void *f) { return engine_step(f, REF_NODE_COMPUTE); }
static bool step_copy(void *f) { return engine_step(f, REF_NODE_COPY); }
static bool step_paging(void *f) { return engine_step(f, REF_NODE_PAGING); }
static bool step_os(void *f) { return osmm_step(((struct fixture *)f)->os); }
static uint64_t gpu_wake(void *f) { return softgpu_wakeup_ns(((struct fixture *)f)->gpu); }

static void add_engines(struct fixture *f)
{
    world_add_actor(f->world, &(struct world_actor){step_compute, gpu_wake, f});
    world_add_actor(f->world, &(struct world_actor){step_copy, NULL, f});
    world_add_actor(f->world, &(struct world_actor){step_paging, NULL, f});
}

/* The OS must be there before the adapter, and its blocks belong to the world's accounts. */
static void machine_open(struct fixture *f, const struct fx_options *o)
{
    struct softgpu_iommu_options uo = {.platform = world_platform(f->world), .defects = o->unit_defects};
    if (!o->machine_iommu) return;
    assert_int_equal(softgpu_iommu_create(&uo, &f->unit), VIDMM_OK);
    struct osmm_options so = {.platform = world_platform(f->world), .unit = softgpu_iommu_unit(f->unit),
                              .frames = o->frames + FX_FRAMES_MORE, .levels = o->levels,
                              .defects = o->os_defects};
    assert_int_equal(osmm_create(&so, &f->os), VIDMM_OK);
    world_set_iommu(f->world, osmm_iommu(f->os));
}

static void machine_close(struct fixture *f)
{
    if (f->os == NULL) return;
    osmm_destroy(f->os);
    softgpu_iommu_destroy(f->unit);
    f->os = NULL;
}

static bool peer_step(struct fx_peer *p, uint32_t node)
{
    return softgpu_engine_step(p->gpu, node) == SOFTGPU_PROGRESS;
}

static bool peer_compute(void *p) { return peer_step(p, REF_NODE_COMPUTE); }
static bool peer_copy(void *p) { return peer_step(p, REF_NODE_COPY); }

static bool peer_paging(void *p)
{
    return !((struct fx_peer *)p)->paging_held && peer_step(p, REF_NODE_PAGING);
}

static uint64_t peer_wake(void *p) { return softgpu_wakeup_ns(((struct fx_peer *)p)->gpu); }

static void add_peer_engines(struct fixture *f, struct fx_peer *p)
{
    world_add_actor(f->world, &(struct world_actor){peer_compute, peer_wake, p});
    world_add_actor(f->world, &(struct world_actor){peer_copy, NULL, p});
    world_add_actor(f->world, &(struct world_actor){peer_paging, NULL, p});
}

void fx_hold_paging(struct fixture *f, uint32_t gpu, bool held) { f->peer[gpu - 1].paging_held = held; }

void fx_add_peer(struct fx_options *o, enum ref_format format)
{
    struct fx_options own;
    fx_options(&own, format);
    own.ref.seed = o->peer_count + 2;
    o->peer[o->peer_count++] = own.ref;
}

/* Gives what vidmm_adapter_config.peer wants. */
static void make_peers(struct fixture *f, const struct fx_options *o, struct vidmm_gpu *gpu)
{
    struct ref_kmd *link[VIDMM_GPUS_MAX] = {f->ref};
    f->peer_count = o->peer_count;
    for (uint32_t i = 0; i < o->peer_count; i++) {
        struct fx_peer *p = &f->peer[i];
        struct ref_options ro = o->peer[i];
        ro.now_ns = world_now_ns;
        ro.now_ctx = f->world;
        assert_int_equal(ref_create(&ro, &p->ref), VIDMM_OK);
        p->gpu = ref_gpu(p->ref);
        assert_true(tap_init(&p->tap, ref_ops(), p->ref));
        if (o->edit_ops != NULL) o->edit_ops(&p->tap.ops, i + 1);
        gpu[i] = (struct vidmm_gpu){&p->tap.ops, &p->tap};
        link[i + 1] = p->ref;
    }
    ref_link(link, 1 + o->peer_count);
}

/* One for all gpus. As many logical pages as there are frames, and those that differ from them come first. */
static void domain_open(struct fixture *f, const struct fx_options *o)
{
    struct sim_domain_options d = {.remaps = o->domain == FX_REMAPPING};
    if (o->domain == FX_NO_DOMAIN) return;
    d.pages = world_platform(f->world)->frame_end;
    d.firmware = o->firmware;
    d.firmware_end = o->firmware_end;
    d.pages = max_u64(d.pages, d.firmware_end);
    f->domain = sim_domain_create(&d);
    assert_non_null(f->domain);
    softgpu_set_domain(f->gpu, sim_domain_face(f->domain));
    for (uint32_t i = 0; i < f->peer_count; i++)
        softgpu_set_domain(f->peer[i].gpu, sim_domain_face(f->domain));
}

static void domain_close(struct fixture *f)
{
    struct sim_domain_accounts a = {0};
    if (f->domain != NULL) sim_domain_get_accounts(f->domain, &a);
    sim_domain_destroy(f->domain);
    f->domain = NULL;
    assert_int_equal(a.errors, 0);
    assert_int_equal(a.faults, f->expect_domain_faults);
    assert_int_equal(a.mapped, 0);
    assert_int_equal(a.reserved, 0);
    assert_in_range(a.attached, 0, 1);
}

static void free_world(struct fixture *f)
{
    machine_close(f);
    for (uint32_t i = 0; i < f->peer_count; i++) {
        ref_destroy(f->peer[i].ref);
        tap_fini(&f->peer[i].tap);
    }
    ref_destroy(f->ref);
    tap_fini(&f->tap);
    world_destroy(f->world);
    f->world = NULL;
}

vidmm_status fx_open(struct fixture *f, const struct fx_options *o)
{
    const char *row = known_break();
    struct world_options wo = {.seed = o->seed, .frames = o->frames};
    struct ref_options ro = o->ref;
    *f = (struct fixture){.format = o->ref.format};
    f->world = world_create(&wo);
    assert_non_null(f->world);
    machine_open(f, o);
    ro.now_ns = world_now_ns;
    ro.now_ctx = f->world;
    assert_int_equal(ref_create(&ro, &f->ref), VIDMM_OK);
    f->gpu = ref_gpu(f->ref);
    assert_true(tap_init(&f->tap, ref_ops(), f->ref));
    f->tap.edit_info = o->edit_info;
    if (o->edit_ops != NULL) o->edit_ops(&f->tap.ops, 0);
    struct vidmm_gpu peer[VIDMM_GPUS_MAX - 1];
    make_peers(f, o, peer);
    domain_open(f, o);
    struct vidmm_adapter_config cfg = {.struct_size = sizeof(cfg), .platform = world_platform(f->world),
                                       .ops = &f->tap.ops, .kmd = &f->tap, .break_row = row,
                                       .domain = f->domain != NULL ? sim_domain_face(f->domain) : NULL,
                                       .peer = peer, .peer_count = o->peer_count,
                                       .tdr_level = o->timeouts ? VIDMM_TDR_RECOVER : VIDMM_TDR_OFF,
                                       .tdr_limit_count = o->tdr_limit,
                                       .slice_ns = UINT64_MAX}; /* cases hold engines at will */
    vidmm_status st = vidmm_adapter_create(&cfg, &f->ad, &f->why);
    if (st == VIDMM_OK) {
        add_engines(f);
        for (uint32_t i = 0; i < f->peer_count; i++) add_peer_engines(f, &f->peer[i]);
        if (f->os != NULL) /* behind them: sees their requests */
            world_add_actor(f->world, &(struct world_actor){step_os, NULL, f});
        world_own(f->world, f->ad);
        return st;
    }
    if (!o->may_refuse) fail_msg("the adapter was refused: %s", f->why != NULL ? f->why : "no reason");
    struct world_accounts a;
    machine_close(f);
    world_get_accounts(f->world, &a);
    free_world(f);
    domain_close(f);
    assert_int_equal(a.blocks + a.frames + a.errors, 0);
    return st;
}

void fx_open_format(struct fixture *f, enum ref_format format)
{
    struct fx_options o;
    fx_options(&o, format);
    (void)fx_open(f, &o);
}

void fx_settle(struct fixture *f)
{
    if (!world_settle(f->world, FX_TURNS)) fail_msg("still busy after %u turns", FX_TURNS);
}

void fx_verify(struct fixture *f)
{
    const char *what = "";
    int number = vidmm_verify(f->ad, &what);
    if (number != 0) fail_msg("invariant %d does not hold: %s", number, what);
}

static void insist_clean(struct softgpu *gpu)
{
    struct softgpu_detector d;
    softgpu_get_detector(gpu, &d);
    if (d.violations != 0)
        fail_msg("the device model saw %llu stale uses; first at %llx", (unsigned long long)d.violations,
                 (unsigned long long)d.first_violation.va);
}

void fx_close(struct fixture *f)
{
    struct world_accounts a;
    fx_settle(f);
    fx_verify(f);
    while (f->process_count > 0) vidmm_process_destroy(f->process[--f->process_count]);
    fx_settle(f);
    assert_true(vidmm_adapter_idle(f->ad));
    if (!f->expect_violations) insist_clean(f->gpu);
    for (uint32_t i = 0; i < f->peer_count; i++) insist_clean(f->peer[i].gpu);
    vidmm_adapter_destroy(f->ad);
    if (f->os != NULL && !f->expect_violations) {
        struct osmm_accounts oa;
        osmm_get_accounts(f->os, &oa);
        assert_int_equal(oa.foreign, 0);
        assert_int_equal(oa.evicted_uses, 0);
        assert_int_equal(oa.quarantined, 0);
    }
    machine_close(f);
    world_get_accounts(f->world, &a);
    free_world(f);
    domain_close(f);
    assert_int_equal(a.errors, 0);
    assert_int_equal(a.blocks, 0);
    assert_int_equal(a.bytes, 0);
    assert_int_equal(a.frames, 0);
    assert_int_equal(a.imported, 0);
}

void fx_drop(struct fixture *f) { free_world(f); }

struct softgpu_knobs fx_knobs(struct fixture *f)
{
    struct softgpu_knobs k;
    softgpu_get_knobs(f->gpu, &k);
    return k;
}

void fx_set_knobs(struct fixture *f, const struct softgpu_knobs *k) { softgpu_set_knobs(f->gpu, k); }

struct vidmm_process *fx_process(struct fixture *f)
{
    assert_in_range(f->process_count, 0, FX_PROCESSES_MAX - 1);
    struct vidmm_process *p;
    struct osmm_process *os = NULL;
    if (f->os != NULL) assert_int_equal(osmm_process_create(f->os, &os), VIDMM_OK);
    assert_int_equal(vidmm_process_create_for(f->ad, os, &p), VIDMM_OK);
    f->os_process[f->process_count] = os;
    f->process[f->process_count++] = p;
    return p;
}

void fx_forget(struct fixture *f, struct vidmm_process *p)
{
    for (uint32_t i = 0; i < f->process_count; i++) {
        if (f->process[i] != p) continue;
        f->process[i] = f->process[--f->process_count];
        f->os_process[i] = f->os_process[f->process_count];
        return;
    }
}

/* ---- clients ------------------------------------------------------------------------------------- */

static void open_device(struct client *c, struct fixture *f, struct vidmm_process *p, bool shared)
{
    struct ref_context_private in = {.magic = REF_CONTEXT_MAGIC, .iommu = shared};
    struct vidmm_context_desc d = {.node = REF_NODE_COMPUTE, .private_data = &in, .private_size = sizeof(in)};
    *c = (struct client){.fx = f, .process = p != NULL ? p : fx_process(f)};
    for (uint32_t i = 0; i < f->process_count; i++)
        if (f->process[i] == c->process) c->os = f->os_process[i];
    assert_int_equal(vidmm_device_create(c->process, &c->device), VIDMM_OK);
    assert_int_equal(vidmm_queue_create(c->device, 0, &c->queue), VIDMM_OK);
    assert_int_equal(vidmm_context_create(c->device, &d, &c->context), VIDMM_OK);
    assert_int_equal(vidmm_fence_create(c->device, 0, 0, &c->fence), VIDMM_OK);
    c->buffer = client_alloc(c, &(struct fx_alloc){.bytes = FX_COMMAND_BYTES});
    client_resident(c, c->buffer);
}

void *client_host(struct client *c, const struct vidmm_open *op)
{
    struct vidmm_placement_info at;
    const struct vidmm_platform *pl = world_platform(c->fx->world);
    vidmm_open_placement(op, &at);
    assert_int_equal(at.segment, 0);
    return pl->sys_address(pl->ctx, at.offset / PAGE);
}

void client_open_shared(struct client *c, struct fixture *f, struct vidmm_process *p)
{
    void *pointer;
    open_device(c, f, p, true);
    assert_int_equal(vidmm_open_lock(c->buffer, &pointer), VIDMM_OK);
    c->buffer_va = (uint64_t)(uintptr_t)pointer;
    c->buffer_cpu = client_host(c, c->buffer);
}

struct vidmm_context *client_context_shared(struct client *c, uint32_t node)
{
    struct ref_context_private in = {.magic = REF_CONTEXT_MAGIC, .iommu = 1};
    struct vidmm_context_desc d = {.node = node, .private_data = &in, .private_size = sizeof(in)};
    struct vidmm_context *ctx;
    assert_int_equal(vidmm_context_create(c->device, &d, &ctx), VIDMM_OK);
    return ctx;
}

void client_open(struct client *c, struct fixture *f, struct vidmm_process *p)
{
    open_device(c, f, p, false);
    struct vidmm_map m = {.min = f->format == REF_FORMAT_A ? BUFFER_MIN_A : BUFFER_MIN_B, .open = c->buffer,
                          .bytes = FX_COMMAND_BYTES, .protection = VIDMM_PROT_WRITE | VIDMM_PROT_EXECUTE};
    assert_int_equal(client_try_map(c, &m, &c->buffer_va), VIDMM_OK);
    void *cpu = NULL;
    assert_int_equal(vidmm_open_lock(c->buffer, &cpu), VIDMM_OK);
    c->buffer_cpu = cpu;
}

struct vidmm_context *client_context(struct client *c, uint32_t node)
{
    struct vidmm_context_desc d = {.node = node};
    struct vidmm_context *ctx;
    assert_int_equal(vidmm_context_create(c->device, &d, &ctx), VIDMM_OK);
    return ctx;
}

vidmm_status client_try_alloc(struct client *c, const struct fx_alloc *a, struct vidmm_open **out)
{
    uint32_t align = a->alignment == 0 && (a->set & SET_64K) != 0 ? (uint32_t)VIDMM_PAGE_64K : a->alignment;
    struct ref_alloc_private p = {.magic = REF_ALLOC_MAGIC, .alignment = align, .bytes = a->bytes,
                                  .supported = a->set, .preferred = a->preferred, .flags = a->flags,
                                  .priority = a->priority, .gpu = a->gpu};
    struct vidmm_alloc_desc d = {.private_data = &p, .private_size = sizeof(p),
                                 .flags = a->primary ? VIDMM_ALLOC_PRIMARY : 0};
    return vidmm_alloc_create(c->device, &d, out);
}

struct vidmm_open *client_alloc(struct client *c, const struct fx_alloc *a)
{
    struct vidmm_open *op = NULL;
    assert_int_equal(client_try_alloc(c, a, &op), VIDMM_OK);
    assert_non_null(op);
    return op;
}

struct reach { const struct vidmm_fence *fence; const struct vidmm_device *device; uint64_t value; };

static bool reached(void *arg)
{
    const struct reach *r = arg;
    return vidmm_fence_value(r->fence) >= r->value || vidmm_device_state(r->device) != VIDMM_DEVICE_ACTIVE;
}

void client_wait(struct client *c, struct vidmm_fence *fence, uint64_t value)
{
    struct reach r = {fence, c->device, value};
    if (!world_until(c->fx->world, FX_TURNS, reached, &r))
        fail_msg("a fence stays at %llu, waited for %llu", (unsigned long long)vidmm_fence_value(fence),
                 (unsigned long long)value);
}

vidmm_status client_try_map(struct client *c, const struct vidmm_map *m, uint64_t *va)
{
    uint64_t value = 0;
    vidmm_status st = vidmm_va_map(c->queue, m, va, &value);
    if (st < 0) return st;
    assert_int_equal(st, value == 0 ? VIDMM_OK : VIDMM_PENDING);
    client_wait(c, vidmm_queue_fence(c->queue), value);
    return VIDMM_OK;
}

uint64_t client_map(struct client *c, struct vidmm_open *op, uint64_t base, uint64_t offset, uint64_t bytes,
                    uint64_t protection)
{
    struct vidmm_map m = {.base = base, .open = op, .offset = offset, .protection = protection,
                          .bytes = bytes != 0 || op == NULL ? bytes : vidmm_open_bytes(op) - offset};
    uint64_t va = 0;
    assert_int_equal(client_try_map(c, &m, &va), VIDMM_OK);
    assert_true(va != 0 && va % PAGE == 0);
    return va;
}

void client_resident(struct client *c, struct vidmm_open *op)
{
    uint64_t value = 0, trim = 0;
    vidmm_status st = vidmm_make_resident(c->queue, &op, 1, 0, &value, &trim);
    assert_int_equal(st, value == 0 ? VIDMM_OK : VIDMM_PENDING);
    client_wait(c, vidmm_queue_fence(c->queue), value);
}

void client_evict(struct client *c, struct vidmm_open *op)
{
    uint64_t trim = 0;
    assert_int_equal(vidmm_evict(c->device, &op, 1, 0, &trim), VIDMM_OK);
}

struct vidmm_open *client_memory(struct client *c, uint64_t bytes, uint32_t set, uint64_t *va)
{
    uint32_t preferred = (set & SET_64K) != 0 ? 1 : (set & SET_4K) != 0 ? 2 : 0;
    struct vidmm_open *op = client_alloc(c, &(struct fx_alloc){.bytes = bytes, .set = set,
                                                               .preferred = preferred});
    client_resident(c, op);
    *va = client_map(c, op, 0, 0, 0, VIDMM_PROT_WRITE);
    return op;
}

vidmm_status client_reserve(struct client *c, uint64_t base, uint64_t bytes)
{
    struct vidmm_reserve r = {.base = base, .bytes = bytes};
    uint64_t va = 0, value = 0;
    return vidmm_va_reserve(c->process, NULL, &r, &va, &value);
}

bool client_range_free(struct client *c, uint64_t base, uint64_t bytes)
{
    if (client_reserve(c, base, bytes) != VIDMM_OK) return false;
    assert_int_equal(vidmm_va_free(c->process, base, bytes), VIDMM_OK);
    return true;
}

/* ---- commands ------------------------------------------------------------------------------------ */

uint64_t client_commands(struct client *c, const uint64_t *words, uint32_t n, uint32_t *bytes)
{
    uint32_t size = (n + 1) * 8;
    if (c->used + size > RESULT_OFFSET) c->used = 0; /* callers wait for what they submit */
    uint64_t *at = (uint64_t *)(void *)(c->buffer_cpu + c->used);
    memcpy(at, words, n * 8u);
    (void)ref_emit_end(at + n);
    uint64_t va = c->buffer_va + c->used;
    c->used += size;
    *bytes = size;
    return va;
}

vidmm_status client_submit_on(struct client *c, struct vidmm_context *ctx, const uint64_t *words, uint32_t n)
{
    uint32_t bytes;
    uint64_t va = client_commands(c, words, n, &bytes);
    return vidmm_context_submit(ctx, va, bytes, NULL, 0, 0);
}

bool client_run_on(struct client *c, struct vidmm_context *ctx, const uint64_t *words, uint32_t n)
{
    assert_int_equal(client_submit_on(c, ctx, words, n), VIDMM_OK);
    uint64_t value = ++c->issued;
    assert_int_equal(vidmm_context_signal(ctx, &c->fence, &value, 1), VIDMM_OK);
    client_wait(c, c->fence, value);
    return vidmm_device_state(c->device) == VIDMM_DEVICE_ACTIVE;
}

bool client_run(struct client *c, const uint64_t *words, uint32_t n)
{
    return client_run_on(c, c->context, words, n);
}

static void must_run(struct client *c, struct vidmm_context *ctx, const uint64_t *words, uint32_t n)
{
    struct vidmm_page_fault f = {0};
    if (client_run_on(c, ctx, words, n)) return;
    (void)vidmm_device_fault(c->device, &f);
    fail_msg("the device is in state %d; fault at %llx, code %u", vidmm_device_state(c->device),
             (unsigned long long)f.va, f.error_code);
}

void gpu_fill(struct client *c, uint64_t va, uint32_t pattern, uint64_t bytes)
{
    uint64_t words[REF_WORDS_MAX];
    must_run(c, c->context, words, ref_emit_fill(words, va, pattern, bytes));
}

void gpu_copy(struct client *c, uint64_t dst, uint64_t src, uint64_t bytes)
{
    uint64_t words[REF_WORDS_MAX];
    must_run(c, c->context, words, ref_emit_copy(words, dst, src, bytes));
}

static uint64_t *result(struct client *c) { return (uint64_t *)(void *)(c->buffer_cpu + RESULT_OFFSET); }

uint64_t gpu_sum(struct client *c, uint64_t va, uint64_t bytes)
{
    uint64_t words[REF_WORDS_MAX];
    *result(c) = 0;
    must_run(c, c->context, words, ref_emit_checksum(words, va, bytes, c->buffer_va + RESULT_OFFSET));
    return *result(c);
}

uint32_t gpu_read_on(struct client *c, struct vidmm_context *ctx, uint64_t va)
{
    uint64_t words[REF_WORDS_MAX];
    *result(c) = 0;
    must_run(c, ctx, words, ref_emit_copy(words, c->buffer_va + RESULT_OFFSET, va, 4));
    return (uint32_t)*result(c);
}

uint32_t gpu_read(struct client *c, uint64_t va) { return gpu_read_on(c, c->context, va); }

static void must_fault(struct client *c, const uint64_t *words, uint32_t n, uint64_t va)
{
    struct vidmm_page_fault f = {0};
    if (client_run(c, words, n)) fail_msg("no fault at %llx", (unsigned long long)va);
    assert_int_equal(vidmm_device_state(c->device), VIDMM_DEVICE_PAGE_FAULT);
    assert_int_equal(vidmm_device_fault(c->device, &f), VIDMM_OK);
    assert_int_equal(f.va, va);
}

void gpu_read_faults(struct client *c, uint64_t va)
{
    uint64_t words[REF_WORDS_MAX];
    must_fault(c, words, ref_emit_copy(words, c->buffer_va + RESULT_OFFSET, va, 4), va);
}

void gpu_write_faults(struct client *c, uint64_t va)
{
    uint64_t words[REF_WORDS_MAX];
    must_fault(c, words, ref_emit_fill(words, va, 1, 4), va);
}

uint64_t sum_of_pattern(uint32_t pattern, uint64_t bytes)
{
    uint32_t *copy = malloc(bytes);
    assert_non_null(copy);
    for (uint64_t i = 0; i < bytes / 4; i++) copy[i] = pattern;
    uint64_t sum = ref_checksum(copy, bytes);
    free(copy);
    return sum;
}
