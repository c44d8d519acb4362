//! `pgstow restore FILE`: a file of pg_dump instead of a backup, with the same plan, guards and questions.

use std::path::{Path, PathBuf};

use pgstow_core::repository::format::manifest::Sections;
use pgstow_core::restore::RestorePlan;
use pgstow_core::restore::file::{self, FileFacts, FileOptions, FileReport, PreparedFile};
use pgstow_core::{Error, ErrorKind, Result};
use serde::Serialize;

use super::order::{Question, confirm};
use super::{Arguments, present, role_map, safety, summary};
use crate::app::{App, Database};
use crate::exit::{Exit, Failure};
use crate::ui::{Text, format, progress};

/// How files of pg_dump are usually called.
const ENDINGS: [&str; 10] =
    [".dump", ".backup", ".bak", ".tar", ".sql", ".pgdump", ".gz", ".zst", ".lz4", ".dir"];

/// The result of `--dry-run` in JSON.
#[derive(Serialize)]
struct JsonPlan<'r> {
    dry_run: bool,
    file: &'r FileFacts,
    plan: &'r RestorePlan,
}

/// The file that is meant, if it is a file and no backup.
///
/// # Errors
/// Usage: there is a backup of that name too.
pub(super) fn named(app: &App<'_>, name: &str) -> Result<Option<PathBuf>> {
    let path = app.current_folder().join(name);
    let looks_like_one = name.contains('/') || ENDINGS.iter().any(|ending| name.ends_with(ending));
    if !looks_like_one && !path.exists() {
        return Ok(None);
    }
    let is_backup =
        !name.contains('/') && app.repository().is_ok_and(|repository| repository.resolve(name).is_ok());
    if is_backup && path.exists() {
        let both = format!("{name} is a backup, and a file of that name is here");
        return Err(Error::new(ErrorKind::Usage, both)
            .hint(format!("./{name} means the file"))
            .hint("run it in another folder, or give the whole id, to mean the backup"));
    }
    Ok((!is_backup).then_some(path))
}

pub(super) fn run(app: &App<'_>, arguments: &Arguments, path: &Path) -> Result<Exit, Failure> {
    let nothing_changed = |error| Failure::closing("nothing was changed")(error);
    check_arguments(arguments).map_err(nothing_changed)?;
    let target = app.database(arguments.to.as_deref(), arguments.url.as_deref())?;
    let target = target.of_server(arguments.database.as_deref());
    app.facts.target(&target.endpoint());
    let defaults = FileOptions::new(path.to_owned(), target.connection.clone());
    let options = FileOptions {
        clean: arguments.clean || arguments.truncate,
        sections: arguments.sections.sections(),
        lock_timeout: target.lock_timeout().unwrap_or(defaults.lock_timeout),
        create_roles: arguments.create_roles,
        role_map: role_map(&arguments.map_role, &target)?,
        safety_backup: !arguments.no_safety_backup,
        selection: arguments.part.selection(),
        grant_to: target.environment.map(|environment| environment.grant_to.clone()).unwrap_or_default(),
        ..defaults
    };
    let title = target.title();
    let prepared = prepare(app, &options, &title).map_err(nothing_changed)?;
    let text = planned(app, &prepared, &title);
    if arguments.dry_run {
        dry_run(app, &prepared, text)?;
        return Ok(Exit::Done);
    }
    app.output.note(&text);
    let question = Question {
        target: &target,
        yes: arguments.yes.as_deref(),
        only_rows: options.sections == Sections::DataOnly,
        undoes: false,
    };
    confirm(app, &question, prepared.plan()).map_err(nothing_changed)?;
    let undo = protect(app, arguments, &target, prepared.plan()).map_err(nothing_changed)?;
    let monitor = progress::monitor(app.output, &title);
    let report = prepared.apply(monitor.as_ref(), &app.interrupt)?;
    done(app, &report, &title, undo.as_deref())?;
    Ok(if report.is_complete() { Exit::Done } else { Exit::Differs })
}

/// Takes the safety backup, if the plan has one; the command that puts it back.
fn protect(
    app: &App<'_>,
    arguments: &Arguments,
    target: &Database<'_>,
    plan: &RestorePlan,
) -> Result<Option<String>> {
    if !plan.safety_backup {
        return Ok(None);
    }
    let (repository, new) = app.repository_or_new()?;
    let taken = safety::take(app, &repository, target, plan);
    let backup = taken.inspect_err(|_| new.take_back())?;
    app.facts.backup(&backup.id);
    Ok(Some(safety::undo_command(app, target, arguments.url.as_deref())))
}

/// What only a backup can do.
fn check_arguments(arguments: &Arguments) -> Result<()> {
    let given = [
        ("--checksums", arguments.checksums, "a file has no hashes of its rows"),
        ("--jobs", arguments.jobs.is_some(), "a file is restored on one session, in one transaction"),
        ("--dangling-keys", arguments.dangling_keys.is_some(), "a file does not say whose rows are missing"),
        ("--activate-jobs", arguments.activate_jobs, "a file has no list of jobs"),
        ("--rename", !arguments.rename.is_empty(), "what a file holds keeps its name"),
        ("--append", arguments.append, "rows that are there could not be told from the file's"),
        ("--only-missing", arguments.only_missing, "rows of a file are not compared by their keys"),
    ];
    match given.into_iter().find(|(_, is_given, _)| *is_given) {
        None => Ok(()),
        Some((option, _, why)) => {
            let message = format!("{option} is for backups, not for files");
            Err(Error::new(ErrorKind::Usage, message)
                .why(why)
                .hint("pgstow import makes a backup of the file"))
        }
    }
}

fn prepare(app: &App<'_>, options: &FileOptions, title: &str) -> Result<PreparedFile> {
    let monitor = progress::monitor(app.output, title);
    file::prepare(options, monitor.as_ref(), &app.interrupt)
}

fn planned(app: &App<'_>, prepared: &PreparedFile, title: &str) -> Text {
    let (plan, facts) = (prepared.plan(), prepared.facts());
    let mut text = app.output.text();
    text.fields(&[
        ("from", format!("{}   {}", facts.file, facts.format)),
        ("", facts.origin()),
        ("to", format!("{title}  {}  {}", plan.target, plan.target_server)),
    ]);
    text.fields(&present::steps(plan));
    text.line(&present::way_of_working(plan, title));
    text
}

fn dry_run(app: &App<'_>, prepared: &PreparedFile, mut text: Text) -> Result<()> {
    if app.output.is_json() {
        let (file, plan) = (prepared.facts(), prepared.plan());
        return app.output.print_json(&JsonPlan { dry_run: true, file, plan });
    }
    text.line("nothing was changed");
    app.output.print(&text)
}

fn done(app: &App<'_>, report: &FileReport, title: &str, undo: Option<&str>) -> Result<()> {
    let output = app.output;
    if output.is_json() {
        return output.print_json(report);
    }
    let complete = report.is_complete();
    let mut text = output.text();
    if !output.is_quiet() || !complete {
        summary::verification(&mut text, &report.lines, "FILE", summary::TABLES_BY_NAME, output);
        let remarks = report.remarks.iter().map(|remark| ("remark", remark.clone()));
        let notes = report.notes.iter().map(|note| ("note", note.clone()));
        let undo = undo.map(|command| ("undo", command.to_owned()));
        text.fields(&remarks.chain(notes).chain(undo).collect::<Vec<_>>());
        let (tone, mark) = output.mark(complete);
        let seconds = format::seconds(report.seconds);
        let file = &report.facts.file;
        let outcome = if complete {
            format!("{title} holds what is in {file}, objects and rows counted; restored in {seconds}")
        } else {
            let remarks = format::count(report.remarks.len() as u64, "remark");
            format!("restored, but {title} does not hold all of {file}: {remarks}, listed above")
        };
        text.put(tone, mark).plain(" ").put(tone, &outcome).end();
    }
    output.print(&text)
}
