/* SPDX-License-Identifier: MIT */
/* cl.h — the start every OpenCL demo shares: first GPU of any platform, a context and an in-order queue. */
#ifndef VIDMM_DEMO_CL_H
#define VIDMM_DEMO_CL_H

#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>

struct cl {
    cl_device_id device;
    cl_context context;
    cl_command_queue queue;
};

/* Ends the program with CHECK_NO_DEVICE when there is no GPU. */
void cl_start(struct cl *c);
void cl_stop(struct cl *c);

/* Platform, name, driver version and sizes of the device, one per line. */
void cl_print_device(const struct cl *c);

/* Ends the program when an OpenCL call failed; `what` is the call's name. */
void cl_need(cl_int error, const char *what);

#endif
