/* SPDX-License-Identifier: MIT */
/* rules.c - the token tables.  Data only; calls nothing.
 * Token ids are facts about the client's driver; where they come from is told in NOTICE. */
#include "app/compute_helper/rules.h"

#include <vidmm/dg2_abi.h>

#define OPEN(id) {TOKEN_OPEN, id, 0, 0, 0},
#define ITEM(id, index) {TOKEN_OPEN, id, index, 0, 0},
#define CLOSE {TOKEN_CLOSE, 0, 0, 0, 0},
#define ONE(id) {TOKEN_ONE, id, 0, 0, 0},

#define FIELD(kind, type, id, field) {kind, id, 0, offsetof(type, field), 0},

#define A32(id, field) FIELD(TOKEN_U32, struct vidmm_dg2_adapter_info, id, field)
#define A64(id, field) FIELD(TOKEN_U64, struct vidmm_dg2_adapter_info, id, field)

/* One populated group of execution units; the same facts for all groups. */
#define EU_GROUP(id, index) ITEM(id, index) ONE(195) A32(196, eu_per_subslice) A32(197, eu_mask) CLOSE
#define EU_GROUP_PAIR(id, index) ITEM(id, index) ONE(198) EU_GROUP(199, 0) EU_GROUP(199, 1) CLOSE

#define RANGE_IN(type, id, index, where) \
    ITEM(id, index) \
        FIELD(TOKEN_U64, type, 3532, where.base) \
        FIELD(TOKEN_U64, type, 3533, where.limit) \
    CLOSE
#define PARTITION(type, in) \
    RANGE_IN(type, 3534, 0, in standard) RANGE_IN(type, 3535, 0, in standard_64k) \
    RANGE_IN(type, 3538, 0, in svm) \
    RANGE_IN(type, 3540, 0, in heap32[0]) RANGE_IN(type, 3540, 1, in heap32[1]) \
    RANGE_IN(type, 3540, 2, in heap32[2]) RANGE_IN(type, 3540, 3, in heap32[3])

static const struct token_rule adapter_rules[] = {
    OPEN(HELPER_ADAPTER)
        A32(3548, kmd_version)
        {TOKEN_TEXT, 3550, 0, offsetof(struct vidmm_dg2_adapter_info, registry_path), 512},
        OPEN(3551)
            A32(3475, product) A32(3477, display_core) A32(3478, render_core) A32(3479, platform_type)
            A32(3480, device_id) A32(3481, revision) A32(3484, gt_type)
        CLOSE
        OPEN(3552)
            A32(598, ppgtt) A32(599, ia32e_pte) A32(603, svm) A32(626, gpu_mmu) A32(630, pages_64k)
            A32(645, tile_y) A32(609, l3_coherency)
            A32(640, local_memory) A32(396, blitter_ring) A32(457, ccs_node) A32(453, ccs_ring)
            A32(587, preempt_mid_batch) A32(588, preempt_thread_group) A32(589, preempt_mid_thread)
        CLOSE
        A64(3555, timestamp_hz) A32(3556, clock_mhz) A32(3558, clock_min_mhz) A32(3559, clock_max_mhz)
        A32(3562, eu_total)
        A64(3577, dedicated_bytes) A64(3578, shared_bytes) A64(3579, system_video_bytes)
        OPEN(3585)
            A32(299, eu_count) A32(300, thread_count) A32(301, slice_count) A32(302, subslice_count)
            A32(303, dual_subslice_count) A32(304, l3_kb) A32(305, llc_kb) A32(308, l3_banks)
            A32(309, l3_fill) A32(318, csr_mb) A32(319, max_eu_per_subslice) A32(320, max_slices)
            A32(321, max_subslices)
            A32(322, max_dual_subslices) A32(336, threads_per_eu)
            ONE(325)
            OPEN(324)
                ONE(200) A32(203, subslice_count) A32(204, dual_subslice_count)
                EU_GROUP(201, 0) EU_GROUP(201, 1) EU_GROUP(201, 2)
                EU_GROUP_PAIR(202, 0) EU_GROUP_PAIR(202, 1) EU_GROUP_PAIR(202, 2)
            CLOSE
            OPEN(328)
                A32(265, ccs_node) ONE(266)
                OPEN(264) A32(263, ccs_node) OPEN(262) A32(257, ccs_node) CLOSE CLOSE
            CLOSE
        CLOSE
        OPEN(3588) PARTITION(struct vidmm_dg2_adapter_info, partition.) CLOSE
    CLOSE
};

static const struct token_rule partition_rules[] = {
    OPEN(HELPER_PARTITION) PARTITION(struct vidmm_dg2_partition, ) CLOSE
};

#define R32(id, field) FIELD(TOKEN_U32, struct vidmm_dg2_resource_info, id, field)
#define R64(id, field) FIELD(TOKEN_U64, struct vidmm_dg2_resource_info, id, field)
#define RBIT(id, bit) {TOKEN_BIT, id, 0, offsetof(struct vidmm_dg2_resource_info, flags), bit},

static const struct token_rule resource_rules[] = {
    OPEN(HELPER_RESOURCE)
        OPEN(3962)
            R32(3950, client)
            OPEN(3951) /* the main surface; 3952 and 3953 repeat the same ids for auxiliary ones */
                R32(3902, type)
                OPEN(3905) OPEN(3850)
                    RBIT(3788, VIDMM_DG2_CACHEABLE) RBIT(3801, VIDMM_DG2_LINEAR)
                    RBIT(3800, VIDMM_DG2_LOCAL_ONLY) RBIT(3807, VIDMM_DG2_NON_LOCAL_ONLY)
                    RBIT(3806, VIDMM_DG2_NOT_LOCKABLE) RBIT(3791, VIDMM_DG2_EXISTING_SYSMEM)
                CLOSE CLOSE
                R64(3906, width)
                OPEN(3912) R32(3896, cache_usage) CLOSE
                OPEN(3914) R64(3855, alignment) CLOSE
                R64(3919, bytes)
            CLOSE
            OPEN(3955) R64(3944, existing_va) R64(3948, existing_bytes) CLOSE
        CLOSE
    CLOSE
};

static const struct token_rule context_rules[] = {
    OPEN(HELPER_CONTEXT)
        FIELD(TOKEN_U64, struct vidmm_dg2_context_info, 3632, hw_context_id_va)
        FIELD(TOKEN_U32, struct vidmm_dg2_context_info, 3635, pid)
        FIELD(TOKEN_U32, struct vidmm_dg2_context_info, 3644, gpu_va_context)
        FIELD(TOKEN_U32, struct vidmm_dg2_context_info, 3651, no_ring_flushes)
    CLOSE
};

#define H32(id, field) FIELD(TOKEN_U32, struct vidmm_dg2_command_header, id, field)
#define H64(id, field) FIELD(TOKEN_U64, struct vidmm_dg2_command_header, id, field)

static const struct token_rule command_rules[] = {
    OPEN(HELPER_COMMAND)
        H32(3690, umd_context_type) H32(3699, slices) H32(3701, subslices) H32(3702, eus) H32(3726, perf_tag)
        H64(3730, monitored_fence_va) H64(3731, monitored_fence_value)
    CLOSE
};

#define RULES(r) r, sizeof r / sizeof r[0]

static const struct helper_struct known[] = {
    {HELPER_ADAPTER, VIDMM_DG2_ADAPTER, sizeof(struct vidmm_dg2_adapter_info), 4096, RULES(adapter_rules)},
    {HELPER_RESOURCE, VIDMM_DG2_RESOURCE, sizeof(struct vidmm_dg2_resource_info),
     VIDMM_DG2_RESOURCE_TOKENS_MAX, RULES(resource_rules)},
    {HELPER_CONTEXT, VIDMM_DG2_CONTEXT, sizeof(struct vidmm_dg2_context_info), 512, RULES(context_rules)},
    {HELPER_COMMAND, VIDMM_DG2_COMMAND, sizeof(struct vidmm_dg2_command_header), 512, RULES(command_rules)},
    {HELPER_PARTITION, VIDMM_DG2_PARTITION, sizeof(struct vidmm_dg2_partition), 1024, RULES(partition_rules)},
};

const struct helper_struct *helper_struct_of(uint32_t id)
{
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].id == id) return &known[i];
    }
    return NULL;
}
