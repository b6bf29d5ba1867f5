//! Random functions with system calls in them, that end whatever they start from.
//!
//! Forward branches go anywhere, backward ones count down a word of memory; memory is touched
//! relative to RIP and in the red zone alone, the stack by pairs of push and pop.
//!
//! A [`Kind::Harmless`] program makes no other calls than those of [`plain::number`], from whatever state it starts: it needs
//! no filter. It meets faults, too, which a handler has to skip.

mod plain;

use arbitrary::{Result, Unstructured};
use iced_x86::Instruction;

use crate::synthetic::{TEXT, data_at};

/// Offset in the data of the word that backward branches count down.
pub const COUNTER: u64 = 0;

/// The code of an object and what is known about it.
#[derive(Clone, Debug)]
pub struct Program {
    /// Loaded at [`TEXT`].
    pub text: Vec<u8>,
    /// Offset and length of each function.
    pub functions: Vec<(usize, usize)>,
    /// Offset of the function to call.
    pub entry: usize,
    /// Offset of each site, a `syscall` or another kind.
    pub sites: Vec<usize>,
}

/// A branch that is encoded when its distance is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    /// `jcc`, with the low nibble of its opcode.
    Jcc(u8),
    Jmp,
    /// `loopne`, `loope`, `loop`, `jrcxz`, as opcodes.
    Counted(u8),
}

#[derive(Clone, Debug)]
enum Item {
    /// Position-independent bytes.
    Bytes(Vec<u8>),
    /// An instruction whose operand is this many bytes into the data.
    Data(Instruction),
    Branch {
        op: Op,
        near: bool,
        to: usize,
    },
    /// A call of the leaf with this index.
    Call(usize),
    Syscall,
    /// A site of another kind.
    Other(Vec<u8>),
}

/// Who may go to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Any,
    /// A branch behind the number of a call.
    WithNumber,
    Nobody,
}

/// An item, and which branches may go to it.
#[derive(Clone, Debug)]
struct Place {
    item: Item,
    target: Target,
}

/// What a program may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any call, with any arguments; nothing faults.
    Any,
    /// No call that has an effect, whatever it starts from; some instructions fault.
    Harmless,
}

/// Where a branch may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Forward,
    Back,
    /// Forward to a `syscall`.
    Site,
}

/// A function's items, in the making.
struct Body {
    kind: Kind,
    places: Vec<Place>,
    /// Branches whose targets are drawn when all items are there: index, and where to.
    open: Vec<(usize, To)>,
}

impl Body {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            places: Vec::new(),
            open: Vec::new(),
        }
    }

    fn put(&mut self, item: Item) {
        self.places.push(Place {
            item,
            target: Target::Any,
        });
    }

    /// Puts an item that nobody jumps to: it belongs to the one before.
    fn follow(&mut self, item: Item) {
        self.places.push(Place {
            item,
            target: Target::Nobody,
        });
    }

    fn branch(&mut self, op: Op, near: bool, to: To) {
        self.open.push((self.places.len(), to));
        let item = Item::Branch { op, near, to: 0 };
        self.places.push(Place {
            item,
            target: match to {
                To::Forward => Target::Any,
                To::Back | To::Site => Target::Nobody,
            },
        });
    }

    /// Draws the targets of all open branches.
    fn close(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        for (at, to) in std::mem::take(&mut self.open) {
            let reach = match to {
                To::Back => 0..at,
                To::Forward | To::Site => at + 1..self.places.len(),
            };
            let wanted = match to {
                To::Site => Target::WithNumber,
                To::Forward | To::Back => Target::Any,
            };
            let targets: Vec<usize> = reach.filter(|&i| self.places[i].target == wanted).collect();
            // Near ones are likelier: they are short, and they meet at the same places.
            let near: Vec<usize> = targets
                .iter()
                .copied()
                .filter(|i| i.abs_diff(at) < 8)
                .collect();
            let drawn = if !near.is_empty() && u.ratio(2, 3)? {
                near
            } else {
                targets
            };
            if let (Item::Branch { to, .. }, Some(&target)) =
                (&mut self.places[at].item, u.choose(&drawn).ok())
            {
                *to = target;
            } else {
                self.places[at].item = Item::Bytes(vec![0x90]);
            }
        }
        Ok(())
    }

    fn step(&mut self, u: &mut Unstructured<'_>, leaves: usize) -> Result<()> {
        match u.int_in_range(0..=31)? {
            0..=9 => self.put(Item::Bytes(plain::bytes(u)?)),
            10..=14 => self.put(Item::Data(plain::on_data(u)?)),
            15..=18 => self.branch(
                Op::Jcc(u.int_in_range(0..=15)?),
                u.ratio(1, 3)?,
                To::Forward,
            ),
            19 => self.branch(Op::Jmp, u.ratio(1, 3)?, To::Forward),
            20 => self.branch(
                Op::Counted(u.int_in_range(0xe0..=0xe3)?),
                false,
                To::Forward,
            ),
            21 => {
                self.put(Item::Data(plain::count_down()));
                self.branch(Op::Jcc(0xf), u.ratio(1, 3)?, To::Back); // jg
            }
            22 if leaves > 0 => self.put(Item::Call(u.int_in_range(0..=leaves - 1)?)),
            23 => {
                let (push, pop) = plain::push_pop(u)?;
                self.put(Item::Bytes(push));
                match u.int_in_range(0..=2)? {
                    0 => {
                        if self.kind == Kind::Harmless {
                            self.follow(Item::Bytes(plain::any_harmless_number()));
                        }
                        self.follow(Item::Syscall);
                    }
                    1 => self.follow(Item::Bytes(plain::bytes_off_stack(u)?)),
                    _ => {}
                }
                self.follow(Item::Bytes(pop));
            }
            24 => self.put(Item::Bytes(plain::nops(u)?)),
            25 => {
                // Dead padding behind a jump.
                self.branch(Op::Jmp, u.arbitrary()?, To::Forward);
                self.follow(Item::Bytes(plain::nops(u)?));
            }
            26 => {
                // A branch over the prefix of a locked instruction, as in libc.
                self.put(Item::Bytes(vec![0x70 | u.int_in_range(0..=15)?, 0x01]));
                self.follow(Item::Bytes(vec![0xf0]));
                self.follow(Item::Data(plain::lockable(u)?));
            }
            // What the processor says differs from run to run until it is wiped out, and a handler sees that.
            27 if self.kind == Kind::Harmless => {
                self.put(Item::Bytes(plain::faulting(u)?));
            }
            27 => self.ask_processor(u)?,
            _ => self.call_kernel(u)?,
        }
        Ok(())
    }

    /// A site of another kind, and what wipes out its results where they differ from run to run.
    fn ask_processor(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let (before, site, results) = plain::other_site(u)?;
        match before {
            Some(before) => {
                self.put(Item::Bytes(before));
                self.follow(Item::Other(site));
            }
            None => self.put(Item::Other(site)),
        }
        for wipe in results {
            self.follow(Item::Bytes(wipe));
        }
        Ok(())
    }

    /// A `syscall` as compilers surround it: its number before, a test of the result behind.
    fn call_kernel(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if self.kind == Kind::Harmless {
            return self.call_harmlessly(u);
        }
        if u.ratio(3, 4)? {
            self.put(Item::Bytes(plain::number(u)?));
            if u.ratio(1, 4)? {
                self.put(Item::Bytes(plain::bytes(u)?));
            }
        }
        self.put(Item::Syscall);
        self.look_at_result(u)
    }

    /// The same where nobody comes to the `syscall` without a number that does no harm.
    fn call_harmlessly(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let number = match u.int_in_range(0..=2)? {
            0 => plain::any_harmless_number(),
            _ => plain::number(u)?,
        };
        self.put(Item::Bytes(number));
        if u.ratio(1, 4)? {
            let op = *u.choose(&[Op::Jcc(4), Op::Jcc(9), Op::Jmp])?;
            self.branch(op, false, To::Site);
        }
        self.places.push(Place {
            item: Item::Syscall,
            target: Target::WithNumber,
        });
        self.look_at_result(u)
    }

    fn look_at_result(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        match u.int_in_range(0..=5)? {
            0 | 1 => {
                self.put(Item::Bytes(vec![0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff])); // cmp $-4096,%rax
                self.branch(Op::Jcc(7), u.arbitrary()?, To::Forward); // ja
            }
            2 => {
                self.put(Item::Bytes(vec![0x85, 0xc0])); // test %eax,%eax
                self.branch(Op::Jcc(u.int_in_range(4..=5)?), u.arbitrary()?, To::Forward);
            }
            3 if self.kind == Kind::Harmless => {
                self.follow(Item::Bytes(plain::any_harmless_number()));
                self.follow(Item::Syscall);
            }
            3 => self.put(Item::Syscall),
            _ => {}
        }
        Ok(())
    }
}

/// Draws a program.
pub fn program(u: &mut Unstructured<'_>, kind: Kind) -> Result<Program> {
    let leaves = u.int_in_range(0..=2)?;
    let mut bodies = Vec::new();
    for _ in 0..leaves {
        let mut leaf = Body::new(kind);
        // mov (%rsp),%rax: the return address is the program's own
        leaf.put(Item::Bytes(vec![0x48, 0x8b, 0x04, 0x24]));
        for _ in 0..u.int_in_range(0..=6)? {
            leaf.step(u, 0)?;
        }
        bodies.push(leaf);
    }
    let mut main = Body::new(kind);
    for _ in 0..u.int_in_range(1..=30)? {
        main.step(u, leaves)?;
    }
    main.call_kernel(u)?;
    for _ in 0..u.int_in_range(0..=12)? {
        main.step(u, leaves)?;
    }
    let before = u.int_in_range(0..=leaves)?;
    bodies.insert(before, main);
    for body in &mut bodies {
        body.put(Item::Bytes(vec![0xc3])); // ret
        body.close(u)?;
    }
    let fill = *u.choose(&[0x90, 0xcc])?;
    let gap = u.int_in_range(0..=24)?;
    Ok(assemble(&bodies, before, fill, gap))
}

/// Lays out and encodes all functions; short branches that do not reach become near ones.
fn assemble(bodies: &[Body], main: usize, fill: u8, gap: usize) -> Program {
    let mut near: Vec<Vec<bool>> = bodies
        .iter()
        .map(|b| {
            let long = |p: &Place| matches!(p.item, Item::Branch { near: true, .. });
            b.places.iter().map(long).collect()
        })
        .collect();
    loop {
        let (offsets, len) = layout(bodies, &near, gap);
        let far = bodies.iter().enumerate().find_map(|(b, body)| {
            body.places.iter().enumerate().find_map(|(i, place)| {
                let Item::Branch { op, to, .. } = place.item else {
                    return None;
                };
                let end = offsets[b][i] + branch_len(op, near[b][i]);
                let distance = offsets[b][to] as i64 - end as i64;
                let short = i8::try_from(distance).is_ok() || near[b][i];
                (!short).then_some((b, i))
            })
        });
        let Some((b, i)) = far else {
            return encode(bodies, &near, &offsets, len, main, fill);
        };
        near[b][i] = true;
    }
}

fn branch_len(op: Op, near: bool) -> usize {
    match (op, near) {
        (Op::Jcc(_) | Op::Jmp, false) | (Op::Counted(_), _) => 2,
        (Op::Jmp, true) => 5,
        (Op::Jcc(_), true) => 6,
    }
}

fn layout(bodies: &[Body], near: &[Vec<bool>], gap: usize) -> (Vec<Vec<usize>>, usize) {
    let mut at = gap;
    let mut offsets = Vec::new();
    for (body, near) in bodies.iter().zip(near) {
        at = at.next_multiple_of(16);
        let mut of_body = Vec::new();
        for (place, &near) in body.places.iter().zip(near) {
            of_body.push(at);
            at += match &place.item {
                Item::Bytes(bytes) => bytes.len(),
                Item::Data(instruction) => plain::encode(instruction, 0, TEXT).len(),
                // One that a short displacement cannot hold any more, and that has no near form, is left out.
                Item::Branch {
                    op: op @ Op::Counted(_),
                    ..
                } => branch_len(*op, near),
                Item::Branch { op, .. } => branch_len(*op, near),
                Item::Call(_) => 5,
                Item::Syscall => 2,
                Item::Other(bytes) => bytes.len(),
            };
        }
        of_body.push(at);
        offsets.push(of_body);
        at += gap;
    }
    (offsets, at.next_multiple_of(16))
}

fn encode(
    bodies: &[Body],
    near: &[Vec<bool>],
    offsets: &[Vec<usize>],
    len: usize,
    main: usize,
    fill: u8,
) -> Program {
    let mut text = vec![fill; len];
    let mut sites = Vec::new();
    let data = data_at(len);
    let leaf = |index: usize| offsets[index + usize::from(index >= main)][0];
    for (b, body) in bodies.iter().enumerate() {
        for (i, place) in body.places.iter().enumerate() {
            let (at, end) = (offsets[b][i], offsets[b][i + 1]);
            let rel32 = |to: usize| (to as i32 - end as i32).to_le_bytes();
            let bytes = match &place.item {
                Item::Bytes(bytes) => bytes.clone(),
                Item::Data(instruction) => plain::encode(instruction, data, TEXT + at as u64),
                Item::Syscall => {
                    sites.push(at);
                    vec![0x0f, 0x05]
                }
                Item::Other(bytes) => {
                    sites.push(at);
                    bytes.clone()
                }
                Item::Call(index) => [&[0xe8][..], &rel32(leaf(*index))].concat(),
                Item::Branch { op, to, .. } => {
                    let to = offsets[b][*to];
                    let rel8 = i8::try_from(to as i64 - end as i64).map(|d| d as u8);
                    match (op, near[b][i]) {
                        (Op::Jcc(c), true) => [&[0x0f, 0x80 | c][..], &rel32(to)].concat(),
                        (Op::Jmp, true) => [&[0xe9][..], &rel32(to)].concat(),
                        (Op::Jcc(c), false) => vec![0x70 | c, rel8.unwrap_or(0)],
                        (Op::Jmp, false) => vec![0xeb, rel8.unwrap_or(0)],
                        (Op::Counted(opcode), _) => vec![*opcode, rel8.unwrap_or(0)],
                    }
                }
            };
            text[at..end].copy_from_slice(&bytes);
        }
    }
    let functions = offsets
        .iter()
        .map(|o| (o[0], o[o.len() - 1] - o[0]))
        .collect();
    Program {
        text,
        functions,
        entry: offsets[main][0],
        sites,
    }
}
