# Go's function table as each layout has it, by hand: LAYOUT is 2, 16, 18 or 20; NO_TEXT leaves the start of
# the text out, as newer linkers do.
        .text
text:   .balign 16
        .globl  one
one:    mov     $39, %eax
        syscall
        ret
        .balign 16, 0xcc
two:    syscall
        ret
end:
        .section .gopclntab, "a", @progbits
        .balign 32
table:
        .if LAYOUT == 2
        .long   0xfffffffb, 0x08010000
        .quad   2
        .quad   one, record_one - table, two, record_two - table, end
record_one:
        .quad   one
        .long   name_one - table
record_two:
        .quad   two
        .long   name_two - table
        .set    names, table
        .elseif LAYOUT == 16
        .long   0xfffffffa, 0x08010000
        .quad   2, 0, names - table, 0, 0, 0, functions - table
functions:
        .quad   one, record_one - functions, two, record_two - functions, end
record_one:
        .quad   one
        .long   name_one - names
record_two:
        .quad   two
        .long   name_two - names
names:
        .else
        .if LAYOUT == 18
        .long   0xfffffff0, 0x08010000
        .else
        .long   0xfffffff1, 0x08010000
        .endif
        .quad   2, 0
        .ifdef NO_TEXT
        .quad   0
        .else
        .quad   text
        .endif
        .quad   names - table, 0, 0, 0, functions - table
functions:
        .long   one - text, record_one - functions, two - text, record_two - functions, end - text
record_one:
        .long   one - text, name_one - names
record_two:
        .long   two - text, name_two - names
names:
        .endif
name_one:
        .asciz  "main.one"
name_two:
        .asciz  "main.two"
        .section .note.GNU-stack, "", @progbits
