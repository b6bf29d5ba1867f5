# A short branch into the moved bytes moves too, which moves a third.
# tactics: clobber
    fn f
    test %edi, %edi
    jz 2f
    mov %edi, %eax
    syscall
2:  cmp $-4096, %rax
    ja 1f
    ret
1:  xor %eax, %eax
    jmp 2b
    end f
