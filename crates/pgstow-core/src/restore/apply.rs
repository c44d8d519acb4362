//! Carries a planned restore out and records it; after a failure that left the target incomplete, puts
//! the safety backup back.

use super::commit::AS_IT_WAS;
use super::journal::Journal;
use super::run::{Broken, Done, Left, Run};
use super::session::Session;
use super::{Ended, Finished, Planned, Protection, RestoreOptions, RestoreReport, report};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::monitor::{Event, Monitor};
use crate::repository::format::receipt::{Outcome, Receipt};

/// # Errors
/// As [`super::Prepared::apply`].
pub(super) fn apply(
    planned: &Planned<'_>,
    session: Session,
    protection: Option<&Protection>,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<RestoreReport> {
    let Ended { receipt, result } = carry_out(planned, session, protection, monitor, interrupt);
    let stored = planned.repository.store_receipt(&receipt);
    // A failure counts; a receipt that cannot be stored must not hide it.
    let Finished { seconds, notes, aftermath } = result?;
    let (receipt_path, receipt_missing) = match stored {
        Ok(path) => (Some(path), None),
        // The restore is done all the same.
        Err(error) => (None, Some(error.in_one_line())),
    };
    Ok(RestoreReport { receipt, receipt_path, receipt_missing, seconds, notes, aftermath })
}

/// Restores and verifies; stores no receipt.
pub(super) fn carry_out(
    planned: &Planned<'_>,
    session: Session,
    protection: Option<&Protection>,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Ended {
    let started_at = jiff::Timestamp::now();
    let journal = Journal::default();
    let (target, server) = (&planned.target.target, planned.target.server());
    monitor.event(Event::Connected { endpoint: target, server: &server });
    monitor.event(Event::Planned { tables: planned.plan.load_tables, bytes: planned.plan.load_bytes });
    let safety_backup = protection.map(|protection| protection.backup.id.clone());
    match Run::new(planned, &journal, monitor, interrupt).carry_out(session) {
        Ok(Done { verified, seconds, aftermath }) => {
            let receipt = report::receipt(planned, &journal, verified, started_at);
            let notes = planned.plan.notes.iter().cloned().chain(journal.said()).collect();
            let result = Ok(Finished { seconds, notes, aftermath });
            Ended { receipt: Receipt { safety_backup, ..receipt }, result }
        }
        Err(broken) => {
            let (error, unchanged) = settle(planned, broken, protection, monitor, interrupt);
            let receipt = report::failure(planned, &journal, &error, started_at);
            Ended { receipt: Receipt { safety_backup, unchanged, ..receipt }, result: Err(error) }
        }
    }
}

/// What is to be done about a failure, and what to tell; and whether the target is as it was.
fn settle(
    planned: &Planned<'_>,
    broken: Broken,
    protection: Option<&Protection>,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> (Error, bool) {
    let Broken { error, left } = broken;
    let is_interrupted = error.kind() == ErrorKind::Interrupted || interrupt.is_triggered();
    match (left, protection) {
        (Left::AsItWas, _) => (error.hint(AS_IT_WAS), true),
        (Left::Unknown, protection) => {
            let way = protection.map(|protection| format!("to undo it: {}", protection.command));
            (way.into_iter().fold(error, Error::hint), false)
        }
        (Left::Incomplete, Some(protection)) if planned.plan.destructive && !is_interrupted => {
            put_back(planned, error, protection, monitor, interrupt)
        }
        (Left::Incomplete, protection) => {
            let again = format!(
                "the target is incomplete; start over with: pgstow restore {} --to … --clean",
                planned.manifest.backup
            );
            let stays = "objects and rows restored so far stay";
            let error = if is_interrupted { error.why(stays) } else { error };
            let way = protection.map(way_back);
            (way.into_iter().chain([again]).fold(error, Error::hint), false)
        }
    }
}

fn way_back(protection: &Protection) -> String {
    format!("put back what was there before with: {}", protection.command)
}

fn put_back(
    planned: &Planned<'_>,
    error: Error,
    protection: &Protection,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> (Error, bool) {
    let id = &protection.backup.id;
    let message = format!("the restore failed ({error}): putting {id} back");
    monitor.event(Event::Warning { message: &message });
    let options = RestoreOptions {
        lock_timeout: planned.lock_timeout,
        ..RestoreOptions::to_undo(planned.connection.clone())
    };
    match protection.put_back(planned.repository, options, monitor, interrupt) {
        Ok(report) if report.receipt.outcome == Outcome::Equal => {
            (error.hint(format!("the target is as it was: its safety backup {id} was put back")), true)
        }
        Ok(report) => {
            let error = error.hint(format!("the safety backup {id} was put back, but not all is as it was"));
            (report.receipt.remarks.into_iter().fold(error, Error::hint), true)
        }
        Err(failure) => {
            let error = error.hint(format!(
                "the target is incomplete, and putting {id} back failed too: {}",
                failure.in_one_line()
            ));
            (error.hint(way_back(protection)), false)
        }
    }
}
