/* SPDX-License-Identifier: MIT */
/* instance.c — see instance.h. Calls: monitor.c, posix.c, the core's adapter functions. */
#define _GNU_SOURCE
#include "host/instance.h"

#include "host/monitor.h"
#include "host/posix.h"

#include <stdlib.h>
#include <time.h>

#define DESTROY_WAIT_MS 10000u
#define FRAMES_LEAST (1ull << 20) /* 4 GiB */

struct host_instance {
    struct posix_platform platform;
    struct host_monitor *monitor;
    struct vidmm_adapter *adapter;
};

static vidmm_status refuse(const char **why, const char *text)
{
    if (why != NULL) *why = text;
    return VIDMM_NO_MEMORY;
}

/* The table of the largest size takes 512 MiB of addresses, which a strict limit may not allow. */
static bool build_platform(struct host_instance *h, uint64_t frames)
{
    if (frames != 0) return posix_platform_init(&h->platform, frames, monitor_poke, h->monitor);
    for (frames = SYSMEM_FRAMES_MAX; frames >= FRAMES_LEAST; frames /= 4)
        if (posix_platform_init(&h->platform, frames, monitor_poke, h->monitor)) return true;
    return false;
}

static vidmm_status build(struct host_instance *h, const struct host_config *in, const char **why)
{
    h->monitor = monitor_create();
    if (h->monitor == NULL) return refuse(why, "no memory for the monitor");
    if (!build_platform(h, in->frames)) {
        monitor_destroy(h->monitor);
        return refuse(why, "no address space for the table of system memory frames");
    }

    const struct vidmm_adapter_config config = {
        .struct_size = sizeof(config), .platform = &h->platform.face, .ops = in->ops, .kmd = in->kmd,
        .counters = in->counters, .break_row = in->break_row,
        .tdr_delay_ns = in->tdr_delay_ns, .tdr_limit_count = in->tdr_limit_count,
        .tdr_level = in->tdr_level, .peer = in->peer, .peer_count = in->peer_count,
    };
    vidmm_status status = vidmm_adapter_create(&config, &h->adapter, why);
    if (status == VIDMM_OK && !monitor_start(h->monitor, h->adapter)) {
        vidmm_adapter_destroy(h->adapter);
        status = refuse(why, "the worker thread can not be created");
    }
    if (status != VIDMM_OK) {
        posix_platform_fini(&h->platform);
        monitor_destroy(h->monitor);
    }
    return status;
}

vidmm_status host_instance_create_with(const struct host_config *in, const char **why,
                                       struct host_instance **out)
{
    *out = NULL;
    struct host_instance *h = calloc(1, sizeof(*h));
    if (h == NULL) return refuse(why, "no memory for the instance");
    vidmm_status status = build(h, in, why);
    if (status == VIDMM_OK) *out = h;
    else free(h);
    return status;
}

vidmm_status host_instance_create(const struct vidmm_kmd_ops *ops, void *kmd, struct vidmm_counters *counters,
                                  const char **why, struct host_instance **out)
{
    const struct host_config in = { .ops = ops, .kmd = kmd, .counters = counters };
    return host_instance_create_with(&in, why, out);
}

static bool becomes_idle(struct host_instance *h)
{
    const struct timespec one_ms = { 0, 1000000 };
    for (uint32_t ms = 0; ms < DESTROY_WAIT_MS; ms++) {
        monitor_lock(h->monitor);
        bool idle = vidmm_adapter_idle(h->adapter);
        monitor_unlock(h->monitor);
        if (idle) return true;
        nanosleep(&one_ms, NULL);
    }
    return false;
}

bool host_instance_destroy(struct host_instance *h)
{
    monitor_remove(h->monitor);
    if (!becomes_idle(h)) return false;
    monitor_stop(h->monitor);
    vidmm_adapter_destroy(h->adapter);
    monitor_destroy(h->monitor);
    posix_platform_fini(&h->platform);
    free(h);
    return true;
}

const struct vidmm_env *host_instance_env(struct host_instance *h) { return monitor_env(h->monitor); }
struct vidmm_adapter *host_instance_adapter(struct host_instance *h) { return h->adapter; }
const struct vidmm_platform *host_instance_platform(struct host_instance *h) { return &h->platform.face; }
void host_instance_remove(struct host_instance *h) { monitor_remove(h->monitor); }
