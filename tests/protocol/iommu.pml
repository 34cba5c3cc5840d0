/* SPDX-License-Identifier: MIT */
/* iommu.pml - IoMmu model: CPU page table shared with a device through an IOMMU.
 * One virtual page of process P, two frames.  The device has its own TLB (ATC) filled by
 * ATS translation requests answered by the IOMMU (IOTLB or page walk); a miss becomes a page
 * request (PRI) that the OS fault handler answers.  The OS memory manager maps, unmaps and
 * reuses frames for somebody else, and finally tears the address space (PASID) down.
 *
 * I1 the device never reaches bytes that are not P's
 * I2 after PASID teardown nothing maps, translates or answers for P any more
 * I3 no deadlock
 * Defects (-D):
 *   BUG_DEV_FIRST   device TLB invalidated before the IOTLB (it can refill from the IOTLB)
 *   BUG_LAZY        frame reused before the invalidations (Linux 'lazy' DMA mode window)
 *   BUG_NO_DEVTLB   device TLB not invalidated at all
 *   BUG_NO_DRAIN    invalidation completion does not wait for accesses in flight
 *   BUG_NO_PRQ_DRAIN  PASID freed while page requests are still queued
 *   BUG_NO_BLOCK    PASID entry left valid during teardown
 *   BUG_LATE_PRQ    IOMMU does not re-check the PASID when a page request is queued
 */
#ifndef N
#define N 3          /* map/unmap rounds */
#endif
#define NONE 7
byte pte, iotlb, devtlb, infl, content[2];
bool pasid_valid = true, mm_alive = true, fault_busy;
chan prq = [1] of { bit };

proctype Device() {
  byte f;
end_dev:
  do
  :: pasid_valid || devtlb != NONE ->
     if
     :: devtlb != NONE -> atomic { if :: devtlb != NONE -> f = devtlb; infl = f :: else -> f = NONE fi }
     :: devtlb == NONE ->
        /* ATS request; answer and ATC fill are one ordered event, invalidations queue behind it */
        atomic {
          if
          :: !pasid_valid -> f = NONE
          :: pasid_valid && iotlb != NONE -> f = iotlb
          :: pasid_valid && iotlb == NONE -> f = pte; iotlb = pte
          fi;
          if :: f != NONE -> devtlb = f; infl = f :: else fi
        };
        if
#ifdef BUG_LATE_PRQ
        :: f == NONE && pasid_valid && nfull(prq) -> prq!1
#else
        :: atomic { f == NONE && pasid_valid && nfull(prq) -> prq!1 } /* PRI page request, retry later */
#endif
        :: else
        fi
     fi;
     if
     :: f != NONE -> atomic { assert(content[f] == 1) /* I1 */; infl = NONE }
     :: else
     fi
  od
}

proctype FaultHandler() {                       /* kernel thread answering page requests */
  byte g;
end_fh:
  do
  :: atomic { prq?1 -> fault_busy = true };
     if
     :: mm_alive && pte == NONE ->
        if :: content[0] == 0 -> g = 0 :: content[0] != 0 && content[1] == 0 -> g = 1 :: else -> g = NONE fi;
        if
        :: g != NONE -> atomic {
#ifndef BUG_NO_PRQ_DRAIN
             assert(mm_alive);
#endif
             content[g] = 1; pte = g }
        :: else
        fi
     :: else
     fi;
     atomic { assert(mm_alive || pte == NONE) /* I2 */; fault_busy = false }
  od
}

inline inv_iotlb() { iotlb = NONE }
inline inv_dev() { devtlb = NONE;
#ifndef BUG_NO_DRAIN
  (infl == NONE)
#endif
}
inline invalidate() {
#ifdef BUG_DEV_FIRST
  inv_dev(); inv_iotlb()
#else
  inv_iotlb();
#ifndef BUG_NO_DEVTLB
  inv_dev()
#endif
#endif
}

proctype OS() {
  byte n, f;
  do
  :: n < N ->
     if
     :: atomic { !fault_busy && pte != NONE -> f = pte; pte = NONE };   /* munmap under mmap_lock */
#ifdef BUG_LAZY
        content[f] = 2; invalidate();
#else
        invalidate(); content[f] = 2;
#endif
        content[f] = 0                                                  /* the other owner frees it */
     :: atomic { !fault_busy && pte == NONE && content[0] == 0 -> content[0] = 1; pte = 0 }
     :: skip
     fi;
     n++
  :: else -> break
  od;
  /* process exit: tear the PASID down */
#ifndef BUG_NO_BLOCK
  pasid_valid = false;
#endif
#ifndef BUG_NO_PRQ_DRAIN
  (empty(prq) && !fault_busy);
#endif
  atomic { mm_alive = false; f = pte; pte = NONE };
  invalidate();
  if :: f != NONE -> content[f] = 2 :: else fi;
  assert(pte == NONE && iotlb == NONE && devtlb == NONE) /* I2 */
}

init { atomic { pte = NONE; iotlb = NONE; devtlb = NONE; infl = NONE; run Device(); run FaultHandler(); run OS() } }
