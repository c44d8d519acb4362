//! The safety backup that a restore takes of its target, after it was confirmed and before anything
//! changes.

use pgstow_core::backup::{BackupOptions, BackupReport};
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::header::{Header, SAFETY_LABEL, Safety};
use pgstow_core::repository::format::id::Label;
use pgstow_core::repository::format::manifest::NotCarried;
use pgstow_core::restore::RestorePlan;
use pgstow_core::{Error, ErrorKind, Result};

use crate::app::{App, Database, shell_word};
use crate::commands::backup::{self, ReadingArguments};
use crate::ui::format;

/// The option that does without.
const WITHOUT: &str =
    "--no-safety-backup goes on without one; then nothing brings back what the restore replaces";

/// Takes it.
///
/// # Errors
/// Refused when it cannot be taken, or lacks something that the restore would drop.
pub(super) fn take(
    app: &App<'_>,
    repository: &Repository,
    target: &Database<'_>,
    plan: &RestorePlan,
) -> Result<Header> {
    let title = target.title();
    app.note(&format!("a safety backup of {title} first"));
    let report = make(app, repository, target, plan).map_err(|error| not_taken(&error, &title))?;
    check(app, &report, plan)?;
    let header = report.header;
    app.note(&format!("safety backup {}  {}", header.id, format::seconds(report.seconds)));
    Ok(header)
}

fn make(
    app: &App<'_>,
    repository: &Repository,
    target: &Database<'_>,
    plan: &RestorePlan,
) -> Result<BackupReport> {
    let configured = backup::options(app, target, &ReadingArguments::default())?;
    let label = Label::new(SAFETY_LABEL)
        .map_err(|error| Error::failed("the label of safety backups is wrong").source(error))?;
    let options = BackupOptions {
        label: Some(label),
        note: Some(format!("before restoring {}", plan.backup)),
        safety: Some(Safety { target: plan.target.clone(), before: plan.backup.clone() }),
        ..configured
    };
    backup::make(app, repository, &options, &target.title())
}

fn not_taken(error: &Error, title: &str) -> Error {
    if error.kind() == ErrorKind::Interrupted {
        return Error::interrupted();
    }
    let refused = Error::refused(format!("no safety backup of {title} could be taken"));
    let refused = refused.why(error.in_one_line());
    error.hints().iter().fold(refused, |refused, hint| refused.hint(hint)).hint(WITHOUT)
}

/// # Errors
/// Refused when the restore would drop what the backup lacks.
fn check(app: &App<'_>, report: &BackupReport, plan: &RestorePlan) -> Result<()> {
    let missing: Vec<&NotCarried> = report.not_carried.iter().filter(|item| !item.expected).collect();
    let lost: Vec<&&NotCarried> = missing.iter().filter(|item| is_dropped(item, plan)).collect();
    if let Some(first) = lost.first() {
        let others = if lost.len() > 1 { format!(" and {} more", lost.len() - 1) } else { String::new() };
        let id = &report.header.id;
        return Err(Error::refused(format!("the safety backup {id} lacks {}{others}", first.what))
            .why(format!("{}; the restore would drop it", first.reason))
            .hint(WITHOUT));
    }
    for item in missing {
        app.output.warn(&format!("not in the safety backup: {}: {}", item.what, item.reason));
    }
    Ok(())
}

/// Whether the restore would drop or empty what an item is about: it ends with the object's name.
fn is_dropped(item: &NotCarried, plan: &RestorePlan) -> bool {
    let kinds = ["rows of ", "position of sequence ", "table "];
    let name = kinds.iter().find_map(|kind| item.what.strip_prefix(kind)).unwrap_or(&item.what);
    let dropped = plan.dropped.iter().filter_map(|dropped| dropped.split_once(' ').map(|(_, name)| name));
    dropped.chain(plan.emptied.iter().map(String::as_str)).any(|dropped| dropped == name)
}

/// The command that undoes a restore into the target.
pub(in crate::commands) fn undo_command(app: &App<'_>, target: &Database<'_>, url: Option<&str>) -> String {
    app.command_line(&match (target.environment, url) {
        (Some(environment), _) => match target.other_database() {
            Some(database) => format!("undo {} --database {}", environment.name, shell_word(database)),
            None => format!("undo {}", environment.name),
        },
        // A URL may hold a password; the name of a variable does not.
        (None, Some(url)) if url.starts_with('$') => format!("undo --url {}", shell_word(url)),
        (None, _) => "undo --url URL".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_carried_matters_when_it_would_be_dropped() {
        let plan = RestorePlan {
            dropped: vec!["table public.\"a b\"".into(), "sequence public.s".into()],
            emptied: vec!["public.e".into()],
            ..RestorePlan::default()
        };
        let cases = [
            ("rows of public.\"a b\"", true),
            ("position of sequence public.s", true),
            ("rows of public.e", true),
            ("rows of public.other", false),
            ("table extensions.t", false),
        ];
        for (what, expected) in cases {
            let item = NotCarried { what: what.into(), reason: String::new(), expected: false };
            assert_eq!(is_dropped(&item, &plan), expected, "{what}");
        }
    }
}
