/* SPDX-License-Identifier: MIT */
/* breaks.h — break switches: in test builds one requirement's rule can be broken on purpose, so that a
 * test that claims to prove the row can be seen to fail. Each row is broken in exactly one place, the
 * line that keeps its rule. In other builds BROKEN is the constant false and nothing is left of this. */
#ifndef VMM_BREAKS_H
#define VMM_BREAKS_H

#define VMM_ROWS(X) \
    X(ADP_01) X(ADP_02) X(ADP_03) X(ADP_04) X(ADP_05) X(ADP_06) X(ADP_07) X(ADP_08) X(ADP_09) \
    X(SEG_01) X(SEG_02) X(SEG_03) X(SEG_04) X(SEG_05) X(SEG_06) X(SEG_07) \
    X(ALC_01) X(ALC_02) X(ALC_03) X(ALC_04) X(ALC_05) X(ALC_06) X(ALC_07) \
    X(VA_01) X(VA_02) X(VA_03) X(VA_04) X(VA_05) X(VA_06) X(VA_07) X(VA_08) X(VA_09) X(VA_10) \
    X(VA_11) X(VA_12) X(VA_13) \
    X(PT_01) X(PT_02) X(PT_39) X(PHY_01) X(PHY_02) X(PHY_03) \
    X(PAG_01) X(PAG_02) X(RES_01) X(RES_02) X(SUB_01) X(SUB_02) X(SUB_03) X(SUB_04) \
    X(FLT_01) X(FLT_02) X(FLT_03) \
    X(TIL_01) X(TIL_02) X(TIL_03) X(TIL_04) X(TIL_05) X(TIL_06) \
    X(LDA_01) X(LDA_02) X(LDA_03) X(LDA_04) \
    X(IOM_01) X(IOM_02) X(IOM_03) X(IOM_04) X(IOM_05) X(IOM_06) X(IOM_07) X(IOM_08) X(IOM_09) X(IOM_10)

#define VMM_ROW_ENUM(row) ROW_##row,
enum vmm_row { ROW_NONE, VMM_ROWS(VMM_ROW_ENUM) ROW_COUNT };
#undef VMM_ROW_ENUM

#ifdef VIDMM_TEST_HOOKS
#define BROKEN(ad, row) ((ad)->broken == ROW_##row)
#else
#define BROKEN(ad, row) ((void)(ad), false)
#endif

#endif
