# The instruction before holds the jump; no register of the program's is lost.
# tactics: before
# kinds: cpuid
    fn f
    mov $0x80000000, %eax
    cpuid
    ret
    end f
# plan:
# f+0x5 before
#   changed    0x1000  jmp     0x100000  # to the trampoline
#   trampoline 0x100000  mov     $0x80000000, %eax  # from f
#              0x100005  cpuid  # from f+0x5
#              0x100007  jmp     0x1007  # f+0x7
