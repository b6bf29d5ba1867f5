# Of a longer instruction only two bytes change: nobody arrives in the others.
# tactics: stone
# kinds: rdtsc,rdtscp,cpuid,xgetbv,rdrand,rdseed
    fn f
    rdtsc
    xor %ecx, %ecx
    xgetbv
    xor %eax, %eax
    ret
    .skip 11, 0xcc
    end f
    fn g
    cpuid
    rdrand %rax
    jc 1f
    rdseed %r9d
1:  rdtscp
    ret
    .skip 27, 0xcc
    end g
# plan:
# f stone
#   changed    0x1000  jmp     0x100a  # to the next stone
#              0x1004  jmp     0x100f  # to the next stone
#              0x100a  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  rdtsc  # from f
#              0x100002  jmp     0x1002  # f+0x2
# f+0x4 stone
#   changed    0x1000  jmp     0x100a  # to the next stone
#              0x1004  jmp     0x100f  # to the next stone
#              0x100a  jmp     0x100000  # to the trampoline
#              0x100f  jmp     0x100010  # to the trampoline
#   trampoline 0x100010  xgetbv  # from f+0x4
#              0x100013  jmp     0x1007  # f+0x7
# g stone
#   changed    0x100f  jmp     0x100010  # to the trampoline
#              0x1015  jmp     0x1025  # to the next stone
#              0x1017  jmp     0x102a  # to the next stone
#              0x101d  jmp     0x102f  # to the next stone
#              0x1025  jmp     0x100020  # to the trampoline
#   trampoline 0x100020  cpuid  # from g
#              0x100022  jmp     0x100030  # to the copy of g+0x2
# g+0x2 stone
#   changed    0x100f  jmp     0x100010  # to the trampoline
#              0x1015  jmp     0x1025  # to the next stone
#              0x1017  jmp     0x102a  # to the next stone
#              0x101d  jmp     0x102f  # to the next stone
#              0x1021  jmp     0x1034  # to the next stone
#              0x102a  jmp     0x100030  # to the trampoline
#   trampoline 0x100030  rdrand  %rax  # from g+0x2
#              0x100034  jmp     0x101b  # g+0x6
# g+0x8 stone
#   changed    0x1015  jmp     0x1025  # to the next stone
#              0x1017  jmp     0x102a  # to the next stone
#              0x101d  jmp     0x102f  # to the next stone
#              0x1021  jmp     0x1034  # to the next stone
#              0x1025  jmp     0x100020  # to the trampoline
#              0x102f  jmp     0x100040  # to the trampoline
#   trampoline 0x100040  rdseed  %r9d  # from g+0x8
#              0x100044  jmp     0x100050  # to the copy of g+0xc
# g+0xc stone
#   changed    0x1017  jmp     0x102a  # to the next stone
#              0x101d  jmp     0x102f  # to the next stone
#              0x1021  jmp     0x1034  # to the next stone
#              0x1025  jmp     0x100020  # to the trampoline
#              0x102a  jmp     0x100030  # to the trampoline
#              0x1034  jmp     0x100050  # to the trampoline
#   trampoline 0x100050  rdtscp  # from g+0xc
#              0x100053  jmp     0x1024  # g+0xf
