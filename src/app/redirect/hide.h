/* SPDX-License-Identifier: MIT */
/* hide.h — the two decisions both redirection libraries make about a path.
 * Owns: nothing but text rules; calls nothing, so it is safe inside the dynamic linker.
 *
 * A hidden path is not answered by us with errno: an audit library lives in a link namespace of its own
 * and has an errno of its own.  Instead the real function is called with a path that cannot exist, and
 * reports ENOENT to its caller by itself. */
#ifndef VIDMM_APP_REDIRECT_HIDE_H
#define VIDMM_APP_REDIRECT_HIDE_H

#include <stdbool.h>

/* Where the driver looks for us.  The driver opens this absolute path and nothing else. */
#define REDIRECT_DRIVER_PATH "/usr/lib/wsl/lib/libdxcore.so"

/* Environment: the absolute path of our libdxcore.so, set by `vidmm run`. */
#define REDIRECT_ENV_LIBRARY "VIDMM_LIBRARY"

/* Gives path itself, or, when it names /dev/dri or something below it, a path that never exists. */
const char *hide_path(const char *path);

/* True when path is one of the names under which a client looks for libdxcore.so. */
bool hide_is_driver_path(const char *path);

#endif
