# Dead padding behind `ret` holds the near jump; two bytes of live code change.
# tactics: stone
    fn f
    mov $39, %eax
    syscall
    ret
    end f
    .p2align 4
    fn g
    ret
    end g
