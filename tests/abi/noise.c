/* SPDX-License-Identifier: MIT */
/* noise.c - see noise.h.  A table says what each argument struct holds where; that is all it knows. */
#include "noise.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define ARGS 0u
#define LISTS 4096u              /* arrays that the next call may name */
#define BUFFER (4 * 4096u)       /* 8 KiB that is read and written */
#define PRIVATE (8 * 4096u)      /* private data of allocations, up to 16 KiB */

struct noise_world noise_world;
#define world noise_world

static _Thread_local uint8_t *memory;

static D3DKMT_PTR at(uint32_t offset)
{
    return (uintptr_t)(memory + offset);
}

/* What a field of an argument struct holds. */
enum what {
    END, ADAPTER, DEVICE, CONTEXT, QUEUE, SYNC, ALLOC, RESOURCE, TRIM, GLOBAL, NT, HWCONTEXT, HWQUEUE, KINDS,
    COUNT,         /* 1..3 */
    LIST,          /* pointer to handles of the kind in `extra` */
    VALUES,        /* pointer to small 64-bit numbers */
    INFOS,         /* pointer to allocation elements */
    BYTES,         /* pointer to a buffer */
    CONST,         /* `extra` */
    PAGES,         /* 64-bit, 1..64 pages, in bytes when extra is 4096 */
    WORDS,         /* pointer to small 32-bit numbers */
    TILES,         /* pointer to operations of a tile update */
};

struct field { uint16_t offset; uint8_t what; uint32_t extra; };
struct shape { enum kmt_op op; struct field in[8]; struct field out[3]; };

#define F(type, member) (uint16_t)offsetof(type, member)

static const struct shape shapes[] = {
    {KMT_OP_OpenAdapterFromLuid, {{0, CONST, 7}, {4, CONST, 9}}, {{8, ADAPTER, 0}}},
    {KMT_OP_CreateDevice, {{0, ADAPTER, 0}}, {{12, DEVICE, 0}}},
    {KMT_OP_CreateContextVirtual, {{0, DEVICE, 0}, {16, BYTES, 0}, {24, CONST, 40}}, {{32, CONTEXT, 0}}},
    {KMT_OP_DestroyContext, {{0, CONTEXT, 0}}, {{0}}},
    {KMT_OP_CreateAllocation2, {{0, DEVICE, 0}, {44, COUNT, 0}, {48, INFOS, 96}}, {{0}}},
    {KMT_OP_CreateAllocation2, {{0, DEVICE, 0}, {44, COUNT, 0}, {48, INFOS, 96}, {56, CONST, 0x43},
     {16, BYTES, 0}, {24, CONST, 8}}, {{4, RESOURCE, 0}}},
    {KMT_OP_CreateAllocation2, {{0, DEVICE, 0}, {44, COUNT, 0}, {48, INFOS, 96}, {56, CONST, 3}},
     {{4, RESOURCE, 0}, {8, GLOBAL, 0}}},
    {KMT_OP_CreateAllocation2, {{0, DEVICE, 0}, {4, RESOURCE, 0}, {44, COUNT, 0}, {48, INFOS, 96}}, {{0}}},
    {KMT_OP_CreateAllocation2, {{0, DEVICE, 0}, {56, CONST, 1}}, {{4, RESOURCE, 0}}},
    {KMT_OP_CreateAllocation, {{0, DEVICE, 0}, {44, COUNT, 0}, {48, INFOS, 40}}, {{0}}},
    {KMT_OP_CreatePagingQueue, {{0, DEVICE, 0}}, {{8, QUEUE, 0}, {12, SYNC, 0}}},
    {KMT_OP_ReserveGpuVirtualAddress, {{0, ADAPTER, 0}, {32, PAGES, 65536}}, {{0}}},
    {KMT_OP_ReserveGpuVirtualAddress, {{0, QUEUE, 0}, {32, PAGES, 65536}}, {{0}}},
    {KMT_OP_QueryAdapterInfo, {{0, ADAPTER, 0}, {4, COUNT, 0}, {8, BYTES, 0}, {16, CONST, 2000}}, {{0}}},
    {KMT_OP_QueryAdapterInfo, {{0, ADAPTER, 0}, {4, CONST, 48}, {8, BYTES, 0}, {16, CONST, 2000}}, {{0}}},
    {KMT_OP_QueryAdapterInfo, {{0, ADAPTER, 0}, {4, CONST, 34}, {8, BYTES, 0}, {16, CONST, 12}}, {{0}}},
    {KMT_OP_MakeResident, {{0, QUEUE, 0}, {4, COUNT, 0}, {8, LIST, ALLOC}}, {{0}}},
    {KMT_OP_MapGpuVirtualAddress, {{0, QUEUE, 0}, {32, ALLOC, 0}, {48, PAGES, 1}, {56, CONST, 1}}, {{0}}},
    {KMT_OP_UpdateGpuVirtualAddress, {{0, DEVICE, 0}, {4, CONTEXT, 0}, {8, SYNC, 0}, {12, COUNT, 0},
     {16, TILES, 0}, {48, CONST, 0}}, {{0}}},
    {KMT_OP_UpdateGpuVirtualAddress, {{0, DEVICE, 0}, {4, CONTEXT, 0}, {12, CONST, 1}, {16, TILES, 0},
     {48, CONST, 1}}, {{0}}},
    {KMT_OP_Escape, {{0, ADAPTER, 0}, {16, BYTES, 0}, {24, CONST, 64}}, {{0}}},
    {KMT_OP_GetDeviceState, {{0, DEVICE, 0}, {4, COUNT, 0}}, {{0}}},
    {KMT_OP_GetDeviceState, {{0, DEVICE, 0}, {4, CONST, 5}}, {{0}}},
    {KMT_OP_MarkDeviceAsError, {{0, DEVICE, 0}, {4, CONST, 0x80000006u}}, {{0}}},
    {KMT_OP_CreateHwContext, {{0, DEVICE, 0}, {24, BYTES, 0}, {16, CONST, 40}}, {{32, HWCONTEXT, 0}}},
    {KMT_OP_CreateHwQueue, {{0, HWCONTEXT, 0}, {16, BYTES, 0}, {8, CONST, 40}},
     {{24, HWQUEUE, 0}, {28, SYNC, 0}}},
    {KMT_OP_DestroyHwContext, {{0, HWCONTEXT, 0}}, {{0}}},
    {KMT_OP_DestroyHwQueue, {{0, HWQUEUE, 0}}, {{0}}},
    {KMT_OP_SubmitCommandToHwQueue, {{0, HWQUEUE, 0}, {8, COUNT, 0}, {16, CONST, 65536}, {24, CONST, 64},
     {32, BYTES, 0}, {28, CONST, 40}}, {{0}}},
    {KMT_OP_SubmitWaitForSyncObjectsToHwQueue, {{0, HWQUEUE, 0}, {4, COUNT, 0}, {8, LIST, SYNC},
     {16, VALUES, 0}}, {{0}}},
    {KMT_OP_SubmitSignalSyncObjectsToHwQueue, {{4, CONST, 1}, {8, LIST, HWQUEUE}, {16, COUNT, 0},
     {24, LIST, SYNC}, {32, VALUES, 0}}, {{0}}},
    {KMT_OP_SubmitCommand, {{24, CONST, 1}, {28, CONTEXT, 0}, {288, BYTES, 0}, {296, CONST, 56}}, {{0}}},
    {KMT_OP_CreateSynchronizationObject2, {{0, DEVICE, 0}, {8, CONST, 5}}, {{88, SYNC, 0}}},
    {KMT_OP_CreateSynchronizationObject2, {{0, DEVICE, 0}, {8, CONST, 3}}, {{88, SYNC, 0}}},
    {KMT_OP_CreateSynchronizationObject2, {{0, DEVICE, 0}, {8, CONST, 4}, {16, CONST, 77}}, {{88, SYNC, 0}}},
    {KMT_OP_CreateSynchronizationObject, {{0, DEVICE, 0}, {4, CONST, 1}, {8, CONST, 1}}, {{72, SYNC, 0}}},
    {KMT_OP_CreateSynchronizationObject, {{0, DEVICE, 0}, {4, CONST, 2}, {8, COUNT, 0}}, {{72, SYNC, 0}}},
    {KMT_OP_CreateSynchronizationObject2, {{0, DEVICE, 0}, {8, CONST, 5}, {12, CONST, 3}}, {{88, SYNC, 0}}},
    {KMT_OP_ShareObjects, {{0, CONST, 1}, {8, LIST, SYNC}, {32, BYTES, 0}}, {{0}}},
    {KMT_OP_OpenSyncObjectFromNtHandle2, {{0, NT, 0}, {8, DEVICE, 0}}, {{16, SYNC, 0}}},
    {KMT_OP_SignalSynchronizationObject, {{0, CONTEXT, 0}, {4, CONST, 1}, {8, SYNC, 0}}, {{0}}},
    {KMT_OP_WaitForSynchronizationObject, {{0, CONTEXT, 0}, {4, CONST, 1}, {8, SYNC, 0}}, {{0}}},
    {KMT_OP_SignalSynchronizationObject2, {{0, CONTEXT, 0}, {4, CONST, 1}, {8, SYNC, 0}}, {{0}}},
    {KMT_OP_WaitForSynchronizationObject2, {{0, CONTEXT, 0}, {4, CONST, 1}, {8, SYNC, 0}}, {{0}}},
    {KMT_OP_DestroyAllocation2, {{0, DEVICE, 0}, {8, LIST, ALLOC}, {16, COUNT, 0}}, {{0}}},
    {KMT_OP_DestroyAllocation2, {{0, DEVICE, 0}, {4, RESOURCE, 0}}, {{0}}},
    {KMT_OP_DestroyAllocation, {{0, DEVICE, 0}, {8, LIST, ALLOC}, {16, COUNT, 0}}, {{0}}},
    {KMT_OP_EnumAdapters2, {{0, COUNT, 0}, {8, BYTES, 0}}, {{0}}},
    {KMT_OP_EnumAdapters3, {{8, COUNT, 0}, {16, BYTES, 0}}, {{0}}},
    {KMT_OP_CloseAdapter, {{0, ADAPTER, 0}}, {{0}}},
    {KMT_OP_DestroyDevice, {{0, DEVICE, 0}}, {{0}}},
    {KMT_OP_DestroyPagingQueue, {{0, QUEUE, 0}}, {{0}}},
    {KMT_OP_DestroySynchronizationObject, {{0, SYNC, 0}}, {{0}}},
    {KMT_OP_Evict, {{0, DEVICE, 0}, {4, COUNT, 0}, {8, LIST, ALLOC}}, {{0}}},
    {KMT_OP_Evict, {{0, DEVICE, 0}, {4, CONST, 1}, {8, LIST, ALLOC}}, {{0}}},
    {KMT_OP_MakeResident, {{0, QUEUE, 0}, {4, CONST, 1}, {8, LIST, ALLOC}}, {{0}}},
    {KMT_OP_OfferAllocations, {{0, DEVICE, 0}, {16, LIST, ALLOC}, {24, CONST, 1}, {28, COUNT, 0}}, {{0}}},
    {KMT_OP_OfferAllocations, {{0, DEVICE, 0}, {8, LIST, RESOURCE}, {24, CONST, 1}, {28, COUNT, 0}}, {{0}}},
    {KMT_OP_ReclaimAllocations2, {{0, QUEUE, 0}, {4, CONST, 1}, {16, LIST, ALLOC}, {24, BYTES, 0}}, {{0}}},
    {KMT_OP_ReclaimAllocations2, {{0, QUEUE, 0}, {4, CONST, 1}, {8, LIST, RESOURCE}, {24, BYTES, 0}}, {{0}}},
    {KMT_OP_FreeGpuVirtualAddress, {{0, ADAPTER, 0}, {8, PAGES, 4096}, {16, PAGES, 4096}}, {{0}}},
    {KMT_OP_GetContextInProcessSchedulingPriority, {{0, CONTEXT, 0}}, {{0}}},
    {KMT_OP_GetContextSchedulingPriority, {{0, CONTEXT, 0}}, {{0}}},
    {KMT_OP_SetContextInProcessSchedulingPriority, {{0, CONTEXT, 0}, {4, CONST, 1}}, {{0}}},
    {KMT_OP_SetContextSchedulingPriority, {{0, CONTEXT, 0}, {4, COUNT, 0}}, {{0}}},
    {KMT_OP_GetSharedResourceAdapterLuid, {{0, GLOBAL, 0}}, {{0}}},
    {KMT_OP_GetSharedResourceAdapterLuid, {{8, NT, 0}}, {{0}}},
    {KMT_OP_InvalidateCache, {{0, DEVICE, 0}, {4, ALLOC, 0}}, {{0}}},
    {KMT_OP_Lock2, {{0, DEVICE, 0}, {4, ALLOC, 0}}, {{0}}},
    {KMT_OP_Unlock2, {{0, DEVICE, 0}, {4, ALLOC, 0}}, {{0}}},
    {KMT_OP_OpenResource, {{0, DEVICE, 0}, {4, GLOBAL, 0}, {8, COUNT, 0}, {16, BYTES, 0}, {56, BYTES, 0},
     {64, CONST, 4096}}, {{68, RESOURCE, 0}}},
    {KMT_OP_QueryResourceInfo, {{0, DEVICE, 0}, {4, GLOBAL, 0}}, {{0}}},
    {KMT_OP_QueryAllocationResidency, {{0, DEVICE, 0}, {8, LIST, ALLOC}, {16, COUNT, 0}, {24, BYTES, 0}},
     {{0}}},
    {KMT_OP_QueryAllocationResidency, {{0, DEVICE, 0}, {4, RESOURCE, 0}, {24, BYTES, 0}}, {{0}}},
    {KMT_OP_SetAllocationPriority, {{0, DEVICE, 0}, {8, LIST, ALLOC}, {16, COUNT, 0}, {24, WORDS, 0}}, {{0}}},
    {KMT_OP_SetAllocationPriority, {{0, DEVICE, 0}, {4, RESOURCE, 0}, {24, WORDS, 0}}, {{0}}},
    {KMT_OP_GetAllocationPriority, {{0, DEVICE, 0}, {8, LIST, ALLOC}, {16, COUNT, 0}, {24, BYTES, 0}}, {{0}}},
    {KMT_OP_GetAllocationPriority, {{0, DEVICE, 0}, {4, RESOURCE, 0}, {24, BYTES, 0}}, {{0}}},
    {KMT_OP_SignalSynchronizationObjectFromCpu, {{0, DEVICE, 0}, {4, COUNT, 0}, {8, LIST, SYNC},
     {16, VALUES, 0}}, {{0}}},
    {KMT_OP_SignalSynchronizationObjectFromGpu, {{0, CONTEXT, 0}, {4, COUNT, 0}, {8, LIST, SYNC},
     {16, VALUES, 0}}, {{0}}},
    {KMT_OP_SignalSynchronizationObjectFromGpu2, {{0, COUNT, 0}, {8, LIST, SYNC}, {20, CONST, 1},
     {24, LIST, CONTEXT}, {32, VALUES, 0}}, {{0}}},
    {KMT_OP_WaitForSynchronizationObjectFromCpu, {{0, DEVICE, 0}, {4, COUNT, 0}, {8, LIST, SYNC},
     {16, VALUES, 0}}, {{0}}},
    {KMT_OP_WaitForSynchronizationObjectFromCpu, {{0, DEVICE, 0}, {4, COUNT, 0}, {8, LIST, SYNC},
     {16, VALUES, 0}, {24, CONST, 44}}, {{0}}},
    {KMT_OP_WaitForSynchronizationObjectFromGpu, {{0, CONTEXT, 0}, {4, COUNT, 0}, {8, LIST, SYNC},
     {16, VALUES, 0}}, {{0}}},
    {KMT_OP_ShareObjects, {{0, CONST, 1}, {8, LIST, RESOURCE}, {32, BYTES, 0}}, {{0}}},
    {KMT_OP_QueryResourceInfoFromNtHandle, {{0, DEVICE, 0}, {8, NT, 0}}, {{0}}},
    {KMT_OP_OpenResourceFromNtHandle, {{0, DEVICE, 0}, {8, NT, 0}, {16, COUNT, 0}, {24, BYTES, 0},
     {32, CONST, 64}, {40, BYTES, 0}, {64, CONST, 4096}, {72, BYTES, 0}}, {{80, RESOURCE, 0}}},
    {KMT_OP_CreateAllocation2, {{0, DEVICE, 0}, {44, CONST, 1}, {48, INFOS, 96}, {56, CONST, 0x43}},
     {{4, RESOURCE, 0}}},
    {KMT_OP_ShareObjects, {{0, CONST, 1}, {8, LIST, RESOURCE}, {32, BYTES, 0}}, {{0}}},
    {KMT_OP_OpenResourceFromNtHandle, {{0, DEVICE, 0}, {8, NT, 0}, {16, CONST, 1}, {24, BYTES, 0},
     {32, CONST, 64}, {40, BYTES, 0}, {64, CONST, 4096}, {72, BYTES, 0}}, {{80, RESOURCE, 0}}},
    {KMT_OP_CreateContext, {{0, DEVICE, 0}}, {{32, CONTEXT, 0}}},
    {KMT_OP_Render, {{0, CONTEXT, 0}, {8, CONST, 64}, {12, COUNT, 0}, {16, COUNT, 0}}, {{0}}},
    {KMT_OP_Render, {{0, CONTEXT, 0}, {8, CONST, 64}, {32, COUNT, 0}, {68, CONST, 1}}, {{0}}},
    {KMT_OP_Render, {{0, CONTEXT, 0}, {8, CONST, 64}}, {{0}}},
    {KMT_OP_RegisterTrimNotification, {{8, DEVICE, 0}, {16, CONST, 0x1000}}, {{32, TRIM, 0}}},
    {KMT_OP_UnregisterTrimNotification, {{0, TRIM, 0}}, {{0}}},
    {KMT_OP_UnregisterTrimNotification, {{8, CONST, 0x1000}}, {{0}}},
};

/* ---- random choices ----------------------------------------------------------------------------- */

static _Thread_local uint64_t random_state;

static uint32_t random32(void)
{
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}

static bool one_in(uint32_t n) { return random32() % n == 0; }

enum { POOL = 8 }; /* few of each kind: calls meet each other's objects */
static _Atomic uint32_t pool[KINDS][POOL]; /* of all threads */

static uint32_t pick(uint32_t kind) { return pool[kind][random32() % POOL]; }

static void remember(uint32_t kind, uint32_t handle)
{
    if (handle != 0) pool[kind][random32() % POOL] = handle;
}

static uint32_t noise32(void)
{
    switch (random32() % 6) {
    case 0: return 0;
    case 1: return random32() % 70;
    case 2: return 1u << random32() % 32;
    case 3: return UINT32_MAX - random32() % 2;
    case 4: return pick(1 + random32() % (KINDS - 1));
    default: return random32();
    }
}

static uint64_t noise64(void)
{
    switch (random32() % 5) {
    case 0: return at(NOISE_READ_ONLY + random32() % 4096);
    case 1: return at(random32() % NOISE_BYTES);
    case 2: return noise32();
    case 3: return UINT64_MAX - random32() % 4096;
    default: return (uint64_t)random32() << 32 | random32();
    }
}

/* ---- building a call ---------------------------------------------------------------------------- */

static _Thread_local uint32_t lists; /* how many arrays the call has so far */

static uint8_t *next_list(D3DKMT_PTR *where)
{
    uint32_t offset = LISTS + (lists++ % 8) * 1024;
    *where = at(offset);
    return memory + offset;
}

static void put_list(uint8_t *where, uint32_t kind)
{
    D3DKMT_PTR list_at;
    uint8_t *list = next_list(&list_at);
    for (uint32_t i = 0; i < 4; i++) memcpy(list + 4 * i, &(uint32_t){pick(kind)}, 4);
    memcpy(where, &list_at, 8);
}

static void put_infos(uint8_t *where, uint32_t element)
{
    D3DKMT_PTR list_at, data = at(PRIVATE);
    uint8_t *list = next_list(&list_at);
    const uint32_t few = random32() % 64;
    memset(list, 0, 4 * element);
    if (world.private_size != 0) memcpy(memory + PRIVATE, world.private_data, world.private_size);
    for (uint32_t i = 0; i < 4; i++) {
        if (one_in(4)) memcpy(list + i * element + 8, &world.existing, 8);
        memcpy(list + i * element + 16, &data, 8);
        memcpy(list + i * element + 24, world.private_size != 0 ? &world.private_size : &few, 4);
    }
    memcpy(where, &list_at, 8);
}

static void put_numbers(uint8_t *where, size_t each)
{
    D3DKMT_PTR list_at;
    uint8_t *list = next_list(&list_at);
    memset(list, 0, 4 * each);
    for (uint32_t i = 0; i < 4; i++) list[i * each] = (uint8_t)(1 + random32() % 20);
    memcpy(where, &list_at, 8);
}

static void put_tiles(uint8_t *where)
{
    D3DKMT_PTR list_at;
    uint8_t *list = next_list(&list_at);
    for (uint32_t i = 0; i < 4; i++) {
        D3DDDI_UPDATEGPUVIRTUALADDRESS_OPERATION op = {.OperationType = random32() % 4};
        op.Map.BaseAddress = random32() % 64 * 4096ull;
        op.Map.SizeInBytes = (1 + random32() % 64) * 4096ull;
        if (op.OperationType == UPDATE_UNMAP) op.Unmap.Protection = 4u << random32() % 2;
        else if (op.OperationType == UPDATE_COPY) op.Copy.DestAddress = random32() % 64 * 4096ull;
        else op.Map.hAllocation = pick(ALLOC);
        memcpy(list + i * sizeof op, &op, sizeof op);
    }
    memcpy(where, &list_at, 8);
}

static void put_field(uint8_t *args, const struct field *f)
{
    uint8_t *where = args + f->offset;
    uint64_t v64;
    uint32_t v32;
    switch (f->what) {
    case NT:
        v64 = pick(NT);
        memcpy(where, &v64, 8);
        break;
    case COUNT:
        v32 = 1 + random32() % 3;
        memcpy(where, &v32, 4);
        break;
    case LIST: put_list(where, f->extra); break;
    case VALUES: put_numbers(where, 8); break;
    case WORDS: put_numbers(where, 4); break;
    case TILES: put_tiles(where); break;
    case INFOS: put_infos(where, f->extra); break;
    case BYTES:
        v64 = at(BUFFER + random32() % 2 * 64);
        memcpy(where, &v64, 8);
        break;
    case CONST: memcpy(where, &f->extra, 4); break;
    case PAGES:
        v64 = (1 + random32() % 64) * (uint64_t)f->extra;
        memcpy(where, &v64, 8);
        break;
    default: /* a handle */
        v32 = pick(f->what);
        memcpy(where, &v32, 4);
        break;
    }
}

static void damage(uint8_t *args, size_t bytes)
{
    for (uint32_t n = 1 + random32() % 3; n != 0; n--) {
        size_t where = random32() % (bytes / 4) * 4;
        if (one_in(2) && where + 8 <= bytes) memcpy(args + where, &(uint64_t){noise64()}, 8);
        else memcpy(args + where, &(uint32_t){noise32()}, 4);
    }
}

static void harvest(const struct shape *s, const uint8_t *args)
{
    for (const struct field *f = s->out; f->what != END; f++) {
        uint32_t handle;
        memcpy(&handle, args + f->offset, 4);
        remember(f->what, handle);
    }
    if (s->op == KMT_OP_ShareObjects) {
        uint64_t nt;
        D3DKMT_PTR to;
        memcpy(&to, args + offsetof(D3DKMT_SHAREOBJECTS, pSharedNtHandle), 8);
        memcpy(&nt, (const void *)(uintptr_t)to, 8);
        remember(NT, (uint32_t)nt);
    }
    for (const struct field *f = s->in; f < s->in + 8 && f->what != END; f++) {
        D3DKMT_PTR list;
        uint32_t handle;
        if (f->what != INFOS) continue;
        memcpy(&list, args + f->offset, 8);
        memcpy(&handle, (const void *)(uintptr_t)list, 4);
        remember(ALLOC, handle);
    }
    if (s->op == KMT_OP_OpenResource || s->op == KMT_OP_OpenResourceFromNtHandle) {
        uint32_t handle;
        memcpy(&handle, memory + BUFFER, 4);
        remember(ALLOC, handle);
    }
}

/* A wait that blocks is given an event to signal instead, where nobody would end it. */
static void keep_from_blocking(enum kmt_op op, uint8_t *args)
{
    const uint64_t event = 1;
    if (world.may_block) return;
    if (op == KMT_OP_DestroyAllocation2)
        args[offsetof(D3DKMT_DESTROYALLOCATION2, Flags)] &=
            (uint8_t)~D3DDDICB_DESTROYALLOCATION2FLAGS_SynchronousDestroy;
    if (op != KMT_OP_WaitForSynchronizationObjectFromCpu) return;
    memcpy(args + offsetof(D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU, hAsyncEvent), &event, 8);
}

void noise_call(void)
{
    const struct shape *s = &shapes[random32() % (sizeof shapes / sizeof shapes[0])];
    bool fatal = s->op == KMT_OP_DestroyDevice || s->op == KMT_OP_CloseAdapter;
    size_t bytes = kmt_entry_info(s->op).bytes, place = ARGS;
    if (fatal && !one_in(8)) return;
    if (world.read_only_args && one_in(64)) place = NOISE_READ_ONLY;
    memset(memory + place, 0, bytes);
    lists = 0;
    for (const struct field *f = s->in; f < s->in + 8 && f->what != END; f++) put_field(memory + place, f);
    bool damaged = one_in(4);
    if (damaged) damage(memory + place, bytes);
    keep_from_blocking(s->op, memory + place);
    NTSTATUS status = kmt_dispatch(world.process, s->op, at(place));
    if (status >= 0) world.succeeded[s->op]++;
    if (status >= 0 && !damaged) harvest(s, memory + place);
}

void noise_pure(void)
{
    enum kmt_op op = (enum kmt_op)(random32() % KMT_OP_COUNT);
    size_t bytes = kmt_entry_info(op).bytes;
    if (op == KMT_OP_DestroyDevice || op == KMT_OP_CloseAdapter) return;
    for (size_t i = 0; i < bytes; i += 4) memcpy(memory + ARGS + i, &(uint32_t){noise32()}, 4);
    for (size_t i = 0; i + 8 <= bytes; i += 8)
        if (one_in(4)) memcpy(memory + ARGS + i, &(uint64_t){noise64()}, 8);
    keep_from_blocking(op, memory + ARGS);
    kmt_dispatch(world.process, op, world.may_block && one_in(32) ? noise64() : at(ARGS));
}

/* ---- for the tests ------------------------------------------------------------------------------ */

void noise_begin(void)
{
    for (uint32_t k = 0; k < KINDS; k++)
        for (uint32_t i = 0; i < POOL; i++) atomic_store(&pool[k][i], 0);
}

void noise_thread(uint8_t *client_memory, uint64_t seed)
{
    memory = client_memory;
    random_state = seed * 0x9e3779b97f4a7c15ull | 1;
}

uint32_t noise_random(void)
{
    return random32();
}

uint32_t noise_silent(void)
{
    uint32_t silent = 0;
    for (int op = 0; op < KMT_OP_COUNT; op++) {
        struct kmt_entry_info e = kmt_entry_info((enum kmt_op)op);
        if (!e.works || world.succeeded[op] != 0) continue;
        printf("%s never succeeded\n", e.name);
        silent++;
    }
    return silent;
}
