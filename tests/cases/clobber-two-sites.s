# Sites close to each other move together.
# tactics: clobber
    fn f
    syscall
    mov %edi, %eax
    syscall
    ret
    end f
