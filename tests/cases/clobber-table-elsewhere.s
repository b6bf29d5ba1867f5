# Who took the address of the jump table is not known: what is added to an entry of it is its own address, and its
# entries have been noted where that was taken.
# tactics: clobber
    fn f
    movslq (%rdx,%rdi,4), %rax
    add %rdx, %rax
    jmp *%rax
1:  mov %edi, %eax
    syscall
    cmp $-4096, %rax
2:  ret
    end f
    fn g
    lea 3f(%rip), %rdx
    call f
    ret
    end g
    .section .rodata
    .balign 4
3:  .long 1b - 3b, 2b - 3b
# plan:
# f+0xb clobber
#   changed    0x100b  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from f+0xb
#              0x100002  lea     -0xfeffc(%rip), %rcx  # f+0xd
#              0x100009  cmp     $0xfffffffffffff000, %rax  # from f+0xd
#              0x10000f  jmp     0x1013  # f+0x13
