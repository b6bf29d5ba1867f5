# A tracer may have the kernel write a breakpoint over a probe, whatever stands there.
# tactics: clobber
    fn f
    mov %edi, %eax
    syscall
1:  nop
    cmp $-4096, %rax
    ret
    end f
    .section .note.stapsdt, "", "note"
    .balign 4
    .long 8, 3f - 2f, 3
    .asciz "stapsdt"
2:  .quad 1b, 0, 0
    .asciz "provider"
    .asciz "name"
    .asciz ""
3:  .balign 4
# plan:
# f+0x2 refused (clobber: f+0x4 may not change)
