# Where code knows its own address, a label can be an immediate; a distance is added and the sum returned to.
# tactics: clobber
# linked: fixed
    fn f
    mov $1f, %edx
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
# f+0xd refused (clobber: nobody knows where f jumps)
