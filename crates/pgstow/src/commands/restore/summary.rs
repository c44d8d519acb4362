//! What a restore did and found, as people read it: the comparison, the tables, what to look at, and the
//! truth in one line.

use pgstow_core::Result;
use pgstow_core::repository::format::receipt::{Line, Outcome, Receipt};
use pgstow_core::restore::{Aftermath, Migrations, RestoreReport};
use serde::Serialize;

use crate::app::App;
use crate::ui::table::{Align, Table};
use crate::ui::{Output, Text, Tone, format};

/// How the receipt begins the lines about tables' rows.
const ROWS_OF: &str = "rows of ";
/// Equal tables that are listed by name, where no list of tables follows.
pub(in crate::commands) const TABLES_BY_NAME: usize = 20;

/// The result in JSON.
#[derive(Serialize)]
struct JsonReport<'r> {
    #[serde(flatten)]
    report: &'r RestoreReport,
    /// What undoes the restore, if a safety backup was taken.
    undo_command: Option<&'r str>,
}

/// Prints what was done and found; `undo_command` undoes it if there is a safety backup.
pub(super) fn present(app: &App<'_>, report: &RestoreReport, title: &str, undo_command: &str) -> Result<()> {
    let (output, receipt) = (app.output, &report.receipt);
    let undo_command = receipt.safety_backup.as_ref().map(|_| undo_command);
    if output.is_json() {
        return output.print_json(&JsonReport { report, undo_command });
    }
    let equal = receipt.outcome == Outcome::Equal && report.receipt_missing.is_none();
    let mut text = output.text();
    if !output.is_quiet() || !equal {
        if receipt.part.is_empty() {
            verification(&mut text, &receipt.lines, "BACKUP", 0, output);
            tables(&mut text, receipt, &report.aftermath, output);
        } else {
            verification(&mut text, &receipt.lines, "BACKUP", TABLES_BY_NAME, output);
        }
        text.fields(&fields(report, undo_command));
        last_line(&mut text, report, title, output);
    }
    output.print(&text)
}

/// What to look at, and what can be done next.
fn fields(report: &RestoreReport, undo_command: Option<&str>) -> Vec<(&'static str, String)> {
    let (receipt, aftermath) = (&report.receipt, &report.aftermath);
    let mut fields: Vec<(&str, String)> =
        receipt.remarks.iter().map(|remark| ("remark", remark.clone())).collect();
    fields.extend(report.notes.iter().map(|note| ("note", note.clone())));
    fields.extend(aftermath.sequences_behind.iter().map(|behind| ("note", behind.clone())));
    fields.extend(aftermath.migrations.iter().map(|found| ("migrations", migrations(found))));
    if aftermath.foreign_keys > 0 {
        fields.push(("foreign keys", format::number(aftermath.foreign_keys)));
    }
    match (&report.receipt_path, &report.receipt_missing) {
        (Some(path), _) => fields.push(("receipt", path.clone())),
        (None, why) => fields.push((
            "remark",
            format!("no receipt could be stored: {}", why.as_deref().unwrap_or("the reason is not known")),
        )),
    }
    fields.extend(undo_command.map(|command| ("undo", command.to_owned())));
    fields
}

/// `public._prisma_migrations: 12 applied, last 20260101_init; not finished: 20260102_more`.
fn migrations(found: &Migrations) -> String {
    let mut text = format!("{}: {} applied", found.table, format::number(found.applied));
    if let Some(last) = &found.last {
        text.push_str(&format!(", last {last}"));
    }
    if !found.unfinished.is_empty() {
        text.push_str(&format!("; failed or not finished: {}", found.unfinished.join(", ")));
    }
    text
}

/// The comparison: all kinds, every table that differs, so many of those that do not, and one line for the
/// others.
pub(in crate::commands) fn verification(
    text: &mut Text,
    lines: &[Line],
    source: &'static str,
    equal_tables: usize,
    output: &Output,
) {
    let mut table = Table::new(&[
        ("", Align::Left),
        ("VERIFIED", Align::Cut),
        (source, Align::Right),
        ("TARGET", Align::Right),
    ]);
    for line in shown_lines(lines, equal_tables) {
        let (tone, mark) = output.mark(line.equal);
        let tone = if line.equal { Tone::Plain } else { tone };
        let numbers = [format::number(line.expected), format::number(line.found)];
        table.row(tone, [mark.to_owned(), line.what].into_iter().chain(numbers).collect());
    }
    table.write(text, output.terminal().width, output.ellipsis());
}

/// The lines to print: of equal tables the first `equal_tables`, and those that remain as one.
fn shown_lines(lines: &[Line], equal_tables: usize) -> Vec<Line> {
    let is_equal_table = |line: &Line| line.equal && line.what.starts_with(ROWS_OF);
    let (equal, mut shown): (Vec<Line>, Vec<Line>) = lines.iter().cloned().partition(is_equal_table);
    let (first, rest) = equal.split_at(equal_tables.min(equal.len()));
    shown.extend_from_slice(first);
    if !rest.is_empty() {
        let noun = if first.is_empty() { "table" } else { "more table" };
        shown.push(Line {
            what: format!("{ROWS_OF}{}", format::count(rest.len() as u64, noun)),
            expected: rest.iter().map(|line| line.expected).sum(),
            found: rest.iter().map(|line| line.found).sum(),
            equal: true,
        });
    }
    shown
}

/// The largest tables with their rows, as far as this restore counted them.
fn tables(text: &mut Text, receipt: &Receipt, aftermath: &Aftermath, output: &Output) {
    if aftermath.tables.is_empty() {
        return;
    }
    let mut table = Table::new(&[("TABLE", Align::Cut), ("ROWS", Align::Right), ("SIZE", Align::Right)]);
    for found in &aftermath.tables {
        let counted = receipt.lines.iter().find(|line| line.what.strip_prefix(ROWS_OF) == Some(&found.table));
        let rows = counted.map_or_else(|| "-".to_owned(), |line| format::number(line.found));
        table.row(Tone::Plain, vec![found.table.clone(), rows, format::size(found.bytes)]);
    }
    text.end();
    table.write(text, output.terminal().width, output.ellipsis());
    let hidden = aftermath.table_count.saturating_sub(aftermath.tables.len() as u64);
    if hidden > 0 {
        text.line(&format!("and {}, all smaller", format::count(hidden, "more table")));
    }
    text.end();
}

/// The truth in one line.
fn last_line(text: &mut Text, report: &RestoreReport, title: &str, output: &Output) {
    let receipt = &report.receipt;
    let differing = receipt.lines.iter().filter(|line| !line.equal).count();
    let seconds = format::seconds(report.seconds);
    let recorded = report.receipt_missing.is_none();
    let (tone, mark) = output.mark(receipt.outcome == Outcome::Equal && recorded);
    let outcome = match receipt.outcome {
        Outcome::Equal => {
            let what = if receipt.part.is_empty() { "is equal to" } else { "has what was chosen of" };
            let how = if receipt.checksums { "contents compared" } else { "objects and rows counted" };
            format!("{title} {what} {}, {how}; restored in {seconds}", receipt.backup)
        }
        Outcome::Differs => format!(
            "restored, but {title} is not all as in {}: {}, {}, listed above",
            receipt.backup,
            format::count(differing as u64, "difference"),
            format::count(receipt.remarks.len() as u64, "remark"),
        ),
        Outcome::Failed => format!("{title} was not restored from {}: it failed", receipt.backup),
    };
    text.put(tone, mark).plain(" ").put(tone, &outcome).end();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(what: &str, expected: u64, found: u64) -> Line {
        Line { what: what.to_owned(), expected, found, equal: expected == found }
    }

    #[test]
    fn every_difference_and_every_kind_is_shown_and_equal_tables_are_summed() {
        let lines = [
            line("indexes", 4, 4),
            line("rows of public.a", 2, 2),
            line("rows of public.b", 3, 2),
            line("rows of public.c", 5, 5),
        ];
        let shown = shown_lines(&lines, 0);
        let expected =
            [line("indexes", 4, 4), line("rows of public.b", 3, 2), line("rows of 2 tables", 7, 7)];
        assert_eq!(shown, expected);
        assert_eq!(shown_lines(&lines[..1], 0), lines[..1]);
        let some = shown_lines(&lines, 1);
        assert_eq!(some[2..], [line("rows of public.a", 2, 2), line("rows of 1 more table", 5, 5)]);
    }

    #[test]
    fn the_state_of_migrations_names_what_did_not_finish() {
        let mut found = Migrations {
            table: "public._prisma_migrations".into(),
            applied: 12,
            last: Some("20260101_init".into()),
            unfinished: Vec::new(),
        };
        assert_eq!(migrations(&found), "public._prisma_migrations: 12 applied, last 20260101_init");
        found.unfinished = vec!["20260102_more".into()];
        assert!(migrations(&found).ends_with("; failed or not finished: 20260102_more"));
    }
}
