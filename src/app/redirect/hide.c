/* SPDX-License-Identifier: MIT */
/* hide.c — path rules shared by the audit and the preload library.  Calls nothing at all. */
#include "hide.h"

#include <stddef.h>

/* The parent directory is missing too, so even O_CREAT answers ENOENT; /proc itself need not be mounted. */
static const char nowhere[] = "/proc/vidmm-hides-dev-dri/nothing";

/* Skips slashes and "." components: "/dev//./dri" names the same directory as "/dev/dri". */
static const char *skip_separators(const char *p)
{
    while (*p == '/' || (*p == '.' && (p[1] == '/' || p[1] == '\0'))) p++;
    return p;
}

/* Gives what follows the component, or NULL when the next component of p is a different one. */
static const char *after_component(const char *p, const char *component)
{
    p = skip_separators(p);
    while (*component != '\0' && *p == *component) {
        p++;
        component++;
    }
    return *component == '\0' && (*p == '/' || *p == '\0') ? p : NULL;
}

const char *hide_path(const char *path)
{
    if (path == NULL || path[0] != '/') return path;
    const char *rest = after_component(path, "dev");
    if (rest != NULL) rest = after_component(rest, "dri");
    return rest != NULL ? nowhere : path;
}

static bool same_text(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

bool hide_is_driver_path(const char *path)
{
    if (path == NULL) return false;
    return same_text(path, REDIRECT_DRIVER_PATH) || same_text(path, "libdxcore.so");
}
