/* SPDX-License-Identifier: MIT */
/* hooks.h — the C library functions that take a path, and their wrappers, written once for both libraries.
 * audit.c and preload.c expand HOOKS_DEFINE once each and define before:
 *   HOOK_LINK(name)  how the wrapper is named for the linker (preload: the name it replaces; audit: nothing)
 *   HOOK_REAL(name)  an expression with the address of the C library's own function
 * Every wrapper passes its arguments on untouched except the path.  Types are flattened to `long`: integers
 * and pointers of these functions travel in the same registers on the 64-bit ABIs we build for, a register
 * the caller never filled is ignored by the real function as well, and so a variadic mode needs no va_list.
 * Needs -O2: the real dlopen learns its caller's search path and link namespace from its return address, so
 * our dlopen must leave by a jump.  tests/cli checks that a program's $ORIGIN search path still works. */
#ifndef VIDMM_APP_REDIRECT_HOOKS_H
#define VIDMM_APP_REDIRECT_HOOKS_H

#include "hide.h"

#define HOOKS_PATH_FIRST(X) \
    X(open) X(open64) X(__open_2) X(__open64_2) X(creat) X(creat64) X(fopen) X(fopen64) X(freopen) \
    X(freopen64) X(opendir) X(scandir) X(scandir64) X(access) X(euidaccess) X(eaccess) X(stat) X(stat64) \
    X(lstat) X(lstat64) X(readlink) X(__readlink_chk)
#define HOOKS_PATH_SECOND(X) \
    X(openat) X(openat64) X(__openat_2) X(__openat64_2) X(faccessat) X(fstatat) X(fstatat64) X(statx) \
    X(readlinkat) X(__readlinkat_chk) X(__xstat) X(__xstat64) X(__lxstat) X(__lxstat64)
#define HOOKS_PATH_THIRD(X) X(__fxstatat) X(__fxstatat64)

typedef long hook_call(long, long, long, long, long);

#define HOOK_DEFINE_FIRST(name)                                                           \
    long hook_##name(const char *path, long b, long c, long d, long e) HOOK_LINK(name);   \
    long hook_##name(const char *path, long b, long c, long d, long e)                    \
    {                                                                                     \
        return ((hook_call *)HOOK_REAL(name))((long)hide_path(path), b, c, d, e);         \
    }
#define HOOK_DEFINE_SECOND(name)                                                          \
    long hook_##name(long a, const char *path, long c, long d, long e) HOOK_LINK(name);   \
    long hook_##name(long a, const char *path, long c, long d, long e)                    \
    {                                                                                     \
        return ((hook_call *)HOOK_REAL(name))(a, (long)hide_path(path), c, d, e);         \
    }
#define HOOK_DEFINE_THIRD(name)                                                           \
    long hook_##name(long a, long b, const char *path, long d, long e) HOOK_LINK(name);   \
    long hook_##name(long a, long b, const char *path, long d, long e)                    \
    {                                                                                     \
        return ((hook_call *)HOOK_REAL(name))(a, b, (long)hide_path(path), d, e);         \
    }

#define HOOKS_DEFINE                      \
    HOOKS_PATH_FIRST(HOOK_DEFINE_FIRST)   \
    HOOKS_PATH_SECOND(HOOK_DEFINE_SECOND) \
    HOOKS_PATH_THIRD(HOOK_DEFINE_THIRD)

#endif
