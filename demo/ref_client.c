/* SPDX-License-Identifier: MIT */
/* ref_client.c — the demonstration without a vendor's driver: our own client of the virtual GPU `ref`.
 * Copies, fills, checksums; then 8 buffers of 32 MiB, more than the 64 MiB of video memory it is run with. */
#include "check.h"
#include "ref.h"
#include "softgpu/ref_commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFERS 8u
#define SIZE (32 * CHECK_MIB)

struct client {
    struct ref ref;
    struct ref_memory *staging;         /* system memory: the way in and out */
    struct ref_memory *buffer[BUFFERS];
    unsigned char *expected;
};

static void copy(struct client *c, struct ref_memory *to, struct ref_memory *from, size_t size)
{
    uint64_t words[8];
    uint32_t n = ref_emit_copy(words, to->va, from->va, size);
    n += ref_emit_end(words + n);
    ref_run(&c->ref, words, n);
}

static void there_and_back(struct client *c, size_t size)
{
    struct ref_memory *m = ref_video_memory(&c->ref, size);
    ref_make_resident(&c->ref, m);
    check_pattern(c->expected, size, size);
    memcpy(c->staging->cpu, c->expected, size);
    copy(c, m, c->staging, size);
    memset(c->staging->cpu, 0, size);
    copy(c, c->staging, m, size);
    check_equal("copy to video memory and back", c->staging->cpu, c->expected, size);
    ref_free(&c->ref, m);
}

static void fill_and_checksum(struct client *c, size_t size)
{
    struct ref_memory *m = ref_video_memory(&c->ref, size);
    uint64_t words[16], sum = 0;
    ref_make_resident(&c->ref, m);
    uint32_t n = ref_emit_fill(words, m->va, 0x20260731, size);
    n += ref_emit_checksum(words + n, m->va, size, c->staging->va + size);
    n += ref_emit_copy(words + n, c->staging->va, m->va, size);
    n += ref_emit_end(words + n);
    ref_run(&c->ref, words, n);
    for (size_t i = 0; i < size / 4; i++) memcpy(c->expected + 4 * i, &(uint32_t){0x20260731}, 4);
    check_equal("fill", c->staging->cpu, c->expected, size);
    sum = ref_checksum(c->expected, size);
    check_equal("checksum by the GPU", (unsigned char *)c->staging->cpu + size, &sum, sizeof sum);
    ref_free(&c->ref, m);
}

static void fill_buffer(struct client *c, unsigned i)
{
    c->buffer[i] = ref_video_memory(&c->ref, SIZE);
    ref_make_resident(&c->ref, c->buffer[i]);
    check_pattern(c->staging->cpu, SIZE, 200 + i);
    copy(c, c->buffer[i], c->staging, SIZE);
    printf("  filled buffer %u of %u\n", i + 1, BUFFERS);
    fflush(stdout);
}

static void compare_buffer(struct client *c, unsigned i, const char *what)
{
    char line[64];
    snprintf(line, sizeof line, "%s, buffer %u", what, i + 1);
    check_pattern(c->expected, SIZE, 200 + i);
    memset(c->staging->cpu, 0, SIZE);
    copy(c, c->staging, c->buffer[i], SIZE);
    check_equal(line, c->staging->cpu, c->expected, SIZE);
}

static void pressure(struct client *c)
{
    for (unsigned i = 0; i < BUFFERS; i++) fill_buffer(c, i);
    for (unsigned i = 0; i < BUFFERS; i++) compare_buffer(c, i, "first round");
    for (unsigned i = 0; i < BUFFERS; i++) compare_buffer(c, i, "second round");
    for (unsigned i = 0; i < BUFFERS; i += 2) ref_free(&c->ref, c->buffer[i]);
    printf("  released four buffers\n");
    for (unsigned i = 1; i < BUFFERS; i += 2) compare_buffer(c, i, "after the release");
    for (unsigned i = 1; i < BUFFERS; i += 2) ref_free(&c->ref, c->buffer[i]);
}

int main(void)
{
    struct client c;
    ref_start(&c.ref);
    c.expected = check_memory(SIZE);
    c.staging = ref_system_memory(&c.ref, SIZE);
    ref_make_resident(&c.ref, c.staging);
    there_and_back(&c, 1);
    there_and_back(&c, 4096);
    there_and_back(&c, 1000000);
    there_and_back(&c, 16 * CHECK_MIB);
    fill_and_checksum(&c, CHECK_MIB);
    pressure(&c);
    ref_free(&c.ref, c.staging);
    ref_stop(&c.ref);
    free(c.expected);
    return 0;
}
