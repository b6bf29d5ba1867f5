# Padding that is executed begins with a jump over the stone.
# tactics: live-stone
    fn f
    mov $39, %eax
    syscall
    nopw 0(%rax,%rax,1)
    cmp $-4096, %rax
    ret
    end f
