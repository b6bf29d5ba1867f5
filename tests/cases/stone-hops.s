# The pad that is large enough is out of reach: two small ones lead there.
# tactics: stone
    fn f
    mov $39, %eax
    syscall
    jmp 1f
    nopl (%rax)
1:  .fill 30, 4, 0x00c0c748
    jmp 2f
    nopl (%rax)
    ret
2:  .fill 30, 4, 0x00c0c748
    ret
    end f
    .p2align 4
    nopw 0(%rax,%rax,1)
    fn g
    ret
    end g
