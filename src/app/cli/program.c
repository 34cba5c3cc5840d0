/* SPDX-License-Identifier: MIT */
/* program.c — finds the program as the shell would, and looks into it: can the dynamic linker redirect it?
 * Reads files only.  A wrong guess does no harm: --via overrides it, and a run in which our adapter was never
 * opened is reported as such. */
#define _GNU_SOURCE
#include "cli.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SCRIPTS_MAX 4            /* the kernel follows as many "#!" lines */

static bool is_runnable(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static int complain_not_runnable(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return complain(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN, "cannot run %s: %s", path,
                        strerror(errno));
    return complain(EXIT_CANNOT_RUN, "cannot run %s: %s", path,
                    S_ISDIR(st.st_mode) ? "it is a directory" : "it is not an executable file");
}

static int search_path(char *out, const char *name)
{
    const char *dirs = getenv("PATH");
    for (const char *d = dirs != NULL ? dirs : "/usr/bin:/bin"; d != NULL;) {
        size_t n = strcspn(d, ":");
        snprintf(out, CLI_PATH_MAX, "%.*s/%s", n != 0 ? (int)n : 1, n != 0 ? d : ".", name);
        if (is_runnable(out)) return 0;
        d = d[n] == ':' ? d + n + 1 : NULL;
    }
    return complain(EXIT_NOT_FOUND, "cannot run %s: no such program in PATH", name);
}

static bool read_at(int fd, void *buffer, size_t size, uint64_t offset)
{
    return pread(fd, buffer, size, (off_t)offset) == (ssize_t)size;
}

/* The linker of the C library we build for; others ignore LD_AUDIT or cannot load our libraries. */
static const char *judge_interpreter(int fd, const Elf64_Phdr *ph)
{
    char name[CLI_PATH_MAX] = "";
    if (ph->p_filesz >= sizeof name || !read_at(fd, name, ph->p_filesz, ph->p_offset))
        return "its header is damaged";
    const char *base = strrchr(name, '/');
    return base != NULL && strncmp(base, "/ld-linux", 9) == 0 ? NULL
                                                              : "it uses another C library's dynamic linker";
}

static const char *judge_elf(int fd)
{
    Elf64_Ehdr eh;
    if (!read_at(fd, &eh, sizeof eh, 0) || memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0) return NULL;
    if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_phentsize != sizeof(Elf64_Phdr)) return NULL;
    for (unsigned i = 0; i < eh.e_phnum; i++) {
        Elf64_Phdr ph;
        if (!read_at(fd, &ph, sizeof ph, eh.e_phoff + i * sizeof ph)) return NULL;
        if (ph.p_type == PT_INTERP) return judge_interpreter(fd, &ph);
    }
    return "it is statically linked";
}

/* For such a file the dynamic linker drops LD_AUDIT and LD_PRELOAD paths. */
static bool raises_rights(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return false;
    bool setuid = (st.st_mode & S_ISUID) != 0 && st.st_uid != getuid();
    bool setgid = (st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st.st_gid != getgid();
    return setuid || setgid || fgetxattr(fd, "security.capability", NULL, 0) > 0;
}

/* A script is what its interpreter is.  Gives the interpreter's path, or NULL for anything else. */
static char *script_interpreter(int fd, char *line, size_t size)
{
    ssize_t n = pread(fd, line, size - 1, 0);
    if (n < 3 || line[0] != '#' || line[1] != '!') return NULL;
    line[n] = '\0';
    char *start = line + 2 + strspn(line + 2, " \t");
    start[strcspn(start, " \t\n")] = '\0';
    return start[0] != '\0' ? start : NULL;
}

static const char *judge(const char *path)
{
    char lines[2][256];
    for (int depth = 0; depth < SCRIPTS_MAX; depth++) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return NULL;       /* executable but not readable: assume the usual case */
        const char *next = script_interpreter(fd, lines[depth & 1], sizeof lines[0]);
        const char *why = next != NULL        ? NULL
                          : raises_rights(fd) ? "it runs with raised rights"
                                              : judge_elf(fd);
        close(fd);
        if (next == NULL) return why;
        path = next;
    }
    return NULL;
}

int program_find(struct program *p, const char *name)
{
    p->why_namespace = NULL;
    if (strlen(name) > CLI_PATH_MAX / 2) return complain(EXIT_NOT_FOUND, "the program's name is too long");
    if (strchr(name, '/') == NULL) {
        int status = search_path(p->path, name);
        if (status != 0) return status;
    } else {
        strcpy(p->path, name);
        if (!is_runnable(name)) return complain_not_runnable(name);
    }
    p->why_namespace = judge(p->path);
    return 0;
}
