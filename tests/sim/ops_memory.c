/* SPDX-License-Identifier: MIT */
/* ops_memory.c - allocations, residency, CPU access. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#define LIVE_BYTES_MAX (48ull << 20)

struct model_alloc *pick_alloc(struct sim *s, struct model_device *d)
{
    if (d == NULL || d->alloc_count == 0) return NULL;
    struct model_alloc *al = d->alloc[sim_below(s, d->alloc_count)];
    return al->dying || al->keep ? NULL : al;
}

/* ---- content by the CPU ------------------------------------------------------------------------ */

void fill_by_cpu(void *page, uint32_t pattern, uint64_t head)
{
    uint32_t *w = page;
    for (uint32_t i = 0; i < PAGE / 4; i++) w[i] = pattern;
    memcpy(page, &head, sizeof(head));
}

bool page_equals(const void *page, const struct model_page *m)
{
    const uint64_t *w = page, pattern = m->pattern | (uint64_t)m->pattern << 32;
    uint64_t differs = 0;
    if (m->unknown) return true;
    for (uint32_t i = 1; i < PAGE / 8; i++) differs |= w[i] ^ pattern;
    return differs == 0 && w[0] == m->head;
}

/* ---- create and close -------------------------------------------------------------------------- */

static uint64_t live_bytes(const struct sim *s)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < s->model->process_count; i++)
        for (uint32_t k = 0; k < s->model->process[i]->device_count; k++) {
            const struct model_device *d = s->model->process[i]->device[k];
            for (uint32_t n = 0; n < d->alloc_count; n++) sum += d->alloc[n]->bytes;
        }
    return sum;
}

void alloc_make(struct sim *s, struct model_device *d, const struct model_alloc_in *in, uint32_t flags,
                struct model_alloc **out)
{
    struct ref_alloc_private p = {.magic = in->refused ? 0 : REF_ALLOC_MAGIC, .alignment = in->alignment,
                                  .bytes = in->bytes, .supported = in->supported, .preferred = in->preferred,
                                  .flags = flags | (in->instanced ? VIDMM_ALLOCATION_LINK_INSTANCED : 0),
                                  .gpu = in->gpu, .priority = (uint32_t)sim_below(s, 0xC8000000u)};
    struct vidmm_alloc_desc desc = {.private_data = &p, .private_size = sizeof(p), .existing = in->client,
                                    .existing_bytes = in->existing_bytes};
    struct vidmm_open *handle = NULL;
    sim_say(s,
            "device %u: create allocation of %llu bytes, gpu %u%s, segments %x, preferred %u, alignment %x, "
            "existing %llu%s",
            d->id, (unsigned long long)in->bytes, in->gpu, in->instanced ? " and all others" : "",
            in->supported, in->preferred, in->alignment, (unsigned long long)in->existing_bytes,
            in->refused ? ", refused by the driver" : "");
    *out = NULL;
    struct model_answer a = model_alloc_create(d, in);
    if (!sim_status(s, a, vidmm_alloc_create(d->handle, &desc, &handle))) {
        free(in->client);
        return;
    }
    sim_check(s, model_alloc_created(d, in, handle, vidmm_open_bytes(handle), out));
    sim_of(d)->used |= sim_gpus_of(s, *out);
    for (uint64_t i = 0; in->client != NULL && i < (*out)->pages; i++) {
        uint32_t pattern = s->next_pattern++;
        uint64_t head = pattern | (uint64_t)pattern << 32;
        fill_by_cpu((char *)in->client + i * PAGE, pattern, head);
        (*out)->page[i] = (struct model_page){.pattern = pattern, .head = head};
    }
}

static void choose_alloc(struct sim *s, const struct model_device *d, struct model_alloc_in *in)
{
    static const uint32_t sets[] = {0, 4, 1, 2, 3, 5, 6, 7, 5, 6, 7};
    in->gpu = pick_gpu(s, d);
    in->instanced = s->gpus > 1 && sim_of(d)->gpus == (1u << s->gpus) - 1 && sim_chance(s, 5);
    if (in->instanced) in->gpu = 0;
    in->bytes = 1 + sim_below(s, s->temper.alloc_pages * PAGE);
    if (sim_chance(s, s->temper.big_one_in)) in->bytes = 1 + sim_below(s, 2u << 20);
    in->supported = sets[sim_below(s, 11)];
    if (!s->temper.memory_only && in->supported != 0) in->supported |= 4u;
    for (uint32_t i = 3; i-- > 0;)
        if ((in->supported >> i & 1u) != 0 && !sim_chance(s, 3)) in->preferred = i + 1;
    in->alignment = in->supported & 1u ? 65536u << sim_below(s, 2)
                    : sim_chance(s, 2) ? 0
                                       : 1u << sim_below(s, 18);
    if (sim_chance(s, 40)) in->alignment = 4096;
    const struct ref_segment *seg = s->gpu[in->gpu % s->gpus].ro.segment;
    if (sim_chance(s, 40)) in->bytes = seg[sim_below(s, 2)].bytes + 1 - sim_below(s, 2);
    in->refused = sim_chance(s, 60);
}

static void op_alloc(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct model_alloc_in in = {0};
    struct model_alloc *al;
    if (d == NULL || d->alloc_count >= s->temper.allocs || d->alloc_count >= MODEL_OBJECTS_MAX) return;
    if (live_bytes(s) > LIVE_BYTES_MAX) return;
    choose_alloc(s, d, &in);
    alloc_make(s, d, &in, 0, &al);
}

/* What most clients do: create, make resident, map. */
static void op_memory(struct sim *s)
{
    struct model_device *d = pick_live_device(s);
    struct model_queue *q = pick_queue(s, d);
    struct model_alloc_in in = {0};
    struct model_alloc *al = NULL;
    uint64_t va;
    if (q == NULL || d->alloc_count >= s->temper.allocs || live_bytes(s) > LIVE_BYTES_MAX) return;
    choose_alloc(s, d, &in);
    alloc_make(s, d, &in, 0, &al);
    if (al == NULL) return;
    struct vidmm_map map = {.protection = VIDMM_PROT_WRITE};
    choose_whole(s, al, q->gpu, &map);
    make_resident(s, q, &al, 1, sim_chance(s, 4) ? 0 : VIDMM_RESIDENT_CANT_TRIM_FURTHER);
    if (vidmm_device_state(d->handle) == VIDMM_DEVICE_ACTIVE) (void)map_range(s, q, &map, al, &va);
}

static void op_import(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct model_alloc_in in = {.bytes = 1 + sim_below(s, s->temper.alloc_pages * PAGE)};
    struct model_alloc *al;
    if (d == NULL || d->alloc_count >= s->temper.allocs) return;
    in.gpu = pick_gpu(s, d);
    in.instanced = s->gpus > 1 && sim_chance(s, 16);
    if (in.instanced) in.gpu = 0;
    in.existing_bytes = (in.bytes + PAGE - 1) / PAGE * PAGE;
    in.client = aligned_alloc(PAGE, in.existing_bytes);
    if (in.client == NULL) abort();
    if (sim_chance(s, 16)) in.supported = 1 + (uint32_t)sim_below(s, 7);
    if (sim_chance(s, 16)) in.existing_bytes -= PAGE;
    in.alignment = in.supported & 1u ? 65536 : 0;
    alloc_make(s, d, &in, 0, &al);
}

static void op_close(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct model_alloc *al = pick_alloc(s, d);
    if (al == NULL || al->in_rings > 0) return;
    bool at_once = al->in_flight == 0 && sim_chance(s, 3);
    sim_say(s, "close allocation %u%s", al->id, at_once ? ", not in use" : "");
    vidmm_open_close(al->handle, at_once ? VIDMM_DESTROY_ASSUME_NOT_IN_USE : 0);
    model_alloc_close(al, !at_once, s->seq);
}

static void op_priority(struct sim *s)
{
    struct model_alloc *al = pick_alloc(s, pick_device(s));
    uint32_t priority = (uint32_t)sim_below(s, 5) * 0x28000000u;
    struct model_answer a = {0, true};
    if (al == NULL) return;
    sim_say(s, "allocation %u: priority %x", al->id, priority);
    if (priority == 0) model_refuse(&a, VIDMM_INVALID);
    if (al->dev->lost) model_refuse(&a, VIDMM_DEVICE_LOST);
    if (!sim_status(s, a, vidmm_open_set_priority(al->handle, priority))) return;
    if (vidmm_open_priority(al->handle) != priority) sim_fail(s, "the priority is not what was set");
}

/* ---- residency --------------------------------------------------------------------------------- */

/* Who was to find it not resident may find it now. */
static void dooms_of_body_open(struct sim *s, const struct model_body *b)
{
    for (uint32_t i = 0; i < s->model->process_count; i++)
        for (uint32_t k = 0; k < s->model->process[i]->device_count; k++) {
            struct sim_device *sd = sim_of(s->model->process[i]->device[k]);
            if (sd->doomed && sd->doom_body == b) sd->doom_open = true;
        }
}

void make_resident(struct sim *s, struct model_queue *q, struct model_alloc *const *al, uint32_t n,
                   uint32_t flags)
{
    struct vidmm_open *opens[16];
    struct sim_device *sd = sim_of(q->dev);
    uint64_t value = 0, trim = 0, least;
    for (uint32_t i = 0; i < n; i++) opens[i] = al[i]->handle;
    sim_say(s, "queue %u: make resident %u allocations (%u, %u ...), flags %x", q->id, n,
            n > 0 ? al[0]->id : 0, n > 1 ? al[1]->id : 0, flags);
    sim_observe_tables(s);
    struct model_answer a = model_make_resident(q, al, n, flags, &least);
    for (uint32_t i = 0; i < n; i++)
        dooms_of_body_open(s, al[i]->body);
    bool forced = (flags & 3u) == 3u;
    sd->memory_doom = forced && (s->injecting || (a.errors & MODEL_BIT(VIDMM_NO_MEMORY)) != 0);
    vidmm_status st = vidmm_make_resident(q->handle, opens, n, flags, &value, &trim);
    if (!sim_status(s, a, st)) {
        if (st == VIDMM_NO_MEMORY && !s->injecting && (trim == 0 || trim < least))
            sim_fail(s, "bytes to trim %llu, at least %llu", (unsigned long long)trim,
                     (unsigned long long)least);
        if (st == VIDMM_NO_MEMORY && forced &&
            vidmm_device_state(q->dev->handle) != VIDMM_DEVICE_OUT_OF_MEMORY)
            sim_fail(s, "MustSucceed has failed, and the device lives");
        return;
    }
    if ((st == VIDMM_OK) != (value == 0))
        sim_fail(s, "%s with value %llu", sim_status_name(st), (unsigned long long)value);
    sim_check(s, model_queue_issue(q, value));
    model_made_resident(q, al, n, value);
    world_trace(s->world, value);
}

static uint32_t choose_allocs(struct sim *s, struct model_device *d, struct model_alloc **out)
{
    uint32_t n = 0, want = 1 + (uint32_t)sim_below(s, sim_chance(s, 3) ? 6 : 2);
    for (uint32_t i = 0; i < want; i++) {
        struct model_alloc *al = pick_alloc(s, d);
        if (al != NULL) out[n++] = al;
    }
    if (n > 0 && sim_chance(s, 12)) out[n++] = out[0];
    return n;
}

static void op_resident(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct model_queue *q = pick_queue(s, d);
    struct model_alloc *al[16];
    if (q == NULL) return;
    uint32_t n = choose_allocs(s, d, al);
    if (sim_chance(s, 30)) { /* of another device */
        struct model_alloc *foreign = pick_alloc(s, pick_device(s));
        if (foreign != NULL) al[n++] = foreign;
    }
    uint32_t flags = sim_chance(s, 3) ? 0 : VIDMM_RESIDENT_CANT_TRIM_FURTHER;
    if (s->temper.faults && sim_chance(s, 40)) flags = (uint32_t)sim_below(s, 8);
    make_resident(s, q, al, n, flags);
}

static void op_evict(struct sim *s)
{
    struct model_device *d = pick_device(s);
    struct model_alloc *al[16];
    struct vidmm_open *opens[16];
    uint64_t trim = 0;
    if (d == NULL || d->lost) return;
    uint32_t n = choose_allocs(s, d, al), flags = sim_chance(s, 2) ? 0 : (uint32_t)sim_below(s, 4);
    for (uint32_t i = 0; i < n; i++) {
        if (al[i]->in_rings > 0) return; /* a client waits for what VidMm does not see */
        if ((flags & VIDMM_EVICT_NOT_WRITTEN_TO) && al[i]->written && !sim_chance(s, 8)) flags = 0;
        opens[i] = al[i]->handle;
    }
    if (sim_chance(s, 40)) flags |= 1u << sim_below(s, 8);
    sim_say(s, "device %u: evict %u allocations (%u, %u, %u, %u), flags %x", d->id, n, n > 0 ? al[0]->id : 0,
            n > 1 ? al[1]->id : 0, n > 2 ? al[2]->id : 0, n > 3 ? al[3]->id : 0, flags);
    struct model_answer a = model_evict(d, al, n, flags);
    if (!sim_status(s, a, vidmm_evict(d->handle, opens, n, flags, &trim))) return;
    uint64_t least = model_evicted(d, al, n, flags);
    if (trim < least)
        sim_fail(s, "bytes to trim %llu, at least %llu", (unsigned long long)trim, (unsigned long long)least);
}

static void op_budget(struct sim *s)
{
    struct model_process *p = pick_process(s);
    if (p == NULL || !sim_chance(s, 3)) return;
    p->budget = sim_chance(s, 2) ? s->model->budget : sim_below(s, 2 * s->model->budget);
    sim_say(s, "process %u: budget %llu", p->id, (unsigned long long)p->budget);
    vidmm_process_set_budget(p->handle, p->budget);
    struct vidmm_trim trim;
    bool told = vidmm_process_take_trim(p->handle, &trim);
    sim_check(s, model_budget_told(p, told, &trim));
}

/* ---- CPU access -------------------------------------------------------------------------------- */

bool lock_alloc(struct sim *s, struct model_alloc *al)
{
    void *cpu = NULL;
    sim_say(s, "lock allocation %u", al->id);
    vidmm_status st = vidmm_open_lock(al->handle, &cpu);
    if (!sim_status(s, model_lock(al), st)) return false;
    if (cpu == NULL) sim_fail(s, "a lock without an address");
    cpu = shared_host(s, al->dev->proc->id, cpu);
    if (al->imported && cpu != al->body->client) sim_fail(s, "client memory is locked at another address");
    if (al->locks > 0 && cpu != al->cpu) sim_fail(s, "the address of a lock has changed");
    if (st == VIDMM_OK && !vidmm_open_lock_ready(al->handle)) sim_fail(s, "OK, but not ready");
    if (st == VIDMM_PENDING && (al->segments & ~1u) == 0) sim_fail(s, "system memory has to be waited for");
    al->cpu = cpu;
    al->locks++;
    return true;
}

void unlock_alloc(struct sim *s, struct model_alloc *al)
{
    struct model_answer a = {0, true};
    sim_say(s, "unlock allocation %u", al->id);
    if (al->locks == 0) model_refuse(&a, VIDMM_INVALID);
    if (sim_status(s, a, vidmm_open_unlock(al->handle))) al->locks--;
}

static void op_lock(struct sim *s)
{
    struct model_alloc *al = pick_alloc(s, pick_device(s));
    if (al != NULL) (void)lock_alloc(s, al);
}

static void op_unlock(struct sim *s)
{
    struct model_alloc *al = pick_alloc(s, pick_device(s));
    if (al != NULL && (al->locks > 0 || sim_chance(s, 8))) unlock_alloc(s, al);
}

static struct model_alloc *pick_locked(struct sim *s)
{
    for (int i = 0; i < 4; i++) {
        struct model_alloc *al = pick_alloc(s, pick_device(s));
        bool usable = al != NULL && al->locks > 0 && al->in_flight == 0 && !al->dev->lost &&
                      !content_in_use(s, al);
        if (usable && vidmm_open_lock_ready(al->handle)) return al;
    }
    return NULL;
}

static void op_cpu_write(struct sim *s)
{
    struct model_alloc *al = pick_locked(s);
    if (al == NULL) return;
    uint64_t first = sim_below(s, al->pages), n = 1 + sim_below(s, 4);
    sim_say(s, "allocation %u: CPU writes pages %llu..", al->id, (unsigned long long)first);
    for (uint64_t i = first; i < first + n && i < al->pages; i++) {
        uint32_t pattern = s->next_pattern++;
        struct model_page *m = &al->page[i];
        *m = (struct model_page){.pattern = pattern, .head = sim_random(s)};
        fill_by_cpu((char *)al->cpu + i * PAGE, pattern, m->head);
    }
}

static void op_cpu_read(struct sim *s)
{
    struct model_alloc *al = pick_locked(s);
    if (al == NULL) return;
    uint64_t first = sim_below(s, al->pages), n = 1 + sim_below(s, 16);
    sim_say(s, "allocation %u: CPU reads pages %llu..", al->id, (unsigned long long)first);
    for (uint64_t i = first; i < first + n && i < al->pages; i++) {
        const char *at = (const char *)al->cpu + i * PAGE;
        if (page_equals(at, &al->page[i])) continue;
        uint64_t got[2];
        memcpy(got, at, sizeof(got));
        sim_fail(s, "allocation %u page %llu: the CPU reads %llx %llx, expected %llx %x", al->id,
                 (unsigned long long)i, (unsigned long long)got[0], (unsigned long long)got[1],
                 (unsigned long long)al->page[i].head, al->page[i].pattern);
    }
}

const struct sim_op ops_memory[] = {
    { "alloc", op_alloc, 8 },   { "memory", op_memory, 14 },      { "import", op_import, 2 },
    { "close", op_close, 5 },   { "priority", op_priority, 2 },   { "resident", op_resident, 16 },
    { "evict", op_evict, 6 },   { "budget", op_budget, 1 },       { "lock", op_lock, 4 },
    { "unlock", op_unlock, 4 }, { "cpu_write", op_cpu_write, 4 }, { "cpu_read", op_cpu_read, 4 },
    { NULL, NULL, 0 }
};
