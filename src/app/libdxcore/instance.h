/* SPDX-License-Identifier: MIT */
/* instance.h - the one adapter of this OS process, put together at the first call. */
#ifndef VIDMM_APP_INSTANCE_H
#define VIDMM_APP_INSTANCE_H

#include "kmt/kmt.h"

/* The client that exported functions act for when this thread calls them: the same one for all threads,
 * except in tests (VIDMM_TEST_PROCESSES).  NULL: *status tells why, the same answer every time.
 * Any thread. */
struct kmt_process *instance_process(NTSTATUS *status);

#endif
