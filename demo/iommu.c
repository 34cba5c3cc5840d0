/* SPDX-License-Identifier: MIT */
/* iommu.c — the program of `make demo-iommu`: shared addresses through the machine's own page tables.
 * Use: iommu [SECONDS] (of the storm; 20). Exit status 0 only if everything it checked was right. */
#include "iommu_scene.h"

#include <stdio.h>
#include <stdlib.h>

static bool told(const char *what, const struct iommu_result *r)
{
    if (r->wrong != NULL) printf("%-52s WRONG: %s\n", what, r->wrong);
    else printf("%-52s ", what);
    return r->wrong == NULL;
}

#define N(field) ((unsigned long long)r.field)

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 20;
    struct iommu_result r = {0};
    bool good = true, ok;
    iommu_lists(NULL, &r);
    good &= ok = told("lists of malloc's nodes and in untouched pages", &r);
    if (ok) printf("%llu nodes walked and changed, %llu pages came for the GPU\n", N(nodes), N(brought));
    r = (struct iommu_result){0};
    iommu_tiles(NULL, &r);
    good &= ok = told("tiles translated by the program itself", &r);
    if (ok) printf("%llu tiles, every byte right\n", N(tiles));
    r = (struct iommu_result){0};
    iommu_both(NULL, &r);
    good &= ok = told("a GpuMmu and an IoMmu process on one node", &r);
    if (ok) printf("%llu packets, %llu words right\n", N(packets), N(words));
    r = (struct iommu_result){0};
    iommu_storm(NULL, seconds, 1, &r);
    good &= ok = told("4 engine threads, memory goes away under them", &r);
    if (ok) printf("%llu faults of the arena and %llu of wild pointers contained,\n%53s%llu packets got "
                   "through, %llu changes of mappings, %llu words compared, none foreign\n",
                   N(faults), N(wild), "", N(packets), N(remaps), N(words));
    return good ? 0 : 1;
}
