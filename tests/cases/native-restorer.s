# Unwinders and debuggers know a signal frame by these bytes.
    fn f
    mov $15, %rax
    syscall
    end f
# plan:
# f+0x7 native: no tables: unwinders know a signal frame by these bytes
