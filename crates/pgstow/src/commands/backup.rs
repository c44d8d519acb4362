//! `pgstow backup`: makes a backup and says what is in it.

mod reused;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use pgstow_core::backup::{self, BackupOptions, BackupReport};
use pgstow_core::inventory::ObjectKind;
use pgstow_core::platform::AuthUsers;
use pgstow_core::repository::format::header::{Header, SAFETY_LABEL};
use pgstow_core::repository::format::id::Label;
use pgstow_core::repository::format::manifest::{NotCarried, Sections, Selection};
use pgstow_core::repository::{PruneReport, Repository};
use pgstow_core::{Error, Result};
use serde::Serialize;

use super::prune;
use crate::app::{App, Database};
use crate::arguments::SectionArguments;
use crate::config::parse_duration;
use crate::exit::{Exit, Failure};
use crate::ui::{Text, Tone, format, progress};

/// While a reader compresses, the server's process that feeds another one has the processor.
const READERS_PER_PROCESSOR: usize = 2;
/// How many expected omissions the summary names; `pgstow show` names all.
const EXPECTED_SHOWN: usize = 8;

/// Arguments of `pgstow backup`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Environment to back up [default: the default environment]
    #[arg(value_name = "ENV")]
    environment: Option<String>,

    /// Back up the database of this URL instead; '$NAME' takes it from a variable
    #[arg(long, value_name = "URL", conflicts_with = "environment")]
    url: Option<String>,

    /// Short tag that becomes part of the backup's id
    #[arg(long, value_name = "LABEL", value_parser = parse_label)]
    label: Option<Label>,

    /// Free text to keep with the backup
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,

    /// Read everything, also what is proven not to have changed
    #[arg(long)]
    full: bool,

    #[command(flatten)]
    sections: SectionArguments,

    /// Only tables that match; may be given several times
    #[arg(long, value_name = "PATTERN")]
    table: Vec<String>,

    /// Leave out tables that match; may be given several times
    #[arg(long, value_name = "PATTERN")]
    exclude_table: Vec<String>,

    /// Leave out the rows of tables that match; may be given several times
    #[arg(long, value_name = "PATTERN")]
    exclude_data: Vec<String>,

    /// Users of Supabase Auth: none, metadata (without passwords and tokens) or full [default:
    /// metadata, or full into an encrypted repository]
    #[arg(long, value_name = "HOW", value_parser = parse_auth_users)]
    auth_users: Option<AuthUsers>,

    #[command(flatten)]
    reading: ReadingArguments,
}

/// How the source is read.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ReadingArguments {
    /// Parallel readers, 1 to 64 [default: two per processor, at most 8]
    #[arg(long, short, value_name = "N", value_parser = parse_jobs)]
    pub(super) jobs: Option<usize>,

    /// Give up when a lock is not had within this time [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) lock_timeout: Option<Duration>,

    /// pg_dump to use: the program, or the folder it is in
    #[arg(long, value_name = "PATH")]
    pub(super) pg_dump: Option<PathBuf>,
}

/// The value of `--jobs`.
pub(super) fn parse_jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(jobs @ 1..=64) => Ok(jobs),
        _ => Err("a number from 1 to 64 is needed".to_owned()),
    }
}

/// The value of `--label`.
fn parse_label(text: &str) -> Result<Label, String> {
    if text == SAFETY_LABEL {
        return Err("this label is for safety backups, which restores take".to_owned());
    }
    Label::new(text).map_err(|error| error.to_string())
}

/// The value of `--auth-users`.
fn parse_auth_users(text: &str) -> Result<AuthUsers, String> {
    let all = [AuthUsers::None, AuthUsers::Metadata, AuthUsers::Full];
    let found = all.into_iter().find(|users| users.to_string() == text);
    found.ok_or_else(|| "none, metadata or full is needed".to_owned())
}

/// The result in JSON.
#[derive(Serialize)]
struct JsonReport<'r> {
    #[serde(flatten)]
    report: &'r BackupReport,
    complete: bool,
    restore_command: &'r str,
    /// What retention did afterwards.
    pruned: Option<&'r PruneReport>,
}

pub(super) fn run(app: &App<'_>, arguments: Arguments) -> Result<Exit, Failure> {
    let nothing_written = |error| Failure::closing("nothing was written")(error);
    let database = app.database(arguments.environment.as_deref(), arguments.url.as_deref());
    let database = database.map_err(nothing_written)?;
    let configured = options(app, &database, &arguments.reading).map_err(nothing_written)?;
    let options = BackupOptions {
        label: arguments.label,
        note: arguments.note,
        full: arguments.full,
        selection: Selection {
            sections: arguments.sections.sections(),
            tables: arguments.table,
            exclude_tables: arguments.exclude_table,
            exclude_data: arguments.exclude_data,
        },
        auth_users: arguments.auth_users.or(configured.auth_users),
        ..configured
    };
    let (repository, new) = app.repository_or_new().map_err(nothing_written)?;
    let report = make(app, &repository, &options, &database.title()).map_err(|error| {
        new.take_back();
        nothing_written(error)
    })?;
    app.facts.backup(&report.header.id);
    let pruned = retain(app, &repository, &database, &report);
    let (pruned, failed) = match pruned {
        Ok(pruned) => (pruned, None),
        Err(error) => (None, Some(error)),
    };
    present(app, &report, &options.selection, pruned.as_ref())?;
    let failures = pruned.iter().flat_map(|pruned| pruned.failures.clone());
    let failures: Vec<String> = failures.chain(failed.map(|error| retention_failed(&error))).collect();
    failures.iter().for_each(|failure| app.output.warn(failure));
    Ok(if report.is_complete() && failures.is_empty() { Exit::Done } else { Exit::Differs })
}

/// Applies the environment's rules, if it has any, after a backup that counts as a kept one.
fn retain(
    app: &App<'_>,
    repository: &Repository,
    database: &Database<'_>,
    report: &BackupReport,
) -> Result<Option<PruneReport>> {
    let Some(environment) = database.environment.filter(|_| report.is_complete()) else { return Ok(None) };
    let Some(rules) = environment.retention.clone() else { return Ok(None) };
    prune::after_backup(app, repository, &environment.name, rules).map(Some)
}

/// The backup is good all the same.
fn retention_failed(error: &Error) -> String {
    let reason = error.reason().map_or_else(String::new, |reason| format!(" ({reason})"));
    format!("the backup is done, but retention could not be applied: {error}{reason}")
}

/// Options for everything of a database.
pub(super) fn options(
    app: &App<'_>,
    database: &Database<'_>,
    reading: &ReadingArguments,
) -> Result<BackupOptions> {
    let configured =
        database.environment.map(|environment| environment.pg_dump(&app.config.variables)).transpose()?;
    let defaults = BackupOptions::new(database.name()?, database.connection.clone());
    Ok(BackupOptions {
        jobs: app.jobs(reading.jobs, database.environment, READERS_PER_PROCESSOR),
        pg_dump: reading.pg_dump.clone().or(configured.flatten()),
        search_path: app.process.search_path(),
        lock_timeout: reading.lock_timeout.or(database.lock_timeout()).unwrap_or(defaults.lock_timeout),
        full_every: database.full_every(),
        auth_users: database.environment.and_then(|environment| environment.auth_users),
        ..defaults
    })
}

/// Makes the backup, showing progress.
pub(super) fn make(
    app: &App<'_>,
    repository: &Repository,
    options: &BackupOptions,
    title: &str,
) -> Result<BackupReport> {
    let monitor = progress::monitor(app.output, title);
    let report = backup::run(repository, options, monitor.as_ref(), &app.interrupt);
    drop(monitor);
    report.map_err(|error| if error.message().starts_with(title) { error } else { named(error, title) })
}

/// An interruption is nobody's fault; any other error names the environment.
fn named(error: Error, title: &str) -> Error {
    if error.kind() == pgstow_core::ErrorKind::Interrupted { error } else { error.context(title) }
}

/// Says what was made.
pub(super) fn present(
    app: &App<'_>,
    report: &BackupReport,
    selection: &Selection,
    pruned: Option<&PruneReport>,
) -> Result<()> {
    let output = app.output;
    let restore = restore_command(app, &report.header);
    if output.is_json() {
        let complete = report.is_complete();
        return output.print_json(&JsonReport { report, complete, restore_command: &restore, pruned });
    }
    if output.is_quiet() {
        report.remarks.iter().for_each(|remark| output.warn(remark));
        for item in report.not_carried.iter().filter(|item| !item.expected) {
            output.warn(&format!("not carried: {}: {}", item.what, item.reason));
        }
        let mut text = Text::new(None);
        text.line(report.header.id.as_str());
        return output.print(&text);
    }
    let mut text = output.text();
    let mut fields = fields(report, selection);
    fields.extend(pruned.map(|pruned| ("pruned", prune::in_short(pruned))));
    fields.push(("restore", restore));
    summarise(&mut text, report, output.mark(report.is_complete()), &fields);
    output.print(&text)
}

/// The lines of the summary.
fn fields(report: &BackupReport, selection: &Selection) -> Vec<(&'static str, String)> {
    let mut fields: Vec<(&str, String)> = reused::field(&report.reuse).into_iter().collect();
    fields.push(("carried", carried(&report.header, report.tables, selection)));
    fields.extend(not_carried(&report.not_carried).map(|lines| ("not carried", lines)));
    fields.extend((!report.remarks.is_empty()).then(|| ("mind", report.remarks.join("\n"))));
    fields
}

fn summarise(text: &mut Text, report: &BackupReport, mark: (Tone, &str), fields: &[(&str, String)]) {
    let header = &report.header;
    text.put(mark.0, mark.1).plain(" ").put(Tone::Strong, header.id.as_str()).aside(&format!(
        "{}, {}, {} added to the repository",
        format::seconds(report.seconds),
        reused::amounts(&report.reuse),
        format::size(header.new_bytes),
    ));
    text.fields(fields);
    let missing = report.not_carried.iter().filter(|item| !item.expected).count();
    if missing > 0 {
        let things = format::count(missing as u64, "thing");
        text.put(Tone::Bad, &format!("not complete: {things} could not be carried, listed above")).end();
    }
}

/// `6,410,227 rows of 63 tables; 63 tables, 41 functions, 88 policies`. The header counts what the
/// source holds; what a selection leaves out of that is not claimed.
fn carried(header: &Header, tables: usize, selection: &Selection) -> String {
    let rows = format!("{} of {}", format::count(header.rows, "row"), format::count(tables as u64, "table"));
    let mut counts = header.counts.clone();
    if header.sections == Sections::SchemaOnly {
        counts.remove(&ObjectKind::LargeObject);
    }
    let definitions = match (selection.tables.is_empty(), selection.exclude_tables.is_empty()) {
        (true, true) => format::counts(&counts),
        _ => format!("chosen from {} at the source", format::counts(&counts)),
    };
    match header.sections {
        Sections::All => format!("{rows}; {definitions}"),
        Sections::SchemaOnly => format!("{definitions}; no rows, by request"),
        Sections::DataOnly => format!("{rows}; no definitions, by request"),
    }
}

/// One line each, what should have been carried first and in full.
fn not_carried(items: &[NotCarried]) -> Option<String> {
    let line = |item: &NotCarried| format!("{}: {}", item.what, item.reason).replace('\n', " ");
    let (expected, missing): (Vec<&NotCarried>, Vec<&NotCarried>) =
        items.iter().partition(|item| item.expected);
    let mut lines: Vec<String> = missing.into_iter().map(line).collect();
    lines.extend(expected.iter().take(EXPECTED_SHOWN).map(|item| line(item)));
    if let more @ 1.. = expected.len().saturating_sub(EXPECTED_SHOWN) {
        lines.push(format!("and {more} more, all in pgstow show"));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The exact command that restores the backup.
pub(super) fn restore_command(app: &App<'_>, header: &Header) -> String {
    let others =
        app.config.environments().filter(|other| other.name != header.environment && !other.protected);
    let target = others.map(|other| other.name.to_string()).next().unwrap_or_else(|| "ENV".to_owned());
    app.command_line(&format!("restore {} --to {target}", header.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(what: &str, expected: bool) -> NotCarried {
        NotCarried { what: what.into(), reason: "because".into(), expected }
    }

    #[test]
    fn what_should_have_been_carried_comes_first_and_in_full() {
        let mut items: Vec<NotCarried> = (0..12).map(|n| item(&format!("expected {n}"), true)).collect();
        items.extend((0..12).map(|n| item(&format!("missing {n}"), false)));
        let shown = not_carried(&items).unwrap();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "missing 0: because");
        assert_eq!(lines.iter().filter(|line| line.starts_with("missing")).count(), 12);
        assert_eq!(lines.last(), Some(&"and 4 more, all in pgstow show"));
        assert_eq!(not_carried(&[]), None);
    }

    fn header(sections: &str) -> Header {
        let zeros = "0".repeat(64);
        serde_json::from_value(serde_json::json!({
            "format_version": 1, "id": "prod_2026-11-21T09-12-04Z", "environment": "prod",
            "written_by": "pgstow", "started_at": "2026-11-21T09:12:04Z",
            "snapshot_at": "2026-11-21T09:12:04Z", "finished_at": "2026-11-21T09:12:05Z",
            "server_version": "15.18", "database": "shop", "sections": sections,
            "counts": { "table": 63, "large-object": 12 }, "rows": 1204, "content_bytes": 1,
            "stored_bytes": 1, "new_bytes": 1, "not_carried": 0, "manifest_bytes": 1,
            "manifest_hash": zeros, "checksum": zeros,
        }))
        .unwrap()
    }

    #[test]
    fn the_summary_claims_nothing_that_was_not_asked_for() {
        let all = Selection::default();
        let some = Selection { tables: vec!["orders".into()], ..Selection::default() };
        let cases = [
            ("all", 63, &all, "1,204 rows of 63 tables; 63 tables, 12 large objects"),
            ("all", 1, &some, "1,204 rows of 1 table; chosen from 63 tables, 12 large objects at the source"),
            ("schema-only", 0, &all, "63 tables; no rows, by request"),
            ("data-only", 63, &all, "1,204 rows of 63 tables; no definitions, by request"),
        ];
        for (sections, tables, selection, expected) in cases {
            assert_eq!(carried(&header(sections), tables, selection), expected);
        }
    }

    #[test]
    fn what_is_wanted_of_users_is_one_of_three() {
        assert_eq!(parse_auth_users("full"), Ok(AuthUsers::Full));
        assert_eq!(parse_auth_users("metadata"), Ok(AuthUsers::Metadata));
        assert_eq!(parse_auth_users("none"), Ok(AuthUsers::None));
        for text in ["", "Full", "all"] {
            assert!(parse_auth_users(text).is_err(), "{text}");
        }
    }

    #[test]
    fn jobs_are_bounded() {
        assert_eq!(parse_jobs("64"), Ok(64));
        for text in ["0", "65", "-1", "many", ""] {
            assert!(parse_jobs(text).is_err(), "{text}");
        }
    }
}
