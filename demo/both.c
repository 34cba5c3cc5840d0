/* SPDX-License-Identifier: MIT */
/* both.c — OpenCL and Level Zero in one program: two drivers share one adapter and one video memory.
 * The OpenCL buffer is filled before Level Zero starts and read again after it has worked. */
#include "check.h"
#include "cl.h"
#include "ze.h"

#include <stdlib.h>
#include <string.h>

#define SIZE (8 * CHECK_MIB)

int main(void)
{
    struct cl c;
    struct ze z;
    cl_int error = CL_SUCCESS;
    unsigned char *expected = check_memory(SIZE), *got = check_memory(SIZE), *kept = check_memory(SIZE);

    cl_start(&c);
    cl_mem buffer = clCreateBuffer(c.context, CL_MEM_READ_WRITE, SIZE, NULL, &error);
    cl_need(error, "clCreateBuffer");
    check_pattern(kept, SIZE, 1);
    cl_need(clEnqueueWriteBuffer(c.queue, buffer, CL_TRUE, 0, SIZE, kept, 0, NULL, NULL), "write");

    ze_start(&z);
    for (unsigned round = 0; round < 3; round++) {
        ze_copy_chain(&z, SIZE, expected, got);
        memset(got, 0, SIZE);
        cl_need(clEnqueueReadBuffer(c.queue, buffer, CL_TRUE, 0, SIZE, got, 0, NULL, NULL), "read");
        check_equal("OpenCL buffer beside Level Zero", got, kept, SIZE);
    }
    cl_need(clReleaseMemObject(buffer), "clReleaseMemObject");
    ze_stop(&z);
    cl_stop(&c);
    free(expected);
    free(got);
    free(kept);
    return 0;
}
