/* SPDX-License-Identifier: MIT */
/* core_fixture.c - see core_fixture.h. The recording driver stands between the core and ref: same calls, same
 * answers, and a line in the record for each. */
#define _GNU_SOURCE
#include "core_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- platform ---------------------------------------------------------------------------------- */

enum { FRAMES_MAX = 1 << 20 };

static bool world_fails(struct world *w)
{
    bool fires = w->fail_in == 1;
    if (w->fail_in > 0) w->fail_in--;
    w->asked++;
    return fires || w->refuses;
}

static void *world_alloc(void *ctx, size_t bytes, size_t align)
{
    struct world *w = ctx;
    if (world_fails(w)) return NULL;
    size_t a = align < 16 ? 16 : align;
    void *p = aligned_alloc(a, (bytes + a - 1) & ~(a - 1));
    assert_non_null(p);
    memset(p, 0xa5, bytes);
    w->live_bytes += bytes;
    return p;
}

static void world_free(void *ctx, void *p, size_t bytes)
{
    struct world *w = ctx;
    assert_true(w->live_bytes >= bytes);
    w->live_bytes -= bytes;
    memset(p, 0x5a, bytes);
    free(p);
}

static vidmm_status frames_take(struct world *w, uint8_t *host, uint64_t pages, uint64_t *frame)
{
    if (w->next_frame + pages > w->frames_max) return VIDMM_NO_MEMORY;
    *frame = w->next_frame;
    for (uint64_t i = 0; i < pages; i++) w->frame[w->next_frame++] = host + i * PAGE;
    w->live_frames += pages;
    return VIDMM_OK;
}

static void frames_give(struct world *w, uint64_t frame, uint64_t pages)
{
    assert_true(w->live_frames >= pages);
    w->live_frames -= pages;
    for (uint64_t i = 0; i < pages; i++) {
        assert_non_null(w->frame[frame + i]);
        w->frame[frame + i] = NULL;
    }
}

static vidmm_status world_sys_alloc(void *ctx, uint64_t pages, uint64_t *frame)
{
    struct world *w = ctx;
    if (world_fails(w)) return VIDMM_NO_MEMORY;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    uint8_t *host = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (host == MAP_FAILED) return VIDMM_NO_MEMORY;
    vidmm_status st = frames_take(w, host, pages, frame);
    if (st != VIDMM_OK) (void)munmap(host, pages * PAGE);
    return st;
}

static void world_sys_free(void *ctx, uint64_t frame, uint64_t pages)
{
    struct world *w = ctx;
    assert_int_equal(munmap(w->frame[frame], pages * PAGE), 0);
    frames_give(w, frame, pages);
}

static vidmm_status world_sys_import(void *ctx, void *host, uint64_t pages, uint64_t *frame)
{
    struct world *w = ctx;
    if (world_fails(w)) return VIDMM_NO_MEMORY;
    return frames_take(w, host, pages, frame);
}

static void world_sys_release(void *ctx, uint64_t frame, uint64_t pages) { frames_give(ctx, frame, pages); }

static void world_sys_discard(void *ctx, uint64_t frame, uint64_t pages)
{
    struct world *w = ctx;
    memset(w->frame[frame], 0, pages * PAGE);
}

static void *world_sys_address(void *ctx, uint64_t frame)
{
    struct world *w = ctx;
    return frame < w->frames_max ? w->frame[frame] : NULL;
}

static bool world_copy(void *ctx, void *dst, const void *src, size_t bytes)
{
    (void)ctx;
    memcpy(dst, src, bytes);
    return true;
}

static void world_poke(void *ctx) { ((struct world *)ctx)->pokes++; }

/* ---- the record -------------------------------------------------------------------------------- */

static struct event *note(struct fx *f, enum event_kind kind)
{
    struct record *r = &f->log;
    if (r->count == r->max) {
        r->max = r->max == 0 ? 256 : r->max * 2;
        r->event = realloc(r->event, r->max * sizeof *r->event);
        assert_non_null(r->event);
    }
    struct event *e = &r->event[r->count++];
    memset(e, 0, sizeof *e);
    e->kind = kind;
    if (f->q != NULL) e->fence_value = vidmm_fence_value(vidmm_queue_fence(f->q));
    return e;
}

static uint32_t note_runs(struct fx *f, const struct vidmm_pte_run *runs, uint32_t n)
{
    struct record *r = &f->log;
    while (r->run_count + n > r->run_max) {
        r->run_max = r->run_max == 0 ? 1024 : r->run_max * 2;
        r->run = realloc(r->run, r->run_max * sizeof *r->run);
        assert_non_null(r->run);
    }
    memcpy(r->run + r->run_count, runs, n * sizeof *runs);
    r->run_count += n;
    return r->run_count - n;
}

/* ---- the recording driver ------------------------------------------------------------------------ */

static const struct vidmm_kmd_ops *next(void) { return ref_ops(); }

#define HW_NEXT(kmd) (((struct fx *)(kmd))->ref)
#define HW_NEXT_OPS(kmd) (next()->hw)
#include "hw_pass.h"

static vidmm_status rec_query_adapter_info(void *kmd, struct vidmm_adapter_info *out)
{
    struct fx *f = kmd;
    vidmm_status st = next()->query_adapter_info(f->ref, out);
    if (st == VIDMM_OK && f->hooks.info != NULL) f->hooks.info(out);
    return st;
}

static vidmm_status rec_start_device(void *kmd, struct vidmm_adapter *ad, const struct vidmm_platform *pl)
{
    return next()->start_device(((struct fx *)kmd)->ref, ad, pl);
}

static void rec_begin_exclusive_access(void *kmd)
{
    next()->begin_exclusive_access(((struct fx *)kmd)->ref);
}

static void rec_end_exclusive_access(void *kmd)
{
    next()->end_exclusive_access(((struct fx *)kmd)->ref);
}

static void rec_stop_device(void *kmd) { next()->stop_device(((struct fx *)kmd)->ref); }

static vidmm_status rec_create_process(void *kmd, bool system, void **process)
{
    struct fx *f = kmd;
    vidmm_status st = next()->create_process(f->ref, system, process);
    struct event *e = note(f, EV_CREATE_PROCESS);
    e->system = system;
    e->status = st;
    e->object = st == VIDMM_OK ? *process : NULL;
    return st;
}

static void rec_destroy_process(void *kmd, void *process)
{
    struct fx *f = kmd;
    note(f, EV_DESTROY_PROCESS)->object = process;
    next()->destroy_process(f->ref, process);
}

static vidmm_status rec_create_context(void *kmd, struct vidmm_kmd_context *c)
{
    struct fx *f = kmd;
    vidmm_status st = next()->create_context(f->ref, c);
    if (st == VIDMM_OK && f->hooks.context != NULL) f->hooks.context(c);
    struct event *e = note(f, EV_CREATE_CONTEXT);
    e->status = st;
    e->object = c->handle;
    e->submit.node = c->node;
    e->system = (c->flags & VIDMM_CONTEXT_SYSTEM) != 0;
    e->process = c->process;
    if (f->hooks.companion_node != 0) c->paging_companion_node = f->hooks.companion_node - 1;
    f->hooks.context_flags_seen = c->flags;
    return st;
}

static void rec_destroy_context(void *kmd, void *context)
{
    struct fx *f = kmd;
    note(f, EV_DESTROY_CONTEXT)->object = context;
    next()->destroy_context(f->ref, context);
}

static vidmm_status rec_create_allocation(void *kmd, struct vidmm_kmd_allocation *a)
{
    struct fx *f = kmd;
    vidmm_status st = next()->create_allocation(f->ref, a);
    struct event *e = note(f, EV_CREATE_ALLOC);
    if (st == VIDMM_OK && f->hooks.alloc != NULL) f->hooks.alloc(a);
    e->status = st;
    e->object = a->handle;
    return st;
}

static void rec_destroy_allocation(void *kmd, void *allocation)
{
    struct fx *f = kmd;
    note(f, EV_DESTROY_ALLOC)->object = allocation;
    next()->destroy_allocation(f->ref, allocation);
}

static vidmm_status rec_open_allocation(void *kmd, struct vidmm_kmd_open *o)
{
    return next()->open_allocation(((struct fx *)kmd)->ref, o);
}

static void rec_close_allocation(void *kmd, void *handle)
{
    next()->close_allocation(((struct fx *)kmd)->ref, handle);
}

static uint64_t rec_pte_attr(void *kmd, const struct vidmm_pte_kind *kind)
{
    struct fx *f = kmd;
    note(f, EV_ATTR)->attr = *kind;
    return next()->pte_attr(f->ref, kind);
}

static void rec_update_page_table(void *kmd, const struct vidmm_update_page_table *u)
{
    struct fx *f = kmd;
    struct event *e = note(f, EV_UPDATE);
    e->update = *u;
    e->object = u->process;
    e->first_run = note_runs(f, u->runs, u->run_count);
    next()->update_page_table(f->ref, u);
}

static bool rec_pte_decode(void *kmd, uint32_t level, const void *table, uint32_t index,
                           struct vidmm_pte_kind *kind, uint64_t *address)
{
    return next()->pte_decode(((struct fx *)kmd)->ref, level, table, index, kind, address);
}

static uint64_t rec_get_root_page_table_size(void *kmd, uint32_t *entries)
{
    struct fx *f = kmd;
    uint32_t in = *entries;
    uint64_t bytes = next()->get_root_page_table_size(f->ref, entries);
    struct event *e = note(f, EV_ROOT_SIZE);
    e->entries_in = in;
    e->entries = *entries;
    e->root_bytes = bytes;
    return bytes;
}

static void rec_set_root_page_table(void *kmd, void *context, struct vidmm_gpu_address root, uint32_t entries)
{
    struct fx *f = kmd;
    struct event *e = note(f, EV_SET_ROOT);
    e->object = context;
    e->root = root;
    e->entries = entries;
    next()->set_root_page_table(f->ref, context, root, entries);
}

/* Half of what is left of a transfer or fill goes in, then there is no room. */
static vidmm_status build_half(struct fx *f, struct vidmm_paging_buffer *b, const struct vidmm_op *op,
                               uint64_t *multipass)
{
    struct vidmm_op part = *op;
    bool fill = op->code == VIDMM_OP_VIRTUAL_FILL;
    uint64_t done = *multipass, total = fill ? op->fill.bytes : op->transfer.bytes;
    uint64_t n = ((total - done) / 2) & ~(PAGE - 1), none = 0;
    if (fill) {
        part.fill.bytes = n;
        part.fill.destination_va += done;
    } else {
        part.transfer.bytes = n;
        part.transfer.source_va += done;
        part.transfer.destination_va += done;
    }
    vidmm_status st = next()->build_paging_buffer(f->ref, b, &part, &none);
    if (st != VIDMM_OK) return st;
    *multipass = done + n;
    return VIDMM_BUFFER_FULL;
}

static vidmm_status build(struct fx *f, struct vidmm_paging_buffer *b, const struct vidmm_op *op,
                          uint64_t *multipass)
{
    bool flush = op->code == VIDMM_OP_FLUSH_TLB;
    if (f->hooks.fail_build == op->code) return VIDMM_FAILED;
    if (f->hooks.full_build == op->code && f->hooks.full_count > 0) {
        f->hooks.full_count--;
        return VIDMM_BUFFER_FULL;
    }
    if (flush && f->hooks.swallow_flushes) return VIDMM_OK;
    if (flush && f->hooks.full_flushes && b->used > 0 && *multipass == 0) {
        *multipass = op->flush.start_va + 1;
        return VIDMM_BUFFER_FULL;
    }
    if (!flush && f->hooks.full_with_progress > 0) {
        f->hooks.full_with_progress--;
        return build_half(f, b, op, multipass);
    }
    if (flush) *multipass = 0;
    return next()->build_paging_buffer(f->ref, b, op, multipass);
}

static vidmm_status rec_build_paging_buffer(void *kmd, struct vidmm_paging_buffer *b,
                                            const struct vidmm_op *op,
                                            uint64_t *multipass)
{
    struct fx *f = kmd;
    uint64_t in = *multipass;
    uint32_t used = b->used;
    vidmm_status st = build(f, b, op, multipass);
    struct event *e = note(f, EV_BUILD);
    e->status = st;
    e->op = *op;
    e->multipass_in = in;
    e->multipass_out = *multipass;
    e->buffer_va = b->gpu_va;
    e->buffer_used_in = used;
    e->buffer_used_out = b->used;
    return st;
}

static vidmm_status rec_submit(void *kmd, const struct vidmm_kmd_submit *s)
{
    struct fx *f = kmd;
    struct event *e = note(f, EV_SUBMIT);
    e->submit = *s;
    e->object = s->context;
    if (f->hooks.fail_submit != VIDMM_OK && !(s->flags & VIDMM_SUBMIT_PAGING)) {
        e->status = f->hooks.fail_submit;
        f->hooks.fail_submit = VIDMM_OK;
        return e->status;
    }
    bool refused = s->context != NULL && s->context == f->hooks.refused_context;
    vidmm_status st = refused ? VIDMM_FAILED : next()->submit_command_virtual(f->ref, s);
    f->log.event[f->log.count - 1].status = st;
    return st;
}

/* ---- physical mode ---- */

static vidmm_status rec_render(void *kmd, struct vidmm_kmd_render *r, uint64_t *multipass)
{
    struct fx *f = kmd;
    uint64_t in = *multipass;
    vidmm_status st = f->hooks.fail_render;
    if (st == VIDMM_OK) st = next()->render(f->ref, r, multipass);
    f->hooks.fail_render = VIDMM_OK;
    struct event *e = note(f, EV_RENDER);
    e->status = st;
    e->object = r->context;
    e->multipass_in = in;
    e->multipass_out = *multipass;
    e->list_count = r->list_count;
    e->patch_count = r->patch_in_count;
    e->bytes = r->dma->used;
    e->frame = r->dma->frame;
    e->private_bytes = r->dma->private_bytes;
    uint8_t *private = r->dma->private_data;
    for (uint32_t i = 0; i < r->dma->private_bytes; i++) e->private_used += private[i] != 0;
    memset(private, 0xee, r->dma->private_bytes);
    if (r->list_count > 0) e->first = r->list[0];
    return st;
}

static vidmm_status rec_patch(void *kmd, const struct vidmm_kmd_patch *a)
{
    struct fx *f = kmd;
    vidmm_status st = f->hooks.fail_patch != VIDMM_OK ? f->hooks.fail_patch : next()->patch(f->ref, a);
    struct event *e = note(f, EV_PATCH);
    e->status = st;
    e->object = a->context;
    e->list_count = a->list_count;
    e->patch_count = a->patch_count;
    e->frame = a->dma->frame;
    e->submit.fence_id = a->fence_id;
    if (a->list_count > 0) e->first = a->list[0];
    return st;
}

static vidmm_status rec_submit_physical(void *kmd, const struct vidmm_kmd_submit_physical *s)
{
    struct fx *f = kmd;
    struct event *e = note(f, EV_SUBMIT_PHYSICAL);
    e->object = s->context;
    e->frame = s->dma->frame;
    e->bytes = s->dma->used;
    e->submit.fence_id = s->fence_id;
    e->submit.node = s->node;
    e->submit.flags = s->flags;
    const uint64_t *words = (const uint64_t *)s->dma->cpu;
    for (uint32_t i = 0; i < 8 && i * 8 < s->dma->used; i++) e->word[i] = words[i];
    return e->status = next()->submit_command(f->ref, s);
}

static vidmm_status rec_reset_engine(void *kmd, uint32_t node, uint64_t *last_aborted)
{
    struct fx *f = kmd;
    vidmm_status st = next()->reset_engine(f->ref, node, last_aborted);
    struct event *e = note(f, EV_RESET);
    e->status = st;
    e->submit.node = node;
    if (f->hooks.last_aborted != 0) *last_aborted = f->hooks.last_aborted;
    return st;
}

static vidmm_status rec_preempt_command(void *kmd, uint32_t node)
{
    struct fx *f = kmd;
    note(f, EV_PREEMPT)->submit.node = node;
    return next()->preempt_command(f->ref, node);
}

static uint64_t rec_query_engine_status(void *kmd, uint32_t node)
{
    return next()->query_engine_status(((struct fx *)kmd)->ref, node);
}

static vidmm_status rec_reset_from_timeout(void *kmd)
{
    struct fx *f = kmd;
    note(f, EV_STOP_ALL)->status = f->hooks.fail_stop_all;
    (void)next()->reset_from_timeout(f->ref);
    return f->hooks.fail_stop_all;
}

static vidmm_status rec_restart_from_timeout(void *kmd)
{
    struct fx *f = kmd;
    note(f, EV_RESTART_ALL)->status = f->hooks.fail_restart_all;
    if (f->hooks.fail_restart_all != VIDMM_OK) return f->hooks.fail_restart_all;
    return next()->restart_from_timeout(f->ref);
}

static void rec_surprise_removal(void *kmd)
{
    struct fx *f = kmd;
    note(f, EV_REMOVAL);
    next()->surprise_removal(f->ref);
}

static void rec_cancel_command(void *kmd, const struct vidmm_kmd_submit *s)
{
    struct fx *f = kmd;
    note(f, EV_CANCEL)->submit = *s;
}

static void *rec_map_cpu_host_aperture(void *kmd, uint32_t segment, uint64_t offset, uint64_t bytes)
{
    return next()->map_cpu_host_aperture(((struct fx *)kmd)->ref, segment, offset, bytes);
}

static const struct vidmm_kmd_ops recording = {
    .struct_size = sizeof recording, .abi = VIDMM_KMD_ABI, .hw = &hw_pass,
    .query_adapter_info = rec_query_adapter_info, .start_device = rec_start_device,
    .stop_device = rec_stop_device, .create_process = rec_create_process,
    .destroy_process = rec_destroy_process, .create_context = rec_create_context,
    .destroy_context = rec_destroy_context, .create_allocation = rec_create_allocation,
    .destroy_allocation = rec_destroy_allocation, .open_allocation = rec_open_allocation,
    .close_allocation = rec_close_allocation, .pte_attr = rec_pte_attr,
    .update_page_table = rec_update_page_table, .pte_decode = rec_pte_decode,
    .get_root_page_table_size = rec_get_root_page_table_size,
    .set_root_page_table = rec_set_root_page_table, .build_paging_buffer = rec_build_paging_buffer,
    .submit_command_virtual = rec_submit, .reset_engine = rec_reset_engine,
    .preempt_command = rec_preempt_command, .query_engine_status = rec_query_engine_status,
    .reset_from_timeout = rec_reset_from_timeout, .restart_from_timeout = rec_restart_from_timeout,
    .surprise_removal = rec_surprise_removal, .cancel_command = rec_cancel_command,
    .map_cpu_host_aperture = rec_map_cpu_host_aperture,
    .begin_exclusive_access = rec_begin_exclusive_access,
    .end_exclusive_access = rec_end_exclusive_access,
    .render = rec_render, .patch = rec_patch, .submit_command = rec_submit_physical};

/* ---- life -------------------------------------------------------------------------------------- */

static uint64_t fx_clock(void *ctx) { return ((struct fx *)ctx)->now; }

void fx_init(struct fx *f, enum ref_format format)
{
    memset(f, 0, sizeof *f);
    struct world *w = &f->world;
    w->frames_max = FRAMES_MAX;
    w->frame = calloc(FRAMES_MAX, sizeof *w->frame);
    assert_non_null(w->frame);
    w->next_frame = 1;
    f->platform = (struct vidmm_platform){
        .struct_size = sizeof f->platform, .ctx = w, .alloc = world_alloc, .free = world_free,
        .sys_alloc = world_sys_alloc, .sys_free = world_sys_free, .sys_import = world_sys_import,
        .sys_release = world_sys_release, .sys_discard = world_sys_discard,
        .sys_address = world_sys_address, .copy = world_copy, .poke = world_poke};
    ref_options_default(&f->opt, format);
    f->opt.segment[0].bytes = 16 * MIB;
    f->opt.tlb_bits = 10;
    f->opt.now_ns = fx_clock;
    f->opt.now_ctx = f;
}

vidmm_status fx_start_adapter(struct fx *f, const char **why)
{
    assert_int_equal(ref_create(&f->opt, &f->ref), VIDMM_OK);
    f->ops = recording;
    if (f->hooks.ops != NULL) f->hooks.ops(&f->ops);
    struct vidmm_adapter_config cfg = {.struct_size = sizeof cfg, .platform = &f->platform, .ops = &f->ops,
                                       .kmd = f, .counters = &f->count, .break_row = vt_break(),
                                       .tdr_delay_ns = f->tdr.delay_ns, .tdr_limit_ns = f->tdr.limit_ns,
                                       .tdr_limit_count = f->tdr.limit_count, .tdr_level = f->tdr.level,
                                       .slice_ns = f->tdr.slice_ns, .domain = f->domain};
    softgpu_set_domain(ref_gpu(f->ref), f->domain);
    return vidmm_adapter_create(&cfg, &f->ad, why);
}

void fx_start(struct fx *f)
{
    const char *why = NULL;
    void *cpu;
    if (fx_start_adapter(f, &why) != VIDMM_OK) fail_msg("adapter: %s", why);
    assert_int_equal(vidmm_process_create(f->ad, &f->p), VIDMM_OK);
    struct peer me = fx_peer(f->p);
    f->d = me.d;
    f->q = me.q;
    f->c = me.c;
    f->cmd = fx_alloc(f->d, 256 * KIB, SYS, 0);
    f->cmd_va = fx_map_all(f->q, f->cmd);
    fx_resident(f->q, f->cmd);
    assert_int_equal(vidmm_open_lock(f->cmd, &cpu), VIDMM_OK);
    f->cmd_cpu = cpu;
    fx_run(f);
}

void fx_open(struct fx *f, enum ref_format format)
{
    fx_init(f, format);
    fx_start(f);
}

bool fx_destroy_process(struct fx *f, struct vidmm_process *p)
{
    uint32_t before = fx_count(f, EV_DESTROY_PROCESS), spaces = vidmm_process_space_count(p);
    if (p == f->p) f->q = NULL;
    vidmm_process_destroy(p);
    fx_run(f);
    return fx_count(f, EV_DESTROY_PROCESS) == before + spaces;
}

void fx_close(struct fx *f)
{
    struct softgpu_detector seen;
    if (f->p != NULL && !fx_destroy_process(f, f->p)) fail_msg("the process does not go away");
    if (f->ad != NULL) vidmm_adapter_destroy(f->ad);
    softgpu_get_detector(ref_gpu(f->ref), &seen);
    if (!f->violations_allowed) assert_int_equal(seen.violations, 0);
    ref_destroy(f->ref);
    assert_int_equal(f->world.live_bytes, 0);
    assert_int_equal(f->world.live_frames, 0);
    free(f->world.frame);
    free(f->log.event);
    free(f->log.run);
}

/* ---- running ------------------------------------------------------------------------------------ */

static void verify(struct fx *f)
{
    const char *what = NULL;
    int n = f->no_verify ? 0 : vidmm_verify(f->ad, &what);
    if (n != 0) fail_msg("invariant %d: %s", n, what);
}

void fx_run_core(struct fx *f)
{
    uint64_t when = f->now;
    for (int i = 0; i < 1000 && when <= f->now; i++) when = vidmm_run(f->ad, f->now);
    assert_true(when > f->now);
    verify(f);
}

void fx_run_node(struct fx *f, uint32_t node)
{
    int i = 0;
    while (softgpu_engine_step(ref_gpu(f->ref), node) == SOFTGPU_PROGRESS) assert_true(i++ < 1000000);
}

void fx_run(struct fx *f)
{
    bool more = true;
    for (int i = 0; more; i++) {
        assert_true(i < 1000000);
        more = vidmm_run(f->ad, f->now) <= f->now;
        for (uint32_t n = 0; n < vidmm_adapter_info(f->ad)->node_count; n++)
            more |= softgpu_engine_step(ref_gpu(f->ref), n) == SOFTGPU_PROGRESS;
        if (!more) more = vidmm_run(f->ad, f->now) <= f->now;
    }
    verify(f);
}

/* ---- shorthands --------------------------------------------------------------------------------- */

vidmm_status fx_try_alloc(struct vidmm_device *d, const struct ref_alloc_private *in, struct vidmm_open **out)
{
    struct vidmm_alloc_desc desc = {.private_data = in, .private_size = sizeof *in};
    return vidmm_alloc_create(d, &desc, out);
}

struct vidmm_open *fx_alloc_priority(struct vidmm_device *d, uint64_t bytes, uint32_t supported,
                                     uint32_t preferred, uint32_t priority)
{
    struct ref_alloc_private in = {.magic = REF_ALLOC_MAGIC, .bytes = bytes, .supported = supported,
                                   .preferred = preferred, .priority = priority,
                                   .alignment = supported & SEG1 ? 65536 : 0};
    struct vidmm_open *op = NULL;
    assert_int_equal(fx_try_alloc(d, &in, &op), VIDMM_OK);
    return op;
}

struct vidmm_open *fx_alloc(struct vidmm_device *d, uint64_t bytes, uint32_t supported, uint32_t preferred)
{
    return fx_alloc_priority(d, bytes, supported, preferred, 0);
}

vidmm_status fx_try_map(struct vidmm_queue *q, const struct vidmm_map *in, uint64_t *va)
{
    uint64_t value = 0;
    return vidmm_va_map(q, in, va, &value);
}

uint64_t fx_map(struct vidmm_queue *q, struct vidmm_open *op, uint64_t base, uint64_t offset, uint64_t bytes)
{
    struct vidmm_map in = {.base = base, .open = op, .offset = offset, .bytes = bytes,
                           .protection = VIDMM_PROT_WRITE | VIDMM_PROT_EXECUTE};
    uint64_t va = 0;
    assert_true(fx_try_map(q, &in, &va) >= 0);
    return va;
}

uint64_t fx_map_all(struct vidmm_queue *q, struct vidmm_open *op)
{
    return fx_map(q, op, 0, 0, vidmm_open_bytes(op));
}

void fx_resident(struct vidmm_queue *q, struct vidmm_open *op)
{
    uint64_t value, trim;
    assert_true(vidmm_make_resident(q, &op, 1, 0, &value, &trim) >= 0);
}

void fx_evict(struct vidmm_device *d, struct vidmm_open *op, uint32_t flags)
{
    uint64_t trim;
    assert_int_equal(vidmm_evict(d, &op, 1, flags, &trim), VIDMM_OK);
}

uint64_t fx_reserve(struct fx *f, uint64_t base, uint64_t bytes)
{
    struct vidmm_reserve in = {.base = base, .bytes = bytes};
    uint64_t va = 0, value = 1;
    assert_int_equal(vidmm_va_reserve(f->p, f->q, &in, &va, &value), VIDMM_OK);
    assert_int_equal(value, 0);
    return va;
}

struct vidmm_placement_info fx_place(const struct vidmm_open *op)
{
    struct vidmm_placement_info at;
    vidmm_open_placement(op, &at);
    return at;
}

uint64_t fx_done(struct vidmm_queue *q) { return vidmm_fence_value(vidmm_queue_fence(q)); }

bool fx_queue_done(struct vidmm_queue *q)
{
    return vidmm_fence_value(vidmm_queue_fence(q)) >= vidmm_queue_issued(q);
}

uint64_t *fx_words(struct fx *f, uint32_t n)
{
    assert_true((f->cmd_used + n) * 8 <= 256 * KIB);
    f->cmd_used += n;
    return f->cmd_cpu + f->cmd_used - n;
}

/* Packets are never overwritten while they may run: the buffer is used from start to end, then again. */
void fx_submit(struct fx *f, struct vidmm_context *c)
{
    static const uint32_t room = 32 * 1024 - 64;
    uint32_t start = f->cmd_used;
    while (start > 0 && f->cmd_cpu[start - 1] != ref_header(REF_END, 1, 1)) start--;
    uint32_t words = f->cmd_used - start;
    fx_words(f, 1)[0] = ref_header(REF_END, 1, 1);
    assert_int_equal(vidmm_context_submit(c, f->cmd_va + start * 8ull, (words + 1) * 8, NULL, 0, 0),
                     VIDMM_OK);
    if (f->cmd_used > room) f->cmd_used = 0;
}

void fx_fill(struct fx *f, struct vidmm_context *c, uint64_t va, uint32_t pattern, uint64_t bytes)
{
    (void)ref_emit_fill(fx_words(f, 3), va, pattern, bytes);
    fx_submit(f, c);
}

void fx_wait_packet(struct fx *f, struct vidmm_context *c, uint64_t fence_va, uint64_t value)
{
    (void)ref_emit_fence_wait(fx_words(f, 3), fence_va, value);
    fx_submit(f, c);
}

uint64_t fx_gpu_read(struct fx *f, uint64_t va)
{
    uint64_t at = 256 * KIB / 8 - 8; /* the last words of the command buffer take the result */
    f->cmd_cpu[at] = 0x5a5a5a5a5a5a5a5aull;
    (void)ref_emit_copy(fx_words(f, 4), f->cmd_va + at * 8, va, 8);
    fx_submit(f, f->c);
    fx_run(f);
    return f->cmd_cpu[at];
}

struct peer fx_peer(struct vidmm_process *p)
{
    struct peer me = {NULL, NULL, NULL};
    struct vidmm_context_desc desc = {.node = REF_NODE_COMPUTE};
    assert_int_equal(vidmm_device_create(p, &me.d), VIDMM_OK);
    assert_int_equal(vidmm_queue_create(me.d, 0, &me.q), VIDMM_OK);
    assert_int_equal(vidmm_context_create(me.d, &desc, &me.c), VIDMM_OK);
    return me;
}

/* ---- reading the record ------------------------------------------------------------------------- */

void fx_forget(struct fx *f)
{
    f->log.count = 0;
    f->log.run_count = 0;
}

const struct event *fx_next(const struct fx *f, enum event_kind kind, uint32_t *at)
{
    while (*at < f->log.count) {
        const struct event *e = &f->log.event[(*at)++];
        if (e->kind == kind) return e;
    }
    return NULL;
}

uint32_t fx_count(const struct fx *f, enum event_kind kind)
{
    uint32_t n = 0, at = 0;
    while (fx_next(f, kind, &at) != NULL) n++;
    return n;
}

uint32_t fx_index(const struct fx *f, const struct event *e) { return (uint32_t)(e - f->log.event); }

const struct event *fx_next_op(const struct fx *f, enum vidmm_op_code code, uint32_t *at)
{
    const struct event *e = fx_next(f, EV_BUILD, at);
    while (e != NULL && (e->op.code != code || e->status != VIDMM_OK)) e = fx_next(f, EV_BUILD, at);
    return e;
}

uint32_t fx_count_ops(const struct fx *f, enum vidmm_op_code code)
{
    uint32_t n = 0, at = 0;
    while (fx_next_op(f, code, &at) != NULL) n++;
    return n;
}

int fx_in_child(void (*fn)(void))
{
    int status = 0;
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGILL, SIG_DFL);
        (void)signal(SIGABRT, SIG_DFL);
        (void)setenv("CMOCKA_TEST_ABORT", "1", 1); /* a failed assertion ends the child, not its test case */
        fn();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) return WTERMSIG(status);
    return WEXITSTATUS(status) == 0 ? 0 : -1;
}
