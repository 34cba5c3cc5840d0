/* SPDX-License-Identifier: MIT */
/* settings.c - reads the environment variables.  Owns nothing; calls the given getenv. */
#include "app/libdxcore/settings.h"

#include <stddef.h>
#include <string.h>

#include "base/range.h"

/* Digits, nothing else. */
static bool parse_number(const char *text, size_t digits, uint64_t *out)
{
    *out = 0;
    if (digits == 0) return false;
    for (size_t i = 0; i < digits; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        if (!mul_checked(*out, 10, out) || !range_add(*out, (uint64_t)(text[i] - '0'), out)) return false;
    }
    return true;
}

static bool parse_size(const char *text, uint64_t *out)
{
    size_t n = strlen(text);
    uint64_t unit = 1;
    if (n != 0) {
        switch (text[n - 1]) {
        case 'k': case 'K': unit = UINT64_C(1) << 10; break;
        case 'm': case 'M': unit = UINT64_C(1) << 20; break;
        case 'g': case 'G': unit = UINT64_C(1) << 30; break;
        default: break;
        }
    }
    return parse_number(text, unit != 1 ? n - 1 : n, out) && mul_checked(*out, unit, out);
}

static bool optional_size(char *(*get)(const char *), const char *name, uint64_t *out)
{
    const char *text = get(name);
    *out = 0;
    return text == NULL || *text == '\0' || parse_size(text, out);
}

static bool read_level(const char *text, uint32_t *level)
{
    static const char *const names[] = {"", "recover", "off", "fatal"}; /* in the order of vidmm_tdr_level */
    for (*level = 0; text != NULL && *level < 4; ++*level)
        if (strcmp(text, names[*level]) == 0) return true;
    return text == NULL;
}

static bool read_profile(const char *text, enum settings_profile *profile)
{
    static const char *const names[] = {"dg2", "ref", "ref-iommu", "ref-both", "lda2", "lda3",
                                        "lda4"}; /* settings_profile's order */
    *profile = PROFILE_DG2;
    if (text == NULL || *text == '\0') return true;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i]) != 0) continue;
        *profile = (enum settings_profile)i;
        return true;
    }
    return false;
}

bool settings_read(struct settings *s, char *(*get)(const char *), const char **why)
{
    uint64_t number;
    memset(s, 0, sizeof *s);
    s->counters_fd = -1;
    *why = "VIDMM_PROFILE is none of dg2, ref, ref-iommu, ref-both, lda2, lda3, lda4";
    if (!read_profile(get("VIDMM_PROFILE"), &s->profile)) return false;
    *why = "VIDMM_VRAM is not a size such as 67108864 or 64M";
    if (!optional_size(get, "VIDMM_VRAM", &s->vram_bytes)) return false;
    *why = "VIDMM_VRAM_REPORTED is not a size such as 4294967296 or 4G";
    if (!optional_size(get, "VIDMM_VRAM_REPORTED", &s->vram_reported_bytes)) return false;
    *why = "VIDMM_PAGING_DELAY_MS is not a number of milliseconds up to 60000";
    if (!optional_size(get, "VIDMM_PAGING_DELAY_MS", &s->paging_delay_ms) || s->paging_delay_ms > 60000)
        return false;
    *why = "VIDMM_TDR_DELAY_MS is not a number of milliseconds up to 60000";
    if (!optional_size(get, "VIDMM_TDR_DELAY_MS", &s->tdr_delay_ms) || s->tdr_delay_ms > 60000) return false;
    *why = "VIDMM_TDR_LIMIT is not a number up to 32";
    if (!optional_size(get, "VIDMM_TDR_LIMIT", &number) || number > 32) return false;
    s->tdr_limit = (uint32_t)number;
    *why = "VIDMM_TDR_LEVEL is none of recover, off, fatal";
    if (!read_level(get("VIDMM_TDR_LEVEL"), &s->tdr_level)) return false;
    *why = "VIDMM_INJECT is not a list such as fault@3,delay=20";
    if (inject_read(&s->inject, get("VIDMM_INJECT")) != NULL) return false;
    *why = "VIDMM_COUNTERS_FD is not a file descriptor";
    const char *fd = get("VIDMM_COUNTERS_FD");
    if (fd != NULL && *fd != '\0') {
        if (!parse_number(fd, strlen(fd), &number) || number > 1000000) return false;
        s->counters_fd = (int)number;
    }
    *why = NULL;
    return true;
}
