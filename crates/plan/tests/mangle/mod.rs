//! ELF files that are broken on purpose: what `cargo test` and the fuzz target have in common.

use arbitrary::{Result, Unstructured};
use hotpatch_plan::Options;
use hotpatch_plan::addr::Va;
use hotpatch_plan::check::{Fault, check};
use hotpatch_plan::image::Image;
use hotpatch_plan::plan::Tactics;
use hotpatch_plan::search::Scalar;

/// Writes over `file` here and there, mostly where structures are, and may cut it short.
pub fn mangle(file: &mut Vec<u8>, u: &mut Unstructured<'_>) -> Result<()> {
    if u.ratio(1, 3)? && file.len() > 64 {
        // Instructions no longer begin where tables say.
        let at = u.int_in_range(0..=file.len() - 1)?;
        file.remove(at);
    }
    for _ in 0..u.int_in_range(0..=12)? {
        let len = file.len();
        if len < 64 {
            break;
        }
        let at = match u.int_in_range(0..=3)? {
            0 => u.int_in_range(0..=63)?,
            1 => u.int_in_range(0..=len.min(0x400) - 1)?,
            2 => len - u.int_in_range(1..=len.min(0x400))?,
            _ => u.int_in_range(0..=len - 1)?,
        };
        match u.int_in_range(0..=4)? {
            0 => file[at] = u.arbitrary()?,
            1 => file[at] ^= 1 << u.int_in_range(0..=7)?,
            2 => put(file, at, &number(u, len)?.to_le_bytes()),
            3 => put(file, at, &(number(u, len)? as u32).to_le_bytes()),
            _ => {
                let from = u.int_in_range(0..=len - 1)?;
                let block = file[from..len.min(from + 64)].to_vec();
                put(file, at, &block);
            }
        }
    }
    if u.ratio(1, 8)? {
        file.truncate(u.int_in_range(0..=file.len())?);
    }
    Ok(())
}

/// Numbers that sums and comparisons go wrong with.
fn number(u: &mut Unstructured<'_>, len: usize) -> Result<u64> {
    let near = u64::from(u.arbitrary::<u8>()?);
    let around = *u.choose(&[
        0,
        len as u64,
        0x1_0000,
        1 << 31,
        1 << 32,
        1 << 47,
        1 << 63,
        u64::MAX,
    ])?;
    Ok(if u.arbitrary()? {
        around.wrapping_add(near)
    } else {
        around.wrapping_sub(near)
    })
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    let room = &mut file[at..];
    let len = bytes.len().min(room.len());
    room[..len].copy_from_slice(&bytes[..len]);
}

/// Plans `file` if it is an image at all; how many sites it has.
///
/// # Panics
/// If the plan is faulty.
pub fn survives(file: &[u8]) -> usize {
    let Ok(image) = Image::from_file(file) else {
        return 0;
    };
    let options = Options {
        tactics: Tactics::ALL,
        ..Options::new(&Scalar)
    };
    let plan = hotpatch_plan::plan(&image, &options);
    let base = Va(image.span().end.0.wrapping_add(0xfff) & !0xfff);
    let _ = plan.layout(hotpatch_plan::emit::Style::Plain).code_len();
    // A mangled file may say that it fills the address space: then nothing is within reach.
    let Ok(emission) = plan.emit(&image, base, 0) else {
        return plan.sites.len();
    };
    let mut faults = check(&image, &plan, &emission, 0).err().unwrap_or_default();
    faults.retain(|fault| !is_matter_of_opinion(fault));
    assert!(
        faults.is_empty(),
        "{faults:#?}\n{:?}\n{plan:#?}",
        image.code
    );
    plan.sites.len()
}

/// Where bytes were moved or overwritten, nobody can say where instructions begin: planner and judge may
/// differ on what stands around an edit and on who goes there, but on nothing else.
fn is_matter_of_opinion(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Destroyed { .. }
            | Fault::FallsInto { .. }
            | Fault::ArrivesInside { .. }
            | Fault::Bypassed { .. }
            | Fault::RetargetAstray { .. }
            | Fault::MissingSite { .. }
            | Fault::BranchAstray { .. }
            | Fault::NoWayBack { .. }
    )
}
