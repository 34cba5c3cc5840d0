/* SPDX-License-Identifier: MIT */
/* tokens.c - the token stream codec.  See tokens.h.  Owns nothing, calls memcpy and friends. */
#include "app/compute_helper/tokens.h"

#include <string.h>

#define WORD 4u
#define NESTED_BIT (1u << 28)

static uint32_t word_at(const uint8_t *p)
{
    uint32_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

static size_t words_left(const struct tokens *s)
{
    return (size_t)(s->end - s->at) / WORD;
}

static bool take_nested(struct tokens *s, struct token *t)
{
    if (words_left(s) < 4) return false;
    t->nested = true;
    t->index = word_at(s->at + WORD);
    uint32_t words = word_at(s->at + 3 * WORD);
    s->at += 4 * WORD;
    if (words > words_left(s)) return false;
    t->inner.at = s->at;
    t->inner.end = s->at + (size_t)words * WORD;
    s->at = t->inner.end;
    return true;
}

bool tokens_next(struct tokens *s, struct token *t, bool *bad)
{
    while (words_left(s) != 0 && word_at(s->at) == 0) s->at += WORD;
    memset(t, 0, sizeof *t);
    if (words_left(s) == 0) return false;
    uint32_t head = word_at(s->at);
    t->id = head & 0xffffu;
    t->flag = (head >> 24) & 7u;
    bool ok;
    if (head & NESTED_BIT) {
        ok = take_nested(s, t);
    } else {
        t->words = (head >> 16) & 0xffu;
        ok = words_left(s) > t->words;
        t->value = s->at + WORD;
        if (ok) s->at += (size_t)(1 + t->words) * WORD;
    }
    if (!ok) {
        s->at = s->end;
        *bad = true;
    }
    return ok;
}

bool tokens_find(struct tokens s, uint32_t id, uint32_t index, struct token *t)
{
    bool bad = false;
    while (tokens_next(&s, t, &bad)) {
        if (t->id == id && (!t->nested || t->index == index)) return true;
    }
    return false;
}

/* ---- reading ---------------------------------------------------------------------------------- */

static uint32_t flag_of(const struct token *t)
{
    return t->words == 0 ? t->flag : word_at(t->value);
}

static void read_field(const struct token_rule *r, const struct token *t, uint8_t *to)
{
    uint32_t u32;
    uint64_t u64;
    switch (r->kind) {
    case TOKEN_U32:
    case TOKEN_BOOL:
        u32 = flag_of(t);
        memcpy(to + r->offset, &u32, sizeof u32);
        break;
    case TOKEN_U64:
        u64 = flag_of(t);
        if (t->words > 1) u64 |= (uint64_t)word_at(t->value + WORD) << 32;
        memcpy(to + r->offset, &u64, sizeof u64);
        break;
    case TOKEN_BIT:
        memcpy(&u32, to + r->offset, sizeof u32);
        u32 = flag_of(t) != 0 ? u32 | r->mask : u32 & ~r->mask;
        memcpy(to + r->offset, &u32, sizeof u32);
        break;
    case TOKEN_TEXT:
        memset(to + r->offset, 0, r->mask);
        memcpy(to + r->offset, t->value, t->words * WORD < r->mask ? t->words * WORD : r->mask - 1);
        to[r->offset + r->mask - 1] = 0;
        break;
    default:
        break;
    }
}

/* The rule behind the CLOSE that belongs to the OPEN at `i`. */
static size_t skip_nested(const struct token_rule *rule, size_t rules, size_t i)
{
    unsigned depth = 0;
    for (; i < rules; i++) {
        if (rule[i].kind == TOKEN_OPEN) depth++;
        if (rule[i].kind == TOKEN_CLOSE && --depth == 0) return i + 1;
    }
    return rules;
}

static bool stream_whole(struct tokens s)
{
    struct token t;
    bool bad = false;
    while (tokens_next(&s, &t, &bad)) { }
    return !bad;
}

bool tokens_to_struct(const struct token_rule *rule, size_t rules, struct tokens s, void *to)
{
    struct tokens level[TOKENS_DEPTH_MAX] = {s};
    unsigned depth = 0;
    struct token t;
    if (!stream_whole(s)) return false;
    for (size_t i = 0; i < rules;) {
        const struct token_rule *r = &rule[i];
        if (r->kind == TOKEN_CLOSE) {
            depth--;
            i++;
            continue;
        }
        bool found = tokens_find(level[depth], r->id, r->index, &t) && t.nested == (r->kind == TOKEN_OPEN);
        if (r->kind != TOKEN_OPEN) {
            if (found) read_field(r, &t, to);
            i++;
        } else if (!found || depth + 1 == TOKENS_DEPTH_MAX) {
            i = skip_nested(rule, rules, i);
        } else {
            if (!stream_whole(t.inner)) return false;
            level[++depth] = t.inner;
            i++;
        }
    }
    return true;
}

/* ---- writing ---------------------------------------------------------------------------------- */

struct writer { uint8_t *to; size_t used, bytes; bool full; };

static void put_words(struct writer *w, const void *src, size_t bytes)
{
    if (w->full || w->bytes - w->used < bytes) {
        w->full = true;
        return;
    }
    memcpy(w->to + w->used, src, bytes);
    w->used += bytes;
}

static void put(struct writer *w, uint32_t word)
{
    put_words(w, &word, sizeof word);
}

static void write_field(struct writer *w, const struct token_rule *r, const uint8_t *from)
{
    uint32_t u32 = 0;
    if (r->kind != TOKEN_TEXT && r->kind != TOKEN_ONE) memcpy(&u32, from + r->offset, sizeof u32);
    switch (r->kind) {
    case TOKEN_U32:
        put(w, r->id | 1u << 16);
        put(w, u32);
        break;
    case TOKEN_U64:
        put(w, r->id | 2u << 16);
        put_words(w, from + r->offset, 8);
        break;
    case TOKEN_BOOL:
        put(w, r->id | (u32 != 0 ? 1u << 24 : 0u));
        break;
    case TOKEN_BIT:
        put(w, r->id | 1u << 16);
        put(w, (u32 & r->mask) != 0);
        break;
    case TOKEN_TEXT:
        put(w, r->id | (r->mask / WORD) << 16);
        put_words(w, from + r->offset, r->mask);
        break;
    default:
        put(w, r->id | 1u << 24);
        break;
    }
}

static void close_nested(struct writer *w, size_t head)
{
    if (w->full) return;
    uint32_t bytes = (uint32_t)(w->used - head - 4 * WORD), words = bytes / WORD;
    memcpy(w->to + head + 2 * WORD, &bytes, sizeof bytes);
    memcpy(w->to + head + 3 * WORD, &words, sizeof words);
}

size_t tokens_from_struct(const struct token_rule *rule, size_t rules, const void *from, uint8_t *to,
                          size_t bytes)
{
    struct writer w = {to, 0, bytes, false};
    size_t head[TOKENS_DEPTH_MAX];
    unsigned depth = 0;
    for (size_t i = 0; i < rules; i++) {
        const struct token_rule *r = &rule[i];
        if (r->kind == TOKEN_OPEN) {
            if (depth == TOKENS_DEPTH_MAX) return 0;
            head[depth++] = w.used;
            put(&w, r->id | NESTED_BIT);
            put(&w, r->index);
            put(&w, 0);
            put(&w, 0);
        } else if (r->kind == TOKEN_CLOSE) {
            close_nested(&w, head[--depth]);
        } else {
            write_field(&w, r, from);
        }
    }
    return w.full ? 0 : w.used;
}
