# An indirect jump that may go anywhere in the function.
# tactics: clobber
    fn f
    mov %edi, %eax
    syscall
    cmp $-4096, %rax
    ja 1f
    ret
1:  jmp *%rax
    end f
# plan:
# f+0x2 refused (clobber: nobody knows where f+0xd jumps)
