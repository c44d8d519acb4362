//! The way back: which safety backup an undo puts back, and putting it back.

use super::{DanglingKeys, RestoreOptions, RestoreReport, prepare};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::monitor::Monitor;
use crate::postgres::ConnectionSettings;
use crate::repository::Repository;
use crate::repository::format::header::{Header, Safety};
use crate::repository::format::id::{BackupId, EnvironmentName};
use crate::repository::format::receipt::{Outcome, Receipt};

/// A safety backup that stands behind a restore.
#[derive(Debug, Clone)]
pub struct Protection {
    /// The backup.
    pub backup: Header,
    /// The command that puts it back, as a user would type it.
    pub command: String,
}

impl Protection {
    /// Puts the backup back after a restore that left the target incomplete.
    ///
    /// # Errors
    /// As [`super::prepare`] and [`super::Prepared::apply`].
    pub(super) fn put_back(
        &self,
        repository: &Repository,
        options: RestoreOptions,
        monitor: &dyn Monitor,
        interrupt: &Interrupt,
    ) -> Result<RestoreReport> {
        prepare(repository, &self.backup, &options, interrupt)?.apply(monitor, interrupt)
    }
}

impl RestoreOptions {
    /// What puts a safety backup back into the database that it was taken of: all of it and nothing
    /// else. The rows of a platform's users are there, and its jobs ran there.
    pub fn to_undo(connection: ConnectionSettings) -> Self {
        Self {
            clean: true,
            exactly: true,
            dangling_keys: DanglingKeys::Validate,
            activate_jobs: true,
            ..Self::new(connection)
        }
    }
}

/// What an undo puts back.
#[derive(Debug, Clone)]
pub struct WayBack {
    /// The safety backup.
    pub backup: Header,
    /// Where it was taken, and before what.
    pub safety: Safety,
    /// An undo that wanted to put it back did not come to its end.
    pub again: bool,
}

/// Finds what an undo of the last restore puts back. Of an environment's databases only those at
/// `targets` (`host:port/database`) count, if any are given.
///
/// # Errors
/// Not found: there is no safety backup. Refused: the last restore changed nothing, or its safety
/// backup was put back already.
pub fn way_back(
    repository: &Repository,
    environment: &EnvironmentName,
    targets: &[String],
) -> Result<WayBack> {
    let listing = repository.list()?;
    let is_wanted = |safety: &Safety| targets.is_empty() || targets.contains(&safety.target);
    let all: Vec<(&Header, &Safety)> = listing
        .backups
        .iter()
        .filter(|header| header.environment == *environment)
        .filter_map(|header| Some((header, header.safety.as_ref()?)))
        .filter(|(_, safety)| is_wanted(safety))
        .collect();
    let Some(&(newest, safety)) = all.iter().max_by_key(|(header, _)| (header.snapshot_at, &header.id))
    else {
        let what = targets.first().map_or_else(|| environment.to_string(), Clone::clone);
        return Err(Error::new(ErrorKind::NotFound, format!("there is no safety backup of {what}"))
            .why("a restore takes one before it changes anything, and none did here")
            .hint(format!("pgstow list {environment}  shows all backups of {environment}")));
    };
    let receipt = receipt_of(repository, newest, safety)?;
    let earlier = all.iter().find(|(header, _)| header.id.as_str() == safety.before);
    let found = |header: &Header, safety: &Safety, again| WayBack {
        backup: header.clone(),
        safety: safety.clone(),
        again,
    };
    match (receipt, earlier) {
        // An undo that did not come to its end, as far as is known: the same is tried again.
        (None, Some((header, safety))) => Ok(found(header, safety, true)),
        (Some(receipt), Some((header, safety))) if receipt.outcome == Outcome::Failed => {
            Ok(found(header, safety, true))
        }
        (Some(receipt), _) if receipt.unchanged => Err(nothing_to_undo(newest, safety, &receipt)),
        _ => match put_back_already(repository, newest, safety)? {
            Some(receipt) => Err(done_already(newest, safety, &receipt)),
            None => Ok(found(newest, safety, false)),
        },
    }
}

/// The receipt of the restore that the safety backup was taken for.
fn receipt_of(repository: &Repository, header: &Header, safety: &Safety) -> Result<Option<Receipt>> {
    // Before a file was restored there is no backup to have receipts.
    let Ok(before) = BackupId::new(safety.before.as_str()) else { return Ok(None) };
    let receipts = repository.receipts(&before)?.receipts;
    Ok(receipts.into_iter().rev().find(|receipt| receipt.safety_backup.as_ref() == Some(&header.id)))
}

/// The receipt of a restore of the safety backup itself.
fn put_back_already(repository: &Repository, header: &Header, safety: &Safety) -> Result<Option<Receipt>> {
    let receipts = repository.receipts(&header.id)?.receipts;
    let is_it = |receipt: &Receipt| receipt.target == safety.target && receipt.outcome != Outcome::Failed;
    Ok(receipts.into_iter().rev().find(is_it))
}

fn nothing_to_undo(header: &Header, safety: &Safety, receipt: &Receipt) -> Error {
    Error::refused(format!("there is nothing to undo at {}", safety.target))
        .why(format!(
            "the restore of {} failed at {} and changed nothing",
            safety.before, receipt.finished_at
        ))
        .hint(by_hand(header))
}

fn done_already(header: &Header, safety: &Safety, receipt: &Receipt) -> Error {
    Error::refused(format!("the restore of {} into {} was undone already", safety.before, safety.target))
        .why(format!("{} was put back at {}", header.id, receipt.finished_at))
        .hint(by_hand(header))
}

fn by_hand(header: &Header) -> String {
    format!("to put that state back all the same: pgstow restore {} --to ENV --clean", header.id)
}
