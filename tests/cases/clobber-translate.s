# Everything that depends on its position is translated: a short jcc, jrcxz, a RIP-relative operand.
# tactics: clobber
    fn f
    syscall
    jrcxz 1f
    js 1f
    ret
1:  ret
    end f
    fn g
    syscall
    mov 2f(%rip), %rax
    ret
    end g
    fn h
    syscall
    jmp 1b
    end h
    fn i
    syscall
    loop 1b
    dec %ecx
    ret
    end i
2:  .quad 0
