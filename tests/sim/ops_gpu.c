/* SPDX-License-Identifier: MIT */
/* ops_gpu.c - packets: what the GPU is made to read and write, in which order, and what it must have seen.
 * A packet touches only what the model says is mapped and resident when it runs: where that is still to
 * come, the context waits for the paging fence first. Content in the model changes at the submission: a page
 * in use by one context is touched by another one only behind a fence. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#define WAITS_MAX 6u
#define WORDS_MAX 96u
#define CHANGES_MAX 64u
#define CHECK_OFFSET (SLOT_BYTES / 2)

static unsigned long long ull(uint64_t v) { return v; }

/* ---- packets in flight ------------------------------------------------------------------------- */

static void drop_packet(struct sim_context *c, bool finished)
{
    struct sim_device *sd = sim_of(c->dev);
    struct packet *p = &c->packet[c->head];
    for (uint32_t i = 0; finished && i < p->touched; i++) {
        if (p->alloc[i]->in_flight > 0) p->alloc[i]->in_flight--;
        if (c->ring != NULL && p->alloc[i]->in_rings > 0) p->alloc[i]->in_rings--;
    }
    if (p->zero && sd->zero_in_flight > 0) sd->zero_in_flight--;
    if (p->kind == PACKET_EXEC) sd->slots &= ~(1u << p->slot);
    c->head = (c->head + 1) % PACKETS_MAX;
    c->count--;
}

void context_forget(struct sim *s, struct sim_context *c)
{
    (void)s;
    while (c->count > 0) drop_packet(c, false);
}

static void check_packet(struct sim *s, const struct sim_context *c, const struct packet *p)
{
    for (uint32_t i = 0; i < p->checks; i++) { /* without a check there may be no buffer either */
        const uint8_t *slot = sim_of(c->dev)->buffer_cpu + (uint32_t)p->slot * SLOT_BYTES;
        uint64_t got;
        memcpy(&got, slot + p->check[i].offset, sizeof(got));
        if (p->check[i].open || got == p->check[i].expect) continue;
        sim_fail(s, "packet %llu of context %u (device %u): read %llx, expected %llx", ull(p->seq), c->id,
                 c->dev->id, ull(got), ull(p->check[i].expect));
    }
}

uint32_t context_pending(const struct sim_context *c)
{
    return c->queue != NULL ? hw_pending(c) : vidmm_context_pending(c->core);
}

/* The newest packet that is known to be done: a signal whose value is there, or the last one of an idle
 * context. (Waits leave a context before the packets ahead of them have finished: their number tells
 * nothing. The entries of a hardware queue retire in order.) */
static uint64_t newest_done(const struct sim_context *c, uint32_t pending, uint64_t value)
{
    uint64_t seq = 0;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct packet *p = &c->packet[(c->head + i) % PACKETS_MAX];
        bool retired = pending == 0 || (c->queue != NULL && i + pending < c->count);
        if (retired || (p->kind == PACKET_SIGNAL && p->value <= value)) seq = p->seq;
    }
    return seq;
}

void context_seen(struct sim *s, struct sim_context *c)
{
    uint32_t pending = context_pending(c);
    uint64_t value = vidmm_fence_value(c->fence);
    if (pending > c->count)
        sim_fail(s, "context %u: %u packets pending, %u were queued", c->id, pending, c->count);
    if (value < c->fence_seen || value > c->fence_issued)
        sim_fail(s, "context %u: its fence is at %llu, was %llu, issued %llu", c->id, ull(value),
                 ull(c->fence_seen), ull(c->fence_issued));
    c->fence_seen = value;
    if (c->queue != NULL) hw_seen(s, c, pending);
    for (uint64_t done = newest_done(c, pending, value); c->count > 0 && c->packet[c->head].seq <= done;) {
        struct packet *p = &c->packet[c->head];
        if (p->kind == PACKET_EXEC) check_packet(s, c, p);
        if (p->kind == PACKET_SIGNAL && p->value > value)
            sim_fail(s, "context %u: signal %llu is done, the fence at %llu", c->id, ull(p->value),
                     ull(value));
        s->done[c->id] = p->seq;
        drop_packet(c, true);
    }
    if (pending > c->count) sim_fail(s, "context %u: signalled %llu before older work", c->id, ull(value));
}

static struct packet *push(struct sim *s, struct sim_context *c, enum packet_kind kind)
{
    struct packet *p = &c->packet[(c->head + c->count++) % PACKETS_MAX];
    memset(p, 0, sizeof(*p));
    p->kind = kind;
    p->seq = ++s->seq;
    return p;
}

struct packet *context_push(struct sim *s, struct sim_context *c) { return push(s, c, PACKET_EXEC); }
struct packet *context_push_sync(struct sim *s, struct sim_context *c) { return push(s, c, PACKET_WAIT); }

bool queue_wait(struct sim *s, struct sim_context *c, struct vidmm_fence *f, uint64_t value,
                       uint32_t flags)
{
    struct model_answer a = model_sync(c->dev, flags, VIDMM_FENCE_NO_WAIT, 1);
    bool taken = c->queue != NULL ? hw_wait(s, c, &f, &value, 1, flags)
                                  : sim_status(s, a, vidmm_context_wait(c->core, &f, &value, 1));
    if (!taken) return false;
    (void)push(s, c, PACKET_WAIT);
    return true;
}

/* Behind everything the context was given; seen by the fence alone. */
bool queue_raise(struct sim *s, struct sim_context *c, struct vidmm_fence *f, uint64_t value)
{
    struct model_answer a = model_sync(c->dev, 0, VIDMM_FENCE_NO_SIGNAL, 1);
    if (!sim_status(s, a, vidmm_context_signal(c->core, &f, &value, 1))) return false;
    (void)push(s, c, PACKET_WAIT);
    return true;
}

bool context_signal(struct sim *s, struct sim_context *c)
{
    uint64_t value = c->fence_issued + 1;
    struct model_answer a = model_sync(c->dev, 0, VIDMM_FENCE_NO_SIGNAL, 1);
    if (c->ring != NULL) return true; /* its progress fence, with every entry */
    bool taken = c->queue != NULL ? hw_signal(s, c, &c->fence, &value, 1, 0)
                                  : sim_status(s, a, vidmm_context_signal(c->core, &c->fence, &value, 1));
    if (!taken) return false;
    c->fence_issued = value;
    push(s, c, PACKET_SIGNAL)->value = value;
    return true;
}

/* ---- a packet in the making -------------------------------------------------------------------- */

struct making {
    struct sim *s;
    struct sim_context *c;
    struct packet p;
    uint64_t word[WORDS_MAX], seq;
    uint32_t words, waits;
    bool own;                         /* the command buffer is meant */
    uint32_t changes;
    struct { struct model_page *page, old; } change[CHANGES_MAX];
    struct { struct model_queue *queue; uint64_t value; } wait[WAITS_MAX];
};

static bool need(struct making *k, struct model_queue *q, uint64_t value)
{
    if (model_reached(q, value)) return true;
    for (uint32_t i = 0; i < k->waits; i++)
        if (k->wait[i].queue == q && k->wait[i].value >= value) return true;
    if (q->dev != k->c->dev) return false; /* a device that ends satisfies those who wait for its fences */
    if (q->dead || k->waits == WAITS_MAX) return false;
    k->wait[k->waits].queue = q;
    k->wait[k->waits++].value = value;
    return true;
}

static bool note(struct making *k, struct model_alloc *al)
{
    for (uint32_t i = 0; i < k->p.touched; i++)
        if (k->p.alloc[i] == al) return true;
    if (k->p.touched == TOUCHED_MAX) return false;
    k->p.alloc[k->p.touched++] = al;
    return true;
}

static bool page_is_ours(const struct making *k, const struct model_page *m)
{
    if (m->busy_context == 0 || m->busy_context == k->c->id + 1) return true;
    return k->s->done[m->busy_context - 1] >= m->busy_until;
}

/* Can the packet touch this page when it runs? *to: its content, NULL for zero pages. */
static bool usable(struct making *k, uint64_t va, bool write, struct model_page **to)
{
    const struct model_device *d = k->c->dev;
    const struct model_piece *x = model_find(context_space(k->c), va);
    *to = NULL;
    if (x == NULL || x->open || x->internal || x->blurred) return false;
    if (x->content == MODEL_ZERO) return model_gpu(d, k->c->gpu, va, write) == MODEL_WORKS;
    if (x->content != MODEL_ALLOC || x->alloc->dev != d || x->alloc->dying) return false;
    if (x->alloc->count == 0 || x->alloc->offer != 0) return false;
    bool denied = d->proc->model->config.gpu[k->c->gpu].read_only &&
                  ((x->prot & VIDMM_PROT_WRITE) == 0 || x->alloc->read_only);
    if ((write && denied) || (x->alloc->keep && !k->own)) return false;
    *to = model_page(x, va);
    if (!page_is_ours(k, *to)) return false;
    return need(k, x->queue, x->value) && need(k, x->alloc->queue, x->alloc->value) && note(k, x->alloc);
}

static bool begin(struct making *k, struct sim *s, struct sim_context *c)
{
    struct sim_device *sd = sim_of(c->dev);
    struct model_page *unused;
    memset(k, 0, sizeof(*k));
    k->s = s;
    k->c = c;
    k->seq = s->seq + WAITS_MAX + 2; /* no smaller than the packet's */
    if (c->dev->lost || sd->buffer_va == 0 || c->count + WAITS_MAX + 2 > PACKETS_MAX ||
        sd->slots == UINT32_MAX || !hw_ready(c))
        return false;
    k->p.slot = __builtin_ctz(~sd->slots);
    k->own = true;
    bool ready = usable(k, sd->buffer_va, true, &unused);
    k->own = false;
    return ready;
}

static uint64_t slot_va(const struct making *k)
{
    return sim_of(k->c->dev)->buffer_va + (uint32_t)k->p.slot * SLOT_BYTES;
}

static void mark(struct making *k, struct model_page *m)
{
    if (m == NULL) {
        k->p.zero = true;
        return;
    }
    m->busy_context = k->c->id + 1;
    m->busy_until = k->seq;
}

/* A run of pages the packet can touch, from `va` on. */
static uint64_t run_of(struct making *k, uint64_t va, uint64_t most, bool write)
{
    struct model_page *m;
    uint64_t n = 0;
    while (n < most && usable(k, va + n * PAGE, write, &m)) n++;
    return n;
}

static bool pick_va(struct making *k, uint64_t *va)
{
    const struct model_space *sp = context_space(k->c);
    for (int i = 0; i < 12; i++) {
        const struct model_piece *x = &sp->piece[sim_below(k->s, sp->piece_count)];
        bool other = x->content == MODEL_ALLOC && (x->alloc->dev != k->c->dev || x->alloc->keep);
        if (x->internal || other || (x->content != MODEL_ALLOC && x->content != MODEL_ZERO)) continue;
        *va = x->start + sim_below(k->s, (x->end - x->start) / PAGE) * PAGE;
        return true;
    }
    return false;
}

static struct model_page *content_at(const struct making *k, uint64_t va)
{
    const struct model_piece *x = model_find(context_space(k->c), va);
    return x->content == MODEL_ALLOC ? model_page(x, va) : NULL;
}

static void set_content(struct making *k, uint64_t va, struct model_page content)
{
    const struct model_piece *x = model_find(context_space(k->c), va);
    struct model_page *m = content_at(k, va);
    if (m != NULL && k->changes < CHANGES_MAX) {
        k->change[k->changes].old = *m;
        k->change[k->changes++].page = m;
    }
    mark(k, m);
    if (m == NULL) return; /* writes to zero pages vanish */
    x->alloc->written = true;
    m->pattern = content.pattern;
    m->head = content.head;
    m->unknown = content.unknown;
}

/* ---- commands ---------------------------------------------------------------------------------- */

static void add_fill(struct making *k)
{
    uint64_t va, n;
    if (!pick_va(k, &va) || (n = run_of(k, va, 1 + sim_below(k->s, 8), true)) == 0) return;
    uint32_t pattern = k->s->next_pattern++;
    sim_say(k->s, "  fill %llx, %llu pages with %x", ull(va), ull(n), pattern);
    k->words += ref_emit_fill(k->word + k->words, va, pattern, n * PAGE);
    for (uint64_t i = 0; i < n; i++)
        set_content(k, va + i * PAGE, (struct model_page){.pattern = pattern,
                                                          .head = pattern | (uint64_t)pattern << 32});
}

static bool same_page_twice(struct making *k, uint64_t dst, uint64_t src, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        for (uint64_t j = 0; j < n; j++) {
            const struct model_page *a = content_at(k, dst + i * PAGE), *b = content_at(k, src + j * PAGE);
            if (a != NULL && a == b) return true;
            if (a != NULL && i != j && a == content_at(k, dst + j * PAGE)) return true;
        }
    return false;
}

static void add_copy(struct making *k)
{
    uint64_t dst, src, n;
    if (!pick_va(k, &dst) || !pick_va(k, &src)) return;
    n = run_of(k, dst, 1 + sim_below(k->s, 8), true);
    n = run_of(k, src, n, false);
    if (n == 0 || same_page_twice(k, dst, src, n)) return;
    sim_say(k->s, "  copy %llx from %llx, %llu pages", ull(dst), ull(src), ull(n));
    k->words += ref_emit_copy(k->word + k->words, dst, src, n * PAGE);
    for (uint64_t i = 0; i < n; i++) {
        struct model_page *from = content_at(k, src + i * PAGE), zero = {0};
        mark(k, from);
        set_content(k, dst + i * PAGE, from != NULL ? *from : zero);
    }
}

static void expect(struct making *k, uint64_t value, bool open)
{
    uint32_t i = k->p.checks++;
    k->p.check[i].offset = CHECK_OFFSET + i * 8;
    k->p.check[i].expect = value;
    k->p.check[i].open = open;
}

static uint64_t word_of(const struct model_page *m, uint64_t index)
{
    if (m == NULL) return 0;
    return index == 0 ? m->head : m->pattern | (uint64_t)m->pattern << 32;
}

static void add_read(struct making *k)
{
    uint64_t va, at = sim_chance(k->s, 3) ? 0 : sim_below(k->s, PAGE / 8);
    if (k->p.checks == 4 || !pick_va(k, &va) || run_of(k, va, 1, false) == 0) return;
    struct model_page *m = content_at(k, va);
    sim_say(k->s, "  read %llx", ull(va + at * 8));
    k->words += ref_emit_copy(k->word + k->words, slot_va(k) + CHECK_OFFSET + k->p.checks * 8, va + at * 8,
                              8);
    expect(k, word_of(m, at), m != NULL && m->unknown);
    mark(k, m);
}

static uint64_t sum_of(struct making *k, uint64_t va, uint64_t n, bool *open)
{
    static const uint64_t odd = 0x9e3779b97f4a7c15ull;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        const struct model_page *m = content_at(k, va + i * PAGE);
        if (m != NULL) *open |= m->unknown;
        for (uint64_t w = 0; w < PAGE / 8; w++) {
            sum = (sum ^ word_of(m, w)) * odd;
            sum ^= sum >> 32;
        }
    }
    return sum;
}

static void add_sum(struct making *k)
{
    uint64_t va, n;
    bool open = false;
    if (k->p.checks == 4 || !pick_va(k, &va)) return;
    n = run_of(k, va, 1 + sim_below(k->s, 4), false);
    if (n == 0) return;
    sim_say(k->s, "  checksum %llx, %llu pages", ull(va), ull(n));
    k->words += ref_emit_checksum(k->word + k->words, va, n * PAGE,
                                  slot_va(k) + CHECK_OFFSET + k->p.checks * 8);
    uint64_t sum = sum_of(k, va, n, &open);
    expect(k, sum, open);
    for (uint64_t i = 0; i < n; i++) mark(k, content_at(k, va + i * PAGE));
}

static void add_word(struct making *k)
{
    uint64_t va, value = sim_random(k->s);
    if (!pick_va(k, &va) || run_of(k, va, 1, true) == 0) return;
    struct model_page *m = content_at(k, va), content = {0};
    bool add = sim_chance(k->s, 2);
    if (m != NULL) content = *m;
    content.head = add ? content.head + value : value;
    sim_say(k->s, "  %s %llx, %llx", add ? "add" : "write", ull(va), ull(value));
    k->words += (add ? ref_emit_add64 : ref_emit_write64)(k->word + k->words, va, value);
    set_content(k, va, content);
}

/* ---- submission -------------------------------------------------------------------------------- */

static bool take_back(struct making *k)
{
    for (; k->changes > 0; k->changes--) *k->change[k->changes - 1].page = k->change[k->changes - 1].old;
    return false;
}

static struct vidmm_fence *fence_of(const struct model_queue *q)
{
    return q->fence != NULL ? q->fence : vidmm_queue_fence(q->handle);
}

/* What has to be there first: one packet each; one entry of a hardware queue; commands in a ring. A wait
 * inside commands is what a timeout is for: with timeouts a ring gets no work that has to wait. */
static bool submit_waits(struct making *k, uint64_t *in_ring, uint32_t *words)
{
    struct sim *s = k->s;
    struct sim_context *c = k->c;
    struct vidmm_fence *fence[WAITS_MAX];
    uint64_t value[WAITS_MAX];
    for (uint32_t i = 0; i < k->waits; i++) {
        fence[i] = fence_of(k->wait[i].queue);
        value[i] = k->wait[i].value;
        sim_say(s, "  context %u waits for queue %u, value %llu", c->id, k->wait[i].queue->id, ull(value[i]));
        if (c->ring != NULL)
            *words += ref_emit_fence_wait(in_ring + *words, vidmm_fence_gpu_address(fence[i]), value[i]);
        else if (c->queue == NULL && !queue_wait(s, c, fence[i], value[i], 0)) return false;
    }
    if (c->queue == NULL || k->waits == 0) return true;
    if (c->ring != NULL) return !s->temper.hangs;
    if (hw_wait(s, c, fence, value, k->waits, 0)) return push(s, c, PACKET_WAIT) != NULL;
    return false;
}

static bool hand_over(struct making *k, uint32_t words, uint64_t *progress)
{
    struct model_answer a = {0, true};
    if (k->c->queue != NULL) return hw_hand_over(k->s, k->c, slot_va(k), words * 8, progress);
    return sim_status(k->s, a, vidmm_context_submit(k->c->core, slot_va(k), words * 8, NULL, 0, 0));
}

static bool submit(struct making *k)
{
    struct sim *s = k->s;
    struct sim_context *c = k->c;
    struct sim_device *sd = sim_of(c->dev);
    uint64_t all[WAITS_MAX * REF_WORDS_MAX + WORDS_MAX], progress = 0;
    uint32_t words = 0;
    if (!submit_waits(k, all, &words)) return take_back(k);
    uint8_t *slot = sd->buffer_cpu + (uint32_t)k->p.slot * SLOT_BYTES;
    k->words += ref_emit_end(k->word + k->words);
    memcpy(all + words, k->word, k->words * 8);
    memset(slot + CHECK_OFFSET, 0xee, 64);
    memcpy(slot, all, (words + k->words) * 8);
    sim_say(s, "context %u of device %u: submit at %llx%s", c->id, c->dev->id, ull(slot_va(k)),
            c->ring != NULL ? " by its ring" : c->queue != NULL ? " in its hardware queue" : "");
    if (!hand_over(k, words + k->words, &progress)) return take_back(k);
    struct packet *p = push(s, c, PACKET_EXEC);
    uint64_t seq = p->seq;
    *p = k->p;
    p->kind = PACKET_EXEC;
    p->seq = seq;
    p->progress = progress;
    sd->ring_waits |= c->ring != NULL && k->waits > 0;
    sd->slots |= 1u << p->slot;
    if (p->zero) sd->zero_in_flight++;
    for (uint32_t i = 0; i < p->touched; i++) {
        p->alloc[i]->in_flight++;
        p->alloc[i]->in_rings += c->ring != NULL;
    }
    return true;
}

struct sim_context *virtual_context(const struct model_device *d)
{
    for (uint32_t i = 0; i < sim_of(d)->context_count; i++)
        if (!sim_of(d)->context[i]->physical && sim_of(d)->context[i]->core != NULL)
            return sim_of(d)->context[i];
    return NULL;
}

struct sim_context *virtual_context_on(const struct model_device *d, uint32_t gpu)
{
    for (uint32_t i = 0; i < sim_of(d)->context_count; i++) {
        struct sim_context *c = sim_of(d)->context[i];
        if (!c->physical && c->core != NULL && c->gpu == gpu) return c;
    }
    return NULL;
}

struct sim_context *pick_worker(struct sim *s, struct model_device *d)
{
    if (d == NULL || d->lost || sim_of(d)->context_count == 0) return NULL;
    struct sim_context *c = sim_of(d)->context[sim_below(s, sim_of(d)->context_count)];
    return c->physical ? virtual_context(d) : c;
}

struct sim_context *pick_context(struct sim *s, struct model_device *d)
{
    struct sim_context *c = pick_worker(s, d);
    return c != NULL && c->queue != NULL ? virtual_context(d) : c;
}

static void add_commands(struct making *k, uint32_t n)
{
    for (uint32_t i = 0; i < n && k->words + 16 < WORDS_MAX; i++) {
        switch (sim_below(k->s, 8)) {
        case 0: case 1: add_fill(k); break;
        case 2: case 3: add_copy(k); break;
        case 4: case 5: add_read(k); break;
        case 6: add_sum(k); break;
        default: add_word(k); break;
        }
    }
}

void give_work(struct sim *s, struct sim_context *c)
{
    struct making k;
    if (!begin(&k, s, c)) return;
    add_commands(&k, 1 + (uint32_t)sim_below(s, 5));
    if (k.words == 0 || !submit(&k)) return;
    if (!sim_chance(s, 4) && c->count < PACKETS_MAX) (void)context_signal(s, c);
}

static void op_submit(struct sim *s)
{
    struct sim_context *c = pick_worker(s, pick_live_device(s));
    if (c != NULL) give_work(s, c);
}

/* One context behind another one of the device: what that one used, this one may use. */
static void op_order(struct sim *s)
{
    struct model_device *d = pick_live_device(s);
    struct sim_context *a = pick_worker(s, d), *b = pick_worker(s, d);
    if (a == NULL || b == NULL || a == b || b->ring != NULL) return;
    if (a->count + 2 > PACKETS_MAX || b->count + 2 > PACKETS_MAX) return;
    sim_say(s, "context %u waits for context %u", b->id, a->id);
    if (!context_signal(s, a) || !queue_wait(s, b, a->fence, a->fence_issued, 0)) return;
    for (uint32_t i = 0; i < d->alloc_count; i++)
        for (uint64_t n = 0; n < d->alloc[i]->pages; n++) {
            struct model_page *m = &d->alloc[i]->page[n];
            if (m->busy_context != a->id + 1) continue;
            m->busy_context = b->id + 1;
            m->busy_until = s->seq;
        }
}

static void op_wait(struct sim *s)
{
    struct model_device *d = pick_live_device(s);
    struct sim_context *c = pick_worker(s, d);
    if (c == NULL || c->ring != NULL || sim_of(d)->fence_count == 0 || c->count == PACKETS_MAX) return;
    struct sim_fence *f = &sim_of(d)->fence[sim_below(s, sim_of(d)->fence_count)];
    uint64_t value = f->issued + sim_below(s, 3);
    sim_say(s, "context %u waits for fence %u, value %llu", c->id, f->id, ull(value));
    if (!queue_wait(s, c, f->core, value, f->flags)) return;
    if (value > f->awaited) f->awaited = value;
    if ((f->flags & VIDMM_FENCE_NO_SIGNAL) != 0 && value > f->issued) {
        sim_say(s, "  nobody can signal it: it is destroyed");
        vidmm_fence_destroy(f->core);
        *f = sim_of(d)->fence[--sim_of(d)->fence_count];
    }
}

static void op_sync_nasty(struct sim *s)
{
    struct model_device *d = pick_device(s);
    if (d == NULL || virtual_context(d) == NULL || sim_of(d)->fence_count == 0) return;
    struct sim_context *c = virtual_context(d);
    struct sim_fence *f = &sim_of(d)->fence[0];
    struct vidmm_fence *many[40];
    uint64_t value[40] = {0};
    for (uint32_t i = 0; i < 40; i++) many[i] = f->core;
    uint32_t n = sim_chance(s, 2) ? 0 : 33;
    sim_say(s, "context %u: wait for and signal of %u fences", c->id, n);
    (void)sim_status(s, model_sync(d, f->flags, VIDMM_FENCE_NO_WAIT, n),
                     vidmm_context_wait(c->core, many, value, n));
    (void)sim_status(s, model_sync(d, f->flags, VIDMM_FENCE_NO_SIGNAL, n),
                     vidmm_context_signal(c->core, many, value, n));
    sim_say(s, "context %u: submit with wrong flags", c->id);
    struct model_answer a = {MODEL_BIT(VIDMM_INVALID), false};
    if (d->lost) a.errors |= MODEL_BIT(VIDMM_DEVICE_LOST);
    (void)sim_status(s, a, vidmm_context_submit(c->core, 0x10000, 8, NULL, 0, 1u << 20));
}

/* ---- deliberate ends --------------------------------------------------------------------------- */

static uint64_t doom_address(struct sim *s, const struct model_space *sp)
{
    const struct model_piece *x = &sp->piece[sim_below(s, sp->piece_count)];
    switch (sim_below(s, 3)) {
    case 0: return x->end;
    case 1: return sim_below(s, 1ull << (s->model->config.va_bits - 12)) * PAGE;
    default: return x->start + sim_below(s, (x->end - x->start) / PAGE) * PAGE;
    }
}

/* A read of what must fault; or a write to what may be read: then the mapping is in use until it is over. */
static bool doom_at(struct making *k, uint64_t va, bool *write)
{
    const struct model_device *d = k->c->dev;
    const struct model_piece *x = model_find(context_space(k->c), va);
    struct model_page *unused;
    *write = false;
    if (model_gpu(d, k->c->gpu, va, false) == MODEL_FAULTS) return true;
    *write = model_gpu(d, k->c->gpu, va, true) == MODEL_FAULTS && usable(k, va, false, &unused);
    return *write && x->content == MODEL_ALLOC;
}

/* What nobody promised to be there: memory that others have resident, or that has been evicted, freed,
 * remapped. The read may fault, and changes nothing; but through whatever translation it goes, the device
 * model reports one that outlived the page (sim_verify). */
static void op_stray(struct sim *s)
{
    struct model_device *d = pick_live_device(s);
    struct sim_context *c = pick_worker(s, d);
    struct making k;
    if (!s->temper.faults || c == NULL || sim_of(d)->doomed || !begin(&k, s, c)) return;
    struct sim_device *sd = sim_of(d);
    uint64_t va = doom_address(s, context_space(c));
    if (va == 0 || model_gpu(d, c->gpu, va, false) != MODEL_OPEN) return;
    sim_say(s, "  read %llx, which may fault", ull(va));
    k.words += ref_emit_copy(k.word + k.words, slot_va(&k) + SLOT_BYTES - 8, va, 8);
    sd->doom_va = va;
    sd->doom_body = NULL;
    if (submit(&k)) sd->doomed = sd->doom_open = true;
}

static void op_doom(struct sim *s)
{
    struct model_device *d = pick_live_device(s);
    struct sim_context *c = pick_worker(s, d);
    struct making k;
    bool write, doomed;
    if (!s->temper.faults || !sim_chance(s, 3) || c == NULL || sim_of(d)->doomed || !begin(&k, s, c)) return;
    add_commands(&k, (uint32_t)sim_below(s, 3));
    struct sim_device *sd = sim_of(d);
    uint64_t va = doom_address(s, context_space(c));
    doomed = va != 0 && doom_at(&k, va, &write);
    if (doomed) {
        const struct model_piece *x = model_find(context_space(c), va);
        sim_say(s, "  %s %llx, which must fault", write ? "write" : "read", ull(va));
        if (write) k.words += ref_emit_write64(k.word + k.words, va, 1);
        else k.words += ref_emit_copy(k.word + k.words, slot_va(&k) + SLOT_BYTES - 8, va, 8);
        sd->doom_va = va;
        sd->doom_open = false;
        sd->doom_body = x != NULL && !write && x->alloc != NULL ? x->alloc->body : NULL;
    }
    if (k.words != 0 && submit(&k)) sd->doomed |= doomed;
}

bool hang_packet(struct sim *s, struct model_device *d)
{
    struct sim_context *c = pick_worker(s, d);
    struct making k;
    if (c == NULL || !begin(&k, s, c)) return false;
    add_commands(&k, (uint32_t)sim_below(s, 3));
    sim_say(s, "  and hang");
    k.words += ref_emit_hang(k.word + k.words);
    return submit(&k);
}

/* The driver refuses a packet at an odd address: the device is in error (SUB-08). */
static void op_bad_packet(struct sim *s)
{
    struct model_device *d = pick_live_device(s);
    struct sim_context *c = pick_context(s, d);
    if (!s->temper.faults || !sim_chance(s, 10) || c == NULL || c->count == PACKETS_MAX) return;
    sim_say(s, "context %u of device %u: submit at an odd address", c->id, d->id);
    sim_of(d)->packet_doom = true;
    struct model_answer a = {0, true};
    if (sim_status(s, a, vidmm_context_submit(c->core, 0x10001, 8, NULL, 0, 0))) push(s, c, PACKET_WAIT);
}

/* ---- reading everything ------------------------------------------------------------------------ */

static bool idle(void *arg)
{
    const struct sim_context *c = arg;
    return context_pending(c) == 0 || vidmm_device_state(c->dev->handle) != VIDMM_DEVICE_ACTIVE;
}

struct reading { uint64_t va[RESULT_PAGES]; uint32_t n; };

static void compare(struct making *k, const struct reading *r)
{
    const uint8_t *result = sim_of(k->c->dev)->buffer_cpu + SLOTS * SLOT_BYTES;
    for (uint32_t i = 0; i < r->n; i++) {
        struct model_page *m = content_at(k, r->va[i]), zero = {0};
        const struct model_piece *x = model_find(context_space(k->c), r->va[i]);
        const struct model_page *want = m != NULL ? m : &zero;
        uint64_t got[2];
        memcpy(got, result + i * PAGE, sizeof(got));
        if (page_equals(result + i * PAGE, want)) continue;
        sim_fail(k->s,
                 "device %u, gpu %u, address %llx (allocation %u + %llx): holds %llx %llx, expected %llx %x",
                 k->c->dev->id, k->c->gpu, ull(r->va[i]), x->alloc != NULL ? x->alloc->id : 0,
                 ull(x->offset + (r->va[i] - x->start)), ull(got[0]), ull(got[1]), ull(want->head),
                 want->pattern);
    }
}

static bool read_pages(struct sim *s, struct sim_context *c, struct reading *r)
{
    struct making k;
    uint64_t result = sim_of(c->dev)->buffer_va + SLOTS * SLOT_BYTES;
    if (r->n == 0) return true;
    if (!begin(&k, s, c)) sim_fail(s, "device %u: its command buffer is not usable at rest", c->dev->id);
    for (uint32_t i = 0; i < r->n;) {
        uint32_t run = 1;
        while (i + run < r->n && r->va[i + run] == r->va[i] + run * PAGE) run++;
        k.words += ref_emit_copy(k.word + k.words, result + i * PAGE, r->va[i], run * PAGE);
        i += run;
    }
    k.p.touched = 0;
    if (!submit(&k)) return false;
    if (!world_until(s->world, SIM_TURNS_MAX, idle, c))
        sim_fail(s, "liveness: a packet of context %u stays", c->id);
    sim_poll(s);
    if (c->dev->lost) return false;
    compare(&k, r);
    s->totals.pages_read += r->n;
    r->n = 0;
    return true;
}

static bool readable(const struct model_device *d, uint32_t gpu, const struct model_piece *x)
{
    if (x->internal || model_gpu(d, gpu, x->start, false) != MODEL_WORKS) return false;
    return x->content != MODEL_ALLOC || !x->alloc->keep;
}

/* Who reads for the device on a gpu; NULL: nobody can. */
static struct sim_context *pick_reader(struct sim *s, struct model_device *d, uint32_t gpu)
{
    struct sim_context *c = NULL;
    if (sim_chance(s, 2)) c = pick_worker(s, d);
    if (c == NULL || c->gpu != gpu || !hw_ready(c)) c = virtual_context_on(d, gpu);
    if (c == NULL && context_room(s, d)) c = context_new_on(s, d, gpu, (uint32_t)sim_below(s, 2), false);
    return c == NULL || c->gpu != gpu ? NULL : c;
}

/* Whatever the context's gpu shows: every page that is mapped and resident; of large zero ranges some. */
static void read_all_by(struct sim *s, struct sim_context *c)
{
    struct model_device *d = c->dev;
    struct model_space *sp = context_space(c);
    struct reading r = {.n = 0};
    uint32_t runs = 0;
    for (uint32_t i = 0; i < sp->piece_count; i++) {
        struct model_piece x = sp->piece[i];
        uint64_t pages = (x.end - x.start) / PAGE;
        if (!readable(d, c->gpu, &x)) continue;
        if (x.content == MODEL_ZERO && pages > 8) x.start = x.end - 8 * PAGE;
        if (x.content == MODEL_ALLOC && x.alloc->instances == 1 && x.alloc->gpu != c->gpu)
            s->totals.peer_pages_read += pages;
        if (++runs % 16 == 0 && !read_pages(s, c, &r)) return;
        for (uint64_t va = x.start; va < x.end; va += PAGE) {
            r.va[r.n++] = va;
            if (r.n == RESULT_PAGES && !read_pages(s, c, &r)) return;
        }
    }
    (void)read_pages(s, c, &r);
}

static bool has_buffer_on(const struct model_device *d, uint32_t gpu)
{
    const struct model_piece *x = model_find(&d->proc->on[gpu], sim_of(d)->buffer_va);
    return x != NULL && x->content == MODEL_ALLOC && x->alloc == sim_of(d)->buffer && !x->open;
}

/* Through the tables of each gpu that the device works on. */
void read_everything(struct sim *s, struct model_device *d)
{
    for (uint32_t gpu = 0; gpu < s->gpus; gpu++) {
        if (d->lost || sim_of(d)->buffer_va == 0 || sim_of(d)->buffer->count == 0) return;
        if (!has_buffer_on(d, gpu)) continue;
        struct sim_context *c = pick_reader(s, d, gpu);
        if (c != NULL) read_all_by(s, c);
    }
}

const struct sim_op ops_gpu[] = {
    {"submit", op_submit, 60}, {"order", op_order, 4}, {"wait", op_wait, 3}, {"sync_nasty", op_sync_nasty, 1},
    {"doom", op_doom, 3}, {"stray", op_stray, 6}, {"bad_packet", op_bad_packet, 1},
    {NULL, NULL, 0}};
