# What follows a call is dead only where a known function begins right behind it.
# tactics: stone
    fn f
    mov $39, %eax
    syscall
    call g
    nopl 0(%rax,%rax,1)
    ret
    end f
    .balign 64, 0xf4
g:  ret
# plan:
# f+0x5 refused (stone: no padding within reach)
