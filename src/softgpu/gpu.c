/* SPDX-License-Identifier: MIT */
/* gpu.c - life of a simulated GPU, its knobs and its statistics. Calls every other file's create part. */
#include <stdlib.h>
#include <time.h>

#include "base/bits.h"
#include "softgpu/gpu.h"

uint64_t gpu_now(const struct softgpu *g)
{
    if (g->opt.now_ns != NULL) return g->opt.now_ns(g->opt.now_ctx);
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static bool format_valid(const struct softgpu_format *f)
{
    if (f == NULL || f->decode == NULL || (f->entry_bytes != 4 && f->entry_bytes != 8)) return false;
    if (f->level_count < VIDMM_LEVELS_MIN || f->level_count > VIDMM_LEVELS_MAX) return false;
    uint32_t bits = VIDMM_PAGE_SHIFT;
    for (uint32_t i = 0; i < f->level_count; i++) {
        if (f->index_bits[i] == 0 || f->index_bits[i] > 30) return false;
        bits += f->index_bits[i];
    }
    return bits == f->va_bits && bits <= 57;
}

static bool options_valid(const struct softgpu_options *o)
{
    if (!format_valid(o->format) || o->segment_count > VIDMM_SEGMENTS_MAX) return false;
    if (o->node_count == 0 || o->node_count > SOFTGPU_NODES_MAX) return false;
    if (o->queue_depth > SOFTGPU_QUEUE_MAX) return false;
    if ((o->tlb_bits != 0 && o->tlb_bits < 4) || o->tlb_bits > 24) return false;
    uint64_t total = 0;
    for (uint32_t i = 0; i < o->segment_count; i++) {
        const struct softgpu_segment *s = &o->segment[i];
        if (s->aperture) continue;
        bool sane = s->bytes != 0 && is_aligned(s->bytes, VIDMM_PAGE_SIZE) && s->bytes <= 1ull << 44;
        if (!sane) return false;
        total += s->bytes;
    }
    return total <= 1ull << 45;
}

static void layout(struct softgpu *g)
{
    for (uint32_t i = 0; i < g->opt.segment_count; i++) {
        struct gpu_segment *s = &g->segment[i + 1];
        s->aperture = g->opt.segment[i].aperture;
        if (s->aperture) continue;
        s->vram_offset = align_up(g->vram_bytes, VIDMM_PAGE_64K);
        s->bytes = g->opt.segment[i].bytes;
        g->vram_bytes = s->vram_offset + s->bytes;
    }
    uint32_t shift = VIDMM_PAGE_SHIFT;
    for (uint32_t i = 0; i < g->format.level_count; i++) {
        g->level_shift[i] = shift;
        shift += g->format.index_bits[i];
    }
}

static bool engine_create(struct softgpu *g, uint32_t node)
{
    struct softgpu_engine *e = &g->engine[node];
    pthread_condattr_t attr;
    e->gpu = g;
    e->node = node;
    e->processor = g->opt.processor[node];
    e->hw_wakeup_ns = UINT64_MAX;
    e->random = g->opt.seed + node * 0x632be59bd9b4e019ull;
    lock_init(&e->run);
    lock_init(&e->tlb_lock);
    lock_init(&e->queue_lock);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&e->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    e->tlb = calloc((size_t)g->tlb_mask + 1, sizeof(*e->tlb));
    e->walk = calloc(GPU_WALK_CACHE, sizeof(*e->walk));
    return e->tlb != NULL && e->walk != NULL;
}

static void engine_destroy(struct softgpu_engine *e)
{
    if (e->gpu == NULL) return;
    free(e->tlb);
    free(e->walk);
    (void)pthread_cond_destroy(&e->wake);
    lock_fini(&e->queue_lock);
    lock_fini(&e->tlb_lock);
    lock_fini(&e->run);
}

vidmm_status softgpu_create(const struct softgpu_options *options, struct softgpu **out)
{
    if (!options_valid(options)) return VIDMM_INVALID;
    struct softgpu *g = calloc(1, sizeof(*g));
    if (g == NULL) return VIDMM_NO_MEMORY;
    g->opt = *options;
    g->format = *options->format;
    g->peer[0] = g;
    if (g->opt.queue_depth == 0) g->opt.queue_depth = SOFTGPU_QUEUE_MAX;
    g->tlb_mask = (1u << (g->opt.tlb_bits == 0 ? 14 : g->opt.tlb_bits)) - 1;
    atomic_store(&g->next_tag, 1);
    atomic_store(&g->next_space, 1);
    lock_init(&g->lock);
    layout(g);
    bool ok = vram_create(g) && physical_create(g);
    for (uint32_t n = 0; ok && n < g->opt.node_count; n++) ok = engine_create(g, n);
    if (!ok) softgpu_destroy(g);
    if (ok) *out = g;
    return ok ? VIDMM_OK : VIDMM_NO_MEMORY;
}

void softgpu_link(struct softgpu *const *gpu, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        gpu[i]->index = i;
        for (uint32_t k = 0; k < n; k++) gpu[i]->peer[k] = gpu[k];
    }
}

void softgpu_destroy(struct softgpu *g)
{
    if (g == NULL) return;
    softgpu_stop_threads(g);
    for (uint32_t n = 0; n < SOFTGPU_NODES_MAX; n++) engine_destroy(&g->engine[n]);
    physical_destroy(g);
    vram_destroy(g);
    lock_fini(&g->lock);
    free(g);
}

void softgpu_set_domain(struct softgpu *g, const struct vidmm_domain *d) { g->domain = d; }

void softgpu_attach(struct softgpu *g, const struct vidmm_platform *platform, const struct softgpu_irq *irq)
{
    g->platform = platform;
    g->irq = *irq;
}

void softgpu_space_init(struct softgpu *g, struct softgpu_space *s, bool system)
{
    *s = (struct softgpu_space){.system = system};
    s->id = atomic_fetch_add_explicit(&g->next_space, 1, memory_order_relaxed);
    for (uint32_t n = 0; n < g->opt.node_count; n++)
        s->tag[n] = atomic_fetch_add_explicit(&g->next_tag, 1, memory_order_relaxed);
    lock_take(&g->lock);
    s->next = g->spaces;
    g->spaces = s;
    lock_drop(&g->lock);
}

void softgpu_space_fini(struct softgpu *g, struct softgpu_space *s)
{
    lock_take(&g->lock);
    struct softgpu_space **at = &g->spaces;
    while (*at != NULL && *at != s) at = &(*at)->next;
    if (*at == s) *at = s->next;
    lock_drop(&g->lock);
}

struct softgpu_space *gpu_find_space(struct softgpu *g, uint32_t id)
{
    lock_take(&g->lock);
    struct softgpu_space *s = g->spaces;
    while (s != NULL && s->id != id) s = s->next;
    lock_drop(&g->lock);
    return s;
}

void softgpu_context_set_root(struct softgpu_context *c, const struct softgpu_root *root) { c->root = *root; }

void softgpu_set_knobs(struct softgpu *g, const struct softgpu_knobs *k)
{
    lock_take(&g->lock);
    g->knobs = *k;
    atomic_store(&g->paging_delay_ns, k->paging_delay_ns);
    atomic_store(&g->hang_nodes, k->hang_nodes);
    atomic_store(&g->no_prefetch, k->no_prefetch);
    lock_drop(&g->lock);
    for (uint32_t n = 0; n < g->opt.node_count; n++) (void)pthread_cond_signal(&g->engine[n].wake);
}

void softgpu_get_knobs(struct softgpu *g, struct softgpu_knobs *out)
{
    lock_take(&g->lock);
    *out = g->knobs;
    lock_drop(&g->lock);
}

bool softgpu_countdown(struct softgpu *g, enum softgpu_countdown which)
{
    lock_take(&g->lock);
    uint32_t *count = &g->knobs.fault_in;
    if (which == SOFTGPU_COUNT_CREATE) count = &g->knobs.fail_create_in;
    if (which == SOFTGPU_COUNT_FLUSH) count = &g->knobs.skip_flush_in;
    bool fires = *count == 1;
    if (*count != 0) (*count)--;
    lock_drop(&g->lock);
    return fires;
}

void softgpu_get_stats(struct softgpu *g, struct softgpu_stats *out)
{
    *out = (struct softgpu_stats){0};
    for (uint32_t n = 0; n < g->opt.node_count; n++) {
        struct softgpu_engine *e = &g->engine[n];
        out->packets += atomic_load_explicit(&e->packets, memory_order_relaxed);
        out->tlb_hits += atomic_load_explicit(&e->hits, memory_order_relaxed);
        out->tlb_misses += atomic_load_explicit(&e->misses, memory_order_relaxed);
        out->prefetched += atomic_load_explicit(&e->prefetched, memory_order_relaxed);
        out->flushes += atomic_load_explicit(&e->flushes, memory_order_relaxed);
        out->copied_bytes += atomic_load_explicit(&e->copied, memory_order_relaxed);
        out->filled_bytes += atomic_load_explicit(&e->filled, memory_order_relaxed);
        out->faults += atomic_load_explicit(&e->faults, memory_order_relaxed);
    }
}
