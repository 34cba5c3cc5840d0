/* SPDX-License-Identifier: MIT */
/* test_link_models.c - linked adapters whose gpus are not alike: tile updates on each of them, models of
 * addressing that differ, hardware queues. */
#include "link_rig.h"

#include "softgpu/ring.h"

#define X 0x40000000ull
#define SIZE MIB(1)

/* ---- tile updates ---------------------------------------------------------------------------------- */

#define TILE KIB(64)

/* One operation, in step with the context's fence. */
static void update(struct link *l, uint32_t gpu, const struct vidmm_tile_op *op)
{
    uint64_t v = l->c.issued + 1;
    assert_int_equal(vidmm_va_update(l->context[gpu], op, 1, l->c.fence, v, 0), VIDMM_OK);
    fx_settle(l->fx);
    assert_int_equal(vidmm_context_updates(l->context[gpu]), 1); /* not before its time */
    assert_int_equal(vidmm_fence_signal(l->c.fence, v), VIDMM_OK);
    client_wait(&l->c, l->c.fence, v + 1);
    l->c.issued = v + 1;
    assert_int_equal(vidmm_context_updates(l->context[gpu]), 0);
    fx_settle(l->fx);
    fx_verify(l->fx);
}

static void show(struct link *l, uint32_t gpu, uint32_t at, struct vidmm_open *pool, uint64_t offset)
{
    update(l, gpu, &(struct vidmm_tile_op){.type = VIDMM_TILE_MAP, .base = X + at * TILE, .bytes = TILE,
                                           .open = pool, .offset = offset});
}

/* How often the tables of a gpu were written, whoever does it there. */
static uint64_t table_writes(struct link *l, uint32_t gpu)
{
    const struct tap *t = link_tap(l, gpu);
    return t->count[TAP_UPDATE] + t->op_count[VIDMM_OP_UPDATE_PAGE_TABLE] +
           t->op_count[VIDMM_OP_COPY_PAGE_TABLE_ENTRIES];
}

/* The pool of each gpu, tile i filled with 0x<gpu>0<i>, mapped for nobody else. */
static void make_pools(struct link *l, struct vidmm_open **pool)
{
    for (uint32_t g = 0; g < l->gpus; g++) {
        pool[g] = link_memory(l, g, 4 * TILE);
        uint64_t va = link_map(l, g, pool[g], 0);
        for (uint32_t i = 0; i < 4; i++) link_fill(l, g, va + i * TILE, g << 8 | i, TILE);
        assert_int_equal(vidmm_va_free(l->c.process, va, 4 * TILE), VIDMM_OK);
    }
    fx_settle(l->fx);
}

static void tiles_on(struct link *l)
{
    struct vidmm_open *pool[3];
    void *cpu;
    make_pools(l, pool);
    assert_int_equal(client_reserve(&l->c, X, 8 * TILE), VIDMM_OK);
    for (uint32_t g = 0; g < 3; g++) { /* TIL-26 */
        uint64_t before[3];
        for (uint32_t i = 0; i < 3; i++) before[i] = table_writes(l, i);
        show(l, g, 0, pool[g], (g + 1) * TILE);
        for (uint32_t i = 0; i < 3; i++) assert_int_equal(table_writes(l, i) > before[i], i == g);
    }
    for (uint32_t g = 0; g < 3; g++) {
        show(l, g, 1, pool[(g + 1) % 3], 0); /* a peer's */
        update(l, g, &(struct vidmm_tile_op){.type = VIDMM_TILE_COPY, .base = X + 2 * TILE, .bytes = 2 * TILE,
                                             .source = X});
    }
    for (uint32_t g = 0; g < 3; g++) { /* TIL-13 */
        bool packets = vidmm_gpu_info(l->fx->ad, g)->update_mode == VIDMM_UPDATE_GPU_VIRTUAL;
        assert_int_equal(link_tap(l, g)->op_count[VIDMM_OP_COPY_PAGE_TABLE_ENTRIES] > 0, packets);
    }
    for (uint32_t turn = 0; turn < 3; turn++) { /* then the pools move, and come back */
        for (uint32_t g = 0; g < 3; g++) {
            for (uint32_t i = 0; i < 4; i += 2) {
                assert_int_equal(link_read(l, g, X + i * TILE), g << 8 | (g + 1));
                assert_int_equal(link_sum(l, g, X + (i + 1) * TILE, TILE),
                                 sum_of_pattern((g + 1) % 3 << 8, TILE));
            }
        }
        for (uint32_t g = 0; g < 3; g++) {
            if (turn == 0) assert_int_equal(vidmm_open_lock(pool[g], &cpu), VIDMM_PENDING);
            else if (turn == 1) assert_int_equal(vidmm_open_unlock(pool[g]), VIDMM_OK);
        }
        fx_settle(l->fx);
        fx_verify(l->fx);
    }
    vidmm_open_close(pool[1], 0); /* gone from all tables */
    fx_settle(l->fx);
    fx_verify(l->fx);
    assert_int_equal(link_read(l, 0, X), 1);
    assert_int_equal(link_read(l, 2, X), 2 << 8 | 3);
    link_read_faults(l, 1, X);
}

static void the_context_selects_whose_tiles_change(void **state)
{
    (void)state;
    for (uint32_t first = 0; first < 3; first++) {
        for (uint32_t node = 0; node < 2; node++) {
            struct link l;
            link_open_modes(&l, first, node == 0 ? 0 : REF_NODE_COMPUTE + 1);
            tiles_on(&l);
            fx_close(l.fx);
        }
    }
}

/* Of a pool that is on every gpu the offset chooses the instance; of a mirrored one the context the copy. */
static void tiles_of_instances_and_copies(void **state)
{
    struct link l;
    (void)state;
    link_open(&l, 2);
    struct fx_alloc in = {.bytes = 4 * TILE, .set = SET_64K | SET_SYSTEM, .preferred = 1,
                          .flags = VIDMM_ALLOCATION_LINK_INSTANCED};
    struct vidmm_open *each = client_alloc(&l.c, &in), *same = link_mirrored(&l, 4 * TILE);
    client_resident(&l.c, each);
    client_resident(&l.c, same);
    assert_int_equal(client_reserve(&l.c, X, 8 * TILE), VIDMM_OK);
    for (uint32_t g = 0; g < 2; g++) {
        show(&l, g, 0, each, (4 * g + 1) * TILE); /* self */
        show(&l, g, 1, same, 3 * TILE);
        link_fill(&l, g, X, 0x70 + g, TILE);
        link_fill(&l, g, X + TILE, 0x80 + g, TILE);
    }
    for (uint32_t g = 0; g < 2; g++) {
        show(&l, g, 2, each, (4 * (1 - g) + 1) * TILE); /* the peer's */
        assert_int_equal(link_read(&l, g, X + 2 * TILE), 0x70 + 1 - g);
        assert_int_equal(link_read(&l, g, X + TILE), 0x80 + g);
    }
    struct vidmm_tile_op across = {.type = VIDMM_TILE_MAP, .base = X, .bytes = 2 * TILE, .open = each,
                                   .offset = 3 * TILE};
    uint64_t hash = vidmm_state_hash(l.fx->ad);
    for (uint32_t g = 0; g < 2; g++) {
        across.offset = (4 * g + 3) * TILE; /* reaches beyond its instance */
        assert_int_equal(vidmm_va_update(l.context[1], &across, 1, NULL, 0, VIDMM_UPDATE_DO_NOT_WAIT),
                         VIDMM_INVALID);
    }
    assert_true(vidmm_state_hash(l.fx->ad) == hash);
    fx_close(l.fx);
}

/* ---- models of addressing -------------------------------------------------------------------------- */

enum { MMU = 1, SHARED = 2 }; /* what a gpu has: one of them or both */

/* A client of the process that uses its own addresses on every gpu that can do that. */
static void open_shared(struct link *l, struct vidmm_process *p, const uint32_t *models, struct link *m)
{
    struct client *c = &m->c;
    struct ref_context_private in = {.magic = REF_CONTEXT_MAGIC, .iommu = 1};
    struct vidmm_context_desc d = {.node = REF_NODE_COMPUTE, .private_data = &in, .private_size = sizeof(in)};
    m->fx = l->fx;
    m->gpus = l->gpus;
    *c = (struct client){.fx = l->fx, .process = p, .os = l->fx->os_process[0]};
    assert_int_equal(vidmm_device_create(p, &c->device), VIDMM_OK);
    for (uint32_t g = 0; g < l->gpus; g++) {
        d.engine_affinity = 1u << g;
        assert_int_equal(vidmm_queue_create_on(c->device, g, 0, &m->queue[g]), VIDMM_OK);
        if (models[g] & SHARED)
            assert_int_equal(vidmm_context_create(c->device, &d, &m->context[g]), VIDMM_OK);
    }
    c->queue = m->queue[0];
    assert_int_equal(vidmm_device_model(c->device), VIDMM_MODEL_IOMMU);
    assert_int_equal(vidmm_fence_create(c->device, 0, 0, &c->fence), VIDMM_OK);
    c->buffer = client_alloc(c, &(struct fx_alloc){.bytes = FX_COMMAND_BYTES, .gpu = l->gpus - 1});
    client_resident(c, c->buffer);
    void *pointer;
    assert_int_equal(vidmm_open_lock(c->buffer, &pointer), VIDMM_OK);
    c->buffer_va = (uint64_t)(uintptr_t)pointer;
    c->buffer_cpu = client_host(c, c->buffer);
}

/* What one gpu of the client writes, each of them reads. */
static void write_and_read(struct link *m, const uint32_t *models, uint32_t model, uint64_t va, uint32_t seed)
{
    for (uint32_t g = 0; g < m->gpus; g++) {
        if (!(models[g] & model)) continue;
        link_fill(m, g, va, seed + g, SIZE);
        for (uint32_t i = 0; i < m->gpus; i++)
            if (models[i] & model) assert_int_equal(link_sum(m, i, va, SIZE), sum_of_pattern(seed + g, SIZE));
    }
}

/* No context of the other model, and no tables where there are none. */
static void expect_refusals(struct link *l, const uint32_t *models, struct link *mmu, struct link *shared)
{
    struct ref_context_private in = {.magic = REF_CONTEXT_MAGIC, .iommu = 1};
    struct vidmm_context *c;
    uint64_t va, value, hash = vidmm_state_hash(l->fx->ad);
    for (uint32_t g = 0; g < l->gpus; g++) {
        struct vidmm_context_desc d = {.node = REF_NODE_COMPUTE, .engine_affinity = 1u << g};
        if (shared != NULL && models[g] != SHARED)
            assert_int_equal(vidmm_context_create(shared->c.device, &d, &c), VIDMM_INVALID);
        d.private_data = &in;
        d.private_size = sizeof(in);
        if (mmu != NULL && models[g] != MMU)
            assert_int_equal(vidmm_context_create(mmu->c.device, &d, &c), VIDMM_INVALID);
        struct vidmm_map m = {.base = X + GIB(1), .bytes = PAGE, .protection = VIDMM_PROT_WRITE};
        if (shared != NULL) {
            m.open = shared->c.buffer;
            assert_int_equal(vidmm_va_map(shared->queue[g], &m, &va, &value), VIDMM_NOT_SUPPORTED);
        }
    }
    assert_true(vidmm_state_hash(l->fx->ad) == hash);
}

/* One allocation, by pointer and by address, on each gpu that has the model. */
static void pass_between_models(struct link *mmu, struct link *shared, const uint32_t *models)
{
    struct vidmm_open *op = client_alloc(&shared->c, &(struct fx_alloc){.bytes = SIZE, .gpu = 1}), *mine;
    void *pointer;
    client_resident(&shared->c, op);
    assert_int_equal(vidmm_open_lock(op, &pointer), VIDMM_OK);
    uint64_t va = (uint64_t)(uintptr_t)pointer;
    assert_int_equal(vidmm_alloc_open(mmu->c.device, op, 0, &mine), VIDMM_OK);
    client_resident(&mmu->c, mine);
    for (uint32_t g = 0; g < 2; g++)
        if (models[g] & MMU) assert_int_equal(link_map(mmu, g, mine, X + SIZE), X + SIZE);
    for (uint32_t from = 0; from < 2; from++) {
        for (uint32_t to = 0; to < 2; to++) {
            if (!(models[from] & SHARED) || !(models[to] & MMU)) continue;
            uint32_t pattern = 0x900 + 16 * from + to;
            link_fill(shared, from, va, pattern, SIZE);
            assert_int_equal(link_sum(mmu, to, X + SIZE, SIZE), sum_of_pattern(pattern, SIZE));
            link_fill(mmu, to, X + SIZE, ~pattern, SIZE);
            assert_int_equal(link_sum(shared, from, va, SIZE), sum_of_pattern(~pattern, SIZE));
        }
    }
}

static void models_on(const uint32_t *models)
{
    struct link l = {.fx = &l.own, .gpus = 2}, mmu, shared;
    struct fx_options o;
    uint32_t devices = 0, any = models[0] | models[1];
    link_options(&o, 2);
    o.machine_iommu = true;
    for (uint32_t g = 0; g < 2; g++) {
        struct ref_options *r = g == 0 ? &o.ref : &o.peer[g - 1];
        r->iommu = (models[g] & SHARED) != 0;
        r->no_gpummu = (models[g] & MMU) == 0;
    }
    (void)fx_open(l.fx, &o);
    struct vidmm_process *p = fx_process(l.fx);
    if (any & MMU) {
        uint32_t from = models[0] & MMU ? 0 : 1, count = (models[0] & MMU) + (models[1] & MMU);
        link_open_on(&l, p, &mmu, from, count);
        devices++;
        assert_int_equal(vidmm_device_model(mmu.c.device), VIDMM_MODEL_GPUMMU);
        struct vidmm_open *op = link_memory_on(&mmu, from, from, SIZE);
        for (uint32_t g = from; g < from + count; g++) assert_int_equal(link_map(&mmu, g, op, X), X);
        write_and_read(&mmu, models, MMU, X, 0x100);
    }
    if (any & SHARED) {
        uint64_t va = 0;
        open_shared(&l, p, models, &shared);
        devices++;
        assert_int_equal(osmm_commit(shared.c.os, SIZE / PAGE, true, &va), VIDMM_OK); /* malloc's */
        write_and_read(&shared, models, SHARED, va, 0x200);
        uint32_t word = 0;
        assert_true(osmm_cpu_read(shared.c.os, va + SIZE / 2, &word, sizeof(word)));
        assert_int_equal(word, 0x200 + (models[1] & SHARED ? 1 : 0));
    }
    assert_int_equal(link_tap(&l, 0)->count[TAP_CREATE_DEVICE], devices); /* LDA-13 */
    assert_int_equal(link_tap(&l, 1)->count[TAP_CREATE_DEVICE], 0);
    if (devices == 2) pass_between_models(&mmu, &shared, models);
    fx_verify(l.fx);
    expect_refusals(&l, models, any & MMU ? &mmu : NULL, any & SHARED ? &shared : NULL);
    fx_verify(l.fx);
    fx_close(l.fx);
}

static void each_gpu_has_models_of_its_own(void **state)
{
    (void)state;
    for (uint32_t first = MMU; first <= (MMU | SHARED); first++)
        for (uint32_t second = MMU; second <= (MMU | SHARED); second++)
            models_on((uint32_t[]){first, second});
}

/* GPU 0's driver makes the devices of all, so it has to be able to. */
static void devices_are_made_by_the_first_gpu(void **state)
{
    static const struct vidmm_iommu machine; /* is not asked anything */
    struct world *w = world_create(&(struct world_options){.seed = 1});
    struct vidmm_kmd_ops plain = *ref_ops();
    struct ref_kmd *kmd[2];
    struct vidmm_adapter *ad;
    const char *why;
    (void)state;
    assert_non_null(w);
    world_set_iommu(w, &machine);
    for (uint32_t i = 0; i < 2; i++) {
        struct fx_options o;
        fx_options(&o, REF_FORMAT_C);
        o.ref.iommu = i == 1;
        assert_int_equal(ref_create(&o.ref, &kmd[i]), VIDMM_OK);
    }
    ref_link(kmd, 2);
    plain.create_device = NULL;
    plain.destroy_device = NULL;
    struct vidmm_gpu peer = {ref_ops(), kmd[1]};
    struct vidmm_adapter_config cfg = {.struct_size = sizeof(cfg), .ops = &plain,
                                       .platform = world_platform(w),
                                       .kmd = kmd[0], .peer = &peer, .peer_count = 1};
    assert_int_equal(vidmm_adapter_create(&cfg, &ad, &why), VIDMM_INVALID);
    assert_string_equal(why, "IoMmuSupported in a link needs create_device of its first gpu");
    for (uint32_t i = 0; i < 2; i++) ref_destroy(kmd[i]);
    world_destroy(w);
}

/* ---- hardware queues ------------------------------------------------------------------------------- */

static struct vidmm_hwqueue *hw_queue(struct link *l, uint32_t gpu, uint32_t flags)
{
    struct vidmm_hwcontext_desc cd = {.node = REF_NODE_COMPUTE, .engine_affinity = 1u << gpu};
    struct vidmm_hwqueue_desc qd = {.flags = flags};
    struct vidmm_hwcontext *c;
    struct vidmm_hwqueue *q;
    assert_int_equal(vidmm_hwcontext_create(l->c.device, &cd, &c), VIDMM_OK);
    assert_int_equal(vidmm_hwqueue_create(c, &qd, &q), VIDMM_OK);
    return q;
}

/* The memory of a peer, which moves between two entries: the queue's gpu is suspended, and flushes. */
static void hardware_queues_on_a_peer(void **state)
{
    struct link l;
    void *cpu;
    uint32_t bytes;
    uint64_t words[REF_WORDS_MAX];
    (void)state;
    link_open(&l, 2);
    struct vidmm_open *op = link_memory(&l, 0, SIZE);
    for (uint32_t g = 0; g < 2; g++) (void)link_map(&l, g, op, X);
    struct vidmm_hwqueue *q = hw_queue(&l, 1, 0);
    for (uint32_t i = 1; i <= 4; i++) {
        if (i == 2) assert_int_equal(vidmm_open_lock(op, &cpu), VIDMM_PENDING);
        if (i == 3) assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
        if (i == 4) fx_settle(l.fx);
        uint64_t va = client_commands(&l.c, words, ref_emit_fill(words, X, i, SIZE), &bytes);
        assert_int_equal(vidmm_hwqueue_submit(q, va, bytes, NULL, 0, i), VIDMM_OK);
        client_wait(&l.c, vidmm_hwqueue_progress(q), i);
        fx_settle(l.fx);
        assert_int_equal(link_sum(&l, 0, X, SIZE), sum_of_pattern(i, SIZE));
        assert_int_equal(link_sum(&l, 1, X, SIZE), sum_of_pattern(i, SIZE));
        assert_int_equal(link_segment_of(op), i == 2 ? 0 : 1);
        fx_verify(l.fx);
    }
    assert_int_equal(l.fx->tap.hw.commands, 0);
    assert_int_equal(link_tap(&l, 1)->hw.commands, 4);
    fx_close(l.fx);
}

static void a_doorbell_on_a_peer(void **state)
{
    struct link l;
    struct vidmm_doorbell *door;
    void *entries, *control;
    uint64_t words[REF_WORDS_MAX];
    (void)state;
    link_open(&l, 2);
    struct vidmm_open *op = link_memory(&l, 0, SIZE), *page[2];
    (void)link_map(&l, 1, op, X);
    (void)link_map(&l, 0, op, X);
    struct vidmm_hwqueue *q = hw_queue(&l, 1, VIDMM_HWQUEUE_USER_SUBMISSION);
    for (uint32_t i = 0; i < 2; i++) {
        page[i] = client_alloc(&l.c, &(struct fx_alloc){.bytes = PAGE});
        client_resident(&l.c, page[i]);
        assert_int_equal(vidmm_open_lock(page[i], i == 0 ? &entries : &control), VIDMM_OK);
    }
    struct vidmm_doorbell_desc d = {.ring = page[0], .control = page[1], .ring_entries = 16,
                                    .ring_va = link_map(&l, 1, page[0], 0),
                                    .control_va = link_map(&l, 1, page[1], 0)};
    assert_int_equal(vidmm_doorbell_create(q, &d, &door), VIDMM_OK);
    assert_int_equal(vidmm_doorbell_connect(door), VIDMM_OK);
    fx_settle(l.fx);
    for (uint64_t i = 1; i <= 40; i++) {
        uint32_t bytes;
        uint64_t va = client_commands(&l.c, words, ref_emit_add64(words, X, 3), &bytes);
        ((struct softgpu_ring_entry *)entries)[(i - 1) % 16] = (struct softgpu_ring_entry){va, bytes, i, 0};
        ((struct softgpu_ring_control *)control)->put = i;
        *vidmm_doorbell_address(door) = i;
        client_wait(&l.c, vidmm_hwqueue_progress(q), i);
    }
    assert_int_equal(link_tap(&l, 1)->hw.connects, 1);
    assert_int_equal(link_tap(&l, 1)->hw.commands, 0);
    assert_int_equal(link_read(&l, 0, X), 120);
    fx_verify(l.fx);
    fx_close(l.fx);
}

int main(int argc, char **argv)
{
    const struct vt_case cases[] = {
        VT_TEST(the_context_selects_whose_tiles_change, "TIL-26 INV-14", NULL),
        VT_TEST(each_gpu_has_models_of_its_own, "LDA-08 LDA-13", NULL),
        VT_TEST(devices_are_made_by_the_first_gpu, "LDA-13", NULL),
        VT_TEST(hardware_queues_on_a_peer, "INV-12 INV-22", NULL),
        VT_TEST(a_doorbell_on_a_peer, "INV-24", NULL),
        VT_TEST(tiles_of_instances_and_copies, "LDA-06 TIL-26", NULL),
    };
    return vt_main(argc, argv, "model_link_models", cases, VT_COUNT(cases));
}
