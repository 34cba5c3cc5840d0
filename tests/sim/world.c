/* SPDX-License-Identifier: MIT */
/* world.c - the adapter of a seed: format, segments, tables, knobs; and the end, when nothing may be left. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#include "sim/domain.h"

#define KIB(n) ((uint64_t)(n) << 10)
#define FRAMES 32768u

static uint32_t pick32(struct sim *s, const uint32_t *from, uint32_t n) { return from[sim_below(s, n)]; }

/* Tables in system memory that the GPU writes are single pages; the CPU begins the paging process' own. */
static void fit_tables(struct ref_options *o)
{
    if (o->format != REF_FORMAT_C || o->update_mode == VIDMM_UPDATE_CPU_VIRTUAL) return;
    o->table_segment[2] = o->paging_table_segment[2] = 2;
    o->segment[1].no_cpu_access = false;
    if (o->segment[1].bytes < KIB(2048)) o->segment[1].bytes += KIB(2048);
}

static void choose_options(struct sim *s, uint32_t gpu, enum ref_format format)
{
    static const uint32_t big[] = {512, 512, 1024, 2048}, small[] = {256, 512, 1024}, depth[] = {1, 2, 4, 8};
    struct ref_options *o = &s->gpu[gpu].ro;
    ref_options_default(o, format);
    o->segment[0].bytes = KIB(pick32(s, big, 4));
    o->segment[1].bytes = KIB(2048 + pick32(s, small, 3));
    o->segment[1].application = sim_chance(s, 2);
    uint32_t tables = sim_chance(s, 3) ? 0 : 2;
    for (uint32_t i = 0; i < VIDMM_LEVELS_MAX; i++) o->table_segment[i] = 0;
    for (uint32_t i = 0; i < (format == REF_FORMAT_B ? 2u : 4u); i++)
        o->table_segment[i] = sim_chance(s, 4) ? 2 - tables : tables;
    if (tables == 0) o->segment[1].bytes = KIB(pick32(s, small, 3));
    if (sim_chance(s, 4)) o->mmu_flags &= ~(uint32_t)VIDMM_MMU_READ_ONLY;
    if (sim_chance(s, 4)) o->mmu_flags ^= VIDMM_MMU_EXPLICIT_INVALIDATION;
    if (sim_chance(s, 4)) o->mmu_flags ^= VIDMM_MMU_ZERO_IN_PTE;
    if (sim_chance(s, 4)) o->mmu_flags ^= VIDMM_MMU_INVALID_NOT_CACHED;
    o->update_mode = s->opt.update >= 0 ? (uint32_t)s->opt.update : (uint32_t)sim_below(s, 3);
    /* What the GPU writes need not be in the CPU's reach. */
    o->segment[1].no_cpu_access = o->update_mode != VIDMM_UPDATE_CPU_VIRTUAL && sim_chance(s, 4);
    o->companion_node = (uint32_t)sim_below(s, REF_NODE_PAGING + 2);
    o->physical = sim_chance(s, 2) && s->gpus == 1;
    if (o->physical) o->segment[2].bytes = KIB(512) << sim_below(s, 5); /* often too small for everybody */
    o->iommu = sim_chance(s, 3) && s->gpus == 1; /* what links refuse: docs/deviations.md */
    o->submit_depth = pick32(s, depth, 4);
    o->no_64bit_atomics = sim_chance(s, 4);
    o->paging_buffer_bytes = sim_chance(s, 2) ? 4096 : 8192;
    o->seed = s->opt.seed + gpu;
    o->tlb_bits = 6 + (uint32_t)sim_below(s, 4);
    o->detect = SOFTGPU_DETECT_WALK;
    o->now_ns = world_now_ns;
    fit_tables(o);
}

/* One seed of four has a link: its gpus have addresses of the same size, and mostly different formats. */
static void choose_gpus(struct sim *s)
{
    enum ref_format first = sim_chance(s, 2) ? REF_FORMAT_A : REF_FORMAT_B;
    if (s->opt.format >= 0) first = (enum ref_format)s->opt.format;
    s->gpus = s->opt.gpus != 0 ? s->opt.gpus : sim_chance(s, 4) ? 2 + (uint32_t)sim_below(s, 3) : 1;
    bool wide = first == REF_FORMAT_A && s->gpus > 1 && sim_chance(s, 4); /* all with 48 bits */
    if (s->gpus > 1 && first == REF_FORMAT_A && !wide) first = REF_FORMAT_C;
    for (uint32_t g = 0; g < s->gpus; g++) {
        enum ref_format format = sim_chance(s, 2) ? REF_FORMAT_B : REF_FORMAT_C;
        s->gpu[g] = (struct sim_gpu){.sim = s, .index = g};
        choose_options(s, g, g == 0 || wide ? first : format);
    }
}

static void choose_temper(struct sim *s)
{
    static const uint32_t pages[] = {4, 16, 40, 96}, turns[] = {2, 8, 20, 60};
    struct temper *t = &s->temper;
    t->alloc_pages = pick32(s, pages, 4);
    t->big_one_in = 8 + (uint32_t)sim_below(s, 24);
    t->turns = pick32(s, turns, 4);
    t->check_every = 60;
    t->settle_every = 150 + (uint32_t)sim_below(s, 400);
    t->processes = 1 + (uint32_t)sim_below(s, 4);
    t->devices = 1 + (uint32_t)sim_below(s, 3);
    t->queues = 1 + (uint32_t)sim_below(s, 3);
    t->allocs = 8 + (uint32_t)sim_below(s, 40);
    t->unique = sim_chance(s, 6);
    t->low_window = sim_chance(s, 3);
    t->memory_only = !sim_chance(s, 3);
    t->faults = sim_chance(s, 2);
    t->oom = sim_chance(s, 8);
    t->hangs = t->faults && sim_chance(s, 2);
    s->tdr_limit = sim_chance(s, 2) ? VIDMM_TDR_NO_LIMIT : 5;
}

struct softgpu_knobs sim_knobs(const struct sim *s, uint32_t gpu)
{
    struct softgpu_knobs k;
    softgpu_get_knobs(s->gpu[gpu].hw, &k);
    return k;
}

void sim_set_knobs(struct sim *s, uint32_t gpu, const struct softgpu_knobs *k)
{
    softgpu_set_knobs(s->gpu[gpu].hw, k);
}

static void set_knobs(struct sim *s, uint32_t gpu)
{
    struct softgpu_knobs k = sim_knobs(s, gpu);
    if (sim_chance(s, 3)) k.buffer_full_every = 1 + (uint32_t)sim_below(s, 4);
    if (sim_chance(s, 3)) k.no_prefetch = true;
    if (sim_chance(s, 3)) k.paging_delay_ns = sim_below(s, 20000);
    if (sim_chance(s, 3)) k.copy_bytes_max = (uint32_t)PAGE << sim_below(s, 4);
    if (k.buffer_full_every == 1) k.buffer_full_every = 2;
    sim_set_knobs(s, gpu, &k);
}

static bool step_node(struct sim_gpu *g, uint32_t n)
{
    return softgpu_engine_step(g->hw, n) == SOFTGPU_PROGRESS;
}
static bool step_compute(void *g) { return step_node(g, REF_NODE_COMPUTE); }
static bool step_copy(void *g) { return step_node(g, REF_NODE_COPY); }
static bool step_physical(void *g) { return step_node(g, REF_NODE_PHYSICAL); }
static bool step_paging(void *g) { return step_node(g, REF_NODE_PAGING); }
static uint64_t gpu_wake(void *g) { return softgpu_wakeup_ns(((struct sim_gpu *)g)->hw); }

static struct model_gpu model_of(const struct vidmm_adapter_info *info)
{
    struct model_gpu c = {.level_count = info->level_count, .segment_count = info->segment_count};
    for (uint32_t i = 0; i < info->node_count; i++) {
        c.hw_nodes |= info->node[i].hw_queues ? 1u << i : 0;
        c.user_nodes |= info->node[i].user_submission ? 1u << i : 0;
    }
    c.tile_packets = info->update_mode != VIDMM_UPDATE_CPU_VIRTUAL;
    c.zero_pages = (info->mmu_flags & VIDMM_MMU_ZERO_IN_PTE) != 0;
    c.read_only = (info->mmu_flags & VIDMM_MMU_READ_ONLY) != 0;
    c.no_execute = (info->mmu_flags & VIDMM_MMU_NO_EXECUTE) != 0;
    for (uint32_t i = 0; i < info->level_count; i++) {
        c.index_bits[i] = info->level[i].index_bits;
        c.table_bytes[i] = info->level[i].table_bytes;
        c.table_segment[i] = info->level[i].segment;
    }
    for (uint32_t i = 0; i < info->segment_count; i++) {
        const struct vidmm_segment_desc *d = &info->segment[i];
        struct model_segment *to = &c.segment[i + 1];
        to->bytes = d->bytes;
        to->aperture = (d->flags & VIDMM_SEGMENT_APERTURE) != 0;
        to->pages_64k = (d->flags & VIDMM_SEGMENT_USE_64KB_PAGES) != 0;
        to->application = (d->flags & VIDMM_SEGMENT_APPLICATION_TARGET) != 0;
        for (uint32_t l = 0; l < info->level_count; l++)
            if (info->level[l].segment == i + 1 || info->level[l].paging_segment == i + 1)
                to->table_reserve = d->bytes / 16 / PAGE * PAGE;
    }
    return c;
}

static void make_model(struct sim *s)
{
    const struct vidmm_adapter_info *first = vidmm_adapter_info(s->ad);
    struct model_config c = {.va_bits = first->va_bits, .gpus = s->gpus, .physical = s->gpu[0].ro.physical,
                             .node_count = first->node_count, .doorbells = ref_ops()->hw->doorbells};
    for (uint32_t g = 0; g < s->gpus; g++) {
        const struct vidmm_adapter_info *info = vidmm_gpu_info(s->ad, g);
        c.narrow |= (info->sched_flags & VIDMM_SCHED_NO_64BIT_ATOMICS) != 0;
        c.gpu[g] = model_of(info);
    }
    s->model = model_create(&c);
}

static void add_engines(struct sim *s, struct sim_gpu *g)
{
    world_add_actor(s->world, &(struct world_actor){step_compute, gpu_wake, g});
    world_add_actor(s->world, &(struct world_actor){step_copy, NULL, g});
    world_add_actor(s->world, &(struct world_actor){step_paging, NULL, g});
    if (g->ro.physical) world_add_actor(s->world, &(struct world_actor){step_physical, NULL, g});
}

static bool make_gpus(struct sim *s)
{
    struct ref_kmd *kmd[VIDMM_GPUS_MAX];
    for (uint32_t g = 0; g < s->gpus; g++) {
        s->gpu[g].ro.now_ctx = s->world;
        if (ref_create(&s->gpu[g].ro, &s->gpu[g].ref) != VIDMM_OK) return false;
        s->gpu[g].hw = ref_gpu(s->gpu[g].ref);
        kmd[g] = s->gpu[g].ref;
        add_engines(s, &s->gpu[g]);
    }
    if (s->gpus > 1) ref_link(kmd, s->gpus);
    return true;
}

static void make_adapter(struct sim *s)
{
    const char *why = "no memory";
    struct vidmm_gpu peer[VIDMM_GPUS_MAX];
    const struct vidmm_kmd_ops *ops = spy_ops(s);
    for (uint32_t g = 1; g < s->gpus; g++) peer[g - 1] = (struct vidmm_gpu){ops, s->gpu[g].ref};
    struct vidmm_adapter_config c = {.struct_size = sizeof(c), .platform = world_platform(s->world),
                                     .ops = ops, .kmd = s->gpu[0].ref, .break_row = s->opt.break_row,
                                     .domain = s->domain != NULL ? sim_domain_face(s->domain) : NULL,
                                     .tdr_delay_ns = 2000000, .tdr_limit_count = s->tdr_limit,
                                     .tdr_level = s->temper.hangs ? VIDMM_TDR_RECOVER : VIDMM_TDR_OFF,
                                     .slice_ns = sim_chance(s, 2) ? 30000 : 0, .peer = peer,
                                     .peer_count = s->gpus - 1};
    if (vidmm_adapter_create(&c, &s->ad, &why) != VIDMM_OK) sim_fail(s, "no adapter: %s", why);
    world_own(s->world, s->ad);
}

bool sim_world_open(struct sim *s)
{
    struct world_options wo = {.seed = s->opt.seed, .frames = FRAMES};
    choose_gpus(s);
    choose_temper(s);
    s->world = world_create(&wo);
    if (s->world == NULL || !shared_open(s, FRAMES) || !domain_open(s) || !make_gpus(s)) return false;
    domain_wire(s);
    if (s->shared != NULL) world_add_actor(s->world, &(struct world_actor){shared_step, NULL, s});
    make_adapter(s);
    make_model(s);
    for (uint32_t g = 0; g < s->gpus; g++) set_knobs(s, g);
    return true;
}

/* The figures are those of all gpus together. */
void sim_observe_tables(struct sim *s)
{
    const struct vidmm_counters *c = vidmm_adapter_counters(s->ad);
    for (uint32_t g = 0; g < s->gpus; g++)
        for (uint32_t id = 1; id <= s->model->config.gpu[g].segment_count; id++) {
            struct model_segment *seg = &s->model->config.gpu[g].segment[id];
            seg->tables = c->segment[id].tables;
            seg->tables_least = s->gpus == 1 ? seg->tables : 0;
        }
}

void sim_world_close(struct sim *s)
{
    struct world_accounts a;
    shared_end(s);
    while (s->model->process_count > 0) {
        process_end(s, s->model->process[sim_below(s, s->model->process_count)]);
        if (sim_chance(s, 2)) sim_turns(s, sim_below(s, 40));
    }
    sim_settle(s);
    if (!vidmm_adapter_idle(s->ad)) sim_fail(s, "the adapter is not idle after everybody has gone");
    vidmm_adapter_destroy(s->ad);
    world_own(s->world, NULL);
    shared_close(s);
    domain_close(s);
    world_get_accounts(s->world, &a);
    if (a.blocks + a.bytes + a.frames + a.imported + a.errors != 0)
        sim_fail(s, "left over: %llu blocks, %llu frames, %llu imported; %llu wrong frees",
                 (unsigned long long)a.blocks, (unsigned long long)a.frames, (unsigned long long)a.imported,
                 (unsigned long long)a.errors);
    for (uint32_t g = 0; g < s->gpus; g++) ref_destroy(s->gpu[g].ref);
    model_destroy(s->model);
}
