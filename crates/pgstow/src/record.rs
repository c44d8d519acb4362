//! The audit log: what commands that change something were run, by whom, and what came of it. One
//! place records all of them; the commands tell only what they are about.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use pgstow_core::repository::Repository;
use pgstow_core::repository::format::FORMAT_VERSION;
use pgstow_core::repository::format::audit::{AuditEvent, AuditOutcome, Runner};
use pgstow_core::repository::format::id::BackupId;
use pgstow_core::{ErrorKind, Result};

use crate::app::App;
use crate::exit::{Exit, Failure};

/// What a command says it is about.
#[derive(Default)]
pub(crate) struct Facts(Mutex<Known>);

#[derive(Default)]
struct Known {
    environment: Option<String>,
    backups: Vec<String>,
    target: Option<String>,
    /// Another repository that the run changed: it gets the record too.
    elsewhere: Option<Repository>,
}

impl Facts {
    /// The environment whose database is worked on.
    pub(crate) fn environment(&self, name: &str) {
        self.known(|known| known.environment = Some(name.to_owned()));
    }

    /// A backup that is made, restored or removed.
    pub(crate) fn backup(&self, id: &BackupId) {
        self.known(|known| known.backups.push(id.to_string()));
    }

    /// Where to, without secrets.
    pub(crate) fn target(&self, target: &str) {
        self.known(|known| known.target = Some(target.to_owned()));
    }

    /// Another repository that is changed.
    pub(crate) fn also_in(&self, repository: Repository) {
        self.known(|known| known.elsewhere = Some(repository));
    }

    fn known<T>(&self, use_it: impl FnOnce(&mut Known) -> T) -> T {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs a command and records it under `name`, if it is one that is recorded. A record that cannot
/// be written is told; it never hides what the command itself came to.
///
/// # Errors
/// The command's.
pub(crate) fn recorded(
    app: &App<'_>,
    name: Option<&str>,
    run: impl FnOnce() -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let Some(name) = name else { return run() };
    let started_at = Timestamp::now();
    // Of a command that ran before it in the same process.
    app.facts.known(|known| *known = Known::default());
    let outcome = run();
    if outcome.as_ref().is_err_and(|failure| failure.error.kind() == ErrorKind::Usage) {
        return outcome;
    }
    let known = app.facts.known(std::mem::take);
    let event = event(app, name, started_at, &known, &outcome);
    let elsewhere = known.elsewhere.map(|repository| repository.record(&event).map(|_| ()));
    let mut failed = false;
    for error in [Some(write(app, &event)), elsewhere].into_iter().flatten().filter_map(Result::err) {
        app.output.warn(&format!("this run is missing in the audit log: {}", error.in_one_line()));
        failed = true;
    }
    match outcome {
        outcome if !failed => outcome,
        Ok(Exit::Done) => Ok(Exit::Differs),
        outcome => outcome,
    }
}

fn write(app: &App<'_>, event: &AuditEvent) -> Result<()> {
    match app.repository() {
        Ok(repository) => repository.record(event).map(|_| ()),
        // Then there is no log either, and nothing happened that it could tell.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn event(
    app: &App<'_>,
    name: &str,
    started_at: Timestamp,
    known: &Known,
    outcome: &Result<Exit, Failure>,
) -> AuditEvent {
    let exit = match outcome {
        Ok(exit) => *exit,
        Err(failure) => Exit::from(failure.error.kind()),
    };
    AuditEvent {
        format_version: FORMAT_VERSION,
        command: name.to_owned(),
        environment: known.environment.clone(),
        backups: known.backups.clone(),
        target: known.target.clone(),
        by: Runner {
            user: app.process.user_name(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            process: std::process::id(),
            program: concat!("pgstow ", env!("CARGO_PKG_VERSION")).to_owned(),
        },
        started_at,
        finished_at: Timestamp::now(),
        outcome: audit_outcome(exit),
        exit_code: exit.code(),
        message: outcome.as_ref().err().map(|failure| failure.error.in_one_line()),
    }
}

fn audit_outcome(exit: Exit) -> AuditOutcome {
    match exit {
        Exit::Done => AuditOutcome::Done,
        Exit::Differs => AuditOutcome::Differs,
        Exit::Refused => AuditOutcome::Refused,
        Exit::Interrupted => AuditOutcome::Interrupted,
        Exit::Failed | Exit::Usage | Exit::NotFound | Exit::Locked | Exit::Key => AuditOutcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_of_a_run_has_its_outcome() {
        let ends = [
            (Exit::Done, AuditOutcome::Done),
            (Exit::Differs, AuditOutcome::Differs),
            (Exit::Failed, AuditOutcome::Failed),
            (Exit::Refused, AuditOutcome::Refused),
            (Exit::NotFound, AuditOutcome::Failed),
            (Exit::Key, AuditOutcome::Failed),
            (Exit::Interrupted, AuditOutcome::Interrupted),
        ];
        for (exit, outcome) in ends {
            assert_eq!(audit_outcome(exit), outcome, "{exit:?}");
        }
    }
}
