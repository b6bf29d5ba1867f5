# The same with eight bytes each, at an odd address.
# tactics: clobber
# linked: fixed
    fn f
    jmp *table(,%rdi,8)
1:  mov %edi, %eax
    syscall
2:  mov %eax, %edi
    ret
    end f
    .section .rodata
    .byte 0
table:
    .quad 1b, 2b
# plan:
# f+0x9 refused (clobber: 0x402009 jumps to f+0xb)
