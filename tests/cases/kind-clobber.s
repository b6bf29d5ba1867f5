# Three bytes and the branch before them make room for the jump.
# tactics: clobber
# kinds: xgetbv
    fn f
    test %edi, %edi
    jz 1f
    xgetbv
1:  shl $32, %rdx
    or %rdx, %rax
    ret
    end f
# plan:
# f+0x4 clobber
#   changed    0x1002  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  je      0x1007  # from f+0x2
#              0x100006  xgetbv  # from f+0x4
#              0x100009  jmp     0x1007  # f+0x7
