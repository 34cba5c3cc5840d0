/* SPDX-License-Identifier: MIT */
/* space.c — the third way of redirection: a mount namespace whose /usr/lib is a read-only overlay with ours
 * on top, so that the driver's absolute path exists for this one program and its children. Calls the kernel
 * only.  Everything mounted here dies with the last process of the namespace; no directory is made outside of
 * it.  The overlay needs no writable layer, so the machine's /usr/lib cannot change either. */
#define _GNU_SOURCE
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(char *why, size_t size, const char *what)
{
    snprintf(why, size, "%s: %s", what, strerror(errno));
    return -1;
}

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t n = write(fd, text, strlen(text));
    close(fd);
    return n == (ssize_t)strlen(text) ? 0 : -1;
}

/* The program keeps the caller's user and group id; ids other than these appear as nobody inside. */
static int map_ids(uid_t uid, gid_t gid)
{
    char line[64];
    if (write_file("/proc/self/setgroups", "deny") != 0 && errno != ENOENT) return -1;
    snprintf(line, sizeof line, "%u %u 1", gid, gid);
    if (write_file("/proc/self/gid_map", line) != 0) return -1;
    snprintf(line, sizeof line, "%u %u 1", uid, uid);
    return write_file("/proc/self/uid_map", line);
}

static int separate(char *why, size_t size)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    /* root needs no user namespace, and without one keeps its access to other users' files */
    if (uid == 0 && unshare(CLONE_NEWNS) == 0) return 0;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return fail(why, size, "the kernel refuses a user namespace (usual inside chroots and containers)");
    if (map_ids(uid, gid) != 0) return fail(why, size, "cannot map the user id into the namespace");
    return 0;
}

/* Builds our layer on a tmpfs over /usr while the working directory still is the real /usr/lib, so no other
 * directory is needed.  The link is resolved inside the namespace, after the tmpfs is gone from sight. */
static int overlay_lib(const char *dxcore, char *why, size_t size)
{
    if (chdir("/usr/lib") != 0) return fail(why, size, "cannot enter /usr/lib");
    if (mount("tmpfs", "/usr", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64k") != 0)
        return fail(why, size, "cannot mount a tmpfs in the namespace");
    if (mkdir("/usr/layer", 0755) != 0 || mkdir("/usr/layer/wsl", 0755) != 0 ||
        mkdir("/usr/layer/wsl/lib", 0755) != 0 || symlink(dxcore, "/usr/layer/wsl/lib/libdxcore.so") != 0)
        return fail(why, size, "cannot fill the overlay's layer");
    if (mount("overlay", ".", "overlay", MS_RDONLY, "lowerdir=/usr/layer:.") != 0)
        return fail(why, size, "cannot mount the overlay over /usr/lib");
    if (umount2("/usr", MNT_DETACH) != 0) return fail(why, size, "cannot uncover /usr");
    return 0;
}

static int hide_devices(char *why, size_t size)
{
    if (access("/dev/dri", F_OK) != 0) return 0;
    if (mount("tmpfs", "/dev/dri", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV, "mode=755,size=4k") != 0)
        return fail(why, size, "cannot hide /dev/dri");
    return 0;
}

int space_enter(const char *dxcore, char *why, size_t why_size)
{
    int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (separate(why, why_size) != 0) return -1;
    /* Before any mount of ours: root's new namespace still shares mount events with the machine. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return fail(why, why_size, "cannot make the namespace's mounts private (usual inside a chroot)");
    if (overlay_lib(dxcore, why, why_size) != 0 || hide_devices(why, why_size) != 0) return -1;
    if (here < 0 || fchdir(here) != 0) return fail(why, why_size, "cannot return to the working directory");
    close(here);
    return 0;
}
