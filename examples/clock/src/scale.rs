//! A factor with three decimals: there is no floating point without vector registers.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// In thousandths.
pub struct Scale(AtomicU32);

impl Scale {
    /// As it is.
    pub const fn one() -> Self {
        Self(AtomicU32::new(1000))
    }

    /// Sets it to a positive decimal number, if `text` is one.
    pub fn set(&self, text: &[u8]) -> Option<()> {
        let text = str::from_utf8(text).ok()?;
        let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
        let mut factor = whole.parse::<u32>().ok()?.checked_mul(1000)?;
        for (digit, unit) in rest.chars().zip([100, 10, 1]) {
            factor = factor.checked_add(digit.to_digit(10)? * unit)?;
        }
        self.0.store(factor, Relaxed);
        (factor != 0).then_some(())
    }

    /// Time that passes for the program while `real` passes.
    pub fn up(&self, real: u64) -> u64 {
        self.times(real, self.0.load(Relaxed), 1000)
    }

    /// Time that passes while `shown` passes for the program.
    pub fn down(&self, shown: u64) -> u64 {
        self.times(shown, 1000, self.0.load(Relaxed))
    }

    fn times(&self, time: u64, by: u32, over: u32) -> u64 {
        (u128::from(time) * u128::from(by) / u128::from(over.max(1))) as u64
    }
}
