# A function begins inside the window: somebody we do not see may call it.
# tactics: clobber
    .type f, @function
    .type g, @function
    .globl f, g
f:  xor %edx, %edx
    jz 1f
g:  mov %edi, %eax
1:  syscall
    endbr64
    ret
# plan:
# g+0x2 refused (clobber: g+0x4 cannot run elsewhere)
