/* SPDX-License-Identifier: MIT */
/* libraries.c — where our own libraries are, seen from the vidmm executable.
 * Nothing is installed at the driver's path; the executable's place is the only thing we can be sure of, so
 * the build tree, an installed tree and an installed tree that was moved all work without configuration. */
#define _GNU_SOURCE
#include "cli.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Relative ones start at the executable's directory.  The build tree comes first: its executable never lies
 * in an installed tree, while an installed one could by chance have a neighbour of such a name. */
static const char *const places[] = {
    "../redirect", "../libdxcore", VIDMM_LIBDIR_FROM_BIN, VIDMM_PRIVATE_LIBDIR,
};

/* Without /proc, as in a bare chroot, the name we were started by has to do; nothing has changed the working
 * directory yet. */
static bool own_path(char *buffer, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", buffer, size - 1);
    if (n > 0) {
        buffer[n] = '\0';
        return true;
    }
    const char *started_as = (const char *)getauxval(AT_EXECFN);
    char *real = started_as != NULL ? realpath(started_as, NULL) : NULL;
    bool ok = real != NULL && strlen(real) < size;
    if (ok) strcpy(buffer, real);
    free(real);
    return ok;
}

/* Gives the length of the directory part of the running executable's path, 0 when it cannot be known. */
static size_t own_directory(char *buffer, size_t size)
{
    if (!own_path(buffer, size)) return 0;
    char *slash = strrchr(buffer, '/');
    if (slash == NULL) return 0;
    *slash = '\0';
    return (size_t)(slash - buffer);
}

/* Fills `out` with the real path of base/place/name when there is such a file. */
static bool try_place(char *out, const char *base, const char *place, const char *name)
{
    char path[3 * CLI_PATH_MAX];
    if (place[0] == '/') snprintf(path, sizeof path, "%s/%s", place, name);
    else snprintf(path, sizeof path, "%s/%s/%s", base, place, name);
    char *real = realpath(path, NULL);
    bool ok = real != NULL && strlen(real) < CLI_PATH_MAX && access(real, R_OK) == 0;
    if (ok) strcpy(out, real);
    free(real);
    return ok;
}

static void find_one(char *out, const char *base, const char *name)
{
    const char *chosen = getenv("VIDMM_LIBDIR");
    out[0] = '\0';
    if (chosen != NULL && chosen[0] == '/' && try_place(out, "", chosen, name)) return;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (try_place(out, base, places[i], name)) return;
}

/* A library built with a sanitizer needs that sanitizer's runtime loaded before everything else; its name
 * stands in the library's string table.  clang names none: there the program has the runtime, and the library
 * asks for its functions. */
static void find_sanitizer(struct libraries *l, const char *library)
{
    static const char *const runtimes[] = {"libasan.so.", "libtsan.so.", "libubsan.so."};
    static const char *const functions[] = {"__asan_init", "__tsan_init"};
    struct stat st;
    char *out = l->sanitizer;
    out[0] = '\0';
    int fd = open(library, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    void *text = fstat(fd, &st) == 0 && st.st_size > 0
                     ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    close(fd);
    if (text == MAP_FAILED) return;
    for (size_t i = 0; i < sizeof runtimes / sizeof runtimes[0] && out[0] == '\0'; i++) {
        const char *at = memmem(text, (size_t)st.st_size, runtimes[i], strlen(runtimes[i]));
        if (at != NULL) snprintf(out, sizeof l->sanitizer, "%s", at);
    }
    l->sanitized = out[0] != '\0';
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
        l->sanitized |= memmem(text, (size_t)st.st_size, functions[i], strlen(functions[i])) != NULL;
    munmap(text, (size_t)st.st_size);
}

int libraries_find(struct libraries *l)
{
    char base[CLI_PATH_MAX];
    if (own_directory(base, sizeof base) == 0) base[0] = '\0'; /* the compiled-in path is left */
    find_one(l->dxcore, base, "libdxcore.so");
    find_one(l->audit, base, "libvidmm-audit.so");
    find_one(l->preload, base, "libvidmm-preload.so");
    if (l->dxcore[0] == '\0')
        return complain(EXIT_OWN_FAILURE,
                        "libdxcore.so is neither near %s nor in %s: reinstall, or build all of it",
                        base[0] != '\0' ? base : "the executable", VIDMM_PRIVATE_LIBDIR);
    find_sanitizer(l, l->dxcore);
    return 0;
}
