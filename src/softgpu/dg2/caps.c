/* SPDX-License-Identifier: MIT */
/* caps.c - the dg2 driver: its description, its reading of the client's private data, its ops table.
 * Owns: struct dg2_kmd and the simulated GPU in it. Calls: port, the ref paging node. */
#include <stdlib.h>

#include <vidmm/dg2_abi.h>

#include "base/bits.h"
#include "softgpu/dg2/commands.h"
#include "softgpu/dg2/dg2.h"
#include "softgpu/dg2/format.h"
#include "softgpu/native.h"
#include "softgpu/port.h"

#define VRAM_DEFAULT (256ull << 20)
#define REPORTED_DEFAULT (4ull << 30)
#define APERTURE_BYTES (16ull << 30)
#define SUPPORTED_LOCAL 1u   /* segment 1 */
#define SUPPORTED_SYSTEM 2u  /* segment 2: the aperture stands for system memory */
#define PRIVATE_MAX 1024u

struct dg2_kmd {
    struct port port;              /* first: the ops' kmd argument is both */
    struct dg2_options opt;
};

void dg2_options_default(struct dg2_options *o)
{
    *o = (struct dg2_options){.vram_bytes = VRAM_DEFAULT, .vram_reported_bytes = REPORTED_DEFAULT, .seed = 1};
}

/* ---- description ------------------------------------------------------------------------------- */

static void describe(struct vidmm_adapter_info *info, const struct dg2_options *o)
{
    *info = (struct vidmm_adapter_info){
        .flags = VIDMM_ADAPTER_VIRTUAL_ADDRESSING | VIDMM_ADAPTER_GPUMMU,
        .segment_count = 2,
        .segment = {{.flags = VIDMM_SEGMENT_USE_64KB_PAGES | VIDMM_SEGMENT_APPLICATION_TARGET,
                     .bytes = o->vram_bytes},
                    {.flags = VIDMM_SEGMENT_APERTURE, .base = align_up(o->vram_bytes, VIDMM_PAGE_64K),
                     .bytes = APERTURE_BYTES, .commit_limit = APERTURE_BYTES}},
        .node_count = DG2_NODE_COUNT, .paging_node = DG2_NODE_PAGING,
        .node = {[DG2_NODE_RENDER] = {.engine_type = VIDMM_ENGINE_3D, .gpummu = true, .name = "render"},
                 [1] = {.name = "unused"}, [3] = {.name = "unused"}, [4] = {.name = "unused"},
                 [DG2_NODE_COPY] = {.engine_type = VIDMM_ENGINE_COPY, .gpummu = true, .name = "copy"},
                 [DG2_NODE_COMPUTE] = {.engine_type = VIDMM_ENGINE_OTHER, .gpummu = true, .name = "compute"},
                 [DG2_NODE_PAGING] = {.engine_type = VIDMM_ENGINE_OTHER, .gpummu = true, .name = "paging"}},
        /* No NO_EXECUTE: the client driver maps its command buffers without the execute right. */
        .mmu_flags = VIDMM_MMU_READ_ONLY | VIDMM_MMU_ZERO_IN_PTE | VIDMM_MMU_CACHE_COHERENT |
                     VIDMM_MMU_INVALID_NOT_CACHED,
        .update_mode = VIDMM_UPDATE_CPU_VIRTUAL,
        .va_bits = dg2_format.hw.va_bits, .level_count = dg2_format.hw.level_count,
        .paging_buffer_bytes = o->paging_buffer_bytes != 0 ? o->paging_buffer_bytes : 4096,
        .submit_depth = o->submit_depth != 0 ? o->submit_depth : 4};
    for (uint32_t i = 0; i < info->level_count; i++) {
        info->level[i].index_bits = dg2_format.hw.index_bits[i];
        info->level[i].table_bytes = 4096;
    }
}

static vidmm_status gpu_create(struct dg2_kmd *k)
{
    const struct dg2_options *o = &k->opt;
    struct softgpu_options g = {
        .format = &dg2_format.hw, .segment_count = 2,
        .segment = {{.bytes = o->vram_bytes}, {.aperture = true}}, .node_count = DG2_NODE_COUNT,
        .processor = {[DG2_NODE_RENDER] = &dg2_processor, [DG2_NODE_COPY] = &dg2_processor,
                      [DG2_NODE_COMPUTE] = &dg2_processor, [DG2_NODE_PAGING] = &ref_processor},
        .queue_depth = k->port.info.submit_depth, .tlb_bits = o->tlb_bits, .seed = o->seed,
        .detect = o->detect,
        .now_ns = o->now_ns, .now_ctx = o->now_ctx};
    return softgpu_create(&g, &k->port.gpu);
}

static bool options_valid(const struct dg2_options *o)
{
    return is_aligned(o->vram_bytes, VIDMM_PAGE_64K) && o->vram_bytes <= 1ull << 44 &&
           o->submit_depth <= SOFTGPU_QUEUE_MAX && o->paging_buffer_bytes % 4096 == 0;
}

vidmm_status dg2_create(const struct dg2_options *o, struct dg2_kmd **out)
{
    if (!options_valid(o)) return VIDMM_INVALID;
    struct dg2_kmd *k = calloc(1, sizeof(*k));
    if (k == NULL) return VIDMM_NO_MEMORY;
    k->opt = *o;
    if (k->opt.vram_bytes == 0) k->opt.vram_bytes = VRAM_DEFAULT;
    if (k->opt.vram_reported_bytes == 0) k->opt.vram_reported_bytes = REPORTED_DEFAULT;
    describe(&k->port.info, &k->opt);
    k->port.format = &dg2_format;
    k->port.user_nodes = 1u << DG2_NODE_RENDER | 1u << DG2_NODE_COPY | 1u << DG2_NODE_COMPUTE;
    k->port.private_max = PRIVATE_MAX;
    k->port.threads = o->threads;
    vidmm_status st = gpu_create(k);
    if (st != VIDMM_OK) free(k);
    if (st == VIDMM_OK) *out = k;
    return st;
}

void dg2_destroy(struct dg2_kmd *k)
{
    if (k == NULL) return;
    softgpu_destroy(k->port.gpu);
    free(k);
}

struct softgpu *dg2_gpu(struct dg2_kmd *k) { return k->port.gpu; }

/* ---- private data ------------------------------------------------------------------------------ */

/* Copies the struct out of the client's bytes if it is the one expected. */
static bool take(void *out, uint32_t out_bytes, uint32_t magic, const void *data, uint32_t bytes)
{
    if (data == NULL || bytes < out_bytes) return false;
    __builtin_memcpy(out, data, out_bytes);
    return vidmm_dg2_head_ok(out, magic, out_bytes);
}

static vidmm_status dg2_create_context(void *kmd, struct vidmm_kmd_context *c)
{
    struct vidmm_dg2_context_info info;
    bool told = c->private_size != 0;
    if (told && !take(&info, sizeof(info), VIDMM_DG2_CONTEXT, c->private_data, c->private_size))
        return VIDMM_INVALID;
    return port_create_context(kmd, c);
}

/* Of the resource info only what precedes the tokens matters here. */
struct resource_head {
    struct vidmm_dg2_head head;
    uint64_t bytes, alignment, width, existing_va, existing_bytes;
    uint32_t flags;
};

static bool resource_take(struct resource_head *r, const struct vidmm_kmd_allocation *a)
{
    const uint32_t whole = sizeof(struct vidmm_dg2_resource_info);
    if (a->private_data == NULL || a->private_size < whole) return false;
    __builtin_memcpy(r, a->private_data, sizeof(*r));
    return vidmm_dg2_head_ok(&r->head, VIDMM_DG2_RESOURCE, whole);
}

_Static_assert(offsetof(struct resource_head, flags) == offsetof(struct vidmm_dg2_resource_info, flags),
               "resource_head is the start of the resource info");

/* The client's driver never names a segment: video memory where it says LocalOnly, else system memory. */
static vidmm_status dg2_create_allocation(void *kmd, struct vidmm_kmd_allocation *a)
{
    struct dg2_kmd *k = kmd;
    struct resource_head r;
    if (!resource_take(&r, a)) return VIDMM_INVALID;
    bool existing = a->existing_bytes != 0;
    uint64_t bytes = existing ? a->existing_bytes : r.bytes;
    if (bytes == 0 || bytes > VIDMM_ALLOC_PAGES_MAX * VIDMM_PAGE_SIZE) return VIDMM_INVALID;
    bool local = (r.flags & VIDMM_DG2_LOCAL_ONLY) != 0;
    bool both = local && (r.flags & VIDMM_DG2_NON_LOCAL_ONLY) != 0;
    if (both) return VIDMM_INVALID;
    local = local && !existing;
    a->bytes = bytes;
    a->alignment = local ? VIDMM_PAGE_64K : VIDMM_PAGE_SIZE;
    a->supported = local ? SUPPORTED_LOCAL | SUPPORTED_SYSTEM : SUPPORTED_SYSTEM;
    a->preferred = local ? 1 : 0;
    a->priority = VIDMM_PRIORITY_NORMAL;
    a->flags = local ? 0 : VIDMM_ALLOCATION_CPU_VISIBLE | VIDMM_ALLOCATION_CACHED;
    return port_allocation_create(&k->port, a);
}

static vidmm_status dg2_submit(void *kmd, const struct vidmm_kmd_submit *s)
{
    struct dg2_kmd *k = kmd;
    struct vidmm_dg2_command_header h = {0};
    uint64_t args[SOFTGPU_PACKET_ARGS] = {0};
    if (s->bytes == 0 && (s->flags & VIDMM_SUBMIT_NULL) == 0) return VIDMM_INVALID;
    if (!is_aligned(s->va, 4) || !is_aligned(s->bytes, 4)) return VIDMM_INVALID;
    bool told = s->private_size != 0;
    if (told && !take(&h, sizeof(h), VIDMM_DG2_COMMAND, s->private_data, s->private_size))
        return VIDMM_INVALID;
    args[DG2_ARG_FENCE_VA] = h.monitored_fence_va & DG2_ADDRESS_MASK;
    args[DG2_ARG_FENCE_VALUE] = h.monitored_fence_value;
    if (!is_aligned(args[DG2_ARG_FENCE_VA], 8)) return VIDMM_INVALID;
    return port_submit(&k->port, s, args);
}

static vidmm_status dg2_query_private(void *kmd, void *data, uint32_t bytes)
{
    const struct dg2_kmd *k = kmd;
    struct vidmm_dg2_adapter_info info = VIDMM_DG2_ADAPTER_INFO_INIT;
    if (data == NULL || bytes < sizeof(info)) return VIDMM_INVALID;
    info.dedicated_bytes = k->opt.vram_reported_bytes;
    __builtin_memcpy(data, &info, sizeof(info));
    return VIDMM_OK;
}

/* The one question: how is the address space divided? The question carries a partition head. */
static vidmm_status dg2_escape(void *kmd, void *data, uint32_t bytes)
{
    static const struct vidmm_dg2_adapter_info info = VIDMM_DG2_ADAPTER_INFO_INIT;
    struct vidmm_dg2_partition asked;
    (void)kmd;
    if (!take(&asked, sizeof(asked), VIDMM_DG2_PARTITION, data, bytes)) return VIDMM_NOT_SUPPORTED;
    __builtin_memcpy(data, &info.partition, sizeof(info.partition));
    return VIDMM_OK;
}

const struct vidmm_kmd_ops *dg2_ops(void)
{
    static const struct vidmm_kmd_ops ops = {
        .struct_size = sizeof(ops), .abi = VIDMM_KMD_ABI,
        .query_adapter_info = port_query_adapter_info,
        .start_device = port_start_device, .stop_device = port_stop_device,
        .create_process = port_create_process, .destroy_process = port_destroy_process,
        .create_context = dg2_create_context, .destroy_context = port_destroy_context,
        .create_allocation = dg2_create_allocation, .destroy_allocation = port_destroy_allocation,
        .open_allocation = port_open_allocation, .close_allocation = port_close_allocation,
        .pte_attr = port_pte_attr, .update_page_table = port_update_page_table, .pte_decode = port_pte_decode,
        .set_root_page_table = port_set_root_page_table,
        .build_paging_buffer = ref_build_paging_buffer, .submit_command_virtual = dg2_submit,
        .reset_engine = port_reset_engine, .map_cpu_host_aperture = port_map_cpu_host_aperture,
        .preempt_command = port_preempt_command, .query_engine_status = port_query_engine_status,
        .reset_from_timeout = port_reset_from_timeout, .restart_from_timeout = port_restart_from_timeout,
        .surprise_removal = port_surprise_removal,
        .query_private = dg2_query_private, .escape = dg2_escape};
    return &ops;
}
