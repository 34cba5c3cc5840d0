/* SPDX-License-Identifier: MIT */
/* kmt_query.c - adapters and devices: open, close, enumerate, describe, escape.
 * Owns: nothing beyond its objects.  Calls: object, core (adapter, process, device). */
#include <string.h>

#include "kmt/local.h"

/* ---- adapters ---------------------------------------------------------------------------------- */

static NTSTATUS open_adapter(struct kmt_call *c, D3DKMT_HANDLE *handle)
{
    struct kmt_object *o = kmt_object_new(c->process, KMT_ADAPTER, NULL);
    if (o == NULL) return STATUS_NO_MEMORY;
    vidmm_adapter_counters(c->process->face->config.adapter)->adapter_opens++;
    *handle = o->handle;
    c->made = o;
    c->undo = kmt_undo_object;
    return STATUS_SUCCESS;
}

NTSTATUS kmt_open_adapter_from_luid(struct kmt_call *c)
{
    D3DKMT_OPENADAPTERFROMLUID *a = c->args;
    const D3DKMT_LUID *luid = &c->process->face->config.luid;
    if (a->AdapterLuid.LowPart != luid->LowPart || a->AdapterLuid.HighPart != luid->HighPart)
        return STATUS_INVALID_PARAMETER;
    return open_adapter(c, &a->hAdapter);
}

NTSTATUS kmt_close_adapter(struct kmt_call *c)
{
    D3DKMT_CLOSEADAPTER *a = c->args;
    struct kmt_object *o = kmt_object_find(c->process, a->hAdapter, KMT_ADAPTER);
    if (o == NULL) return STATUS_INVALID_PARAMETER;
    kmt_object_retire(o, 0);
    kmt_process_rest(c->process);
    return STATUS_SUCCESS;
}

/* One adapter; each enumeration opens it. */
static NTSTATUS enumerate(struct kmt_call *c, uint32_t *count, D3DKMT_PTR array)
{
    D3DKMT_ADAPTERINFO info = {0};
    uint32_t room = *count;
    *count = 1;
    if (array == 0) return STATUS_SUCCESS;
    if (room == 0) {
        c->answer = true;
        return STATUS_BUFFER_TOO_SMALL;
    }
    NTSTATUS status = open_adapter(c, &info.hAdapter);
    if (status != STATUS_SUCCESS) return status;
    info.AdapterLuid = c->process->face->config.luid;
    if (kmt_write(c, array, &info, sizeof info)) return STATUS_SUCCESS;
    kmt_undo_object(c);
    return STATUS_INVALID_PARAMETER;
}

NTSTATUS kmt_enum_adapters2(struct kmt_call *c)
{
    D3DKMT_ENUMADAPTERS2 *a = c->args;
    return enumerate(c, &a->NumAdapters, a->pAdapters);
}

/* The filter adds adapters that only compute or only display; ours renders and is never left out. */
NTSTATUS kmt_enum_adapters3(struct kmt_call *c)
{
    D3DKMT_ENUMADAPTERS3 *a = c->args;
    if (a->Filter & D3DKMT_ENUMADAPTERS_FILTER_Reserved) return STATUS_INVALID_PARAMETER;
    return enumerate(c, &a->NumAdapters, a->pAdapters);
}

/* ---- QueryAdapterInfo -------------------------------------------------------------------------- */

/* Reads, as far as the answer needs it, and writes a struct of fixed size. */
static NTSTATUS query_private(struct kmt_call *c, const D3DKMT_QUERYADAPTERINFO *a)
{
    void *data;
    NTSTATUS status = kmt_copy_bytes(c, a->pPrivateDriverData, a->PrivateDriverDataSize, &data);
    if (status != STATUS_SUCCESS) return status;
    if (data == NULL) return STATUS_INVALID_PARAMETER;
    struct vidmm_adapter *adapter = c->process->face->config.adapter;
    status = kmt_status(vidmm_adapter_query_private(adapter, data, a->PrivateDriverDataSize));
    if (status != STATUS_SUCCESS) return status;
    bool ok = kmt_write(c, a->pPrivateDriverData, data, a->PrivateDriverDataSize);
    return ok ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

/* The only value there is: where the user-mode driver's files are.  Strings have 4-byte characters. */
static NTSTATUS query_registry(struct kmt_call *c, const D3DKMT_QUERYADAPTERINFO *a)
{
    D3DKMT_QUERYREGISTRY_INFO info;
    const size_t string_at = offsetof(D3DKMT_QUERYREGISTRY_INFO, OutputValue);
    const char *path = c->process->face->config.driver_store;
    if (a->PrivateDriverDataSize < sizeof info) return STATUS_INVALID_PARAMETER;
    if (!kmt_read(c, &info, a->pPrivateDriverData, sizeof info)) return STATUS_INVALID_PARAMETER;
    info.OutputValueSize = 0;
    info.Status = QUERYREGISTRY_FAIL;
    size_t chars = strlen(path) + 1;
    bool fits = a->PrivateDriverDataSize - string_at >= chars * 4;
    if (info.QueryType == QUERYREGISTRY_DRIVERSTOREPATH) {
        info.OutputValueSize = (uint32_t)(chars * 4);
        info.Status = fits ? QUERYREGISTRY_SUCCESS : QUERYREGISTRY_BUFFER_OVERFLOW;
    }
    if (!kmt_write(c, a->pPrivateDriverData, &info, string_at)) return STATUS_INVALID_PARAMETER;
    if (info.Status != QUERYREGISTRY_SUCCESS) return STATUS_SUCCESS;
    uint32_t *wide = kmt_scratch(c, chars * 4);
    if (wide == NULL) return STATUS_NO_MEMORY;
    for (size_t i = 0; i < chars; i++) wide[i] = (uint8_t)path[i];
    bool ok = kmt_write(c, a->pPrivateDriverData + string_at, wide, chars * 4);
    return ok ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

static NTSTATUS node_metadata(const struct vidmm_adapter_info *info, D3DKMT_NODEMETADATA *m)
{
    uint32_t node = m->NodeOrdinalAndAdapterIndex & 0xffff;
    if (m->NodeOrdinalAndAdapterIndex >> 16 != 0 || node >= info->node_count) return STATUS_INVALID_PARAMETER;
    const struct vidmm_node_desc *d = &info->node[node];
    m->EngineType = d->engine_type;
    memset(m->FriendlyName, 0, sizeof m->FriendlyName);
    for (size_t i = 0; i + 1 < sizeof d->name && d->name[i] != 0; i++)
        m->FriendlyName[i] = (uint8_t)d->name[i];
    m->Flags = 0;
    m->GpuMmuSupported = d->gpummu;
    m->IoMmuSupported = d->iommu;
    return STATUS_SUCCESS;
}

static uint64_t local_bytes(const struct vidmm_adapter_info *info)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < info->segment_count; i++)
        if (!(info->segment[i].flags & VIDMM_SEGMENT_APERTURE)) bytes += info->segment[i].bytes;
    return bytes;
}

union answer {
    uint32_t word;
    D3DKMT_SEGMENTSIZEINFO sizes;
    D3DKMT_SEGMENTGROUPSIZEINFO groups;
    D3DKMT_NODEMETADATA node;
    D3DKMT_QUERY_DEVICE_IDS ids;
    D3DKMT_QUERY_GPUMMU_CAPS mmu;
};

/* Bytes of the answer, 0 for types that are not known. */
static size_t answer_bytes(uint32_t type)
{
    switch (type) {
    case KMTQAITYPE_GETSEGMENTSIZE: return sizeof(D3DKMT_SEGMENTSIZEINFO);
    case KMTQAITYPE_GETSEGMENTGROUPSIZE: return sizeof(D3DKMT_SEGMENTGROUPSIZEINFO);
    case KMTQAITYPE_NODEMETADATA: return sizeof(D3DKMT_NODEMETADATA);
    case KMTQAITYPE_PHYSICALADAPTERDEVICEIDS: return sizeof(D3DKMT_QUERY_DEVICE_IDS);
    case KMTQAITYPE_QUERY_GPUMMU_CAPS: return sizeof(D3DKMT_QUERY_GPUMMU_CAPS);
    case KMTQAITYPE_ADAPTERTYPE:
    case KMTQAITYPE_ADAPTERTYPE_RENDER:
    case KMTQAITYPE_WDDM_2_0_CAPS:
    case KMTQAITYPE_PHYSICALADAPTERCOUNT:
    case KMTQAITYPE_WDDM_2_7_CAPS:
    case KMTQAITYPE_WDDM_2_9_CAPS:
    case KMTQAITYPE_WDDM_3_0_CAPS: return sizeof(uint32_t);
    default: return 0;
    }
}

static uint32_t mmu_caps(const struct vidmm_adapter_info *info)
{
    uint32_t caps = 0;
    if (info->mmu_flags & VIDMM_MMU_READ_ONLY) caps |= D3DKMT_GPUMMU_CAPS_ReadOnlyMemorySupported;
    if (info->mmu_flags & VIDMM_MMU_NO_EXECUTE) caps |= D3DKMT_GPUMMU_CAPS_NoExecuteMemorySupported;
    if (info->mmu_flags & VIDMM_MMU_CACHE_COHERENT) caps |= D3DKMT_GPUMMU_CAPS_CacheCoherentMemorySupported;
    return caps;
}

/* What is asked of one gpu of a link. */
static NTSTATUS fill_gpu_answer(const struct kmt_config *f, uint32_t type, union answer *v)
{
    const D3DKMT_SEGMENTSIZEINFO sizes = {f->dedicated_bytes, 0, f->shared_bytes};
    uint32_t gpu = v->word; /* PhysicalAdapterIndex is the first word of each */
    const struct vidmm_adapter_info *info = vidmm_gpu_info(f->adapter, gpu);
    if (info == NULL) return STATUS_INVALID_PARAMETER;
    if (type == KMTQAITYPE_GETSEGMENTGROUPSIZE)
        v->groups = (D3DKMT_SEGMENTGROUPSIZEINFO){gpu, sizes, local_bytes(info), f->shared_bytes, 0};
    else if (type == KMTQAITYPE_PHYSICALADAPTERDEVICEIDS)
        v->ids = (D3DKMT_QUERY_DEVICE_IDS){gpu, f->vendor, f->device, f->subvendor, f->subsystem,
                                           f->revision, 0};
    else
        v->mmu = (D3DKMT_QUERY_GPUMMU_CAPS){gpu, mmu_caps(info), info->va_bits};
    return STATUS_SUCCESS;
}

static NTSTATUS fill_answer(const struct kmt_config *f, uint32_t type, union answer *v)
{
    const struct vidmm_adapter_info *info = vidmm_adapter_info(f->adapter);
    const D3DKMT_SEGMENTSIZEINFO sizes = {f->dedicated_bytes, 0, f->shared_bytes};
    switch (type) {
    case KMTQAITYPE_GETSEGMENTSIZE:
        v->sizes = sizes;
        return STATUS_SUCCESS;
    case KMTQAITYPE_GETSEGMENTGROUPSIZE:
    case KMTQAITYPE_PHYSICALADAPTERDEVICEIDS:
    case KMTQAITYPE_QUERY_GPUMMU_CAPS:
        return fill_gpu_answer(f, type, v);
    case KMTQAITYPE_NODEMETADATA:
        return node_metadata(info, &v->node);
    case KMTQAITYPE_ADAPTERTYPE:
    case KMTQAITYPE_ADAPTERTYPE_RENDER:
        v->word = ADAPTERTYPE_RenderSupported;
        return STATUS_SUCCESS;
    case KMTQAITYPE_WDDM_2_0_CAPS:
        v->word = info->flags & VIDMM_ADAPTER_GPUMMU ? D3DKMT_WDDM_2_0_CAPS_GpuMmuSupported : 0;
        if (info->flags & VIDMM_ADAPTER_IOMMU) v->word |= D3DKMT_WDDM_2_0_CAPS_IoMmuSupported;
        if ((info->sched_flags & VIDMM_SCHED_NO_64BIT_ATOMICS) == 0)
            v->word |= D3DKMT_WDDM_2_0_CAPS_Support64BitAtomics;
        return STATUS_SUCCESS;
    case KMTQAITYPE_PHYSICALADAPTERCOUNT:
        v->word = vidmm_gpu_count(f->adapter);
        return STATUS_SUCCESS;
    default: /* the later capability words: no hardware scheduling, no display */
        v->word = 0;
        return STATUS_SUCCESS;
    }
}

NTSTATUS kmt_query_adapter_info(struct kmt_call *c)
{
    D3DKMT_QUERYADAPTERINFO *a = c->args;
    union answer v;
    if (kmt_object_find(c->process, a->hAdapter, KMT_ADAPTER) == NULL) return STATUS_INVALID_PARAMETER;
    if (a->Type == KMTQAITYPE_UMDRIVERPRIVATE) return query_private(c, a);
    if (a->Type == KMTQAITYPE_QUERYREGISTRY) return query_registry(c, a);
    size_t bytes = answer_bytes(a->Type);
    if (bytes == 0) return STATUS_NOT_SUPPORTED;
    if (a->PrivateDriverDataSize < bytes) return STATUS_INVALID_PARAMETER;
    if (!kmt_read(c, &v, a->pPrivateDriverData, bytes)) return STATUS_INVALID_PARAMETER;
    NTSTATUS status = fill_answer(&c->process->face->config, a->Type, &v);
    if (status == STATUS_SUCCESS && !kmt_write(c, a->pPrivateDriverData, &v, bytes))
        return STATUS_INVALID_PARAMETER;
    return status;
}

/* ---- devices ----------------------------------------------------------------------------------- */

NTSTATUS kmt_create_device(struct kmt_call *c)
{
    D3DKMT_CREATEDEVICE *a = c->args;
    NTSTATUS status;
    if (kmt_object_find(c->process, a->hAdapter, KMT_ADAPTER) == NULL) return STATUS_INVALID_PARAMETER;
    if (a->Flags & D3DKMT_CREATEDEVICEFLAGS_Reserved) return STATUS_INVALID_PARAMETER;
    struct vidmm_process *core = kmt_process_core(c->process, &status);
    if (core == NULL) return status;
    struct kmt_object *o = kmt_object_new(c->process, KMT_DEVICE, NULL);
    if (o == NULL) return STATUS_NO_MEMORY;
    status = kmt_status(vidmm_device_create(core, &o->device.core));
    if (status != STATUS_SUCCESS) {
        o->device.core = NULL;
        kmt_object_retire(o, 0);
        return status;
    }
    a->hDevice = o->handle;
    /* Command buffer and lists belong to patching contexts, which there are none of. */
    a->pCommandBuffer = a->pAllocationList = a->pPatchLocationList = 0;
    a->CommandBufferSize = a->AllocationListSize = a->PatchLocationListSize = 0;
    c->made = o;
    c->undo = kmt_undo_object;
    return STATUS_SUCCESS;
}

NTSTATUS kmt_destroy_device(struct kmt_call *c)
{
    D3DKMT_DESTROYDEVICE *a = c->args;
    struct kmt_object *o = kmt_object_find(c->process, a->hDevice, KMT_DEVICE);
    if (o == NULL) return STATUS_INVALID_PARAMETER;
    kmt_object_retire(o, 0);
    kmt_process_rest(c->process);
    return STATUS_SUCCESS;
}

static void page_fault_state(const struct vidmm_device *device, D3DKMT_GETDEVICESTATE *a)
{
    struct vidmm_page_fault f;
    if (vidmm_device_fault(device, &f) != VIDMM_OK) return;
    a->PageFaultState.PageFaultFlags = f.flags;
    a->PageFaultState.FaultErrorCode = f.error_code;
    a->PageFaultState.FaultedPrimitiveAPISequenceNumber = f.primitive;
    a->PageFaultState.FaultedPipelineStage = f.stage;
    a->PageFaultState.FaultedBindTableEntry = f.bind_entry;
    a->PageFaultState.FaultedVirtualAddress = f.va;
}

NTSTATUS kmt_get_device_state(struct kmt_call *c)
{
    D3DKMT_GETDEVICESTATE *a = c->args;
    const struct kmt_object *o = kmt_object_find(c->process, a->hDevice, KMT_DEVICE);
    if (o == NULL) return STATUS_INVALID_PARAMETER;
    if (a->StateType < DEVICESTATE_EXECUTION || a->StateType > DEVICESTATE_PRESENT_QUEUE)
        return STATUS_INVALID_PARAMETER;
    /* Nothing is ever presented and the desktop never switches: zero is the answer for those. */
    memset(&a->ExecutionState, 0, sizeof *a - offsetof(D3DKMT_GETDEVICESTATE, ExecutionState));
    if (a->StateType == DEVICESTATE_EXECUTION)
        a->ExecutionState = (uint32_t)vidmm_device_state(o->device.core);
    if (a->StateType == DEVICESTATE_PAGE_FAULT) page_fault_state(o->device.core, a);
    return STATUS_SUCCESS;
}

/* Asked again, a device stays as it is: whoever reports it need not know who was first. */
NTSTATUS kmt_mark_device(struct kmt_call *c)
{
    const D3DKMT_MARKDEVICEASERROR *a = c->args;
    const struct kmt_object *o = kmt_object_find(c->process, a->hDevice, KMT_DEVICE);
    if (o == NULL) return STATUS_INVALID_PARAMETER;
    if (a->Reason != DEVICE_ERROR_REASON_GENERIC && a->Reason != DEVICE_ERROR_REASON_DRIVER_ERROR)
        return STATUS_INVALID_PARAMETER;
    (void)vidmm_device_mark(o->device.core);
    return STATUS_SUCCESS;
}

/* ---- escape ------------------------------------------------------------------------------------ */

NTSTATUS kmt_escape(struct kmt_call *c)
{
    D3DKMT_ESCAPE *a = c->args;
    void *data;
    if (kmt_object_find(c->process, a->hAdapter, KMT_ADAPTER) == NULL) return STATUS_INVALID_PARAMETER;
    if (a->hDevice != 0 && kmt_object_find(c->process, a->hDevice, KMT_DEVICE) == NULL)
        return STATUS_INVALID_PARAMETER;
    const uint32_t reserved = D3DDDI_ESCAPEFLAGS_Reserved | D3DDDI_ESCAPEFLAGS_Reserved2;
    if (a->Flags & reserved) return STATUS_INVALID_PARAMETER;
    if (a->Type != ESCAPE_DRIVERPRIVATE) return STATUS_NOT_SUPPORTED;
    NTSTATUS status = kmt_copy_bytes(c, a->pPrivateDriverData, a->PrivateDriverDataSize, &data);
    if (status != STATUS_SUCCESS) return status;
    if (data == NULL) return STATUS_INVALID_PARAMETER;
    struct vidmm_adapter *adapter = c->process->face->config.adapter;
    status = kmt_status(vidmm_adapter_escape(adapter, data, a->PrivateDriverDataSize));
    if (status != STATUS_SUCCESS) return status;
    bool ok = kmt_write(c, a->pPrivateDriverData, data, a->PrivateDriverDataSize);
    return ok ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

/* ---- trim notification ------------------------------------------------------------------------- */

/* The core's trim events are not passed on to callbacks in this release; registration is bookkeeping. */
NTSTATUS kmt_register_trim(struct kmt_call *c)
{
    D3DKMT_REGISTERTRIMNOTIFICATION *a = c->args;
    struct kmt_object *device = kmt_object_find(c->process, a->hDevice, KMT_DEVICE);
    if (device == NULL || a->Callback == 0) return STATUS_INVALID_PARAMETER;
    struct kmt_object *o = kmt_object_new(c->process, KMT_TRIM, device);
    if (o == NULL) return STATUS_NO_MEMORY;
    o->trim.callback = a->Callback;
    o->trim.context = a->Context;
    a->Handle = o->handle;
    c->made = o;
    c->undo = kmt_undo_object;
    return STATUS_SUCCESS;
}

static uint32_t unregister_all(struct kmt_object *device, D3DKMT_PTR callback)
{
    uint32_t n = 0;
    LIST_FOREACH_SAFE(it, tmp, &device->device.children) {
        struct kmt_object *o = list_entry(it, struct kmt_object, in_parent);
        if (o->kind != KMT_TRIM || o->trim.callback != callback) continue;
        kmt_object_retire(o, 0);
        n++;
    }
    return n;
}

NTSTATUS kmt_unregister_trim(struct kmt_call *c)
{
    D3DKMT_UNREGISTERTRIMNOTIFICATION *a = c->args;
    uint32_t n = 0;
    if (a->Handle != 0) {
        struct kmt_object *o = NULL;
        if (a->Handle <= UINT32_MAX) o = kmt_object_find(c->process, (D3DKMT_HANDLE)a->Handle, KMT_TRIM);
        if (o == NULL) return STATUS_INVALID_PARAMETER;
        kmt_object_retire(o, 0);
        return STATUS_SUCCESS;
    }
    LIST_FOREACH(it, &c->process->devices)
        n += unregister_all(list_entry(it, struct kmt_object, in_parent), a->Callback);
    return n != 0 ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}
