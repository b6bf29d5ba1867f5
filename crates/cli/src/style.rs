//! How the command speaks: messages, tables, colours where a person reads them.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

/// Column heads and totals.
pub const STRONG: Style = Style::new().bold();
/// What matters less.
pub const FAINT: Style = Style::new().dimmed();
/// What went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What a reader should look at.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// Names and addresses.
pub const NAME: Style = AnsiColor::Cyan.on_default();

/// Prints one line of our own on standard error. That nobody can read it is no reason to fail.
pub fn error(message: &str) {
    let message = without_number(message);
    let _ = writeln!(anstream::stderr(), "{BAD}hotpatch:{BAD:#} {message}");
}

/// What the system says of an error, as other programs print it: Rust puts the number of the error behind it.
pub fn without_number(message: &str) -> &str {
    match message.rsplit_once(" (os error ") {
        Some((words, number)) if number.strip_suffix(')').is_some_and(is_number) => words,
        _ => message,
    }
}

fn is_number(text: &str) -> bool {
    text.parse::<u32>().is_ok()
}

/// Whether the reader of our output has gone, which is no error of anybody.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// `text` with control characters made visible: a file's name may hold an escape sequence for the
/// reader's terminal.
pub fn printable(text: &str) -> String {
    if text.chars().any(char::is_control) {
        text.escape_debug().to_string()
    } else {
        text.to_owned()
    }
}

/// One cell: its text and how it looks.
pub type Cell = (String, Style);

/// Rows of aligned columns: the first to the left, all others (numbers) to the right.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these column heads.
    pub fn new(heads: &[&str]) -> Self {
        Self {
            rows: vec![
                heads
                    .iter()
                    .map(|&head| (head.to_owned(), STRONG))
                    .collect(),
            ],
        }
    }

    /// Leaves out the columns in which every count is `nothing`, but for those of the heads in `keep`.
    pub fn leave_out(&mut self, nothing: &str, keep: &[&str]) {
        let Some((heads, body)) = self.rows.split_first() else {
            return;
        };
        let tells = |column: usize, head: &str| {
            column == 0
                || keep.contains(&head)
                || body
                    .iter()
                    .any(|row| row.get(column).is_some_and(|(text, _)| text != nothing))
        };
        let kept: Vec<bool> = heads
            .iter()
            .enumerate()
            .map(|(column, (head, _))| tells(column, head))
            .collect();
        for row in &mut self.rows {
            let mut columns = kept.iter();
            row.retain(|_| columns.next().copied().unwrap_or(true));
        }
    }

    /// Adds a row below.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Writes it; `out` decides whether colours get through.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|(text, _)| text.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            for (column, (text, style)) in row.iter().enumerate() {
                let pad = " ".repeat(widths[column] - text.chars().count());
                if column == 0 {
                    write!(out, "{style}{text}{style:#}{pad}")?;
                } else {
                    write!(out, "  {pad}{style}{text}{style:#}")?;
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

/// A count: faint where there is nothing to count.
pub fn count(n: u64, style: Style) -> Cell {
    (n.to_string(), if n == 0 { FAINT } else { style })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_said_without_their_numbers() {
        let error = std::io::Error::from_raw_os_error(2);
        assert_eq!(
            without_number(&format!("/a: {error}")),
            "/a: No such file or directory"
        );
        assert_eq!(without_number("a (os error x)"), "a (os error x)");
    }

    #[test]
    fn numbers_stand_below_each_other() {
        let mut table = Table::new(&["file", "sites"]);
        table.row(vec![("ä".to_owned(), Style::new()), count(7, Style::new())]);
        let mut out = anstream::StripStream::new(Vec::new());
        table.write(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out.into_inner()).unwrap(),
            "file  sites\nä         7\n"
        );
    }

    #[test]
    fn a_column_that_tells_nothing_is_left_out() {
        let mut table = Table::new(&["file", "sites", "direct", "stone"]);
        for n in [0, 3] {
            table.row(vec![
                ("x".to_owned(), NAME),
                count(0, NAME),
                count(0, NAME),
                count(n, NAME),
            ]);
        }
        table.leave_out("0", &["sites"]);
        let mut out = anstream::StripStream::new(Vec::new());
        table.write(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out.into_inner()).unwrap().lines().next(),
            Some("file  sites  stone")
        );
    }

    #[test]
    fn a_name_cannot_speak_to_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(printable("plain é"), "plain é");
    }
}
