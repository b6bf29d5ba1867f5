# Behind data in the text, a short branch is believed before anybody knows where instructions begin.
# tactics: clobber
    .rept 40
    mov %rdi, %rsi
    add %rsi, %rdx
    .endr
    jmp 1f
    .byte 0x06, 0x06, 0x06, 0x06, 0x06, 0x06, 0x06, 0x06
1:  test %edi, %edi
    je 2f
    .rept 20
    mov %rdi, %rsi
    .endr
    mov %ecx, %eax
    syscall
2:  mov %eax, %edi
    cmp $-4096, %rax
    ret
    .rept 40
    mov %rdi, %rsi
    .endr
# plan:
# 0x113c clobber
#   changed    0x1137  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  mov     %rdi, %rsi  # from 0x1137
#              0x100003  mov     %ecx, %eax  # from 0x113a
#              0x100005  syscall  # from 0x113c
#              0x100007  lea     -0xfeed0(%rip), %rcx  # 0x113e
#              0x10000e  jmp     0x113e
