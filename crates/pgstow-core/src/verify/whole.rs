//! Everything that lies in a repository: every backup, every object once, and what belongs to
//! nobody.
//!
//! Of the objects only names, sizes and a state are held; of the manifests one at a time.

mod survey;

use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::monitor::Monitor;
use crate::repository::Repository;
use survey::Survey;

use super::Reading;

/// What was found in a repository.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[must_use]
pub struct RepositoryReport {
    /// Where it is.
    pub repository: String,
    /// Every backup that has a header, and whether a fault touches it, sorted by id.
    pub backups: Vec<BackupState>,
    /// What is damaged or missing.
    pub faults: Vec<Fault>,
    /// What could not be verified, and why.
    pub open: Vec<String>,
    /// Objects that are stored.
    pub objects: usize,
    /// Bytes of their files.
    pub stored_bytes: u64,
    /// Objects that were read to their ends and are good.
    pub read_objects: usize,
    /// Bytes of content that were read and hashed.
    pub read_bytes: u64,
    /// Repeats the choice of a sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Objects that no backup uses. No fault: runs that were interrupted, or still go on, stored
    /// them. `None` when that cannot be told, because it is not known what a damaged backup uses.
    pub unused: Option<Unused>,
    /// Folders without a header: a backup that is being made, was interrupted or is being removed.
    pub unfinished: Vec<String>,
    /// Files and folders that belong to nothing that the format knows. No fault.
    pub foreign: Vec<String>,
}

/// A backup and whether it is good.
#[derive(Debug, Clone, serde::Serialize)]
pub struct BackupState {
    /// Its id.
    pub backup: String,
    /// No fault touches it, as far as was looked.
    pub good: bool,
}

/// Something that is damaged or missing, and whom it touches.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Fault {
    /// What was checked, such as `header` or `object`.
    pub what: String,
    /// What is wrong, naming the file.
    pub found: String,
    /// The backups that need it.
    pub touches: Vec<Touched>,
}

/// A backup that a fault touches.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Touched {
    /// Its id.
    pub backup: String,
    /// The tables whose rows are touched; empty where the whole backup is, or nobody can tell.
    pub tables: Vec<String>,
}

/// Objects that no backup uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Unused {
    /// How many.
    pub objects: usize,
    /// Bytes of their files.
    pub bytes: u64,
}

impl RepositoryReport {
    /// Whether nothing is damaged or missing, as far as was looked.
    pub fn is_good(&self) -> bool {
        self.faults.is_empty()
    }

    /// Whether nothing was left open either.
    pub fn is_complete(&self) -> bool {
        self.is_good() && self.open.is_empty()
    }
}

/// Checks every backup's header, manifest, files and objects, and all receipts. Objects are looked
/// at, or read as `reading` says, once each, however many backups share them.
///
/// What others do meanwhile is no fault: backups may be made and removed while this goes on.
///
/// # Errors
/// Interrupted; the store cannot be listed. Damage is a line of the report.
pub fn verify_all(
    repository: &Repository,
    reading: &Reading,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<RepositoryReport> {
    Survey::begin(repository, reading, monitor, interrupt)?.finish()
}
