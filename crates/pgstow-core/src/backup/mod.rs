//! Makes a backup: connect, preflight, lock, snapshot, check, read, store, header last.

mod abilities;
mod check;
mod definitions;
mod large_objects;
mod managed;
mod not_carried;
mod pipeline;
mod plan;
mod preflight;
mod prepare;
mod progress;
mod read_plan;
mod reader;
mod reuse;
mod run;
mod scope;
mod sequences;
mod sidecars;
mod snapshot;
pub(crate) mod unchanged;
mod unfinished;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::monitor::Monitor;
use crate::platform::{AuthUsers, Hosting};
use crate::postgres::ConnectionSettings;
use crate::repository::Repository;
use crate::repository::format::header::{Header, Safety};
use crate::repository::format::id::{EnvironmentName, Label};
use crate::repository::format::manifest::{NotCarried, Selection};

pub use reuse::{ReadReason, ReuseReport};

/// For how long what was read is trusted, when nobody says otherwise.
pub const FULL_EVERY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What to back up and how.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// The environment's name, part of the id.
    pub environment: EnvironmentName,
    /// How to reach the database.
    pub connection: ConnectionSettings,
    /// Tag in the id.
    pub label: Option<Label>,
    /// Free text.
    pub note: Option<String>,
    /// Makes it a safety backup.
    pub safety: Option<Safety>,
    /// Which part.
    pub selection: Selection,
    /// Patterns of the tables whose rows are read; empty means all. For a backup that is thrown away once
    /// these tables are taken out of it.
    pub rows_of: Vec<String>,
    /// Parallel readers, 1 to 64.
    pub jobs: usize,
    /// Where to look for pg_dump first: a folder or the program.
    pub pg_dump: Option<PathBuf>,
    /// `PATH` of the process, to find pg_dump.
    pub search_path: Option<std::ffi::OsString>,
    /// How long to wait for a lock before giving up this attempt.
    pub lock_timeout: Duration,
    /// Read everything, whatever could be proven.
    pub full: bool,
    /// Read everything when that was last done longer ago than this: a proof of unchanged data does
    /// not notice what the source's disks do to it.
    pub full_every: Duration,
    /// How often at most it is written down what is finished, for the case of an interruption.
    pub keep_every: Duration,
    /// How much of the users of a managed authentication service is carried; `None`: all of it into
    /// an encrypted repository, and elsewhere nothing that they sign in with.
    pub auth_users: Option<AuthUsers>,
}

impl BackupOptions {
    /// Everything of the database, by one reader, taking over what is proven unchanged and reading all
    /// again after a week; locks are waited for 30 seconds.
    pub fn new(environment: EnvironmentName, connection: ConnectionSettings) -> Self {
        Self {
            environment,
            connection,
            label: None,
            note: None,
            safety: None,
            selection: Selection::default(),
            rows_of: Vec::new(),
            jobs: 1,
            pg_dump: None,
            search_path: None,
            lock_timeout: Duration::from_secs(30),
            full: false,
            full_every: FULL_EVERY,
            keep_every: Duration::from_secs(10),
            auth_users: None,
        }
    }
}

/// What a backup did.
#[derive(Debug, Clone, serde::Serialize)]
#[must_use]
pub struct BackupReport {
    /// The header as written.
    pub header: Header,
    /// Everything that exists at the source and was left out.
    pub not_carried: Vec<NotCarried>,
    /// What whoever keeps the backup should know.
    pub remarks: Vec<String>,
    /// Tables taken in.
    pub tables: usize,
    /// What was taken over from earlier backups, and why not more.
    pub reuse: ReuseReport,
    /// How long it took.
    pub seconds: f64,
}

impl BackupReport {
    /// Whether everything that should be carried was carried (else exit code 3).
    pub fn is_complete(&self) -> bool {
        self.not_carried.iter().all(|item| item.expected)
    }
}

/// Makes a backup.
///
/// # Errors
/// Nothing is visible in the repository then.
pub fn run(
    repository: &Repository,
    options: &BackupOptions,
    monitor: &dyn Monitor,
    interrupt: &Interrupt,
) -> Result<BackupReport> {
    run::run(repository, options, monitor, interrupt)
}

/// What [`check`] found, in the order in which it was looked at.
#[derive(Debug, Clone, serde::Serialize)]
pub struct CheckReport {
    /// One line each.
    pub lines: Vec<CheckLine>,
    /// Who runs the server, and which schemas are the platform's; `None` when it could not be asked.
    pub hosting: Option<Hosting>,
    /// What the role may do there; empty when it could not be asked.
    pub abilities: Vec<Ability>,
}

/// What something is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Serves {
    /// A backup of this database.
    Backup,
    /// A restore into it.
    Restore,
}

/// Something that a role may or may not do. None of it is needed always, so a lack is no failure.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Ability {
    /// What, such as `create-roles`.
    pub what: String,
    /// What it is good for.
    pub serves: Serves,
    /// Whether the role may; `None`: it does not apply here.
    pub able: Option<bool>,
    /// What that means.
    pub found: String,
    /// What would give it.
    pub hints: Vec<String>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, serde::Serialize)]
pub struct CheckLine {
    /// What, such as `connection` or `privileges`.
    pub what: String,
    /// Whether it is as a backup needs it.
    pub passed: bool,
    /// What was found.
    pub found: String,
    /// What to do when it did not pass.
    pub hints: Vec<String>,
}

/// Connects and says whether a backup would work, and why not.
///
/// # Errors
/// Only when interrupted: all else is a line of the report.
pub fn check(options: &BackupOptions, interrupt: &Interrupt) -> Result<CheckReport> {
    check::run(options, interrupt)
}
