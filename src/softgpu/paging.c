/* SPDX-License-Identifier: MIT */
/* paging.c - paging buffers made of ref commands. *multipass counts the bytes of a transfer or fill that
 * are in earlier buffers. Owns nothing. */
#include "base/bits.h"
#include "softgpu/native.h"
#include "softgpu/ref_commands.h"

/* Where the next command of `words` words goes, or NULL for lack of room. */
static uint64_t *room(struct vidmm_paging_buffer *b, uint32_t words)
{
    if (b->used > b->bytes || b->bytes - b->used < words * 8u) return NULL;
    return (uint64_t *)(void *)((uint8_t *)b->cpu + b->used);
}

static void advance(struct vidmm_paging_buffer *b, uint32_t words) { b->used += words * 8u; }

static uint64_t piece_bytes(const struct softgpu_knobs *k)
{
    return k->copy_bytes_max != 0 ? k->copy_bytes_max : REF_PAGING_COPY_BYTES;
}

static vidmm_status build_moves(struct vidmm_paging_buffer *b, const struct vidmm_op *op, uint64_t piece,
                                uint64_t *done)
{
    bool fill = op->code == VIDMM_OP_VIRTUAL_FILL;
    uint64_t bytes = fill ? op->fill.bytes : op->transfer.bytes;
    uint64_t to = fill ? op->fill.destination_va : op->transfer.destination_va;
    while (*done < bytes) {
        uint64_t *at = room(b, REF_WORDS_MAX), n = min_u64(bytes - *done, piece);
        if (at == NULL) return VIDMM_BUFFER_FULL;
        if (fill) advance(b, ref_emit_fill(at, to + *done, op->fill.pattern, n));
        else advance(b, ref_emit_copy(at, to + *done, op->transfer.source_va + *done, n));
        *done += n;
    }
    *done = 0;
    return VIDMM_OK;
}

/* What the format makes of entry i of a run. */
static uint64_t entry_of(const struct port_format *f, const struct vidmm_pte_run *r, uint64_t i)
{
    uint64_t raw = 0;
    struct vidmm_pte_run one = {.address = r->address + i * r->step, .attr = r->attr, .count = 1};
    struct vidmm_update_page_table u = {.table.cpu_virtual = &raw, .count = 1, .runs = &one, .run_count = 1};
    f->update(&u);
    return raw;
}

/* Entries of a run from `from` on that differ by one step: all, but for what a format cannot name. */
static uint64_t even_entries(const struct port_format *f, const struct vidmm_pte_run *r, uint64_t from,
                             uint64_t *first, uint64_t *step)
{
    uint64_t left = r->count - from;
    *first = entry_of(f, r, from);
    *step = left > 1 ? entry_of(f, r, from + 1) - *first : 0;
    while (left > 2 && entry_of(f, r, from + left - 1) != *first + (left - 1) * *step) left = (left + 1) / 2;
    return left;
}

/* multipass: entries done. */
static vidmm_status build_update(struct port *p, struct vidmm_paging_buffer *b,
                                 const struct vidmm_update_page_table *u, uint64_t *done)
{
    bool physical = u->mode == VIDMM_UPDATE_GPU_PHYSICAL;
    uint64_t size = p->format->hw.entry_bytes, start = 0;
    uint64_t table = physical ? u->table.gpu_physical.offset : u->table.gpu_virtual;
    uint32_t how = (uint32_t)size | ((u->flags & VIDMM_UPDATE_INITIAL) != 0 ? REF_ENTRIES_NEW : 0);
    if (physical) how |= REF_ENTRIES_PHYSICAL | u->table.gpu_physical.segment << REF_ENTRIES_SEGMENT_SHIFT;
    for (uint32_t i = 0; i < u->run_count; start += u->runs[i++].count) {
        while (*done < start + u->runs[i].count) {
            uint64_t *at = room(b, REF_WORDS_MAX), first, step;
            if (at == NULL) return VIDMM_BUFFER_FULL;
            uint64_t n = even_entries(p->format, &u->runs[i], *done - start, &first, &step);
            uint64_t to = table + (u->start_index + *done) * size;
            advance(b, ref_emit_write_entries(at, how, to, first, step, n));
            *done += n;
        }
    }
    *done = 0;
    return VIDMM_OK;
}

/* multipass: ranges done. */
static vidmm_status build_copy(struct port *p, struct vidmm_paging_buffer *b, const struct vidmm_op *op,
                               uint64_t *done)
{
    uint32_t size = p->format->hw.entry_bytes;
    for (; *done < op->copy.range_count; ++*done) {
        const struct vidmm_copy_range *r = &op->copy.range[*done];
        uint64_t *at = room(b, REF_WORDS_MAX);
        if (at == NULL) return VIDMM_BUFFER_FULL;
        uint64_t to = r->destination_table + (uint64_t)r->destination_index * size;
        uint64_t from = r->source_table + (uint64_t)r->source_index * size;
        advance(b, ref_emit_copy_entries(at, size, to, from, r->count));
    }
    *done = 0;
    return VIDMM_OK;
}

static vidmm_status build_flush(struct port *p, struct vidmm_paging_buffer *b, const struct vidmm_op *op)
{
    const struct port_process *proc = op->flush.process;
    uint64_t *at = room(b, REF_WORDS_MAX);
    if (at == NULL) return VIDMM_BUFFER_FULL;
    if (softgpu_countdown(p->gpu, SOFTGPU_COUNT_FLUSH)) return VIDMM_OK; /* the knob: a driver that forgets */
    advance(b, ref_emit_flush(at, proc->space.id, op->flush.start_va, op->flush.end_va));
    return VIDMM_OK;
}

static vidmm_status build_aperture(struct vidmm_paging_buffer *b, const struct vidmm_op *op)
{
    uint64_t *at = room(b, REF_WORDS_MAX);
    if (at == NULL) return VIDMM_BUFFER_FULL;
    advance(b, ref_emit_map_aperture(at, op->aperture.offset_page, op->aperture.pages, op->aperture.frame,
                                     op->code == VIDMM_OP_UNMAP_APERTURE_SEGMENT));
    return VIDMM_OK;
}

/* multipass: pages done. Neighbours in a list go together. */
static vidmm_status build_aperture2(struct vidmm_paging_buffer *b, const struct vidmm_op *op, uint64_t *done)
{
    const struct vidmm_adl *adl = op->aperture.adl;
    while (*done < op->aperture.pages) {
        uint64_t *at = room(b, REF_WORDS_MAX), from = op->aperture.adl_offset + *done, n = 1;
        uint64_t left = op->aperture.pages - *done;
        uint64_t page = adl->contiguous ? adl->base_page + from : adl->pages[from];
        if (at == NULL) return VIDMM_BUFFER_FULL;
        if (adl->contiguous) n = left;
        while (n < left && adl->pages[from + n] == page + n) n++;
        advance(b, ref_emit_map_aperture(at, op->aperture.offset_page + *done, n, page, false));
        *done += n;
    }
    *done = 0;
    return VIDMM_OK;
}

/* A pattern that is cut must stay in phase. */
_Static_assert(REF_PAGING_COPY_BYTES % 4 == 0, "pieces keep the phase of a fill pattern");

vidmm_status ref_build_paging_buffer(void *kmd, struct vidmm_paging_buffer *b, const struct vidmm_op *op,
                                     uint64_t *multipass)
{
    struct port *p = kmd;
    struct softgpu_knobs k;
    softgpu_get_knobs(p->gpu, &k);
    p->builds++;
    bool knob_full = k.buffer_full_every != 0 && p->builds % k.buffer_full_every == 0;
    if (knob_full && b->used != 0) return VIDMM_BUFFER_FULL; /* an empty buffer is never full */
    switch (op->code) {
    case VIDMM_OP_VIRTUAL_TRANSFER:
    case VIDMM_OP_VIRTUAL_FILL: return build_moves(b, op, align_up(piece_bytes(&k), 4), multipass);
    case VIDMM_OP_MAP_APERTURE_SEGMENT:
    case VIDMM_OP_UNMAP_APERTURE_SEGMENT: return build_aperture(b, op);
    case VIDMM_OP_MAP_APERTURE_SEGMENT2: return build_aperture2(b, op, multipass);
    case VIDMM_OP_FLUSH_TLB: return build_flush(p, b, op);
    case VIDMM_OP_COPY_PAGE_TABLE_ENTRIES: return build_copy(p, b, op, multipass);
    case VIDMM_OP_UPDATE_PAGE_TABLE: return build_update(p, b, &op->update, multipass);
    default: return VIDMM_FAILED;
    }
}
