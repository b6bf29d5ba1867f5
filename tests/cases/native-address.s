# The address behind the site is taken, and no function begins there: code decides by it.
    fn f
    mov %edi, %eax
    syscall
1:  ret
    end f
    fn g
    lea 1b(%rip), %rax
    ret
    end g
# plan:
# f+0x2 native: the address after it is taken at g+0x1
