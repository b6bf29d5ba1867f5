# A branch into the padding divides it: each part must be a no-op of its own.
# tactics: live-stone
    fn f
    test %edi, %edi
    jz 1f
    mov $39, %eax
    syscall
    .nops 7
1:  .nops 6
    cmp $-4096, %rax
    ret
    end f
# plan:
# f+0x9 live-stone
#   changed    0x1009  jmp     0x100d  # to the next stone
#              0x100b  jmp     0x1012  # over what follows
#              0x100d  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from f+0x9
#              0x100002  lea     -0xfeffe(%rip), %rcx  # f+0xb
#              0x100009  jmp     0x100b  # f+0xb
