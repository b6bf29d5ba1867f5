# A branch into the padding divides it: each part must be a no-op of its own.
# tactics: live-stone
    fn f
    test %edi, %edi
    jz 1f
    mov $39, %eax
    syscall
    nopl (%rax)
    nopl (%rax)
1:  nopw 0(%rax,%rax,1)
    cmp $-4096, %rax
    ret
    end f
