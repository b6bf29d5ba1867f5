# `endbr64` says that somebody arrives through a pointer.
# tactics: clobber
    fn f
    syscall
    endbr64
    ret
    end f
# plan:
# f refused (clobber: f+0x2 cannot run elsewhere)
