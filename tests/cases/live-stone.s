# Padding that is executed begins with a jump over the stone.
# tactics: live-stone
    fn f
    mov $39, %eax
    syscall
    .nops 8
    cmp $-4096, %rax
    ret
    end f
# plan:
# f+0x5 live-stone
#   changed    0x1005  jmp     0x1009  # to the next stone
#              0x1007  jmp     0x100f  # over what follows
#              0x1009  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from f+0x5
#              0x100002  lea     -0xff002(%rip), %rcx  # f+0x7
#              0x100009  jmp     0x1007  # f+0x7
