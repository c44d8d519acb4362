//! What differs, as people read it: a summary first, then each difference.

use std::collections::BTreeMap;

use pgstow_core::Result;
use pgstow_core::diff::{
    Cell, Change, ChangedRow, Content, DiffReport, KeyKind, ObjectChange, PrivilegeChange, RowReport,
    ShownRow, StateSummary,
};
use pgstow_core::inventory::ObjectKind;
use pgstow_core::postgres::identifier::display_part;
use serde::Serialize;

use crate::app::App;
use crate::ui::table::{Align, Table};
use crate::ui::{Output, Text, Tone, format};

/// The result in JSON.
#[derive(Serialize)]
struct Json<'r> {
    #[serde(flatten)]
    report: &'r DiffReport,
    equal: bool,
}

/// Prints the result.
pub(super) fn present(app: &App<'_>, report: &DiffReport) -> Result<()> {
    let output = app.output;
    let equal = report.is_equal();
    if output.is_json() {
        return output.print_json(&Json { report, equal });
    }
    let mut text = output.text();
    text.fields(&[("before", state(&report.before, output)), ("after", state(&report.after, output))]);
    if !equal {
        text.fields(&summary(report));
    }
    objects(&mut text, report);
    privileges(&mut text, &report.privileges);
    others(&mut text, report);
    row_counts(&mut text, report, output);
    for rows in &report.rows_compared {
        self::rows(&mut text, rows, report.before.live || report.after.live);
    }
    for what in &report.not_compared {
        text.put(Tone::Warn, "not compared").plain("  ").line(what);
    }
    last_line(&mut text, report, output);
    output.print(&text)
}

fn state(state: &StateSummary, output: &Output) -> String {
    let moment = format::moment(state.taken_at, output.zone());
    let how = if state.live { "as it is now, " } else { "" };
    format!("{}   {how}{moment}, PostgreSQL {}", state.name, state.server_version)
}

/// How much of each kind differs.
fn summary(report: &DiffReport) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    for (label, change) in [
        ("added", Change::Added),
        ("removed", Change::Removed),
        ("changed", Change::Changed),
        ("owners", Change::Owner),
    ] {
        let mut counts: BTreeMap<ObjectKind, usize> = BTreeMap::new();
        for object in report.objects.iter().filter(|object| object.change == change) {
            *counts.entry(object.kind).or_default() += 1;
        }
        let parts: Vec<String> =
            counts.iter().map(|(kind, number)| format::count(*number as u64, kind.singular())).collect();
        if !parts.is_empty() {
            fields.push((label, parts.join(", ")));
        }
    }
    let privileges = |change| report.privileges.iter().filter(|held| held.change == change).count();
    let (gained, lost) = (privileges(Change::Added), privileges(Change::Removed));
    if gained + lost > 0 {
        fields.push(("privileges", format!("{gained} gained, {lost} lost")));
    }
    if !report.row_counts.is_empty() || !report.contents.is_empty() {
        let mut parts = Vec::new();
        let counted = report.row_counts.len() as u64;
        if counted > 0 {
            parts.push(format!("{} with other numbers of rows", format::count(counted, "table")));
        }
        let open = report.contents.len() as u64;
        if open > 0 {
            parts.push(format!("{} that may differ in contents", format::count(open, "table")));
        }
        fields.push(("rows", parts.join(", ")));
    }
    fields
}

fn mark(change: Change) -> (Tone, &'static str) {
    match change {
        Change::Added => (Tone::Good, "+"),
        Change::Removed => (Tone::Bad, "-"),
        Change::Changed | Change::Owner => (Tone::Warn, "~"),
    }
}

/// Objects; what came or went with its table is only counted there.
fn objects(text: &mut Text, report: &DiffReport) {
    let tables: Vec<(&ObjectChange, String)> = report
        .objects
        .iter()
        .filter(|object| matches!(object.kind, ObjectKind::Table | ObjectKind::ForeignTable))
        .filter(|object| matches!(object.change, Change::Added | Change::Removed))
        .map(|object| (object, format!("{}.", object.name)))
        .collect();
    let of_table = |object: &ObjectChange| {
        let is_part = matches!(
            object.kind,
            ObjectKind::Column
                | ObjectKind::Constraint
                | ObjectKind::Trigger
                | ObjectKind::Rule
                | ObjectKind::Policy
        );
        tables.iter().position(|(table, prefix)| {
            is_part && table.change == object.change && object.name.starts_with(prefix.as_str())
        })
    };
    for object in &report.objects {
        if of_table(object).is_some() {
            continue;
        }
        let (tone, sign) = mark(object.change);
        text.put(tone, sign).plain(" ").put(Tone::Faint, object.kind.singular()).plain(" ");
        text.put(Tone::Strong, &object.name);
        let own = tables.iter().position(|(table, _)| std::ptr::eq(*table, object));
        let mut parts: BTreeMap<ObjectKind, u64> = BTreeMap::new();
        if own.is_some() {
            for part in report.objects.iter().filter(|other| of_table(other) == own) {
                *parts.entry(part.kind).or_default() += 1;
            }
        }
        let parts: Vec<String> =
            parts.iter().map(|(kind, number)| format::count(*number, kind.singular())).collect();
        if !parts.is_empty() {
            text.plain(&format!("  with {}", parts.join(", ")));
        }
        if let (Some(before), Some(after)) = (&object.owner_before, &object.owner_after) {
            text.plain(&format!("  owner {before} → {after}"));
        }
        text.end();
        definition(text, &object.lines);
    }
}

fn definition(text: &mut Text, lines: &[String]) {
    for line in lines {
        let tone = match line.chars().next() {
            Some('-') => Tone::Bad,
            Some('+') => Tone::Good,
            _ => Tone::Faint,
        };
        text.plain("    ").put(tone, line).end();
    }
}

fn privileges(text: &mut Text, changes: &[PrivilegeChange]) {
    for held in changes {
        let (tone, sign) = mark(held.change);
        let who = held.grantee.as_deref().unwrap_or("everyone (PUBLIC)");
        let verb = if held.change == Change::Added { "gained" } else { "lost" };
        let option = if held.grantable { " with grant option" } else { "" };
        let what = match &held.column {
            Some(column) => format!("column {} of table {}", display_part(column), held.name),
            None if held.target == "DATABASE" => "the database".to_owned(),
            None => format!("{} {}", held.target.to_lowercase(), held.name),
        };
        text.put(tone, sign).plain(" ").put(Tone::Strong, who);
        text.line(&format!(" {verb} {}{option} on {what}", held.privilege));
    }
}

fn others(text: &mut Text, report: &DiffReport) {
    for extension in &report.extensions {
        text.put(Tone::Warn, "~").plain(" ").put(Tone::Faint, "extension").plain(" ");
        text.put(Tone::Strong, &extension.name);
        text.line(&format!("  version {} → {}", extension.before, extension.after));
    }
    for role in &report.roles {
        let (tone, sign) = mark(role.change);
        text.put(tone, sign).plain(" ").put(Tone::Faint, "role").plain(" ").put(Tone::Strong, &role.name);
        text.line(&format!("  {}", role.details.join(", ")));
    }
    for setting in &report.settings {
        text.put(Tone::Warn, "~").plain(" ").put(Tone::Faint, "setting").plain(" ");
        text.put(Tone::Strong, setting).end();
    }
    for sequence in &report.sequences {
        text.put(Tone::Warn, "~").plain(" ").put(Tone::Faint, "sequence").plain(" ");
        text.put(Tone::Strong, &sequence.name);
        let called = |called: bool| if called { "" } else { " (not handed out yet)" };
        text.line(&format!(
            "  at {}{} → {}{}",
            sequence.before,
            called(sequence.called_before),
            sequence.after,
            called(sequence.called_after)
        ));
    }
}

fn row_counts(text: &mut Text, report: &DiffReport, output: &Output) {
    if !report.row_counts.is_empty() {
        let mut table = Table::new(&[
            ("ROWS OF", Align::Cut),
            ("BEFORE", Align::Right),
            ("AFTER", Align::Right),
            ("DIFFERENCE", Align::Right),
        ]);
        for count in &report.row_counts {
            let difference = if count.after >= count.before {
                format!("+{}", format::number(count.after - count.before))
            } else {
                format!("-{}", format::number(count.before - count.after))
            };
            let cells = vec![
                count.table.clone(),
                format::number(count.before),
                format::number(count.after),
                difference,
            ];
            table.row(Tone::Plain, cells);
        }
        table.write(text, output.terminal().width, output.ellipsis());
    }
    for Content { table, rows, equal_rows, reason } in &report.contents {
        text.put(Tone::Warn, "?").plain(" ").put(Tone::Faint, "rows of").plain(" ").put(Tone::Strong, table);
        let proven = if *equal_rows > 0 {
            format!(", {} of them in equal chunks", format::number(*equal_rows))
        } else {
            String::new()
        };
        text.line(&format!(
            "  as many as before ({}{proven}); contents may differ: {reason}",
            format::number(*rows)
        ));
    }
}

fn rows(text: &mut Text, rows: &RowReport, live: bool) {
    text.put(Tone::Strong, &rows.table);
    let by = match rows.key_kind {
        KeyKind::PrimaryKey => format!("by primary key ({})", rows.key.join(", ")),
        KeyKind::Unique => format!("by its unique columns ({})", rows.key.join(", ")),
        KeyKind::Asked => format!("by {}", rows.key.join(", ")),
        KeyKind::WholeRow => {
            "as whole rows, since it has no key: a changed row is one removed and one added".to_owned()
        }
    };
    text.line(&format!(
        "  {} before, {} after, compared {by}",
        format::count(rows.rows_before, "row"),
        format::number(rows.rows_after)
    ));
    if rows.rows_not_read > 0 {
        let why = if live {
            "their pages have not changed since the backup"
        } else {
            "both backups have their chunks"
        };
        let number = format::count(rows.rows_not_read, "row");
        text.line(&format!("  {number} not read, since certainly equal: {why}"));
    }
    if let Some(why) = &rows.read_in_full {
        text.line(&format!("  all rows were read: {why}"));
    }
    for remark in &rows.column_remarks {
        text.put(Tone::Warn, "  note").plain("  ").line(remark);
    }
    text.line(&format!(
        "  {} removed, {} added, {} changed",
        format::number(rows.removed),
        format::number(rows.added),
        format::number(rows.changed)
    ));
    rows.removed_rows.iter().for_each(|row| shown_row(text, Change::Removed, row));
    hidden(text, "removed", rows.removed, rows.removed_rows.len());
    rows.added_rows.iter().for_each(|row| shown_row(text, Change::Added, row));
    hidden(text, "added", rows.added, rows.added_rows.len());
    rows.changed_rows.iter().for_each(|row| changed_row(text, row));
    hidden(text, "changed", rows.changed, rows.changed_rows.len());
}

fn hidden(text: &mut Text, what: &str, all: u64, shown: usize) {
    let more = all.saturating_sub(shown as u64);
    if shown > 0 && more > 0 {
        text.line(&format!("    and {} more {what}; --limit shows more", format::number(more)));
    }
}

/// `name=value`, the value cut to what fits a line.
fn cells(cells: &[Cell]) -> String {
    let one = |cell: &Cell| format!("{}={}", display_part(&cell.column), value(cell.value.as_deref()));
    cells.iter().map(one).collect::<Vec<_>>().join("  ")
}

fn value(value: Option<&str>) -> String {
    const CHARACTERS: usize = 60;
    let Some(value) = value else { return "NULL".to_owned() };
    let cut: String = value.chars().take(CHARACTERS).collect();
    let more = if cut.len() < value.len() && !cut.ends_with('…') { "…" } else { "" };
    let plain = !value.is_empty() && !value.contains(char::is_whitespace) && value != "NULL";
    if plain { format!("{cut}{more}") } else { format!("'{cut}{more}'") }
}

fn shown_row(text: &mut Text, change: Change, row: &ShownRow) {
    let (tone, sign) = mark(change);
    text.plain("    ").put(tone, sign).plain(" ").put(Tone::Strong, &cells(&row.key));
    let gap = if row.key.is_empty() { "" } else { "  " };
    text.plain(gap).line(&cells(&row.values));
}

fn changed_row(text: &mut Text, row: &ChangedRow) {
    let (tone, sign) = mark(Change::Changed);
    text.plain("    ").put(tone, sign).plain(" ").put(Tone::Strong, &cells(&row.key));
    let pairs = row.before.iter().zip(&row.after).map(|(old, new)| {
        format!(
            "{}: {} → {}",
            display_part(&old.column),
            value(old.value.as_deref()),
            value(new.value.as_deref())
        )
    });
    text.plain("  ").line(&pairs.collect::<Vec<_>>().join("  "));
}

fn last_line(text: &mut Text, report: &DiffReport, output: &Output) {
    for note in &report.notes {
        text.put(Tone::Faint, "note").plain("  ").line(note);
    }
    let counted = report.tables_with_equal_counts as u64;
    let proven = report.tables_proven_equal as u64;
    let rows = match (counted, proven) {
        (0, _) => String::new(),
        (_, 0) => {
            format!("; {} with equal numbers of rows, contents not compared", format::count(counted, "table"))
        }
        _ if counted == proven => {
            format!("; {} with equal rows, proven by their objects", format::count(counted, "table"))
        }
        _ => format!(
            "; {} with equal numbers of rows, {proven} of them proven equal",
            format::count(counted, "table")
        ),
    };
    let (tone, sign) = output.mark(report.is_equal());
    let outcome = if report.is_equal() { "nothing differs" } else { "they differ, as listed above" };
    text.put(tone, sign).plain(" ").put(tone, outcome).line(&rows);
}
