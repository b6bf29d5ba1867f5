# No pad, and an endbr64 right behind: an unrelated run moves out and leaves room for a stone.
# tactics: evict
    fn f
    xor %eax, %eax
    mov $1, %esi
    mov $2, %edx
    test %eax, %eax
    jnz 1f
1:  syscall
    endbr64
    ret
    end f
# plan:
# f+0x10 evict
#   changed    0x1005  jmp     0x100020  # to the trampoline
#              0x1010  jmp     0x1005  # to the next stone
#   trampoline 0x100020  syscall  # from f+0x10
#              0x100022  lea     -0xff017(%rip), %rcx  # f+0x12
#              0x100029  jmp     0x1012  # f+0x12
