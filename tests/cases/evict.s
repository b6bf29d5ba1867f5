# No pad, and an endbr64 right behind: an unrelated run moves out and leaves room for a stone.
# tactics: evict
    fn f
    xor %eax, %eax
    mov $1, %esi
    mov $2, %edx
    test %eax, %eax
    jnz 1f
1:  syscall
    endbr64
    ret
    end f
