# Bytes that read as the old ways into the kernel, and make no call: nothing says which.
# kinds: int80,sysenter
    fn f
    mov %edi, %eax
    int $0x80
    sysenter
    ret
    .skip 16, 0xcc
    end f
# plan:
# no site
