/* SPDX-License-Identifier: MIT */
/* link_rig.c - see link_rig.h. */
#include "link_rig.h"

#define RESULT_OFFSET (FX_COMMAND_BYTES - 4096u) /* as in fixture.c */

void link_options(struct fx_options *o, uint32_t gpus)
{
    fx_options(o, REF_FORMAT_C);
    for (uint32_t i = 1; i < gpus; i++) fx_add_peer(o, i % 2 == 1 ? REF_FORMAT_B : REF_FORMAT_C);
}

void link_client(struct link *l, struct client *c, struct vidmm_process *p)
{
    client_open(c, l->fx, p);
    for (uint32_t i = 0; i < l->gpus; i++) {
        struct vidmm_context_desc d = {.node = REF_NODE_COMPUTE, .engine_affinity = 1u << i};
        struct vidmm_map m = {.base = c->buffer_va, .open = c->buffer, .bytes = FX_COMMAND_BYTES,
                              .protection = VIDMM_PROT_WRITE | VIDMM_PROT_EXECUTE};
        uint64_t va;
        assert_int_equal(vidmm_queue_create_on(c->device, i, 0, &l->queue[i]), VIDMM_OK);
        assert_int_equal(vidmm_context_create(c->device, &d, &l->context[i]), VIDMM_OK);
        assert_int_equal(link_try_map(l, i, &m, &va), VIDMM_OK);
    }
}

void link_open(struct link *l, uint32_t gpus)
{
    struct fx_options o;
    l->gpus = gpus;
    l->fx = &l->own;
    link_options(&o, gpus);
    (void)fx_open(l->fx, &o);
    assert_int_equal(vidmm_gpu_count(l->fx->ad), gpus);
    link_client(l, &l->c, NULL);
}

void link_open_on(struct link *l, struct vidmm_process *process, struct link *m, uint32_t from,
                  uint32_t gpus)
{
    struct client *c = &m->c;
    m->fx = l->fx;
    m->gpus = l->gpus;
    *c = (struct client){.fx = l->fx, .process = process != NULL ? process : fx_process(l->fx)};
    assert_int_equal(vidmm_device_create(c->process, &c->device), VIDMM_OK);
    assert_int_equal(vidmm_queue_create_on(c->device, from, 0, &c->queue), VIDMM_OK);
    assert_int_equal(vidmm_fence_create(c->device, 0, 0, &c->fence), VIDMM_OK);
    c->buffer = client_alloc(c, &(struct fx_alloc){.bytes = FX_COMMAND_BYTES, .gpu = from});
    client_resident(c, c->buffer);
    void *cpu;
    assert_int_equal(vidmm_open_lock(c->buffer, &cpu), VIDMM_OK);
    c->buffer_cpu = client_host(c, c->buffer); /* before there is a model, cpu is an address of the process */
    for (uint32_t i = from; i < from + gpus; i++) {
        struct vidmm_context_desc d = {.node = REF_NODE_COMPUTE, .engine_affinity = 1u << i};
        struct vidmm_map map = {.base = c->buffer_va, .min = 0x1c000000, .open = c->buffer,
                                .bytes = FX_COMMAND_BYTES,
                                .protection = VIDMM_PROT_WRITE | VIDMM_PROT_EXECUTE};
        assert_int_equal(vidmm_queue_create_on(c->device, i, 0, &m->queue[i]), VIDMM_OK);
        assert_int_equal(vidmm_context_create(c->device, &d, &m->context[i]), VIDMM_OK);
        assert_int_equal(link_try_map(m, i, &map, &c->buffer_va), VIDMM_OK);
    }
}

void link_open_modes(struct link *l, uint32_t first, uint32_t companion_node)
{
    static const uint32_t mode[] = {VIDMM_UPDATE_CPU_VIRTUAL, VIDMM_UPDATE_GPU_VIRTUAL,
                                    VIDMM_UPDATE_GPU_PHYSICAL};
    struct fx_options o;
    l->gpus = 3;
    l->fx = &l->own;
    link_options(&o, 3);
    for (uint32_t i = 0; i < 3; i++) {
        struct ref_options *r = i == 0 ? &o.ref : &o.peer[i - 1];
        r->update_mode = mode[(first + i) % 3];
        r->companion_node = companion_node;
        /* Tables that the GPU writes in system memory are single pages. */
        for (uint32_t k = 0; r->format == REF_FORMAT_C && k < 3; k++) r->paging_table_segment[k] = 2;
    }
    (void)fx_open(l->fx, &o);
    link_client(l, &l->c, NULL);
}

struct tap *link_tap(struct link *l, uint32_t gpu)
{
    return gpu == 0 ? &l->fx->tap : &l->fx->peer[gpu - 1].tap;
}

vidmm_status link_try_map(struct link *l, uint32_t gpu, const struct vidmm_map *m, uint64_t *va)
{
    uint64_t value = 0;
    vidmm_status st = vidmm_va_map(l->queue[gpu], m, va, &value);
    if (st < 0) return st;
    client_wait(&l->c, vidmm_queue_fence(l->queue[gpu]), value);
    return VIDMM_OK;
}

uint64_t link_map(struct link *l, uint32_t gpu, struct vidmm_open *op, uint64_t base)
{
    struct vidmm_map m = {.base = base, .open = op, .bytes = vidmm_open_bytes(op),
                          .protection = VIDMM_PROT_WRITE};
    uint64_t va = 0;
    assert_int_equal(link_try_map(l, gpu, &m, &va), VIDMM_OK);
    return va;
}

struct vidmm_open *link_memory_on(struct link *l, uint32_t gpu, uint32_t of, uint64_t bytes)
{
    struct vidmm_open *op = client_alloc(&l->c, &(struct fx_alloc){
        .bytes = bytes, .set = SET_64K | SET_SYSTEM, .preferred = 1, .gpu = of});
    uint64_t value = 0, trim = 0;
    assert_true(vidmm_make_resident(l->queue[gpu], &op, 1, 0, &value, &trim) >= 0);
    client_wait(&l->c, vidmm_queue_fence(l->queue[gpu]), value);
    return op;
}

struct vidmm_open *link_memory(struct link *l, uint32_t gpu, uint64_t bytes)
{
    return link_memory_on(l, gpu, gpu, bytes);
}

struct vidmm_open *link_mirrored(struct link *l, uint64_t bytes)
{
    return client_alloc(&l->c, &(struct fx_alloc){.bytes = bytes, .set = SET_64K | SET_SYSTEM, .preferred = 1,
                                                  .flags = VIDMM_ALLOCATION_LINK_MIRRORED});
}

uint32_t link_segment_of(const struct vidmm_open *op)
{
    struct vidmm_placement_info at;
    vidmm_open_placement(op, &at);
    assert_true(at.resident);
    return at.segment;
}

void link_fill(struct link *l, uint32_t gpu, uint64_t va, uint32_t pattern, uint64_t bytes)
{
    uint64_t words[REF_WORDS_MAX];
    assert_true(client_run_on(&l->c, l->context[gpu], words, ref_emit_fill(words, va, pattern, bytes)));
}

uint64_t link_sum(struct link *l, uint32_t gpu, uint64_t va, uint64_t bytes)
{
    uint64_t words[REF_WORDS_MAX], *result = (uint64_t *)(void *)(l->c.buffer_cpu + RESULT_OFFSET);
    uint32_t n = ref_emit_checksum(words, va, bytes, l->c.buffer_va + RESULT_OFFSET);
    *result = 0;
    assert_true(client_run_on(&l->c, l->context[gpu], words, n));
    return *result;
}

uint32_t link_read(struct link *l, uint32_t gpu, uint64_t va)
{
    return gpu_read_on(&l->c, l->context[gpu], va);
}

void link_read_faults(struct link *l, uint32_t gpu, uint64_t va)
{
    struct vidmm_page_fault f;
    uint64_t words[REF_WORDS_MAX];
    uint32_t n = ref_emit_checksum(words, va, 4, l->c.buffer_va + RESULT_OFFSET);
    assert_false(client_run_on(&l->c, l->context[gpu], words, n));
    assert_int_equal(vidmm_device_fault(l->c.device, &f), VIDMM_OK);
    assert_int_equal(f.va, va);
}

uint64_t link_decode(struct link *l, uint32_t gpu, uint64_t va, struct vidmm_pte_kind *kind)
{
    struct tap *t = link_tap(l, gpu);
    const struct tap_entry *e;
    uint64_t address = 0;
    bool found = false;
    for (uint64_t i = 0; (e = tap_find(t, TAP_UPDATE, i)) != NULL; i++) {
        if (e->level != 0 || va < e->va || va >= e->va + e->count * PAGE) continue;
        uint32_t index = e->start + (uint32_t)((va - e->va) / PAGE);
        found = t->ops.pte_decode(t, 0, e->table, index, kind, &address);
    }
    assert_true(found);
    return address;
}

struct vidmm_pte_kind link_entry(struct link *l, uint32_t gpu, uint64_t va)
{
    struct vidmm_pte_kind kind;
    (void)link_decode(l, gpu, va, &kind);
    return kind;
}

struct lost { struct vidmm_adapter *ad; uint32_t gpu; };

static bool is_lost(void *arg)
{
    const struct lost *at = arg;
    return vidmm_gpu_removed(at->ad, at->gpu);
}

void link_lose(struct link *l, uint32_t gpu)
{
    struct lost lost = {l->fx->ad, gpu};
    vidmm_notify_removed(link_tap(l, gpu)->adapter);
    assert_true(world_until(l->fx->world, FX_TURNS, is_lost, &lost));
}
