# What follows the site moves along.
# tactics: clobber
    fn f
    mov %edi, %eax
    syscall
    cmp $-4096, %rax
    ja 1f
    ret
1:  neg %eax
    ret
    end f
