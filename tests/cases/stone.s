# Dead padding behind `ret` holds the near jump; two bytes of live code change.
# tactics: stone
    fn f
    mov $39, %eax
    syscall
    ret
    end f
    .p2align 4
    fn g
    ret
    end g
# plan:
# f+0x5 stone
#   changed    0x1005  jmp     0x1008  # to the next stone
#              0x1008  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from f+0x5
#              0x100002  lea     -0xff002(%rip), %rcx  # f+0x7
#              0x100009  jmp     0x1007  # f+0x7
