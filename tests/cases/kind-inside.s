# Somebody jumps into the last bytes of what reads as an instruction: they stay.
# kinds: rdtscp
    fn f
    test %edi, %edi
    jz 1f + 2
1:  rdtscp
    ret
    .skip 16, 0xcc
    end f
# plan:
# f+0x4 refused (direct: f+0x2 jumps to f+0x6; stone: f+0x2 jumps to f+0x6; before: f+0x2 jumps to f+0x6; live-stone: f+0x2 jumps to f+0x6; clobber: f+0x2 jumps to f+0x6; evict: f+0x2 jumps to f+0x6)
