/* SPDX-License-Identifier: MIT */
/* access.c - what engines do to memory: small accesses, done whole under the TLB lock, and bulk
 * operations in chunks, whose bytes move outside it inside an access section (engine.in_seq odd).
 * Calls: mmu_translate, devmem, vram epochs, detector. */
#include <vidmm/kmd.h>

#include "base/bits.h"
#include "softgpu/gpu.h"
#include "softgpu/processor.h"

void *processor_state(struct softgpu_engine *e) { return e->cpu_state; }
const struct softgpu_packet *processor_packet(const struct softgpu_engine *e) { return &e->packet; }
uint64_t processor_now_ns(const struct softgpu_engine *e) { return gpu_now(e->gpu); }
void processor_sleep_until(struct softgpu_engine *e, uint64_t ns) { e->wakeup_ns = ns; }
uint64_t processor_sum(const struct softgpu_engine *e) { return e->bulk.sum; }
void processor_hang(struct softgpu_engine *e) { e->packet.inject = SOFTGPU_INJECT_HANG; }
void processor_signal_interrupt(struct softgpu_engine *e) { e->gpu->irq.fence_signaled(e->gpu->irq.ctx); }

void processor_error(struct softgpu_engine *e, uint64_t va, uint32_t error_code)
{
    e->fault = (struct softgpu_fault){.va = va, .node = e->node, .error_code = error_code,
                                      .flags = VIDMM_FAULT_ENGINE_RESET_REQUIRED};
}

static bool vanished(struct softgpu_engine *e, uint64_t va, bool write)
{
    if (e->packet.context->pasid != 0) return shared_fault(e, va, write);
    processor_error(e, va, SOFTGPU_ERROR_VANISHED);
    if (write) e->fault.flags |= VIDMM_FAULT_WRITE;
    return false;
}

/* ---- small accesses ---------------------------------------------------------------------------- */

static bool small_locked(struct softgpu_engine *e, uint64_t va, void *own, uint32_t bytes,
                         enum access_kind kind)
{
    const struct vidmm_platform *p = e->gpu->platform;
    uint8_t *at = own;
    while (bytes != 0) {
        struct gpu_page page;
        if (!mmu_translate(e, e->packet.context, va, kind, &page)) return false;
        uint64_t offset = va & (VIDMM_PAGE_SIZE - 1), n = min_u64(bytes, VIDMM_PAGE_SIZE - offset);
        struct devmem_span span = {page.span.host, n, page.span.kind};
        if (span.kind != DEVMEM_ZERO) span.host += offset;
        shared_used(e, va, page.address, kind == ACCESS_WRITE);
        bool ok = kind == ACCESS_WRITE ? devmem_write(p, span, at, n) : devmem_read(p, at, span, n);
        if (!ok) return vanished(e, va, kind == ACCESS_WRITE);
        at += n;
        va += n;
        bytes -= (uint32_t)n;
    }
    return true;
}

static bool small_access(struct softgpu_engine *e, uint64_t va, void *own, uint32_t bytes,
                         enum access_kind kind)
{
    lock_take(&e->tlb_lock);
    shared_enter(e);
    bool ok = small_locked(e, va, own, bytes, kind);
    shared_leave(e);
    lock_drop(&e->tlb_lock);
    return ok;
}

bool processor_fetch(struct softgpu_engine *e, uint64_t va, void *dst, uint32_t bytes)
{
    return small_access(e, va, dst, bytes, ACCESS_FETCH);
}

bool processor_read(struct softgpu_engine *e, uint64_t va, void *dst, uint32_t bytes)
{
    return small_access(e, va, dst, bytes, ACCESS_READ);
}

bool processor_write(struct softgpu_engine *e, uint64_t va, const void *src, uint32_t bytes)
{
    return small_access(e, va, (void *)(uintptr_t)src, bytes, ACCESS_WRITE);
}

/* ---- words ------------------------------------------------------------------------------------- */

enum word_op { WORD_LOAD, WORD_STORE, WORD_ADD };

static bool word_vram(uint8_t *host, uint32_t bytes, enum word_op op, uint64_t *value)
{
    uint64_t v = *value;
    if (op == WORD_ADD) *value = devmem_add64(host, v);
    else if (op == WORD_LOAD) *value = bytes == 8 ? devmem_load64(host) : devmem_load32(host);
    else if (bytes == 8) devmem_store64(host, v);
    else devmem_store32(host, (uint32_t)v);
    return true;
}

/* The platform's copy moves aligned words whole. An add is atomic among engines only, as over a bus. */
static bool word_system(struct softgpu *g, uint8_t *host, uint32_t bytes, enum word_op op, uint64_t *value)
{
    const struct vidmm_platform *p = g->platform;
    uint64_t before = 0, v = *value;
    if (op == WORD_STORE) return p->copy(p->ctx, host, &v, bytes);
    if (op == WORD_LOAD) *value = 0;
    if (op == WORD_LOAD) return p->copy(p->ctx, value, host, bytes);
    lock_take(&g->peer[0]->lock);
    bool ok = p->copy(p->ctx, &before, host, bytes);
    v += before;
    if (ok) ok = p->copy(p->ctx, host, &v, bytes);
    lock_drop(&g->peer[0]->lock);
    *value = before;
    return ok;
}

/* The word at address, of which the page has been found. */
static bool word_at(struct softgpu_engine *e, const struct gpu_page *page, uint64_t address, uint32_t bytes,
                    enum word_op op, uint64_t *value)
{
    if (page->span.kind == DEVMEM_ZERO) {
        if (op != WORD_STORE) *value = 0;
        return true;
    }
    uint8_t *host = page->span.host + (address & (VIDMM_PAGE_SIZE - 1));
    if (page->span.kind == DEVMEM_VRAM) return word_vram(host, bytes, op, value);
    return word_system(e->gpu, host, bytes, op, value) || vanished(e, address, op != WORD_LOAD);
}

static bool word_access(struct softgpu_engine *e, uint64_t va, uint32_t bytes, enum word_op op,
                        uint64_t *value)
{
    struct gpu_page page;
    enum access_kind kind = op == WORD_LOAD ? ACCESS_READ : ACCESS_WRITE;
    if ((va & (bytes - 1)) != 0) {
        processor_error(e, va, SOFTGPU_ERROR_ALIGNMENT);
        return false;
    }
    devmem_release();
    lock_take(&e->tlb_lock);
    shared_enter(e);
    bool ok = mmu_translate(e, e->packet.context, va, kind, &page);
    if (ok) shared_used(e, va, page.address, kind == ACCESS_WRITE);
    if (ok) ok = word_at(e, &page, va, bytes, op, value);
    shared_leave(e);
    lock_drop(&e->tlb_lock);
    devmem_acquire();
    return ok;
}

bool processor_load(struct softgpu_engine *e, uint64_t va, uint32_t bytes, uint64_t *value)
{
    *value = 0;
    return word_access(e, va, bytes, WORD_LOAD, value);
}

bool processor_store(struct softgpu_engine *e, uint64_t va, uint32_t bytes, uint64_t value)
{
    return word_access(e, va, bytes, WORD_STORE, &value);
}

/* The page of an entry that is named by segment and offset. */
static bool entry_page(struct softgpu_engine *e, const struct processor_place *at, struct gpu_page *page)
{
    uint64_t base = at->address & ~(VIDMM_PAGE_SIZE - 1);
    page->owner = e->gpu;
    page->segment = at->segment;
    page->address = base;
    if (vram_resolve(e->gpu, at->segment, base, VIDMM_PAGE_SIZE, &page->span)) return true;
    processor_error(e, at->address, SOFTGPU_ERROR_BAD_ADDRESS);
    return false;
}

bool processor_store_entry(struct softgpu_engine *e, const struct processor_place *at, uint32_t bytes,
                           uint64_t value)
{
    struct gpu_page page;
    if ((bytes != 4 && bytes != 8) || (at->address & (bytes - 1)) != 0) {
        processor_error(e, at->address, SOFTGPU_ERROR_ALIGNMENT);
        return false;
    }
    devmem_release();
    lock_take(&e->tlb_lock);
    bool ok = at->physical ? entry_page(e, at, &page)
                           : mmu_translate(e, e->packet.context, at->address, ACCESS_WRITE, &page);
    if (ok) ok = word_at(e, &page, at->address, bytes, WORD_STORE, &value);
    if (ok && at->claim) vram_epoch_bump(page.owner, page.segment, page.address);
    lock_drop(&e->tlb_lock);
    if (ok) atomic_fetch_add_explicit(&e->progress, 1, memory_order_relaxed);
    return ok;
}

bool processor_add64(struct softgpu_engine *e, uint64_t va, uint64_t value, uint64_t *before)
{
    *before = value;
    return word_access(e, va, 8, WORD_ADD, before);
}

/* ---- bulk -------------------------------------------------------------------------------------- */

static void bulk_begin(struct softgpu_engine *e, enum bulk_kind kind, uint64_t dst, uint64_t src,
                       uint64_t bytes)
{
    struct bulk *b = &e->bulk;
    b->kind = kind;
    b->dst = dst;
    b->src = src;
    b->bytes = bytes;
    b->done = 0;
    b->sum = 0;
    b->prepared = false;
}

void processor_copy_begin(struct softgpu_engine *e, uint64_t dst, uint64_t src, uint64_t bytes)
{
    bulk_begin(e, BULK_COPY, dst, src, bytes);
}

void processor_fill_begin(struct softgpu_engine *e, uint64_t dst, uint64_t bytes, uint32_t pattern)
{
    const uint32_t all[4] = {pattern, pattern, pattern, pattern};
    processor_fill16_begin(e, dst, bytes, all);
}

void processor_fill16_begin(struct softgpu_engine *e, uint64_t dst, uint64_t bytes, const uint32_t pattern[4])
{
    bulk_begin(e, BULK_FILL, dst, 0, bytes);
    memcpy(e->bulk.pattern, pattern, sizeof(e->bulk.pattern));
}

void processor_sum_begin(struct softgpu_engine *e, uint64_t src, uint64_t bytes)
{
    bulk_begin(e, BULK_SUM, 0, src, bytes);
}

/* Appends to the last span when the bytes follow it in host memory of the same kind. */
static void side_append(struct bulk_side *s, struct devmem_span add)
{
    struct devmem_span *last = s->spans == 0 ? NULL : &s->span[s->spans - 1];
    bool follows = last != NULL && last->kind == add.kind;
    if (follows && add.kind != DEVMEM_ZERO) follows = last->host + last->bytes == add.host;
    if (follows) last->bytes += add.bytes;
    else s->span[s->spans++] = add;
}

static bool side_translate(struct softgpu_engine *e, struct bulk_side *s, uint64_t va, uint64_t bytes,
                           bool write)
{
    s->va = va;
    s->pages = s->spans = 0;
    while (bytes != 0) {
        struct gpu_page page;
        if (!mmu_translate(e, e->packet.context, va, write ? ACCESS_WRITE : ACCESS_READ, &page)) return false;
        uint64_t offset = va & (VIDMM_PAGE_SIZE - 1), n = min_u64(bytes, VIDMM_PAGE_SIZE - offset);
        struct devmem_span span = {page.span.host, n, page.span.kind};
        if (span.kind != DEVMEM_ZERO) span.host += offset;
        if (span.kind != DEVMEM_ZERO && page.segment != GPU_NO_SEGMENT) {
            s->page[s->pages].owner = page.owner;
            s->page[s->pages].segment = page.segment;
            s->page[s->pages].address = page.address;
            s->page[s->pages++].epoch = vram_epoch_get(page.owner, page.segment, page.address);
        }
        side_append(s, span);
        va += n;
        bytes -= n;
    }
    return true;
}

static enum softgpu_run bulk_prepare(struct softgpu_engine *e)
{
    struct bulk *b = &e->bulk;
    uint64_t chunk = min_u64(b->bytes - b->done, GPU_CHUNK_BYTES);
    bool ok = true;
    b->chunk = (uint32_t)chunk;
    b->to.pages = b->from.pages = 0;
    lock_take(&e->tlb_lock);
    shared_enter(e); /* before it translates: an invalidation from now on waits for it */
    if (b->kind != BULK_FILL) ok = side_translate(e, &b->from, b->src + b->done, chunk, false);
    if (ok && b->kind != BULK_SUM) ok = side_translate(e, &b->to, b->dst + b->done, chunk, true);
    if (ok) {
        e->in_space = e->packet.context->space;
        atomic_fetch_add_explicit(&e->in_seq, 1, memory_order_release);
        b->prepared = true;
    } else {
        shared_leave(e);
    }
    lock_drop(&e->tlb_lock);
    return ok ? SOFTGPU_RUN_MORE : SOFTGPU_RUN_FAULT;
}

/* The paging process gives pages other content: their epoch changes before the first byte does. */
static void epochs_bump(const struct bulk_side *s)
{
    for (uint32_t i = 0; i < s->pages; i++)
        vram_epoch_bump(s->page[i].owner, s->page[i].segment, s->page[i].address);
}

/* What is moved out of VRAM belongs to nobody there any more. (What is read from system memory stays its
 * owner's home.) */
static void vram_epochs_bump(const struct bulk_side *s)
{
    for (uint32_t i = 0; i < s->pages; i++)
        if (s->page[i].segment != 0)
            vram_epoch_bump(s->page[i].owner, s->page[i].segment, s->page[i].address);
}

static void epochs_check(struct softgpu_engine *e, const struct bulk_side *s, bool write)
{
    for (uint32_t i = 0; i < s->pages; i++) {
        uint32_t now = vram_epoch_get(s->page[i].owner, s->page[i].segment, s->page[i].address);
        if (now == s->page[i].epoch) continue;
        detector_late(e, e->packet.context, s->va, write);
        return;
    }
}

static void side_used(struct softgpu_engine *e, const struct bulk_side *s, bool write)
{
    uint64_t first = align_down(s->va, VIDMM_PAGE_SIZE);
    for (uint32_t i = 0; i < s->pages; i++)
        shared_used(e, first + i * VIDMM_PAGE_SIZE, s->page[i].address, write);
}

static void sum_add(struct bulk *b, const uint8_t *data, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i += 8) {
        uint64_t word = 0;
        memcpy(&word, data + i, min_u64(8, bytes - i));
        b->sum = processor_sum_word(b->sum, word);
    }
}

/* Words of the sum are cut from the start of the range, so spans that end inside a word carry over. */
static bool sum_move(struct softgpu_engine *e, uint64_t *failed)
{
    struct bulk *b = &e->bulk;
    uint8_t buffer[4096];
    uint64_t fill = 0, done = 0;
    for (uint32_t i = 0; i < b->from.spans; i++) {
        struct devmem_span s = b->from.span[i];
        while (s.bytes != 0) {
            uint64_t n = min_u64(s.bytes, sizeof(buffer) - fill);
            *failed = done;
            if (!devmem_read(e->gpu->platform, buffer + fill, s, n)) return false;
            if (s.kind != DEVMEM_ZERO) s.host += n;
            s.bytes -= n;
            done += n;
            fill += n;
            if (fill == sizeof(buffer)) sum_add(b, buffer, fill);
            if (fill == sizeof(buffer)) fill = 0;
        }
    }
    sum_add(b, buffer, fill);
    return true;
}

static bool fill_move(struct softgpu_engine *e, uint64_t *failed)
{
    struct bulk *b = &e->bulk;
    uint64_t done = 0;
    for (uint32_t i = 0; i < b->to.spans; i++) {
        *failed = done;
        struct devmem_span s = b->to.span[i];
        if (!devmem_fill(e->gpu->platform, s, s.bytes, b->pattern, b->done + done)) return false;
        done += s.bytes;
    }
    return true;
}

static void span_advance(const struct bulk_side *s, uint32_t *i, struct devmem_span *at, uint64_t n)
{
    at->bytes -= n;
    if (at->kind != DEVMEM_ZERO) at->host += n;
    if (at->bytes == 0 && ++*i < s->spans) *at = s->span[*i];
}

static bool copy_move(struct softgpu_engine *e, uint64_t *failed)
{
    struct bulk *b = &e->bulk;
    struct devmem_span to = b->to.span[0], from = b->from.span[0];
    uint32_t ti = 0, fi = 0;
    for (uint64_t done = 0; done < b->chunk;) {
        uint64_t n = min_u64(to.bytes, from.bytes);
        *failed = done;
        if (!devmem_move(e->gpu->platform, to, from, n)) return false;
        span_advance(&b->to, &ti, &to, n);
        span_advance(&b->from, &fi, &from, n);
        done += n;
    }
    return true;
}

/* Which side was it? Reading the bytes again tells; only ever asked after a failure. */
static bool readable(struct softgpu_engine *e)
{
    uint8_t buffer[4096];
    for (uint32_t i = 0; i < e->bulk.from.spans; i++) {
        struct devmem_span s = e->bulk.from.span[i];
        while (s.bytes != 0 && s.kind == DEVMEM_SYSTEM) {
            uint64_t n = min_u64(s.bytes, sizeof(buffer));
            if (!devmem_read(e->gpu->platform, buffer, s, n)) return false;
            s.host += n;
            s.bytes -= n;
        }
    }
    return true;
}

static void section_leave(struct softgpu_engine *e)
{
    e->bulk.prepared = false;
    shared_leave(e);
    atomic_fetch_add_explicit(&e->in_seq, 1, memory_order_release);
}

/* Memory that the machine translates: which page was it? Page by page once more; and if all are there by now,
 * the work is done. */
static bool page_by_page(struct softgpu_engine *e, uint64_t *va, bool *write)
{
    const struct bulk *b = &e->bulk;
    const struct vidmm_platform *p = e->gpu->platform;
    uint8_t buffer[4096];
    for (uint64_t at = b->done, n; at < b->done + b->chunk; at += n) {
        uint64_t dst = b->dst + at, src = b->src + at;
        n = min_u64(b->done + b->chunk - at, VIDMM_PAGE_SIZE - (dst & (VIDMM_PAGE_SIZE - 1)));
        if (b->kind != BULK_FILL) n = min_u64(n, VIDMM_PAGE_SIZE - (src & (VIDMM_PAGE_SIZE - 1)));
        struct devmem_span to = {(uint8_t *)(uintptr_t)dst, n, DEVMEM_SYSTEM};
        struct devmem_span from = {(uint8_t *)(uintptr_t)src, n, DEVMEM_SYSTEM};
        *write = false;
        *va = src;
        if (b->kind != BULK_FILL && !devmem_read(p, buffer, from, n)) return false;
        *write = true;
        *va = dst;
        if (b->kind == BULK_COPY && !devmem_write(p, to, buffer, n)) return false;
        if (b->kind == BULK_FILL && !devmem_fill(p, to, n, b->pattern, at)) return false;
    }
    *write = false;
    *va = b->src + b->done;
    return b->kind != BULK_SUM; /* which cannot be added up twice */
}

static enum softgpu_run bulk_commit(struct softgpu_engine *e)
{
    struct bulk *b = &e->bulk;
    struct softgpu_context *ctx = e->packet.context;
    uint64_t failed = 0;
    bool ok, owner = ctx->space->system;
    if (owner) epochs_bump(&b->to);
    side_used(e, &b->from, false);
    side_used(e, &b->to, true);
    if (owner && b->kind == BULK_COPY) vram_epochs_bump(&b->from);
    if (b->kind == BULK_COPY) ok = copy_move(e, &failed);
    else if (b->kind == BULK_FILL) ok = fill_move(e, &failed);
    else ok = sum_move(e, &failed);
    if (!owner) epochs_check(e, &b->to, true);
    if (!owner) epochs_check(e, &b->from, false);
    bool host = ctx->pasid != 0 && e->gpu->platform->iommu->unit == NULL;
    bool write = !ok && !host && (b->kind == BULK_FILL || (b->kind == BULK_COPY && readable(e)));
    uint64_t at = (write ? b->dst : b->src) + b->done + failed;
    if (!ok && host) ok = page_by_page(e, &at, &write);
    section_leave(e);
    if (!ok) (void)vanished(e, at, write);
    if (!ok) return SOFTGPU_RUN_FAULT;
    b->done += b->chunk;
    atomic_fetch_add_explicit(&e->progress, 1, memory_order_relaxed);
    if (b->kind == BULK_COPY) atomic_fetch_add_explicit(&e->copied, b->chunk, memory_order_relaxed);
    if (b->kind == BULK_FILL) atomic_fetch_add_explicit(&e->filled, b->chunk, memory_order_relaxed);
    return b->done == b->bytes ? SOFTGPU_RUN_DONE : SOFTGPU_RUN_MORE;
}

enum softgpu_run processor_bulk_step(struct softgpu_engine *e)
{
    struct bulk *b = &e->bulk;
    if (b->done == b->bytes) return SOFTGPU_RUN_DONE;
    return b->prepared ? bulk_commit(e) : bulk_prepare(e);
}

/* ---- flush ------------------------------------------------------------------------------------- */

/* Clear first, then drain: an access that starts between the two can only find new entries. */
bool processor_flush_begin(struct softgpu_engine *e, uint32_t space_id, uint64_t start, uint64_t end)
{
    struct softgpu *g = e->gpu;
    struct softgpu_space *space = gpu_find_space(g, space_id);
    if (space == NULL) return false;
    e->flush = (struct flush_wait){.active = true};
    atomic_fetch_add_explicit(&e->flushes, 1, memory_order_relaxed);
    for (uint32_t n = 0; n < g->opt.node_count; n++) {
        struct softgpu_engine *other = &g->engine[n];
        if (other->processor == NULL) continue;
        lock_take(&other->tlb_lock);
        if (end == 0) space->tag[n] = atomic_fetch_add_explicit(&g->next_tag, 1, memory_order_relaxed);
        else tlb_clear_range(other, space->tag[n], start, end);
        uint64_t seq = atomic_load_explicit(&other->in_seq, memory_order_relaxed);
        e->flush.seq[n] = seq;
        e->flush.waiting[n] = (seq & 1) != 0 && other->in_space == space;
        lock_drop(&other->tlb_lock);
    }
    return true;
}

enum softgpu_run processor_flush_step(struct softgpu_engine *e)
{
    struct softgpu *g = e->gpu;
    bool busy = false;
    for (uint32_t n = 0; n < g->opt.node_count; n++) {
        if (!e->flush.waiting[n]) continue;
        uint64_t seq = atomic_load_explicit(&g->engine[n].in_seq, memory_order_acquire);
        e->flush.waiting[n] = seq == e->flush.seq[n];
        busy = busy || e->flush.waiting[n];
    }
    e->flush.active = busy;
    return busy ? SOFTGPU_RUN_WAIT : SOFTGPU_RUN_DONE;
}
