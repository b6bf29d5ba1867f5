# Somebody jumps to the no-op behind the site: it must stay where it is.
# tactics: direct
    fn f
    test %edi, %edi
    jz 1f
    mov $39, %eax
    syscall
1:  nopl 0(%rax)
    ret
    end f
# plan:
# f+0x9 refused (direct: f+0x2 jumps to f+0x9)
