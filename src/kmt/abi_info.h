/* SPDX-License-Identifier: MIT */
/* abi_info.h - structs behind QueryAdapterInfo, the VIDMM escape and the notification callbacks.
 * Owns: layouts only.  Calls: nothing.  Layouts are pinned by abi_pins.inc or by the asserts below. */
#ifndef VIDMM_KMT_ABI_INFO_H
#define VIDMM_KMT_ABI_INFO_H

#include <assert.h>
#include <stddef.h>

#include "kmt/abi_types.h"

/* QueryAdapterInfo 3 */
typedef struct {
    uint64_t DedicatedVideoMemorySize;
    uint64_t DedicatedSystemMemorySize;
    uint64_t SharedSystemMemorySize;
} D3DKMT_SEGMENTSIZEINFO;
_Static_assert(sizeof(D3DKMT_SEGMENTSIZEINFO) == 24, "layout");

/* QueryAdapterInfo 34 */
typedef struct {
    uint32_t PhysicalAdapterIndex; /* in */
    uint32_t Flags;                /* out */
    uint32_t VirtualAddressBitCount;
} D3DKMT_QUERY_GPUMMU_CAPS;
_Static_assert(sizeof(D3DKMT_QUERY_GPUMMU_CAPS) == 12, "layout");
#define D3DKMT_GPUMMU_CAPS_ReadOnlyMemorySupported 0x1u
#define D3DKMT_GPUMMU_CAPS_NoExecuteMemorySupported 0x2u
#define D3DKMT_GPUMMU_CAPS_CacheCoherentMemorySupported 0x4u

/* QueryAdapterInfo 31 */
typedef struct {
    uint32_t PhysicalAdapterIndex; /* in */
    uint32_t VendorID;             /* out from here */
    uint32_t DeviceID;
    uint32_t SubVendorID;
    uint32_t SubSystemID;
    uint32_t RevisionID;
    uint32_t BusType;
} D3DKMT_QUERY_DEVICE_IDS;
_Static_assert(sizeof(D3DKMT_QUERY_DEVICE_IDS) == 28, "layout");

/* QueryAdapterInfo 42 */
typedef struct {
    uint32_t PhysicalAdapterIndex; /* in */
    D3DKMT_SEGMENTSIZEINFO LegacyInfo;
    uint64_t LocalMemory;
    uint64_t NonLocalMemory;
    uint64_t NonBudgetMemory;
} D3DKMT_SEGMENTGROUPSIZEINFO;
_Static_assert(sizeof(D3DKMT_SEGMENTGROUPSIZEINFO) == 56, "layout");
_Static_assert(offsetof(D3DKMT_SEGMENTGROUPSIZEINFO, LegacyInfo) == 8, "layout");
_Static_assert(offsetof(D3DKMT_SEGMENTGROUPSIZEINFO, LocalMemory) == 32, "layout");

/* QueryAdapterInfo 24 */
#define D3DKMT_WDDM_2_0_CAPS_Support64BitAtomics 0x1u
#define D3DKMT_WDDM_2_0_CAPS_GpuMmuSupported 0x2u
#define D3DKMT_WDDM_2_0_CAPS_IoMmuSupported 0x4u

/* QueryAdapterInfo 25, as clients on Linux see it: names of 4-byte characters, no padding. */
#pragma pack(push, 1)
typedef struct {
    uint32_t NodeOrdinalAndAdapterIndex; /* in: ordinal low word, adapter high word */
    uint32_t EngineType;
    uint32_t FriendlyName[32];
    uint32_t Flags;
    uint8_t GpuMmuSupported;
    uint8_t IoMmuSupported;
} D3DKMT_NODEMETADATA;
#pragma pack(pop)
_Static_assert(sizeof(D3DKMT_NODEMETADATA) == 142, "layout");

/* QueryAdapterInfo 48: the name fields are 260 characters of 4 bytes; the answer string follows the struct's
 * fixed part, which ends with room for one 8-byte value. */
typedef struct {
    uint32_t QueryType;         /* in */
    uint32_t QueryFlags;        /* in */
    uint32_t ValueName[260];    /* in */
    uint32_t ValueType;         /* in */
    uint32_t PhysicalAdapterIndex;
    uint32_t OutputValueSize;   /* out, bytes */
    uint32_t Status;            /* out, QUERYREGISTRY_* */
    uint64_t OutputValue;       /* out; strings start here */
} D3DKMT_QUERYREGISTRY_INFO;
_Static_assert(sizeof(D3DKMT_QUERYREGISTRY_INFO) == 1072, "layout");
_Static_assert(offsetof(D3DKMT_QUERYREGISTRY_INFO, OutputValue) == 1064, "layout");

typedef struct {
    uint64_t Flags;
    union {
        uint64_t PageAddress;
        uint64_t PageTableAddress;
    };
} DXGK_PTE;

typedef struct {
    uint32_t VadIndex; /* in */
    uint64_t VadAddress; /* in */
    uint32_t NumMappedRanges; /* out */
    uint32_t VadType; /* out */
    uint64_t StartAddress; /* out */
    uint64_t EndAddress; /* out */
} D3DKMT_VAD_DESC;

typedef struct {
    uint64_t VadAddress; /* in */
    uint32_t VaRangeIndex; /* in */
    uint32_t PhysicalAdapterIndex; /* in */
    uint64_t StartAddress; /* out */
    uint64_t EndAddress; /* out */
    uint64_t DriverProtection; /* out */
    uint32_t OwnerType; /* out */
    uint64_t pOwner; /* out */
    uint64_t OwnerOffset; /* out */
    uint32_t Protection; /* out */
} D3DKMT_VA_RANGE_DESC;

typedef struct {
    uint32_t PhysicalAdapterIndex; /* in */
    uint32_t PageTableLevel; /* in */
    uint32_t PageTableIndex[6]; /* in */
    uint8_t b64KBPte; /* in/out */
    uint32_t NumPtes; /* in/out */
    DXGK_PTE Pte[64]; /* out */
    uint32_t NumValidEntries; /* out */
} D3DKMT_GET_PTE;

typedef struct {
    uint64_t Size; /* out */
    uint32_t PageSize; /* out */
    uint32_t SegmentId; /* out */
    uint8_t bAperture; /* out */
    uint8_t bReservedSysMem; /* out */
    uint32_t BudgetGroup; /* out; D3DKMT_MEMORY_SEGMENT_GROUP */
} D3DKMT_SEGMENT_CAPS;

typedef struct {
    D3DKMT_PTR Context; /* in; bytes */
    uint32_t Flags; /* in; D3DDDI_TRIMRESIDENCYSET_FLAGS */
    uint64_t NumBytesToTrim; /* in */
} D3DKMT_TRIMNOTIFICATION;

typedef struct {
    D3DKMT_LUID AdapterLuid; /* in */
    D3DKMT_HANDLE hDevice; /* in */
    D3DKMT_PTR Callback; /* in; a function of the client, never called from here */
    D3DKMT_PTR Context; /* in; bytes */
    D3DKMT_PTR Handle; /* out; bytes */
} D3DKMT_REGISTERTRIMNOTIFICATION;

typedef struct {
    D3DKMT_PTR Context; /* in; bytes */
    uint64_t Budget; /* in */
} D3DKMT_BUDGETCHANGENOTIFICATION;

typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    D3DKMT_PTR Callback; /* in; a function of the client, never called from here */
    D3DKMT_PTR Context; /* in; bytes */
    D3DKMT_PTR Handle; /* out; bytes */
} D3DKMT_REGISTERBUDGETCHANGENOTIFICATION;

#endif
