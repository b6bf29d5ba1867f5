# A computed jump may land on any byte of no-ops that are executed.
# tactics: live-stone
    fn f
    lea 1f(%rip), %rdx
    sub %rdi, %rdx
    jmp *%rdx
    .rept 3
    nop
    .endr
2:  mov $39, %eax
    syscall
    .rept 12
    nop
    .endr
1:  cmp $-4096, %rax
    ret
    end f
# plan:
# f+0x14 refused (live-stone: no padding within reach)
