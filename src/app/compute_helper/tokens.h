/* SPDX-License-Identifier: MIT */
/* tokens.h - reading and writing tagged token streams, and translating them from and to plain structs.
 * Owns: nothing.  Calls: memcpy and friends only.  Every read is checked against the end of the stream: any
 * bytes whatever give an answer.
 *
 * A stream is a row of 32-bit words.  A token's first word: bits 0..15 id, 16..23 number of value words,
 * 24..26 value of a flag token without words, 28 nested.  A nested token goes on with element index, payload
 * bytes, payload words, and then the payload, itself a stream.  A zero word is padding. */
#ifndef VIDMM_HELPER_TOKENS_H
#define VIDMM_HELPER_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the words are: read with memcpy, so no alignment is needed. */
struct tokens { const uint8_t *at, *end; };

struct token {
    uint32_t id;
    uint32_t words;     /* value words; 0 for a flag and for a nested token */
    uint32_t flag;      /* the three inline bits */
    bool nested;
    uint32_t index;     /* of a nested token */
    const uint8_t *value;
    struct tokens inner; /* of a nested token */
};

/* Takes the next token.  false: the end, or a token that does not fit (then *bad is set). */
bool tokens_next(struct tokens *, struct token *, bool *bad);
/* First token `id` (and, if nested, element `index`) of this level. */
bool tokens_find(struct tokens, uint32_t id, uint32_t index, struct token *);

/* A struct is described once, as a flat list, and translated both ways by it.
 * OPEN ... CLOSE bracket a nested token.  Paths of one id and different index are different elements. */
enum token_rule_kind {
    TOKEN_OPEN, TOKEN_CLOSE,
    TOKEN_U32,   /* one value word */
    TOKEN_U64,   /* two value words, low first */
    TOKEN_BOOL,  /* written as inline flag, read in either form */
    TOKEN_BIT,   /* one value word; sets `mask` of a uint32_t */
    TOKEN_TEXT,  /* `mask` bytes of characters */
    TOKEN_ONE,   /* always written as an inline flag of value 1; not read */
};

struct token_rule { uint16_t kind, id; uint32_t index; uint32_t offset; uint32_t mask; };

#define TOKENS_DEPTH_MAX 8u

/* Fills the described fields of `to`; fields whose tokens are missing stay as they are.
 * false: the stream is damaged at a level that was looked at. */
bool tokens_to_struct(const struct token_rule *, size_t rules, struct tokens, void *to);
/* Writes the stream.  Returns bytes written, 0 when there is no room. */
size_t tokens_from_struct(const struct token_rule *, size_t rules, const void *from, uint8_t *to,
                          size_t bytes);

#endif
