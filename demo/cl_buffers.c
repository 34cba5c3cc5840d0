/* SPDX-License-Identifier: MIT */
/* cl_buffers.c — the ways OpenCL moves data between host and device, each compared byte for byte.
 * Keeps away from commands that need shader units (fill, kernels, buffer-to-buffer copies): the virtual GPU
 * has copy engines only. */
#include "check.h"
#include "cl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MOST (256 * CHECK_MIB)

/* Host memory used by all checks in turn. */
struct host {
    unsigned char *expected;
    unsigned char *got;
};

static cl_mem make_buffer(struct cl *c, cl_mem_flags flags, size_t size, void *host)
{
    cl_int error = CL_SUCCESS;
    cl_mem buffer = clCreateBuffer(c->context, flags, size, host, &error);
    cl_need(error, "clCreateBuffer");
    return buffer;
}

static void blocking(struct cl *c, struct host *h, size_t size)
{
    cl_mem buffer = make_buffer(c, CL_MEM_READ_WRITE, size, NULL);
    check_pattern(h->expected, size, size);
    memset(h->got, 0, size);
    cl_need(clEnqueueWriteBuffer(c->queue, buffer, CL_TRUE, 0, size, h->expected, 0, NULL, NULL), "write");
    cl_need(clEnqueueReadBuffer(c->queue, buffer, CL_TRUE, 0, size, h->got, 0, NULL, NULL), "read");
    check_equal("buffer, blocking write and read", h->got, h->expected, size);
    cl_need(clReleaseMemObject(buffer), "clReleaseMemObject");
}

static void non_blocking(struct cl *c, struct host *h, size_t size)
{
    cl_event written = NULL;
    cl_mem buffer = make_buffer(c, CL_MEM_READ_WRITE, size, NULL);
    check_pattern(h->expected, size, size + 1);
    memset(h->got, 0, size);
    cl_need(clEnqueueWriteBuffer(c->queue, buffer, CL_FALSE, 0, size, h->expected, 0, NULL, &written),
            "write");
    cl_need(clEnqueueReadBuffer(c->queue, buffer, CL_FALSE, 0, size, h->got, 1, &written, NULL), "read");
    cl_need(clFinish(c->queue), "clFinish");
    check_equal("buffer, non-blocking write and read", h->got, h->expected, size);
    cl_need(clReleaseEvent(written), "clReleaseEvent");
    cl_need(clReleaseMemObject(buffer), "clReleaseMemObject");
}

/* A small write in the middle must change that part and nothing around it. */
static void part_of_buffer(struct cl *c, struct host *h)
{
    const size_t size = 3 * CHECK_MIB, at = 65536 + 13, part = 70001;
    cl_mem buffer = make_buffer(c, CL_MEM_READ_WRITE, size, NULL);
    check_pattern(h->expected, size, 3);
    cl_need(clEnqueueWriteBuffer(c->queue, buffer, CL_TRUE, 0, size, h->expected, 0, NULL, NULL), "write");
    check_pattern(h->expected + at, part, 4);
    cl_need(clEnqueueWriteBuffer(c->queue, buffer, CL_TRUE, at, part, h->expected + at, 0, NULL, NULL),
            "write");
    cl_need(clEnqueueReadBuffer(c->queue, buffer, CL_TRUE, 0, size, h->got, 0, NULL, NULL), "read");
    check_equal("buffer, 70001 bytes rewritten at an odd place", h->got, h->expected, size);
    cl_need(clReleaseMemObject(buffer), "clReleaseMemObject");
}

static void mapped(struct cl *c, struct host *h, size_t size)
{
    cl_int error = CL_SUCCESS;
    cl_mem buffer = make_buffer(c, CL_MEM_READ_WRITE, size, NULL);
    check_pattern(h->expected, size, 5);
    void *view = clEnqueueMapBuffer(c->queue, buffer, CL_TRUE, CL_MAP_WRITE, 0, size, 0, NULL, NULL, &error);
    cl_need(error, "clEnqueueMapBuffer");
    memcpy(view, h->expected, size);
    cl_need(clEnqueueUnmapMemObject(c->queue, buffer, view, 0, NULL, NULL), "clEnqueueUnmapMemObject");
    cl_need(clEnqueueReadBuffer(c->queue, buffer, CL_TRUE, 0, size, h->got, 0, NULL, NULL), "read");
    check_equal("map for writing, then read", h->got, h->expected, size);

    view = clEnqueueMapBuffer(c->queue, buffer, CL_TRUE, CL_MAP_READ, 0, size, 0, NULL, NULL, &error);
    cl_need(error, "clEnqueueMapBuffer");
    check_equal("map for reading", view, h->expected, size);
    cl_need(clEnqueueUnmapMemObject(c->queue, buffer, view, 0, NULL, NULL), "clEnqueueUnmapMemObject");
    cl_need(clFinish(c->queue), "clFinish");
    cl_need(clReleaseMemObject(buffer), "clReleaseMemObject");
}

static void host_pointer(struct cl *c, struct host *h, size_t size)
{
    cl_int error = CL_SUCCESS;
    unsigned char *own = check_memory(size);
    check_pattern(own, size, 6);
    check_pattern(h->expected, size, 6);
    cl_mem buffer = make_buffer(c, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, size, own);
    cl_need(clEnqueueReadBuffer(c->queue, buffer, CL_TRUE, 0, size, h->got, 0, NULL, NULL), "read");
    check_equal("buffer over the program's own memory, read", h->got, h->expected, size);

    check_pattern(h->expected, size, 7);
    cl_need(clEnqueueWriteBuffer(c->queue, buffer, CL_TRUE, 0, size, h->expected, 0, NULL, NULL), "write");
    void *view = clEnqueueMapBuffer(c->queue, buffer, CL_TRUE, CL_MAP_READ, 0, size, 0, NULL, NULL, &error);
    cl_need(error, "clEnqueueMapBuffer");
    if (view != own) check_fail(1, "DIFFERENT  a host-pointer buffer was mapped somewhere else");
    check_equal("buffer over the program's own memory, written", own, h->expected, size);
    cl_need(clEnqueueUnmapMemObject(c->queue, buffer, view, 0, NULL, NULL), "clEnqueueUnmapMemObject");
    cl_need(clFinish(c->queue), "clFinish");
    cl_need(clReleaseMemObject(buffer), "clReleaseMemObject");
    free(own);
}

/* Shared virtual memory: one pointer, valid for host and device. */
static void shared_virtual(struct cl *c, struct host *h, size_t size)
{
    unsigned char *svm = clSVMAlloc(c->context, CL_MEM_READ_WRITE, size, 0);
    if (svm == NULL) check_fail(1, "clSVMAlloc gave no memory");
    check_pattern(h->expected, size, 8);
    cl_need(clEnqueueSVMMap(c->queue, CL_TRUE, CL_MAP_WRITE, svm, size, 0, NULL, NULL), "clEnqueueSVMMap");
    memcpy(svm, h->expected, size);
    cl_need(clEnqueueSVMUnmap(c->queue, svm, 0, NULL, NULL), "clEnqueueSVMUnmap");
    cl_need(clEnqueueSVMMemcpy(c->queue, CL_TRUE, h->got, svm, size, 0, NULL, NULL), "clEnqueueSVMMemcpy");
    check_equal("shared virtual memory, written through its pointer", h->got, h->expected, size);

    check_pattern(h->expected, size, 9);
    cl_need(clEnqueueSVMMemcpy(c->queue, CL_TRUE, svm, h->expected, size, 0, NULL, NULL),
            "clEnqueueSVMMemcpy");
    cl_need(clEnqueueSVMMap(c->queue, CL_TRUE, CL_MAP_READ, svm, size, 0, NULL, NULL), "clEnqueueSVMMap");
    check_equal("shared virtual memory, copied into", svm, h->expected, size);
    cl_need(clEnqueueSVMUnmap(c->queue, svm, 0, NULL, NULL), "clEnqueueSVMUnmap");
    cl_need(clFinish(c->queue), "clFinish");
    clSVMFree(c->context, svm);
}

int main(void)
{
    static const size_t sizes[] = {1, 13, 4096, 65536, 1000000, 32 * CHECK_MIB, SIZE_MOST};
    struct cl c;
    cl_start(&c);
    cl_print_device(&c);
    struct host h = {check_memory(SIZE_MOST), check_memory(SIZE_MOST)};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        blocking(&c, &h, sizes[i]);
        non_blocking(&c, &h, sizes[i]);
    }
    part_of_buffer(&c, &h);
    mapped(&c, &h, 4096);
    mapped(&c, &h, 16 * CHECK_MIB);
    host_pointer(&c, &h, 65536);
    host_pointer(&c, &h, 40 * CHECK_MIB);
    shared_virtual(&c, &h, 4096);
    shared_virtual(&c, &h, 5 * CHECK_MIB);
    cl_stop(&c);
    free(h.expected);
    free(h.got);
    return 0;
}
