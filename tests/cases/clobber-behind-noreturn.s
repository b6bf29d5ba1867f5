# Behind a call that does not return a function begins that jumps to where it was told to: no label of `f`.
# tactics: clobber
    fn f
    mov %edi, %eax
    syscall
    cmp $-4096, %rax
    jne 1f
    ret
1:  call g
    jmp *%rdi
    end f
    fn g
    hlt
    end g
# plan:
# f+0x2 clobber
#   changed    0x1002  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from f+0x2
#              0x100002  lea     -0xff005(%rip), %rcx  # f+0x4
#              0x100009  cmp     $0xfffffffffffff000, %rax  # from f+0x4
#              0x10000f  jmp     0x100a  # f+0xa
