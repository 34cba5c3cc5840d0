/* SPDX-License-Identifier: MIT */
/* paging.pml - protocol model: device paging queues, paging fences, residency list,
 * eviction (suspend / unmap / TLB flush / page out), page in, GPU submission on two
 * concurrently running engines, one well-behaved client and one hostile client.
 *
 * Allocations 0,1 belong to process 0 (well behaved), 2 to process 1 (hostile).
 * Each allocation is one page and has one GPU VA in its owner's address space.
 * There are NF VRAM frames, fewer than allocations, so eviction must happen.
 *
 * Safety:  S1 an access never reaches a frame holding another allocation's bytes
 *          S2 the well-behaved client never faults
 *          S3 two allocations never own one frame; fences never go backwards
 * Liveness: every packet of the well-behaved client completes (weak fairness).
 *
 * Defects that can be switched on with -D:
 *   BUG_NO_FLUSH     no TLB flush before the frame is reused
 *   BUG_LATE_DMA     TLB flush does not wait for accesses already translated
 *   BUG_DRAIN_FIRST  TLB flush drains first and clears the TLB second
 *   BUG_NO_SUSPEND   victim device is not stopped before its allocation is evicted
 *   BUG_FENCE_EARLY  device paging fence signalled when queued to the paging engine
 *   BUG_ORDER        page-out issued before the PTE is invalidated
 *   BUG_NO_QUANTUM   a resumed device may be suspended again before it ran
 *   KILL             (not a defect) process 1 may be killed at any moment; VidMm must
 *                    reclaim its frame: S4 no byte of it is left in VRAM, no frame owned
 *   BUG_KILL_RUNNING reclaim without stopping the dead process's context first
 *   USER_SUBMIT      (not a defect) contexts are not gated by the residency list, only by
 *                    the paging fence and by suspension (hardware / user-mode queues)
 *   PIPELINED        (not a defect) no CPU wait between page-out and page-in: relies
 *                    on one in-order paging engine
 *   TWO_ENGINES      paging operations may be executed by two engines out of order;
 *                    with PIPELINED this is a defect
 */
#ifndef N0
#define N0 2
#endif
#ifndef N1
#define N1 2
#endif
#define NP 2
#define NA 3
#define NF 2
#define NONE 7
#define OWN(a) ((a)/2)

mtype = { PT_INVAL, TLB_FLUSH, XFER_OUT, XFER_IN, PT_MAP };

byte pte[NA], tlb[NA], loc[NA];      /* page table, GPU TLB, VidMm's bookkeeping */
byte content[NF], fown[NF];          /* what bytes are in a frame; VidMm's owner */
bool want[NA];                       /* device residency requirement list */
byte pf_last[NP], pf_done[NP];       /* device paging fence: last handed out / signalled */
bool susp[NP], err[NP], ran[NP];
bool running[NP];
byte infl[NP];                       /* frame targeted by an access already translated */
bool pk[NP]; byte pk_a[NP], pk_w[NP];/* one outstanding packet per context */
byte pend;                           /* paging operations not yet executed */
byte subm, compl;
chan pq0 = [2] of { byte, byte };
chan pq1 = [2] of { byte, byte };
chan pe  = [5] of { mtype, byte, byte };

bool dead1, reaped1;
#ifdef USER_SUBMIT
#define GATE(p) (true)
#else
#define GATE(p) RESIDENT(p)
#endif
#define HERE(a) (!want[a] || loc[a]!=NONE)
#define RESIDENT(p) ((p)==0 -> (HERE(0) && HERE(1)) : HERE(2))
#define RUNNABLE(p) (pk[p] && !err[p] && pf_done[p] >= pk_w[p])

/* ---------------- GPU paging engine (system context) ---------------- */
proctype PagingEngine() {
  mtype op; byte a, f;
end_pe:
  do
  :: pe?op,a,f ->
     if
     :: op == PT_INVAL  -> pte[a] = NONE
     :: op == TLB_FLUSH ->
#ifdef BUG_DRAIN_FIRST
        (infl[0] == NONE); (infl[1] == NONE);
        d_step { tlb[0] = NONE; tlb[1] = NONE; tlb[2] = NONE }
#else
        d_step { tlb[0] = NONE; tlb[1] = NONE; tlb[2] = NONE };
#ifndef BUG_LATE_DMA
        (infl[0] == NONE); (infl[1] == NONE)    /* then drain accesses already translated */
#endif
#endif
     :: op == XFER_OUT  -> content[f] = NONE    /* saved to system memory, frame scrubbed */
     :: op == XFER_IN   -> content[f] = a
     :: op == PT_MAP    -> pte[a] = f
     fi;
     pend--
  od
}

/* ---------------- 3D engine running the context of process p ---------------- */
proctype Engine(byte p) {
  byte f;
end_eng:
  do
  :: atomic { (!susp[p] && RUNNABLE(p) && GATE(p)) -> running[p] = true };
     /* page walk + TLB fill */
     atomic {
       if
       :: tlb[pk_a[p]] != NONE -> f = tlb[pk_a[p]]
       :: tlb[pk_a[p]] == NONE -> f = pte[pk_a[p]]; tlb[pk_a[p]] = f
       fi;
       infl[p] = f
     };
     if
     :: f == NONE -> assert(p != 0) /* S2 */; err[p] = true
     :: f != NONE -> atomic { assert(content[f] == pk_a[p]) /* S1 */; infl[p] = NONE }
     fi;
     atomic { pk[p] = false; running[p] = false; ran[p] = true;
              if :: p == 0 -> compl++ :: else fi }
  od
}

/* ---------------- video memory manager worker ---------------- */
inline issue(o, aa, ff) { atomic { pend++; pe!o(aa,ff) } }

inline evict(v) {
  ff = loc[v];
#ifdef BUG_ORDER
  issue(XFER_OUT, v, ff); issue(PT_INVAL, v, ff); issue(TLB_FLUSH, v, ff);
#else
  issue(PT_INVAL, v, ff);
#ifndef BUG_NO_FLUSH
  issue(TLB_FLUSH, v, ff);
#endif
  issue(XFER_OUT, v, ff);
#endif
#ifndef PIPELINED
  (pend == 0);
#endif
  loc[v] = NONE; fown[ff] = NONE
}

/* make allocation a of process p resident; ok=false if nothing may be evicted */
inline make_resident(p, a) {
  ok = true;
  if
  :: loc[a] != NONE -> skip
  :: else ->
     if
     :: fown[0] == NONE -> g = 0
     :: fown[0] != NONE && fown[1] == NONE -> g = 1
     :: fown[0] != NONE && fown[1] != NONE ->
        /* choose a victim: any resident allocation that is not required by p itself */
        if
        :: loc[0] != NONE && a != 0 && !(p == 0 && want[0]) -> v = 0
        :: loc[1] != NONE && a != 1 && !(p == 0 && want[1]) -> v = 1
        :: loc[2] != NONE && a != 2 && !(p == 1 && want[2]) -> v = 2
        :: else -> ok = false
        fi;
        if
        :: ok ->
           if
           :: want[v] && !susp[OWN(v)] ->            /* its device must be stopped first */
#ifndef BUG_NO_QUANTUM
              (ran[OWN(v)] || !RUNNABLE(OWN(v)) || !RESIDENT(OWN(v)) || (OWN(v) == 1 && dead1));
#endif
#ifndef BUG_NO_SUSPEND
              susp[OWN(v)] = true; (!running[OWN(v)])
#endif
           :: else -> skip
           fi;
           g = loc[v];
           evict(v)
        :: else -> skip
        fi
     fi;
     if
     :: ok ->
        assert(fown[g] == NONE);                     /* S3 */
        fown[g] = a;
#ifdef BUG_FENCE_EARLY
        if :: OWN(a) == 0 && sig > pf_done[0] -> pf_done[0] = sig :: else fi;
#endif
        issue(XFER_IN, a, g); issue(PT_MAP, a, g);
        (pend == 0);
        loc[a] = g
     :: else -> skip
     fi
  fi
}

proctype VidMm() {
  byte a, fv, v, g, ff, sig; bool ok;
end_vm:
  do
  :: pq0?a,fv -> sig = fv; want[a] = true; make_resident(0, a);
       assert(ok); atomic { assert(fv > pf_done[0] || fv == pf_done[0]); pf_done[0] = fv }; sig = 0
  :: pq1?a,fv -> sig = 0;
       if :: err[1] || dead1 -> skip
          :: else -> want[a] = true; make_resident(1, a);
             if :: !ok -> want[a] = false :: else fi
       fi;
       atomic { assert(fv >= pf_done[1]); pf_done[1] = fv }
  /* give a stopped device its memory back and resume it */
  :: susp[0] && RUNNABLE(0) ->
       if :: want[0] -> make_resident(0, 0); assert(ok) :: else fi;
       if :: want[1] -> make_resident(0, 1); assert(ok) :: else fi;
       ran[0] = false; susp[0] = false
  :: susp[1] && !dead1 && RUNNABLE(1) ->
       if :: want[2] -> make_resident(1, 2) :: else -> ok = true fi;
       if :: ok -> ran[1] = false; susp[1] = dead1 :: else -> want[2] = false; err[1] = true fi
#ifdef KILL
  :: dead1 && !reaped1 && empty(pq1) ->
#ifndef BUG_KILL_RUNNING
       susp[1] = true; (!running[1]);
#endif
       want[2] = false;
       if :: loc[2] != NONE -> evict(2) :: else fi;
       (pend == 0);
       assert(content[0] != 2 && content[1] != 2 && fown[0] != 2 && fown[1] != 2);  /* S4 */
       reaped1 = true
#endif
  od
}

#ifdef KILL
proctype Killer() { dead1 = true }
#endif

/* ---------------- clients ---------------- */
proctype Good() {
  byte i, a, w;
  do
  :: i < N0 ->
     if :: a = 0 :: a = 1 fi;
     if
     :: !want[a] -> pf_last[0]++; w = pf_last[0]; pq0!a,w
     :: want[a]  -> w = pf_last[0]
     fi;
     atomic { (!pk[0]) -> pk_a[0] = a; pk_w[0] = w; pk[0] = true; subm++ };
     if
     :: (compl == subm) -> if :: want[a] = false /* Evict */ :: skip fi
     fi;
     i++
  :: else -> break
  od
}

proctype Hostile() {
  byte i;
  do
  :: dead1 -> break
  :: i < N1 && !dead1 ->
     if
     :: pf_last[1]++; pq1!2,pf_last[1]                       /* MakeResident, no wait */
     :: want[2] = false                                      /* Evict at any moment */
     :: atomic { (!pk[1] && !err[1]) -> pk_a[1] = 2; pk_w[1] = 0; pk[1] = true }  /* submit, no wait */
     fi;
     i++
  :: err[1] -> break
  :: i >= N1 -> break
  od
}

init {
  atomic {
    byte k;
    for (k : 0 .. NA-1) { pte[k] = NONE; tlb[k] = NONE; loc[k] = NONE }
    for (k : 0 .. NF-1) { content[k] = NONE; fown[k] = NONE }
    infl[0] = NONE; infl[1] = NONE; ran[0] = true; ran[1] = true;
    run PagingEngine();
#ifdef TWO_ENGINES
    run PagingEngine();
#endif
    run Engine(0); run Engine(1); run VidMm(); run Good(); run Hostile()
#ifdef KILL
    ; run Killer()
#endif
  }
}

ltl live { [] ((subm > compl) -> <> (subm == compl)) }
