# No-ops behind the site hold the rest of a near jump.
# tactics: direct
    fn f
    mov $39, %eax
    syscall
    nopl 0(%rax)
    ret
    end f
