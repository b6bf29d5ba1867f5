//! Files that nobody vouches for: whatever is in them, opening them and asking everything ends soon, without a
//! panic, and with no more memory than a small multiple of the file.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use hotpatch_plan::addr::{Span, Va};
use hotpatch_plan::image::Image;

use crate::tools::{LIBC, LOADER, Workshop};

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting what this thread holds.
struct Counting;

// SAFETY: passes everything on to `System`; the counters are plain words of the thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.get().wrapping_add(layout.size());
        HELD.set(held);
        PEAK.set(PEAK.get().max(held));
        // SAFETY: the caller keeps to the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.set(HELD.get().wrapping_sub(layout.size()));
        // SAFETY: the caller passes what `alloc` gave.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Everything an image can be asked, for addresses all over it.
fn ask_everything(image: &Image<'_>) -> usize {
    let span = image.span();
    let mut places: Vec<Va> = (0..32).map(|i| span.start + span.len() / 32 * i).collect();
    places.extend(
        image
            .code
            .iter()
            .take(16)
            .flat_map(|code| [code.start, code.end, code.end - 1]),
    );
    places.extend([Va(0), Va(u64::MAX), span.end, image.entry()]);
    let mut answers = 0;
    for at in places {
        let function = image
            .function_at(at)
            .map_or(Span::new(at, 16), |function| function.span);
        answers += usize::from(image.is_function_start(at));
        answers += usize::from(image.has_lsda(function));
        answers += usize::from(image.landing_pads(function, &mut |_| answers += 1));
        answers += image.symbol_at(at).map_or(0, |(name, _)| name.len());
        answers += usize::from(image.text_relocated(Span::new(at, 16)).is_some());
        answers += image.read(at, 16).map_or(0, <[u8]>::len) + usize::from(image.is_code(at));
        let next = image.next_function_start(at);
        assert!(next.is_none_or(|next| next > at), "{next:?} after {at:?}");
    }
    image.code_pointers(&mut |to, _| answers += usize::from(image.is_code(to)));
    answers + image.restartable().len() + image.build_id().map_or(0, <[u8]>::len)
}

/// Opens `file` and asks; panics where that holds too much memory or takes too long.
fn examine(file: &[u8], what: &dyn Fn() -> String) -> bool {
    let began = Instant::now();
    let before = HELD.get();
    PEAK.set(before);
    let image = Image::from_file(file);
    if let Ok(image) = &image {
        ask_everything(image);
        let mut segments = image.segments.clone();
        segments.truncate(32);
        if let Ok(image) = Image::from_memory(segments, 0x7f00_0000_0000) {
            ask_everything(&image);
        }
    }
    let held = PEAK.get() - before;
    assert!(
        held <= file.len() * 4 + (1 << 16),
        "{held} bytes for {} of {}",
        file.len(),
        what()
    );
    // debug builds of a shared machine are slow; what this is to find takes hours
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?} for {}",
        began.elapsed(),
        what()
    );
    image.is_ok()
}

/// xorshift64*: the same every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
}

/// Values that arithmetic trips over.
const EXTREMES: [u64; 12] = [
    0,
    1,
    8,
    0x7f,
    0xff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 47,
    1 << 60,
    i64::MAX.cast_unsigned(),
    u64::MAX,
];

/// One to eight changes in the first `reach` bytes of one of the file's regions that are not text.
fn mangle(file: &mut [u8], tables: &[(usize, usize)], random: &mut Random) {
    for _ in 0..=random.below(8) {
        let (start, len) = tables[random.below(tables.len())];
        let at = start + random.below(len.max(1));
        let Some(place) = file.get_mut(at..) else {
            continue;
        };
        let value = match random.below(4) {
            0 => vec![u8::try_from(random.below(256)).unwrap()],
            1 => vec![place.first().map_or(0, |byte| byte ^ 1 << random.below(8))],
            2 => EXTREMES[random.below(12)].to_le_bytes()[..1 << random.below(4)].to_vec(),
            _ => random.next().to_le_bytes()[..1 << random.below(4)].to_vec(),
        };
        place
            .iter_mut()
            .zip(value)
            .for_each(|(byte, new)| *byte = new);
    }
}

/// Headers, and every section that is not code, as (offset, length).
fn tables(file: &[u8]) -> Vec<(usize, usize)> {
    let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    let (headers, count) = (usize::try_from(word(40)).unwrap(), usize::from(file[60]));
    let mut tables = vec![
        (0, 64),
        (0, 64 + 56 * usize::from(file[56])),
        (headers, count * 64),
    ];
    for section in (0..count).map(|i| headers + i * 64) {
        let executable = word(section + 8) & 4 != 0;
        if !executable && file[section + 4] != 8 {
            tables.push((
                usize::try_from(word(section + 24)).unwrap(),
                usize::try_from(word(section + 32)).unwrap(),
            ));
        }
    }
    tables
}

fn mangle_often(name: &str, file: &[u8], times: u64) {
    let tables = tables(file);
    assert!(examine(file, &|| name.to_owned()));
    let mut readable = 0;
    for seed in 1..=times {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut bytes = file.to_vec();
        mangle(&mut bytes, &tables, &mut random);
        if random.below(8) == 0 {
            bytes.truncate(random.below(file.len()));
        }
        readable += u64::from(examine(&bytes, &|| format!("{name}, seed {seed}")));
    }
    // if no file could be opened, only the headers were tried
    assert!(readable > times / 4, "{name}: {readable} of {times}");
}

#[test]
fn small_files_of_every_kind_may_be_mangled() {
    let sample = include_str!("sample.s");
    let kinds = [
        "-shared",
        "-pie -Wl,-e,with_fde",
        "-static -Wl,-e,with_fde -Wl,--no-eh-frame-hdr",
    ];
    for link in kinds {
        let shop = Workshop::new();
        let flags = format!("{link} -nostdlib -Wl,-z,notext -Wa,--defsym,TEXT_WORD=1");
        let path = shop.build("gcc", &flags, "sample.s", sample);
        mangle_often(link, &std::fs::read(path).unwrap(), 1500);
    }
}

#[test]
fn libraries_of_this_machine_may_be_mangled() {
    mangle_often(LOADER, &std::fs::read(LOADER).unwrap(), 200);
    mangle_often(LIBC, &std::fs::read(LIBC).unwrap(), 40);
}

#[test]
fn programs_of_go_may_be_mangled() {
    let shop = Workshop::new();
    let path = shop.build(
        "go",
        "build -ldflags=-w",
        "main.go",
        "package main\nfunc main() { println(1) }\n",
    );
    mangle_often("go", &std::fs::read(path).unwrap(), 60);
}

#[test]
fn a_file_may_end_anywhere() {
    let shop = Workshop::new();
    let path = shop.build(
        "gcc",
        "-shared -nostdlib",
        "sample.s",
        include_str!("sample.s"),
    );
    let file = std::fs::read(path).unwrap();
    for len in (0..file.len()).step_by(7) {
        // section headers come last, so no shorter file is whole
        assert!(
            !examine(&file[..len], &|| format!("{len} bytes")),
            "{len} bytes"
        );
    }
}

/// A file header, then `count` program headers and sections, as `headers` lists them: each a (type, flags,
/// offset, address, length).
fn assemble(segments: &[[u64; 5]], sections: &[[u64; 5]], body: &[u8]) -> Vec<u8> {
    let short = |value: usize| u16::try_from(value).unwrap().to_le_bytes();
    let mut file = vec![0; 64];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    file[16..20].copy_from_slice(&[3, 0, 62, 0]);
    file[32] = 64;
    file[40..48].copy_from_slice(&(64 + segments.len() as u64 * 56).to_le_bytes());
    file[54] = 56;
    file[58] = 64;
    file[56..58].copy_from_slice(&short(segments.len()));
    file[60..62].copy_from_slice(&short(sections.len()));
    let mut word = |value: u64| file.extend(value.to_le_bytes());
    for &[kind, flags, offset, at, len] in segments {
        [kind | flags << 32, offset, at, at, len, len, 1]
            .into_iter()
            .for_each(&mut word);
    }
    for &[kind, flags, offset, at, len] in sections {
        [kind << 32, flags, at, offset, len, 0, 0, 0]
            .into_iter()
            .for_each(&mut word);
    }
    file.extend(body);
    file
}

#[test]
fn many_headers_for_the_same_bytes_cost_no_more_than_the_bytes() {
    let body = vec![0x90; 1 << 20];
    let most = usize::from(u16::MAX);
    // sections over one another
    let segment = [1, 7, 0, 0x1000, 1 << 20];
    let sections: Vec<[u64; 5]> = (0..most as u64)
        .map(|i| [1, 6, 0, 0x1000 + i % 4096, (1 << 20) - 4096])
        .collect();
    let file = assemble(&[segment], &sections, &body);
    assert!(examine(&file, &|| "sections".to_owned()));
    let image = Image::from_file(&file).unwrap();
    let total: u64 = image.code.iter().map(|code| code.len()).sum();
    assert!(total <= 1 << 20, "{total}");
    // segments of the same bytes
    let segments: Vec<[u64; 5]> = (0..most as u64)
        .map(|i| [1, 5, 0, i << 21, 1 << 20])
        .collect();
    assert!(!examine(&assemble(&segments, &[], &body), &|| "segments".to_owned()));
    // notes, symbol tables and relocations over all of it
    let mut segments: Vec<[u64; 5]> = (0..1000).map(|_| [4, 4, 0, 0, 1 << 20]).collect();
    segments.insert(0, [1, 7, 0, 0, 1 << 20]);
    let kinds = [2, 4, 11];
    let sections: Vec<[u64; 5]> = (0..most)
        .map(|i| [kinds[i % 3], 2, 0, 0, 1 << 20])
        .collect();
    assert!(examine(&assemble(&segments, &sections, &body), &|| {
        "tables".to_owned()
    }));
    // one word of code each
    let segments: Vec<[u64; 5]> = (0..most as u64)
        .map(|i| [1, 7, i * 16, i * 32, 16])
        .collect();
    let sections: Vec<[u64; 5]> = (0..most as u64).map(|i| [1, 6, 0, i * 32, 8]).collect();
    assert!(examine(&assemble(&segments, &sections, &body), &|| {
        "pieces".to_owned()
    }));
}
