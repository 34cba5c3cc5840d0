/* SPDX-License-Identifier: MIT */
/* local.h - what the files of the face share: objects, the call in progress, small helpers.
 * Everything here is used by the owner of the adapter (between the environment's enter and leave). */
#ifndef VIDMM_KMT_LOCAL_H
#define VIDMM_KMT_LOCAL_H

#include "base/list.h"
#include "kmt/handle.h"
#include "kmt/kmt.h"

struct kmt_face {
    struct kmt_config config;
    struct handle_table shared; /* global and NT handles of shared resources */
};

enum kmt_kind {
    KMT_ADAPTER = 1, KMT_DEVICE, KMT_CONTEXT, KMT_QUEUE, KMT_SYNC, KMT_ALLOCATION, KMT_RESOURCE, KMT_TRIM,
    KMT_HWCONTEXT, KMT_HWQUEUE
};

/* A copy of bytes the client gave. */
struct kmt_blob { void *bytes; uint32_t size; };

/* Several allocation handles may stand for one open of the core: its device opened the resource again. */
struct kmt_backing {
    struct vidmm_open *open;
    struct kmt_object *device;
    struct kmt_member *member;  /* of a shared resource; else NULL */
    struct list in_member;
    uint32_t users;
    bool read_only;
};

/* One allocation of a shared resource, while any device has it open. */
struct kmt_member {
    struct list in_shared, backings;
    struct kmt_blob private_data;
};

enum kmt_name { KMT_NAME_GLOBAL, KMT_NAME_NT, KMT_NAME_NT_READ /* without the right to write */, KMT_NAMES };

/* What all handles of a shared resource, of any process, have in common. */
struct kmt_shared {
    const struct vidmm_env *env;
    struct kmt_face *face;
    uint32_t users, flags;      /* users: resource handles; flags: of its creation */
    uint32_t name[KMT_NAMES];   /* in the face's shared table; 0 = none */
    struct list members;
    struct kmt_blob runtime_data, private_data;
};

/* Several handles may stand for one monitored fence, too. */
struct kmt_shared_fence {
    struct vidmm_fence *core;
    struct kmt_object *device; /* whose fence it is; all handles are children of it */
    uint32_t users, flags, name; /* name: in the face's shared table; 0 = none */
};

struct kmt_object {
    uint32_t kind;
    D3DKMT_HANDLE handle;
    uint32_t refs;              /* 1 while the handle is open, 1 per wait that looks at the object */
    bool dead;                  /* the handle is closed; core objects below must not be touched any more */
    const struct vidmm_env *env; /* outlives the process */
    struct kmt_process *process;
    struct kmt_object *parent;  /* the device; NULL for adapters and devices */
    struct list in_parent;      /* in children of the device, or in the process' list */
    union {
        struct { struct vidmm_device *core; struct list children; } device;
        struct {
            struct vidmm_context *core; int32_t priority, in_process; bool null_rendering;
            struct kmt_blob buffers;         /* physical contexts: what the client writes into */
            struct vidmm_render_sizes sizes; /* of these: command buffer, allocation list, patch list */
        } context;
        struct { struct vidmm_queue *core; struct kmt_object *sync; } queue;
        struct { struct vidmm_hwcontext *core; } hwcontext;
        struct { struct vidmm_hwqueue *core; struct kmt_object *sync, *context; } hwqueue;
        struct {
            struct vidmm_fence *core;
            struct vidmm_sync *object; /* of a mutex or semaphore; then core is NULL */
            uint64_t event;            /* of a CPU notification; then both are */
            uint32_t flags, type;
            struct kmt_object *queue;
            struct kmt_shared_fence *shared; /* NULL: it cannot be opened again */
        } sync;
        struct {
            struct kmt_backing *backing;
            uint32_t locks; /* taken through this handle and not given back */
            struct kmt_object *resource; struct list in_resource;
        } allocation;
        struct {
            struct list allocations; uint32_t count;
            struct kmt_shared *shared; /* NULL: it is not */
        } resource;
        struct { D3DKMT_PTR callback, context; } trim;
    };
};

struct kmt_process {
    struct kmt_face *face;
    struct handle_table handles;
    struct vidmm_process *core; /* from the first use of an adapter handle to the last */
    struct list adapters, devices;
};

#define KMT_SCRATCH_MAX 8u
#define KMT_ARGS_MAX 816u

/* One call in progress. */
struct kmt_call {
    struct kmt_process *process;
    const struct vidmm_env *env;
    void *args;                      /* copied in; copied out when the handler says so */
    bool answer;                     /* copy args out although the status is an error */
    /* Takes back what the handler did, when the client cannot be told about it. */
    void (*undo)(struct kmt_call *);
    struct kmt_object *made;         /* for kmt_undo_object */
    void *undo_arg;                  /* for undo functions of their own */
    uint64_t undo_va, undo_bytes;    /* for kmt_undo_range */
    struct { void *bytes; size_t size; } scratch[KMT_SCRATCH_MAX];
    uint32_t scratches;
};

typedef NTSTATUS kmt_handler(struct kmt_call *);
#define KMT_ENTRY(nr, name, type, handler) kmt_handler handler;
#define NONE kmt_no_handler
#include "kmt/entry_points.inc"
#undef NONE
#undef KMT_ENTRY

/* ---- dispatch.c --------------------------------------------------------------------------------- */

NTSTATUS kmt_status(vidmm_status);
/* Zeroed memory that lives until the call is over; NULL: none. */
void *kmt_scratch(struct kmt_call *, size_t bytes);
/* Copies an array of the client into scratch memory.  count 0 gives NULL and success.
 * INVALID_PARAMETER: more than VIDMM_LIST_MAX, or not readable.  NO_MEMORY. */
NTSTATUS kmt_copy_array(struct kmt_call *, D3DKMT_PTR client, uint32_t count, size_t element, void **out);
/* The same for private data, up to VIDMM_PRIVATE_DATA_MAX bytes. */
NTSTATUS kmt_copy_bytes(struct kmt_call *, D3DKMT_PTR client, uint32_t bytes, void **out);
bool kmt_read(struct kmt_call *, void *dst, D3DKMT_PTR client, size_t bytes);
bool kmt_write(struct kmt_call *, D3DKMT_PTR client, const void *src, size_t bytes);
void kmt_undo_object(struct kmt_call *); /* retires call->made */
void kmt_undo_range(struct kmt_call *);  /* frees call->undo_va */

/* ---- object.c ----------------------------------------------------------------------------------- */

/* A new object with a handle, in its parent's or process' list; NULL: no memory. */
struct kmt_object *kmt_object_new(struct kmt_process *, enum kmt_kind, struct kmt_object *device);
struct kmt_object *kmt_object_find(struct kmt_process *, D3DKMT_HANDLE, enum kmt_kind);
struct kmt_object *kmt_object_ref(struct kmt_object *);
void kmt_object_unref(struct kmt_object *);
/* Closes the handle and destroys the core object behind it; a device goes with its children, a resource with
 * its allocations.  close_flags: vidmm_destroy_flags for allocations. */
void kmt_object_retire(struct kmt_object *, uint32_t close_flags);
/* The core's process, made at first use.  NULL: *status tells why. */
struct vidmm_process *kmt_process_core(struct kmt_process *, NTSTATUS *status);
/* Drops it when neither an adapter handle nor a device is left. */
void kmt_process_rest(struct kmt_process *);

/* kmt_hwqueue.c: a new hardware context on a device; it becomes call->made. */
NTSTATUS kmt_hwcontext_make(struct kmt_call *, struct kmt_object *device, const struct vidmm_hwcontext_desc *,
                            D3DKMT_HANDLE *);
/* kmt_submit.c: an address as drivers write it, sign-extended or not; false: beyond the space. */
bool kmt_fold_address(const struct kmt_call *, uint64_t *va);

void kmt_blob_free(const struct vidmm_env *, struct kmt_blob *);

/* ---- kmt_sync.c: lists of objects and values; CPU notifications are among them ---------------------- */

struct kmt_points {
    struct kmt_object *sync[D3DKMT_MAX_SYNC_OBJECTS];
    uint64_t value[D3DKMT_MAX_SYNC_OBJECTS];
    uint32_t n;
};
/* INVALID_PARAMETER: none, too many, or one is no live sync object. Values are left alone. */
NTSTATUS kmt_find_syncs(struct kmt_call *, const D3DKMT_HANDLE *, uint32_t n, struct kmt_points *);
/* Both arrays lie in client memory. */
NTSTATUS kmt_copy_points(struct kmt_call *, D3DKMT_PTR handles, D3DKMT_PTR values, uint32_t n,
                         struct kmt_points *);

/* CPUs and hardware queues use fences only. ACCESS_DENIED: a handle has one of `forbidden`. */
NTSTATUS kmt_fences_of(const struct kmt_points *, uint32_t forbidden, struct vidmm_fence **);

/* ---- kmt_share.c ---------------------------------------------------------------------------------- */

/* Makes what a new resource shares with those to come; false: no memory. */
bool kmt_shared_begin(struct kmt_object *resource, uint32_t flags);
void kmt_shared_leave(struct kmt_object *resource);
/* Makes a new allocation one of a shared resource's. */
NTSTATUS kmt_member_begin(struct kmt_shared *, struct kmt_backing *, const void *data, uint32_t bytes);
void kmt_member_leave(const struct vidmm_env *, struct kmt_backing *);
NTSTATUS kmt_blob_keep(const struct vidmm_env *, struct kmt_blob *, const void *bytes, uint32_t size);

/* ---- kmt_syncshare.c ---------------------------------------------------------------------------- */

void kmt_shared_fence_release(struct kmt_object *, bool core_lives);
NTSTATUS kmt_name_fence(struct kmt_call *, D3DKMT_HANDLE, uint32_t *name, bool *fresh);
void kmt_unname_fence(struct kmt_call *, D3DKMT_HANDLE);

/* Live handles of allocations of one device, as opens.  INVALID_PARAMETER: one is not. */
NTSTATUS kmt_find_opens(struct kmt_call *, const struct kmt_object *device, const D3DKMT_HANDLE *, uint32_t n,
                        struct vidmm_open **);

#endif
