/* SPDX-License-Identifier: MIT */
/* kmd.h — the driver interface. A kernel-mode driver fills in struct vidmm_kmd_ops; the core calls it.
 * Each operation is named after the DXGK operation that it mirrors. The core knows no page-table entry
 * format and no command format: levels are data, encodings are the driver's code, and that code is
 * called per run of pages, never per entry.
 *
 * Threads: every operation is called by the owner of the adapter, one at a time, and must not block.
 * (reset_engine may wait for the engine to stop: everything on it is stopped anyway.)
 * A driver reports from any thread with the vidmm_notify_ functions at the end of this page. */
#ifndef VIDMM_KMD_H
#define VIDMM_KMD_H

#include <vidmm/kmd_hw.h>
#include <vidmm/platform.h>
#include <vidmm/status.h>
#include <vidmm/types.h>

#define VIDMM_KMD_ABI 1u

/* ---- description of a GPU: asked once, at bring-up -------------------------------------------- */

enum vidmm_segment_flags { /* DXGK_SEGMENTFLAGS, same bits */
    VIDMM_SEGMENT_APERTURE = 1u << 0,
    VIDMM_SEGMENT_CPU_VISIBLE = 1u << 2,
    VIDMM_SEGMENT_CACHE_COHERENT = 1u << 4,     /* apertures: cached system memory may be mapped coherently */
    VIDMM_SEGMENT_FROM_SYSTEM_MEMORY = 1u << 6, /* carved out of it: PopulatedFromSystemMemory */
    VIDMM_SEGMENT_USE_64KB_PAGES = 1u << 11,
    VIDMM_SEGMENT_CPU_HOST_APERTURE = 1u << 13, /* map_cpu_host_aperture works for it */
    VIDMM_SEGMENT_APPLICATION_TARGET = 1u << 15 /* counts for the application budget */
};

struct vidmm_segment_desc { /* DXGK_SEGMENTDESCRIPTOR4 */
    uint32_t flags;
    uint64_t base;         /* GPU physical base; this interface always uses offsets from it */
    uint64_t bytes;        /* multiple of the segment's page size */
    uint64_t commit_limit; /* apertures: bytes that may be mapped */
    uint64_t system_frame; /* FROM_SYSTEM_MEMORY: its first frame; not the OS memory manager's */
};

enum vidmm_engine_type { /* DXGK_ENGINE_TYPE */
    VIDMM_ENGINE_OTHER = 0, VIDMM_ENGINE_3D = 1, VIDMM_ENGINE_COPY = 6
};

struct vidmm_node_desc { /* DXGK_NODEMETADATA */
    uint32_t engine_type;
    bool gpummu, iommu;    /* address models the node serves */
    bool physical;         /* the node knows no virtual addresses: Render, Patch and SubmitCommand only */
    bool user_submission;  /* rings and doorbells (UserModeSubmissionSupported); needs hw_queues */
    bool hw_queues;        /* hardware scheduling (HwQueueSupported); needs ops.hw */
    char name[32];
};

enum vidmm_gpummu_flags { /* DXGK_GPUMMUCAPS, same bits; the two highest are newer caps */
    VIDMM_MMU_READ_ONLY = 1u << 0,
    VIDMM_MMU_NO_EXECUTE = 1u << 1,
    VIDMM_MMU_ZERO_IN_PTE = 1u << 2,
    VIDMM_MMU_EXPLICIT_INVALIDATION = 1u << 3, /* entries are invalidated before a table is freed */
    VIDMM_MMU_CACHE_COHERENT = 1u << 4,
    VIDMM_MMU_INVALID_NOT_CACHED = 1u << 30    /* InvalidTlbEntriesNotCached: no flush invalid -> valid */
};

enum vidmm_update_mode { /* DXGK_PAGETABLEUPDATEMODE */
    VIDMM_UPDATE_CPU_VIRTUAL = 0, VIDMM_UPDATE_GPU_VIRTUAL = 1, VIDMM_UPDATE_GPU_PHYSICAL = 2
};

struct vidmm_level_desc { /* DXGK_PAGE_TABLE_LEVEL_DESC; [0] is the leaf */
    uint32_t index_bits;      /* a table holds 2^index_bits entries (the resizable root: at most) */
    uint32_t segment;         /* where tables of this level live; 0 = system memory */
    uint32_t paging_segment;  /* the same for the system paging process */
    uint32_t table_bytes;     /* multiple of 4096; <= 4096 in system memory; resizable root: 0 */
};

enum vidmm_adapter_flags { /* DXGK_VIDMMCAPS, same bits */
    VIDMM_ADAPTER_VIRTUAL_ADDRESSING = 1u << 5,
    VIDMM_ADAPTER_GPUMMU = 1u << 6,
    VIDMM_ADAPTER_IOMMU = 1u << 7,
    VIDMM_ADAPTER_SECURE = 1u << 11,         /* IoMmuSecureModeSupported: can be isolated (domain.h) */
    VIDMM_ADAPTER_SECURE_REQUIRED = 1u << 13, /* IoMmuSecureModeRequired: it does not start without one */
    VIDMM_ADAPTER_MAP_APERTURE2 = 1u << 14   /* MapAperture2Supported */
};

enum vidmm_iommu_caps { /* DXGK_IOMMU_CAPS, same bits; the first two say what vidmm_adapter_flags say */
    VIDMM_IOMMU_ISOLATION = 1u << 0, VIDMM_IOMMU_ISOLATION_REQUIRED = 1u << 1,
    VIDMM_IOMMU_REMAPPING = 1u << 2 /* the driver takes every system address for a logical one */
};

enum vidmm_sched_flags { /* DXGK_VIDSCHCAPS, same bits */
    VIDMM_SCHED_NO_64BIT_ATOMICS = 1u << 5 /* monitored fences are 32 bits of memory, see vidmm.h */
};

struct vidmm_adapter_info { /* DXGK_DRIVERCAPS, PHYSICALADAPTERCAPS, QUERYSEGMENT4, GPUMMUCAPS, ... */
    uint32_t gpu;                    /* in, and left so: PhysicalAdapterIndex, 0 without a link */
    uint32_t flags;                  /* vidmm_adapter_flags */
    uint32_t iommu_caps;             /* vidmm_iommu_caps */
    uint64_t visible_bytes;          /* of system memory's addresses: how far it reaches; 0: all of them */
    uint32_t segment_count;
    struct vidmm_segment_desc segment[VIDMM_SEGMENTS_MAX]; /* segment id = index + 1 */
    uint32_t node_count, paging_node;
    struct vidmm_node_desc node[VIDMM_NODES_MAX];
    uint32_t mmu_flags;              /* vidmm_gpummu_flags */
    uint32_t update_mode;            /* vidmm_update_mode */
    uint32_t va_bits;                /* VirtualAddressBitCount */
    uint32_t level_count;            /* 2..6; 2 makes the root resizable */
    struct vidmm_level_desc level[VIDMM_LEVELS_MAX];
    uint32_t paging_buffer_bytes;    /* multiple of 4096 */
    uint32_t sched_flags;            /* vidmm_sched_flags */
    uint32_t submit_depth;           /* packets a node may hold at once, >= 1 */
};

/* ---- page tables ------------------------------------------------------------------------------ */

/* Segment 0 is system memory: the offset is a frame * 4096, or where a domain remaps (domain.h), which the
 * driver need not know, a logical page * 4096. The same holds for every frame that this interface names. */
struct vidmm_gpu_address { uint32_t segment; uint64_t offset; };

enum vidmm_pte_flags { /* DXGK_PTE */
    VIDMM_PTE_VALID = 1u << 0, VIDMM_PTE_ZERO = 1u << 1, VIDMM_PTE_CACHE_COHERENT = 1u << 2,
    VIDMM_PTE_READ_ONLY = 1u << 3, VIDMM_PTE_NO_EXECUTE = 1u << 4
};

struct vidmm_pte_kind {      /* what entries of a run have in common */
    uint32_t level;          /* 0: entries name pages; above: entries name tables of level - 1 */
    uint32_t flags;          /* vidmm_pte_flags; 0 = invalid; VALID | ZERO = zero page */
    uint32_t segment;        /* where the named pages or tables live */
    uint32_t gpu;            /* PhysicalAdapterIndex: whose segment that is; of segment 0: nothing */
    uint64_t driver_protection; /* 0 above level 0 */
};

/* count consecutive entries; entry i names address + i * step (offset in the segment, or frame * 4096).
 * step is 4096 for pages, 0 to repeat one entry. attr comes from pte_attr. */
struct vidmm_pte_run { uint64_t address, attr; uint32_t count, step; };

enum vidmm_update_flags { VIDMM_UPDATE_INITIAL = 1u << 1, VIDMM_UPDATE_NOTIFY_EVICTION = 1u << 2 };

struct vidmm_update_page_table { /* DXGK_BUILDPAGINGBUFFER_UPDATEPAGETABLE, one table only */
    uint32_t level, mode, flags;
    union { void *cpu_virtual; struct vidmm_gpu_address gpu_physical; uint64_t gpu_virtual; } table;
    uint32_t start_index, count;      /* entries, counted from the start of the table */
    const struct vidmm_pte_run *runs; /* their counts add up to count */
    uint32_t run_count;
    void *process;                    /* the driver's process handle */
    void *allocation;                 /* the driver's allocation handle, NULL for tables */
    uint64_t allocation_offset;       /* bytes */
    uint64_t driver_protection;
    uint64_t first_va;                /* address mapped by start_index */
};

/* ---- paging operations (DXGKARG_BUILDPAGINGBUFFER) -------------------------------------------- */

/* Pages of system memory (DXGK_ADL): from base_page on, or where they are not neighbours, each by its number.
 * Logical pages where the domain remaps: nothing that the CPU could use. */
struct vidmm_adl {
    uint64_t page_count;
    bool contiguous;
    uint64_t base_page;      /* contiguous */
    const uint64_t *pages;   /* else: page_count of them */
};

enum vidmm_op_code { /* DXGK_BUILDPAGINGBUFFER_OPERATION */
    VIDMM_OP_MAP_APERTURE_SEGMENT = 5, VIDMM_OP_UNMAP_APERTURE_SEGMENT = 6, /* adapters with physical nodes */
    VIDMM_OP_VIRTUAL_TRANSFER = 8, VIDMM_OP_VIRTUAL_FILL = 9,
    VIDMM_OP_UPDATE_PAGE_TABLE = 11, /* GPU_VIRTUAL and GPU_PHYSICAL modes */
    VIDMM_OP_FLUSH_TLB = 12,
    VIDMM_OP_COPY_PAGE_TABLE_ENTRIES = 14, /* GPU_VIRTUAL mode: in companion contexts only */
    VIDMM_OP_MAP_APERTURE_SEGMENT2 = 17   /* instead of 5, with MAP_APERTURE2: of ACCESSED_PHYSICALLY */
};

enum vidmm_transfer_direction {
    VIDMM_LOCAL_TO_SYSTEM = 0, VIDMM_SYSTEM_TO_LOCAL = 1, VIDMM_LOCAL_TO_LOCAL = 2
};

enum vidmm_transfer_flags { VIDMM_TRANSFER_START = 1u << 3, VIDMM_TRANSFER_END = 1u << 4 };

/* DXGK_BUILDPAGINGBUFFER_COPY_RANGE: entries of one leaf table become those of another, whatever they are
 * when the command executes. Both tables by their addresses, multiples of 64 KiB, in the privileged space. */
struct vidmm_copy_range {
    uint64_t source_table, destination_table;
    uint32_t source_index, destination_index, count; /* entries */
};

struct vidmm_op {
    enum vidmm_op_code code;
    union {
        struct { /* both addresses are in the paging process' space */
            void *allocation; uint64_t allocation_offset, bytes, source_va, destination_va;
            uint32_t direction, flags;
        } transfer;
        struct {
            void *allocation;
            uint64_t allocation_offset, bytes, destination_va;
            uint32_t pattern;
        } fill;
        struct vidmm_update_page_table update;
        struct { /* start = end = 0: the whole space. Clear every engine's TLB for the process first,
                    then drain accesses in flight that used the old entries; only then is it done. */
            void *process; struct vidmm_gpu_address root; uint64_t start_va, end_va;
        } flush;
        struct { const struct vidmm_copy_range *range; uint32_t range_count; } copy;
        struct { /* aperture pages [offset_page, + pages) show the frames from `frame` on; unmap: `frame` is a
                    dummy page for all of them. Moves no data. */
            void *allocation; uint32_t segment; uint64_t offset_page, pages, frame;
            bool cache_coherent;
            /* MAP_APERTURE_SEGMENT2 instead of `frame`: the pages of adl from adl_offset on; valid during the
             * call. cpu_visible: where the CPU sees them until they are unmapped; NULL but for
             * MAP_APERTURE_CPU_VISIBLE. */
            const struct vidmm_adl *adl; uint64_t adl_offset; void *cpu_visible;
        } aperture;
    };
};

struct vidmm_paging_buffer {
    void *cpu;          /* where the driver writes commands */
    uint64_t gpu_va;    /* where they execute from, in the paging process' space */
    uint32_t bytes;     /* capacity */
    uint32_t used;      /* in: first free byte; out: past the last byte written */
};

/* ---- objects ---------------------------------------------------------------------------------- */

struct vidmm_kmd_device {    /* DXGKARG_CREATEDEVICE */
    void *process;           /* in: driver's process handle */
    uint32_t pasid;          /* in: what requests for the process' addresses carry; 0: no IoMmu */
    void *handle;            /* out */
};

enum vidmm_create_context_flags { VIDMM_CONTEXT_SYSTEM = 1u << 0, VIDMM_CONTEXT_VIRTUAL = 1u << 2 };

struct vidmm_kmd_context { /* DXGKARG_CREATECONTEXT and DXGK_CONTEXTINFO */
    void *process;               /* in: driver's process handle */
    uint32_t node, flags;        /* in */
    const void *private_data; uint32_t private_size; /* in */
    void *handle;                /* out */
    uint32_t submit_private_max; /* out: DmaBufferPrivateDataSize */
    uint32_t paging_companion_node; /* in: the paging node; out: where tile updates of the context run */
    /* out, contexts without VIDMM_CONTEXT_VIRTUAL: DMA buffer in bytes and list lengths to start with, never
     * less later. dma_segments: 0 = contiguous system memory; nothing else is supported yet. */
    uint32_t dma_bytes, dma_segments, allocation_list, patch_list;
    void *device;            /* in: driver's device handle; NULL: the driver has no create_device */
    /* out (DXGK_CONTEXTINFO_CAPS.UseIoMmu): it uses the addresses of the OS process. All contexts of a device
     * say the same; the node must serve the model. */
    bool use_iommu;
};

enum vidmm_allocation_flags { /* DXGK_ALLOCATIONINFOFLAGS_WDDM2_0, same bits */
    VIDMM_ALLOCATION_CPU_VISIBLE = 1u << 0, VIDMM_ALLOCATION_CACHED = 1u << 2,
    VIDMM_ALLOCATION_MAP_APERTURE_CPU_VISIBLE = 1u << 13,
    VIDMM_ALLOCATION_ACCESSED_PHYSICALLY = 1u << 15,
    /* Of DXGK_ALLOCATIONINFOFLAGS: a copy on each gpu of the link, at the same place in the same segment, and
     * one home in system memory, which must be allowed; or one allocation on each. */
    VIDMM_ALLOCATION_LINK_MIRRORED = 1u << 29, VIDMM_ALLOCATION_LINK_INSTANCED = 1u << 30
};

struct vidmm_kmd_allocation { /* DXGK_ALLOCATIONINFO */
    const void *private_data; uint32_t private_size; /* in: from user mode, untrusted */
    uint64_t existing_bytes;  /* in: size of the client's own memory behind it, 0 = none (ExistingSysMem) */
    uint32_t instance;        /* in: 0. LINK_INSTANCED: asked again with 1, 2 .. for the gpu of that index */
    void *handle;             /* out */
    uint64_t bytes;           /* out; the core rounds up to the page size */
    uint32_t alignment;       /* out; power of two or 0 */
    uint32_t supported;       /* out: bit n = segment n + 1; the aperture's bit = system memory */
    uint32_t preferred;       /* out: segment id in `supported`, 0 = no preference */
    uint32_t priority;        /* out: initial priority, not 0 */
    uint32_t flags;           /* out: vidmm_allocation_flags */
    uint32_t gpu;             /* out: PhysicalAdapterIndex, whose segments `supported` names; 0: no link,
                               * or LINK_MIRRORED: those of all, which must be alike */
};

enum vidmm_kmd_open_flags { /* DXGK_OPENALLOCATIONFLAGS, same bits */
    VIDMM_KMD_OPEN_CREATE = 1u << 0,   /* the creator's own */
    VIDMM_KMD_OPEN_READ_ONLY = 1u << 1
};

struct vidmm_kmd_open {          /* DXGKARG_OPENALLOCATION */
    void *process;               /* in: whose device opens it */
    void *allocation;            /* in */
    uint32_t flags;              /* in: vidmm_kmd_open_flags */
    void *handle;                /* out: hDeviceSpecificAllocation */
};

enum vidmm_submit_flags { VIDMM_SUBMIT_PAGING = 1u << 0, VIDMM_SUBMIT_NULL = 1u << 3,
                          VIDMM_SUBMIT_RESUBMISSION = 1u << 7 };

struct vidmm_kmd_submit { /* DXGKARG_SUBMITCOMMANDVIRTUAL */
    void *context; uint32_t node;
    uint64_t va; uint32_t bytes;  /* in the space of the context's process; never read by the core */
    const void *private_data; uint32_t private_size; /* valid during the call only */
    uint64_t fence_id;            /* grows on each node; reported back by vidmm_notify_completed */
    uint32_t flags;
};

/* ---- physical mode: contexts on nodes that know no virtual addresses ---------------------------- */

struct vidmm_reference {     /* DXGK_ALLOCATIONLIST: one allocation that a command buffer uses */
    void *allocation;        /* the driver's handle */
    uint64_t bytes;
    bool write;
    uint32_t segment;        /* memory segment or aperture; 0 with address 0: not known before Patch */
    uint64_t address;        /* offset in the segment; the allocation is contiguous there */
};

struct vidmm_patch_location { /* D3DDDI_PATCHLOCATIONLIST, same layout */
    uint32_t allocation_index;  /* in the allocation list */
    uint32_t slot;              /* bits 0-23: SlotId */
    uint32_t driver_id;
    uint32_t allocation_offset; /* bytes; address to write = address of the allocation + this */
    uint32_t patch_offset;      /* bytes; where to write it */
    uint32_t split_offset;      /* bytes; where the buffer may be cut in front of this location */
};

struct vidmm_dma_buffer {    /* system memory, contiguous, reachable by the GPU without translation */
    void *cpu;
    uint64_t frame;          /* address on the bus = frame * 4096 */
    uint32_t bytes;          /* capacity */
    uint32_t used;           /* Render: out; Patch and SubmitCommand: in */
    void *private_data;      /* the driver's; zeroed when made, never looked at by the core */
    uint32_t private_bytes;
};

struct vidmm_kmd_render {    /* DXGKARG_RENDER */
    void *context;
    const void *command; uint32_t command_bytes; /* a copy of what the client wrote: not to be trusted */
    struct vidmm_dma_buffer *dma;
    const struct vidmm_reference *list; uint32_t list_count; /* where each was placed last */
    const struct vidmm_patch_location *patch_in; uint32_t patch_in_count;
    struct vidmm_patch_location *patch_out;      /* offsets in the DMA buffer */
    uint32_t patch_out_max, patch_out_count;     /* count: out */
};

struct vidmm_kmd_patch {     /* DXGKARG_PATCH */
    void *context;
    struct vidmm_dma_buffer *dma;
    const struct vidmm_reference *list; uint32_t list_count; /* with the places they have now */
    const struct vidmm_patch_location *patch; uint32_t patch_count;
    uint64_t fence_id;       /* of the submission that follows */
};

struct vidmm_kmd_submit_physical { /* DXGKARG_SUBMITCOMMAND */
    void *context; uint32_t node;
    const struct vidmm_dma_buffer *dma;
    uint64_t fence_id;
    uint32_t flags;          /* vidmm_submit_flags */
};

struct vidmm_frame_range { uint64_t frame, pages; };

struct vidmm_kmd_ops {
    uint32_t struct_size, abi;

    vidmm_status (*query_adapter_info)(void *kmd, struct vidmm_adapter_info *out);
    /* Before any other call but query_adapter_info: where to report, and the world. */
    vidmm_status (*start_device)(void *kmd, struct vidmm_adapter *, const struct vidmm_platform *);
    void (*stop_device)(void *kmd); /* nothing is running any more */

    /* DxgkDdiCreateProcess; system = the paging process. A process handle stands for one address space: a
     * process that uses tile resources has a second one, its privileged space. */
    vidmm_status (*create_process)(void *kmd, bool system, void **process);
    void (*destroy_process)(void *kmd, void *process);
    vidmm_status (*create_context)(void *kmd, struct vidmm_kmd_context *);
    void (*destroy_context)(void *kmd, void *context);
    vidmm_status (*create_allocation)(void *kmd, struct vidmm_kmd_allocation *);
    void (*destroy_allocation)(void *kmd, void *allocation);
    /* DxgkDdiOpenAllocation binds an allocation to a device, the creator's first; DxgkDdiCloseAllocation of
     * all of them comes before the destruction. Both or none (NULL): the driver need not know. */
    vidmm_status (*open_allocation)(void *kmd, struct vidmm_kmd_open *);
    void (*close_allocation)(void *kmd, void *handle);

    /* Page-table format. Pure functions but for the bytes that update_page_table writes. */
    uint64_t (*pte_attr)(void *kmd, const struct vidmm_pte_kind *);
    /* UPDATE_PAGE_TABLE in CPU_VIRTUAL mode, done when it returns. The store order of entries is free;
     * each entry must be stored whole (relaxed atomic), engines may be walking the table. */
    void (*update_page_table)(void *kmd, const struct vidmm_update_page_table *);
    /* Optional, for verification and tools: reads one entry back. false: not a decodable entry. */
    bool (*pte_decode)(void *kmd, uint32_t level, const void *table, uint32_t index,
                       struct vidmm_pte_kind *, uint64_t *address);
    /* Two-level GPUs only: bytes of a root with at least *entries entries; *entries = what it holds. */
    uint64_t (*get_root_page_table_size)(void *kmd, uint32_t *entries);
    /* The context is idle. The GPU must fault on a root index >= entries. */
    void (*set_root_page_table)(void *kmd, void *context, struct vidmm_gpu_address root, uint32_t entries);

    /* Appends one operation. VIDMM_BUFFER_FULL: *multipass holds the driver's progress (0 at first);
     * the core submits what there is and repeats the operation with it. Other failures are fatal. A buffer is
     * executed once and from its beginning: operations change entries that later ones of it work through. */
    vidmm_status (*build_paging_buffer)(void *kmd, struct vidmm_paging_buffer *, const struct vidmm_op *,
                                        uint64_t *multipass);
    /* VIDMM_INVALID: the device is put in error; other failures are fatal. */
    vidmm_status (*submit_command_virtual)(void *kmd, const struct vidmm_kmd_submit *);
    /* Stops the node, drops what it holds and makes it ready again. *last_aborted = fence id of the
     * packet that was cut short (0: none). Also when it fails, the node executes nothing any more. */
    vidmm_status (*reset_engine)(void *kmd, uint32_t node, uint64_t *last_aborted);

    /* CPU address of memory-segment bytes, for page tables; stays valid. NULL if the segment has none. */
    void *(*map_cpu_host_aperture)(void *kmd, uint32_t segment, uint64_t offset, uint64_t bytes);

    /* Driver-defined user data. query_private answers D3DKMTQueryAdapterInfo(UMDRIVERPRIVATE). */
    vidmm_status (*query_private)(void *kmd, void *data, uint32_t bytes);
    vidmm_status (*escape)(void *kmd, void *data, uint32_t bytes);

    /* ---- preemption, timeouts, loss: each may be NULL ---- */

    /* DxgkDdiPreemptCommand: the node shall stop at the next boundary and give back what it has not
     * completed. Answered by vidmm_notify_preempted, also when it holds nothing; what was cut short goes on
     * where it stopped when it is submitted again with RESUBMISSION. A failure is fatal. */
    vidmm_status (*preempt_command)(void *kmd, uint32_t node);
    /* DxgkDdiQueryEngineStatus: a number that changes when the node gets work done. A packet is timed out
     * only while it stands still. Without it, a packet may take as long as the timeout and no longer. */
    uint64_t (*query_engine_status)(void *kmd, uint32_t node);
    /* DxgkDdiQueryDependentEngineGroup: bit n: node n is affected when this one is reset (its own bit too).
     * Those that have work are asked to stop first, and are reset as well if they do not in time. */
    uint64_t (*query_dependent_engine_group)(void *kmd, uint32_t node);
    /* DxgkDdiResetFromTimeout: all access of the hardware to memory ends, nothing is reported any more. No
     * operation that touches hardware follows before restart_from_timeout. What is destroyed, and
     * build_paging_buffer with a transfer of 0 bytes or an unmapping of the aperture (the allocation has lost
     * its place; no buffer to write to), may come. */
    vidmm_status (*reset_from_timeout)(void *kmd);
    /* DxgkDdiRestartFromTimeout: the hardware can be used again, its TLBs are empty, the content of memory
     * segments is lost. */
    vidmm_status (*restart_from_timeout)(void *kmd);
    /* DxgkDdiSurpriseRemoval: the hardware is gone, or has to be treated so. Nothing executes when it
     * returns; only the destroy operations, close_allocation and stop_device follow. Of GPU 0 of a link that
     * has others left also create_process, create_device, create_allocation and open_allocation. */
    void (*surprise_removal)(void *kmd);
    /* DxgkDdiCancelCommand: the packet will never be submitted, because its device is in error. */
    void (*cancel_command)(void *kmd, const struct vidmm_kmd_submit *);
    /* Physical mode: needed if and only if a node is physical.
     * render checks a command buffer and translates it. VIDMM_BUFFER_FULL: what is in the DMA buffer is one
     * submission, and the call is repeated with an empty one; *multipass keeps the progress (0 at first).
     * Other failures are the client's: the call fails with them and nothing is queued. */
    vidmm_status (*render)(void *kmd, struct vidmm_kmd_render *, uint64_t *multipass);
    /* Writes the addresses of this moment into a DMA buffer: just before it is submitted, and again for the
     * same buffer when something has moved since. Failures are fatal. */
    vidmm_status (*patch)(void *kmd, const struct vidmm_kmd_patch *);
    vidmm_status (*submit_command)(void *kmd, const struct vidmm_kmd_submit_physical *); /* failures: fatal */

    const struct vidmm_kmd_hw_ops *hw; /* hardware scheduling; NULL: none */

    /* DxgkDdiCreateDevice, DestroyDevice: both or none; needed with VIDMM_ADAPTER_IOMMU. */
    vidmm_status (*create_device)(void *kmd, struct vidmm_kmd_device *);
    void (*destroy_device)(void *kmd, void *device);

    /* DxgkDdiBeginExclusiveAccess, EndExclusiveAccess: needed with VIDMM_ADAPTER_SECURE. In between, for all
     * gpus of the link, the domain is switched: nothing executes, the device is silent on the bus, and no
     * other operation comes. */
    void (*begin_exclusive_access)(void *kmd);
    void (*end_exclusive_access)(void *kmd);

    /* Asked at bring-up, after the description and before start_device, with VIDMM_ADAPTER_SECURE.
     * FRAMEBUFFERSAVESIZE: bytes, a multiple of 4096, that saving the content of memory segments takes at
     * most; VidMm keeps so much system memory in hand. NULL: none. */
    uint64_t (*query_framebuffer_save_size)(void *kmd);
    /* HARDWARERESERVEDRANGES: list NULL: *count is how many there are; else they are written to the list,
     * which has room for *count. They are reached at their own numbers. NULL: none. */
    vidmm_status (*query_reserved_ranges)(void *kmd, struct vidmm_frame_range *list, uint32_t *count);

    /* DxgkDdiSetVidPnSourceAddress, or NULL: there is no display. The controller reads the allocation there
     * from the next frame on, and nothing else any more when the call returns. allocation NULL: nothing. */
    void (*set_vidpn_source_address)(void *kmd, uint32_t source, void *allocation, struct vidmm_gpu_address);
};

/* ---- memory of the driver's own: by the owner, from start_device on --------------------------------- */

/* What the GPU is to reach beside the allocations has to come from here. DxgkCbAllocateContiguousMemory,
 * AllocatePagesForMdl, AllocateAdl. */
struct vidmm_driver_memory {
    void *handle;
    struct vidmm_adl adl;    /* contiguous if asked for, or a single page */
    void *const *cpu;        /* where the CPU sees each page; all three are valid until it is freed */
};
#define VIDMM_DRIVER_PAGES_MAX 65536u
/* Zeroed. VIDMM_NO_MEMORY; VIDMM_INVALID: no pages, or more than VIDMM_DRIVER_PAGES_MAX; VIDMM_BUSY: not from
 * operations that vidmm_run calls. What is not freed ends with stop_device. */
vidmm_status vidmm_driver_memory_allocate(struct vidmm_adapter *, uint64_t pages, bool contiguous,
                                          struct vidmm_driver_memory *);
void vidmm_driver_memory_free(struct vidmm_adapter *, void *handle);

/* ---- reports from the driver: any thread, wait-free ------------------------------------------- */

enum vidmm_fault_flags { /* DXGK_PAGE_FAULT_FLAGS */
    VIDMM_FAULT_WRITE = 0x1, VIDMM_FAULT_FENCE_INVALID = 0x2, VIDMM_FAULT_ADAPTER_RESET_REQUIRED = 0x4,
    VIDMM_FAULT_ENGINE_RESET_REQUIRED = 0x8,
    VIDMM_FAULT_FATAL_HARDWARE_ERROR = 0x10,  /* the adapter is reset */
    VIDMM_FAULT_IOMMU = 0x20, VIDMM_FAULT_HW_CONTEXT_VALID = 0x40,
    VIDMM_FAULT_PROCESS_HANDLE_VALID = 0x80   /* with FENCE_INVALID: the first packet of this process */
};

struct vidmm_page_fault { /* DmaPageFaulted */
    uint32_t node, level, flags, error_code;
    uint64_t hw_queue; /* 0: a packet did it; else the id of the queue (HWQUEUE_PAGE_FAULTED), no fence_id */
    uint64_t fence_id; /* of the packet that faulted; the engine has stopped behind it */
    uint64_t va;       /* 0: another cause, see error_code */
    uint64_t primitive; uint32_t stage, bind_entry; /* draw, pipeline stage, slot; as the driver knows them */
    void *process;     /* the driver's handle, with PROCESS_HANDLE_VALID */
};

/* Each gpu of a link reports to the adapter that its start_device was given. */
/* All packets of the node up to fence_id have completed (DMA_COMPLETED). */
void vidmm_notify_completed(struct vidmm_adapter *, uint32_t node, uint64_t fence_id);
/* The GPU has written a monitored fence (MONITORED_FENCE_SIGNALED). */
void vidmm_notify_fence_signaled(struct vidmm_adapter *);
/* DMA_PAGE_FAULTED: at most one per node until reset_engine has been called for it. None may be on its way
 * any more when reset_engine or reset_from_timeout returns. */
void vidmm_notify_page_fault(struct vidmm_adapter *, const struct vidmm_page_fault *);
/* The answer to preempt_command, after vidmm_notify_completed for what had completed (DMA_PREEMPTED). None
 * may come after reset_engine or reset_from_timeout has been called. */
void vidmm_notify_preempted(struct vidmm_adapter *, uint32_t node);
/* The hardware is gone: like vidmm_adapter_remove at the next vidmm_run. */
void vidmm_notify_removed(struct vidmm_adapter *);

#endif
