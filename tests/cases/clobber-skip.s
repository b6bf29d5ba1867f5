# A live pad that holds a stone ends where its skip leads: no jump may be laid over that place.
# kinds: syscall,rdtsc
# tactics: live-stone,clobber
    fn f
    test %edi, %edi
    jz.d32 1f
    rdtsc
    nop %ax
    xor %eax, %eax
    inc %ecx
    movdqu 0x40(%rsp), %xmm7
    .byte 0x0f, 0x1f, 0x40, 0x00
    .byte 0x0f, 0x1f, 0x00
    xchg %ax, %ax
1:  syscall
    ret
    end f
# plan:
# f+0x8 live-stone
#   changed    0x1008  jmp     0x101a  # to the next stone
#              0x1018  jmp     0x1021  # over what follows
#              0x101a  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  rdtsc  # from f+0x8
#              0x100002  jmp     0x100a  # f+0xa
# f+0x21 refused (live-stone: no padding within reach; clobber: the function ends too soon)
