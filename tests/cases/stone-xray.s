# A jump over no-ops is a sled that somebody patches at run time: it looks dead and is not.
# tactics: stone
    fn f
    jmp 1f
    nopw 0(%rax,%rax,1)
1:  mov $39, %eax
    syscall
    ret
    end f
# plan:
# f+0xc refused (stone: no padding within reach)
