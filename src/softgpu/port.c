/* SPDX-License-Identifier: MIT */
/* port.c - see port.h. Calls: softgpu, the vidmm_notify_ functions, platform->alloc and free. */
#include "softgpu/port.h"

#include "base/bits.h"
#include "base/check.h"

/* ---- interrupts -------------------------------------------------------------------------------- */

static void on_completed(void *ctx, uint32_t node, uint64_t fence_id)
{
    struct port *p = ctx;
    vidmm_notify_completed(p->adapter, node, fence_id);
}

static void on_fence_signaled(void *ctx)
{
    struct port *p = ctx;
    vidmm_notify_fence_signaled(p->adapter);
}

static void on_page_fault(void *ctx, const struct softgpu_fault *f)
{
    struct port *p = ctx;
    struct vidmm_page_fault fault = {.node = f->node, .level = f->level, .flags = f->flags,
                                     .error_code = f->error_code, .fence_id = f->fence_id, .va = f->va,
                                     .hw_queue = f->hw_queue};
    vidmm_notify_page_fault(p->adapter, &fault);
}

static void on_preempted(void *ctx, uint32_t node)
{
    struct port *p = ctx;
    vidmm_notify_preempted(p->adapter, node);
}

static void on_context_suspended(void *ctx, void *owner, uint64_t value)
{
    (void)ctx;
    vidmm_notify_context_suspended(owner, value);
}

static void on_queue_retired(void *ctx, void *owner, uint64_t entries)
{
    (void)ctx;
    vidmm_notify_queue_retired(owner, entries);
}

/* ---- device ------------------------------------------------------------------------------------ */

vidmm_status port_query_adapter_info(void *kmd, struct vidmm_adapter_info *out)
{
    struct port *p = kmd;
    *out = p->info;
    return VIDMM_OK;
}

vidmm_status port_start_device(void *kmd, struct vidmm_adapter *adapter,
                               const struct vidmm_platform *platform)
{
    struct port *p = kmd;
    struct softgpu_irq irq = {.ctx = p, .completed = on_completed, .fence_signaled = on_fence_signaled,
                              .page_fault = on_page_fault, .context_suspended = on_context_suspended,
                              .queue_retired = on_queue_retired, .preempted = on_preempted};
    p->adapter = adapter;
    p->platform = platform;
    softgpu_attach(p->gpu, platform, &irq);
    return p->threads ? softgpu_start_threads(p->gpu) : VIDMM_OK;
}

void port_stop_device(void *kmd)
{
    struct port *p = kmd;
    softgpu_stop_threads(p->gpu);
}

/* ---- objects ----------------------------------------------------------------------------------- */

static vidmm_status object_new(struct port *p, size_t bytes, void **out)
{
    if (softgpu_countdown(p->gpu, SOFTGPU_COUNT_CREATE)) return VIDMM_FAILED;
    *out = p->platform->alloc(p->platform->ctx, bytes, 16);
    return *out == NULL ? VIDMM_NO_MEMORY : VIDMM_OK;
}

vidmm_status port_create_process(void *kmd, bool system, void **process)
{
    struct port *p = kmd;
    void *object;
    vidmm_status st = object_new(p, sizeof(struct port_process), &object);
    if (st != VIDMM_OK) return st;
    struct port_process *proc = object;
    softgpu_space_init(p->gpu, &proc->space, system);
    *process = proc;
    return VIDMM_OK;
}

void port_destroy_process(void *kmd, void *process)
{
    struct port *p = kmd;
    struct port_process *proc = process;
    softgpu_space_fini(p->gpu, &proc->space);
    p->platform->free(p->platform->ctx, proc, sizeof(*proc));
}

vidmm_status port_create_device(void *kmd, struct vidmm_kmd_device *d)
{
    struct port *p = kmd;
    void *object;
    vidmm_status st = object_new(p, sizeof(struct port_device), &object);
    if (st != VIDMM_OK) return st;
    *(struct port_device *)object = (struct port_device){d->pasid};
    d->handle = object;
    return VIDMM_OK;
}

void port_destroy_device(void *kmd, void *device)
{
    struct port *p = kmd;
    p->platform->free(p->platform->ctx, device, sizeof(struct port_device));
}

vidmm_status port_create_context(void *kmd, struct vidmm_kmd_context *c)
{
    struct port *p = kmd;
    bool system = (c->flags & VIDMM_CONTEXT_SYSTEM) != 0;
    if (c->node >= p->info.node_count || c->process == NULL) return VIDMM_INVALID;
    if (!system && (p->user_nodes >> c->node & 1) == 0) return VIDMM_INVALID;
    bool physical = p->info.node[c->node].physical;
    if (((c->flags & VIDMM_CONTEXT_VIRTUAL) == 0) != physical) return VIDMM_NOT_SUPPORTED;
    void *object;
    vidmm_status st = object_new(p, sizeof(struct port_context), &object);
    if (st != VIDMM_OK) return st;
    struct port_process *proc = c->process;
    const struct port_device *device = c->device;
    struct port_context *ctx = object;
    *ctx = (struct port_context){.system = system};
    ctx->hw = (struct softgpu_context){.space = &proc->space, .node = c->node, .privileged = system,
                                       .physical = physical, .pasid = c->use_iommu ? device->pasid : 0};
    c->handle = ctx;
    c->submit_private_max = p->private_max;
    return VIDMM_OK;
}

void port_destroy_context(void *kmd, void *context)
{
    struct port *p = kmd;
    p->platform->free(p->platform->ctx, context, sizeof(struct port_context));
}

static bool no_memory(struct port *p)
{
    struct softgpu_knobs k;
    bool fails = false;
    p->allocations++;
    softgpu_get_knobs(p->gpu, &k);
    for (uint32_t i = 0; i < SOFTGPU_INJECTIONS_MAX && k.injection[i].kind != 0; i++)
        fails |= k.injection[i].kind == SOFTGPU_AT_OOM && k.injection[i].at == p->allocations;
    return fails;
}

vidmm_status port_allocation_create(struct port *p, struct vidmm_kmd_allocation *a)
{
    void *object;
    if (no_memory(p)) return VIDMM_NO_MEMORY;
    vidmm_status st = object_new(p, sizeof(struct port_allocation), &object);
    if (st != VIDMM_OK) return st;
    *(struct port_allocation *)object = (struct port_allocation){a->bytes, a->supported, 0};
    a->handle = object;
    return VIDMM_OK;
}

void port_destroy_allocation(void *kmd, void *allocation)
{
    struct port *p = kmd;
    CHECK(((struct port_allocation *)allocation)->opens == 0); /* who opened it must have closed it */
    p->platform->free(p->platform->ctx, allocation, sizeof(struct port_allocation));
}

vidmm_status port_open_allocation(void *kmd, struct vidmm_kmd_open *o)
{
    void *object;
    vidmm_status st = object_new(kmd, sizeof(struct port_open), &object);
    if (st != VIDMM_OK) return st;
    struct port_allocation *a = o->allocation;
    *(struct port_open *)object = (struct port_open){a};
    a->opens++;
    o->handle = object;
    return VIDMM_OK;
}

void port_close_allocation(void *kmd, void *handle)
{
    struct port *p = kmd;
    struct port_open *o = handle;
    o->allocation->opens--;
    p->platform->free(p->platform->ctx, o, sizeof(*o));
}

/* ---- execution --------------------------------------------------------------------------------- */

void port_set_root_page_table(void *kmd, void *context, struct vidmm_gpu_address root, uint32_t entries)
{
    (void)kmd;
    struct port_context *ctx = context;
    struct softgpu_root r = {root.segment, root.offset, entries};
    softgpu_context_set_root(&ctx->hw, &r);
}

static void mark(struct port *p, struct softgpu_packet *packet, struct port_context *ctx, uint8_t inject)
{
    packet->inject = inject;
    p->marked.context = ctx;
    p->marked.va = packet->va;
    p->marked.inject = inject;
}

/* What the injections say about a packet. true: there is no hardware any more that could take it. */
static bool injected(struct port *p, struct softgpu_packet *packet, struct port_context *ctx)
{
    struct softgpu_knobs k;
    if (packet->resumed) {
        bool again = p->marked.context == ctx && p->marked.va == packet->va;
        if (again) packet->inject = p->marked.inject;
        return false;
    }
    p->submits++;
    softgpu_get_knobs(p->gpu, &k);
    for (uint32_t i = 0; i < SOFTGPU_INJECTIONS_MAX && k.injection[i].kind != 0; i++) {
        if (k.injection[i].at != p->submits || k.injection[i].kind == SOFTGPU_AT_OOM) continue;
        if (k.injection[i].kind == SOFTGPU_AT_REMOVE) {
            vidmm_notify_removed(p->adapter);
            return true;
        }
        p->resets_fail |= k.injection[i].kind == SOFTGPU_AT_RESET_FAILS;
        bool faults = k.injection[i].kind == SOFTGPU_AT_FAULT;
        mark(p, packet, ctx, faults ? SOFTGPU_INJECT_FAULT : SOFTGPU_INJECT_HANG);
    }
    return false;
}

vidmm_status port_submit(struct port *p, const struct vidmm_kmd_submit *s,
                         const uint64_t args[SOFTGPU_PACKET_ARGS])
{
    struct port_context *ctx = s->context;
    if (p->exclusive) return VIDMM_FAILED;
    if (ctx == NULL || s->node >= p->info.node_count || ctx->hw.node != s->node) return VIDMM_INVALID;
    struct softgpu_packet packet = {
        .context = &ctx->hw, .va = s->va, .bytes = s->bytes, .fence_id = s->fence_id,
        .paging = (s->flags & VIDMM_SUBMIT_PAGING) != 0, .null = (s->flags & VIDMM_SUBMIT_NULL) != 0};
    for (uint32_t i = 0; i < SOFTGPU_PACKET_ARGS; i++) packet.arg[i] = args[i];
    packet.resumed = (s->flags & VIDMM_SUBMIT_RESUBMISSION) != 0;
    if (!packet.paging && injected(p, &packet, ctx)) return VIDMM_OK;
    return softgpu_submit(p->gpu, s->node, &packet) ? VIDMM_OK : VIDMM_FAILED;
}

vidmm_status port_reset_engine(void *kmd, uint32_t node, uint64_t *last_aborted)
{
    struct port *p = kmd;
    struct softgpu_knobs k;
    *last_aborted = 0;
    if (node >= p->info.node_count) return VIDMM_INVALID;
    softgpu_get_knobs(p->gpu, &k);
    *last_aborted = softgpu_reset(p->gpu, node); /* stopped in any case; the knob says "not ready again" */
    return k.fail_reset || p->resets_fail ? VIDMM_FAILED : VIDMM_OK;
}

vidmm_status port_preempt_command(void *kmd, uint32_t node)
{
    struct port *p = kmd;
    if (node >= p->info.node_count) return VIDMM_INVALID;
    softgpu_preempt(p->gpu, node);
    return VIDMM_OK;
}

uint64_t port_query_engine_status(void *kmd, uint32_t node)
{
    struct port *p = kmd;
    return softgpu_progress(p->gpu, node);
}

vidmm_status port_reset_from_timeout(void *kmd)
{
    struct port *p = kmd;
    softgpu_stop_all(p->gpu);
    return VIDMM_OK;
}

vidmm_status port_restart_from_timeout(void *kmd)
{
    struct port *p = kmd;
    softgpu_restart(p->gpu);
    return VIDMM_OK;
}

void port_surprise_removal(void *kmd)
{
    struct port *p = kmd;
    softgpu_stop_all(p->gpu);
}

/* Nothing here uses the bus by itself, so there is nothing to silence; what is submitted is refused. */
void port_begin_exclusive_access(void *kmd) { ((struct port *)kmd)->exclusive = true; }
void port_end_exclusive_access(void *kmd) { ((struct port *)kmd)->exclusive = false; }

void port_set_vidpn_source_address(void *kmd, uint32_t source, void *allocation, struct vidmm_gpu_address at)
{
    struct port *p = kmd;
    (void)source; /* there is one */
    p->display.allocation = allocation;
    p->display.at = at;
}

void *port_map_cpu_host_aperture(void *kmd, uint32_t segment, uint64_t offset, uint64_t bytes)
{
    struct port *p = kmd;
    if (segment == 0 || segment > p->info.segment_count) return NULL;
    if ((p->info.segment[segment - 1].flags & VIDMM_SEGMENT_CPU_HOST_APERTURE) == 0) return NULL;
    return softgpu_vram(p->gpu, segment, offset, bytes);
}

vidmm_status port_escape(void *kmd, void *data, uint32_t bytes)
{
    (void)kmd;
    (void)data;
    (void)bytes;
    return VIDMM_NOT_SUPPORTED;
}

/* ---- page tables ------------------------------------------------------------------------------- */

uint64_t port_pte_attr(void *kmd, const struct vidmm_pte_kind *kind)
{
    const struct port *p = kmd;
    return p->format->attr(kind);
}

/* The first writing of a table also tells the GPU that its memory has a new owner. */
static __attribute__((noinline)) void update_new_table(struct port *p,
                                                       const struct vidmm_update_page_table *u)
{
    uint64_t entry_bytes = p->format->hw.entry_bytes;
    const uint8_t *first = (const uint8_t *)u->table.cpu_virtual + u->start_index * entry_bytes;
    softgpu_vram_claimed(p->gpu, first, u->count * entry_bytes);
    p->format->update(u);
}

void port_update_page_table(void *kmd, const struct vidmm_update_page_table *u)
{
    struct port *p = kmd;
    if ((u->flags & VIDMM_UPDATE_INITIAL) != 0) update_new_table(p, u);
    else p->format->update(u);
}

bool port_pte_decode(void *kmd, uint32_t level, const void *table, uint32_t index,
                     struct vidmm_pte_kind *kind, uint64_t *address)
{
    const struct port *p = kmd;
    if (level >= p->format->hw.level_count) return false;
    uint64_t raw = p->format->load(table, index);
    p->format->kind(level, raw, kind);
    *address = p->format->hw.decode(level, raw).address;
    return true;
}
