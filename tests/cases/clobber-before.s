# Somebody arrives behind the site through a pointer, so what precedes it moves.
# tactics: clobber
    .data
    .quad 1f
    .text
    fn f
    xor %edx, %edx
    mov %edi, %eax
    syscall
    cmp $-4096, %rax
1:  ret
    end f
