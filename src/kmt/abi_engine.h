/* SPDX-License-Identifier: MIT */
/* abi_engine.h - argument structs of the context, queue, submission and synchronization calls.
 * Owns: layouts only.  Calls: nothing.  Layouts are pinned by abi_pins.inc.
 * Each field's comment says who writes it; "must be 0" fields are checked by the face. */
#ifndef VIDMM_KMT_ABI_ENGINE_H
#define VIDMM_KMT_ABI_ENGINE_H

#include "kmt/abi_types.h"

/* 0x03 D3DKMTCreateContext */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    uint32_t NodeOrdinal; /* in */
    uint32_t EngineAffinity; /* in */
    uint32_t Flags; /* in; D3DDDI_CREATECONTEXTFLAGS */
    D3DKMT_PTR pPrivateDriverData; /* in; bytes */
    uint32_t PrivateDriverDataSize; /* in */
    uint32_t ClientHint; /* in; D3DKMT_CLIENTHINT */
    D3DKMT_HANDLE hContext; /* out */
    D3DKMT_PTR pCommandBuffer; /* out; bytes */
    uint32_t CommandBufferSize; /* out */
    D3DKMT_PTR pAllocationList; /* out; D3DDDI_ALLOCATIONLIST * */
    uint32_t AllocationListSize; /* out */
    D3DKMT_PTR pPatchLocationList; /* out; D3DDDI_PATCHLOCATIONLIST * */
    uint32_t PatchLocationListSize; /* out */
    uint64_t CommandBuffer; /* out; gpu va */
} D3DKMT_CREATECONTEXT;

/* 0x04 D3DKMTCreateContextVirtual */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    uint32_t NodeOrdinal; /* in */
    uint32_t EngineAffinity; /* in */
    uint32_t Flags; /* in; D3DDDI_CREATECONTEXTFLAGS */
    D3DKMT_PTR pPrivateDriverData; /* in; bytes */
    uint32_t PrivateDriverDataSize; /* in */
    uint32_t ClientHint; /* in; D3DKMT_CLIENTHINT */
    D3DKMT_HANDLE hContext; /* out */
} D3DKMT_CREATECONTEXTVIRTUAL;

/* 0x05 D3DKMTDestroyContext */
typedef struct {
    D3DKMT_HANDLE hContext; /* in */
} D3DKMT_DESTROYCONTEXT;

/* 0x0f D3DKMTSubmitCommand */
typedef struct {
    uint64_t Commands; /* in; gpu va */
    uint32_t CommandLength; /* in */
    uint32_t Flags; /* in; D3DKMT_SUBMITCOMMANDFLAGS */
    uint64_t PresentHistoryToken; /* in */
    uint32_t BroadcastContextCount; /* in */
    D3DKMT_HANDLE BroadcastContext[64]; /* in */
    D3DKMT_PTR pPrivateDriverData; /* in; bytes */
    uint32_t PrivateDriverDataSize; /* in */
    uint32_t NumPrimaries; /* in */
    D3DKMT_HANDLE WrittenPrimaries[16]; /* in */
    uint32_t NumHistoryBuffers; /* in */
    D3DKMT_PTR HistoryBufferArray; /* in; D3DKMT_HANDLE[] */
} D3DKMT_SUBMITCOMMAND;

/* 0x10 D3DKMTCreateSynchronizationObject2 */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    struct {
        uint32_t Type; /* in; D3DDDI_SYNCHRONIZATIONOBJECT_TYPE */
        uint32_t Flags; /* in; D3DDDI_SYNCHRONIZATIONOBJECT_FLAGS */
        union {
            struct {
                uint32_t InitialState; /* in */
            } SynchronizationMutex;
            struct {
                uint32_t MaxCount; /* in */
                uint32_t InitialCount; /* in */
            } Semaphore;
            struct {
                uint64_t FenceValue; /* in */
            } Fence;
            struct {
                uint64_t Event; /* in; HANDLE */
            } CPUNotification;
            struct {
                uint64_t InitialFenceValue; /* in */
                D3DKMT_PTR FenceValueCPUVirtualAddress; /* out; bytes */
                uint64_t FenceValueGPUVirtualAddress; /* out; gpu va */
                uint32_t EngineAffinity; /* in */
                uint32_t Padding; /* must be 0 */
            } MonitoredFence;
            struct {
                D3DKMT_HANDLE hAdapter; /* in */
                uint32_t VidPnTargetId; /* in; D3DDDI_VIDEO_PRESENT_TARGET_ID */
                uint64_t Time; /* in */
                D3DKMT_PTR FenceValueCPUVirtualAddress; /* out; bytes */
                uint64_t FenceValueGPUVirtualAddress; /* out; gpu va */
                uint32_t EngineAffinity; /* in */
                uint32_t Padding; /* must be 0 */
            } PeriodicMonitoredFence;
            struct {
                uint64_t Reserved[8]; /* must be 0 */
            } Reserved;
        };
        D3DKMT_HANDLE SharedHandle; /* out */
    } Info;
    D3DKMT_HANDLE hSyncObject; /* out */
} D3DKMT_CREATESYNCHRONIZATIONOBJECT2;

/* 0x11 D3DKMTSignalSynchronizationObject2 */
typedef struct {
    D3DKMT_HANDLE hContext; /* in */
    uint32_t ObjectCount; /* in */
    D3DKMT_HANDLE ObjectHandleArray[32]; /* in */
    uint32_t Flags; /* in; D3DDDICB_SIGNALFLAGS */
    uint32_t BroadcastContextCount; /* in */
    D3DKMT_HANDLE BroadcastContext[64]; /* in */
    union {
        struct {
            uint64_t FenceValue; /* in */
        } Fence;
        uint64_t CpuEventHandle; /* in; HANDLE */
        uint64_t Reserved[8]; /* must be 0 */
    };
} D3DKMT_SIGNALSYNCHRONIZATIONOBJECT2;

/* 0x12 D3DKMTWaitForSynchronizationObject2 */
typedef struct {
    D3DKMT_HANDLE hContext; /* in */
    uint32_t ObjectCount; /* in */
    D3DKMT_HANDLE ObjectHandleArray[32]; /* in */
    union {
        struct {
            uint64_t FenceValue; /* in */
        } Fence;
        uint64_t Reserved[8]; /* must be 0 */
    };
} D3DKMT_WAITFORSYNCHRONIZATIONOBJECT2;

/* The first forms: published names without a number of their own. */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    struct {
        uint32_t Type; /* in; D3DDDI_SYNCHRONIZATIONOBJECT_TYPE: mutex or semaphore */
        union {
            struct {
                uint32_t InitialState; /* in */
            } SynchronizationMutex;
            struct {
                uint32_t MaxCount; /* in */
                uint32_t InitialCount; /* in */
            } Semaphore;
            struct {
                uint32_t Reserved[16]; /* must be 0 */
            } Reserved;
        };
    } Info;
    D3DKMT_HANDLE hSyncObject; /* out */
} D3DKMT_CREATESYNCHRONIZATIONOBJECT;

typedef struct {
    D3DKMT_HANDLE hContext; /* in */
    uint32_t ObjectCount; /* in */
    D3DKMT_HANDLE ObjectHandleArray[32]; /* in */
    uint32_t Flags; /* in; D3DDDICB_SIGNALFLAGS */
} D3DKMT_SIGNALSYNCHRONIZATIONOBJECT;

typedef struct {
    D3DKMT_HANDLE hContext; /* in */
    uint32_t ObjectCount; /* in */
    D3DKMT_HANDLE ObjectHandleArray[32]; /* in */
} D3DKMT_WAITFORSYNCHRONIZATIONOBJECT;

/* 0x17 D3DKMTCreateHwContext */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    uint32_t NodeOrdinal; /* in */
    uint32_t EngineAffinity; /* in */
    uint32_t Flags; /* in; D3DDDI_CREATEHWCONTEXTFLAGS */
    uint32_t PrivateDriverDataSize; /* in */
    D3DKMT_PTR pPrivateDriverData; /* in/out; bytes */
    D3DKMT_HANDLE hHwContext; /* out */
} D3DKMT_CREATEHWCONTEXT;

/* 0x18 D3DKMTCreateHwQueue */
typedef struct {
    D3DKMT_HANDLE hHwContext; /* in */
    uint32_t Flags; /* in; D3DDDI_CREATEHWQUEUEFLAGS */
    uint32_t PrivateDriverDataSize; /* in */
    D3DKMT_PTR pPrivateDriverData; /* in/out; bytes */
    D3DKMT_HANDLE hHwQueue; /* out */
    D3DKMT_HANDLE hHwQueueProgressFence; /* out */
    D3DKMT_PTR HwQueueProgressFenceCPUVirtualAddress; /* out; bytes */
    uint64_t HwQueueProgressFenceGPUVirtualAddress; /* out; gpu va */
} D3DKMT_CREATEHWQUEUE;

/* 0x1a D3DKMTDestroyHwContext */
typedef struct {
    D3DKMT_HANDLE hHwContext; /* in */
} D3DKMT_DESTROYHWCONTEXT;

/* 0x1b D3DKMTDestroyHwQueue */
typedef struct {
    D3DKMT_HANDLE hHwQueue; /* in */
} D3DKMT_DESTROYHWQUEUE;

/* 0x1d D3DKMTDestroySynchronizationObject */
typedef struct {
    D3DKMT_HANDLE hSyncObject; /* in */
} D3DKMT_DESTROYSYNCHRONIZATIONOBJECT;

/* 0x21 D3DKMTGetContextInProcessSchedulingPriority */
typedef struct {
    D3DKMT_HANDLE hContext; /* in */
    int32_t Priority; /* out */
} D3DKMT_GETCONTEXTINPROCESSSCHEDULINGPRIORITY;

/* 0x22 D3DKMTGetContextSchedulingPriority */
typedef struct {
    D3DKMT_HANDLE hContext; /* in */
    int32_t Priority; /* out */
} D3DKMT_GETCONTEXTSCHEDULINGPRIORITY;

/* 0x29 D3DKMTOpenSynchronizationObject */
typedef struct {
    D3DKMT_HANDLE hSharedHandle; /* in */
    D3DKMT_HANDLE hSyncObject; /* out */
    uint64_t Reserved[8]; /* must be 0 */
} D3DKMT_OPENSYNCHRONIZATIONOBJECT;

/* 0x2d D3DKMTRender */
typedef struct {
    union {
        D3DKMT_HANDLE hDevice; /* in */
        D3DKMT_HANDLE hContext; /* in */
    };
    uint32_t CommandOffset; /* in */
    uint32_t CommandLength; /* in */
    uint32_t AllocationCount; /* in */
    uint32_t PatchLocationCount; /* in */
    D3DKMT_PTR pNewCommandBuffer; /* out; bytes */
    uint32_t NewCommandBufferSize; /* in/out */
    D3DKMT_PTR pNewAllocationList; /* out; D3DDDI_ALLOCATIONLIST * */
    uint32_t NewAllocationListSize; /* in/out */
    D3DKMT_PTR pNewPatchLocationList; /* out; D3DDDI_PATCHLOCATIONLIST * */
    uint32_t NewPatchLocationListSize; /* in/out */
    uint32_t Flags; /* in; D3DKMT_RENDERFLAGS */
    uint64_t PresentHistoryToken; /* in */
    uint32_t BroadcastContextCount; /* in */
    D3DKMT_HANDLE BroadcastContext[64]; /* in */
    uint32_t QueuedBufferCount; /* out */
    uint64_t NewCommandBuffer; /* out; gpu va */
    D3DKMT_PTR pPrivateDriverData; /* in; bytes */
    uint32_t PrivateDriverDataSize; /* in */
} D3DKMT_RENDER;

typedef struct {
    D3DKMT_HANDLE hAllocation; /* in */
    uint32_t Bits; /* in; flags */
} D3DDDI_ALLOCATIONLIST;

typedef struct {
    uint32_t AllocationIndex; /* in */
    uint32_t Bits; /* in; flags */
    uint32_t DriverId; /* in */
    uint32_t AllocationOffset; /* in */
    uint32_t PatchOffset; /* in */
    uint32_t SplitOffset; /* in */
} D3DDDI_PATCHLOCATIONLIST;

/* 0x2f D3DKMTSetContextInProcessSchedulingPriority */
typedef struct {
    D3DKMT_HANDLE hContext; /* in */
    int32_t Priority; /* in */
} D3DKMT_SETCONTEXTINPROCESSSCHEDULINGPRIORITY;

/* 0x30 D3DKMTSetContextSchedulingPriority */
typedef struct {
    D3DKMT_HANDLE hContext; /* in */
    int32_t Priority; /* in */
} D3DKMT_SETCONTEXTSCHEDULINGPRIORITY;

/* 0x31 D3DKMTSignalSynchronizationObjectFromCpu */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    uint32_t ObjectCount; /* in */
    D3DKMT_PTR ObjectHandleArray; /* in; D3DKMT_HANDLE[] */
    D3DKMT_PTR FenceValueArray; /* in; UINT64 * */
    uint32_t Flags; /* in; D3DDDICB_SIGNALFLAGS */
} D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMCPU;

/* 0x32 D3DKMTSignalSynchronizationObjectFromGpu */
typedef struct {
    D3DKMT_HANDLE hContext; /* in */
    uint32_t ObjectCount; /* in */
    D3DKMT_PTR ObjectHandleArray; /* in; D3DKMT_HANDLE[] */
    union {
        D3DKMT_PTR MonitoredFenceValueArray; /* in; UINT64 * */
        uint64_t Reserved[8]; /* must be 0 */
    };
} D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMGPU;

/* 0x33 D3DKMTSignalSynchronizationObjectFromGpu2 */
typedef struct {
    uint32_t ObjectCount; /* in */
    D3DKMT_PTR ObjectHandleArray; /* in; D3DKMT_HANDLE[] */
    uint32_t Flags; /* in; D3DDDICB_SIGNALFLAGS */
    uint32_t BroadcastContextCount; /* in */
    D3DKMT_PTR BroadcastContextArray; /* in; D3DKMT_HANDLE[] */
    union {
        uint64_t FenceValue; /* in */
        uint64_t CpuEventHandle; /* in; HANDLE */
        D3DKMT_PTR MonitoredFenceValueArray; /* in; UINT64 * */
        uint64_t Reserved[8]; /* must be 0 */
    };
} D3DKMT_SIGNALSYNCHRONIZATIONOBJECTFROMGPU2;

/* 0x34 D3DKMTSubmitCommandToHwQueue */
typedef struct {
    D3DKMT_HANDLE hHwQueue; /* in */
    uint64_t HwQueueProgressFenceId; /* in */
    uint64_t CommandBuffer; /* in; gpu va */
    uint32_t CommandLength; /* in */
    uint32_t PrivateDriverDataSize; /* in */
    D3DKMT_PTR pPrivateDriverData; /* in; bytes */
    uint32_t NumPrimaries; /* in */
    D3DKMT_PTR WrittenPrimaries; /* in; D3DKMT_HANDLE[] */
} D3DKMT_SUBMITCOMMANDTOHWQUEUE;

/* 0x35 D3DKMTSubmitSignalSyncObjectsToHwQueue */
typedef struct {
    uint32_t Flags; /* in; D3DDDICB_SIGNALFLAGS */
    uint32_t BroadcastHwQueueCount; /* in */
    D3DKMT_PTR BroadcastHwQueueArray; /* in; D3DKMT_HANDLE[] */
    uint32_t ObjectCount; /* in */
    D3DKMT_PTR ObjectHandleArray; /* in; D3DKMT_HANDLE[] */
    D3DKMT_PTR FenceValueArray; /* in; UINT64 * */
} D3DKMT_SUBMITSIGNALSYNCOBJECTSTOHWQUEUE;

/* 0x36 D3DKMTSubmitWaitForSyncObjectsToHwQueue */
typedef struct {
    D3DKMT_HANDLE hHwQueue; /* in */
    uint32_t ObjectCount; /* in */
    D3DKMT_PTR ObjectHandleArray; /* in; D3DKMT_HANDLE[] */
    D3DKMT_PTR FenceValueArray; /* in; UINT64 * */
} D3DKMT_SUBMITWAITFORSYNCOBJECTSTOHWQUEUE;

/* 0x3a D3DKMTWaitForSynchronizationObjectFromCpu */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    uint32_t ObjectCount; /* in */
    D3DKMT_PTR ObjectHandleArray; /* in; D3DKMT_HANDLE[] */
    D3DKMT_PTR FenceValueArray; /* in; UINT64 * */
    uint64_t hAsyncEvent; /* in; HANDLE */
    uint32_t Flags; /* in; D3DDDI_WAITFORSYNCHRONIZATIONOBJECTFROMCPU_FLAGS */
} D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMCPU;

/* 0x3b D3DKMTWaitForSynchronizationObjectFromGpu */
typedef struct {
    D3DKMT_HANDLE hContext; /* in */
    uint32_t ObjectCount; /* in */
    D3DKMT_PTR ObjectHandleArray; /* in; D3DKMT_HANDLE[] */
    union {
        D3DKMT_PTR MonitoredFenceValueArray; /* in; UINT64 * */
        uint64_t FenceValue; /* in */
        uint64_t Reserved[8]; /* must be 0 */
    };
} D3DKMT_WAITFORSYNCHRONIZATIONOBJECTFROMGPU;

/* 0x3d D3DKMTQueryClockCalibration */
/* The clock data sits at 12, a multiple of 4 only: the one packed struct of the interface. */
#pragma pack(push, 4)
typedef struct {
    D3DKMT_HANDLE hAdapter; /* in */
    uint32_t NodeOrdinal; /* in */
    uint32_t PhysicalAdapterIndex; /* in */
    struct {
        uint64_t GpuFrequency; /* out */
        uint64_t GpuClockCounter; /* out */
        uint64_t CpuClockCounter; /* out */
        uint32_t Flags; /* out; DXGK_GPUCLOCKDATA_FLAGS */
    } ClockData;
} D3DKMT_QUERYCLOCKCALIBRATION;
#pragma pack(pop)

/* 0x40 D3DKMTOpenSyncObjectFromNtHandle2 */
typedef struct {
    uint64_t hNtHandle; /* in; HANDLE */
    D3DKMT_HANDLE hDevice; /* in */
    uint32_t Flags; /* in; D3DDDI_SYNCHRONIZATIONOBJECT_FLAGS */
    D3DKMT_HANDLE hSyncObject; /* out */
    union {
        struct {
            D3DKMT_PTR FenceValueCPUVirtualAddress; /* out; bytes */
            uint64_t FenceValueGPUVirtualAddress; /* out; gpu va */
            uint32_t EngineAffinity; /* in */
        } MonitoredFence;
        uint64_t Reserved[8]; /* must be 0 */
    };
} D3DKMT_OPENSYNCOBJECTFROMNTHANDLE2;

/* 0x45 D3DKMTCreateSyncFile */
typedef struct {
    D3DKMT_HANDLE hDevice; /* in */
    D3DKMT_HANDLE hMonitoredFence; /* in */
    uint64_t FenceValue; /* in */
    uint64_t hSyncFile; /* out */
} D3DKMT_CREATESYNCFILE;

#endif
