# A near branch into the moved bytes is retargeted.
# tactics: clobber
    fn f
    test %edi, %edi
    jz 3f
    mov %edi, %eax
    endbr64
    syscall
2:  cmp $-4096, %rax
    ret
    .fill 32, 5, 0x27b8
3:  jmp 2b
    end f
# plan:
# f+0xe clobber
#   changed    0x100e  jmp     0x100000  # to the trampoline
#              0x10b7  jmp     0x100009  # to the copy of f+0x10 (was jmp     0x1010)
#   trampoline 0x100000  syscall  # from f+0xe
#              0x100002  lea     -0xfeff9(%rip), %rcx  # f+0x10
#              0x100009  cmp     $0xfffffffffffff000, %rax  # from f+0x10
#              0x10000f  jmp     0x1016  # f+0x16
