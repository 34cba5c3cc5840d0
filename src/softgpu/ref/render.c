/* SPDX-License-Identifier: MIT */
/* render.c - physical mode of the ref driver: checks what clients wrote, makes the long form of it, and puts
 * addresses in. Owns nothing. Calls: port, softgpu_physical_tag.
 * *multipass: bytes of the client's buffer done, and in the upper half its patch locations done. */
#include "base/bits.h"
#include "softgpu/physical.h"
#include "softgpu/port.h"
#include "softgpu/ref/formats.h"
#include "softgpu/ref_physical.h"

struct pass {
    struct vidmm_kmd_render *r;
    const uint8_t *in;
    uint32_t at, patch;      /* done in the client's buffer and list */
};

static uint64_t word_at(const struct pass *p, uint32_t index)
{
    uint64_t w;
    __builtin_memcpy(&w, p->in + p->at + 8ull * index, 8);
    return w;
}

/* Bytes an operand touches. */
static uint64_t operand_bytes(const struct pass *p, uint32_t op, uint32_t operand)
{
    if (op == PHYS_COPY) return word_at(p, 3);
    if (op == PHYS_FILL) return word_at(p, 2);
    if (op == PHYS_SUM && operand == 1) return word_at(p, 3);
    return 8;
}

/* The patch location of an address word, which must be the next one of the list. */
static vidmm_status check_operand(const struct pass *p, uint32_t op, uint32_t operand)
{
    const struct vidmm_kmd_render *r = p->r;
    uint32_t index = p->patch + operand;
    if (index >= r->patch_in_count || word_at(p, 1 + operand) != 0) return VIDMM_INVALID_USER_BUFFER;
    const struct vidmm_patch_location *l = &r->patch_in[index];
    if (l->patch_offset != p->at + 8 * (1 + operand)) return VIDMM_INVALID_USER_BUFFER;
    if (l->allocation_index >= r->list_count || l->slot != operand) return VIDMM_INVALID;
    const struct vidmm_reference *ref = &r->list[l->allocation_index];
    uint64_t bytes = operand_bytes(p, op, operand);
    if (bytes % 8 != 0 || l->allocation_offset % 8 != 0) return VIDMM_INVALID_USER_BUFFER;
    if (l->allocation_offset > ref->bytes || bytes > ref->bytes - l->allocation_offset)
        return VIDMM_INVALID_USER_BUFFER;
    return operand != 0 || ref->write ? VIDMM_OK : VIDMM_INVALID;
}

static vidmm_status check_command(const struct pass *p, uint32_t *words, uint32_t *addresses)
{
    uint32_t left = p->r->command_bytes - p->at;
    if (left < 8) return VIDMM_INVALID_USER_BUFFER;
    uint32_t op = (uint32_t)word_at(p, 0) & 0xffff, length = (uint32_t)(word_at(p, 0) >> 16) & 0xffff;
    if (op >= PHYS_PRIVILEGED) return VIDMM_PRIVILEGED_INSTRUCTION;
    *words = phys_words(op, addresses);
    if (*words == 0) return VIDMM_ILLEGAL_INSTRUCTION;
    if (length != *words || left < *words * 8) return VIDMM_INVALID_USER_BUFFER;
    for (uint32_t i = 0; i < *addresses; i++) {
        vidmm_status st = check_operand(p, op, i);
        if (st != VIDMM_OK) return st;
    }
    return VIDMM_OK;
}

/* The long form, at the end of the DMA buffer. */
static void emit_command(const struct pass *p, uint32_t words, uint32_t addresses)
{
    struct vidmm_kmd_render *r = p->r;
    uint8_t *to = (uint8_t *)r->dma->cpu + r->dma->used;
    uint32_t length = words + (addresses != 0), start = r->dma->used;
    uint64_t header = (word_at(p, 0) & ~0xffff0000ull) | (uint64_t)length << 16, none = 0;
    __builtin_memcpy(to, &header, 8);
    __builtin_memcpy(to + 8, p->in + p->at + 8, 8ull * (words - 1));
    if (addresses != 0) __builtin_memcpy(to + 8ull * words, &none, 8);
    for (uint32_t i = 0; i < addresses; i++) {
        struct vidmm_patch_location *l = &r->patch_out[r->patch_out_count++];
        *l = r->patch_in[p->patch + i];
        l->patch_offset = start + 8 * (1 + i);
        l->driver_id = start + 8 * words + 4 * i; /* where its tag goes */
        l->split_offset = start;
    }
    r->dma->used += length * 8;
}

vidmm_status ref_render(void *kmd, struct vidmm_kmd_render *r, uint64_t *multipass)
{
    struct pass p = {.r = r, .in = r->command, .at = (uint32_t)*multipass,
                     .patch = (uint32_t)(*multipass >> 32)};
    (void)kmd;
    r->dma->used = 0;
    r->patch_out_count = 0;
    while (p.at < r->command_bytes) {
        uint32_t words, addresses = 0;
        vidmm_status st = check_command(&p, &words, &addresses);
        if (st != VIDMM_OK) return st;
        uint32_t room = r->dma->bytes - r->dma->used, slots = r->patch_out_max - r->patch_out_count;
        if (room < (words + 1) * 8 || slots < addresses) {
            *multipass = p.at | (uint64_t)p.patch << 32;
            return VIDMM_BUFFER_FULL;
        }
        emit_command(&p, words, addresses);
        p.at += words * 8;
        p.patch += addresses;
    }
    return p.patch == r->patch_in_count ? VIDMM_OK : VIDMM_INVALID_USER_BUFFER;
}

vidmm_status ref_patch(void *kmd, const struct vidmm_kmd_patch *a)
{
    const struct port *p = kmd;
    for (uint32_t i = 0; i < a->patch_count; i++) {
        const struct vidmm_patch_location *l = &a->patch[i];
        const struct vidmm_reference *ref = &a->list[l->allocation_index];
        if (ref->segment == 0 || ref->segment > p->info.segment_count) return VIDMM_FAILED;
        uint64_t address = p->info.segment[ref->segment - 1].base + ref->address + l->allocation_offset;
        uint32_t tag = softgpu_physical_tag(p->gpu, address);
        __builtin_memcpy((uint8_t *)a->dma->cpu + l->patch_offset, &address, 8);
        __builtin_memcpy((uint8_t *)a->dma->cpu + l->driver_id, &tag, 4);
    }
    return VIDMM_OK;
}

vidmm_status ref_submit_physical(void *kmd, const struct vidmm_kmd_submit_physical *s)
{
    const uint64_t args[SOFTGPU_PACKET_ARGS] = {0};
    const struct vidmm_kmd_submit as = {.context = s->context, .node = s->node, .va = s->dma->frame << 12,
                                        .bytes = s->dma->used, .fence_id = s->fence_id, .flags = s->flags};
    return port_submit(kmd, &as, args);
}
