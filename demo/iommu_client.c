/* SPDX-License-Identifier: MIT */
/* iommu_client.c — see iommu_client.h. Every call of the core is made between enter and leave. */
#include "iommu_client.h"

#include <stdio.h>
#include <string.h>

#include "softgpu/ref/ref_abi.h"

static const struct vidmm_env *enter(const struct machine *m)
{
    const struct vidmm_env *env = host_instance_env(m->host);
    (void)env->enter(env->ctx);
    return env;
}

bool machine_open(struct machine *m, bool both, const char *break_row)
{
    struct ref_options o;
    const char *why = "no memory";
    struct host_config c = {.break_row = break_row, .frames = 1u << 20};
    ref_options_default(&o, REF_FORMAT_A);
    o.iommu = o.threads = true;
    o.no_gpummu = !both;
    if (ref_create(&o, &m->kmd) == VIDMM_OK) {
        c.ops = ref_ops();
        c.kmd = m->kmd;
        if (host_instance_create_with(&c, &why, &m->host) == VIDMM_OK) return true;
        ref_destroy(m->kmd);
    }
    fprintf(stderr, "no adapter: %s\n", why);
    return false;
}

bool machine_close(struct machine *m)
{
    bool idle = host_instance_destroy(m->host);
    if (idle) ref_destroy(m->kmd);
    return idle;
}

struct vidmm_process *machine_process(struct machine *m)
{
    struct vidmm_process *p = NULL;
    const struct vidmm_env *env = enter(m);
    if (vidmm_process_create(host_instance_adapter(m->host), &p) != VIDMM_OK) p = NULL;
    env->leave(env->ctx);
    return p;
}

void machine_process_end(struct machine *m, struct vidmm_process *p)
{
    const struct vidmm_env *env = enter(m);
    vidmm_process_destroy(p);
    env->leave(env->ctx);
}

struct reach { const struct client *c; const struct vidmm_fence *fence; uint64_t value; };

static bool reached(void *arg)
{
    const struct reach *r = arg;
    return vidmm_fence_reached(r->fence, r->value) || vidmm_device_state(r->c->device) != VIDMM_DEVICE_ACTIVE;
}

static bool paged(struct client *c, const struct vidmm_env *env, vidmm_status st, uint64_t value)
{
    struct reach r = {c, vidmm_queue_fence(c->queue), value};
    return st >= 0 && env->wait(env->ctx, reached, &r);
}

static bool make_buffer(struct client *c, const struct vidmm_env *env, bool shared)
{
    struct ref_alloc_private in = {.magic = REF_ALLOC_MAGIC, .bytes = CLIENT_BYTES};
    struct vidmm_alloc_desc d = {.private_data = &in, .private_size = sizeof in};
    uint64_t value = 0, trim = 0;
    void *cpu = NULL;
    if (vidmm_alloc_create(c->device, &d, &c->buffer) != VIDMM_OK) return false;
    if (!paged(c, env, vidmm_make_resident(c->queue, &c->buffer, 1, 0, &value, &trim), value)) return false;
    if (vidmm_open_lock(c->buffer, &cpu) != VIDMM_OK) return false;
    c->commands = cpu;
    c->commands_va = (uint64_t)(uintptr_t)cpu;
    if (shared) return true;
    struct vidmm_map m = {.open = c->buffer, .bytes = CLIENT_BYTES,
                          .protection = VIDMM_PROT_WRITE | VIDMM_PROT_EXECUTE};
    vidmm_status st = vidmm_va_map(c->queue, &m, &c->commands_va, &value);
    return paged(c, env, st, value);
}

bool client_open(struct client *c, struct machine *m, struct vidmm_process *p, uint32_t node, bool shared)
{
    struct ref_context_private in = {.magic = REF_CONTEXT_MAGIC, .iommu = shared};
    struct vidmm_context_desc d = {.node = node, .private_data = &in, .private_size = sizeof in};
    *c = (struct client){.m = m, .process = p};
    const struct vidmm_env *env = enter(m);
    bool ok = vidmm_device_create(p, &c->device) == VIDMM_OK &&
              vidmm_context_create(c->device, &d, &c->context) == VIDMM_OK &&
              vidmm_queue_create(c->device, 0, &c->queue) == VIDMM_OK &&
              vidmm_fence_create(c->device, 0, 0, &c->fence) == VIDMM_OK && make_buffer(c, env, shared);
    env->leave(env->ctx);
    return ok;
}

void client_close(struct client *c)
{
    const struct vidmm_env *env = enter(c->m);
    vidmm_device_destroy(c->device);
    env->leave(env->ctx);
}

bool client_submit(struct client *c, uint32_t words)
{
    words += ref_emit_end(c->commands + words);
    const struct vidmm_env *env = enter(c->m);
    uint64_t value = ++c->issued;
    bool ok = vidmm_context_submit(c->context, c->commands_va, words * 8, NULL, 0, 0) == VIDMM_OK &&
              vidmm_context_signal(c->context, &c->fence, &value, 1) == VIDMM_OK;
    env->leave(env->ctx);
    return ok;
}

bool client_wait(struct client *c, struct vidmm_page_fault *fault)
{
    struct reach r = {c, c->fence, c->issued};
    const struct vidmm_env *env = enter(c->m);
    (void)env->wait(env->ctx, reached, &r);
    bool alive = vidmm_device_state(c->device) == VIDMM_DEVICE_ACTIVE;
    memset(fault, 0, sizeof *fault);
    if (!alive) (void)vidmm_device_fault(c->device, fault);
    env->leave(env->ctx);
    return alive;
}
