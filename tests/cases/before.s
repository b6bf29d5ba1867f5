# The 5-byte instruction before the site becomes the jump; the site's own bytes stay.
# tactics: before
    fn f
    mov $39, %eax
    syscall
    ret
    end f
# plan:
# f+0x5 before
#   changed    0x1000  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  mov     $0x27, %eax  # from f
#              0x100005  syscall  # from f+0x5
#              0x100007  lea     -0xff007(%rip), %rcx  # f+0x7
#              0x10000e  jmp     0x1007  # f+0x7
