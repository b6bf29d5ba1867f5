//! Counts system calls, by number and by the instruction they came from, and says so when the process ends.
#![no_std]
#![no_main]

use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

use hotpatch_hook::{Context, Event, Hook, Site, Verdict, abi, export_hook, log, nr, syscall};

/// Numbers from here on are counted together.
const NUMBERS: usize = 512;
/// Instructions from here on are not told apart.
const SITES: usize = 8192;
/// How many instructions are shown.
const SHOWN: usize = 10;

struct Count {
    numbers: [AtomicU64; NUMBERS + 1],
    sites: [AtomicU64; SITES],
    places: [AtomicPtr<abi::Site>; SITES],
    process: AtomicU64,
}

impl Hook for Count {
    const ARGUMENTS_ONLY: bool = true;
    const READS_ONLY: bool = true;

    fn start(&self) -> Result<(), hotpatch_hook::Errno> {
        self.process.store(process()?, Relaxed);
        Ok(())
    }

    fn before(&self, context: &mut Context<'_>) -> Verdict {
        let number = (context.number() as usize).min(NUMBERS);
        self.numbers[number].fetch_add(1, Relaxed);
        let site = context.site();
        if let Some(count) = self.sites.get(site.id() as usize) {
            count.fetch_add(1, Relaxed);
            self.places[site.id() as usize].store(ptr::from_ref(site.as_abi()).cast_mut(), Relaxed);
        }
        Verdict::Run
    }

    fn event(&self, event: Event, _: &mut u64) {
        match event {
            Event::Exit => self.show(),
            // The child of a vfork execs in its parent's memory: these are the parent's counts.
            Event::BeforeExec if process() == Ok(self.process.load(Relaxed)) => self.show(),
            Event::ForkChild => {
                for count in self.numbers.iter().chain(&self.sites) {
                    count.store(0, Relaxed);
                }
                self.process.store(process().unwrap_or(0), Relaxed);
            }
            _ => {}
        }
    }
}

impl Count {
    fn show(&self) {
        let all: u64 = self.numbers.iter().map(|n| n.load(Relaxed)).sum();
        log!("{all} calls");
        each_by_count(&self.numbers, usize::MAX, |number, count| {
            log!("{count:8} {}", nr::name(number as u32).unwrap_or("others"));
        });
        log!("from these instructions:");
        each_by_count(&self.sites, SHOWN, |id, count| {
            // SAFETY: sites live as long as the process, and one that was counted is there.
            if let Some(site) = unsafe { self.places[id].load(Relaxed).as_ref() } {
                let site = Site::new(site);
                let file = site.file().escape_ascii();
                match site.symbol() {
                    Some((name, offset)) => {
                        log!("{count:8} {}+{offset:#x} in {file}", name.escape_ascii());
                    }
                    None => log!("{count:8} {:#x} in {file}", site.offset()),
                }
            }
        });
    }
}

/// Visits what was counted, the most frequent first, without room to sort it in.
fn each_by_count(counts: &[AtomicU64], most: usize, mut show: impl FnMut(usize, u64)) {
    let mut last = (u64::MAX, usize::MAX);
    for _ in 0..most {
        // Equal counts come in order from the last.
        let smaller = |&(index, count): &(usize, u64)| count != 0 && (count, index) < last;
        let loaded = counts.iter().map(|count| count.load(Relaxed)).enumerate();
        let Some((index, count)) = loaded
            .filter(smaller)
            .max_by_key(|&(index, count)| (count, index))
        else {
            return;
        };
        show(index, count);
        last = (count, index);
    }
}

fn process() -> Result<u64, hotpatch_hook::Errno> {
    // SAFETY: touches no memory.
    unsafe { syscall(nr::GETPID, [0; 6]) }
}

export_hook! {
    static COUNT: Count = Count {
        numbers: [const { AtomicU64::new(0) }; NUMBERS + 1],
        sites: [const { AtomicU64::new(0) }; SITES],
        places: [const { AtomicPtr::new(ptr::null_mut()) }; SITES],
        process: AtomicU64::new(0),
    };
}
