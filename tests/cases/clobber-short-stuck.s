# A short branch into the moved bytes that cannot follow: nothing of the window may move.
# tactics: clobber
    fn f
    endbr64
    jz 2f
    endbr64
    syscall
2:  cmp $-4096, %rax
    ret
    end f
# plan:
# f+0xa refused (clobber: f+0x6 cannot run elsewhere)
