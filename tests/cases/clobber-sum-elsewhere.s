# A distance that is added to something else than the address of its table.
# tactics: clobber
    fn f
    mov (%rsi), %rcx
    movslq (%rdx,%rdi,4), %rax
    add %rcx, %rax
    jmp *%rax
1:  mov %edi, %eax
    syscall
    cmp $-4096, %rax
    ret
    end f
# plan:
# f+0xe refused (clobber: nobody knows where f+0xa jumps)
