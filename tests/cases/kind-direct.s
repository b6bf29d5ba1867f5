# Longer instructions need less padding behind them for a near jump, or none.
# tactics: direct
# kinds: rdtscp,rdrand
    fn f
    rdtscp
    nop
    nop
    xor %edx, %edx
    rdrand %r8w
    ret
    end f
# plan:
# f direct
#   changed    0x1000  jmp     0x100000  # to the trampoline
#              0x1007  jmp     0x100010  # to the trampoline
#   trampoline 0x100000  rdtscp  # from f
#              0x100003  jmp     0x1005  # f+0x5
# f+0x7 direct
#   changed    0x1000  jmp     0x100000  # to the trampoline
#              0x1007  jmp     0x100010  # to the trampoline
#   trampoline 0x100010  rdrand  %r8w  # from f+0x7
#              0x100015  jmp     0x100c  # f+0xc
