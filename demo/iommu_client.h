/* SPDX-License-Identifier: MIT */
/* iommu_client.h — one device of the ref GPU on threads, and its commands. Any thread, one per client. */
#ifndef VIDMM_DEMO_IOMMU_CLIENT_H
#define VIDMM_DEMO_IOMMU_CLIENT_H

#include "host/instance.h"
#include "softgpu/ref/ref.h"
#include "softgpu/ref_commands.h"

struct machine { struct ref_kmd *kmd; struct host_instance *host; };

struct client {
    struct machine *m;
    struct vidmm_process *process;
    struct vidmm_device *device;
    struct vidmm_queue *queue;
    struct vidmm_context *context;
    struct vidmm_fence *fence;
    struct vidmm_open *buffer;
    uint64_t *commands;              /* 64 KiB; the CPU's address */
    uint64_t commands_va;            /* the GPU's: the same for shared clients */
    uint64_t issued;
};

#define CLIENT_RESULT 32768u         /* offset in the buffer where results may go, to its end */
#define CLIENT_BYTES 65536u

/* both: GpuMmu too. false: there is none, and a sentence was printed. */
bool machine_open(struct machine *, bool both, const char *break_row);
bool machine_close(struct machine *); /* its processes are destroyed first */
struct vidmm_process *machine_process(struct machine *);
void machine_process_end(struct machine *, struct vidmm_process *);

bool client_open(struct client *, struct machine *, struct vidmm_process *, uint32_t node, bool shared);
void client_close(struct client *);
/* Hands over what stands in `commands` (bytes, END included) and signals the fence behind it. */
bool client_submit(struct client *, uint32_t words);
/* Until it is through. false: the device was lost; *fault tells why. */
bool client_wait(struct client *, struct vidmm_page_fault *fault);

#endif
