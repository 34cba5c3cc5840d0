/* SPDX-License-Identifier: MIT */
/* object.c - the objects behind handles, and the processes that own them.
 * Owns: struct kmt_object and the tree process -> {adapters, devices -> children}.  Calls: handle, core.
 * An object is retired once (handle closed, core object destroyed) and its memory freed when the last wait
 * that looks at it is over. */
#include <string.h>

#include "kmt/local.h"

static void *env_alloc(void *ctx, size_t bytes, size_t align)
{
    const struct vidmm_env *env = ctx;
    (void)align; /* the environment aligns for any type */
    return env->alloc(env->ctx, bytes);
}

static void env_free(void *ctx, void *p, size_t bytes)
{
    const struct vidmm_env *env = ctx;
    env->free(env->ctx, p, bytes);
}

static struct base_memory face_memory(const struct kmt_face *face)
{
    return (struct base_memory){env_alloc, env_free, (void *)(uintptr_t)face->config.env};
}

void kmt_blob_free(const struct vidmm_env *env, struct kmt_blob *b)
{
    if (b->bytes != NULL) env->free(env->ctx, b->bytes, b->size);
    *b = (struct kmt_blob){NULL, 0};
}

/* ---- objects ----------------------------------------------------------------------------------- */

static struct list *home_of(struct kmt_object *o)
{
    if (o->kind == KMT_ADAPTER) return &o->process->adapters;
    return o->kind == KMT_DEVICE ? &o->process->devices : &o->parent->device.children;
}

struct kmt_object *kmt_object_new(struct kmt_process *p, enum kmt_kind kind, struct kmt_object *device)
{
    const struct vidmm_env *env = p->face->config.env;
    struct kmt_object *o = env->alloc(env->ctx, sizeof *o);
    if (o == NULL) return NULL;
    o->kind = kind;
    o->refs = 1;
    o->env = env;
    o->process = p;
    o->parent = device;
    if (kind == KMT_DEVICE) list_init(&o->device.children);
    if (kind == KMT_RESOURCE) list_init(&o->resource.allocations);
    o->handle = handle_create(&p->handles, kind, o);
    if (o->handle == 0) {
        env->free(env->ctx, o, sizeof *o);
        return NULL;
    }
    list_push_back(home_of(o), &o->in_parent);
    return o;
}

struct kmt_object *kmt_object_find(struct kmt_process *p, D3DKMT_HANDLE handle, enum kmt_kind kind)
{
    return handle_lookup(&p->handles, handle, kind);
}

struct kmt_object *kmt_object_ref(struct kmt_object *o)
{
    o->refs++;
    return o;
}

void kmt_object_unref(struct kmt_object *o)
{
    /* The process may be gone by now. */
    const struct vidmm_env *env = o->env;
    if (--o->refs == 0) env->free(env->ctx, o, sizeof *o);
}

static void release_backing(struct kmt_object *o, bool core_lives, uint32_t close_flags)
{
    const struct vidmm_env *env = o->env;
    struct kmt_backing *b = o->allocation.backing;
    o->allocation.backing = NULL;
    if (b == NULL) return;
    if (--b->users != 0) { /* the open lives on under other handles: what this one locked goes with it */
        for (; core_lives && o->allocation.locks != 0; o->allocation.locks--) vidmm_open_unlock(b->open);
        return;
    }
    if (b->member != NULL) kmt_member_leave(env, b);
    if (core_lives && b->open != NULL) vidmm_open_close(b->open, close_flags);
    env->free(env->ctx, b, sizeof *b);
}

static void leave_resource(struct kmt_object *o)
{
    if (o->allocation.resource == NULL) return;
    o->allocation.resource->resource.count--;
    o->allocation.resource = NULL;
    list_remove(&o->allocation.in_resource);
}

/* Its allocations may outlive it by a moment, when a device goes. */
static void dissolve_resource(struct kmt_object *o)
{
    struct list *at;
    while ((at = list_first(&o->resource.allocations)) != NULL)
        leave_resource(list_entry(at, struct kmt_object, allocation.in_resource));
    if (o->resource.shared != NULL) kmt_shared_leave(o);
}

/* Everything but children.  core_lives: the device stays, so the core object must be destroyed here. */
static void retire_one(struct kmt_object *o, bool core_lives, uint32_t close_flags)
{
    handle_close(&o->process->handles, o->handle, o->kind);
    o->dead = true;
    list_remove(&o->in_parent);
    switch (o->kind) {
    case KMT_CONTEXT:
        if (core_lives && o->context.core != NULL) vidmm_context_destroy(o->context.core);
        kmt_blob_free(o->env, &o->context.buffers);
        break;
    case KMT_QUEUE:
        if (core_lives && o->queue.core != NULL) vidmm_queue_destroy(o->queue.core);
        break;
    case KMT_HWCONTEXT: /* with the queues that are left in it */
        if (core_lives && o->hwcontext.core != NULL) vidmm_hwcontext_destroy(o->hwcontext.core);
        break;
    case KMT_HWQUEUE:
        if (core_lives && o->hwqueue.core != NULL) vidmm_hwqueue_destroy(o->hwqueue.core);
        break;
    case KMT_SYNC: /* a queue's fence goes with the queue */
        if (o->sync.shared != NULL) kmt_shared_fence_release(o, core_lives);
        else if (core_lives && o->sync.core != NULL && o->sync.queue == NULL)
            vidmm_fence_destroy(o->sync.core);
        if (core_lives && o->sync.object != NULL) vidmm_sync_destroy(o->sync.object);
        break;
    case KMT_ALLOCATION:
        leave_resource(o);
        release_backing(o, core_lives, close_flags);
        break;
    case KMT_RESOURCE:
        dissolve_resource(o);
        break;
    default:
        break;
    }
    kmt_object_unref(o);
}

/* The handles of a hardware context's queues die with it. */
static void retire_queues(struct kmt_object *context)
{
    LIST_FOREACH_SAFE(it, tmp, &context->parent->device.children) {
        struct kmt_object *o = list_entry(it, struct kmt_object, in_parent);
        if (o->kind != KMT_HWQUEUE || o->hwqueue.context != context) continue;
        struct kmt_object *sync = o->hwqueue.sync;
        if (tmp == &sync->in_parent) tmp = tmp->next; /* it goes as well */
        retire_one(sync, true, 0);
        retire_one(o, true, 0);
    }
}

void kmt_object_retire(struct kmt_object *o, uint32_t close_flags)
{
    struct list *at;
    if (o->kind == KMT_DEVICE) {
        while ((at = list_first(&o->device.children)) != NULL)
            retire_one(list_entry(at, struct kmt_object, in_parent), false, 0);
        if (o->device.core != NULL) vidmm_device_destroy(o->device.core);
    }
    if (o->kind == KMT_RESOURCE) {
        while ((at = list_first(&o->resource.allocations)) != NULL)
            retire_one(list_entry(at, struct kmt_object, allocation.in_resource), true, close_flags);
    }
    if (o->kind == KMT_HWCONTEXT) retire_queues(o);
    if (o->kind == KMT_HWQUEUE && o->hwqueue.sync != NULL) retire_one(o->hwqueue.sync, true, 0);
    if (o->kind == KMT_QUEUE && o->queue.sync != NULL) retire_one(o->queue.sync, true, 0);
    retire_one(o, true, close_flags);
}

NTSTATUS kmt_find_opens(struct kmt_call *c, const struct kmt_object *device, const D3DKMT_HANDLE *handle,
                        uint32_t n, struct vidmm_open **out)
{
    for (uint32_t i = 0; i < n; i++) {
        struct kmt_object *o = kmt_object_find(c->process, handle[i], KMT_ALLOCATION);
        if (o == NULL || o->parent != device) return STATUS_INVALID_PARAMETER;
        out[i] = o->allocation.backing->open;
    }
    return STATUS_SUCCESS;
}

/* ---- faces and processes ------------------------------------------------------------------------ */

struct kmt_face *kmt_face_create(const struct kmt_config *config)
{
    struct kmt_face *face = config->env->alloc(config->env->ctx, sizeof *face);
    if (face == NULL) return NULL;
    face->config = *config;
    struct base_memory memory = face_memory(face);
    handle_table_init(&face->shared, &memory, HANDLE_GLOBAL);
    return face;
}

void kmt_face_destroy(struct kmt_face *face)
{
    const struct vidmm_env *env = face->config.env;
    handle_table_destroy(&face->shared);
    env->free(env->ctx, face, sizeof *face);
}

struct kmt_process *kmt_process_create(struct kmt_face *face)
{
    const struct vidmm_env *env = face->config.env;
    struct kmt_process *p = env->alloc(env->ctx, sizeof *p);
    if (p == NULL) return NULL;
    struct base_memory memory = face_memory(face);
    p->face = face;
    handle_table_init(&p->handles, &memory, HANDLE_LOCAL);
    list_init(&p->adapters);
    list_init(&p->devices);
    return p;
}

struct vidmm_process *kmt_process_core(struct kmt_process *p, NTSTATUS *status)
{
    *status = STATUS_SUCCESS;
    if (p->core == NULL) *status = kmt_status(vidmm_process_create(p->face->config.adapter, &p->core));
    if (*status != STATUS_SUCCESS) p->core = NULL;
    return p->core;
}

void kmt_process_rest(struct kmt_process *p)
{
    if (p->core == NULL || !list_empty(&p->adapters) || !list_empty(&p->devices)) return;
    vidmm_process_destroy(p->core);
    p->core = NULL;
}

void kmt_process_destroy(struct kmt_process *p)
{
    const struct vidmm_env *env = p->face->config.env;
    struct list *at;
    bool owner = env->enter(env->ctx);
    while (owner && (at = list_first(&p->devices)) != NULL)
        kmt_object_retire(list_entry(at, struct kmt_object, in_parent), 0);
    while (owner && (at = list_first(&p->adapters)) != NULL)
        kmt_object_retire(list_entry(at, struct kmt_object, in_parent), 0);
    if (!owner) return; /* a forked child: nothing of the parent's may be touched */
    kmt_process_rest(p);
    handle_table_destroy(&p->handles);
    env->leave(env->ctx);
    env->free(env->ctx, p, sizeof *p);
}
