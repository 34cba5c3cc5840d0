/* SPDX-License-Identifier: MIT */
/* kmd_rig.c - see kmd_rig.h. Stands where the memory manager would: it is the receiver of the
 * vidmm_notify_ reports, so it never links with the core. */
#include "kmd_rig.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/bits.h"
#include "base/check.h"

/* ---- platform ---------------------------------------------------------------------------------- */

static void *rig_alloc(void *ctx, size_t bytes, size_t align)
{
    struct rig *r = ctx;
    (void)align;
    atomic_fetch_add(&r->allocs_live, 1);
    return malloc(bytes);
}

static void rig_free(void *ctx, void *p, size_t bytes)
{
    struct rig *r = ctx;
    (void)bytes;
    atomic_fetch_sub(&r->allocs_live, 1);
    free(p);
}

static void *rig_address(void *ctx, uint64_t frame)
{
    struct rig *r = ctx;
    if (frame == 0 || frame >= RIG_FRAMES || frame == r->freed_frame) return NULL;
    return r->arena + frame * VIDMM_PAGE_SIZE;
}

static bool touches(const struct rig *r, const void *p, size_t bytes)
{
    uintptr_t gone = (uintptr_t)(r->arena + r->vanished_frame * VIDMM_PAGE_SIZE), at = (uintptr_t)p;
    return r->vanished_frame != 0 && at < gone + VIDMM_PAGE_SIZE && at + bytes > gone;
}

/* Word for word: seen whole, and visible to race detectors as atomics. */
static bool rig_copy(void *ctx, void *dst, const void *src, size_t bytes)
{
    struct rig *r = ctx;
    uint8_t *d = dst;
    const uint8_t *s = src;
    size_t i = 0;
    if (touches(r, dst, bytes) || touches(r, src, bytes)) return false;
    bool words = (((uintptr_t)d | (uintptr_t)s) & 7) == 0;
    for (; words && i + 8 <= bytes; i += 8) {
        uint64_t v = __atomic_load_n((const uint64_t *)(const void *)(s + i), __ATOMIC_RELAXED);
        __atomic_store_n((uint64_t *)(void *)(d + i), v, __ATOMIC_RELAXED);
    }
    for (; i < bytes; i++)
        __atomic_store_n(d + i, __atomic_load_n(s + i, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
    return true;
}

static void rig_poke(void *ctx) { (void)ctx; }

/* ---- reports ----------------------------------------------------------------------------------- */

static struct rig *rig_of(struct vidmm_adapter *a) { return (struct rig *)(void *)a; }

void vidmm_notify_completed(struct vidmm_adapter *a, uint32_t node, uint64_t fence_id)
{
    struct rig *r = rig_of(a);
    CHECK(fence_id > atomic_load(&r->completed[node]));
    atomic_store(&r->completed[node], fence_id);
}

void vidmm_notify_preempted(struct vidmm_adapter *ad, uint32_t node)
{
    (void)ad;
    (void)node;
}

void vidmm_notify_removed(struct vidmm_adapter *ad) { (void)ad; }

void vidmm_notify_fence_signaled(struct vidmm_adapter *a)
{
    atomic_fetch_add(&rig_of(a)->fence_interrupts, 1);
}

void vidmm_notify_context_suspended(struct vidmm_hwcontext *c, uint64_t value)
{
    atomic_store((_Atomic uint64_t *)(void *)c, value); /* the bench's clients hand in a counter */
}

void vidmm_notify_queue_retired(struct vidmm_hwqueue *q, uint64_t entries)
{
    atomic_store((_Atomic uint64_t *)(void *)q, entries);
}

void vidmm_notify_page_fault(struct vidmm_adapter *a, const struct vidmm_page_fault *f)
{
    struct rig *r = rig_of(a);
    r->fault = *f;
    atomic_fetch_add(&r->fault_count, 1);
}

/* ---- the bench --------------------------------------------------------------------------------- */

bool rig_open(struct rig *r, const struct vidmm_kmd_ops *ops, void *kmd, struct softgpu *gpu)
{
    memset(r, 0, sizeof(*r));
    r->ops = ops;
    r->kmd = kmd;
    r->gpu = gpu;
    r->next_frame = 1;
    r->arena = mmap(NULL, RIG_FRAMES * VIDMM_PAGE_SIZE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(r->arena != MAP_FAILED);
    r->platform = (struct vidmm_platform){.struct_size = sizeof(r->platform), .ctx = r, .alloc = rig_alloc,
                                          .free = rig_free, .sys_address = rig_address, .copy = rig_copy,
                                          .poke = rig_poke};
    bool ok = ops->query_adapter_info(kmd, &r->info) == VIDMM_OK;
    return ok && ops->start_device(kmd, (struct vidmm_adapter *)(void *)r, &r->platform) == VIDMM_OK;
}

void rig_close(struct rig *r)
{
    r->ops->stop_device(r->kmd);
    CHECK(atomic_load(&r->allocs_live) == 0);
    (void)munmap(r->arena, RIG_FRAMES * VIDMM_PAGE_SIZE);
}

uint64_t rig_now(void *rig) { return ((struct rig *)rig)->clock_ns; }

uint64_t rig_frames(struct rig *r, uint64_t pages)
{
    uint64_t frame = r->next_frame;
    r->next_frame += pages;
    CHECK(r->next_frame <= RIG_FRAMES);
    return frame;
}

uint8_t *rig_frame_cpu(struct rig *r, uint64_t frame) { return rig_address(r, frame); }

uint64_t rig_vram(struct rig *r, uint32_t segment, uint64_t bytes)
{
    uint64_t at = r->next_vram[segment];
    r->next_vram[segment] += align_up(bytes, VIDMM_PAGE_SIZE);
    CHECK(r->next_vram[segment] <= r->info.segment[segment - 1].bytes);
    return at;
}

/* ---- page tables ------------------------------------------------------------------------------- */

static uint32_t level_shift(const struct rig *r, uint32_t level)
{
    uint32_t shift = VIDMM_PAGE_SHIFT;
    for (uint32_t i = 0; i < level; i++) shift += r->info.level[i].index_bits;
    return shift;
}

static void write_entries(struct rig *r, struct rig_space *s, const struct rig_table *t, uint32_t index,
                          const struct vidmm_pte_run *run, uint32_t flags)
{
    struct vidmm_update_page_table u = {
        .level = t->level, .mode = VIDMM_UPDATE_CPU_VIRTUAL, .flags = flags, .table.cpu_virtual = t->cpu,
        .start_index = index, .count = run->count, .runs = run, .run_count = 1, .process = s->process};
    r->ops->update_page_table(r->kmd, &u);
}

static void table_make(struct rig *r, struct rig_space *s, struct rig_table *t, uint32_t level,
                       uint32_t entries)
{
    const struct vidmm_level_desc *d = &r->info.level[level];
    uint32_t n = entries;
    uint64_t bytes = d->table_bytes != 0 ? d->table_bytes : r->ops->get_root_page_table_size(r->kmd, &n);
    t->level = level;
    t->at.segment = d->segment;
    if (d->segment == 0) {
        uint64_t frame = rig_frames(r, div_up(bytes, VIDMM_PAGE_SIZE));
        t->at.offset = frame * VIDMM_PAGE_SIZE;
        t->cpu = rig_frame_cpu(r, frame);
    } else {
        t->at.offset = rig_vram(r, d->segment, bytes);
        t->cpu = r->ops->map_cpu_host_aperture(r->kmd, d->segment, t->at.offset, bytes);
        CHECK(t->cpu != NULL);
    }
    struct vidmm_pte_run clear = {.count = n};
    write_entries(r, s, t, 0, &clear, VIDMM_UPDATE_INITIAL);
    if (level + 1 == r->info.level_count) s->root_entries = n;
}

static struct rig_table *table_find(struct rig_space *s, uint32_t level, uint64_t prefix)
{
    for (uint32_t i = 0; i < s->tables; i++)
        if (s->table[i].level == level && s->table[i].prefix == prefix) return &s->table[i];
    return NULL;
}

struct rig_table *rig_table(struct rig *r, struct rig_space *s, uint64_t va, uint32_t level)
{
    struct rig_table *t = &s->table[0];
    for (uint32_t at = r->info.level_count - 1; at > level; at--) {
        uint32_t shift = level_shift(r, at);
        struct rig_table *child = table_find(s, at - 1, va >> shift);
        if (child == NULL) {
            CHECK(s->tables < RIG_TABLES_MAX);
            child = &s->table[s->tables++];
            table_make(r, s, child, at - 1, 1u << r->info.level[at - 1].index_bits);
            child->prefix = va >> shift;
            struct vidmm_pte_kind kind = {.level = at, .flags = VIDMM_PTE_VALID,
                                          .segment = child->at.segment};
            struct vidmm_pte_run run = {.address = child->at.offset, .count = 1,
                                        .attr = r->ops->pte_attr(r->kmd, &kind)};
            uint64_t index = va >> shift & mask_low64(r->info.level[at].index_bits);
            write_entries(r, s, t, (uint32_t)index, &run, 0);
        }
        t = child;
    }
    return t;
}

void rig_map(struct rig *r, struct rig_space *s, uint64_t va, uint32_t segment, uint64_t address,
             uint64_t pages, uint32_t flags)
{
    uint64_t entries = 1ull << r->info.level[0].index_bits;
    struct vidmm_pte_kind kind = {.flags = flags, .segment = segment};
    while (pages != 0) {
        uint64_t index = va >> VIDMM_PAGE_SHIFT & (entries - 1), n = min_u64(pages, entries - index);
        struct vidmm_pte_run run = {.address = address, .attr = r->ops->pte_attr(r->kmd, &kind),
                                    .count = (uint32_t)n, .step = VIDMM_PAGE_SIZE};
        if ((flags & VIDMM_PTE_VALID) == 0 || (flags & VIDMM_PTE_ZERO) != 0) run.address = run.step = 0;
        write_entries(r, s, rig_table(r, s, va, 0), (uint32_t)index, &run, 0);
        va += n * VIDMM_PAGE_SIZE;
        address += n * VIDMM_PAGE_SIZE;
        pages -= n;
    }
}

/* ---- objects ----------------------------------------------------------------------------------- */

void rig_space_open(struct rig *r, struct rig_space *s, bool system)
{
    memset(s, 0, sizeof(*s));
    CHECK(r->ops->create_process(r->kmd, system, &s->process) == VIDMM_OK);
    uint32_t top = r->info.level_count - 1;
    uint32_t entries = r->info.level_count == 2 ? 1024 : 1u << r->info.level[top].index_bits;
    table_make(r, s, &s->table[0], top, entries);
    s->tables = 1;
}

void rig_space_close(struct rig *r, struct rig_space *s) { r->ops->destroy_process(r->kmd, s->process); }

void rig_context_open(struct rig *r, struct rig_context *c, struct rig_space *s, uint32_t node)
{
    bool system = node == r->info.paging_node;
    struct vidmm_kmd_context k = {.process = s->process, .node = node,
                                  .flags = VIDMM_CONTEXT_VIRTUAL | (system ? VIDMM_CONTEXT_SYSTEM : 0u)};
    CHECK(r->ops->create_context(r->kmd, &k) == VIDMM_OK);
    *c = (struct rig_context){s, k.handle, node};
    r->ops->set_root_page_table(r->kmd, k.handle, s->table[0].at, s->root_entries);
}

void rig_context_close(struct rig *r, struct rig_context *c) { r->ops->destroy_context(r->kmd, c->handle); }

uint64_t rig_submit(struct rig *r, struct rig_context *c, uint64_t va, uint32_t bytes, uint32_t flags)
{
    struct vidmm_kmd_submit s = {.context = c->handle, .node = c->node, .va = va, .bytes = bytes,
                                 .fence_id = ++r->fence[c->node], .flags = flags};
    CHECK(r->ops->submit_command_virtual(r->kmd, &s) == VIDMM_OK);
    return s.fence_id;
}

uint64_t rig_step(struct rig *r, uint64_t steps)
{
    uint64_t made = 0;
    for (bool progress = true; progress && made < steps;) {
        progress = false;
        for (uint32_t n = 0; n < r->info.node_count; n++) {
            if (softgpu_engine_step(r->gpu, n) != SOFTGPU_PROGRESS) continue;
            progress = true;
            made++;
        }
    }
    return made;
}

void rig_step_node(struct rig *r, uint32_t node)
{
    while (softgpu_engine_step(r->gpu, node) == SOFTGPU_PROGRESS) continue;
}

bool rig_completed(struct rig *r, const struct rig_context *c, uint64_t fence)
{
    return atomic_load(&r->completed[c->node]) >= fence;
}

bool rig_wait(struct rig *r, const struct rig_context *c, uint64_t fence)
{
    const struct timespec pause = {.tv_nsec = 20000};
    for (uint32_t i = 0; i < 500000; i++) {
        if (rig_completed(r, c, fence)) return true;
        if (atomic_load(&r->fault_count) != 0) return false;
        (void)nanosleep(&pause, NULL);
    }
    return false;
}
