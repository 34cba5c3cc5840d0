/* SPDX-License-Identifier: MIT */
/* tap.h - a driver between the core and another driver: passes every call on, counts and logs it, and can
 * spoil a few things on purpose. Owns: its log. Calls: the driver behind it, vidmm_notify_completed. */
#ifndef MODEL_TAP_H
#define MODEL_TAP_H

#include <vidmm/kmd.h>

#define TAP_LOG_MAX 4096u
#define TAP_CONTEXTS_MAX 256u

enum tap_call {
    TAP_QUERY_INFO, TAP_START, TAP_STOP, TAP_CREATE_PROCESS, TAP_DESTROY_PROCESS, TAP_CREATE_CONTEXT,
    TAP_DESTROY_CONTEXT, TAP_CREATE_ALLOCATION, TAP_DESTROY_ALLOCATION, TAP_OPEN, TAP_CLOSE, TAP_PTE_ATTR,
    TAP_UPDATE, TAP_ROOT_SIZE, TAP_SET_ROOT, TAP_BUILD, TAP_SUBMIT, TAP_RESET, TAP_CREATE_DEVICE,
    TAP_DESTROY_DEVICE, TAP_DISPLAY, TAP_STOP_ALL, TAP_RESTART_ALL, TAP_REMOVAL, TAP_BEGIN_EXCLUSIVE,
    TAP_END_EXCLUSIVE, TAP_CALLS
};

struct tap_entry {
    enum tap_call call;
    uint32_t op;               /* BUILD: vidmm_op_code */
    void *object;              /* process, context, allocation or open */
    void *allocation, *process; /* OPEN */
    bool system;               /* of the paging process */
    uint32_t level, flags, mode, start, count, node;
    uint32_t segment, entries; /* SET_ROOT; pages of the first run: none */
    uint64_t va, address, protection, bytes, fence_id;
    uint32_t pasid;            /* CREATE_DEVICE */
    uint64_t first_attr, first_address; /* UPDATE: of the first run */
    const void *table;         /* UPDATE: the table; BUILD: the paging buffer, filled from `entries` on */
};

/* Root of a context, as the driver was last told; the walker of the simulator starts there. */
struct tap_context {
    void *context, *process;
    bool system, has_root;
    struct vidmm_gpu_address root;
    uint32_t entries;
};

/* Hardware scheduling, as it passed: counts, and the newest of each. */
struct tap_hw {
    uint64_t commands, waits, signals, suspends, resumes, private_bytes, connects, disconnects;
    struct vidmm_kmd_hw_queue queue;
    struct vidmm_kmd_hw_submit submit;
    struct vidmm_kmd_hw_sync sync;
    void *suspended;
    uint64_t suspend_value;
    bool hold_suspends;                /* spoiler: suspend_context says PENDING and the device is not asked */
};
extern const struct vidmm_kmd_hw_ops tap_hw_ops;

struct tap {
    const struct vidmm_kmd_ops *inner;
    void *inner_kmd;
    struct vidmm_kmd_ops ops;          /* hand these to the adapter, with the tap as kmd */
    struct vidmm_adapter *adapter;
    void *system_process;
    uint64_t count[TAP_CALLS];
    uint64_t op_count[32];             /* BUILD, by operation code; UPDATE_PAGE_TABLE: of update calls */
    struct tap_entry *log;             /* the newest TAP_LOG_MAX entries since tap_clear */
    uint64_t logged;
    struct tap_hw hw;
    uint64_t calls;                    /* of any kind, logged or not, since tap_init */
    void (*on_exclusive)(void *arg, bool begins); /* after the driver's begin, before its end */
    void *on_exclusive_arg;
    struct tap_context contexts[TAP_CONTEXTS_MAX];
    uint32_t context_count;
    /* spoilers */
    void (*edit_info)(struct vidmm_adapter_info *);
    bool early_fence;                  /* paging packets are reported complete as soon as submitted */
    bool drop_early;                   /* and not even executed */
    uint64_t steer;                    /* not 0: what the next map of a client is made to name instead */
    vidmm_status submit_answer;        /* if not OK: what the next client submission is answered */
    uint32_t fail_create_in;           /* the n-th create call from now answers VIDMM_FAILED */
    uint64_t submit_private_bytes;     /* private data seen in client submissions */
};

bool tap_init(struct tap *, const struct vidmm_kmd_ops *inner, void *inner_kmd);
void tap_fini(struct tap *);
void tap_clear(struct tap *); /* log and counts */
/* The n-th logged entry (oldest first) of this kind since tap_clear, or NULL. */
const struct tap_entry *tap_find(const struct tap *, enum tap_call, uint64_t n);
/* Any context of a process that was given a root, or NULL. */
const struct tap_context *tap_root(const struct tap *, const void *process);

#endif
