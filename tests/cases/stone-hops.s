# The pad that is large enough is out of reach: two small ones lead there.
# tactics: stone
    fn f
    mov $39, %eax
    syscall
    jmp 1f
    nopl (%rax)
1:  .fill 23, 5, 0x27b8
    jmp 2f
    nopl (%rax)
    ret
2:  .fill 23, 5, 0x27b8
    ret
    end f
    .p2align 4
    nopw 0(%rax,%rax,1)
    fn g
    ret
    end g
# plan:
# f+0x5 stone
#   changed    0x1005  jmp     0x1081  # to the next stone
#              0x1081  jmp     0x10f9  # to the next stone
#              0x10f9  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from f+0x5
#              0x100002  lea     -0xff002(%rip), %rcx  # f+0x7
#              0x100009  jmp     0x1007  # f+0x7
