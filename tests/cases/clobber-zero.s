# Zeros behind a call that does not return read as an instruction, and are data.
# tactics: clobber
    mov $60, %eax
    syscall
    .long 0, 0
    .fill 16, 1, 0xcc
# plan:
# 0x1005 clobber
#   changed    0x1000  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  mov     $0x3c, %eax  # from 0x1000
#              0x100005  syscall  # from 0x1005
#              0x100007  lea     -0xff007(%rip), %rcx  # 0x1007
#              0x10000e  jmp     0x1007
