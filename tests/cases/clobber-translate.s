# Everything that depends on its position is translated: a short jcc, jrcxz, a RIP-relative operand.
# tactics: clobber
    fn f
    syscall
    jrcxz 1f
    js 1f
    ret
1:  ret
    end f
    fn g
    syscall
    mov 2f(%rip), %rax
    ret
    end g
    fn h
    syscall
    jmp 1b
    end h
    fn i
    syscall
    loop 1b
    dec %ecx
    ret
    end i
2:  .quad 0
# plan:
# f clobber
#   changed    0x1000  jmp     0x100000  # to the trampoline
#              0x1008  jmp     0x100020  # to the trampoline
#   trampoline 0x100000  syscall  # from f
#              0x100002  lea     -0xff007(%rip), %rcx  # f+0x2
#              0x100009  jrcxz   0x10000d  # from f+0x2
#              0x10000b  jmp     0x100012  # to the copy of f+0x4
#              0x10000d  jmp     0x1007  # f+0x7
#              0x100012  js      0x1007  # from f+0x4
#              0x100018  jmp     0x1006  # f+0x6
# g clobber
#   changed    0x1000  jmp     0x100000  # to the trampoline
#              0x1008  jmp     0x100020  # to the trampoline
#              0x1016  jmp     0x100040  # to the trampoline
#   trampoline 0x100020  syscall  # from g
#              0x100022  lea     -0xff01f(%rip), %rcx  # g+0x2
#              0x100029  mov     -0xff013(%rip), %rax  # from g+0x2
#              0x100030  jmp     0x1011  # g+0x9
# h refused (clobber: the function ends too soon)
# i clobber
#   changed    0x1016  jmp     0x100040  # to the trampoline
#   trampoline 0x100040  syscall  # from i
#              0x100042  lea     -0xff031(%rip), %rcx  # i+0x2
#              0x100049  loop    0x10004d  # from i+0x2
#              0x10004b  jmp     0x100052  # to the copy of i+0x4
#              0x10004d  jmp     0x1007  # f+0x7
#              0x100052  dec     %ecx  # from i+0x4
#              0x100054  jmp     0x101c  # i+0x6
