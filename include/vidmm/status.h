/* SPDX-License-Identifier: MIT */
/* status.h — what a call can answer. Errors are negative; a failing call changed nothing. */
#ifndef VIDMM_STATUS_H
#define VIDMM_STATUS_H

typedef enum vidmm_status {
    VIDMM_OK = 0,             /* done */
    VIDMM_PENDING = 1,        /* accepted; wait for the paging fence value that was returned */
    VIDMM_INVALID = -1,       /* a bad argument: alignment, range, flag, foreign or stale object */
    VIDMM_NO_MEMORY = -2,     /* no system memory, or the budget does not allow it */
    VIDMM_NO_VIDEO_MEMORY = -3, /* no address range fits, or a segment can not hold it */
    VIDMM_LIMIT = -4,         /* a named maximum of types.h would be exceeded */
    VIDMM_BUSY = -5,          /* cannot be done in the object's present state */
    VIDMM_NOT_SUPPORTED = -6, /* the driver or this release does not offer it */
    VIDMM_ACCESS_DENIED = -7, /* the object was created without this right */
    VIDMM_DEVICE_LOST = -8,   /* the device is in error or the adapter is gone */
    VIDMM_BUFFER_FULL = -9,   /* driver only: the paging buffer has no room (INSUFFICIENT_DMA_BUFFER) */
    VIDMM_FAILED = -10,       /* driver only: any other failure; fatal for the adapter */
    /* what a driver's render finds in a command buffer */
    VIDMM_ILLEGAL_INSTRUCTION = -20,    /* no such command */
    VIDMM_PRIVILEGED_INSTRUCTION = -21, /* a command that clients may not use */
    VIDMM_INVALID_USER_BUFFER = -22,    /* cut short, or not in the form the driver needs */
    VIDMM_INVALID_HANDLE = -23,         /* names an object that does not exist */
    VIDMM_ALLOCATION_INVALID = -24      /* an allocation that cannot be used this way (any more) */
} vidmm_status;

#endif
