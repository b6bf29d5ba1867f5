# A handler of SIGILL may skip a ud2: padding behind it is dead only where a function starts.
# tactics: stone
    fn skipped
    mov %rsi, %rdi
    syscall
    test %eax, %eax
    jns 1f
    ud2
    .byte 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0
    .byte 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0
1:  ret
    end skipped
    .skip 200, 0xf4
    fn last
    mov %rsi, %rdi
    syscall
    test %eax, %eax
    jns 1f
    ud2
    end last
    .byte 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0
    fn next
    nop
1:  ret
    end next
# plan:
# skipped+0x3 refused (stone: no padding within reach)
# last+0x3 stone
#   changed    0x10e7  jmp     0x10ef  # to the next stone
#              0x10ef  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  syscall  # from last+0x3
#              0x100002  lea     -0xfef20(%rip), %rcx  # last+0x5
#              0x100009  jmp     0x10e9  # last+0x5
