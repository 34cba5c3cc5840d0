/* SPDX-License-Identifier: MIT */
/* cl.c — opening and closing OpenCL for the demo clients.  Calls OpenCL and check.c. */
#include "cl.h"

#include "check.h"

#include <stdio.h>

void cl_need(cl_int error, const char *what)
{
    if (error != CL_SUCCESS) check_fail(1, "%s failed with OpenCL error %d", what, error);
}

/* Gives the first GPU of any platform, or NULL. */
static cl_device_id first_gpu(void)
{
    cl_platform_id platforms[16];
    cl_uint count = 0;
    if (clGetPlatformIDs(16, platforms, &count) != CL_SUCCESS) return NULL;
    for (cl_uint i = 0; i < count && i < 16; i++) {
        cl_device_id device;
        if (clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_GPU, 1, &device, NULL) == CL_SUCCESS) return device;
    }
    return NULL;
}

void cl_start(struct cl *c)
{
    cl_int error = CL_SUCCESS;
    c->device = first_gpu();
    if (c->device == NULL) check_fail(CHECK_NO_DEVICE, "OpenCL shows no GPU here");
    c->context = clCreateContext(NULL, 1, &c->device, NULL, NULL, &error);
    cl_need(error, "clCreateContext");
    c->queue = clCreateCommandQueueWithProperties(c->context, c->device, NULL, &error);
    cl_need(error, "clCreateCommandQueueWithProperties");
}

void cl_stop(struct cl *c)
{
    cl_need(clFinish(c->queue), "clFinish");
    cl_need(clReleaseCommandQueue(c->queue), "clReleaseCommandQueue");
    cl_need(clReleaseContext(c->context), "clReleaseContext");
}

static void print_text(const struct cl *c, const char *label, cl_device_info which)
{
    char text[256] = "";
    cl_need(clGetDeviceInfo(c->device, which, sizeof text - 1, text, NULL), "clGetDeviceInfo");
    printf("  %-16s %s\n", label, text);
}

static void print_size(const struct cl *c, const char *label, cl_device_info which)
{
    cl_ulong bytes = 0;
    cl_need(clGetDeviceInfo(c->device, which, sizeof bytes, &bytes, NULL), "clGetDeviceInfo");
    printf("  %-16s %.1f MiB\n", label, (double)bytes / (double)CHECK_MIB);
}

void cl_print_device(const struct cl *c)
{
    print_text(c, "device", CL_DEVICE_NAME);
    print_text(c, "version", CL_DEVICE_VERSION);
    print_text(c, "driver", CL_DRIVER_VERSION);
    print_size(c, "memory", CL_DEVICE_GLOBAL_MEM_SIZE);
    print_size(c, "largest buffer", CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    fflush(stdout);
}
