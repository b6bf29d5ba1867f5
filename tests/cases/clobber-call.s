# A call may move only as the last of its window: it comes back to the image.
# tactics: clobber
    fn f
    syscall
    call g
    ret
    end f
    fn g
    ret
    end g
# plan:
# f clobber
#   changed    0x1000  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from f
#              0x100002  lea     -0xff007(%rip), %rcx  # f+0x2
#              0x100009  push    $0x1007  # from f+0x2
#              0x10000e  movl    $0, 4(%rsp)
#              0x100016  jmp     0x1008  # g
