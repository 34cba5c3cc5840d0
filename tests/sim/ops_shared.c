/* SPDX-License-Identifier: MIT */
/* ops_shared.c - processes of the IoMmu model beside the others, on the same nodes: packets that use the
 * addresses of a process, while its operating system commits, takes away, protects and copies its memory.
 * What a page shows is asked of the CPU and of the GPU, and compared with the model (model_shared.h).
 * Owns: struct shared_world. Calls: sim.h, the modelled OS. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#include "sim/model_shared.h"
#include "sim/osmm.h"
#include "softgpu/iommu.h"

#define PROCESSES 3u
#define OTHERS_MAX 64u
#define REGIONS 16u
#define IN_FLIGHT 4u
#define SLOT 256u
#define BUFFER 8192u
#define RESULTS 4096u
#define FRAMES_MORE 32768u

struct flight { struct shared_packet what; uint64_t value; uint64_t no_memory; };

struct shared_process {
    struct osmm_process *os;
    struct vidmm_process *core;
    struct vidmm_device *dev;
    struct vidmm_context *ctx;
    struct vidmm_queue *queue;
    struct vidmm_fence *fence;
    struct vidmm_open *buffer;
    uint64_t *commands, commands_va, issued, born; /* born: adapter resets before the device */
    uint32_t node, slot, flights;
    bool alive;                 /* has a device */
    struct flight flight[IN_FLIGHT];
    struct shared_region *region[REGIONS];
};

struct other { struct osmm_process *os; uint32_t id; bool ended; }; /* of a process of the model */

struct shared_world {
    struct softgpu_iommu *unit;
    struct osmm *os;
    struct shared_process process[PROCESSES];
    uint32_t processes, others;
    struct other other[OTHERS_MAX];
    bool ended;                 /* everybody was told to go */
};

/* ---- the machine ------------------------------------------------------------------------------- */

bool shared_open(struct sim *s, uint64_t frames)
{
    if (!s->gpu[0].ro.iommu) return true;
    struct shared_world *w = s->shared = calloc(1, sizeof(*w));
    struct softgpu_iommu_options uo = {.platform = world_platform(s->world)};
    uo.iotlb_bits = 3 + (uint32_t)sim_below(s, 5);
    uo.device_tlb_bits = 2 + (uint32_t)sim_below(s, 6);
    if (w == NULL || softgpu_iommu_create(&uo, &w->unit) != VIDMM_OK) return false;
    struct osmm_options o = {.platform = world_platform(s->world), .unit = softgpu_iommu_unit(w->unit),
                             .frames = frames + FRAMES_MORE, .levels = 4 + (uint32_t)sim_below(s, 2)};
    if (osmm_create(&o, &w->os) != VIDMM_OK) return false;
    world_set_iommu(s->world, osmm_iommu(w->os));
    return true;
}

bool shared_step(void *sim) { return osmm_step(((struct sim *)sim)->shared->os); }

static struct osmm_accounts accounts(struct sim *s)
{
    struct osmm_accounts a;
    osmm_get_accounts(s->shared->os, &a);
    return a;
}

/* Every process is registered, also those that never use it. */
vidmm_status shared_other_create(struct sim *s, uint32_t id, struct vidmm_process **core)
{
    struct shared_world *w = s->shared;
    struct osmm_process *os = NULL;
    if (w == NULL) return vidmm_process_create(s->ad, core);
    for (uint32_t i = 0; i < w->others; i++) {
        if (!w->other[i].ended || osmm_process_pasid(w->other[i].os) != 0) continue;
        osmm_process_destroy(w->other[i].os);
        w->other[i--] = w->other[--w->others];
    }
    vidmm_status st = osmm_process_create(w->os, &os);
    if (st == VIDMM_OK) st = vidmm_process_create_for(s->ad, os, core);
    if (st != VIDMM_OK && os != NULL) osmm_process_destroy(os);
    if (st == VIDMM_OK) w->other[w->others++] = (struct other){os, id, false};
    return st;
}

void shared_other_end(struct sim *s, uint32_t id)
{
    for (uint32_t i = 0; s->shared != NULL && i < s->shared->others; i++)
        if (s->shared->other[i].id == id) s->shared->other[i].ended = true;
}

void *shared_host(struct sim *s, uint32_t id, void *pointer)
{
    for (uint32_t i = 0; s->shared != NULL && i < s->shared->others; i++) {
        void *host = s->shared->other[i].id == id
                         ? osmm_host(s->shared->other[i].os, (uint64_t)(uintptr_t)pointer) : NULL;
        if (host != NULL) return host;
    }
    return pointer;
}

/* ---- processes and devices --------------------------------------------------------------------- */

static bool make_buffer(struct shared_process *p)
{
    struct ref_alloc_private in = {.magic = REF_ALLOC_MAGIC, .bytes = BUFFER};
    struct vidmm_alloc_desc d = {.private_data = &in, .private_size = sizeof(in)};
    uint64_t value = 0, trim = 0;
    void *pointer = NULL;
    if (vidmm_alloc_create(p->dev, &d, &p->buffer) != VIDMM_OK) return false;
    if (vidmm_make_resident(p->queue, &p->buffer, 1, 0, &value, &trim) < 0) return false;
    if (vidmm_open_lock(p->buffer, &pointer) != VIDMM_OK) return false;
    p->commands_va = (uint64_t)(uintptr_t)pointer;
    p->commands = osmm_host(p->os, p->commands_va);
    return p->commands != NULL;
}

static void open_device(struct sim *s, struct shared_process *p)
{
    struct ref_context_private in = {.magic = REF_CONTEXT_MAGIC, .iommu = 1};
    struct vidmm_context_desc d = {.private_data = &in, .private_size = sizeof(in)};
    d.node = p->node = (uint32_t)sim_below(s, 2);
    if (vidmm_device_create(p->core, &p->dev) != VIDMM_OK) return;
    bool ok = vidmm_context_create(p->dev, &d, &p->ctx) == VIDMM_OK &&
              vidmm_queue_create(p->dev, 0, &p->queue) == VIDMM_OK &&
              vidmm_fence_create(p->dev, 0, 0, &p->fence) == VIDMM_OK && make_buffer(p);
    if (!ok) vidmm_device_destroy(p->dev);
    p->alive = ok;
    p->issued = 0;
    p->born = vidmm_adapter_counters(s->ad)->adapter_resets;
    sim_say(s, "shared process: device on node %u %s", p->node, ok ? "made" : "refused");
}

static void op_process(struct sim *s)
{
    struct shared_world *w = s->shared;
    if (w == NULL || s->injecting || s->model->lost || w->processes == PROCESSES) return;
    struct shared_process *p = &w->process[w->processes];
    if (osmm_process_create(w->os, &p->os) != VIDMM_OK) return;
    if (vidmm_process_create_for(s->ad, p->os, &p->core) != VIDMM_OK) { /* no room for a root table */
        osmm_process_destroy(p->os);
        return;
    }
    w->processes++;
    open_device(s, p);
}

static struct shared_process *pick(struct sim *s)
{
    struct shared_world *w = s->shared;
    if (w == NULL || s->injecting || w->processes == 0) return NULL;
    return &w->process[sim_below(s, w->processes)];
}

static struct shared_region *pick_region(struct sim *s, struct shared_process *p)
{
    uint32_t from = (uint32_t)sim_below(s, REGIONS);
    for (uint32_t i = 0; i < REGIONS; i++)
        if (p->region[(from + i) % REGIONS] != NULL) return p->region[(from + i) % REGIONS];
    return NULL;
}

/* ---- what the OS does -------------------------------------------------------------------------- */

static struct shared_region **free_slot(struct shared_process *p)
{
    for (uint32_t i = 0; i < REGIONS; i++)
        if (p->region[i] == NULL) return &p->region[i];
    return NULL;
}

static struct shared_region *region_new(void)
{
    struct shared_region *r = calloc(1, sizeof(*r));
    if (r == NULL) abort();
    return r;
}

static void op_commit(struct sim *s)
{
    struct shared_process *p = pick(s);
    struct shared_region **at = p != NULL ? free_slot(p) : NULL;
    if (at == NULL) return;
    struct shared_region *r = region_new();
    r->pages = 1 + (uint32_t)sim_below(s, SHARED_PAGES_MAX);
    r->writable = true;
    if (osmm_commit(p->os, r->pages, true, &r->va) != VIDMM_OK) sim_fail(s, "no memory was committed");
    sim_say(s, "shared process: commit %u pages at %llx", r->pages, (unsigned long long)r->va);
    *at = r;
}

/* Who is in the middle of it may fault now. */
static void doom(struct shared_world *w, const struct shared_region *r)
{
    for (uint32_t i = 0; i < w->processes; i++)
        for (uint32_t k = 0; k < w->process[i].flights; k++) {
            struct shared_packet *f = &w->process[i].flight[k].what;
            f->may_fault |= f->target == r || (f->source == r && r->gone);
            if (f->target == r && r->writable && !r->gone) f->must_fault = false; /* in time, perhaps */
        }
}

static void op_decommit(struct sim *s)
{
    struct shared_process *p = pick(s);
    struct shared_region *r = p != NULL ? pick_region(s, p) : NULL;
    if (r == NULL || r->gone || !sim_chance(s, 3)) return;
    if (osmm_decommit(p->os, r->va) == VIDMM_BUSY) return;
    sim_say(s, "shared process: decommit %llx, %u writers", (unsigned long long)r->va, r->writers);
    r->gone = true;
    doom(s->shared, r);
}

static void op_protect(struct sim *s)
{
    struct shared_process *p = pick(s);
    struct shared_region *r = p != NULL ? pick_region(s, p) : NULL;
    if (r == NULL || r->gone) return;
    bool writable = !r->writable;
    if (!writable && !sim_chance(s, 3)) return;
    vidmm_status st = osmm_protect(p->os, r->va, writable);
    sim_say(s, "shared process: protect %llx %s", (unsigned long long)r->va, writable ? "rw" : "ro");
    if (st != VIDMM_OK && st != VIDMM_BUSY) sim_fail(s, "protection was refused");
    r->writable = writable;
    doom(s->shared, r);
}

static void op_clone(struct sim *s)
{
    struct shared_process *p = pick(s), *q = pick(s);
    struct shared_region *r = p != NULL ? pick_region(s, p) : NULL, **at = q != NULL ? free_slot(q) : NULL;
    if (r == NULL || r->gone || at == NULL) return;
    struct shared_region *n = region_new();
    vidmm_status st = osmm_clone(p->os, r->va, q->os, &n->va);
    if (st == VIDMM_BUSY) {
        free(n);
        return;
    }
    if (st != VIDMM_OK) sim_fail(s, "a range was not cloned");
    sim_say(s, "shared process: clone %llx to %llx", (unsigned long long)r->va, (unsigned long long)n->va);
    shared_region_clone(r, n);
    *at = n;
}

/* ---- what the CPU does ------------------------------------------------------------------------- */

static void look(struct sim *s, struct shared_process *p, struct shared_region *r, uint32_t i)
{
    uint32_t word[1024];
    if (!osmm_cpu_read(p->os, r->va + i * PAGE, word, PAGE)) sim_fail(s, "the CPU cannot read its memory");
    for (uint32_t k = 1; k < 1024; k++)
        if (word[k] != word[0]) sim_fail(s, "half a page of %llx", (unsigned long long)r->va);
    sim_check(s, shared_page_seen(r, &r->page[i], word[0]));
    s->totals.pages_read++;
}

static void op_cpu(struct sim *s)
{
    struct shared_process *p = pick(s);
    struct shared_region *r = p != NULL ? pick_region(s, p) : NULL;
    uint32_t words[1024];
    if (r == NULL) return;
    uint32_t i = (uint32_t)sim_below(s, r->pages), pattern = ++s->next_pattern;
    if (r->gone) {
        if (osmm_cpu_read(p->os, r->va + i * PAGE, words, 4)) sim_fail(s, "memory that is gone can be read");
        return;
    }
    look(s, p, r, i);
    if (r->writers > 0 || r->readers > 0) return;
    sim_say(s, "shared process: CPU writes page %u of %llx", i, (unsigned long long)r->va);
    for (uint32_t k = 0; k < 1024; k++) words[k] = pattern;
    bool ok = osmm_cpu_write(p->os, r->va + i * PAGE, words, PAGE);
    if (ok != r->writable) sim_fail(s, "the CPU %s write", ok ? "could" : "could not");
    if (ok) r->page[i].now = pattern;
}

/* ---- what the GPU does ------------------------------------------------------------------------- */

static bool settled(const struct shared_region *r)
{
    for (uint32_t i = 0; i < r->pages; i++)
        if (r->page[i].open) return false;
    return r->writers == 0;
}

static bool submit(struct sim *s, struct shared_process *p, const uint64_t *words, uint32_t n)
{
    uint32_t at = p->slot++ % (RESULTS / SLOT) * SLOT;
    uint64_t value = p->issued + 1;
    memcpy((uint8_t *)p->commands + at, words, n * 8u);
    (void)ref_emit_end((uint64_t *)(void *)((uint8_t *)p->commands + at) + n);
    if (vidmm_context_submit(p->ctx, p->commands_va + at, (n + 1) * 8, NULL, 0, 0) != VIDMM_OK) return false;
    if (vidmm_context_signal(p->ctx, &p->fence, &value, 1) != VIDMM_OK) sim_fail(s, "a signal was refused");
    p->issued = value;
    return true;
}

static void op_packet(struct sim *s)
{
    struct shared_process *p = pick(s);
    struct shared_region *r = p != NULL ? pick_region(s, p) : NULL;
    struct shared_region *from = p != NULL ? pick_region(s, p) : NULL;
    uint64_t words[REF_WORDS_MAX];
    if (r == NULL || !p->alive || p->flights == IN_FLIGHT) return;
    if (vidmm_device_state(p->dev) != VIDMM_DEVICE_ACTIVE || r->writers + r->readers > 0) return;
    if ((r->gone || !r->writable) && !sim_chance(s, 8)) return; /* a bad one now and then */
    struct flight *f = &p->flight[p->flights];
    *f = (struct flight){.what = {.target = r, .pattern = ++s->next_pattern}, .value = p->issued + 1,
                         .no_memory = accounts(s).no_memory};
    struct shared_packet *k = &f->what;
    k->first = (uint32_t)sim_below(s, r->pages);
    k->count = 1 + (uint32_t)sim_below(s, r->pages - k->first);
    uint64_t va = r->va + k->first * PAGE;
    for (uint32_t i = 0; i < r->pages && !r->gone; i++)
        if (r->page[i].open) look(s, p, r, i); /* what an earlier packet left must be known */
    uint32_t n = ref_emit_fill(words, va, k->pattern, k->count * PAGE);
    if (from != NULL && from != r && sim_chance(s, 2) && !from->gone && settled(from)) {
        k->source = from;
        k->count = k->count < from->pages ? k->count : from->pages;
        n = ref_emit_copy(words, va, from->va, k->count * PAGE);
    }
    sim_say(s, "shared process: GPU %s %u pages at %llx%s", k->source != NULL ? "copies" : "fills", k->count,
            (unsigned long long)va, r->gone ? ", gone" : r->writable ? "" : ", read-only");
    if (!submit(s, p, words, n)) sim_fail(s, "a packet of a shared process was refused");
    shared_packet_begin(k);
    p->flights++;
}

/* ---- what came of it --------------------------------------------------------------------------- */

static void forget(struct shared_process *p, uint32_t n, bool completed)
{
    for (uint32_t i = 0; i < n; i++) shared_packet_end(&p->flight[i].what, completed);
    p->flights -= n;
    memmove(p->flight, p->flight + n, p->flights * sizeof(p->flight[0]));
}

static void device_lost(struct sim *s, struct shared_process *p)
{
    enum vidmm_device_state state = vidmm_device_state(p->dev);
    bool reset = p->born < vidmm_adapter_counters(s->ad)->adapter_resets || vidmm_adapter_removed(s->ad);
    bool why = reset || (state == VIDMM_DEVICE_HUNG && s->temper.hangs);
    for (uint32_t i = 0; i < p->flights; i++)
        why |= p->flight[i].what.may_fault || p->flight[i].no_memory != accounts(s).no_memory;
    if (!why && s->armed && state == VIDMM_DEVICE_PAGE_FAULT) {
        s->armed = false; /* the knob's fault: there is one */
        why = true;
    }
    if (!why) sim_fail(s, "a shared process lost its device (state %d), which nothing explains", state);
    sim_say(s, "  a shared process lost its device, state %d", state);
    forget(p, p->flights, false);
    vidmm_device_destroy(p->dev);
    p->alive = false;
}

void shared_poll(struct sim *s)
{
    struct shared_world *w = s->shared;
    for (uint32_t i = 0; w != NULL && i < w->processes; i++) {
        struct shared_process *p = &w->process[i];
        uint32_t done = 0;
        if (!p->alive) continue;
        if (vidmm_device_state(p->dev) != VIDMM_DEVICE_ACTIVE) {
            device_lost(s, p);
            continue;
        }
        uint64_t at = vidmm_fence_value(p->fence);
        while (done < p->flights && p->flight[done].value <= at) {
            if (p->flight[done].what.must_fault) sim_fail(s, "a packet reached what is not there");
            done++;
        }
        forget(p, done, true);
    }
}

static void op_again(struct sim *s)
{
    struct shared_process *p = pick(s);
    if (p != NULL && !p->alive && !s->model->lost) open_device(s, p);
}

/* Everything, by the CPU and by the GPU. Regions that are gone are forgotten. */
static void compare(struct sim *s, struct shared_process *p, struct shared_region *r)
{
    static uint32_t expected[SHARED_PAGES_MAX * PAGE / 4];
    uint64_t words[REF_WORDS_MAX], result = p->commands_va + RESULTS;
    for (uint32_t i = 0; i < r->pages; i++) {
        look(s, p, r, i);
        for (uint32_t k = 0; k < PAGE / 4; k++) expected[i * PAGE / 4 + k] = r->page[i].now;
    }
    if (!p->alive || vidmm_device_state(p->dev) != VIDMM_DEVICE_ACTIVE) return;
    if (!submit(s, p, words, ref_emit_checksum(words, r->va, r->pages * PAGE, result)))
        sim_fail(s, "a packet of a shared process was refused");
    if (!world_settle(s->world, 1000000)) sim_fail(s, "a shared process does not come to rest");
    if (vidmm_device_state(p->dev) != VIDMM_DEVICE_ACTIVE) return; /* polled */
    if (p->commands[RESULTS / 8] != ref_checksum(expected, r->pages * PAGE))
        sim_fail(s, "the GPU sees other bytes at %llx", (unsigned long long)r->va);
}

void shared_settle(struct sim *s)
{
    struct shared_world *w = s->shared;
    if (w == NULL) return;
    shared_poll(s);
    for (uint32_t i = 0; i < w->processes && !w->ended; i++) {
        struct shared_process *p = &w->process[i];
        if (p->flights > 0) sim_fail(s, "packets of a shared process are still queued");
        for (uint32_t k = 0; k < REGIONS; k++) {
            struct shared_region *r = p->region[k];
            if (r != NULL && !r->gone) compare(s, p, r);
            if (r == NULL || !r->gone) continue;
            free(r);
            p->region[k] = NULL;
        }
    }
    shared_poll(s);
    struct osmm_accounts a = accounts(s);
    if (a.foreign != 0) sim_fail(s, "%llu accesses reached foreign memory", (unsigned long long)a.foreign);
    if (a.evicted_uses != 0) sim_fail(s, "an allocation was used that is not resident");
    if (a.quarantined != 0) sim_fail(s, "%llu frames wait for ever", (unsigned long long)a.quarantined);
}

void shared_end(struct sim *s)
{
    struct shared_world *w = s->shared;
    for (uint32_t i = 0; w != NULL && i < w->processes; i++) {
        w->process[i].alive = false;
        vidmm_process_destroy(w->process[i].core);
    }
    if (w != NULL) w->ended = true;
}

/* The adapter is gone: nothing of it may be bound any more. */
void shared_close(struct sim *s)
{
    struct shared_world *w = s->shared;
    if (w == NULL) return;
    for (uint32_t i = 0; i < w->processes; i++) {
        if (osmm_process_pasid(w->process[i].os) != 0) sim_fail(s, "a PASID was not given back");
        for (uint32_t k = 0; k < REGIONS; k++) free(w->process[i].region[k]);
    }
    osmm_destroy(w->os);
    softgpu_iommu_destroy(w->unit);
    free(w);
    s->shared = NULL;
}

/* Several at once: one process does much while VidMm does little for it. */
static void op_burst(struct sim *s)
{
    static const struct sim_op what[] = {{"process", op_process, 3}, {"commit", op_commit, 4},
                                          {"decommit", op_decommit, 4}, {"protect", op_protect, 3},
                                          {"clone", op_clone, 3}, {"cpu", op_cpu, 5},
                                          {"packet", op_packet, 12}, {"again", op_again, 3}};
    uint32_t total = 0;
    if (s->shared == NULL || s->injecting) return;
    for (uint32_t i = 0; i < sizeof(what) / sizeof(what[0]); i++) total += what[i].weight;
    for (uint64_t n = 1 + sim_below(s, 8); n > 0; n--) {
        uint64_t at = sim_below(s, total);
        uint32_t i = 0;
        while (at >= what[i].weight) at -= what[i++].weight;
        what[i].run(s);
        shared_poll(s);
        if (sim_chance(s, 2)) sim_turns(s, sim_below(s, 12));
    }
}

const struct sim_op ops_shared[] = {{"shared", op_burst, 12}, {NULL, NULL, 0}};
