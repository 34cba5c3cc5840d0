/* SPDX-License-Identifier: MIT */
/* monitor.h — vidmm_env on threads: one mutex, one worker thread per adapter.
 * Owns: who owns the adapter now, when vidmm_run is called, the waiters and the watches.
 * Calls: vidmm_run, guard.c, pthreads, futexes. No destructor and no exit handler: the library is used
 * until the process ends, also by other people's exit handlers.
 *
 * Whoever owns the adapter drives it: leave and wait call vidmm_run a few times before they let go. The
 * worker is for what happens while nobody calls: reports of the device (poke), deadlines, long work. It
 * steps back as soon as a client wants to enter, because that client's leave carries the work on. Nobody
 * ever spins, so one CPU is enough. */
#ifndef HOST_MONITOR_H
#define HOST_MONITOR_H

#include <vidmm/env.h>
#include <vidmm/vidmm.h>

struct host_monitor;

/* NULL: no memory. It accepts pokes at once and everything else after monitor_start. */
struct host_monitor *monitor_create(void);
/* Gives it the adapter and starts the worker, all signals blocked. Fails: false, no thread. */
bool monitor_start(struct host_monitor *, struct vidmm_adapter *);
/* The adapter is gone for clients: waits answer false, enter too, watches never fire. The worker goes on. */
void monitor_remove(struct host_monitor *);
/* Ends the worker; pokes are still accepted, nothing is driven any more. */
void monitor_stop(struct host_monitor *);
/* Needs: monitor_stop, if it was started, and that nobody calls or pokes. */
void monitor_destroy(struct host_monitor *);

/* For vidmm_platform. Any thread, wait-free (at most one system call, none if the worker is awake),
 * async-signal-safe. */
void monitor_poke(void *monitor);

/* `wait` keeps the adapter owned when it answers false: the caller leaves in either case. A client's event is
 * an eventfd; other descriptors are refused, so that a wrong one is neither blocked on nor written to. */
const struct vidmm_env *monitor_env(struct host_monitor *);

/* The adapter, owned without a client: for the composition root, also after monitor_remove. */
void monitor_lock(struct host_monitor *);
void monitor_unlock(struct host_monitor *);

#endif
