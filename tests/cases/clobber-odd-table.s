# A jump table at an odd address is not searched for, so its entries are not known.
# tactics: clobber
    fn f
    lea 3f(%rip), %rdx
    movslq (%rdx,%rdi,4), %rax
    add %rdx, %rax
    jmp *%rax
1:  mov %edi, %eax
    syscall
2:  cmp $-4096, %rax
    ret
    end f
    .section .rodata
    .balign 4
    .byte 0
3:  .long 1b - 3b, 2b - 3b
# plan:
# f+0x12 refused (clobber: 0x2005 jumps to f+0x14)
