# Two kinds side by side move together.
# tactics: clobber
# kinds: syscall,rdtsc
    fn f
    mov %edi, %eax
    syscall
    rdtsc
    rdtsc
    ret
    end f
# plan:
# f+0x2 clobber
#   changed    0x1002  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from f+0x2
#              0x100002  lea     -0xff005(%rip), %rcx  # f+0x4
#              0x100009  rdtsc  # from f+0x4
#              0x10000b  rdtsc  # from f+0x6
#              0x10000d  jmp     0x1008  # f+0x8
# f+0x4 clobber
#   changed    0x1002  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from f+0x2
#              0x100002  lea     -0xff005(%rip), %rcx  # f+0x4
#              0x100009  rdtsc  # from f+0x4
#              0x10000b  rdtsc  # from f+0x6
#              0x10000d  jmp     0x1008  # f+0x8
# f+0x6 clobber
#   changed    0x1002  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from f+0x2
#              0x100002  lea     -0xff005(%rip), %rcx  # f+0x4
#              0x100009  rdtsc  # from f+0x4
#              0x10000b  rdtsc  # from f+0x6
#              0x10000d  jmp     0x1008  # f+0x8
