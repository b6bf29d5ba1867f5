//! Plans for a person: a table by tactic, a list of sites, code before and after.

use std::io::{self, Write};

use anstyle::Style;
use hotpatch_plan::code::Code;
use hotpatch_plan::plan::{Outcome, Refusal, Site, Tactic};
use hotpatch_plan::show::{self, Line, Mark};

use super::progress::Progress;
use super::{Counts, Planned};
use crate::args::Inspect;
use crate::style::{BAD, Cell, FAINT, GOOD, NAME, STRONG, Table, count, printable};

/// What is printed file by file, and the table of all files at the end.
pub struct Summary<'a> {
    args: &'a Inspect,
    table: Table,
    total: Counts,
    files: usize,
    microseconds: u64,
}

impl<'a> Summary<'a> {
    /// Nothing planned yet.
    pub fn new(args: &'a Inspect) -> Self {
        let mut heads = vec!["file", "sites"];
        heads.extend(Tactic::ALL.map(Tactic::name));
        heads.extend(["native", "refused", "µs"]);
        Self {
            args,
            table: Table::new(&heads),
            total: Counts::default(),
            files: 0,
            microseconds: 0,
        }
    }

    /// One file: its sites and code now, its line of the table later.
    pub fn file(
        &mut self,
        out: &mut dyn Write,
        progress: &Progress,
        planned: &Planned<'_>,
    ) -> io::Result<()> {
        let counts = Counts::of(&planned.plan);
        let path = printable(&planned.path.display().to_string());
        self.table.row(cells(
            (path.clone(), NAME),
            &counts,
            planned.microseconds,
            Style::new(),
        ));
        self.total.add(&counts);
        self.files += 1;
        self.microseconds += planned.microseconds;
        if self.args.sites || self.args.asm.is_some() || !planned.faults.is_empty() {
            progress.pause();
            writeln!(out, "{STRONG}{path}{STRONG:#}")?;
        }
        for fault in &planned.faults {
            writeln!(
                out,
                "  {BAD}the plan did not pass its check: {fault}{BAD:#}"
            )?;
        }
        if self.args.sites {
            sites(out, planned, self.args.kinds.is_some())?;
        }
        if let Some(which) = &self.args.asm {
            asm(out, planned, which)?;
        }
        Ok(())
    }

    /// The table.
    pub fn end(mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.files == 0 {
            return Ok(());
        }
        if self.files > 1 {
            self.table.row(cells(
                ("total".to_owned(), STRONG),
                &self.total,
                self.microseconds,
                STRONG,
            ));
        }
        self.table.leave_out("0", &["sites", "refused"]);
        self.table.write(out)
    }
}

fn cells(first: Cell, counts: &Counts, microseconds: u64, style: Style) -> Vec<Cell> {
    let mut cells = vec![first, count(counts.sites, style)];
    cells.extend(Tactic::ALL.map(|tactic| count(counts.by(tactic), style)));
    cells.extend([
        count(counts.native, style),
        count(counts.refused, BAD),
        count(microseconds, style),
    ]);
    cells
}

fn sites(out: &mut dyn Write, planned: &Planned<'_>, with_kind: bool) -> io::Result<()> {
    let names: Vec<String> = planned
        .plan
        .sites
        .iter()
        .map(|site| name(planned, site))
        .collect();
    let width = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0)
        .min(48);
    for (site, name) in planned.plan.sites.iter().zip(&names) {
        let (word, style) = word(site);
        write!(
            out,
            "  {NAME}{:>10}{NAME:#}  {name:<width$}  ",
            site.at.to_string()
        )?;
        if with_kind {
            write!(out, "{:<8}  ", site.kind.name())?;
        }
        write!(out, "{style}{word}{style:#}")?;
        match &site.outcome {
            Outcome::Patched { .. } | Outcome::NotSelected => {}
            Outcome::Native(native) => {
                write!(
                    out,
                    "  {FAINT}{}{FAINT:#}",
                    show::why_native(planned.image, native)
                )?;
            }
            Outcome::Refused(reasons) => {
                let reasons: Vec<String> = reasons
                    .iter()
                    .filter(|(_, refusal)| *refusal != Refusal::NotAllowed)
                    .map(|(tactic, refusal)| {
                        format!(
                            "{}: {}",
                            tactic.name(),
                            show::why_refused(planned.image, refusal)
                        )
                    })
                    .collect();
                write!(out, "  {}", printable(&reasons.join("; ")))?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The symbol and offset, empty where no symbol covers the site.
fn name(planned: &Planned<'_>, site: &Site) -> String {
    match planned.image.symbol_at(site.at) {
        Some(_) => printable(&show::name(planned.image, site.at)),
        None => String::new(),
    }
}

fn word(site: &Site) -> (&'static str, Style) {
    let style = match site.outcome {
        Outcome::Patched { .. } => GOOD,
        Outcome::Native(_) | Outcome::NotSelected => Style::new(),
        Outcome::Refused(_) => BAD,
    };
    (show::outcome(site), style)
}

fn asm(out: &mut dyn Write, planned: &Planned<'_>, which: &str) -> io::Result<()> {
    let mut code = Code::new(planned.image);
    code.expect(planned.plan.sites.iter().map(|site| (site.at, site.kind)));
    let mut found = false;
    for (index, site) in planned.plan.sites.iter().enumerate() {
        if !is_meant(planned, site, which) {
            continue;
        }
        found = true;
        let Some(listing) = show::listing(&mut code, &planned.plan, &planned.emission, index)
        else {
            continue;
        };
        let (word, style) = word(site);
        let name = printable(&show::name(planned.image, site.at));
        writeln!(
            out,
            "{NAME}{}{NAME:#} {name}: {style}{word}{style:#}",
            site.at
        )?;
        let parts = [
            ("before", listing.before),
            ("after", listing.after),
            ("trampoline", listing.trampoline),
        ];
        for (title, lines) in parts.iter().filter(|(_, lines)| !lines.is_empty()) {
            writeln!(out, "  {FAINT}{title}{FAINT:#}")?;
            lines.iter().try_for_each(|line| instruction(out, line))?;
        }
    }
    if !found && !planned.plan.sites.is_empty() {
        writeln!(out, "  no system call at or in {}", printable(which))?;
    }
    Ok(())
}

/// Whether `which` names the site: all, its address, or its function.
fn is_meant(planned: &Planned<'_>, site: &Site, which: &str) -> bool {
    let address = which
        .strip_prefix("0x")
        .and_then(|digits| u64::from_str_radix(digits, 16).ok());
    match address {
        Some(address) => site.at.0 == address,
        None if which.is_empty() => true,
        None => planned
            .image
            .symbol_at(site.at)
            .is_some_and(|(symbol, _)| symbol == which),
    }
}

fn instruction(out: &mut dyn Write, line: &Line) -> io::Result<()> {
    let style = match line.mark {
        Mark::Changed => GOOD,
        Mark::Left | Mark::Gap => FAINT,
        Mark::Same => Style::new(),
    };
    writeln!(out, "{style}{}{style:#}", printable(&line.to_string()))
}
