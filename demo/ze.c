/* SPDX-License-Identifier: MIT */
/* ze.c — opening and closing Level Zero for the demo clients.  Calls the library found by dlopen and check.c.
 * Not linked: Debian 12 ships the driver's library without a package one could depend on at build time. */
#include "ze.h"

#include "check.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

void ze_need(ze_result_t result, const char *what)
{
    if (result != ZE_RESULT_SUCCESS)
        check_fail(1, "%s failed with Level Zero result 0x%x", what, (unsigned)result);
}

static void *open_library(void)
{
    static const char *const names[] = {"libze_loader.so.1", "libze_intel_gpu.so.1"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (library == NULL) continue;
        printf("  Level Zero by way of %s\n", names[i]);
        return library;
    }
    check_fail(CHECK_NO_DEVICE, "there is no Level Zero library here");
}

static void load(struct ze *z)
{
    void *library = open_library();
#define ZE_LOAD(name)                                                                   \
    z->name = (__typeof__(z->name))(uintptr_t)dlsym(library, #name);                    \
    if (z->name == NULL) check_fail(1, "the Level Zero library has no function " #name);
    ZE_FUNCTIONS(ZE_LOAD)
#undef ZE_LOAD
}

static void find_device(struct ze *z, ze_driver_handle_t *driver)
{
    uint32_t one = 1;
    ze_device_properties_t properties = {.stype = ZE_STRUCTURE_TYPE_DEVICE_PROPERTIES};
    if (z->zeInit(ZE_INIT_FLAG_GPU_ONLY) != ZE_RESULT_SUCCESS ||
        z->zeDriverGet(&one, driver) != ZE_RESULT_SUCCESS || one == 0)
        check_fail(CHECK_NO_DEVICE, "Level Zero shows no GPU here");
    one = 1;
    ze_need(z->zeDeviceGet(*driver, &one, &z->device), "zeDeviceGet");
    ze_need(z->zeDeviceGetProperties(z->device, &properties), "zeDeviceGetProperties");
    printf("  device %s\n", properties.name);
}

/* Gives the queue group that copies and does nothing else. */
static uint32_t copy_only_group(struct ze *z)
{
    ze_command_queue_group_properties_t groups[16];
    uint32_t count = 16;
    memset(groups, 0, sizeof groups);
    for (uint32_t i = 0; i < 16; i++) groups[i].stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_GROUP_PROPERTIES;
    ze_need(z->zeDeviceGetCommandQueueGroupProperties(z->device, &count, groups), "queue group properties");
    for (uint32_t i = 0; i < count; i++) {
        ze_command_queue_group_property_flags_t flags = groups[i].flags;
        if ((flags & ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COPY) == 0) continue;
        if ((flags & ZE_COMMAND_QUEUE_GROUP_PROPERTY_FLAG_COMPUTE) == 0) return i;
    }
    check_fail(CHECK_NO_DEVICE, "the GPU has no copy-only queue");
}

void ze_start(struct ze *z)
{
    ze_driver_handle_t driver = NULL;
    load(z);
    find_device(z, &driver);
    uint32_t group = copy_only_group(z);
    ze_context_desc_t context = {.stype = ZE_STRUCTURE_TYPE_CONTEXT_DESC};
    ze_need(z->zeContextCreate(driver, &context, &z->context), "zeContextCreate");
    ze_command_queue_desc_t queue = {.stype = ZE_STRUCTURE_TYPE_COMMAND_QUEUE_DESC, .ordinal = group};
    ze_need(z->zeCommandQueueCreate(z->context, z->device, &queue, &z->queue), "zeCommandQueueCreate");
    ze_command_list_desc_t list = {.stype = ZE_STRUCTURE_TYPE_COMMAND_LIST_DESC,
                                   .commandQueueGroupOrdinal = group};
    ze_need(z->zeCommandListCreate(z->context, z->device, &list, &z->list), "zeCommandListCreate");
    fflush(stdout);
}

void ze_stop(struct ze *z)
{
    ze_need(z->zeCommandListDestroy(z->list), "zeCommandListDestroy");
    ze_need(z->zeCommandQueueDestroy(z->queue), "zeCommandQueueDestroy");
    ze_need(z->zeContextDestroy(z->context), "zeContextDestroy");
}

void *ze_device_memory(struct ze *z, size_t size)
{
    ze_device_mem_alloc_desc_t desc = {.stype = ZE_STRUCTURE_TYPE_DEVICE_MEM_ALLOC_DESC};
    void *memory = NULL;
    ze_need(z->zeMemAllocDevice(z->context, &desc, size, 64, z->device, &memory), "zeMemAllocDevice");
    return memory;
}

void ze_run(struct ze *z)
{
    ze_need(z->zeCommandListClose(z->list), "zeCommandListClose");
    ze_need(z->zeCommandQueueExecuteCommandLists(z->queue, 1, &z->list, NULL),
            "zeCommandQueueExecuteCommandLists");
    ze_need(z->zeCommandQueueSynchronize(z->queue, UINT64_MAX), "zeCommandQueueSynchronize");
    ze_need(z->zeCommandListReset(z->list), "zeCommandListReset");
}

static void append_copy(struct ze *z, void *to, const void *from, size_t size)
{
    ze_need(z->zeCommandListAppendMemoryCopy(z->list, to, from, size, NULL, 0, NULL), "append a copy");
    ze_need(z->zeCommandListAppendBarrier(z->list, NULL, 0, NULL), "append a barrier");
}

void ze_copy_chain(struct ze *z, size_t size, unsigned char *expected, unsigned char *got)
{
    void *first = ze_device_memory(z, size), *second = ze_device_memory(z, size);
    check_pattern(expected, size, size);
    memset(got, 0, size);
    append_copy(z, first, expected, size);
    append_copy(z, second, first, size);
    append_copy(z, got, second, size);
    ze_run(z);
    check_equal("copy host to device to device to host", got, expected, size);
    ze_need(z->zeMemFree(z->context, first), "zeMemFree");
    ze_need(z->zeMemFree(z->context, second), "zeMemFree");
}
