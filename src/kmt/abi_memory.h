/* SPDX-License-Identifier: MIT */
/* abi_memory.h - argument structs of the adapter, device, allocation, address and residency calls.
 * Owns: layouts only.  Calls: nothing.  Layouts are pinned by abi_pins.inc.
 * Each field's comment says who writes it; "must be 0" fields are checked by the face.  Numbers in front of a
 * call are its ioctl number in the published client library. */
#ifndef VIDMM_KMT_ABI_MEMORY_H
#define VIDMM_KMT_ABI_MEMORY_H

#include "kmt/abi_types.h"

/* 0x01 D3DKMTOpenAdapterFromLuid */
typedef struct {
    D3DKMT_LUID AdapterLuid; /* in */
    D3DKMT_HANDLE hAdapter; /* out */
} D3DKMT_OPENADAPTERFROMLUID;

/* 0x02 D3DKMTCreateDevice */
typedef struct {
    union {
        D3DKMT_HANDLE hAdapter; /* in */
        D3DKMT_PTR pAdapter; /* in; bytes */
    };
    uint32_t Flags; /* in; D3DKMT_CREATEDEVICEFLAGS */
    D3DKMT_HANDLE hDevice; /* out */
    D3DKMT_PTR pCommandBuffer; /* out; bytes */
    uint32_t CommandBufferSize; /* out */
    D3DKMT_PTR pAllocationList; /* out; D3DDDI_ALLOCATIONLIST * */
    uint32_t AllocationListSize; /* out */
    D3DKMT_PTR pPatchLocationList; /* out; D3DDDI_PATCHLOCATIONLIST * */
    uint32_t PatchLocationListSize; /* out */
} D3DKMT_CREATEDEVICE;

/* 0x06 D3DKMTCreateAllocation2 */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    D3DKMT_HANDLE hResource; /* in/out */
    D3DKMT_HANDLE hGlobalShare; /* out */
    D3DKMT_PTR pPrivateRuntimeData; /* in; bytes */
    uint32_t PrivateRuntimeDataSize; /* in */
    union {
        D3DKMT_PTR pStandardAllocation; /* in; D3DKMT_CREATESTANDARDALLOCATION * */
        D3DKMT_PTR pPrivateDriverData; /* in/out; bytes */
    };
    uint32_t PrivateDriverDataSize; /* in/out */
    uint32_t NumAllocations; /* in */
    union {
        D3DKMT_PTR pAllocationInfo; /* in/out; D3DDDI_ALLOCATIONINFO * */
        D3DKMT_PTR pAllocationInfo2; /* in/out; D3DDDI_ALLOCATIONINFO2 * */
    };
    uint32_t Flags; /* in; D3DKMT_CREATEALLOCATIONFLAGS */
    uint64_t hPrivateRuntimeResourceHandle; /* in; HANDLE */
} D3DKMT_CREATEALLOCATION;

typedef struct {
    D3DKMT_HANDLE hAllocation; /* out */
    union {
        uint64_t hSection; /* in; HANDLE */
        D3DKMT_PTR pSystemMem; /* in; bytes */
    };
    D3DKMT_PTR pPrivateDriverData; /* in; bytes */
    uint32_t PrivateDriverDataSize; /* in */
    uint32_t VidPnSourceId; /* in; D3DDDI_VIDEO_PRESENT_SOURCE_ID */
    uint32_t Flags; /* in; flags */
    uint64_t GpuVirtualAddress; /* out; gpu va */
    union {
        uint32_t Priority; /* in */
        uint64_t Unused; /* must be 0 */
    };
    uint64_t Reserved[5]; /* must be 0 */
} D3DDDI_ALLOCATIONINFO2;

typedef struct {
    uint32_t Type; /* in; D3DKMT_STANDARDALLOCATIONTYPE */
    struct {
        uint64_t Size; /* in */
    } ExistingHeapData;
    uint32_t Flags; /* in; D3DKMT_CREATESTANDARDALLOCATIONFLAGS */
} D3DKMT_CREATESTANDARDALLOCATION;

/* 0x07 D3DKMTCreatePagingQueue */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    int32_t Priority; /* in */
    D3DKMT_HANDLE hPagingQueue; /* out */
    D3DKMT_HANDLE hSyncObject; /* out */
    D3DKMT_PTR FenceValueCPUVirtualAddress; /* out; bytes */
    uint32_t PhysicalAdapterIndex; /* in */
} D3DKMT_CREATEPAGINGQUEUE;

/* 0x08 D3DKMTReserveGpuVirtualAddress */
typedef struct {
    union {
        D3DKMT_HANDLE hPagingQueue; /* in */
        D3DKMT_HANDLE hAdapter; /* in */
    };
    uint64_t BaseAddress; /* in; gpu va */
    uint64_t MinimumAddress; /* in; gpu va */
    uint64_t MaximumAddress; /* in; gpu va */
    uint64_t Size; /* in */
    union {
        uint32_t ReservationType; /* in; D3DDDIGPUVIRTUALADDRESS_RESERVATION_TYPE */
        uint32_t Reserved0; /* must be 0 */
    };
    union {
        uint64_t DriverProtection; /* in */
        uint64_t Reserved1; /* must be 0 */
    };
    uint64_t VirtualAddress; /* out; gpu va */
    union {
        uint64_t PagingFenceValue; /* out */
        uint64_t Reserved2; /* must be 0 */
    };
} D3DDDI_RESERVEGPUVIRTUALADDRESS;

/* 0x09 D3DKMTQueryAdapterInfo */
typedef struct {
    D3DKMT_HANDLE hAdapter; /* in */
    uint32_t Type; /* in; KMTQUERYADAPTERINFOTYPE */
    D3DKMT_PTR pPrivateDriverData; /* in/out; bytes */
    uint32_t PrivateDriverDataSize; /* in */
} D3DKMT_QUERYADAPTERINFO;

/* 0x0a D3DKMTQueryVideoMemoryInfo */
typedef struct {
    uint64_t hProcess; /* in; HANDLE */
    D3DKMT_HANDLE hAdapter; /* in */
    uint32_t MemorySegmentGroup; /* in; D3DKMT_MEMORY_SEGMENT_GROUP */
    uint64_t Budget; /* out */
    uint64_t CurrentUsage; /* out */
    uint64_t CurrentReservation; /* out */
    uint64_t AvailableForReservation; /* out */
    uint32_t PhysicalAdapterIndex; /* in */
} D3DKMT_QUERYVIDEOMEMORYINFO;

/* 0x0b D3DKMTMakeResident */
typedef struct {
    D3DKMT_HANDLE hPagingQueue; /* in */
    uint32_t NumAllocations; /* in/out */
    D3DKMT_PTR AllocationList; /* in; D3DKMT_HANDLE[] */
    D3DKMT_PTR PriorityList; /* in; UINT * */
    uint32_t Flags; /* in; D3DDDI_MAKERESIDENT_FLAGS */
    uint64_t PagingFenceValue; /* out */
    uint64_t NumBytesToTrim; /* out */
} D3DDDI_MAKERESIDENT;

/* 0x0c D3DKMTMapGpuVirtualAddress */
typedef struct {
    D3DKMT_HANDLE hPagingQueue; /* in */
    uint64_t BaseAddress; /* in; gpu va */
    uint64_t MinimumAddress; /* in; gpu va */
    uint64_t MaximumAddress; /* in; gpu va */
    D3DKMT_HANDLE hAllocation; /* in */
    uint64_t OffsetInPages; /* in */
    uint64_t SizeInPages; /* in */
    uint64_t Protection; /* in */
    uint64_t DriverProtection; /* in */
    uint32_t Reserved0; /* must be 0 */
    uint64_t Reserved1; /* must be 0 */
    uint64_t VirtualAddress; /* out; gpu va */
    uint64_t PagingFenceValue; /* out */
} D3DDDI_MAPGPUVIRTUALADDRESS;

/* 0x0d D3DKMTEscape */
typedef struct {
    D3DKMT_HANDLE hAdapter; /* in */
    D3DKMT_HANDLE hDevice; /* in */
    uint32_t Type; /* in; D3DKMT_ESCAPETYPE */
    uint32_t Flags; /* in; D3DDDI_ESCAPEFLAGS */
    D3DKMT_PTR pPrivateDriverData; /* in/out; bytes */
    uint32_t PrivateDriverDataSize; /* in */
    D3DKMT_HANDLE hContext; /* in */
} D3DKMT_ESCAPE;

/* 0x0e D3DKMTGetDeviceState */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    uint32_t StateType; /* in; D3DKMT_DEVICESTATE_TYPE */
    union {
        uint32_t ExecutionState; /* out; D3DKMT_DEVICEEXECUTION_STATE */
        struct {
            uint32_t VidPnSourceId; /* in; D3DDDI_VIDEO_PRESENT_SOURCE_ID */
            uint64_t PresentStats[5]; /* out; D3DKMT_PRESENT_STATS */
        } PresentState;
        uint32_t ResetState; /* out; D3DKMT_DEVICERESET_STATE */
        struct {
            uint32_t VidPnSourceId; /* in; D3DDDI_VIDEO_PRESENT_SOURCE_ID */
            uint64_t PresentStatsDWM[5]; /* out; D3DKMT_PRESENT_STATS_DWM */
        } PresentStateDWM;
        struct {
            uint64_t FaultedPrimitiveAPISequenceNumber; /* out */
            uint32_t FaultedPipelineStage; /* out; DXGK_RENDER_PIPELINE_STAGE */
            uint32_t FaultedBindTableEntry; /* out */
            uint32_t PageFaultFlags; /* out; DXGK_PAGE_FAULT_FLAGS */
            uint32_t FaultErrorCode; /* out; DXGK_FAULT_ERROR_CODE */
            uint64_t FaultedVirtualAddress; /* out; gpu va */
        } PageFaultState;
        struct {
            uint32_t VidPnSourceId; /* in; D3DDDI_VIDEO_PRESENT_SOURCE_ID */
            uint8_t bQueuedPresentLimitReached; /* out */
        } PresentQueueState;
    };
} D3DKMT_GETDEVICESTATE;

/* 0x13 D3DKMTDestroyAllocation2 */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    D3DKMT_HANDLE hResource; /* in */
    D3DKMT_PTR phAllocationList; /* in; D3DKMT_HANDLE[] */
    uint32_t AllocationCount; /* in */
    uint32_t Flags; /* in; D3DDDICB_DESTROYALLOCATION2FLAGS */
} D3DKMT_DESTROYALLOCATION2;

/* 0x14 D3DKMTEnumAdapters2 */
typedef struct {
    uint32_t NumAdapters; /* in/out */
    D3DKMT_PTR pAdapters; /* out; D3DKMT_ADAPTERINFO * */
} D3DKMT_ENUMADAPTERS2;

typedef struct {
    D3DKMT_HANDLE hAdapter; /* out */
    D3DKMT_LUID AdapterLuid; /* out */
    uint32_t NumOfSources; /* out */
    uint32_t bPrecisePresentRegionsPreferred; /* out */
} D3DKMT_ADAPTERINFO;

/* 0x15 D3DKMTCloseAdapter */
typedef struct {
    D3DKMT_HANDLE hAdapter; /* in */
} D3DKMT_CLOSEADAPTER;

/* 0x16 D3DKMTChangeVideoMemoryReservation */
typedef struct {
    uint64_t hProcess; /* in; HANDLE */
    D3DKMT_HANDLE hAdapter; /* in */
    uint32_t MemorySegmentGroup; /* in; D3DKMT_MEMORY_SEGMENT_GROUP */
    uint64_t Reservation; /* in */
    uint32_t PhysicalAdapterIndex; /* in */
} D3DKMT_CHANGEVIDEOMEMORYRESERVATION;

/* 0x19 D3DKMTDestroyDevice */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
} D3DKMT_DESTROYDEVICE;

/* 0x1c D3DKMTDestroyPagingQueue */
typedef struct {
    D3DKMT_HANDLE hPagingQueue; /* in */
} D3DDDI_DESTROYPAGINGQUEUE;

/* 0x1e D3DKMTEvict */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    uint32_t NumAllocations; /* in */
    D3DKMT_PTR AllocationList; /* in; D3DKMT_HANDLE[] */
    uint32_t Flags; /* in; D3DDDI_EVICT_FLAGS */
    uint64_t NumBytesToTrim; /* out */
} D3DKMT_EVICT;

/* 0x1f D3DKMTFlushHeapTransitions */
typedef struct {
    D3DKMT_HANDLE hAdapter; /* in */
} D3DKMT_FLUSHHEAPTRANSITIONS;

/* 0x20 D3DKMTFreeGpuVirtualAddress */
typedef struct {
    D3DKMT_HANDLE hAdapter; /* in */
    uint64_t BaseAddress; /* in; gpu va */
    uint64_t Size; /* in */
} D3DKMT_FREEGPUVIRTUALADDRESS;

/* 0x23 D3DKMTGetSharedResourceAdapterLuid */
typedef struct {
    D3DKMT_HANDLE hGlobalShare; /* in */
    uint64_t hNtHandle; /* in; HANDLE */
    D3DKMT_LUID AdapterLuid; /* out */
} D3DKMT_GETSHAREDRESOURCEADAPTERLUID;

/* 0x24 D3DKMTInvalidateCache */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    D3DKMT_HANDLE hAllocation; /* in */
    uint64_t Offset; /* in */
    uint64_t Length; /* in */
} D3DKMT_INVALIDATECACHE;

/* 0x25 D3DKMTLock2 */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    D3DKMT_HANDLE hAllocation; /* in */
    uint32_t Flags; /* in; D3DDDICB_LOCK2FLAGS */
    D3DKMT_PTR pData; /* out */
} D3DKMT_LOCK2;

/* 0x26 D3DKMTMarkDeviceAsError */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    uint32_t Reason; /* in; D3DKMT_DEVICE_ERROR_REASON */
} D3DKMT_MARKDEVICEASERROR;

/* 0x27 D3DKMTOfferAllocations */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    D3DKMT_PTR pResources; /* in; D3DKMT_HANDLE[] */
    D3DKMT_PTR HandleList; /* in; D3DKMT_HANDLE[] */
    uint32_t NumAllocations; /* in */
    uint32_t Priority; /* in; D3DKMT_OFFER_PRIORITY */
    uint32_t Flags; /* in; D3DKMT_OFFER_FLAGS */
} D3DKMT_OFFERALLOCATIONS;

/* 0x28 D3DKMTOpenResource */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    D3DKMT_HANDLE hGlobalShare; /* in */
    uint32_t NumAllocations; /* in */
    union {
        D3DKMT_PTR pOpenAllocationInfo; /* in/out; D3DDDI_OPENALLOCATIONINFO * */
        D3DKMT_PTR pOpenAllocationInfo2; /* in/out; D3DDDI_OPENALLOCATIONINFO2 * */
    };
    D3DKMT_PTR pPrivateRuntimeData; /* in, bytes filled; bytes */
    uint32_t PrivateRuntimeDataSize; /* in */
    D3DKMT_PTR pResourcePrivateDriverData; /* in, bytes filled; bytes */
    uint32_t ResourcePrivateDriverDataSize; /* in */
    D3DKMT_PTR pTotalPrivateDriverDataBuffer; /* in, bytes filled; bytes */
    uint32_t TotalPrivateDriverDataBufferSize; /* in/out */
    D3DKMT_HANDLE hResource; /* out */
} D3DKMT_OPENRESOURCE;

typedef struct {
    D3DKMT_HANDLE hAllocation; /* out */
    D3DKMT_PTR pPrivateDriverData; /* out; bytes */
    uint32_t PrivateDriverDataSize; /* out */
    uint64_t GpuVirtualAddress; /* out; gpu va */
    uint64_t Reserved[6]; /* must be 0 */
} D3DDDI_OPENALLOCATIONINFO2;

/* 0x2a D3DKMTQueryAllocationResidency */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    D3DKMT_HANDLE hResource; /* in */
    D3DKMT_PTR phAllocationList; /* in; D3DKMT_HANDLE[] */
    uint32_t AllocationCount; /* in */
    D3DKMT_PTR pResidencyStatus; /* out; D3DKMT_ALLOCATIONRESIDENCYSTATUS * */
} D3DKMT_QUERYALLOCATIONRESIDENCY;

/* 0x2b D3DKMTQueryResourceInfo */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    D3DKMT_HANDLE hGlobalShare; /* in */
    D3DKMT_PTR pPrivateRuntimeData; /* in; bytes */
    uint32_t PrivateRuntimeDataSize; /* in/out */
    uint32_t TotalPrivateDriverDataSize; /* out */
    uint32_t ResourcePrivateDriverDataSize; /* out */
    uint32_t NumAllocations; /* out */
} D3DKMT_QUERYRESOURCEINFO;

/* 0x2c D3DKMTReclaimAllocations2 */
typedef struct {
    D3DKMT_HANDLE hPagingQueue; /* in */
    uint32_t NumAllocations; /* in */
    D3DKMT_PTR pResources; /* in; D3DKMT_HANDLE[] */
    D3DKMT_PTR HandleList; /* in; D3DKMT_HANDLE[] */
    union {
        D3DKMT_PTR pDiscarded; /* out; BOOL * */
        D3DKMT_PTR pResults; /* out; D3DDDI_RECLAIM_RESULT * */
    };
    uint64_t PagingFenceValue; /* out */
} D3DKMT_RECLAIMALLOCATIONS2;

/* 0x2e D3DKMTSetAllocationPriority */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    D3DKMT_HANDLE hResource; /* in */
    D3DKMT_PTR phAllocationList; /* in; D3DKMT_HANDLE[] */
    uint32_t AllocationCount; /* in */
    D3DKMT_PTR pPriorities; /* in; UINT * */
} D3DKMT_SETALLOCATIONPRIORITY;

/* 0x37 D3DKMTUnlock2 */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    D3DKMT_HANDLE hAllocation; /* in */
} D3DKMT_UNLOCK2;

/* 0x38 D3DKMTUpdateAllocationProperty */
typedef struct {
    D3DKMT_HANDLE hPagingQueue; /* in */
    D3DKMT_HANDLE hAllocation; /* in */
    uint32_t SupportedSegmentSet; /* in */
    uint32_t PreferredSegment; /* in; D3DDDI_SEGMENTPREFERENCE */
    uint32_t Flags; /* in; D3DDDI_UPDATEALLOCPROPERTY_FLAGS */
    uint64_t PagingFenceValue; /* out */
    uint32_t Bits; /* in; flags */
} D3DDDI_UPDATEALLOCPROPERTY;

/* 0x39 D3DKMTUpdateGpuVirtualAddress */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    D3DKMT_HANDLE hContext; /* in */
    D3DKMT_HANDLE hFenceObject; /* in */
    uint32_t NumOperations; /* in */
    D3DKMT_PTR Operations; /* in; D3DDDI_UPDATEGPUVIRTUALADDRESS_OPERATION * */
    uint64_t Reserved0; /* must be 0 */
    uint64_t Reserved1; /* must be 0 */
    uint64_t FenceValue; /* in */
    uint32_t Flags; /* in; flags */
} D3DKMT_UPDATEGPUVIRTUALADDRESS;

typedef struct {
    uint32_t OperationType; /* in; D3DDDI_UPDATEGPUVIRTUALADDRESS_OPERATION_TYPE */
    union {
        struct {
            uint64_t BaseAddress; /* in; gpu va */
            uint64_t SizeInBytes; /* in */
            D3DKMT_HANDLE hAllocation; /* in */
            uint64_t AllocationOffsetInBytes; /* in */
            uint64_t AllocationSizeInBytes; /* in */
        } Map;
        struct {
            uint64_t BaseAddress; /* in; gpu va */
            uint64_t SizeInBytes; /* in */
            D3DKMT_HANDLE hAllocation; /* in */
            uint64_t AllocationOffsetInBytes; /* in */
            uint64_t AllocationSizeInBytes; /* in */
            uint64_t Protection; /* in */
            uint64_t DriverProtection; /* in */
        } MapProtect;
        struct {
            uint64_t BaseAddress; /* in; gpu va */
            uint64_t SizeInBytes; /* in */
            uint64_t Protection; /* in */
        } Unmap;
        struct {
            uint64_t SourceAddress; /* in; gpu va */
            uint64_t SizeInBytes; /* in */
            uint64_t DestAddress; /* in; gpu va */
        } Copy;
    };
} D3DDDI_UPDATEGPUVIRTUALADDRESS_OPERATION;

/* 0x3c D3DKMTGetAllocationPriority */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    D3DKMT_HANDLE hResource; /* in */
    D3DKMT_PTR phAllocationList; /* in; D3DKMT_HANDLE[] */
    uint32_t AllocationCount; /* in */
    D3DKMT_PTR pPriorities; /* out; UINT * */
} D3DKMT_GETALLOCATIONPRIORITY;

/* 0x3e D3DKMTEnumAdapters3 */
typedef struct {
    uint64_t Filter; /* in */
    uint32_t NumAdapters; /* in/out */
    D3DKMT_PTR pAdapters; /* out; D3DKMT_ADAPTERINFO * */
} D3DKMT_ENUMADAPTERS3;

/* 0x3f D3DKMTShareObjects */
typedef struct {
    uint32_t ObjectCount; /* in */
    D3DKMT_PTR ObjectHandleArray; /* in; D3DKMT_HANDLE[] */
    D3DKMT_PTR pObjectAttributes; /* in */
    uint32_t DesiredAccess; /* in */
    D3DKMT_PTR pSharedNtHandle; /* out; HANDLE * */
} D3DKMT_SHAREOBJECTS;

/* 0x41 D3DKMTQueryResourceInfoFromNtHandle */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    uint64_t hNtHandle; /* in; HANDLE */
    D3DKMT_PTR pPrivateRuntimeData; /* in; bytes */
    uint32_t PrivateRuntimeDataSize; /* in/out */
    uint32_t TotalPrivateDriverDataSize; /* out */
    uint32_t ResourcePrivateDriverDataSize; /* out */
    uint32_t NumAllocations; /* out */
} D3DKMT_QUERYRESOURCEINFOFROMNTHANDLE;

/* 0x42 D3DKMTOpenResourceFromNtHandle */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    uint64_t hNtHandle; /* in; HANDLE */
    uint32_t NumAllocations; /* in */
    D3DKMT_PTR pOpenAllocationInfo2; /* in; D3DDDI_OPENALLOCATIONINFO2 * */
    uint32_t PrivateRuntimeDataSize; /* in */
    D3DKMT_PTR pPrivateRuntimeData; /* in, bytes filled; bytes */
    uint32_t ResourcePrivateDriverDataSize; /* in */
    D3DKMT_PTR pResourcePrivateDriverData; /* in, bytes filled; bytes */
    uint32_t TotalPrivateDriverDataBufferSize; /* in/out */
    D3DKMT_PTR pTotalPrivateDriverDataBuffer; /* in, bytes filled; bytes */
    D3DKMT_HANDLE hResource; /* out */
    D3DKMT_HANDLE hKeyedMutex; /* out */
    D3DKMT_PTR pKeyedMutexPrivateRuntimeData; /* in; bytes */
    uint32_t KeyedMutexPrivateRuntimeDataSize; /* in */
    D3DKMT_HANDLE hSyncObject; /* out */
} D3DKMT_OPENRESOURCEFROMNTHANDLE;

/* 0x43 D3DKMTQueryStatistics */
typedef struct {
    uint32_t Type; /* in; D3DKMT_QUERYSTATISTICS_TYPE */
    D3DKMT_LUID AdapterLuid; /* in */
    uint64_t hProcess; /* in; HANDLE */
    uint64_t QueryResult[97]; /* out; D3DKMT_QUERYSTATISTICS_RESULT */
    union {
        uint32_t QuerySegment; /* in; D3DKMT_QUERYSTATISTICS_QUERY_SEGMENT */
        uint32_t QueryProcessSegment; /* in; D3DKMT_QUERYSTATISTICS_QUERY_SEGMENT */
        uint32_t QueryProcessSegmentGroup; /* in; D3DKMT_MEMORY_SEGMENT_GROUP */
        uint32_t QueryNode; /* in; D3DKMT_QUERYSTATISTICS_QUERY_NODE */
        uint32_t QueryProcessNode; /* in; D3DKMT_QUERYSTATISTICS_QUERY_NODE */
        uint32_t QueryVidPnSource; /* in; D3DKMT_QUERYSTATISTICS_QUERY_VIDPNSOURCE */
        uint32_t QueryProcessVidPnSource; /* in; D3DKMT_QUERYSTATISTICS_QUERY_VIDPNSOURCE */
        uint32_t QueryPhysAdapter; /* in; D3DKMT_QUERYSTATISTICS_QUERY_PHYSICAL_ADAPTER */
    };
} D3DKMT_QUERYSTATISTICS;

/* 0x44 D3DKMTShareObjectWithHost */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    D3DKMT_HANDLE hObject; /* in */
    uint64_t Reserved; /* must be 0 */
    uint64_t hVailProcessNtHandle; /* out */
} D3DKMT_SHAREOBJECTWITHHOST;

/* The first form of CreateAllocation has shorter elements: the front part of D3DDDI_ALLOCATIONINFO2. */
typedef struct {
    D3DKMT_HANDLE hAllocation; /* out */
    D3DKMT_PTR pSystemMem; /* in */
    D3DKMT_PTR pPrivateDriverData; /* in; bytes */
    uint32_t PrivateDriverDataSize; /* in */
    uint32_t VidPnSourceId; /* in */
    uint32_t Flags; /* in */
} D3DDDI_ALLOCATIONINFO;

/* DestroyAllocation */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    D3DKMT_HANDLE hResource; /* in */
    D3DKMT_PTR phAllocationList; /* in; D3DKMT_HANDLE[] */
    uint32_t AllocationCount; /* in */
} D3DKMT_DESTROYALLOCATION;

/* UnregisterTrimNotification: by handle, or by callback when the handle is 0. */
typedef struct {
    D3DKMT_PTR Handle; /* in */
    D3DKMT_PTR Callback; /* in */
} D3DKMT_UNREGISTERTRIMNOTIFICATION;

_Static_assert(sizeof(D3DDDI_ALLOCATIONINFO) == 40, "layout");
_Static_assert(sizeof(D3DKMT_DESTROYALLOCATION) == 24, "layout");
_Static_assert(sizeof(D3DKMT_UNREGISTERTRIMNOTIFICATION) == 16, "layout");

#endif
