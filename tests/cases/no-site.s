# The two bytes inside other instructions.
    fn f
    mov $0x050f, %eax
    movabs $0x050f050f050f050f, %rax
    ret
    end f
# plan:
# no site
