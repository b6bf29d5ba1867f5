# A short branch between two instructions that move together goes from copy to copy.
# tactics: clobber
    fn f
    endbr64
    syscall
    js 1f
    inc %edx
1:  dec %ecx
    ret
    end f
# plan:
# f+0x4 clobber
#   changed    0x1004  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from f+0x4
#              0x100002  lea     -0xff003(%rip), %rcx  # f+0x6
#              0x100009  js      0x100a  # from f+0x6
#              0x10000f  inc     %edx  # from f+0x8
#              0x100011  jmp     0x100a  # f+0xa
