use super::*;

const AT: Va = Va(0x1000);

/// The kind of the instruction that `bytes` are, all of them.
fn kind_of(bytes: &[u8]) -> Kind {
    let insn = decode(bytes, AT).unwrap_or_else(|| panic!("{bytes:x?} does not decode"));
    assert_eq!(
        (insn.at, usize::from(insn.len)),
        (AT, bytes.len()),
        "{bytes:x?}"
    );
    insn.kind
}

#[test]
fn no_ops_that_compilers_pad_with() {
    let padding: &[&[u8]] = &[
        &[0x90],
        &[0x66, 0x90],
        &[0x66, 0x66, 0x90],
        &[0x48, 0x90],
        &[0x0f, 0x1f, 0x00],
        &[0x0f, 0x1f, 0x40, 0x00],
        &[0x0f, 0x1f, 0x44, 0x00, 0x00],
        &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
        &[0x0f, 0x1f, 0x80, 0, 0, 0, 0],
        &[0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0],
        &[0x66, 0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0],
        &[0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0],
        &[0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0],
        &[
            0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0,
        ],
        &[0x48, 0x0f, 0x1f, 0xc0],
        &[0x0f, 0x1f, 0x05, 0, 0, 0, 0],
    ];
    for bytes in padding {
        assert_eq!(kind_of(bytes), Kind::Nop, "{bytes:x?}");
    }
}

#[test]
fn what_looks_like_a_no_op_and_is_none() {
    assert_eq!(kind_of(&[0xf3, 0x90]), Kind::Plain, "pause");
    assert_eq!(kind_of(&[0x41, 0x90]), Kind::Plain, "xchg %r8,%rax");
    assert_eq!(
        kind_of(&[0x87, 0xc0]),
        Kind::Plain,
        "xchg %eax,%eax clears the high half"
    );
    assert_eq!(
        kind_of(&[0xf3, 0x48, 0x0f, 0x1e, 0xc8]),
        Kind::Plain,
        "rdsspq %rax"
    );
    assert_eq!(
        kind_of(&[0x0f, 0x18, 0x08]),
        Kind::Plain,
        "prefetcht0 (%rax)"
    );
    assert_eq!(kind_of(&[0xf3, 0x0f, 0x1e, 0xfb]), Kind::Plain, "endbr32");
    assert_eq!(kind_of(&[0xf3, 0x0f, 0x1e, 0xfa]), Kind::Endbr);
}

#[test]
fn system_calls() {
    assert_eq!(kind_of(&[0x0f, 0x05]), Kind::Syscall);
    assert_eq!(
        kind_of(&[0x48, 0x0f, 0x05]),
        Kind::Interrupt,
        "with a prefix it is three bytes"
    );
    assert_eq!(kind_of(&[0x0f, 0x34]), Kind::Interrupt, "sysenter");
    assert_eq!(kind_of(&[0xcd, 0x80]), Kind::Interrupt);
    assert_eq!(
        kind_of(&[0xcd, 0x03]),
        Kind::Interrupt,
        "int $3 in two bytes"
    );
    assert_eq!(kind_of(&[0xf1]), Kind::Interrupt, "int1");
    assert_eq!(kind_of(&[0xcc]), Kind::Int3);
}

#[test]
fn direct_branches() {
    let target = Va(0x1012);
    assert_eq!(
        kind_of(&[0xeb, 0x10]),
        Kind::Jmp {
            target,
            disp_len: 1
        }
    );
    assert_eq!(
        kind_of(&[0xeb, 0xfe]),
        Kind::Jmp {
            target: AT,
            disp_len: 1
        }
    );
    assert_eq!(
        kind_of(&[0xe9, 0x0d, 0, 0, 0]),
        Kind::Jmp {
            target,
            disp_len: 4
        }
    );
    assert_eq!(
        kind_of(&[0xf2, 0xe9, 0x0c, 0, 0, 0]),
        Kind::Jmp {
            target,
            disp_len: 4
        },
        "bnd jmp"
    );
    assert_eq!(
        kind_of(&[0x74, 0x10]),
        Kind::Jcc {
            target,
            disp_len: 1,
            cond: 4
        }
    );
    assert_eq!(
        kind_of(&[0x3e, 0x7f, 0x0f]),
        Kind::Jcc {
            target,
            disp_len: 1,
            cond: 15
        },
        "with a hint"
    );
    assert_eq!(
        kind_of(&[0x0f, 0x87, 0x0c, 0, 0, 0]),
        Kind::Jcc {
            target,
            disp_len: 4,
            cond: 7
        }
    );
    assert_eq!(
        kind_of(&[0x2e, 0x0f, 0x82, 0x0b, 0, 0, 0]),
        Kind::Jcc {
            target,
            disp_len: 4,
            cond: 2
        }
    );
    assert_eq!(kind_of(&[0xe8, 0x0d, 0, 0, 0]), Kind::Call { target });
    assert_eq!(
        kind_of(&[0x67, 0xe8, 0x0c, 0, 0, 0]),
        Kind::Call { target },
        "addr32 call, by linkers"
    );
    assert_eq!(
        kind_of(&[0x66, 0x66, 0x48, 0xe8, 0x0a, 0, 0, 0]),
        Kind::Call { target },
        "to __tls_get_addr"
    );
    for opcode in [0xe0, 0xe1, 0xe2, 0xe3] {
        assert_eq!(kind_of(&[opcode, 0x10]), Kind::Loop { target });
    }
    assert_eq!(kind_of(&[0x67, 0xe3, 0x0f]), Kind::Loop { target }, "jecxz");
    assert_eq!(
        kind_of(&[0xc7, 0xf8, 0x0c, 0, 0, 0]),
        Kind::Xbegin { target }
    );
    assert_eq!(kind_of(&[0x0f, 0x01, 0xd5]), Kind::Plain, "xend");
    assert_eq!(kind_of(&[0xc6, 0xf8, 0x00]), Kind::Plain, "xabort");
}

#[test]
fn branches_that_processors_disagree_on() {
    let cut: &[&[u8]] = &[
        &[0x66, 0xeb, 0x10],
        &[0x66, 0xe9, 0, 0, 0, 0],
        &[0x66, 0xe8, 0, 0, 0, 0],
        &[0x66, 0x74, 0x10],
        &[0x66, 0x0f, 0x84, 0, 0, 0, 0],
        &[0x66, 0xe3, 0x10],
        &[0x48, 0x66, 0xe9, 0, 0, 0, 0],
        &[0x66, 0xc7, 0xf8, 0, 0],
    ];
    for bytes in cut {
        assert_eq!(kind_of(bytes), Kind::Interrupt, "{bytes:x?}");
    }
}

#[test]
fn indirect_branches() {
    let rip = Some((Va(0x1016), 2));
    assert_eq!(
        kind_of(&[0xff, 0x25, 0x10, 0, 0, 0]),
        Kind::JmpIndirect { rip, table: false }
    );
    assert_eq!(
        kind_of(&[0xff, 0x15, 0x10, 0, 0, 0]),
        Kind::CallIndirect { rip }
    );
    let rip = Some((Va(0x1017), 3));
    assert_eq!(
        kind_of(&[0xf2, 0xff, 0x25, 0x10, 0, 0, 0]),
        Kind::JmpIndirect { rip, table: false }
    );
    assert_eq!(
        kind_of(&[0xff, 0xe0]),
        Kind::JmpIndirect {
            rip: None,
            table: true
        }
    );
    assert_eq!(
        kind_of(&[0x3e, 0xff, 0xe2]),
        Kind::JmpIndirect {
            rip: None,
            table: true
        },
        "notrack"
    );
    assert_eq!(
        kind_of(&[0xff, 0x60, 0x10]),
        Kind::JmpIndirect {
            rip: None,
            table: false
        },
        "*0x10(%rax)"
    );
    assert_eq!(
        kind_of(&[0xff, 0x24, 0xc5, 0, 0, 0, 0]),
        Kind::JmpIndirect {
            rip: None,
            table: true
        }
    );
    assert_eq!(
        kind_of(&[0xff, 0x24, 0xc2]),
        Kind::JmpIndirect {
            rip: None,
            table: true
        },
        "*(%rdx,%rax,8)"
    );
    assert_eq!(kind_of(&[0xff, 0xd0]), Kind::CallIndirect { rip: None });
    assert_eq!(
        kind_of(&[0x67, 0xff, 0x25, 0x10, 0, 0, 0]),
        Kind::Interrupt,
        "jmp *disp(%eip)"
    );
    assert_eq!(
        kind_of(&[0x67, 0xff, 0x15, 0x10, 0, 0, 0]),
        Kind::Interrupt,
        "call *disp(%eip)"
    );
    assert_eq!(
        kind_of(&[0xff, 0x18]),
        Kind::Interrupt,
        "a far call pushes its own address"
    );
}

#[test]
fn operands_relative_to_the_instruction() {
    let relative = |target, disp_at, lea| Kind::RipRelative {
        target: Va(target),
        disp_at,
        lea,
    };
    assert_eq!(
        kind_of(&[0x48, 0x8d, 0x05, 0x10, 0, 0, 0]),
        relative(0x1017, 3, true)
    );
    assert_eq!(
        kind_of(&[0x8d, 0x05, 0x10, 0, 0, 0]),
        relative(0x1016, 2, true)
    );
    assert_eq!(
        kind_of(&[0x48, 0x8b, 0x05, 0xf9, 0xff, 0xff, 0xff]),
        relative(0x1000, 3, false)
    );
    assert_eq!(
        kind_of(&[0x83, 0x3d, 0x10, 0, 0, 0, 0x01]),
        relative(0x1017, 2, false),
        "cmpl $1,m"
    );
    assert_eq!(
        kind_of(&[0x48, 0xc7, 0x05, 0x10, 0, 0, 0, 1, 2, 3, 4]),
        relative(0x101b, 3, false)
    );
    assert_eq!(
        kind_of(&[0x66, 0x0f, 0x6f, 0x05, 0x10, 0, 0, 0]),
        relative(0x1018, 4, false),
        "movdqa"
    );
    assert_eq!(
        kind_of(&[0xc5, 0xf9, 0x6f, 0x05, 0x10, 0, 0, 0]),
        relative(0x1018, 4, false),
        "vmovdqa"
    );
    assert_eq!(
        kind_of(&[0xc4, 0xe2, 0x7d, 0x58, 0x05, 0x10, 0, 0, 0]),
        relative(0x1019, 5, false),
        "vpbroadcastd"
    );
    assert_eq!(
        kind_of(&[0x62, 0xf1, 0x7c, 0x48, 0x28, 0x05, 0x10, 0, 0, 0]),
        relative(0x101a, 6, false),
        "EVEX"
    );
    assert_eq!(
        kind_of(&[0x67, 0x8b, 0x05, 0, 0, 0, 0]),
        Kind::Interrupt,
        "mov disp(%eip)"
    );
    assert_eq!(
        kind_of(&[0x8b, 0x04, 0x25, 0, 0, 0, 0]),
        Kind::Plain,
        "an absolute address"
    );
}

#[test]
fn where_control_ends() {
    let leaves: &[&[u8]] = &[
        &[0xc3],
        &[0xf3, 0xc3],
        &[0xc2, 8, 0],
        &[0xcb],
        &[0x48, 0xcf],
        &[0x48, 0x0f, 0x07],
    ];
    for bytes in leaves {
        assert_eq!(kind_of(bytes), Kind::Ret, "{bytes:x?}");
    }
    let stops: &[&[u8]] = &[
        &[0x0f, 0x0b],
        &[0x0f, 0xb9, 0xc0],
        &[0x0f, 0xff, 0xc0],
        &[0xf4],
    ];
    for bytes in stops {
        assert_eq!(kind_of(bytes), Kind::Stop, "{bytes:x?}");
    }
}

#[test]
fn bytes_that_are_no_instruction() {
    assert_eq!(decode(&[], AT), None);
    assert_eq!(decode(&[0x06], AT), None, "push %es is gone in 64-bit mode");
    assert_eq!(decode(&[0xe8, 0, 0], AT), None, "cut off");
    assert_eq!(decode(&[0x66; 16], AT), None, "too long");
    assert_eq!(decode(&[0xf0, 0x90], AT), None, "lock nop");
}

#[test]
fn a_reader_decodes_anywhere_and_knows_the_end() {
    let mut reader = Reader::new(&[0x90, 0x0f, 0x05, 0xe8, 0, 0], AT);
    assert_eq!(
        reader.next_at(1),
        Some(Insn {
            at: AT + 1,
            len: 2,
            kind: Kind::Syscall
        })
    );
    assert_eq!(
        reader.next_at(0),
        Some(Insn {
            at: AT,
            len: 1,
            kind: Kind::Nop
        })
    );
    assert_eq!((reader.len_at(3), reader.is_cut_off()), (None, true));
    assert_eq!((reader.len_at(6), reader.is_cut_off()), (None, true));
    assert_eq!(reader.len_at(7), None);
}
