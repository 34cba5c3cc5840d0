/* SPDX-License-Identifier: MIT */
/* physical.c - physical nodes: addresses without page tables, the aperture's table of frames, and the
 * processor that executes ref_physical.h. Owns: gpu->aperture. Calls: vram.c, processor.h, the detector.
 * The table is written by paging work while nothing uses the pages concerned; its words are atomic all the
 * same. An aperture page has an epoch of its own, which changes whenever it is pointed elsewhere. */
#include <sys/mman.h>
#include <vidmm/kmd.h>

#include "base/bits.h"
#include "softgpu/gpu.h"
#include "softgpu/physical.h"
#include "softgpu/processor.h"
#include "softgpu/ref_commands.h"
#include "softgpu/ref_physical.h"

/* ---- the aperture ------------------------------------------------------------------------------ */

static uint64_t table_bytes(uint64_t pages) { return align_up(pages * 16, VIDMM_PAGE_SIZE); }

bool physical_create(struct softgpu *g)
{
    struct gpu_aperture *a = &g->aperture;
    for (uint32_t i = 0; i < g->opt.segment_count; i++) {
        if (!g->opt.segment[i].aperture) continue;
        a->segment = i + 1;
        a->pages = g->opt.segment[i].bytes >> VIDMM_PAGE_SHIFT;
    }
    if (a->pages == 0) return true;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *p = mmap(NULL, table_bytes(a->pages), PROT_READ | PROT_WRITE, flags, -1, 0);
    a->table = p == MAP_FAILED ? NULL : p;
    return a->table != NULL;
}

void physical_destroy(struct softgpu *g)
{
    if (g->aperture.table != NULL) (void)munmap((void *)g->aperture.table, table_bytes(g->aperture.pages));
}

static struct gpu_aperture_page *aperture_page(struct softgpu *g, uint64_t page)
{
    return page < g->aperture.pages ? &g->aperture.table[page] : NULL;
}

bool processor_map_aperture(struct softgpu_engine *e, uint64_t page, uint64_t pages, uint64_t frame,
                            bool same)
{
    struct softgpu *g = e->gpu;
    if (page > g->aperture.pages || pages > g->aperture.pages - page) return false;
    for (uint64_t i = 0; i < pages; i++) {
        struct gpu_aperture_page *a = &g->aperture.table[page + i];
        atomic_store_explicit(&a->frame, same ? frame : frame + i, memory_order_relaxed);
        (void)atomic_fetch_add_explicit(&a->epoch, 1, memory_order_release);
    }
    return true;
}

uint64_t softgpu_aperture_frame(struct softgpu *g, uint64_t page)
{
    struct gpu_aperture_page *a = aperture_page(g, page);
    return a == NULL ? 0 : atomic_load_explicit(&a->frame, memory_order_relaxed);
}

/* ---- addresses --------------------------------------------------------------------------------- */

struct place { uint32_t segment; uint64_t offset; };

/* Where an address lies; segment 0: nowhere. */
static struct place place_of(const struct softgpu *g, uint64_t address)
{
    for (uint32_t i = 0; i < g->opt.segment_count; i++) {
        const struct softgpu_segment *s = &g->opt.segment[i];
        uint64_t offset = address - s->base;
        if (address >= s->base && offset < s->bytes) return (struct place){i + 1, offset};
    }
    return (struct place){0, 0};
}

uint32_t softgpu_physical_tag(struct softgpu *g, uint64_t address)
{
    struct place at = place_of(g, address);
    if (at.segment == 0) return 0;
    if (at.segment != g->aperture.segment) return vram_epoch_get(g, at.segment, at.offset);
    struct gpu_aperture_page *a = aperture_page(g, at.offset >> VIDMM_PAGE_SHIFT);
    return atomic_load_explicit(&a->epoch, memory_order_acquire);
}

static bool bad_address(struct softgpu_engine *e, uint64_t address, enum access_kind kind)
{
    processor_error(e, address, SOFTGPU_ERROR_BAD_ADDRESS);
    if (kind == ACCESS_WRITE) e->fault.flags |= VIDMM_FAULT_WRITE;
    return false;
}

/* Commands are fetched from the bus: their addresses are frame * 4096 + offset. */
bool physical_translate(struct softgpu_engine *e, uint64_t address, enum access_kind kind,
                        struct gpu_page *out)
{
    struct softgpu *g = e->gpu;
    uint64_t page = align_down(address, VIDMM_PAGE_SIZE);
    struct place at = {0, page};
    if (kind != ACCESS_FETCH) {
        at = place_of(g, page);
        if (at.segment == 0) return bad_address(e, address, kind);
        if (at.segment == g->aperture.segment) {
            uint64_t frame = softgpu_aperture_frame(g, at.offset >> VIDMM_PAGE_SHIFT);
            at = (struct place){0, frame << VIDMM_PAGE_SHIFT};
        }
        if (at.segment == 0 && at.offset == 0) return bad_address(e, address, kind);
    }
    *out = (struct gpu_page){.owner = g, .segment = at.segment, .address = at.offset};
    if (!vram_resolve(g, at.segment, at.offset, VIDMM_PAGE_SIZE, &out->span))
        return bad_address(e, address, kind);
    return true;
}

/* ---- the processor ----------------------------------------------------------------------------- */

struct state {
    uint64_t at, end;
    uint64_t word[PHYS_WORDS_MAX + 1];
    bool active;
};

_Static_assert(sizeof(struct state) <= PROCESSOR_STATE_BYTES, "state fits");

static void begin(struct softgpu_engine *e)
{
    struct state *s = processor_state(e);
    s->at = processor_packet(e)->va;
    s->end = s->at + processor_packet(e)->bytes;
}

void physical_resume(struct softgpu_engine *e)
{
    struct state *s = processor_state(e);
    s->active = false;
}

static enum softgpu_run malformed(struct softgpu_engine *e, const struct state *s, uint32_t code)
{
    processor_error(e, s->at, code);
    return SOFTGPU_RUN_FAULT;
}

/* An address that was good when it was written and is not any more: somebody did not patch. */
static void check_tags(struct softgpu_engine *e, const struct state *s, uint32_t addresses, uint32_t words)
{
    for (uint32_t i = 0; i < addresses; i++) {
        uint32_t tag = (uint32_t)(s->word[words] >> (32 * i));
        uint32_t now = softgpu_physical_tag(e->gpu, s->word[1 + i]);
        struct softgpu_stale stale = {.va = s->word[1 + i], .write = i == 0, .cached = tag, .actual = now};
        if (tag != now) detector_stale(e, e->packet.context, &stale, true);
    }
}

static enum softgpu_run fetch(struct softgpu_engine *e, struct state *s)
{
    uint32_t addresses = 0;
    if (s->end - s->at < 8) return malformed(e, s, REF_ERROR_PACKET);
    if (!processor_fetch(e, s->at, s->word, 8)) return SOFTGPU_RUN_FAULT;
    uint32_t words = phys_words((uint32_t)s->word[0] & 0xffff, &addresses);
    uint32_t length = (uint32_t)(s->word[0] >> 16) & 0xffff, wanted = words + (addresses != 0);
    if (words == 0) return malformed(e, s, REF_ERROR_OPCODE);
    if (length != wanted || wanted > (s->end - s->at) / 8) return malformed(e, s, REF_ERROR_LENGTH);
    if (!processor_fetch(e, s->at + 8, s->word + 1, (wanted - 1) * 8)) return SOFTGPU_RUN_FAULT;
    check_tags(e, s, addresses, words);
    return SOFTGPU_RUN_DONE;
}

static enum softgpu_run start(struct softgpu_engine *e, const uint64_t *w)
{
    switch ((enum phys_op)(w[0] & 0xffff)) {
    case PHYS_COPY: processor_copy_begin(e, w[1], w[2], w[3]); return SOFTGPU_RUN_MORE;
    case PHYS_FILL: processor_fill_begin(e, w[1], w[2], (uint32_t)(w[0] >> 32)); return SOFTGPU_RUN_MORE;
    case PHYS_SUM: processor_sum_begin(e, w[2], w[3]); return SOFTGPU_RUN_MORE;
    case PHYS_WRITE64: return processor_store(e, w[1], 8, w[2]) ? SOFTGPU_RUN_DONE : SOFTGPU_RUN_FAULT;
    default: return SOFTGPU_RUN_DONE;
    }
}

static enum softgpu_run resume(struct softgpu_engine *e, const uint64_t *w)
{
    enum softgpu_run r = processor_bulk_step(e);
    if (r != SOFTGPU_RUN_DONE || (w[0] & 0xffff) != PHYS_SUM) return r;
    return processor_store(e, w[1], 8, processor_sum(e)) ? SOFTGPU_RUN_DONE : SOFTGPU_RUN_FAULT;
}

static enum softgpu_run step(struct softgpu_engine *e)
{
    struct state *s = processor_state(e);
    enum softgpu_run r;
    if (s->active) {
        r = resume(e, s->word);
    } else {
        if (s->at == s->end) return SOFTGPU_RUN_DONE;
        r = fetch(e, s);
        if (r != SOFTGPU_RUN_DONE) return r;
        r = start(e, s->word);
        s->active = true;
    }
    if (r != SOFTGPU_RUN_DONE) return r;
    s->active = false;
    s->at += (s->word[0] >> 16 & 0xffff) * 8;
    return SOFTGPU_RUN_MORE;
}

const struct softgpu_processor physical_processor = {begin, step};
