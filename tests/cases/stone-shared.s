# One pad serves three sites.
# tactics: stone
    fn f
    mov $39, %eax
    syscall
    mov $102, %eax
    syscall
    mov $110, %eax
    syscall
    ret
    end f
    nopw %cs:0(%rax,%rax,1)
    nopw 0(%rax,%rax,1)
    fn g
    ret
    end g
