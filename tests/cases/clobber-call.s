# A call may move only as the last of its window: it comes back to the image.
# tactics: clobber
    fn f
    syscall
    call g
    ret
    end f
    fn g
    ret
    end g
