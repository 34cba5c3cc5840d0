/* SPDX-License-Identifier: MIT */
/* adapters.c — `vidmm adapters`: the virtual GPUs as a program sees them.
 * Each profile is asked in a process of its own through the same DXCore factory that drivers use, so what is
 * printed is what they get.  One process is one profile, because libdxcore.so reads its settings once. */
#define _GNU_SOURCE
#include "cli.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The parts of DXCore that are needed, as plain-C interfaces: an object starts with a pointer to functions.
 */
struct guid { uint32_t a; uint16_t b, c; uint8_t d[8]; };
struct object { const void *const *functions; };

typedef int32_t create_factory_fn(const struct guid *, void **);
typedef uint32_t release_fn(struct object *);
typedef int32_t create_list_fn(struct object *, uint32_t, const struct guid *, const struct guid *, void **);
typedef int32_t get_adapter_fn(struct object *, uint32_t, const struct guid *, void **);
typedef uint32_t get_count_fn(struct object *);
typedef int32_t get_property_fn(struct object *, uint32_t, size_t, void *);
typedef int32_t get_size_fn(struct object *, uint32_t, size_t *);

enum { SLOT_RELEASE = 2, FACTORY_CREATE_LIST = 3, LIST_GET_ADAPTER = 3, LIST_GET_COUNT = 4,
       ADAPTER_GET_PROPERTY = 6, ADAPTER_GET_SIZE = 7 };
enum { PROPERTY_LUID = 0, PROPERTY_DESCRIPTION = 2, PROPERTY_HARDWARE = 3 };

static const struct guid id_factory = {
    0x78ee5945, 0xc36e, 0x4b13, {0xa6, 0x69, 0, 0x5d, 0xd1, 0x1c, 0x0f, 0x06}};
static const struct guid id_list = {
    0x526c7776, 0x40e9, 0x459b, {0xb7, 0x11, 0xf3, 0x2a, 0xd7, 0x6d, 0xfc, 0x28}};
static const struct guid id_adapter = {
    0xf0db4c7f, 0xfe5a, 0x42a2, {0xbd, 0x62, 0xf2, 0xa6, 0xcf, 0x6f, 0xc8, 0x3e}};
static const struct guid core_compute = {
    0x248e2800, 0xa793, 0x4724, {0xab, 0xaa, 0x23, 0xa6, 0xde, 0x1b, 0xe0, 0x90}};

#define SLOT(type, object, slot) ((type *)(uintptr_t)(object)->functions[slot])

static void release(struct object *object)
{
    SLOT(release_fn, object, SLOT_RELEASE)(object);
}

static void print_adapter(const char *profile, struct object *adapter)
{
    char name[256] = "no description";
    struct { uint32_t vendor, device, subsystem, revision; } hardware = {0};
    struct { uint32_t low; int32_t high; } luid = {0};
    size_t size = 0;
    get_property_fn *get = SLOT(get_property_fn, adapter, ADAPTER_GET_PROPERTY);
    if (SLOT(get_size_fn, adapter, ADAPTER_GET_SIZE)(adapter, PROPERTY_DESCRIPTION, &size) >= 0 &&
        size < sizeof name)
        get(adapter, PROPERTY_DESCRIPTION, size, name);
    get(adapter, PROPERTY_HARDWARE, sizeof hardware, &hardware);
    get(adapter, PROPERTY_LUID, sizeof luid, &luid);
    printf("%-9s  %-40s  vendor %04x  device %04x  revision %u  LUID %x:%x\n", profile, name, hardware.vendor,
           hardware.device, hardware.revision, (unsigned)luid.high, luid.low);
}

static int print_list(const char *profile, struct object *list)
{
    uint32_t count = SLOT(get_count_fn, list, LIST_GET_COUNT)(list);
    for (uint32_t i = 0; i < count; i++) {
        void *adapter = NULL;
        if (SLOT(get_adapter_fn, list, LIST_GET_ADAPTER)(list, i, &id_adapter, &adapter) < 0) return -1;
        print_adapter(profile, adapter);
        release(adapter);
    }
    if (count == 0) printf("%-9s  no adapter\n", profile);
    return 0;
}

/* In the child. */
static int list_profile(const struct run_options *o, const struct libraries *l)
{
    void *factory = NULL, *list = NULL;
    run_environment(o, l, -1);
    void *library = dlopen(l->dxcore, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return complain(EXIT_OWN_FAILURE, "%s", dlerror());
    create_factory_fn *create = (create_factory_fn *)(uintptr_t)dlsym(library, "DXCoreCreateAdapterFactory");
    if (create == NULL || create(&id_factory, &factory) < 0)
        return complain(EXIT_OWN_FAILURE, "%s: no DXCore adapter factory", l->dxcore);
    struct object *f = factory;
    if (SLOT(create_list_fn, f, FACTORY_CREATE_LIST)(f, 1, &core_compute, &id_list, &list) < 0)
        return complain(EXIT_OWN_FAILURE, "%s: no DXCore adapter list", l->dxcore);
    int failed = print_list(o->profile, list);
    release(list);
    release(f);
    return failed != 0 ? complain(EXIT_OWN_FAILURE, "%s: an adapter could not be opened", l->dxcore) : 0;
}

static int list_in_child(const struct run_options *o, const struct libraries *l)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) return complain(EXIT_OWN_FAILURE, "cannot start a process");
    if (pid == 0) {
        status = list_profile(o, l);
        fflush(NULL);
        _exit(status);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return complain(EXIT_OWN_FAILURE, "profile %s: listing its adapters ended by a signal", o->profile);
    return WEXITSTATUS(status);
}

int adapters_list(const struct run_options *o, bool one_profile)
{
    struct libraries l;
    struct run_options each = *o;
    int status = libraries_find(&l);
    if (status == 0 && one_profile) return list_in_child(o, &l);
    for (const char *const *name = profile_names(); status == 0 && *name != NULL; name++) {
        each.profile = *name;
        status = list_in_child(&each, &l);
    }
    return status;
}
