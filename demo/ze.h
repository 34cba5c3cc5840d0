/* SPDX-License-Identifier: MIT */
/* ze.h — the start every Level Zero demo shares: library found at run time, first GPU, a copy-only queue. */
#ifndef VIDMM_DEMO_ZE_H
#define VIDMM_DEMO_ZE_H

#include <level_zero/ze_api.h>

#include <stddef.h>

#define ZE_FUNCTIONS(X)                                                                               \
    X(zeInit) X(zeDriverGet) X(zeDeviceGet) X(zeDeviceGetProperties) X(zeContextCreate)               \
    X(zeContextDestroy) X(zeDeviceGetCommandQueueGroupProperties) X(zeCommandQueueCreate)             \
    X(zeCommandQueueDestroy) X(zeCommandQueueExecuteCommandLists) X(zeCommandQueueSynchronize)        \
    X(zeCommandListCreate) X(zeCommandListDestroy) X(zeCommandListClose) X(zeCommandListReset)        \
    X(zeCommandListAppendMemoryCopy) X(zeCommandListAppendMemoryFill) X(zeCommandListAppendBarrier)   \
    X(zeMemAllocDevice) X(zeMemFree)

struct ze {
#define ZE_MEMBER(name) __typeof__(&name) name;
    ZE_FUNCTIONS(ZE_MEMBER)
#undef ZE_MEMBER
    ze_device_handle_t device;
    ze_context_handle_t context;
    ze_command_queue_handle_t queue;
    ze_command_list_handle_t list;
};

/* Ends the program with CHECK_NO_DEVICE when there is no Level Zero library or no GPU with a copy queue. */
void ze_start(struct ze *z);
void ze_stop(struct ze *z);

void *ze_device_memory(struct ze *z, size_t size);

/* Closes the list, runs it, waits, and empties it again. */
void ze_run(struct ze *z);

/* Ends the program when a Level Zero call failed; `what` is the call's name. */
void ze_need(ze_result_t result, const char *what);

/* host -> device -> device -> host, compared. */
void ze_copy_chain(struct ze *z, size_t size, unsigned char *expected, unsigned char *got);

#endif
