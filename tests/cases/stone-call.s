# What follows a call is dead only where a known function begins right behind it.
# tactics: stone
    fn f
    mov $39, %eax
    syscall
    call g
    nopl 0(%rax,%rax,1)
    ret
    end f
