/* SPDX-License-Identifier: MIT */
/* inject.c - see inject.h. */
#include "app/inject.h"

#include <stddef.h>
#include <string.h>

static const struct { const char *name; enum inject_kind kind; } kinds[] = {
    {"fault@", INJECT_FAULT}, {"hang@", INJECT_HANG}, {"reset-fails@", INJECT_RESET_FAILS},
    {"remove@", INJECT_REMOVE}, {"oom@", INJECT_OOM},
};

/* Digits up to a comma or the end; no signs, no blanks, no overflow. */
static bool read_number(const char *text, size_t length, uint64_t *out)
{
    *out = 0;
    if (length == 0 || length > 18) return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        *out = *out * 10 + (uint64_t)(text[i] - '0');
    }
    return true;
}

static bool read_delay(struct inject *in, const char *word, size_t length)
{
    static const char name[] = "delay=";
    size_t n = sizeof name - 1;
    if (length < n || memcmp(word, name, n) != 0) return false;
    in->delayed = true;
    return read_number(word + n, length - n, &in->delay_ms) && in->delay_ms <= INJECT_DELAY_MAX_MS;
}

static bool read_word(struct inject *in, const char *word, size_t length)
{
    uint64_t at;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t n = strlen(kinds[i].name);
        if (length < n || memcmp(word, kinds[i].name, n) != 0) continue;
        if (!read_number(word + n, length - n, &at) || at == 0 || in->count == INJECT_MOST) return false;
        in->what[in->count].kind = kinds[i].kind;
        in->what[in->count++].at = at;
        return true;
    }
    return read_delay(in, word, length);
}

const char *inject_read(struct inject *in, const char *text)
{
    memset(in, 0, sizeof *in);
    if (text == NULL || text[0] == '\0') return NULL;
    for (const char *word = text;; word++) {
        size_t length = strcspn(word, ",");
        if (!read_word(in, word, length)) return word;
        word += length;
        if (*word == '\0') return NULL;
    }
}
