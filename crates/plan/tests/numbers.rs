//! The system call number that the instructions before a site say.

mod synthetic;

use hotpatch_plan::image::Image;
use hotpatch_plan::search::Scalar;
use hotpatch_plan::{Options, plan};

use synthetic::elf;

/// The number of the last site of a function that begins with `code`, followed by `syscall` and `ret`.
fn number(code: &[u8]) -> Option<u32> {
    let mut text = code.to_vec();
    text.extend_from_slice(&[0x0f, 0x05, 0xc3]);
    let function = (0, text.len());
    text.resize(64, 0xcc);
    let file = elf(&text, &[function]);
    let image = Image::from_file(&file).expect("the file is well-formed");
    let options = Options {
        numbers: true,
        ..Options::new(&Scalar)
    };
    let sites = plan(&image, &options).sites;
    let plain = plan(&image, &Options::new(&Scalar)).sites;
    assert!(plain.iter().all(|site| site.number.is_none()));
    sites.last().expect("a site").number
}

#[test]
fn numbers_are_read_where_they_are_written() {
    let known: &[(&[u8], u32)] = &[
        (&[0xb8, 0x6e, 0, 0, 0], 110),                  // mov $110,%eax
        (&[0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x90], 15), // mov $15,%rax; nop
        (&[0x48, 0xb8, 7, 1, 0, 0, 0, 0, 0, 0], 0x107), // movabs $0x107,%rax
        (&[0x31, 0xc0], 0),                             // xor %eax,%eax
        (&[0x6a, 0x3c, 0x58], 60),                      // push $60; pop %rax
        (&[0x68, 0, 1, 0, 0, 0x58], 256),               // push $256; pop %rax
        (
            &[0xb8, 1, 0, 0, 0, 0x48, 0x89, 0xd6, 0x74, 0x02, 0x31, 0xd2],
            1,
        ), // mov %rdx,%rsi; je; xor
        (&[0xba, 5, 0, 0, 0, 0x89, 0xd0, 0x31, 0xd2], 5), // mov $5,%edx; mov %edx,%eax; xor
        (&[0xb8, 1, 0, 0, 0, 0x41, 0xb4, 2], 1),        // mov $2,%r12b is not %ah
    ];
    for (code, expected) in known {
        assert_eq!(number(code), Some(*expected), "{code:02x?}");
    }
}

#[test]
fn what_others_decide_has_no_number() {
    let unknown: &[&[u8]] = &[
        &[0x89, 0xf8],                   // mov %edi,%eax
        &[0xb8, 1, 0, 0, 0, 0xb4, 2],    // mov $1,%eax; mov $2,%ah
        &[0xb8, 1, 0, 0, 0, 0xb0, 2],    // mov $1,%eax; mov $2,%al
        &[0xb8, 1, 0, 0, 0, 0xff, 0xc0], // mov $1,%eax; inc %eax
        &[0xb8, 1, 0, 0, 0, 0x0f, 0xa2], // mov $1,%eax; cpuid
        &[0xb8, 1, 0, 0, 0, 0x0f, 0x05], // a call before it
        &[0x66, 0xb8, 1, 0],             // mov $1,%ax
        &[0xb8, 1, 0, 0, 0, 0x87, 0xd0], // mov $1,%eax; xchg %edx,%eax
        &[0x74, 0x05, 0xb8, 1, 0, 0, 0], // je over the mov
        &[0x8b, 0x07],                   // mov (%rdi),%eax
        &[0x6a, 0x3c, 0x52, 0x58],       // push $60; push %rdx; pop %rax
    ];
    for code in unknown {
        assert_eq!(number(code), None, "{code:02x?}");
    }
}

#[test]
fn whoever_arrives_behind_the_number_may_bring_another() {
    let first = [0xb8, 0x6e, 0, 0, 0, 0x0f, 0x05, 0xc3]; // mov $110,%eax; syscall; ret
    // To the instruction that says it, and behind it: jmp from another function.
    for (to, expected) in [(0, Some(110)), (5, None)] {
        let mut text = first.to_vec();
        text.resize(32, 0xcc);
        text.extend_from_slice(&[0xe9]);
        text.extend_from_slice(&(to - 37_i32).to_le_bytes());
        let functions = [(0, first.len()), (32, 5)];
        text.resize(64, 0xcc);
        let file = elf(&text, &functions);
        let image = Image::from_file(&file).expect("the file is well-formed");
        let options = Options {
            numbers: true,
            ..Options::new(&Scalar)
        };
        let sites = plan(&image, &options).sites;
        assert_eq!(sites[0].number, expected, "to {to}");
    }
}

#[test]
fn most_calls_of_libc_have_a_number() {
    let file = std::fs::read("/lib/x86_64-linux-gnu/libc.so.6").expect("libc");
    let image = Image::from_file(&file).expect("an image");
    let options = Options {
        numbers: true,
        ..Options::new(&Scalar)
    };
    let sites = plan(&image, &options).sites;
    let known = sites.iter().filter(|site| site.number.is_some()).count();
    println!("{known} of {} sites", sites.len());
    assert!(known * 100 > sites.len() * 80, "{known} of {}", sites.len());
    // A few whose name says which call they make.
    for (name, number) in [
        ("getppid", 110),
        ("umask", 95),
        ("sched_yield", 24),
        ("setsid", 112),
    ] {
        let named = |at| {
            image
                .symbol_at(at)
                .is_some_and(|(symbol, _)| symbol == name)
        };
        let site = sites.iter().find(|site| named(site.at));
        assert_eq!(site.and_then(|site| site.number), Some(number), "{name}");
    }
}
