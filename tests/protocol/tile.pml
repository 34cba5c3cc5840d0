/* SPDX-License-Identifier: MIT */
/* tile.pml - tile-resource update interlock: a rendering context and its paging companion
 * context synchronise through a monitored fence while VidMm relocates or evicts the tile
 * pool pages under them.  The update copies the page table entry of a tile-pool page
 * (privileged address space, late binding) into the tile resource's page table.
 *
 *   draw 0 (expects pool page A) -> update -> draw 1 (expects B) -> update -> draw 2 (A)
 *
 * T1  draw k reads exactly the bytes of the pool page that update k mapped
 * T2  no well-formed sequence faults
 * T3  everything terminates (no invalid end state)
 * Defects (-D):
 *   BUG_EARLY_BIND    physical address captured when the update is queued
 *   BUG_NO_SUSPEND_COMPANION  relocation stops only the rendering context
 *   BUG_FIXUP_QUEUED  relocation rewrites tile PTEs from the queued, not the executed, state
 *   BUG_NO_FIXUP      relocation rewrites only the privileged PTE
 *   BUG_NO_TLB        companion does not invalidate the TLB after the copy
 *   BUG_NO_PIN        pool page may stay evicted while a queued update refers to it
 *   BUG_NO_WAIT       rendering does not wait for the update's fence value
 */
#ifndef M
#define M 2            /* updates */
#endif
#ifndef R
#define R 2            /* relocations or evictions VidMm performs at arbitrary moments */
#endif
#define NF 3
#define NONE 7
#define X 5            /* bytes of some other process */
#define EXP(k) ((k)%2) /* pool page (0=A,1=B) expected by draw k */

byte priv[2], tpte, tlb, content[NF];
byte F;                /* monitored fence */
byte executed;         /* updates executed by the companion */
byte bind[M+1];
bool susp_r, susp_c, run_r, run_c;
byte infl = NONE;

inline tlb_inv() { tlb = NONE; (infl == NONE) }   /* invalidate, then drain */

proctype Render() {
  byte k, f;
  do
  :: k <= M ->
#ifdef BUG_NO_WAIT
     atomic { (!susp_r) -> run_r = true };
#else
     atomic { (F >= 2*k && !susp_r) -> run_r = true };
#endif
     atomic { if :: tlb != NONE -> f = tlb :: else -> f = tpte; tlb = f fi; infl = f };
     assert(f != NONE);                                        /* T2 */
     atomic { assert(content[f] == EXP(k)); infl = NONE };     /* T1 */
     atomic { if :: F < 2*k+1 -> F = 2*k+1 :: else fi; run_r = false };
     k++
  :: else -> break
  od
}

proctype Companion() {
  byte k, r;
  do
  :: k < M ->
     atomic { (F >= 2*k+1 && !susp_c) -> run_c = true };
#ifdef BUG_EARLY_BIND
     r = bind[k+1];
#else
     r = priv[EXP(k+1)];
#endif
     tpte = r;                                                 /* CopyPageTableEntries */
#ifndef BUG_NO_TLB
     tlb_inv();
#endif
     atomic { executed = k+1; F = 2*k+2; run_c = false };
     k++
  :: else -> break
  od
}

inline fixup(x, g) {
  skip;
#ifndef BUG_NO_FIXUP
#ifdef BUG_FIXUP_QUEUED
  if :: EXP(M) == x -> tpte = g :: else fi
#else
  if :: EXP(executed) == x -> tpte = g :: else fi
#endif
#endif
}
#define NEXT_IS(i, x) (executed + (i) <= M && EXP(executed + (i)) == (x))
#define NEEDED(x) (NEXT_IS(0, x) || NEXT_IS(1, x) || NEXT_IS(2, x))

inline stop() { susp_r = true; (!run_r);
#ifndef BUG_NO_SUSPEND_COMPANION
  susp_c = true; (!run_c)
#endif
}

proctype VidMm() {
  byte n, x, f, g;
  do
  :: n < R ->
     if :: x = 0 :: x = 1 fi;
     if
     :: priv[x] != NONE ->
        stop();
        f = priv[x];
        if
        :: /* relocate */
           if :: content[0] == NONE -> g = 0 :: content[1] == NONE -> g = 1 :: content[2] == NONE -> g = 2 fi;
           content[g] = x; priv[x] = g; fixup(x, g); tlb_inv();
           content[f] = X                     /* frame handed to another process at once */
        :: /* evict to system memory; frame is lent to somebody else */
           priv[x] = NONE; fixup(x, NONE); tlb_inv(); content[f] = X;
#ifndef BUG_NO_PIN
           if :: NEEDED(x) ->                 /* still required: bring it back before resuming */
              if :: content[0] == NONE || content[0] == X -> g = 0
                 :: content[1] == NONE || content[1] == X -> g = 1
                 :: content[2] == NONE || content[2] == X -> g = 2 fi;
              content[g] = x; priv[x] = g; fixup(x, g); tlb_inv()
           :: else fi
#endif
        fi;
        /* the other process gives its frame back */
        if :: content[f] == X -> content[f] = NONE :: else fi;
        susp_r = false; susp_c = false
     :: else -> skip
     fi;
     n++
  :: else -> break
  od
}

init { atomic {
  content[0] = 0; content[1] = 1; content[2] = NONE; priv[0] = 0; priv[1] = 1;
  tpte = 0; tlb = NONE; bind[0] = 0; bind[1] = priv[EXP(1)];
#if M > 1
  bind[2] = priv[EXP(2)];
#endif
#if M > 2
  bind[3] = priv[EXP(3)];
#endif
  run Render(); run Companion(); run VidMm() } }
