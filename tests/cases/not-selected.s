# What nobody selects stays as it is, and nobody moves it: its neighbour finds another way.
# select: g
    fn f
    mov %edi, %eax
    syscall
    ret
    .skip 8, 0xcc
    end f
    fn g
    mov %edi, %eax
    syscall
    ret
    .skip 8, 0xcc
    end g
# plan:
# f+0x2 not selected
# g+0x2 stone
#   changed    0x100f  jmp     0x1012  # to the next stone
#              0x1012  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from g+0x2
#              0x100002  lea     -0xfeff8(%rip), %rcx  # g+0x4
#              0x100009  jmp     0x1011  # g+0x4
