# Data behind a call that never returns is read by the code before it.
# tactics: clobber
    .rept 40
    mov %rdi, %rsi
    .endr
    mov 1f(%rip), %edi
    mov $60, %eax
    xor %esi, %esi
    syscall
1:  .long 0, 0, 0, 0
    .rept 40
    mov %rdi, %rsi
    .endr
# plan:
# 0x1085 clobber
#   changed    0x107e  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  mov     $0x3c, %eax  # from 0x107e
#              0x100005  xor     %esi, %esi  # from 0x1083
#              0x100007  syscall  # from 0x1085
#              0x100009  lea     -0xfef89(%rip), %rcx  # 0x1087
#              0x100010  jmp     0x1087
