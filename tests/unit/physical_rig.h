/* SPDX-License-Identifier: MIT */
/* physical_rig.h - the core fixture with a physical node, and buffers for it. Owns: one physical context. */
#ifndef TESTS_UNIT_PHYSICAL_RIG_H
#define TESTS_UNIT_PHYSICAL_RIG_H

#include "core_fixture.h"
#include "softgpu/physical.h"
#include "softgpu/ref_physical.h"

/* A command buffer for the physical node, with its lists. */
struct buffer {
    uint64_t word[512];
    struct vidmm_patch_location patch[256];
    struct vidmm_render_reference list[64];
    uint32_t words, patches, count;
};

struct rig {
    struct fx f;
    struct vidmm_context *phys;
    struct buffer b;
};

/* Options; then adapter, device and contexts; or both. Ends with fx_close. */
void rig_init(struct rig *r);
struct vidmm_context *rig_context(struct vidmm_device *d);
void rig_open(struct rig *r);
void rig_start(struct rig *r);
vidmm_status rig_try_alloc(struct vidmm_device *d, uint64_t bytes, uint32_t supported, uint32_t flags,
                              struct vidmm_open **out);
struct vidmm_open *rig_alloc(struct vidmm_device *d, uint64_t bytes, uint32_t supported);
uint32_t rig_use(struct buffer *b, struct vidmm_open *op, bool write);
void rig_patch(struct buffer *b, uint32_t index, uint32_t slot, uint32_t offset);
void rig_put_fill(struct buffer *b, uint32_t index, uint32_t offset, uint32_t pattern, uint64_t bytes);
void rig_put_copy(struct buffer *b, uint32_t to, uint32_t to_offset, uint32_t from, uint32_t from_offset,
                     uint64_t bytes);
void rig_put_write(struct buffer *b, uint32_t index, uint32_t offset, uint64_t value);
struct vidmm_render rig_request(const struct buffer *b);
vidmm_status rig_render(struct vidmm_context *c, struct buffer *b);
void rig_fill(struct rig *r, struct vidmm_open *op, uint32_t offset, uint32_t pattern, uint64_t bytes);
uint64_t rig_word(struct rig *r, struct vidmm_open *op, uint64_t offset);
uint64_t rig_address(const struct rig *r, const struct vidmm_open *op);
struct vidmm_fence *rig_gate(struct rig *r);
void rig_hang(struct rig *r, bool on);
const struct event *rig_last(const struct fx *f, enum event_kind kind);
void rig_gate_open(struct vidmm_fence *);

#endif
