# One jump has its table; the other adds distances that a table holds to the address of a label.
# tactics: clobber
    fn f
    lea 3f(%rip), %rdx
    movslq (%rdx,%rdi,4), %rax
    add %rdx, %rax
    jmp *%rax
1:  lea 1b(%rip), %rdx
    lea 4f(%rip), %rcx
    movslq (%rcx,%rsi,4), %rax
    add %rdx, %rax
    jmp *%rax
2:  mov %edi, %eax
    syscall
5:  cmp $-4096, %rax
    ret
    end f
    .section .rodata
    .balign 4
3:  .long 1b - 3b, 2b - 3b
    .long 0x7fffffff
4:  .long 2b - 1b, 5b - 1b
# plan:
# f+0x29 refused (clobber: nobody knows where f+0x10 jumps)
