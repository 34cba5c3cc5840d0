/* SPDX-License-Identifier: MIT */
/* lock.h - the mutex of the device model. Held for a bounded piece of work, never over a wait. */
#ifndef SOFTGPU_LOCK_H
#define SOFTGPU_LOCK_H

#include <pthread.h>

struct gpu_lock { pthread_mutex_t mutex; };

static inline void lock_init(struct gpu_lock *l) { (void)pthread_mutex_init(&l->mutex, NULL); }
static inline void lock_fini(struct gpu_lock *l) { (void)pthread_mutex_destroy(&l->mutex); }
static inline void lock_take(struct gpu_lock *l) { (void)pthread_mutex_lock(&l->mutex); }
static inline void lock_drop(struct gpu_lock *l) { (void)pthread_mutex_unlock(&l->mutex); }

#endif
