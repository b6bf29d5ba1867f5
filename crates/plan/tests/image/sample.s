# One of everything an image is asked about. Labels that a test looks up are not local, so that nm lists them.
        .text
        .globl  with_fde
        .type   with_fde, @function
with_fde:
        .cfi_startproc
        mov     $39, %eax
        syscall
        ret
        .cfi_endproc
        .size   with_fde, . - with_fde

        .balign 64
        .globl  without_fde
        .type   without_fde, @function
without_fde:
        mov     $39, %eax
        syscall
        ret
        .size   without_fde, . - without_fde

        .balign 64
        .globl  without_size
        .type   without_size, @function
without_size:
        ret

        .balign 64
        .type   split, @function
split:  .cfi_startproc
        .cfi_personality 0x1b, interrupted
        .cfi_lsda 0x1b, split_table
        call    interrupted
split_called:
        ret
        .cfi_endproc
        .size   split, . - split

        .balign 16
        .type   split.cold, @function
split.cold:
        .cfi_startproc
        .cfi_personality 0x1b, interrupted
        .cfi_lsda 0x1b, cold_table
        nop
pad_of_split:
        call    interrupted
cold_called:
        ret
pad_of_cold:
        ud2
        .cfi_endproc
        .size   split.cold, . - split.cold

        .balign 16
        .cfi_startproc          # an empty function in the same place
        .cfi_endproc
        .type   interrupted, @function
interrupted:
        .cfi_startproc
critical:
        nop
        nop
        movq    $1, (%rdi)
committed:
        ret
        .long   0x53053053
abort:  jmp     interrupted
        .cfi_endproc
        .size   interrupted, . - interrupted

        .section .gcc_except_table, "a", @progbits
split_table:                    # counts landing pads from the other part
        .byte   0x1b
        .long   split.cold - .
        .byte   0xff, 0x01
        .uleb128 split_sites_end - split_sites
split_sites:
        .uleb128 0
        .uleb128 split_called - split
        .uleb128 pad_of_split - split.cold
        .uleb128 0
split_sites_end:
cold_table:
        .byte   0x1b
        .long   split.cold - .
        .byte   0xff, 0x01
        .uleb128 cold_sites_end - cold_sites
cold_sites:
        .uleb128 pad_of_split - split.cold
        .uleb128 cold_called - pad_of_split
        .uleb128 pad_of_cold - split.cold
        .uleb128 0
        .uleb128 cold_called - split.cold
        .uleb128 1
        .uleb128 0
        .uleb128 0
cold_sites_end:

        .section __rseq_cs, "aw", @progbits
        .balign 32
        .long   0, 0
        .quad   critical, committed - critical, abort

        .data
        .balign 8
table:  .quad   with_fde, without_fde + 5
far:    .quad   table

        .ifdef  TEXT_WORD
        .section .text.word, "ax", @progbits
        .balign 16
        .quad   0
word_in_text:
        .quad   table
        .endif
        .section .note.GNU-stack, "", @progbits
