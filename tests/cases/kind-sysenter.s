# What follows sysenter may or may not be executed: it is moved like any other.
# kinds: sysenter
    fn f
    mov $20, %eax
    sysenter
    ret
    .skip 16, 0xcc
    end f
# plan:
# f+0x5 stone
#   changed    0x1005  jmp     0x1008  # to the next stone
#              0x1008  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  sysenter  # from f+0x5
#              0x100002  jmp     0x1007  # f+0x7
