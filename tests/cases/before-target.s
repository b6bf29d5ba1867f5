# A branch to the site itself would make a call that nobody sees.
# tactics: before
    fn f
    test %edi, %edi
    jz 1f
    mov $39, %eax
1:  syscall
    ret
    end f
# plan:
# f+0x9 refused (before: f+0x2 jumps to f+0x9)
