/* SPDX-License-Identifier: MIT */
/* instance.h — one adapter on threads: platform, adapter, monitor and worker put together.
 * For composition roots, which bring the driver. libdxcore.so never destroys its instance. */
#ifndef HOST_INSTANCE_H
#define HOST_INSTANCE_H

#include <vidmm/env.h>
#include <vidmm/vidmm.h>

struct host_instance;

struct host_config {
    const struct vidmm_kmd_ops *ops;
    void *kmd;
    struct vidmm_counters *counters; /* may be shared memory; NULL: the adapter keeps its own */
    const char *break_row;           /* as in vidmm_adapter_config */
    uint64_t tdr_delay_ns;           /* as in vidmm_adapter_config, all three */
    uint32_t tdr_limit_count, tdr_level;
    const struct vidmm_gpu *peer;    /* as in vidmm_adapter_config, both */
    uint32_t peer_count;
    uint64_t frames;                 /* system memory, as in sysmem_create; 0: as much as there can be */
};

/* Fails like vidmm_adapter_create; *why (may be NULL) then names what was wrong. */
vidmm_status host_instance_create_with(const struct host_config *, const char **why, struct host_instance **);
vidmm_status host_instance_create(const struct vidmm_kmd_ops *, void *kmd, struct vidmm_counters *,
                                  const char **why, struct host_instance **);

/* For tests. Waits up to ten seconds for work in flight. Needs: no process is left and no thread is in a
 * call. Fails: false, the adapter did not become idle; it then stays, removed for clients. */
bool host_instance_destroy(struct host_instance *);

const struct vidmm_env *host_instance_env(struct host_instance *);
struct vidmm_adapter *host_instance_adapter(struct host_instance *);
const struct vidmm_platform *host_instance_platform(struct host_instance *);
/* The adapter is pulled out: see monitor_remove. */
void host_instance_remove(struct host_instance *);

#endif
