# Somebody jumps over the prefix of a longer instruction: its bytes must stay.
# kinds: rdrand
    fn f
    test %edi, %edi
    jz 1f + 1
1:  rdrand %rax
    ret
    .skip 16, 0xcc
    end f
# plan:
# f+0x4 refused (direct: f+0x2 jumps to f+0x5; stone: f+0x2 jumps to f+0x5; before: f+0x2 jumps to f+0x5; live-stone: f+0x2 jumps to f+0x5; clobber: f+0x2 jumps to f+0x5; evict: f+0x2 jumps to f+0x5)
