/* SPDX-License-Identifier: MIT */
/* preload.c — libvidmm-preload.so, loaded through LD_PRELOAD by `vidmm run` where auditing is not to be had.
 * Owns: the process's definitions of dlopen and of the C library functions that take a path.
 * Calls: getenv, dlsym.
 *
 * RTLD_DEEPBIND is taken away from every dlopen: a library opened with it binds past a preloaded definition,
 * and sanitizer runtimes refuse the flag.  The audit library leaves it alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define PUBLIC __attribute__((visibility("default")))
#define HOOK_LINK(name) __asm__(#name) PUBLIC
#define HOOK_REAL(name) real_address(&real_##name, #name)

#include "hooks.h"

/* Looked up at the first call, not in a constructor: other libraries' constructors open files before ours
 * has run.  Two threads may both look; they store the same value. */
static uintptr_t real_address(_Atomic(uintptr_t) *slot, const char *name)
{
    uintptr_t address = atomic_load_explicit(slot, memory_order_relaxed);
    if (address != 0) return address;
    address = (uintptr_t)dlsym(RTLD_NEXT, name);
    if (address == 0) abort();     /* only a program that bound a name its own C library lacks */
    atomic_store_explicit(slot, address, memory_order_relaxed);
    return address;
}

#define HOOK_SLOT(name) static _Atomic(uintptr_t) real_##name;
HOOKS_PATH_FIRST(HOOK_SLOT)
HOOKS_PATH_SECOND(HOOK_SLOT)
HOOKS_PATH_THIRD(HOOK_SLOT)
HOOKS_DEFINE

static _Atomic(uintptr_t) real_dlopen;

void *hook_dlopen(const char *path, int flags) HOOK_LINK(dlopen);
void *hook_dlopen(const char *path, int flags)
{
    const char *library = hide_is_driver_path(path) ? getenv(REDIRECT_ENV_LIBRARY) : NULL;
    if (library != NULL) path = library;
    return ((void *(*)(const char *, int))HOOK_REAL(dlopen))(path, flags & ~RTLD_DEEPBIND);
}
