# No-ops behind the site hold the rest of a near jump.
# tactics: direct
    fn f
    mov $39, %eax
    syscall
    nopl 0(%rax)
    ret
    end f
# plan:
# f+0x5 direct
#   changed    0x1005  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from f+0x5
#              0x100002  lea     -0xff002(%rip), %rcx  # f+0x7
#              0x100009  jmp     0x100a  # f+0xa
