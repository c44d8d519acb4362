//! Puts a backup back: plan, guard, apply, verify, receipt.
//!
//! Into an empty target on several sessions; into one that is not empty in one transaction, so
//! that a failure, or a verification that finds a difference nobody foresaw, leaves it as it was.
//! Rows go into existing tables in one transaction too.

pub mod plan;

mod clear;
mod contents;
mod counting;
mod data;
mod definitions;
mod entry;
mod finish;
mod guards;
mod journal;
mod large_objects;
mod owners;
mod parallel;
mod prepare;
mod privileges;
mod reconcile;
mod report;
mod rowsum;
mod run;
mod schedule;
mod selection;
mod session;
mod target;
mod tasks;
mod tuning;
mod verify;

use std::time::Duration;

use crate::archive::Entry;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::inventory::catalog::Catalog;
use crate::monitor::Monitor;
use crate::postgres::ConnectionSettings;
use crate::repository::Repository;
use crate::repository::format::header::Header;
use crate::repository::format::manifest::Manifest;
use crate::repository::format::receipt::Receipt;
pub use plan::RestorePlan;

/// What to restore and how.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// How to reach the target.
    pub connection: ConnectionSettings,
    /// Clear a target that is not empty, in the same transaction.
    pub clean: bool,
    /// Parallel sessions into an empty target, 1 to 64.
    pub jobs: usize,
    /// Compare contents too.
    pub checksums: bool,
    /// How long to wait for a lock on an object that is to be dropped.
    pub lock_timeout: Duration,
    /// Definitions only, rows only, or what the backup holds.
    pub sections: crate::repository::format::manifest::Sections,
}

/// What a restore did and found.
#[derive(Debug, Clone, serde::Serialize)]
#[must_use]
pub struct RestoreReport {
    /// The receipt, as stored.
    pub receipt: Receipt,
    /// Where the receipt is within the repository.
    pub receipt_path: String,
    /// How long loading took, verification excepted.
    pub seconds: f64,
}

/// Which parts of a backup are restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts {
    definitions: bool,
    rows: bool,
}

/// A restore that has been planned and not begun: a session with the target, the plan, and
/// nothing changed yet.
pub struct Prepared<'r> {
    planned: Planned<'r>,
    session: session::Session,
}

/// The backup, the target as it was found, and what to do.
struct Planned<'r> {
    repository: &'r Repository,
    manifest: Manifest,
    catalog: Catalog,
    entries: Vec<Entry>,
    target: target::TargetState,
    checksums: bool,
    lock_timeout: Duration,
    plan: RestorePlan,
    steps: plan::Steps,
}

/// Connects to the target, looks at it and plans. Nothing is changed.
///
/// # Errors
/// Refused by a guard (target not empty without `clean`, server too old, missing extension …);
/// damaged backup; unreachable target.
pub fn prepare<'r>(
    repository: &'r Repository,
    header: &Header,
    options: &RestoreOptions,
    interrupt: &Interrupt,
) -> Result<Prepared<'r>> {
    prepare::prepare(repository, header, options, interrupt)
}

impl Prepared<'_> {
    /// What would be done.
    pub fn plan(&self) -> &RestorePlan {
        &self.planned.plan
    }

    /// Does it, verifies, stores the receipt.
    ///
    /// # Errors
    /// An atomic restore leaves the target as it was; one into an empty target says what stays.
    pub fn apply(self, monitor: &dyn Monitor, interrupt: &Interrupt) -> Result<RestoreReport> {
        run::apply(&self.planned, self.session, monitor, interrupt)
    }
}
