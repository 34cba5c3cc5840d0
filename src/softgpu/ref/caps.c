/* SPDX-License-Identifier: MIT */
/* caps.c - the ref driver: what it says about itself, its allocations, its ops table.
 * Owns: struct ref_kmd and the simulated GPU in it. Calls: port, the formats, paging.c. */
#include <stdlib.h>

#include "base/bits.h"
#include "softgpu/native.h"
#include "softgpu/physical.h"
#include "softgpu/port.h"
#include "softgpu/ref/formats.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref/ref_abi.h"

#define ALIGNMENT_MAX (2u << 20)
#define ROOT_GRAIN 1024u           /* entries of a 4 KiB page of format B's root */
#define PRIVATE_MAX 256u

struct ref_kmd {
    struct port port;              /* first: the ops' kmd argument is both */
    struct ref_options opt;
    struct ref_kmd *link[VIDMM_GPUS_MAX]; /* of GPU 0: by index, itself first; NULL behind the last */
};

void ref_options_default(struct ref_options *o, enum ref_format format)
{
    *o = (struct ref_options){.format = format, .segment_count = 3, .seed = 1};
    o->segment[0] = (struct ref_segment){.bytes = 256ull << 20, .pages_64k = true, .application = true};
    o->segment[1] = (struct ref_segment){.bytes = 32ull << 20, .application = true};
    o->segment[2] = (struct ref_segment){.bytes = 1ull << 30, .aperture = true};
    if (format != REF_FORMAT_B) {
        o->mmu_flags = VIDMM_MMU_READ_ONLY | VIDMM_MMU_NO_EXECUTE | VIDMM_MMU_ZERO_IN_PTE |
                       VIDMM_MMU_CACHE_COHERENT | VIDMM_MMU_INVALID_NOT_CACHED;
        for (uint32_t i = 0; i < 4; i++) o->table_segment[i] = 2;
    } else {
        o->mmu_flags = VIDMM_MMU_READ_ONLY | VIDMM_MMU_EXPLICIT_INVALIDATION;
        o->table_segment[1] = 2;
    }
}

/* ---- description ------------------------------------------------------------------------------- */

static bool table_segment_valid(const struct ref_options *o, uint32_t id, bool cpu)
{
    if (id == 0) return true;
    if (id > o->segment_count) return false;
    return !o->segment[id - 1].aperture && !(cpu && o->segment[id - 1].no_cpu_access);
}

static bool segments_valid(const struct ref_options *o, const struct port_format *f)
{
    if (o->segment_count == 0 || o->segment_count > VIDMM_SEGMENTS_MAX) return false;
    for (uint32_t i = 0; i < o->segment_count; i++) {
        const struct ref_segment *s = &o->segment[i];
        uint64_t page = s->pages_64k ? VIDMM_PAGE_64K : VIDMM_PAGE_SIZE;
        if (s->bytes == 0 || !is_aligned(s->bytes, page)) return false;
        if (!s->aperture && (i + 1 > f->segment_max || s->bytes > f->address_max)) return false;
    }
    return true;
}

static bool options_valid(const struct ref_options *o, const struct port_format *f)
{
    uint32_t able = VIDMM_MMU_READ_ONLY | VIDMM_MMU_NO_EXECUTE | VIDMM_MMU_ZERO_IN_PTE |
                    VIDMM_MMU_EXPLICIT_INVALIDATION | VIDMM_MMU_INVALID_NOT_CACHED;
    if (f != &ref_format4) able |= VIDMM_MMU_CACHE_COHERENT;
    if ((o->mmu_flags & ~able) != 0 || !segments_valid(o, f)) return false;
    if (o->companion_node > REF_NODE_PAGING + 1) return false;
    if (o->submit_depth > SOFTGPU_QUEUE_MAX || o->paging_buffer_bytes % 4096 != 0) return false;
    for (uint32_t i = 0; i < f->hw.level_count; i++) {
        bool cpu = o->update_mode == VIDMM_UPDATE_CPU_VIRTUAL;
        if (!table_segment_valid(o, o->table_segment[i], cpu)) return false;
        if (!table_segment_valid(o, o->paging_table_segment[i], true)) return false;
    }
    return true;
}

static void describe_segments(struct vidmm_adapter_info *info, const struct ref_options *o)
{
    uint64_t base = 0;
    info->segment_count = o->segment_count;
    for (uint32_t i = 0; i < o->segment_count; i++) {
        const struct ref_segment *s = &o->segment[i];
        struct vidmm_segment_desc *d = &info->segment[i];
        d->bytes = s->bytes;
        d->base = base;
        d->system_frame = s->system_frame;
        if (s->system_frame != 0) d->flags |= VIDMM_SEGMENT_FROM_SYSTEM_MEMORY;
        base += align_up(s->bytes, VIDMM_PAGE_64K);
        if (s->aperture) {
            d->flags |= VIDMM_SEGMENT_APERTURE;
            d->commit_limit = s->bytes;
            continue;
        }
        if (s->pages_64k) d->flags |= VIDMM_SEGMENT_USE_64KB_PAGES;
        if (!s->no_cpu_access) d->flags |= VIDMM_SEGMENT_CPU_HOST_APERTURE;
        if (s->application) d->flags |= VIDMM_SEGMENT_APPLICATION_TARGET;
    }
}

static void describe_domain(struct vidmm_adapter_info *info, const struct ref_options *o)
{
    info->visible_bytes = o->visible_bytes;
    info->iommu_caps = VIDMM_IOMMU_REMAPPING; /* it never looks behind an address of system memory */
    if (o->map_aperture2) info->flags |= VIDMM_ADAPTER_MAP_APERTURE2;
    if (!o->secure) return;
    info->flags |= VIDMM_ADAPTER_SECURE;
    info->iommu_caps |= VIDMM_IOMMU_ISOLATION;
}

/* The paging node keeps its page tables in any case: they are VidMm's own, no process sees them. */
static void describe_models(struct vidmm_adapter_info *info, const struct ref_options *o)
{
    for (uint32_t i = 0; i < info->node_count; i++) {
        struct vidmm_node_desc *n = &info->node[i];
        n->iommu = o->iommu && n->gpummu;
        n->gpummu = n->gpummu && !o->no_gpummu;
        if (o->iommu || o->no_gpummu) n->hw_queues = n->user_submission = false;
    }
    if (o->iommu) info->flags |= VIDMM_ADAPTER_IOMMU;
    if (o->no_gpummu) info->flags &= ~(uint32_t)VIDMM_ADAPTER_GPUMMU;
    if (!o->iommu && o->no_gpummu) info->flags = 0;
}

static void describe(struct vidmm_adapter_info *info, const struct ref_options *o,
                     const struct port_format *f)
{
    *info = (struct vidmm_adapter_info){
        .flags = VIDMM_ADAPTER_VIRTUAL_ADDRESSING | VIDMM_ADAPTER_GPUMMU,
        .node_count = REF_NODE_COUNT, .paging_node = REF_NODE_PAGING,
        .node = {{.engine_type = VIDMM_ENGINE_3D, .gpummu = true, .hw_queues = true, .user_submission = true,
                  .name = "ref compute"},
                 {.engine_type = VIDMM_ENGINE_COPY, .gpummu = true, .hw_queues = true, .name = "ref copy"},
                 {.engine_type = VIDMM_ENGINE_OTHER, .gpummu = true, .name = "ref paging"}},
        .mmu_flags = o->mmu_flags, .update_mode = o->update_mode,
        .va_bits = f->hw.va_bits, .level_count = f->hw.level_count,
        .paging_buffer_bytes = o->paging_buffer_bytes != 0 ? o->paging_buffer_bytes : 4096,
        .sched_flags = o->no_64bit_atomics ? VIDMM_SCHED_NO_64BIT_ATOMICS : 0,
        .submit_depth = o->submit_depth != 0 ? o->submit_depth : 4};
    if (o->physical) {
        info->node_count++;
        info->node[REF_NODE_PHYSICAL] = (struct vidmm_node_desc){
            .engine_type = VIDMM_ENGINE_COPY, .physical = true, .name = "ref physical"};
    }
    describe_segments(info, o);
    describe_domain(info, o);
    describe_models(info, o);
    for (uint32_t i = 0; i < f->hw.level_count; i++) {
        bool resizable_root = f->hw.level_count == 2 && i == 1;
        info->level[i] = (struct vidmm_level_desc){
            .index_bits = f->hw.index_bits[i], .segment = o->table_segment[i],
            .paging_segment = o->paging_table_segment[i],
            .table_bytes = resizable_root ? 0 : f->hw.entry_bytes << f->hw.index_bits[i]};
    }
}

static vidmm_status gpu_create(struct ref_kmd *k)
{
    const struct ref_options *o = &k->opt;
    struct softgpu_format format = k->port.format->hw;
    format.cache_invalid = (o->mmu_flags & VIDMM_MMU_INVALID_NOT_CACHED) == 0;
    struct softgpu_options g = {
        .format = &format, .segment_count = o->segment_count, .node_count = k->port.info.node_count,
        .processor = {&ref_processor, &ref_processor, &ref_processor,
                      o->physical ? &physical_processor : NULL},
        .queue_depth = k->port.info.submit_depth, .tlb_bits = o->tlb_bits, .seed = o->seed,
        .detect = o->detect, .now_ns = o->now_ns, .now_ctx = o->now_ctx};
    for (uint32_t i = 0; i < o->segment_count; i++)
        g.segment[i] = (struct softgpu_segment){o->segment[i].bytes, o->segment[i].aperture,
                                                k->port.info.segment[i].base, o->segment[i].system_frame};
    return softgpu_create(&g, &k->port.gpu);
}

vidmm_status ref_create(const struct ref_options *o, struct ref_kmd **out)
{
    static const struct port_format *const formats[] = {&ref_format8, &ref_format4, &ref_format8c};
    if ((uint32_t)o->format >= ARRAY_COUNT(formats)) return VIDMM_INVALID;
    const struct port_format *f = formats[o->format];
    if (!options_valid(o, f)) return VIDMM_INVALID;
    struct ref_kmd *k = calloc(1, sizeof(*k));
    if (k == NULL) return VIDMM_NO_MEMORY;
    k->opt = *o;
    k->link[0] = k;
    k->port.format = f;
    describe(&k->port.info, o, f);
    k->port.user_nodes = 1u << REF_NODE_COMPUTE | 1u << REF_NODE_COPY;
    if (o->physical) k->port.user_nodes |= 1u << REF_NODE_PHYSICAL;
    k->port.private_max = PRIVATE_MAX;
    k->port.threads = o->threads;
    vidmm_status st = gpu_create(k);
    if (st != VIDMM_OK) free(k);
    if (st == VIDMM_OK) *out = k;
    return st;
}

void ref_link(struct ref_kmd *const *kmd, uint32_t n)
{
    struct softgpu *gpu[VIDMM_GPUS_MAX];
    for (uint32_t i = 0; i < n; i++) {
        kmd[i]->port.info.gpu = i;
        kmd[0]->link[i] = kmd[i];
        gpu[i] = kmd[i]->port.gpu;
    }
    softgpu_link(gpu, n);
}

void ref_destroy(struct ref_kmd *k)
{
    if (k == NULL) return;
    softgpu_destroy(k->port.gpu);
    free(k);
}

struct softgpu *ref_gpu(struct ref_kmd *k) { return k->port.gpu; }

bool ref_scan_out(struct ref_kmd *k, uint64_t offset, void *out, uint32_t bytes)
{
    const struct vidmm_platform *pl = k->port.platform;
    uint64_t at = k->port.display.at.offset + offset;
    if (k->port.display.allocation == NULL || at % VIDMM_PAGE_SIZE + bytes > VIDMM_PAGE_SIZE) return false;
    uint64_t page = softgpu_aperture_frame(k->port.gpu, at >> VIDMM_PAGE_SHIFT);
    uint64_t frame = page != 0 ? softgpu_frame(k->port.gpu, page) : 0;
    const uint8_t *host = frame != 0 ? pl->sys_address(pl->ctx, frame) : NULL;
    return host != NULL && pl->copy(pl->ctx, out, host + at % VIDMM_PAGE_SIZE, bytes);
}

/* ---- allocations ------------------------------------------------------------------------------- */

static uint32_t system_bit(const struct vidmm_adapter_info *info)
{
    for (uint32_t i = 0; i < info->segment_count; i++)
        if ((info->segment[i].flags & VIDMM_SEGMENT_APERTURE) != 0) return 1u << i;
    return 0;
}

static bool set_valid(const struct vidmm_adapter_info *info, uint32_t supported, uint32_t preferred)
{
    uint64_t all = mask_low64(info->segment_count);
    if (supported == 0 || (supported & ~all) != 0 || preferred > info->segment_count) return false;
    return preferred == 0 || (supported >> (preferred - 1) & 1) != 0;
}

static vidmm_status ref_create_allocation(void *kmd, struct vidmm_kmd_allocation *a)
{
    struct ref_kmd *k = kmd;
    const uint32_t known = VIDMM_ALLOCATION_CPU_VISIBLE | VIDMM_ALLOCATION_CACHED |
                           VIDMM_ALLOCATION_ACCESSED_PHYSICALLY | VIDMM_ALLOCATION_LINK_INSTANCED |
                           VIDMM_ALLOCATION_LINK_MIRRORED | VIDMM_ALLOCATION_MAP_APERTURE_CPU_VISIBLE;
    struct ref_alloc_private in;
    if (a->private_data == NULL || a->private_size != sizeof(in)) return VIDMM_INVALID;
    __builtin_memcpy(&in, a->private_data, sizeof(in));
    bool sized = in.bytes != 0 && in.bytes <= VIDMM_ALLOC_PAGES_MAX * VIDMM_PAGE_SIZE;
    bool sane = sized && in.magic == REF_ALLOC_MAGIC && (in.flags & ~known) == 0 &&
                in.priority <= VIDMM_PRIORITY_MAXIMUM;
    if ((in.flags & VIDMM_ALLOCATION_LINK_INSTANCED) != 0 && in.gpu == 0) in.gpu = a->instance;
    if (!sane || in.gpu >= VIDMM_GPUS_MAX || k->link[in.gpu] == NULL || in.unused != 0) return VIDMM_INVALID;
    const struct vidmm_adapter_info *info = &k->link[in.gpu]->port.info;
    if (in.alignment != 0 && (!is_pow2(in.alignment) || in.alignment > ALIGNMENT_MAX)) return VIDMM_INVALID;
    uint32_t supported = in.supported != 0 ? in.supported : system_bit(info);
    if (!set_valid(info, supported, in.preferred)) return VIDMM_INVALID;
    /* The client's own memory stays where it is. */
    if (a->existing_bytes != 0 && (supported != system_bit(info) || in.bytes > a->existing_bytes))
        return VIDMM_INVALID;
    a->bytes = in.bytes;
    a->alignment = in.alignment;
    a->supported = supported;
    a->preferred = in.preferred;
    a->priority = in.priority != 0 ? in.priority : VIDMM_PRIORITY_NORMAL;
    a->flags = in.flags;
    a->gpu = in.gpu;
    return port_allocation_create(&k->port, a);
}

static bool asks_for_iommu(const struct ref_kmd *k, const struct vidmm_kmd_context *c)
{
    struct ref_context_private in;
    if ((c->flags & VIDMM_CONTEXT_VIRTUAL) == 0 || (c->flags & VIDMM_CONTEXT_SYSTEM) != 0 || !k->opt.iommu)
        return false;
    if (k->opt.no_gpummu) return true;
    if (c->private_data == NULL || c->private_size != sizeof(in)) return false;
    __builtin_memcpy(&in, c->private_data, sizeof(in));
    return in.magic == REF_CONTEXT_MAGIC && in.iommu == 1;
}

static vidmm_status ref_create_context(void *kmd, struct vidmm_kmd_context *c)
{
    const struct ref_kmd *k = kmd;
    c->use_iommu = asks_for_iommu(kmd, c);
    vidmm_status st = port_create_context(kmd, c);
    bool client = (c->flags & VIDMM_CONTEXT_SYSTEM) == 0;
    if (client && k->opt.companion_node != 0) c->paging_companion_node = k->opt.companion_node - 1;
    if (st != VIDMM_OK || (c->flags & VIDMM_CONTEXT_VIRTUAL) != 0) return st;
    c->dma_bytes = REF_DMA_BYTES;
    c->allocation_list = REF_ALLOCATION_LIST;
    c->patch_list = REF_PATCH_LIST;
    return VIDMM_OK;
}

/* ---- page tables ------------------------------------------------------------------------------- */

static uint64_t ref_get_root_page_table_size(void *kmd, uint32_t *entries)
{
    const struct ref_kmd *k = kmd;
    uint64_t most = 1ull << k->port.format->hw.index_bits[1];
    uint64_t n = min_u64(align_up(max_u64(*entries, 1), ROOT_GRAIN), most);
    *entries = (uint32_t)n;
    return n * k->port.format->hw.entry_bytes;
}

/* ---- the rest ---------------------------------------------------------------------------------- */

static vidmm_status ref_submit(void *kmd, const struct vidmm_kmd_submit *s)
{
    struct ref_kmd *k = kmd;
    const uint64_t args[SOFTGPU_PACKET_ARGS] = {0};
    bool aligned = is_aligned(s->va, 8) && is_aligned(s->bytes, 8);
    if (!aligned || s->private_size > PRIVATE_MAX) return VIDMM_INVALID;
    if (s->bytes == 0 && (s->flags & VIDMM_SUBMIT_NULL) == 0) return VIDMM_INVALID;
    return port_submit(&k->port, s, args);
}

static vidmm_status ref_query_private(void *kmd, void *data, uint32_t bytes)
{
    const struct ref_kmd *k = kmd;
    const struct vidmm_adapter_info *info = &k->port.info;
    struct ref_info_private out = {.magic = REF_INFO_MAGIC, .format = (uint32_t)k->opt.format,
                                   .node_count = info->node_count, .segment_count = info->segment_count};
    if (bytes < sizeof(out)) return VIDMM_INVALID;
    for (uint32_t i = 0; i < info->segment_count && i < ARRAY_COUNT(out.segment_bytes); i++)
        out.segment_bytes[i] = info->segment[i].bytes;
    __builtin_memcpy(data, &out, sizeof(out));
    return VIDMM_OK;
}

const struct vidmm_kmd_ops *ref_ops(void)
{
    static const struct vidmm_kmd_ops ops = {
        .hw = &port_hw_ops,
        .struct_size = sizeof(ops), .abi = VIDMM_KMD_ABI,
        .query_adapter_info = port_query_adapter_info,
        .start_device = port_start_device, .stop_device = port_stop_device,
        .create_process = port_create_process, .destroy_process = port_destroy_process,
        .create_device = port_create_device, .destroy_device = port_destroy_device,
        .create_context = ref_create_context, .destroy_context = port_destroy_context,
        .create_allocation = ref_create_allocation, .destroy_allocation = port_destroy_allocation,
        .open_allocation = port_open_allocation, .close_allocation = port_close_allocation,
        .pte_attr = port_pte_attr, .update_page_table = port_update_page_table, .pte_decode = port_pte_decode,
        .get_root_page_table_size = ref_get_root_page_table_size,
        .set_root_page_table = port_set_root_page_table,
        .build_paging_buffer = ref_build_paging_buffer, .submit_command_virtual = ref_submit,
        .reset_engine = port_reset_engine, .map_cpu_host_aperture = port_map_cpu_host_aperture,
        .preempt_command = port_preempt_command, .query_engine_status = port_query_engine_status,
        .reset_from_timeout = port_reset_from_timeout, .restart_from_timeout = port_restart_from_timeout,
        .surprise_removal = port_surprise_removal,
        .begin_exclusive_access = port_begin_exclusive_access,
        .end_exclusive_access = port_end_exclusive_access,
        .set_vidpn_source_address = port_set_vidpn_source_address,
        .query_private = ref_query_private, .escape = port_escape,
        .render = ref_render, .patch = ref_patch, .submit_command = ref_submit_physical};
    return &ops;
}
