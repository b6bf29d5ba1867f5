# Where nobody asks for rdtsc it is an instruction like others, and moves with a syscall.
# tactics: clobber
    fn f
    endbr64
    syscall
    rdtsc
    inc %eax
    ret
    end f
# plan:
# f+0x4 clobber
#   changed    0x1004  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from f+0x4
#              0x100002  lea     -0xff003(%rip), %rcx  # f+0x6
#              0x100009  rdtsc  # from f+0x6
#              0x10000b  inc     %eax  # from f+0x8
#              0x10000d  jmp     0x100a  # f+0xa
