# No-ops behind a jump look dead, and may be the empty one of the places that a computed jump chooses from.
# tactics: stone
    fn f
    lea 1f(%rip), %rdx
    shl $4, %rdi
    add %rdi, %rdx
    jmp *%rdx
    .p2align 4
1:  mov $1, %eax
    syscall
    jmp 2f
    .p2align 4, 0x90
    .nops 16
    mov $2, %eax
2:  ret
    end f
# plan:
# f+0x15 refused (stone: no padding within reach)
