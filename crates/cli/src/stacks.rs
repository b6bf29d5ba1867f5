//! Who has called whom (`-k`): unwound from a copy of the stack, by the tables of the files that were mapped then.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, Module, Unwinder};
use hotpatch_decode::{Kept, Memory, When};
use hotpatch_events::{Record, kind};
use hotpatch_names::{LINK, REGISTERS, place};
use memmap2::Mmap;
use object::LittleEndian as LE;
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection};

use crate::events::Event;
use crate::pairs::BIRTHS;
use crate::symbols::{Mapped, Symbols};

/// Frames of one stack that are told.
const DEEPEST: usize = 256;
/// Files that are remembered at most.
const MOST: usize = 1024;

const MMAP: u64 = 9;
const MUNMAP: u64 = 11;
const PROT_EXEC: u64 = 4;

/// Part of a file, as the tables' reader wants to have it.
type Bytes = Arc<[u8]>;

/// Unwinds stacks.
#[derive(Default)]
pub struct Stacks {
    processes: HashMap<u32, Process>,
    files: HashMap<String, Arc<File>>,
    /// Processes that are about to have a child.
    births: Vec<u32>,
    /// Files that threads are about to map code of.
    mapping: HashMap<u32, String>,
    cache: CacheX86_64,
}

/// What a process has mapped.
#[derive(Default)]
struct Process {
    maps: Vec<Mapped>,
    /// Of those; nothing where they have changed.
    unwinder: Option<UnwinderX86_64<Bytes>>,
}

/// What is known of a file.
#[derive(Default)]
struct File {
    symbols: Symbols,
    base: u64,
    sections: Vec<(&'static str, u64, Bytes)>,
}

impl std::fmt::Debug for Stacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stacks")
    }
}

impl Stacks {
    /// What a process has mapped, as `/proc/PID/maps` says it.
    pub fn maps(&mut self, pid: u32, maps: &str) {
        let process = Process {
            maps: maps.lines().filter_map(Mapped::of).collect(),
            unwinder: None,
        };
        self.processes.insert(pid, process);
    }

    /// Learns what processes map.
    pub fn note(&mut self, event: &Event<'_>) {
        let record = &event.record;
        let failed = record.result > u64::MAX - 4096;
        match (record.kind, record.number) {
            (kind::ENTRY, number) if BIRTHS.contains(&number) => self.births.push(record.pid),
            (kind::EXIT, number) if BIRTHS.contains(&number) => {
                self.births.retain(|pid| *pid != record.pid);
                let child = record.result as u32;
                // What it has told itself is newer.
                if !failed && !self.processes.contains_key(&child) {
                    self.copy(record.pid, child);
                }
            }
            (kind::ENTRY, MMAP) if record.args[2] & PROT_EXEC != 0 => {
                let link = place(LINK, record.args[4] as i32);
                let link = event.kept.iter().find(|(at, _)| *at == link);
                let path = link.map_or("".into(), |(_, path)| String::from_utf8_lossy(path));
                self.mapping.insert(record.tid, path.into_owned());
            }
            (kind::EXIT, MMAP) if !failed => {
                let path = self.mapping.remove(&record.tid).unwrap_or_default();
                self.change(record.pid, record.result, record.args[1], |at| {
                    (!path.is_empty()).then_some(Mapped {
                        at,
                        offset: record.args[5],
                        path,
                    })
                });
            }
            (kind::EXIT, MUNMAP) if !failed => {
                self.change(record.pid, record.args[0], record.args[1], |_| None);
            }
            _ => {}
        }
    }

    /// Nothing of what was there is mapped any more, but what `mapped` says.
    fn change(
        &mut self,
        pid: u32,
        start: u64,
        length: u64,
        mapped: impl FnOnce(std::ops::Range<u64>) -> Option<Mapped>,
    ) {
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        let at =
            start..start.saturating_add(length.checked_next_multiple_of(4096).unwrap_or(length));
        let apart = |other: &Mapped| other.at.end <= at.start || at.end <= other.at.start;
        let before = process.maps.len();
        process.maps.retain(apart);
        let mapped = mapped(at.clone());
        if mapped.is_some() || process.maps.len() < before {
            process.unwinder = None;
        }
        process.maps.extend(mapped);
    }

    fn copy(&mut self, from: u32, to: u32) {
        if let Some(process) = self.processes.get(&from) {
            let maps = process.maps.clone();
            let unwinder = None;
            self.processes.insert(to, Process { maps, unwinder });
        }
    }

    /// A process is not there any more.
    pub fn gone(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    /// A line for each frame of the stack that a call was made on, the innermost first.
    pub fn frames(&mut self, record: &Record, kept: &Kept) -> Vec<String> {
        let mut lines = Vec::new();
        let mut registers = [0; 16];
        if kept.read(When::Entry, REGISTERS, &mut registers) != registers.len() {
            return lines;
        }
        let [sp, bp] = [0, 8]
            .map(|at| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|n| registers[at + n])));
        // The child of a vfork runs in its parent's memory, and may be told of before that knows its number.
        if let (false, [parent]) = (self.processes.contains_key(&record.pid), &self.births[..]) {
            self.copy(*parent, record.pid);
        }
        let Some(process) = self.processes.get_mut(&record.pid) else {
            return lines;
        };
        let (files, maps) = (&mut self.files, &process.maps);
        if files.len() > MOST {
            files.clear();
        }
        let unwinder = process.unwinder.get_or_insert_with(|| {
            let mut unwinder = UnwinderX86_64::new();
            for mapped in maps {
                let file = file_of(files, &mapped.path);
                if let Some(module) = module(mapped, &file) {
                    unwinder.add_module(module);
                }
            }
            unwinder
        });
        let mut read = |address: u64| {
            let mut word = [0; 8];
            match kept.read(When::Entry, address, &mut word) {
                8 => Ok(u64::from_le_bytes(word)),
                _ => Err(()),
            }
        };
        // Behind the instruction, where the kernel says that it was.
        let pc = record.site.wrapping_add(2);
        let registers = UnwindRegsX86_64::new(pc, sp, bp);
        let mut frames = unwinder.iter_frames(pc, registers, &mut self.cache, &mut read);
        for _ in 0..DEEPEST {
            let Ok(Some(frame)) = frames.next() else {
                break;
            };
            let address = frame.address();
            let Some(mapped) = maps.iter().find(|mapped| mapped.at.contains(&address)) else {
                break;
            };
            let offset = (address - mapped.at.start).wrapping_add(mapped.offset);
            let file = file_of(files, &mapped.path);
            let mut line = format!("{}(", mapped.path);
            if let Some((name, more)) = file.symbols.function_before(offset) {
                let _ = write!(line, "{name}+{more:#x}");
            }
            let _ = write!(line, ") [{offset:#x}]");
            lines.push(line);
        }
        lines
    }
}

fn file_of(files: &mut HashMap<String, Arc<File>>, path: &str) -> Arc<File> {
    let known = files.entry(path.to_owned());
    Arc::clone(known.or_insert_with(|| Arc::new(File::of(Path::new(path)).unwrap_or_default())))
}

impl File {
    fn of(path: &Path) -> Option<Self> {
        let symbols = Symbols::of(path)?;
        let file = std::fs::File::open(path).ok()?;
        // SAFETY: who changes a program's file while it runs gets wrong lines here, at worst an end by SIGBUS.
        let bytes = unsafe { Mmap::map(&file) }.ok()?;
        let elf = ElfFile64::<LE>::parse(&*bytes).ok()?;
        let section = |name: &'static str| {
            let section = elf.section_by_name(name)?;
            Some((name, section.address(), section.data().ok()?.into()))
        };
        let names = [".text", ".eh_frame", ".eh_frame_hdr", ".got"];
        Some(Self {
            symbols,
            base: elf.relative_address_base(),
            sections: names.into_iter().filter_map(section).collect(),
        })
    }
}

/// How the unwinder takes a file that is mapped.
fn module(mapped: &Mapped, file: &File) -> Option<Module<Bytes>> {
    let part = |name: &str| file.sections.iter().find(|(of, ..)| *of == name);
    let range = |name| part(name).map(|(_, at, bytes)| *at..at + bytes.len() as u64);
    let data = |name| part(name).map(|(.., bytes)| Arc::clone(bytes));
    let bias = mapped
        .at
        .start
        .wrapping_sub(file.symbols.address(mapped.offset)?);
    Some(Module::new(
        mapped.path.clone(),
        mapped.at.clone(),
        file.base.wrapping_add(bias),
        ExplicitModuleSectionInfo {
            base_svma: file.base,
            text_svma: range(".text"),
            text: data(".text"),
            got_svma: range(".got"),
            eh_frame_svma: range(".eh_frame"),
            eh_frame: data(".eh_frame"),
            eh_frame_hdr_svma: range(".eh_frame_hdr"),
            eh_frame_hdr: data(".eh_frame_hdr"),
            ..Default::default()
        },
    ))
}
