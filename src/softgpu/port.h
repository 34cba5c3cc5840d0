/* SPDX-License-Identifier: MIT */
/* port.h - what the drivers of the simulated GPU have in common: bring-up, processes, contexts, packets,
 * reset, and the knobs that act in a driver. A driver's kmd object starts with a struct port.
 * Every function here has the shape of the driver operation of the same name; kmd is the struct port. */
#ifndef SOFTGPU_PORT_H
#define SOFTGPU_PORT_H

#include <vidmm/kmd.h>

#include "softgpu/format.h"
#include "softgpu/softgpu.h"

struct port {
    struct softgpu *gpu;
    const struct port_format *format;
    struct vidmm_adapter *adapter;
    const struct vidmm_platform *platform;
    struct vidmm_adapter_info info;
    uint32_t user_nodes;     /* bit n: applications may create contexts on node n */
    uint32_t private_max;    /* submit_private_max of contexts */
    uint32_t builds;         /* counted for the buffer_full_every knob */
    uint64_t submits, allocations;  /* of clients, counted for injections */
    struct { struct port_context *context; uint64_t va; uint8_t inject; } marked; /* in case it comes again */
    bool threads, resets_fail, exclusive;
    struct { void *allocation; struct vidmm_gpu_address at; } display; /* what the controller reads */
};

struct port_process { struct softgpu_space space; };
struct port_device { uint32_t pasid; };
struct port_context { struct softgpu_context hw; bool system; };
struct port_allocation { uint64_t bytes; uint32_t supported; uint32_t opens; };
struct port_open { struct port_allocation *allocation; };

vidmm_status port_query_adapter_info(void *kmd, struct vidmm_adapter_info *);
vidmm_status port_start_device(void *kmd, struct vidmm_adapter *, const struct vidmm_platform *);
void port_stop_device(void *kmd);
vidmm_status port_create_process(void *kmd, bool system, void **process);
void port_destroy_process(void *kmd, void *process);
vidmm_status port_create_device(void *kmd, struct vidmm_kmd_device *);
void port_destroy_device(void *kmd, void *device);
vidmm_status port_create_context(void *kmd, struct vidmm_kmd_context *); /* use_iommu is what it asks for */
void port_destroy_context(void *kmd, void *context);
void port_destroy_allocation(void *kmd, void *allocation);
vidmm_status port_open_allocation(void *kmd, struct vidmm_kmd_open *);
void port_close_allocation(void *kmd, void *handle);
uint64_t port_pte_attr(void *kmd, const struct vidmm_pte_kind *);
void port_update_page_table(void *kmd, const struct vidmm_update_page_table *);
bool port_pte_decode(void *kmd, uint32_t level, const void *table, uint32_t index, struct vidmm_pte_kind *,
                     uint64_t *address);
void port_set_root_page_table(void *kmd, void *context, struct vidmm_gpu_address root, uint32_t entries);
vidmm_status port_reset_engine(void *kmd, uint32_t node, uint64_t *last_aborted);
vidmm_status port_preempt_command(void *kmd, uint32_t node);
uint64_t port_query_engine_status(void *kmd, uint32_t node);
vidmm_status port_reset_from_timeout(void *kmd);
vidmm_status port_restart_from_timeout(void *kmd);
void port_surprise_removal(void *kmd);
void port_begin_exclusive_access(void *kmd);
void port_end_exclusive_access(void *kmd);
void port_set_vidpn_source_address(void *kmd, uint32_t source, void *allocation, struct vidmm_gpu_address);
void *port_map_cpu_host_aperture(void *kmd, uint32_t segment, uint64_t offset, uint64_t bytes);
vidmm_status port_escape(void *kmd, void *data, uint32_t bytes); /* none: VIDMM_NOT_SUPPORTED */

extern const struct vidmm_kmd_hw_ops port_hw_ops; /* port_hw.c: for nodes with hw_queues */

/* Makes the handle, unless the fail_create knob says otherwise. */
vidmm_status port_allocation_create(struct port *, struct vidmm_kmd_allocation *);
/* Queues a packet; args are for the command processor. VIDMM_INVALID, VIDMM_FAILED (queue full). */
vidmm_status port_submit(struct port *, const struct vidmm_kmd_submit *,
                         const uint64_t args[SOFTGPU_PACKET_ARGS]);

#endif
