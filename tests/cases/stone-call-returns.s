# A call that returns falls through no-ops into what a symbol names.
# tactics: stone
    fn f
    mov $39, %eax
    syscall
    call h
    .nops 8
    end f
    .globl g
    .type g, @function
g:  ret
    .size g, . - g
    fn h
    ret
    end h
# plan:
# f+0x5 refused (stone: no padding within reach)
