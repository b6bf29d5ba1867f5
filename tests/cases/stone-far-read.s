# Without function bounds, bytes that look like padding may be a constant, and who reads it may be far away.
# tactics: stone
    .rept 40
    mov %rdi, %rsi
    add %rsi, %rdx
    .endr
    .p2align 4, 0x90
    .rept 3
    mov %rdi, %rsi
    .endr
    push %rbx
    pop %rbx
    mov %edi, %eax
    syscall
    ret
1:  .fill 16, 1, 0xcc
    .rept 200
    mov %rdi, %rsi
    add %rsi, %rdx
    .endr
    movdqa 1b(%rip), %xmm0
    ret
    .rept 40
    mov %rdi, %rsi
    .endr
# plan:
# 0x10fd refused (stone: no padding within reach)
