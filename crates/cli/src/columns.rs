//! The table of counts: which columns, and in which order its rows stand.

use std::cmp::Ordering;
use std::io::{self, Write};

use crate::count::{Counts, Line};

/// A column, by strace's names, and those of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Column {
    /// Of all time how much, in percent
    #[value(alias = "time")]
    TimePercent,
    /// Seconds in all
    #[value(alias = "time-total")]
    TotalTime,
    /// Seconds of the shortest
    #[value(aliases = ["shortest", "time-min"])]
    MinTime,
    /// Seconds of the longest
    #[value(aliases = ["longest", "time-max"])]
    MaxTime,
    /// Microseconds of one on average
    #[value(alias = "time-avg")]
    AvgTime,
    /// Microseconds that half of them take at most
    P50,
    /// Microseconds that 99 % of them take at most
    P99,
    /// Microseconds that all of them take at most
    Max,
    /// Bytes moved from and to files
    Bytes,
    /// How many
    #[value(alias = "count")]
    Calls,
    /// How many failed
    #[value(alias = "error")]
    Errors,
    /// The call's name
    #[value(aliases = ["syscall", "syscall-name"])]
    Name,
}

/// What stands in the table if nobody says.
const USUAL: [Column; 10] = [
    Column::TimePercent,
    Column::TotalTime,
    Column::AvgTime,
    Column::P50,
    Column::P99,
    Column::Max,
    Column::Bytes,
    Column::Calls,
    Column::Errors,
    Column::Name,
];

/// What rows are sorted by: the largest first, but for names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// Seconds in all
    #[default]
    #[value(aliases = ["total-time", "time-total"])]
    Time,
    /// Of the shortest
    #[value(aliases = ["shortest", "time-min"])]
    MinTime,
    /// Of the longest
    #[value(aliases = ["longest", "time-max"])]
    MaxTime,
    /// Of one on average
    #[value(alias = "time-avg")]
    AvgTime,
    /// Bytes moved from and to files
    Bytes,
    /// How many
    #[value(alias = "count")]
    Calls,
    /// How many failed
    #[value(alias = "error")]
    Errors,
    /// By the call's name
    #[value(aliases = ["syscall", "syscall-name"])]
    Name,
    /// By its number
    #[value(alias = "none")]
    Nothing,
}

impl Sort {
    /// Which of two rows comes first.
    pub fn compare(self, a: &Line, b: &Line) -> Ordering {
        let by = match self {
            Self::Time => b.seconds.total_cmp(&a.seconds),
            Self::MinTime => b.min_us.total_cmp(&a.min_us),
            Self::MaxTime => b.max_us.total_cmp(&a.max_us),
            Self::AvgTime => b.mean_us.total_cmp(&a.mean_us),
            Self::Bytes => b.bytes.cmp(&a.bytes),
            Self::Calls => b.calls.cmp(&a.calls),
            Self::Errors => b.errors.cmp(&a.errors),
            Self::Name => a.name.cmp(&b.name),
            Self::Nothing => a.number.cmp(&b.number),
        };
        by.then_with(|| a.name.cmp(&b.name))
    }
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::TimePercent => "% time",
            Self::TotalTime => "seconds",
            Self::MinTime => "shortest",
            Self::MaxTime => "longest",
            Self::AvgTime => "usecs/call",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Max => "max",
            Self::Bytes => "bytes",
            Self::Calls => "calls",
            Self::Errors => "errors",
            Self::Name => "syscall",
        }
    }

    const fn width(self) -> usize {
        match self {
            Self::TimePercent => 6,
            Self::TotalTime | Self::AvgTime | Self::Bytes => 11,
            Self::MinTime | Self::MaxTime => 8,
            Self::P50 | Self::P99 | Self::Max | Self::Calls | Self::Errors => 9,
            Self::Name => 16,
        }
    }

    /// What stands in a row; `all` is the time of all rows.
    fn cell(self, line: &Line, all: f64) -> String {
        match self {
            Self::TimePercent => {
                format!("{:.2}", 100.0 * line.seconds / all.max(f64::MIN_POSITIVE))
            }
            Self::TotalTime => format!("{:.6}", line.seconds),
            Self::MinTime => format!("{:.6}", line.min_us / 1e6),
            Self::MaxTime => format!("{:.6}", line.max_us / 1e6),
            Self::AvgTime => format!("{:.1}", line.mean_us),
            Self::P50 => format!("{:.1}", line.p50_us),
            Self::P99 => format!("{:.1}", line.p99_us),
            Self::Max => format!("{:.1}", line.max_us),
            Self::Bytes => line.bytes.to_string(),
            Self::Calls => line.calls.to_string(),
            Self::Errors if line.errors == 0 => String::new(),
            Self::Errors => line.errors.to_string(),
            Self::Name => line.name.clone(),
        }
    }
}

/// Prints the table: `columns`, or the usual ones.
pub fn table(counts: &Counts, columns: &[Column], out: &mut dyn Write) -> io::Result<()> {
    let mut columns = if columns.is_empty() { &USUAL } else { columns }.to_vec();
    if !columns.contains(&Column::Name) {
        columns.push(Column::Name);
    }
    let row = |cell: &dyn Fn(Column) -> String| {
        let cells = columns.iter().enumerate().map(|(index, column)| {
            let (text, width) = (cell(*column), column.width());
            match column {
                Column::Name if index + 1 == columns.len() => text,
                Column::Name => format!("{text:<width$}"),
                _ => format!("{text:>width$}"),
            }
        });
        cells.collect::<Vec<_>>().join(" ")
    };
    let rule = columns.iter().map(|column| "-".repeat(column.width()));
    let rule = rule.collect::<Vec<_>>().join(" ");
    writeln!(
        out,
        "{}\n{rule}",
        row(&|column| match column {
            Column::Name => counts.by.to_owned(),
            _ => column.title().to_owned(),
        })
    )?;
    for line in &counts.calls {
        writeln!(out, "{}", row(&|column| column.cell(line, counts.seconds)))?;
    }
    let total = counts.sum();
    let last = row(&|column| match column {
        Column::TimePercent => "100.00".to_owned(),
        // Nobody knows them of all together.
        Column::P50 | Column::P99 | Column::Max => String::new(),
        _ => column.cell(&total, counts.seconds),
    });
    writeln!(out, "{rule}\n{last}")
}
