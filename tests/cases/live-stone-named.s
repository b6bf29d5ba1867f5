# A no-op whose address is written down is there to be changed while the program runs.
# tactics: live-stone
    fn f
    mov $39, %eax
    syscall
    test %eax, %eax
1:  .nops 9
    ret
    end f
    .data
    .quad 1b
# plan:
# f+0x5 refused (live-stone: no padding within reach)
