/* SPDX-License-Identifier: MIT */
/* probe.c — the program that the tests of the command run: one word says what it does.
 * It behaves as the driver does: opens the absolute path, binds with RTLD_DEEPBIND, looks into /dev/dri. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int (*open_driver(int flags))(void)
{
    struct link_map *map = NULL;
    void *library = dlopen("/usr/lib/wsl/lib/libdxcore.so", RTLD_NOW | flags);
    if (library == NULL) {
        printf("no library: %s\n", dlerror());
        return NULL;
    }
    dlinfo(library, RTLD_DI_LINKMAP, &map);
    printf("library %s\n", map->l_name);
    return (int (*)(void))(uintptr_t)dlsym(library, "stub_open");
}

static int do_open(int flags)
{
    int (*stub)(void) = open_driver(flags);
    if (stub == NULL) return 1;
    printf("stub %d\n", stub());
    fflush(stdout);
    return 0;
}

static void seen(const char *how, int ok)
{
    printf("%s %s\n", how, ok ? "seen" : errno == ENOENT ? "ENOENT" : "another error");
}

/* Each way leads to a file that the test put there. */
static int look_into_dri(void)
{
    char link[64];
    struct stat st;
    errno = 0;
    seen("open", open("/dev/dri/renderD128", O_RDONLY) >= 0);
    seen("openat", openat(AT_FDCWD, "/dev//dri/./renderD128", O_RDONLY) >= 0);
    seen("opendir", opendir("/dev/dri") != NULL);
    seen("stat", stat("/dev/dri/renderD128", &st) == 0);
    seen("lstat", lstat("/dev/dri", &st) == 0);
    seen("fstatat", fstatat(AT_FDCWD, "/dev/dri/", &st, 0) == 0);
    seen("access", access("/dev/dri/renderD128", R_OK) == 0);
    seen("fopen", fopen("/dev/dri/renderD128", "r") != NULL);
    seen("readlink", readlink("/dev/dri/link", link, sizeof link) > 0);
    seen("neighbour", open("/dev/driver", O_RDONLY) >= 0);
    seen("null", open("/dev/null", O_RDONLY) >= 0);
    return 0;
}

static int find_neighbour(void)
{
    void *library = dlopen("libneighbour.so", RTLD_NOW);
    if (library == NULL) printf("%s\n", dlerror());
    return library == NULL;
}

static void on_term(int number)
{
    (void)number;
    _exit(42);
}

static _Noreturn void wait_for_term(void)
{
    signal(SIGTERM, on_term);
    printf("ready\n");
    fflush(stdout);
    for (;;) pause();
}

static int raise_number(const char *text)
{
    raise(atoi(text));
    return 99;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "exit") == 0) return atoi(argv[2]);
    if (strcmp(word, "raise") == 0) return raise_number(argv[2]);
    if (strcmp(word, "open") == 0) return do_open(0);
    if (strcmp(word, "deepbind") == 0) return do_open(RTLD_DEEPBIND);
    if (strcmp(word, "open-then-die") == 0) return do_open(0) != 0 ? 1 : raise_number("9");
    if (strcmp(word, "dri") == 0) return look_into_dri();
    if (strcmp(word, "neighbour") == 0) return find_neighbour();
    if (strcmp(word, "wait") == 0) wait_for_term();
    if (strcmp(word, "words") == 0) {
        for (int i = 2; i < argc; i++) printf("[%s]", argv[i]);
        return 0;
    }
    return 98;
}
