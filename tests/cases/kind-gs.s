# What shows or sets gs is a site of its own; fences, whose opcode is the same, are not.
# tactics: stone,before
# kinds: rdgsbase,wrgsbase
    fn f
    rdgsbase %eax
    wrgsbase %r11
    mfence
    stmxcsr -8(%rsp)
    rdfsbase %rdx
    wrfsbase %rdx
    rdgsbase %r8
    ret
    .skip 27, 0xcc
    end f
# plan:
# f stone
#   changed    0x1000  jmp     0x1021  # to the next stone
#              0x1004  jmp     0x1026  # to the next stone
#              0x1021  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  rdgsbase %eax  # from f
#              0x100004  jmp     0x100010  # to the copy of f+0x4
# f+0x4 stone
#   changed    0x1000  jmp     0x1021  # to the next stone
#              0x1004  jmp     0x1026  # to the next stone
#              0x1026  jmp     0x100010  # to the trampoline
#   trampoline 0x100010  wrgsbase %r11  # from f+0x4
#              0x100015  jmp     0x1009  # f+0x9
# f+0x1b stone
#   changed    0x101b  jmp     0x102b  # to the next stone
#              0x1021  jmp     0x100000  # to the trampoline
#              0x1026  jmp     0x100010  # to the trampoline
#              0x102b  jmp     0x100020  # to the trampoline
#   trampoline 0x100020  rdgsbase %r8  # from f+0x1b
#              0x100025  jmp     0x1020  # f+0x20
