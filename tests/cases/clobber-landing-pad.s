# An exception continues right behind the site: its landing pad is no branch that could follow.
# tactics: clobber
    .globl __gxx_personality_v0
    .type f, @function
f:
    .cfi_startproc
    .cfi_personality 0x9b, DW.ref.personality
    .cfi_lsda 0x1b, .Llsda
    endbr64
.Lcall:
    call g
    endbr64
    syscall
.Lpad:
    cmp $-4096, %rax
    ret
    .cfi_endproc
    .size f, . - f
g:  ret
    .section .gcc_except_table, "a"
    .balign 4
.Llsda:
    .byte 0xff, 0xff, 0x01
    .uleb128 .Lend - .Lbegin
.Lbegin:
    .uleb128 .Lcall - f
    .uleb128 5
    .uleb128 .Lpad - f
    .uleb128 0
.Lend:
    .data
    .balign 8
DW.ref.personality:
    .quad 0
# plan:
# f+0xd refused (clobber: f jumps to f+0xf)
