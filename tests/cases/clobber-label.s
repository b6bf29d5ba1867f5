# A computed address is returned to.
# tactics: clobber
    fn f
    lea 1f(%rip), %rdx
    lea (%rdx,%rdi,2), %rdx
    push %rdx
    ret
1:  mov %edi, %eax
    syscall
    mov %eax, %edi
    cmp $-4096, %rax
    ret
    end f
# plan:
# f+0xf refused (clobber: nobody knows where f jumps)
