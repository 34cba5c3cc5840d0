/* SPDX-License-Identifier: MIT */
/* tap.c - see tap.h. */
#include "tap.h"

#include <stdlib.h>
#include <string.h>

static struct tap_entry *note(struct tap *t, enum tap_call call)
{
    struct tap_entry *e = &t->log[t->logged++ % TAP_LOG_MAX];
    t->calls++;
    t->count[call]++;
    *e = (struct tap_entry){.call = call};
    return e;
}

static bool create_fails(struct tap *t)
{
    return t->fail_create_in != 0 && --t->fail_create_in == 0;
}

/* ---- bring-up ------------------------------------------------------------------------------------ */

static vidmm_status query_adapter_info(void *kmd, struct vidmm_adapter_info *out)
{
    struct tap *t = kmd;
    (void)note(t, TAP_QUERY_INFO);
    if (create_fails(t)) return VIDMM_FAILED;
    vidmm_status st = t->inner->query_adapter_info(t->inner_kmd, out);
    if (st == VIDMM_OK && t->edit_info != NULL) t->edit_info(out);
    return st;
}

static vidmm_status start_device(void *kmd, struct vidmm_adapter *ad, const struct vidmm_platform *p)
{
    struct tap *t = kmd;
    (void)note(t, TAP_START);
    if (create_fails(t)) return VIDMM_FAILED;
    t->adapter = ad;
    return t->inner->start_device(t->inner_kmd, ad, p);
}

static void stop_device(void *kmd)
{
    struct tap *t = kmd;
    (void)note(t, TAP_STOP);
    t->inner->stop_device(t->inner_kmd);
}

/* ---- objects ------------------------------------------------------------------------------------- */

static vidmm_status create_process(void *kmd, bool system, void **process)
{
    struct tap *t = kmd;
    struct tap_entry *e = note(t, TAP_CREATE_PROCESS);
    e->system = system;
    if (create_fails(t)) return VIDMM_FAILED;
    vidmm_status st = t->inner->create_process(t->inner_kmd, system, process);
    if (st != VIDMM_OK) return st;
    e->object = *process;
    if (system) t->system_process = *process;
    return st;
}

static void destroy_process(void *kmd, void *process)
{
    struct tap *t = kmd;
    note(t, TAP_DESTROY_PROCESS)->object = process;
    t->inner->destroy_process(t->inner_kmd, process);
}

static vidmm_status create_device(void *kmd, struct vidmm_kmd_device *d)
{
    struct tap *t = kmd;
    struct tap_entry *e = note(t, TAP_CREATE_DEVICE);
    e->pasid = d->pasid;
    if (create_fails(t)) return VIDMM_FAILED;
    vidmm_status st = t->inner->create_device(t->inner_kmd, d);
    if (st == VIDMM_OK) e->object = d->handle;
    return st;
}

static void destroy_device(void *kmd, void *device)
{
    struct tap *t = kmd;
    note(t, TAP_DESTROY_DEVICE)->object = device;
    t->inner->destroy_device(t->inner_kmd, device);
}

static vidmm_status create_context(void *kmd, struct vidmm_kmd_context *c)
{
    struct tap *t = kmd;
    struct tap_entry *e = note(t, TAP_CREATE_CONTEXT);
    if (create_fails(t)) return VIDMM_FAILED;
    vidmm_status st = t->inner->create_context(t->inner_kmd, c);
    if (st != VIDMM_OK) return st;
    e->object = c->handle;
    e->node = c->node;
    e->flags = c->flags;
    if (t->context_count < TAP_CONTEXTS_MAX) {
        t->contexts[t->context_count++] = (struct tap_context){
            .context = c->handle, .process = c->process, .system = (c->flags & VIDMM_CONTEXT_SYSTEM) != 0};
    }
    return st;
}

static void destroy_context(void *kmd, void *context)
{
    struct tap *t = kmd;
    note(t, TAP_DESTROY_CONTEXT)->object = context;
    for (uint32_t i = 0; i < t->context_count; i++) {
        if (t->contexts[i].context != context) continue;
        t->contexts[i] = t->contexts[--t->context_count];
        break;
    }
    t->inner->destroy_context(t->inner_kmd, context);
}

static vidmm_status create_allocation(void *kmd, struct vidmm_kmd_allocation *a)
{
    struct tap *t = kmd;
    struct tap_entry *e = note(t, TAP_CREATE_ALLOCATION);
    if (create_fails(t)) return VIDMM_FAILED;
    vidmm_status st = t->inner->create_allocation(t->inner_kmd, a);
    if (st == VIDMM_OK) e->object = a->handle;
    return st;
}

static void destroy_allocation(void *kmd, void *allocation)
{
    struct tap *t = kmd;
    note(t, TAP_DESTROY_ALLOCATION)->object = allocation;
    t->inner->destroy_allocation(t->inner_kmd, allocation);
}

static vidmm_status open_allocation(void *kmd, struct vidmm_kmd_open *o)
{
    struct tap *t = kmd;
    struct tap_entry *e = note(t, TAP_OPEN);
    e->flags = o->flags;
    e->allocation = o->allocation;
    e->process = o->process;
    if (create_fails(t)) return VIDMM_FAILED;
    vidmm_status st = t->inner->open_allocation(t->inner_kmd, o);
    if (st == VIDMM_OK) e->object = o->handle;
    return st;
}

static void close_allocation(void *kmd, void *handle)
{
    struct tap *t = kmd;
    note(t, TAP_CLOSE)->object = handle;
    t->inner->close_allocation(t->inner_kmd, handle);
}

/* ---- page tables --------------------------------------------------------------------------------- */

static uint64_t pte_attr(void *kmd, const struct vidmm_pte_kind *kind)
{
    struct tap *t = kmd;
    struct tap_entry *e = note(t, TAP_PTE_ATTR);
    e->level = kind->level;
    e->flags = kind->flags;
    e->segment = kind->segment;
    e->protection = kind->driver_protection;
    return t->inner->pte_attr(t->inner_kmd, kind);
}

static void update_page_table(void *kmd, const struct vidmm_update_page_table *u)
{
    struct tap *t = kmd;
    struct tap_entry *e = note(t, TAP_UPDATE);
    t->op_count[VIDMM_OP_UPDATE_PAGE_TABLE]++;
    e->object = u->process;
    e->system = u->process == t->system_process;
    e->level = u->level;
    e->mode = u->mode;
    e->flags = u->flags;
    e->start = u->start_index;
    e->count = u->count;
    e->va = u->first_va;
    e->protection = u->driver_protection;
    e->table = u->table.cpu_virtual;
    e->first_attr = u->run_count > 0 ? u->runs[0].attr : 0;
    e->first_address = u->run_count > 0 ? u->runs[0].address : 0;
    bool page = u->level == 0 && !e->system && u->run_count == 1 && u->runs[0].address != 0;
    bool steered = t->steer != 0 && page;
    struct vidmm_pte_run run = u->run_count > 0 ? u->runs[0] : (struct vidmm_pte_run){0};
    struct vidmm_update_page_table other = *u;
    other.runs = &run;
    if (steered) run.address = t->steer;
    if (steered) t->steer = 0;
    t->inner->update_page_table(t->inner_kmd, steered ? &other : u);
}

static bool pte_decode(void *kmd, uint32_t level, const void *table, uint32_t index,
                       struct vidmm_pte_kind *kind, uint64_t *address)
{
    struct tap *t = kmd;
    t->calls++;
    return t->inner->pte_decode(t->inner_kmd, level, table, index, kind, address);
}

static uint64_t root_size(void *kmd, uint32_t *entries)
{
    struct tap *t = kmd;
    struct tap_entry *e = note(t, TAP_ROOT_SIZE);
    e->count = *entries;
    uint64_t bytes = t->inner->get_root_page_table_size(t->inner_kmd, entries);
    e->entries = *entries;
    e->bytes = bytes;
    return bytes;
}

static void set_root(void *kmd, void *context, struct vidmm_gpu_address root, uint32_t entries)
{
    struct tap *t = kmd;
    struct tap_entry *e = note(t, TAP_SET_ROOT);
    e->object = context;
    e->segment = root.segment;
    e->address = root.offset;
    e->entries = entries;
    for (uint32_t i = 0; i < t->context_count; i++) {
        struct tap_context *c = &t->contexts[i];
        if (c->context != context) continue;
        c->root = root;
        c->entries = entries;
        c->has_root = true;
    }
    t->inner->set_root_page_table(t->inner_kmd, context, root, entries);
}

/* ---- execution ----------------------------------------------------------------------------------- */

static vidmm_status build(void *kmd, struct vidmm_paging_buffer *b, const struct vidmm_op *op,
                          uint64_t *multipass)
{
    struct tap *t = kmd;
    uint32_t used = b->used;
    vidmm_status st = t->inner->build_paging_buffer(t->inner_kmd, b, op, multipass);
    struct tap_entry *e = note(t, TAP_BUILD);
    e->op = op->code;
    e->table = b->cpu;
    e->entries = used;
    e->count = b->used;
    if (op->code == VIDMM_OP_FLUSH_TLB) {
        e->object = op->flush.process;
        e->system = op->flush.process == t->system_process;
        e->va = op->flush.start_va;
        e->bytes = op->flush.end_va - op->flush.start_va;
    } else if (op->code == VIDMM_OP_VIRTUAL_TRANSFER) {
        e->object = op->transfer.allocation;
        e->va = op->transfer.source_va;
        e->address = op->transfer.destination_va;
        e->bytes = op->transfer.bytes;
        e->flags = op->transfer.flags;
        e->start = op->transfer.direction;
    } else if (op->code == VIDMM_OP_VIRTUAL_FILL) {
        e->object = op->fill.allocation;
        e->address = op->fill.destination_va;
        e->bytes = op->fill.bytes;
    }
    if (st == VIDMM_OK) t->op_count[op->code]++;
    return st;
}

static vidmm_status submit(void *kmd, const struct vidmm_kmd_submit *s)
{
    struct tap *t = kmd;
    bool paging = (s->flags & VIDMM_SUBMIT_PAGING) != 0;
    struct tap_entry *e = note(t, TAP_SUBMIT);
    *e = (struct tap_entry){.call = TAP_SUBMIT, .object = s->context, .node = s->node, .flags = s->flags,
                            .va = s->va, .bytes = s->bytes, .fence_id = s->fence_id, .system = paging};
    vidmm_status answer = paging ? VIDMM_OK : t->submit_answer;
    if (!paging) {
        t->submit_private_bytes += s->private_size;
        t->submit_answer = VIDMM_OK;
    }
    if (answer != VIDMM_OK) return answer;
    bool early = paging && t->early_fence;
    vidmm_status st = early && t->drop_early ? VIDMM_OK : t->inner->submit_command_virtual(t->inner_kmd, s);
    if (st == VIDMM_OK && early) vidmm_notify_completed(t->adapter, s->node, s->fence_id);
    return st;
}

static vidmm_status reset_engine(void *kmd, uint32_t node, uint64_t *last)
{
    struct tap *t = kmd;
    vidmm_status st = t->inner->reset_engine(t->inner_kmd, node, last);
    struct tap_entry *e = note(t, TAP_RESET);
    e->node = node;
    e->fence_id = *last;
    return st;
}

static void *map_aperture(void *kmd, uint32_t segment, uint64_t offset, uint64_t bytes)
{
    struct tap *t = kmd;
    t->calls++;
    return t->inner->map_cpu_host_aperture(t->inner_kmd, segment, offset, bytes);
}

static vidmm_status query_private(void *kmd, void *data, uint32_t bytes)
{
    struct tap *t = kmd;
    t->calls++;
    return t->inner->query_private(t->inner_kmd, data, bytes);
}

static vidmm_status escape(void *kmd, void *data, uint32_t bytes)
{
    struct tap *t = kmd;
    t->calls++;
    return t->inner->escape(t->inner_kmd, data, bytes);
}

static vidmm_status reset_from_timeout(void *kmd)
{
    struct tap *t = kmd;
    (void)note(t, TAP_STOP_ALL);
    return t->inner->reset_from_timeout(t->inner_kmd);
}

static vidmm_status restart_from_timeout(void *kmd)
{
    struct tap *t = kmd;
    (void)note(t, TAP_RESTART_ALL);
    return t->inner->restart_from_timeout(t->inner_kmd);
}

static void surprise_removal(void *kmd)
{
    struct tap *t = kmd;
    (void)note(t, TAP_REMOVAL);
    t->inner->surprise_removal(t->inner_kmd);
}

static vidmm_status preempt_command(void *kmd, uint32_t node)
{
    struct tap *t = kmd;
    t->calls++;
    return t->inner->preempt_command(t->inner_kmd, node);
}

static uint64_t query_engine_status(void *kmd, uint32_t node)
{
    struct tap *t = kmd;
    t->calls++;
    return t->inner->query_engine_status(t->inner_kmd, node);
}

static void set_vidpn_source_address(void *kmd, uint32_t source, void *allocation,
                                     struct vidmm_gpu_address at)
{
    struct tap *t = kmd;
    struct tap_entry *e = note(t, TAP_DISPLAY);
    e->object = allocation;
    e->segment = at.segment;
    e->address = at.offset;
    t->inner->set_vidpn_source_address(t->inner_kmd, source, allocation, at);
}

static void begin_exclusive_access(void *kmd)
{
    struct tap *t = kmd;
    (void)note(t, TAP_BEGIN_EXCLUSIVE);
    t->inner->begin_exclusive_access(t->inner_kmd);
    if (t->on_exclusive != NULL) t->on_exclusive(t->on_exclusive_arg, true);
}

static void end_exclusive_access(void *kmd)
{
    struct tap *t = kmd;
    if (t->on_exclusive != NULL) t->on_exclusive(t->on_exclusive_arg, false);
    (void)note(t, TAP_END_EXCLUSIVE);
    t->inner->end_exclusive_access(t->inner_kmd);
}

/* ---- the tap itself ------------------------------------------------------------------------------ */

bool tap_init(struct tap *t, const struct vidmm_kmd_ops *inner, void *inner_kmd)
{
    *t = (struct tap){.inner = inner, .inner_kmd = inner_kmd};
    t->ops = (struct vidmm_kmd_ops){
        .struct_size = sizeof(t->ops), .abi = VIDMM_KMD_ABI, .query_adapter_info = query_adapter_info,
        .start_device = start_device, .stop_device = stop_device, .create_process = create_process,
        .destroy_process = destroy_process, .create_context = create_context,
        .destroy_context = destroy_context, .create_allocation = create_allocation,
        .destroy_allocation = destroy_allocation, .open_allocation = open_allocation,
        .close_allocation = close_allocation, .pte_attr = pte_attr,
        .update_page_table = update_page_table, .pte_decode = pte_decode,
        .get_root_page_table_size = root_size, .set_root_page_table = set_root,
        .build_paging_buffer = build, .submit_command_virtual = submit, .reset_engine = reset_engine,
        .map_cpu_host_aperture = map_aperture, .query_private = query_private, .escape = escape,
        .preempt_command = preempt_command, .query_engine_status = query_engine_status,
        .reset_from_timeout = reset_from_timeout, .restart_from_timeout = restart_from_timeout,
        .surprise_removal = surprise_removal,
        .hw = inner->hw != NULL ? &tap_hw_ops : NULL,
        .begin_exclusive_access = inner->begin_exclusive_access != NULL ? begin_exclusive_access : NULL,
        .end_exclusive_access = inner->end_exclusive_access != NULL ? end_exclusive_access : NULL,
        .set_vidpn_source_address = inner->set_vidpn_source_address != NULL ? set_vidpn_source_address : NULL,
        .create_device = inner->create_device != NULL ? create_device : NULL,
        .destroy_device = inner->destroy_device != NULL ? destroy_device : NULL};
    t->log = calloc(TAP_LOG_MAX, sizeof(*t->log));
    return t->log != NULL;
}

void tap_fini(struct tap *t)
{
    free(t->log);
    t->log = NULL;
}

void tap_clear(struct tap *t)
{
    t->logged = 0;
    memset(t->count, 0, sizeof(t->count));
    memset(t->op_count, 0, sizeof(t->op_count));
    t->submit_private_bytes = 0;
}

const struct tap_entry *tap_find(const struct tap *t, enum tap_call call, uint64_t n)
{
    uint64_t from = t->logged > TAP_LOG_MAX ? t->logged - TAP_LOG_MAX : 0;
    for (uint64_t i = from; i < t->logged; i++) {
        const struct tap_entry *e = &t->log[i % TAP_LOG_MAX];
        if (e->call == call && n-- == 0) return e;
    }
    return NULL;
}

const struct tap_context *tap_root(const struct tap *t, const void *process)
{
    for (uint32_t i = 0; i < t->context_count; i++)
        if (t->contexts[i].process == process && t->contexts[i].has_root) return &t->contexts[i];
    return NULL;
}
