/* SPDX-License-Identifier: MIT */
/* cl_pressure.c — more buffers than video memory: 8 of 32 MiB where 64 MiB are simulated.
 * All must stay correct while the memory manager moves them out and back in; when four are released there is
 * room again, and the others are used so that they can come home. */
#include "check.h"
#include "cl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BUFFERS 8u
#define SIZE (32 * CHECK_MIB)

struct pressure {
    struct cl cl;
    cl_mem buffer[BUFFERS];
    unsigned char *expected;
    unsigned char *got;
};

static void fill(struct pressure *p, unsigned i)
{
    cl_int error = CL_SUCCESS;
    p->buffer[i] = clCreateBuffer(p->cl.context, CL_MEM_READ_WRITE, SIZE, NULL, &error);
    cl_need(error, "clCreateBuffer");
    check_pattern(p->expected, SIZE, 100 + i);
    cl_need(clEnqueueWriteBuffer(p->cl.queue, p->buffer[i], CL_TRUE, 0, SIZE, p->expected, 0, NULL, NULL),
            "write");
    printf("  filled buffer %u of %u\n", i + 1, BUFFERS);
    fflush(stdout);
}

static void compare(struct pressure *p, unsigned i, const char *what)
{
    char line[64];
    snprintf(line, sizeof line, "%s, buffer %u", what, i + 1);
    check_pattern(p->expected, SIZE, 100 + i);
    memset(p->got, 0, SIZE);
    cl_need(clEnqueueReadBuffer(p->cl.queue, p->buffer[i], CL_TRUE, 0, SIZE, p->got, 0, NULL, NULL), "read");
    check_equal(line, p->got, p->expected, SIZE);
}

/* A short write of what is there already: a use of the buffer, and a moment for the memory manager. */
static void touch(struct pressure *p, unsigned i)
{
    const struct timespec moment = {0, 20000000};
    check_pattern(p->expected, 4096, 100 + i);
    cl_need(clEnqueueWriteBuffer(p->cl.queue, p->buffer[i], CL_TRUE, 0, 4096, p->expected, 0, NULL, NULL),
            "write");
    nanosleep(&moment, NULL);
}

int main(void)
{
    struct pressure p;
    cl_start(&p.cl);
    p.expected = check_memory(SIZE);
    p.got = check_memory(SIZE);
    for (unsigned i = 0; i < BUFFERS; i++) fill(&p, i);
    for (unsigned i = 0; i < BUFFERS; i++) compare(&p, i, "first round");
    for (unsigned i = 0; i < BUFFERS; i++) compare(&p, i, "second round");

    /* every other one, so that buffers from both halves of the history remain */
    for (unsigned i = 0; i < BUFFERS; i += 2) cl_need(clReleaseMemObject(p.buffer[i]), "clReleaseMemObject");
    printf("  released four buffers\n");
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 1; i < BUFFERS; i += 2) touch(&p, i);
    for (unsigned i = 1; i < BUFFERS; i += 2) compare(&p, i, "after the release");
    for (unsigned i = 1; i < BUFFERS; i += 2) cl_need(clReleaseMemObject(p.buffer[i]), "clReleaseMemObject");
    cl_stop(&p.cl);
    free(p.expected);
    free(p.got);
    return 0;
}
