# A table of four-byte addresses, where code knows its own: whoever comes from it makes a call that nobody sees.
# tactics: before
# linked: fixed
    fn f
    mov table(,%rdi,4), %eax
    jmp *%rax
1:  mov $39, %eax
2:  syscall
    mov %eax, %edi
    ret
    end f
    .section .rodata
    .byte 0
table:
    .long 1b, 2b
# plan:
# f+0xe refused (before: 0x402005 jumps to f+0xe)
