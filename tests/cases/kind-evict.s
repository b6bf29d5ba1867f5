# An unrelated run moves out and leaves room for a stone.
# tactics: evict
# kinds: rdtscp
    fn f
    xor %eax, %eax
    mov $1, %esi
    mov $2, %edi
    test %eax, %eax
    jnz 1f
1:  rdtscp
    endbr64
    ret
    end f
# plan:
# f+0x10 evict
#   changed    0x1005  jmp     0x100020  # to the trampoline
#              0x1010  jmp     0x1005  # to the next stone
#   trampoline 0x100020  rdtscp  # from f+0x10
#              0x100023  jmp     0x1013  # f+0x13
