/* SPDX-License-Identifier: MIT */
/* helper.c - libwsl_compute_helper.so: the six functions the client's driver resolves in its driver store.
 * Owns: nothing, no state at all.  Calls: the token codec.
 * The driver describes things in tokens; the kernel side wants structs.  The structs are ours (dg2_abi.h), so
 * this library is the only place where a token id has a meaning. */
#include <string.h>

#include <vidmm/dg2_abi.h>

#include "app/compute_helper/rules.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT uint64_t getVersion(void);
EXPORT size_t getSizeRequiredForStruct(uint32_t id);
EXPORT size_t getSizeRequiredForTokens(uint32_t id);
EXPORT bool tokensToStruct(uint32_t id, void *dst, size_t dst_bytes, const void *begin, const void *end);
EXPORT bool structToTokens(uint32_t id, void *dst, size_t dst_bytes, const void *src, size_t src_bytes);
EXPORT void destroyStructRepresentation(uint32_t id, void *p, size_t bytes);

uint64_t getVersion(void)
{
    return 0;
}

size_t getSizeRequiredForStruct(uint32_t id)
{
    const struct helper_struct *s = helper_struct_of(id);
    return s != NULL ? s->struct_bytes : 0;
}

size_t getSizeRequiredForTokens(uint32_t id)
{
    const struct helper_struct *s = helper_struct_of(id);
    return s != NULL ? s->token_bytes_max : 0;
}

/* Resource tokens are kept whole: the driver asks for them again, also for those we have no field for. */
static bool keep_tokens(struct vidmm_dg2_resource_info *r, const void *begin, size_t bytes)
{
    if (bytes > sizeof r->tokens) return false;
    memcpy(r->tokens, begin, bytes);
    r->token_bytes = (uint32_t)bytes;
    return true;
}

/* The partition inside the adapter info is whole in itself; its head comes from no token. */
static void head_partition(struct vidmm_dg2_adapter_info *info)
{
    info->partition.head = (struct vidmm_dg2_head){VIDMM_DG2_PARTITION, VIDMM_DG2_VERSION,
                                                   sizeof info->partition, 0};
}

bool tokensToStruct(uint32_t id, void *dst, size_t dst_bytes, const void *begin, const void *end)
{
    const struct helper_struct *s = helper_struct_of(id);
    if (s == NULL || dst == NULL || begin == NULL || dst_bytes < s->struct_bytes) return false;
    if ((uintptr_t)end < (uintptr_t)begin) return false;
    struct tokens stream = {begin, end};
    struct vidmm_dg2_head head = {s->magic, VIDMM_DG2_VERSION, s->struct_bytes, 0};
    memset(dst, 0, dst_bytes);
    if (!tokens_to_struct(s->rule, s->rules, stream, dst)) return false;
    if (id == HELPER_RESOURCE && !keep_tokens(dst, begin, (size_t)(stream.end - stream.at))) return false;
    if (id == HELPER_ADAPTER) head_partition(dst);
    memcpy(dst, &head, sizeof head);
    return true;
}

bool structToTokens(uint32_t id, void *dst, size_t dst_bytes, const void *src, size_t src_bytes)
{
    const struct helper_struct *s = helper_struct_of(id);
    if (s == NULL || dst == NULL || src == NULL || src_bytes < s->struct_bytes) return false;
    struct vidmm_dg2_head head;
    memcpy(&head, src, sizeof head);
    if (!vidmm_dg2_head_ok(&head, s->magic, s->struct_bytes)) return false;
    memset(dst, 0, dst_bytes);
    if (id != HELPER_RESOURCE) return tokens_from_struct(s->rule, s->rules, src, dst, dst_bytes) != 0;
    uint32_t bytes;
    const uint8_t *resource = src;
    memcpy(&bytes, resource + offsetof(struct vidmm_dg2_resource_info, token_bytes), sizeof bytes);
    if (bytes > VIDMM_DG2_RESOURCE_TOKENS_MAX || bytes > dst_bytes) return false;
    memcpy(dst, resource + offsetof(struct vidmm_dg2_resource_info, tokens), bytes);
    return true;
}

/* Our structs own nothing. */
void destroyStructRepresentation(uint32_t id, void *p, size_t bytes)
{
    (void)id;
    (void)p;
    (void)bytes;
}
