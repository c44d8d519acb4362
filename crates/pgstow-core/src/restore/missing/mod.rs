//! Puts back the rows that are gone, and nothing else: rows of a backup whose key the live table does
//! not have. What is there is not touched, whatever it holds.
//!
//! The keys of both sides are compared as hashes (`diff::rows`). Text that is equal is an equal key,
//! so no row that is gone is overlooked. Chunks that the live table proves to have still are not read. Rows whose keys differ as text go into a temporary table, and
//! there the server decides by the key's own operators which of them it has.

mod apply;
mod destination;
mod find;
mod foresee;
mod plan;

use std::path::PathBuf;
use std::time::Duration;

use super::part::RestoreSelection;
use super::session::Session;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::monitor::Monitor;
use crate::postgres::ConnectionSettings;
use crate::repository::Repository;
use crate::repository::format::header::Header;
use crate::repository::format::receipt::Receipt;
pub use plan::{MissingPlan, MissingTable};

/// Which rows to put back and how.
#[derive(Debug, Clone)]
pub struct MissingOptions {
    /// How to reach the target.
    pub connection: ConnectionSettings,
    /// Which tables.
    pub selection: RestoreSelection,
    /// Columns that tell rows apart, instead of the primary key: those of a unique index.
    pub key: Vec<String>,
    /// Let the users' triggers fire for the rows that are put back.
    pub fire_triggers: bool,
    /// How long to wait for a lock.
    pub lock_timeout: Duration,
    /// For how long what a backup read is trusted when the live table shows that it has not changed since;
    /// zero: every row is read.
    pub trusted_for: Duration,
    /// Folder for temporary files, which hold keyed hashes alone.
    pub spool: PathBuf,
}

/// The rows that are gone, found and waiting in temporary tables; the target is as it was.
pub struct PreparedMissing<'r> {
    repository: &'r Repository,
    plan: MissingPlan,
    work: Vec<destination::Work>,
    session: Session,
    lock_timeout: Duration,
    fire_triggers: bool,
    /// Triggers are silenced by `session_replication_role`, and foreign keys with them.
    silenced: bool,
}

/// What was put back.
#[derive(Debug, Clone, serde::Serialize)]
#[must_use]
pub struct MissingReport {
    /// The receipt, as stored.
    pub receipt: Receipt,
    /// Where the receipt is within the repository.
    pub receipt_path: String,
    /// How long putting them back took, in seconds.
    pub seconds: f64,
    /// Each table.
    pub tables: Vec<PutBack>,
    /// What to know, although nothing differs for it.
    pub notes: Vec<String>,
}

/// The rows of one table that were put back.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PutBack {
    /// `schema.name`.
    pub table: String,
    /// Rows in the backup.
    pub backup_rows: u64,
    /// Rows that were put back.
    pub rows: u64,
    /// Rows of the table before.
    pub rows_before: u64,
    /// Rows of the table after.
    pub rows_after: u64,
}

/// Connects, finds the rows that are gone and plans. Nothing but temporary tables is made.
///
/// # Errors
/// Refused: no key, columns that do not match, triggers that would fire, rows that other unique
/// values or missing parents keep out. Damaged backup; unreachable target.
pub fn prepare<'r>(
    repository: &'r Repository,
    header: &Header,
    options: &MissingOptions,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<PreparedMissing<'r>> {
    find::prepare(repository, header, options, monitor, interrupt)
}

impl PreparedMissing<'_> {
    /// What would be done.
    pub fn plan(&self) -> &MissingPlan {
        &self.plan
    }

    /// Puts the rows back in one transaction, verifies, stores the receipt.
    ///
    /// # Errors
    /// The target is as it was, unless the error says that nobody can tell.
    pub fn apply(self, monitor: &dyn Monitor, interrupt: &Interrupt) -> Result<MissingReport> {
        apply::apply(self, monitor, interrupt)
    }
}
