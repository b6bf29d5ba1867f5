# A branch that jumps over a prefix arrives inside an instruction: no copy can serve it.
# tactics: clobber
    fn f
    test %edi, %edi
    jz 1f
    mov %edi, %eax
    syscall
    .byte 0xf0
1:  incl (%rsi)
    ret
    end f
