/* SPDX-License-Identifier: MIT */
/* adapter.c — bring-up, and the loop that does what can be done: vidmm_run.
 * Owns: struct vidmm_adapter. Calls: every step function. Keeps: invariant 16. */
#include "core/core.h"

void *vmm_new(struct vidmm_adapter *ad, size_t bytes)
{
    CHECK(!ad->sealed); /* inv. 16 */
    void *p = memory_alloc(&ad->memory, bytes, _Alignof(max_align_t));
    if (p != NULL) memset(p, 0, bytes);
    return p;
}

void vmm_delete(struct vidmm_adapter *ad, void *p, size_t bytes)
{
    if (p != NULL) memory_free(&ad->memory, p, bytes);
}

/* ---- the driver's description, checked ---- */

static const char *check_models(const struct vidmm_adapter_info *in)
{
    bool model = (in->flags & (VIDMM_ADAPTER_GPUMMU | VIDMM_ADAPTER_IOMMU)) != 0;
    bool va = (in->flags & VIDMM_ADAPTER_VIRTUAL_ADDRESSING) != 0;
    if (va != model) return "VirtualAddressingSupported and a model bit must be set together"; /* ADP-10 */
    if (in->node_count == 0 || in->node_count > VIDMM_NODES_MAX)
        return "node count must be 1..64"; /* ADP-18 */
    if (in->paging_node >= in->node_count) return "the paging node does not exist";
    if (in->submit_depth == 0) return "submit_depth must be at least 1";
    uint64_t pb = in->paging_buffer_bytes;
    if (pb == 0 || pb % VIDMM_PAGE_SIZE != 0) return "paging buffer size must be a multiple of 4096";
    return NULL;
}

static const char *check_segments(const struct vidmm_adapter_info *in)
{
    uint32_t apertures = 0;
    if (in->segment_count > VIDMM_SEGMENTS_MAX) return "too many segments";
    for (uint32_t i = 0; i < in->segment_count; i++) {
        const struct vidmm_segment_desc *s = &in->segment[i];
        uint64_t page = s->flags & VIDMM_SEGMENT_USE_64KB_PAGES ? VIDMM_PAGE_64K : VIDMM_PAGE_SIZE;
        if (s->bytes == 0 || s->bytes % page != 0) return "segment size must be a multiple of its page size";
        if (!(s->flags & VIDMM_SEGMENT_APERTURE) && s->bytes / page > PAGEPOOL_PAGES_MAX)
            return "segment has too many pages";
        if ((s->flags & VIDMM_SEGMENT_CPU_VISIBLE) && (s->flags & VIDMM_SEGMENT_CPU_HOST_APERTURE))
            return "a segment is either CpuVisible or has a host aperture"; /* SEG-24 */
        if (s->flags & VIDMM_SEGMENT_APERTURE) apertures++;
    }
    return apertures == 1 ? NULL : "exactly one aperture segment must be reported"; /* SEG-09 */
}

static const char *check_table_segment(const struct vidmm_adapter_info *in, uint32_t segment, uint32_t bytes,
                                       bool cpu, bool paging)
{
    if (segment == VMM_SYSTEM && !cpu && bytes > VIDMM_PAGE_SIZE)
        return "page tables in system memory that the GPU writes must be single pages"; /* PT-15, PT-43 */
    if (segment == VMM_SYSTEM) return NULL;
    if (segment > in->segment_count || (in->segment[segment - 1].flags & VIDMM_SEGMENT_APERTURE))
        return "page tables must live in system memory or in a memory segment";
    bool reached = (in->segment[segment - 1].flags &
                    (VIDMM_SEGMENT_CPU_VISIBLE | VIDMM_SEGMENT_CPU_HOST_APERTURE)) != 0;
    if (cpu && !reached) return "CPU_VIRTUAL updates need page tables that the CPU can reach"; /* PT-26 */
    if (paging && !reached) return "the paging process' tables are begun by the CPU, which cannot reach them";
    return bytes >= VIDMM_PAGE_SIZE ? NULL : "a page table is smaller than a page";
}

static const char *check_levels(const struct vidmm_adapter_info *in)
{
    uint32_t n = in->level_count, bits = VIDMM_PAGE_SHIFT;
    const char *why;
    if (n < VIDMM_LEVELS_MIN || n > VIDMM_LEVELS_MAX)
        return "page-table level count must be 2..6"; /* ADP-15 */
    if (in->va_bits < 31 || in->va_bits > 57) return "VirtualAddressBitCount must be 31..57";
    for (uint32_t i = 0; i < n; i++) {
        const struct vidmm_level_desc *l = &in->level[i];
        bool resizable = n == 2 && i == 1;
        if (l->index_bits == 0 || l->index_bits > 24) return "index bits of a level must be 1..24";
        if (l->table_bytes % VIDMM_PAGE_SIZE != 0) return "table size must be a multiple of 4096"; /* PT-16 */
        if (!resizable && l->table_bytes == 0) return "table size is 0";
        bool cpu = in->update_mode == VIDMM_UPDATE_CPU_VIRTUAL;
        uint32_t bytes = resizable ? (uint32_t)VIDMM_PAGE_SIZE : l->table_bytes;
        why = check_table_segment(in, l->segment, bytes, cpu, false);
        if (why == NULL) why = check_table_segment(in, l->paging_segment, bytes, cpu, true);
        if (why != NULL) return why;
        bits += l->index_bits;
    }
    if (bits != in->va_bits)
        return "12 + index bits of all levels must be VirtualAddressBitCount"; /* PT-04 */
    if (in->update_mode > VIDMM_UPDATE_GPU_PHYSICAL) return "no such page-table update mode";
    why = vmm_paging_check(in);
    return why == NULL ? vmm_privileged_check(in) : why;
}

static const char *check_ops(const struct vidmm_kmd_ops *o)
{
    if (o->struct_size != sizeof *o || o->abi != VIDMM_KMD_ABI)
        return "the driver was built for another interface";
    if (!o->query_adapter_info || !o->start_device || !o->stop_device || !o->create_process ||
        !o->destroy_process || !o->create_context || !o->destroy_context || !o->create_allocation ||
        !o->destroy_allocation || !o->pte_attr || !o->update_page_table || !o->set_root_page_table ||
        !o->build_paging_buffer || !o->submit_command_virtual || !o->reset_engine)
        return "the driver lacks an operation";
    if (!o->open_allocation != !o->close_allocation)
        return "open_allocation and close_allocation go together";
    return NULL;
}

static const char *check_info(const struct vidmm_adapter *ad)
{
    const struct vidmm_adapter_info *in = &ad->info;
    const char *why = check_models(in);
    if (why == NULL) why = check_segments(in);
    if (why == NULL) why = check_levels(in);
    for (uint32_t i = 0; why == NULL && i < in->level_count; i++) {
        uint32_t reached = in->level[i].paging_segment;
        if (!vmm_gpu_writes(ad)) reached |= in->level[i].segment;
        if (reached != VMM_SYSTEM && ad->ops->map_cpu_host_aperture == NULL)
            why = "tables in a memory segment need map_cpu_host_aperture";
    }
    if (why == NULL && in->level_count == 2 && ad->ops->get_root_page_table_size == NULL)
        why = "a two-level driver needs get_root_page_table_size"; /* PT-08 */
    if (why == NULL && !vmm_paging_reaches_root(ad)) why = "a root page table is too large for GPU_VIRTUAL";
    if (why == NULL) why = vmm_aperture_check(ad);
    if (why == NULL) why = vmm_iommu_check(ad);
    if (why == NULL) why = vmm_domain_check(ad);
    for (uint32_t i = 0; why == NULL && i < in->node_count; i++) {
        if (in->node[i].hw_queues && ad->ops->hw == NULL)
            why = "a node with hardware queues needs the operations for them";
        else if (in->node[i].user_submission && (!in->node[i].hw_queues || ad->ops->hw->doorbells == 0 ||
                                                 ad->ops->hw->connect_doorbell == NULL))
            why = "a node with user-mode submission needs hardware queues and doorbells";
    }
    if (why == NULL && BROKEN(ad, PT_02) && in->level_count == 2) why = "broken on purpose";
    return why;
}

/* ---- bring-up ---- */

static enum vmm_row find_row(const char *name)
{
#ifdef VIDMM_TEST_HOOKS
#define VMM_ROW_NAME(row) #row,
    static const char *const names[] = { "", VMM_ROWS(VMM_ROW_NAME) };
#undef VMM_ROW_NAME
    for (uint32_t i = 1; name != NULL && i < ROW_COUNT; i++) {
        const char *a = names[i], *b = name; /* "VA_05" and "VA-05" are the same row */
        while (*a != 0 && (*a == *b || (*a == '_' && *b == '-'))) {
            a++;
            b++;
        }
        if (*a == 0 && *b == 0) return (enum vmm_row)i;
    }
#endif
    (void)name;
    return ROW_NONE;
}

static void init_lists(struct vidmm_adapter *ad)
{
    list_init(&ad->processes);
    list_init(&ad->allocs);
    list_init(&ad->driver_memory);
    list_init(&ad->dying_opens);
    list_init(&ad->lingering);
    list_init(&ad->offering);
    list_init(&ad->companions);
    list_init(&ad->waiters);
    list_init(&ad->hwcontexts);
    list_init(&ad->doorbells);
    list_init(&ad->flush_spaces);
    list_init(&ad->limbo);
    for (int i = 0; i < 3; i++) list_init(&ad->active[i]);
    for (uint32_t i = 0; i < VIDMM_NODES_MAX; i++) {
        list_init(&ad->node[i].contexts);
        list_init(&ad->node[i].paging);
        list_init(&ad->node[i].running);
    }
}

static bool init_segment(struct vidmm_adapter *ad, uint32_t id)
{
    const struct vidmm_segment_desc *d = &ad->info.segment[id - 1];
    struct vmm_segment *seg = &ad->segment[id];
    seg->id = id;
    seg->flags = d->flags;
    seg->bytes = d->bytes;
    seg->page_shift = d->flags & VIDMM_SEGMENT_USE_64KB_PAGES ? 16 : VIDMM_PAGE_SHIFT;
    if (BROKEN(ad, SEG_03)) seg->page_shift = VIDMM_PAGE_SHIFT;
    list_init(&seg->lru);
    if (id < VIDMM_COUNTERS_SEGMENTS) { /* of a link: of all gpus together */
        struct vidmm_segment_counters *c = &ad->counters->segment[id];
        c->bytes = (ad->gpu != 0 ? c->bytes : 0) + d->bytes;
    }
    if (d->flags & VIDMM_SEGMENT_APERTURE) return true;
    if (d->flags & VIDMM_SEGMENT_APPLICATION_TARGET) ad->budget += d->bytes;
    for (uint32_t i = 0; i < ad->info.level_count; i++) {
        bool tables = ad->info.level[i].segment == id || ad->info.level[i].paging_segment == id;
        if (tables) seg->table_reserve = (uint32_t)((seg->bytes >> seg->page_shift) / 16);
    }
    return pagepool_init(&seg->pool, (uint32_t)(seg->bytes >> seg->page_shift), &ad->memory);
}

static vidmm_status init_gpu(struct vidmm_adapter *ad, const char **why)
{
    ad->info.gpu = ad->gpu; /* ADP-14 */
    vidmm_status st = ad->ops->query_adapter_info(ad->kmd, &ad->info);
    *why = "the driver did not describe its adapter";
    if (st != VIDMM_OK) return st;
    *why = ad->info.gpu == ad->gpu ? check_info(ad) : "the driver described another gpu";
    if (*why == NULL && ad->gpu_count != 1) *why = vmm_link_check(ad);
    if (*why != NULL) return VIDMM_INVALID;
    vmm_leaves_init(ad);
    ad->shift[0] = VIDMM_PAGE_SHIFT;
    for (uint32_t i = 0; i < ad->info.level_count; i++)
        ad->shift[i + 1] = ad->shift[i] + ad->info.level[i].index_bits;
    ad->segment_count = ad->info.segment_count;
    uint32_t counted = min_u32(ad->segment_count + 1, VIDMM_COUNTERS_SEGMENTS);
    ad->counters->segment_count = max_u32(ad->counters->segment_count, counted);
    *why = "no memory for a segment";
    for (uint32_t id = 1; id <= ad->segment_count; id++)
        if (!init_segment(ad, id)) return VIDMM_NO_MEMORY;
    st = vmm_driver_memory_init(ad, why);
    if (st != VIDMM_OK) return st;
    vmm_domain_start(ad);
    *why = "no memory for the aperture";
    if (vmm_aperture_init(ad) != VIDMM_OK) return VIDMM_NO_MEMORY;
    *why = "the driver did not start the device";
    st = ad->ops->start_device(ad->kmd, ad, ad->platform);
    if (st != VIDMM_OK) return st;
    ad->started = true;
    return vmm_paging_init(ad, why);
}

static void free_gpu(struct vidmm_adapter *ad)
{
    ad->batch_done = ad->batch_next; /* tables of a bring-up that failed wait for nothing */
    vmm_paging_fini(ad);
    LIST_FOREACH_SAFE(it, tmp, &ad->limbo) {
        struct vmm_table *t = list_entry(it, struct vmm_table, limbo);
        list_remove(&t->limbo);
        vmm_table_free(ad, t);
    }
    slab_destroy(&ad->leaves);
    vmm_aperture_fini(ad);
    if (ad->started) ad->ops->stop_device(ad->kmd);
    vmm_driver_memory_fini(ad);
    for (uint32_t id = 1; id <= ad->segment_count; id++)
        if (ad->segment[id].pool.pages != 0) pagepool_destroy(&ad->segment[id].pool);
    memory_free(&ad->memory, ad, sizeof *ad);
}

static void free_adapter(struct vidmm_adapter *lead)
{
    for (uint32_t i = VIDMM_GPUS_MAX; i-- > 0;)
        if (lead->link[i] != NULL) free_gpu(lead->link[i]);
}

static bool tdr_valid(const struct vidmm_adapter_config *cfg)
{
    bool limit = cfg->tdr_limit_count <= VIDMM_TDR_LIMIT_MAX || cfg->tdr_limit_count == VIDMM_TDR_NO_LIMIT;
    return limit && cfg->tdr_level <= VIDMM_TDR_FATAL && cfg->tdr_delay_ns < 1ull << 62;
}

static void take_tdr(struct vidmm_adapter *ad, const struct vidmm_adapter_config *cfg)
{
    ad->tdr_delay = cfg->tdr_delay_ns != 0 ? cfg->tdr_delay_ns : 2000000000ull; /* FLT-16 */
    ad->tdr_window = cfg->tdr_limit_ns != 0 ? cfg->tdr_limit_ns : 60000000000ull;
    ad->tdr_limit = cfg->tdr_limit_count != 0 ? cfg->tdr_limit_count : 5;
    ad->tdr_level = cfg->tdr_level;
    ad->slice = cfg->slice_ns != 0 ? cfg->slice_ns : 20000000;
}

/* lead NULL: GPU 0, which leads. */
static struct vidmm_adapter *make_gpu(const struct vidmm_adapter_config *cfg, const struct vidmm_gpu *gpu,
                                      struct vidmm_adapter *lead)
{
    const struct vidmm_platform *pl = cfg->platform;
    struct vidmm_adapter *ad = pl->alloc(pl->ctx, sizeof *ad, _Alignof(struct vidmm_adapter));
    if (ad == NULL) return NULL;
    memset(ad, 0, sizeof *ad);
    ad->lead = lead != NULL ? lead : ad;
    ad->gpu_count = 1 + cfg->peer_count;
    while (ad->lead->link[ad->gpu] != NULL) ad->gpu++;
    ad->lead->link[ad->gpu] = ad;
    ad->platform = pl;
    ad->domain = cfg->domain;
    ad->ops = gpu->ops;
    ad->kmd = gpu->kmd;
    ad->memory = (struct base_memory){ pl->alloc, pl->free, pl->ctx };
    ad->counters = cfg->counters != NULL ? cfg->counters : &ad->lead->own_counters;
    ad->broken = find_row(cfg->break_row);
    take_tdr(ad, cfg);
    init_lists(ad);
    return ad;
}

static vidmm_status make_peers(const struct vidmm_adapter_config *cfg, struct vidmm_adapter *lead,
                               const char **why)
{
    for (uint32_t i = 0; i < cfg->peer_count; i++) {
        struct vidmm_adapter *ad = make_gpu(cfg, &cfg->peer[i], lead);
        *why = "no memory for a gpu of the link";
        vidmm_status st = ad != NULL ? init_gpu(ad, why) : VIDMM_NO_MEMORY;
        if (st != VIDMM_OK) return st;
    }
    return VIDMM_OK;
}

static const char *check_config(const struct vidmm_adapter_config *cfg)
{
    if (cfg->struct_size != sizeof *cfg || cfg->platform->struct_size != sizeof *cfg->platform)
        return "the configuration was built for another version";
    if (cfg->peer_count >= VIDMM_GPUS_MAX) return "a link has at most 4 gpus";
    const char *why = check_ops(cfg->ops);
    for (uint32_t i = 0; why == NULL && i < cfg->peer_count; i++) why = check_ops(cfg->peer[i].ops);
    return why == NULL && !tdr_valid(cfg) ? "impossible timeout settings" : why;
}

vidmm_status vidmm_adapter_create(const struct vidmm_adapter_config *cfg, struct vidmm_adapter **out,
                                  const char **why)
{
    const char *unused;
    const struct vidmm_gpu first = { cfg->ops, cfg->kmd };
    if (why == NULL) why = &unused;
    *why = check_config(cfg);
    if (*why != NULL) return VIDMM_INVALID;
    *why = "no memory for the adapter";
    struct vidmm_adapter *ad = make_gpu(cfg, &first, NULL);
    if (ad == NULL) return VIDMM_NO_MEMORY;
    ad->counters->magic = VIDMM_COUNTERS_MAGIC;
    vidmm_status st = init_gpu(ad, why);
    if (st == VIDMM_OK) st = make_peers(cfg, ad, why);
    if (st != VIDMM_OK) {
        free_adapter(ad);
        return st;
    }
    *why = NULL;
    *out = ad;
    return VIDMM_OK;
}

static bool gpu_idle(const struct vidmm_adapter *ad)
{
    for (uint32_t i = 0; i < ad->info.node_count; i++)
        if (ad->node[i].running_count > 0 || !list_empty(&ad->node[i].paging)) return false;
    for (int i = 0; i < 3; i++)
        if (!list_empty(&ad->active[i])) return false;
    if (ad->display.shown != NULL || ad->display.coming != NULL || ad->display.leaving != NULL) return false;
    return ad->move.al == NULL && list_empty(&ad->flush_spaces) && list_empty(&ad->limbo);
}

bool vidmm_adapter_idle(const struct vidmm_adapter *ad)
{
    bool idle = list_empty(&ad->processes) && list_empty(&ad->dying_opens) && !ad->attaching;
    LINK_FOREACH(g, ad) idle &= gpu_idle(g);
    return idle;
}

void vidmm_adapter_destroy(struct vidmm_adapter *ad)
{
    CHECK(list_empty(&ad->processes));
    CHECK(vidmm_adapter_idle(ad) || ad->removed);
    free_adapter(ad);
}

const struct vidmm_adapter_info *vidmm_adapter_info(const struct vidmm_adapter *ad) { return &ad->info; }
uint32_t vidmm_gpu_count(const struct vidmm_adapter *ad) { return ad->gpu_count; }

const struct vidmm_adapter_info *vidmm_gpu_info(const struct vidmm_adapter *ad, uint32_t gpu)
{
    return gpu < ad->gpu_count ? &ad->link[gpu]->info : NULL;
}

struct vidmm_counters *vidmm_adapter_counters(struct vidmm_adapter *ad) { return ad->counters; }

vidmm_status vidmm_adapter_query_private(struct vidmm_adapter *ad, void *data, uint32_t bytes)
{
    if (ad->lost) return VIDMM_DEVICE_LOST;
    if (ad->ops->query_private == NULL) return VIDMM_NOT_SUPPORTED;
    return ad->ops->query_private(ad->kmd, data, bytes);
}

vidmm_status vidmm_adapter_escape(struct vidmm_adapter *ad, void *data, uint32_t bytes)
{
    if (ad->lost) return VIDMM_DEVICE_LOST;
    if (ad->ops->escape == NULL) return VIDMM_NOT_SUPPORTED;
    return ad->ops->escape(ad->kmd, data, bytes);
}

/* ---- the loop ---- */

static bool step_reports(struct vidmm_adapter *ad)
{
    bool progress = vmm_inbox_step(ad);
    progress |= vmm_tdr_step(ad);
    progress |= vmm_turns_step(ad);
    progress |= vmm_limbo_step(ad);
    return progress;
}

static bool step_requests(struct vidmm_adapter *ad)
{
    bool progress = vmm_queues_step(ad);
    progress |= vmm_companions_step(ad);
    progress |= vmm_mover_step(ad);
    progress |= vmm_display_step(ad);
    return progress;
}

static bool step_engines(struct vidmm_adapter *ad)
{
    bool progress = vmm_batch_step(ad);
    progress |= vmm_sched_step(ad);
    progress |= vmm_hw_step(ad);
    return progress;
}

static bool step_all(struct vidmm_adapter *ad)
{
    bool progress = false;
    LINK_FOREACH(reports, ad) progress |= step_reports(reports);
    progress |= vmm_lingering_step(ad);
    progress |= vmm_offers_step(ad);
    LINK_FOREACH(requests, ad) progress |= step_requests(requests);
    LIST_FOREACH_SAFE(it, tmp, &ad->dying_opens)
        progress |= vmm_open_step(list_entry(it, struct vidmm_open, on_dying));
    LIST_FOREACH_SAFE(pi, next, &ad->processes)
        progress |= vmm_process_step(list_entry(pi, struct vidmm_process, on_adapter));
    LINK_FOREACH(engines, ad) progress |= step_engines(engines);
    progress |= vmm_domain_step(ad);
    return progress;
}

static uint64_t gpu_deadline(struct vidmm_adapter *ad)
{
    uint64_t next = min_u64(vmm_queues_deadline(ad), vmm_hw_deadline(ad));
    return min_u64(next, min_u64(vmm_tdr_deadline(ad), vmm_turns_deadline(ad)));
}

uint64_t vidmm_run(struct vidmm_adapter *ad, uint64_t now_ns)
{
    bool progress = true;
    uint64_t next = UINT64_MAX;
    LINK_FOREACH(g, ad) {
        g->now = max_u64(g->now, now_ns);
        g->sealed = true;
    }
    for (uint32_t i = 0; i < VMM_LOOPS_MAX && progress; i++) progress = step_all(ad);
    LINK_FOREACH(each, ad) {
        each->sealed = false;
        next = min_u64(next, gpu_deadline(each));
    }
    return progress ? ad->now : next;
}
