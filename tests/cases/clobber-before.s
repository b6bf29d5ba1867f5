# What follows the site must stay where it is, so what precedes it moves.
# tactics: clobber
    fn f
    xor %edx, %edx
    mov %edi, %eax
    syscall
    endbr64
    ret
    end f
# plan:
# f+0x4 clobber
#   changed    0x1000  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  xor     %edx, %edx  # from f
#              0x100002  mov     %edi, %eax  # from f+0x2
#              0x100004  syscall  # from f+0x4
#              0x100006  lea     -0xff007(%rip), %rcx  # f+0x6
#              0x10000d  jmp     0x1006  # f+0x6
