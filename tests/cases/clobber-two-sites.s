# Sites close to each other move together.
# tactics: clobber
    fn f
    syscall
    mov %edi, %eax
    syscall
    ret
    end f
# plan:
# f clobber
#   changed    0x1000  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from f
#              0x100002  lea     -0xff007(%rip), %rcx  # f+0x2
#              0x100009  mov     %edi, %eax  # from f+0x2
#              0x10000b  syscall  # from f+0x4
#              0x10000d  lea     -0xff00e(%rip), %rcx  # f+0x6
#              0x100014  jmp     0x1006  # f+0x6
# f+0x4 clobber
#   changed    0x1000  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from f
#              0x100002  lea     -0xff007(%rip), %rcx  # f+0x2
#              0x100009  mov     %edi, %eax  # from f+0x2
#              0x10000b  syscall  # from f+0x4
#              0x10000d  lea     -0xff00e(%rip), %rcx  # f+0x6
#              0x100014  jmp     0x1006  # f+0x6
