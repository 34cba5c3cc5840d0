/* SPDX-License-Identifier: MIT */
/* devmem.c - bulk moves between VRAM, system frames and the device model's own buffers.
 * Calls: platform->copy. VRAM is moved word by word with relaxed atomics: at these sizes the memory bus
 * is the limit, and no data race is ever hidden from a race detector. */
#include "softgpu/devmem.h"

#include "base/bits.h"

#define BOUNCE_BYTES 4096u

/* Word at any address of VRAM. Whole words only: never reads past the word that holds the last byte. */
static uint64_t load_shifted(const uint8_t *word, unsigned shift_bits)
{
    return devmem_load64(word) >> shift_bits | devmem_load64(word + 8) << (64 - shift_bits);
}

static void copy_bytes(uint8_t *dst, const uint8_t *src, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) devmem_store8(dst + i, devmem_load8(src + i));
}

static void copy_words(uint8_t *dst, const uint8_t *src, uint64_t words)
{
    for (uint64_t i = 0; i < words; i++) devmem_store64(dst + 8 * i, devmem_load64(src + 8 * i));
}

static void copy_words_shifted(uint8_t *dst, const uint8_t *src, uint64_t words)
{
    unsigned shift = (unsigned)((uintptr_t)src & 7) * 8;
    const uint8_t *base = (const uint8_t *)((uintptr_t)src & ~(uintptr_t)7);
    for (uint64_t i = 0; i < words; i++) devmem_store64(dst + 8 * i, load_shifted(base + 8 * i, shift));
}

static void vram_copy(uint8_t *dst, const uint8_t *src, uint64_t bytes)
{
    uint64_t head = min_u64(bytes, -(uintptr_t)dst & 7);
    copy_bytes(dst, src, head);
    uint64_t words = (bytes - head) / 8;
    if (((uintptr_t)(src + head) & 7) == 0) copy_words(dst + head, src + head, words);
    else copy_words_shifted(dst + head, src + head, words);
    uint64_t done = head + 8 * words;
    copy_bytes(dst + done, src + done, bytes - done);
}

/* The pattern twice, so that 8 bytes can be taken from any phase. */
struct pattern { uint8_t byte[32]; };

static struct pattern pattern_make(const uint32_t in[4])
{
    struct pattern p;
    memcpy(p.byte, in, 16);
    memcpy(p.byte + 16, in, 16);
    return p;
}

static uint64_t pattern_word(const struct pattern *p, uint64_t phase)
{
    uint64_t word;
    memcpy(&word, p->byte + (phase & 15), 8);
    return word;
}

static void vram_fill(uint8_t *dst, uint64_t bytes, const struct pattern *p, uint64_t phase)
{
    uint64_t i = 0;
    for (; i < bytes && ((uintptr_t)(dst + i) & 7) != 0; i++)
        devmem_store8(dst + i, p->byte[(phase + i) & 15]);
    uint64_t even = pattern_word(p, phase + i), odd = pattern_word(p, phase + i + 8);
    for (; i + 16 <= bytes; i += 16) {
        devmem_store64(dst + i, even);
        devmem_store64(dst + i + 8, odd);
    }
    for (; i < bytes; i++) devmem_store8(dst + i, p->byte[(phase + i) & 15]);
}

static bool system_fill(const struct vidmm_platform *platform, uint8_t *dst, uint64_t bytes,
                        const struct pattern *p, uint64_t phase)
{
    uint64_t buffer[BOUNCE_BYTES / 8];
    for (unsigned i = 0; i < BOUNCE_BYTES / 8; i++) buffer[i] = pattern_word(p, phase + 8 * i);
    for (uint64_t done = 0; done < bytes;) {
        uint64_t n = min_u64(bytes - done, BOUNCE_BYTES);
        if (!platform->copy(platform->ctx, dst + done, buffer, n)) return false;
        done += n;
    }
    return true;
}

bool devmem_fill(const struct vidmm_platform *platform, struct devmem_span dst, uint64_t bytes,
                 const uint32_t pattern[4], uint64_t phase)
{
    if (dst.kind == DEVMEM_ZERO) return true;
    struct pattern p = pattern_make(pattern);
    if (dst.kind == DEVMEM_SYSTEM) return system_fill(platform, dst.host, bytes, &p, phase);
    vram_fill(dst.host, bytes, &p, phase);
    return true;
}

bool devmem_move(const struct vidmm_platform *p, struct devmem_span dst, struct devmem_span src,
                 uint64_t bytes)
{
    static const uint32_t zero[4];
    if (dst.kind == DEVMEM_ZERO) return true;
    if (src.kind == DEVMEM_ZERO) return devmem_fill(p, dst, bytes, zero, 0);
    bool system = dst.kind == DEVMEM_SYSTEM || src.kind == DEVMEM_SYSTEM;
    if (system) return p->copy(p->ctx, dst.host, src.host, bytes);
    vram_copy(dst.host, src.host, bytes);
    return true;
}

bool devmem_read(const struct vidmm_platform *p, void *own, struct devmem_span src, uint64_t bytes)
{
    uint8_t *out = own;
    if (src.kind == DEVMEM_SYSTEM) return p->copy(p->ctx, own, src.host, bytes);
    if (src.kind == DEVMEM_ZERO) {
        memset(own, 0, bytes);
        return true;
    }
    uint64_t i = 0;
    for (; i < bytes && ((uintptr_t)(src.host + i) & 7) != 0; i++) out[i] = devmem_load8(src.host + i);
    for (; i + 8 <= bytes; i += 8) {
        uint64_t word = devmem_load64(src.host + i);
        memcpy(out + i, &word, 8);
    }
    for (; i < bytes; i++) out[i] = devmem_load8(src.host + i);
    return true;
}

bool devmem_write(const struct vidmm_platform *p, struct devmem_span dst, const void *own, uint64_t bytes)
{
    const uint8_t *in = own;
    if (dst.kind == DEVMEM_ZERO) return true;
    if (dst.kind == DEVMEM_SYSTEM) return p->copy(p->ctx, dst.host, own, bytes);
    uint64_t i = 0;
    for (; i < bytes && ((uintptr_t)(dst.host + i) & 7) != 0; i++) devmem_store8(dst.host + i, in[i]);
    for (; i + 8 <= bytes; i += 8) {
        uint64_t word;
        memcpy(&word, in + i, 8);
        devmem_store64(dst.host + i, word);
    }
    for (; i < bytes; i++) devmem_store8(dst.host + i, in[i]);
    return true;
}
