# Data that decodes swallows the instruction behind it: a branch then leads to where none begins.
# tactics: clobber
    fn f
    jmp 1f
    .byte 0x48, 0xb8
1:  test %edi, %edi
    je 2f
    xor %edx, %edx
    xor %esi, %esi
    mov %ecx, %eax
    syscall
2:  mov %eax, %edi
    cmp $-4096, %rax
    ret
    end f
# plan:
# f+0xe refused (clobber: nobody knows where f jumps)
