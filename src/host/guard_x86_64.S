/* SPDX-License-Identifier: MIT */
/* The fast way of guard.c: bool guard_fast_copy(void *dst, const void *src, size_t n).
 * Owns: the instruction range [guard_fast_start, guard_fast_end). A fault in it continues at
 * guard_fast_fault, so nothing in it may move the stack pointer or a register the caller keeps.
 * Small sizes have paths of their own because `rep movsb` takes some 30 cycles to start. In each of them
 * every load comes before a store that could overlap it only by being the same bytes again. */
        .text
        .globl  guard_fast_copy
        .hidden guard_fast_copy
        .type   guard_fast_copy, @function
        .globl  guard_fast_start, guard_fast_end, guard_fast_fault
        .hidden guard_fast_start, guard_fast_end, guard_fast_fault
        .p2align 5
guard_fast_copy:
        .cfi_startproc
        endbr64
guard_fast_start:
        cmpq    $16, %rdx
        ja      .Lover_16
        cmpq    $8, %rdx
        je      .Lis_8
        ja      .Lover_8
        cmpq    $4, %rdx
        je      .Lis_4
        ja      .Lover_4
        cmpq    $2, %rdx
        je      .Lis_2
        ja      .Lis_3
        testq   %rdx, %rdx
        je      guard_fast_end
        movzbl  (%rsi), %eax
        movb    %al, (%rdi)
        jmp     guard_fast_end
.Lis_8:
        movq    (%rsi), %rax
        movq    %rax, (%rdi)
        jmp     guard_fast_end
.Lis_4:
        movl    (%rsi), %eax
        movl    %eax, (%rdi)
        jmp     guard_fast_end
.Lis_2:
        movzwl  (%rsi), %eax
        movw    %ax, (%rdi)
        jmp     guard_fast_end
.Lis_3:
        movzwl  (%rsi), %eax
        movzbl  2(%rsi), %ecx
        movw    %ax, (%rdi)
        movb    %cl, 2(%rdi)
        jmp     guard_fast_end
.Lover_4:                               /* 5 to 7: first and last four bytes */
        movl    (%rsi), %eax
        movl    -4(%rsi,%rdx), %ecx
        movl    %eax, (%rdi)
        movl    %ecx, -4(%rdi,%rdx)
        jmp     guard_fast_end
.Lover_8:                               /* 9 to 16: first and last eight bytes */
        movq    (%rsi), %rax
        movq    -8(%rsi,%rdx), %rcx
        movq    %rax, (%rdi)
        movq    %rcx, -8(%rdi,%rdx)
        jmp     guard_fast_end
.Lover_16:
        cmpq    $256, %rdx
        ja      .Lstring
        movups  -16(%rsi,%rdx), %xmm1   /* the last sixteen bytes, whatever n is */
        leaq    -16(%rdi,%rdx), %rcx
.Lblock:
        movups  (%rsi), %xmm0
        movups  %xmm0, (%rdi)
        addq    $16, %rsi
        addq    $16, %rdi
        cmpq    %rcx, %rdi
        jb      .Lblock
        movups  %xmm1, (%rcx)
        jmp     guard_fast_end
.Lstring:
        movq    %rdx, %rcx
        rep movsb
guard_fast_end:
        movl    $1, %eax
        ret
guard_fast_fault:
        xorl    %eax, %eax
        ret
        .cfi_endproc
        .size   guard_fast_copy, . - guard_fast_copy

        .section .note.GNU-stack, "", @progbits
