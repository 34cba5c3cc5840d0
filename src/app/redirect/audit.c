/* SPDX-License-Identifier: MIT */
/* audit.c — libvidmm-audit.so, loaded through LD_AUDIT by `vidmm run`.
 * Owns: the answer to "where is libdxcore.so" and the binding of path functions in the program.
 * Calls: getenv once, in la_version; afterwards nothing, because these hooks run inside the dynamic linker.
 * The wrappers run on the program's threads and call the program's own C library, so its errno is right.
 *
 * Why this one is tried first: it needs no change to how libraries are opened.  An auditor is asked for the
 * file of every dlopen and for the binding of every called function, also in libraries opened with
 * RTLD_DEEPBIND, which never see a preloaded definition.  It is not asked about functions whose address is
 * taken as data; that is why dlopen is redirected by file and not by function. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PUBLIC __attribute__((visibility("default")))
#define HOOK_LINK(name) __attribute__((visibility("hidden")))
#define HOOK_REAL(name) real_##name

#include "hooks.h"

#define HOOK_SLOT(name) static uintptr_t real_##name;
HOOKS_PATH_FIRST(HOOK_SLOT)
HOOKS_PATH_SECOND(HOOK_SLOT)
HOOKS_PATH_THIRD(HOOK_SLOT)
HOOKS_DEFINE

static char library[4096];

/* Marks the program's C library among the cookies.  Only its definitions are wrapped, so that an interposer
 * (fakeroot, a sanitizer) keeps its place: it is bound as before, and what it calls in turn is wrapped. */
static char libc_mark;

struct hook {
    const char *name;
    uintptr_t wrapper;
    uintptr_t *real;
};

#define HOOK_ROW(name) {#name, (uintptr_t)hook_##name, &real_##name},
static const struct hook hooks[] = {
    HOOKS_PATH_FIRST(HOOK_ROW) HOOKS_PATH_SECOND(HOOK_ROW) HOOKS_PATH_THIRD(HOOK_ROW)
};

PUBLIC unsigned la_version(unsigned version)
{
    const char *path = getenv(REDIRECT_ENV_LIBRARY);
    if (path != NULL && strlen(path) < sizeof library) strcpy(library, path);
    return version < LAV_CURRENT ? version : LAV_CURRENT;
}

PUBLIC char *la_objsearch(const char *name, uintptr_t *cookie, unsigned flag)
{
    (void)cookie;
    (void)flag;
    if (library[0] != '\0' && hide_is_driver_path(name)) return library;
    return (char *)name;
}

static bool is_libc(const char *path)
{
    const char *base = path != NULL ? strrchr(path, '/') : NULL;
    return base != NULL && strcmp(base, "/libc.so.6") == 0;
}

PUBLIC unsigned la_objopen(struct link_map *map, Lmid_t lmid, uintptr_t *cookie)
{
    /* A second C library, in a namespace the program made itself, keeps its plain bindings: there is one
     * address per function to return to. */
    if (lmid == LM_ID_BASE && is_libc(map->l_name)) *cookie = (uintptr_t)&libc_mark;
    return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}

PUBLIC uintptr_t la_symbind64(Elf64_Sym *sym, unsigned ndx, uintptr_t *refcook, uintptr_t *defcook,
                              unsigned *flags, const char *symname)
{
    (void)ndx;
    (void)refcook;
    (void)flags;
    uintptr_t plain = sym->st_value;
    if (*defcook != (uintptr_t)&libc_mark) return plain;
    for (size_t i = 0; i < sizeof hooks / sizeof hooks[0]; i++) {
        if (strcmp(hooks[i].name, symname) != 0) continue;
        *hooks[i].real = plain;
        return hooks[i].wrapper;
    }
    return plain;
}
