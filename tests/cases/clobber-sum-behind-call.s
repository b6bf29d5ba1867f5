# Behind a call a sum is jumped to: whoever comes there may bring the distance to a label.
# tactics: clobber
    fn f
    mov %edi, %eax
    syscall
    cmp $-4096, %rax
    jne 1f
    ret
1:  call g
    add %rsi, %rdi
    jmp *%rdi
    end f
    fn g
    hlt
    end g
# plan:
# f+0x2 refused (clobber: nobody knows where f+0x15 jumps)
