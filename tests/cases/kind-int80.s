# The old way into the kernel says by the number before it that it is meant as such.
# kinds: int80
    fn f
    push %rbx
    mov $20, %eax
    int $0x80
    pop %rbx
    ret
    .skip 16, 0xcc
    end f
# plan:
# f+0x6 stone
#   changed    0x1006  jmp     0x100a  # to the next stone
#              0x100a  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  int     $0x80  # from f+0x6
#              0x100002  jmp     0x1008  # f+0x8
