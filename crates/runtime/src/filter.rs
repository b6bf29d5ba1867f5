//! Whether a seccomp filter lets the library's own calls through, whatever their arguments are.
//!
//! The filter is executed with what is known of a call; where it asks for something else, it goes both ways. Filters only
//! jump ahead, so that each way ends.
//! After start-up: no heap, no lock, no panic.

use linux_raw_sys::general as k;

/// The kernel's `sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many instructions are left out where its condition holds.
    pub then: u8,
    /// The same where it does not.
    pub otherwise: u8,
    /// A constant.
    pub k: u32,
}

/// No filter is longer.
pub const LONGEST: usize = 4096;

/// More steps are not taken for one call, more ways not kept in mind: then it is not known to be let through.
const STEPS: u32 = 20_000;
const WAYS: usize = 32;

/// What the library may call from then on, in this program and when it begins in the next one.
const OWN: &[u32] = &[
    k::__NR_read,
    k::__NR_write,
    k::__NR_close,
    k::__NR_fstat,
    k::__NR_poll,
    k::__NR_lseek,
    k::__NR_mmap,
    k::__NR_mprotect,
    k::__NR_munmap,
    k::__NR_brk,
    k::__NR_rt_sigaction,
    k::__NR_rt_sigprocmask,
    k::__NR_rt_sigreturn,
    k::__NR_pread64,
    k::__NR_pwrite64,
    k::__NR_madvise,
    k::__NR_getpid,
    k::__NR_exit,
    k::__NR_wait4,
    k::__NR_kill,
    k::__NR_fcntl,
    k::__NR_ftruncate,
    k::__NR_readlink,
    k::__NR_getuid,
    k::__NR_getgid,
    k::__NR_geteuid,
    k::__NR_getegid,
    k::__NR_times,
    k::__NR_rt_sigpending,
    k::__NR_rt_sigtimedwait,
    k::__NR_rt_sigqueueinfo,
    k::__NR_sigaltstack,
    k::__NR_prctl,
    k::__NR_arch_prctl,
    k::__NR_gettid,
    k::__NR_fgetxattr,
    k::__NR_futex,
    k::__NR_set_tid_address,
    k::__NR_getdents64,
    k::__NR_clock_gettime,
    k::__NR_exit_group,
    k::__NR_tgkill,
    k::__NR_waitid,
    k::__NR_openat,
    k::__NR_mkdirat,
    k::__NR_newfstatat,
    k::__NR_unlinkat,
    k::__NR_renameat,
    k::__NR_faccessat,
    k::__NR_rt_tgsigqueueinfo,
    k::__NR_prlimit64,
    k::__NR_process_vm_readv,
    k::__NR_process_vm_writev,
    k::__NR_memfd_create,
];

/// What the helper calls beside these (`crates/inject`), and who makes it.
const HELPER: &[u32] = &[
    k::__NR_clone,
    k::__NR_ptrace,
    k::__NR_getppid,
    k::__NR_close_range,
];

/// What a filter lets through.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Passes {
    /// Not all that the library calls.
    Less,
    /// All but what the helper calls.
    Own,
    /// All.
    All,
}

/// What `filter` lets through.
#[must_use]
pub fn passes(filter: &[Instruction]) -> Passes {
    let all = |numbers: &[u32]| numbers.iter().all(|&number| allows(filter, number));
    match (all(OWN), all(HELPER)) {
        (false, _) => Passes::Less,
        (true, false) => Passes::Own,
        (true, true) => Passes::All,
    }
}

/// What is known of a word.
type Word = Option<u32>;

/// Where one way through a filter has come to.
#[derive(Clone, Copy, Default)]
struct Way {
    at: usize,
    a: Word,
    x: Word,
}

/// Whether `filter` lets this call through on all ways.
#[must_use]
pub fn allows(filter: &[Instruction], number: u32) -> bool {
    let mut ways = [Way::default(); WAYS];
    let (mut left, mut steps) = (1, 0);
    while left > 0 {
        left -= 1;
        let mut way = ways.get(left).copied().unwrap_or_default();
        loop {
            steps += 1;
            let next = filter.get(way.at).filter(|_| steps < STEPS);
            let Some(instruction) = next else {
                return false;
            };
            match step(instruction, number, &mut way) {
                Step::On => way.at += 1,
                Step::Jump(len) => way.at = way.at.saturating_add(1 + len as usize),
                Step::Both(one, other) => {
                    let Some(place) = ways.get_mut(left) else {
                        return false;
                    };
                    *place = Way {
                        at: way.at + 1 + usize::from(other),
                        ..way
                    };
                    left += 1;
                    way.at += 1 + usize::from(one);
                }
                Step::Allowed => break,
                Step::Not => return false,
            }
        }
    }
    true
}

enum Step {
    On,
    Jump(u32),
    Both(u8, u8),
    Allowed,
    Not,
}

fn step(instruction: &Instruction, number: u32, way: &mut Way) -> Step {
    const ALLOW: u32 = 0x7fff_0000;
    const ACTION: u32 = 0xffff_0000;
    let Instruction { code, k, .. } = *instruction;
    let operand = if code & 8 == 0 { Some(k) } else { way.x };
    match code & 7 {
        0 => way.a = loaded(code, k, number),
        1 => {
            way.x = if code & 0xe0 == 0x20 {
                None
            } else {
                loaded(code, k, number)
            }
        }
        2 | 3 => {} // nothing is known of what is stored
        // Division by 0 ends a filter.
        4 if code & 0xf0 == 0x30 && matches!(operand, None | Some(0)) => return Step::Not,
        4 => way.a = computed(code & 0xf0, way.a, operand),
        5 => return jump(instruction, way.a, operand),
        6 => {
            let answer = if code & 0x18 == 0x10 { way.a } else { Some(k) };
            return match answer {
                Some(answer) if answer & ACTION == ALLOW => Step::Allowed,
                _ => Step::Not,
            };
        }
        _ if code & 0x80 == 0 => way.x = way.a,
        _ => way.a = way.x,
    }
    Step::On
}

/// What a load brings: of a call the number is known, and the architecture.
fn loaded(code: u16, k: u32, number: u32) -> Word {
    const X86_64: u32 = 0xc000_003e;
    const LENGTH: u32 = 64;
    match (code & 0xe0, k) {
        (0x00, _) => Some(k),
        (0x20, 0) => Some(number),
        (0x20, 4) => Some(X86_64),
        (0x80, _) => Some(LENGTH),
        _ => None,
    }
}

fn computed(operation: u16, a: Word, operand: Word) -> Word {
    let a = a?;
    if operation == 0x80 {
        return Some(a.wrapping_neg());
    }
    let b = operand?;
    Some(match operation {
        0x00 => a.wrapping_add(b),
        0x10 => a.wrapping_sub(b),
        0x20 => a.wrapping_mul(b),
        0x30 => a.checked_div(b)?,
        0x40 => a | b,
        0x50 => a & b,
        0x60 => a.checked_shl(b)?,
        0x70 => a.checked_shr(b)?,
        0xa0 => a ^ b,
        _ => return None,
    })
}

fn jump(instruction: &Instruction, a: Word, operand: Word) -> Step {
    let &Instruction {
        code,
        then,
        otherwise,
        k,
    } = instruction;
    if code & 0xf0 == 0 {
        return Step::Jump(k);
    }
    let (Some(a), Some(b)) = (a, operand) else {
        return Step::Both(then, otherwise);
    };
    let holds = match code & 0xf0 {
        0x10 => a == b,
        0x20 => a > b,
        0x30 => a >= b,
        0x40 => a & b != 0,
        _ => return Step::Not,
    };
    Step::Jump(u32::from(if holds { then } else { otherwise }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(code: u16, k: u32) -> Instruction {
        Instruction {
            code,
            k,
            ..Instruction::default()
        }
    }
    fn jump_on(code: u16, k: u32, then: u8, otherwise: u8) -> Instruction {
        Instruction {
            code,
            then,
            otherwise,
            k,
        }
    }
    const LOAD: u16 = 0x20;
    const RETURN: u16 = 0x06;
    const EQUAL: u16 = 0x15;
    const ALLOW: u32 = 0x7fff_0000;
    const KILL: u32 = 0x8000_0000;

    #[test]
    fn a_list_of_what_is_forbidden_lets_the_rest_through() {
        let forbids = |number| {
            [
                statement(LOAD, 4),
                jump_on(EQUAL, 0xc000_003e, 1, 0),
                statement(RETURN, KILL),
                statement(LOAD, 0),
                jump_on(0x35, 0x4000_0000, 0, 1), // x32
                statement(RETURN, KILL),
                jump_on(EQUAL, number, 0, 1),
                statement(RETURN, 0x0005_0001),
                statement(RETURN, ALLOW),
            ]
        };
        assert_eq!(passes(&forbids(k::__NR_socket)), Passes::All);
        assert_eq!(passes(&forbids(k::__NR_ptrace)), Passes::Own);
        assert_eq!(passes(&forbids(k::__NR_mmap)), Passes::Less);
        // To be told of a call is not to be let through.
        for answer in [0x7ffc_0000, 0x7ff0_0000, 0x7fc0_0000, 0x0003_0000, 0] {
            assert_eq!(passes(&[statement(RETURN, answer)]), Passes::Less);
        }
        assert_eq!(passes(&[]), Passes::Less);
    }

    #[test]
    fn what_arguments_decide_is_not_let_through() {
        let protections = |answer| {
            [
                statement(LOAD, 0),
                jump_on(EQUAL, k::__NR_mmap, 0, 3),
                statement(LOAD, 32),
                jump_on(0x45, k::PROT_EXEC, 0, 1),
                statement(RETURN, answer),
                statement(RETURN, ALLOW),
            ]
        };
        assert_eq!(passes(&protections(KILL)), Passes::Less);
        assert_eq!(passes(&protections(ALLOW)), Passes::All);
    }

    #[test]
    fn more_ways_than_can_be_kept_in_mind_end() {
        let mut many = vec![statement(LOAD, 16)];
        many.extend((0..4000).map(|n| jump_on(EQUAL, n, 1, 0)));
        many.extend([statement(RETURN, ALLOW), statement(RETURN, ALLOW)]);
        assert_eq!(passes(&many), Passes::Less);
        let mut few = vec![statement(LOAD, 16)];
        few.extend((0..8).map(|n| jump_on(EQUAL, n, 1, 0)));
        few.extend([statement(RETURN, ALLOW), statement(RETURN, ALLOW)]);
        assert_eq!(passes(&few), Passes::All);
    }

    /// A filter of any instructions that the kernel takes, from a sequence of numbers.
    fn any(next: &mut impl FnMut() -> u32) -> Vec<Instruction> {
        let numbers = [k::__NR_getppid, k::__NR_getpid, 500, 0];
        let len = 3 + next() as usize % 12;
        // All but the two that are asked for.
        let mut filter = vec![
            statement(LOAD, 0),
            jump_on(EQUAL, k::__NR_getppid, 2, 0),
            jump_on(EQUAL, 500, 1, 0),
            statement(RETURN, ALLOW),
        ];
        for at in 0..len {
            let left = (len - at) as u32;
            let constant = numbers[next() as usize % 4];
            let operand = (next() % 2 * 8) as u16;
            filter.push(match next() % 8 {
                0 => statement(LOAD, 0),
                1 => statement(LOAD, 16 + 4 * (next() % 12)),
                2 => statement(
                    0x04 | operand | [0, 0x10, 0x40, 0x50, 0xa0][next() as usize % 5],
                    constant,
                ),
                3 => statement(if next().is_multiple_of(2) { 0x07 } else { 0x87 }, 0),
                4 => statement([0x00, 0x01, 0x80, 0x81][next() as usize % 4], constant),
                5 if left > 0 => statement(0x05, next() % left),
                6 => statement(
                    RETURN,
                    if next().is_multiple_of(4) {
                        0x0005_0001
                    } else {
                        ALLOW
                    },
                ),
                _ if left > 0 => {
                    let code = 0x05 | operand | [0x10, 0x20, 0x30, 0x40][next() as usize % 4];
                    jump_on(code, constant, (next() % left) as u8, (next() % left) as u8)
                }
                _ => statement(0x07, 0),
            });
        }
        filter.push(statement(
            RETURN,
            if next().is_multiple_of(4) {
                0x0005_0001
            } else {
                ALLOW
            },
        ));
        filter
    }

    /// The kernel is asked: what is said to be let through is, with any arguments.
    #[test]
    fn the_kernel_agrees() {
        let mut state = 1u64;
        let mut next = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u32
        };
        let mut through = 0;
        for _ in 0..400 {
            let filter = any(&mut next);
            let said = [k::__NR_getppid, 500].map(|number| allows(&filter, number));
            let arguments: Vec<[u32; 6]> = (0..8)
                .map(|_| [0; 6].map(|_: u32| [0, 1, 39, 110, 500, next()][next() as usize % 6]))
                .collect();
            // A thread alone is under its filter.
            let done = std::thread::spawn(move || under(&filter, &arguments));
            let [asked, unknown] = done.join().unwrap();
            assert!(!said[0] || asked, "{said:?}");
            assert!(!said[1] || unknown, "{said:?}");
            through += u32::from(said[0]);
        }
        assert!(through > 40, "{through}");
    }

    /// Whether the kernel lets `getppid` and call 500 through with all these arguments.
    #[allow(clippy::multiple_unsafe_ops_per_block)] // one promise for a whole scene
    fn under(filter: &[Instruction], arguments: &[[u32; 6]]) -> [bool; 2] {
        #[repr(C)]
        struct Program {
            len: u16,
            filter: *const Instruction,
        }
        let program = Program {
            len: filter.len() as u16,
            filter: filter.as_ptr(),
        };
        let mut through = [true; 2];
        // SAFETY: the filter answers errors for these two numbers at most, of which neither touches memory.
        unsafe {
            assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
            let set = libc::syscall(libc::SYS_seccomp, 1, 0, &raw const program);
            assert_eq!(set, 0, "{filter:?}");
            for &[a, b, c, d, e, f] in arguments {
                let call = |number: i64| libc::syscall(number, a, b, c, d, e, f);
                through[0] &= call(libc::SYS_getppid) != -1;
                call(500);
                through[1] &= *libc::__errno_location() == libc::ENOSYS;
            }
        }
        through
    }
}
