//! A line on the terminal while something takes longer than a second.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::style::printable;

/// How long nobody wonders.
const PATIENCE: Duration = Duration::from_secs(1);

/// Which of many files is being planned. Silent where standard error is no terminal.
pub struct Progress {
    bar: ProgressBar,
    begin: Instant,
    shown: Cell<bool>,
}

impl Progress {
    /// Nothing is shown yet.
    pub fn new(files: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(files as u64), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            begin: Instant::now(),
            shown: Cell::new(false),
        }
    }

    /// The next file's turn.
    pub fn next(&self, path: &Path) {
        self.bar.inc(1);
        self.bar.set_message(printable(&path.display().to_string()));
        let large = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 32 << 20);
        if !self.shown.get() && (large || self.begin.elapsed() > PATIENCE) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.bar.enable_steady_tick(Duration::from_millis(120));
            self.shown.set(true);
        }
    }

    /// Takes the line away, so that something can be printed in its place; the next file brings it back.
    pub fn pause(&self) {
        if self.shown.take() {
            self.bar.disable_steady_tick();
            self.bar.set_draw_target(ProgressDrawTarget::hidden());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
