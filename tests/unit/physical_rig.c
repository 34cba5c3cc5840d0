/* SPDX-License-Identifier: MIT */
/* physical_rig.c - see physical_rig.h. */
#include "physical_rig.h"

#include <string.h>

void rig_init(struct rig *r)
{
    memset(&r->b, 0, sizeof r->b);
    fx_init(&r->f, REF_FORMAT_A);
    r->f.opt.physical = true;
}

struct vidmm_context *rig_context(struct vidmm_device *d)
{
    struct vidmm_context_desc desc = {.node = REF_NODE_PHYSICAL, .physical = true};
    struct vidmm_context *c = NULL;
    assert_int_equal(vidmm_context_create(d, &desc, &c), VIDMM_OK);
    return c;
}

void rig_open(struct rig *r)
{
    fx_start(&r->f);
    r->phys = rig_context(r->f.d);
}

void rig_start(struct rig *r)
{
    rig_init(r);
    rig_open(r);
}

vidmm_status rig_try_alloc(struct vidmm_device *d, uint64_t bytes, uint32_t supported, uint32_t flags,
                              struct vidmm_open **out)
{
    struct ref_alloc_private in = {.magic = REF_ALLOC_MAGIC, .bytes = bytes, .supported = supported,
                                   .preferred = supported & SEG1 ? 1 : supported & SEG2 ? 2 : 0,
                                   .alignment = supported & SEG1 ? 65536 : 0,
                                   .flags = VIDMM_ALLOCATION_ACCESSED_PHYSICALLY | flags};
    return fx_try_alloc(d, &in, out);
}

struct vidmm_open *rig_alloc(struct vidmm_device *d, uint64_t bytes, uint32_t supported)
{
    struct vidmm_open *op = NULL;
    assert_int_equal(rig_try_alloc(d, bytes, supported, 0, &op), VIDMM_OK);
    return op;
}

uint32_t rig_use(struct buffer *b, struct vidmm_open *op, bool write)
{
    b->list[b->count] = (struct vidmm_render_reference){op, write};
    return b->count++;
}

void rig_patch(struct buffer *b, uint32_t index, uint32_t slot, uint32_t offset)
{
    b->patch[b->patches++] = (struct vidmm_patch_location){
        .allocation_index = index, .slot = slot, .allocation_offset = offset,
        .patch_offset = (b->words + 1 + slot) * 8};
}

void rig_put_fill(struct buffer *b, uint32_t index, uint32_t offset, uint32_t pattern, uint64_t bytes)
{
    rig_patch(b, index, 0, offset);
    b->words += phys_emit_fill(b->word + b->words, pattern, bytes);
}

void rig_put_copy(struct buffer *b, uint32_t to, uint32_t to_offset, uint32_t from, uint32_t from_offset,
                     uint64_t bytes)
{
    rig_patch(b, to, 0, to_offset);
    rig_patch(b, from, 1, from_offset);
    b->words += phys_emit_copy(b->word + b->words, bytes);
}

void rig_put_write(struct buffer *b, uint32_t index, uint32_t offset, uint64_t value)
{
    rig_patch(b, index, 0, offset);
    b->words += phys_emit_write64(b->word + b->words, value);
}

struct vidmm_render rig_request(const struct buffer *b)
{
    return (struct vidmm_render){.command = b->word, .command_bytes = b->words * 8, .list = b->list,
                                 .list_count = b->count, .patch = b->patch, .patch_count = b->patches};
}

vidmm_status rig_render(struct vidmm_context *c, struct buffer *b)
{
    struct vidmm_render in = rig_request(b);
    vidmm_status st = vidmm_context_render(c, &in);
    memset(b, 0, sizeof *b);
    return st;
}

void rig_fill(struct rig *r, struct vidmm_open *op, uint32_t offset, uint32_t pattern, uint64_t bytes)
{
    rig_put_fill(&r->b, rig_use(&r->b, op, true), offset, pattern, bytes);
    assert_int_equal(rig_render(r->phys, &r->b), VIDMM_OK);
}

/* The word of an allocation, wherever it is. */
uint64_t rig_word(struct rig *r, struct vidmm_open *op, uint64_t offset)
{
    void *cpu;
    uint64_t v;
    assert_true(vidmm_open_lock(op, &cpu) >= 0);
    fx_run(&r->f);
    assert_true(vidmm_open_lock_ready(op));
    memcpy(&v, (uint8_t *)cpu + offset, 8);
    assert_int_equal(vidmm_open_unlock(op), VIDMM_OK);
    fx_run(&r->f);
    return v;
}

/* Where the hardware finds an allocation. */
uint64_t rig_address(const struct rig *r, const struct vidmm_open *op)
{
    const struct vidmm_adapter_info *info = vidmm_adapter_info(r->f.ad);
    struct vidmm_placement_info at = fx_place(op);
    if (at.aperture != 0) return info->segment[at.aperture - 1].base + at.aperture_offset;
    return info->segment[at.segment - 1].base + at.offset;
}

struct vidmm_fence *rig_gate(struct rig *r)
{
    struct vidmm_fence *g = NULL;
    uint64_t one = 1;
    assert_int_equal(vidmm_fence_create(r->f.d, 0, 0, &g), VIDMM_OK);
    assert_int_equal(vidmm_context_wait(r->phys, &g, &one, 1), VIDMM_OK);
    return g;
}

void rig_gate_open(struct vidmm_fence *g) { assert_int_equal(vidmm_fence_signal(g, 1), VIDMM_OK); }

void rig_hang(struct rig *r, bool on)
{
    struct softgpu_knobs k;
    softgpu_get_knobs(ref_gpu(r->f.ref), &k);
    k.hang_nodes = on ? 1u << REF_NODE_PHYSICAL : 0;
    softgpu_set_knobs(ref_gpu(r->f.ref), &k);
}

const struct event *rig_last(const struct fx *f, enum event_kind kind)
{
    uint32_t at = 0;
    const struct event *e, *found = NULL;
    while ((e = fx_next(f, kind, &at)) != NULL) found = e;
    return found;
}
