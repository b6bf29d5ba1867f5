# The first word of a place that a computed jump goes to can read as an entry of a table: mov $1,%eax does.
# tactics: clobber
    fn f
    lea 1f(%rip), %rdx
    shl $4, %rdi
    add %rdi, %rdx
    jmp *%rdx
    .p2align 4
1:  mov $1, %eax
    jmp 2f
    .p2align 4
    mov %esi, %eax
    syscall
    .nops 2
    jmp 2f
    .p2align 4
    syscall
    xor %edx, %edx
    inc %edx
2:  ret
    .rept 200
    mov %rdi, %rsi
    .endr
    ret
    end f
# plan:
# f+0x22 refused (clobber: nobody knows where f jumps)
# f+0x30 refused (clobber: nobody knows where f jumps)
