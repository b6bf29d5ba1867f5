# A branch that jumps over a prefix arrives inside an instruction: no copy can serve it.
# tactics: clobber
    fn f
    test %edi, %edi
    jz 1f
    endbr64
    syscall
    .byte 0xf0
1:  incl (%rsi)
    ret
    end f
# plan:
# f+0x8 refused (clobber: f+0x2 jumps to f+0xb)
