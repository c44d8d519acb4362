//! What a restore would do, and what it did, as people read it.

use jiff::Timestamp;
use pgstow_core::Result;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::receipt::{Line, Outcome, Receipt};
use pgstow_core::restore::{RestorePlan, RestoreReport};
use serde::Serialize;

use crate::app::App;
use crate::ui::table::{Align, Table};
use crate::ui::{Output, Text, Tone, format};

/// Lines about equal tables that are printed; the receipt holds all.
const EQUAL_SHOWN: usize = 20;
/// Names of a part that a line lists; JSON has all.
const NAMED: usize = 12;
/// How the receipt begins the lines about tables' rows.
const ROWS_OF: &str = "rows of ";

/// The result of `--dry-run` in JSON.
#[derive(Serialize)]
struct JsonPlan<'r> {
    dry_run: bool,
    plan: &'r RestorePlan,
}

/// Prints the plan as the result.
pub(super) fn dry_run(app: &App<'_>, plan: &RestorePlan, header: &Header, title: &str) -> Result<()> {
    if app.output.is_json() {
        return app.output.print_json(&JsonPlan { dry_run: true, plan });
    }
    let mut text = self::plan(app, plan, header, title);
    text.line("nothing was changed");
    app.output.print(&text)
}

/// The plan in words.
pub(super) fn plan(app: &App<'_>, plan: &RestorePlan, header: &Header, title: &str) -> Text {
    let mut text = app.output.text();
    let taken = format::ago(header.snapshot_at, Timestamp::now());
    text.fields(&[
        ("from", format!("{}   taken {taken}", plan.backup)),
        ("to", format!("{title}  {}  {}", plan.target, plan.target_server)),
    ]);
    text.fields(&steps(plan));
    if plan.atomic {
        text.line(&format!("one transaction: if anything fails, {title} stays as it is"));
    } else {
        text.line("several sessions: if anything fails, what was created until then stays and is named");
    }
    text
}

fn steps(plan: &RestorePlan) -> Vec<(&'static str, String)> {
    let mut fields = part(plan);
    if !plan.drop.is_empty() || plan.drop_rows > 0 {
        let rows = format::count(plan.drop_rows, "row");
        fields.push(("would drop", format!("{}, about {rows}", format::counts(&plan.drop))));
    }
    if !plan.create.is_empty() {
        fields.push(("would create", format::counts(&plan.create)));
    }
    let rows = format::count(plan.load_rows, "row");
    fields.push(("would load", format!("{rows} ({})", format::size(plan.load_bytes))));
    if !plan.create_roles.is_empty() {
        fields.push(("would create", format!("roles {}", plan.create_roles.join(", "))));
    }
    let mapped = plan.map_roles.iter().map(|(old, new)| ("maps", format!("role {old} to {new}")));
    fields.extend(mapped);
    let missing = plan.missing_roles.iter();
    fields.extend(
        missing.map(|role| ("missing", format!("role {} is not there: {}", role.role, role.in_words()))),
    );
    fields.extend(plan.remarks.iter().map(|remark| ("remark", remark.clone())));
    fields.extend(plan.notes.iter().map(|note| ("note", note.clone())));
    fields.extend(plan.hints.iter().map(|hint| ("try", hint.clone())));
    fields
}

/// What was chosen of the backup, and what comes and stays because of it.
fn part(plan: &RestorePlan) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    for (word, names) in [("chosen", &plan.chosen), ("with it", &plan.along), ("stays", &plan.stays)] {
        if !names.is_empty() {
            let more = names.len().saturating_sub(NAMED);
            let named = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            fields.push((word, if more > 0 { format!("{named} and {more} more") } else { named }));
        }
    }
    fields
}

/// Prints what was done and found.
pub(in crate::commands) fn present(app: &App<'_>, report: &RestoreReport, title: &str) -> Result<()> {
    let (output, receipt) = (app.output, &report.receipt);
    if output.is_json() {
        return output.print_json(report);
    }
    let equal = receipt.outcome == Outcome::Equal;
    let mut text = output.text();
    if !output.is_quiet() || !equal {
        verification(&mut text, receipt, output);
        let mut fields: Vec<(&str, String)> =
            receipt.remarks.iter().map(|remark| ("remark", remark.clone())).collect();
        fields.extend(report.notes.iter().map(|note| ("note", note.clone())));
        fields.push(("receipt", report.receipt_path.clone()));
        text.fields(&fields);
        last_line(&mut text, report, title, output);
    }
    output.print(&text)
}

/// The comparison: everything that differs, all kinds, and the first equal tables.
fn verification(text: &mut Text, receipt: &Receipt, output: &Output) {
    let mut table = Table::new(&[
        ("", Align::Left),
        ("VERIFIED", Align::Cut),
        ("BACKUP", Align::Right),
        ("TARGET", Align::Right),
    ]);
    let (shown, hidden) = shown_lines(&receipt.lines);
    for line in shown {
        let (tone, mark) = output.mark(line.equal);
        let tone = if line.equal { Tone::Plain } else { tone };
        let numbers = [format::number(line.expected), format::number(line.found)];
        table.row(tone, [mark.to_owned(), line.what.clone()].into_iter().chain(numbers).collect());
    }
    table.write(text, output.terminal().width, output.ellipsis());
    if hidden > 0 {
        text.line(&format!("  and {}, all equal", format::count(hidden as u64, "more table")));
    }
}

/// The lines to print, in order, and how many equal tables are left out.
fn shown_lines(lines: &[Line]) -> (Vec<&Line>, usize) {
    let mut equal_tables = 0;
    let shown: Vec<&Line> = lines
        .iter()
        .filter(|line| {
            if !line.equal || !line.what.starts_with(ROWS_OF) {
                return true;
            }
            equal_tables += 1;
            equal_tables <= EQUAL_SHOWN
        })
        .collect();
    let hidden = lines.len() - shown.len();
    (shown, hidden)
}

/// The truth in one line.
fn last_line(text: &mut Text, report: &RestoreReport, title: &str, output: &Output) {
    let receipt = &report.receipt;
    let differing = receipt.lines.iter().filter(|line| !line.equal).count();
    let seconds = format::seconds(report.seconds);
    let (tone, mark) = output.mark(receipt.outcome == Outcome::Equal);
    let outcome = match receipt.outcome {
        Outcome::Equal if receipt.checksums => {
            format!("{title} is equal to {}, contents compared; restored in {seconds}", receipt.backup)
        }
        Outcome::Equal => {
            format!("{title} is equal to {}, objects and rows counted; restored in {seconds}", receipt.backup)
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

    fn line(what: String, equal: bool) -> Line {
        Line { what, expected: 2, found: if equal { 2 } else { 1 }, equal }
    }

    #[test]
    fn every_difference_and_every_kind_is_shown_and_equal_tables_are_cut() {
        let mut lines = vec![line("indexes".into(), true)];
        lines.extend((0..60).map(|n| line(format!("rows of public.t{n}"), true)));
        lines.push(line("rows of public.late".into(), false));
        let (shown, hidden) = shown_lines(&lines);
        assert_eq!((shown.len(), hidden), (22, 40));
        assert_eq!(shown[0].what, "indexes");
        assert!(!shown[21].equal);
    }
}
