//! `pgstow copy`: backups to another repository, only what is missing there.

use clap::Args;
use pgstow_core::repository::format::header::Header;
use pgstow_core::repository::format::id::BackupId;
use pgstow_core::repository::{self, CopiedBackup, CopyReport, Repository};
use pgstow_core::{Error, ErrorKind, Result};
use serde::Serialize;

use crate::app::App;
use crate::exit::{Exit, Failure};
use crate::ui::{Text, Tone, format, progress};

/// Arguments of `pgstow copy`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["backups", "all", "env"])))]
pub(crate) struct Arguments {
    /// Backups: latest, ENV@latest, ENV@LABEL, ids or their unique beginnings
    #[arg(value_name = "BACKUP")]
    backups: Vec<String>,

    /// All backups
    #[arg(long, conflicts_with_all = ["backups", "env"])]
    all: bool,

    /// All backups of this environment
    #[arg(long, value_name = "ENV", conflicts_with = "backups")]
    env: Option<String>,

    /// Where to: NAME of a section [copy.NAME], a URL or a folder
    #[arg(long, value_name = "NAME|URL")]
    to: String,

    /// Allow that encrypted backups are copied to a repository that is not encrypted
    #[arg(long)]
    decrypt: bool,
}

/// The result in JSON.
#[derive(Serialize)]
struct JsonReport<'r> {
    from: String,
    to: &'r str,
    copied: &'r [CopiedBackup],
    present: Vec<&'r str>,
    failed: Vec<JsonFailed<'r>>,
    receipts: usize,
    remarks: &'r [String],
}

#[derive(Serialize)]
struct JsonFailed<'r> {
    backup: &'r str,
    found: String,
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments) -> Result<Exit, Failure> {
    let source = app.repository()?;
    let (backups, damaged) = chosen(&source, arguments)?;
    source.unlock()?;
    let elsewhere = app.of_copy(&arguments.to)?;
    let (destination, new) = elsewhere.repository_or_new()?;
    let to = destination.location();
    if let Err(error) = require_encryption(&source, &destination, arguments) {
        new.take_back();
        return Err(Failure::closing("nothing was copied")(error));
    }
    app.facts.target(&to);
    if let Some(environment) = &arguments.env {
        app.facts.environment(environment);
    }
    let copied = {
        let monitor = progress::monitor(app.output, &to);
        repository::copy(&source, &destination, &backups, monitor.as_ref(), &app.interrupt)
    };
    let mut report = match copied {
        Ok(report) => report,
        Err(error) => {
            new.take_back();
            return Err(Failure::closing("what was copied before stays")(error));
        }
    };
    report.failed.extend(damaged);
    report.copied.iter().for_each(|copied| app.facts.backup(&copied.backup));
    if let Some(fault) = destination.take_cache_fault() {
        app.output.warn(&fault);
    }
    app.facts.also_in(destination);
    present(app, &source, &to, &report)?;
    Ok(exit(&report))
}

/// What was encrypted does not become plain by accident.
fn require_encryption(source: &Repository, destination: &Repository, arguments: &Arguments) -> Result<()> {
    if !source.is_encrypted() || destination.is_encrypted() || arguments.decrypt {
        return Ok(());
    }
    let to = destination.location();
    Err(Error::refused(format!("{to} is not encrypted, and the backups are"))
        .why("whoever reads the copies would read all data in them")
        .hint("encrypt the copies too: encrypt_to = [\"age1…\"] in the section [copy.NAME], before the first copy")
        .hint("--decrypt copies them without encryption all the same"))
}

/// A backup that cannot be copied, and why.
type Refused = (BackupId, Error);

/// The headers of what is to be copied, and those that cannot be read.
fn chosen(source: &Repository, arguments: &Arguments) -> Result<(Vec<Header>, Vec<Refused>)> {
    if !arguments.backups.is_empty() {
        let named = arguments.backups.iter().map(|backup| source.resolve(backup));
        return Ok((named.collect::<Result<_>>()?, Vec::new()));
    }
    let listing = source.list()?;
    let wanted = |folder: &str| match &arguments.env {
        Some(environment) => folder.split('_').next() == Some(environment),
        None => true,
    };
    let damaged = listing.damaged.into_iter().filter(|(folder, _)| wanted(folder));
    let damaged =
        damaged.filter_map(|(folder, found)| Some((BackupId::new(folder).ok()?, Error::failed(found))));
    let damaged: Vec<Refused> = damaged.collect();
    let backups: Vec<Header> =
        listing.backups.into_iter().filter(|header| wanted(header.id.as_str())).collect();
    match &arguments.env {
        Some(environment) if backups.is_empty() && damaged.is_empty() => {
            Err(Error::new(ErrorKind::NotFound, format!("there is no backup of {environment}")))
        }
        _ => Ok((backups, damaged)),
    }
}

/// Nothing but failures is a failure, for want of a key or not.
fn exit(report: &CopyReport) -> Exit {
    let failures = &report.failed;
    let done = report.copied.len() + report.present.len();
    match (failures.is_empty(), done) {
        (true, _) if report.remarks.is_empty() => Exit::Done,
        (true, _) | (false, 1..) => Exit::Differs,
        (false, 0) if failures.iter().all(|(_, error)| error.kind() == ErrorKind::Key) => Exit::Key,
        (false, 0) => Exit::Failed,
    }
}

fn present(app: &App<'_>, source: &Repository, to: &str, report: &CopyReport) -> Result<()> {
    let output = app.output;
    if output.is_json() {
        let failed = report.failed.iter();
        let failed =
            failed.map(|(backup, error)| JsonFailed { backup: backup.as_str(), found: error.in_one_line() });
        return output.print_json(&JsonReport {
            from: source.location(),
            to,
            copied: &report.copied,
            present: report.present.iter().map(|backup| backup.as_str()).collect(),
            failed: failed.collect(),
            receipts: report.receipts,
            remarks: &report.remarks,
        });
    }
    let mut text = output.text();
    for copied in &report.copied {
        if output.is_quiet() {
            text.line(copied.backup.as_str());
            continue;
        }
        let (tone, mark) = output.mark(true);
        text.put(tone, mark).plain(" ").put(Tone::Strong, copied.backup.as_str()).aside(&format!(
            "{} of {} sent, {} more there",
            format::number(copied.new_objects as u64),
            format::count(copied.objects as u64, "object"),
            format::size(copied.new_bytes)
        ));
    }
    for (backup, error) in &report.failed {
        let (tone, mark) = output.mark(false);
        text.put(tone, mark)
            .plain(" ")
            .put(Tone::Strong, backup.as_str())
            .plain("  ")
            .line(&error.in_one_line());
        let hints: Vec<(&str, String)> = error.hints().iter().map(|hint| ("try", hint.clone())).collect();
        text.fields(&hints);
    }
    report.remarks.iter().for_each(|remark| output.warn(remark));
    sum_up(&mut text, to, report, output.is_quiet());
    output.print(&text)
}

fn sum_up(text: &mut Text, to: &str, report: &CopyReport, quiet: bool) {
    let count = |number: usize| format::count(number as u64, "backup");
    if !report.failed.is_empty() {
        let copied = report.copied.len();
        let failed = count(report.failed.len());
        text.put(Tone::Bad, &format!("{failed} could not be copied to {to}; {copied} copied")).end();
    } else if !quiet {
        let bytes = report.copied.iter().fold(0, |sum: u64, copied| sum.saturating_add(copied.new_bytes));
        let receipts = match report.receipts {
            0 => String::new(),
            receipts => format!(", {}", format::count(receipts as u64, "receipt")),
        };
        text.put(Tone::Good, &format!("{} copied to {to}", count(report.copied.len())));
        text.line(&format!(
            " ({} sent{receipts}; {} there already)",
            format::size(bytes),
            report.present.len()
        ));
    }
}
