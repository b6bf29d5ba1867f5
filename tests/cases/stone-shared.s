# One pad serves three sites.
# tactics: stone
    fn f
    mov $39, %eax
    syscall
    mov $102, %eax
    syscall
    mov $110, %eax
    syscall
    ret
    end f
    .nops 15
    fn g
    ret
    end g
# plan:
# f+0x5 stone
#   changed    0x1005  jmp     0x1016  # to the next stone
#              0x100c  jmp     0x101b  # to the next stone
#              0x1016  jmp     0x100000  # to the trampoline
#              0x101b  jmp     0x100010  # to the trampoline
#              0x1020  jmp     0x100020  # to the trampoline
#   trampoline 0x100000  syscall  # from f+0x5
#              0x100002  lea     -0xff002(%rip), %rcx  # f+0x7
#              0x100009  jmp     0x1007  # f+0x7
# f+0xc stone
#   changed    0x1005  jmp     0x1016  # to the next stone
#              0x100c  jmp     0x101b  # to the next stone
#              0x1013  jmp     0x1020  # to the next stone
#              0x1016  jmp     0x100000  # to the trampoline
#              0x101b  jmp     0x100010  # to the trampoline
#              0x1020  jmp     0x100020  # to the trampoline
#   trampoline 0x100010  syscall  # from f+0xc
#              0x100012  lea     -0xff00b(%rip), %rcx  # f+0xe
#              0x100019  jmp     0x100e  # f+0xe
# f+0x13 stone
#   changed    0x100c  jmp     0x101b  # to the next stone
#              0x1013  jmp     0x1020  # to the next stone
#              0x1016  jmp     0x100000  # to the trampoline
#              0x101b  jmp     0x100010  # to the trampoline
#              0x1020  jmp     0x100020  # to the trampoline
#   trampoline 0x100020  syscall  # from f+0x13
#              0x100022  lea     -0xff014(%rip), %rcx  # f+0x15
#              0x100029  jmp     0x1015  # f+0x15
