/* SPDX-License-Identifier: MIT */
/* iommu.c - see iommu.h. Owns: IOTLB, device TLBs, page requests, which source is inside an access.
 * Calls: platform->sys_address. One lock over everything: a unit answers one request at a time.
 *
 * A source has at most one page request: its engine stands still until it is answered.
 *   NONE -page_request-> QUEUED -next_request-> TAKEN -respond-> NONE, or REFUSED -page_request-> NONE */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "softgpu/devmem.h"
#include "softgpu/iommu.h"
#include "softgpu/lock.h"

#define LEVELS_MAX 5u

struct entry {                  /* of a TLB; pasid 0: unused */
    uint64_t page, frame;
    uint32_t pasid;
    bool writable, dirty;
};

enum request_state { REQUEST_NONE, REQUEST_QUEUED, REQUEST_TAKEN, REQUEST_REFUSED };

struct request { enum request_state state; struct vidmm_page_request what; };

struct source {
    struct entry *tlb;
    uint64_t seq;               /* odd while inside an access */
    uint32_t pasid;             /* of that access */
    struct request request;
};

struct softgpu_iommu {
    struct gpu_lock lock;
    const struct vidmm_platform *platform;
    struct vidmm_iommu_unit unit;
    struct entry *iotlb;
    uint32_t iotlb_mask, tlb_mask, defects;
    struct source source[VIDMM_IOMMU_SOURCES];
    uint64_t directory;         /* frame; 0: none */
    uint64_t next_id;
    struct softgpu_iommu_stats stats;
    void (*verifier)(void *arg, uint32_t pasid, uint64_t va, uint64_t frame, bool write);
    void *verifier_arg;
};

/* ---- memory ------------------------------------------------------------------------------------ */

/* NULL: no memory there. */
static uint64_t *word_at(struct softgpu_iommu *u, uint64_t table, uint64_t index)
{
    uint8_t *page = u->platform->sys_address(u->platform->ctx, table >> VIDMM_PAGE_SHIFT);
    u->stats.references++;
    return page == NULL ? NULL : (uint64_t *)(void *)(page + index * 8);
}

static uint64_t read_word(struct softgpu_iommu *u, uint64_t table, uint64_t index)
{
    const uint64_t *at = word_at(u, table, index);
    return at == NULL ? 0 : devmem_load64(at);
}

/* Top-level table of a PASID, and how many levels. false: the PASID is blocked. */
static bool root_of(struct softgpu_iommu *u, uint32_t pasid, uint64_t *table, uint32_t *levels)
{
    if (u->directory == 0 || pasid == 0 || pasid > IOMMU_PASID_MAX) return false;
    uint64_t dir = read_word(u, u->directory << VIDMM_PAGE_SHIFT, pasid >> 6);
    if ((dir & 1) == 0) return false;
    uint64_t first = (uint64_t)(pasid & 63) * 8;
    if ((read_word(u, dir & IOMMU_ADDRESS, first) & 1) == 0) return false;
    uint64_t second = read_word(u, dir & IOMMU_ADDRESS, first + 2);
    *levels = 4 + (uint32_t)(second >> 2 & 1);
    *table = second & IOMMU_ADDRESS;
    return true;
}

static bool canonical(uint64_t va, uint32_t levels) { return va >> (11 + 9 * levels) == 0; /* user half */ }

/* Accessed and dirty, as the CPU's walker sets them: without losing a change that is made meanwhile. */
static bool mark(uint64_t *at, uint64_t old, uint64_t bits)
{
    if ((old & bits) == bits) return true;
    return __atomic_compare_exchange_n(at, &old, old | bits, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static enum vidmm_iommu_answer walk(struct softgpu_iommu *u, uint32_t pasid, uint64_t va, bool write,
                                    struct entry *out)
{
    uint64_t table, raw = 0;
    uint32_t levels;
    bool writable = true;
    u->stats.walks++;
    if (!root_of(u, pasid, &table, &levels) || !canonical(va, levels)) return VIDMM_IOMMU_FAULT;
    for (uint32_t level = levels; level-- > 0; table = raw & IOMMU_ADDRESS) {
        uint64_t *at = word_at(u, table, va >> (VIDMM_PAGE_SHIFT + 9 * level) & 511);
        raw = at == NULL ? 0 : devmem_load64(at);
        writable = writable && (raw & IOMMU_RW) != 0;
        if ((raw & (IOMMU_P | IOMMU_US)) != (IOMMU_P | IOMMU_US)) return VIDMM_IOMMU_MISSING;
        if (level == 0 && write && !writable) return VIDMM_IOMMU_MISSING;
        if (!mark(at, raw, IOMMU_A | (level == 0 && write ? IOMMU_D : 0u))) return VIDMM_IOMMU_MISSING;
    }
    *out = (struct entry){.page = va >> VIDMM_PAGE_SHIFT, .frame = (raw & IOMMU_ADDRESS) >> VIDMM_PAGE_SHIFT,
                          .pasid = pasid, .writable = writable, .dirty = write || (raw & IOMMU_D) != 0};
    return VIDMM_IOMMU_DONE;
}

/* ---- caches ------------------------------------------------------------------------------------ */

static struct entry *slot(struct entry *tlb, uint32_t mask, uint32_t pasid, uint64_t page)
{
    return &tlb[(page ^ page >> 9 ^ pasid * 0x9e37u) & mask];
}

/* Usable for this access? A first write has to set the dirty bit in memory. */
static bool serves(const struct entry *e, uint32_t pasid, uint64_t page, bool write)
{
    return e->pasid == pasid && e->page == page && (!write || (e->writable && e->dirty));
}

static void clear(struct entry *tlb, uint32_t mask, uint32_t pasid, uint64_t start, uint64_t end)
{
    for (uint32_t i = 0; i <= mask; i++) {
        uint64_t va = tlb[i].page << VIDMM_PAGE_SHIFT;
        bool hit = end == 0 || (va < end && va + VIDMM_PAGE_SIZE > start);
        if (hit && (pasid == 0 || tlb[i].pasid == pasid)) tlb[i].pasid = 0;
    }
}

static enum vidmm_iommu_answer lookup(struct softgpu_iommu *u, struct source *s, uint32_t pasid, uint64_t va,
                                      bool write, struct entry *out)
{
    uint64_t page = va >> VIDMM_PAGE_SHIFT;
    struct entry *own = slot(s->tlb, u->tlb_mask, pasid, page);
    struct entry *shared = slot(u->iotlb, u->iotlb_mask, pasid, page);
    u->stats.translations++;
    if (serves(own, pasid, page, write)) {
        u->stats.device_hits++;
        *out = *own;
        return VIDMM_IOMMU_DONE;
    }
    if (serves(shared, pasid, page, write)) {
        u->stats.iotlb_hits++;
    } else {
        enum vidmm_iommu_answer a = walk(u, pasid, va, write, out);
        if (a != VIDMM_IOMMU_DONE) return a;
        *shared = *out;
    }
    *own = *out = *shared;
    return VIDMM_IOMMU_DONE;
}

/* ---- engines ----------------------------------------------------------------------------------- */

static void enter(void *ctx, uint32_t source, uint32_t pasid)
{
    struct softgpu_iommu *u = ctx;
    lock_take(&u->lock);
    u->source[source].seq++;
    u->source[source].pasid = pasid;
    lock_drop(&u->lock);
}

static void leave(void *ctx, uint32_t source)
{
    struct softgpu_iommu *u = ctx;
    struct source *s = &u->source[source];
    lock_take(&u->lock);
    if ((s->seq & 1) != 0) s->seq++;
    lock_drop(&u->lock);
}

static void forget(void *ctx, uint32_t source)
{
    struct softgpu_iommu *u = ctx;
    lock_take(&u->lock);
    u->source[source].request.state = REQUEST_NONE;
    lock_drop(&u->lock);
}

static void used(void *ctx, uint32_t pasid, uint64_t va, uint64_t frame, bool write)
{
    struct softgpu_iommu *u = ctx;
    if (u->verifier != NULL) u->verifier(u->verifier_arg, pasid, va, frame, write);
}

static enum vidmm_iommu_answer translate(void *ctx, uint32_t source, uint32_t pasid, uint64_t va, bool write,
                                         struct vidmm_iommu_page *out)
{
    struct softgpu_iommu *u = ctx;
    struct entry e = {0};
    lock_take(&u->lock);
    enum vidmm_iommu_answer a = lookup(u, &u->source[source], pasid, va, write, &e);
    lock_drop(&u->lock);
    if (a != VIDMM_IOMMU_DONE) return a;
    out->frame = e.frame;
    out->host = u->platform->sys_address(u->platform->ctx, e.frame);
    if (out->host != NULL) return VIDMM_IOMMU_DONE;
    used(u, pasid, va, e.frame, write); /* nobody's memory any more */
    return VIDMM_IOMMU_FAULT;
}

/* The PASID is looked at again when the request is queued: none may come in behind a teardown. */
static enum vidmm_iommu_answer ask(struct softgpu_iommu *u, struct request *r, uint32_t pasid, uint64_t va,
                                   bool write)
{
    uint64_t table, page = align_down(va, VIDMM_PAGE_SIZE);
    uint32_t levels;
    bool same = r->what.pasid == pasid && r->what.va == page && r->what.write == write;
    bool refused = r->state == REQUEST_REFUSED, open = r->state != REQUEST_NONE && !refused;
    if (open && same) return VIDMM_IOMMU_PENDING;
    r->state = REQUEST_NONE;
    if ((refused && same) || !root_of(u, pasid, &table, &levels)) return VIDMM_IOMMU_FAULT;
    *r = (struct request){REQUEST_QUEUED, {++u->next_id, page, pasid, write}};
    u->stats.requests++;
    return VIDMM_IOMMU_PENDING;
}

static enum vidmm_iommu_answer page_request(void *ctx, uint32_t source, uint32_t pasid, uint64_t va,
                                            bool write)
{
    struct softgpu_iommu *u = ctx;
    lock_take(&u->lock);
    enum vidmm_iommu_answer a = ask(u, &u->source[source].request, pasid, va, write);
    lock_drop(&u->lock);
    return a;
}

/* ---- the operating system ---------------------------------------------------------------------- */

static void set_directory(void *ctx, uint64_t frame)
{
    struct softgpu_iommu *u = ctx;
    lock_take(&u->lock);
    u->directory = frame;
    lock_drop(&u->lock);
}

/* The unit's cache first: a device TLB that was cleared before could fill itself from it again. */
static void invalidate(void *ctx, uint32_t pasid, uint64_t start, uint64_t end, struct vidmm_iommu_wait *w)
{
    struct softgpu_iommu *u = ctx;
    lock_take(&u->lock);
    u->stats.invalidations++;
    w->busy = 0;
    clear(u->iotlb, u->iotlb_mask, pasid, start, end);
    for (uint32_t i = 0; i < VIDMM_IOMMU_SOURCES; i++) {
        struct source *s = &u->source[i];
        if ((u->defects & IOMMU_KEEPS_DEVICE_TLB) == 0) clear(s->tlb, u->tlb_mask, pasid, start, end);
        w->seq[i] = s->seq;
        bool inside = (s->seq & 1) != 0 && (pasid == 0 || s->pasid == pasid);
        if (inside && (u->defects & IOMMU_NO_DRAIN) == 0) w->busy |= 1u << i;
    }
    lock_drop(&u->lock);
}

static bool invalidated(void *ctx, struct vidmm_iommu_wait *w)
{
    struct softgpu_iommu *u = ctx;
    lock_take(&u->lock);
    for (uint32_t i = 0; i < VIDMM_IOMMU_SOURCES; i++)
        if (u->source[i].seq != w->seq[i]) w->busy &= ~(1u << i);
    lock_drop(&u->lock);
    return w->busy == 0;
}

static struct request *find(struct softgpu_iommu *u, enum request_state state, uint64_t id)
{
    struct request *oldest = NULL;
    for (uint32_t i = 0; i < VIDMM_IOMMU_SOURCES; i++) {
        struct request *r = &u->source[i].request;
        if (r->state != state || (id != 0 && r->what.id != id)) continue;
        if (oldest == NULL || r->what.id < oldest->what.id) oldest = r;
    }
    return oldest;
}

static bool next_request(void *ctx, struct vidmm_page_request *out)
{
    struct softgpu_iommu *u = ctx;
    lock_take(&u->lock);
    struct request *r = find(u, REQUEST_QUEUED, 0);
    if (r != NULL) {
        r->state = REQUEST_TAKEN;
        *out = r->what;
    }
    lock_drop(&u->lock);
    return r != NULL;
}

static void respond(void *ctx, uint64_t id, bool there)
{
    struct softgpu_iommu *u = ctx;
    lock_take(&u->lock);
    struct request *r = find(u, REQUEST_TAKEN, id); /* NULL: its engine was reset */
    if (r != NULL) r->state = there ? REQUEST_NONE : REQUEST_REFUSED;
    lock_drop(&u->lock);
}

static bool requests_open(void *ctx, uint32_t pasid)
{
    struct softgpu_iommu *u = ctx;
    bool any = false;
    lock_take(&u->lock);
    for (uint32_t i = 0; i < VIDMM_IOMMU_SOURCES; i++) {
        const struct request *r = &u->source[i].request;
        any |= (r->state == REQUEST_QUEUED || r->state == REQUEST_TAKEN) && r->what.pasid == pasid;
    }
    lock_drop(&u->lock);
    return any;
}

static void set_verifier(void *ctx,
                         void (*fn)(void *arg, uint32_t pasid, uint64_t va, uint64_t frame, bool write),
                         void *arg)
{
    struct softgpu_iommu *u = ctx;
    u->verifier = fn;
    u->verifier_arg = arg;
}

/* ---- making ------------------------------------------------------------------------------------ */

vidmm_status softgpu_iommu_create(const struct softgpu_iommu_options *o, struct softgpu_iommu **out)
{
    uint32_t iotlb_bits = o->iotlb_bits != 0 ? o->iotlb_bits : 8;
    uint32_t tlb_bits = o->device_tlb_bits != 0 ? o->device_tlb_bits : 6;
    if (o->platform == NULL || iotlb_bits > 20 || tlb_bits > 20) return VIDMM_INVALID;
    struct softgpu_iommu *u = calloc(1, sizeof(*u));
    if (u == NULL) return VIDMM_NO_MEMORY;
    lock_init(&u->lock);
    u->platform = o->platform;
    u->defects = o->defects;
    u->iotlb_mask = (1u << iotlb_bits) - 1;
    u->tlb_mask = (1u << tlb_bits) - 1;
    u->iotlb = calloc(1u << iotlb_bits, sizeof(*u->iotlb));
    bool ok = u->iotlb != NULL;
    for (uint32_t i = 0; i < VIDMM_IOMMU_SOURCES; i++) {
        u->source[i].tlb = calloc(1u << tlb_bits, sizeof(struct entry));
        ok = ok && u->source[i].tlb != NULL;
    }
    u->unit = (struct vidmm_iommu_unit){
        .ctx = u, .enter = enter, .leave = leave, .forget = forget, .translate = translate,
        .page_request = page_request, .used = used, .set_directory = set_directory, .invalidate = invalidate,
        .invalidated = invalidated, .next_request = next_request, .respond = respond,
        .requests_open = requests_open, .set_verifier = set_verifier};
    if (ok) *out = u;
    else softgpu_iommu_destroy(u);
    return ok ? VIDMM_OK : VIDMM_NO_MEMORY;
}

void softgpu_iommu_destroy(struct softgpu_iommu *u)
{
    if (u == NULL) return;
    for (uint32_t i = 0; i < VIDMM_IOMMU_SOURCES; i++) free(u->source[i].tlb);
    free(u->iotlb);
    lock_fini(&u->lock);
    free(u);
}

const struct vidmm_iommu_unit *softgpu_iommu_unit(struct softgpu_iommu *u) { return &u->unit; }

void softgpu_iommu_get_stats(struct softgpu_iommu *u, struct softgpu_iommu_stats *out)
{
    lock_take(&u->lock);
    *out = u->stats;
    lock_drop(&u->lock);
}
