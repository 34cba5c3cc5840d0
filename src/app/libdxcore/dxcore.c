/* SPDX-License-Identifier: MIT */
/* dxcore.c - the DXCore factory, its adapter list and its one adapter.
 * Owns: four objects in static storage, counted but never freed: a driver may call them from exit handlers,
 * when everything that can be torn down has been.  Calls: dxcore_adapter_facts.
 * Any thread.  Functions that this adapter cannot serve are present and say so. */
#include "app/libdxcore/dxcore.h"

#include <stdatomic.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

#define S_OK ((int32_t)0)
#define HRESULT_ERROR(low) ((int32_t)(-0x7fffffff - 1 + (low)))
#define E_NOINTERFACE HRESULT_ERROR(0x4002)
#define E_POINTER HRESULT_ERROR(0x4003)
#define E_INVALIDARG HRESULT_ERROR(0x70057)
#define DXGI_ERROR_INVALID_CALL HRESULT_ERROR(0x87a0001)
#define DXGI_ERROR_UNSUPPORTED HRESULT_ERROR(0x87a0004)

enum property {
    PROPERTY_LUID = 0, PROPERTY_DRIVER_VERSION = 1, PROPERTY_DESCRIPTION = 2, PROPERTY_HARDWARE_ID = 3,
    PROPERTY_DEDICATED_MEMORY = 7, PROPERTY_DEDICATED_SYSTEM_MEMORY = 8, PROPERTY_SHARED_SYSTEM_MEMORY = 9,
    PROPERTY_IS_HARDWARE = 11, PROPERTY_IS_INTEGRATED = 12, PROPERTY_IS_DETACHABLE = 13,
};

enum state { STATE_UPDATE_IN_PROGRESS = 0 };

typedef const struct dxcore_guid guid;
typedef void function(void);

/* The first member is what callers look at. */
struct object {
    function *const *functions;
    guid *interface_id;
    atomic_uint count;
    uint32_t adapters; /* of a list */
};

static guid id_unknown = {0, 0, 0, {0xc0, 0, 0, 0, 0, 0, 0, 0x46}};
static guid id_factory = {0x78ee5945, 0xc36e, 0x4b13, {0xa6, 0x69, 0x00, 0x5d, 0xd1, 0x1c, 0x0f, 0x06}};
static guid id_list = {0x526c7776, 0x40e9, 0x459b, {0xb7, 0x11, 0xf3, 0x2a, 0xd7, 0x6d, 0xfc, 0x28}};
static guid id_adapter = {0xf0db4c7f, 0xfe5a, 0x42a2, {0xbd, 0x62, 0xf2, 0xa6, 0xcf, 0x6f, 0xc8, 0x3e}};
static guid attribute_core_compute = {
    0x248e2800, 0xa793, 0x4724, {0xab, 0xaa, 0x23, 0xa6, 0xde, 0x1b, 0xe0, 0x90}};

static struct object factory, list_full, list_empty, adapter;

static bool same(guid *a, guid *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* ---- IUnknown ---------------------------------------------------------------------------------- */

static uint32_t add_ref(struct object *o)
{
    return atomic_fetch_add(&o->count, 1) + 1;
}

/* One release too many stays at zero; the object is there all the same. */
static uint32_t release(struct object *o)
{
    unsigned count = atomic_load(&o->count);
    while (count != 0 && !atomic_compare_exchange_weak(&o->count, &count, count - 1)) { }
    return count != 0 ? count - 1 : 0;
}

static int32_t query_interface(struct object *o, guid *id, void **out)
{
    if (out == NULL) return E_POINTER;
    *out = NULL;
    if (id == NULL) return E_POINTER;
    if (!same(id, &id_unknown) && !same(id, o->interface_id)) return E_NOINTERFACE;
    add_ref(o);
    *out = o;
    return S_OK;
}

/* ---- IDXCoreAdapter ---------------------------------------------------------------------------- */

static bool adapter_is_valid(struct object *o)
{
    (void)o;
    return dxcore_adapter_facts() != NULL;
}

static bool adapter_is_attribute_supported(struct object *o, guid *attribute)
{
    (void)o;
    return attribute != NULL && same(attribute, &attribute_core_compute);
}

union value {
    uint32_t hardware[4];
    struct { uint32_t low; int32_t high; } luid;
    uint64_t number;
    bool flag;
};

/* Bytes of a property, 0 when there is no such property.  Strings are not copied: *text is set. */
static size_t property(uint32_t which, union value *v, const char **text)
{
    const struct dxcore_adapter_facts *f = dxcore_adapter_facts();
    *text = NULL;
    if (f == NULL) return 0;
    switch (which) {
    case PROPERTY_LUID:
        v->luid.low = f->luid_low;
        v->luid.high = f->luid_high;
        return sizeof v->luid;
    case PROPERTY_DESCRIPTION:
        *text = f->description;
        return strlen(f->description) + 1;
    case PROPERTY_HARDWARE_ID:
        v->hardware[0] = f->vendor;
        v->hardware[1] = f->device;
        v->hardware[2] = f->subsystem;
        v->hardware[3] = f->revision;
        return sizeof v->hardware;
    case PROPERTY_DRIVER_VERSION:
    case PROPERTY_DEDICATED_SYSTEM_MEMORY:
        v->number = which == PROPERTY_DRIVER_VERSION;
        return sizeof v->number;
    case PROPERTY_DEDICATED_MEMORY:
        v->number = f->dedicated_bytes;
        return sizeof v->number;
    case PROPERTY_SHARED_SYSTEM_MEMORY:
        v->number = f->shared_bytes;
        return sizeof v->number;
    case PROPERTY_IS_HARDWARE: /* drivers take software adapters for somebody else's business */
        v->flag = true;
        return sizeof v->flag;
    case PROPERTY_IS_INTEGRATED:
    case PROPERTY_IS_DETACHABLE:
        v->flag = false;
        return sizeof v->flag;
    default:
        return 0;
    }
}

static bool adapter_is_property_supported(struct object *o, uint32_t which)
{
    union value v;
    const char *text;
    (void)o;
    return property(which, &v, &text) != 0;
}

static int32_t adapter_get_property(struct object *o, uint32_t which, size_t bytes, void *out)
{
    union value v;
    const char *text;
    (void)o;
    if (out == NULL) return E_POINTER;
    size_t need = property(which, &v, &text);
    if (need == 0) return DXGI_ERROR_UNSUPPORTED;
    if (bytes < need) return E_INVALIDARG;
    memcpy(out, text != NULL ? (const void *)text : &v, need);
    return S_OK;
}

static int32_t adapter_get_property_size(struct object *o, uint32_t which, size_t *out)
{
    union value v;
    const char *text;
    (void)o;
    if (out == NULL) return E_POINTER;
    *out = property(which, &v, &text);
    return *out != 0 ? S_OK : DXGI_ERROR_UNSUPPORTED;
}

static bool adapter_is_query_state_supported(struct object *o, uint32_t state)
{
    (void)o;
    return state == STATE_UPDATE_IN_PROGRESS;
}

static int32_t adapter_query_state(struct object *o, uint32_t state, size_t in_bytes, const void *in,
                                   size_t out_bytes, void *out)
{
    (void)o;
    (void)in_bytes;
    (void)in;
    if (state != STATE_UPDATE_IN_PROGRESS) return DXGI_ERROR_UNSUPPORTED;
    if (out == NULL) return E_POINTER;
    if (out_bytes < sizeof(bool)) return E_INVALIDARG;
    *(bool *)out = false;
    return S_OK;
}

static bool adapter_is_set_state_supported(struct object *o, uint32_t state)
{
    (void)o;
    (void)state;
    return false;
}

static int32_t adapter_set_state(struct object *o, uint32_t state, size_t in_bytes, const void *in,
                                 size_t out_bytes, const void *out)
{
    (void)o;
    (void)state;
    (void)in_bytes;
    (void)in;
    (void)out_bytes;
    (void)out;
    return DXGI_ERROR_UNSUPPORTED;
}

static int32_t get_factory(struct object *o, guid *id, void **out)
{
    (void)o;
    return query_interface(&factory, id, out);
}

/* ---- IDXCoreAdapterList ------------------------------------------------------------------------ */

static int32_t list_get_adapter(struct object *o, uint32_t index, guid *id, void **out)
{
    if (out == NULL) return E_POINTER;
    *out = NULL;
    if (index >= o->adapters) return E_INVALIDARG;
    return query_interface(&adapter, id, out);
}

static uint32_t list_get_adapter_count(struct object *o)
{
    return o->adapters;
}

static bool list_is_stale(struct object *o)
{
    (void)o;
    return false;
}

/* One adapter is in order by any preference; there is no preference that we know. */
static int32_t list_sort(struct object *o, uint32_t n, const uint32_t *preferences)
{
    (void)o;
    if (n == 0 || preferences == NULL) return E_INVALIDARG;
    return S_OK;
}

static bool list_is_adapter_preference_supported(struct object *o, uint32_t preference)
{
    (void)o;
    (void)preference;
    return false;
}

/* ---- IDXCoreAdapterFactory --------------------------------------------------------------------- */

static int32_t factory_create_adapter_list(struct object *o, uint32_t n, guid *attributes, guid *id,
                                           void **out)
{
    if (out == NULL) return E_POINTER;
    *out = NULL;
    if (n == 0 || attributes == NULL) return E_INVALIDARG;
    bool all = dxcore_adapter_facts() != NULL;
    for (uint32_t i = 0; i < n; i++) all &= adapter_is_attribute_supported(o, &attributes[i]);
    return query_interface(all ? &list_full : &list_empty, id, out);
}

static int32_t factory_get_adapter_by_luid(struct object *o, const void *luid, guid *id, void **out)
{
    union value v;
    const char *text;
    (void)o;
    if (out == NULL) return E_POINTER;
    *out = NULL;
    if (luid == NULL) return E_POINTER;
    size_t bytes = property(PROPERTY_LUID, &v, &text);
    if (bytes == 0 || memcmp(luid, &v.luid, bytes) != 0) return E_INVALIDARG;
    return query_interface(&adapter, id, out);
}

static bool factory_is_notification_type_supported(struct object *o, uint32_t type)
{
    (void)o;
    (void)type;
    return false;
}

static int32_t factory_register_event_notification(struct object *o, void *object, uint32_t type,
                                                   void *callback, void *context, uint32_t *cookie)
{
    (void)o;
    (void)object;
    (void)type;
    (void)callback;
    (void)context;
    if (cookie != NULL) *cookie = 0;
    return DXGI_ERROR_INVALID_CALL;
}

static int32_t factory_unregister_event_notification(struct object *o, uint32_t cookie)
{
    (void)o;
    (void)cookie;
    return E_INVALIDARG;
}

/* ---- the objects ------------------------------------------------------------------------------- */

#define SLOT(f) ((function *)(f))
#define UNKNOWN SLOT(query_interface), SLOT(add_ref), SLOT(release)

static function *const factory_functions[] = {
    UNKNOWN, SLOT(factory_create_adapter_list), SLOT(factory_get_adapter_by_luid),
    SLOT(factory_is_notification_type_supported), SLOT(factory_register_event_notification),
    SLOT(factory_unregister_event_notification),
};

static function *const list_functions[] = {
    UNKNOWN, SLOT(list_get_adapter), SLOT(list_get_adapter_count), SLOT(list_is_stale), SLOT(get_factory),
    SLOT(list_sort), SLOT(list_is_adapter_preference_supported),
};

static function *const adapter_functions[] = {
    UNKNOWN, SLOT(adapter_is_valid), SLOT(adapter_is_attribute_supported),
    SLOT(adapter_is_property_supported), SLOT(adapter_get_property), SLOT(adapter_get_property_size),
    SLOT(adapter_is_query_state_supported), SLOT(adapter_query_state),
    SLOT(adapter_is_set_state_supported), SLOT(adapter_set_state), SLOT(get_factory),
};

static struct object factory = {factory_functions, &id_factory, 0, 0};
static struct object list_full = {list_functions, &id_list, 0, 1};
static struct object list_empty = {list_functions, &id_list, 0, 0};
static struct object adapter = {adapter_functions, &id_adapter, 0, 0};

EXPORT int32_t DXCoreCreateAdapterFactory(const struct dxcore_guid *interface_id, void **out)
{
    return query_interface(&factory, interface_id, out);
}
