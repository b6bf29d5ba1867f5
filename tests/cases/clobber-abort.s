# A transaction's abort continues behind the site, from far away.
# tactics: clobber
    fn f
    mov %edi, %eax
    syscall
1:  mov %eax, %edi
    cmp $-4096, %rax
    ret
    .rept 200
    mov %rdi, %rsi
    .endr
    xbegin 1b
    ret
    end f
# plan:
# f+0x2 refused (clobber: nobody knows where f+0x265 jumps)
