# The two bytes inside another instruction, and in data between functions.
    fn f
    mov $0x050f, %eax
    movabs $0x050f050f050f050f, %rax
    ret
    end f
