# Somebody jumps to the second byte of the instruction, which reads as another one.
# tactics: stone,before,clobber
    fn f
    test %edi, %edi
    js 1f + 1
1:  syscall
    mov $5, %eax
    ret
    .skip 16, 0xcc
    end f
# plan:
# f+0x4 refused (direct: f+0x2 jumps to f+0x5; stone: f+0x2 jumps to f+0x5; before: f+0x2 jumps to f+0x5; live-stone: f+0x2 jumps to f+0x5; clobber: f+0x2 jumps to f+0x5; evict: f+0x2 jumps to f+0x5)
