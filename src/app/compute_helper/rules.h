/* SPDX-License-Identifier: MIT */
/* rules.h - which token carries which field of include/vidmm/dg2_abi.h.  Data only. */
#ifndef VIDMM_HELPER_RULES_H
#define VIDMM_HELPER_RULES_H

#include "app/compute_helper/tokens.h"

/* The ids of the outermost tokens; they also name the structs in the helper library's calls. */
enum helper_id {
    HELPER_ADAPTER = 1, HELPER_RESOURCE = 7, HELPER_CONTEXT = 33, HELPER_COMMAND = 48, HELPER_PARTITION = 135
};

struct helper_struct {
    uint32_t id, magic, struct_bytes, token_bytes_max;
    const struct token_rule *rule;
    size_t rules;
};

/* NULL: an id nobody knows here. */
const struct helper_struct *helper_struct_of(uint32_t id);

#endif
