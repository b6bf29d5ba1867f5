# The stone stands in padding that is executed.
# tactics: live-stone
# kinds: rdseed
    fn f
    rdseed %rdx
    .nops 9
    ret
    end f
# plan:
# f live-stone
#   changed    0x1000  jmp     0x1006  # to the next stone
#              0x1004  jmp     0x100d  # over what follows
#              0x1006  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  rdseed  %rdx  # from f
#              0x100004  jmp     0x1004  # f+0x4
