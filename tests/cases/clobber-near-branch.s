# A near branch into the moved bytes is retargeted.
# tactics: clobber
    fn f
    test %edi, %edi
    jz 3f
    mov %edi, %eax
1:  syscall
2:  cmp $-4096, %rax
    ret
    .fill 40, 4, 0x00c0c748
3:  jmp 2b
    end f
