# A short branch into the moved bytes must follow: it becomes an instruction to be moved itself.
# tactics: clobber
    fn f
    mov %edi, %eax
    test %edi, %edi
    jz 2f
    endbr64
    syscall
2:  cmp $-4096, %rax
    ja 1f
    ret
1:  xor %eax, %eax
    ret
    end f
# plan:
# f+0xa clobber
#   changed    0x100a  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from f+0xa
#              0x100002  lea     -0xfeffd(%rip), %rcx  # f+0xc
#              0x100009  cmp     $0xfffffffffffff000, %rax  # from f+0xc
#              0x10000f  jmp     0x1012  # f+0x12
