//! `pgstow show`: what a backup holds.

use clap::Args;
use jiff::Timestamp;
use pgstow_core::Result;
use pgstow_core::postgres::identifier::display_name;
use pgstow_core::repository::Receipts;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::manifest::{
    File, Manifest, NotCarried, Sections, Table as Stored, TableData,
};
use pgstow_core::repository::format::receipt::{Drill, Outcome, Receipt};
use serde::Serialize;

use super::backup::restore_command;
use crate::app::App;
use crate::exit::{Exit, Failure};
use crate::ui::table::{Align, Table};
use crate::ui::{Tone, format};

/// Arguments of `pgstow show`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Backup: latest, ENV@latest, ENV@LABEL, an id or its unique beginning
    #[arg(value_name = "BACKUP")]
    backup: String,
}

/// The result in JSON.
#[derive(Serialize)]
struct JsonBackup<'r> {
    header: &'r Header,
    source: &'r pgstow_core::repository::format::manifest::Source,
    snapshot: &'r pgstow_core::repository::format::manifest::Snapshot,
    selection: &'r pgstow_core::repository::format::manifest::Selection,
    read_in_full_at: Option<Timestamp>,
    tables: Vec<JsonTable<'r>>,
    large_objects: usize,
    files: &'r [File],
    not_carried: &'r [NotCarried],
    receipts: &'r [Receipt],
    restore_command: String,
}

#[derive(Serialize)]
struct JsonTable<'r> {
    schema: &'r str,
    name: &'r str,
    rows: u64,
    bytes: u64,
    data: &'r TableData,
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let repository = app.repository()?;
    let header = repository.resolve(&arguments.backup)?;
    let manifest = repository.manifest(&header)?;
    let Receipts { receipts, damaged, .. } = repository.receipts(&header.id)?;
    for (name, found) in &damaged {
        app.output.warn(&format!("receipt {name} cannot be read: {found}"));
    }
    let restore_command = restore_command(app, &header);
    if app.output.is_json() {
        let tables = manifest.tables.iter().map(|table| JsonTable {
            schema: &table.schema,
            name: &table.name,
            rows: table.rows,
            bytes: table.bytes,
            data: &table.data,
        });
        app.output.print_json(&JsonBackup {
            header: &header,
            source: &manifest.source,
            snapshot: &manifest.snapshot,
            selection: &manifest.selection,
            read_in_full_at: read_in_full_at(&manifest),
            tables: tables.collect(),
            large_objects: manifest.large_objects.list.len(),
            files: &manifest.files,
            not_carried: &manifest.not_carried,
            receipts: &receipts,
            restore_command,
        })?;
        return Ok(Exit::Done);
    }
    let mut text = app.output.text();
    text.put(Tone::Strong, header.id.as_str()).end();
    let mut fields = facts(app, &header, &manifest);
    fields.extend(not_carried(&manifest.not_carried));
    let folder = format!("{}/backups/{}", repository.location(), header.id);
    fields.push(("files", files(&folder, &manifest.files)));
    fields.extend(receipts.iter().rev().map(|receipt| match &receipt.drill {
        Some(drill) => ("drill", drilled(app, receipt, drill)),
        None => ("restored", restored(app, receipt)),
    }));
    fields.push(("restore", restore_command));
    text.fields(&fields);
    if !manifest.tables.is_empty() {
        text.end();
        tables(&manifest.tables).write(&mut text, app.output.terminal().width, app.output.ellipsis());
    }
    app.output.print(&text)?;
    Ok(Exit::Done)
}

fn facts(app: &App<'_>, header: &Header, manifest: &Manifest) -> Vec<(&'static str, String)> {
    let source = &manifest.source;
    let taken = format::moment(header.snapshot_at, app.output.zone());
    let mut fields = vec![
        ("taken", format!("{taken}, {}", format::ago(header.snapshot_at, Timestamp::now()))),
        ("from", format!("{}/{} as {}", source.endpoint, source.database, source.role)),
        ("server", format!("PostgreSQL {}, {}, {}", source.server_version, source.encoding, source.collate)),
        ("snapshot", manifest.snapshot.id.clone()),
    ];
    fields.extend(header.note.clone().map(|note| ("note", note)));
    let sections = match header.sections {
        Sections::All => "definitions and rows",
        Sections::SchemaOnly => "definitions only",
        Sections::DataOnly => "rows only",
    };
    fields.push(("holds", sections.to_owned()));
    fields.extend(selection(manifest));
    fields.push(("objects", format::counts(&header.counts)));
    fields.push(("rows", format!("{}, {}", format::number(header.rows), format::size(header.content_bytes))));
    fields.push((
        "stored",
        format!(
            "{}, {} new with this backup",
            format::size(header.stored_bytes),
            format::size(header.new_bytes)
        ),
    ));
    fields.extend(read_in_full_at(manifest).map(|time| {
        let ago = format::ago(time, Timestamp::now());
        let shown = if time == manifest.snapshot.taken_at {
            "with this backup".to_owned()
        } else {
            format!(
                "{}, {ago}; since then unchanged data was taken over",
                format::moment(time, app.output.zone())
            )
        };
        ("read in full", shown)
    }));
    fields.push(("written by", header.written_by.clone()));
    fields
}

/// No row of the backup was read at the source before this time; `None` where it holds none or an
/// older version did not record it.
fn read_in_full_at(manifest: &Manifest) -> Option<Timestamp> {
    let holds_rows = manifest.selection.sections != Sections::SchemaOnly;
    manifest.proof.as_ref().filter(|_| holds_rows).map(|proof| proof.read_in_full_at)
}

/// What was asked for beyond everything.
fn selection(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let selection = &manifest.selection;
    let lists = [
        ("only tables", &selection.tables),
        ("without tables", &selection.exclude_tables),
        ("without rows of", &selection.exclude_data),
    ];
    lists
        .into_iter()
        .filter(|(_, patterns)| !patterns.is_empty())
        .map(|(label, patterns)| (label, patterns.join(", ")))
        .collect()
}

fn not_carried(items: &[NotCarried]) -> Option<(&'static str, String)> {
    let lines: Vec<String> =
        items.iter().map(|item| format!("{}: {}", item.what, item.reason).replace('\n', " ")).collect();
    (!lines.is_empty()).then(|| ("not carried", lines.join("\n")))
}

fn files(folder: &str, files: &[File]) -> String {
    let names: Vec<String> =
        files.iter().map(|file| format!("{} ({})", file.name, format::size(file.bytes))).collect();
    format!("{folder}\n{}", names.join(", "))
}

fn restored(app: &App<'_>, receipt: &Receipt) -> String {
    let when = format::moment(receipt.finished_at, app.output.zone());
    let how = match (receipt.outcome, receipt.checksums) {
        (Outcome::Equal, _) if !receipt.part.is_empty() => "a part, equal",
        (Outcome::Equal, true) => "equal, contents compared",
        (Outcome::Equal, false) => "equal by counts",
        (Outcome::Differs, _) => "with differences",
        (Outcome::Failed, _) => "failed",
    };
    format!("{when} into {}: {how}", receipt.target)
}

/// A drill: what came of it, how long it took, and what kept the backup from being proven.
fn drilled(app: &App<'_>, receipt: &Receipt, drill: &Drill) -> String {
    let when = format::moment(receipt.finished_at, app.output.zone());
    let left = drill.exceptions.len() as u64;
    let how = match receipt.outcome {
        Outcome::Equal if left == 0 => "proven".to_owned(),
        Outcome::Equal => format!("proven but for {} left out", format::count(left, "thing")),
        Outcome::Differs => "not proven, with differences".to_owned(),
        Outcome::Failed => "failed".to_owned(),
    };
    let server = match drill.server_version.as_str() {
        "" => String::new(),
        version => format!(" on PostgreSQL {version}"),
    };
    let mut lines = vec![format!("{when}{server}: {how}, {}", format::seconds(drill.total_seconds))];
    let failed = drill.checks.iter().filter(|check| !check.passed);
    lines.extend(
        failed.map(|check| {
            format!("check {} failed: {}, expected {}", check.name, check.found, check.expected)
        }),
    );
    lines.extend(receipt.remarks.iter().map(|remark| remark.replace('\n', " ")));
    lines.join("\n")
}

fn tables(stored: &[Stored]) -> Table {
    let mut table = Table::new(&[
        ("TABLE", Align::Cut),
        ("ROWS", Align::Right),
        ("SIZE", Align::Right),
        ("KEPT", Align::Left),
    ]);
    for item in stored {
        let kept = match &item.data {
            TableData::Carried => String::new(),
            TableData::Configuration { extension, .. } => format!("configuration of extension {extension}"),
            TableData::Excluded => "definition only".to_owned(),
            TableData::Unreadable => "definition only, rows could not be read".to_owned(),
            TableData::None => "rows are in its partitions".to_owned(),
        };
        let name = display_name(&item.schema, &item.name);
        table.row(Tone::Plain, vec![name, format::number(item.rows), format::size(item.bytes), kept]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Text;

    #[test]
    fn tables_without_rows_say_why() {
        let stored = |data| Stored {
            schema: "public".into(),
            name: "Order Line".into(),
            oid: 1,
            filenode: 1,
            kind: 'r',
            persistence: 'p',
            columns: Vec::new(),
            data,
            load_through: None,
            rows: 1234,
            bytes: 2048,
            chunks: Vec::new(),
            proof: None,
        };
        let mut text = Text::new(None);
        tables(&[stored(TableData::Carried), stored(TableData::Excluded)]).write(&mut text, None, "…");
        let shown = anstream::adapter::strip_str(text.as_str()).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1], "public.\"Order Line\"  1,234  2.0 KiB");
        assert_eq!(lines[2], "public.\"Order Line\"  1,234  2.0 KiB  definition only");
    }
}
