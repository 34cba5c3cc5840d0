/* SPDX-License-Identifier: MIT */
/* ref_pointers.c — a program for the virtual GPU `ref-iommu`, on the D3DKMT functions: its commands name the
 * addresses of malloc. Use: vidmm run --profile ref-iommu -- ref_pointers */
#include "check.h"
#include "ref.h"
#include "softgpu/ref_commands.h"

#include <stdio.h>
#include <stdlib.h>

enum { NODES = 1000, BYTES = 3 << 20 };

static uint64_t address(const void *p) { return (uint64_t)(uintptr_t)p; }

static void walk_a_list(struct ref *r)
{
    struct ref_list_node *head = NULL, *n;
    uint64_t words[8], totals[2] = {0}, sum = 0, value = NODES;
    for (uint64_t i = 0; i < NODES; i++, head = n) {
        n = malloc(sizeof *n + i % 5 * 24);
        if (n == NULL) check_fail(1, "no memory");
        *n = (struct ref_list_node){address(head), i};
        sum += i;
    }
    uint32_t count = ref_emit_walk_list(words, address(head), 100, address(totals), NODES);
    count += ref_emit_end(words + count);
    ref_run(r, words, count);
    check_equal("a list of malloc's, walked by the GPU", totals, (uint64_t[]){NODES, sum}, sizeof totals);
    for (n = head; n != NULL; n = head) {
        if (n->value != --value + 100) check_fail(1, "a node was not changed");
        head = (struct ref_list_node *)(uintptr_t)n->next;
        free(n);
    }
}

static void copy_between_kinds(struct ref *r)
{
    unsigned char *heap = check_memory(BYTES), *back = check_memory(BYTES);
    struct ref_memory *m = ref_system_memory(r, BYTES);
    uint64_t words[16];
    ref_make_resident(r, m);
    check_pattern(heap, BYTES, 7);
    uint32_t n = ref_emit_copy(words, m->va, address(heap), BYTES);
    n += ref_emit_copy(words + n, address(back), m->va, BYTES);
    n += ref_emit_end(words + n);
    ref_run(r, words, n);
    check_equal("malloc to an allocation", m->cpu, heap, BYTES);
    check_equal("and back to malloc", back, heap, BYTES);
    ref_free(r, m);
    free(heap);
    free(back);
}

static void must_not_be_supported(NTSTATUS status, const char *what)
{
    if (status != STATUS_NOT_SUPPORTED) check_fail(1, "%s answered 0x%08x", what, (unsigned)status);
}

static void no_address_services(struct ref *r)
{
    D3DDDI_UPDATEGPUVIRTUALADDRESS_OPERATION op = {.OperationType = 1};
    D3DDDI_RESERVEGPUVIRTUALADDRESS reserve = {.hPagingQueue = r->queue, .Size = 65536};
    D3DKMT_FREEGPUVIRTUALADDRESS free_it = {.hAdapter = r->adapter, .BaseAddress = 65536, .Size = 65536};
    D3DKMT_UPDATEGPUVIRTUALADDRESS update = {.hDevice = r->device, .hContext = r->context,
                                             .hFenceObject = r->fence, .NumOperations = 1,
                                             .Operations = address(&op)};
    must_not_be_supported(r->ReserveGpuVirtualAddress(&reserve), "ReserveGpuVirtualAddress");
    must_not_be_supported(r->UpdateGpuVirtualAddress(&update), "UpdateGpuVirtualAddress");
    must_not_be_supported(r->FreeGpuVirtualAddress(&free_it), "FreeGpuVirtualAddress");
}

int main(void)
{
    struct ref r;
    ref_start(&r);
    if (!r.shared) check_fail(CHECK_NO_DEVICE, "this GPU has addresses of its own");
    no_address_services(&r);
    walk_a_list(&r);
    copy_between_kinds(&r);
    ref_stop(&r);
    return 0;
}
